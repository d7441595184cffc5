"""Resources run where they should, are watched, fail, and are recovered."""

from __future__ import annotations

import asyncio
import errno
from typing import Any

import pytest

from tests.support.cluster import Asker, cluster
from tests.support.loops import on_virtual_clock

DUMMY: dict[str, Any] = {"id": "dummy"}
TWO_MORE = [{"name": "node2"}, {"name": "node3"}]


def one_resource(**more: Any) -> dict[str, Any]:
    return {"imagined": {"resources": [DUMMY], **more}}


async def settle(c: Asker, seconds: float = 2.0) -> None:
    await asyncio.sleep(seconds)
    assert (await c.value("ping", subsystem="crmd"))["state"] == "S_IDLE"


@on_virtual_clock
async def test_a_resource_is_probed_started_and_monitored() -> None:
    async with cluster(one_resource()) as c:
        await settle(c)
        assert await c.active("dummy") == ["node1"]
        found = await c.operations("dummy")
        assert set(found) == {"dummy_last_0", "dummy_monitor_10000"}
        assert found["dummy_last_0"]["operation_key"] == "dummy_start_0"
        assert found["dummy_last_0"]["op-digest"] == "f2317cad3d54cec5d7d7aa7d0bf35cf8"
        assert found["dummy_monitor_10000"]["op-digest"] == "4811cef7f7f94e3a35a70be7916cb2fd"
        magic = found["dummy_last_0"]["transition-magic"]
        assert magic == f"0:0;{found['dummy_last_0']['transition-key']}"
        told: list[Any] = [event.data for event in c.events if event.name == "resource-executed"]
        assert [(one["action"], one["code"]) for one in told] == [
            ("monitor", 7),
            ("start", 0),
            ("monitor", 0),
        ]


@on_virtual_clock
async def test_while_an_agent_works_its_operation_is_pending() -> None:
    slow = {"agents": [{"action": "start", "behaviour": {"delay": 5000}}]}
    async with cluster(one_resource(**slow)) as c:
        await asyncio.sleep(2)
        assert (await c.value("ping", subsystem="crmd"))["state"] == "S_TRANSITION_ENGINE"
        found = await c.operations("dummy")
        assert (found["dummy_last_0"]["op-status"], found["dummy_last_0"]["rc-code"]) == ("-1", "193")
        assert await c.active("dummy") == []
        await settle(c, 5)
        assert (await c.operations("dummy"))["dummy_last_0"]["exec-time"] == "5000"


@on_virtual_clock
async def test_a_failed_monitor_counts_and_the_resource_is_recovered() -> None:
    failing = {"agents": [{"action": "monitor", "behaviour": {"failures": 0, "delay": 5}}]}
    async with cluster(one_resource(**failing)) as c:
        await settle(c)
        # The process is gone: the next monitor says so.
        c.daemon.world.agents.running.clear()
        await settle(c, 12)
        assert await c.active("dummy") == ["node1"]
        assert (await c.value("resource-list"))["resources"][0]["failures"] == {"node1": 1}
        (pair,) = await c.found("//nvpair[@name='fail-count-dummy#monitor_10000']")
        assert (pair.get("value"), pair.get("id")) == ("1", "status-1-fail-count-dummy.monitor_10000")
        failed = (await c.operations("dummy"))["dummy_last_failure_0"]
        assert (failed["operation"], failed["rc-code"]) == ("monitor", "7")


@on_virtual_clock
async def test_a_start_that_fails_bans_its_node() -> None:
    agents = [
        {"action": "start", "node": "node1", "behaviour": {"fails": 1.0, "code": 5, "reason": "no luck"}}
    ]
    async with cluster(one_resource(agents=agents, nodes=TWO_MORE)) as c:
        await settle(c)
        assert await c.active("dummy") == ["node2"]
        assert (await c.value("resource-list"))["resources"][0]["failures"] == {"node1": 1_000_000}
        failed = (await c.operations("dummy"))["dummy_last_failure_0"]
        assert (failed["rc-code"], failed["exit-reason"]) == ("5", "no luck")
        await c.value("attribute-clear-failures", resource="dummy")
        await settle(c)
        assert (await c.value("resource-list"))["resources"][0]["failures"] == {}


@on_virtual_clock
async def test_migration_threshold_moves_a_resource_that_keeps_failing() -> None:
    resource = {**DUMMY, "meta": {"migration-threshold": "2"}}
    async with cluster({"imagined": {"resources": [resource], "nodes": TWO_MORE}}) as c:
        await settle(c)
        for expected in ("node1", "node2"):
            await c.value("resource-fail", resource="dummy", node="node1")
            await settle(c)
            assert await c.active("dummy") == [expected]


@on_virtual_clock
async def test_an_action_that_takes_too_long_has_timed_out() -> None:
    agents = [{"action": "start", "behaviour": {"delay": 30_000}}]
    async with cluster(one_resource(agents=agents)) as c:
        await asyncio.sleep(30)
        failed = (await c.operations("dummy"))["dummy_last_failure_0"]
        assert (failed["op-status"], failed["exec-time"]) == ("2", "20000")


@on_virtual_clock
async def test_a_resource_is_stopped_and_started_by_command() -> None:
    async with cluster(one_resource()) as c:
        await settle(c)
        await c.value("resource-stop", resource="dummy")
        await settle(c)
        assert await c.active("dummy") == []
        assert (await c.operations("dummy"))["dummy_last_0"]["operation"] == "stop"
        await c.value("resource-start", resource="dummy")
        await settle(c)
        assert await c.active("dummy") == ["node1"]
        assert await c.refused("resource-start", resource="nosuch") == errno.ENXIO


@on_virtual_clock
async def test_a_resource_whose_stop_fails_is_left_alone() -> None:
    agents = [{"action": "stop", "behaviour": {"fails": 1.0}}]
    async with cluster(one_resource(agents=agents, nodes=TWO_MORE)) as c:
        await settle(c)
        await c.value("resource-stop", resource="dummy")
        await settle(c)
        assert await c.active("dummy") == ["node1"]


@on_virtual_clock
async def test_a_refresh_has_a_resource_looked_at_anew() -> None:
    async with cluster(one_resource()) as c:
        await settle(c)
        answer = await c.value("resource-refresh", resource="dummy", node="node1")
        assert (answer["operation"], answer["rc-code"], answer["node-id"]) == ("delete", 0, 1)
        found = await c.operations("dummy")
        assert [(one["operation"], one["op-status"]) for one in found.values()] == [("monitor", "-1")]
        await settle(c)
        found = await c.operations("dummy")
        # It ran on: the probe found it, which is noted, and it is not started again.
        assert found["dummy_last_0"]["operation"] == "monitor"
        assert found["dummy_last_failure_0"]["rc-code"] == "0"
        assert await c.active("dummy") == ["node1"]
        assert len(await c.found("//nvpair[@name='last-lrm-refresh']")) == 1
        assert await c.refused("resource-refresh", resource="dummy", node="nosuch") == errno.ENXIO


@on_virtual_clock
async def test_a_reprobe_looks_at_everything_anew() -> None:
    resources = [{"id": f"r{number}"} for number in range(5)]
    async with cluster({"imagined": {"resources": resources, "nodes": TWO_MORE}}) as c:
        await settle(c)
        await c.value("reprobe")
        assert await c.found("//lrm_rsc_op[@op-status='0']") == []
        await settle(c)
        assert len(await c.found("//lrm_resource")) == 15
        await c.value("reprobe", node="node2")
        assert await c.found("//node_state[@uname='node2']//lrm_rsc_op[@op-status='0']") == []
        assert len(await c.found("//node_state[@uname!='node2']//lrm_resource")) == 10
        await settle(c)


@on_virtual_clock
async def test_resources_are_spread_and_leave_a_node_in_standby() -> None:
    resources = [{"id": f"r{number}"} for number in range(6)]
    async with cluster({"imagined": {"resources": resources, "nodes": TWO_MORE}}) as c:
        await settle(c)
        places = [await c.active(f"r{number}") for number in range(6)]
        assert sorted(places) == [["node1"]] * 2 + [["node2"]] * 2 + [["node3"]] * 2
        standby = (
            '<node id="1" uname="node1"><instance_attributes id="nodes-1">'
            '<nvpair id="nodes-1-standby" name="standby" value="on"/></instance_attributes></node>'
        )
        await c.value("cib-modify", section="nodes", xml=standby)
        await settle(c)
        assert ["node1"] not in [await c.active(f"r{number}") for number in range(6)]


async def configured(c: Asker, section: str, xml: str) -> None:
    await c.value("cib-create", section=section, xml=xml)
    await settle(c)


@on_virtual_clock
async def test_constraints_place_and_order() -> None:
    resources = [{"id": "a"}, {"id": "b"}, {"id": "c"}]
    async with cluster({"imagined": {"resources": resources, "nodes": TWO_MORE}}) as c:
        await configured(c, "constraints", '<rsc_location id="l" rsc="a" node="node3" score="100"/>')
        assert await c.active("a") == ["node3"]
        await configured(c, "constraints", '<rsc_colocation id="k" rsc="b" with-rsc="a" score="INFINITY"/>')
        assert await c.active("b") == ["node3"]
        await configured(c, "constraints", '<rsc_colocation id="m" rsc="c" with-rsc="a" score="-INFINITY"/>')
        assert await c.active("c") != ["node3"]
        await configured(c, "constraints", '<rsc_location id="n" rsc="a" node="node3" score="-INFINITY"/>')
        assert await c.active("a") == await c.active("b") != ["node3"]
        await configured(c, "constraints", '<rsc_order id="o" first="b" then="c"/>')
        c.events.clear()
        for resource in ("b", "c"):
            await c.value("resource-stop", resource=resource)
        await settle(c)
        # Whatever has to come after another waits for that.
        await c.value("resource-start", resource="c")
        await settle(c)
        assert await c.active("c") == []
        await c.value("resource-start", resource="b")
        await settle(c)
        told: list[Any] = [event.data for event in c.events if event.name == "resource-executed"]
        starts = [one["resource"] for one in told if one["action"] == "start"]
        assert starts == ["b", "c"]


@on_virtual_clock
async def test_a_group_keeps_together_in_order() -> None:
    group = "".join(f'<primitive id="{name}" class="ocf" provider="p" type="T"/>' for name in ("x", "y", "z"))
    async with cluster({"imagined": {"nodes": TWO_MORE}}) as c:
        await configured(c, "resources", f'<group id="g">{group}</group>')
        assert await c.active("x") == await c.active("y") == await c.active("z") != []
        told: list[Any] = [event.data for event in c.events if event.name == "resource-executed"]
        assert [one["resource"] for one in told if one["action"] == "start"] == ["x", "y", "z"]
        c.events.clear()
        await c.value("resource-stop", resource="x")
        await settle(c)
        assert [await c.active(name) for name in ("x", "y", "z")] == [[], [], []]
        told = [event.data for event in c.events if event.name == "resource-executed"]
        assert [one["resource"] for one in told if one["action"] == "stop"] == ["z", "y", "x"]


@on_virtual_clock
async def test_a_clone_runs_everywhere() -> None:
    clone = '<clone id="all"><primitive id="x" class="ocf" provider="p" type="T"/></clone>'
    async with cluster({"imagined": {"nodes": TWO_MORE}}) as c:
        await configured(c, "resources", clone)
        assert await c.active("x") == ["node1", "node2", "node3"]


@on_virtual_clock
async def test_what_is_no_longer_configured_is_stopped_and_forgotten() -> None:
    async with cluster(one_resource()) as c:
        await settle(c)
        await c.value("cib-delete", xpath="//primitive")
        await settle(c)
        assert await c.operations("dummy") == {}
        assert c.daemon.world.agents.running == set()


@pytest.mark.parametrize(
    ("option", "value"),
    [("maintenance-mode", "true"), ("stonith-enabled", "true"), ("symmetric-cluster", "false")],
)
@on_virtual_clock
async def test_options_that_keep_resources_from_starting(option: str, value: str) -> None:
    """Without a fencing resource, fencing that is enabled keeps everything stopped, as in Pacemaker."""
    async with cluster(one_resource(properties={"stonith-enabled": "false", option: value})) as c:
        await settle(c)
        assert await c.active("dummy") == []


@on_virtual_clock
async def test_a_monitor_that_is_no_longer_configured_is_cancelled() -> None:
    async with cluster(one_resource()) as c:
        await settle(c)
        await c.value("cib-delete", xpath="//op")
        await settle(c)
        assert (await c.operations("dummy"))["dummy_monitor_10000"]["op-status"] == "1"
        c.daemon.world.agents.running.clear()
        await settle(c, 30)
        assert (await c.value("resource-list"))["resources"][0]["failures"] == {}


@on_virtual_clock
async def test_the_executor_does_what_clients_ask() -> None:
    async with cluster() as c:
        await c.value("resource-add", resource="mine", class_="ocf", provider="p", type_="T")
        assert (await c.value("resource-info", resource="mine"))["type"] == "T"
        answer = await c.value("resource-execute", resource="mine", action="start")
        assert (answer["rc-code"], answer["op-status"]) == (0, 0)
        call = (
            await c.value("resource-execute", resource="mine", action="monitor", interval=1000, wait=False)
        )["call"]
        assert call == answer["call-id"] + 1
        await asyncio.sleep(1)
        c.events.clear()
        c.daemon.world.agents.running.clear()
        await asyncio.sleep(3)
        ended: list[Any] = [event.data for event in c.events if event.name == "resource-executed"]
        assert [(one["call"], one["code"]) for one in ended] == [(call, 7)]
        await c.value("resource-cancel", resource="mine", action="monitor", interval=1000)
        assert (
            await c.refused("resource-cancel", resource="mine", action="monitor", interval=1000)
            == errno.ENOENT
        )
        await c.value("resource-remove", resource="mine")
        assert await c.refused("resource-remove", resource="mine") == errno.ENODEV
        assert await c.refused("resource-info", resource="mine") == errno.ENODEV
        assert await c.refused("resource-execute", resource="mine", action="start") == errno.ENODEV


@on_virtual_clock
async def test_the_same_seed_gives_the_same_run() -> None:
    agents = [{"behaviour": {"delay": 1, "delay-up-to": 900, "fails": 0.3}}]
    resources = [{"id": f"r{number}", "meta": {"migration-threshold": "3"}} for number in range(4)]

    async def run(seed: int) -> str:
        imagined = {"seed": seed, "agents": agents, "resources": resources, "nodes": TWO_MORE}
        async with cluster({"imagined": imagined}) as c:
            await asyncio.sleep(300)
            return str((await c.value("cib-query", section="status"))["cib"])

    assert await run(1) == await run(1) != await run(2)
