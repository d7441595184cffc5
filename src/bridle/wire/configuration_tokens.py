"""The words of a configuration file: what Kea's lexer makes of comments, strings, numbers and included files.

Complaints are Kea's (``facts/kea.md`` §2.5), with the place in front: ``kea.conf:3.5-9: …``. Lines and
columns count from 1, columns are bytes, and the last column belongs to the word. What Kea does not say the
place of, a comment without an end for one, is given its place here.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Callable, Iterator
from math import inf, isfinite
from typing import NamedTuple, TypeAlias

from bridle.core.errors import ConfigurationError
from bridle.core.messages import JSON
from bridle.wire.kea_reader import INTEGER_MAX, INTEGER_MIN
from bridle.wire.kea_strings import sound_length, unescape

__all__ = ["END", "INCLUDE_LIMIT", "STRING", "ConfigurationSyntaxError", "Include", "Token", "tokens"]

INCLUDE_LIMIT = 11
"""How many included files may stand inside one another: as many as in Kea. It stops files that include
themselves."""

STRING = "constant string"
END = "end of file"

Include: TypeAlias = Callable[[str, str], tuple[str, str]]
"""Given the name in a directive and the name of the file that it stands in: what to call the included file,
and its text."""

_TOKEN = re.compile(
    rb"""(?P<blank> [ \t\r\n]++ | \#[^\n]*+ | //[^\n]*+ )
       | (?P<comment> /\* )
       | (?P<directive> <\? )
       | (?P<mark> [\[\]{},:] )
       | (?P<string> " (?: [^\x00-\x1f"\\]++ | \\["\\/bfnrt] | \\u[0-9A-Fa-f]{4} )* " )
       | (?P<integer> -? [0-9]++ (?! \. | [eE][-+]?[0-9] ) )
       | (?P<float> (?= [-+.0-9] | [eE][-+]?[0-9] ) [-+]? [0-9]*+ \.? [0-9]*+ (?: [eE][-+]?[0-9]++ )? )
       | (?P<word> (?i: true | false | null ) )
    """,
    re.VERBOSE,
)
_BLANKS = re.compile(rb"[ \t\r\n]*")
_INCLUDE = re.compile(rb'<\?[ \t\r\n]*include[ \t\r\n]*"([^"\n]+)"')
_INCLUDE_SO_FAR = re.compile(rb"<\?[ \t\r\n]*(?:include[ \t\r\n]*)?")
_WORDS: dict[bytes, tuple[str, JSON]] = {
    b"true": ("boolean", True),
    b"false": ("boolean", False),
    b"null": ("null", None),
}

_SOUND = rb'[^\x00-\x1f"\\]++|\\["\\/bfnrt]|\\u[0-9A-Fa-f]{4}'
_BAD_STRINGS = (
    ("Invalid control", 0, rb'"(?:%b)*([\x00-\x1f])(?:[^"\\]++|\\["\\/bfnrtu])*"'),
    ("Bad escape", 1, rb'"(?:%b)*(\\(?:[^"\\/bfnrtu]|u[0-9A-Fa-f]{0,3}[^0-9A-Fa-f"]))[^"]*+"'),
    ("Overflow unicode escape", 1, rb'"(?:%b)*(\\u[0-9A-Fa-f]{0,3})"'),
    ("Overflow escape", 2, rb'"(?:%b)*(\\")'),
)
"""What is wrong with a string that is none: the complaint, how far behind the beginning of the pattern's
group Kea points, and the pattern."""


class ConfigurationSyntaxError(ConfigurationError):
    """The text of a configuration is wrong. ``text`` begins with ``position``, as Kea's does."""

    def __str__(self) -> str:
        return self.text


class File:
    """The bytes of a file, and where its lines begin."""

    __slots__ = ("_lines", "name", "text")

    def __init__(self, name: str, text: str) -> None:
        self.name: str = name
        self.text: bytes = _to_bytes(text)
        self._lines: list[int] | None = None

    def point(self, at: int) -> tuple[int, int]:
        """The line and the column of a byte."""
        if self._lines is None:
            self._lines = [0, *(match.end() for match in re.finditer(rb"\n", self.text))]
        line = bisect_right(self._lines, at)
        return line, at - self._lines[line - 1] + 1


class Token(NamedTuple):
    """A word of a file: its kind, in the words of complaints, and its value, where it has one."""

    kind: str
    file: File
    start: int
    end: int
    value: JSON = None

    @property
    def position(self) -> str:
        """``FILE:L.C``, or ``FILE:L.C-C`` where it is longer; a line break within a word counts as a byte."""
        line, column = self.file.point(self.start)
        last = column + self.end - self.start - 1
        return f"{self.file.name}:{line}.{column}" + (f"-{last}" if last > column else "")

    def error(self, complaint: str, near: int | None = None) -> ConfigurationSyntaxError:
        """The complaint, with its place. ``near`` counts bytes from the word's beginning."""
        where = self.position if near is None else f"{self.position} (near {near})"
        return ConfigurationSyntaxError(f"{where}: {complaint}", position=self.position)


def tokens(text: str, name: str, include: Include | None) -> Iterator[Token]:
    """Take a file to pieces; the last one is the end of the file. Included files are part of it.

    Raises:
        ConfigurationSyntaxError: something is no word, or cannot be included.
    """
    file, at = File(name, text), 0
    including: list[Token] = []
    while True:
        match = _TOKEN.match(file.text, at)
        if match is None:
            if at < len(file.text):
                raise _no_token(file, at)
            if not including:
                yield Token(END, file, at, at)
                return
            directive = including.pop()
            file, at = directive.file, _end_of_directive(directive)
            continue
        at = match.end()
        if match.lastgroup == "comment":
            at = _end_of_comment(file, match.start())
        elif match.lastgroup == "directive":
            directive = _directive(file, match.start())
            if len(including) == INCLUDE_LIMIT:
                raise directive.error("Too many nested include.")
            including.append(directive)
            file, at = _included(directive, include), 0
        elif match.lastgroup != "blank":
            yield _READERS[match.lastgroup or ""](file, match)


def _to_bytes(text: str) -> bytes:
    """A text's bytes, as they were, if it was read with ``surrogateescape``."""
    try:
        return text.encode(errors="surrogateescape")
    except UnicodeEncodeError:
        return text.encode(errors="surrogatepass")


def _shown(part: bytes) -> str:
    return part.decode(errors="replace")


def _mark(file: File, match: re.Match[bytes]) -> Token:
    return Token(match[0].decode(), file, match.start(), match.end())


def _word(file: File, match: re.Match[bytes]) -> Token:
    kind, value = _WORDS[match[0].lower()]
    token = Token(kind, file, match.start(), match.end(), value)
    if match[0] not in _WORDS:
        raise token.error(f"JSON {match[0].lower().decode()} reserved keyword is lower case only")
    return token


def _integer(file: File, match: re.Match[bytes]) -> Token:
    try:
        value = int(match[0])
    except ValueError:
        value = INTEGER_MAX + 1
    token = Token("integer", file, match.start(), match.end(), value)
    if not INTEGER_MIN <= value <= INTEGER_MAX:
        raise token.error(f"Failed to convert {match[0].decode()} to an integer.")
    return token


def _float(file: File, match: re.Match[bytes]) -> Token:
    try:
        value = float(match[0])
    except ValueError:
        value = inf
    token = Token("floating point", file, match.start(), match.end(), value)
    if not isfinite(value):
        raise token.error(f"Failed to convert {match[0].decode()} to a floating point.")
    return token


def _string(file: File, match: re.Match[bytes]) -> Token:
    token = Token(STRING, file, match.start(), match.end())
    inside = match[0][1:-1]
    if b"\\" in inside and (sound := sound_length(inside)) < len(inside):
        raise token.error(f"Unsupported unicode escape in {_shown(match[0])}", sound + 3)
    try:
        return Token(STRING, file, token.start, token.end, unescape(inside))
    except UnicodeDecodeError as error:
        raise token.error(f"Invalid UTF-8 in {_shown(match[0])}", error.start + 1) from None


_READERS: dict[str, Callable[[File, re.Match[bytes]], Token]] = {
    "mark": _mark,
    "word": _word,
    "integer": _integer,
    "float": _float,
    "string": _string,
}


def _no_token(file: File, at: int) -> ConfigurationSyntaxError:
    """What is wrong where no word begins; an unfinished string without a reason is a lone quote to Kea."""
    for complaint, behind, pattern in _BAD_STRINGS:
        if match := re.compile(pattern % _SOUND).match(file.text, at):
            token = Token(STRING, file, at, match.end())
            return token.error(f"{complaint} in {_shown(match[0])}", match.start(1) - at + behind)
    return _invalid_character(file, at)


def _invalid_character(file: File, at: int) -> ConfigurationSyntaxError:
    return Token("", file, at, at + 1).error(f"Invalid character: {_shown(file.text[at : at + 4])[0]}")


def _end_of_comment(file: File, start: int) -> int:
    end = file.text.find(b"*/", start + 2)
    if end < 0:
        token = Token("", file, start, start + 2)
        raise token.error(f"Comment not closed. (/* in line {file.point(start)[0]})")
    return end + 2


def _directive(file: File, start: int) -> Token:
    """An include directive up to the name of the file, which is its value."""
    if match := _INCLUDE.match(file.text, start):
        return Token("", file, start, match.end(), match[1].decode(errors="surrogateescape"))
    begun = Token("", file, start, _end(_INCLUDE_SO_FAR, file, start))
    raise _directive_error(begun)


def _end_of_directive(directive: Token) -> int:
    """Where the text goes on behind a directive whose file has been read."""
    file, at = directive.file, _end(_BLANKS, directive.file, directive.end)
    if not file.text.startswith(b"?>", at):
        raise _directive_error(directive._replace(end=at))
    return at + 2


def _directive_error(begun: Token) -> ConfigurationSyntaxError:
    if begun.end == len(begun.file.text):
        return begun.error("Directive not closed.")
    return _invalid_character(begun.file, begun.end)


def _end(pattern: re.Pattern[bytes], file: File, at: int) -> int:
    match = pattern.match(file.text, at)
    return match.end() if match else at


def _included(directive: Token, include: Include | None) -> File:
    complaint = f"Can't open include file {directive.value}"
    if include is None:
        raise directive.error(f"{complaint}: there is nothing to include files from")
    try:
        name, text = include(str(directive.value), directive.file.name)
    except OSError as error:
        raise directive.error(f"{complaint}: {error.strerror or error}") from error
    return File(name, text)
