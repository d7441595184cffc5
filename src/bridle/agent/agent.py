"""The agent: a daemon whose commands are mostly those of other daemons.

A command without ``service`` is its own; one with services is passed on to each of them at the same time, and
answered in the order asked. It does what Kea's Control Agent did (``facts/kea.md`` §2), from the same file.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar

import msgspec

from bridle.access.tls import client_context
from bridle.agent.configuration import AgentSettings, agent_channels, describe, read_settings
from bridle.agent.forwarding import Service, ServiceSettings, make_service, not_configured
from bridle.core.errors import ArgumentError, RemoteProtocolError
from bridle.core.manager import Outcome
from bridle.core.messages import JSON, Command, Response
from bridle.core.results import Result
from bridle.core.version import VERSION
from bridle.daemon.channel_settings import ChannelSettings
from bridle.daemon.daemon import Daemon, Phrases
from bridle.daemon.document import Document
from bridle.daemon.plugins import Plugins
from bridle.net.endpoint import Endpoint
from bridle.server import Answer, Pages
from bridle.server.http import answer_with, refusal_of
from bridle.wire.http import HttpResponse
from bridle.wire.kea_http import error, wrap_raw
from bridle.wire.kea_messages import (
    EnvelopeError,
    addressed_services,
    decode_answer,
    encode_answer,
    other_members,
)

if TYPE_CHECKING:
    from bridle.access.guard import Guard, Ticket
    from bridle.agent.bngblaster.controller import Controller
    from bridle.agent.bngblaster.settings import ControllerSettings

__all__ = ["SERVICES_LIMIT", "Agent"]

# Services of one command: more than any site has daemons on a host; each costs a task while it is asked.
SERVICES_LIMIT = 64

# Kea's names of how grave a message is.
SEVERITIES = {
    "FATAL": logging.CRITICAL,
    "ERROR": logging.ERROR,
    "WARN": logging.WARNING,
    "INFO": logging.INFO,
    "DEBUG": logging.DEBUG,
    "NONE": logging.CRITICAL + 1,
}

_log = logging.getLogger("bridle.agent")

_UNSUPPORTED = (
    "'{name}' command not supported. You did not include \"service\" parameter in the command, "
    "which indicates that Kea Control Agent should process this command rather than forward it to one or "
    "more Kea servers. If you aimed to send this command to one of the Kea servers you should include the "
    '"service" parameter in your request, e.g. "service": [ "dhcp4" ] to forward the command to the DHCPv4 '
    'server, or "service": [ "dhcp4", "dhcp6", "d2" ] to forward it to DHCPv4, DHCPv6 and D2 servers etc.'
)


class Agent(Daemon):
    """One HTTP endpoint in front of the daemons of a site.

    ``listen`` is an address to use in place of the configuration's, or the endpoint of a unix socket.
    """

    root: ClassVar[str] = "Control-agent"
    version: ClassVar[str] = VERSION
    phrases: ClassVar[Phrases] = Phrases(
        applied="Configuration applied successfully.",
        checked="Configuration check successful",
        reload_failed="Configuration parsing failed: {error}",
        unsupported_root="'arguments' parameter contains unsupported {names} parameter{more}",
        shutting_down="Control Agent is shutting down",
        unsupported=_UNSUPPORTED,
        hash_in_set=False,
    )

    def __init__(self, *, listen: tuple[str, int] | Endpoint | None = None) -> None:
        self._listen = listen
        self._services: dict[str, Service] = {}
        self._own = answer_with(self._execute)
        self._plugins = Plugins(self.manager)
        self._controller: Controller | None = None
        self._pages: Pages | None = None

    @property
    def banner(self) -> str:
        """What a browser reads that looks at the agent."""
        services = ", ".join(self._services) or "none yet"
        return (
            f"Bridle agent {self.version}. Services: {services}.\n"
            "Commands are POSTed here as application/json, for example:\n"
            '  { "command": "status-get", "service": [ "dhcp4" ] }\n'
        )

    @property
    def http_answer(self) -> Answer:
        """Commands over HTTP may be for services."""
        return self.answer

    @property
    def http_pages(self) -> Pages | None:
        """BNG Blaster's controller, where the configuration asks for one."""
        return self._pages

    def check_configuration(self, document: Document) -> AgentSettings:
        """Read the ``Control-agent`` map."""
        return read_settings(document)

    def describe_configuration(self, settings: object, document: Document) -> dict[str, JSON]:
        """The configuration with its defaults."""
        return describe(document)

    def control_channels(self, document: Document) -> Sequence[ChannelSettings]:
        """The HTTP listeners: a port, a unix socket, or both."""
        return agent_channels(document, self._listen)

    async def configure(self, configuration: object) -> None:
        """Use these services and plugins from the next command on. Commands on their way still come back."""
        assert isinstance(configuration, AgentSettings)
        services = {one.name: self._service(one) for one in configuration.services}
        self._control(configuration.controller)
        self._plugins.replace(configuration.plugins)
        _log_as(configuration.loggers)
        before, self._services = self._services, services
        for name, service in before.items():
            if services.get(name) is not service:
                service.close()

    def _control(self, settings: ControllerSettings | None) -> None:
        """Have a controller, or none. Instances go on in any case."""
        if settings is None:
            self._pages = None
            return
        # Loaded only here: an agent without a controller needs no Starlette.
        from bridle.agent.bngblaster.application import pages
        from bridle.agent.bngblaster.controller import Controller, prepare

        prepare(settings)
        if self._controller is None:
            self._controller = Controller(settings)
        self._controller.update(settings)
        self._pages = self._pages or pages(self._controller, lambda: self.guard)

    def _service(self, settings: ServiceSettings) -> Service:
        known = self._services.get(settings.name)
        if known is not None and known.settings == settings and settings.tls_files is None:
            return known
        tls = client_context(*settings.tls_files) if settings.tls_files else None
        return make_service(settings, tls)

    async def stop(self) -> None:
        """Close what is kept open to services, and unload the plugins."""
        for service in self._services.values():
            service.close()
        self._plugins.unload()
        if self._controller is not None:
            self._controller.close()

    def _execute(self, command: Command) -> Outcome:
        guard, run = self.guard, self.manager.process_command
        return run(command) if guard is None else guard.execute(command, run)

    def answer(self, command: Command) -> HttpResponse | Awaitable[HttpResponse]:
        """Answer a command, or have it answered by the services that it names."""
        try:
            services = addressed_services(command)
        except EnvelopeError as wrong:
            return error(str(wrong))
        if len(services) > SERVICES_LIMIT:
            return error(f"too many services: at most {SERVICES_LIMIT} are asked at once")
        if services:
            return self._forward(command, services)
        return self._own(command)

    async def _forward(self, command: Command, services: tuple[str, ...]) -> HttpResponse:
        guard = self.guard
        if guard is not None:
            return await self._forward_guarded(guard, command, services)
        if len(services) == 1:
            return wrap_raw([await self._ask(command, services[0])])
        return wrap_raw(await asyncio.gather(*(self._ask(command, name) for name in services)))

    async def _forward_guarded(
        self, guard: Guard, command: Command, services: tuple[str, ...]
    ) -> HttpResponse:
        """Each service is decided by itself. Where all refuse for who asks, so does HTTP."""
        tickets: list[Ticket | Response] = []
        try:
            tickets.extend(guard.admit(command, service=name) for name in services)
            first = tickets[0]
            if isinstance(first, Response) and all(isinstance(ticket, Response) for ticket in tickets):
                refused = refusal_of(first)
                if refused is not None:
                    return refused
            if len(services) == 1:
                return wrap_raw([await self._ask_guarded(guard, first, services[0])])
            asked = [self._ask_guarded(guard, *one) for one in zip(tickets, services, strict=True)]
            return wrap_raw(await asyncio.gather(*asked))
        finally:
            # Tasks that are cancelled before they begin do not do it.
            for ticket in tickets:
                if not isinstance(ticket, Response):
                    guard.abandon(ticket)

    async def _ask_guarded(self, guard: Guard, ticket: Ticket | Response, name: str) -> bytes:
        if isinstance(ticket, Response):
            return encode_answer(ticket)
        try:
            return await self._ask_let_in(guard, ticket, name)
        except Exception as failure:
            return _internal_error(ticket.command, name, failure)
        finally:
            guard.abandon(ticket)

    async def _ask_let_in(self, guard: Guard, ticket: Ticket, name: str) -> bytes:
        refusal = await guard.intend(ticket) if ticket.writes else None
        if refusal is not None:
            return encode_answer(refusal)
        try:
            command = ticket.command
            if guard.may_hold_masks(command):
                command = await self._restored(guard, command, name)
        except ArgumentError as error:
            response = Response(Result.ERROR, error.text, error=error)
            answer = encode_answer(response)
        else:
            leave = _Leave(guard, ticket)
            answer = await self._ask(command, name, leave)
            if leave.refusal is not None:
                return answer
            response, answer = _looked_into(answer, name, shown=guard.shows_all(ticket))
        shown = await guard.conclude(ticket, response) if ticket.writes else guard.settle(ticket, response)
        if guard.shows_all(ticket):
            return answer if shown is response else encode_answer(shown)
        return _written_anew(guard, ticket, answer, response, shown)

    async def _restored(self, guard: Guard, command: Command, name: str) -> Command:
        """A configuration in which secrets may be masked, with those that the service holds.

        Raises:
            ArgumentError: which secrets are meant cannot be told, or not what the service holds.
        """
        asked = Command("config-get", peer=command.peer, services=(name,))
        try:
            held = decode_answer(await self._ask(asked, name))
            value = held.value if held.result == Result.SUCCESS else None
        except RemoteProtocolError as error:
            # Without a mask it goes on nevertheless.
            _log.warning("what %s answers to config-get cannot be read: %s", name, error)
            value = None
        return guard.restored(command, value)

    async def _ask(self, command: Command, name: str, leave: _Leave | None = None) -> bytes:
        try:
            if self.manager.hooked:
                return await self._ask_with_hooks(command, name, leave)
            service = self._services.get(name)
            return not_configured(name) if service is None else await service.forward(command, leave)
        except Exception as failure:
            return _internal_error(command, name, failure)

    async def _ask_with_hooks(self, command: Command, name: str, leave: _Leave | None) -> bytes:
        refused = leave() if leave is not None else None
        if refused is not None:
            return refused
        alone = msgspec.structs.replace(command, services=(name,))
        intercepted = self.manager.intercept(alone)
        if intercepted is not None:
            if not isinstance(intercepted, Response):
                intercepted = await intercepted
            return encode_answer(self.manager.review(alone, intercepted))
        service = self._services.get(name)
        answer = not_configured(name) if service is None else await service.forward(command, leave)
        if not self.manager.reviews or (leave is not None and leave.refusal is not None):
            return answer
        try:
            response = decode_answer(answer)
        except RemoteProtocolError:
            # JSON, but no answer that a hook could look at; Kea passes it on, and so do we.
            return answer
        reviewed = self.manager.review(alone, response)
        return answer if reviewed is response else encode_answer(reviewed)


class _Leave:
    """The leave to pass a command on that was let in: it may be lost while the command waits. ``refusal`` is
    its answer then."""

    def __init__(self, guard: Guard, ticket: Ticket) -> None:
        self.refusal: bytes | None = None
        self._guard = guard
        self._ticket = ticket

    def __call__(self) -> bytes | None:
        refusal = self._guard.reconsider(self._ticket)
        self.refusal = None if refusal is None else encode_answer(refusal)
        return self.refusal


def _written_anew(guard: Guard, ticket: Ticket, answer: bytes, response: Response, shown: Response) -> bytes:
    """An answer of which something may be kept from who asked. Nothing of it is passed on that was not looked
    at: neither a member that no response has, nor the first of two of a name."""
    written = encode_answer(shown)
    if written == answer or shown.result != response.result:
        return written
    return encode_answer(shown, guard.shown_members(ticket, other_members(answer)))


def _internal_error(command: Command, name: str, failure: Exception) -> bytes:
    """What is answered for a service: its trouble is not to cost the others their answers."""
    _log.error("%r could not be passed on to %s", command.name, name, exc_info=failure)
    return encode_answer(Response(Result.ERROR, f"internal server error: {failure}"))


def _looked_into(answer: bytes, name: str, *, shown: bool) -> tuple[Response, bytes]:
    """What an answer says, and itself. JSON that is no answer is passed on if it may be ``shown`` unseen."""
    try:
        return decode_answer(answer), answer
    except RemoteProtocolError:
        if shown:
            return Response(arguments=msgspec.Raw(answer)), answer
    response = Response(Result.ERROR, f"the answer of {name} cannot be looked into, and so not be shown")
    return response, encode_answer(response)


def _log_as(loggers: Sequence[Mapping[str, JSON]]) -> None:
    """Use the severity that a configuration asks for; where the log goes is for whoever starts the agent."""
    logging.getLogger("bridle").setLevel(logging.NOTSET)  # what holds where the configuration is silent
    for logger in loggers:
        severity = str(logger.get("severity", "INFO")).upper()
        if severity in SEVERITIES:
            logging.getLogger("bridle").setLevel(SEVERITIES[severity])
        for key in ("output_options", "output-options"):
            outputs = logger.get(key, [])
            names = (
                [one.get("output") for one in outputs if isinstance(one, dict)]
                if isinstance(outputs, list)
                else []
            )
            if any(name not in ("stderr", "stdout") for name in names):
                _log.warning("loggers: %s are not used: the log goes to standard error", names)
