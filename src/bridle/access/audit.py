"""The audit trail: one line for each command, chained, rotated, and on the disk before a change is answered.

::

    audit = await Audit.open(settings, redact)
    audit.record(command, "read", response.result, seconds)    # queued; on the disk within GATHER and a sync

    text = audit.refuses()                   # a write command: why it may not be done now, or None
    ...                                      # it is carried out
    durable = await audit.commit(command, "write", response.result, seconds)

Lines are written by **group commit**: one job at a time, in a thread of its own, takes all lines that wait,
writes them with one write and one sync, and then the commands that wait are answered together. Ten writers
cost one sync, not ten.

Answers to write commands are held back until their line is durable. So whatever happens to the process, each
write command that was answered is in the audit. A crash may leave a command that was done, is not in the
audit, and was not answered; where that matters, ``intents`` writes a line before the command as well.

A disk that is full or dead makes ``commit`` return False. From then on :meth:`Audit.refuses` says so, each
``RETRY`` seconds the file is tried again, the lines that wait (as many as the queue holds) are written then,
and a ``gap`` line says since when and how many are missing.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from time import perf_counter, time, time_ns
from typing import NamedTuple

from bridle.access.audit_file import AuditFile, read_key
from bridle.access.audit_lines import Composer, Draft, Redactor, Series, encode, write_time
from bridle.access.audit_settings import AuditSettings
from bridle.core.errors import BridleError, ConfigurationError
from bridle.core.messages import JSON, Command, Peer, Response
from bridle.core.results import Result

__all__ = ["COMMIT_TIMEOUT", "GATHER", "QUEUE_BYTES", "QUEUE_LINES", "RETRY", "Audit", "place_of"]

# Seconds that lines of read commands wait for others: twenty syncs a second cost nothing that is noticed.
GATHER = 0.05
# Lines and bytes that wait for the disk. More than a second's worth of the fastest channel at 250 bytes a
# line; what comes beyond is counted, and the gap line tells the count.
QUEUE_LINES = 65536
QUEUE_BYTES = 16 * 1024 * 1024
# Lines from which on the writer does not wait for more.
_ENOUGH = 4096
# Drafts of lines that are made lines together.
_DRAFTS = 128
# Seconds that a write command waits for the disk. One that takes longer is as good as dead.
COMMIT_TIMEOUT = 10.0
# Seconds after which a disk that failed is tried again.
RETRY = 1.0

_log = logging.getLogger("bridle.audit")


class _Batch(NamedTuple):
    """What one job writes: the lines and what they follow, their bytes, who waits for them, and how many
    lines were lost, which is told behind them."""

    lines: list[bytes]
    since: int
    size: int
    waiting: list[asyncio.Future[bool]]
    lost: int


class Audit:
    """An open audit, of one event loop. Made by :meth:`open`."""

    def __init__(
        self,
        settings: AuditSettings,
        composer: Composer,
        file: AuditFile,
        executor: ThreadPoolExecutor,
    ) -> None:
        self.settings: AuditSettings = settings
        self.place: str = place_of(file.path)
        """The same of all names of the file."""
        self._reads = settings.reads
        self._composer = composer
        self._file = file
        self._executor = executor
        self._loop = asyncio.get_running_loop()
        # Lines are made as they come. Where the file turns out to have another end, they are made anew.
        self._series = Series(file.number)
        self._since = file.number
        self._lines: list[bytes] = []
        self._drafts: list[Draft] = []
        self._most_drafts = 1  # that wait, as long as nobody comes for them
        self._bytes = 0
        self._waiting: list[asyncio.Future[bool]] = []
        self._busy: asyncio.Future[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._failure = ""
        self._failed_at = ""
        self._lost = 0
        self._lost_ever = 0
        self._closed = False
        self._held = 0
        self._unheld: asyncio.Future[None] | None = None

    @classmethod
    async def open(cls, settings: AuditSettings, redact: Redactor, mask: Callable[[str], str] = str) -> Audit:
        """Open the file, or begin it, beside the event loop; what a crash left is repaired.

        ``redact`` gives the arguments of a command as they may be written, ``mask`` any other text.

        Raises:
            ConfigurationError: the file or its key cannot be used; the text says what to do.
        """
        executor = ThreadPoolExecutor(1, "bridle-audit")
        loop = asyncio.get_running_loop()
        opened: list[AuditFile] = []
        try:
            file = await loop.run_in_executor(executor, _open, settings, opened)
        except BaseException:
            # Behind the opening, for which nobody may wait any more.
            executor.submit(_close, opened)
            executor.shutdown(wait=False)
            raise
        return cls(settings, Composer(redact, mask), file, executor)

    @property
    def closed(self) -> bool:
        """Whether it takes no more lines."""
        return self._closed

    def hold(self) -> None:
        """A command has begun whose line is to come; :meth:`release` is called after that."""
        self._held += 1

    def release(self) -> None:
        """A command has ended."""
        self._held -= 1
        if not self._held and self._unheld is not None and not self._unheld.done():
            self._unheld.set_result(None)

    async def unheld(self) -> None:
        """Wait until every command that began has ended."""
        while self._held:
            self._unheld = self._loop.create_future()
            await self._unheld

    async def prepare(self, settings: AuditSettings) -> bytes | None:
        """Get ready to :meth:`use` other settings for the same file: the key that they name. None where they
        are the same.

        Raises:
            ConfigurationError: the key cannot be used.
        """
        if settings == self.settings:
            return None
        return await asyncio.to_thread(_key_of, settings)

    def use(self, settings: AuditSettings, key: bytes | None) -> None:
        """Go by other settings for the same file from the next line on; ``key`` is what :meth:`prepare` gave.
        Another key begins another file."""
        self.settings, self._reads = settings, settings.reads
        if key is not None:
            # In turn with what is written there: a line's digest has the key of its file.
            self._executor.submit(self._file.use, key, settings.max_size, settings.max_age, settings.keep)

    def refuses(self) -> str | None:
        """Why write commands may not be done now; None where they may."""
        if self._failure and self.settings.on_failure == "refuse":
            return f"the audit cannot be written, so nothing is changed: {self._failure}"
        if self._closed:
            return "the audit is closed"
        return None

    def origin(self, command: Command, access: str, peer: Peer) -> bytes:
        """What need not be found out again for each command of that name that a peer sends; empty where it
        has no lines."""
        if access == "read" and not self._reads:
            return b""
        return self._composer.origin(command, access, peer)

    def note(self, origin: bytes, result: int, began: float, ended: float, request: str) -> None:
        """The same as :meth:`record`, of a command without arguments that reads. ``origin`` comes of
        :meth:`origin`; ``began`` and ``ended`` are times of ``time.perf_counter``."""
        drafts = self._drafts
        drafts.append((ended, origin, b"", result, ended - began, request, ""))
        if len(drafts) >= self._most_drafts:
            self._soon()

    def record(
        self,
        command: Command,
        access: str,
        result: int,
        seconds: float,
        *,
        peer: Peer | None = None,
        reason: str = "",
    ) -> None:
        """Write the line of a command that took so many seconds, soon.

        ``peer`` is who sent it, where more is known by now than the command has; ``reason`` why the command
        was not let through. When the queue is full the line is counted as lost. Where ``reads`` is off, read
        commands that were let through have none.
        """
        if not self._reads and access == "read" and not reason:
            return
        origin = self._composer.origin(command, access, peer or command.peer)
        arguments = self._composer.arguments(command)
        if self._has_room(arguments):
            reason = self._composer.text(reason)  # it may have a name that a peer made up
            self._drafts.append(
                (perf_counter(), origin, arguments, result, seconds, command.request_id, reason)
            )
            if arguments or len(self._drafts) >= self._most_drafts:
                self._soon()

    def _soon(self) -> None:
        """See to it that what waits is written."""
        self._most_drafts = _DRAFTS
        self._take_drafts()
        if self._busy is not None or self._failure or self._closed:
            return
        if len(self._lines) >= _ENOUGH:
            self._hurry()
        elif self._timer is None:
            self._timer = self._loop.call_later(GATHER, self._start)

    def _has_room(self, arguments: bytes) -> bool:
        """Whether there is room for a line's arguments; it is lost where there is none."""
        if self._bytes + len(arguments) <= QUEUE_BYTES:
            return True
        self._lose(1)
        return False

    def _take_drafts(self) -> bool:
        """Make lines of drafts, as many as there is room for; False where the last of them was lost."""
        drafts, lines = self._drafts, self._lines
        room = 0 if self._closed else max(0, QUEUE_LINES - len(lines))
        offset = time() - perf_counter()
        made = self._series.lines(drafts if len(drafts) <= room else drafts[:room], offset)
        lines += made
        self._bytes += sum(map(len, made))
        lost = len(drafts) - len(made)
        drafts.clear()
        if lost:
            self._lose(lost)
        return not lost

    def _lose(self, count: int) -> None:
        if self._closed:
            _log.error("audit %s: a command ended after it was closed, and is not in it", self._file.path)
        elif not self._lost and not self._failure:
            _log.warning("audit %s: lines come faster than the disk takes them", self._file.path)
        self._lost += count
        self._lost_ever += count

    async def commit(
        self,
        command: Command,
        access: str,
        result: int,
        seconds: float,
        *,
        peer: Peer | None = None,
    ) -> bool:
        """Write the line of a command now; True once it is on the disk.

        False where it is not: the disk failed, or did not answer within ``COMMIT_TIMEOUT`` seconds. The line
        still waits for the disk to come back, if the queue had room for it.
        """
        return await self._durable(command, access, result, seconds, peer)

    async def intend(self, command: Command, access: str, *, peer: Peer | None = None) -> bool:
        """Write that a command is about to be done; True once that is on the disk."""
        return await self._durable(command, access, -1, 0.0, peer)

    async def _durable(
        self, command: Command, access: str, result: int, seconds: float, peer: Peer | None
    ) -> bool:
        origin = self._composer.origin(command, access, peer or command.peer)
        arguments = self._composer.arguments(command)
        if not self._has_room(arguments):
            return False
        self._drafts.append((perf_counter(), origin, arguments, result, seconds, command.request_id, ""))
        if not self._take_drafts() or self._failure:
            return False
        future: asyncio.Future[bool] = self._loop.create_future()
        self._waiting.append(future)
        self._hurry()
        try:
            async with asyncio.timeout(COMMIT_TIMEOUT):
                return await future
        except TimeoutError:
            self._fail(f"no answer from the disk within {COMMIT_TIMEOUT:g} s")
            return False

    def undurable(self) -> Response:
        """What to answer to a write command that was carried out, when :meth:`commit` has returned False and
        the audit is one that refuses."""
        reason = self._failure or ("it is closed" if self._closed else "too many lines wait for the disk")
        return Response(
            Result.ERROR, f"the command was carried out, but its audit line is not on the disk: {reason}"
        )

    def status(self) -> dict[str, JSON]:
        """What ``status-get`` says of the audit."""
        self._take_drafts()
        found: dict[str, JSON] = {
            "file": str(self._file.path),
            "state": "failed" if self._failure else "working",
            "lines": self._file.number,
            "waiting": len(self._lines),
            "lost": self._lost_ever,
            "on-failure": self.settings.on_failure,
        }
        if self._failure:
            found |= {"failure": self._failure, "since": self._failed_at}
        return found

    async def close(self) -> None:
        """Write what waits, once more if the disk has failed, and close the file."""
        if self._closed:
            return
        self._take_drafts()
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        try:
            async with asyncio.timeout(COMMIT_TIMEOUT):
                if self._busy is not None:
                    await asyncio.wait([self._busy])
                self._start()
                if self._busy is not None:
                    await asyncio.wait([self._busy])
                await self._loop.run_in_executor(self._executor, self._file.close)
        except OSError as error:  # a timeout is one
            reason = "the disk does not answer" if isinstance(error, TimeoutError) else _reason(error)
            _log.error("audit %s cannot be closed: %s", self._file.path, reason)
        if self._lines:
            _log.error("audit %s: %d lines are lost", self._file.path, len(self._lines))
        if self._timer is not None:
            self._timer.cancel()
        self._executor.shutdown(wait=False)

    def _hurry(self) -> None:
        if self._busy is None and not self._failure:
            if self._timer is not None:
                self._timer.cancel()
            self._start()

    def _start(self) -> None:
        """Have all that waits written."""
        self._timer = None
        self._take_drafts()
        gap = bool(self._failed_at or self._lost)
        if self._busy is not None or not (self._lines or gap):
            return
        self._most_drafts = _DRAFTS
        last = self._gap() if gap else b""
        batch = _Batch(self._lines, self._since, self._bytes, self._waiting, self._lost)
        self._lines, self._bytes, self._waiting, self._lost = [], 0, [], 0
        self._since = self._series.number
        write = self._loop.run_in_executor(
            self._executor, _write, self._file, batch, last, bool(self._failed_at)
        )
        self._busy = write
        write.add_done_callback(lambda ended: self._finish(batch, ended))

    def _finish(self, batch: _Batch, ended: asyncio.Future[None]) -> None:
        self._busy = None
        error = asyncio.CancelledError() if ended.cancelled() else ended.exception()
        for future in batch.waiting:
            if not future.done():
                future.set_result(error is None)
        if error is None:
            if self._file.number != self._since:
                self._since = self._file.number
                self._series = Series(self._since)
                self._lines = self._series.again(self._lines)
            self._worked()
            return
        self._lines, self._since = batch.lines + self._lines, batch.since
        self._bytes += batch.size
        self._lost += batch.lost
        self._fail(_reason(error))

    def _gap(self) -> bytes:
        facts: dict[str, JSON] = {"time": write_time(time_ns()), "event": "gap", "lost": self._lost}
        if self._failed_at:
            facts |= {"since": self._failed_at, "reason": self._failure}
        return encode(facts)

    def _worked(self) -> None:
        if self._failed_at:
            _log.warning("audit %s is written again", self._file.path)
        self._failure = self._failed_at = ""
        self._take_drafts()
        if self._waiting or len(self._lines) >= _ENOUGH:
            self._start()
        elif self._lines or self._lost:
            self._timer = self._loop.call_later(GATHER, self._start)
        else:
            self._most_drafts = 1

    def _fail(self, reason: str) -> None:
        """Take note that the disk does not take lines, and try again later."""
        if not self._failure:
            _log.error("audit %s cannot be written: %s", self._file.path, reason)
        if not self._failed_at:
            self._failed_at = write_time(time_ns())
        self._failure = reason
        for future in self._waiting:
            if not future.done():
                future.set_result(False)
        self._waiting = []
        if self._timer is None and not self._closed:
            self._timer = self._loop.call_later(RETRY, self._retry)

    def _retry(self) -> None:
        self._timer = None
        if self._busy is not None:  # still not back
            self._timer = self._loop.call_later(RETRY, self._retry)
        else:
            self._start()


def place_of(file: str | Path) -> str:
    """What the names of a file have in common: an absolute path without links."""
    return os.path.realpath(file)


def _key_of(settings: AuditSettings) -> bytes:
    return read_key(settings.key_file) if settings.key_file else b""


def _open(settings: AuditSettings, opened: list[AuditFile]) -> AuditFile:
    key = _key_of(settings)
    try:
        file = AuditFile.open(
            settings.file, key=key, max_size=settings.max_size, max_age=settings.max_age, keep=settings.keep
        )
    except OSError as error:
        raise ConfigurationError(f"cannot open the audit '{settings.file}': {error.strerror}") from error
    opened.append(file)
    return file


def _close(opened: list[AuditFile]) -> None:
    for file in opened:
        file.close()


def _write(file: AuditFile, batch: _Batch, last: bytes, failed: bool) -> None:
    if failed:
        file.recover()
    file.append(batch.lines, batch.since, last)


def _reason(error: BaseException) -> str:
    if isinstance(error, OSError):
        return error.strerror or str(error)
    return str(error) if isinstance(error, BridleError) else f"{type(error).__name__}: {error}"
