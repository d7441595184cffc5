"""The configuration of the cluster daemon: which cluster is imagined, and how its agents behave."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Literal, TypeAlias

import msgspec
from msgspec import Meta

from bridle.core.errors import ConfigurationError

__all__ = [
    "ActionSettings",
    "AgentSettings",
    "ClusterSettings",
    "DeviceSettings",
    "ImaginedSettings",
    "NodeSettings",
    "ResourceSettings",
]

Name: TypeAlias = Annotated[str, Meta(pattern=r"^[A-Za-z_][A-Za-z0-9_.:-]*\Z", max_length=255)]
"""What can be an id in XML."""
NodeName: TypeAlias = Annotated[str, Meta(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.:-]*\Z", max_length=255)]
Share: TypeAlias = Annotated[float, Meta(ge=0, le=1)]
"""A probability."""
Milliseconds: TypeAlias = Annotated[int, Meta(ge=0, le=86_400_000)]
NODES_LIMIT = 64
"""Nodes of one cluster: what corosync can do, too, is less."""


class _Section(msgspec.Struct, frozen=True, kw_only=True, rename="kebab", forbid_unknown_fields=True):
    """A part of the configuration; keys are written with hyphens."""


class NodeSettings(_Section, frozen=True):
    """A node besides our own. ``joins-after`` and ``leaves-after`` are seconds after the start."""

    name: NodeName
    id: Annotated[int, Meta(ge=1, le=0xFFFFFFFF)] | None = None
    state: Literal["member", "lost"] = "member"
    joins_after: Annotated[float, Meta(ge=0)] | None = None
    leaves_after: Annotated[float, Meta(ge=0)] | None = None


class ResourceSettings(_Section, frozen=True):
    """A resource that the CIB begins with. ``monitor-interval`` is in seconds; 0: it is not monitored."""

    id: Name
    class_: str = msgspec.field(default="ocf", name="class")
    provider: str | None = "pacemaker"
    type: str = "Dummy"
    monitor_interval: Annotated[int, Meta(ge=0, le=86_400)] = 10
    parameters: dict[str, str] = {}
    meta: dict[str, str] = {}


class ActionSettings(_Section, frozen=True):
    """How an action goes: it takes from ``delay`` to ``delay-up-to`` milliseconds, and fails in a share of
    cases, with this exit code and reason. ``failures`` more are certain: the next so many."""

    delay: Milliseconds = 10
    delay_up_to: Milliseconds | None = None
    fails: Share = 0.0
    failures: Annotated[int, Meta(ge=0)] = 0
    code: Annotated[int, Meta(ge=1, le=255)] = 1
    reason: str = "Imagined failure"


class AgentSettings(_Section, frozen=True):
    """How agents behave. The first entry that a resource and its action match holds; what is left out
    matches all."""

    resource: str | None = None
    class_: str | None = msgspec.field(default=None, name="class")
    provider: str | None = None
    type: str | None = None
    node: str | None = None
    action: str | None = None
    behaviour: ActionSettings = ActionSettings()


class DeviceSettings(_Section, frozen=True):
    """A fencing device that is there from the start. ``targets`` are the nodes it can fence; without them it
    can fence all."""

    id: Name
    agent: str = "fence_dummy"
    targets: list[NodeName] = []
    parameters: dict[str, str] = {}


class ImaginedSettings(_Section, frozen=True):
    """What there is, and how it behaves: the same seed and the same requests, the same cluster."""

    seed: int = 0
    nodes: Annotated[list[NodeSettings], Meta(max_length=NODES_LIMIT - 1)] = []
    properties: dict[Name, str] = msgspec.field(default_factory=lambda: {"stonith-enabled": "false"})
    resources: list[ResourceSettings] = []
    agents: list[AgentSettings] = []
    fencing_devices: list[DeviceSettings] = []
    fencing: ActionSettings = ActionSettings(delay=50)


class ClusterSettings(_Section, frozen=True):
    """The whole. ``node-name`` is by default the host's; ``cib-file`` is where the CIB's configuration is
    kept over a restart."""

    cluster_name: Annotated[str, Meta(min_length=1, max_length=255)] = "bridle"
    node_name: NodeName | None = None
    node_id: Annotated[int, Meta(ge=1, le=0xFFFFFFFF)] = 1
    cib_file: str | None = None
    imagined: ImaginedSettings = ImaginedSettings()

    def check(self, name: str) -> None:
        """See that nodes, resources and devices are told apart. ``name`` is our node's.

        Raises:
            ConfigurationError: they are not.
        """
        path: list[str | int] = ["imagined", "nodes"]
        _check_once(path, "name", iter([name]), [one.name for one in self.imagined.nodes])
        ids = [self.node_id]
        for index, node in enumerate(self.imagined.nodes):
            if node.id in ids:
                raise ConfigurationError(f"two nodes have the id {node.id}", path=[*path, index, "id"])
            if node.id is not None:
                ids.append(node.id)
        _check_once(["imagined", "resources"], "id", iter(()), [one.id for one in self.imagined.resources])
        _check_once(
            ["imagined", "fencing-devices"], "id", iter(()), [one.id for one in self.imagined.fencing_devices]
        )
        for index, agent in enumerate(self.imagined.agents):
            where: list[str | int] = ["imagined", "agents", index, "behaviour"]
            _check_action(agent.behaviour, where)
        _check_action(self.imagined.fencing, ["imagined", "fencing"])


def _check_once(path: list[str | int], key: str, taken: Iterator[str], names: list[str]) -> None:
    known = set(taken)
    for index, name in enumerate(names):
        if name in known:
            raise ConfigurationError(f"'{name}' is there twice", path=[*path, index, key])
        known.add(name)


def _check_action(action: ActionSettings, path: list[str | int]) -> None:
    if action.delay_up_to is not None and action.delay_up_to < action.delay:
        raise ConfigurationError("delay-up-to is less than delay", path=[*path, "delay-up-to"])
