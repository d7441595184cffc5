"""The controller: it notices that the CIB has changed, has a graph computed, and does what stands in it.

Its transitions are Pacemaker's: actions whose inputs are done are begun, what is asked for meanwhile aborts
the transition, and when what was begun has ended the next graph is computed, until one is empty.
"""

from __future__ import annotations

import random
import uuid
from collections import deque
from collections.abc import Callable
from typing import Protocol

from msgspec import Struct
from msgspec.structs import replace

from bridle.bundled.cluster.executor import Agents, Outcome
from bridle.bundled.cluster.graph import Action, Graph
from bridle.bundled.cluster.history import Operation
from bridle.bundled.cluster.resources import Resource, is_true, properties
from bridle.bundled.cluster.scheduler import schedule
from bridle.bundled.cluster.tree import Node
from bridle.bundled.timetable import Timetable

__all__ = ["Controller", "Executed", "JOBS_LIMIT", "SHORTEST_INTERVAL", "Surroundings"]

JOBS_LIMIT = 30
"""Actions that are under way at a time; Pacemaker goes by the number of processors, and its load."""

SHORTEST_INTERVAL = 0.1
"""Seconds between two runs of what recurs, at least, whatever the CIB says."""


class Executed(Struct, frozen=True):
    """An operation that an agent has done."""

    resource: Resource
    node: str
    operation: Operation


class Surroundings(Protocol):
    """What a controller acts on."""

    @property
    def root(self) -> Node:
        """The CIB."""
        ...

    def record(self, node: str, resource: Resource, operation: Operation, *, failure: bool = False) -> None:
        """Write an operation into the status."""
        ...

    def erase(self, node: str, resource: str) -> None:
        """Remove a resource's history from the status."""
        ...

    def count_failure(self, node: str, resource: str, operation: Operation, fatal: bool) -> None:
        """Count a failure of a resource."""
        ...

    def fence(self, node: str, action: str, done: Callable[[bool], None]) -> None:
        """Have a node fenced; ``done`` is told whether that worked."""
        ...

    def executed(self, executed: Executed) -> None:
        """Take note of what an agent has done."""
        ...


class Controller:
    """``epoch`` is the seconds since 1970 at which the timetable begins."""

    def __init__(
        self,
        timetable: Timetable,
        agents: Agents,
        cluster: Surroundings,
        seed: int,
        epoch: Callable[[], float],
    ) -> None:
        self._timetable = timetable
        self._agents = agents
        self._cluster = cluster
        self._now = epoch
        self.uuid: str = str(uuid.UUID(int=random.Random(seed).getrandbits(128), version=4))
        self.transition: int = -1
        self._calls = 4  # Pacemaker has used up these for its own when a cluster has come up
        self._asked = False
        self._due = False
        self._graph: Graph | None = None
        self._waiting: dict[int, Action] = {}
        self._missing: dict[int, int] = {}
        self._followers: dict[int, list[int]] = {}
        self._ready: deque[int] = deque()
        self._begun: set[int] = set()
        self._recurring: dict[tuple[str, str, str, int], int] = {}
        self._turns = 0
        self._under_way: dict[tuple[str, str], int] = {}

    @property
    def state(self) -> str:
        """The state of Pacemaker's controller."""
        if self._begun:
            return "S_TRANSITION_ENGINE"
        return "S_POLICY_ENGINE" if self._asked else "S_IDLE"

    def poke(self) -> None:
        """Something has changed: see what is to be done, after what else happens at this moment."""
        self._asked = True
        if not self._due:
            self._due = True
            self._timetable.after(0.0, self._look)

    def call(self) -> int:
        """The next number of a call to the executor."""
        self._calls += 1
        return self._calls

    def _look(self) -> None:
        self._due = False
        if self._begun or not self._asked:
            self._waiting.clear()  # aborted: what was begun is waited for, the rest is computed anew
            return
        self._asked = False
        root = self._cluster.root
        try:
            graph = schedule(root)
        except RecursionError:
            graph = Graph((), ("the constraints are too entangled",))
        self._graph = graph
        if not graph.actions:
            return
        self.transition += 1
        self._waiting = {action.number: action for action in graph.actions}
        self._missing = {action.number: len(action.after) for action in graph.actions}
        self._followers = {}
        for action in graph.actions:
            for number in action.after:
                self._followers.setdefault(number, []).append(action.number)
        self._ready = deque(action.number for action in graph.actions if not action.after)
        self._go_on()

    def _go_on(self) -> None:
        while self._ready and len(self._begun) < JOBS_LIMIT:
            number = self._ready.popleft()
            action = self._waiting.pop(number, None)
            if action is not None:
                self._begun.add(number)
                self._begin(action)
        if not self._begun:
            # A transition that is complete may have left something to do; one without actions ends this.
            self._asked = True
            self.poke()

    def _ended(self, number: int, well: bool) -> None:
        self._begun.discard(number)
        if well:
            for follower in self._followers.get(number, ()):
                self._missing[follower] -= 1
                if not self._missing[follower]:
                    self._ready.append(follower)
        else:
            self._asked = True
        if self._asked:
            self._waiting.clear()
        self._go_on()

    def _begin(self, action: Action) -> None:
        resource = action.resource
        if resource is None:
            self._cluster.fence(action.node, "reboot", lambda well: self._fenced(action.number, well))
        elif action.operation == "cancel":
            self._stop_recurring(action.node, resource.id)
            self._cancelled(action, resource)
        elif action.operation == "delete":
            self.forget(action.node, resource.id)
            self._cluster.erase(action.node, resource.id)
            self._timetable.after(0.001, self._ended, action.number, True)
        else:
            self._execute(action, resource)

    def _fenced(self, number: int, well: bool) -> None:
        if number in self._begun:
            self._ended(number, well)

    def _cancelled(self, action: Action, resource: Resource) -> None:
        name = action.key.removeprefix(f"{resource.id}_").rpartition("_")[0]
        cancelled = Operation(
            action=name, interval=action.interval, call=self.call(), code=0, status=1, key=self._key(action)
        )
        self._cluster.record(action.node, resource, cancelled)
        self._timetable.after(0.001, self._ended, action.number, True)

    def _key(self, action: Action) -> str:
        return f"{action.number}:{self.transition}:{action.target}:{self.uuid}"

    def _execute(self, action: Action, resource: Resource) -> None:
        if action.operation in ("start", "stop"):
            self._stop_recurring(action.node, resource.id)
        operation = Operation(
            action=action.operation,
            interval=action.interval,
            key=self._key(action),
            changed=int(self._now()),
            timeout=action.timeout,
        )
        self._cluster.record(action.node, resource, operation)
        outcome = self._agents.outcome(resource, action.node, action.operation, action.timeout)
        turn = self._turn(action.node, resource.id)
        self._timetable.after(
            outcome.taken / 1000, self._executed, action, resource, operation, outcome, turn
        )

    def _turn(self, node: str, resource: str) -> int:
        return self._under_way.setdefault((node, resource), 0)

    def _executed(
        self, action: Action, resource: Resource, operation: Operation, outcome: Outcome, turn: int
    ) -> None:
        if turn != self._turn(action.node, resource.id):
            # The node is gone, or the history was erased while this was under way.
            self._ended(action.number, False)
            return
        finished = replace(
            operation,
            call=self.call(),
            code=outcome.code,
            status=outcome.status,
            reason=outcome.reason,
            taken=outcome.taken,
        )
        if outcome.code == outcome.status == 0:
            self._agents.perform(resource.id, action.node, action.operation)
        self._cluster.record(action.node, resource, finished)
        self._cluster.executed(Executed(resource, action.node, finished))
        if finished.failed:
            self._fail(action.node, resource, finished)
        elif outcome.code != action.target:
            # A probe that finds what should not be there: noted, and not counted.
            self._cluster.record(action.node, resource, finished, failure=True)
        elif finished.interval:
            self._recur(action.node, resource, finished)
        unexpected = finished.failed or outcome.code != action.target
        self._ended(action.number, not unexpected)

    def _fail(self, node: str, resource: Resource, operation: Operation) -> None:
        self._cluster.record(node, resource, operation, failure=True)
        options = properties(self._cluster.root)
        fatal = operation.action == "start" and is_true(options.get("start-failure-is-fatal", "true"))
        self._cluster.count_failure(node, resource.id, operation, fatal or operation.action == "stop")

    # What recurs.

    def _recur(self, node: str, resource: Resource, operation: Operation) -> None:
        self._turns += 1
        self._recurring[node, resource.id, operation.action, operation.interval] = self._turns
        seconds = max(operation.interval / 1000, SHORTEST_INTERVAL)
        self._timetable.after(seconds, self._again, node, resource, operation, self._turns)

    def _again(self, node: str, resource: Resource, operation: Operation, turn: int) -> None:
        if self._recurring.get((node, resource.id, operation.action, operation.interval)) != turn:
            return
        outcome = self._agents.outcome(resource, node, operation.action, operation.timeout or 0)
        if (outcome.code, outcome.status) == (operation.code, operation.status):
            self._recur(node, resource, operation)  # nothing new: nobody is told
            return
        self._stop_recurring(node, resource.id)
        finished = replace(
            operation,
            call=operation.call,
            code=outcome.code,
            status=outcome.status,
            reason=outcome.reason,
            changed=int(self._now()),
            taken=outcome.taken,
        )
        self._cluster.record(node, resource, finished)
        self._cluster.executed(Executed(resource, node, finished))
        self._fail(node, resource, finished)
        self.poke()

    def _stop_recurring(self, node: str, resource: str) -> None:
        for key in [key for key in self._recurring if key[:2] == (node, resource)]:
            del self._recurring[key]

    # What others ask for.

    def forget(self, node: str, resource: str) -> None:
        """Nothing is known of a resource on a node any more; whether it runs there is another matter."""
        self._stop_recurring(node, resource)
        self._under_way[node, resource] = self._turn(node, resource) + 1

    def lose(self, node: str) -> None:
        """A node is gone: nothing that was begun there ends."""
        self._agents.lose(node)
        for name, resource in list(self._under_way):
            if name == node:
                self.forget(node, resource)

    def fail(self, node: str, resource: Resource) -> Operation:
        """Let a resource have failed on a node, as ``crm_resource --fail`` does."""
        call = self.call()
        operation = Operation(
            action="asyncmon",
            call=call,
            code=1,
            status=0,
            reason="Simulated failure",
            key=f"{call}:-1:0:xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx",
            changed=int(self._now()),
        )
        self._cluster.record(node, resource, operation)
        self._cluster.record(node, resource, operation, failure=True)
        self._cluster.count_failure(node, resource.id, operation, False)
        self.poke()
        return operation
