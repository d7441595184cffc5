"""What becomes of leases that ended (Kea's ``expired-leases-processing``).

A lease that ended is reclaimed: its name is taken out of DNS, and it is kept, or removed. Kept ones are
removed when they have been kept long enough; until then their client gets the same address again.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from typing import Any, Protocol, TypeVar

import msgspec

from bridle.bundled.dhcp.accounts import Accounts
from bridle.bundled.dhcp.leases import Lease4, Lease6, LeaseState
from bridle.bundled.dhcp.settings import ExpiredLeases
from bridle.bundled.dhcp.store import StoreError
from bridle.core.errors import ArgumentError
from bridle.core.manager import CommandManager
from bridle.core.messages import Command, Response
from bridle.daemon.arguments import argument
from bridle.daemon.statistics import Statistics

__all__ = ["SLICE", "Reclaimer"]

# Leases of one transaction; then packets have their turn.
SLICE = 100

_log = logging.getLogger("bridle.dhcp")

L = TypeVar("L", Lease4, Lease6)


class _Store(Protocol):
    def transaction(self) -> Any: ...

    def expired(self, now: int, limit: int) -> list[Any]: ...

    def delete_reclaimed(self, before: int) -> int: ...


class Reclaimer:
    """Reclaims the leases of a store, by command and from time to time.

    ``store`` gives the present store. ``released`` is told of each lease that had a name in DNS, ``freed``
    when there may be free addresses again.
    """

    def __init__(
        self,
        store: Callable[[], Any],
        statistics: Statistics,
        *,
        released: Callable[[Any], None] = lambda lease: None,
        freed: Callable[[], None] = lambda: None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._store = store
        self._statistics = statistics
        self._released = released
        self._freed = freed
        self._clock = clock
        self._settings = ExpiredLeases()
        self._tasks: list[asyncio.Task[None]] = []
        self._started = False
        self._unfinished = 0

    def use(self, settings: ExpiredLeases) -> None:
        """Let other settings hold."""
        changed = settings != self._settings
        self._settings = settings
        if changed and self._started:
            self.stop()
            self.start()

    def start(self) -> None:
        """Reclaim and remove from time to time."""
        self._started = True
        settings = self._settings
        loop = asyncio.get_running_loop()
        if settings.reclaim_timer_wait_time:
            self._tasks.append(loop.create_task(self._reclaim_for_ever(settings.reclaim_timer_wait_time)))
        if settings.flush_reclaimed_timer_wait_time:
            self._tasks.append(
                loop.create_task(self._flush_for_ever(settings.flush_reclaimed_timer_wait_time))
            )

    def stop(self) -> None:
        """Do so no more."""
        self._started = False
        for task in self._tasks:
            task.cancel()
        self._tasks.clear()

    async def _reclaim_for_ever(self, pause: float) -> None:
        while True:
            await asyncio.sleep(pause)
            settings = self._settings
            try:
                finished = await self.reclaim(settings.max_reclaim_leases, settings.max_reclaim_time)
            except StoreError as error:
                _log.error("expired leases are not reclaimed: %s", error)
                continue
            self._unfinished = 0 if finished else self._unfinished + 1
            if settings.unwarned_reclaim_cycles and self._unfinished == settings.unwarned_reclaim_cycles:
                _log.warning(
                    "expired leases are left after %d cycles: raise max-reclaim-leases or max-reclaim-time",
                    self._unfinished,
                )
                self._unfinished = 0

    async def _flush_for_ever(self, pause: float) -> None:
        while True:
            await asyncio.sleep(pause)
            try:
                self.flush()
            except StoreError as error:
                _log.error("reclaimed leases are not removed: %s", error)

    def flush(self) -> int:
        """Remove the reclaimed leases that were kept long enough; how many."""
        before = int(self._clock()) - self._settings.hold_reclaimed_time
        removed: int = self._store().delete_reclaimed(before)
        if removed:
            self._freed()
        return removed

    async def reclaim(self, limit: int = 0, milliseconds: int = 0, *, remove: bool = False) -> bool:
        """Reclaim leases that ended, so many and so long at most (0: all); True when none is left.

        ``remove`` removes them instead of keeping them for their clients.

        Raises:
            StoreError: the store failed.
        """
        ends = time.monotonic() + milliseconds / 1000
        done = 0
        while True:
            size = SLICE if not limit else min(SLICE, limit - done)
            count = self._reclaim_slice(size, remove=remove)
            done += count
            if count < size:
                return True
            if (limit and done >= limit) or (milliseconds and time.monotonic() >= ends):
                return False
            await asyncio.sleep(0)

    def _reclaim_slice(self, size: int, *, remove: bool) -> int:
        store: _Store = self._store()
        now = int(self._clock())
        with store.transaction():
            leases = store.expired(now, size)
            done = [lease for lease in leases if _reclaim(store, lease, remove=remove)]
        if done:
            accounts: Accounts[Any] = Accounts()
            for lease in done:
                accounts.reclaimed(lease)
            self._statistics.add_many(accounts.counts)
            self._freed()
            for lease, _ in accounts.names:
                self._released(lease)
        return len(leases)

    def register(self, manager: CommandManager) -> None:
        """Answer ``leases-reclaim``."""
        manager.register_command("leases-reclaim", self.leases_reclaim, access="write")

    async def leases_reclaim(self, command: Command) -> Response:
        """Reclaim all leases that ended; ``remove`` says whether they are removed, or kept for their clients.

        Those that were reclaimed and kept before stay."""
        remove = argument(command, "remove")
        if not isinstance(remove, bool):
            raise ArgumentError("'remove' parameter expected to be a boolean.", argument="remove")
        await self.reclaim(remove=remove)
        return Response(text="Reclamation of expired leases is complete.")


def _reclaim(store: Any, lease: Any, *, remove: bool) -> bool:
    if isinstance(lease, Lease6):
        if remove or lease.state == LeaseState.DECLINED:
            return bool(store.delete(lease.kind, lease.address))
    elif remove or lease.state == LeaseState.DECLINED:
        return bool(store.delete(lease.address))
    after = msgspec.structs.replace(
        lease, state=LeaseState.RECLAIMED, hostname="", fqdn_forward=False, fqdn_reverse=False
    )
    return bool(store.update(after, lease))
