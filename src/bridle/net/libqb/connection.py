"""A client of a libqb server, as the server sees it."""

from __future__ import annotations

import asyncio
import errno
import logging
from collections.abc import Callable
from typing import Protocol

from bridle.core.errors import RemoteProtocolError
from bridle.core.messages import Peer
from bridle.net.libqb.directory import ConnectionDirectory
from bridle.net.libqb.errors import LibqbError
from bridle.net.libqb.outbox import BACKLOG, Outbox
from bridle.net.libqb.trust import Credentials
from bridle.wire.libqb import DISCONNECT, ConnectionResponse, check_message

__all__ = ["BATCH", "LINGER", "RequestHandler", "ServerChannels", "ServerConnection"]

BATCH = 5
"""Requests of one client that are worked on before others have their turn; libqb's number."""

LINGER = 1.0
"""Seconds that a client gets to take what was sent before the connection is closed."""

_LOOK = 0.005
"""Seconds between two looks whether it has."""

_log = logging.getLogger("bridle.net.libqb")


class RequestHandler(Protocol):
    """What a service does with one client."""

    def request_received(self, message: bytes, /) -> None:
        """A request has come, with libqb's header."""
        ...

    def connection_lost(self, error: LibqbError | None, /) -> None:
        """The connection has ended, by the client (None) or for a reason. Called once."""
        ...


class ServerChannels(Protocol):
    """What a connection needs of a transport."""

    answer: ConnectionResponse

    def start(self, work: Callable[[], None], ended: Callable[[], None], /) -> None: ...

    @property
    def take(self) -> Callable[[], bytes | None]: ...

    @property
    def more(self) -> bool: ...

    @property
    def put_response(self) -> Callable[[bytes], bool]: ...

    def put_event(self, message: bytes, /) -> bool: ...

    def pause(self) -> None: ...

    def resume(self) -> None: ...

    @property
    def drained(self) -> bool: ...

    def close(self) -> None: ...


class ServerConnection:
    """A client. Its requests go to the handler that the service made for it."""

    credentials: Credentials
    peer: Peer
    max_message: int
    """Bytes of the largest message, libqb's header included."""
    closed: bool
    """Whether the connection has ended, or is about to."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        service: str,
        credentials: Credentials,
        channels: ServerChannels,
        directory: ConnectionDirectory,
        forget: Callable[[ServerConnection], None],
        *,
        backlog: int = BACKLOG,
    ) -> None:
        self.endpoint: str = f"qb:{service}"
        self.credentials = credentials
        self.peer = credentials.peer(service)
        self.max_message = channels.answer.max_message
        self._loop = loop
        self._channels = channels
        self._directory = directory
        self._forget = forget
        self._take = channels.take
        self._responses = Outbox(loop, channels.put_response, self._evict, self._fail, backlog=backlog)
        self._events = Outbox(loop, channels.put_event, self._evict, self._fail, backlog=backlog)
        self._handler: RequestHandler | None = None
        self._receive: Callable[[bytes], None]
        self._again: asyncio.Handle | None = None
        self._linger: asyncio.TimerHandle | None = None
        self._paused = False
        self._gone = False
        self.closed = False
        self._over = False

    def start(self, handler: RequestHandler) -> None:
        """Begin to read requests."""
        self._handler = handler
        self._receive = handler.request_received
        if self._over:
            self._tell(handler, None)
        else:
            self._channels.start(self._work, self._ended)

    @property
    def backlog(self) -> int:
        """Messages that wait until the client takes others."""
        return len(self._responses) + len(self._events)

    def respond(self, message: bytes) -> None:
        """Send a response, with libqb's header: now, or when there is room for it. Nothing happens once the
        connection has ended.

        Raises:
            LibqbError: EMSGSIZE: it is larger than was agreed on.
        """
        self._send(self._responses, message)

    def event(self, message: bytes) -> None:
        """Send an event, as :meth:`respond` does. A client that lets too many wait is evicted.

        Raises:
            LibqbError: EMSGSIZE: it is larger than was agreed on.
        """
        self._send(self._events, message)

    def _send(self, outbox: Outbox, message: bytes) -> None:
        if len(message) > self.max_message:
            raise self._too_large(message)
        if self.closed:
            return
        try:
            outbox.send(message)
        except LibqbError as error:
            if error.errno == errno.EMSGSIZE:
                raise
            self._fail(error)

    def _too_large(self, message: bytes) -> LibqbError:
        text = f"a message of {len(message)} bytes; at most {self.max_message} were agreed on"
        return LibqbError(errno.EMSGSIZE, text, endpoint=self.endpoint)

    def pause(self) -> None:
        """Take no more requests for now, and ask the client to send none."""
        if not (self._paused or self.closed):
            self._paused = True
            self._channels.pause()

    def resume(self) -> None:
        """Go on."""
        if self._paused and not self.closed:
            self._paused = False
            self._channels.resume()
            self._later()

    def close(self, linger: float = LINGER) -> None:
        """End the connection, as soon as the client has taken what was sent, or after ``linger`` seconds."""
        if self.closed:
            return
        self.closed = True
        self._deadline = self._loop.time() + linger
        self._look()

    def abort(self, error: LibqbError | None = None) -> None:
        """End the connection now."""
        if self._over:
            return
        self.closed = self._over = True
        for handle in (self._again, self._linger):
            if handle is not None:
                handle.cancel()
        self._responses.clear()
        self._events.clear()
        # The files go first: the client must not find them when it sees the end.
        self._directory.remove()
        self._channels.close()
        self._forget(self)
        if self._handler is not None:
            self._tell(self._handler, error)

    def _tell(self, handler: RequestHandler, error: LibqbError | None) -> None:
        try:
            handler.connection_lost(error)
        except Exception as failure:
            pid = self.credentials.pid
            _log.exception("the end of pid %d could not be handled", pid, exc_info=failure)

    def _look(self) -> None:
        """Close if nothing is left to take."""
        drained = not self.backlog and self._channels.drained
        if drained or self._gone or self._loop.time() >= self._deadline:
            self.abort()
        else:
            self._linger = self._loop.call_later(_LOOK, self._look)

    def _work(self) -> None:
        """Hand on what has come, up to a batch."""
        take, receive = self._take, self._receive
        try:
            for _ in range(BATCH):
                if self._paused or self.closed:
                    return
                message = take()
                if message is None:
                    if self._gone:
                        self.abort()
                    return
                if check_message(message) == DISCONNECT:
                    self.abort()
                    return
                receive(message)
        except RemoteProtocolError as error:
            self._fail(LibqbError(errno.EBADMSG, error.text, endpoint=self.endpoint))
        except LibqbError as error:
            self._fail(error)
        except Exception as error:
            _log.exception("a request from pid %d could not be handled", self.credentials.pid, exc_info=error)
            self._fail(LibqbError(errno.EIO, "the service failed", endpoint=self.endpoint))
        else:
            if self._gone or (not self.closed and self._channels.more):
                self._later()

    def _later(self) -> None:
        """Work when others had their turn."""
        if self._again is None and not self.closed:
            self._again = self._loop.call_soon(self._work_again)

    def _work_again(self) -> None:
        self._again = None
        self._work()

    def _ended(self) -> None:
        """The client has gone. What it had asked before that is still done."""
        self._gone = True
        if self._paused or self.closed:
            self.abort()
        else:
            self._later()

    def _fail(self, error: LibqbError) -> None:
        if not self._over:
            _log.warning("cutting pid %d off: %s", self.credentials.pid, error)
            self.abort(error)

    def _evict(self) -> None:
        text = f"evicted: it takes nothing, and {self.backlog} messages wait for it"
        self._fail(LibqbError(errno.ENOBUFS, text, endpoint=self.endpoint))

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.endpoint} pid {self.credentials.pid}>"
