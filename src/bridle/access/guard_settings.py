"""What a guard goes by, as a configuration has it: the member ``access`` of a daemon or the agent, or the
parameters of Kea's hook library for roles.

``access`` holds roles (:mod:`.configuration`), ``limits`` and ``audit``, each of which may be left out.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

import msgspec

from bridle.access.audit_settings import AuditSettings, read_audit
from bridle.access.commands import CommandTable
from bridle.access.configuration import find_access, read_access
from bridle.access.limits import LimitSettings
from bridle.access.limits_settings import read_limits
from bridle.access.policy import Policy
from bridle.access.reading import Given, Locate
from bridle.access.redaction import Redaction
from bridle.core.errors import ConfigurationError
from bridle.core.manager import Access, CommandDefinition
from bridle.core.messages import JSON, Path, Peer

__all__ = ["NO_SETTINGS", "GuardSettings", "read_guard", "read_guard_of"]

# Members of ``access`` besides roles.
_BESIDE = ("limits", "audit")


class GuardSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Roles, limits and audit, None where there are none."""

    policy: Policy | None = None
    limits: LimitSettings | None = None
    audit: AuditSettings | None = None
    commands: CommandTable = CommandTable()
    redaction: Redaction = Redaction()

    def governs(self, transport: str) -> bool:
        """Whether roles decide about all commands that come by a transport."""
        return self.policy is not None and self.policy.governs(Peer(transport=transport))

    def access_of(self, name: str, definition: CommandDefinition | None) -> Access:
        """The access class of a command: ``write`` where nobody knows."""
        known = self.commands.find(name, definition)
        return known.access if known is not None else "write"


NO_SETTINGS = GuardSettings()


def read_guard(
    root: Mapping[str, JSON], path: Path, locate: Locate, *, secrets: Collection[str] = ()
) -> GuardSettings | None:
    """Read what the configuration of a daemon, which stands at ``path``, says of access; None where it says
    nothing. ``secrets`` are the names of secrets that the daemon declares.

    Raises:
        ConfigurationError: with the position.
    """
    found = find_access(root, path, locate)
    if found is None:
        return None
    given, library = found
    return read_guard_of(given.value, given.path, locate, library=library, secrets=secrets)


def read_guard_of(
    value: JSON, path: Path, locate: Locate, *, library: bool = False, secrets: Collection[str] = ()
) -> GuardSettings:
    """Read the map ``access`` itself, which stands at ``path``; ``library``: the parameters of Kea's.

    Raises:
        ConfigurationError: with the position.
    """
    given = Given(value, path, locate)
    members = given.value if isinstance(given.value, dict) else {}
    policy: Policy | None = None
    if library or not isinstance(given.value, dict) or members.keys() - _BESIDE - {"user-context", "comment"}:
        policy = read_access(
            given.value, given.path, locate, library=library, beside=_BESIDE, secrets=secrets
        )
    try:
        limits = read_limits(members["limits"], [*given.path, "limits"]) if "limits" in members else None
        audit = read_audit(members["audit"], [*given.path, "audit"]) if "audit" in members else None
    except ConfigurationError as error:
        raise _placed(error, locate) from error
    return GuardSettings(
        policy=policy,
        limits=limits,
        audit=audit,
        commands=policy.commands if policy is not None else CommandTable(),
        redaction=policy.redaction if policy is not None else Redaction(secrets),
    )


def _placed(error: ConfigurationError, locate: Locate) -> ConfigurationError:
    if error.position or error.path is None:
        return error
    return Given(None, error.path, locate).error(error.text)
