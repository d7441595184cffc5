"""What commands tell of sessions, in the shapes of BNG Blaster 0.9 (``facts/bngblaster.md`` §2)."""

from __future__ import annotations

import ipaddress
import socket
from typing import Any

from bridle.bundled.bng.flow import FAMILIES
from bridle.bundled.bng.session import Interface, Session
from bridle.bundled.bng.simulation import Simulation
from bridle.bundled.bng.streams import Stream
from bridle.bundled.bng.traffic import DIRECTIONS, RX_LENGTH, TX_LENGTH, SessionFlow

__all__ = ["Answer", "Answers"]

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


class Answers:
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
        access = session.access
        told: Answer = {"type": "pppoe" if access.pppoe else "ipoe", "session-id": session.id}
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
            told["ipv4-address"] = _ipv4(session.ipv4)
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
        told["ipv4-address"] = _ipv4(session.ipv4)
        if dns:
            if self._ipcp.request_dns1:
                told["ipv4-dns1"] = self._bng.dns1
            if self._ipcp.request_dns2:
                told["ipv4-dns2"] = self._bng.dns2
        elif session.access.static:
            told["ipv4-gateway"] = _ipv4(session.access.static_gateway(session.number))
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
        count, now = self._simulation.traffic.line.count, self._simulation.now
        flows = [(place, flow) for place, flow in enumerate(session.flows) if flow is not None]
        told: Answer = {"total-flows": len(flows), "verified-flows": session.verified.bit_count()}
        for number, (place, flow) in enumerate(flows, session.first_flow):
            id_, sent, received, first, loss, wrong = _FLOW_NAMES[place]
            told[id_] = number
            told[sent], told[received], told[first], _, told[loss] = count(flow, number, now)
            told[wrong] = 0
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

    # Interfaces.

    def interfaces(self) -> list[Answer]:
        """``interfaces``."""
        told = []
        for interface in self._simulation.interfaces:
            tx, rx, tx_bytes, rx_bytes = self._carried(interface)
            told.append(
                {
                    "name": interface.name,
                    "ifindex": interface.index,
                    "ifindex-kernel": _kernel_index(interface.name),
                    "type": "Interface",
                    "state": interface.state,
                    "state-transitions": interface.transitions,
                    "tx-packets": tx,
                    "tx-bytes": tx_bytes,
                    "rx-packets": rx,
                    "rx-bytes": rx_bytes,
                }
            )
        return told

    def _carried(self, interface: Interface) -> tuple[int, int, int, int]:
        """Packets and bytes, sent and received."""
        tx = rx = tx_bytes = rx_bytes = 0
        simulation = self._simulation
        for session in interface.sessions:
            sent, received = self.packets(session)
            totals = simulation.traffic.totals(session)
            tx += sent
            rx += received
            tx_bytes += session.tx_bytes + totals.tx_bytes
            rx_bytes += session.rx_bytes + totals.rx_bytes
        if interface.function != "access":
            tx, rx, tx_bytes, rx_bytes = rx, tx, rx_bytes, tx_bytes
        for stream in simulation.streams:
            if stream.interface is interface:
                packets = stream.flow.sequence(simulation.now)
                tx += packets
                tx_bytes += packets * stream.length
        return tx, rx, tx_bytes, rx_bytes

    def function_interfaces(self, function: str) -> list[Answer]:
        """``access-interfaces``, ``network-interfaces`` and ``a10nsp-interfaces``."""
        return [self._function_interface(one) for one in self._simulation.of_function(function)]

    def _function_interface(self, interface: Interface) -> Answer:
        simulation = self._simulation
        access = interface.function == "access"
        tx, rx, tx_bytes, rx_bytes = self._carried(interface)
        flows = [[0] * 5 for _ in FAMILIES]  # packets and rates sent and received, and loss
        bits_sent = bits_received = 0.0
        for session in interface.sessions:
            for one in simulation.traffic.flows(session):
                sends = one.upstream == access
                count = simulation.traffic.count(one)
                rate = one.flow.pps if one.flow.since is not None else 0.0
                family = flows[one.family]
                if sends:
                    family[0] += count.tx
                    family[1] += int(rate)
                    bits_sent += rate * TX_LENGTH[one.family] * 8
                else:
                    family[2] += count.rx
                    family[3] += int(rate)
                    family[4] += count.loss
                    bits_received += rate * RX_LENGTH[one.family] * 8
        streams = [one for one in simulation.streams if one.interface is interface]
        running = [one for one in streams if one.flow.since is not None]
        multicast = [one for one in streams if one.multicast]
        sent_pps = sum(family[1] for family in flows) + int(sum(one.flow.pps for one in running))
        bits_sent += sum(one.flow.pps * one.length * 8 for one in running)
        received_pps = sum(family[3] for family in flows)
        told: Answer = {
            "name": interface.name,
            "ifindex": interface.index,
            "type": {"access": "Access", "network": "Network", "a10nsp": "A10NSP"}[interface.function],
            "tx-packets": tx,
            "tx-bytes": tx_bytes,
            "tx-pps": sent_pps,
            "tx-kbps": int(bits_sent) // 1000,
            "rx-packets": rx,
            "rx-bytes": rx_bytes,
            "rx-pps": received_pps,
            "rx-kbps": int(bits_received) // 1000,
        }
        if access:
            told["rx-packets-multicast"] = self._multicast_received(interface)
            told["rx-pps-multicast"] = 0
            told["rx-loss-packets-multicast"] = 0
        elif interface.function == "network":
            told["tx-packets-multicast"] = sum(one.flow.sequence(simulation.now) for one in multicast)
            told["tx-pps-multicast"] = int(sum(one.flow.pps for one in multicast if one in running))
        for name, (sent, sent_rate, received, received_rate, loss) in zip(FAMILIES, flows, strict=True):
            told[f"tx-packets-session-{name}"] = sent
            told[f"tx-pps-session-{name}"] = sent_rate
            told[f"rx-packets-session-{name}"] = received
            told[f"rx-pps-session-{name}"] = received_rate
            told[f"rx-loss-packets-session-{name}"] = loss
        told["tx-packets-streams"] = sum(family[0] for family in flows) + sum(
            one.flow.sequence(simulation.now) for one in streams
        )
        told["tx-pps-streams"] = sent_pps
        told["rx-packets-streams"] = sum(family[2] for family in flows)
        told["rx-pps-streams"] = received_pps
        told["rx-loss-packets-streams"] = sum(family[4] for family in flows)
        return told

    def _multicast_received(self, interface: Interface) -> int:
        return sum(map(self._multicast_of, interface.sessions))

    # Streams.

    def flow_info(self, session: Session, one: SessionFlow) -> Answer:
        """A flow of a session, as ``stream-info`` and ``session-streams`` tell."""
        simulation = self._simulation
        family, flow = one.family, one.flow
        count = simulation.traffic.count(one)
        inside, outside = self._endpoints(session, family)
        source, destination = (inside, outside) if one.upstream else (outside, inside)
        here = session.access.interface
        there = session.access.peer or here
        sender, receiver = (here, there) if one.upstream else (there, here)
        late = round(simulation.traffic.line.delay * 1_000_000) or 1
        running = flow.since is not None
        told = {
            **self._flow_head(one, session),
            "source-address": source,
            "source-port": _PORT,
            "destination-address": destination,
            "destination-port": _PORT,
            "protocol": "udp",
            "tx-interface": sender.name,
            "tx-interface-state": sender.state,
            "rx-interface": receiver.name,
            "tx-seq": flow.sequence(simulation.now) + 1,
            "tx-first-seq": flow.base + 1 if count.tx else 0,
            **self._received(count.rx, count.first, count.last, RX_LENGTH[family]),
            "tx-len": TX_LENGTH[family],
            "tx-packets": count.tx,
            "tx-bytes": count.tx * TX_LENGTH[family],
            "rx-packets": count.rx,
            "rx-bytes": count.rx * RX_LENGTH[family],
            "rx-loss": count.loss,
            "rx-wrong-order": 0,
            "rx-delay-us-min": late if count.rx else 0,
            "rx-delay-us-max": late if count.rx else 0,
            **_rates(flow.pps, running, running and count.rx > 0, TX_LENGTH[family], RX_LENGTH[family]),
            **self._epochs(flow.since, count.tx, count.rx),
        }
        told["rx-wrong-session"] = 0
        told["session-id"] = session.id
        told["session-version"] = session.version
        told["session-traffic"] = True
        return told

    def _endpoints(self, session: Session, family: int) -> tuple[str, str]:
        if family == 0:
            return _ipv4(session.ipv4), self._bng.gateway
        return str(
            ipaddress.IPv6Address(f"fe80::200:ff:fe{session.id >> 16 & 255:02x}:{session.id & 65535:x}")
        ), ("fe80::1")

    def _flow_head(self, one: SessionFlow, session: Session) -> Answer:
        family = FAMILIES[one.family]
        return {
            "flow-id": one.number,
            "name": f"session-{family}",
            "type": "unicast",
            "sub-type": family,
            "direction": DIRECTIONS[one.place & 1],
            "enabled": one.flow.enabled,
            "active": session.established and session.flow_active(one.family),
            "verified": bool(session.verified >> one.place & 1),
        }

    def _received(self, packets: int, first: int, last: int, length: int) -> Answer:
        return {
            "rx-first-seq": first,
            "rx-last-seq": last,
            "rx-tos-tc": 0,
            "rx-ttl": _TTL if packets else 0,
            "rx-outer-vlan-pbit": 0,
            "rx-inner-vlan-pbit": 0,
            "rx-len": length if packets else 0,
        }

    def _epochs(self, since: float | None, tx: int, rx: int) -> Answer:
        began = int(since or 0)
        return {
            "tx-first-epoch": began if tx else 0,
            "rx-first-epoch": began if rx else 0,
            "rx-last-epoch": int(self._simulation.now) if rx else 0,
        }

    def flow_summary(self, session: Session, one: SessionFlow) -> Answer:
        """A flow of a session, as ``stream-summary`` tells."""
        peer = session.access.peer or session.access.interface
        running = int(one.flow.pps) if one.flow.since is not None else 0
        count = self._simulation.traffic.count(one)
        return {
            **self._flow_head(one, session),
            "interface": session.access.interface.name if one.upstream else peer.name,
            "rx-loss": count.loss,
            "rx-pps": running if count.rx else 0,
            "tx-pps": running,
            "session-id": session.id,
            "session-traffic": True,
        }

    def session_streams(self, session: Session) -> Answer:
        """``session-streams``."""
        traffic = self._simulation.traffic
        flows = list(traffic.flows(session))
        running = [one for one in flows if one.flow.since is not None]
        up = [one for one in running if one.upstream]
        down = [one for one in running if not one.upstream]
        tx, rx = self.packets(session)
        totals = traffic.totals(session)
        rx_bits = int(sum(one.flow.pps * RX_LENGTH[one.family] * 8 for one in down))
        tx_bits = int(sum(one.flow.pps * TX_LENGTH[one.family] * 8 for one in up))
        return {
            "session-id": session.id,
            "rx-packets": rx,
            "tx-packets": tx,
            "rx-accounting-packets": totals.rx,
            "tx-accounting-packets": totals.tx,
            "rx-pps": int(sum(one.flow.pps for one in down)),
            "tx-pps": int(sum(one.flow.pps for one in up)),
            "rx-bps-l2": rx_bits,
            "tx-bps-l2": tx_bits,
            "rx-mbps-l2": rx_bits / 1_000_000,
            "tx-mbps-l2": tx_bits / 1_000_000,
            "streams": [self.flow_info(session, one) for one in flows],
        }

    def stream_head(self, stream: Stream) -> Answer:
        """What all answers tell of a stream."""
        return {
            "flow-id": stream.number,
            "name": stream.name,
            "type": "multicast" if stream.multicast else "unicast",
            "sub-type": stream.family,
            "direction": "downstream",
            "enabled": stream.flow.enabled,
            "active": stream.active,
            "verified": False,
        }

    def stream_info(self, stream: Stream) -> Answer:
        """A stream as ``stream-info`` tells."""
        flow = stream.flow
        sent = flow.sequence(self._simulation.now) - flow.base
        return {
            **self.stream_head(stream),
            "source-address": stream.source,
            "source-port": _PORT,
            "destination-address": stream.destination,
            "destination-port": _PORT,
            "protocol": "udp",
            "tx-interface": stream.interface.name if stream.interface else "",
            "tx-interface-state": stream.interface.state if stream.interface else "Down",
            "tx-seq": flow.sequence(self._simulation.now) + 1,
            "tx-first-seq": flow.base + 1 if sent else 0,
            **self._received(0, 0, 0, 0),
            "tx-len": stream.length,
            "tx-packets": sent,
            "tx-bytes": sent * stream.length,
            "rx-packets": 0,
            "rx-bytes": 0,
            "rx-loss": 0,
            "rx-wrong-order": 0,
            "rx-delay-us-min": 0,
            "rx-delay-us-max": 0,
            **_rates(flow.pps, flow.since is not None, False, stream.length, 0),
            **self._epochs(stream.began, sent, 0),
        }

    def stream_summary(self, stream: Stream) -> Answer:
        """A stream as ``stream-summary`` tells."""
        return {
            **self.stream_head(stream),
            "interface": stream.interface.name if stream.interface else "",
            "rx-loss": 0,
            "rx-pps": 0,
            "tx-pps": int(stream.flow.pps) if stream.flow.since is not None else 0,
        }


def _rates(pps: float, sends: bool, receives: bool, tx_length: int, rx_length: int) -> Answer:
    tx, rx = pps if sends else 0.0, pps if receives else 0.0
    tx_bits, rx_bits = int(tx * tx_length * 8), int(rx * rx_length * 8)
    return {
        "rx-pps": int(rx),
        "tx-pps": int(tx),
        "rx-pps-max": int(rx),
        "tx-pps-max": int(tx),
        "tx-bps-l2": tx_bits,
        "rx-bps-l2": rx_bits,
        "rx-bps-l3": 0,
        "tx-mbps-l2": tx_bits / 1_000_000,
        "rx-mbps-l2": rx_bits / 1_000_000,
        "rx-mbps-l3": 0.0,
    }


def _ipv4(address: int) -> str:
    return f"{address >> 24}.{address >> 16 & 255}.{address >> 8 & 255}.{address & 255}"


def _kernel_index(name: str) -> int:
    """The index of an interface that the machine happens to have; 0: it has none of that name."""
    try:
        return socket.if_nametoindex(name)
    except OSError:
        return 0
