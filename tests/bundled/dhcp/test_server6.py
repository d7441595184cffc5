"""What a DHCPv6 server answers, message by message."""

from __future__ import annotations

import ipaddress
import struct

from bridle.bundled.dhcp.leases import LeaseKind, LeaseState
from bridle.bundled.dhcp.packet6 import Message6, MessageType6, Relay6, StatusCode, options_in
from bridle.core.messages import JSON
from tests.support.dhcp_server import SERVER_DUID, Site6

SUBNET: dict[str, JSON] = {
    "id": 1,
    "subnet": "2001:db8:1::/64",
    "interface": "eth0",
    "pools": [{"pool": "2001:db8:1::10 - 2001:db8:1::11"}],
    "pd-pools": [{"prefix": "2001:db8:8::", "prefix-len": 48, "delegated-len": 56}],
}
CLIENT = b"\0\3\0\1\2\0\0\0\0\1"
OTHER = b"\0\3\0\1\2\0\0\0\0\2"
CID, SID = (1, CLIENT), (2, SERVER_DUID)
FIRST = ipaddress.IPv6Address("2001:db8:1::10").packed


def settings(*, subnet: dict[str, JSON] | None = None, **more: JSON) -> dict[str, JSON]:
    return {
        "preferred-lifetime": 500,
        "valid-lifetime": 1000,
        "subnet6": [{**SUBNET, **(subnet or {})}],
        **more,
    }


def na(iaid: int = 7, *addresses: bytes) -> tuple[int, bytes]:
    inner = b"".join(struct.pack("!HH16sII", 5, 24, address, 0, 0) for address in addresses)
    return 3, struct.pack("!III", iaid, 0, 0) + inner


def pd(iaid: int = 8) -> tuple[int, bytes]:
    return 25, struct.pack("!III", iaid, 0, 0)


def inside(message: Message6, code: int) -> dict[int, bytes]:
    """The options in the first association of a kind."""
    data = next(data for number, data in message.options if number == code)
    return dict(options_in(data[12:]))


def ask(site: Site6, kind: MessageType6, *options: tuple[int, bytes]) -> Message6:
    answered = site.ask(kind, *options)
    assert answered is not None
    return answered[0]


def lease(site: Site6, *options: tuple[int, bytes], client: bytes = CLIENT) -> Message6:
    return ask(site, MessageType6.REQUEST, (1, client), SID, *(options or (na(),)))


def test_solicit_advertise_request_reply() -> None:
    site = Site6(settings(**{"option-data": [{"name": "dns-servers", "data": "2001:db8::53"}]}))
    advertised = ask(site, MessageType6.SOLICIT, CID, na(), pd(), (6, b"\0\x17"))
    assert advertised.type == MessageType6.ADVERTISE
    assert advertised.options[:2] == [CID, SID]
    assert inside(advertised, 3)[5] == FIRST + struct.pack("!II", 500, 1000)
    assert inside(advertised, 25)[26][:9] == struct.pack("!IIB", 500, 1000, 56)
    assert dict(advertised.options)[23] == ipaddress.IPv6Address("2001:db8::53").packed
    assert site.store.counts() == {}
    replied = lease(site, na(), pd())
    assert replied.type == MessageType6.REPLY
    assert inside(replied, 3)[5][:16] == FIRST
    assert site.store.counts() == {(1, LeaseKind.ADDRESS, 0): 1, (1, LeaseKind.PREFIX, 0): 1}
    assert site.count("subnet[1].assigned-nas") == site.count("subnet[1].assigned-pds") == 1
    [stored] = site.store.select(kind=LeaseKind.ADDRESS)
    assert stored.hw_address == CLIENT[4:]


def test_messages_must_name_the_server_or_must_not() -> None:
    site = Site6(settings())
    for kind in (MessageType6.SOLICIT, MessageType6.CONFIRM, MessageType6.REBIND):
        assert site.ask(kind, CID, SID, na()) is None
    for kind in (MessageType6.REQUEST, MessageType6.RENEW, MessageType6.RELEASE, MessageType6.DECLINE):
        assert site.ask(kind, CID, na()) is None
        assert site.ask(kind, CID, (2, b"other server"), na()) is None
    assert site.ask(MessageType6.SOLICIT, na()) is None
    assert site.count("pkt6-receive-drop") == 12


def test_when_there_is_nothing_left_the_association_says_so() -> None:
    site = Site6(settings())
    lease(site, na())
    lease(site, na(), client=OTHER)
    advertised = ask(site, MessageType6.SOLICIT, (1, b"\0\3\0\1third"), na())
    assert inside(advertised, 3)[13][:2] == StatusCode.NO_ADDRS_AVAIL.to_bytes(2, "big")
    site = Site6(settings(subnet={"pd-pools": []}))
    advertised = ask(site, MessageType6.SOLICIT, CID, pd())
    assert inside(advertised, 25)[13][:2] == StatusCode.NO_PREFIX_AVAIL.to_bytes(2, "big")
    assert site.count("v6-allocation-fail-no-pools") == 1


def test_rapid_commit() -> None:
    site = Site6(settings(subnet={"rapid-commit": True}))
    assert ask(site, MessageType6.SOLICIT, CID, na()).type == MessageType6.ADVERTISE
    replied = ask(site, MessageType6.SOLICIT, CID, na(), (14, b""))
    assert (replied.type, (14, b"") in replied.options) == (MessageType6.REPLY, True)
    assert len(site.store.of_client(CLIENT)) == 1


def test_renewal_extends_and_ends_what_is_not_the_client_s() -> None:
    site = Site6(settings())
    lease(site)
    site.clock.now += 100
    strange = ipaddress.IPv6Address("2001:db8:1::99").packed
    replied = ask(site, MessageType6.RENEW, CID, SID, na(7, FIRST, strange))
    data = next(data for code, data in replied.options if code == 3)
    told = [inner for code, inner in options_in(data[12:]) if code == 5]
    assert told == [FIRST + struct.pack("!II", 500, 1000), strange + bytes(8)]
    [stored] = site.store.of_client(CLIENT)
    assert stored.cltt == site.clock.now
    assert ask(site, MessageType6.REBIND, CID, na(7, FIRST)).type == MessageType6.REPLY


def test_release_and_affinity() -> None:
    site = Site6(settings())
    lease(site)
    refused = ask(site, MessageType6.RELEASE, (1, OTHER), SID, na(7, FIRST))
    assert inside(refused, 3)[13][:2] == StatusCode.NO_BINDING.to_bytes(2, "big")
    released = ask(site, MessageType6.RELEASE, CID, SID, na(7, FIRST))
    assert inside(released, 3)[13][:2] == bytes(2)
    stored = site.store.get(LeaseKind.ADDRESS, FIRST)
    assert stored is not None
    assert stored.state == LeaseState.RECLAIMED
    assert site.count("subnet[1].assigned-nas") == 0
    assert inside(lease(site, na(), client=OTHER), 3)[5][:16] != FIRST
    assert inside(lease(site), 3)[5][:16] == FIRST


def test_decline() -> None:
    site = Site6(settings())
    lease(site)
    ask(site, MessageType6.DECLINE, CID, SID, na(7, FIRST))
    assert site.count("declined-addresses") == 1
    assert inside(lease(site), 3)[5][:16] != FIRST


def test_confirm_says_whether_the_link_is_the_same() -> None:
    site = Site6(settings())
    on, off = FIRST, ipaddress.IPv6Address("2001:db8:2::1").packed
    for address, status in ((on, StatusCode.SUCCESS), (off, StatusCode.NOT_ON_LINK)):
        replied = ask(site, MessageType6.CONFIRM, CID, na(7, address))
        assert dict(replied.options)[13][:2] == status.to_bytes(2, "big")
    assert site.ask(MessageType6.CONFIRM, CID, na()) is None


def test_information_request_gets_options_alone() -> None:
    site = Site6(settings(**{"option-data": [{"name": "dns-servers", "data": "2001:db8::53"}]}))
    replied = ask(site, MessageType6.INFORMATION_REQUEST, (6, b"\0\x17"))
    assert [code for code, _ in replied.options] == [2, 23]


def test_a_reservation_is_for_one_client_alone() -> None:
    reservation: JSON = {
        "duid": CLIENT.hex(":"),
        "ip-addresses": ["2001:db8:1::10"],
        "prefixes": ["2001:db8:9::/64"],
    }
    site = Site6(settings(subnet={"reservations": [reservation]}))
    assert inside(lease(site, na(), client=OTHER), 3)[5][:16] != FIRST
    replied = lease(site, na(), pd())
    assert inside(replied, 3)[5][:16] == FIRST
    assert inside(replied, 25)[26][8:] == b"\x40" + ipaddress.IPv6Address("2001:db8:9::").packed


def test_relays_are_answered_the_way_they_came() -> None:
    other: JSON = {
        "id": 2,
        "subnet": "2001:db8:2::/64",
        "interface-id": "port7",
        "pools": [{"pool": "2001:db8:2::/80"}],
    }
    site = Site6({"subnet6": [SUBNET, other]})
    peer = ipaddress.IPv6Address("fe80::2").packed
    inner = Relay6(MessageType6.RELAY_FORW, 0, bytes(16), peer, [(18, b"port7")])
    outer = Relay6(MessageType6.RELAY_FORW, 1, ipaddress.IPv6Address("2001:db8:1::1").packed, peer, [])
    answered = site.ask(MessageType6.SOLICIT, CID, na(), relays=(outer, inner))
    assert answered is not None
    message, relays = answered
    assert inside(message, 3)[5][:6] == ipaddress.IPv6Address("2001:db8:2::").packed[:6]
    assert [(relay.type, relay.hops, relay.options) for relay in relays] == [
        (MessageType6.RELAY_REPL, 1, []),
        (MessageType6.RELAY_REPL, 0, [(18, b"port7")]),
    ]


def test_names_are_told_to_whoever_keeps_dns() -> None:
    site = Site6(settings(**{"dhcp-ddns": {"enable-updates": True}, "ddns-qualifying-suffix": "example.org"}))
    replied = lease(site, na(), (39, b"\1\6client"))
    assert dict(replied.options)[39] == b"\1\6client\7example\3org\0"
    [(told, added)] = site.names
    assert (told.hostname, added, told.fqdn_forward, told.fqdn_reverse) == (
        "client.example.org.",
        True,
        True,
        True,
    )
