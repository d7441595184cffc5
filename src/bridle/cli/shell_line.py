"""Lines as they are typed into the shell: where a command ends, and what its words are.

Words follow the rules of ``sh``: blanks part them, quotes and backslashes keep blanks. JSON needs none of
that: arguments that begin with a bracket, and a ``key=`` that a bracket follows, are taken as they stand,
over several lines where need be.
"""

from __future__ import annotations

import io
import re
import shlex
from collections.abc import Iterable, Iterator

import click

__all__ = ["commands", "is_open", "split"]

_WORD = re.compile(r"\S*")
_BLANKS = re.compile(r"\s*")
_JSON = re.compile(r"(?:[A-Za-z_][A-Za-z0-9_.-]*=)?(?=[\[{])")
_TOKEN = re.compile(r'"|[\[\]{}]')
_STRING = re.compile(r'[^"\\]*(?:\\.[^"\\]*)*("?)', re.DOTALL)
_COMMENT = "#"


class _Brackets:
    """JSON that comes in pieces: how many brackets are open, and whether a string is."""

    def __init__(self) -> None:
        self._depth = 0
        self._quoted = False

    def feed(self, text: str, position: int = 0) -> int | None:
        """Take a piece; gives where the outermost bracket is closed, None while it is open."""
        while True:
            if self._quoted:
                position = self._leave_string(text, position)
            token = _TOKEN.search(text, position)
            if token is None:
                return None
            position = token.end()
            self._quoted = token[0] == '"'
            self._depth += {"[": 1, "{": 1, "]": -1, "}": -1}.get(token[0], 0)
            if self._depth == 0:
                return position

    def _leave_string(self, text: str, position: int) -> int:
        string = _STRING.match(text, position)
        assert string is not None
        self._quoted = not string[1]
        return string.end()


class _Open(Exception):
    """A bracket is not closed yet."""

    def __init__(self, brackets: _Brackets) -> None:
        super().__init__()
        self.brackets = brackets


def commands(lines: Iterable[str]) -> Iterator[str]:
    """Join lines to commands: one a line, but for JSON that goes on. Empty lines and comments are left out.

    What is still open at the end comes as it is.
    """
    pending: list[str] = []
    brackets: _Brackets | None = None
    for line in lines:
        line = line if line.endswith("\n") else f"{line}\n"
        pending.append(line)
        if brackets is not None and brackets.feed(line) is None:
            continue
        text = "".join(pending)
        brackets = _open_brackets(text)
        if brackets is None:
            pending = []
            yield from _worth_running(text)
    yield from _worth_running("".join(pending))


def _worth_running(text: str) -> Iterator[str]:
    text = text.strip()
    if text and not text.startswith(_COMMENT):
        yield text


def is_open(text: str) -> bool:
    """True while JSON in the command has a bracket that is not closed."""
    return _open_brackets(text) is not None


def _open_brackets(text: str) -> _Brackets | None:
    if text.lstrip().startswith(_COMMENT):
        return None
    try:
        split(text, whole=False)
    except _Open as still:
        return still.brackets
    except click.UsageError:
        return None
    return None


def split(text: str, *, whole: bool = True) -> list[str]:
    """The words of a command. JSON that ends early is a word too if the command is ``whole``.

    Raises:
        click.UsageError: a quote is not closed.
    """
    words: list[str] = []
    position = _skip_blanks(text, 0)
    while position < len(text):
        json = _JSON.match(text, position) if words else None
        if json is None:
            word, end = _word(text, position)
        else:
            end = _end_of_json(text, json.end(), whole)
            if len(words) == 1 and json.end() == position:
                end = len(text)  # these are the arguments; what may follow is an error of the JSON
            word = text[position:end].rstrip()
        words.append(word)
        position = _skip_blanks(text, end)
    return words


def _end_of_json(text: str, start: int, whole: bool) -> int:
    brackets = _Brackets()
    end = brackets.feed(text, start)
    if end is None and not whole:
        raise _Open(brackets)
    rest = _WORD.match(text, len(text) if end is None else end)
    return rest.end() if rest is not None else len(text)


def _skip_blanks(text: str, position: int) -> int:
    blanks = _BLANKS.match(text, position)
    return blanks.end() if blanks is not None else position


def _word(text: str, position: int) -> tuple[str, int]:
    """The word that begins here, without its quotes, and where it ends."""
    reader = io.StringIO(text[position:])
    lexer = shlex.shlex(reader, posix=True)
    lexer.whitespace_split = True
    lexer.commenters = ""
    try:
        word = lexer.get_token()
    except ValueError as error:
        raise click.UsageError("a quote is not closed, or a backslash stands at the end") from error
    return word or "", position + reader.tell()
