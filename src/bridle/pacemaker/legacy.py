"""The ``crm_ipc_*`` calls of Pacemaker's ``crm/common/ipc.h``, for programs that are moved over from C.

They take any XML, and know nothing of what it says; :class:`bridle.pacemaker.PacemakerIPC` is what supersedes
them. Return values are those of the original: negative error numbers, and sizes in bytes. Times are in
milliseconds. Other than the original, no call ends the program, and none waits for ever: what the original
takes for that, a negative time, is :data:`LONGEST_WAIT`.
"""

from __future__ import annotations

import errno
import select
import socket

from bridle.core.errors import BridleError, TransportError
from bridle.net.libqb.places import PLACES, Places
from bridle.net.libqb.trust import Trust, cluster_server
from bridle.pacemaker.errors import IPCError, translated
from bridle.pacemaker.layouts import open_link
from bridle.pacemaker.link import Link
from bridle.pacemaker.messages import PeerIdentity, create_hello_message, peer_identity
from bridle.pacemaker.session import CONNECT_TIMEOUT
from bridle.wire.pacemaker_header import BUFFER_SIZE, HEADER_SIZE, Flags, Message
from bridle.wire.pacemaker_xml import Xml, read_xml, write_xml

__all__ = [
    "LONGEST_WAIT",
    "CrmIpc",
    "create_hello_message",
    "crm_ipc_buffer",
    "crm_ipc_buffer_flags",
    "crm_ipc_close",
    "crm_ipc_connect",
    "crm_ipc_connected",
    "crm_ipc_default_buffer_size",
    "crm_ipc_destroy",
    "crm_ipc_get_fd",
    "crm_ipc_is_authentic_process",
    "crm_ipc_name",
    "crm_ipc_new",
    "crm_ipc_read",
    "crm_ipc_ready",
    "crm_ipc_send",
]

LONGEST_WAIT = 300.0
"""Seconds that a call without a time waits."""

_DEFAULT_WAIT = 5.0


class CrmIpc:
    """A connection. ``errno`` is what the last connect failed with."""

    def __init__(self, name: str, max_size: int, trusted: Trust, places: Places) -> None:
        self.name = name
        self.max_size: int = max(max_size, BUFFER_SIZE)
        self.trusted = trusted
        self.places = places
        self.link: Link | None = None
        self.errno: int = 0
        self.message: Message | None = None


def crm_ipc_new(
    name: str, max_size: int = 0, *, trusted: Trust = cluster_server, places: Places = PLACES
) -> CrmIpc | None:
    """A connection that is not made yet; None without a name. ``max_size`` is the least that the largest
    message may have."""
    return CrmIpc(name, max_size, trusted, places) if name else None


def crm_ipc_connect(client: CrmIpc, timeout: float = CONNECT_TIMEOUT) -> bool:
    """Connect, ``timeout`` seconds at the most. False: it failed, and ``client.errno`` says why: ECONNABORTED
    where the daemon is not genuine."""
    crm_ipc_close(client)
    try:
        client.link = open_link(
            client.name,
            timeout,
            buffer_size=client.max_size,
            trusted=client.trusted,
            places=client.places,
        )
    except IPCError as error:
        client.errno = error.errno
    except BridleError:
        client.errno = errno.EINVAL
    return client.link is not None


def crm_ipc_close(client: CrmIpc) -> None:
    """End the connection."""
    link, client.link = client.link, None
    if link is not None:
        link.close()


def crm_ipc_destroy(client: CrmIpc | None) -> None:
    """End the connection, and forget what was read."""
    if client is not None:
        crm_ipc_close(client)
        client.message = None


def crm_ipc_send(client: CrmIpc, message: Xml, flags: int = 0, ms_timeout: int = 0) -> tuple[int, Xml | None]:
    """Send a message; with the flag ``client_response`` wait for its response.

    0 milliseconds are 5 seconds. Gives the size of the response, or of the message, header included, and the
    response; or a negative error number: EINVAL (also for what would end a daemon), ENOTCONN, ETIMEDOUT,
    EALREADY, EMSGSIZE, EAGAIN, EBADMSG.
    """
    if client.link is None:
        return -errno.ENOTCONN, None
    seconds = _DEFAULT_WAIT if ms_timeout == 0 else LONGEST_WAIT if ms_timeout < 0 else ms_timeout / 1000
    try:
        if not flags & Flags.CLIENT_RESPONSE:
            client.link.send(message, flags, seconds)
            return HEADER_SIZE + len(write_xml(message)) + 1, None
        answer = client.link.ask(message, seconds, flags)
        with translated(client.link.endpoint):
            return HEADER_SIZE + len(answer.text) + 1, read_xml(answer.text)
    except IPCError as error:
        return -error.errno, None


def crm_ipc_get_fd(client: CrmIpc) -> int:
    """What becomes readable with an event; -EINVAL where it is not connected."""
    if client.link is None:
        return -errno.EINVAL
    try:
        return client.link.filenos()[0]
    except IPCError:
        return -errno.EINVAL


def crm_ipc_connected(client: CrmIpc | None) -> bool:
    """Whether it is connected."""
    return client is not None and client.link is not None and client.link.connected


def crm_ipc_ready(client: CrmIpc) -> int:
    """Whether something can be read now: more than 0, or 0, or -ENOTCONN. The end can be read as well."""
    if client.link is None:
        return -errno.ENOTCONN
    try:
        poller = select.poll()
        for descriptor in client.link.filenos():
            poller.register(descriptor, select.POLLIN)
        return len(poller.poll(0))
    except IPCError as error:
        return -error.errno


def crm_ipc_read(client: CrmIpc) -> int:
    """Take an event, which :func:`crm_ipc_buffer` then gives: the size of its text, or -EAGAIN, -ENOTCONN,
    -EBADMSG."""
    if client.link is None:
        return -errno.ENOTCONN
    client.message = None
    try:
        client.message = client.link.event()
    except IPCError as error:
        return -error.errno
    return -errno.EAGAIN if client.message is None else len(client.message.text) + 1


def crm_ipc_buffer(client: CrmIpc) -> str | None:
    """The event that was read last, as XML."""
    return None if client.message is None else client.message.text.decode("utf-8", "replace")


def crm_ipc_buffer_flags(client: CrmIpc) -> int:
    """The flags of the event that was read last."""
    return 0 if client.message is None else client.message.flags


def crm_ipc_name(client: CrmIpc) -> str:
    """The name that the daemon listens under."""
    return client.name


def crm_ipc_default_buffer_size() -> int:
    """Bytes of the largest message, unless more is asked for."""
    return BUFFER_SIZE


def crm_ipc_is_authentic_process(
    sock: int | socket.socket, refuid: int, refgid: int
) -> tuple[int, PeerIdentity | None]:
    """1 where the peer of a unix socket is authentic, 0 where it is not, and who it is; a negative error
    number where it cannot be told."""
    if isinstance(sock, int) and sock < 0:
        return -errno.EBADF, None
    try:
        if isinstance(sock, socket.socket):
            found = peer_identity(sock, refuid, refgid)
        else:
            with socket.socket(fileno=sock) as borrowed:
                try:
                    found = peer_identity(borrowed, refuid, refgid)
                finally:
                    borrowed.detach()
    except TransportError as error:
        return -_number_of(error), None
    except OSError as error:
        return -(error.errno or errno.EIO), None
    return int(found.authentic), found


def _number_of(error: BaseException) -> int:
    cause = error.__cause__
    return cause.errno if isinstance(cause, OSError) and cause.errno else errno.EBADF
