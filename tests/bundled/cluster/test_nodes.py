"""Nodes join and leave, are fenced and come back; attributes live on them."""

from __future__ import annotations

import asyncio
import errno
from typing import Any

import pytest

from bridle.bundled.cluster.fencer import HISTORY_LIMIT
from bridle.bundled.cluster.node_commands import ATTRIBUTES_LIMIT
from tests.support.cluster import EPOCH, Asker, cluster
from tests.support.loops import on_virtual_clock

THREE = {"imagined": {"nodes": [{"name": "node2"}, {"name": "node3"}]}}


async def states(c: Asker) -> dict[str, str]:
    return {one["name"]: one["state"] for one in (await c.value("node-list"))["nodes"]}


@on_virtual_clock
async def test_who_is_asked_says_how_it_is() -> None:
    async with cluster(THREE) as c:
        alive = await c.value("ping")
        assert (alive["subsystem"], alive["state"], alive["timestamp"]) == ("pacemakerd", "running", EPOCH)
        await asyncio.sleep(1)
        assert (await c.value("ping", subsystem="dc"))["state"] == "S_IDLE"
        assert (await c.value("ping", subsystem="crmd", node="node2"))["state"] == "S_NOT_DC"
        assert await c.refused("ping", subsystem="crmd", node="nosuch") == errno.ENXIO
        assert await c.value("node-info", node_id=2) == {
            "id": 2,
            "name": "node2",
            "state": "member",
            "have-quorum": True,
            "node": "node1",
            "remote": False,
        }
        assert await c.refused("node-info", node="nosuch") == errno.ENXIO


@on_virtual_clock
async def test_a_node_that_leaves_in_good_order_is_down() -> None:
    async with cluster(THREE) as c:
        await c.value("node-leave", node="node2")
        assert (await states(c))["node2"] == "lost"
        (state,) = await c.found("//node_state[@uname='node2']")
        assert (state.get("in_ccm"), state.get("crmd"), state.get("expected")) == ("false", "offline", "down")
        assert await c.found("//node_state[@uname='node2']/transient_attributes") == []
        await c.value("node-join", node="node2")
        assert (await states(c))["node2"] == "member"
        assert len(await c.found("//node_state[@uname='node2']//nvpair[@name='#feature-set']")) == 1


@on_virtual_clock
async def test_resources_of_a_node_that_crashed_are_recovered_elsewhere() -> None:
    imagined = {**THREE["imagined"], "resources": [{"id": "r", "meta": {"resource-stickiness": "9"}}]}
    async with cluster({"imagined": imagined}) as c:
        await asyncio.sleep(1)
        await c.value(
            "cib-create", section="constraints", xml='<rsc_location id="l" rsc="r" node="node2" score="10"/>'
        )
        await asyncio.sleep(1)
        assert await c.active("r") == ["node2"]
        await c.value("node-leave", node="node2", crash=True)
        await asyncio.sleep(1)
        # Nobody has fenced node2, so its status says what it said; another node has the resource, too.
        assert len(await c.active("r")) == 2


@on_virtual_clock
async def test_without_quorum_resources_are_stopped() -> None:
    imagined = {**THREE["imagined"], "resources": [{"id": "r"}]}
    async with cluster({"imagined": imagined}) as c:
        await asyncio.sleep(1)
        for name in ("node2", "node3"):
            await c.value("node-leave", node=name)
        await asyncio.sleep(1)
        assert await c.active("r") == []
        assert (await c.value("node-info"))["have-quorum"] is False
        (root,) = await c.found("/cib")
        assert root.get("have-quorum") == "0"
        await c.value("node-join", node="node3")
        await asyncio.sleep(1)
        assert await c.active("r") != []


@on_virtual_clock
async def test_a_new_node_gets_a_number() -> None:
    async with cluster(THREE) as c:
        assert await c.value("node-join", node="late") == {"id": 4, "name": "late", "state": "member"}
        assert await c.value("node-join", node="later", node_id=77) == {
            "id": 77,
            "name": "later",
            "state": "member",
        }
        assert await c.refused("node-join", node="another", node_id=77) == errno.EEXIST
        assert await c.refused("node-leave", node="node1") == errno.EINVAL
        assert await c.refused("node-leave", node="nosuch") == errno.ENXIO
        await c.value("node-leave", node="late")
        await c.value("node-purge", node="late")
        assert "late" not in await states(c)
        # Members are not forgotten, and nobody is missed.
        await c.value("node-purge", node="later")
        await c.value("node-purge", node="nosuch")
        assert "later" in await states(c)
        assert (await c.ask("node-purge")).result == 1


@on_virtual_clock
async def test_a_cluster_has_at_most_64_nodes() -> None:
    async with cluster() as c:
        for number in range(63):
            await c.value("node-join", node=f"n{number}")
        assert await c.refused("node-join", node="one-more") == errno.ENOSPC


@on_virtual_clock
async def test_nodes_join_and_leave_as_configured() -> None:
    nodes = [{"name": "node2", "state": "lost", "joins-after": 10}, {"name": "node3", "leaves-after": 20}]
    async with cluster({"imagined": {"nodes": nodes}}) as c:
        assert await states(c) == {"node1": "member", "node2": "lost", "node3": "member"}
        await asyncio.sleep(15)
        assert await states(c) == {"node1": "member", "node2": "member", "node3": "member"}
        await asyncio.sleep(15)
        assert await states(c) == {"node1": "member", "node2": "member", "node3": "lost"}
        told: list[Any] = [event.data for event in c.events if event.name == "node"]
        assert [(one["node"], one["state"]) for one in told] == [("node2", "member"), ("node3", "lost")]


# Attributes.


async def attribute(c: Asker, name: str) -> str | None:
    found = await c.found(f"//node_state[@uname='node1']//nvpair[@name='{name}']")
    return found[0].get("value") if found else None


@on_virtual_clock
async def test_attributes_are_written_to_the_status() -> None:
    async with cluster(THREE) as c:
        await c.value("attribute-update", name="a", value="1")
        await c.value("attribute-update", name="a", value="2", node="node2")
        assert await attribute(c, "a") == "1"
        values = (await c.value("attribute-query", name="a"))["values"]
        assert values == [{"node": "node1", "value": "1"}, {"node": "node2", "value": "2"}]
        assert (await c.value("attribute-query", name="a", node="node2"))["values"] == values[1:]
        await c.value("attribute-delete", name="a")
        assert await attribute(c, "a") is None
        assert (await c.value("attribute-query", name="a", node="node1"))["values"] == [
            {"node": "node1", "value": None}
        ]
        assert await c.refused("attribute-query", name="b") == errno.ENXIO


@on_virtual_clock
async def test_a_value_counts_on() -> None:
    async with cluster() as c:
        for value in ("value++", "value++", "value+=10", "value+=-3"):
            await c.value("attribute-update", name="n", value=value)
        assert await attribute(c, "n") == "9"
        await c.value("attribute-update", name="n", value="value+=9999999")
        assert await attribute(c, "n") == "1000000"


@on_virtual_clock
async def test_dampening_waits_until_a_value_rests() -> None:
    async with cluster() as c:
        await c.value("attribute-update", name="d", value="1", dampening="5s")
        for value in ("2", "3"):
            await asyncio.sleep(4)
            await c.value("attribute-update", name="d", value=value)
        assert await attribute(c, "d") is None
        assert (await c.value("attribute-query", name="d"))["values"][0]["value"] == "3"
        await asyncio.sleep(5.1)
        assert await attribute(c, "d") == "3"
        await c.value("attribute-update", name="d", value="4")
        await c.value("attribute-update", name="d", value=None, dampening="0", mode="delay")
        assert await attribute(c, "d") == "4"
        await c.value("attribute-update", name="d", value="5", dampening=7, mode="both")
        assert await attribute(c, "d") == "4"
        await asyncio.sleep(7.1)
        assert await attribute(c, "d") == "5"


@on_virtual_clock
async def test_a_private_attribute_is_never_written() -> None:
    async with cluster() as c:
        await c.value("attribute-update", name="p", value="1", private=True)
        await c.value("attribute-refresh")
        assert await attribute(c, "p") is None
        assert (await c.value("attribute-query", name="p"))["values"] == [{"node": "node1", "value": "1"}]


@on_virtual_clock
async def test_a_pattern_names_several() -> None:
    async with cluster() as c:
        for name in ("ping-a", "ping-b", "other"):
            await c.value("attribute-update", name=name, value="1")
        await c.value("attribute-update", pattern="^ping-", value="2")
        assert [await attribute(c, name) for name in ("ping-a", "ping-b", "other")] == ["2", "2", "1"]
        await c.value("attribute-delete", pattern="^ping-.$")
        assert [await attribute(c, name) for name in ("ping-a", "ping-b", "other")] == [None, None, "1"]


@pytest.mark.parametrize("pattern", ["(a+)+$", "a*b*c*d*", "(", "x" * 300, "(?:ab)*", "(.|x){9}"])
@on_virtual_clock
async def test_a_pattern_that_could_take_for_ever_is_refused(pattern: str) -> None:
    async with cluster() as c:
        assert (await c.ask("attribute-update", pattern=pattern, value="1")).result == 1


@on_virtual_clock
async def test_attributes_are_limited() -> None:
    async with cluster() as c:
        update = c.daemon.world.attributes.update
        for number in range(ATTRIBUTES_LIMIT):
            update(f"a{number}", "node1", "1", private=True)
        assert (await c.ask("attribute-update", name="one-more", value="1")).result == 1
        assert (await c.ask("attribute-update", name="a1", value="2")).result == 0


@on_virtual_clock
async def test_failures_are_cleared_by_resource_operation_and_node() -> None:
    async with cluster(THREE) as c:
        names = [
            "fail-count-r#start_0",
            "fail-count-r#monitor_10000",
            "last-failure-r#start_0",
            "fail-count-rr#start_0",
        ]

        async def left() -> list[str]:
            return [name for name in names if await attribute(c, name) is not None]

        for name in names:
            await c.value("attribute-update", name=name, value="1")
        await c.value("attribute-clear-failures", resource="r", node="node2")
        assert await left() == names
        await c.value("attribute-clear-failures", resource="r", operation="monitor", interval="10s")
        assert await left() == [names[0], names[2], names[3]]
        await c.value("attribute-clear-failures", resource="r")
        assert await left() == names[3:]
        await c.value("attribute-clear-failures")
        assert await left() == []


@pytest.mark.parametrize(
    "arguments",
    [
        {"value": "1"},
        {"name": "a", "pattern": "a", "value": "1"},
        {"name": "a", "value": "1", "mode": "both"},
        {"name": "a", "value": "1", "dampening": "soon"},
        {"name": "a", "value": "1", "node_id": 99},
    ],
)
@on_virtual_clock
async def test_updates_that_make_no_sense_are_refused(arguments: dict[str, Any]) -> None:
    async with cluster() as c:
        assert (await c.ask("attribute-update", **arguments)).result != 0


# Fencing.


@on_virtual_clock
async def test_a_node_is_fenced_and_comes_back() -> None:
    devices = [{"id": "dev", "targets": ["node2"]}]
    async with cluster({"imagined": {**THREE["imagined"], "fencing-devices": devices}}) as c:
        done = await c.value("fence", target="node2", action="reboot", client="me")
        assert (done["state"], done["delegate"], done["client"]) == ("done", "node1", "me")
        assert (await states(c))["node2"] == "lost"
        await asyncio.sleep(31)
        assert (await states(c))["node2"] == "member"
        await c.value("fence", target="node2", action="off")
        await asyncio.sleep(120)
        assert (await states(c))["node2"] == "lost"
        history = (await c.value("fencing-history"))["history"]
        assert [(one["action"], one["state"]) for one in history] == [("reboot", "done"), ("off", "done")]
        assert (await c.value("fencing-history", target="node3"))["history"] == []
        assert (await c.value("fencing-history-cleanup"))["removed"] == 2
        assert (await c.value("fencing-history"))["history"] == []


@on_virtual_clock
async def test_without_a_device_nobody_is_fenced() -> None:
    async with cluster(THREE) as c:
        assert await c.refused("fence", target="node2") == errno.ENODEV
        assert (await states(c))["node2"] == "member"
        (one,) = (await c.value("fencing-history"))["history"]
        assert one["state"] == "failed"


@pytest.mark.parametrize(
    ("fencing", "timeout", "code"),
    [({"failures": 1, "delay": 10}, 60, errno.ENODATA), ({"delay": 9000}, 5, errno.ETIME)],
)
@on_virtual_clock
async def test_fencing_fails(fencing: dict[str, Any], timeout: int, code: int) -> None:
    imagined = {**THREE["imagined"], "fencing-devices": [{"id": "dev"}], "fencing": fencing}
    async with cluster({"imagined": imagined}) as c:
        assert await c.refused("fence", target="node2", timeout=timeout) == code
        assert (await states(c))["node2"] == "member"


@on_virtual_clock
async def test_an_earlier_success_is_enough_within_the_tolerance() -> None:
    imagined = {**THREE["imagined"], "fencing-devices": [{"id": "dev"}]}
    async with cluster({"imagined": imagined}) as c:
        first = await c.value("fence", target="node2")
        await asyncio.sleep(10)
        assert (await c.value("fence", target="node2", tolerance=20))["id"] == first["id"]
        assert (await c.value("fence", target="node2", tolerance=5))["id"] != first["id"]


@on_virtual_clock
async def test_an_unclean_node_is_fenced_by_the_cluster() -> None:
    stonith = {"id": "st", "class": "stonith", "type": "fence_dummy"}
    imagined = {**THREE["imagined"], "resources": [stonith], "properties": {"stonith-enabled": "true"}}
    async with cluster({"imagined": imagined}) as c:
        await asyncio.sleep(1)
        assert [one["id"] for one in (await c.value("fencing-devices"))["devices"]] == ["st"]
        await c.value("node-leave", node="node2", crash=True)
        await asyncio.sleep(5)
        (one,) = (await c.value("fencing-history"))["history"]
        assert (one["target"], one["client"], one["state"]) == ("node2", "pacemaker-controld", "done")
        (state,) = await c.found("//node_state[@uname='node2']")
        assert state.get("expected") == "down"


@on_virtual_clock
async def test_fencing_that_fails_is_tried_again_after_a_while() -> None:
    stonith = {"id": "st", "class": "stonith", "type": "fence_dummy"}
    imagined = {
        **THREE["imagined"],
        "resources": [stonith],
        "properties": {"stonith-enabled": "true"},
        "fencing": {"failures": 3},
    }
    async with cluster({"imagined": imagined}) as c:
        await asyncio.sleep(1)
        await c.value("node-leave", node="node2", crash=True)
        await asyncio.sleep(8)
        assert len((await c.value("fencing-history"))["history"]) == 2
        await asyncio.sleep(20)
        assert [one["state"] for one in (await c.value("fencing-history"))["history"]] == ["failed"] * 3 + [
            "done"
        ]


@on_virtual_clock
async def test_devices_and_levels() -> None:
    async with cluster(THREE) as c:
        await c.value(
            "fencing-device-add",
            id_="a",
            agent="fence_a",
            parameters={"pcmk_host_list": "node2,node3", "port": 1},
        )
        await c.value("fencing-device-add", id_="b", agent="fence_b")
        devices = (await c.value("fencing-devices", target="node9"))["devices"]
        assert devices == [{"id": "b", "agent": "fence_b", "namespace": "redhat", "parameters": {}}]
        assert len((await c.value("fencing-devices"))["devices"]) == 2
        assert (await c.value("fencing-device-execute", id_="a"))["code"] == 0
        assert await c.refused("fencing-device-execute", id_="z") == errno.ENODEV
        await c.value("fencing-level-add", target="node2", index=1, devices=["b"])
        assert await c.refused("fencing-level-add", target="node2", index=10, devices=["b"]) == errno.EINVAL
        await c.value("fencing-level-remove", target="node2", index=1)
        await c.value("fencing-level-remove", target="node2", index=1)
        await c.value("fencing-device-remove", id_="a")
        await c.value("fencing-device-remove", id_="a")
        told: list[Any] = [event.data for event in c.events if event.name == "fencing-configuration"]
        assert [one["operation"] for one in told][:2] == ["st_device_register", "st_device_register"]


@on_virtual_clock
async def test_somebody_may_confirm_that_a_node_is_down() -> None:
    async with cluster(THREE) as c:
        done = await c.value("fencing-confirm", target="node2")
        assert (done["state"], done["delegate"]) == ("done", "a human")
        assert (await states(c))["node2"] == "lost"


@on_virtual_clock
async def test_the_history_is_limited() -> None:
    async with cluster(THREE) as c:
        for _ in range(HISTORY_LIMIT + 5):
            await c.value("fencing-confirm", target="node9")
        assert len((await c.value("fencing-history"))["history"]) == HISTORY_LIMIT
