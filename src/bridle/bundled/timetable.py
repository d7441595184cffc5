"""Simulated time: what happens when, in an order that depends on nothing else.

Nothing here looks at a clock. Whoever owns a timetable lets it run up to a moment, and everything that is due
by then happens, each thing at its own moment.
"""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable
from typing import Any

__all__ = ["Timetable"]


class Timetable:
    """Things to do, by the second. :attr:`now` is the simulated time; it never goes back."""

    def __init__(self) -> None:
        self.now: float = 0.0
        self._due: list[tuple[float, int, Callable[..., object], tuple[Any, ...]]] = []
        self._numbers = itertools.count()

    def at(self, time: float, action: Callable[..., object], *arguments: Any) -> None:
        """Do something at a time. What is due at the same time is done in the order it was asked for."""
        heapq.heappush(self._due, (time, next(self._numbers), action, arguments))

    def after(self, seconds: float, action: Callable[..., object], *arguments: Any) -> None:
        """Do something so many seconds from now."""
        self.at(self.now + seconds, action, *arguments)

    @property
    def next(self) -> float | None:
        """When the next thing is due."""
        return self._due[0][0] if self._due else None

    def run(self, until: float, limit: int) -> bool:
        """Do what is due, at most ``limit`` things; True when nothing is left that was due."""
        due = self._due
        while due and due[0][0] <= until:
            if limit <= 0:
                return False
            limit -= 1
            time, _, action, arguments = heapq.heappop(due)
            self.now = max(self.now, time)
            action(*arguments)
        self.now = max(self.now, until)
        return True
