"""The client on Kamailio's transports, where nobody answers, or answers oddly."""

from __future__ import annotations

import asyncio
import os
import socket
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

import bridle
from bridle import DeadlineExceeded, RemoteProtocolError, TransportError
from bridle.wire.binrpc_packets import encode_packet
from bridle.wire.binrpc_records import encode_records
from tests.support.programs import free_port

BLOCKING = ["blocking", "asyncio"]


def call(kind: str, endpoint: str, timeout: float = 0.2) -> object:
    """One call with either client."""
    if kind == "blocking":
        with bridle.connect(endpoint, timeout=timeout) as client:
            return client.call("core.pwd")

    async def asynchronously() -> object:
        async with bridle.connect_async(endpoint, timeout=timeout) as client:
            return await client.call("core.pwd")

    return asyncio.run(asynchronously())


@pytest.mark.parametrize("kind", BLOCKING)
def test_a_silent_datagram_server_is_given_up(short_path: Path, kind: str) -> None:
    with (
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as unix,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp,
    ):
        unix.bind(str(short_path / "d"))
        udp.bind(("127.0.0.1", 0))
        for endpoint in (f"binrpc+unixd:{short_path}/d", f"binrpc+udp:127.0.0.1:{udp.getsockname()[1]}"):
            with pytest.raises(DeadlineExceeded):
                call(kind, endpoint)
        assert len(unix.recv(1000)) == len(udp.recv(1000)) == 15
        unix.setblocking(False)
        with pytest.raises(BlockingIOError):
            unix.recv(1000)  # it was sent once


@pytest.mark.parametrize("kind", BLOCKING)
def test_nobody_there_is_told(short_path: Path, kind: str) -> None:
    port = free_port(socket.SOCK_DGRAM)
    os.mkfifo(short_path / "f")
    for endpoint, reason in (
        (f"binrpc+unixd:{short_path}/none", "No such file"),
        (f"binrpc+unix:{short_path}/none", "No such file"),
        (f"binrpc+udp:127.0.0.1:{port}", "refused"),
        (f"binrpc+tcp:127.0.0.1:{port}", "refused"),
        (f"fifo:{short_path}/none", "No such file"),
        (f"fifo:{short_path}/f", "nobody reads this fifo"),
    ):
        with pytest.raises(TransportError, match=reason):
            call(kind, endpoint)


def _reply_fifos() -> set[str]:
    return {name for name in os.listdir("/tmp") if name.startswith(f"bridle_{os.getpid()}_")}  # noqa: PTH208


@pytest.mark.parametrize("kind", BLOCKING)
def test_a_fifo_that_is_read_and_not_answered_is_given_up_and_nothing_is_left(
    short_path: Path, kind: str
) -> None:
    os.mkfifo(short_path / "f")
    reader = os.open(short_path / "f", os.O_RDWR | os.O_NONBLOCK)
    try:
        with pytest.raises(DeadlineExceeded):
            call(kind, f"fifo:{short_path}/f")
        assert os.read(reader, 1000).startswith(b":core.pwd:bridle_")
    finally:
        os.close(reader)
    assert _reply_fifos() == set()


@pytest.mark.parametrize("kind", BLOCKING)
def test_the_reply_socket_may_be_named_and_is_removed(short_path: Path, kind: str) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as server:
        server.bind(str(short_path / "d"))

        def answer() -> None:
            data, address = server.recvfrom(1000)
            assert address == str(short_path / "reply")
            server.sendto(encode_packet(1, data[3], encode_records(["/"])), address)

        thread = threading.Thread(target=answer)
        thread.start()
        assert call(kind, f"binrpc+unixd:{short_path}/d?reply={short_path}/reply", 5) == "/"
        thread.join()
    assert not (short_path / "reply").exists()


Answer = Callable[[int], bytes]


@pytest.mark.parametrize("kind", BLOCKING)
@pytest.mark.parametrize(
    ("answer", "part"),
    [
        (lambda cookie: encode_packet(1, cookie + 1, b""), "cookie doesn't match"),
        (lambda cookie: encode_packet(0, cookie, b""), "not a reply"),
        (lambda cookie: b"HTTP/1.1 400 Bad\r\n\r\n", "corrupted packet"),
        (
            lambda cookie: encode_packet(1, cookie, b"\x91\x20ab"),
            "record at byte 0 cannot be read: more data",
        ),
        (lambda cookie: encode_packet(3, cookie, b""), "a fault without a code"),
        (lambda cookie: encode_packet(1, cookie, b"abcdef")[:-1], "End of file"),
    ],
)
def test_an_answer_that_is_none_is_told(short_path: Path, kind: str, answer: Answer, part: str) -> None:
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(short_path / "s"))
        server.listen()

        def serve() -> None:
            connection, _ = server.accept()
            with connection:
                connection.sendall(answer(connection.recv(1000)[3]))

        thread = threading.Thread(target=serve)
        thread.start()
        with pytest.raises(RemoteProtocolError, match=part):
            call(kind, f"binrpc+unix:{short_path}/s", 5)
        thread.join()


def test_strings_that_are_not_utf8_are_mended(short_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(short_path / "s"))
        server.listen()

        def serve() -> None:
            connection, _ = server.accept()
            with connection:
                cookie = connection.recv(1000)[3]
                connection.sendall(encode_packet(1, cookie, b"\x41Z\xfcg\x00"))

        thread = threading.Thread(target=serve)
        thread.start()
        assert call("blocking", f"binrpc+unix:{short_path}/s", 5) == "Z\N{REPLACEMENT CHARACTER}g"
        thread.join()
