"""Any bytes as messages of Pacemaker's IPC, as its XML: an error or a value, nothing else."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from bridle.core.errors import RemoteProtocolError
from bridle.wire.pacemaker_header import HEADER_SIZE, Layout, Message, MessageReader, encode_message
from bridle.wire.pacemaker_xml import element, read_xml, write_xml

LAYOUTS = st.sampled_from([Layout.V2, Layout.V3])
NAMES = st.from_regex(r"[A-Za-z_][A-Za-z0-9_.-]{0,8}", fullmatch=True)
TEXTS = st.text(
    st.characters(
        exclude_categories=("Cs",), exclude_characters=[chr(n) for n in range(32) if n not in (9, 10, 13)]
    ),
    max_size=20,
).map(lambda text: text.replace("\ufffe", "").replace("\uffff", ""))
TREES = st.recursive(
    st.builds(
        lambda tag, attributes: element(tag, attributes), NAMES, st.dictionaries(NAMES, TEXTS, max_size=4)
    ),
    lambda inner: st.builds(
        lambda tag, attributes, children: element(tag, attributes, *children),
        NAMES,
        st.dictionaries(NAMES, TEXTS, max_size=3),
        st.lists(inner, max_size=3),
    ),
    max_leaves=12,
)


@given(st.lists(st.binary(max_size=200), max_size=4))
def test_any_bytes_are_messages_or_errors(pieces: list[bytes]) -> None:
    reader = MessageReader()
    for piece in pieces:
        try:
            message = reader.receive(piece)
        except RemoteProtocolError:
            continue
        assert message is None or isinstance(message.text, bytes)


@given(LAYOUTS, st.integers(0, 2**32 - 1), st.binary(max_size=900), st.data())
def test_a_changed_header_is_a_message_or_an_error(
    layout: Layout, number: int, noise: bytes, data: st.DataObject
) -> None:
    text = noise.replace(b"\0", b"") or b"x"
    pieces = (
        encode_message(Message(number, 0x200, text, layout), limit=150)
        if layout is Layout.V3
        else encode_message(Message(number, 0x200, text, layout))
    )
    reader = MessageReader()
    for piece in pieces:
        changed = bytearray(piece)
        for _ in range(data.draw(st.integers(0, 3))):
            changed[data.draw(st.integers(0, HEADER_SIZE - 1))] = data.draw(st.integers(0, 255))
        try:
            reader.receive(bytes(changed))
        except RemoteProtocolError:
            return


@given(
    LAYOUTS,
    st.integers(0, 2**32 - 1),
    st.integers(0, 2**31 - 1),
    st.binary(min_size=1, max_size=2000),
    st.integers(48, 400),
)
def test_what_is_sent_is_what_comes(layout: Layout, number: int, error: int, text: bytes, limit: int) -> None:
    text = text.replace(b"\0", b"") or b"x"
    message = Message(number, 0x200, text, layout, error)
    limit = limit if layout is Layout.V3 else 131072
    reader = MessageReader()
    found = [reader.receive(piece) for piece in encode_message(message, limit=limit)]
    assert found[-1] == message
    assert reader.empty


@given(st.binary(max_size=300))
def test_any_bytes_are_xml_or_an_error(text: bytes) -> None:
    try:
        document = read_xml(text)
    except RemoteProtocolError:
        return
    assert read_xml(write_xml(document)).tag == document.tag


@given(TREES)
def test_what_is_written_is_read_the_same(document: object) -> None:
    from xml.etree.ElementTree import Element, tostring

    assert isinstance(document, Element)
    assert tostring(read_xml(write_xml(document))) == tostring(document)
