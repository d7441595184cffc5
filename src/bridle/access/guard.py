"""The guard of a daemon's or an agent's channels: every command comes by here, whatever the channel.

::

    ticket = guard.admit(command, definition)
    if isinstance(ticket, Response): ...              # refused; nothing was done
    refusal = await guard.intend(ticket)              # only where ticket.writes
    refusal = guard.reconsider(ticket, definition)    # where it has waited since: for the audit, for its turn
    response = ...                                    # the command is done, here or behind the agent
    response = guard.settle(ticket, response)         # or: await guard.conclude(ticket, response)
    guard.abandon(ticket)                             # in a finally: nothing, where one of these was done

A command is let in when its peer's role may run it and its peer and role are within their limits. Its answer
is what the role may be shown of it; that of a command that writes is held back until the audit has it on the
disk. Without ``access`` in the configuration, the guard stands aside.

The decision is made on the :class:`~bridle.Command` that is executed, whatever bytes it was read from.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping
from time import perf_counter
from typing import TypeAlias, cast

import msgspec
from msgspec import UNSET

from bridle.access.audit import Audit
from bridle.access.audits import AuditChange, Audits
from bridle.access.catalogue import EVENT_COMMANDS, EVENTS
from bridle.access.guard_settings import NO_SETTINGS, GuardSettings
from bridle.access.known import Known, Way
from bridle.access.limits import Excess, Limits
from bridle.access.policy import Definitions, Policy
from bridle.access.redaction import MASK, Redaction
from bridle.access.restoring import restored_command
from bridle.access.roles import Role
from bridle.access.ticket import Promise, Ticket
from bridle.core.errors import ForbiddenError
from bridle.core.log_mask import LOG_MASK
from bridle.core.manager import CommandDefinition, Outcome
from bridle.core.messages import JSON, Command, Event, Peer, Response
from bridle.core.results import Result

__all__ = ["Execute", "Guard", "GuardChange", "Ticket"]

Execute: TypeAlias = Callable[[Command], Outcome]
Custom: TypeAlias = Callable[[Command], "str | None"]

# Peers that are remembered: as many as are connected, mostly. And what is remembered of all their commands.
_PEERS = 2048
_WAYS = 8192
# Characters of the longest name of a service that is remembered: peers may make up any.
_NAME_LIMIT = 128
# Commands whose arguments are what config-get tells.
_CONFIGURING = frozenset({"config-set", "config-test"})

_REFUSED = "%s refused: %s"

_log = logging.getLogger("bridle.access")


class Guard:
    """Lets commands in, or not, and looks at their answers.

    ``definitions`` finds the commands of the receiver by name. ``custom`` finds the value of the method
    ``custom-value`` for a command: what a plugin has found.
    """

    def __init__(
        self,
        definitions: Definitions,
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
        self._audits = Audits(self._redacted, self._masked_text)
        self._custom = custom
        self._definitions = definitions
        self._policy: Policy | None = None
        self._limits: Limits | None = None
        self._active = False
        self._sizes = False
        # By the peer, or by the service and the peer: clients come again and again, and are alike.
        self._known: dict[Peer | tuple[str, Peer], Known] = {}
        self._ways = 0
        # What was masked last: many clients are told of the same event.
        self._masked: tuple[Event, Event | None] | None = None

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
        return GuardChange(self, settings, await self._audits.prepare(self.audit, settings.audit))

    def use(self, settings: GuardSettings, audit: Audit | None) -> None:
        """Go by these settings from the next command on."""
        if self._limits is None or settings.limits != self.settings.limits:
            self._limits = None if settings.limits is None else Limits(settings.limits, perf_counter)
        self._sizes = self._limits is not None and self._limits.bounds_sizes
        self.settings, self.audit, self._policy = settings, audit, settings.policy
        self._active = bool(settings.policy or self._limits or audit)
        self._masked = None
        self._forget()
        LOG_MASK.declare(self, settings.redaction.names)
        self.asks_groups = settings.policy is not None and settings.policy.asks_groups
        if self.asks_groups and self.on_asking_groups is not None:
            self.on_asking_groups()

    async def close(self) -> None:
        """Write what the audit still has to write, and let everything pass from then on. Commands that were
        let in have a last second to end."""
        audit = self.audit
        self.use(NO_SETTINGS, None)
        await self._audits.close(audit)

    def status(self) -> dict[str, JSON]:
        """What ``status-get`` tells of it."""
        return {"audit": self.audit.status()} if self.audit is not None else {}

    def execute(self, command: Command, run: Execute, definitions: Definitions | None = None) -> Outcome:
        """Have a command run, if it is let in. ``definitions`` are those of a channel that has more commands
        than the receiver."""
        if not self._active:
            return run(command)
        # Every line here is run for every command: no calls but those that do the work.
        definition = (definitions or self._definitions)(command.name)
        known = self._known.get(command.peer)
        way = known.ways.get(command.name) if known is not None else None
        if known is None or way is None or way.definition is not definition or self._sizes:
            return self._execute(command, run, definition)
        began, turnstile, audit = perf_counter(), known.turnstile, self.audit
        if turnstile is not None:
            excess = turnstile.ask(began)
            if excess is not None:
                return self._refuse(command, "read", excess.response(), known.peer, None, excess.text)
        try:
            outcome = run(command)
        except BaseException:
            self.abandon(self._ticket(command, None, began, known, way))
            raise
        if not isinstance(outcome, Response):
            return self._promise(self._ticket(command, None, began, known, way), outcome)
        if audit is not None and way.origin:
            if command.body is UNSET and not command.services:
                audit.note(way.origin, outcome.result, began, perf_counter(), command.request_id)
            else:
                audit.record(command, "read", outcome.result, perf_counter() - began, peer=known.peer)
        if way.filters:
            return self._filtered(self._policy, known.role, command, outcome, None)
        return outcome if way.mask is None or outcome == way.clean else way.shown(outcome)

    def _execute(self, command: Command, run: Execute, definition: CommandDefinition | None) -> Outcome:
        """Have a command run that nothing is known of, or that does not only read."""
        ticket = self.admit(command, definition)
        if isinstance(ticket, Response):
            return ticket
        if ticket.writes:
            return Promise(ticket, (run, definition), self._write, self.abandon)
        try:
            outcome = run(command)
        except BaseException:
            self.abandon(ticket)
            raise
        if isinstance(outcome, Response):
            return self.settle(ticket, outcome)
        return self._promise(ticket, outcome)

    def _ticket(
        self,
        command: Command,
        service: str | None,
        began: float,
        known: Known,
        way: Way | None,
        access: str = "read",
    ) -> Ticket:
        policy, role, peer, turnstile = self._policy, known.role, known.peer, known.turnstile
        return Ticket(command, access, service, began, policy, role, peer, self.audit, turnstile, way).begin()

    def _promise(self, ticket: Ticket, outcome: Awaitable[Response]) -> Promise[Awaitable[Response]]:
        return Promise(ticket, outcome, self._later, self.abandon)

    async def _write(self, ticket: Ticket, work: tuple[Execute, CommandDefinition | None]) -> Response:
        run, definition = work
        try:
            refusal = await self.intend(ticket) or self.reconsider(ticket, definition)
            if refusal is not None:
                return refusal
            outcome = run(ticket.command)
            response = outcome if isinstance(outcome, Response) else await outcome
            return await self.conclude(ticket, response)
        finally:
            self.abandon(ticket)

    async def _later(self, ticket: Ticket, outcome: Awaitable[Response]) -> Response:
        try:
            return self.settle(ticket, await outcome)
        finally:
            self.abandon(ticket)

    def admit(
        self,
        command: Command,
        definition: CommandDefinition | None = None,
        service: str | None = None,
    ) -> Ticket | Response:
        """Let a command in, or answer why not. ``service`` is the one behind the agent that it is for."""
        began, peer = perf_counter(), command.peer
        known = self._known.get(peer if service is None else (service, peer)) or self._know(command, service)
        if known is None:
            return self._refuse(command, "", _unauthorized(), peer, service, "it came without TLS")
        way = known.ways.get(command.name)
        if way is not None and way.definition is not definition:
            way = None
        access = "read" if way is not None else self.access_of(command, definition)
        excess = self._excess(command, known, began)
        if excess is not None:
            return self._refuse(command, access, excess.response(), known.peer, service, excess.text)
        if way is not None:
            return self._ticket(command, service, began, known, way)
        policy, role = self._policy, known.role
        looked = False
        if role is not None and policy is not None:
            decision = policy.decide(role, command, service=service, definition=definition)
            if not decision.allowed:
                return self._refuse(command, access, _forbidden(), known.peer, service, decision.rule)
            looked = decision.looked
        if access == "read":
            if not looked:
                self._remember(known, command, service, definition)
        elif self.audit is not None:
            reason = self.audit.refuses()
            if reason is not None:
                response = Response(Result.ERROR, reason)
                return self._refuse(command, access, response, known.peer, service, reason)
        return self._ticket(command, service, began, known, None, access)

    def _remember(
        self, known: Known, command: Command, service: str | None, definition: CommandDefinition | None
    ) -> None:
        """Remember a command that is let in whatever its arguments. There are not many of these: what nobody
        knows does not count as reading."""
        if self._ways >= _WAYS:
            self._forget()
            return
        self._ways += 1
        role, audit = known.role, self.audit
        origin = b""
        if audit is not None:
            # That of a command which tells nothing else: what this one addresses is not what the next does.
            services = () if service is None else (service,)
            plain = Command(command.name, peer=command.peer, services=services)
            origin = audit.origin(plain, "read", known.peer)
        filters = role is not None and Policy.filters(role, command.name)
        masks = role is not None and not role.reads_secrets
        mask = self.settings.redaction.masked_response if masks else None
        known.ways[command.name] = Way(definition, origin, filters, mask)

    def subscribe(self, command: Command) -> Response:
        """Decide about the command that stands for being told of events: success, or the refusal. It is
        counted and audited like one that is run."""
        if not self._active:
            return Response()
        ticket = self.admit(command, self._definitions(command.name))
        if isinstance(ticket, Response):
            return ticket
        self._end(ticket, Result.SUCCESS)
        return Response()

    def shown_event(self, event: Event, peer: Peer) -> Event | None:
        """What a peer is told of an event, with the role that it has now; None: nothing."""
        policy = self._policy
        if policy is None:
            return event
        name = EVENT_COMMANDS.get(event.name, EVENTS)
        definition = self._definitions(name)
        if definition is None:
            name, definition = EVENTS, self._definitions(EVENTS)
        command = Command(name, peer=peer)
        known = self._known.get(peer) or self._know(command, None)
        if known is None:
            return None
        role = known.role
        if role is None:
            return event
        if not policy.decide(role, command, definition=definition).allowed:
            return None
        return event if role.reads_secrets else self._masked_event(event)

    def _masked_event(self, event: Event) -> Event | None:
        if self._masked is None or self._masked[0] is not event:
            try:
                data = self.redaction.masked(event.data)
            except (ValueError, RecursionError) as error:
                _log.error("the event %r cannot be shown: %s", event.name, error)
                self._masked = event, None
            else:
                same = data is event.data
                self._masked = event, event if same else msgspec.structs.replace(event, data=data)
        return self._masked[1]

    def _forget(self) -> None:
        self._known.clear()
        self._ways = 0

    def access_of(self, command: Command, definition: CommandDefinition | None) -> str:
        """The access class of a command: its declaration's, else that of the tables; ``write`` where nobody
        knows."""
        return self.settings.access_of(command.name, definition)

    def _know(self, command: Command, service: str | None) -> Known | None:
        """Find out who sent a command; None where it had to come by TLS and did not."""
        policy, peer, role = self._policy, command.peer, None
        asks_plugins = False
        if policy is not None and policy.governs(peer):
            if policy.needs_tls(peer):
                return None
            custom = self._custom_of(policy, command)
            role = policy.role_of(peer, service=service, custom=custom)
            asks_plugins = policy.asks_plugins  # which may change their mind
            peer = _with_role(peer, role)
        limits = self._limits
        turnstile = None
        if limits is not None:
            turnstile = limits.turnstile(command.peer, role.name if role is not None else None)
        known = Known(peer, role, turnstile)
        if not asks_plugins and len(service or "") <= _NAME_LIMIT:
            if len(self._known) >= _PEERS:
                self._forget()
            self._known[command.peer if service is None else (service, command.peer)] = known
        return known

    def _custom_of(self, policy: Policy, command: Command) -> str | None:
        if self._custom is None or not policy.asks_plugins:
            return None
        try:
            return self._custom(command)
        except Exception:
            _log.exception("what a plugin says of a peer's role cannot be had")
            return None

    def _excess(self, command: Command, known: Known, now: float) -> Excess | None:
        """What is too much, where something is. The request is counted where nothing is."""
        limits, turnstile, role = self._limits, known.turnstile, known.role
        if limits is None or turnstile is None:
            return None
        if limits.bounds_sizes:
            excess = limits.check_size(command.size, role.name if role is not None else None)
            if excess is not None:
                return excess
        return turnstile.ask(now)

    def _refuse(
        self,
        command: Command,
        access: str,
        response: Response,
        peer: Peer,
        service: str | None,
        reason: str,
    ) -> Response:
        _log.warning(_REFUSED, _readable(command.name), reason)
        if self.audit is not None:
            addressed = _addressed(command, service)
            self.audit.record(addressed, access, response.result, 0.0, peer=peer, reason=reason)
        return response

    async def intend(self, ticket: Ticket) -> Response | None:
        """Before a command that writes is done: its line, where the audit wants one. What is returned is the
        refusal: nothing is to be done then, and the ticket has ended."""
        audit = ticket.audit
        if audit is None or not audit.settings.intents:
            return None
        command = _addressed(ticket.command, ticket.service)
        durable = await audit.intend(command, ticket.access, peer=ticket.peer)
        reason = None if durable else audit.refuses()
        if reason is None:
            return None
        response = Response(Result.ERROR, reason)
        self._end(ticket, response.result, reason)
        _log.warning(_REFUSED, _readable(ticket.command.name), reason)
        return response

    def reconsider(self, ticket: Ticket, definition: CommandDefinition | None = None) -> Response | None:
        """Decide again about a command that has waited, right before it is done, where another policy holds
        meanwhile: its answer goes by that one then. What is returned is the refusal: nothing is to be done
        then, and the ticket is spent."""
        policy = self._policy
        if policy is None or policy is ticket.policy:  # where all is let in, the ticket's role goes on
            return None
        command, service = ticket.command, ticket.service
        known = self._known.get(command.peer if service is None else (service, command.peer))
        known = known or self._know(command, service)
        if known is None:
            refusal, reason = _unauthorized(), "it came without TLS"
        else:
            ticket.policy, ticket.role, ticket.peer, ticket.way = policy, known.role, known.peer, None
            if known.role is None:
                return None
            decision = policy.decide(known.role, command, service=service, definition=definition)
            if decision.allowed:
                return None
            refusal, reason = _forbidden(), decision.rule
        self._end(ticket, refusal.result, reason)
        _log.warning(_REFUSED, _readable(command.name), reason)
        return refusal

    def settle(self, ticket: Ticket, response: Response) -> Response:
        """What is answered to a command that reads: what its role is shown; the audit has it soon."""
        self._end(ticket, response.result)
        return self._shown(ticket, response)

    async def conclude(self, ticket: Ticket, response: Response) -> Response:
        """What is answered to a command that writes, once the audit has it on the disk."""
        audit = ticket.end()
        if audit is not None:
            command = _addressed(ticket.command, ticket.service)
            seconds = perf_counter() - ticket.began
            try:
                durable = await audit.commit(
                    command, ticket.access, response.result, seconds, peer=ticket.peer
                )
            finally:
                audit.release()
            if not durable and audit.settings.on_failure == "refuse":
                return audit.undurable()
        return self._shown(ticket, response)

    def abandon(self, ticket: Ticket) -> None:
        """A command ended without an answer. Of one that has ended before this is nothing, so that it can be
        called whatever happened."""
        self._end(ticket, Result.ERROR, "it ended without an answer")

    def _end(self, ticket: Ticket, result: int, reason: str = "") -> None:
        audit = ticket.end()
        if audit is not None:
            try:
                self._record(audit, ticket, result, reason)
            finally:
                audit.release()

    def _record(self, audit: Audit, ticket: Ticket, result: int, reason: str) -> None:
        way, command = ticket.way, ticket.command
        told = command.body is not UNSET or (ticket.service is None and command.services)
        if way is not None and not reason and not told:
            if way.origin:
                audit.note(way.origin, result, ticket.began, perf_counter(), command.request_id)
            return
        audit.record(
            _addressed(ticket.command, ticket.service),
            ticket.access,
            result,
            perf_counter() - ticket.began,
            peer=ticket.peer,
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

    def shown_members(
        self, ticket: Ticket, members: Mapping[str, JSON | msgspec.Raw]
    ) -> dict[str, JSON | msgspec.Raw]:
        """Members that an answer from behind the agent has besides a response's, as they are shown: none
        where one of them cannot be looked into."""
        if ticket.role is None or ticket.role.reads_secrets:
            return dict(members)
        shown = self.redaction.masked_response(Response(arguments=cast(JSON, dict(members)))).arguments
        return cast("dict[str, JSON | msgspec.Raw]", shown) if isinstance(shown, dict) else {}

    def _shown(self, ticket: Ticket, response: Response) -> Response:
        way = ticket.way
        if way is not None and not way.filters:
            return way.shown(response)
        return self._filtered(ticket.policy, ticket.role, ticket.command, response, ticket.service)

    def _filtered(
        self,
        policy: Policy | None,
        role: Role | None,
        command: Command,
        response: Response,
        service: str | None,
    ) -> Response:
        if policy is None or role is None or (role.reads_secrets and not role.rules.filters):
            return response
        if service is not None:  # what it answers is about commands of its own
            return policy.filter_response(role, command, response, service=service)
        return policy.filter_response(role, command, response, definitions=self._definitions)

    def _redacted(self, command: Command) -> JSON | msgspec.UnsetType:
        definition = None if command.services else self._definitions(command.name)
        # Nobody here knows the parameters of a service's commands. Those that only read take no secrets.
        reads = self.settings.access_of(command.name, definition) == "read"
        return self.redaction.masked_arguments(command, definition, shows_unnamed=reads)

    def _masked_text(self, text: str) -> str:
        return self.redaction.masked_text(text)


class GuardChange:
    """The way from one set of settings to another."""

    def __init__(self, guard: Guard, settings: GuardSettings, audit: AuditChange) -> None:
        self._guard = guard
        self._settings = settings
        self._audit = audit

    async def commit(self) -> None:
        """Let the new settings hold for commands that begin from now on. Nothing is waited for."""
        before = self._guard.audit
        self._guard.use(self._settings, self._audit.audit)
        self._audit.commit(before)

    async def rollback(self) -> None:
        """Stay with the old ones."""
        await self._audit.rollback()


def _readable(name: str) -> str:
    return name[:128].encode("unicode_escape").decode()


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
