"""Which role a peer has: Kea's five methods (``facts/kea.md`` §3), unix users and groups, tokens; several
tried in order.

``assign-role-method`` names one of Kea's methods: what it finds is the name of the role. ``assign`` is a list
of assignments, the first that applies counts: a method's name alone does as in Kea; a map with the method as
its key has the values that it applies to, and the ``role`` that they get.
"""

from __future__ import annotations

import functools
import grp
import ipaddress
import pwd
from collections.abc import Callable
from typing import TypeAlias

import msgspec

from bridle.access.reading import Given
from bridle.core.messages import JSON, Peer

__all__ = ["ASSIGNMENTS_LIMIT", "BY_GROUP", "KEA_METHODS", "Assignment", "read_assignments", "read_services"]

# Assignments of one policy, each tried for every command; and values of one assignment.
ASSIGNMENTS_LIMIT = 1000
_VALUES_LIMIT = 1000
_SERVICES_LIMIT = 1000
_HIGHEST_ID = 0xFFFFFFFE

_Network: TypeAlias = ipaddress.IPv4Network | ipaddress.IPv6Network
_Test: TypeAlias = Callable[[Peer, str | None], bool]
_Value: TypeAlias = Callable[[Peer, str | None], str]

# Where a peer's address is that of its host, and not the name of a file.
_NETWORKED = frozenset({"http", "https", "tcp", "udp"})


class Assignment(msgspec.Struct, frozen=True):
    """One way to a role. Without ``role`` the name that the method finds is the role's. ``services`` are
    those for which it counts, None: all."""

    method: str
    value: _Value
    test: _Test | None = None
    role: str = ""
    services: frozenset[str] | None = None

    def name_for(self, peer: Peer, service: str, custom: str | None) -> str:
        """The name of the peer's role; empty where this assignment does not apply. Where groups decide, ask
        :meth:`cannot_tell` as well."""
        if self.services is not None and service not in self.services:
            return ""
        if self.test is None:
            return self.value(peer, custom)
        return self.role if self.test(peer, custom) else ""

    def cannot_tell(self, peer: Peer, service: str) -> bool:
        """Whether it is not known that this assignment does not apply: it looks at groups, and those of a
        local peer cannot be had. The kernel tells them of connections, and not with datagrams."""
        if self.method != BY_GROUP or peer.uid is None or peer.groups is not None:
            return False
        return self.services is None or service in self.services


def _address(peer: Peer, custom: str | None) -> str:
    return _plain(peer.address) if peer.transport in _NETWORKED else ""


def _subject(peer: Peer, custom: str | None) -> str:
    return peer.tls_subject or ""


def _issuer(peer: Peer, custom: str | None) -> str:
    return peer.tls_issuer or ""


def _basic(peer: Peer, custom: str | None) -> str:
    """Not whom a token vouches for: it may be for less than its user is."""
    return (peer.user or "") if peer.token is None and peer.role is None else ""


def _custom(peer: Peer, custom: str | None) -> str:
    return custom or ""


def _token(peer: Peer, custom: str | None) -> str:
    """The role that the token was made for."""
    return peer.role or ""


def _unix_user(peer: Peer, custom: str | None) -> str:
    if peer.uid is None:
        return ""
    try:
        return pwd.getpwuid(peer.uid).pw_name
    except (KeyError, OverflowError):
        return ""


_VALUES: dict[str, _Value] = {
    "remote-address": _address,
    "cert-subject": _subject,
    "cert-issuer": _issuer,
    "basic-authentication": _basic,
    "custom-value": _custom,
}
KEA_METHODS = tuple(_VALUES)
_ALONE: dict[str, _Value] = {**_VALUES, "token": _token, "unix-user": _unix_user}
BY_GROUP = "unix-group"
"""The method that looks at the groups of a peer."""
_METHODS = (*_ALONE, BY_GROUP)
_KEYS = frozenset({*_METHODS, "role", "services", "user-context", "comment"})
CERTIFIED = frozenset({"cert-subject", "cert-issuer"})
"""The methods that need a certificate, and with it TLS."""


def read_assignments(given: Given) -> tuple[Assignment, ...]:
    """Read ``assign-role-method`` or ``assign``.

    Raises:
        ConfigurationError: with the position.
    """
    if given.name == "assign-role-method":
        method = given.choice(*KEA_METHODS)
        return (Assignment(method, _VALUES[method]),)
    found = tuple(_assignment(item) for item in given.items(ASSIGNMENTS_LIMIT))
    if not found:
        raise given.error("'assign' must not be empty")
    return found


def _assignment(given: Given) -> Assignment:
    if isinstance(given.value, str):
        if given.value == BY_GROUP:
            raise given.error("'unix-group' needs a group and a role: a process may be in several")
        method = given.choice(*_ALONE)
        return Assignment(method, _ALONE[method])
    members = given.members(_KEYS, "assign")
    methods = [key for key in members if key in _METHODS]
    if len(methods) != 1:
        raise given.error(f"an assignment needs one of {', '.join(_METHODS)}")
    if "role" not in members:
        raise given.error("missing parameter 'role'")
    method = methods[0]
    return Assignment(
        method,
        _ALONE.get(method, _custom),
        _test(method, members[method]),
        members["role"].string(),
        read_services(members["services"]) if "services" in members else None,
    )


def read_services(given: Given) -> frozenset[str]:
    """Read a list of names of services; the empty name is the receiver itself.

    Raises:
        ConfigurationError: with the position.
    """
    items = list(given.items(_SERVICES_LIMIT))
    for item in items:
        if not isinstance(item.value, str):
            raise item.wrong_type()
    return frozenset(str(item.value) for item in items)


def _test(method: str, given: Given) -> _Test:
    items = list(given.one_or_more(_VALUES_LIMIT))
    if method == "remote-address":
        networks = [_network(item) for item in items]
        return lambda peer, custom: _within(_address(peer, custom), networks)
    if method == "unix-user":
        users = frozenset(_number(item, "user", lambda name: pwd.getpwnam(name).pw_uid) for item in items)
        return lambda peer, custom: peer.uid in users
    if method == BY_GROUP:
        groups = frozenset(_number(item, "group", lambda name: grp.getgrnam(name).gr_gid) for item in items)
        return lambda peer, custom: peer.gid in groups or not groups.isdisjoint(peer.groups or ())
    names = frozenset(item.string() for item in items)
    if method == "token":
        return lambda peer, custom: peer.token in names
    value = _VALUES[method]
    return lambda peer, custom: value(peer, custom) in names


def _number(given: Given, what: str, look_up: Callable[[str], int]) -> int:
    """The number of a user or group that is given by name or number."""
    value: JSON = given.value
    if type(value) is str:
        try:
            return look_up(value)
        except (KeyError, ValueError):
            if not (value.isascii() and value.isdecimal() and len(value) <= len(str(_HIGHEST_ID))):
                raise given.error(f"unknown {what} '{value}'") from None
            value = int(value)
    if type(value) is not int:
        raise given.wrong_type()
    if not 0 <= value <= _HIGHEST_ID:
        raise given.error(f"no {what} has the number {value}")
    return value


def _network(given: Given) -> _Network:
    text = given.string()
    try:
        return ipaddress.ip_network(text)
    except ValueError as error:
        raise given.error(f"'{text}' is no address or network: {error}") from error


@functools.lru_cache(maxsize=4096)
def _parsed(address: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return None
    mapped = parsed.ipv4_mapped if isinstance(parsed, ipaddress.IPv6Address) else None
    return mapped or parsed


def _plain(address: str) -> str:
    """An address as an administrator writes it: IPv4 also where a socket of IPv6 tells it."""
    parsed = _parsed(address)
    return str(parsed) if parsed is not None and address.startswith("::ffff:") else address


def _within(address: str, networks: list[_Network]) -> bool:
    parsed = _parsed(address) if address else None
    return parsed is not None and any(parsed in network for network in networks)
