"""Where a daemon's configuration says who may do what: its ``access``, or Kea's hook library for that."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path as FilePath
from typing import TYPE_CHECKING

from bridle.daemon.document import Document

if TYPE_CHECKING:
    from bridle.access.guard_settings import GuardSettings

__all__ = ["ACCESS_KEY", "read_guard_settings"]

ACCESS_KEY = "access"
"""The member of a daemon's configuration that says who may do what."""


def read_guard_settings(
    document: Document, root: str, *, secrets: Collection[str] = ()
) -> GuardSettings | None:
    """What a document says of roles, limits and audit; None where it says nothing.

    ``secrets`` are the names of secrets that the daemon declares.

    Raises:
        ConfigurationError: it cannot be used; with the position.
    """
    value = document.value.get(root)
    if not isinstance(value, dict) or not (ACCESS_KEY in value or value.get("hooks-libraries")):
        return None
    # Loaded only here: most daemons are guarded by the rights of a file alone.
    from bridle.access.guard_settings import read_guard

    settings = read_guard(value, [root], document.locate, secrets=secrets)
    if settings is not None and settings.audit is not None:
        folder = FilePath(settings.audit.file).parent
        if not folder.is_dir():
            where = [root, ACCESS_KEY, "audit", "file"] if ACCESS_KEY in value else [root, "hooks-libraries"]
            raise document.error(f"audit: the folder '{folder}' of 'file' does not exist", where)
    return settings
