"""One connection of the asyncio client: questions and answers, over a transport or straight on a socket."""

from __future__ import annotations

import abc
import asyncio
import os
import re
import socket
from collections.abc import Callable, Sequence
from typing import Generic, Protocol, TypeVar, cast

from bridle.core.errors import DeadlineExceeded, RemoteProtocolError, TransportError
from bridle.net.poller import Poller

__all__ = ["READ_SIZE", "A", "Exchange", "Q", "SocketExchange", "Talk", "TransportExchange", "reason_of"]

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


class Exchange(abc.ABC, Generic[Q, A]):
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
        text = reason_of(error) if isinstance(error, OSError) else "End of file"
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


class TransportExchange(Exchange[Q, A], asyncio.Protocol):
    """Over a transport of the event loop: TCP and TLS."""

    _transport: asyncio.Transport

    open: bool

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


class SocketExchange(Exchange[Q, A]):
    """Straight on a connected unix or datagram socket. Most servers close after each answer, and a transport
    for one exchange costs more than the exchange."""

    open: bool

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


def reason_of(error: OSError) -> str:
    """Why a connection failed, in the system's words."""
    text = error.strerror or str(error) or "End of file"
    # asyncio puts its own words in the place of the reason why a TCP connection failed, for each address.
    if "Connect call failed" in text:
        number = re.search(r"\[Errno (\d+)\]", str(error))
        return os.strerror(int(number[1])) if number else text
    return text
