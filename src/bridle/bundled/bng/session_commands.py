"""Commands about sessions, and the protocols within them."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Iterable
from typing import Any

from bridle.bundled.bng.answers import Answers
from bridle.bundled.bng.calls import GROUPED, Call, asked, error, warning
from bridle.bundled.bng.session import Session
from bridle.bundled.bng.session_answers import Answer
from bridle.bundled.bng.simulation import Simulation
from bridle.core.messages import Response

__all__ = ["SessionCommands"]

_UPDATABLE = ("username", "password", "agent-remote-id", "agent-circuit-id", "ipv6-link-local")


class SessionCommands:
    """``session-…``, ``terminate``, PPP and DHCP."""

    simulation: Simulation
    answers: Answers

    @asked("test-info")
    def test_info(self, call: Call) -> Answer:
        """Tell the state of the test: init, active or teardown; and its duration in seconds."""
        return {"state": self.simulation.state, "duration": int(self.simulation.now)}

    @asked("test-stop", access="write")
    def test_stop(self, call: Call) -> Response:
        """End all sessions, and then the daemon."""
        return self._tear_down()

    @asked("terminate", *GROUPED, "reconnect-delay", access="write", old=True)
    def terminate(self, call: Call) -> Response:
        """End a session or a group of them; without either all, and then the daemon.

        A session that reconnects comes back after ``reconnect-delay`` seconds.
        """
        delay = call.integer("reconnect-delay", range(1 << 32))
        if not call.number and "session-group-id" not in call.arguments:
            return self._tear_down()
        for session in list(call.sessions):
            if delay is not None:
                _change(session, "reconnect-delay", float(delay))
            self.simulation.lifecycle.terminate(session)
        return Response(text="terminate session")

    def _tear_down(self) -> Response:
        self.simulation.tear_down()
        return Response(text="terminate all sessions" if self.simulation.old else "teardown requested")

    @asked("session-info", "session-id", "debug", old=True)
    def session_info(self, call: Call) -> Answer:
        """Tell all there is about a session."""
        return self.answers.session_info(call.session, call.flag("debug"))

    @asked("session-counters", old=True)
    def session_counters(self, call: Call) -> Answer:
        """Count sessions by what they are."""
        return self.answers.counters()

    @asked("sessions-pending")
    def sessions_pending(self, call: Call) -> list[Answer]:
        """List the sessions that are not established, or whose flows are not all verified."""
        return self.answers.pending()

    @asked("session-summary", *GROUPED, "sessions", "session-id-min", "session-id-max")
    def session_summary(self, call: Call) -> list[Answer]:
        """List sessions: one, a group, some, those of a range of numbers, or all."""
        return list(map(self.answers.session_summary, self._summarised(call)))

    def _summarised(self, call: Call) -> Iterable[Session]:
        sessions = self.simulation.sessions
        if "sessions" in call.arguments:
            numbers = call.arguments["sessions"]
            if not isinstance(numbers, list):
                raise error("sessions must be of type array e.g. [1,2,3]")
            found = (self.simulation.session(one) for one in numbers if type(one) is int)
            return [session for session in found if session is not None]
        first, last = call.integer("session-id-min"), call.integer("session-id-max")
        for name, value in (("session-id-min", first), ("session-id-max", last)):
            if value is not None and value < 1:
                raise warning(f"invalid {name}", 400)
        if first is not None and last is not None and first > last:
            raise error("session-id-min > max")
        if first is not None or last is not None:
            sessions = sessions[(first or 1) - 1 : last]
            return call.group(sessions)
        return call.sessions

    @asked("session-start", *GROUPED, access="write")
    def session_start(self, call: Call) -> None:
        """Start a session that has ended, or all that have."""
        if self.simulation.lifecycle.ending:
            raise error("teardown in progress", 405)
        if not call.number:
            self.simulation.start_many(list(call.sessions))
        elif not self.simulation.start(call.found):
            raise error("wrong session state", 405)

    @asked("session-stop", *GROUPED, access="write")
    def session_stop(self, call: Call) -> None:
        """End sessions for good: they do not reconnect."""
        for session in list(call.sessions):
            self.simulation.stop(session)

    @asked("session-restart", *GROUPED, "reconnect-delay", access="write")
    def session_restart(self, call: Call) -> None:
        """End sessions and start them again, after ``reconnect-delay`` seconds."""
        delay = call.integer("reconnect-delay", range(1 << 32))
        for session in list(call.sessions):
            self.simulation.restart(session, None if delay is None else float(delay))

    @asked("session-update", "session-id", *_UPDATABLE, access="write")
    def session_update(self, call: Call) -> None:
        """Change what a session says of itself when it comes up next."""
        if not call.number:
            raise warning("missing session-id", 400)
        session = call.found
        given = {name: call.text(name) for name in _UPDATABLE if name in call.arguments}
        address = given.get("ipv6-link-local")
        if address is not None:
            try:
                ipaddress.IPv6Address(address)
            except ValueError as wrong:
                raise error("invalid ipv6-link-local") from wrong
        for name, value in given.items():
            _change(session, name, value)
        session.version += 1

    @asked("monkey-start", access="write")
    def monkey_start(self, call: Call) -> None:
        """Let sessions of access interfaces with ``monkey`` be ended and started by chance."""
        self.simulation.set_monkey(True)

    @asked("monkey-stop", access="write")
    def monkey_stop(self, call: Call) -> None:
        """Leave sessions alone again."""
        self.simulation.set_monkey(False)

    # PPP.

    @asked("ipcp-open", *GROUPED, access="write", old=True)
    def ipcp_open(self, call: Call) -> None:
        """Open IPCP, of one session or of all."""
        self._with_ppp(call, self.simulation.lifecycle.open_ipcp)

    @asked("ipcp-close", *GROUPED, access="write", old=True)
    def ipcp_close(self, call: Call) -> None:
        """Close IPCP: the IPv4 address is given back, the session stays."""
        self._with_ppp(call, self.simulation.lifecycle.close_ipcp)

    @asked("ip6cp-open", *GROUPED, access="write", old=True)
    def ip6cp_open(self, call: Call) -> None:
        """Open IP6CP, of one session or of all."""
        self._with_ppp(call, self.simulation.lifecycle.open_ip6cp)

    @asked("ip6cp-close", *GROUPED, access="write", old=True)
    def ip6cp_close(self, call: Call) -> None:
        """Close IP6CP: the prefixes are given back, the session stays."""
        self._with_ppp(call, self.simulation.lifecycle.close_ip6cp)

    @asked("lcp-echo-request-ignore", *GROUPED, access="write")
    def lcp_echo_request_ignore(self, call: Call) -> None:
        """Leave echo requests unanswered: the BNG ends the session after a while."""
        for session in self._ppp_sessions(call):
            _change(session, "ignores-echoes", True)
            self.simulation.lifecycle.ignore_echoes(session)

    @asked("lcp-echo-request-accept", *GROUPED, access="write")
    def lcp_echo_request_accept(self, call: Call) -> None:
        """Answer echo requests again."""
        for session in self._ppp_sessions(call):
            if session.changed:
                session.changed.pop("ignores-echoes", None)

    def _with_ppp(self, call: Call, action: Callable[[Session], None]) -> None:
        for session in self._ppp_sessions(call):
            action(session)

    def _ppp_sessions(self, call: Call) -> list[Session]:
        if call.number and not call.found.access.pppoe:
            raise warning("matching session is not of type pppoe", 400)
        return [session for session in call.sessions if session.access.pppoe]

    # DHCP.

    @asked("dhcp-start", *GROUPED, "keep-address", access="write")
    def dhcp_start(self, call: Call) -> None:
        """Ask for an address by DHCP again."""
        for session in self._dhcp_sessions(call):
            self.simulation.lifecycle.start_dhcp(session)

    @asked("dhcp-stop", *GROUPED, "keep-address", access="write")
    def dhcp_stop(self, call: Call) -> None:
        """Use DHCP no more, without a word to the server; ``keep-address`` goes on using the address."""
        keep = call.flag("keep-address")
        for session in self._dhcp_sessions(call):
            self.simulation.lifecycle.stop_dhcp(session, release=False, keep_address=keep)

    @asked("dhcp-release", *GROUPED, "keep-address", access="write")
    def dhcp_release(self, call: Call) -> None:
        """Give the address back to the DHCP server."""
        keep = call.flag("keep-address")
        for session in self._dhcp_sessions(call):
            self.simulation.lifecycle.stop_dhcp(session, release=True, keep_address=keep)

    def _dhcp_sessions(self, call: Call) -> list[Session]:
        if call.number:
            if call.found.access.pppoe:
                raise warning("matching session is not of type ipoe", 400)
            if not call.found.access.dhcp:
                raise warning("matching session is DHCP disabled", 400)
        return [session for session in call.sessions if session.access.dhcp]


def _change(session: Session, name: str, value: Any) -> None:
    session.changed = {**(session.changed or {}), name: value}
