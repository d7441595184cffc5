"""Files that the wrong people can get at are refused rather than used: whoever could write what decides who
may do what would be whoever they like.

Who the wrong people are depends on where a file comes from.

* What Bridle keeps itself (tokens, the audit and its key; :func:`check_private`) belongs to root or to who
  runs this; nobody else may write it, nor read it where it is secret. Nothing allows more: it is written with
  these rights, and nobody else has business with it.
* What it is given (keys of certificates, passwords; :func:`check_secret_file`) may belong to anybody, as
  containers and service managers differ there, and be read by a group, as where root shares a key with that
  of a service. ``allow-readable-secrets`` allows more: secrets are mounted into containers with mode 0644.

Whoever may write a folder may put another file in a file's place. So no secret is taken of a folder that
everybody may write, but for one like ``/tmp`` (sticky), where the file's name is root's or that of who runs
this. That a group may write a folder is left to whoever gave it that right: it is how daemons that share a
folder are run, and no stranger's.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

from bridle.core.errors import ConfigurationError
from bridle.core.messages import Path as Place

__all__ = [
    "ALLOWED",
    "check_folder",
    "check_private",
    "check_secret_file",
    "locked_folder",
    "read_private",
    "replace_private",
    "sync_folder",
]

ALLOWED = "allow-readable-secrets"
"""The setting that allows secrets of a configuration to be read and changed by others."""

_OTHERS_WRITE = stat.S_IWGRP | stat.S_IWOTH
_OTHERS_READ = stat.S_IRGRP | stat.S_IROTH
# OpenSSH's rule, with room for groups.
_NOT_SHARED = stat.S_IRWXO | stat.S_IWGRP


def check_private(status: os.stat_result, name: str | Path, *, secret: bool) -> None:
    """Refuse a file that somebody else can change, and a ``secret`` one that everybody can read.

    Raises:
        ConfigurationError: with what to do about it.
    """
    if not stat.S_ISREG(status.st_mode):
        raise ConfigurationError(f"'{name}' is not a regular file")
    if status.st_uid not in (0, os.geteuid()):
        raise ConfigurationError(
            f"'{name}' belongs to user {status.st_uid}, who could change it: it has to belong to root or to "
            f"user {os.geteuid()}"
        )
    if status.st_mode & _OTHERS_WRITE:
        raise ConfigurationError(f"'{name}' can be written by others: chmod go-w '{name}'")
    if secret and status.st_mode & _OTHERS_READ:
        raise ConfigurationError(f"'{name}' holds secrets and can be read by others: chmod go= '{name}'")


def check_secret_file(file: str, what: str, path: Place = (), *, allowed: bool = False) -> None:
    """Refuse a secret that a configuration names at ``path``, where the wrong people can get at it; one that
    is not there is not judged.

    Raises:
        ConfigurationError: it is writable by its group, or anything by others, or stands in a folder where
            everybody may replace it, and that is not ``allowed``.
    """
    if allowed:
        return
    try:
        mode = stat.S_IMODE(os.stat(file).st_mode)  # noqa: PTH116 - as all of it is by name
    except OSError:
        return
    if mode & _NOT_SHARED:
        does = "read" if mode & (stat.S_IROTH | stat.S_IXOTH) else "change"
        raise ConfigurationError(
            f"{what} '{file}' is not used: others can {does} it (mode 0{mode:o}); take that right away "
            f"(chmod 0640), or allow it with {ALLOWED}",
            path=path,
        )
    folder = _open_folder(file)
    if folder is not None:
        raise ConfigurationError(
            f"{what} '{file}' is not used: everybody can replace it in '{folder}'; take that right away "
            f"(chmod o-w '{folder}'), or allow it with {ALLOWED}",
            path=path,
        )


def _open_folder(file: str | Path) -> Path | None:
    """The folder where everybody may put another file in the place of this one; None: there is none."""
    # Where it is said to lie, and where it lies: a link can be replaced as well.
    for name in dict.fromkeys((Path(os.path.abspath(file)), Path(os.path.realpath(file)))):  # noqa: PTH100
        try:
            folder, entry = name.parent.stat(), name.lstat()
        except OSError:
            continue
        if not folder.st_mode & stat.S_IWOTH:
            continue
        if not folder.st_mode & stat.S_ISVTX or entry.st_uid not in (0, os.geteuid()):
            return name.parent
    return None


def check_folder(folder: Path) -> None:
    """Refuse a folder in which everybody may put another file in the place of ours.

    Raises:
        ConfigurationError: it is missing, or everybody may write and remove there.
    """
    try:
        mode = folder.stat().st_mode
    except OSError as error:
        raise ConfigurationError(f"cannot use '{folder}': {error.strerror}") from error
    if not stat.S_ISDIR(mode):
        raise ConfigurationError(f"'{folder}' is not a directory")
    if mode & stat.S_IWOTH and not mode & stat.S_ISVTX:
        raise ConfigurationError(f"'{folder}' can be written by everybody: chmod o-w '{folder}'")


def read_private(name: str | Path, limit: int) -> tuple[bytes, os.stat_result]:
    """Read a secret file of at most ``limit`` bytes.

    Raises:
        ConfigurationError: it cannot be read, is too large, or is not private; or everybody may replace it.
    """
    try:
        descriptor = os.open(name, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as error:
        raise ConfigurationError(f"can't open file '{name}': {error.strerror}") from error
    with os.fdopen(descriptor, "rb") as file:
        status = os.fstat(file.fileno())
        check_private(status, name, secret=True)
        folder = _open_folder(name)
        if folder is not None:
            raise ConfigurationError(
                f"'{name}' can be replaced by everybody in '{folder}': chmod o-w '{folder}'"
            )
        content = file.read(limit + 1)
    if len(content) > limit:
        raise ConfigurationError(f"'{name}' is larger than {limit} bytes")
    return content, status


def replace_private(name: str | Path, content: bytes) -> None:
    """Write a file beside, sync it and rename it, with mode 0600: no reader ever sees half of it.

    Raises:
        ConfigurationError: it cannot be written; the old one is as it was.
    """
    path = Path(name)
    temporary = ""
    try:
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}.", delete=False) as file:
            temporary = file.name
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).replace(path)
    except OSError as error:
        with contextlib.suppress(OSError):
            if temporary:
                os.unlink(temporary)  # noqa: PTH108
        raise ConfigurationError(f"cannot write '{name}': {error.strerror}") from error
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Make a rename in a folder outlive the machine."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def locked_folder(folder: str | Path) -> Iterator[None]:
    """Keep other processes that do the same from changing files of a folder at the same time.

    Raises:
        ConfigurationError: there is no such folder.
    """
    check_folder(Path(folder))
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
