"""Audits to look at: lines, files, and a program that writes one until it is killed."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import Any

from msgspec import UnsetType

from bridle import JSON, Command
from bridle.access.audit_file import AuditFile
from bridle.access.audit_lines import Series
from bridle.access.audit_verify import Report, verify

__all__ = ["body", "events", "is_open", "lines", "say", "texts", "unredacted", "written"]


def unredacted(command: Command) -> JSON | UnsetType:
    """Redact nothing."""
    return command.arguments


def body(number: int) -> bytes:
    """A line that can be told from others."""
    return b'{"time":"2026-11-25T10:00:00.000000Z","command":"say","mark":%d}' % number


def written(path: Path, count: int, *, together: int = 1, **settings: Any) -> AuditFile:
    """An audit with so many lines besides its own, so many ``together`` synced; it is closed."""
    file = AuditFile.open(path, **settings)
    for number in range(0, count, together):
        say(file, *range(number, number + together))
    file.close()
    return file


def say(file: AuditFile, *numbers: int) -> None:
    """Write lines that can be told from others, and sync them together."""
    series = Series(file.number)
    file.append([series.fact(body(number)) for number in numbers], file.number)


def is_open(path: Path) -> bool:
    """Whether this process has a file open."""
    for descriptor in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(OSError):  # closed since
            if descriptor.readlink() == path:
                return True
    return False


def lines(path: Path) -> list[dict[str, Any]]:
    """The lines of a file."""
    return [json.loads(line) for line in path.read_bytes().splitlines()]


def events(path: Path) -> list[str]:
    """What each line of a file tells of."""
    return [line.get("event", "command") for line in lines(path)]


def texts(path: Path, **settings: Any) -> list[str]:
    """What a verification finds, without the folder."""
    report: Report = verify([path], **settings)
    return [str(finding).replace(f"{path.parent}/", "") for finding in report.findings]
