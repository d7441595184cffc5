"""The HTTP carrier and its listener: order, time, slow clients, and how things come to their end."""

from __future__ import annotations

import asyncio
import contextlib
import email.utils
import logging
import socket
import ssl
import struct
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TypeVar

import pytest
import trustme
import uvloop

from bridle.core.errors import EndpointError, RemoteProtocolError
from bridle.core.messages import Peer
from bridle.net.http import (
    AHEAD_LIMIT,
    CONNECTION_LIMIT,
    IDLE_TIMEOUT,
    LINGER,
    REFUSED_LIMIT,
    REQUEST_TIMEOUT,
    TURN,
    WRITE_TIMEOUT,
    HttpCarrier,
    HttpHandler,
    HttpListener,
)
from bridle.testing import elapsed, run
from bridle.wire.http import HttpClientConnection, HttpReply, HttpRequest, HttpResponse, stock

GET = b"GET / HTTP/1.1\r\n\r\n"
MEGABYTE = b"x" * 1_000_000

_T = TypeVar("_T")
Runner = Callable[[Coroutine[object, object, _T]], _T]


def get(target: str, *fields: str) -> bytes:
    return "\r\n".join([f"GET {target} HTTP/1.1", *fields, "", ""]).encode()


def echo(request: HttpRequest, peer: Peer) -> HttpResponse:
    return HttpResponse(200, request.target.encode() + request.body)


async def sleep(request: HttpRequest, peer: Peer) -> HttpResponse:
    """Takes as many seconds as the target says."""
    await asyncio.sleep(float(request.target[1:]))
    return echo(request, peer)


def mixed(request: HttpRequest, peer: Peer) -> HttpResponse | Coroutine[object, object, HttpResponse]:
    """Answers numbers late, and everything else at once."""
    return sleep(request, peer) if request.target[1:].isdigit() else echo(request, peer)


class Client:
    """A client's end of a connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer
        self._http = HttpClientConnection()
        self._replies: list[HttpReply] = []

    def send(self, data: bytes) -> None:
        """Send bytes as they are."""
        self.writer.write(data)

    def ask(self, *requests: bytes) -> None:
        """Send requests in one piece, and expect replies to them."""
        for request in requests:
            self._http.request(request.split()[0].decode(), "/", "h")
        self.send(b"".join(requests))

    async def reply(self) -> HttpReply:
        """The next reply to a request."""
        while not self._replies:
            data = await self.reader.read(65536)
            self._replies += self._http.receive(data) if data else self._http.receive_eof()
        return self._replies.pop(0)

    async def rest(self) -> bytes:
        """All that still comes, to the end."""
        return await self.reader.read()

    def reset(self) -> None:
        """Leave without a goodbye."""
        sock = self.writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()


class House:
    """A listener and the clients that a test has."""

    def __init__(self, listener: HttpListener, stack: AsyncExitStack) -> None:
        self.listener = listener
        self._stack = stack

    async def connect(self, context: ssl.SSLContext | None = None) -> Client:
        host, port = self.listener.address
        name = None if context is None else "localhost"
        reader, writer = await asyncio.open_connection(host, port, ssl=context, server_hostname=name)
        self._stack.push_async_callback(_leave, writer)
        return Client(reader, writer)

    def connect_silent(self, receive_buffer: int) -> socket.socket:
        """A client that reads only when it is told to, with little room for what comes before that."""
        sock = self._stack.enter_context(socket.socket())
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        sock.connect(self.listener.address)
        sock.setblocking(False)
        return sock


async def read_all(sock: socket.socket) -> int:
    """How many bytes there are still to be read."""
    size = 0
    while data := await asyncio.get_running_loop().sock_recv(sock, 65536):
        size += len(data)
    return size


async def _leave(writer: asyncio.StreamWriter) -> None:
    # Python 3.11.2's TLS transport, when it was closed twice, has forgotten whom to abort.
    with contextlib.suppress(AttributeError):
        writer.transport.abort()
    try:
        await writer.wait_closed()
    except OSError:
        pass


@asynccontextmanager
async def house(
    handler: HttpHandler = echo,
    *,
    ssl_context: ssl.SSLContext | None = None,
    body_limit: int = 1000,
    max_connections: int = CONNECTION_LIMIT,
) -> AsyncIterator[House]:
    """A listener on a free port, which is closed without grace at the end."""
    async with AsyncExitStack() as stack:
        listener = await HttpListener.open(
            "127.0.0.1",
            0,
            handler,
            ssl_context=ssl_context,
            body_limit=body_limit,
            max_connections=max_connections,
        )
        stack.push_async_callback(listener.close, 0)
        yield House(listener, stack)


class Wire(asyncio.Transport):
    """A transport that keeps what is written; ``room`` is how many bytes its client would take."""

    def __init__(self, room: int = 1 << 30) -> None:
        super().__init__({"peername": ("192.0.2.1", 1)})
        self.room = room
        self.written: list[bytes] = []
        self.paused = self.closed = self.aborted = self.eof = False
        self.protocol: HttpCarrier | None = None

    def write(self, data: bytes | bytearray | memoryview) -> None:
        assert not self.closed
        self.written.append(bytes(data))

    def get_write_buffer_size(self) -> int:
        return max(0, sum(map(len, self.written)) - self.room)

    def can_write_eof(self) -> bool:
        return True

    def write_eof(self) -> None:
        self.eof = True

    def is_closing(self) -> bool:
        return self.closed

    def pause_reading(self) -> None:
        assert not self.paused
        self.paused = True

    def resume_reading(self) -> None:
        assert self.paused
        self.paused = False

    def close(self) -> None:
        self.closed = True
        if not self.get_write_buffer_size():
            self._lose()

    def abort(self) -> None:
        self.closed = self.aborted = True
        self._lose()

    def _lose(self) -> None:
        if self.protocol is not None:
            asyncio.get_running_loop().call_soon(self.protocol.connection_lost, None)


@asynccontextmanager
async def wired(handler: HttpHandler, **options: int) -> AsyncIterator[tuple[HttpCarrier, Wire]]:
    """A connection over a transport that can be looked at."""
    async with house(handler, **options) as there:  # type: ignore[arg-type]
        transport, carrier = Wire(), HttpCarrier(there.listener)
        transport.protocol = carrier
        carrier.connection_made(transport)
        yield carrier, transport


@pytest.fixture(params=["virtual", "uvloop"])
def on_each_loop(request: pytest.FixtureRequest) -> Runner[None]:
    """Runs a test that needs no time to pass, on plain asyncio and on uvloop."""
    return run if request.param == "virtual" else uvloop.run


class TestAnswers:
    def test_a_request_is_answered(self, on_each_loop: Runner[None]) -> None:
        async def main() -> None:
            async with house() as there:
                client = await there.connect()
                client.ask(b"POST /x HTTP/1.1\r\nContent-Length: 2\r\n\r\nhi")
                reply = await client.reply()
                assert (reply.status, reply.body) == (200, b"/xhi")

        on_each_loop(main())

    def test_a_connection_is_kept_and_ended_as_the_client_wishes(self, on_each_loop: Runner[None]) -> None:
        async def main() -> None:
            async with house() as there:
                client = await there.connect()
                for number in range(3):
                    client.ask(get(f"/{number}"))
                    assert (await client.reply()).body == f"/{number}".encode()
                client.ask(get("/last", "Connection: close"))
                assert (await client.reply()).body == b"/last"
                assert await client.rest() == b""

        on_each_loop(main())

    def test_the_handler_learns_who_asks(self, on_each_loop: Runner[None]) -> None:
        peers: list[Peer] = []

        def handler(request: HttpRequest, peer: Peer) -> HttpResponse:
            peers.append(peer)
            return HttpResponse(200, b"")

        async def main() -> None:
            async with house(handler) as there:
                client = await there.connect()
                client.ask(GET)
                await client.reply()
            assert peers == [Peer(transport="http", address="127.0.0.1")]

        on_each_loop(main())

    def test_the_date_is_now(self) -> None:
        async def main() -> None:
            async with house() as there:
                client = await there.connect()
                before = int(time.time())
                client.ask(GET)
                text = (await client.reply()).headers["date"]
                date = email.utils.parsedate_to_datetime(text)
                assert before <= date.timestamp() <= time.time()
                assert email.utils.format_datetime(date, usegmt=True) == text

        run(main())

    def test_pipelined_requests_are_answered_in_order(self, on_each_loop: Runner[None]) -> None:
        async def handler(request: HttpRequest, peer: Peer) -> HttpResponse:
            await asyncio.sleep(0)
            return echo(request, peer)

        def some_late(
            request: HttpRequest, peer: Peer
        ) -> HttpResponse | Coroutine[object, object, HttpResponse]:
            return handler(request, peer) if int(request.target[1:]) % 3 else echo(request, peer)

        async def main() -> None:
            async with house(some_late) as there:
                client = await there.connect()
                client.ask(*(get(f"/{number}") for number in range(500)))
                bodies = [(await client.reply()).body for _ in range(500)]
                assert bodies == [f"/{number}".encode() for number in range(500)]

        on_each_loop(main())

    def test_a_late_answer_holds_back_those_behind_it_and_not_those_before_it(self) -> None:
        async def main() -> None:
            async with house(mixed) as there:
                client = await there.connect()
                client.ask(get("/a"), get("/5"), get("/b"), get("/3"), get("/c"))
                seen = []
                for _ in range(5):
                    reply = await client.reply()
                    seen.append((reply.body, elapsed()))
                assert seen == [(b"/a", 0.0), (b"/5", 5.0), (b"/b", 5.0), (b"/3", 8.0), (b"/c", 8.0)]

        run(main())

    def test_one_slow_client_slows_nobody_else(self) -> None:
        async def main() -> None:
            async with house(mixed) as there:
                slow, fast = await there.connect(), await there.connect()
                slow.ask(get("/60"))
                fast.ask(get("/x"))
                assert (await fast.reply()).body == b"/x"
                assert elapsed() == 0.0
                assert (await slow.reply()).body == b"/60"

        run(main())

    def test_what_comes_while_a_handler_works_is_answered_after_it(self) -> None:
        async def main() -> None:
            async with house(mixed) as there:
                client = await there.connect()
                client.ask(get("/5"))
                await asyncio.sleep(1)
                client.ask(get("/x"))
                assert [(await client.reply()).body for _ in range(2)] == [b"/5", b"/x"]
                assert elapsed() == 5.0

        run(main())

    def test_a_client_that_sends_no_more_is_still_answered(self, on_each_loop: Runner[None]) -> None:
        async def late(request: HttpRequest, peer: Peer) -> HttpResponse:
            await asyncio.sleep(0.01)
            return echo(request, peer)

        async def main() -> None:
            for handler in (echo, late):
                async with house(handler) as there:
                    client = await there.connect()
                    client.ask(get("/x"), get("/y"))
                    client.writer.write_eof()
                    assert [(await client.reply()).body for _ in range(2)] == [b"/x", b"/y"]
                    assert await client.rest() == b""

        on_each_loop(main())

    def test_a_request_that_is_cut_off_is_refused(self, on_each_loop: Runner[None]) -> None:
        async def main() -> None:
            async with house() as there:
                client = await there.connect()
                client.send(b"POST / HTTP/1.1\r\nContent-Length: 10\r\n\r\nhi")
                client.writer.write_eof()
                assert (await client.rest()).startswith(b"HTTP/1.1 400 Bad Request\r\n")

        on_each_loop(main())

    def test_a_client_that_waits_for_an_invitation_gets_one(self, on_each_loop: Runner[None]) -> None:
        async def main() -> None:
            async with house() as there:
                client = await there.connect()
                head = b"POST / HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n"
                client.send(get("/x") + head)
                assert (await client.reader.readuntil(b"\r\n\r\n/x")).startswith(b"HTTP/1.1 200 OK\r\n")
                assert await client.reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
                client.send(b"hi")
                assert (await client.reader.readuntil(b"\r\n\r\n/hi")).startswith(b"HTTP/1.1 200 OK\r\n")

        on_each_loop(main())


class TestFailures:
    @staticmethod
    def broken(request: HttpRequest, peer: Peer) -> HttpResponse:
        raise LookupError("the handler's own fault")

    @staticmethod
    async def broken_late(request: HttpRequest, peer: Peer) -> HttpResponse:
        raise LookupError("the handler's own fault")

    @pytest.mark.parametrize("handler", [broken, broken_late])
    def test_a_handler_that_fails_is_answered_500_and_logged(
        self, handler: HttpHandler, caplog: pytest.LogCaptureFixture
    ) -> None:
        async def main() -> None:
            async with house(handler) as there:
                client = await there.connect()
                for _ in range(2):
                    client.ask(get("/x"))
                    assert (await client.reply()).status == 500

        run(main())
        [record, _] = caplog.records
        assert (record.name, record.levelno) == ("bridle.http", logging.ERROR)
        assert record.getMessage() == "127.0.0.1: the handler of GET /x failed"
        assert "LookupError: the handler's own fault" in caplog.text

    @pytest.mark.parametrize(
        "answer",
        [
            None,
            "text",
            HttpResponse(200, b"", (("X", "a\r\nb"),)),
            HttpResponse(42, b""),
            HttpResponse(200, None),  # type: ignore[arg-type]
        ],
    )
    def test_an_answer_that_cannot_be_written_is_answered_500(
        self, answer: HttpResponse, caplog: pytest.LogCaptureFixture
    ) -> None:
        async def late(request: HttpRequest, peer: Peer) -> HttpResponse:
            return answer

        async def main() -> None:
            for handler in (lambda request, peer: answer, late):
                async with house(handler) as there:
                    client = await there.connect()
                    client.ask(GET)
                    assert (await client.reply()).status == 500

        run(main())
        assert len(caplog.records) == 2

    def test_a_failure_is_no_concern_of_other_clients(self, caplog: pytest.LogCaptureFixture) -> None:
        def handler(request: HttpRequest, peer: Peer) -> HttpResponse:
            return self.broken(request, peer) if request.target == "/bad" else echo(request, peer)

        async def main() -> None:
            async with house(handler) as there:
                good, bad = await there.connect(), await there.connect()
                good.ask(get("/1"))
                await good.reply()
                bad.ask(get("/bad"))
                bad.send(b"\x00garbage")
                good.ask(get("/2"))
                assert (await good.reply()).body == b"/2"
                assert (await bad.reply()).status == 500

        run(main())

    def test_a_handler_goes_on_when_its_client_is_gone(self, on_each_loop: Runner[None]) -> None:
        async def main() -> None:
            begun, go_on, done = asyncio.Event(), asyncio.Event(), []

            async def handler(request: HttpRequest, peer: Peer) -> HttpResponse:
                begun.set()
                await go_on.wait()
                done.append(request.target)
                return HttpResponse(200, b"")

            async with house(handler) as there:
                client = await there.connect()
                client.ask(GET, GET)
                await begun.wait()
                client.reset()
                await asyncio.sleep(0.01)
                go_on.set()
                await asyncio.sleep(0.01)
                assert done == ["/"]

        on_each_loop(main())

    def test_a_handler_that_had_not_begun_is_still_called(self) -> None:
        async def main() -> None:
            begun = []

            async def handler(request: HttpRequest, peer: Peer) -> HttpResponse:
                begun.append(request)
                return HttpResponse(200, b"")

            async with house(handler) as there:
                transport = Wire()
                carrier = HttpCarrier(there.listener)
                carrier.connection_made(transport)
                carrier.data_received(GET)
                transport.closed = True
                carrier.connection_lost(ConnectionResetError())
                await asyncio.sleep(0)
                await asyncio.sleep(0)
                assert len(begun) == 1
                assert transport.written == []

        run(main())

    def test_an_answer_for_nobody_is_dropped(self) -> None:
        async def main() -> None:
            async def stubborn(request: HttpRequest, peer: Peer) -> HttpResponse:
                try:
                    await asyncio.sleep(1)
                except asyncio.CancelledError:
                    pass
                return HttpResponse(200, b"")

            async with house(stubborn) as there:
                client = await there.connect()
                client.ask(GET, GET)
                await asyncio.sleep(0.5)
                client.reset()
                await asyncio.sleep(0)
                other = await there.connect()
                other.ask(GET)
                assert (await other.reply()).status == 200

        run(main())


class TestTime:
    def test_the_times_are_keas(self) -> None:
        assert (REQUEST_TIMEOUT, IDLE_TIMEOUT) == (10.0, 30.0)

    @pytest.mark.parametrize(
        ("data", "version"),
        [
            (b"", b"1.0"),
            (b"POST", b"1.0"),
            (b"POST / HTTP/1.1\r\nHost: x\r\n", b"1.1"),
            (b"POST / HTTP/1.1\r\nContent-Length: 10\r\n\r\nhi", b"1.1"),
        ],
    )
    def test_a_request_that_does_not_come_to_its_end_is_answered_408(
        self, data: bytes, version: bytes
    ) -> None:
        async def main() -> None:
            async with house() as there:
                client = await there.connect()
                client.send(data)
                answer = await client.rest()
                assert elapsed() == 10.0
                assert answer.startswith(b"HTTP/" + version + b" 408 Request Timeout\r\n")

        run(main())

    def test_every_read_gives_a_request_its_time_again(self) -> None:
        async def main() -> None:
            async with house() as there:
                client = await there.connect()
                for byte in b"GET /slow HTTP":
                    await asyncio.sleep(9)
                    client.send(bytes([byte]))
                assert (await client.rest()).startswith(b"HTTP/1.0 408 ")
                assert elapsed() == 14 * 9 + 10.0

        run(main())

    def test_a_second_request_has_the_same_time(self) -> None:
        async def main() -> None:
            async with house() as there:
                client = await there.connect()
                client.ask(GET)
                await client.reply()
                await asyncio.sleep(20)
                client.send(b"POST / HTTP/1.1\r\n")
                assert (await client.rest()).startswith(b"HTTP/1.1 408 ")
                assert elapsed() == 30.0

        run(main())

    def test_an_idle_connection_is_closed_in_silence(self) -> None:
        async def main() -> None:
            async with house() as there:
                client = await there.connect()
                for pause in (0, 5, 29):
                    await asyncio.sleep(pause)
                    client.ask(GET)
                    await client.reply()
                assert await client.rest() == b""
                assert elapsed() == 5 + 29 + 30.0

        run(main())

    def test_blank_lines_keep_nothing_open(self) -> None:
        async def main() -> None:
            async with house() as there:
                client = await there.connect()
                client.ask(GET)
                await client.reply()
                await asyncio.sleep(20)
                client.send(b"\r\n")
                assert await client.rest() == b""
                assert elapsed() == 30.0

        run(main())

    def test_a_handler_takes_the_time_it_needs(self) -> None:
        async def main() -> None:
            async with house(mixed) as there:
                client = await there.connect()
                client.ask(get("/1000"))
                assert (await client.reply()).body == b"/1000"
                assert await client.rest() == b""
                assert elapsed() == 1000 + 30.0

        run(main())

    def test_a_request_begun_during_a_handler_has_its_time_from_the_answer_on(self) -> None:
        async def main() -> None:
            async with house(mixed) as there:
                client = await there.connect()
                client.ask(get("/100") + b"POST /")
                assert (await client.reply()).body == b"/100"
                assert (await client.rest()).startswith(b"HTTP/1.0 408 ")
                assert elapsed() == 110.0

        run(main())

    def test_a_client_that_ignores_the_end_is_left_alone_with_it(self) -> None:
        async def main() -> None:
            async with house() as there:
                client = await there.connect()
                client.send(b"\x00")
                assert (await client.rest()).startswith(b"HTTP/1.0 400 ")
                assert elapsed() == 0.0
                await there.listener.close(LINGER + 0.1)
                assert elapsed() == LINGER

        run(main())


class TestSlowReaders:
    def test_a_client_that_does_not_read_is_cut(self) -> None:
        asked = []

        def handler(request: HttpRequest, peer: Peer) -> HttpResponse:
            asked.append(request)
            return HttpResponse(200, MEGABYTE)

        async def main() -> None:
            async with house(handler) as there:
                sock = there.connect_silent(4096)
                loop = asyncio.get_running_loop()
                await loop.sock_sendall(sock, GET * 1000)
                await asyncio.sleep(WRITE_TIMEOUT + 0.01)
                handled = len(asked)
                assert handled < 10  # what socket buffers hold, and no more
                assert await read_all(sock) < handled * len(MEGABYTE)
                assert len(asked) == handled
                assert elapsed() == WRITE_TIMEOUT + 0.01

        run(main())

    def test_a_client_that_does_not_read_is_cut_during_a_handler(self) -> None:
        async def main() -> None:
            async def late(request: HttpRequest, peer: Peer) -> HttpResponse:
                await asyncio.sleep(1000)
                raise AssertionError

            async with house(late) as there:
                transport = Wire(room=0)
                carrier = HttpCarrier(there.listener)
                carrier.connection_made(transport)
                transport.protocol = carrier
                carrier.data_received(get("/late"))
                carrier.pause_writing()
                await asyncio.sleep(WRITE_TIMEOUT - 0.01)
                assert not transport.aborted
                await asyncio.sleep(0.02)
                assert transport.aborted

        run(main())

    def test_a_client_that_reads_a_little_is_served_to_the_end(self) -> None:
        def handler(request: HttpRequest, peer: Peer) -> HttpResponse:
            return HttpResponse(200, MEGABYTE * 10)

        async def main() -> None:
            async with house(handler) as there:
                sock = there.connect_silent(65536)
                loop = asyncio.get_running_loop()
                await loop.sock_sendall(sock, get("/", "Connection: close"))
                received = b""
                while not received.endswith(b"x" * 10) or len(received) < 10 * len(MEGABYTE):
                    await asyncio.sleep(5)
                    received += await loop.sock_recv(sock, 1_000_000)
                assert elapsed() > 3 * WRITE_TIMEOUT
                assert await loop.sock_recv(sock, 1) == b""

        run(main(), limit=100_000)

    def test_a_client_that_reads_too_late_for_a_small_answer_is_cut(self) -> None:
        """The rest of an answer may be too small for the transport to report that it is not taken in."""

        async def main() -> None:
            async with house() as there:
                transport = Wire(room=0)
                carrier = HttpCarrier(there.listener)
                carrier.connection_made(transport)
                transport.protocol = carrier
                carrier.data_received(get("/", "Connection: close"))
                assert transport.closed
                await asyncio.sleep(WRITE_TIMEOUT)
                await asyncio.sleep(0)
                assert transport.aborted

        run(main())

    def test_what_a_blocked_client_asked_is_answered_once_it_reads(self) -> None:
        async def main() -> None:
            async with house() as there:
                transport = Wire()
                carrier = HttpCarrier(there.listener)
                carrier.connection_made(transport)
                transport.protocol = carrier
                carrier.pause_writing()
                assert transport.paused
                carrier.data_received(get("/x") + get("/y"))
                assert transport.written == []
                carrier.resume_writing()
                await asyncio.sleep(0)
                assert not transport.paused
                [data] = transport.written
                assert data.endswith(b"\r\n\r\n/y")
                assert b"\r\n\r\n/xHTTP/1.1" in data
                await asyncio.sleep(WRITE_TIMEOUT + 1)
                assert not transport.aborted

        run(main())


class TestFlow:
    def test_the_answers_to_one_read_are_one_write(self) -> None:
        async def main() -> None:
            async with wired(echo) as (carrier, transport):
                carrier.data_received(GET * 50)
                await asyncio.sleep(1)
                assert len(transport.written) == 1
                carrier.data_received(GET)
                assert len(transport.written) == 2

        run(main())

    def test_large_answers_are_not_collected(self) -> None:
        async def main() -> None:
            async with wired(lambda request, peer: HttpResponse(200, MEGABYTE)) as (carrier, transport):
                carrier.data_received(GET * 5)
                await asyncio.sleep(1)
                assert len(transport.written) == 5

        run(main())

    def test_reading_pauses_when_too_much_waits(self) -> None:
        async def main() -> None:
            async with wired(mixed) as (carrier, transport):
                carrier.data_received(get("/5"))
                number = AHEAD_LIMIT // len(get("/x"))
                carrier.data_received(get("/x") * number)
                await asyncio.sleep(1)
                assert not transport.paused
                carrier.data_received(get("/x"))
                assert transport.paused
                carrier.data_received(get("/x"))  # a transport may have read this already
                await asyncio.sleep(5)
                assert not transport.paused
                assert b"".join(transport.written).count(b"200 OK") == number + 3

        run(main())

    def test_a_client_that_sends_much_at_once_lets_others_have_their_turn(self) -> None:
        async def main() -> None:
            served: list[str] = []

            def note(request: HttpRequest, peer: Peer) -> HttpResponse:
                served.append(request.target)
                return HttpResponse(200, b"")

            async with wired(note) as (carrier, transport):
                carrier.data_received(get("/x") * 5 * TURN + get("/last")[:-2])
                for _ in range(4):
                    served.append("others")
                    await asyncio.sleep(0)
                assert served == [*(["/x"] * TURN + ["others"]) * 4, *["/x"] * TURN]
                await asyncio.sleep(0)
                assert len(transport.written) == 1
                carrier.data_received(b"\r\n")
                assert served[-1] == "/last"
                assert len(transport.written) == 2
                carrier.data_received(get("/y") * 2 * TURN)
                carrier.eof_received()
                await asyncio.sleep(0)
                assert served[-2 * TURN :] == ["/y"] * 2 * TURN
                assert transport.closed

        run(main())

    def test_what_was_not_read_is_drained_at_the_end(self) -> None:
        async def last(request: HttpRequest, peer: Peer) -> HttpResponse:
            await asyncio.sleep(5)
            return HttpResponse(200, b"", close=True)

        async def main() -> None:
            async with wired(last) as (carrier, transport):
                carrier.data_received(GET + GET * (AHEAD_LIMIT // len(GET) + TURN))
                carrier.data_received(GET)
                assert transport.paused
                await asyncio.sleep(5.1)
                assert transport.eof
                assert not transport.paused
                await asyncio.sleep(LINGER)
                assert transport.closed
                assert b"".join(transport.written).count(b"200 OK") == 1

        run(main())

    def test_nothing_is_written_to_a_closed_transport(self) -> None:
        async def main() -> None:
            async with wired(mixed) as (carrier, transport):
                carrier.data_received(get("/5"))
                await asyncio.sleep(0)
                transport.closed = True
                await asyncio.sleep(6)
                assert transport.written == []
                carrier.connection_lost(None)

        run(main())


class TestRefusals:
    @pytest.mark.parametrize(
        ("data", "status"),
        [
            (b"POST / HTTP/1.1\r\nContent-Length: 1001\r\n\r\n", b"1.1 413 Content Too Large"),
            (b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3e9\r\n", b"1.1 413 Content Too Large"),
            (b"POST / HTTP/1.1\r\nX: " + b"x" * 65536, b"1.1 431 Request Header Fields Too Large"),
            (b"POST /" + b"x" * 8192, b"1.0 414 URI Too Long"),
            (b"\x16\x03\x01\x02\x00", b"1.0 400 Bad Request"),
        ],
    )
    def test_a_refusal_reaches_a_client_that_still_sends(
        self, data: bytes, status: bytes, on_each_loop: Runner[None]
    ) -> None:
        async def main() -> None:
            async with house() as there:
                client = await there.connect()
                client.send(data + MEGABYTE * 5)
                for _ in range(5):
                    client.send(MEGABYTE)
                    await client.writer.drain()
                assert (await client.rest()).startswith(b"HTTP/" + status + b"\r\n")

        on_each_loop(main())

    def test_a_refusal_is_logged_with_its_reason(self, caplog: pytest.LogCaptureFixture) -> None:
        async def main() -> None:
            async with house() as there:
                client = await there.connect()
                client.send(b"POST / HTTP/1.1\r\nContent-Length: 1001\r\n\r\n")
                await client.rest()

        caplog.set_level(logging.INFO, "bridle.http")
        run(main())
        assert caplog.messages == ["127.0.0.1: refused with 413: body of 1001 bytes, where 1000 are taken"]

    def test_requests_before_a_refusal_are_answered_first(self) -> None:
        async def main() -> None:
            async with house(mixed) as there:
                client = await there.connect()
                client.send(get("/3") + get("/x") + b"\x00" + get("/y"))
                data = await client.rest()
                assert [part[:3] for part in data.split(b"HTTP/1.")[1:]] == [b"1 2", b"1 2", b"0 4"]
                assert elapsed() == 3.0

        run(main())

    def test_a_client_that_goes_on_sending_is_cut_in_the_end(self) -> None:
        async def main() -> None:
            async with wired(echo) as (carrier, transport):
                carrier.data_received(b"\x00")
                assert transport.eof
                assert not transport.closed
                for _ in range(10):
                    carrier.data_received(MEGABYTE)
                    await asyncio.sleep(LINGER / 10)
                await asyncio.sleep(0.001)
                assert transport.closed
                assert len(transport.written) == 1

        run(main())

    def test_what_is_asked_behind_the_last_answer_does_not_cost_it(self) -> None:
        def handler(request: HttpRequest, peer: Peer) -> HttpResponse:
            return HttpResponse(200, request.target.encode(), close=True)

        async def main() -> None:
            async with house(handler) as there:
                client = await there.connect()
                client.ask(get("/x"), get("/y"))
                client.send(GET * 1000)
                assert (await client.reply()).body == b"/x"
                assert await client.rest() == b""

        run(main())


class TestListener:
    def test_it_says_where_it_listens(self, on_each_loop: Runner[None]) -> None:
        async def main() -> None:
            async with house() as there:
                host, port = there.listener.address
                assert host == "127.0.0.1"
                assert port > 0
                assert there.listener.url == f"http://127.0.0.1:{port}"

        on_each_loop(main())

    def test_an_ipv6_address_is_bracketed(self) -> None:
        async def main() -> None:
            listener = await HttpListener.open("::1", 0, echo)
            assert listener.url == f"http://[::1]:{listener.address[1]}"
            await listener.close()

        run(main())

    def test_an_address_in_use_is_named(self, on_each_loop: Runner[None]) -> None:
        async def main() -> None:
            async with house() as there:
                host, port = there.listener.address
                with pytest.raises(EndpointError) as caught:
                    await HttpListener.open(host, port, echo)
                assert str(caught.value) == f"cannot listen on http://{host}:{port}: address already in use"

        on_each_loop(main())

    @pytest.mark.parametrize(
        ("host", "port", "reason"),
        [
            ("192.0.2.1", 0, "cannot listen on http://192.0.2.1:0: cannot assign requested address"),
            (
                "127.0.0.1",
                70000,
                "cannot listen on http://127.0.0.1:70000: a port is a number from 0 to 65535",
            ),
        ],
    )
    def test_an_address_that_cannot_be_had_is_named(
        self, host: str, port: int, reason: str, on_each_loop: Runner[None]
    ) -> None:
        async def main() -> None:
            with pytest.raises(EndpointError) as caught:
                await HttpListener.open(host, port, echo)
            assert str(caught.value) == reason

        on_each_loop(main())

    def test_a_host_that_does_not_exist_is_named(self) -> None:
        async def main() -> None:
            with pytest.raises(EndpointError, match=r"^cannot listen on http://host\.invalid:0: \S"):
                await HttpListener.open("host.invalid", 0, echo)

        run(main())

    def test_too_many_connections_are_told_so(self, on_each_loop: Runner[None]) -> None:
        async def main() -> None:
            async with house(max_connections=2) as there:
                kept = [await there.connect(), await there.connect()]
                for client in kept:
                    client.ask(GET)
                    await client.reply()
                for _ in range(3):
                    refused = await there.connect()
                    refused.send(GET)
                    data = await refused.rest()
                    assert data.startswith(b"HTTP/1.0 503 Service Unavailable\r\n")
                    assert data.endswith(b'{ "result": 503, "text": "Service Unavailable" }')
                for client in kept:
                    client.ask(get("/x", "Connection: close"))
                    assert (await client.reply()).body == b"/x"
                    assert await client.rest() == b""
                again = await there.connect()
                again.ask(get("/again"))
                assert (await again.reply()).body == b"/again"

        on_each_loop(main())

    def test_a_flood_of_connections_is_cut(self) -> None:
        async def main() -> None:
            async with house(max_connections=0) as there:
                wires = [Wire() for _ in range(REFUSED_LIMIT + 5)]
                for transport in wires:
                    transport.protocol = HttpCarrier(there.listener)
                    transport.protocol.connection_made(transport)
                    await asyncio.sleep(0)
                assert sum(transport.aborted for transport in wires) == 5

        run(main())


class TestRetire:
    def test_the_port_is_free_at_once(self, on_each_loop: Runner[None]) -> None:
        async def main() -> None:
            async with house() as there:
                client = await there.connect()
                client.ask(GET)
                await client.reply()
                host, port = there.listener.address
                there.listener.retire()
                successor = await HttpListener.open(host, port, echo)
                assert successor.address == there.listener.address
                await successor.close()

        on_each_loop(main())

    def test_an_idle_connection_is_served_once_more(self, on_each_loop: Runner[None]) -> None:
        async def main() -> None:
            async with house() as there:
                client = await there.connect()
                client.ask(GET)
                assert "connection" not in (await client.reply()).headers
                there.listener.retire()
                client.ask(get("/more"))
                reply = await client.reply()
                assert (reply.body, reply.headers["connection"]) == (b"/more", "close")
                assert await client.rest() == b""
                with pytest.raises(ConnectionRefusedError):
                    await there.connect()

        on_each_loop(main())

    def test_a_connection_without_a_request_goes_when_its_time_is_over(self) -> None:
        async def main() -> None:
            async with house() as there:
                client = await there.connect()
                client.ask(GET)
                await client.reply()
                there.listener.retire()
                assert await client.rest() == b""
                assert elapsed() == IDLE_TIMEOUT

        run(main())

    def test_a_request_in_work_is_answered(self) -> None:
        async def main() -> None:
            async with house(mixed) as there:
                client = await there.connect()
                client.ask(get("/100"), get("/x"))
                await asyncio.sleep(1)
                there.listener.retire()
                assert "connection" not in (await client.reply()).headers
                assert (await client.reply()).headers["connection"] == "close"
                assert await client.rest() == b""
                assert elapsed() == 100.0

        run(main())


class TestClose:
    def test_idle_connections_end_at_once(self, on_each_loop: Runner[None]) -> None:
        async def main() -> None:
            async with house() as there:
                fresh, used = await there.connect(), await there.connect()
                used.ask(GET)
                await used.reply()
                await there.listener.close(60)
                assert await fresh.rest() == b""
                assert await used.rest() == b""
                with pytest.raises(ConnectionRefusedError):
                    await there.connect()

        on_each_loop(main())

    def test_answers_in_flight_are_delivered(self) -> None:
        async def main() -> None:
            async with house(mixed) as there:
                client = await there.connect()
                client.ask(get("/3"), get("/x"))
                await asyncio.sleep(1)
                await there.listener.close(5)
                assert elapsed() == 3.0
                assert (await client.reply()).body == b"/3"
                reply = await client.reply()
                assert (reply.body, reply.headers["connection"]) == (b"/x", "close")
                assert await client.rest() == b""

        run(main())

    def test_a_large_answer_is_delivered(self) -> None:
        async def main() -> None:
            async with house(lambda request, peer: HttpResponse(200, MEGABYTE * 20)) as there:
                client = await there.connect()
                client.ask(GET)
                await client.reader.readuntil(b"\r\n")
                closing = asyncio.create_task(there.listener.close(5))
                data = await client.rest()
                assert data.endswith(MEGABYTE)
                assert len(data) > 20 * len(MEGABYTE)
                await closing
                assert elapsed() == 0.0

        run(main())

    def test_a_request_that_has_begun_may_come_to_its_end(self) -> None:
        async def main() -> None:
            async with house() as there:
                client = await there.connect()
                client.ask(b"GET /x HT")
                await asyncio.sleep(1)
                closing = asyncio.create_task(there.listener.close(5))
                await asyncio.sleep(1)
                client.send(b"TP/1.1\r\n\r\n")
                reply = await client.reply()
                assert (reply.body, reply.headers["connection"]) == (b"/x", "close")
                await closing
                assert elapsed() == 2.0

        run(main())

    def test_what_takes_longer_is_cut_and_cancelled(self, caplog: pytest.LogCaptureFixture) -> None:
        async def main() -> None:
            cancelled = []

            async def handler(request: HttpRequest, peer: Peer) -> HttpResponse:
                try:
                    return await sleep(request, peer)
                except asyncio.CancelledError:
                    cancelled.append(request.target)
                    raise

            async with house(handler) as there:
                working, sending = await there.connect(), await there.connect()
                working.ask(get("/100"))
                sending.send(b"GET /x HT")
                await asyncio.sleep(1)
                await there.listener.close(5)
                assert elapsed() == 6.0
                assert cancelled == ["/100"]
                assert await sending.rest() == b""
                with pytest.raises(RemoteProtocolError, match="without a reply"):
                    await working.reply()

        run(main())
        url = caplog.messages[0].partition(": cutting")[0]
        assert caplog.messages == [f"{url}: cutting 2 connections after 5 s"]

    def test_a_handler_that_does_not_end_is_not_waited_for(self, caplog: pytest.LogCaptureFixture) -> None:
        async def main() -> None:
            async def stubborn(request: HttpRequest, peer: Peer) -> HttpResponse:
                try:
                    await asyncio.sleep(100)
                except asyncio.CancelledError:
                    await asyncio.sleep(50)
                return HttpResponse(200, b"")

            async with house(stubborn) as there:
                client = await there.connect()
                client.ask(GET)
                await asyncio.sleep(1)
                await there.listener.close(5)
                assert elapsed() == 7.0
                assert caplog.messages[1].endswith("1 handlers do not end though they were cancelled")
                await asyncio.sleep(50)

        run(main())

    def test_closing_twice_is_closing_once(self, on_each_loop: Runner[None]) -> None:
        async def main() -> None:
            listener = await HttpListener.open("127.0.0.1", 0, echo)
            await asyncio.gather(listener.close(), listener.close())
            await listener.close()
            listener.retire()

        on_each_loop(main())

    def test_refused_clients_are_not_waited_for_longer_than_they_linger(self) -> None:
        async def main() -> None:
            async with house(max_connections=0) as there:
                client = await there.connect()
                await client.rest()
                await there.listener.close(60)
                assert elapsed() == LINGER

        run(main())


class Certificates:
    """An authority, and what it vouches for."""

    def __init__(self) -> None:
        self.authority = trustme.CA(organization_name="Bridle tests")
        self.client = self.authority.issue_cert("client@example.org", common_name="operator")

    def server_context(self, verify: ssl.VerifyMode = ssl.CERT_NONE) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.authority.issue_cert("localhost").configure_cert(context)
        self.authority.configure_trust(context)
        context.verify_mode = verify
        return context

    def client_context(self, *, with_certificate: bool = False) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        self.authority.configure_trust(context)
        if with_certificate:
            self.client.configure_cert(context)
        return context


@pytest.fixture(scope="module")
def certificates() -> Iterator[Certificates]:
    return Certificates()  # type: ignore[return-value]


def whoami(request: HttpRequest, peer: Peer) -> HttpResponse:
    return HttpResponse(200, f"{peer.transport} {peer.tls_subject} {peer.tls_issuer}".encode())


class TestTls:
    def test_requests_are_answered(self, certificates: Certificates, on_each_loop: Runner[None]) -> None:
        async def main() -> None:
            async with house(whoami, ssl_context=certificates.server_context()) as there:
                assert there.listener.url.startswith("https://127.0.0.1:")
                client = await there.connect(certificates.client_context())
                client.ask(GET, get("/", "Connection: close"))
                for _ in range(2):
                    assert (await client.reply()).body == b"https None None"
                assert await client.rest() == b""

        on_each_loop(main())

    @pytest.mark.parametrize("verify", [ssl.CERT_OPTIONAL, ssl.CERT_REQUIRED])
    def test_the_handler_learns_whose_certificate_it_is(
        self, verify: ssl.VerifyMode, certificates: Certificates, on_each_loop: Runner[None]
    ) -> None:
        async def main() -> None:
            async with house(whoami, ssl_context=certificates.server_context(verify)) as there:
                client = await there.connect(certificates.client_context(with_certificate=True))
                client.ask(GET)
                subject, issuer = "operator", None  # the authority of these tests has no common name
                assert (await client.reply()).body == f"https {subject} {issuer}".encode()

        on_each_loop(main())

    def test_a_certificate_that_nobody_checked_names_nobody(
        self, certificates: Certificates, on_each_loop: Runner[None]
    ) -> None:
        async def main() -> None:
            async with house(whoami, ssl_context=certificates.server_context()) as there:
                client = await there.connect(certificates.client_context(with_certificate=True))
                client.ask(GET)
                assert (await client.reply()).body == b"https None None"

        on_each_loop(main())

    def test_a_refusal_reaches_a_client_that_still_sends(
        self, certificates: Certificates, on_each_loop: Runner[None]
    ) -> None:
        async def main() -> None:
            async with house(ssl_context=certificates.server_context()) as there:
                client = await there.connect(certificates.client_context())
                client.ask(b"POST / HTTP/1.1\r\nContent-Length: 9999999\r\n\r\n" + MEGABYTE * 5)
                assert (await client.reply()).status == 413

        on_each_loop(main())

    def test_answers_in_flight_are_delivered(self, certificates: Certificates) -> None:
        async def main() -> None:
            async with house(mixed, ssl_context=certificates.server_context()) as there:
                client = await there.connect(certificates.client_context())
                client.ask(get("/3"))
                await asyncio.sleep(1)
                closing = asyncio.create_task(there.listener.close(5))
                assert (await client.reply()).body == b"/3"
                assert await client.rest() == b""
                client.writer.close()
                await closing
                assert elapsed() == 3.0

        run(main())

    def test_a_client_that_does_not_speak_tls_is_cut(self, certificates: Certificates) -> None:
        async def main() -> None:
            async with house(ssl_context=certificates.server_context()) as there:
                client = await there.connect()
                client.send(GET)
                assert b"HTTP" not in await client.rest()
                silent = await there.connect()
                assert await silent.rest() == b""
                assert elapsed() == REQUEST_TIMEOUT

        run(main())

    def test_times_hold_as_without_tls(self, certificates: Certificates) -> None:
        async def main() -> None:
            async with house(ssl_context=certificates.server_context()) as there:
                client = await there.connect(certificates.client_context())
                began = elapsed()
                client.send(b"POST / HTTP/1.1\r\n")
                assert (await client.reader.readuntil(b"\r\n")) == b"HTTP/1.1 408 Request Timeout\r\n"
                assert elapsed() - began == pytest.approx(REQUEST_TIMEOUT)

        run(main())


def test_stock_answers_can_be_handlers_answers() -> None:
    async def main() -> None:
        async with house(lambda request, peer: stock(404)) as there:
            client = await there.connect()
            client.ask(GET)
            reply = await client.reply()
            assert (reply.status, reply.body) == (404, b'{ "result": 404, "text": "Not Found" }')

    run(main())
