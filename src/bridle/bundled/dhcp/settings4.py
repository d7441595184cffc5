"""Reading a ``Dhcp4`` configuration."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from typing import Any

from bridle.bundled.dhcp import grammars
from bridle.bundled.dhcp.grammar import Path
from bridle.bundled.dhcp.option_settings import context_of
from bridle.bundled.dhcp.scope_settings import host_order
from bridle.bundled.dhcp.settings import Pool4, Reservation4, Settings4, Subnet4
from bridle.bundled.dhcp.subnet_settings import SubnetReader, in_order
from bridle.core.messages import JSON
from bridle.daemon.document import Document

__all__ = ["read_settings4"]


def read_settings4(document: Document) -> Settings4:
    """Read a document.

    Raises:
        ConfigurationError: something in it is wrong, unknown, or not done here; with the position.
    """
    return _Reader4(document).settings()


class _Reader4(SubnetReader):
    def __init__(self, document: Document) -> None:
        super().__init__(document, 4)

    def settings(self) -> Settings4:
        self.read_definitions()
        common = self.common()
        self.unused()
        self.address4(self.value, "next-server", self.path)
        networks, subnets = self.read_networks(self._subnet)
        hosts, told = self._reservations(self.value, self.path, None)
        if "reservations" in self.given:
            self.value["reservations"] = told
        return Settings4(
            value=self.value,
            shared_networks=networks,
            subnets=subnets,
            reservations=hosts,
            echo_client_id=self.value["echo-client-id"],
            socket_type=self.value["interfaces-config"].get("dhcp-socket-type", "raw"),
            **common,
        )

    def _subnet(
        self, own: dict[str, Any], whole: dict[str, Any], shared_network: str, options: Any, path: Path
    ) -> tuple[Subnet4, dict[str, JSON]]:
        network = self.network(whole["subnet"], path)
        self.check_scope(whole, path)
        own_options, told_options = self.options(own, path)
        relays, named = self.relays(whole, path)
        pools, told_pools = self._pools(own, network, path)
        reservations, told_reservations = self._reservations(own, path, network)
        subnet = Subnet4(
            id=own["id"],
            network=int(network.network_address),
            length=network.prefixlen,
            text=str(network),
            pools=tuple(pools),
            valid=self.lifetime(whole, "valid", path),
            renew_timer=whole.get("renew-timer"),
            rebind_timer=whole.get("rebind-timer"),
            calculate_tee_times=whole["calculate-tee-times"],
            t1_percent=whole["t1-percent"],
            t2_percent=whole["t2-percent"],
            options={**options, **own_options},
            interface=whole.get("interface", ""),
            relays=frozenset(int(ipaddress.IPv4Address(address)) for address in relays)
            if named
            else frozenset(),
            client_class=whole.get("client-class", ""),
            require_client_classes=self.names(whole, "require-client-classes", path),
            next_server=self.address4(whole, "next-server", path),
            server_hostname=whole["server-hostname"],
            boot_file_name=whole["boot-file-name"],
            authoritative=whole["authoritative"],
            match_client_id=whole["match-client-id"],
            reservations=reservations,
            reserved={one.address: one for one in reservations.values() if one.address},
            reservations_global=whole["reservations-global"],
            reservations_in_subnet=whole["reservations-in-subnet"],
            reservations_out_of_pool=whole["reservations-out-of-pool"],
            shared_network=shared_network,
            ddns=self.behaviour(whole, path),
        )
        told = {
            "4o6-interface": "",
            "4o6-interface-id": "",
            "4o6-subnet": "",
            **self.tell_subnet(own, whole, relays, told_options, told_pools, told_reservations),
        }
        return subnet, told

    def _pools(self, own: Mapping[str, Any], network: Any, path: Path) -> tuple[list[Pool4], list[JSON]]:
        found: list[Pool4] = []
        told: list[JSON] = []
        for index, item in enumerate(self.maps(own, "pools", grammars.POOL, path)):
            where: Path = [*path, "pools", index]
            if "pool" not in item:
                raise self.error("Mandatory 'pool' entry missing in definition", where)
            first, last, text = self.range(item["pool"], network, where)
            if any(int(first) <= other.last and other.first <= int(last) for other in found):
                raise self.overlapping("V4", first, last, network, where)
            options, told_options = self.options(item, where)
            found.append(
                Pool4(
                    int(first),
                    int(last),
                    options,
                    item.get("client-class", ""),
                    self.names(item, "require-client-classes", where),
                )
            )
            told.append({**self.plain(item), "option-data": told_options, "pool": text, **context_of(item)})
        return in_order(found, told, key=lambda pool: pool.first)

    def _reservations(
        self, own: Mapping[str, Any], path: Path, network: Any
    ) -> tuple[dict[tuple[str, bytes], Reservation4], list[JSON]]:
        found: dict[tuple[str, bytes], Reservation4] = {}
        told: dict[tuple[str, bytes], JSON] = {}
        addresses: set[int] = set()
        for index, item in enumerate(self.maps(own, "reservations", grammars.RESERVATION[4], path)):
            where: Path = [*path, "reservations", index]
            identifier = self.identifier(item, where)
            if identifier in found:
                raise self.already(identifier, own.get("id"), where)
            self._check_boot(item, where)
            self.check_resources(item, where)
            address = self.address4(item, "ip-address", where)
            if not address and "ip-address" in item:
                raise self.error(
                    "must not make reservation for the '0.0.0.0' address", [*where, "ip-address"]
                )
            if network is not None and address and ipaddress.IPv4Address(address) not in network:
                raise self.error(
                    f"specified reservation '{item['ip-address']}' is not within the IPv4 subnet '{network}'",
                    [*where, "ip-address"],
                )
            if address and address in addresses and self.value["ip-reservations-unique"]:
                raise self.error(
                    f"failed to add new host to the IPv4 subnet id '{own.get('id')}' for the address "
                    f"{item['ip-address']}: There's already a reservation for this address",
                    where,
                )
            addresses.add(address)
            options, told_options = self.options(item, where)
            found[identifier] = Reservation4(
                identifier,
                address,
                item.get("hostname", ""),
                self.address4(item, "next-server", where),
                item.get("server-hostname", ""),
                item.get("boot-file-name", ""),
                options,
                self.names(item, "client-classes", where),
            )
            told[identifier] = {
                "boot-file-name": "",
                "client-classes": [],
                "hostname": "",
                "next-server": "0.0.0.0",
                "server-hostname": "",
                **self.plain(item),
                **self.tell_identifier(identifier),
                "option-data": told_options,
                **context_of(item),
            }
        return found, [told[one] for one in sorted(told, key=host_order)]

    def _check_boot(self, item: Mapping[str, Any], path: Path) -> None:
        for key, name, limit in (
            ("server-hostname", "server hostname", 63),
            ("boot-file-name", "boot file", 127),
        ):
            if len(item.get(key, "").encode("utf-8", "surrogatepass")) > limit:
                raise self.error(f"{name} length must not exceed {limit}", [*path, key])
        if item.get("next-server") == "255.255.255.255":
            raise self.error("invalid next server address '255.255.255.255'", [*path, "next-server"])
