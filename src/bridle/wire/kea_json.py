"""Kea's byte form of JSON: what goes over the wire, and into the files that ``config-write`` makes.

Spaces, line breaks and the order of keys are Kea's to the byte (``facts/kea.md`` §1.3), for hashes are taken
of them and people compare the files. Where Kea writes what is not JSON, or loses something on the way, this
module does not: keys are escaped as strings are, text is UTF-8, and numbers keep all their digits.
"""

from __future__ import annotations

from math import isfinite

import msgspec
from msgspec import Raw

from bridle.core.messages import JSON
from bridle.wire.kea_reader import read
from bridle.wire.kea_strings import mend_escapes

__all__ = ["decode", "encode", "encode_pretty", "mend_escapes"]

_json = msgspec.json.encode
_PLAIN = frozenset((str, int, bool, type(None)))
"""The types whose JSON is msgspec's as it stands. A float's is not: msgspec writes infinity as null."""
_NESTED = frozenset((dict, list, tuple))


def encode(value: JSON | Raw) -> bytes:
    """Write a value on one line: ``{ "k": v, "l": [ 1, 2 ] }``, maps sorted by their keys' bytes.

    Raw JSON, anywhere inside, is inserted as it is.

    Raises:
        ValueError: a number is not finite, a string cannot be UTF-8, or the value is nested too deeply.
        TypeError: something in the value has no place in JSON.
    """
    if type(value) is str:
        return _json(value).replace(b"\x7f", rb"\u007f")
    if type(value) is Raw:
        return bytes(value)
    parts: list[bytes] = []
    try:
        _write(value, parts)
    except RecursionError:
        raise ValueError("the value is nested too deeply to be written as JSON") from None
    return _join(parts)


def encode_pretty(value: JSON | Raw) -> bytes:
    """Write a value as ``config-write`` does: two spaces a level, no line break at the end.

    A list stands on one line unless its first item is a map or a list.

    Raises:
        ValueError: as :func:`encode`.
        TypeError: as :func:`encode`.
    """
    parts: list[bytes] = []
    try:
        _write_pretty(value, parts, b"\n")
    except RecursionError:
        raise ValueError("the value is nested too deeply to be written as JSON") from None
    return _join(parts)


def decode(data: bytes) -> JSON:
    """Read what a Kea daemon of any version sends, or one of ours.

    Text that Kea escaped byte by byte comes out whole. Data that is not quite JSON is read as a command would
    be: Kea 2.2 writes ``1e+10.0``, and does not escape the control characters in keys.

    Raises:
        RemoteProtocolError: it cannot be read.
    """
    try:
        value: JSON = msgspec.json.decode(mend_escapes(data))
    except (ValueError, RecursionError):
        return read(data).value
    return value


def _join(parts: list[bytes]) -> bytes:
    data = b"".join(parts)
    if b"\x7f" in data:
        return b"".join([part if type(part) is Raw else part.replace(b"\x7f", rb"\u007f") for part in parts])
    return data


def _write(value: object, parts: list[bytes]) -> None:
    if type(value) is dict:
        separator = b"{ "
        for key in sorted(value):
            if type(key) is not str:
                raise _key_error(key)
            parts.append(separator)
            parts.append(_json(key))
            parts.append(b": ")
            item = value[key]
            if type(item) in _PLAIN:
                parts.append(_json(item))
            else:
                _write(item, parts)
            separator = b", "
        parts.append(b" }" if value else b"{  }")
    elif type(value) is list or type(value) is tuple:
        separator = b"[ "
        for item in value:
            parts.append(separator)
            if type(item) in _PLAIN:
                parts.append(_json(item))
            else:
                _write(item, parts)
            separator = b", "
        parts.append(b" ]" if value else b"[  ]")
    elif not _write_scalar(value, parts):
        _write(msgspec.to_builtins(value), parts)


def _write_pretty(value: object, parts: list[bytes], line: bytes) -> None:
    """Write a value that begins on ``line``: a line break and the indentation."""
    inner = line + b"  "
    if type(value) is dict:
        separator = b"{"
        for key in sorted(value):
            if type(key) is not str:
                raise _key_error(key)
            parts += (separator, inner, _json(key), b": ")
            _write_pretty(value[key], parts, inner)
            separator = b","
        parts.append(line + b"}" if value else b"{ }")
    elif type(value) is list or type(value) is tuple:
        tall = bool(value) and type(value[0]) in _NESTED
        separator = b"[" + inner if tall else b"[ "
        for item in value:
            parts.append(separator)
            _write_pretty(item, parts, inner)
            separator = b"," + inner if tall else b", "
        parts.append(line + b"]" if tall else b" ]" if value else b"[ ]")
    elif not _write_scalar(value, parts):
        _write_pretty(msgspec.to_builtins(value), parts, line)


def _write_scalar(value: object, parts: list[bytes]) -> bool:
    """Write a value without parts; False where it is of a type that has to be made plain first."""
    if type(value) is float and not isfinite(value):
        raise ValueError(f"{value} cannot be written as JSON")
    if type(value) in _PLAIN or type(value) is float:
        parts.append(_json(value))
        return True
    if isinstance(value, Raw):
        parts.append(value)
        return True
    return False


def _key_error(key: object) -> TypeError:
    return TypeError(f"the keys of a map are strings, not {type(key).__name__} ({key!r})")
