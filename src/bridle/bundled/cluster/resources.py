"""The resources that a CIB configures: what they are, what is wanted of them, and where."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from msgspec import Struct

from bridle.bundled.cluster.merge import INFINITY, score
from bridle.bundled.cluster.tree import Node

__all__ = ["Monitor", "Resource", "is_true", "milliseconds", "properties", "resources"]

_TRUE = frozenset({"true", "on", "yes", "y", "1"})
_DURATION = re.compile(r"\s*(\d{1,12})\s*([a-z]*)\s*")
_UNITS = {
    "": 1000,
    "s": 1000,
    "sec": 1000,
    "ms": 1,
    "msec": 1,
    "m": 60_000,
    "min": 60_000,
    "h": 3_600_000,
    "hr": 3_600_000,
}
DEFAULT_TIMEOUT = 20_000
"""Milliseconds that an operation may take where nothing else is said."""


class Monitor(Struct, frozen=True):
    """A recurring operation; milliseconds."""

    name: str
    interval: int
    timeout: int


class Resource(Struct, frozen=True):
    """A primitive. ``group`` is where it stands in its group: the group's id and its number; ``clones`` is
    how many nodes it may run on, where it is cloned."""

    id: str
    class_: str
    provider: str | None
    type: str
    meta: Mapping[str, str]
    parameters: Mapping[str, str]
    monitors: tuple[Monitor, ...]
    timeouts: Mapping[str, int]
    group: tuple[str, int] | None = None
    clones: int = 0
    names: tuple[str, ...] = ()

    @property
    def wanted(self) -> bool:
        """Whether it is to run."""
        return self.meta.get("target-role", "Started").lower() != "stopped"

    @property
    def managed(self) -> bool:
        """Whether the cluster may start and stop it."""
        return is_true(self.meta.get("is-managed", "true")) and not is_true(self.meta.get("maintenance"))

    @property
    def threshold(self) -> int:
        """Failures on a node after which it is no place for the resource any more."""
        return score(self.meta.get("migration-threshold", "INFINITY")) or INFINITY

    @property
    def stickiness(self) -> int:
        """How much it likes to stay."""
        return score(self.meta.get("resource-stickiness"))

    def timeout(self, action: str) -> int:
        """Milliseconds that an action may take."""
        return self.timeouts.get(action, DEFAULT_TIMEOUT)


def is_true(text: str | None) -> bool:
    """Whether a text says yes."""
    return text is not None and text.strip().lower() in _TRUE


def milliseconds(text: str | None, default: int = 0) -> int:
    """A duration as Pacemaker writes it, such as ``10s`` or ``1min``."""
    match = _DURATION.fullmatch((text or "").lower())
    unit = _UNITS.get(match[2]) if match else None
    return int(match[1]) * unit if match and unit else default


def properties(root: Node) -> dict[str, str]:
    """The cluster's options."""
    return _pairs(root.iterfind("configuration/crm_config/cluster_property_set/nvpair"))


def _pairs(nodes: Iterator[Node]) -> dict[str, str]:
    found: dict[str, str] = {}
    for node in nodes:
        name = node.get("name")
        if name is not None:
            found.setdefault(name, node.get("value", ""))
    return found


def resources(root: Node) -> list[Resource]:
    """The primitives of a CIB, those in groups and clones among them, in order.

    Templates, promotable roles and bundles are not looked at: what is in a bundle is not run.
    """
    defaults = _pairs(root.iterfind("configuration/rsc_defaults/meta_attributes/nvpair"))
    operations = _pairs(root.iterfind("configuration/op_defaults/meta_attributes/nvpair"))
    section = root.find("configuration/resources")
    found: list[Resource] = []
    nodes = len(root.findall("configuration/nodes/node"))
    for node in section if section is not None else ():
        _collect(node, defaults, operations, nodes, found)
    return found


def _collect(
    node: Node, inherited: Mapping[str, str], operations: Mapping[str, str], nodes: int, found: list[Resource]
) -> None:
    clones = 0
    outer: tuple[str, ...] = ()
    meta = {**inherited, **_pairs(node.iterfind("meta_attributes/nvpair"))}
    if node.tag in ("clone", "master"):
        clones = score(meta.get("clone-max")) or max(nodes, 1)
        outer = (node.get("id", ""),)
        inner = next((child for child in node if child.tag in ("group", "primitive")), None)
        if inner is None:
            return
        meta = {**meta, **_pairs(inner.iterfind("meta_attributes/nvpair"))}
        node = inner
    if node.tag == "primitive":
        found.append(_primitive(node, meta, operations, None, clones, outer))
    elif node.tag == "group":
        name = node.get("id", "")
        for number, child in enumerate(node.iterchildren("primitive")):
            own = {**meta, **_pairs(child.iterfind("meta_attributes/nvpair"))}
            found.append(_primitive(child, own, operations, (name, number), clones, (*outer, name)))


def _primitive(
    node: Node,
    meta: Mapping[str, str],
    operations: Mapping[str, str],
    group: tuple[str, int] | None,
    clones: int,
    outer: tuple[str, ...],
) -> Resource:
    general = milliseconds(operations.get("timeout"), DEFAULT_TIMEOUT)
    monitors: list[Monitor] = []
    timeouts: dict[str, int] = {}
    for operation in node.iterfind("operations/op"):
        name = operation.get("name", "")
        timeout = milliseconds(operation.get("timeout"), general)
        interval = milliseconds(operation.get("interval"))
        if interval and is_true(operation.get("enabled", "true")):
            # There is one role here, so what belongs to others never runs.
            if operation.get("role", "Started") in ("Started", "Slave", "Unpromoted"):
                monitors.append(Monitor(name, interval, timeout))
        else:
            timeouts[name] = timeout
    identity = node.get("id", "")
    return Resource(
        identity,
        node.get("class", ""),
        node.get("provider"),
        node.get("type", ""),
        meta,
        _pairs(node.iterfind("instance_attributes/nvpair")),
        tuple(monitors),
        timeouts,
        group,
        clones,
        (identity, *outer),
    )
