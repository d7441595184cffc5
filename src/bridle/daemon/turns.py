"""Changes that take turns, until there are no more; and what is done to its end whoever waits for it."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Coroutine
from typing import Any

from bridle.core.errors import ConfigurationError

__all__ = ["Turns", "undisturbed"]

_log = logging.getLogger("bridle.daemon")

# Seconds in which a change that was told to end has gone back: only one that does not listen takes longer.
_BACK_TIMEOUT = 1.0
_ENDED = "the daemon ends: its configuration is not changed any more"


class Turns:
    """Changes, one after the other in the order in which they came."""

    def __init__(self) -> None:
        self._lock = asyncio.Lock()
        self._limit: asyncio.Timeout | None = None
        self.ended: bool = False
        """Whether there are no more."""
        self._over = False

    @contextlib.asynccontextmanager
    async def take(self) -> AsyncIterator[None]:
        """Wait for a turn, and hold it while the context is entered.

        Raises:
            ConfigurationError: there are no more turns, or this one took too long when they ended.
        """
        async with self._lock:
            if self.ended:
                raise ConfigurationError(_ENDED)
            limit = asyncio.timeout(None)
            try:
                async with limit:
                    self._limit = limit
                    yield
            except TimeoutError as error:
                if limit.expired():
                    raise ConfigurationError(_ENDED) from error
                raise
            finally:
                self._limit = None

    def settle(self) -> None:
        """Pass the point of no return: the end of all turns waits for this one.

        Raises:
            ConfigurationError: it has come before.
        """
        limit, self._limit = self._limit, None
        if self._over or limit is None or limit.expired():
            raise ConfigurationError(_ENDED)
        limit.reschedule(None)

    async def end(self, grace: float) -> None:
        """Let there be no more turns. One that is under way has ``grace`` seconds left."""
        self.ended = True
        try:
            if self._limit is not None and not self._limit.expired():
                self._limit.reschedule(asyncio.get_running_loop().time() + grace)
            async with asyncio.timeout(grace + _BACK_TIMEOUT), self._lock:
                pass
        except TimeoutError:
            _log.error("a change of the configuration does not end and is left behind")
        finally:
            self._over = True


async def undisturbed(work: Coroutine[Any, Any, None]) -> None:
    """Do something to its end. Whoever waits for it and is cancelled ends only then."""
    task = asyncio.ensure_future(work)
    cancelled: asyncio.CancelledError | None = None
    while not task.done():
        try:
            await asyncio.wait([task])
        except asyncio.CancelledError as error:
            cancelled = error
    task.result()
    if cancelled is not None:
        raise cancelled
