"""Every limit of the cluster daemon holds, and says so."""

from __future__ import annotations

import asyncio
import errno
from typing import Any

from bridle.bundled.cluster import executions, fencer, tree
from bridle.bundled.cluster.cluster import EVENTS_REMEMBERED
from bridle.bundled.cluster.controller import JOBS_LIMIT, SHORTEST_INTERVAL
from bridle.core.events import Gap
from tests.support.cluster import cluster
from tests.support.loops import on_virtual_clock


@on_virtual_clock
async def test_fencing_devices_and_levels() -> None:
    async with cluster() as c:
        for number in range(fencer.DEVICES_LIMIT):
            await c.value("fencing-device-add", id_=f"d{number}", agent="a")
            await c.value("fencing-level-add", target=f"n{number}", index=1, devices=["d1"])
        assert await c.refused("fencing-device-add", id_="one-more", agent="a") == errno.ENOSPC
        assert await c.refused("fencing-level-add", target="m", index=1, devices=["d1"]) == errno.ENOSPC
        await c.value("fencing-device-add", id_="d1", agent="another")


@on_virtual_clock
async def test_registered_resources_and_what_is_under_way() -> None:
    async with cluster() as c:
        agent = {"class": "ocf", "type": "T"}
        for number in range(executions.REGISTERED_LIMIT):
            await c.value("resource-add", resource=f"r{number}", **agent)
        assert await c.refused("resource-add", resource="one-more", **agent) == errno.ENOSPC
        later = {"action": "start", "start_delay": 3_600_000, "wait": False}
        for number in range(executions.UNDER_WAY_LIMIT):
            await c.value("resource-execute", resource=f"r{number}", **later)
        assert await c.refused("resource-execute", resource="r1", **later) == errno.EAGAIN


@on_virtual_clock
async def test_not_everything_is_done_at_once() -> None:
    resources = [{"id": f"r{number}"} for number in range(2 * JOBS_LIMIT)]
    agents = [{"action": "monitor", "behaviour": {"delay": 1000}}]
    async with cluster({"imagined": {"resources": resources, "agents": agents}}) as c:
        await asyncio.sleep(0.5)
        await c.ask("ping")
        assert len(await c.found("//lrm_rsc_op")) == JOBS_LIMIT
        await asyncio.sleep(1)
        assert len(await c.found("//lrm_rsc_op")) == 2 * JOBS_LIMIT


@on_virtual_clock
async def test_monitors_recur_no_faster_than_ten_times_a_second() -> None:
    asked = 0
    async with cluster() as c:
        outcome = c.daemon.world.agents.outcome

        def counting(*arguments: Any) -> Any:
            nonlocal asked
            asked += 1
            return outcome(*arguments)

        c.daemon.world.agents.outcome = counting  # type: ignore[method-assign]
        operation = '<operations><op id="o" name="monitor" interval="1ms"/></operations>'
        primitive = f'<primitive id="r" class="ocf" provider="p" type="T">{operation}</primitive>'
        await c.value("cib-create", section="resources", xml=primitive)
        await asyncio.sleep(10)
        await c.ask("ping")
        assert 90 <= asked <= 10 / SHORTEST_INTERVAL + 5


@on_virtual_clock
async def test_xml_is_no_larger_than_the_dialect_takes() -> None:
    async with cluster() as c:
        large = f'<a b="{"x" * tree.TEXT_LIMIT}"/>'
        assert await c.refused("cib-modify", xml=large) == errno.EINVAL


@on_virtual_clock
async def test_few_events_are_remembered() -> None:
    """Each may hold a CIB twice."""
    async with cluster() as c:
        for _ in range(EVENTS_REMEMBERED + 5):
            await c.value("cib-bump")
        events = c.daemon.events
        assert len(events.since(events.last - EVENTS_REMEMBERED)) == EVENTS_REMEMBERED
        try:
            events.since(0)
        except Gap:
            return
        raise AssertionError("a gap is told")


@on_virtual_clock
async def test_comments_are_left_out() -> None:
    async with cluster() as c:
        primitive = '<primitive id="x" class="ocf" provider="p" type="T"><!-- why --><?what?></primitive>'
        await c.value("cib-create", section="resources", xml=primitive)
        assert (await c.value("cib-query", section="resources"))["cib"] == (
            '<resources><primitive id="x" class="ocf" provider="p" type="T"/></resources>'
        )


@on_virtual_clock
async def test_a_level_for_a_pattern_is_not_supported() -> None:
    async with cluster() as c:
        code = await c.refused("fencing-level-add", pattern="n.*", index=1, devices=["d"])
        assert code == errno.EOPNOTSUPP


@on_virtual_clock
async def test_constraints_that_contradict_hang_nobody() -> None:
    resources = [{"id": f"r{number}"} for number in range(200)]
    constraints = "".join(
        f'<rsc_order id="o{n}" first="r{n}" then="r{(n + 1) % 200}"/>'
        f'<rsc_colocation id="c{n}" rsc="r{n}" with-rsc="r{(n + 1) % 200}" score="INFINITY"/>'
        for n in range(200)
    )
    async with cluster({"imagined": {"resources": resources}}) as c:
        await c.value("cib-replace", section="constraints", xml=f"<constraints>{constraints}</constraints>")
        await asyncio.sleep(5)
        assert (await c.value("ping", subsystem="crmd"))["state"] in ("S_IDLE", "S_TRANSITION_ENGINE")
