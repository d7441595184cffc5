"""A client of the cluster daemon without a carrier: what it sends goes to the dialect and to the commands."""

from __future__ import annotations

import msgspec

from bridle.bundled.cluster.cluster import Cluster
from bridle.core.messages import Command, Event, Peer, Response
from bridle.wire.libqb import Channel
from bridle.wire.libqb_dialect import Subscription
from bridle.wire.pacemaker_header import Flags, Layout, Message, MessageReader, encode_message
from bridle.wire.pacemaker_server import PacemakerServer
from bridle.wire.pacemaker_service import Client
from bridle.wire.pacemaker_xml import Xml, read_xml

__all__ = ["IDENTITY", "Conversation", "Sent"]

IDENTITY = "7f7d6c2e-0000-4000-8000-000000000001"
"""The UUID that every client here gets."""


class Sent(msgspec.Struct, frozen=True):
    """A message to a client."""

    event: bool
    message: Message
    document: Xml


class Conversation:
    """One client of one of the daemon's services."""

    def __init__(
        self,
        daemon: Cluster,
        service: str,
        *,
        uid: int = 0,
        privileged: bool = True,
        layout: Layout = Layout.V2,
    ) -> None:
        self._daemon = daemon
        peer = Peer(transport="qb", address=service, pid=4711, uid=uid, user="root" if uid == 0 else "nobody")
        self.server = PacemakerServer(Client(peer, IDENTITY, privileged))
        self.layout = layout
        self.number = 0
        self.commands: list[Command] = []
        self.admission = Response()
        """What is decided about subscriptions."""
        self.sent: list[Sent] = []
        self._readers = {Channel.RESPONSE: MessageReader(), Channel.EVENT: MessageReader()}
        self._end = daemon.events.subscribe(self._notify)

    def close(self) -> None:
        """Be told of nothing any more."""
        self._end()

    def _notify(self, event: Event) -> None:
        self._take(self.server.notify(event))

    def _take(self, outgoing: object) -> None:
        for one in outgoing:  # type: ignore[attr-defined]
            message = self._readers[one.channel].receive(one.data)
            if message is not None:
                self.sent.append(Sent(one.channel is Channel.EVENT, message, read_xml(message.text)))

    async def ask(self, text: str, *, flags: int = int(Flags.CLIENT_RESPONSE)) -> list[Sent]:
        """Send a request; everything that was sent because of it."""
        self.number += 1
        before = len(self.sent)
        for piece in encode_message(Message(self.number, flags, text.encode(), self.layout)):
            for step in self.server.receive(piece):
                if isinstance(step, Command):
                    self.commands.append(step)
                    response = await self._daemon.manager.execute(step)
                    self._take(self.server.respond(step, response))
                elif isinstance(step, Subscription):
                    self._take(self.server.respond(step.command, self.admission))
                else:
                    self._take((step,))
        return self.sent[before:]
