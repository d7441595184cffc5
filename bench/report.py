"""How the figures are shown: a Markdown table for people, JSON for programs."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from bench.figures import Figure, Measured
from bench.programs import OURS

MISSING = "-"

HEAD = (
    "scenario",
    "what",
    "unit",
    OURS,
    "real",
    "ratio",
    f"p99 ms {OURS}",
    "real",
    f"CPU us {OURS}",
    "real",
    "trouble",
    "aim",
)
TO_THE_RIGHT = range(3, 10)


def markdown(figures: Sequence[Figure]) -> str:
    """The table, padded so that it reads well unrendered too."""
    rows = [HEAD, *(_row(figure) for figure in figures)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(HEAD))]
    lines = [_line(row, widths) for row in rows]
    rule = [
        ("-" * (width - 1) + ":") if column in TO_THE_RIGHT else "-" * width
        for column, width in enumerate(widths)
    ]
    return "\n".join([lines[0], "| " + " | ".join(rule) + " |", *lines[1:]])


def as_json(machine: str, figures: Sequence[Figure], problems: Sequence[str], notes: Sequence[str]) -> str:
    """All that is known, the extremes of the rounds included."""
    rows = [{**msgspec.structs.asdict(figure), "ratio": figure.ratio} for figure in figures]
    document = {"machine": machine, "figures": rows, "problems": list(problems), "notes": list(notes)}
    return msgspec.json.format(msgspec.json.encode(document), indent=2).decode()


def _row(figure: Figure) -> tuple[str, ...]:
    ours, real = figure.ours, figure.real
    return (
        figure.scenario,
        figure.what if figure.real is None else f"{figure.what} ({figure.peer})",
        figure.unit,
        _value(ours),
        _value(real),
        _ratio(figure),
        _thousandth(ours.p99_us if ours else None),
        _thousandth(real.p99_us if real else None),
        _plain(ours.cpu_us if ours else None),
        _plain(real.cpu_us if real else None),
        _trouble(figure),
        figure.aim,
    )


def _line(row: Sequence[str], widths: Sequence[int]) -> str:
    cells = [
        cell.rjust(width) if column in TO_THE_RIGHT else cell.ljust(width)
        for column, (cell, width) in enumerate(zip(row, widths, strict=True))
    ]
    return "| " + " | ".join(cells) + " |"


def _value(measured: Measured | None) -> str:
    if measured is None:
        return MISSING
    return f"{measured.value:,.0f}" if measured.value >= 1000 else f"{measured.value:,.1f}"


def _ratio(figure: Figure) -> str:
    ratio = figure.ratio
    return MISSING if ratio is None else f"{ratio:,.1f}x"


def _thousandth(value: float | None) -> str:
    return MISSING if value is None else f"{value / 1e3:,.2f}"


def _plain(value: float | None) -> str:
    return MISSING if not value else f"{value:,.0f}"


def _trouble(figure: Figure) -> str:
    both = ((OURS, figure.ours), (figure.peer, figure.real))
    parts = [f"{name}: {m.trouble}" for name, m in both if m is not None and m.trouble]
    return "; ".join(parts) or "none"
