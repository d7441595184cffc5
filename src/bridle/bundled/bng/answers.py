"""What commands tell of interfaces and streams in the shapes of BNG Blaster 0.9, and with what
``session_answers.py`` knows, of all there is (``facts/bngblaster.md`` §2)."""

from __future__ import annotations

import ipaddress
import socket

from bridle.bundled.bng.flow import FAMILIES
from bridle.bundled.bng.session import Interface, Session
from bridle.bundled.bng.session_answers import Answer, SessionAnswers, ipv4_text
from bridle.bundled.bng.streams import Stream
from bridle.bundled.bng.traffic import DIRECTIONS, RX_LENGTH, TX_LENGTH, SessionFlow

__all__ = ["Answers"]

_PORT = 65056
_TTL = 64


class Answers(SessionAnswers):
    """Looks at a simulation."""

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
            return ipv4_text(session.ipv4), self._bng.gateway
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


def _kernel_index(name: str) -> int:
    """The index of an interface that the machine happens to have; 0: it has none of that name."""
    try:
        return socket.if_nametoindex(name)
    except OSError:
        return 0
