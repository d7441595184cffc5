"""A client of a libqb service, blocking. The server decides whether messages travel in memory or datagrams.

::

    with connect("pacemakerd") as connection:
        connection.send(request)
        response = connection.receive_response(timeout=5)
        event = connection.receive_event(timeout=5)

Who waits by other means watches :meth:`LibqbClient.filenos`, and takes events until there are none. In an
asyncio program, :class:`bridle.net.libqb.asynchronous.AsyncLibqbClient` does.
"""

from __future__ import annotations

import errno
import select
import time
from typing import Protocol, Self

from bridle.core.errors import EndpointError, RemoteProtocolError
from bridle.core.messages import Peer
from bridle.net.libqb.client_memory import MemoryChannels
from bridle.net.libqb.client_sockets import SocketChannels
from bridle.net.libqb.errors import LibqbError, LibqbTimeout, disconnected
from bridle.net.libqb.places import PLACES, Places
from bridle.net.libqb.setup import ask, dial
from bridle.net.libqb.trust import Credentials, Trust, cluster_server
from bridle.wire.libqb import DEFAULT_MESSAGE, SMALLEST_MESSAGE, Transport, check_message

__all__ = ["CONNECT_TIMEOUT", "LibqbClient", "connect"]

CONNECT_TIMEOUT = 5.0
"""Seconds that a server gets to answer the handshake. libqb waits for ever; a daemon that is alive answers at
once."""

_PAUSE = 0.001
_LONGEST_PAUSE = 0.02
"""Seconds between two looks whether there is room for a request: nothing tells a sender."""


class Channels(Protocol):
    """The three channels of a connection; what :class:`LibqbClient` needs of a transport."""

    def put(self, message: bytes, /) -> bool: ...

    def response(self) -> bytes | None: ...

    def wait_for_response(self, seconds: float, /) -> bytes | None: ...

    def event(self) -> bytes | None: ...

    def filenos(self) -> tuple[int, ...]: ...

    def response_filenos(self) -> tuple[int, ...]: ...

    def ended(self) -> bool: ...

    def close(self) -> None: ...


def connect(
    name: str,
    *,
    max_message: int = DEFAULT_MESSAGE,
    timeout: float = CONNECT_TIMEOUT,
    trusted: Trust = cluster_server,
    places: Places = PLACES,
) -> LibqbClient:
    """Connect to the service ``name``. The server may agree on larger messages than ``max_message`` bytes.

    ``trusted`` says by the server's credentials whether it is genuine.

    Raises:
        LibqbError: ECONNREFUSED: nobody listens; ECONNABORTED: the server is not trusted; EBADMSG: it is
            none; ETIMEDOUT (a :class:`~bridle.net.libqb.errors.LibqbTimeout`); EACCES, EAGAIN, EPERM and so
            on: what the server refuses the client with, or what its files do.
        EndpointError: there can be no service of that name.
    """
    deadline = time.monotonic() + timeout
    setup = dial(name, places, deadline)
    try:
        response, server = ask(setup, max(max_message, SMALLEST_MESSAGE), deadline)
        if response.error:
            raise LibqbError(response.error)
        if not trusted(server):
            text = f"the server is not trusted: uid {server.uid}, gid {server.gid}"
            raise LibqbError(errno.ECONNABORTED, text)
        transport = Transport(response.transport)
        opened = MemoryChannels if transport is Transport.SHM else SocketChannels
        channels: Channels = opened(setup, response, server)
    except BaseException as error:
        setup.close()
        found = _explained(error, f"qb:{name}")
        if found is error:
            raise
        raise found from error
    return LibqbClient(name, channels, server, transport, response.max_message)


def _explained(error: BaseException, endpoint: str) -> BaseException:
    """The error as the caller is to see it."""
    if isinstance(error, LibqbTimeout):
        return LibqbTimeout(error.text, endpoint=endpoint)
    if isinstance(error, LibqbError):
        return LibqbError(error.errno, error.text, endpoint=endpoint)
    if isinstance(error, RemoteProtocolError | EndpointError):  # the latter of names that the server gave
        return LibqbError(errno.EBADMSG, str(error), endpoint=endpoint)
    if isinstance(error, OSError):
        return LibqbError(error.errno or errno.EIO, str(error), endpoint=endpoint)
    return error


class LibqbClient:
    """A connection to a service. One thread may send while others wait for a response or for an event."""

    name: str
    """The service's."""
    peer: Peer
    """The server."""
    transport: Transport
    max_message: int
    """Bytes of the largest message, libqb's header included."""

    def __init__(
        self, name: str, channels: Channels, server: Credentials, transport: Transport, max_message: int
    ) -> None:
        self.name = name
        self.endpoint: str = f"qb:{name}"
        self.credentials: Credentials = server
        self.peer = server.peer(name)
        self.transport = transport
        self.max_message = max_message
        self._channels: Channels | None = channels

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.close()

    @property
    def connected(self) -> bool:
        """Whether the connection is open, as far as the kernel knows now."""
        return self._channels is not None and not self._channels.ended()

    def try_send(self, message: bytes) -> bool:
        """Send a message with its header, if there is room for it now and the server has not asked for a
        pause.

        Raises:
            LibqbError: EMSGSIZE, ENOTCONN, EBADMSG.
        """
        if len(message) > self.max_message:
            text = f"a message of {len(message)} bytes; at most {self.max_message} were agreed on"
            raise LibqbError(errno.EMSGSIZE, text, endpoint=self.endpoint)
        try:
            return self._open.put(message)
        except (LibqbError, ValueError) as error:
            raise self._failed(error) from error

    def send(self, message: bytes, timeout: float = 0.0) -> None:
        """Send a message with its header; for lack of room, or while the server pauses, try for ``timeout``
        seconds.

        Raises:
            LibqbError: EAGAIN: the time is up; EMSGSIZE, ENOTCONN, EBADMSG.
        """
        if self.try_send(message):
            return
        deadline = time.monotonic() + timeout
        pause = _PAUSE
        while (left := deadline - time.monotonic()) > 0:
            time.sleep(min(left, pause))
            pause = min(2 * pause, _LONGEST_PAUSE)
            if self.try_send(message):
                return
            if self._open.ended():
                raise disconnected(self.endpoint)
        raise LibqbError(errno.EAGAIN, "the server does not take the request", endpoint=self.endpoint)

    def try_receive_response(self) -> bytes | None:
        """The next response; None if there is none now, also where the connection has ended.

        Raises:
            LibqbError: EBADMSG; ENOTCONN: it was closed here.
        """
        try:
            return self._checked(self._open.response())
        except (LibqbError, ValueError) as error:
            raise self._failed(error) from error

    def receive_response(self, timeout: float) -> bytes:
        """The next response, as soon as there is one.

        Raises:
            LibqbTimeout: there is none within ``timeout`` seconds.
            LibqbError: ENOTCONN, at once, also where the server was killed; EBADMSG.
        """
        deadline = time.monotonic() + timeout
        channels = self._open
        try:
            while (message := channels.wait_for_response(max(deadline - time.monotonic(), 0.0))) is None:
                if channels.ended() and (message := channels.response()) is None:
                    raise disconnected(self.endpoint)
                if message is not None:
                    break
                if time.monotonic() >= deadline:
                    raise LibqbTimeout(f"no response in {timeout:g} s", endpoint=self.endpoint)
            return self._certain(message)
        except (LibqbError, ValueError) as error:
            raise self._failed(error) from error

    def receive_event(self, timeout: float = 0.0) -> bytes | None:
        """The next event; None if there is none within ``timeout`` seconds. Those that came before the end of
        the connection are delivered.

        Raises:
            LibqbError: ENOTCONN, at once; EBADMSG.
        """
        message = self._event()
        if message is not None or timeout <= 0:
            return message
        deadline = time.monotonic() + timeout
        poller = select.poll()
        for descriptor in self.filenos():
            poller.register(descriptor, select.POLLIN)
        while (left := deadline - time.monotonic()) > 0:
            if poller.poll(left * 1000) and (message := self._event()) is not None:
                return message
        return None

    def _event(self) -> bytes | None:
        try:
            return self._checked(self._open.event())
        except (LibqbError, ValueError) as error:
            raise self._failed(error) from error

    def fileno(self) -> int:
        """What is readable when there is an event. With datagrams it does not show the end of the connection:
        see :meth:`filenos`.

        Raises:
            LibqbError: ENOTCONN: the connection was closed here.
        """
        return self.filenos()[0]

    def filenos(self) -> tuple[int, ...]:
        """All that has to be watched to see events and the end: one descriptor, or two.

        Raises:
            LibqbError: ENOTCONN: the connection was closed here.
        """
        return self._open.filenos()

    def response_filenos(self) -> tuple[int, ...]:
        """All that has to be watched to see responses and the end. In shared memory nothing shows the former:
        only the end is to be seen.

        Raises:
            LibqbError: ENOTCONN: the connection was closed here.
        """
        return self._open.response_filenos()

    def close(self) -> None:
        """End the connection. Who waits in another thread gets ENOTCONN.

        The end of the stream socket says so; a message with the id of disconnecting would say nothing more,
        and a C server drops what it has not read in either case.
        """
        channels, self._channels = self._channels, None
        if channels is not None:
            channels.close()

    @property
    def _open(self) -> Channels:
        if self._channels is None:
            raise disconnected(self.endpoint)
        return self._channels

    def _checked(self, message: bytes | None) -> bytes | None:
        return None if message is None else self._certain(message)

    def _certain(self, message: bytes) -> bytes:
        try:
            check_message(message)
        except RemoteProtocolError as error:
            raise LibqbError(errno.EBADMSG, error.text) from error
        return message

    def _failed(self, error: LibqbError | ValueError) -> LibqbError:
        """The error with this connection's name; a ValueError is a view of memory that another thread
        closed."""
        if isinstance(error, ValueError):
            return disconnected(self.endpoint)
        if isinstance(error, LibqbTimeout):
            return LibqbTimeout(error.text, endpoint=self.endpoint)
        return LibqbError(error.errno, error.text, endpoint=self.endpoint)
