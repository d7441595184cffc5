"""The shell's history: a file that only its user can read, without lines that hold secrets."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Mapping
from pathlib import Path

import click
from prompt_toolkit.history import FileHistory, History, InMemoryHistory

__all__ = ["HISTORY_LIMIT", "history_file", "open_history"]

# Bytes of the file, beyond which the older half goes: years of commands, read in a few milliseconds.
HISTORY_LIMIT = 1024 * 1024

# A name that ends like this, and a value: password=x, "secret": "x", auth-token=x.
_SECRET = re.compile(r"(?:passw(?:or)?d|passphrase|secret|token)[\"']?\s*[=:]", re.IGNORECASE)
# How the lines of an entry, and the line before them, begin in the file.
_ENTRY = b"\n# "


class _PrivateHistory(FileHistory):
    """Keeps what holds no secret."""

    def store_string(self, string: str) -> None:
        if not _SECRET.search(string):
            # A full disk costs the history, not the command.
            with contextlib.suppress(OSError):
                super().store_string(string)


def history_file(environment: Mapping[str, str] = os.environ) -> Path:
    """``bridle/history`` in the user's folder for state (XDG: ``~/.local/state``).

    Raises:
        RuntimeError: the user has no home.
    """
    folder = Path(environment.get("XDG_STATE_HOME", ""))
    if not folder.is_absolute():
        folder = Path.home() / ".local" / "state"
    return folder / "bridle" / "history"


def open_history(file: Path | None = None) -> History:
    """The history in a file; one that ends with the session, after a word about it, where that cannot be."""
    try:
        file = file or history_file()
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        _make_private(file)
    except (OSError, RuntimeError) as error:
        click.echo(f"bridle: the history is not kept: {error}", err=True)
        return InMemoryHistory()
    return _PrivateHistory(str(file))


def _make_private(file: Path) -> None:
    descriptor = os.open(file, os.O_RDONLY | os.O_CREAT, 0o600)
    with os.fdopen(descriptor, "rb") as opened:
        os.fchmod(descriptor, 0o600)
        if os.fstat(descriptor).st_size > HISTORY_LIMIT:
            _forget_older_half(file, opened.read())


def _forget_older_half(file: Path, content: bytes) -> None:
    start = content.find(_ENTRY, len(content) // 2)
    kept = content[start:] if start >= 0 else b""
    beside = file.with_name(f"{file.name}.{os.getpid()}")
    descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as written:
        written.write(kept)
    beside.replace(file)
