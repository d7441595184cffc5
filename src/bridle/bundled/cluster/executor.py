"""The imagined agents: what runs where, how long an action takes and how it ends.

Chance is the seed's, and each draw belongs to its action in turn, so a run repeats exactly.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence

from msgspec import Struct

from bridle.bundled.cluster.history import NOT_RUNNING
from bridle.bundled.cluster.resources import Resource
from bridle.bundled.cluster.settings import ActionSettings, AgentSettings

__all__ = ["Agents", "Outcome"]

_PLAIN = ActionSettings()
TIMED_OUT = 2
"""The status of an operation that took too long (Pacemaker's PCMK_EXEC_TIMEOUT)."""


class Outcome(Struct, frozen=True):
    """How an action ends: after so many milliseconds, with this exit code, status and reason."""

    taken: int
    code: int
    status: int = 0
    reason: str = ""


class Agents:
    """What runs, and what will come of what is asked for."""

    def __init__(self, settings: Sequence[AgentSettings], seed: int) -> None:
        self._settings = settings
        self._random = random.Random(seed)
        self._certain: Counter[int] = Counter(
            {index: entry.behaviour.failures for index, entry in enumerate(settings)}
        )
        self.running: set[tuple[str, str]] = set()

    def outcome(self, resource: Resource, node: str, action: str, timeout: int) -> Outcome:
        """How an action on a node will end. What it does is done by :meth:`perform`."""
        behaviour, fails = self._behaviour(resource, node, action)
        delay = max(1, behaviour.delay)
        if behaviour.delay_up_to is not None:
            delay = max(1, self._random.randint(behaviour.delay, behaviour.delay_up_to))
        if 0 < timeout < delay:
            return Outcome(timeout, 1, TIMED_OUT, f"{resource.type} did not complete within {timeout}ms")
        if fails:
            return Outcome(delay, behaviour.code, 0, behaviour.reason)
        if action == "monitor" and (node, resource.id) not in self.running:
            return Outcome(delay, NOT_RUNNING)
        return Outcome(delay, 0)

    def perform(self, resource: str, node: str, action: str) -> None:
        """Let an action that went well have happened."""
        if action == "start":
            self.running.add((node, resource))
        elif action == "stop":
            self.running.discard((node, resource))

    def lose(self, node: str) -> None:
        """A node is gone, with all that ran on it."""
        self.running = {(name, resource) for name, resource in self.running if name != node}

    def _behaviour(self, resource: Resource, node: str, action: str) -> tuple[ActionSettings, bool]:
        for index, entry in enumerate(self._settings):
            if _matches(entry, resource, node, action):
                behaviour = entry.behaviour
                if self._certain[index] > 0:
                    self._certain[index] -= 1
                    return behaviour, True
                return behaviour, behaviour.fails > 0 and self._random.random() < behaviour.fails
        return _PLAIN, False


def _matches(entry: AgentSettings, resource: Resource, node: str, action: str) -> bool:
    return all(
        wanted is None or wanted == found
        for wanted, found in (
            (entry.resource, resource.id),
            (entry.class_, resource.class_),
            (entry.provider, resource.provider),
            (entry.type, resource.type),
            (entry.node, node),
            (entry.action, action),
        )
    )
