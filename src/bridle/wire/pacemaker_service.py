"""What the server's side of each of Pacemaker's protocols is made of.

A service is one client's conversation with one daemon. It is given requests and gives commands, and what it
says by itself; it is given responses and gives replies. Headers, layouts and ids are
:mod:`bridle.wire.pacemaker_server`'s business.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, TypeAlias

from msgspec import Raw, Struct

from bridle.core.errors import ArgumentError, RemoteProtocolError, UnknownCommandError
from bridle.core.messages import JSON, Command, Event, Peer, Response
from bridle.core.results import row
from bridle.wire.libqb import Channel
from bridle.wire.libqb_dialect import Subscription
from bridle.wire.pacemaker_header import Flags
from bridle.wire.pacemaker_messages import CrmExit, acknowledgement
from bridle.wire.pacemaker_xml import Xml, read_xml

__all__ = [
    "Asked",
    "Client",
    "Reply",
    "Service",
    "Step",
    "acknowledge",
    "event",
    "fields",
    "mapping",
    "notification",
    "response",
    "return_code",
    "told",
    "xml_of",
]

_ACK = int(Flags.CLIENT_RESPONSE | Flags.SERVER_FREE)
_RESPONSE = int(Flags.SERVER_FREE)
_EVENT = int(Flags.SERVER_EVENT | Flags.SERVER_FREE)
_NOTIFICATION = int(Flags.SERVER_EVENT)


class Client(Struct, frozen=True):
    """Who asks. ``identity`` is the UUID that we know it by, ``privileged`` says that it is root or
    hacluster."""

    peer: Peer
    identity: str
    privileged: bool


class Asked(Struct, frozen=True):
    """A request: what it is the answer to, and the tag of its command. ``synchronous`` says that the client
    waits on the response channel."""

    number: int
    request: Xml
    synchronous: bool


class Reply(Struct, frozen=True):
    """What is sent to the client. ``number`` is that of the request that it answers; None: of none."""

    document: Xml
    channel: Channel
    flags: int
    number: int | None = None


Step: TypeAlias = Command | Subscription | Reply


class Service(Protocol):
    """One client's conversation with one daemon."""

    @property
    def closing(self) -> bool:
        """True as soon as the client is to be dropped, after what was handed out."""
        ...

    def receive(self, asked: Asked, /) -> Sequence[Step]:
        """Take a request.

        Raises:
            RemoteProtocolError: the client is to be dropped at once.
        """
        ...

    def respond(self, command: Command, response: Response, /) -> Sequence[Reply]:
        """Answer a command of :meth:`receive`, whose tag is what was asked, or one that stands for a
        subscription."""
        ...

    def notify(self, event: Event, /) -> Sequence[Reply]:
        """Tell of an event; nothing where the client did not ask for it."""
        ...


def acknowledge(
    asked: Asked,
    status: int = CrmExit.INDETERMINATE,
    *,
    function: str = "bridle",
    protocol: str | None = None,
    tag: str = "ack",
) -> list[Reply]:
    """The word that a request has come, where the client waits for one."""
    if not asked.synchronous:
        return []
    document = acknowledgement(status, function=function, protocol=protocol, tag=tag)
    return [Reply(document, Channel.RESPONSE, _ACK, asked.number)]


def response(asked: Asked, document: Xml, *, like_ack: bool = False) -> Reply:
    """The answer on the response channel."""
    return Reply(document, Channel.RESPONSE, _ACK if like_ack else _RESPONSE, asked.number)


def event(asked: Asked, document: Xml) -> Reply:
    """The answer on the event channel."""
    return Reply(document, Channel.EVENT, _EVENT, asked.number)


def notification(document: Xml, *, shared: bool = False) -> Reply:
    """What answers nothing. What all clients are told alike has a flag less."""
    return Reply(document, Channel.EVENT, _NOTIFICATION if shared else _EVENT)


def return_code(response: Response) -> int:
    """A response's return code as Pacemaker has them: 0, or less."""
    if not response.result:
        return 0
    if response.code is not None:
        return -abs(response.code)
    error = response.error
    if isinstance(error, OSError) and error.errno:
        return -error.errno
    if isinstance(error, UnknownCommandError | ArgumentError):
        return -row(2 if isinstance(error, UnknownCommandError) else 1).errno
    return -row(response.result).errno


def told(response: Response) -> dict[str, JSON]:
    """What a response tells, by names; nothing where it tells something else."""
    value: object = response.arguments
    if type(value) is Raw:
        value = response.value
    return value if isinstance(value, dict) else {}


def xml_of(value: JSON) -> Xml | None:
    """XML that a response holds as text; None where it holds none."""
    if not isinstance(value, str) or not value:
        return None
    try:
        return read_xml(value)
    except RemoteProtocolError:
        return None


def fields(request: Xml, **names: str) -> dict[str, JSON]:
    """Arguments from attributes: ``fields(request, node="attr_host")``; those that are not there, or empty,
    are left out. ``_`` stands for ``-``."""
    return {
        argument.rstrip("_").replace("_", "-"): value
        for argument, name in names.items()
        if (value := request.get(name))
    }


def mapping(value: JSON) -> dict[str, JSON]:
    """A map, or none."""
    return value if isinstance(value, dict) else {}
