"""A transition: actions and what each comes after, in the form that Pacemaker's controller takes."""

from __future__ import annotations

from collections.abc import Mapping

from msgspec import Struct

from bridle.bundled.cluster.resources import DEFAULT_TIMEOUT, Resource
from bridle.bundled.cluster.tree import Node, make
from bridle.wire.pacemaker_messages import FEATURE_SET

__all__ = ["Action", "Graph"]


class Action(Struct, frozen=True):
    """Something to do on a node. ``after`` are the numbers of what comes first; ``target`` is the exit code
    that is hoped for. ``kind`` is ``rsc_op`` or, for fencing, ``crm_event``."""

    number: int
    kind: str
    operation: str
    key: str
    node: str
    node_id: str
    resource: Resource | None = None
    interval: int = 0
    timeout: int = DEFAULT_TIMEOUT
    target: int = 0
    after: tuple[int, ...] = ()


class Graph(Struct, frozen=True):
    """The actions of a transition. ``errors`` are what keeps the configuration from being used as it is."""

    actions: tuple[Action, ...]
    errors: tuple[str, ...] = ()

    def to_xml(self, transition: int, options: Mapping[str, str]) -> Node:
        """The graph as Pacemaker's controller takes it."""
        root = make(
            "transition_graph",
            {
                "cluster-delay": options.get("cluster-delay", "60s"),
                "stonith-timeout": options.get("stonith-timeout", "60s"),
                "failed-stop-offset": "INFINITY",
                "failed-start-offset": "INFINITY",
                "batch-limit": options.get("batch-limit", "0"),
                "transition_id": transition,
            },
        )
        by_number = {action.number: action for action in self.actions}
        for index, action in enumerate(self.actions):
            inputs = make("inputs")
            for number in action.after:
                inputs.append(make("trigger", None, _reference(by_number[number])))
            root.append(make("synapse", {"id": index}, make("action_set", None, _action(action)), inputs))
        return root


def _reference(action: Action) -> Node:
    return make(
        action.kind,
        {
            "id": action.number,
            "operation": action.operation,
            "operation_key": action.key,
            "on_node": action.node,
            "on_node_uuid": action.node_id,
        },
    )


def _action(action: Action) -> Node:
    node = _reference(action)
    resource = action.resource
    if resource is not None:
        node.append(
            make(
                "primitive",
                {
                    "id": resource.id,
                    "class": resource.class_,
                    "provider": resource.provider,
                    "type": resource.type,
                },
            )
        )
    recurring = action.interval or None
    attributes: dict[str, object | None] = {
        "CRM_meta_interval": recurring,
        "CRM_meta_name": action.operation if recurring else None,
        "CRM_meta_on_node": action.node,
        "CRM_meta_on_node_uuid": action.node_id,
        "CRM_meta_op_target_rc": action.target or None,
        "CRM_meta_stonith_action": "reboot" if action.kind == "crm_event" else None,
        "CRM_meta_timeout": action.timeout,
        "crm_feature_set": FEATURE_SET,
    }
    if resource is not None:
        attributes.update(resource.parameters)
    node.append(make("attributes", attributes))
    return node
