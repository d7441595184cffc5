"""One HTTP connection, server side: bytes from a transport to :mod:`bridle.wire.http`, answers back in order.

Plain handlers are answered inline and their answers written once per read. An awaitable is awaited in one
task, which then goes on with what waits behind it. An answer may be a stream: then the next piece is asked
for when the client has room for it, so that no more is held of it than two pieces and what the transport
buffers (64 KiB); a client that leaves ends the stream. One timer per connection bounds every wait for the
client: for a request to come to its end, for the next one, for an answer to be taken in. While a handler
works, no time runs: its deadlines are its own.
"""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import logging
import socket
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Protocol, TypeAlias, cast

from bridle.core.errors import LocalProtocolError
from bridle.core.messages import Peer
from bridle.net.shares import FREE_BYTES, Share
from bridle.net.stream import SILENCE
from bridle.net.timed import TimedConnection, count_unsent
from bridle.wire.http import HttpRequest, HttpResponse, HttpServerConnection, HttpStream, stock

__all__ = [
    "AHEAD_LIMIT",
    "IDLE_TIMEOUT",
    "LINGER",
    "REQUEST_TIMEOUT",
    "TURN",
    "WRITE_BATCH",
    "WRITE_TIMEOUT",
    "HttpCarrier",
    "HttpHandler",
]

# Seconds without a byte in which a request must come to its end, from the connection on: Kea's default.
REQUEST_TIMEOUT = 10.0
# Seconds from an answer to the next request, after which the connection ends in silence: Kea's default.
IDLE_TIMEOUT = 30.0
# Seconds in which a client must take in some of what it asked for; as long as it may be silent itself.
WRITE_TIMEOUT = 10.0
# Seconds that a client which still sends gets to read its answer. A close with bytes unread resets the
# connection, and takes the answer away with it.
LINGER = 2.0
# Requests of one connection that are read and answered before others have their turn: whoever sends many at
# once is served as fast when nobody else is there, and keeps nobody waiting for long.
TURN = 4
# Bytes that may wait behind what is worked on, or for their turn, before the connection is read no further.
AHEAD_LIMIT = 64 * 1024
# Bytes of answers that are collected before they are written: the mark at which transports report that the
# client does not read, so that no more than twice that is held for one that does not.
WRITE_BATCH = 64 * 1024

HttpHandler: TypeAlias = Callable[[HttpRequest, Peer], HttpResponse | Awaitable[HttpResponse | HttpStream]]
"""Answers a request: at once, or with an awaitable that is then awaited in the connection's task."""

_Message: TypeAlias = HttpRequest | HttpResponse
_Answer: TypeAlias = Awaitable[HttpResponse | HttpStream]
_Late: TypeAlias = tuple[HttpRequest, _Answer]

_log = logging.getLogger("bridle.http")


class Host(Protocol):
    """What a connection needs of its listener."""

    loop: asyncio.AbstractEventLoop
    handler: HttpHandler
    body_limit: int
    fixed: bytes
    identify: Callable[[], str] | None
    requests: Share[HttpCarrier]
    answers: Share[HttpCarrier]

    def peer_of(self, transport: asyncio.BaseTransport) -> Peer:
        """Who is at the other end."""
        ...

    def admit(self, carrier: HttpCarrier) -> bool:
        """Take up a connection; False when there are too many."""
        ...

    def forget(self, carrier: HttpCarrier) -> None:
        """Take note that a connection is gone."""
        ...

    def enter(self, peer: Peer) -> Callable[[], None] | None:
        """Count a connection of a peer; what is to be called when it has ended, None: it has too many."""
        ...

    def watch(self, task: asyncio.Task[None]) -> None:
        """Remember a connection's task until it is done."""
        ...

    def date(self) -> bytes:
        """The current time as HTTP writes it."""
        ...


class HttpCarrier(TimedConnection):
    """One client's connection."""

    peer: Peer
    _transport: asyncio.Transport

    def __init__(self, host: Host) -> None:
        self._host = host
        super().__init__(host.loop)
        self._handler = host.handler
        self._http = HttpServerConnection(
            host.body_limit, turn=TURN, fixed=host.fixed, identify=host.identify
        )
        self._waiting: deque[_Message] = deque()
        self._written: list[bytes] = []
        self._size = 0
        self._task: asyncio.Task[None] | None = None
        self._untouched: _Answer | None = None  # given to a task that has not begun
        self._unsent = 0
        self._room: asyncio.Future[None] | None = None  # waited for by a stream
        self._working = 0  # bytes of the request that is worked on
        self._counted = False  # the listener was told that something is held
        self._answered = False
        self._paused = False  # nothing is read
        self._deferred = False  # others have their turn
        self._blocked = False  # the client does not read
        self._half_closed = False
        self._ending = False
        self._lingering = False
        self._left: Callable[[], None] | None = None  # to be told when the connection has ended

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin, or say at once that there are too many."""
        self._transport = cast(asyncio.Transport, transport)
        if self._host.admit(self):
            self.peer = self._host.peer_of(transport)
            self._left = self._host.enter(self.peer)
            if self._left is None:
                self._write(self._http.reject(429, self._host.date()))
                self._end(linger=True)
                return
            if self._transport.get_extra_info("sslcontext") is not None:
                self._transport.set_write_buffer_limits(high=WRITE_BATCH)
            self._touch(REQUEST_TIMEOUT)
        else:
            self._write(self._http.reject(503, self._host.date()))
            self._end(linger=True)

    def connection_lost(self, exc: Exception | None) -> None:
        """End. What works on an answer goes on, and its answer is dropped: a change of a configuration is
        not torn in half because a client left."""
        self._ending = True
        self._waiting.clear()
        self._stop_counting()
        if self._http.streaming and self._task is not None:
            self._task.cancel()
        self._host.forget(self)
        if self._left is not None:
            left, self._left = self._left, None
            left()

    def data_received(self, data: bytes) -> None:
        """Take bytes, and answer what they complete."""
        if self._ending:
            return
        http = self._http
        if self._free:
            messages = http.receive(data)
            if messages:
                self._waiting.extend(messages)
            elif not http.begun:
                return
            self._work()
        else:
            http.keep(data)
            self._throttle()
        if self._counted or self._task is not None or len(data) > FREE_BYTES or http.held > FREE_BYTES:
            self._account()

    @property
    def _free(self) -> bool:
        """True when nothing is worked on, and what comes can be answered."""
        return self._task is None and not (self._blocked or self._deferred)

    def _account(self) -> None:
        """Tell the listener how much is held here; where it is too much for all, read no more for now."""
        held = 0 if self._ending else self._http.held + self._held() + self._working
        self._counted = held > FREE_BYTES
        if not self._host.requests.hold(self, held) and self._task is not None:
            self._pause()

    def eof_received(self) -> bool:
        """The client sends no more; what it has asked is still answered, where the transport can."""
        if self._ending:
            return False
        self._half_closed = True
        self._waiting.extend(self._http.receive_eof())
        if self._free:
            self._work()
        kept = self._transport.can_write_eof()
        while self._deferred and not kept:
            self._take_turn()  # TLS ends here: nothing can be answered later
        return kept and not self._transport.is_closing()

    def pause_writing(self) -> None:
        """The client does not read: neither is it read."""
        self._blocked = True
        self._unsent = count_unsent(self._transport)
        self._host.answers.hold(self, self._transport.get_write_buffer_size())
        self._touch(WRITE_TIMEOUT)
        self._throttle()

    def resume_writing(self) -> None:
        """The client reads again."""
        self._blocked = False
        self._host.answers.release(self)
        if self._room is not None and not self._room.done():
            self._room.set_result(None)
        if not self._ending:
            self._touch(None)
            # Not at once: asyncio's transports report a loss twice when they are closed from in here.
            self._loop.call_soon(self._resume)

    def _resume(self) -> None:
        if self._free and not self._ending:
            self._waiting.extend(self._http.receive(b""))
            self._work()

    def _take_turn(self) -> None:
        self._deferred = False
        self._resume()

    def _work(self) -> None:
        """Answer what waits, until something has to be waited for."""
        late = self._advance()
        if late is not None:
            self._touch(None)
            self._task = self._loop.create_task(self._await(late))
            self._untouched = late[1]
            self._working = len(late[0].body)
            self._host.watch(self._task)
        if late is not None or not self._http.ahead:
            self._flush()
        if late is None:
            self._rest()

    def _advance(self) -> _Late | None:
        """Answer what can be answered at once; the first request whose answer has to be awaited."""
        waiting, http = self._waiting, self._http
        while waiting and not self._blocked and not http.closing:
            message = waiting.popleft()
            if type(message) is not HttpRequest:
                self._refuse(cast(HttpResponse, message))
                continue
            try:
                answer = self._handler(message, self.peer)
            except (Exception, asyncio.CancelledError):
                answer = self._failed(message)
            if type(answer) is not HttpResponse:
                return message, cast("_Answer", answer)
            self._put(message, answer)
        return None

    async def _await(self, late: _Late | None) -> None:
        self._untouched = None
        while late is not None:
            request, answer = late
            if self._written:
                self._loop.call_soon(self._flush)  # what was answered before must not wait for this
            try:
                response = await answer
            except asyncio.CancelledError:
                task = asyncio.current_task()
                if task is not None and task.cancelling():
                    raise
                response = self._failed(request)  # not this task is, but what the handler waited for
            except Exception:
                response = self._failed(request)
            if isinstance(response, HttpStream):
                await self._stream(request, response)
            else:
                self._put(request, response)
            late = self._advance()
            self._working = len(late[0].body) if late is not None else 0
        self._task = None
        self._flush()
        self._rest()

    async def _stream(self, request: HttpRequest, stream: HttpStream) -> None:
        """Send an answer piece by piece. What fails half way is cut, so that nobody takes it for whole."""
        self._flush()
        try:
            if not self._ending and self._begin(request, stream):
                async for piece in stream.pieces:
                    self._write(self._http.write(piece))
                    await self._wait_for_room()
                self._write(self._http.end())
        except (Exception, asyncio.CancelledError):
            self._ending = True
            self._waiting.clear()
            self._cut()
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                raise
            _log.exception("%s: the answer to %s is cut", self.peer.address, request.target)
        finally:
            await stream.pieces.aclose()

    def _begin(self, request: HttpRequest, stream: HttpStream) -> bool:
        """Send the head of a stream; True when a body has to follow."""
        try:
            head = self._http.begin(request, stream, self._host.date())
        except LocalProtocolError:
            self._put(request, self._failed(request))
            return False
        self._write(head)
        self._answered = True
        return self._http.streaming

    async def _wait_for_room(self) -> None:
        """Wait while the client does not read; others are served meanwhile in any case."""
        if self._blocked and not self._ending:
            self._room = self._loop.create_future()
            await self._room
        else:
            await asyncio.sleep(0)

    def _failed(self, request: HttpRequest) -> HttpResponse:
        _log.exception("%s: the handler of %s %s failed", self.peer.address, request.method, request.target)
        return stock(500)

    def _refuse(self, refusal: HttpResponse) -> None:
        _log.info("%s: refused with %d: %s", self.peer.address, refusal.status, self._http.fault)
        self._put(None, refusal)

    def _put(self, request: HttpRequest | None, response: HttpResponse) -> None:
        date = self._host.date()
        try:
            data = self._http.respond(request, response, date)
        except Exception:
            _log.exception("%s: the answer cannot be written", self.peer.address)
            data = self._http.respond(request, stock(500), date)
        self._answered = True
        self._written.append(data)
        self._size += len(data)
        if self._size >= WRITE_BATCH:
            self._flush()

    def _flush(self) -> None:
        if self._written:
            data = b"".join(self._written)
            self._written.clear()
            self._size = 0
            self._write(data)

    def _write(self, data: bytes) -> None:
        # uvloop raises where asyncio warns.
        if not self._transport.is_closing():
            self._transport.write(data)
            if self._blocked:
                self._host.answers.hold(self, self._transport.get_write_buffer_size())

    def _rest(self) -> None:
        """Nothing is being worked on: end, or wait for more."""
        if self._blocked or self._ending:
            return
        http = self._http
        if http.closing:
            self._end(linger=http.trailing or bool(self._waiting))
            return
        if http.ahead:
            self._touch(None)
            self._deferred = True
            self._loop.call_soon(self._take_turn)
            self._throttle()
            return
        if self._paused and not self._transport.is_closing():
            self._paused = False
            self._transport.resume_reading()
        if self._counted:
            self._account()
        if http.begun:
            if invitation := http.invite():
                self._write(invitation)
            self._touch(REQUEST_TIMEOUT)
        else:
            self._touch(IDLE_TIMEOUT)

    def _throttle(self) -> None:
        if self._paused or self._transport.is_closing():
            return
        if self._blocked or self._http.ahead > AHEAD_LIMIT:
            self._pause()

    def _pause(self) -> None:
        if not (self._paused or self._transport.is_closing()):
            self._paused = True
            self._transport.pause_reading()

    def _held(self) -> int:
        return sum(len(message.body) for message in self._waiting)

    def _expired(self) -> None:
        if self._ending or self._blocked:
            self._unread()
        elif self._answered and self._http.idle:
            self._end()
        else:
            self._write(self._http.expire(self._host.date()))
            self._end(linger=True)

    def _unread(self) -> None:
        """Cut a client that takes nothing in; one that took some has as long again."""
        unsent, before = count_unsent(self._transport), self._unsent
        self._unsent = unsent
        if self._blocked:
            self._host.answers.hold(self, self._transport.get_write_buffer_size())
        if 0 < unsent < before:
            self._touch(WRITE_TIMEOUT)
        elif self._lingering and not unsent:
            self._lingering = False
            self._transport.close()
            self._touch(WRITE_TIMEOUT)
        else:
            self._cut()

    def _cut(self) -> None:
        # A TLS transport that was closed twice has forgotten whom to abort (Python 3.11.2).
        with contextlib.suppress(AttributeError):
            self._transport.abort()

    def _end(self, *, linger: bool = False) -> None:
        """Close so that the client gets all that was written, and meets an end rather than a reset."""
        self._ending = True
        self._waiting.clear()
        if self._transport.is_closing():
            return
        self._unsent = count_unsent(self._transport)
        if not linger or self._half_closed:
            self._transport.close()
            self._touch(WRITE_TIMEOUT)
            return
        self._lingering = True
        if self._transport.can_write_eof():
            self._transport.write_eof()
        if self._paused:
            self._paused = False
            self._transport.resume_reading()
        self._touch(LINGER)

    def expendable(self, now: float, *, served: bool) -> bool:
        """True when nothing is worked on here, and who is here has been silent: one that has not been
        answered yet, or one that was (``served``) some time ago."""
        if self._task is not None or self._ending or self._answered != served:
            return False
        if not served:
            return not self._blocked
        timeout = WRITE_TIMEOUT if self._blocked else REQUEST_TIMEOUT if self._http.begun else IDLE_TIMEOUT
        return self._deadline - now <= timeout - SILENCE

    def give_way(self) -> bool:
        """End, answered 503 where something was asked, and hold nothing any more; False: something is being
        worked on."""
        if self._task is not None or self._ending:
            return False
        if self._blocked:
            return self.stop_waiting()
        self._waiting.clear()
        if self._answered and self._http.idle:
            self._end()
        else:
            self._write(self._http.abandon(503, self._host.date()))
            self._end(linger=True)
        return True

    def stop_waiting(self) -> bool:
        """Drop the answers that the client does not take in."""
        self._loop.call_soon(self.abort)
        return True

    @property
    def socket(self) -> socket.socket | None:
        """The socket, for those who ask the kernel about it; None when it is closed."""
        found: socket.socket | None = self._transport.get_extra_info("socket")
        return found

    def retire(self) -> None:
        """End with the next answer that leaves nothing under way."""
        self._http.finish()

    def drain(self) -> None:
        """End as soon as nothing is under way."""
        self._http.finish()
        if self._http.idle and not self._ending:
            self._end()

    def abort(self) -> None:
        """End now; what has not begun to work on an answer never will."""
        self._cut()
        if inspect.iscoroutine(self._untouched):
            self._untouched.close()
