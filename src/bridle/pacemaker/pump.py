"""What connects a session to the running asyncio loop: events as they come, and responses by threads.

With shared memory a response is announced by a semaphore alone, which no event loop can wait for.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

from bridle.core.errors import BridleError
from bridle.pacemaker.errors import IPCError, ipc_error
from bridle.pacemaker.session import Pending, Session, Settled
from bridle.wire.pacemaker_catalogue import Notification
from bridle.wire.pacemaker_header import Message
from bridle.wire.pacemaker_requests import Answer

__all__ = ["Pump"]

R = TypeVar("R")

_BATCH = 10
"""Messages that are taken in one turn of the loop, as Pacemaker's own main loop does: others have theirs."""

_RETRY = 0.005
"""Seconds between two tries to send a request that there is no room for."""


class Pump:
    """Watches a session's descriptors; what has to wait waits in a thread of its own.

    ``notified`` is called with notifications, ``failed`` when the connection ends, or brings what makes no
    sense. All calls come in the loop.
    """

    def __init__(
        self,
        session: Session,
        notified: Callable[[Notification], None],
        failed: Callable[[IPCError], None],
    ) -> None:
        self._session = session
        self._notified = notified
        self._failed = failed
        self._loop = asyncio.get_running_loop()
        self._descriptors = session.link.filenos()
        self._thread: ThreadPoolExecutor | None = None
        self._timers: set[asyncio.TimerHandle] = set()
        self._open = True
        self._held = 0
        self._watch()

    def _watch(self) -> None:
        for descriptor in self._descriptors:
            self._loop.add_reader(descriptor, self._readable)

    def _ignore(self) -> None:
        for descriptor in self._descriptors:
            self._loop.remove_reader(descriptor)

    def _readable(self) -> None:
        """Take a batch; where there may be more, and no descriptor says so, come again."""
        for _ in range(_BATCH):
            if not self._open or self._held:
                return
            try:
                message = self._session.link.event()
                if message is None:
                    return
                taken = self._session.take(message)
                if isinstance(taken, Notification):
                    self._notified(taken)
            except IPCError as error:
                self._failed(error)
        self._loop.call_soon(self._readable)

    def start(self, pending: Pending[R], timeout: float, settled: Callable[[Settled[R]], None]) -> None:
        """Send a request, and call ``settled`` with its answer, or with why there is none, in ``timeout``
        seconds at the most."""
        deadline = self._loop.time() + timeout
        timer = self._loop.call_at(deadline, self._expire, pending)
        self._timers.add(timer)

        def done(answer: Settled[R]) -> None:
            timer.cancel()
            self._timers.discard(timer)
            settled(answer)

        pending.on_settled = done
        if pending.request.answer is Answer.EVENT:
            self._session.expect(pending)
        if pending.answered_at_once or self._session.is_large(pending):
            self._ask(pending, deadline)
        else:
            self._send(pending, deadline)

    def _send(self, pending: Pending[R], deadline: float) -> None:
        """Send what goes in one piece, as soon as there is room."""
        if pending.settled is not None or not self._open:
            return
        try:
            self._session.link.send(pending.asked, timeout=0.0)
        except IPCError as error:
            if error.errno == errno.EAGAIN and self._loop.time() < deadline:
                self._loop.call_later(_RETRY, self._send, pending, deadline)
                return
            self._fail(pending, error)
            return
        if pending.request.answer is Answer.NOTHING:
            self._session.answered(pending, None)

    def _ask(self, pending: Pending[R], deadline: float) -> None:
        """Send what is answered by a response, or takes several pieces, in the thread."""
        if pending.request.answer is Answer.FINISHED:
            # Its end must not be taken before its response is known.
            self._held += 1
            self._ignore()
        if self._thread is None:
            self._thread = ThreadPoolExecutor(1, "bridle-pacemaker")

        def ask() -> Message | None:
            left = deadline - self._loop.time()
            if left <= 0 or not self._open:
                raise ipc_error(errno.ETIMEDOUT, "no answer in time", self._session.link.endpoint)
            if pending.answered_at_once:
                return self._session.link.ask(pending.asked, left)
            self._session.link.send(pending.asked, timeout=left)
            return None

        asked = self._thread.submit(ask)

        def tell(done: Future[Message | None]) -> None:
            with contextlib.suppress(RuntimeError):  # the loop has ended, and whoever waited there with it
                self._loop.call_soon_threadsafe(self._asked, pending, done)

        asked.add_done_callback(tell)

    def _asked(self, pending: Pending[R], done: Future[Message | None]) -> None:
        """The thread is done with a request."""
        try:
            message = done.result()
            if pending.settled is None and (message is not None or not pending.expected):
                self._session.answered(pending, message)
        except BridleError as error:
            self._fail(pending, error)
        finally:
            if pending.request.answer is Answer.FINISHED:
                self._held -= 1
                if self._open and not self._held:
                    self._watch()
                    self._readable()

    def _fail(self, pending: Pending[R], error: BridleError) -> None:
        self._session.abandon(pending)
        if pending.settled is None:
            pending.settle(Settled(pending.request, None, error))
        if isinstance(error, IPCError) and self._open:
            self._failed(error)

    def _expire(self, pending: Pending[R]) -> None:
        self._fail(pending, ipc_error(errno.ETIMEDOUT, "no answer in time", self._session.link.endpoint))

    def close(self) -> None:
        """Watch no more. A thread that waits for a response ends when the connection does."""
        self._open = False
        for timer in self._timers:
            timer.cancel()
        self._timers.clear()
        self._ignore()
        if self._thread is not None:
            self._thread.shutdown(wait=False, cancel_futures=True)
