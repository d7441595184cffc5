"""What a new cluster begins with: resources and fencing devices, from the configuration."""

from __future__ import annotations

import re
from collections.abc import Mapping

from bridle.bundled.cluster.fencer import Device
from bridle.bundled.cluster.settings import DeviceSettings, ResourceSettings
from bridle.bundled.cluster.tree import Node, make

__all__ = ["device", "primitive"]

_UNSAFE = re.compile(r"[^A-Za-z0-9_.-]")


def device(settings: DeviceSettings) -> Device:
    """A fencing device that is there from the start."""
    listed: Mapping[str, str] = {"pcmk_host_list": " ".join(settings.targets)} if settings.targets else {}
    return Device(settings.id, settings.agent, "redhat", {**settings.parameters, **listed})


def primitive(settings: ResourceSettings) -> Node:
    """A resource, as the CIB has it."""
    node = make(
        "primitive",
        {
            "id": settings.id,
            "class": settings.class_,
            "provider": settings.provider if settings.class_ == "ocf" else None,
            "type": settings.type,
        },
    )
    for tag, kind, pairs in (
        ("meta_attributes", "meta_attributes", settings.meta),
        ("instance_attributes", "instance_attributes", settings.parameters),
    ):
        if pairs:
            name = f"{settings.id}-{kind}"
            node.append(
                make(
                    tag,
                    {"id": name},
                    *(
                        make("nvpair", {"id": _UNSAFE.sub(".", f"{name}-{key}"), "name": key, "value": value})
                        for key, value in pairs.items()
                    ),
                )
            )
    if settings.monitor_interval:
        name = f"{settings.id}-monitor-{settings.monitor_interval}s"
        operation = make("op", {"id": name, "name": "monitor", "interval": f"{settings.monitor_interval}s"})
        node.append(make("operations", None, operation))
    return node
