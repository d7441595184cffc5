"""DHCPv4 messages: bytes ↔ :class:`Packet4` (RFC 2131, 2132, 3396)."""

from __future__ import annotations

import msgspec

from bridle.core.errors import BridleError

__all__ = ["Packet4", "PacketError"]


class PacketError(BridleError):
    """Bytes that are no DHCP message."""


class Packet4(msgspec.Struct, gc=False):
    """A DHCPv4 message. Addresses are unsigned integers. ``options`` are by code, in order, those that came in
    several parts joined; pad and end are not among them."""

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
