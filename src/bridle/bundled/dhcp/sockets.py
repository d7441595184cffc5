"""The sockets of a DHCP server: one for each interface, exchanged without a moment in which nobody listens.

Datagrams are taken in batches: what came in while the last batch was worked on is the next one.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import socket
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Generic, Protocol, TypeVar

from bridle.core.errors import ConfigurationError

__all__ = ["BATCH", "RECEIVE_BUFFER", "InterfaceSocket", "Sockets", "SocketsChange", "receive_buffer"]

# Datagrams that are worked on together, and whose leases are one transaction: at 100 µs each they keep the
# commands waiting for some milliseconds.
BATCH = 64
# Bytes that the kernel holds for us; some 5000 messages, what comes within a slow command or two.
RECEIVE_BUFFER = 8 * 1024 * 1024
_SO_RCVBUFFORCE = 33

_log = logging.getLogger("bridle.dhcp")

Place = TypeVar("Place", bound="_Placed")
Arrival = TypeVar("Arrival")
Departure = TypeVar("Departure", bound="_Placed", contravariant=True)
Sent = TypeVar("Sent", bound="_Placed")


class _Placed(Protocol):
    @property
    def interface(self) -> str: ...


class InterfaceSocket(Protocol[Place, Arrival, Departure]):
    """What listens on one interface."""

    place: Place
    """Where, and how; may be exchanged for another on the same interface."""

    @property
    def socket(self) -> socket.socket:
        """What becomes readable."""
        ...

    def receive(self, limit: int) -> list[Arrival]:
        """What has come in, so many at most."""
        ...

    def send(self, departure: Departure) -> None:
        """Send a datagram. Raises OSError."""
        ...

    def close(self) -> None:
        """Close it."""
        ...


class Sockets(Generic[Place, Arrival, Sent]):
    """The sockets that are open. ``make`` opens one; ``deliver`` gets what comes in, from the event loop."""

    def __init__(
        self,
        make: Callable[[Place], InterfaceSocket[Place, Arrival, Sent]],
        deliver: Callable[[list[Arrival]], None],
    ) -> None:
        self._make = make
        self._deliver = deliver
        self._open: dict[str, InterfaceSocket[Place, Arrival, Sent]] = {}
        self._reading = False

    @property
    def places(self) -> list[Place]:
        """Where they listen."""
        return [one.place for one in self._open.values()]

    def prepare(self, wanted: Sequence[Place]) -> SocketsChange[Place, Arrival, Sent]:
        """Open what is not open yet; nothing is closed before the change is committed.

        Raises:
            ConfigurationError: a socket cannot be opened.
        """
        opened: dict[str, InterfaceSocket[Place, Arrival, Sent]] = {}
        try:
            for place in wanted:
                if place.interface not in self._open:
                    opened[place.interface] = self._make(place)
        except OSError as error:
            for one in opened.values():
                one.close()
            raise ConfigurationError(f"cannot open a DHCP socket on {place}: {error.strerror}") from error
        return SocketsChange(self, wanted, opened)

    def exchange(
        self, wanted: Sequence[Place], opened: Mapping[str, InterfaceSocket[Place, Arrival, Sent]]
    ) -> None:
        """Use these places from now on."""
        before = self._open
        self._open = {
            place.interface: opened.get(place.interface) or before[place.interface] for place in wanted
        }
        for place in wanted:
            self._open[place.interface].place = place
        if self._reading:
            for one in opened.values():
                self._read(one)
        for name, one in before.items():
            if name not in self._open:
                if self._reading:
                    asyncio.get_running_loop().remove_reader(one.socket)
                one.close()

    def start(self) -> None:
        """Take what comes in."""
        self._reading = True
        for one in self._open.values():
            self._read(one)

    def _read(self, one: InterfaceSocket[Place, Arrival, Sent]) -> None:
        asyncio.get_running_loop().add_reader(one.socket, self._on_readable, one)

    def _on_readable(self, one: InterfaceSocket[Place, Arrival, Sent]) -> None:
        try:
            arrivals = one.receive(BATCH)
        except OSError as error:
            _log.warning("%s: receiving: %s", one.place.interface, error)
            return
        if arrivals:
            self._deliver(arrivals)

    def send(self, departures: Iterable[Sent]) -> int:
        """Send datagrams; how many could not be sent. May be called by any thread."""
        failed = 0
        for departure in departures:
            one = self._open.get(departure.interface)
            try:
                if one is None:
                    raise OSError(errno.ENODEV, "not served any more")
                one.send(departure)
            except OSError as error:
                failed += 1
                _log.warning("%s: sending: %s", departure.interface, error)
        return failed

    def stop(self) -> None:
        """Take nothing any more; sending goes on."""
        if self._reading:
            self._reading = False
            for one in self._open.values():
                asyncio.get_running_loop().remove_reader(one.socket)
                self._on_readable(one)

    def close(self) -> None:
        """Close all."""
        self.stop()
        for one in self._open.values():
            one.close()
        self._open.clear()


class SocketsChange(Generic[Place, Arrival, Sent]):
    """Sockets that are opened, and not used yet."""

    def __init__(
        self,
        sockets: Sockets[Place, Arrival, Sent],
        wanted: Sequence[Place],
        opened: Mapping[str, InterfaceSocket[Place, Arrival, Sent]],
    ) -> None:
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


def receive_buffer(sock: socket.socket) -> None:
    """Let the kernel keep what comes while we are busy."""
    try:
        sock.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, RECEIVE_BUFFER)
    except PermissionError:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER)
