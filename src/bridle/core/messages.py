"""The messages that cross every channel, whatever the dialect."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeAlias

import msgspec
from msgspec import UNSET, UnsetType

__all__ = [
    "JSON",
    "Command",
    "Event",
    "Expected",
    "Kind",
    "Path",
    "Peer",
    "Response",
    "ScannedArguments",
    "Source",
]

if TYPE_CHECKING:
    JSON: TypeAlias = None | bool | int | float | str | "list[JSON]" | "dict[str, JSON]"
else:
    # Whoever reads annotations while the program runs, as signatures do, cannot follow an alias into itself.
    JSON = Any
"""What an argument or an answer is made of."""

Path: TypeAlias = Sequence[str | int]
"""The way to a value: map keys and list indices, from the top of a message or a configuration."""


HTTP_UNIX = "http+unix"
"""The transport of who comes by HTTP on a unix socket: HTTP, but no network."""


class Peer(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, cache_hash=True):
    """Who sent a command, as far as the carrier knows.

    ``transport`` is the endpoint's (``unix``, ``http``, …; ``http+unix`` for HTTP on a unix socket; ``local``
    for a call inside the process). ``pid``, ``uid`` and ``gid`` come from the kernel (``SO_PEERCRED``) when
    the peer connected.
    ``groups`` are its supplementary groups, None where nobody asked the kernel.
    ``user`` is the name that an authentication vouched for; ``token`` is that of the bearer token, where it
    was one that did, and ``role`` the role that the authentication gave.
    """

    transport: str = "local"
    address: str = ""
    pid: int | None = None
    uid: int | None = None
    gid: int | None = None
    groups: tuple[int, ...] | None = None
    tls_subject: str | None = None
    tls_issuer: str | None = None
    user: str | None = None
    token: str | None = None
    role: str | None = None


LOCAL = Peer()


class Source(Protocol):
    """The text that a command was read from, kept for its error messages."""

    def locate(self, path: Path) -> str:
        """Say where the value at ``path`` stands, e.g. ``<wire>:0:44``; empty when that is unknown.

        Raises:
            RemoteProtocolError: the text cannot be read; nobody had looked that closely before.
        """
        ...


Kind: TypeAlias = Literal["int", "float", "str", "bool", "scalar", "any"]
"""What a handler takes in one place, as far as dialects without JSON's types have to know: ``scalar`` is a
string or a number."""


class Expected(msgspec.Struct, frozen=True):
    """What a handler takes: the kinds of its parameters in order, the first ``required`` of which must be
    given, and the kind of as many more as there are; and the kinds of all by the names they have on the
    wire."""

    kinds: tuple[Kind, ...] = ()
    required: int = 0
    rest: Kind | None = None
    named: Mapping[str, Kind] = {}

    def kind(self, index: int) -> Kind:
        """The kind of the value at a position."""
        return self.kinds[index] if index < len(self.kinds) else self.rest or "any"


class ScannedArguments(msgspec.Struct, gc=False):
    """Arguments that are read by what the handler takes, in dialects whose values have other types than
    JSON's, or none. A dialect derives from it."""

    @property
    def size(self) -> int:
        """Bytes of them as they came, for who looks at no more than so many; 0 in a dialect whose commands
        are all short."""
        return 0

    def scan(self, expected: Expected) -> JSON:
        """Read the values that are expected. What comes beyond is left alone. A map is named arguments.

        Raises:
            ArgumentError: a value is missing, or of another kind; in the dialect's own words.
        """
        raise NotImplementedError

    def unscanned(self) -> JSON | UnsetType:
        """All that came, each value as it looks.

        Raises:
            ArgumentError: one cannot be read.
        """
        raise NotImplementedError


class Command(msgspec.Struct, frozen=True, eq=False, gc=False):
    """A name and its arguments, from a peer.

    ``body`` holds the arguments as they came: a JSON value, the undecoded JSON text
    (:class:`msgspec.Raw`), what a dialect reads by the handler's signature
    (:class:`~bridle.core.messages.ScannedArguments`), or :data:`msgspec.UNSET` when the peer sent none. A
    map is named arguments, a list positional ones, a scalar one positional argument; handlers take all
    three.

    ``services`` names the services that the peer addressed; empty means the receiver itself.
    ``tag`` belongs to the dialect that read the command: whatever it needs to write the answer.
    ``request_id`` names the request in logs, and ``traceparent`` the trace that it is part of (W3C Trace
    Context), where they are known: over HTTP. ``size`` is how many bytes the command had on the wire, over
    HTTP its body; what is kept of it where that is less, or more where it was compressed. 0 for a call inside
    the process.
    """

    name: str
    body: JSON | msgspec.Raw | ScannedArguments | UnsetType = UNSET
    peer: Peer = LOCAL
    services: tuple[str, ...] = ()
    source: Source | None = None
    tag: object = None
    request_id: str = ""
    traceparent: str = ""
    size: int = 0

    @property
    def arguments(self) -> JSON | UnsetType:
        """The decoded arguments; :data:`msgspec.UNSET` when there are none.

        Raises:
            ArgumentError: a part of them cannot be decoded, such as a number out of range.
        """
        body = self.body
        if isinstance(body, ScannedArguments):
            return body.unscanned()
        if not isinstance(body, msgspec.Raw):
            return body
        try:
            decoded: JSON = msgspec.json.decode(body)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            from bridle.core.errors import undecodable

            raise undecodable(self, error) from error
        return decoded

    def locate(self, path: Path) -> str:
        """Say where in the peer's text the value at ``path`` stands; empty when that is unknown."""
        return self.source.locate(path) if self.source is not None else ""


class Response(msgspec.Struct, frozen=True):
    """A result code, an optional text, optional arguments.

    ``result`` is a code of :class:`bridle.Result`, or one that a daemon made up for itself.
    ``error`` is what went wrong, for dialects that put it in words of their own; it is never sent as such.
    ``code`` is the code of a Kamailio fault, where that is another than the one table of results gives: what
    a client was answered, and what a server of that dialect is to answer. Other dialects leave it out.
    ``key`` is the name that the arguments stand under in BNG Blaster's dialect, where that is not the
    command's.
    """

    result: int = 0
    text: str | None = None
    arguments: JSON | msgspec.Raw | UnsetType = UNSET
    error: Exception | None = None
    code: int | None = None
    key: str | None = None

    @property
    def value(self) -> JSON:
        """The decoded arguments; None when there are none.

        Raises:
            RemoteProtocolError: a part of them cannot be decoded, such as a number out of range.
        """
        arguments = self.arguments
        if not isinstance(arguments, msgspec.Raw):
            return None if arguments is UNSET else arguments
        try:
            decoded: JSON = msgspec.json.decode(arguments)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            from bridle.core.errors import RemoteProtocolError

            raise RemoteProtocolError(f"the arguments of the answer: {error}", bytes(arguments)) from error
        return decoded


class Event(msgspec.Struct, frozen=True):
    """What a daemon tells without being asked. Sequence numbers start at 1 and have no gaps."""

    sequence: int
    name: str
    data: JSON = None
