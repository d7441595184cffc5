"""What every scope of a configuration has, and how one inherits from another."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping
from typing import Any

from bridle.bundled.dhcp import grammars
from bridle.bundled.dhcp.grammar import Grammar, Path, Reader
from bridle.bundled.dhcp.option_formats import Definitions
from bridle.bundled.dhcp.option_settings import context_of, read_definitions, read_options
from bridle.bundled.dhcp.settings import DdnsBehaviour, Lifetime
from bridle.core.messages import JSON
from bridle.daemon.document import Document

__all__ = ["INHERITED", "MOVED_DDNS", "ScopeReader", "host_order", "identifier_bytes"]

_REPLACE = ("never", "always", "when-present", "when-not-present")
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
    "disabled": (False, False),
    "off": (False, False),
    "out-of-pool": (False, True, True),
    "global": (True, False),
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
# What was said in ``dhcp-ddns`` before it became a parameter of every scope.
MOVED_DDNS = {
    "override-no-update": "ddns-override-no-update",
    "override-client-update": "ddns-override-client-update",
    "replace-client-name": "ddns-replace-client-name",
    "generated-prefix": "ddns-generated-prefix",
    "qualifying-suffix": "ddns-qualifying-suffix",
    "hostname-char-set": "hostname-char-set",
    "hostname-char-replacement": "hostname-char-replacement",
}
# In the order of Kea's numbers for them.
_IDENTIFIERS = ("hw-address", "duid", "circuit-id", "client-id", "flex-id")


class ScopeReader(Reader):
    """Reads the configuration of one protocol (4 or 6). ``given`` is its root, ``value`` what is told of it:
    with defaults, and completed as it is read."""

    def __init__(self, document: Document, protocol: int) -> None:
        super().__init__(document)
        self.protocol = protocol
        self.name: str = f"Dhcp{protocol}"
        self.path: Path = [self.name]
        self.definitions: Definitions = Definitions(protocol)
        self.given: dict[str, Any] = self.map(
            self.root(self.name), grammars.GLOBAL[protocol], self.path, self.name
        )
        given = {**self._moved(), **self.given}
        self.mode_flags(given, self.path)
        self.value: dict[str, Any] = {**_DEFAULTS, **_DEFAULTS_OF[protocol], **given}
        for key in ("comment", "user-context"):
            self.value.pop(key, None)
        self.value.update(context_of(self.given))

    def _moved(self) -> dict[str, Any]:
        """What used to be said in ``dhcp-ddns``, as it is said now."""
        ddns = self.map(
            self.given.get("dhcp-ddns", {}), grammars.DDNS, [*self.path, "dhcp-ddns"], "dhcp-ddns"
        )
        return {new: ddns[old] for old, new in MOVED_DDNS.items() if old in ddns}

    def mapping(self, key: str) -> dict[str, Any]:
        """A map of the global scope that may be missing."""
        given = self.given.get(key, {})
        return given if isinstance(given, dict) else {}

    def read_definitions(self) -> None:
        """The configuration's own option definitions; first, as options need them."""
        found, described = read_definitions(self, self.given, self.path, self.protocol)
        standard = self.definitions
        for index, one in enumerate(found):
            known = one.space == f"dhcp{self.protocol}" and (
                standard.by_code(one.space, one.code) or standard.by_name(one.space, one.name)
            )
            # Kea lets the content of option 43 be defined anew.
            if known and (self.protocol, one.code) != (4, 43):
                which = known.code if known.code == one.code else known.name
                text = f"unable to override definition of option '{which}' in standard option space"
                raise self.error(f"{text} '{one.space}'", [*self.path, "option-def", index])
        self.definitions = Definitions(self.protocol, found)
        self.value["option-def"] = described

    def options(self, whole: Mapping[str, JSON], path: Path, definitions: Definitions | None = None) -> Any:
        """The options of a scope, and how they are told."""
        return read_options(self, whole, path, self.protocol, definitions or self.definitions)

    def part(self, key: str, grammar: Grammar, defaults: Mapping[str, JSON]) -> dict[str, Any]:
        """A map of the global scope with its defaults."""
        given = self.map(self.given.get(key, {}), grammar, [*self.path, key], key)
        plain = {name: value for name, value in given.items() if name not in ("comment", "user-context")}
        described = {**defaults, **plain, **context_of(given)}
        self.value[key] = described
        return described

    def mode_flags(self, whole: dict[str, Any], path: Path) -> None:
        """The older single setting for where reservations are."""
        mode = whole.pop("reservation-mode", None)
        if mode is None:
            return
        if mode not in _MODES:
            raise self.error(f"invalid reservation-mode parameter: '{mode}'", [*path, "reservation-mode"])
        names = ("reservations-global", "reservations-in-subnet", "reservations-out-of-pool")
        if any(name in whole for name in names) and len(path) > 1:
            raise self.error(
                "invalid use of both 'reservation-mode' and one of 'reservations-global', "
                "'reservations-in-subnet' or 'reservations-out-of-pool' parameters",
                [*path, "reservation-mode"],
            )
        whole.update(zip(names, _MODES[mode], strict=False))

    def inherit(self, above: Mapping[str, Any], given: Mapping[str, Any], path: Path) -> dict[str, Any]:
        """What holds in a scope: what it says, and else what the scope above says."""
        own = dict(given)
        self.mode_flags(own, path)
        return {**{key: above[key] for key in INHERITED if key in above}, **own}

    def lifetime(self, whole: Mapping[str, Any], kind: str, path: Path) -> Lifetime:
        """``valid-lifetime`` or ``preferred-lifetime`` with its bounds."""
        name = f"{kind}-lifetime"
        default: Any = whole.get(name)
        least: Any = whole.get(f"min-{name}")
        most: Any = whole.get(f"max-{name}")
        if default is None and least is not None and most is not None:
            raise self.error(f"have min-{name} and max-{name} but no {name} (default)", path)
        if default is None:
            default = most if least is None else least
        low = default if least is None else least
        high = default if most is None else most
        texts = {
            "default": f"(default) {name} ({default})",
            "min": f"min-{name} ({low})",
            "max": f"max-{name} ({high})",
        }
        if low > high:
            first = texts["default" if least is None else "min"]
            second = texts["default" if most is None else "max"]
            raise self.error(f"the value of {first} is not less than {second}", path)
        if not low <= default <= high:
            between = f"is not between {texts['min']} and {texts['max']}"
            raise self.error(f"the value of {texts['default']} {between}", path)
        return Lifetime(default, low, high)

    def timers(self, whole: Mapping[str, Any], path: Path) -> None:
        """Refuse what makes clients renew too late."""
        renew, rebind = whole.get("renew-timer"), whole.get("rebind-timer")
        if renew is not None and rebind is not None and renew > rebind:
            text = f"the value of renew-timer ({renew}) is greater than the value of rebind-timer ({rebind})"
            raise self.error(text, path)
        if whole["calculate-tee-times"] and whole["t1-percent"] >= whole["t2-percent"]:
            raise self.error(
                f"t1-percent:  {whole['t1-percent']} is invalid, it must be less than t2-percent: "
                f"{whole['t2-percent']}",
                path,
            )

    def behaviour(self, whole: Mapping[str, Any], path: Path) -> DdnsBehaviour:
        """How names are made."""
        mode = whole["ddns-replace-client-name"]
        if isinstance(mode, bool):  # of Kea before 1.1
            mode = "when-present" if mode else "never"
        try:
            re.compile(whole["hostname-char-set"])
        except re.error as error:
            text = f"hostname-char-set '{whole['hostname-char-set']}' is not a valid regular expression"
            raise self.error(text, path) from error
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
        where = [*path, "relay"]
        found = self.strings(relay, "ip-addresses", where)
        if "ip-address" in relay:
            if "ip-addresses" in relay:
                raise self.error("specify either ip-address or ip-addresses, not both", where)
            found = [relay["ip-address"]]
        elif "ip-addresses" not in relay:
            raise self.error("ip-addresses is required", where)
        for index, address in enumerate(found):
            if not self.is_address(address):
                raise self.error(f"address {address} is not a: IPv{self.protocol}address", where)
            if address in found[:index]:
                text = f"RelayInfo already contains address: {address}"
                raise self.error(f"cannot add address: {address} to relay info: {text}", where)
        return found, True

    def is_address(self, text: str) -> bool:
        try:
            return ipaddress.ip_address(text).version == self.protocol
        except ValueError:
            return False

    def address4(self, whole: Mapping[str, Any], key: str, path: Path) -> int:
        """An IPv4 address as a number; 0 where there is none."""
        if key not in whole:
            return 0
        try:
            return int(ipaddress.IPv4Address(whole[key]))
        except ValueError as error:
            raise self.error(
                f"Invalid '{key}' value: '{whole[key]}' is no IPv4 address", [*path, key]
            ) from error

    def network(self, text: str, path: Path) -> Any:
        """A subnet's prefix."""
        where = [*path, "subnet"]
        address, slash, length = text.partition("/")
        try:
            version: int = ipaddress.ip_address(address.strip()).version
            bits = int(length) if slash else -1
        except ValueError:
            version, bits = self.protocol, -1
        if bits < 0:
            raise self.error(f"Invalid subnet syntax (prefix/len expected):{text}", where)
        if version != self.protocol:
            key = grammars.SUBNET_KEYS[self.protocol]
            raise self.error(f"Non IPv{self.protocol} prefix {address} specified in {key}", where)
        if bits > (32 if version == 4 else 128):
            raise self.error(f"Invalid prefix length specified for subnet: {bits}", where)
        return ipaddress.ip_network(f"{address.strip()}/{bits}", strict=False)

    def range(self, text: str, network: Any, path: Path) -> tuple[Any, Any, str]:
        """The first and the last address of a pool, and how it is told."""
        where = [*path, "pool"]
        try:
            if "/" in text:
                whole = ipaddress.ip_interface(text.replace(" ", ""))
                # A range begins where it is said to, be that inside of the prefix.
                first = whole.ip
                last: Any = whole.network[-1]
            elif "-" in text:
                low, _, high = text.partition("-")
                first, last = ipaddress.ip_address(low.strip()), ipaddress.ip_address(high.strip())
            else:
                formats = "There are two acceptable formats <min address-max address> or <prefix/len>"
                raise self.error(f"invalid pool definition: {text}. {formats}", where)
        except ValueError as error:
            raise self.error(f"Failed to create pool defined by: {text}", where) from error
        if first.version != self.protocol or last.version != self.protocol or int(first) > int(last):
            raise self.error(f"Failed to create pool defined by: {text}", where)
        if first not in network or last not in network:
            kind = "V4" if self.protocol == 4 else "IA_NA"
            raise self.error(
                f"subnet configuration failed: a pool of type {kind}, with the following address range: "
                f"{first}-{last} does not match the prefix of a subnet: {network} to which it is being added",
                where,
            )
        return first, last, _tell_range(first, last)

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
        found = sorted(kind for kind in kinds if kind in item)
        if not found:
            listed = ", ".join(sorted(kinds))
            text = "one of the supported identifiers must be specified for host reservation"
            raise self.error(f"{text}: {listed}", path)
        if len(found) > 1:
            first, second, *_ = sorted(found, key=_IDENTIFIERS.index)
            raise self.error(f"the '{first}' and '{second}' are mutually exclusive", path)
        if not item[found[0]]:
            raise self.error("empty host identifier used", [*path, found[0]])
        try:
            return found[0], identifier_bytes(item[found[0]])
        except ValueError as error:
            raise self.error(
                f"invalid host identifier value '{item[found[0]]}'", [*path, found[0]]
            ) from error


def identifier_bytes(text: str) -> bytes:
    """An identifier: hexadecimal digits, with or without colons, spaces or ``0x``, or a text in single
    quotes.

    Raises:
        ValueError: it is none.
    """
    if len(text) > 2 and text[0] == text[-1] == "'":
        return text[1:-1].encode()
    digits = text[2:] if text.startswith("0x") else text
    if ":" in digits or " " in digits:
        return bytes(int(part, 16) for part in re.split(":| +", digits))
    found = bytes.fromhex(digits if len(digits) % 2 == 0 else f"0{digits}")
    if not found:
        raise ValueError("empty")
    return found


def host_order(identifier: tuple[str, bytes]) -> tuple[bytes, int]:
    """Where ``config-get`` tells a reservation."""
    kind, value = identifier
    return value, _IDENTIFIERS.index(kind)


def _tell_range(first: Any, last: Any) -> str:
    """A prefix where the range is one, and else both ends."""
    bits = (int(first) ^ int(last)).bit_length()
    whole_prefix = int(last) - int(first) + 1 == 1 << bits
    return f"{first}/{first.max_prefixlen - bits}" if whole_prefix else f"{first}-{last}"
