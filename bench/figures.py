"""What was measured, reduced to the lines of the table: medians over the rounds, ours and the real one's."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import Literal, TypeAlias

import msgspec

from bench.load import Run

Better: TypeAlias = Literal["more", "less"]


class Measured(msgspec.Struct, frozen=True):
    """One program's figure: the median, the extremes, and what went wrong in all rounds together."""

    value: float
    lowest: float
    highest: float
    p99_us: float | None = None
    cpu_us: float | None = None
    errors: int = 0
    timeouts: int = 0
    wrong: int = 0

    @property
    def trouble(self) -> str:
        """What went wrong, in words; empty if nothing did."""
        counts = {"wrong": self.wrong, "errors": self.errors, "timeouts": self.timeouts}
        return ", ".join(f"{count} {name}" for name, count in counts.items() if count)


class Figure(msgspec.Struct, frozen=True):
    """A line of the table. ``aim`` is what the project wants; nothing fails where it is missed. ``peer`` is
    the real program beside ours."""

    scenario: str
    what: str
    unit: str
    better: Better
    ours: Measured | None
    real: Measured | None
    aim: str = ""
    peer: str = "Kea"

    @property
    def ratio(self) -> float | None:
        """How many times better ours is than the real one; None where one is missing or did nothing."""
        if self.ours is None or self.real is None:
            return None
        above, below = (self.ours, self.real) if self.better == "more" else (self.real, self.ours)
        return above.value / below.value if below.value > 0 else None


def of_values(values: Sequence[float], wrong: int = 0) -> Measured | None:
    """Reduce plain measurements, one for each round; None where there are none."""
    if not values:
        return None
    return Measured(statistics.median(values), min(values), max(values), wrong=wrong)


def of_rates(runs: Sequence[Run]) -> Measured | None:
    """Reduce runs to answers a second."""
    return _reduced(runs, [run.rate for run in runs])


def of_cpu(runs: Sequence[Run]) -> Measured | None:
    """Reduce runs to milliseconds of the asked program's processor time for each answer."""
    return _reduced(runs, [run.cpu_us / 1e3 for run in runs])


def _reduced(runs: Sequence[Run], values: Sequence[float]) -> Measured | None:
    if not runs:
        return None
    return Measured(
        statistics.median(values),
        min(values),
        max(values),
        p99_us=statistics.median(run.p99_us for run in runs),
        cpu_us=statistics.median(run.cpu_us for run in runs),
        errors=sum(run.errors for run in runs),
        timeouts=sum(run.timeouts for run in runs),
        wrong=sum(run.wrong for run in runs),
    )
