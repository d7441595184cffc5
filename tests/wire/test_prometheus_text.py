"""Metrics as Prometheus reads them: what is written is read back the same by its own parser."""

from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from bridle.wire.prometheus_text import Family, encode

NAMES = st.from_regex(r"[a-z][a-z0-9_]{0,10}[a-z]", fullmatch=True)
TEXTS = st.text(st.characters(codec="utf-8"), max_size=20)


def test_the_form() -> None:
    family = Family("sessions", "counter", "Sessions,\nall of them")
    family.add(5, {"b": 'x"y', "a": "z"})
    family.add(True, {})
    family.add(2.5, {"a": "\\"})
    family.add(1e20, {"a": "large"})
    empty = Family("nothing", "gauge", "None")
    assert encode([family, empty]).decode() == (
        "# HELP sessions Sessions,\\nall of them\n# TYPE sessions counter\nsessions{} 1\n".replace("{}", "")
        + 'sessions{a="\\\\"} 2.5\n'
        + 'sessions{a="large"} 1e+20\n'
        + 'sessions{a="z",b="x\\"y"} 5\n'
    )


def test_a_later_value_counts_and_families_are_in_order() -> None:
    one, other = Family("b", "gauge", "B"), Family("a", "gauge", "A")
    one.add(1, {})
    one.add(2, {})
    other.add(3, {})
    lines = encode([one, other]).decode().splitlines()
    assert [line for line in lines if not line.startswith("#")] == ["a 3", "b 2"]


@given(NAMES, st.dictionaries(NAMES, TEXTS, max_size=4), st.floats() | st.integers(-(2**53), 2**53))
def test_what_is_written_is_read_back(name: str, labels: dict[str, str], value: float) -> None:
    family = Family(name, "gauge", "Some help")
    family.add(value, labels)
    [read] = text_string_to_metric_families(encode([family]).decode())
    [sample] = read.samples
    assert (sample.name, sample.labels) == (name, labels)
    assert sample.value == value or math.isnan(value)
