"""BINRPC's packets: a header, a cookie, a body of records (``facts/kamailio.md`` §1.1)."""

from __future__ import annotations

import msgspec

from bridle.core.errors import RemoteProtocolError

__all__ = [
    "ANSWER_LIMIT",
    "FAULT",
    "MAGIC",
    "MINIMUM",
    "REPLY",
    "REQUEST",
    "REQUEST_LIMIT",
    "Packet",
    "PacketReader",
    "encode_packet",
]

MAGIC = 0xA1
REQUEST, REPLY, FAULT = 0, 1, 3
# Bytes of the shortest header.
MINIMUM = 4
# Bytes of one request's body. Kamailio takes 65535 with the header and drops what is longer; a configuration
# is longer. The same as of the kea dialect.
REQUEST_LIMIT = 32 * 1024 * 1024
# Bytes of one answer's body that a client takes.
ANSWER_LIMIT = 512 * 1024 * 1024


class Packet(msgspec.Struct, frozen=True):
    """One message."""

    kind: int
    cookie: int
    body: bytes


def encode_packet(kind: int, cookie: int, body: bytes) -> bytes:
    """Write a packet: length and cookie in as few bytes as they fit."""
    size = len(body)
    if size < 256 and cookie < 256:
        return bytes((MAGIC, kind << 4, size, cookie)) + body
    length_bytes = (size.bit_length() + 7) // 8 or 1
    cookie_bytes = (cookie.bit_length() + 7) // 8 or 1
    return b"".join(
        (
            bytes((MAGIC, kind << 4 | (length_bytes - 1) << 2 | (cookie_bytes - 1))),
            size.to_bytes(length_bytes, "big"),
            cookie.to_bytes(cookie_bytes, "big"),
            body,
        )
    )


class PacketReader:
    """Cuts what a server sends into packets."""

    def __init__(self, limit: int = ANSWER_LIMIT) -> None:
        self._limit = limit
        self._data = bytearray()
        self._needed = MINIMUM

    @property
    def empty(self) -> bool:
        """True between two packets."""
        return not self._data

    def receive(self, data: bytes) -> list[Packet]:
        """Take bytes; give the packets they complete.

        Raises:
            RemoteProtocolError: this is no packet, or too long a one.
        """
        held = self._data
        held += data
        packets: list[Packet] = []
        position = 0
        while len(held) - position >= self._needed:
            packet, position = self._next(position)
            if packet is not None:
                packets.append(packet)
        if position:
            del held[:position]
        return packets

    def _next(self, position: int) -> tuple[Packet | None, int]:
        held = self._data
        if held[position] != MAGIC:
            shown = bytes(held[position : position + 16])
            raise RemoteProtocolError("this is no BINRPC: corrupted packet", shown)
        sizes = held[position + 1] & 0x0F
        lengths = (sizes >> 2) + 1
        start = position + 2 + lengths
        body = start + (sizes & 3) + 1
        self._needed = body - position
        if len(held) < body:
            return None, position
        size = int.from_bytes(held[position + 2 : start], "big")
        if size > self._limit:
            raise RemoteProtocolError(f"the answer has {size} bytes, and at most {self._limit} are taken")
        end = body + size
        self._needed = end - position
        if len(held) < end:
            return None, position
        self._needed = MINIMUM
        cookie = int.from_bytes(held[start:body], "big")
        return Packet(held[position + 1] >> 4, cookie, bytes(held[body:end])), end
