"""Which IPv6 addresses and prefixes a client gets.

As in DHCPv4 the lease store is the truth; here are the places where pools were searched last, and the offers
of the last moments. Addresses and prefixes are chosen alike: a pool is a range with a step.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Container, Iterator, Sequence

import msgspec

from bridle.bundled.dhcp.leases import Lease6, LeaseKind, LeaseState
from bridle.bundled.dhcp.settings import PdPool, Pool6, Reservation6, Subnet6
from bridle.bundled.dhcp.store import LeaseStore6

__all__ = ["OFFER_LIMIT", "OFFER_TIME", "Allocator6", "Association", "Choice6", "Client6", "is_over"]

# As in DHCPv4: what a client may take between an ADVERTISE and its REQUEST (RFC 8415 §7.6: REQ_TIMEOUT 1 s,
# up to 30 s), and how many are remembered.
OFFER_TIME = 10
OFFER_LIMIT = 65536
# Candidates looked at one by one before the store is asked for all that is taken.
_NEIGHBOURS = 8
# Pools up to this many leases are searched to the end for a gap; larger ones are never full.
_SEARCHED = 1 << 20


class Client6(msgspec.Struct, gc=False):
    """Who asks."""

    duid: bytes
    reservation: Callable[[Subnet6], Reservation6 | None]
    hw_address: bytes = b""


class Association(msgspec.Struct, gc=False):
    """An identity association: IA_NA or IA_PD, with the addresses or prefixes that the client named."""

    kind: int
    iaid: int
    hints: tuple[tuple[bytes, int], ...] = ()

    @property
    def length(self) -> int:
        """The prefix length that the client would like; 0: it does not say."""
        return self.hints[0][1] if self.hints and self.kind == LeaseKind.PREFIX else 0


class Choice6(msgspec.Struct, gc=False):
    """An address or prefix for a client; ``before`` is the lease that it has now."""

    subnet: Subnet6
    kind: int
    address: bytes
    length: int = 128
    pool: Pool6 | PdPool | None = None
    before: Lease6 | None = None
    reservation: Reservation6 | None = None


class _Range(msgspec.Struct, gc=False):
    """A pool as numbers: from ``first`` to ``last`` in steps."""

    first: int
    last: int
    step: int
    length: int
    pool: Pool6 | PdPool

    @property
    def count(self) -> int:
        return (self.last - self.first) // self.step + 1


def is_over(lease: Lease6, now: int) -> bool:
    """Whether somebody else may have the address of a lease."""
    return lease.state == LeaseState.RECLAIMED or lease.expires <= now


def owns(client: Client6, association: Association, lease: Lease6) -> bool:
    """Whether a lease is that of a client's association."""
    return (
        lease.state != LeaseState.DECLINED
        and lease.duid == client.duid
        and lease.iaid == association.iaid
        and lease.kind == association.kind
    )


class Allocator6:
    """Chooses addresses and prefixes. Not for several threads at once."""

    def __init__(self) -> None:
        self._cursors: dict[tuple[int, int, int], int] = {}
        self._offers: OrderedDict[tuple[int, bytes], tuple[bytes, int]] = OrderedDict()
        self._offered: dict[bytes, dict[tuple[int, int], bytes]] = {}

    def choose(
        self,
        store: LeaseStore6,
        client: Client6,
        association: Association,
        subnets: Sequence[Subnet6],
        classes: Container[str],
        now: int,
    ) -> Choice6 | None:
        """What an association gets; None when nothing is left for it."""
        for subnet in subnets:
            choice = self._reserved(store, client, association, subnet, now)
            if choice is not None:
                return choice
        return (
            self._own(store, client, association, subnets, classes)
            or self._earlier_offer(store, client, association, subnets, classes, now)
            or self._hinted(store, client, association, subnets, classes, now)
            or self._any(store, client, association, subnets, classes, now)
        )

    def own(
        self,
        store: LeaseStore6,
        client: Client6,
        association: Association,
        subnets: Sequence[Subnet6],
        classes: Container[str],
    ) -> Choice6 | None:
        """The lease that an association has already, where it may go on."""
        return self._own(store, client, association, subnets, classes)

    def remember(self, choice: Choice6, client: Client6, association: Association, now: int) -> None:
        """Keep an offer for its client for a moment."""
        offers = self._offers
        while offers and (next(iter(offers.values()))[1] <= now or len(offers) >= OFFER_LIMIT):
            _, (duid, _) = offers.popitem(last=False)
            self._offered.pop(duid, None)
        mine = self._offered.setdefault(client.duid, {})
        mine[association.kind, association.iaid] = choice.address
        key = (choice.kind, choice.address)
        offers[key] = (client.duid, now + OFFER_TIME)
        offers.move_to_end(key)

    def forget(self, choice: Choice6) -> None:
        """It is leased: the store knows it now."""
        offer = self._offers.pop((choice.kind, choice.address), None)
        if offer is not None:
            self._offered.pop(offer[0], None)

    def _reserved(
        self, store: LeaseStore6, client: Client6, association: Association, subnet: Subnet6, now: int
    ) -> Choice6 | None:
        reservation = client.reservation(subnet)
        if reservation is None:
            return None
        wanted: Sequence[tuple[bytes, int]]
        if association.kind == LeaseKind.ADDRESS:
            wanted = [(address, 128) for address in reservation.addresses]
        else:
            wanted = reservation.prefixes
        for address, length in wanted:
            before = store.get(association.kind, address)
            if before is None or is_over(before, now) or owns(client, association, before):
                pool = pool_of(subnet, association.kind, address, ())
                return Choice6(subnet, association.kind, address, length, pool, before, reservation)
        return None

    def _own(
        self,
        store: LeaseStore6,
        client: Client6,
        association: Association,
        subnets: Sequence[Subnet6],
        classes: Container[str],
    ) -> Choice6 | None:
        leases = [one for one in store.of_client(client.duid) if owns(client, association, one)]
        leases.sort(key=lambda lease: (lease.state, -lease.cltt))
        for subnet in subnets:
            for lease in leases:
                if lease.subnet_id != subnet.id or self._kept(subnet, lease.kind, lease.address, client):
                    continue
                pool = pool_of(subnet, lease.kind, lease.address, classes)
                reservation = client.reservation(subnet)
                if pool is not None or _is_reserved(reservation, lease.kind, lease.address):
                    return Choice6(
                        subnet, lease.kind, lease.address, lease.prefix_length, pool, lease, reservation
                    )
        return None

    def _earlier_offer(
        self,
        store: LeaseStore6,
        client: Client6,
        association: Association,
        subnets: Sequence[Subnet6],
        classes: Container[str],
        now: int,
    ) -> Choice6 | None:
        address = self._offered.get(client.duid, {}).get((association.kind, association.iaid))
        if address is None or association.hints:
            return None
        again = Association(association.kind, association.iaid, ((address, 0),))
        return self._hinted(store, client, again, subnets, classes, now)

    def _hinted(
        self,
        store: LeaseStore6,
        client: Client6,
        association: Association,
        subnets: Sequence[Subnet6],
        classes: Container[str],
        now: int,
    ) -> Choice6 | None:
        for address, _ in association.hints:
            if not any(address):
                continue
            for subnet in subnets:
                found = range_of(subnet, association.kind, address, classes)
                if found is None or (int.from_bytes(address, "big") - found.first) % found.step:
                    continue
                if self._open(subnet, association.kind, address, client, now):
                    before = store.get(association.kind, address)
                    if before is None or is_over(before, now):
                        return self._choice(subnet, association, client, address, found, before)
        return None

    def _any(
        self,
        store: LeaseStore6,
        client: Client6,
        association: Association,
        subnets: Sequence[Subnet6],
        classes: Container[str],
        now: int,
    ) -> Choice6 | None:
        wished = association.length
        ranges = [(subnet, one) for subnet in subnets for one in ranges_of(subnet, association.kind, classes)]
        # A pool of the length that the client would like comes first.
        ranges.sort(key=lambda pair: bool(wished) and pair[1].length != wished)
        for subnet, one in ranges:
            address = self._unused(store, client, association.kind, subnet, one, now)
            if address is not None:
                return self._choice(subnet, association, client, address, one, None)
        for subnet, one in ranges:
            first, last = one.first.to_bytes(16, "big"), one.last.to_bytes(16, "big")
            lease = store.first_reusable(association.kind, first, last, now)
            if lease is not None and self._open(subnet, lease.kind, lease.address, client, now):
                return self._choice(subnet, association, client, lease.address, one, lease)
        return None

    def _choice(
        self,
        subnet: Subnet6,
        association: Association,
        client: Client6,
        address: bytes,
        found: _Range,
        before: Lease6 | None,
    ) -> Choice6:
        reservation = client.reservation(subnet)
        return Choice6(subnet, association.kind, address, found.length, found.pool, before, reservation)

    def _unused(
        self, store: LeaseStore6, client: Client6, kind: int, subnet: Subnet6, found: _Range, now: int
    ) -> bytes | None:
        key = (subnet.id, kind, found.first)
        cursor = self._cursors.get(key, found.first)
        if not found.first <= cursor <= found.last:
            cursor = found.first
        end = min(cursor + _NEIGHBOURS * found.step, found.last + 1)
        for number in range(cursor, end, found.step):
            address = number.to_bytes(16, "big")
            if self._open(subnet, kind, address, client, now) and store.get(kind, address) is None:
                self._cursors[key] = number + found.step
                return address
        if found.count > _SEARCHED:
            # What is so large has a gap soon; the next message looks further.
            self._cursors[key] = end
        for number in self._gaps(store, kind, found):
            address = number.to_bytes(16, "big")
            if self._open(subnet, kind, address, client, now):
                self._cursors[key] = number + found.step
                return address
        return None

    def _gaps(self, store: LeaseStore6, kind: int, found: _Range) -> Iterator[int]:
        first, last = found.first.to_bytes(16, "big"), found.last.to_bytes(16, "big")
        expected = found.first
        for address in store.taken(kind, first, last):
            taken = int.from_bytes(address, "big")
            while expected < taken:
                yield expected
                expected += found.step
            expected = max(expected, taken + found.step)
        while expected <= found.last:
            yield expected
            expected += found.step

    def _open(self, subnet: Subnet6, kind: int, address: bytes, client: Client6, now: int) -> bool:
        if self._kept(subnet, kind, address, client):
            return False
        offer = self._offers.get((kind, address))
        return offer is None or offer[1] <= now or offer[0] == client.duid

    def _kept(self, subnet: Subnet6, kind: int, address: bytes, client: Client6) -> bool:
        """Whether it is reserved for another client."""
        reserved = subnet.reserved_addresses if kind == LeaseKind.ADDRESS else subnet.reserved_prefixes
        if address not in reserved:
            return False
        return not _is_reserved(client.reservation(subnet), kind, address)


def _is_reserved(reservation: Reservation6 | None, kind: int, address: bytes) -> bool:
    if reservation is None:
        return False
    if kind == LeaseKind.ADDRESS:
        return address in reservation.addresses
    return any(prefix == address for prefix, _ in reservation.prefixes)


def ranges_of(subnet: Subnet6, kind: int, classes: Container[str]) -> Iterator[_Range]:
    """The pools of a subnet that a client in these classes may use."""
    pools: Sequence[Pool6 | PdPool] = subnet.pools if kind == LeaseKind.ADDRESS else subnet.pd_pools
    for pool in pools:
        if not pool.client_class or pool.client_class in classes:
            yield _range(pool)


def _range(pool: Pool6 | PdPool) -> _Range:
    if isinstance(pool, Pool6):
        return _Range(int.from_bytes(pool.first, "big"), int.from_bytes(pool.last, "big"), 1, 128, pool)
    step = 1 << (128 - pool.delegated_length)
    first = int.from_bytes(pool.prefix, "big")
    last = first + (1 << (128 - pool.prefix_length)) - step
    return _Range(first, last, step, pool.delegated_length, pool)


def range_of(subnet: Subnet6, kind: int, address: bytes, classes: Container[str]) -> _Range | None:
    """The pool that an address or prefix lies in."""
    number = int.from_bytes(address, "big")
    for one in ranges_of(subnet, kind, classes):
        if one.first <= number <= one.last:
            return one
    return None


def pool_of(subnet: Subnet6, kind: int, address: bytes, classes: Container[str]) -> Pool6 | PdPool | None:
    """The same as the configuration has it."""
    found = range_of(subnet, kind, address, classes)
    return None if found is None else found.pool
