"""Floods: idle connections, slow writers, slow readers, bodies and nesting without measure.

A daemon of its own process is flooded from here. What counts is that others are served meanwhile, all of
them, and that its memory stays within the limits that its listeners state. Nothing here depends on speed.
"""

from __future__ import annotations

import contextlib
import json
import resource
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from bridle.net.shares import ANSWER_BYTES, FREE_BYTES, REQUEST_BYTES
from bridle.net.stream import CONNECTION_LIMIT
from tests.support.bridle import BridleProgram
from tests.support.programs import free_port

MEGABYTE = 1024 * 1024

STATED = REQUEST_BYTES + ANSWER_BYTES + CONNECTION_LIMIT * 2 * FREE_BYTES
"""What one listener may hold, in bytes: what is counted, and what is free for each connection."""
OWN = 150 * MEGABYTE
"""What the process needs besides, with room for an allocator that does not give back at once."""

WIRES = ("unix", "http", "binrpc")
SECONDS = 20.0


class Target:
    """A daemon that is flooded."""

    def __init__(self, program: BridleProgram, folder: Path, port: int, binrpc: int) -> None:
        self.program = program
        self._folder = folder
        self._ports = {"http": port, "binrpc": binrpc}

    def connect(self, wire: str, *, narrow: bool = False) -> socket.socket:
        """Connect; the kernel takes little for one that is ``narrow``."""
        if wire == "unix":
            sock = socket.socket(socket.AF_UNIX)
            sock.settimeout(SECONDS)
            sock.connect(str(self._folder / "s"))
        else:
            sock = socket.socket(socket.AF_INET)
            sock.settimeout(SECONDS)
            if narrow:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            sock.connect(("127.0.0.1", self._ports[wire]))
        return sock

    def ask(self, wire: str, value: str = "hello") -> bytes:
        """Ask for a value over a connection of its own, and read all of the answer."""
        with self.connect(wire) as sock:
            sock.sendall(request(wire, value))
            if wire == "binrpc":
                return sock.recv(65536)
            return read_all(sock)

    def check(self, wire: str) -> None:
        """Everybody is served: on the wire that is flooded, too."""
        for each in {wire, *WIRES}:
            assert b"hello" in self.ask(each), each

    @property
    def peak(self) -> int:
        """The most memory that it ever had in use, in bytes."""
        status = Path(f"/proc/{self.program.pid}/status").read_text()
        return next(int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("VmHWM"))


def request(wire: str, value: str | int) -> bytes:
    """A command that is answered with its argument, or with so many letters."""
    name = "repeat" if isinstance(value, str) else "pour"
    command = json.dumps({"command": name, "arguments": [value]}).encode()
    if wire == "unix":
        return command
    if wire == "http":
        return post(len(command), "Connection: close") + command
    from bridle.wire.binrpc import encode_packet, encode_records

    return encode_packet(0, 7, encode_records((name, value)))


def post(length: int, *headers: str) -> bytes:
    fields = ["POST / HTTP/1.1", "Host: localhost", "Content-Type: application/json", *headers]
    return "\r\n".join([*fields, f"Content-Length: {length}", "", ""]).encode()


def read_all(sock: socket.socket) -> bytes:
    pieces = []
    with contextlib.suppress(ConnectionResetError):
        while piece := sock.recv(MEGABYTE):
            pieces.append(piece)
    return b"".join(pieces)


def send(sock: socket.socket, data: bytes) -> None:
    """Send what is taken; whoever is refused is cut off in the middle."""
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):
        sock.sendall(data)


@contextlib.contextmanager
def descriptors(count: int) -> Iterator[int]:
    """Room for as many connections here, or for as many as the system allows."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = count + 500
    if before[1] != resource.RLIM_INFINITY:
        wanted = min(wanted, before[1])
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(wanted, before[0]), before[1]))
    try:
        yield min(count, max(wanted, before[0]) - 500)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


@contextlib.contextmanager
def target(folder: Path, files: int | None = None) -> Iterator[Target]:
    port, binrpc = free_port(), free_port()
    endpoints = [f"unix:{folder}/s", f"http://127.0.0.1:{port}", f"binrpc+tcp:127.0.0.1:{binrpc}"]
    program = BridleProgram(["run", "tests.support.tap:Tap", *endpoints], folder, name="tap")
    if files is not None:
        program.argv = ["bash", "-c", f'ulimit -n {files}; exec "$@"', "limited", *program.argv]
    program.ready = lambda: program.stderr.count("listening on") == len(endpoints)  # type: ignore[method-assign]
    with program:
        yield Target(program, folder, port, binrpc)


@pytest.fixture
def flooded(short_path: Path) -> Iterator[Target]:
    with target(short_path) as there:
        yield there
        assert there.peak < STATED + OWN


Flood = Callable[[], socket.socket]


@contextlib.contextmanager
def flood(begin: Flood, count: int, every: int, look: Callable[[], None]) -> Iterator[list[socket.socket]]:
    """Open so many connections, and look again and again whether others are served."""
    with contextlib.ExitStack() as stack, descriptors(count) as possible:
        opened: list[socket.socket] = []
        for number in range(possible):
            opened.append(stack.enter_context(begin()))
            if number % every == every - 1:
                look()
        yield opened


@pytest.mark.timeout(60)
@pytest.mark.parametrize("wire", WIRES)
def test_ten_thousand_idle_connections_keep_nobody_out(flooded: Target, wire: str) -> None:
    with flood(lambda: flooded.connect(wire), 10_000, 500, lambda: flooded.check(wire)):
        flooded.check(wire)
    flooded.check(wire)
    assert flooded.peak < 300 * MEGABYTE


@pytest.mark.timeout(60)
@pytest.mark.parametrize("wire", WIRES)
def test_a_thousand_slow_writers_keep_nobody_out(flooded: Target, wire: str) -> None:
    whole = 1 if wire == "binrpc" else 30 * MEGABYTE
    part = {
        "unix": request("unix", "")[:-3],
        "http": post(whole),
        "binrpc": request("binrpc", "x" * 160_000)[:-9],
    }
    body = b"" if wire == "binrpc" else b"y" * 160_000

    def begin() -> socket.socket:
        sock = flooded.connect(wire)
        send(sock, part[wire] + body)
        return sock

    with flood(begin, 1000, 100, lambda: flooded.check(wire)) as writers:
        for writer in writers:
            send(writer, b"y")
        flooded.check(wire)
    flooded.check(wire)


@pytest.mark.timeout(60)
@pytest.mark.parametrize("wire", WIRES)
def test_a_thousand_slow_readers_keep_nobody_out(flooded: Target, wire: str) -> None:
    question = request(wire, 500_000)

    def begin() -> socket.socket:
        sock = flooded.connect(wire, narrow=True)
        send(sock, question)
        return sock

    with flood(begin, 1000, 100, lambda: flooded.check(wire)) as readers:
        for reader in readers:
            with contextlib.suppress(ConnectionResetError):
                reader.recv(1)
        flooded.check(wire)
    flooded.check(wire)


@pytest.mark.timeout(60)
@pytest.mark.parametrize("wire", WIRES)
def test_bodies_of_64_mb_are_refused_and_cost_nobody_else_anything(flooded: Target, wire: str) -> None:
    size = 64 * MEGABYTE
    chunked = b"POST / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n4000000\r\n"
    starts = {"unix": [b'{ "x": "'], "http": [post(size), chunked], "binrpc": [request("binrpc", "x")[:-1]]}
    answers: list[bytes] = []

    def pour(start: bytes) -> None:
        with flooded.connect(wire) as sock:
            send(sock, start)
            piece = b"y" * MEGABYTE
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                for _ in range(size // len(piece)):
                    sock.sendall(piece)
            with contextlib.suppress(OSError):
                answers.append(read_all(sock))

    threads = [threading.Thread(target=pour, args=(start,)) for start in starts[wire] for _ in range(6)]
    for thread in threads:
        thread.start()
    for _ in range(5):
        flooded.check(wire)
    for thread in threads:
        thread.join(SECONDS)
        assert not thread.is_alive()
    assert not any(b"hello" in answer for answer in answers)
    flooded.check(wire)


@pytest.mark.parametrize("wire", ["unix", "http"])
@pytest.mark.parametrize(
    "text", [b"[" * 200_000 + b"]" * 200_000, b'{"a":' * 200_000 + b"1" + b"}" * 200_000]
)
def test_nesting_of_200000_levels_is_refused(flooded: Target, wire: str, text: bytes) -> None:
    body = b'{ "command": "repeat", "arguments": [ %s ] }' % text
    data = post(len(body), "Connection: close") + body if wire == "http" else body
    with flooded.connect(wire) as sock:
        sock.sendall(data)
        answer = read_all(sock)
    assert (b"400 Bad Request" if wire == "http" else b"nested too deeply") in answer
    flooded.check(wire)


@pytest.mark.timeout(60)
@pytest.mark.parametrize("wire", WIRES)
def test_few_file_descriptors_are_enough_to_go_on(short_path: Path, wire: str) -> None:
    with target(short_path, files=300) as there, flood(lambda: there.connect(wire), 400, 50, lambda: None):
        assert b"hello" in there.ask(wire)
        assert "no connection can be accepted" not in there.program.stderr
