"""The guard of a daemon, by its configuration: made when there is something to guard, changed with it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

from bridle.core.manager import CommandManager
from bridle.server import Server

if TYPE_CHECKING:
    from bridle.access.guard import Guard, GuardChange
    from bridle.access.guard_settings import GuardSettings

__all__ = ["GuardTransition", "Guarded", "Guards"]


class Guarded(Protocol):
    """What is guarded."""

    manager: CommandManager
    guard: Guard | None


class Guards:
    """Keeps the guard of one daemon, and has its server use it."""

    def __init__(self, daemon: Guarded, server: Server) -> None:
        self._daemon = daemon
        self._server = server

    async def prepare(self, settings: GuardSettings | None) -> GuardTransition:
        """Get ready for what a configuration says, None: nothing. Nothing changes before the transition is
        committed.

        Raises:
            ConfigurationError: the audit cannot be opened.
        """
        guard = self._daemon.guard
        if guard is None:
            if settings is None:
                return GuardTransition(None, None, self._install)
            from bridle.access.guard import Guard

            manager = self._daemon.manager
            guard = Guard(manager.definitions.get, custom=manager.custom_value)
        if settings is None:
            from bridle.access.guard_settings import NO_SETTINGS

            settings = NO_SETTINGS
        return GuardTransition(guard, await guard.prepare(settings), self._install)

    def _install(self, guard: Guard) -> None:
        self._daemon.guard = guard
        self._server.use_guard(guard)

    async def close(self) -> None:
        """Write what an audit still has to write."""
        guard, self._daemon.guard = self._daemon.guard, None
        if guard is not None:
            await guard.close()


class GuardTransition:
    """The way from the guard that there is to the one that is wanted."""

    def __init__(
        self, guard: Guard | None, change: GuardChange | None, install: Callable[[Guard], None]
    ) -> None:
        self._guard = guard
        self._change = change
        self._install = install

    async def commit(self) -> None:
        """Go by it from the next command on."""
        if self._guard is not None and self._change is not None:
            await self._change.commit()
            self._install(self._guard)

    async def rollback(self) -> None:
        """Stay with what there was."""
        if self._change is not None:
            await self._change.rollback()
