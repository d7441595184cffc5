"""What every dialect fulfils, on the server's side and on the client's.

A dialect object stands for one conversation: one stream connection, or one datagram. It is fed the bytes
that the carrier read, in whatever pieces, and gives messages; it is given answers and gives bytes. It never
waits, never looks at a clock and never touches a socket: the carrier does that, and calls :meth:`expire` when
``idle_timeout`` seconds went by without a byte.

How the four wires fit:

================  =========================================================================================
``kea``           one command a connection, then ``closing``; a client may ask to keep it (see ``wire.kea``)
``binrpc``        any number of commands; ``Command.tag`` is the cookie; faults are answers or Refusals
``fifo``          any number of commands; ``Command.tag`` is the name of the reply fifo
``bngblaster``    as ``kea``, with another grammar and other words
``pacemaker``     libqb's carrier delivers whole messages; ``Command.tag`` says which ring ``respond`` fills,
                  ``notify`` fills the event ring
================  =========================================================================================
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple, Protocol, TypeAlias, cast

from msgspec import Struct

from bridle.core.errors import EndpointError
from bridle.core.messages import Command, Event, Peer, Response

__all__ = ["ClientDialect", "Dialect", "Message", "Refusal", "ServerDialect", "dialect"]


class Refusal(Struct, frozen=True):
    """What a dialect answers by itself, in its turn among the other answers: no command was understood."""

    data: bytes


Message: TypeAlias = Command | Refusal


class ServerDialect(Protocol):
    """The server's side of one conversation."""

    @property
    def idle_timeout(self) -> float | None:
        """Seconds without a byte from the peer after which the carrier calls :meth:`expire`; None: for
        ever."""
        ...

    @property
    def closing(self) -> bool:
        """True as soon as the conversation ends after the bytes that were handed out so far."""
        ...

    @property
    def trailing(self) -> bool:
        """True when bytes came that will get no answer: the carrier then ends without a reset."""
        ...

    def receive(self, data: bytes, /) -> Sequence[Message]:
        """Take the bytes that came and return the messages that they complete, in order."""
        ...

    def receive_eof(self) -> Sequence[Message]:
        """Take note that the peer sends no more, and return what that completes; nothing the second time."""
        ...

    def expire(self) -> bytes:
        """End a conversation that went silent; returns the words to end it with, possibly none."""
        ...

    def respond(self, command: Command, response: Response, /) -> bytes:
        """Write the answer to a command of :meth:`receive`. Answers are given in the commands' order."""
        ...

    def refuse(self, text: str, /) -> bytes:
        """End the conversation with an error that no command caused, such as a limit of the carrier."""
        ...

    def notify(self, event: Event, /) -> bytes:
        """Write an event; empty where the dialect has no form for events."""
        ...


class ClientDialect(Protocol):
    """The client's side of one conversation."""

    @property
    def reusable(self) -> bool:
        """True when, after what was received so far, another request may be sent on this connection."""
        ...

    def request(self, command: Command, /) -> bytes:
        """Write a command."""
        ...

    def receive(self, data: bytes, /) -> Sequence[Response]:
        """Take the bytes that came and return the answers that they complete, in order.

        Raises:
            RemoteProtocolError: the bytes are no answer.
        """
        ...

    def receive_eof(self) -> Sequence[Response]:
        """Take note that the server sends no more, and return the answer that only its end completes.

        Raises:
            RemoteProtocolError: an answer was cut off.
        """
        ...


class Dialect(NamedTuple):
    """A dialect by name, the transports that it travels on, and how a conversation in it is begun.

    ``client`` takes whether the server shall be asked to keep the connection, where the dialect has words for
    it. ``datagram`` begins the conversation that is one datagram, in dialects that travel so. ``configure``
    gives the dialect with other settings; ``options`` are their names. ``pipelining`` says that commands may
    be sent before those before them are answered; ``delimited``, that an answer shows where it ends: one that
    does not ends with the connection, or with its datagram.
    """

    name: str
    transports: tuple[str, ...]
    server: Callable[[Peer], ServerDialect]
    client: Callable[[bool], ClientDialect]
    datagram: Callable[[Peer], ServerDialect] | None = None
    options: tuple[str, ...] = ()
    configure: Callable[[Mapping[str, str]], Dialect] | None = None
    pipelining: bool = False
    delimited: bool = True

    def configured(self, options: Mapping[str, str]) -> Dialect:
        """The dialect with these settings, each one of its options.

        Raises:
            EndpointError: a value is none.
        """
        return self.configure(options) if self.configure is not None and options else self


_MODULES = {
    "binrpc": "bridle.wire.binrpc",
    "bngblaster": "bridle.wire.bngblaster",
    "fifo": "bridle.wire.fifo",
    "kea": "bridle.wire.kea",
}


def dialect(name: str) -> Dialect:
    """Look a dialect up by the name that endpoints use.

    Raises:
        EndpointError: there is no dialect of that name.
    """
    module = _MODULES.get(name)
    if module is None:
        raise EndpointError(f"unknown dialect '{name}'; known are: {', '.join(sorted(_MODULES))}")
    return cast(Dialect, importlib.import_module(module).DIALECT)
