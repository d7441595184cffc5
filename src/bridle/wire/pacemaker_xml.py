"""XML as Pacemaker writes it, and no more of XML than Pacemaker uses.

Documents are read by the standard library's expat. Document types and what they could declare are refused, so
no entity can be made that unfolds, or that reads a file; depth and size are bounded.

Attributes keep their order. In an attribute's value Pacemaker 2 writes a line's end as a backslash and an n,
which nobody can turn back; we write what XML has for that.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping
from typing import TypeAlias
from xml.etree.ElementTree import Element
from xml.parsers import expat

from bridle.core.errors import LocalProtocolError, RemoteProtocolError
from bridle.wire.pacemaker_header import TEXT_LIMIT

__all__ = ["DEPTH_LIMIT", "element", "read_xml", "write_xml"]

DEPTH_LIMIT = 256
"""Elements inside each other: libxml2's own limit. A CIB goes to about 15."""

Xml: TypeAlias = Element

_ATTRIBUTE = {
    ord("&"): "&amp;",
    ord("<"): "&lt;",
    ord(">"): "&gt;",
    ord('"'): "&quot;",
    ord("'"): "&apos;",
    ord("\n"): "&#10;",
    ord("\r"): "&#13;",
    ord("\t"): "&#9;",
}
# The characters that XML 1.0 leaves out, as they stand in UTF-8.
_CONTROL = re.compile(rb"[\x00-\x08\x0b\x0c\x0e-\x1f]|\xef\xbf[\xbe\xbf]")
_NAME = re.compile(r"[^\W\d][\w:.-]*")
# Most values hold none of these, and looking costs less than translating.
_SPECIAL = re.compile("[&<>\"'\n\r\t]")
# Names that were looked at: some hundred are in use, and others come from peers.
_NAMES = 4096
_TEXT = {ord("&"): "&amp;", ord("<"): "&lt;", ord(">"): "&gt;", ord("\r"): "&#13;"}


def element(tag: str, attributes: Mapping[str, object | None] | None = None, /, *children: Xml) -> Xml:
    """An element with these attributes, in their order; those that are None are left out, booleans are
    ``true`` and ``false``."""
    made = Element(tag)
    for name, value in (attributes or {}).items():
        if value is not None:
            made.set(name, ("false", "true")[value] if isinstance(value, bool) else str(value))
    made.extend(children)
    return made


class _Reader:
    """Builds the tree of one document, and stops where it holds what it must not hold."""

    def __init__(self) -> None:
        self.root: Xml | None = None
        self._open: list[Xml] = []
        self._last: Xml | None = None
        parser = expat.ParserCreate("utf-8")
        parser.buffer_text = True
        parser.ordered_attributes = True
        parser.StartElementHandler = self._start
        parser.EndElementHandler = self._end
        parser.CharacterDataHandler = self._text
        parser.StartDoctypeDeclHandler = self._doctype
        parser.EntityDeclHandler = self._doctype
        self.parser = parser

    def _start(self, tag: str, attributes: list[str]) -> None:
        made = Element(tag, dict(zip(attributes[::2], attributes[1::2], strict=True)))
        if self._open:
            if len(self._open) >= DEPTH_LIMIT:
                raise RemoteProtocolError(f"the XML is nested too deeply: more than {DEPTH_LIMIT} elements")
            self._open[-1].append(made)
        else:
            self.root = made
        self._open.append(made)
        self._last = None

    def _end(self, tag: str) -> None:
        self._last = self._open.pop()

    def _text(self, text: str) -> None:
        if self._last is not None:
            self._last.tail = (self._last.tail or "") + text
        else:
            self._open[-1].text = (self._open[-1].text or "") + text

    def _doctype(self, *_: object) -> None:
        raise RemoteProtocolError("the XML has a document type, or entities, which are not taken")


def read_xml(text: bytes | str) -> Xml:
    """Read a document. Comments and processing instructions are left out.

    Raises:
        RemoteProtocolError: it is no XML, has a document type or entities of its own, is nested more than
            :data:`DEPTH_LIMIT` deep, or is larger than a message may be.
    """
    if isinstance(text, str):
        try:
            text = text.encode()
        except UnicodeEncodeError as error:
            raise RemoteProtocolError(f"no XML: {error}") from error
    if len(text) > TEXT_LIMIT:
        raise RemoteProtocolError(f"the XML is too large: more than {TEXT_LIMIT} bytes")
    reader = _Reader()
    try:
        reader.parser.Parse(text, True)
    except expat.ExpatError as error:
        raise RemoteProtocolError(f"no XML: {error}", text[:64]) from error
    except RemoteProtocolError as error:
        raise RemoteProtocolError(error.text, text[:64]) from None
    if reader.root is None:
        raise RemoteProtocolError("no XML: no element", text[:64])
    return reader.root


def write_xml(document: Xml) -> bytes:
    """Write a document in UTF-8, as one line without blanks that nobody put there.

    Raises:
        LocalProtocolError: it is nested too deeply, too large, or holds characters or names that XML
            has no place for.
    """
    pieces: list[str] = []
    _write(document, pieces, 1)
    try:
        text = "".join(pieces).encode()
    except UnicodeEncodeError as error:
        raise LocalProtocolError(f"this is not text: {error}") from error
    if _CONTROL.search(text):
        raise LocalProtocolError("XML has no place for control characters")
    if len(text) >= TEXT_LIMIT:
        raise LocalProtocolError(f"the XML is too large: more than {TEXT_LIMIT} bytes")
    return text


@functools.lru_cache(_NAMES)
def _is_name(text: str) -> bool:
    return _NAME.fullmatch(text) is not None


def _write(part: Xml, pieces: list[str], depth: int) -> None:
    if depth > DEPTH_LIMIT:
        raise LocalProtocolError(f"the XML is nested too deeply: more than {DEPTH_LIMIT} elements")
    if not _is_name(part.tag):
        raise LocalProtocolError(f"no element can be called {part.tag!r}")
    pieces.append(f"<{part.tag}")
    for name, value in part.attrib.items():
        if not _is_name(name):
            raise LocalProtocolError(f"no attribute can be called {name!r}")
        if _SPECIAL.search(value):
            value = value.translate(_ATTRIBUTE)
        pieces.append(f' {name}="{value}"')
    if part.text or len(part):
        pieces.append(">")
        if part.text:
            pieces.append(part.text.translate(_TEXT))
        for child in part:
            _write(child, pieces, depth + 1)
        pieces.append(f"</{part.tag}>")
    else:
        pieces.append("/>")
    if part.tail and depth > 1:
        pieces.append(part.tail.translate(_TEXT))
