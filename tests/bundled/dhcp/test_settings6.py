"""Reading a ``Dhcp6`` configuration: what differs from ``Dhcp4``."""

from __future__ import annotations

import ipaddress
import json
from pathlib import Path
from typing import Any

import pytest

import bridle
from bridle.bundled.dhcp.settings import Lifetime, Settings6
from bridle.bundled.dhcp.settings6 import read_settings6
from bridle.daemon.document import Document, from_command
from bridle.wire.kea_messages import read_command

VECTORS = Path(__file__).parents[2] / "vectors" / "kea.jsonl"


def settings(**given: Any) -> Settings6:
    """The settings of a configuration; underlines stand for dashes."""
    return read_settings6(Document({"Dhcp6": {key.replace("_", "-"): value for key, value in given.items()}}))


def subnet(**given: Any) -> dict[str, Any]:
    """A subnet of a configuration."""
    return {"subnet": "2001:db8:1::/64", **{key.replace("_", "-"): value for key, value in given.items()}}


def refused(**given: Any) -> str:
    """Why a configuration is refused."""
    with pytest.raises(bridle.ConfigurationError) as found:
        settings(**given)
    return str(found.value)


def packed(address: str) -> bytes:
    return ipaddress.IPv6Address(address).packed


def test_a_subnet_has_addresses_and_prefixes() -> None:
    (one,) = settings(
        preferred_lifetime=100,
        valid_lifetime=200,
        subnet6=[
            subnet(
                pools=[{"pool": "2001:db8:1::10 - 2001:db8:1::ff"}, {"pool": "2001:db8:1:0:1::/80"}],
                pd_pools=[
                    {
                        "prefix": "2001:db8:8::",
                        "prefix-len": 56,
                        "delegated-len": 64,
                        "excluded-prefix": "2001:db8:8:0:1::",
                        "excluded-prefix-len": 80,
                    }
                ],
                interface_id="ge0/1",
                rapid_commit=True,
                max_preferred_lifetime=150,
            )
        ],
    ).subnets.values()
    assert [(pool.first, pool.last) for pool in one.pools] == [
        (packed("2001:db8:1::10"), packed("2001:db8:1::ff")),
        (packed("2001:db8:1:0:1::"), packed("2001:db8:1:0:1:ffff:ffff:ffff")),
    ]
    (prefixes,) = one.pd_pools
    assert (prefixes.prefix, prefixes.prefix_length, prefixes.delegated_length) == (
        packed("2001:db8:8::"),
        56,
        64,
    )
    assert (prefixes.excluded_prefix, prefixes.excluded_length) == (packed("2001:db8:8:0:1::"), 80)
    assert one.interface_id == b"ge0/1"
    assert one.rapid_commit
    assert one.preferred == Lifetime(100, 100, 150)
    assert one.valid == Lifetime(200, 200, 200)
    assert one.calculate_tee_times


def test_reservations_have_several_addresses_and_prefixes() -> None:
    reservation = {
        "duid": "01:02:03",
        "ip-addresses": ["2001:DB8:1::0009", "2001:db8:1::5"],
        "prefixes": ["2001:db8:f::/64"],
        "hostname": "h",
    }
    found = settings(subnet6=[subnet(reservations=[reservation])])
    one = found.subnets[1].reservations["duid", b"\1\2\3"]
    assert one.addresses == (packed("2001:db8:1::9"), packed("2001:db8:1::5"))
    assert one.prefixes == ((packed("2001:db8:f::"), 64),)
    assert found.subnets[1].reserved_addresses[packed("2001:db8:1::5")] is one
    assert found.subnets[1].reserved_prefixes[packed("2001:db8:f::")] is one
    value: Any = found.value
    assert value["subnet6"][0]["reservations"][0]["ip-addresses"] == ["2001:db8:1::9", "2001:db8:1::5"]


def test_the_server_s_identifier_may_be_told() -> None:
    found = settings(server_id={"type": "EN", "enterprise-id": 2495, "identifier": "0A0b", "persist": False})
    assert found.server_id_type == "EN"
    assert found.server_id_enterprise == 2495
    assert found.server_id_identifier == b"\x0a\x0b"
    assert not found.server_id_persist


def test_options_of_relays_are_named_by_code_or_name() -> None:
    found = settings(relay_supplied_options=["110", "dns-servers"])
    assert found.relay_supplied_options == {23, 65, 110}
    assert found.value["relay-supplied-options"] == ["23", "65", "110"]


def test_what_config_get_tells_can_be_set_again() -> None:
    first = settings(
        subnet6=[
            subnet(
                pools=[{"pool": "2001:DB8:1::/80", "user-context": {}}],
                pd_pools=[{"prefix": "2001:db8:8::", "prefix-len": 56, "delegated-len": 64}],
                min_valid_lifetime=10,
                reservations=[{"duid": "0102", "prefixes": ["2001:db8:f::/64"]}],
            )
        ],
        shared_networks=[
            {"name": "n", "rapid-commit": True, "subnet6": [subnet(subnet="2001:db8:2::/64")]},
        ],
        relay_supplied_options=[],
    ).value
    again = read_settings6(Document({"Dhcp6": json.loads(json.dumps(first))})).value
    assert again == first


@pytest.mark.parametrize(
    ("given", "text"),
    [
        (
            subnet(pd_pools=[{"prefix": "2001:db8::", "prefix-len": 64, "delegated-len": 56}]),
            "Delegated length (56) must be longer than or equal to prefix length (64)",
        ),
        (
            subnet(
                pools=[{"pool": "2001:db8:1::/80"}],
                pd_pools=[{"prefix": "2001:db8:1::", "prefix-len": 64, "delegated-len": 96}],
            ),
            "2001:db8:1::-2001:db8:1:0:ffff:ffff:ffff:ffff overlaps with an existing pool",
        ),
        (subnet(interface="eth0", interface_id="x"), "cannot be defined at the same time"),
        (
            subnet(reservations=[{"duid": "01", "ip-addresses": ["2001:db8:2::1"]}]),
            "specified reservation '2001:db8:2::1' is not within the IPv6 subnet '2001:db8:1::/64'",
        ),
        (
            subnet(
                reservations=[
                    {"duid": "01", "ip-addresses": ["2001:db8:1::1"]},
                    {"duid": "02", "ip-addresses": ["2001:db8:1::1"]},
                ]
            ),
            "There's already reservation for this address/prefix",
        ),
        (
            subnet(reservations=[{"duid": "01", "prefixes": ["2001:db8::"]}]),
            "prefix reservation requires prefix length be specified in '2001:db8::'",
        ),
        (subnet(next_server="192.0.2.1"), "unsupported parameter 'next-server' in subnet6"),
    ],
)
def test_a_subnet_that_cannot_be_is_refused(given: dict[str, Any], text: str) -> None:
    assert text in refused(subnet6=[given])


def test_subnets_of_a_network_agree_on_rapid_commit() -> None:
    mixed = [subnet(rapid_commit=True), subnet(subnet="2001:db8:2::/64")]
    text = refused(shared_networks=[{"name": "n", "subnet6": mixed}])
    assert "All subnets in a shared network must have the same rapid-commit value" in text


def test_ways_to_find_hardware_addresses_are_not_chosen() -> None:
    assert settings(mac_sources=["any"]).value["mac-sources"] == ["any"]
    assert "parameter 'mac-sources' is not supported" in refused(mac_sources=["raw"])


@pytest.mark.parametrize("line", [174, 175])
def test_an_error_in_a_command_is_told_as_kea_tells_it(line: int) -> None:
    vector = json.loads(VECTORS.read_text().splitlines()[line])
    document = from_command(read_command(vector["request"].encode(), bridle.Peer()))
    with pytest.raises(bridle.ConfigurationError) as found:
        read_settings6(document)
    assert str(found.value) == json.loads(vector["response"])["text"]


def test_what_a_real_kea_told_can_be_set() -> None:
    told = json.loads(json.loads(VECTORS.read_text().splitlines()[174])["request"])["arguments"]
    del told["Dhcp6"]["BOGUS"]
    assert read_settings6(Document(told)).value == told["Dhcp6"]
