"""The flows of all sessions: which run, which are verified, what they have carried.

A session's flows are numbered from its ``first_flow`` on, upstream before downstream, family by family; a
family that the session does not have is left out. A flow is verified when its first packet has arrived.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from bridle.bundled.bng.flow import FAMILIES, Count, Flow, Line
from bridle.bundled.bng.session import Session
from bridle.bundled.bng.settings import BngSettings
from bridle.bundled.bng.tally import Tally
from bridle.bundled.bng.timetable import Timetable

__all__ = ["DIRECTIONS", "SessionFlow", "Totals", "Traffic"]

DIRECTIONS = ("upstream", "downstream")
# Bytes of a packet as it is sent and received, by family (facts, measured).
TX_LENGTH = (106, 126, 126)
RX_LENGTH = (102, 122, 122)
_ROUNDS = range(len(FAMILIES) * 2)


class SessionFlow(NamedTuple):
    """A flow of a session: ``place`` is 0 for upstream IPv4, 1 for downstream IPv4, and so on."""

    number: int
    place: int
    flow: Flow

    @property
    def family(self) -> int:
        """Its place among the families."""
        return self.place >> 1

    @property
    def upstream(self) -> bool:
        """True when the session sends it."""
        return not self.place & 1


class Totals(NamedTuple):
    """Packets of a session's traffic since it exists."""

    tx: int
    rx: int
    tx_bytes: int
    rx_bytes: int


class Traffic:
    """Session traffic."""

    def __init__(self, settings: BngSettings, timetable: Timetable, tally: Tally) -> None:
        wanted = settings.session_traffic
        self._rates = (wanted.ipv4_pps, wanted.ipv6_pps, wanted.ipv6pd_pps)
        self._timetable = timetable
        self._tally = tally
        self._stop_verified = settings.traffic.stop_verified
        self.line: Line = Line(settings.simulation.traffic_loss, settings.simulation.traffic_delay)
        self.open: bool = settings.traffic.autostart
        self._expected: dict[float, list[Session]] = {}

    def equip(self, session: Session, first: int) -> int:
        """Give a new session its flows, numbered from ``first`` on; the number after them."""
        if not any(self._rates):
            return first
        has = (session.access.ipv4, session.access.ipv6, session.access.dhcpv6)
        flows: list[Flow | None] = []
        for index in _ROUNDS:
            rate = self._rates[index >> 1] if has[index >> 1] else 0.0
            flows.append(Flow(rate, session.access.traffic_autostart) if rate else None)
        session.first_flow = first
        session.flows = tuple(flows)
        count = sum(flow is not None for flow in flows)
        self._tally.flows += count
        return first + count

    def flows(self, session: Session) -> Iterator[SessionFlow]:
        """A session's flows."""
        number = session.first_flow
        for index, flow in enumerate(session.flows):
            if flow is not None:
                yield SessionFlow(number, index, flow)
                number += 1

    def count(self, flow: SessionFlow) -> Count:
        """What a flow has carried."""
        return self.line.count(flow.flow, flow.number, self._timetable.now)

    def refresh(self, session: Session) -> None:
        """Let run what should, and halt what should not."""
        if not session.flows:
            return
        now = self._timetable.now
        passes = self.open and session.established and session.access.interface.up
        arrivals: set[float] = set()
        for number, index, flow in self.flows(session):
            if not (passes and flow.enabled and session.flow_active(index >> 1)):
                if flow.since is not None:
                    flow.halt(now)
            elif flow.since is None:
                flow.run(now)
                if not session.verified >> index & 1:
                    arrival = self.line.first_arrival(flow, number)
                    if arrival is not None:
                        arrivals.add(arrival)
        for arrival in arrivals:
            self._expect(session, arrival)

    def _expect(self, session: Session, time: float) -> None:
        """Look at a session when a first packet arrives. Many sessions have theirs at the same time."""
        expected = self._expected.get(time)
        if expected is None:
            expected = self._expected[time] = []
            self._timetable.at(time, self._verify_all, time)
        expected.append(session)

    def _verify_all(self, time: float) -> None:
        for session in self._expected.pop(time):
            self._verify(session)

    def _verify(self, session: Session) -> None:
        now = self._timetable.now
        stopped = False
        for number, index, flow in self.flows(session):
            if not session.verified >> index & 1 and self.line.count(flow, number, now).rx:
                session.verified |= 1 << index
                self._tally.verified += 1
                if self._stop_verified:
                    flow.enabled = False
                    stopped = True
        if stopped:
            self.refresh(session)

    def enable(self, session: Session, enabled: bool, directions: tuple[str, ...] = DIRECTIONS) -> None:
        """Start or stop a session's flows."""
        for _, index, flow in self.flows(session):
            if DIRECTIONS[index & 1] in directions:
                flow.enabled = enabled
        self.refresh(session)

    def reset(self, session: Session) -> None:
        """Set a session's traffic counters to nothing; packet numbers go on."""
        if not session.flows:
            return
        now = self._timetable.now
        totals = self.totals(session)
        session.traffic_tx, session.traffic_rx = totals.tx, totals.rx
        session.traffic_tx_bytes, session.traffic_rx_bytes = totals.tx_bytes, totals.rx_bytes
        for flow in session.flows:
            if flow is not None:
                flow.reset(now)
        self._tally.verified -= session.verified.bit_count()
        session.verified = 0
        # Whoever runs is verified anew with its next packet.
        for number, _, flow in self.flows(session):
            arrival = self.line.first_arrival(flow, number)
            if arrival is not None:
                self._expect(session, arrival)

    forget = reset
    """A session begins anew: to its traffic that is the same."""

    def totals(self, session: Session) -> Totals:
        """What all of a session's flows have carried."""
        tx, rx = session.traffic_tx, session.traffic_rx
        tx_bytes, rx_bytes = session.traffic_tx_bytes, session.traffic_rx_bytes
        now, line = self._timetable.now, self.line
        number = session.first_flow
        for index, flow in enumerate(session.flows):
            if flow is None:
                continue
            if index & 1:
                packets = flow.sequence(now) - flow.base if line.clear else line.received(flow, number, now)
                rx += packets
                rx_bytes += packets * RX_LENGTH[index >> 1]
            else:
                packets = flow.sequence(now) - flow.base
                tx += packets
                tx_bytes += packets * TX_LENGTH[index >> 1]
            number += 1
        return Totals(tx, rx, tx_bytes, rx_bytes)
