"""XPath, as libxml2 has it, within bounds: the tools of Pacemaker send short paths with predicates.

An expression can be made to look at everything once more for everything that it finds. libxml2 has no time
limit, so what could take that long is refused before it begins.
"""

from __future__ import annotations

import errno
import re

from lxml import etree

from bridle.bundled.cluster.tree import Node, tag_of
from bridle.core.errors import CommandError
from bridle.core.messages import Response
from bridle.core.results import Result

__all__ = ["DESCENTS_LIMIT", "EXPRESSION_LIMIT", "path_of", "select"]

EXPRESSION_LIMIT = 8192
"""Characters of an expression: the longest that a tool of Pacemaker 2.1.5 sends has about 900."""

DESCENTS_LIMIT = 32
"""Steps into everything below (``//`` and its like) in one expression; tools use up to nine, three in each
part of a union."""

# Inside a predicate such a step is done once for each element that the predicate is asked of; two of them in
# a row, or one inside another, would be cubic.
_PREDICATE_DESCENTS_LIMIT = 1

_TOKEN = re.compile(
    r"""("[^"]*"|'[^']*')"""
    r"""|(//|\b(?:descendant|descendant-or-self|ancestor|ancestor-or-self|following|following-sibling"""
    r"""|preceding|preceding-sibling)\s*::)"""
    r"""|([\[\]])"""
)


def select(root: Node, expression: str) -> list[Node]:
    """The elements that an expression finds, in the order of the document; the owner of an attribute.

    Raises:
        CommandError: it is no expression, finds no elements but a value, or could take too long.
    """
    _check(expression)
    try:
        found = etree.XPath(expression, smart_strings=True)(root.getroottree())
    except (etree.XPathError, ValueError) as error:
        raise _useless(f"no XPath: {error}") from error
    if not isinstance(found, list):
        raise _useless(f"the XPath '{expression[:80]}' finds no elements")
    nodes: dict[Node, None] = {}
    for one in found:
        node = one if isinstance(one, etree._Element) else getattr(one, "getparent", lambda: None)()
        if isinstance(node, etree._Element):
            nodes[node] = None
    return list(nodes)


def _check(expression: str) -> None:
    if len(expression) > EXPRESSION_LIMIT:
        raise _useless(f"the XPath is too long: more than {EXPRESSION_LIMIT} characters")
    depth = outside = inside = 0
    for _, descent, bracket in _TOKEN.findall(expression):
        if bracket:
            depth += 1 if bracket == "[" else -1
            if depth == 0:
                inside = 0
        elif descent and depth:
            inside += 1
        elif descent:
            outside += 1
        if inside > _PREDICATE_DESCENTS_LIMIT or outside > DESCENTS_LIMIT:
            raise _useless("the XPath looks into everything too often")


def _useless(text: str) -> CommandError:
    """Pacemaker says of a bad expression what it says of one that finds nothing; on other wires it is an
    error."""
    return CommandError(text, response=Response(Result.ERROR, text, error=OSError(errno.ENXIO, text)))


def path_of(node: Node) -> str:
    """The way to an element, as Pacemaker writes it: ``/cib/status/node_state[@id='1']``."""
    steps: list[str] = []
    at: Node | None = node
    while at is not None:
        identity = at.get("id")
        steps.append(f"{tag_of(at)}[@id='{identity}']" if identity is not None else tag_of(at))
        at = at.getparent()
    return "/" + "/".join(reversed(steps))
