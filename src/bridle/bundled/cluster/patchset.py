"""Differences of two CIBs, as Pacemaker writes them: ``<diff format="2">``.

Deletions come first, then what was created and modified in the order of the document, and what was moved
after the elements beside it. Positions are those in the newer CIB, so whoever applies a difference does the
creations and moves last, the lowest position first.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

from bridle.bundled.cluster.failure import DIFF_FAILED, failure
from bridle.bundled.cluster.tree import Node, copy_of, make, shell
from bridle.bundled.cluster.xpath import path_of

__all__ = ["VERSIONS", "apply", "created", "deleted", "difference", "modified", "whole"]

VERSIONS = ("admin_epoch", "epoch", "num_updates")
"""The three numbers of a CIB's version, the most significant first."""

_STEP = re.compile(r"([^/\[\]]+)(?:\[@id='([^']*)'\])?")


def difference(before: Node, after: Node) -> Node | None:
    """The changes that turn one CIB into the other; None where there are none."""
    deletions: list[Node] = []
    changes: list[Node] = []
    _compare(before, after, deletions, changes)
    if not deletions and not changes:
        return None
    return whole({name: before.get(name, "0") for name in VERSIONS}, after, [*deletions, *changes])


def whole(source: Mapping[str, str], after: Node, changes: Sequence[Node]) -> Node:
    """A difference, from the version that a CIB had to the one that it has."""
    version = make(
        "version",
        None,
        make("source", source),
        make("target", {name: after.get(name, "0") for name in VERSIONS}),
    )
    return make("diff", {"format": "2"}, version, *changes)


def deleted(path: str) -> Node:
    """An element is gone."""
    return make("change", {"operation": "delete", "path": path})


def created(node: Node) -> Node:
    """An element is new."""
    parent = node.getparent()
    assert parent is not None
    attributes = {"operation": "create", "path": path_of(parent), "position": parent.index(node)}
    return make("change", attributes, copy_of(node))


def modified(before: Mapping[str, str], node: Node) -> Node | None:
    """An element has other attributes; None where it has not."""
    new = dict(node.attrib)
    if before == new:
        return None
    listed = make("change-list")
    for name, value in new.items():
        if before.get(str(name)) != value:
            listed.append(make("change-attr", {"name": name, "operation": "set", "value": value}))
    for name in before:
        if name not in new:
            listed.append(make("change-attr", {"name": name, "operation": "unset"}))
    result = make("change-result", None, shell(node))
    return make("change", {"operation": "modify", "path": path_of(node)}, listed, result)


def _compare(before: Node, after: Node, deletions: list[Node], changes: list[Node]) -> None:
    change = modified({str(key): str(value) for key, value in before.attrib.items()}, after)
    if change is not None:
        changes.append(change)
    old = dict(_named(before))
    new = dict(_named(after))
    replaced = {name for name in old.keys() & new.keys() if _hopeless(old[name], new[name])}
    for name, child in old.items():
        if name not in new or name in replaced:
            deletions.append(deleted(path_of(child)))
    for name, child in new.items():
        if name in old and name not in replaced:
            _compare(old[name], child, deletions, changes)
        else:
            changes.append(created(child))
    staying = [name for name in old if name in new and name not in replaced]
    changes.extend(_move(new[name]) for name in _moved(staying, list(new)))


def _move(node: Node) -> Node:
    parent = node.getparent()
    assert parent is not None
    return make("change", {"operation": "move", "path": path_of(node), "position": parent.index(node)})


def _named(node: Node) -> Iterator[tuple[tuple[str, str | int], Node]]:
    """The children by what tells them apart: tag and id, or tag and number where there is no id."""
    numbers: Counter[str] = Counter()
    seen: set[tuple[str, str | int]] = set()
    for child in node:
        tag, identity = str(child.tag), child.get("id")
        name: tuple[str, str | int] = (tag, identity) if identity is not None else (tag, numbers[tag])
        if identity is None or name in seen:
            name = (tag, numbers[tag])
            numbers[tag] += 1
        seen.add(name)
        yield name, child


def _hopeless(before: Node, after: Node) -> bool:
    """Whether a path could not say which child is meant: they are told apart by their number alone."""
    numbered = [
        any(isinstance(name[1], int) and name[1] > 0 for name, _ in _named(node)) for node in (before, after)
    ]
    return any(numbered) and not _same(before, after)


def _same(one: Node, other: Node) -> bool:
    return (
        one.tag == other.tag
        and dict(one.attrib) == dict(other.attrib)
        and len(one) == len(other)
        and all(map(_same, one, other))
    )


def _moved(
    staying: list[tuple[str, str | int]], wanted: list[tuple[str, str | int]]
) -> Iterator[tuple[str, str | int]]:
    """Those that have to be moved, when what is new is put in its place in turn."""
    present = list(staying)
    known = set(staying)
    for position, name in enumerate(wanted):
        if name not in known:
            present.insert(position, name)
        elif present[position] != name:
            present.remove(name)
            present.insert(position, name)
            yield name


def apply(patch: Node, root: Node) -> None:
    """Change a CIB by a difference. What fails leaves it in between: work on a copy.

    Raises:
        CommandError: the difference does not fit; Pacemaker's code for that.
    """
    late: list[tuple[int, Node, Node]] = []
    for change in patch.iterchildren("change"):
        operation = change.get("operation")
        if operation is None:
            continue
        found = _find(root, change.get("path", ""))
        if operation == "delete":
            if found is not None:  # one that is gone already is no failure to Pacemaker either
                _remove(found)
            continue
        if found is None:
            raise failure(DIFF_FAILED)
        if operation == "modify":
            _modify(change, found)
        elif operation in ("create", "move"):
            late.append((_position(change), change, found))
        else:
            raise failure(DIFF_FAILED, f"unknown change '{operation[:40]}'")
    for position, change, found in sorted(late, key=lambda entry: entry[0]):
        if change.get("operation") == "create":
            for content in change[:1]:
                found.insert(position, copy_of(content))
        else:
            parent = found.getparent()
            if parent is None:
                raise failure(DIFF_FAILED)
            parent.remove(found)
            parent.insert(position, found)


def _position(change: Node) -> int:
    text = change.get("position", "0")
    if not (text.isascii() and text.isdecimal() and len(text) < 10):
        raise failure(DIFF_FAILED, f"'{text[:20]}' is no position")
    return int(text)


def _modify(change: Node, node: Node) -> None:
    """Give the element the attributes that the change's result has."""
    result = change.find("change-result")
    if result is None or len(result) != 1 or result[0].tag != node.tag:
        raise failure(DIFF_FAILED)
    wanted = dict(result[0].attrib)
    for name in list(node.attrib):
        if name not in wanted:
            del node.attrib[name]
    for name, value in wanted.items():
        node.set(name, value)


def _find(root: Node, path: str) -> Node | None:
    at: Node | None = None
    for step in path.split("/")[1:]:
        match = _STEP.fullmatch(step)
        if match is None:
            raise failure(DIFF_FAILED, f"no path of a change: '{path[:80]}'")
        tag, identity = match.groups()
        candidates = [root] if at is None else list(at)
        at = next(
            (one for one in candidates if one.tag == tag and (identity is None or one.get("id") == identity)),
            None,
        )
        if at is None:
            return None
    return at


def _remove(node: Node) -> None:
    parent = node.getparent()
    if parent is None:
        raise failure(DIFF_FAILED, "a difference cannot delete the whole")
    parent.remove(node)
