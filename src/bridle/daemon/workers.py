"""Worker threads behind a bounded queue, for daemons that handle packets in several threads.

When the queue is full the oldest item is dropped, as Kea does: who waited longest has most likely asked
again. Workers take batches, so that what is shared by a batch (a transaction, a lock) is paid once.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, contextmanager
from typing import TYPE_CHECKING, Generic, TypeVar

from bridle.core.messages import JSON

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["BATCH", "WorkerPool"]

# Items that one worker takes at a time: enough to pay for a transaction, few enough that the others get some.
BATCH = 32
# Weights of what was before in the averages over 10, 100 and 1000 packets (Kea's ThreadPool).
_WEIGHTS = (0.905, 0.990, 0.999)
# Seconds that stopping waits for workers by default.
_STOP_TIMEOUT = 10.0

T = TypeVar("T")

_log = logging.getLogger("bridle.daemon")


class WorkerPool(Generic[T]):
    """Threads that ``handle`` what is put. ``handle`` gets a list and returns when it is done with it; what
    it raises is logged."""

    def __init__(self, handle: Callable[[list[T]], None], *, threads: int = 0, queue_size: int = 64) -> None:
        self._handle = handle
        self._changed = threading.Condition()
        self._queue: deque[T] = deque()
        self._queue_size = queue_size
        self._threads: list[threading.Thread] = []
        self._wanted = 0
        self._busy = 0
        self._paused = 0
        self._averages = [0.0, 0.0, 0.0]
        self.dropped: int = 0
        """Items that were dropped because the queue was full."""
        self.resize(threads, queue_size)

    @property
    def size(self) -> int:
        """How many threads work."""
        return self._wanted

    def resize(self, threads: int, queue_size: int) -> None:
        """Use so many threads (0: one for each processor) and queue so many items at most (0: any)."""
        with self._changed:
            self._wanted = threads or os.cpu_count() or 1
            self._queue_size = queue_size
            self._threads = [thread for thread in self._threads if thread.is_alive()]
            for number in range(len(self._threads), self._wanted):
                thread = threading.Thread(
                    target=self._work, args=(number,), name=f"bridle-worker-{number}", daemon=True
                )
                self._threads.append(thread)
                thread.start()
            self._changed.notify_all()

    def put(self, items: Iterable[T]) -> int:
        """Queue items; how many old ones were dropped for them."""
        dropped = 0
        with self._changed:
            for item in items:
                if self._queue_size and len(self._queue) >= self._queue_size:
                    self._queue.popleft()
                    dropped += 1
                self._queue.append(item)
            self.dropped += dropped
            self._changed.notify_all()
        return dropped

    def pause(self) -> AbstractContextManager[None]:
        """While the context is entered, nothing is being handled; what comes in is queued."""
        return self._pause()

    @contextmanager
    def _pause(self) -> Iterator[None]:
        with self._changed:
            self._paused += 1
            self._changed.wait_for(lambda: self._busy == 0)
        try:
            yield
        finally:
            with self._changed:
                self._paused -= 1
                self._changed.notify_all()

    def stop(self, timeout: float = _STOP_TIMEOUT) -> bool:
        """Handle what is queued, and end the threads; False when they did not end within ``timeout``
        seconds."""
        with self._changed:
            self._wanted = 0
            self._changed.notify_all()
        deadline = time.monotonic() + timeout
        for thread in self._threads:
            thread.join(max(0.0, deadline - time.monotonic()))
        self._threads = [thread for thread in self._threads if thread.is_alive()]
        return not self._threads

    def status(self) -> dict[str, JSON]:
        """What ``status-get`` tells. The averages are of the queue's length whenever something was taken."""
        with self._changed:
            return {
                "multi-threading-enabled": True,
                "packet-queue-size": self._queue_size,
                "packet-queue-statistics": [round(average, 6) for average in self._averages],
                "thread-pool-size": self._wanted,
            }

    def _work(self, number: int) -> None:
        while True:
            batch = self._take(number)
            if batch is None:
                return
            try:
                self._handle(batch)
            except Exception:
                _log.exception("%d items were not handled", len(batch))
            finally:
                with self._changed:
                    self._busy -= 1
                    if self._paused:
                        self._changed.notify_all()

    def _take(self, number: int) -> list[T] | None:
        with self._changed:
            self._changed.wait_for(
                lambda: (self._queue and not self._paused) or (number >= self._wanted and not self._queue)
            )
            if not self._queue:
                return None
            batch: list[T] = []
            while self._queue and len(batch) < BATCH:
                self._measure()
                batch.append(self._queue.popleft())
            self._busy += 1
            return batch

    def _measure(self) -> None:
        length = len(self._queue)
        for index, weight in enumerate(_WEIGHTS):
            self._averages[index] = self._averages[index] * weight + (1 - weight) * length
