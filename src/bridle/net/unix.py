"""The files of unix sockets: who may have a path, how a socket gets there, and what is left in the end.

A socket is made under a temporary name beside its own (``.NAME``), where only its user may connect. It gets
its owner, group and mode, listens, and is renamed into place. So the path never has the wrong rights, never
vanishes while one socket replaces another, and still leads to the old socket when the new one fails. What
stands at the path is replaced if it is a socket that nobody listens on, and never otherwise.

A lock file (``NAME.lock``, as Kea's: ``facts/kea.md`` §1.6) keeps two daemons from the same path; the kernel
drops the lock with its holder, so what ``kill -9`` leaves behind is in nobody's way.

Nothing here waits, accepts, reads or writes.
"""

from __future__ import annotations

import errno
import fcntl
import os
import socket
import stat
from contextlib import ExitStack
from pathlib import Path
from typing import TypeAlias

from bridle.core.errors import EndpointError
from bridle.net.rights import Rights, check_directory, check_mode, explained

__all__ = ["BACKLOG", "PATH_BYTES", "SocketFile"]

BACKLOG = 1024
"""Connections that may wait to be accepted: a burst of every tool of a site. The kernel cuts it to
``net.core.somaxconn``."""

PATH_BYTES = 106
"""The longest path, in bytes. An address holds 107 and a NUL, and the temporary name is one byte longer."""

# Each attempt that fails had another holder who came and went in between; a hundred in a row is no accident.
_LOCK_ATTEMPTS = 100

_PRIVATE = 0o600
_LOCK_FLAGS = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
_KINDS = {
    stat.S_IFREG: "a file",
    stat.S_IFDIR: "a directory",
    stat.S_IFLNK: "a symbolic link",
    stat.S_IFIFO: "a fifo",
}

_Identity: TypeAlias = tuple[int, int]


class SocketFile:
    """A socket that is bound to a path, and the files that belong to it.

    ``socket`` is non-blocking, and listens if it is a stream. ``path`` is where clients reach it
    (``socket.getsockname()`` says the temporary name). Close a server that listens on it first.
    """

    def __init__(self, sock: socket.socket, path: str, identity: _Identity, lock: _Lock) -> None:
        """Use :meth:`open`."""
        self.socket = sock
        self.path = path
        self._file = Path(path).absolute()
        self._identity = identity
        # Who holds the lock owns the path.
        self._lock: _Lock | None = lock

    @classmethod
    def open(
        cls,
        path: str | os.PathLike[str],
        *,
        mode: int = 0o660,
        owner: str | int | None = None,
        group: str | int | None = None,
        kind: int = socket.SOCK_STREAM,
        backlog: int = BACKLOG,
        replaces: SocketFile | None = None,
        open_to_all: bool = False,
    ) -> SocketFile:
        """Bind a socket to a path.

        ``mode`` is what the file gets, whatever the umask is; ``owner`` and ``group`` are names or numbers,
        None leaves what the system gives. ``kind`` is ``SOCK_STREAM``, ``SOCK_SEQPACKET`` or ``SOCK_DGRAM``.

        ``replaces`` is a SocketFile of this process that may have the same path: it hands over its lock and
        its path, once nothing can fail any more. Clients that had connected to it stay connected; close it
        when they need it no longer, that leaves the new files alone.

        A mode that lets others write, and a directory in which others can replace the socket, are refused
        unless it is to be ``open_to_all``.

        Raises:
            EndpointError: it cannot be done. Then nothing is left behind and nothing has changed.
        """
        rights = Rights.of(mode, owner, group)
        path = _checked(os.fspath(path), mode)
        file = Path(path)
        lockfile = file.with_name(f"{file.name}.lock")
        around = _mode_of(file.parent, lockfile)
        if not open_to_all:
            check_mode(f"socket '{path}'", mode)
            check_directory(f"socket '{path}'", file.parent, around)
        own = replaces._identity if replaces is not None and replaces._lock is not None else None
        with explained(f"cannot create socket '{path}'"), ExitStack() as undo:
            lock = replaces._lock if replaces is not None else None
            if lock is None or not lock.guards(lockfile):
                replaces = None
                lock = _Lock.take(lockfile)
                undo.callback(lock.release)
            sock = socket.socket(socket.AF_UNIX, kind | socket.SOCK_NONBLOCK)
            undo.callback(sock.close)
            temporary = _bind_beside(sock, file)
            undo.callback(_remove, temporary)
            identity = _give(rights, temporary, path)
            if kind != socket.SOCK_DGRAM:
                sock.listen(backlog)
            _check_replaceable(file, kind, own)
            temporary.rename(file)
            undo.pop_all()
        if replaces is not None:
            replaces._lock = None
        return cls(sock, path, identity, lock)

    def withdraw(self) -> None:
        """Remove the socket's name, if it is still its own: nobody connects any more, while those who have
        can still be accepted.

        Raises:
            EndpointError: it could not be removed.
        """
        if self._lock is not None:
            with explained(f"cannot remove socket '{self.path}'"):
                _remove(self._file, self._identity)

    def close(self) -> None:
        """Close the socket and remove its files, if they are still its own. Twice is once.

        Raises:
            EndpointError: a file could not be removed; everything else is done nevertheless.
        """
        lock, self._lock = self._lock, None
        with explained(f"cannot remove socket '{self.path}'"), ExitStack() as ends:
            if lock is not None:
                ends.callback(lock.release)
            ends.callback(self.socket.close)
            if lock is not None:
                _remove(self._file, self._identity)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.path!r}>"


class _Lock:
    """A lock file that is held. Releasing it removes it, so a name stands for one file at a time."""

    def __init__(self, file: Path, descriptor: int) -> None:
        self._file = file.absolute()
        self._descriptor = descriptor

    @classmethod
    def take(cls, file: Path) -> _Lock:
        for _ in range(_LOCK_ATTEMPTS):
            with ExitStack() as undo:
                with explained(f"cannot create socket lockfile, {file}, "):
                    descriptor = os.open(file, _LOCK_FLAGS, _PRIVATE)
                undo.callback(os.close, descriptor)
                status = os.fstat(descriptor)
                if not stat.S_ISREG(status.st_mode):
                    raise EndpointError(f"cannot create socket lockfile, {file}, : there is {_what(status)}")
                with explained(f"cannot lock socket lockfile, {file}, "):
                    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                lock = cls(file, descriptor)
                # Its last holder may have removed it after we had opened it: then it guards nothing.
                if lock.guards(file):
                    undo.pop_all()
                    return lock
        raise EndpointError(f"cannot lock socket lockfile, {file}, : it keeps being removed")

    def guards(self, file: Path) -> bool:
        """Whether ``file``, however it is spelled, is the one that is locked."""
        return _identity_at(file) == _identity_of(os.fstat(self._descriptor))

    def release(self) -> None:
        try:
            _remove(self._file, _identity_of(os.fstat(self._descriptor)))
        finally:
            os.close(self._descriptor)


def _checked(path: str, mode: int) -> str:
    if not 0 <= mode <= 0o777:
        raise EndpointError(f"the mode of socket '{path}' must be within 0777, not 0{mode:o}")
    if "\0" in path or path.rpartition("/")[2] in ("", ".", ".."):
        raise EndpointError(f"socket path {path!r} names no file")
    try:
        length = len(os.fsencode(path))
    except UnicodeEncodeError as error:
        raise EndpointError(f"socket path {path!r} names no file: {error.reason}") from error
    if length > PATH_BYTES:
        reason = os.strerror(errno.ENAMETOOLONG)
        raise EndpointError(
            f"cannot create socket '{path}': {reason} ({length} bytes; at most {PATH_BYTES} fit)"
        )
    return path


def _mode_of(directory: Path, lockfile: Path) -> int:
    with explained(f"cannot create socket lockfile, {lockfile}, "):
        return directory.stat().st_mode


def _bind_beside(sock: socket.socket, file: Path) -> Path:
    """Bind to the temporary name, without rights for anybody but this user."""
    temporary = file.with_name(f".{file.name}")
    # We hold the lock: whoever made it did not live to rename it.
    _check_replaceable(temporary, sock.type, None)
    _remove(temporary)
    # bind() takes the mode from here, and the umask only narrows it.
    os.fchmod(sock.fileno(), _PRIVATE)
    sock.bind(str(temporary))
    return temporary


def _give(rights: Rights, temporary: Path, path: str) -> _Identity:
    """Give the socket its rights before it gets its name. Returns what it is known by from then on."""
    # By descriptor: whoever else may write to the directory cannot make us change another file.
    descriptor = os.open(temporary, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISSOCK(status.st_mode):
            raise EndpointError(f"cannot create socket '{path}': somebody put {_what(status)} in its way")
        itself = Path(f"/proc/self/fd/{descriptor}")
        if rights.owners:
            with explained(f"cannot give socket '{path}' to {rights.owners}"):
                os.chown(itself, rights.user, rights.group)
        with explained(f"cannot set the mode of socket '{path}' to 0{rights.mode:o}"):
            itself.chmod(rights.mode)
        return _identity_of(status)
    finally:
        os.close(descriptor)


def _check_replaceable(file: Path, kind: int, own: _Identity | None) -> None:
    """Refuse to replace anything but a socket that nobody listens on, or the one that is ours (``own``)."""
    try:
        status = file.lstat()
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(status.st_mode):
        raise EndpointError(
            f"cannot create socket '{file}': there is {_what(status)}, which is not replaced; "
            "move it away, or choose another path"
        )
    if _identity_of(status) != own and _is_alive(file, kind):
        raise EndpointError(f"cannot create socket '{file}': another program listens on it")


def _is_alive(file: Path, kind: int) -> bool:
    with socket.socket(socket.AF_UNIX, kind | socket.SOCK_NONBLOCK) as probe:
        failure = probe.connect_ex(str(file))
    if failure in (errno.ECONNREFUSED, errno.ENOENT):
        return False
    # A full backlog, or a socket of another kind.
    if failure in (0, errno.EAGAIN, errno.EPROTOTYPE):
        return True
    raise EndpointError(
        f"cannot create socket '{file}': whether the one there is still in use cannot be told: "
        f"{os.strerror(failure)}"
    )


def _what(status: os.stat_result) -> str:
    return _KINDS.get(stat.S_IFMT(status.st_mode), "a device")


def _identity_of(status: os.stat_result) -> _Identity:
    return status.st_dev, status.st_ino


def _identity_at(file: Path) -> _Identity | None:
    try:
        return _identity_of(file.lstat())
    except FileNotFoundError:
        return None


def _remove(file: Path, identity: _Identity | None = None) -> None:
    """Remove a file if it is there, and if it is the one that is meant (None: whichever)."""
    found = _identity_at(file)
    if found is not None and identity in (None, found):
        file.unlink()
