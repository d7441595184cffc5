"""Secrets do not reach the log: a filter on Bridle's own loggers, wherever what they tell goes.

It is there as soon as a daemon is served, by the command line or in a program that has a log of its own. What
handles, formats and levels there are is left to the program; so are loggers that are not Bridle's.

What finds secrets (:mod:`bridle.access.redaction`) is loaded with the first line that is told: a daemon that
tells nothing does without.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from typing import Any, Protocol
from weakref import WeakKeyDictionary

__all__ = ["LOGGERS", "LOG_MASK", "LogMask", "Masks"]


class Masks(Protocol):
    """Masks secrets."""

    def masked_text(self, text: str, /) -> str:
        """The text with its secrets masked; the same object where there are none."""
        ...

    def masked_member(self, name: str, value: Any, /) -> Any:
        """What a member of a map may be shown as."""
        ...


LOGGERS: tuple[str, ...] = (
    "bridle",
    "bridle.access",
    "bridle.agent",
    "bridle.audit",
    "bridle.bng",
    "bridle.cluster",
    "bridle.core",
    "bridle.daemon",
    "bridle.ddns",
    "bridle.dhcp",
    "bridle.dhcp4",
    "bridle.dhcp6",
    "bridle.http",
    "bridle.net",
    "bridle.net.libqb",
    "bridle.pacemaker",
    "bridle.plugins",
    "bridle.server",
)
"""Bridle's loggers. A filter holds for what is told to the very logger, so each needs it."""

_formatter = logging.Formatter()


class LogMask(logging.Filter):
    """Masks secrets in sentences and in the texts of exceptions. Knows the names that those who are served
    have declared."""

    def __init__(self) -> None:
        super().__init__()
        self._names: WeakKeyDictionary[object, frozenset[str]] = WeakKeyDictionary()
        self._make: Callable[[frozenset[str]], Masks] | None = None
        self._masks: Masks | None = None

    def install(self, make: Callable[[frozenset[str]], Masks]) -> None:
        """Look at what Bridle's loggers tell, those that a program has made below them included. ``make``
        gives what masks secrets, those of certain names besides the common ones."""
        self._make = make
        made = [name for name in list(logging.root.manager.loggerDict) if name.startswith("bridle.")]
        for name in (*LOGGERS, *made):
            logging.getLogger(name).addFilter(self)  # which does nothing where it is already

    def declare(self, who: object, names: Iterable[str]) -> None:
        """Know these names of secrets besides the common ones, as long as ``who`` is there and declares no
        others."""
        wanted = frozenset(names)
        if wanted == self._names.get(who, frozenset()):
            return
        self._names[who] = wanted
        self._masks = None

    @property
    def masks(self) -> Masks | None:
        """Knows the secrets of all who are served; None before it is installed."""
        if self._masks is None and self._make is not None:
            self._masks = self._make(frozenset().union(*self._names.values()))
        return self._masks

    def filter(self, record: logging.LogRecord) -> bool:
        """Mask what a record tells; it goes on in any case."""
        masks = self.masks
        if masks is None:
            return True
        try:
            told = record.getMessage()
        except Exception:  # logging says so itself, to whoever wrote it
            return True
        mask = masks.masked_text
        masked = mask(told)
        if masked is not told:
            record.msg, record.args = masked, ()
        if record.exc_info and not record.exc_text:
            trace = _formatter.formatException(record.exc_info)
            masked = mask(trace)
            if masked is not trace:
                record.exc_text = masked
        elif record.exc_text:
            record.exc_text = mask(record.exc_text)
        if record.stack_info:
            record.stack_info = mask(record.stack_info)
        return True


LOG_MASK = LogMask()
"""The one of the process."""
