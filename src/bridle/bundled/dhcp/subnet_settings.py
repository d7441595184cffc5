"""Shared networks and subnets, as far as both protocols have them alike."""

from __future__ import annotations

import contextlib
import ipaddress
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from operator import itemgetter
from typing import Any, TypeVar

from bridle.bundled.dhcp import grammars
from bridle.bundled.dhcp.global_settings import GlobalReader
from bridle.bundled.dhcp.grammar import Path
from bridle.bundled.dhcp.option_settings import context_of
from bridle.bundled.dhcp.settings import SharedNetwork
from bridle.core.errors import ConfigurationError
from bridle.core.messages import JSON

__all__ = ["SubnetReader", "in_order", "of_subnet", "tell_prefix"]

S = TypeVar("S")
P = TypeVar("P")

_ID_LIMIT = 0xFFFFFFFE
# What config-get tells of a subnet or network only where the configuration says it there.
_OWN = (
    "authoritative",
    "client-class",
    "interface",
    "interface-id",
    "match-client-id",
    "next-server",
    "server-hostname",
    "boot-file-name",
    "rapid-commit",
    "ddns-send-updates",
    "ddns-override-no-update",
    "ddns-override-client-update",
    "ddns-replace-client-name",
    "ddns-generated-prefix",
    "ddns-qualifying-suffix",
    "ddns-update-on-renew",
    "ddns-use-conflict-resolution",
    "hostname-char-set",
    "hostname-char-replacement",
    "reservations-global",
    "reservations-in-subnet",
    "reservations-out-of-pool",
    "require-client-classes",
)
# Of these not where it says nothing.
_IF_ANY = frozenset(
    {
        "boot-file-name",
        "client-class",
        "interface",
        "interface-id",
        "require-client-classes",
        "server-hostname",
    }
)


@contextlib.contextmanager
def of_subnet() -> Iterator[None]:
    """Say of an error that it is in a subnet, as Kea does."""
    try:
        yield
    except ConfigurationError as error:
        text = f"subnet configuration failed: {error.text}"
        raise ConfigurationError(text, path=error.path, position=error.position) from error


def in_order(found: list[P], told: list[JSON], *, key: Callable[[P], Any]) -> tuple[list[P], list[JSON]]:
    """Pools and how they are told, by address: Kea keeps them so, and leases from the lowest first."""
    order = sorted(range(len(found)), key=lambda index: key(found[index]))
    return [found[index] for index in order], [told[index] for index in order]


def tell_prefix(text: str) -> str:
    """A prefix as ``config-get`` tells it: the address in its usual form, with all of its bits."""
    address, _, length = text.partition("/")
    return f"{ipaddress.ip_address(address.strip())}/{int(length)}"


_RESOURCES = (
    "ip-address",
    "ip-addresses",
    "prefixes",
    "hostname",
    "option-data",
    "client-classes",
    "next-server",
    "server-hostname",
    "boot-file-name",
)


class SubnetReader(GlobalReader):
    """Reads subnets. ``read`` of :meth:`read_networks` is given what a subnet says itself, what holds in it,
    its network's name, the options of its network, and its path."""

    @property
    def key(self) -> str:
        """``subnet4`` or ``subnet6``."""
        return grammars.SUBNET_KEYS[self.protocol]

    def read_networks(
        self, read: Callable[[dict[str, Any], dict[str, Any], str, Any, Path], tuple[S, dict[str, JSON]]]
    ) -> tuple[dict[str, SharedNetwork], dict[int, S]]:
        """All shared networks and subnets; how they are told is left in ``value``."""
        networks: dict[str, SharedNetwork] = {}
        subnets: dict[int, S] = {}
        self._number()
        self._prefixes: set[str] = set()
        given = self.maps(self.given, "shared-networks", grammars.NETWORK[self.protocol], self.path)
        told_networks: list[tuple[str, JSON]] = []
        for index, item in enumerate(given):
            path: Path = [*self.path, "shared-networks", index]
            name = item.get("name", "")
            if not name:
                raise self.error("missing parameter 'name'", path)
            if name in networks:
                raise self.error(f"duplicate network '{name}' found in the configuration", path)
            whole = self.inherit(self.value, item, path)
            for key in ("relay", "client-class"):
                if key in item:
                    whole[key] = item[key]
            options, told_options = self.options(item, path)
            relays, _ = self.relays(item, path)
            ids, told_subnets = self._read_subnets(item, path, whole, name, options, subnets, read)
            self._check_link(item, path)
            networks[name] = SharedNetwork(
                name, tuple(ids), item.get("interface", ""), item.get("client-class", "")
            )
            told_network = self._tell_network(item, whole, relays, told_options)
            told_networks.append((name, {**told_network, "name": name, self.key: told_subnets}))
        self.value["shared-networks"] = [told for _, told in sorted(told_networks, key=itemgetter(0))]
        _, told_alone = self._read_subnets(self.given, self.path, self.value, "", {}, subnets, read)
        self.value[self.key] = told_alone
        return networks, subnets

    def _read_subnets(
        self,
        holder: Mapping[str, Any],
        path: Path,
        whole: Mapping[str, Any],
        network: str,
        options: Any,
        subnets: dict[int, S],
        read: Callable[[dict[str, Any], dict[str, Any], str, Any, Path], tuple[S, dict[str, JSON]]],
    ) -> tuple[list[int], list[JSON]]:
        """The subnets of a network, or those without; their numbers, and how they are told, by number."""
        ids: list[int] = []
        told: list[tuple[int, JSON]] = []
        for own, where in self._subnets(holder, path):
            number = own["id"]
            if number in subnets:
                text = f"ID of the new IPv{self.protocol} subnet '{number}' is already in use"
                raise self.error(text, where)
            with of_subnet():
                prefix = str(self.network(own["subnet"], where))
            if prefix in self._prefixes:
                raise self.error(f"subnet with the prefix of '{prefix}' already exists", where)
            self._prefixes.add(prefix)
            inherited = self.inherit(whole, own, where)
            if network:
                for key in ("relay", "client-class"):
                    if key in whole:
                        inherited.setdefault(key, whole[key])
            subnets[number], one = read(own, inherited, network, options, where)
            ids.append(number)
            told.append((number, one))
        return ids, [one for _, one in sorted(told, key=itemgetter(0))]

    def _subnets(self, whole: Mapping[str, Any], path: Path) -> list[tuple[dict[str, Any], Path]]:
        grammar = grammars.SUBNET[self.protocol]
        found = []
        for index, item in enumerate(self.maps(whole, self.key, grammar, path)):
            where: Path = [*path, self.key, index]
            if "subnet" not in item:
                text = "mandatory 'subnet' parameter is missing for a subnet being configured"
                raise self.error(f"subnet configuration failed: {text}", where)
            own = dict(item)
            own["id"] = self._ids[tuple(where)]
            with of_subnet():
                self.mode_flags(own, where)
            found.append((own, where))
        return found

    def _number(self) -> None:
        """Give the subnets without a number the next ones, in Kea's order: those of networks first."""
        self._ids: dict[tuple[str | int, ...], int] = {}
        next_id = 1
        places: list[tuple[JSON, Path]] = []
        for index, network in enumerate(self.sequence(self.given, "shared-networks", self.path)):
            if isinstance(network, dict):
                path: Path = [*self.path, "shared-networks", index]
                places += [
                    (one, [*path, self.key, number])
                    for number, one in enumerate(self.sequence(network, self.key, path))
                ]
        places += [
            (one, [*self.path, self.key, number])
            for number, one in enumerate(self.sequence(self.given, self.key, self.path))
        ]
        for one, path in places:
            given = one.get("id", 0) if isinstance(one, dict) else 0
            if type(given) is int and given:
                if given > _ID_LIMIT:
                    text = f"is not within expected range: (0 - {_ID_LIMIT})"
                    text = f"The 'id' value ({given}) {text}"
                    raise self.error(f"subnet configuration failed: {text}", [*path, "id"])
                self._ids[tuple(path)] = given
            else:
                self._ids[tuple(path)] = next_id
                next_id += 1

    def _check_link(self, network: Mapping[str, Any], path: Path) -> None:
        """Refuse subnets that say of their common link what cannot be true of one."""
        interface = network.get("interface", "")
        subnets = network.get(self.key, [])
        for index, one in enumerate(subnets):
            where, name = [*path, self.key, index], one["subnet"]
            told = one.get("interface", "")
            if told and interface and told != interface:
                raise self.error(
                    f"Subnet {name} has specified interface {told}, but earlier subnet in the same "
                    f"shared-network or the shared-network itself used {interface}",
                    [*where, "interface"],
                )
            interface = interface or told
            key = "authoritative"
            if key in one and one[key] != network.get(key, self.value.get(key)):
                said, other = json.dumps(one[key]), json.dumps(not one[key])
                text = f"has different authoritative setting {said} than the shared-network itself: {other}"
                raise self.error(f"Subnet {name} {text}", [*where, key])
        self._check_rapid_commit(network, subnets, path)

    def _check_rapid_commit(
        self, network: Mapping[str, Any], subnets: Sequence[Mapping[str, Any]], path: Path
    ) -> None:
        said = [one.get("rapid-commit", network.get("rapid-commit", False)) for one in subnets]
        for index, one in enumerate(subnets):
            if said[index] is not said[0]:
                raise self.error(
                    "All subnets in a shared network must have the same rapid-commit value. Subnet "
                    f"{one['subnet']} has specified rapid-commit {json.dumps(said[index])}, but earlier "
                    "subnet in the same shared-network or the shared-network itself used rapid-commit "
                    f"{json.dumps(said[0])}",
                    [*path, self.key, index],
                )

    def check_scope(self, whole: Mapping[str, Any], path: Path) -> None:
        """Refuse times and names in a subnet that cannot be."""
        with of_subnet():
            self.timers(whole, path)
            for kind in ("valid", *(("preferred",) if self.protocol == 6 else ())):
                self.lifetime(whole, kind, path)
            self.behaviour(whole, path)

    def overlapping(self, kind: str, first: Any, last: Any, network: Any, path: Path) -> ConfigurationError:
        """The error about a pool that has addresses of another one."""
        return self.error(
            f"subnet configuration failed: a pool of type {kind}, with the following address range: "
            f"{first}-{last} overlaps with an existing pool in the subnet: {network} to which it is being "
            "added",
            path,
        )

    def already(self, identifier: tuple[str, bytes], number: int | None, path: Path) -> ConfigurationError:
        """The error about a second reservation for a client."""
        kind, value = identifier
        name = {"hw-address": "HW address", "duid": "DUID"}.get(kind, kind)
        told = value.hex(":")
        place = "global scope" if number is None else f"IPv{self.protocol} subnet id '{number}'"
        return self.error(
            f"failed to add new host using the {name} '{told}' to the {place} as this host has already been "
            "added",
            path,
        )

    def check_resources(self, item: Mapping[str, Any], path: Path) -> None:
        """Refuse a reservation of nothing."""
        if not any(item.get(key) for key in _RESOURCES):
            raise self.error(
                "specified reservation must include at least one resource, i.e. hostname, IPv4 address, IPv6 "
                "address/prefix, options",
                path,
            )

    def plain(self, item: Mapping[str, Any]) -> dict[str, JSON]:
        """What a map says, without its comments."""
        return {key: value for key, value in item.items() if key not in ("comment", "user-context")}

    def tell_identifier(self, identifier: tuple[str, bytes]) -> dict[str, JSON]:
        """An identifier as ``config-get`` tells it."""
        kind, value = identifier
        with_colons = kind in ("hw-address", "duid")
        return {kind: value.hex(":") if with_colons else value.hex().upper()}

    def tell_subnet(
        self,
        own: Mapping[str, Any],
        whole: Mapping[str, Any],
        relays: list[str],
        options: JSON,
        pools: JSON,
        reservations: JSON,
    ) -> dict[str, JSON]:
        """A subnet as ``config-get`` tells it."""
        return {
            **self._tell_times(whole),
            **{key: own[key] for key in _OWN if key in own and not (key in _IF_ANY and not own[key])},
            "id": own["id"],
            "option-data": options,
            "pools": pools,
            "relay": {"ip-addresses": list(relays)},
            "reservations": reservations,
            "subnet": tell_prefix(own["subnet"]),
            **context_of(own),
        }

    def _tell_network(
        self, own: Mapping[str, Any], whole: Mapping[str, Any], relays: list[str], options: JSON
    ) -> dict[str, JSON]:
        told = self._tell_times(whole)
        if self.protocol == 6:
            told["rapid-commit"] = False
        return {
            **told,
            **{key: own[key] for key in _OWN if key in own and not (key in _IF_ANY and not own[key])},
            "option-data": options,
            "relay": {"ip-addresses": list(relays)},
            **context_of(own),
        }

    def _tell_times(self, whole: Mapping[str, Any]) -> dict[str, JSON]:
        told: dict[str, JSON] = {
            "calculate-tee-times": whole["calculate-tee-times"],
            "store-extended-info": False,
            "t1-percent": whole["t1-percent"],
            "t2-percent": whole["t2-percent"],
        }
        for kind in ("valid", *(("preferred",) if self.protocol == 6 else ())):
            lifetime = self.lifetime(whole, kind, self.path)
            told[f"{kind}-lifetime"] = lifetime.default
            told[f"min-{kind}-lifetime"] = lifetime.minimum
            told[f"max-{kind}-lifetime"] = lifetime.maximum
        for key in ("renew-timer", "rebind-timer"):
            if key in whole:
                told[key] = whole[key]
        return told
