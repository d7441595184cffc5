"""A DHCPv6 message on its way: the datagram that it came in, who asks, and the datagram that answers."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from bridle.bundled.dhcp.allocation6 import Association, Client6
from bridle.bundled.dhcp.leases import LeaseKind
from bridle.bundled.dhcp.packet6 import Message6, Relay6
from bridle.bundled.dhcp.replies6 import association_in
from bridle.bundled.dhcp.settings import Reservation6, Settings6, Subnet6

__all__ = [
    "CLIENT_PORT",
    "SERVER_PORT",
    "Arrival6",
    "Departure6",
    "Query6",
    "Reservations6",
    "associations_in",
]

CLIENT_PORT = 546
SERVER_PORT = 547
_IA_NA, _IA_PD = 3, 25


class Arrival6(msgspec.Struct, gc=False):
    """A datagram that came in; ``scope`` is the number of the interface."""

    data: bytes
    interface: str
    source: bytes
    port: int
    scope: int


class Departure6(msgspec.Struct, gc=False):
    """A datagram to send."""

    data: bytes
    interface: str
    address: bytes
    port: int
    scope: int


class Query6(msgspec.Struct):
    """A message and what is known of its sender; what expressions and callouts see."""

    packet: Message6
    relays: list[Relay6]
    interface: str
    source: bytes
    port: int
    length: int
    options: dict[int, bytes]
    """The first of each code."""
    client: Client6
    classes: set[str]
    destination: bytes = b""
    associations: list[Association] = []
    """What the client wants leases for, in its order."""


class Reservations6:
    """Which reservation a client has."""

    __slots__ = ("_identifiers", "_settings")

    def __init__(self, settings: Settings6, identifiers: Sequence[tuple[str, bytes]]) -> None:
        self._settings = settings
        self._identifiers = identifiers

    def __call__(self, subnet: Subnet6) -> Reservation6 | None:
        if subnet.reservations_in_subnet and subnet.reservations:
            for identifier in self._identifiers:
                if identifier in subnet.reservations:
                    return subnet.reservations[identifier]
        if subnet.reservations_global:
            for identifier in self._identifiers:
                if identifier in self._settings.reservations:
                    return self._settings.reservations[identifier]
        return None


def associations_in(message: Message6) -> list[Association]:
    """What a message asks leases for.

    Raises:
        PacketError: an option inside is cut short.
    """
    kinds = {_IA_NA: LeaseKind.ADDRESS, _IA_PD: LeaseKind.PREFIX}
    return [
        association_in(kinds[code], data)
        for code, data in message.options
        if code in kinds and len(data) >= 12
    ]
