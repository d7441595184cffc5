"""Answers in pieces, without a network: heads, chunks, lengths, and what is refused."""

from __future__ import annotations

from collections.abc import AsyncGenerator

import pytest

from bridle.core.errors import LocalProtocolError
from bridle.wire.http import HttpRequest, HttpResponse, HttpServerConnection, HttpStream

DATE = b"Fri, 20 Nov 2026 10:29:26 GMT"


async def nothing() -> AsyncGenerator[bytes, None]:
    """The pieces are written by hand here."""
    return
    yield b""


def asked(text: bytes = b"GET / HTTP/1.1\r\n\r\n") -> tuple[HttpServerConnection, HttpRequest]:
    """A connection with one request."""
    connection = HttpServerConnection()
    [request] = connection.receive(text)
    assert isinstance(request, HttpRequest)
    return connection, request


def test_a_body_of_unknown_length_is_chunked() -> None:
    connection, request = asked()
    head = connection.begin(request, HttpStream(200, nothing(), content_type="text/plain"), DATE)
    assert head == (
        b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nDate: "
        + DATE
        + b"\r\nTransfer-Encoding: chunked\r\n\r\n"
    )
    assert connection.streaming
    assert connection.write(b"x" * 26) == b"1a\r\n" + b"x" * 26 + b"\r\n"
    assert connection.write(b"") == b""
    assert connection.end() == b"0\r\n\r\n"
    assert not connection.streaming
    assert connection.idle
    assert not connection.closing


def test_a_body_of_known_length_is_sent_as_it_is() -> None:
    connection, request = asked()
    head = connection.begin(request, HttpStream(206, nothing(), 5, (("X-A", "b"),)), DATE)
    assert b"HTTP/1.1 206 Partial Content\r\nContent-Length: 5\r\n" in head
    assert b"X-A: b\r\n" in head
    assert connection.write(b"abc") == b"abc"
    with pytest.raises(LocalProtocolError, match="longer than it was said to be"):
        connection.write(b"def")
    with pytest.raises(LocalProtocolError, match="ends 2 bytes early"):
        connection.end()
    assert connection.write(b"de") == b"de"
    assert connection.end() == b""


def test_for_http_1_0_the_end_of_the_connection_is_the_end_of_the_body() -> None:
    connection, request = asked(b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
    head = connection.begin(request, HttpStream(200, nothing()), DATE)
    assert b"chunked" not in head
    assert b"Content-Length" not in head
    assert connection.write(b"abc") == b"abc"
    assert connection.end() == b""
    assert connection.closing


@pytest.mark.parametrize("length", [None, 7])
@pytest.mark.parametrize("status", [204, 304])
def test_an_answer_without_a_body_is_complete_with_its_head(status: int, length: int | None) -> None:
    connection, request = asked()
    head = connection.begin(request, HttpStream(status, nothing(), length), DATE)
    assert head.partition(b"\r\n")[2] == b"Date: " + DATE + b"\r\n\r\n"
    assert not connection.streaming
    assert connection.idle


def test_a_head_tells_the_length_alone() -> None:
    connection, request = asked(b"HEAD / HTTP/1.1\r\n\r\n")
    assert b"Content-Length: 7\r\n" in connection.begin(request, HttpStream(200, nothing(), 7), DATE)
    assert not connection.streaming


def test_one_answer_comes_after_the_other() -> None:
    connection, request = asked()
    connection.begin(request, HttpStream(200, nothing()), DATE)
    assert connection.receive(b"GET /next HTTP/1.1\r\n\r\n")
    with pytest.raises(LocalProtocolError, match="has not come to its end"):
        connection.respond(request, HttpResponse(200, b""), DATE)
    with pytest.raises(LocalProtocolError, match="has not come to its end"):
        connection.begin(request, HttpStream(200, nothing()), DATE)
    connection.end()
    connection.respond(request, HttpResponse(200, b""), DATE)
    with pytest.raises(LocalProtocolError, match="no request to answer"):
        connection.begin(request, HttpStream(200, nothing()), DATE)
    with pytest.raises(LocalProtocolError, match="no answer has been begun"):
        connection.write(b"x")
    with pytest.raises(LocalProtocolError, match="no answer has been begun"):
        connection.end()


def test_a_connection_that_is_to_end_does_so_behind_the_stream() -> None:
    connection, request = asked()
    connection.begin(request, HttpStream(200, nothing()), DATE)
    connection.finish()
    assert not connection.closing
    connection.end()
    assert connection.closing


def test_a_header_that_is_none_is_refused_before_anything_is_sent() -> None:
    connection, request = asked()
    with pytest.raises(LocalProtocolError):
        connection.begin(request, HttpStream(200, nothing(), headers=(("X", "a\r\nb"),)), DATE)
    assert connection.respond(request, HttpResponse(200, b"x"), DATE).endswith(b"x")
