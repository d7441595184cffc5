"""Cutting a stream into HTTP messages: a start line, a header section, a body, and the next one.

The start line is read by the two sides themselves, because Kea takes more there than a parser of web traffic
does: any method in any case, any version, an empty target (``facts/kea.md`` §2.1). The header fields are
httptools' work. The body is counted here, so that it is known at each byte whose it is and which limit it is
held against. However the bytes are cut into pieces, the messages are the same, and so is the refusal.
"""

from __future__ import annotations

import re

from bridle.wire.http_body import Body, CountedBody
from bridle.wire.http_fields import HEADER_COUNT, Fields, Wrong

__all__ = ["HEAD_LIMIT", "LINE_LIMIT", "Reader"]

# Bytes of a start line. Targets here are paths of a few dozen bytes; 8 KiB is what web servers settled on.
LINE_LIMIT = 8 * 1024
# Bytes of a start line and its header fields, kept in memory until they are complete. Kea has no limit; a
# Kerberos ticket, the largest field that is met in practice, stays below 64 KiB.
HEAD_LIMIT = 64 * 1024
# Bytes of a head that is remembered in case it comes again; what programs send, as against browsers.
REPEATED_LIMIT = 1024

_BLANK_LINES = re.compile(rb"[\r\n]+")
_BARE_LINE_FEED = re.compile(rb"(?<!\r)\n")


class Reader:
    """The part that the server's side and the client's have in common."""

    def __init__(self, body_limit: int) -> None:
        self._body_limit = body_limit
        self._fields = Fields()
        self._version: str | None = None  # known once the start line is
        self._kept = b""  # the head so far
        self._fed = 0  # bytes of it that have been dealt with
        self._searched = 0  # bytes of it in which its end has been looked for
        self._last_head = b""
        self._last_version: str | None = None
        self._body: Body | None = None
        self._sealed = False  # nothing more is read
        self._left: int = -1  # messages that are still to be read now; below 0 all
        self._ahead = b""  # what is not to be read yet
        self.trailing: bool = False
        """True when the peer sent what was not read any more."""

    @property
    def begun(self) -> bool:
        """True when a part of a message has come, and not all of it."""
        return bool(self._kept or self._ahead) or self._body is not None

    @property
    def ahead(self) -> int:
        """Bytes that are not to be read yet."""
        return len(self._ahead)

    @property
    def held(self) -> int:
        """Bytes of a message that has not come whole, and such as were not read yet."""
        body = self._body
        held = len(self._kept) + len(self._ahead)
        return held if body is None else held + len(body.data)

    def keep(self, data: bytes) -> None:
        """Take bytes that are to be read with those of the next call."""
        if self._sealed:
            self.trailing = True
        else:
            self._ahead += data

    def _start(self, data: bytes, start: int) -> int:
        """Read the start line and say where it ends; 0 if it has not come whole."""
        raise NotImplementedError

    def _choose_body(self) -> int | Body:
        """How the body is to be read: its length, or what reads it."""
        raise NotImplementedError

    def _finish(self, body: bytes) -> None:
        """Take a message that is complete."""
        raise NotImplementedError

    def _seal(self, *, trailing: bool = False) -> None:
        """Read no more, and forget what has come of a message."""
        self._sealed = True
        self.trailing = self.trailing or trailing
        self.trailing = self.trailing or self.begun
        self._kept, self._fed, self._body, self._ahead = b"", 0, None, b""

    def _read(self, data: bytes) -> None:
        self._searched = len(self._kept)
        if self._kept or self._ahead:
            data, self._kept, self._ahead = self._kept + self._ahead + data, b"", b""
        position, size = 0, len(data)
        while position < size and self._left and not self._sealed:
            if self._body is None:
                position = self._read_head(data, position)
            else:
                position = self._read_body(self._body, data, position)
        if position < size and self._sealed:
            self.trailing = True
        elif position < size:
            self._ahead = data[position:]

    def _read_head(self, data: bytes, start: int) -> int:
        if not self._fed:
            last = self._last_head
            if last and data.startswith(last, start):
                return self._read_same_head(data, start + len(last))
            if blank := _BLANK_LINES.match(data, start):
                return blank.end()
            end = self._start(data, start)
            if not end:
                return self._keep(data, start, 0)
            self._fed = end - start
            self._fields.begin(self._version or "1.0")
        limit = start + HEAD_LIMIT
        fresh = max(start + self._fed, self._searched)
        end = data.find(b"\r\n\r\n", max(start + self._fed - 2, fresh - 3), limit) + 4
        if end < 4:
            return self._read_part_of_head(data, start, fresh)
        self._fields.feed(data[start + self._fed : end])
        self._fed = 0
        if not self._fields.complete:
            raise Wrong(400, "header section: malformed end")
        self._last_head = data[start:end] if end - start <= REPEATED_LIMIT else b""
        self._last_version = self._version
        return self._after_head(data, end)

    def _read_same_head(self, data: bytes, end: int) -> int:
        """A client that asks again mostly says the same, and what it says has been read already."""
        self._version = self._last_version
        self._fields.headers = self._fields.headers.copy()
        return self._after_head(data, end)

    def _read_part_of_head(self, data: bytes, start: int, fresh: int) -> int:
        """Feed whole lines, each only when it is known that the next one is no continuation of it."""
        fed, limit = start + self._fed, start + HEAD_LIMIT
        if _BARE_LINE_FEED.search(data, fresh, limit):
            raise Wrong(400, "a line ends in LF alone")
        end = data.rfind(b"\r\n", max(fed, fresh - 2), min(len(data) - 1, limit))
        if end > fed:
            self._fields.feed(data[fed:end])
            fed = end
        if len(data) > limit:
            raise Wrong(431, f"header section of more than {HEAD_LIMIT} bytes")
        return self._keep(data, start, fed - start)

    def _keep(self, data: bytes, start: int, fed: int) -> int:
        self._kept, self._fed = data[start:], fed
        return len(data)

    def _after_head(self, data: bytes, position: int) -> int:
        if self._fields.count > HEADER_COUNT:
            raise Wrong(431, f"{self._fields.count} header fields, where {HEADER_COUNT} are taken")
        body = self._choose_body()
        if not isinstance(body, int):
            self._body = body
            return position
        end = position + body
        if end > len(data):
            self._body = CountedBody(body)
            return position
        self._finish(data[position:end])
        return end

    def _read_body(self, body: Body, data: bytes, position: int) -> int:
        end = body.receive(data, position)
        if body.complete:
            self._body = None
            self._finish(bytes(body.data))
        return end
