"""Callouts: functions of plugins that a daemon calls at points that it names.

The set of callouts is exchanged as a whole: what is being worked on sees the old set or the new one, never a
mixture, and never none.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeAlias

from bridle.core.errors import DeclarationError

__all__ = ["Callout", "Callouts"]

Callout: TypeAlias = Callable[..., Any]


class Callouts:
    """The callouts at each of a daemon's hook points."""

    def __init__(self, points: Iterable[str] = ()) -> None:
        self._points = tuple(points)
        self._at: Mapping[str, tuple[Callout, ...]] = dict.fromkeys(self._points, ())

    @property
    def points(self) -> tuple[str, ...]:
        """The hook points that there are."""
        return self._points

    def at(self, point: str) -> tuple[Callout, ...]:
        """What is called at a point, in order."""
        return self._at[point]

    def check(self, point: str) -> None:
        """Refuse a point that there is not.

        Raises:
            DeclarationError: the text names those that there are.
        """
        if point not in self._points:
            known = f"there are {', '.join(self._points)}" if self._points else "this daemon has none"
            raise DeclarationError(f"there is no hook point '{point}': {known}")

    def exchange(self, callouts: Iterable[tuple[str, Callout]]) -> None:
        """Let these be called from now on, in place of all others."""
        at: dict[str, tuple[Callout, ...]] = dict.fromkeys(self._points, ())
        for point, callout in callouts:
            self.check(point)
            at[point] += (callout,)
        self._at = at
