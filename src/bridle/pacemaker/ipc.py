"""The API of Pacemaker's own ``crm/common/ipc.h`` in Python (``reference/pacemaker-ipc.txt``): one object for
each daemon, with three ways to have what it says dispatched.

``sync``  a request waits for its answer; nothing else is dispatched unless something is asked
``poll``  the caller asks :meth:`PacemakerIPC.poll`, and has :meth:`PacemakerIPC.dispatch` take what there is
``main``  the running asyncio loop dispatches by itself

Where the original waits for ever, or never tells of a disconnection, this does not: every wait has an end,
and a daemon that has gone is told of in each of the three.
"""

from __future__ import annotations

import asyncio
import enum
import errno
import logging
import select
import time
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Self, TypeAlias, TypeVar

from msgspec import Struct

from bridle.core.errors import ArgumentError, BridleError, CommandError
from bridle.net.libqb.places import PLACES, Places
from bridle.net.libqb.trust import Trust, cluster_server
from bridle.pacemaker.errors import IPCError, IPCProtocolError, ipc_error
from bridle.pacemaker.pump import Pump
from bridle.pacemaker.session import CONNECT_TIMEOUT, TIMEOUT, Pending, Session, Settled
from bridle.wire.pacemaker_attrd import AttributeNodePurge
from bridle.wire.pacemaker_catalogue import Notification
from bridle.wire.pacemaker_header import BUFFER_SIZE
from bridle.wire.pacemaker_messages import DAEMONS, CrmExit
from bridle.wire.pacemaker_requests import FencerNodePurge, NodePurge, Request

if TYPE_CHECKING:
    from types import TracebackType

__all__ = ["IPCCallback", "IPCDispatch", "IPCEvent", "IPCEventType", "IPCServer", "PacemakerIPC"]

R = TypeVar("R")
_log = logging.getLogger("bridle.pacemaker")

# Messages that one dispatch takes at most: a daemon that never stops must not hold its client.
_DISPATCHED = 1000


class IPCServer(enum.Enum):
    """Pacemaker's daemons."""

    ATTRD = "attrd"
    BASED = "based"
    CONTROLD = "controld"
    EXECD = "execd"
    FENCED = "fenced"
    PACEMAKERD = "pacemakerd"
    SCHEDULERD = "schedulerd"


class IPCDispatch(enum.Enum):
    """How what a daemon says is dispatched."""

    MAIN = "main"
    POLL = "poll"
    SYNC = "sync"


class IPCEventType(enum.Enum):
    """What a callback is called for."""

    CONNECT = "connect"
    DISCONNECT = "disconnect"
    REPLY = "reply"
    NOTIFY = "notify"


class IPCEvent(Struct, frozen=True):
    """What a callback is called with.

    ``status`` is 0, 102 (``CRM_EX_DISCONNECT``) of a disconnection, 76 (``CRM_EX_PROTOCOL``) of a reply that
    makes no sense, or the return code that a request was refused with. ``data`` is the typed result of a
    reply, None where it has none; of a notification it is its :class:`Notification`. ``error`` is what went
    wrong, ``request`` what was asked.
    """

    type: IPCEventType
    status: int = 0
    data: object = None
    request: Request[object] | None = None
    error: BridleError | None = None


IPCCallback: TypeAlias = "Callable[[PacemakerIPC, IPCEvent, object], None]"
"""Called with the connection, the event, and the user data that it was registered with."""

_PURGES: dict[IPCServer, type[NodePurge]] = {
    IPCServer.ATTRD: AttributeNodePurge,
    IPCServer.FENCED: FencerNodePurge,
}
_NO_PURGE = frozenset({IPCServer.SCHEDULERD, IPCServer.BASED, IPCServer.EXECD})


class PacemakerIPC:
    """A connection to one of Pacemaker's daemons. Not for several threads.

    ``server`` is one of :class:`IPCServer`, or its name. ``read_only`` connects to the CIB manager's service
    for readers. ``client_name`` is what this program calls itself; ``buffer_size`` the bytes of the largest
    message as it travels, for sites that have set ``PCMK_ipc_buffer``. ``trusted`` says whether a server is
    genuine: by default root, hacluster or haclient. ``places`` is where libqb has its files, if it was built
    with others than Debian's.

    Raises:
        IPCUsageError: EINVAL: there is no server; EOPNOTSUPP: it is none that is known.
    """

    def __init__(
        self,
        server: IPCServer | str,
        *,
        client_name: str = "",
        buffer_size: int = BUFFER_SIZE,
        trusted: Trust = cluster_server,
        places: Places = PLACES,
        read_only: bool = False,
    ) -> None:
        if not server:
            raise ipc_error(errno.EINVAL, "a server is needed")
        try:
            self.server: IPCServer = IPCServer(server)
        except ValueError:
            raise ipc_error(errno.EOPNOTSUPP, f"there is no daemon '{server}'") from None
        self._service = "cib_ro" if read_only and self.server is IPCServer.BASED else self.name()
        self._client_name = client_name
        self._buffer_size = buffer_size
        self._trusted = trusted
        self._places = places
        self._callback: IPCCallback | None = None
        self._user_data: object = None
        self._dispatch = IPCDispatch.SYNC
        self._session: Session | None = None
        self._pump: Pump | None = None
        self._was_connected = False
        self._queued: deque[IPCEvent] = deque()

    def name(self, for_log: bool = False) -> str:
        """The name that the daemon listens under (``crmd``), or what people call it (``controller``)."""
        return DAEMONS[self.server.value][for_log]

    @property
    def is_connected(self) -> bool:
        """Whether the daemon is connected. One that has gone is told of, to the callback, when this is asked,
        where nothing else does."""
        session = self._session
        if session is None:
            return False
        if session.link.connected:
            return True
        if self._dispatch is IPCDispatch.SYNC:
            self._lost()
        return False

    @property
    def dispatch_type(self) -> IPCDispatch:
        """How it is dispatched, once it is connected."""
        return self._dispatch

    def register_callback(self, callback: IPCCallback | None, user_data: object = None) -> None:
        """Call ``callback`` for events from now on, in place of the one before; None: nobody."""
        self._callback, self._user_data = callback, user_data

    def connect(
        self,
        dispatch: IPCDispatch | str = IPCDispatch.SYNC,
        *,
        timeout: float = CONNECT_TIMEOUT,
        notifications: bool = True,
    ) -> None:
        """Connect, ``timeout`` seconds at the most; nothing where that is done already.

        ``notifications`` subscribes to what the CIB manager and the fencer tell. With ``main`` it has to be
        called where an asyncio loop runs; it blocks that until it is connected, which
        :func:`bridle.pacemaker.connect` does not.

        Raises:
            IPCError: EINVAL: no such dispatch type, or no running loop; ECONNREFUSED: there is no daemon;
                ECONNABORTED: it is not genuine; ETIMEDOUT; what the daemon refuses its client with.
        """
        if self._session is not None and self._session.link.connected:
            return
        chosen = self._prepare(dispatch)
        self._attach(self._open(timeout, notifications), chosen)

    def _prepare(self, dispatch: IPCDispatch | str) -> IPCDispatch:
        try:
            chosen = IPCDispatch(dispatch)
        except ValueError:
            raise ipc_error(errno.EINVAL, f"there is no dispatch type '{dispatch}'") from None
        if chosen is IPCDispatch.MAIN:
            try:
                asyncio.get_running_loop()
            except RuntimeError:
                raise ipc_error(errno.EINVAL, "no asyncio loop runs that could dispatch") from None
        if self._session is not None:
            self._lost()
        return chosen

    def _open(self, timeout: float, notifications: bool) -> Session:
        return Session.open(
            self._service,
            timeout=timeout,
            name=self._client_name,
            buffer_size=self._buffer_size,
            trusted=self._trusted,
            places=self._places,
            notifications=notifications,
        )

    def _attach(self, session: Session, dispatch: IPCDispatch) -> None:
        self._session, self._dispatch, self._was_connected = session, dispatch, True
        self._queued.clear()
        if dispatch is IPCDispatch.MAIN:
            self._pump = Pump(session, self._took, self._failed)
        self._emit(IPCEvent(IPCEventType.CONNECT))

    def disconnect(self) -> None:
        """End the connection; the callback is told. It can be connected again."""
        self._lost()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.disconnect()

    # Asking.

    def request(self, request: Request[R], *, timeout: float = TIMEOUT) -> R:
        """Send a request and wait for its answer, with dispatch type ``sync``.

        Raises:
            IPCError: EINVAL: another dispatch type, or disconnected; ENOTCONN; ETIMEDOUT; EALREADY: nor is an
                earlier request answered yet; EMSGSIZE, EAGAIN, EBADMSG.
            CommandError: the daemon refused it; ``code`` is its return code.
            ArgumentError: the request makes no sense.
        """
        if self._dispatch is not IPCDispatch.SYNC:
            raise ipc_error(errno.EINVAL, "only with dispatch type 'sync' a request waits for its answer")
        settled = self._ask_and_wait(request, timeout)
        self._took(settled)
        return settled.value()

    def send(self, request: Request[object], *, timeout: float = TIMEOUT) -> None:
        """Send a request; its answer is dispatched to the callback. With ``sync`` it is waited for.

        What the daemon answers on the response channel is waited for with ``poll`` as well; with ``main`` a
        thread does that.

        Raises:
            IPCError, ArgumentError: as :meth:`request`, as far as it is known by then.
        """
        if self._dispatch is IPCDispatch.SYNC:
            self._took(self._ask_and_wait(request, timeout))
            return
        session = self._connected()
        pending = session.prepare(request)
        if self._pump is not None:
            self._pump.start(pending, timeout, self._took)
            return
        try:
            session.send(pending, timeout)
        except CommandError as error:
            pending.settle(Settled(request, None, error))
        except IPCError as error:
            self._failed(error)
            raise
        if pending.settled is not None:
            self._queued.append(_reply(pending.settled))

    def _ask_and_wait(self, request: Request[R], timeout: float) -> Settled[R]:
        """The answer, whatever it is; notifications that come meanwhile are dispatched."""
        session = self._connected()
        deadline = time.monotonic() + timeout
        pending: Pending[R] | None = None
        try:
            pending = session.begin(request, timeout)
            while pending.settled is None:
                left = deadline - time.monotonic()
                if left <= 0:
                    raise ipc_error(errno.ETIMEDOUT, "no answer in time", session.link.endpoint)
                message = session.link.event(left)
                if message is not None:
                    taken = session.take(message)
                    if taken is not pending.settled:
                        self._took(taken)
            return pending.settled
        except CommandError as error:
            return Settled(request, None, error)
        except IPCError as error:
            self._failed(error)
            raise
        finally:
            if pending is not None:
                session.abandon(pending)

    def purge_node(self, node_name: str | None = None, node_id: int = 0) -> None:
        """Ask the daemon to forget a node, by its name, its number, or both. No answer is waited for.

        Raises:
            IPCError: EINVAL: neither is given, or disconnected; EOPNOTSUPP: the daemon knows no nodes;
                ENOTCONN: never connected.
        """
        if not node_name and not node_id:
            raise ipc_error(errno.EINVAL, "a node's name or number is needed")
        if self.server in _NO_PURGE:
            raise ipc_error(errno.EOPNOTSUPP, f"the {self.name(True)} knows no nodes")
        session = self._connected()
        kind = _PURGES.get(self.server, NodePurge)
        try:
            session.link.send(session.prepare(kind(node_name or None, node_id or None)).asked)
        except IPCError as error:
            self._failed(error)
            raise

    # Dispatching.

    def poll(self, timeout: float = 0.0) -> None:
        """Wait for something to dispatch, ``timeout`` seconds at the most. Nothing is taken.

        It returns as well where the daemon has gone: :meth:`dispatch` tells of that.

        Raises:
            IPCError: EAGAIN: there is nothing; EINVAL: another dispatch type, or not connected; a time that
                is none.
        """
        if self._session is None or self._dispatch is not IPCDispatch.POLL or not timeout >= 0:
            raise ipc_error(errno.EINVAL, "only a connection with dispatch type 'poll' is polled")
        if self._queued:
            return
        poller = select.poll()
        for descriptor in self._session.link.filenos():
            poller.register(descriptor, select.POLLIN)
        if not poller.poll(min(timeout, _LONGEST_POLL) * 1000):
            raise ipc_error(errno.EAGAIN, "nothing to dispatch")

    def dispatch(self) -> None:
        """Take what there is, and call the callback for it. Waits for nothing; does nothing where it is not
        connected."""
        for _ in range(_DISPATCHED):
            while self._queued:
                self._emit(self._queued.popleft())
            session = self._session
            if session is None:
                return
            try:
                message = session.link.event()
                if message is None:
                    break
                self._took(session.take(message))
            except IPCError as error:
                self._failed(error)
        for settled in self._session.expire() if self._session is not None else ():
            self._emit(_reply(settled))

    def _took(self, taken: Settled[R] | Notification | None) -> None:
        if isinstance(taken, Settled):
            self._emit(_reply(taken))
        elif taken is not None:
            self._emit(IPCEvent(IPCEventType.NOTIFY, data=taken))

    def _failed(self, error: IPCError) -> None:
        """A message that makes no sense is left out; the end of the connection is the end."""
        if error.errno == errno.ENOTCONN:
            self._lost(error)
        elif isinstance(error, IPCProtocolError):
            _log.warning("%s", error)

    def _lost(self, error: IPCError | None = None) -> None:
        session, self._session = self._session, None
        if session is None:
            return
        pump, self._pump = self._pump, None
        if pump is not None:
            pump.close()
        endpoint = session.link.endpoint
        session.close()
        ended = error or ipc_error(errno.ENOTCONN, "the connection has ended", endpoint)
        while self._queued:
            self._emit(self._queued.popleft())
        for settled in session.fail(ended):
            if pump is None:
                self._emit(_reply(settled))
        self._emit(IPCEvent(IPCEventType.DISCONNECT, CrmExit.DISCONNECT, error=error))

    def _emit(self, event: IPCEvent) -> None:
        if self._callback is not None:
            self._callback(self, event, self._user_data)

    def _connected(self) -> Session:
        if self._session is not None:
            if not self._session.link.connected and self._dispatch is IPCDispatch.SYNC:
                self._lost()
                raise ipc_error(errno.ENOTCONN, "the daemon has gone", f"qb:{self._service}")
            return self._session
        if self._was_connected:
            raise ipc_error(errno.EINVAL, "disconnected", f"qb:{self._service}")
        raise ipc_error(errno.ENOTCONN, "not connected", f"qb:{self._service}")


# Seconds that a poll may take: what the system's clocks can count.
_LONGEST_POLL = 86_400.0


def _reply(settled: Settled[R]) -> IPCEvent:
    """The event for an answer. Requests that the end of a connection has taken the answers from had none."""
    error, status = settled.error, 0
    if isinstance(error, CommandError):
        status = error.code or CrmExit.ERROR
    elif isinstance(error, IPCProtocolError):
        status = CrmExit.PROTOCOL
    elif isinstance(error, IPCError):
        status = error.errno
    elif isinstance(error, ArgumentError):
        status = errno.EINVAL
    return IPCEvent(IPCEventType.REPLY, int(status), settled.result, settled.request, error)
