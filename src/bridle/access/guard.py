"""The guard of a daemon's or an agent's channels: every command comes by here, whatever the channel.

::

    ticket = guard.admit(command, definition)
    if isinstance(ticket, Response): ...              # refused; nothing was done
    refusal = await guard.intend(ticket)              # only where ticket.writes
    response = ...                                    # the command is done, here or behind the agent
    response = guard.settle(ticket, response)         # or: await guard.conclude(ticket, response)

A command is let in when its peer's role may run it and its peer and role are within their limits. Its answer
is what the role may be shown of it; that of a command that writes is held back until the audit has it on the
disk. Without ``access`` in the configuration, the guard stands aside.

The decision is made on the :class:`~bridle.Command` that is executed, whatever bytes it was read from.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Awaitable, Callable
from typing import TypeAlias

import msgspec

from bridle.access.audit import Audit
from bridle.access.guard_settings import NO_SETTINGS, GuardSettings
from bridle.access.limits import Admission, Excess, Limits
from bridle.access.policy import Definitions, Policy
from bridle.access.redaction import MASK, Redaction
from bridle.access.restoring import restored_command
from bridle.access.roles import Role
from bridle.core.errors import ForbiddenError
from bridle.core.manager import CommandDefinition, Outcome
from bridle.core.messages import JSON, Command, Peer, Response
from bridle.core.results import Result

__all__ = ["Execute", "Guard", "GuardChange", "Ticket"]

Execute: TypeAlias = Callable[[Command], Outcome]
Custom: TypeAlias = Callable[[Command], "str | None"]

_Known: TypeAlias = "tuple[Peer, Role, Peer]"
"""A peer, its role, and both in one."""

# Peers whose roles are remembered: as many as are connected, mostly.
_PEERS = 2048
# Commands whose arguments are what config-get tells.
_CONFIGURING = frozenset({"config-set", "config-test"})

_log = logging.getLogger("bridle.access")


class Ticket(msgspec.Struct, gc=False):
    """A command that was let in, until its answer is settled. ``access`` is its access class; ``service`` is
    the one behind the agent that it is for; ``began`` is the guard's clock."""

    command: Command
    access: str
    service: str | None
    began: float
    policy: Policy | None
    role: Role | None
    audit: Audit | None
    limits: Limits | None
    admission: Admission | None

    @property
    def writes(self) -> bool:
        """Whether the answer has to wait for the audit."""
        return self.audit is not None and self.access != "read"

    def end(self) -> None:
        """The command counts no more against the limits."""
        admission, self.admission = self.admission, None
        if admission is not None and self.limits is not None:
            self.limits.leave(admission)


class Guard:
    """Lets commands in, or not, and looks at their answers.

    ``definitions`` finds the commands of the receiver by name. ``clock`` is a monotonic one, in seconds.
    ``custom`` finds the value of the method ``custom-value`` for a command: what a plugin has found.
    """

    def __init__(
        self,
        definitions: Definitions,
        clock: Callable[[], float] = time.perf_counter,
        *,
        custom: Custom | None = None,
    ) -> None:
        self.settings: GuardSettings = NO_SETTINGS
        self.audit: Audit | None = None
        self.asks_groups: bool = False
        """Whether peers need their supplementary groups."""
        self.on_asking_groups: Callable[[], None] | None = None
        """Called when other settings hold by which peers need them: those who are connected may not have
        any."""
        self._custom = custom
        self._definitions = definitions
        self._clock = clock
        self._policy: Policy | None = None
        self._limits: Limits | None = None
        self._active = False
        # Peers that are connected, and such as are just like others: clients come again and again.
        self._peers: dict[int, _Known] = {}
        self._alike: dict[Peer, _Known] = {}
        self._quick: dict[tuple[str, str], tuple[CommandDefinition | None, Role]] = {}

    @property
    def limits(self) -> Limits | None:
        """The limits that hold; None where there are none."""
        return self._limits

    @property
    def door(self) -> Callable[[Peer], str | Callable[[], None]] | None:
        """Lets a peer connect: what to call when the connection has ended, or the words that refuse it. None
        where connections are not limited."""
        limits = self._limits
        return limits.open_door if limits is not None and limits.settings.peer.connections else None

    @property
    def redaction(self) -> Redaction:
        """Knows the secrets."""
        return self.settings.redaction

    async def prepare(self, settings: GuardSettings) -> GuardChange:
        """Get ready to go by other settings; nothing changes before the change is committed.

        Raises:
            ConfigurationError: the audit cannot be opened.
        """
        known = self.audit
        if settings.audit is None:
            audit = None
        elif known is not None and known.settings == settings.audit:
            audit = known
        else:
            audit = await Audit.open(settings.audit, self._redacted)
        return GuardChange(self, settings, audit)

    def use(self, settings: GuardSettings, audit: Audit | None) -> None:
        """Go by these settings from the next command on."""
        if self._limits is None or settings.limits != self.settings.limits:
            self._limits = None if settings.limits is None else Limits(settings.limits)
        self.settings, self.audit, self._policy = settings, audit, settings.policy
        self._active = bool(settings.policy or self._limits or audit)
        self._peers.clear()
        self._alike.clear()
        self._quick.clear()
        self.asks_groups = settings.policy is not None and settings.policy.asks_groups
        if self.asks_groups and self.on_asking_groups is not None:
            self.on_asking_groups()

    async def close(self) -> None:
        """Write what the audit still has to write, and let everything pass from then on."""
        audit = self.audit
        self.use(NO_SETTINGS, None)
        if audit is not None:
            await audit.close()

    def status(self) -> dict[str, JSON]:
        """What ``status-get`` tells of it."""
        return {"audit": self.audit.status()} if self.audit is not None else {}

    def execute(self, command: Command, run: Execute, definitions: Definitions | None = None) -> Outcome:
        """Have a command run, if it is let in. ``definitions`` are those of a channel that has more commands
        than the receiver."""
        if not self._active:
            return run(command)
        definition = (definitions or self._definitions)(command.name)
        known = self._peers.get(id(command.peer))
        if known is None or known[0] is not command.peer:
            known = self._alike.get(command.peer)
        if known is not None:
            # What was decided before about a command that reads, whatever its arguments.
            quick = self._quick.get((known[1].name, command.name))
            if quick is not None and quick[0] is definition and quick[1] is known[1]:
                return self._run_again(command, run, known)
        ticket = self.admit(command, definition)
        if isinstance(ticket, Response):
            return ticket
        if ticket.writes:
            return self._write(ticket, run)
        try:
            outcome = run(command)
        except BaseException:
            self.abandon(ticket)
            raise
        if isinstance(outcome, Response):
            return self.settle(ticket, outcome)
        return self._later(ticket, outcome)

    def _run_again(self, command: Command, run: Execute, known: _Known) -> Outcome:
        role, limits, audit, began = known[1], self._limits, self.audit, self._clock()
        admission = None
        if limits is not None:
            entered = self._enter(limits, command, role, None)
            if isinstance(entered, Excess):
                return self._refuse(command, "read", entered.response(), role, None, entered.text)
            admission = entered
        try:
            outcome = run(command)
        except BaseException:
            self.abandon(self._ticket(command, role, began, admission))
            raise
        if not isinstance(outcome, Response):
            return self._later(self._ticket(command, role, began, admission), outcome)
        if limits is not None and admission is not None:
            limits.leave(admission)
        if audit is not None:
            seconds, request = self._clock() - began, command.request_id or None
            audit.record(command, "read", outcome.result, seconds, peer=known[2], request=request)
        if role.reads_secrets and not role.rules.filters:
            return outcome
        return self._shown(self._ticket(command, role, began, None), outcome)

    def _ticket(self, command: Command, role: Role, began: float, admission: Admission | None) -> Ticket:
        return Ticket(command, "read", None, began, self._policy, role, self.audit, self._limits, admission)

    async def _write(self, ticket: Ticket, run: Execute) -> Response:
        refusal = await self.intend(ticket)
        if refusal is not None:
            return refusal
        try:
            outcome = run(ticket.command)
            response = outcome if isinstance(outcome, Response) else await outcome
        except BaseException:
            self.abandon(ticket)
            raise
        return await self.conclude(ticket, response)

    async def _later(self, ticket: Ticket, outcome: Awaitable[Response]) -> Response:
        try:
            response = await outcome
        except BaseException:
            self.abandon(ticket)
            raise
        return self.settle(ticket, response)

    def admit(
        self,
        command: Command,
        definition: CommandDefinition | None = None,
        service: str | None = None,
        size: int | None = None,
    ) -> Ticket | Response:
        """Let a command in, or answer why not. ``service`` is the one behind the agent that it is for;
        ``size`` is that of its body in bytes, where the command does not hold it."""
        began = self._clock()
        policy, peer = self._policy, command.peer
        role: Role | None = None
        if policy is not None and policy.governs(peer):
            if policy.needs_tls(peer):
                return self._refuse(command, "", _unauthorized(), None, service, "it came without TLS")
            role = self._role_of(policy, command, service)
        access = self.access_of(command, definition)
        limits, admission = self._limits, None
        if limits is not None:
            entered = self._enter(limits, command, role, size)
            if isinstance(entered, Excess):
                return self._refuse(command, access, entered.response(), role, service, entered.text)
            admission = entered
        ticket = Ticket(command, access, service, began, policy, role, self.audit, limits, admission)
        if role is not None and policy is not None:
            decision = policy.decide(role, command, service=service, definition=definition)
            if not decision.allowed:
                ticket.end()
                return self._refuse(command, access, _forbidden(), role, service, decision.rule)
            if access == "read" and service is None and not decision.looked:
                self._remember(command.name, definition, role)
        if access != "read" and self.audit is not None:
            reason = self.audit.refuses()
            if reason is not None:
                ticket.end()
                return self._refuse(command, access, Response(Result.ERROR, reason), role, service, reason)
        return ticket

    def _remember(self, name: str, definition: CommandDefinition | None, role: Role) -> None:
        if definition is not None:  # names that nobody knows come from peers, and have no end
            self._quick[role.name, name] = (definition, role)

    def access_of(self, command: Command, definition: CommandDefinition | None) -> str:
        """The access class of a command: its declaration's, else that of the tables; ``write`` where nobody
        knows."""
        return self.settings.access_of(command.name, definition)

    def _role_of(self, policy: Policy, command: Command, service: str | None) -> Role:
        peer = command.peer
        if service is not None or policy.asks_plugins:
            # A peer may have another role for each service, and whenever a plugin has changed its mind.
            return policy.role_of(peer, service=service, custom=self._custom_of(policy, command))
        known = self._peers.get(id(peer))
        if known is not None and known[0] is peer:
            return known[1]
        known = self._alike.get(peer)
        if known is None:
            role = policy.role_of(peer)
            if len(self._alike) >= _PEERS:
                self._alike.clear()
            known = self._alike[peer] = (peer, role, _with_role(peer, role))
        if len(self._peers) >= _PEERS:
            self._peers.clear()
        self._peers[id(peer)] = (peer, known[1], known[2])
        return known[1]

    def _custom_of(self, policy: Policy, command: Command) -> str | None:
        if self._custom is None or not policy.asks_plugins:
            return None
        try:
            return self._custom(command)
        except Exception:
            _log.exception("what a plugin says of a peer's role cannot be had")
            return None

    def _enter(
        self, limits: Limits, command: Command, role: Role | None, size: int | None
    ) -> Admission | Excess:
        name = role.name if role is not None else None
        if size is None and limits.bounds_sizes and isinstance(command.body, msgspec.Raw):
            size = len(bytes(command.body))
        if size is not None:
            excess = limits.check_size(size, name)
            if excess is not None:
                return excess
        return limits.enter(command.peer, name)

    def _refuse(
        self,
        command: Command,
        access: str,
        response: Response,
        role: Role | None,
        service: str | None,
        reason: str,
    ) -> Response:
        _log.warning("%s refused: %s", command.name[:128].encode("unicode_escape").decode(), reason)
        if self.audit is not None:
            self.audit.record(
                _addressed(command, service),
                access,
                response.result,
                0.0,
                peer=_with_role(command.peer, role),
                reason=reason,
            )
        return response

    async def intend(self, ticket: Ticket) -> Response | None:
        """Before a command that writes is done: its line, where the audit wants one. What is returned is the
        refusal: nothing is to be done then."""
        audit = ticket.audit
        if audit is None or not audit.settings.intents:
            return None
        command = _addressed(ticket.command, ticket.service)
        try:
            durable = await audit.intend(command, ticket.access, peer=_with_role(command.peer, ticket.role))
        except BaseException:
            ticket.end()
            raise
        reason = None if durable else audit.refuses()
        if reason is None:
            return None
        ticket.end()
        return self._refuse(
            ticket.command,
            ticket.access,
            Response(Result.ERROR, reason),
            ticket.role,
            ticket.service,
            reason,
        )

    def settle(self, ticket: Ticket, response: Response) -> Response:
        """What is answered to a command that reads: what its role is shown; the audit has it soon."""
        ticket.end()
        audit = ticket.audit
        if audit is not None:
            self._record(audit, ticket, response.result)
        return self._shown(ticket, response)

    async def conclude(self, ticket: Ticket, response: Response) -> Response:
        """What is answered to a command that writes, once the audit has it on the disk."""
        ticket.end()
        audit = ticket.audit
        if audit is not None:
            command = _addressed(ticket.command, ticket.service)
            durable = await audit.commit(
                command,
                ticket.access,
                response.result,
                self._clock() - ticket.began,
                peer=_with_role(command.peer, ticket.role),
                request=command.request_id or None,
            )
            if not durable and audit.settings.on_failure == "refuse":
                return audit.undurable()
        return self._shown(ticket, response)

    def abandon(self, ticket: Ticket) -> None:
        """A command ended without an answer."""
        ticket.end()
        if ticket.audit is not None:
            self._record(ticket.audit, ticket, Result.ERROR, reason="it ended without an answer")

    def _record(self, audit: Audit, ticket: Ticket, result: int, reason: str | None = None) -> None:
        command = _addressed(ticket.command, ticket.service)
        audit.record(
            command,
            ticket.access,
            result,
            self._clock() - ticket.began,
            peer=_with_role(command.peer, ticket.role),
            request=command.request_id or None,
            reason=reason,
        )

    @staticmethod
    def may_hold_masks(command: Command) -> bool:
        """Whether a command sends a configuration in which secrets may be masked."""
        if command.name not in _CONFIGURING:
            return False
        body = command.body
        return not isinstance(body, msgspec.Raw) or MASK.encode() in bytes(body) or b"\\u" in bytes(body)

    def restored(self, command: Command, held: JSON) -> Command:
        """A command that sends a configuration, with the secrets of the one that is held in the places of
        their masks. ``held`` is what ``config-get`` tells to those who read secrets.

        Raises:
            ArgumentError: it is not clear which secret a mask stands for.
        """
        return restored_command(command, held, self.redaction)

    def shows_all(self, ticket: Ticket) -> bool:
        """Whether an answer is shown as it is, so that nobody has to look into it."""
        role = ticket.role
        return role is None or (role.reads_secrets and not role.rules.filters)

    def _shown(self, ticket: Ticket, response: Response) -> Response:
        if ticket.policy is None or ticket.role is None or self.shows_all(ticket):
            return response
        if ticket.service is not None:  # what it answers is about commands of its own
            return ticket.policy.filter_response(
                ticket.role, ticket.command, response, service=ticket.service
            )
        return ticket.policy.filter_response(
            ticket.role, ticket.command, response, definitions=self._definitions
        )

    def _redacted(self, command: Command) -> JSON | msgspec.UnsetType:
        definition = None if command.services else self._definitions(command.name)
        return self.redaction.masked_arguments(command, definition)


class GuardChange:
    """The way from one set of settings to another."""

    def __init__(self, guard: Guard, settings: GuardSettings, audit: Audit | None) -> None:
        self._guard = guard
        self._settings = settings
        self._audit = audit

    async def commit(self) -> None:
        """Let the new settings hold."""
        before = self._guard.audit
        self._guard.use(self._settings, self._audit)
        if before is not None and before is not self._audit:
            await before.close()

    async def rollback(self) -> None:
        """Stay with the old ones."""
        if self._audit is not None and self._audit is not self._guard.audit:
            await self._audit.close()


def _addressed(command: Command, service: str | None) -> Command:
    if service is None or command.services == (service,):
        return command
    return msgspec.structs.replace(command, services=(service,))


def _with_role(peer: Peer, role: Role | None) -> Peer:
    return peer if role is None or peer.role == role.name else msgspec.structs.replace(peer, role=role.name)


def _forbidden() -> Response:
    return ForbiddenError("Forbidden").response


def _unauthorized() -> Response:
    return ForbiddenError("Unauthorized", status=401).response
