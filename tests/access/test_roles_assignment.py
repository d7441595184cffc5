"""Which role a peer has: Kea's five methods, unix users and groups, tokens, and several in order."""

from __future__ import annotations

import grp
import os
import pwd

import pytest

from bridle.access.configuration import read_access
from bridle.access.policy import Policy
from bridle.core.messages import JSON, Peer

ME = pwd.getpwuid(os.getuid()).pw_name
MY_GROUP = grp.getgrgid(os.getgid()).gr_name


def policy(**members: JSON) -> Policy:
    roles: JSON = [{"name": name} for name in ("alice", "bob", "192.0.2.1", "ops", "reader", ME)]
    return read_access(
        {**{key.replace("_", "-"): value for key, value in members.items()}, "roles": roles},
        [],
        lambda path: "",
    )


@pytest.mark.parametrize(
    ("method", "peer", "custom", "role"),
    [
        ("remote-address", Peer(transport="http", address="192.0.2.1"), None, "192.0.2.1"),
        ("remote-address", Peer(transport="https", address="::ffff:192.0.2.1"), None, "192.0.2.1"),
        ("remote-address", Peer(transport="http", address="192.0.2.2"), None, "unknown-role"),
        ("remote-address", Peer(transport="unix", address="alice"), None, "default-role"),
        ("cert-subject", Peer(transport="https", tls_subject="alice", tls_issuer="bob"), None, "alice"),
        ("cert-subject", Peer(transport="https", tls_subject="Alice"), None, "unknown-role"),
        ("cert-subject", Peer(transport="https"), None, "default-role"),
        ("cert-subject", Peer(transport="https", user="alice"), None, "default-role"),
        ("cert-issuer", Peer(transport="https", tls_subject="alice", tls_issuer="bob"), None, "bob"),
        ("basic-authentication", Peer(transport="http", user="alice"), None, "alice"),
        ("basic-authentication", Peer(transport="http", tls_subject="alice"), None, "default-role"),
        ("basic-authentication", Peer(user="alice", token="alice"), None, "default-role"),
        ("basic-authentication", Peer(user="alice", role="reader"), None, "default-role"),
        ("basic-authentication", Peer(user="default-role"), None, "unknown-role"),
        ("custom-value", Peer(user="bob"), "alice", "alice"),
        ("custom-value", Peer(user="bob"), "", "default-role"),
        ("custom-value", Peer(user="bob"), None, "default-role"),
    ],
)
def test_kea_s_methods(method: str, peer: Peer, custom: str | None, role: str) -> None:
    assert policy(assign_role_method=method).role_of(peer, custom=custom).name == role
    assert policy(assign=[method]).role_of(peer, custom=custom).name == role


@pytest.mark.parametrize(
    ("assignment", "peer", "applies"),
    [
        ({"unix-user": ME}, Peer(uid=os.getuid()), True),
        ({"unix-user": os.getuid()}, Peer(uid=os.getuid()), True),
        ({"unix-user": [4000000, str(os.getuid())]}, Peer(uid=os.getuid()), True),
        ({"unix-user": ME}, Peer(uid=4000000), False),
        ({"unix-user": 0}, Peer(), False),
        ({"unix-user": ME}, Peer(user=ME), False),
        ({"unix-group": MY_GROUP}, Peer(uid=4000000, gid=os.getgid()), True),
        ({"unix-group": 4000001}, Peer(gid=1, groups=(3, 4000001)), True),
        ({"unix-group": [4000001, 4000002]}, Peer(gid=1, groups=(3, 4)), False),
        ({"unix-group": 4000001}, Peer(gid=1), False),
        ({"unix-group": 0}, Peer(), False),
        ({"remote-address": "192.0.2.0/24"}, Peer(transport="tcp", address="192.0.2.77"), True),
        ({"remote-address": "192.0.2.0/24"}, Peer(transport="tcp", address="::ffff:192.0.2.77"), True),
        ({"remote-address": ["2001:db8::/32", "::1"]}, Peer(transport="http", address="::1"), True),
        ({"remote-address": "fe80::/10"}, Peer(transport="http", address="fe80::1%eth0"), True),
        ({"remote-address": "192.0.2.0/24"}, Peer(transport="http", address="192.0.3.1"), False),
        ({"remote-address": "0.0.0.0/0"}, Peer(transport="unix", address="/run/x"), False),
        ({"remote-address": "0.0.0.0/0"}, Peer(transport="http", address="nonsense"), False),
        ({"cert-subject": ["a", "b"]}, Peer(tls_subject="b"), True),
        ({"cert-subject": ["a", "b"]}, Peer(tls_subject="c"), False),
        ({"cert-issuer": "a"}, Peer(tls_issuer="a"), True),
        ({"basic-authentication": "a"}, Peer(user="a"), True),
        ({"basic-authentication": "a"}, Peer(user="a", token="t"), False),
        ({"token": "ci"}, Peer(token="ci", user="a"), True),
        ({"token": "ci"}, Peer(user="ci"), False),
        ({"custom-value": "x"}, Peer(), False),
    ],
)
def test_an_assignment_with_a_role(assignment: dict[str, JSON], peer: Peer, applies: bool) -> None:
    given = policy(assign=[{**assignment, "role": "ops"}])
    assert given.role_of(peer).name == ("ops" if applies else "default-role")


def test_methods_alone() -> None:
    assert policy(assign=["unix-user"]).role_of(Peer(uid=os.getuid())).name == ME
    assert policy(assign=["unix-user"]).role_of(Peer(uid=4000000)).name == "default-role"
    assert policy(assign=["token"]).role_of(Peer(token="ci", role="reader")).name == "reader"
    assert policy(assign=["token"]).role_of(Peer(role="reader")).name == "reader"
    assert policy(assign=["token"]).role_of(Peer(token="ci")).name == "default-role"


def test_the_first_that_applies_counts() -> None:
    given = policy(
        assign=[
            {"unix-user": 4000000, "role": "ops"},
            {"cert-issuer": "our CA", "role": "reader"},
            "basic-authentication",
        ]
    )
    assert given.role_of(Peer(uid=4000000, user="alice")).name == "ops"
    assert given.role_of(Peer(tls_issuer="our CA", user="alice")).name == "reader"
    assert given.role_of(Peer(user="alice")).name == "alice"
    assert given.role_of(Peer(user="mallory")).name == "unknown-role"
    assert given.role_of(Peer()).name == "default-role"


def test_who_may_be_in_a_group_has_no_role_of_those_behind_it() -> None:
    given = policy(
        assign=[
            {"unix-user": 4000001, "role": "reader"},
            {"unix-group": 4000002, "role": "ops", "services": [""]},
            {"unix-user": 4000003, "role": "alice"},
        ],
        default_role={"accept-commands": "ALL"},
    )
    datagram = Peer(transport="unixd", uid=4000003, gid=4000003)
    unknown = given.role_of(datagram)
    assert (unknown.name, unknown.may_run("list-commands")) == ("unknown-groups", False)
    assert given.assigned(datagram) is None
    # What stands before is known, and so are the groups that the kernel tells.
    assert given.role_of(Peer(transport="unixd", uid=4000001, gid=1)).name == "reader"
    assert given.role_of(Peer(transport="unixd", uid=4000003, gid=4000002)).name == "ops"
    assert given.role_of(Peer(transport="unix", uid=4000003, gid=1, groups=())).name == "alice"
    assert given.role_of(datagram, service="dhcp4").name == "alice"  # the group is not asked for
    assert given.role_of(Peer(transport="tcp", address="192.0.2.1")).name == "default-role"


def test_an_assignment_may_be_for_some_services() -> None:
    given = policy(
        assign=[
            {"basic-authentication": "alice", "role": "ops", "services": ["dhcp4"]},
            {"basic-authentication": "alice", "role": "reader", "services": [""]},
        ]
    )
    alice = Peer(user="alice")
    assert given.role_of(alice, service="dhcp4").name == "ops"
    assert given.role_of(alice).name == "reader"
    assert given.role_of(alice, service="dhcp6").name == "default-role"


def test_without_any_configuration_of_its_own_a_role_may_do_nothing() -> None:
    given = policy(assign_role_method="basic-authentication")
    for role in (given.default_role, given.unknown_role, given.roles["alice"]):
        assert not role.may_run("list-commands")
