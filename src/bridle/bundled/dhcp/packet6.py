"""DHCPv6 messages: bytes ↔ :class:`Message6`, with the relays they came through (RFC 8415)."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from enum import IntEnum

import msgspec

from bridle.bundled.dhcp.packet4 import PacketError

__all__ = [
    "RELAY_LIMIT",
    "Message6",
    "MessageType6",
    "Relay6",
    "StatusCode",
    "decode6",
    "encode6",
    "options_in",
]

# RFC 8415 §7.6: HOP_COUNT_LIMIT is 8; Kea takes up to 32.
RELAY_LIMIT = 32
_RELAY_HEAD = struct.Struct("!BB16s16s")
_OPTION = struct.Struct("!HH")
_RELAY_MESSAGE = 9
_LARGEST = 65527


class MessageType6(IntEnum):
    """The first byte of a message."""

    SOLICIT = 1
    ADVERTISE = 2
    REQUEST = 3
    CONFIRM = 4
    RENEW = 5
    REBIND = 6
    REPLY = 7
    RELEASE = 8
    DECLINE = 9
    RECONFIGURE = 10
    INFORMATION_REQUEST = 11
    RELAY_FORW = 12
    RELAY_REPL = 13


class StatusCode(IntEnum):
    """What a status code option says."""

    SUCCESS = 0
    UNSPEC_FAIL = 1
    NO_ADDRS_AVAIL = 2
    NO_BINDING = 3
    NOT_ON_LINK = 4
    USE_MULTICAST = 5
    NO_PREFIX_AVAIL = 6


class Message6(msgspec.Struct, gc=False):
    """A DHCPv6 message of a client or a server. ``transaction`` is a 24-bit number. ``options`` are (code,
    data) in order, as the same code may come several times."""

    type: int
    transaction: int
    options: list[tuple[int, bytes]]


class Relay6(msgspec.Struct, gc=False):
    """The head of a relay-forward or relay-reply, without the relayed message; ``options`` has the others."""

    type: int
    hops: int
    link: bytes
    peer: bytes
    options: list[tuple[int, bytes]]


def options_in(data: bytes) -> list[tuple[int, bytes]]:
    """The options in a stretch of bytes.

    Raises:
        PacketError: one is longer than what is left.
    """
    found = []
    position, end = 0, len(data)
    while position < end:
        if position + 4 > end:
            raise PacketError("an option is cut short")
        code, length = _OPTION.unpack_from(data, position)
        position += 4
        if position + length > end:
            raise PacketError(f"option {code} is cut short")
        found.append((code, data[position : position + length]))
        position += length
    return found


def decode6(data: bytes) -> tuple[Message6, list[Relay6]]:
    """Read a message and the relays around it, the outermost first.

    Raises:
        PacketError: it is cut short, or relayed more than 32 times.
    """
    relays: list[Relay6] = []
    while data[:1] in (b"\x0c", b"\x0d"):
        if len(data) < _RELAY_HEAD.size:
            raise PacketError(f"too short for a relayed DHCPv6 message: {len(data)} bytes")
        if len(relays) == RELAY_LIMIT:
            raise PacketError(f"relayed more than {RELAY_LIMIT} times")
        kind, hops, link, peer = _RELAY_HEAD.unpack_from(data)
        options = options_in(data[_RELAY_HEAD.size :])
        inner = [value for code, value in options if code == _RELAY_MESSAGE]
        if len(inner) != 1:
            raise PacketError(f"a relay message with {len(inner)} messages in it")
        relays.append(Relay6(kind, hops, link, peer, [one for one in options if one[0] != _RELAY_MESSAGE]))
        data = inner[0]
    if len(data) < 4:
        raise PacketError(f"too short for a DHCPv6 message: {len(data)} bytes, at least 4")
    message = Message6(data[0], int.from_bytes(data[1:4], "big"), options_in(data[4:]))
    return message, relays


def _pack(options: Sequence[tuple[int, bytes]]) -> bytes:
    parts: list[bytes] = []
    for code, value in options:
        parts += (_OPTION.pack(code, len(value)), value)
    return b"".join(parts)


def encode6(message: Message6, relays: Sequence[Relay6] = ()) -> bytes:
    """Write a message inside of its relays, the outermost first.

    Raises:
        PacketError: it does not fit one datagram.
    """
    try:
        data = ((message.type << 24) | message.transaction).to_bytes(4, "big") + _pack(message.options)
        for relay in reversed(relays):
            head = _RELAY_HEAD.pack(relay.type, relay.hops, relay.link, relay.peer)
            data = head + _pack([*relay.options, (_RELAY_MESSAGE, data)])
    except struct.error:
        raise PacketError("an option of more than 65535 bytes") from None
    if len(data) > _LARGEST:
        raise PacketError(f"the options do not fit one datagram: {len(data)} bytes")
    return data
