"""DHCPv6 messages: bytes ↔ :class:`Message6`, with the relays they came through (RFC 8415)."""

from __future__ import annotations

import msgspec

__all__ = ["Message6", "Relay6"]


class Message6(msgspec.Struct, gc=False):
    """A DHCPv6 message of a client or a server. ``transaction`` is a 24-bit number. ``options`` are (code, data)
    in order, as the same code may come several times."""

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
