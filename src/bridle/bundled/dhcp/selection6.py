"""Which subnet a DHCPv6 client stands in: by its relays, the nearest first, or by interface and address."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Container, Iterable, Sequence
from itertools import accumulate

from bridle.bundled.dhcp.packet6 import Relay6
from bridle.bundled.dhcp.settings import Settings6, Subnet6

__all__ = ["Selector6"]

_INTERFACE_ID = 18


class Selector6:
    """The subnets of a configuration, in the order in which they are looked up."""

    def __init__(self, settings: Settings6) -> None:
        self._subnets = settings.subnets
        self._networks = settings.shared_networks
        self._by_relay: dict[bytes, list[Subnet6]] = {}
        self._by_interface: dict[str, list[Subnet6]] = {}
        self._by_interface_id: dict[bytes, list[Subnet6]] = {}
        for subnet in settings.subnets.values():
            for relay in subnet.relays:
                self._by_relay.setdefault(relay, []).append(subnet)
            if subnet.interface:
                self._by_interface.setdefault(subnet.interface, []).append(subnet)
            if subnet.interface_id:
                self._by_interface_id.setdefault(subnet.interface_id, []).append(subnet)
        self._sorted = sorted(settings.subnets.values(), key=lambda subnet: subnet.network)
        self._firsts = [subnet.network for subnet in self._sorted]
        # How far any subnet up to each place goes.
        self._reach = list(accumulate((last_of(subnet) for subnet in self._sorted), max))

    def select(
        self, relays: Sequence[Relay6], interface: str, source: bytes, classes: Container[str]
    ) -> Subnet6 | None:
        """The subnet, or None. ``relays`` are the outermost first."""
        if not relays:
            found = _allowed(self._by_interface.get(interface, ()), classes)
            return found or self.containing(source, classes)
        for relay in reversed(relays):
            for code, data in relay.options:
                if code == _INTERFACE_ID:
                    found = _allowed(self._by_interface_id.get(data, ()), classes)
                    if found is not None:
                        return found
            if any(relay.link):
                found = _allowed(self._by_relay.get(relay.link, ()), classes)
                return found or self.containing(relay.link, classes)
        return None

    def containing(self, address: bytes, classes: Container[str]) -> Subnet6 | None:
        """The subnet that an address lies in."""
        index = bisect_right(self._firsts, address) - 1
        # Subnets may lie inside of each other: the innermost that the client may use is the one.
        while index >= 0 and self._reach[index] >= address:
            subnet = self._sorted[index]
            if lies_in(address, subnet) and (not subnet.client_class or subnet.client_class in classes):
                return subnet
            index -= 1
        return None

    def link(self, subnet: Subnet6, classes: Container[str]) -> tuple[Subnet6, ...]:
        """The subnets from which a client in ``subnet`` may be served, itself first."""
        if not subnet.shared_network:
            return (subnet,)
        others = (self._subnets[number] for number in self._networks[subnet.shared_network].subnets)
        return (
            subnet,
            *(
                other
                for other in others
                if other is not subnet and (not other.client_class or other.client_class in classes)
            ),
        )


def last_of(subnet: Subnet6) -> bytes:
    """The highest address of a subnet."""
    return (int.from_bytes(subnet.network, "big") | ((1 << (128 - subnet.length)) - 1)).to_bytes(16, "big")


def lies_in(address: bytes, subnet: Subnet6) -> bool:
    """Whether an address lies in a subnet."""
    shift = 128 - subnet.length
    return int.from_bytes(address, "big") >> shift == int.from_bytes(subnet.network, "big") >> shift


def _allowed(subnets: Iterable[Subnet6], classes: Container[str]) -> Subnet6 | None:
    for subnet in subnets:
        if not subnet.client_class or subnet.client_class in classes:
            return subnet
    return None
