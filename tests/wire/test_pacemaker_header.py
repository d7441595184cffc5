"""Pacemaker's header in both layouts, messages that are compressed or in parts, and what is none."""

from __future__ import annotations

import bz2
import struct

import pytest

from bridle.core.errors import LocalProtocolError, RemoteProtocolError
from bridle.wire.pacemaker_header import (
    BUFFER_SIZE,
    HEADER_SIZE,
    TEXT_LIMIT,
    Flags,
    Layout,
    Message,
    MessageReader,
    encode_message,
    encode_probe,
)

ACK = b'<ack function="handle_ping_request" line="52" status="112"/>'
LARGE = b"<cib>" + bytes(range(0x20, 0x7F)) * 8000 + b"</cib>"


def read_all(pieces: list[bytes], reader: MessageReader | None = None) -> Message:
    reader = reader or MessageReader()
    found = [reader.receive(piece) for piece in pieces]
    assert found[:-1] == [None] * (len(found) - 1)
    assert found[-1] is not None
    return found[-1]


def test_an_acknowledgement_in_the_older_layout() -> None:
    head = bytes.fromhex(
        "01000000 00000000 65000000 00000000 00000000 00000000 3d000000 00000000 00020200 01000000"
    )
    message = Message(1, Flags.SERVER_FREE | Flags.CLIENT_RESPONSE, ACK, Layout.V2)
    assert encode_message(message) == [head + ACK + b"\0"]
    assert MessageReader().receive(head + ACK + b"\0") == message


def test_an_acknowledgement_in_the_newer_layout() -> None:
    head = bytes.fromhex(
        "01000000 00000000 65000000 00000000 00000000 00000000 3d000000 00020200 01000000 00000000"
    )
    message = Message(1, Flags.SERVER_FREE | Flags.CLIENT_RESPONSE, ACK, Layout.V3)
    assert encode_message(message) == [head + ACK + b"\0"]
    assert MessageReader().receive(head + ACK + b"\0") == message


def test_a_probe_is_what_both_layouts_take_for_theirs() -> None:
    probe = encode_probe(7, b"<a/>")
    assert probe == struct.pack("=i4xi4xi4xI12x", 7, 45, 0, 5) + b"<a/>\0"
    assert MessageReader().receive(probe) == Message(7, 0, b"<a/>", Layout.NEUTRAL)


def test_ids_are_unsigned() -> None:
    for layout in Layout:
        message = Message(0xFFFFFFFE, 0, b"<a/>", layout)
        assert read_all(encode_message(message)) == message


def test_what_is_too_large_for_the_buffer_is_compressed_in_the_older_layout() -> None:
    message = Message(3, Flags.CLIENT_RESPONSE, LARGE, Layout.V2)
    (piece,) = encode_message(message)
    assert len(piece) < BUFFER_SIZE
    _, _, _, size, packed, flags, version = struct.unpack_from("=i4xi4xi4xIIIB", piece)
    assert (size, packed, version) == (len(LARGE) + 1, len(piece) - HEADER_SIZE, 1)
    assert flags == Flags.CLIENT_RESPONSE | Flags.COMPRESSED
    assert bz2.decompress(piece[HEADER_SIZE:]) == LARGE + b"\0"
    assert read_all([piece]) == message


def test_the_largest_that_is_not_compressed() -> None:
    fits = b"x" * (BUFFER_SIZE - HEADER_SIZE - 2)
    assert encode_message(Message(1, 0, fits))[0][HEADER_SIZE:] == fits + b"\0"
    assert encode_message(Message(1, 0, fits + b"x"))[0][HEADER_SIZE:].startswith(b"BZh")


def test_what_is_too_large_even_compressed_is_refused() -> None:
    noise = b"".join(struct.pack(">Q", (n * 0x9E3779B97F4A7C15) % 2**64).hex().encode() for n in range(60000))
    with pytest.raises(LocalProtocolError, match="do not fit a buffer of 131072"):
        encode_message(Message(1, 0, noise, Layout.V2))
    assert read_all(encode_message(Message(1, 0, noise, Layout.V3))).text == noise


def test_what_is_too_large_for_the_buffer_goes_in_parts_in_the_newer_layout() -> None:
    message = Message(9, Flags.SERVER_FREE, LARGE, Layout.V3)
    pieces = encode_message(message)
    room = BUFFER_SIZE - HEADER_SIZE - 1
    assert [len(piece) for piece in pieces[:-1]] == [BUFFER_SIZE] * (len(LARGE) // room)
    heads = [struct.unpack_from("=i4xi4xi4xIIBxH", piece) for piece in pieces]
    assert [head[6] for head in heads] == list(range(len(pieces)))
    multipart = Flags.SERVER_FREE | Flags.MULTIPART
    assert {head[4] for head in heads[:-1]} == {multipart}
    assert heads[-1][4] == multipart | Flags.MULTIPART_END
    assert all(
        piece[-1] == 0 and head[3] == len(piece) - HEADER_SIZE
        for piece, head in zip(pieces, heads, strict=True)
    )
    assert read_all(pieces) == message


def test_the_largest_that_goes_in_one_part() -> None:
    fits = b"x" * (BUFFER_SIZE - HEADER_SIZE - 1)
    assert len(encode_message(Message(1, 0, fits, Layout.V3))) == 1
    assert len(encode_message(Message(1, 0, fits + b"x", Layout.V3))) == 2


def test_a_missing_part_is_an_error_and_the_next_message_is_none() -> None:
    pieces = encode_message(Message(9, 0, LARGE, Layout.V3))
    reader = MessageReader()
    reader.receive(pieces[0])
    assert not reader.empty
    with pytest.raises(RemoteProtocolError, match="part 1 of a message is missing"):
        reader.receive(pieces[2])
    assert read_all(pieces, reader).text == LARGE


def test_a_message_in_between_parts_is_an_error() -> None:
    pieces = encode_message(Message(9, 0, LARGE, Layout.V3))
    reader = MessageReader()
    reader.receive(pieces[0])
    with pytest.raises(RemoteProtocolError, match="was not finished"):
        reader.receive(encode_message(Message(1, 0, b"<a/>"))[0])


def test_what_says_that_it_unpacks_to_more_than_the_limit_is_not_unpacked() -> None:
    head = struct.pack("=i4xi4xi4xIIIB3x", 1, 140, 0, TEXT_LIMIT + 1, 100, 1, 1)
    with pytest.raises(RemoteProtocolError, match="too large"):
        MessageReader().receive(head + b"x" * 100)


def test_what_unpacks_to_more_than_it_says_is_refused() -> None:
    bomb = bz2.compress(b"x" * 1_000_000)
    head = struct.pack("=i4xi4xi4xIIIB3x", 1, 40 + len(bomb), 0, 100, len(bomb), 1, 1)
    with pytest.raises(RemoteProtocolError, match="100 bytes of text were announced, 101 came"):
        MessageReader().receive(head + bomb)


def test_parts_that_come_to_more_than_the_limit_are_refused() -> None:
    pieces = encode_message(Message(9, 0, LARGE, Layout.V3))
    reader = MessageReader(limit=200_000)
    reader.receive(pieces[0])
    with pytest.raises(RemoteProtocolError, match="too large"):
        reader.receive(pieces[1])


@pytest.mark.parametrize(
    "data",
    [
        b"",
        bytes(40),
        bytes(41),
        struct.pack("=i4xi4xi4xIIIB3x", 1, 45, 0, 5, 0, 0, 1) + b"<a/>",
        struct.pack("=i4xi4xi4xIIIB3x", 1, 45, 0, 4, 0, 0, 1) + b"<a/>\0",
        struct.pack("=i4xi4xi4xIIIB3x", 1, 45, 0, 5, 5, 1, 1) + b"<a/>\0",
        struct.pack("=i4xi4xi4xIIIB3x", 1, 45, 0, 5, 0, 0, 1) + b"<a/>x",
        struct.pack("=i4xi4xi4xIIIB3x", 1, 45, 0, 5, 0, 0, 2) + b"<a/>\0",
        struct.pack("=i4xi4xi4xIIBxH4x", 1, 45, 0, 4, 0, 1, 0) + b"<a/>\0",
    ],
)
def test_what_is_no_message(data: bytes) -> None:
    with pytest.raises(RemoteProtocolError):
        MessageReader().receive(data)
