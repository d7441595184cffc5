"""The directory that a server makes for each connection, and what is done about one that its maker left.

Its name, ``qb-SERVER-CLIENT-NUMBER-XXXXXX``, holds the pids of both. A server of ours keeps a lock on it, so
that another one can tell whether it lives even where their pids are not of the same namespace.
"""

from __future__ import annotations

import atexit
import contextlib
import fcntl
import os
import re
import secrets
import time
from collections.abc import Iterator
from pathlib import Path

from bridle.net.libqb.trust import FileRights
from bridle.wire.libqb import CHANNELS

__all__ = ["ConnectionDirectory", "remove_remains", "sweep"]

_NAME = re.compile(r"qb-(\d+)-(\d+)-(\d+)-\w{6}")
_MODE = 0o770

# Seconds that a process may seem to be younger than the directory which it made: the kernel counts the time
# since the start in hundredths, and the clock is set now and then.
_CLOCK_SLACK = 2.0

# Removed when the interpreter ends, in case that nobody closed them; by the process that made them alone.
_left: dict[Path, int] = {}


class ConnectionDirectory:
    """The directory of one connection."""

    def __init__(self, parent: str, client: int, number: int, rights: FileRights) -> None:
        """Make it.

        Raises:
            OSError: there is no room, or no such parent.
        """
        self.path: Path = self._make(Path(parent), f"qb-{os.getpid()}-{client}-{number}-")
        _left[self.path] = os.getpid()
        self._lock = -1
        try:
            self._lock = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            with contextlib.suppress(PermissionError):
                os.fchown(self._lock, rights.uid, rights.gid)
            os.fchmod(self._lock, _MODE)
        except BaseException:
            self.remove()
            raise

    @staticmethod
    def _make(parent: Path, beginning: str) -> Path:
        while True:
            path = parent / (beginning + secrets.token_hex(3))
            try:
                path.mkdir(mode=0o700)
            except FileExistsError:
                continue
            return path

    def base(self, name: str) -> str:
        """The beginning of a file's name in it."""
        return str(self.path / f"qb-{name}")

    def remove(self) -> None:
        """Remove it, and what is in it."""
        _left.pop(self.path, None)
        _remove(self.path)
        lock, self._lock = self._lock, -1
        if lock >= 0:
            os.close(lock)


@atexit.register
def _remove_what_is_left() -> None:
    for path, pid in tuple(_left.items()):
        if pid == os.getpid():
            _remove(path)


def _remove(path: Path) -> None:
    """Remove libqb's files in a directory, and the directory; nothing else, and never by way of a link."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return
    try:
        for name in _names(descriptor):
            if name.startswith("qb-"):
                with contextlib.suppress(OSError):
                    os.unlink(name, dir_fd=descriptor)
    finally:
        os.close(descriptor)
    with contextlib.suppress(OSError):
        path.rmdir()


def _names(descriptor: int) -> list[str]:
    """What is in an open directory."""
    with os.scandir(descriptor) as entries:
        return [entry.name for entry in entries]


def remove_remains(directory: str, server: int) -> None:
    """Remove the directory of a connection whose server has gone, if its name says that it is that
    server's."""
    path = Path(directory)
    named = _NAME.fullmatch(path.name)
    if named is not None and int(named[1]) == server:
        _remove(path)


def sweep(parent: str, service: str) -> list[Path]:
    """Remove what servers of a service left that were killed, and say what that was.

    Only what has that service's files in it, and nobody's lock, and whose maker is no more: no process has
    its pid, or one that began later.
    """
    found = [path for path in _directories(parent) if _is_abandoned(path, service)]
    for path in found:
        _remove(path)
    return found


def _directories(parent: str) -> Iterator[Path]:
    try:
        yield from (path for path in Path(parent).iterdir() if _NAME.fullmatch(path.name))
    except OSError:
        return


def _is_abandoned(path: Path, service: str) -> bool:
    named = _NAME.fullmatch(path.name)
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        if named is None or not _is_of(_names(descriptor), service):
            return False
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return not _has_maker(int(named[1]), os.fstat(descriptor).st_mtime)
    except OSError:
        return False
    finally:
        os.close(descriptor)


def _is_of(names: list[str], service: str) -> bool:
    wanted = {f"qb-control-{service}"}
    wanted |= {f"qb-{channel.value}-{service}{end}" for channel in CHANNELS for end in ("-header", "-data")}
    return any(name in wanted for name in names)


def _has_maker(pid: int, made: float) -> bool:
    """Whether the process with this pid can have made something at that time."""
    began = _began(pid)
    return began is not None and began <= made + _CLOCK_SLACK


def _began(pid: int) -> float | None:
    """When a process began, in seconds of the clock on the wall; None: there is none, or only its remains."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(errors="replace")
    except OSError:
        return None
    # What the program calls itself stands in brackets, and may hold any character.
    state, *numbers = text.rpartition(")")[2].split()
    if state in "ZX":
        return None
    ticks = int(numbers[18])
    now = time.clock_gettime(time.CLOCK_BOOTTIME)
    return time.time() - now + ticks / os.sysconf("SC_CLK_TCK")
