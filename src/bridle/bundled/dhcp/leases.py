"""What a lease is.

IPv4 addresses are unsigned integers, IPv6 addresses 16 bytes: what the wire has and what sorts.
Times are whole seconds since the epoch.
"""

from __future__ import annotations

from enum import IntEnum

import msgspec

from bridle.core.messages import JSON

__all__ = ["Lease4", "Lease6", "LeaseKind", "LeaseState"]


class LeaseState(IntEnum):
    """Kea's lease states. A reclaimed lease keeps its address for its client as long as there are others."""

    ASSIGNED = 0
    DECLINED = 1
    RECLAIMED = 2


class LeaseKind(IntEnum):
    """What an IPv6 lease is of; the numbers are Kea's."""

    ADDRESS = 0
    PREFIX = 2


class Lease4(msgspec.Struct, kw_only=True, gc=False):
    """An IPv4 lease. ``client_id`` and ``hw_address`` are empty where the client sent none."""

    address: int
    hw_address: bytes
    client_id: bytes = b""
    valid_lifetime: int
    cltt: int
    """Client's last transaction time."""
    subnet_id: int
    hostname: str = ""
    fqdn_forward: bool = False
    fqdn_reverse: bool = False
    state: int = LeaseState.ASSIGNED
    user_context: JSON = None

    @property
    def expires(self) -> int:
        """When it ends."""
        return self.cltt + self.valid_lifetime


class Lease6(msgspec.Struct, kw_only=True, gc=False):
    """An IPv6 lease: an address, or a delegated prefix."""

    address: bytes
    kind: int = LeaseKind.ADDRESS
    prefix_length: int = 128
    duid: bytes
    iaid: int
    preferred_lifetime: int
    valid_lifetime: int
    cltt: int
    subnet_id: int
    hw_address: bytes = b""
    hostname: str = ""
    fqdn_forward: bool = False
    fqdn_reverse: bool = False
    state: int = LeaseState.ASSIGNED
    user_context: JSON = None

    @property
    def expires(self) -> int:
        """When it ends."""
        return self.cltt + self.valid_lifetime
