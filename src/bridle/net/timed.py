"""How long connections are waited for: the time they count for their client, with one timer each.

A timer object per request would cost more than answering it. The one timer is moved forward lazily: it goes
off at the earliest deadline that was ever set, looks whether a later one holds by then, and sleeps on if so.
"""

from __future__ import annotations

import abc
import asyncio
import fcntl
import struct
import termios

__all__ = ["GRACE", "TimedConnection", "count_unsent"]

# Seconds that closing gives to answers in flight: longer than a local daemon takes, short for an operator.
GRACE = 5.0

_FOREVER = float("inf")


def count_unsent(transport: asyncio.Transport) -> int:
    """Bytes that the other side has not taken in.

    Those in the kernel count: it reports room for more only once a good part of what it holds has left.
    """
    try:
        unsent = transport.get_write_buffer_size()
    except AttributeError:
        return 0  # a TLS transport that is closed knows nothing any more
    sock = transport.get_extra_info("socket")
    if sock is None or sock.fileno() < 0:
        return unsent
    (held,) = struct.unpack("i", fcntl.ioctl(sock.fileno(), termios.TIOCOUTQ, bytes(4)))
    return unsent + int(held)


class TimedConnection(asyncio.Protocol, abc.ABC):
    """A protocol with a deadline."""

    _loop: asyncio.AbstractEventLoop
    # Most connections end before a first deadline is set: until then both are the class's.
    _timer: asyncio.TimerHandle | None = None
    _deadline = 0.0

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop

    @abc.abstractmethod
    def _expired(self) -> None:
        """The time is up."""

    @property
    def _counting(self) -> bool:
        """True once a deadline was set, or it was said that there is none."""
        return self._timer is not None or self._deadline == _FOREVER

    def _touch(self, timeout: float | None) -> None:
        """Count ``timeout`` seconds from now; None: there is nothing to wait for."""
        if timeout is None:
            self._deadline = _FOREVER
            return
        self._deadline = self._loop.time() + timeout
        if self._timer is None or self._timer.when() > self._deadline:
            if self._timer is not None:
                self._timer.cancel()
            self._timer = self._loop.call_at(self._deadline, self._tick)

    def _stop_counting(self) -> None:
        """The connection is gone."""
        self._deadline = _FOREVER
        if self._timer is not None:
            self._timer.cancel()

    def _tick(self) -> None:
        self._timer = None
        if self._deadline == _FOREVER:
            return
        if self._loop.time() < self._deadline:
            self._timer = self._loop.call_at(self._deadline, self._tick)
        else:
            self._expired()
