"""The lease store, as the servers, the commands and the reclaim see it.

The database is the truth: nothing is kept in memory beside it, so that an agent may read the same store, and
several servers may share one. A store may be used by several threads; each call is one at a time.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import AbstractContextManager
from typing import Protocol

from bridle.bundled.dhcp.leases import Lease4, Lease6

__all__ = ["LeaseStore4", "LeaseStore6", "StoreError"]

from bridle.core.errors import BridleError


class StoreError(BridleError):
    """The lease database cannot be opened, read or written."""


class LeaseStore4(Protocol):
    """Leases of IPv4 addresses. Every method may raise :class:`StoreError`."""

    def transaction(self) -> AbstractContextManager[None]:
        """Everything inside is committed together at the end, or, where something raises, undone.

        Not nested. Single calls outside are transactions of their own. Other threads wait.
        """
        ...

    def get(self, address: int) -> Lease4 | None:
        """The lease of an address, in whatever state."""
        ...

    def of_client(self, client_id: bytes, hw_address: bytes) -> list[Lease4]:
        """All leases with this client identifier or this hardware address, whatever the subnet and state.

        An empty value matches nothing.
        """
        ...

    def insert(self, lease: Lease4) -> bool:
        """Add a lease; False, and nothing done, where the address has one."""
        ...

    def update(self, lease: Lease4, before: Lease4) -> bool:
        """Replace a lease; False, and nothing done, where it is not as ``before`` (same client and expiry)
        any more: another server of the same database was faster."""
        ...

    def delete(self, address: int) -> bool:
        """Remove a lease; False where there was none."""
        ...

    def first_free(self, first: int, last: int) -> int | None:
        """The lowest address of a range that has no lease at all."""
        ...

    def first_reusable(self, first: int, last: int, now: int) -> Lease4 | None:
        """The lease in a range that ended longest ago (``expires <= now``, or reclaimed), not declined unless
        its probation has ended."""
        ...

    def select(
        self,
        *,
        subnet_ids: Collection[int] | None = None,
        hw_address: bytes | None = None,
        client_id: bytes | None = None,
        hostname: str | None = None,
        state: int | None = None,
    ) -> Iterator[Lease4]:
        """The leases that match everything that is given, by address. Host names are compared in lower
        case."""
        ...

    def page(self, after: int, limit: int) -> list[Lease4]:
        """At most ``limit`` leases with addresses greater than ``after``, by address; -1 begins."""
        ...

    def expired(self, now: int, limit: int) -> list[Lease4]:
        """At most ``limit`` leases that ended (``expires <= now``) and are not reclaimed yet, the longest
        ended first. 0: all."""
        ...

    def delete_reclaimed(self, before: int) -> int:
        """Remove reclaimed leases that ended before a time; how many."""
        ...

    def wipe(self, subnet_id: int | None) -> int:
        """Remove all leases of a subnet, or all; how many."""
        ...

    def counts(self) -> dict[tuple[int, int], int]:
        """How many leases there are, by (subnet id, state)."""
        ...

    def close(self) -> None:
        """Close the database."""
        ...


class LeaseStore6(Protocol):
    """Leases of IPv6 addresses and prefixes. Every method may raise :class:`StoreError`."""

    def transaction(self) -> AbstractContextManager[None]:
        """As in :class:`LeaseStore4`."""
        ...

    def get(self, kind: int, address: bytes) -> Lease6 | None:
        """The lease of an address or prefix, in whatever state."""
        ...

    def of_client(self, duid: bytes) -> list[Lease6]:
        """All leases of a client, whatever the subnet, association and state."""
        ...

    def insert(self, lease: Lease6) -> bool:
        """Add a lease; False, and nothing done, where the address has one."""
        ...

    def update(self, lease: Lease6, before: Lease6) -> bool:
        """Replace a lease; False where it is not as ``before`` any more."""
        ...

    def delete(self, kind: int, address: bytes) -> bool:
        """Remove a lease; False where there was none."""
        ...

    def first_reusable(self, kind: int, first: bytes, last: bytes, now: int) -> Lease6 | None:
        """As in :class:`LeaseStore4`."""
        ...

    def taken(self, kind: int, first: bytes, last: bytes) -> Iterator[bytes]:
        """The addresses of a range that have a lease, ascending."""
        ...

    def select(
        self,
        *,
        subnet_ids: Collection[int] | None = None,
        duid: bytes | None = None,
        hostname: str | None = None,
        kind: int | None = None,
        state: int | None = None,
    ) -> Iterator[Lease6]:
        """The leases that match everything that is given, by address."""
        ...

    def page(self, after: bytes, limit: int) -> list[Lease6]:
        """At most ``limit`` leases with addresses greater than ``after``; empty bytes begin."""
        ...

    def expired(self, now: int, limit: int) -> list[Lease6]:
        """As in :class:`LeaseStore4`."""
        ...

    def delete_reclaimed(self, before: int) -> int:
        """As in :class:`LeaseStore4`."""
        ...

    def wipe(self, subnet_id: int | None) -> int:
        """As in :class:`LeaseStore4`."""
        ...

    def counts(self) -> dict[tuple[int, int, int], int]:
        """How many leases there are, by (subnet id, kind, state)."""
        ...

    def close(self) -> None:
        """Close the database."""
        ...
