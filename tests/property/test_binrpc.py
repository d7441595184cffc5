"""What holds in Kamailio's dialects for every value, and for all bytes in whatever pieces."""

from __future__ import annotations

import struct
from collections.abc import Sequence

from hypothesis import example, given, settings
from hypothesis import strategies as st

import bridle
from bridle.core.errors import RemoteProtocolError
from bridle.core.messages import Command, Response
from bridle.server.ctl import Ctl
from bridle.wire.binrpc import BinrpcServer
from bridle.wire.binrpc_client import BinrpcClient
from bridle.wire.binrpc_packets import FAULT, REPLY, REQUEST_LIMIT, PacketReader, encode_packet
from bridle.wire.binrpc_records import (
    Array,
    RecordError,
    Struct,
    Value,
    decode_records,
    encode_records,
    json_of,
)
from bridle.wire.dialect import Message, Refusal
from bridle.wire.fifo import FifoClient, FifoServer
from bridle.wire.kamailio_settings import KamailioSettings

EXAMPLES = settings(max_examples=200, deadline=None)

text = st.text(st.characters(exclude_categories=["Cs"]), max_size=300)
scalars: st.SearchStrategy[Value] = (
    st.integers(-(1 << 31), (1 << 31) - 1)
    | st.integers(-(1 << 50), 1 << 50).map(lambda number: number / 1000)
    | text
    | st.binary(max_size=300)
)
# Kamailio's parser takes no array as a member's value.
members = st.recursive(
    scalars,
    lambda inner: st.lists(st.tuples(st.none() | text, inner), max_size=4).map(
        lambda items: Struct(tuple(items))
    ),
    max_leaves=12,
)
values = members | st.lists(members, max_size=4).map(lambda items: Array(tuple(items)))


def cut(data: bytes, at: Sequence[int]) -> list[bytes]:
    """The same bytes in pieces; a single place, 10,000, stands for single bytes."""
    if at == [10_000]:
        return [data[i : i + 1] for i in range(len(data))]
    ends = sorted({place % (len(data) + 1) for place in at} | {len(data)})
    return [data[start:end] for start, end in zip([0, *ends], ends, strict=False)]


places = st.lists(st.integers(0, 10_000), max_size=8)


@EXAMPLES
@given(st.lists(values, max_size=5))
@example([2.999, 1.001, -1.5, 0.0, 123456789.987, 9007199254740.99])
@example([0, 1, 255, 256, 65535, 65536, -1, -(1 << 31), (1 << 31) - 1])
@example(["", "abcdef", "abcdefg", "x" * 254, "x" * 255, "x" * 65535, "a\0b"])
def test_a_value_that_is_written_reads_as_itself(written: list[Value]) -> None:
    data = encode_records(written)
    assert decode_records(data) == written
    assert encode_records(decode_records(data)) == data


@EXAMPLES
@given(st.integers())
def test_integers_of_any_width_keep_their_value_or_become_text(number: int) -> None:
    (read,) = decode_records(encode_records([number]))
    assert json_of(read) == number if abs(number) * 1000 < 1 << 53 else True
    assert isinstance(read, int | float | str)
    if not isinstance(read, float):
        assert int(read) == number


@EXAMPLES
@given(st.binary(max_size=200))
@example(bytes.fromhex("c1ffffffff"))
@example(bytes.fromhex("c0fffffff0"))
@example(b"\x03" * 200)
def test_any_bytes_are_records_or_an_error_that_says_where(data: bytes) -> None:
    found: RecordError | None = None
    try:
        read = decode_records(data)
    except RecordError as error:
        found, read = error, error.values
    assert decode_records(encode_records(read)) == read
    assert found is None or (found.reason and 0 <= found.position <= len(data))


def outcome(data: Sequence[bytes]) -> tuple[list[tuple[object, ...]], bool]:
    """What a server makes of bytes in pieces, and whether it ends the conversation."""
    server = BinrpcServer()
    told: list[tuple[object, ...]] = []
    for piece in data:
        told += [_told(message) for message in server.receive(piece)]
    server.receive_eof()
    return told, server.closing


def _told(message: Message) -> tuple[object, ...]:
    if isinstance(message, Refusal):
        return ("refused", message.data)
    return (message.name, message.tag)


def fault(cookie: int, words: str) -> tuple[object, ...]:
    """A refusal as the facts have it."""
    return ("refused", encode_packet(FAULT, cookie, encode_records([400, words])))


def expected(data: bytes) -> tuple[list[tuple[object, ...]], bool]:
    """What ``facts/kamailio.md`` §1.4 says about bytes, read in another way than the server's."""
    told: list[tuple[object, ...]] = []
    while len(data) >= 4:
        kind, sizes = data[1] >> 4, data[1] & 15
        if data[0] != 0xA1 or kind not in (0, 1, 3):
            return [*told, fault(0, "bad request: corrupted packet")], True
        lengths, cookies = (sizes >> 2) + 1, (sizes & 3) + 1
        start = 2 + lengths + cookies
        size = int.from_bytes(data[2 : 2 + lengths], "big")
        cookie = int.from_bytes(data[2 + lengths : start], "big")
        if len(data) < start:
            break
        if size > REQUEST_LIMIT:
            return [*told, fault(cookie, f"bad request: {size} bytes, and at most 33554432 are taken")], True
        if len(data) < start + size:
            break
        body, data = data[start : start + size], data[start + size :]
        if kind:
            return [*told, fault(cookie, "bad request: corrupted packet")], True
        name, reason = method(body)
        if reason:
            return [*told, fault(cookie, f"bad request method: {reason}")], True
        told.append((name, cookie))
    return told, False


def method(body: bytes) -> tuple[str, str]:
    """The method that a body names, or why it names none."""
    if not body:
        return "", "end of packet encountered"
    if body[0] & 15 != 1:
        return "", "record doesn't match type"
    size, start = body[0] >> 4, 1
    if size & 8:
        start += size & 7
        size = int.from_bytes(body[1:start], "big")
    if len(body) < start + size:
        return "", "more data needed"
    return body[start : start + size].split(b"\0")[0].decode("utf-8", "surrogateescape"), ""


requests = st.builds(
    lambda name, arguments, cookie: encode_packet(0, cookie, encode_records([name, *arguments])),
    st.sampled_from(["core.echo", "core.prints", "core.printi", "ctl.who", "no.such", ""]) | text,
    st.lists(values, max_size=4),
    st.integers(0, 0xFFFFFFFF),
)
broken = st.builds(
    lambda data, at, byte: data[: at % len(data)] + bytes([byte]) + data[at % len(data) + 1 :],
    requests,
    st.integers(0, 400),
    st.integers(0, 255),
)
headers = st.builds(
    lambda magic, kind, sizes, rest: struct.pack("BB", magic, kind << 4 | sizes) + rest,
    st.sampled_from([0xA1, 0xA1, 0xA1, 0xA2, 0xB1, 0x00]),
    st.integers(0, 15),
    st.integers(0, 15),
    st.binary(max_size=24),
)
conversations = st.lists(requests | broken | headers | st.binary(max_size=12), max_size=5).map(b"".join)


@EXAMPLES
@given(conversations, places)
@example(b"GET / HTTP/1.0\r\n\r\n", [])
@example(bytes.fromhex("a10cfffffff005910a636f72652e6563686f00"), [])
@example(bytes.fromhex("a10cffffffff05910a636f72652e6563686f00"), [10_000])
def test_any_bytes_in_any_pieces_get_what_the_facts_say(data: bytes, at: list[int]) -> None:
    assert outcome([data]) == expected(data)
    assert outcome(cut(data, at)) == expected(data)


CTL = Ctl(bridle.CommandManager(), "fuzzed", "1", 0.0, list)
MANAGER = bridle.CommandManager()


@EXAMPLES
@given(st.lists(requests | broken, min_size=1, max_size=4).map(b"".join), st.booleans())
def test_every_request_is_answered_by_one_packet_with_its_cookie(data: bytes, conversion: bool) -> None:
    server = BinrpcServer(settings=KamailioSettings(autoconversion=conversion))
    reader = PacketReader()
    for message in server.receive(data):
        if isinstance(message, Refusal):
            answer, cookie = message.data, None
        else:
            response = MANAGER.process_command(message, CTL.definitions)
            assert isinstance(response, Response)
            answer, cookie = server.respond(message, response), message.tag
        (packet,) = reader.receive(answer)
        assert packet.kind in (REPLY, FAULT)
        assert cookie in (None, packet.cookie)
        records = decode_records(packet.body, errors="surrogateescape")
        if packet.kind == FAULT:
            assert [type(record) for record in records] == [int, str]


@EXAMPLES
@given(st.binary(max_size=64) | conversations, places)
def test_a_client_takes_any_bytes_for_answers_or_for_an_error(data: bytes, at: list[int]) -> None:
    client = BinrpcClient()
    for _ in range(3):
        client.request(Command("core.echo"))
    try:
        answers = [answer for piece in cut(data, at) for answer in client.receive(piece)]
        client.receive_eof()
    except RemoteProtocolError:
        return
    assert all(isinstance(answer, Response) for answer in answers)


lines = st.lists(
    st.sampled_from(
        [b":core.prints:", b"\n", b"\r\n", b"\n\n", b"a:5,b:x", b"\\n", b"\\x", b":", b"::::", b"\xff"]
    )
    | st.binary(max_size=8),
    max_size=20,
).map(b"".join)


@EXAMPLES
@given(lines, places)
def test_any_text_in_any_pieces_is_the_same_requests(data: bytes, at: list[int]) -> None:
    def taken(pieces: Sequence[bytes]) -> list[tuple[object, ...]]:
        server = FifoServer()
        return [_told(message) for piece in pieces for message in server.receive(piece)]

    assert taken(cut(data, at)) == taken([data])


@EXAMPLES
@given(lines)
def test_every_text_request_is_answered(data: bytes) -> None:
    server = FifoServer()
    for message in server.receive(data):
        if isinstance(message, Refusal):
            answer = message.data
        else:
            response = MANAGER.process_command(message, CTL.definitions)
            assert isinstance(response, Response)
            answer = server.respond(message, response)
        client = FifoClient()
        client.request(Command("x"))
        assert client.receive(answer) == ()
        assert len(client.receive_eof()) == 1


@EXAMPLES
@given(st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=20), max_size=5))
def test_strings_come_through_the_text_protocol_unharmed(strings: list[str]) -> None:
    while strings and not strings[-1]:
        strings.pop()  # an empty line at the end is the end
    strings = [string or "-" for string in strings]
    client, server = FifoClient(), FifoServer()
    (command,) = server.receive(client.request(Command("core.prints", list(strings))))
    assert isinstance(command, Command)
    response = MANAGER.process_command(command, CTL.definitions)
    assert isinstance(response, Response)
    client.receive(server.respond(command, response))
    (answer,) = client.receive_eof()
    assert answer.value == (None if not strings else strings[0] if len(strings) == 1 else strings)
