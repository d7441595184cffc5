"""A daemon for tests that says what it is told, run as ``bridle run tests.support.parrot:Parrot``."""

from __future__ import annotations

from typing import Any

import bridle


class Parrot(bridle.Daemon):
    """Repeats values, and makes answers of any size."""

    @bridle.command(access="read")
    def repeat(self, value: Any) -> Any:
        """Answer with the value."""
        return value

    @bridle.command(access="read")
    def recite(self, lines: int) -> list[str]:
        """Answer with so many lines of 100 characters, numbered."""
        return [f"{number:0100}" for number in range(lines)]
