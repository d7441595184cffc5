"""A server's channels on datagram sockets.

Every local user can see their names. So a request counts only if the kernel says that it comes from the
user who connected; nothing is sent before the first one came: then the client's sockets are known to be its
own (facts/pacemaker.md §1.5).

A client that watches its socket for events does not see that the server closes. But the kernel tells it of a
reset when a socket with an unread datagram turns from it to another (§1.4); so the socket for events has one
from the beginning.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import fcntl
import socket
import struct
import termios
from collections.abc import Callable

from bridle.net.libqb.datagrams import (
    CLIENT_EVENT,
    CLIENT_RESPONSE,
    GONE,
    SERVER_EVENT,
    SERVER_REQUEST,
    FlowSetter,
    bound,
)
from bridle.net.libqb.directory import ConnectionDirectory
from bridle.net.libqb.errors import LibqbError
from bridle.net.libqb.places import abstract
from bridle.net.libqb.trust import Credentials, FileRights
from bridle.wire.libqb import ConnectionResponse, Transport

__all__ = ["SocketServerChannels"]

_UCRED = struct.Struct("iII")
_ANCILLARY = socket.CMSG_SPACE(_UCRED.size)
_FOREIGN = 16
"""Datagrams of strangers that are dropped in one go: more than the kernel lets them queue, 10."""


class SocketServerChannels:
    """Two datagram sockets, and the stream socket, which carries nothing any more."""

    more = False
    """Requests that wait are told of again."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        setup: socket.socket,
        directory: ConnectionDirectory,
        service: str,
        max_message: int,
        rights: FileRights,
        client: Credentials,
    ) -> None:
        """Make sockets and control page.

        Raises:
            OSError: there is no room.
        """
        self._loop = loop
        self._setup = setup
        self._client = (client.uid, client.gid)
        self._base = directory.base(service)
        self._known = False
        self._buffer = memoryview(bytearray(max_message))
        control = directory.base(f"control-{service}")
        with contextlib.ExitStack() as made:
            self._flow = FlowSetter(control, rights)
            made.callback(self._flow.close)
            self._requests = made.enter_context(bound(self._base + SERVER_REQUEST, max_message))
            self._events = made.enter_context(bound(self._base + SERVER_EVENT, max_message))
            self._requests.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as other:
                other.sendto(b"\0", abstract(self._base + SERVER_EVENT))
            made.pop_all()
        self.answer: ConnectionResponse = ConnectionResponse(
            0, Transport.SOCKET, max_message, control, self._base
        )

    def start(self, work: Callable[[], None], ended: Callable[[], None]) -> None:
        """Call ``work`` when there are requests, ``ended`` when the client has gone."""
        self._work = work
        self._ended = ended
        self._loop.add_reader(self._setup.fileno(), self._on_setup)
        self._loop.add_reader(self._requests.fileno(), work)

    def _on_setup(self) -> None:
        """Nothing is to be read but the end; a client that writes here is none of libqb's."""
        try:
            self._setup.recv(1)
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            pass
        self._loop.remove_reader(self._setup.fileno())
        self._loop.remove_reader(self._requests.fileno())
        self._ended()

    def take(self) -> bytes | None:
        """The next request, if there is one."""
        for _ in range(_FOREIGN):
            try:
                size, ancillary, _, sender = self._requests.recvmsg_into((self._buffer,), _ANCILLARY)
            except (BlockingIOError, InterruptedError):
                return None
            except OSError as error:
                raise LibqbError(errno.ENOTCONN) from error
            if not ancillary or _UCRED.unpack_from(ancillary[0][2])[1:] != self._client:
                continue
            if not self._known:
                self._know(sender)
            return self._buffer[:size].tobytes()
        return None

    def _know(self, sender: object) -> None:
        if sender != abstract(self._base + CLIENT_RESPONSE):
            raise LibqbError(errno.EBADMSG, "a request from a socket with another name")
        try:
            self._requests.connect(abstract(self._base + CLIENT_RESPONSE))
            self._events.connect(abstract(self._base + CLIENT_EVENT))
        except OSError as error:
            raise LibqbError(errno.ENOTCONN) from error
        self._known = True

    def put_response(self, message: bytes) -> bool:
        """Send a response, unless there is no room."""
        return self._put(self._requests, message)

    def put_event(self, message: bytes) -> bool:
        """Send an event, unless there is no room, or the client's socket is not known yet."""
        return self._put(self._events, message)

    def _put(self, sock: socket.socket, message: bytes) -> bool:
        if not self._known:
            return False
        try:
            sock.send(message)
        except (BlockingIOError, InterruptedError):
            return False
        except OSError as error:
            if error.errno in GONE:
                return True  # what the socket that carries nothing says as well
            raise LibqbError(error.errno or errno.EIO, str(error)) from error
        return True

    def pause(self) -> None:
        """Ask the client to send no more, and read no more."""
        self._flow.set(1)
        self._loop.remove_reader(self._requests.fileno())

    def resume(self) -> None:
        """Let the client go on."""
        self._flow.set(0)
        self._loop.add_reader(self._requests.fileno(), self._work)

    @property
    def drained(self) -> bool:
        """Whether the client has taken all that was sent."""
        return not (_unread(self._requests) or _unread(self._events))

    def close(self) -> None:
        """End it, so that the client sees it wherever it looks."""
        for sock in (self._setup, self._requests):
            self._loop.remove_reader(sock.fileno())
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as other:
            if not self._known:
                self._events.connect(abstract(self._base + CLIENT_EVENT))
            other.bind("")  # the kernel finds a name
            self._events.connect(other.getsockname())
        for sock in (self._events, self._requests, self._setup):
            sock.close()
        self._flow.close()


def _unread(sock: socket.socket) -> int:
    """Bytes that were sent and that nobody has taken."""
    return int(struct.unpack("i", fcntl.ioctl(sock.fileno(), termios.TIOCOUTQ, bytes(4)))[0])
