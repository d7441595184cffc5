"""Files that are never half there."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

__all__ = ["replace_file"]


def replace_file(target: Path, data: bytes) -> None:
    """Write a file beside the one that is there, sync it, and put it in its place: nobody ever reads half.

    A new file may be read by its group; an old one's mode is kept.

    Raises:
        OSError: it cannot be written; the old one is as it was.
    """
    if target.is_dir():
        raise IsADirectoryError(21, "Is a directory")
    mode = target.stat().st_mode & 0o777 if target.exists() else 0o640
    descriptor, temporary = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fchmod(file.fileno(), mode)
            os.fsync(file.fileno())
        Path(temporary).replace(target)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
    folder = os.open(target.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
