"""Sessions live: they start at a rate, walk through their states, are lost and come back."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from bridle.core.errors import ConfigurationError
from tests.support.bng import ACCESS, Blaster, blaster
from tests.support.loops import on_virtual_clock

IPOE = {**ACCESS, "type": "ipoe"}


async def _states(b: Blaster, number: int, seconds: float, step: float) -> list[str]:
    """The states that a session is seen in, each once."""
    seen: list[str] = []
    for _ in range(round(seconds / step)):
        state = await b.state(number)
        if not seen or seen[-1] != state:
            seen.append(state)
        await asyncio.sleep(step)
    return seen


@on_virtual_clock
async def test_sessions_start_at_the_configured_rate() -> None:
    """40 in each tenth of a second, as BNG Blaster does with its default of 400 a second."""
    async with blaster({"sessions": {"count": 1000}}) as b:
        for tenths in range(30):
            assert await b.counter("sessions-established") == min(1000, 40 * tenths)
            await asyncio.sleep(0.1 if tenths else 0.1001)
        counters = await b.value("session-counters")
        assert counters["setup-time"] == 2400
        assert counters["setup-rate"] == pytest.approx(1000 / 2.4)


@on_virtual_clock
async def test_a_low_rate_starts_one_now_and_then() -> None:
    async with blaster({"sessions": {"count": 3, "start-rate": 1}}) as b:
        await asyncio.sleep(0.15)
        seen = []
        for _ in range(4):
            seen.append(await b.counter("sessions-established"))
            await asyncio.sleep(1.0)
        assert seen == [0, 1, 2, 3]


@on_virtual_clock
async def test_no_more_are_under_way_than_is_allowed() -> None:
    """A BNG that takes its time: the others wait."""
    configuration = {
        "sessions": {"count": 30, "max-outstanding": 10},
        "simulation": {"delay": 0.5},
    }
    async with blaster(configuration) as b:
        for _ in range(200):
            assert await b.counter("sessions-outstanding") <= 10
            await asyncio.sleep(0.1)
        assert await b.counter("sessions-established") == 30


@on_virtual_clock
async def test_a_pppoe_session_walks_through_its_states() -> None:
    async with blaster({"simulation": {"delay": 1.0}, "pppoe": {"reconnect": True}}) as b:
        assert await _states(b, 1, 10, 0.25) == [
            "Idle",
            "PPPoE Init",
            "PPPoE Request",
            "PPP Link",
            "PPP Authentication",
            "PPP Network",
            "Established",
        ]
        await b.value("terminate", session_id=1)
        assert await _states(b, 1, 5, 0.25) == [
            "PPP Terminating",
            "Terminated",
            "Idle",
            "PPPoE Init",
            "PPPoE Request",
            "PPP Link",
        ]


@on_virtual_clock
async def test_an_ipoe_session_tells_what_it_waits_for() -> None:
    configuration = {
        "interfaces": {"network": {"interface": "n0"}, "access": [IPOE]},
        "simulation": {"delay": 1.0},
    }
    async with blaster(configuration) as b:
        seen: list[str] = []
        for _ in range(40):
            told = (await b.info(1)).get("session-substate")
            if told and told not in seen:
                seen.append(told)
            await asyncio.sleep(0.1)
        assert seen == ["DHCPv4 pending", "ARP not resolved"]
        info = await b.info(1)
        assert info["session-state"] == "Established"
        assert info["dhcp-state"] == info["dhcpv6-state"] == "Bound"
        before = info["dhcp-lease-expire"]
        await asyncio.sleep(10)
        assert (await b.info(1))["dhcp-lease-expire"] == before - 10
        await asyncio.sleep(50)
        assert (await b.info(1))["dhcp-tx-request"] == 2, "the lease is renewed at half its time"


@on_virtual_clock
async def test_a_silent_bng_is_asked_again() -> None:
    """PADI goes out every five seconds, for ever."""
    async with blaster({"simulation": {"silent-interfaces": ["a0"]}}) as b:
        await asyncio.sleep(61)
        info = await b.info(1)
        assert info["session-state"] == "PPPoE Init"
        assert info["tx-packets"] == 13
        assert info["rx-packets"] == 0
        assert info["server-mac"] == "ff:ff:ff:ff:ff:ff"
        assert await b.value("terminate", session_id=1) is None
        assert await b.state(1) == "Terminated"


@on_virtual_clock
async def test_a_wrong_password_ends_the_session() -> None:
    configuration = {"pppoe": {"reconnect": True}, "simulation": {"refuse": {"authentication": 1.0}}}
    async with blaster(configuration) as b:
        await asyncio.sleep(10)
        assert await b.counter("sessions-established-max") == 0
        assert await b.counter("sessions-flapped") > 5


@on_virtual_clock
async def test_a_refused_protocol_leaves_the_others() -> None:
    async with blaster({"simulation": {"refuse": {"ipcp": 1.0}}}) as b:
        await asyncio.sleep(1)
        info = await b.info(1)
        assert (info["session-state"], info["ipcp-state"], info["ip6cp-state"]) == (
            "Established",
            "Rejected",
            "Opened",
        )
        assert "ipv4-address" not in info


@on_virtual_clock
async def test_an_empty_pool_refuses() -> None:
    """Addresses are handed out once, and again when they came back."""
    async with blaster({"sessions": {"count": 3}, "simulation": {"ipv4-count": 2}}) as b:
        await asyncio.sleep(1)
        assert [(await b.info(n))["ipcp-state"] for n in (1, 2, 3)] == ["Opened", "Opened", "Rejected"]
        address = (await b.info(1))["ipv4-address"]
        await b.value("session-stop", session_id=1)
        await b.value("ipcp-open", session_id=3)
        assert (await b.info(3))["ipv4-address"] == address


async def _lossy(seed: int) -> list[Any]:
    configuration = {
        "sessions": {"count": 50},
        "pppoe": {"reconnect": True},
        "session-traffic": {"ipv4-pps": 5},
        "simulation": {
            "seed": seed,
            "delay": 0.01,
            "jitter": 0.2,
            "loss": 0.2,
            "refuse": {"authentication": 0.1, "ip6cp": 0.1},
            "lifetime": 30,
            "traffic-loss": 0.1,
        },
    }
    told: list[Any] = []
    async with blaster(configuration) as b:
        for _ in range(10):
            await asyncio.sleep(10)
            told.append(await b.value("session-summary"))
        told += [await b.info(n) for n in range(1, 51)]
        told.append(await b.value("session-counters"))
    return told


@on_virtual_clock
async def test_a_run_with_the_same_seed_repeats_exactly() -> None:
    began = asyncio.get_running_loop().time()
    first = await _lossy(1)
    assert asyncio.get_running_loop().time() - began == pytest.approx(100)
    assert await _lossy(1) == first
    assert await _lossy(2) != first
    counters = first[-1]
    assert counters["sessions-flapped"] > 10
    assert counters["sessions-established-max"] > 20


@on_virtual_clock
async def test_loss_of_traffic_is_counted() -> None:
    configuration = {"session-traffic": {"ipv4-pps": 100}, "simulation": {"traffic-loss": 0.1}}
    async with blaster(configuration) as b:
        await asyncio.sleep(100.1)
        traffic = (await b.info(1))["session-traffic"]
        assert traffic["upstream-ipv4-tx-packets"] == 10000
        assert traffic["upstream-ipv4-rx-packets"] in range(8990, 9011)
        assert traffic["upstream-ipv4-loss"] in range(990, 1011)


@on_virtual_clock
async def test_restart_comes_after_its_delay() -> None:
    async with blaster({}) as b:
        await asyncio.sleep(1)
        await b.value("session-restart", session_id=1, reconnect_delay=5)
        await asyncio.sleep(4.9)
        assert await b.state(1) == "Terminated"
        await asyncio.sleep(0.3)
        assert await b.state(1) == "Established"
        assert (await b.info(1))["session-version"] == 8 + 4 + 9


@on_virtual_clock
async def test_stop_is_for_good_even_while_a_restart_is_under_way() -> None:
    async with blaster({"simulation": {"delay": 1.0}}) as b:
        await asyncio.sleep(10)
        await b.value("session-restart")
        await b.value("session-stop")
        await asyncio.sleep(60)
        assert await b.state(1) == "Terminated"


@on_virtual_clock
async def test_terminate_without_a_session_ends_the_daemon() -> None:
    """At the configured rate; meanwhile nothing is started."""
    async with blaster({"sessions": {"count": 100, "stop-rate": 100}, "pppoe": {"reconnect": True}}) as b:
        await asyncio.sleep(1)
        response = await b.ask("terminate")
        assert response.text == "teardown requested"
        assert (await b.value("test-info"))["state"] == "teardown"
        assert await b.refused("session-start", session_id=1) == ("teardown in progress", 405)
        await asyncio.sleep(0.55)
        assert await b.counter("sessions-terminated") == 50
        assert not b.ended
        await asyncio.sleep(0.6)
        assert b.ended
        assert await b.counter("sessions-flapped") == 0


@on_virtual_clock
async def test_time_passes_whether_or_not_anybody_asks() -> None:
    async with blaster({"sessions": {"count": 500}}) as b:
        await asyncio.sleep(5)
        await b.ask("terminate")
        await asyncio.sleep(1.5)
        assert b.ended


@on_virtual_clock
async def test_the_tenth_request_does_not_wait() -> None:
    async with blaster({"sessions": {"count": 1000, "stop-rate": 1}}) as b:
        await asyncio.sleep(1)
        for _ in range(9):
            await b.ask("terminate")
        assert not b.ended
        await b.ask("terminate")
        assert b.ended


@on_virtual_clock
async def test_a_link_that_is_lost_is_noticed_by_its_keepalives() -> None:
    async with blaster({"session-traffic": {"ipv4-pps": 1}}) as b:
        await asyncio.sleep(10.15)
        await b.value("interface-disable", interface="a0")
        sent = (await b.info(1))["session-traffic"]["upstream-ipv4-tx-packets"]
        await asyncio.sleep(100)
        assert await b.state(1) == "Established"
        assert (await b.info(1))["session-traffic"]["upstream-ipv4-tx-packets"] == sent
        await asyncio.sleep(30)
        assert await b.state(1) == "Terminated"
        (a0,) = [one for one in await b.value("interfaces") if one["name"] == "a0"]
        assert (a0["state"], a0["state-transitions"]) == ("Disabled", 1)
        assert await b.refused("interface-enable", interface="x") == ("interface not found", 404)
        await b.value("interface-enable", interface="a0")
        await b.value("session-start", session_id=1)
        await asyncio.sleep(1)
        assert await b.state(1) == "Established"


@on_virtual_clock
async def test_echo_requests_that_are_ignored_end_the_session() -> None:
    async with blaster({"sessions": {"count": 2}}) as b:
        await asyncio.sleep(1)
        await b.value("lcp-echo-request-ignore")
        await b.value("lcp-echo-request-accept", session_id=2)
        await asyncio.sleep(121)
        assert [await b.state(n) for n in (1, 2)] == ["Terminated", "Established"]


@on_virtual_clock
async def test_the_monkey_takes_those_that_are_marked() -> None:
    access = [{**ACCESS, "monkey": True}, {**ACCESS, "interface": "a2"}]
    configuration = {
        "interfaces": {"network": {"interface": "n0"}, "access": access},
        "sessions": {"count": 40, "monkey-autostart": False},
    }
    async with blaster(configuration) as b:
        await asyncio.sleep(10)
        assert await b.counter("sessions-flapped") == 0
        await b.value("monkey-start")
        await asyncio.sleep(20)
        flapped = await b.counter("sessions-flapped")
        assert flapped > 10
        summary = await b.value("session-summary")
        assert all(not one["flapped"] for one in summary if one["interface"] == "a2")
        await b.value("monkey-stop")
        await asyncio.sleep(20)
        assert await b.counter("sessions-flapped") == flapped
        assert await b.counter("sessions-established") == 40


@on_virtual_clock
async def test_sessions_take_vlans_in_turn() -> None:
    access = [
        {
            "interface": "a0",
            "outer-vlan-min": 1,
            "outer-vlan-max": 2,
            "inner-vlan-min": 3,
            "inner-vlan-max": 4,
        },
        {"interface": "a2", "type": "ipoe", "vlan-mode": "N:1", "outer-vlan": 9, "agent-remote-id": "R{i2}"},
    ]
    configuration: dict[str, Any] = {
        "interfaces": {"network": {"interface": "n0"}, "access": access},
        "sessions": {"count": 9},
    }
    async with blaster(configuration) as b:
        summary = await b.value("session-summary")
        assert [(one["outer-vlan"], one["inner-vlan"]) for one in summary[::2][:4]] == [
            (1, 3),
            (1, 4),
            (2, 3),
            (2, 4),
        ]
        assert [one["agent-remote-id"] for one in summary if one["type"] == "ipoe"] == [
            f"R{n}" for n in range(1, 6)
        ]
        found = await b.value("session-info", interface="a0", outer_vlan=2, inner_vlan=3)
        assert found["session-id"] == 5
        not_found = ("session not found", 404)
        assert await b.refused("session-info", interface="a2", outer_vlan=9) == not_found, "N:1"
    configuration["sessions"]["iterate-vlan-outer"] = True
    async with blaster(configuration) as b:
        summary = await b.value("session-summary")
        assert [(one["outer-vlan"], one["inner-vlan"]) for one in summary[::2][:3]] == [
            (1, 3),
            (2, 3),
            (1, 4),
        ]


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"sessions": {"count": 4001}}, "there are VLANs for 4000 of 4001 sessions"),
    (
        {"sessions": {"count": 2}, "interfaces": {"access": [ACCESS, ACCESS]}},
        "VLAN 1:7 of a0 has two sessions",
    ),
    ({"sessions": {"start-rat": 1}}, "unknown parameter 'start-rat'"),
    ({"interfaces": {"access": [{**ACCESS, "type": "dsl"}]}}, "type"),
    ({"interfaces": {"access": [{**ACCESS, "network-interface": "x"}]}}, "there is no network interface 'x'"),
    ({"igmp": {"group": "x"}}, "'x' is no IPv4 address"),
    ({"simulation": {"ipv6-prefix": "x"}}, "'x' is no IPv6 prefix"),
    ({"simulation": {"loss": 2}}, "loss"),
    ({"simulation": {"l2tp": [{"server": "LNS9"}]}}, "LNS9"),
]


@pytest.mark.parametrize(("configuration", "text"), REFUSED, ids=[text for _, text in REFUSED])
def test_a_configuration_that_cannot_be_is_refused(configuration: dict[str, Any], text: str) -> None:
    @on_virtual_clock
    async def attempt() -> None:
        async with blaster(configuration):
            pass

    with pytest.raises(ConfigurationError, match=text):
        attempt()


@on_virtual_clock
async def test_options_of_packets_are_let_pass() -> None:
    configuration = {
        "interfaces": {"io-mode": "raw", "access": {**ACCESS, "rate-up": 1}, "network": {"interface": "n0"}},
        "isis": [],
        "bgp": [{"peer": "x"}],
    }
    async with blaster(configuration) as b:
        await asyncio.sleep(1)
        assert await b.state(1) == "Established"


@on_virtual_clock
async def test_group_commands_are_about_their_group() -> None:
    access = [{**ACCESS, "session-group-id": 1}, {**ACCESS, "interface": "a2", "session-group-id": 2}]
    configuration = {
        "interfaces": {"network": {"interface": "n0"}, "access": access},
        "sessions": {"count": 4},
    }
    async with blaster(configuration) as b:
        await asyncio.sleep(1)
        await b.value("session-stop", session_group_id=2)
        assert [one["session-state"] for one in await b.value("session-summary")] == [
            "Established",
            "Terminated",
            "Established",
            "Terminated",
        ]
        assert await b.value("session-stop", session_group_id=9) is None
        for wrong in (-1, 65536, "1", True, None):
            assert await b.refused("session-stop", session_group_id=wrong) == (
                "invalid session-group-id",
                400,
            )
        response = await b.ask("terminate", session_group_id=1)
        assert response.text == "terminate session"
        assert not b.ended
        assert await b.counter("sessions-terminated") == 4


@on_virtual_clock
async def test_a_static_address_needs_no_dhcp() -> None:
    access = {
        **IPOE,
        "address": "192.0.2.2",
        "address-iter": "0.0.0.4",
        "gateway": "192.0.2.1",
        "ipv6": False,
    }
    configuration = {
        "interfaces": {"access": [access], "network": {"interface": "n0"}},
        "sessions": {"count": 2},
    }
    async with blaster(configuration) as b:
        await asyncio.sleep(1)
        info = await b.info(2)
        assert info["session-state"] == "Established"
        assert (info["ipv4-address"], info["ipv4-gateway"]) == ("192.0.2.6", "192.0.2.1")
        assert info["dhcp-state"] == "Disabled"
        assert await b.refused("dhcp-start", session_id=2) == ("matching session is DHCP disabled", 400)
        assert await b.refused("ipcp-open", session_id=2) == ("matching session is not of type pppoe", 400)


@on_virtual_clock
async def test_leases_are_given_up_and_had_again() -> None:
    configuration = {
        "interfaces": {"network": {"interface": "n0"}, "access": [IPOE]},
        "simulation": {"ipv4-count": 1},
    }
    async with blaster(configuration) as b:
        await asyncio.sleep(1)
        for command, kept in (("dhcp-release", False), ("dhcp-stop", False), ("dhcp-stop", True)):
            await b.value(command, session_id=1, keep_address=kept)
            info = await b.info(1)
            assert (info["dhcp-state"], info["session-state"]) == ("Init", "Established")
            assert ("ipv4-address" in info) == kept
            assert await b.counter("dhcp-sessions") == await b.counter("dhcp-sessions-established") == 0
            await b.value("dhcp-start", session_id=1)
            info = await b.info(1)
            assert (info["dhcp-state"], info["ipv4-address"]) == ("Bound", "10.0.0.11")
            assert await b.counter("dhcp-sessions-established") == 1
        assert (info["dhcp-tx-release"], info["dhcp-tx-discover"]) == (1, 4)
        await b.value("session-stop")
        info = await b.info(1)
        assert (info["dhcp-state"], info["dhcpv6-state"], info["dhcp-lease-time"]) == ("Init", "Init", 0)
        assert await b.counter("dhcpv6-sessions-established") == 0


@on_virtual_clock
async def test_sessions_wait_to_be_started() -> None:
    async with blaster({"sessions": {"count": 2, "autostart": False}}) as b:
        await asyncio.sleep(60)
        assert await b.state(1) == "Idle"
        await b.value("session-start", session_id=2)
        await asyncio.sleep(1)
        assert [await b.state(n) for n in (1, 2)] == ["Idle", "Established"]
        await b.value("session-start")
        await asyncio.sleep(1)
        assert await b.state(1) == "Established"


def test_nothing_that_is_told_of_a_session_is_a_real() -> None:
    """The answers say so of themselves; reals in them would be written in another form than the original."""
    from bridle.bundled.bng.answers import Answers
    from bridle.bundled.bng.answers_0_5 import OldAnswers
    from bridle.bundled.bng.bng import settings_of
    from bridle.bundled.bng.simulation import Simulation

    access = [{**ACCESS, "interface": "a0"}, {**ACCESS, "interface": "a1", "type": "ipoe"}]
    for extra in (
        {},
        {"simulation": {"traffic-loss": 0.1, "traffic-delay": 0.25, "loss": 0.2, "lifetime": 3}},
    ):
        interfaces = {"a10nsp": [{"interface": "n0"}], "access": access}
        traffic = {"ipv4-pps": 2.5, "ipv6-pps": 1, "ipv6pd-pps": 1}
        whole = {"interfaces": interfaces, "sessions": {"count": 8}, "session-traffic": traffic, **extra}
        simulation = Simulation(settings_of({**whole, "dhcp": {"enable": True}, "dhcpv6": {"enable": True}}))
        for seconds in (0.05, 0.3, 2.0, 20.0, 200.0):
            simulation.advance(seconds)
            for session in simulation.sessions:
                for answers in (Answers(simulation), OldAnswers(simulation)):
                    assert not any_real(answers.session_info(session, True))
                    assert not any_real(answers.session_summary(session))


def any_real(value: object) -> bool:
    """Whether there is a real in it."""
    if isinstance(value, dict):
        return any(map(any_real, value.values()))
    return isinstance(value, float) or (isinstance(value, list) and any(map(any_real, value)))
