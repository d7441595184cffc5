"""CIBs that real schedulers were given: what they made of them, and what ours makes of them."""

from __future__ import annotations

from typing import Any

from bridle.bundled.cluster.scheduler import schedule
from bridle.bundled.cluster.tree import parse
from bridle.wire.pacemaker_xml import Xml, read_xml, write_xml
from tests.replay.test_pacemaker_vectors import rows


def actions(graph: Xml) -> set[tuple[str, str, frozenset[str]]]:
    """The actions of a graph: what, where, and after what."""
    found = set()
    for synapse in graph.iter("synapse"):
        (done,) = synapse.findall("action_set/*")
        after = frozenset(str(one.get("operation_key")) for one in synapse.findall("inputs/trigger/*"))
        found.add((str(done.get("operation_key")), str(done.get("on_node")), after))
    return found


def exchanges() -> list[tuple[Xml, Xml]]:
    """CIBs and the graphs that were made of them."""
    captured: list[dict[str, Any]] = [row for row in rows() if row["daemon"] == "pengine" and row["xml"]]
    asked: dict[str, Xml] = {}
    found = []
    for row in captured:
        root = read_xml(row["xml"])
        reference, carried = str(root.get("reference")), root.find("crm_xml")
        if carried is None or not len(carried):
            continue
        if row["dir"] == "c2s":
            asked[reference] = carried[0]
        elif reference in asked and carried[0].tag == "transition_graph":
            found.append((asked[reference], carried[0]))
    return found


def test_the_same_actions_in_the_same_order() -> None:
    compared = exchanges()
    assert len(compared) >= 5
    assert any(actions(expected) for _, expected in compared)
    for cib, expected in compared:
        root = parse(write_xml(cib).decode())
        made = read_xml(_text(schedule(root).to_xml(0, {})))
        assert actions(made) == actions(expected)


def _text(node: Any) -> str:
    from bridle.bundled.cluster.tree import dump

    return dump(node)
