"""The one table of results: what a command's outcome is called on every wire, and back.

Codes 0 to 4 are those of Kea's management API and the core's own; 5 is Kea 3.2's, 403 that of its access
control (``facts/kea.md`` §3). The other columns are the codes of the real programs (``facts/kea.md`` §1.5,
``facts/kamailio.md`` §1.4, ``facts/bngblaster.md`` §1.4,
``facts/pacemaker.md`` §6). No second mapping exists anywhere.
"""

from __future__ import annotations

import enum
import errno
from typing import NamedTuple

__all__ = ["ExitStatus", "Result", "Row", "from_errno", "from_fault", "from_http", "from_status", "row"]


class Result(enum.IntEnum):
    """How a command ended."""

    SUCCESS = 0
    ERROR = 1
    UNSUPPORTED = 2
    EMPTY = 3
    CONFLICT = 4
    FATAL = 5
    FORBIDDEN = 403


class ExitStatus(enum.IntEnum):
    """What a command line exits with where no result was had (``sysexits.h``); else the result's own code."""

    ERROR = 1
    USAGE = 64
    UNAVAILABLE = 69
    TIMEOUT = 75
    PROTOCOL = 76
    FORBIDDEN = 77
    INTERRUPTED = 130


class Row(NamedTuple):
    """One result in every vocabulary.

    ``fault`` is Kamailio's fault code (None: a reply), ``status`` and ``code`` are BNG Blaster's, ``errno``
    is Pacemaker's positive return code, ``exit`` a process's exit status: the result itself, but that of
    ``sysexits.h`` for what is forbidden.
    """

    result: Result
    fault: int | None
    status: str
    code: int
    errno: int
    exit: int


TABLE: tuple[Row, ...] = (
    Row(Result.SUCCESS, None, "ok", 200, 0, 0),
    Row(Result.ERROR, 400, "error", 400, errno.EINVAL, 1),
    Row(Result.UNSUPPORTED, 500, "error", 400, errno.EOPNOTSUPP, 2),
    Row(Result.EMPTY, 404, "warning", 404, errno.ENXIO, 3),
    Row(Result.CONFLICT, 409, "error", 409, errno.EEXIST, 4),
    Row(Result.FATAL, 503, "error", 500, errno.ENOTRECOVERABLE, 5),
    Row(Result.FORBIDDEN, 403, "error", 403, errno.EACCES, ExitStatus.FORBIDDEN),
)

_ERROR = TABLE[Result.ERROR]
_BY_RESULT = {int(line.result): line for line in TABLE}
_BY_FAULT = {line.fault: line.result for line in TABLE if line.fault is not None}
_BY_ERRNO = {line.errno: line.result for line in TABLE} | {
    # Pacemaker has more than one number for these: the fencer and the executor say ENODEV.
    errno.ENODEV: Result.EMPTY,
    errno.ENOTUNIQ: Result.CONFLICT,
    errno.EPROTONOSUPPORT: Result.UNSUPPORTED,
}


def row(result: int) -> Row:
    """The line of a result code. A code that only its daemon knows is an error everywhere else."""
    return _BY_RESULT.get(result, _ERROR)


def from_fault(code: int, *, unknown_method: bool = False) -> Result:
    """The result of a Kamailio fault. 500 means many things there, "not found" methods among them, so the
    caller says whether this one was about an unknown method."""
    if code == TABLE[Result.UNSUPPORTED].fault:
        return Result.UNSUPPORTED if unknown_method else Result.ERROR
    return _BY_FAULT.get(code, Result.ERROR)


def from_status(status: str, code: int, *, unknown_command: bool = False) -> Result:
    """The result of a BNG Blaster status object."""
    if status == TABLE[Result.SUCCESS].status:
        return Result.SUCCESS
    if unknown_command:
        return Result.UNSUPPORTED
    return next((line.result for line in TABLE[3:] if line.code == code), Result.ERROR)


def from_errno(code: int) -> Result:
    """The result of a Pacemaker return code, given as a positive errno."""
    return _BY_ERRNO.get(code, Result.ERROR)


def from_http(status: int) -> Result:
    """The result of a request that HTTP refused with this status. What came of a command is told with 200, so
    that 404 is no empty answer; but who may not have it done is told with 403."""
    return Result.FORBIDDEN if status == Result.FORBIDDEN else Result.ERROR
