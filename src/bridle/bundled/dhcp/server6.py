"""The DHCPv6 server: messages in, messages out (RFC 8415). Like :mod:`server4`, without sockets, and one
transaction of the lease store for each batch.
"""

from __future__ import annotations

import ipaddress
import logging
import threading
import time
from collections.abc import Callable, Sequence

import msgspec

from bridle.bundled.dhcp.accounts import Accounts
from bridle.bundled.dhcp.allocation6 import Allocator6, Association, Choice6, Client6, owns, ranges_of
from bridle.bundled.dhcp.classification import classify, known_classes
from bridle.bundled.dhcp.leases import Lease6, LeaseKind, LeaseState
from bridle.bundled.dhcp.names import ClientName, name_client
from bridle.bundled.dhcp.packet4 import PacketError
from bridle.bundled.dhcp.packet6 import Message6, MessageType6, Relay6, StatusCode, decode6, encode6
from bridle.bundled.dhcp.query6 import (
    CLIENT_PORT,
    SERVER_PORT,
    Arrival6,
    Departure6,
    Query6,
    Reservations6,
    associations_in,
)
from bridle.bundled.dhcp.replies6 import (
    association_option,
    fqdn_in,
    fqdn_option,
    layers_of,
    lifetimes_of,
    requested_options,
    status_option,
    timers_of,
)
from bridle.bundled.dhcp.selection6 import Selector6, lies_in
from bridle.bundled.dhcp.settings import ClientClass, Settings6, Subnet6
from bridle.bundled.dhcp.store import LeaseStore6, StoreError
from bridle.daemon.callouts import Callouts
from bridle.daemon.statistics import Statistics

__all__ = ["HOOK_POINTS", "Server6"]

HOOK_POINTS = ("pkt6_receive", "lease6_select", "pkt6_send")
"""As those of DHCPv4."""

_CLIENT_ID, _SERVER_ID, _IA_NA, _IA_TA, _ORO, _STATUS, _RAPID = 1, 2, 3, 4, 6, 13, 14
_VENDOR_CLASS, _INTERFACE_ID, _IA_PD, _FQDN, _LINK_LAYER = 16, 18, 25, 39, 79
_RECEIVED = {
    MessageType6.SOLICIT: "pkt6-solicit-received",
    MessageType6.ADVERTISE: "pkt6-advertise-received",
    MessageType6.REQUEST: "pkt6-request-received",
    MessageType6.CONFIRM: "pkt6-confirm-received",
    MessageType6.RENEW: "pkt6-renew-received",
    MessageType6.REBIND: "pkt6-rebind-received",
    MessageType6.REPLY: "pkt6-reply-received",
    MessageType6.RELEASE: "pkt6-release-received",
    MessageType6.DECLINE: "pkt6-decline-received",
    MessageType6.INFORMATION_REQUEST: "pkt6-infrequest-received",
}
# Whether a message must name a server (True), must not (False), or may (None): RFC 8415 §16.
_NAMES_SERVER = {
    MessageType6.SOLICIT: False,
    MessageType6.REQUEST: True,
    MessageType6.CONFIRM: False,
    MessageType6.RENEW: True,
    MessageType6.REBIND: False,
    MessageType6.RELEASE: True,
    MessageType6.DECLINE: True,
    MessageType6.INFORMATION_REQUEST: None,
}

_log = logging.getLogger("bridle.dhcp6")


class _Answer(msgspec.Struct):
    """A message in the making."""

    query: Query6
    subnets: tuple[Subnet6, ...]
    classes: list[ClientClass]
    options: list[tuple[int, bytes]]
    name: ClientName | None = None


class Server6:
    """Answers DHCPv6 messages. ``server_id`` is its DUID; the rest is as for a DHCPv4 server."""

    def __init__(
        self,
        settings: Settings6,
        store: LeaseStore6,
        statistics: Statistics,
        *,
        server_id: bytes,
        callouts: Callouts,
        name_changed: Callable[[Lease6, bool], None] = lambda lease, added: None,
        clock: Callable[[], float] = time.time,
        server_port: int = SERVER_PORT,
    ) -> None:
        self.statistics = statistics
        self.callouts = callouts
        self.store: LeaseStore6 = store
        self._server_id = server_id
        self._name_changed = name_changed
        self._clock = clock
        self._server_port = server_port
        self._turn = threading.Lock()
        self._accounts: Accounts[Lease6] = Accounts()
        self._allocator = Allocator6()
        self.use(settings)

    def use(
        self, settings: Settings6, store: LeaseStore6 | None = None, server_id: bytes | None = None
    ) -> None:
        """Let other settings hold from the next batch on."""
        with self._turn:
            self.settings = settings
            self._selector = Selector6(settings)
            self._tests = tuple(one for one in settings.classes if one.test is not None)
            if store is not None:
                self.store = store
            if server_id is not None:
                self._server_id = server_id

    def freed(self) -> None:
        """Leases ended. Nothing has to be known of that here."""

    def handle(self, arrivals: Sequence[Arrival6]) -> list[Departure6]:
        """Answer messages. Never raises for what is in them; if the store fails, nothing is answered."""
        departures: list[Departure6] = []
        decoded = self._decode(arrivals)
        with self._turn:
            accounts: Accounts[Lease6] = Accounts()
            self._accounts = accounts
            try:
                if decoded:
                    with self.store.transaction():
                        for arrival, message, relays in decoded:
                            departure = self._answer(arrival, message, relays)
                            if departure is not None:
                                departures.append(departure)
            except StoreError as error:
                _log.error("%d messages are not answered: %s", len(decoded), error)
                departures.clear()
                accounts.names.clear()
                self._accounts.count("pkt6-receive-drop", len(decoded))
        for lease, added in accounts.names:
            self._name_changed(lease, added)
        counts = accounts.counts
        counts["pkt6-received"] = len(arrivals)
        if len(decoded) < len(arrivals):
            wrong = len(arrivals) - len(decoded)
            counts["pkt6-parse-failed"] = wrong
            counts["pkt6-receive-drop"] = counts.get("pkt6-receive-drop", 0) + wrong
        self.statistics.add_many(counts)
        return departures

    def _decode(self, arrivals: Sequence[Arrival6]) -> list[tuple[Arrival6, Message6, list[Relay6]]]:
        decoded = []
        for arrival in arrivals:
            try:
                decoded.append((arrival, *decode6(arrival.data)))
            except PacketError as error:
                _log.debug("from %s: %s", ipaddress.IPv6Address(arrival.source), error)
        return decoded

    def _drop(self) -> Departure6 | None:
        self._accounts.count("pkt6-receive-drop")
        return None

    def _answer(self, arrival: Arrival6, message: Message6, relays: list[Relay6]) -> Departure6 | None:
        try:
            return self._process(arrival, message, relays)
        except StoreError:
            raise
        except PacketError as error:
            _log.debug("from %s: %s", ipaddress.IPv6Address(arrival.source), error)
            self._accounts.count("pkt6-parse-failed")
            return self._drop()
        except Exception:
            # One message that hits a fault of ours, or of a plugin, must not cost the others their answers.
            _log.exception("a message from %s is not answered", ipaddress.IPv6Address(arrival.source))
            self._accounts.count("pkt6-processing-failed")
            return self._drop()

    def _process(self, arrival: Arrival6, message: Message6, relays: list[Relay6]) -> Departure6 | None:
        name = _RECEIVED.get(message.type)  # type: ignore[call-overload]
        if name is None:
            self._accounts.count("pkt6-unknown-received")
            return self._drop()
        self._accounts.count(name)
        query = self._query(arrival, message, relays)
        if not self._is_valid(query):
            return self._drop()
        for callout in self.callouts.at("pkt6_receive"):
            if callout(query) is False:
                return self._drop()
        answer = self._begin(query)
        done = self._dispatch(answer)
        if done is None:
            return self._drop()
        return self._depart(arrival, answer, done)

    def _dispatch(self, answer: _Answer) -> MessageType6 | None:
        match answer.query.packet.type:
            case MessageType6.SOLICIT:
                return self._solicit(answer)
            case MessageType6.REQUEST:
                return self._request(answer)
            case MessageType6.RENEW | MessageType6.REBIND:
                return self._extend(answer)
            case MessageType6.CONFIRM:
                return self._confirm(answer)
            case MessageType6.RELEASE:
                return self._release(answer)
            case MessageType6.DECLINE:
                return self._decline(answer)
            case _:
                return MessageType6.REPLY

    # Who asks, and from where.

    def _query(self, arrival: Arrival6, message: Message6, relays: list[Relay6]) -> Query6:
        options: dict[int, bytes] = {}
        for code, data in message.options:
            options.setdefault(code, data)
        client = Client6(options.get(_CLIENT_ID, b""), lambda subnet: None)
        client.hw_address = _hardware_address(client.duid, relays, arrival.source)
        query = Query6(
            message,
            relays,
            arrival.interface,
            arrival.source,
            arrival.port,
            len(arrival.data),
            options,
            client,
            set(),
            associations=associations_in(message),
        )
        settings = self.settings
        if settings.classes or _VENDOR_CLASS in options:
            query.classes = classify(query, options.get(_VENDOR_CLASS, b"")[6:], self._tests)
        identifiers = []
        for kind in settings.host_identifiers:
            value = client.duid if kind == "duid" else client.hw_address if kind == "hw-address" else b""
            if kind == "flex-id" and settings.flexible_identifier is not None:
                value = settings.flexible_identifier(query)
            if value:
                identifiers.append((kind, value))
        client.reservation = Reservations6(settings, identifiers)
        return query

    def _is_valid(self, query: Query6) -> bool:
        """RFC 8415 §16: who must be named, and who must not."""
        kind = query.packet.type
        if kind not in _NAMES_SERVER:
            return False
        if not query.client.duid and kind != MessageType6.INFORMATION_REQUEST:
            return False
        server = query.options.get(_SERVER_ID)
        wanted = _NAMES_SERVER[MessageType6(kind)]
        if server is None:
            return wanted is not True
        return wanted is not False and server == self._server_id

    def _begin(self, query: Query6) -> _Answer:
        subnet = self._selector.select(query.relays, query.interface, query.source, query.classes)
        subnets: tuple[Subnet6, ...] = ()
        if subnet is not None:
            if self._tests:
                known_classes(query, query.client.reservation(subnet), self._tests)
            subnets = self._selector.link(subnet, query.classes)
        options = [(_SERVER_ID, self._server_id)]
        if query.client.duid:
            options.insert(0, (_CLIENT_ID, query.client.duid))
        classes = self._matched(query, subnets[0] if subnets else None)
        return _Answer(query, subnets, classes, options)

    def _matched(self, query: Query6, subnet: Subnet6 | None) -> list[ClientClass]:
        settings = self.settings
        if not settings.classes:
            return []
        reservation = query.client.reservation(subnet) if subnet is not None else None
        if reservation is not None:
            query.classes.update(reservation.client_classes)
        required = subnet.require_client_classes if subnet is not None else ()
        for one in settings.classes:
            if one.name not in required or one.test is None or one.name in query.classes:
                continue
            if one.test(query):
                query.classes.add(one.name)
        return [one for one in settings.classes if one.name in query.classes]

    # What they want.

    def _solicit(self, answer: _Answer) -> MessageType6:
        rapid = _RAPID in answer.query.options and bool(answer.subnets) and answer.subnets[0].rapid_commit
        if rapid:
            answer.options.append((_RAPID, b""))
        for association in answer.query.associations:
            self._assign(answer, association, keep=rapid)
        return MessageType6.REPLY if rapid else MessageType6.ADVERTISE

    def _request(self, answer: _Answer) -> MessageType6:
        for association in answer.query.associations:
            self._assign(answer, association, keep=True)
        return MessageType6.REPLY

    def _assign(self, answer: _Answer, association: Association, *, keep: bool) -> None:
        now = int(self._clock())
        client = answer.query.client
        choice = None
        if answer.subnets:
            choice = self._allocator.choose(
                self.store, client, association, answer.subnets, answer.query.classes, now
            )
        if choice is None:
            self._refuse(answer, association)
            return
        lease = self._lease(answer, association, choice, now)
        if not keep:
            self._allocator.remember(choice, client, association, now)
        elif not self._keep(answer, choice, lease):
            self._refuse(answer, association)
            return
        self._grant(answer, association, choice, lease)

    def _refuse(self, answer: _Answer, association: Association) -> None:
        prefix = association.kind == LeaseKind.PREFIX
        text = "Sorry, no prefixes could be allocated." if prefix else "Sorry, no address could be allocated."
        code = StatusCode.NO_PREFIX_AVAIL if prefix else StatusCode.NO_ADDRS_AVAIL
        answer.options.append(association_option(association, 0, 0, [status_option(code, text)]))
        self._accounts.count("v6-allocation-fail")
        if answer.subnets:
            subnet = answer.subnets[0]
            reason = "shared-network" if subnet.shared_network else "subnet"
            if not any(True for _ in ranges_of(subnet, association.kind, answer.query.classes)):
                self._accounts.count("v6-allocation-fail-no-pools")
                self._accounts.count_in(subnet.id, "v6-allocation-fail-no-pools")
            self._accounts.count_in(subnet.id, "v6-allocation-fail")
            self._accounts.count_in(subnet.id, f"v6-allocation-fail-{reason}")
        else:
            reason = "subnet"
        self._accounts.count(f"v6-allocation-fail-{reason}")

    def _lease(self, answer: _Answer, association: Association, choice: Choice6, now: int) -> Lease6:
        preferred, valid = lifetimes_of(choice.subnet, answer.classes)
        name = self._name(answer, choice)
        address = association.kind == LeaseKind.ADDRESS
        lease = Lease6(
            address=choice.address,
            kind=association.kind,
            prefix_length=choice.length,
            duid=answer.query.client.duid,
            iaid=association.iaid,
            preferred_lifetime=preferred,
            valid_lifetime=valid,
            cltt=now,
            subnet_id=choice.subnet.id,
            hw_address=answer.query.client.hw_address,
            hostname=name.name if address else "",
            fqdn_forward=name.forward and address,
            fqdn_reverse=name.reverse and address,
        )
        for callout in self.callouts.at("lease6_select"):
            callout(answer.query, lease)
        return lease

    def _name(self, answer: _Answer, choice: Choice6) -> ClientName:
        if choice.kind != LeaseKind.ADDRESS:
            return _NAMELESS
        if answer.name is None:
            reserved = choice.reservation.hostname if choice.reservation is not None else ""
            fqdn = fqdn_in(answer.query.options.get(_FQDN))
            if fqdn is None and not reserved:
                answer.name = _NAMELESS
            else:
                answer.name = name_client(
                    choice.subnet.ddns,
                    enabled=self.settings.ddns.enabled,
                    fqdn=fqdn,
                    hostname="",
                    reserved=reserved,
                    address=str(ipaddress.IPv6Address(choice.address)),
                )
        return answer.name

    def _grant(self, answer: _Answer, association: Association, choice: Choice6, lease: Lease6) -> None:
        renew, rebind = timers_of(choice.subnet, lease.preferred_lifetime)
        answer.options.append(association_option(association, renew, rebind, [lease]))

    def _keep(self, answer: _Answer, choice: Choice6, lease: Lease6) -> bool:
        """Store a lease that is about to be told; False when another server was faster."""
        before = choice.before
        if before is None:
            if not self.store.insert(lease):
                return False
        elif not self.store.update(lease, before):
            return False
        renewed = before is not None and before.state == LeaseState.ASSIGNED and before.duid == lease.duid
        if not renewed:
            if before is not None and before.state != LeaseState.RECLAIMED:
                self._accounts.reclaimed(before)
            self._accounts.assigned(lease)
            self._allocator.forget(choice)
        again = renewed and choice.subnet.ddns.update_on_renew
        self._accounts.named(before if renewed else None, lease, again=again)
        return True

    def _extend(self, answer: _Answer) -> MessageType6 | None:
        associations = answer.query.associations
        if not answer.subnets and answer.query.packet.type == MessageType6.REBIND:
            return None  # another server may know the link
        for association in associations:
            self._extend_one(answer, association)
        return MessageType6.REPLY

    def _extend_one(self, answer: _Answer, association: Association) -> None:
        now = int(self._clock())
        choice = None
        if answer.subnets:
            choice = self._allocator.choose(
                self.store, answer.query.client, association, answer.subnets, answer.query.classes, now
            )
        lease = self._lease(answer, association, choice, now) if choice is not None else None
        if choice is None or lease is None or not self._keep(answer, choice, lease):
            text = "Sorry, no known leases for this duid/iaid."
            status = status_option(StatusCode.NO_BINDING, text)
            answer.options.append(association_option(association, 0, 0, [status]))
            return
        renew, rebind = timers_of(choice.subnet, lease.preferred_lifetime)
        # What the client named and does not have any more ends now (RFC 8415 §18.3.4).
        ended = [
            self._ended(association, address, length)
            for address, length in association.hints
            if address != lease.address and any(address)
        ]
        answer.options.append(association_option(association, renew, rebind, [lease, *ended]))

    def _ended(self, association: Association, address: bytes, length: int) -> Lease6:
        return Lease6(
            address=address,
            kind=association.kind,
            prefix_length=length,
            duid=b"",
            iaid=association.iaid,
            preferred_lifetime=0,
            valid_lifetime=0,
            cltt=0,
            subnet_id=0,
        )

    def _confirm(self, answer: _Answer) -> MessageType6 | None:
        addresses = [
            address
            for association in answer.query.associations
            if association.kind == LeaseKind.ADDRESS
            for address, _ in association.hints
        ]
        if not addresses or not answer.subnets:
            return None
        if all(any(lies_in(address, subnet) for subnet in answer.subnets) for address in addresses):
            status = status_option(StatusCode.SUCCESS, "All addresses are on-link")
        else:
            status = status_option(StatusCode.NOT_ON_LINK, "At least one client's address is not on-link.")
        answer.options.append(status)
        return MessageType6.REPLY

    def _release(self, answer: _Answer) -> MessageType6:
        bound = False
        for association in answer.query.associations:
            leases = self._held(answer, association)
            for lease in leases:
                bound = self._release_one(lease) or bound
            self._tell_binding(answer, association, leases, "Lease released.")
        if bound:
            answer.options.append(
                status_option(StatusCode.SUCCESS, "Summary status for all processed IA_NAs")
            )
        else:
            answer.options.append(status_option(StatusCode.NO_BINDING, "No leases to release."))
        return MessageType6.REPLY

    def _release_one(self, lease: Lease6) -> bool:
        if lease.state == LeaseState.ASSIGNED:
            if self.settings.expired_leases.hold_reclaimed_time > 0:
                after = msgspec.structs.replace(
                    lease,
                    state=LeaseState.RECLAIMED,
                    cltt=int(self._clock()),
                    valid_lifetime=0,
                    preferred_lifetime=0,
                    hostname="",
                    fqdn_forward=False,
                    fqdn_reverse=False,
                )
                done = self.store.update(after, lease)
            else:
                done = self.store.delete(lease.kind, lease.address)
            if done:
                self._accounts.ended(lease)
            return done
        return False

    def _decline(self, answer: _Answer) -> MessageType6:
        for association in answer.query.associations:
            if association.kind != LeaseKind.ADDRESS:
                continue
            leases = self._held(answer, association)
            for lease in leases:
                self._decline_one(answer, lease)
            self._tell_binding(
                answer, association, leases, "Lease declined. Hopefully the next one will be better."
            )
        answer.options.append(status_option(StatusCode.SUCCESS, ""))
        return MessageType6.REPLY

    def _decline_one(self, answer: _Answer, lease: Lease6) -> None:
        address = ipaddress.IPv6Address(lease.address)
        _log.warning("%s is used by somebody else, says %s", address, answer.query.client.duid.hex(":"))
        after = Lease6(
            address=lease.address,
            duid=b"",
            iaid=0,
            preferred_lifetime=0,
            valid_lifetime=self.settings.decline_probation_period,
            cltt=int(self._clock()),
            subnet_id=lease.subnet_id,
            state=LeaseState.DECLINED,
        )
        if self.store.update(after, lease):
            self._accounts.declined(lease)

    def _held(self, answer: _Answer, association: Association) -> list[Lease6]:
        found = []
        for address, _ in association.hints:
            lease = self.store.get(association.kind, address)
            if lease is not None and owns(answer.query.client, association, lease):
                found.append(lease)
        return found

    def _tell_binding(
        self, answer: _Answer, association: Association, leases: Sequence[Lease6], text: str
    ) -> None:
        if leases:
            status = status_option(StatusCode.SUCCESS, text)
        else:
            status = status_option(StatusCode.NO_BINDING, "This client has no such lease.")
        answer.options.append(association_option(association, 0, 0, [status]))

    # What they get.

    def _depart(self, arrival: Arrival6, answer: _Answer, kind: MessageType6) -> Departure6 | None:
        query = answer.query
        subnet = answer.subnets[0] if answer.subnets else None
        reservation = query.client.reservation(subnet) if subnet is not None else None
        layers = layers_of(self.settings, subnet, reservation, answer.classes)
        asked = query.options.get(_ORO, b"")
        present = {code for code, _ in answer.options}
        answer.options.extend(
            (code, data) for code, data in requested_options(layers, asked) if code not in present
        )
        if answer.name is not None and answer.name.flags is not None:
            answer.options.append((_FQDN, fqdn_option(answer.name)))
        reply = Message6(kind, query.packet.transaction, answer.options)
        for callout in self.callouts.at("pkt6_send"):
            if callout(query, reply) is False:
                return self._drop()
        relays = [_back(relay) for relay in query.relays]
        self._accounts.count("pkt6-sent")
        self._accounts.count("pkt6-reply-sent" if kind == MessageType6.REPLY else "pkt6-advertise-sent")
        standard = self._server_port == SERVER_PORT
        port = (SERVER_PORT if query.relays else CLIENT_PORT) if standard else query.port
        return Departure6(encode6(reply, relays), arrival.interface, arrival.source, port, arrival.scope)


_NAMELESS = ClientName()


def _back(relay: Relay6) -> Relay6:
    """The same relay on the way back: it gets its interface identifier again."""
    options = [(code, data) for code, data in relay.options if code == _INTERFACE_ID]
    return Relay6(MessageType6.RELAY_REPL, relay.hops, relay.link, relay.peer, options)


def _hardware_address(duid: bytes, relays: Sequence[Relay6], source: bytes) -> bytes:
    """A client's hardware address: what its relay says (RFC 6939), else what its DUID holds, else what its
    link-local address does."""
    for relay in reversed(relays):
        for code, data in relay.options:
            if code == _LINK_LAYER and len(data) > 2:
                return data[2:]
    if duid[:2] == b"\0\1":
        return duid[8:]
    if duid[:2] == b"\0\3":
        return duid[4:]
    peer = relays[-1].peer if relays else source
    if peer[:2] == b"\xfe\x80" and peer[11:13] == b"\xff\xfe":
        return bytes([peer[8] ^ 2]) + peer[9:11] + peer[13:16]
    return b""
