"""JSON as BNG Blaster reads and writes it: strictly, and as its library does it (``facts/bngblaster.md`` §1).

Read: UTF-8 without a byte order mark, no control characters in strings, no NUL even as an escape, integers of
64 bits. Written: one line with a blank behind each ``,`` and ``:``, members in their order, reals with 17
digits, control characters in upper-case hexadecimal.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Any, cast

import msgspec

from bridle.core.errors import RemoteProtocolError
from bridle.core.messages import JSON

__all__ = ["DEPTH_LIMIT", "Framer", "WithoutReals", "decode", "decode_whole", "encode"]

# Brackets within brackets. BNG Blaster takes 2048; Python's own stack ends at a thousand.
DEPTH_LIMIT = 512

_BLANKS = b" \t\r\n"
# Outside of strings: what opens and closes, and what no JSON has.
_SIGN = re.compile(rb'["{}\[\]]|[^ \t\r\n0-9+\-.:,eEtrufalsn]')
# Within strings: what may end one, and what none has.
_IN_STRING = re.compile(rb'["\\\x00-\x1f]')
_LONG_NUMBER = re.compile(rb"[0-9]{19}")


class WithoutReals(dict[str, Any]):
    """An object that has no reals in it, however deep: whoever makes one knows, and nobody has to look."""

    __slots__ = ()


# What a value without reals is made of; what else is derived from these is looked at as if it had some.
_CONTAINERS = frozenset({dict, list})
_EXACT = frozenset({dict, list, str, int, bool, type(None), WithoutReals})
_HEXADECIMAL = re.compile(rb"\\\\|\\u00[01][0-9a-f]")
_EXPONENT = re.compile(r"e([+-])0*")
_INT64 = range(-(1 << 63), 1 << 63)


class Framer:
    """Finds the end of one object or array in bytes that come in pieces. It gives up at the first sign that
    no JSON has; what it finds is not yet known to be JSON."""

    def __init__(self) -> None:
        self._depth = 0
        self._in_string = False
        self._escaped = False

    @property
    def begun(self) -> bool:
        """True between the first bracket and the last."""
        return self._depth > 0

    def push(self, data: bytes, position: int = 0) -> int | None:
        """Go on at ``data[position]``; where the value ends, or None when more of it is to come.

        Raises:
            RemoteProtocolError: this is no JSON.
        """
        end = len(data)
        while position < end:
            if self._escaped:
                self._escaped = False
                position += 1
                continue
            found = (_IN_STRING if self._in_string else _SIGN).search(data, position)
            if found is None:
                self._check_begin(data, position, end)
                return None
            self._check_begin(data, position, found.start())
            position = found.end()
            if self._take(found[0]):
                return position
        return None

    def _check_begin(self, data: bytes, start: int, end: int) -> None:
        if not self._depth and data[start:end].strip(_BLANKS):
            raise _invalid(data)

    def _take(self, sign: bytes) -> bool:
        """Take note of a sign; True when it ends the value."""
        if self._in_string:
            if sign == b"\\":
                self._escaped = True
            elif sign == b'"':
                self._in_string = False
            else:
                raise _invalid(sign)
        elif sign in b"{[":
            self._depth += 1
            if self._depth > DEPTH_LIMIT:
                raise _invalid(sign)
        elif sign in b"}]" and self._depth:
            self._depth -= 1
            return self._depth == 0
        elif sign == b'"' and self._depth:
            self._in_string = True
        else:
            raise _invalid(sign)
        return False


def _invalid(data: bytes) -> RemoteProtocolError:
    return RemoteProtocolError("invalid json", bytes(data[:64]))


def decode(text: bytes) -> JSON:
    """Read a value.

    Raises:
        RemoteProtocolError: it is none that BNG Blaster would read.
    """
    try:
        value = cast(JSON, msgspec.json.decode(text))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise _invalid(text) from error
    # Rare enough that nobody pays for it else.
    if (b"\\u0000" in text or _LONG_NUMBER.search(text)) and not _is_readable(value):
        raise _invalid(text)
    return value


def decode_whole(data: bytes) -> dict[str, JSON] | None:
    """Read bytes that are one object and blanks behind it; None where they are something else, or one that
    must be looked at more closely."""
    if data.count(b"{") + data.count(b"[") > DEPTH_LIMIT:
        return None
    try:
        value = decode(data)
    except RemoteProtocolError:
        return None
    return value if isinstance(value, dict) else None


def _is_readable(value: JSON) -> bool:
    if isinstance(value, str):
        return "\0" not in value
    if isinstance(value, list):
        return all(map(_is_readable, value))
    if isinstance(value, dict):
        return all("\0" not in key and _is_readable(item) for key, item in value.items())
    return not isinstance(value, int) or value in _INT64


def encode(value: object) -> bytes:
    """Write a value on one line."""
    if _may_have_reals(value):
        value = _with_reals(value)
    text = msgspec.json.format(msgspec.json.encode(value), indent=0)
    if b"\\u00" in text:
        text = _HEXADECIMAL.sub(_upper, text)
    return text


def _upper(match: re.Match[bytes]) -> bytes:
    escape = match[0]
    return escape if escape == b"\\\\" else b"\\u" + escape[2:].upper()


def _may_have_reals(value: object) -> bool:
    kind = type(value)
    if kind is dict:
        items: Collection[object] = cast("dict[str, object]", value).values()
    elif kind is list:
        items = cast("list[object]", value)
    else:
        return kind not in _EXACT
    kinds = set(map(type, items))
    if not kinds <= _EXACT:
        return True
    if kinds.isdisjoint(_CONTAINERS):
        return False
    return any(_may_have_reals(item) for item in items if type(item) in _CONTAINERS)


def _with_reals(value: object) -> object:
    if isinstance(value, float):
        return msgspec.Raw(_real(value))
    if isinstance(value, dict):
        return {key: _with_reals(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_with_reals(item) for item in value]
    return value


def _real(number: float) -> bytes:
    text = f"{number:.17g}"
    if "n" in text:
        return b"null"
    if "e" in text:
        text = _EXPONENT.sub(lambda match: "e-" if match[1] == "-" else "e", text)
    elif "." not in text:
        text += ".0"
    return text.encode()
