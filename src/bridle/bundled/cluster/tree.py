"""The XML of a CIB, as libxml2 has it: what Pacemaker's own daemons hold it in.

Comments and processing instructions are left out; blanks between elements do not count.
"""

from __future__ import annotations

import copy
import errno
from collections.abc import Mapping

from lxml import etree
from lxml.etree import _Element as Node

from bridle.bundled.cluster.failure import failure

__all__ = ["Node", "TEXT_LIMIT", "copy_of", "dump", "make", "parse", "shell", "tag_of"]

TEXT_LIMIT = 32 * 1024 * 1024
"""Characters of one document, as in the dialect. The largest CIBs known are some megabytes."""


def parse(text: str) -> Node:
    """Read an element.

    Raises:
        CommandError: it is no XML, has a document type, is too deep (256 elements) or too large; EINVAL.
    """
    if len(text) > TEXT_LIMIT:
        raise failure(errno.EINVAL, f"the XML is too large: more than {TEXT_LIMIT} characters")
    if "<!DOCTYPE" in text:
        raise failure(errno.EINVAL, "the XML has a document type, which is not taken")
    parser = etree.XMLParser(
        resolve_entities=False,
        no_network=True,
        remove_blank_text=True,
        remove_comments=True,
        remove_pis=True,
        load_dtd=False,
    )
    try:
        root = etree.fromstring(text.encode("utf-8"), parser)
    except (etree.XMLSyntaxError, UnicodeEncodeError, ValueError) as error:
        raise failure(errno.EINVAL, f"no XML: {error}") from error
    return root


def dump(node: Node) -> str:
    """Write an element, as one line."""
    return etree.tostring(node, encoding="unicode", with_tail=False)


def make(tag: str, attributes: Mapping[str, object | None] | None = None, /, *children: Node) -> Node:
    """An element with these attributes, in their order; those that are None are left out, booleans are
    ``true`` and ``false``."""
    node = etree.Element(tag)
    for name, value in (attributes or {}).items():
        if value is not None:
            node.set(name, ("false", "true")[value] if isinstance(value, bool) else str(value))
    node.extend(children)
    return node


def copy_of(node: Node) -> Node:
    """The element and all that it holds, on its own."""
    copied = copy.deepcopy(node)
    copied.tail = None
    return copied


def tag_of(node: Node) -> str:
    """What an element is called."""
    return str(node.tag)


def shell(node: Node) -> Node:
    """The element without what it holds."""
    return etree.Element(node.tag, dict(node.attrib))
