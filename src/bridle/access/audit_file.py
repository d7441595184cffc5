"""The file of an audit: appended to by one process, synced, rotated, and taken up where it ended.

Everything here blocks, and is called from one thread at a time; :mod:`bridle.access.audit` has it done beside
the event loop. A line is on the disk when :meth:`AuditFile.append` returns.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from collections import deque
from collections.abc import Callable, Sequence
from datetime import datetime
from hashlib import blake2b
from pathlib import Path

from bridle.access.audit_head import (
    Head,
    Resumed,
    head_file,
    read_head,
    resume,
    rotated_files,
    rotated_name,
    write_head,
)
from bridle.access.audit_lines import GENESIS, Series, encode, read_link, sealed, write_time
from bridle.access.private_files import check_folder, check_private, read_private, sync_folder
from bridle.core.errors import ConfigurationError
from bridle.core.messages import JSON

__all__ = ["AuditFile", "read_key"]

# Bytes of a key: BLAKE2b takes up to 64; with fewer than 16 it could be guessed.
_LONGEST_KEY = 64
_SHORTEST_KEY = 16
_FLAGS = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
_MODE = 0o600
# Times that the lock is tried to be had, and the seconds in between.
_LOOKS = 3
_LOOK_PAUSE = 0.01


def read_key(name: str | Path) -> bytes:
    """The key that a file holds: 16 to 64 bytes, without the line break at their end.

    Raises:
        ConfigurationError: it cannot be read, others can read it, or it is too short or too long.
    """
    content, _ = read_private(name, 4096)
    key = content.rstrip(b"\r\n")
    if not _SHORTEST_KEY <= len(key) <= _LONGEST_KEY:
        raise ConfigurationError(f"the key in '{name}' has {len(key)} bytes: it needs 16 to 64")
    return key


def key_name(key: bytes) -> str:
    """What tells keys apart without telling them; empty without a key."""
    return blake2b(b"bridle audit", key=key, digest_size=4).hexdigest() if key else ""


class AuditFile:
    """An open audit. Made by :meth:`open`."""

    def __init__(
        self, path: Path, key: bytes, max_size: int, max_age: float, keep: int, now: Callable[[], int]
    ) -> None:
        self.path: Path = path
        self.use(key, max_size, max_age, keep)
        self._now = now
        self._begun_with = self._key_name
        self._descriptor = -1
        self._head = -1
        self._inode = (0, 0)
        self.number: int = 0
        """The number of the last line."""
        self._digest = GENESIS
        self._first = 1
        self._size = 0
        self._oldest = 1
        self._began = now()

    @classmethod
    def open(
        cls,
        path: str | Path,
        *,
        key: bytes = b"",
        max_size: int = 0,
        max_age: float = 0.0,
        keep: int = 0,
        now: Callable[[], int] = time.time_ns,
    ) -> AuditFile:
        """Open an audit, take up its chain, and repair what a crash left of its last line.

        It is rotated when it has ``max_size`` bytes or is ``max_age`` seconds old (0: never), and the last
        ``keep`` rotated files are kept (0: all). ``now`` is the time in nanoseconds since 1970.

        Raises:
            ConfigurationError: others may write it or its folder, or another process has it open.
            OSError: it cannot be read or written.
        """
        file = cls(Path(path), key, max_size, max_age, keep, now)
        check_folder(file.path.parent)
        try:
            file._lock()
            content = os.pread(file._head, 4096, 0)
            file._open(read_head(content), head_lost=not content.strip(), why="")
        except BaseException:
            file._close()
            raise
        return file

    @property
    def head(self) -> Head:
        """Where the chain ends, for an anchor elsewhere."""
        return Head(self.number, self._digest.hex(), self._first, self._size, self._oldest)

    def _lock(self) -> None:
        name = head_file(self.path)
        descriptor = os.open(name, _FLAGS, _MODE)
        try:
            check_private(os.fstat(descriptor), name, secret=False)
            if not _locked(descriptor):
                raise ConfigurationError(
                    f"the audit '{self.path}' is open in another process: one file, one process"
                )
        except BaseException:
            os.close(descriptor)
            raise
        self._head = descriptor

    def _hold(self) -> None:
        """See that the lock still is on what has the head's name: who removes it lets another process in.

        A head that was removed or replaced is put right, unless another process has it by now.
        """
        name = head_file(self.path)
        if self._head != -1:
            with contextlib.suppress(FileNotFoundError):
                if os.path.samestat(name.lstat(), os.fstat(self._head)):
                    return
            os.close(self._head)
            self._head = -1
        self._lock()
        # Another process may have gone on from where we are. An older head is one that was put there.
        found = read_head(os.pread(self._head, 4096, 0))
        ours = self.head
        newer = found is not None and found.number > ours.number
        self._reopen("the head was moved or removed", found if newer else ours)

    def _open(self, head: Head | None, *, head_lost: bool, why: str) -> None:
        """Open the file and take up the chain, by the head where there is one."""
        descriptor = os.open(self.path, _FLAGS | os.O_APPEND, _MODE)
        try:
            status = os.fstat(descriptor)
            check_private(status, self.path, secret=False)
            found = _resumed(descriptor, head, self._key) if status.st_size else None
        except BaseException:
            os.close(descriptor)  # never to be written, nor cut: it may be somebody else's
            raise
        self._descriptor, self._inode = descriptor, (status.st_dev, status.st_ino)
        self._size = found.size if found is not None else 0
        if found is None:
            self._begin(head, why)
            return
        self.number, self._digest, self._first = found.number, found.digest, found.first
        self._began = _nanoseconds(found.began) or self._now()
        if found.torn:
            os.ftruncate(self._descriptor, found.size)
        self._oldest = head.oldest if head is not None else _first_kept(self.path, found.first)
        facts: dict[str, JSON] = {"event": "opened", "pid": os.getpid(), **_repairs(found)}
        if head is None:
            facts["head"] = "lost" if head_lost else "unreadable"
        if why:
            facts["reason"] = why
        self._begun_with = found.key
        if found.key == self._key_name:
            self._tell(facts)
        else:
            self._rotate(facts)  # each file has one key

    def _begin(self, head: Head | None, why: str) -> None:
        """Begin a file, where the chain goes on that the head or the newest rotated file ends."""
        facts: dict[str, JSON] = {"pid": os.getpid()}
        if head is not None:
            # Not what is there, but what is to be there: that is how the loss of a file is noticed.
            self.number, self._digest, self._oldest = head.number, bytes.fromhex(head.digest), head.oldest
        else:
            self._continue_rotated()
        if why:
            facts["reason"] = why
        self._start(facts, removed=[])

    def _continue_rotated(self) -> None:
        for file in reversed(rotated_files(self.path)):
            with file.open("rb") as lines:
                last = deque(lines, maxlen=1)
            link = read_link(last[0].rstrip(b"\n")) if last else None
            if link is not None and link.digest is not None:
                self.number, self._digest = link.number, link.digest
                self._oldest = _first_kept(self.path, link.number)
                return

    def _start(self, facts: dict[str, JSON], removed: Sequence[Path]) -> None:
        self._first = self.number + 1
        self._size = 0
        self._begun_with = self._key_name
        self._began = self._now()
        if removed:
            kept = [file for file in rotated_files(self.path) if file not in removed]
            self._oldest = int(kept[0].suffix[1:]) if kept else self._first
        start: dict[str, JSON] = {
            **facts,
            "event": "start",
            "previous": self._digest.hex(),
            "oldest": self._oldest,
            "key": self._key_name,
        }
        if removed:
            start["removed"] = [file.name for file in removed]
        self._tell(start)
        sync_folder(self.path.parent)

    def _tell(self, facts: dict[str, JSON]) -> None:
        body = encode({"time": write_time(self._now()), **facts})
        self._write([Series(self.number).fact(body)])

    def use(self, key: bytes, max_size: int, max_age: float, keep: int) -> None:
        """Go by other settings from the next :meth:`append` on; another key begins another file then."""
        self._key, self._key_name = key, key_name(key)
        self._max_size, self._max_age, self._keep = max_size, max_age, keep

    def append(self, lines: Sequence[bytes], since: int, last: bytes = b"") -> None:
        """Write lines, as they come of a :class:`~bridle.access.audit_lines.Series`, and sync them.

        They were made to follow the line ``since``. Where another one is the last by now, as a file was
        begun or somebody else was at it, they are numbered anew: :attr:`number` says afterwards where it
        ends. ``last`` is a line of the audit's own that is to follow them.

        Raises:
            OSError: they are not on the disk; :meth:`recover` before the next.
            ConfigurationError: another process has the audit, or others may write it; the same.
        """
        self._look()
        if not self._size:
            self._start({}, removed=[])  # an attempt to begin the file has failed
        elif self._is_full() or self._begun_with != self._key_name:
            self._rotate({})
        if self.number != since:
            lines = Series(self.number).again(lines)
        if last:
            lines = [*lines, Series(self.number + len(lines)).fact(last)]
        self._write(lines)

    def _look(self) -> None:
        """Notice that the file or its head was moved, removed or cut by somebody else."""
        self._hold()
        try:
            status = self.path.lstat()
            same = (status.st_dev, status.st_ino) == self._inode
        except FileNotFoundError:
            same = False
        if not same:
            self._reopen("the file was moved or removed")
        elif status.st_size != self._size:
            os.write(self._descriptor, b"\n")
            self._size = status.st_size + 1

    def _reopen(self, why: str, head: Head | None = None) -> None:
        old, self._descriptor = self._descriptor, -1
        if old != -1:
            os.close(old)
        self._open(head or self.head, head_lost=False, why=why)

    def _is_full(self) -> bool:
        if self._max_size and self._size >= self._max_size:
            return True
        return bool(self._max_age) and self._now() - self._began >= self._max_age * 1e9

    def _rotate(self, facts: dict[str, JSON]) -> None:
        self.path.rename(rotated_name(self.path, self._first))
        old, self._descriptor = self._descriptor, -1
        os.close(old)
        self._descriptor = os.open(self.path, _FLAGS | os.O_APPEND | os.O_EXCL, _MODE)
        self._size = 0
        status = os.fstat(self._descriptor)
        self._inode = (status.st_dev, status.st_ino)
        rotated = rotated_files(self.path)
        removed = rotated[: -self._keep] if self._keep else []
        self._start(facts, removed)
        os.fsync(self._head)
        for file in removed:
            file.unlink(missing_ok=True)

    def _write(self, lines: Sequence[bytes]) -> None:
        data, digest = sealed(lines, self._digest, self._key)
        rest = memoryview(data)
        while rest:
            rest = rest[os.write(self._descriptor, rest) :]
        os.fdatasync(self._descriptor)
        self.number, self._digest = self.number + len(lines), digest
        self._size += len(data)
        write_head(self._head, self.head)

    def recover(self) -> None:
        """Take back what a failed :meth:`append` may have written of its lines.

        Raises:
            OSError: the disk is still not as it should be.
            ConfigurationError: another file has taken the place, and others may write it, or another process
                has the audit.
        """
        self._hold()
        if self._descriptor == -1:
            self._open(self.head, head_lost=False, why="the file could not be written")
            return
        status = os.fstat(self._descriptor)
        if status.st_size > self._size:
            os.ftruncate(self._descriptor, self._size)

    def close(self) -> None:
        """Sync the head and let go of the lock."""
        try:
            if self._head != -1:
                os.fsync(self._head)
        finally:
            self._close()

    def _close(self) -> None:
        for descriptor in (self._descriptor, self._head):
            if descriptor != -1:
                os.close(descriptor)
        self._descriptor = self._head = -1


def _locked(descriptor: int) -> bool:
    """Lock a head; False: another process has it. Who verifies an audit has it for some microseconds."""
    for left in range(_LOOKS, 0, -1):
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if left > 1:
                time.sleep(_LOOK_PAUSE)
        else:
            return True
    return False


def _resumed(descriptor: int, head: Head | None, key: bytes) -> Resumed:
    with os.fdopen(os.dup(descriptor), "rb") as file:
        return resume(file, head, key)


def _nanoseconds(written: str) -> int:
    try:
        return int(datetime.fromisoformat(written).timestamp() * 1e9)
    except ValueError:
        return 0


def _repairs(found: Resumed) -> dict[str, JSON]:
    facts: dict[str, JSON] = {}
    if found.torn:
        facts |= {"torn": found.torn, "tail": found.tail}
    if found.missing:
        facts["missing"] = found.missing
    if found.strange:
        facts["strange"] = found.strange
    return facts


def _first_kept(path: Path, first: int) -> int:
    rotated = rotated_files(path)
    return int(rotated[0].suffix[1:]) if rotated else first
