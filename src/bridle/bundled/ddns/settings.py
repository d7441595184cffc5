"""Reading a ``DhcpDdns`` configuration."""

from __future__ import annotations

import base64
import binascii
import ipaddress
from collections.abc import Mapping
from typing import Any

import dns.exception
import dns.name
import dns.tsig
import msgspec

from bridle.access.configuration import is_access_library
from bridle.bundled.dhcp.grammar import Grammar, Path, Reader, anything, integer, items, mapping, text
from bridle.bundled.dhcp.grammars import HOOK, LOGGER, OUTPUT
from bridle.bundled.dhcp.option_settings import context_of
from bridle.core.errors import ConfigurationError
from bridle.core.messages import JSON
from bridle.daemon.document import Document
from bridle.daemon.plugins import PluginSettings, check_library

__all__ = ["D2Settings", "DnsServer", "Domain", "TsigKey", "read_settings"]

ROOT = "DhcpDdns"
_EXTRA: Grammar = {"user-context": mapping(), "comment": text()}
_GLOBAL: Grammar = {
    **_EXTRA,
    "ip-address": text(),
    "port": integer(1, 65535),
    "dns-server-timeout": integer(),
    "ncr-protocol": text(),
    "ncr-format": text("JSON"),
    "tsig-keys": items(),
    "forward-ddns": mapping(),
    "reverse-ddns": mapping(),
    "control-socket": anything(),
    "control-sockets": items(),
    "hooks-libraries": items(),
    "access": mapping(),
    "loggers": items(),
}
_KEY: Grammar = {
    **_EXTRA,
    "name": text(),
    "algorithm": text(),
    "secret": text(),
    "digest-bits": integer(0, 512),
}
_DOMAINS: Grammar = {"ddns-domains": items()}
_DOMAIN: Grammar = {**_EXTRA, "name": text(), "key-name": text(), "dns-servers": items()}
_SERVER: Grammar = {
    **_EXTRA,
    "ip-address": text(),
    "hostname": text(""),
    "port": integer(1, 65535),
    "key-name": text(),
}
_DEFAULTS: dict[str, JSON] = {
    "dns-server-timeout": 100,
    "hooks-libraries": [],
    "ip-address": "127.0.0.1",
    "ncr-format": "JSON",
    "ncr-protocol": "UDP",
    "port": 53001,
}
# Algorithms with the bits of a whole digest.
_ALGORITHMS: dict[str, tuple[dns.name.Name, int]] = {
    "HMAC-MD5": (dns.tsig.HMAC_MD5, 128),
    "HMAC-SHA1": (dns.tsig.HMAC_SHA1, 160),
    "HMAC-SHA224": (dns.tsig.HMAC_SHA224, 224),
    "HMAC-SHA256": (dns.tsig.HMAC_SHA256, 256),
    "HMAC-SHA384": (dns.tsig.HMAC_SHA384, 384),
    "HMAC-SHA512": (dns.tsig.HMAC_SHA512, 512),
}


class TsigKey(msgspec.Struct, frozen=True):
    """A key that updates are signed with."""

    name: str
    algorithm: Any
    secret: bytes


class DnsServer(msgspec.Struct, frozen=True):
    """A server that takes updates."""

    address: str
    port: int = 53
    key: TsigKey | None = None


class Domain(msgspec.Struct, frozen=True):
    """A zone, and the servers that take updates for it, in the order in which they are tried."""

    name: str
    servers: tuple[DnsServer, ...]

    @property
    def zone(self) -> dns.name.Name:
        """The zone's name."""
        return dns.name.from_text(self.name)


class D2Settings(msgspec.Struct, frozen=True, eq=False):
    """What a D2 does. ``timeout`` is in seconds; ``value`` is what ``config-get`` tells."""

    value: dict[str, JSON]
    address: str
    port: int
    timeout: float
    forward: tuple[Domain, ...]
    reverse: tuple[Domain, ...]
    keys: tuple[TsigKey, ...]
    hooks: tuple[PluginSettings, ...]


def read_settings(document: Document) -> D2Settings:
    """Read a document.

    Raises:
        ConfigurationError: something in it is wrong, unknown, or not done here; with the position.
    """
    return _D2Reader(document).settings()


class _D2Reader(Reader):
    def settings(self) -> D2Settings:
        path: Path = [ROOT]
        given = self.map(self.root(ROOT), _GLOBAL, path, ROOT)
        value: dict[str, Any] = {**_DEFAULTS, **given}
        for key in ("comment", "user-context"):
            value.pop(key, None)
        value.update(context_of(given))
        if value["ncr-protocol"] != "UDP":
            raise self.error(
                f"ncr-protocol : {value['ncr-protocol']} is not yet supported", [*path, "ncr-protocol"]
            )
        if not value["dns-server-timeout"]:
            raise ConfigurationError("D2Params: DNS server timeout must be larger than 0")
        address = self._address(value["ip-address"], [*path, "ip-address"])
        if address in ("0.0.0.0", "::"):
            raise self.error(f'IP address cannot be "{address}"', [*path, "ip-address"])
        keys, value["tsig-keys"] = self._keys(given, path)
        forward, value["forward-ddns"] = self._domains(given, "forward-ddns", keys)
        reverse, value["reverse-ddns"] = self._domains(given, "reverse-ddns", keys)
        for index, logger in enumerate(self.maps(given, "loggers", LOGGER, path)):
            for key in ("output_options", "output-options"):
                self.maps(logger, key, OUTPUT, [*path, "loggers", index])
        return D2Settings(
            value,
            address,
            value["port"],
            value["dns-server-timeout"] / 1000,
            forward,
            reverse,
            tuple(keys.values()),
            self._hooks(given, path),
        )

    def _mistyped(self, kind: str, value: JSON, path: Path) -> ConfigurationError:
        if self.document.from_file:
            return super()._mistyped(kind, value, path)
        return self.error(f"invalid type specified for parameter '{path[-1]}'", path)

    def _address(self, written: str, path: Path) -> str:
        try:
            return str(ipaddress.ip_address(written))
        except ValueError as error:
            raise ConfigurationError(
                f"Failed to convert '{written}' to address: Failed to convert string to address '{written}': "
                f"Invalid argument({self.document.locate(path)})"
            ) from error

    def _needed(self, item: Mapping[str, Any], key: str, path: Path) -> Any:
        if key not in item:
            raise self.error(f"missing parameter '{key}'", path)
        return item[key]

    def _keys(self, given: Mapping[str, JSON], path: Path) -> tuple[dict[str, TsigKey], JSON]:
        found: dict[str, TsigKey] = {}
        told: list[JSON] = []
        for index, item in enumerate(self.maps(given, "tsig-keys", _KEY, path)):
            where: Path = [*path, "tsig-keys", index]
            name, algorithm = self._needed(item, "name", where), self._needed(item, "algorithm", where)
            secret = self._needed(item, "secret", where)
            if not name:
                raise self.error("tsig-key : name cannot be blank", [*where, "name"])
            if name in found:
                raise self.error(f"Duplicate TSIG key name specified : {name}", [*where, "name"])
            known = _ALGORITHMS.get(algorithm.upper())
            if known is None:
                raise self.error(f"tsig-key : Unknown TSIG Key algorithm: {algorithm}", [*where, "algorithm"])
            if item.get("digest-bits", 0) not in (0, known[1]):
                raise self.error(
                    f"truncated digests are not supported: 'digest-bits' is 0 or {known[1]}",
                    [*where, "digest-bits"],
                )
            try:
                decoded = base64.b64decode(secret, validate=True)
            except binascii.Error as error:
                raise self.error(
                    "Cannot make D2TsigKey: attempt to decode a value not in base64 char set", where
                ) from error
            found[name] = TsigKey(name, known[0], decoded)
            told.append(
                {
                    "algorithm": algorithm,
                    "digest-bits": item.get("digest-bits", 0),
                    "name": name,
                    "secret": secret,
                    **context_of(item),
                }
            )
        return found, told

    def _domains(
        self, given: Mapping[str, Any], key: str, keys: Mapping[str, TsigKey]
    ) -> tuple[tuple[Domain, ...], JSON]:
        path: Path = [ROOT, key]
        manager = self.map(given.get(key, {}), _DOMAINS, path, key)
        found: dict[str, tuple[Domain, dict[str, JSON]]] = {}
        for index, item in enumerate(self.maps(manager, "ddns-domains", _DOMAIN, path)):
            where: Path = [*path, "ddns-domains", index]
            name = self._needed(item, "name", where)
            if name in found:
                raise self.error(f"Duplicate domain specified: {name}", [*where, "name"])
            try:
                dns.name.from_text(name)
            except dns.exception.DNSException as error:
                raise self.error(f"'{name}' is no domain name: {error}", [*where, "name"]) from error
            default = self._key(item, keys, where)
            servers = self.maps(item, "dns-servers", _SERVER, where)
            if not servers:
                raise self.error("DNS server list cannot be empty", where)
            read = [
                self._server(server, default, keys, [*where, "dns-servers", number])
                for number, server in enumerate(servers)
            ]
            told: dict[str, JSON] = {
                "dns-servers": [one for _, one in read],
                "name": name,
                **context_of(item),
            }
            if item.get("key-name"):
                told["key-name"] = item["key-name"]
            found[name] = (Domain(name, tuple(server for server, _ in read)), told)
        ordered = [found[name] for name in sorted(found)]
        return tuple(domain for domain, _ in ordered), {"ddns-domains": [told for _, told in ordered]}

    def _key(self, item: Mapping[str, Any], keys: Mapping[str, TsigKey], path: Path) -> TsigKey | None:
        name = item.get("key-name", "")
        if not name:
            return None
        if name not in keys:
            raise self.error(f"DdnsDomain : specifies an undefined key: {name}", [*path, "key-name"])
        return keys[name]

    def _server(
        self, item: Mapping[str, Any], default: TsigKey | None, keys: Mapping[str, TsigKey], path: Path
    ) -> tuple[DnsServer, dict[str, JSON]]:
        address = self._address(self._needed(item, "ip-address", path), [*path, "ip-address"])
        port = item.get("port", 53)
        told: dict[str, JSON] = {"hostname": "", "ip-address": address, "port": port, **context_of(item)}
        if item.get("key-name"):
            told["key-name"] = item["key-name"]
        return DnsServer(address, port, self._key(item, keys, path) or default), told

    def _hooks(self, given: Mapping[str, JSON], path: Path) -> tuple[PluginSettings, ...]:
        found = []
        for index, hook in enumerate(self.maps(given, "hooks-libraries", HOOK, path)):
            where: Path = [*path, "hooks-libraries", index]
            library = self._needed(hook, "library", where)
            if is_access_library(library):
                continue
            try:
                check_library(library)
            except ConfigurationError as error:
                raise self.error(error.text, [*where, "library"]) from error
            found.append(PluginSettings(library, hook.get("parameters", {})))
        return tuple(found)
