"""Requests to Pacemaker's attribute manager, ``attrd`` (``facts/pacemaker.md`` §3).

All are answered on the response channel: updates by an acknowledgement that they have come, queries by what
was asked for.
"""

from __future__ import annotations

import errno
from typing import ClassVar, Literal

from msgspec import Struct

from bridle.core.errors import ArgumentError, RemoteProtocolError
from bridle.wire.pacemaker_requests import (
    Answer,
    Caller,
    Done,
    NodePurge,
    Request,
    check_status,
    failure,
    flag,
)
from bridle.wire.pacemaker_xml import Xml, element

__all__ = [
    "AttributeClearFailures",
    "AttributeDelete",
    "AttributeNodePurge",
    "AttributeQuery",
    "AttributeRefresh",
    "AttributeUpdate",
    "AttributeValue",
    "AttributeValues",
]

_TASKS = {"value": "update", "both": "update-both", "delay": "update-delay"}


def _operation(caller: Caller, attributes: dict[str, object | None]) -> Xml:
    return element("create_attrd_op", {"t": "attrd", "src": caller.name, **attributes})


class AttributeValue(Struct, frozen=True):
    """The value of an attribute on one node; empty where it has none."""

    node: str
    value: str


class AttributeValues(Struct, frozen=True):
    """An attribute and its values."""

    name: str
    values: tuple[AttributeValue, ...]


class AttributeQuery(Request[AttributeValues], frozen=True):
    """Tell the value of an attribute on a node, or on all of them."""

    command: ClassVar[str] = "attribute-query"
    access: ClassVar[Literal["read", "write"]] = "read"
    answer: ClassVar[Answer] = Answer.RESPONSE

    name: str
    node: str | None = None

    def document(self, caller: Caller) -> Xml:
        """The query."""
        return _operation(caller, {"attr_name": self.name, "task": "query", "attr_host": self.node})

    def result(self, found: Xml) -> AttributeValues:
        """Read the values; an answer without a name is about no attribute that is known."""
        if found.tag in ("ack", "nack"):
            check_status(found)
        if found.get("subt") != "query":
            raise RemoteProtocolError(f"the answer to a query was expected, <{found.tag}> came")
        name = found.get("attr_name")
        if name is None:
            raise failure(errno.ENXIO, f"no attribute '{self.name}' is known")
        return AttributeValues(
            name,
            tuple(
                AttributeValue(node.get("attr_host", ""), node.get("attr_value", ""))
                for node in found.iter("node")
            ),
        )


class AttributeUpdate(Request[Done], frozen=True):
    """Set an attribute of a node, or all that a regular expression matches.

    ``name`` or ``pattern`` is needed. ``value`` is the value, or ``value++`` and ``value+=5`` for numbers.
    ``node`` is this one where it is left out. ``dampening`` delays the write, as in ``5s``; ``mode`` says
    whether the value, the delay or both are set. ``set`` names the set that it is written to. ``private``
    attributes are not written to the CIB; ``remote`` says that the node is a remote one.
    """

    command: ClassVar[str] = "attribute-update"
    answer: ClassVar[Answer] = Answer.RESPONSE

    name: str | None = None
    value: str | int | float | None = None
    node: str | None = None
    pattern: str | None = None
    node_id: int | None = None
    dampening: str | None = None
    set_: str | None = None
    private: bool = False
    remote: bool = False
    mode: Literal["value", "both", "delay"] = "value"

    def document(self, caller: Caller) -> Xml:
        """The update. Without a value, Pacemaker would take it for a deletion."""
        if (self.name is None) == (self.pattern is None):
            raise ArgumentError("either 'name' or 'pattern' is needed", argument="name")
        if self.value is None and self.mode != "delay":
            raise ArgumentError("missing argument 'value'", argument="value")
        if self.mode != "value" and self.dampening is None:
            raise ArgumentError("missing argument 'dampening'", argument="dampening")
        return _operation(
            caller,
            {
                "attr_name": self.name,
                "attr_regex": self.pattern,
                "task": _TASKS[self.mode],
                "attr_value": self.value,
                "attr_dampening": self.dampening,
                "attr_host": self.node,
                "attr_host_id": self.node_id,
                "attr_set": self.set_,
                "attr_is_remote": flag(self.remote),
                "attr_is_private": flag(self.private),
            },
        )

    def result(self, found: Xml) -> Done:
        """An acknowledgement."""
        return check_status(found)


class AttributeDelete(Request[Done], frozen=True):
    """Take an attribute's value away, on a node (this one where it is left out)."""

    command: ClassVar[str] = "attribute-delete"
    answer: ClassVar[Answer] = Answer.RESPONSE

    name: str
    node: str | None = None

    def document(self, caller: Caller) -> Xml:
        """An update without a value."""
        return _operation(
            caller,
            {
                "attr_name": self.name,
                "task": "update",
                "attr_host": self.node,
                "attr_is_remote": flag(False),
                "attr_is_private": flag(False),
            },
        )

    def result(self, found: Xml) -> Done:
        """An acknowledgement."""
        return check_status(found)


class AttributeRefresh(Request[Done], frozen=True):
    """Have all attributes written to the CIB again."""

    command: ClassVar[str] = "attribute-refresh"
    answer: ClassVar[Answer] = Answer.RESPONSE

    def document(self, caller: Caller) -> Xml:
        """The request."""
        return _operation(caller, {"task": "refresh"})

    def result(self, found: Xml) -> Done:
        """An acknowledgement."""
        return check_status(found)


class AttributeClearFailures(Request[Done], frozen=True):
    """Forget the failures of a resource, or of all; of one operation and interval, on one node."""

    command: ClassVar[str] = "attribute-clear-failures"
    answer: ClassVar[Answer] = Answer.RESPONSE

    resource: str | None = None
    operation: str | None = None
    interval: str | None = None
    node: str | None = None

    def document(self, caller: Caller) -> Xml:
        """The request."""
        return _operation(
            caller,
            {
                "task": "clear-failure",
                "attr_host": self.node,
                "attr_resource": self.resource,
                "attr_clear_operation": self.operation,
                "attr_clear_interval": self.interval,
                "attr_is_remote": flag(False),
            },
        )

    def result(self, found: Xml) -> Done:
        """An acknowledgement."""
        return check_status(found)


class AttributeNodePurge(NodePurge, frozen=True):
    __doc__ = NodePurge.__doc__

    def document(self, caller: Caller) -> Xml:
        """The attribute manager's own form. Pacemaker 3 wants the word to forget it for good as well."""
        self.check()
        return _operation(
            caller,
            {
                "task": "peer-remove",
                "attr_host": self.node,
                "attr_host_id": self.node_id or None,
                "reap": "true",
            },
        )
