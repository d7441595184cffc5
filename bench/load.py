"""The load generator (``load.c``): compiled when needed, run on a core of its own, its report read."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, TypeAlias

import msgspec

from bench.machine import cpu_seconds, on_core

HERE = Path(__file__).parent
SOURCES = [HERE / "load.c", HERE / "latency.c", HERE / "options.c"]
HEADERS = [HERE / "latency.h", HERE / "options.h"]
BINARY = HERE / "build" / "load"

COMPILE_SECONDS = 60.0
"""How long the compiler may take; it needs less than one."""

SPARE_SECONDS = 15.0
"""How much longer than its load the generator may live: it ends itself after ten."""

WARMUP_SHARE = 0.1
"""The part of a run's seconds that is added before it and not counted."""

SUCCESS = '"result": 0'
"""What stands in every answer that is right, in Kea's way of writing JSON."""

Mode: TypeAlias = Literal[
    "unix-connect", "unix-keep", "unix-pipe", "http", "binrpc-connect", "binrpc", "binrpc-udp", "libqb"
]


class LoadError(Exception):
    """The load generator cannot be built, or did not do its work."""


class Run(msgspec.Struct, frozen=True):
    """What one run of the generator saw; see the head of ``load.c``. Latencies in microseconds."""

    completed: int
    served: int
    errors: int
    timeouts: int
    wrong: int
    unfinished: int
    bytes: int
    rate: float
    p50_us: float
    p99_us: float
    max_us: float
    sample: str
    cpu_us: float = 0.0
    """Processor time of the asked program for each answer, the warm-up included."""


@dataclass(frozen=True)
class Target:
    """Somebody to ask: the path of a unix socket or ``127.0.0.1:PORT``, and the process that answers."""

    address: str
    pid: int


@dataclass(frozen=True)
class Load:
    """What is asked, and by how many at a time. Connection i sends request i modulo their number."""

    mode: Mode
    requests: Sequence[str]
    clients: int
    depth: int = 1
    seconds: float = 2.0
    warmup: float | None = None
    patience: float = 10.0
    drain: float = 0.0
    expect: str = SUCCESS

    def argv(self, address: str) -> list[str]:
        """The generator's command line."""
        options = {
            "address": address,
            "clients": self.clients,
            "depth": self.depth,
            "seconds": self.seconds,
            "warmup": self.seconds * WARMUP_SHARE if self.warmup is None else self.warmup,
            "patience": self.patience,
            "drain": self.drain,
            "expect": self.expect,
        }
        words = [f"--{name}={value}" for name, value in options.items()]
        return [str(BINARY), self.mode, *words, *(f"--request={request}" for request in self.requests)]


def build() -> None:
    """Compile the generator where one of its sources is newer than its binary.

    Raises:
        LoadError: there is no C compiler, or it complains.
    """
    newest = max(path.stat().st_mtime for path in (*SOURCES, *HEADERS))
    if BINARY.exists() and BINARY.stat().st_mtime >= newest:
        return
    compiler = shutil.which("cc")
    if compiler is None:
        raise LoadError("no C compiler (cc) is installed: the load generator cannot be built")
    BINARY.parent.mkdir(exist_ok=True)
    beside = BINARY.with_suffix(".new")
    argv = [compiler, "-O2", "-std=c11", "-Wall", "-Wextra", "-o", str(beside), *map(str, SOURCES)]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=COMPILE_SECONDS, check=False)
    if done.returncode:
        raise LoadError(f"cc does not compile the load generator:\n{done.stderr}")
    beside.replace(BINARY)


class Loading:
    """A generator at work; leaving the block ends it."""

    def __init__(self, load: Load, target: Target, core: int) -> None:
        self.load = load
        self.target = target
        self.cpu_before = cpu_seconds(target.pid)
        with on_core(core):
            self.process = subprocess.Popen(
                load.argv(target.address), stdout=subprocess.PIPE, stderr=subprocess.PIPE
            )

    def __enter__(self) -> Loading:
        return self

    def __exit__(self, *_exception: object) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.communicate()

    def report(self) -> Run:
        """Wait for the end and give what was seen.

        Raises:
            LoadError: the generator failed or did not end.
        """
        limit = 2 * self.load.seconds + self.load.drain + SPARE_SECONDS
        try:
            out, err = self.process.communicate(timeout=limit)
        except subprocess.TimeoutExpired:
            raise LoadError(f"the load generator did not end within {limit:g} s") from None
        if self.process.returncode:
            raise LoadError(f"the load generator failed ({self.process.returncode}): {err.decode().strip()}")
        run = msgspec.json.decode(out, type=Run)
        used = cpu_seconds(self.target.pid) - self.cpu_before
        return msgspec.structs.replace(run, cpu_us=used * 1e6 / run.served if run.served else 0.0)


def measure(load: Load, target: Target, core: int) -> Run:
    """Ask one target for as long as the load says."""
    with Loading(load, target, core) as loading:
        return loading.report()


def timed(load: Load, seconds: float) -> Load:
    """The same load for another time."""
    return replace(load, seconds=seconds)
