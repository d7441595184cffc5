"""The words of Kea's expressions, each with the place where it stands."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator
from typing import NamedTuple

from bridle.core.errors import BridleError

__all__ = ["ExpressionError", "Token", "split_expression"]

_TOKEN = re.compile(
    r"""
    (?P<blank>\s+)
  | (?P<string>'[^'\n]*')
  | (?P<address>\d+\.\d+\.\d+\.\d+ | (?=[0-9a-fA-F:.]*:[0-9a-fA-F.]*:)[0-9a-fA-F:.]+)
  | (?P<hex>0[xX][0-9a-fA-F]+)
  | (?P<integer>-?[0-9]+)
  | (?P<word>[A-Za-z](?:[A-Za-z0-9_-]*[A-Za-z0-9])?)
  | (?P<mark>==|[()\[\].,+*])
    """,
    re.VERBOSE | re.ASCII,
)
_WORDS = """
addrtotext all and ciaddr concat data dst enterprise exists giaddr hex hexstring hlen htype iface ifelse
int16totext int32totext int8totext lcase len linkaddr mac member msgtype not option or peeraddr pkt pkt4
pkt6 relay4 relay6 siaddr split src substring text transid ucase uint16totext uint32totext uint8totext
vendor vendor-class yiaddr
"""
_KEYWORDS = frozenset(_WORDS.split())
_NAMES = {
    "string": "constant string",
    "address": "ip address",
    "hex": "constant hexstring",
    "integer": "integer",
    "option name": "option name",
    "end": "end of file",
}


class ExpressionError(BridleError):
    """An expression that means nothing."""


class Token(NamedTuple):
    """A word. ``kind`` is that of a literal, ``option name``, ``keyword``, ``mark`` or ``end``."""

    kind: str
    text: str
    line: int
    column: int

    @property
    def place(self) -> str:
        """Where it stands, as Kea says it: ``<string>:1.8-10``."""
        end = f"-{self.column + len(self.text) - 1}" if len(self.text) > 1 else ""
        return f"<string>:{self.line}.{self.column}{end}"

    @property
    def name(self) -> str:
        """What it is called where it is not expected."""
        return _NAMES.get(self.kind, '","' if self.text == "," else self.text)

    def error(self, text: str) -> ExpressionError:
        """An error about it."""
        return ExpressionError(f"{self.place}: {text}")


def split_expression(text: str) -> list[Token]:
    """The words of an expression; the last one is its end.

    Raises:
        ExpressionError: there is something that is no word.
    """
    return list(_split(text))


def _split(text: str) -> Iterator[Token]:
    position, line, begin = 0, 1, 0
    before = ""
    while position < len(text):
        found = _TOKEN.match(text, position)
        kind = (found and found.lastgroup) or ""
        token = Token(kind, found[0] if found else text[position], line, position - begin + 1)
        if kind == "word":
            # Names of options stand in brackets only; elsewhere a word is one of the language.
            kind = "keyword" if token.text in _KEYWORDS else "option name" if before == "[" else ""
            token = token._replace(kind=kind)
        if not kind:
            place = f"<string>:{line}.{token.column}"
            raise ExpressionError(f"{place}: Invalid character: {text[position]}")
        if kind == "address":
            _check_address(token)
        position += len(token.text)
        if kind == "blank":
            if "\n" in token.text:
                line += token.text.count("\n")
                begin = text.rindex("\n", 0, position) + 1
            continue
        before = token.text
        yield token
    yield Token("end", "", line, len(text) - begin + 1)


def _check_address(token: Token) -> None:
    try:
        ipaddress.ip_address(token.text)
    except ValueError:
        raise token.error(f"Failed to convert {token.text} to an IP address.") from None
