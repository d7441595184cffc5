"""Arguments of a command as they are typed: ``key=value``, JSON, or values in order."""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from typing import cast

import click
import msgspec

from bridle.core.messages import JSON

__all__ = ["check_text", "parse_arguments", "parse_value"]

_PAIR = re.compile(r"([A-Za-z_][A-Za-z0-9_.-]*)=(.*)", re.DOTALL)


def parse_arguments(words: Sequence[str]) -> JSON:
    """Read the words after a command's name; None when there are none.

    ``key=value`` words are named arguments. A single word that begins with ``{`` or ``[`` is JSON,
    ``@FILE`` is JSON in a file, ``-`` JSON on standard input: with comments and includes, as configuration
    files have them. Anything else is positional arguments.

    Raises:
        click.UsageError: they are mixed, or the JSON is none.
    """
    if not words:
        return None
    for word in words:
        check_text(word)
    if len(words) == 1 and (words[0] == "-" or words[0].startswith(("{", "[", "@"))):
        return _parse_json(words[0])
    pairs = [_PAIR.fullmatch(word) for word in words]
    if not any(pairs):
        return [parse_value(word) for word in words]
    named: dict[str, JSON] = {}
    for word, pair in zip(words, pairs, strict=True):
        if pair is None:
            raise click.UsageError(f"'{word}' is not KEY=VALUE, as the other arguments are")
        if pair.group(1) in named:
            raise click.UsageError(f"argument '{pair.group(1)}' is given twice")
        named[pair.group(1)] = parse_value(pair.group(2))
    return named


def check_text(word: str) -> None:
    """Refuse what a command cannot carry: bytes of the command line that are not UTF-8.

    Raises:
        click.UsageError: it is none.
    """
    try:
        word.encode()
    except UnicodeEncodeError as error:
        raise click.UsageError(f"{word!a} is not UTF-8") from error


def parse_value(text: str) -> JSON:
    """A value as it is typed: JSON where it is JSON, else a string. ``'"5"'`` is the string."""
    try:
        return cast(JSON, msgspec.json.decode(text))
    except (msgspec.DecodeError, UnicodeEncodeError):
        return text


def _parse_json(word: str) -> JSON:
    if word != "-" and not word.startswith("@"):
        try:
            return cast(JSON, msgspec.json.decode(word))
        except msgspec.DecodeError as error:
            raise click.UsageError(f"the arguments are not JSON: {error}") from error
    try:
        if word == "-":
            return _read_json(sys.stdin.buffer.read(), "<stdin>")
        with open(word[1:], "rb") as file:  # noqa: PTH123 - pathlib takes longer to load than the call
            content = file.read()
        return _read_json(content, word[1:])
    except OSError as error:
        raise click.UsageError(f"cannot read {error.filename or word[1:]}: {error.strerror}") from error


def _read_json(content: bytes, name: str) -> JSON:
    """JSON, or what a configuration file may hold besides: comments, includes, commas too many."""
    try:
        return cast(JSON, msgspec.json.decode(content))
    except (msgspec.DecodeError, UnicodeDecodeError):
        # Loaded only here: most files are plain JSON.
        from bridle.core.errors import ConfigurationError
        from bridle.daemon.document import include_file
        from bridle.wire.configuration_text import parse_json
    try:
        return parse_json(content.decode("utf-8", "surrogateescape"), name=name, include=include_file)
    except ConfigurationError as error:
        raise click.UsageError(f"the arguments are not JSON: {error}") from error
