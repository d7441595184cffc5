"""A configuration that somebody asks for: its value, and where each part of it stands.

It comes from a file or from a command; from here on nobody has to know which.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path as FilePath
from typing import TYPE_CHECKING

import msgspec
from msgspec import UNSET

from bridle.core.errors import ArgumentError, ConfigurationError
from bridle.core.grammar import UNSUPPORTED, Grammar, check_members
from bridle.core.messages import JSON, Command, Path, Source

if TYPE_CHECKING:
    from bridle.wire.configuration_text import ConfigurationText

__all__ = [
    "FILE_LIMIT",
    "Completion",
    "Document",
    "from_command",
    "include_file",
    "parse_file",
    "read_file",
]

# Bytes of one configuration file; the same bound that a config-set has.
FILE_LIMIT = 32 * 1024 * 1024


class Document:
    """A whole configuration: ``{"Dhcp4": {…}}``."""

    def __init__(self, value: dict[str, JSON], source: Source | None = None, prefix: Path = ()) -> None:
        self.value = value
        self.warnings: list[str] = []
        self._source = source
        self._prefix = tuple(prefix)

    @property
    def from_file(self) -> bool:
        """Whether it was read from a file, where an error is told in the words of a file's grammar."""
        return isinstance(self._source, _FileSource)

    def locate(self, path: Path) -> str:
        """Where the value at ``path`` stands, or else the nearest value around it; empty if unknown."""
        if self._source is None:
            return ""
        steps = [*self._prefix, *path]
        while True:
            where = self._source.locate(steps)
            if where or not steps:
                return where
            steps.pop()

    def locate_key(self, path: Path) -> str:
        """Where the name of the member at ``path`` stands, where that is known, or else its value."""
        if isinstance(self._source, _FileSource):
            return self._source.locate_key([*self._prefix, *path])
        return self.locate(path)

    def changed(self, value: dict[str, JSON]) -> Document:
        """The same place with another value, whose parts stand where those of this one do."""
        return Document(value, self._source, self._prefix)

    def members(
        self, item: JSON, grammar: Grammar, scope: str, path: Path, unknown: str = UNSUPPORTED
    ) -> dict[str, JSON]:
        """The map at ``path``, as :func:`bridle.core.grammar.check_members` finds it.

        Raises:
            ConfigurationError: it holds what it may not; with the position.
        """
        try:
            return check_members(item, grammar, scope, path, unknown)
        except ConfigurationError as error:
            raise self.placed(error) from None

    def error(self, text: str, path: Path) -> ConfigurationError:
        """An error about the value at ``path``, with its position."""
        return ConfigurationError(text, path=path, position=self.locate(path))

    def placed(self, error: ConfigurationError, prefix: Path = ()) -> ConfigurationError:
        """The same error with its position, where it has a path but nobody looked that up yet."""
        if error.path is None or error.position:
            return error
        return self.error(error.text, [*prefix, *error.path])


def _nothing() -> None:
    pass


class Completion(msgspec.Struct, frozen=True):
    """A document with what belongs to it and stands elsewhere. ``adopt`` is called when the document holds,
    and not where it is refused; it may not fail."""

    document: Document
    adopt: Callable[[], None] = _nothing


class _FileSource:
    """Positions in a file: of the key where there is one, for an error is about the member."""

    def __init__(self, text: ConfigurationText) -> None:
        self._text = text

    def locate(self, path: Path) -> str:
        return self._text.position(path)

    def locate_key(self, path: Path) -> str:
        return self._text.key_position(path)


class _BareSource(_FileSource):
    """Positions in a file that does not name its root."""

    def locate(self, path: Path) -> str:
        return super().locate(path[1:])

    def locate_key(self, path: Path) -> str:
        return super().locate_key(path[1:])


def read_file(name: str, root: str, *, rootless: bool = False) -> Document:
    """Read the configuration file of a daemon: JSON with comments and ``<?include "file"?>``, one map named
    ``root``; the map itself where the file is ``rootless``.

    Names of included files are taken relative to the file that includes them.

    Raises:
        ConfigurationError: it cannot be opened or read; the text begins ``file:line.column``.
    """
    text = parse_file(name)
    if rootless:
        document = Document({root: text.value}, _BareSource(text))
        document.warnings = list(text.warnings)
        return document
    document = Document(text.value, _FileSource(text))
    document.warnings = list(text.warnings)
    for key in text.value:
        if key != root:
            where = text.key_position([key])
            raise ConfigurationError(f"{where}: syntax error, unexpected constant string, expecting {root}")
    return document


def parse_file(name: str) -> ConfigurationText:
    """Read a configuration file, whatever the names in it.

    Raises:
        ConfigurationError: it cannot be opened or read; the text begins ``file:line.column``.
    """
    # Loaded only here: a daemon without a configuration file needs no reader of files.
    from bridle.wire.configuration_text import parse

    try:
        return parse(_content(name), name=name, include=include_file)
    except OSError as error:
        raise ConfigurationError(f"Unable to open file {name}: {error.strerror}") from error


def include_file(name: str, including: str) -> tuple[str, str]:
    """What a file is called that ``including`` includes by a ``name`` relative to its own, and its text.

    Raises:
        OSError: it cannot be opened.
        ConfigurationError: it is no file, or too large.
    """
    path = str(FilePath(including).parent / name)
    return path, _content(path)


def _content(name: str) -> str:
    path = FilePath(name)
    if path.exists() and not (path.is_file() or path.is_dir()):
        raise ConfigurationError(f"{name} is not a file")
    if path.stat().st_size > FILE_LIMIT:
        raise ConfigurationError(f"{name} is too large: more than {FILE_LIMIT} bytes")
    # Comments may be in any encoding; the rest is checked where it stands.
    return path.read_text("utf-8", "surrogateescape")


def from_command(command: Command) -> Document:
    """The configuration in the arguments of ``config-set`` or ``config-test``.

    Raises:
        ArgumentError: there are no arguments, or they are no map; in Kea's words.
    """
    arguments = command.arguments
    if arguments is UNSET:
        raise ArgumentError("Missing mandatory 'arguments' parameter.")
    if not isinstance(arguments, dict):
        where = command.locate(["arguments"])
        raise ArgumentError(
            f"Error during command processing: get(string) called on a non-map Element in ({where})"
        )
    return Document(arguments, command.source, ["arguments"])
