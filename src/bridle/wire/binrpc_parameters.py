"""The parameters of a BINRPC request, read by what the handler takes: the rules of Kamailio's ``rpc->scan``
(``facts/kamailio.md`` §1.4, §1.5), whose words the faults use.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import cast

from msgspec import UNSET, UnsetType

from bridle.core.errors import ArgumentError
from bridle.core.messages import JSON, Expected, Kind, ScannedArguments
from bridle.wire.binrpc_records import (
    ARRAY_BEGIN,
    END,
    NO_MATCH,
    STRUCT_BEGIN,
    TYPE_NAMES,
    Array,
    RecordError,
    Struct,
    Value,
    decode_records,
    json_of,
)

__all__ = ["Parameters"]

_EXPECTED: Mapping[Kind, str] = {
    "int": "integer",
    "bool": "integer",
    "float": "float",
    "str": "string",
    "scalar": "any",
    "any": "any",
}
_TYPES: Mapping[Kind, tuple[type, ...]] = {
    "int": (int,),
    "float": (float,),
    "str": (str,),
    "bool": (),
    "scalar": (str, int),
    "any": (str, int),
}
_NAMES: Mapping[type, str] = {
    int: "integer",
    float: "float",
    str: "string",
    Struct: "structure",
    Array: "array",
    bytes: "bytes array",
}
_WHOLE = re.compile(r"[+-]?[0-9]*")
_INT32 = 1 << 31


class Parameters(ScannedArguments):
    """The records of a request behind its method: those of ``data[start:end]``."""

    data: bytes
    start: int
    end: int
    autoconversion: bool

    @property
    def size(self) -> int:
        """Bytes of the records."""
        return self.end - self.start

    def scan(self, expected: Expected) -> JSON:
        """Read one record for each kind; those that come beyond are ignored. One struct alone is named
        arguments."""
        if expected.named and self.start < self.end and self.data[self.start] == STRUCT_BEGIN:
            named = self._named()
            if named is not None:
                return named
        kinds, rest = expected.kinds, expected.rest
        failure = None
        try:
            values = decode_records(self.data, self.start, self.end, len(kinds) if rest is None else -1)
        except RecordError as error:
            values, failure = error.values, error
        index = 0
        for value in values:
            kind = kinds[index] if index < len(kinds) else rest or "any"
            if type(value) not in _TYPES[kind]:
                values[index] = self._converted(value, kind, index)
            index += 1
        if failure is not None:
            raise self._unreadable(index, expected.kind(index), failure)
        if index < expected.required:
            raise _wrong(index, _EXPECTED[kinds[index]], END)
        return values  # type: ignore[return-value]

    def unscanned(self) -> JSON | UnsetType:
        """All records: none, one struct's members by name, or a list."""
        if self.start >= self.end:
            return UNSET
        try:
            values = decode_records(self.data, self.start, self.end)
        except RecordError as error:
            raise self._unreadable(len(error.values), "any", error) from error
        if len(values) == 1 and isinstance(values[0], Struct):
            named = json_of(values[0])
            if isinstance(named, dict):
                return cast(JSON, named)
        return cast("list[JSON]", [json_of(value) for value in values])

    def _named(self) -> JSON:
        """The members of the only record, if it is one struct with names."""
        try:
            values = decode_records(self.data, self.start, self.end, count=2)
        except RecordError:
            return None  # whichever way it is read, it comes up again
        named = json_of(values[0])
        return cast(JSON, named) if len(values) == 1 and isinstance(named, dict) else None

    def _unreadable(self, index: int, kind: Kind, failure: RecordError) -> ArgumentError:
        found = failure.outermost & 0x0F
        if kind in ("any", "scalar") or self.autoconversion:
            expected = TYPE_NAMES.get(found, "<unknown/error>")
        else:
            expected = _EXPECTED[kind]
        # A group where a value is wanted is wrong before anybody looks into it.
        is_group = failure.outermost in (STRUCT_BEGIN, ARRAY_BEGIN)
        return _wrong(index, expected, NO_MATCH if is_group and kind != "any" else failure.reason)

    def _converted(self, value: Value, kind: Kind, index: int) -> Value:
        """A value of another type than the handler's, if it may stand for one all the same."""
        if kind == "any":
            return cast(Value, json_of(value))
        if kind == "scalar":
            if isinstance(value, float):
                return value
            raise _wrong(index, _NAMES[type(value)], NO_MATCH)
        if kind == "bool" and type(value) is int:
            return value != 0
        if kind == "float" and type(value) is int:
            return float(value)
        if kind == "int" and type(value) is float and value.is_integer() and abs(value) >= _INT32:
            return int(value)  # which is how integers beyond 32 bits travel
        if not self.autoconversion:
            raise _wrong(index, _EXPECTED[kind], NO_MATCH)
        converted = _convert(value, kind)
        if converted is None:
            raise _wrong(index, _NAMES[type(value)], NO_MATCH)
        return converted


def _convert(value: Value, kind: Kind) -> Value | None:
    if isinstance(value, Struct | Array | bytes):
        return None
    if kind == "str":
        return str(json_of(value))
    if kind == "float":
        try:
            return float(value)
        except ValueError:
            return None
    if isinstance(value, str):
        if not _WHOLE.fullmatch(value) or len(value) > 20:
            return None
        value = int(value) if value.strip("+-") else 0
    number = int(value)
    return number != 0 if kind == "bool" else number


def _wrong(index: int, expected: str, reason: str) -> ArgumentError:
    return ArgumentError(
        f"error at parameter {index}: expected {expected} type but {reason}",
        argument=str(index),
        path=("arguments", index),
    )
