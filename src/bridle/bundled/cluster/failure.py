"""Refusals with Pacemaker's return codes, which its dialect writes, while other dialects write the result."""

from __future__ import annotations

import os

from msgspec import UNSET, UnsetType

from bridle.core.errors import CommandError
from bridle.core.messages import JSON, Response
from bridle.core.results import from_errno

__all__ = [
    "DIFF_FAILED",
    "DIFF_RESYNC",
    "MULTIPLE",
    "OLD_DATA",
    "SCHEMA_UNCHANGED",
    "SCHEMA_VALIDATION",
    "failure",
]

# Pacemaker's own codes, beside those of the system.
SCHEMA_VALIDATION = 203
OLD_DATA = 205
DIFF_FAILED = 206
DIFF_RESYNC = 207
SCHEMA_UNCHANGED = 211
MULTIPLE = 213

_OWN = {
    SCHEMA_VALIDATION: "Update does not conform to the configured schema",
    OLD_DATA: "Update was older than existing configuration",
    DIFF_FAILED: "Application of update diff failed",
    DIFF_RESYNC: "Application of update diff failed, requesting full refresh",
    SCHEMA_UNCHANGED: "Schema is already the latest available",
    MULTIPLE: "Resource has more than one match",
}


def failure(code: int, text: str = "", *, arguments: JSON | UnsetType = UNSET) -> CommandError:
    """A refusal with this return code: a positive errno, or one of Pacemaker's own.

    ``text`` is by default what Pacemaker's tools say of the code.
    """
    text = text or _OWN.get(code) or os.strerror(code)
    result = int(from_errno(code))
    return CommandError(
        text, result, response=Response(result, text, arguments=arguments, error=OSError(code, text))
    )
