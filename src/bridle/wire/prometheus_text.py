"""Metrics in Prometheus' text format, version 0.0.4.

prometheus-client writes it too, but has each counter's name end in ``_total``; the names of others' metrics
do not.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Literal, TypeAlias

from msgspec import Struct

__all__ = ["CONTENT_TYPE", "Family", "Kind", "encode"]

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

Kind: TypeAlias = Literal["counter", "gauge"]

_ESCAPED = re.compile(r'["\\\n]')
_ESCAPES = {'"': r"\"", "\\": r"\\", "\n": r"\n"}


class Family(Struct):
    """A metric: its name, what it is, and a value for each set of labels. The later value of a set counts."""

    name: str
    kind: Kind
    help: str
    samples: dict[tuple[tuple[str, str], ...], float] = {}

    def add(self, value: float, labels: Mapping[str, str]) -> None:
        """Give a value."""
        self.samples[tuple(sorted(labels.items()))] = value


def encode(families: Iterable[Family]) -> bytes:
    """Write metrics, in the order of their names; those without a value are left out."""
    lines: list[str] = []
    for family in sorted((one for one in families if one.samples), key=lambda one: one.name):
        text = family.help.replace("\\", r"\\").replace("\n", r"\n")
        lines.append(f"# HELP {family.name} {text}")
        lines.append(f"# TYPE {family.name} {family.kind}")
        for labels, value in sorted(family.samples.items()):
            named = ",".join(f'{name}="{_escape(text)}"' for name, text in labels)
            lines.append(f"{family.name}{f'{{{named}}}' if named else ''} {_number(value)}")
    return "".join(f"{line}\n" for line in lines).encode("utf-8", "replace")


def _escape(text: str) -> str:
    return _ESCAPED.sub(lambda found: _ESCAPES[found[0]], text)


def _number(value: float) -> str:
    # A flag is a number, too: 1 or 0.
    if isinstance(value, int):
        return str(int(value))
    if value != value:
        return "NaN"
    if value in (float("inf"), float("-inf")):
        return "+Inf" if value > 0 else "-Inf"
    return str(int(value)) if value.is_integer() and abs(value) < 1e15 else repr(value)
