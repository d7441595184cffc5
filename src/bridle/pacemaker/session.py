"""A conversation with one daemon: how it begins, requests on their way, and what the daemon says.

It waits for nothing but responses; who waits for events, and how, is the business of its users.
"""

from __future__ import annotations

import contextlib
import errno
import itertools
import math
import os
import sys
import time
from collections.abc import Callable
from pathlib import PurePath
from typing import Any, Generic, TypeVar

from msgspec import Struct
from msgspec.structs import replace

from bridle.core.errors import BridleError
from bridle.net.libqb.places import PLACES, Places
from bridle.net.libqb.trust import Trust, cluster_server
from bridle.pacemaker.errors import ipc_error, translated
from bridle.pacemaker.layouts import open_link
from bridle.pacemaker.link import BACKLOG_TIMEOUT, Link
from bridle.wire import pacemaker_based, pacemaker_execd, pacemaker_fenced
from bridle.wire.pacemaker_catalogue import (
    GenericRequest,
    Notification,
    daemon_of_service,
    read_notification,
    serves,
)
from bridle.wire.pacemaker_header import BUFFER_SIZE, Message
from bridle.wire.pacemaker_messages import create_hello
from bridle.wire.pacemaker_requests import Answer, Caller, Request, check_status
from bridle.wire.pacemaker_xml import Xml, read_xml

__all__ = ["CONNECT_TIMEOUT", "TIMEOUT", "Pending", "Session", "Settled", "own_name"]

TIMEOUT = 6.0
"""Seconds that a request may take: as long as Pacemaker's own clients really wait."""

CONNECT_TIMEOUT = 10.0
"""Seconds for connecting, which may mean to ask two daemons what they speak, and to register."""

R = TypeVar("R")
R_co = TypeVar("R_co", covariant=True)
_NAME_LIMIT = 64
# Events that are thrown away at once: more than a daemon keeps for a client before it drops it.
_DRAINED = 1000
_references = itertools.count()


def own_name() -> str:
    """What this program calls itself: the file that it was started from, or the package."""
    started = PurePath(sys.argv[0] if sys.argv else "")
    name = started.parent.name if started.name == "__main__.py" else started.name
    usable = "".join(sign for sign in name if sign.isascii() and (sign.isalnum() or sign in "_.-"))
    return usable[:_NAME_LIMIT] or "bridle"


class Settled(Struct, Generic[R_co], frozen=True):
    """The answer to a request, or why there is none."""

    request: Request[R_co]
    result: R_co | None = None
    error: BridleError | None = None

    def value(self) -> R_co:
        """The answer.

        Raises:
            BridleError: what went wrong.
        """
        if self.error is not None:
            raise self.error
        assert self.result is not None
        return self.result


class Pending(Generic[R]):
    """A request that waits for its answer. ``settled`` is that, once it has come, and is handed to
    ``on_settled``; ``expected`` says that events are looked at for it."""

    def __init__(self, request: Request[R], asked: Xml) -> None:
        self.request = request
        self.asked = asked
        self.response: Xml | None = None
        self.settled: Settled[R] | None = None
        self.on_settled: Callable[[Settled[R]], None] | None = None
        self.deadline: float = math.inf
        self.expected: bool = False

    @property
    def answered_at_once(self) -> bool:
        """Whether the response channel carries the answer, or its beginning."""
        return self.request.answer in (Answer.RESPONSE, Answer.FINISHED)

    def answers(self, found: Xml) -> bool:
        """Whether an event is what is waited for."""
        if self.response is not None:
            return self.request.is_finish(self.response, found)
        return self.request.is_answer(self.asked, found)

    def settle(self, settled: Settled[R]) -> Settled[R]:
        """Note the answer."""
        self.settled = settled
        if self.on_settled is not None:
            self.on_settled(settled)
        return settled


class Session:
    """A registered connection to a daemon."""

    def __init__(self, link: Link, service: str, caller: Caller) -> None:
        self.link = link
        self.service = service
        self._caller = caller
        self._calls = itertools.count(caller.call)
        self._pending: list[Pending[Any]] = []

    @classmethod
    def open(
        cls,
        service: str,
        *,
        timeout: float = CONNECT_TIMEOUT,
        name: str = "",
        buffer_size: int = BUFFER_SIZE,
        trusted: Trust = cluster_server,
        places: Places = PLACES,
        notifications: bool = False,
    ) -> Session:
        """Connect, find out what the daemon speaks, and register; subscribe to what it tells, if wanted.

        Raises:
            IPCError: ECONNREFUSED, ECONNABORTED, ETIMEDOUT, or what the daemon refuses the client with.
        """
        deadline = time.monotonic() + timeout
        link = open_link(service, timeout, buffer_size=buffer_size, trusted=trusted, places=places)
        name = name or own_name()
        caller = Caller(name, os.getpid(), 1, lambda task: _reference(task, name), service=service)
        try:
            with translated(link.endpoint):
                caller = _register(link, service, caller, notifications, deadline)
        except BaseException:
            link.close()
            raise
        return cls(link, service, caller)

    @property
    def waiting(self) -> bool:
        """True while requests wait for their answers."""
        return bool(self._pending)

    def begin(self, request: Request[R], timeout: float = TIMEOUT) -> Pending[R]:
        """Send a request. What is answered on the response channel is waited for, ``timeout`` seconds.

        Raises:
            IPCError: it could not be sent, or there was no response in time.
            ArgumentError: the request makes no sense.
            CommandError: the daemon refused it.
        """
        pending = self.prepare(request)
        self.send(pending, timeout)
        return pending

    def prepare(self, request: Request[R]) -> Pending[R]:
        """Write a request.

        Raises:
            IPCError: EOPNOTSUPP: it is one for another daemon.
            ArgumentError: it makes no sense.
        """
        daemon = daemon_of_service(self.service)
        if daemon is None or isinstance(request, GenericRequest):
            known = daemon is None and isinstance(request, GenericRequest)
        else:
            known = serves(daemon, request)
        if not known:
            text = f"{self.service} takes no request {type(request).__name__}"
            raise ipc_error(errno.EOPNOTSUPP, text, self.link.endpoint)
        return Pending(request, request.document(replace(self._caller, call=next(self._calls))))

    def send(self, pending: Pending[R], timeout: float = TIMEOUT) -> None:
        """Send a request, and wait for a response where that is what answers it.

        Raises:
            IPCError, CommandError: as :meth:`begin`.
        """
        pending.deadline = time.monotonic() + timeout
        if pending.answered_at_once:
            self.answered(pending, self.link.ask(pending.asked, timeout))
            return
        if pending.request.answer is Answer.EVENT:
            # Expected before it is sent: the answer may be there sooner than the sender.
            self.expect(pending)
        try:
            self.link.send(pending.asked, timeout=min(timeout, BACKLOG_TIMEOUT))
        except BaseException:
            self.abandon(pending)
            raise
        if not pending.expected:
            self.answered(pending, None)

    def expect(self, pending: Pending[R]) -> None:
        """Look at events for the answer to a request."""
        pending.expected = True
        self._pending.append(pending)

    def is_large(self, pending: Pending[R]) -> bool:
        """Whether sending a request may take more than one message."""
        return self.link.in_pieces(pending.asked)

    def answered(self, pending: Pending[R], message: Message | None) -> None:
        """Take the response to a request; None where none comes.

        Raises:
            IPCError: EBADMSG.
            CommandError: the daemon refused the request.
        """
        if message is None:
            pending.settle(Settled(pending.request, pending.request.result(pending.asked)))
            return
        with translated(self.link.endpoint):
            pending.response = read_xml(message.text)
            result = pending.request.result(pending.response)
        if pending.request.answer is Answer.FINISHED:
            self.expect(pending)
        else:
            pending.settle(Settled(pending.request, result))

    def abandon(self, pending: Pending[R]) -> None:
        """Wait for the answer no more. If it comes, it is thrown away."""
        with contextlib.suppress(ValueError):
            self._pending.remove(pending)

    def expire(self) -> list[Settled[object]]:
        """Give up on the requests whose time is over."""
        now = time.monotonic()
        late = [pending for pending in self._pending if pending.deadline <= now]
        for pending in late:
            self._pending.remove(pending)
        error = ipc_error(errno.ETIMEDOUT, "no answer in time", self.link.endpoint)
        return [pending.settle(Settled(pending.request, None, error)) for pending in late]

    def take(self, message: Message) -> Settled[object] | Notification | None:
        """What an event means: an answer to a request, a notification, or nothing that matters here.

        Raises:
            IPCError: EBADMSG: it makes no sense.
        """
        with translated(self.link.endpoint):
            found = read_xml(message.text)
            for pending in self._pending:
                if pending.answers(found):
                    self._pending.remove(pending)
                    return pending.settle(self._read(pending, found))
            return read_notification(found)

    def _read(self, pending: Pending[R], found: Xml) -> Settled[R]:
        try:
            with translated(self.link.endpoint):
                return Settled(pending.request, pending.request.result(found))
        except BridleError as error:
            return Settled(pending.request, None, error)

    def fail(self, error: BridleError) -> list[Settled[object]]:
        """Give up on all requests that wait."""
        pending, self._pending = self._pending, []
        return [one.settle(Settled(one.request, None, error)) for one in pending]

    def wait(self, pending: Pending[R], timeout: float = TIMEOUT) -> R:
        """Wait for the answer to a request. Whatever else the daemon tells meanwhile is lost.

        Raises:
            IPCError: ETIMEDOUT, ENOTCONN, EBADMSG.
            CommandError: the daemon refused it.
        """
        deadline = time.monotonic() + timeout
        try:
            while pending.settled is None:
                left = deadline - time.monotonic()
                if left <= 0:
                    raise ipc_error(errno.ETIMEDOUT, "no answer in time", self.link.endpoint)
                message = self.link.event(left)
                if message is not None:
                    self.take(message)
        finally:
            self.abandon(pending)
        return pending.settled.value()

    def execute(self, request: Request[R], timeout: float = TIMEOUT) -> R:
        """Send a request and wait for its answer.

        Raises:
            IPCError, ArgumentError, CommandError: as :meth:`begin` and :meth:`wait`.
        """
        deadline = time.monotonic() + timeout
        pending = self.begin(request, timeout)
        return self.wait(pending, deadline - time.monotonic())

    def drain(self) -> bool:
        """Throw away what the daemon told while nobody asked; False where it has gone."""
        try:
            for _ in range(_DRAINED):
                if self.link.event() is None:
                    return self.link.connected
        except BridleError:
            pass
        return False

    def close(self) -> None:
        """End the connection."""
        self.link.close()


def _reference(task: str, name: str) -> str:
    return f"{task}-{name}-{int(time.time())}-{next(_references)}"


def _register(link: Link, service: str, caller: Caller, notifications: bool, deadline: float) -> Caller:
    """Say who one is, as far as the daemon wants to know; the caller with the id that it is given."""

    def ask(document: Xml) -> Xml:
        return read_xml(link.ask(document, max(deadline - time.monotonic(), 0.0)).text)

    daemon = daemon_of_service(service)
    client_id = None
    subscriptions: list[Xml] = []
    if daemon == "controld":
        link.send(_hello(caller))
    elif daemon == "based":
        client_id = ask(pacemaker_based.registration(caller)).get("cib_clientid")
        subscriptions = [pacemaker_based.subscription(kind) for kind in pacemaker_based.NOTIFICATIONS]
    elif daemon == "fenced":
        client_id = ask(pacemaker_fenced.registration(caller)).get("st_clientid")
        subscriptions = [pacemaker_fenced.subscription(kind) for kind in pacemaker_fenced.NOTIFICATIONS]
    elif daemon == "execd":
        client_id = ask(pacemaker_execd.registration(caller)).get("lrmd_clientid")
    else:
        return caller
    if client_id is None and daemon != "controld":
        raise ipc_error(errno.EBADMSG, "the daemon gives its client no id", link.endpoint)
    for document in subscriptions if notifications else ():
        check_status(ask(document))
    return replace(caller, client_id=client_id or "")


def _hello(caller: Caller) -> Xml:
    hello = create_hello(str(caller.pid), caller.name, "1", "0", reference=caller.reference("hello"))
    assert hello is not None
    return hello
