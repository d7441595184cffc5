"""What the connections of one listener hold together, and who gives way when that is too much.

Limits for each connection are not enough: a thousand connections that each stay just below them hold
gigabytes. So what is kept for a client for longer than one turn is counted for the listener, too: requests
that have not come whole or wait for their turn, and answers that are not taken in. Whoever has been holding
the longest gives way first; those who send or read all at once are hardly ever among them.
"""

from __future__ import annotations

import resource
from collections.abc import Callable
from typing import Generic, TypeVar

__all__ = ["ANSWER_BYTES", "FREE_BYTES", "REQUEST_BYTES", "Share", "affordable"]

# Bytes of requests that have begun and are not answered, of all connections of a listener: four of the
# largest, or 16,000 as they mostly are.
REQUEST_BYTES = 128 * 1024 * 1024
# Bytes of answers that clients have not taken in, of all connections of a listener: a hundred of the largest
# configurations that are in use.
ANSWER_BYTES = 128 * 1024 * 1024
# Bytes that each connection may hold uncounted: nobody who sends a common command ever has to give way. With
# 1024 connections that is 64 MiB.
FREE_BYTES = 64 * 1024
# File descriptors that are left to everything that is no connection which is served: those that are refused,
# those that are taken in one turn, and the daemon's own.
SPARE_DESCRIPTORS = 256

T = TypeVar("T")


class Share(Generic[T]):
    """So many bytes, for all who hold some. ``yields`` asks one to give way; False: it cannot now."""

    def __init__(self, limit: int, yields: Callable[[T], bool]) -> None:
        self.limit = limit
        self.total: int = 0
        self._yields = yields
        # In the order in which they began to hold.
        self._held: dict[T, int] = {}

    def hold(self, holder: T, size: int) -> bool:
        """``holder`` holds ``size`` bytes now, those of before included.

        Where that makes too many for all, others give way, the one first that began first. False: it is
        still too much.
        """
        if size <= FREE_BYTES:
            self.release(holder)
            return True
        self.total += size - self._held.get(holder, 0)
        self._held[holder] = size
        if self.total > self.limit:
            self._make_room()
        return self.total <= self.limit

    def release(self, holder: T) -> None:
        """``holder`` holds nothing any more."""
        if self._held:
            self.total -= self._held.pop(holder, 0)

    def _make_room(self) -> None:
        for holder in tuple(self._held):
            if self.total <= self.limit:
                return
            if self._yields(holder):
                self.release(holder)


def affordable(connections: int) -> int:
    """As many connections as are wanted, or as the process may have descriptors for; one at the least."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return connections
    return max(1, min(connections, soft - SPARE_DESCRIPTORS))
