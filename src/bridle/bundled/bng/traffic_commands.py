"""Commands about traffic, streams and interfaces."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TypeAlias

from bridle.bundled.bng.answers import Answers
from bridle.bundled.bng.calls import GROUPED, Call, asked, error, warning
from bridle.bundled.bng.flow import Flow
from bridle.bundled.bng.session import Interface, Session
from bridle.bundled.bng.session_answers import Answer
from bridle.bundled.bng.simulation import Simulation
from bridle.bundled.bng.streams import Stream
from bridle.bundled.bng.traffic import DIRECTIONS, SessionFlow

__all__ = ["TrafficCommands"]

_FILTER = (
    *GROUPED,
    "flows",
    "flow-id",
    "flow-id-min",
    "flow-id-max",
    "name",
    "interface",
    "direction",
    "verified-only",
    "bidirectional-verified-only",
    "pending-only",
)
# A flow of a session, or a stream of nobody.
_Any: TypeAlias = tuple[Session, SessionFlow] | Stream


class TrafficCommands:
    """``session-traffic…``, ``stream-…``, ``multicast-traffic-…``, ``traffic-…`` and interfaces."""

    simulation: Simulation
    answers: Answers

    # Session traffic.

    @asked("session-traffic", old=True)
    def session_traffic(self, call: Call) -> Answer:
        """Count the flows of all sessions, and those that are verified."""
        tally = self.simulation.tally
        return {"total-flows": tally.flows, "verified-flows": tally.verified}

    @asked("session-traffic-enabled", *GROUPED, "direction", access="write", old=True, hidden=True)
    @asked("session-traffic-start", *GROUPED, "direction", access="write", old=True)
    def session_traffic_start(self, call: Call) -> None:
        """Start the traffic of sessions, in one direction or both."""
        self._enable(call, enabled=True)

    @asked("session-traffic-disabled", *GROUPED, "direction", access="write", old=True, hidden=True)
    @asked("session-traffic-stop", *GROUPED, "direction", access="write", old=True)
    def session_traffic_stop(self, call: Call) -> None:
        """Stop the traffic of sessions, in one direction or both."""
        self._enable(call, enabled=False)

    def _enable(self, call: Call, *, enabled: bool) -> None:
        sessions = call.sessions
        directions = _directions(call)
        for session in sessions:
            self.simulation.traffic.enable(session, enabled, directions)

    @asked("session-traffic-reset", *GROUPED, access="write")
    def session_traffic_reset(self, call: Call) -> None:
        """Set the counters of session traffic to nothing; packets are numbered on."""
        for session in call.sessions:
            self.simulation.traffic.reset(session)

    @asked("session-streams", "session-id")
    def session_streams(self, call: Call) -> Answer:
        """Tell all about the flows of a session."""
        return self.answers.session_streams(call.session)

    # Streams.

    def _all(self) -> Iterator[_Any]:
        for session in self.simulation.sessions:
            for flow in self.simulation.traffic.flows(session):
                yield session, flow
        yield from self.simulation.streams

    def _filtered(self, call: Call) -> list[_Any]:
        checks = list(_filters(call, self.simulation))
        return [one for one in self._all() if all(check(one) for check in checks)]

    @asked("stream-info", "flow-id", "debug")
    def stream_info(self, call: Call) -> Answer:
        """Tell all about a flow."""
        number = call.integer("flow-id")
        if number is None:
            raise error("missing flow-id")
        for one in self._all():
            if _number(one) == number:
                return (
                    self.answers.stream_info(one) if isinstance(one, Stream) else self.answers.flow_info(*one)
                )
        raise warning("stream not found")

    @asked("stream-summary", *_FILTER)
    def stream_summary(self, call: Call) -> list[Answer]:
        """List flows."""
        return [
            self.answers.stream_summary(one) if isinstance(one, Stream) else self.answers.flow_summary(*one)
            for one in self._filtered(call)
        ]

    @asked("stream-stats")
    def stream_stats(self, call: Call) -> Answer:
        """Count the streams that belong to no session, multicast aside, and the packets a second of all that
        run."""
        streams = self.simulation.streams
        running = sum(
            flow.pps
            for session in self.simulation.sessions
            for flow in session.flows
            if flow is not None and flow.since is not None
        )
        running += sum(one.flow.pps for one in streams if one.flow.since is not None)
        count = sum(not one.multicast for one in streams)
        return {"total-flows": count, "verified-flows": 0, "total-pps": float(running)}

    @asked("streams-pending")
    def streams_pending(self, call: Call) -> list[int]:
        """List the numbers of the flows that are not verified."""
        return [_number(one) for one in self._all() if not _verified(one)]

    @asked("stream-traffic-start", *_FILTER, access="write", hidden=True)
    @asked("stream-traffic-enabled", *_FILTER, access="write", hidden=True)
    @asked("stream-start", *_FILTER, access="write")
    def stream_start(self, call: Call) -> None:
        """Start flows."""
        for one in self._filtered(call):
            self._set(one, enabled=True)

    @asked("stream-traffic-stop", *_FILTER, access="write", hidden=True)
    @asked("stream-traffic-disabled", *_FILTER, access="write", hidden=True)
    @asked("stream-stop", *_FILTER, access="write")
    def stream_stop(self, call: Call) -> None:
        """Stop flows."""
        for one in self._filtered(call):
            self._set(one, enabled=False)

    @asked("stream-stop-verified", *_FILTER, access="write")
    def stream_stop_verified(self, call: Call) -> None:
        """Stop the flows that are verified."""
        for one in self._filtered(call):
            if _verified(one):
                self._set(one, enabled=False)

    @asked("stream-update", *_FILTER, "tcp-flags", "pps", access="write")
    def stream_update(self, call: Call) -> None:
        """Change the rate of flows, in packets a second."""
        call.text("tcp-flags")
        pps = call.arguments.get("pps")
        if pps is not None and (isinstance(pps, bool) or not isinstance(pps, int | float) or pps < 0):
            raise error("invalid pps")
        for one in self._filtered(call):
            if pps is not None:
                _flow(one).change(self.simulation.now, float(pps))

    def _set(self, one: _Any, *, enabled: bool) -> None:
        _flow(one).enabled = enabled
        if isinstance(one, Stream):
            one.refresh(self.simulation.now, self.simulation.traffic.open)
        else:
            self.simulation.traffic.refresh(one[0])

    @asked("stream-reset", access="write")
    def stream_reset(self, call: Call) -> None:
        """Set the counters of all flows to nothing."""
        for session in self.simulation.sessions:
            self.simulation.traffic.reset(session)
        for stream in self.simulation.streams:
            stream.flow.reset(self.simulation.now)

    @asked("multicast-traffic-start", access="write", old=True)
    def multicast_traffic_start(self, call: Call) -> None:
        """Send multicast traffic from the network interface."""
        self.simulation.enable_multicast(True)

    @asked("multicast-traffic-stop", access="write", old=True)
    def multicast_traffic_stop(self, call: Call) -> None:
        """Send no more multicast traffic."""
        self.simulation.enable_multicast(False)

    @asked("traffic-start", access="write")
    def traffic_start(self, call: Call) -> None:
        """Let traffic pass."""
        self.simulation.open_traffic(True)

    @asked("traffic-stop", access="write")
    def traffic_stop(self, call: Call) -> None:
        """Let no traffic pass."""
        self.simulation.open_traffic(False)

    # Interfaces.

    @asked("interfaces", old=True)
    def interfaces(self, call: Call) -> list[Answer]:
        """List all interfaces."""
        return self.answers.interfaces()

    @asked("access-interfaces")
    def access_interfaces(self, call: Call) -> list[Answer]:
        """List the access interfaces, with their traffic."""
        return self.answers.function_interfaces("access")

    @asked("network-interfaces")
    def network_interfaces(self, call: Call) -> list[Answer]:
        """List the network interfaces, with their traffic."""
        return self.answers.function_interfaces("network")

    @asked("a10nsp-interfaces")
    def a10nsp_interfaces(self, call: Call) -> list[Answer]:
        """List the A10NSP interfaces, with their traffic."""
        return self.answers.function_interfaces("a10nsp")

    @asked("interface-enable", "interface", access="write")
    def interface_enable(self, call: Call) -> None:
        """Let an interface come up."""
        self.simulation.change_interface(self._interface(call), "Up")

    @asked("interface-disable", "interface", access="write")
    def interface_disable(self, call: Call) -> None:
        """Take an interface down: sessions find out by their keepalives."""
        self.simulation.change_interface(self._interface(call), "Disabled")

    def _interface(self, call: Call) -> Interface:
        name = call.text("interface")
        if name is None:
            raise error("missing argument interface")
        interface = self.simulation.interface(name)
        if interface is None:
            raise warning("interface not found")
        return interface


def _directions(call: Call) -> tuple[str, ...]:
    direction = call.text("direction")
    if direction is None or direction == "both":
        return DIRECTIONS
    if direction not in DIRECTIONS:
        raise error("invalid direction")
    return (direction,)


def _number(one: _Any) -> int:
    return one.number if isinstance(one, Stream) else one[1].number


def _flow(one: _Any) -> Flow:
    return one.flow if isinstance(one, Stream) else one[1].flow


def _verified(one: _Any) -> bool:
    return not isinstance(one, Stream) and bool(one[0].verified >> one[1].place & 1)


def _filters(call: Call, simulation: Simulation) -> Iterator[Callable[[_Any], bool]]:
    """What a flow must be for a command to be about it."""
    if call.number:
        wanted = call.found
        yield lambda one: not isinstance(one, Stream) and one[0] is wanted
    group = call.integer("session-group-id", range(65536))
    if group is not None:
        yield lambda one: not isinstance(one, Stream) and one[0].access.group == group
    flows = call.arguments.get("flows")
    if "flows" in call.arguments:
        if not isinstance(flows, list):
            raise error("invalid flows")
        yield lambda one: _number(one) in flows
    number = call.integer("flow-id")
    if number is not None:
        yield lambda one: _number(one) == number
    least, most = call.integer("flow-id-min"), call.integer("flow-id-max")
    if least is not None:
        yield lambda one: _number(one) >= least
    if most is not None:
        yield lambda one: _number(one) <= most
    name = call.text("name")
    if name is not None:
        yield lambda one: _name(one) == name
    interface = call.text("interface")
    if interface is not None:
        yield lambda one: _sender(one) == interface
    directions = _directions(call)
    if directions != DIRECTIONS:
        yield lambda one: _direction(one) in directions
    if call.flag("verified-only"):
        yield _verified
    if call.flag("bidirectional-verified-only"):
        yield _verified_both_ways
    if call.flag("pending-only"):
        yield lambda one: not _verified(one)


def _name(one: _Any) -> str:
    return one.name if isinstance(one, Stream) else f"session-{('ipv4', 'ipv6', 'ipv6pd')[one[1].family]}"


def _sender(one: _Any) -> str:
    if isinstance(one, Stream):
        return one.interface.name if one.interface else ""
    access = one[0].access
    return access.interface.name if one[1].upstream else (access.peer or access.interface).name


def _direction(one: _Any) -> str:
    return "downstream" if isinstance(one, Stream) else DIRECTIONS[one[1].place & 1]


def _verified_both_ways(one: _Any) -> bool:
    if isinstance(one, Stream):
        return False
    both = 3 << (one[1].place & ~1)
    return one[0].verified & both == both
