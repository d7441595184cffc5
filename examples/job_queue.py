"""A job queue: a daemon whose commands take and give structures, positional arguments and results of their
own.

bridle run examples.job_queue:JobQueue unix:/tmp/queue.sock
"""

from __future__ import annotations

import asyncio
import contextlib
import enum
import itertools

import msgspec

import bridle


class State(enum.StrEnum):
    """What has become of a job."""

    WAITING = "waiting"
    RUNNING = "running"
    DONE = "done"
    CANCELLED = "cancelled"


class Job(msgspec.Struct):
    """One piece of work; ``seconds`` is how long it takes."""

    id: int
    name: str
    seconds: float
    state: State = State.WAITING


class JobQueue(bridle.Daemon):
    """Works off jobs, one after another."""

    version = "1.0"

    class Configuration(msgspec.Struct, forbid_unknown_fields=True, rename="kebab"):
        """How many jobs may wait; whether jobs are worked off at all."""

        max_waiting: int = 100
        working: bool = True

    def __init__(self) -> None:
        self.jobs: dict[int, Job] = {}
        self._numbers = itertools.count(1)
        self._changed = asyncio.Event()

    def configure(self, configuration: Configuration) -> None:
        """Take over the limits; jobs stay."""
        self.limits = configuration
        self._changed.set()

    async def start(self) -> None:
        """Begin to work."""
        self._worker = asyncio.create_task(self._work())

    async def stop(self) -> None:
        """Stop working; what was running is lost."""
        self._worker.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._worker

    def status(self) -> dict[str, bridle.JSON]:
        """The number of jobs by state, for ``status-get``."""
        states = [job.state for job in self.jobs.values()]
        return {"jobs": {str(state): states.count(state) for state in State}}

    async def _work(self) -> None:
        while True:
            job = next((job for job in self.jobs.values() if job.state is State.WAITING), None)
            if job is None or not self.limits.working:
                self._changed.clear()
                await self._changed.wait()
                continue
            job.state = State.RUNNING
            await asyncio.sleep(job.seconds)
            if job.state is State.RUNNING:
                job.state = State.DONE
                self.events.publish("job-done", {"id": job.id, "name": job.name})

    @bridle.command(access="write")
    def job_add(self, name: str, seconds: float = 1.0) -> Job:
        """Add a job that takes some seconds."""
        waiting = sum(job.state is State.WAITING for job in self.jobs.values())
        if waiting >= self.limits.max_waiting:
            raise bridle.CommandError(f"the queue is full: {waiting} jobs wait", bridle.Result.CONFLICT)
        job = Job(next(self._numbers), name, seconds)
        self.jobs[job.id] = job
        self._changed.set()
        return job

    @bridle.command(access="read")
    def job_list(self, state: State | None = None) -> list[Job]:
        """List the jobs, all or those in one state."""
        return [job for job in self.jobs.values() if state is None or job.state is state]

    @bridle.command(access="write")
    def job_cancel(self, id: int) -> Job:  # noqa: A002 - the wire's name
        """Cancel a job that is not done."""
        job = self.jobs.get(id)
        if job is None:
            raise bridle.CommandError(f"there is no job {id}", bridle.Result.EMPTY)
        if job.state is State.DONE:
            raise bridle.CommandError(f"job {id} is done", bridle.Result.CONFLICT)
        job.state = State.CANCELLED
        return job
