"""Servers in threads, for clients that block: real ones, and ones that follow a script, however odd.

Every wait here is bounded, and leaving a context ends its threads.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import ssl
import struct
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Self, TypeAlias

import trustme

from bridle import JSON, CommandManager, Server
from bridle.server import HttpSettings

__all__ = [
    "FILES",
    "WIRES",
    "Guest",
    "ScriptedServer",
    "Site",
    "Step",
    "answer",
    "drip",
    "full_backlog",
    "reset",
    "served",
    "signal",
    "take",
    "until_it_leaves",
]

WIRES = ("unix", "http", "http+unix", "https")
FILES = ("unix", "http+unix")

SECONDS = 15.0
"""How long a thread here waits for anything: longer than a test's deadlines, less than a test may take."""

SUCCESS = b'{ "result": 0 }'
_CHUNK = 256 * 1024
_KEEP = b"//keep-alive\n"


class Guest:
    """A client's connection, as a script has it. ``kept`` tells whether the client asked to be kept."""

    def __init__(self, sock: socket.socket, server: ScriptedServer) -> None:
        self.socket = sock
        self.server = server
        self.kept = False
        self._read = b""

    def take(self) -> None:
        """Read one command whole, and remember it in ``server.taken``."""
        text = self._take_from_stream() if self.server.site.wire == "unix" else self._take_from_http()
        self.server.taken.append(json.loads(text))

    def _more(self) -> None:
        data = self.socket.recv(_CHUNK)
        if not data:
            raise ConnectionAbortedError("the client has left")
        self._read += data

    def _take_from_stream(self) -> bytes:
        while True:
            if self._read.startswith(_KEEP):
                self.kept, self._read = True, self._read[len(_KEEP) :]
            if self._read.rstrip().endswith(b"}"):
                with contextlib.suppress(ValueError):
                    json.loads(self._read)
                    text, self._read = self._read, b""
                    return text
            self._more()

    def _take_from_http(self) -> bytes:
        while b"\r\n\r\n" not in self._read:
            self._more()
        head, _, self._read = self._read.partition(b"\r\n\r\n")
        lines = head.decode().split("\r\n")
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines[1:])}
        self.server.heads.append({"": lines[0], **headers})
        length = int(headers["content-length"])
        while len(self._read) < length:
            self._more()
        text, self._read = self._read[:length], self._read[length:]
        return text

    def send(self, data: bytes) -> None:
        """Send bytes as they are."""
        self.socket.sendall(data)

    def answer(self, body: bytes = SUCCESS, *, keep: bool = False) -> None:
        """Send an answer in the form of the wire."""
        self.send(self.server.site.frame(body, keep=keep))

    def drip(self, data: bytes, pause: float) -> None:
        """Send a byte at a time."""
        for byte in data:
            self.send(bytes([byte]))
            if self.server.stopping.wait(pause):
                return

    def sip(self, size: int, pause: float) -> None:
        """Read a little at a time, until the client leaves."""
        while self.socket.recv(size) and not self.server.stopping.wait(pause):
            pass

    def until_it_leaves(self) -> None:
        """Read until the client closes."""
        while self.socket.recv(_CHUNK):
            pass

    def reset(self) -> None:
        """Close so that the client meets a reset, not an end. On a unix socket it must not have been read."""
        if self.socket.family == socket.AF_UNIX:
            self.socket.recv(1, socket.MSG_PEEK)
        else:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()


Step: TypeAlias = bytes | Callable[[Guest], None]
"""What a script does next: bytes are sent as they are."""


def take(guest: Guest) -> None:
    """Read one command."""
    guest.take()


def answer(body: bytes = SUCCESS, *, keep: bool = False) -> Step:
    """Send an answer in the form of the wire."""
    return lambda guest: guest.answer(body, keep=keep)


def drip(data: bytes, pause: float = 0.05) -> Step:
    """Send a byte at a time."""
    return lambda guest: guest.drip(data, pause)


def until_it_leaves(guest: Guest) -> None:
    """Read until the client closes."""
    guest.until_it_leaves()


def signal(guest: Guest) -> None:
    """Let the test go on that waits for this."""
    guest.server.signals.release()


def reset(guest: Guest) -> None:
    """Close with a reset."""
    guest.reset()


class Site:
    """Where servers and clients of one wire meet: a directory, and certificates for ``https``."""

    def __init__(self, wire: str, directory: Path, authority: trustme.CA) -> None:
        self.wire = wire
        self.directory = directory
        self.server_tls: ssl.SSLContext | None = None
        self.client_tls: ssl.SSLContext | None = None
        if wire == "https":
            self.server_tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            authority.issue_cert("127.0.0.1").configure_cert(self.server_tls)
            self.client_tls = ssl.create_default_context()
            authority.configure_trust(self.client_tls)

    def frame(self, body: bytes, *, keep: bool = False) -> bytes:
        """An answer as this wire has it."""
        if self.wire == "unix":
            return body + b"\n" if keep else body
        body = b"[ " + body + b" ]"
        connection = b"" if keep else b"Connection: close\r\n"
        fields = b"Content-Type: application/json\r\n%bContent-Length: %d\r\n" % (connection, len(body))
        return b"HTTP/1.1 200 OK\r\n" + fields + b"\r\n" + body

    def listen(self, backlog: int = 128) -> tuple[socket.socket, str]:
        """A listening socket, and its endpoint."""
        if self.wire in FILES:
            path = self.directory / f"{len(list(self.directory.iterdir()))}.sock"
            listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            listening.bind(str(path))
            endpoint = f"{self.wire}:{path}"
        else:
            listening = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
            listening.bind(("127.0.0.1", 0))
            endpoint = f"{self.wire}://127.0.0.1:{listening.getsockname()[1]}"
        listening.listen(backlog)
        return listening, endpoint

    def nowhere(self) -> str:
        """An endpoint where nobody listens."""
        listening, endpoint = self.listen()
        listening.close()
        return endpoint

    def scripted(self, *scripts: Sequence[Step], secure: bool = True) -> ScriptedServer:
        """A server that does with its first client what the first script says, and so on; the last repeats.

        It speaks TLS on ``https``, unless it is not ``secure``.
        """
        return ScriptedServer(self, scripts, self.server_tls if secure else None)

    @contextlib.contextmanager
    def served(self, manager: CommandManager, settings: HttpSettings | None = None) -> Iterator[str]:
        """A real server for the commands of a manager; its endpoint."""
        settings = settings or HttpSettings(tls=self.server_tls)
        place = self.directory / "served"
        wanted = f"{self.wire}:{place}" if self.wire in FILES else f"{self.wire}://127.0.0.1:0"
        with served(manager, wanted, settings) as endpoint:
            yield endpoint


class ScriptedServer:
    """Accepts clients in a thread, and follows a script with each in another.

    ``accepted`` counts connections, ``taken`` has the commands that were read, ``heads`` the HTTP heads.
    """

    def __init__(
        self, site: Site, scripts: Sequence[Sequence[Step]], tls: ssl.SSLContext | None = None
    ) -> None:
        self.site = site
        self.accepted = 0
        self.taken: list[dict[str, JSON]] = []
        self.heads: list[dict[str, str]] = []
        self.stopping = threading.Event()
        self.ends = threading.Semaphore(0)
        self.signals = threading.Semaphore(0)
        self._scripts = scripts
        self._tls = tls
        self._listening, self.endpoint = site.listen()
        self._sockets: list[socket.socket] = []
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._failures: list[Exception] = []

    def __enter__(self) -> Self:
        self._threads[0].start()
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        self.stopping.set()
        for sock in (self._listening, *self._sockets):
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(SECONDS)
            assert not thread.is_alive()
        self._listening.close()
        if self._failures and kind is None:
            raise self._failures[0]

    def wait_for_an_end(self) -> None:
        """Wait until this side has closed one more connection."""
        assert self.ends.acquire(timeout=SECONDS)

    def wait_for_a_signal(self) -> None:
        """Wait until a script has given one more :func:`signal`."""
        assert self.signals.acquire(timeout=SECONDS)

    def _accept(self) -> None:
        while not self.stopping.is_set():
            try:
                sock, _ = self._listening.accept()
            except OSError:
                return
            script = self._scripts[min(self.accepted, len(self._scripts) - 1)]
            self.accepted += 1
            self._sockets.append(sock)
            thread = threading.Thread(target=self._follow, args=(script, sock), daemon=True)
            self._threads.append(thread)
            thread.start()

    def _follow(self, script: Sequence[Step], sock: socket.socket) -> None:
        sock.settimeout(SECONDS)
        if sock.family != socket.AF_UNIX:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # what was sent is there
        try:
            if self._tls is not None:
                sock = self._tls.wrap_socket(sock, server_side=True)
                self._sockets.append(sock)
            guest = Guest(sock, self)
            for step in script:
                if isinstance(step, bytes):
                    guest.send(step)
                else:
                    step(guest)
        except OSError:
            pass  # the client has left, or was made to
        except Exception as failure:
            self._failures.append(failure)
        finally:
            with contextlib.suppress(OSError):
                sock.close()
            self.ends.release()


@contextlib.contextmanager
def full_backlog(site: Site) -> Iterator[str]:
    """An endpoint that takes no more connections: nobody accepts, and as many wait as may."""
    listening, endpoint = site.listen(backlog=0)
    with contextlib.ExitStack() as stack:
        stack.callback(listening.close)
        for _ in range(4):
            waiting = stack.enter_context(socket.socket(listening.family, socket.SOCK_STREAM))
            waiting.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                waiting.connect(listening.getsockname())
        yield endpoint


@contextlib.contextmanager
def served(manager: CommandManager, endpoint: str, settings: HttpSettings | None = None) -> Iterator[str]:
    """Let a manager's commands be called while the context is entered; the endpoint with its real port."""
    loop = asyncio.new_event_loop()
    server: list[Server] = []
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()

    async def begin() -> str:
        server.append(Server(manager))
        return str((await server[0].listen(endpoint, settings)).endpoint)

    try:
        yield asyncio.run_coroutine_threadsafe(begin(), loop).result(SECONDS)
    finally:
        for one in server:
            asyncio.run_coroutine_threadsafe(one.close(0), loop).result(SECONDS)
        asyncio.run_coroutine_threadsafe(_cancel_all(), loop).result(SECONDS)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(SECONDS)
        loop.close()


async def _cancel_all() -> None:
    tasks = asyncio.all_tasks() - {asyncio.current_task()}
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
