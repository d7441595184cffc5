"""Who is at the other end of a unix socket, as the kernel says."""

from __future__ import annotations

import errno
import os
import socket
import struct
from collections.abc import Callable
from typing import Protocol

from msgspec.structs import force_setattr

from bridle.core.errors import TransportError
from bridle.core.messages import Peer

__all__ = ["CredentialSource", "learn_groups", "peer_credentials", "peer_groups", "peer_of_unix"]

# socket(7) has it since Linux 4.13, Python not yet.
_SO_PEERGROUPS = 59
_GROUP_BYTES = 4
# What Python reads of an option at most. Few users are in more than these 256 groups.
_OPTION_BYTES = 1024
# The kernel's NGROUPS_MAX.
_MOST_GROUPS = 65536

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

    def fileno(self) -> int:
        """Its descriptor."""
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


def peer_groups(sock: CredentialSource) -> tuple[int, ...]:
    """The supplementary groups of the process that connected, as they were when it did (``SO_PEERGROUPS``).

    Raises:
        TransportError: the socket is closed, has no peer, or is of a kind that knows no credentials.
    """
    try:
        try:
            data = sock.getsockopt(socket.SOL_SOCKET, _SO_PEERGROUPS, _OPTION_BYTES)
        except OSError as error:
            if error.errno != errno.ERANGE:
                raise
            data = _many_groups(sock.fileno())
    except OSError as error:
        raise TransportError(f"cannot ask the kernel for the peer's groups: {error.strerror}") from error
    return struct.unpack(f"={len(data) // _GROUP_BYTES}I", data)


def _many_groups(descriptor: int) -> bytes:
    """The groups of a process that is in more than Python has room for."""
    import ctypes

    system = ctypes.CDLL(None, use_errno=True)
    buffer = ctypes.create_string_buffer(_GROUP_BYTES * _MOST_GROUPS)
    size = ctypes.c_uint(len(buffer))
    if system.getsockopt(descriptor, socket.SOL_SOCKET, _SO_PEERGROUPS, buffer, ctypes.byref(size)):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return buffer.raw[: size.value]


def peer_of_unix(
    sock: CredentialSource, address: str, *, transport: str = "unix", groups: bool = False
) -> Peer:
    """The peer of a unix socket that listens at ``address``; what the kernel does not know of it is None.
    Its ``groups`` are only asked for where somebody looks at them: that costs another system call.

    Raises:
        TransportError: as :func:`peer_credentials` and :func:`peer_groups`.
    """
    pid, uid, gid = peer_credentials(sock)
    return Peer(
        transport=transport,
        address=address,
        pid=None if pid == _NO_PROCESS else pid,
        uid=None if uid == _NOBODY_KNOWN else uid,
        gid=None if gid == _NOBODY_KNOWN else gid,
        groups=peer_groups(sock) if groups else None,
    )


def learn_groups(peer: Peer, sock: CredentialSource | None, cut: Callable[[], None]) -> None:
    """Let somebody who connected when nobody looked at groups have theirs, and ``cut`` the connection where
    they cannot be known any more."""
    if peer.uid is None or peer.groups is not None:
        return
    try:
        if sock is not None:
            # In place, for the conversation has the peer already. To have groups that nobody knew of is no
            # change of who it is.
            force_setattr(peer, "groups", peer_groups(sock))
    except TransportError:
        cut()
