"""Pacemaker's daemons for asyncio: requests are awaited, notifications iterated over."""

from __future__ import annotations

import asyncio
import errno
from collections.abc import AsyncIterator, Generator
from functools import partial
from types import TracebackType
from typing import Self, TypeVar

from bridle.core.errors import BridleError
from bridle.core.events import EventLog
from bridle.core.messages import Event
from bridle.net.libqb.places import PLACES, Places
from bridle.net.libqb.trust import Trust, cluster_server
from bridle.pacemaker.errors import IPCError, ipc_error
from bridle.pacemaker.ipc import IPCServer
from bridle.pacemaker.pump import Pump
from bridle.pacemaker.session import CONNECT_TIMEOUT, TIMEOUT, Session, Settled
from bridle.wire.pacemaker_catalogue import Notification
from bridle.wire.pacemaker_header import BUFFER_SIZE
from bridle.wire.pacemaker_messages import DAEMONS
from bridle.wire.pacemaker_requests import Request

__all__ = ["AsyncPacemakerIPC", "connect"]

R = TypeVar("R")


class AsyncPacemakerIPC:
    """A connection to one of Pacemaker's daemons, made by :func:`bridle.pacemaker.connect`.

    Requests may be under way at the same time. Nothing blocks the loop.
    """

    def __init__(
        self,
        server: IPCServer,
        *,
        timeout: float,
        client_name: str,
        buffer_size: int,
        trusted: Trust,
        places: Places,
        read_only: bool,
        notifications: bool,
    ) -> None:
        self.server = server
        service = "cib_ro" if read_only and server is IPCServer.BASED else DAEMONS[server.value][0]
        self._endpoint = f"qb:{service}"
        self._open = partial(
            Session.open,
            service,
            timeout=timeout,
            name=client_name,
            buffer_size=buffer_size,
            trusted=trusted,
            places=places,
            notifications=notifications,
        )
        self._session: Session | None = None
        self._pump: Pump | None = None
        self._log = EventLog()
        self._told = asyncio.Event()
        self._ended: IPCError | None = None

    async def connect(self) -> Self:
        """Connect, unless that is done already.

        Raises:
            IPCError: as :meth:`PacemakerIPC.connect`.
        """
        if self.is_connected:
            return self
        self.close()
        opening = asyncio.get_running_loop().run_in_executor(None, self._open)
        try:
            session = await asyncio.shield(opening)
        except asyncio.CancelledError:
            opening.add_done_callback(_close_unwanted)
            raise
        self._ended = None
        self._session = session
        self._pump = Pump(session, self._notified, self._failed)
        return self

    def __await__(self) -> Generator[object, None, Self]:
        return self.connect().__await__()

    async def __aenter__(self) -> Self:
        return await self.connect()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    @property
    def is_connected(self) -> bool:
        """Whether the daemon is connected."""
        return self._session is not None and self._session.link.connected

    async def request(self, request: Request[R], *, timeout: float = TIMEOUT) -> R:
        """Send a request and wait for its answer.

        Raises:
            IPCError: ENOTCONN; ETIMEDOUT; EALREADY: nor is an earlier request answered yet; EMSGSIZE, EAGAIN,
                EBADMSG.
            CommandError: the daemon refused it; ``code`` is its return code.
            ArgumentError: the request makes no sense.
        """
        session, pump = self._session, self._pump
        if session is None or pump is None:
            raise ipc_error(errno.ENOTCONN, "not connected", self._endpoint)
        pending = session.prepare(request)
        answer: asyncio.Future[Settled[R]] = asyncio.get_running_loop().create_future()

        def settled(found: Settled[R]) -> None:
            if not answer.done():
                answer.set_result(found)

        pump.start(pending, timeout, settled)
        try:
            return (await answer).value()
        finally:
            session.abandon(pending)

    async def notifications(self) -> AsyncIterator[Event]:
        """What the daemon tells from now on, numbered, until the connection ends.

        Raises:
            Gap: the reader was too slow, and some of it is no longer remembered.
            IPCConnectionError: the daemon has gone.
        """
        read = self._log.last
        while True:
            for event in self._log.since(read):
                read = event.sequence
                yield event
            if self._log.last > read:
                continue
            if self._session is None:
                if self._ended is not None:
                    raise self._ended
                return
            self._told.clear()
            await self._told.wait()

    def _notified(self, found: Notification) -> None:
        self._log.publish(found.name, found.data)
        self._told.set()

    def _failed(self, error: IPCError) -> None:
        if error.errno == errno.ENOTCONN:
            self._ended = error
            self._end(error)

    def _end(self, error: BridleError) -> None:
        session, self._session = self._session, None
        pump, self._pump = self._pump, None
        if pump is not None:
            pump.close()
        if session is not None:
            session.close()
            session.fail(error)
        self._told.set()

    def close(self) -> None:
        """End the connection. Requests under way fail with ENOTCONN."""
        self._end(ipc_error(errno.ENOTCONN, "closed", self._endpoint))


def _close_unwanted(opening: asyncio.Future[Session]) -> None:
    if not opening.cancelled() and opening.exception() is None:
        opening.result().close()


def connect(
    server: IPCServer | str,
    *,
    timeout: float = CONNECT_TIMEOUT,
    client_name: str = "",
    buffer_size: int = BUFFER_SIZE,
    trusted: Trust = cluster_server,
    places: Places = PLACES,
    read_only: bool = False,
    notifications: bool = True,
) -> AsyncPacemakerIPC:
    """Connect to one of Pacemaker's daemons: ``async with bridle.pacemaker.connect("attrd") as attributes``,
    or ``await`` it and :meth:`~AsyncPacemakerIPC.close` it.

    ``timeout`` is for connecting, in seconds; the other arguments are those of :class:`PacemakerIPC`.
    ``notifications`` subscribes to what the CIB manager and the fencer tell.

    Raises:
        IPCUsageError: EINVAL: there is no server; EOPNOTSUPP: it is none that is known.
    """
    if not server:
        raise ipc_error(errno.EINVAL, "a server is needed")
    try:
        known = IPCServer(server)
    except ValueError:
        raise ipc_error(errno.EOPNOTSUPP, f"there is no daemon '{server}'") from None
    return AsyncPacemakerIPC(
        known,
        timeout=timeout,
        client_name=client_name,
        buffer_size=buffer_size,
        trusted=trusted,
        places=places,
        read_only=read_only,
        notifications=notifications,
    )
