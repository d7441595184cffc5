"""What is typed to kamcmd: words, and the values that they stand for (``facts/kamailio.md`` §5)."""

from __future__ import annotations

import re
from collections.abc import Iterator

from bridle.wire.binrpc_records import Value

__all__ = ["read_argument", "words"]

_INTEGER = re.compile(r"[+-]?[0-9]+")
_DOUBLE = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?")
_HEXADECIMAL = re.compile(r"[+-]?0[xX][0-9a-fA-F]+(\.[0-9a-fA-F]*)?([pP][+-]?[0-9]+)?")


def read_argument(word: str, *, quoted: bool = False) -> Value:
    """An argument as it is typed: an integer or a double where it looks like one, else a string; ``s:`` makes
    one of what follows."""
    if word.startswith("s:"):
        return word[2:]
    if quoted or not word:
        return word
    return _number(word)


def _number(word: str) -> Value:
    stripped = word.lstrip(" \t")
    if _INTEGER.fullmatch(stripped):
        number = int(stripped)
        # Longer ones are telephone numbers and the like: 32 bits would not hold them.
        if -(1 << 31) <= number < 1 << 32:
            return number - (1 << 32) if number >= 1 << 31 else number
        return word
    if _DOUBLE.fullmatch(stripped):
        return float(stripped)
    if _HEXADECIMAL.fullmatch(stripped):
        return float.fromhex(stripped)
    return word


def words(line: str) -> Iterator[tuple[str, bool]]:
    """The words of a line, each with whether it was quoted. Quotes and backslashes are the shell's."""
    word, quote, quoted, begun = "", "", False, False
    escaped = False
    for character in line:
        if escaped:
            word, escaped = word + character, False
        elif character == "\\" and quote != "'":
            escaped = begun = True
        elif quote:
            if character == quote:
                quote = ""
            else:
                word += character
        elif character in "\"'":
            quote, quoted, begun = character, True, True
        elif character in " \t":
            if begun:
                yield word, quoted
            word, quoted, begun = "", False, False
        else:
            word, begun = word + character, True
    if begun:
        yield word, quoted
