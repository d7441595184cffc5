"""The three ways in which D2 ends, with a name server that never answers."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec
import pytest

import bridle
from bridle.bundled.ddns.d2 import D2
from bridle.bundled.name_change import NameChange, NameChangeError, decode, dhcid, encode
from bridle.testing import elapsed
from tests.support.loops import on_virtual_clock

CHANGE = NameChange(
    add=True,
    forward=True,
    reverse=False,
    fqdn="a.example.",
    address="192.0.2.1",
    dhcid=dhcid(2, b"duid", "a.example."),
    expires=2000000000,
    length=60,
)


@asynccontextmanager
async def silence(folder: Path) -> AsyncIterator[tuple[D2, bridle.AsyncClient, int]]:
    """A D2, its client, and its port; the name server takes a second to time out, three times."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 0))
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        domain = {
            "name": "example.",
            "dns-servers": [{"ip-address": "127.0.0.1", "port": server.getsockname()[1]}],
        }
        file = folder / "d2.conf"
        settings = {"port": port, "dns-server-timeout": 1000, "forward-ddns": {"ddns-domains": [domain]}}
        file.write_text(json.dumps({"DhcpDdns": settings}))
        d2 = D2()
        async with (
            bridle.serve(d2, f"unix:{folder}/s", configuration_file=str(file)) as running,
            bridle.connect_async(f"unix:{folder}/s") as client,
        ):
            ended = asyncio.ensure_future(running.wait())
            d2.ended = ended  # type: ignore[attr-defined]
            yield d2, client, port
            ended.cancel()


async def send(port: int, *names: str) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        for name in names:
            change = msgspec.structs.replace(CHANGE, fqdn=name)
            sock.sendto(encode(change), ("127.0.0.1", port))
    await asyncio.sleep(0.1)


@pytest.mark.parametrize(
    ("mode", "seconds", "failed"),
    [("now", 0, 0), ("normal", 3, 1), ("drain_first", 6, 2)],
)
@on_virtual_clock
async def test_how_it_ends(short_path: Path, mode: str, seconds: int, failed: int) -> None:
    async with silence(short_path) as (d2, client, port):
        # Two of one name: the second waits for the first.
        await send(port, "a.example.", "a.example.")
        assert d2.statistics["ncr-received"] == 2
        began = elapsed()
        answer = await client.execute("shutdown", {"type": mode, "exit-value": 7})
        assert answer.text == f"Shutdown initiated, type is: {mode}"
        assert await d2.ended == 7  # type: ignore[attr-defined]
        assert elapsed() - began == pytest.approx(seconds, abs=0.5)
        assert d2.statistics["ncr-error"] == failed
        assert d2.statistics["update-timeout"] == 3 * failed


@on_virtual_clock
async def test_requests_that_are_none_are_counted(short_path: Path) -> None:
    async with silence(short_path) as (d2, _, port):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            for data in (b"", b"\0", b"\0\5{}", b"\0\2{}", b"\xff\xff" + encode(CHANGE)[2:]):
                sock.sendto(data, ("127.0.0.1", port))
        await asyncio.sleep(0.1)
        assert d2.statistics["ncr-invalid"] == 5
        assert d2.statistics["ncr-received"] == 0


def test_requests_are_read_as_they_were_written() -> None:
    assert decode(encode(CHANGE)) == CHANGE
    kea = (
        b'{"change-type":1,"forward-change":true,"reverse-change":true,"fqdn":"One.example.com","ip-address":'
        b'"2001:db8::1","dhcid":"0102","lease-expires-on":"20130121132405","lease-length":1300,'
        b'"conflict-resolution-mode":"no-check-with-dhcid"}'
    )
    change = decode(len(kea).to_bytes(2, "big") + kea)
    assert (change.add, change.fqdn, change.address) == (False, "one.example.com.", "2001:db8::1")
    assert (change.expires, change.conflict_resolution) == (1358774645, False)
    for wrong in (
        b'"forward-change":false,"reverse-change":false',
        b'"forward-change":1,"reverse-change":true',
    ):
        bad = kea.replace(b'"forward-change":true,"reverse-change":true', wrong)
        with pytest.raises(NameChangeError):
            decode(len(bad).to_bytes(2, "big") + bad)
