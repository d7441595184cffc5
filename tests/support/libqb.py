"""libqb in tests: services of ours in a thread, the peer in C, and the messages that both make and check."""

from __future__ import annotations

import asyncio
import atexit
import concurrent.futures
import contextlib
import functools
import itertools
import os
import shutil
import struct
import subprocess
import tempfile
import threading
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, Self, TypeVar

from bridle.net.libqb.connection import RequestHandler, ServerConnection
from bridle.net.libqb.errors import LibqbError
from bridle.net.libqb.places import Places
from bridle.net.libqb.server import LibqbServer
from bridle.net.libqb.trust import Choice, Credentials
from bridle.wire.libqb import Transport
from tests.support.loops import LOOPS
from tests.support.programs import Program, poll, require

__all__ = [
    "ANYBODY",
    "SECONDS",
    "TRANSPORTS",
    "CServer",
    "Echo",
    "Recorder",
    "ServiceThread",
    "answer_to",
    "compiled_peer",
    "expected_number",
    "memory_of_ours",
    "message",
    "peer_argv",
    "plain",
    "private_places",
    "unique_name",
]

T = TypeVar("T")

SECONDS = 10.0
"""How long anything here may take: far more than any needs."""

TRANSPORTS = tuple(Transport)

LARGEST = 131072
_HEADER = struct.Struct("=i4xi4xi4xII")
_PERIOD = 251
_CONTENT = bytes(range(_PERIOD)) * (2 * LARGEST // _PERIOD)
_WORD = 0xFFFFFFFF

_numbers = itertools.count(1)


def ANYBODY(_: Credentials) -> bool:
    """Trust every server."""
    return True


def unique_name() -> str:
    """A service's name that no other test uses at the same time: abstract names are one to a network."""
    return f"bridle-{os.getpid()}-{next(_numbers)}"


def private_places(directory: Path) -> Places:
    """Files in a directory of the test's own; names stay abstract."""
    return Places(str(directory), str(directory), str(directory / "force"))


def memory_of_ours(pid: int | None = None) -> list[Path]:
    """The directories in ``/dev/shm`` of connections to a server: this process."""
    return list(Path("/dev/shm").glob(f"qb-{pid or os.getpid()}-*"))


def plain(number: int, content: bytes = b"", *, identity: int = 1) -> bytes:
    """A message with a response's header, answered by a response (number 0), an event (1), both (2), or
    not."""
    return _HEADER.pack(identity, _HEADER.size + len(content), 0, 0, number) + content


# The same messages as in libqb_peer.c.


def _scrambled(number: int) -> int:
    mixed = number * 2654435761 & _WORD
    return mixed ^ (mixed >> 15)


def answer_to(number: int) -> int:
    """How a message is answered: 0 by a response, 1 by an event, 2 by both."""
    return _scrambled(number + 77 & _WORD) // 16 % 3


def message(number: int) -> bytes:
    """Message ``number``."""
    mixed = _scrambled(number)
    size = (mixed >> 8) % 120000 if mixed % 16 == 0 else (mixed >> 8) % 2000
    head = _HEADER.pack(1, _HEADER.size + size, 0, number, answer_to(number))
    return head + _CONTENT[number % _PERIOD : number % _PERIOD + size]


def expected_number(number: int, other: int) -> int:
    """The first message from ``number`` on that is not answered by the ``other`` channel alone."""
    while answer_to(number) == other:
        number += 1
    return number


class Echo:
    """Answers every message with itself, by the channels that it names."""

    def __init__(self, connection: ServerConnection) -> None:
        self.connection = connection

    def request_received(self, message: bytes) -> None:
        """Send it back."""
        answer = message[28]
        if answer in (0, 2):
            self.connection.respond(message)
        if answer in (1, 2):
            self.connection.event(message)

    def connection_lost(self, error: LibqbError | None) -> None:
        """Nothing is to be done."""


class Recorder(Echo):
    """An echo that remembers what happened to it, and to all of its kind."""

    def __init__(self, connection: ServerConnection, made: list[Recorder]) -> None:
        super().__init__(connection)
        self.messages: list[bytes] = []
        self.lost: list[LibqbError | None] = []
        made.append(self)

    def request_received(self, message: bytes) -> None:
        """Remember it, and send it back."""
        self.messages.append(message)
        super().request_received(message)

    def connection_lost(self, error: LibqbError | None) -> None:
        """Remember it."""
        self.lost.append(error)


class ServiceThread:
    """A service of ours on an event loop in a thread, for clients that wait in the test's own."""

    def __init__(
        self,
        directory: Path,
        transport: Transport | Choice = Transport.SHM,
        *,
        serve: Callable[[ServerConnection], RequestHandler] | None = None,
        loop: str = "asyncio",
        name: str | None = None,
        **settings: Any,
    ) -> None:
        self.places = settings.pop("places", None) or private_places(directory)
        self.name = name or unique_name()
        self.clients: list[Recorder] = []
        serve = serve or functools.partial(Recorder, made=self.clients)
        self._made = functools.partial(
            LibqbServer, self.name, serve, transport=transport, places=self.places, **settings
        )
        self._factory = LOOPS[loop]
        self._started: concurrent.futures.Future[None] = concurrent.futures.Future()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Self:
        self._thread.start()
        self._started.result(SECONDS)
        return self

    def __exit__(self, *_exception: object) -> None:
        self.loop.call_soon_threadsafe(self._end.set)
        self._thread.join(SECONDS)
        assert not self._thread.is_alive(), "the server does not end"
        assert not self.faults, f"the loop met an error that nobody handled: {self.faults}"

    def _run(self) -> None:
        with asyncio.Runner(loop_factory=self._factory) as runner:
            runner.run(self._serve())

    async def _serve(self) -> None:
        self.loop = asyncio.get_running_loop()
        self.faults: list[dict[str, Any]] = []
        self.loop.set_exception_handler(lambda _, fault: self.faults.append(fault))
        self._end = asyncio.Event()
        try:
            self.server = self._made()
            self.server.start()
        except BaseException as error:
            self._started.set_exception(error)
            return
        self._started.set_result(None)
        await self._end.wait()
        await self.server.close(0.2)

    def call(self, function: Callable[..., T], *arguments: object) -> T:
        """Call a function in the server's thread, and give what it gives."""

        async def inside() -> T:
            return function(*arguments)

        return self.wait_for(inside())

    def wait_for(self, work: Coroutine[Any, Any, T]) -> T:
        """Have the server's loop run a coroutine to its end."""
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(SECONDS)

    def client(self, index: int = -1) -> Recorder:
        """A client as the server sees it, as soon as it does."""
        assert poll(lambda: bool(self.clients), SECONDS)
        return self.clients[index]


@functools.cache
def compiled_peer() -> Path:
    """The client and server on libqb itself, compiled once for each process of the tests.

    It stands where everybody can run it.
    """
    directory = Path(tempfile.mkdtemp(prefix="bridle-libqb-", dir="/tmp"))
    atexit.register(shutil.rmtree, directory)
    directory.chmod(0o755)
    program = directory / "libqb_peer"
    source = Path(__file__).with_name("libqb_peer.c")
    argv = [require("cc"), "-O2", "-std=gnu11", "-Wall", "-Wextra", "-Werror", "-o", program, source, "-lqb"]
    subprocess.run(argv, check=True, timeout=60, capture_output=True)
    return program


def peer_argv(*words: str | int) -> list[str]:
    """The command line of the peer."""
    return [str(compiled_peer()), *map(str, words)]


class CServer(Program):
    """An echo service on libqb itself."""

    def __init__(self, directory: Path, transport: Transport) -> None:
        self.service = unique_name()
        super().__init__(peer_argv("server", self.service, transport.name.lower()), directory, name="libqb")

    def ready(self) -> bool:
        return "ready" in self.stdout

    def stop(self) -> int:
        """End it, and remove what it leaves: it was not asked in a way that it understands."""
        status = super().stop()
        for path in memory_of_ours(self.pid):
            for file in path.iterdir():
                with contextlib.suppress(FileNotFoundError):
                    file.unlink()
            path.rmdir()
        return status
