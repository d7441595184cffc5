"""HTTP/1.1, the client's side: requests to bytes, and bytes to replies. No I/O, no clock."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Mapping

from msgspec import Struct

from bridle.core.errors import LocalProtocolError, RemoteProtocolError
from bridle.wire.http_body import Body, ChunkedBody, UnboundedBody
from bridle.wire.http_fields import TOKEN, VISIBLE, Wrong, write_fields
from bridle.wire.http_reader import LINE_LIMIT, Reader

__all__ = ["REPLY_LIMIT", "HttpClientConnection", "HttpReply"]

# Bytes of a reply's body; a million leases are about 200 MB.
REPLY_LIMIT = 512 * 1024 * 1024

_START = b"HTTP/1."
_STATUS_LINE = re.compile(rb"HTTP/(1\.[01]) ([1-5][0-9]{2})(?: " + VISIBLE + rb"*)?\r\n")
_REQUEST_LINE = re.compile(TOKEN + rb"{1,32} [!-~]+ HTTP/1\.1\r\n")
# Without a body, these need not say so (RFC 9110 §8.6).
_BODILESS_METHODS = frozenset({"GET", "HEAD"})
_BODILESS_STATUSES = frozenset({204, 304})


class HttpReply(Struct, frozen=True):
    """An answer as a client sees it; names in ``headers`` are in lower case, the last one of each."""

    status: int
    headers: dict[str, str]
    body: bytes


class HttpClientConnection(Reader):
    """The client's side of one connection. Requests may be pipelined; replies come in their order.

    ``body_limit`` bounds a reply's body, in bytes.
    """

    def __init__(self, body_limit: int = REPLY_LIMIT) -> None:
        super().__init__(body_limit)
        self._asked: deque[str] = deque()  # the methods of requests without a reply
        self._replies: list[HttpReply] = []
        self._error: RemoteProtocolError | None = None
        self._status = 0

    @property
    def reusable(self) -> bool:
        """True when, after what was received so far, another request may be sent on this connection."""
        return not (self._sealed or self._asked or self.begun)

    def request(
        self, method: str, target: str, host: str, headers: Mapping[str, str] | None = None, body: bytes = b""
    ) -> bytes:
        """Write a request. ``host`` is the Host header: a name or an address, with the port if there is one.

        Raises:
            LocalProtocolError: the connection has come to its end, or a part cannot be written.
        """
        if self._sealed:
            raise LocalProtocolError("the connection takes no further request")
        line = f"{method} {target} HTTP/1.1\r\n".encode("utf-8", "surrogateescape")
        if not _REQUEST_LINE.fullmatch(line):
            raise LocalProtocolError(f"no request can have the method {method!r} and the target {target!r}")
        fields = [("Host", host), *(headers or {}).items()]
        if body or method not in _BODILESS_METHODS:
            fields.append(("Content-Length", str(len(body))))
        data = b"%b%b\r\n%b" % (line, write_fields(fields), body)
        self._asked.append(method)
        return data

    def receive(self, data: bytes) -> list[HttpReply]:
        """Take the bytes that came and return the replies that they complete, in order.

        Replies that were complete before an error are returned first; the next call raises it.

        Raises:
            RemoteProtocolError: the bytes are no reply, or are too many.
        """
        replies = self._replies = []
        if not self._sealed:
            try:
                self._read(data)
            except Wrong as wrong:
                self._fail(str(wrong), data)
        return self._give(replies)

    def receive_eof(self) -> list[HttpReply]:
        """Take note that the server sends no more, and return the reply that only its end completes.

        Raises:
            RemoteProtocolError: a reply was cut off, or never began.
        """
        replies = self._replies = []
        if isinstance(self._body, UnboundedBody):
            self._finish(bytes(self._body.data))
        elif self.begun:
            self._fail("the reply was cut off", self._kept)
        elif self._asked and self._error is None:
            self._fail("the connection was closed without a reply", b"")
        self._seal()
        return self._give(replies)

    def _fail(self, text: str, data: bytes) -> None:
        self._error = RemoteProtocolError(text, data)
        self._seal()

    def _give(self, replies: list[HttpReply]) -> list[HttpReply]:
        if self._error is not None and not replies:
            raise self._error
        return replies

    def _start(self, data: bytes, start: int) -> int:
        if not self._asked:
            raise Wrong(400, "a reply that was not asked for")
        match = _STATUS_LINE.match(data, start, start + LINE_LIMIT)
        if match is None:
            return self._without_line(data, start)
        self._version, self._status = match[1].decode(), int(match[2])
        return match.end()

    @staticmethod
    def _without_line(data: bytes, start: int) -> int:
        begins = data[start : start + len(_START)]
        if not _START.startswith(begins) or data.find(b"\n", start, start + LINE_LIMIT) >= 0:
            raise Wrong(400, "no HTTP/1.x reply begins like this")
        if len(data) - start > LINE_LIMIT:
            raise Wrong(400, f"status line of more than {LINE_LIMIT} bytes")
        return 0

    def _choose_body(self) -> int | Body:
        if self._status == 101:
            raise Wrong(400, "the server switched to a protocol that was not asked for")
        if self._status < 200 or self._status in _BODILESS_STATUSES or self._asked[0] == "HEAD":
            return 0
        length = self._fields.length(self._body_limit, self._version or "1.0")
        if length is None:
            return ChunkedBody(self._body_limit)
        if "content-length" in self._fields.headers:
            return length
        self._fields.keep_alive = False
        return UnboundedBody(self._body_limit)

    def _finish(self, body: bytes) -> None:
        if self._status < 200:
            return
        self._asked.popleft()
        self._replies.append(HttpReply(self._status, self._fields.headers, body))
        if not self._fields.keep_alive:
            self._seal()
