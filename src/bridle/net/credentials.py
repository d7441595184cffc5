"""Who is at the other end of a unix socket, as the kernel says."""

from __future__ import annotations

import socket
import struct
from typing import Protocol

from bridle.core.errors import TransportError
from bridle.core.messages import Peer

__all__ = ["CredentialSource", "peer_credentials", "peer_of_unix"]

# struct ucred of unix(7): a pid_t, a uid_t and a gid_t.
_UCRED = struct.Struct("iII")

# What the kernel says for "none": no such process in our pid namespace; no such user.
_NO_PROCESS = 0
_NOBODY_KNOWN = 0xFFFFFFFF


class CredentialSource(Protocol):
    """A connected unix socket: Python's own, or what a transport of asyncio or uvloop shows of it."""

    def getsockopt(self, level: int, option: int, size: int, /) -> bytes:
        """Read a socket option of at most ``size`` bytes."""
        ...


def peer_credentials(sock: CredentialSource) -> tuple[int, int, int]:
    """The pid, uid and gid of the process that connected, as they were when it did (``SO_PEERCRED``).

    A socket without a connected peer gives ``(0, 4294967295, 4294967295)``; a peer in a pid namespace that
    is none of ours has pid 0.

    Raises:
        TransportError: the socket is closed, or it is of a kind that knows no credentials.
    """
    try:
        pid, uid, gid = _UCRED.unpack(sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size))
    except OSError as error:
        raise TransportError(f"cannot ask the kernel who the peer is: {error.strerror}") from error
    return pid, uid, gid


def peer_of_unix(sock: CredentialSource, address: str) -> Peer:
    """The peer of a unix socket that listens at ``address``; what the kernel does not know of it is None.

    Raises:
        TransportError: as :func:`peer_credentials`.
    """
    pid, uid, gid = peer_credentials(sock)
    return Peer(
        transport="unix",
        address=address,
        pid=None if pid == _NO_PROCESS else pid,
        uid=None if uid == _NOBODY_KNOWN else uid,
        gid=None if gid == _NOBODY_KNOWN else gid,
    )
