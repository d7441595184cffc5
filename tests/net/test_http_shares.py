"""What the connections of an HTTP listener hold together, and who gives way (``bridle.net.shares``)."""

from __future__ import annotations

import asyncio
import contextlib
import socket

from bridle.core.messages import Peer
from bridle.net.stream import SILENCE
from bridle.wire.http import HttpRequest, HttpResponse
from tests.net.test_http import GET, House, get, house
from tests.support.loops import on_every_loop, on_virtual_clock
from tests.support.streams import turns

LARGE = 1_000_000
# More than the kernel takes for one connection, several times.
ANSWER = 20_000_000


def large(request: HttpRequest, peer: Peer) -> HttpResponse:
    """Answer with much, or with the length of what was sent."""
    return HttpResponse(200, b"x" * ANSWER if request.method == "GET" else b"%d" % len(request.body))


def post(length: int) -> bytes:
    return b"POST / HTTP/1.1\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % length


async def connected(there: House) -> socket.socket:
    """A client that reads nothing before it is asked to."""
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    sock.setblocking(False)
    await asyncio.get_running_loop().sock_connect(sock, there.listener.address)
    return sock


async def rest(sock: socket.socket) -> bytes:
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
    data = b""
    with contextlib.suppress(ConnectionResetError):
        while piece := await asyncio.get_running_loop().sock_recv(sock, 1 << 20):
            data += piece
    return data


@on_virtual_clock
async def test_of_bodies_that_are_too_much_together_the_oldest_is_answered_503() -> None:
    async with house(large, body_limit=10 * LARGE) as there:
        there.listener.requests.limit = LARGE
        loop = asyncio.get_running_loop()
        with contextlib.ExitStack() as stack:
            clients = [stack.enter_context(await connected(there)) for _ in range(4)]
            for client in clients:
                await loop.sock_sendall(client, post(300_001) + b"y" * 300_000)
                await turns(50)
            assert (await rest(clients[0])).startswith(b"HTTP/1.1 503 Service Unavailable")
            assert there.listener.requests.total <= LARGE
            for client in clients[1:]:
                await loop.sock_sendall(client, b"y")
                assert (await rest(client)).endswith(b"300001")
        await turns(50)
        assert there.listener.requests.total == 0


@on_every_loop
async def test_of_requests_that_were_answered_nothing_is_counted_any_more() -> None:
    def short(request: HttpRequest, peer: Peer) -> HttpResponse:
        return HttpResponse(200, b"x")

    request = get("/x", "X-Padding: " + "a" * 113)
    async with house(short) as there:
        # In how many pieces it comes is the kernel's choice.
        for count in range(600, 2000, 100):
            reader, writer = await asyncio.open_connection(*there.listener.address)
            writer.write(request * count)
            await writer.drain()
            answered = 0
            while answered < count:
                answered += (await reader.readline()).count(b"200 OK")
            await turns()
            assert there.listener.requests.total == 0, count
            writer.close()
            await writer.wait_closed()


@on_virtual_clock
async def test_of_answers_that_nobody_takes_in_the_oldest_are_dropped() -> None:
    async with house(large) as there:
        there.listener.answers.limit = 2 * ANSWER
        with contextlib.ExitStack() as stack:
            clients = [stack.enter_context(await connected(there)) for _ in range(5)]
            for client in clients:
                await asyncio.get_running_loop().sock_sendall(client, get("/", "Connection: close"))
                await turns(50)
            assert there.listener.answers.total <= 2 * ANSWER
            assert len(await rest(clients[0])) < ANSWER
            assert len(await rest(clients[-1])) > ANSWER
        await turns(50)
        assert there.listener.answers.total == 0


@on_virtual_clock
async def test_who_asks_for_nothing_gives_way_at_once_and_who_was_answered_after_a_silence() -> None:
    async with house(max_connections=1) as there:
        silent = await there.connect()
        await turns()
        kept = await there.connect()
        kept.ask(GET)
        assert (await kept.reply()).status == 200
        assert b" 503 " in await silent.rest()
        refused = await there.connect()
        assert b" 503 " in await refused.rest()
        await asyncio.sleep(SILENCE + 0.1)
        newcomer = await there.connect()
        newcomer.ask(GET)
        assert (await newcomer.reply()).status == 200
        assert await kept.rest() == b""
