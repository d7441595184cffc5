"""Programs that tests run: where they are found, how they are started, and how they are stopped.

Everything here happens in real time, with processes that the tests do not control, so every wait has a
deadline. Nothing here knows what the programs do.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import ClassVar, Self

ROOT = Path(__file__).resolve().parents[2]
"""The top of the repository."""

ENVIRONMENTS = ROOT / ".venvs"
"""The virtual environments of the peers that are Python packages, one directory each."""

PACKAGES = {"pyisckea": "kea-clients", "pykeadhcp": "pykeadhcp"}
"""Peers that are libraries, and the environment that holds each; the program found is its interpreter."""

START_SECONDS = 10.0
"""How long a program may take until it answers: the slowest takes half a second on an idle machine."""

STOP_SECONDS = 10.0
"""How long a program may take from SIGTERM to its end, before SIGKILL."""

PORT_ATTEMPTS = 3
"""How many ports are tried: another process can take a free one between the look and the start."""

POLL_SECONDS = 0.01
"""How often a program that is not ready is asked again: short against the 20 ms of the fastest start."""


def find(name: str) -> Path | None:
    """The path of a program or of a C header, or of the interpreter that can import a peer library; None: it
    is missing."""
    if name.endswith(".h"):
        return next(
            (
                path
                for path in (Path("/usr/include", name), Path("/usr/local/include", name))
                if path.exists()
            ),
            None,
        )
    if name in PACKAGES:
        return _interpreter_with(name, ENVIRONMENTS / PACKAGES[name])
    databases = sorted(map(str, Path("/usr/lib/postgresql").glob("*/bin")))
    others = ["/usr/sbin", "/sbin", *databases, *map(str, ENVIRONMENTS.glob("*/bin"))]
    places = [os.environ.get("PATH", ""), *others]
    found = shutil.which(name, path=os.pathsep.join(places))
    return Path(found) if found else None


def _interpreter_with(package: str, environment: Path) -> Path | None:
    installed = any(environment.glob(f"lib/python*/site-packages/{package}/__init__.py"))
    interpreter = environment / "bin" / "python"
    return interpreter if installed and interpreter.exists() else None


def missing(names: Iterable[str]) -> list[str]:
    """Those of the named programs that cannot be found."""
    return [name for name in names if find(name) is None]


def require(name: str) -> Path:
    """The path of a program that must be there.

    Raises:
        FileNotFoundError: it is not; mark the test with ``peers(name)``.
    """
    found = find(name)
    if found is None:
        raise FileNotFoundError(f"{name} is not installed")
    return found


def free_port(kind: socket.SocketKind = socket.SOCK_STREAM) -> int:
    """A port of 127.0.0.1 that nobody uses. Another process may still take it: be ready to try again."""
    with socket.socket(socket.AF_INET, kind) as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextlib.contextmanager
def short_directory() -> Iterator[Path]:
    """A directory whose path is short enough for unix sockets (107 bytes), wherever ``TMPDIR`` may be."""
    with tempfile.TemporaryDirectory(prefix="bridle-", dir="/tmp") as name:
        yield Path(name)


def poll(condition: Callable[[], bool], seconds: float = START_SECONDS) -> bool:
    """Ask until the condition holds; False if it did not within the given seconds."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(POLL_SECONDS)
    return True


class StartError(Exception):
    """A program ended, or did not answer, instead of getting ready."""


class Program:
    """A running program, with its standard output and error in files of its directory.

    As a context manager it is started at the beginning and stopped at the end.
    """

    attempts: ClassVar[int] = 1
    """How often a start is tried: more than once where it needs a port, which another process may take."""

    def __init__(
        self,
        argv: Sequence[str | Path],
        directory: Path,
        *,
        name: str,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.argv = [str(word) for word in argv]
        self.directory = directory
        self.name = name
        self.environment = {**os.environ, **(environment or {})}
        self.process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_exception: object) -> None:
        self.stop()

    @property
    def pid(self) -> int:
        """The process's number."""
        return self._started().pid

    @property
    def stdout(self) -> str:
        """All that it has written to standard output."""
        return self._file("out").read_text(errors="replace")

    @property
    def stderr(self) -> str:
        """All that it has written to standard error."""
        return self._file("err").read_text(errors="replace")

    def prepare(self) -> None:
        """Write the files that it reads when it starts; subclasses that have some."""

    def ready(self) -> bool:
        """Whether it can be used; subclasses ask the program."""
        return True

    def account(self) -> str:
        """What it has said, for the report of a failure."""
        return f"{self.stdout}{self.stderr}"

    def start(self) -> None:
        """Start it, and wait until it is ready.

        Raises:
            StartError: it ended at once, or was not ready within :data:`START_SECONDS`.
        """
        for remaining in reversed(range(self.attempts)):
            self.prepare()
            self._spawn()
            if poll(lambda: self.ended() or self.ready()) and not self.ended():
                return
            status = self.stop()
            if not remaining:
                raise StartError(f"{self.name} is not ready (exit status {status}):\n{self.account()}")

    def ended(self) -> bool:
        """Whether the process has ended."""
        return self.process is not None and self.process.poll() is not None

    def wait(self, seconds: float = STOP_SECONDS) -> int:
        """Wait for an end that somebody else asked for, and give the exit status.

        Raises:
            subprocess.TimeoutExpired: it goes on.
        """
        return self._started().wait(seconds)

    def stop(self) -> int:
        """Ask it to end by SIGTERM, by SIGKILL after :data:`STOP_SECONDS`, and give the exit status."""
        process = self._started()
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
        try:
            return process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            return process.wait(STOP_SECONDS)

    def _spawn(self) -> None:
        with self._file("out").open("wb") as out, self._file("err").open("wb") as err:
            self.process = subprocess.Popen(
                self.argv,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                cwd=self.directory,
                env=self.environment,
            )

    def _started(self) -> subprocess.Popen[bytes]:
        assert self.process is not None, f"{self.name} was not started"
        return self.process

    def _file(self, kind: str) -> Path:
        return self.directory / f"{self.name}.{kind}"
