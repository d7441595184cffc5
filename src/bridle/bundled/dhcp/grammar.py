"""How a configuration is read: each scope has its parameters, each parameter its type and bounds.

What Kea knows and this does not do is a parameter too: it is accepted where it asks for nothing (its
default), and refused by name and position otherwise. What nobody knows is refused.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

import msgspec

from bridle.core.errors import ConfigurationError
from bridle.core.messages import JSON
from bridle.daemon.document import Document

__all__ = [
    "Grammar",
    "Parameter",
    "Path",
    "Reader",
    "anything",
    "boolean",
    "integer",
    "items",
    "mapping",
    "number",
    "text",
    "word",
]

Path = list[str | int]


class Parameter(msgspec.Struct, frozen=True):
    """One parameter. ``only``: the values that are accepted, all others ask for something that is not
    done."""

    kind: str
    low: float | None = None
    high: float | None = None
    only: tuple[JSON, ...] | None = None


Grammar = Mapping[str, Parameter]

_MAX32: Final = 0xFFFFFFFF


def text(*only: str) -> Parameter:
    """A string."""
    return Parameter("string", only=only or None)


def word() -> Parameter:
    """A string that used to be true or false."""
    return Parameter("word")


def integer(low: int = 0, high: int = _MAX32, *, only: tuple[int, ...] | None = None) -> Parameter:
    """A whole number."""
    return Parameter("integer", low, high, only)


def number(low: float, high: float, *, only: tuple[float, ...] | None = None) -> Parameter:
    """A number with a fraction."""
    return Parameter("real", low, high, only)


def boolean(*only: bool) -> Parameter:
    """True or false."""
    return Parameter("boolean", only=only or None)


def items(*only: list[JSON]) -> Parameter:
    """A list."""
    return Parameter("list", only=only or None)


def anything() -> Parameter:
    """What somebody else checks."""
    return Parameter("any")


def mapping(*only: dict[str, JSON]) -> Parameter:
    """A map."""
    return Parameter("map", only=only or None)


_TYPES: dict[str, tuple[type, ...]] = {
    "string": (str,),
    "integer": (int,),
    "real": (int, float),
    "boolean": (bool,),
    "list": (list,),
    "map": (dict,),
    "word": (str, bool),
    "any": (object,),
}
# What Kea says when it looks at a value as if it were of another type.
_COMPLAINTS = {
    "word": "stringValue() called on non-string Element",
    "string": "stringValue() called on non-string Element",
    "integer": "intValue() called on non-integer Element",
    "real": "doubleValue() called on non-double Element",
    "boolean": "boolValue() called on non-Bool Element",
    "list": "listValue() called on non-list Element",
    "map": "mapValue() called on non-map Element",
}
_TOKENS = {"string": "constant string", "real": "floating point", "list": "[", "map": "{"}


class Reader:
    """Checks the parts of one document."""

    def __init__(self, document: Document) -> None:
        self.document = document

    def error(self, message: str, path: Path) -> ConfigurationError:
        """An error about the value at ``path``."""
        return self.document.error(message, path)

    def root(self, name: str) -> dict[str, JSON]:
        """The outermost map."""
        value = self.document.value
        if name not in value:
            raise ConfigurationError(f"Missing mandatory '{name}' parameter.")
        whole = value[name]
        if not isinstance(whole, dict):
            raise ConfigurationError(f"'{name}' parameter expected to be a map.")
        return whole

    def map(self, item: JSON, grammar: Grammar, path: Path, scope: str) -> dict[str, Any]:
        """A map with nothing in it but what the grammar has."""
        if not isinstance(item, dict):
            raise self._mistyped("map", item, path)
        for key, value in item.items():
            parameter = grammar.get(key)
            if parameter is None:
                raise self._unknown(key, path, scope)
            self._check(key, value, parameter, [*path, key])
        return item

    def maps(self, whole: Mapping[str, JSON], key: str, grammar: Grammar, path: Path) -> list[dict[str, Any]]:
        """The maps of a list."""
        return [
            self.map(item, grammar, [*path, key, index], key)
            for index, item in enumerate(self.sequence(whole, key, path))
        ]

    def sequence(self, whole: Mapping[str, JSON], key: str, path: Path) -> list[JSON]:
        """A list that may be missing."""
        value = whole.get(key, [])
        if not isinstance(value, list):
            raise self._mistyped("list", value, [*path, key])
        return value

    def strings(self, whole: Mapping[str, JSON], key: str, path: Path) -> list[str]:
        """A list of strings that may be missing."""
        found = []
        for index, value in enumerate(self.sequence(whole, key, path)):
            if not isinstance(value, str):
                raise self._mistyped("string", value, [*path, key, index])
            found.append(value)
        return found

    def _check(self, key: str, value: JSON, parameter: Parameter, path: Path) -> None:
        fits = isinstance(value, _TYPES[parameter.kind])
        if not fits or (isinstance(value, bool) and parameter.kind not in ("boolean", "word", "any")):
            raise self._mistyped(parameter.kind, value, path)
        if parameter.only is not None and value not in parameter.only:
            raise self.error(
                f"parameter '{key}' is not supported, other than as {json.dumps(parameter.only[0])}", path
            )
        if parameter.low is not None and parameter.high is not None:
            assert isinstance(value, int | float)
            if not parameter.low <= value <= parameter.high:
                bounds = (
                    f"{parameter.low:g}..{parameter.high:g}" if parameter.high < _MAX32 else "0..4294967295"
                )
                raise self.error(
                    f"out of range value ({value}) specified for parameter '{key}' ({bounds})", path
                )

    def _mistyped(self, kind: str, value: JSON, path: Path) -> ConfigurationError:
        if self.document.from_file:
            found = next((name for name, types in _TYPES.items() if type(value) in types), "null")
            where = self.document.locate(path)
            wanted = _TOKENS.get(kind, kind)
            return ConfigurationError(
                f"{where}: syntax error, unexpected {_TOKENS.get(found, found)}, expecting {wanted}"
            )
        where = self.document.locate(path)
        return ConfigurationError(f"{_COMPLAINTS[kind]} in ({where})")

    def _unknown(self, key: str, path: Path, scope: str) -> ConfigurationError:
        where = self.document.locate_key([*path, key])
        if self.document.from_file:
            return ConfigurationError(f'{where}: got unexpected keyword "{key}" in {scope} map.')
        if len(path) == 1:
            return self.error(f"unsupported global configuration parameter: {key}", [*path, key])
        return self.error(f"unsupported parameter '{key}' in {scope}", [*path, key])
