"""Secrets inside texts, told by how they are written: passwords of URLs, ``password=…``, bearer tokens,
private keys.

Texts come from peers. So no pattern here looks at a character more than a few times, whatever the text: where
one begins is bounded (by a word's begin, by a name), and where it ends nothing is tried again. Only single
characters are repeated possessively: groups that are lose their place in Python before 3.11.5.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from bridle.access.secret_names import WORDS

__all__ = ["MASK", "SHORTEST", "TRACES", "TextMask"]

MASK = "********"
"""What stands in the place of a secret."""

TRACES: tuple[bytes, ...] = (b"pass", b"://", b"private", b"bearer")
"""Besides names: what a text holds, in small letters, wherever one of the patterns can match."""

SHORTEST = len("bearer x")
"""Characters of the shortest text that holds a secret without a colon or an equals sign: a bearer token."""

_KEY = re.compile(
    r"-----BEGIN [A-Z ]{0,40}PRIVATE KEY-----.*?(?:-----END [A-Z ]{0,40}PRIVATE KEY-----|\Z)", re.DOTALL
)
# A word with a URL in it; that it begins where a word does keeps the search from beginning at each letter.
_URL = re.compile(r"(?<!\S)\S*://\S*")
_BEARER = re.compile(r"(?i)(\bbearer\s+)([A-Za-z0-9._~+/=-]+)")
# A value in quotes; in quotes that are escaped, as in JSON inside of JSON; a word. Behind a blank, as in
# ``password: my secret``, it is all words up to the next ``name=``.
_VALUE = (
    r""""(?:[^"\\]|\\.)*(?:"|\\?\Z)|'(?:[^'\\]|\\.)*(?:'|\\?\Z)"""
    r"""|(?P<escape>\\{1,15})(?P<quote>["']).*?(?:(?<!\\)(?P=escape)(?P=quote)|\Z)"""
    r"""|(?<=\s)[^\s"'&;,{}\[\]]++(?:[ \t]++[^\s"'&;,{}\[\]=:]++(?![ \t]*+[=:"']))*"""
    r"""|[^\s"'&;,{}\[\]]++"""
)
_QUOTED = re.compile(r"\\*[\"']")
_EMPTY = ("", "null", "None", "true", "false", "True", "False")


class TextMask:
    """Masks the secrets in texts. ``names`` are those besides the ones that everybody has, in their normal
    form."""

    def __init__(self, names: Iterable[str] = ()) -> None:
        words = sorted({*WORDS, *names}, key=len, reverse=True)
        patterns = "|".join(re.escape(word).replace(r"\-", "[-_. ]?") for word in words)
        # To look at a letter first spares trying each name at each.
        first = "".join(sorted({re.escape(word[:1]) for word in words}))
        number, mark, sign = r"[0-9]{0,4}+", r"(?:\\{0,15}+[\"'])?", r"\s*+(?:=>?|:)\s*+"
        self._assigned = re.compile(rf"(?is)((?=[{first}])(?:{patterns})s?+{number}{mark}{sign})({_VALUE})")
        self.stems: tuple[str, ...] = tuple(sorted({max(word.split("-"), key=len) for word in words}))
        """Of each name the longest word: a text without any of them has no name of a secret."""

    def masked(self, text: str) -> str:
        """The text with its secrets masked; the same object where there are none."""
        small, given = text.lower(), text
        if "://" in small:
            text = _URL.sub(_mask_url, text)
        if "bearer" in small:
            text = _BEARER.sub(rf"\1{MASK}", text)
        if "private key" in small:
            text = _KEY.sub(MASK, text)
        if "=" in small or ":" in small:
            for stem in self.stems:
                if stem in small:
                    text = self._assigned.sub(_mask_assigned, text)
                    break
        return given if text == given else text


def _mask_url(found: re.Match[str]) -> str:
    """All between the first colon behind the scheme and the last @: more than the password at times, never
    less, for it may hold what should have been escaped."""
    scheme, _, rest = found[0].partition("://")
    place, at, host = rest.rpartition("@")
    user, colon, password = place.partition(":")
    return f"{scheme}://{user}:{MASK}@{host}" if at and colon and password else found[0]


def _mask_assigned(found: re.Match[str]) -> str:
    value = found[2]
    begin = _QUOTED.match(value)
    quote = begin[0] if begin is not None else ""
    inner = value[len(quote) :].removesuffix(quote) if quote else value
    return found[0] if inner in _EMPTY else f"{found[1]}{quote}{MASK}{quote}"
