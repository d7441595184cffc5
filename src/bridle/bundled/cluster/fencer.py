"""The fencer: devices, levels, and a history of who was fenced. Nobody is, so chance decides how it ends."""

from __future__ import annotations

import errno
import random
import uuid
from collections.abc import Callable, Iterable, Mapping

from msgspec import Struct
from msgspec.structs import replace

from bridle.bundled.cluster.failure import failure
from bridle.bundled.cluster.settings import ActionSettings
from bridle.bundled.timetable import Timetable
from bridle.core.messages import JSON

__all__ = ["DEVICES_LIMIT", "Device", "Fencer", "HISTORY_LIMIT", "Incident", "incident_value"]

HISTORY_LIMIT = 500
"""Incidents that are remembered, as in Pacemaker."""

DEVICES_LIMIT = 1000
"""Devices, and levels, that anybody may register."""

_TARGET_LISTS = ("pcmk_host_list", "hostlist", "nodelist")


class Device(Struct, frozen=True):
    """A fencing device. ``resource`` says that the CIB configures it; the others were registered."""

    id: str
    agent: str
    namespace: str = "any"
    parameters: Mapping[str, str] = {}
    resource: bool = False

    @property
    def targets(self) -> tuple[str, ...] | None:
        """The nodes that it can fence; None: all."""
        for name in _TARGET_LISTS:
            if name in self.parameters:
                return tuple(self.parameters[name].replace(",", " ").replace(";", " ").split())
        return None

    def can_fence(self, node: str) -> bool:
        """Whether it can fence a node."""
        targets = self.targets
        return targets is None or node in targets


class Incident(Struct, frozen=True, kw_only=True):
    """A node that was fenced, is being fenced, or could not be. ``completed`` is in seconds since 1970."""

    id: str
    target: str
    action: str
    origin: str
    client: str
    delegate: str | None = None
    state: str = "pending"
    completed: float = 0.0
    reason: str = ""
    output: str = ""
    code: int = 0


Done = Callable[[Incident], None]


class Fencer:
    """``node`` is where it runs; ``now`` tells the seconds since 1970; ``finished`` is called with every
    incident once it has ended."""

    def __init__(
        self, timetable: Timetable, behaviour: ActionSettings, seed: int, node: str, now: Callable[[], float]
    ) -> None:
        self._timetable = timetable
        self._behaviour = behaviour
        self._failures = behaviour.failures
        self._random = random.Random(seed ^ 0x5F)
        self._node = node
        self._now = now
        self._registered: dict[str, Device] = {}
        self._configured: dict[str, Device] = {}
        self._configured_levels: dict[tuple[str, int], tuple[str, ...]] = {}
        self.levels: dict[tuple[str, int], tuple[str, ...]] = {}
        self.history: list[Incident] = []
        self.finished: Done = lambda incident: None

    # Devices and levels.

    @property
    def devices(self) -> list[Device]:
        """All devices, in the order of their names."""
        return [device for _, device in sorted({**self._configured, **self._registered}.items())]

    def register(self, device: Device) -> None:
        """Add a device, or exchange the one of its name.

        Raises:
            CommandError: there are too many.
        """
        if device.id not in self._registered and len(self._registered) >= DEVICES_LIMIT:
            raise failure(errno.ENOSPC, f"there are {DEVICES_LIMIT} fencing devices already")
        self._registered[device.id] = device

    def remove(self, name: str) -> bool:
        """Forget a device that was registered; False where there is none of that name."""
        return self._registered.pop(name, None) is not None

    def configure(self, devices: Iterable[Device], levels: Mapping[tuple[str, int], tuple[str, ...]]) -> None:
        """Take over what the CIB configures."""
        self._configured = {device.id: device for device in devices}
        self._configured_levels = dict(levels)

    def add_level(self, target: str, index: int, devices: tuple[str, ...]) -> None:
        """Say which devices fence a node together, in which turn.

        Raises:
            CommandError: the turn is none from 1 to 9, or there are too many.
        """
        if not 1 <= index <= 9:
            raise failure(errno.EINVAL, f"a level is a number from 1 to 9, not {index}")
        if len(self.levels) >= DEVICES_LIMIT:
            raise failure(errno.ENOSPC, f"there are {DEVICES_LIMIT} fencing levels already")
        self.levels[target, index] = devices

    def remove_level(self, target: str, index: int) -> None:
        """Forget a level, or with 0 all of a node; what is not there is no failure."""
        for key in [key for key in self.levels if key[0] == target and index in (0, key[1])]:
            del self.levels[key]

    def capable(self, target: str | None) -> list[Device]:
        """The devices that can fence a node; all without one."""
        return [device for device in self.devices if target is None or device.can_fence(target)]

    def device(self, name: str) -> Device:
        """A device by its name.

        Raises:
            CommandError: there is none; ENODEV.
        """
        found = self._registered.get(name) or self._configured.get(name)
        if found is None:
            raise failure(errno.ENODEV, "No such device")
        return found

    # Fencing.

    def fence(self, target: str, action: str, client: str, timeout: float, done: Done) -> Incident:
        """Fence a node; ``done`` is called with the incident when that has ended, in simulated time."""
        incident = Incident(
            id=str(uuid.UUID(int=self._random.getrandbits(128), version=4)),
            target=target,
            action=action,
            origin=self._node,
            client=client,
        )
        self._remember(incident)
        device = self._first_for(target)
        if device is None:
            ended = replace(incident, state="failed", code=errno.ENODEV)
            self._timetable.after(0.001, self._end, ended, done)
            return incident
        delay, fails = self._draw()
        if timeout and delay > timeout:
            ended = replace(
                incident, state="failed", reason="Fencing timed out", code=errno.ETIME, delegate=self._node
            )
            delay = timeout
        elif fails:
            ended = replace(
                incident,
                state="failed",
                reason=self._behaviour.reason,
                code=errno.ENODATA,
                delegate=self._node,
            )
        else:
            ended = replace(incident, state="done", delegate=self._node)
        self._timetable.after(delay, self._end, ended, done)
        return incident

    def confirm(self, target: str, client: str) -> Incident:
        """Take somebody's word that a node is down."""
        incident = Incident(
            id=str(uuid.UUID(int=self._random.getrandbits(128), version=4)),
            target=target,
            action="off",
            origin=self._node,
            client=client,
            delegate="a human",
        )
        self._remember(incident)
        ended = replace(incident, state="done", completed=self._now())
        self._exchange(ended)
        self.finished(ended)
        return ended

    def forget(self, target: str | None) -> int:
        """Remove what is over from the history, of a node or of all; how much that was."""
        before = len(self.history)
        self.history = [
            one
            for one in self.history
            if one.state == "pending" or (target is not None and one.target != target)
        ]
        return before - len(self.history)

    def _first_for(self, target: str) -> Device | None:
        levels = {**self._configured_levels, **self.levels}
        for _, names in sorted((index, names) for (node, index), names in levels.items() if node == target):
            known = {**self._configured, **self._registered}
            if all(name in known for name in names) and names:
                return known[names[0]]
        return next(iter(self.capable(target)), None)

    def _draw(self) -> tuple[float, bool]:
        behaviour = self._behaviour
        delay = behaviour.delay
        if behaviour.delay_up_to is not None:
            delay = self._random.randint(behaviour.delay, behaviour.delay_up_to)
        if self._failures > 0:
            self._failures -= 1
            return max(1, delay) / 1000, True
        return max(1, delay) / 1000, behaviour.fails > 0 and self._random.random() < behaviour.fails

    def _remember(self, incident: Incident) -> None:
        self.history.append(incident)
        if len(self.history) > HISTORY_LIMIT:
            old = next((one for one in self.history if one.state != "pending"), self.history[0])
            self.history.remove(old)

    def _exchange(self, ended: Incident) -> None:
        for index, one in enumerate(self.history):
            if one.id == ended.id:
                self.history[index] = ended

    def _end(self, ended: Incident, done: Done) -> None:
        ended = replace(ended, completed=self._now())
        self._exchange(ended)
        self.finished(ended)
        done(ended)


def incident_value(incident: Incident) -> dict[str, JSON]:
    """An incident as commands and events tell it."""
    return {
        "id": incident.id,
        "target": incident.target,
        "action": incident.action,
        "origin": incident.origin,
        "client": incident.client,
        "delegate": incident.delegate,
        "state": incident.state,
        "completed": incident.completed,
        "reason": incident.reason,
        "code": incident.code,
    }
