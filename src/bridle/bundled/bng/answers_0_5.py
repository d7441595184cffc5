"""What commands tell of sessions, in the shapes of BNG Blaster 0.5, whose document Bridle starts from."""

from __future__ import annotations

from bridle.bundled.bng.answers import Answers
from bridle.bundled.bng.flow import FAMILIES, Count
from bridle.bundled.bng.session import Session
from bridle.bundled.bng.session_answers import Answer
from bridle.bundled.bng.simulation import Simulation

__all__ = ["OldAnswers"]

_NOTHING = Count(0, 0, 0, 0, 0)
# Names of a family's counters: what the access side receives came downstream.
_SUFFIXES = {"ipv4": "", "ipv6": "-ipv6", "ipv6pd": "-ipv6pd"}


class OldAnswers(Answers):
    """The answers of release 0.5."""

    def __init__(self, simulation: Simulation) -> None:
        super().__init__(simulation)
        self._old_simulation = simulation

    def session_info(self, session: Session, debug: bool = False) -> Answer:
        """``session-info``; its answer stands under ``session-information``."""
        access = session.access
        told: Answer = {
            "type": "pppoe" if access.pppoe else "ipoe",
            "session-id": session.id,
            "session-state": session.state,
            "interface": access.interface.name,
            "outer-vlan": session.outer,
            "inner-vlan": session.inner,
            "mac": self.mac(session),
        }
        if access.pppoe:
            told["username"] = session.username
        told["agent-circuit-id"] = session.circuit
        told["agent-remote-id"] = session.remote
        if access.pppoe:
            told["lcp-state"] = session.lcp
            told["ipcp-state"] = _state(session.ipcp)
            told["ip6cp-state"] = _state(session.ip6cp)
        self._put_ipv4(told, session, dns=access.pppoe)
        told.pop("ipv4-gateway", None)
        self._put_ipv6(told, session)
        if session.flows:
            told["session-traffic"] = self._old_traffic(session)
        return told

    def _old_traffic(self, session: Session) -> Answer:
        traffic = self._old_simulation.traffic
        counts = {one.place: traffic.count(one) for one in traffic.flows(session)}
        up = [counts.get(2 * family, _NOTHING) for family in range(len(FAMILIES))]
        down = [counts.get(2 * family + 1, _NOTHING) for family in range(len(FAMILIES))]
        told: Answer = {}
        for side, received in (("access", down), ("network", up)):
            for family, count in zip(FAMILIES, received, strict=True):
                told[f"first-seq-rx-{side}-{family}"] = count.first
        for family, upstream, downstream in zip(FAMILIES, up, down, strict=True):
            suffix = _SUFFIXES[family]
            for side, sent, received_ in (
                ("access", upstream, downstream),
                ("network", downstream, upstream),
            ):
                told[f"{side}-tx-session-packets{suffix}"] = sent.tx
                told[f"{side}-rx-session-packets{suffix}"] = received_.rx
                told[f"{side}-rx-session-packets{suffix}-loss"] = received_.loss
        return told

    def counters(self) -> Answer:
        """``session-counters``: those that were ever up at the same time, not those that are."""
        tally = self._old_simulation.tally
        return {
            "sessions": tally.sessions,
            "sessions-established": tally.established_max,
            "sessions-flapped": tally.flapped,
            "dhcpv6-sessions-established": tally.dhcpv6_established_max,
        }

    def interfaces(self) -> list[Answer]:
        """``interfaces``: those of access."""
        return [
            {"name": one["name"], "ifindex": one["ifindex-kernel"] or one["ifindex"], "type": "access"}
            for one in super().interfaces()
            if any(one["name"] == own.name for own in self._old_simulation.of_function("access"))
        ]


def _state(state: str) -> str:
    """0.5 knows neither Disabled nor Rejected."""
    return "Closed" if state in ("Disabled", "Rejected") else state
