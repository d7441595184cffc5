"""What holds for every value, and for every text, of Kea's JSON and of its configuration files."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from typing import TypeVar

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from bridle.core.errors import ConfigurationError, RemoteProtocolError
from bridle.core.messages import JSON
from bridle.wire.configuration_text import parse
from bridle.wire.kea_json import decode, encode, encode_pretty
from bridle.wire.kea_reader import INTEGER_MAX, INTEGER_MIN, KeaSyntaxError, read

Read = TypeVar("Read")
Wrong = TypeVar("Wrong", bound=Exception)

EXAMPLES = settings(max_examples=200, deadline=None)

text = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
scalars = (
    st.none()
    | st.booleans()
    | st.integers(INTEGER_MIN, INTEGER_MAX)
    | st.floats(allow_nan=False, allow_infinity=False)
    | text
)
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(text, inner, max_size=4),
    max_leaves=20,
)
maps = st.dictionaries(text, values, max_size=4)

pieces = st.sampled_from(
    [
        *[
            b"{",
            b"}",
            b"[",
            b"]",
            b",",
            b":",
            b'"',
            b"\\",
            b"\n",
            b" ",
            b"\t",
            b"\b",
            b"\x00",
            b"\x0b",
            b"\xff",
        ],
        *[b'"a"', b'"b":', b"1", b"-", b"+5", b".5", b"007", b"1e+10.0", b"1e999", b"9" * 20, b"1" * 5000],
        *[b"true", b"fals", b"NULL", b"x", b"\\u", b"\\u00", b"\\u00c3", b"\\u00a9", b"\\ud83d", b"\\ude00"],
        *["é".encode(), b"\xc3", b"#", b"//", b"/*", b"*/", b"<?", b"include", b'<?include "i"?>', b"?>"],
        *[b"[" * 101, b'{"a":' * 101, b"[" * 3000],
    ]
)
texts = st.lists(pieces, max_size=12).map(b"".join) | st.binary(max_size=30)


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    """Nearly a configuration: a map that is written as it should be, and then cut, stuffed or swapped."""
    data = draw(st.sampled_from([encode, encode_pretty]))(draw(maps))
    begin = draw(st.integers(0, len(data)))
    end = draw(st.integers(begin, min(len(data), begin + 3)))
    return data[:begin] + draw(pieces | st.just(b"")) + data[end:]


def attempt(expected: type[Wrong], read_it: Callable[[], Read]) -> tuple[Read | None, Wrong | None]:
    """What is read, or the error of the expected type. Any other error fails the test."""
    try:
        return read_it(), None
    except expected as error:
        return None, error


def same(one: JSON, other: JSON) -> bool:
    """Equal, and of equal types all the way down; a zero's sign counts."""
    return repr(one) == repr(other)


def in_order(value: JSON) -> JSON:
    """The value with its maps in the order in which they are written."""
    if isinstance(value, dict):
        return {key: in_order(value[key]) for key in sorted(value)}
    return [in_order(item) for item in value] if isinstance(value, list) else value


def paths(value: JSON, path: tuple[str | int, ...] = ()) -> list[tuple[str | int, ...]]:
    """The ways to all the values in a value."""
    inner: list[tuple[str | int, JSON]] = []
    if isinstance(value, dict):
        inner = list(value.items())
    elif isinstance(value, list):
        inner = list(enumerate(value))
    return [path, *(way for step, item in inner for way in paths(item, (*path, step)))]


@EXAMPLES
@given(values)
@example({"Ã©": "Ã©", "\x7f": "\x7f", "\\u00c3": "\\u00c3\\u00a9"})
@example([-0.0, 1e16, 5e-324, INTEGER_MIN, INTEGER_MAX])
def test_a_value_comes_back_from_both_forms(value: JSON) -> None:
    expected = in_order(value)
    for written in (encode(value), encode_pretty(value)):
        assert same(decode(written), expected)
        assert same(read(written).value, expected)
        assert same(json.loads(written), expected)


@EXAMPLES
@given(values)
def test_what_is_written_is_written_again_the_same(value: JSON) -> None:
    assert encode(decode(encode(value))) == encode(value)
    assert encode_pretty(decode(encode_pretty(value))) == encode_pretty(value)


@EXAMPLES
@given(maps)
def test_a_written_map_is_a_configuration(value: dict[str, JSON]) -> None:
    for written in (encode(value), encode_pretty(value)):
        configuration = parse(written.decode(), name="f")
        assert same(configuration.value, in_order(value))
        assert configuration.warnings == []


@EXAMPLES
@given(maps)
def test_every_value_stands_somewhere_else(value: dict[str, JSON]) -> None:
    written = encode_pretty(value)
    reading, configuration = read(written), parse(written.decode(), name="f")
    ways = paths(value)
    for places in ([reading.locate(way) for way in ways], [configuration.position(way) for way in ways]):
        assert "" not in places
    assert len({configuration.position(way) for way in ways}) == len(ways)


@EXAMPLES
@given(values)
def test_text_escaped_byte_by_byte_is_read_as_that_text(value: JSON) -> None:
    bytewise = b"".join(b"\\u%04x" % byte if byte > 0x7F else bytes([byte]) for byte in encode(value))
    assert same(decode(bytewise), in_order(value))
    assert same(read(bytewise).value, in_order(value))


@EXAMPLES
@given(texts | damaged())
def test_any_bytes_are_a_value_or_a_syntax_error(data: bytes) -> None:
    for first_line, trailing in ((0, False), (1, False), (0, True)):
        reading, error = attempt(
            KeaSyntaxError,
            lambda: read(data, first_line=first_line, trailing=trailing),  # noqa: B023
        )
        if reading is None:
            assert error is not None
            assert error.text
        else:
            assert all(reading.locate(way) for way in paths(reading.value))
            assert same(read(encode(reading.value)).value, in_order(reading.value))


@EXAMPLES
@given(texts | damaged())
def test_any_bytes_are_an_answer_or_a_protocol_error(data: bytes) -> None:
    value, error = attempt(RemoteProtocolError, lambda: decode(data))
    assert error is None or error.data == data
    assert same(decode(encode(value)), in_order(value))


@EXAMPLES
@given(texts | damaged(), texts)
def test_any_text_is_a_configuration_or_an_error_with_its_place(data: bytes, included: bytes) -> None:
    def include(name: str, including: str) -> tuple[str, str]:
        return name, included.decode(errors="surrogateescape")

    configuration, error = attempt(
        ConfigurationError,
        lambda: parse(data.decode(errors="surrogateescape"), name="f", include=include),
    )
    if configuration is None:
        assert error is not None
        assert error.text.startswith(("f:", "i:"))
        assert error.position[:2] == error.text[:2]
    else:
        assert all(configuration.position(way) for way in paths(configuration.value))


@EXAMPLES
@given(st.text(max_size=20))
def test_any_string_is_a_configuration_or_an_error(data: str) -> None:
    for written in (data, f'{{"a": "{data}"}}'):
        configuration, error = attempt(ConfigurationError, lambda: parse(written, name="f"))  # noqa: B023
        assert configuration is not None or (error is not None and error.position.startswith("f:"))


@EXAMPLES
@given(values, st.sampled_from([math.nan, math.inf, -math.inf]))
def test_a_number_that_is_not_finite_is_never_written(value: JSON, number: float) -> None:
    for form in (encode, encode_pretty):
        with pytest.raises(ValueError, match=f"{number} cannot be written as JSON"):
            form([value, {"a": number}])
