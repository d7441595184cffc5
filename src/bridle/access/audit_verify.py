"""Whether an audit is as it was written: what was changed, removed or moved, and where.

What it finds: any line of which a byte was changed, that is missing between two others, stands twice or in
another place, in any of the files; files that are missing between others or before the first; lines that are
missing at the end, where the head or an anchor is newer; lines at the end that no digest follows; a head that
is missing. Of lines that share a digest it cannot tell which was changed, but which are missing or moved.
What nobody can find: lines cut off at the end together with a head that was set back to the same place,
unless an anchor was kept elsewhere; and, in a chain without a key, lines that were all written anew from some
place on, again unless an anchor was kept.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import BinaryIO

import msgspec

from bridle.access.audit_file import key_name
from bridle.access.audit_files import Source, is_written, open_files
from bridle.access.audit_head import Head, Start, head_file, is_rotated, read_head, start_of
from bridle.access.audit_lines import Link, Seal, read_link

__all__ = ["FINDINGS_LIMIT", "PAUSES", "Anchor", "Finding", "Report", "verify"]

# Findings of one verification: whoever finds more has found enough.
FINDINGS_LIMIT = 100
# Times that files are read which are rotated, and removed, while we read.
_TRIES = 5
# How often, and for how many seconds, the digest of lines is waited for that are being written: a disk that
# takes longer than two seconds is as good as dead.
PAUSES = 40
_PAUSE = 0.05


class Finding(msgspec.Struct, frozen=True):
    """Something that is wrong, or worth a note, in a line of a file; line 0 is the file as such."""

    file: str
    line: int
    text: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.text}" if self.line else f"{self.file}: {self.text}"


class Anchor(msgspec.Struct, frozen=True):
    """A line's number and digest, kept elsewhere."""

    number: int
    digest: str


class Report(msgspec.Struct):
    """What a verification found: what is wrong, what is worth a note, and where the chain begins and ends."""

    findings: list[Finding] = []
    notes: list[Finding] = []
    files: int = 0
    first: int = 0
    last: int = 0
    digest: str = ""


def verify(
    paths: Sequence[Path],
    *,
    keys: Sequence[bytes] = (),
    anchors: Sequence[Anchor] = (),
    copies: bool = False,
    pause: Callable[[float], None] = time.sleep,
) -> Report:
    """Verify audits' files: each with those that it was rotated to, and its head.

    The files are put in order by their first lines, so that copies of any name will do; whether they are
    ``copies`` has to be said, for a head that is missing is a finding otherwise. ``keys`` are those that they
    were written with. Where there are some, a file without a key may only stand before one that has one,
    which vouches for it. Where lines are being written, ``pause`` is called to wait for their digest.

    Raises:
        OSError: a file cannot be read.
    """
    for left in range(_TRIES, 0, -1):
        heads = _heads(paths)
        report = Report()
        if not copies:
            _miss_heads(paths, heads, report)
        try:
            _verify(paths, heads, report, keys, anchors, pause)
        except FileNotFoundError:
            if left == 1:
                raise
            continue
        if not (report.findings and left > 1 and _rotated_since(heads)):
            break
    return report


_Heads = Mapping[Path, "Head | None"]


def _heads(paths: Sequence[Path]) -> _Heads:
    """The heads there are; None of what is none. Read before the files: these go on while we read."""
    return {path: read_head(head_file(path).read_bytes()) for path in paths if head_file(path).exists()}


def _rotated_since(heads: _Heads) -> bool:
    """Whether an audit was rotated, so that files are not where they were."""
    now = _heads(list(heads))
    return any(
        head is not None and (now.get(path) or head).first != head.first for path, head in heads.items()
    )


def _miss_heads(paths: Sequence[Path], heads: _Heads, report: Report) -> None:
    for path in dict.fromkeys(paths):
        # What was rotated has none of its own.
        if path not in heads and not is_rotated(path):
            text = "is missing: lines may have been cut off at the end (copies may be without it: --copies)"
            report.findings.append(Finding(str(head_file(path)), 0, text))


def _verify(
    paths: Sequence[Path],
    heads: _Heads,
    report: Report,
    keys: Sequence[bytes],
    anchors: Sequence[Anchor],
    pause: Callable[[float], None],
) -> None:
    for path, head in heads.items():
        if head is None:
            report.findings.append(Finding(str(head_file(path)), 0, "cannot be read: lines may be missing"))
    known = [head for head in heads.values() if head is not None]
    newest = max(known, key=lambda head: head.number, default=None)
    with contextlib.ExitStack() as stack:
        files = open_files(paths, stack)
        _Verification(report, keys, newest, anchors, pause).run(files)


class _Enough(Exception):
    pass


class _Verification:
    def __init__(
        self,
        report: Report,
        keys: Sequence[bytes],
        head: Head | None,
        anchors: Sequence[Anchor],
        pause: Callable[[float], None],
    ) -> None:
        self._pause = pause
        self._report = report
        self._keys = {key_name(key): key for key in (b"", *keys)}
        self._key = b""
        self._unkeyed: list[str] = []
        self._head = head
        self._wanted = {anchor.number: anchor.digest for anchor in anchors}
        if head is not None and head.number:
            self._wanted.setdefault(head.number, head.digest)
        self._oldest = 0
        self._number = -1  # of the line before; -1: there is none yet
        self._seal = Seal(-1, None, b"")
        self._file = ""
        self._line = 0

    def run(self, files: Sequence[Source]) -> None:
        try:
            for source in files:
                self._report.files += 1
                self._file, self._line = str(source.path), 0
                with source.opened() as file:
                    self._read(file, source.audit)
            self._end()
        except _Enough:
            pass
        digest = self._seal.digest
        self._report.last = max(self._number if digest is None else self._seal.number, 0)
        self._report.digest = digest.hex() if digest is not None else ""

    def _find(self, text: str, line: int | None = None) -> None:
        self._report.findings.append(Finding(self._file, self._line if line is None else line, text))
        if len(self._report.findings) >= FINDINGS_LIMIT:
            raise _Enough

    def _read(self, file: BinaryIO, audit: Path | None) -> None:
        for line in self._lines(file, audit):
            self._line += 1
            if not line.endswith(b"\n"):
                self._half(line)
                break
            link = read_link(line[:-1])
            start = start_of(line) if link is not None and b'"event":"start"' in line else None
            if self._line == 1:
                self._begin(start, link)
            elif start is not None:
                self._find("a file begins here, in the middle of another")
            if start is not None:
                self._oldest = start.oldest
            self._follow(link)
        if self._line == 0 and not (audit is not None and self._head is not None and self._number > 0):
            # After what was rotated it is one that was not begun yet; what else is missing the head knows.
            self._find("is empty", 0)
        if self._is_unsealed():
            self._find(f"{_lines(self._seal.number + 1, self._number)} without a digest{self._cause()}")

    def _lines(self, file: BinaryIO, audit: Path | None) -> Iterator[bytes]:
        """The lines of a file; those that are being written are waited for."""
        pauses = PAUSES
        half = b""
        while True:
            for line in file:
                half += line
                if half.endswith(b"\n"):
                    yield half
                    half = b""
            if not (half or self._is_unsealed()) or not pauses or audit is None or not is_written(audit):
                break
            pauses -= 1
            self._pause(_PAUSE)
        if half:
            yield half

    def _is_unsealed(self) -> bool:
        """Whether no digest has followed the last line."""
        return self._seal.digest is not None and self._number > self._seal.number

    def _cause(self) -> str:
        """What may have come behind the end that the head knows of."""
        known = self._head is not None and self._seal.number >= self._head.number
        return ": put in by somebody, or torn by a crash" if known else ""

    def _half(self, line: bytes) -> None:
        text = f"half a line, of {len(line)} bytes"
        if self._head is not None and self._number >= self._head.number:
            # Nobody got an answer for it; or it is being written just now.
            self._report.notes.append(
                Finding(self._file, self._line, f"{text}: being written, or torn by a crash")
            )
        else:
            self._find(text)

    def _begin(self, start: Start | None, link: Link | None) -> None:
        if start is None or link is None:
            self._find("the file does not begin as an audit does: lines before this one are missing")
            if self._number == -1 and link is not None:
                self._report.first = link.number
                self._number = link.number - 1
                self._seal = Seal(self._number, None, self._key)
            return
        self._choose_key(start.key)
        previous, digest = bytes.fromhex(start.previous), self._seal.digest
        if self._number == -1:
            self._report.first = link.number
            self._number, digest = link.number - 1, previous
        elif previous != digest and digest is not None and link.number == self._number + 1:
            self._find("the file does not continue the one before it")
        self._seal = Seal(self._number, digest, self._key)

    def _choose_key(self, name: str) -> None:
        if name not in self._keys:
            self._find(f"was written with the key {name}, which was not given")
            raise _Enough
        self._key = self._keys[name]
        if len(self._keys) == 1:
            return
        if not name:
            self._unkeyed.append(self._file)
            return
        for file in self._unkeyed:
            self._report.notes.append(Finding(file, 0, "has no key; a later file vouches for where it ends"))
        self._unkeyed = []

    def _follow(self, link: Link | None) -> None:
        expected = self._number + 1
        if link is None:
            self._find("is no line of an audit")
            self._number = expected
            self._seal.lose()
            return
        if link.number != expected:
            self._seal.lose()
        if link.number > expected:
            self._find(f"{_lines(expected, link.number - 1)} missing before this one")
        elif link.number < expected:
            self._find(f"line {link.number} stands where line {expected} should: moved, or there twice")
        first = self._seal.number + 1
        if not self._seal.add(link):
            self._find(_changed(first, link.number))
        self._number = link.number
        wanted = self._wanted.get(link.number) if self._wanted else None
        if wanted is not None:
            if link.digest is None or wanted != link.digest.hex():
                self._find(f"line {link.number} has another digest than its head or anchor")
            del self._wanted[link.number]

    def _end(self) -> None:
        for file in self._unkeyed:
            self._report.findings.append(Finding(file, 0, "was written without a key, and one was given"))
        for number in sorted(self._wanted):
            if number > self._number:
                self._find(f"{_lines(self._number + 1, number)} missing at the end", 0)
                break
            self._find(f"line {number}, which an anchor names, is missing", 0)
        if self._head is None:
            if not self._report.findings:
                text = "there is no head: lines cut off at the end would not be missed"
                self._report.notes.append(Finding(self._file, 0, text))
        elif self._oldest and self._report.first > self._oldest:
            self._find(f"{_lines(self._oldest, self._report.first - 1)} in none of the files", 0)


def _lines(first: int, last: int) -> str:
    return f"line {first} is" if first == last else f"lines {first} to {last} are"


def _changed(first: int, last: int) -> str:
    return f"line {last} was changed" if first == last else f"one of the lines {first} to {last} was changed"
