"""The global scope of a configuration, as far as both protocols have it alike."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Mapping
from typing import Any

from bridle.access.configuration import is_access_library
from bridle.bundled.dhcp import grammars
from bridle.bundled.dhcp.class_settings import ClassReader
from bridle.bundled.dhcp.expressions import ExpressionError, compile_value
from bridle.bundled.dhcp.grammar import Path
from bridle.bundled.dhcp.scope_settings import MOVED_DDNS
from bridle.bundled.dhcp.settings import (
    DdnsConnection,
    ExpiredLeases,
    Interface,
    LeaseDatabase,
    MultiThreading,
)
from bridle.core.errors import ConfigurationError
from bridle.core.messages import JSON
from bridle.daemon.plugins import PluginSettings, check_library

__all__ = ["GlobalReader"]

# Kea's libraries whose commands the daemons have anyway.
_BUILT_IN = ("libdhcp_lease_cmds.so", "libdhcp_stat_cmds.so")
_FLEX_ID = "libdhcp_flex_id.so"
_LEASE_CHECKS = ("none", "warn", "fix", "fix-del", "del")
_SEVERITIES = frozenset({"NONE", "FATAL", "ERROR", "WARN", "INFO", "DEBUG"})
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
_USUAL_INTERFACES: dict[str, JSON] = {
    "dhcp-socket-type": "raw",
    "outbound-interface": "same-as-inbound",
    "service-sockets-max-retries": 0,
}


class GlobalReader(ClassReader):
    """Reads what stands in the global scope only."""

    flexible_identifier: Callable[..., bytes] | None = None

    def common(self) -> dict[str, Any]:
        """The members of :class:`DhcpSettings` that do not depend on the protocol, by name."""
        value = self.value
        options, value["option-data"] = self.options(self.given, self.path)
        self.behaviour(value, self.path)
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
            "flexible_identifier": self.flexible_identifier,
            "host_identifiers": self.identifiers(),
            "server_tag": value["server-tag"],
            "loggers": self.loggers(),
            "statistic_sample_count": value["statistic-default-sample-count"],
            "statistic_sample_age": value["statistic-default-sample-age"],
            "early_global_reservations_lookup": value["early-global-reservations-lookup"],
            "ip_reservations_unique": value["ip-reservations-unique"],
        }

    def interfaces(self) -> tuple[Interface, ...]:
        """Where to listen."""
        path = [*self.path, "interfaces-config"]
        given = self.part("interfaces-config", grammars.INTERFACES, {"interfaces": [], "re-detect": True})
        if self.protocol == 6 and "dhcp-socket-type" in given:
            raise self.error("dhcp-socket-type is not supported in DHCPv6", [*path, "dhcp-socket-type"])
        kind = given.get("dhcp-socket-type", "raw")
        if kind not in ("raw", "udp"):
            raise self.error(f"unsupported socket type '{kind}'", [*path, "dhcp-socket-type"])
        for key, usual in _USUAL_INTERFACES.items():
            if given.get(key) == usual:
                given.pop(key)
        found: list[Interface] = []
        for index, name in enumerate(self.strings(given, "interfaces", path)):
            interface, slash, address = name.partition("/")
            if not interface or (slash and not self.is_address(address)):
                raise self.error(
                    f"Failed to select interface: invalid interface '{name}'", [*path, "interfaces", index]
                )
            if Interface(interface, address) in found:
                raise self.error(
                    f"Failed to select interface: interface '{name}' has already been specified",
                    [*path, "interfaces", index],
                )
            found.append(Interface(interface, address))
        return tuple(found)

    def database(self) -> LeaseDatabase:
        """Where the leases are."""
        path = [*self.path, "lease-database"]
        if "lease-database" in self.given and "type" not in self.mapping("lease-database"):
            text = "database access parameters must include the keyword 'type'"
            raise self.error(f"{text} to determine type of database to be accessed", path)
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
        said = self.mapping("dhcp-ddns")
        if "dhcp-ddns" in self.given and "enable-updates" not in said:
            raise self.error("missing parameter 'enable-updates'", path)
        given = self.part("dhcp-ddns", grammars.DDNS, _DDNS)
        for key in MOVED_DDNS:
            given.pop(key, None)
        for key in ("server-ip", "sender-ip"):
            try:
                version = ipaddress.ip_address(given[key]).version
            except ValueError as error:
                raise self.error(
                    f"invalid address ({given[key]}) specified for '{key}'", [*path, key]
                ) from error
            if key == "server-ip" and "sender-ip" not in said:
                given["sender-ip"] = "0.0.0.0" if version == 4 else "::"
        if [given["server-ip"], given["server-port"]] == [given["sender-ip"], given["sender-port"]]:
            text = f"server and sender cannot share the exact same IP address/port: {given['server-ip']}"
            raise self.error(f"D2ClientConfig error: {text}/{given['server-port']}", path)
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
        if "config-control" in self.given:
            self.part("config-control", grammars.CONFIG_CONTROL, {"config-databases": []})

    def hooks(self) -> tuple[PluginSettings, ...]:
        """The plugins; Kea's own lease and statistics commands are there without any."""
        found = []
        for index, hook in enumerate(self.maps(self.given, "hooks-libraries", grammars.HOOK, self.path)):
            path: Path = [*self.path, "hooks-libraries", index]
            library = hook.get("library", "")
            if not library:
                raise self.error("missing parameter 'library'", path)
            name = library.rpartition("/")[2]
            if name == _FLEX_ID:
                self.flexible_identifier = self._flex_id(hook, path)
            if name in (_FLEX_ID, *_BUILT_IN) or is_access_library(library):
                continue
            try:
                check_library(library)
            except ConfigurationError as error:
                raise self.error(error.text, [*path, "library"]) from error
            found.append(PluginSettings(library, hook.get("parameters", {})))
        self.value["hooks-libraries"] = self.given.get("hooks-libraries", [])
        return tuple(found)

    def _flex_id(self, hook: Mapping[str, Any], path: Path) -> Callable[..., bytes] | None:
        """What Kea's library of that name is told: how an identifier is made of a message."""
        where: Path = [*path, "parameters"]
        given = self.map(hook.get("parameters", {}), grammars.FLEX_ID, where, "parameters")
        expression = given.get("identifier-expression", "")
        if not expression:
            return None
        try:
            return compile_value(expression, self.protocol, self.definitions)
        except ExpressionError as error:
            text = f"expression: [{expression}] error: {error}"
            raise self.error(text, [*where, "identifier-expression"]) from error

    def loggers(self) -> tuple[Mapping[str, JSON], ...]:
        """How much is logged; where to is for whoever starts the daemon."""
        found = []
        for index, item in enumerate(self.maps(self.given, "loggers", grammars.LOGGER, self.path)):
            path: Path = [*self.path, "loggers", index]
            for key in ("name", "severity"):
                if key not in item:
                    raise self.error(f"loggers entry does not have a mandatory '{key}' element", path)
            severity = item["severity"].upper()
            if severity not in _SEVERITIES:
                raise self.error(f"unknown severity '{item['severity']}'", [*path, "severity"])
            logger = {"debuglevel": 0, **item, "severity": severity}
            for key in ("output_options", "output-options"):
                if key in item:
                    logger[key] = [*map(_output, self.maps(item, key, grammars.OUTPUT, path))]
            found.append(logger)
        if "loggers" in self.given:
            self.value["loggers"] = found
        return tuple(found)

    def identifiers(self) -> tuple[str, ...]:
        """Which identifiers reservations are looked up by, in order."""
        default = ["hw-address", "duid", *(("circuit-id", "client-id") if self.protocol == 4 else ())]
        key = "host-reservation-identifiers"
        given = self.strings(self.given, key, self.path) if key in self.given else default
        if not given:
            raise self.error(f"'{key}' list must not be empty", [*self.path, key])
        if given == ["auto"]:
            given = [*default, "flex-id"]
        for index, name in enumerate(given):
            if name not in (*default, "flex-id"):
                raise self.error(f"unsupported identifier '{name}'", [*self.path, key, index])
            if name in given[:index]:
                raise self.error(f"duplicate host identifier '{name}'", [*self.path, key, index])
        self.value["host-reservation-identifiers"] = list(given)
        return tuple(given)


def _output(given: Mapping[str, JSON]) -> dict[str, JSON]:
    """Where a logger writes to, with what holds by default; a file has bounds."""
    output = str(given.get("output", ""))
    in_file = output not in ("stdout", "stderr") and not output.startswith("syslog")
    bounds: dict[str, JSON] = {"maxsize": 10240000, "maxver": 1} if in_file else {}
    return {"flush": True, "pattern": "", **bounds, **given}
