"""HTTP bodies: where one ends, byte by byte. Each takes from a position and says where it stopped."""

from __future__ import annotations

import re
from typing import TypeAlias

from bridle.wire.http_fields import TOKEN, VISIBLE, Wrong

__all__ = ["CHUNK_LINE_LIMIT", "TRAILER_LIMIT", "Body", "ChunkedBody", "CountedBody", "UnboundedBody"]

# Bytes of the line before a chunk: a length of 16 digits, and extensions, which nobody sends.
CHUNK_LINE_LIMIT = 256
# Bytes of the fields behind a chunked body; a checksum or two.
TRAILER_LIMIT = 8 * 1024

_CHUNK_LINE = re.compile(rb"([0-9A-Fa-f]{1,16})(?:[ \t]*;" + VISIBLE + rb"*)?\r\n")
_TRAILER = re.compile(TOKEN + rb"+:" + VISIBLE + rb"*\r\n")


class CountedBody:
    """A body whose length is known."""

    def __init__(self, length: int) -> None:
        self.data: bytearray = bytearray()
        self._length = length

    @property
    def complete(self) -> bool:
        """True once all of it has come."""
        return len(self.data) == self._length

    def receive(self, data: bytes, position: int) -> int:
        """Take bytes from ``position`` on; the position after the last that belongs here."""
        end = min(len(data), position + self._length - len(self.data))
        self.data += memoryview(data)[position:end]
        return end


class UnboundedBody:
    """A body that ends with the connection, of ``limit`` bytes at most."""

    complete = False

    def __init__(self, limit: int) -> None:
        self.data: bytearray = bytearray()
        self._limit = limit

    def receive(self, data: bytes, position: int) -> int:
        """Take bytes from ``position`` on.

        Raises:
            Wrong: they are more than the limit.
        """
        self.data += memoryview(data)[position:]
        if len(self.data) > self._limit:
            raise Wrong(413, f"body of more than {self._limit} bytes")
        return len(data)


class ChunkedBody:
    """A chunked body (RFC 9112 §7.1), of ``limit`` bytes at most.

    Extensions and the fields behind the last chunk are checked and dropped.
    """

    def __init__(self, limit: int) -> None:
        self.data: bytearray = bytearray()
        self.complete: bool = False
        self._limit = limit
        self._line = b""
        self._left = 0  # bytes of this chunk still to come, its line end included
        self._last = False
        self._trailing = 0  # bytes behind the last chunk so far

    def receive(self, data: bytes, position: int) -> int:
        """Take bytes from ``position`` on; the position after the last that belongs here.

        Raises:
            Wrong: the chunks are malformed or too many.
        """
        while position < len(data) and not self.complete:
            position = self._content(data, position) if self._left else self._next_line(data, position)
        return position

    def _content(self, data: bytes, position: int) -> int:
        end = min(len(data), position + self._left)
        self.data += memoryview(data)[position:end]
        self._left -= end - position
        if not self._left:
            if not self.data.endswith(b"\r\n"):
                raise Wrong(400, "a chunk is longer than it says")
            del self.data[-2:]
        return end

    def _next_line(self, data: bytes, position: int) -> int:
        limit = TRAILER_LIMIT - self._trailing if self._last else CHUNK_LINE_LIMIT
        end = data.find(b"\n", position, position + limit) + 1
        line = self._line + data[position : end or position + limit + 1]
        if len(line) > limit:
            raise Wrong(400, f"{'trailing fields' if self._last else 'chunk extensions'} are too long")
        self._line = b"" if end else line
        if end and self._last:
            self._trailer(line)
        elif end:
            self._chunk(line)
        return end or len(data)

    def _chunk(self, line: bytes) -> None:
        match = _CHUNK_LINE.fullmatch(line)
        if match is None:
            raise Wrong(400, "the line before a chunk is malformed")
        size = int(match[1], 16)
        if len(self.data) + size > self._limit:
            raise Wrong(413, f"body of more than {self._limit} bytes")
        self._last = size == 0
        self._left = size + 2 if size else 0

    def _trailer(self, line: bytes) -> None:
        self._trailing += len(line)
        self.complete = line == b"\r\n"
        if not self.complete and _TRAILER.fullmatch(line) is None:
            raise Wrong(400, "a field behind a chunked body is malformed")


Body: TypeAlias = CountedBody | ChunkedBody | UnboundedBody
