"""Reads the parts of a configuration that access control owns: each value with the way to it, so that
whatever is wrong is refused in the sentences of the rest of the configuration, with its position.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from typing import TypeAlias

from bridle.core.errors import ConfigurationError
from bridle.core.messages import JSON, Path

__all__ = ["Given", "Locate"]

Locate: TypeAlias = Callable[[Path], str]
"""Says where the value at a path stands, as :meth:`bridle.daemon.document.Document.locate` does."""


class Given:
    """A value that was given, and where."""

    __slots__ = ("_locate", "path", "value")

    def __init__(self, value: JSON, path: Path, locate: Locate) -> None:
        self.value: JSON = value
        self.path: tuple[str | int, ...] = tuple(path)
        self._locate = locate

    def __getitem__(self, step: str | int) -> Given:
        """The value one step further: a member of a map, an item of a list."""
        value = self.value
        if isinstance(value, dict):
            return Given(value[str(step)], (*self.path, step), self._locate)
        assert isinstance(value, list)
        return Given(value[int(step)], (*self.path, step), self._locate)

    @property
    def name(self) -> str:
        """What the value is called: the last key on the way to it."""
        return next((step for step in reversed(self.path) if isinstance(step, str)), "access")

    @property
    def position(self) -> str:
        """Where it stands; empty where that is unknown."""
        return self._locate(self.path)

    def error(self, text: str) -> ConfigurationError:
        """An error about this value."""
        return ConfigurationError(text, path=self.path, position=self.position)

    def wrong_type(self) -> ConfigurationError:
        """The error that the value is of another type than is wanted here."""
        return self.error(f"invalid type specified for parameter '{self.name}'")

    def string(self) -> str:
        """The value as a string that is not empty.

        Raises:
            ConfigurationError: it is none.
        """
        if not isinstance(self.value, str):
            raise self.wrong_type()
        if not self.value:
            raise self.error(f"'{self.name}' must not be empty")
        return self.value

    def boolean(self) -> bool:
        """The value as a boolean.

        Raises:
            ConfigurationError: it is none.
        """
        if not isinstance(self.value, bool):
            raise self.wrong_type()
        return self.value

    def choice(self, *choices: str) -> str:
        """The value as one of these words.

        Raises:
            ConfigurationError: it is none of them.
        """
        if not isinstance(self.value, str):
            raise self.wrong_type()
        if self.value not in choices:
            known = ", ".join(f"'{choice}'" for choice in choices)
            raise self.error(f"'{self.name}' is one of {known}, not '{self.value}'")
        return self.value

    def items(self, limit: int) -> Iterator[Given]:
        """The items of a list that may have so many.

        Raises:
            ConfigurationError: it is no list, or longer.
        """
        if not isinstance(self.value, list):
            raise self.wrong_type()
        if len(self.value) > limit:
            raise self.error(f"'{self.name}' has more than {limit} items")
        return (self[index] for index in range(len(self.value)))

    def one_or_more(self, limit: int) -> Iterator[Given]:
        """The value itself where it is no list, else the items of that.

        Raises:
            ConfigurationError: the list is empty or too long.
        """
        if not isinstance(self.value, list):
            return iter([self])
        if not self.value:
            raise self.error(f"'{self.name}' must not be empty")
        return self.items(limit)

    def members(self, known: Collection[str], scope: str) -> dict[str, Given]:
        """The members of a map, all of them known.

        Raises:
            ConfigurationError: it is no map, or has a member of another name.
        """
        if not isinstance(self.value, dict):
            raise self.error(f"{scope} is expected to be a map")
        for key in self.value:
            if key not in known:
                raise self[key].error(f'got unexpected keyword "{key}" in {scope} map.')
        return {key: self[key] for key in self.value}

    def single(self, scope: str) -> tuple[str, Given]:
        """The one member of a map of one.

        Raises:
            ConfigurationError: it is no map, or has none or several.
        """
        if not isinstance(self.value, dict) or len(self.value) != 1:
            raise self.error(f"{scope} is expected to be a map with a single entry")
        key = next(iter(self.value))
        return key, self[key]
