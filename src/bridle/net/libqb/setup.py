"""The stream socket by which a connection begins, and whose end is the connection's end."""

from __future__ import annotations

import errno
import select
import socket
import struct
import time

from bridle.core.errors import RemoteProtocolError
from bridle.net.credentials import peer_credentials
from bridle.net.libqb.errors import LibqbError, LibqbTimeout
from bridle.net.libqb.places import Places
from bridle.net.libqb.trust import Credentials, supplementary_groups
from bridle.wire.libqb import (
    RESPONSE_BYTES,
    ConnectionResponse,
    decode_response,
    encode_request,
)

__all__ = ["Handshake", "ask", "connected_peer", "dial", "hang_up", "has_ended"]

_UCRED = struct.Struct("iII")
_ANCILLARY = socket.CMSG_SPACE(_UCRED.size)

# Seconds between two attempts to connect to a server whose queue is full; the kernel gives no sign.
_CROWDED = 0.01


class Handshake:
    """Collects one message of the handshake, and who sent it.

    ``SO_PASSCRED`` has to be set on the socket before the message is sent.
    """

    def __init__(self, size: int) -> None:
        self._left = size
        self._data = b""
        self._sender: tuple[int, int, int] | None = None

    def receive(self, sock: socket.socket) -> bytes | None:
        """Read what is there; the message when it is complete, None before.

        Raises:
            BlockingIOError: there is nothing.
            OSError: the connection is broken; ENOTCONN where it was ended.
        """
        data, ancillary, _, _ = sock.recvmsg(self._left, _ANCILLARY, socket.MSG_CMSG_CLOEXEC)
        if not data:
            raise OSError(errno.ENOTCONN, "the other side has ended the connection")
        for level, kind, content in ancillary:
            if level == socket.SOL_SOCKET and kind == socket.SCM_CREDENTIALS and self._sender is None:
                self._sender = _UCRED.unpack_from(content)
        self._data += data
        self._left -= len(data)
        return None if self._left else self._data

    def sender(self, sock: socket.socket) -> Credentials:
        """Who sent the message. Supplementary groups are those of who connected: they count for him alone.

        Raises:
            RemoteProtocolError: the kernel does not say.
        """
        if self._sender is None:
            raise RemoteProtocolError("a message of the handshake without credentials", self._data)
        pid, uid, gid = self._sender
        connected = connected_peer(sock)
        same = (connected.uid, connected.gid) == (uid, gid)
        return Credentials(pid, uid, gid, connected.groups if same else frozenset())


def connected_peer(sock: socket.socket) -> Credentials:
    """Who connected a stream socket.

    Raises:
        TransportError: it is closed.
    """
    pid, uid, gid = peer_credentials(sock)
    return Credentials(pid, uid, gid, supplementary_groups(sock, uid, gid))


def dial(name: str, places: Places, deadline: float) -> socket.socket:
    """Connect to a service, before the given time of the monotonic clock.

    Raises:
        LibqbError: ECONNREFUSED: nobody listens; ETIMEDOUT; or what the kernel says.
    """
    address = places.service(name)
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    sock.setblocking(False)
    try:
        while True:
            try:
                sock.connect(address)
                return sock
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise LibqbTimeout("the server takes no connections", endpoint=f"qb:{name}") from None
            except OSError as error:
                gone = error.errno in (errno.ENOENT, errno.ECONNREFUSED)
                code = errno.ECONNREFUSED if gone else error.errno or errno.EIO
                raise LibqbError(code, endpoint=f"qb:{name}") from error
            time.sleep(_CROWDED)
    except BaseException:
        sock.close()
        raise


def ask(sock: socket.socket, max_message: int, deadline: float) -> tuple[ConnectionResponse, Credentials]:
    """Ask a server for a connection, and give its answer and who it is.

    Raises:
        LibqbError: ETIMEDOUT; ENOTCONN: it closed.
        RemoteProtocolError: it answered something else.
        OSError: what the kernel says.
    """
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
    sock.send(encode_request(max_message), socket.MSG_NOSIGNAL)
    handshake = Handshake(RESPONSE_BYTES)
    poller = select.poll()
    poller.register(sock, select.POLLIN)
    while True:
        left = deadline - time.monotonic()
        if left <= 0 or not poller.poll(left * 1000):
            raise LibqbTimeout("the server did not answer")
        data = handshake.receive(sock)
        if data is not None:
            response, server = decode_response(data), handshake.sender(sock)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 0)
            return response, server


def has_ended(sock: socket.socket) -> bool:
    """Whether the other side has gone, whatever else is still to be read."""
    poller = select.poll()
    poller.register(sock, select.POLLRDHUP)
    return bool(poller.poll(0))


def hang_up(sock: socket.socket) -> None:
    """Close, and wake up threads that poll the socket: closing alone does not."""
    try:
        sock.shutdown(socket.SHUT_RDWR)
    except OSError:
        pass
    sock.close()
