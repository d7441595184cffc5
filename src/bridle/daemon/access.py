"""Where a daemon's configuration says who may do what: its ``access``, or Kea's hook library for that."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING

from bridle.daemon.document import Document

if TYPE_CHECKING:
    from bridle.access.policy import Policy

__all__ = ["ACCESS_KEY", "read_policy"]

ACCESS_KEY = "access"
"""The member of a daemon's configuration that holds its policy."""


def read_policy(
    document: Document, root: str, *, beside: Collection[str] = (), secrets: Collection[str] = ()
) -> Policy | None:
    """The policy that a document asks for; None where it asks for none.

    ``beside`` are members of ``access`` that somebody else reads; ``secrets`` are the names of secrets that
    the daemon declares.

    Raises:
        ConfigurationError: it cannot be used; with the position.
    """
    value = document.value.get(root)
    if not isinstance(value, dict) or not (ACCESS_KEY in value or value.get("hooks-libraries")):
        return None
    # Loaded only here: most daemons have no policy.
    from bridle.access.configuration import find_access, read_access

    found = find_access(value, [root], document.locate)
    if found is None:
        return None
    given, library = found
    return read_access(
        given.value, given.path, document.locate, library=library, beside=beside, secrets=secrets
    )
