"""Who may be whose client: the rules on both sides, and whose files are.

A rule is a function, so that a daemon may bring its own. Pacemaker's are the defaults
(facts/pacemaker.md §1.5): root, the user ``hacluster``, and the group ``haclient``.
"""

from __future__ import annotations

import errno
import grp
import os
import pwd
import socket
import struct
from collections.abc import Callable
from typing import TypeAlias

from msgspec import Struct

from bridle.core.messages import Peer
from bridle.wire.libqb import Transport

__all__ = [
    "CLUSTER_GROUP",
    "CLUSTER_USER",
    "Admission",
    "Choice",
    "Credentials",
    "FileRights",
    "Rights",
    "Trust",
    "cautious",
    "cluster_client",
    "cluster_rights",
    "cluster_server",
    "own_client",
    "own_rights",
    "supplementary_groups",
]

CLUSTER_USER = "hacluster"
CLUSTER_GROUP = "haclient"

_ROOT = 0

# Linux's SO_PEERGROUPS, which the socket module has no name for. Python reads at most 1024 bytes of an
# option: 256 groups.
_PEER_GROUPS = 59
_GROUPS_BYTES = 1024


class Credentials(Struct, frozen=True):
    """Who a process is, as the kernel vouched for when it connected. ``groups`` are the supplementary
    ones."""

    pid: int
    uid: int
    gid: int
    groups: frozenset[int] = frozenset()

    def is_member(self, gid: int | None) -> bool:
        """Whether it is in a group."""
        return gid is not None and (gid == self.gid or gid in self.groups)

    def peer(self, address: str) -> Peer:
        """The same for commands. A pid of 0 is a process of a pid namespace that is not ours."""
        return Peer(
            transport="qb",
            address=address,
            pid=self.pid or None,
            uid=self.uid,
            gid=self.gid,
            groups=tuple(sorted(self.groups)),
        )


class FileRights(Struct, frozen=True):
    """Whose a file is made, and its mode. -1 leaves owner or group as they are."""

    uid: int = -1
    gid: int = -1
    mode: int = 0o600


Admission: TypeAlias = Callable[[Credentials], int]
"""Whether a server takes a client: 0, or the errno that it is refused with."""

Rights: TypeAlias = Callable[[Credentials], FileRights]
"""Whose the files are that a client gets."""

Choice: TypeAlias = Callable[[Credentials], Transport]
"""What a client's messages travel in."""

Trust: TypeAlias = Callable[[Credentials], bool]
"""Whether a client takes a server for genuine."""


def cluster_client(client: Credentials) -> int:
    """Root, ``hacluster`` and the members of ``haclient``; EACCES for everybody else."""
    user, group = _cluster()
    welcome = client.uid in (_ROOT, user) or client.is_member(group)
    return 0 if welcome else errno.EACCES


def cluster_rights(client: Credentials) -> FileRights:
    """Root's files are root's own; those of others belong to the server and the group ``haclient``."""
    _, group = _cluster()
    if client.uid == _ROOT or group is None:
        return FileRights(client.uid, client.gid, 0o600)
    return FileRights(-1, group, 0o660)


def cluster_server(server: Credentials) -> bool:
    """Root, ``hacluster``, and whoever runs with the group ``haclient``."""
    user, group = _cluster()
    return server.uid in (_ROOT, user) or server.gid == group


def own_client(client: Credentials) -> int:
    """Root and the user that the server runs as; EACCES for everybody else."""
    return 0 if client.uid in (_ROOT, os.geteuid()) else errno.EACCES


def own_rights(client: Credentials) -> FileRights:
    """The client's own, as libqb does unless it is told otherwise."""
    return FileRights(client.uid, client.gid, 0o600)


def cautious(client: Credentials) -> Transport:
    """Shared memory for root and the server's own user alone, sockets for others: see
    :mod:`bridle.net.libqb.memory`."""
    return Transport.SHM if client.uid in (_ROOT, os.geteuid()) else Transport.SOCKET


def _cluster() -> tuple[int | None, int | None]:
    """The numbers of the user and the group; None for what is not there."""
    user = group = None
    try:
        user = pwd.getpwnam(CLUSTER_USER).pw_uid
    except KeyError:
        pass
    try:
        group = grp.getgrnam(CLUSTER_GROUP).gr_gid
    except KeyError:
        pass
    return user, group


def supplementary_groups(connected: socket.socket, uid: int, gid: int) -> frozenset[int]:
    """The supplementary groups that the peer of a stream socket had when it connected.

    Where the kernel does not say, or says more than 256, they are those that the user database gives the
    user.
    """
    try:
        data = connected.getsockopt(socket.SOL_SOCKET, _PEER_GROUPS, _GROUPS_BYTES)
    except OSError:
        return _groups_by_name(uid, gid)
    return frozenset(struct.unpack(f"={len(data) // 4}I", data))


def _groups_by_name(uid: int, gid: int) -> frozenset[int]:
    try:
        return frozenset(os.getgrouplist(pwd.getpwuid(uid).pw_name, gid))
    except (KeyError, OSError):
        return frozenset()
