"""Option definitions, and the way from what a configuration says to what goes over the wire.

Formats and the two ways of writing data (``csv-format``) are Kea's.
"""

from __future__ import annotations

import ipaddress
import re
import struct
from collections.abc import Callable, Iterable
from copy import copy
from functools import cache

import msgspec

from bridle.bundled.dhcp.names import encode_labels
from bridle.bundled.dhcp.option_tables import TABLES
from bridle.core.errors import BridleError

__all__ = ["Definition", "Definitions", "OptionError", "TYPES", "decode_option", "encode_option"]

_INTEGERS = {
    "uint8": ("!B", 0, 0xFF),
    "uint16": ("!H", 0, 0xFFFF),
    "uint32": ("!I", 0, 0xFFFFFFFF),
    "int8": ("!b", -0x80, 0x7F),
    "int16": ("!h", -0x8000, 0x7FFF),
    "int32": ("!i", -0x80000000, 0x7FFFFFFF),
}
TYPES = frozenset(
    {
        "empty",
        "binary",
        "boolean",
        *_INTEGERS,
        "ipv4-address",
        "ipv6-address",
        "ipv6-prefix",
        "psid",
        "string",
        "tuple",
        "fqdn",
        "record",
        "internal",
    }
)
# A comma that does not stand behind a backslash; a backslash before a comma is no part of the value.
_SEPARATOR = re.compile(r"(?<!\\),")


class OptionError(BridleError):
    """The data of an option do not fit its definition."""


class Definition(msgspec.Struct, frozen=True):
    """What is known of an option. A record has the types of its fields in ``record_types``."""

    name: str
    code: int
    space: str
    type: str
    array: bool = False
    record_types: tuple[str, ...] = ()
    encapsulate: str = ""

    @property
    def fields(self) -> tuple[str, ...]:
        """The types of its values, in order; of an array the last one repeats."""
        return self.record_types if self.type == "record" else (self.type,)


class Definitions:
    """The standard options of a protocol (4 or 6), and those of a configuration on top."""

    def __init__(self, protocol: int, extra: Iterable[Definition] = ()) -> None:
        names, codes = _standard(protocol)
        extra = tuple(extra)
        self._names = {**names, **{(one.space, one.name): one for one in extra}} if extra else names
        self._codes = {**codes, **{(one.space, one.code): one for one in extra}} if extra else codes

    def extended(self, extra: Iterable[Definition]) -> Definitions:
        """These, and others on top."""
        extra = tuple(extra)
        if not extra:
            return self
        found = copy(self)
        found._names = {**self._names, **{(one.space, one.name): one for one in extra}}
        found._codes = {**self._codes, **{(one.space, one.code): one for one in extra}}
        return found

    def by_name(self, space: str, name: str) -> Definition | None:
        """The definition of a name."""
        return self._names.get((space, name))

    def by_code(self, space: str, code: int) -> Definition | None:
        """The definition of a code."""
        return self._codes.get((space, code))


_Index = tuple[dict[tuple[str, str], Definition], dict[tuple[str, int], Definition]]


@cache
def _standard(protocol: int) -> _Index:
    known = [
        _definition(space, line)
        for space, table in TABLES[protocol].items()
        for line in table.strip().splitlines()
    ]
    return {(one.space, one.name): one for one in known}, {(one.space, one.code): one for one in known}


def _definition(space: str, line: str) -> Definition:
    code, name, kind, *more = line.split()
    array = kind.endswith("[]")
    fields = tuple(kind.removesuffix("[]").split("+"))
    encapsulate = more[0][1:] if more else ""
    if len(fields) == 1:
        return Definition(name, int(code), space, fields[0], array, (), encapsulate)
    return Definition(name, int(code), space, "record", array, fields, encapsulate)


def encode_option(definition: Definition | None, text: str, csv_format: bool) -> bytes:
    """What goes over the wire.

    With ``csv_format`` the text has values in the form of the definition, separated by commas; otherwise it
    is hexadecimal digits (``0x…``, or with colons or spaces between bytes), or a text in single quotes.

    Raises:
        OptionError: it does not fit.
    """
    if not csv_format:
        return _binary(text)
    if definition is None:
        raise OptionError("an option without a definition is written in hexadecimal digits")
    if definition.type == "empty":
        if text.strip():
            raise OptionError(f"option '{definition.name}' has no data")
        return b""
    if definition.fields == ("string",) and not definition.array:
        values = [text.replace("\\,", ",")]
    else:
        values = [part.strip().replace("\\,", ",") for part in _SEPARATOR.split(text)]
    return _encode_values(definition, values)


def _encode_values(definition: Definition, values: list[str]) -> bytes:
    fields = definition.fields
    if len(values) < len(fields) or (len(values) > len(fields) and not definition.array):
        raise OptionError(
            f"option '{definition.name}' takes {'at least ' if definition.array else ''}{len(fields)} "
            f"value{'s' if len(fields) > 1 else ''}, not {len(values)}"
        )
    parts = []
    for index, value in enumerate(values):
        kind = fields[min(index, len(fields) - 1)]
        try:
            parts.append(_encode_value(kind, value))
        except (ValueError, struct.error) as error:
            raise OptionError(f"'{value}' is no {kind} value for option '{definition.name}'") from error
    return b"".join(parts)


def _encode_value(kind: str, text: str) -> bytes:
    if kind in _INTEGERS:
        form, lowest, highest = _INTEGERS[kind]
        number = int(text, 0) if not re.fullmatch(r"-?0\d+", text) else int(text)
        if not lowest <= number <= highest:
            raise ValueError("out of range")
        return struct.pack(form, number)
    return _ENCODERS[kind](text)


def _boolean(text: str) -> bytes:
    if text in ("true", "1"):
        return b"\1"
    if text in ("false", "0"):
        return b"\0"
    raise ValueError("no boolean")


def _fqdn(text: str) -> bytes:
    encoded = encode_labels(text if text.endswith(".") else f"{text}.")
    if not encoded or not text.isascii():
        raise ValueError("no domain name")
    return encoded


def _prefix(text: str) -> bytes:
    address, _, length = text.partition("/")
    number = int(length)
    if not 0 <= number <= 128:
        raise ValueError("out of range")
    return bytes([number]) + ipaddress.IPv6Address(address).packed[: (number + 7) // 8]


def _psid(text: str) -> bytes:
    value, _, length = text.partition("/")
    bits, number = int(length), int(value)
    if not 0 <= bits <= 16 or number >> bits:
        raise ValueError("out of range")
    return bytes([bits]) + (number << (16 - bits) & 0xFFFF).to_bytes(2, "big")


def _tuple(text: str) -> bytes:
    data = text.encode()
    return len(data).to_bytes(2, "big") + data


def _string(text: str) -> bytes:
    if not text:
        raise ValueError("empty")
    return text.encode()


def _binary(text: str) -> bytes:
    text = text.strip()
    if len(text) >= 2 and text[0] == text[-1] == "'":
        return text[1:-1].encode()
    digits = text[2:] if text[:2].lower() == "0x" else text
    if ":" in digits or " " in digits:
        parts = re.split(r":| +", digits)
        if not all(re.fullmatch(r"[0-9A-Fa-f]{1,2}", part) for part in parts):
            raise OptionError(f"'{text}' is no string of hexadecimal digits")
        return bytes(int(part, 16) for part in parts)
    if not re.fullmatch(r"[0-9A-Fa-f]*", digits):
        raise OptionError(f"'{text}' is no string of hexadecimal digits")
    return bytes.fromhex(digits if len(digits) % 2 == 0 else f"0{digits}")


_ENCODERS: dict[str, Callable[[str], bytes]] = {
    "boolean": _boolean,
    "ipv4-address": lambda text: ipaddress.IPv4Address(text).packed,
    "ipv6-address": lambda text: ipaddress.IPv6Address(text).packed,
    "ipv6-prefix": _prefix,
    "psid": _psid,
    "string": _string,
    "tuple": _tuple,
    "fqdn": _fqdn,
    "binary": _binary,
}


def decode_option(definition: Definition | None, data: bytes) -> str:
    """The text of an option's value, for people; what does not fit its definition is shown as digits."""
    if definition is None:
        return f"0x{data.hex()}"
    if definition.fields == ("string",):
        return data.decode("utf-8", "replace")
    if definition.fields == ("ipv4-address",) and len(data) % 4 == 0:
        return ", ".join(str(ipaddress.IPv4Address(data[at : at + 4])) for at in range(0, len(data), 4))
    if definition.fields == ("ipv6-address",) and len(data) % 16 == 0:
        return ", ".join(str(ipaddress.IPv6Address(data[at : at + 16])) for at in range(0, len(data), 16))
    if len(definition.fields) == 1 and definition.type in _INTEGERS:
        size = struct.calcsize(_INTEGERS[definition.type][0])
        if len(data) % size == 0:
            return ", ".join(str(one) for (one,) in struct.iter_unpack(_INTEGERS[definition.type][0], data))
    return f"0x{data.hex()}"
