"""The command manager: commands by name, hooks around them, one way in.

It does what Kea's CommandMgr does (``reference/kea-control-channel.txt``): ``register_command``,
``deregister_command``, ``process_command``, and ``list-commands`` built in. A plain function is answered
inline, in the caller's turn; a coroutine function's answer is awaited.
"""

from __future__ import annotations

import inspect
import logging
import re
from collections.abc import Awaitable, Callable, Iterator, Mapping
from types import MappingProxyType
from typing import Literal, TypeAlias, TypeVar, cast, overload

import msgspec

from bridle.core.errors import ArgumentError, CommandError, DeclarationError, UnknownCommandError
from bridle.core.messages import JSON, Command, Response
from bridle.core.results import Result
from bridle.core.signatures import Handler, Signature

__all__ = ["NO_OTHERS", "Access", "CommandDefinition", "CommandManager", "Outcome", "command"]

Access: TypeAlias = Literal["read", "write"]
Outcome: TypeAlias = Response | Awaitable[Response]
BeforeHook: TypeAlias = Callable[[Command], Response | Awaitable[Response] | None]
AfterHook: TypeAlias = Callable[[Command, Response], Response | None]
ValueHook: TypeAlias = Callable[[Command], str | None]
H = TypeVar("H", bound=Handler)
Before = TypeVar("Before", bound=BeforeHook)
After = TypeVar("After", bound=AfterHook)

_log = logging.getLogger("bridle.core")
_SUCCESS = Response()
# What handlers mostly return: neither a response nor anything to wait for.
_VALUES = frozenset({dict, list, str, int, float, bool})
NO_OTHERS: Mapping[str, CommandDefinition] = MappingProxyType({})


# Markup of docstrings: references to names, and what is quoted as code.
_REFERENCE = re.compile(r":[a-z]+:`~?([^`]+)`")
_CODE = re.compile(r"``(.+?)``", re.DOTALL)


def _plain(text: str) -> str:
    """A docstring as people read it who see it as it is."""
    return _CODE.sub(r"'\1'", _REFERENCE.sub(r"'\1'", text))


class CommandDefinition:
    """A command as data: its name, handler, access class, help and schema, from one declaration."""

    def __init__(self, name: str, handler: Handler, access: Access = "write") -> None:
        if not name or name != name.strip():
            raise DeclarationError(f"a command needs a name, not {name!r}")
        if access not in ("read", "write"):
            raise DeclarationError(f"{name}: the access class is 'read' or 'write', not {access!r}")
        if not callable(handler):
            raise DeclarationError(f"{name}: the handler cannot be called")
        self.name = name
        self.handler = handler
        self.access: Access = access
        self.help: str = _plain(inspect.getdoc(handler) or "")
        self.signature: Signature = Signature(handler)

    @property
    def summary(self) -> str:
        """The first paragraph of the help, on one line."""
        return " ".join(self.help.partition("\n\n")[0].split())

    def describe(self) -> dict[str, JSON]:
        """The definition as a JSON value: name, access, summary, help, arguments, result."""
        described: dict[str, JSON] = {
            "name": self.name,
            "access": self.access,
            "summary": self.summary,
            "help": self.help,
            "arguments": None if self.signature.unchecked else self.signature.json_schema(),
        }
        result = self.signature.result_schema()
        if result is not None:
            described["result"] = dict(result)
        return described


@overload
def command(name: H) -> H: ...
@overload
def command(name: str | None = None, *, access: Access = "write") -> Callable[[H], H]: ...
def command(name: str | H | None = None, *, access: Access = "write") -> H | Callable[[H], H]:
    """Mark a method of a daemon as a command.

    ``name`` is the command's name on the wire; by default the method's, with ``_`` written as ``-``.
    ``access`` says whether the command only looks (``read``) or may change something (``write``).
    """
    if name is not None and not isinstance(name, str):
        return cast(H, _mark(name, None, access))

    def decorate(function: H) -> H:
        return cast(H, _mark(function, name, access))

    return decorate


def _mark(function: Handler, name: str | None, access: Access) -> Handler:
    wire_name = name or getattr(function, "__name__", "").strip("_").replace("_", "-")
    function.__bridle_command__ = (wire_name, access)  # type: ignore[attr-defined]
    return function


class CommandManager:
    """Holds the commands of a daemon and answers them.

    ``unsupported`` is the text for a command without a handler, with ``{name}`` in its place.
    """

    def __init__(self, *, unsupported: str = "'{name}' command not supported.") -> None:
        self._unsupported = unsupported
        self._definitions: dict[str, CommandDefinition] = {}
        self._before: tuple[BeforeHook, ...] = ()
        self._after: tuple[AfterHook, ...] = ()
        self._values: tuple[ValueHook, ...] = ()
        self.register_command("list-commands", self._list_commands, access="read")

    def register_command(self, name: str, handler: Handler, *, access: Access = "write") -> CommandDefinition:
        """Answer commands of this name with ``handler``, a plain or a coroutine function.

        What it returns becomes the answer's arguments; a :class:`Response` is answered as it is. What it
        raises is answered with result 1 and the exception's text.

        Raises:
            DeclarationError: the name is taken, or the handler's signature is not one of a command.
        """
        if name in self._definitions:
            raise DeclarationError(f"a handler for '{name}' is already registered")
        definition = CommandDefinition(name, handler, access)
        self._definitions[name] = definition
        return definition

    def deregister_command(self, name: str) -> None:
        """Forget a command. ``list-commands`` stays.

        Raises:
            DeclarationError: there is no such command, or it is built in.
        """
        if name == "list-commands":
            raise DeclarationError("'list-commands' is built in")
        if self._definitions.pop(name, None) is None:
            raise DeclarationError(f"there is no handler for '{name}'")

    def definition(self, name: str) -> CommandDefinition | None:
        """The definition of a command; None when there is none of that name."""
        return self._definitions.get(name)

    @property
    def definitions(self) -> Mapping[str, CommandDefinition]:
        """The definitions by name, as they are at any time."""
        return MappingProxyType(self._definitions)

    def __iter__(self) -> Iterator[CommandDefinition]:
        return iter(sorted(self._definitions.values(), key=lambda definition: definition.name))

    def before_command(self, hook: Before) -> Before:
        """Call ``hook(command)`` before each command; a response that it returns, or an awaitable of one, is
        the answer.

        Usable as a decorator. Hooks run in the order they were added, unknown commands included.
        """
        self._before += (hook,)
        return hook

    def command_processed(self, hook: After) -> After:
        """Call ``hook(command, response)`` after each command; what it returns replaces the answer.

        This is Kea's ``command_processed`` hook point. Usable as a decorator.
        """
        self._after += (hook,)
        return hook

    def assign_value(self, hook: ValueHook) -> ValueHook:
        """Call ``hook(command)`` to find the value that roles are assigned by with the method
        ``custom-value``; None where it knows none. Usable as a decorator."""
        self._values += (hook,)
        return hook

    def custom_value(self, command: Command) -> str | None:
        """What the first hook that knows something says of who sent a command."""
        for hook in self._values:
            value = hook(command)
            if value:
                return value
        return None

    def remove_hook(self, hook: Callable[..., object]) -> None:
        """Call a hook no more."""
        self._before = tuple(known for known in self._before if known != hook)
        self._after = tuple(known for known in self._after if known != hook)
        self._values = tuple(known for known in self._values if known != hook)

    def process_command(
        self, command: Command, others: Mapping[str, CommandDefinition] = NO_OTHERS
    ) -> Outcome:
        """Answer a command: a response, or an awaitable of one where the handler is a coroutine function.

        ``others`` are commands that the command's channel has besides the manager's.

        Never raises for what a handler, a hook or a peer did.
        """
        try:
            value: object = self.intercept(command) if self._before else None
            if value is None:
                definition = self._definitions.get(command.name) or others.get(command.name)
                if definition is None:
                    value = self.unsupported(command)
                else:
                    value = definition.signature.call(definition.handler, command)
            if type(value) in _VALUES:
                response = Response(0, None, msgspec.to_builtins(value, str_keys=True))
            elif value is not None and type(value) is not Response and inspect.isawaitable(value):
                return self._finish_later(command, value)
            else:
                response = _respond(value)
        except Exception as error:
            response = self._failed(command, error)
        return self._finish(command, response) if self._after else response

    def intercept(self, command: Command) -> Response | Awaitable[Response] | None:
        """What a hook answers before the command is done, for those who do it elsewhere: an agent."""
        try:
            for hook in self._before:
                answered = hook(command)
                if answered is not None:
                    return answered
        except Exception as error:
            return self._failed(command, error)
        return None

    def review(self, command: Command, response: Response) -> Response:
        """What the hooks make of an answer that was had elsewhere."""
        return self._finish(command, response)

    @property
    def reviews(self) -> bool:
        """True when there are hooks that look at answers."""
        return bool(self._after)

    @property
    def hooked(self) -> bool:
        """True when there are hooks."""
        return bool(self._before or self._after)

    async def execute(self, command: Command) -> Response:
        """Answer a command, whatever kind of handler it has."""
        outcome = self.process_command(command)
        return outcome if isinstance(outcome, Response) else await outcome

    async def _finish_later(self, command: Command, outcome: Awaitable[object]) -> Response:
        try:
            response = _respond(await outcome)
        except Exception as error:
            response = self._failed(command, error)
        return self._finish(command, response)

    def _finish(self, command: Command, response: Response) -> Response:
        for hook in self._after:
            try:
                response = hook(command, response) or response
            except Exception as error:
                return self._failed(command, error)
        return response

    def _failed(self, command: Command, error: Exception) -> Response:
        if isinstance(error, CommandError):
            return error.response
        if isinstance(error, ArgumentError):
            return Response(Result.ERROR, error.text, error=error)
        text = _text(error)
        _log.error("command %r failed: %s", command.name, text, exc_info=error)
        return Response(Result.ERROR, text)

    def unsupported(self, command: Command) -> Response:
        """The answer to a command that has no handler."""
        text = self._unsupported.format(name=command.name)
        return Response(Result.UNSUPPORTED, text, error=UnknownCommandError(text, name=command.name))

    def _list_commands(self, command: Command) -> list[str]:
        """List the names of all commands, sorted.

        Arguments are ignored, as Kea does.
        """
        return sorted(self._definitions)


def _text(error: Exception) -> str:
    try:
        return str(error) or type(error).__name__
    except Exception:  # an exception that cannot even be written is a handler's fault as well
        return type(error).__name__


def _respond(value: object) -> Response:
    if type(value) is Response:
        return value
    if value is None:
        return _SUCCESS
    return Response(0, None, msgspec.to_builtins(value, str_keys=True))
