"""The records that BINRPC messages are made of: values to bytes and back (``facts/kamailio.md`` §1.2, §1.3).

================  ======================================================================================
``int``           INT: 32 bits with sign. What does not fit travels as DOUBLE, as Kamailio's counters do
``float``         DOUBLE: fixed point with three decimals
``str``           STR: UTF-8, ended by a NUL that its length counts
``bytes``         BYTES, which Kamailio's methods neither take nor give
:class:`Struct`   STRUCT: pairs in order, names may come twice; a value without a name is an item of what
                  Kamailio calls an array
:class:`Array`    ARRAY, which Kamailio never writes
================  ======================================================================================

``bool``, ``None``, ``list`` and ``dict`` are written as well, as a value of JSON is: 0 and 1,
``<null string>``, a struct of values without names, a struct.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TypeAlias, Union

import msgspec

from bridle.core.errors import BridleError

__all__ = [
    "ARRAY_BEGIN",
    "BODY_LIMIT",
    "DEPTH_LIMIT",
    "STRUCT_BEGIN",
    "STRUCT_LIMIT",
    "TYPE_NAMES",
    "Array",
    "Overflow",
    "RecordError",
    "Struct",
    "Value",
    "decode_records",
    "encode_int",
    "encode_records",
    "encode_string",
    "json_of",
]

# Structs within structs. Kamailio's deepest answers have six; recursion must end somewhere.
DEPTH_LIMIT = 64
# Bytes of an answer's top-level records, and of one struct's own members: what Kamailio's
# binrpc_max_body_size and binrpc_struct_max_body_size bound, and its defaults (facts/kamailio.md §1.6).
BODY_LIMIT = 32 * 1024
STRUCT_LIMIT = 8 * 1024

TYPE_NAMES: Mapping[int, str] = {
    0: "integer",
    1: "string",
    2: "float",
    3: "structure",
    4: "array",
    5: "structure member",
    6: "bytes array",
}
"""What Kamailio calls the types in its faults; others are ``<unknown/error>``."""

NO_MATCH = "record doesn't match type"
BAD = "bad record"
MORE_NEEDED = "more data needed"
END = "end of packet encountered"

_INT, _STR, _DOUBLE, _STRUCT, _ARRAY, _AVP, _BYTES = range(7)
STRUCT_BEGIN, ARRAY_BEGIN = _STRUCT, _ARRAY
_STRUCT_END, _ARRAY_END = 0x80 | _STRUCT, 0x80 | _ARRAY
_OPEN_STRUCT, _CLOSE_STRUCT = bytes([_STRUCT]), bytes([_STRUCT_END])
_OPEN_ARRAY, _CLOSE_ARRAY = bytes([_ARRAY]), bytes([_ARRAY_END])
_SHORT = tuple(bytes((size << 4 | _STR,)) for size in range(1, 8))
_NULL = "<null string>"
_DOUBLE_MIN = -(1 << 63)
# Names of members that were written lately: the same few come again and again.
_NAMES: dict[str, bytes] = {}
_NAMES_LIMIT = 4096
_NAME_BYTES = 64


class Struct(msgspec.Struct, frozen=True):
    """Pairs of a name and a value, in order. A name of None: a value alone."""

    members: tuple[tuple[str | None, Value], ...] = ()


class Array(msgspec.Struct, frozen=True):
    """Values in order."""

    items: tuple[Value, ...] = ()


Value: TypeAlias = Union[int, float, str, bytes, Struct, Array]  # noqa: UP007 - a forward reference


class RecordError(BridleError):
    """A record cannot be read. ``kind`` is its type code, ``reason`` one of Kamailio's error strings;
    ``values`` holds the whole records before it, ``outermost`` is the byte that the record begins with which
    it is in."""

    def __init__(self, reason: str, kind: int, position: int = 0) -> None:
        super().__init__(reason)
        self.reason = reason
        self.kind = kind
        self.position = position
        self.values: list[Value] = []
        self.outermost = kind


class Overflow(BridleError):
    """An answer is larger than the limit. ``kind`` is the letter of what did not fit: d, s, f, {."""

    def __init__(self, kind: str, limit: int) -> None:
        super().__init__(f"'{kind}' exceeds {limit} bytes")
        self.kind = kind
        self.limit = limit


# Reading


def decode_records(
    data: bytes, position: int = 0, end: int | None = None, count: int = -1, errors: str = "strict"
) -> list[Value]:
    """Read ``count`` records (-1: all that there are) of ``data[position:end]``.

    ``errors`` says what becomes of strings that are not UTF-8, as for ``bytes.decode``.

    Raises:
        RecordError: one cannot be read; with those before it.
    """
    values: list[Value] = []
    end = len(data) if end is None else end
    try:
        while position < end and count:
            # The commonest first, without a call: a short string.
            head = data[position]
            after = position + 1 + (head >> 4)
            if head & 0x8F == _STR and head != _STR and after <= end:
                last = after if data[after - 1] else after - 1
                values.append(data[position + 1 : last].decode("utf-8", errors))
                position = after
            else:
                value, position = _decode(data, position, end, errors, 0)
                values.append(value)
            count -= 1
    except RecordError as error:
        error.values = values
        error.outermost = data[position]
        raise
    except UnicodeDecodeError as error:
        failure = RecordError("it is not UTF-8", _STR, position)
        failure.values = values
        raise failure from error
    return values


def _decode(data: bytes, position: int, end: int, errors: str, depth: int) -> tuple[Value, int]:
    head = data[position]
    kind = head & 0x0F
    if kind in (_STRUCT, _ARRAY):
        if head & 0x80:
            raise RecordError(BAD, kind, position)
        if depth == DEPTH_LIMIT:
            raise RecordError(f"more than {DEPTH_LIMIT} structures within each other", kind, position)
        if kind == _STRUCT:
            return _decode_struct(data, position + 1, end, errors, depth + 1)
        return _decode_array(data, position + 1, end, errors, depth + 1)
    if kind > _BYTES or (kind == _AVP and not depth):
        raise RecordError(NO_MATCH, kind, position)
    start, after = _extent(data, position, end)
    content = data[start:after]
    if kind == _INT:
        number = int.from_bytes(content[-4:], "big")
        return (number - (1 << 32) if number >> 31 else number), after
    if kind == _DOUBLE:
        number = int.from_bytes(content[-8:], "big")
        return (number - (1 << 64) if number >> 63 else number) / 1000, after
    if kind == _BYTES:
        return content, after
    if kind == _AVP:
        raise RecordError(BAD, kind, position)
    return _text(content, errors), after


def _text(content: bytes, errors: str) -> str:
    return (content[:-1] if content[-1:] == b"\0" else content).decode("utf-8", errors)


def _extent(data: bytes, position: int, end: int) -> tuple[int, int]:
    """Where a record's content begins and ends."""
    head = data[position]
    size, start = head >> 4, position + 1
    # A double has no form with a length of its own: its size takes the whole nibble.
    if size & 8 and head & 0x0F != _DOUBLE:
        start += size & 7
        if start > end:
            raise RecordError(MORE_NEEDED, head & 0x0F, position)
        size = int.from_bytes(data[position + 1 : start], "big")
    if start + size > end:
        raise RecordError(MORE_NEEDED, head & 0x0F, position)
    return start, start + size


def _decode_struct(data: bytes, position: int, end: int, errors: str, depth: int) -> tuple[Struct, int]:
    members: list[tuple[str | None, Value]] = []
    while position < end:
        head = data[position]
        if head == _STRUCT_END:
            return Struct(tuple(members)), position + 1
        name = None
        if head & 0x0F == _AVP:
            start, after = _extent(data, position, end)
            name = _text(data[start:after], errors)
            if after >= end:
                break
            following = data[after]
            if following & 0x0F in (_ARRAY, _AVP) or following == _STRUCT_END:
                raise RecordError(BAD, _AVP, position)
            position = after
        value, position = _decode(data, position, end, errors, depth)
        members.append((name, value))
    raise RecordError(END, _STRUCT, position)


def _decode_array(data: bytes, position: int, end: int, errors: str, depth: int) -> tuple[Array, int]:
    items: list[Value] = []
    while position < end:
        if data[position] == _ARRAY_END:
            return Array(tuple(items)), position + 1
        value, position = _decode(data, position, end, errors, depth)
        items.append(value)
    raise RecordError(END, _ARRAY, position)


# Writing


def encode_records(
    values: Iterable[object], body_limit: int | None = None, struct_limit: int | None = None
) -> bytes:
    """Write records.

    Raises:
        Overflow: the top-level records are larger than ``body_limit``, or a struct's own members than
        ``struct_limit``; neither counts the structs within.
    """
    parts: list[bytes] = []
    left = body_limit
    for value in values:
        if type(value) is str:
            letter = "s"
            content = value.encode("utf-8", "surrogateescape")
            size = len(content)
            record = _SHORT[size] + content + b"\0" if size < 7 else _sized(_STR, content + b"\0")
        elif isinstance(value, Struct | Array | dict | list | tuple):
            _encode_group(value, parts, struct_limit, 1)
            continue
        else:
            record, letter = _encode_scalar(value)
        parts.append(record)
        if left is not None:
            left -= len(record)
            if left < 0:
                raise Overflow(letter, body_limit or 0)
    return parts[0] if len(parts) == 1 else b"".join(parts)


def _encode_group(value: object, parts: list[bytes], limit: int | None, depth: int) -> None:
    if depth > DEPTH_LIMIT:
        raise Overflow("{", DEPTH_LIMIT)
    left = limit
    opening, closing = _OPEN_STRUCT, _CLOSE_STRUCT
    members: Iterable[tuple[str | None, object]]
    if isinstance(value, dict):
        members = value.items()
    elif isinstance(value, Struct):
        members = value.members
    elif isinstance(value, Array):
        opening, closing = _OPEN_ARRAY, _CLOSE_ARRAY
        members = [(None, item) for item in value.items]
    else:
        assert isinstance(value, list | tuple)
        members = [(None, item) for item in value]
    parts.append(opening)
    for name, member in members:
        size = 0
        if name is not None:
            written = _NAMES.get(name) or _encode_name(name)
            parts.append(written)
            size = len(written)
        if isinstance(member, dict | list | tuple | Struct | Array):
            _encode_group(member, parts, limit, depth + 1)
        else:
            record = encode_string(member) if type(member) is str else _encode_scalar(member)[0]
            parts.append(record)
            size += len(record)
        if left is not None:
            left -= size
            if left < 0:
                raise Overflow("{", limit or 0)
    parts.append(closing)


def _encode_scalar(value: object) -> tuple[bytes, str]:
    if isinstance(value, int):
        return encode_int(value), "d"
    if isinstance(value, float):
        return _encode_double(_thousandths(value)), "f"
    if isinstance(value, bytes):
        return _sized(_BYTES, value), "s"
    return encode_string(_NULL if value is None else str(value)), "s"


def encode_string(text: str) -> bytes:
    """A STR record."""
    content = text.encode("utf-8", "surrogateescape") + b"\0"
    return _sized(_STR, content)


def encode_int(number: int) -> bytes:
    """An INT record; a DOUBLE for what 32 bits cannot hold."""
    if 0 <= number < 256:
        return bytes((0x10, number)) if number else b"\0"
    if -(1 << 31) <= number < 1 << 31:
        unsigned = number & 0xFFFFFFFF
        size = (unsigned.bit_length() + 7) // 8
        return bytes((size << 4,)) + unsigned.to_bytes(size, "big")
    thousandths = number * 1000
    if not -(1 << 63) < thousandths < 1 << 63:
        return encode_string(str(number))
    return _encode_double(thousandths)


def _encode_double(thousandths: int) -> bytes:
    size = 8 if thousandths < 0 else (thousandths.bit_length() + 7) // 8
    return bytes((size << 4 | _DOUBLE,)) + (thousandths & ((1 << 64) - 1)).to_bytes(size, "big")


def _thousandths(number: float) -> int:
    """Cut behind the third decimal, as Kamailio does; but what has no more than three keeps them."""
    scaled = number * 1000
    if not -9.223372036854775e18 <= scaled <= 9.223372036854775e18:
        return _DOUBLE_MIN  # what Kamailio's conversion makes of all that does not fit, nan included
    cut = int(scaled)
    for near in (cut, cut + 1, cut - 1):
        if near / 1000 == number:
            return near
    return cut


def _encode_name(name: str) -> bytes:
    content = name.encode("utf-8", "surrogateescape") + b"\0"
    record = _sized(_AVP, content)
    if len(record) < _NAME_BYTES:
        if len(_NAMES) == _NAMES_LIMIT:
            _NAMES.clear()
        _NAMES[name] = record
    return record


def _sized(kind: int, content: bytes) -> bytes:
    size = len(content)
    if size < 8:
        return bytes((size << 4 | kind,)) + content
    length = (size.bit_length() + 7) // 8
    return bytes((0x80 | length << 4 | kind,)) + size.to_bytes(length, "big") + content


# Crossing to JSON


def json_of(value: Value) -> object:
    """A value as other dialects carry it: a struct is a map, in which the values of a name that comes more
    than once are a list; a struct of values without names is a list; a whole double is an integer; bytes are
    Base64."""
    if isinstance(value, Struct):
        return _json_of_struct(value)
    if isinstance(value, Array):
        return [json_of(item) for item in value.items]
    if isinstance(value, float):
        # Counters beyond 32 bits, and others, travel as doubles; kamcmd prints them as integers too.
        return int(value) if value.is_integer() else value
    if isinstance(value, bytes):
        import base64

        return base64.b64encode(value).decode("ascii")
    return value


def _json_of_struct(struct: Struct) -> object:
    members = struct.members
    if members and all(name is None for name, _ in members):
        return [json_of(value) for _, value in members]
    found: dict[str, object] = {}
    several: set[str] = set()
    for name, value in members:
        key = name or ""
        converted = json_of(value)
        if key not in found:
            found[key] = converted
        elif key in several:
            gathered = found[key]
            assert isinstance(gathered, list)
            gathered.append(converted)
        else:
            several.add(key)
            found[key] = [found[key], converted]
    return found
