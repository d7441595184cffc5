"""Messages that a client has no room for: kept in order, tried again, and given up on with the client.

Nothing tells a server that a client has taken a message. So it looks again: soon at first, because a client
that works takes microseconds, then as seldom as Pacemaker's daemons do (facts/pacemaker.md §2).
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable

from bridle.net.libqb.errors import LibqbError

__all__ = ["BACKLOG", "BACKLOG_BYTES", "FLUSH", "Outbox", "longest_delay"]

FLUSH = 100
"""Messages that are sent in one go: Pacemaker's number; other clients have their turn then."""

BACKLOG = 500
"""Messages that may wait for a client which takes none: Pacemaker's default (``cluster-ipc-limit``)."""

BACKLOG_BYTES = 64 * 1024 * 1024
"""Bytes that may wait for a client, whatever it does: ninety notifications with a CIB of 700 KB."""

_FIRST_DELAY = 0.001
_SHORTEST_LONG_DELAY = 1.0
_DELAY_PER_MESSAGE = 0.1
_LONGEST_DELAY = 1.5


def longest_delay(waiting: int) -> float:
    """Seconds until a client is tried again that has taken nothing for a while, with so many waiting."""
    return min(_SHORTEST_LONG_DELAY + _DELAY_PER_MESSAGE * waiting, _LONGEST_DELAY)


class Outbox:
    """What is to go into one channel of a client."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        put: Callable[[bytes], bool],
        overflow: Callable[[], None],
        fail: Callable[[LibqbError], None],
        *,
        backlog: int = BACKLOG,
    ) -> None:
        """``put`` sends a message, or says that there is no room. ``overflow`` is called when too much waits,
        ``fail`` when what waits cannot be sent."""
        self._loop = loop
        self._put = put
        self._overflow = overflow
        self._fail = fail
        self._backlog = backlog
        self._waiting: deque[bytes] = deque()
        self._bytes = 0
        self._delay = _FIRST_DELAY
        self._before = 0
        self._timer: asyncio.TimerHandle | asyncio.Handle | None = None

    def __len__(self) -> int:
        return len(self._waiting)

    def send(self, message: bytes) -> None:
        """Send a message now, or as soon as there is room.

        Raises:
            LibqbError: it cannot be sent at all.
        """
        if not self._waiting and self._put(message):
            return
        self._waiting.append(message)
        self._bytes += len(message)
        if self._bytes > BACKLOG_BYTES:
            self._overflow()
        elif self._timer is None:
            self._try_again()

    def _flush(self) -> None:
        """Send what there is room for now."""
        waiting, sent = self._waiting, 0
        while waiting and sent < FLUSH and self._put(waiting[0]):
            self._bytes -= len(waiting.popleft())
            sent += 1
        if sent:
            self._delay = _FIRST_DELAY
            self._before = 0
        if not waiting:
            return
        if sent == FLUSH:
            self._timer = self._loop.call_soon(self._on_time)
        elif self._delay < _SHORTEST_LONG_DELAY or self._is_patient():
            self._try_again()
        else:
            self._overflow()

    def _is_patient(self) -> bool:
        """Whether a client that takes nothing is waited for: a large backlog must not grow."""
        before, self._before = self._before, len(self._waiting)
        return len(self._waiting) <= self._backlog or before <= 1 or len(self._waiting) < before

    def _try_again(self) -> None:
        self._timer = self._loop.call_later(self._delay, self._on_time)
        self._delay = min(2 * self._delay, longest_delay(len(self._waiting)))

    def _on_time(self) -> None:
        self._timer = None
        try:
            self._flush()
        except LibqbError as error:
            self._fail(error)

    def clear(self) -> None:
        """Forget all."""
        self._stop()
        self._waiting.clear()
        self._bytes = 0

    def _stop(self) -> None:
        timer, self._timer = self._timer, None
        if timer is not None:
            timer.cancel()
