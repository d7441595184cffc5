"""Accepting stream connections, and answering at once whom that is enough for.

Most clients of a control channel connect, send one command, read the answer and leave. When such a client is
accepted, its command is there already: it is read, answered and closed in the same turn, with a handful of
system calls and without the event loop's transport, timer and registration. Whoever wants more, or is not
done, is handed on to a transport; the connection's protocol does not notice the difference.
"""

from __future__ import annotations

import abc
import asyncio
import errno
import logging
import socket
from collections.abc import Callable, Iterator
from typing import Any

__all__ = [
    "ACCEPT_BATCH",
    "ACCEPT_BATCHES",
    "ACCEPT_PAUSE",
    "DRAIN_LIMIT",
    "EXHAUSTED",
    "Acceptor",
    "Connection",
    "Opening",
    "accept_waiting",
]

# Connections whose commands are done before the first of them gets its answer, and how many times that in
# one turn of the event loop, so that a storm of them leaves others their turn.
ACCEPT_BATCH = 16
ACCEPT_BATCHES = 4
# Connections that are still taken when accepting ends: as many as the kernel may hold back (its somaxconn is
# 4096), so that nobody who keeps connecting can put the end off.
DRAIN_LIMIT = 4096
# Turns of the event loop in which an answered client is looked after before it gets a transport: one that
# asked for one thing is gone after a few.
LOOKS = 3
# Seconds to wait when the process has no more file descriptors: asyncio's own figure.
ACCEPT_PAUSE = 1.0
# Bytes read before there is a transport; nearly all commands are smaller.
READ_SIZE = 64 * 1024

# What accept() fails with when the process or the system has no more of something.
EXHAUSTED = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})

_log = logging.getLogger("bridle.net")


def accept_waiting(listening: socket.socket) -> Iterator[socket.socket]:
    """Those who have connected already to a socket on which nobody accepts any more."""
    for _ in range(DRAIN_LIMIT):
        try:
            sock, _ = listening.accept()
        except OSError:
            return
        yield sock


class Connection(asyncio.Protocol, abc.ABC):
    """What an acceptor begins: a protocol that can be handed from one transport to another."""

    @abc.abstractmethod
    def begin(self, opening: Opening) -> None:
        """A client was accepted; nothing was read yet."""

    @abc.abstractmethod
    def leave(self) -> bool:
        """The client has closed; True when that is all there is to it."""

    @abc.abstractmethod
    def settle(self) -> None:
        """There is more to wait for: begin to count the time."""


class Opening(asyncio.Transport):
    """What stands in for a transport until it is known whether one is needed: it only remembers."""

    __slots__ = ("_closing", "_eof", "_paused", "_sent", "_written", "connection", "looks", "socket")

    def __init__(self, sock: socket.socket, connection: Connection) -> None:
        self.socket: socket.socket = sock
        self.connection: Connection = connection
        self.looks: int = 0
        self._written: list[bytes] = []
        self._sent = False
        self._closing = False
        self._eof = False
        self._paused = False

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """The socket; nothing else is known yet."""
        return self.socket if name == "socket" else default

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Remember bytes."""
        self._written.append(bytes(data))

    def get_write_buffer_size(self) -> int:
        """Nothing counts as unsent before it was tried."""
        return 0

    def can_write_eof(self) -> bool:
        """Stream sockets can be half-closed."""
        return True

    def write_eof(self) -> None:
        """Remember to half-close."""
        self._eof = True

    def close(self) -> None:
        """Remember to close after what was written."""
        self._closing = True

    def abort(self) -> None:
        """Remember to close, and forget what was written."""
        self._written.clear()
        self._closing = True

    def is_closing(self) -> bool:
        """True once it is to be closed."""
        return self._closing

    def pause_reading(self) -> None:
        """Remember to read no further."""
        self._paused = True

    def resume_reading(self) -> None:
        """Remember to read on."""
        self._paused = False

    def finish(self) -> bool:
        """Send what was written, and close if that is wanted and nothing is left; False: there is more to
        do."""
        if self._written:
            data = self._written.pop() if len(self._written) == 1 else b"".join(self._written)
            self._written.clear()
            self._sent = True
            try:
                sent = self.socket.send(data, socket.MSG_DONTWAIT)
            except BlockingIOError:
                sent = 0
            except OSError:
                sent = len(data)  # nobody is there to read it
            if sent < len(data):
                self._written.append(data[sent:])
                return False
        if not self._closing:
            return False
        self.socket.close()
        return True

    @property
    def answered(self) -> bool:
        """True when all that was asked for was answered, and more may be asked."""
        return self._sent and not (self._paused or self._eof or self._written)

    def move_to(self, transport: asyncio.Transport) -> None:
        """Do with a transport what was remembered, but for pausing: one of Python 3.11.2 that is paused
        before it began to read begins all the same."""
        if self._written:
            transport.write(b"".join(self._written))
            self._written.clear()
        if self._eof:
            transport.write_eof()
        if self._closing:
            transport.close()


class Acceptor:
    """Accepts connections on a listening socket, which it closes in the end."""

    def __init__(self, listening: socket.socket, begin: Callable[[], Connection]) -> None:
        self._loop = asyncio.get_running_loop()
        self._listening = listening
        self._begin = begin
        self._handing_on: set[asyncio.Task[None]] = set()
        self._visits: list[Opening] = []
        self._pause: asyncio.TimerHandle | None = None
        listening.setblocking(False)
        self._loop.add_reader(listening, self._accept)

    def stop(self) -> None:
        """Accept those who have connected already, and then no more."""
        if self._pause is not None:
            self._pause.cancel()
        if self._listening.fileno() >= 0:
            self._loop.remove_reader(self._listening)
            for sock in accept_waiting(self._listening):
                self._send_off(self._open(sock))
            self._listening.close()

    def _accept(self) -> None:
        for _ in range(ACCEPT_BATCHES):
            greeted: list[Opening] = []
            try:
                if not self._greet(greeted):
                    return
            finally:
                # Only now: clients that wake up one by one cost more than those that do together.
                for opening in greeted:
                    self._send_off(opening)

    def _greet(self, greeted: list[Opening]) -> bool:
        """Accept some, and take what they ask for; False: there are no more."""
        for _ in range(ACCEPT_BATCH):
            try:
                sock, _ = self._listening.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return False
            except OSError as error:
                if error.errno not in EXHAUSTED:
                    raise
                _log.error("no connection can be accepted for %s s: %s", ACCEPT_PAUSE, error.strerror)
                self._loop.remove_reader(self._listening)
                self._pause = self._loop.call_later(ACCEPT_PAUSE, self._go_on)
                return False
            greeted.append(self._open(sock))
        return True

    def _go_on(self) -> None:
        self._pause = None
        self._loop.add_reader(self._listening, self._accept)

    def _open(self, sock: socket.socket) -> Opening:
        connection = self._begin()
        opening = Opening(sock, connection)
        connection.begin(opening)
        try:
            data = sock.recv(READ_SIZE, socket.MSG_DONTWAIT)
        except OSError:
            return opening  # nothing yet; or an error, which the transport will meet again
        if data:
            connection.data_received(data)
        return opening

    def _send_off(self, opening: Opening) -> None:
        """Send what there is to send; who wants more than that is looked after again."""
        if opening.finish():
            self._lose(opening)
            return
        opening.connection.settle()
        if opening.answered:
            self._visit(opening)
        else:
            self._hand(opening)

    def _visit(self, opening: Opening) -> None:
        """Look after a client again that was answered: mostly it goes, or asks the next thing."""
        if not self._visits:
            self._loop.call_soon(self._look)
        self._visits.append(opening)

    def _look(self) -> None:
        visits, self._visits = self._visits, []
        for opening in visits:
            if not (opening.is_closing() or self._has_gone_on(opening)):
                self._visit(opening)
            elif opening.finish():
                self._lose(opening)
            else:
                self._hand(opening)

    def _has_gone_on(self, opening: Opening) -> bool:
        """True when a client did something, or has had its time."""
        try:
            data = opening.socket.recv(READ_SIZE, socket.MSG_DONTWAIT)
        except BlockingIOError:
            opening.looks += 1
            return opening.looks >= LOOKS
        except OSError:
            data = b""
        if data:
            opening.connection.data_received(data)
        elif opening.connection.leave() or not opening.connection.eof_received():
            opening.close()
        return True

    def _lose(self, opening: Opening) -> None:
        connection = opening.connection
        del opening.connection  # which knows the opening: nobody is to search for such pairs
        connection.connection_lost(None)

    def _hand(self, opening: Opening) -> None:
        task = self._loop.create_task(self._hand_on(opening.socket, opening.connection))
        self._handing_on.add(task)
        task.add_done_callback(self._handing_on.discard)

    async def _hand_on(self, sock: socket.socket, connection: Connection) -> None:
        try:
            await self._loop.connect_accepted_socket(lambda: connection, sock)
        except Exception as error:
            sock.close()
            connection.connection_lost(error)
