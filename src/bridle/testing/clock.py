"""A virtual clock for asyncio, so that tests of timeouts take no time.

::

    async def main() -> None:
        async with asyncio.timeout(3600):
            await asyncio.sleep(600)
        assert elapsed() == 600.0

    run(main())

The loop's clock stands still while anything can be done: callbacks that are ready, data on a socket, a job in
an executor. Only when nothing is left it jumps to the next timer. ``loop.time()`` starts at 0, so it is the
virtual time that went by, in seconds, exact to the nanosecond; :func:`elapsed` says the same. Code under test
must ask ``loop.time()``: ``time.monotonic()`` goes on as ever.

Sockets work, as long as both ends are held by this process, best by this loop: the loop looks once more, for
a moment of real time (``SETTLING``), before it jumps. What other threads and processes do is invisible to
it. Jobs given to ``run_in_executor`` or ``asyncio.to_thread`` are known, and the clock waits for them; for
the rest there is :meth:`VirtualClockLoop.hold`. Nothing here waits for ever: ``patience`` bounds each real
wait, and ``limit`` the virtual time.
"""

from __future__ import annotations

import asyncio
import selectors
import sys
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import Executor
from contextlib import contextmanager
from typing import TypeVar, TypeVarTuple, Unpack

__all__ = ["LIMIT", "PATIENCE", "SETTLING", "VirtualClockLoop", "elapsed", "run"]

LIMIT = 3600.0
"""Virtual seconds: longer than any timeout of the real programs, short enough to end an endless poll soon."""

PATIENCE = 5.0
"""Real seconds: a loaded machine has answered by then, and a deadlock fails before the test's own timeout."""

SETTLING = 0.002
"""Real seconds: the kernel delivers loopback data within the sender's call, save when it is busy; twice a
scheduler's tick covers that, and a thousand jumps still cost no more than two seconds."""

# A timer that is due within this time counts as due now. The default, a nanosecond, drowns in the rounding of
# floats after some three months, and the loop would spin; a microsecond lasts for a century.
_RESOLUTION = 1e-6

_NANOSECONDS = 1_000_000_000

_T = TypeVar("_T")
_Ts = TypeVarTuple("_Ts")
_Events = list[tuple[selectors.SelectorKey, int]]


class _Clock:
    """Virtual time, and the decision what to do when nothing is ready."""

    def __init__(self, limit: float, patience: float) -> None:
        self.nanoseconds = 0
        self.limit = limit
        self.deadline = limit
        self.patience = patience
        self.holds = 0

    def now(self) -> float:
        return self.nanoseconds / _NANOSECONDS

    def real_wait(self, timeout: float | None, *, sockets: bool) -> float:
        """How long to look at the real world before :meth:`nothing_came`, in seconds."""
        if timeout is None or self.holds:
            return self.patience
        return SETTLING if sockets else 0.0

    def nothing_came(self, timeout: float | None, describe: Callable[[], str]) -> None:
        if timeout is None:
            raise RuntimeError(
                f"deadlock: nothing is ready, no timer is set, and nothing came within {self.patience:g} s; "
                f"pending: {describe()}"
            )
        target = self.nanoseconds + max(1, round(timeout * _NANOSECONDS))
        if target > self.deadline * _NANOSECONDS:
            # What is cancelled now may take its time to clean up, and no longer than that.
            self.deadline = self.now() + self.limit
            raise RuntimeError(f"virtual time would pass {self.limit:g} s; pending: {describe()}")
        self.nanoseconds = target


class _Selector(selectors.DefaultSelector):
    """Waits as the clock says, not as the loop says."""

    def __init__(self, clock: _Clock, describe: Callable[[], str]) -> None:
        super().__init__()
        self._clock = clock
        self._describe = describe

    def select(self, timeout: float | None = None) -> _Events:
        events = super().select(0)
        if events or (timeout is not None and timeout <= 0):
            return events
        # The loop's own wake-up pipe is always there.
        wait = self._clock.real_wait(timeout, sockets=len(self.get_map()) > 1)
        if wait and (events := super().select(wait)):
            return events
        self._clock.nothing_came(timeout, self._describe)
        return []


class VirtualClockLoop(asyncio.SelectorEventLoop):
    """An event loop whose ``time()`` only moves when nothing is ready.

    ``limit`` is the virtual time, ``patience`` the longest real wait at a time, both in seconds. A loop that
    would pass ``limit``, or that has neither anything ready nor a timer for ``patience``, raises RuntimeError
    from ``run_forever`` and ``run_until_complete``, with the names of the pending tasks. It can be run again
    afterwards, for ``limit`` more seconds, to clean up.

    Raises:
        ValueError: ``limit`` or ``patience`` is not positive.
    """

    def __init__(self, *, limit: float = LIMIT, patience: float = PATIENCE) -> None:
        self._clock = _Clock(limit, patience)
        super().__init__(_Selector(self._clock, self._describe_tasks))
        self._clock_resolution = _RESOLUTION
        if not (limit > 0 and patience > 0):
            self.close()
            raise ValueError(f"limit and patience must be positive, not {limit} and {patience}")

    def time(self) -> float:
        """The virtual time that went by since the loop was made, in seconds."""
        return self._clock.now()

    @contextmanager
    def hold(self) -> Iterator[None]:
        """Keep the clock from jumping while something is on its way that the loop cannot see.

        That is what another thread or another process is about to do. Each time nothing is ready, the loop
        then waits in real time, at most for ``patience``, before it jumps.
        """
        self._clock.holds += 1
        try:
            yield
        finally:
            self._clock.holds -= 1

    def run_in_executor(
        self, executor: Executor | None, func: Callable[[Unpack[_Ts]], _T], *args: *_Ts
    ) -> asyncio.Future[_T]:
        """Run a function in an executor. The clock waits for it, as in :meth:`hold`."""
        future = super().run_in_executor(executor, func, *args)
        self._clock.holds += 1
        future.add_done_callback(self._release)
        return future

    def _release(self, _: object) -> None:
        self._clock.holds -= 1

    async def shutdown_default_executor(self, timeout: float | None = None) -> None:
        """End the executor's threads. That takes real time; ``patience`` bounds it, not ``timeout``."""
        with self.hold():
            if sys.version_info >= (3, 12):
                await super().shutdown_default_executor(None)
            else:
                await super().shutdown_default_executor()

    def _describe_tasks(self) -> str:
        return ", ".join(sorted(_describe(task) for task in asyncio.all_tasks(self))) or "no task"


def _describe(task: asyncio.Task[object]) -> str:
    coroutine = task.get_coro()
    name = f"{task.get_name()} ({getattr(coroutine, '__qualname__', coroutine)})"
    for frame in task.get_stack(limit=1):
        return f"{name} at {frame.f_code.co_filename}:{frame.f_lineno}"
    return name


def run(coroutine: Coroutine[object, object, _T], *, limit: float = LIMIT, patience: float = PATIENCE) -> _T:
    """Run a coroutine on a :class:`VirtualClockLoop` of its own and return its result.

    As with :func:`asyncio.run`, tasks that are left are then cancelled and awaited, asynchronous generators
    and the default executor are closed, and so is the loop.

    ``limit`` is the virtual time that it may take, ``patience`` the longest real wait at a time, in seconds.

    Raises:
        RuntimeError: virtual time would pass ``limit``, or everything waits for something that does not come;
            the text names the pending tasks. Or this thread runs a loop already.
        ValueError: ``limit`` or ``patience`` is not positive.
    """
    with asyncio.Runner(loop_factory=lambda: VirtualClockLoop(limit=limit, patience=patience)) as runner:
        return runner.run(coroutine)


def elapsed() -> float:
    """The virtual time that went by since :func:`run`, in seconds.

    Raises:
        RuntimeError: the running loop has a real clock, or no loop is running.
    """
    loop = asyncio.get_running_loop()
    if not isinstance(loop, VirtualClockLoop):
        raise RuntimeError("elapsed() needs a loop with a virtual clock: use bridle.testing.run()")
    return loop.time()
