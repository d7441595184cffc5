"""The server's side of Pacemaker's IPC: one client of a libqb service (``facts/pacemaker.md`` §2, §3).

The name of the service says which protocol is spoken: those of Pacemaker's daemons have theirs, any other
speaks the generic one (:mod:`bridle.wire.pacemaker_generic`), and so does a client of one of these that sends
a command which that daemon does not have.

The layout of the header is the client's, whichever it used last.
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Mapping, Sequence
from typing import cast

from msgspec.structs import replace

from bridle.core.errors import LocalProtocolError, RemoteProtocolError
from bridle.core.messages import Command, Event, Response
from bridle.core.results import Result
from bridle.wire.libqb import Channel
from bridle.wire.libqb_dialect import LibqbMessage, Outgoing, Subscription
from bridle.wire.pacemaker_attrd_server import AttrdService
from bridle.wire.pacemaker_based_server import BasedService
from bridle.wire.pacemaker_controld_server import ControldService
from bridle.wire.pacemaker_execd_server import ExecdService
from bridle.wire.pacemaker_fenced_server import FencedService
from bridle.wire.pacemaker_generic import GenericService
from bridle.wire.pacemaker_header import Flags, Layout, Message, MessageReader, encode_message
from bridle.wire.pacemaker_messages import CrmExit
from bridle.wire.pacemaker_pacemakerd_server import PacemakerdService
from bridle.wire.pacemaker_schedulerd_server import SchedulerdService
from bridle.wire.pacemaker_service import Asked, Client, Reply, Service, acknowledge
from bridle.wire.pacemaker_xml import read_xml, write_xml

__all__ = ["SERVICES", "PacemakerServer"]

_PROTOCOLS: Mapping[str, Callable[[Client], Service]] = {
    "attrd": AttrdService,
    "cib_ro": lambda client: BasedService(client, writable=False),
    "cib_rw": BasedService,
    "cib_shm": BasedService,
    "crmd": ControldService,
    "lrmd": ExecdService,
    "pacemakerd": PacemakerdService,
    "pengine": SchedulerdService,
    "stonith-ng": FencedService,
}
SERVICES: tuple[str, ...] = tuple(_PROTOCOLS)
"""The names that Pacemaker's daemons listen under."""

# Pacemaker 2's CIB manager and fencer say so of a request that they cannot read.
_NACKS = frozenset({"cib_ro", "cib_rw", "cib_shm", "stonith-ng"})


class PacemakerServer:
    """One client's conversation. The service's name is the address of the client's peer."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._name = client.peer.address
        native = _PROTOCOLS.get(self._name)
        self._generic = GenericService(client, native=native is not None)
        self._service: Service = native(client) if native is not None else self._generic
        self._reader = MessageReader()
        self._layout = Layout.V2
        self._events = 0

    @property
    def closing(self) -> bool:
        """True once the client is to be dropped, after what was handed out: it has asked for the end."""
        return self._service.closing

    def receive(self, data: bytes) -> Sequence[LibqbMessage]:
        """Take a request, and return what it comes to.

        Raises:
            RemoteProtocolError: it is none, or the client is to be dropped.
        """
        message = self._reader.receive(data)
        if message is None:
            return ()
        if message.layout is not Layout.NEUTRAL:
            self._layout = message.layout
        synchronous = bool(message.flags & Flags.CLIENT_RESPONSE)
        try:
            request = read_xml(message.text)
        except RemoteProtocolError:
            tag = "nack" if self._name in _NACKS and self._layout is Layout.V2 else "ack"
            unread = Asked(message.id, _NOTHING, synchronous)
            return self._send(acknowledge(unread, CrmExit.PROTOCOL, tag=tag))
        asked = Asked(message.id, request, synchronous)
        service = self._generic if self._generic.takes(request) else self._service
        taken: list[LibqbMessage] = []
        for step in service.receive(asked):
            if isinstance(step, Command):
                taken.append(self._signed(service, step, message))
            elif isinstance(step, Subscription):
                taken.append(Subscription(self._signed(service, step.command, message)))
            else:
                taken.extend(self._send((step,)))
        return taken

    @staticmethod
    def _signed(service: Service, command: Command, message: Message) -> Command:
        """A command that shows who made it, and how large the request was."""
        return replace(command, tag=(service, command.tag), size=len(message.text))

    def respond(self, command: Command, response: Response) -> Sequence[Outgoing]:
        """Write the answer to a command or a subscription; an error where it is too large."""
        service, asked = cast("tuple[Service, object]", command.tag)  # what receive put there
        inner = replace(command, tag=asked)
        try:
            return self._send(service.respond(inner, response))
        except LocalProtocolError as error:
            refused = Response(Result.ERROR, error.args[0], error=OSError(errno.EMSGSIZE, error.args[0]))
            return self._send(service.respond(inner, refused))

    def notify(self, event: Event) -> Sequence[Outgoing]:
        """Write an event, where the client asked for it; one that is too large is left out."""
        try:
            told = [*self._service.notify(event)]
            if self._service is not self._generic:
                told += self._generic.notify(event)
            return self._send(told)
        except LocalProtocolError:
            return ()

    def _send(self, replies: Sequence[Reply]) -> list[Outgoing]:
        sent: list[Outgoing] = []
        for reply in replies:
            message = Message(self._number(reply), reply.flags, write_xml(reply.document), self._layout)
            sent.extend(Outgoing(reply.channel, data) for data in encode_message(message))
        return sent

    def _number(self, reply: Reply) -> int:
        """A response has its request's. An event has one of its own, or in the newer layout its request's."""
        if reply.channel is Channel.RESPONSE or (self._layout is Layout.V3 and reply.number is not None):
            return reply.number or 0
        self._events += 1
        return self._events


_NOTHING = read_xml("<nothing/>")
