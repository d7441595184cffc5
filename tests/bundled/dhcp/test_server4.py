"""What a DHCPv4 server answers, message by message."""

from __future__ import annotations

import pytest

from bridle.bundled.dhcp.leases import Lease4, LeaseState
from bridle.bundled.dhcp.packet4 import MessageType4 as Kind
from bridle.core.messages import JSON
from tests.support.dhcp_server import Site4, number

SUBNET: dict[str, JSON] = {
    "id": 1,
    "subnet": "192.0.2.0/24",
    "pools": [{"pool": "192.0.2.10 - 192.0.2.12"}],
    "option-data": [{"name": "routers", "data": "192.0.2.1"}],
}
SERVER_ID = bytes([192, 0, 2, 1])
MACS = [b"\2\0\0\0\0" + bytes([index]) for index in range(10)]


def settings(*, subnet: dict[str, JSON] | None = None, **more: JSON) -> dict[str, JSON]:
    return {"valid-lifetime": 1000, "subnet4": [{**SUBNET, **(subnet or {})}], **more}


def address(text: str) -> bytes:
    return number(text).to_bytes(4, "big")


def lease(site: Site4, mac: bytes, options: dict[int, bytes] | None = None) -> int:
    """Take a lease the usual way; the address."""
    offered = site.ask(Kind.DISCOVER, options, mac=mac)
    assert offered is not None
    wanted = {50: offered[0].yiaddr.to_bytes(4, "big"), 54: SERVER_ID, **(options or {})}
    answered = site.ask(Kind.REQUEST, wanted, mac=mac)
    assert answered is not None
    assert answered[0].options[53] == bytes([Kind.ACK])
    assert answered[0].yiaddr == offered[0].yiaddr
    return answered[0].yiaddr


def test_discover_offer_request_ack() -> None:
    site = Site4(settings())
    offered = site.ask(Kind.DISCOVER, {55: bytes([1, 3, 6, 51])})
    assert offered is not None
    packet, departure = offered
    assert packet.options[53] == bytes([Kind.OFFER])
    assert packet.yiaddr == number("192.0.2.10")
    assert packet.options[54] == SERVER_ID
    assert packet.options[1] == address("255.255.255.0")
    assert packet.options[3] == SERVER_ID
    assert packet.options[51] == (1000).to_bytes(4, "big")
    assert (departure.address, departure.port) == (packet.yiaddr, 68)
    assert departure.hw_address == MACS[1], "the client has no address yet"
    assert site.store.get(packet.yiaddr) is None, "an offer is no lease"
    got = lease(site, MACS[1])
    stored = site.store.get(got)
    assert stored is not None
    assert (stored.hw_address, stored.expires) == (MACS[1], site.clock.now + 1000)
    assert site.count("subnet[1].assigned-addresses") == 1
    assert site.count("cumulative-assigned-addresses") == 1


def test_everyone_gets_another_address_until_there_is_none() -> None:
    site = Site4(settings())
    assert {lease(site, mac) for mac in MACS[:3]} == {number(f"192.0.2.{last}") for last in (10, 11, 12)}
    assert site.ask(Kind.DISCOVER, mac=MACS[3]) is None
    assert site.count("v4-allocation-fail-subnet") == 1
    assert lease(site, MACS[1]) == number("192.0.2.11"), "who has one keeps it"


def test_two_offers_at_a_time_are_two_addresses() -> None:
    site = Site4(settings())
    offers = [site.ask(Kind.DISCOVER, mac=mac) for mac in MACS[:3]]
    assert len({offer[0].yiaddr for offer in offers if offer is not None}) == 3
    assert site.ask(Kind.DISCOVER, mac=MACS[3]) is None
    site.clock.now += 20
    assert site.ask(Kind.DISCOVER, mac=MACS[3]) is not None, "nobody took them"


def test_an_ended_lease_is_given_away_only_when_nothing_else_is_left() -> None:
    site = Site4(settings())
    first = lease(site, MACS[0])
    site.clock.now += 2000
    assert lease(site, MACS[1]) != first
    lease(site, MACS[2])
    assert lease(site, MACS[3]) == first
    assert site.count("reclaimed-leases") == 1
    assert site.count("subnet[1].assigned-addresses") == 3


def test_the_client_identifier_goes_before_the_hardware_address() -> None:
    site = Site4(settings())
    first = lease(site, MACS[0], {61: b"\1me"})
    assert lease(site, MACS[1], {61: b"\1me"}) == first
    assert lease(site, MACS[1], {61: b"\1you"}) != first
    site = Site4(settings(subnet={"match-client-id": False}))
    first = lease(site, MACS[0], {61: b"\1me"})
    assert lease(site, MACS[0], {61: b"\1you"}) == first


def test_a_wish_is_granted_where_it_can_be() -> None:
    site = Site4(settings())
    for wish, got in (("192.0.2.12", "192.0.2.12"), ("192.0.2.99", "192.0.2.10")):
        offered = site.ask(Kind.DISCOVER, {50: address(wish)}, mac=MACS[1])
        assert offered is not None
        assert offered[0].yiaddr == number(got) or wish == "192.0.2.99"


def test_a_request_for_another_server_is_not_answered() -> None:
    site = Site4(settings())
    site.ask(Kind.DISCOVER)
    assert site.ask(Kind.REQUEST, {50: address("192.0.2.10"), 54: b"\1\1\1\1"}) is None


def test_what_cannot_be_had_is_refused() -> None:
    site = Site4(settings())
    taken = lease(site, MACS[0])
    for wanted in (taken, number("192.0.2.99"), number("10.0.0.1")):
        answered = site.ask(Kind.REQUEST, {50: wanted.to_bytes(4, "big"), 54: SERVER_ID}, mac=MACS[1])
        assert answered is not None
        packet, departure = answered
        assert packet.options[53] == bytes([Kind.NAK])
        assert packet.yiaddr == 0
        assert departure.address == 0xFFFFFFFF


def test_renewal_extends_the_lease() -> None:
    site = Site4(settings())
    got = lease(site, MACS[0])
    site.clock.now += 500
    answered = site.ask(Kind.REQUEST, mac=MACS[0], ciaddr=got)
    assert answered is not None
    assert answered[0].options[53] == bytes([Kind.ACK])
    assert answered[1].address == got
    stored = site.store.get(got)
    assert stored is not None
    assert stored.cltt == site.clock.now
    assert site.count("subnet[1].assigned-addresses") == 1
    refused = site.ask(Kind.REQUEST, mac=MACS[1], ciaddr=got)
    assert refused is not None
    assert refused[0].options[53] == bytes([Kind.NAK])


@pytest.mark.parametrize("authoritative", [False, True])
def test_a_rebooting_client_that_is_not_known(authoritative: bool) -> None:
    site = Site4(settings(authoritative=authoritative))
    answered = site.ask(Kind.REQUEST, {50: address("192.0.2.10")})
    if authoritative:
        assert answered is not None
        assert answered[0].options[53] == bytes([Kind.NAK])
    else:
        assert answered is None
    got = lease(site, MACS[0])
    known = site.ask(Kind.REQUEST, {50: got.to_bytes(4, "big")}, mac=MACS[0])
    assert known is not None
    assert known[0].options[53] == bytes([Kind.ACK])


def test_a_released_lease_waits_for_its_client() -> None:
    site = Site4(settings())
    got = lease(site, MACS[0])
    site.ask(Kind.RELEASE, {54: SERVER_ID}, mac=MACS[1], ciaddr=got)
    assert site.store.get(got).state == LeaseState.ASSIGNED, "that was somebody else"  # type: ignore[union-attr]
    site.ask(Kind.RELEASE, {54: SERVER_ID}, mac=MACS[0], ciaddr=got)
    assert site.store.get(got).state == LeaseState.RECLAIMED  # type: ignore[union-attr]
    assert site.count("subnet[1].assigned-addresses") == 0
    assert lease(site, MACS[1]) != got
    assert lease(site, MACS[0]) == got
    site.use(settings(**{"expired-leases-processing": {"hold-reclaimed-time": 0}}))
    site.ask(Kind.RELEASE, {54: SERVER_ID}, mac=MACS[0], ciaddr=got)
    assert site.store.get(got) is None


def test_a_declined_address_is_left_alone() -> None:
    site = Site4(settings(**{"decline-probation-period": 500}))
    got = lease(site, MACS[0])
    site.ask(Kind.DECLINE, {50: got.to_bytes(4, "big"), 54: SERVER_ID}, mac=MACS[0])
    assert site.count("declined-addresses") == site.count("subnet[1].declined-addresses") == 1
    assert {lease(site, mac) for mac in MACS[:2]} == {number("192.0.2.11"), number("192.0.2.12")}
    assert site.ask(Kind.DISCOVER, mac=MACS[2]) is None
    site.clock.now += 600
    assert lease(site, MACS[2]) == got
    assert site.count("declined-addresses") == 0


def test_inform_gets_options_and_no_lease() -> None:
    site = Site4(settings())
    answered = site.ask(Kind.INFORM, {55: b"\3"}, ciaddr=number("192.0.2.200"))
    assert answered is not None
    packet, departure = answered
    assert packet.options[53] == bytes([Kind.ACK])
    assert (packet.yiaddr, 51 in packet.options, packet.options[3]) == (0, False, SERVER_ID)
    assert departure.address == number("192.0.2.200")
    assert site.store.counts() == {}


def test_a_reservation_is_for_one_client_alone() -> None:
    reservation: JSON = {
        "hw-address": "02:00:00:00:00:05",
        "ip-address": "192.0.2.10",
        "hostname": "kept",
        "option-data": [{"name": "routers", "data": "192.0.2.9"}],
    }
    site = Site4(settings(subnet={"reservations": [reservation]}))
    assert lease(site, MACS[0]) == number("192.0.2.11")
    offered = site.ask(Kind.DISCOVER, {55: b"\3"}, mac=MACS[5])
    assert offered is not None
    assert (offered[0].yiaddr, offered[0].options[3]) == (number("192.0.2.10"), address("192.0.2.9"))
    lease(site, MACS[1])
    assert site.ask(Kind.DISCOVER, mac=MACS[2]) is None


def test_a_reserved_address_that_is_in_use_is_a_conflict() -> None:
    site = Site4(settings())
    got = lease(site, MACS[0])
    reservation: JSON = {"hw-address": "02:00:00:00:00:05", "ip-address": "192.0.2.10"}
    site.use(settings(subnet={"reservations": [reservation]}))
    assert got == number("192.0.2.10")
    assert lease(site, MACS[5]) != got
    assert site.count("v4-reservation-conflicts") > 0


def test_a_relayed_client_is_where_its_relay_is() -> None:
    other: JSON = {"id": 2, "subnet": "10.0.0.0/8", "pools": [{"pool": "10.1.0.0/16"}]}
    third: JSON = {
        "id": 3,
        "subnet": "10.2.0.0/16",
        "pools": [{"pool": "10.2.3.0/24"}],
        "relay": {"ip-addresses": ["172.16.0.1"]},
    }
    site = Site4({"subnet4": [SUBNET, other, third]})
    for relay, prefix in (("10.0.0.5", "10.1"), ("172.16.0.1", "10.2"), ("192.0.2.77", "192.0")):
        answered = site.ask(Kind.DISCOVER, {82: b"\1\2ab"}, giaddr=number(relay), mac=relay.encode()[:6])
        assert answered is not None
        packet, departure = answered
        assert number(f"{prefix}.0.0") >> 16 == packet.yiaddr >> 16
        assert packet.options[82] == b"\1\2ab"
        assert (departure.address, departure.port, departure.hw_address) == (number(relay), 67, b"")
    assert site.ask(Kind.DISCOVER, giaddr=number("203.0.113.1")) is None
    assert site.ask(Kind.DISCOVER, {82: b"\5\4\x0a\0\0\1"}, giaddr=number("203.0.113.1")) is not None


def test_classes_open_pools_and_bring_options() -> None:
    classes: JSON = [
        {
            "name": "voip",
            "test": "substring(option[60].hex,0,6) == 'Aastra'",
            "next-server": "192.0.2.254",
            "boot-file-name": "boot",
            "option-data": [{"name": "tftp-server-name", "data": "tftp"}],
        }
    ]
    pools: JSON = [{"pool": "192.0.2.20/32", "client-class": "voip"}]
    site = Site4(settings(subnet={"pools": pools}, **{"client-classes": classes}))
    assert site.ask(Kind.DISCOVER) is None
    answered = site.ask(Kind.DISCOVER, {60: b"Aastra 53i", 55: b"\x42"})
    assert answered is not None
    assert answered[0].options[66] == b"tftp"
    assert (answered[0].siaddr, answered[0].file) == (number("192.0.2.254"), b"boot")


def test_names_are_told_to_whoever_keeps_dns() -> None:
    site = Site4(settings(**{"dhcp-ddns": {"enable-updates": True}, "ddns-qualifying-suffix": "example.org"}))
    got = lease(site, MACS[0], {12: b"Client"})
    [(told, added)] = site.names
    assert (told.hostname, told.address, added) == ("client.example.org.", got, True)
    site.ask(Kind.REQUEST, {12: b"client"}, mac=MACS[0], ciaddr=got)
    assert len(site.names) == 1, "nothing changed"
    site.ask(Kind.REQUEST, {12: b"other"}, mac=MACS[0], ciaddr=got)
    assert [(one.hostname, added) for one, added in site.names[1:]] == [
        ("client.example.org.", False),
        ("other.example.org.", True),
    ]
    site.ask(Kind.RELEASE, mac=MACS[0], ciaddr=got)
    assert site.names[-1][1] is False


def test_a_plugin_may_drop_and_change() -> None:
    site = Site4(settings())

    def select(query: object, lease: Lease4) -> None:
        lease.valid_lifetime = 77

    site.callouts.exchange([("lease4_select", select)])
    offered = site.ask(Kind.DISCOVER)
    assert offered is not None
    assert offered[0].options[51] == (77).to_bytes(4, "big")
    site.callouts.exchange([("pkt4_receive", lambda query: query.client.hw_address != MACS[2])])
    assert site.ask(Kind.DISCOVER, mac=MACS[2]) is None
    assert site.ask(Kind.DISCOVER, mac=MACS[3]) is not None
    site.callouts.exchange([("pkt4_send", lambda query, reply: 1 / 0)])
    assert site.ask(Kind.DISCOVER) is None
    assert site.count("pkt4-processing-failed") == 1
    site.callouts.exchange([])
    assert site.ask(Kind.DISCOVER) is not None
