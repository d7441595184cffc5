"""What becomes of leases that ended."""

from __future__ import annotations

import asyncio
import logging

import pytest

import bridle
from bridle.bundled.dhcp.leases import Lease4, Lease6, LeaseKind, LeaseState
from bridle.bundled.dhcp.reclaim import SLICE, Reclaimer
from bridle.bundled.dhcp.settings import ExpiredLeases
from bridle.bundled.dhcp.store_sqlite import MEMORY, SqliteStore4, SqliteStore6
from bridle.daemon.statistics import Statistics
from tests.support.loops import on_virtual_clock


class Site:
    """A store, and what reclaims in it, on the loop's clock."""

    def __init__(self) -> None:
        self.store = SqliteStore4(MEMORY)
        self.statistics = Statistics()
        self.released: list[Lease4] = []
        self.reclaimer = Reclaimer(
            lambda: self.store,
            self.statistics,
            released=self.released.append,
            clock=lambda: 1000 + asyncio.get_running_loop().time(),
        )

    def add(self, address: int, ends: int, **more: object) -> None:
        self.store.insert(
            Lease4(address=address, hw_address=b"x", valid_lifetime=100, cltt=ends - 100, subnet_id=1, **more)  # type: ignore[arg-type]
        )

    def states(self) -> dict[int, int]:
        return {lease.address: lease.state for lease in self.store.select()}


@on_virtual_clock
async def test_ended_leases_are_kept_for_their_clients_or_removed() -> None:
    site = Site()
    site.add(1, 900, hostname="a.example.", fqdn_forward=True)
    site.add(2, 1100)
    site.add(3, 950, state=LeaseState.DECLINED)
    assert await site.reclaimer.reclaim()
    assert site.states() == {1: LeaseState.RECLAIMED, 2: LeaseState.ASSIGNED}
    assert [lease.hostname for lease in site.released] == ["a.example."]
    assert site.store.get(1).hostname == ""  # type: ignore[union-attr]
    assert site.statistics["reclaimed-leases"] == site.statistics["subnet[1].reclaimed-leases"] == 2
    assert site.statistics["subnet[1].assigned-addresses"] == -2
    assert site.statistics["reclaimed-declined-addresses"] == 1
    await site.reclaimer.reclaim(remove=True)
    assert 1 in site.states(), "what is reclaimed already is not removed"
    site.add(4, 900)
    await site.reclaimer.reclaim(remove=True)
    assert 4 not in site.states()


@on_virtual_clock
async def test_the_command() -> None:
    site = Site()
    manager = bridle.CommandManager()
    site.reclaimer.register(manager)
    site.add(1, 900)
    answer = await manager.execute(bridle.Command("leases-reclaim", {"remove": False}))
    assert (answer.result, answer.text) == (0, "Reclamation of expired leases is complete.")
    assert site.states() == {1: LeaseState.RECLAIMED}


@on_virtual_clock
async def test_it_is_done_from_time_to_time_and_kept_for_a_while() -> None:
    site = Site()
    site.reclaimer.use(
        ExpiredLeases(reclaim_timer_wait_time=10, flush_reclaimed_timer_wait_time=25, hold_reclaimed_time=100)
    )
    site.reclaimer.start()
    site.add(1, 1005)
    await asyncio.sleep(9)
    assert site.states() == {1: LeaseState.ASSIGNED}
    await asyncio.sleep(2)
    assert site.states() == {1: LeaseState.RECLAIMED}
    await asyncio.sleep(90)
    assert 1 in site.states()
    await asyncio.sleep(30)
    assert site.states() == {}
    site.reclaimer.stop()
    site.add(2, 1000)
    await asyncio.sleep(50)
    assert site.states() == {2: LeaseState.ASSIGNED}


@on_virtual_clock
async def test_a_cycle_has_its_limits_and_says_when_it_cannot_keep_up(
    caplog: pytest.LogCaptureFixture,
) -> None:
    site = Site()
    for address in range(3 * SLICE):
        site.add(address, 900)
    assert not await site.reclaimer.reclaim(limit=150)
    assert sum(state == LeaseState.RECLAIMED for state in site.states().values()) == 150
    assert await site.reclaimer.reclaim()
    for address in range(5000, 5200):
        site.add(address, 900)
    site.reclaimer.use(
        ExpiredLeases(reclaim_timer_wait_time=10, max_reclaim_leases=10, unwarned_reclaim_cycles=3)
    )
    site.reclaimer.start()
    with caplog.at_level(logging.WARNING):
        await asyncio.sleep(25)
        assert "are left" not in caplog.text
        await asyncio.sleep(10)
        assert "expired leases are left after 3 cycles" in caplog.text
    site.reclaimer.stop()


@on_virtual_clock
async def test_prefixes_are_counted_as_such() -> None:
    store, statistics = SqliteStore6(MEMORY), Statistics()
    reclaimer = Reclaimer(lambda: store, statistics, clock=lambda: 1000.0)
    store.insert(
        Lease6(
            address=bytes(16),
            kind=LeaseKind.PREFIX,
            prefix_length=64,
            duid=b"x",
            iaid=1,
            preferred_lifetime=1,
            valid_lifetime=1,
            cltt=1,
            subnet_id=4,
        )
    )
    await reclaimer.reclaim()
    assert statistics["subnet[4].assigned-pds"] == -1
