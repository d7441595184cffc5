"""Files that hold secrets: keys and passwords that others could read or replace are not used."""

from __future__ import annotations

import os
import stat

from bridle.core.errors import ConfigurationError
from bridle.core.messages import Path

__all__ = ["ALLOWED", "check_secret_file"]

ALLOWED = "allow-readable-secrets"
"""The setting that allows them all the same."""

# Whoever is in the group may read, as where root shares a key with a service's group; nobody else may
# anything, and the group may not write: that is OpenSSH's rule, with room for groups.
_FORBIDDEN = stat.S_IRWXO | stat.S_IWGRP


def check_secret_file(file: str, what: str, path: Path = (), *, allowed: bool = False) -> None:
    """Refuse a file of secrets that the wrong people can get at; one that is not there is not judged.

    Raises:
        ConfigurationError: it is writable by its group, or anything by others, and that is not ``allowed``.
    """
    try:
        mode = stat.S_IMODE(os.stat(file).st_mode)  # noqa: PTH116 - as all of it is by name
    except OSError:
        return
    if mode & _FORBIDDEN and not allowed:
        does = "read" if mode & (stat.S_IROTH | stat.S_IXOTH) else "change"
        raise ConfigurationError(
            f"{what} '{file}' is not used: others can {does} it (mode 0{mode:o}); take that right away "
            f"(chmod 0640), or allow it with {ALLOWED}",
            path=path,
        )
