"""HTTP/1.1 without I/O: requests and replies in whatever pieces, answers in Kea's form."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import pytest

from bridle.core.errors import LocalProtocolError, RemoteProtocolError
from bridle.wire.http import (
    BODY_LIMIT,
    CHUNK_LINE_LIMIT,
    HEAD_LIMIT,
    HEADER_COUNT,
    LINE_LIMIT,
    REPLY_LIMIT,
    TRAILER_LIMIT,
    HttpClientConnection,
    HttpReply,
    HttpRequest,
    HttpResponse,
    HttpServerConnection,
    stock,
)

DATE = b"Fri, 20 Nov 2026 10:29:26 GMT"
BODY = b'{"command":"list-commands"}'
NEXT = b"POST /next HTTP/1.1\r\nContent-Length: 4\r\n\r\nnext"

Message = HttpRequest | HttpResponse


def post(*fields: str, body: bytes = BODY, version: str = "1.1", target: str = "/") -> bytes:
    """A request with a length, as curl would write it."""
    lines = [f"POST {target} HTTP/{version}", f"Content-Length: {len(body)}", *fields]
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body


def chunked(*pieces: str) -> bytes:
    return b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n" + "".join(pieces).encode()


def cuts(data: bytes) -> list[list[bytes]]:
    """The same bytes whole, one by one, in threes, and cut once at each place near a line end."""
    ways = [
        [data],
        [data[i : i + 1] for i in range(len(data))],
        [data[i : i + 3] for i in range(0, len(data), 3)],
    ]
    places = {i + d for i, byte in enumerate(data[:400]) if byte in b"\r\n " for d in (0, 1)}
    return ways + [[data[:place], data[place:]] for place in sorted(places) if 0 < place < len(data)]


def outcome(pieces: Sequence[bytes], body_limit: int) -> tuple[list[Message], bool]:
    connection = HttpServerConnection(body_limit)
    messages = [message for piece in pieces for message in connection.receive(piece)]
    return messages, connection.begun


def read(data: bytes, *, body_limit: int = BODY_LIMIT) -> list[Message]:
    """What a server makes of the bytes; the same however they are cut."""
    first, *others = (outcome(pieces, body_limit) for pieces in cuts(data))
    for other in others:
        assert other == first
    return first[0]


def read_one(data: bytes) -> HttpRequest:
    """The one request in the bytes, the same with another one behind it."""
    [request] = read(data)
    assert isinstance(request, HttpRequest)
    if request.keep_alive:
        assert read(data + NEXT) == [request, read_one_of(NEXT)]
    return request


def read_one_of(data: bytes) -> HttpRequest:
    [request] = HttpServerConnection().receive(data)
    assert isinstance(request, HttpRequest)
    return request


def refusal(data: bytes, *, body_limit: int = BODY_LIMIT) -> int:
    """The status with which the bytes are refused, whatever comes behind them."""
    [message] = read(data, body_limit=body_limit)
    assert isinstance(message, HttpResponse)
    [same] = read(data + NEXT, body_limit=body_limit)
    assert same == message == stock(message.status)
    return message.status


def answer(data: bytes, response: HttpResponse) -> tuple[bytes, HttpServerConnection]:
    """What is sent for one request, and the connection afterwards."""
    connection = HttpServerConnection()
    [request] = connection.receive(data)
    return connection.respond(
        request if isinstance(request, HttpRequest) else None, response, DATE
    ), connection


class TestRequests:
    def test_a_request_has_its_parts(self) -> None:
        assert read_one(
            post("Host: localhost", "Content-Type: application/json", target="/?a=b")
        ) == HttpRequest(
            "POST",
            "/?a=b",
            "1.1",
            {"content-length": "27", "host": "localhost", "content-type": "application/json"},
            BODY,
            True,
        )

    def test_without_a_length_there_is_no_body(self) -> None:
        assert read_one(b"GET /x HTTP/1.1\r\n\r\n") == HttpRequest("GET", "/x", "1.1", {}, b"", True)

    @pytest.mark.parametrize(
        ("written", "method"),
        [
            ("POST", "POST"),
            ("post", "POST"),
            ("Get", "GET"),
            ("FOO", "FOO"),
            ("CONNECT", "CONNECT"),
            ("PRI", "PRI"),
            ("M-SEARCH", "M-SEARCH"),
            ("A" * 32, "A" * 32),
        ],
    )
    def test_a_method_is_any_token_in_any_case(self, written: str, method: str) -> None:
        request = read_one(f"{written} / HTTP/1.1\r\nContent-Length: 2\r\n\r\nhi".encode())
        assert (request.method, request.body) == (method, b"hi")

    @pytest.mark.parametrize(
        "target", ["/", "*", "", "/foo", "/?a=b#c", "http://host:80/x", "host:443", "/\xe9\xff"]
    )
    def test_a_target_passes_as_it_is(self, target: str) -> None:
        assert read_one(post(target=target)).target == target

    @pytest.mark.parametrize(
        ("written", "version"),
        [("1.1", "1.1"), ("1.0", "1.0"), ("2.0", "1.0"), ("0.9", "1.0"), ("1.2", "1.0")],
    )
    def test_a_version_other_than_1_1_is_1_0(self, written: str, version: str) -> None:
        assert read_one(post(version=written)).version == version

    def test_header_names_are_lower_case_and_the_last_of_a_name_counts(self) -> None:
        request = read_one(post("X-a: 1", "x-A: 2", "HOST: h", "X-empty:", "X-latin: \xe9"))
        assert request.headers == {
            "content-length": "27",
            "x-a": "2",
            "host": "h",
            "x-empty": "",
            "x-latin": "\xe9",
        }

    def test_leading_blanks_of_a_value_go_and_trailing_ones_stay(self) -> None:
        assert (
            read_one(post("Content-Type:  \t application/json ")).headers["content-type"]
            == "application/json "
        )

    @pytest.mark.parametrize("fold", ["\r\n ", "\r\n\t", " \r\n  \t", "\r\n \r\n "])
    def test_a_folded_value_is_one_value(self, fold: str) -> None:
        headers = read_one(post(f"X-Fold: a{fold}b", "X-after: c")).headers
        assert headers["x-fold"].split() == ["a", "b"]
        assert "\n" not in headers["x-fold"]
        assert headers["x-after"] == "c"

    @pytest.mark.parametrize("blank", [b"\r\n", b"\r\n\r\n", b"\n"])
    def test_blank_lines_before_a_request_are_skipped(self, blank: bytes) -> None:
        assert read_one(blank + post()) == read_one(post())

    @pytest.mark.parametrize(
        "fields",
        [
            ("Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMAAABk"),
            ("Connection: upgrade", "Upgrade: websocket"),
            ("Upgrade: anything",),
        ],
    )
    def test_an_offer_to_upgrade_is_ignored(self, fields: tuple[str, ...]) -> None:
        request = read_one(post(*fields))
        assert (request.body, request.keep_alive) == (BODY, True)

    def test_a_length_of_0_is_an_empty_body(self) -> None:
        assert read_one(post(body=b"")).body == b""

    def test_a_head_that_comes_again_is_read_again(self) -> None:
        connection = HttpServerConnection()
        first, second, third, fourth = connection.receive(
            post("X: 1") * 2 + post("X: 2") + post("X: 1", body=BODY[::-1])
        )
        assert isinstance(first, HttpRequest)
        assert isinstance(second, HttpRequest)
        assert second == first
        assert second.headers is not first.headers
        assert isinstance(third, HttpRequest)
        assert third.headers["x"] == "2"
        assert isinstance(fourth, HttpRequest)
        assert (fourth.headers, fourth.body) == (first.headers, BODY[::-1])

    def test_a_short_head_is_not_taken_for_a_longer_one_before_it(self) -> None:
        heads = [post("X: " + "x" * 2000), post("Y: 1"), post("X: " + "x" * 2000), post("Y: 2"), post("Y: 2")]
        together = HttpServerConnection().receive(b"".join(heads))
        assert together == [read_one_of(head) for head in heads]


class TestChunkedBodies:
    @pytest.mark.parametrize(
        ("pieces", "body"),
        [
            (("0\r\n\r\n",), b""),
            (("5\r\nhello\r\n", "0\r\n\r\n"), b"hello"),
            (("5\r\nhello\r\n", "6\r\n world\r\n", "0\r\n\r\n"), b"hello world"),
            (("A\r\n\r\n\r\n\r\n\r\n\r\n\r\n", "0\r\n\r\n"), b"\r\n" * 5),
            (("00000005\r\nhello\r\n", "000\r\n\r\n"), b"hello"),
            (("5;name=value\r\nhello\r\n", '0;a;b="c d"\r\n\r\n'), b"hello"),
            (("5\r\nhello\r\n", "0\r\nX-Sum: 12\r\nExpires: never\r\n\r\n"), b"hello"),
        ],
    )
    def test_chunks_are_put_together(self, pieces: tuple[str, ...], body: bytes) -> None:
        request = read_one(chunked(*pieces))
        assert request.body == body
        assert set(request.headers) == {"transfer-encoding"}

    @pytest.mark.parametrize(
        "pieces",
        [
            ("x\r\n",),
            ("\r\n",),
            ("-1\r\n",),
            ("0x5\r\nhello\r\n",),
            ("5 \r\nhello\r\n",),
            ("5\nhello\r\n",),
            ("5;\x01\r\nhello\r\n",),
            ("5\r\nhello!\r\n",),
            ("5\r\nhell\r\n0\r\n\r\n",),
            ("5\r\nhello\r\n", "0\r\nno field\r\n"),
            ("5\r\nhello\r\n", "0\r\n\n"),
            ("1" * 17 + "\r\n",),
        ],
    )
    def test_what_is_no_chunk_is_refused(self, pieces: tuple[str, ...]) -> None:
        assert refusal(chunked(*pieces)) == 400

    @pytest.mark.parametrize("size", [CHUNK_LINE_LIMIT - 4, CHUNK_LINE_LIMIT - 3])
    def test_the_line_before_a_chunk_is_bounded(self, size: int) -> None:
        data = chunked("2;" + "x" * (size - 1) + "\r\nhi\r\n0\r\n\r\n")
        if len("2;") + size - 1 + len("\r\n") <= CHUNK_LINE_LIMIT:
            assert read_one(data).body == b"hi"
        else:
            assert refusal(data) == 400

    def test_an_endless_line_before_a_chunk_is_not_kept(self) -> None:
        connection = HttpServerConnection()
        connection.receive(chunked("5;"))
        assert connection.receive(b"x" * CHUNK_LINE_LIMIT) == [stock(400)]

    @pytest.mark.parametrize(("more", "taken"), [(0, True), (1, False)])
    def test_the_fields_behind_the_chunks_are_bounded(self, more: int, taken: bool) -> None:
        line = "X: " + "x" * 95 + "\r\n"
        lines = line * (TRAILER_LIMIT // 100)
        rest = TRAILER_LIMIT - len(lines) - len("\r\n") + more
        data = chunked("0\r\n", lines, "Y:" + "y" * (rest - 4) + "\r\n", "\r\n")
        messages = [
            outcome([data], BODY_LIMIT),
            outcome([data[i : i + 1] for i in range(len(data))], BODY_LIMIT),
        ]
        assert messages[0] == messages[1]
        [message] = messages[0][0]
        assert isinstance(message, HttpRequest) is taken
        assert taken or message == stock(400)

    @pytest.mark.parametrize(
        ("encoding", "status"),
        [
            ("gzip, chunked", 501),
            ("chunked, gzip", 400),
            ("gzip", 400),
            ("identity", 400),
            ("xchunked", 400),
            ("", 400),
        ],
    )
    def test_another_encoding_is_refused(self, encoding: str, status: int) -> None:
        assert refusal(f"POST / HTTP/1.1\r\nTransfer-Encoding: {encoding}\r\n\r\n".encode()) == status

    def test_an_encoding_before_chunked_is_not_overlooked(self) -> None:
        data = b"POST / HTTP/1.1\r\nTransfer-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n\r\n"
        assert refusal(data) == 501

    @pytest.mark.parametrize("encoding", ["Chunked", "chunked ", "\tCHUNKED"])
    def test_chunked_is_known_in_any_case(self, encoding: str) -> None:
        data = f"POST / HTTP/1.1\r\ntransfer-encoding: {encoding}\r\n\r\n2\r\nhi\r\n0\r\n\r\n".encode()
        assert read_one(data).body == b"hi"

    def test_other_fields_may_be_repeated(self) -> None:
        fields = b"Via: a\r\nVia: b\r\nTransfer-Encoding: chunked\r\n\r\n"
        assert read_one(b"POST / HTTP/1.1\r\n" + fields + b"2\r\nhi\r\n0\r\n\r\n").body == b"hi"

    @pytest.mark.parametrize("name", ["Authorization", "Content-Type", "Host", "Origin", "Content-Length"])
    @pytest.mark.parametrize("again", ["{}", "{} ", "x"])
    def test_what_is_said_once_is_not_said_twice(self, name: str, again: str) -> None:
        """RFC 9110 §5.3, RFC 9112 §3.2."""
        value = "2" if name == "Content-Length" else "a"
        lines = [f"{name}: {value}", "Accept: y", f"{name.lower()}: {again.format(value)}"]
        for version in ("1.0", "1.1"):
            whole = "\r\n".join([f"POST / HTTP/{version}", *lines, "", "hi"]).encode()
            assert refusal(whole) == 400
            connection = HttpServerConnection()
            answers = [answer for byte in whole for answer in connection.receive(bytes([byte]))]
            assert answers == [stock(400)], "however it is cut"

    def test_the_next_request_says_it_again(self) -> None:
        one = b"POST / HTTP/1.1\r\nHost: a\r\nAuthorization: x\r\nContent-Length: 0\r\n\r\n"
        other = one.replace(b"x", b"y")
        found = [message for message in read(one + one + other) if not isinstance(message, HttpResponse)]
        assert [request.headers["authorization"] for request in found] == ["x", "x", "y"]

    def test_http_1_0_has_no_chunks(self) -> None:
        assert refusal(b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n") == 400


class TestRefusals:
    @pytest.mark.parametrize(
        "data",
        [
            b"garbage\r\n\r\n",
            b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
            b" POST / HTTP/1.1\r\n",
            b"A" * 33,
            b"POST\t/ HTTP/1.1\r\n",
            b"POST / HTTQ/1.1\r\n\r\n",
            b"POST / http/1.1\r\n\r\n",
            b"POST / HTTP/11\r\n\r\n",
            b"POST / HTTP/1.1 \r\n\r\n",
            b"POST /a b HTTP/1.1\r\n\r\n",
            b"POST /\r\n\r\n",
            b"POST /\x00 HTTP/1.1\r\n\r\n",
            b"POST / HTTP/1.1\nHost: x\n\n",
        ],
    )
    def test_what_does_not_begin_as_a_request_is_refused(self, data: bytes) -> None:
        assert refusal(data) == 400

    @pytest.mark.parametrize(
        "fields",
        [
            b"Host: x\nAccept: y\r\n\r\n",
            b"Host: x\r\n\n\r\n",
            b"Host\r\n\r\n",
            b"Host : x\r\n\r\n",
            b": x\r\n\r\n",
            b" Host: x\r\n\r\n",
            b"Host: a\x00b\r\n\r\n",
            b"Host: a\rb\r\n\r\n",
            b"H\xf6st: a\r\n\r\n",
            b"Content-Length: abc\r\n\r\n",
            b"Content-Length: -5\r\n\r\n",
            b"Content-Length: +5\r\n\r\n",
            b"Content-Length: 5, 5\r\n\r\n",
            b"Content-Length:\r\n\r\n",
            b"Content-Length: 5\r\n 6\r\n\r\n",
            b"Content-Length: 5\r\nContent-Length: 5\r\n\r\n",
            b"Content-Length: 5\r\nContent-Length: 6\r\n\r\n",
            b"Content-Length: 99999999999999999999999\r\n\r\n",
            b"Content-Length: " + b"0" * 5000 + b"5\r\n\r\n",
            b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
            b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n",
        ],
    )
    def test_a_malformed_header_section_is_refused(self, fields: bytes) -> None:
        assert refusal(b"POST / HTTP/1.1\r\n" + fields) == 400

    def test_the_reason_is_kept_for_the_log(self) -> None:
        connection = HttpServerConnection()
        assert connection.fault == ""
        connection.receive(b"POST / HTTP/1.1\r\nContent-Length: abc\r\n\r\n")
        assert connection.fault == "header section: Invalid character in Content-Length"

    def test_a_refusal_comes_in_its_turn_and_is_the_last(self) -> None:
        assert read(post() + NEXT + b"garbage\r\n\r\n" + post()) == [
            read_one_of(post()),
            read_one_of(NEXT),
            stock(400),
        ]

    def test_after_a_refusal_nothing_is_read(self) -> None:
        connection = HttpServerConnection()
        assert connection.receive(b"\x00") == [stock(400)]
        assert connection.receive(post()) == []
        assert not connection.begun
        assert connection.trailing

    def test_a_broken_line_is_refused_before_the_head_is_complete(self) -> None:
        assert HttpServerConnection().receive(b"POST / HTTP/1.1\r\nNo field\r\nHost: x\r\n") == [stock(400)]

    def test_a_request_that_is_cut_off_is_refused(self) -> None:
        for data in (b"PO", b"POST / HTTP/1.1\r\nHo", post()[:-1], chunked("5\r\nhel")):
            connection = HttpServerConnection()
            assert connection.receive(data) == []
            assert connection.receive_eof() == [stock(400)]
            assert not connection.closing
            connection.respond(None, stock(400), DATE)
            assert connection.closing

    def test_the_end_between_requests_is_the_end(self) -> None:
        connection = HttpServerConnection()
        [request] = connection.receive(post())
        assert isinstance(request, HttpRequest)
        assert connection.receive_eof() == []
        assert not connection.closing
        assert b"200 OK" in connection.respond(request, HttpResponse(200, b""), DATE)
        assert connection.closing


class TestLimits:
    def test_the_limits_are_those_that_are_documented(self) -> None:
        kibi = 1024
        assert (8 * kibi, 64 * kibi, 100) == (LINE_LIMIT, HEAD_LIMIT, HEADER_COUNT)
        assert (32 * kibi**2, 512 * kibi**2) == (BODY_LIMIT, REPLY_LIMIT)

    @pytest.mark.parametrize(("more", "status"), [(0, None), (1, 414)])
    def test_the_start_line_is_bounded(self, more: int, status: int | None) -> None:
        target = "/" + "x" * (LINE_LIMIT - len("POST / HTTP/1.1\r\n") + more)
        self.check(f"POST {target} HTTP/1.1\r\n\r\n".encode(), status)

    def test_an_endless_start_line_is_not_kept(self) -> None:
        connection = HttpServerConnection()
        assert connection.receive(b"POST /" + b"x" * (LINE_LIMIT - 6)) == []
        assert connection.receive(b"x") == [stock(414)]

    @pytest.mark.parametrize(("more", "status"), [(0, None), (1, 431)])
    def test_the_head_is_bounded(self, more: int, status: int | None) -> None:
        start = b"POST / HTTP/1.1\r\nX: "
        self.check(start + b"x" * (HEAD_LIMIT - len(start) - 4 + more) + b"\r\n\r\n", status)

    @pytest.mark.parametrize(
        "field", [b"X: y\r\n", b"X: y\r\n z\r\n", b"name-without-end", b"X: value-without-end"]
    )
    def test_an_endless_head_is_not_kept(self, field: bytes) -> None:
        connection = HttpServerConnection()
        assert connection.receive(b"POST / HTTP/1.1\r\n") == []
        answers: list[Message] = []
        sent = 0
        while not answers and sent < 2 * HEAD_LIMIT:
            answers = connection.receive(field)
            sent += len(field)
            field = field if field.endswith(b"\n") else b"x" * len(field)
        assert answers == [stock(431)]
        assert sent <= HEAD_LIMIT

    @pytest.mark.parametrize(("count", "status"), [(HEADER_COUNT, None), (HEADER_COUNT + 1, 431)])
    def test_the_header_fields_are_counted(self, count: int, status: int | None) -> None:
        data = b"POST / HTTP/1.1\r\n" + b"X: y\r\n" * count + b"\r\n"
        assert outcome([data], BODY_LIMIT) == outcome([data[i : i + 1] for i in range(len(data))], BODY_LIMIT)
        self.check(data, status)

    @pytest.mark.parametrize(("size", "status"), [(100, None), (101, 413)])
    def test_a_length_is_held_against_the_limit_before_the_body_comes(
        self, size: int, status: int | None
    ) -> None:
        connection = HttpServerConnection(body_limit=100)
        messages = connection.receive(f"POST / HTTP/1.1\r\nContent-Length: {size}\r\n\r\n".encode())
        assert messages == ([] if status is None else [stock(status)])

    @pytest.mark.parametrize(("last", "status"), [(40, None), (41, 413)])
    def test_chunks_are_held_against_the_limit_while_they_come(self, last: int, status: int | None) -> None:
        connection = HttpServerConnection(body_limit=100)
        assert connection.receive(chunked("3c\r\n" + "x" * 60 + "\r\n")) == []
        messages = connection.receive(f"{last:x}\r\n".encode())
        assert messages == ([] if status is None else [stock(status)])

    @staticmethod
    def check(data: bytes, status: int | None) -> None:
        whole = HttpServerConnection().receive(data)
        connection = HttpServerConnection()
        pieces = [data[i : i + 1000] for i in range(0, len(data), 1000)]
        assert [message for piece in pieces for message in connection.receive(piece)] == whole
        if status is None:
            assert [type(message) for message in whole] == [HttpRequest]
        else:
            assert whole == [stock(status)]


class TestKeepAlive:
    @pytest.mark.parametrize(
        ("version", "connection", "kept"),
        [
            ("1.1", None, True),
            ("1.1", "keep-alive", True),
            ("1.1", "close", False),
            ("1.1", "Close", False),
            ("1.1", "CLOSE ", False),
            ("1.1", "x, close", False),
            ("1.1", "keep-alive,close", False),
            ("1.1", "closed", True),
            ("1.0", None, False),
            ("1.0", "keep-alive", True),
            ("1.0", "Keep-Alive, x", True),
            ("1.0", "close", False),
            ("2.0", None, False),
            ("2.0", "keep-alive", True),
        ],
    )
    def test_the_client_says_whether_to_keep_the_connection(
        self, version: str, connection: str | None, kept: bool
    ) -> None:
        data = post(*(() if connection is None else (f"Connection: {connection}",)), version=version)
        assert read_one(data).keep_alive is kept
        assert answer(data, HttpResponse(200, b"[ ]"))[1].closing is not kept

    def test_nothing_is_read_after_the_last_request(self) -> None:
        connection = HttpServerConnection()
        assert len(connection.receive(post("Connection: close") + NEXT)) == 1
        assert connection.trailing
        assert connection.receive(NEXT) == []

    def test_a_connection_closes_after_its_last_answer_and_not_before(self) -> None:
        connection = HttpServerConnection()
        first, second = connection.receive(post() + post("Connection: close"))
        assert not connection.closing
        assert isinstance(first, HttpRequest)
        connection.respond(first, HttpResponse(200, b""), DATE)
        assert not connection.closing
        assert isinstance(second, HttpRequest)
        connection.respond(second, HttpResponse(200, b""), DATE)
        assert connection.closing

    def test_a_handler_can_end_the_connection(self) -> None:
        data, connection = answer(post() + b"", HttpResponse(200, b"", close=True))
        assert connection.closing
        assert b"\r\nConnection: close\r\n" in data

    def test_what_was_asked_behind_the_end_is_dropped(self) -> None:
        connection = HttpServerConnection()
        first, second = connection.receive(post() + NEXT)
        assert isinstance(first, HttpRequest)
        assert isinstance(second, HttpRequest)
        connection.respond(first, HttpResponse(200, b"", close=True), DATE)
        assert connection.closing
        with pytest.raises(LocalProtocolError, match="no request to answer"):
            connection.respond(second, HttpResponse(200, b""), DATE)

    def test_finish_makes_the_next_answer_the_last(self) -> None:
        connection = HttpServerConnection()
        connection.finish()
        assert not connection.closing
        [request] = connection.receive(post())
        assert isinstance(request, HttpRequest)
        assert b"\r\nConnection: close\r\n" in connection.respond(request, HttpResponse(200, b""), DATE)
        assert connection.closing

    def test_finish_waits_for_what_is_under_way(self) -> None:
        connection = HttpServerConnection()
        first, second = connection.receive(post() + post() + b"POST / HT")
        connection.finish()
        for request in (first, second):
            assert isinstance(request, HttpRequest)
            assert b"Connection" not in connection.respond(request, HttpResponse(200, b""), DATE)
        [third] = connection.receive(b"TP/1.1\r\n\r\n")
        assert isinstance(third, HttpRequest)
        assert b"\r\nConnection: close\r\n" in connection.respond(third, HttpResponse(200, b""), DATE)
        assert connection.closing


class TestStates:
    def test_idle_and_begun_follow_the_request(self) -> None:
        connection = HttpServerConnection()

        def state() -> tuple[bool, bool]:
            return connection.idle, connection.begun

        assert state() == (True, False)
        connection.receive(b"\r\n")
        assert state() == (True, False)
        connection.receive(b"POST / HTTP/1.1")
        assert state() == (False, True)
        connection.receive(b"\r\n")
        assert state() == (False, True)
        connection.receive(b"Content-Length: 2\r\n\r\nh")
        assert state() == (False, True)
        [request] = connection.receive(b"i")
        assert state() == (False, False)
        assert isinstance(request, HttpRequest)
        connection.respond(request, HttpResponse(200, b""), DATE)
        assert state() == (True, False)

    def test_every_request_is_answered_once(self) -> None:
        connection = HttpServerConnection()
        with pytest.raises(LocalProtocolError, match="no request"):
            connection.respond(None, stock(400), DATE)
        [request] = connection.receive(post())
        assert isinstance(request, HttpRequest)
        connection.respond(request, HttpResponse(200, b""), DATE)
        with pytest.raises(LocalProtocolError, match="no request"):
            connection.respond(request, HttpResponse(200, b""), DATE)

    @pytest.mark.parametrize(
        ("data", "version"),
        [
            (b"", b"1.0"),
            (b"POST", b"1.0"),
            (b"POST / HTTP/1.1\r\nHost", b"1.1"),
            (b"POST / HTTP/1.0\r\nHost", b"1.0"),
            (post()[:-1], b"1.1"),
            (chunked("5\r\nhel"), b"1.1"),
        ],
    )
    def test_a_request_that_takes_too_long_is_answered_408_in_its_version(
        self, data: bytes, version: bytes
    ) -> None:
        connection = HttpServerConnection()
        connection.receive(data)
        assert connection.expire(DATE) == (
            b"HTTP/"
            + version
            + b" 408 Request Timeout\r\nContent-Length: 44\r\nContent-Type: application/json\r\n"
            b"Date: " + DATE + b'\r\n\r\n{ "result": 408, "text": "Request Timeout" }'
        )
        assert connection.closing
        assert connection.receive(post()) == []

    def test_a_second_request_that_takes_too_long_has_no_version_yet(self) -> None:
        _, connection = answer(post(), HttpResponse(200, b""))
        connection.receive(b"POST / (2nd request, partial)")
        assert connection.expire(DATE).startswith(b"HTTP/1.0 408 ")

    def test_a_client_is_not_blamed_while_it_waits(self) -> None:
        connection = HttpServerConnection()
        connection.receive(post() + b"POST")
        with pytest.raises(LocalProtocolError, match="waits for its answer"):
            connection.expire(DATE)

    def test_a_connection_can_be_rejected_before_it_says_anything(self) -> None:
        connection = HttpServerConnection()
        data = connection.reject(503, DATE)
        assert data.startswith(b"HTTP/1.0 503 Service Unavailable\r\nContent-Length: 48\r\n")
        assert data.endswith(b'\r\n\r\n{ "result": 503, "text": "Service Unavailable" }')
        assert connection.closing


class TestExpectations:
    HEAD = b"POST / HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n"

    def test_a_client_that_waits_is_invited_once(self) -> None:
        connection = HttpServerConnection()
        connection.receive(self.HEAD)
        assert connection.invite() == b"HTTP/1.1 100 Continue\r\n\r\n"
        assert connection.invite() == b""

    @pytest.mark.parametrize(
        "data",
        [
            b"",
            post()[:-1],
            HEAD[:-1],
            HEAD + b"h",
            HEAD + b"hi",
            HEAD.replace(b"1.1", b"1.0", 1),
            HEAD.replace(b"100-continue", b"something"),
            HEAD.replace(b"Length: 2", b"Length: 0"),
            HEAD.replace(b"Length: 2", b"Length: 99999999999"),
        ],
    )
    def test_nobody_else_is_invited(self, data: bytes) -> None:
        connection = HttpServerConnection()
        connection.receive(data)
        assert connection.invite() == b""

    def test_a_body_that_comes_anyway_needs_no_invitation(self) -> None:
        connection = HttpServerConnection()
        connection.receive(self.HEAD)
        connection.receive(b"h")
        assert connection.invite() == b""

    def test_an_invitation_waits_for_the_answers_before_it(self) -> None:
        connection = HttpServerConnection()
        [request] = connection.receive(post() + self.HEAD.replace(b"100-continue", b"100-Continue "))
        assert connection.invite() == b""
        assert isinstance(request, HttpRequest)
        connection.respond(request, HttpResponse(200, b""), DATE)
        assert connection.invite() == b"HTTP/1.1 100 Continue\r\n\r\n"

    def test_a_chunked_body_is_invited_too(self) -> None:
        connection = HttpServerConnection()
        connection.receive(b"POST / HTTP/1.1\r\nExpect: 100-continue\r\nTransfer-Encoding: chunked\r\n\r\n")
        assert connection.invite() == b"HTTP/1.1 100 Continue\r\n\r\n"


VECTORS = Path(__file__).parent.parent / "vectors" / "kea.jsonl"
# A length that is no number is refused at once; Kea takes "abc" for 0, and waits for 2**64 - 5 bytes of "-5".
DIFFERENT = ("CL abc", "CL -5")


def captured() -> list[object]:
    """What kea-ctrl-agent 2.2 was sent and answered (facts/kea.md §2.1)."""
    rows = map(json.loads, VECTORS.read_text("utf-8").splitlines())
    return [
        pytest.param(row["request"].encode(), row["response"].encode(), id=row["note"])
        for row in rows
        if row["server"] == "ca-http"
        and not row["request"].startswith("{")  # noted by its body alone
        and row["response"].startswith("HTTP/")
        and not row["note"].startswith(DIFFERENT)
    ]


class TestAnswers:
    @pytest.mark.parametrize(("request_", "expected"), captured())
    def test_answers_have_keas_form(self, request_: bytes, expected: bytes) -> None:
        head, _, body = expected.partition(b"\r\n\r\n")
        fields = dict(line.split(": ", 1) for line in head.decode().split("\r\n")[1:])
        headers = tuple(
            (name, value) for name, value in fields.items() if not name.startswith(("Content-", "Date"))
        )
        date = fields["Date"].encode()
        connection = HttpServerConnection()
        messages = connection.receive(request_)
        if not messages:
            assert connection.expire(date) == expected
            return
        request = messages[0] if isinstance(messages[0], HttpRequest) else None
        response = HttpResponse(int(head.split()[1]), body, headers) if request else stock(400)
        assert connection.respond(request, response, date) == expected

    @pytest.mark.parametrize("note", DIFFERENT)
    def test_the_exceptions_are_in_the_captures(self, note: str) -> None:
        assert f'"note": "{note}' in VECTORS.read_text("utf-8")

    def test_a_challenge_stands_where_kea_puts_it(self) -> None:
        response = stock(401, headers=(("WWW-Authenticate", 'Basic realm="R"'),))
        data, connection = answer(post(), response)
        assert data == (
            b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 41\r\nContent-Type: application/json\r\n"
            b"Date: " + DATE + b'\r\nWWW-Authenticate: Basic realm="R"\r\n\r\n'
            b'{ "result": 401, "text": "Unauthorized" }'
        )
        assert not connection.closing

    @pytest.mark.parametrize(
        ("status", "phrase"),
        [
            (400, "Bad Request"),
            (401, "Unauthorized"),
            (403, "Forbidden"),
            (404, "Not Found"),
            (405, "Method Not Allowed"),
            (408, "Request Timeout"),
            (413, "Content Too Large"),
            (414, "URI Too Long"),
            (415, "Unsupported Media Type"),
            (429, "Too Many Requests"),
            (431, "Request Header Fields Too Large"),
            (500, "Internal Server Error"),
            (501, "Not Implemented"),
            (503, "Service Unavailable"),
        ],
    )
    def test_stock_answers_say_their_status(self, status: int, phrase: str) -> None:
        body = f'{{ "result": {status}, "text": "{phrase}" }}'.encode()
        assert stock(status) == HttpResponse(status, body)
        assert answer(post(), stock(status))[0].startswith(f"HTTP/1.1 {status} {phrase}\r\n".encode())

    def test_a_status_without_a_name_is_sent_all_the_same(self) -> None:
        assert answer(post(), HttpResponse(299, b""))[0].startswith(b"HTTP/1.1 299 Unknown\r\n")

    def test_headers_are_sorted_by_name_whatever_the_case(self) -> None:
        headers = (("X-b", "2"), ("allow", "POST"), ("x-A", "1"), ("Cache-Control", "no-store"), ("x-a", "0"))
        data, _ = answer(post(), HttpResponse(200, b"", headers, close=True))
        names = [line.partition(b":")[0] for line in data.split(b"\r\n")[1:-2]]
        assert names == [
            b"allow",
            b"Cache-Control",
            b"Connection",
            b"Content-Length",
            b"Content-Type",
            b"Date",
            b"x-A",
            b"x-a",
            b"X-b",
        ]

    @pytest.mark.parametrize("headers", [(), (("X", "y"),)])
    def test_an_empty_content_type_is_not_sent(self, headers: tuple[tuple[str, str], ...]) -> None:
        data, _ = answer(post(), HttpResponse(200, b"x", headers, content_type=""))
        assert b"Content-Type" not in data
        assert b"Content-Length: 1\r\n" in data

    def test_the_answer_to_head_has_a_length_and_no_body(self) -> None:
        data, _ = answer(b"HEAD / HTTP/1.1\r\n\r\n", HttpResponse(200, b"hello"))
        assert data.endswith(b"GMT\r\n\r\n")
        assert b"Content-Length: 5\r\n" in data

    @pytest.mark.parametrize("status", [204, 304])
    def test_some_answers_have_neither_body_nor_length(self, status: int) -> None:
        data, _ = answer(post(), HttpResponse(status, b"ignored"))
        assert data.partition(b"\r\n")[2] == b"Date: " + DATE + b"\r\n\r\n"

    @pytest.mark.parametrize(
        ("request_", "response", "announced"),
        [
            (post(), HttpResponse(200, b"", close=True), True),
            (post(), stock(500), False),
            (post("Connection: close"), HttpResponse(200, b"", close=True), False),
            (post(version="1.0"), HttpResponse(200, b"", close=True), False),
            (post("Connection: keep-alive", version="1.0"), HttpResponse(200, b"", close=True), False),
            (b"POST / HTTP/1.1\r\n" + b"X: y\r\n" * 101 + b"\r\n", stock(431), True),
            (b"POST / HTTP/1.1\r\nTransfer-Encoding: gzip, chunked\r\n\r\n", stock(501), True),
            (b"POST / HTTP/1.1\r\nContent-Length: -1\r\n\r\n", stock(400), False),
            (b"POST /" + b"x" * LINE_LIMIT, stock(414), False),
        ],
    )
    def test_the_end_is_announced_where_it_is_not_expected(
        self, request_: bytes, response: HttpResponse, announced: bool
    ) -> None:
        assert (b"\r\nConnection: close\r\n" in answer(request_, response)[0]) is announced

    @pytest.mark.parametrize(
        "response",
        [
            HttpResponse(200, b"", (("X", "a\r\nSet-Cookie: b"),)),
            HttpResponse(200, b"", (("X", "a\nb"),)),
            HttpResponse(200, b"", (("X\r\nY", "a"),)),
            HttpResponse(200, b"", (("X Y", "a"),)),
            HttpResponse(200, b"", (("", "a"),)),
            HttpResponse(200, b"", (("X", "\u20ac"),)),
            HttpResponse(200, b"", (("content-length", "7"),)),
            HttpResponse(200, b"", (("Transfer-Encoding", "chunked"),)),
            HttpResponse(200, b"", content_type="text/html\r\nX: y"),
            HttpResponse(200, b"", (("X", "y"),), content_type="text/html\r\nX: y"),
            HttpResponse(100, b""),
            HttpResponse(700, b""),
        ],
    )
    def test_what_cannot_be_written_can_be_replaced(self, response: HttpResponse) -> None:
        connection = HttpServerConnection()
        [request] = connection.receive(post())
        assert isinstance(request, HttpRequest)
        with pytest.raises(LocalProtocolError):
            connection.respond(request, response, DATE)
        assert connection.respond(request, stock(500), DATE).startswith(b"HTTP/1.1 500 ")
        assert connection.idle


OK = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nX-a: b\r\n\r\nhello"
OK_REPLY = HttpReply(200, {"content-length": "5", "x-a": "b"}, b"hello")


def replies(data: bytes, *methods: str, eof: bool = False, body_limit: int = REPLY_LIMIT) -> list[HttpReply]:
    """What a client makes of the bytes; the same however they are cut."""

    def outcome(pieces: list[bytes]) -> tuple[list[HttpReply], str, bool]:
        connection = HttpClientConnection(body_limit)
        for method in methods or ("POST",):
            connection.request(method, "/", "h")
        given: list[HttpReply] = []
        calls: list[Callable[[], list[HttpReply]]] = [partial(connection.receive, piece) for piece in pieces]
        calls += [connection.receive_eof] if eof else []
        try:
            for call in calls:
                given += call()
        except RemoteProtocolError as error:
            return given, error.text, connection.reusable
        return given, "", connection.reusable

    first, *others = map(outcome, cuts(data))
    for other in others:
        assert (other[0], bool(other[1]), other[2]) == (first[0], bool(first[1]), first[2])
    if first[1]:
        raise RemoteProtocolError(first[1])
    return first[0]


class TestClient:
    def test_a_request_is_written_with_host_and_length(self) -> None:
        data = HttpClientConnection().request(
            "POST", "/x", "h:80", {"Content-Type": "application/json"}, b"{}"
        )
        assert data == (
            b"POST /x HTTP/1.1\r\nHost: h:80\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}"
        )

    @pytest.mark.parametrize(
        ("method", "length"), [("GET", b""), ("HEAD", b""), ("POST", b"Content-Length: 0\r\n")]
    )
    def test_a_request_without_a_body_says_so_where_one_is_expected(self, method: str, length: bytes) -> None:
        data = HttpClientConnection().request(method, "/", "h")
        assert data == method.encode() + b" / HTTP/1.1\r\nHost: h\r\n" + length + b"\r\n"

    @pytest.mark.parametrize(
        ("method", "target", "host", "headers"),
        [
            ("PO ST", "/", "h", {}),
            ("POST", "/ x", "h", {}),
            ("POST", "/\r\nX: y", "h", {}),
            ("POST", "", "h", {}),
            ("POST", "/\u20ac", "h", {}),
            ("POST", "/\udcff", "h", {}),
            ("POST", "/", "h\r\nX: y", {}),
            ("POST", "/", "h", {"X": "a\nb"}),
            ("POST", "/", "h", {"X:": "a"}),
        ],
    )
    def test_what_cannot_be_written_is_not(
        self, method: str, target: str, host: str, headers: dict[str, str]
    ) -> None:
        connection = HttpClientConnection()
        with pytest.raises(LocalProtocolError):
            connection.request(method, target, host, headers)
        assert connection.reusable

    def test_its_requests_are_what_the_server_reads(self) -> None:
        request = read_one(HttpClientConnection().request("PUT", "/x", "h", {"X-a": "b"}, b"body"))
        assert request == HttpRequest(
            "PUT", "/x", "1.1", {"host": "h", "x-a": "b", "content-length": "4"}, b"body", True
        )

    @pytest.mark.parametrize(
        ("data", "reply"),
        [
            (OK, OK_REPLY),
            (b"\r\n" + OK, OK_REPLY),
            (b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" + OK, OK_REPLY),
            (b"HTTP/1.1 204\r\n\r\n", HttpReply(204, {}, b"")),
            (
                b"HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n",
                HttpReply(304, {"content-length": "9"}, b""),
            ),
            (
                b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5;x=y\r\nhello\r\n0\r\nT: u\r\n\r\n",
                HttpReply(200, {"transfer-encoding": "chunked"}, b"hello"),
            ),
        ],
    )
    def test_a_reply_is_read_and_the_connection_kept(self, data: bytes, reply: HttpReply) -> None:
        assert replies(data) == [reply]
        connection = HttpClientConnection()
        connection.request("POST", "/", "h")
        assert not connection.reusable
        connection.receive(data)
        assert connection.reusable

    def test_pipelined_replies_come_in_order(self) -> None:
        second = b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"
        assert replies(OK + second, "POST", "GET") == [OK_REPLY, HttpReply(404, {"content-length": "0"}, b"")]

    def test_the_reply_to_head_has_no_body(self) -> None:
        data = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n" + OK
        assert replies(data, "HEAD", "GET") == [HttpReply(200, {"content-length": "5"}, b""), OK_REPLY]

    @pytest.mark.parametrize("version", [b"1.1", b"1.0"])
    def test_a_body_without_a_length_goes_on_to_the_end(self, version: bytes) -> None:
        data = b"HTTP/" + version + b" 200 OK\r\n\r\nhello\r\n\r\nHTTP/1.1 200 OK\r\n\r\n"
        assert replies(data, eof=True) == [HttpReply(200, {}, data.partition(b"\r\n\r\n")[2])]
        assert replies(data) == []

    @pytest.mark.parametrize(
        "data",
        [
            OK.replace(b"X-a: b", b"Connection: close"),
            OK.replace(b"1.1", b"1.0", 1),
            OK.replace(b"X-a: b", b"Connection: close") + b"trailing",
        ],
    )
    def test_a_connection_that_the_server_ends_is_not_reusable(self, data: bytes) -> None:
        connection = HttpClientConnection()
        connection.request("POST", "/", "h")
        [reply] = connection.receive(data)
        assert reply.body == b"hello"
        assert not connection.reusable
        with pytest.raises(LocalProtocolError, match="no further request"):
            connection.request("POST", "/", "h")
        assert connection.receive_eof() == []

    def test_an_old_server_may_keep_the_connection(self) -> None:
        connection = HttpClientConnection()
        connection.request("POST", "/", "h")
        connection.receive(OK.replace(b"1.1", b"1.0", 1).replace(b"X-a: b", b"Connection: keep-alive"))
        assert connection.reusable

    @pytest.mark.parametrize(
        "data",
        [
            b"garbage",
            b"HTTQ",
            b"HTTP/2 200 OK\r\n",
            b"HTTP/1.1 20 OK\r\n",
            b"HTTP/1.1 999 x\r\n",
            b"HTTP/1.1 200 OK\n",
            b"HTTP/1.1 200\x00\r\n",
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nNo field\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
            b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nx\r\n",
            b"HTTP/1.1 200 " + b"x" * LINE_LIMIT,
        ],
    )
    def test_what_is_no_reply_is_an_error(self, data: bytes) -> None:
        with pytest.raises(RemoteProtocolError):
            replies(data)

    def test_the_head_of_a_reply_is_bounded(self) -> None:
        connection = HttpClientConnection()
        connection.request("POST", "/", "h")
        assert connection.receive(b"HTTP/1.1 200 OK\r\nX: ") == []
        with pytest.raises(RemoteProtocolError, match=f"more than {HEAD_LIMIT} bytes"):
            connection.receive(b"x" * HEAD_LIMIT)

    @pytest.mark.parametrize(
        "data",
        [
            b"HTTP/1.1 200 OK\r\nContent-Length: 11\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nb\r\n",
            b"HTTP/1.1 200 OK\r\n\r\nhello world",
        ],
    )
    def test_the_body_of_a_reply_is_bounded(self, data: bytes) -> None:
        with pytest.raises(RemoteProtocolError, match="body of "):
            replies(data, body_limit=10)

    @pytest.mark.parametrize(
        "data", [b"HTTP", OK[:30], OK[:-1], b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"]
    )
    def test_a_reply_that_is_cut_off_is_an_error(self, data: bytes) -> None:
        with pytest.raises(RemoteProtocolError, match="cut off"):
            replies(data, eof=True)

    @pytest.mark.parametrize("data", [b"", b"HTTP/1.1 100 Continue\r\n\r\n"])
    def test_an_end_without_a_reply_is_an_error(self, data: bytes) -> None:
        with pytest.raises(RemoteProtocolError, match="without a reply"):
            replies(data, eof=True)

    def test_the_end_after_all_replies_is_none(self) -> None:
        connection = HttpClientConnection()
        assert connection.receive_eof() == []
        assert replies(OK, eof=True) == [OK_REPLY]

    def test_a_reply_that_was_not_asked_for_is_an_error(self) -> None:
        with pytest.raises(RemoteProtocolError, match="not asked for"):
            HttpClientConnection().receive(OK)

    def test_a_reply_before_an_error_is_given_first(self) -> None:
        connection = HttpClientConnection()
        connection.request("POST", "/", "h")
        assert connection.receive(OK + b"garbage") == [OK_REPLY]
        assert not connection.reusable
        with pytest.raises(RemoteProtocolError, match="not asked for"):
            connection.receive(b"")
        with pytest.raises(RemoteProtocolError, match="not asked for"):
            connection.receive_eof()

    def test_an_error_carries_the_offending_bytes(self) -> None:
        connection = HttpClientConnection()
        connection.request("POST", "/", "h")
        with pytest.raises(RemoteProtocolError) as caught:
            connection.receive(b"SSH-2.0-OpenSSH_9.6\r\n")
        assert caught.value.data == b"SSH-2.0-OpenSSH_9.6\r\n"
