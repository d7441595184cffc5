"""Commands about fencing: devices, levels, who is fenced, and who was."""

from __future__ import annotations

import asyncio
import errno
from typing import Annotated, Literal

from msgspec import Meta

from bridle.bundled.cluster.failure import failure
from bridle.bundled.cluster.fencer import Device, Incident, incident_value
from bridle.bundled.cluster.settings import Name, NodeName
from bridle.bundled.cluster.world import World
from bridle.core.errors import ArgumentError
from bridle.core.events import EventLog
from bridle.core.manager import command
from bridle.core.messages import JSON

__all__ = ["FENCE_TIMEOUT", "FencingCommands"]

FENCE_TIMEOUT = 120
"""Seconds that fencing may take where nobody says how many; as stonith_admin."""

_Seconds = Annotated[int, Meta(ge=0, le=86_400)]
_Text = Annotated[str, Meta(max_length=255)]


class FencingCommands:
    """``fence``, ``fencing-…``."""

    world: World
    events: EventLog

    @command(access="read")
    def fencing_devices(self, target: str | None = None, action: str | None = None) -> dict[str, JSON]:
        """List the fencing devices, or those that can fence a node."""
        devices: list[JSON] = [
            {
                "id": device.id,
                "agent": device.agent,
                "namespace": device.namespace,
                "parameters": dict(device.parameters),
            }
            for device in self.world.fencer.capable(target)
        ]
        return {"devices": devices}

    @command(access="read")
    def fencing_history(self, target: str | None = None) -> dict[str, JSON]:
        """List who was fenced, or is being fenced: all, or one node."""
        history: list[JSON] = [
            incident_value(one) for one in self.world.fencer.history if target in (None, one.target)
        ]
        return {"history": history}

    @command
    def fencing_history_cleanup(self, target: str | None = None) -> dict[str, JSON]:
        """Forget what is over, of a node or of all."""
        removed = self.world.fencer.forget(target)
        self.events.publish("fencing-history", {"target": target})
        return {"removed": removed}

    @command
    async def fence(
        self,
        target: NodeName,
        action: Literal["off", "on", "reboot"] = "off",
        timeout: _Seconds = FENCE_TIMEOUT,
        tolerance: _Seconds = 0,
        delay: _Seconds = 0,
        client: _Text = "bridle",
    ) -> dict[str, JSON]:
        """Fence a node, and wait for the end of that, at most ``timeout`` seconds.

        With ``tolerance`` it is enough when that was done so many seconds ago.
        """
        if self.world.member(target) is None and self.world.member(None, _number(target)) is not None:
            found = self.world.member(None, _number(target))
            target = found.name if found is not None else target
        for one in reversed(self.world.fencer.history):
            same = (one.target, one.action, one.state) == (target, action, "done")
            if tolerance and same and one.completed >= self.world.now() - tolerance:
                return incident_value(one)
        ended: asyncio.Future[Incident] = asyncio.get_running_loop().create_future()

        def done(incident: Incident) -> None:
            if not ended.done():
                ended.set_result(incident)

        seconds = timeout or FENCE_TIMEOUT
        self.world.timetable.after(
            float(delay), self.world.fencer.fence, target, action, client, float(seconds), done
        )
        self.happened()
        incident = await ended
        if incident.state != "done":
            raise failure(incident.code or errno.EIO, incident.reason)
        return incident_value(incident)

    def happened(self) -> None:
        """Something was asked for that is due later; whoever owns the clock has to know."""

    @command
    def fencing_confirm(self, target: NodeName, client: _Text = "bridle") -> dict[str, JSON]:
        """Take note that somebody has made sure that a node is down."""
        return incident_value(self.world.fencer.confirm(target, client))

    @command
    def fencing_device_add(
        self,
        id_: Name,
        agent: str,
        namespace: str | None = None,
        parameters: dict[str, str | int | float | bool] | None = None,
    ) -> None:
        """Add a fencing device, or exchange the one of its name. ``pcmk_host_list`` among its parameters
        says which nodes it can fence."""
        texts = {name: _text(value) for name, value in (parameters or {}).items()}
        self.world.fencer.register(Device(id_, agent, namespace or "redhat", texts))
        self._announce("st_device_register", id_, len(self.world.fencer.devices))

    @command
    def fencing_device_remove(self, id_: str) -> None:
        """Remove a fencing device that was added; it is no error when there is none."""
        if self.world.fencer.remove(id_):
            self._announce("st_device_remove", id_, len(self.world.fencer.devices))

    @command(access="read")
    def fencing_device_execute(
        self, id_: str, action: str = "monitor", target: str | None = None
    ) -> dict[str, JSON]:
        """Ask a fencing device something that changes nothing: ``monitor``, ``list`` or ``status``."""
        device = self.world.fencer.device(id_)
        if action not in ("monitor", "list", "status", "metadata"):
            raise ArgumentError(f"'{action}' is done by the command fence", argument="action")
        return {"id": device.id, "action": action, "code": 0}

    @command
    def fencing_level_add(
        self,
        index: int,
        devices: Annotated[list[str], Meta(min_length=1, max_length=100)],
        target: str | None = None,
        pattern: str | None = None,
    ) -> None:
        """Let devices fence a node together, in this turn, from 1 to 9."""
        name = _target(target, pattern)
        self.world.fencer.add_level(name, index, tuple(devices))
        self._announce("st_level_add", f"{name}[{index}]", len(self.world.fencer.levels))

    @command
    def fencing_level_remove(self, index: int, target: str | None = None, pattern: str | None = None) -> None:
        """Remove a level of a node, or with 0 all of them; it is no error when there is none."""
        name = _target(target, pattern)
        self.world.fencer.remove_level(name, index)
        self._announce("st_level_remove", f"{name}[{index}]", len(self.world.fencer.levels))

    def _announce(self, operation: str, name: str, count: int) -> None:
        self.events.publish("fencing-configuration", {"operation": operation, "name": name, "count": count})


def _number(text: str) -> int:
    return int(text) if text.isascii() and text.isdecimal() and len(text) <= 10 else 0


def _text(value: str | int | float | bool) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _target(target: str | None, pattern: str | None) -> str:
    if pattern is not None:
        raise failure(errno.EOPNOTSUPP, "levels for patterns of nodes are not supported")
    if not target:
        raise ArgumentError("missing argument 'target'", argument="target")
    return target
