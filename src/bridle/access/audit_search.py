"""Looking for lines in an audit: by who, what, when and with which result."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from fnmatch import fnmatchcase
from pathlib import Path

import msgspec

from bridle.access.audit_files import Whole, lines_of, open_files
from bridle.access.audit_lines import Entry, read_link

__all__ = ["Wanted", "read_entry", "read_time", "search"]

_AGO = re.compile(r"([0-9]{1,9})([smhd])")
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """What lines are looked for; empty: all. ``command``, ``user``, ``role`` and ``service`` are patterns
    such as ``lease*``; ``since`` and ``until`` are times as :func:`read_time` gives them; ``result`` is a
    code, or ``failed`` for all but 0."""

    user: str = ""
    role: str = ""
    command: str = ""
    service: str = ""
    access: str = ""
    result: str = ""
    since: str = ""
    until: str = ""

    def fits(self, entry: Entry) -> bool:
        """Whether a line is one of these."""
        if (self.since and entry.time < self.since) or (self.until and entry.time >= self.until):
            return False
        if self.result and not self._has_result(entry):
            return False
        return (
            (not self.access or entry.access == self.access)
            and (not self.command or fnmatchcase(entry.command, self.command))
            and (not self.user or fnmatchcase(entry.user or "", self.user))
            and (not self.role or fnmatchcase(entry.role or "", self.role))
            and (not self.service or any(fnmatchcase(one, self.service) for one in entry.service.split(",")))
        )

    def _has_result(self, entry: Entry) -> bool:
        if entry.result is None:
            return False
        return entry.result != 0 if self.result == "failed" else str(entry.result) == self.result


def read_time(written: str, now: datetime) -> str:
    """A time as lines have it, of one as people write it: ISO 8601 (without a zone: local time), or how long
    ago, such as ``90s``, ``15m``, ``2h``, ``3d``.

    Raises:
        ValueError: it is neither.
    """
    ago = _AGO.fullmatch(written)
    try:
        if ago is not None:
            when = now - timedelta(**{_UNITS[ago[2]]: int(ago[1])})
        else:
            when = datetime.fromisoformat(written)
        return when.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    except (ValueError, OverflowError):
        raise ValueError(f"'{written}' is no time: 2026-11-25T18:00, or 15m for so long ago") from None


def search(
    paths: Sequence[Path], wanted: Wanted, left_out: Callable[[Path, int], None]
) -> Iterator[tuple[bytes, Entry | None]]:
    """The lines of audits that are wanted, as they stand and as they are read, the oldest first.

    Each audit is looked through with the files that it was rotated to. A line that cannot be read is given
    with None. Lines at the end of a file that no digest follows are left out, as nothing says that they were
    written by the audit: ``left_out`` is told of which file, and how many they are.

    Raises:
        OSError: a file cannot be read.
    """
    with contextlib.ExitStack() as stack:
        for source in open_files(paths, stack):
            whole = Whole()
            with source.opened() as file:
                for line in lines_of(file, whole):
                    entry = read_entry(line)
                    if entry is None or wanted.fits(entry):
                        yield line, entry
            if whole.left:
                left_out(source.path, whole.left)


_decode = msgspec.json.Decoder(Entry).decode


def read_entry(line: bytes) -> Entry | None:
    """What a line says; None of one that cannot be read, or that the chain would not know for a line."""
    if read_link(line.rstrip(b"\n")) is None:
        return None
    try:
        return _decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
