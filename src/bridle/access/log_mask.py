"""Secrets do not reach the log: a filter on Bridle's own loggers, wherever what they tell goes.

It is there as soon as a daemon is served, by the command line or in a program that has a log of its own. What
handles, formats and levels there are is left to the program; so are loggers that are not Bridle's.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from weakref import WeakKeyDictionary

from bridle.access.redaction import Redaction

__all__ = ["LOGGERS", "LOG_MASK", "LogMask"]

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
        self.redaction: Redaction = Redaction()
        """Knows the secrets of all who are served."""

    def install(self) -> None:
        """Look at what Bridle's loggers tell, those that a program has made below them included."""
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
        self.redaction = Redaction(frozenset().union(*self._names.values()))

    def filter(self, record: logging.LogRecord) -> bool:
        """Mask what a record tells; it goes on in any case."""
        try:
            told = record.getMessage()
        except Exception:  # logging says so itself, to whoever wrote it
            return True
        mask = self.redaction.masked_text
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
