"""DHCP servers without sockets, for tests of what they answer."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping

from bridle.bundled.dhcp import server4, server6
from bridle.bundled.dhcp.leases import Lease4, Lease6
from bridle.bundled.dhcp.packet4 import Packet4, decode4, encode4
from bridle.bundled.dhcp.packet6 import Message6, Relay6, decode6, encode6
from bridle.bundled.dhcp.query4 import Arrival4, Departure4
from bridle.bundled.dhcp.query6 import Arrival6, Departure6
from bridle.bundled.dhcp.server4 import Server4
from bridle.bundled.dhcp.server6 import Server6
from bridle.bundled.dhcp.settings4 import read_settings4
from bridle.bundled.dhcp.settings6 import read_settings6
from bridle.bundled.dhcp.store_sqlite import MEMORY, SqliteStore4, SqliteStore6
from bridle.core.messages import JSON
from bridle.daemon.callouts import Callouts
from bridle.daemon.document import Document
from bridle.daemon.statistics import Statistics

__all__ = ["Clock", "Site4", "Site6", "number"]

SERVER_DUID = b"\0\2\0\0\x09\xbf\1\2\3\4"


class Clock:
    """Seconds since the epoch, as a test has them."""

    def __init__(self) -> None:
        self.now = 1_700_000_000

    def __call__(self) -> float:
        return float(self.now)


def number(address: str) -> int:
    """An IPv4 address as a number."""
    return int(ipaddress.IPv4Address(address))


class Site4:
    """A DHCPv4 server at 192.0.2.1, and whoever asks it."""

    def __init__(self, settings: Mapping[str, JSON]) -> None:
        self.clock = Clock()
        self.store = SqliteStore4(MEMORY)
        self.statistics = Statistics(self.clock)
        self.callouts = Callouts(server4.HOOK_POINTS)
        self.names: list[tuple[Lease4, bool]] = []
        self.server = Server4(
            read_settings4(Document({"Dhcp4": dict(settings)})),
            self.store,
            self.statistics,
            callouts=self.callouts,
            name_changed=lambda lease, added: self.names.append((lease, added)),
            clock=self.clock,
        )

    def use(self, settings: Mapping[str, JSON]) -> None:
        """Another configuration."""
        self.server.use(read_settings4(Document({"Dhcp4": dict(settings)})))

    def deliver(self, *data: bytes, source: str = "0.0.0.0", port: int = 68) -> list[Departure4]:
        """Bytes that come in."""
        local = number("192.0.2.1")
        return self.server.handle([Arrival4(one, "eth0", local, number(source), port) for one in data])

    def ask(
        self,
        kind: int,
        options: Mapping[int, bytes] | None = None,
        *,
        mac: bytes = b"\2\0\0\0\0\1",
        **fields: int,
    ) -> tuple[Packet4, Departure4] | None:
        """One message, and its answer."""
        packet = Packet4(
            1, 1, len(mac), 0, 1234, 0, 0, 0, 0, 0, 0, mac, b"", b"", {53: bytes([kind]), **(options or {})}
        )
        for name, value in fields.items():
            setattr(packet, name, value)
        departures = self.deliver(encode4(packet))
        return (decode4(departures[0].data), departures[0]) if departures else None

    def count(self, name: str) -> int:
        """A statistic."""
        value = self.statistics.get(name)
        assert isinstance(value, int)
        return value


class Site6:
    """A DHCPv6 server, and whoever asks it."""

    def __init__(self, settings: Mapping[str, JSON]) -> None:
        self.clock = Clock()
        self.store = SqliteStore6(MEMORY)
        self.statistics = Statistics(self.clock)
        self.callouts = Callouts(server6.HOOK_POINTS)
        self.names: list[tuple[Lease6, bool]] = []
        self.server = Server6(
            read_settings6(Document({"Dhcp6": dict(settings)})),
            self.store,
            self.statistics,
            server_id=SERVER_DUID,
            callouts=self.callouts,
            name_changed=lambda lease, added: self.names.append((lease, added)),
            clock=self.clock,
        )

    def deliver(self, *data: bytes, source: str = "fe80::1") -> list[Departure6]:
        """Bytes that come in."""
        address = ipaddress.IPv6Address(source).packed
        return self.server.handle([Arrival6(one, "eth0", address, 546, 2) for one in data])

    def ask(
        self, kind: int, *options: tuple[int, bytes], relays: tuple[Relay6, ...] = ()
    ) -> tuple[Message6, list[Relay6]] | None:
        """One message, and its answer."""
        departures = self.deliver(encode6(Message6(kind, 0x123456, list(options)), list(relays)))
        return decode6(departures[0].data) if departures else None

    def count(self, name: str) -> int:
        """A statistic."""
        value = self.statistics.get(name)
        assert isinstance(value, int)
        return value
