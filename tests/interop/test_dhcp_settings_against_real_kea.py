"""The same configurations for a real Kea and for ours: what ``config-get`` tells, what is refused, which
expressions mean something."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from bridle.bundled.dhcp.expressions import ExpressionError, compile_test
from bridle.bundled.dhcp.option_formats import Definitions
from bridle.bundled.dhcp.settings import DhcpSettings
from bridle.bundled.dhcp.settings4 import read_settings4
from bridle.bundled.dhcp.settings6 import read_settings6
from bridle.core.errors import ConfigurationError
from bridle.daemon.document import Document, read_file
from tests.support.kea import Dhcp4, Dhcp6, KeaDaemon, ask
from tests.support.programs import short_directory

pytestmark = pytest.mark.peers("kea-dhcp4", "kea-dhcp6")

READERS: dict[str, Callable[[Document], DhcpSettings]] = {"Dhcp4": read_settings4, "Dhcp6": read_settings6}

RICH4: dict[str, Any] = {
    "valid-lifetime": 4000,
    "renew-timer": 5,
    "option-def": [
        {"name": "mixed", "code": 222, "type": "record", "record-types": "uint16, string"},
        {"name": "inner", "code": 1, "type": "uint8", "space": "aside", "encapsulate": "deep"},
    ],
    "option-data": [
        {"name": "inner", "space": "aside", "data": "1", "user-context": {"a": 1}},
        {"name": "domain-name-servers", "data": "192.0.2.1,192.0.2.2"},
        {"code": 15, "data": "example.org", "always-send": True},
        {"code": 224, "csv-format": False, "data": "01:2"},
        {"name": "mixed", "data": "3,abc"},
        {"name": "vendor-class-identifier", "data": "0x313233", "csv-format": False},
        {"name": "routers"},
        {"code": 43},
        {"name": "tftp-servers", "space": "vendor-4491", "data": "192.0.2.7"},
        {"code": 7, "csv-format": False, "data": "01", "space": "vendor-12"},
    ],
    "client-classes": [
        {
            "name": "voip",
            "test": "substring(option[60].hex,0,6) == 'Aastra'",
            "next-server": "192.0.2.254",
            "server-hostname": "hal",
            "boot-file-name": "/dev/null",
        },
        {"name": "asked", "only-if-required": True, "valid-lifetime": 50, "user-context": {"x": 1}},
        {"name": "bounds", "valid-lifetime": 50, "min-valid-lifetime": 10, "max-valid-lifetime": 70},
        {
            "name": "least",
            "min-valid-lifetime": 10,
            "option-def": [{"name": "q", "code": 43, "type": "uint8"}],
        },
    ],
    "subnet4": [
        {
            "subnet": "192.0.2.0/24",
            "id": 7,
            "pools": [
                {
                    "pool": "192.0.2.1 - 192.0.2.20",
                    "client-class": "voip",
                    "require-client-classes": ["asked"],
                    "user-context": {},
                },
                {"pool": "192.0.2.64/26", "option-data": [{"name": "routers", "data": "192.0.2.1"}]},
                {"pool": "192.0.2.24-192.0.2.31"},
            ],
            "reservations": [
                {"hw-address": "1a:1b:1c:1d:1e:1f", "ip-address": "192.0.2.201"},
                {"client-id": "01112233", "hostname": "Abc", "client-classes": ["voip"], "user-context": {}},
                {"flex-id": "'abc'", "ip-address": "192.0.2.202", "next-server": "192.0.2.5"},
                {"circuit-id": "'char'", "hostname": "h"},
                {"duid": "01:02:03", "option-data": [{"name": "routers", "data": "192.0.2.1"}]},
            ],
            "valid-lifetime": 100,
            "max-valid-lifetime": 200,
            "interface": "lo",
            "renew-timer": 3,
            "rebind-timer": 4,
            "relay": {"ip-addresses": ["198.51.100.1"]},
            "client-class": "voip",
            "require-client-classes": ["asked"],
            "match-client-id": False,
            "authoritative": True,
            "next-server": "192.0.2.6",
            "reservation-mode": "global",
            "hostname-char-set": "x",
        },
        {"subnet": "192.0.3.0/24", "ddns-qualifying-suffix": "a.b", "server-hostname": ""},
        {"subnet": "192.0.4.0/24", "relay": {"ip-address": "198.51.100.1"}, "reservations-global": True},
    ],
    "shared-networks": [
        {
            "name": "office",
            "subnet4": [
                {"subnet": "203.0.113.0/25", "id": 50},
                {"subnet": "203.0.113.128/25", "valid-lifetime": 9},
            ],
            "valid-lifetime": 77,
            "interface": "lo",
            "option-data": [{"name": "routers", "data": "192.0.2.1"}],
            "relay": {"ip-addresses": ["198.51.100.2"]},
            "ddns-send-updates": False,
        },
        {"name": "bare"},
    ],
    "reservations": [{"hw-address": "1a:1b:1c:1d:1e:1e", "hostname": "g"}],
    "host-reservation-identifiers": ["auto"],
    "server-tag": "here",
    "user-context": {"top": 1},
    "dhcp-ddns": {"enable-updates": False, "server-ip": "::1", "qualifying-suffix": "example.org"},
    "expired-leases-processing": {"reclaim-timer-wait-time": 3},
    "multi-threading": {"enable-multi-threading": False, "thread-pool-size": 4},
    "config-control": {},
}
RICH6: dict[str, Any] = {
    "preferred-lifetime": 100,
    "valid-lifetime": 200,
    "option-data": [
        {"name": "dns-servers", "data": "2001:db8::1, 2001:db8::2"},
        {"name": "vendor-opts", "data": "4491"},
        {"name": "tftp-servers", "space": "vendor-4491", "data": "2001:db8::3"},
    ],
    "client-classes": [
        {"name": "far", "test": "relay6[0].option[18].hex == 'x'", "max-preferred-lifetime": 9},
    ],
    "subnet6": [
        {
            "subnet": "2001:DB8:1:0::1/64",
            "pools": [{"pool": "2001:DB8:1::0001-2001:db8:1::00ff"}, {"pool": "2001:db8:1:0:1::5/80"}],
            "pd-pools": [
                {
                    "prefix": "3000::",
                    "prefix-len": 48,
                    "delegated-len": 64,
                    "excluded-prefix": "3000:0:0:0:1::",
                    "excluded-prefix-len": 72,
                    "client-class": "far",
                },
            ],
            "reservations": [
                {"duid": "01:02:03", "ip-addresses": ["2001:DB8:1::9"], "prefixes": ["3001::1/64"]},
                {"hw-address": "01:02:03:04:05:06", "hostname": "h", "ip-addresses": []},
            ],
            "interface-id": "ge0",
            "rapid-commit": True,
            "min-preferred-lifetime": 50,
        }
    ],
    "shared-networks": [
        {
            "name": "b",
            "preferred-lifetime": 10,
            "interface": "lo",
            "subnet6": [{"subnet": "2001:db8:5::/64", "preferred-lifetime": 5}],
        },
        {"name": "a", "rapid-commit": True},
    ],
    "relay-supplied-options": ["110", "dns-servers"],
    "server-id": {"type": "LLT", "htype": 8, "identifier": "A65DC7410F05", "time": 1234, "persist": False},
}

SUBNET4 = {"subnet": "192.0.2.0/24"}
REFUSED4: list[dict[str, Any]] = [
    {"BOGUS": 1},
    {"valid-lifetime": "abc"},
    {"subnet4": {}},
    {"subnet4": [SUBNET4, SUBNET4]},
    {"subnet4": [{**SUBNET4, "id": 5}, {"subnet": "192.0.3.0/24", "id": 5}]},
    {"subnet4": [{**SUBNET4, "renew-timer": 50, "rebind-timer": 5}]},
    {"subnet4": [{**SUBNET4, "min-valid-lifetime": 10, "max-valid-lifetime": 5}]},
    {"subnet4": [{**SUBNET4, "max-valid-lifetime": 50}]},
    {"subnet4": [{**SUBNET4, "pools": [{"pool": "192.0.3.1-192.0.3.9"}]}]},
    {"subnet4": [{**SUBNET4, "pools": [{"pool": "192.0.2.1/30"}, {"pool": "192.0.2.2/32"}]}]},
    {"subnet4": [{**SUBNET4, "pools": [{"pool": "192.0.2.9-192.0.2.1"}]}]},
    {"subnet4": [{**SUBNET4, "reservations": [{"hw-address": "01:02", "ip-address": "192.0.3.5"}]}]},
    {"subnet4": [{**SUBNET4, "reservations": [{"hw-address": "01:02", "duid": "01", "hostname": "a"}]}]},
    {"subnet4": [{**SUBNET4, "relay": {"ip-addresses": ["::1"]}}]},
    {"shared-networks": [{"name": "a"}, {"name": "a"}]},
    {"client-classes": [{"name": "a"}, {"name": "a"}]},
    {"client-classes": [{"name": "a", "test": "option[60].hex = 'a'"}]},
    {"client-classes": [{"name": "a", "test": "member('b')"}]},
    {"option-data": [{"name": "nope", "data": "1"}]},
    {"option-data": [{"code": 224, "data": "01"}]},
    {"option-data": [{"name": "routers", "code": 6, "data": "192.0.2.1"}]},
    {"option-def": [{"name": "a", "code": 3, "type": "uint8"}]},
    {"option-def": [{"name": "a", "code": 222, "type": "string", "array": True}]},
    {"host-reservation-identifiers": ["duid", "duid"]},
]
"""Refused by both, in the same words; positions aside, where ours are more exact."""

EXPRESSIONS = [
    "option[60].hex == 'a' and (member('ALL') or not option[host-name].exists)",
    "('a') == concat('a', '')",
    "ifelse(option[1].exists, 0x61, 'b') == substring(pkt4.mac, -1, all)",
    "vendor-class[*].data[2] == hexstring(relay4[1].hex, ':')",
    "'a'",
    "'a' == 'b' 'c'",
    "option[zz].exists",
    "option[256].exists",
    "option[60].option[1].option[2].exists",
    "(option[1].exists) == 'a'",
    "substring('a', '0', 1) == 'a'",
    "pkt4.mac.hex == 'a'",
    "pkt4.len == 1",
    "pkt6.msgtype == 1",
    "4294967296 == 1",
    "300.1.1.1 == 'a'",
    "vendor.exists",
    "not",
    "@",
]


@pytest.fixture(scope="module")
def daemons() -> Iterator[dict[str, KeaDaemon]]:
    """A real Kea of both protocols, that tests may configure."""
    with short_directory() as folder, Dhcp4(folder) as dhcp4, Dhcp6(folder) as dhcp6:
        yield {"Dhcp4": dhcp4, "Dhcp6": dhcp6}


def whole(daemon: KeaDaemon, settings: dict[str, Any]) -> dict[str, Any]:
    """A configuration that leaves the daemon its control socket."""
    base = {key: value for key, value in daemon.defaults().items() if not key.startswith("subnet")}
    return {daemon.root: {**base, **settings}}


def plain(text: str) -> str:
    """An error without its position."""
    return text.partition(" (<wire>")[0].removesuffix(" at")


@pytest.mark.parametrize(
    ("root", "settings"),
    [("Dhcp4", {}), ("Dhcp4", RICH4), ("Dhcp6", {}), ("Dhcp6", RICH6)],
    ids=["dhcp4", "dhcp4-rich", "dhcp6", "dhcp6-rich"],
)
def test_config_get_tells_the_same(
    daemons: dict[str, KeaDaemon], root: str, settings: dict[str, Any]
) -> None:
    daemon = daemons[root]
    document = whole(daemon, settings)
    answer = ask(daemon.socket, "config-set", document)
    assert answer["result"] == 0, answer
    arguments: Any = ask(daemon.socket, "config-get")["arguments"]
    ours = READERS[root](Document(document)).value
    assert ours == arguments[root]
    assert READERS[root](Document(arguments)).value == ours
    assert ask(daemon.socket, "config-set", {root: ours})["result"] == 0, "Kea takes what ours tells"


@pytest.mark.parametrize("settings", REFUSED4, ids=lambda settings: json.dumps(settings)[:60])
def test_what_kea_refuses_is_refused_in_its_words(
    daemons: dict[str, KeaDaemon], settings: dict[str, Any]
) -> None:
    document = whole(daemons["Dhcp4"], settings)
    answer = ask(daemons["Dhcp4"].socket, "config-test", document)
    assert answer["result"] == 1, answer
    with pytest.raises(ConfigurationError) as found:
        read_settings4(Document(document))
    assert plain(str(found.value).removesuffix(" in ()")) == plain(
        str(answer["text"]).replace(" in (<", " (<")
    )


@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_expressions_mean_something_or_are_refused_in_its_words(
    daemons: dict[str, KeaDaemon], expression: str
) -> None:
    document = whole(daemons["Dhcp4"], {"client-classes": [{"name": "x", "test": expression}]})
    answer = ask(daemons["Dhcp4"].socket, "config-test", document)
    ours = ""
    try:
        compile_test(expression, 4, Definitions(4), classes={"ALL"})
    except ExpressionError as error:
        ours = f"expression: [{expression}] error: {error}"
    assert ours == (plain(str(answer["text"])) if answer["result"] else "")


@pytest.mark.parametrize("root", ["Dhcp4", "Dhcp6"])
def test_the_configuration_that_comes_with_kea_is_read(root: str) -> None:
    shipped = Path(f"/etc/kea/kea-{root.lower()}.conf")
    if not shipped.exists():
        pytest.skip(f"no {shipped}")
    found = READERS[root](read_file(str(shipped), root))
    again = READERS[root](Document({root: found.value}))
    assert again.value == found.value
