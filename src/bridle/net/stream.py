"""Stream connections, server side: bytes from the transport to a dialect, answers back in order.

One connection is one protocol object with one timer. Answers of plain handlers are collected and written
once per read, or once per turn where much was read at once; a coroutine handler's answer is awaited in one
task for the connection, which then goes on with what is queued behind it. What a handler does not get to
answer before its peer is gone is finished all the same and dropped: a configuration change is not torn in
half because a client left. What has not begun by then never does.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
import socket
from collections import deque
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, cast

from bridle.core.messages import LOCAL, Command, Peer, Response
from bridle.net.acceptor import Acceptor, Connection, Opening
from bridle.net.answers import CANCELLED, Execute, answer_of, response_of, unwritable
from bridle.net.credentials import learn_groups
from bridle.net.shares import ANSWER_BYTES, FREE_BYTES, REQUEST_BYTES, Share, affordable
from bridle.net.timed import GRACE, TimedConnection, count_unsent
from bridle.wire.dialect import Dialect, Message, Refusal, ServerDialect

if TYPE_CHECKING:
    import ssl

    from bridle.net.secure import SecureAcceptor

__all__ = [
    "CONNECTION_LIMIT",
    "LINGER",
    "QUEUE_BYTES",
    "QUEUE_LIMIT",
    "REFUSED_LIMIT",
    "SILENCE",
    "TURN",
    "WRITE_BATCH",
    "WRITE_TIMEOUT",
    "Door",
    "PeerOf",
    "SecureConnection",
    "StreamConnection",
    "StreamListener",
]

# Kea keeps no bound; a thousand idle control connections are a leak somewhere, and cost about 10 MB.
CONNECTION_LIMIT = 1024
# Connections beyond the limit that are given time to read that they are; the rest are told and closed at
# once.
REFUSED_LIMIT = 64
# Seconds of silence after which a connection that was answered before gives way to a new one, where there are
# too many. One that never asked for anything gives way at once.
SILENCE = 2.0
# Commands that may wait behind a slow one before the connection is read no further.
QUEUE_LIMIT = 128
# Bytes that may come behind a slow command before the connection is read no further; commands can be large.
QUEUE_BYTES = 1024 * 1024
# Commands of one connection that are answered before others have their turn: whoever sends thousands at once
# is served nearly as fast, and keeps nobody waiting for long.
TURN = 64
# Bytes of answers that are collected before they are written: the mark at which transports report that the
# client does not read, so that no more than that and one answer is held for one that does not.
WRITE_BATCH = 64 * 1024
# Seconds in which a client must take in some of what it asked for; Kea's own inactivity limit, which each
# piece that is sent begins anew (facts/kea.md §1.2).
WRITE_TIMEOUT = 10.0
# Seconds that a client which sent more than was read gets to see the end, so that it meets EOF, not a reset.
LINGER = 1.0

PeerOf = Callable[[asyncio.BaseTransport], Peer]
Door = Callable[[Peer], str | Callable[[], None]]
"""Lets a peer connect: gives what is to be called when the connection has ended, or the words that refuse
it."""

_log = logging.getLogger("bridle.net")
_numbers = itertools.count(1)


class StreamConnection(TimedConnection, Connection):
    """One client's connection."""

    _transport: asyncio.Transport
    _dialect: ServerDialect
    peer: Peer
    """Who is connected."""
    number: int
    """In the order in which clients came, whatever they came by."""

    # What most connections never change is the class's.
    _task: asyncio.Task[None] | None = None
    _held = 0  # bytes that came behind what is worked on
    _partial = 0  # bytes of what is worked on, or of what has not come whole
    _unsent = 0
    _served = False
    _rested = 0.0  # when nothing was left to do, where no time is counted then
    _blocked = False
    _deferred = False  # others have their turn
    _reading = True
    _half_closed = False
    _retiring = False
    _ending = False
    _left: Callable[[], None] | None = None  # to be told when the connection has ended

    def __init__(self, listener: StreamListener) -> None:
        self._listener: StreamListener = listener
        self._loop = listener.loop
        self.number = next(_numbers)
        self._queue: deque[Message] = deque()

    def begin(self, opening: asyncio.Transport) -> None:
        """A client was accepted; the transport is made later, if it is needed at all."""
        self._transport = opening
        listener = self._listener
        self.peer = peer = listener.peer_of(opening)
        self._dialect = listener.dialect.server(peer)
        if listener.door is not None:
            entered = listener.door(peer)
            if isinstance(entered, str):
                self._turn_away(entered)
                return
            self._left = entered
        if len(listener.connections) < listener.connection_limit or listener.make_room():
            listener.connections[self] = None
            return
        self._turn_away(listener.too_many)

    def _turn_away(self, text: str) -> None:
        self._transport.write(self._dialect.refuse(text))
        self._end(linger=self._listener.attend(self))

    def settle(self) -> None:
        """Nothing is done yet, or not all: count the time, unless something is being waited for already."""
        if not self._counting:
            self._touch(self._dialect.idle_timeout)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        opening, self._transport = self._transport, cast(asyncio.Transport, transport)
        if isinstance(opening, Opening):
            held, self._blocked = self._blocked, False
            opening.move_to(self._transport)
            self._unsent = count_unsent(self._transport)
            if not self._reading:
                self._loop.call_soon(self._stay_paused)
            if held:
                self._loop.call_soon(self._resume)
        if self._ending and self._timer is None:
            self._touch(WRITE_TIMEOUT)

    def connection_lost(self, exc: Exception | None) -> None:
        self._listener.forget(self)
        if self._left is not None:
            left, self._left = self._left, None
            left()
        self._ending = True
        if self._queue:
            self._queue.clear()
        self._stop_counting()

    def data_received(self, data: bytes) -> None:
        if self._ending:
            return
        messages = self._dialect.receive(data)
        self._queue.extend(messages)
        if self._idle:
            self._work()
            if not messages or self._partial or self._task is not None or len(data) > FREE_BYTES:
                self._count(len(data), whole=bool(messages))
            return
        self._held += len(data)
        if not self._account() or self._held > QUEUE_BYTES or len(self._queue) > QUEUE_LIMIT:
            self._stop_reading()

    @property
    def _idle(self) -> bool:
        """True when nothing is worked on, and the client reads."""
        return self._task is None and not (self._blocked or self._deferred)

    def _count(self, size: int, *, whole: bool) -> None:
        """Count what came for what the listener's connections hold together."""
        if whole and self._idle:
            self._partial = 0 if self._ending else size  # the rest of it may be of a next command
        else:
            self._partial += size
        if not self._account() and not self._idle:
            self._stop_reading()

    def _account(self) -> bool:
        """Tell the listener how much is held here; False: all of them hold too much."""
        return self._listener.requests.hold(self, 0 if self._ending else self._partial + self._held)

    def _stop_reading(self) -> None:
        if self._reading and not self._transport.is_closing():
            self._reading = False
            self._transport.pause_reading()

    def leave(self) -> bool:
        """The client has closed; True when nothing is left to do for it: no request, no answer."""
        if self._queue or self._task or self._blocked:
            return False
        self._queue.extend(self._dialect.receive_eof())
        return not self._queue

    def eof_received(self) -> bool:
        if self._ending:
            return False
        self._half_closed = True
        self._queue.extend(self._dialect.receive_eof())
        if self._idle:
            self._work()
        kept = self._transport.can_write_eof()
        while self._deferred and not kept:
            self._take_turn()  # TLS ends here: nothing can be answered later
        return kept and not self._ending

    def pause_writing(self) -> None:
        self._blocked = True
        self._count_unsent()
        self._touch(WRITE_TIMEOUT)

    def resume_writing(self) -> None:
        self._blocked = False
        self._listener.answers.release(self)
        if not self._ending:
            self._touch(None)
            # Not at once: asyncio's transports report a loss twice when they are closed from in here.
            self._loop.call_soon(self._resume)

    def _stay_paused(self) -> None:
        if not self._reading:
            self._transport.pause_reading()

    def _resume(self) -> None:
        if self._idle and not (self._ending or self._transport.is_closing()):
            self._work()

    def _take_turn(self) -> None:
        self._deferred = False
        self._resume()

    def _work(self) -> None:
        """Answer what is queued until something has to be waited for, or others have their turn."""
        # Every line here is run for every command: no calls but those that do the work.
        queue, size, turn = self._queue, 0, TURN
        execute, respond = self._listener.execute, self._dialect.respond
        written: list[bytes] = []
        while queue and not self._blocked:
            if size >= WRITE_BATCH:
                self._write(written)
                size = 0
                continue
            if turn == 0:
                self._defer()
                break
            turn -= 1
            message = queue.popleft()
            if isinstance(message, Refusal):
                written.append(message.data)
                continue
            try:
                outcome = execute(message)
            except asyncio.CancelledError:  # of what the handler wanted the result of
                outcome = CANCELLED
            if not isinstance(outcome, Response):
                self._task = self._loop.create_task(self._wait(message, outcome))
                self._listener.watch(self._task)
                self._touch(None)
                break
            try:
                data = respond(message, outcome)
            except Exception as error:
                data = unwritable(self._dialect, message, error)
            written.append(data)
            size += len(data)
        if written:
            self._transport.write(written[0] if len(written) == 1 else b"".join(written))
        if self._task is None and not self._deferred:
            self._rest()

    def _defer(self) -> None:
        """Let others have their turn: those whose transport has not been made yet, once it is."""
        if isinstance(self._transport, Opening):
            self._blocked = True
            return
        self._deferred = True
        self._touch(None)
        self._loop.call_soon(self._take_turn)

    def _write(self, written: list[bytes]) -> None:
        """Write a batch behind which more is waiting."""
        self._transport.write(b"".join(written))
        written.clear()
        if isinstance(self._transport, Opening):
            self._blocked = True  # it cannot tell whether the client reads

    def _rest(self) -> None:
        """Nothing is being worked on: end, or wait for more."""
        if self._blocked:
            return
        if self._dialect.closing or ((self._half_closed or self._retiring) and not self._queue):
            self._end()
        elif not self._ending:
            self._served = True
            if not self._reading:
                self._reading = True
                self._transport.resume_reading()
            if self._held:
                self._partial, self._held = self._held, 0
                self._account()
            timeout = self._dialect.idle_timeout
            self._touch(timeout)
            if timeout is None:
                self._rested = self._loop.time()

    async def _wait(self, command: Command, outcome: Awaitable[Response]) -> None:
        try:
            response = await response_of(outcome)
        except asyncio.CancelledError:
            self.abort()
            raise
        self._task = None
        self._partial = 0
        if not self._transport.is_closing():
            self._transport.write(answer_of(self._dialect, command, response))
            if self._blocked:
                self._count_unsent()
            self._work()
            self._account()

    def _expired(self) -> None:
        if self._ending or self._blocked:
            self._unread()
        else:
            self._transport.write(self._dialect.expire())
            self._end()

    def _unread(self) -> None:
        """Cut a client that takes nothing in; one that took some has as long again."""
        before = self._unsent
        if self._count_unsent() and self._unsent < before:
            self._touch(WRITE_TIMEOUT)
        else:
            self.abort()

    def _count_unsent(self) -> int:
        """Tell the listener how much is held here for the client to read; the number of bytes."""
        self._unsent = count_unsent(self._transport)
        held = self._size_held()
        self._listener.answers.hold(self, held)
        return held

    def _size_held(self) -> int:
        try:
            return self._transport.get_write_buffer_size()
        except AttributeError:
            return 0  # a TLS transport that is closed knows nothing any more

    def expendable(self, now: float, *, served: bool) -> bool:
        """True when nothing is worked on here, and who is here has been silent: one that has not been
        answered yet, or one that was (``served``) some time ago."""
        if self._task is not None or self._deferred or self._ending or self._served != served:
            return False
        if not served:
            return not self._blocked
        timeout = WRITE_TIMEOUT if self._blocked else self._dialect.idle_timeout
        silence = now - self._rested if timeout is None else timeout - (self._deadline - now)
        return silence >= SILENCE

    def give_way(self, text: str, *, linger: bool = True) -> bool:
        """End with the words ``text``, and hold nothing any more; False: something is being worked on."""
        if self._task is not None or self._ending:
            return False
        if self._blocked:
            self._loop.call_soon(self.abort)
            return True
        refusal = self._dialect.refuse(text)
        self._dialect = self._listener.dialect.server(LOCAL)  # what has come so far goes with the old one
        self._queue.clear()
        if not self._transport.is_closing():
            self._transport.write(refusal)
        self._end(linger=linger)
        return True

    def stop_waiting(self) -> bool:
        """Drop the answers that the client does not take in."""
        self._loop.call_soon(self.abort)
        return True

    def _end(self, *, linger: bool = False) -> None:
        """Close so that the client gets all that was written, and sees an end rather than a reset."""
        self._ending = True
        linger = (linger or self._dialect.trailing) and not self._half_closed
        if linger and self._transport.can_write_eof():
            self._transport.write_eof()
            if not self._reading:
                self._transport.resume_reading()
        else:
            linger = False  # TLS reads up to the end by itself
            self._transport.close()
        held = self._size_held()
        if held or linger:
            self._unsent = count_unsent(self._transport)
            self._touch(WRITE_TIMEOUT if held else LINGER)

    @property
    def socket(self) -> socket.socket | None:
        """The socket, for those who ask the kernel about it; None when it is closed."""
        found: socket.socket | None = self._transport.get_extra_info("socket")
        return found

    def retire(self) -> None:
        """End as soon as nothing is left to answer."""
        if self._task is None and not self._queue and not self._blocked:
            self._end()
        else:
            self._retiring = True

    def abort(self) -> None:
        """End now."""
        # A TLS transport that was closed twice has forgotten whom to abort (Python 3.11.2).
        with contextlib.suppress(AttributeError):
            self._transport.abort()


class SecureConnection(StreamConnection):
    """One client's connection over TLS: it begins when both sides have shaken hands."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        secure = cast(asyncio.Transport, transport)
        secure.set_write_buffer_limits(high=WRITE_BATCH)
        self.begin(secure)
        self.settle()


class StreamListener:
    """A listening stream socket and the connections that came in by it."""

    def __init__(
        self,
        dialect: Dialect,
        execute: Execute,
        peer_of: PeerOf,
        *,
        connection_limit: int = CONNECTION_LIMIT,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        """With ``tls``, connections begin with a handshake by it; another may take its place at any time."""
        self.dialect = dialect
        self.execute = execute
        self.peer_of = peer_of
        self.connection_limit: int = affordable(connection_limit) if connection_limit else 0
        self.tls: ssl.SSLContext | None = tls
        self.requests: Share[StreamConnection] = Share(REQUEST_BYTES, self._refuse)
        self.answers: Share[StreamConnection] = Share(ANSWER_BYTES, StreamConnection.stop_waiting)
        self.door: Door | None = None
        # In the order in which they came.
        self.connections: dict[StreamConnection, None] = {}
        self._refused: set[StreamConnection] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._quiet = asyncio.Event()
        self._closing = False
        self.loop: asyncio.AbstractEventLoop = asyncio.get_running_loop()
        self._acceptor: Acceptor | SecureAcceptor | None = None
        self._secure: SecureAcceptor | None = None

    def attend(self, refused: StreamConnection) -> bool:
        """Remember a connection that was one too many; False when there are too many of these."""
        if len(self._refused) >= REFUSED_LIMIT:
            return False
        self._refused.add(refused)
        return True

    def _refuse(self, connection: StreamConnection) -> bool:
        return connection.give_way(f"too much at once: at most {self.requests.limit} bytes are held")

    def make_room(self) -> bool:
        """Let a connection that is of no use give way to a new one; False: all are in use."""
        if self.connection_limit == 0 or self._closing:
            return False
        now = self.loop.time()
        for served in (False, True):
            for connection in self.connections:
                if connection.expendable(now, served=served):
                    del self.connections[connection]
                    connection.give_way(self.too_many, linger=self.attend(connection))
                    return True
        return False

    @property
    def too_many(self) -> str:
        """What those are told who are one too many."""
        return f"too many connections: at most {self.connection_limit} are served"

    def forget(self, connection: StreamConnection) -> None:
        """A connection is gone."""
        self.connections.pop(connection, None)
        self._refused.discard(connection)
        self.requests.release(connection)
        self.answers.release(connection)
        if self._closing:
            self._notice()

    def watch(self, task: asyncio.Task[None]) -> None:
        """Remember a task that works on an answer until it is done."""
        self._tasks.add(task)
        task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if self._closing:
            self._notice()

    @property
    def busy(self) -> bool:
        """Whether somebody is connected, or an answer is on its way."""
        shaking = self._secure is not None and self._secure.busy
        return bool(self.connections or self._refused or self._tasks or shaking)

    def _notice(self) -> None:
        if not (self.connections or self._refused or self._tasks):
            self._quiet.set()
        else:
            self._quiet.clear()

    def start(self, listening: socket.socket) -> None:
        """Accept connections on a bound, listening socket."""
        if self.tls is None:
            self._acceptor = Acceptor(listening, lambda: StreamConnection(self))
            return
        from bridle.net.secure import SecureAcceptor

        self._secure = SecureAcceptor([listening], lambda: SecureConnection(self), lambda: self.tls)
        self._acceptor = self._secure

    def learn_groups(self) -> None:
        """Let those who are connected have their groups, which nobody had asked for."""
        for connection in tuple(self.connections):
            learn_groups(connection.peer, connection.socket, connection.abort)

    def stop_accepting(self) -> None:
        """Take no new connections; those that are open go on."""
        if self._acceptor is not None:
            self._acceptor.stop()
            self._acceptor = None

    async def close(self, grace: float = GRACE) -> None:
        """Take no new connections, deliver the answers in flight, end idle connections.

        What is not done after ``grace`` seconds is cut.
        """
        self.stop_accepting()
        self._closing = True
        for connection in tuple(self.connections):
            connection.retire()
        self._notice()
        try:
            async with asyncio.timeout(grace):
                await self._quiet.wait()
        except TimeoutError:
            if self.connections:
                _log.warning("cutting %d connections that did not end in %s s", len(self.connections), grace)
        if self._secure is not None:
            await self._secure.close()
        for connection in (*self.connections, *self._refused):
            connection.abort()
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.sleep(0)
