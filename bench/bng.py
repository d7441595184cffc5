"""The session daemon. BNG Blaster itself is in no distribution: what it did on a comparable machine stands in
the lines (``facts/bngblaster.md`` §8)."""

from __future__ import annotations

import json
import socket
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from bench.figures import Figure, of_rates, of_values
from bench.load import Load, Run, Target
from bench.machine import resident_bytes
from bench.programs import OURS, OurBng
from bench.stage import Session, Stage

FEW = 2_000
MANY = 100_000
CLIENTS = 16
SILENT = 50
SECONDS = 60.0
ALL_FLOWS = {"ipv4-pps": 1, "ipv6-pps": 1, "ipv6pd-pps": 1}


def bng(session: Session) -> None:
    """Commands, large answers, silent clients; and a hundred thousand sessions."""
    with Stage(session) as stage:
        daemon = stage.start(lambda directory: OurBng(directory, FEW, ALL_FLOWS))
        if daemon is not None and _wait(session, daemon, FEW) is not None:
            _commands(session, stage, Target(str(daemon.socket), daemon.pid))
            _summary(session, daemon.socket, FEW, "<= 20 ms (0.9 s)")
    with Stage(session) as stage:
        empty = stage.start(lambda directory: OurBng(directory, 0, {}))
        floor = resident_bytes(empty.pid) if empty is not None else 0
    for flows, what in ((None, "no traffic"), (ALL_FLOWS, "six flows each")):
        with Stage(session) as stage:
            daemon = stage.start(lambda directory, flows=flows: OurBng(directory, MANY, flows or {}))
            if daemon is None:
                return
            seconds = _wait(session, daemon, MANY)
            if seconds is None:
                return
            size = (resident_bytes(daemon.pid) - floor) / MANY
            name = f"{MANY:,} sessions, {what}"
            session.add(Figure("bng", f"{name}: all established", "s", "less", of_values([seconds]), None))
            session.add(
                Figure("bng", f"{name}: memory of one", "bytes", "less", of_values([size]), None, "< 2048")
            )
            _summary(session, daemon.socket, MANY, "")


def _commands(session: Session, stage: Stage, target: Target) -> None:
    request = {"command": "session-info", "arguments": {"session-id": 1}}
    info = Load("unix-connect", [json.dumps(request)], CLIENTS, expect='"session-state": "Established"')
    runs = stage.alternate(info, {OURS: target}).get(OURS, [])
    what = f"session-info, connect per command, {CLIENTS} clients"
    session.add(
        Figure("bng", what, "answers/s", "more", of_rates(runs), None, ">= 20,000 (600)"),
    )
    counters = Load("unix-connect", ['{"command": "session-counters"}'], CLIENTS, expect='"status": "ok"')
    runs = stage.alternate(counters, {OURS: target}).get(OURS, [])
    what = f"session-counters, connect per command, {CLIENTS} clients"
    session.add(Figure("bng", what, "answers/s", "more", of_rates(runs), None))
    _beside_silent(session, stage, target)


def _beside_silent(session: Session, stage: Stage, target: Target) -> None:
    """Those who speak are to be answered within 50 ms, whoever else says nothing."""
    load = Load("unix-connect", ['{"command": "session-counters"}'], SILENT, expect='"status": "ok"')
    runs: list[Run] = []
    for _ in range(session.rounds):
        with ExitStack() as silent:
            for _ in range(SILENT):
                sock = silent.enter_context(socket.socket(socket.AF_UNIX))
                sock.connect(target.address)
            runs.append(stage.ask(OURS, load, target))
    worst = of_values([run.p99_us / 1000 for run in runs])
    what = f"{SILENT} clients beside {SILENT} that are silent: 99 of 100 answers within"
    session.add(Figure("bng", what, "ms", "less", worst, None, "<= 50 ms"))


def _wait(session: Session, daemon: OurBng, count: int) -> float | None:
    """Seconds from when it listens until all sessions are up."""
    began = time.monotonic()
    while time.monotonic() < began + SECONDS:
        told = _ask(daemon.socket, "session-counters")["session-counters"]
        if told["sessions-established"] == count:
            return time.monotonic() - began
        time.sleep(0.02)
    session.problem(f"{count} sessions were not up in {SECONDS} s")
    return None


def _summary(session: Session, path: Path, count: int, aim: str) -> None:
    times = []
    for _ in range(max(3, session.rounds)):
        began = time.perf_counter()
        data = _exchange(path, "session-summary")
        times.append((time.perf_counter() - began) * 1000)
        if len(json.loads(data)["session-summary"]) != count:
            session.problem(f"session-summary has not all {count} sessions")
    what = f"session-summary of {count:,} sessions, {len(data) / 1e6:.1f} MB"
    session.add(Figure("bng", what, "ms", "less", of_values(times), None, aim))


def _ask(path: Path, name: str) -> Any:
    return json.loads(_exchange(path, name))


def _exchange(path: Path, name: str) -> bytes:
    with socket.socket(socket.AF_UNIX) as sock:
        sock.settimeout(SECONDS)
        sock.connect(str(path))
        sock.sendall(json.dumps({"command": name}).encode())
        parts = []
        while part := sock.recv(1 << 20):
            parts.append(part)
    return b"".join(parts)
