"""Control sockets of Kamailio's kind in a daemon's configuration."""

from __future__ import annotations

import asyncio
import stat
from pathlib import Path

import pytest

import bridle
from bridle import ConfigurationError
from bridle.daemon.control_sockets import read_control_sockets
from bridle.daemon.document import Document
from tests.daemon.test_channels import change, sockets
from tests.support.kettle import JSON, served
from tests.support.loops import on_every_loop


@on_every_loop
async def test_a_configuration_opens_and_closes_them(short_path: Path) -> None:
    rpc: JSON = {"socket-type": "binrpc", "socket-name": f"unixs:{short_path}/ctl", "mode": "0620"}
    text: JSON = {"socket-type": "fifo", "socket-name": f"{short_path}/fifo"}
    datagrams: JSON = {"socket-type": "binrpc", "socket-name": f"unixd:{short_path}/ctld"}
    async with served(short_path) as site:
        answer = await change(site, sockets(rpc, text, datagrams))
        assert answer.result == 0, answer.text
        assert stat.S_IMODE((short_path / "ctl").stat().st_mode) == 0o620
        for endpoint in ("binrpc+unix:{}/ctl", "binrpc+unixd:{}/ctld", "fifo:{}/fifo"):
            async with bridle.connect_async(endpoint.format(short_path)) as client:
                assert await client.call("core.prints", "here") == "here"
        async with bridle.connect_async(f"binrpc+unix:{short_path}/ctl") as client:
            assert await client.call("repeat", ["there"]) == "there"
            again = await change(site, sockets(rpc))
            assert again.result == 0, again.text
            assert await client.call("repeat", ["still"]) == "still"
        assert not (short_path / "ctld").exists()
        assert not (short_path / "fifo").exists()
        other = await change(site, sockets({**rpc, "autoconversion": True}))
        assert "cannot be changed while it listens" in str(other.text)
        none = await change(site, {})
        assert none.result == 0, none.text
        await asyncio.sleep(0)
        assert not (short_path / "ctl").exists()


@pytest.mark.parametrize(
    ("entry", "text"),
    [
        ({}, "Mandatory 'socket-name' parameter missing"),
        ({"socket-name": 5}, "Mandatory 'socket-name' parameter missing"),
        ({"socket-name": "foo:bar:1"}, "address 'foo:bar:1' is not [PROTOCOL:][HOST:]PORT"),
        ({"socket-name": "/x", "wrong": 1}, "parameter 'wrong' is not supported by BINRPC control sockets"),
        ({"socket-name": "/x", "mode": 600}, "invalid type specified for parameter 'mode'"),
        ({"socket-name": "/x", "autoconversion": 1}, "invalid type specified for parameter 'autoconversion'"),
    ],
)
def test_a_mistake_is_told_with_its_place(entry: dict[str, JSON], text: str) -> None:
    value: dict[str, JSON] = sockets({"socket-type": "binrpc", **entry})
    with pytest.raises(ConfigurationError) as caught:
        read_control_sockets(value, Document({"Kettle": value}), "Kettle")
    assert text in str(caught.value)


@on_every_loop
async def test_settings_that_cannot_be_used_change_nothing(short_path: Path) -> None:
    place: JSON = {"socket-type": "binrpc", "socket-name": f"unixs:{short_path}/ctl"}
    async with served(short_path) as site:
        for extra, part in (
            ({"mode": "99"}, "not octal"),
            ({"max-body-size": 0}, "max-body-size is a number"),
        ):
            answer = await change(site, sockets({**place, **extra}))
            assert answer.result == 1
            assert part in str(answer.text)
            assert not (short_path / "ctl").exists()
