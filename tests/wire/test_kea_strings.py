"""The inside of Kea's strings."""

from __future__ import annotations

import pytest

from bridle.wire.kea_strings import mend_escapes, sound_length, unescape


@pytest.mark.parametrize(
    ("written", "mended"),
    [
        (rb'"\u00c3\u00a9"', '"é"'.encode()),
        (rb'"\u00C3\u00A9"', '"é"'.encode()),
        (rb'"x\u00e2\u0082\u00acy\u00f0\u009f\u0098\u0080"', '"x€y😀"'.encode()),
        (rb'{ "\u00c3\u00a9": 1 }', '{ "é": 1 }'.encode()),
        (rb'"\\\u00c3\u00a9"', '"\\\\é"'.encode()),
    ],
)
def test_text_escaped_byte_by_byte_becomes_that_text(written: bytes, mended: bytes) -> None:
    assert mend_escapes(written) == mended


@pytest.mark.parametrize(
    "written",
    [
        rb'"\u00e9"',
        rb'"\u00c3\u00a9\u00e9"',
        rb'"\u00c3 \u00a9"',
        rb'"\\u00c3\u00a9"',
        rb'"\u20ac\u0000\u007f\n"',
        b'"plain"',
        '"Ã©"'.encode(),
    ],
)
def test_every_other_escape_stays(written: bytes) -> None:
    assert mend_escapes(written) == written


@pytest.mark.parametrize(
    ("inside", "length"),
    [
        (b"", 0),
        (b"plain \xff", 7),
        (rb"\"\\\/\b\f\n\r\t\u20aC", 22),
        (rb"\ud83d\ude00", 12),
        (rb"ab\x", 2),
        (rb"ab\u12", 2),
        (rb"ab\u00zz", 2),
        (rb"ab\ud800", 2),
        (rb"ab\ude00", 2),
        (rb"ab\ud83d\u0041", 2),
        (b"ab\\", 2),
        (b"a\\\nb", 1),
    ],
)
def test_a_string_is_sound_up_to_its_first_bad_escape(inside: bytes, length: int) -> None:
    assert sound_length(inside) == length


@pytest.mark.parametrize(
    ("inside", "text"),
    [
        (b"", ""),
        ("é€😀".encode(), "é€😀"),
        (rb"\"\\\/\b\f\n\r\t", '"\\/\b\f\n\r\t'),
        (rb"\u20ac\ud83d\ude00\u0000", "€😀\0"),
        (rb"\u00c3\u00a9", "é"),
        (rb"\u00e9", "é"),
        (b"line\nbreak\0\\t", "line\nbreak\0\t"),
    ],
)
def test_escapes_are_replaced_by_what_they_stand_for(inside: bytes, text: str) -> None:
    assert unescape(inside) == text


@pytest.mark.parametrize("inside", [b"\xff", b"\\n\xff", b"\xed\xa0\x80", b"\xc0\x80"])
def test_what_is_not_utf_8_is_not_text(inside: bytes) -> None:
    with pytest.raises(UnicodeDecodeError):
        unescape(inside)
