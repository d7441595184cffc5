"""FIFOs: requests come in by one file, and each answer goes out by the file that its request names.

The file is made with the rights that are asked for, and reused where it is there and nobody reads it. A lock
on it keeps two daemons from the same FIFO; the kernel drops it with its holder.

An answer goes to a FIFO in a folder of its own choice, ``/tmp`` as in Kamailio: it must exist, and be nothing
else than a FIFO, so that nobody has a daemon write to another's file (``facts/kamailio.md`` §3).
"""

from __future__ import annotations

import asyncio
import errno
import fcntl
import logging
import os
import stat
from collections import deque
from collections.abc import Callable
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import cast

from bridle.core.errors import EndpointError
from bridle.core.messages import Command, Peer, Response
from bridle.net.answers import CANCELLED, Execute, answer_of, response_of
from bridle.net.rights import Rights, check_directory, check_mode, explained
from bridle.net.stream import QUEUE_LIMIT, WRITE_TIMEOUT
from bridle.net.timed import GRACE
from bridle.wire.dialect import Dialect, Refusal, ServerDialect

__all__ = ["REPLY_FOLDER", "FifoFile", "FifoListener"]

# Where Kamailio's clients make theirs.
REPLY_FOLDER = "/tmp"
# Tries to open an answer's FIFO, and the seconds between them: Kamailio's. Who asks opens it beforehand.
_TRIES = 4
_PAUSE = 0.08
_READ_SIZE = 64 * 1024
_FORBIDDEN = frozenset("./\\")

_log = logging.getLogger("bridle.net")


class FifoFile:
    """A FIFO that this process reads."""

    def __init__(self, path: str, descriptor: int) -> None:
        """Use :meth:`open`."""
        self.path = path
        self.descriptor = descriptor
        self._file = Path(path).absolute()
        self._closed = False

    @classmethod
    def open(
        cls,
        path: str,
        *,
        mode: int = 0o600,
        owner: str | int | None = None,
        group: str | int | None = None,
        open_to_all: bool = False,
    ) -> FifoFile:
        """Make a FIFO, or take over one that nobody reads. A mode that lets others write, and a directory in
        which others can replace it, are refused unless it is to be ``open_to_all``.

        Raises:
            EndpointError: it cannot be done.
        """
        rights = Rights.of(mode, owner, group)
        if not open_to_all:
            check_mode(f"fifo '{path}'", mode)
            with explained(f"cannot create fifo '{path}'"):
                around = Path(path).absolute().parent
                check_directory(f"fifo '{path}'", around, around.stat().st_mode)
        with explained(f"cannot create fifo '{path}'"), ExitStack() as undo:
            try:
                os.mkfifo(path, 0o600)
                undo.callback(Path(path).unlink)
            except FileExistsError:
                _check_reusable(path)
            descriptor = os.open(path, os.O_RDWR | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
            undo.callback(os.close, descriptor)
            if not stat.S_ISFIFO(os.fstat(descriptor).st_mode):
                raise EndpointError(f"cannot create fifo '{path}': somebody put another file in its way")
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise EndpointError(f"cannot create fifo '{path}': another program reads it") from error
            if rights.owners:
                with explained(f"cannot give fifo '{path}' to {rights.owners}"):
                    os.fchown(descriptor, rights.user, rights.group)
            os.fchmod(descriptor, rights.mode)
            undo.pop_all()
        return cls(path, descriptor)

    def withdraw(self) -> None:
        """Remove the FIFO's name, if it is still its own.

        Raises:
            EndpointError: it could not be removed.
        """
        with explained(f"cannot remove fifo '{self.path}'"), suppress(FileNotFoundError):
            own, there = os.fstat(self.descriptor), self._file.lstat()
            if (own.st_dev, own.st_ino) == (there.st_dev, there.st_ino):
                self._file.unlink()

    def close(self) -> None:
        """Close the FIFO and remove its name. Twice is once."""
        if self._closed:
            return
        self._closed = True
        try:
            self.withdraw()
        finally:
            os.close(self.descriptor)


def _check_reusable(path: str) -> None:
    status = os.lstat(path)
    if not stat.S_ISFIFO(status.st_mode):
        raise EndpointError(f"cannot create fifo '{path}': there is another file, which is not replaced")
    if status.st_uid != os.geteuid():
        raise EndpointError(f"cannot create fifo '{path}': there is one that belongs to user {status.st_uid}")
    try:
        os.close(os.open(path, os.O_WRONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC))
    except OSError as error:
        if error.errno != errno.ENXIO:
            raise
    else:
        raise EndpointError(f"cannot create fifo '{path}': another program reads it")


class FifoListener:
    """Answers what comes in by a FIFO."""

    def __init__(
        self, dialect: Dialect, execute: Execute, file: FifoFile, *, reply_folder: str = REPLY_FOLDER
    ) -> None:
        self._begin: Callable[[], ServerDialect] = lambda: dialect.server(
            Peer(transport="fifo", address=file.path)
        )
        self._conversation = self._begin()
        self._execute = execute
        self._file = file
        self._folder = Path(reply_folder)
        self._loop = asyncio.get_running_loop()
        self._queue: deque[Command] = deque()
        self._tasks: set[asyncio.Task[None]] = set()
        self._latest: dict[str, asyncio.Task[None]] = {}
        self._expiry: asyncio.TimerHandle | None = None
        self._reading = False
        self._stopped = False

    @property
    def busy(self) -> bool:
        """Whether an answer is on its way."""
        return bool(self._queue or self._tasks)

    def start(self) -> None:
        """Begin to read."""
        if not self._reading:
            self._reading = True
            self._loop.add_reader(self._file.descriptor, self._readable)

    def _pause(self) -> None:
        if self._reading:
            self._reading = False
            self._loop.remove_reader(self._file.descriptor)

    def stop(self) -> None:
        """Read what is there, and then no more."""
        if self._reading:
            self._readable()
        self._stopped = True
        self._pause()
        if self._expiry is not None:
            self._expiry.cancel()

    def _readable(self) -> None:
        try:
            data = os.read(self._file.descriptor, _READ_SIZE)
        except (BlockingIOError, InterruptedError):
            return
        for message in self._conversation.receive(data):
            if isinstance(message, Refusal):
                _log.info("%s: %s", self._file.path, message.data.decode("utf-8", "replace").strip())
                continue
            self._queue.append(message)
        if self._conversation.closing:
            self._conversation = self._begin()
        self._count()
        self._take_up()
        if self._queue:
            self._pause()

    def _take_up(self) -> None:
        """Begin to answer, as many at a time as may be."""
        while self._queue and len(self._tasks) < QUEUE_LIMIT:
            self._take(self._queue.popleft())

    def _count(self) -> None:
        """Give what is half there its time."""
        if self._expiry is not None:
            self._expiry.cancel()
        timeout = self._conversation.idle_timeout
        self._expiry = self._loop.call_later(timeout, self._expired) if timeout is not None else None

    def _expired(self) -> None:
        self._conversation = self._begin()
        self._expiry = None

    def _take(self, command: Command) -> None:
        name = cast(str, command.tag)
        task = self._loop.create_task(self._answer(command, name, self._latest.get(name)))
        self._tasks.add(task)
        if name:
            self._latest[name] = task
        task.add_done_callback(lambda task: self._done(task, name))

    def _done(self, task: asyncio.Task[None], name: str) -> None:
        self._tasks.discard(task)
        if self._latest.get(name) is task:
            del self._latest[name]
        self._take_up()
        if not (self._stopped or self._reading or self._queue):
            self.start()

    async def _answer(self, command: Command, name: str, before: asyncio.Task[None] | None) -> None:
        """Answer a command. Answers to one reply FIFO go out in order; others wait for nobody."""
        try:
            outcome = self._execute(command)
        except asyncio.CancelledError:  # of what the handler wanted the result of
            outcome = CANCELLED
        response = outcome if isinstance(outcome, Response) else await response_of(outcome)
        if not name:
            return
        if before is not None:
            await asyncio.wait([before])
        data = answer_of(self._conversation, command, response)
        try:
            async with asyncio.timeout(WRITE_TIMEOUT):
                await self._deliver(name, data)
        except TimeoutError:
            _log.warning("the answer to %r was not read in %s s", command.name, WRITE_TIMEOUT)
        except OSError as error:
            _log.warning("the answer to %r cannot be given: %s", command.name, error)

    async def _deliver(self, name: str, data: bytes) -> None:
        if not _FORBIDDEN.isdisjoint(name):
            raise OSError(errno.EINVAL, "a reply fifo's name holds no '.', '/' or '\\'", name)
        descriptor = await self._open(self._folder / name)
        try:
            unsent = memoryview(data)
            while unsent:
                try:
                    unsent = unsent[os.write(descriptor, unsent) :]
                except BlockingIOError:
                    await self._writable(descriptor)
        finally:
            os.close(descriptor)

    async def _open(self, path: Path) -> int:
        for attempt in range(_TRIES):
            if attempt:
                await asyncio.sleep(_PAUSE)
            try:
                descriptor = os.open(path, os.O_WRONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
            except OSError as error:
                if error.errno == errno.ENXIO:
                    continue
                raise
            status = os.fstat(descriptor)
            if stat.S_ISFIFO(status.st_mode) and status.st_nlink == 1:
                return descriptor
            os.close(descriptor)
            raise OSError(errno.EINVAL, "it is no fifo, or has several names", str(path))
        raise OSError(errno.ENXIO, "nobody reads it", str(path))

    async def _writable(self, descriptor: int) -> None:
        ready = self._loop.create_future()
        self._loop.add_writer(descriptor, lambda: None if ready.done() else ready.set_result(None))
        try:
            await ready
        finally:
            self._loop.remove_writer(descriptor)

    async def close(self, grace: float = GRACE) -> None:
        """Read no more, and deliver the answers in flight within ``grace`` seconds."""
        self.stop()
        with suppress(TimeoutError):
            async with asyncio.timeout(grace):
                while self._tasks:
                    await asyncio.wait(self._tasks)
        self._queue.clear()
        for task in tuple(self._tasks):
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)
