"""Calls to ``qb:`` endpoints from asyncio, each in a thread: no event loop can wait for a response in shared
memory."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from bridle.client.pacemaker import PacemakerChannel
from bridle.core.errors import BridleError, DeadlineExceeded
from bridle.core.messages import Command, Response
from bridle.net.endpoint import Endpoint

__all__ = ["THREADS", "PacemakerPool"]

THREADS = 16
"""Calls to one endpoint that wait for their answers at the same time; more wait their turn. Each daemon
answers one after the other anyway."""


class PacemakerPool:
    """The threads are the endpoint's own, so that a daemon that does not answer holds up no other."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint
        self._lock = threading.Lock()
        self._idle: list[PacemakerChannel] = []
        self._threads: ThreadPoolExecutor | None = None

    async def exchange(self, command: Command, timeout: float) -> Sequence[Response]:
        """Call a command, ``timeout`` seconds at the most.

        Raises:
            TransportError, DeadlineExceeded, RemoteProtocolError: there is no answer; nothing is sent twice.
        """
        deadline = time.monotonic() + timeout
        if self._threads is None:
            self._threads = ThreadPoolExecutor(THREADS, "bridle-qb")
        called = self._threads.submit(self._call, command, deadline)
        try:
            async with asyncio.timeout(timeout):
                return (await asyncio.wrap_future(called),)
        except TimeoutError as error:
            if isinstance(error, BridleError):
                raise
            raise DeadlineExceeded("no answer in time", endpoint=str(self._endpoint)) from error

    async def exchange_many(
        self, commands: Sequence[Command], timeout: float
    ) -> Sequence[Sequence[Response]]:
        """Call commands one after the other.

        Raises:
            TransportError, DeadlineExceeded, RemoteProtocolError: there are not all answers.
        """
        deadline = time.monotonic() + timeout
        return [await self.exchange(command, deadline - time.monotonic()) for command in commands]

    def _call(self, command: Command, deadline: float) -> Response:
        with self._lock:
            channel = self._idle.pop() if self._idle else PacemakerChannel(self._endpoint)
        try:
            if time.monotonic() >= deadline:
                raise DeadlineExceeded("no turn in time", endpoint=str(self._endpoint))
            return channel.answer(command, deadline)
        finally:
            self._put_back(channel)

    def _put_back(self, channel: PacemakerChannel) -> None:
        with self._lock:
            keep = self._threads is not None
            if keep:
                self._idle.append(channel)
        if not keep:
            channel.close()

    def close(self) -> None:
        """Close the connections that are kept; those of calls under way when these are done. The pool can be
        used again."""
        with self._lock:
            idle, self._idle = self._idle, []
            threads, self._threads = self._threads, None
        for channel in idle:
            channel.close()
        if threads is not None:
            threads.shutdown(wait=False)
