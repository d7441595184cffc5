"""What a batch of messages changes besides the leases: the statistics, and the names in DNS.

Both are collected while the batch is worked on, and told when its transaction is committed.
"""

from __future__ import annotations

from typing import Generic, TypeVar

from bridle.bundled.dhcp.leases import Lease4, Lease6, LeaseKind, LeaseState

__all__ = ["Accounts", "assigned_name"]

L = TypeVar("L", Lease4, Lease6)


def assigned_name(lease: Lease4 | Lease6) -> str:
    """Which statistic of its subnet a lease counts in."""
    if isinstance(lease, Lease4):
        return "assigned-addresses"
    return "assigned-pds" if lease.kind == LeaseKind.PREFIX else "assigned-nas"


class Accounts(Generic[L]):
    """The changes of one batch."""

    def __init__(self) -> None:
        self.counts: dict[str, int] = {}
        self.names: list[tuple[L, bool]] = []
        """Leases whose name begins (True) or ends."""

    def count(self, name: str, by: int = 1) -> None:
        """Count something."""
        self.counts[name] = self.counts.get(name, 0) + by

    def count_in(self, subnet_id: int, name: str, by: int = 1) -> None:
        """Count something of a subnet."""
        self.count(f"subnet[{subnet_id}].{name}", by)

    def assigned(self, lease: L) -> None:
        """A client has a lease that it did not have before."""
        name = assigned_name(lease)
        self.count(f"cumulative-{name}")
        self.count_in(lease.subnet_id, f"cumulative-{name}")
        self.count_in(lease.subnet_id, name)

    def ended(self, lease: L) -> None:
        """A lease is nobody's any more."""
        self.count_in(lease.subnet_id, assigned_name(lease), -1)
        self.named(lease, None)

    def declined(self, lease: L) -> None:
        """A client says that somebody else uses its address."""
        self.named(lease, None)
        self.count("declined-addresses")
        self.count_in(lease.subnet_id, "declined-addresses")

    def reclaimed(self, lease: L) -> None:
        """A lease had ended, and nobody had cleared it away yet."""
        self.count("reclaimed-leases")
        self.count_in(lease.subnet_id, "reclaimed-leases")
        if lease.state == LeaseState.DECLINED:
            self.count("declined-addresses", -1)
            self.count_in(lease.subnet_id, "declined-addresses", -1)
            self.count("reclaimed-declined-addresses")
            self.count_in(lease.subnet_id, "reclaimed-declined-addresses")
        self.ended(lease)

    def named(self, before: L | None, after: L | None, *, again: bool = False) -> None:
        """A lease may have another name than before; ``again``: even the same one is told."""
        old, new = _name(before), _name(after)
        if old == new and not again:
            return
        if old is not None and before is not None:
            self.names.append((before, False))
        if new is not None and after is not None:
            self.names.append((after, True))


def _name(lease: Lease4 | Lease6 | None) -> tuple[str, bool, bool] | None:
    """What is in DNS of a lease."""
    if lease is None or not (lease.fqdn_forward or lease.fqdn_reverse):
        return None
    return lease.hostname, lease.fqdn_forward, lease.fqdn_reverse
