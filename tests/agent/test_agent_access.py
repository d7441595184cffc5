"""Who may do what behind the agent: a peer has a role for each service."""

from __future__ import annotations

from pathlib import Path

import bridle
from tests.support.front import agent, backend, web
from tests.support.loops import on_virtual_clock

JSON = bridle.JSON


@on_virtual_clock
async def test_a_role_for_one_service_is_not_one_for_another_on_the_same_connection(short_path: Path) -> None:
    access: JSON = {
        "assign": [
            {"remote-address": "127.0.0.1", "role": "own", "services": [""]},
            {"remote-address": "127.0.0.1", "role": "reader", "services": ["d2"]},
        ],
        "roles": [
            {"name": "own", "accept-commands": "ALL"},
            {"name": "reader", "accept-commands": "READ"},
        ],
    }
    services = {"dhcp4": short_path / "4", "d2": short_path / "2"}
    async with (
        backend(services["dhcp4"]) as dhcp4,
        backend(services["d2"]) as d2,
        agent(short_path, services, access=access) as front,
        web(front.port) as connection,
    ):
        for _ in range(2):
            assert (await connection.ask("config-test", arguments={})).status == 200
            assert (await connection.ask("shutdown", "dhcp4")).status == 403
            assert (await connection.ask("shutdown", "d2")).status == 403
            assert (await connection.ask("config-get", "dhcp4")).status == 403
            assert (await connection.ask("config-get", "d2")).status == 200
            both = await connection.ask("config-get", "dhcp4", "d2", "dhcp4")
            assert [answer["result"] for answer in both.answers] == [403, 0, 403]
        assert dhcp4.requests == []
        assert len(d2.requests) == 4
