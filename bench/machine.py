"""The machine under the benchmark: its cores, what a process costs on it, and how busy it is."""

from __future__ import annotations

import contextlib
import os
import platform
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.support.programs import find

_TICK = 1 / os.sysconf("SC_CLK_TCK")
_USER_TICKS, _SYSTEM_TICKS = 11, 12  # places in /proc/PID/stat after the process's name

VERSION_SECONDS = 10.0
"""How long a program may take to print its version."""


@dataclass(frozen=True)
class Cores:
    """Which core the servers run on, and which one the load."""

    servers: int
    load: int

    @classmethod
    def of_this_machine(cls) -> Cores:
        """The first two cores that this process may use; one core for both where there is no second."""
        allowed = sorted(os.sched_getaffinity(0))
        return cls(servers=allowed[0], load=allowed[min(1, len(allowed) - 1)])

    @property
    def shared(self) -> bool:
        """Whether the load takes its time from the servers."""
        return self.servers == self.load


@contextlib.contextmanager
def on_core(core: int) -> Iterator[None]:
    """Keep the programs that are started in the block on this core, all their threads included."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def cpu_seconds(pid: int) -> float:
    """The processor time that a process has used so far, its threads included; counted in ticks of 10 ms."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[_USER_TICKS]) + int(fields[_SYSTEM_TICKS])) * _TICK


def resident_bytes(pid: int) -> int:
    """The memory that a process holds now (``VmRSS``)."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024
    raise ProcessLookupError(f"process {pid} holds no memory: it has ended")


def version(program: str) -> str | None:
    """What a program of Kea's prints for ``-v``; None where it is not installed."""
    found = find(program)
    if found is None:
        return None
    printed = subprocess.run(
        [found, "-v"], capture_output=True, text=True, timeout=VERSION_SECONDS, check=False
    )
    return printed.stdout.strip() or "unknown version"


def description(cores: Cores) -> str:
    """The machine in a line; figures that were taken on different machines do not compare."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    model = next(
        (line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "unknown"
    )
    load = os.getloadavg()[0]
    placement = (
        "servers and load on one core" if cores.shared else f"core {cores.servers} serves, {cores.load} asks"
    )
    return (
        f"{os.cpu_count()} x {model}, Linux {platform.release()}, Python {platform.python_version()}; "
        f"{placement}; load average {load:.2f} at the start"
    )
