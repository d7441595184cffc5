"""How an update is merged into a CIB: what is found is changed, what is not is made
(Pacemaker's rules, seen in ``vectors/pacemaker.jsonl`` and by asking the real ``pacemaker-based``)."""

from __future__ import annotations

import errno
import re

from lxml import etree

from bridle.bundled.cluster.failure import failure
from bridle.bundled.cluster.tracking import Tracker
from bridle.bundled.cluster.tree import Node, copy_of, make, tag_of

__all__ = [
    "INFINITY",
    "add",
    "counted",
    "plain",
    "remove_matching",
    "replace_matching",
    "score",
    "update",
    "update_matching",
]

INFINITY = 1_000_000
"""What Pacemaker counts to: more than that is as much."""

_DELETED = "__delete__"
_WITH_ID = etree.XPath("*[@id=$identity]")
_COUNTED = re.compile(r"(.+?)(?:\+\+|\+=(-?\d{1,10}))")


def counted(name: str, before: str | None, text: str) -> str:
    """The value that a text asks for: ``NAME++`` and ``NAME+=N`` count on from the value before."""
    match = _COUNTED.fullmatch(text)
    if match is None or match[1] != name:
        return text
    step = 1 if match[2] is None else int(match[2])
    return str(max(-INFINITY, min(INFINITY, score(before) + step)))


def score(text: str | None) -> int:
    """A number as Pacemaker reads it; 0 where it is none."""
    if text is None:
        return 0
    word = text.strip()
    if word in ("INFINITY", "+INFINITY"):
        return INFINITY
    if word == "-INFINITY":
        return -INFINITY
    match = re.match(r"[+-]?\d{1,18}", word)
    return max(-INFINITY, min(INFINITY, int(match[0]))) if match else 0


def update(target: Node, changes: Node, tracker: Tracker) -> None:
    """Merge an element into one like it: attributes are set, elements inside found by tag and id, or made."""
    if _DELETED in changes.attrib:
        if target.getparent() is not None:
            tracker.remove(target)
        return
    for name, value in changes.attrib.items():
        tracker.set(target, str(name), counted(str(name), target.get(name), str(value)))
    for child in changes:
        found = _like(target, child)
        if found is not None:
            update(found, child, tracker)
        elif _DELETED not in child.attrib:
            tracker.append(target, plain(child))


def plain(changes: Node) -> Node:
    """The element that an update makes where there is none like it."""
    made = make(tag_of(changes))
    for name, value in changes.attrib.items():
        made.set(name, counted(str(name), None, str(value)))
    for child in changes:
        if _DELETED not in child.attrib:
            found = _like(made, child)
            if found is None:
                made.append(plain(child))
            else:
                update(found, child, Tracker(made))
    return made


def _like(parent: Node, wanted: Node) -> Node | None:
    identity, reference, tag = wanted.get("id"), wanted.get("id-ref"), wanted.tag
    if identity is not None:
        # In C: a node's history may have thousands of resources.
        found = _WITH_ID(parent, identity=identity)
        return next((one for one in found if isinstance(one, Node) and one.tag == tag), None)
    for child in parent.iterchildren(tag_of(wanted)):
        if reference is None or child.get("id-ref") == reference:
            return child
    return None


def update_matching(place: Node, changes: Node, tracker: Tracker) -> bool:
    """Merge an element into the first of the same tag and id, here or below; False where there is none."""
    for node in place.iter(tag_of(changes)):
        if node.get("id") == changes.get("id"):
            update(node, changes, tracker)
            return True
    return False


def replace_matching(place: Node, new: Node) -> bool:
    """Put an element in the place of the first of the same tag and id; False where there is none."""
    for node in place.iter(tag_of(new)):
        if new.get("id") in (None, node.get("id")):
            parent = node.getparent()
            if parent is not None:
                parent.replace(node, copy_of(new))
            return parent is not None
    return False


def remove_matching(place: Node, pattern: Node) -> bool:
    """Remove the first element below that has the tag and all attributes of a pattern; False where there is
    none."""
    for node in place.iter(tag_of(pattern)):
        if node is not place and all(node.get(name) == value for name, value in pattern.attrib.items()):
            parent = node.getparent()
            assert parent is not None
            parent.remove(node)
            return True
    return False


def add(place: Node, new: Node) -> None:
    """Put an element beside the others.

    Raises:
        CommandError: one of that tag and id is there; EEXIST.
    """
    identity = new.get("id")
    if identity is not None and _like(place, new) is not None:
        raise failure(errno.EEXIST)
    place.append(plain(new))
