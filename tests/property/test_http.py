"""HTTP/1.1 against whatever bytes: the same in all pieces, as h11 reads them, or refused as documented."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Iterable

import h11
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from bridle.core.errors import RemoteProtocolError
from bridle.core.messages import Peer
from bridle.net.http import HttpListener
from bridle.testing import run
from bridle.wire.http import (
    HttpClientConnection,
    HttpReply,
    HttpRequest,
    HttpResponse,
    HttpServerConnection,
    stock,
)

DATE = b"Fri, 20 Nov 2026 10:29:26 GMT"
BODY_LIMIT = 200
REFUSALS = frozenset({400, 413, 414, 431, 501})
VALID = b"POST /valid HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\nhi"

TOKENS = st.text("!#$%&'*+-.^_`|~0123456789ABCxyz", min_size=1, max_size=12)
VALUES = st.text('ab:;,="\t \x80\xff/0', max_size=20).map(str.strip)
FRAMING = frozenset({"content-length", "transfer-encoding", "connection", "expect", "host", "upgrade"})


@st.composite
def head_fields(draw: st.DrawFn) -> list[tuple[str, str]]:
    names = draw(st.lists(TOKENS.filter(lambda name: name.lower() not in FRAMING), max_size=5))
    return [("Host", "h"), *((name, draw(VALUES)) for name in names)]


def encode_chunks(pieces: Iterable[bytes]) -> bytes:
    chunks = [b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces if piece]
    return b"".join(chunks) + b"0\r\n\r\n"


@st.composite
def requests(draw: st.DrawFn) -> bytes:
    """A valid request that says nothing about the connection."""
    method = draw(st.sampled_from(["POST", "GET", "PUT", "FOO"]))
    target = draw(st.sampled_from(["/", "/a/b?c=d", "*", "http://h/x", "/" + "x" * 50]))
    fields, body = draw(head_fields()), draw(st.binary(max_size=BODY_LIMIT))
    payload = body
    if draw(st.booleans()):
        fields.append(("Transfer-Encoding", "chunked"))
        cut = draw(st.integers(0, len(body)))
        payload = encode_chunks([body[:cut], body[cut:]])
    elif body or draw(st.booleans()):
        fields.append(("Content-Length", str(len(body))))
    return write(method, target, draw(st.permutations(fields))) + payload


def write(method: str, target: str, fields: Iterable[tuple[str, str]]) -> bytes:
    lines = [f"{method} {target} HTTP/1.1", *(f"{name}: {value}" for name, value in fields), "", ""]
    return "\r\n".join(lines).encode("latin-1")


streams = st.one_of(
    st.lists(requests(), min_size=1, max_size=4).map(b"".join),
    st.builds(lambda request, other: request * 2 + other + request, requests(), requests()),
)
INSERTS = st.sampled_from(
    [
        b"\r",
        b"\n",
        b"\r\n",
        b"\r\n ",
        b"\r\n\r\n",
        b"\x00",
        b" ",
        b":",
        b"0\r\n\r\n",
        b"Content-Length: 3\r\n",
        b"\xff",
    ]
)


@st.composite
def mutations(draw: st.DrawFn, data: st.SearchStrategy[bytes]) -> bytes:
    """Bytes that were valid once: with some of them replaced, left out, repeated or put in, and cut off."""
    mutated = draw(data)
    for _ in range(draw(st.integers(0, 4))):
        begin = draw(st.integers(0, len(mutated)))
        end = draw(st.integers(begin, min(len(mutated), begin + 10)))
        replacement = draw(st.one_of(INSERTS, st.binary(max_size=5), st.just(mutated[begin:end] * 2)))
        mutated = mutated[:begin] + replacement + mutated[end:]
    return mutated[: draw(st.integers(0, len(mutated)))] if draw(st.booleans()) else mutated


anything = st.one_of(mutations(streams), st.binary(max_size=300))


def cut(data: bytes, places: Iterable[int]) -> list[bytes]:
    bounds = [0, *sorted(place % (len(data) + 1) for place in places), len(data)]
    return [data[begin:end] for begin, end in itertools.pairwise(bounds)]


def read(pieces: Iterable[bytes]) -> tuple[list[HttpRequest | HttpResponse], HttpServerConnection]:
    connection = HttpServerConnection(BODY_LIMIT)
    return [message for piece in pieces for message in connection.receive(piece)], connection


def ask_h11(data: bytes) -> list[HttpRequest]:
    """The requests in the bytes, as h11 reads them. Raises what h11 raises."""
    connection = h11.Connection(h11.SERVER)
    if data:
        connection.receive_data(data)
    found: list[HttpRequest] = []
    while True:
        event = connection.next_event()
        if not isinstance(event, h11.Request):
            assert event in (h11.NEED_DATA, h11.PAUSED)
            return found
        body = b""
        while isinstance(part := connection.next_event(), h11.Data):
            body += bytes(part.data)
        if not isinstance(part, h11.EndOfMessage):
            return found
        kept = connection.states[h11.CLIENT] is h11.DONE
        headers = {name.decode().lower(): value.decode("latin-1") for name, value in event.headers}
        method, target = event.method.decode(), event.target.decode("latin-1")
        found.append(HttpRequest(method, target, event.http_version.decode(), headers, body, kept))
        connection.send(h11.Response(status_code=200, headers=[("Content-Length", "0")]))
        connection.send(h11.EndOfMessage())
        if not kept:
            return found
        connection.start_next_cycle()


@settings(max_examples=200, deadline=None)
@given(streams, st.lists(st.integers(0, 2000), max_size=8))
def test_valid_requests_are_what_h11_reads(data: bytes, places: list[int]) -> None:
    messages, connection = read(cut(data, places))
    expected = ask_h11(data)
    assert messages == expected
    assert expected
    assert not connection.begun


@settings(max_examples=200, deadline=None)
@given(anything, st.lists(st.integers(0, 2000), max_size=8), st.integers(1, 3), st.data())
def test_in_turns_the_same_is_read(data: bytes, places: list[int], turn: int, more: st.DataObject) -> None:
    everything, whole = read([data])
    everything += whole.receive_eof()
    connection = HttpServerConnection(BODY_LIMIT, turn=turn)
    messages: list[HttpRequest | HttpResponse] = []
    for piece in cut(data, places):
        if connection.ahead and more.draw(st.booleans()):
            connection.keep(piece)
            continue
        found = connection.receive(piece)
        assert len(found) <= turn + 1, "a refusal may follow"
        messages += found
    for _ in range(more.draw(st.integers(0, 3))):
        messages += connection.receive(b"")
    messages += connection.receive_eof()
    assert messages == everything
    assert not connection.ahead
    assert connection.trailing == whole.trailing


@pytest.mark.parametrize("version", ["1.0", "1.1"])
@pytest.mark.parametrize("option", [None, "close", "Close", "x, close", "closed", "keep-alive, Close"])
def test_the_end_of_the_connection_is_where_h11_sees_it(version: str, option: str | None) -> None:
    field = "" if option is None else f"Connection: {option}\r\n"
    data = f"POST / HTTP/{version}\r\nHost: h\r\n{field}\r\n".encode() * 2
    if version == "1.1" or option is None or "keep-alive" not in option:  # h11 keeps none of HTTP/1.0
        assert read([data])[0] == ask_h11(data)


@settings(max_examples=400, deadline=None)
@given(anything, st.lists(st.integers(0, 2000), max_size=8))
@example(b"POST / HTTP/1.1\r\nX: y\r\n\n\r\nPOST", [20])
@example(b"POST / HTTP/1.1\r\nX: y\r\n \r\n\r\n" * 2, [24, 25])
@example(VALID * 3, [60])
def test_the_pieces_do_not_change_the_messages(data: bytes, places: list[int]) -> None:
    def outcome(pieces: Iterable[bytes]) -> tuple[list[HttpRequest | HttpResponse], bool]:
        messages, connection = read(pieces)
        return messages, connection.begun

    whole = outcome([data])
    assert outcome(cut(data, places)) == whole
    assert outcome(data[i : i + 1] for i in range(len(data))) == whole


@settings(max_examples=400, deadline=None)
@given(anything)
def test_only_requests_and_one_last_refusal_come_of_anything(data: bytes) -> None:
    messages, connection = read([data])
    messages += connection.receive_eof()
    assert all(isinstance(message, HttpRequest) and message.keep_alive for message in messages[:-1])
    last = messages[-1] if messages else None
    if isinstance(last, HttpResponse):
        assert last.status in REFUSALS
        assert last == stock(last.status)
        assert connection.fault
    for message in messages:
        assert isinstance(message, HttpResponse) or len(message.body) <= BODY_LIMIT
        assert not connection.closing
        answer = connection.respond(message if isinstance(message, HttpRequest) else None, stock(400), DATE)
        assert answer.startswith(b"HTTP/1.")
    assert connection.closing
    assert connection.receive(VALID) == []


@settings(max_examples=300, deadline=None)
@given(mutations(streams))
def test_what_both_read_is_the_same(data: bytes) -> None:
    """Nobody can smuggle a request past one of the two where both take all of a mutated stream."""
    messages, connection = read([data])
    try:
        expected = ask_h11(data)
    except h11.RemoteProtocolError:
        return
    if connection.fault or connection.begun or any(message.version != "1.1" for message in expected):
        return
    if any(not isinstance(message, HttpRequest) or message.version != "1.1" for message in messages):
        return

    def essence(found: Iterable[HttpRequest | HttpResponse]) -> list[tuple[str, str, bytes]]:
        # Ours gives methods in upper case, as Kea takes them in any.
        return [(m.method.upper(), m.target, m.body) for m in found if isinstance(m, HttpRequest)]

    assert essence(messages)[: len(expected)] == essence(expected)


@settings(max_examples=200, deadline=None)
@given(
    st.sampled_from([200, 201, 204, 299, 304, 400, 401, 404, 500, 503]),
    st.binary(max_size=100),
    st.lists(
        st.tuples(TOKENS.filter(lambda name: name.lower() not in {*FRAMING, "date"}), VALUES), max_size=4
    ),
    st.booleans(),
    st.sampled_from(["GET", "HEAD", "POST"]),
)
def test_answers_are_what_clients_read(
    status: int, body: bytes, headers: list[tuple[str, str]], close: bool, method: str
) -> None:
    client = HttpClientConnection()
    other = h11.Connection(h11.CLIENT)
    other.send(h11.Request(method=method, target="/", headers=[("Host", "h"), ("Content-Length", "0")]))
    other.send(h11.EndOfMessage())
    server = HttpServerConnection()
    [request] = server.receive(client.request(method, "/", "h"))
    assert isinstance(request, HttpRequest)
    data = server.respond(request, HttpResponse(status, body, tuple(headers), close=close), DATE)
    [reply] = client.receive(data)
    other.receive_data(data)
    event = other.next_event()
    assert isinstance(event, h11.Response)
    seen = b""
    while isinstance(part := other.next_event(), h11.Data):
        seen += bytes(part.data)
    assert isinstance(part, h11.EndOfMessage)
    assert (reply.status, reply.body) == (event.status_code, seen)
    assert seen == (b"" if method == "HEAD" or status in (204, 304) else body)
    assert reply.headers == {name.decode().lower(): value.decode("latin-1") for name, value in event.headers}
    names = [name.lower() for name, _ in event.headers.raw_items()]
    assert names == sorted(names)
    silent = close and status == 400  # Kea announces no end
    assert client.reusable is (not close or silent)
    assert server.closing is close


REPLIES = st.sampled_from(
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nX: y\r\n\r\nhello",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n",
        b"HTTP/1.0 400 Bad Request\r\n\r\nuntil the end",
    ]
)
reply_streams = st.one_of(
    mutations(st.lists(REPLIES, min_size=1, max_size=3).map(b"".join)), st.binary(max_size=200)
)


@settings(max_examples=400, deadline=None)
@given(reply_streams, st.lists(st.integers(0, 500), max_size=6), st.booleans())
def test_a_client_makes_replies_or_one_error_of_anything(data: bytes, places: list[int], eof: bool) -> None:
    def outcome(pieces: Iterable[bytes]) -> tuple[list[HttpReply], bool, bool]:
        connection = HttpClientConnection(BODY_LIMIT)
        for method in ("POST", "HEAD", "GET"):
            connection.request(method, "/", "h")
        replies: list[HttpReply] = []
        try:
            for piece in pieces:
                replies += connection.receive(piece)
            if eof:
                replies += connection.receive_eof()
        except RemoteProtocolError:
            assert not connection.reusable
            return replies, True, False
        return replies, False, connection.reusable

    def settled(pieces: Iterable[bytes]) -> tuple[list[HttpReply], bool, bool]:
        """An error behind replies is raised by the next call, so there has to be one."""
        return outcome([*pieces, b""])

    whole = settled([data])
    assert settled(cut(data, places)) == whole
    assert settled(data[i : i + 1] for i in range(len(data))) == whole


def echo(request: HttpRequest, peer: Peer) -> HttpResponse:
    return HttpResponse(200, request.body)


async def exchange(listener: HttpListener, pieces: Iterable[bytes]) -> bytes:
    reader, writer = await asyncio.open_connection(*listener.address)
    try:
        for piece in pieces:
            writer.write(piece)
            await asyncio.sleep(0)
        writer.write_eof()
        return await reader.read()
    finally:
        writer.close()
        await writer.wait_closed()


@settings(max_examples=40, deadline=None)
@given(anything, st.lists(st.integers(0, 2000), max_size=3))
def test_a_listener_serves_others_whatever_one_client_sends(data: bytes, places: list[int]) -> None:
    async def main() -> None:
        listener = await HttpListener.open("127.0.0.1", 0, echo, body_limit=BODY_LIMIT)
        try:
            answers = await exchange(listener, cut(data, places))
            messages, connection = read([data])
            messages += connection.receive_eof()
            expected = b"".join(
                connection.respond(m, echo(m, Peer()), DATE)
                if isinstance(m, HttpRequest)
                else connection.respond(None, m, DATE)
                for m in messages
            )
            assert without_dates(answers) == without_dates(expected)
            assert (await exchange(listener, [VALID])).endswith(b"\r\n\r\nhi")
        finally:
            await listener.close()

    run(main())


def without_dates(data: bytes) -> list[bytes]:
    return [line for line in data.split(b"\r\n") if not line.startswith(b"Date: ")]
