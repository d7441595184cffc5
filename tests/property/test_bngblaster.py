"""What holds in the ``bngblaster`` dialect for every value, and for all bytes in whatever pieces."""

from __future__ import annotations

import json

from hypothesis import example, given, settings
from hypothesis import strategies as st

from bridle.core.errors import RemoteProtocolError
from bridle.core.messages import Command, Response
from bridle.wire.bngblaster import BngBlasterClient, BngBlasterServer
from bridle.wire.bngblaster_json import decode, encode
from bridle.wire.dialect import Message, Refusal
from tests.property.test_binrpc import cut, places

EXAMPLES = settings(max_examples=200, deadline=None)

text = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=12)
scalars = (
    st.none()
    | st.booleans()
    | st.integers(-(1 << 63), (1 << 63) - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | text
    | st.sampled_from(["\\u001f", "\x1f", '"', "[1.5]", ":1.5", "\\", "}"])
)
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(text, inner, max_size=3),
    max_leaves=10,
)
objects = st.dictionaries(text, values, max_size=4)


@EXAMPLES
@given(objects)
def test_a_value_that_is_written_reads_as_itself(value: dict[str, object]) -> None:
    written = encode(value)
    assert decode(written) == value
    assert json.loads(written) == value
    assert b"\n" not in written


def outcome(pieces: list[bytes]) -> list[object]:
    """What a server makes of a conversation, the client's end included."""
    server = BngBlasterServer()
    messages: list[Message] = [message for piece in pieces for message in server.receive(piece)]
    messages += server.receive_eof()
    return [one.data if isinstance(one, Refusal) else (one.name, one.body) for one in messages]


requests = st.builds(
    lambda name, arguments, keep: encode({"command": name, "arguments": arguments, "keep-alive": keep}),
    text,
    objects | values,
    st.booleans() | values,
)
broken = st.builds(
    lambda data, at, byte: data[: at % len(data)] + bytes([byte]) + data[at % len(data) + 1 :],
    requests,
    st.integers(0, 400),
    st.integers(0, 255),
)
conversations = st.lists(requests | broken | st.binary(max_size=8), max_size=4).map(b"".join)


@EXAMPLES
@given(conversations, places)
@example(b'{"command": "a"}\n', [10_000])
def test_any_bytes_in_any_pieces_are_the_same_requests(data: bytes, at: list[int]) -> None:
    whole = outcome([data])
    assert outcome(cut(data, at)) == whole
    assert len(whole) >= 1
    assert sum(isinstance(one, bytes) for one in whole) <= 1


@EXAMPLES
@given(text.filter(bool), objects, values, st.booleans(), places)
def test_commands_and_answers_come_through_unharmed(
    name: str, arguments: dict[str, object], value: object, keep: bool, at: list[int]
) -> None:
    client, server = BngBlasterClient(keep), BngBlasterServer()
    request = client.request(Command(name, arguments))  # type: ignore[arg-type]
    (command,) = [message for piece in cut(request, at) for message in server.receive(piece)]
    assert isinstance(command, Command)
    assert (command.name, command.body) == (name, arguments)
    answer = server.respond(command, Response(arguments=value))  # type: ignore[arg-type]
    (response,) = [one for piece in cut(answer, at) for one in client.receive(piece)]
    if name not in ("status", "code", "message"):
        assert response.value == value
    assert client.reusable == keep
    assert server.closing != keep


@EXAMPLES
@given(st.binary(max_size=64) | conversations, places)
def test_a_client_takes_any_bytes_for_answers_or_for_an_error(data: bytes, at: list[int]) -> None:
    client = BngBlasterClient()
    client.request(Command("a"))
    try:
        answers = [answer for piece in cut(data, at) for answer in client.receive(piece)]
        client.receive_eof()
    except RemoteProtocolError:
        return
    assert all(isinstance(answer, Response) for answer in answers)
