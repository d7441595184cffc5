"""What the configurations of both protocols have in common, read scope by scope."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from typing import Any

from bridle.bundled.dhcp import grammars
from bridle.bundled.dhcp.expressions import ExpressionError, compile_test, members_of
from bridle.bundled.dhcp.grammar import Grammar, Path, Reader
from bridle.bundled.dhcp.option_formats import Definitions
from bridle.bundled.dhcp.option_settings import context_of, read_definitions, read_options
from bridle.bundled.dhcp.settings import (
    ClientClass,
    DdnsBehaviour,
    DdnsConnection,
    ExpiredLeases,
    Interface,
    LeaseDatabase,
    Lifetime,
    MultiThreading,
)
from bridle.core.errors import ConfigurationError
from bridle.core.messages import JSON
from bridle.daemon.document import Document
from bridle.daemon.plugins import PluginSettings, check_library

__all__ = ["INHERITED", "ScopeReader", "identifier_bytes"]

# Kea's libraries whose commands the daemons have anyway.
_BUILT_IN = ("libdhcp_lease_cmds.so", "libdhcp_stat_cmds.so")
_REPLACE = ("never", "always", "when-present", "when-not-present")
_LEASE_CHECKS = ("none", "warn", "fix", "fix-del", "del")
INHERITED = (
    "valid-lifetime",
    "min-valid-lifetime",
    "max-valid-lifetime",
    "preferred-lifetime",
    "min-preferred-lifetime",
    "max-preferred-lifetime",
    "renew-timer",
    "rebind-timer",
    "calculate-tee-times",
    "t1-percent",
    "t2-percent",
    "authoritative",
    "match-client-id",
    "next-server",
    "server-hostname",
    "boot-file-name",
    "interface",
    "interface-id",
    "rapid-commit",
    "reservations-global",
    "reservations-in-subnet",
    "reservations-out-of-pool",
    "store-extended-info",
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
)
_MODES = {
    "disabled": (False, False, False),
    "off": (False, False, False),
    "out-of-pool": (False, True, True),
    "global": (True, False, False),
    "all": (False, True, False),
}
_DEFAULTS: dict[str, JSON] = {
    "calculate-tee-times": False,
    "ddns-generated-prefix": "myhost",
    "ddns-override-client-update": False,
    "ddns-override-no-update": False,
    "ddns-qualifying-suffix": "",
    "ddns-replace-client-name": "never",
    "ddns-send-updates": True,
    "ddns-update-on-renew": False,
    "ddns-use-conflict-resolution": True,
    "decline-probation-period": 86400,
    "dhcp4o6-port": 0,
    "early-global-reservations-lookup": False,
    "hostname-char-replacement": "",
    "hostname-char-set": "[^A-Za-z0-9.-]",
    "ip-reservations-unique": True,
    "parked-packet-limit": 256,
    "reservations-global": False,
    "reservations-in-subnet": True,
    "reservations-lookup-first": False,
    "reservations-out-of-pool": False,
    "server-tag": "",
    "statistic-default-sample-age": 0,
    "statistic-default-sample-count": 20,
    "store-extended-info": False,
    "t1-percent": 0.5,
    "valid-lifetime": 7200,
}
_DEFAULTS_OF: dict[int, dict[str, JSON]] = {
    4: {
        "authoritative": False,
        "boot-file-name": "",
        "echo-client-id": True,
        "match-client-id": True,
        "next-server": "0.0.0.0",
        "server-hostname": "",
        "t2-percent": 0.875,
    },
    6: {
        "calculate-tee-times": True,
        "data-directory": "/var/lib/kea",
        "mac-sources": ["any"],
        "preferred-lifetime": 3600,
        "relay-supplied-options": ["65"],
        "t2-percent": 0.8,
    },
}
_EXPIRED: dict[str, JSON] = {
    "flush-reclaimed-timer-wait-time": 25,
    "hold-reclaimed-time": 3600,
    "max-reclaim-leases": 100,
    "max-reclaim-time": 250,
    "reclaim-timer-wait-time": 10,
    "unwarned-reclaim-cycles": 5,
}
_DDNS: dict[str, JSON] = {
    "enable-updates": False,
    "max-queue-size": 1024,
    "ncr-format": "JSON",
    "ncr-protocol": "UDP",
    "sender-ip": "0.0.0.0",
    "sender-port": 0,
    "server-ip": "127.0.0.1",
    "server-port": 53001,
}
_THREADS: dict[str, JSON] = {
    "enable-multi-threading": False,
    "packet-queue-size": 64,
    "thread-pool-size": 0,
}


class ScopeReader(Reader):
    """Reads the configuration of one protocol (4 or 6)."""

    def __init__(self, document: Document, protocol: int) -> None:
        super().__init__(document)
        self.protocol = protocol
        self.name = f"Dhcp{protocol}"
        self.path: Path = [self.name]
        self.definitions = Definitions(protocol)
        self.given = self.map(self.root(self.name), grammars.GLOBAL[protocol], self.path, self.name)
        self.value: dict[str, Any] = {**_DEFAULTS, **_DEFAULTS_OF[protocol], **self.given}
        self._flags(self.value, self.path)
        for key in ("comment", "user-context"):
            self.value.pop(key, None)
        self.value.update(context_of(self.given))

    # Parts of the global scope.

    def read_definitions(self) -> None:
        """The configuration's own option definitions; first, as options need them."""
        found, described = read_definitions(self, self.given, self.path, self.protocol)
        self.definitions = Definitions(self.protocol, found)
        self.value["option-def"] = described

    def common(self) -> dict[str, Any]:
        """The members of :class:`DhcpSettings` that do not depend on the protocol, by name."""
        value = self.value
        options, value["option-data"] = self.options(self.given, self.path)
        return {
            "interfaces": self.interfaces(),
            "re_detect": value["interfaces-config"]["re-detect"],
            "classes": self.classes(),
            "options": options,
            "lease_database": self.database(),
            "expired_leases": self.expired(),
            "multi_threading": self.threads(),
            "ddns": self.ddns(),
            "decline_probation_period": value["decline-probation-period"],
            "hooks": self.hooks(),
            "host_identifiers": self.identifiers(),
            "server_tag": value["server-tag"],
            "loggers": self.loggers(),
            "statistic_sample_count": value["statistic-default-sample-count"],
            "statistic_sample_age": value["statistic-default-sample-age"],
            "early_global_reservations_lookup": value["early-global-reservations-lookup"],
            "ip_reservations_unique": value["ip-reservations-unique"],
        }

    def options(self, whole: Mapping[str, JSON], path: Path) -> Any:
        """The options of a scope, and how they are told."""
        return read_options(self, whole, path, self.protocol, self.definitions)

    def part(self, key: str, grammar: Grammar, defaults: Mapping[str, JSON]) -> dict[str, Any]:
        """A map of the global scope with its defaults."""
        given = self.map(self.given.get(key, {}), grammar, [*self.path, key], key)
        plain = {name: value for name, value in given.items() if name not in ("comment", "user-context")}
        described = {**defaults, **plain, **context_of(given)}
        self.value[key] = described
        return described

    def interfaces(self) -> tuple[Interface, ...]:
        """Where to listen."""
        path = [*self.path, "interfaces-config"]
        given = self.part("interfaces-config", grammars.INTERFACES, {"interfaces": [], "re-detect": True})
        if given.get("dhcp-socket-type", "raw") not in ("raw", "udp"):
            raise self.error("unsupported 'dhcp-socket-type'", [*path, "dhcp-socket-type"])
        found = []
        for index, name in enumerate(self.strings(given, "interfaces", path)):
            interface, slash, address = name.partition("/")
            if not interface or (slash and not self._is_address(address)):
                raise self.error(
                    f"Failed to select interface: invalid interface '{name}'", [*path, "interfaces", index]
                )
            found.append(Interface(interface, address))
        return tuple(found)

    def _is_address(self, text: str) -> bool:
        try:
            return ipaddress.ip_address(text).version == self.protocol
        except ValueError:
            return False

    def database(self) -> LeaseDatabase:
        """Where the leases are."""
        path = [*self.path, "lease-database"]
        given = self.part("lease-database", grammars.DATABASE, {"type": "memfile"})
        kind = given["type"]
        if kind not in ("memfile", "postgresql"):
            raise self.error(
                f"lease database type '{kind}' is not supported: memfile or postgresql", [*path, "type"]
            )
        if kind == "postgresql" and not given.get("name"):
            raise self.error("missing parameter 'name'", path)
        return LeaseDatabase(
            kind,
            given.get("persist", True),
            given.get("name", ""),
            given.get("host", ""),
            given.get("port", 0),
            given.get("user", ""),
            given.get("password", ""),
            float(given.get("connect-timeout", 5)),
        )

    def expired(self) -> ExpiredLeases:
        """What becomes of leases that ended."""
        given = self.part("expired-leases-processing", grammars.EXPIRED, _EXPIRED)
        return ExpiredLeases(**{key.replace("-", "_"): given[key] for key in _EXPIRED})

    def threads(self) -> MultiThreading:
        """Whether, and how, several threads work."""
        given = self.part("multi-threading", grammars.THREADS, _THREADS)
        return MultiThreading(
            given["enable-multi-threading"], given["thread-pool-size"], given["packet-queue-size"]
        )

    def ddns(self) -> DdnsConnection:
        """Where name-change requests go."""
        path = [*self.path, "dhcp-ddns"]
        given = self.part("dhcp-ddns", grammars.DDNS, _DDNS)
        for key in ("server-ip", "sender-ip"):
            try:
                ipaddress.ip_address(given[key])
            except ValueError as error:
                raise self.error(
                    f"invalid address ({given[key]}) specified for '{key}'", [*path, key]
                ) from error
        return DdnsConnection(
            given["enable-updates"],
            given["server-ip"],
            given["server-port"],
            "" if given["sender-ip"] in ("0.0.0.0", "::") else given["sender-ip"],
            given["sender-port"],
            given["max-queue-size"],
        )

    def unused(self) -> None:
        """What is accepted and tells nothing to this server, with Kea's defaults."""
        defaults: dict[str, JSON] = {
            "capacity": 64,
            "enable-queue": False,
            "queue-type": f"kea-ring{self.protocol}",
        }
        self.part("dhcp-queue-control", grammars.QUEUE_CONTROL, defaults)
        checks = self.part("sanity-checks", grammars.SANITY, {"lease-checks": "warn"})
        if checks["lease-checks"] not in _LEASE_CHECKS:
            raise self.error(
                f"Unsupported lease-checks value: {checks['lease-checks']}", [*self.path, "sanity-checks"]
            )
        for key in ("hosts-database", "hosts-databases", "compatibility"):
            self.value.pop(key, None)

    def hooks(self) -> tuple[PluginSettings, ...]:
        """The plugins; Kea's own lease and statistics commands are there without any."""
        found = []
        for index, hook in enumerate(self.maps(self.given, "hooks-libraries", grammars.HOOK, self.path)):
            path: Path = [*self.path, "hooks-libraries", index]
            library = hook.get("library", "")
            if not library:
                raise self.error("missing parameter 'library'", path)
            if library.rpartition("/")[2] in _BUILT_IN:
                continue
            try:
                check_library(library)
            except ConfigurationError as error:
                raise self.error(error.text, [*path, "library"]) from error
            found.append(PluginSettings(library, hook.get("parameters", {})))
        self.value["hooks-libraries"] = self.given.get("hooks-libraries", [])
        return tuple(found)

    def loggers(self) -> tuple[Mapping[str, JSON], ...]:
        """How much is logged; where to is for whoever starts the daemon."""
        found = self.maps(self.given, "loggers", grammars.LOGGER, self.path)
        for index, logger in enumerate(found):
            for key in ("output_options", "output-options"):
                self.maps(logger, key, grammars.OUTPUT, [*self.path, "loggers", index])
        return tuple(found)

    def identifiers(self) -> tuple[str, ...]:
        """Which identifiers reservations are looked up by, in order."""
        default = ["hw-address", "duid", *(("circuit-id", "client-id") if self.protocol == 4 else ())]
        given = self.strings(self.given, "host-reservation-identifiers", self.path) or default
        for index, name in enumerate(given):
            if name not in (*default, "flex-id"):
                raise self.error(
                    f"invalid value '{name}' of host identifier",
                    [*self.path, "host-reservation-identifiers", index],
                )
        self.value["host-reservation-identifiers"] = list(given)
        return tuple(given)

    def classes(self) -> tuple[ClientClass, ...]:
        """The client classes, in order."""
        if "client-classes" not in self.given:
            return ()
        found: dict[str, ClientClass] = {}
        described = []
        for index, item in enumerate(
            self.maps(self.given, "client-classes", grammars.CLASS[self.protocol], self.path)
        ):
            path: Path = [*self.path, "client-classes", index]
            name = item.get("name", "")
            if not name:
                raise self.error("not empty parameter 'name' is required", path)
            if name in found:
                raise self.error(f"Client class '{name}' has already been defined", path)
            one, told = self._class(item, path, found)
            found[name] = one
            described.append(told)
        self.value["client-classes"] = described
        return tuple(found.values())

    def _class(
        self, item: dict[str, Any], path: Path, before: Mapping[str, ClientClass]
    ) -> tuple[ClientClass, dict[str, JSON]]:
        own, told_definitions = read_definitions(self, item, path, self.protocol)
        definitions, self.definitions = self.definitions, self.definitions.extended(own)
        try:
            options, told_options = self.options(item, path)
        finally:
            self.definitions = definitions
        test = None
        expression = item.get("test", "")
        asked = members_of(expression)
        if expression:
            try:
                test = compile_test(expression, self.protocol, self.definitions)
            except ExpressionError as error:
                raise self.error(f"expression: [{expression}] error: {error}", [*path, "test"]) from error
        for name in asked:
            if name not in before and name not in _KNOWN_CLASSES and not name.startswith(_CLASS_PREFIXES):
                raise self.error(f"Not defined client class '{name}'", [*path, "test"])
        one = ClientClass(
            item["name"],
            test,
            item.get("only-if-required", False),
            any(
                name in ("KNOWN", "UNKNOWN") or (name in before and before[name].depends_on_known)
                for name in asked
            ),
            options,
            self.address4(item, "next-server", path),
            item.get("server-hostname", ""),
            item.get("boot-file-name", ""),
            self.lifetime(item, "valid", path) if "valid-lifetime" in item else None,
            self.lifetime(item, "preferred", path) if "preferred-lifetime" in item else None,
        )
        told = {key: value for key, value in item.items() if key not in ("comment", "user-context")}
        told["option-data"] = told_options
        if self.protocol == 4:
            defaults: dict[str, JSON] = {
                "boot-file-name": "",
                "next-server": "0.0.0.0",
                "server-hostname": "",
            }
            told = {**defaults, **told, "option-def": told_definitions}
        return one, {**told, **context_of(item)}

    # Parts of networks and subnets.

    def _flags(self, whole: dict[str, Any], path: Path) -> None:
        """The older single setting for where reservations are."""
        mode = whole.pop("reservation-mode", None)
        if mode is None:
            return
        if mode not in _MODES:
            raise self.error(f"invalid reservation-mode parameter: '{mode}'", [*path, "reservation-mode"])
        names = ("reservations-global", "reservations-in-subnet", "reservations-out-of-pool")
        whole.update(zip(names, _MODES[mode], strict=True))

    def inherit(self, above: Mapping[str, Any], given: Mapping[str, Any], path: Path) -> dict[str, Any]:
        """What holds in a scope: what it says, and else what the scope above says."""
        own = dict(given)
        self._flags(own, path)
        if "valid-lifetime" in own:
            above = {key: value for key, value in above.items() if key not in _BOUNDS["valid"]}
        if "preferred-lifetime" in own:
            above = {key: value for key, value in above.items() if key not in _BOUNDS["preferred"]}
        return {**{key: above[key] for key in INHERITED if key in above}, **own}

    def lifetime(self, whole: Mapping[str, Any], kind: str, path: Path) -> Lifetime:
        """``valid-lifetime`` or ``preferred-lifetime`` with its bounds."""
        default: Any = whole.get(f"{kind}-lifetime")
        minimum: Any = whole.get(f"min-{kind}-lifetime")
        maximum: Any = whole.get(f"max-{kind}-lifetime")
        if default is None:
            default = maximum if minimum is None else minimum
        minimum = default if minimum is None else minimum
        maximum = default if maximum is None else maximum
        if not minimum <= default <= maximum:
            raise self.error(
                f"the value of default {kind}-lifetime ({default}) is not between min-{kind}-lifetime "
                f"({minimum}) and max-{kind}-lifetime ({maximum})",
                path,
            )
        return Lifetime(default, minimum, maximum)

    def timers(self, whole: Mapping[str, Any], path: Path) -> None:
        """Refuse what makes clients renew too late."""
        if whole["calculate-tee-times"] and whole["t1-percent"] >= whole["t2-percent"]:
            raise self.error(
                f"t1-percent:  {whole['t1-percent']} is invalid, it must be less than t2-percent: "
                f"{whole['t2-percent']}",
                path,
            )

    def behaviour(self, whole: Mapping[str, Any], path: Path) -> DdnsBehaviour:
        """How names are made."""
        mode = whole["ddns-replace-client-name"]
        if mode not in _REPLACE:
            raise self.error(f"Invalid ReplaceClientNameMode: {mode}", [*path, "ddns-replace-client-name"])
        return DdnsBehaviour(
            whole["ddns-send-updates"],
            whole["ddns-override-no-update"],
            whole["ddns-override-client-update"],
            mode,
            whole["ddns-generated-prefix"],
            whole["ddns-qualifying-suffix"],
            whole["ddns-update-on-renew"],
            whole["ddns-use-conflict-resolution"],
            whole["hostname-char-set"],
            whole["hostname-char-replacement"],
        )

    def relays(self, whole: Mapping[str, Any], path: Path) -> tuple[list[str], bool]:
        """The addresses of relays, and whether any are named."""
        if "relay" not in whole:
            return [], False
        relay = self.map(whole["relay"], grammars.RELAY, [*path, "relay"], "relay")
        found = self.strings(relay, "ip-addresses", [*path, "relay"])
        if "ip-address" in relay:
            found = [relay["ip-address"], *found]
        for address in found:
            if not self._is_address(address):
                raise self.error(f"address {address} is not a: IPv{self.protocol} address", [*path, "relay"])
        return found, True

    def address4(self, whole: Mapping[str, Any], key: str, path: Path) -> int:
        """An IPv4 address as a number; 0 where there is none."""
        if key not in whole:
            return 0
        try:
            return int(ipaddress.IPv4Address(whole[key]))
        except ValueError as error:
            raise self.error(f"Invalid '{key}' parameter value: '{whole[key]}'", [*path, key]) from error

    def network(self, text: str, path: Path) -> Any:
        """A subnet's prefix."""
        try:
            found = ipaddress.ip_network(text, strict=False)
        except ValueError as error:
            raise self.error(
                f"Invalid subnet syntax (prefix/len expected): {text}", [*path, "subnet"]
            ) from error
        if found.version != self.protocol or "/" not in text:
            raise self.error(f"Invalid subnet syntax (prefix/len expected): {text}", [*path, "subnet"])
        return found

    def range(self, text: str, network: Any, path: Path) -> tuple[Any, Any, str]:
        """The first and the last address of a pool, and how it is told."""
        where = [*path, "pool"]
        try:
            if "/" in text:
                whole = ipaddress.ip_network(text.replace(" ", ""), strict=False)
                first, last = whole[0], whole[-1]
                told = text.replace(" ", "")
            else:
                low, _, high = text.partition("-")
                first, last = ipaddress.ip_address(low.strip()), ipaddress.ip_address(high.strip())
                told = f"{first}-{last}"
        except ValueError as error:
            raise self.error(
                f"Failed to create pool defined by: {text}: invalid pool definition", where
            ) from error
        if first.version != self.protocol or last.version != self.protocol or int(first) > int(last):
            raise self.error(f"Failed to create pool defined by: {text}", where)
        if first not in network or last not in network:
            kind = "V4" if self.protocol == 4 else "NA"
            raise self.error(
                f"a pool of type {kind}, with the following address range: {first}-{last} does not match the "
                f"prefix of a subnet: {network} to which it is being added",
                where,
            )
        return first, last, told

    def names(self, whole: Mapping[str, Any], key: str, path: Path) -> tuple[str, ...]:
        """A list of class names."""
        return tuple(self.strings(whole, key, path))

    def identifier(self, item: Mapping[str, Any], path: Path) -> tuple[str, bytes]:
        """What a reservation is for."""
        kinds = (
            "hw-address",
            "duid",
            "flex-id",
            *(("client-id", "circuit-id") if self.protocol == 4 else ()),
        )
        found = [kind for kind in kinds if kind in item]
        if len(found) != 1:
            listed = ", ".join(kinds)
            raise self.error(f"host reservation must have exactly one of {listed}", path)
        try:
            return found[0], identifier_bytes(item[found[0]])
        except ValueError as error:
            raise self.error(
                f"invalid host identifier value '{item[found[0]]}'", [*path, found[0]]
            ) from error


def identifier_bytes(text: str) -> bytes:
    """An identifier: hexadecimal digits, with or without colons or ``0x``, or a text in single quotes.

    Raises:
        ValueError: it is none.
    """
    if len(text) > 2 and text[0] == text[-1] == "'":
        return text[1:-1].encode()
    digits = text[2:] if text.startswith("0x") else text
    if ":" in digits:
        return bytes(int(part, 16) for part in digits.split(":"))
    found = bytes.fromhex(digits if len(digits) % 2 == 0 else f"0{digits}")
    if not found:
        raise ValueError("empty")
    return found


_BOUNDS = {
    kind: frozenset({f"min-{kind}-lifetime", f"max-{kind}-lifetime"}) for kind in ("valid", "preferred")
}
_KNOWN_CLASSES = frozenset({"ALL", "KNOWN", "UNKNOWN", "BOOTP"})
_CLASS_PREFIXES = ("VENDOR_CLASS_", "HA_", "AFTER_", "EXTERNAL_", "SKIP_")
