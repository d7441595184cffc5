"""The asyncio client's connections: kept where the server allows it, with deadlines by one timer a call."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Generic, Protocol, TypeVar, cast

from bridle.client.calls import (
    BACKLOG_PAUSE,
    context_of,
    conversation,
    is_delimited,
    is_secured,
    server_name,
)
from bridle.client.connecting import DATAGRAMS, FifoCarrier, NamedSocket, set_deadline
from bridle.client.exchange import (
    READ_SIZE,
    A,
    Exchange,
    Q,
    SocketExchange,
    Talk,
    TransportExchange,
    reason_of,
)
from bridle.core.errors import DeadlineExceeded, RemoteProtocolError, TransportError
from bridle.core.messages import Command, Response
from bridle.net.endpoint import Endpoint
from bridle.net.poller import Poller

if TYPE_CHECKING:
    import ssl

__all__ = ["Pool", "Pooled", "command_pool"]

_Q = TypeVar("_Q", contravariant=True)
_A = TypeVar("_A", covariant=True)

# Connections that wait for another call; more are closed when their call is done.
IDLE_CONNECTIONS = 32
# Seconds after which a kept connection is not trusted any more: servers close theirs after 30 (HTTP) or 60,
# and a question that crosses the end would be lost.
IDLE_TIME = 20.0


class Pooled(Protocol[_Q, _A]):
    """What asks questions of one endpoint, over connections that it keeps."""

    async def exchange(self, question: _Q, timeout: float, /) -> _A:
        """Ask a question and wait for its answer, ``timeout`` seconds at the most."""
        ...

    async def exchange_many(self, questions: Sequence[_Q], timeout: float, /) -> Sequence[_A]:
        """Ask several questions; the answers come in their order."""
        ...

    def close(self) -> None:
        """Close the connections that are kept."""
        ...


def command_pool(
    endpoint: Endpoint, headers: Mapping[str, str], tls: ssl.SSLContext | None = None
) -> Pooled[Command, Sequence[Response]]:
    """The connections on which commands are called at ``endpoint``."""
    if endpoint.transport == "qb":
        from bridle.client.pacemaker_pool import PacemakerPool

        return PacemakerPool(endpoint)
    return Pool(
        endpoint,
        lambda reply="": conversation(endpoint, headers, keep=True, reply=reply),
        tls,
        delimited=is_delimited(endpoint),
    )


class Pool(Generic[Q, A]):
    """The connections to one endpoint: those that are kept are used again, others are made anew."""

    def __init__(
        self,
        endpoint: Endpoint,
        begin: Callable[..., Talk[Q, A]],
        tls: ssl.SSLContext | None = None,
        *,
        delimited: bool = True,
    ) -> None:
        """``begin`` begins a conversation; where answers come by a FIFO, it takes its name. ``delimited``:
        answers show where they end."""
        self._endpoint = endpoint
        self._delimited = delimited
        self._name = str(endpoint)
        self._begin = begin
        self._tls = tls
        self._secured = is_secured(endpoint, tls)
        self._idle: list[Exchange[Q, A]] = []
        self._poller: Poller | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._closing = False

    async def exchange(self, question: Q, timeout: float) -> A:
        """Ask a question and wait for its answer, ``timeout`` seconds at the most, connecting included.

        Raises:
            TransportError, DeadlineExceeded, RemoteProtocolError: there is no answer; nothing is sent twice.
        """
        if self._endpoint.transport == "fifo":
            return await asyncio.to_thread(self._exchange_by_fifo, question, timeout)
        return (await self.exchange_many((question,), timeout))[0]

    async def exchange_many(self, questions: Sequence[Q], timeout: float) -> Sequence[A]:
        """Ask several questions at once on one connection; the answers come in their order.

        Raises:
            TransportError, DeadlineExceeded, RemoteProtocolError: there are not all answers.
        """
        loop = asyncio.get_running_loop()
        deadline = loop.time() + timeout
        self._closing = False
        if self._loop is not loop:
            # Nobody would notice an answer on what belongs to another loop, which has ended.
            self._loop, self._poller = loop, None
            self._idle.clear()
        connection = self._kept() or await self._connect(deadline)
        timer = loop.call_at(deadline, connection.expire)
        try:
            answers = await connection.ask(questions)
            connection.done()
            self._keep(connection)
        except BaseException:
            connection.done()
            connection.close()
            raise
        finally:
            timer.cancel()
            if self._closing:
                self.close()
        return answers

    def _kept(self) -> Exchange[Q, A] | None:
        oldest = asyncio.get_running_loop().time() - IDLE_TIME
        while self._idle:
            connection = self._idle.pop()
            if connection.reusable and connection.rested >= oldest:
                return connection
            connection.close()
        return None

    def _keep(self, connection: Exchange[Q, A]) -> None:
        if connection.reusable and len(self._idle) < IDLE_CONNECTIONS:
            connection.rested = asyncio.get_running_loop().time()
            self._idle.append(connection)
        else:
            connection.close()

    async def _connect(self, deadline: float) -> Exchange[Q, A]:
        try:
            if deadline <= asyncio.get_running_loop().time():
                raise TimeoutError
            if self._endpoint.transport == "unix":
                sock = await self._connect_unix(deadline)
                return await self._shake_hands(sock, deadline) if self._secured else self._exchange_on(sock)
            if self._endpoint.transport in DATAGRAMS:
                async with asyncio.timeout_at(deadline):
                    return self._exchange_on(await self._connect_datagrams())
            async with asyncio.timeout_at(deadline):
                _, connection = await asyncio.get_running_loop().create_connection(
                    lambda: TransportExchange(self._begin(), self._name, delimited=self._delimited),
                    self._endpoint.host,
                    self._endpoint.port,
                    ssl=self._secure(),
                    server_hostname=server_name(self._endpoint) if self._secured else None,
                )
            return connection
        except TimeoutError as error:
            raise DeadlineExceeded("no connection in time", endpoint=self._name) from error
        except OSError as error:
            raise TransportError(reason_of(error), endpoint=self._name) from error
        except UnicodeError as error:
            text = f"no host can have this name: {error}"
            raise TransportError(text, endpoint=self._name) from error

    def _exchange_on(self, sock: socket.socket) -> SocketExchange[Q, A]:
        return SocketExchange(self._begin(), self._name, sock, self._watch(), delimited=self._delimited)

    async def _connect_unix(self, deadline: float) -> socket.socket:
        while True:
            sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
            try:
                sock.connect(self._endpoint.path)
                return sock
            except BlockingIOError:
                sock.close()
                loop = asyncio.get_running_loop()
                left = deadline - loop.time()
                if left <= 0:
                    raise TimeoutError from None
                await asyncio.sleep(min(BACKLOG_PAUSE, left))
            except BaseException:
                sock.close()
                raise

    async def _shake_hands(self, sock: socket.socket, deadline: float) -> TransportExchange[Q, A]:
        """Speak TLS on a unix socket."""
        try:
            async with asyncio.timeout_at(deadline):
                _, connection = await asyncio.get_running_loop().create_unix_connection(
                    lambda: TransportExchange(self._begin(), self._name, delimited=self._delimited),
                    sock=sock,
                    ssl=self._secure(),
                    server_hostname=server_name(self._endpoint),
                )
            return connection
        except BaseException:
            sock.close()
            raise

    async def _connect_datagrams(self) -> socket.socket:
        if self._endpoint.transport == "unixd":
            sock: socket.socket = NamedSocket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
            address: object = self._endpoint.path
        else:
            found = await asyncio.get_running_loop().getaddrinfo(
                self._endpoint.host, self._endpoint.port, type=socket.SOCK_DGRAM
            )
            family, kind, _, _, address = found[0]
            sock = socket.socket(family, kind | socket.SOCK_NONBLOCK)
        try:
            if isinstance(sock, NamedSocket):
                sock.bind_for_answers(self._endpoint)
            sock.connect(cast("tuple[str, int]", address))
            return sock
        except BaseException:
            sock.close()
            raise

    def _exchange_by_fifo(self, question: Q, timeout: float) -> A:
        """One question and its answer by FIFOs, which no event loop can wait for as for sockets."""
        deadline = time.monotonic() + timeout
        try:
            with contextlib.closing(FifoCarrier(self._endpoint)) as carrier:
                talk = self._begin(carrier.reply)
                set_deadline(carrier, deadline)
                carrier.sendall(talk.request(question))
                while True:
                    set_deadline(carrier, deadline)
                    data = carrier.recv(READ_SIZE)
                    answers = talk.receive(data) if data else talk.receive_eof()
                    if answers:
                        return answers[0]
        except TimeoutError as error:
            raise DeadlineExceeded("no answer in time", endpoint=self._name) from error
        except RemoteProtocolError as error:
            raise RemoteProtocolError(error.text, error.data, endpoint=self._name) from error
        except OSError as error:
            raise TransportError(reason_of(error), endpoint=self._name) from error

    def _watch(self) -> Poller:
        if self._poller is None:
            self._poller = Poller()
        return self._poller

    def _secure(self) -> ssl.SSLContext | None:
        if not self._secured:
            return None
        if self._tls is None:
            self._tls = context_of(self._endpoint)
        return self._tls

    def close(self) -> None:
        """Close the connections that are kept."""
        self._closing = True
        while self._idle:
            self._idle.pop().close()
        if self._poller is not None and self._poller.idle:
            self._poller.close()
            self._poller = None
