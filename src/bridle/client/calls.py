"""What a call is made of and what its answer means, the same for the blocking and the asyncio client."""

from __future__ import annotations

import base64
import os
import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Protocol

from msgspec import UNSET

from bridle.core.errors import CommandError, EndpointError, RemoteProtocolError
from bridle.core.messages import JSON, Command, Response
from bridle.core.results import Result
from bridle.net.endpoint import Endpoint
from bridle.wire.dialect import ClientDialect, dialect

if TYPE_CHECKING:
    import ssl

__all__ = [
    "BACKLOG_PAUSE",
    "TLS_OPTIONS",
    "Conversation",
    "as_endpoint",
    "authorization",
    "context_of",
    "conversation",
    "http_place",
    "is_delimited",
    "is_pipelined",
    "is_secured",
    "make_command",
    "one",
    "server_name",
    "spelled_out",
    "value_of",
]

# Seconds between two tries to connect to a unix socket whose backlog is full: the kernel queues nobody there.
BACKLOG_PAUSE = 0.01

TLS_OPTIONS = ("ca", "cert", "key")
"""Options of an endpoint that say whom a client trusts, and what it shows."""
# What may follow "Bearer" (RFC 6750 §2.1).
_TOKEN = re.compile(r"[A-Za-z0-9._~+/-]+=*")
# Bytes of the name of an abstract socket, without its first NUL.
_NAME_BYTES = 107

Services = str | Sequence[str] | None


def as_endpoint(endpoint: str | Endpoint) -> Endpoint:
    """The endpoint that was meant; a path alone is a unix socket, as :func:`spelled_out` says.

    Raises:
        EndpointError: it is malformed, or no client speaks to it.
    """
    if isinstance(endpoint, str):
        endpoint = Endpoint.parse(spelled_out(endpoint))
    if (endpoint.transport, endpoint.dialect) == ("qb", "pacemaker"):
        if len(endpoint.path.encode("utf-8", "surrogateescape")) > _NAME_BYTES or "\0" in endpoint.path:
            raise EndpointError(f"'{endpoint}': a name has {_NAME_BYTES} bytes at the most")
        return endpoint
    if endpoint.in_http:
        return endpoint
    transports = dialect(endpoint.dialect).transports
    if endpoint.transport not in transports:
        known = ", ".join(transports)
        raise EndpointError(f"cannot connect to '{endpoint}': {endpoint.dialect} travels on {known}")
    return endpoint


def spelled_out(endpoint: str) -> str:
    """The endpoint with its transport: a path that has a slash, or that there is, is a unix socket.

    Raises:
        EndpointError: it is a name alone, which may be a path or a typing error.
    """
    head, slash, _ = endpoint.partition("/")
    if ":" in head or not endpoint:
        return endpoint
    path = endpoint.partition("?")[0]
    if slash or ("\0" not in path and os.path.exists(path)):  # noqa: PTH110 - pathlib takes longer to load
        return f"unix:{endpoint}"
    try:
        Endpoint.parse(endpoint)
    except EndpointError as error:
        raise EndpointError(f"{error}; did you mean unix:{endpoint}?") from None
    return endpoint


def make_command(name: str, arguments: JSON, services: Services) -> Command:
    """The command of a call. No arguments are left out, not sent as null."""
    if services is None:
        services = ()
    elif isinstance(services, str):
        services = (services,)
    return Command(name, UNSET if arguments is None else arguments, services=tuple(services))


def authorization(endpoint: Endpoint, user: str, password: str, token: str = "") -> dict[str, str]:
    """The header that carries the credentials: a token, or a user and the password, of the call or of the
    URL.

    Raises:
        ValueError: a user is given with a token, or the token can be none.
    """
    if token:
        if user:
            raise ValueError("a user and a token exclude each other")
        if not _TOKEN.fullmatch(token):
            raise ValueError("a bearer token has letters, digits and -._~+/ alone, and no blanks")
        return {"Authorization": f"Bearer {token}"}
    user, password = (user, password) if user else (endpoint.user, endpoint.password)
    if not user:
        return {}
    return {"Authorization": "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode("ascii")}


class Conversation(Protocol):
    """A connection's client side: a dialect on a stream, or in HTTP, where one reply may hold the answers of
    several services."""

    @property
    def reusable(self) -> bool:
        """True when another command may be sent after what was received so far."""
        ...

    def request(self, command: Command, /) -> bytes:
        """Write a command."""
        ...

    def receive(self, data: bytes, /) -> Sequence[Sequence[Response]]:
        """Take bytes; give the replies they complete, each with its answers."""
        ...

    def receive_eof(self) -> Sequence[Sequence[Response]]:
        """Take note that the server has closed; give the replies that completes."""
        ...


class _Stream:
    """A dialect on a stream: each reply is one answer."""

    def __init__(self, dialect: ClientDialect) -> None:
        self._dialect = dialect

    @property
    def reusable(self) -> bool:
        return self._dialect.reusable

    def request(self, command: Command) -> bytes:
        return self._dialect.request(command)

    def receive(self, data: bytes) -> Sequence[Sequence[Response]]:
        return [(answer,) for answer in self._dialect.receive(data)]

    def receive_eof(self) -> Sequence[Sequence[Response]]:
        return [(answer,) for answer in self._dialect.receive_eof()]


def conversation(
    endpoint: Endpoint, headers: Mapping[str, str], *, keep: bool, reply: str = ""
) -> Conversation:
    """Begin a conversation on a new connection to ``endpoint``. ``reply`` names the FIFO of the answer, where
    that is what the connection is."""
    if not endpoint.in_http:
        if reply:
            from bridle.wire.fifo import FifoClient

            return _Stream(FifoClient(keep, reply))
        return _Stream(dialect(endpoint.dialect).client(keep))
    from bridle.wire.kea_http import KeaHttpClient

    return KeaHttpClient(*http_place(endpoint), headers)


def http_place(endpoint: Endpoint) -> tuple[str, int, str]:
    """What an HTTP request to an endpoint names: the host, the port (0: none), and the path."""
    if endpoint.transport == "unix":
        return "localhost", 0, "/"
    return endpoint.host, endpoint.port, endpoint.path


def is_secured(endpoint: Endpoint, tls: ssl.SSLContext | None) -> bool:
    """True when TLS is spoken there: over ``https``, and on streams for which a context or certificates are
    given."""
    if endpoint.transport == "https":
        return True
    named = any(name in TLS_OPTIONS for name, _ in endpoint.options)
    return endpoint.transport in ("tcp", "unix") and (tls is not None or named)


def context_of(endpoint: Endpoint) -> ssl.SSLContext:
    """The context of a client to whom none is given: by the endpoint's options ``ca``, ``cert`` and ``key``,
    the system's trust where they say nothing.

    Raises:
        ConfigurationError: a file is missing or cannot be used.
    """
    # Loaded only here: most commands go where none is needed.
    from bridle.access.tls import client_context

    options = dict(endpoint.options)
    return client_context(options.get("ca", ""), options.get("cert", ""), options.get("key", ""))


def server_name(endpoint: Endpoint) -> str:
    """The name that the server's certificate must have."""
    return endpoint.option("server-name") or endpoint.host or "localhost"


def is_delimited(endpoint: Endpoint) -> bool:
    """True when an answer from there shows where it ends; others end with the server's bytes."""
    return endpoint.in_http or dialect(endpoint.dialect).delimited


def is_pipelined(endpoint: Endpoint) -> bool:
    """True when commands may be sent there before those before them are answered."""
    if endpoint.in_http or endpoint.transport not in ("unix", "tcp"):
        return False
    return dialect(endpoint.dialect).pipelining


def one(responses: Sequence[Response], endpoint: Endpoint) -> Response:
    """The only answer there should be.

    Raises:
        RemoteProtocolError: there are none, or more.
    """
    if len(responses) != 1:
        raise RemoteProtocolError(f"one answer was expected, {len(responses)} came", endpoint=str(endpoint))
    return responses[0]


def value_of(command: Command, response: Response, endpoint: Endpoint) -> JSON:
    """The arguments of an answer; None for an empty one.

    Raises:
        CommandError: the result is neither success nor Kea's empty; what is not found in other dialects is
            an error.
        RemoteProtocolError: the arguments cannot be decoded.
    """
    empty = response.result == Result.EMPTY and response.code is None
    if response.result != Result.SUCCESS and not empty:
        raise CommandError(
            response.text or "",
            response.result,
            request=command,
            response=response,
            endpoint=str(endpoint),
        )
    try:
        return response.value
    except RemoteProtocolError as error:
        raise RemoteProtocolError(error.text, error.data, endpoint=str(endpoint)) from error
