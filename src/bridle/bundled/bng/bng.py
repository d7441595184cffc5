"""The session daemon: ``bridle run bng``. BNG Blaster's sessions with real state, and no packets.

::

    configuration ─▶ Simulation ◀─ advance(seconds) ── a timer, and every command
                        │
                        └ Answers ─▶ what commands tell
"""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Awaitable, Callable
from typing import Any, ClassVar

from msgspec import UNSET, convert

from bridle.bundled.bng.answers import Answers
from bridle.bundled.bng.answers_0_5 import OldAnswers
from bridle.bundled.bng.calls import Call, Declared, arguments_of, asked, error, read_address
from bridle.bundled.bng.igmp_commands import IgmpCommands, TunnelCommands
from bridle.bundled.bng.session_commands import SessionCommands
from bridle.bundled.bng.settings import BngSettings, check_names
from bridle.bundled.bng.simulation import Simulation
from bridle.bundled.bng.traffic_commands import TrafficCommands
from bridle.core.errors import CommandError
from bridle.core.messages import JSON, Command, Response
from bridle.core.version import VERSION
from bridle.daemon.daemon import Daemon
from bridle.daemon.document import Document

__all__ = ["Bng"]

# Keys of the configuration that are the kit's.
_KIT_KEYS = ("access", "control-socket", "control-sockets", "user-context", "comment")
# Seconds until the next look, at most and at least: answers do not wait for it.
_LONGEST = 3600.0
_SHORTEST = 0.001


class Bng(SessionCommands, IgmpCommands, TunnelCommands, TrafficCommands, Daemon):
    """A BNG Blaster whose BNG is simulated: sessions start at the configured rate, come up, carry traffic,
    are lost and come back; its commands are BNG Blaster's.

    ``clock`` tells the seconds that pass, by default the event loop's.
    """

    root: ClassVar[str] = "bng"
    rootless: ClassVar[bool] = True
    version: ClassVar[str] = VERSION
    Configuration: ClassVar[type[BngSettings]] = BngSettings

    def __init__(self, *, clock: Callable[[], float] | None = None) -> None:
        self._clock = clock
        self._timer: asyncio.TimerHandle | None = None
        self._due: float | None = None
        self._began = 0.0
        self._started = False
        self._declared: dict[str, tuple[Declared, Callable[..., Any]]] = {}
        for base in type(self).__mro__:
            for name, member in vars(base).items():
                for declared in getattr(member, "__bng_commands__", ()):
                    self._declared[declared.name] = (declared, getattr(self, name))
        self._offered: set[str] = set()
        self._set_up(Simulation(BngSettings()))
        self.manager.before_command(self._address_unknown)

    # Configuration.

    def check_configuration(self, document: Document) -> BngSettings:
        """Read the configuration, and see that a simulation can be made of it."""
        value = document.value.get(self.root)
        if isinstance(value, dict):
            for section in check_names(value, _KIT_KEYS):
                document.warnings.append(f"{section} is not simulated")
        settings = super().check_configuration(document)
        assert isinstance(settings, BngSettings)
        settings.check()
        return settings

    def configure(self, configuration: BngSettings) -> None:
        """Begin anew: all sessions are new ones."""
        self._set_up(Simulation(configuration))
        if self._started:
            self._began = self._time()
            self._schedule()

    def _set_up(self, simulation: Simulation) -> None:
        self.simulation: Simulation = simulation
        self.answers: Answers = OldAnswers(simulation) if simulation.old else Answers(simulation)
        self.simulation.on_end = self._end_soon
        self._offer()

    def _offer(self) -> None:
        """Have the commands of the release that is simulated."""
        wanted = {
            name for name, (declared, _) in self._declared.items() if declared.old or not self.simulation.old
        }
        for name in self._offered - wanted:
            self.manager.deregister_command(name)
        for name in wanted - self._offered:
            declared, handler = self._declared[name]
            answer = functools.partial(self._answer, declared, handler)
            answer.__doc__ = handler.__doc__
            self.manager.register_command(name, answer, access=declared.access)
        self._offered = wanted

    # Time.

    def _time(self) -> float:
        return self._clock() if self._clock is not None else asyncio.get_running_loop().time()

    async def start(self) -> None:
        """Let time pass."""
        self._started = True
        self._began = self._time()
        self._schedule()

    async def stop(self) -> None:
        """Let no more time pass."""
        self._started = False
        self._cancel()

    def _cancel(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _schedule(self) -> None:
        self._cancel()
        due = self._due = self.simulation.timetable.next
        seconds = _LONGEST if due is None else self._began + due - self._time()
        # What is due is done as of its own time, however late: there is no need to be called too early.
        seconds = min(max(seconds, _SHORTEST), _LONGEST)
        self._timer = asyncio.get_running_loop().call_later(seconds, self._on_time)

    def _on_time(self) -> None:
        self._timer = None
        self.catch_up()

    def catch_up(self) -> None:
        """Let everything happen that is due; what takes too long at once is gone on with soon."""
        if self._started:
            self.simulation.advance(self._time() - self._began)
            if self._timer is None or self._due != self.simulation.timetable.next:
                self._schedule()

    def _end_soon(self) -> None:
        if self._started:
            self.end(0)

    # Commands.

    def _answer(self, declared: Declared, handler: Callable[[Call], object], command: Command) -> Response:
        self.catch_up()
        arguments = arguments_of(command)
        call = Call(self.simulation, arguments)
        if not self.simulation.old and not declared.names.issuperset(arguments):
            raise error("invalid argument")
        value = handler(call)
        if declared.access == "write":
            self.catch_up()
        if isinstance(value, Response):
            return value
        key = (
            "session-information" if self.simulation.old and declared.name == "session-info" else declared.key
        )
        return Response(arguments=UNSET if value is None else value, key=key)  # type: ignore[arg-type]

    def _address_unknown(self, command: Command) -> Response | Awaitable[Response] | None:
        """What is wrong with an address is told even of a command that nobody knows (facts §1.2)."""
        if self.manager.definition(command.name) is not None:
            return None
        try:
            read_address(self.simulation, arguments_of(command))
        except CommandError as refusal:
            return refusal.response
        return None

    @asked("commands", hidden=True)
    def commands(self, call: Call) -> list[dict[str, JSON]]:
        """List the commands, and the names of their arguments."""
        return [
            {"command": declared.name, "arguments": list(declared.arguments)}
            for declared, _ in self._declared.values()
            if not declared.hidden and declared.name in self._offered
        ]

    def status(self) -> dict[str, JSON]:
        """What ``status-get`` tells besides."""
        return {"state": self.simulation.state, "sessions": len(self.simulation.sessions)}


def settings_of(value: dict[str, JSON]) -> BngSettings:
    """Settings from a configuration's value, as tests need them."""
    check_names(value, ())
    settings = convert(value, BngSettings, str_keys=True)
    settings.check()
    return settings
