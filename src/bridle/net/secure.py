"""Accepting connections that begin with a TLS handshake, by the context that holds at that moment.

A context can so be exchanged while the listener goes on: those who are connected notice nothing, those who
come meet the new certificate, and the new opinion of whom to trust. A handshake has a deadline. Of those who
connect and say nothing only so many are waited for; then the one that has been silent the longest is cut, so
that they keep nobody out.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
from collections.abc import Callable, Sequence

from bridle.net.acceptor import ACCEPT_BATCH, ACCEPT_PAUSE, EXHAUSTED, accept_waiting

__all__ = ["HANDSHAKES", "HANDSHAKE_TIMEOUT", "SHUTDOWN_TIMEOUT", "SecureAcceptor"]

# Seconds in which both sides must have agreed: as long as Kea waits for a request.
HANDSHAKE_TIMEOUT = 10.0
# Seconds that a client gets to say goodbye in its turn.
SHUTDOWN_TIMEOUT = 2.0
# Handshakes under way at a time.
HANDSHAKES = 256

_log = logging.getLogger("bridle.net")


class SecureAcceptor:
    """Accepts connections on listening sockets, which it closes in the end."""

    def __init__(
        self,
        listening: Sequence[socket.socket],
        begin: Callable[[], asyncio.Protocol],
        context: Callable[[], ssl.SSLContext | None],
        *,
        handshakes: int = HANDSHAKES,
    ) -> None:
        """``begin`` makes the protocol of a connection, ``context`` tells what a handshake goes by."""
        self._loop = asyncio.get_running_loop()
        self._listening = listening
        self._begin = begin
        self._context = context
        self._limit = handshakes
        # In the order in which they came.
        self._shaking: dict[asyncio.Task[None], None] = {}
        self._pause: asyncio.TimerHandle | None = None
        for sock in listening:
            sock.setblocking(False)
        self._go_on()

    @property
    def busy(self) -> bool:
        """Whether there are handshakes under way."""
        return bool(self._shaking)

    def _go_on(self) -> None:
        self._pause = None
        for sock in self._listening:
            self._loop.add_reader(sock, self._accept, sock)

    def stop(self) -> None:
        """Take those who have connected already, and then no more. Handshakes under way go on."""
        if self._pause is not None:
            self._pause.cancel()
        for listening in self._listening:
            if listening.fileno() >= 0:
                self._loop.remove_reader(listening)
                for sock in accept_waiting(listening):
                    self._take(sock)
                listening.close()

    def _accept(self, listening: socket.socket) -> None:
        for _ in range(ACCEPT_BATCH):
            try:
                sock, _ = listening.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as error:
                if error.errno not in EXHAUSTED:
                    raise
                _log.error("no connection can be accepted for %s s: %s", ACCEPT_PAUSE, error.strerror)
                for each in self._listening:
                    self._loop.remove_reader(each)
                self._pause = self._loop.call_later(ACCEPT_PAUSE, self._go_on)
                return
            self._take(sock)

    def _take(self, sock: socket.socket) -> None:
        if len(self._shaking) >= self._limit:
            oldest = next(iter(self._shaking))
            del self._shaking[oldest]
            oldest.cancel()
        task = self._loop.create_task(self._shake(sock))
        self._shaking[task] = None
        task.add_done_callback(lambda task: self._shaking.pop(task, None))

    async def _shake(self, sock: socket.socket) -> None:
        try:
            sock.setblocking(False)
            await self._loop.connect_accepted_socket(
                self._begin,
                sock,
                ssl=self._context(),
                ssl_handshake_timeout=HANDSHAKE_TIMEOUT,
                ssl_shutdown_timeout=SHUTDOWN_TIMEOUT,
            )
        except OSError as error:
            sock.close()
            _log.info("a client was turned away before it spoke: %s", _reason(error))
        except BaseException:
            sock.close()
            raise

    async def close(self) -> None:
        """Take no more, and cut the handshakes that are under way."""
        self.stop()
        shaking = tuple(self._shaking)
        for task in shaking:
            task.cancel()
        if shaking:
            await asyncio.wait(shaking)


def _reason(error: OSError) -> str:
    if isinstance(error, ssl.SSLError) and error.reason:
        return str(error.reason).lower().replace("_", " ")
    return error.strerror or str(error)
