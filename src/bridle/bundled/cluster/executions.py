"""What clients of the executor have done by it: resources that they register, and actions on these, besides
what the controller does."""

from __future__ import annotations

import errno
from collections.abc import Callable, Mapping

from msgspec import Struct

from bridle.bundled.cluster.controller import SHORTEST_INTERVAL, Executed
from bridle.bundled.cluster.executor import Agents
from bridle.bundled.cluster.failure import failure
from bridle.bundled.cluster.history import Operation
from bridle.bundled.cluster.resources import Resource
from bridle.bundled.timetable import Timetable

__all__ = ["Executions", "REGISTERED_LIMIT", "Wish"]

REGISTERED_LIMIT = 1000
"""Resources that clients may register."""

UNDER_WAY_LIMIT = 1000
"""Actions that may be under way, or recur, at a time."""


class Wish(Struct, frozen=True, kw_only=True):
    """An action that a client asks for; milliseconds. ``user_data`` is given back with its end."""

    action: str
    interval: int = 0
    timeout: int = 20_000
    start_delay: int = 0
    user_data: str = ""
    parameters: Mapping[str, str] = {}


Ended = Callable[[Executed], None]


class Executions:
    """``node`` is where they are done; ``call`` gives numbers; ``executed`` is told of every end."""

    def __init__(
        self,
        timetable: Timetable,
        agents: Agents,
        node: str,
        now: Callable[[], float],
        call: Callable[[], int],
        executed: Ended,
    ) -> None:
        self._timetable = timetable
        self._agents = agents
        self._node = node
        self._now = now
        self._call = call
        self._executed = executed
        self._registered: dict[str, Resource] = {}
        self._recurring: dict[tuple[str, str, int], int] = {}
        self._under_way = 0

    def register(self, resource: Resource) -> None:
        """Know a resource.

        Raises:
            CommandError: there are too many.
        """
        if resource.id not in self._registered and len(self._registered) >= REGISTERED_LIMIT:
            raise failure(errno.ENOSPC, f"there are {REGISTERED_LIMIT} resources already")
        self._registered[resource.id] = resource

    def unregister(self, name: str) -> None:
        """Know a resource no more, and do nothing to it again.

        Raises:
            CommandError: there is none of that name; ENODEV.
        """
        if self._registered.pop(name, None) is None:
            raise failure(errno.ENODEV, f"no resource '{name}' was registered")
        for key in [key for key in self._recurring if key[0] == name]:
            del self._recurring[key]

    def registered(self, name: str) -> Resource | None:
        """The resource that was registered under a name."""
        return self._registered.get(name)

    def execute(self, resource: Resource, wish: Wish, ended: Ended) -> int:
        """Do something to a resource; ``ended`` is told of the first end. Returns the number of the call.

        Raises:
            CommandError: too much is under way.
        """
        if self._under_way + len(self._recurring) >= UNDER_WAY_LIMIT:
            raise failure(errno.EAGAIN, f"{UNDER_WAY_LIMIT} actions are under way already")
        call = self._call()
        if wish.interval:
            self._recurring[resource.id, wish.action, wish.interval] = call
        self._under_way += 1
        self._timetable.after(wish.start_delay / 1000, self._begin, resource, wish, call, ended)
        return call

    def cancel(self, name: str, action: str, interval: int) -> None:
        """Do something again no more.

        Raises:
            CommandError: it was not being done again and again; ENOENT.
        """
        if self._recurring.pop((name, action, interval), None) is None:
            raise failure(errno.ENOENT, f"'{action}' of '{name}' does not recur every {interval} ms")

    def _begin(self, resource: Resource, wish: Wish, call: int, ended: Ended) -> None:
        outcome = self._agents.outcome(resource, self._node, wish.action, wish.timeout)
        operation = Operation(
            action=wish.action,
            interval=wish.interval,
            call=call,
            code=outcome.code,
            status=outcome.status,
            reason=outcome.reason,
            key=wish.user_data,
            changed=int(self._now()),
            taken=outcome.taken,
            timeout=wish.timeout,
        )
        self._timetable.after(outcome.taken / 1000, self._end, resource, wish, operation, ended)

    def _end(self, resource: Resource, wish: Wish, operation: Operation, ended: Ended) -> None:
        self._under_way -= 1
        executed = Executed(resource, self._node, operation)
        if operation.status == 0 and operation.code == 0:
            self._agents.perform(resource.id, self._node, operation.action)
        self._executed(executed)
        ended(executed)
        if wish.interval:
            self._recur(resource, wish, operation)

    def _recur(self, resource: Resource, wish: Wish, operation: Operation) -> None:
        key = (resource.id, wish.action, wish.interval)
        if self._recurring.get(key) == operation.call:
            seconds = max(wish.interval / 1000, SHORTEST_INTERVAL)
            self._timetable.after(seconds, self._again, resource, wish, operation)

    def _again(self, resource: Resource, wish: Wish, operation: Operation) -> None:
        key = (resource.id, wish.action, wish.interval)
        if self._recurring.get(key) != operation.call:
            return
        outcome = self._agents.outcome(resource, self._node, wish.action, wish.timeout)
        if (outcome.code, outcome.status) == (operation.code, operation.status):
            self._recur(resource, wish, operation)  # nothing new: nobody is told
            return
        self._under_way += 1
        self._begin(resource, wish, operation.call, lambda executed: None)
