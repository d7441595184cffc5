"""A hundred thousand packets that went wrong: none of them is a server's undoing, and each is counted."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

import pytest

from bridle.core.messages import JSON
from tests.support.dhcp_server import Site4, Site6
from tests.support.mutation import captured, mutations

# Of each protocol, in parts that run side by side.
COUNT, PARTS = 50_000, 5
CLASSES: list[JSON] = [
    {"name": "a", "test": "substring(option[60].hex,0,3) == 'foo' or option[82].option[1].exists"},
    {"name": "b", "test": "not member('KNOWN')"},
]
DHCP4: dict[str, JSON] = {
    "client-classes": CLASSES,
    "dhcp-ddns": {"enable-updates": True},
    "ddns-qualifying-suffix": "example.org",
    "reservations": [{"hw-address": "02:00:00:00:00:01", "hostname": "reserved"}],
    "reservations-global": True,
    "subnet4": [
        {"subnet": "10.0.0.0/8", "pools": [{"pool": "10.1.0.0/20"}]},
        {"subnet": "192.0.2.0/24", "pools": [{"pool": "192.0.2.10-192.0.2.99"}]},
    ],
}
DHCP6: dict[str, JSON] = {
    "client-classes": [{"name": "b", "test": "not member('KNOWN') and option[16].exists"}],
    "dhcp-ddns": {"enable-updates": True},
    "subnet6": [
        {
            "subnet": "2001:db8::/32",
            "interface": "eth0",
            "rapid-commit": True,
            "pools": [{"pool": "2001:db8:1::/120"}],
            "pd-pools": [{"prefix": "2001:db8:8000::", "prefix-len": 48, "delegated-len": 56}],
        }
    ],
}


def batches(packets: Iterator[bytes]) -> Iterator[list[bytes]]:
    while batch := list(islice(packets, 64)):
        yield batch


@pytest.mark.parametrize("part", range(PARTS))
def test_malformed_dhcpv4_is_survived_and_counted(part: int, caplog: pytest.LogCaptureFixture) -> None:
    site = Site4(DHCP4)
    for batch in batches(mutations(captured(4), COUNT // PARTS, part)):
        site.deliver(*batch)
    assert site.count("pkt4-received") == COUNT // PARTS
    assert site.count("pkt4-parse-failed") > COUNT // PARTS // 100
    assert site.count("pkt4-processing-failed") == 0, caplog.text
    assert site.ask(1) is not None


@pytest.mark.parametrize("part", range(PARTS))
def test_malformed_dhcpv6_is_survived_and_counted(part: int, caplog: pytest.LogCaptureFixture) -> None:
    site = Site6(DHCP6)
    for batch in batches(mutations(captured(6), COUNT // PARTS, part)):
        site.deliver(*batch)
    assert site.count("pkt6-received") == COUNT // PARTS
    assert site.count("pkt6-parse-failed") > COUNT // PARTS // 100
    assert site.count("pkt6-processing-failed") == 0, caplog.text
    assert site.ask(1, (1, b"\0\3\0\1\2\0\0\0\0\1")) is not None
