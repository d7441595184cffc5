"""Reads a policy from a configuration: Kea's language for its role-based access control (``facts/kea.md``
§3), as the ``parameters`` of a hook library or as a daemon's ``access``, with what Bridle has besides.

::

    "access": {
        "assign": [
            { "unix-user": "root", "role": "admin" },
            { "unix-group": "noc", "role": "reader" },
            "basic-authentication" ],
        "access-control-lists": [ { "tame": { "not": { "commands": [ "shutdown" ] } } } ],
        "roles": [
            { "name": "admin", "accept-commands": "ALL", "read-secrets": true },
            { "name": "reader", "accept-commands": { "and": [ "READ", "tame" ] } } ] }
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Literal

from bridle.access.assignment import CERTIFIED, Assignment, read_assignments, read_services
from bridle.access.commands import CommandTable, read_api_files, read_commands
from bridle.access.policy import DEFAULT_ROLE, FILTERS, UNKNOWN_ROLE, Policy
from bridle.access.reading import Given, Locate
from bridle.access.redaction import Redaction
from bridle.access.roles import Role, RoleRules
from bridle.access.rules import LISTS_LIMIT, PREDEFINED, RuleReader
from bridle.core.errors import ConfigurationError
from bridle.core.messages import JSON, Path

__all__ = ["ROLES_LIMIT", "find_access", "is_access_library", "read_access"]

_ACCESS = "access"
LIBRARIES = frozenset({"libca_rbac.so", "libdhcp_rbac.so"})
"""Kea's hook libraries whose parameters are a policy: that of its agent, and that of the daemons since
2.7.2."""

# Roles of one policy: more than anybody tells apart; each keeps some thousand decisions.
ROLES_LIMIT = 1000
# Names of secrets that a configuration adds.
_SECRETS_LIMIT = 1000

_EXTRA = ("user-context", "comment")
_GLOBAL = (
    "assign-role-method",
    "assign",
    "api-files",
    "require-tls",
    "commands",
    "access-control-lists",
    "roles",
    "default-role",
    "unknown-role",
    "channels",
    "secrets",
    *_EXTRA,
)
_UNNAMED = (
    "accept-commands",
    "reject-commands",
    "other-commands",
    "list-match-first",
    "response-filters",
    "services",
    "read-secrets",
    *_EXTRA,
)


def is_access_library(library: str) -> bool:
    """Whether a name in ``hooks-libraries`` is that of Kea's access control."""
    return library.rpartition("/")[2] in LIBRARIES


def find_access(root: Mapping[str, JSON], path: Path, locate: Locate) -> tuple[Given, bool] | None:
    """Where a daemon's configuration, which stands at ``path``, holds a policy, and whether that is Kea's
    hook library's; None where it has none.

    Raises:
        ConfigurationError: it has several.
    """
    whole = Given(dict(root), path, locate)
    found: list[tuple[Given, bool]] = []
    if _ACCESS in root:
        found.append((whole[_ACCESS], False))
    libraries = root.get("hooks-libraries")
    for index, item in enumerate(libraries if isinstance(libraries, list) else []):
        library = item.get("library") if isinstance(item, dict) else None
        if isinstance(item, dict) and isinstance(library, str) and is_access_library(library):
            given = whole["hooks-libraries"][index]
            found.append((given["parameters"] if "parameters" in item else given, True))
    if len(found) > 1:
        raise found[1][0].error("access control is configured twice")
    return found[0] if found else None


def read_access(
    value: JSON,
    path: Path,
    locate: Locate,
    *,
    library: bool = False,
    beside: Collection[str] = (),
    secrets: Collection[str] = (),
) -> Policy:
    """Read the policy that stands at ``path`` of a configuration.

    ``library`` says that it is the parameters of Kea's hook library: then it goes for HTTP alone unless
    ``channels`` says ``all``. ``beside`` are members of the map that somebody else reads, ``secrets`` the
    names of secrets that the daemon declares.

    Raises:
        ConfigurationError: with the position.
    """
    return _Reader(Given(value, path, locate), beside).policy(library, secrets)


class _Reader:
    def __init__(self, given: Given, beside: Collection[str]) -> None:
        self._given = given
        self._members = given.members((*_GLOBAL, *beside), _ACCESS)
        self._rules = RuleReader(self._lists())
        self._commands = self._table()

    def policy(self, library: bool, secrets: Collection[str]) -> Policy:
        members = self._members
        assignments = self._assignments()
        roles = self._roles()
        default, unknown = self._unnamed(DEFAULT_ROLE), self._unnamed(UNKNOWN_ROLE)
        self._rules.all()
        self._check_names()
        channels: Literal["http", "all"] = "http" if library else "all"
        if "channels" in members:
            channels = "http" if members["channels"].choice("http", "all") == "http" else "all"
        certified = all(one.method in CERTIFIED for one in assignments)
        return Policy(
            assignments=assignments,
            roles=roles,
            default_role=default,
            unknown_role=unknown,
            commands=self._commands,
            require_tls=members["require-tls"].boolean() if "require-tls" in members else certified,
            channels=channels,
            redaction=Redaction({*secrets, *self._secrets()}),
            named=self._rules.commands,
        )

    def _assignments(self) -> tuple[Assignment, ...]:
        given = [self._members[key] for key in ("assign-role-method", "assign") if key in self._members]
        if not given:
            raise self._given.error("missing parameter 'assign-role-method', or 'assign'")
        if len(given) > 1:
            raise given[1].error("'assign-role-method' and 'assign' are mutually exclusive")
        return read_assignments(given[0])

    def _lists(self) -> dict[str, Given]:
        found: dict[str, Given] = {}
        if "access-control-lists" in self._members:
            for item in self._members["access-control-lists"].items(LISTS_LIMIT):
                name, rule = item.single("an access control list")
                if not name or name in PREDEFINED:
                    raise rule.error(f"'{name}' cannot be the name of an access control list")
                if name in found:
                    raise rule.error(f"access control list '{name}' is defined twice")
                found[name] = rule
        return found

    def _table(self) -> CommandTable:
        members = self._members
        return CommandTable(
            read_commands(members["commands"]) if "commands" in members else None,
            read_api_files(members["api-files"]) if "api-files" in members else None,
        )

    def _roles(self) -> dict[str, Role]:
        found: dict[str, Role] = {}
        if "roles" in self._members:
            for item in self._members["roles"].items(ROLES_LIMIT):
                members = item.members(("name", *_UNNAMED), "roles")
                if "name" not in members:
                    raise item.error("missing parameter 'name'")
                name = members["name"].string()
                if name in found:
                    raise members["name"].error(f"role '{name}' is defined twice")
                found[name] = Role(name, self._role_rules(members), self._commands)
        return found

    def _unnamed(self, name: str) -> Role:
        given = self._members.get(name)
        rules = RoleRules() if given is None else self._role_rules(given.members(_UNNAMED, name))
        return Role(name, rules, self._commands)

    def _role_rules(self, members: Mapping[str, Given]) -> RoleRules:
        read = self._rules.read
        return RoleRules(
            accept=read(members["accept-commands"]) if "accept-commands" in members else None,
            reject=read(members["reject-commands"]) if "reject-commands" in members else None,
            others=_verb(members.get("other-commands"), "reject"),
            first=_verb(members.get("list-match-first"), "accept"),
            filters=_filters(members.get("response-filters")),
            services=read_services(members["services"]) if "services" in members else None,
            reads_secrets=members["read-secrets"].boolean() if "read-secrets" in members else False,
        )

    def _secrets(self) -> set[str]:
        given = self._members.get("secrets")
        return {item.string() for item in given.items(_SECRETS_LIMIT)} if given is not None else set()

    def _check_names(self) -> None:
        """Where a folder says which commands there are, others cannot be named, as in Kea."""
        if self._commands.complete:
            for named in self._rules.commands:
                if not self._commands.knows(named.name):
                    raise ConfigurationError(
                        f"command '{named.name}' is not defined", position=named.position
                    )


def _verb(given: Given | None, default: Literal["accept", "reject"]) -> Literal["accept", "reject"]:
    if given is None:
        return default
    return "accept" if given.choice("accept", "reject") == "accept" else "reject"


def _filters(given: Given | None) -> tuple[str, ...]:
    if given is None:
        return ()
    return tuple(item.choice(*FILTERS) for item in given.items(len(FILTERS)))
