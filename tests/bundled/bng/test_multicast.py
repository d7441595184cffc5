"""Groups are joined, left and zapped through; what is delivered is counted."""

from __future__ import annotations

import asyncio
from typing import Any

from tests.support.bng import ACCESS, Blaster, blaster
from tests.support.loops import on_virtual_clock

GROUP = "239.0.0.1"
MULTICAST = {"groups": [GROUP], "pps": 10, "join-delay": 0.25, "leave-delay": 2.0}


async def _group(b: Blaster, number: int = 1) -> Any:
    groups = await b.value("igmp-info", session_id=number)
    return groups[0]


@on_virtual_clock
async def test_a_group_is_joined_counted_and_left() -> None:
    async with blaster({"simulation": {"multicast": MULTICAST}}) as b:
        await asyncio.sleep(1)
        await b.value("igmp-join", session_id=1, group=GROUP, source1="1.1.1.1", source3="3.3.3.3")
        told = {
            "group": GROUP,
            "sources": ["1.1.1.1", "3.3.3.3"],
            "packets": 0,
            "loss": 0,
            "state": "joining",
        }
        assert await _group(b) == told
        await asyncio.sleep(0.9)
        group = await _group(b)
        assert (group["state"], group["join-delay-ms"]) == ("joining", 300)
        await asyncio.sleep(10.2)
        group = await _group(b)
        assert (group["state"], group["packets"]) == ("active", 109)
        assert await b.refused("igmp-join", session_id=1, group=GROUP) == ("group already exists", 409)
        await b.value("igmp-leave", session_id=1, group=GROUP)
        assert (await _group(b))["state"] == "leaving"
        await asyncio.sleep(1.1)
        group = await _group(b)
        assert group["state"] == "idle"
        assert group["leave-delay-ms"] in range(900, 1101)
        await asyncio.sleep(60)
        group = await _group(b)
        assert group["packets"] == 109 + 20
        assert group["leave-delay-ms"] in range(1900, 2001)
        assert (await b.info(1))["tx-igmp"] == 4
        assert await b.value("igmp-leave", session_id=1, group=GROUP) is None, "it is left already"
        await b.value("igmp-join", session_id=1, group=GROUP)
        assert (await _group(b))["packets"] == 0, "a group that is joined again begins anew"


@on_virtual_clock
async def test_slots_are_taken_from_the_last_on_and_run_out() -> None:
    async with blaster({}) as b:
        await asyncio.sleep(1)
        for index in range(12):
            await b.value("igmp-join", session_id=1, group=f"239.0.1.{index}")
        refused = await b.refused("igmp-join", session_id=1, group="239.0.1.99")
        assert refused == ("no igmp group slot available", 409)
        groups = await b.value("igmp-info", session_id=1)
        assert [one["group"] for one in groups] == [f"239.0.1.{index}" for index in reversed(range(12))]
        await b.value("igmp-leave", session_id=1, group="239.0.1.3")
        await asyncio.sleep(1.5)
        await b.value("igmp-join", session_id=1, group="239.0.1.99")
        groups = await b.value("igmp-info", session_id=1)
        assert groups[8]["group"] == "239.0.1.99", "an idle slot is used again"


@on_virtual_clock
async def test_nothing_is_reported_while_there_is_no_address() -> None:
    """Such a group stays joining; those that were reported are again when the session is back."""
    configuration = {"pppoe": {"reconnect": True}, "simulation": {"multicast": MULTICAST}}
    async with blaster(configuration) as b:
        await asyncio.sleep(1)
        await b.value("igmp-join", session_id=1, group=GROUP)
        await asyncio.sleep(2)
        before = (await _group(b))["packets"]
        assert before > 10
        await b.value("terminate", session_id=1)
        await b.value("igmp-join", session_id=1, group="239.0.0.9")
        await asyncio.sleep(5)
        new, old = await b.value("igmp-info", session_id=1)
        assert (new["group"], new["state"]) == ("239.0.0.9", "joining")
        assert old["state"] == "active"
        assert old["packets"] > before


@on_virtual_clock
async def test_groups_are_spread_over_sessions() -> None:
    async with blaster({"sessions": {"count": 2}}) as b:
        await asyncio.sleep(1)
        await b.value("igmp-join-iter", group="239.1.0.1", group_iter="0.0.0.2", group_count=4)
        told = [await b.value("igmp-info", session_id=number) for number in (1, 2)]
        assert [[one["group"] for one in groups] for groups in told] == [
            ["239.1.0.1", "239.1.0.5"],
            ["239.1.0.3", "239.1.0.7"],
        ]
        await b.value("igmp-join-iter", group="239.2.0.1", group_count=1000)
        assert len(await b.value("igmp-info", session_id=1)) == 12
        await b.value("igmp-leave-all", session_id=1)
        await asyncio.sleep(2)
        states = [{one["state"] for one in await b.value("igmp-info", session_id=n)} for n in (1, 2)]
        assert states == [{"idle"}, {"active"}]


@on_virtual_clock
async def test_what_is_sent_from_the_network_arrives() -> None:
    configuration = {
        "igmp": {
            "group": GROUP,
            "group-count": 2,
            "send-multicast-traffic": True,
            "multicast-traffic-pps": 10,
            "autostart": False,
        }
    }
    async with blaster(configuration) as b:
        await asyncio.sleep(1.05)
        await b.value("igmp-join", session_id=1, group=GROUP)
        await asyncio.sleep(10)
        packets = (await _group(b))["packets"]
        assert packets in range(98, 101)
        await b.value("multicast-traffic-stop")
        await asyncio.sleep(10)
        assert (await _group(b))["packets"] == packets
        (network,) = await b.value("network-interfaces")
        assert (network["tx-packets-multicast"], network["tx-pps-multicast"]) == (220, 0)
        await b.value("multicast-traffic-start")
        await asyncio.sleep(10.05)
        assert (await _group(b))["packets"] == packets + 100


ZAPPING = {
    "igmp": {"group": GROUP, "group-count": 3, "zapping-interval": 2, "max-join-delay": 200},
    "simulation": {"multicast": {**MULTICAST, "groups": ["239.0.0.1", "239.0.0.2", "239.0.0.3"]}},
}


@on_virtual_clock
async def test_zapping_goes_through_the_groups() -> None:
    async with blaster(ZAPPING) as b:
        seen = []
        for _ in range(8):
            await asyncio.sleep(2)
            groups = await b.value("igmp-info", session_id=1)
            seen += [one["group"] for one in groups if one["state"] in ("joining", "active")]
        assert seen[:3] == seen[3:6]
        assert len(set(seen)) == 3
        statistics = await b.value("zapping-stats", reset=True)
        assert statistics["join-count"] == 8
        assert statistics["join-delay-ms-min"] == statistics["join-delay-ms-max"] == 300
        assert statistics["join-delay-violations"] == statistics["join-delay-violations-250ms"] == 8
        assert statistics["leave-count"] == 6
        assert statistics["multicast-packets-overlap"] > 0
        assert (await b.value("zapping-stats"))["join-count"] == 0
        group = seen[-1]
        assert await b.refused("igmp-leave", session_id=1, group=group) == ("group used by zapping test", 408)
        await b.value("zapping-stop")
        await asyncio.sleep(5)
        assert {one["state"] for one in await b.value("igmp-info", session_id=1)} == {"idle"}
        await b.value("zapping-start")
        await asyncio.sleep(5)
        assert (await b.value("zapping-stats"))["join-count"] > 0


@on_virtual_clock
async def test_zapping_waits_for_a_group_that_does_not_come() -> None:
    async with blaster({**ZAPPING, "simulation": {}}) as b:
        await asyncio.sleep(30)
        assert len(await b.value("igmp-info", session_id=1)) == 1
    impatient = {**ZAPPING["igmp"], "zapping-wait": False}
    async with blaster({"igmp": impatient}) as b:
        await asyncio.sleep(30)
        assert len(await b.value("igmp-info", session_id=1)) == 2
        assert (await b.value("zapping-stats"))["multicast-not-received"] == 14


@on_virtual_clock
async def test_sessions_of_an_a10nsp_do_not_join_by_themselves() -> None:
    interfaces = {"a10nsp": {"interface": "a1"}, "access": [ACCESS]}
    async with blaster({**ZAPPING, "interfaces": interfaces}) as b:
        await asyncio.sleep(10)
        assert await b.value("igmp-info", session_id=1) == []


@on_virtual_clock
async def test_addresses_of_groups_are_checked_in_order() -> None:
    async with blaster({}) as b:
        assert await b.refused("igmp-join", group=GROUP) == ("missing session-id", 400)
        assert await b.refused("igmp-join", session_id=9) == ("missing group address", 400)
        assert await b.refused("igmp-join", session_id=9, group=7) == ("missing group address", 400)
        assert await b.refused("igmp-join", session_id=9, group="x") == ("invalid group address", 400)
        wrong = await b.refused("igmp-join", session_id=9, group=GROUP, source2="x")
        assert wrong == ("invalid source2 address", 400)
        assert await b.refused("igmp-join", session_id=9, group=GROUP) == ("session not found", 404)
        assert await b.refused("igmp-leave", session_id=1, group=GROUP) == ("group not found", 404)
