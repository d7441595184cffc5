"""The errors. One root; each says what went wrong, where, and what to do about it.

::

    BridleError
    ├── CommandError            a command was answered with a result other than success
    │   ├── ForbiddenError      the peer may not run it, or not without TLS
    │   └── TooManyError        the peer asks for more than its limits allow; says how long to wait
    ├── ArgumentError           an argument is missing, unknown, or of the wrong type
    ├── ConfigurationError      a configuration cannot be used; says file:line.column
    ├── UnknownCommandError     there is no handler of that name
    ├── DeclarationError        a handler cannot be a command as it is declared
    ├── Gap                     events that a reader asks for are no longer remembered
    ├── EndpointError           an endpoint is malformed, or cannot be listened on
    ├── ProtocolError
    │   ├── LocalProtocolError  you used a connection wrongly
    │   └── RemoteProtocolError the other side broke the protocol
    └── TransportError          the other side could not be reached, or went away
        └── DeadlineExceeded    it took too long (also a TimeoutError)
"""

from __future__ import annotations

from bridle.core.messages import Command, Path, Response
from bridle.core.results import Result

__all__ = [
    "ArgumentError",
    "BridleError",
    "CommandError",
    "ConfigurationError",
    "DeadlineExceeded",
    "DeclarationError",
    "EndpointError",
    "ForbiddenError",
    "LocalProtocolError",
    "ProtocolError",
    "RemoteProtocolError",
    "TooManyError",
    "TransportError",
    "UnknownCommandError",
]


class BridleError(Exception):
    """The root of all errors that Bridle raises."""


class CommandError(BridleError):
    """A command was answered with a result other than success.

    A client raises it with the evidence: ``request``, ``response`` and ``endpoint``. A handler raises it to
    answer a result of its choice, with the text as the answer's text; that is not logged as a fault.
    """

    def __init__(
        self,
        text: str,
        result: int = 1,
        *,
        request: Command | None = None,
        response: Response | None = None,
        endpoint: str = "",
    ) -> None:
        super().__init__(text)
        self.text = text
        self.result = result
        self.request = request
        self.response: Response = response if response is not None else Response(result, text, error=self)
        self.endpoint = endpoint

    @property
    def code(self) -> int | None:
        """The answer's code where its dialect has others than the result: that of a Kamailio fault."""
        return self.response.code

    def __str__(self) -> str:
        name = f"{self.request.name}: " if self.request is not None else ""
        where = f" [{self.endpoint}]" if self.endpoint else ""
        return f"{name}{self.text or f'result {self.result}'}{where}"


class ForbiddenError(CommandError):
    """A command was refused for who asked: the peer may not run it; or it has to come over TLS, where the
    ``status`` of HTTP is 401."""

    def __init__(self, text: str, *, status: int = 403) -> None:
        super().__init__(text, Result.FORBIDDEN)
        self.status = status


class TooManyError(CommandError):
    """A command was refused because the peer, or its role, is beyond its limits. ``wait`` is the number of
    seconds after which trying again makes sense; 0: it does not."""

    def __init__(self, text: str, *, wait: float = 0.0) -> None:
        super().__init__(text)
        self.wait = wait


class ArgumentError(BridleError):
    """An argument is missing, unknown, or not what the handler takes.

    ``argument`` names it (empty: the arguments as a whole), ``path`` leads to the offending value.
    """

    def __init__(self, text: str, *, argument: str = "", path: Path = ()) -> None:
        super().__init__(text)
        self.text = text
        self.argument = argument
        self.path = path


class UnknownCommandError(BridleError):
    """A command has no handler. It stands in the answer's ``error``, for dialects with words of their own."""

    def __init__(self, text: str, *, name: str) -> None:
        super().__init__(text)
        self.text = text
        self.name = name


def undecodable(command: Command, error: Exception) -> ArgumentError:
    """What to say of arguments that turn out to be unreadable: what their text's reader says, and where."""
    try:
        command.locate(())
    except RemoteProtocolError as found:
        return ArgumentError(found.text)
    return ArgumentError(f"arguments: {error}")


class ConfigurationError(BridleError):
    """A configuration cannot be used.

    ``path`` leads to the offending value; ``position`` says where it stands (``file:line.column``), as soon
    as someone who has the text has looked it up.
    """

    def __init__(self, text: str, *, path: Path | None = None, position: str = "") -> None:
        super().__init__(text)
        self.text = text
        self.path = path
        self.position = position

    def __str__(self) -> str:
        return f"{self.text} ({self.position})" if self.position else self.text


class DeclarationError(BridleError, TypeError):
    """A handler cannot be a command as it is declared."""


class EndpointError(BridleError, ValueError):
    """An endpoint is malformed, unknown, or cannot be listened on."""


class ProtocolError(BridleError):
    """A rule of the wire was broken."""


class LocalProtocolError(ProtocolError):
    """You used a connection in a way that its protocol has no words for."""


class RemoteProtocolError(ProtocolError):
    """The other side sent what its protocol does not allow. ``data`` holds the offending bytes."""

    def __init__(self, text: str, data: bytes = b"", *, endpoint: str = "") -> None:
        super().__init__(f"{text} [{endpoint}]" if endpoint else text)
        self.text = text
        self.data = data
        self.endpoint = endpoint


class TransportError(BridleError, ConnectionError):
    """The other side could not be reached, or went away before it had answered."""

    def __init__(self, text: str, *, endpoint: str = "") -> None:
        super().__init__(f"{text} [{endpoint}]" if endpoint else text)
        self.text = text
        self.endpoint = endpoint


class DeadlineExceeded(TransportError, TimeoutError):
    """The other side took longer than the caller was willing to wait."""
