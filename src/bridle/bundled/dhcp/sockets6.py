"""The sockets of a DHCPv6 server: one for each interface, in the multicast group of servers and relays."""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterable
from typing import NamedTuple

from bridle.bundled.dhcp.query6 import Arrival6, Departure6
from bridle.bundled.dhcp.settings import Interface
from bridle.bundled.dhcp.sockets import receive_buffer
from bridle.core.errors import ConfigurationError

__all__ = ["Place6", "Socket6", "places_of"]

_ALL_SERVERS_AND_RELAYS = socket.inet_pton(socket.AF_INET6, "ff02::1:2")
_LARGEST = 65535
_LOOPBACK = "lo"


class Place6(NamedTuple):
    """An interface, its number, and the port that the server has there. ``address`` is one of the interface's
    on which messages are taken besides those to the group; empty: any."""

    interface: str
    number: int
    port: int
    address: str = ""

    def __str__(self) -> str:
        return f"interface {self.interface}, port {self.port}"


class Socket6:
    """What listens for DHCPv6 on one interface."""

    def __init__(self, place: Place6) -> None:
        self.place = place
        self.socket: socket.socket = _udp_socket(place)

    def receive(self, limit: int) -> list[Arrival6]:
        """What has come in, so many at most."""
        arrivals = []
        name = self.place.interface
        take = self.socket.recvfrom
        try:
            for _ in range(limit):
                data, (host, port, _, scope) = take(_LARGEST)
                source = socket.inet_pton(socket.AF_INET6, host.partition("%")[0])
                arrivals.append(Arrival6(data, name, source, port, scope))
        except BlockingIOError:
            pass
        return arrivals

    def send(self, departure: Departure6) -> None:
        """Send a datagram.

        Raises:
            OSError: it cannot be sent.
        """
        host = socket.inet_ntop(socket.AF_INET6, departure.address)
        self.socket.sendto(departure.data, (host, departure.port, 0, departure.scope))

    def close(self) -> None:
        """Close it."""
        self.socket.close()


def places_of(interfaces: Iterable[Interface], port: int) -> list[Place6]:
    """The interfaces that are meant; ``*`` is all, save loopback.

    Raises:
        ConfigurationError: an interface does not exist.
    """
    found: dict[str, Place6] = {}
    existing = {name: index for index, name in socket.if_nameindex()}
    for interface in interfaces:
        if interface.name == "*":
            for name, index in existing.items():
                if name != _LOOPBACK:
                    found.setdefault(name, Place6(name, index, port))
            continue
        if interface.name not in existing:
            raise ConfigurationError(
                f"Failed to select interface: interface '{interface.name}' doesn't exist in the system"
            )
        index = existing[interface.name]
        found[interface.name] = Place6(interface.name, index, port, interface.address)
    return list(found.values())


def _udp_socket(place: Place6) -> socket.socket:
    sock = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
    try:
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, place.interface.encode() + b"\0")
        group = _ALL_SERVERS_AND_RELAYS + struct.pack("@I", place.number)
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_JOIN_GROUP, group)
        receive_buffer(sock)
        sock.bind(("::", place.port, 0, 0))
    except BaseException:
        sock.close()
        raise
    return sock
