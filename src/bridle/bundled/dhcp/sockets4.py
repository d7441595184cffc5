"""The sockets of a DHCPv4 server: one for each interface, and the way to clients that have no address yet."""

from __future__ import annotations

import fcntl
import ipaddress
import socket
import struct
from collections.abc import Iterable
from typing import NamedTuple

from bridle.bundled.dhcp.query4 import CLIENT_PORT, Arrival4, Departure4
from bridle.bundled.dhcp.settings import Interface
from bridle.bundled.dhcp.sockets import receive_buffer
from bridle.core.errors import ConfigurationError

__all__ = ["Place4", "Socket4", "places_of"]

_LARGEST = 65535
_SIOCGIFADDR = 0x8915
_SIOCGIFFLAGS = 0x8913
_UP, _LOOPBACK = 0x1, 0x8
_ETHERTYPE_IP = 0x0800
_IP_HEADER = struct.Struct("!BBHHHBBH4s4s")
_UDP_HEADER = struct.Struct("!HHHH")


class Place4(NamedTuple):
    """An interface, the address that the server has there, its port, and whether it may send to clients that
    have no address yet."""

    interface: str
    address: int
    port: int
    raw: bool

    def __str__(self) -> str:
        return f"interface {self.interface}, port {self.port}"


class Socket4:
    """What listens for DHCPv4 on one interface."""

    def __init__(self, place: Place4) -> None:
        self.place = place
        self.socket: socket.socket = _udp_socket(place)
        self._packets = _packet_socket()

    def receive(self, limit: int) -> list[Arrival4]:
        """What has come in, so many at most."""
        arrivals = []
        name, local = self.place.interface, self.place.address
        take = self.socket.recvfrom
        try:
            for _ in range(limit):
                data, (host, port) = take(_LARGEST)
                arrivals.append(
                    Arrival4(data, name, local, int.from_bytes(socket.inet_aton(host), "big"), port)
                )
        except BlockingIOError:
            pass
        return arrivals

    def send(self, departure: Departure4) -> None:
        """Send a datagram.

        Raises:
            OSError: it cannot be sent.
        """
        address = departure.address
        if departure.hw_address:
            if self._packets is not None and self.place.raw:
                target = (self.place.interface, _ETHERTYPE_IP, 0, 1, departure.hw_address)
                self._packets.sendto(_ip_packet(departure, self.place.port), target)
                return
            address = 0xFFFFFFFF
        self.socket.sendto(departure.data, (socket.inet_ntoa(address.to_bytes(4, "big")), departure.port))

    def close(self) -> None:
        """Close it."""
        self.socket.close()
        if self._packets is not None:
            self._packets.close()


def places_of(interfaces: Iterable[Interface], port: int, *, raw: bool) -> list[Place4]:
    """The interfaces that are meant, with their addresses; ``*`` is all that are up, save loopback.

    Raises:
        ConfigurationError: an interface does not exist, or has no IPv4 address.
    """
    found: dict[str, Place4] = {}
    existing = [name for _, name in socket.if_nameindex()]
    for interface in interfaces:
        if interface.name == "*":
            for name in existing:
                flags = _flags(name)
                address = _address(name) if flags & _UP and not flags & _LOOPBACK else 0
                if address:
                    found.setdefault(name, Place4(name, address, port, raw))
            continue
        name = interface.name
        if name not in existing:
            raise ConfigurationError(
                f"Failed to select interface: interface '{name}' doesn't exist in the system"
            )
        address = int(ipaddress.IPv4Address(interface.address)) if interface.address else _address(name)
        if not address:
            raise ConfigurationError(f"Failed to select interface: interface '{name}' has no IPv4 address")
        found[name] = Place4(name, address, port, raw)
    return list(found.values())


def _ask(name: str, request: int) -> bytes:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
        try:
            return bytes(fcntl.ioctl(asking, request, struct.pack("256s", name.encode()[:15])))
        except OSError:
            return bytes(256)


def _address(name: str) -> int:
    return int.from_bytes(_ask(name, _SIOCGIFADDR)[20:24], "big")


def _flags(name: str) -> int:
    flags: int = struct.unpack_from("H", _ask(name, _SIOCGIFFLAGS), 16)[0]
    return flags


def _udp_socket(place: Place4) -> socket.socket:
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    try:
        sock.setblocking(False)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, place.interface.encode() + b"\0")
        receive_buffer(sock)
        sock.bind(("", place.port))
    except BaseException:
        sock.close()
        raise
    return sock


def _packet_socket() -> socket.socket | None:
    """A socket that sends to hardware addresses; None without the right to have one: then answers to clients
    without an address are broadcast."""
    try:
        # Protocol 0: it receives nothing.
        sock = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, 0)
    except PermissionError:
        return None
    sock.setblocking(False)
    return sock


def _ip_packet(departure: Departure4, port: int) -> bytes:
    """A UDP datagram with its IPv4 header."""
    source = departure.local.to_bytes(4, "big")
    target = departure.address.to_bytes(4, "big")
    length = 8 + len(departure.data)
    pseudo = source + target + struct.pack("!HH", socket.IPPROTO_UDP, length)
    head = _UDP_HEADER.pack(port, CLIENT_PORT, length, 0)
    check = _checksum(pseudo + head + departure.data) or 0xFFFF
    head = _UDP_HEADER.pack(port, CLIENT_PORT, length, check)
    fields = (0x45, 0x10, 20 + length, 0, 0x4000, 64, socket.IPPROTO_UDP)
    ip = _IP_HEADER.pack(*fields, 0, source, target)
    ip = _IP_HEADER.pack(*fields, _checksum(ip), source, target)
    return ip + head + departure.data


def _checksum(data: bytes) -> int:
    if len(data) % 2:
        data += b"\0"
    total: int = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return total ^ 0xFFFF
