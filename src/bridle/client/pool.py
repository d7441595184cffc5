"""The asyncio client's connections: kept where the server allows it, with deadlines by one timer a call."""

from __future__ import annotations

import abc
import asyncio
import contextlib
import os
import re
import socket
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Generic, Protocol, TypeVar, cast

from bridle.client.calls import BACKLOG_PAUSE
from bridle.client.connecting import DATAGRAMS, FifoCarrier, NamedSocket, set_deadline
from bridle.core.errors import DeadlineExceeded, RemoteProtocolError, TransportError
from bridle.net.endpoint import Endpoint
from bridle.net.poller import Poller

if TYPE_CHECKING:
    import ssl

__all__ = ["A", "Pool", "Q", "Talk"]

# Connections that wait for another call; more are closed when their call is done.
IDLE_CONNECTIONS = 32
# Seconds after which a kept connection is not trusted any more: servers close theirs after 30 (HTTP) or 60,
# and a question that crosses the end would be lost.
IDLE_TIME = 20.0
# Bytes read at once; Kea sends 32 KiB at a time. A larger buffer costs more to make than it saves.
READ_SIZE = 64 * 1024

Q = TypeVar("Q")
A = TypeVar("A")
_Q = TypeVar("_Q", contravariant=True)
_A = TypeVar("_A", covariant=True)


class Talk(Protocol[_Q, _A]):
    """One connection's conversation: questions to bytes, bytes to answers."""

    @property
    def reusable(self) -> bool:
        """True when another question may be sent after what was received so far."""
        ...

    def request(self, question: _Q, /) -> bytes:
        """Write a question."""
        ...

    def receive(self, data: bytes, /) -> Sequence[_A]:
        """Take bytes; give the answers they complete."""
        ...

    def receive_eof(self) -> Sequence[_A]:
        """Take note that the server has closed; give the answers that completes."""
        ...


class _Exchange(abc.ABC, Generic[Q, A]):
    """One connection: asks one question at a time, or several at once. How bytes travel is the subclasses'
    business."""

    def __init__(self, talk: Talk[Q, A], endpoint: str) -> None:
        self._talk = talk
        self._endpoint = endpoint
        self._answer: asyncio.Future[Sequence[A]] | None = None
        self._answers: list[A] = []
        self._wanted = 0
        self._begun = False
        self.open: bool = False
        self.rested: float = 0.0

    @abc.abstractmethod
    def _send(self, data: bytes) -> None:
        """Send bytes."""

    @abc.abstractmethod
    def close(self) -> None:
        """Close at once."""

    @property
    def reusable(self) -> bool:
        """True when another question may be asked here."""
        return self.open and self._answer is None and self._talk.reusable

    def ask(self, questions: Sequence[Q]) -> asyncio.Future[Sequence[A]]:
        """Send questions; the future of their answers."""
        answer = self._answer = asyncio.get_running_loop().create_future()
        self._answers = []
        self._wanted = len(questions)
        self._begun = False
        if self.open:
            self._send(b"".join(self._talk.request(question) for question in questions))
        else:
            self._fail(TransportError("End of file", endpoint=self._endpoint))
        return answer

    def done(self) -> None:
        """The answer was taken, or nobody waits for it any more."""
        self._answer = None

    def expire(self) -> None:
        """Give up on the answer."""
        self._fail(DeadlineExceeded("no answer in time", endpoint=self._endpoint))
        self.close()

    def _received(self, data: bytes) -> None:
        self._begun = True
        self._take(lambda: self._talk.receive(data))

    def _ended(self, error: Exception | None) -> None:
        """The server sends no more."""
        if self.open:
            self.open = False
            if self._begun and error is None:
                self._take(self._talk.receive_eof)
        text = _reason(error) if isinstance(error, OSError) else "End of file"
        self._fail(TransportError(text, endpoint=self._endpoint))

    def _take(self, receive: Callable[[], Sequence[A]]) -> None:
        try:
            answers = receive()
        except RemoteProtocolError as error:
            self._fail(RemoteProtocolError(error.text, error.data, endpoint=self._endpoint))
            self.close()
            return
        if not answers:
            return
        self._answers += answers
        if self._answer is None or self._answer.done() or len(self._answers) > self._wanted:
            # Nobody asked: whatever follows could be taken for the answer to something else.
            self.close()
        if self._answer is not None and not self._answer.done() and len(self._answers) >= self._wanted:
            self._answer.set_result(self._answers)

    def _fail(self, error: Exception) -> None:
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(error)


class _TransportExchange(_Exchange[Q, A], asyncio.Protocol):
    """Over a transport of the event loop: TCP and TLS."""

    _transport: asyncio.Transport

    def __init__(self, talk: Talk[Q, A], endpoint: str, *, delimited: bool = True) -> None:
        super().__init__(talk, endpoint)
        self._delimited = delimited

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self.open = True

    def data_received(self, data: bytes) -> None:
        self._received(data)

    def eof_received(self) -> bool:
        self._ended(None)
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        self._ended(exc)

    def _send(self, data: bytes) -> None:
        self._transport.write(data)
        if not self._delimited:
            self._transport.write_eof()

    def close(self) -> None:
        self.open = False
        self._transport.abort()


class _SocketExchange(_Exchange[Q, A]):
    """Straight on a connected unix or datagram socket. Most servers close after each answer, and a transport
    for one exchange costs more than the exchange."""

    def __init__(
        self, talk: Talk[Q, A], endpoint: str, sock: socket.socket, poller: Poller, *, delimited: bool = True
    ) -> None:
        super().__init__(talk, endpoint)
        self._poller = poller
        self._delimited = delimited
        self._datagrams = sock.type == socket.SOCK_DGRAM
        self._unsent = b""
        self._socket = sock
        self.open = True
        poller.watch(self._socket.fileno(), self._readable)

    def _send(self, data: bytes) -> None:
        try:
            sent = self._socket.send(data)
        except BlockingIOError:
            sent = 0
        except OSError as error:
            # The answer may be there all the same: a server that refuses says why before it closes.
            self._unsent = b""
            asyncio.get_running_loop().call_soon(self._broken, error)
            return
        self._unsent = data[sent:]
        if self._unsent:
            asyncio.get_running_loop().add_writer(self._socket, self._writable)
        elif not (self._delimited or self._datagrams):
            self._socket.shutdown(socket.SHUT_WR)

    def _broken(self, error: OSError) -> None:
        if self.open:
            self._readable()
        if self.open:
            self._ended(error)
            self.close()

    def _writable(self) -> None:
        asyncio.get_running_loop().remove_writer(self._socket)
        self._send(self._unsent)

    def _readable(self) -> None:
        try:
            data = self._socket.recv(READ_SIZE)
        except (BlockingIOError, InterruptedError):
            return
        except OSError as error:
            self._ended(error)
            self.close()
            return
        if data:
            self._received(data)
        if not data or (self._datagrams and not self._delimited):
            self._ended(None)
            self.close()

    def close(self) -> None:
        self.open = False
        descriptor = self._socket.fileno()
        if descriptor >= 0:
            self._poller.forget(descriptor)
            if self._unsent:
                asyncio.get_running_loop().remove_writer(self._socket)
            self._socket.close()


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
        self._idle: list[_Exchange[Q, A]] = []
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

    def _kept(self) -> _Exchange[Q, A] | None:
        oldest = asyncio.get_running_loop().time() - IDLE_TIME
        while self._idle:
            connection = self._idle.pop()
            if connection.reusable and connection.rested >= oldest:
                return connection
            connection.close()
        return None

    def _keep(self, connection: _Exchange[Q, A]) -> None:
        if connection.reusable and len(self._idle) < IDLE_CONNECTIONS:
            connection.rested = asyncio.get_running_loop().time()
            self._idle.append(connection)
        else:
            connection.close()

    async def _connect(self, deadline: float) -> _Exchange[Q, A]:
        try:
            if deadline <= asyncio.get_running_loop().time():
                raise TimeoutError
            if self._endpoint.transport == "unix":
                return self._exchange_on(await self._connect_unix(deadline))
            if self._endpoint.transport in DATAGRAMS:
                async with asyncio.timeout_at(deadline):
                    return self._exchange_on(await self._connect_datagrams())
            async with asyncio.timeout_at(deadline):
                _, connection = await asyncio.get_running_loop().create_connection(
                    lambda: _TransportExchange(self._begin(), self._name, delimited=self._delimited),
                    self._endpoint.host,
                    self._endpoint.port,
                    ssl=self._secure(),
                )
            return connection
        except TimeoutError as error:
            raise DeadlineExceeded("no connection in time", endpoint=self._name) from error
        except OSError as error:
            raise TransportError(_reason(error), endpoint=self._name) from error
        except UnicodeError as error:
            text = f"no host can have this name: {error}"
            raise TransportError(text, endpoint=self._name) from error

    def _exchange_on(self, sock: socket.socket) -> _SocketExchange[Q, A]:
        return _SocketExchange(self._begin(), self._name, sock, self._watch(), delimited=self._delimited)

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
            raise TransportError(_reason(error), endpoint=self._name) from error

    def _watch(self) -> Poller:
        if self._poller is None:
            self._poller = Poller()
        return self._poller

    def _secure(self) -> ssl.SSLContext | None:
        if self._endpoint.transport != "https":
            return None
        if self._tls is None:
            from bridle.access.tls import client_context

            self._tls = client_context()
        return self._tls

    def close(self) -> None:
        """Close the connections that are kept."""
        self._closing = True
        while self._idle:
            self._idle.pop().close()
        if self._poller is not None and self._poller.idle:
            self._poller.close()
            self._poller = None


def _reason(error: OSError) -> str:
    text = error.strerror or str(error) or "End of file"
    # asyncio puts its own words in the place of the reason why a TCP connection failed, for each address.
    if "Connect call failed" in text:
        number = re.search(r"\[Errno (\d+)\]", str(error))
        return os.strerror(int(number[1])) if number else text
    return text
