"""Reading a ``Dhcp4`` configuration: what it comes to, and what is refused, with its position."""

from __future__ import annotations

import ipaddress
import json
import re
from pathlib import Path
from typing import Any

import pytest

import bridle
from bridle.bundled.dhcp.settings import Lifetime, Settings4
from bridle.bundled.dhcp.settings4 import read_settings4
from bridle.daemon.document import Document, from_command, read_file
from bridle.wire.kea_messages import read_command

VECTORS = Path(__file__).parents[2] / "vectors" / "kea.jsonl"


def settings(**given: Any) -> Settings4:
    """The settings of a configuration; underlines stand for dashes."""
    return read_settings4(Document({"Dhcp4": {key.replace("_", "-"): value for key, value in given.items()}}))


def subnet(**given: Any) -> dict[str, Any]:
    """A subnet of a configuration."""
    return {"subnet": "192.0.2.0/24", **{key.replace("_", "-"): value for key, value in given.items()}}


def refused(**given: Any) -> str:
    """Why a configuration is refused."""
    with pytest.raises(bridle.ConfigurationError) as found:
        settings(**given)
    return str(found.value)


def number(address: str) -> int:
    return int(ipaddress.IPv4Address(address))


def test_an_empty_configuration_has_kea_s_defaults() -> None:
    found = settings()
    assert not found.subnets
    assert found.echo_client_id
    assert found.value["valid-lifetime"] == 7200
    assert found.value["dhcp-ddns"]["enable-updates"] is False  # type: ignore[index, call-overload]
    assert found.host_identifiers == ("hw-address", "duid", "circuit-id", "client-id")


def test_a_subnet_inherits_what_it_does_not_say() -> None:
    found = settings(
        valid_lifetime=1000,
        next_server="192.0.2.254",
        option_data=[{"name": "domain-name", "data": "example.org"}],
        shared_networks=[
            {
                "name": "office",
                "valid-lifetime": 500,
                "option-data": [
                    {"name": "routers", "data": "192.0.2.1"},
                    {"name": "ntp-servers", "data": "192.0.2.3"},
                ],
                "relay": {"ip-addresses": ["198.51.100.1"]},
                "subnet4": [
                    subnet(option_data=[{"name": "routers", "data": "192.0.2.2"}]),
                    subnet(subnet="203.0.113.0/24", valid_lifetime=100, max_valid_lifetime=200),
                ],
            }
        ],
    )
    first, second = found.subnets.values()
    assert (first.id, second.id) == (1, 2)
    assert first.shared_network == second.shared_network == "office"
    assert first.valid == Lifetime(500, 500, 500)
    assert second.valid == Lifetime(100, 100, 200)
    assert first.next_server == number("192.0.2.254")
    assert first.relays == {number("198.51.100.1")}
    assert first.options[3].data == bytes([192, 0, 2, 2])
    assert second.options[3].data == bytes([192, 0, 2, 1])
    assert first.options[42].data == bytes([192, 0, 2, 3])
    assert 15 not in first.options, "what holds for all is in the settings"
    assert found.options[15].data == b"\7example\3org\0"
    assert found.shared_networks["office"].subnets == (1, 2)


def test_numbers_are_given_to_subnets_without_one() -> None:
    found = settings(
        subnet4=[subnet(), subnet(subnet="192.0.3.0/24", id=9), subnet(subnet="192.0.4.0/24")],
        shared_networks=[{"name": "n", "subnet4": [subnet(subnet="192.0.5.0/24")]}],
    )
    assert {one.text: one.id for one in found.subnets.values()} == {
        "192.0.5.0/24": 1,
        "192.0.2.0/24": 2,
        "192.0.3.0/24": 9,
        "192.0.4.0/24": 3,
    }


def test_pools_are_ranges_or_prefixes() -> None:
    (one,) = settings(
        subnet4=[subnet(pools=[{"pool": "192.0.2.1 -  192.0.2.20"}, {"pool": "192.0.2.64 / 26"}])]
    ).subnets.values()
    assert [(pool.first, pool.last) for pool in one.pools] == [
        (number("192.0.2.1"), number("192.0.2.20")),
        (number("192.0.2.64"), number("192.0.2.127")),
    ]


def test_a_range_that_is_a_prefix_is_told_as_one() -> None:
    value: Any = settings(
        subnet4=[subnet(pools=[{"pool": "192.0.2.0-192.0.2.127"}, {"pool": "192.0.2.193/26"}])]
    ).value
    assert [pool["pool"] for pool in value["subnet4"][0]["pools"]] == [
        "192.0.2.0/25",
        "192.0.2.193-192.0.2.255",
    ]


def test_reservations_are_found_by_identifier_and_by_address() -> None:
    reservations = [
        {"hw-address": "1a:1b:1c:1d:1e:1f", "ip-address": "192.0.2.201"},
        {"client-id": "01112233", "hostname": "special", "client-classes": ["voip"]},
        {"circuit-id": "'charter950'", "ip-address": "192.0.2.202"},
        {"duid": "1:2:a", "option-data": [{"name": "routers", "data": "192.0.2.9"}]},
        {"flex-id": "0x7331", "next-server": "192.0.2.3", "boot-file-name": "/x", "hostname": "f"},
    ]
    (one,) = settings(subnet4=[subnet(reservations=reservations)]).subnets.values()
    assert set(one.reservations) == {
        ("hw-address", bytes.fromhex("1a1b1c1d1e1f")),
        ("client-id", bytes.fromhex("01112233")),
        ("circuit-id", b"charter950"),
        ("duid", b"\1\2\n"),
        ("flex-id", b"\x73\x31"),
    }
    assert one.reserved[number("192.0.2.201")].identifier[0] == "hw-address"
    assert one.reservations["client-id", bytes.fromhex("01112233")].client_classes == ("voip",)
    assert one.reservations["duid", b"\1\2\n"].options[3].data == bytes([192, 0, 2, 9])


def test_the_older_reservation_mode_becomes_the_flags() -> None:
    found = settings(
        reservation_mode="out-of-pool",
        subnet4=[subnet(), subnet(subnet="192.0.3.0/24", reservation_mode="global")],
    )
    inherited, own = found.subnets.values()
    assert (inherited.reservations_in_subnet, inherited.reservations_out_of_pool) == (True, True)
    assert (own.reservations_global, own.reservations_in_subnet) == (True, False)
    assert "reservation-mode" not in found.value


def test_options_of_an_encapsulated_space_are_inside_of_their_option() -> None:
    found = settings(
        option_def=[
            {"name": "cookie", "code": 1, "space": "vendor-encapsulated-options-space", "type": "uint16"},
            {"name": "mixed", "code": 222, "type": "record", "record-types": "uint16, string"},
        ],
        option_data=[
            {"name": "cookie", "space": "vendor-encapsulated-options-space", "data": "258"},
            {"name": "vendor-encapsulated-options", "always-send": True},
            {"name": "mixed", "data": "5, abc"},
            {"code": 224, "csv-format": False, "data": "01:2"},
            {"name": "vivso-suboptions", "data": "4491"},
            {"name": "tftp-servers", "space": "vendor-4491", "data": "192.0.2.7"},
        ],
    )
    assert found.options[43].data == bytes.fromhex("01020102")
    assert found.options[43].always_send
    assert found.options[222].data == b"\0\5abc"
    assert found.options[224].data == b"\1\2"
    assert found.options[125].data == bytes.fromhex("0000118b 06 0204c0000207")


def test_classes_have_tests_and_lifetimes() -> None:
    found = settings(
        client_classes=[
            {"name": "voip", "test": "substring(option[60].hex,0,6) == 'Aastra'", "next-server": "192.0.2.4"},
            {"name": "again", "test": "member('voip') and member('KNOWN')", "min-valid-lifetime": 10},
            {"name": "asked", "only-if-required": True, "valid-lifetime": 50, "max-valid-lifetime": 60},
        ]
    )
    voip, again, asked = found.classes
    assert voip.test is not None
    assert voip.next_server == number("192.0.2.4")
    assert not voip.depends_on_known
    assert again.depends_on_known
    assert again.valid == Lifetime(10, 10, 10)
    assert asked.test is None
    assert asked.only_if_required
    assert asked.valid == Lifetime(50, 50, 60)


def test_a_comment_goes_into_the_user_context() -> None:
    value: Any = settings(
        comment="all", user_context={"site": 7}, subnet4=[subnet(comment="one", user_context={})]
    ).value
    assert value["user-context"] == {"site": 7, "comment": "all"}
    assert value["subnet4"][0]["user-context"] == {"comment": "one"}
    assert "comment" not in value


def test_kea_s_libraries_for_commands_that_are_here_anyway_load_nothing() -> None:
    folder = "/usr/lib/kea/hooks"
    libraries: list[Any] = [
        {"library": f"{folder}/libdhcp_lease_cmds.so"},
        {"library": f"{folder}/libdhcp_stat_cmds.so", "parameters": {"any": 1}},
    ]
    found = settings(hooks_libraries=libraries)
    assert found.hooks == ()
    assert found.value["hooks-libraries"] == libraries


def test_a_flexible_identifier_is_an_expression() -> None:
    found = settings(
        hooks_libraries=[
            {
                "library": "/usr/lib/kea/hooks/libdhcp_flex_id.so",
                "parameters": {"identifier-expression": "concat('x', pkt.iface)"},
            }
        ]
    )

    class Asked:
        interface = "eth0"

    assert found.flexible_identifier is not None
    query: Any = Asked()
    assert found.flexible_identifier(query) == b"xeth0"


def test_what_config_get_tells_can_be_set_again() -> None:
    first = settings(
        comment="kept",
        valid_lifetime=4000,
        reservation_mode="global",
        dhcp_ddns={"enable-updates": False, "qualifying-suffix": "example.org", "server-ip": "::1"},
        host_reservation_identifiers=["auto"],
        loggers=[{"name": "kea-dhcp4", "severity": "info", "output_options": [{"output": "stdout"}]}],
        client_classes=[{"name": "c", "test": "option[60].exists", "min-valid-lifetime": 10}],
        subnet4=[subnet(pools=[{"pool": "192.0.2.1/30"}], min_valid_lifetime=10, interface="eth7")],
        shared_networks=[{"name": "b", "subnet4": [subnet(subnet="10.0.0.1/8")]}, {"name": "a"}],
    ).value
    again = read_settings4(Document({"Dhcp4": json.loads(json.dumps(first))})).value
    assert again == first


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ({"BOGUS": 1}, "unsupported global configuration parameter: BOGUS"),
        ({"dhcp4o6-port": 7}, "parameter 'dhcp4o6-port' is not supported, other than as 0"),
        ({"dhcp-queue-control": {"enable-queue": True}}, "parameter 'enable-queue' is not supported"),
        ({"hosts-databases": [{"type": "mysql"}]}, "parameter 'hosts-databases' is not supported"),
        ({"cache-threshold": 0.25}, "parameter 'cache-threshold' is not supported"),
        ({"lease-database": {"type": "mysql"}}, "lease database type 'mysql' is not supported"),
        (
            {"hooks-libraries": [{"library": "/x/libdhcp_ha.so"}]},
            "hook library '/x/libdhcp_ha.so' is a shared library",
        ),
        ({"valid-lifetime": "abc"}, "intValue() called on non-integer Element"),
        ({"host-reservation-identifiers": ["duid", "duid"]}, "duplicate host identifier 'duid'"),
        (
            {"dhcp-ddns": {"enable-updates": True, "ncr-protocol": "TCP"}},
            "parameter 'ncr-protocol' is not supported",
        ),
        ({"interfaces-config": {"interfaces": ["eth0", "eth0"]}}, "'eth0' has already been specified"),
        (
            {"loggers": [{"name": "kea-dhcp4"}]},
            "loggers entry does not have a mandatory 'severity' element",
        ),
        ({"shared-networks": [{"name": "a"}, {"name": "a"}]}, "duplicate network 'a' found"),
        ({"client-classes": [{"name": "a"}, {"name": "a"}]}, "Client Class: a has already been defined"),
        (
            {"client-classes": [{"name": "a", "test": "member('b')"}]},
            "expression: [member('b')] error: <string>:1.8-10: Not defined client class 'b'",
        ),
        (
            {"option-data": [{"name": "nope", "data": "1"}]},
            "definition for the option 'dhcp4.nope' having code '0' does not exist",
        ),
        (
            {"option-data": [{"code": 224, "data": "01"}]},
            "definition for the option 'dhcp4.' having code '224' does not exist",
        ),
        ({"option-data": [{"name": "routers", "data": "x"}]}, "(space: dhcp4, code: 3)"),
        (
            {"option-def": [{"name": "a", "code": 3, "type": "uint8"}]},
            "unable to override definition of option '3' in standard option space 'dhcp4'",
        ),
    ],
)
def test_what_cannot_be_is_refused(given: dict[str, Any], text: str) -> None:
    assert text in refused(**given)


@pytest.mark.parametrize(
    ("given", "text"),
    [
        (subnet(subnet="192.0.2.0"), "Invalid subnet syntax (prefix/len expected):192.0.2.0"),
        (subnet(subnet="2001:db8::/64"), "Non IPv4 prefix 2001:db8:: specified in subnet4"),
        (subnet(zz=1), "unsupported parameter 'zz' in subnet4"),
        (
            subnet(pools=[{"pool": "192.0.3.1-192.0.3.9"}]),
            "192.0.3.1-192.0.3.9 does not match the prefix of a subnet: 192.0.2.0/24 to which it is",
        ),
        (
            subnet(pools=[{"pool": "192.0.2.1-192.0.2.9"}, {"pool": "192.0.2.9/32"}]),
            "192.0.2.9-192.0.2.9 overlaps with an existing pool in the subnet: 192.0.2.0/24",
        ),
        (subnet(pools=[{"pool": "192.0.2.9-192.0.2.1"}]), "Failed to create pool defined by"),
        (
            subnet(valid_lifetime=5, min_valid_lifetime=10),
            "the value of min-valid-lifetime (10) is not less than (default) valid-lifetime (5)",
        ),
        (
            subnet(renew_timer=50, rebind_timer=5),
            "the value of renew-timer (50) is greater than the value of rebind-timer (5)",
        ),
        (
            subnet(t1_percent=0.9, t2_percent=0.3, calculate_tee_times=True),
            "t1-percent:  0.9 is invalid, it must be less than t2-percent: 0.3",
        ),
        (
            subnet(reservations=[{"hw-address": "01:02", "ip-address": "192.0.3.5"}]),
            "specified reservation '192.0.3.5' is not within the IPv4 subnet '192.0.2.0/24'",
        ),
        (
            subnet(reservations=[{"hw-address": "01:02", "hostname": "a"}] * 2),
            "failed to add new host using the HW address '01:02' to the IPv4 subnet id '1'",
        ),
        (subnet(reservations=[{"hw-address": "01:02"}]), "must include at least one resource"),
        (
            subnet(reservations=[{"hw-address": "01:02", "duid": "01", "hostname": "a"}]),
            "the 'hw-address' and 'duid' are mutually exclusive",
        ),
        (subnet(hostname_char_set="["), "hostname-char-set '[' is not a valid regular expression"),
        (subnet(relay={"ip-addresses": ["::1"]}), "address ::1 is not a: IPv4address"),
        (
            subnet(reservation_mode="all", reservations_global=True),
            "invalid use of both 'reservation-mode' and one of 'reservations-global'",
        ),
    ],
)
def test_a_subnet_that_cannot_be_is_refused(given: dict[str, Any], text: str) -> None:
    assert text in refused(subnet4=[given])


def test_a_number_and_a_prefix_belong_to_one_subnet() -> None:
    twice = refused(subnet4=[subnet(id=5), subnet(subnet="192.0.3.0/24", id=5)])
    assert twice == "ID of the new IPv4 subnet '5' is already in use"
    assert "subnet with the prefix of '192.0.2.0/24' already exists" in refused(subnet4=[subnet(), subnet()])


def test_an_error_in_a_file_has_its_place(tmp_path: Path) -> None:
    name = tmp_path / "kea4.json"
    for text, error in (
        ('{ "Dhcp4": {"bogus": 1 } }', '1.13-19: got unexpected keyword "bogus" in Dhcp4 map.'),
        (
            '{"Dhcp4": {"subnet4": [\n {"subnet": "10.0.0.0/8", "pools": [ {"x": 1} ]} ]}}',
            '2.39-41: got unexpected keyword "x" in pools map.',
        ),
        (
            '{"Dhcp4": {"valid-lifetime": "a"}}',
            "1.30-32: syntax error, unexpected constant string, expecting integer",
        ),
    ):
        name.write_text(text)
        with pytest.raises(bridle.ConfigurationError, match=re.escape(f"{name}:{error}")):
            read_settings4(read_file(str(name), "Dhcp4"))
    name.write_text('{"Dhcp4": {"option-data": [\n {"name": "nope"} ]}}')
    with pytest.raises(bridle.ConfigurationError, match=re.escape(f"does not exist ({name}:2.11-16)")):
        read_settings4(read_file(str(name), "Dhcp4"))


@pytest.mark.parametrize("line", [155, 156, 163])
def test_an_error_in_a_command_is_told_as_kea_tells_it(line: int) -> None:
    vector = json.loads(VECTORS.read_text().splitlines()[line])
    document = from_command(read_command(vector["request"].encode(), bridle.Peer()))
    with pytest.raises(bridle.ConfigurationError) as found:
        read_settings4(document)
    assert str(found.value) == json.loads(vector["response"])["text"]


def test_what_a_real_kea_told_can_be_set() -> None:
    vector = json.loads(VECTORS.read_text().splitlines()[51])
    told = json.loads(vector["response"])["arguments"]
    assert read_settings4(Document(told)).value == told["Dhcp4"]
