"""What commands tell of sessions, in the shapes of BNG Blaster 0.9 (``facts/bngblaster.md`` §2)."""

from __future__ import annotations

import ipaddress
import socket
from typing import Any

from bridle.bundled.bng.flow import FAMILIES
from bridle.bundled.bng.session import Session
from bridle.bundled.bng.simulation import Simulation
from bridle.bundled.bng.traffic import DIRECTIONS
from bridle.wire.bngblaster_json import WithoutReals

__all__ = ["Answer", "SessionAnswers", "ipv4_text"]

Answer = dict[str, Any]

_PORT = 65056
_TTL = 64
# Members of session-traffic, by a flow's place.
_FLOW_NAMES = [
    tuple(
        f"{direction}-{family}-{name}"
        for name in ("flow-id", "tx-packets", "rx-packets", "rx-first-seq", "loss", "wrong-session")
    )
    for family in FAMILIES
    for direction in DIRECTIONS
]
_NO_MAC = "ff:ff:ff:ff:ff:ff"
_DHCP_COUNTERS = ("tx-discover", "rx-offer", "tx-request", "rx-ack", "rx-nak", "tx-release")
_DHCPV6_COUNTERS = ("tx-solicit", "rx-advertise", "tx-request", "rx-reply", "tx-renew", "tx-release")
_NONE = (0,) * 6
_LINK_LOCAL = int(ipaddress.IPv6Address("fe80::ffff:ffff:ff00:0"))


class SessionAnswers:
    """Looks at a simulation."""

    def __init__(self, simulation: Simulation) -> None:
        self._simulation = simulation
        settings = simulation.settings
        self._mac_prefix = f"02:00:{settings.interfaces.mac_modifier:02x}"
        self._bng = settings.simulation
        self._ipcp = settings.ppp.ipcp
        # The peer's word comes with its accepting the password.
        self._after_authentication = frozenset(
            {"PPP Network", "Established", "PPP Terminating", "Terminated"}
        )

    def mac(self, session: Session) -> str:
        """A session's own address."""
        number = session.id
        return f"{self._mac_prefix}:{number >> 16 & 255:02x}:{number >> 8 & 255:02x}:{number & 255:02x}"

    # Sessions.

    def session_info(self, session: Session, debug: bool = False) -> Answer:
        """``session-info``."""
        access = session.access
        told = self._head(session, version=True)
        ours: Answer = {}
        if access.pppoe:
            if session.server and session.state in self._after_authentication and self._bng.reply_message:
                told["reply-message"] = self._bng.reply_message
            told["lcp-state"] = session.lcp
            told["ipcp-state"] = session.ipcp
            told["ip6cp-state"] = session.ip6cp
            self._put_ipv4(told, session, dns=True)
            self._put_ipv6(told, session)
            told["dhcpv6-state"] = session.dhcpv6
        else:
            self._put_ipv4(told, session, dns=False)
            self._put_ipv6(told, session)
            told["ipv6-link-local"] = self._link_local(session)
            self._put_dhcp(told, session)
            self._put_dhcpv6(told, session)
            arps = int(session.server)
            ours = {"tx-arp": arps, "rx-arp": arps}
        self._put_counters(told, session, ours)
        if session.flows:
            told["session-traffic"] = self._session_traffic(session)
        if self._shows_a10nsp(session):
            told["a10nsp"] = self._a10nsp(session, told)
        if debug:
            told["debug-epoch"] = session.epoch
            told["debug-rolls"] = session.rolls
        return told

    def _link_local(self, session: Session) -> str:
        changed = session.changed and session.changed.get("ipv6-link-local")
        return changed or socket.inet_ntop(socket.AF_INET6, (_LINK_LOCAL + session.id).to_bytes(16))

    def _head(self, session: Session, *, version: bool) -> Answer:
        """What all answers begin with. Nothing of what is put behind it is a real, either."""
        access = session.access
        told: Answer = WithoutReals()
        told["type"] = "pppoe" if access.pppoe else "ipoe"
        told["session-id"] = session.id
        if access.pppoe:
            told["pppoe-session-id"] = session.pppoe_id
        told["session-state"] = session.state
        if session.state == "IPoE Setup":
            told["session-substate"] = self._substate(session)
        if version:
            told["session-version"] = session.version
        told["flapped"] = session.flapped
        told["interface"] = access.interface.name
        told["outer-vlan"] = session.outer
        told["inner-vlan"] = session.inner
        told["mac"] = self.mac(session)
        told["server-mac"] = self._bng.server_mac if session.server else _NO_MAC
        if access.pppoe:
            told["username"] = session.username
        if not version and session.ipv4:
            told["ipv4-address"] = ipv4_text(session.ipv4)
        circuit, remote = session.circuit, session.remote
        if circuit:
            told["agent-circuit-id"] = circuit
        if remote:
            told["agent-remote-id"] = remote
        return told

    def _substate(self, session: Session) -> str:
        access = session.access
        if access.ipv4 and not session.ipv4:
            return "DHCPv4 pending"
        if access.ipv4 and not session.resolved:
            return "ARP not resolved"
        if access.ipv6 and not session.prefix:
            return "Wait for ICMPv6 RA"
        return "DHCPv6 pending"

    def _put_ipv4(self, told: Answer, session: Session, *, dns: bool) -> None:
        if not session.ipv4:
            return
        told["ipv4-address"] = ipv4_text(session.ipv4)
        if dns:
            if self._ipcp.request_dns1:
                told["ipv4-dns1"] = self._bng.dns1
            if self._ipcp.request_dns2:
                told["ipv4-dns2"] = self._bng.dns2
        elif session.access.static:
            told["ipv4-gateway"] = ipv4_text(session.access.static_gateway(session.number))
        else:
            told["ipv4-gateway"] = self._bng.gateway

    def _put_ipv6(self, told: Answer, session: Session) -> None:
        peer = self._simulation.peer
        if session.prefix:
            told["ipv6-prefix"] = peer.prefix(session)
        if session.dhcpv6_since is not None:
            told["ipv6-delegated-prefix"] = peer.delegated_prefix(session)
        if session.prefix:
            if self._bng.ipv6_dns1:
                told["ipv6-dns1"] = self._bng.ipv6_dns1
            if self._bng.ipv6_dns2:
                told["ipv6-dns2"] = self._bng.ipv6_dns2

    def _put_dhcp(self, told: Answer, session: Session) -> None:
        told["dhcp-state"] = session.dhcp
        bound = session.dhcp_since is not None
        told["dhcp-server"] = self._bng.gateway if bound else "0.0.0.0"
        vendor = self._simulation.settings.dhcp.vendor_class_id
        if vendor:
            told["dhcp-vendor-class-id"] = vendor
        renewals = self._put_lease(told, "dhcp", session.dhcp_since, self._bng.lease_time)
        asks = list(session.dhcp_asks or _NONE)
        asks[2] += renewals
        asks[3] += renewals
        told["dhcp-tx"] = asks[0] + asks[2] + asks[5]
        told["dhcp-rx"] = asks[1] + asks[3] + asks[4]
        for name, value in zip(_DHCP_COUNTERS, asks, strict=True):
            told[f"dhcp-{name}"] = value

    def _put_dhcpv6(self, told: Answer, session: Session) -> None:
        told["dhcpv6-state"] = session.dhcpv6
        renewals = self._put_lease(told, "dhcpv6", session.dhcpv6_since, self._bng.dhcpv6_lease_time)
        asks = list(session.dhcpv6_asks or _NONE)
        asks[4] += renewals
        asks[3] += renewals
        told["dhcpv6-tx"] = asks[0] + asks[2] + asks[4] + asks[5]
        told["dhcpv6-rx"] = asks[1] + asks[3]
        for name, value in zip(_DHCPV6_COUNTERS, asks, strict=True):
            told[f"dhcpv6-{name}"] = value

    def _put_lease(self, told: Answer, protocol: str, since: float | None, time: int) -> int:
        """The lease, which is renewed at half its time; how often it was."""
        if since is None:
            for name in ("time", "expire", "expire-t1", "expire-t2"):
                told[f"{protocol}-lease-{name}"] = 0
            return 0
        half = max(1, time // 2)
        age = int(self._simulation.now - since)
        renewals, age = divmod(age, half)
        told[f"{protocol}-lease-time"] = time
        told[f"{protocol}-lease-expire"] = time - age
        told[f"{protocol}-lease-expire-t1"] = half - age
        told[f"{protocol}-lease-expire-t2"] = time * 7 // 8 - age
        return renewals

    def _put_counters(self, told: Answer, session: Session, ours: Answer) -> None:
        totals = self._simulation.traffic.totals(session)
        echoes = self._simulation.lifecycle.keepalives(session, self._simulation.now)
        told["tx-packets"] = session.tx + totals.tx + echoes
        told["rx-packets"] = session.rx + totals.rx + echoes + self._multicast_of(session)
        told["rx-fragmented-packets"] = 0
        told["tx-bytes"] = session.tx_bytes + totals.tx_bytes + 30 * echoes
        told["rx-bytes"] = session.rx_bytes + totals.rx_bytes + 30 * echoes
        told["tx-accounting-packets"] = totals.tx
        told["rx-accounting-packets"] = totals.rx
        told["tx-accounting-bytes"] = totals.tx_bytes
        told["rx-accounting-bytes"] = totals.rx_bytes
        told.update(ours)
        told["tx-igmp"] = session.igmp_tx
        if session.access.pppoe:
            told["rx-igmp-wrong-state"] = 0
        told["rx-igmp"] = 0
        told["tx-icmp"] = 0
        told["rx-icmp"] = 0
        told["tx-icmpv6"] = session.icmpv6_tx
        told["rx-icmpv6"] = session.icmpv6_rx

    def packets(self, session: Session) -> tuple[int, int]:
        """What a session has sent and received, all in all."""
        simulation = self._simulation
        echoes = simulation.lifecycle.keepalives(session, simulation.now)
        tx, rx = session.tx + echoes, session.rx + echoes
        if session.flows:
            totals = simulation.traffic.totals(session)
            tx += totals.tx
            rx += totals.rx
        if session.groups is not None:
            rx += self._multicast_of(session)
        return tx, rx

    def _multicast_of(self, session: Session) -> int:
        if session.groups is None:
            return 0
        packets = self._simulation.igmp.packets
        return sum(packets(group) for group in session.groups.slots if group is not None)

    def _session_traffic(self, session: Session) -> Answer:
        line, now = self._simulation.traffic.line, self._simulation.now
        told: Answer = {"total-flows": 0, "verified-flows": session.verified.bit_count()}
        number = session.first_flow
        for names, flow in zip(_FLOW_NAMES, session.flows, strict=False):
            if flow is None:
                continue
            id_, sent, received, first, loss, wrong = names
            told[id_] = number
            if line.clear:
                packets = told[sent] = told[received] = flow.sequence(now) - flow.base
                told[first] = flow.base + 1 if packets else 0
                told[loss] = 0
            else:
                told[sent], told[received], told[first], _, told[loss] = line.count(flow, number, now)
            told[wrong] = 0
            number += 1
        told["total-flows"] = number - session.first_flow
        return told

    def _shows_a10nsp(self, session: Session) -> bool:
        peer = session.access.peer
        if peer is None or peer.function != "a10nsp" or not session.server:
            return False
        return session.access.pppoe or session.state != "Terminated"

    def _a10nsp(self, session: Session, told: Answer) -> Answer:
        assert session.access.peer is not None
        settings = self._simulation.settings.a10nsp
        qinq = any(one.qinq for one in settings if one.interface == session.access.peer.name)
        answer: Answer = {
            "interface": session.access.peer.name,
            "s-vlan": session.outer,
            "c-vlan": session.inner,
            "qinq-send": qinq,
            "qinq-received": False,
        }
        up = session.state != "Terminated"
        if up:
            protocol = "pppoe" if session.access.pppoe else "dhcp"
            for name, value in (("aci", session.circuit), ("ari", session.remote)):
                if value:
                    answer[f"{protocol}-{name}"] = value
        answer["tx-packets"] = told["rx-packets"] if up else 0
        answer["rx-packets"] = told["tx-packets"] if up else 1
        return answer

    def session_summary(self, session: Session) -> Answer:
        """An entry of ``session-summary``."""
        told = self._head(session, version=False)
        if session.access.pppoe:
            told["lcp-state"] = session.lcp
            told["ipcp-state"] = session.ipcp
            told["ip6cp-state"] = session.ip6cp
        else:
            told["dhcp-state"] = session.dhcp
        told["dhcpv6-state"] = session.dhcpv6
        told["tx-packets"], told["rx-packets"] = self.packets(session)
        return told

    def pending(self) -> list[Answer]:
        """``sessions-pending``: what is not up, or not verified."""
        found = []
        for session in self._simulation.sessions:
            flows = sum(flow is not None for flow in session.flows)
            verified = session.verified.bit_count()
            if not session.established or verified < flows:
                found.append(
                    {
                        "session-id": session.id,
                        "session-state": session.state,
                        "session-traffic-flows": flows,
                        "session-traffic-flows-verified": verified,
                    }
                )
        return found

    def counters(self) -> Answer:
        """``session-counters``."""
        tally = self._simulation.tally
        least, mean, greatest = tally.rates
        streams = self._simulation.streams
        return {
            "sessions": tally.sessions,
            "sessions-pppoe": tally.pppoe,
            "sessions-ipoe": tally.ipoe,
            "sessions-established": tally.established,
            "sessions-established-max": tally.established_max,
            "sessions-outstanding": tally.outstanding,
            "sessions-terminated": tally.terminated,
            "sessions-flapped": tally.flapped,
            "dhcp-sessions": tally.dhcp,
            "dhcp-sessions-established": tally.dhcp_established,
            "dhcp-sessions-established-max": tally.dhcp_established_max,
            "dhcpv6-sessions": tally.dhcpv6,
            "dhcpv6-sessions-established": tally.dhcpv6_established,
            "dhcpv6-sessions-established-max": tally.dhcpv6_established_max,
            "setup-time": tally.setup_time,
            "setup-rate": tally.rate,
            "setup-rate-min": least,
            "setup-rate-avg": mean,
            "setup-rate-max": greatest,
            "session-traffic-flows": tally.flows,
            "session-traffic-flows-verified": tally.verified,
            "stream-traffic-flows": sum(not stream.multicast for stream in streams),
            "stream-traffic-flows-verified": 0,
        }


def ipv4_text(address: int) -> str:
    """An IPv4 address in dotted form, from its number."""
    return f"{address >> 24}.{address >> 16 & 255}.{address >> 8 & 255}.{address & 255}"
