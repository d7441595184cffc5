"""What one command on the command line costs, what the import costs, and what an idle agent holds."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from bench.figures import Figure, Measured, of_values
from bench.machine import on_core, resident_bytes
from bench.programs import BRIDLE_COMMAND, NOBODY, OURS, REAL, python_path
from bench.stage import Session, Stage
from tests.support.kea import post
from tests.support.programs import ROOT

ROUNDS = 20
"""How often a short program is run."""

RUN_SECONDS = 10.0
"""How long it may take."""

SETTLE_SECONDS = 0.5
"""Seconds from the agent's first answer to the look at its memory."""

BARE = [sys.executable, "-c", "pass"]
IMPORT = [sys.executable, "-c", "import bridle"]


def one_shot(session: Session) -> None:
    """``bridle call``, from the start of the process to its end, with the daemon on the other core."""
    with Stage(session) as stage:
        ours = stage.daemon()
        if ours is None:
            return
        argv = [*_command(), "call", f"unix:{ours.socket}", "version-get"]
        times = _alternate(session, {"call": argv, "bare": BARE}, answering="call")
    call = of_values(times["call"])
    session.add(
        Figure("oneshot", "bridle call version-get, one shot, median", "ms", "less", call, None, "<= 60 ms")
    )
    session.add(Figure("oneshot", "the same, the fastest", "ms", "less", _fastest(times["call"]), None))
    bare = of_values(times["bare"])
    session.add(Figure("oneshot", "for scale: a bare interpreter, median", "ms", "less", bare, None))


def importing(session: Session) -> None:
    """``import bridle``, over a bare interpreter."""
    times = _alternate(session, {"import": IMPORT, "bare": BARE})
    if not times["import"]:
        return
    over = [loaded - bare for loaded, bare in zip(times["import"], times["bare"], strict=True)]
    figure = Figure(
        "import", "import bridle, over a bare interpreter", "ms", "less", of_values(over), None, "<= 40 ms"
    )
    session.add(figure)


def memory(session: Session) -> None:
    """The idle agents' memory, after their first answer."""
    measured: dict[str, Measured | None] = {}
    with Stage(session) as stage:
        for name, target in stage.agents(NOBODY).items():
            answer = post(int(target.address.rpartition(":")[2]), b'{"command": "version-get"}')
            if answer.status != 200:
                session.problem(f"{name} answered version-get with status {answer.status}")
            time.sleep(SETTLE_SECONDS)
            measured[name] = of_values([resident_bytes(target.pid) / 1e6])
    ours, real = measured.get(OURS), measured.get(REAL)
    session.add(Figure("memory", "idle agent, resident memory", "MB", "less", ours, real, "<= 35 MB"))


def _command() -> list[str]:
    """The installed ``bridle``, or the module where it is not installed beside this interpreter."""
    script = Path(sys.executable).with_name("bridle")
    return [str(script)] if script.exists() else BRIDLE_COMMAND


def _alternate(
    session: Session, programs: Mapping[str, Sequence[str]], answering: str | None = None
) -> dict[str, list[float]]:
    """Run short programs in turn; their times in milliseconds. ``answering`` must print something."""
    times: dict[str, list[float]] = {name: [] for name in programs}
    for _ in range(ROUNDS):
        for name, argv in programs.items():
            elapsed, done = _run(session, argv)
            if done.returncode or (name == answering and not done.stdout.strip()):
                session.problem(
                    f"'{' '.join(argv[1:])}' failed ({done.returncode}): {done.stderr.strip()[-200:]}"
                )
                return {name: [] for name in programs}
            times[name].append(elapsed * 1e3)
    return times


def _run(session: Session, argv: Sequence[str]) -> tuple[float, subprocess.CompletedProcess[str]]:
    environment = python_path()
    with on_core(session.cores.load):
        start = time.perf_counter()
        done = subprocess.run(
            argv, capture_output=True, text=True, timeout=RUN_SECONDS, check=False, cwd=ROOT, env=environment
        )
        return time.perf_counter() - start, done


def _fastest(values: Sequence[float]) -> Measured | None:
    return of_values([min(values)]) if values else None
