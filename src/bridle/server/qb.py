"""Channels on libqb: a daemon listens under a name, as Pacemaker's daemons do (``qb:NAME``)."""

from __future__ import annotations

import pwd
import uuid
from collections.abc import Callable

from bridle.core.errors import EndpointError
from bridle.core.events import EventLog
from bridle.core.messages import Peer
from bridle.net.answers import Execute
from bridle.net.endpoint import Endpoint
from bridle.net.libqb.dialects import EventGate, LibqbListener
from bridle.net.libqb.trust import (
    CLUSTER_USER,
    Credentials,
    FileRights,
    cluster_client,
    cluster_rights,
    own_client,
    own_rights,
)
from bridle.net.stream import Door
from bridle.server.channel import GRACE, HttpSettings, shut
from bridle.wire.libqb import Transport
from bridle.wire.pacemaker_server import SERVICES, PacemakerServer
from bridle.wire.pacemaker_service import Client

__all__ = ["QbChannel", "open_qb"]

_TRANSPORTS = {"shm": Transport.SHM, "socket": Transport.SOCKET}
_OPTIONS = ("transport",)


class QbChannel:
    """A libqb service whose clients' commands are executed."""

    exposed = False

    def __init__(self, endpoint: Endpoint, listener: LibqbListener, unsubscribe: Callable[[], None]) -> None:
        self.endpoint = endpoint
        self._listener = listener
        self._unsubscribe = unsubscribe

    @property
    def busy(self) -> bool:
        """Whether somebody is connected, or an answer is on its way."""
        return self._listener.busy

    def update(self, settings: HttpSettings) -> None:
        """There is nothing to set."""

    def hold(self) -> None:
        """Have clients try again."""
        self._listener.use_door(shut)

    def use_door(self, door: Door | None) -> None:
        """Ask this whether a client may connect; it is told to try again (EAGAIN) where it may not."""
        self._listener.use_door(door)

    def learn_groups(self) -> None:
        """They are known: clients are let in by them."""

    def retire(self) -> None:
        """Take no new clients; those that are there go on."""
        self._listener.stop_accepting()

    async def close(self, grace: float = GRACE) -> None:
        """End, with the answers in flight."""
        self._unsubscribe()
        await self._listener.close(grace)


async def open_qb(
    endpoint: Endpoint, execute: Execute, events: EventLog | None, gate: EventGate | None = None
) -> QbChannel:
    """Listen under the endpoint's name. ``events`` are told to clients that ask for them and that the
    ``gate`` lets know.

    The option ``transport`` is ``shm`` (shared memory, the default) or ``socket`` (datagrams).

    Raises:
        EndpointError: an option is unknown, or the name cannot be had.
    """
    options = dict(endpoint.options)
    transport = options.pop("transport", "shm")
    for name in options:
        text = f"endpoint '{endpoint}': unknown option '{name}'; known are {', '.join(_OPTIONS)}"
        raise EndpointError(text)
    if transport not in _TRANSPORTS:
        known = " or ".join(_TRANSPORTS)
        raise EndpointError(f"endpoint '{endpoint}': transport is {known}, not '{transport}'")
    pacemaker = endpoint.path in SERVICES
    listener = LibqbListener(
        endpoint.path,
        _converse,
        execute,
        gate=gate,
        transport=_TRANSPORTS[transport],
        admit=cluster_client if pacemaker else _admit,
        rights=cluster_rights if pacemaker else _rights,
    )
    listener.start()
    unsubscribe = events.subscribe(listener.notify) if events is not None else _nothing
    return QbChannel(endpoint, listener, unsubscribe)


def _nothing() -> None:
    pass


def _admit(client: Credentials) -> int:
    """Whoever the cluster's daemons serve, and the user that we run as."""
    return own_client(client) and cluster_client(client)


def _rights(client: Credentials) -> FileRights:
    return own_rights(client) if not own_client(client) else cluster_rights(client)


def _converse(peer: Peer) -> PacemakerServer:
    name = _user_name(peer.uid)
    privileged = peer.uid == 0 or name == CLUSTER_USER
    return PacemakerServer(Client(peer, str(uuid.uuid4()), privileged))


def _user_name(uid: int | None) -> str | None:
    if uid is None:
        return None
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return None
