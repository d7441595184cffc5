"""Reading a ``Dhcp6`` configuration."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from typing import Any

from bridle.bundled.dhcp import grammars
from bridle.bundled.dhcp.grammar import Path
from bridle.bundled.dhcp.option_settings import context_of
from bridle.bundled.dhcp.scope_settings import identifier_bytes
from bridle.bundled.dhcp.settings import PdPool, Pool6, Reservation6, Settings6, Subnet6
from bridle.bundled.dhcp.subnet_settings import SubnetReader
from bridle.core.messages import JSON
from bridle.daemon.document import Document

__all__ = ["read_settings6"]

_SERVER_ID: dict[str, JSON] = {
    "enterprise-id": 0,
    "htype": 0,
    "identifier": "",
    "persist": True,
    "time": 0,
    "type": "LLT",
}


def read_settings6(document: Document) -> Settings6:
    """Read a document.

    Raises:
        ConfigurationError: something in it is wrong, unknown, or not done here; with the position.
    """
    return _Reader6(document).settings()


class _Reader6(SubnetReader):
    def __init__(self, document: Document) -> None:
        super().__init__(document, 6)

    def settings(self) -> Settings6:
        self.read_definitions()
        common = self.common()
        self.unused()
        networks, subnets = self.read_networks(self._subnet)
        hosts, told = self._reservations(self.value, self.path)
        if "reservations" in self.given:
            self.value["reservations"] = told
        return Settings6(
            value=self.value,
            shared_networks=networks,
            subnets=subnets,
            reservations=hosts,
            data_directory=self.value["data-directory"],
            relay_supplied_options=self._relay_supplied(),
            **self._server_id(),
            **common,
        )

    def _server_id(self) -> dict[str, Any]:
        path = [*self.path, "server-id"]
        given = self.part("server-id", grammars.SERVER_ID, _SERVER_ID)
        if given["type"] not in ("LLT", "LL", "EN"):
            raise self.error(f"invalid DUID type '{given['type']}'", [*path, "type"])
        try:
            identifier = identifier_bytes(given["identifier"]) if given["identifier"] else b""
        except ValueError as error:
            raise self.error(f"'{given['identifier']}' is no identifier", [*path, "identifier"]) from error
        return {
            "server_id_type": given["type"],
            "server_id_identifier": identifier,
            "server_id_time": given["time"],
            "server_id_enterprise": given["enterprise-id"],
            "server_id_htype": given["htype"],
            "server_id_persist": given["persist"],
        }

    def _relay_supplied(self) -> frozenset[int]:
        codes = set()
        for index, name in enumerate(self.strings(self.value, "relay-supplied-options", self.path)):
            definition = self.definitions.by_name("dhcp6", name)
            if definition is None and not name.isdecimal():
                path = [*self.path, "relay-supplied-options", index]
                raise self.error(f"unable to find RSOO option: {name}", path)
            codes.add(int(name) if definition is None else definition.code)
        return frozenset(codes)

    def _subnet(
        self, own: dict[str, Any], whole: dict[str, Any], shared_network: str, options: Any, path: Path
    ) -> tuple[Subnet6, dict[str, JSON]]:
        network = self.network(whole["subnet"], path)
        own_options, told_options = self.options(own, path)
        relays, _ = self.relays(whole, path)
        pools, told_pools = self._pools(own, network, path)
        prefixes, told_prefixes = self._pd_pools(own, path)
        reservations, told_reservations = self._reservations(own, path, network)
        self.timers(whole, path)
        interface_id = whole.get("interface-id", "")
        if whole.get("interface") and interface_id:
            raise self.error(
                "parser error: interface (defined for locally reachable subnets) and interface-id "
                "(defined for subnets reachable via relays) cannot be defined at the same time",
                path,
            )
        addresses = {address: one for one in reservations.values() for address in one.addresses}
        subnet = Subnet6(
            id=own["id"],
            network=network.network_address.packed,
            length=network.prefixlen,
            text=str(network),
            pools=tuple(pools),
            pd_pools=tuple(prefixes),
            preferred=self.lifetime(whole, "preferred", path),
            valid=self.lifetime(whole, "valid", path),
            renew_timer=whole.get("renew-timer"),
            rebind_timer=whole.get("rebind-timer"),
            calculate_tee_times=whole["calculate-tee-times"],
            t1_percent=whole["t1-percent"],
            t2_percent=whole["t2-percent"],
            options={**options, **own_options},
            interface=whole.get("interface", ""),
            interface_id=interface_id.encode(),
            relays=frozenset(ipaddress.IPv6Address(address).packed for address in relays),
            client_class=whole.get("client-class", ""),
            require_client_classes=self.names(whole, "require-client-classes", path),
            rapid_commit=whole.get("rapid-commit", False),
            reservations=reservations,
            reserved_addresses=addresses,
            reserved_prefixes={prefix: one for one in reservations.values() for prefix, _ in one.prefixes},
            reservations_global=whole["reservations-global"],
            reservations_in_subnet=whole["reservations-in-subnet"],
            reservations_out_of_pool=whole["reservations-out-of-pool"],
            shared_network=shared_network,
            ddns=self.behaviour(whole, path),
        )
        told = self.tell_subnet(own, whole, relays, told_options, told_pools, told_reservations)
        told["pd-pools"] = told_prefixes
        if not shared_network:
            told.setdefault("rapid-commit", False)
        return subnet, told

    def _pools(self, own: Mapping[str, Any], network: Any, path: Path) -> tuple[list[Pool6], JSON]:
        found: list[Pool6] = []
        told: list[JSON] = []
        for index, item in enumerate(self.maps(own, "pools", grammars.POOL, path)):
            where: Path = [*path, "pools", index]
            if "pool" not in item:
                raise self.error("missing parameter 'pool'", where)
            first, last, text = self.range(item["pool"], network, where)
            if any(first.packed <= other.last and other.first <= last.packed for other in found):
                raise self.error(f"a pool of type IA_NA, {first}-{last}, overlaps with another", where)
            options, told_options = self.options(item, where)
            classes = self.names(item, "require-client-classes", where)
            found.append(Pool6(first.packed, last.packed, options, item.get("client-class", ""), classes))
            told.append({**self.plain(item), "option-data": told_options, "pool": text, **context_of(item)})
        return found, told

    def _pd_pools(self, own: Mapping[str, Any], path: Path) -> tuple[list[PdPool], JSON]:
        found: list[PdPool] = []
        told: list[JSON] = []
        for index, item in enumerate(self.maps(own, "pd-pools", grammars.PD_POOL, path)):
            where: Path = [*path, "pd-pools", index]
            for key in ("prefix", "prefix-len", "delegated-len"):
                if key not in item:
                    raise self.error(f"missing parameter '{key}'", where)
            prefix, length = self._prefix(item["prefix"], item["prefix-len"], [*where, "prefix"])
            delegated = item["delegated-len"]
            if delegated < length:
                raise self.error(
                    f"delegated length ({delegated}) is shorter than the prefix length ({length})", where
                )
            options, told_options = self.options(item, where)
            excluded, excluded_length = b"", item.get("excluded-prefix-len", 0)
            if "excluded-prefix" in item:
                excluded, _ = self._prefix(
                    item["excluded-prefix"], excluded_length, [*where, "excluded-prefix"]
                )
                if excluded_length <= delegated:
                    raise self.error("an excluded prefix is longer than the delegated ones", where)
            found.append(
                PdPool(
                    prefix,
                    length,
                    delegated,
                    excluded,
                    excluded_length,
                    options,
                    item.get("client-class", ""),
                    self.names(item, "require-client-classes", where),
                )
            )
            told.append({**self.plain(item), "option-data": told_options, **context_of(item)})
        return found, told

    def _prefix(self, text: str, length: int, path: Path) -> tuple[bytes, int]:
        try:
            network = ipaddress.IPv6Network((text, length), strict=False)
        except ValueError as error:
            raise self.error(f"invalid prefix '{text}/{length}'", path) from error
        return network.network_address.packed, length

    def _reservations(
        self, own: Mapping[str, Any], path: Path, network: Any = None
    ) -> tuple[dict[tuple[str, bytes], Reservation6], JSON]:
        found: dict[tuple[str, bytes], Reservation6] = {}
        told: list[JSON] = []
        for index, item in enumerate(self.maps(own, "reservations", grammars.RESERVATION[6], path)):
            where: Path = [*path, "reservations", index]
            identifier = self.identifier(item, where)
            if identifier in found:
                raise self.error(
                    "failed to add new host: the same identifier has a reservation already", where
                )
            options, told_options = self.options(item, where)
            found[identifier] = Reservation6(
                identifier,
                self._addresses(item, where, network),
                self._prefixes_of(item, where),
                item.get("hostname", ""),
                options,
                self.names(item, "client-classes", where),
            )
            told.append(
                {
                    "client-classes": [],
                    "hostname": "",
                    "ip-addresses": [],
                    "prefixes": [],
                    **self.plain(item),
                    **self.tell_identifier(identifier),
                    "option-data": told_options,
                    **context_of(item),
                }
            )
        return found, told

    def _addresses(self, item: Mapping[str, Any], path: Path, network: Any) -> tuple[bytes, ...]:
        found = []
        for index, text in enumerate(self.strings(item, "ip-addresses", path)):
            where = [*path, "ip-addresses", index]
            try:
                address = ipaddress.IPv6Address(text)
            except ValueError as error:
                raise self.error(f"invalid address '{text}'", where) from error
            if network is not None and address not in network:
                raise self.error(
                    f"specified reservation '{text}' is not within the IPv6 subnet '{network}'", where
                )
            found.append(address.packed)
        return tuple(found)

    def _prefixes_of(self, item: Mapping[str, Any], path: Path) -> tuple[tuple[bytes, int], ...]:
        found = []
        for index, text in enumerate(self.strings(item, "prefixes", path)):
            address, _, length = text.partition("/")
            where = [*path, "prefixes", index]
            if not length.isdecimal():
                raise self.error(f"invalid prefix '{text}'", where)
            found.append(self._prefix(address, int(length), where))
        return tuple(found)
