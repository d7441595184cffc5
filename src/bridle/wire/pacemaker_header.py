"""Pacemaker's own header in front of the XML of a message (``facts/pacemaker.md`` §2).

There are two layouts, both of 40 bytes and both "version 1", and a side that takes one for the other does not
notice; it merely never answers. :class:`Layout` has them. ``id``, ``size`` and ``error`` are libqb's own and
stand at the same place in both.

What is larger than the buffer is compressed in the older layout, and sent in parts in the newer one.
"""

from __future__ import annotations

import bz2
import enum
import struct

from msgspec import Struct

from bridle.core.errors import LocalProtocolError, RemoteProtocolError

__all__ = [
    "BUFFER_SIZE",
    "HEADER_SIZE",
    "TEXT_LIMIT",
    "Flags",
    "Layout",
    "Message",
    "MessageReader",
    "encode_message",
    "encode_probe",
]

HEADER_SIZE = 40
"""Bytes of a header, in both layouts."""

BUFFER_SIZE = 131072
"""Bytes of the largest message as it travels, its header included: Pacemaker's default, and always that of
3.0.1 and later."""

TEXT_LIMIT = 32 * 1024 * 1024
"""Bytes of the text of one message, however it travelled: as of the ``kea`` dialect. The largest CIBs known
are some megabytes; what says that it unpacks to more is not unpacked."""

_OLD = struct.Struct("=i4xi4xi4xIIIB3x")
_NEW = struct.Struct("=i4xi4xi4xIIBxH4x")
_PROBE = struct.Struct("=i4xi4xi4xI12x")
_VERSION = 1
_OLD_VERSION_AT = 36
_NEW_VERSION_AT = 32
# Pacemaker's own choice (its CRM_BZ2_BLOCKS).
_COMPRESS_LEVEL = 4
# The number of a part has 16 bits.
_PARTS_LIMIT = 1 << 16


class Layout(enum.IntEnum):
    """Where the fields of a header stand: ``V2`` up to Pacemaker 3.0.0, ``V3`` from 3.0.1 on.

    ``NEUTRAL`` is a message that both take for one of theirs: without flags, of version 0. It is how a
    client asks a server which one it speaks (:func:`encode_probe`).
    """

    NEUTRAL = 0
    V2 = 2
    V3 = 3


class Flags(enum.IntFlag):
    """What a message is. Two bits mean one thing in the older layout, another in the newer one."""

    NONE = 0
    COMPRESSED = 0x1
    PROXIED = 0x100
    CLIENT_RESPONSE = 0x200
    SERVER_EVENT = 0x10000
    SERVER_FREE = 0x20000
    PROXIED_RELAY_RESPONSE = 0x40000
    MULTIPART = 0x80000
    MULTIPART_END = 0x100000
    SERVER_INFO = 0x100000
    SERVER_ERROR = 0x200000


_MULTIPART = int(Flags.MULTIPART)
_MULTIPART_END = int(Flags.MULTIPART_END)
_COMPRESSED = int(Flags.COMPRESSED)


class Message(Struct, frozen=True):
    """One message: its id, its flags without those that say how it travelled, and its text.

    ``text`` is UTF-8 without the NUL that ends it on the wire. ``id`` is an unsigned 32-bit number.
    """

    id: int
    flags: int
    text: bytes
    layout: Layout = Layout.V2
    error: int = 0


def encode_message(message: Message, *, limit: int = BUFFER_SIZE) -> list[bytes]:
    """The datagrams or ring chunks of a message, in the layout that it names: one, or in ``V3`` as many as
    it takes.

    ``limit`` is the largest, in bytes: a client's is what was agreed on when it connected.

    Raises:
        LocalProtocolError: the text is too large, even compressed.
    """
    text = message.text + b"\0"
    if len(text) > TEXT_LIMIT:
        raise LocalProtocolError(f"the message is too large: at most {TEXT_LIMIT} bytes are sent")
    if message.layout is Layout.V3:
        return _in_parts(message, text, limit)
    if message.layout is Layout.NEUTRAL:
        return [_PROBE.pack(_signed(message.id), HEADER_SIZE + len(text), message.error, len(text)) + text]
    return [_compressed_if_large(message, text, limit)]


def encode_probe(number: int, text: bytes) -> bytes:
    """A request that daemons of either layout understand alike. Its answer comes as an event, in the layout
    of the server."""
    return encode_message(Message(number, 0, text, Layout.NEUTRAL))[0]


def _compressed_if_large(message: Message, text: bytes, limit: int) -> bytes:
    size, packed, flags, payload = len(text), 0, message.flags, text
    if HEADER_SIZE + size >= limit:
        payload = bz2.compress(text, _COMPRESS_LEVEL)
        packed, flags = len(payload), flags | _COMPRESSED
        if HEADER_SIZE + packed >= limit:
            raise LocalProtocolError(
                f"the message is too large: {size} bytes, {packed} compressed, do not fit a buffer of {limit}"
            )
    whole = HEADER_SIZE + len(payload)
    head = _OLD.pack(_signed(message.id), whole, message.error, size, packed, flags, _VERSION)
    return head + payload


def _in_parts(message: Message, text: bytes, limit: int) -> list[bytes]:
    if HEADER_SIZE + len(text) <= limit:
        return [_part(message, text, message.flags, 0)]
    room = limit - HEADER_SIZE - 1
    body = memoryview(text)[:-1]
    starts = range(0, len(body), room)
    if len(starts) > _PARTS_LIMIT:
        raise LocalProtocolError(f"the message is too large: it would take {len(starts)} parts")
    last = len(starts) - 1
    return [
        _part(
            message,
            bytes(body[start : start + room]) + b"\0",
            message.flags | _MULTIPART | (_MULTIPART_END if index == last else 0),
            index,
        )
        for index, start in enumerate(starts)
    ]


def _part(message: Message, payload: bytes, flags: int, index: int) -> bytes:
    whole = HEADER_SIZE + len(payload)
    return (
        _NEW.pack(_signed(message.id), whole, message.error, len(payload), flags, _VERSION, index) + payload
    )


def _signed(number: int) -> int:
    number &= 0xFFFFFFFF
    return number - (1 << 32) if number >= 1 << 31 else number


class MessageReader:
    """Reads the messages of one direction of a connection, and puts those in parts together.

    Layouts may change from one message to the next: each says its own.
    """

    def __init__(self, *, limit: int = TEXT_LIMIT) -> None:
        self._limit = limit
        self._parts: list[bytes] = []
        self._held = 0
        self._id = 0

    def receive(self, data: bytes) -> Message | None:
        """Take what one ring chunk or datagram holds; None where more parts are to come.

        Raises:
            RemoteProtocolError: it is no message, a part is missing, or it unpacks to more than the limit.
        """
        if len(data) <= HEADER_SIZE:
            raise RemoteProtocolError(f"a message of {len(data)} bytes is none", data[:HEADER_SIZE])
        if data[_OLD_VERSION_AT] == _VERSION:
            self._expect_no_parts(data)
            return self._old(data)
        if data[_OLD_VERSION_AT]:
            raise RemoteProtocolError(
                f"unknown version {data[_OLD_VERSION_AT]} of the header", data[:HEADER_SIZE]
            )
        if data[_NEW_VERSION_AT] == _VERSION:
            return self._new(data)
        return self._neutral(data)

    @property
    def empty(self) -> bool:
        """True while no message is half there."""
        return not self._parts

    def _expect_no_parts(self, data: bytes) -> None:
        if self._parts:
            self._parts.clear()
            raise RemoteProtocolError("a message in parts was not finished", data[:HEADER_SIZE])

    def _old(self, data: bytes) -> Message:
        number, whole, error, size, packed, flags, _ = _OLD.unpack_from(data)
        _check_size(data, whole)
        payload = data[HEADER_SIZE:]
        if size > self._limit:
            raise RemoteProtocolError(f"a message of {size} bytes is too large", data[:HEADER_SIZE])
        if packed:
            if packed != len(payload):
                raise RemoteProtocolError("a compressed message is not whole", data[:HEADER_SIZE])
            payload = _unpack(payload, size)
        if len(payload) != size:
            raise RemoteProtocolError(
                f"{size} bytes of text were announced, {len(payload)} came", data[:HEADER_SIZE]
            )
        return Message(number & 0xFFFFFFFF, flags & ~_COMPRESSED, _without_nul(payload), Layout.V2, error)

    def _new(self, data: bytes) -> Message | None:
        number, whole, error, size, flags, _, index = _NEW.unpack_from(data)
        _check_size(data, whole)
        if size != len(data) - HEADER_SIZE:
            raise RemoteProtocolError("a message's two sizes differ", data[:HEADER_SIZE])
        payload = data[HEADER_SIZE:]
        number &= 0xFFFFFFFF
        if not flags & _MULTIPART:
            self._expect_no_parts(data)
            return Message(number, flags, _without_nul(payload), Layout.V3, error)
        self._hold(data, number, index, _without_nul(payload))
        if not flags & _MULTIPART_END:
            return None
        text = b"".join(self._parts)
        self._parts.clear()
        return Message(number, flags & ~(_MULTIPART | _MULTIPART_END), text, Layout.V3, error)

    def _hold(self, data: bytes, number: int, index: int, payload: bytes) -> None:
        if index != len(self._parts) or (index and number != self._id):
            expected = len(self._parts)
            self._parts.clear()
            raise RemoteProtocolError(f"part {expected} of a message is missing", data[:HEADER_SIZE])
        self._held = self._held + len(payload) if index else len(payload)
        if self._held >= self._limit:
            self._parts.clear()
            raise RemoteProtocolError(f"a message of {self._held} bytes is too large", data[:HEADER_SIZE])
        self._id = number
        self._parts.append(payload)

    def _neutral(self, data: bytes) -> Message:
        self._expect_no_parts(data)
        number, whole, error, size = _PROBE.unpack_from(data)
        _check_size(data, whole)
        if any(data[28:HEADER_SIZE]) or size != len(data) - HEADER_SIZE:
            raise RemoteProtocolError("a header of no known layout", data[:HEADER_SIZE])
        return Message(number & 0xFFFFFFFF, 0, _without_nul(data[HEADER_SIZE:]), Layout.NEUTRAL, error)


def _check_size(data: bytes, whole: int) -> None:
    if whole != len(data):
        raise RemoteProtocolError(f"a message of {whole} bytes has {len(data)}", data[:HEADER_SIZE])


def _unpack(payload: bytes, size: int) -> bytes:
    unpacker = bz2.BZ2Decompressor()
    try:
        # No more than was announced, and one to see whether there is more.
        return unpacker.decompress(payload, size + 1)
    except (OSError, ValueError, EOFError) as error:
        raise RemoteProtocolError(f"a message cannot be decompressed: {error}", payload[:64]) from error


def _without_nul(payload: bytes) -> bytes:
    if payload[-1:] != b"\0" or payload.find(b"\0") != len(payload) - 1:
        raise RemoteProtocolError("a message's text does not end where its NUL stands", payload[:64])
    return payload[:-1]
