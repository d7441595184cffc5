"""HTTP/1.1, the server's side: bytes to requests, and answers to bytes in Kea's form (``facts/kea.md`` §2.1).

A connection takes bytes in whatever pieces and gives requests. What a client may not do is answered in its
turn with a refusal, and nothing after it is read. There is no I/O and no clock here: the carrier says when
time is up, and what date it is. The client's side is :mod:`bridle.wire.http_client`.

Taken on purpose beyond Kea: chunked bodies, pipelining, ``Expect: 100-continue``. Done otherwise: limits, a
length that is no number is refused, a HEAD is answered without a body, and the end of a connection is
announced where Kea has no answer of its own.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from functools import lru_cache
from http import HTTPStatus

from msgspec import Struct

from bridle.core.errors import LocalProtocolError
from bridle.wire.http_body import CHUNK_LINE_LIMIT, TRAILER_LIMIT, Body, ChunkedBody
from bridle.wire.http_client import REPLY_LIMIT, HttpClientConnection, HttpReply
from bridle.wire.http_fields import HEADER_COUNT, TOKEN, Wrong, write_fields
from bridle.wire.http_reader import HEAD_LIMIT, LINE_LIMIT, Reader
from bridle.wire.http_stream import HttpStream, OutgoingBody

__all__ = [
    "BODY_LIMIT",
    "CHUNK_LINE_LIMIT",
    "HEADER_COUNT",
    "HEAD_LIMIT",
    "LINE_LIMIT",
    "REPLY_LIMIT",
    "TRAILER_LIMIT",
    "HttpClientConnection",
    "HttpReply",
    "HttpRequest",
    "HttpResponse",
    "HttpServerConnection",
    "HttpStream",
    "stock",
]

# Bytes of a request's body. Kea has no limit; 100,000 host reservations in a config-set are about 12 MB.
BODY_LIMIT = 32 * 1024 * 1024

_REQUEST_LINE = re.compile(rb"(" + TOKEN + rb"{1,32}) ([^\x00-\x20\x7f]*) HTTP/([0-9]\.[0-9])(\r?)\n")
_METHOD = re.compile(TOKEN + rb"{1,32}(?: |\Z)")
# The spellings that are met all the time need no decoding.
_METHODS = {name.encode(): name for name in ("POST", "GET", "HEAD", "PUT", "DELETE", "PATCH", "OPTIONS")}

# What a client may call its request: what others make of it, and no more than a log line bears.
_NAME = re.compile(r"[A-Za-z0-9._:/+=@-]{1,128}")
_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
# Where the standard library's phrases are older than RFC 9110.
_PHRASES = {413: "Content Too Large", 414: "URI Too Long", 422: "Unprocessable Content"}
_BODILESS_STATUSES = frozenset({204, 304})
_OWN_HEADERS = frozenset({"connection", "content-length", "content-type", "date", "transfer-encoding"})
# Kea ends a connection without a word. Where it has the same answer it is given in the same form; elsewhere
# the end is announced, as RFC 9112 §9.6 asks. Neither says keep-alive to a client of HTTP/1.0.
_UNANNOUNCED = frozenset({400, 408})


class HttpRequest(Struct, frozen=True):
    """A request.

    ``method`` is in upper case, ``target`` as it was sent. ``version`` is ``1.1`` or ``1.0``; Kea treats
    every other one as 1.0. ``headers`` has names in lower case, the last one of each; values keep trailing
    blanks, which Kea tells apart. ``keep_alive`` is what the client asked for. ``id`` names the request in
    logs and in its answer: what the client chose (``X-Request-ID``), or what it was given; empty where
    requests are not named.
    """

    method: str
    target: str
    version: str
    headers: dict[str, str]
    body: bytes
    keep_alive: bool
    id: str = ""


class HttpResponse(Struct, frozen=True):
    """An answer.

    ``headers`` are those beside Connection, Content-Length, Content-Type, Date and Transfer-Encoding, which
    are the connection's to write. An empty ``content_type`` is not sent. ``close`` ends the connection after
    this answer.
    """

    status: int
    body: bytes
    headers: tuple[tuple[str, str], ...] = ()
    content_type: str = "application/json"
    close: bool = False


@lru_cache(maxsize=64)
def _stock_body(status: int) -> bytes:
    return f'{{ "result": {status}, "text": "{_phrase(status)}" }}'.encode()


def stock(status: int, *, headers: Sequence[tuple[str, str]] = ()) -> HttpResponse:
    """The answer that says no more than its status, in Kea's form: a single map."""
    return HttpResponse(status, _stock_body(status), tuple(headers))


class HttpServerConnection(Reader):
    """The server's side of one connection.

    Every message of :meth:`receive` and :meth:`receive_eof` is answered once, in order: by :meth:`respond`,
    or in pieces by :meth:`begin`, :meth:`write` and :meth:`end`. ``body_limit`` bounds a request's body, in
    bytes; ``turn`` the requests that are read at a time, 0: all. ``fixed`` are header lines, each with its
    end, that stand behind Kea's own in every answer which has no such header itself. ``identify`` names the
    requests that come without a usable name; where it is given, each answer tells the name of its request.
    """

    def __init__(
        self,
        body_limit: int = BODY_LIMIT,
        *,
        turn: int = 0,
        fixed: bytes = b"",
        identify: Callable[[], str] | None = None,
    ) -> None:
        super().__init__(body_limit)
        self._turn = turn or -1
        self._fixed = fixed
        self._identify = identify
        self._messages: list[HttpRequest | HttpResponse] = []
        self._unanswered = 0
        self._finishing = False
        self._expecting = False
        self._method = ""
        self._target = ""
        self._outgoing: OutgoingBody | None = None
        self._last = False
        self.fault: str = ""
        """Why the client was refused, for a log; empty while it was not."""

    @property
    def idle(self) -> bool:
        """True when no request is under way and none waits for its answer."""
        return not self._unanswered and not self.begun

    @property
    def closing(self) -> bool:
        """True as soon as the connection ends after the bytes that were handed out so far."""
        return self._sealed and not self._unanswered

    def receive(self, data: bytes) -> list[HttpRequest | HttpResponse]:
        """Take the bytes that came and return what they complete, in order. With a ``turn`` no more than that
        is read; where there are bytes :attr:`ahead`, the next call goes on with them, also without new ones.

        A response among the requests is a refusal: it is sent in its turn, and is the last.
        """
        messages = self._messages = []
        if self._sealed:
            if data:
                self.trailing = True
            return messages
        self._left = self._turn
        try:
            self._read(data)
        except Wrong as wrong:
            self._refuse(wrong.status, str(wrong))
        self._unanswered += len(messages)
        return messages

    def receive_eof(self) -> list[HttpRequest | HttpResponse]:
        """Take note that the client sends no more; a request that was cut off is refused."""
        messages = self._messages = []
        if self._ahead:
            self._turn = -1
            messages = self.receive(b"")
        if self.begun:
            self._refuse(400, "the request was cut off")
            self._unanswered += 1
        self._seal()
        return messages

    def expire(self, date: bytes) -> bytes:
        """End a connection whose request does not come to its end: the answer 408.

        Raises:
            LocalProtocolError: a request waits for its answer; it is not the client who is late.
        """
        return self.reject(408, date)

    def reject(self, status: int, date: bytes) -> bytes:
        """End a connection with a refusal that is not about a request; 503, for example.

        Raises:
            LocalProtocolError: a request waits for its answer.
        """
        if self._unanswered:
            raise LocalProtocolError("a request waits for its answer, which comes first")
        self._unanswered = 1
        return self.respond(None, stock(status), date)

    def abandon(self, status: int, date: bytes) -> bytes:
        """As :meth:`reject`; requests that wait for their answers get none any more."""
        self._unanswered = 0
        return self.reject(status, date)

    def invite(self) -> bytes:
        """What a client waits for before it sends its body (``Expect: 100-continue``); mostly nothing.

        To be sent at once. Kea ignores the wish, which costs such a client a second.
        """
        if not self._expecting or self._unanswered:
            return b""
        self._expecting = False
        return _CONTINUE

    def finish(self) -> None:
        """Let the connection end with the next answer that leaves nothing under way."""
        self._finishing = True

    def respond(self, request: HttpRequest | None, response: HttpResponse, date: bytes) -> bytes:
        """Write the answer to a request, or a refusal (``request`` is None).

        ``date`` is the current time as in ``Fri, 20 Nov 2026 10:29:26 GMT``.

        Raises:
            LocalProtocolError: there is nothing to answer, or the answer cannot be written; another one may
                then be given.
        """
        if not self._unanswered or self._outgoing is not None:
            raise self._not_now()
        kept = request is None or request.keep_alive
        version = request.version if request is not None else self._version or "1.0"
        last = not kept or self._ends_with(request, response)
        status = response.status
        announced = last and kept and version == "1.1" and status not in _UNANNOUNCED
        bodiless = status in _BODILESS_STATUSES
        length = None if bodiless else len(response.body)
        head = _named(_write_head(version, response, length, date, announced, self._fixed), request)
        self._unanswered -= 1
        if last:
            self._seal()
            self._unanswered = 0
        if bodiless or (request is not None and request.method == "HEAD"):
            return head
        return head + response.body

    def begin(self, request: HttpRequest, stream: HttpStream, date: bytes) -> bytes:
        """Write the head of an answer that comes in pieces. Unless it has no body, as :attr:`streaming` says,
        :meth:`write` and :meth:`end` have to follow.

        Raises:
            LocalProtocolError: as :meth:`respond`.
        """
        if not self._unanswered or self._outgoing is not None:
            raise self._not_now()
        unknown = stream.length is None and stream.status not in _BODILESS_STATUSES
        chunked = unknown and request.version == "1.1"
        last = not request.keep_alive or self._ends_with(request, stream) or (unknown and not chunked)
        announced = last and request.keep_alive and request.version == "1.1"
        length, fixed = None if stream.status in _BODILESS_STATUSES else stream.length, self._fixed
        head = _write_head(request.version, stream, length, date, announced, fixed, chunked=chunked)
        head = _named(head, request)
        if stream.status in _BODILESS_STATUSES or request.method == "HEAD":
            self._answered(last)
        else:
            self._outgoing = OutgoingBody(stream.length, chunked=chunked)
            self._last = last
        return head

    @property
    def streaming(self) -> bool:
        """True between the head of an answer that comes in pieces and its end."""
        return self._outgoing is not None

    def write(self, piece: bytes) -> bytes:
        """Write a piece of the answer that was begun.

        Raises:
            LocalProtocolError: none was, or there is more than was announced.
        """
        return self._begun_body().write(piece)

    def end(self) -> bytes:
        """Write the end of the answer that was begun.

        Raises:
            LocalProtocolError: none was, or there is less than was announced; the connection is of no use
                then.
        """
        data = self._begun_body().end()
        self._outgoing = None
        self._answered(self._last or self._finishes())
        return data

    def _begun_body(self) -> OutgoingBody:
        if self._outgoing is None:
            raise LocalProtocolError("no answer has been begun")
        return self._outgoing

    def _not_now(self) -> LocalProtocolError:
        if self._outgoing is not None:
            return LocalProtocolError("another answer has not come to its end")
        return LocalProtocolError("there is no request to answer")

    def _answered(self, last: bool) -> None:
        self._unanswered -= 1
        if last:
            self._seal()
            self._unanswered = 0

    def _ends_with(self, request: HttpRequest | None, response: HttpResponse | HttpStream) -> bool:
        if request is None or response.close:
            return True
        return self._finishes()

    def _finishes(self) -> bool:
        return self._finishing and self._unanswered == 1 and not self.begun

    def _refuse(self, status: int, text: str) -> None:
        self.fault = text
        self._seal(trailing=True)
        self._messages.append(stock(status))

    def _start(self, data: bytes, start: int) -> int:
        match = _REQUEST_LINE.match(data, start, start + LINE_LIMIT)
        if match is None:
            return self._without_line(data, start)
        method, target, version, carriage_return = match.groups()
        self._version = "1.1" if version == b"1.1" else "1.0"
        if not carriage_return:
            raise Wrong(400, "a line ends in LF alone")
        self._method = _METHODS.get(method) or method.decode("ascii").upper()
        self._target = target.decode("latin-1")
        return match.end()

    @staticmethod
    def _without_line(data: bytes, start: int) -> int:
        if _METHOD.match(data, start) is None:
            raise Wrong(400, "a request begins with a method")
        if data.find(b"\n", start, start + LINE_LIMIT) >= 0:
            raise Wrong(400, "the start line is malformed")
        if len(data) - start > LINE_LIMIT:
            raise Wrong(414, f"start line of more than {LINE_LIMIT} bytes")
        return 0

    def _choose_body(self) -> int | Body:
        if self._fields.repeated:
            raise Wrong(400, f"header section: {self._fields.repeated} is there twice")
        version = self._version or "1.0"
        length = self._fields.length(self._body_limit, version)
        expectation = self._fields.headers.get("expect")
        if expectation is not None and length != 0 and version == "1.1":
            self._expecting = expectation.strip().lower() == "100-continue"
        return ChunkedBody(self._body_limit) if length is None else length

    def _read_body(self, body: Body, data: bytes, position: int) -> int:
        self._expecting = False
        return super()._read_body(body, data, position)

    def _finish(self, body: bytes) -> None:
        fields = self._fields
        headers = fields.headers
        name = headers.get("x-request-id", "") if self._identify is not None else ""
        if self._identify is not None and (not name or _NAME.fullmatch(name) is None):
            name = self._identify()
        request = HttpRequest(
            self._method, self._target, self._version or "1.0", headers, body, fields.keep_alive, name
        )
        self._messages.append(request)
        self._left -= 1
        self._expecting = False
        if fields.keep_alive:
            self._version = None
        else:
            self._sealed = True


def _phrase(status: int) -> str:
    if status in _PHRASES:
        return _PHRASES[status]
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Unknown"


def _status_line(version: str, status: int) -> bytes:
    if not 200 <= status <= 599:
        raise LocalProtocolError(f"{status} is not a status that an answer can have")
    return f"HTTP/{version} {status} {_phrase(status)}\r\n".encode("ascii")


def _write_head(
    version: str,
    response: HttpResponse | HttpStream,
    length: int | None,
    date: bytes,
    announced: bool,
    fixed: bytes,
    *,
    chunked: bool = False,
) -> bytes:
    """The head but for its end."""
    before, between, behind = _frame(
        version,
        response.status,
        response.content_type,
        response.headers,
        fixed,
        announced,
        length is not None,
        chunked,
    )
    if length is None:
        return b"%b%b%b" % (before, date, behind)
    return b"%b%d%b%b%b" % (before, length, between, date, behind)


@lru_cache(maxsize=256)
def _frame(
    version: str,
    status: int,
    content_type: str,
    headers: tuple[tuple[str, str], ...],
    fixed: bytes,
    announced: bool,
    counted: bool,
    chunked: bool,
) -> tuple[bytes, bytes, bytes]:
    """What stands in a head before the length, between it and the date, and behind that; without a length,
    what stands before the date, nothing, and what stands behind it. Fields are sorted by name, as Kea has
    them, and what is fixed follows."""
    fields = [("Date", "")]
    if announced:
        fields.append(("Connection", "close"))
    if counted:
        fields.append(("Content-Length", ""))
    if chunked:
        fields.append(("Transfer-Encoding", "chunked"))
    if content_type and status not in _BODILESS_STATUSES:
        fields.append(("Content-Type", content_type))
    for name, value in headers:
        if name.lower() in _OWN_HEADERS:
            raise LocalProtocolError(f"the header '{name}' is the connection's to write")
        fields.append((name, value))
    fields.sort(key=lambda field: field[0].lower())
    names = [name for name, _ in fields]
    dated = names.index("Date")
    lengthy = names.index("Content-Length") if "Content-Length" in names else dated
    before = _status_line(version, status) + write_fields(fields[:lengthy])
    behind = b"\r\n" + write_fields(fields[dated + 1 :]) + _besides(fixed, headers)
    if lengthy == dated:
        return before + b"Date: ", b"", behind
    return (
        before + b"Content-Length: ",
        b"\r\n" + write_fields(fields[lengthy + 1 : dated]) + b"Date: ",
        behind,
    )


def _named(head: bytes, request: HttpRequest | None) -> bytes:
    """A head with its end, and the name of the request that is answered."""
    if request is not None and request.id:
        return b"%bX-Request-ID: %b\r\n\r\n" % (head, request.id.encode("ascii"))
    return head + b"\r\n"


def _besides(fixed: bytes, headers: tuple[tuple[str, str], ...]) -> bytes:
    """Of the fixed lines those that the answer does not have in its own way."""
    if not (fixed and headers):
        return fixed
    own = {name.lower().encode("latin-1") for name, _ in headers}
    lines = fixed.splitlines(keepends=True)
    return b"".join(line for line in lines if line.partition(b":")[0].lower() not in own)
