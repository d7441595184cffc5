"""How a session comes up: requests that the peer answers, refuses or leaves unanswered (facts §4.1).

::

    PPPoE  Idle ─▶ PPPoE Init ─▶ PPPoE Request ─▶ PPP Link ─▶ PPP Authentication ─▶ PPP Network ─▶ Established
    IPoE   Idle ─▶ IPoE Setup ────────────────────────────────────────────────────────────────▶ Established

What is left unanswered is asked again after its timeout, as often as its retries allow.
"""

from __future__ import annotations

import abc
from collections.abc import Callable
from typing import NamedTuple

from bridle.bundled.bng.peer import REFUSED, Peer
from bridle.bundled.bng.session import Session
from bridle.bundled.bng.settings import BngSettings
from bridle.bundled.bng.tally import Tally
from bridle.bundled.bng.traffic import Traffic
from bridle.bundled.timetable import Timetable

__all__ = ["Negotiation", "Request"]

_FOR_EVER = 1 << 62


class Request(NamedTuple):
    """A request: the seconds until it is repeated, how often it is, and the bytes it and its answer have.

    ``refusal`` is its name in ``simulation.refuse``; ``answered``, ``refused`` and ``given_up`` are called
    with the session.
    """

    timeout: float
    retries: int
    sizes: tuple[int, int]
    refusal: str
    answered: Callable[[Session], None]
    refused: Callable[[Session], None]
    given_up: Callable[[Session], None]


def _ignore(session: Session) -> None:
    """There is nothing to be done about it."""


class Negotiation(abc.ABC):
    """Moves sessions up. Everything it does is done at the timetable's time."""

    def __init__(
        self, settings: BngSettings, timetable: Timetable, peer: Peer, tally: Tally, traffic: Traffic
    ) -> None:
        self._settings = settings
        self._timetable = timetable
        self._peer = peer
        self._tally = tally
        self._traffic = traffic
        self._old = settings.release == "0.5"
        self.ending: bool = False
        # Hooks of whoever owns the sessions.
        self.on_restart: Callable[[Session], None] = lambda session: None
        self.on_terminated: Callable[[Session], None] = lambda session: None
        self.on_address: Callable[[Session], None] = lambda session: None
        self._requests: dict[str, Request] = self._declare()

    def _declare(self) -> dict[str, Request]:
        whole = self._settings
        ppp, lcp = whole.ppp, whole.ppp.lcp
        ignore = _ignore
        dhcpv6 = "dhcpv6-request" if not whole.dhcpv6.rapid_commit else ""
        return {
            "padi": Request(
                whole.pppoe.discovery_timeout,
                _FOR_EVER,
                (76, 76),
                "pppoe",
                self._padi_answered,
                ignore,
                ignore,
            ),
            "padr": Request(
                whole.pppoe.discovery_timeout,
                whole.pppoe.discovery_retry,
                (76, 76),
                "",
                self._padr_answered,
                ignore,
                self._begin_again,
            ),
            "lcp": Request(
                lcp.conf_request_timeout,
                lcp.conf_request_retry,
                (40, 40),
                "lcp",
                self._lcp_answered,
                self.clear,
                self.clear,
            ),
            "authentication": Request(
                ppp.authentication.timeout,
                ppp.authentication.retry,
                (60, 48),
                "authentication",
                self._authenticated,
                self.clear,
                self.clear,
            ),
            "ipcp": Request(
                ppp.ipcp.conf_request_timeout,
                ppp.ipcp.conf_request_retry,
                (48, 48),
                "ipcp",
                self._ipcp_answered,
                self._ipcp_refused,
                self._ipcp_refused,
            ),
            "ip6cp": Request(
                ppp.ip6cp.conf_request_timeout,
                ppp.ip6cp.conf_request_retry,
                (40, 40),
                "ip6cp",
                self._ip6cp_answered,
                self._ip6cp_refused,
                self._ip6cp_refused,
            ),
            "router": Request(5.0, _FOR_EVER, (70, 134), "", self._router_found, ignore, ignore),
            "dhcpv6": Request(
                whole.dhcpv6.timeout,
                whole.dhcpv6.retry,
                (174, 214),
                "dhcpv6",
                self._dhcpv6_offered if dhcpv6 else self._dhcpv6_answered,
                ignore,
                ignore,
            ),
            "dhcpv6-request": Request(
                whole.dhcpv6.timeout,
                whole.dhcpv6.retry,
                (174, 214),
                "",
                self._dhcpv6_answered,
                ignore,
                ignore,
            ),
            "discover": Request(
                whole.dhcp.timeout,
                whole.dhcp.retry,
                (342, 342),
                "",
                self._dhcp_offered,
                ignore,
                self._discover,
            ),
            "request": Request(
                whole.dhcp.timeout,
                whole.dhcp.retry,
                (342, 342),
                "dhcp",
                self._dhcp_answered,
                self._dhcp_refused,
                self._discover,
            ),
            "arp": Request(
                whole.ipoe.arp_timeout or 1.0, _FOR_EVER, (46, 46), "", self._arp_answered, ignore, ignore
            ),
        }

    @abc.abstractmethod
    def clear(self, session: Session) -> None:
        """End a session at once."""

    # Asking.

    def _ask(self, session: Session, name: str, tries: int = 0) -> None:
        request = self._requests[name]
        peer = self._peer.answer(session, request.refusal)
        session.tx += 1
        session.tx_bytes += request.sizes[0]
        if peer is None:
            self._timetable.after(
                max(request.timeout, 0.1), self._repeat, session, session.epoch, name, tries
            )
        elif peer == 0.0:
            self._answer(session, session.epoch, name)
        elif peer == REFUSED:
            self._timetable.after(0.0, self._refuse, session, session.epoch, name, tries)
        else:
            self._timetable.after(peer, self._answer, session, session.epoch, name)

    def _answer(self, session: Session, epoch: int, name: str) -> None:
        if session.epoch != epoch:
            return
        request = self._requests[name]
        session.rx += 1
        session.rx_bytes += request.sizes[1]
        session.server = True
        request.answered(session)

    def _refuse(self, session: Session, epoch: int, name: str, tries: int) -> None:
        if session.epoch != epoch:
            return
        request = self._requests[name]
        session.rx += 1
        session.rx_bytes += request.sizes[1]
        session.server = True
        if request.refused is _ignore:
            self._timetable.after(max(request.timeout, 0.1), self._repeat, session, epoch, name, tries)
        else:
            request.refused(session)

    def _repeat(self, session: Session, epoch: int, name: str, tries: int) -> None:
        if session.epoch != epoch or not self._wanted(session, name):
            return
        if tries >= self._requests[name].retries:
            self._requests[name].given_up(session)
        else:
            self._count_ask(session, name)
            self._ask(session, name, tries + 1)

    def _wanted(self, session: Session, name: str) -> bool:
        """Whether an answer to this would still be of use."""
        if name in ("ipcp", "ip6cp"):
            return (session.ipcp if name == "ipcp" else session.ip6cp) == "Init"
        if name == "router":
            return not session.prefix and (not session.access.pppoe or session.ip6cp == "Opened")
        if name.startswith("dhcpv6"):
            return session.dhcpv6 != "Bound" and session.prefix
        if name in ("discover", "request"):
            return session.dhcp in ("Selecting", "Requesting")
        return True

    def _move(self, session: Session, state: str) -> None:
        session.state = state
        session.version += 1

    # Up.

    def start(self, session: Session) -> None:
        """Begin: from Idle to the first request."""
        session.stays_down = False
        self._tally.outstanding += 1
        if self._tally.first_start is None:
            self._tally.first_start = self._timetable.now
        if session.access.pppoe:
            session.state = "PPPoE Init"
            self._ask(session, "padi")
            return
        session.state = "IPoE Setup"
        if session.access.static:
            session.ipv4 = session.access.static_address(session.number)
            self._ask(session, "arp")
        elif session.access.dhcp:
            self._discover(session)
        if session.access.ipv6:
            self._solicit_router(session)
        self._check_ipoe(session)

    def _begin_again(self, session: Session) -> None:
        self._move(session, "PPPoE Init")
        session.epoch += 1
        self._ask(session, "padi")

    def _padi_answered(self, session: Session) -> None:
        self._move(session, "PPPoE Request")
        self._ask(session, "padr")

    def _padr_answered(self, session: Session) -> None:
        session.pppoe_id = (session.id - 1) % 0xFFFF + 1
        self._move(session, "PPP Link")
        session.lcp = "Init"
        self._ask(session, "lcp")

    def _lcp_answered(self, session: Session) -> None:
        session.lcp = "Opened"
        self._move(session, "PPP Authentication")
        self._ask(session, "authentication")

    def _authenticated(self, session: Session) -> None:
        self._move(session, "PPP Network")
        access = session.access
        if access.ipv4:
            session.ipcp = "Init"
        if access.ipv6:
            session.ip6cp = "Init"
        epoch = session.epoch
        if access.ipv4:
            self._ask(session, "ipcp")
        if access.ipv6 and session.epoch == epoch:
            self._ask(session, "ip6cp")
        self._check_ppp(session)

    def _ipcp_answered(self, session: Session) -> None:
        if session.ipcp != "Init":
            return
        address = self._peer.take_address()
        if not address:
            self._ipcp_refused(session)
            return
        session.ipcp = "Opened"
        session.ipv4 = address
        session.version += 1
        self._addressed(session)
        self._check_ppp(session)

    def _ipcp_refused(self, session: Session) -> None:
        if session.ipcp == "Init":
            session.ipcp = "Rejected"
            self._check_ppp(session)

    def _ip6cp_answered(self, session: Session) -> None:
        if session.ip6cp != "Init":
            return
        session.ip6cp = "Opened"
        self._check_ppp(session)
        self._solicit_router(session)

    def _ip6cp_refused(self, session: Session) -> None:
        if session.ip6cp == "Init":
            session.ip6cp = "Rejected"
            self._check_ppp(session)

    def _check_ppp(self, session: Session) -> None:
        done = ("Opened", "Rejected")
        if session.state != "PPP Network":
            return
        access = session.access
        if (not access.ipv4 or session.ipcp in done) and (not access.ipv6 or session.ip6cp in done):
            self._established(session)

    def _solicit_router(self, session: Session) -> None:
        session.icmpv6_tx += 1
        self._ask(session, "router")

    def _router_found(self, session: Session) -> None:
        if session.prefix or (session.access.pppoe and session.ip6cp != "Opened"):
            return
        session.icmpv6_rx += 2
        session.prefix = True
        session.version += 1
        self._addressed(session)
        if session.access.dhcpv6:
            self._solicit(session)
        self._check_ipoe(session)

    def _solicit(self, session: Session) -> None:
        if session.dhcpv6 == "Init":
            self._tally.dhcpv6 += 1
        session.dhcpv6 = "Selecting"
        self._count_ask(session, "dhcpv6")
        self._ask(session, "dhcpv6")

    def _dhcpv6_offered(self, session: Session) -> None:
        if session.dhcpv6 == "Selecting":
            self._count(session, 6, 1)
            session.dhcpv6 = "Requesting"
            self._count_ask(session, "dhcpv6-request")
            self._ask(session, "dhcpv6-request")

    def _dhcpv6_answered(self, session: Session) -> None:
        if session.dhcpv6 not in ("Selecting", "Requesting"):
            return
        self._count(session, 6, 3)
        session.dhcpv6 = "Bound"
        session.dhcpv6_since = self._timetable.now
        session.version += 1
        tally = self._tally
        tally.dhcpv6_established += 1
        tally.dhcpv6_established_max = max(tally.dhcpv6_established_max, tally.dhcpv6_established)
        self._addressed(session)
        self._check_ipoe(session)

    def _discover(self, session: Session) -> None:
        if session.dhcp == "Init":
            self._tally.dhcp += 1
        session.dhcp = "Selecting"
        self._count_ask(session, "discover")
        self._ask(session, "discover")

    def _dhcp_offered(self, session: Session) -> None:
        if session.dhcp == "Selecting":
            self._count(session, 4, 1)
            session.dhcp = "Requesting"
            self._count_ask(session, "request")
            self._ask(session, "request")

    def _dhcp_answered(self, session: Session) -> None:
        if session.dhcp != "Requesting":
            return
        # It may have kept the address of a lease that it gave up.
        address = session.ipv4 or self._peer.take_address()
        if not address:
            self._dhcp_refused(session)
            return
        self._count(session, 4, 3)
        session.dhcp = "Bound"
        session.dhcp_since = self._timetable.now
        session.ipv4 = address
        session.version += 1
        tally = self._tally
        tally.dhcp_established += 1
        tally.dhcp_established_max = max(tally.dhcp_established_max, tally.dhcp_established)
        session.resolved = False
        self._ask(session, "arp")

    def _dhcp_refused(self, session: Session) -> None:
        """Not this address: after a while another one is asked for."""
        self._count(session, 4, 4)
        session.dhcp = "Selecting"
        timeout = max(self._settings.dhcp.timeout, 0.1)
        self._timetable.after(timeout, self._repeat, session, session.epoch, "discover", 0)

    def _arp_answered(self, session: Session) -> None:
        session.resolved = True
        self._addressed(session)
        self._check_ipoe(session)

    def _check_ipoe(self, session: Session) -> None:
        access = session.access
        if session.state != "IPoE Setup" or access.pppoe:
            return
        if access.ipv4 and not (session.ipv4 and session.resolved):
            return
        if access.ipv6 and not session.prefix:
            return
        if access.dhcpv6 and session.dhcpv6 != "Bound":
            return
        self._established(session)

    def _established(self, session: Session) -> None:
        now = self._timetable.now
        self._move(session, "Established")
        session.established_at = now
        tally = self._tally
        tally.outstanding -= 1
        tally.count_established(now)
        self._addressed(session)
        lifetime = self._peer.lifetime(session)
        if lifetime is not None:
            self._timetable.after(lifetime, self._drop, session, session.epoch)

    def _addressed(self, session: Session) -> None:
        if session.established:
            self._traffic.refresh(session)
            self.on_address(session)

    def _drop(self, session: Session, epoch: int) -> None:
        if session.epoch == epoch:
            self.clear(session)

    # Counting.

    def _exchange(self, session: Session, sizes: tuple[int, int]) -> None:
        session.tx += 1
        session.rx += 1
        session.tx_bytes += sizes[0]
        session.rx_bytes += sizes[1]

    def keepalives(self, session: Session, now: float) -> int:
        """How many echo requests were sent and answered since the session is up."""
        interval = self._settings.ppp.lcp.keepalive_interval
        since = session.established_at
        if since is None or not session.access.pppoe or not interval:
            return 0
        return int((now - since) / interval)

    def _count_keepalives(self, session: Session) -> None:
        echoes = self.keepalives(session, self._timetable.now)
        session.tx += echoes
        session.rx += echoes
        session.tx_bytes += 30 * echoes
        session.rx_bytes += 30 * echoes

    _ASKS = ("discover", "", "request", "", "", "release")
    _ASKS6 = ("dhcpv6", "", "dhcpv6-request", "")

    def _count_ask(self, session: Session, name: str) -> None:
        if session.access.pppoe:
            return
        if name in self._ASKS and name:
            self._count(session, 4, self._ASKS.index(name))
        elif name in self._ASKS6 and name:
            self._count(session, 6, self._ASKS6.index(name))

    def _count(self, session: Session, version: int, index: int) -> None:
        """Count a message of DHCP (``discover, offer, request, ack, nak, release``) or DHCPv6 (``solicit,
        advertise, request, reply, renew, release``)."""
        if session.access.pppoe:
            return
        if version == 4:
            if session.dhcp_asks is None:
                session.dhcp_asks = [0] * 6
            session.dhcp_asks[index] += 1
        else:
            if session.dhcpv6_asks is None:
                session.dhcpv6_asks = [0] * 6
            session.dhcpv6_asks[index] += 1
