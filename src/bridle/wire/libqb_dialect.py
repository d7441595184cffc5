"""What a dialect fulfils that travels on libqb: as :mod:`bridle.wire.dialect`, but for whole messages, and
with two ways back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, TypeAlias

from msgspec import Struct

from bridle.core.messages import Command, Event, Response
from bridle.wire.libqb import Channel

__all__ = ["LibqbDialect", "LibqbMessage", "Outgoing", "Subscription"]


class Outgoing(Struct, frozen=True):
    """A message to a client, with libqb's header, and whether it is a response or an event."""

    channel: Channel
    data: bytes


class Subscription(Struct, frozen=True):
    """A client asks to be told of events. ``command`` is the one that stands for it, which nobody executes:
    who may not run that is told of nothing. It is answered like a command, by :meth:`LibqbDialect.respond`
    with success or with the refusal."""

    command: Command


LibqbMessage: TypeAlias = Command | Subscription | Outgoing
"""What a request comes to: a command, a subscription, or what the dialect says by itself: an acknowledgement,
a refusal."""


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
        """Write the answer to a command or a subscription of :meth:`receive`. Answers are given in their
        order."""
        ...

    def notify(self, event: Event, /) -> Sequence[Outgoing]:
        """Write an event; nothing where the client did not ask for it, or the dialect has no form for it."""
        ...
