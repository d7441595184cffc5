"""Following audits: the lines that are there, and then those that come, from file to file."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from bridle.access.audit_files import Whole, files_of
from bridle.access.audit_head import rotated_files
from bridle.access.audit_lines import Entry, read_link
from bridle.access.audit_search import Wanted, read_entry

__all__ = ["follow"]

# Bytes that are read at once.
_CHUNK = 256 * 1024


def follow(
    paths: Sequence[Path], wanted: Wanted, pause: Callable[[], None]
) -> Iterator[tuple[bytes, Entry | None]]:
    """The lines of audits that are wanted, as :func:`~bridle.access.audit_search.search` gives them, and then
    those that are written, without an end.

    Each audit is begun with the oldest file that it was rotated to, and followed when it is rotated. Lines
    are given when a digest has followed them.
    ``pause`` is called where there is nothing more for the moment, and ends it by raising.

    Raises:
        OSError: a file cannot be read.
    """
    rotated = {file for path in paths for file in rotated_files(path)}
    with contextlib.ExitStack() as stack:
        tails = [
            stack.enter_context(contextlib.closing(_Tail(path, files_of(path)[0])))
            for path in dict.fromkeys(paths)
            if path not in rotated
        ]
        while True:
            for tail in tails:
                for line in tail.lines():
                    entry = read_entry(line)
                    if entry is None or wanted.fits(entry):
                        yield line, entry
            pause()


class _Tail:
    """One audit, and how far it was read. What holds a file open is not in the way of whoever moves it."""

    def __init__(self, path: Path, begin: Path) -> None:
        self._path = path
        self._descriptor = -1
        self._number = 0  # of the file's first line
        self._begin(_opened(begin))

    def _begin(self, descriptor: int) -> None:
        self.close()
        self._descriptor = descriptor
        self._inode = _inode(os.fstat(descriptor))
        self._position = 0
        self._whole = Whole()
        self._number = _first_number(descriptor) or self._number

    def close(self) -> None:
        """Let go of the file."""
        if self._descriptor != -1:
            os.close(self._descriptor)
            self._descriptor = -1

    def lines(self) -> Iterator[bytes]:
        """The lines that have come since this was last asked for."""
        while True:
            # Looked at before reading: nothing is written to a file when another one has its name.
            moved = self._has_moved()
            yield from self._read()
            if not moved or not self._go_on():
                return

    def _has_moved(self) -> bool:
        try:
            return _inode(self._path.stat()) != self._inode
        except FileNotFoundError:
            return False  # the next one is not there yet

    def _read(self) -> Iterator[bytes]:
        size = os.fstat(self._descriptor).st_size
        if size < self._position:
            # Lines that could not be synced are taken back, and written again.
            self._position, self._whole = size, Whole()
        size = _CHUNK
        while data := os.pread(self._descriptor, size, self._position):
            end = data.rfind(b"\n") + 1
            if end:
                self._position += end
                for line in data[: end - 1].split(b"\n"):
                    yield from self._whole.add(line + b"\n")
            elif len(data) < size:
                return  # half a line: read when there is the rest, for it may be one that a crash has torn
            else:
                size *= 2

    def _go_on(self) -> bool:
        """Turn to the file that continues this one; False: it is not there yet."""
        try:
            descriptor = _opened(self._path)
        except FileNotFoundError:
            return False
        first = _first_number(descriptor)
        if first is None:
            os.close(descriptor)
            return False
        # Looked for when that is open: what was rotated before it is there by now.
        for file in rotated_files(self._path):
            number = int(file.suffix[1:])
            if self._number < number and (number < first or not first):
                os.close(descriptor)
                return self._turn_to(file, number)
        self._begin(descriptor)
        return True

    def _turn_to(self, file: Path, number: int) -> bool:
        try:
            self._begin(_opened(file))
        except FileNotFoundError:
            return False  # it was one too many to be kept
        self._number = number
        return True


def _opened(file: Path) -> int:
    return os.open(file, os.O_RDONLY | os.O_CLOEXEC)


def _first_number(descriptor: int) -> int | None:
    """The number of a file's first line; 0 where it has none, None where it is not written yet."""
    line, end, _ = os.pread(descriptor, _CHUNK, 0).partition(b"\n")
    link = read_link(line) if end else None
    return (link.number if link is not None else 0) if end else None


def _inode(status: os.stat_result) -> tuple[int, int]:
    return status.st_dev, status.st_ino
