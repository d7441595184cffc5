"""The text that Kamailio's FIFO protocol is made of: lines, escapes, structs (``facts/kamailio.md`` §3).

A struct is one line, ``name:value,name:value``, the member that was added last first. There is no telling a
line that is a struct from a string that looks like one; who asked has to know.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from bridle.core.errors import BridleError

__all__ = ["EscapeError", "escape_parameter", "format_struct", "format_value", "parse_struct", "unescape"]

_NULL = "<null string>"
_PLAIN = {"\n": "\\n", "\r": "\\r", "\t": "\\t", "\\": "\\\\", "\0": "\\0"}
_IN_ANSWER = str.maketrans(_PLAIN)
_IN_STRUCT = str.maketrans({**_PLAIN, ":": "\\o", ",": "\\c"})
# What Kamailio reads in requests is the other way round than what it writes in answers.
_IN_REQUEST = str.maketrans({**_PLAIN, ":": "\\c", ",": "\\o"})
_BACK = {escape[1]: character for character, escape in _PLAIN.items()}
_BACK_IN_REQUEST = {**_BACK, "c": ":", "o": ","}
_BACK_IN_STRUCT = {**_BACK, "o": ":", "c": ","}
_ESCAPE = re.compile(r"\\(.?)", re.DOTALL)


class EscapeError(BridleError):
    """A backslash stands before something that it means nothing with."""


def _translated(text: str, table: Mapping[str, str], *, strict: bool) -> str:
    if "\\" not in text:
        return text

    def one(match: re.Match[str]) -> str:
        character = table.get(match[1])
        if character is None:
            if strict:
                raise EscapeError(f"unknown escape '{match[0]}'")
            return match[0]
        return character

    return _ESCAPE.sub(one, text)


def unescape(text: str, *, request: bool = False) -> str:
    """The text that an escaped one stands for: of an answer's line, or of a request's parameter.

    Raises:
        EscapeError: an escape in a request is unknown. In answers those are left as they are.
    """
    return _translated(text, _BACK_IN_REQUEST if request else _BACK, strict=request)


def escape_parameter(text: str) -> str:
    """A string as a parameter in a request."""
    return text.translate(_IN_REQUEST)


def format_value(value: object) -> str:
    """A value of an answer on its line."""
    if isinstance(value, dict):
        return format_struct(value)
    if isinstance(value, list):
        return ",".join(_format_member(item) for item in value)
    return _format_scalar(value).translate(_IN_ANSWER)


def format_struct(members: Mapping[str, object], *, request: bool = False) -> str:
    """A map on one line; its members in reverse in an answer, in order in a request."""
    items = list(members.items())[:: 1 if request else -1]
    table = _IN_REQUEST if request else _IN_STRUCT
    return ",".join(
        f"{name.translate(table)}:{_format_member(value, request=request)}" for name, value in items
    )


def _format_member(value: object, *, request: bool = False) -> str:
    # Kamailio flattens what is nested: it has no signs for where that ends.
    if isinstance(value, dict):
        return format_struct(value, request=request)
    if isinstance(value, list):
        return ",".join(_format_member(item, request=request) for item in value)
    return _format_scalar(value).translate(_IN_REQUEST if request else _IN_STRUCT)


def _format_scalar(value: object) -> str:
    if value is None:
        return _NULL
    if isinstance(value, bool):
        return "1" if value else "0"
    return f"{value:f}" if isinstance(value, float) else str(value)


def parse_struct(line: str, *, request: bool = False) -> list[tuple[str, str]] | None:
    """The pairs of a struct's line as it came, in the order in which they were added; None if it is none."""
    table = _BACK_IN_REQUEST if request else _BACK_IN_STRUCT
    pairs = []
    for part in line.split(","):
        name, colon, value = part.partition(":")
        if not colon or not name:
            return None
        pairs.append((_translated(name, table, strict=request), _translated(value, table, strict=request)))
    return pairs if request else pairs[::-1]
