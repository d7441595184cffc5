"""Statistics with samples, as Kea keeps them (``facts/kea.md`` §4): each change of a value is a sample with
its time, the newest first.

Whoever counts much collects first and calls :meth:`Statistics.add_many` once for a batch: it then has one
sample and one time.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import TypeAlias

from bridle.core.errors import ArgumentError
from bridle.core.manager import CommandManager
from bridle.core.messages import JSON, Command, Response
from bridle.core.results import Result
from bridle.daemon.arguments import argument

__all__ = ["SAMPLE_COUNT", "Statistics", "Value"]

Value: TypeAlias = int | float | str

# Samples kept of each, where nothing else is said: Kea's.
SAMPLE_COUNT = 20


class _Statistic:
    __slots__ = ("age", "count", "samples", "value")

    def __init__(self, value: Value, now: float, count: int, age: int) -> None:
        self.value = value
        self.count = count
        self.age = age
        self.samples: deque[tuple[Value, float]] = deque([(value, now)], maxlen=None if age else count)

    def set(self, value: Value, now: float) -> None:
        self.value = value
        self.samples.appendleft((value, now))
        if self.age:
            self._forget(now)

    def limit(self, count: int, age: int, now: float) -> None:
        """Keep so many samples, or those of so many seconds."""
        self.count, self.age = count, age
        kept = list(self.samples) if age else list(self.samples)[:count]
        self.samples = deque(kept, maxlen=None if age else count)
        if age:
            self._forget(now)

    def reset(self, now: float) -> None:
        self.samples.clear()
        self.set(type(self.value)(), now)

    def _forget(self, now: float) -> None:
        while len(self.samples) > 1 and self.samples[-1][1] < now - self.age:
            self.samples.pop()

    def describe(self) -> list[JSON]:
        return [[value, _stamp(when)] for value, when in self.samples]


class Statistics:
    """Values by name. May be used by several threads. ``clock`` gives seconds since the epoch."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._known: dict[str, _Statistic] = {}
        self._turn = threading.Lock()
        self._count = SAMPLE_COUNT
        self._age = 0

    def __getitem__(self, name: str) -> Value:
        """The present value. Raises KeyError."""
        return self._known[name].value

    def __contains__(self, name: str) -> bool:
        return name in self._known

    def get(self, name: str, default: Value = 0) -> Value:
        """The present value, or ``default`` where there is none."""
        known = self._known.get(name)
        return default if known is None else known.value

    def defaults(self, count: int, age: int) -> None:
        """Keep so many samples, or those of so many seconds (0: the count decides), of what begins from now
        on."""
        self._count, self._age = count or SAMPLE_COUNT, age

    def add(self, name: str, by: int = 1) -> None:
        """Add to a value; one that is not known yet begins with 0."""
        self.add_many({name: by})

    def add_many(self, changes: Mapping[str, int]) -> None:
        """Add to several values at one time."""
        now = self._clock()
        with self._turn:
            for name, by in changes.items():
                known = self._known.get(name)
                if known is None:
                    self._known[name] = _Statistic(by, now, self._count, self._age)
                elif by and not isinstance(known.value, str):
                    known.set(known.value + by, now)

    def set(self, name: str, value: Value) -> None:
        """Let a value be this."""
        self.set_many({name: value})

    def set_many(self, values: Mapping[str, Value]) -> None:
        """Let several values be these, at one time."""
        now = self._clock()
        with self._turn:
            for name, value in values.items():
                known = self._known.get(name)
                if known is None:
                    self._known[name] = _Statistic(value, now, self._count, self._age)
                else:
                    known.set(value, now)

    def remove(self, name: str) -> bool:
        """Forget a value; False where there is none."""
        with self._turn:
            return self._known.pop(name, None) is not None

    def remove_prefix(self, prefix: str) -> None:
        """Forget all values whose names begin so."""
        with self._turn:
            for name in [name for name in self._known if name.startswith(prefix)]:
                del self._known[name]

    def register(self, manager: CommandManager, *, removable: bool = True) -> None:
        """Answer Kea's commands. A daemon whose statistics are not ``removable`` has the four of D2."""
        register = manager.register_command
        register("statistic-get", self.statistic_get, access="read")
        register("statistic-get-all", self.statistic_get_all, access="read")
        register("statistic-reset", self.statistic_reset, access="write")
        register("statistic-reset-all", self.statistic_reset_all, access="write")
        if not removable:
            return
        register("statistic-remove", self.statistic_remove, access="write")
        register("statistic-remove-all", self.statistic_remove_all, access="write")
        register("statistic-sample-age-set", self.statistic_sample_age_set, access="write")
        register("statistic-sample-age-set-all", self.statistic_sample_age_set_all, access="write")
        register("statistic-sample-count-set", self.statistic_sample_count_set, access="write")
        register("statistic-sample-count-set-all", self.statistic_sample_count_set_all, access="write")

    def statistic_get(self, command: Command) -> dict[str, JSON]:
        """Tell the samples of one statistic, the newest first; an unknown one is left out."""
        name = _name(command)
        known = self._known.get(name)
        return {} if known is None else {name: known.describe()}

    def statistic_get_all(self, command: Command) -> dict[str, JSON]:
        """Tell the samples of all statistics, the newest first."""
        with self._turn:
            return {name: known.describe() for name, known in self._known.items()}

    def statistic_reset(self, command: Command) -> Response:
        """Set one statistic to zero, and forget its samples."""
        name = _name(command)
        with self._turn:
            known = self._known.get(name)
            if known is None:
                return Response(Result.ERROR, f"No '{name}' statistic found")
            known.reset(self._clock())
        return Response(text=f"Statistic '{name}' reset.")

    def statistic_reset_all(self, command: Command) -> Response:
        """Set all statistics to zero."""
        now = self._clock()
        with self._turn:
            for known in self._known.values():
                known.reset(now)
        return Response(text="All statistics reset to neutral values.")

    def statistic_remove(self, command: Command) -> Response:
        """Forget one statistic."""
        name = _name(command)
        if not self.remove(name):
            return Response(Result.ERROR, f"No '{name}' statistic found")
        return Response(text=f"Statistic '{name}' removed.")

    def statistic_remove_all(self, command: Command) -> Response:
        """Forget all statistics."""
        with self._turn:
            self._known.clear()
        return Response(text="Warning: statistic-remove-all command is deprecated. All statistics removed.")

    def statistic_sample_age_set(self, command: Command) -> Response:
        """Keep the samples of so many seconds (``duration``) of one statistic."""
        name, age = _name(command), _number(command, "duration")
        with self._turn:
            known = self._known.get(name)
            if known is None:
                return Response(Result.ERROR, f"No '{name}' statistic found")
            known.limit(known.count, age, self._clock())
        return Response(text=f"Statistic '{name}' duration limit is set.")

    def statistic_sample_age_set_all(self, command: Command) -> Response:
        """Keep the samples of so many seconds (``duration``) of all statistics, and of those to come."""
        age, now = _number(command, "duration"), self._clock()
        with self._turn:
            self._age = age
            for known in self._known.values():
                known.limit(known.count, age, now)
        return Response(text="All statistics duration limit are set.")

    def statistic_sample_count_set(self, command: Command) -> Response:
        """Keep so many samples (``max-samples``) of one statistic."""
        name, count = _name(command), _number(command, "max-samples")
        with self._turn:
            known = self._known.get(name)
            if known is None:
                return Response(Result.ERROR, f"No '{name}' statistic found")
            known.limit(_positive(count), 0, self._clock())
        return Response(text=f"Statistic '{name}' count limit is set.")

    def statistic_sample_count_set_all(self, command: Command) -> Response:
        """Keep so many samples (``max-samples``) of all statistics, and of those to come."""
        count, now = _positive(_number(command, "max-samples")), self._clock()
        with self._turn:
            self._count, self._age = count, 0
            for known in self._known.values():
                known.limit(count, 0, now)
        return Response(text="All statistics count limit are set.")


def _stamp(when: float) -> str:
    return datetime.fromtimestamp(when).strftime("%Y-%m-%d %H:%M:%S.%f")


def _name(command: Command) -> str:
    name = argument(command, "name")
    if not isinstance(name, str):
        raise ArgumentError("'name' parameter expected to be a string.", argument="name")
    return name


def _number(command: Command, name: str) -> int:
    number = argument(command, name)
    if type(number) is not int:
        raise ArgumentError(f"'{name}' parameter expected to be an integer.", argument=name)
    return number


def _positive(count: int) -> int:
    if count < 1:
        raise ArgumentError("'max-samples' parameter must not be zero", argument="max-samples")
    return count
