"""Where a command ends: brackets counted, strings stepped over, comments left out (``facts/kea.md`` §1.1)."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from bridle.core.errors import RemoteProtocolError
from bridle.wire.kea_feed import Feed, FeedError

LIMIT = 1 << 30


def ways(data: bytes) -> Iterator[list[bytes]]:
    """The same bytes whole, cut once at each place, and one by one."""
    yield [data]
    yield from ([data[:place], data[place:]] for place in range(1, len(data)))
    yield [data[i : i + 1] for i in range(len(data))]


def framed(pieces: list[bytes]) -> tuple[bytes, int] | int:
    """The text, and how many bytes led to it; how many bytes are kept, where it is not whole."""
    feed, read = Feed(LIMIT), 0
    for piece in pieces:
        end = feed.push(piece)
        if end is not None:
            return feed.take(), read + end
        read += len(piece)
    return feed.size


WHOLE: list[tuple[bytes, bytes]] = [
    (b"{}", b"{}"),
    (b"[]", b"[]"),
    (b" \t\r\n{}", b"{}"),
    (b'{"a":[{"b":[]},{}]}', b'{"a":[{"b":[]},{}]}'),
    # The kinds of brackets are not compared.
    (b"{]", b"{]"),
    (b"[}", b"[}"),
    (b"{[}]", b"{[}]"),
    (b"[{{]]}", b"[{{]]}"),
    # Strings, escapes.
    (b'{"}"}', b'{"}"}'),
    (b'["["]', b'["["]'),
    (b'{"\\""}', b'{"\\""}'),
    (b'{"\\"}"}', b'{"\\"}"}'),
    (b'{"\\\\"}', b'{"\\\\"}'),
    (b'{"\\\\\\"}"}', b'{"\\\\\\"}"}'),
    (b'{"\\u007d}\\/"}', b'{"\\u007d}\\/"}'),
    (b'["",""]', b'["",""]'),
    (b'["\n\x00\xff"]', b'["\n\x00\xff"]'),
    # Outside of a string, a backslash is nothing special.
    (b"{\\}", b"{\\}"),
    # Comments before the text: they vanish, and what is in them counts for nothing.
    (b"#\n{}", b"{}"),
    (b'# { " /* \n{}', b"{}"),
    (b"//\n{}", b"{}"),
    (b"// } ' //\r\n{}", b"{}"),
    (b"/**/{}", b"{}"),
    (b"/* { */{}", b"{}"),
    (b"/***/{}", b"{}"),
    (b"/****/{}", b"{}"),
    (b"/* * / */{}", b"{}"),
    (b"/*/ */{}", b"{}"),
    (b"/* // */{}", b"{}"),
    (b"/* \n # \n */ \n // /* \n # */ \n [ ]", b"[ ]"),
    (b"#a\n//b\n/*c*/#d\n{}", b"{}"),
    # Comments inside: the line break that ends one stays.
    (b"{#}\n}", b"{\n}"),
    (b"{//}\n}", b"{\n}"),
    (b"{/*}*/}", b"{}"),
    (b"[1,/*2,*/3]", b"[1,3]"),
    (b"[1,#2\n3]", b"[1,\n3]"),
    (b'{"a"/**/:/***/1}', b'{"a":1}'),
    (b"[[[//]]]\n/*]*/]#[\n]]", b"[[[\n]\n]]"),
    # In a string there are no comments, and in comments no strings.
    (b'{"#"}', b'{"#"}'),
    (b'{"//"}', b'{"//"}'),
    (b'{"/**/"}', b'{"/**/"}'),
    (b'{"/*"}', b'{"/*"}'),
    (b'{/*"*/}', b"{}"),
    (b'{#"\n}', b"{\n}"),
]

every_text = pytest.mark.parametrize(("data", "text"), WHOLE, ids=[repr(row[0]) for row in WHOLE])


@every_text
def test_a_text_ends_where_its_brackets_are_balanced(data: bytes, text: bytes) -> None:
    for pieces in ways(data):
        assert framed(pieces) == (text, len(data))


@every_text
def test_what_stands_behind_a_text_is_left_alone(data: bytes, text: bytes) -> None:
    for behind in (b" ", b"x", b"}", b"{}", b"# c", b"\x00"):
        for pieces in ways(data + behind):
            assert framed(pieces) == (text, len(data))


@every_text
def test_a_feed_begins_anew_with_the_next_text(data: bytes, text: bytes) -> None:
    feed = Feed(LIMIT)
    stream = data * 3
    position = 0
    for _ in range(3):
        end = feed.push(stream, position)
        assert end == position + len(data)
        assert feed.take() == text
        assert feed.empty
        assert feed.size == 0
        position = end


@pytest.mark.parametrize("kind", [bytes, bytearray])
def test_a_feed_takes_what_a_carrier_reads(kind: type[bytes]) -> None:
    feed = Feed(LIMIT)
    assert feed.push(kind(b'xx{"a'), 2) is None
    assert feed.push(kind(b'":1}yy')) == 4
    assert feed.take() == b'{"a":1}'


@pytest.mark.parametrize(
    ("data", "size", "empty"),
    [
        (b"", 0, True),
        (b" \r\n\t", 0, True),
        (b"# one\n", 0, True),
        (b"/* one */ // two\n", 0, True),
        (b"#", 0, False),
        (b"# one", 0, False),
        (b"/", 0, False),
        (b"//", 0, False),
        (b"/*", 0, False),
        (b"/* one *", 0, False),
        (b"{", 1, False),
        (b" {", 1, False),
        (b'{"', 2, False),
        (b'{"\\', 3, False),
        (b'{"\\"', 4, False),
        (b'{"a"', 4, False),
        (b"{/", 1, False),
        (b"{/*", 1, False),
        (b"{#", 1, False),
        (b"{# }\n", 2, False),
        (b"[[]", 3, False),
        (b'# abc\n /* c */ {"a" /* zz */ ', 6, False),
    ],
)
def test_what_is_kept_of_a_text_that_is_not_whole(data: bytes, size: int, empty: bool) -> None:
    for pieces in ways(data) if data else [[b""]]:
        feed = Feed(LIMIT)
        assert [feed.push(piece) for piece in pieces] == [None] * len(pieces)
        assert feed.size == size
        assert feed.empty is empty


BAD: list[tuple[bytes, str]] = [
    *[
        (bytes([byte]), f"invalid first character {chr(byte)}")
        for byte in b"x\"5-}]:,'\\t\x00\x0b\x0c\xa0\xff"
    ],
    *[(b" " + bytes([byte]), f"invalid character {chr(byte)}") for byte in b'x"5}\xff'],
    (b"\nx", "invalid character x"),
    (b"#\nx", "invalid character x"),
    (b"/**/x", "invalid character x"),
    (b"/**/ }", "invalid character }"),
    (b"/x", "invalid characters /x"),
    (b"/ ", "invalid characters / "),
    (b"/{", "invalid characters /{"),
    (b"/\n", "invalid characters /\n"),
    (b"/#", "invalid characters /#"),
    (b"{/x", "invalid characters /x"),
    (b'{/"', 'invalid characters /"'),
    (b"{/}", "invalid characters /}"),
    (b"[1/ 2]", "invalid characters / "),
]


@pytest.mark.parametrize(("data", "text"), BAD, ids=[repr(row[0]) for row in BAD])
def test_bytes_that_cannot_become_a_text_are_refused_in_keas_words(data: bytes, text: str) -> None:
    for pieces in ways(data):
        with pytest.raises(FeedError) as caught:
            framed(pieces)
        assert caught.value.text == text
        assert isinstance(caught.value, RemoteProtocolError)


def test_only_the_first_byte_of_a_conversation_is_called_first() -> None:
    for first, text in ((True, "invalid first character x"), (False, "invalid character x")):
        feed = Feed(LIMIT, first=first)
        assert feed.push(b"{}") == 2
        feed.take()
        with pytest.raises(FeedError) as caught:
            feed.push(b"x")
        assert caught.value.text == text


@pytest.mark.parametrize("bracket", [b"{", b"["])
@pytest.mark.parametrize("between", [b"", b" ", b'"",', b"/**/", b"#\n"])
def test_a_text_nests_to_a_hundred_levels(bracket: bytes, between: bytes) -> None:
    closing = b"}" * 100
    data = (bracket + between) * 100
    for size in (1, 7, len(data)):
        pieces = [data[i : i + size] for i in range(0, len(data), size)]
        assert isinstance(framed([*pieces, closing]), tuple)
        with pytest.raises(FeedError, match=r"^fromJSON elements nested too deeply$"):
            framed([*pieces, bracket])


def test_levels_that_were_closed_do_not_count() -> None:
    data = b"[" + b"[[]]," * 100_000 + b"]"
    assert framed([data]) == (data, len(data))


@pytest.mark.parametrize("data", [b'{"%b"}', b"[%b]", b'["",%b]', b'{"\\%b"}'])
def test_a_text_has_a_bounded_size(data: bytes) -> None:
    text = data % (b"x" * 100)
    for pieces in ways(b"/* not counted */ \n" + text):
        for limit in (len(text), len(text) + 1):
            feed = Feed(limit)
            assert any(feed.push(piece) is not None for piece in pieces)
        feed = Feed(len(text) - 1)
        with pytest.raises(FeedError, match=f"^the text is too large: more than {len(text) - 1} bytes$"):
            [feed.push(piece) for piece in pieces]


def test_comments_without_end_are_not_kept() -> None:
    for opening in (b"#", b"//", b"/*", b"{#", b"{/*"):
        feed = Feed(10)
        feed.push(opening)
        for _ in range(100):
            assert feed.push(b"x" * 1000) is None
        assert feed.size == opening.count(b"{")


ADVERSARIES = [b'"', b"\\", b'\\"', b'"\\', b'"a"', b'"\\"', b"#", b"#\n", b"/*", b"/**/", b"[]", b" ", b"x"]
# The same steps are taken for each piece, so that fewer patterns tell as much.
IN_SINGLE_BYTES = [b'"', b'\\"', b"/**/"]


@pytest.mark.parametrize(
    ("pattern", "length", "size"),
    [(pattern, 2 * 1024 * 1024, 64 * 1024) for pattern in ADVERSARIES]
    + [(pattern, 1024 * 1024, 1) for pattern in IN_SINGLE_BYTES],
)
def test_any_bytes_take_time_in_proportion_to_their_number(pattern: bytes, length: int, size: int) -> None:
    # In proportion to the square of it, this would take minutes, and run into the test's timeout.
    data = b"{" + pattern * (length // len(pattern))
    feed = Feed(LIMIT)
    for position in range(0, len(data), size):
        assert feed.push(data[position : position + size]) is None
    assert feed.size <= len(data)
