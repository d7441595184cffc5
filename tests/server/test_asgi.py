"""An ASGI application behind an HTTP channel: what it is told, how its answers travel, how either ends."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping
from contextlib import asynccontextmanager
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, StreamingResponse
from starlette.routing import Route

from bridle import CommandManager, Server
from bridle.access.basic import BasicAuthentication
from bridle.net import http_carrier
from bridle.server import HttpSettings, asgi
from bridle.server.asgi import Application, AsgiPages, peer_of
from tests.support.loops import on_every_loop
from tests.support.web import Reply, ask, exchange

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]


class Site:
    """A channel with an application, and how to ask it."""

    def __init__(self, port: int) -> None:
        self.port = port

    async def send(self, request: bytes) -> bytes:
        """What comes back until the end of the connection."""
        return await exchange(self.port, request)

    async def ask(self, target: str, *fields: str, method: str = "GET", body: bytes = b"") -> Reply:
        """The answer to one request."""
        return await ask(self.port, target, *fields, method=method, body=body)


@asynccontextmanager
async def site(
    application: Application, *, http: HttpSettings | None = None, paths: tuple[str, ...] = ("/app",)
) -> AsyncIterator[Site]:
    """A channel on a free port, with this application under ``paths``."""
    manager = CommandManager()
    manager.register_command("hello", lambda: "hello")
    pages = AsgiPages(application, paths)
    server = Server(manager, pages=lambda: pages)
    channel = await server.listen("http://127.0.0.1:0", http)
    try:
        yield Site(channel.endpoint.port)
    finally:
        await server.close()


def whole(status: int = 200, body: bytes = b"", **headers: str) -> Application:
    """An application that gives one answer in one piece."""

    async def application(scope: Message, receive: Receive, send: Send) -> None:
        fields = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
        await send({"type": "http.response.start", "status": status, "headers": fields})
        await send({"type": "http.response.body", "body": body})

    return application


def pieces(*parts: bytes, length: int | None = None, pause: float = 0.0) -> Application:
    """An application that gives one answer in pieces."""

    async def application(scope: Message, receive: Receive, send: Send) -> None:
        fields = [] if length is None else [(b"content-length", str(length).encode())]
        await send({"type": "http.response.start", "status": 200, "headers": fields})
        for part in parts:
            await send({"type": "http.response.body", "body": part, "more_body": True})
            await asyncio.sleep(pause)
        await send({"type": "http.response.body"})

    return application


# What an application is told.


@on_every_loop
async def test_an_application_is_told_what_came_and_from_whom() -> None:
    told: list[Message] = []

    async def application(scope: Message, receive: Receive, send: Send) -> None:
        told.append({**scope, "body": (await receive())["body"], "peer": peer_of(scope)})
        await whole(200, b"ok")(scope, receive, send)

    async with site(application) as place:
        reply = await place.ask("/app/a%20b%C3%A9?x=%31&y", "X-Thing: 7", method="PUT", body=b"some")
        assert (reply.status, reply.body) == (200, b"ok")
    [scope] = told
    assert scope["type"] == "http"
    assert scope["method"] == "PUT"
    assert scope["path"] == "/app/a bé"
    assert scope["raw_path"] == b"/app/a%20b%C3%A9"
    assert scope["query_string"] == b"x=%31&y"
    assert (b"x-thing", b"7") in scope["headers"]
    assert scope["body"] == b"some"
    assert scope["peer"].transport == "http"
    assert scope["peer"].address == "127.0.0.1"


@pytest.mark.parametrize(
    ("target", "served"),
    [
        ("/app", True),
        ("/app?x", True),
        ("/app/deep", True),
        ("/apple", False),
        ("/", False),
        ("/x/app", False),
    ],
)
def test_an_application_has_its_paths_and_no_others(target: str, served: bool) -> None:
    assert AsgiPages(whole(), ("/app",)).serves(target) is served


@on_every_loop
async def test_every_other_request_is_a_command_as_before() -> None:
    async with site(whole(204)) as place:
        body = b'{ "command": "hello" }'
        for target in ("/", "/apple"):
            told = await place.ask(target, "Content-Type: application/json", method="POST", body=body)
            assert told.body == b'[ { "arguments": "hello", "result": 0 } ]'
        assert (await place.ask("/elsewhere")).status == 405
        assert (await place.ask("/app")).status == 204


@on_every_loop
async def test_a_path_that_is_no_utf8_is_refused() -> None:
    async with site(whole()) as place:
        assert (await place.ask("/app/%ff")).status == 400


@on_every_loop
async def test_who_may_not_command_does_not_reach_the_application() -> None:
    asked: list[str | None] = []

    async def application(scope: Message, receive: Receive, send: Send) -> None:
        asked.append(peer_of(scope).user)
        await whole()(scope, receive, send)

    http = HttpSettings(
        authentication=BasicAuthentication("site", [("ann", "secret")]), headers=(("X-Site", "one"),)
    )
    async with site(application, http=http) as place:
        refused = await place.ask("/app")
        assert refused.status == 401
        assert refused.headers["www-authenticate"] == 'Basic realm="site"'
        assert asked == []
        credentials = base64.b64encode(b"ann:secret").decode()
        taken = await place.ask("/app", f"Authorization: Basic {credentials}")
        assert (taken.status, taken.headers["x-site"]) == (200, "one")
        assert asked == ["ann"]


# Answers.


@on_every_loop
async def test_an_answer_has_the_application_s_status_and_headers() -> None:
    application = whole(418, b"short", content_type="text/tea", x_pot="1", date="never", connection="odd")
    async with site(application) as place:
        reply = await place.ask("/app")
        assert (reply.status, reply.body) == (418, b"short")
        assert reply.headers["content-type"] == "text/tea"
        assert reply.headers["x-pot"] == "1"
        assert reply.headers["content-length"] == "5"
        assert reply.headers["date"].endswith("GMT")
        assert "connection" not in reply.headers


@on_every_loop
async def test_an_answer_without_a_length_comes_in_chunks() -> None:
    async with site(pieces(b"one ", b"", b"two ", b"three")) as place:
        reply = await place.ask("/app")
        assert reply.complete
        assert reply.body == b"one two three"
        assert reply.headers["transfer-encoding"] == "chunked"
        old = await place.send(b"GET /app HTTP/1.0\r\n\r\n")
        head, _, body = old.partition(b"\r\n\r\n")
        assert b"Transfer-Encoding" not in head
        assert body == b"one two three"


@on_every_loop
async def test_an_answer_of_known_length_comes_as_it_is_and_the_connection_goes_on() -> None:
    async with site(pieces(b"one ", b"two", length=7)) as place:
        twice = b"GET /app HTTP/1.1\r\nHost: x\r\n\r\nGET /app HTTP/1.1\r\nConnection: close\r\n\r\n"
        answers = await place.send(twice)
        assert answers.count(b"Content-Length: 7\r\n") == 2
        assert answers.count(b"one two") == 2


@on_every_loop
async def test_a_head_has_the_length_and_no_body() -> None:
    async with site(pieces(b"one ", b"two", length=7)) as place:
        for application_s in (await place.send(b"HEAD /app HTTP/1.1\r\nConnection: close\r\n\r\n"),):
            head, _, body = application_s.partition(b"\r\n\r\n")
            assert b"Content-Length: 7" in head
            assert body == b""
    async with site(whole(200, b"", content_length="9")) as place:
        answer = await place.send(b"HEAD /app HTTP/1.1\r\nConnection: close\r\n\r\n")
        assert b"Content-Length: 9" in answer
        assert answer.endswith(b"\r\n\r\n")


@pytest.mark.parametrize("length", [3, 30])
@on_every_loop
async def test_an_answer_that_is_not_as_long_as_it_says_is_cut(
    length: int, caplog: pytest.LogCaptureFixture
) -> None:
    async with site(pieces(b"one ", b"two", length=length)) as place:
        answer = await place.send(b"GET /app HTTP/1.1\r\n\r\n")
        assert len(answer.partition(b"\r\n\r\n")[2]) < max(length, 7)
    assert "is cut" in caplog.text


@on_every_loop
async def test_a_large_answer_to_a_slow_reader_is_not_held_in_memory() -> None:
    part, count, sent = bytes(256 * 1024), 100, 0

    async def application(scope: Message, receive: Receive, send: Send) -> None:
        nonlocal sent
        await send({"type": "http.response.start", "status": 200, "headers": []})
        for _ in range(count):
            await send({"type": "http.response.body", "body": part, "more_body": True})
            sent += 1
        await send({"type": "http.response.body"})

    async with site(application) as place:
        reader, writer = await asyncio.open_connection("127.0.0.1", place.port, limit=len(part))
        writer.write(b"GET /app HTTP/1.1\r\nConnection: close\r\n\r\n")
        before = -1
        while sent != before:  # what the kernel and this end's reader take in
            before = sent
            for _ in range(200):
                await asyncio.sleep(0)
            await asyncio.sleep(0.01)
        assert sent < count
        assert len(Reply(await reader.read()).body) == count * len(part)
        writer.close()


# Ends, good and bad.


@on_every_loop
async def test_an_application_that_fails_is_a_500(caplog: pytest.LogCaptureFixture) -> None:
    async def fails(scope: Message, receive: Receive, send: Send) -> None:
        raise ValueError("no such luck")

    async def silent(scope: Message, receive: Receive, send: Send) -> None:
        pass

    async def out_of_order(scope: Message, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.body", "body": b"early"})

    for application in (fails, silent, out_of_order, whole(200, b"one", content_length="9")):
        async with site(application) as place:
            assert (await place.ask("/app")).status == 500
    assert "no such luck" in caplog.text
    assert "gave no answer" in caplog.text


@on_every_loop
async def test_an_application_that_fails_half_way_has_its_connection_cut(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def application(scope: Message, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"half", "more_body": True})
        raise ValueError("no such luck")

    async with site(application) as place:
        try:
            answer = await place.send(b"GET /app HTTP/1.1\r\n\r\n")
        except ConnectionResetError:
            return
        assert not answer.endswith(b"0\r\n\r\n"), "it must not look whole"
    assert "no such luck" in caplog.text


@on_every_loop
async def test_an_application_that_returns_without_an_end_has_its_connection_cut() -> None:
    async def application(scope: Message, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"half", "more_body": True})

    async with site(application) as place:
        try:
            answer = await place.send(b"GET /app HTTP/1.1\r\n\r\n")
        except ConnectionResetError:
            return
        assert not answer.endswith(b"0\r\n\r\n")


@on_every_loop
async def test_a_client_that_leaves_ends_a_stream() -> None:
    ended: list[str] = []

    async def application(scope: Message, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        try:
            while True:
                await send({"type": "http.response.body", "body": b"tick", "more_body": True})
                await asyncio.sleep(0.01)
        except asyncio.CancelledError:
            ended.append("cancelled")
            raise

    async with site(application) as place:
        reader, writer = await asyncio.open_connection("127.0.0.1", place.port)
        writer.write(b"GET /app HTTP/1.1\r\nHost: x\r\n\r\n")
        await reader.readuntil(b"tick")
        writer.transport.abort()
        async with asyncio.timeout(5):
            while "cancelled" not in ended:
                await asyncio.sleep(0.01)


@on_every_loop
async def test_a_client_that_leaves_does_not_tear_a_change_in_half() -> None:
    done: list[str] = []
    begun = asyncio.Event()

    async def application(scope: Message, receive: Receive, send: Send) -> None:
        begun.set()
        await asyncio.sleep(0.05)
        done.append("changed")
        await whole()(scope, receive, send)

    async with site(application) as place:
        _, writer = await asyncio.open_connection("127.0.0.1", place.port)
        writer.write(b"POST /app HTTP/1.1\r\nHost: x\r\n\r\n")
        await begun.wait()
        writer.transport.abort()
        async with asyncio.timeout(5):
            while not done:
                await asyncio.sleep(0.01)


@on_every_loop
async def test_closing_delivers_a_stream_that_ends_in_time_and_cuts_one_that_does_not() -> None:
    manager = CommandManager()
    pages = AsgiPages(pieces(*[b"x"] * 5, pause=0.02), ("/app",))
    server = Server(manager, pages=lambda: pages)
    channel = await server.listen("http://127.0.0.1:0")
    reader, writer = await asyncio.open_connection("127.0.0.1", channel.endpoint.port)
    writer.write(b"GET /app HTTP/1.1\r\nHost: x\r\n\r\n")
    await reader.readuntil(b"x")
    await server.close()
    assert (await reader.read()).endswith(b"0\r\n\r\n")
    writer.close()

    pages = AsgiPages(pieces(b"x", b"y", pause=60.0), ("/app",))
    server = Server(manager, pages=lambda: pages)
    channel = await server.listen("http://127.0.0.1:0")
    reader, writer = await asyncio.open_connection("127.0.0.1", channel.endpoint.port)
    writer.write(b"GET /app HTTP/1.1\r\nHost: x\r\n\r\n")
    await reader.readuntil(b"x")
    await server.close(0.05)
    try:
        assert not (await reader.read()).endswith(b"0\r\n\r\n")
    except ConnectionResetError:
        pass
    writer.close()


@on_every_loop
async def test_a_client_that_does_not_read_a_stream_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_carrier, "WRITE_TIMEOUT", 0.2)
    part = bytes(1024 * 1024)

    async with site(pieces(*[part] * 40)) as place:
        reader, writer = await asyncio.open_connection("127.0.0.1", place.port, limit=1024)
        writer.write(b"GET /app HTTP/1.1\r\nHost: x\r\n\r\n")
        await asyncio.sleep(1.0)
        read = 0
        try:
            while data := await reader.read(64 * 1024):
                read += len(data)
        except ConnectionResetError:
            pass
        assert read < 40 * len(part)
        writer.close()


@on_every_loop
async def test_an_application_that_does_not_end_is_left_behind_and_told_of(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(asgi, "_CANCEL_TIMEOUT", 0.05)
    enough = asyncio.Event()

    async def application(scope: Message, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        while not enough.is_set():
            try:
                await send({"type": "http.response.body", "body": b"tick", "more_body": True})
                await asyncio.sleep(0.01)
            except asyncio.CancelledError:
                await enough.wait()

    async with site(application) as place:
        reader, writer = await asyncio.open_connection("127.0.0.1", place.port)
        writer.write(b"GET /app HTTP/1.1\r\nHost: x\r\n\r\n")
        await reader.readuntil(b"tick")
        writer.transport.abort()
        async with asyncio.timeout(5):
            while "does not end though it was cancelled" not in caplog.text:
                await asyncio.sleep(0.01)
        enough.set()
        await asyncio.sleep(0.01)


# Starlette, which it is there for.


@on_every_loop
async def test_starlette_is_at_home_here() -> None:
    async def echo(request: Request) -> JSONResponse:
        return JSONResponse({"name": request.path_params["name"], "body": (await request.body()).decode()})

    async def count(request: Request) -> StreamingResponse:
        async def numbers() -> AsyncIterator[str]:
            for number in range(5):
                yield f"{number} "

        return StreamingResponse(numbers(), media_type="text/plain")

    application = Starlette(
        routes=[Route("/app/echo/{name}", echo, methods=["POST"]), Route("/app/count", count)]
    )

    async with site(application) as place:
        reply = await place.ask("/app/echo/one%20two", method="POST", body=b"text")
        assert reply.body == b'{"name":"one two","body":"text"}'
        assert (await place.ask("/app/count")).body == b"0 1 2 3 4 "
        assert (await place.ask("/app/echo/x")).status == 405
        assert (await place.ask("/app/nothing")).status == 404


@settings(max_examples=60, deadline=None)
@given(parts=st.lists(st.binary(max_size=200), max_size=8), known=st.booleans(), old=st.booleans())
@on_every_loop
async def test_whatever_an_application_sends_arrives(parts: list[bytes], known: bool, old: bool) -> None:
    body = b"".join(parts)

    async with site(pieces(*parts, length=len(body) if known else None)) as place:
        version = "1.0" if old else "1.1"
        answer = await place.send(f"GET /app HTTP/{version}\r\nConnection: close\r\n\r\n".encode())
        if old:
            assert answer.partition(b"\r\n\r\n")[2] == body
        else:
            reply = Reply(answer)
            assert reply.complete
            assert reply.body == body
