"""Traffic that is counted without a packet being sent: counters are functions of time."""

from __future__ import annotations

from bisect import bisect_left
from typing import NamedTuple

__all__ = ["FAMILIES", "Count", "Flow", "Line"]

FAMILIES = ("ipv4", "ipv6", "ipv6pd")
"""What session traffic there is; each upstream and downstream."""

# What rounding may take from a product that should be whole.
_ROUNDING = 1e-6
# As far as the first packet that is not lost is looked for.
_HORIZON = 1 << 40


class Flow:
    """Packets of one direction, so many a second, numbered from 1 on for as long as the flow lives.

    ``since`` is when it began to run (None: it does not), ``sent`` how many it had sent by then, ``base``
    how many by the last time its counters were set to nothing.
    """

    __slots__ = ("base", "enabled", "pps", "sent", "since")

    def __init__(self, pps: float, enabled: bool) -> None:
        self.pps: float = pps
        self.enabled: bool = enabled
        self.since: float | None = None
        self.sent: int = 0
        self.base: int = 0

    def sequence(self, now: float) -> int:
        """How many packets were sent."""
        if self.since is None or now <= self.since:
            return self.sent
        return self.sent + int((now - self.since) * self.pps + _ROUNDING)

    def run(self, now: float) -> None:
        """Begin to send: the first packet leaves when the time for one has passed."""
        if self.since is None:
            self.since = now

    def halt(self, now: float) -> None:
        """Send no more."""
        self.sent = self.sequence(now)
        self.since = None

    def change(self, now: float, pps: float) -> None:
        """Send at another rate."""
        if self.since is not None:
            self.sent = self.sequence(now)
            self.since = now
        self.pps = pps

    def reset(self, now: float) -> None:
        """Count from nothing; the numbers of the packets go on."""
        self.base = self.sequence(now)

    def time_of(self, number: int) -> float:
        """When a packet is sent, or was, if the flow has run since."""
        if self.since is None or not self.pps:
            return 0.0
        return self.since + max(0, number - self.sent) / self.pps


class Count(NamedTuple):
    """The counters of a flow: packets sent and received, the numbers of the first and the last one received,
    and how many are missing between those."""

    tx: int
    rx: int
    first: int
    last: int
    loss: int


_NOTHING = Count(0, 0, 0, 0, 0)


class Line:
    """What becomes of packets on their way: a share is lost, evenly, and the rest is late by ``delay``."""

    def __init__(self, loss: float, delay: float) -> None:
        self._loss = loss
        self.delay = delay
        self.clear: bool = not (loss or delay)
        """True where whatever is sent has arrived."""

    def received(self, flow: Flow, number: int, now: float) -> int:
        """How many packets of the flow with this number have arrived."""
        if self.clear:
            return flow.sequence(now) - flow.base
        return self.count(flow, number, now).rx

    def count(self, flow: Flow, number: int, now: float) -> Count:
        """The counters of the flow with this number."""
        sent = flow.sequence(now)
        base = flow.base
        if self.clear:
            if sent == base:
                return _NOTHING
            return Count(sent - base, sent - base, base + 1, sent, 0)
        arrived = max(base, flow.sequence(now - self.delay))
        before, by_now = self._received(number, base), self._received(number, arrived)
        received = by_now - before
        if not received:
            return Count(sent - base, 0, 0, 0, 0)
        numbers = range(arrived + 1)
        first = bisect_left(numbers, before + 1, key=lambda n: self._received(number, n))
        last = bisect_left(numbers, by_now, key=lambda n: self._received(number, n))
        return Count(sent - base, received, first, last, last - first + 1 - received)

    def _received(self, number: int, packets: int) -> int:
        """How many of a flow's first packets arrive."""
        phase = number * 0.6180339887498949 % 1.0
        return packets - int(packets * self._loss + phase)

    def first_arrival(self, flow: Flow, number: int) -> float | None:
        """When the first packet arrives that is counted, if the flow goes on running; None: never."""
        if flow.since is None or not flow.pps or self._loss >= 1.0:
            return None
        first = flow.base + 1
        if self._loss:
            wanted = self._received(number, flow.base) + 1
            numbers = range(_HORIZON)
            first = bisect_left(numbers, wanted, lo=flow.base, key=lambda n: self._received(number, n))
        return flow.time_of(max(first, flow.sent + 1)) + self.delay
