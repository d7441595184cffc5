"""The sockets of a DHCPv4 server: one for each interface, and the way to clients that have no address yet.

Datagrams are taken in batches: what came in while the last batch was worked on is the next one.
"""

from __future__ import annotations

import asyncio
import errno
import fcntl
import ipaddress
import logging
import socket
import struct
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from bridle.bundled.dhcp.server4 import CLIENT_PORT, Arrival4, Departure4
from bridle.bundled.dhcp.settings import Interface
from bridle.core.errors import ConfigurationError

__all__ = ["BATCH", "Place4", "Sockets4", "SocketsChange4"]

# Datagrams that are worked on together, and whose leases are one transaction: at 100 µs each they keep the
# commands waiting for some milliseconds.
BATCH = 64
# Bytes that the kernel holds for us; some 5000 messages, what comes within a slow command or two.
RECEIVE_BUFFER = 8 * 1024 * 1024
# A DHCP message over Ethernet; larger ones are cut by no one, but no client sends them.
_LARGEST = 65535
_SIOCGIFADDR = 0x8915
_SIOCGIFFLAGS = 0x8913
_UP, _LOOPBACK = 0x1, 0x8
_ETHERTYPE_IP = 0x0800
_SO_RCVBUFFORCE = 33
_IP_HEADER = struct.Struct("!BBHHHBBH4s4s")
_UDP_HEADER = struct.Struct("!HHHH")

_log = logging.getLogger("bridle.dhcp4")


class Place4(NamedTuple):
    """An interface and the address that the server has there."""

    interface: str
    address: int


class _Open:
    """One socket and the reader behind it."""

    def __init__(self, place: Place4, port: int, *, raw: bool) -> None:
        self.place = place
        self.port = port
        self.socket = _udp_socket(place, port)
        self.packets = _packet_socket(place) if raw else None

    def receive(self) -> list[Arrival4]:
        """What has come in, as much as a batch takes."""
        arrivals = []
        name, local = self.place
        take = self.socket.recvfrom
        try:
            for _ in range(BATCH):
                data, (host, port) = take(_LARGEST)
                source = int.from_bytes(socket.inet_aton(host), "big")
                arrivals.append(Arrival4(data, name, local, source, port))
        except BlockingIOError:
            pass
        except OSError as error:
            _log.warning("%s: receiving: %s", name, error)
        return arrivals

    def send(self, departure: Departure4) -> None:
        """Send one datagram.

        Raises:
            OSError: it cannot be sent.
        """
        address = departure.address
        if departure.hw_address:
            if self.packets is not None:
                target = (self.place.interface, _ETHERTYPE_IP, 0, 1, departure.hw_address)
                self.packets.sendto(_ip_packet(departure, self.port), target)
                return
            address = 0xFFFFFFFF
        self.socket.sendto(departure.data, (socket.inet_ntoa(address.to_bytes(4, "big")), departure.port))

    def close(self) -> None:
        self.socket.close()
        if self.packets is not None:
            self.packets.close()


class Sockets4:
    """The sockets that are open. ``deliver`` gets what comes in, from the event loop."""

    def __init__(self, port: int, deliver: Callable[[list[Arrival4]], None]) -> None:
        self.port = port
        self._deliver = deliver
        self._open: dict[Place4, _Open] = {}
        self._by_interface: dict[str, _Open] = {}
        self._reading = False

    @property
    def places(self) -> list[Place4]:
        """Where it listens."""
        return list(self._open)

    def prepare(self, interfaces: Iterable[Interface], *, raw: bool) -> SocketsChange4:
        """Open what is not open yet; nothing is closed before the change is committed.

        Raises:
            ConfigurationError: an interface does not exist or has no address, or the port cannot be used.
        """
        wanted = places_of(interfaces)
        opened: dict[Place4, _Open] = {}
        try:
            for place in wanted:
                if place not in self._open:
                    opened[place] = _Open(place, self.port, raw=raw)
        except OSError as error:
            for one in opened.values():
                one.close()
            raise ConfigurationError(
                f"cannot open a DHCP socket on interface {place.interface}, port {self.port}: {error.strerror}"
            ) from error
        return SocketsChange4(self, wanted, opened)

    def exchange(self, wanted: Sequence[Place4], opened: dict[Place4, _Open]) -> None:
        """Use these places from now on."""
        gone = [one for place, one in self._open.items() if place not in wanted]
        self._open = {place: opened.get(place) or self._open[place] for place in wanted}
        self._by_interface = {place.interface: one for place, one in self._open.items()}
        if self._reading:
            for one in opened.values():
                self._read(one)
        for one in gone:
            if self._reading:
                asyncio.get_running_loop().remove_reader(one.socket)
                # What the kernel has taken for us already is answered, too.
                self._on_readable(one)
            one.close()

    def start(self) -> None:
        """Take what comes in."""
        self._reading = True
        for one in self._open.values():
            self._read(one)

    def _read(self, one: _Open) -> None:
        asyncio.get_running_loop().add_reader(one.socket, self._on_readable, one)

    def _on_readable(self, one: _Open) -> None:
        arrivals = one.receive()
        if arrivals:
            self._deliver(arrivals)

    def send(self, departures: Iterable[Departure4]) -> int:
        """Send datagrams; how many could not be sent. May be called by any thread."""
        failed = 0
        for departure in departures:
            one = self._by_interface.get(departure.interface)
            try:
                if one is None:
                    raise OSError(errno.ENODEV, f"interface {departure.interface} is not served any more")
                one.send(departure)
            except OSError as error:
                failed += 1
                _log.warning("to %s: %s", ipaddress.IPv4Address(departure.address), error)
        return failed

    def close(self) -> None:
        """Close all."""
        for one in self._open.values():
            if self._reading:
                asyncio.get_running_loop().remove_reader(one.socket)
            one.close()
        self._open.clear()
        self._by_interface.clear()


class SocketsChange4:
    """Sockets that are opened, and not used yet."""

    def __init__(self, sockets: Sockets4, wanted: Sequence[Place4], opened: dict[Place4, _Open]) -> None:
        self._sockets = sockets
        self._wanted = wanted
        self._opened = opened

    def commit(self) -> None:
        """Use them, and close those that are not wanted any more."""
        self._sockets.exchange(self._wanted, self._opened)

    def rollback(self) -> None:
        """Close them."""
        for one in self._opened.values():
            one.close()


def places_of(interfaces: Iterable[Interface]) -> list[Place4]:
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
                    found.setdefault(name, Place4(name, address))
            continue
        if interface.name not in existing:
            raise ConfigurationError(
                f"Failed to select interface: interface '{interface.name}' doesn't exist in the system"
            )
        address = int(ipaddress.IPv4Address(interface.address)) if interface.address else _address(interface.name)
        if not address:
            raise ConfigurationError(
                f"Failed to select interface: interface '{interface.name}' has no IPv4 address"
            )
        found[interface.name] = Place4(interface.name, address)
    return list(found.values())


def _ask(name: str, request: int) -> bytes:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
        try:
            return fcntl.ioctl(asking, request, struct.pack("256s", name.encode()[:15]))
        except OSError:
            return bytes(256)


def _address(name: str) -> int:
    return int.from_bytes(_ask(name, _SIOCGIFADDR)[20:24], "big")


def _flags(name: str) -> int:
    return int(struct.unpack_from("H", _ask(name, _SIOCGIFFLAGS), 16)[0])


def _udp_socket(place: Place4, port: int) -> socket.socket:
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    try:
        sock.setblocking(False)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, place.interface.encode() + b"\0")
        try:
            sock.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, RECEIVE_BUFFER)
        except PermissionError:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER)
        sock.bind(("", port))
    except BaseException:
        sock.close()
        raise
    return sock


def _packet_socket(place: Place4) -> socket.socket | None:
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
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return total ^ 0xFFFF
