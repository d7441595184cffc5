"""Answers whose bodies come in pieces: what one is, and how its pieces are written (RFC 9112 §6).

Where the length is known the pieces go out as they are; where it is not, as chunks, or up to the end of the
connection for a client of HTTP/1.0.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Protocol

from msgspec import Struct

from bridle.core.errors import LocalProtocolError

__all__ = ["HttpStream", "OutgoingBody", "Pieces"]


class Pieces(Protocol):
    """The pieces of a body, in order: iterated over if there is to be a body, and closed in any case.

    Whoever makes them of a generator should know that one which nobody has begun does nothing when it is
    closed.
    """

    def __aiter__(self) -> AsyncIterator[bytes]:
        """Begin."""
        ...

    async def aclose(self) -> None:
        """No more are wanted."""
        ...


class HttpStream(Struct, frozen=True):
    """An answer whose body comes in pieces.

    ``length`` is that of the whole body, in bytes; None where nobody knows it yet. ``headers``,
    ``content_type`` and ``close`` are those of an ``HttpResponse``.
    """

    status: int
    pieces: Pieces
    length: int | None = None
    headers: tuple[tuple[str, str], ...] = ()
    content_type: str = ""
    close: bool = False


class OutgoingBody:
    """A body that is being written. ``length`` in bytes, or None; ``chunked`` says how it ends then."""

    def __init__(self, length: int | None, *, chunked: bool) -> None:
        self._left = length
        self._chunked = chunked

    def write(self, piece: bytes) -> bytes:
        """Write a piece.

        Raises:
            LocalProtocolError: there is more than was announced.
        """
        if self._left is not None:
            if len(piece) > self._left:
                raise LocalProtocolError("a body is longer than it was said to be")
            self._left -= len(piece)
        if not self._chunked:
            return piece
        # An empty chunk would be the last one.
        return b"%x\r\n%b\r\n" % (len(piece), piece) if piece else b""

    def end(self) -> bytes:
        """Write what stands behind the last piece.

        Raises:
            LocalProtocolError: there is less than was announced.
        """
        if self._left:
            raise LocalProtocolError(f"a body ends {self._left} bytes early")
        return b"0\r\n\r\n" if self._chunked else b""
