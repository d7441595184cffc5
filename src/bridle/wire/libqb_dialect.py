"""What a dialect fulfils that travels on libqb: as :mod:`bridle.wire.dialect`, but for whole messages, and
with two ways back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, TypeAlias

from msgspec import Struct

from bridle.core.messages import Command, Event, Response
from bridle.wire.libqb import Channel

__all__ = ["LibqbDialect", "LibqbMessage", "Outgoing"]


class Outgoing(Struct, frozen=True):
    """A message to a client, with libqb's header, and whether it is a response or an event."""

    channel: Channel
    data: bytes


LibqbMessage: TypeAlias = Command | Outgoing
"""What a request comes to: a command, or what the dialect says by itself: an acknowledgement, a refusal."""


class LibqbDialect(Protocol):
    """The server's side of one client's conversation."""

    @property
    def closing(self) -> bool:
        """True as soon as the conversation ends after the messages that were handed out so far."""
        ...

    def receive(self, data: bytes, /) -> Sequence[LibqbMessage]:
        """Take a request, with libqb's header, and return what it comes to, in order.

        Raises:
            RemoteProtocolError: the client is none that can be talked with; it is cut off.
        """
        ...

    def respond(self, command: Command, response: Response, /) -> Sequence[Outgoing]:
        """Write the answer to a command of :meth:`receive`. Answers are given in the commands' order."""
        ...

    def notify(self, event: Event, /) -> Sequence[Outgoing]:
        """Write an event; nothing where the client did not ask for it, or the dialect has no form for it."""
        ...
