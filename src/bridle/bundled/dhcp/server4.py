"""The DHCPv4 server: messages in, messages out. No sockets, and no clock but the one that it is given.

A batch of messages is one transaction of the lease store: whoever calls :meth:`Server4.handle` sends the
answers afterwards, so that no lease is acknowledged that is not stored.

    socket ─▶ decode4 ─▶ classify ─▶ select subnet ─▶ allocate ─▶ store ─▶ options ─▶ encode4 ─▶ socket
"""

from __future__ import annotations

import ipaddress
import logging
import threading
import time
from collections.abc import Callable, Sequence

import msgspec

from bridle.bundled.dhcp.accounts import Accounts
from bridle.bundled.dhcp.allocation4 import Allocator4, Choice4, Client4
from bridle.bundled.dhcp.classification import classify, known_classes
from bridle.bundled.dhcp.leases import Lease4, LeaseState
from bridle.bundled.dhcp.names import ClientName, name_client
from bridle.bundled.dhcp.packet4 import MessageType4, Packet4, PacketError, decode4, encode4
from bridle.bundled.dhcp.query4 import CLIENT_PORT, SERVER_PORT, Arrival4, Departure4, Query4, Reservations4
from bridle.bundled.dhcp.replies4 import (
    fqdn_in,
    fqdn_option,
    hostname_in,
    layers_of,
    lifetime_of,
    requested_options,
    timers_of,
)
from bridle.bundled.dhcp.selection4 import Selector4
from bridle.bundled.dhcp.settings import ClientClass, Reservation4, Settings4, Subnet4
from bridle.bundled.dhcp.store import LeaseStore4, StoreError
from bridle.daemon.callouts import Callouts
from bridle.daemon.statistics import Statistics

__all__ = ["HOOK_POINTS", "Server4"]

BROADCAST = 0xFFFFFFFF
HOOK_POINTS = ("pkt4_receive", "lease4_select", "pkt4_send")
"""``pkt4_receive(query)`` and ``pkt4_send(query, reply)`` may return False: drop it. ``lease4_select(query,
lease)`` may change the lease before it is stored."""

_BROADCAST_FLAG = 0x8000
_RECEIVED = {
    MessageType4.DISCOVER: "pkt4-discover-received",
    MessageType4.OFFER: "pkt4-offer-received",
    MessageType4.REQUEST: "pkt4-request-received",
    MessageType4.DECLINE: "pkt4-decline-received",
    MessageType4.ACK: "pkt4-ack-received",
    MessageType4.NAK: "pkt4-nak-received",
    MessageType4.RELEASE: "pkt4-release-received",
    MessageType4.INFORM: "pkt4-inform-received",
}
_SENT = {
    MessageType4.OFFER: "pkt4-offer-sent",
    MessageType4.ACK: "pkt4-ack-sent",
    MessageType4.NAK: "pkt4-nak-sent",
}

_log = logging.getLogger("bridle.dhcp4")


class Server4:
    """Answers DHCPv4 messages.

    ``name_changed`` is told when a lease with a name in DNS begins or ends. ``clock`` gives seconds since the
    epoch. ``server_port`` other than 67 means a site of its own: answers to relays then go back to the port
    that they asked from.
    """

    def __init__(
        self,
        settings: Settings4,
        store: LeaseStore4,
        statistics: Statistics,
        *,
        callouts: Callouts,
        name_changed: Callable[[Lease4, bool], None] = lambda lease, added: None,
        clock: Callable[[], float] = time.time,
        server_port: int = SERVER_PORT,
    ) -> None:
        self.statistics = statistics
        self.callouts = callouts
        self.store: LeaseStore4 = store
        self.local_addresses: frozenset[int] = frozenset()
        """The addresses that count as this server's identifier."""
        self._name_changed = name_changed
        self._clock = clock
        self._server_port = server_port
        self._turn = threading.Lock()
        self._accounts: Accounts[Lease4] = Accounts()
        self._allocator = Allocator4(self._conflict)
        self.use(settings)

    def use(self, settings: Settings4, store: LeaseStore4 | None = None) -> None:
        """Let other settings hold from the next batch on."""
        with self._turn:
            self.settings = settings
            self._selector = Selector4(settings)
            self._tests = tuple(one for one in settings.classes if one.test is not None)
            self._allocator.freed()
            if store is not None:
                self.store = store

    def freed(self) -> None:
        """Leases ended: pools that had no address left may have some."""
        with self._turn:
            self._allocator.freed()

    def handle(self, arrivals: Sequence[Arrival4]) -> list[Departure4]:
        """Answer messages. Never raises for what is in them; if the store fails, nothing is answered."""
        decoded = self._decode(arrivals)
        departures: list[Departure4] = []
        with self._turn:
            accounts: Accounts[Lease4] = Accounts()
            self._accounts = accounts
            try:
                if decoded:
                    with self.store.transaction():
                        for arrival, packet in decoded:
                            departure = self._answer(arrival, packet)
                            if departure is not None:
                                departures.append(departure)
            except StoreError as error:
                _log.error("%d messages are not answered: %s", len(decoded), error)
                departures.clear()
                accounts.names.clear()
                self._accounts.count("pkt4-receive-drop", len(decoded))
        for lease, added in accounts.names:
            self._name_changed(lease, added)
        counts = accounts.counts
        counts["pkt4-received"] = len(arrivals)
        if len(decoded) < len(arrivals):
            wrong = len(arrivals) - len(decoded)
            counts["pkt4-parse-failed"] = wrong
            counts["pkt4-receive-drop"] = counts.get("pkt4-receive-drop", 0) + wrong
        self.statistics.add_many(counts)
        return departures

    def _decode(self, arrivals: Sequence[Arrival4]) -> list[tuple[Arrival4, Packet4]]:
        decoded = []
        for arrival in arrivals:
            try:
                decoded.append((arrival, decode4(arrival.data)))
            except PacketError as error:
                _log.debug("from %s: %s", ipaddress.IPv4Address(arrival.source), error)
        return decoded

    def _conflict(self, subnet: Subnet4) -> None:
        self._accounts.count(f"subnet[{subnet.id}].v4-reservation-conflicts")
        self._accounts.count("v4-reservation-conflicts")

    def _answer(self, arrival: Arrival4, packet: Packet4) -> Departure4 | None:
        try:
            departure = self._process(arrival, packet)
        except StoreError:
            raise
        except Exception:
            # One message that hits a fault of ours, or of a plugin, must not cost the others their answers.
            _log.exception("a message from %s is not answered", ipaddress.IPv4Address(arrival.source))
            departure = None
            self._accounts.count("pkt4-processing-failed")
            self._accounts.count("pkt4-receive-drop")
        return departure

    def _process(self, arrival: Arrival4, packet: Packet4) -> Departure4 | None:
        options = packet.options
        kind = options.get(53, b"")
        name = _RECEIVED.get(kind[0]) if len(kind) == 1 else None  # type: ignore[call-overload]
        if name is None or packet.op != 1:
            self._accounts.count("pkt4-unknown-received")
            return self._drop()
        self._accounts.count(name)
        query = self._query(arrival, packet)
        for callout in self.callouts.at("pkt4_receive"):
            if callout(query) is False:
                return self._drop()
        match kind[0]:
            case MessageType4.DISCOVER:
                return self._discover(query)
            case MessageType4.REQUEST:
                return self._request(query)
            case MessageType4.RELEASE:
                self._release(query)
            case MessageType4.DECLINE:
                self._decline(query)
            case MessageType4.INFORM:
                return self._inform(query)
            case _:
                return self._drop()
        return None

    def _drop(self) -> Departure4 | None:
        self._accounts.count("pkt4-receive-drop")
        return None

    # Who asks, and from where.

    def _query(self, arrival: Arrival4, packet: Packet4) -> Query4:
        options = packet.options
        relay = _sub_options(options[82]) if 82 in options else {}
        client_id = options.get(61, b"")
        query = Query4(
            packet,
            arrival.interface,
            arrival.local,
            arrival.source,
            arrival.port,
            len(arrival.data),
            Client4(packet.chaddr, client_id, _none),
            set(),
            relay,
        )
        settings = self.settings
        if settings.classes or 60 in options:
            query.classes = classify(query, options.get(60), self._tests)
        identifiers = self._identifiers(query, client_id, relay)
        query.client.reservation = Reservations4(settings, identifiers)
        return query

    def _identifiers(
        self, query: Query4, client_id: bytes, relay: dict[int, bytes]
    ) -> list[tuple[str, bytes]]:
        found = []
        for kind in self.settings.host_identifiers:
            if kind == "hw-address":
                value = query.packet.chaddr
            elif kind == "client-id":
                value = client_id
            elif kind == "duid":
                # RFC 4361: a type of 255, four bytes of association, the DUID.
                value = client_id[5:] if client_id[:1] == b"\xff" else b""
            elif kind == "circuit-id":
                value = relay.get(1, b"")
            else:
                flexible = self.settings.flexible_identifier
                value = flexible(query) if flexible is not None else b""
            if value:
                found.append((kind, value))
        return found

    def _subnets(self, query: Query4) -> tuple[Subnet4, ...]:
        """The subnets from which the client may be served; empty where none is known."""
        packet = query.packet
        link = query.relay.get(5, b"") or packet.options.get(118, b"")
        subnet = self._selector.select(
            link=int.from_bytes(link, "big") if len(link) == 4 else 0,
            relay=packet.giaddr,
            interface=query.interface,
            client=packet.ciaddr,
            local=query.local,
            classes=query.classes,
        )
        if subnet is None:
            return ()
        if self._tests:
            known_classes(query, query.client.reservation(subnet), self._tests)
            # Being known may open another subnet of the link, never close this one.
        return self._selector.link(subnet, query.classes) if subnet.shared_network else (subnet,)

    # What they want.

    def _discover(self, query: Query4) -> Departure4 | None:
        subnets = self._subnets(query)
        if not subnets:
            self._fail("subnet")
            return self._drop()
        now = int(self._clock())
        client = query.client
        hint = _address(query.packet.options.get(50))
        choice = self._allocator.choose(self.store, client, subnets, query.classes, hint, now)
        if choice is None:
            self._fail_for(subnets[0], query)
            return None
        self._allocator.remember(choice, client, now)
        return self._grant(query, MessageType4.OFFER, choice, now)

    def _request(self, query: Query4) -> Departure4 | None:
        options = query.packet.options
        server = options.get(54)
        if server is not None and not self._mine(_address(server), query):
            self._allocator.forget(query.client)
            return None
        subnets = self._subnets(query)
        wanted = _address(options.get(50)) or query.packet.ciaddr
        if not subnets:
            self._fail("subnet")
            return self._drop()
        now = int(self._clock())
        if server is None and not query.packet.ciaddr and not self._knows(query, subnets, wanted):
            # RFC 2131 §4.3.2: who does not know a rebooting client stays silent, unless nobody else may know.
            authoritative = subnets[0].authoritative
            return self._refuse(query, subnets[0]) if authoritative else None
        choice = self._allocator.verify(self.store, query.client, subnets, query.classes, wanted, now)
        if choice is None:
            return self._refuse(query, subnets[0])
        return self._grant(query, MessageType4.ACK, choice, now)

    def _knows(self, query: Query4, subnets: Sequence[Subnet4], wanted: int) -> bool:
        client = query.client
        if any(client.reservation(subnet) is not None for subnet in subnets):
            return True
        ids = {subnet.id: subnet for subnet in subnets}
        return any(
            lease.subnet_id in ids and client.owns(lease, ids[lease.subnet_id])
            for lease in self.store.of_client(client.client_id, client.hw_address)
        )

    def _mine(self, server: int, query: Query4) -> bool:
        known = server == query.local or server in self.local_addresses
        return known or server == _address(query.relay.get(11)) or server in self._named(query)

    def _named(self, query: Query4) -> list[int]:
        """Server identifiers that options give."""
        options = (
            self.settings.options.get(54),
            *(subnet.options.get(54) for subnet in self._subnets(query)[:1]),
        )
        return [_address(option.data) for option in options if option is not None]

    def _release(self, query: Query4) -> None:
        lease, subnet = self._held(query, query.packet.ciaddr)
        if lease is None or subnet is None:
            return
        if lease.state != LeaseState.ASSIGNED:
            return
        if self.settings.expired_leases.hold_reclaimed_time > 0:
            # Kept for affinity: the same client gets it again as long as nobody else needs it.
            now = int(self._clock())
            after = msgspec.structs.replace(lease, state=LeaseState.RECLAIMED, cltt=now, valid_lifetime=0)
            after.hostname, after.fqdn_forward, after.fqdn_reverse = "", False, False
            done = self.store.update(after, lease)
        else:
            done = self.store.delete(lease.address)
        if done:
            self._accounts.ended(lease)
            self._allocator.freed()

    def _decline(self, query: Query4) -> None:
        lease, subnet = self._held(query, _address(query.packet.options.get(50)))
        if lease is None or subnet is None or lease.state != LeaseState.ASSIGNED:
            return
        _log.warning(
            "%s is used by somebody else, says %s",
            ipaddress.IPv4Address(lease.address),
            query.client.hw_address.hex(":"),
        )
        after = Lease4(
            address=lease.address,
            hw_address=b"",
            valid_lifetime=self.settings.decline_probation_period,
            cltt=int(self._clock()),
            subnet_id=lease.subnet_id,
            state=LeaseState.DECLINED,
        )
        if self.store.update(after, lease):
            self._accounts.declined(lease)
            self._allocator.forget(query.client)

    def _held(self, query: Query4, address: int) -> tuple[Lease4 | None, Subnet4 | None]:
        """The client's lease of an address."""
        lease = self.store.get(address) if address else None
        subnet = self.settings.subnets.get(lease.subnet_id) if lease is not None else None
        if lease is None or subnet is None or not query.client.owns(lease, subnet):
            self._drop()
            return None, None
        return lease, subnet

    def _inform(self, query: Query4) -> Departure4 | None:
        subnets = self._subnets(query)
        if not subnets or not (query.packet.ciaddr or query.packet.giaddr):
            return self._drop()
        subnet = subnets[0]
        classes = self._matched(query, subnet)
        reservation = query.client.reservation(subnet)
        asked = query.packet.options.get(55, b"")
        body = requested_options(layers_of(self.settings, subnet, None, reservation, classes), asked)
        reply = self._reply(query, MessageType4.ACK, subnet, body)
        self._boot(reply, subnet, reservation, classes)
        return self._depart(query, reply)

    # What they get.

    def _grant(self, query: Query4, kind: MessageType4, choice: Choice4, now: int) -> Departure4 | None:
        subnet, packet = choice.subnet, query.packet
        classes = self._matched(query, subnet, choice)
        lease = self._lease(query, choice, classes, now)
        name = self._name(query, choice)
        lease.hostname, lease.fqdn_forward, lease.fqdn_reverse = name.name, name.forward, name.reverse
        for callout in self.callouts.at("lease4_select"):
            callout(query, lease)
        if kind == MessageType4.ACK and not self._keep(query, choice, lease, now):
            return self._refuse(query, subnet)
        layers = layers_of(self.settings, subnet, choice.pool, choice.reservation, classes)
        body = requested_options(layers, packet.options.get(55, b""))
        body[51] = lease.valid_lifetime.to_bytes(4, "big")
        renew, rebind = timers_of(subnet, lease.valid_lifetime)
        if renew is not None:
            body[58] = renew.to_bytes(4, "big")
        if rebind is not None:
            body[59] = rebind.to_bytes(4, "big")
        if name.flags is not None:
            body[81] = fqdn_option(name)
        elif name.name and 12 in packet.options:
            body[12] = name.name.rstrip(".").encode("ascii", "ignore")[:255]
        reply = self._reply(query, kind, subnet, body)
        reply.yiaddr = lease.address
        self._boot(reply, subnet, choice.reservation, classes)
        return self._depart(query, reply)

    def _lease(self, query: Query4, choice: Choice4, classes: Sequence[ClientClass], now: int) -> Lease4:
        return Lease4(
            address=choice.address,
            hw_address=query.client.hw_address,
            client_id=query.client.client_id,
            valid_lifetime=lifetime_of(choice.subnet, classes, query.packet.options.get(51)),
            cltt=now,
            subnet_id=choice.subnet.id,
        )

    def _keep(self, query: Query4, choice: Choice4, lease: Lease4, now: int) -> bool:
        """Store an acknowledged lease; False when another server was faster."""
        before = choice.before
        if before is None:
            if not self.store.insert(lease):
                return False
        elif not self.store.update(lease, before):
            return False
        renewed = (
            before is not None
            and before.state == LeaseState.ASSIGNED
            and query.client.owns(before, choice.subnet)
        )
        if not renewed:
            if before is not None and before.state != LeaseState.RECLAIMED:
                self._accounts.reclaimed(before)
            self._accounts.assigned(lease)
            self._leave_others(query, choice)
            self._allocator.forget(query.client)
        again = renewed and choice.subnet.ddns.update_on_renew
        self._accounts.named(before if renewed else None, lease, again=again)
        return True

    def _leave_others(self, query: Query4, choice: Choice4) -> None:
        """A client has one address on a link: what it had before is free again."""
        client = query.client
        link = {subnet.id: subnet for subnet in self._selector.link(choice.subnet, query.classes)}
        for lease in self.store.of_client(client.client_id, client.hw_address):
            subnet = link.get(lease.subnet_id)
            if lease.address == choice.address or subnet is None or not client.owns(lease, subnet):
                continue
            if self.store.delete(lease.address):
                if lease.state == LeaseState.ASSIGNED:
                    self._accounts.ended(lease)
                self._allocator.freed()

    def _name(self, query: Query4, choice: Choice4) -> ClientName:
        options = query.packet.options
        reserved = choice.reservation.hostname if choice.reservation is not None else ""
        nameless = 12 not in options and 81 not in options and not reserved
        if nameless and choice.subnet.ddns.replace_client_name in ("never", "when-present"):
            return _NAMELESS
        return name_client(
            choice.subnet.ddns,
            enabled=self.settings.ddns.enabled,
            fqdn=fqdn_in(options.get(81)),
            hostname=hostname_in(options.get(12)),
            reserved=reserved,
            address=str(ipaddress.IPv4Address(choice.address)),
        )

    def _matched(self, query: Query4, subnet: Subnet4, choice: Choice4 | None = None) -> list[ClientClass]:
        """The classes that the client is in, those required by its subnet and pool among them."""
        settings = self.settings
        if not settings.classes:
            return []
        reservation = query.client.reservation(subnet)
        if reservation is not None:
            query.classes.update(reservation.client_classes)
        required = set(subnet.require_client_classes)
        if choice is not None and choice.pool is not None:
            required.update(choice.pool.require_client_classes)
        for one in settings.classes:
            if one.name not in required or one.test is None or one.name in query.classes:
                continue
            if one.test(query):
                query.classes.add(one.name)
        return [one for one in settings.classes if one.name in query.classes]

    def _refuse(self, query: Query4, subnet: Subnet4) -> Departure4 | None:
        self._allocator.forget(query.client)
        reply = self._reply(query, MessageType4.NAK, subnet, {})
        reply.ciaddr = 0
        return self._depart(query, reply)

    def _reply(self, query: Query4, kind: MessageType4, subnet: Subnet4, body: dict[int, bytes]) -> Packet4:
        packet = query.packet
        options: dict[int, bytes] = {53: bytes([kind])}
        if kind != MessageType4.NAK:
            options[1] = (0xFFFFFFFF ^ (0xFFFFFFFF >> subnet.length)).to_bytes(4, "big")
        options.update(body)
        options[54] = self._server_id(query, subnet).to_bytes(4, "big")
        if 61 in packet.options and self.settings.echo_client_id:
            options[61] = packet.options[61]
        if 82 in packet.options:
            options[82] = packet.options[82]
        return Packet4(
            2,
            packet.htype,
            packet.hlen,
            packet.hops,
            packet.xid,
            0,
            packet.flags,
            packet.ciaddr,
            0,
            0,
            packet.giaddr,
            packet.chaddr,
            b"",
            b"",
            options,
        )

    def _server_id(self, query: Query4, subnet: Subnet4) -> int:
        option = subnet.options.get(54) or self.settings.options.get(54)
        if option is not None:
            return _address(option.data)
        override = query.relay.get(11, b"")  # RFC 5107
        return _address(override) if len(override) == 4 else query.local

    def _boot(
        self,
        reply: Packet4,
        subnet: Subnet4,
        reservation: Reservation4 | None,
        classes: Sequence[ClientClass],
    ) -> None:
        sources = (*((reservation,) if reservation is not None else ()), *classes, subnet)
        for source in sources:
            if source.next_server and not reply.siaddr:
                reply.siaddr = source.next_server
            if source.server_hostname and not reply.sname:
                reply.sname = source.server_hostname.encode()[:63]
            if source.boot_file_name and not reply.file:
                reply.file = source.boot_file_name.encode()[:127]

    def _depart(self, query: Query4, reply: Packet4) -> Departure4 | None:
        for callout in self.callouts.at("pkt4_send"):
            if callout(query, reply) is False:
                return self._drop()
        packet = query.packet
        kind = reply.options[53][0]
        address, port, hw_address = 0, CLIENT_PORT, b""
        if packet.giaddr:
            address = packet.giaddr
            port = SERVER_PORT if self._server_port == SERVER_PORT else query.port
            if kind == MessageType4.NAK:
                # The relay must not unicast it to an address that the client should not use.
                reply.flags |= _BROADCAST_FLAG
        elif packet.ciaddr and kind != MessageType4.NAK:
            address = packet.ciaddr
        elif kind == MessageType4.NAK or packet.flags & _BROADCAST_FLAG:
            address = BROADCAST
        else:
            address, hw_address = reply.yiaddr, packet.chaddr
        self._accounts.count(_SENT[MessageType4(kind)])
        self._accounts.count("pkt4-sent")
        return Departure4(encode4(reply), query.interface, query.local, address, port, hw_address)

    def _fail(self, reason: str) -> None:
        self._accounts.count("v4-allocation-fail")
        self._accounts.count(f"v4-allocation-fail-{reason}")

    def _fail_for(self, subnet: Subnet4, query: Query4) -> None:
        reason = "shared-network" if subnet.shared_network else "subnet"
        self._accounts.count("v4-allocation-fail")
        for name in (
            reason,
            *(() if subnet.pools else ("no-pools",)),
            *(("classes",) if query.classes else ()),
        ):
            self._accounts.count(f"v4-allocation-fail-{name}")
            self._accounts.count(f"subnet[{subnet.id}].v4-allocation-fail-{name}")
        self._accounts.count(f"subnet[{subnet.id}].v4-allocation-fail")
        _log.warning("no address left in %s for %s", subnet.text, query.client.hw_address.hex(":"))


_NAMELESS = ClientName()


def _none(subnet: Subnet4) -> None:
    return None


def _address(data: bytes | None) -> int:
    return int.from_bytes(data, "big") if data is not None and len(data) == 4 else 0


def _sub_options(data: bytes) -> dict[int, bytes]:
    """The sub-options of option 82; what is cut short ends them."""
    found: dict[int, bytes] = {}
    position = 0
    while position + 2 <= len(data):
        code, length = data[position], data[position + 1]
        found.setdefault(code, data[position + 2 : position + 2 + length])
        position += 2 + length
    return found
