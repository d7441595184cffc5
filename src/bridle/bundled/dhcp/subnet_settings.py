"""Shared networks and subnets, as far as both protocols have them alike."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from bridle.bundled.dhcp import grammars
from bridle.bundled.dhcp.grammar import Path
from bridle.bundled.dhcp.option_settings import context_of
from bridle.bundled.dhcp.scope_settings import ScopeReader
from bridle.bundled.dhcp.settings import SharedNetwork
from bridle.core.messages import JSON

__all__ = ["SubnetReader"]

S = TypeVar("S")

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


class SubnetReader(ScopeReader):
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
        self._prefixes: list[tuple[int, int, str, Path]] = []
        given = self.maps(self.given, "shared-networks", grammars.NETWORK[self.protocol], self.path)
        told_networks: list[JSON] = []
        for index, item in enumerate(given):
            path: Path = [*self.path, "shared-networks", index]
            name = item.get("name", "")
            if not name:
                raise self.error("Shared-network name must be specified", path)
            if name in networks:
                raise self.error(f"duplicate network '{name}' found in the configuration", path)
            whole = self.inherit(self.value, item, path)
            for key in ("relay", "client-class"):
                if key in item:
                    whole[key] = item[key]
            options, told_options = self.options(item, path)
            relays, _ = self.relays(item, path)
            ids, told_subnets = self._read_subnets(item, path, whole, name, options, subnets, read)
            networks[name] = SharedNetwork(
                name, tuple(ids), item.get("interface", ""), item.get("client-class", "")
            )
            told_network = self._tell_network(item, whole, relays, told_options)
            told_networks.append({**told_network, "name": name, self.key: told_subnets})
        self.value["shared-networks"] = told_networks
        _, told_alone = self._read_subnets(self.given, self.path, self.value, "", {}, subnets, read)
        self.value[self.key] = told_alone
        self._check_overlaps()
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
            prefix = self.network(own["subnet"], where)
            self._prefixes.append((int(prefix[0]), int(prefix[-1]), own["subnet"], where))
            inherited = self.inherit(whole, own, where)
            if network:
                for key in ("relay", "client-class"):
                    if key in whole:
                        inherited.setdefault(key, whole[key])
            subnets[number], one = read(own, inherited, network, options, where)
            ids.append(number)
            told.append((number, one))
        return ids, [one for _, one in sorted(told, key=lambda pair: pair[0])]

    def _subnets(self, whole: Mapping[str, Any], path: Path) -> list[tuple[dict[str, Any], Path]]:
        grammar = grammars.SUBNET[self.protocol]
        found = []
        for index, item in enumerate(self.maps(whole, self.key, grammar, path)):
            where: Path = [*path, self.key, index]
            if "subnet" not in item:
                raise self.error(
                    "mandatory 'subnet' parameter is missing for a subnet being configured", where
                )
            own = dict(item)
            own["id"] = self._ids[tuple(where)]
            self._flags(own, where)
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
                    raise self.error(f"subnet id {given} is out of range", [*path, "id"])
                self._ids[tuple(path)] = given
            else:
                self._ids[tuple(path)] = next_id
                next_id += 1

    def _check_overlaps(self) -> None:
        ranges = sorted(self._prefixes, key=lambda one: one[:2])
        for before, after in itertools.pairwise(ranges):
            if after[0] <= before[1]:
                text = f"subnet with the prefix of '{after[2]}' already exists"
                if after[:2] != before[:2]:
                    text = f"subnet '{after[2]}' overlaps with subnet '{before[2]}'"
                raise self.error(text, after[3])

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
            **{key: own[key] for key in _OWN if key in own},
            "id": own["id"],
            "option-data": options,
            "pools": pools,
            "relay": {"ip-addresses": list(relays)},
            "reservations": reservations,
            "subnet": own["subnet"],
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
            **{key: own[key] for key in _OWN if key in own},
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
