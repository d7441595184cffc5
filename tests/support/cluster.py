"""A cluster daemon in this process, on the event loop's clock, which tests make a virtual one."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from xml.etree import ElementTree as ET

from bridle.bundled.cluster.cluster import Cluster
from bridle.core.messages import Command, Event, Response
from bridle.daemon.document import Document

__all__ = ["EPOCH", "Asker", "cluster"]

EPOCH = 1_795_170_000
"""Seconds since 1970 at which the tests' clusters begin."""


class Asker:
    """A daemon, and how to ask it."""

    def __init__(self, daemon: Cluster) -> None:
        self.daemon = daemon
        self.events: list[Event] = []
        daemon.events.subscribe(self.events.append)

    async def ask(self, name: str, /, **arguments: Any) -> Response:
        """Give a command; ``node_id`` stands for ``node-id``."""
        given = {key.rstrip("_").replace("_", "-"): value for key, value in arguments.items()}
        return await self.daemon.manager.execute(Command(name, given))

    async def value(self, name: str, /, **arguments: Any) -> Any:
        """What a command answers, which must succeed."""
        response = await self.ask(name, **arguments)
        assert response.result == 0, (name, response)
        return response.value

    async def refused(self, name: str, /, **arguments: Any) -> int:
        """The return code that Pacemaker's dialect writes of a refusal."""
        response = await self.ask(name, **arguments)
        assert response.result != 0, (name, response)
        assert isinstance(response.error, OSError), response
        return response.error.errno or 0

    async def found(self, xpath: str) -> list[ET.Element]:
        """What an XPath finds in the CIB."""
        response = await self.ask("cib-query", xpath=xpath)
        if response.result:
            return []
        root = ET.fromstring(response.value["cib"])  # type: ignore[index,call-overload,arg-type]
        return list(root) if root.tag == "xpath-query" else [root]

    async def version(self) -> tuple[int, ...]:
        """The CIB's version."""
        await self.ask("ping")
        return self.daemon.world.cib.version()

    async def active(self, resource: str) -> list[str]:
        """The nodes that a resource is active on."""
        listed = (await self.value("resource-list"))["resources"]
        return next(one["active"] for one in listed if one["id"] == resource)

    async def operations(self, resource: str, node: str = "node1") -> dict[str, dict[str, str]]:
        """The operations in a resource's history on a node, by their ids."""
        path = f"//node_state[@uname='{node}']//lrm_resource[@id='{resource}']/lrm_rsc_op"
        return {one.attrib["id"]: dict(one.attrib) for one in await self.found(path)}


@asynccontextmanager
async def cluster(configuration: dict[str, Any] | None = None) -> AsyncIterator[Asker]:
    """A daemon with this configuration, whose node is node1."""
    daemon = Cluster(node="node1", native=False, epoch=lambda: float(EPOCH))
    made = Asker(daemon)
    daemon.configure(daemon.check_configuration(Document({"Cluster": configuration or {}})))
    await daemon.start()
    try:
        yield made
    finally:
        await daemon.stop()
