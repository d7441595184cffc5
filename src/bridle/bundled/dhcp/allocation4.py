"""Which IPv4 address a client gets.

The lease store is the truth. All that is kept here is where each pool was searched last, and which addresses
were offered in the last moments, so that two clients who ask at the same time are not offered the same one.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Container, Sequence

import msgspec

from bridle.bundled.dhcp.leases import Lease4, LeaseState
from bridle.bundled.dhcp.settings import Pool4, Reservation4, Subnet4
from bridle.bundled.dhcp.store import LeaseStore4

__all__ = ["OFFER_LIMIT", "OFFER_TIME", "Allocator4", "Choice4", "Client4", "is_over"]

# Seconds that an offered address is kept for its client. Clients answer an offer within a second or retry
# after 4, 8, 16 (RFC 2131 §4.1).
OFFER_TIME = 10
# Offers remembered at most; beyond it the oldest are forgotten, which costs their clients a NAK at worst.
OFFER_LIMIT = 65536
# Addresses looked at one by one before the store is asked for a gap.
_NEIGHBOURS = 4
# Seconds that a pool without a free address is not searched again.
_EXHAUSTED_TIME = 1


class Client4(msgspec.Struct, gc=False):
    """Who asks."""

    hw_address: bytes
    client_id: bytes
    reservation: Callable[[Subnet4], Reservation4 | None]

    @property
    def key(self) -> bytes:
        """What tells clients apart."""
        return self.client_id or self.hw_address

    def owns(self, lease: Lease4, subnet: Subnet4) -> bool:
        """Whether a lease is this client's. The client identifier decides where both have one."""
        if lease.state == LeaseState.DECLINED:
            return False
        if subnet.match_client_id and lease.client_id and self.client_id:
            return lease.client_id == self.client_id
        return lease.hw_address == self.hw_address


class Choice4(msgspec.Struct, gc=False):
    """An address for a client. ``before`` is the lease that it has now, whoever's that was."""

    subnet: Subnet4
    address: int
    pool: Pool4 | None = None
    before: Lease4 | None = None
    reservation: Reservation4 | None = None


def is_over(lease: Lease4, now: int) -> bool:
    """Whether somebody else may have the address of a lease."""
    return lease.state == LeaseState.RECLAIMED or lease.expires <= now


class Allocator4:
    """Chooses addresses. Not for several threads at once."""

    def __init__(self, conflict: Callable[[Subnet4], None]) -> None:
        self._conflict = conflict
        self._cursors: dict[tuple[int, int, int], int] = {}
        self._exhausted: dict[tuple[int, int, int], int] = {}
        self._offers: OrderedDict[int, tuple[bytes, int]] = OrderedDict()
        self._offered: dict[bytes, int] = {}

    def choose(
        self,
        store: LeaseStore4,
        client: Client4,
        subnets: Sequence[Subnet4],
        classes: Container[str],
        hint: int,
        now: int,
    ) -> Choice4 | None:
        """The address to offer; None when there is none left."""
        for subnet in subnets:
            choice = self._reserved(store, client, subnet, now)
            if choice is not None:
                return choice
        return (
            self._own(store, client, subnets, classes)
            or self._earlier_offer(store, client, subnets, classes, now)
            or self._hinted(store, client, subnets, classes, hint, now)
            or self._any(store, client, subnets, classes, now)
        )

    def verify(
        self,
        store: LeaseStore4,
        client: Client4,
        subnets: Sequence[Subnet4],
        classes: Container[str],
        address: int,
        now: int,
    ) -> Choice4 | None:
        """The address that a client asked for; None when it cannot have that one."""
        for subnet in subnets:
            if subnet.first <= address <= subnet.last:
                break
        else:
            return None
        reservation = client.reservation(subnet)
        other = reservation is not None and reservation.address not in (0, address)
        if other and self._reserved(store, client, subnet, now) is not None:
            return None
        mine = reservation is not None and reservation.address == address
        pool = pool_of(subnet, address, classes)
        if not mine and (pool is None or self._kept(subnet, address, client)):
            return None
        before = store.get(address)
        if before is not None and not is_over(before, now) and not client.owns(before, subnet):
            return None
        if before is not None and before.state == LeaseState.DECLINED and before.expires > now:
            return None
        if self._offered_to_other(address, client, now):
            return None
        return Choice4(subnet, address, pool, before, reservation)

    def remember(self, choice: Choice4, client: Client4, now: int) -> None:
        """Keep an offered address for its client for a moment."""
        offers = self._offers
        while offers and (next(iter(offers.values()))[1] <= now or len(offers) >= OFFER_LIMIT):
            address, (key, _) = offers.popitem(last=False)
            if self._offered.get(key) == address:
                del self._offered[key]
        offers[choice.address] = (client.key, now + OFFER_TIME)
        offers.move_to_end(choice.address)
        self._offered[client.key] = choice.address

    def forget(self, client: Client4) -> None:
        """The client has what it wants, or took another server's offer."""
        address = self._offered.pop(client.key, None)
        if address is not None:
            self._offers.pop(address, None)

    def freed(self) -> None:
        """Addresses came back: pools that had none may have some."""
        self._exhausted.clear()

    def _reserved(self, store: LeaseStore4, client: Client4, subnet: Subnet4, now: int) -> Choice4 | None:
        reservation = client.reservation(subnet)
        if reservation is None or not reservation.address:
            return None
        address = reservation.address
        if not subnet.first <= address <= subnet.last:
            return None
        before = store.get(address)
        if before is None or is_over(before, now) or client.owns(before, subnet):
            return Choice4(subnet, address, pool_of(subnet, address, ()), before, reservation)
        self._conflict(subnet)
        return None

    def _own(
        self, store: LeaseStore4, client: Client4, subnets: Sequence[Subnet4], classes: Container[str]
    ) -> Choice4 | None:
        leases = store.of_client(client.client_id, client.hw_address)
        if not leases:
            return None
        leases.sort(key=lambda lease: (lease.state, -lease.cltt))
        for subnet in subnets:
            for lease in leases:
                if lease.subnet_id != subnet.id or not client.owns(lease, subnet):
                    continue
                pool = pool_of(subnet, lease.address, classes)
                if pool is not None and not self._kept(subnet, lease.address, client):
                    return Choice4(subnet, lease.address, pool, lease, client.reservation(subnet))
        return None

    def _earlier_offer(
        self,
        store: LeaseStore4,
        client: Client4,
        subnets: Sequence[Subnet4],
        classes: Container[str],
        now: int,
    ) -> Choice4 | None:
        return self._hinted(store, client, subnets, classes, self._offered.get(client.key, 0), now)

    def _hinted(
        self,
        store: LeaseStore4,
        client: Client4,
        subnets: Sequence[Subnet4],
        classes: Container[str],
        hint: int,
        now: int,
    ) -> Choice4 | None:
        if not hint:
            return None
        for subnet in subnets:
            pool = pool_of(subnet, hint, classes)
            if pool is not None and self._free(store, subnet, hint, client, now):
                return Choice4(subnet, hint, pool, store.get(hint), client.reservation(subnet))
        return None

    def _free(self, store: LeaseStore4, subnet: Subnet4, address: int, client: Client4, now: int) -> bool:
        if self._kept(subnet, address, client) or self._offered_to_other(address, client, now):
            return False
        lease = store.get(address)
        return lease is None or is_over(lease, now)

    def _kept(self, subnet: Subnet4, address: int, client: Client4) -> bool:
        """Whether an address is reserved for another client."""
        if not subnet.reserved or address not in subnet.reserved:
            return False
        reservation = client.reservation(subnet)
        return reservation is None or reservation.address != address

    def _offered_to_other(self, address: int, client: Client4, now: int) -> bool:
        offer = self._offers.get(address)
        return offer is not None and offer[1] > now and offer[0] != client.key

    def _any(
        self,
        store: LeaseStore4,
        client: Client4,
        subnets: Sequence[Subnet4],
        classes: Container[str],
        now: int,
    ) -> Choice4 | None:
        for search in (self._unused, self._reusable):
            for subnet in subnets:
                for pool in subnet.pools:
                    if pool.client_class and pool.client_class not in classes:
                        continue
                    choice = search(store, client, subnet, pool, now)
                    if choice is not None:
                        choice.reservation = client.reservation(subnet)
                        return choice
        return None

    def _unused(
        self, store: LeaseStore4, client: Client4, subnet: Subnet4, pool: Pool4, now: int
    ) -> Choice4 | None:
        """An address that nobody has a lease of; the search goes on where it ended the last time."""
        key = (subnet.id, pool.first, pool.last)
        if self._exhausted.get(key, 0) > now:
            return None
        cursor = self._cursors.get(key, pool.first)
        if not pool.first <= cursor <= pool.last:
            cursor = pool.first
        for address in range(cursor, min(cursor + _NEIGHBOURS, pool.last + 1)):
            if self._open(subnet, address, client, now) and store.get(address) is None:
                self._cursors[key] = address + 1
                return Choice4(subnet, address, pool)
        for first, last in ((cursor, pool.last), (pool.first, cursor - 1)):
            while first <= last:
                free = store.first_free(first, last)
                if free is None:
                    break
                if self._open(subnet, free, client, now):
                    self._cursors[key] = free + 1
                    return Choice4(subnet, free, pool)
                first = free + 1
        self._exhausted[key] = now + _EXHAUSTED_TIME
        return None

    def _open(self, subnet: Subnet4, address: int, client: Client4, now: int) -> bool:
        return not (self._kept(subnet, address, client) or self._offered_to_other(address, client, now))

    def _reusable(
        self, store: LeaseStore4, client: Client4, subnet: Subnet4, pool: Pool4, now: int
    ) -> Choice4 | None:
        """The address whose lease ended longest ago."""
        first = pool.first
        for _ in range(_NEIGHBOURS):
            lease = store.first_reusable(first, pool.last, now)
            if lease is None:
                return None
            if self._open(subnet, lease.address, client, now):
                return Choice4(subnet, lease.address, pool, lease)
            first = lease.address + 1
        return None


def pool_of(subnet: Subnet4, address: int, classes: Container[str]) -> Pool4 | None:
    """The pool that an address lies in, where the client may use it."""
    for pool in subnet.pools:
        if pool.first <= address <= pool.last and (not pool.client_class or pool.client_class in classes):
            return pool
    return None
