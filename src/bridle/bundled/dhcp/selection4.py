"""Which subnet a DHCPv4 client stands in.

In Kea's order: the relay's link selection, the subnet selection option, the relay's address, the interface,
the client's own address, and the address of the interface that the message came in on.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Container
from itertools import accumulate

from bridle.bundled.dhcp.settings import Settings4, Subnet4

__all__ = ["Selector4"]


class Selector4:
    """The subnets of a configuration, in the order in which they are looked up."""

    def __init__(self, settings: Settings4) -> None:
        self._by_relay: dict[int, list[Subnet4]] = {}
        self._by_interface: dict[str, list[Subnet4]] = {}
        self._networks = settings.shared_networks
        self._subnets = settings.subnets
        for subnet in settings.subnets.values():
            for relay in subnet.relays:
                self._by_relay.setdefault(relay, []).append(subnet)
            if subnet.interface:
                self._by_interface.setdefault(subnet.interface, []).append(subnet)
        self._sorted = sorted(settings.subnets.values(), key=lambda subnet: subnet.first)
        self._firsts = [subnet.first for subnet in self._sorted]
        # How far any subnet up to each place goes.
        self._reach = list(accumulate((subnet.last for subnet in self._sorted), max))

    def select(
        self, *, link: int, relay: int, interface: str, client: int, local: int, classes: Container[str]
    ) -> Subnet4 | None:
        """The subnet, or None. 0 stands for an address that there is not.

        ``link`` is what a relay or the client says that the client's link is, ``relay`` the relay's own
        address, ``client`` the client's, ``local`` that of the interface.
        """
        if link:
            return self.containing(link, classes)
        if relay:
            return _allowed(self._by_relay.get(relay, ()), classes) or self.containing(relay, classes)
        return (
            _allowed(self._by_interface.get(interface, ()), classes)
            or self.containing(client, classes)
            or self.containing(local, classes)
        )

    def containing(self, address: int, classes: Container[str]) -> Subnet4 | None:
        """The subnet that an address lies in."""
        if not address:
            return None
        index = bisect_right(self._firsts, address) - 1
        # Subnets may lie inside of each other: the innermost that the client may use is the one.
        while index >= 0 and self._reach[index] >= address:
            subnet = self._sorted[index]
            if address <= subnet.last and (not subnet.client_class or subnet.client_class in classes):
                return subnet
            index -= 1
        return None

    def link(self, subnet: Subnet4, classes: Container[str]) -> tuple[Subnet4, ...]:
        """The subnets from which a client in ``subnet`` may be served: those of its shared network, itself
        first."""
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


def _allowed(subnets: list[Subnet4] | tuple[()], classes: Container[str]) -> Subnet4 | None:
    for subnet in subnets:
        if not subnet.client_class or subnet.client_class in classes:
            return subnet
    return None
