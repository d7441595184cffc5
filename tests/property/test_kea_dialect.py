"""What holds in the ``kea`` dialect for every command and answer, and for all bytes in whatever pieces."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Sequence

from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from msgspec import UNSET, UnsetType

from bridle.core.errors import ArgumentError, RemoteProtocolError
from bridle.core.messages import JSON, Command, Response
from bridle.wire.dialect import Message, Refusal
from bridle.wire.kea import KeaServer
from bridle.wire.kea_client import KEEP_ALIVE, KeaClient, KeaForwarder
from bridle.wire.kea_messages import (
    decode_answer,
    encode_answer,
    encode_command,
    encode_forwarded,
    read_command,
)
from bridle.wire.kea_reader import INTEGER_MAX, INTEGER_MIN

EXAMPLES = settings(max_examples=150, deadline=None)

text = st.text(st.characters(exclude_categories=["Cs"]), max_size=12) | st.sampled_from(
    ["", "é€😀", "Ã©", "\\u00c3\\u00a9", "\\", '"', "} // ] /* # {", "\n", "\x00\x7f", "\u2028"]
)
scalars = (
    st.none()
    | st.booleans()
    | st.integers(INTEGER_MIN, INTEGER_MAX)
    | st.floats(allow_nan=False, allow_infinity=False)
    | text
)
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(text, inner, max_size=3),
    max_leaves=10,
)
bodies = st.just(UNSET) | values
places = st.lists(st.integers(0, 10_000), max_size=12)
blanks = st.sampled_from(
    ["", " ", "\n", "\t \r\n", "# } \" ' /*\n", "// ] \\ //\n", "/* { \" ' * / */", "/***/", "\n#\n"]
)
prefaces = st.sampled_from([b"", KEEP_ALIVE, b"// keep-alive \r\n", b"//keep-alive", b"# keep-alive\n"])


def cut(data: bytes, at: Sequence[int]) -> list[bytes]:
    """The same bytes in pieces; a single place, 10,000, stands for single bytes."""
    if at == [10_000]:
        return [data[i : i + 1] for i in range(len(data))]
    ends = sorted({place % (len(data) + 1) for place in at} | {len(data)})
    return [data[start:end] for start, end in zip([0, *ends], ends, strict=False)]


def written(value: JSON, blank: str) -> str:
    """A value with blanks and comments around each token, in UTF-8."""
    if isinstance(value, dict):
        items = [f"{written(key, blank)}:{written(item, blank)}" for key, item in value.items()]
        return f"{blank}{{{','.join(items) or blank}}}{blank}"
    if isinstance(value, list):
        return f"{blank}[{','.join(written(item, blank) for item in value) or blank}]{blank}"
    return f"{blank}{json.dumps(value, ensure_ascii=False)}{blank}"


def kea_string(value: str) -> str:
    """A string as Kea writes it: bytes from 0x80 on as ``\\u00XX`` each (``facts/kea.md`` §1.3)."""
    named = {0x22: '\\"', 0x5C: "\\\\", 8: "\\b", 12: "\\f", 10: "\\n", 13: "\\r", 9: "\\t"}
    written = (
        named.get(byte) or (chr(byte) if 0x20 <= byte < 0x7F else f"\\u00{byte:02x}")
        for byte in value.encode()
    )
    return f'"{"".join(written)}"'


def kea_written(value: JSON) -> str:
    """A value as Kea 2.2 writes it, its floats and their ``.0`` included; keys are escaped as strings are."""
    if isinstance(value, dict):
        items = [f"{kea_string(key)}: {kea_written(value[key])}" for key in sorted(value)]
        return f"{{ {', '.join(items)} }}"
    if isinstance(value, list):
        return f"[ {', '.join(map(kea_written, value))} ]"
    if isinstance(value, float):
        number = f"{value:g}"
        return number if "." in number else f"{number}.0"
    return kea_string(value) if isinstance(value, str) else json.dumps(value)


def rounded(value: JSON) -> JSON:
    """A value with what Kea leaves of its floats: six digits."""
    if isinstance(value, dict):
        return {key: rounded(item) for key, item in value.items()}
    if isinstance(value, list):
        return [rounded(item) for item in value]
    return float(f"{value:g}") if isinstance(value, float) else value


def answered(server: KeaServer, message: Message) -> bytes:
    """An answer that tells what was understood."""
    if isinstance(message, Refusal):
        return message.data
    try:
        response = Response(0, message.name, [list(message.services), message.arguments or None])
    except ArgumentError as error:
        response = Response(1, error.text)
    return server.respond(message, response)


def conversation(pieces: Sequence[bytes]) -> tuple[list[bytes], tuple[float, bytes] | None]:
    """The answers; and where they are not the end, how long more is waited for, and with which last words."""
    server = KeaServer()
    answers = [answered(server, message) for piece in pieces for message in server.receive(piece)]
    return answers, None if server.closing else (server.idle_timeout, server.expire())


def envelope(name: str, body: JSON | UnsetType, services: list[str]) -> dict[str, JSON]:
    """A command as a map."""
    fields: dict[str, JSON] = {"command": name, "service": [*services], "remote-address": "192.0.2.1"}
    return fields if isinstance(body, UnsetType) else {"arguments": body, **fields}


def check(data: bytes, at: Sequence[int], name: str, body: JSON | UnsetType, services: list[str]) -> None:
    """The data hold this one command, whole and in pieces."""
    for pieces in ([data], cut(data, at)):
        server = KeaServer()
        (command,) = [message for piece in pieces for message in server.receive(piece)]
        assert isinstance(command, Command)
        assert (command.name, command.arguments, command.services) == (name, body, tuple(services))
    assert conversation(cut(data, at)) == conversation([data])


@EXAMPLES
@given(text, bodies, st.lists(text, max_size=2), blanks, prefaces, places)
@example("a", UNSET, [], "", KEEP_ALIVE, [10_000])
@example("a", {"b": [1]}, [], "# }\n", b"", [10_000])
def test_a_command_is_the_same_in_all_pieces_and_with_any_comments(
    name: str, body: JSON | UnsetType, services: list[str], blank: str, preface: bytes, at: list[int]
) -> None:
    if preface == b"//keep-alive":
        blank = f"\n{blank}"
    data = preface + written(envelope(name, body, services), blank).encode()
    check(data, at, name, body, services)


@EXAMPLES
@given(text, values, st.lists(text, max_size=2), places)
def test_a_command_as_kea_writes_it_is_read_as_it_was_meant(
    name: str, body: JSON, services: list[str], at: list[int]
) -> None:
    data = kea_written(envelope(name, body, services)).encode()
    check(data, at, name, rounded(body), services)


@EXAMPLES
@given(text, bodies, st.lists(text, max_size=2), places)
def test_a_command_that_was_written_or_passed_on_is_read_back(
    name: str, body: JSON | UnsetType, services: list[str], at: list[int]
) -> None:
    command = Command(name, body, services=tuple(services))
    check(encode_command(command), at, name, body, services)
    read = read_command(encode_forwarded(command), command.peer)
    assert (read.name, read.arguments, read.services) == (name, body, tuple(services))


fragments = st.sampled_from(
    [
        *[b"{", b"}", b"[", b"]", b",", b":", b'"', b"\\", b"/", b"*", b"#", b"\n", b" ", b"\r\n", b"x"],
        *[b"//", b"/*", b"*/", b"/**/", b"# c\n", b"//keep-alive\n", b"//keep-alive", b"\xff", b"\x00"],
        *[b'"command"', b'"arguments":', b'"service":', b'"a"', b"1", b"-", b"1e999", b"9" * 20, b"true"],
        *[b"\\u", b"\\u00c3\\u00a9", b"\\ud800", b"[" * 101, b"]" * 101, b"[]", b"{}", b"null", b"1e+10.0"],
        *[b'{"command":"a"}', b'{"command":"b","arguments":[1,]}\n', b'{"command":5}', b'{"a":1}'],
        *[b'{ "result": 0 }', b'{ "result": 0, "text": "t" }\n', b'{"result":', b"[ {} ]\n", b'"result":0'],
    ]
)
soups = st.lists(fragments, max_size=12).map(b"".join) | st.binary(max_size=40)


@st.composite
def spoiled(draw: st.DrawFn) -> bytes:
    """Good commands, of which a part is replaced by something else, or by nothing."""
    commands = draw(st.lists(st.tuples(text, values), min_size=1, max_size=3))
    between = draw(blanks).encode()
    data = between.join(written({"command": name, "arguments": body}, "").encode() for name, body in commands)
    start = draw(st.integers(0, len(data)))
    end = draw(st.integers(start, len(data)))
    return data[:start] + draw(soups) + data[end:]


@EXAMPLES
@given(prefaces, soups | spoiled(), places)
@example(b"", b"[" * 101, [10_000])
@example(KEEP_ALIVE, b"{}" * 3 + b"x", [10_000])
@example(KEEP_ALIVE, b'{"command":"a"}\n\n {"command":"b",}x', [10_000])
@example(b"//keep", b"-alive\n{}{}", [3, 6, 12])
@example(b"", b"/x", [1])
@example(b"", b'{"command":"a","arguments":{"a":1e999}}', [10_000])
@example(b"", b'\n{"command":"a","arguments":"\xff"}', [10_000])
def test_all_bytes_come_to_commands_and_refusals_the_same_in_all_pieces(
    preface: bytes, data: bytes, at: list[int]
) -> None:
    data = preface + data
    whole = conversation([data])
    for answer in whole[0]:
        assert json.loads(answer)["result"] in (0, 1)
    assert conversation(cut(data, at)) == whole


@EXAMPLES
@given(prefaces, soups | spoiled(), places)
def test_what_is_refused_is_refused_in_json_and_what_is_not_can_be_looked_at(
    preface: bytes, data: bytes, at: list[int]
) -> None:
    server = KeaServer()
    for piece in cut(preface + data, at):
        was_closing = server.closing
        messages = server.receive(piece)
        assert not (was_closing and messages)
        for message in messages:
            if isinstance(message, Refusal):
                refusal = json.loads(message.data)
                assert refusal["result"] == 1
                assert isinstance(refusal["text"], str)
            else:
                assert isinstance(message, Command)
                look_at(message)
    assert not server.receive_eof()


def look_at(command: Command) -> None:
    """Ask for all that a handler may ask for; nothing but an argument may be wrong."""
    try:
        command.arguments  # noqa: B018
        assert command.locate(["command"]).startswith("<wire>:")
    except ArgumentError as error:
        assert error.text  # noqa: PT017
    except RemoteProtocolError as error:  # of a part that is no argument
        assert " in <wire>:" in error.text  # noqa: PT017


responses = st.builds(
    Response,
    st.integers(-(2**31), 2**31),
    st.none() | text,
    bodies,
)


@EXAMPLES
@given(responses, places)
def test_an_answer_that_was_written_is_read_back_in_all_pieces(response: Response, at: list[int]) -> None:
    data = encode_answer(response)
    assert b"\n" not in data
    read = decode_answer(data)
    assert (read.result, read.text, read.value) == (response.result, response.text, response.value)
    assert (read.arguments is UNSET) == (response.arguments is UNSET)
    for ending in (b"", b"\n"):
        client = KeaClient()
        received = [answer for piece in cut(data + ending, at) for answer in client.receive(piece)]
        assert [*received, *client.receive_eof()] == [read]


@EXAMPLES
@given(st.integers(0, 5), text, values, places)
@example(0, "é€", {"Ã©": "\x7f\x80"}, [10_000])
@example(0, "\\u00c3\\u00a9", 1e10, [])
def test_an_answer_as_kea_writes_it_is_read_as_it_was_meant(
    result: int, message: str, arguments: JSON, at: list[int]
) -> None:
    data = kea_written({"result": result, "text": message, "arguments": arguments}).encode()
    client = KeaClient()
    received = [answer for piece in cut(data, at) for answer in client.receive(piece)]
    (response,) = [*received, *client.receive_eof()]
    assert (response.result, response.text, response.value) == (result, message, rounded(arguments))


@EXAMPLES
@given(soups | spoiled() | responses.map(encode_answer), soups, places)
@example(b"{}\n", b"\xff\n", [10_000])
@example(b"[" * 300, b"", [])
@example(b'{"result":0,"arguments":1e999}', b'{"result":0,"arguments":"\xff"}', [])
def test_a_client_makes_answers_or_an_error_of_all_bytes(first: bytes, second: bytes, at: list[int]) -> None:
    client, forwarder = KeaClient(keep=True), KeaForwarder()
    try:
        received = [answer for piece in cut(first + second, at) for answer in client.receive(piece)]
        received += client.receive_eof()
    except RemoteProtocolError as error:
        assert error.text  # noqa: PT017
    else:
        for response in received:
            try:
                assert isinstance(response, Response)
                response.value  # noqa: B018
            except RemoteProtocolError as error:
                assert error.data  # noqa: PT017
    try:
        passed = [answer for piece in cut(first + second, at) for answer in forwarder.receive(piece)]
        assert all(passed + forwarder.receive_eof())
    except RemoteProtocolError as error:
        assert error.text  # noqa: PT017


@EXAMPLES
@given(st.lists(responses, min_size=1, max_size=4), st.sampled_from([b"\n", b"", b"\r\n"]), places)
def test_answers_in_a_row_are_the_same_in_all_pieces(
    given_: list[Response], between: bytes, at: list[int]
) -> None:
    data = between.join(map(encode_answer, given_)) + between
    client = KeaClient(keep=True)
    received = [answer for piece in cut(data, at) for answer in client.receive(piece)]
    received += client.receive_eof()
    assert received == [decode_answer(encode_answer(response)) for response in given_]


BAD = [b"{}", b"[]", b'{"command":5}', b'{"command":"a",}', b'{"command" "a"}', b"[1 2]", b'{"a":\n"\\x"}']


class KeptConnection(RuleBasedStateMachine):
    """A client and a server on a connection that is kept, and the bytes on their way between them."""

    @initialize()
    def connect(self) -> None:
        self.client = KeaClient(keep=True)
        self.server = KeaServer()
        self.to_server, self.to_client = bytearray(), bytearray()
        self.expected: deque[tuple[int, str | None, JSON]] = deque()
        self.answered = 0
        self.ask("first", UNSET, 1)

    @rule(name=text, body=bodies, times=st.sampled_from([1, 1, 1, 12_000]))
    def ask(self, name: str, body: JSON | UnsetType, times: int) -> None:
        """Ask for an echo; of the name many times over, where the answer shall be long."""
        services = () if times == 1 else (str(times),)
        self.to_server += self.client.request(Command(name, body, services=services))
        self.expected.append((0, name * times, None if isinstance(body, UnsetType) else body))

    @rule(bad=st.sampled_from(BAD))
    def ask_for_nonsense(self, bad: bytes) -> None:
        self.to_server += bad
        self.expected.append((1, None, None))

    @rule(blank=blanks)
    def send_what_means_nothing(self, blank: str) -> None:
        self.to_server += blank.encode()

    @rule(count=st.integers(1, 200) | st.just(1 << 30))
    def deliver_to_the_server(self, count: int) -> None:
        taken, self.to_server = bytes(self.to_server[:count]), self.to_server[count:]
        for message in self.server.receive(taken):
            if isinstance(message, Refusal):
                self.to_client += message.data
            else:
                times = int(message.services[0]) if message.services else 1
                self.to_client += self.server.respond(
                    message, Response(0, message.name * times, message.arguments)
                )

    @rule(count=st.integers(1, 200) | st.sampled_from([32768, 1 << 30]))
    def deliver_to_the_client(self, count: int) -> None:
        taken, self.to_client = bytes(self.to_client[:count]), self.to_client[count:]
        for response in self.client.receive(taken):
            result, message, value = self.expected.popleft()
            assert (response.result, response.value) == (result, value)
            assert response.text == message if result == 0 else response.text
            self.answered += 1

    @invariant()
    def the_connection_goes_on(self) -> None:
        if hasattr(self, "server"):
            assert not self.server.closing
            assert not self.server.trailing

    def teardown(self) -> None:
        if not hasattr(self, "server"):
            return
        self.deliver_to_the_server(1 << 30)
        self.deliver_to_the_client(1 << 30)
        assert not self.expected
        assert self.client.reusable
        assert self.server.expire() in (b"", refusal_of_silence())


def refusal_of_silence() -> bytes:
    """The last words where a comment is still open."""
    return encode_answer(Response(1, "Connection over control channel timed out")) + b"\n"


TestKeptConnection = KeptConnection.TestCase
TestKeptConnection.settings = settings(max_examples=60, stateful_step_count=25, deadline=None)
