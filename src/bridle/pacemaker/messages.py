"""The functions of the reference document that make messages, and the one that looks at a peer
(``reference/pacemaker-ipc.txt``)."""

from __future__ import annotations

import itertools
import time

from msgspec import Struct

from bridle.net.credentials import CredentialSource, peer_credentials
from bridle.wire import pacemaker_messages
from bridle.wire.pacemaker_xml import Xml

__all__ = [
    "PeerIdentity",
    "create_hello_message",
    "create_reply",
    "create_request",
    "is_authentic_process",
    "peer_identity",
]

_count = itertools.count()
_ROOT = 0
# What the kernel says for "none".
_NOBODY_KNOWN = 0xFFFFFFFF


def create_hello_message(uuid: str, client_name: str, major_version: str, minor_version: str) -> Xml | None:
    """What a client of the controller says first; None where one of the four is empty."""
    return pacemaker_messages.create_hello(
        uuid, client_name, major_version, minor_version, reference=_reference("hello", client_name)
    )


def create_request(
    task: str,
    xml_data: Xml | None,
    host_to: str | None,
    sys_to: str | None,
    sys_from: str | None,
    uuid_from: str | None,
    origin: str = "bridle",
) -> Xml:
    """A request. Where both ``uuid_from`` and ``sys_from`` are given, it is from the two of them.

    Raises:
        ValueError: neither is given.
    """
    if uuid_from is None and sys_from is None:
        raise ValueError("either sys_from or uuid_from is needed")
    named = [part for part in (uuid_from, sys_from) if part is not None]
    return pacemaker_messages.create_request(
        task,
        xml_data,
        reference=_reference(task, sys_from or "none"),
        sys_from="_".join(named),
        sys_to=sys_to,
        host_to=host_to,
        origin=origin,
    )


def create_reply(request: Xml, xml_response_data: Xml | None, origin: str = "bridle") -> Xml | None:
    """The reply to a request; None where ``request`` is none, as it has no reference or no task."""
    if request.get("reference") is None or request.get("crm_task") is None:
        return None
    return pacemaker_messages.create_reply(request, xml_response_data, origin=origin)


class PeerIdentity(Struct, frozen=True):
    """The process at the other end of a unix socket, and whether it is authentic."""

    authentic: bool
    pid: int
    uid: int
    gid: int


def peer_identity(sock: CredentialSource, refuid: int, refgid: int) -> PeerIdentity:
    """Who is at the other end of a connected unix socket, as the kernel says (``SO_PEERCRED``).

    It is authentic where it is root's, ``refuid``'s, or of the group ``refgid``. A socket without such a peer
    has the numbers (0, 4294967295, 4294967295), and is not.

    Raises:
        TransportError: the socket is closed, or the descriptor is no socket.
    """
    pid, uid, gid = peer_credentials(sock)
    authentic = uid != _NOBODY_KNOWN and (uid in (_ROOT, refuid) or gid == refgid)
    return PeerIdentity(authentic, pid, uid, gid)


def is_authentic_process(sock: CredentialSource, refuid: int, refgid: int) -> bool:
    """Whether the process at the other end of a connected unix socket is root's, ``refuid``'s, or of the
    group ``refgid``.

    Raises:
        TransportError: as :func:`peer_identity`.
    """
    return peer_identity(sock, refuid, refgid).authentic


def _reference(task: str, name: str) -> str:
    return f"{task}-{name}-{int(time.time())}-{next(_count)}"
