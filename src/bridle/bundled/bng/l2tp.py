"""The LNS: tunnels that simulated LACs open, and the sessions in them (``facts/bngblaster.md`` §4.5)."""

from __future__ import annotations

from collections.abc import Callable

from bridle.bundled.bng.flow import Flow
from bridle.bundled.bng.settings import BngSettings, LacSettings, LnsSettings
from bridle.bundled.timetable import Timetable

__all__ = ["Lns", "Tunnel", "TunnelSession"]

LINGER = 5.0
"""Seconds from a tunnel's end to when nobody speaks of it any more."""

_AUTHENTICATION = {"none": 0, "CHAP": 2, "PAP": 3}
_NONE = "N/A"


class TunnelSession:
    """A session in a tunnel."""

    def __init__(self, id_: int, lac: LacSettings, index: int) -> None:
        self.id = id_
        self.peer_id: int = (lac.first_session_id + index - 1) % 65535 + 1
        self.lac = lac
        self.state: str = "Wait-Control-Connection"
        self.flow: Flow = Flow(lac.pps, enabled=True)


class Tunnel:
    """A control connection, and its counters."""

    def __init__(self, id_: int, server: LnsSettings, lac: LacSettings) -> None:
        self.id = id_
        self.server = server
        self.lac = lac
        self.state: str = "Wait-Control-Connection"
        self.sessions: dict[int, TunnelSession] = {}
        self.rx: int = 0
        self.tx: int = 0


class Lns:
    """All tunnels."""

    def __init__(self, settings: BngSettings, timetable: Timetable) -> None:
        self._timetable = timetable
        self._old = settings.release == "0.5"
        self.tunnels: dict[int, Tunnel] = {}
        self.on_empty: Callable[[], None] = lambda: None
        servers = {one.name: one for one in settings.lns}
        for lac in settings.simulation.l2tp:
            tunnel = Tunnel(len(self.tunnels) + 1, servers[lac.server], lac)
            self.tunnels[tunnel.id] = tunnel
            timetable.after(lac.delay, self._connect, tunnel)

    def _connect(self, tunnel: Tunnel) -> None:
        """SCCRQ, SCCRP, SCCCN; then ICRQ, ICRP, ICCN for each session."""
        if tunnel.state != "Wait-Control-Connection":
            return
        tunnel.state = "Established"
        lac = tunnel.lac
        up = lac.sessions if lac.established is None else lac.established
        for index in range(lac.sessions):
            session = TunnelSession(index + 1, lac, index)
            tunnel.sessions[session.id] = session
            if index < up:
                session.state = "Established"
                session.flow.run(self._timetable.now)
        tunnel.rx += 2 + 2 * lac.sessions
        tunnel.tx += 2 + 2 * lac.sessions

    def request_speed(self, tunnel: Tunnel, sessions: int) -> None:
        """Send a CSURQ about so many sessions."""
        tunnel.tx += 1 if sessions else 0
        tunnel.rx += 1 if sessions else 0

    def terminate(self, tunnel: Tunnel) -> None:
        """End a tunnel with a StopCCN; after a while it is gone."""
        if tunnel.state in ("Send-StopCCN", "Received-StopCCN", "Terminated"):
            return
        tunnel.state = "Send-StopCCN"
        tunnel.tx += 1
        tunnel.rx += 1
        for session in tunnel.sessions.values():
            session.state = "Terminated"
            session.flow.halt(self._timetable.now)
        self._timetable.after(LINGER, self._forget, tunnel)

    def _forget(self, tunnel: Tunnel) -> None:
        tunnel.state = "Terminated"
        self.tunnels.pop(tunnel.id, None)
        if not self.tunnels:
            self.on_empty()

    def describe_tunnel(self, tunnel: Tunnel) -> dict[str, object]:
        """A tunnel as ``l2tp-tunnels`` tells."""
        carried = sum(session.flow.sequence(self._timetable.now) for session in tunnel.sessions.values())
        return {
            "state": tunnel.state,
            "server-name": tunnel.server.name,
            "server-address": tunnel.server.address,
            "tunnel-id": tunnel.id,
            "peer-tunnel-id": tunnel.lac.tunnel_id,
            "peer-name": tunnel.lac.name or _NONE,
            "peer-address": tunnel.lac.address,
            "peer-vendor": tunnel.lac.vendor or _NONE,
            "secret": tunnel.server.secret or _NONE,
            "control-packets-rx": tunnel.rx,
            "control-packets-rx-dup": 0,
            "control-packets-rx-out-of-order": 0,
            "control-packets-tx": tunnel.tx,
            "control-packets-tx-retry": 0,
            "data-packets-rx": carried,
            "data-packets-tx": carried,
        }

    def describe_session(self, tunnel: Tunnel, session: TunnelSession) -> dict[str, object]:
        """A session as ``l2tp-sessions`` tells."""
        lac = session.lac
        protocol = _AUTHENTICATION[lac.proxy_authentication]
        carried = session.flow.sequence(self._timetable.now)
        number = session.id
        described: dict[str, object] = {
            "state": session.state,
            "tunnel-id": tunnel.id,
            "session-id": number,
            "peer-tunnel-id": lac.tunnel_id,
            "peer-session-id": session.peer_id,
        }
        if not self._old:
            described["peer-proxy-auth-type"] = protocol
        described["peer-proxy-auth-name"] = f"user{number}@isp" if protocol else _NONE
        if not self._old:
            # A response to a challenge says nothing; BNG Blaster tells passwords in clear.
            described["peer-proxy-auth-response"] = (_NONE, "", "0x...", "secret")[protocol]
        return {
            **described,
            "peer-called-number": "LNS",
            "peer-calling-number": f"user{number}",
            "peer-sub-address": f"sub{number}",
            "peer-tx-bps": lac.tx_bps,
            "peer-rx-bps": lac.rx_bps,
            "peer-ari": f"DEU.RTBRICK.{number}",
            "peer-aci": f"0.0.0.0/0.0.0.0 eth 0:{number}",
            "data-packets-rx": carried,
            "data-packets-tx": carried,
            "data-ipv4-packets-rx": carried,
            "data-ipv4-packets-tx": carried,
        }
