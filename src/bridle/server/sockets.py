"""Channels on sockets and FIFOs: an endpoint and a dialect become a listener, and end together."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Protocol

import msgspec

from bridle.core.errors import EndpointError
from bridle.net.answers import Execute
from bridle.net.credentials import peer_of_unix
from bridle.net.endpoint import Endpoint
from bridle.net.stream import Door, PeerOf, StreamConnection, StreamListener
from bridle.net.unix import SocketFile
from bridle.server.channel import GRACE, HttpSettings, shut
from bridle.server.exposure import is_loopback
from bridle.server.options import Options, Rights, explain
from bridle.wire.dialect import Dialect

if TYPE_CHECKING:
    from bridle.net.datagram import DatagramListener
    from bridle.net.fifo import FifoListener

__all__ = ["SocketChannel", "open_channel"]

_FILES = ("unix", "unixd", "fifo")


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
        self,
        endpoint: Endpoint,
        name: _Name,
        listener: StreamListener | DatagramListener | FifoListener,
        *,
        exposed: bool = False,
    ) -> None:
        self.endpoint = endpoint
        self.exposed = exposed
        self._name = name
        self._listener = listener
        self._held: DatagramListener | None = None

    @property
    def connections(self) -> Iterable[StreamConnection]:
        """Who is connected, in order."""
        return self._listener.connections if isinstance(self._listener, StreamListener) else ()

    @property
    def busy(self) -> bool:
        """Whether somebody is connected, or an answer is on its way."""
        return self._listener.busy

    def update(self, settings: HttpSettings) -> None:
        """Use other certificates for the handshakes to come; there is nothing else to set."""
        if settings.tls is not None and isinstance(self._listener, StreamListener):
            self._listener.tls = settings.tls

    def learn_groups(self) -> None:
        """Let those who are connected have their unix groups."""
        if isinstance(self._listener, StreamListener):
            self._listener.learn_groups()

    def hold(self) -> None:
        """Refuse connections, and read no datagrams."""
        if isinstance(self._listener, StreamListener):
            self._listener.door = shut
            return
        from bridle.net.datagram import DatagramListener

        if isinstance(self._listener, DatagramListener):
            self._listener.hold()
            self._held = self._listener

    def use_door(self, door: Door | None) -> None:
        """Ask this whether a peer may connect, where there are connections."""
        if isinstance(self._listener, StreamListener):
            self._listener.door = door
        elif self._held is not None:
            self._held.go_on()
            self._held = None

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


async def open_channel(
    endpoint: Endpoint,
    options: Options,
    dialect: Dialect,
    execute: Execute,
    mode: int,
    settings: HttpSettings,
    check: Callable[[str], None],
    asks_groups: Callable[[], bool],
) -> SocketChannel:
    """Listen on an endpoint that is a socket or a FIFO. ``mode`` is a file's where the endpoint says nothing.

    The options ``mode``, ``owner`` (or ``user``) and ``group`` are those of files, ``connections`` that of
    streams; others are the dialect's. ``check`` is told the address of a port, and may refuse it.
    ``asks_groups`` says whether peers need their unix groups.

    Raises:
        EndpointError: an option is unknown, or the endpoint cannot be listened on.
    """
    try:
        rights = options.rights(mode) if endpoint.transport in _FILES else None
        connections = options.connections() if endpoint.transport in ("unix", "tcp") else 0
        options.check(endpoint.transport, dialect)
        dialect = dialect.configured(options.left)
        if settings.tls is not None and not dialect.delimited:
            raise EndpointError(f"{dialect.name} does not travel over TLS: it ends where a side closes")
    except EndpointError as error:
        raise explain(endpoint, error) from None
    if rights is None:
        return await _open_port(endpoint, dialect, execute, connections, settings, check)
    if endpoint.transport == "fifo":
        return _open_fifo(endpoint, dialect, execute, rights)
    kind = socket.SOCK_STREAM if endpoint.transport == "unix" else socket.SOCK_DGRAM
    file = SocketFile.open(
        endpoint.path,
        mode=rights.mode,
        owner=rights.owner,
        group=rights.group,
        kind=kind,
        open_to_all=rights.open_to_all,
    )
    try:
        if kind == socket.SOCK_STREAM:
            path = endpoint.path
            listener = StreamListener(
                dialect,
                execute,
                _with_names(
                    lambda transport: peer_of_unix(
                        transport.get_extra_info("socket"), path, groups=asks_groups()
                    ),
                    settings,
                ),
                connection_limit=connections,
                tls=settings.tls,
            )
            listener.start(file.socket)
            return SocketChannel(endpoint, file, listener)
        return SocketChannel(endpoint, file, _listen_on_datagrams(endpoint, dialect, execute, file.socket))
    except BaseException:
        file.close()
        raise


def _with_names(peer_of: PeerOf, settings: HttpSettings) -> PeerOf:
    """Peers with the names in their certificates, where they have any."""
    if settings.tls is None:
        return peer_of
    from bridle.net.certificates import with_certificate

    return lambda transport: with_certificate(peer_of(transport), transport)


async def _open_port(
    endpoint: Endpoint,
    dialect: Dialect,
    execute: Execute,
    connections: int,
    settings: HttpSettings,
    check: Callable[[str], None],
) -> SocketChannel:
    # Loaded only here, as what follows: a daemon on a unix socket needs none of it.
    from bridle.net.ports import open_port, peer_of_connection

    transport = endpoint.transport
    sock = await open_port(transport, endpoint.host, endpoint.port, check)
    address, port = sock.getsockname()[:2]
    real, exposed = msgspec.structs.replace(endpoint, port=port), not is_loopback(address)
    try:
        if transport == "udp":
            datagrams = _listen_on_datagrams(real, dialect, execute, sock)
            return SocketChannel(real, _Port(sock, own=True), datagrams, exposed=exposed)
        listener = StreamListener(
            dialect,
            execute,
            _with_names(lambda transport: peer_of_connection(transport.get_extra_info("socket")), settings),
            connection_limit=connections,
            tls=settings.tls,
        )
        listener.start(sock)
        return SocketChannel(real, _Port(sock, own=False), listener, exposed=exposed)
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


def _open_fifo(endpoint: Endpoint, dialect: Dialect, execute: Execute, rights: Rights) -> SocketChannel:
    from bridle.net.fifo import FifoFile, FifoListener

    file = FifoFile.open(
        endpoint.path,
        mode=rights.mode,
        owner=rights.owner,
        group=rights.group,
        open_to_all=rights.open_to_all,
    )
    try:
        listener = FifoListener(dialect, execute, file)
        listener.start()
    except BaseException:
        file.close()
        raise
    return SocketChannel(endpoint, file, listener)
