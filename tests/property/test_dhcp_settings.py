"""What holds for every expression, and for every way to spoil a DHCP configuration."""

from __future__ import annotations

import contextlib
import copy
import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from bridle.bundled.dhcp.expressions import ExpressionError, compile_test, compile_value
from bridle.bundled.dhcp.option_formats import Definitions
from bridle.bundled.dhcp.settings import DhcpSettings
from bridle.bundled.dhcp.settings4 import read_settings4
from bridle.bundled.dhcp.settings6 import read_settings6
from bridle.core.errors import ConfigurationError
from bridle.daemon.document import Document

EXAMPLES = settings(max_examples=300, deadline=None)

WORDS = """
option relay4 relay6 pkt pkt4 pkt6 vendor vendor-class member not and or substring concat ifelse hexstring
split all exists hex text mac msgtype peeraddr data enterprise ( ) [ ] . , + == * 'a' 'ALL' 0x12 5 -1 256
99999999999999999999 192.0.2.1 300.1.1.1 2001:db8::1 :: host-name zzz @ '
"""
words = st.sampled_from(WORDS.split())
expressions = st.text(max_size=40) | st.lists(words, max_size=25).map(" ".join)


@EXAMPLES
@given(expressions, st.sampled_from([4, 6]))
@example("substring(option[60].hex,0,6) == 'docsis'", 4)
@example("(" * 2000, 4)
@example("9" * 5000 + " == 1", 4)
def test_any_text_is_an_expression_or_is_refused(text: str, protocol: int) -> None:
    for compiled in (compile_test, compile_value):
        with contextlib.suppress(ExpressionError):
            compiled(text, protocol, Definitions(protocol))


WHOLE: dict[str, dict[str, Any]] = {
    "Dhcp4": {
        "interfaces-config": {"interfaces": ["eth0/192.0.2.1"], "dhcp-socket-type": "udp"},
        "lease-database": {"type": "memfile", "persist": False},
        "dhcp-ddns": {"enable-updates": False, "server-ip": "127.0.0.1", "qualifying-suffix": "a.b"},
        "option-def": [{"name": "r", "code": 222, "type": "record", "record-types": "uint16, string"}],
        "option-data": [{"name": "r", "data": "5,a"}, {"code": 224, "csv-format": False, "data": "0102"}],
        "client-classes": [{"name": "c", "test": "option[60].hex == 'a'", "valid-lifetime": 9}],
        "valid-lifetime": 100,
        "host-reservation-identifiers": ["duid", "flex-id"],
        "loggers": [{"name": "kea-dhcp4", "severity": "INFO", "output_options": [{"output": "stdout"}]}],
        "subnet4": [
            {
                "subnet": "192.0.2.0/24",
                "pools": [{"pool": "192.0.2.1-192.0.2.9", "client-class": "c"}, {"pool": "192.0.2.64/26"}],
                "reservations": [{"hw-address": "01:02", "ip-address": "192.0.2.5"}],
                "relay": {"ip-addresses": ["198.51.100.1"]},
                "t1-percent": 0.4,
                "reservation-mode": "all",
            }
        ],
        "shared-networks": [{"name": "n", "subnet4": [{"subnet": "10.0.0.0/8"}], "interface": "eth1"}],
        "user-context": {"a": 1},
    },
    "Dhcp6": {
        "server-id": {"type": "EN", "enterprise-id": 5, "identifier": "0102", "persist": False},
        "relay-supplied-options": ["65", "dns-servers"],
        "mac-sources": ["any"],
        "subnet6": [
            {
                "subnet": "2001:db8:1::/64",
                "interface-id": "x",
                "pools": [{"pool": "2001:db8:1::1-2001:db8:1::9"}],
                "pd-pools": [{"prefix": "2001:db8:8::", "prefix-len": 56, "delegated-len": 64}],
                "reservations": [
                    {"duid": "0102", "ip-addresses": ["2001:db8:1::5"], "prefixes": ["2001:db8:f::/64"]}
                ],
                "preferred-lifetime": 10,
                "rapid-commit": True,
            }
        ],
        "shared-networks": [{"name": "n", "subnet6": [{"subnet": "2001:db8:2::/64"}]}],
    },
}
READERS: dict[str, Callable[[Document], DhcpSettings]] = {"Dhcp4": read_settings4, "Dhcp6": read_settings6}

TEXTS = """
x 0x 1:2 192.0.2.1 192.0.2.0/24 192.0.2.0/33 192.0.2.9-192.0.2.1 ::1 2001:db8::/32 fe80::1%e ' '' a/b - 1-2
0.0.0.0-255.255.255.255 [ ٣ é all global vendor-1 dhcp4
"""
texts = st.sampled_from(TEXTS.split()) | st.text(max_size=6)
numbers = st.integers(-2, 300) | st.sampled_from([65536, 2**32, 2**64])
junk = st.recursive(
    st.none() | st.booleans() | numbers | st.floats() | texts,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(texts, inner, max_size=2),
    max_leaves=4,
)


def places(value: Any, path: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    """The paths of everything in a value, but for the value itself."""
    if not isinstance(value, dict | list):
        return
    for key, inner in value.items() if isinstance(value, dict) else enumerate(value):
        yield (*path, key)
        yield from places(inner, (*path, key))


@pytest.mark.parametrize("root", WHOLE)
@EXAMPLES
@given(st.data())
def test_a_spoilt_configuration_is_refused_or_can_be_set_again(root: str, data: st.DataObject) -> None:
    spoilt = copy.deepcopy(WHOLE[root])
    for _ in range(data.draw(st.integers(1, 2))):
        found = list(places(spoilt))
        if not found:
            break
        *way, key = data.draw(st.sampled_from(found))
        holder: Any = spoilt
        for step in way:
            holder = holder[step]
        if data.draw(st.booleans()):
            del holder[key]
        else:
            holder[key] = data.draw(junk)
    before = copy.deepcopy(spoilt)
    try:
        told = READERS[root](Document({root: spoilt})).value
    except ConfigurationError:
        return
    assert repr(spoilt) == repr(before), "what was given stays as it was"
    again = READERS[root](Document({root: copy.deepcopy(told)})).value
    assert json.dumps(again, sort_keys=True) == json.dumps(told, sort_keys=True)
