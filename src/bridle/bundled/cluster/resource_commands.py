"""Commands about resources: the cluster's, and those that clients of the executor bring along."""

from __future__ import annotations

import asyncio
import errno
from typing import Annotated

from msgspec import Meta

from bridle.bundled.cluster.cib import Author, Options
from bridle.bundled.cluster.cib_commands import user_of
from bridle.bundled.cluster.controller import Executed
from bridle.bundled.cluster.executions import Wish
from bridle.bundled.cluster.failure import failure
from bridle.bundled.cluster.history import pasts
from bridle.bundled.cluster.resources import Resource, resources
from bridle.bundled.cluster.settings import Name
from bridle.bundled.cluster.tree import make
from bridle.bundled.cluster.world import World
from bridle.core.errors import CommandError
from bridle.core.events import EventLog
from bridle.core.manager import command
from bridle.core.messages import JSON, Peer

__all__ = ["ResourceCommands"]

_Milliseconds = Annotated[int, Meta(ge=0, le=86_400_000)]
_Word = Annotated[str, Meta(min_length=1, max_length=255)]


class ResourceCommands:
    """``resource-…`` and ``reprobe``."""

    world: World
    events: EventLog

    # The cluster's.

    @command(access="read")
    def resource_list(self) -> dict[str, JSON]:
        """List the resources, where they are active, and how often they have failed there."""
        histories = list(pasts(self.world.root))
        listed: list[JSON] = []
        for one in resources(self.world.root):
            active: list[JSON] = [
                past.node for past in histories if past.resource == one.id and past.state == "running"
            ]
            failures: dict[str, JSON] = {
                name: count for name in self.world.members if (count := self.world.failures(one.id, name))
            }
            listed.append(
                {
                    "id": one.id,
                    "class": one.class_,
                    "provider": one.provider,
                    "type": one.type,
                    "target-role": "Started" if one.wanted else "Stopped",
                    "active": active,
                    "failures": failures,
                }
            )
        return {"resources": listed}

    @command
    def resource_start(self, peer: Peer, resource: str) -> None:
        """Let a resource be started: its target role becomes ``Started``."""
        self._set_role(resource, "Started", peer)

    @command
    def resource_stop(self, peer: Peer, resource: str) -> None:
        """Let a resource be stopped, and stay so: its target role becomes ``Stopped``."""
        self._set_role(resource, "Stopped", peer)

    def _set_role(self, resource: str, role: str, peer: Peer) -> None:
        self.world.resource(resource)
        for node in self.world.root.iterfind("configuration/resources//primitive"):
            if node.get("id") == resource:
                known = node.find("meta_attributes")
                block = known.get("id") if known is not None else None
                block = block or f"{resource}-meta_attributes"
                pair = next(
                    (
                        one
                        for one in node.iterfind("meta_attributes/nvpair")
                        if one.get("name") == "target-role"
                    ),
                    None,
                )
                identity = pair.get("id") if pair is not None else None
                update = make(
                    "primitive",
                    {"id": resource},
                    make(
                        "meta_attributes",
                        {"id": block},
                        make(
                            "nvpair",
                            {
                                "id": identity or f"{block}-target-role",
                                "name": "target-role",
                                "value": role,
                            },
                        ),
                    ),
                )
                author = Author(self.world.name, "bridle", user_of(peer))
                self.world.cib.modify(update, "resources", Options(), author)
                return

    @command
    def resource_fail(
        self,
        resource: str,
        node: str,
        class_: str | None = None,
        provider: str | None = None,
        type_: str | None = None,
        long_id: str | None = None,
        router_node: str | None = None,
    ) -> dict[str, JSON]:
        """Let a resource have failed on a node: it is recovered, and the failure is counted."""
        member = self.world.existing(node)
        operation = self.world.controller.fail(member.name, self.world.resource(resource))
        return {
            "resource": resource,
            "node": member.name,
            "node-id": member.id,
            "operation": "asyncmon",
            "rc-code": 0,
            "call": operation.call,
            "changed": operation.changed,
            "key": operation.key,
        }

    @command
    def resource_refresh(
        self,
        resource: str,
        node: str,
        cib_only: bool = False,
        class_: str | None = None,
        provider: str | None = None,
        type_: str | None = None,
        long_id: str | None = None,
        router_node: str | None = None,
    ) -> dict[str, JSON]:
        """Forget what was done to a resource on a node, failures apart: it is looked at anew."""
        member = self.world.existing(node)
        self.world.refresh(resource, member.name, cib_only=cib_only)
        return {
            "resource": resource,
            "node": member.name,
            "node-id": member.id,
            "operation": "delete",
            "rc-code": 0,
        }

    @command
    def reprobe(self, node: str | None = None, router_node: str | None = None) -> dict[str, JSON]:
        """Forget what was done to all resources, on a node or on all: they are looked at anew."""
        if node is not None:
            self.world.existing(node)
        self.world.reprobe(node)
        return {"node": node or self.world.name}

    # Those of the executor.

    @command(access="read")
    def resource_info(self, resource: str) -> dict[str, JSON]:
        """Tell what a resource is that the executor knows."""
        found = self._known(resource)
        return {
            "resource": found.id,
            "class": found.class_,
            "provider": found.provider or "",
            "type": found.type,
        }

    @command
    def resource_add(
        self, resource: Name, class_: _Word, type_: _Word, provider: _Word | None = None
    ) -> None:
        """Tell the executor of a resource. Nothing is done to it yet."""
        self.world.executions.register(Resource(resource, class_, provider, type_, {}, {}, (), {}))
        self.events.publish(
            "resource-changed", {"operation": "lrmd_rsc_register", "resource": resource, "return-code": 0}
        )

    @command
    def resource_remove(self, resource: str) -> None:
        """Let the executor forget a resource."""
        self.world.executions.unregister(resource)
        self.events.publish(
            "resource-changed", {"operation": "lrmd_rsc_unregister", "resource": resource, "return-code": 0}
        )

    @command
    async def resource_execute(
        self,
        resource: str,
        action: _Word,
        interval: _Milliseconds = 0,
        timeout: _Milliseconds = 20_000,
        start_delay: _Milliseconds = 0,
        parameters: dict[str, str | int | float | bool] | None = None,
        user_data: str = "",
        wait: bool = True,
    ) -> dict[str, JSON]:
        """Do something to a resource that the executor knows, and tell how it ended.

        Times are in milliseconds. With an ``interval`` it is done again and again; the first end is told.
        Without ``wait`` the number of the call is, at once, and the end is an event.
        """
        found = self._known(resource)
        texts = {name: str(value) for name, value in (parameters or {}).items()}
        ended: asyncio.Future[Executed] = asyncio.get_running_loop().create_future()

        def done(executed: Executed) -> None:
            if not ended.done():
                ended.set_result(executed)

        wish = Wish(
            action=action,
            interval=interval,
            timeout=timeout,
            start_delay=start_delay,
            user_data=user_data,
            parameters=texts,
        )
        call = self.world.executions.execute(found, wish, done)
        self.happened()
        if not wait:
            return {"resource": resource, "action": action, "call": call}
        operation = (await ended).operation
        return {
            "resource": resource,
            "action": action,
            "call": call,
            "call-id": call,
            "rc-code": operation.code,
            "op-status": operation.status,
            "exit-reason": operation.reason,
        }

    def happened(self) -> None:
        """Something was asked for that is due later; whoever owns the clock has to know."""

    @command
    def resource_cancel(self, resource: str, action: str, interval: _Milliseconds) -> None:
        """Do something to a resource no more again and again."""
        self.world.executions.cancel(resource, action, interval)

    def _known(self, name: str) -> Resource:
        found = self.world.executions.registered(name)
        if found is not None:
            return found
        try:
            return self.world.resource(name)
        except CommandError:
            raise failure(errno.ENODEV, f"the executor knows no resource '{name}'") from None
