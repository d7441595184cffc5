"""What files of endpoints have in common: whom they belong to, and how a failure is told."""

from __future__ import annotations

import grp
import pwd
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from bridle.core.errors import EndpointError

__all__ = ["ALLOW_WORLD_WRITABLE", "Rights", "check_directory", "check_mode", "explained"]

ALLOW_WORLD_WRITABLE = "allow-world-writable"
"""The option that allows everybody on the machine to give commands."""


_UNCHANGED = -1
_HIGHEST_ID = 0xFFFFFFFE


class Rights(NamedTuple):
    """Mode, owner and group of a file; -1 leaves an owner as it is."""

    mode: int
    user: int
    group: int

    @classmethod
    def of(cls, mode: int, owner: str | int | None, group: str | int | None) -> Rights:
        """The rights that names or numbers stand for.

        Raises:
            EndpointError: there is no such user or group.
        """
        return cls(mode, _user_id(owner), _group_id(group))

    @property
    def owners(self) -> str:
        """Who is to get the file, in words; empty: it stays as it is."""
        wanted = (("user", self.user), ("group", self.group))
        return " and ".join(f"{what} {number}" for what, number in wanted if number != _UNCHANGED)


def check_mode(what: str, mode: int) -> None:
    """Refuse a mode by which everybody on the machine could give commands.

    Raises:
        EndpointError: others may write.
    """
    if mode & stat.S_IWOTH:
        raise EndpointError(
            f"cannot create {what}: everybody on this machine could give commands (mode 0{mode:o}); give it "
            f"to a group (mode 0660), or allow it with {ALLOW_WORLD_WRITABLE}"
        )


def check_directory(what: str, directory: Path, mode: int) -> None:
    """Refuse a directory in which everybody could put another file in the place of ours. What is no directory
    is for others to say.

    Raises:
        EndpointError: others may write, and may remove what is not theirs.
    """
    if stat.S_ISDIR(mode) and mode & stat.S_IWOTH and not mode & stat.S_ISVTX:
        raise EndpointError(
            f"cannot create {what}: everybody could replace it, because directory '{directory}' "
            f"is writable by others (mode 0{stat.S_IMODE(mode):o}); take that right away (chmod o-w), set "
            f"the sticky bit (chmod +t), or allow it with {ALLOW_WORLD_WRITABLE}"
        )


def _user_id(owner: str | int | None) -> int:
    return _id("user", owner, lambda name: pwd.getpwnam(name).pw_uid)


def _group_id(group: str | int | None) -> int:
    return _id("group", group, lambda name: grp.getgrnam(name).gr_gid)


def _id(what: str, name: str | int | None, look_up: Callable[[str], int]) -> int:
    if name is None:
        return _UNCHANGED
    if isinstance(name, str):
        try:
            return look_up(name)
        except (KeyError, ValueError):
            if not (name.isascii() and name.isdecimal() and len(name) <= len(str(_HIGHEST_ID))):
                raise EndpointError(f"unknown {what} {name!r}") from None
    number = int(name)
    if not 0 <= number <= _HIGHEST_ID:
        raise EndpointError(f"there can be no {what} {number}")
    return number


@contextmanager
def explained(what: str) -> Iterator[None]:
    """Tell an ``OSError`` as what could not be done, and why."""
    try:
        yield
    except OSError as error:
        raise EndpointError(f"{what}: {error.strerror or error}") from error
