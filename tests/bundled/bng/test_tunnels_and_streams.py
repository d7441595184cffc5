"""The LNS, lawful interception, streams; and release 0.5."""

from __future__ import annotations

import asyncio
from typing import Any

from tests.support.bng import ACCESS, blaster
from tests.support.loops import on_virtual_clock

LNS: dict[str, Any] = {
    "l2tp-server": {"name": "LNS1", "address": "10.0.0.11", "secret": "test"},
    "simulation": {
        "l2tp": [
            {"server": "LNS1", "sessions": 3, "established": 2, "delay": 1, "pps": 5},
            {"server": "LNS1", "name": "LAC2", "tunnel-id": 7, "sessions": 0, "delay": 100},
        ]
    },
}


@on_virtual_clock
async def test_tunnels_come_up_carry_sessions_and_go() -> None:
    async with blaster(LNS) as b:
        assert [one["state"] for one in await b.value("l2tp-tunnels")] == ["Wait-Control-Connection"] * 2
        await asyncio.sleep(3)
        first, second = await b.value("l2tp-tunnels")
        assert (first["state"], first["peer-name"], first["secret"]) == ("Established", "LAC1", "test")
        assert second["state"] == "Wait-Control-Connection"
        sessions = await b.value("l2tp-sessions", tunnel_id=1)
        assert [one["state"] for one in sessions] == ["Established", "Established", "Wait-Control-Connection"]
        assert [one["data-packets-rx"] for one in sessions] == [10, 10, 0]
        assert first["data-packets-rx"] == 20
        assert len(await b.value("l2tp-sessions", tunnel_id=1, session_id=2)) == 1
        assert await b.refused("l2tp-sessions", tunnel_id=1, session_id=9) == ("session not found", 404)
        assert await b.refused("l2tp-sessions", tunnel_id=9) == ("tunnel not found", 404)
        before = first["control-packets-tx"]
        await b.value("l2tp-csurq", tunnel_id=1, sessions=[101, 102])
        assert (await b.value("l2tp-tunnels"))[0]["control-packets-tx"] == before + 1
        assert await b.refused("l2tp-csurq", tunnel_id=2, sessions=[1]) == ("tunnel not established", 400)
        assert await b.refused("l2tp-csurq", tunnel_id=1) == ("invalid request", 400)
        assert await b.refused("l2tp-csurq", tunnel_id="1") == ("missing tunnel-id", 400)
        await b.value("l2tp-tunnel-terminate", tunnel_id=1)
        assert (await b.value("l2tp-tunnels"))[0]["state"] == "Send-StopCCN"
        await asyncio.sleep(6)
        assert [one["tunnel-id"] for one in await b.value("l2tp-tunnels")] == [2]
        assert await b.value("l2tp-sessions") == []
        assert await b.refused("l2tp-lcp-restart", session_id=1) == ("no L2TP session", 400)


@on_virtual_clock
async def test_the_end_waits_for_tunnels() -> None:
    async with blaster(LNS) as b:
        await asyncio.sleep(3)
        await b.ask("terminate")
        await asyncio.sleep(2)
        assert await b.counter("sessions-terminated") == 1
        assert not b.ended
        await asyncio.sleep(5)
        assert b.ended


@on_virtual_clock
async def test_intercepted_flows_are_counted() -> None:
    flow = {
        "source-address": "10.0.0.2",
        "destination-address": "10.0.0.1",
        "liid": 7,
        "pps": 2,
        "length": 100,
    }
    async with blaster({"simulation": {"li-flows": [flow]}}) as b:
        await asyncio.sleep(10)
        (told,) = await b.value("li-flows")
        assert (told["liid"], told["packets-rx"], told["bytes-rx"]) == (7, 20, 2000)
        assert told["packets-rx-ipv4-udp"] == 20


STREAMS: dict[str, Any] = {
    "sessions": {"count": 2},
    "session-traffic": {"ipv4-pps": 2, "ipv6-pps": 1},
    "streams": [{"name": "RAW1", "type": "ipv4", "direction": "downstream", "pps": 4, "length": 100}],
}


@on_virtual_clock
async def test_flows_are_found_by_what_they_are() -> None:
    async with blaster(STREAMS) as b:
        await asyncio.sleep(0.55)

        async def numbers(**filters: Any) -> list[int]:
            return [one["flow-id"] for one in await b.value("stream-summary", **filters)]

        assert await numbers() == list(range(1, 10))
        assert await numbers(session_id=2) == [5, 6, 7, 8]
        assert await numbers(flows=[1, 9, 77]) == [1, 9]
        assert await numbers(flow_id_min=4, flow_id_max=6) == [4, 5, 6]
        assert await numbers(name="session-ipv6") == [3, 4, 7, 8]
        assert await numbers(interface="a0") == [1, 3, 5, 7]
        assert await numbers(direction="downstream", session_id=1) == [2, 4]
        assert await numbers(verified_only=True) == []
        assert await b.value("streams-pending") == list(range(1, 10))
        await asyncio.sleep(0.2)
        assert await numbers(verified_only=True) == [1, 2, 5, 6]
        await asyncio.sleep(0.5)
        assert await b.value("streams-pending") == [9]
        assert await numbers(pending_only=True) == [9]
        assert await numbers(bidirectional_verified_only=True) == list(range(1, 9))
        assert await b.refused("stream-summary", flows=1) == ("invalid flows", 400)
        assert await b.refused("stream-summary", direction="up") == ("invalid direction", 400)
        assert await b.refused("stream-summary", verified_only="yes") == ("invalid verified-only", 400)
        assert await b.refused("stream-info") == ("missing flow-id", 400)
        assert await b.refused("stream-info", flow_id=99) == ("stream not found", 404)


@on_virtual_clock
async def test_flows_start_stop_and_change() -> None:
    async with blaster(STREAMS) as b:
        await asyncio.sleep(10.15)

        async def sent(number: int) -> int:
            return int((await b.value("stream-info", flow_id=number))["tx-packets"])

        assert [await sent(number) for number in (1, 3, 9)] == [20, 10, 40]
        assert (await b.value("stream-stats")) == {"total-flows": 1, "verified-flows": 0, "total-pps": 16.0}
        await b.value("stream-stop", flow_id=9)
        await b.value("stream-update", flow_id=1, pps=100)
        await b.value("stream-stop-verified", name="session-ipv6")
        await asyncio.sleep(10)
        assert [await sent(number) for number in (1, 3, 9)] == [1020, 10, 40]
        await b.value("stream-reset")
        assert [await sent(number) for number in (1, 3, 9)] == [0, 0, 0]
        assert (await b.value("session-traffic"))["verified-flows"] == 0
        await b.value("stream-start")
        await asyncio.sleep(10)
        assert [await sent(number) for number in (1, 3, 9)] == [1000, 10, 40]
        assert await b.refused("stream-update", flow_id=1, pps="fast") == ("invalid pps", 400)


@on_virtual_clock
async def test_traffic_stops_once_it_is_verified() -> None:
    async with blaster({**STREAMS, "traffic": {"stop-verified": True}}) as b:
        await asyncio.sleep(10)
        info = await b.value("stream-info", flow_id=1)
        assert (info["verified"], info["tx-packets"]) == (True, 1)


@on_virtual_clock
async def test_interfaces_tell_the_traffic_of_their_sessions() -> None:
    async with blaster(STREAMS) as b:
        await asyncio.sleep(10.15)
        (access,) = await b.value("access-interfaces")
        (network,) = await b.value("network-interfaces")
        assert access["tx-packets-session-ipv4"] == network["rx-packets-session-ipv4"] == 40
        assert access["rx-packets-session-ipv6"] == network["tx-packets-session-ipv6"] == 20
        assert (access["tx-pps-session-ipv4"], network["tx-pps-streams"]) == (4, 10)
        assert network["tx-packets-streams"] == 100
        streams = await b.value("session-streams", session_id=1)
        assert [one["flow-id"] for one in streams["streams"]] == [1, 2, 3, 4]
        assert (streams["tx-pps"], streams["tx-accounting-packets"]) == (3, 30)


@on_virtual_clock
async def test_release_0_5_has_its_own_commands_shapes_and_words() -> None:
    configuration = {"release": "0.5", "sessions": {"count": 2}, "pppoe": {"reconnect": True}}
    async with blaster(configuration) as b:
        await asyncio.sleep(1)
        assert (await b.ask("session-info", session_id=1)).key == "session-information"
        assert await b.value("session-counters") == {
            "sessions": 2,
            "sessions-established": 2,
            "sessions-flapped": 0,
            "dhcpv6-sessions-established": 2,
        }
        await b.value("terminate", session_id=1)
        assert await b.counter("sessions-established") == 2, "as many as there ever were"
        await asyncio.sleep(0.3)
        assert await b.state(1) == "Established", "it comes back at once"
        assert await b.value("session-info", session_id=1, foo=1), "arguments that nobody knows are ignored"
        assert await b.refused("igmp-join", group="239.0.0.1") == ("session not found", 404)
        for index in range(8):
            await b.value("igmp-join", session_id=1, group=f"239.0.0.{index}")
        refused = await b.refused("igmp-join", session_id=1, group="239.0.0.9")
        assert refused == ("no igmp group slot available", 409)
        commands = await b.value("list-commands")
        assert "session-info" in commands
        assert "session-start" not in commands
        response = await b.ask("terminate")
        assert response.text == "terminate all sessions"


@on_virtual_clock
async def test_a_new_configuration_begins_anew() -> None:
    async with blaster({"release": "0.5"}) as b:
        await asyncio.sleep(10)
        whole = {"bng": {"interfaces": {"access": [ACCESS]}, "sessions": {"count": 3}}}
        from bridle.daemon.document import Document

        b.daemon.configure(b.daemon.check_configuration(Document(whole)))
        assert await b.value("sessions-pending")
        await asyncio.sleep(1)
        assert await b.counter("sessions-established-max") == 3
        assert (await b.value("test-info"))["duration"] == 1


@on_virtual_clock
async def test_an_address_is_checked_before_the_command() -> None:
    """Even of a command that nobody knows (facts §1.2)."""
    async with blaster({}) as b:
        assert await b.refused("foo", session_id="x") == ("invalid session-id", 400)
        assert await b.refused("foo", outer_vlan=9, inner_vlan=9) == ("session not found", 404)
        assert await b.refused("foo", ifindex="a0") == ("invalid ifindex", 400)
        response = await b.ask("foo", session_id=1)
        assert response.result == 2
        assert await b.refused("session-counters", foo=1) == ("invalid argument", 400)
        assert await b.refused("session-counters", session_id=1) == ("invalid argument", 400)
        assert await b.value("session-counters", outer_vlan=1, inner_vlan=7, interface="a0")
        assert await b.refused("session-info", session_id=0) == ("missing session-id", 400)
        assert (await b.value("session-info", session_id=4294967297.9))["session-id"] == 1
