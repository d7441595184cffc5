"""The status of the CIB, as the cluster writes it: nodes, their attributes, what was done to resources."""

from __future__ import annotations

import re

from msgspec import Struct

from bridle.bundled.cluster.cib import Author, Cib, Options
from bridle.bundled.cluster.history import Operation, operation_node, resource_node
from bridle.bundled.cluster.resources import Resource
from bridle.bundled.cluster.tree import Node, make

__all__ = ["Member", "Status"]

_UNSAFE = re.compile(r"[^A-Za-z0-9_.-]")


class Member(Struct, frozen=True):
    """A node. ``expected`` says that it has not left in good order."""

    name: str
    id: int
    member: bool = True
    expected: bool = True


class Status:
    """Writes the status of a CIB, as ``author``. While it writes what needs nobody's attention, it is
    ``quiet``."""

    def __init__(self, cib: Cib, author: Author) -> None:
        self._cib = cib
        self._author = author
        self.quiet: bool = False

    def write(self, section: str, update: Node) -> None:
        """Merge something into a section; what is not there is made."""
        self._cib.modify(update, section, Options(can_create=True), self._author)

    def state_of(self, member: Member) -> Node | None:
        """What there is about a node."""
        for state in self._cib.root.iterfind("status/node_state"):
            if state.get("id") == str(member.id):
                return state
        return None

    def tell(self, member: Member) -> None:
        """Let the CIB say that there is a node, and how it is."""
        wanted = make("node", {"id": member.id, "uname": member.name})
        if not any(
            (node.get("id"), node.get("uname")) == (str(member.id), member.name)
            for node in self._cib.root.iterfind("configuration/nodes/node")
        ):
            self.write("nodes", wanted)
        state = make(
            "node_state",
            {
                "id": member.id,
                "uname": member.name,
                "in_ccm": member.member,
                "crmd": "online" if member.member else "offline",
                "crm-debug-origin": "do_state_transition",
                "join": "member" if member.member else "down",
                "expected": "member" if member.expected else "down",
            },
        )
        present = self.state_of(member)
        if present is None or any(
            present.get(str(name)) != value
            for name, value in state.attrib.items()
            if name != "crm-debug-origin"
        ):
            if member.member and (present is None or present.find("lrm") is None):
                state.append(make("lrm", {"id": member.id}, make("lrm_resources")))
            self.write("status", state)

    def drop(self, part: str, member: Member) -> None:
        """Remove a part of what there is about a node."""
        state = self.state_of(member)
        if state is not None:
            self._cib.discard(state.iterchildren(part), self._author)

    def write_attribute(self, member: Member, name: str, value: str | None, set_id: str | None) -> None:
        """Write an attribute of a node; None removes it."""
        block = set_id or f"status-{member.id}"
        pair = make("nvpair", {"id": _UNSAFE.sub(".", f"{block}-{name}"), "name": name, "value": value or ""})
        if value is None:
            pair.set("__delete__", "value")
            if self.state_of(member) is None:
                return
        instance = make("instance_attributes", {"id": _UNSAFE.sub(".", block)}, pair)
        transient = make("transient_attributes", {"id": member.id}, instance)
        self.write("status", make("node_state", {"id": member.id}, transient))

    def record(self, member: Member, resource: Resource, operation: Operation, *, failure: bool) -> None:
        """Write an operation, quietly: whoever did it knows."""
        identity = f"{resource.id}_last_failure_0" if failure else ""
        if not failure and operation.action == "asyncmon":
            identity = f"{resource.id}_last_0"
        made = operation_node(
            resource.id, member.name, operation, identity=identity, parameters=resource.parameters
        )
        history = resource_node(resource.id, resource.class_, resource.provider, resource.type, made)
        state = make(
            "node_state",
            {"id": member.id, "uname": member.name, "crm-debug-origin": "do_update_resource"},
            make("lrm", {"id": member.id}, make("lrm_resources", None, history)),
        )
        before, self.quiet = self.quiet, True
        try:
            self.write("status", state)
        finally:
            self.quiet = before

    def histories(self, member: Member) -> list[Node]:
        """The histories of a node's resources."""
        state = self.state_of(member)
        return list(state.iterfind("lrm/lrm_resources/lrm_resource")) if state is not None else []

    def erase(self, member: Member, resource: str | None) -> None:
        """Remove the history of a resource, or of all, quietly."""
        found = [one for one in self.histories(member) if resource in (None, one.get("id"))]
        before, self.quiet = self.quiet, True
        try:
            self._cib.discard(found, self._author)
        finally:
            self.quiet = before
