"""Node attributes: values by name and node, dampened before they are written to the CIB's status, private
ones never written."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

from bridle.bundled.cluster.merge import counted
from bridle.bundled.timetable import Timetable

__all__ = ["Attribute", "Attributes", "failure_names"]

Write = Callable[[str, str, str | None, str | None], None]
"""Writes a value to the status: the attribute's name, the node, the value (None: it is gone), and the set."""


class Attribute:
    """One attribute, on all nodes. ``dampening`` is in seconds: how long its values must rest before they
    are written."""

    def __init__(self, name: str, *, private: bool = False, set_id: str | None = None) -> None:
        self.name = name
        self.private = private
        self.set_id = set_id
        self.dampening: float = 0.0
        self.values: dict[str, str | None] = {}
        self.unwritten: set[str] = set()
        self.turn = 0


class Attributes:
    """All attributes. ``write`` is called with what goes into the status."""

    def __init__(self, timetable: Timetable, write: Write) -> None:
        self._timetable = timetable
        self._write = write
        self._known: dict[str, Attribute] = {}

    def __iter__(self) -> Iterator[Attribute]:
        return iter(self._known.values())

    def __len__(self) -> int:
        return len(self._known)

    def get(self, name: str) -> Attribute | None:
        """The attribute of this name."""
        return self._known.get(name)

    def value(self, name: str, node: str) -> str | None:
        """What an attribute is on a node."""
        known = self._known.get(name)
        return known.values.get(node) if known is not None else None

    def update(
        self,
        name: str,
        node: str,
        value: str | None,
        *,
        dampening: float | None = None,
        private: bool = False,
        set_id: str | None = None,
    ) -> None:
        """Set an attribute's value on a node; None deletes it. ``value++`` and ``value+=N`` count on.

        ``dampening``, ``private`` and the set are taken when the attribute is new.
        """
        known = self._known.get(name)
        if known is None:
            known = self._known[name] = Attribute(name, private=private, set_id=set_id)
            known.dampening = dampening or 0.0
        if value is not None:
            value = counted("value", known.values.get(node), value)
        if node in known.values and known.values[node] == value:
            return
        known.values[node] = value
        known.unwritten.add(node)
        self._write_later(known)

    def set_dampening(self, name: str, seconds: float) -> bool:
        """Change how long an attribute's values must rest, and write what is waiting; False where there is
        none of that name."""
        known = self._known.get(name)
        if known is None:
            return False
        known.dampening = seconds
        self._write_now(known)
        return True

    def matching(self, pattern: re.Pattern[str]) -> list[str]:
        """The names that a pattern is found in."""
        return [name for name in self._known if pattern.search(name)]

    def refresh(self) -> None:
        """Write everything again."""
        for known in self._known.values():
            known.unwritten.update(known.values)
            self._write_now(known)

    def forget(self, node: str) -> None:
        """Know nothing of a node any more; what stands in the status is somebody else's to remove."""
        for known in self._known.values():
            known.values.pop(node, None)
            known.unwritten.discard(node)

    def _write_later(self, known: Attribute) -> None:
        """Once no value has changed for as long as the attribute is dampened."""
        known.turn += 1
        if known.dampening > 0:
            self._timetable.after(known.dampening, self._written_in_turn, known, known.turn)
        else:
            self._write_now(known)

    def _written_in_turn(self, known: Attribute, turn: int) -> None:
        if known.turn == turn:
            self._write_now(known)

    def _write_now(self, known: Attribute) -> None:
        known.turn += 1
        nodes, known.unwritten = sorted(known.unwritten), set()
        if known.private:
            return
        for node in nodes:
            self._write(known.name, node, known.values.get(node), known.set_id)


def failure_names(resource: str | None, operation: str | None, interval: int) -> re.Pattern[str]:
    """The names of attributes that tell of failures: of all resources, of one, or of one operation with its
    interval in milliseconds."""
    if resource is None:
        return re.compile(r"^(fail-count|last-failure)-")
    name = rf"^(fail-count|last-failure)-{re.escape(resource)}"
    if operation is None:
        return re.compile(rf"{name}(#.+_[0-9]+)?$")
    return re.compile(rf"{name}#{re.escape(operation)}_{interval}$")
