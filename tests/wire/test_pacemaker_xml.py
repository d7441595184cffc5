"""XML as Pacemaker writes it; what is refused."""

from __future__ import annotations

import pytest

from bridle.core.errors import LocalProtocolError, RemoteProtocolError
from bridle.wire.pacemaker_xml import DEPTH_LIMIT, element, read_xml, write_xml


@pytest.mark.parametrize(
    "text",
    [
        '<ack function="f" line="52" status="112"/>',
        '<a z="1" b="2"><b/><c d="&lt;&amp;&gt;&quot;&apos;"/></a>',
        "<a>text &amp; <b/>more</a>",
        '<a b="line&#10;line&#9;&#13;"/>',
        '<a b="Zoë 🐴"/>',
    ],
)
def test_what_is_read_is_written_the_same(text: str) -> None:
    assert write_xml(read_xml(text)).decode() == text


def test_an_element_leaves_out_what_is_none() -> None:
    made = element("a", {"b": None, "c": 1, "d": True, "e": False, "f": ""}, element("g"))
    assert write_xml(made) == b'<a c="1" d="true" e="false" f=""><g/></a>'


def test_comments_and_blanks_around_are_left_out() -> None:
    assert (
        write_xml(read_xml("<?xml version='1.0'?>\n<!-- c --><a><!-- d --><?e f?><b/></a>\n"))
        == b"<a><b/></a>"
    )


@pytest.mark.parametrize(
    "text",
    [
        '<!DOCTYPE a [<!ENTITY b "c">]><a>&b;</a>',
        '<!DOCTYPE a SYSTEM "file:///etc/passwd"><a/>',
        "<!DOCTYPE a><a/>",
    ],
)
def test_document_types_are_refused(text: str) -> None:
    with pytest.raises(RemoteProtocolError, match="document type"):
        read_xml(text)


@pytest.mark.parametrize(
    "text", ["", "<a", "<a/><b/>", "a", "<a>&b;</a>", "<a b='1' b='2'/>", "<a>\x00</a>", "\ud800"]
)
def test_what_is_no_xml(text: str) -> None:
    with pytest.raises(RemoteProtocolError, match="no XML"):
        read_xml(text)


def test_depth_is_bounded() -> None:
    deep = "<a>" * DEPTH_LIMIT + "</a>" * DEPTH_LIMIT
    assert write_xml(read_xml(deep)).count(b"<a") == DEPTH_LIMIT
    with pytest.raises(RemoteProtocolError, match="nested too deeply"):
        read_xml(f"<a>{deep}</a>")
    with pytest.raises(LocalProtocolError, match="nested too deeply"):
        write_xml(element("a", None, read_xml(deep)))


def test_what_cannot_be_written() -> None:
    for bad in ("\x01", "\x00", "\ud800", "\uffff"):
        with pytest.raises(LocalProtocolError):
            write_xml(element("a", {"b": bad}))
    for name in ("", "a b", "1a", "a>"):
        with pytest.raises(LocalProtocolError, match="called"):
            write_xml(element("a", {name: "1"}))
        with pytest.raises(LocalProtocolError, match="called"):
            write_xml(element(name))
