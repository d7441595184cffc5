"""The ``audit`` map of a configuration."""

from __future__ import annotations

from typing import Literal

import msgspec

from bridle.core.errors import ConfigurationError
from bridle.core.grammar import EXTRA, NUMBER, Grammar, check_members
from bridle.core.messages import JSON, Path

__all__ = ["AuditSettings", "read_audit"]

# Bytes of a file before it is rotated: some quarter of a million lines.
MAX_SIZE = 64 * 1024 * 1024
# Rotated files that are kept: 2 GiB at most.
KEEP = 32

_GRAMMAR: Grammar = {
    "file": str,
    "key-file": str,
    "max-size": int,
    "max-age": NUMBER,
    "keep": int,
    "on-failure": str,
    "intents": bool,
    "reads": bool,
    **EXTRA,
}


class AuditSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Where the audit is written and how.

    ``max_size`` is in bytes, ``max_age`` in seconds (0: never rotated for that); ``keep`` is how many rotated
    files are kept (0: all). ``on_failure`` says what becomes of write commands while it cannot be written.
    ``intents``: a line before each write command, too. ``reads``: read commands have lines.
    """

    file: str
    key_file: str = ""
    max_size: int = MAX_SIZE
    max_age: float = 0.0
    keep: int = KEEP
    on_failure: Literal["refuse", "allow"] = "refuse"
    intents: bool = False
    reads: bool = True


def read_audit(value: JSON, path: Path) -> AuditSettings:
    """Read an ``audit`` map that stands at ``path`` of a configuration.

    Raises:
        ConfigurationError: with the path of what is wrong.
    """
    value = check_members(value, _GRAMMAR, "audit", path)
    for key in ("max-size", "max-age", "keep"):
        number = value.get(key, 0)
        if isinstance(number, int | float) and not 0 <= number < 2**53:
            raise ConfigurationError(
                f"out of range value ({number}) specified for parameter '{key}'", path=[*path, key]
            )
    if not value.get("file"):
        raise ConfigurationError("Mandatory 'file' parameter missing in audit", path=path)
    if value.get("on-failure", "refuse") not in ("refuse", "allow"):
        raise ConfigurationError(
            f"on-failure is 'refuse' or 'allow', not '{value['on-failure']}'", path=[*path, "on-failure"]
        )
    given = {key.replace("-", "_"): item for key, item in value.items() if key not in EXTRA}
    return msgspec.convert(given, AuditSettings)
