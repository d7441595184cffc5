"""Where a command of Kea's control channel ends: the framer, Kea's JSONFeed (``facts/kea.md`` §1.1).

A text begins with ``{`` or ``[`` and ends where as many brackets were closed as opened; their kinds are not
compared. Strings and escapes are stepped over, comments (``#``, ``//``, ``/* */``) are left out, before the
text and inside it. Nothing is decoded here.

The states, and what leads from one to the next::

    START ──{ [──▶ INSIDE ──"──▶ STRING ──\\──▶ ESCAPE
      │              │  ◀──"──┘   ◀──any──┘
      └──# /──▶ HASH, SLASH ──/──▶ LINE ──\\n──▶ back
                        └──*──▶ BLOCK ──*──▶ STAR ──/──▶ back
"""

from __future__ import annotations

import enum
import re

from bridle.core.errors import RemoteProtocolError
from bridle.wire.kea_reader import NESTING_LIMIT

__all__ = ["COMMAND_LIMIT", "Feed", "FeedError"]

# Bytes of one command. Kea has no limit; 100,000 host reservations in a config-set are about 12 MB.
COMMAND_LIMIT = 32 * 1024 * 1024


class FeedError(RemoteProtocolError):
    """The bytes cannot become a text. What it says is Kea's."""


class _State(enum.Enum):
    START = enum.auto()
    INSIDE = enum.auto()
    STRING = enum.auto()
    ESCAPE = enum.auto()
    SLASH = enum.auto()
    LINE = enum.auto()
    BLOCK = enum.auto()
    STAR = enum.auto()


# Everything that changes nothing, whole strings included, up to the next byte that matters.
# Possessive inside, so that no input makes it try twice.
# A group of alternatives may not be possessive itself: Python's re gets that wrong before 3.11.5. Its number
# of turns is bounded instead, and with it what it remembers to go back to.
_PLAIN = re.compile(rb'(?:[^"{}\[\]#/]++|"[^"\\]*+(?:\\.[^"\\]*+)*+"){0,500}', re.DOTALL)
_IN_STRING = re.compile(rb'[^"\\]*+')
_BLANKS = re.compile(rb"[ \t\r\n]*+")
_OPENING = b"{["
_CLOSING = b"}]"


def _past(pattern: re.Pattern[bytes], data: bytes | bytearray, position: int) -> int:
    """The position behind as many matches as there are."""
    while (match := pattern.match(data, position)) and match.end() > position:
        position = match.end()
    return position


class Feed:
    """Takes bytes in any pieces until they are one whole text, of ``limit`` bytes at most.

    ``first`` says whether a text's first byte is the first one of a conversation, for complaints about it.
    """

    def __init__(self, limit: int, *, first: bool = True) -> None:
        self._limit = limit
        self._begins = first
        self._reset()

    def _reset(self) -> None:
        self._state = _State.START
        self._outer = _State.START
        self._kept = bytearray()
        self._depth = 0
        self._first = self._begins

    @property
    def empty(self) -> bool:
        """True when nothing was kept of what came so far, and no comment is open."""
        return self._state is _State.START and not self._kept

    @property
    def size(self) -> int:
        """Bytes kept so far: leading blanks and comments do not count."""
        return len(self._kept)

    def take(self) -> bytes:
        """The text, and begin anew."""
        text = bytes(self._kept)
        self._reset()
        return text

    def push(self, data: bytes | bytearray, position: int = 0) -> int | None:
        """Take ``data`` from ``position`` on; the position after the text's end, or None if it goes on.

        Raises:
            FeedError: no text can come of this.
        """
        while position < len(data):
            position = self._STEPS[self._state](self, data, position)
            if len(self._kept) > self._limit:
                raise FeedError(f"the text is too large: more than {self._limit} bytes")
            if self._state is _State.INSIDE and self._depth == 0:
                return position
        return None

    def _start(self, data: bytes | bytearray, position: int) -> int:
        blanks = _BLANKS.match(data, position)
        if blanks and blanks.end() > position:
            self._first = False
            return blanks.end()
        byte = data[position]
        if byte in b"#/":
            return self._open_comment(byte, position)
        if byte not in _OPENING:
            raise FeedError(f"invalid {'first ' if self._first else ''}character {chr(byte)}")
        self._state = _State.INSIDE
        return self._inside(data, position)

    def _inside(self, data: bytes | bytearray, position: int) -> int:
        kept, start = self._kept, position
        while True:
            position = _past(_PLAIN, data, position)
            if position == len(data):
                break
            byte = data[position]
            if byte in b"#/":
                kept += data[start:position]
                return self._open_comment(byte, position)
            position += 1
            if byte in _OPENING:
                self._depth += 1
                if self._depth > NESTING_LIMIT:
                    raise FeedError("fromJSON elements nested too deeply")
            elif byte in _CLOSING:
                self._depth -= 1
                if self._depth == 0:
                    break
            else:
                self._state = _State.STRING
                break
        kept += data[start:position]
        return position

    def _string(self, data: bytes | bytearray, position: int) -> int:
        plain = _IN_STRING.match(data, position)
        end = plain.end() if plain else position
        if end < len(data):
            self._state = _State.INSIDE if data[end] == 0x22 else _State.ESCAPE
            end += 1
        self._kept += data[position:end]
        return end

    def _escape(self, data: bytes | bytearray, position: int) -> int:
        self._kept.append(data[position])
        self._state = _State.STRING
        return position + 1

    def _open_comment(self, byte: int, position: int) -> int:
        self._first = False
        self._outer = self._state
        self._state = _State.LINE if byte == 0x23 else _State.SLASH
        return position + 1

    def _slash(self, data: bytes | bytearray, position: int) -> int:
        if data[position] not in b"/*":
            raise FeedError(f"invalid characters /{chr(data[position])}")
        self._state = _State.LINE if data[position] == 0x2F else _State.BLOCK
        return position + 1

    def _line(self, data: bytes | bytearray, position: int) -> int:
        end = data.find(b"\n", position)
        if end < 0:
            return len(data)
        self._state = self._outer
        return end

    def _block(self, data: bytes | bytearray, position: int) -> int:
        end = data.find(b"*", position)
        if end < 0:
            return len(data)
        self._state = _State.STAR
        return end + 1

    def _star(self, data: bytes | bytearray, position: int) -> int:
        if data[position] == 0x2F:
            self._state = self._outer
        elif data[position] != 0x2A:
            self._state = _State.BLOCK
        return position + 1

    _STEPS = {  # noqa: RUF012
        _State.START: _start,
        _State.INSIDE: _inside,
        _State.STRING: _string,
        _State.ESCAPE: _escape,
        _State.SLASH: _slash,
        _State.LINE: _line,
        _State.BLOCK: _block,
        _State.STAR: _star,
    }
