"""What a map of a configuration may hold: the names of its members, and the types of their values."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeAlias

from bridle.core.errors import ConfigurationError
from bridle.core.messages import JSON, Path

__all__ = ["EXTRA", "NUMBER", "UNSUPPORTED", "Grammar", "check_members"]

Grammar: TypeAlias = Mapping[str, "type | tuple[type, ...]"]
"""Names, each with the type or the types that its value may have; ``object`` is any."""

EXTRA: Grammar = {"user-context": dict, "comment": str}
"""What most maps may hold besides, for those who read them."""

NUMBER = (int, float)
"""A number, whole or not. ``true`` is none."""

UNSUPPORTED = "unsupported parameter '{key}' in {scope}"
"""How a member is refused that the grammar does not know, unless it is said otherwise."""


def check_members(
    item: JSON, grammar: Grammar, scope: str, path: Path, unknown: str = UNSUPPORTED
) -> dict[str, JSON]:
    """The map that stands at ``path``, once it is known to hold what it may; ``scope`` is what it is called.

    Raises:
        ConfigurationError: it is no map, a member is not known (``unknown`` with its ``key`` and the
            ``scope``), or its value is of another type; with the path.
    """
    if not isinstance(item, dict):
        raise ConfigurationError(f"{scope} is expected to be a map", path=path)
    for key in item:
        if key not in grammar:
            raise ConfigurationError(unknown.format(key=key, scope=scope), path=[*path, key])
    for key, value in item.items():
        if not _fits(value, grammar[key]):
            raise ConfigurationError(f"invalid type specified for parameter '{key}'", path=[*path, key])
    return item


def _fits(value: JSON, wanted: type | tuple[type, ...]) -> bool:
    kinds = wanted if isinstance(wanted, tuple) else (wanted,)
    if isinstance(value, bool):
        return bool in kinds or object in kinds
    return isinstance(value, kinds)
