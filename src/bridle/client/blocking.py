"""The blocking client. Imports no asyncio; its sockets never wait longer than the call's deadline."""

from __future__ import annotations

import contextlib
import select
import socket
import threading
import time
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, TypeVar

from bridle.client import TIMEOUT
from bridle.client.calls import (
    BACKLOG_PAUSE,
    Conversation,
    as_endpoint,
    authorization,
    conversation,
    make_command,
    one,
    value_of,
)
from bridle.core.errors import DeadlineExceeded, RemoteProtocolError, TransportError
from bridle.core.messages import JSON, Command, Response
from bridle.net.endpoint import Endpoint

if TYPE_CHECKING:
    import ssl

__all__ = ["Client"]

_CHUNK = 256 * 1024
C = TypeVar("C", bound="Client")
_Address = tuple[
    socket.AddressFamily,
    socket.SocketKind,
    int,
    str,
    tuple[str, int] | tuple[str, int, int, int] | tuple[int, bytes],
]


class Client:
    """Calls the commands of one daemon, or of the services behind one agent. Not for several threads."""

    def __init__(
        self,
        endpoint: str | Endpoint,
        *,
        timeout: float = TIMEOUT,
        user: str = "",
        password: str = "",
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self.endpoint: Endpoint = as_endpoint(endpoint)
        self.timeout = timeout
        self._channel = _Channel(self.endpoint, authorization(self.endpoint, user, password), tls)

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

    def _exchange(self, command: Command, timeout: float | None) -> Sequence[Response]:
        deadline = time.monotonic() + (self.timeout if timeout is None else timeout)
        try:
            return self._channel.exchange(command, deadline)
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


class _Channel:
    """One connection for all commands where the server keeps it, else one for each."""

    def __init__(self, endpoint: Endpoint, headers: Mapping[str, str], tls: ssl.SSLContext | None) -> None:
        self._endpoint = endpoint
        self._headers = headers
        self._tls = tls
        self._socket: socket.socket | None = None
        self._conversation: Conversation | None = None
        self._calls = 0

    def exchange(self, command: Command, deadline: float) -> Sequence[Response]:
        where = str(self._endpoint)
        try:
            sock, conversation = self._open(deadline)
            self._calls += 1
            answers = self._ask(sock, conversation, conversation.request(command), deadline)
        except TimeoutError as error:
            raise DeadlineExceeded("no answer in time", endpoint=where) from error
        except RemoteProtocolError as error:
            raise RemoteProtocolError(error.text, error.data, endpoint=where) from error
        except OSError as error:
            raise TransportError(error.strerror or str(error), endpoint=where) from error
        # More answers than one: whatever follows could be taken for the answer to something else.
        if len(answers) > 1 or not conversation.reusable:
            self.close()
        return answers[0]

    def _open(self, deadline: float) -> tuple[socket.socket, Conversation]:
        if self._socket is not None and self._conversation is not None:
            if not _has_ended(self._socket):
                return self._socket, self._conversation
            self.close()
        self._socket = _connect(self._endpoint, self._tls, deadline)
        # A first call does not ask to keep the connection: most clients make only one.
        self._conversation = conversation(self._endpoint, self._headers, keep=self._calls > 0)
        return self._socket, self._conversation

    def _ask(
        self, sock: socket.socket, conversation: Conversation, request: bytes, deadline: float
    ) -> Sequence[Sequence[Response]]:
        _set_deadline(sock, deadline)
        try:
            sock.sendall(request)
        except (BrokenPipeError, ConnectionResetError):
            # The answer may be there all the same: a server that refuses says why before it closes.
            with contextlib.suppress(OSError, RemoteProtocolError):
                return self._receive(sock, conversation, deadline)
            raise
        return self._receive(sock, conversation, deadline)

    def _receive(
        self, sock: socket.socket, conversation: Conversation, deadline: float
    ) -> Sequence[Sequence[Response]]:
        begun = False
        while True:
            _set_deadline(sock, deadline)
            data = sock.recv(_CHUNK)
            if not data and not begun:
                raise ConnectionError("End of file")
            begun = True
            answers = conversation.receive(data) if data else conversation.receive_eof()
            if answers:
                return answers
            if not data:
                raise ConnectionError("End of file")

    def close(self) -> None:
        if self._socket is not None:
            self._socket.close()
        self._socket = self._conversation = None


def _connect(endpoint: Endpoint, tls: ssl.SSLContext | None, deadline: float) -> socket.socket:
    if endpoint.transport == "unix":
        return _connect_unix(endpoint.path, deadline)
    sock = _connect_to_first(_resolve(endpoint.host, endpoint.port, deadline), deadline)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if endpoint.transport == "http":
        return sock
    try:
        _set_deadline(sock, deadline)
        if tls is None:
            from bridle.access.tls import client_context

            tls = client_context()
        return tls.wrap_socket(sock, server_hostname=endpoint.host)
    except BaseException:
        sock.close()
        raise


def _connect_unix(path: str, deadline: float) -> socket.socket:
    while True:
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            _set_deadline(sock, deadline)
            sock.connect(path)
            return sock
        except BlockingIOError:
            sock.close()
            time.sleep(BACKLOG_PAUSE)
        except BaseException:
            sock.close()
            raise


def _resolve(host: str, port: int, deadline: float) -> list[_Address]:
    """Look a host up. The resolver knows no deadline, so it is left behind where it takes too long."""
    if host.replace(".", "").isdigit() or ":" in host:
        return [*socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)]
    found: list[_Address] = []
    failed: list[OSError] = []

    def look_up() -> None:
        try:
            found.extend(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM))
        except OSError as error:
            failed.append(error)
        except UnicodeError as error:
            failed.append(OSError(f"no host can have this name: {error}"))

    thread = threading.Thread(target=look_up, name=f"look up {host}", daemon=True)
    thread.start()
    thread.join(max(deadline - time.monotonic(), 0))
    if failed:
        raise failed[0]
    if thread.is_alive():
        raise TimeoutError
    return found


def _connect_to_first(addresses: list[_Address], deadline: float) -> socket.socket:
    """Connect to the first address that answers."""
    failure: OSError = OSError("the name has no addresses")
    for family, kind, protocol, _, address in addresses:
        sock = socket.socket(family, kind, protocol)
        try:
            _set_deadline(sock, deadline)
            sock.connect(address)
            return sock
        except OSError as error:
            sock.close()
            failure = error
    raise failure


def _set_deadline(sock: socket.socket, deadline: float) -> None:
    remaining = deadline - time.monotonic()
    if remaining <= 0:
        raise TimeoutError
    sock.settimeout(remaining)


def _has_ended(sock: socket.socket) -> bool:
    """True when the server has closed a kept connection, or has sent what nobody asked for."""
    poll = select.poll()
    poll.register(sock, select.POLLIN)
    return bool(poll.poll(0))
