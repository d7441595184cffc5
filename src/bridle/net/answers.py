"""What becomes of a command that a carrier hands on: the answer, and its bytes, whatever the handler does."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

from bridle.core.messages import Command, Response
from bridle.core.results import Result
from bridle.wire.dialect import ServerDialect

__all__ = ["CANCELLED", "Execute", "answer_of", "response_of", "unwritable"]

Execute = Callable[[Command], Response | Awaitable[Response]]

CANCELLED = Response(Result.ERROR, "the command was cancelled")
"""What a handler is answered with that gave up because something it waited for was cancelled."""

_log = logging.getLogger("bridle.net")


def answer_of(conversation: ServerDialect, command: Command, response: Response) -> bytes:
    """The answer in the dialect's form; where it cannot be written, an error that says so."""
    try:
        return conversation.respond(command, response)
    except Exception as error:
        return unwritable(conversation, command, error)


async def response_of(outcome: Awaitable[Response]) -> Response:
    """What a handler answers, once it does; :data:`CANCELLED` where what it waits for was cancelled.

    Raises:
        CancelledError: this task was cancelled.
    """
    try:
        return await outcome
    except asyncio.CancelledError:
        task = asyncio.current_task()
        if task is not None and task.cancelling():
            raise
        return CANCELLED


def unwritable(conversation: ServerDialect, command: Command, error: Exception) -> bytes:
    """The error in the place of an answer that cannot be written."""
    _log.error("the answer to %r cannot be written", command.name, exc_info=error)
    return conversation.respond(command, Response(Result.ERROR, f"the answer cannot be written: {error}"))
