"""The audits of a guard: the one that holds, and those before it that commands still have lines for.

A command is in the audit that was there when it began: so is the one that changes the audit, or does away
with it. An audit that is not wanted any more is closed when the last of its commands has ended. Other
settings for the same file are exchanged while it is open, so that its chain goes on.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from bridle.access.audit import Audit, place_of
from bridle.access.audit_lines import Redactor
from bridle.access.audit_settings import AuditSettings

__all__ = ["LAST_COMMANDS", "AuditChange", "Audits"]

# Seconds that commands have to end when everything is closed. Their channels gave them time before, and have
# cancelled them: those that go on after that are waited for no longer.
LAST_COMMANDS = 1.0

_log = logging.getLogger("bridle.audit")


class Audits:
    """Opens the audits of a guard, and closes them. ``redact`` gives the arguments of a command as they may
    be written, ``mask`` any other text."""

    def __init__(self, redact: Redactor, mask: Callable[[str], str] = str) -> None:
        self._redact = redact
        self._mask = mask
        self._ending: dict[Audit, asyncio.Task[None]] = {}

    async def prepare(self, current: Audit | None, settings: AuditSettings | None) -> AuditChange:
        """Get ready for other settings than those of the ``current`` audit; nothing changes before that is
        committed.

        Raises:
            ConfigurationError: the file or its key cannot be used.
        """
        if settings is None:
            return AuditChange(self, None)
        known = await self._find(current, settings.file)
        if known is None:
            return AuditChange(self, await Audit.open(settings, self._redact, self._mask))
        known.hold()
        try:
            key = await known.prepare(settings)
        except BaseException:
            known.release()
            raise
        return AuditChange(self, known, settings, key)

    async def _find(self, current: Audit | None, file: str) -> Audit | None:
        """The audit that has a file open; one that is being closed is waited for."""
        place = place_of(file)
        if current is not None and current.place == place:
            return current
        for audit, end in tuple(self._ending.items()):
            if audit.place == place:
                if not audit.closed:
                    return audit
                await asyncio.wait([end])
        return None

    def keep(self, audit: Audit) -> None:
        """Leave an audit open that was to be closed."""
        end = self._ending.pop(audit, None)
        if end is not None:
            end.cancel()

    def retire(self, audit: Audit) -> None:
        """Close an audit as soon as nobody holds it."""
        self._ending[audit] = asyncio.get_running_loop().create_task(self._end(audit))

    async def _end(self, audit: Audit) -> None:
        try:
            await audit.unheld()
            await audit.close()
        finally:
            if self._ending.get(audit) is asyncio.current_task():
                del self._ending[audit]

    async def close(self, current: Audit | None) -> None:
        """Close all of them, within :data:`LAST_COMMANDS` seconds if the disk answers."""
        if current is not None:
            self.retire(current)
        if self._ending:
            await asyncio.wait(self._ending.values(), timeout=LAST_COMMANDS)
        for audit, end in tuple(self._ending.items()):
            if not audit.closed:
                _log.error("audit %s: commands that have not ended yet are not in it", audit.settings.file)
                end.cancel()
                await audit.close()
            await asyncio.wait([end])


class AuditChange:
    """The way to another audit, or to other ``settings`` and another ``key`` of one that is open and held.

    ``audit`` is the one that is to hold; None: there is to be none.
    """

    def __init__(
        self,
        audits: Audits,
        audit: Audit | None,
        settings: AuditSettings | None = None,
        key: bytes | None = None,
    ) -> None:
        self.audit: Audit | None = audit
        self._audits = audits
        self._settings = settings
        self._key = key

    def commit(self, before: Audit | None) -> None:
        """Have the audit hold, in the place of the one ``before``."""
        audit = self.audit
        if audit is not None and self._settings is not None:
            self._audits.keep(audit)
            audit.use(self._settings, self._key)
            audit.release()
        if before is not None and before is not audit:
            self._audits.retire(before)

    async def rollback(self) -> None:
        """Stay with what there was."""
        if self.audit is None:
            return
        if self._settings is None:
            await self.audit.close()
        else:
            self.audit.release()
