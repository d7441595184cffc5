"""An exception of somebody's daemon, told in one line: which of its functions failed, why, and where."""

from __future__ import annotations

import traceback
from pathlib import Path
from types import TracebackType

import bridle

__all__ = ["mishap"]

_OWN = Path(bridle.__file__).parent
# Daemons that come with Bridle are daemons as others are.
_BUNDLED = _OWN / "bundled"
_PYTHON = Path(traceback.__file__).parent
_PACKAGES = {"site-packages", "dist-packages"}


def mishap(error: BaseException) -> str:
    """``start() failed: RuntimeError: no database (bad.py:5)``: the first function that is not Bridle's own,
    and the last place; without them where the exception came from nowhere else."""
    if isinstance(error, SyntaxError) and error.filename:
        place = f"{_shown(Path(error.filename))}:{error.lineno}"
        return f"{type(error).__name__}: {error.msg} ({place})"
    frames = _frames(error.__traceback__)
    *_, last = traceback.format_exception_only(error)
    told = last.strip()
    if not frames:
        return told
    name, where = frames[0][0], frames[-1][1]
    function = "" if name.startswith("<") else f"{name}() failed: "
    return f"{function}{told} ({where})"


def _frames(found: TracebackType | None) -> list[tuple[str, str]]:
    """The functions outside Bridle that an exception came through, the outermost first, with their places."""
    frames = []
    while found is not None:
        code = found.tb_frame.f_code
        file = Path(code.co_filename)
        if file.is_absolute() and not _is_between(file):
            frames.append((code.co_name, f"{_shown(file)}:{found.tb_lineno}"))
        found = found.tb_next
    return frames


def _is_between(file: Path) -> bool:
    """Whether a file is Bridle's or of Python itself."""
    if _OWN in file.parents:
        return _BUNDLED not in file.parents
    return _PYTHON in file.parents and not _PACKAGES & set(file.parts)


def _shown(file: Path) -> Path:
    return file.relative_to(Path.cwd()) if Path.cwd() in file.parents else file
