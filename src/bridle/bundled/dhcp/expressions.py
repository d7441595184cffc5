"""Kea's expressions: the tests of client classes, and the flexible identifier.

An expression is compiled to a function of a query when the configuration is read, so that a wrong one is
refused there, with the column.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, TypeAlias

from bridle.bundled.dhcp.option_formats import Definitions
from bridle.core.errors import BridleError

__all__ = ["DEPTH_LIMIT", "ExpressionError", "compile_test", "compile_value", "members_of"]

# Parentheses and functions inside of each other; nobody reads more.
DEPTH_LIMIT = 50

Test: TypeAlias = Callable[[Any], bool]
Value: TypeAlias = Callable[[Any], bytes]

_TOKEN = re.compile(
    r"""\s*(?:
    (?P<string>'[^']*')
  | (?P<hex>0[xX][0-9a-fA-F]+)
  | (?P<address>\d+\.\d+\.\d+\.\d+ | [0-9a-fA-F]*:[0-9a-fA-F:.]+(?![\w]))
  | (?P<integer>-?\d+)
  | (?P<word>[A-Za-z][A-Za-z0-9_\-]*)
  | (?P<mark>==|[()\[\].,+*])
    )""",
    re.VERBOSE,
)
_MEMBER = re.compile(r"member\s*\(\s*'([^']*)'\s*\)")


class ExpressionError(BridleError):
    """An expression that means nothing."""


class _Token(NamedTuple):
    kind: str
    text: str
    column: int


def compile_test(text: str, protocol: int, definitions: Definitions) -> Test:
    """The test of a client class.

    Raises:
        ExpressionError: it means nothing; the text has the column.
    """
    parser = _Parser(text, protocol, definitions)
    test = parser.disjunction()
    parser.end()
    return test


def compile_value(text: str, protocol: int, definitions: Definitions) -> Value:
    """A value made of a query, such as a flexible identifier.

    Raises:
        ExpressionError: it means nothing; the text has the column.
    """
    parser = _Parser(text, protocol, definitions)
    value = parser.value()
    parser.end()
    return value


def members_of(text: str) -> list[str]:
    """The classes that an expression asks about."""
    return _MEMBER.findall(text)


class _Parser:
    def __init__(self, text: str, protocol: int, definitions: Definitions) -> None:
        self._text = text
        self._protocol = protocol
        self._definitions = definitions
        self._tokens = list(self._split(text))
        self._next = 0
        self._depth = 0

    def _split(self, text: str) -> Sequence[_Token]:
        tokens = []
        position = 0
        while position < len(text.rstrip()):
            found = _TOKEN.match(text, position)
            if found is None:
                column = position + len(text[position:]) - len(text[position:].lstrip()) + 1
                raise ExpressionError(f"<string>:1.{column}: Invalid character: {text[column - 1]}")
            kind = found.lastgroup or ""
            tokens.append(_Token(kind, found[kind], found.start(kind) + 1))
            position = found.end()
        return [*tokens, _Token("end", "end of file", len(text) + 1)]

    @property
    def _token(self) -> _Token:
        return self._tokens[self._next]

    def _wrong(self, token: _Token, expected: str = "") -> ExpressionError:
        wanted = f", expecting {expected}" if expected else ""
        return ExpressionError(f"<string>:1.{token.column}: syntax error, unexpected {token.text}{wanted}")

    def _take(self, text: str) -> bool:
        token = self._token
        if token.kind in ("mark", "word") and token.text == text:
            self._next += 1
            return True
        return False

    def _expect(self, text: str) -> None:
        if not self._take(text):
            raise self._wrong(self._token, text)

    def _taken(self, kind: str) -> str:
        token = self._token
        if token.kind != kind:
            raise self._wrong(token, kind)
        self._next += 1
        return token.text

    def end(self) -> None:
        if self._token.kind != "end":
            raise self._wrong(self._token, "end of file")

    def _deeper(self) -> None:
        self._depth += 1
        if self._depth > DEPTH_LIMIT:
            raise ExpressionError(f"<string>:1.{self._token.column}: nested more than {DEPTH_LIMIT} deep")

    # What is true or false.

    def disjunction(self) -> Test:
        left = self._conjunction()
        while self._take("or"):
            left = _or(left, self._conjunction())
        return left

    def _conjunction(self) -> Test:
        left = self._condition()
        while self._take("and"):
            left = _and(left, self._condition())
        return left

    def _condition(self) -> Test:
        self._deeper()
        try:
            if self._take("not"):
                return _not(self._condition())
            if self._take("("):
                inner = self.disjunction()
                self._expect(")")
                return inner
            if self._take("member"):
                return self._member()
            return self._comparison()
        finally:
            self._depth -= 1

    def _member(self) -> Test:
        self._expect("(")
        name = self._taken("string")[1:-1]
        self._expect(")")
        return lambda query: name in query.classes

    def _comparison(self) -> Test:
        started = self._next
        option = self._existence()
        if option is not None:
            return option
        self._next = started
        left = self.value()
        self._expect("==")
        right = self.value()
        return lambda query: left(query) == right(query)

    def _existence(self) -> Test | None:
        """``option[N].exists``, or None where it is something else."""
        word = self._token.text
        if word not in ("option", "relay4", "relay6", "vendor", "vendor-class"):
            return None
        found = self._option()
        return (lambda query: found(query) is not None) if self._take("exists") else None

    # What has bytes.

    def value(self) -> Value:
        self._deeper()
        try:
            left = self._single()
            while self._take("+"):
                left = _joined((left, self._single()))
            return left
        finally:
            self._depth -= 1

    def _single(self) -> Value:
        token = self._token
        literal = self._literal(token)
        if literal is not None:
            self._next += 1
            return lambda query: literal
        if token.kind != "word":
            raise self._wrong(token)
        if token.text in _FUNCTIONS:
            self._next += 1
            return _FUNCTIONS[token.text](self)
        if token.text in ("pkt4", "pkt6", "pkt"):
            return self._field()
        found = self._option()
        form = self._taken("word")
        if form not in ("hex", "text"):
            self._next -= 1
            raise self._wrong(self._token, "exists, hex or text")
        return lambda query: found(query) or b""

    def _literal(self, token: _Token) -> bytes | None:
        if token.kind == "string":
            return token.text[1:-1].encode()
        if token.kind == "hex":
            digits = token.text[2:]
            return bytes.fromhex(digits if len(digits) % 2 == 0 else f"0{digits}")
        if token.kind == "address":
            try:
                return ipaddress.ip_address(token.text).packed
            except ValueError:
                raise self._wrong(token, "an address") from None
        if token.kind == "integer":
            number = int(token.text)
            if not -0x80000000 <= number <= 0xFFFFFFFF:
                raise ExpressionError(f"<string>:1.{token.column}: {number} is out of range")
            return (number & 0xFFFFFFFF).to_bytes(4, "big")
        return None

    def arguments(self, *kinds: str) -> list[Any]:
        """The arguments of a function: ``value``, ``test``, ``number``, ``text``."""
        self._expect("(")
        found: list[Any] = []
        for index, kind in enumerate(kinds):
            if index:
                self._expect(",")
            found.append(self._argument(kind))
        self._expect(")")
        return found

    def _argument(self, kind: str) -> Any:
        if kind == "value":
            return self.value()
        if kind == "test":
            return self.disjunction()
        if self._take("all"):
            return None
        return int(self._taken("integer"))

    def more_values(self) -> list[Value]:
        """Two or more values."""
        self._expect("(")
        found = [self.value()]
        while self._take(","):
            found.append(self.value())
        self._expect(")")
        return found

    # What is in a message.

    def _option(self) -> Callable[[Any], bytes | None]:
        """An option, or one inside of it; leaves the last dot behind."""
        word = self._taken("word")
        if word == "option":
            found = _message_option(self._protocol, self._code(self._space))
        elif word == "relay4" and self._protocol == 4:
            found = _sub_option_of_relay(self._code("dhcp-agent-options-space"))
        elif word == "relay6" and self._protocol == 6:
            return self._relay()
        elif word in ("vendor", "vendor-class"):
            return self._vendor(word)
        else:
            self._next -= 1
            raise self._wrong(self._token)
        self._expect(".")
        while self._take("option"):
            found = _sub_option(self._protocol, found, self._code(""))
            self._expect(".")
        return found

    @property
    def _space(self) -> str:
        return f"dhcp{self._protocol}"

    def _code(self, space: str) -> int:
        self._expect("[")
        token = self._token
        if token.kind == "integer":
            code = int(self._taken("integer"))
        else:
            definition = self._definitions.by_name(space, self._taken("word"))
            if definition is None:
                raise ExpressionError(
                    f"<string>:1.{token.column}: option '{token.text}' is not defined in space '{space}'"
                )
            code = definition.code
        if not 0 <= code <= (255 if self._protocol == 4 else 65535):
            raise ExpressionError(f"<string>:1.{token.column}: option code {code} is out of range")
        self._expect("]")
        return code

    def _relay(self) -> Callable[[Any], bytes | None]:
        self._expect("[")
        level = int(self._taken("integer"))
        self._expect("]")
        self._expect(".")
        if self._take("option"):
            code = self._code(self._space)
            self._expect(".")
            return lambda query: _first(_relay_options(query, level), code)
        token = self._token
        name = self._taken("word")
        if name not in ("peeraddr", "linkaddr"):
            raise self._wrong(token, "option, peeraddr or linkaddr")
        attribute = "peer" if name == "peeraddr" else "link"
        # An address has no form to follow: it is taken as it stands.
        self._tokens.insert(self._next, _Token("word", "hex", token.column))
        return lambda query: _relay_field(query, level, attribute)

    def _vendor(self, word: str) -> Callable[[Any], bytes | None]:
        enterprise: int | None = None
        if self._take("["):
            if not self._take("*"):
                enterprise = int(self._taken("integer"))
            self._expect("]")
        code = {"vendor": {4: 125, 6: 17}, "vendor-class": {4: 124, 6: 16}}[word][self._protocol]
        option = _message_option(self._protocol, code)
        self._expect(".")
        if self._take("option"):
            inner = self._code("")
            self._expect(".")
            return lambda query: _vendor_option(option(query), self._protocol, enterprise, inner)
        if self._take("enterprise"):
            self._tokens.insert(self._next, _Token("word", "hex", self._token.column))
            return lambda query: (option(query) or b"")[:4]
        if word == "vendor-class" and self._take("data"):
            index = 0
            if self._take("["):
                index = int(self._taken("integer"))
                self._expect("]")
            self._tokens.insert(self._next, _Token("word", "hex", self._token.column))
            return lambda query: _vendor_data(option(query), self._protocol, enterprise, index)
        return lambda query: _of_vendor(option(query), enterprise)

    def _field(self) -> Value:
        what = self._taken("word")
        self._expect(".")
        token = self._token
        field = _FIELDS.get((what, self._taken("word")))
        if field is None or (what != "pkt" and what != f"pkt{self._protocol}"):
            raise self._wrong(token)
        return field


def _or(left: Test, right: Test) -> Test:
    return lambda query: left(query) or right(query)


def _and(left: Test, right: Test) -> Test:
    return lambda query: left(query) and right(query)


def _not(test: Test) -> Test:
    return lambda query: not test(query)


def _joined(values: Sequence[Value]) -> Value:
    return lambda query: b"".join(value(query) for value in values)


def _message_option(protocol: int, code: int) -> Callable[[Any], bytes | None]:
    if protocol == 4:
        return lambda query: query.packet.options.get(code)
    return lambda query: _first(query.packet.options, code)


def _first(options: Sequence[tuple[int, bytes]], code: int) -> bytes | None:
    for number, data in options:
        if number == code:
            return data
    return None


def _sub_option_of_relay(code: int) -> Callable[[Any], bytes | None]:
    return lambda query: query.relay.get(code)


def _sub_option(
    protocol: int, found: Callable[[Any], bytes | None], code: int
) -> Callable[[Any], bytes | None]:
    head = 1 if protocol == 4 else 2

    def sub_option(query: Any) -> bytes | None:
        return _search(found(query) or b"", head, code)

    return sub_option


def _search(data: bytes, head: int, code: int) -> bytes | None:
    position = 0
    while position + 2 * head <= len(data):
        number = int.from_bytes(data[position : position + head], "big")
        length = int.from_bytes(data[position + head : position + 2 * head], "big")
        position += 2 * head
        if number == code:
            return data[position : position + length]
        position += length
    return None


def _relay_options(query: Any, level: int) -> Sequence[tuple[int, bytes]]:
    relay = _relay_at(query, level)
    return () if relay is None else relay.options


def _relay_at(query: Any, level: int) -> Any:
    """Level 0 is the outermost relay, the one that is nearest to the server; -1 the nearest to the client."""
    relays = query.relays
    return relays[level] if -len(relays) <= level < len(relays) else None


def _relay_field(query: Any, level: int, attribute: str) -> bytes:
    relay = _relay_at(query, level)
    return b"" if relay is None else bytes(getattr(relay, attribute))


def _of_vendor(data: bytes | None, enterprise: int | None) -> bytes | None:
    if data is None or len(data) < 4:
        return None
    return data if enterprise is None or int.from_bytes(data[:4], "big") == enterprise else None


def _vendor_option(data: bytes | None, protocol: int, enterprise: int | None, code: int) -> bytes | None:
    data = _of_vendor(data, enterprise)
    if data is None:
        return None
    # DHCPv4 has a length between the enterprise number and the options (RFC 3925 §4).
    return _search(data[5:], 1, code) if protocol == 4 else _search(data[4:], 2, code)


def _vendor_data(data: bytes | None, protocol: int, enterprise: int | None, index: int) -> bytes:
    rest = (_of_vendor(data, enterprise) or b"")[4:]
    head = 1 if protocol == 4 else 2
    if protocol == 4:
        rest = rest[1:]
    while rest:
        length = int.from_bytes(rest[:head], "big")
        if index == 0:
            return rest[head : head + length]
        index -= 1
        rest = rest[head + length :]
    return b""


def _substring(parser: _Parser) -> Value:
    value, start, length = parser.arguments("value", "number", "number")
    if start is None:
        raise ExpressionError("substring() begins at a number")

    def substring(query: Any) -> bytes:
        data: bytes = value(query)
        first = start + len(data) if start < 0 else start
        if not 0 <= first < len(data):
            return b""
        if length is None:
            return data[first:]
        return data[first : first + length] if length >= 0 else data[max(0, first + length) : first]

    return substring


def _ifelse(parser: _Parser) -> Value:
    test, then, other = parser.arguments("test", "value", "value")
    return lambda query: then(query) if test(query) else other(query)


def _hexstring(parser: _Parser) -> Value:
    value, separator = parser.arguments("value", "value")
    return lambda query: separator(query).join(b"%02x" % byte for byte in value(query))


def _addrtotext(parser: _Parser) -> Value:
    (value,) = parser.arguments("value")

    def text(query: Any) -> bytes:
        data: bytes = value(query)
        return str(ipaddress.ip_address(data)).encode() if len(data) in (4, 16) else b""

    return text


def _number_text(size: int, *, signed: bool) -> Callable[[_Parser], Value]:
    def function(parser: _Parser) -> Value:
        (value,) = parser.arguments("value")

        def text(query: Any) -> bytes:
            data: bytes = value(query)
            return str(int.from_bytes(data, "big", signed=signed)).encode() if len(data) == size else b""

        return text

    return function


def _split_text(parser: _Parser) -> Value:
    value, delimiters, number = parser.arguments("value", "value", "number")

    def field(query: Any) -> bytes:
        data, marks = value(query), delimiters(query)
        fields = re.split(b"[" + re.escape(marks) + b"]", data) if marks else [data]
        return bytes(fields[number - 1]) if number and 0 < number <= len(fields) else b""

    return field


def _cased(change: Callable[[bytes], bytes]) -> Callable[[_Parser], Value]:
    def function(parser: _Parser) -> Value:
        (value,) = parser.arguments("value")
        return lambda query: change(value(query))

    return function


_FUNCTIONS: dict[str, Callable[[_Parser], Value]] = {
    "substring": _substring,
    "concat": lambda parser: _joined(parser.more_values()),
    "ifelse": _ifelse,
    "hexstring": _hexstring,
    "addrtotext": _addrtotext,
    "lcase": _cased(bytes.lower),
    "ucase": _cased(bytes.upper),
    "split": _split_text,
    **{f"uint{8 * size}totext": _number_text(size, signed=False) for size in (1, 2, 4)},
    **{f"int{8 * size}totext": _number_text(size, signed=True) for size in (1, 2, 4)},
}


def _word(number: int) -> bytes:
    return number.to_bytes(4, "big")


_FIELDS: dict[tuple[str, str], Value] = {
    ("pkt", "iface"): lambda query: query.interface.encode(),
    ("pkt", "src"): lambda query: query.source if isinstance(query.source, bytes) else _word(query.source),
    ("pkt", "dst"): lambda query: query.destination,
    ("pkt", "len"): lambda query: _word(query.length),
    ("pkt4", "mac"): lambda query: query.packet.chaddr,
    ("pkt4", "hlen"): lambda query: _word(query.packet.hlen),
    ("pkt4", "htype"): lambda query: _word(query.packet.htype),
    ("pkt4", "ciaddr"): lambda query: _word(query.packet.ciaddr),
    ("pkt4", "giaddr"): lambda query: _word(query.packet.giaddr),
    ("pkt4", "yiaddr"): lambda query: _word(query.packet.yiaddr),
    ("pkt4", "siaddr"): lambda query: _word(query.packet.siaddr),
    ("pkt4", "msgtype"): lambda query: query.packet.options.get(53, b"").rjust(4, b"\0"),
    ("pkt4", "transid"): lambda query: _word(query.packet.xid),
    ("pkt6", "msgtype"): lambda query: _word(query.packet.type),
    ("pkt6", "transid"): lambda query: _word(query.packet.transaction),
}
