"""libqb's handshake, messages and rings, as they stand on the wire and in memory."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bridle.core.errors import RemoteProtocolError
from bridle.wire.libqb import (
    MESSAGE_LIMIT,
    PATH_BYTES,
    REQUEST_BYTES,
    RESPONSE_BYTES,
    SMALLEST_MESSAGE,
    Channel,
    ConnectionResponse,
    Transport,
    check_message,
    decode_path,
    decode_request,
    decode_response,
    encode_path,
    encode_request,
    encode_response,
    free_bytes,
    ring_bytes,
    state_bytes,
)
from tests.support.hexdump import sections

CAPTURE = sections(Path(__file__).parent.parent / "vectors" / "pacemaker-shm-ping.hex.txt.gz")
REQUEST = CAPTURE["--- C>S setup (24 bytes)"][0]
RESPONSE = CAPTURE["--- S>C setup (12328 bytes)"][0]
PAGE = 4096


def test_the_captured_connection_request_decodes_and_encodes_to_itself() -> None:
    assert decode_request(REQUEST) == 128 * 1024
    assert encode_request(128 * 1024) == REQUEST


def test_the_captured_connection_response_decodes_and_encodes_to_itself() -> None:
    response = decode_response(RESPONSE)
    assert (response.error, response.transport, response.max_message) == (0, Transport.SHM, 128 * 1024)
    assert response.request == "/dev/shm/qb-5243-5356-7-dbNms8/qb-request-pacemakerd"
    assert response.response == "/dev/shm/qb-5243-5356-7-dbNms8/qb-response-pacemakerd"
    assert response.event == "/dev/shm/qb-5243-5356-7-dbNms8/qb-event-pacemakerd"
    assert encode_response(response) == RESPONSE


@pytest.mark.parametrize("error", [1, 11, 13, 111])
def test_a_refusal_carries_its_error_number(error: int) -> None:
    data = encode_response(ConnectionResponse(error))
    assert decode_response(data).error == error
    assert int.from_bytes(data[16:20], "little", signed=True) == -error


@pytest.mark.parametrize(
    ("place", "value"),
    [
        (0, 5),
        (8, 24),
        (16, 1),  # an error is negative
        (24, 2),  # no such transport
        (28, SMALLEST_MESSAGE - 1),
        (28, MESSAGE_LIMIT + 1),
    ],
)
def test_a_response_that_is_none_is_refused(place: int, value: int) -> None:
    data = RESPONSE[:place] + value.to_bytes(4, "little") + RESPONSE[place + 4 :]
    with pytest.raises(RemoteProtocolError, match="connection response"):
        decode_response(data)


@pytest.mark.parametrize("place", [40, 40 + PATH_BYTES, 40 + 2 * PATH_BYTES])
def test_a_name_without_an_end_is_refused(place: int) -> None:
    data = RESPONSE[:place] + b"x" * PATH_BYTES + RESPONSE[place + PATH_BYTES :]
    with pytest.raises(RemoteProtocolError, match="without an end"):
        decode_response(data)


@pytest.mark.parametrize("data", [b"", REQUEST[:-1], REQUEST + b"\0", bytes(24), b"\0" + REQUEST[1:]])
def test_a_request_that_is_none_is_refused(data: bytes) -> None:
    with pytest.raises(RemoteProtocolError, match="connection request"):
        decode_request(data)


@given(st.binary(max_size=40) | st.binary(min_size=REQUEST_BYTES, max_size=REQUEST_BYTES))
@settings(deadline=None)
def test_any_bytes_are_a_request_or_refused(data: bytes) -> None:
    try:
        assert 0 <= decode_request(data) < 2**32
    except RemoteProtocolError:
        pass


@given(st.binary(min_size=40, max_size=200), st.booleans())
@settings(deadline=None)
def test_any_bytes_are_a_response_or_refused(data: bytes, genuine: bool) -> None:
    head = RESPONSE[:16] + data[16:] if genuine else data
    try:
        decode_response(head.ljust(RESPONSE_BYTES, b"\0"))
    except RemoteProtocolError:
        pass


def test_a_response_of_another_length_is_refused() -> None:
    with pytest.raises(RemoteProtocolError, match="12328 bytes"):
        decode_response(RESPONSE[:-1])


@pytest.mark.parametrize("name", ["x" * PATH_BYTES, "a\0b"])
def test_a_name_that_does_not_fit_cannot_be_written(name: str) -> None:
    with pytest.raises(ValueError, match="no path"):
        encode_path(name)


@given(st.text(st.characters(exclude_characters="\0", codec="utf-8"), max_size=1000))
@settings(deadline=None)
def test_names_are_read_as_they_were_written(name: str) -> None:
    assert decode_path(encode_path(name)) == name


def test_a_messages_header_gives_its_id() -> None:
    for headline in (
        "--- C>S request (224 bytes)",
        "--- S>C response (101 bytes)",
        "--- S>C event (385 bytes)",
    ):
        assert check_message(CAPTURE[headline][0]) == 1
    assert check_message(bytes.fromhex("fdffffff00000000 1000000000000000")) == -3


@pytest.mark.parametrize("data", [b"", bytes(15), bytes(16), REQUEST + b"x", REQUEST[:-1]])
def test_a_message_that_is_not_as_long_as_it_says_is_refused(data: bytes) -> None:
    with pytest.raises(RemoteProtocolError, match="message of"):
        check_message(data)


def test_the_captured_ring_has_the_computed_size() -> None:
    state = CAPTURE[next(line for line in CAPTURE if "right after connect" in line)][0]
    assert int.from_bytes(state[8:12], "little") * 4 == ring_bytes(128 * 1024, PAGE) == 135168
    assert state_bytes(Channel.REQUEST) == 8252
    assert state_bytes(Channel.RESPONSE) == state_bytes(Channel.EVENT) == 8248


@given(st.integers(SMALLEST_MESSAGE, MESSAGE_LIMIT))
@settings(deadline=None)
def test_the_largest_message_fits_into_an_empty_ring(size: int) -> None:
    words = ring_bytes(size, PAGE) // 4
    assert free_bytes(0, 0, words, 0) >= size


@given(st.data())
@settings(deadline=None)
def test_a_message_that_fits_does_not_reach_the_next_place_to_read(data: st.DataObject) -> None:
    words = data.draw(st.integers(16, 4096))
    write, read = (data.draw(st.integers(0, words - 1)) for _ in range(2))
    size = free_bytes(write, read, words, 0)
    if write != read and size >= 0:
        distance = (read - write) % words
        assert _words(size) < distance <= _words(size + 4) + 1


def _words(size: int) -> int:
    """Words of a message in a ring: a head of two, and as many as its bytes need."""
    return 2 + -(-size // 4)


def test_a_full_ring_has_no_room() -> None:
    assert free_bytes(5, 5, 1024, 3) < 0
