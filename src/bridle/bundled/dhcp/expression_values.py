"""What expressions find in a query, and what they make of it."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Sequence
from typing import Any, Protocol, TypeAlias

from bridle.bundled.dhcp.packet4 import Packet4
from bridle.bundled.dhcp.packet6 import Message6, Relay6

__all__ = [
    "FIELDS",
    "Finder",
    "Query",
    "Test",
    "Value",
    "cased",
    "hexstring",
    "joined",
    "message_option",
    "number_text",
    "address_text",
    "relay_field",
    "relay_option",
    "split_field",
    "sub_option",
    "substring",
    "vendor_data",
    "vendor_itself",
    "vendor_number",
    "vendor_option",
]


class Query(Protocol):
    """A message, as far as expressions look at it. IPv4 addresses are numbers; of DHCPv4 there is ``relay``
    too, the relay's sub-options by code, and ``relays`` is empty."""

    @property
    def packet(self) -> Packet4 | Message6:
        """The message."""
        ...

    @property
    def relays(self) -> Sequence[Relay6]:
        """The relays that it came through, the nearest to the server first."""
        ...

    @property
    def interface(self) -> str:
        """Where it came in."""
        ...

    @property
    def source(self) -> int | bytes:
        """The sender's address."""
        ...

    @property
    def destination(self) -> bytes:
        """Our address."""
        ...

    @property
    def length(self) -> int:
        """Bytes of the whole message."""
        ...

    @property
    def classes(self) -> set[str]:
        """The classes that it is in so far."""
        ...


# A query is one of two structs, each with a message of its own protocol: what is compiled for a protocol
# looks only at what that one has.
Test: TypeAlias = Callable[[Any], bool]
Value: TypeAlias = Callable[[Any], bytes]
Finder: TypeAlias = Callable[[Any], "bytes | None"]

# DHCPv6 options that begin with fields of their own (RFC 8415 §21): bytes before the first option inside.
_HEADS6 = {3: 12, 4: 4, 5: 24, 17: 4, 25: 12, 26: 25}


def message_option(protocol: int, code: int) -> Finder:
    """An option of the message."""
    if protocol == 4:
        return lambda query: query.packet.options.get(code)
    return lambda query: _first(query.packet.options, code)


def relay_option(code: int) -> Finder:
    """A sub-option of DHCPv4's relay agent information."""
    return lambda query: query.relay.get(code)


def sub_option(protocol: int, outer: int, found: Finder, code: int) -> Finder:
    """An option inside of the option ``outer``."""
    size = 1 if protocol == 4 else 2
    head = 0 if protocol == 4 else _HEADS6.get(outer, 0)
    if protocol == 4 and outer == 125:
        return vendor_option(found, protocol, None, code)
    return lambda query: _search((found(query) or b"")[head:], size, code)


def relay_field(level: int, attribute: str) -> Value:
    """An address of a relay: ``link`` or ``peer``."""

    def field(query: Any) -> bytes:
        relay = _relay_at(query.relays, level)
        return b"" if relay is None else bytes(getattr(relay, attribute))

    return field


def relay6_option(level: int, code: int) -> Finder:
    """An option that a DHCPv6 relay put in."""

    def option(query: Any) -> bytes | None:
        relay = _relay_at(query.relays, level)
        return None if relay is None else _first(relay.options, code)

    return option


def _relay_at(relays: Sequence[Relay6], level: int) -> Relay6 | None:
    """Level 0 is the relay that is nearest to the server; -1 the nearest to the client."""
    return relays[level] if -len(relays) <= level < len(relays) else None


def _first(options: Sequence[tuple[int, bytes]], code: int) -> bytes | None:
    for number, data in options:
        if number == code:
            return data
    return None


def _search(data: bytes, size: int, code: int) -> bytes | None:
    """An option among others; code and length have ``size`` bytes."""
    position = 0
    while position + 2 * size <= len(data):
        number = int.from_bytes(data[position : position + size], "big")
        length = int.from_bytes(data[position + size : position + 2 * size], "big")
        position += 2 * size
        if number == code:
            return data[position : position + length]
        position += length
    return None


def vendor_itself(found: Finder, enterprise: int | None) -> Finder:
    """A vendor's option, of this enterprise or of any."""
    return lambda query: _of_vendor(found(query), enterprise)


def vendor_number(found: Finder) -> Value:
    """The enterprise number of a vendor's option."""
    return lambda query: (_of_vendor(found(query), None) or b"")[:4]


def vendor_option(found: Finder, protocol: int, enterprise: int | None, code: int) -> Finder:
    """An option inside of a vendor's option."""

    def option(query: Any) -> bytes | None:
        data = _of_vendor(found(query), enterprise)
        if data is None:
            return None
        # DHCPv4 has a length between the enterprise number and the options (RFC 3925 §4).
        return _search(data[5:], 1, code) if protocol == 4 else _search(data[4:], 2, code)

    return option


def vendor_data(found: Finder, protocol: int, enterprise: int | None, index: int) -> Value:
    """One of the strings in a vendor class."""
    size = 1 if protocol == 4 else 2

    def data(query: Any) -> bytes:
        rest = (_of_vendor(found(query), enterprise) or b"")[5 if protocol == 4 else 4 :]
        left = index
        while rest:
            length = int.from_bytes(rest[:size], "big")
            if left == 0:
                return rest[size : size + length]
            left -= 1
            rest = rest[size + length :]
        return b""

    return data


def _of_vendor(data: bytes | None, enterprise: int | None) -> bytes | None:
    if data is None or len(data) < 4:
        return None
    return data if not enterprise or int.from_bytes(data[:4], "big") == enterprise else None


def joined(values: Sequence[Value]) -> Value:
    """All of them, one behind the other."""
    return lambda query: b"".join(value(query) for value in values)


def substring(value: Value, start: int, length: int | None) -> Value:
    """A part of a value: a negative start counts from the end, a negative length goes backwards."""

    def part(query: Any) -> bytes:
        data = value(query)
        first = start + len(data) if start < 0 else start
        if not 0 <= first < len(data):
            return b""
        if length is None:
            return data[first:]
        return data[first : first + length] if length >= 0 else data[max(0, first + length) : first]

    return part


def hexstring(value: Value, separator: Value) -> Value:
    """A value's bytes in hexadecimal digits."""
    return lambda query: separator(query).join(b"%02x" % byte for byte in value(query))


def address_text(value: Value) -> Value:
    """An address as people write it."""

    def text(query: Any) -> bytes:
        data = value(query)
        return str(ipaddress.ip_address(data)).encode() if len(data) in (4, 16) else b""

    return text


def number_text(value: Value, size: int, *, signed: bool) -> Value:
    """A number of ``size`` bytes as people write it."""

    def text(query: Any) -> bytes:
        data = value(query)
        return str(int.from_bytes(data, "big", signed=signed)).encode() if len(data) == size else b""

    return text


def split_field(value: Value, delimiters: Value, number: int) -> Value:
    """A field of a text; the first has number 1."""

    def field(query: Any) -> bytes:
        data, marks = value(query), delimiters(query)
        fields = re.split(b"[" + re.escape(marks) + b"]", data) if marks else [data]
        return bytes(fields[number - 1]) if 0 < number <= len(fields) else b""

    return field


def cased(value: Value, change: Callable[[bytes], bytes]) -> Value:
    """A value in capitals, or without any."""
    return lambda query: change(value(query))


def _word(number: int) -> bytes:
    return number.to_bytes(4, "big")


def _address(address: int | bytes) -> bytes:
    return address if isinstance(address, bytes) else _word(address)


FIELDS: dict[str, dict[str, Value]] = {
    "pkt": {
        "iface": lambda query: query.interface.encode(),
        "src": lambda query: _address(query.source),
        "dst": lambda query: _address(query.destination),
        "len": lambda query: _word(query.length),
    },
    "pkt4": {
        "mac": lambda query: query.packet.chaddr,
        "hlen": lambda query: _word(query.packet.hlen),
        "htype": lambda query: _word(query.packet.htype),
        "ciaddr": lambda query: _word(query.packet.ciaddr),
        "giaddr": lambda query: _word(query.packet.giaddr),
        "yiaddr": lambda query: _word(query.packet.yiaddr),
        "siaddr": lambda query: _word(query.packet.siaddr),
        "msgtype": lambda query: query.packet.options.get(53, b"").rjust(4, b"\0"),
        "transid": lambda query: _word(query.packet.xid),
    },
    "pkt6": {
        "msgtype": lambda query: _word(query.packet.type),
        "transid": lambda query: _word(query.packet.transaction),
    },
}
"""The fields of a message, by what is in front of the dot."""
