"""Requests to Pacemaker's controller, ``crmd`` (``facts/pacemaker.md`` §3)."""

from __future__ import annotations

import errno
from typing import ClassVar, Literal

from msgspec import Struct

from bridle.core.errors import ArgumentError, RemoteProtocolError
from bridle.wire.pacemaker_messages import FEATURE_SET, data_of, integer
from bridle.wire.pacemaker_pacemakerd import Alive, read_ping
from bridle.wire.pacemaker_requests import Caller, ControllerRequest, failure
from bridle.wire.pacemaker_xml import Xml, element

__all__ = [
    "ControllerPing",
    "Invoked",
    "Node",
    "NodeInfo",
    "NodeList",
    "NodeState",
    "Nodes",
    "Reprobe",
    "ResourceFail",
    "ResourceRefresh",
]

# What stands in place of the parts of a transition's key that only a transition of the cluster's own has.
_NO_TRANSITION = "0:0:xxxxxxxx-xrsc-opxx-xcrm-resourcexxxx"
# Milliseconds that the executor may take, as crm_resource says it.
_TIMEOUT = 60_000


class ControllerPing(ControllerRequest[Alive], frozen=True):
    """Ask a controller for its state: that of this node (``crmd``), of ``node``, or of the one that leads the
    cluster (``dc``). Where there is none that leads, nobody answers."""

    command: ClassVar[str] = "ping"
    access: ClassVar[Literal["read", "write"]] = "read"
    task: ClassVar[str] = "ping"

    subsystem: Literal["crmd", "dc"] = "crmd"
    node: str | None = None

    def addressee(self) -> str:
        """The system that was asked for."""
        return self.subsystem

    def host(self) -> str | None:
        """The node that was asked for."""
        return self.node

    def read(self, reply: Xml, carried: Xml) -> Alive:
        """Read the state."""
        return read_ping(carried)


class Node(Struct, frozen=True):
    """A node that the cluster knows; ``state`` is ``member`` or ``lost``."""

    id: int
    name: str
    state: str


class Nodes(Struct, frozen=True):
    """The nodes that the cluster knows."""

    nodes: tuple[Node, ...]


class NodeList(ControllerRequest[Nodes], frozen=True):
    """List the nodes that the cluster knows, and whether they are members."""

    command: ClassVar[str] = "node-list"
    access: ClassVar[Literal["read", "write"]] = "read"
    task: ClassVar[str] = "list-nodes"
    system: ClassVar[str] = "crmd"

    def read(self, reply: Xml, carried: Xml) -> Nodes:
        """Read the list."""
        if carried.tag != "nodes":
            raise RemoteProtocolError(f"<nodes> was expected, <{carried.tag}> came")
        return Nodes(
            tuple(
                Node(integer(node, "id", 0), node.get("uname", ""), node.get("in_ccm", ""))
                for node in carried.iter("node")
            )
        )


class NodeState(Struct, frozen=True, rename="kebab"):
    """A node: its number, its name, ``member`` or ``lost``, whether its cluster has a quorum, and whether it
    is a remote node."""

    id: int
    name: str
    state: str
    have_quorum: bool
    remote: bool


class NodeInfo(ControllerRequest[NodeState], frozen=True):
    """Tell about a node, by its number or its name; without both about this one."""

    command: ClassVar[str] = "node-info"
    access: ClassVar[Literal["read", "write"]] = "read"
    task: ClassVar[str] = "node-info"
    system: ClassVar[str] = "crmd"

    node_id: int | None = None
    node: str | None = None

    def document(self, caller: Caller) -> Xml:
        """Number and name stand on the envelope."""
        root = ControllerRequest.document(self, caller)
        root.attrib.update(element("", {"id": self.node_id, "uname": self.node}).attrib)
        return root

    def read(self, reply: Xml, carried: Xml) -> NodeState:
        """Read the node; one without a name is unknown."""
        name = carried.get("uname")
        if name is None:
            raise failure(errno.ENXIO, "the cluster knows no such node")
        return NodeState(
            integer(carried, "id", 0),
            name,
            carried.get("crmd", ""),
            carried.get("have-quorum") == "true",
            carried.get("remote_node") == "true",
        )


class Invoked(Struct, frozen=True, omit_defaults=True, rename="kebab"):
    """What an executor was made to do: the operation, and its exit code."""

    node: str = ""
    resource: str = ""
    operation: str = ""
    rc_code: int = 0


class _Invocation(ControllerRequest[Invoked], frozen=True):
    """A request that an executor answers, with a request of its own: only its task can be known again."""

    def is_answer(self, asked: Xml, found: Xml) -> bool:
        """The answer has a reference of its own."""
        return found.get("crm_task") == "lrm_invoke"

    def result(self, found: Xml) -> Invoked:
        """Read the last operation, where one is told."""
        carried = data_of(found)
        node = found.get("src", "")
        entry = None if carried is None else carried.find(".//lrm_resource")
        done = None if entry is None else entry.find("lrm_rsc_op")
        if entry is None or done is None:
            return Invoked(node)
        if integer(done, "op-status", 0):
            raise failure(errno.EIO, done.get("exit-reason", ""))
        return Invoked(
            node,
            entry.get("id", ""),
            done.get("operation", ""),
            integer(done, "rc-code", 0),
        )


class Reprobe(_Invocation, frozen=True):
    """Have the state of all resources looked at again, on all nodes or on one.

    ``router_node`` is the node that a remote node is reached through.
    """

    command: ClassVar[str] = "reprobe"
    task: ClassVar[str] = "probe_again"
    system: ClassVar[str] = "crmd"

    node: str | None = None
    router_node: str | None = None

    def host(self) -> str | None:
        """The node, or the one that it is reached through."""
        return self.router_node or self.node

    def data(self, caller: Caller) -> Xml:
        """The node."""
        return element("data_for_probe_again", {"on_node": self.node, "router_node": self.router_node})


class _ResourceInvocation(_Invocation, frozen=True):
    """What both requests about a resource have in common."""

    resource: str
    node: str
    class_: str | None = None
    provider: str | None = None
    type_: str | None = None
    long_id: str | None = None
    router_node: str | None = None

    def host(self) -> str | None:
        """The node, or the one that it is reached through."""
        return self.router_node or self.node

    def is_answer(self, asked: Xml, found: Xml) -> bool:
        """The answer is about the resource, or about none."""
        if found.get("crm_task") != "lrm_invoke":
            return False
        names = {entry.get("id") for entry in found.iter("lrm_resource")}
        return not names or self.resource in names

    def data(self, caller: Caller) -> Xml:
        """The operation on the resource."""
        if not self.resource or not self.node:
            raise ArgumentError("a resource and a node need names", argument="resource")
        return element(
            "rsc_op",
            {
                "transition-key": f"{caller.pid}:{_NO_TRANSITION}",
                "on_node": self.node,
                "router_node": self.router_node,
                "mode": self.mode(),
            },
            element(
                "primitive",
                {
                    "id": self.resource,
                    "long-id": self.long_id,
                    "class": self.class_,
                    "provider": self.provider,
                    "type": self.type_,
                },
            ),
            element("attributes", {"crm_feature_set": FEATURE_SET, "CRM_meta_timeout": _TIMEOUT}),
        )

    def mode(self) -> str | None:
        """How it is done, where that is not as usual."""
        return None


class ResourceFail(_ResourceInvocation, frozen=True):
    """Make a resource count as failed on a node, so that the cluster recovers it.

    ``class``, ``provider`` and ``type`` are those of its agent. Name them: a controller to which the resource
    is unknown registers it with them. Without them it refuses, takes that for a failure of its own, ends and
    is started again (seen with Pacemaker 2.1.5), and until then nobody leads the cluster. ``long_id`` is the
    name of an instance of a clone.
    """

    command: ClassVar[str] = "resource-fail"
    task: ClassVar[str] = "lrm_fail"
    system: ClassVar[str] = "crmd"


class ResourceRefresh(_ResourceInvocation, frozen=True):
    """Make a node forget what it knows of a resource, so that it looks at its state again.

    With ``cib_only`` only the CIB forgets. Otherwise as ``resource-fail``.
    """

    command: ClassVar[str] = "resource-refresh"
    task: ClassVar[str] = "lrm_delete"
    system: ClassVar[str] = "crmd"

    cib_only: bool = False

    def mode(self) -> str | None:
        """Only in the CIB, where that is wanted."""
        return "cib" if self.cib_only else None
