"""The ``kea`` dialect without I/O: commands and answers in whatever pieces (``facts/kea.md`` §1)."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence

import pytest
from msgspec import UNSET, Raw

from bridle.core.errors import ArgumentError, EndpointError, RemoteProtocolError
from bridle.core.messages import JSON, Command, Event, Peer, Response
from bridle.core.results import Result
from bridle.wire import kea, kea_client
from bridle.wire.dialect import ClientDialect, Message, Refusal, ServerDialect, dialect
from bridle.wire.kea import DIALECT, IDLE_TIMEOUT, KEPT_IDLE_TIMEOUT, KeaServer
from bridle.wire.kea_client import KEEP_ALIVE, KeaClient, KeaForwarder
from bridle.wire.kea_messages import (
    EnvelopeError,
    addressed_services,
    check_answer,
    decode_answer,
    encode_answer,
    encode_command,
    encode_forwarded,
    read_command,
)

PEER = Peer(transport="unix", address="", uid=1000)
WRONG = "Error during command processing: invalid command: "
TIMED_OUT = "Connection over control channel timed out"
BEHIND = [b"\n", b" ", b"x", b"}", b'{"command":"second"}', b"# comment", b"\x00\xff", b" " * 40000]

Shown = tuple[object, ...] | bytes


def ways(data: bytes) -> Iterator[list[bytes]]:
    """The same bytes whole, one by one, and in threes."""
    yield [data]
    yield [data[i : i + 1] for i in range(len(data))]
    yield [data[i : i + 3] for i in range(0, len(data), 3)]


def shown(message: Message) -> Shown:
    """What a message says, whatever it was read from."""
    if isinstance(message, Refusal):
        return message.data
    return message.name, message.arguments, message.services


def refusal(text: str) -> bytes:
    """An error's answer."""
    return b'{ "result": 1, "text": %b }' % json.dumps(text, ensure_ascii=False).encode()


def fed(pieces: Sequence[bytes]) -> tuple[KeaServer, list[Shown]]:
    """A server that was fed, and what it gave."""
    server = KeaServer(PEER)
    return server, [shown(message) for piece in pieces for message in server.receive(piece)]


def fed_text(text: str) -> list[Shown]:
    return fed([text.encode()])[1]


COMMANDS: list[tuple[bytes, tuple[str, object, tuple[str, ...]]]] = [
    (b'{"command":"foo"}', ("foo", UNSET, ())),
    (b'{ "command": "foo" }', ("foo", UNSET, ())),
    (b' \t\r\n{"command":"foo"}', ("foo", UNSET, ())),
    (b'{"command":""}', ("", UNSET, ())),
    (b'{"command":"foo","arguments":{"a":[1,"b",null]}}', ("foo", {"a": [1, "b", None]}, ())),
    (b'{"command":"foo","arguments":[]}', ("foo", [], ())),
    (b'{"command":"foo","arguments":"a"}', ("foo", "a", ())),
    (b'{"command":"foo","arguments":null}', ("foo", None, ())),
    (b'{"arguments":{},"command":"foo"}', ("foo", {}, ())),
    (b'{"command":"foo","service":["dhcp4","d2"]}', ("foo", UNSET, ("dhcp4", "d2"))),
    (b'{"command":"foo","service":[]}', ("foo", UNSET, ())),
    # Daemons ignore what they do not understand there (§1.5).
    (b'{"command":"foo","service":"dhcp4","remote-address":5}', ("foo", UNSET, ())),
    (b'{"command":"foo","service":["dhcp4",1],"remote-address":[]}', ("foo", UNSET, ("dhcp4",))),
    (b'{"command":"foo","service":null,"remote-address":null}', ("foo", UNSET, ())),
    (b'{"command":"bar","command":"foo"}', ("foo", UNSET, ())),
    (b'{"command":"foo","arguments":{"a":1,"a":2}}', ("foo", {"a": 2}, ())),
    (b'{"command":"{[\\"\\\\"}', ('{["\\', UNSET, ())),
    ('{"command":"é€😀"}'.encode(), ("é€😀", UNSET, ())),
    (b'{"command":"\\u00c3\\u00a9\\u00e2\\u0082\\u00ac"}', ("é€", UNSET, ())),
    (b'{"command":"foo","arguments":["\\u00c3\\u00a9","\\u20ac"]}', ("foo", ["é", "€"], ())),
    (b'{"command":"foo","service":["\\u00c3\\u00a9"]}', ("foo", UNSET, ("é",))),
    # What Kea 2.2 takes beyond JSON (§1.4).
    (b'{"command":"foo","arguments":[1,2,]}', ("foo", [1, 2], ())),
    (b'{"command":"foo","arguments":[+5,.5,007]}', ("foo", [5, 0.5, 7], ())),
    (b'{"command":"foo","arguments":["\x00\n"]\b\f}', ("foo", ["\x00\n"], ())),
    (b'{"command":"foo","arguments":[1e+10.0]}', ("foo", [1e10], ())),
    # Comments, wherever they stand (§1.4).
    (b'# one\n{"command":"foo"}', ("foo", UNSET, ())),
    (b'// one\n// two\r\n{"command":"foo"}', ("foo", UNSET, ())),
    (b'/* one */ /**/ /***/{"command":"foo"}', ("foo", UNSET, ())),
    (b'{# one\n"command"// two "\n:/* } */"foo"/* " */}', ("foo", UNSET, ())),
    (b'{"command":"foo","arguments":[1,/* [ */2# ]\n]}', ("foo", [1, 2], ())),
    (b'{"command":"# // /* */"}', ("# // /* */", UNSET, ())),
]

REFUSALS: list[tuple[bytes, str]] = [
    # The framer's (§1.4).
    (b"x", "invalid first character x"),
    (b'"command"', 'invalid first character "'),
    (b"5", "invalid first character 5"),
    (b"true", "invalid first character t"),
    (b"}", "invalid first character }"),
    (b"<?include", "invalid first character <"),
    (b" 123", "invalid character 1"),
    (b"\n}", "invalid character }"),
    (b"# one\nx", "invalid character x"),
    (b'/x{"command":"foo"}', "invalid characters /x"),
    (b"/ /", "invalid characters / "),
    (b'{"command":/x"foo"}', "invalid characters /x"),
    (b'{"command":"foo" / }', "invalid characters / "),
    # The parser's (§1.4).
    (b'{"command":"foo",}', "String expected in <wire>:0:18"),
    (b'{"command":"foo","arguments":[,1]}', "error: unexpected character , in <wire>:0:31"),
    (b'{"command" "foo"}', '\'"\' read, one of ":" expected in <wire>:0:12'),
    (b'{"command":"foo" "x":1}', '\'"\' read, one of ",}" expected in <wire>:0:18'),
    (b'{"command":"foo"]', "']' read, one of \",}\" expected in <wire>:0:17"),
    (b'{"command": foo}', "Bad boolean value: foo in <wire>:0:12"),
    (b'{"command": tru}', "Bad boolean value: tru in <wire>:0:12"),
    (b'{"command": nul}', "Bad null value: nul in <wire>:0:12"),
    (b'{"command": bar}', "error: unexpected character b in <wire>:0:13"),
    (b'{command: "foo"}', "String expected in <wire>:0:2"),
    (b"{'command': 'foo'}", "String expected in <wire>:0:2"),
    (b'{<?include "file"?>}', "String expected in <wire>:0:2"),
    (b'{"command": 99999999999999999999}', "Number overflow: 99999999999999999999 in <wire>:0:12"),
    (b'{"command":"foo","arguments":{"a":1.2.3}}', "Number overflow: 1.2.3 in <wire>:0:34"),
    (b'{"command":"foo","arguments":{"a":-}}', "Number overflow: - in <wire>:0:34"),
    (b'{"command":"\\ud800"}', "Unsupported unicode escape in <wire>:0:14"),
    (b'{"command":"\\u00zz"}', "Not hexadecimal in unicode escape in <wire>:0:13"),
    (b'{"command":"\\x41"}', "Bad escape in <wire>:0:13"),
    (b'{"command":"\xff"}', "Invalid UTF-8 in <wire>:0:13"),
    (b'{"command":"foo","arguments":"\xff"}', "Invalid UTF-8 in <wire>:0:31"),
    # Leading blanks and comments are not part of the text; line breaks behind comments are.
    (b'\n\n  {"command": foo}', "Bad boolean value: foo in <wire>:0:12"),
    (b'/* one */{"command":/* two */ foo}', "Bad boolean value: foo in <wire>:0:12"),
    (b'{"command":# one\nfoo}', "Bad boolean value: foo in <wire>:1:1"),
    # The envelope's, in this order (§1.5, from Kea 2.4 on).
    (b"[]", f"{WRONG}expected toplevel entry to be a map, got list instead"),
    (b'[{"command":"foo"}]', f"{WRONG}expected toplevel entry to be a map, got list instead"),
    (b"{}", f"{WRONG}does not contain mandatory 'command'"),
    (b'{"zzz":1,"aaa":2}', f"{WRONG}does not contain mandatory 'command'"),
    (b'{"command":5,"zzz":1,"aaa":2}', f"{WRONG}unsupported parameter 'aaa'"),
    (b'{"command":"foo","Arguments":{}}', f"{WRONG}unsupported parameter 'Arguments'"),
    (b'{"command":5}', f"{WRONG}expected 'command' to be a string, got integer instead"),
    (b'{"command":{}}', f"{WRONG}expected 'command' to be a string, got map instead"),
    (b'{"command":null,"service":1}', f"{WRONG}expected 'command' to be a string, got null instead"),
    (b'{"command":1.5}', f"{WRONG}expected 'command' to be a string, got real instead"),
    (b'{"command":true}', f"{WRONG}expected 'command' to be a string, got boolean instead"),
    (b'{"command":[]}', f"{WRONG}expected 'command' to be a string, got list instead"),
]

every_command = pytest.mark.parametrize(
    ("text", "expected"), COMMANDS, ids=[repr(row[0]) for row in COMMANDS]
)
every_refusal = pytest.mark.parametrize(
    ("text", "expected"), REFUSALS, ids=[repr(row[0]) for row in REFUSALS]
)


@every_command
def test_a_command_is_complete_where_its_brackets_are_balanced_in_whatever_pieces(
    text: bytes, expected: Shown
) -> None:
    for pieces in ways(text):
        server = KeaServer(PEER)
        for piece in pieces[:-1]:
            assert not server.receive(piece)
        assert [shown(message) for message in server.receive(pieces[-1])] == [expected]
        assert not server.closing
        assert not server.trailing


@every_command
def test_a_command_on_a_kept_connection_is_the_same(text: bytes, expected: Shown) -> None:
    for pieces in ways(KEEP_ALIVE + text):
        assert fed(pieces)[1] == [expected]


@every_command
def test_what_stands_behind_a_command_is_dropped(text: bytes, expected: Shown) -> None:
    for behind in BEHIND:
        for pieces in ([text + behind], [text[:-1], text[-1:] + behind]):
            server, messages = fed(pieces)
            assert messages == [expected]
            assert server.trailing or not behind.strip()
        server, messages = fed([text, behind])
        assert messages == [expected]
        assert server.trailing
        assert not server.receive(b'{"command":"third"}')


@every_refusal
def test_what_is_no_command_is_refused_in_keas_words_in_whatever_pieces(text: bytes, expected: str) -> None:
    for pieces in ways(text):
        server, messages = fed(pieces)
        assert messages == [refusal(expected)]
        assert server.closing
        assert not server.receive(b'{"command":"second"}')
        assert server.trailing


@every_refusal
def test_what_stands_behind_what_was_refused_is_dropped(text: bytes, expected: str) -> None:
    for behind in BEHIND:
        assert fed([text + behind])[1] == [refusal(expected)]
        assert fed([text, behind])[1] == [refusal(expected)]


@every_refusal
def test_a_kept_connection_refuses_in_the_same_words(text: bytes, expected: str) -> None:
    expected = expected.replace("invalid first character", "invalid character")
    for pieces in ways(KEEP_ALIVE + text):
        assert fed(pieces)[1][:1] == [refusal(expected) + b"\n"]


def test_a_command_knows_its_peer_and_where_its_values_stand() -> None:
    text = b' \n{ "command": "foo",\n  "arguments": { "a": [ 1, 2 ] } }'
    for pieces in ways(text):
        server = KeaServer(PEER)
        (command,) = [message for piece in pieces for message in server.receive(piece)]
        assert isinstance(command, Command)
        assert command.peer is PEER
        assert command.locate(["command"]) == "<wire>:0:13"
        assert command.locate(["arguments", "a", 1]) == "<wire>:1:28"
        assert command.locate(["arguments", "b"]) == ""
        assert command.locate(["arguments", "a", 2]) == ""


def test_where_the_values_of_a_command_with_comments_stand_is_told_without_the_comments() -> None:
    for pieces in ways(b'/* one */ {"command":/* two */"foo","arguments":[7,]}'):
        server = KeaServer(PEER)
        (command,) = [message for piece in pieces for message in server.receive(piece)]
        assert isinstance(command, Command)
        assert command.locate(["arguments", 0]) == "<wire>:0:30"


def test_plain_arguments_are_not_decoded_before_somebody_asks() -> None:
    (command,) = KeaServer().receive(b'{"command":"foo","arguments":{"a": 1 }}')
    assert isinstance(command, Command)
    assert isinstance(command.body, Raw)
    assert bytes(command.body) == b'{"a": 1 }'


def test_one_command_is_answered_and_that_ends_the_conversation() -> None:
    server = KeaServer()
    (command,) = server.receive(b'{"command":"foo"}')
    assert isinstance(command, Command)
    assert not server.closing
    assert server.respond(command, Response(0, "done")) == b'{ "result": 0, "text": "done" }'
    assert server.closing
    assert not server.receive(b'{"command":"bar"}')


def test_no_bytes_give_no_message() -> None:
    server = KeaServer()
    assert not server.receive(b"")
    assert not server.closing
    assert [shown(message) for message in server.receive(b'{"command":"foo"}')] == [("foo", UNSET, ())]


def test_there_is_no_form_for_events() -> None:
    assert KeaServer().notify(Event(1, "lease", {})) == b""


def test_a_carrier_refuses_a_client_in_the_dialects_form() -> None:
    server = KeaServer()
    assert server.refuse("too many connections") == refusal("too many connections")
    assert server.closing
    assert not server.receive(b'{"command":"foo"}')


@pytest.mark.parametrize(
    ("received", "kept"),
    [
        (b"", 0),
        (b" \t\r\n", 0),
        (b"# one", 0),
        (b"/* one", 0),
        (b"/", 0),
        (b"//keep", 0),
        (b"{", 1),
        (b'  {"command"', 10),
        (b'{"command":"foo', 15),
        (b'{"command":"\\', 13),
        (b'# abc\n /* c */ {"a" /* zz */ ', 6),
        (b'{"a" // zz', 5),
        (b'{"a" // zz\n', 6),
        (b'{"a" /', 5),
        ("{é".encode(), 3),
    ],
)
def test_a_silent_client_is_told_how_much_was_dropped(received: bytes, kept: int) -> None:
    partial = f", discarded partial command of {kept} bytes" if kept else ""
    for pieces in ways(received):
        server, messages = fed(pieces)
        assert not messages
        assert server.idle_timeout == IDLE_TIMEOUT == 10.0
        assert server.expire() == refusal(TIMED_OUT + partial)
        assert server.closing
        assert not server.receive(b'{"command":"foo"}')


@pytest.mark.parametrize("received", [b"", b" ", b"{", b'{"command":"foo"', b"# one", b"//keep-alive"])
def test_a_client_that_ends_without_a_whole_command_is_answered_with_nothing(received: bytes) -> None:
    for pieces in ways(received):
        server, messages = fed(pieces)
        assert not messages
        assert not server.receive_eof()


def test_a_client_may_end_its_side_and_still_be_answered() -> None:
    server = KeaServer()
    (command,) = server.receive(b'{"command":"foo"}')
    assert not server.receive_eof()
    assert isinstance(command, Command)
    assert server.respond(command, Response()) == b'{ "result": 0 }'


def nested(levels: int) -> bytes:
    """A command whose lists and maps are nested this deep, itself included."""
    return b'{"command":"foo","arguments":' + b"[" * (levels - 1) + b"]" * (levels - 1) + b"}"


TOO_DEEP = "fromJSON elements nested too deeply"


@pytest.mark.parametrize("preface", [b"", KEEP_ALIVE], ids=["plain", "kept"])
def test_lists_and_maps_nest_to_a_hundred_levels(preface: bytes) -> None:
    for pieces in ways(preface + nested(100)):
        (message,) = fed(pieces)[1]
        assert message[0] == "foo"
    for pieces in ways(preface + nested(101)):
        (message,) = fed(pieces)[1]
        assert message == refusal(TOO_DEEP) + b"\n" * bool(preface)


def test_many_brackets_side_by_side_are_not_deep() -> None:
    text = b'{"command":"foo","arguments":[%b]}' % b",".join([b'{"a":[]}'] * 1000)
    for pieces in ways(text):
        ((name, arguments, _),) = fed(pieces)[1]
        assert (name, len(arguments)) == ("foo", 1000)


@pytest.mark.parametrize("bracket", [b"[", b'{"a":'], ids=["lists", "maps"])
@pytest.mark.parametrize("size", [1, 4096, 1 << 30])
def test_two_hundred_thousand_brackets_are_refused(bracket: bytes, size: int) -> None:
    data = b'{"command":"foo","arguments":' + bracket * 200_000
    server, messages = fed([data[i : i + size] for i in range(0, len(data), size)])
    assert messages == [refusal(TOO_DEEP)]
    assert server.closing


@pytest.mark.parametrize("preface", [b"", KEEP_ALIVE], ids=["plain", "kept"])
@pytest.mark.parametrize("form", ['{"command":"%s"}', '{"command":"foo","arguments":["%s",]}'])
def test_a_command_has_a_bounded_size(monkeypatch: pytest.MonkeyPatch, preface: bytes, form: str) -> None:
    monkeypatch.setattr(kea, "COMMAND_LIMIT", 100)
    for around in (b"", b" \n# not counted\n" * 20):
        fits = (form % ("x" * (102 - len(form)))).encode()
        assert len(fits) == 100
        for pieces in ways(preface + around + fits):
            (message,) = fed(pieces)[1]
            assert isinstance(message, tuple)
        larger = fits.replace(b"x", b"xx", 1)
        for pieces in ways(preface + around + larger):
            server, messages = fed(pieces)
            assert messages[:1] == [
                refusal("the text is too large: more than 100 bytes") + b"\n" * bool(preface)
            ]
            assert server.closing


def test_a_command_that_never_ends_is_refused_at_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kea, "COMMAND_LIMIT", 1000)
    server = KeaServer()
    assert not server.receive(b'{"command":"')
    for _ in range(98):
        assert not server.receive(b"x" * 10)
    assert [shown(m) for m in server.receive(b"x" * 10)] == [
        refusal("the text is too large: more than 1000 bytes")
    ]


def test_a_command_may_have_32_mebibytes() -> None:
    assert kea.COMMAND_LIMIT == 32 * 1024 * 1024


@pytest.mark.parametrize(
    "line",
    [
        b"//keep-alive\n",
        b"//keep-alive\r\n",
        b"// keep-alive\n",
        b"//\tkeep-alive \t\r\n",
    ],
)
def test_a_first_line_asks_to_keep_the_connection(line: bytes) -> None:
    for pieces in ways(line + b'{"command":"foo"}{"command":"bar"}'):
        server, messages = fed(pieces)
        assert messages == [("foo", UNSET, ()), ("bar", UNSET, ())]
        assert server.respond(Command("foo"), Response()) == b'{ "result": 0 }\n'
        assert not server.closing


@pytest.mark.parametrize(
    "line",
    [
        b"#keep-alive\n",
        b"/*keep-alive*/\n",
        b"//Keep-Alive\n",
        b"//KEEP-ALIVE\n",
        b"//keep-alives\n",
        b"//keep alive\n",
        b"//keep-alive please\n",
        b" //keep-alive\n",
        b"\n//keep-alive\n",
        b"// \n//keep-alive\n",
        b"///keep-alive\n",
        b"//keep-alive\r\r\n",
        b"//" + b" " * 40 + b"keep-alive\n",
    ],
)
def test_any_other_comment_asks_for_nothing(line: bytes) -> None:
    for pieces in ways(line + b'{"command":"foo"}{"command":"bar"}'):
        server, messages = fed(pieces)
        assert messages == [("foo", UNSET, ())]
        assert server.respond(Command("foo"), Response()) == b'{ "result": 0 }'
        assert server.closing


def test_a_later_line_asks_for_nothing() -> None:
    for text in (b'{//keep-alive\n"command":"foo"}', b'{"command":"foo"}//keep-alive\n{"command":"bar"}'):
        for pieces in ways(text):
            server, messages = fed(pieces)
            assert messages == [("foo", UNSET, ())]
            server.respond(Command("foo"), Response())
            assert server.closing


@pytest.mark.parametrize(
    "between", [b"", b"\n", b"\r\n", b"\n\n \t", b"# one\n", b"/* one */", b"//keep-alive\n"]
)
def test_commands_may_be_pipelined_with_anything_between_that_is_no_command(between: bytes) -> None:
    commands = [b'{"command":"%d","arguments":{"a":\n[%d]}}' % (i, i) for i in range(3)]
    for pieces in ways(KEEP_ALIVE + between.join(commands) + between):
        server, messages = fed(pieces)
        assert messages == [(str(i), {"a": [i]}, ()) for i in range(3)]
        assert not server.closing
        assert not server.trailing


def test_positions_on_a_kept_connection_count_from_the_command() -> None:
    for pieces in ways(KEEP_ALIVE + b'{"command":"a"}\n {"command":"b"}\n{"command":"c"}  {"command":"d"}\n'):
        server = KeaServer()
        commands = [message for piece in pieces for message in server.receive(piece)]
        assert [message.locate(["command"]) for message in commands if isinstance(message, Command)] == [
            "<wire>:0:11"
        ] * 4


def test_a_bad_command_in_the_middle_of_a_pipeline_is_answered_in_its_turn() -> None:
    data = KEEP_ALIVE + b'{"command":"a"}\n{"command":"b",}\n{"commnad":"c"}{"command":"d"}\n'
    for pieces in ways(data):
        server, messages = fed(pieces)
        assert messages == [
            ("a", UNSET, ()),
            refusal("String expected in <wire>:0:16") + b"\n",
            refusal(f"{WRONG}does not contain mandatory 'command'") + b"\n",
            ("d", UNSET, ()),
        ]
        assert not server.closing


@pytest.mark.parametrize(
    ("bad", "text"),
    [
        (b"x", "invalid character x"),
        (b"/x", "invalid characters /x"),
        (b"}", "invalid character }"),
        (b"[" * 101, TOO_DEEP),
    ],
)
def test_bytes_that_cannot_begin_a_command_end_a_kept_connection(bad: bytes, text: str) -> None:
    for pieces in ways(KEEP_ALIVE + b'{"command":"a"}\n' + bad + b'\n{"command":"b"}\n'):
        server, messages = fed(pieces)
        assert messages == [("a", UNSET, ()), refusal(text) + b"\n"]
        assert server.closing
        assert server.trailing


def test_a_kept_connection_that_idles_between_commands_is_closed_without_a_word() -> None:
    for behind in (b"", b"\n", b" \r\n"):
        server, messages = fed([KEEP_ALIVE + b'{"command":"a"}' + behind])
        assert len(messages) == 1
        assert server.idle_timeout == KEPT_IDLE_TIMEOUT == 60.0
        assert server.expire() == b""
        assert server.closing
        assert not server.receive(b'{"command":"b"}')


@pytest.mark.parametrize(
    ("received", "kept"),
    [
        (b"", 0),
        (b"{", 1),
        (b'{"command":"a"}{"comm', 6),
        (b'{"command":"a"}\n \n{"comm', 6),
    ],
)
def test_a_kept_connection_that_stops_in_a_command_is_told_so_in_a_line(received: bytes, kept: int) -> None:
    partial = f", discarded partial command of {kept} bytes" if kept else ""
    for pieces in ways(KEEP_ALIVE + received):
        server, _ = fed(pieces)
        assert server.idle_timeout == IDLE_TIMEOUT
        assert server.expire() == refusal(TIMED_OUT + partial) + b"\n"
        assert server.closing


def test_a_kept_connection_that_stops_in_a_comment_is_not_between_commands() -> None:
    server, _ = fed([KEEP_ALIVE + b'{"command":"a"}\n/* one'])
    assert server.idle_timeout == IDLE_TIMEOUT
    assert server.expire() == refusal(TIMED_OUT) + b"\n"


def test_the_end_of_a_kept_connection_drops_what_is_not_whole() -> None:
    server, messages = fed([KEEP_ALIVE + b'{"command":"a"}{"comm'])
    assert len(messages) == 1
    assert not server.receive_eof()
    assert server.respond(Command("a"), Response()) == b'{ "result": 0 }\n'


def test_a_refusal_by_the_carrier_ends_a_kept_connection_with_a_line() -> None:
    server, _ = fed([KEEP_ALIVE])
    assert server.refuse("going away") == refusal("going away") + b"\n"
    assert server.closing


def test_a_pipeline_without_newlines_takes_time_in_proportion_to_its_length() -> None:
    # In proportion to the square of it, this would take minutes, and run into the test's timeout.
    count = 200_000
    assert len(KeaServer().receive(KEEP_ALIVE + b"{ }" * count)) == count


@pytest.mark.parametrize(
    ("response", "data"),
    [
        (Response(), b'{ "result": 0 }'),
        (Response(0, ""), b'{ "result": 0, "text": "" }'),
        (Response(Result.UNSUPPORTED, "'foo' command not supported."), None),
        (Response(0, None, {}), b'{ "arguments": {  }, "result": 0 }'),
        (Response(0, None, []), b'{ "arguments": [  ], "result": 0 }'),
        (Response(0, None, None), b'{ "arguments": null, "result": 0 }'),
        (Response(0, None, False), b'{ "arguments": false, "result": 0 }'),
        (Response(3, "none", [1, 2.5]), b'{ "arguments": [ 1, 2.5 ], "result": 3, "text": "none" }'),
        (
            Response(0, None, {"a-b": 2, "B": 3, "10": 4, "9": 5, "_": {"x": {}}}),
            b'{ "arguments": { "10": 4, "9": 5, "B": 3, "_": { "x": {  } }, "a-b": 2 }, "result": 0 }',
        ),
        (Response(0, None, Raw(b'{"b":1,"a":2}')), b'{ "arguments": {"b":1,"a":2}, "result": 0 }'),
        (Response(-7, "own"), b'{ "result": -7, "text": "own" }'),
        (Response(0, '"\\\b\f\n\r\t\x01\x7f/'), rb'{ "result": 0, "text": "\"\\\b\f\n\r\t\u0001\u007f/" }'),
        (Response(0, "é€😀"), '{ "result": 0, "text": "é€😀" }'.encode()),
        (Response(0, None, {'a"b\n': 1}), rb'{ "arguments": { "a\"b\n": 1 }, "result": 0 }'),
        (Response(0, None, 100000.0), b'{ "arguments": 100000.0, "result": 0 }'),
    ],
)
def test_an_answer_is_written_as_kea_writes_one(response: Response, data: bytes | None) -> None:
    written = encode_answer(response)
    assert written == (
        data if data is not None else b'{ "result": 2, "text": "\'foo\' command not supported." }'
    )
    assert b"\n" not in written
    json.loads(written)


def test_an_answer_never_says_what_went_wrong_inside() -> None:
    assert encode_answer(Response(1, "no", error=ValueError("secret"))) == refusal("no")


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_number_that_json_does_not_have_cannot_be_written(value: float) -> None:
    with pytest.raises(ValueError, match="cannot be written as JSON"):
        encode_answer(Response(0, None, value))


@pytest.mark.parametrize(
    ("command", "data"),
    [
        (Command("list-commands"), b'{ "command": "list-commands" }'),
        (Command("x", {}), b'{ "arguments": {  }, "command": "x" }'),
        (Command("x", None), b'{ "arguments": null, "command": "x" }'),
        (Command("x", Raw(b'{"b":1}')), b'{ "arguments": {"b":1}, "command": "x" }'),
        (
            Command("x", {"b": 1, "a": "é"}, services=("dhcp4", "d2")),
            '{ "arguments": { "a": "é", "b": 1 }, "command": "x", "service": [ "dhcp4", "d2" ] }'.encode(),
        ),
    ],
)
def test_a_command_is_written_as_kea_writes_one_and_reads_back(command: Command, data: bytes) -> None:
    assert encode_command(command) == data
    read = read_command(data, PEER)
    assert (read.name, read.arguments, read.services) == (command.name, command.arguments, command.services)


@pytest.mark.parametrize(
    ("arguments", "passed"),
    [
        (b"", b""),
        (b',"arguments":{ "b":1,"a":2 }', b'"arguments": { "b":1,"a":2 }, '),
        (b',"arguments":[1,]', b'"arguments": [ 1 ], '),
        (b',"arguments":null', b'"arguments": null, '),
        (b',"remote-address":"10.0.0.1"', b""),
        # Kea knows no escapes but those of single bytes; as UTF-8 it understands the same text.
        (rb',"arguments":{"a":"\u20ac\u00c3\u00a9"}', '"arguments": { "a": "€é" }, '.encode()),
    ],
)
def test_a_command_is_passed_on_as_it_came_with_the_address_of_its_peer(
    arguments: bytes, passed: bytes
) -> None:
    peer = Peer(transport="http", address="192.0.2.1")
    command = read_command(b'{"service":["dhcp4"],"command":"foo"%b}' % arguments, peer)
    rest = b'"command": "foo", "remote-address": "192.0.2.1", "service": [ "dhcp4" ] }'
    assert encode_forwarded(command) == b"{ " + passed + rest


def test_a_command_that_cannot_be_passed_on_as_it_was_meant_is_refused() -> None:
    command = read_command(rb'{"command":"foo","arguments":["\u20ac",1e999]}', PEER)
    with pytest.raises(ArgumentError, match=r"^Number overflow: 1e999 in <wire>:0:39$"):
        encode_forwarded(command)


def test_a_command_is_passed_on_with_all_its_services() -> None:
    command = read_command(
        b'{"service":["d2","d2","dhcp4"],"command":"\\"\\u00c3\\u00a9"}', Peer(address="::1")
    )
    assert (
        encode_forwarded(command)
        == '{ "command": "\\"é", "remote-address": "::1", "service": [ "d2", "d2", "dhcp4" ] }'.encode()
    )


@pytest.mark.parametrize(
    ("service", "names"),
    [(b"", ()), (b',"service":[]', ()), (b',"service":["d2","dhcp4","d2"]', ("d2", "dhcp4", "d2"))],
)
def test_the_services_that_a_command_is_meant_for(service: bytes, names: tuple[str, ...]) -> None:
    assert addressed_services(read_command(b'{"command":"foo"%b}' % service, PEER)) == names


@pytest.mark.parametrize("service", [b"null", b'"dhcp4"', b"{}", b"5", b"false"])
def test_services_are_a_list(service: bytes) -> None:
    command = read_command(b'{"command":"foo","service":%b}' % service, PEER)
    with pytest.raises(EnvelopeError, match=r"^service value must be a list$"):
        addressed_services(command)


@pytest.mark.parametrize(
    ("text", "where"),
    [
        (b'{"command":"foo","service":[1]}', "<string>:1:29"),
        (b'{"command":"foo","service":["d2", null]}', "<string>:1:35"),
        (b'{"command":"foo",\n "service":["d2",["x"],]}', "<string>:2:19"),
    ],
)
def test_services_are_strings(text: bytes, where: str) -> None:
    command = read_command(text, PEER, name="<string>", first_line=1)
    with pytest.raises(EnvelopeError) as caught:
        addressed_services(command)
    said = f"Error during command processing: stringValue() called on non-string Element in ({where})"
    assert str(caught.value) == said


def test_a_whole_command_is_read_with_positions_of_the_readers_choice() -> None:
    with pytest.raises(RemoteProtocolError, match="Bad null value: nul in <string>:1:13"):
        read_command(b'{"command": nul}', PEER, name="<string>", first_line=1)
    with pytest.raises(RemoteProtocolError, match="Extra data"):
        read_command(b'{"command":"foo"} {}', PEER)
    with pytest.raises(EnvelopeError, match="does not contain mandatory 'command'"):
        read_command(b"{}", PEER)


ANSWERS: list[tuple[bytes, Response]] = [
    (b'{ "result": 0 }', Response(0)),
    (b'{"result":0}', Response(0)),
    (b'{ "result": 0, "text": "done" }', Response(0, "done")),
    (b'{ "result": 0, "text": null }', Response(0)),
    (b'{ "arguments": {  }, "result": 3, "text": "none" }', Response(3, "none", {})),
    (b'{ "arguments": [ 1, {} ], "result": 0 }', Response(0, None, [1, {}])),
    (b'{ "arguments": null, "result": 0 }', Response(0, None, None)),
    (b'{ "result": 77, "own": [ 1 ] }', Response(77)),
    (b'{\n  "result": 0,\n  "text": "pretty"\n}', Response(0, "pretty")),
    (
        rb'{ "result": 0, "text": "\u00c3\u00a9\u00e2\u0082\u00ac\u00f0\u009f\u0098\u0080" }',
        Response(0, "é€😀"),
    ),
    ('{ "result": 0, "text": "é€😀" }'.encode(), Response(0, "é€😀")),
    (rb'{ "result": 0, "text": "\u00e9" }', Response(0, "é")),
    (rb'{ "arguments": { "a": "\u00c3\u00a9" }, "result": 0 }', Response(0, None, {"a": "é"})),
    (b'{ "result": 0, "text": "} { ] [ \\" \\\\" }', Response(0, '} { ] [ " \\')),
    # What Kea 2.2 writes and JSON does not know (§1.3).
    (
        b'{ "arguments": { "a": 1e+10.0, "b": 1e-07.0 }, "result": 0 }',
        Response(0, None, {"a": 1e10, "b": 1e-7}),
    ),
    (b'{ "arguments": { "a\tb": 1 }, "result": 0 }', Response(0, None, {"a\tb": 1})),
    (b'{ "result": 0, "text": 5, "arguments": [ 1, ] }', Response(0, None, [1])),
]
COMMENTED: list[tuple[bytes, Response]] = [
    (b'# one\n/* two */ { "result": /* three */ 0 } // four', Response(0)),
    (b'{ "result": 0 } # one\n', Response(0)),
]
BAD_ANSWERS: list[tuple[bytes, str]] = [
    (b"hello", "nothing read"),
    (b'"ok"', "nothing read"),
    (b"}", "nothing read"),
    (b"\x00\x01\xff", "nothing read"),
    (b"HTTP/1.1 400 Bad Request\r\n\r\n", "nothing read"),
    (b"[  ]", "the answer is not a map with an integer 'result'"),
    (b'[ { "result": 0 } ]', "the answer is not a map with an integer 'result'"),
    (b"{  }", "the answer is not a map with an integer 'result'"),
    (b'{ "result": "0" }', "the answer is not a map with an integer 'result'"),
    (b'{ "result": true }', "the answer is not a map with an integer 'result'"),
    (b'{ "result": null, "text": "x" }', "the answer is not a map with an integer 'result'"),
    (b'{ "result": bar }', "error: unexpected character b in <wire>:0:13"),
    (b'{ "result": 0 ]', "']' read, one of \",}\" expected in <wire>:0:15"),
    (b'{ "a"b"c": 1, "result": 0 }', "'b' read, one of \":\" expected in <wire>:0:6"),
]

every_answer = pytest.mark.parametrize(("data", "expected"), ANSWERS, ids=[repr(row[0]) for row in ANSWERS])


def answers(pieces: Sequence[bytes], *, eof: bool = True) -> list[tuple[int, str | None, JSON, bool]]:
    """What a client makes of a server's bytes."""
    client = KeaClient()
    received = [response for piece in pieces for response in client.receive(piece)]
    received += client.receive_eof() if eof else ()
    return [plain(response) for response in received]


def plain(response: Response) -> tuple[int, str | None, JSON, bool]:
    """A response by its decoded arguments."""
    return response.result, response.text, response.value, response.arguments is UNSET


@every_answer
def test_an_answer_is_read_whole_and_in_pieces(data: bytes, expected: Response) -> None:
    for pieces in ways(data):
        assert answers(pieces, eof=False) == [plain(expected)]
    for behind in (b"\n", b" ", b"\r\n"):
        for pieces in ways(data + behind):
            assert answers(pieces) == [plain(expected)]


@pytest.mark.parametrize(("data", "expected"), COMMENTED, ids=[repr(row[0]) for row in COMMENTED])
def test_comments_around_and_in_an_answer_are_passed_over(data: bytes, expected: Response) -> None:
    for pieces in ways(data):
        assert answers(pieces) == [plain(expected)]


@every_answer
def test_an_answer_is_followed_by_another(data: bytes, expected: Response) -> None:
    another = (7, "next", None, True)
    for between in (b"", b" "):
        for pieces in ways(data + between + b'{ "result": 7, "text": "next" }'):
            assert answers(pieces) == [plain(expected), another]
    if b"\n" not in data:
        for pieces in ways(b'{ "result": 7, "text": "next" }\n' + data + b"\n"):
            assert answers(pieces) == [another, plain(expected)]


@pytest.mark.parametrize(("data", "text"), BAD_ANSWERS, ids=[repr(row[0]) for row in BAD_ANSWERS])
def test_what_is_no_answer_is_an_error_with_the_evidence(data: bytes, text: str) -> None:
    for pieces in ways(data):
        with pytest.raises(RemoteProtocolError) as caught:
            answers(pieces)
        assert caught.value.text == text
        assert caught.value.data
        assert data.startswith(caught.value.data)


@pytest.mark.parametrize(
    "data", [b"{", b'{ "result": 0', b'{ "result": 0, "text": "', b"[ {}", b'/* */ {"a":1']
)
def test_an_answer_that_is_cut_off_is_an_error(data: bytes) -> None:
    for pieces in ways(data):
        with pytest.raises(RemoteProtocolError, match=r"^End of file$") as caught:
            answers(pieces)
        assert caught.value.data == data
    for pieces in ways(b'{ "result": 0 }\n' + data):
        client = KeaClient(keep=True)
        received = [response for piece in pieces for response in client.receive(piece)]
        assert [response.result for response in received] == [0]
        with pytest.raises(RemoteProtocolError, match=r"^End of file$"):
            client.receive_eof()


@pytest.mark.parametrize("data", [b"", b" ", b"\n", b"# one\n", b"// one"])
def test_a_server_that_says_nothing_has_no_answer_and_no_error(data: bytes) -> None:
    for pieces in ways(data):
        assert answers(pieces) == []


def test_a_part_of_an_answer_that_cannot_be_decoded_is_an_error_for_who_reads_it() -> None:
    client = KeaClient()
    for bad in (b"1e999", b'"\xff"'):
        (response,) = client.receive(b'{ "result": 0, "text": "here", "arguments": [ %b ] }' % bad)
        assert response.text == "here"
        with pytest.raises(RemoteProtocolError, match=r"^the arguments of the answer: ") as caught:
            response.value  # noqa: B018
        assert caught.value.data == b"[ %b ]" % bad


@pytest.mark.parametrize("size", [1024, 32768, 100_000, 1 << 30])
@pytest.mark.parametrize("behind", [b"", b"\n"], ids=["closed", "kept"])
@pytest.mark.parametrize(
    "filler", ["x", "}", "é", '"', '{"a":[1]}, '], ids=["x", "bracket", "é", "quote", "json"]
)
def test_a_megabyte_of_answer_comes_in_chunks(size: int, behind: bytes, filler: str) -> None:
    text = filler * (1024 * 1024 // len(filler))
    data = encode_answer(Response(0, text, {"list": [{"number": 1}] * 1000})) + behind
    client = KeaClient(keep=True)
    received = [
        response for i in range(0, len(data), size) for response in client.receive(data[i : i + size])
    ]
    if not received:
        received = list(client.receive_eof())
    (response,) = received
    assert response.text == text
    assert response.value == {"list": [{"number": 1}] * 1000}


@pytest.mark.parametrize("size", [1000, 32768, 1 << 30])
def test_long_answers_follow_one_another(size: int) -> None:
    data = b"".join(encode_answer(Response(number, "y" * 200_000)) + b"\n" for number in range(3))
    client = KeaClient(keep=True)
    pieces = [data[i : i + size] for i in range(0, len(data), size)]
    assert [response.result for piece in pieces for response in client.receive(piece)] == [0, 1, 2]


@pytest.mark.parametrize("size", [1000, 32768, 1 << 30])
def test_a_long_answer_that_is_not_quite_json_comes_all_the_same(size: int) -> None:
    data = b'{ "arguments": [ %b 1e+10.0 ], "result": 0 }' % (b"1, " * 100_000)
    pieces = [data[i : i + size] for i in range(0, len(data), size)]
    ((_, _, value, _),) = answers(pieces)
    assert isinstance(value, list)
    assert value[-1] == 1e10


def test_pieces_that_look_like_ends_take_time_in_proportion_to_their_number() -> None:
    # In proportion to the square of it, this would take minutes, and run into the test's timeout.
    client = KeaClient()
    client.receive(b'{ "result": 0, "text": "')
    piece = b"x" * 127 + b"}"
    for _ in range(128 * 1024):
        assert not client.receive(piece)
    (response,) = client.receive(b'" }')
    assert len(response.text or "") == 16 * 1024 * 1024


@pytest.mark.parametrize("opening", [b"", b'{ "result": 0 }\n'], ids=["first", "kept"])
@pytest.mark.parametrize("size", [1000, 50_000, 1 << 30])
@pytest.mark.parametrize("filler", [b"x", b"}"])
def test_an_answer_that_never_ends_is_an_error_at_the_limit(
    monkeypatch: pytest.MonkeyPatch, opening: bytes, filler: bytes, size: int
) -> None:
    monkeypatch.setattr(kea_client, "ANSWER_LIMIT", 200_000)
    data = opening + b'{ "text": "' + filler * 400_000
    with pytest.raises(RemoteProtocolError, match=r"is too large: more than 200000 bytes$"):
        answers([data[i : i + size] for i in range(0, len(data), size)], eof=False)


def test_an_answer_may_have_half_a_gibibyte() -> None:
    assert kea_client.ANSWER_LIMIT == 512 * 1024 * 1024


def test_a_client_asks_to_keep_the_connection_once() -> None:
    client = KeaClient(keep=True)
    assert client.request(Command("a")) == KEEP_ALIVE + b'{ "command": "a" }\n'
    client.receive(b'{ "result": 0 }\n')
    assert client.reusable
    assert client.request(Command("b")) == b'{ "command": "b" }\n'


def test_a_client_that_does_not_ask_sends_what_kea_expects() -> None:
    assert KeaClient().request(Command("a")) == b'{ "command": "a" }'
    assert KeaClient(keep=False).request(Command("a", [1])) == b'{ "arguments": [ 1 ], "command": "a" }'


def test_a_newline_behind_an_answer_says_that_the_connection_is_kept() -> None:
    for pieces in ways(b'{ "result": 0 }\n'):
        client = KeaClient(keep=True)
        assert not client.reusable
        for piece in pieces:
            client.receive(piece)
        assert client.reusable
        client.receive_eof()
        assert not client.reusable


def test_without_a_newline_the_connection_is_not_kept() -> None:
    for pieces in ways(b'{ "result": 0, "text": "a\\n" }'):
        client = KeaClient(keep=True)
        for piece in pieces:
            client.receive(piece)
        assert not client.reusable
        assert not client.receive_eof()


def test_the_last_words_of_a_server_that_kept_the_connection_are_an_answer_without_a_newline_too() -> None:
    for pieces in ways(b'{ "result": 0 }\n{ "result": 1, "text": "going away" }'):
        assert answers(pieces) == [(0, None, None, True), (1, "going away", None, True)]


def test_client_and_server_understand_each_other_over_a_kept_connection() -> None:
    server, client = KeaServer(), KeaClient(keep=True)
    for number in range(5):
        sent = client.request(Command("echo", {"number": number}, services=("d2",)))
        (command,) = server.receive(sent)
        assert isinstance(command, Command)
        assert (command.name, command.arguments, command.services) == ("echo", {"number": number}, ("d2",))
        (response,) = client.receive(server.respond(command, Response(0, None, command.arguments)))
        assert response.value == {"number": number}
        assert client.reusable
    assert server.expire() == b""


def test_client_and_server_understand_each_other_over_a_connection_that_is_not_kept() -> None:
    server, client = KeaServer(), KeaClient()
    (command,) = server.receive(client.request(Command("echo")))
    assert isinstance(command, Command)
    (response,) = client.receive(server.respond(command, Response(0, "é")))
    assert response.text == "é"
    assert server.closing
    assert not client.reusable


def test_a_forwarder_passes_bytes_on() -> None:
    forwarder = KeaForwarder()
    assert forwarder.request(b'{"command":"a"}') == KEEP_ALIVE + b'{"command":"a"}\n'
    assert forwarder.receive(b'{ "zz": 1,"result"') == []
    assert forwarder.receive(b": 7 }\n") == [b'{ "zz": 1,"result": 7 }']
    assert forwarder.reusable
    assert forwarder.request(b'{"command":"b"}') == b'{"command":"b"}\n'
    assert forwarder.receive(b'[ { "result": 0 } ]\n') == [b'[ { "result": 0 } ]']
    assert forwarder.receive_eof() == []
    assert not forwarder.reusable


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b'{ "result": 0 }', [b'{ "result": 0 }']),
        (b'{ "result": 0 }{ "result": 1 }', [b'{ "result": 0 }', b'{ "result": 1 }']),
        (b'/* a */ { "result": 0 } // b\n', [b'{ "result": 0 }']),
        (b'{ "a": 1e+10.0, "b"/* c */: 1 }', [b'{ "a": 1e+10.0, "b": 1 }']),
        (b"[  ]", [b"[  ]"]),
        (b"{  }\n", [b"{  }"]),
    ],
)
def test_a_forwarder_gives_what_the_server_sent_in_whatever_pieces(
    data: bytes, expected: list[bytes]
) -> None:
    for pieces in ways(data):
        forwarder = KeaForwarder()
        received = [answer for piece in pieces for answer in forwarder.receive(piece)]
        assert received + forwarder.receive_eof() == expected


def test_a_forwarder_meets_garbage_and_ends() -> None:
    with pytest.raises(RemoteProtocolError, match="nothing read"):
        KeaForwarder().receive(b"hello")
    forwarder = KeaForwarder()
    forwarder.receive(b'{ "result"')
    with pytest.raises(RemoteProtocolError, match="End of file"):
        forwarder.receive_eof()


@pytest.mark.parametrize(
    ("answer", "passed"),
    [
        (b'{ "zz": 1, "result": 0 }', b'{ "zz": 1, "result": 0 }'),
        (b'[ { "result": 0 } ]', b'[ { "result": 0 } ]'),
        (rb'{ "result": 0, "text": "\u00c3\u00a9" }', rb'{ "result": 0, "text": "\u00c3\u00a9" }'),
        (b'{ "b": 1e+10.0, "a": [ 1, ] }', b'{ "a": [ 1 ], "b": 10000000000.0 }'),
        (b'{ "a\tb": 1 }', rb'{ "a\tb": 1 }'),
        ('{ "text": "é" }'.encode(), '{ "text": "é" }'.encode()),
    ],
)
def test_an_answer_is_passed_on_as_it_is_once_it_is_json(answer: bytes, passed: bytes) -> None:
    assert check_answer(answer) == passed
    json.loads(check_answer(answer))


@pytest.mark.parametrize("answer", [b'{ "result": bar }', b'{ "a"b": 1 }', b'["\xff"]', b"{", b"", b"\xff"])
def test_an_answer_that_nobody_understands_is_not_passed_on(answer: bytes) -> None:
    with pytest.raises(RemoteProtocolError):
        check_answer(answer)


def test_decode_answer_is_for_one_whole_answer() -> None:
    assert plain(decode_answer(b'{ "result": 4, "text": "in use" }')) == (4, "in use", None, True)
    for data in (b"", b"{", b"[]", b'{ "result": 0 } x', b"\xff"):
        with pytest.raises(RemoteProtocolError):
            decode_answer(data)


def test_the_dialect_is_found_by_its_name() -> None:
    assert dialect("kea") is DIALECT
    assert DIALECT.name == "kea"
    with pytest.raises(EndpointError, match=r"^unknown dialect 'smtp'; known are: .*\bkea\b"):
        dialect("smtp")


def test_the_dialect_begins_conversations() -> None:
    server: ServerDialect = DIALECT.server(PEER)
    (command,) = server.receive(b'{"command":"foo"}')
    assert isinstance(command, Command)
    assert command.peer is PEER
    make: Callable[[bool], ClientDialect] = DIALECT.client
    assert make(True).request(Command("foo")).startswith(KEEP_ALIVE)
    assert not make(False).request(Command("foo")).startswith(KEEP_ALIVE)
