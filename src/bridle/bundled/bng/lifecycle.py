"""What happens to a session once it has begun: it ends, comes back, and is told what to do (facts §4.1).

::

    Established ─▶ PPP Terminating (PPPoE) ─▶ Terminating ─▶ Terminated ─▶ Idle again where it reconnects
"""

from __future__ import annotations

from bridle.bundled.bng.negotiation import Negotiation, Request
from bridle.bundled.bng.session import Session

__all__ = ["Lifecycle"]

_LINK_STATES = frozenset({"PPPoE Request", "PPP Link"})
_PPP_STATES = frozenset({"PPP Authentication", "PPP Network", "Established"})
_ENDED_OR_ENDING = frozenset({"Idle", "Terminating", "PPP Terminating", "Terminated"})


class Lifecycle(Negotiation):
    """Moves sessions, up and down."""

    def _declare(self) -> dict[str, Request]:
        whole = self._settings
        return {
            **super()._declare(),
            "release": Request(
                whole.dhcp.release_interval,
                whole.dhcp.release_retry,
                (342, 342),
                "",
                self._released,
                self._released,
                self._released,
            ),
            "lcp-terminate": Request(
                5.0, 3, (30, 30), "", self._lcp_terminated, self._lcp_terminated, self._lcp_terminated
            ),
        }

    # Down.

    def terminate(self, session: Session, *, stays_down: bool = False) -> None:
        """End a session, in good order. ``stays_down`` keeps it from coming back by itself."""
        if stays_down:
            session.stays_down = True
        state = session.state
        if state in _ENDED_OR_ENDING:
            if stays_down and state == "Terminated":
                session.epoch += 1  # it does not come back
            elif state == "Idle":
                self._terminated(session)
            return
        self._leave(session)
        if state == "PPPoE Init":
            self._terminated(session)
        elif state in _LINK_STATES:
            self.clear(session)
        elif state in _PPP_STATES:
            session.lcp = "Terminate"
            self._move(session, "PPP Terminating")
            self._ask(session, "lcp-terminate")
        else:
            self._move(session, "Terminating")
            if session.dhcp == "Bound" and self._settings.dhcp.release_retry:
                self._count_ask(session, "release")
                self._ask(session, "release")
            else:
                self._terminated(session)

    def _lcp_terminated(self, session: Session) -> None:
        self.clear(session)

    def _released(self, session: Session) -> None:
        self._count(session, 4, 3)
        self._terminated(session)

    def clear(self, session: Session) -> None:
        """End a session at once: the other side has, or there is nothing left to be said."""
        self._leave(session)
        session.tx += 1
        session.tx_bytes += 28
        self._move(session, "Terminating")
        self._terminated(session)

    def _leave(self, session: Session) -> None:
        """Whatever is under way is of no interest any more."""
        session.epoch += 1
        tally = self._tally
        if session.established:
            self._count_keepalives(session)
            tally.established -= 1
            session.established_at = None
            session.state = "Terminating"
            self._traffic.refresh(session)
        elif session.state not in ("Terminating", "PPP Terminating"):
            tally.outstanding -= 1

    def _terminated(self, session: Session) -> None:
        tally = self._tally
        session.epoch += 1
        begun = session.state != "Idle"
        self._move(session, "Terminated")
        session.version += 1
        tally.terminated += 1
        self._forget_leases(session)
        session.lcp = session.ipcp = session.ip6cp = "Closed"
        if not session.access.static:
            self._release_address(session)
        session.resolved = False
        returns = session.access.reconnect and not session.stays_down and not self.ending
        if begun and not self.ending and (returns or not self._old):
            session.flapped += 1
            tally.flapped += 1
        self.on_terminated(session)
        if returns:
            delay = 0.0 if self._old else self._settings.sessions.reconnect_delay
            if session.changed and "reconnect-delay" in session.changed:
                delay = session.changed.pop("reconnect-delay")
            self._timetable.after(delay, self._restart, session, session.epoch)

    def _forget_leases(self, session: Session) -> None:
        self._forget_dhcp(session)
        if session.access.pppoe:
            # The prefix and the state are shown until the session begins anew (facts §4.1).
            self._discount_dhcpv6(session)
        else:
            self._forget_dhcpv6(session)

    def _forget_dhcp(self, session: Session) -> None:
        if session.access.dhcp:
            self._tally.dhcp -= session.dhcp != "Init"
            self._tally.dhcp_established -= session.dhcp == "Bound"
            session.dhcp = "Init"
            session.dhcp_since = None

    def _discount_dhcpv6(self, session: Session) -> None:
        if session.access.dhcpv6:
            self._tally.dhcpv6 -= session.dhcpv6 != "Init"
            self._tally.dhcpv6_established -= session.dhcpv6 == "Bound"

    def _forget_dhcpv6(self, session: Session) -> None:
        self._discount_dhcpv6(session)
        if session.access.dhcpv6:
            session.dhcpv6 = "Init"
            session.dhcpv6_since = None

    def _release_address(self, session: Session) -> None:
        if session.ipv4:
            self._peer.return_address(session.ipv4)
            session.ipv4 = 0

    def restart_after(self, session: Session, seconds: float) -> None:
        """Let a session that has ended begin anew."""
        session.epoch += 1
        session.stays_down = False
        self._timetable.after(seconds, self._restart, session, session.epoch)

    def _restart(self, session: Session, epoch: int) -> None:
        if session.epoch == epoch and session.state == "Terminated" and not self.ending:
            self.reset(session)
            self.on_restart(session)

    def reset(self, session: Session) -> None:
        """Back to Idle: what a session learned is forgotten, what was counted stays."""
        self._tally.terminated -= 1
        session.epoch += 1
        self._move(session, "Idle")
        session.prefix = session.server = session.resolved = False
        session.pppoe_id = 0
        session.dhcp = "Init" if session.access.dhcp else "Disabled"
        session.dhcpv6 = "Init" if session.access.dhcpv6 else "Disabled"
        session.dhcp_since = session.dhcpv6_since = None
        session.igmp_tx = session.icmpv6_tx = session.icmpv6_rx = 0
        self._traffic.forget(session)

    # While it is up.

    def open_ipcp(self, session: Session) -> None:
        """Negotiate IPv4; nothing is done where that is under way, done, or cannot be."""
        if session.established and session.access.ipv4 and session.ipcp in ("Closed", "Rejected"):
            session.ipcp = "Init"
            self._ask(session, "ipcp")

    def close_ipcp(self, session: Session) -> None:
        """Give IPv4 up. The session stays."""
        if session.established and session.ipcp in ("Opened", "Init"):
            session.ipcp = "Closed"
            self._exchange(session, (30, 30))
            self._release_address(session)
            self._traffic.refresh(session)

    def open_ip6cp(self, session: Session) -> None:
        """Negotiate IPv6."""
        if session.established and session.access.ipv6 and session.ip6cp in ("Closed", "Rejected"):
            session.ip6cp = "Init"
            self._ask(session, "ip6cp")

    def close_ip6cp(self, session: Session) -> None:
        """Give IPv6 up, with the delegated prefix. The session stays."""
        if session.established and session.ip6cp in ("Opened", "Init"):
            session.ip6cp = "Closed"
            session.version += 1
            self._exchange(session, (30, 30))
            session.prefix = False
            self._forget_dhcpv6(session)
            self._traffic.refresh(session)

    def start_dhcp(self, session: Session) -> None:
        """Ask for an address again."""
        if session.state not in _ENDED_OR_ENDING and session.dhcp == "Init":
            self._discover(session)

    def stop_dhcp(self, session: Session, *, release: bool, keep_address: bool = False) -> None:
        """Give the address up, with a word to the server or without. The session stays."""
        if session.state in _ENDED_OR_ENDING or session.dhcp == "Init":
            return
        if release and session.dhcp == "Bound":
            self._count_ask(session, "release")
            self._exchange(session, (342, 342))
        self._forget_dhcp(session)
        session.resolved = False
        session.version += 1
        if not keep_address:
            self._release_address(session)
        self._traffic.refresh(session)

    def lose_link(self, session: Session) -> None:
        """Nothing passes any more: keepalives find out, where there are any."""
        interval = self._settings.ppp.lcp.keepalive_interval
        if session.established and session.access.pppoe and interval:
            seconds = interval * (self._settings.ppp.lcp.keepalive_retry + 1)
            self._timetable.after(seconds, self._check_link, session, session.epoch)

    def _check_link(self, session: Session, epoch: int) -> None:
        if session.epoch == epoch and not session.access.interface.up:
            self.clear(session)

    def ignore_echoes(self, session: Session) -> None:
        """Leave the peer's echo requests unanswered: it ends the session after a while."""
        if session.established and session.access.pppoe:
            lcp = self._settings.ppp.lcp
            seconds = (lcp.keepalive_interval or 30.0) * (lcp.keepalive_retry + 1)
            self._timetable.after(seconds, self._miss_echoes, session, session.epoch)

    def _miss_echoes(self, session: Session, epoch: int) -> None:
        if session.epoch == epoch and session.changed and session.changed.get("ignores-echoes"):
            self.clear(session)
