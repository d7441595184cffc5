"""Where a daemon's log goes when a command line runs it: standard error, one line an event."""

from __future__ import annotations

import logging
import sys
from collections.abc import MutableMapping
from typing import Any

import structlog

from bridle.access.redaction import Redaction
from bridle.core.log_mask import LOG_MASK

__all__ = ["log_to_stderr"]

_LEVELS = {"FATAL": 50, "ERROR": 40, "WARN": 30, "INFO": 20, "DEBUG": 10}


def log_to_stderr(severity: str = "INFO") -> None:
    """Write events of this severity (Kea's names) and above to standard error."""
    render = (
        structlog.dev.ConsoleRenderer()
        if sys.stderr.isatty()
        else structlog.processors.LogfmtRenderer(key_order=["timestamp", "level", "logger", "event"])
    )
    handler = logging.StreamHandler()
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[
                structlog.stdlib.add_log_level,
                structlog.stdlib.add_logger_name,
                structlog.processors.TimeStamper(fmt="iso", utc=False),
            ],
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.format_exc_info,
                _mask,
                render,
            ],
        )
    )
    logging.basicConfig(level=_LEVELS.get(severity.upper(), 20), handlers=[handler], force=True)


def _mask(logger: object, name: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Secrets never reach the log: neither in a sentence nor in the text of an exception."""
    masks = LOG_MASK.masks or Redaction()
    return {key: masks.masked_member(key, value) for key, value in event.items()}
