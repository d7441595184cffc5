"""The guard of a daemon, by its configuration: made when there is something to guard, changed with it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Protocol

from bridle.core.errors import ConfigurationError
from bridle.core.manager import CommandManager
from bridle.core.messages import JSON
from bridle.daemon.document import Document

if TYPE_CHECKING:
    from bridle.access.guard import Guard, GuardChange
    from bridle.access.guard_settings import GuardSettings

__all__ = ["Guarded", "Guards", "GuardTransition", "has_access"]

ACCESS_KEY = "access"
_LIBRARY = "_rbac.so"


class Guarded(Protocol):
    """What is guarded."""

    manager: CommandManager
    guard: Guard | None

    @property
    def root(self) -> str:
        """The configuration's outermost name."""
        ...

    @property
    def secrets(self) -> tuple[str, ...]:
        """Names of secrets, besides those that everybody has."""
        ...


def has_access(root: Mapping[str, JSON]) -> bool:
    """Whether a daemon's configuration says anything of access."""
    libraries = root.get("hooks-libraries")
    return ACCESS_KEY in root or any(
        isinstance(item, dict) and str(item.get("library", "")).endswith(_LIBRARY)
        for item in (libraries if isinstance(libraries, list) else ())
    )


class Guards:
    """Keeps the guard of one daemon. ``use`` is told of the guard once there is one."""

    def __init__(self, daemon: Guarded, use: Callable[[Guard], None]) -> None:
        self._daemon = daemon
        self._use = use

    def read(self, document: Document) -> GuardSettings | None:
        """What a document says of access; None: nothing.

        Raises:
            ConfigurationError: with the position.
        """
        root = document.value.get(self._daemon.root)
        if not isinstance(root, dict) or not has_access(root):
            return None
        # Loaded only here: most daemons are guarded by the rights of a file alone.
        from bridle.access.guard_settings import read_guard

        try:
            return read_guard(root, [self._daemon.root], document.locate, secrets=self._daemon.secrets)
        except ConfigurationError as error:
            raise document.placed(error, [self._daemon.root]) from error

    async def prepare(self, document: Document) -> GuardTransition:
        """Get ready for what a document says; nothing changes before the transition is committed.

        Raises:
            ConfigurationError: it cannot be used.
        """
        settings = self.read(document)
        guard = self._daemon.guard
        if guard is None:
            if settings is None:
                return GuardTransition(None, None, self._install)
            from bridle.access.guard import Guard

            guard = Guard(self._daemon.manager.definition)
        if settings is None:
            from bridle.access.guard_settings import NO_SETTINGS

            settings = NO_SETTINGS
        return GuardTransition(guard, await guard.prepare(settings), self._install)

    def _install(self, guard: Guard) -> None:
        if self._daemon.guard is not guard:
            self._daemon.guard = guard
            self._use(guard)

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
