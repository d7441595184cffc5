"""The files of audits as they are at one moment, whatever is written and rotated meanwhile."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

from bridle.access.audit_head import head_file, rotated_files
from bridle.access.audit_lines import SEALED, read_link

__all__ = ["OPEN", "TRIES", "Source", "Whole", "files_of", "is_written", "lines_of", "open_files"]

# Times that a folder is looked at for files that stay as they are for so long as it takes to open them.
TRIES = 100
# Rotated files of an audit that are held open, the oldest first: those are next to be removed. The others are
# opened when it is their turn, as a process may not have thousands of them open.
OPEN = 64


class Source:
    """One file to be read; ``audit`` is the audit that it is written to, and None of what was rotated."""

    def __init__(self, path: Path, file: BinaryIO | None, audit: Path | None) -> None:
        self.path: Path = path
        self.audit: Path | None = audit
        self._file = file

    @contextlib.contextmanager
    def opened(self) -> Iterator[BinaryIO]:
        """The file, from its beginning.

        Raises:
            OSError: it cannot be read; FileNotFoundError where it was removed meanwhile.
        """
        if self._file is None:
            with self.path.open("rb") as file:
                yield file
        else:
            self._file.seek(0)
            yield self._file

    def first_number(self) -> int:
        """The number of the first line, by which files are put in order; 0 where it has none, and a large one
        where the audit is about to begin it."""
        with self.opened() as file:
            line = file.readline()
        link = read_link(line.rstrip(b"\n"))
        if link is not None:
            return link.number
        return 0 if self.audit is None or line.endswith(b"\n") else sys.maxsize


def files_of(path: Path) -> list[Path]:
    """The files of an audit, the oldest first: what it was rotated to, and itself."""
    return [*rotated_files(path), path]


def open_files(paths: Sequence[Path], stack: contextlib.ExitStack) -> list[Source]:
    """The files of audits, in the order of their first lines; ``stack`` closes them.

    An audit that was rotated may be without its own file, or with an empty one: that is how it is for as long
    as the next one is being begun.

    Raises:
        OSError: a file cannot be read.
    """
    found: dict[Path, Source] = {}
    for path in dict.fromkeys(paths):
        for source in _files_now(path, stack):
            found.setdefault(source.path, source)
    return sorted(found.values(), key=Source.first_number)


def _files_now(path: Path, stack: contextlib.ExitStack) -> list[Source]:
    for left in range(TRIES, 0, -1):
        with contextlib.ExitStack() as attempt:
            before = rotated_files(path)
            current = _opened(path, attempt)
            held = [_opened(file, attempt) for file in before[:OPEN]]
            # Of a file that was rotated in between, the name is another now.
            if None in held or (before != rotated_files(path) and left > 1):
                continue
            if current is None and not before:
                path.stat()  # raises the error that names it
                continue
            stack.push(attempt.pop_all())
            held += [None] * (len(before) - len(held))
            found = [Source(file, opened, None) for file, opened in zip(before, held, strict=True)]
            return found if current is None else [*found, Source(path, current, path)]
    raise FileNotFoundError(errno.ENOENT, "is rotated faster than it can be read", str(path))


def _opened(path: Path, stack: contextlib.ExitStack) -> BinaryIO | None:
    try:
        return stack.enter_context(path.open("rb"))
    except FileNotFoundError:
        return None


def is_written(path: Path) -> bool:
    """Whether a process has an audit open, to write it."""
    try:
        descriptor = os.open(head_file(path), os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


class Whole:
    """Gives the lines of an audit once a digest has followed them: before that they are being written, torn
    by a crash, or were put in by somebody. What is no line of an audit is given at once."""

    def __init__(self) -> None:
        self._held: list[bytes] = []
        self._beyond = 0

    @property
    def left(self) -> int:
        """The lines that no digest has followed."""
        return len(self._held) + self._beyond

    def add(self, line: bytes) -> list[bytes]:
        """Go on with the next line; those that can be told now."""
        link = read_link(line.rstrip(b"\n"))
        if link is None:
            return [line]
        self._held.append(line)
        if link.digest is not None:
            held, self._held = self._held, []
            return held
        if len(self._held) > SEALED:
            del self._held[0]
            self._beyond += 1
        return []


def lines_of(file: BinaryIO, whole: Whole) -> Iterator[bytes]:
    """The lines of one file that a digest has followed, for those who only read them."""
    for line in file:
        if line.endswith(b"\n"):
            yield from whole.add(line)
