"""What has been done to a resource on a node, as it stands in the status: ``lrm_resource`` and
``lrm_rsc_op``, and how that is read again."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from types import MappingProxyType

from msgspec import Struct

from bridle.bundled.cluster.tree import Node, dump, make
from bridle.wire.pacemaker_messages import FEATURE_SET

__all__ = ["NOT_RUNNING", "Operation", "Past", "operation_node", "pasts", "resource_node"]

NOT_RUNNING = 7
"""What a monitor exits with where there is nothing to monitor (OCF)."""

PENDING = 193
_PENDING_STATUS = -1
_NONE: Mapping[str, str] = MappingProxyType({})


class Operation(Struct, frozen=True, kw_only=True):
    """An operation. Times are in milliseconds, ``changed`` is in seconds since 1970; ``key`` says which
    transition asked for it and which exit code it hoped for."""

    action: str
    interval: int = 0
    call: int = -1
    code: int = PENDING
    status: int = _PENDING_STATUS
    reason: str = ""
    key: str = ""
    changed: int = 0
    taken: int = 0
    timeout: int | None = None

    @property
    def target(self) -> int:
        """The exit code that was hoped for."""
        fields = self.key.split(":")
        return int(fields[2]) if len(fields) > 2 and fields[2].isdecimal() and len(fields[2]) < 9 else 0

    @property
    def pending(self) -> bool:
        """It is not done yet."""
        return self.status == _PENDING_STATUS

    @property
    def failed(self) -> bool:
        """It ended otherwise than hoped for. A probe hopes for nothing: running and not running are both
        what it may find."""
        if self.pending:
            return False
        if self.action == "monitor" and not self.interval:
            return self.code not in (0, NOT_RUNNING) or self.status not in (0, 1)
        return self.code != self.target or self.status not in (0, 1)


def operation_node(
    resource: str,
    node: str,
    operation: Operation,
    *,
    identity: str = "",
    origin: str = "do_update_resource",
    parameters: Mapping[str, str] = _NONE,
) -> Node:
    """An operation in the form that it has in the status."""
    if not identity:
        recurring = operation.interval and operation.action != "asyncmon"
        identity = (
            f"{resource}_{operation.action}_{operation.interval}" if recurring else f"{resource}_last_0"
        )
    digest = _digest(operation, parameters)
    plain = not operation.interval and not identity.endswith("_last_failure_0")
    secure = plain or (operation.interval and not identity.endswith("_last_failure_0"))
    return make(
        "lrm_rsc_op",
        {
            "id": identity,
            "operation_key": f"{resource}_{operation.action}_{operation.interval}",
            "operation": operation.action,
            "crm-debug-origin": origin,
            "crm_feature_set": FEATURE_SET,
            "transition-key": operation.key,
            "transition-magic": f"{operation.status}:{operation.code};{operation.key}",
            "exit-reason": operation.reason,
            "on_node": node,
            "call-id": operation.call,
            "rc-code": operation.code,
            "op-status": operation.status,
            "interval": operation.interval,
            "last-rc-change": operation.changed,
            "exec-time": operation.taken,
            "queue-time": 0,
            "op-digest": digest,
            "op-force-restart": "  state  " if plain else None,
            "op-restart-digest": digest if plain else None,
            "op-secure-params": "  passwd  " if secure else None,
            "op-secure-digest": digest if secure else None,
        },
    )


def _digest(operation: Operation, parameters: Mapping[str, str]) -> str:
    """The digest of the parameters, and of the timeout of what recurs: by it a scheduler sees that they have
    changed."""
    timeout = {"CRM_meta_timeout": operation.timeout if operation.interval else None}
    node = make("parameters", {**timeout, **dict(sorted(parameters.items()))})
    return hashlib.md5(f" {dump(node)}\n".encode(), usedforsecurity=False).hexdigest()


def resource_node(identity: str, class_: str, provider: str | None, type_: str, *operations: Node) -> Node:
    """A resource's history."""
    return make(
        "lrm_resource", {"id": identity, "type": type_, "class": class_, "provider": provider}, *operations
    )


class Past(Struct, frozen=True):
    """What a resource's history on a node amounts to. ``state`` is ``running``, ``stopped``, or ``pending``
    where something is under way; ``failed`` is what went wrong and has not been mended."""

    resource: str
    node: str
    state: str
    failed: Operation | None
    monitors: frozenset[tuple[str, int]]
    class_: str
    provider: str | None
    type: str


def pasts(root: Node) -> Iterator[Past]:
    """All histories of the status."""
    for state in root.iterfind("status/node_state"):
        for resource in state.iterfind("lrm/lrm_resources/lrm_resource"):
            yield _past(state.get("uname", ""), resource)


def _past(node: str, resource: Node) -> Past:
    operations = sorted(map(_read, resource.iterchildren("lrm_rsc_op")), key=_order)
    state, failed = "stopped", None
    monitors: set[tuple[str, int]] = set()
    for one in operations:
        if one.pending:
            state = "pending" if not one.interval else state
            continue
        if one.action in ("start", "stop"):
            monitors.clear()
        state, failed = _after(one, state, failed)
        if one.interval and not one.failed and one.status == 0:
            monitors.add((one.action, one.interval))
    return Past(
        resource.get("id", ""),
        node,
        state,
        failed,
        frozenset(monitors),
        resource.get("class", ""),
        resource.get("provider"),
        resource.get("type", ""),
    )


def _after(one: Operation, state: str, failed: Operation | None) -> tuple[str, Operation | None]:
    if one.status == 1:  # cancelled
        return state, failed
    if one.action == "stop":
        return ("stopped", None) if not one.failed else ("running", one)
    if one.action == "start":
        return "running", one if one.failed else None
    if one.code == NOT_RUNNING and not one.interval:
        return "stopped", failed
    if one.failed:
        return "running", one
    return "running", failed


def _order(one: Operation) -> tuple[bool, int]:
    return one.pending, one.call


def _read(node: Node) -> Operation:
    return Operation(
        action=node.get("operation", ""),
        interval=_number(node, "interval", 0),
        call=_number(node, "call-id", -1),
        code=_number(node, "rc-code", PENDING),
        status=_number(node, "op-status", _PENDING_STATUS),
        reason=node.get("exit-reason", ""),
        key=node.get("transition-key", ""),
        changed=_number(node, "last-rc-change", 0),
        taken=_number(node, "exec-time", 0),
    )


def _number(node: Node, name: str, default: int) -> int:
    text = node.get(name, "")
    digits = text[1:] if text.startswith("-") else text
    return int(text) if digits.isascii() and digits.isdecimal() and len(digits) < 16 else default
