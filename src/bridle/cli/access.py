"""``bridle access``: why a role may or may not run a command, and whether a policy can be used."""

from __future__ import annotations

import os
import pwd
from collections.abc import Iterator
from pathlib import Path

import click
import msgspec
from msgspec import UNSET

from bridle.access.guard_settings import GuardSettings, read_guard, read_guard_of
from bridle.access.limits import Limit, LimitSettings, key_of
from bridle.access.policy import DEFAULT_ROLE, UNKNOWN_GROUPS, UNKNOWN_ROLE, Policy
from bridle.access.roles import Role
from bridle.access.tokens import Token, TokenFile
from bridle.cli.arguments import check_text, parse_arguments
from bridle.cli.failure import Failure
from bridle.core.errors import BridleError
from bridle.core.messages import JSON, Command, Peer
from bridle.core.results import ExitStatus
from bridle.daemon.document import parse_file

__all__ = ["command"]

# Exit status where the command is rejected: as for an answer with result 1.
_REJECTED = ExitStatus.ERROR


@click.group("access")
def command() -> None:
    """Look at who may do what, as a configuration file says.

    FILE is a daemon's or an agent's configuration with "access" in it, or with Kea's hook library
    libca_rbac.so or libdhcp_rbac.so; or it holds the policy alone.
    """


@command.command("check")
@click.argument("file", metavar="FILE")
def check(file: str) -> int:
    """Say whether the policy in FILE can be used, and which commands it names that nobody knows."""
    settings = _read(file)
    policy = settings.policy
    if policy is None:
        click.echo(f"{file}: there are no roles: everybody may do everything{_beside(settings)}")
        return 0
    for named in policy.named:
        if not policy.commands.knows(named.name):
            click.echo(f"{named.position}: no daemon that is known has a command '{named.name}'", err=True)
    click.echo(f"{file}: the policy can be used: {_roles(policy)}{_beside(settings)}")
    return 0


@command.command("explain")
@click.argument("name", metavar="COMMAND")
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
@click.option("-c", "file", metavar="FILE", required=True, help="The configuration file.")
@click.option("--as", "role_name", metavar="ROLE", help="The role that asks.")
@click.option("--user", metavar="NAME", help="Who asks: the user of Basic authentication.")
@click.option("--token", metavar="NAME", help="Who asks: the name of a bearer token.")
@click.option("--address", metavar="ADDRESS", help="Who asks: from this host.")
@click.option("--uid", metavar="USER", help="Who asks: this user on a unix socket, by name or number.")
@click.option("--subject", metavar="NAME", help="Who asks: the common name of a certificate.")
@click.option("--issuer", metavar="NAME", help="Who asks: the common name of a certificate's issuer.")
@click.option("--custom", metavar="VALUE", help="Who asks: the value of the method custom-value.")
@click.option("--service", metavar="NAME", help="The service that the command is for.")
def explain(
    name: str,
    arguments: tuple[str, ...],
    file: str,
    role_name: str | None,
    user: str | None,
    token: str | None,
    address: str | None,
    uid: str | None,
    subject: str | None,
    issuer: str | None,
    custom: str | None,
    service: str | None,
) -> int:
    """Say why a role may or may not run COMMAND: each rule that is looked at, and what it makes of it; before
    that, the limits that hold for who asks.

    The role is named by --as, or it is the one that the configuration gives to whoever is described by the
    other options. ARGUMENTS are those of "bridle call". The exit status is 0 if the command is accepted, 1 if
    it is rejected.

    Commands that a daemon defines itself have the access classes of the catalogue here, or of the
    configuration's "commands" and "api-files"; without any they count as "write".

    \b
    Examples:
      bridle access explain --as reader config-get -c /etc/kea/kea-ctrl-agent.conf
      bridle access explain --uid noc lease4-get subnet-id=5 --service dhcp4 -c agent.conf
    """
    for word in (name, *filter(None, (user, token, address, subject, issuer, custom, service))):
        check_text(word)
    body: JSON = parse_arguments(arguments)
    settings = _read(file)
    policy = settings.policy
    peer = _peer(user, token, address, uid, subject, issuer)
    found = _token(token, file) if token is not None else None
    if found is not None:
        peer = msgspec.structs.replace(peer, user=user or found.user or found.name, role=found.role or None)
    if policy is None:
        _tell_limits(settings.limits, peer, None)
        click.echo("accepted: there are no roles: everybody may do everything")
        return 0
    if role_name is None:
        role = _assigned(policy, peer, service, custom)
        if token is not None and found is None and role.name == DEFAULT_ROLE:
            click.echo(f"note: no token file of {file} has a token '{token}': its own role is not known")
    else:
        if peer != Peer() or custom is not None:
            raise click.UsageError("--as names the role: who asks makes no difference then")
        role = _named(policy, role_name)
    _tell_limits(settings.limits, peer, role.name if role_name or policy.governs(peer) else None)
    asked = Command(name, UNSET if body is None else body)
    for line in role.explain(asked, service):
        click.echo(line)
    return 0 if policy.decide(role, asked, service=service).allowed else _REJECTED


def _assigned(policy: Policy, peer: Peer, service: str | None, custom: str | None) -> Role:
    if not policy.governs(peer):
        click.echo("note: this policy is for HTTP alone; on other channels everybody may do everything")
    if policy.needs_tls(peer):
        click.echo("note: this policy requires TLS; without it everybody is refused")
    assigned = policy.assigned(peer, service=service, custom=custom)
    role = policy.role_of(peer, service=service, custom=custom)
    reasons = {
        DEFAULT_ROLE: ", for no role is assigned",
        UNKNOWN_GROUPS: ", for which groups it is in cannot be known",
        UNKNOWN_ROLE: f", for there is no role '{assigned}', which is assigned",
    }
    click.echo(f"role '{role.name}'{reasons.get(role.name, '') if role.name != assigned else ''}")
    return role


def _named(policy: Policy, name: str) -> Role:
    role = policy.role(name)
    if role is None:
        raise click.UsageError(f"there is no role '{name}': {_roles(policy)}")
    return role


def _tell_limits(limits: LimitSettings | None, peer: Peer, role: str | None) -> None:
    """Say what a peer may ask for, and what it shares with all peers of its role."""
    if limits is None:
        return
    bounds = _bounds(limits.peer)
    if bounds:
        key = key_of(peer)
        counted = f", here {key}" if key else ""
        click.echo(f"limits of each peer{counted}: at most {bounds}")
    bounds = _bounds(limits.roles.get(role or "", Limit()))
    if bounds:
        click.echo(f"limits of all peers of role '{role}' together: at most {bounds}")


def _bounds(limit: Limit) -> str:
    rate, burst = f"{limit.requests_per_second:.15g}", int(limit.depth)
    told = (
        (limit.requests_per_second, f"{rate} requests a second and {burst} at once"),
        (limit.in_flight, f"{limit.in_flight} commands in flight"),
        (limit.connections, f"{limit.connections} connections of one unix user or address"),
        (limit.body_size, f"{limit.body_size} bytes a command"),
    )
    return ", ".join(words for bound, words in told if bound)


def _roles(policy: Policy) -> str:
    names = ", ".join(policy.roles) or "none"
    return f"roles: {names}; and default-role, unknown-role"


def _beside(settings: GuardSettings) -> str:
    """What else the configuration has, in words."""
    told = ""
    if settings.limits is not None:
        told += f"; limits of each peer and of {len(settings.limits.roles)} roles"
    if settings.audit is not None:
        told += f"; an audit in {settings.audit.file}"
    return told


def _peer(
    user: str | None,
    token: str | None,
    address: str | None,
    uid: str | None,
    subject: str | None,
    issuer: str | None,
) -> Peer:
    if uid is not None:
        try:
            entry = pwd.getpwuid(int(uid)) if uid.isdecimal() else pwd.getpwnam(uid)
        except (KeyError, OverflowError) as error:
            if not uid.isdecimal():
                raise click.UsageError(f"there is no user '{uid}'") from error
            return Peer(transport="unix", uid=int(uid), groups=(), user=user, token=token)
        groups = tuple(os.getgrouplist(entry.pw_name, entry.pw_gid))
        return Peer(
            transport="unix", uid=entry.pw_uid, gid=entry.pw_gid, groups=groups, user=user, token=token
        )
    secured = subject is not None or issuer is not None
    if not (secured or user or token or address):
        return Peer()
    return Peer(
        transport="https" if secured else "http",
        address=address or "",
        tls_subject=subject,
        tls_issuer=issuer,
        user=user,
        token=token,
    )


def _token(name: str, file: str) -> Token | None:
    """The token of that name in the files whose tokens the configuration's listeners accept."""
    try:
        for listener in _maps(parse_file(file).value):
            given = listener.get("authentication")
            if isinstance(given, dict) and isinstance(given.get("tokens"), str):
                folder = given.get("directory")
                tokens = TokenFile(Path(str(folder or ""), str(given["tokens"]))).list()
                for token in tokens:
                    if token.name == name:
                        return token
    except BridleError as error:
        raise Failure(str(error), ExitStatus.ERROR) from error
    return None


def _maps(value: JSON) -> Iterator[dict[str, JSON]]:
    if isinstance(value, dict):
        yield value
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    for one in inner:
        yield from _maps(one)


def _read(file: str) -> GuardSettings:
    try:
        text = parse_file(file)
        root = next(iter(text.value), "")
        inner = text.value.get(root)
        if len(text.value) == 1 and isinstance(inner, dict) and root != "access":
            found = read_guard(inner, [root], text.position)
        else:
            found = read_guard(text.value, [], text.position)
        if found is not None:
            return found
        if "roles" in text.value:
            return read_guard_of(text.value, [], text.position)
    except BridleError as error:
        raise Failure(str(error), ExitStatus.ERROR) from error
    raise Failure(f"{file}: there is no policy: neither 'access' nor Kea's hook library", ExitStatus.ERROR)
