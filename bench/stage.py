"""Where a scenario plays: programs are started for it, asked in turn, and stopped at its end."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self, TypeAlias, TypeVar

from bench.figures import Figure
from bench.load import Load, Run, Target, measure, timed
from bench.machine import Cores, on_core
from bench.programs import (
    OURS,
    REAL,
    OurAgent,
    OurCtl,
    OurDaemon,
    RealAgent,
    RealDhcp4,
    RealKamailio,
    StandIn,
)
from tests.support.programs import Program, StartError, short_directory

P = TypeVar("P", bound=Program)

ALONE = "nothing to compare with, ours only"

Runs: TypeAlias = dict[str, list[Run]]


@dataclass
class Session:
    """One run of the benchmark: its settings, and what came of it so far."""

    seconds: float
    rounds: int
    cores: Cores
    say: Callable[[str], None]
    figures: list[Figure] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def problem(self, text: str) -> None:
        """Take note of something that makes the benchmark fail."""
        if text not in self.problems:
            self.problems.append(text)
            self.say(f"PROBLEM {text}")

    def note(self, text: str) -> None:
        """Take note of something that a reader of the figures must know."""
        if text not in self.notes:
            self.notes.append(text)
            self.say(f"note: {text}")

    def add(self, figure: Figure) -> None:
        """Add a line to the table; without any figure in it, it is left out."""
        if figure.ours is None and figure.real is None:
            return
        self.figures.append(figure)
        both = ((OURS, figure.ours), (figure.peer, figure.real))
        values = ", ".join(f"{name} {measured.value:,.1f}" for name, measured in both if measured is not None)
        self.say(f"  {figure.what}: {values} {figure.unit}")


class Stage:
    """The programs of one scenario, on the servers' core unless said otherwise; leaving it stops them."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self._stack = contextlib.ExitStack()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.__exit__(kind, value, trace)

    def start(self, make: Callable[[Path], P], *, beside_load: bool = False) -> P | None:
        """Start a program, on the load's core if it is to be ``beside_load``.

        None where the real one is not installed, or ours does not start (a problem).
        """
        directory = self._stack.enter_context(short_directory())
        try:
            program = make(directory)
        except FileNotFoundError as missing:
            self.session.note(f"{missing}: {ALONE}")
            return None
        try:
            cores = self.session.cores
            with on_core(cores.load if beside_load else cores.servers):
                self._stack.enter_context(program)
        except StartError as failure:
            self.session.problem(_shortened(str(failure)))
            return None
        return program

    def daemon(self) -> OurDaemon | None:
        """Start a daemon of ours."""
        return self.start(OurDaemon)

    def dhcp4(self, *, beside_load: bool = False) -> RealDhcp4 | None:
        """Start ``kea-dhcp4``."""
        return self.start(RealDhcp4, beside_load=beside_load)

    def stand_in(self, services: Mapping[str, tuple[float, bytes]]) -> StandIn | None:
        """Start the stand-in."""
        return self.start(lambda directory: StandIn(directory, services))

    def agent(self, name: str, services: Mapping[str, Path]) -> OurAgent | RealAgent | None:
        """Start one of the two agents, in front of these services."""
        if name == OURS:
            return self.start(lambda directory: OurAgent(directory, services))
        return self.start(lambda directory: RealAgent(directory, services))

    def agents(self, services: Mapping[str, Path]) -> dict[str, Target]:
        """Start both agents, and give those that run."""
        started = {name: self.agent(name, services) for name in (OURS, REAL)}
        return {name: http_target(agent) for name, agent in started.items() if agent is not None}

    def alternate(self, load: Load, targets: Mapping[str, Target]) -> Runs:
        """Ask every target in turn, round after round, so that a noisy minute is everybody's."""
        runs: Runs = {name: [] for name in targets}
        for _ in range(self.session.rounds):
            for name, target in targets.items():
                runs[name].append(self.ask(name, load, target))
        return runs

    def ask(self, name: str, load: Load, target: Target) -> Run:
        """Ask one target for the session's seconds."""
        return self.checked(name, measure(timed(load, self.session.seconds), target, self.session.cores.load))

    def checked(self, name: str, run: Run) -> Run:
        """Report a run's wrong answers; ours must not lose or omit any either."""
        if run.wrong:
            self.session.problem(f"{name} answered wrongly: {run.sample}")
        if name == OURS and run.errors:
            self.session.problem(f"{name} lost {run.errors} connections before their answers")
        if name == OURS and not run.served:
            self.session.problem(f"{name} did not answer")
        return run


def ctl_targets(program: OurCtl | RealKamailio) -> dict[str, Target]:
    """How a ctl is asked, by transport."""
    places = {
        name: address.partition(":")[2] for name, address in program.addresses.items() if name != "unixd"
    }
    return {name: Target(place, program.worker) for name, place in places.items()}


def unix_target(program: OurDaemon | RealDhcp4) -> Target:
    """How a daemon is asked."""
    return Target(str(program.socket), program.pid)


def http_target(agent: OurAgent | RealAgent) -> Target:
    """How an agent is asked."""
    return Target(f"127.0.0.1:{agent.port}", agent.pid)


def _shortened(text: str) -> str:
    lines = text.strip().splitlines()
    return " / ".join([lines[0], *lines[1:][-1:]])
