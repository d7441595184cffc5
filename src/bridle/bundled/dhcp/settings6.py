"""Reading a ``Dhcp6`` configuration."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping, Sequence
from typing import Any

from bridle.bundled.dhcp import grammars
from bridle.bundled.dhcp.grammar import Path
from bridle.bundled.dhcp.option_settings import context_of
from bridle.bundled.dhcp.scope_settings import host_order, identifier_bytes
from bridle.bundled.dhcp.settings import PdPool, Pool6, Reservation6, Settings6, Subnet6
from bridle.bundled.dhcp.subnet_settings import SubnetReader, in_order, tell_prefix
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
        if "server-id" in self.given and "type" not in self.mapping("server-id"):
            raise self.error("missing parameter 'type'", path)
        given = self.part("server-id", grammars.SERVER_ID, _SERVER_ID)
        if given["type"] not in ("LLT", "LL", "EN"):
            text = f"unsupported DUID type '{given['type']}'. Expected: LLT, EN or LL"
            raise self.error(text, [*path, "type"])
        try:
            identifier = identifier_bytes(given["identifier"]) if given["identifier"] else b""
        except ValueError as error:
            text = f"'{given['identifier']}' is not a valid string of hexadecimal digits"
            where: Path = [*path, "identifier"]
            raise self.error(f"identifier specified in the DUID configuration {text}", where) from error
        return {
            "server_id_type": given["type"],
            "server_id_identifier": identifier,
            "server_id_time": given["time"],
            "server_id_enterprise": given["enterprise-id"],
            "server_id_htype": given["htype"],
            "server_id_persist": given["persist"],
        }

    def _relay_supplied(self) -> frozenset[int]:
        # Kea lets relays supply ERP's domain name whatever else is said.
        codes = {65}
        for index, name in enumerate(self.strings(self.value, "relay-supplied-options", self.path)):
            definition = self.definitions.by_name("dhcp6", name)
            code = definition.code if definition else int(name) if name.isdecimal() and len(name) < 6 else 0
            if not 0 < code <= 65535:
                path = [*self.path, "relay-supplied-options", index]
                raise self.error(
                    f"unable to find option code for the  specified option name '{name}' while parsing the "
                    "list of enabled relay-supplied-options",
                    path,
                )
            codes.add(code)
        self.value["relay-supplied-options"] = [str(code) for code in sorted(codes)]
        return frozenset(codes)

    def _subnet(
        self, own: dict[str, Any], whole: dict[str, Any], shared_network: str, options: Any, path: Path
    ) -> tuple[Subnet6, dict[str, JSON]]:
        network = self.network(whole["subnet"], path)
        self.check_scope(whole, path)
        own_options, told_options = self.options(own, path)
        relays, _ = self.relays(whole, path)
        pools, told_pools = self._pools(own, network, path)
        prefixes, told_prefixes = self._pd_pools(own, network, pools, path)
        reservations, told_reservations = self._reservations(own, path, network)
        interface_id = whole.get("interface-id", "")
        if whole.get("interface") and interface_id:
            raise self.error(
                "subnet configuration failed: parser error: interface (defined for locally reachable "
                "subnets) and interface-id (defined for subnets reachable via relays) cannot be defined at "
                f"the same time for subnet {network}",
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
            interface_id=interface_id.encode("utf-8", "surrogatepass"),
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

    def _pools(self, own: Mapping[str, Any], network: Any, path: Path) -> tuple[list[Pool6], list[JSON]]:
        found: list[Pool6] = []
        told: list[JSON] = []
        for index, item in enumerate(self.maps(own, "pools", grammars.POOL, path)):
            where: Path = [*path, "pools", index]
            if "pool" not in item:
                raise self.error("Mandatory 'pool' entry missing in definition", where)
            first, last, text = self.range(item["pool"], network, where)
            if any(first.packed <= other.last and other.first <= last.packed for other in found):
                raise self.overlapping("IA_NA", first, last, network, where)
            options, told_options = self.options(item, where)
            classes = self.names(item, "require-client-classes", where)
            found.append(Pool6(first.packed, last.packed, options, item.get("client-class", ""), classes))
            told.append({**self.plain(item), "option-data": told_options, "pool": text, **context_of(item)})
        return in_order(found, told, key=lambda pool: pool.first)

    def _pd_pools(
        self, own: Mapping[str, Any], network: Any, pools: Sequence[Pool6], path: Path
    ) -> tuple[list[PdPool], list[JSON]]:
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
                text = f"must be longer than or equal to prefix length ({length})"
                raise self.error(f"Delegated length ({delegated}) {text}", where)
            self._check_overlap(prefix, length, pools, found, network, where)
            options, told_options = self.options(item, where)
            excluded, excluded_length = self._excluded(item, prefix, delegated, where)
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
            told_item = {**self.plain(item), "option-data": told_options, **context_of(item)}
            told_item["prefix"] = str(ipaddress.IPv6Address(prefix))
            for key in ("excluded-prefix", "excluded-prefix-len"):
                told_item.pop(key, None)
            if excluded_length:
                told_item["excluded-prefix"] = str(ipaddress.IPv6Address(excluded))
                told_item["excluded-prefix-len"] = excluded_length
            told.append(told_item)
        return in_order(found, told, key=lambda pool: pool.prefix)

    def _check_overlap(
        self,
        prefix: bytes,
        length: int,
        pools: Sequence[Pool6],
        before: Sequence[PdPool],
        network: Any,
        path: Path,
    ) -> None:
        """Prefixes may not overlap with other prefixes, nor with pools of addresses."""
        whole = ipaddress.IPv6Network((prefix, length))
        first, last = whole[0], whole[-1]
        ranges = [(pool.first, pool.last) for pool in pools]
        for one in before:
            other = ipaddress.IPv6Network((one.prefix, one.prefix_length))
            ranges.append((other[0].packed, other[-1].packed))
        if any(first.packed <= high and low <= last.packed for low, high in ranges):
            raise self.overlapping("IA_PD", first, last, network, path)

    def _excluded(
        self, item: Mapping[str, Any], prefix: bytes, delegated: int, path: Path
    ) -> tuple[bytes, int]:
        """The prefix inside of each delegated one that the delegating router keeps; length 0: none."""
        length = item.get("excluded-prefix-len", 0)
        text = item.get("excluded-prefix", "::")
        if text == "::" and not length:
            return b"", 0
        excluded, _ = self._prefix(text, length, [*path, "excluded-prefix"])
        if not length:
            raise self.error(f"invalid excluded prefix {text}/{length}", path)
        if length <= delegated:
            raise self.error(
                f"Excluded prefix ({length}) must be longer than or equal to the delegated prefix length "
                f"({delegated})",
                path,
            )
        holder = ipaddress.IPv6Network((prefix, delegated))
        if ipaddress.IPv6Address(excluded) not in holder:
            raise self.error(
                f"excluded prefix {text}/{length} must have the same common prefix part of {delegated} as "
                f"the delegated prefix {holder}",
                path,
            )
        return excluded, length

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
        told: dict[tuple[str, bytes], JSON] = {}
        taken: set[tuple[bytes, int]] = set()
        for index, item in enumerate(self.maps(own, "reservations", grammars.RESERVATION[6], path)):
            where: Path = [*path, "reservations", index]
            identifier = self.identifier(item, where)
            if identifier in found:
                raise self.already(identifier, own.get("id"), where)
            self.check_resources(item, where)
            options, told_options = self.options(item, where)
            reserved, prefixes = self._addresses(item, where, network), self._prefixes_of(item, where)
            for resource in [*((one, 128) for one in reserved), *prefixes]:
                if resource in taken and self.value["ip-reservations-unique"]:
                    raise self.error(
                        f"failed to add address reservation for host to the IPv6 subnet id '{own.get('id')}'"
                        f" for address/prefix {ipaddress.IPv6Address(resource[0])}: There's already "
                        "reservation for this address/prefix",
                        where,
                    )
                taken.add(resource)
            found[identifier] = Reservation6(
                identifier,
                reserved,
                prefixes,
                item.get("hostname", ""),
                options,
                self.names(item, "client-classes", where),
            )
            told[identifier] = {
                "client-classes": [],
                "hostname": "",
                **self.plain(item),
                **self.tell_identifier(identifier),
                "ip-addresses": [str(ipaddress.IPv6Address(one)) for one in reserved],
                "prefixes": [tell_prefix(one) for one in item.get("prefixes", [])],
                "option-data": told_options,
                **context_of(item),
            }
        return found, [told[one] for one in sorted(told, key=host_order)]

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
            if address.packed in found:
                text = f"failed on attempt to add a duplicated host reservation for {address}"
                raise self.error(text, where)
            found.append(address.packed)
        return tuple(found)

    def _prefixes_of(self, item: Mapping[str, Any], path: Path) -> tuple[tuple[bytes, int], ...]:
        found = []
        for index, text in enumerate(self.strings(item, "prefixes", path)):
            address, _, length = text.partition("/")
            where = [*path, "prefixes", index]
            if not length:
                raise self.error(f"prefix reservation requires prefix length be specified in '{text}'", where)
            if not length.isdecimal() or len(length) > 3 or int(length) > 128:
                raise self.error(f"invalid prefix length '{length}' for new IPv6 reservation", where)
            found.append(self._prefix(address, int(length), where))
        return tuple(found)
