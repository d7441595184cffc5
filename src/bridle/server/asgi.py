"""An ASGI application behind an HTTP channel: what is there besides the commands.

An application has the paths that it was mounted for; every other request is a command, as before. A request
comes to it once it is whole, and only from who may command. Its answer goes out in one piece where it is one;
otherwise it is streamed, each piece when the client has room for it: an application that awaits its ``send``
holds no more than the piece that it is sending.

``scope["extensions"]["bridle"]["peer"]`` is the :class:`~bridle.core.messages.Peer`: its address, the names
in its certificate, its user. There is no lifespan: what an application needs from its start to its end
belongs into the daemon's. Its answer counts as given when it returns, so that nothing of it is left behind.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterable, Mapping, MutableMapping
from typing import Any, TypeAlias, cast
from urllib.parse import unquote_to_bytes

from bridle.core.messages import Peer
from bridle.wire.http import HttpRequest, HttpResponse, HttpStream, stock

__all__ = ["Application", "AsgiPages", "peer_of", "request_id_of"]

_log = logging.getLogger("bridle.server")

_Message: TypeAlias = MutableMapping[str, Any]
Application: TypeAlias = Callable[
    [_Message, Callable[[], Awaitable[_Message]], Callable[[_Message], Awaitable[None]]], Awaitable[None]
]
"""An ASGI 3 application."""

# Seconds that an application gets to notice that its client is gone.
_CANCEL_TIMEOUT = 1.0
# What an answer has from its connection.
_OWN_HEADERS = frozenset({b"connection", b"content-length", b"content-type", b"date", b"transfer-encoding"})


class AsgiPages:
    """An application, and the paths that are its own: each of ``paths``, and what lies below it."""

    def __init__(self, application: Application, paths: Collection[str]) -> None:
        self._application = application
        self._paths = tuple(paths)

    def serves(self, target: str) -> bool:
        """Whether a request for this target is the application's."""
        path = target.partition("?")[0]
        return any(path == own or path.startswith(f"{own}/") for own in self._paths)

    async def answer(self, request: HttpRequest, peer: Peer) -> HttpResponse | HttpStream:
        """Have the application answer a request. What it raises is raised."""
        try:
            scope = _scope_of(request, peer)
        except UnicodeError:
            return stock(400)
        exchange = _Exchange(request.body)
        task = asyncio.ensure_future(self._application(scope, exchange.receive, exchange.send))
        task.add_done_callback(exchange.finish)
        try:
            await exchange.settled
            if not exchange.whole:
                return exchange.stream(task)
            if not task.done():
                await asyncio.wait([task])
            return exchange.response(request)
        except BaseException:
            task.cancel()
            raise


def peer_of(scope: Mapping[str, Any]) -> Peer:
    """Who asks, from an application's scope."""
    return cast(Peer, scope["extensions"]["bridle"]["peer"])


def request_id_of(scope: Mapping[str, Any]) -> str:
    """The name of the request in logs, from an application's scope."""
    return cast(str, scope["extensions"]["bridle"]["request_id"])


def _scope_of(request: HttpRequest, peer: Peer) -> _Message:
    path, _, query = request.target.partition("?")
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.4"},
        "http_version": request.version,
        "method": request.method,
        "scheme": "https" if peer.transport == "https" else "http",
        "path": unquote_to_bytes(path).decode("utf-8"),
        "raw_path": path.encode("latin-1"),
        "query_string": query.encode("latin-1"),
        "root_path": "",
        "headers": [
            (name.encode("latin-1"), value.encode("latin-1")) for name, value in request.headers.items()
        ],
        "client": (peer.address, 0),
        "server": None,
        "state": {},
        "extensions": {"bridle": {"peer": peer, "request_id": request.id}},
    }


class _Exchange:
    """One request with an application, and its answer.

    ``settled`` is done once it is known whether the answer is ``whole`` or comes in pieces.
    """

    def __init__(self, body: bytes) -> None:
        self._body: bytes | None = body
        self._loop = asyncio.get_running_loop()
        self.settled: asyncio.Future[None] = self._loop.create_future()
        self.whole: bool = False
        self._status = 0
        self._headers: list[tuple[bytes, bytes]] = []
        self._piece: bytes | None = None
        self._complete = False
        self._moved: asyncio.Future[None] | None = None  # a piece has come, or was taken
        self._gone: asyncio.Future[None] = self._loop.create_future()

    # The application's side.

    async def receive(self) -> _Message:
        """The request, once; then the end of the connection."""
        if self._body is None:
            await asyncio.shield(self._gone)
            return {"type": "http.disconnect"}
        body, self._body = self._body, None
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(self, message: _Message) -> None:
        """Take a part of the answer; come back once there is room for another."""
        kind = message["type"]
        if kind == "http.response.start" and not self._status:
            self._status = int(message["status"])
            headers = message.get("headers", ())
            self._headers = [(bytes(name).lower(), bytes(value)) for name, value in headers]
        elif kind == "http.response.body" and self._status and not self._complete:
            await self._take(bytes(message.get("body", b"")), more=bool(message.get("more_body", False)))
        else:
            raise RuntimeError(f"'{kind}' is not what an answer goes on with")

    async def _take(self, piece: bytes, *, more: bool) -> None:
        self._complete = not more
        if not self.settled.done():
            self.whole = self._complete
            self._piece = piece
            self.settled.set_result(None)
        else:
            self._piece = piece
            self._move()
        if self.whole:
            return
        while self._piece is not None:
            await self._motion()

    def finish(self, task: asyncio.Future[None]) -> None:
        """The application has returned."""
        failure = None if task.cancelled() else task.exception()
        if self.settled.done():
            if failure is not None and self.whole:
                _log.error("an application failed behind its answer", exc_info=failure)
            self._move()
        elif failure is not None:
            self.settled.set_exception(failure)
        else:
            self.settled.set_exception(RuntimeError("the application gave no answer"))

    # The connection's side.

    def response(self, request: HttpRequest) -> HttpResponse | HttpStream:
        """The answer in one piece."""
        body = self._piece or b""
        length = self._length()
        content_type, headers = self._fields()
        if length in (None, len(body)):
            return HttpResponse(self._status, body, headers, content_type)
        if request.method != "HEAD":
            raise RuntimeError(f"the application's answer has {len(body)} bytes, and says {length}")
        return HttpStream(self._status, _Nothing(), length, headers, content_type)

    def stream(self, task: asyncio.Future[None]) -> HttpStream:
        """The answer as it comes."""
        content_type, headers = self._fields()
        return HttpStream(self._status, _Pieces(self, task), self._length(), headers, content_type)

    async def next(self, task: asyncio.Future[None]) -> bytes:
        """The next piece.

        Raises:
            StopAsyncIteration: there is none.
            RuntimeError: the application has returned in the middle; or whatever it has raised.
        """
        while self._piece is None and not task.done():
            await self._motion()
        piece, self._piece = self._piece, None
        if piece is None:
            task.result()
            if not self._complete:
                raise RuntimeError("the application's answer has no end")
            raise StopAsyncIteration
        self._move()
        return piece

    def leave(self) -> None:
        """The client is gone, or has all that it wants."""
        if not self._gone.done():
            self._gone.set_result(None)

    def _length(self) -> int | None:
        length = dict(self._headers).get(b"content-length")
        return None if length is None else int(length)

    def _fields(self) -> tuple[str, tuple[tuple[str, str], ...]]:
        content_type = dict(self._headers).get(b"content-type", b"").decode("latin-1")
        return content_type, tuple(_text(field) for field in _foreign(self._headers))

    # Between the two.

    def _move(self) -> None:
        if self._moved is not None and not self._moved.done():
            self._moved.set_result(None)

    async def _motion(self) -> None:
        if self._moved is None or self._moved.done():
            self._moved = self._loop.create_future()
        await asyncio.shield(self._moved)


def _foreign(headers: Iterable[tuple[bytes, bytes]]) -> Iterable[tuple[bytes, bytes]]:
    return (field for field in headers if field[0] not in _OWN_HEADERS)


def _text(field: tuple[bytes, bytes]) -> tuple[str, str]:
    # Names are written as Kea's headers are, each word capitalised.
    return field[0].decode("latin-1").title(), field[1].decode("latin-1")


class _Pieces:
    """An answer as it comes. Closing it ends the application, whether or not anything was taken of it."""

    def __init__(self, exchange: _Exchange, task: asyncio.Future[None]) -> None:
        self._exchange = exchange
        self._task = task

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        return await self._exchange.next(self._task)

    async def aclose(self) -> None:
        self._exchange.leave()
        if self._task.cancel():
            await _end(self._task)


class _Nothing:
    """The body of an answer to HEAD."""

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        raise StopAsyncIteration

    async def aclose(self) -> None:
        pass


async def _end(task: asyncio.Future[None]) -> None:
    """Wait for an application that was cancelled."""
    _, left = await asyncio.wait([task], timeout=_CANCEL_TIMEOUT)
    if left:
        _log.error("an application does not end though it was cancelled")
