"""The ``bngblaster`` dialect: framing, the words for what is wrong, and connections that are kept."""

from __future__ import annotations

import pytest
from msgspec import UNSET, Raw

from bridle.core.errors import RemoteProtocolError, UnknownCommandError
from bridle.core.messages import Command, Response
from bridle.wire.bngblaster import (
    IDLE_TIMEOUT,
    KEPT_IDLE_TIMEOUT,
    REQUEST_LIMIT,
    BngBlasterClient,
    BngBlasterForwarder,
    BngBlasterServer,
    encode_request,
)
from bridle.wire.bngblaster_json import DEPTH_LIMIT, decode, encode
from bridle.wire.dialect import Message, Refusal


def refusal(text: str) -> bytes:
    """What stands for a request that is none."""
    return f'{{"status": "error", "code": 400, "message": "{text}"}}'.encode()


NO_OBJECT = refusal("invalid arguments: an object is expected")
NOT_FOUND = '{"status": "warning", "code": 404, "message": "session not found"}'
TEARDOWN = '{"status": "ok", "code": 200, "message": "teardown requested"}'


def told(messages: list[Message]) -> list[object]:
    """Messages in short."""
    return [one.data if isinstance(one, Refusal) else (one.name, one.body) for one in messages]


@pytest.mark.parametrize(
    ("request_", "found"),
    [
        (b'{"command": "interfaces"}', ("interfaces", UNSET)),
        (b' \r\n\t{"command":"a","arguments":{"session-id":1}}', ("a", {"session-id": 1})),
        (b'{"command": "a", "arguments": null}', ("a", UNSET)),
        (b'{"id": 5, "jsonrpc": [{}], "command": "a"}', ("a", UNSET)),
        (b'{"command": "a", "command": "b"}', ("b", UNSET)),
        (b'{"command": "x}]\\"{"}', ('x}]"{', UNSET)),
        (b"[]", refusal("invalid request")),
        (b'{"command": 1}', refusal("invalid request")),
        (b'{"command": null}', refusal("invalid request")),
        (
            b'{"command": "a", "arguments": "session-id 1"}',
            refusal("invalid arguments: an object is expected"),
        ),
        (b'{"command": "a", "arguments": [1]}', NO_OBJECT),
        (b"hello", refusal("invalid json")),
        (b'"x"', refusal("invalid json")),
        (b"null", refusal("invalid json")),
        (b"42", refusal("invalid json")),
        (b"}", refusal("invalid json")),
        (b"\xef\xbb\xbf{}", refusal("invalid json")),
        (b"{'command': 'a'}", refusal("invalid json")),
        (b'{"command": "a",}', refusal("invalid json")),
        (b'{"command": "a" // b\n}', refusal("invalid json")),
        (b'{"command": "a\nb"}', refusal("invalid json")),
        (b'{"command": "\xff"}', refusal("invalid json")),
        (b'{"command": "a", "x": "\\u0000"}', refusal("invalid json")),
        (b'{"command": "a", "\\u0000": 1}', refusal("invalid json")),
        (b'{"command": "a", "x": 9223372036854775808}', refusal("invalid json")),
        (b'{"command": "a", "x": 9223372036854775807}', ("a", UNSET)),
        (b'{"command": "a", "x": 1e999}', refusal("invalid json")),
        (b'{"command": "a", "x": NaN}', refusal("invalid json")),
        (b'{"command": "a", "x": "\\ud800"}', refusal("invalid json")),
        (b'{"command": "a", "x": ' + b"[" * DEPTH_LIMIT + b"]" * DEPTH_LIMIT + b"}", refusal("invalid json")),
        (b'{"command"', refusal("invalid json")),
        (b"", refusal("invalid json")),
    ],
)
@pytest.mark.parametrize("size", [1, 7, 100_000])
def test_a_request_is_known_at_its_last_bracket(request_: bytes, found: object, size: int) -> None:
    server = BngBlasterServer()
    messages: list[Message] = []
    for start in range(0, len(request_), size):
        messages += server.receive(request_[start : start + size])
    if not messages:
        messages += server.receive_eof()
    assert told(messages) == [found]
    assert server.closing == isinstance(found, bytes)


@pytest.mark.parametrize("more", [b"\n", b' {"command": "b"}', b"garbage"])
def test_what_follows_a_request_is_drained_and_not_looked_at(more: bytes) -> None:
    server = BngBlasterServer()
    (command,) = server.receive(b'{"command": "a"}' + more)
    assert isinstance(command, Command)
    assert server.trailing
    assert server.receive(more) == []
    assert server.respond(command, Response()) == b'{"status": "ok", "code": 200}'
    assert server.closing


@pytest.mark.parametrize(
    ("response", "text"),
    [
        (Response(), '{"status": "ok", "code": 200}'),
        (
            Response(text="teardown requested"),
            '{"status": "ok", "code": 200, "message": "teardown requested"}',
        ),
        (Response(arguments={"b": 1, "a": [1.5, "é/\x1f\x7f"]}), None),
        (Response(arguments=Raw(b"[1,2]")), '{"status": "ok", "code": 200, "do": [1, 2]}'),
        (Response(1, "no"), '{"status": "error", "code": 400, "message": "no"}'),
        (
            Response(3, "session not found"),
            '{"status": "warning", "code": 404, "message": "session not found"}',
        ),
        (Response(3, "not so", code=400), '{"status": "warning", "code": 400, "message": "not so"}'),
        (Response(4, "group already exists"), None),
        (Response(5, "broken"), '{"status": "error", "code": 500, "message": "broken"}'),
        (
            Response(2, "'do' command not supported.", error=UnknownCommandError("x", name="do")),
            '{"status": "error", "code": 400, "message": "unknown command"}',
        ),
    ],
)
def test_an_answer_is_written_in_bng_blasters_form(response: Response, text: str | None) -> None:
    server = BngBlasterServer()
    (command,) = server.receive(b'{"command": "do"}')
    assert isinstance(command, Command)
    written = server.respond(command, response)
    if text is not None:
        assert written.decode() == text
    elif response.result:
        assert written == b'{"status": "error", "code": 409, "message": "group already exists"}'
    else:
        assert written.decode() == (
            '{"status": "ok", "code": 200, "do": {"b": 1, "a": [1.5, "é/\\u001F\x7f"]}}'
        )


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (1500.0, "1500.0"),
        (406.5040650406504, "406.5040650406504"),
        (0.002768, "0.0027680000000000001"),
        (-0.0, "-0.0"),
        (1e22, "1e22"),
        (1e-7, "9.9999999999999995e-8"),
        (float("nan"), "null"),
    ],
)
def test_reals_have_17_digits(number: float, text: str) -> None:
    assert encode({"x": [number], "y": "\\u001f"}).decode() == f'{{"x": [{text}], "y": "\\\\u001f"}}'


def test_a_client_may_ask_to_keep_the_connection() -> None:
    client, server = BngBlasterClient(keep=True), BngBlasterServer()
    assert server.idle_timeout == IDLE_TIMEOUT
    for number in range(3):
        (command,) = server.receive(client.request(Command("a", {"n": number})))
        assert isinstance(command, Command)
        answer = server.respond(command, Response(arguments=number))
        assert answer.endswith(b"\n")
        assert not server.closing
        (response,) = client.receive(answer)
        assert response.value == number
        assert client.reusable
        assert server.idle_timeout == KEPT_IDLE_TIMEOUT
    assert server.receive_eof() == ()
    assert server.expire() == b""


def test_a_kept_connection_may_be_pipelined() -> None:
    server = BngBlasterServer()
    one = b'{"command": "a", "keep-alive": true}'
    assert [message.name for message in server.receive(one * 3) if isinstance(message, Command)] == ["a"] * 3
    assert not server.trailing


def test_a_silent_client_is_told() -> None:
    server = BngBlasterServer()
    server.receive(b'{"command')
    assert server.expire() == b'{"status": "error", "code": 408, "message": "request timeout"}'
    assert server.closing


def test_a_request_that_is_too_large_is_told() -> None:
    server = BngBlasterServer()
    (refused,) = server.receive(b'{"x": "' + b"a" * REQUEST_LIMIT)
    assert isinstance(refused, Refusal)
    assert b"request too large" in refused.data
    assert server.closing


def test_too_many_connections_are_told() -> None:
    assert BngBlasterServer().refuse("too many") == b'{"status": "error", "code": 500, "message": "too many"}'


@pytest.mark.parametrize(
    ("answer", "response"),
    [
        (b'{"status": "ok", "code": 200}', Response()),
        (b'{"status": "ok", "code": 200, "message": "done"}', Response(0, "done")),
        (
            b'{"status": "ok", "code": 200, "session-information": {"a": 1}}',
            Response(0, None, {"a": 1}, key="session-information"),
        ),
        (b'{"status": "ok", "code": 200, "a": 1, "b": 2}', Response(0, None, {"a": 1, "b": 2})),
        (b'{"status": "warning", "code": 404, "message": "no"}', Response(3, "no", code=404)),
        (b'{"status": "error", "code": 409, "message": "no"}', Response(4, "no", code=409)),
        (b'{"status": "error", "code": 405, "message": "no"}', Response(1, "no", code=405)),
        (b'{"status": "error", "code": 400, "message": "unknown command"}', None),
    ],
)
@pytest.mark.parametrize("size", [1, 1000])
def test_an_answer_is_known_at_its_last_bracket(answer: bytes, response: Response | None, size: int) -> None:
    client = BngBlasterClient()
    client.request(Command("a"))
    found = [
        one for start in range(0, len(answer), size) for one in client.receive(answer[start : start + size])
    ]
    assert found == [response or Response(2, "unknown command", code=400)]
    assert not client.reusable


@pytest.mark.parametrize(
    "answer", [b"[]", b"{}", b'{"status": "ok"}', b'{"status": 1, "code": 2}', b"<html>", b"{a}"]
)
def test_what_is_no_answer_is_told(answer: bytes) -> None:
    client = BngBlasterClient()
    client.request(Command("a"))
    with pytest.raises(RemoteProtocolError):
        client.receive(answer)


def test_an_answer_that_was_cut_off_is_told() -> None:
    client = BngBlasterClient()
    client.request(Command("a"))
    assert client.receive(b'{"status": "ok", ') == []
    with pytest.raises(RemoteProtocolError):
        client.receive_eof()


def test_numbers_keep_their_kind() -> None:
    assert encode(decode(b'{"a": 1.0, "b": 1, "c": -5, "d": [true, null]}')) == (
        b'{"a": 1.0, "b": 1, "c": -5, "d": [true, null]}'
    )


# Texts that are passed on.


@pytest.mark.parametrize("pieces", [1, 3, 1000])
def test_a_forwarder_gives_answers_as_they_came(pieces: int) -> None:
    answer = '{"status": "ok",  "code":200, "x": {"ä": "}\\"", "y": [1.50]}}'.encode()
    forwarder = BngBlasterForwarder()
    assert forwarder.request(b"anything") == b"anything"
    got: list[bytes] = []
    data = answer + b"\n"
    for start in range(0, len(data), pieces):
        got += forwarder.receive(data[start : start + pieces])
    assert got == [answer]
    assert forwarder.reusable, "a newline says that the connection is kept"
    forwarder.request(b"another")
    assert not forwarder.reusable


def test_a_forwarder_tells_an_answer_that_is_cut_off() -> None:
    forwarder = BngBlasterForwarder()
    forwarder.request(b"{}")
    assert forwarder.receive(b'{"status": "o') == []
    with pytest.raises(RemoteProtocolError, match="End of file"):
        forwarder.receive_eof()
    whole = BngBlasterForwarder()
    assert whole.receive(b"{}") == [b"{}"]
    assert whole.receive_eof() == ()
    assert not whole.reusable


def test_a_request_has_arguments_only_where_there_are_some() -> None:
    assert encode_request("x", None, keep=False) == b'{"command": "x"}'
    assert encode_request("x", {}, keep=True) == b'{"command": "x", "arguments": {}, "keep-alive": true}'
