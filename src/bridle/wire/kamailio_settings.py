"""The settings of Kamailio's two dialects, as endpoints name them: ``?autoconversion=1&max-body-size=64``."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from bridle.core.errors import EndpointError
from bridle.wire.binrpc_records import BODY_LIMIT, STRUCT_LIMIT

__all__ = ["OPTIONS", "PARTIAL_TIMEOUT", "KamailioSettings", "read_settings"]

OPTIONS = ("autoconversion", "idle-timeout", "max-body-size", "max-struct-size")

# Seconds in which a request that was begun has to go on: the limit that Kamailio has in its source, and
# never looks at (facts/kamailio.md §2).
PARTIAL_TIMEOUT = 120.0

_SWITCH = {"0": False, "no": False, "off": False, "1": True, "yes": True, "on": True}


class KamailioSettings(msgspec.Struct, frozen=True):
    """How a channel of Kamailio's dialects answers.

    ``autoconversion`` converts parameters of another type than the handler takes. ``body_limit`` and
    ``struct_limit`` (bytes) bound answers in BINRPC. ``idle_timeout`` (seconds) ends connections on which
    nothing is asked; None, as in Kamailio, never does.
    """

    autoconversion: bool = False
    body_limit: int = BODY_LIMIT
    struct_limit: int = STRUCT_LIMIT
    idle_timeout: float | None = None


def read_settings(options: Mapping[str, str]) -> KamailioSettings:
    """Read the options of an endpoint.

    Raises:
        EndpointError: a value is none.
    """
    switch = options.get("autoconversion", "0")
    if switch not in _SWITCH:
        raise EndpointError(f"autoconversion is 0 or 1, not '{switch}'")
    idle = _number(options, "idle-timeout", 0)
    return KamailioSettings(
        _SWITCH[switch],
        _number(options, "max-body-size", BODY_LIMIT // 1024) * 1024,
        _number(options, "max-struct-size", STRUCT_LIMIT // 1024) * 1024,
        float(idle) if idle else None,
    )


def _number(options: Mapping[str, str], name: str, default: int) -> int:
    text = options.get(name)
    if text is None:
        return default
    if not (text.isascii() and text.isdecimal() and 0 < int(text) <= 1_000_000):
        unit = "seconds" if name == "idle-timeout" else "KiB"
        raise EndpointError(f"{name} is a number of {unit} from 1 to 1000000, not '{text}'")
    return int(text)
