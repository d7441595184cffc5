"""The syntax of Kea's configuration files (``facts/kea.md`` §2.5).

JSON with one map around everything, with comments (``#``, ``//``, ``/* */``), with ``<?include "file"?>``,
and with commas too many, which are warned of. What is wrong is said in Kea's words and with its places; which
keys there may be, and what may be their values, is not known here.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import cast

from bridle.core.messages import JSON, Path
from bridle.wire.configuration_tokens import END, STRING, ConfigurationSyntaxError, Include, Token, tokens
from bridle.wire.kea_reader import NESTING_LIMIT

__all__ = ["ConfigurationSyntaxError", "ConfigurationText", "parse", "parse_json"]

_SCALARS = frozenset((STRING, "integer", "floating point", "boolean", "null"))


class ConfigurationText:
    """A configuration, and where each part of it stands.

    ``value`` is the outermost map; ``warnings`` are sentences that begin with a place, one for each comma too
    many. Places are ``FILE:L.C``, or ``FILE:L.C-C`` from the first to the last column; lines and columns
    count from 1, columns are bytes. A map or a list stands where its opening bracket does.
    """

    __slots__ = ("_place", "value", "warnings")

    def __init__(self, value: dict[str, JSON], warnings: list[str], place: _Place) -> None:
        self.value: dict[str, JSON] = value
        self.warnings: list[str] = warnings
        self._place = place

    def position(self, path: Path) -> str:
        """Where the value at ``path`` stands; empty if there is none."""
        place = self._find(path)
        return place.token.position if place is not None else ""

    def key_position(self, path: Path) -> str:
        """Where the key of the member at ``path`` stands; empty if there is none, or it has no key."""
        place = self._find(path)
        return place.key.position if place is not None and place.key is not None else ""

    def locate(self, path: Path) -> str:
        """As :meth:`position`."""
        return self.position(path)

    def _find(self, path: Path) -> _Place | None:
        place: _Place | None = self._place
        for step in path:
            place = place.inside(step) if place is not None else None
        return place


def parse(text: str, *, name: str, include: Include | None = None) -> ConfigurationText:
    """Read a configuration file.

    ``name`` is what its places are called. ``include`` is asked for the files of directives: it is given the
    name in the directive and the name of the file around it, and returns what to call the file, and its text;
    what it cannot open it says by an OSError. Text that is not UTF-8 may be read with ``surrogateescape``:
    nobody minds that in comments.

    Raises:
        ConfigurationSyntaxError: the text is wrong; the error begins with the place.
    """
    parser = _Parser(tokens(text, name, include))
    return parser.configuration()


def parse_json(text: str, *, name: str, include: Include | None = None) -> JSON:
    """Read any JSON with what configuration files may have besides, as :func:`parse` reads a map.

    Raises:
        ConfigurationSyntaxError: the text is wrong; the error begins with the place.
    """
    return _Parser(tokens(text, name, include)).whole("")[0]


class _Place:
    """The word that a value begins with, its key, and the places of what it holds, if it can hold any."""

    __slots__ = ("items", "key", "token")

    def __init__(self, token: Token, items: dict[str, _Place] | list[_Place] | None = None) -> None:
        self.token: Token = token
        self.items: dict[str, _Place] | list[_Place] | None = items
        self.key: Token | None = None

    def inside(self, step: str | int) -> _Place | None:
        items = self.items
        if isinstance(items, dict):
            return items.get(step) if isinstance(step, str) else None
        if isinstance(items, list) and isinstance(step, int) and 0 <= step < len(items):
            return items[step]
        return None

    @property
    def reference(self) -> str:
        """How Kea refers to a value elsewhere: ``FILE:L:C``, where a map or a list stands at its key."""
        token = self.key if self.key is not None and self.items is not None else self.token
        return _reference(token)


def _reference(token: Token) -> str:
    line, column = token.file.point(token.start)
    return f"{token.file.name}:{line}:{column}"


class _Map:
    """A map that is being read, and the key whose value comes next."""

    __slots__ = ("items", "key", "token", "value")

    closing = "}"
    expected = '"," or }'

    def __init__(self, token: Token) -> None:
        self.token = token
        self.key = token
        self.value: dict[str, JSON] = {}
        self.items: dict[str, _Place] = {}

    @property
    def name(self) -> str:
        return str(self.key.value)

    def add(self, value: JSON, place: _Place) -> None:
        place.key = self.key
        self.value[self.name] = value
        self.items[self.name] = place


class _List:
    """A list that is being read."""

    __slots__ = ("items", "token", "value")

    closing = "]"
    expected = "]"

    def __init__(self, token: Token) -> None:
        self.token = token
        self.value: list[JSON] = []
        self.items: list[_Place] = []

    def add(self, value: JSON, place: _Place) -> None:
        self.value.append(value)
        self.items.append(place)


class _Parser:
    """The grammar, over the words of a file. What it expects is what Kea says that it expects."""

    def __init__(self, words: Iterator[Token]) -> None:
        self._words = words
        self._around: list[_Map | _List] = []
        self._warnings: list[str] = []

    def configuration(self) -> ConfigurationText:
        value, place = self.whole("{")
        return ConfigurationText(cast("dict[str, JSON]", value), self._warnings, place)

    def whole(self, expected: str) -> tuple[JSON, _Place]:
        """The value that is the whole text; it begins as ``expected``, if that is not empty."""
        first = next(self._words)
        if expected and first.kind != expected:
            raise _unexpected(first, expected)
        value, place = self._value(first)
        last = next(self._words)
        if last.kind != END:
            raise _unexpected(last, END)
        return value, place

    def _value(self, token: Token) -> tuple[JSON, _Place]:
        """Read the value that begins with a word. Brackets are kept track of here, not by recursion."""
        around = self._around
        while True:
            value: JSON = token.value
            place = _Place(token)
            if token.kind in ("{", "["):
                opened = self._open(token)
                token = next(self._words)
                if token.kind != opened.closing:
                    around.append(opened)
                    token = self._item(token, "")
                    continue
                value, place = opened.value, _Place(opened.token, opened.items)
            elif token.kind not in _SCALARS:
                raise _unexpected(token, "]" if around and isinstance(around[-1], _List) else "")
            while around:
                around[-1].add(value, place)
                following = self._following_item()
                if following is not None:
                    token = following
                    break
                closed = around.pop()
                value, place = closed.value, _Place(closed.token, closed.items)
            else:
                return value, place

    def _open(self, token: Token) -> _Map | _List:
        if len(self._around) == NESTING_LIMIT:
            raise token.error(f"maps and lists are nested more than {NESTING_LIMIT} deep")
        return _Map(token) if token.kind == "{" else _List(token)

    def _following_item(self) -> Token | None:
        """The word that the next item's value begins with; None behind the end of the map or the list."""
        outer = self._around[-1]
        token = next(self._words)
        if token.kind not in (",", outer.closing):
            raise _unexpected(token, outer.expected)
        while token.kind == ",":
            comma, token = token, next(self._words)
            if token.kind not in (",", outer.closing):
                return self._item(token, outer.expected)
            self._warnings.append(
                f"{comma.position}: Extraneous comma. A piece of configuration may have been omitted."
            )
        return None

    def _item(self, token: Token, expected: str) -> Token:
        """The word that an item's value begins with, given the item's first word: in a map, the key."""
        outer = self._around[-1]
        if isinstance(outer, _List):
            return token
        if token.kind != STRING:
            raise _unexpected(token, expected)
        outer.key = token
        if outer.name in outer.items:
            raise self._duplicate(outer)
        colon = next(self._words)
        if colon.kind != ":":
            raise _unexpected(colon, ":")
        return next(self._words)

    def _duplicate(self, outer: _Map) -> ConfigurationSyntaxError:
        parents = (around.name for around in reversed(self._around[:-1]) if isinstance(around, _Map))
        return ConfigurationSyntaxError(
            f"{_reference(outer.key)}: duplicate {outer.name} entries in {next(parents, 'toplevel')} map"
            f" (previous at {outer.items[outer.name].reference})",
            position=outer.key.position,
        )


def _unexpected(token: Token, expected: str) -> ConfigurationSyntaxError:
    kind = f'"{token.kind}"' if token.kind == "," else token.kind
    return token.error(f"syntax error, unexpected {kind}" + (f", expecting {expected}" if expected else ""))
