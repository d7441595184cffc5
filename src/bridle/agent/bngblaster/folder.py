"""The folder of an instance: its files, which are never reached by way of a link.

Files are opened below a descriptor of the folder, without following links, so that neither a name nor what
somebody has put into the folder leads out of it. What is written is written beside, synced and renamed.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
from collections.abc import Iterator
from pathlib import Path

__all__ = ["FILE_MODE", "FOLDER_MODE", "Folder"]

# Configurations hold passwords; others than the owner's group are none of theirs.
FOLDER_MODE = 0o750
FILE_MODE = 0o640

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
# Not blocking: what looks like a file may be a FIFO by the time that it is opened.
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_WRITE = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


class Folder:
    """A folder at a path."""

    def __init__(self, path: str) -> None:
        self.path: str = path

    @property
    def exists(self) -> bool:
        """Whether it is there; a link to a folder is none."""
        try:
            return stat.S_ISDIR(os.lstat(self.path).st_mode)
        except OSError:
            return False

    def at(self, name: str) -> str:
        """The path of a file in it."""
        return f"{self.path}/{name}"

    def create(self) -> None:
        """Make it, unless it is there.

        Raises:
            OSError: it cannot be made.
        """
        with contextlib.suppress(FileExistsError):
            Path(self.path).mkdir(FOLDER_MODE)

    def remove(self) -> None:
        """Remove it with all that is in it. It is out of sight at once.

        Raises:
            OSError: it cannot be removed.
        """
        path = Path(self.path)
        shutil.rmtree(path.rename(path.with_name(f".{path.name}.{os.urandom(4).hex()}")))

    @contextlib.contextmanager
    def _opened(self) -> Iterator[int]:
        descriptor = os.open(self.path, _DIRECTORY)
        try:
            yield descriptor
        finally:
            os.close(descriptor)

    def open(self, name: str) -> int:
        """A descriptor to read a file from.

        Raises:
            OSError: it cannot be opened, or is no plain file.
        """
        with self._opened() as folder:
            descriptor = os.open(name, _READ, dir_fd=folder)
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            os.close(descriptor)
            raise FileNotFoundError(f"{name} is no file")
        return descriptor

    def create_file(self, name: str) -> int:
        """A descriptor to write a file to, which is empty.

        Raises:
            OSError: it cannot be made.
        """
        with self._opened() as folder:
            descriptor = os.open(name, _WRITE, FILE_MODE, dir_fd=folder)
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            os.close(descriptor)
            raise FileExistsError(f"{name} is no file")
        return descriptor

    def read(self, name: str, limit: int, *, end: bool = False) -> bytes:
        """At most ``limit`` bytes of a file, its first or its last; nothing where there is none."""
        try:
            descriptor = self.open(name)
        except OSError:
            return b""
        with os.fdopen(descriptor, "rb") as file:
            if end:
                file.seek(max(os.fstat(descriptor).st_size - limit, 0))
            return file.read(limit)

    def write(self, name: str, content: bytes) -> None:
        """Put a file in place of the one that is there.

        Raises:
            OSError: it cannot be written; the one that is there stays.
        """
        beside = f".{name}.{os.urandom(4).hex()}"
        with self._opened() as folder:
            try:
                with os.fdopen(os.open(beside, _NEW, FILE_MODE, dir_fd=folder), "wb") as file:
                    file.write(content)
                    file.flush()
                    os.fsync(file.fileno())
                os.rename(beside, name, src_dir_fd=folder, dst_dir_fd=folder)
            except OSError:
                with contextlib.suppress(OSError):
                    os.unlink(beside, dir_fd=folder)
                raise
            os.fsync(folder)

    def unlink(self, *names: str) -> None:
        """Remove files that may be there.

        Raises:
            OSError: one cannot be removed.
        """
        with self._opened() as folder:
            for name in names:
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(name, dir_fd=folder)

    def has_socket(self, name: str) -> bool:
        """Whether there is a socket of this name."""
        try:
            with self._opened() as folder:
                return stat.S_ISSOCK(os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode)
        except OSError:
            return False
