"""A DHCPv4 message on its way: the datagram that it came in, who asks, and the datagram that answers."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from bridle.bundled.dhcp.allocation4 import Client4
from bridle.bundled.dhcp.packet4 import Packet4
from bridle.bundled.dhcp.settings import Reservation4, Settings4, Subnet4

__all__ = ["CLIENT_PORT", "SERVER_PORT", "Arrival4", "Departure4", "Query4", "Reservations4"]

SERVER_PORT = 67
CLIENT_PORT = 68


class Arrival4(msgspec.Struct, gc=False):
    """A datagram that came in. ``local`` is the address of the interface, ``source`` the sender's."""

    data: bytes
    interface: str
    local: int
    source: int
    port: int


class Departure4(msgspec.Struct, gc=False):
    """A datagram to send. With ``hw_address`` the receiver does not have ``address`` yet."""

    data: bytes
    interface: str
    local: int
    address: int
    port: int
    hw_address: bytes = b""


class Query4(msgspec.Struct):
    """A message and what is known of its sender; what expressions and callouts see."""

    packet: Packet4
    interface: str
    local: int
    source: int
    port: int
    length: int
    client: Client4
    classes: set[str]
    relay: dict[int, bytes]
    """Sub-options of the relay agent information option."""
    relays: tuple[()] = ()
    destination: bytes = b""


class Reservations4:
    """Which reservation a client has; the identifiers are looked up in the order of the configuration."""

    __slots__ = ("_found", "_global", "_identifiers", "_settings")

    def __init__(self, settings: Settings4, identifiers: Sequence[tuple[str, bytes]]) -> None:
        self._settings = settings
        self._identifiers = identifiers
        self._found: dict[int, Reservation4 | None] = {}
        self._global: Reservation4 | None = None

    def __call__(self, subnet: Subnet4) -> Reservation4 | None:
        if subnet.reservations_in_subnet and subnet.reservations:
            for identifier in self._identifiers:
                found = subnet.reservations.get(identifier)
                if found is not None:
                    return found
        return self.globally() if subnet.reservations_global else None

    def globally(self) -> Reservation4 | None:
        reservations = self._settings.reservations
        if reservations:
            for identifier in self._identifiers:
                found = reservations.get(identifier)
                if found is not None:
                    return found
        return None
