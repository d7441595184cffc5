"""Channels on sockets and FIFOs: an endpoint and a dialect become a listener, and end together."""

from __future__ import annotations

import socket
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Protocol

import msgspec

from bridle.core.errors import EndpointError
from bridle.net.credentials import peer_of_unix
from bridle.net.endpoint import Endpoint
from bridle.net.stream import CONNECTION_LIMIT, Execute, StreamConnection, StreamListener
from bridle.net.unix import SocketFile
from bridle.server.channel import GRACE, HttpSettings
from bridle.wire.dialect import Dialect

if TYPE_CHECKING:
    from bridle.net.datagram import DatagramListener
    from bridle.net.fifo import FifoListener

__all__ = ["SocketChannel", "open_channel"]

_FILES = ("unix", "unixd", "fifo")
_STREAMS = ("unix", "tcp")
_FILE_OPTIONS = ("group", "mode", "owner")
_STREAM_OPTIONS = ("connections",)


class _Name(Protocol):
    """What stands at a path."""

    def withdraw(self) -> None: ...

    def close(self) -> None: ...


class _Port:
    """A port has no name to withdraw; the listener on a stream closes its socket."""

    def __init__(self, sock: socket.socket, *, own: bool) -> None:
        self._socket = sock
        self._own = own

    def withdraw(self) -> None:
        pass

    def close(self) -> None:
        if self._own:
            self._socket.close()


class SocketChannel:
    """A dialect on a socket or a FIFO."""

    def __init__(
        self, endpoint: Endpoint, name: _Name, listener: StreamListener | DatagramListener | FifoListener
    ) -> None:
        self.endpoint = endpoint
        self._name = name
        self._listener = listener

    @property
    def connections(self) -> Iterable[StreamConnection]:
        """Who is connected, in order."""
        return self._listener.connections if isinstance(self._listener, StreamListener) else ()

    def update(self, settings: HttpSettings) -> None:
        """There is nothing to set."""

    def retire(self) -> None:
        """First the name, then those who came by it: nobody is left in the kernel's queue."""
        try:
            self._name.withdraw()
        finally:
            if isinstance(self._listener, StreamListener):
                self._listener.stop_accepting()
                self._name.close()
            else:
                self._listener.stop()

    async def close(self, grace: float = GRACE) -> None:
        """End, with the answers in flight."""
        try:
            self.retire()
        finally:
            try:
                await self._listener.close(grace)
            finally:
                self._name.close()


class _Options:
    """The options of an endpoint, taken one by one; what is left is the dialect's."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._left = dict(endpoint.options)

    def take(self, *names: str) -> str | None:
        for name in names:
            if name in self._left:
                return self._left.pop(name)
        return None

    def mode(self, default: int) -> int:
        text = self.take("mode")
        try:
            return default if text is None else int(text, 8)
        except ValueError:
            raise EndpointError(f"mode '{text}' is not octal, as 0660 is") from None

    def connections(self) -> int:
        text = self.take("connections")
        if text is None:
            return CONNECTION_LIMIT
        if not (text.isascii() and text.isdecimal() and 0 < int(text) <= 1_000_000):
            raise EndpointError(f"connections is a number from 1 to 1000000, not '{text}'")
        return int(text)

    def check(self, transport: str, dialect: Dialect) -> None:
        """Refuse what is left and not the dialect's."""
        for name in self._left:
            if name not in dialect.options:
                known = [*dialect.options, *(_STREAM_OPTIONS if transport in _STREAMS else ())]
                known += _FILE_OPTIONS if transport in _FILES else ()
                raise EndpointError(f"unknown option '{name}'; known are {', '.join(sorted(known))}")

    @property
    def left(self) -> Mapping[str, str]:
        return self._left


async def open_channel(endpoint: Endpoint, dialect: Dialect, execute: Execute, mode: int) -> SocketChannel:
    """Listen on an endpoint that is a socket or a FIFO. ``mode`` is a file's where the endpoint says nothing.

    The options ``mode``, ``owner`` (or ``user``) and ``group`` are those of files, ``connections`` that of
    streams; others are the dialect's.

    Raises:
        EndpointError: an option is unknown, or the endpoint cannot be listened on.
    """
    options = _Options(endpoint)
    try:
        rights = _Rights.take(options, mode) if endpoint.transport in _FILES else None
        connections = options.connections() if endpoint.transport in _STREAMS else 0
        options.check(endpoint.transport, dialect)
        dialect = dialect.configured(options.left)
    except EndpointError as error:
        raise EndpointError(f"endpoint '{endpoint}': {error}") from None
    if rights is None:
        return await _open_port(endpoint, dialect, execute, connections)
    if endpoint.transport == "fifo":
        return _open_fifo(endpoint, dialect, execute, rights)
    kind = socket.SOCK_STREAM if endpoint.transport == "unix" else socket.SOCK_DGRAM
    file = SocketFile.open(endpoint.path, mode=rights.mode, owner=rights.owner, group=rights.group, kind=kind)
    try:
        if kind == socket.SOCK_STREAM:
            path = endpoint.path
            listener = StreamListener(
                dialect,
                execute,
                lambda transport: peer_of_unix(transport.get_extra_info("socket"), path),
                connection_limit=connections,
            )
            listener.start(file.socket)
            return SocketChannel(endpoint, file, listener)
        return SocketChannel(endpoint, file, _listen_on_datagrams(endpoint, dialect, execute, file.socket))
    except BaseException:
        file.close()
        raise


class _Rights(msgspec.Struct, frozen=True):
    mode: int
    owner: str | None
    group: str | None

    @classmethod
    def take(cls, options: _Options, mode: int) -> _Rights:
        return cls(options.mode(mode), options.take("owner", "user"), options.take("group"))


async def _open_port(
    endpoint: Endpoint, dialect: Dialect, execute: Execute, connections: int
) -> SocketChannel:
    # Loaded only here, as what follows: a daemon on a unix socket needs none of it.
    from bridle.net.ports import open_port, peer_of_connection

    transport = endpoint.transport
    sock = await open_port(transport, endpoint.host, endpoint.port)
    real = msgspec.structs.replace(endpoint, port=sock.getsockname()[1])
    try:
        if transport == "udp":
            return SocketChannel(
                real, _Port(sock, own=True), _listen_on_datagrams(real, dialect, execute, sock)
            )
        listener = StreamListener(
            dialect,
            execute,
            lambda transport: peer_of_connection(transport.get_extra_info("socket")),
            connection_limit=connections,
        )
        listener.start(sock)
        return SocketChannel(real, _Port(sock, own=False), listener)
    except BaseException:
        sock.close()
        raise


def _listen_on_datagrams(
    endpoint: Endpoint, dialect: Dialect, execute: Execute, sock: socket.socket
) -> DatagramListener:
    from bridle.core.messages import Peer
    from bridle.net.datagram import DatagramListener
    from bridle.net.ports import peer_of_port

    path = endpoint.path
    listener = DatagramListener(
        dialect,
        execute,
        sock,
        (lambda _: Peer(transport="unixd", address=path)) if path else (lambda at: peer_of_port("udp", at)),
    )
    listener.start()
    return listener


def _open_fifo(endpoint: Endpoint, dialect: Dialect, execute: Execute, rights: _Rights) -> SocketChannel:
    from bridle.net.fifo import FifoFile, FifoListener

    file = FifoFile.open(endpoint.path, mode=rights.mode, owner=rights.owner, group=rights.group)
    try:
        listener = FifoListener(dialect, execute, file)
        listener.start()
    except BaseException:
        file.close()
        raise
    return SocketChannel(endpoint, file, listener)
