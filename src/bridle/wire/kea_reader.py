"""The tolerant reader of Kea's commands.

It takes what Kea 2.2 takes (``facts/kea.md`` §1.4): a comma too many in a list, ``+5``, ``.5``, ``007``, raw
control characters in strings, ``\\b`` and ``\\f`` as blanks; of a repeated key the last value counts. What it
refuses it refuses in Kea's words, and says where: line and column, counted as Kea counts them. In these
respects it does better than Kea 2.2:

- every ``\\uXXXX`` escape is read, surrogate pairs too, not only ``\\u00XX``;
- ``1e+10.0`` is read, which Kea 2.2 writes and cannot read;
- strings have to be UTF-8;
- lists and maps nest up to a limit, as from Kea 3.0 on;
- columns stay right behind an empty map, and lines behind a line break inside a string.

Text that is plain JSON is decoded by msgspec. This module's own pass over a text is made where that fails,
and when someone asks where a value stands; it takes time in proportion to the text, whatever the text.
"""

from __future__ import annotations

import re
from math import inf, isfinite
from typing import NamedTuple

import msgspec
from msgspec import UNSET, UnsetType

from bridle.core.errors import RemoteProtocolError
from bridle.core.messages import JSON, Path
from bridle.wire.kea_strings import mend_escapes, sound_length, unescape

__all__ = ["INTEGER_MAX", "INTEGER_MIN", "NESTING_LIMIT", "KeaSyntaxError", "Reading", "read", "type_name"]

NESTING_LIMIT = 100
"""How many lists and maps may stand inside one another: Kea's own limit since CVE-2026-3608, where some
hundred thousand opening brackets ended the daemon. Kea's commands and configurations stay below 20."""

INTEGER_MIN, INTEGER_MAX = -(2**63), 2**63 - 1
"""The integers that Kea 2.2 takes: those of 64 bits."""

_TYPE_NAMES: dict[type, str] = {
    int: "integer",
    float: "real",
    bool: "boolean",
    type(None): "null",
    str: "string",
    list: "list",
    dict: "map",
}
_BLANK = re.compile(rb"[ \b\f\n\r\t]*")
_NUMBER = re.compile(rb"[0-9+\-.eE]+")
_FRACTIONAL = re.compile(rb"[.eE]")
_WORD = re.compile(rb"[A-Za-z]+")
_STRING = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"', re.DOTALL)
_DIGITS_AS_ZEROS = bytes.maketrans(b"123456789", b"0" * 9)
_LONG_INTEGER = b"0" * len(str(INTEGER_MAX))


class KeaSyntaxError(RemoteProtocolError):
    """A text is not JSON, not even by Kea's generous measure.

    ``text`` is Kea's own sentence about it, fit to be the answer's text; ``data`` is the whole text.
    """


class Reading:
    """What was read from a text, and where each part of it stands.

    ``value`` is the decoded text. Positions are worked out when they are first asked for; they cost nothing
    otherwise.
    """

    __slots__ = ("_places", "_source", "value")

    def __init__(self, value: JSON, source: _Source, places: _Place | None = None) -> None:
        self.value: JSON = value
        self._source = source
        self._places = places

    def locate(self, path: Path) -> str:
        """Say where the value at ``path`` stands, as Kea does: ``<wire>:0:44``.

        A map or a list stands one column behind its opening bracket, everything else at its first byte. The
        answer is empty when there is no such value.
        """
        place = self._places = self._places or _Pass(self._source).value()[1]
        for step in path:
            inside = place.inside(step)
            if inside is None:
                return ""
            place = inside
        return self._source.position(place.at if place.items is None else place.at + 1)


def read(text: bytes, *, name: str = "<wire>", first_line: int = 0, trailing: bool = False) -> Reading:
    """Read a command.

    ``name`` and ``first_line`` go into positions: ``<wire>`` and 0 on a socket, ``<string>`` and 1 for the
    body of an HTTP request. ``first_line`` is also the number of the first column of the first line; on every
    other line columns count from 1. Columns are bytes. Unless ``trailing`` is set, only blanks may follow the
    value.

    Raises:
        KeaSyntaxError: the text cannot be read.
    """
    source = _Source(text, name, first_line)
    plain = _read_plain(text)
    if plain is not UNSET:
        return Reading(plain, source)
    reader = _Pass(source)
    value, places = reader.value()
    if not trailing:
        reader.end()
    return Reading(value, source, places)


def type_name(value: JSON) -> str:
    """What Kea calls the type of a value."""
    return _TYPE_NAMES[type(value)]


def _read_plain(text: bytes) -> JSON | UnsetType:
    """The value of a text that is JSON by the book and within the limits; UNSET for every other text."""
    if _LONG_INTEGER in text.translate(_DIGITS_AS_ZEROS):
        return UNSET
    try:
        value: JSON = msgspec.json.decode(mend_escapes(text))
    except (ValueError, RecursionError):
        return UNSET
    if text.count(b"[") + text.count(b"{") > NESTING_LIMIT and _is_too_deep(value):
        return UNSET
    return value


def _is_too_deep(value: JSON) -> bool:
    level: list[dict[str, JSON] | list[JSON]] = [[value]]
    for _ in range(NESTING_LIMIT + 1):
        level = [
            inner
            for outer in level
            for inner in (outer.values() if isinstance(outer, dict) else outer)
            if type(inner) is dict or type(inner) is list
        ]
    return bool(level)


class _Source(NamedTuple):
    """A text, and what positions in it are called."""

    text: bytes
    name: str
    first_line: int

    def position(self, at: int) -> str:
        line = self.text.count(b"\n", 0, at)
        start = self.text.rfind(b"\n", 0, at) + 1
        return f"{self.name}:{self.first_line + line}:{at - start + (1 if line else self.first_line)}"

    def character(self, at: int) -> str:
        return self.text[at : at + 4].decode(errors="replace")[0]

    def error(self, complaint: str, at: int) -> KeaSyntaxError:
        return KeaSyntaxError(f"{complaint} in {self.position(at)}", self.text)


class _Place:
    """Where a value begins, and the places of what it holds, when it is a map or a list."""

    __slots__ = ("at", "items")

    def __init__(self, at: int, items: dict[str, _Place] | list[_Place] | None = None) -> None:
        self.at: int = at
        self.items: dict[str, _Place] | list[_Place] | None = items

    def inside(self, step: str | int) -> _Place | None:
        items = self.items
        if isinstance(items, dict):
            return items.get(step) if isinstance(step, str) else None
        if isinstance(items, list) and isinstance(step, int) and 0 <= step < len(items):
            return items[step]
        return None


class _Map:
    """A map that is being read: what it holds so far, and the key whose value comes next."""

    __slots__ = ("at", "key", "places", "value")

    def __init__(self, at: int) -> None:
        self.at = at
        self.key = ""
        self.value: dict[str, JSON] = {}
        self.places: dict[str, _Place] = {}

    def add(self, value: JSON, place: _Place) -> None:
        self.value[self.key] = value
        self.places[self.key] = place


class _List:
    """A list that is being read: what it holds so far."""

    __slots__ = ("at", "places", "value")

    def __init__(self, at: int) -> None:
        self.at = at
        self.value: list[JSON] = []
        self.places: list[_Place] = []

    def add(self, value: JSON, place: _Place) -> None:
        self.value.append(value)
        self.places.append(place)


class _Pass:
    """One pass over a text, from its beginning.

    The columns of complaints are Kea's: often one further than the byte that they are about.
    """

    def __init__(self, source: _Source) -> None:
        self._source = source
        self._text = source.text
        self._at = 0

    def value(self) -> tuple[JSON, _Place]:
        """Read a value and go behind it. Brackets are kept track of here, not by recursion."""
        around: list[_Map | _List] = []
        while True:
            value: JSON
            at = self._skip_blanks()
            if (opened := self._open()) is not None:
                if len(around) == NESTING_LIMIT:
                    raise KeaSyntaxError("fromJSON elements nested too deeply", self._text)
                if self._holds_something(opened):
                    around.append(opened)
                    continue
                value, place = opened.value, _Place(at, opened.places)
            else:
                value, place = self._scalar(), _Place(at)
            while around:
                around[-1].add(value, place)
                if self._goes_on(around[-1]):
                    break
                closed = around.pop()
                value, place = closed.value, _Place(closed.at, closed.places)
            else:
                return value, place

    def end(self) -> None:
        """Make sure that nothing but blanks is left."""
        if self._skip_blanks() < len(self._text):
            raise self._source.error("Extra data", self._at)

    def _skip_blanks(self) -> int:
        self._at = _BLANK.match(self._text, self._at).end()  # type: ignore[union-attr]  # it always matches
        return self._at

    def _next_is(self, byte: bytes) -> bool:
        return self._text.startswith(byte, self._at)

    def _open(self) -> _Map | _List | None:
        opened = _Map(self._at) if self._next_is(b"{") else _List(self._at) if self._next_is(b"[") else None
        if opened is not None:
            self._at += 1
        return opened

    def _holds_something(self, opened: _Map | _List) -> bool:
        """Go into a map or a list, and behind it when it is empty."""
        end = self._skip_blanks() == len(self._text)
        if isinstance(opened, _List):
            return not self._close_list()
        if end:
            raise self._source.error("Unterminated map, <string> or } expected", self._at)
        if self._next_is(b"}"):
            self._at += 1
            return False
        self._key(opened)
        return True

    def _goes_on(self, outer: _Map | _List) -> bool:
        """Go on behind an item, and behind the map or the list when that was the last one."""
        if isinstance(outer, _List):
            if self._expect(b",]") == b"]":
                return False
            self._skip_blanks()
            return not self._close_list()
        if self._expect(b",}") == b"}":
            return False
        self._skip_blanks()
        self._key(outer)
        return True

    def _close_list(self) -> bool:
        closed = self._next_is(b"]")
        self._at += closed
        return closed

    def _key(self, outer: _Map) -> None:
        if not self._next_is(b'"'):
            raise self._source.error("String expected", self._at + 1)
        outer.key = self._string()
        self._expect(b":")

    def _expect(self, allowed: bytes) -> bytes:
        at = self._skip_blanks()
        found = self._text[at : at + 1]
        if not found or found not in allowed:
            read = f"'{self._source.character(at)}'" if found else "EOF"
            raise self._source.error(f'{read} read, one of "{allowed.decode()}" expected', at + 1)
        self._at += 1
        return found

    def _scalar(self) -> JSON:
        first = self._text[self._at : self._at + 1]
        if first == b'"':
            return self._string()
        if _NUMBER.match(first) and first not in b"eE":
            return self._number()
        if first in (b"t", b"f"):
            return self._word("boolean", {b"true": True, b"false": False})
        if first == b"n":
            return self._word("null", {b"null": None})
        if not first:
            raise KeaSyntaxError("nothing read", self._text)
        raise self._source.error(
            f"error: unexpected character {self._source.character(self._at)}", self._at + 1
        )

    def _take(self, pattern: re.Pattern[bytes]) -> bytes:
        token: bytes = pattern.match(self._text, self._at)[0]  # type: ignore[index]  # its first byte was seen
        self._at += len(token)
        return token

    def _word(self, kind: str, words: dict[bytes, JSON]) -> JSON:
        at = self._at
        word = self._take(_WORD)
        if word not in words:
            raise self._source.error(f"Bad {kind} value: {word.decode()}", at)
        return words[word]

    def _number(self) -> int | float:
        at = self._at
        lexeme = self._take(_NUMBER)
        try:
            number = _float(lexeme) if _FRACTIONAL.search(lexeme) else int(lexeme)
        except ValueError:
            number = inf
        if isfinite(number) if isinstance(number, float) else INTEGER_MIN <= number <= INTEGER_MAX:
            return number
        raise self._source.error(f"Number overflow: {lexeme.decode()}", at)

    def _string(self) -> str:
        at = self._at
        literal = _STRING.match(self._text, at)
        inside = literal[0][1:-1] if literal else self._text[at + 1 :]
        if b"\\" in inside and (sound := sound_length(inside)) < len(inside):
            raise self._escape_error(at + 1 + sound)
        if literal is None:
            raise self._source.error("Unterminated string", len(self._text) + 1)
        self._at = literal.end()
        try:
            return unescape(inside)
        except UnicodeDecodeError as error:
            raise self._source.error("Invalid UTF-8", at + 1 + error.start + 1) from None

    def _escape_error(self, at: int) -> KeaSyntaxError:
        """Kea's words for a bad escape. To it, everything but ``\\u00XX`` is unsupported."""
        if not self._text.startswith(rb"\u", at):
            return self._source.error("Bad escape", at + 1)
        if not self._text.startswith(b"0", at + 2):
            return self._source.error("Unsupported unicode escape", at + 2)
        if not self._text.startswith(b"0", at + 3):
            return self._source.error("Unsupported unicode escape", at + 1)
        return self._source.error("Not hexadecimal in unicode escape", at + 1)


def _float(lexeme: bytes) -> float:
    """The number of a lexeme; Kea 2.2 writes ``.0`` behind an exponent too."""
    return float(lexeme.removesuffix(b".0") if b"e" in lexeme else lexeme)
