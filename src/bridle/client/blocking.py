"""The blocking client. Imports no asyncio; its sockets never wait longer than the call's deadline."""

from __future__ import annotations

import contextlib
import select
import socket
import time
from collections.abc import Iterable, Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, TypeVar

from bridle.client import TIMEOUT
from bridle.client.calls import (
    Conversation,
    as_endpoint,
    authorization,
    conversation,
    is_delimited,
    is_pipelined,
    is_secured,
    make_command,
    one,
    value_of,
)
from bridle.client.connecting import (
    CHUNK,
    DATAGRAMS,
    Carrier,
    FifoCarrier,
    connect_carrier,
    has_ended,
    set_deadline,
)
from bridle.core.errors import DeadlineExceeded, RemoteProtocolError, TransportError
from bridle.core.messages import JSON, Command, Response
from bridle.net.endpoint import Endpoint

if TYPE_CHECKING:
    import ssl

    from bridle.client.pacemaker import PacemakerChannel

__all__ = ["Client"]

C = TypeVar("C", bound="Client")


class Client:
    """Calls the commands of one daemon, or of the services behind one agent. Not for several threads."""

    def __init__(
        self,
        endpoint: str | Endpoint,
        *,
        timeout: float = TIMEOUT,
        user: str = "",
        password: str = "",
        token: str = "",
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self.endpoint: Endpoint = as_endpoint(endpoint)
        self.timeout = timeout
        self._channel = _open_channel(self.endpoint, authorization(self.endpoint, user, password, token), tls)

    def call(
        self, name: str, arguments: JSON = None, *, service: str | None = None, timeout: float | None = None
    ) -> JSON:
        """Send a command and return the arguments of its answer; None where there are none.

        ``arguments`` is a map of named arguments, a list of positional ones, or one scalar. ``service`` is
        for agents. ``timeout`` replaces the client's, in seconds.

        Raises:
            CommandError: the result was neither success nor empty; it holds request, response and endpoint.
            TransportError: the daemon could not be reached or went away; nothing is sent twice.
            DeadlineExceeded: it did not answer in time.
            RemoteProtocolError: it answered something that is no answer.
        """
        command = make_command(name, arguments, service)
        return value_of(command, one(self._exchange(command, timeout), self.endpoint), self.endpoint)

    def execute(
        self, name: str, arguments: JSON = None, *, service: str | None = None, timeout: float | None = None
    ) -> Response:
        """Send a command and return its answer, whatever the result.

        Raises:
            TransportError, DeadlineExceeded, RemoteProtocolError: as :meth:`call`.
        """
        return one(self._exchange(make_command(name, arguments, service), timeout), self.endpoint)

    def execute_all(
        self, name: str, arguments: JSON = None, *, services: Sequence[str], timeout: float | None = None
    ) -> list[Response]:
        """Send a command to several services through an agent; the answers come in the order asked.

        Raises:
            TransportError, DeadlineExceeded, RemoteProtocolError: as :meth:`call`.
        """
        return list(self._exchange(make_command(name, arguments, services), timeout))

    def execute_many(
        self, calls: Iterable[tuple[str, JSON]], *, timeout: float | None = None
    ) -> list[Response]:
        """Send several commands, each a name and its arguments, and return their answers in that order,
        whatever the results. Where the dialect allows it they are sent without waiting for the answers
        between; ``timeout`` bounds the whole.

        Raises:
            TransportError, DeadlineExceeded, RemoteProtocolError: as :meth:`call`; answers that had come by
            then are lost.
        """
        commands = [make_command(name, arguments, None) for name, arguments in calls]
        deadline = time.monotonic() + (self.timeout if timeout is None else timeout)
        if is_pipelined(self.endpoint) and not self._channel.secured:
            return [one(answers, self.endpoint) for answers in self._ask(commands, deadline)]
        return [one(self._ask([command], deadline)[0], self.endpoint) for command in commands]

    def _exchange(self, command: Command, timeout: float | None) -> Sequence[Response]:
        deadline = time.monotonic() + (self.timeout if timeout is None else timeout)
        return self._ask([command], deadline)[0]

    def _ask(self, commands: Sequence[Command], deadline: float) -> Sequence[Sequence[Response]]:
        try:
            return self._channel.exchange(commands, deadline) if commands else []
        except BaseException:
            self._channel.close()
            raise

    def close(self) -> None:
        """Close the connection, if one is kept. The client can be used again."""
        self._channel.close()

    def __enter__(self: C) -> C:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


def _open_channel(
    endpoint: Endpoint, headers: Mapping[str, str], tls: ssl.SSLContext | None
) -> _Channel | PacemakerChannel:
    if endpoint.transport != "qb":
        return _Channel(endpoint, headers, tls)
    from bridle.client.pacemaker import PacemakerChannel

    return PacemakerChannel(endpoint)


class _Channel:
    """One connection for all commands where the server keeps it, else one for each."""

    def __init__(self, endpoint: Endpoint, headers: Mapping[str, str], tls: ssl.SSLContext | None) -> None:
        self._endpoint = endpoint
        self._headers = headers
        self._tls = tls
        self._delimited = is_delimited(endpoint)
        self.secured: bool = is_secured(endpoint, tls)
        self._carrier: Carrier | None = None
        self._conversation: Conversation | None = None
        self._calls = 0

    def exchange(self, commands: Sequence[Command], deadline: float) -> Sequence[Sequence[Response]]:
        where = str(self._endpoint)
        try:
            carrier, conversation = self._open(deadline)
            self._calls += 1
            request = b"".join(conversation.request(command) for command in commands)
            answers = self._ask(carrier, conversation, request, len(commands), deadline)
        except TimeoutError as error:
            raise DeadlineExceeded("no answer in time", endpoint=where) from error
        except RemoteProtocolError as error:
            raise RemoteProtocolError(error.text, error.data, endpoint=where) from error
        except OSError as error:
            raise TransportError(error.strerror or str(error), endpoint=where) from error
        # More answers than asked for: whatever follows could be taken for the answer to something else.
        if len(answers) > len(commands) or not conversation.reusable:
            self.close()
        return answers

    def _open(self, deadline: float) -> tuple[Carrier, Conversation]:
        if self._carrier is not None and self._conversation is not None:
            if not has_ended(self._carrier):
                return self._carrier, self._conversation
            self.close()
        self._carrier = connect_carrier(self._endpoint, self._tls, deadline)
        reply = self._carrier.reply if isinstance(self._carrier, FifoCarrier) else ""
        # A first call does not ask to keep the connection: most clients make only one.
        self._conversation = conversation(self._endpoint, self._headers, keep=self._calls > 0, reply=reply)
        return self._carrier, self._conversation

    def _ask(
        self, carrier: Carrier, conversation: Conversation, request: bytes, count: int, deadline: float
    ) -> Sequence[Sequence[Response]]:
        set_deadline(carrier, deadline)
        try:
            if count > 1:
                return self._pipeline(carrier, conversation, request, count, deadline)
            carrier.sendall(request)
            if not self._delimited and self._endpoint.transport not in DATAGRAMS:
                carrier.shutdown(socket.SHUT_WR)
        except (BrokenPipeError, ConnectionResetError):
            # The answer may be there all the same: a server that refuses says why before it closes.
            with contextlib.suppress(OSError, RemoteProtocolError):
                return self._receive(carrier, conversation, count, deadline)
            raise
        return self._receive(carrier, conversation, count, deadline)

    def _receive(
        self, carrier: Carrier, conversation: Conversation, count: int, deadline: float
    ) -> Sequence[Sequence[Response]]:
        begun = False
        answers: list[Sequence[Response]] = []
        datagram = self._endpoint.transport in DATAGRAMS
        while True:
            set_deadline(carrier, deadline)
            data = carrier.recv(CHUNK)
            if not data and not begun:
                raise ConnectionError("End of file")
            begun = True
            if data:
                answers += conversation.receive(data)
            if not data or (datagram and not self._delimited):
                answers += conversation.receive_eof()
            if len(answers) >= count:
                return answers
            if not data:
                raise ConnectionError("End of file")

    def _pipeline(
        self, carrier: Carrier, conversation: Conversation, request: bytes, count: int, deadline: float
    ) -> Sequence[Sequence[Response]]:
        """Send while answers come in: a server that cannot send reads no more."""
        assert isinstance(carrier, socket.socket)
        answers: list[Sequence[Response]] = []
        unsent = memoryview(request)
        poll = select.poll()
        poll.register(carrier, select.POLLIN | select.POLLOUT)
        while unsent:
            remaining = deadline - time.monotonic()
            if remaining <= 0:
                raise TimeoutError
            for _, event in poll.poll(remaining * 1000):
                if event & select.POLLOUT:
                    unsent = unsent[carrier.send(unsent, socket.MSG_DONTWAIT) :]
                if event & (select.POLLIN | select.POLLHUP):
                    data = carrier.recv(CHUNK)
                    if not data:
                        raise ConnectionError("End of file")
                    answers += conversation.receive(data)
        if len(answers) < count:
            answers += self._receive(carrier, conversation, count - len(answers), deadline)
        return answers

    def close(self) -> None:
        if self._carrier is not None:
            self._carrier.close()
        self._carrier = self._conversation = None
