"""A daemon that gives much for little: ``bridle run tests.support.tap:Tap``."""

from __future__ import annotations

import bridle


class Tap(bridle.Daemon):
    """Answers with as much as is asked for."""

    @bridle.command
    def repeat(self, value: str) -> str:
        """Answer with the same."""
        return value

    @bridle.command
    def pour(self, size: int) -> str:
        """Answer with so many letters."""
        return "x" * size
