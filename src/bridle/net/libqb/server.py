"""A libqb service: it listens under a name, decides who is served, and how.

::

    class Echo:
        def __init__(self, connection: ServerConnection) -> None:
            self.connection = connection

        def request_received(self, message: bytes) -> None:
            self.connection.respond(message)

        def connection_lost(self, error: LibqbError | None) -> None:
            pass

    server = LibqbServer("echo", Echo)
    server.start()
    ...
    await server.close()
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import itertools
import logging
import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

from bridle.core.errors import EndpointError, RemoteProtocolError
from bridle.net.libqb.connection import LINGER, RequestHandler, ServerChannels, ServerConnection
from bridle.net.libqb.directory import ConnectionDirectory, sweep
from bridle.net.libqb.outbox import BACKLOG
from bridle.net.libqb.places import PLACES, Places
from bridle.net.libqb.server_memory import MemoryServerChannels
from bridle.net.libqb.server_sockets import SocketServerChannels
from bridle.net.libqb.setup import Handshake, connected_peer
from bridle.net.libqb.trust import Admission, Choice, Credentials, Rights, cluster_client, cluster_rights
from bridle.net.stream import Door
from bridle.wire.libqb import (
    DEFAULT_MESSAGE,
    MESSAGE_LIMIT,
    REQUEST_BYTES,
    ConnectionResponse,
    Transport,
    decode_request,
    encode_response,
)

__all__ = [
    "ARRIVALS",
    "CONNECTION_LIMIT",
    "HANDSHAKE_TIMEOUT",
    "NAME_LENGTH",
    "STRANGERS",
    "LibqbServer",
    "Serve",
]

CONNECTION_LIMIT = 256
"""Clients at a time. Each has 430 KB of shared memory, and more where it asks for larger messages."""

HANDSHAKE_TIMEOUT = 5.0
"""Seconds that a client gets to send its 24 bytes."""

ARRIVALS = 64
"""Clients that may be about to send them."""

STRANGERS = 16
"""How many of these may be such as will be refused: they cannot take all the places."""

NAME_LENGTH = 48
"""Bytes of a service's name: the names of the sockets for datagrams have 107, and hold it with two pids."""

_QUEUE = 128
_ACCEPTED = 16
"""Clients that are accepted in one go."""

Serve: TypeAlias = Callable[[ServerConnection], RequestHandler]
"""Makes what handles one client's requests."""

_log = logging.getLogger("bridle.net.libqb")
_numbers = itertools.count(1)


class LibqbServer:
    """A listening service, and its clients."""

    def __init__(
        self,
        name: str,
        serve: Serve,
        *,
        transport: Transport | Choice = Transport.SHM,
        admit: Admission = cluster_client,
        rights: Rights = cluster_rights,
        max_message: int = DEFAULT_MESSAGE,
        connection_limit: int = CONNECTION_LIMIT,
        backlog: int = BACKLOG,
        places: Places = PLACES,
    ) -> None:
        """``transport`` is what messages travel in, for everybody or by the client. ``serve`` makes what
        handles a client's requests. ``admit`` says who may be one, ``rights`` whose the files are that it
        gets.

        Raises:
            EndpointError: the name cannot be one.
        """
        if not 0 < len(os.fsencode(name)) <= NAME_LENGTH or "/" in name or "\0" in name:
            text = f"'{name}' is no name of a libqb service: at most {NAME_LENGTH} bytes, and no slash"
            raise EndpointError(text)
        self.name = name
        self.transport = transport
        self._admit = admit
        self.max_message = max_message
        self.connection_limit = connection_limit
        self.door: Door | None = None
        """Asked about each client that would be served, where there is one; EAGAIN refuses it."""
        self.connections: dict[ServerConnection, None] = {}
        self._left: dict[ServerConnection, Callable[[], None]] = {}
        self._serve = serve
        self._rights = rights
        self._backlog = backlog
        self._places = places
        self._arrivals: dict[_Arrival, None] = {}
        self._listening: socket.socket | None = None
        self._path: Path | None = None
        self._quiet = asyncio.Event()
        self.loop: asyncio.AbstractEventLoop = asyncio.get_running_loop()

    def start(self) -> None:
        """Listen, and remove what a predecessor left that was killed.

        Raises:
            EndpointError: the name is taken, or cannot be had.
        """
        self._listening = self._listen()
        for path in sweep(self._places.memory, self.name):
            _log.info("removed %s, which a server of %s had left", path, self.name)
        self.loop.add_reader(self._listening.fileno(), self._on_arrival)

    def _listen(self) -> socket.socket:
        address = self._places.service(self.name)
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            sock.setblocking(False)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
            if isinstance(address, str):
                _clear(address)
            sock.bind(address)
            if isinstance(address, str):
                self._path = Path(address)
                self._path.chmod(0o777)
            sock.listen(_QUEUE)
        except OSError as error:
            sock.close()
            raise EndpointError(f"endpoint 'qb:{self.name}': cannot listen: {error.strerror}") from error
        return sock

    def _on_arrival(self) -> None:
        for _ in range(_ACCEPTED):
            if self._listening is None:
                return
            try:
                sock, _ = self._listening.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as error:
                _log.error("qb:%s: cannot accept: %s", self.name, error.strerror)
                self._rest()
                return
            _Arrival(self, sock)

    def _rest(self) -> None:
        """Do not try at once again what failed for want of descriptors or memory."""
        listening = self._listening
        if listening is not None:
            self.loop.remove_reader(listening.fileno())
            self.loop.call_later(0.1, self._try_again)

    def _try_again(self) -> None:
        if self._listening is not None:
            self.loop.add_reader(self._listening.fileno(), self._on_arrival)

    def admission(self, client: Credentials) -> int:
        """0, or the errno that a client is refused with: also where the policy fails."""
        try:
            return self._admit(client)
        except Exception as failure:
            _log.exception("qb:%s: no decision about pid %d", self.name, client.pid, exc_info=failure)
            return errno.EIO

    def expect(self, arrival: _Arrival, *, stranger: bool) -> bool:
        """Whether there is room for one more that is about to ask for a connection."""
        strangers = sum(other.stranger for other in self._arrivals)
        if len(self._arrivals) >= ARRIVALS or (stranger and strangers >= STRANGERS):
            return False
        self._arrivals[arrival] = None
        return True

    def leave(self, arrival: _Arrival) -> None:
        """It has asked, or given up."""
        self._arrivals.pop(arrival, None)

    def open(self, setup: socket.socket, client: Credentials, wanted: int) -> None:
        """Answer a client, and serve it unless it is refused. The socket is the server's from here on."""
        error = self._refusal(client, wanted)
        if error:
            _refuse(setup, error)
            return
        entered = self.door(client.peer(self.name)) if self.door is not None else _nothing
        if isinstance(entered, str):
            _log.warning("qb:%s: refused pid %d: %s", self.name, client.pid, entered)
            _refuse(setup, errno.EAGAIN)
            return
        try:
            directory, channels = self._make(setup, client, max(wanted, self.max_message))
        except Exception as failure:
            entered()
            _log.error("qb:%s: no connection for pid %d: %s", self.name, client.pid, failure)
            _refuse(setup, (failure.errno if isinstance(failure, OSError) else None) or errno.EIO)
            return
        connection = ServerConnection(
            self.loop, self.name, client, channels, directory, self._forget, backlog=self._backlog
        )
        self.connections[connection] = None
        self._left[connection] = entered
        self._quiet.clear()
        try:
            sent = setup.send(encode_response(channels.answer))
            setup.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 0)
        except OSError:
            sent = 0
        if sent == 0:
            connection.abort()
            return
        try:
            connection.start(self._serve(connection))
        except Exception as failure:
            _log.exception("qb:%s: a client could not be served", self.name, exc_info=failure)
            connection.abort()

    def _refusal(self, client: Credentials, wanted: int) -> int:
        """The errno that a client is refused with; 0: it is welcome."""
        error = self.admission(client)
        if error:
            _log.warning(
                "qb:%s: refused uid %d, gid %d (pid %d)", self.name, client.uid, client.gid, client.pid
            )
        elif wanted > MESSAGE_LIMIT:
            error = errno.EMSGSIZE
        elif len(self.connections) >= self.connection_limit:
            _log.warning(
                "qb:%s: refused pid %d: %d clients are served", self.name, client.pid, self.connection_limit
            )
            error = errno.EAGAIN
        return error

    def _make(
        self, setup: socket.socket, client: Credentials, max_message: int
    ) -> tuple[ConnectionDirectory, ServerChannels]:
        rights, name = self._rights(client), self.name
        directory = ConnectionDirectory(self._places.memory, client.pid, next(_numbers), rights)
        try:
            transport = self.transport if isinstance(self.transport, Transport) else self.transport(client)
            if transport is Transport.SHM:
                return directory, MemoryServerChannels(self.loop, setup, directory, name, max_message, rights)
            return directory, SocketServerChannels(
                self.loop, setup, directory, name, max_message, rights, client
            )
        except BaseException:
            directory.remove()
            raise

    def _forget(self, connection: ServerConnection) -> None:
        if self.connections.pop(connection, self) is None:
            self._left.pop(connection)()
        if not self.connections:
            self._quiet.set()

    def stop_accepting(self) -> None:
        """Take no new clients; those that are there go on."""
        listening, self._listening = self._listening, None
        if listening is not None:
            self.loop.remove_reader(listening.fileno())
            listening.close()
            if self._path is not None:
                self._path.unlink(missing_ok=True)
        for arrival in tuple(self._arrivals):
            arrival.end()

    async def close(self, grace: float = LINGER) -> None:
        """End: no new clients; those that are there get ``grace`` seconds to take what was sent to them."""
        self.stop_accepting()
        for connection in tuple(self.connections):
            connection.close(grace)
        try:
            while self.connections:
                self._quiet.clear()
                await self._quiet.wait()
        finally:
            for connection in tuple(self.connections):
                connection.abort()


class _Arrival:
    """A client that has connected, and has not asked for a connection yet."""

    def __init__(self, server: LibqbServer, sock: socket.socket) -> None:
        self._server = server
        self._socket = sock
        self._handshake = Handshake(REQUEST_BYTES)
        sock.setblocking(False)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        self.stranger: bool = bool(server.admission(connected_peer(sock)))
        if not server.expect(self, stranger=self.stranger):
            sock.close()
            return
        self._timer = server.loop.call_later(HANDSHAKE_TIMEOUT, self.end)
        server.loop.add_reader(sock.fileno(), self._on_readable)

    def _on_readable(self) -> None:
        try:
            data = self._handshake.receive(self._socket)
            if data is None:
                return
            wanted, client = decode_request(data), self._handshake.sender(self._socket)
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            self.end()
            return
        except RemoteProtocolError as error:
            _log.warning("qb:%s: %s", self._server.name, error)
            self.end()
            return
        self._leave()
        self._server.open(self._socket, client, wanted)

    def _leave(self) -> None:
        self._timer.cancel()
        self._server.loop.remove_reader(self._socket.fileno())
        self._server.leave(self)

    def end(self) -> None:
        """Close it."""
        self._leave()
        self._socket.close()


def _nothing() -> None:
    pass


def _refuse(setup: socket.socket, error: int) -> None:
    with setup, contextlib.suppress(OSError):
        setup.send(encode_response(ConnectionResponse(error)))


def _clear(path: str) -> None:
    """Remove a socket that nobody listens on."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            Path(path).unlink(missing_ok=True)
        except OSError:
            pass
