"""Threads behind a bounded queue."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from bridle.daemon.workers import BATCH, WorkerPool

# Seconds that a thread of this process may take; none takes a hundredth.
PATIENCE = 10.0


class Counter:
    """What was handled, and a way to hold the workers up."""

    def __init__(self) -> None:
        self.seen: list[int] = []
        self.batches: list[int] = []
        self.changed = threading.Condition()
        self.may = threading.Event()
        self.may.set()

    def handle(self, batch: list[int]) -> None:
        assert self.may.wait(PATIENCE)
        with self.changed:
            self.seen += batch
            self.batches.append(len(batch))
            self.changed.notify_all()
        if -1 in batch:
            raise ValueError("as asked")

    def wait(self, count: int) -> None:
        with self.changed:
            assert self.changed.wait_for(lambda: len(self.seen) >= count, PATIENCE)


@contextmanager
def pool(counter: Counter, threads: int = 2, queue_size: int = 0) -> Iterator[WorkerPool[int]]:
    workers = WorkerPool(counter.handle, threads=threads, queue_size=queue_size)
    try:
        yield workers
    finally:
        counter.may.set()
        assert workers.stop(PATIENCE)
    assert not [one for one in threading.enumerate() if one.name.startswith("bridle-worker")]


def test_everything_is_handled_once() -> None:
    counter = Counter()
    with pool(counter) as workers:
        for number in range(500):
            workers.put([number])
        counter.wait(500)
    assert sorted(counter.seen) == list(range(500))
    assert max(counter.batches) <= BATCH


def test_a_full_queue_drops_the_oldest_and_counts_them() -> None:
    counter = Counter()
    with pool(counter, threads=1, queue_size=4) as workers, workers.pause():
        assert workers.put([1, 2, 3]) == 0
        assert workers.put([4, 5, 6]) == 2
        assert workers.dropped == 2
    assert counter.seen == [3, 4, 5, 6]


def test_nothing_is_handled_during_a_pause() -> None:
    counter = Counter()
    with pool(counter) as workers:
        with workers.pause():
            workers.put([1])
            assert counter.seen == []
        counter.wait(1)


def test_a_failure_costs_nobody_else(caplog: object) -> None:
    counter = Counter()
    with pool(counter, threads=1) as workers:
        workers.put([-1])
        counter.wait(1)
        workers.put([1])
        counter.wait(2)


def test_what_is_queued_is_handled_before_the_end() -> None:
    counter = Counter()
    counter.may.clear()
    with pool(counter, threads=1) as workers:
        workers.put(range(100))
    assert counter.seen == list(range(100))


def test_a_thread_that_does_not_end_is_told() -> None:
    counter = Counter()
    counter.may.clear()
    workers = WorkerPool(counter.handle, threads=1, queue_size=0)
    workers.put([1])
    assert not workers.stop(0.01)
    counter.may.set()
    assert workers.stop(PATIENCE)


def test_the_figures_are_averages_of_the_queue() -> None:
    counter = Counter()
    with pool(counter, threads=3, queue_size=20) as workers:
        assert workers.status() == {
            "multi-threading-enabled": True,
            "packet-queue-size": 20,
            "packet-queue-statistics": [0.0, 0.0, 0.0],
            "thread-pool-size": 3,
        }
        with workers.pause():
            workers.put(range(20))
        counter.wait(20)
        averages = workers.status()["packet-queue-statistics"]
        assert isinstance(averages, list)
        ten, hundred, thousand = averages
        assert 20 > ten > hundred > thousand > 0  # type: ignore[operator]
        workers.resize(1, 5)
        assert workers.status()["thread-pool-size"] == 1
