"""The ``kea`` dialect inside HTTP: what a request means, how answers are wrapped (``facts/kea.md`` §2)."""

from __future__ import annotations

import msgspec
import pytest
from msgspec import UNSET, Raw

from bridle.core.errors import LocalProtocolError, RemoteProtocolError
from bridle.core.messages import JSON, Command, Peer, Response
from bridle.core.results import Result
from bridle.wire.http import HttpRequest, HttpResponse, HttpServerConnection
from bridle.wire.kea_http import (
    CONTENT_TYPE,
    Forwarded,
    KeaHttpClient,
    KeaHttpForwarder,
    decode_reply,
    error,
    read_request,
    wrap,
    wrap_raw,
)
from bridle.wire.kea_messages import EnvelopeError, addressed_services, encode_answer

PEER = Peer(transport="http", address="192.0.2.1", user="admin")
DATE = b"Fri, 20 Nov 2026 10:29:26 GMT"
WRONG = "Error during command processing: invalid command: "
BAD_REQUEST = HttpResponse(400, b'{ "result": 400, "text": "Bad Request" }')


def request(
    body: bytes, content_type: str | None = CONTENT_TYPE, method: str = "POST", target: str = "/"
) -> HttpRequest:
    """A request as the connection gives it."""
    headers = {} if content_type is None else {"content-type": content_type}
    return HttpRequest(method, target, "1.1", headers, body, True)


def command_of(body: bytes) -> Command:
    """The command that a body holds."""
    command = read_request(request(body), PEER)
    assert isinstance(command, Command)
    return command


def failed(text: str) -> HttpResponse:
    """The answer to a command that failed."""
    return HttpResponse(200, b'[ { "result": 1, "text": "%b" } ]' % text.encode())


@pytest.mark.parametrize("target", ["/", "/foo", "/?a=b", "*", ""])
def test_a_post_to_any_path_holds_a_command(target: str) -> None:
    command = read_request(request(b'{"command":"foo","arguments":{"a":1}}', target=target), PEER)
    assert isinstance(command, Command)
    assert (command.name, command.arguments, command.peer) == ("foo", {"a": 1}, PEER)


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE", "OPTIONS", "PATCH", "CONNECT", "FOO"])
@pytest.mark.parametrize(("target", "allowed"), [("/", "GET, HEAD, POST"), ("/foo", "POST"), ("*", "POST")])
def test_any_other_method_is_told_what_is_allowed(method: str, target: str, allowed: str) -> None:
    body = b'{ "result": 405, "text": "Method Not Allowed" }'
    refused = read_request(request(b'{"command":"foo"}', method=method, target=target), PEER)
    assert refused == HttpResponse(405, body, (("Allow", allowed),))


@pytest.mark.parametrize(
    "content_type",
    [
        "application/json",
        "Application/JSON",
        "application/json; charset=utf-8",
        "application/json;charset=UTF-8",
        "application/json ; a=b; c=d",
        " application/json ",
        "application/json;",
    ],
)
def test_a_body_is_json_whatever_parameters_say(content_type: str) -> None:
    assert isinstance(read_request(request(b'{"command":"foo"}', content_type), PEER), Command)


@pytest.mark.parametrize(
    "content_type",
    [None, "", "text/json", "text/plain", "application/jsonp", "application/json, text/plain", "json", ";"],
)
def test_a_body_of_another_type_is_a_bad_request(content_type: str | None) -> None:
    assert read_request(request(b'{"command":"foo"}', content_type), PEER) == BAD_REQUEST


def test_an_empty_body_is_a_missing_command() -> None:
    assert read_request(request(b""), PEER) == failed("Command processing failed: NULL command parameter")


@pytest.mark.parametrize(
    "body",
    [
        b" ",
        b"\n",
        b"{",
        b"foo",
        b'{"command":"foo"',
        b'{"command":"foo",}',
        b'{"command":"foo"} x',
        b'{"command":"foo"}{"command":"bar"}',
        b'{"command":"foo"}]',
        b'{"command":"\xff"}',
        b'{"command":"\\x41"}',
        b'{"command":99999999999999999999}',
        b'{"command":"foo","arguments":%b}' % (b"[" * 100 + b"]" * 100),
        b"[" * 200_000,
        b"//",
        b"/* one",
        b"# one",
        b'{"command":"foo"} # one\n{}',
        b'{"command":"foo"} / one',
        b'{"command":"foo" # one',
        b'{"command":foo} # one',
        b'"a" # one',
    ],
)
def test_a_body_that_is_not_one_json_text_is_a_bad_request(body: bytes) -> None:
    assert read_request(request(body), PEER) == BAD_REQUEST


@pytest.mark.parametrize(
    "body",
    [
        b'# one\n{"command":"foo"}',
        b'// one\n{"command":"foo"}',
        b'/* one */{"command":"foo"}/* two */',
        b'{"command":"foo"} # one',
        b'{"command":"foo"} // one\n',
        b'{"command":/* one */"foo"# two\n}\n\n',
        b'{"command":"foo",# one\n"arguments":[1,],"service":["a"]} // two',
    ],
)
def test_comments_in_a_body_are_passed_over(body: bytes) -> None:
    assert command_of(body).name == "foo"


def test_what_looks_like_a_comment_in_a_string_is_none() -> None:
    assert command_of(b'{"command":"# // /* */"}').name == "# // /* */"
    assert command_of(b'{"command":"// a",}'.replace(b",}", b', "arguments":[1,]}')).name == "// a"


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (b"[]", f"{WRONG}expected toplevel entry to be a map, got list instead"),
        (b"5", f"{WRONG}expected toplevel entry to be a map, got integer instead"),
        (b"null", f"{WRONG}expected toplevel entry to be a map, got null instead"),
        (b'"x"', f"{WRONG}expected toplevel entry to be a map, got string instead"),
        (b"{}", f"{WRONG}does not contain mandatory 'command'"),
        (b'{"command":"foo","a":1}', f"{WRONG}unsupported parameter 'a'"),
        (b'{"command":5}', f"{WRONG}expected 'command' to be a string, got integer instead"),
        (b'{"command":5} # one', f"{WRONG}expected 'command' to be a string, got integer instead"),
    ],
)
def test_a_body_that_is_json_but_no_command_is_answered_200(body: bytes, text: str) -> None:
    assert read_request(request(body), PEER) == failed(text)


def test_positions_in_a_body_count_lines_from_one() -> None:
    command = command_of(b'{"command":"foo",\n "service":["d2",["x"]]}')
    assert command.locate(["command"]) == "<string>:1:12"
    with pytest.raises(EnvelopeError, match=r"non-string Element in \(<string>:2:19\)"):
        addressed_services(command)


def test_services_are_named_in_a_body() -> None:
    assert addressed_services(command_of(b'{"command":"foo","service":["d2","dhcp4"]}')) == ("d2", "dhcp4")
    assert addressed_services(command_of(b'{"command":"foo"}')) == ()


def test_answers_are_wrapped_in_a_list_in_their_order() -> None:
    assert wrap([Response(0, "é"), Response(3, None, {})]) == HttpResponse(
        200, '[ { "result": 0, "text": "é" }, { "arguments": {  }, "result": 3 } ]'.encode()
    )
    assert wrap([Response()]).body == b'[ { "result": 0 } ]'
    assert wrap_raw([b'{ "zz": 1 }', b"[  ]"]) == HttpResponse(200, b'[ { "zz": 1 }, [  ] ]')
    assert error("no") == failed("no")


def plain(response: Response) -> tuple[int, str | None, JSON, bool]:
    """A response by its decoded arguments."""
    return response.result, response.text, response.value, response.arguments is UNSET


@pytest.mark.parametrize(
    ("body", "responses"),
    [
        (b'[ { "result": 0 } ]', [Response(0)]),
        (b'[ { "result": 0, "text": "a" }, { "result": 1 } ]', [Response(0, "a"), Response(1)]),
        (b'\r\n[{"result":0}]\n', [Response(0)]),
        (b"[  ]", []),
        (b"[]", []),
        (b'[ { "arguments": [ 1 ], "result": 3 } ]', [Response(3, None, [1])]),
        (rb'[ { "result": 0, "text": "\u00c3\u00a9" } ]', [Response(0, "é")]),
        # A daemon of Kea 2.7.2 or later may be told not to wrap its answer.
        (b'{ "result": 0, "text": "a" }', [Response(0, "a")]),
        # What Kea 2.2 writes and JSON does not know.
        (b'[ { "arguments": [ 1e+10.0 ], "result": 0 } ]', [Response(0, None, [1e10])]),
        (b'[{ "arguments": 1e-07.0, "result": 0 },{"result":1} ]', [Response(0, None, 1e-7), Response(1)]),
        (b'[ { "arguments": { "a\tb": "], [" }, "result": 0 } , ]', [Response(0, None, {"a\tb": "], ["})]),
    ],
)
def test_a_reply_holds_one_answer_for_each_service(body: bytes, responses: list[Response]) -> None:
    assert [plain(response) for response in decode_reply(200, body)] == [plain(r) for r in responses]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b" ",
        b"hello",
        b"<html></html>",
        b"5",
        b'"x"',
        b"null",
        b"{",
        b"[",
        b"]",
        b"[ 1 ]",
        b"[ {  } ]",
        b"[ [  ] ]",
        b'[ { "result": "0" } ]',
        b'[ { "result": 0 }',
        b'[ { "result": 0 ]',
        b'[ { "result": 0 } x ]',
        b'[ { "result": 0 } { "result": 0, } ]',
        b'[ { "result": 0 } { "arguments": 1e+10.0, "result": 0 } ]',
        b'[ { "result": 0 }, { "result": bar } ]',
        b"[ 1e+10.0 ]",
        b"\xff\xfe",
        b'[ "\xff" ]',
        b"[" * 200_000,
        b"[ " + b"[" * 200 + b"]" * 200 + b" ]",
    ],
)
def test_a_reply_that_is_none_of_keas_is_an_error(body: bytes) -> None:
    with pytest.raises(RemoteProtocolError) as caught:
        decode_reply(200, body)
    assert caught.value.text


def test_answers_are_cut_apart_in_time_in_proportion_to_their_length() -> None:
    # In proportion to the square of it, this would take minutes, and run into the test's timeout.
    count = 500_000
    body = b"[ " + b'{ "result": 0 }, ' * count + b'{ "arguments": 1e+10.0, "result": 0 } ]'
    assert len(decode_reply(200, body)) == count + 1


@pytest.mark.parametrize(
    ("status", "body", "text"),
    [
        (401, b'{ "result": 401, "text": "Unauthorized" }', "Unauthorized (HTTP 401)"),
        (403, b'{ "result": 403, "text": "Forbidden" }', "Forbidden (HTTP 403)"),
        (400, b'{ "result": 400, "text": "Bad Request" }', "Bad Request (HTTP 400)"),
        (408, b'{ "result": 408, "text": "Request Timeout" }', "Request Timeout (HTTP 408)"),
        (502, b"<h1>Bad Gateway</h1>\n", "<h1>Bad Gateway</h1> (HTTP 502)"),
        (503, b"", "HTTP 503"),
        (302, b"", "HTTP 302"),
        # These are not what the same words mean for a command.
        (404, b"", "HTTP 404"),
        (409, b"", "HTTP 409"),
        (500, b'{ "result": 500, "text": "Internal Server Error" }', "Internal Server Error (HTTP 500)"),
        (501, b"", "HTTP 501"),
        (204, b"", "HTTP 204"),
        (502, b"\xff\xfe", "\ufffd\ufffd (HTTP 502)"),
        (502, b"x" * 1000, "x" * 200 + " (HTTP 502)"),
        (401, b'{ "result": 401 }', "HTTP 401"),
        (401, b'[ { "result": 401 } ]', '[ { "result": 401 } ] (HTTP 401)'),
    ],
)
def test_a_reply_that_is_not_200_says_why_there_are_no_answers(status: int, body: bytes, text: str) -> None:
    (response,) = decode_reply(status, body)
    result = Result.FORBIDDEN if status == 403 else Result.ERROR
    assert (response.result, response.text, response.arguments) == (result, text, UNSET)


def served(data: bytes) -> HttpRequest:
    """The request as a server reads it."""
    (message,) = HttpServerConnection().receive(data)
    assert isinstance(message, HttpRequest)
    return message


def reply(status: int, body: bytes, *, close: bool = False) -> bytes:
    """A reply as a server writes it."""
    connection = HttpServerConnection()
    (message,) = connection.receive(b"POST / HTTP/1.1\r\nContent-Length: 0\r\n\r\n")
    assert isinstance(message, HttpRequest)
    return connection.respond(message, HttpResponse(status, body, close=close), DATE)


def test_a_client_sends_what_a_server_takes() -> None:
    client = KeaHttpClient("192.0.2.1", 8000, "/path", {"Authorization": "Basic YTpi"})
    sent = served(client.request(Command("foo", {"b": 1, "a": "é"}, services=("dhcp4",))))

    assert (sent.method, sent.target, sent.version, sent.keep_alive) == ("POST", "/path", "1.1", True)
    assert sent.headers["content-type"] == CONTENT_TYPE
    assert sent.headers["host"] == "192.0.2.1:8000"
    assert sent.headers["authorization"] == "Basic YTpi"
    command = read_request(sent, PEER)
    assert isinstance(command, Command)
    assert (command.name, command.arguments, command.services) == ("foo", {"b": 1, "a": "é"}, ("dhcp4",))


@pytest.mark.parametrize(
    ("host", "field"),
    [("localhost", "localhost:80"), ("::1", "[::1]:80"), ("fe80::1%eth0", "[fe80::1%eth0]:80")],
)
def test_a_client_names_the_host(host: str, field: str) -> None:
    assert served(KeaHttpClient(host, 80, "/", {}).request(Command("a"))).headers["host"] == field


def test_on_a_unix_socket_there_is_no_port_to_name() -> None:
    assert served(KeaHttpClient("localhost", 0, "/", {}).request(Command("a"))).headers["host"] == "localhost"


def test_a_client_sends_an_encoded_command_as_it_is() -> None:
    body = b'{"command":"foo" }'
    assert served(KeaHttpClient("a", 80, "/", {}).request_raw(body)).body == body


def test_a_client_takes_replies_in_whatever_pieces_and_keeps_the_connection() -> None:
    data = reply(200, b'[ { "result": 0, "text": "a" }, { "result": 1 } ]')
    for size in (1, 7, len(data)):
        client = KeaHttpClient("a", 80, "/", {})
        assert client.reusable
        for _ in range(2):
            client.request(Command("foo"))
            assert not client.reusable
            pieces = [client.receive(data[i : i + size]) for i in range(0, len(data), size)]
            assert [r for piece in pieces for r in piece] == [[Response(0, "a"), Response(1)]]
            assert not any(pieces[:-1])
            assert client.reusable
        assert client.receive_eof() == []
        assert not client.reusable


def test_a_client_sees_that_the_server_ends_the_connection() -> None:
    client = KeaHttpClient("a", 80, "/", {})
    client.request(Command("foo"))
    assert client.receive(reply(200, b'[ { "result": 0 } ]', close=True)) == [[Response(0)]]
    assert not client.reusable
    with pytest.raises(LocalProtocolError):
        client.request(Command("bar"))


def test_a_client_takes_a_reply_that_only_the_end_completes() -> None:
    client = KeaHttpClient("a", 80, "/", {})
    client.request(Command("foo"))
    assert client.receive(b'HTTP/1.0 200 OK\r\n\r\n[ { "result": 0 } ]') == []
    assert client.receive_eof() == [[Response(0)]]


def test_a_client_reports_what_is_no_reply() -> None:
    for data in (b"hello\r\n\r\n", reply(200, b"hello")):
        client = KeaHttpClient("a", 80, "/", {})
        client.request(Command("foo"))
        with pytest.raises(RemoteProtocolError):
            client.receive(data)
    client = KeaHttpClient("a", 80, "/", {})
    client.request(Command("foo"))
    client.receive(reply(200, b'[ { "result": 0 } ]')[:-1])
    with pytest.raises(RemoteProtocolError, match="cut off"):
        client.receive_eof()


@pytest.mark.parametrize(
    ("status", "body", "passed"),
    [
        (200, b'[ { "zz": 1,"result": 7 } ]', b'{ "zz": 1,"result": 7 }'),
        (200, b'{ "result": 0 }', b'{ "result": 0 }'),
        (200, b'[ [ { "result": 0 } ] ]', b'[ { "result": 0 } ]'),
        (200, b'[ { "a": 1e+10.0 } ]', b'{ "a": 1e+10.0 }'),
        (
            401,
            b'{ "result": 401, "text": "Unauthorized" }',
            b'{ "result": 1, "text": "Unauthorized (HTTP 401)" }',
        ),
        (
            403,
            b'{ "result": 403, "text": "Forbidden" }',
            b'{ "result": 403, "text": "Forbidden (HTTP 403)" }',
        ),
        (502, b"<b>", b'{ "result": 1, "text": "<b> (HTTP 502)" }'),
    ],
)
def test_a_forwarder_takes_the_list_off_an_answer(status: int, body: bytes, passed: bytes) -> None:
    data = reply(status, body)
    for size in (1, len(data)):
        forwarder = KeaHttpForwarder("a", 80, "/", {})
        assert served(forwarder.request(Forwarded(b'{"command":"foo"}'))).body == b'{"command":"foo"}'
        received = [a for i in range(0, len(data), size) for a in forwarder.receive(data[i : i + size])]
        assert received == [passed]
        assert forwarder.reusable
        assert forwarder.receive_eof() == []


@pytest.mark.parametrize(
    ("body", "count"),
    [
        (b"[  ]", 0),
        (b'[ { "result": 0 }, { "result": 1 } ]', 2),
        (b'[ { "a": 1e+10.0 }, { "result": 1 } ]', 2),
    ],
)
def test_a_forwarder_expects_one_answer(body: bytes, count: int) -> None:
    forwarder = KeaHttpForwarder("a", 80, "/", {})
    forwarder.request(Forwarded(b'{"command":"foo"}'))
    with pytest.raises(RemoteProtocolError, match=f"^one answer was expected, {count} came$"):
        forwarder.receive(reply(200, body))


@pytest.mark.parametrize("body", [b"hello", b"{", b"[", b""])
def test_a_forwarder_leaves_what_is_no_list_to_who_reads_it(body: bytes) -> None:
    forwarder = KeaHttpForwarder("a", 80, "/", {})
    forwarder.request(Forwarded(b'{"command":"foo"}'))
    assert forwarder.receive(reply(200, body)) == [body]


def test_a_forwarder_takes_an_answer_that_only_the_end_completes() -> None:
    forwarder = KeaHttpForwarder("a", 80, "/", {})
    forwarder.request(Forwarded(b'{"command":"foo"}'))
    assert forwarder.receive(b'HTTP/1.0 200 OK\r\n\r\n[ { "result": 0 } ]') == []
    assert forwarder.receive_eof() == [b'{ "result": 0 }']


def test_what_was_wrapped_is_read_back() -> None:
    given = [Response(0, 'a "b" é', {"c": [1, 2.5, None]}), Response(3), Response(1, "", [])]
    assert [plain(response) for response in decode_reply(200, wrap(given).body)] == [plain(r) for r in given]
    assert [bytes(raw) for raw in json_list(wrap(given).body)] == [encode_answer(r) for r in given]


def json_list(body: bytes) -> list[Raw]:
    """The items of a JSON list as they were written."""
    return msgspec.json.decode(body, type=list[Raw])
