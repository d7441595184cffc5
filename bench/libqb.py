"""libqb: an echo service of ours and one on the C library, under the same client, on both transports."""

from __future__ import annotations

import functools
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from bench.figures import Figure, of_rates
from bench.load import COMPILE_SECONDS, HERE, Load, LoadError, Target
from bench.programs import OURS, python_path
from bench.stage import Session, Stage
from bridle.wire.libqb import Transport
from tests.support.libqb import CServer, unique_name
from tests.support.programs import Program, missing

LIBQB = "libqb"

BINARY = HERE / "build" / "libqb"
SOURCES = [HERE / "libqb.c", HERE / "latency.c"]

MANNERS: tuple[tuple[str, int, int, str], ...] = (
    ("200 bytes, answered by a response", 1, 200, "response"),
    ("200 bytes, answered by an event", 1, 200, "event"),
    ("200 bytes, 16 under way", 16, 200, "response"),
    ("100 KB, answered by a response", 1, 100_000, "response"),
)


@dataclass(frozen=True)
class LibqbLoad(Load):
    """What one client on the C library asks of an echo service; the address is the service's name."""

    size: int = 200
    channel: str = "response"

    def argv(self, address: str) -> list[str]:
        """The generator's command line."""
        warmup = self.seconds / 10 if self.warmup is None else self.warmup
        words = [f"--depth={self.depth}", f"--seconds={self.seconds}", f"--warmup={warmup}"]
        return [str(BINARY), address, *words, f"--channel={self.channel}", *self.asked()]

    def asked(self) -> list[str]:
        """The words that say what a request is."""
        return [f"--size={self.size}"]


class OurEcho(Program):
    """An echo service of ours."""

    def __init__(self, directory: Path, transport: Transport) -> None:
        self.service = unique_name()
        argv = [sys.executable, "-m", "bench.libqb_echo", self.service, transport.name]
        super().__init__(argv, directory, name="libqb-echo", environment=python_path())

    def ready(self) -> bool:
        return "ready" in self.stdout


def libqb(session: Session) -> None:
    """Round trips of messages: in shared memory and in datagrams, in lock step and with several under way."""
    absent = missing(["cc", "qb/qbipcs.h"])
    if absent:
        session.note(f"libqb: not installed: {', '.join(absent)}")
        return
    build_client()
    for transport in (Transport.SHM, Transport.SOCKET):
        with Stage(session) as stage:
            services: dict[str, OurEcho | CServer | None] = {
                OURS: stage.start(functools.partial(OurEcho, transport=transport)),
                LIBQB: stage.start(functools.partial(CServer, transport=transport)),
            }
            targets = {
                name: Target(service.service, service.pid)
                for name, service in services.items()
                if service is not None
            }
            for what, depth, size, channel in MANNERS:
                load = LibqbLoad("libqb", [], 1, depth=depth, size=size, channel=channel)
                runs = stage.alternate(load, targets)
                figures = of_rates(runs.get(OURS, [])), of_rates(runs.get(LIBQB, []))
                place = "memory" if transport is Transport.SHM else "sockets"
                session.add(Figure("libqb", f"{place}: {what}", "answers/s", "more", *figures, "", LIBQB))


def build_client() -> None:
    """Compile the generator where one of its sources is newer than its binary.

    Raises:
        LoadError: the compiler complains.
    """
    if BINARY.exists() and BINARY.stat().st_mtime >= max(path.stat().st_mtime for path in SOURCES):
        return
    BINARY.parent.mkdir(exist_ok=True)
    compiler = shutil.which("cc") or "cc"
    words = ["-O2", "-std=gnu11", "-Wall", "-Wextra", "-o", str(BINARY), *map(str, SOURCES), "-lqb"]
    done = subprocess.run(
        [compiler, *words], capture_output=True, text=True, timeout=COMPILE_SECONDS, check=False
    )
    if done.returncode:
        raise LoadError(f"cc does not compile the load generator for libqb:\n{done.stderr}")
