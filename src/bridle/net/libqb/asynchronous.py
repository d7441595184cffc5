"""A client of a libqb service for asyncio programs: the loop never waits.

Events show at a descriptor. Responses in shared memory show nowhere; a thread waits for them, at most one for
each connection, and only while a response is being waited for.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import functools
from collections.abc import Callable, Iterable
from typing import Self

from bridle.net.libqb.client import CONNECT_TIMEOUT, LibqbClient, connect
from bridle.net.libqb.errors import LibqbError, LibqbTimeout
from bridle.net.libqb.places import PLACES, Places
from bridle.net.libqb.trust import Trust, cluster_server
from bridle.wire.libqb import DEFAULT_MESSAGE, Transport

__all__ = ["AsyncLibqbClient", "connect_async"]

_PAUSE = 0.001
_LONGEST_PAUSE = 0.02


async def connect_async(
    name: str,
    *,
    max_message: int = DEFAULT_MESSAGE,
    timeout: float = CONNECT_TIMEOUT,
    trusted: Trust = cluster_server,
    places: Places = PLACES,
) -> AsyncLibqbClient:
    """As :func:`bridle.net.libqb.client.connect`, in a thread.

    Raises:
        LibqbError: as there.
        EndpointError: as there.
    """
    opened = functools.partial(
        connect, name, max_message=max_message, timeout=timeout, trusted=trusted, places=places
    )
    connecting = asyncio.ensure_future(asyncio.to_thread(opened))
    try:
        return AsyncLibqbClient(await asyncio.shield(connecting))
    except asyncio.CancelledError:
        connecting.add_done_callback(_close_unwanted)
        raise


def _close_unwanted(connecting: asyncio.Future[LibqbClient]) -> None:
    """Close what somebody wanted who was cancelled meanwhile."""
    if not connecting.cancelled() and connecting.exception() is None:
        connecting.result().close()


class AsyncLibqbClient:
    """A connection whose waiting is left to an event loop, the running one."""

    def __init__(self, client: LibqbClient) -> None:
        self.client = client
        self._loop = asyncio.get_running_loop()
        self._waiters: dict[int, set[asyncio.Future[None]]] = {}
        self._callback: Callable[[], None] | None = None
        self._threads: concurrent.futures.ThreadPoolExecutor | None = None
        self._pending: asyncio.Future[bytes] | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_exception: object) -> None:
        self.close()

    async def send(self, message: bytes, timeout: float = 0.0) -> None:
        """Send a message with its header; for lack of room, or while the server pauses, try for ``timeout``
        seconds.

        Raises:
            LibqbError: as :meth:`LibqbClient.send`.
        """
        deadline = self._loop.time() + timeout
        pause = _PAUSE
        while not self.client.try_send(message):
            left = deadline - self._loop.time()
            if left <= 0 or not self.client.connected:
                self.client.send(message)  # which says what is wrong
                return
            await asyncio.sleep(min(left, pause))
            pause = min(2 * pause, _LONGEST_PAUSE)

    async def receive_response(self, timeout: float) -> bytes:
        """The next response, as soon as there is one. One that comes after its waiter was cancelled, or had
        its time, is the next one's.

        Raises:
            LibqbTimeout: there is none within ``timeout`` seconds.
            LibqbError: as :meth:`LibqbClient.receive_response`.
        """
        if self._pending is None:
            message = self.client.try_receive_response()
            if message is not None:
                return message
        if self.client.transport is Transport.SOCKET:
            return await self._receive_datagram(timeout)
        deadline = self._loop.time() + timeout
        while True:
            left = max(deadline - self._loop.time(), 0.0)
            pending = self._pending = self._pending or self._wait_in_thread(left)
            await asyncio.wait({pending}, timeout=left)
            if not pending.done():
                raise self._no_response(timeout)
            self._pending = None
            try:
                return pending.result()
            except LibqbTimeout as error:  # of one who waited before, perhaps
                if self._loop.time() >= deadline:
                    raise self._no_response(timeout) from error

    def _no_response(self, timeout: float) -> LibqbTimeout:
        return LibqbTimeout(f"no response in {timeout:g} s", endpoint=self.client.endpoint)

    def _wait_in_thread(self, timeout: float) -> asyncio.Future[bytes]:
        if self._threads is None:
            self._threads = concurrent.futures.ThreadPoolExecutor(1, f"libqb {self.client.name}")
        pending = self._loop.run_in_executor(self._threads, self.client.receive_response, timeout)
        pending.add_done_callback(_look_at)
        return pending

    async def _receive_datagram(self, timeout: float) -> bytes:
        deadline = self._loop.time() + timeout
        while True:
            left = deadline - self._loop.time()
            if not self.client.connected:
                return self.client.receive_response(0.0)  # the last, or that there is none
            if left <= 0:
                raise self._no_response(timeout)
            await self._readable(self.client.response_filenos(), left)
            message = self.client.try_receive_response()
            if message is not None:
                return message

    async def receive_event(self, timeout: float | None = None) -> bytes:
        """The next event, as soon as there is one; ``timeout`` None waits for ever.

        Raises:
            LibqbTimeout: there is none within ``timeout`` seconds.
            LibqbError: as :meth:`LibqbClient.receive_event`.
        """
        deadline = None if timeout is None else self._loop.time() + timeout
        while (message := self.client.receive_event()) is None:
            left = None if deadline is None else deadline - self._loop.time()
            if left is not None and left <= 0:
                raise LibqbTimeout(f"no event in {timeout:g} s", endpoint=self.client.endpoint)
            await self._readable(self.client.filenos(), left)
        return message

    def watch(self, callback: Callable[[], None] | None) -> None:
        """Call ``callback`` whenever there is an event, or the end; it has to take events until there are
        none, and to stop watching (None) at the end.

        Raises:
            LibqbError: ENOTCONN: the connection was closed here.
        """
        self._callback = callback
        for descriptor in self.client.filenos():
            self._look_after(descriptor)

    async def _readable(self, descriptors: Iterable[int], timeout: float | None) -> None:
        """Wait until one of the descriptors has something to read, or the time is up."""
        wakened = self._loop.create_future()
        watched = tuple(descriptors)
        for descriptor in watched:
            self._waiters.setdefault(descriptor, set()).add(wakened)
            self._look_after(descriptor)
        try:
            await asyncio.wait({wakened}, timeout=timeout)
        finally:
            wakened.cancel()
            for descriptor in watched:
                self._waiters.get(descriptor, set()).discard(wakened)
                self._look_after(descriptor)

    def _look_after(self, descriptor: int) -> None:
        """Have the loop watch a descriptor if anybody wants it; what is not watched does not wake it."""
        if self._waiters.get(descriptor) or (self._callback is not None and self._is_event(descriptor)):
            self._loop.add_reader(descriptor, self._on_readable, descriptor)
        else:
            self._waiters.pop(descriptor, None)
            self._loop.remove_reader(descriptor)

    def _is_event(self, descriptor: int) -> bool:
        try:
            return descriptor in self.client.filenos()
        except LibqbError:
            return False

    def _on_readable(self, descriptor: int) -> None:
        for wakened in self._waiters.pop(descriptor, ()):
            if not wakened.done():
                wakened.set_result(None)
        self._look_after(descriptor)
        if self._callback is not None and self._is_event(descriptor):
            self._callback()

    def close(self) -> None:
        """End the connection. Whoever waits gets ENOTCONN."""
        self._callback = None
        try:
            descriptors = {*self.client.filenos(), *self.client.response_filenos()}
        except LibqbError:
            descriptors = set()
        for descriptor in descriptors:
            self._loop.remove_reader(descriptor)
        waiters, self._waiters = self._waiters, {}
        self.client.close()
        for wakened in {each for group in waiters.values() for each in group}:
            if not wakened.done():
                wakened.set_result(None)
        if self._threads is not None:
            self._threads.shutdown(wait=False)


def _look_at(pending: asyncio.Future[bytes]) -> None:
    """What nobody waits for any more is no error that was missed."""
    if not pending.cancelled():
        pending.exception()
