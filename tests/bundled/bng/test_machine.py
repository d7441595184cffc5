"""Commands in any order against a model of the session table: states, counters and flows agree with it.

The model knows sessions, not protocols: a session is up a moment after it was started, unless its interface
is silent, and its flows send whenever it is up, has an address, and nobody has stopped them.
"""

from __future__ import annotations

import asyncio
import math
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from bridle.bundled.bng.bng import Bng
from bridle.core.messages import Command, Response
from bridle.daemon.document import Document

PPS = 4
FAMILIES = ("ipv4", "ipv6", "ipv6pd")
DIRECTIONS = ("upstream", "downstream")
# Commands are given at whole seconds; sessions come up between them, so that nothing happens at once.
TICK = Fraction(1, 10)
RECONNECT = Fraction(55, 100)
CONFIGURATION: dict[str, Any] = {
    "interfaces": {
        "network": {"interface": "n0"},
        "access": [
            {"interface": "a0", "outer-vlan-min": 1, "outer-vlan-max": 9},
            {"interface": "a0", "outer-vlan-min": 11, "outer-vlan-max": 19, "session-group-id": 2},
            {"interface": "b0", "outer-vlan-min": 1, "outer-vlan-max": 9, "session-group-id": 2},
        ],
    },
    "sessions": {"count": 6, "reconnect-delay": float(RECONNECT)},
    "pppoe": {"reconnect": True},
    "session-traffic": {f"{family}-pps": PPS for family in FAMILIES},
    "simulation": {"silent-interfaces": ["b0"]},
}


@dataclass
class Flow:
    """Packets of one direction."""

    enabled: bool = True
    since: Fraction | None = None
    sent: int = 0
    base: int = 0
    verified: bool = False

    def sequence(self, now: Fraction) -> int:
        running = 0 if self.since is None else math.floor((now - self.since) * PPS)
        return self.sent + running


@dataclass
class Session:
    """A session of the model; ``next`` is what happens to it by itself, and when."""

    number: int
    group: int
    silent: bool
    state: str = "Idle"
    flapped: int = 0
    ipv4: bool = False
    ipv6: bool = False
    next: tuple[Fraction, str] | None = None
    flows: dict[str, Flow] = field(
        default_factory=lambda: {f"{way}-{family}": Flow() for family in FAMILIES for way in DIRECTIONS}
    )

    def has_address(self, flow: str) -> bool:
        return self.ipv4 if flow.endswith("ipv4") else self.ipv6


class Model:
    """The session table as it should be."""

    def __init__(self) -> None:
        self.now = Fraction(0)
        self.passes = True
        self.most = 0
        self.sessions = [
            Session(number, 2 if number % 3 != 1 else 0, silent=number % 3 == 0) for number in range(1, 7)
        ]
        for session in self.sessions:
            session.next = (TICK, "start")

    def advance(self, until: Fraction) -> None:
        while True:
            due = [s for s in self.sessions if s.next is not None and s.next[0] <= until]
            if not due:
                break
            session = min(due, key=lambda s: (s.next or (until, ""))[0])
            assert session.next is not None
            time, what = session.next
            self._see_packets(time)
            self.now = time
            session.next = None
            if what == "start":
                self._start(session)
            else:
                self._reset(session)
                session.next = (time + TICK, "start")
        self._see_packets(until)
        self.now = until

    def _see_packets(self, until: Fraction) -> None:
        for session in self.sessions:
            for flow in session.flows.values():
                flow.verified = flow.verified or flow.sequence(until) > flow.base

    def _start(self, session: Session) -> None:
        if session.silent:
            session.state = "PPPoE Init"
            return
        session.state = "Established"
        session.ipv4 = session.ipv6 = True
        self.most = max(self.most, self.established)
        self.refresh(session)

    @property
    def established(self) -> int:
        return sum(session.state == "Established" for session in self.sessions)

    def refresh(self, session: Session) -> None:
        for name, flow in session.flows.items():
            runs = (
                self.passes and session.state == "Established" and flow.enabled and session.has_address(name)
            )
            if runs and flow.since is None:
                flow.since = self.now
            elif not runs and flow.since is not None:
                flow.sent = flow.sequence(self.now)
                flow.since = None

    def _reset(self, session: Session) -> None:
        session.state = "Idle"
        self.reset_traffic(session)

    def reset_traffic(self, session: Session) -> None:
        for flow in session.flows.values():
            flow.base = flow.sequence(self.now)
            flow.verified = False

    def end(self, session: Session, *, comes_back: bool) -> None:
        if session.state == "Terminated":
            if not comes_back:
                session.next = None
            return
        session.flapped += session.state != "Idle"
        session.state = "Terminated"
        session.ipv4 = session.ipv6 = False
        self.refresh(session)
        session.next = (self.now + RECONNECT, "back") if comes_back else None

    def start(self, session: Session) -> bool:
        if session.state != "Terminated":
            return False
        self._reset(session)
        session.next = (self.now + TICK, "start")
        return True


whom = st.one_of(
    st.integers(1, 6).map(lambda number: {"session-id": number}),
    st.just({}),
    st.sampled_from([0, 2, 5]).map(lambda group: {"session-group-id": group}),
)


@settings(max_examples=60, stateful_step_count=25, deadline=None)
class SessionTable(RuleBasedStateMachine):
    """The daemon and its model, side by side."""

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.model = Model()
        self.runner.run(self._open())

    async def _open(self) -> None:
        self.daemon = Bng(clock=lambda: float(self.model.now))
        document = Document({"bng": CONFIGURATION})
        self.daemon.configure(self.daemon.check_configuration(document))
        await self.daemon.start()

    def teardown(self) -> None:
        self.runner.run(self.daemon.stop())
        self.runner.close()

    def ask(self, name: str, arguments: dict[str, Any] | None = None) -> Response:
        command = Command(name, arguments or {})
        return self.runner.run(self.daemon.manager.execute(command))

    def value(self, name: str, arguments: dict[str, Any] | None = None) -> Any:
        response = self.ask(name, arguments)
        assert response.result == 0, response
        return response.value

    def addressed(self, arguments: dict[str, int]) -> list[Session]:
        return [
            session
            for session in self.model.sessions
            if arguments.get("session-id", session.number) == session.number
            and arguments.get("session-group-id", session.group) == session.group
        ]

    # What may happen.

    @rule(seconds=st.integers(1, 7))
    def wait(self, seconds: int) -> None:
        """Time passes."""
        self.model.advance(self.model.now + seconds)

    @rule(arguments=whom)
    def stop(self, arguments: dict[str, int]) -> None:
        """Sessions end for good."""
        self.value("session-stop", arguments)
        for session in self.addressed(arguments):
            self.model.end(session, comes_back=False)

    @rule(number=st.integers(1, 6))
    def terminate(self, number: int) -> None:
        """A session ends, and comes back."""
        self.value("terminate", {"session-id": number})
        session = self.model.sessions[number - 1]
        if session.state != "Terminated":
            self.model.end(session, comes_back=True)

    @rule(number=st.integers(1, 6))
    def start_one(self, number: int) -> None:
        """A session that has ended is started; any other cannot be."""
        response = self.ask("session-start", {"session-id": number})
        if self.model.start(self.model.sessions[number - 1]):
            assert response.result == 0
        else:
            assert (response.text, response.code) == ("wrong session state", 405)

    @rule(arguments=whom.filter(lambda arguments: "session-id" not in arguments))
    def start_many(self, arguments: dict[str, int]) -> None:
        """Whatever has ended is started."""
        self.value("session-start", arguments)
        for session in self.addressed(arguments):
            self.model.start(session)

    @rule(arguments=whom)
    def restart(self, arguments: dict[str, int]) -> None:
        """Sessions end and come back, those that had ended as well."""
        self.value("session-restart", arguments)
        for session in self.addressed(arguments):
            if session.state == "Terminated":
                session.next = (self.model.now + RECONNECT, "back")
            elif session.state != "Idle":
                self.model.end(session, comes_back=True)

    @rule(arguments=whom, enabled=st.booleans(), direction=st.sampled_from([*DIRECTIONS, "both", None]))
    def switch(self, arguments: dict[str, int], enabled: bool, direction: str | None) -> None:
        """Traffic of sessions starts or stops."""
        name = "session-traffic-start" if enabled else "session-traffic-stop"
        self.value(name, {**arguments, **({"direction": direction} if direction else {})})
        for session in self.addressed(arguments):
            for flow_name, flow in session.flows.items():
                if direction in (None, "both") or flow_name.startswith(str(direction)):
                    flow.enabled = enabled
            self.model.refresh(session)

    @rule(arguments=whom)
    def reset(self, arguments: dict[str, int]) -> None:
        """Counters of traffic go to nothing."""
        self.value("session-traffic-reset", arguments)
        for session in self.addressed(arguments):
            self.model.reset_traffic(session)

    @rule(passes=st.booleans())
    def gate(self, passes: bool) -> None:
        """All traffic starts or stops."""
        self.value("traffic-start" if passes else "traffic-stop")
        self.model.passes = passes
        for session in self.model.sessions:
            self.model.refresh(session)

    @rule(arguments=whom, opened=st.booleans(), version=st.sampled_from(["ipcp", "ip6cp"]))
    def ncp(self, arguments: dict[str, int], opened: bool, version: str) -> None:
        """IPv4 or IPv6 opens or closes."""
        self.value(f"{version}-{'open' if opened else 'close'}", arguments)
        for session in self.addressed(arguments):
            if session.state == "Established":
                if version == "ipcp":
                    session.ipv4 = opened
                else:
                    session.ipv6 = opened
                self.model.refresh(session)

    @rule(number=st.integers(7, 99))
    def unknown(self, number: int) -> None:
        """There is no such session."""
        for name in ("session-info", "session-start", "terminate", "ipcp-close", "session-traffic-stop"):
            response = self.ask(name, {"session-id": number})
            assert (response.text, response.code) == ("session not found", 404)

    # What must hold.

    @invariant()
    def counters_agree(self) -> None:
        """The table's counters are the model's."""
        sessions = self.model.sessions
        told = self.value("session-counters")
        states = [session.state for session in sessions]
        assert told["sessions"] == 6
        assert told["sessions-established"] == states.count("Established")
        assert told["sessions-established-max"] == self.model.most
        assert told["sessions-outstanding"] == states.count("PPPoE Init")
        assert told["sessions-terminated"] == states.count("Terminated")
        assert told["sessions-flapped"] == sum(session.flapped for session in sessions)
        assert told["dhcpv6-sessions-established"] == sum(session.ipv6 for session in sessions)
        verified = [flow.verified for session in sessions for flow in session.flows.values()]
        assert told["session-traffic-flows"] == len(verified)
        assert told["session-traffic-flows-verified"] == sum(verified)
        assert self.value("session-traffic") == {
            "total-flows": len(verified),
            "verified-flows": sum(verified),
        }

    @invariant()
    def sessions_agree(self) -> None:
        """Each session is as the model says."""
        addresses = set()
        for session in self.model.sessions:
            told = self.value("session-info", {"session-id": session.number})
            assert told["session-state"] == session.state
            assert told["flapped"] == session.flapped
            assert ("ipv4-address" in told) == session.ipv4
            if session.state == "Established":
                assert ("ipv6-delegated-prefix" in told) == session.ipv6
            if session.ipv4:
                addresses.add(told["ipv4-address"])
            self._flows_agree(session, told["session-traffic"])
        assert len(addresses) == sum(session.ipv4 for session in self.model.sessions)

    def _flows_agree(self, session: Session, told: dict[str, int]) -> None:
        assert told["verified-flows"] == sum(flow.verified for flow in session.flows.values())
        for name, flow in session.flows.items():
            packets = flow.sequence(self.model.now) - flow.base
            assert told[f"{name}-tx-packets"] == told[f"{name}-rx-packets"] == packets, name
            assert told[f"{name}-rx-first-seq"] == (flow.base + 1 if packets else 0)
            assert told[f"{name}-loss"] == 0

    @invariant()
    def pending_agree(self) -> None:
        """Pending is what is not up, or not verified."""
        pending = [
            session.number
            for session in self.model.sessions
            if session.state != "Established" or not all(flow.verified for flow in session.flows.values())
        ]
        assert [one["session-id"] for one in self.value("sessions-pending")] == pending


TestSessionTable = SessionTable.TestCase

# Many steps are many commands: on a machine that others keep busy they take longer than a test mostly may.
pytestmark = pytest.mark.timeout(180)
