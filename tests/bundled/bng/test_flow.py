"""Counters as functions of time are what counting packet by packet gives."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from bridle.bundled.bng.flow import Flow, Line

EXAMPLES = settings(max_examples=300, deadline=None)
# Rates and times whose products are exact.
rates = st.sampled_from([1.0, 2.0, 8.0, 64.0])
eighths = st.integers(0, 80).map(lambda n: n / 8)
losses = st.sampled_from([0.0, 0.1, 0.25, 0.5, 0.9, 0.99])


@EXAMPLES
@given(rates, losses, eighths, st.integers(1, 50), st.lists(st.tuples(st.booleans(), eighths), max_size=6))
def test_counters_are_those_of_the_packets(
    pps: float, loss: float, delay: float, number: int, steps: list[tuple[bool, float]]
) -> None:
    """Sent one by one and lost here and there, a flow's packets give the same counters."""
    flow, line = Flow(pps, enabled=True), Line(loss, 0.0)
    now, sent = 0.0, 0
    base = 0
    for running, seconds in [(True, delay), *steps]:
        if running:
            flow.run(now)
        else:
            flow.halt(now)
        now += seconds
        sent += int(seconds * pps) if running else 0
        # What is under way to the next packet when a flow is halted or looked at starts from nothing only
        # when it is halted.
        flow.halt(now)
        assert flow.sequence(now) == sent
        if seconds > 5:
            flow.reset(now)
            base = sent
    count = line.count(flow, number, now)
    arrived = [n for n in range(base + 1, sent + 1) if not _is_lost(n, loss, number)]
    assert count.tx == sent - base
    assert count.rx == len(arrived)
    if arrived:
        assert (count.first, count.last) == (arrived[0], arrived[-1])
        assert count.loss == arrived[-1] - arrived[0] + 1 - len(arrived)
    else:
        assert (count.first, count.last, count.loss) == (0, 0, 0)
    assert line.received(flow, number, now) == count.rx


def _is_lost(packet: int, loss: float, number: int) -> bool:
    phase = number * 0.6180339887498949 % 1.0
    return int(packet * loss + phase) > int((packet - 1) * loss + phase)


@EXAMPLES
@given(rates, losses, eighths, st.integers(1, 50), st.integers(0, 20))
def test_the_first_arrival_is_foreseen(
    pps: float, loss: float, delay: float, number: int, before: int
) -> None:
    """Just before the time that is foreseen nothing has arrived, and at that time something has."""
    flow, line = Flow(pps, enabled=True), Line(loss, delay)
    flow.sent = flow.base = before
    flow.run(10.0)
    arrival = line.first_arrival(flow, number)
    assert arrival is not None
    assert line.count(flow, number, arrival).rx == 1
    assert line.count(flow, number, arrival - 0.01).rx == 0


def test_what_is_all_lost_never_arrives() -> None:
    flow, line = Flow(10.0, enabled=True), Line(1.0, 0.0)
    flow.run(0.0)
    assert line.first_arrival(flow, 1) is None
    assert line.count(flow, 1, 100.0)[:3] == (1000, 0, 0)


def test_late_packets_are_sent_and_not_yet_received() -> None:
    flow, line = Flow(1.0, enabled=True), Line(0.0, 2.5)
    flow.run(0.0)
    assert line.count(flow, 1, 4.0)[:2] == (4, 1)


def test_a_rate_changes_from_now_on() -> None:
    flow = Flow(1.0, enabled=True)
    flow.run(0.0)
    flow.change(10.0, 100.0)
    assert flow.sequence(11.0) == 110
    flow.change(11.0, 0.0)
    assert flow.sequence(99.0) == 110
