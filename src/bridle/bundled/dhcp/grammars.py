"""The parameters of Kea 2.2's DHCP configurations, scope by scope."""

from __future__ import annotations

from bridle.bundled.dhcp.grammar import (
    Grammar,
    anything,
    boolean,
    integer,
    items,
    mapping,
    number,
    text,
    word,
)

__all__ = [
    "CLASS",
    "CONFIG_CONTROL",
    "DATABASE",
    "DDNS",
    "EXPIRED",
    "FLEX_ID",
    "GLOBAL",
    "HOOK",
    "INTERFACES",
    "LOGGER",
    "NETWORK",
    "OPTION",
    "OPTION_DEFINITION",
    "OUTPUT",
    "PD_POOL",
    "POOL",
    "QUEUE_CONTROL",
    "RELAY",
    "RESERVATION",
    "SANITY",
    "SERVER_ID",
    "SUBNET",
    "SUBNET_KEYS",
    "THREADS",
]

SUBNET_KEYS = {4: "subnet4", 6: "subnet6"}

_EXTRA: Grammar = {"user-context": mapping(), "comment": text()}
_LIFETIMES: Grammar = {
    "valid-lifetime": integer(),
    "min-valid-lifetime": integer(),
    "max-valid-lifetime": integer(),
    "renew-timer": integer(),
    "rebind-timer": integer(),
    "calculate-tee-times": boolean(),
    "t1-percent": number(0, 1),
    "t2-percent": number(0, 1),
}
_LIFETIMES6: Grammar = {
    "preferred-lifetime": integer(),
    "min-preferred-lifetime": integer(),
    "max-preferred-lifetime": integer(),
}
_BOOT: Grammar = {"next-server": text(), "server-hostname": text(), "boot-file-name": text()}
_DDNS: Grammar = {
    "ddns-send-updates": boolean(),
    "ddns-override-no-update": boolean(),
    "ddns-override-client-update": boolean(),
    "ddns-replace-client-name": word(),
    "ddns-generated-prefix": text(),
    "ddns-qualifying-suffix": text(),
    "ddns-update-on-renew": boolean(),
    "ddns-use-conflict-resolution": boolean(),
    "ddns-ttl-percent": number(0, 1, only=(0,)),
    "hostname-char-set": text(),
    "hostname-char-replacement": text(),
}
_RESERVATIONS: Grammar = {
    "reservations-global": boolean(),
    "reservations-in-subnet": boolean(),
    "reservations-out-of-pool": boolean(),
    "reservation-mode": text(),
}
_CACHE: Grammar = {"cache-threshold": number(0, 1, only=(0,)), "cache-max-age": integer(only=(0,))}
_INHERITED: Grammar = {
    **_LIFETIMES,
    **_DDNS,
    **_RESERVATIONS,
    **_CACHE,
    **_EXTRA,
    "store-extended-info": boolean(False),
}
_LINK: Grammar = {
    **_INHERITED,
    "option-data": items(),
    "client-class": text(),
    "require-client-classes": items(),
    "interface": text(),
    "relay": mapping(),
}
_OF_PROTOCOL: dict[int, Grammar] = {
    4: {"authoritative": boolean(), "match-client-id": boolean(), **_BOOT},
    6: {**_LIFETIMES6, "rapid-commit": boolean(), "interface-id": text()},
}
NETWORK: dict[int, Grammar] = {
    protocol: {**_LINK, **_OF_PROTOCOL[protocol], "name": text(), key: items()}
    for protocol, key in SUBNET_KEYS.items()
}
SUBNET: dict[int, Grammar] = {
    4: {
        **_LINK,
        **_OF_PROTOCOL[4],
        "4o6-interface": text(""),
        "4o6-interface-id": text(""),
        "4o6-subnet": text(""),
        "id": integer(),
        "subnet": text(),
        "pools": items(),
        "reservations": items(),
    },
    6: {
        **_LINK,
        **_OF_PROTOCOL[6],
        "id": integer(),
        "subnet": text(),
        "pools": items(),
        "pd-pools": items(),
        "reservations": items(),
    },
}
POOL: Grammar = {
    **_EXTRA,
    "pool": text(),
    "option-data": items(),
    "client-class": text(),
    "require-client-classes": items(),
}
PD_POOL: Grammar = {
    **{key: value for key, value in POOL.items() if key != "pool"},
    "prefix": text(),
    "prefix-len": integer(0, 128),
    "delegated-len": integer(0, 128),
    "excluded-prefix": text(),
    "excluded-prefix-len": integer(0, 128),
}
_HOST: Grammar = {
    **_EXTRA,
    "hw-address": text(),
    "duid": text(),
    "flex-id": text(),
    "hostname": text(),
    "option-data": items(),
    "client-classes": items(),
}
RESERVATION: dict[int, Grammar] = {
    4: {**_HOST, **_BOOT, "client-id": text(), "circuit-id": text(), "ip-address": text()},
    6: {**_HOST, "ip-addresses": items(), "prefixes": items()},
}
OPTION: Grammar = {
    **_EXTRA,
    "name": text(),
    "code": integer(0, 65535),
    "space": text(),
    "csv-format": boolean(),
    "always-send": boolean(),
    "data": text(),
}
OPTION_DEFINITION: Grammar = {
    **_EXTRA,
    "name": text(),
    "code": integer(0, 65535),
    "space": text(),
    "type": text(),
    "array": boolean(),
    "record-types": text(),
    "encapsulate": text(),
}
CLASS: dict[int, Grammar] = {
    4: {
        **_EXTRA,
        **_BOOT,
        "name": text(),
        "test": text(),
        "only-if-required": boolean(),
        "option-data": items(),
        "option-def": items(),
        "valid-lifetime": integer(),
        "min-valid-lifetime": integer(),
        "max-valid-lifetime": integer(),
    },
    6: {
        **_EXTRA,
        **_LIFETIMES6,
        "name": text(),
        "test": text(),
        "only-if-required": boolean(),
        "option-data": items(),
        "valid-lifetime": integer(),
        "min-valid-lifetime": integer(),
        "max-valid-lifetime": integer(),
    },
}
INTERFACES: Grammar = {
    **_EXTRA,
    "interfaces": items(),
    "re-detect": boolean(),
    "dhcp-socket-type": text(),
    "outbound-interface": text("same-as-inbound"),
    "service-sockets-require-all": boolean(),
    "service-sockets-max-retries": integer(only=(0,)),
    "service-sockets-retry-wait-time": integer(),
}
DATABASE: Grammar = {
    **_EXTRA,
    "type": text(),
    "persist": boolean(),
    "name": text(),
    "lfc-interval": integer(),
    "max-row-errors": integer(),
    "host": text(),
    "port": integer(0, 65535),
    "user": text(),
    "password": text(),
    "connect-timeout": integer(),
}
EXPIRED: Grammar = {
    "reclaim-timer-wait-time": integer(0, 65535),
    "flush-reclaimed-timer-wait-time": integer(0, 65535),
    "hold-reclaimed-time": integer(),
    "max-reclaim-leases": integer(),
    "max-reclaim-time": integer(0, 10000),
    "unwarned-reclaim-cycles": integer(0, 65535),
}
DDNS: Grammar = {
    **_EXTRA,
    "enable-updates": boolean(),
    "server-ip": text(),
    "server-port": integer(0, 65535),
    "sender-ip": text(),
    "sender-port": integer(0, 65535),
    "max-queue-size": integer(1),
    "ncr-protocol": text("UDP"),
    "ncr-format": text("JSON"),
    # Where these were before they became parameters of every scope.
    "override-no-update": boolean(),
    "override-client-update": boolean(),
    "replace-client-name": word(),
    "generated-prefix": text(),
    "qualifying-suffix": text(),
    "hostname-char-set": text(),
    "hostname-char-replacement": text(),
}
THREADS: Grammar = {
    **_EXTRA,
    "enable-multi-threading": boolean(),
    "thread-pool-size": integer(0, 65535),
    "packet-queue-size": integer(0, 65535),
}
QUEUE_CONTROL: Grammar = {
    **_EXTRA,
    "enable-queue": boolean(False),
    "queue-type": text(),
    "capacity": integer(),
}
HOOK: Grammar = {**_EXTRA, "library": text(), "parameters": mapping()}
FLEX_ID: Grammar = {
    "identifier-expression": text(),
    "replace-client-id": boolean(False),
    "ignore-iaid": boolean(False),
}
LOGGER: Grammar = {
    **_EXTRA,
    "name": text(),
    "severity": text(),
    "debuglevel": integer(0, 99),
    "output_options": items(),
    "output-options": items(),
}
OUTPUT: Grammar = {
    "output": text(),
    "flush": boolean(),
    "maxsize": integer(),
    "maxver": integer(),
    "pattern": text(),
}
RELAY: Grammar = {"ip-address": text(), "ip-addresses": items()}
CONFIG_CONTROL: Grammar = {
    **_EXTRA,
    "config-databases": items(),
    "config-fetch-wait-time": integer(0, 65535),
}
SANITY: Grammar = {"lease-checks": text(), "extended-info-checks": text()}
SERVER_ID: Grammar = {
    **_EXTRA,
    "type": text(),
    "identifier": text(),
    "time": integer(),
    "htype": integer(0, 65535),
    "enterprise-id": integer(),
    "persist": boolean(),
}
_GLOBAL: Grammar = {
    **_INHERITED,
    "interfaces-config": mapping(),
    "lease-database": mapping(),
    "expired-leases-processing": mapping(),
    "option-data": items(),
    "option-def": items(),
    "client-classes": items(),
    "shared-networks": items(),
    "reservations": items(),
    "loggers": items(),
    "control-socket": anything(),
    "control-sockets": items(),
    "hooks-libraries": items(),
    "access": mapping(),
    "dhcp-ddns": mapping(),
    "multi-threading": mapping(),
    "dhcp-queue-control": mapping(),
    "sanity-checks": mapping(),
    "config-control": mapping(),
    "server-tag": text(),
    "decline-probation-period": integer(),
    "dhcp4o6-port": integer(only=(0,)),
    "host-reservation-identifiers": items(),
    "early-global-reservations-lookup": boolean(),
    "reservations-lookup-first": boolean(),
    "ip-reservations-unique": boolean(),
    "parked-packet-limit": integer(),
    "statistic-default-sample-count": integer(),
    "statistic-default-sample-age": integer(),
    "hosts-database": mapping({}),
    "hosts-databases": items([]),
    "compatibility": mapping({}),
}
GLOBAL: dict[int, Grammar] = {
    4: {
        **_GLOBAL,
        **_OF_PROTOCOL[4],
        "subnet4": items(),
        "echo-client-id": boolean(),
        "offer-lifetime": integer(only=(0,)),
    },
    6: {
        **_GLOBAL,
        **_LIFETIMES6,
        "subnet6": items(),
        "data-directory": text(),
        "server-id": mapping(),
        "mac-sources": items(["any"]),
        "relay-supplied-options": items(),
    },
}
