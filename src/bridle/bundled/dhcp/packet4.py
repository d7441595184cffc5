"""DHCPv4 messages: bytes ↔ :class:`Packet4` (RFC 2131, 2132, 3396).

Written by hand, as no maintained library is fast enough: this is the hottest code of the server. Reading is
as lenient as Kea's: what follows the end option is ignored, and so is its absence.
"""

from __future__ import annotations

import struct
from enum import IntEnum

import msgspec

from bridle.core.errors import BridleError

__all__ = ["MessageType4", "Packet4", "PacketError", "decode4", "encode4"]

_HEAD = struct.Struct("!BBBBIHHIIII16s64s128s4s")
_COOKIE = b"\x63\x82\x53\x63"
_HARDWARE_LIMIT = 16
_OVERLOAD = 52
_OPTION_LIMIT = 255
# A BOOTP message had 64 bytes where the options are now; old relays drop what is shorter than 300 bytes.
_SHORTEST = 300
_LARGEST = 65507


class PacketError(BridleError):
    """Bytes that are no DHCP message."""


class MessageType4(IntEnum):
    """Option 53."""

    DISCOVER = 1
    OFFER = 2
    REQUEST = 3
    DECLINE = 4
    ACK = 5
    NAK = 6
    RELEASE = 7
    INFORM = 8


class Packet4(msgspec.Struct, gc=False):
    """A DHCPv4 message. Addresses are unsigned integers. ``options`` are by code, in order, those that came
    in several parts joined; pad and end are not among them."""

    op: int
    htype: int
    hlen: int
    hops: int
    xid: int
    secs: int
    flags: int
    ciaddr: int
    yiaddr: int
    siaddr: int
    giaddr: int
    chaddr: bytes
    """As long as ``hlen`` says."""
    sname: bytes
    file: bytes
    """Both without their trailing zeros."""
    options: dict[int, bytes]


def decode4(data: bytes) -> Packet4:
    """Read a message.

    Raises:
        PacketError: it is too short, has no magic cookie, a hardware address of more than 16 bytes, or an
            option that is longer than what is left.
    """
    if len(data) < _HEAD.size:
        raise PacketError(f"too short for a DHCPv4 message: {len(data)} bytes, at least {_HEAD.size}")
    op, htype, hlen, hops, xid, secs, flags, ci, yi, si, gi, chaddr, sname, file, cookie = _HEAD.unpack_from(
        data
    )
    if cookie != _COOKIE:
        raise PacketError(f"no DHCP magic cookie, but {cookie.hex()}")
    if hlen > _HARDWARE_LIMIT:
        raise PacketError(f"a hardware address of {hlen} bytes, at most {_HARDWARE_LIMIT}")
    options: dict[int, bytes] = {}
    _read_options(data, _HEAD.size, options)
    if _OVERLOAD in options:
        overload = options.pop(_OVERLOAD)[:1]
        # RFC 3396 §5: the options of the file field come before those of the server name.
        if overload in (b"\1", b"\3"):
            _read_options(file, 0, options)
            file = b""
        if overload in (b"\2", b"\3"):
            _read_options(sname, 0, options)
            sname = b""
    return Packet4(
        op,
        htype,
        hlen,
        hops,
        xid,
        secs,
        flags,
        ci,
        yi,
        si,
        gi,
        chaddr[:hlen],
        sname.rstrip(b"\0"),
        file.rstrip(b"\0"),
        options,
    )


def _read_options(data: bytes, position: int, options: dict[int, bytes]) -> None:
    end = len(data)
    while position < end:
        code = data[position]
        if code == 255:
            return
        if code == 0:
            position += 1
            continue
        try:
            after = position + 2 + data[position + 1]
        except IndexError:
            raise PacketError(f"option {code} is cut short") from None
        if after > end:
            raise PacketError(f"option {code} is cut short")
        value = data[position + 2 : after]
        if code in options:
            value = options[code] + value
        options[code] = value
        position = after


def encode4(packet: Packet4) -> bytes:
    """Write a message: the message type first, then the options in their order, long ones in parts.

    Raises:
        PacketError: the options do not fit one datagram.
    """
    parts = [
        _HEAD.pack(
            packet.op,
            packet.htype,
            packet.hlen,
            packet.hops,
            packet.xid,
            packet.secs,
            packet.flags,
            packet.ciaddr,
            packet.yiaddr,
            packet.siaddr,
            packet.giaddr,
            packet.chaddr,
            packet.sname,
            packet.file,
            _COOKIE,
        )
    ]
    for code, value in packet.options.items():
        length = len(value)
        if length <= _OPTION_LIMIT:
            parts.append(b"%c%c%b" % (code, length, value))
        else:
            for start in range(0, length, _OPTION_LIMIT):
                part = value[start : start + _OPTION_LIMIT]
                parts.append(b"%c%c%b" % (code, len(part), part))
    parts.append(b"\xff")
    data = b"".join(parts)
    if len(data) > _LARGEST:
        raise PacketError(f"the options do not fit one datagram: {len(data)} bytes")
    return data if len(data) >= _SHORTEST else data.ljust(_SHORTEST, b"\0")
