"""The ``kea`` dialect inside HTTP: what a request means, and how answers are wrapped (``facts/kea.md`` §2).

Commands are answered 200 with a list, one entry a service; what is wrong with the HTTP or the JSON itself is
answered with its status and a single map. Taken on purpose beyond Kea's agent: parameters of the content
type, comments in bodies, 405 with ``Allow`` for a wrong method.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import msgspec

from bridle.core.errors import RemoteProtocolError
from bridle.core.messages import Command, Peer, Response
from bridle.core.results import Result, from_http
from bridle.wire.http import HttpClientConnection, HttpReply, HttpRequest, HttpResponse, stock
from bridle.wire.kea_feed import COMMAND_LIMIT, Feed, FeedError
from bridle.wire.kea_messages import EnvelopeError, decode_answer, encode_answer, encode_command, read_command

__all__ = [
    "CONTENT_TYPE",
    "Forwarded",
    "KeaHttpClient",
    "KeaHttpForwarder",
    "decode_reply",
    "error",
    "read_request",
    "wrap",
    "wrap_raw",
]

CONTENT_TYPE = "application/json"

# Of Retry-After; the other form, a date, has no place in a sentence (RFC 9110 §10.2.3).
_SECONDS = re.compile(r"[0-9]{1,9}")
_SEPARATOR = re.compile(rb"[ \t\r\n]*+(?:,|\Z)")


def read_request(request: HttpRequest, peer: Peer) -> Command | HttpResponse:
    """The command of a request, or the answer that says why it holds none."""
    if request.method != "POST":
        return stock(405, headers=(("Allow", "GET, HEAD, POST" if request.target == "/" else "POST"),))
    content_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if content_type != CONTENT_TYPE:
        return stock(400)
    if not request.body:
        return error("Command processing failed: NULL command parameter")
    try:
        try:
            return read_command(request.body, peer, name="<string>", first_line=1)
        except RemoteProtocolError:
            plain = _without_comments(request.body)
            if plain is None:
                raise
            return read_command(plain, peer, name="<string>", first_line=1, size=len(request.body))
    except EnvelopeError as wrong:
        return error(f"Error during command processing: {wrong}")
    except RemoteProtocolError:
        return stock(400)


def _without_comments(body: bytes) -> bytes | None:
    """The body less its comments; None where it had none to take away, or is more than one text."""
    if b"#" not in body and b"//" not in body and b"/*" not in body:
        return None
    feed = Feed(COMMAND_LIMIT)
    try:
        end = feed.push(body)
        if end is None:
            return None
        text = feed.take()
        rest = feed.push(body, end)
    except FeedError:
        return None
    return text if rest is None and feed.size == 0 else None


def error(text: str) -> HttpResponse:
    """A command's error: 200, in a list."""
    return wrap([Response(Result.ERROR, text)])


def wrap(responses: Sequence[Response]) -> HttpResponse:
    """Answers as Kea's agent gives them: a list, in the order asked."""
    return wrap_raw([encode_answer(response) for response in responses])


def wrap_raw(answers: Sequence[bytes]) -> HttpResponse:
    """The same for answers that are passed on as they came."""
    return HttpResponse(200, b"[ " + b", ".join(answers) + b" ]")


def decode_reply(status: int, body: bytes, headers: Mapping[str, str] | None = None) -> list[Response]:
    """The answers in an HTTP reply: one per service, or one that says why there are none.

    Raises:
        RemoteProtocolError: the reply is not one of Kea's.
    """
    if status != 200:
        return [_refused(status, body, headers or {})]
    try:
        answers = msgspec.json.decode(body, type=list[msgspec.Raw])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        # Kea 2.2 writes some values that are not JSON; its answers are cut apart by its own rules then.
        return [decode_answer(answer) for answer in _cut(body)]
    return [decode_answer(bytes(answer)) for answer in answers]


def _cut(body: bytes) -> list[bytes]:
    inner = body.strip()
    if not (inner.startswith(b"[") and inner.endswith(b"]")):
        return [inner]
    inner = inner[1:-1].strip()
    answers, feed, position = [], Feed(len(body)), 0
    while position < len(inner):
        end = feed.push(inner, position)
        if end is None:
            raise RemoteProtocolError("the answer ends early", body[:100])
        answers.append(feed.take())
        separator = _SEPARATOR.match(inner, end)
        if separator is None:
            raise RemoteProtocolError("the answers are not a list", body[:100])
        position = separator.end()
    return answers


def _refused(status: int, body: bytes, headers: Mapping[str, str]) -> Response:
    try:
        text = decode_answer(body).text or ""
    except RemoteProtocolError:
        text = body[:200].decode("utf-8", "replace").strip()
    result, wait = from_http(status), headers.get("retry-after", "")
    told = f"HTTP {status}, try again after {wait} s" if _SECONDS.fullmatch(wait) else f"HTTP {status}"
    return Response(result, f"{text} ({told})" if text else told)


def _decoded(reply: HttpReply) -> list[Response]:
    return decode_reply(reply.status, reply.body, reply.headers)


class KeaHttpClient:
    """The client's side of one HTTP connection. Port 0 is none: on a unix socket."""

    def __init__(self, host: str, port: int, path: str, headers: Mapping[str, str]) -> None:
        self.connection: HttpClientConnection = HttpClientConnection()
        bracketed = f"[{host}]" if ":" in host else host
        self._host = f"{bracketed}:{port}" if port else bracketed
        self._path = path
        self._headers = {"Content-Type": CONTENT_TYPE, **headers}

    @property
    def reusable(self) -> bool:
        """True when the server keeps the connection after what was received so far."""
        return self.connection.reusable

    def request(self, command: Command) -> bytes:
        """Write a command."""
        return self.request_raw(encode_command(command))

    def request_raw(self, body: bytes, headers: Mapping[str, str] | None = None) -> bytes:
        """Write a command that is already encoded, with ``headers`` of its own."""
        fields = {**self._headers, **headers} if headers else self._headers
        return self.connection.request("POST", self._path, self._host, fields, body)

    def receive(self, data: bytes) -> list[list[Response]]:
        """Take bytes; give the replies they complete, each with its answers."""
        return [_decoded(reply) for reply in self.connection.receive(data)]

    def receive_eof(self) -> list[list[Response]]:
        """The server has closed."""
        return [_decoded(reply) for reply in self.connection.receive_eof()]


class Forwarded(msgspec.Struct, frozen=True):
    """A text that is passed on, and what names the request that it belongs to; empty where nothing does."""

    text: bytes
    request_id: str = ""
    traceparent: str = ""

    @property
    def headers(self) -> dict[str, str]:
        """The names as headers."""
        named = {"X-Request-ID": self.request_id, "traceparent": self.traceparent}
        return {name: value for name, value in named.items() if value}


class KeaHttpForwarder:
    """The same for texts that are only passed on. A daemon wraps its answer in a list of one, which is taken
    off again (``facts/kea.md`` §5, 2.7.2)."""

    def __init__(self, host: str, port: int, path: str, headers: Mapping[str, str]) -> None:
        self._client = KeaHttpClient(host, port, path, headers)

    @property
    def reusable(self) -> bool:
        """True when the server keeps the connection after what was received so far."""
        return self._client.reusable

    def request(self, question: Forwarded) -> bytes:
        """Write a command that is already encoded."""
        return self._client.request_raw(question.text, question.headers)

    def receive(self, data: bytes) -> list[bytes]:
        """Take bytes; give the answers they complete."""
        return [_unwrapped(reply) for reply in self._client.connection.receive(data)]

    def receive_eof(self) -> list[bytes]:
        """The server has closed."""
        return [_unwrapped(reply) for reply in self._client.connection.receive_eof()]


def _unwrapped(reply: HttpReply) -> bytes:
    if reply.status != 200:
        return encode_answer(_refused(reply.status, reply.body, reply.headers))
    try:
        answers = msgspec.json.decode(reply.body, type=list[msgspec.Raw])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        answers = [msgspec.Raw(answer) for answer in _cut(reply.body)]
    if len(answers) != 1:
        raise RemoteProtocolError(f"one answer was expected, {len(answers)} came", reply.body[:100])
    return bytes(answers[0])
