"""The messages that cross every channel, whatever the dialect."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol, TypeAlias, Union

import msgspec
from msgspec import UNSET, UnsetType

if TYPE_CHECKING:
    from bridle.core.errors import BridleError

__all__ = ["JSON", "Command", "Event", "Path", "Peer", "Response", "Source"]

JSON: TypeAlias = Union[None, bool, int, float, str, "list[JSON]", "dict[str, JSON]"]
"""What an argument or an answer is made of."""

Path: TypeAlias = Sequence[str | int]
"""The way to a value: map keys and list indices, from the top of a message or a configuration."""


class Peer(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Who sent a command, as far as the carrier knows.

    ``transport`` is the endpoint's (``unix``, ``http``, …; ``local`` for a call inside the process).
    ``pid``, ``uid`` and ``gid`` come from the kernel (``SO_PEERCRED``) when the peer connected.
    ``user`` is the name that an authentication vouched for.
    """

    transport: str = "local"
    address: str = ""
    pid: int | None = None
    uid: int | None = None
    gid: int | None = None
    tls_subject: str | None = None
    tls_issuer: str | None = None
    user: str | None = None
    role: str | None = None


LOCAL = Peer()


class Source(Protocol):
    """The text that a command was read from, kept for its error messages."""

    def locate(self, path: Path) -> str:
        """Say where the value at ``path`` stands, e.g. ``<wire>:0:44``; empty when that is unknown."""
        ...


class Command(msgspec.Struct, frozen=True, eq=False):
    """A name and its arguments, from a peer.

    ``body`` holds the arguments as they came: a JSON value, the undecoded JSON text
    (:class:`msgspec.Raw`), or :data:`msgspec.UNSET` when the peer sent none. A map is named arguments, a
    list positional ones, a scalar one positional argument; handlers take all three.

    ``services`` names the services that the peer addressed; empty means the receiver itself.
    ``tag`` belongs to the dialect that read the command: whatever it needs to write the answer.
    """

    name: str
    body: JSON | msgspec.Raw | UnsetType = UNSET
    peer: Peer = LOCAL
    services: tuple[str, ...] = ()
    source: Source | None = None
    tag: object = None

    @property
    def arguments(self) -> JSON | UnsetType:
        """The decoded arguments; :data:`msgspec.UNSET` when there are none.

        Raises:
            ArgumentError: a part of them cannot be decoded: a number out of range, half a character.
        """
        body = self.body
        if not isinstance(body, msgspec.Raw):
            return body
        try:
            decoded: JSON = msgspec.json.decode(body)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            from bridle.core.errors import ArgumentError

            raise ArgumentError(f"arguments: {error}") from error
        return decoded

    def locate(self, path: Path) -> str:
        """Say where in the peer's text the value at ``path`` stands; empty when that is unknown."""
        return self.source.locate(path) if self.source is not None else ""


class Response(msgspec.Struct, frozen=True):
    """A result code, an optional text, optional arguments.

    ``result`` is a code of :class:`bridle.Result`, or one that a daemon made up for itself.
    ``error`` is what went wrong, for dialects that put it in words of their own; it is never sent as such.
    """

    result: int = 0
    text: str | None = None
    arguments: JSON | msgspec.Raw | UnsetType = UNSET
    error: BridleError | None = None

    @property
    def value(self) -> JSON:
        """The decoded arguments; None when there are none."""
        arguments = self.arguments
        if isinstance(arguments, msgspec.Raw):
            decoded: JSON = msgspec.json.decode(arguments)
            return decoded
        return None if arguments is UNSET else arguments


class Event(msgspec.Struct, frozen=True):
    """What a daemon tells without being asked. Sequence numbers start at 1 and have no gaps."""

    sequence: int
    name: str
    data: JSON = None
