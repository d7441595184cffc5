"""Differences of CIBs: applied to the one, they give the other, whatever is in them."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bridle.bundled.cluster import patchset
from bridle.bundled.cluster.merge import plain, update
from bridle.bundled.cluster.tracking import Tracker
from bridle.bundled.cluster.tree import Node, copy_of, dump, make

pytestmark = pytest.mark.timeout(120)

tags = st.sampled_from(["a", "b", "node"])
attributes = st.dictionaries(
    st.sampled_from(["id", "name", "value"]), st.sampled_from(["1", "2", "3", "x y", '<&"']), max_size=3
)


def nodes(children: st.SearchStrategy[list[Node]]) -> st.SearchStrategy[Node]:
    return st.builds(
        lambda tag, given, inner: make(tag, given, *map(copy_of, inner)), tags, attributes, children
    )


trees = st.recursive(nodes(st.just([])), lambda inner: nodes(st.lists(inner, max_size=4)), max_leaves=8)
cibs = st.builds(
    lambda first, second: make(
        "cib",
        {"admin_epoch": 0, "epoch": 1, "num_updates": 2},
        make("configuration", None, *map(copy_of, first)),
        make("status", None, *map(copy_of, second)),
    ),
    st.lists(trees, max_size=4),
    st.lists(trees, max_size=4),
)


def _has_twins(root: Node) -> bool:
    """Whether elements beside each other have the same name and id, which Pacemaker cannot tell apart."""
    for node in root.iter():
        names = [(child.tag, child.get("id")) for child in node]
        if len(names) != len(set(names)):
            return True
    return False


@settings(max_examples=100, deadline=None)
@given(cibs, cibs)
def test_a_difference_leads_from_one_to_the_other(before: Node, after: Node) -> None:
    found = patchset.difference(before, after)
    worked_on = copy_of(before)
    if found is None:
        assert dump(before) == dump(after)
        return
    if _has_twins(before) or _has_twins(after):
        return
    patchset.apply(found, worked_on)
    assert _canonical(worked_on) == _canonical(after)


@settings(max_examples=100, deadline=None)
@given(cibs, trees)
def test_a_change_in_place_comes_to_a_difference_and_is_taken_back(root: Node, changes: Node) -> None:
    """What a tracker tells leads to what it did, and it can undo all of it."""
    before = copy_of(root)
    tracker = Tracker(root)
    place = root[0]
    first = place[0] if len(place) else None
    alike = first is not None and (first.tag, first.get("id")) == (changes.tag, changes.get("id"))
    target = first if alike else None
    if target is not None:
        update(target, changes, tracker)
    else:
        tracker.append(place, plain(changes))
    if tracker.changed and not (_has_twins(before) or _has_twins(root)):
        worked_on = copy_of(before)
        patchset.apply(tracker.difference(), worked_on)
        assert _canonical(worked_on) == _canonical(root)
    tracker.undo()
    assert _canonical(root) == _canonical(before)


def _canonical(node: Node) -> object:
    return str(node.tag), sorted(node.attrib.items()), [_canonical(child) for child in node]
