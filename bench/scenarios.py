"""Small commands, as fast as they are answered: over unix sockets, and over HTTP."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from bench.figures import Figure, of_rates
from bench.load import Load
from bench.programs import NOBODY, OURS, REAL
from bench.stage import Runs, Session, Stage, unix_target

VERSION = '{"command": "version-get"}'
FORWARDED = '{"command": "version-get", "service": ["dhcp4"]}'

HTTP_CLIENTS = 16


def connect(session: Session) -> None:
    """Unix socket, a connection for every command, as Kea's own clients do."""
    with Stage(session) as stage:
        ours, real = stage.daemon(), stage.dhcp4()
        targets = {
            name: unix_target(program)
            for name, program in ((OURS, ours), (REAL, real))
            if program is not None
        }
        for clients, aim in ((1, ""), (16, ">= 2x")):
            runs = stage.alternate(Load("unix-connect", [VERSION], clients), targets)
            session.add(
                _rates("connect", f"unix socket, connect per command, {clients} at a time", runs, aim)
            )


def keep(session: Session) -> None:
    """Unix socket, connections kept open: Bridle's extension, which Kea has no counterpart of."""
    with Stage(session) as stage:
        ours = stage.daemon()
        targets = {OURS: unix_target(ours)} if ours is not None else {}
        serial = stage.alternate(Load("unix-keep", [VERSION], 32), targets)
        session.add(_rates("keep", "unix socket kept open, 32 clients in lock step", serial, ">= 180k/s"))
        piped = stage.alternate(Load("unix-pipe", [VERSION], 4, depth=50), targets)
        session.add(_rates("keep", "unix socket kept open, 4 x 50 pipelined", piped, ">= 750k/s"))


def forward(session: Session) -> None:
    """HTTP through the agent to a real ``kea-dhcp4``, which shares a core with the agent or with the load."""
    for beside_load, behind in ((False, "kea-dhcp4 on its core"), (True, "kea-dhcp4 on the other core")):
        with Stage(session) as stage:
            dhcp4 = stage.dhcp4(beside_load=beside_load)
            if dhcp4 is not None:
                _through_agents(stage, {"dhcp4": dhcp4.socket}, "forward", behind, ">= 3x")


def daemon(session: Session) -> None:
    """HTTP through the agent to a daemon that embeds Bridle; agent and daemon share a core."""
    with Stage(session) as stage:
        ours = stage.daemon()
        if ours is not None:
            _through_agents(stage, {"dhcp4": ours.socket}, "daemon", "a Bridle daemon", "")


def _through_agents(stage: Stage, services: Mapping[str, Path], scenario: str, behind: str, aim: str) -> None:
    runs = stage.alternate(Load("http", [FORWARDED], HTTP_CLIENTS), stage.agents(services))
    what = f"HTTP -> agent -> {behind}, {HTTP_CLIENTS} connections"
    stage.session.add(_rates(scenario, what, runs, aim))


def local(session: Session) -> None:
    """HTTP answered by the agent itself."""
    with Stage(session) as stage:
        runs = stage.alternate(Load("http", [VERSION], HTTP_CLIENTS), stage.agents(NOBODY))
        what = f"HTTP answered by the agent, {HTTP_CLIENTS} connections"
        session.add(_rates("local", what, runs, ">= 100k/s"))


def _rates(scenario: str, what: str, runs: Runs, aim: str) -> Figure:
    ours, real = of_rates(runs.get(OURS, [])), of_rates(runs.get(REAL, []))
    return Figure(scenario, what, "answers/s", "more", ours, real, aim)
