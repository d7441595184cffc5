"""How a command of BNG Blaster is read: the session it addresses, then its arguments (facts §1.2, §1.3).

The order of checks is the real program's: the address, the command's name, the arguments' names, the handler.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar

from msgspec import UNSET

from bridle.bundled.bng.session import Session
from bridle.bundled.bng.simulation import Simulation
from bridle.core.errors import CommandError
from bridle.core.manager import Access
from bridle.core.messages import JSON, Command, Response
from bridle.core.results import Result

__all__ = ["ADDRESS", "GROUPED", "Call", "Declared", "asked", "error", "read_address", "warning"]

F = TypeVar("F", bound=Callable[..., Any])
T = TypeVar("T")

ADDRESS = ("outer-vlan", "inner-vlan", "interface", "ifindex")
"""Names that every command lets pass."""

GROUPED = ("session-id", "session-group-id")


def error(text: str, code: int = 400) -> CommandError:
    """A refusal with ``status`` ``error``."""
    result = Result.CONFLICT if code == 409 else Result.ERROR
    return CommandError(text, result, response=Response(result, text, code=code))


def warning(text: str, code: int = 404) -> CommandError:
    """A refusal with ``status`` ``warning``."""
    return CommandError(text, Result.EMPTY, response=Response(Result.EMPTY, text, code=code))


class Declared:
    """A command as its handler was marked: its name, the names of its arguments, and where it is told of.

    ``old`` is True for a command that release 0.5 has, ``hidden`` for one that ``commands`` leaves out, and
    ``key`` is what its answer stands under where that is not its name.
    """

    def __init__(
        self,
        name: str,
        arguments: tuple[str, ...],
        access: Access,
        *,
        old: bool,
        hidden: bool,
        key: str | None,
    ) -> None:
        self.name = name
        self.arguments = arguments
        self.names: frozenset[str] = frozenset((*arguments, *ADDRESS))
        self.access: Access = access
        self.old = old
        self.hidden = hidden
        self.key = key


def asked(
    name: str,
    *arguments: str,
    access: Access = "read",
    old: bool = False,
    hidden: bool = False,
    key: str | None = None,
) -> Callable[[F], F]:
    """Mark a method as the handler of a command of BNG Blaster; may be used more than once. It is called with
    a :class:`Call`, and returns what the answer's key holds, None or a response."""

    def decorate(function: F) -> F:
        declared = Declared(name, arguments, access, old=old, hidden=hidden, key=key)
        marks = getattr(function, "__bng_commands__", ())
        function.__bng_commands__ = (declared, *marks)  # type: ignore[attr-defined]
        return function

    return decorate


class Call:
    """A command's arguments, and the session that they address."""

    def __init__(self, simulation: Simulation, arguments: Mapping[str, JSON]) -> None:
        self.simulation = simulation
        self.arguments = arguments
        self.number: int = read_address(simulation, arguments)

    @property
    def session(self) -> Session:
        """The session, which must be there."""
        if not self.number:
            raise error("missing session-id")
        return self.found

    @property
    def found(self) -> Session:
        """The session of that number."""
        session = self.simulation.session(self.number)
        if session is None:
            raise warning("session not found")
        return session

    @property
    def sessions(self) -> Iterable[Session]:
        """The session that is addressed; without one those of the group, without that all."""
        if self.number:
            return (self.found,)
        return self.group(self.simulation.sessions)

    def group(self, sessions: Iterable[Session]) -> Iterable[Session]:
        """Those of a group where one is asked for."""
        group = self.integer("session-group-id", range(65536))
        if group is None:
            return sessions
        return (session for session in sessions if session.access.group == group)

    def integer(self, name: str, within: range | None = None) -> int | None:
        """A number, cut to a whole one; None: it is not given."""
        value = self.arguments.get(name)
        if value is None and name not in self.arguments:
            return None
        number = _integer(value)
        if number is None or (within is not None and number not in within):
            raise error(f"invalid {name}")
        return number

    def text(self, name: str) -> str | None:
        """A string; None: it is not given."""
        return self._typed(name, str)

    def flag(self, name: str) -> bool:
        """A boolean, False where it is not given."""
        return self._typed(name, bool) or False

    def _typed(self, name: str, kind: type[T]) -> T | None:
        if name not in self.arguments:
            return None
        value = self.arguments[name]
        if not isinstance(value, kind):
            raise error(f"invalid {name}")
        return value

    def address(self, name: str, refusal: str) -> int | None:
        """An IPv4 address; None: it is not given."""
        if name not in self.arguments:
            return None
        try:
            return int(ipaddress.IPv4Address(self.arguments[name]))
        except ValueError as wrong:
            raise error(refusal) from wrong


def _integer(value: JSON) -> int | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return int(value)


def arguments_of(command: Command) -> Mapping[str, JSON]:
    """A command's arguments by name."""
    arguments = command.arguments
    if arguments is UNSET or arguments is None:
        return {}
    if not isinstance(arguments, dict):
        raise error("invalid arguments: an object is expected")
    return arguments


def read_address(simulation: Simulation, arguments: Mapping[str, JSON]) -> int:
    """The number of the session that is addressed, which need not be there; 0: none is.

    Raises:
        CommandError: the address is malformed, or there is no session on these VLANs.
    """
    if "session-id" in arguments:
        return _number(arguments, "session-id")
    interface = simulation.default_interface
    if "ifindex" in arguments:
        index = _number(arguments, "ifindex")
        interface = next((one for one in simulation.interfaces if one.index == index), None)
    elif "interface" in arguments and not simulation.old:
        name = arguments["interface"]
        interface = simulation.interface(name) if isinstance(name, str) else None
    outer = _number(arguments, "outer-vlan")
    inner = _number(arguments, "inner-vlan")
    if not outer:
        return 0
    session = simulation.session_at(interface, outer, inner)
    if session is None:
        raise warning("session not found")
    return session.id


def _number(arguments: Mapping[str, JSON], name: str) -> int:
    """A number that is cut to 32 bits, as C does; 0 where it is not given."""
    if name not in arguments:
        return 0
    number = _integer(arguments[name])
    if number is None:
        raise error(f"invalid {name}")
    return number & 0xFFFFFFFF
