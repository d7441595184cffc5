"""The shipped plugin: the agent answers lease commands from the store, and the daemon is not asked."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import bridle
from bridle.agent.agent import Agent
from bridle.bundled.dhcp.dhcp4 import Dhcp4
from bridle.core.messages import JSON
from tests.support.loops import on_every_loop
from tests.support.programs import free_port

LEASE: JSON = {"ip-address": "192.0.2.10", "hw-address": "1a:1b:1c:1d:1e:1f"}


def write(folder: Path) -> tuple[Path, Path, int]:
    """The configuration files of a daemon and of the agent in front of it."""
    daemon, agent, port = folder / "dhcp4.conf", folder / "agent.conf", free_port()
    control: JSON = {"socket-type": "unix", "socket-name": str(folder / "d.sock")}
    daemon.write_text(
        json.dumps(
            {
                "Dhcp4": {
                    "control-socket": control,
                    "lease-database": {"type": "memfile", "name": str(folder / "leases")},
                    "subnet4": [{"id": 1, "subnet": "192.0.2.0/24"}],
                }
            }
        )
    )
    plugin = {
        "library": "bridle.bundled.dhcp.lease_plugin",
        "parameters": {"services": {"dhcp4": str(daemon)}},
    }
    settings = {"http-port": port, "control-sockets": {"dhcp4": control}, "hooks-libraries": [plugin]}
    agent.write_text(json.dumps({"Control-agent": settings}))
    return daemon, agent, port


@on_every_loop
async def test_lease_commands_are_answered_from_the_store(short_path: Path) -> None:
    daemon, configuration, port = write(short_path)
    asked: list[str] = []
    dhcp4 = Dhcp4()
    dhcp4.manager.before_command(lambda command: asked.append(command.name))
    async with (
        bridle.serve(dhcp4, configuration_file=str(daemon)),
        bridle.serve(Agent(), configuration_file=str(configuration)),
        bridle.connect_async(f"http://127.0.0.1:{port}") as client,
    ):
        added = await client.execute("lease4-add", LEASE, service="dhcp4")
        assert added.text == "Lease for address 192.0.2.10, subnet-id 1 added."
        found = await client.execute("lease4-get-all", service="dhcp4")
        assert found.text == "1 IPv4 lease(s) found."
        missing = await client.execute("lease4-get", {"ip-address": "192.0.2.99"}, service="dhcp4")
        assert (missing.result, missing.text) == (3, "Lease not found.")
        assert asked == []
        status = await client.execute("status-get", service="dhcp4")
        assert status.result == 0
        assert asked == ["status-get"], "what is not about leases is the daemon's"
        both = await client.execute_all("lease4-get-all", services=["dhcp4", "nobody"])
        assert [answer.result for answer in both] == [0, 1]
        seen = dhcp4.manager.process_command(bridle.Command("lease4-get", {"ip-address": "192.0.2.10"}))
        assert isinstance(seen, bridle.Response)
        assert seen.result == 0, "it is the same store"


@on_every_loop
async def test_a_store_that_is_not_there_keeps_the_agent_from_starting(short_path: Path) -> None:
    daemon, configuration, _ = write(short_path)
    daemon.write_text(json.dumps({"Dhcp4": {"lease-database": {"type": "memfile", "persist": False}}}))
    with pytest.raises(bridle.ConfigurationError, match="the leases are in the daemon's memory only"):
        async with bridle.serve(Agent(), configuration_file=str(configuration)):
            pass
