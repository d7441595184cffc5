"""A command that was let in, until it has ended: whatever becomes of it, it ends once."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Generator
from typing import Any, Generic, TypeVar

import msgspec

from bridle.access.audit import Audit
from bridle.access.known import Way
from bridle.access.limits import Turnstile
from bridle.access.policy import Policy
from bridle.access.roles import Role
from bridle.core.messages import Command, Peer, Response

__all__ = ["Promise", "Ticket"]

Work = TypeVar("Work")


class Ticket(msgspec.Struct, gc=False):
    """A command that was let in, until its answer is settled. ``access`` is its access class; ``service`` is
    the one behind the agent that it is for; ``began`` is a time of ``time.perf_counter``; ``peer`` is who
    sent it, with its role.

    It counts at its turnstile and holds its audit until :meth:`end`.
    """

    command: Command
    access: str
    service: str | None
    began: float
    policy: Policy | None
    role: Role | None
    peer: Peer
    audit: Audit | None
    turnstile: Turnstile | None
    way: Way | None = None

    def begin(self) -> Ticket:
        """The command is under way."""
        if self.turnstile is not None:
            self.turnstile.enter()
        if self.audit is not None:
            self.audit.hold()
        return self

    @property
    def writes(self) -> bool:
        """Whether the answer has to wait for the audit."""
        return self.audit is not None and self.access != "read"

    def end(self) -> Audit | None:
        """The command counts no more against the limits.

        What is returned is the audit that its line is for, which is to be released when it has it: None where
        there is none, or where the command has ended before.
        """
        turnstile, self.turnstile = self.turnstile, None
        if turnstile is not None:
            turnstile.leave()
        audit, self.audit = self.audit, None
        return audit


class Promise(Generic[Work]):
    """The answer of a command that was let in, to be waited for: what ``begin`` makes of the ticket and the
    ``work``. Where nobody begins to wait, as who asked was cut off before, ``abandon`` gets the ticket."""

    __slots__ = ("_abandon", "_begin", "_begun", "_ticket", "_work")

    def __init__(
        self,
        ticket: Ticket,
        work: Work,
        begin: Callable[[Ticket, Work], Coroutine[Any, Any, Response]],
        abandon: Callable[[Ticket], None],
    ) -> None:
        self._ticket = ticket
        self._work = work
        self._begin = begin
        self._abandon = abandon
        self._begun = False

    def __await__(self) -> Generator[Any, Any, Response]:
        self._begun = True
        return self._begin(self._ticket, self._work).__await__()

    def __del__(self) -> None:
        if self._begun:
            return
        if isinstance(self._work, Coroutine):
            self._work.close()
        self._abandon(self._ticket)
