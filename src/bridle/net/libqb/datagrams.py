"""What both sides of a connection on datagram sockets need: names, buffers, and the control page."""

from __future__ import annotations

import errno
import os
import socket
import struct

from bridle.net.libqb.memory import Mapping
from bridle.net.libqb.places import abstract
from bridle.net.libqb.ring import create_file, open_file
from bridle.net.libqb.trust import FileRights
from bridle.wire.libqb import CONTROL_BYTES, CONTROL_FLOW

__all__ = [
    "CLIENT_EVENT",
    "CLIENT_RESPONSE",
    "GONE",
    "SERVER_EVENT",
    "SERVER_REQUEST",
    "FlowPage",
    "FlowSetter",
    "bound",
    "widen",
]

# The endings of the four names.
SERVER_REQUEST = "-request"
SERVER_EVENT = "-event-tx"
CLIENT_RESPONSE = "-response"
CLIENT_EVENT = "-event"

GONE = frozenset((errno.ECONNREFUSED, errno.ECONNRESET, errno.ENOTCONN, errno.EPIPE, errno.EDESTADDRREQ))
"""What the kernel says to who sends to a socket that was closed."""

_FORCE = 32  # SO_SNDBUFFORCE: beyond net.core.wmem_max, for those who may
_OVERHEAD = 4096
"""Bytes that the kernel counts for a datagram beyond its content, generously."""

_NUMBER = struct.Struct("=i")


def bound(name: str, max_message: int) -> socket.socket:
    """A datagram socket under an abstract name, with room for at least one message on its way.

    Raises:
        OSError: EADDRINUSE: somebody else has the name.
    """
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    try:
        sock.setblocking(False)
        widen(sock, max_message)
        sock.bind(abstract(name))
    except BaseException:
        sock.close()
        raise
    return sock


def widen(sock: socket.socket, max_message: int) -> None:
    """Make the kernel take datagrams of so many bytes, as far as it lets us."""
    wanted = max_message + _OVERHEAD
    if sock.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF) >= 2 * wanted:
        return
    try:
        sock.setsockopt(socket.SOL_SOCKET, _FORCE, wanted)
    except OSError:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, wanted)


class FlowPage:
    """The control page as a client sees it: the server may ask it to pause.

    The numbers of messages under way that stand in it are hints of C's libqb for itself. They are left alone:
    from Python they could not be kept right, and a wrong one makes a server wait.
    """

    def __init__(self, path: str) -> None:
        descriptor = open_file(path, CONTROL_BYTES)
        try:
            self._page = Mapping(descriptor, CONTROL_BYTES)
        finally:
            os.close(descriptor)

    @property
    def flow(self) -> int:
        """The flow control of requests: 0 go on, 1 pause; 2 pause, for clients that care."""
        return int(self._page.words[CONTROL_FLOW // 4])

    def close(self) -> None:
        """Forget it."""
        self._page.close()


class FlowSetter:
    """The control page as a server writes it: through the file, so that no client can harm it by way of
    it."""

    def __init__(self, path: str, rights: FileRights) -> None:
        self._descriptor = create_file(path, CONTROL_BYTES, rights)

    def set(self, value: int) -> None:
        """Set the flow control of requests."""
        os.pwrite(self._descriptor, _NUMBER.pack(value), CONTROL_FLOW)

    def close(self) -> None:
        """Forget it."""
        os.close(self._descriptor)
