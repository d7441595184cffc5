"""Commands about multicast groups, and about the LNS and lawful interception beside the sessions."""

from __future__ import annotations

import ipaddress
from collections import deque
from typing import Any

from bridle.bundled.bng.calls import Call, asked, error, warning
from bridle.bundled.bng.interception import describe_flow
from bridle.bundled.bng.session import Session
from bridle.bundled.bng.session_answers import Answer
from bridle.bundled.bng.simulation import Simulation
from bridle.core.errors import CommandError

__all__ = ["IgmpCommands", "TunnelCommands"]

_IGMP = ("session-id", "group", "group-iter", "group-count", "source1", "source2", "source3", "reset")
_L2TP = (
    "tunnel-id",
    "session-id",
    "sessions",
    "result-code",
    "error-code",
    "error-message",
    "disconnect-code",
    "disconnect-protocol",
    "disconnect-direction",
    "disconnect-message",
)
_SOURCES = ("source1", "source2", "source3")


class IgmpCommands:
    """``igmp-…`` and ``zapping-…``."""

    simulation: Simulation

    def _group(self, call: Call, *, needs_session: bool = True) -> int:
        if needs_session and not call.number:
            raise error("missing session-id")
        group = call.arguments.get("group")
        if not isinstance(group, str):
            raise error("missing group address")
        address = call.address("group", "invalid group address")
        assert address is not None
        return address

    def _sources(self, call: Call) -> tuple[str, ...]:
        found = (call.address(name, f"invalid {name} address") for name in _SOURCES)
        return tuple(str(ipaddress.IPv4Address(source)) for source in found if source)

    @asked("igmp-join", *_IGMP, access="write", old=True)
    def igmp_join(self, call: Call) -> None:
        """Join ``group``, from up to three sources only."""
        address = self._group(call, needs_session=not self.simulation.old)
        sources = self._sources(call)
        session = call.found
        groups = self.simulation.igmp.groups(session)
        if any(
            group.address == address and group.state != "idle" and not group.zapping
            for group in groups.slots
            if group is not None
        ):
            raise error("group already exists", 409)
        if not self.simulation.igmp.join(session, address, sources):
            raise error("no igmp group slot available", 409)

    @asked("igmp-join-iter", *_IGMP, access="write")
    def igmp_join_iter(self, call: Call) -> None:
        """Join ``group-count`` groups from ``group`` on, ``group-iter`` apart, in turn over all sessions that
        have room; or over the one that is addressed."""
        address = self._group(call, needs_session=False)
        sources = self._sources(call)
        step = call.address("group-iter", "invalid group-iter address")
        count = call.integer("group-count", range(1, 1 << 32))
        igmp = self.simulation.igmp
        turns = deque(call.sessions)
        for index in range(1 if count is None else count):
            group = address + index * (1 if step is None else step) & 0xFFFFFFFF
            while turns and not igmp.join(turns[0], group, sources, lowest=True):
                turns.popleft()
            turns.rotate(-1)
            if not turns:
                break

    @asked("igmp-leave", *_IGMP, access="write", old=True)
    def igmp_leave(self, call: Call) -> None:
        """Leave ``group``."""
        address = self._group(call)
        session = call.found
        group = self.simulation.igmp.groups(session).find(address)
        if group is None:
            raise warning("group not found")
        if group.zapping:
            raise error("group used by zapping test", 408)
        self.simulation.igmp.leave(session, group)

    @asked("igmp-leave-all", *_IGMP, access="write")
    def igmp_leave_all(self, call: Call) -> None:
        """Leave all groups, of one session or of all."""
        for session in call.sessions:
            for group in session.groups.slots if session.groups else ():
                if group is not None and not group.zapping:
                    self.simulation.igmp.leave(session, group)

    @asked("igmp-info", *_IGMP, old=True, key="igmp-groups")
    def igmp_info(self, call: Call) -> list[dict[str, object]]:
        """List a session's groups, and what came in for them."""
        return self.simulation.igmp.describe(call.session)

    @asked("zapping-start", *_IGMP, access="write")
    def zapping_start(self, call: Call) -> None:
        """Begin to zap through the configured groups."""
        for session in call.sessions:
            self.simulation.igmp.start_zapping(session)

    @asked("zapping-stop", *_IGMP, access="write")
    def zapping_stop(self, call: Call) -> None:
        """Zap no more."""
        for session in call.sessions:
            self.simulation.igmp.stop_zapping(session)

    @asked("zapping-stats", *_IGMP, access="write")
    def zapping_stats(self, call: Call) -> Answer:
        """Tell the delays that zapping has measured; ``reset`` forgets them then."""
        statistics = self.simulation.igmp.statistics
        told = statistics.describe()
        if call.flag("reset"):
            statistics.clear()
        return told


class TunnelCommands:
    """``l2tp-…`` and ``li-flows``."""

    simulation: Simulation

    @asked("li-flows", old=True)
    def li_flows(self, call: Call) -> list[Answer]:
        """List the flows of lawful interception."""
        simulation = self.simulation
        flows = simulation.settings.simulation.li_flows
        return [describe_flow(flow, simulation.now, old=simulation.old) for flow in flows]

    @asked("l2tp-tunnels", *_L2TP, old=True)
    def l2tp_tunnels(self, call: Call) -> list[Answer]:
        """List the tunnels."""
        lns = self.simulation.lns
        return [lns.describe_tunnel(tunnel) for tunnel in lns.tunnels.values()]

    @asked("l2tp-sessions", *_L2TP, old=True)
    def l2tp_sessions(self, call: Call) -> list[Answer]:
        """List the sessions of all tunnels, of one, or one of them."""
        lns = self.simulation.lns
        number = call.integer("tunnel-id")
        if number is None:
            return [
                lns.describe_session(tunnel, session)
                for tunnel in lns.tunnels.values()
                for session in tunnel.sessions.values()
            ]
        tunnel = lns.tunnels.get(number)
        if call.number:
            session = tunnel.sessions.get(call.number) if tunnel else None
            if tunnel is None or session is None:
                raise warning("session not found")
            return [lns.describe_session(tunnel, session)]
        if tunnel is None:
            raise warning("tunnel not found")
        return [lns.describe_session(tunnel, session) for session in tunnel.sessions.values()]

    def _tunnel(self, call: Call) -> Any:
        number = call.arguments.get("tunnel-id")
        if isinstance(number, bool) or not isinstance(number, int | float):
            raise error("missing tunnel-id")
        tunnel = self.simulation.lns.tunnels.get(int(number))
        if tunnel is None:
            raise warning("tunnel not found")
        return tunnel

    @asked("l2tp-csurq", *_L2TP, access="write", old=True)
    def l2tp_csurq(self, call: Call) -> None:
        """Ask the LAC of ``tunnel-id`` for the connect speeds of ``sessions``, which are its own numbers."""
        tunnel = self._tunnel(call)
        if tunnel.state != "Established":
            raise (
                warning("tunnel not found") if self.simulation.old else warning("tunnel not established", 400)
            )
        sessions = call.arguments.get("sessions")
        if not isinstance(sessions, list):
            raise error("invalid request")
        self.simulation.lns.request_speed(tunnel, sum(type(one) is int for one in sessions))

    @asked("l2tp-tunnel-terminate", *_L2TP, access="write")
    def l2tp_tunnel_terminate(self, call: Call) -> None:
        """End a tunnel with a StopCCN."""
        call.integer("result-code", range(65536))
        call.integer("error-code", range(65536))
        call.text("error-message")
        tunnel = self._tunnel(call)
        if tunnel.state != "Established":
            raise warning("tunnel not established", 400)
        self.simulation.lns.terminate(tunnel)

    def _no_l2tp(self, session: Session) -> CommandError:
        return error("no L2TP session")

    @asked("l2tp-session-terminate", *_L2TP, access="write")
    def l2tp_session_terminate(self, call: Call) -> None:
        """End the L2TP session that a session runs through. None of the simulated ones does."""
        raise self._no_l2tp(call.session)

    @asked("l2tp-lcp-restart", "session-id", access="write")
    def l2tp_lcp_restart(self, call: Call) -> None:
        """Restart LCP from the LNS. None of the simulated sessions runs through one."""
        raise self._no_l2tp(call.session)
