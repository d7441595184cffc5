"""Our D2 in front of a real DNS server that wants its updates signed."""

from __future__ import annotations

import asyncio
import json
import socket
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec
import pytest

import bridle
from bridle.bundled.ddns.d2 import D2
from bridle.bundled.name_change import NameChange, dhcid, encode
from tests.support.knot import FORWARD, KEY_NAME, REVERSE, REVERSE6, SECRET, Knot
from tests.support.loops import on_every_loop
from tests.support.programs import free_port, short_directory

pytestmark = pytest.mark.peers("knotd")

OWNER = dhcid(0, b"\1\2\3\4\5\6\7", "client.example.org.")
OTHER = dhcid(0, b"\1\7\7\7\7\7\7", "client.example.org.")
CHANGE = NameChange(
    add=True,
    forward=True,
    reverse=True,
    fqdn="client.example.org.",
    address="192.0.2.7",
    dhcid=OWNER,
    expires=2000000000,
    length=1200,
)


@pytest.fixture
def knot() -> Iterator[Knot]:
    with short_directory() as directory, Knot(directory) as running:
        yield running


def settings(knot: Knot, port: int, secret: str = SECRET, **more: object) -> dict[str, object]:
    server = [{"ip-address": "127.0.0.1", "port": knot.port}]

    def domains(*names: str) -> dict[str, object]:
        found = [{"name": name, "key-name": KEY_NAME, "dns-servers": server} for name in names]
        return {"ddns-domains": found}

    return {
        "ip-address": "127.0.0.1",
        "port": port,
        "dns-server-timeout": 2000,
        "tsig-keys": [{"name": KEY_NAME, "algorithm": "HMAC-SHA256", "secret": secret}],
        "forward-ddns": domains(FORWARD),
        "reverse-ddns": domains(REVERSE, REVERSE6),
        **more,
    }


class Running:
    """A D2 and the port that it listens on."""

    def __init__(self, d2: D2, port: int) -> None:
        self.d2 = d2
        self.port = port

    def send(self, *changes: NameChange) -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            for change in changes:
                sock.sendto(encode(change), ("127.0.0.1", self.port))

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait for what another process does; the deadline is a test's own."""
        deadline = time.monotonic() + 10
        while not condition():
            assert time.monotonic() < deadline, dict(self.d2.statistics.statistic_get_all(bridle.Command("")))
            await asyncio.sleep(0.02)

    def count(self, name: str) -> int:
        value = self.d2.statistics.get(name)
        assert isinstance(value, int)
        return value


@asynccontextmanager
async def running(knot: Knot, folder: Path, secret: str = SECRET) -> AsyncIterator[Running]:
    port = free_port(socket.SOCK_DGRAM)
    file = folder / "d2.json"
    file.write_text(json.dumps({"DhcpDdns": settings(knot, port, secret)}))
    d2 = D2()
    async with bridle.serve(d2, configuration_file=str(file)):
        yield Running(d2, port)


@on_every_loop
async def test_a_name_is_added_renewed_and_removed(knot: Knot, short_path: Path) -> None:
    async with running(knot, short_path) as site:
        site.send(CHANGE)
        await site.until(lambda: knot.ask("client.example.org.", "A") == ["192.0.2.7"])
        await site.until(lambda: knot.ask("7.2.0.192.in-addr.arpa.", "PTR") == ["client.example.org."])
        assert len(knot.ask("client.example.org.", "DHCID")) == 1
        moved = msgspec.structs.replace(CHANGE, address="192.0.2.8")
        site.send(moved)
        await site.until(lambda: knot.ask("client.example.org.", "A") == ["192.0.2.8"])
        site.send(msgspec.structs.replace(moved, add=False))
        await site.until(lambda: knot.ask("client.example.org.", "DHCID") == [])
        assert knot.ask("client.example.org.", "A") == []
        await site.until(lambda: knot.ask("8.2.0.192.in-addr.arpa.", "PTR") == [])
        assert site.count("update-signed") == site.count("update-sent") > 0
        assert site.count(f"key[{KEY_NAME}.].update-success") == site.count("update-success")
        assert site.count("update-unsigned") == site.count("ncr-error") == 0


@on_every_loop
async def test_an_ipv6_address(knot: Knot, short_path: Path) -> None:
    change = msgspec.structs.replace(CHANGE, fqdn="six.example.org.", address="2001:db8::7")
    async with running(knot, short_path) as site:
        site.send(change)
        await site.until(lambda: knot.ask("six.example.org.", "AAAA") == ["2001:db8::7"])
        site.send(msgspec.structs.replace(change, add=False))
        await site.until(lambda: knot.ask("six.example.org.", "AAAA") == [])


@on_every_loop
async def test_nobody_takes_the_name_of_another(knot: Knot, short_path: Path) -> None:
    mine = msgspec.structs.replace(CHANGE, fqdn="mine.example.org.", address="192.0.2.20")
    theirs = msgspec.structs.replace(mine, address="192.0.2.21", dhcid=OTHER)
    async with running(knot, short_path) as site:
        site.send(mine)
        await site.until(lambda: knot.ask("mine.example.org.", "A") == ["192.0.2.20"])
        site.send(theirs)
        await site.until(lambda: site.count("ncr-error") == 1)
        assert knot.ask("mine.example.org.", "A") == ["192.0.2.20"]
        site.send(msgspec.structs.replace(theirs, conflict_resolution=False))
        await site.until(lambda: knot.ask("mine.example.org.", "A") == ["192.0.2.21"])


@on_every_loop
async def test_a_wrong_key_is_refused_and_counted(knot: Knot, short_path: Path) -> None:
    async with running(knot, short_path, "AAAAAAAAAAAAAAAAAAAAAA==") as site:
        site.send(msgspec.structs.replace(CHANGE, fqdn="wrong.example.org."))
        await site.until(lambda: site.count("ncr-error") == 1)
        assert site.count("update-error") > 0
        assert knot.ask("wrong.example.org.", "A") == []


@on_every_loop
async def test_drain_first_works_off_what_waits(knot: Knot, short_path: Path) -> None:
    async with running(knot, short_path) as site:
        changes = [
            msgspec.structs.replace(CHANGE, fqdn=f"host{n}.example.org.", address=f"192.0.2.{100 + n}")
            for n in range(60)
        ]
        site.send(*changes)
        await site.until(lambda: site.count("ncr-received") == 60)
        answer = await site.d2.manager.execute(bridle.Command("shutdown", {"type": "drain_first"}))
        assert answer.text == "Shutdown initiated, type is: drain_first"
        await site.until(lambda: knot.ask("host59.example.org.", "A") == ["192.0.2.159"])
        await site.until(lambda: all(knot.ask(one.fqdn, "A") == [one.address] for one in changes))
