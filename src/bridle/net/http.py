"""The HTTP listener: a port or a unix socket, the connections that came in by it, and how both come to their
end.

``retire()`` gives the port free and lets connections go on until their next answer; ``close()`` waits for
answers in flight and cuts what is left. What a connection does is in :mod:`bridle.net.http_carrier`.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import ssl
import time
from collections.abc import Callable

from bridle.core.errors import EndpointError
from bridle.core.messages import HTTP_UNIX, Peer
from bridle.net.acceptor import accept_waiting
from bridle.net.certificates import with_certificate
from bridle.net.credentials import learn_groups, peer_of_unix
from bridle.net.http_carrier import (
    AHEAD_LIMIT,
    IDLE_TIMEOUT,
    LINGER,
    REQUEST_TIMEOUT,
    TURN,
    WRITE_TIMEOUT,
    HttpCarrier,
    HttpHandler,
)
from bridle.net.secure import SecureAcceptor
from bridle.net.shares import ANSWER_BYTES, REQUEST_BYTES, Share, affordable
from bridle.net.stream import Door
from bridle.net.timed import GRACE
from bridle.wire.http import BODY_LIMIT

__all__ = [
    "AHEAD_LIMIT",
    "BACKLOG",
    "CONNECTION_LIMIT",
    "IDLE_TIMEOUT",
    "LINGER",
    "REFUSED_LIMIT",
    "REQUEST_TIMEOUT",
    "TURN",
    "WRITE_TIMEOUT",
    "HttpCarrier",
    "HttpHandler",
    "HttpListener",
]

# Kea has no limit. A thousand management clients at once are a leak somewhere, and cost about 10 MB.
CONNECTION_LIMIT = 1024
# Connections beyond the limit that are told so at the same time; the rest are cut, as telling takes a while.
REFUSED_LIMIT = 64
# Connections that the kernel holds until they are accepted; those of a burst beyond it wait a second each,
# for the client to try again. As many as are served.
BACKLOG = 1024
# Seconds that tasks get to notice that they are cancelled.
_CANCEL_TIMEOUT = 1.0

_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")

_log = logging.getLogger("bridle.http")


class HttpListener:
    """A listening port, or unix socket. Made by :meth:`open` and :meth:`open_unix`."""

    def __init__(
        self,
        handler: HttpHandler,
        *,
        scheme: str = "http",
        body_limit: int = BODY_LIMIT,
        max_connections: int = CONNECTION_LIMIT,
        fixed: bytes = b"",
        identify: Callable[[], str] | None = None,
    ) -> None:
        self.loop: asyncio.AbstractEventLoop = asyncio.get_running_loop()
        self.handler = handler
        self.body_limit = body_limit
        self.fixed = fixed
        self.identify = identify
        self.ssl_context: ssl.SSLContext | None = None
        """What the next handshakes go by; another may take its place while the listener goes on."""
        self.requests: Share[HttpCarrier] = Share(REQUEST_BYTES, HttpCarrier.give_way)
        self.answers: Share[HttpCarrier] = Share(ANSWER_BYTES, HttpCarrier.stop_waiting)
        self.door: Door | None = None
        self._scheme = scheme
        self._max_connections = affordable(max_connections) if max_connections else 0
        # In the order in which they came.
        self._carriers: dict[HttpCarrier, None] = {}
        self._refused: set[HttpCarrier] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None
        self._secure: SecureAcceptor | None = None
        self._retired = False
        self._quiet = asyncio.Event()
        self._address = ("", 0)
        self._path = ""
        self._asks_groups: Callable[[], bool] = bool
        self._date = b""
        self._date_until = 0.0

    @classmethod
    async def open(
        cls,
        host: str,
        port: int,
        handler: HttpHandler,
        *,
        ssl_context: ssl.SSLContext | None = None,
        body_limit: int = BODY_LIMIT,
        max_connections: int = CONNECTION_LIMIT,
        fixed: bytes = b"",
        identify: Callable[[], str] | None = None,
        check: Callable[[str], None] | None = None,
    ) -> HttpListener:
        """Listen on an address; port 0 takes a free one. With ``ssl_context`` it is HTTPS.

        ``body_limit`` bounds a request's body, in bytes; ``max_connections`` the connections at a time, of
        which further ones are answered 503. ``fixed`` are header lines of every answer, ``identify`` names
        requests that have no name of their own. ``check`` is told each address before anybody can connect to
        it, and may raise.

        Raises:
            EndpointError: the address cannot be listened on.
        """
        scheme = "http" if ssl_context is None else "https"
        listener = cls(
            handler,
            scheme=scheme,
            body_limit=body_limit,
            max_connections=max_connections,
            fixed=fixed,
            identify=identify,
        )
        listener.ssl_context = ssl_context
        where = f"{scheme}://{_host_and_port(host, port)}"
        if not 0 <= port <= 65535:
            raise EndpointError(f"cannot listen on {where}: a port is a number from 0 to 65535")
        try:
            listener._server = await listener.loop.create_server(
                lambda: HttpCarrier(listener),
                host,
                port,
                backlog=BACKLOG,
                start_serving=False,
            )
            if check is not None:
                for sock in listener._server.sockets:
                    check(sock.getsockname()[0])
            listener._address = listener._server.sockets[0].getsockname()[:2]
            await listener._serve()
        except OSError as error:
            listener._abandon()
            raise EndpointError(f"cannot listen on {where}: {_reason(error)}") from error
        except BaseException:
            listener._abandon()
            raise
        return listener

    @classmethod
    async def open_unix(
        cls,
        sock: socket.socket,
        path: str,
        handler: HttpHandler,
        *,
        body_limit: int = BODY_LIMIT,
        max_connections: int = CONNECTION_LIMIT,
        fixed: bytes = b"",
        identify: Callable[[], str] | None = None,
        asks_groups: Callable[[], bool] = bool,
    ) -> HttpListener:
        """Listen on a unix socket that is bound and can be reached at ``path``; it is closed in the end. Its
        file is the caller's.

        ``asks_groups`` says whether peers need their supplementary groups; the rest is as for :meth:`open`.
        """
        listener = cls(
            handler,
            scheme=HTTP_UNIX,
            body_limit=body_limit,
            max_connections=max_connections,
            fixed=fixed,
            identify=identify,
        )
        listener._path, listener._asks_groups = path, asks_groups
        listener._server = await listener.loop.create_unix_server(
            lambda: HttpCarrier(listener), sock=sock, backlog=BACKLOG
        )
        return listener

    async def _serve(self) -> None:
        """Let clients come: asyncio takes those who speak plainly, we take those who shake hands first."""
        assert self._server is not None
        if self.ssl_context is None:
            await self._server.start_serving()
            return
        listening = _copies(self._server)
        self._server.close()
        for sock in listening:
            sock.listen(BACKLOG)
        self._secure = SecureAcceptor(listening, lambda: HttpCarrier(self), lambda: self.ssl_context)
        self._server = None

    def _abandon(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None

    @property
    def address(self) -> tuple[str, int]:
        """The host and the port, the real one; neither on a unix socket."""
        return self._address

    @property
    def url(self) -> str:
        """The same as an endpoint, without a URL's path."""
        if self._path:
            return f"{self._scheme}:{self._path}"
        return f"{self._scheme}://{_host_and_port(*self._address)}"

    def retire(self) -> None:
        """Take no new connections, and free the port at once.

        Open connections, and those that only the kernel knows of yet, go on: each ends with its next answer,
        or when it has been idle for long.
        """
        self._retired = True
        for carrier in self._carriers:
            carrier.retire()
        if self._secure is not None:
            self._secure.stop()
        if self._server is None:
            return
        ours = _copies(self._server)
        self._server.close()
        self._server = None
        for listening in ours:
            listening.setblocking(False)
            for sock in accept_waiting(listening):
                self._quiet.clear()
                self.watch(self.loop.create_task(self._take(sock)))
            listening.close()

    async def _take(self, sock: socket.socket) -> None:
        try:
            await self.loop.connect_accepted_socket(lambda: HttpCarrier(self), sock)
        except BaseException as error:
            sock.close()
            if not isinstance(error, OSError):
                raise

    async def close(self, grace: float = GRACE) -> None:
        """Take no new connections, end idle ones, deliver the answers in flight.

        What is not done after ``grace`` seconds is cut, and its handlers are cancelled.
        """
        self.retire()
        self._max_connections = 0  # some may have been accepted and not been made yet
        for carrier in tuple(self._carriers):
            carrier.drain()
        self._notice()
        if not await self._ends_within(grace) and self._carriers:
            _log.warning("%s: cutting %d connections after %g s", self.url, len(self._carriers), grace)
        if self._secure is not None:
            await self._secure.close()
        for carrier in (*self._carriers, *self._refused):
            carrier.abort()
        for task in self._tasks:
            task.cancel()
        if not await self._ends_within(_CANCEL_TIMEOUT):
            _log.error("%s: %d handlers do not end though they were cancelled", self.url, len(self._tasks))

    async def _ends_within(self, seconds: float) -> bool:
        try:
            async with asyncio.timeout(seconds):
                await self._quiet.wait()
        except TimeoutError:
            return False
        return True

    def peer_of(self, transport: asyncio.BaseTransport) -> Peer:
        """Who is at the other end: as the kernel says; or the address, and the names in its certificate."""
        if self._path:
            sock = transport.get_extra_info("socket")
            return peer_of_unix(sock, self._path, transport=self._scheme, groups=self._asks_groups())
        peer = Peer(transport=self._scheme, address=(transport.get_extra_info("peername") or ("",))[0])
        return with_certificate(peer, transport) if self.ssl_context is not None else peer

    def learn_groups(self) -> None:
        """Let those who are connected have their groups, which nobody had asked for."""
        for carrier in tuple(self._carriers):
            learn_groups(carrier.peer, carrier.socket, carrier.abort)

    def admit(self, carrier: HttpCarrier) -> bool:
        """Take up a connection; False when there are too many."""
        if len(self._carriers) < self._max_connections or self._make_room():
            self._carriers[carrier] = None
            self._quiet.clear()
            if self._retired:
                carrier.retire()
            return True
        self._attend(carrier)
        return False

    def enter(self, peer: Peer) -> Callable[[], None] | None:
        """Count a connection of a peer; what is to be called when it has ended, None: it has too many."""
        if self.door is None:
            return _nothing
        entered = self.door(peer)
        return None if isinstance(entered, str) else entered

    def _attend(self, refused: HttpCarrier) -> None:
        """Remember a connection that was one too many, so long as there are not too many of these."""
        self._refused.add(refused)
        self._quiet.clear()
        if len(self._refused) > REFUSED_LIMIT:
            self._refused.pop().abort()

    def _make_room(self) -> bool:
        """Let a connection that is of no use give way to a new one; False: all are in use."""
        if self._max_connections == 0 or self._retired:
            return False
        now = self.loop.time()
        for served in (False, True):
            for carrier in self._carriers:
                if carrier.expendable(now, served=served):
                    del self._carriers[carrier]
                    self._attend(carrier)
                    carrier.give_way()
                    return True
        return False

    def forget(self, carrier: HttpCarrier) -> None:
        """Take note that a connection is gone."""
        self._carriers.pop(carrier, None)
        self._refused.discard(carrier)
        self.requests.release(carrier)
        self.answers.release(carrier)
        self._notice()

    def watch(self, task: asyncio.Task[None]) -> None:
        """Remember a connection's task until it is done."""
        self._tasks.add(task)
        task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        self._notice()

    @property
    def busy(self) -> bool:
        """Whether somebody is connected, or an answer is on its way."""
        shaking = self._secure is not None and self._secure.busy
        return bool(self._carriers or self._refused or self._tasks or shaking)

    def _notice(self) -> None:
        if not (self._carriers or self._refused or self._tasks):
            self._quiet.set()

    def date(self) -> bytes:
        """The current time as HTTP writes it, made once a second."""
        now = self.loop.time()
        if now >= self._date_until:
            seconds = time.time()
            self._date = _write_date(seconds)
            self._date_until = now + 1.0 - seconds % 1.0
        return self._date


def _nothing() -> None:
    """Nobody counts."""


def _write_date(seconds: float) -> bytes:
    """RFC 9110 §5.6.7, whatever the locale."""
    year, month, day, hour, minute, second, weekday, *_ = time.gmtime(seconds)
    date = f"{_DAYS[weekday]}, {day:02d} {_MONTHS[month - 1]} {year:04d}"
    return f"{date} {hour:02d}:{minute:02d}:{second:02d} GMT".encode("ascii")


def _copies(server: asyncio.Server) -> list[socket.socket]:
    """The listening sockets of a server, which outlive it. By their protocol asyncio knows not to delay."""
    return [socket.fromfd(sock.fileno(), sock.family, sock.type, sock.proto) for sock in server.sockets]


def _host_and_port(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _reason(error: OSError) -> str:
    if isinstance(error, socket.gaierror) or error.errno is None:
        return str(error.strerror or error)
    text = os.strerror(error.errno)
    return text[:1].lower() + text[1:]
