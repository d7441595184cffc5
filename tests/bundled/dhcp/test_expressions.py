"""Kea's expressions: what they are true of, what they come to, and what is refused."""

from __future__ import annotations

import ipaddress
from typing import Any, ClassVar

import pytest

from bridle.bundled.dhcp.expressions import (
    DEPTH_LIMIT,
    ExpressionError,
    compile_test,
    compile_value,
    members_of,
)
from bridle.bundled.dhcp.option_formats import Definitions
from bridle.bundled.dhcp.packet4 import Packet4
from bridle.bundled.dhcp.packet6 import Message6, Relay6


def address(text: str) -> bytes:
    return ipaddress.ip_address(text).packed


class Query4:
    """A DHCPDISCOVER that came through a relay."""

    packet = Packet4(
        op=1,
        htype=1,
        hlen=6,
        hops=1,
        xid=0x01020304,
        secs=0,
        flags=0,
        ciaddr=0,
        yiaddr=0,
        siaddr=0,
        giaddr=int.from_bytes(address("192.0.2.1"), "big"),
        chaddr=bytes.fromhex("0a0b0c0d0e0f"),
        sname=b"",
        file=b"",
        options={
            12: b"Box.Example.org",
            43: b"\1\2ab\5\1c",
            53: b"\1",
            60: b"docsis3.0",
            82: b"\1\3ge0\2\2rx",
            124: (4491).to_bytes(4, "big") + b"\6\2ab\3cde",
            125: (4491).to_bytes(4, "big") + b"\4\2\2xy",
        },
    )
    relays = ()
    relay: ClassVar = {1: b"ge0", 2: b"rx"}
    interface = "eth0"
    source = int.from_bytes(address("192.0.2.1"), "big")
    destination = address("192.0.2.2")
    length = 300
    classes: ClassVar = {"ALL", "voip"}


class Query6:
    """A SOLICIT that came through two relays."""

    packet = Message6(
        type=1,
        transaction=0xABCDEF,
        options=[
            (1, b"\0\1duid"),
            (3, b"iaidt1  t2  " + b"\0\5\0\3abc"),
            (16, (4491).to_bytes(4, "big") + b"\0\2ab\0\3cde"),
            (17, (4491).to_bytes(4, "big") + b"\0\2\0\2xy"),
        ],
    )
    relays = (
        Relay6(type=12, hops=1, link=address("2001:db8::1"), peer=address("fe80::1"), options=[(18, b"far")]),
        Relay6(
            type=12, hops=0, link=address("2001:db8::2"), peer=address("fe80::2"), options=[(18, b"near")]
        ),
    )
    interface = "eth1"
    source = address("fe80::1")
    destination = address("ff02::1:2")
    length = 120
    classes: ClassVar = {"ALL"}


QUERIES: dict[int, Any] = {4: Query4(), 6: Query6()}


def true_of(expression: str, protocol: int = 4) -> bool:
    return compile_test(expression, protocol, Definitions(protocol))(QUERIES[protocol])


def value_of(expression: str, protocol: int = 4) -> bytes:
    return compile_value(expression, protocol, Definitions(protocol))(QUERIES[protocol])


@pytest.mark.parametrize(
    "expression",
    [
        "option[60].hex == 'docsis3.0'",
        "option[60].text == 'docsis3.0'",
        "option[vendor-class-identifier].exists",
        "not option[61].exists",
        "option[61].hex == ''",
        "option[43].option[1].hex == 'ab'",
        "option[43].option[5].exists and not option[43].option[6].exists",
        "relay4[1].hex == 'ge0'",
        "relay4[2].exists",
        "pkt4.mac == 0x0a0b0c0d0e0f",
        "pkt4.hlen == 6 and pkt4.htype == 1",
        "pkt4.giaddr == 192.0.2.1",
        "pkt4.ciaddr == 0.0.0.0 and pkt4.yiaddr == 0.0.0.0 and pkt4.siaddr == 0.0.0.0",
        "pkt4.msgtype == 1",
        "pkt4.transid == 16909060",
        "pkt.iface == 'eth0'",
        "pkt.src == 192.0.2.1 and pkt.dst == 192.0.2.2",
        "pkt.len == 300",
        "member('voip') and not member('other')",
        "vendor.enterprise == 4491",
        "vendor[4491].exists and vendor[*].exists and not vendor[5].exists",
        "vendor[4491].option[2].hex == 'xy'",
        "not vendor[5].option[2].exists",
        "vendor-class.enterprise == 4491",
        "vendor-class[4491].data == 'ab' and vendor-class[*].data[1] == 'cde'",
        "vendor-class[4491].data[2] == ''",
        "'a' == 'b' or 'c' == 'c'",
        "'a' == 'b' and 'c' == 'd' or 'e' == 'e'",
        "not ('a' == 'a' and 'b' == 'c')",
        "not not 'a' == 'a'",
        "('a' + 'b') == 'ab'",
        "((('a') == 'a'))",
    ],
)
def test_a_dhcpv4_test_is_true(expression: str) -> None:
    assert true_of(expression)
    assert not true_of(f"not ({expression})")


@pytest.mark.parametrize(
    "expression",
    [
        "pkt6.msgtype == 1 and pkt6.transid == 11259375",
        "option[1].exists and not option[2].exists",
        "option[3].option[5].hex == 'abc'",
        "relay6[0].option[18].hex == 'far' and relay6[1].option[18].hex == 'near'",
        "relay6[-1].option[18].hex == 'near' and not relay6[2].option[18].exists",
        "relay6[0].linkaddr == 2001:db8::1 and relay6[-1].peeraddr == fe80::2",
        "relay6[5].peeraddr == ''",
        "pkt.src == fe80::1 and pkt.dst == ff02::1:2",
        "vendor[4491].option[2].hex == 'xy'",
        "vendor-class[4491].data[1] == 'cde'",
    ],
)
def test_a_dhcpv6_test_is_true(expression: str) -> None:
    assert true_of(expression, 6)


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("substring(option[60].hex, 0, 6)", b"docsis"),
        ("substring('abcdef', -3, 2)", b"de"),
        ("substring('abcdef', 2, all)", b"cdef"),
        ("substring('abcdef', 4, -2)", b"cd"),
        ("substring('abcdef', 1, -9)", b"a"),
        ("substring('abcdef', 6, 1)", b""),
        ("substring('abcdef', -7, 1)", b""),
        ("concat('a', 0x6263)", b"abc"),
        ("'a' + 'b' + 'c'", b"abc"),
        ("ifelse(option[60].exists, 'y', 'n')", b"y"),
        ("ifelse(option[61].exists, 'y', 'n')", b"n"),
        ("hexstring(pkt4.mac, ':')", b"0a:0b:0c:0d:0e:0f"),
        ("hexstring(0x0a, '-')", b"0a"),
        ("addrtotext(192.0.2.7)", b"192.0.2.7"),
        ("addrtotext(2001:db8:0::7)", b"2001:db8::7"),
        ("int8totext(0xff)", b"-1"),
        ("uint8totext(0xff)", b"255"),
        ("int16totext(0xfffe)", b"-2"),
        ("uint16totext(0xfffe)", b"65534"),
        ("int32totext(4294967295)", b"-1"),
        ("uint32totext(4294967295)", b"4294967295"),
        ("lcase('AbC')", b"abc"),
        ("ucase('AbC')", b"ABC"),
        ("split(option[12].hex, '.', 2)", b"Example"),
        ("split('a-b.c', '.-', 3)", b"c"),
        ("split('a', '.', 2)", b""),
        ("0x123", b"\x01\x23"),
        ("5", b"\0\0\0\5"),
    ],
)
def test_a_value_is_made(expression: str, value: bytes) -> None:
    assert value_of(expression) == value


@pytest.mark.parametrize(
    ("expression", "error"),
    [
        ("", "<string>:1.1: syntax error, unexpected end of file"),
        ("foo", "<string>:1.1: Invalid character: f"),
        ("option[60].hex = 'a'", "<string>:1.16: Invalid character: ="),
        ("option[60].hex == 'a", "<string>:1.19: Invalid character: '"),
        ("option[zzz].exists", "<string>:1.8-10: option 'zzz' is not defined"),
        (
            "option[256].exists",
            "<string>:1.8-10: Option code has invalid value in 256. Allowed range: 0..255",
        ),
        ("option[].exists", "<string>:1.8: syntax error, unexpected ], expecting integer or option name"),
        ("option[60].zz", "<string>:1.12: Invalid character: z"),
        ("'a'", "<string>:1.4: syntax error, unexpected end of file, expecting == or +"),
        (
            "'a' == 'b' 'c'",
            "<string>:1.12-14: syntax error, unexpected constant string, expecting end of file",
        ),
        ("(option[1].exists) == 'a'", "<string>:1.20-21: syntax error, unexpected ==, expecting end of file"),
        ("4294967296 == 1", "<string>:1.1-10: Invalid value in 4294967296. Allowed range: 0..4294967295"),
        ("300.1.1.1 == 'a'", "<string>:1.1-9: Failed to convert 300.1.1.1 to an IP address."),
        ("pkt6.msgtype == 1", "<string>:1.1-4: pkt6 can only be used in DHCPv6."),
        ("relay6[0].peeraddr == ::1", "<string>:1.8: Nest level invalid for DHCPv4 packets"),
        ("member('gone')", "<string>:1.8-13: Not defined client class 'gone'"),
        (
            "option[1].exists and\n 'a'",
            "<string>:2.5: syntax error, unexpected end of file, expecting == or +",
        ),
    ],
)
def test_what_means_nothing_is_refused_with_its_place(expression: str, error: str) -> None:
    with pytest.raises(ExpressionError) as found:
        compile_test(expression, 4, Definitions(4), classes={"ALL"})
    assert str(found.value) == error


def test_a_value_is_no_test_and_a_test_no_value() -> None:
    with pytest.raises(ExpressionError):
        compile_test("option[60].hex", 4, Definitions(4))
    with pytest.raises(ExpressionError):
        compile_value("option[60].exists", 4, Definitions(4))


def test_nesting_has_a_bound_and_length_has_none() -> None:
    deep = DEPTH_LIMIT + 1
    for expression in ("(" * deep + "'a' == 'a'" + ")" * deep, "not " * deep + "option[1].exists"):
        with pytest.raises(ExpressionError, match=f"nested more than {DEPTH_LIMIT} deep"):
            compile_test(expression, 4, Definitions(4))
    assert true_of(" or ".join(["'a' == 'b'"] * 5000 + ["'a' == 'a'"]))
    assert len(value_of(" + ".join(["'a'"] * 5000))) == 5000


def test_the_classes_that_a_test_asks_for() -> None:
    assert members_of("member('a') and not ( member ( 'b' ) or 'member(' == 'member(\"c\")')") == ["a", "b"]
