"""Kea's expressions: the tests of client classes, and the flexible identifier.

An expression is compiled to a function of a query when the configuration is read, so that a wrong one is
refused there, with the column.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Container, Sequence
from typing import Final, NamedTuple

from bridle.bundled.dhcp.expression_tokens import ExpressionError, Token, split_expression
from bridle.bundled.dhcp.expression_values import (
    FIELDS,
    Finder,
    Query,
    Test,
    Value,
    address_text,
    cased,
    hexstring,
    joined,
    message_option,
    number_text,
    relay6_option,
    relay_field,
    relay_option,
    split_field,
    sub_option,
    substring,
    vendor_data,
    vendor_itself,
    vendor_number,
    vendor_option,
)
from bridle.bundled.dhcp.option_formats import Definitions

__all__ = ["DEPTH_LIMIT", "ExpressionError", "Query", "compile_test", "compile_value", "members_of"]

# Parentheses, functions and "not" inside of each other; nobody reads more.
DEPTH_LIMIT: Final = 50

_VENDOR_CODES = {"vendor": {4: 125, 6: 17}, "vendor-class": {4: 124, 6: 16}}
_NUMBERS = {f"{sign}int{8 * size}totext": (size, sign == "") for size in (1, 2, 4) for sign in ("", "u")}


def compile_test(
    text: str, protocol: int, definitions: Definitions, *, classes: Container[str] | None = None
) -> Callable[[Query], bool]:
    """The test of a client class. ``classes`` are those that it may ask for; None: any.

    Raises:
        ExpressionError: it means nothing; the text has the column.
    """
    parser = _Parser(text, protocol, definitions, classes)
    test = parser.test()
    parser.end()
    return test


def compile_value(text: str, protocol: int, definitions: Definitions) -> Callable[[Query], bytes]:
    """A value made of a query, such as a flexible identifier.

    Raises:
        ExpressionError: it means nothing; the text has the column.
    """
    parser = _Parser(text, protocol, definitions, None)
    value = parser.value("end of file or +")
    parser.end()
    return value


def members_of(text: str) -> list[str]:
    """The classes that an expression asks for.

    Raises:
        ExpressionError: it has something that is no word.
    """
    tokens = split_expression(text)
    return [
        name.text[1:-1]
        for word, mark, name in zip(tokens, tokens[1:], tokens[2:], strict=False)
        if word.text == "member" and mark.text == "(" and name.kind == "string"
    ]


class _Node(NamedTuple):
    """What stands somewhere: one of both."""

    test: Test | None = None
    value: Value | None = None


class _Parser:
    def __init__(
        self, text: str, protocol: int, definitions: Definitions, classes: Container[str] | None
    ) -> None:
        self._tokens = split_expression(text)
        self._protocol = protocol
        self._definitions = definitions
        self._classes = classes
        self._next = 0
        self._depth = 0

    # Words.

    @property
    def _token(self) -> Token:
        return self._tokens[self._next]

    def _wrong(self, expected: str = "") -> ExpressionError:
        wanted = f", expecting {expected}" if expected else ""
        return self._token.error(f"syntax error, unexpected {self._token.name}{wanted}")

    def _take(self, text: str) -> bool:
        token = self._token
        if token.kind in ("mark", "keyword") and token.text == text:
            self._next += 1
            return True
        return False

    def _expect(self, text: str, expected: str = "") -> None:
        if not self._take(text):
            raise self._wrong(expected or ('","' if text == "," else text))

    def _taken(self, kind: str, expected: str = "") -> Token:
        token = self._token
        if token.kind != kind:
            raise self._wrong(expected)
        self._next += 1
        return token

    def _integer(self) -> int:
        return int(self._taken("integer", "integer").text)

    def end(self) -> None:
        """Nothing may follow."""
        if self._token.kind != "end":
            raise self._wrong("end of file")

    # What is true or false.

    def test(self) -> Test:
        """A test, with all its ``and`` and ``or``."""
        test = self._disjunction().test
        if test is None:
            raise self._wrong("== or +")
        return test

    def _disjunction(self) -> _Node:
        left = self._conjunction()
        if left.test is None:
            return left
        tests = [left.test]
        while self._take("or"):
            tests.append(self._tested(self._conjunction()))
        return _Node(_any(tests)) if len(tests) > 1 else left

    def _conjunction(self) -> _Node:
        left = self._condition()
        if left.test is None:
            return left
        tests = [left.test]
        while self._take("and"):
            tests.append(self._tested(self._condition()))
        return _Node(_all(tests)) if len(tests) > 1 else left

    def _tested(self, node: _Node) -> Test:
        if node.test is None:
            raise self._wrong("== or +")
        return node.test

    def _condition(self) -> _Node:
        self._deeper()
        if self._take("not"):
            node = _Node(_not(self._tested(self._condition())))
        else:
            node = self._operand()
            if node.value is not None:
                node = self._compared(node.value)
        self._depth -= 1
        return node

    def _compared(self, left: Value) -> _Node:
        left = self._sum(left)
        if not self._take("=="):
            return _Node(value=left)
        right = self.value()
        return _Node(lambda query: left(query) == right(query))

    def _deeper(self) -> None:
        self._depth += 1
        if self._depth > DEPTH_LIMIT:
            raise self._token.error(f"nested more than {DEPTH_LIMIT} deep")

    def _member(self) -> Test:
        self._expect("(")
        token = self._taken("string", "constant string")
        name = token.text[1:-1]
        if self._classes is not None and name not in self._classes:
            raise token.error(f"Not defined client class '{name}'")
        self._expect(")")
        return lambda query: name in query.classes

    # What has bytes.

    def value(self, expected: str = "== or +") -> Value:
        """A value; ``expected``: what may stand behind a test that there is in its place."""
        self._deeper()
        left = self._sum(self._valued(self._operand(), expected))
        self._depth -= 1
        return left

    def _valued(self, node: _Node, expected: str = "") -> Value:
        if node.value is None:
            raise self._wrong(expected)
        return node.value

    def _sum(self, left: Value) -> Value:
        values = [left]
        while self._take("+"):
            values.append(self._valued(self._operand()))
        return joined(values) if len(values) > 1 else left

    def _operand(self) -> _Node:
        """A literal, a function, something of the message, or anything in parentheses."""
        token = self._token
        literal = self._literal(token)
        if literal is not None:
            self._next += 1
            return _Node(value=lambda query: literal)
        if self._take("("):
            node = self._disjunction()
            self._expect(")", "== or +" if node.test is None and self._token.text != ")" else ")")
            return node
        if token.kind != "keyword":
            raise self._wrong()
        self._next += 1
        word = token.text
        if word == "member":
            return _Node(self._member())
        if word in FIELDS:
            return _Node(value=self._field(token))
        if word in ("option", "relay4"):
            return self._option(token)
        if word == "relay6":
            return self._relay6()
        if word in _VENDOR_CODES:
            return self._vendor(word)
        return _Node(value=self._function(word))

    def _literal(self, token: Token) -> bytes | None:
        if token.kind == "string":
            return token.text[1:-1].encode("utf-8", "surrogatepass")
        if token.kind == "hex":
            digits = token.text[2:]
            return bytes.fromhex(digits if len(digits) % 2 == 0 else f"0{digits}")
        if token.kind == "address":
            return ipaddress.ip_address(token.text).packed
        if token.kind == "integer":
            return self._bounded(token, 0, 0xFFFFFFFF, "Invalid").to_bytes(4, "big")
        return None

    def _bounded(self, token: Token, low: int, high: int, name: str) -> int:
        # Nothing longer is in bounds, and Python refuses to read what is too long.
        number = int(token.text) if len(token.text) <= 20 else high + 1
        if not low <= number <= high:
            what = "Invalid value" if name == "Invalid" else f"{name} has invalid value"
            raise token.error(f"{what} in {token.text}. Allowed range: {low}..{high}")
        return number

    # Functions.

    def _function(self, word: str) -> Value:
        if word in _NUMBERS:
            size, signed = _NUMBERS[word]
            return number_text(self._only(), size, signed=signed)
        if word in _UNARY:
            return _UNARY[word](self._only())
        if word not in _FUNCTIONS:
            self._next -= 1
            raise self._wrong()
        self._expect("(")
        found = _FUNCTIONS[word](self)
        self._expect(")")
        return found

    def _only(self) -> Value:
        self._expect("(")
        value = self.value()
        self._expect(")", ") or +")
        return value

    def comma(self, *, value: bool = False) -> None:
        """The next argument follows."""
        self._expect(",", '"," or +' if value else "")

    def number(self, *, or_all: bool = False) -> int | None:
        """A whole number, or None for ``all``."""
        if or_all and self._take("all"):
            return None
        return self._bounded(self._taken("integer", "integer"), -(1 << 31), (1 << 31) - 1, "Invalid")

    # What is in a message.

    def _field(self, token: Token) -> Value:
        if token.text not in ("pkt", f"pkt{self._protocol}"):
            raise token.error(f"{token.text} can only be used in DHCPv{token.text[-1]}.")
        self._expect(".")
        fields = FIELDS[token.text]
        name = self._token.text
        if self._token.kind != "keyword" or name not in fields:
            raise self._wrong("msgtype or transid" if token.text == "pkt6" else "")
        self._next += 1
        return fields[name]

    def _option(self, token: Token) -> _Node:
        if token.text == "relay4" and self._protocol != 4:
            raise token.error("relay4 can only be used in DHCPv4.")
        if token.text == "relay4":
            found = relay_option(self._code())
        else:
            code = self._code(names=True)
            found = message_option(self._protocol, code)
            self._expect(".")
            if self._take("option"):
                found = sub_option(self._protocol, code, found, self._code())
            else:
                self._next -= 1
        self._expect(".")
        return self._form(found, "text or hex or exists")

    def _form(self, found: Finder, expected: str) -> _Node:
        if self._take("exists"):
            return _Node(lambda query: found(query) is not None)
        if self._take("hex") or self._take("text"):
            return _Node(value=lambda query: found(query) or b"")
        raise self._wrong(expected)

    def _code(self, *, names: bool = False) -> int:
        """The code of an option, in brackets."""
        self._expect("[")
        token = self._token
        if names and token.kind in ("option name", "keyword"):
            self._next += 1
            definition = self._definitions.by_name(f"dhcp{self._protocol}", token.text)
            if definition is None:
                raise token.error(f"option '{token.text}' is not defined")
            code = definition.code
        else:
            self._taken("integer", "integer or option name" if names else "integer")
            code = self._bounded(token, 0, 255 if self._protocol == 4 else 65535, "Option code")
        self._expect("]")
        return code

    def _relay6(self) -> _Node:
        self._expect("[")
        token = self._taken("integer", "integer")
        if self._protocol != 6:
            raise token.error("Nest level invalid for DHCPv4 packets")
        level = self._bounded(token, -32, 31, "Nest level")
        self._expect("]")
        self._expect(".")
        if self._take("peeraddr"):
            return _Node(value=relay_field(level, "peer"))
        if self._take("linkaddr"):
            return _Node(value=relay_field(level, "link"))
        self._expect("option", "option or peeraddr or linkaddr")
        found = relay6_option(level, self._code())
        self._expect(".")
        return self._form(found, "text or hex or exists")

    def _vendor(self, word: str) -> _Node:
        found = message_option(self._protocol, _VENDOR_CODES[word][self._protocol])
        if not self._take("["):
            self._expect(".", "[ or .")
            self._expect("enterprise")
            return _Node(value=vendor_number(found))
        enterprise: int | None = None
        if not self._take("*"):
            token = self._taken("integer", "* or integer")
            enterprise = self._bounded(token, 0, 0xFFFFFFFF, "Vendor-id")
        self._expect("]")
        self._expect(".")
        if self._take("exists"):
            itself = vendor_itself(found, enterprise)
            return _Node(lambda query: itself(query) is not None)
        if word == "vendor":
            self._expect("option", "option or exists")
            inner = vendor_option(found, self._protocol, enterprise, self._code())
            self._expect(".")
            return self._form(inner, "text or hex or exists")
        self._expect("data", "exists or data")
        index = 0
        if self._take("["):
            index = self._bounded(self._taken("integer", "integer"), 0, 255, "Data index")
            self._expect("]")
        return _Node(value=vendor_data(found, self._protocol, enterprise, index))


def _any(tests: Sequence[Test]) -> Test:
    return lambda query: any(test(query) for test in tests)


def _all(tests: Sequence[Test]) -> Test:
    return lambda query: all(test(query) for test in tests)


def _not(test: Test) -> Test:
    return lambda query: not test(query)


def _substring(parser: _Parser) -> Value:
    value = parser.value()
    parser.comma(value=True)
    start = parser.number()
    parser.comma()
    return substring(value, start or 0, parser.number(or_all=True))


def _concat(parser: _Parser) -> Value:
    left = parser.value()
    parser.comma(value=True)
    return joined((left, parser.value()))


def _ifelse(parser: _Parser) -> Value:
    test = parser.test()
    parser.comma()
    then = parser.value()
    parser.comma(value=True)
    other = parser.value()
    return lambda query: then(query) if test(query) else other(query)


def _hexstring(parser: _Parser) -> Value:
    value = parser.value()
    parser.comma(value=True)
    return hexstring(value, parser.value())


def _split(parser: _Parser) -> Value:
    value = parser.value()
    parser.comma(value=True)
    delimiters = parser.value()
    parser.comma(value=True)
    return split_field(value, delimiters, parser.number() or 0)


_FUNCTIONS: dict[str, Callable[[_Parser], Value]] = {
    "substring": _substring,
    "concat": _concat,
    "ifelse": _ifelse,
    "hexstring": _hexstring,
    "split": _split,
}
_UNARY: dict[str, Callable[[Value], Value]] = {
    "addrtotext": address_text,
    "lcase": lambda value: cased(value, bytes.lower),
    "ucase": lambda value: cased(value, bytes.upper),
}
