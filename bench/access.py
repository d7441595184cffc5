"""What access costs: roles, limits and the audit, on beside off; and what those who guess cost others."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import msgspec

import bridle
from bench.figures import Figure, Measured, of_rates, of_values
from bench.guessing import Report, latencies
from bench.load import Load, LoadError, Mode, Target
from bench.machine import on_core
from bench.programs import NOBODY, OurAgent, OurDaemon, python_path
from bench.scenarios import FORWARDED, HTTP_CLIENTS, VERSION
from bench.stage import Runs, Session, Stage, http_target, unix_target
from bridle.access.passwords import hash_password
from tests.support.programs import ROOT

ON, OFF = "access on", "access off"

PIECES = 5
"""A run is asked for in so many pieces, with and without in turn, and what is left is the median of the
pairs: a neighbour who takes a third of the machine for a second is no cost of access."""
SHORTEST = 0.4
"""Seconds of a piece, where runs are not shorter anyway."""
JSON = bridle.JSON

GUESSES = 10_000
"""Wrong passwords a second."""

GUESSING_SECONDS = 10.0
PASSWORD = "correct horse"
LEFT = ">= 70 %"


def access(session: Session) -> None:
    """The sockets and the agent with access off and on, in turn; then a flood of wrong passwords."""
    pieces = replace(
        session,
        seconds=max(min(session.seconds, SHORTEST), session.seconds / PIECES),
        rounds=session.rounds * PIECES,
    )
    _sockets(pieces)
    _agent(pieces)
    _guessing(session)


def policy(directory: Path) -> dict[str, JSON]:
    """Roles as a site has them, limits that nobody reaches, and an audit of everything."""
    looking: JSON = {"and": ["READ", {"not": {"commands": ["config-get"]}}]}
    return {
        "assign": [
            {"unix-user": os.getuid(), "role": "reader"},
            {"remote-address": "127.0.0.0/8", "role": "reader"},
        ],
        "access-control-lists": [{"looking": looking}],
        "roles": [{"name": "reader", "accept-commands": "looking", "response-filters": ["list-commands"]}],
        "limits": {"peer": {"requests-per-second": 10_000_000, "in-flight": 10_000, "connections": 10_000}},
        "audit": {"file": str(directory / "audit.jsonl")},
    }


def _sockets(session: Session) -> None:
    with Stage(session) as stage:
        targets = _targets(
            {
                OFF: stage.start(OurDaemon),
                ON: stage.start(lambda directory: OurDaemon(directory, policy(directory))),
            },
            unix_target,
        )
        kinds: list[tuple[Mode, int, str]] = [
            ("unix-connect", 1, "unix socket, connect per command, 1 at a time"),
            ("unix-connect", 16, "unix socket, connect per command, 16 at a time"),
            ("unix-keep", 32, "unix socket kept open, 32 clients in lock step"),
        ]
        for mode, clients, what in kinds:
            _report(session, what, stage.alternate(Load(mode, [VERSION], clients), targets))


def _agent(session: Session) -> None:
    with Stage(session) as stage:
        daemon = stage.daemon()
        if daemon is None:
            return
        services = {"dhcp4": daemon.socket}
        targets = _targets(
            {
                OFF: stage.start(lambda directory: OurAgent(directory, services)),
                ON: stage.start(
                    lambda directory: OurAgent(directory, services, {"access": policy(directory)})
                ),
            },
            http_target,
        )
        for text, what in ((VERSION, "answered by the agent"), (FORWARDED, "-> agent -> a Bridle daemon")):
            load = Load("http", [text], HTTP_CLIENTS)
            _report(session, f"HTTP {what}, {HTTP_CLIENTS} connections", stage.alternate(load, targets))


def _targets(programs: Mapping[str, object], target: Callable[..., Target]) -> dict[str, Target]:
    return {name: target(program) for name, program in programs.items() if program is not None}


def _report(session: Session, what: str, runs: Runs) -> None:
    for name in (ON, OFF):
        lost = sum(run.errors for run in runs.get(name, []))
        if lost or not all(run.served for run in runs.get(name, [])):
            session.problem(f"{what}, {name}: {lost} connections were lost, or nothing was answered")
    on, off = runs.get(ON, []), runs.get(OFF, [])
    session.add(Figure("access", what, "answers/s", "more", of_rates(on), of_rates(off), peer=OFF))
    left = of_values([100 * one.rate / other.rate for one, other in zip(on, off, strict=False) if other.rate])
    session.add(Figure("access", f"{what}: what is left with it on", "%", "more", left, None, LEFT))


def _guessing(session: Session) -> None:
    """A client that is logged in asks, alone and while others guess."""
    client: JSON = {"user": "admin", "password-hash": hash_password(PASSWORD)}
    more: dict[str, JSON] = {"authentication": {"type": "basic", "clients": [client]}}
    quiet: list[list[float]] = []
    beside: list[list[float]] = []
    with Stage(session) as stage:
        agent = stage.start(lambda directory: OurAgent(directory, NOBODY, more))
        if agent is None:
            return
        with on_core(session.cores.load):
            for _ in range(session.rounds):
                quiet.append(latencies(agent.port, PASSWORD, session.seconds))
                beside.append(_beside(session, agent.port))
    for share, name in ((0.5, "median"), (0.99, "p99")):
        what = f"latency of a client that is logged in, {GUESSES:,} wrong passwords/s beside it, {name}"
        figures = [_at(several, share) for several in (beside, quiet)]
        session.add(Figure("access", what, "ms", "less", *figures, ">= 0.5x", "nobody guesses"))


def _beside(session: Session, port: int) -> list[float]:
    argv = [sys.executable, "-m", "bench.guessing", str(port), str(GUESSES), str(GUESSING_SECONDS)]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, cwd=ROOT, env=python_path()) as process:
        try:
            found = latencies(port, PASSWORD, GUESSING_SECONDS, delay=0.5)
            out, _ = process.communicate(timeout=3 * GUESSING_SECONDS)
        except subprocess.TimeoutExpired:
            raise LoadError("the guesser did not end") from None
        finally:
            process.kill()
    report = msgspec.json.decode(out, type=Report)
    if report.let_in:
        session.problem(f"{report.let_in} wrong passwords were let in")
    session.note(f"wrong passwords: {report.rate:,.0f} a second were answered, {report.let_in} were let in")
    return found


def _at(rounds: list[list[float]], share: float) -> Measured | None:
    return of_values([statistics.quantiles(one, n=100)[round(share * 100) - 1] for one in rounds])
