"""Three services behind the agent, one of which answers late: what those lose who ask the other two."""

from __future__ import annotations

import time

from bench.figures import Figure, Measured, of_rates
from bench.load import Load, Loading, Run, Target, timed
from bench.programs import OURS, REAL
from bench.stage import Runs, Session, Stage, http_target

SLOW_SECONDS = 2.0
"""How late the slow one is."""

SLOW_CLIENTS = 4
OTHER_CLIENTS = 8

HEAD_START = 0.3
"""Seconds before the others begin, in which the slow requests get to the slow service."""

ANSWER = b'{ "arguments": { "extended": "stand-in" }, "result": 0, "text": "1.0" }'

SLOW = Load("http", ['{"command": "version-get", "service": ["d2"]}'], SLOW_CLIENTS, warmup=0.0)
OTHERS = Load(
    "http",
    ['{"command": "version-get", "service": ["dhcp4"]}', '{"command": "version-get", "service": ["dhcp6"]}'],
    OTHER_CLIENTS,
)


def slow(session: Session) -> None:
    """Ask the two quick services alone, then while others wait for the slow one; a fresh agent each time."""
    alone: Runs = {}
    beside: Runs = {}
    for _ in range(session.rounds):
        for name in (OURS, REAL):
            runs = play(session, name)
            if runs is not None:
                alone.setdefault(name, []).append(runs[0])
                beside.setdefault(name, []).append(runs[1])
    _report(session, alone, beside)


def play(session: Session, name: str) -> tuple[Run, Run] | None:
    """One round with one agent: the others alone, and beside those who wait. None if it cannot be started."""
    with Stage(session) as stage:
        services = {"dhcp4": (0.0, ANSWER), "dhcp6": (0.0, ANSWER), "d2": (SLOW_SECONDS, ANSWER)}
        stand_in = stage.stand_in(services)
        agent = stage.agent(name, stand_in.services) if stand_in is not None else None
        if agent is None:
            return None
        target = http_target(agent)
        alone = stage.ask(name, OTHERS, target)
        beside = _beside(stage, name, target)
        if agent.process is not None:
            agent.process.kill()  # one that is stuck behind the slow service hears no SIGTERM for seconds
        return alone, beside


def _beside(stage: Stage, name: str, target: Target) -> Run:
    core = stage.session.cores.load
    lasting = timed(SLOW, HEAD_START + stage.session.seconds + SLOW_SECONDS)
    with Loading(lasting, target, core) as waiting:
        time.sleep(HEAD_START)
        others = stage.ask(name, OTHERS, target)
        stage.checked(name, waiting.report())
    return others


def _report(session: Session, alone: Runs, beside: Runs) -> None:
    rates = {name: (of_rates(alone[name]), of_rates(beside[name])) for name in alone}
    before = {name: pair[0] for name, pair in rates.items()}
    after = {name: pair[1] for name, pair in rates.items()}
    left = {name: remaining(*pair) for name, pair in rates.items()}
    others = f"{OTHER_CLIENTS} clients of two quick services"
    lines: list[tuple[str, str, dict[str, Measured | None], str]] = [
        (f"{others}, nobody else", "answers/s", before, ""),
        (f"{others}, {SLOW_CLIENTS} more wait {SLOW_SECONDS:g} s for a third", "answers/s", after, ""),
        (f"{others}: what is left to them beside the third", "%", left, "100 %"),
    ]
    for what, unit, measured, aim in lines:
        session.add(Figure("slow", what, unit, "more", measured.get(OURS), measured.get(REAL), aim))


def remaining(alone: Measured | None, beside: Measured | None) -> Measured | None:
    """A rate in percent of what it was alone; None where there was none."""
    if alone is None or beside is None or not alone.value:
        return None
    percent = 100 / alone.value
    return Measured(beside.value * percent, beside.lowest * percent, beside.highest * percent)
