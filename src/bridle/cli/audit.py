"""``bridle audit``: is an audit trail as it was written, and who did what."""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import click
import msgspec

from bridle.access.audit_file import read_key
from bridle.access.audit_follow import follow
from bridle.access.audit_lines import Entry
from bridle.access.audit_search import Wanted, read_time, search
from bridle.access.audit_verify import Anchor, Report, verify
from bridle.cli.failure import Failure, failure_of
from bridle.cli.rendering import plain
from bridle.core.errors import ConfigurationError
from bridle.core.results import ExitStatus

__all__ = ["command"]

# Columns from which on a line is a row; with fewer it is two lines.
_WIDE = 100
_WHO = 20
_COMMAND = 28
_DIGEST = 64
# Seconds until a followed audit is looked at again: people do not notice, and a look costs some microseconds.
_PAUSE = 0.25

_FILES = click.argument("files", metavar="FILE...", nargs=-1, required=True, type=click.Path(path_type=Path))


@click.group("audit")
def command() -> None:
    """Verify an audit trail, or look for lines in it."""


@command.command("verify")
@_FILES
@click.option(
    "--key-file",
    "key_files",
    metavar="FILE",
    multiple=True,
    help="A key that it was written with; repeatable.",
)
@click.option(
    "--anchor", "anchors", metavar="NUMBER:DIGEST", multiple=True, help="A head that was kept; repeatable."
)
@click.option("--copies", is_flag=True, help="The files are copies, and may be without their heads.")
def verify_command(
    files: tuple[Path, ...], key_files: tuple[str, ...], anchors: tuple[str, ...], copies: bool
) -> int:
    """Find any line that was changed, removed or moved.

    A FILE is verified with all that it was rotated to, and with its head, also while it is being written;
    copies (--copies) are verified as far as they go, in whatever order they are given.

    What is printed last is the head: kept on another machine and given as --anchor, it shows later whether
    the audit was cut or written anew. The exit status is 0 if all is well, 1 if not.
    """
    try:
        keys = [read_key(name) for name in key_files]
        kept = [_anchor(one) for one in anchors]
        report = verify(files, keys=keys, anchors=kept, copies=copies)
    except ConfigurationError as error:
        raise failure_of(error) from error
    except OSError as error:
        raise Failure(f"{error.filename}: {error.strerror}", ExitStatus.UNAVAILABLE) from error
    return _tell(report)


def _anchor(written: str) -> Anchor:
    number, _, digest = written.partition(":")
    hexadecimal = len(digest) == _DIGEST and all(c in "0123456789abcdef" for c in digest)
    if not (number.isascii() and number.isdecimal() and len(number) < 19 and int(number) and hexadecimal):
        raise click.UsageError(f"an anchor is NUMBER:DIGEST, not '{written}'")
    return Anchor(int(number), digest)


def _tell(report: Report) -> int:
    for finding in report.findings:
        print(plain(str(finding)))
    for note in report.notes:
        print(plain(f"note: {note}"), file=sys.stderr)
    files = _counted(report.files, "file")
    if report.findings:
        print(f"NOT as it was written: {_counted(len(report.findings), 'finding')} in {files}")
        return ExitStatus.ERROR
    print(f"as it was written: lines {report.first} to {report.last} in {files}")
    print(f"head {report.last}:{report.digest}")
    return 0


def _counted(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


@command.command("show")
@_FILES
@click.option("--user", default="", metavar="NAME", help="Of this user.")
@click.option("--role", default="", metavar="NAME", help="In this role.")
@click.option("--command", "name", default="", metavar="NAME", help="Of this command, such as config-*.")
@click.option("--service", default="", metavar="NAME", help="For this service.")
@click.option("--access", type=click.Choice(["read", "write"]), help="Only those that look, or that change.")
@click.option("--result", default="", metavar="CODE", help="With this result; failed: with any but 0.")
@click.option("--since", metavar="TIME", help="Not before: 2026-11-25T18:00, or 15m for so long ago.")
@click.option("--until", metavar="TIME", help="Before.")
@click.option("--json", "as_json", is_flag=True, help="Print the lines as they stand.")
@click.option("-f", "--follow", "follows", is_flag=True, help="Go on with the lines that are written.")
def show_command(
    files: tuple[Path, ...],
    user: str,
    role: str,
    name: str,
    service: str,
    access: str | None,
    result: str,
    since: str | None,
    until: str | None,
    as_json: bool,
    follows: bool,
) -> int:
    """Look for lines, in FILE and all that it was rotated to.

    NAME may be a pattern, such as lease4-*. What is printed says nothing about whether the lines are as they
    were written: that is for "bridle audit verify". Lines that no digest follows are left out: they are being
    written, were torn by a crash, or put in by somebody.

    With --follow, new lines are printed as they are written, also when FILE is rotated, until SIGINT: the
    exit status is 130 then. Only new ones: --follow --since 0s.
    """
    if follows and until:
        raise click.UsageError("--follow has no end, which --until names")
    if result and result != "failed" and not result.isdecimal():
        raise click.UsageError(f"a result is a number, or failed: not '{result}'")
    now = datetime.now(UTC)
    wanted = Wanted(
        user=user,
        role=role,
        command=name,
        service=service,
        access=access or "",
        result=result,
        since=_time(since, now),
        until=_time(until, now),
    )
    try:
        return _follow(files, wanted, as_json) if follows else _show(files, wanted, as_json)
    except OSError as error:
        if isinstance(error, BrokenPipeError):
            raise
        raise Failure(f"{error.filename}: {error.strerror}", ExitStatus.UNAVAILABLE) from error


def _show(files: tuple[Path, ...], wanted: Wanted, as_json: bool) -> int:
    unreadable = 0
    tell = _teller(as_json)
    for line, entry in search(files, wanted, _tell_left_out):
        if entry is None:
            unreadable += 1
        else:
            tell(line, entry)
    if unreadable:
        raise Failure(f'{unreadable} lines cannot be read: see "bridle audit verify"', ExitStatus.PROTOCOL)
    return 0


def _tell_left_out(file: Path, count: int) -> None:
    lines = "1 line that no digest follows is" if count == 1 else f"{count} lines that no digest follows are"
    text = f'bridle: {file}: {lines} left out: see "bridle audit verify"'
    print(plain(text), file=sys.stderr)


def _follow(files: tuple[Path, ...], wanted: Wanted, as_json: bool) -> int:
    tell = _teller(as_json)
    for line, entry in follow(files, wanted, _pause):
        if entry is None:
            click.echo('bridle: a line cannot be read: see "bridle audit verify"', err=True)
        else:
            tell(line, entry)
    return 0


def _pause() -> None:
    sys.stdout.flush()
    time.sleep(_PAUSE)


def _teller(as_json: bool) -> Callable[[bytes, Entry], None]:
    """What prints a line."""
    if as_json:
        return lambda line, entry: print(line.decode("utf-8", "backslashreplace"), end="")
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else 0
    return lambda line, entry: print(render(entry, width))


def _time(written: str | None, now: datetime) -> str:
    if written is None:
        return ""
    try:
        return read_time(written, now)
    except ValueError as error:
        raise click.UsageError(str(error)) from error


def render(entry: Entry, width: int) -> str:
    """A line for people: a row where there is room, two lines where there is not; ``width`` 0 is no bound."""
    when = entry.time.replace("T", " ")
    what = entry.command if entry.event in ("command", "intent") else f"({entry.event})"
    what += f" @{entry.service}" if entry.service else ""
    details = " ".join(part for part in (_outcome(entry), _arguments(entry)) if part)
    if 0 < width < _WIDE:
        rows = [f"{when[:19]} {_who(entry)}", f"  {what} {details}"]
    else:
        rows = [f"{when[:23]} {_who(entry):<{_WHO}} {what:<{_COMMAND}} {details}"]
    return "\n".join(_cut(plain(row.replace("\n", " ")).rstrip(), width) for row in rows)


def _cut(row: str, width: int) -> str:
    return row if not width or len(row) <= width else f"{row[: width - 1]}…"


def _who(entry: Entry) -> str:
    name = entry.user or entry.tls_subject
    if name is None:
        name = f"uid {entry.uid}" if entry.uid is not None else entry.address or entry.transport or "-"
    return f"{name} ({entry.role})" if entry.role else name


def _outcome(entry: Entry) -> str:
    if entry.event == "intent":
        return "is about to be done"
    if entry.result is None:
        return ""
    took = f" in {entry.duration / 1000:g} ms" if entry.duration is not None else ""
    reason = f" ({entry.reason})" if entry.reason else ""
    return f"{entry.result}{took}{reason}"


def _arguments(entry: Entry) -> str:
    if entry.omitted:
        return f"[{entry.omitted} bytes]"
    return "" if entry.arguments is None else msgspec.json.encode(entry.arguments).decode()
