"""The ``limits`` map of a configuration."""

from __future__ import annotations

from collections.abc import Mapping

from bridle.access.limits import Limit, LimitSettings
from bridle.core.errors import ConfigurationError
from bridle.core.grammar import EXTRA, NUMBER, Grammar, check_members
from bridle.core.messages import JSON, Path

__all__ = ["read_limits"]

# Beyond these a number is a typing error: a rate, a count or a size that nothing reaches, a wait of days.
_LARGEST = 1 << 40
_LONGEST_DELAY = 86400.0

_LIMIT: Grammar = {
    "requests-per-second": NUMBER,
    "burst": int,
    "in-flight": int,
    "connections": int,
    "body-size": int,
    **EXTRA,
}
_ROLE = {key: kinds for key, kinds in _LIMIT.items() if key != "connections"}
_LOGINS: Grammar = {
    "free": int,
    "delay": NUMBER,
    "longest-delay": NUMBER,
    **EXTRA,
}
_GRAMMAR: Grammar = {
    "peer": dict,
    "roles": dict,
    "failed-logins": dict,
    **EXTRA,
}


def read_limits(value: JSON, path: Path) -> LimitSettings:
    """Read a ``limits`` map that stands at ``path`` of a configuration.

    Raises:
        ConfigurationError: with the path of what is wrong.
    """
    given = check_members(value, _GRAMMAR, "limits", path)
    roles = given.get("roles", {})
    assert isinstance(roles, dict)
    logins = check_members(given.get("failed-logins", {}), _LOGINS, "failed-logins", [*path, "failed-logins"])
    where = [*path, "failed-logins"]
    return LimitSettings(
        peer=_limit(given.get("peer", {}), _LIMIT, "peer", [*path, "peer"]),
        roles={name: _limit(item, _ROLE, "role", [*path, "roles", name]) for name, item in roles.items()},
        free_logins=int(_number(logins, "free", 5, _LARGEST, where)),
        login_delay=_number(logins, "delay", 1.0, _LONGEST_DELAY, where),
        longest_delay=_number(logins, "longest-delay", 60.0, _LONGEST_DELAY, where),
    )


def _limit(value: JSON, grammar: Grammar, scope: str, path: Path) -> Limit:
    given = check_members(value, grammar, scope, path)
    counts = {
        key.replace("-", "_"): int(_number(given, key, 0, _LARGEST, path))
        for key in ("burst", "in-flight", "connections", "body-size")
    }
    if given.get("burst") and not given.get("requests-per-second"):
        raise ConfigurationError("burst is nothing without requests-per-second", path=[*path, "burst"])
    return Limit(requests_per_second=_number(given, "requests-per-second", 0, _LARGEST, path), **counts)


def _number(given: Mapping[str, JSON], key: str, default: float, most: float, path: Path) -> float:
    value = given.get(key, default)
    if not isinstance(value, int | float) or not 0 <= value <= most:
        raise ConfigurationError(
            f"out of range value ({value}) specified for parameter '{key}'", path=[*path, key]
        )
    return float(value)
