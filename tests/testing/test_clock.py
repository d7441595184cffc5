"""The virtual clock: time passes only when nothing else is left to do."""

from __future__ import annotations

import asyncio
import gc
import hashlib
import socket
import threading
import time
from collections.abc import AsyncIterator, Callable

import pytest

from bridle.testing import VirtualClockLoop, elapsed, run

SHORT = 0.05
"""A patience, in real seconds, for tests in which it runs out."""


def work() -> str:
    """Keep a thread busy for some tens of real milliseconds."""
    return hashlib.pbkdf2_hmac("sha256", b"password", b"salt", 100_000).hex()


def test_an_hour_of_sleep_takes_no_real_time() -> None:
    began = time.monotonic()
    run(asyncio.sleep(3600))
    assert time.monotonic() - began < 5


def test_the_clock_starts_at_zero_and_says_exactly_what_was_slept() -> None:
    async def main() -> list[float]:
        seen = [elapsed()]
        for _ in range(10):
            await asyncio.sleep(0.1)
            seen.append(elapsed())
        assert asyncio.get_running_loop().time() == elapsed()
        return seen

    assert run(main()) == [0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0]


def test_work_takes_no_virtual_time() -> None:
    async def main() -> float:
        work()
        for _ in range(100):
            await asyncio.sleep(0)
        return elapsed()

    assert run(main()) == 0.0


def test_timers_run_in_the_order_of_their_time() -> None:
    async def main() -> list[tuple[int, float]]:
        loop = asyncio.get_running_loop()
        seen: list[tuple[int, float]] = []
        for delay in (30, 10, 20):
            loop.call_later(delay, lambda delay=delay: seen.append((delay, elapsed())))
        await asyncio.sleep(30)
        return seen

    assert run(main()) == [(10, 10.0), (20, 20.0), (30, 30.0)]


def test_the_shorter_of_two_timeouts_ends_a_wait() -> None:
    async def main() -> float:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(60), asyncio.timeout(10):
                await asyncio.Event().wait()
        return elapsed()

    assert run(main()) == 10.0


def test_a_timer_years_ahead_fires() -> None:
    async def main() -> float:
        for _ in range(10):
            await asyncio.sleep(1e8 + 0.1)
        return elapsed()

    assert run(main(), limit=2e9) == pytest.approx(1e9 + 1)


def test_the_result_and_the_error_of_the_coroutine_are_those_of_run() -> None:
    async def main(fail: bool) -> str:
        if fail:
            raise LookupError("lost")
        return "found"

    assert run(main(False)) == "found"
    with pytest.raises(LookupError, match="lost"):
        run(main(True))


class Player(asyncio.Protocol):
    """Returns each byte to its sender until ``rounds`` are over; gives up after 10 silent seconds."""

    def __init__(self, rounds: int, ended: asyncio.Future[str]) -> None:
        self.rounds = rounds
        self.ended = ended

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self.timer = asyncio.get_running_loop().call_later(10, self.give_up)

    def data_received(self, data: bytes) -> None:
        self.timer.cancel()
        self.timer = asyncio.get_running_loop().call_later(10, self.give_up)
        self.rounds -= 1
        if self.rounds > 0:
            self.transport.write(data)
        elif not self.ended.done():
            self.ended.set_result("played")

    def give_up(self) -> None:
        if not self.ended.done():
            self.ended.set_result("silent")

    def connection_lost(self, exc: Exception | None) -> None:
        self.timer.cancel()


def tcp_pair() -> tuple[socket.socket, socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        left = socket.create_connection(listener.getsockname())
        return left, listener.accept()[0]


@pytest.mark.parametrize("pair", [socket.socketpair, tcp_pair], ids=["unix", "tcp"])
@pytest.mark.parametrize(("serves", "outcome"), [(True, ("played", 0.0)), (False, ("silent", 10.0))])
def test_an_idle_timer_fires_only_when_no_data_flows(
    pair: Callable[[], tuple[socket.socket, socket.socket]], serves: bool, outcome: tuple[str, float]
) -> None:
    async def main() -> tuple[str, float]:
        loop = asyncio.get_running_loop()
        ended = loop.create_future()
        transports = []
        for end in pair():
            end.setblocking(False)
            transport, _ = await loop.create_connection(lambda: Player(200, ended), sock=end)
            transports.append(transport)
        if serves:
            transports[0].write(b"!")
        try:
            return await ended, elapsed()
        finally:
            for transport in transports:
                transport.close()

    assert run(main()) == outcome


def test_a_stream_of_more_than_the_buffers_hold_takes_no_virtual_time() -> None:
    async def main() -> tuple[int, float]:
        left, right = socket.socketpair()
        reader, own_writer = await asyncio.open_connection(sock=left)
        _, writer = await asyncio.open_connection(sock=right)
        writer.write(bytes(4_000_000))
        writer.write_eof()
        async with asyncio.timeout(1):
            received = await reader.read()
        for each in (writer, own_writer):
            each.close()
            await each.wait_closed()
        return len(received), elapsed()

    assert run(main()) == (4_000_000, 0.0)


def test_the_clock_waits_for_an_executor() -> None:
    async def main() -> tuple[str, float]:
        async with asyncio.timeout(0.001):
            return await asyncio.to_thread(work), elapsed()

    assert run(main()) == (work(), 0.0)


def test_the_clock_moves_again_once_the_executor_is_done() -> None:
    async def main() -> float:
        await asyncio.gather(asyncio.to_thread(work), asyncio.to_thread(work))
        began = time.monotonic()
        await asyncio.sleep(600)
        assert time.monotonic() - began < 4  # less than the patience: nothing is waited for any more
        return elapsed()

    assert run(main()) == 600.0


def test_a_job_that_does_not_end_does_not_hold_the_clock_for_ever() -> None:
    release = threading.Event()

    async def main() -> float:
        job = asyncio.get_running_loop().run_in_executor(None, release.wait, 20)
        await asyncio.sleep(10)
        release.set()
        assert await job
        return elapsed()

    assert run(main(), patience=SHORT) == 10.0


def test_a_held_clock_waits_for_other_threads() -> None:
    async def main() -> float:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, VirtualClockLoop)
        done = asyncio.Event()
        thread = threading.Thread(target=lambda: (work(), loop.call_soon_threadsafe(done.set)))
        thread.start()
        with loop.hold():
            async with asyncio.timeout(0.001):
                await done.wait()
        thread.join()
        return elapsed()

    assert run(main()) == 0.0


def test_another_thread_ends_a_wait_that_has_no_timer() -> None:
    async def main() -> bool:
        done = asyncio.Event()
        loop = asyncio.get_running_loop()
        thread = threading.Thread(target=lambda: (work(), loop.call_soon_threadsafe(done.set)))
        thread.start()
        await done.wait()
        thread.join()
        return done.is_set()

    assert run(main())


def test_tasks_that_are_left_are_cancelled_and_may_take_their_time() -> None:
    ends: list[float] = []

    async def background() -> None:
        try:
            await asyncio.sleep(1000)
        finally:
            await asyncio.sleep(5)
            ends.append(elapsed())

    async def main() -> asyncio.Task[None]:
        task = asyncio.create_task(background())
        await asyncio.sleep(1)
        return task

    assert run(main()).cancelled()
    assert ends == [6.0]


def test_everything_is_closed_at_the_end() -> None:
    ends: list[str] = []

    async def numbers() -> AsyncIterator[int]:
        try:
            yield 1
        finally:
            await asyncio.sleep(1)
            ends.append("generator closed")

    async def main() -> tuple[AsyncIterator[int], asyncio.AbstractEventLoop]:
        iterator = numbers()
        await anext(iterator)
        await asyncio.to_thread(work)
        return iterator, asyncio.get_running_loop()

    threads = threading.active_count()
    _, loop = run(main(), limit=2)
    assert loop.is_closed()
    assert ends == ["generator closed"]
    assert threading.active_count() == threads


async def tick() -> None:
    while True:
        await asyncio.sleep(1)


def test_virtual_time_ends_at_the_limit() -> None:
    run(asyncio.sleep(10), limit=10)
    with pytest.raises(
        RuntimeError, match=r"virtual time would pass 10 s; pending: .*\(tick\) at .*test_clock"
    ):
        run(tick(), limit=10)


def test_a_task_that_will_not_be_cancelled_does_not_make_run_endless() -> None:
    async def stubborn() -> None:
        while True:
            try:
                await tick()
            except asyncio.CancelledError:
                pass

    with pytest.raises(RuntimeError, match="virtual time would pass 10 s"):
        run(stubborn(), limit=10)
    gc.collect()  # asyncio logs that the task was still pending: here, and not at the end of the session


def test_the_cleanup_after_the_limit_has_time_of_its_own() -> None:
    ends: list[float] = []

    async def main() -> None:
        try:
            await tick()
        finally:
            await asyncio.sleep(8)
            ends.append(elapsed())

    with pytest.raises(RuntimeError, match="virtual time would pass 10 s"):
        run(main(), limit=10)
    assert ends == [18.0]


def test_a_deadlock_ends_after_the_patience_and_names_who_waits() -> None:
    async def waits_for_ever() -> None:
        await asyncio.Event().wait()

    async def main() -> None:
        await asyncio.create_task(waits_for_ever(), name="the waiter")

    with pytest.raises(
        RuntimeError, match=r"deadlock: .* within 0\.05 s; pending: .*the waiter \(.*for_ever\)"
    ):
        run(main(), patience=SHORT)


def test_a_socket_that_stays_silent_is_a_deadlock_too() -> None:
    async def main(end: socket.socket) -> bytes:
        return await asyncio.get_running_loop().sock_recv(end, 1)

    left, right = socket.socketpair()
    left.setblocking(False)
    with left, right, pytest.raises(RuntimeError, match="deadlock"):
        run(main(left), patience=SHORT)


@pytest.mark.parametrize("wrong", [{"limit": 0}, {"limit": float("nan")}, {"patience": -1}])
def test_a_limit_and_a_patience_must_be_positive(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="must be positive"):
        VirtualClockLoop(**wrong)


def test_elapsed_refuses_a_loop_with_a_real_clock() -> None:
    async def main() -> float:
        return elapsed()

    with pytest.raises(RuntimeError, match="needs a loop with a virtual clock"):
        asyncio.run(main())
