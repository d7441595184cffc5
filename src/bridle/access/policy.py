"""The policy of a channel: which role a peer has, what the role may do, and what is kept from its answers.

Whoever guards a channel asks in this order: :meth:`Policy.governs`, :meth:`Policy.needs_tls`,
:meth:`Policy.role_of`, :meth:`Policy.decide`; and :meth:`Policy.filter_response` when there is an answer.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Literal, NamedTuple

import msgspec

from bridle.access.assignment import BY_GROUP, Assignment
from bridle.access.commands import CommandTable
from bridle.access.redaction import Redaction
from bridle.access.roles import Decision, Role, RoleRules
from bridle.access.rules import NamedCommand
from bridle.core.errors import RemoteProtocolError
from bridle.core.manager import CommandDefinition
from bridle.core.messages import HTTP_UNIX, JSON, Command, Peer, Response
from bridle.core.results import Result

__all__ = ["DEFAULT_ROLE", "FILTERS", "UNKNOWN_GROUPS", "UNKNOWN_ROLE", "Definitions", "Policy"]

DEFAULT_ROLE = "default-role"
UNKNOWN_ROLE = "unknown-role"
UNKNOWN_GROUPS = "unknown-groups"
"""What is told as the role of a peer that may do nothing, because its role depends on groups that cannot be
known."""

Definitions = Callable[[str], CommandDefinition | None]
"""Finds the declaration of a command by its name, as :meth:`bridle.CommandManager.definition` does."""

_HTTP = frozenset({"http", "https", HTTP_UNIX})
# Not HTTP on a unix socket: what goes through the kernel alone needs no TLS.
_CLEAR = frozenset({"http", "tcp", "udp"})


def _undeclared(name: str) -> CommandDefinition | None:
    return None


class Policy:
    """Roles, and who has them."""

    def __init__(
        self,
        *,
        assignments: Sequence[Assignment],
        roles: Mapping[str, Role],
        default_role: Role,
        unknown_role: Role,
        commands: CommandTable,
        require_tls: bool = False,
        channels: Literal["http", "all"] = "all",
        redaction: Redaction | None = None,
        named: Sequence[NamedCommand] = (),
    ) -> None:
        self.roles = roles
        self.default_role = default_role
        self.unknown_role = unknown_role
        self.commands = commands
        self.redaction: Redaction = redaction or Redaction()
        self.named: tuple[NamedCommand, ...] = tuple(named)
        """The commands that the rules name, and where: a name that nobody knows may be a typing error."""
        self._assignments = tuple(assignments)
        self.asks_plugins: bool = any(one.method == "custom-value" for one in self._assignments)
        """Whether the role of a peer may depend on what a plugin says."""
        self._unknown_groups = Role(UNKNOWN_GROUPS, RoleRules(), commands)
        self._require_tls = require_tls
        self._channels = channels

    def governs(self, peer: Peer) -> bool:
        """Whether the policy goes for a peer's channel: Kea's hook library sees HTTP alone."""
        return self._channels == "all" or peer.transport in _HTTP

    @property
    def asks_groups(self) -> bool:
        """Whether it depends on the unix groups of a peer which role it has."""
        return any(assignment.method == BY_GROUP for assignment in self._assignments)

    def needs_tls(self, peer: Peer) -> bool:
        """Whether a peer is to be sent away, unauthorized, because it came over a network without TLS."""
        return self._require_tls and peer.transport in _CLEAR

    def assigned(self, peer: Peer, *, service: str | None = None, custom: str | None = None) -> str | None:
        """The name of the role that is assigned to a peer; empty for none, and None where that depends on
        groups that cannot be known: what stands behind may be more than the peer should have."""
        for assignment in self._assignments:
            name = assignment.name_for(peer, service or "", custom)
            if name:
                return name
            if assignment.cannot_tell(peer, service or ""):
                return None
        return ""

    def role_of(self, peer: Peer, *, service: str | None = None, custom: str | None = None) -> Role:
        """The role of a peer: that of the name that is assigned to it; the unknown role where there is none
        of that name, the default role where no name is assigned. One that may do nothing where that depends
        on groups that cannot be known.

        ``custom`` is the value of the method ``custom-value``: whatever a plugin has found.
        """
        name = self.assigned(peer, service=service, custom=custom)
        if name is None:
            return self._unknown_groups
        return self.roles.get(name, self.unknown_role) if name else self.default_role

    def role(self, name: str) -> Role | None:
        """The role of a name, the default and the unknown role included; None if there is none."""
        others = {DEFAULT_ROLE: self.default_role, UNKNOWN_ROLE: self.unknown_role}
        return self.roles.get(name) or others.get(name)

    def decide(
        self,
        role: Role,
        command: Command,
        *,
        service: str | None = None,
        definition: CommandDefinition | None = None,
    ) -> Decision:
        """Whether a role may run a command. ``service`` is the one that it is for; None is the receiver,
        whose ``definition`` of the command is to be given, where it has one. Of several services each is
        decided by itself."""
        return role.decide(command, service, definition)

    def filter_response(
        self,
        role: Role,
        command: Command,
        response: Response,
        *,
        service: str | None = None,
        definitions: Definitions = _undeclared,
    ) -> Response:
        """What the role is shown of an answer: the role's response filters applied, and secrets masked unless
        the role reads them. ``definitions`` are those of the daemon that answered, where it is this one."""
        try:
            for name in role.rules.filters:
                if command.name in FILTERS[name].commands:
                    response = FILTERS[name].apply(role, command, response, service, definitions)
        except (RemoteProtocolError, ValueError) as error:
            return Response(Result.ERROR, f"the answer cannot be filtered: {error}", error=error)
        return response if role.reads_secrets else self.redaction.masked_response(response)

    @staticmethod
    def filters(role: Role, name: str) -> bool:
        """Whether a response filter of the role is for a command of that name."""
        return any(name in FILTERS[one].commands for one in role.rules.filters)


class Filter(NamedTuple):
    """A response filter, and the names of the commands whose answers it is for."""

    commands: frozenset[str]
    apply: Callable[[Role, Command, Response, str | None, Definitions], Response]


def _list_commands(
    role: Role, command: Command, response: Response, service: str | None, definitions: Definitions
) -> Response:
    """Leave out the commands that the role may not run, whatever their arguments."""
    listed = response.value

    def shown(item: JSON) -> bool:
        name = item.get("command") if isinstance(item, dict) else item
        return isinstance(name, str) and role.may_run(name, service, definitions(name))

    kept: JSON
    if isinstance(listed, list):
        kept = [item for item in listed if shown(item)]
    elif isinstance(listed, dict):
        kept = {name: item for name, item in listed.items() if shown(name)}
    else:
        return response
    return msgspec.structs.replace(response, arguments=kept)


# Kea's command, our own help, Kamailio's method, BNG Blaster's command.
_LISTING = frozenset({"list-commands", "command-help", "system.listMethods", "commands"})

FILTERS: dict[str, Filter] = {"list-commands": Filter(_LISTING, _list_commands)}
"""The response filters by name. Whoever adds one does so before a configuration is read."""
