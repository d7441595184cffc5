"""Watching many short-lived sockets with one registration in the event loop.

An event loop makes a handle, and several system calls, for each socket that it watches. For a connection that
lives for one question and one answer that is most of its cost. Here the loop watches one epoll, which watches
them all.
"""

from __future__ import annotations

import asyncio
import select
from collections.abc import Callable

__all__ = ["Poller"]


class Poller:
    """Calls back when sockets can be read."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._epoll = select.epoll()
        self._watched: dict[int, Callable[[], None]] = {}
        self._loop.add_reader(self._epoll.fileno(), self._ready)

    def watch(self, descriptor: int, readable: Callable[[], None]) -> None:
        """Call ``readable`` whenever there is something to read."""
        self._epoll.register(descriptor, select.EPOLLIN)
        self._watched[descriptor] = readable

    def forget(self, descriptor: int) -> None:
        """Watch a socket no more. It is closed next, which is what takes it out of the kernel's list."""
        self._watched.pop(descriptor, None)

    @property
    def idle(self) -> bool:
        """True when nothing is watched."""
        return not self._watched

    def close(self) -> None:
        """End. Nothing may be watched any more."""
        if not self._epoll.closed:
            self._loop.remove_reader(self._epoll.fileno())
            self._epoll.close()

    def _ready(self) -> None:
        for descriptor, _ in self._epoll.poll(0):
            readable = self._watched.get(descriptor)
            if readable is not None:
                readable()
