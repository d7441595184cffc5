"""``bridle access``: why a role may or may not run a command, from a configuration file."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.support.bridle import command_line

POLICY = """
    "assign": [
        { "unix-user": 0, "role": "admin" },
        { "cert-subject": "noc", "role": "reader", "services": [ "dhcp4" ] },
        { "token": "ci", "role": "reader" },
        { "remote-address": "192.0.2.0/24", "role": "reader" },
        { "custom-value": "x", "role": "nobody" },
        "basic-authentication"
    ],
    "roles": [
        { "name": "admin", "accept-commands": "ALL" },
        { "name": "reader",
          "accept-commands": { "and": [ "READ", { "argument": "subnet-id", "in": [ 1, 9 ] } ] },
          "reject-commands": { "commands": [ "config-get", "confg-get" ] },
          "list-match-first": "reject" }
    ]
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    made = tmp_path / "agent.conf"
    made.write_text(f'// the agent\n{{ "Control-agent": {{ "http-port": 8000, "access": {{ {POLICY} }} }} }}')
    return made


def access(*words: str | Path) -> subprocess.CompletedProcess[str]:
    return command_line("access", *map(str, words))


def test_a_policy_is_checked(file: Path) -> None:
    ended = access("check", file)
    assert ended.returncode == 0
    assert ended.stdout == (
        f"{file}: the policy can be used: roles: admin, reader; and default-role, unknown-role\n"
    )
    assert ended.stderr == f"{file}:15.60-70: no daemon that is known has a command 'confg-get'\n"


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ('{ "D": {} }', "{f}: there is no policy: neither 'access' nor Kea's hook library"),
        ("{}", "{f}: there is no policy: neither 'access' nor Kea's hook library"),
        ('{ "D": {\n"access": 5 } }', "access is expected to be a map ({f}:2.11)"),
        (
            '{ "D": { "access": { "assign": [ "luck" ] } } }',
            (
                "'assign' is one of 'remote-address', 'cert-subject', 'cert-issuer', 'basic-authentication', "
                "'custom-value', 'token', 'unix-user', not 'luck' ({f}:1.34-39)"
            ),
        ),
        ("{", "{f}:1.2: syntax error, unexpected end of file"),
    ],
)
def test_what_is_wrong_is_told_with_its_place(file: Path, text: str, error: str) -> None:
    file.write_text(text)
    ended = access("check", file)
    assert ended.returncode == 1
    assert ended.stderr.startswith(f"bridle: {error.format(f=file)}")
    assert access("explain", "--as", "r", "c", "-c", file).stderr == ended.stderr


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    ended = access("check", tmp_path / "none")
    assert ended.returncode == 1
    assert ended.stderr == f"bridle: Unable to open file {tmp_path / 'none'}: No such file or directory\n"


@pytest.mark.parametrize(
    "text",
    [
        f"{{ {POLICY} }}",
        f'{{ "access": {{ {POLICY} }} }}',
        (
            '{ "Dhcp4": { "hooks-libraries": [ { "library": "x.so" }, '
            f'{{ "library": "/a/libdhcp_rbac.so", "parameters": {{ {POLICY} }} }} ] }} }}'
        ),
        '{ "Dhcp4": { "access": <?include "policy.json"?> } }',
    ],
)
def test_a_policy_may_stand_in_several_places(file: Path, text: str) -> None:
    file.write_text(text)
    (file.parent / "policy.json").write_text(f"{{ {POLICY} }}")
    ended = access("explain", "--as", "admin", "shutdown", "-c", file)
    assert ended.returncode == 0, ended.stderr


def test_an_explanation_shows_the_rules(file: Path) -> None:
    ended = access("explain", "--as", "reader", "lease4-get", "subnet-id=10", "-c", file)
    assert ended.returncode == 1
    assert ended.stdout == (
        "command 'lease4-get': access read, of the library 'lease_cmds'\n"
        "reject-commands:\n"
        "  commands config-get, confg-get: does not match\n"
        "accept-commands:\n"
        "  and: does not match\n"
        "    READ: matches\n"
        "    argument subnet-id in [1, 9]: does not match\n"
        "rejected: role 'reader' rejects 'lease4-get': no list matches, and other-commands is reject\n"
    )
    assert access("explain", "--as", "reader", "lease4-get", "subnet-id=9", "-c", file).returncode == 0


@pytest.mark.parametrize(
    ("words", "role", "status"),
    [
        (["--uid", "0"], "role 'admin'", 0),
        (["--uid", "root"], "role 'admin'", 0),
        (["--user", "admin"], "role 'admin'", 0),
        (["--user", "bob"], "role 'unknown-role', for there is no role 'bob', which is assigned", 1),
        (["--custom", "x"], "role 'unknown-role', for there is no role 'nobody', which is assigned", 1),
        ([], "role 'default-role', for no role is assigned", 1),
        (["--subject", "noc"], "role 'default-role', for no role is assigned", 1),
        (["--subject", "noc", "--service", "dhcp4"], "role 'reader'", 1),
        (["--token", "ci", "--user", "admin"], "role 'reader'", 1),
        (["--address", "192.0.2.9"], "role 'reader'", 1),
        (["--issuer", "noc"], "role 'default-role', for no role is assigned", 1),
        (["--uid", "4000000"], "role 'default-role', for no role is assigned", 1),
    ],
)
def test_the_role_of_whoever_is_described_is_shown(
    file: Path, words: list[str], role: str, status: int
) -> None:
    ended = access("explain", *words, "shutdown", "-c", file)
    assert ended.stdout.splitlines()[0] == role, ended.stderr
    assert ended.returncode == status


def test_what_goes_before_roles_is_noted(file: Path) -> None:
    file.write_text(
        '{ "Dhcp4": { "hooks-libraries": [ { "library": "libdhcp_rbac.so", "parameters": '
        '{ "assign-role-method": "cert-subject" } } ] } }'
    )
    ended = access("explain", "--uid", "0", "shutdown", "-c", file)
    assert ended.stdout.splitlines()[0] == (
        "note: this policy is for HTTP alone; on other channels everybody may do everything"
    )
    ended = access("explain", "--user", "x", "shutdown", "-c", file)
    assert ended.stdout.splitlines()[0] == "note: this policy requires TLS; without it everybody is refused"


@pytest.mark.parametrize(
    ("words", "error"),
    [
        (
            ["--as", "boss", "c"],
            "there is no role 'boss': roles: admin, reader; and default-role, unknown-role",
        ),
        (["--as", "admin", "--user", "bob", "c"], "--as names the role: who asks makes no difference then"),
        (["--uid", "no such user", "c"], "there is no user 'no such user'"),
        (["--as", "admin"], "Missing argument 'COMMAND'."),
        (["--as", "admin", "c", "a=1", "b"], "'b' is not KEY=VALUE, as the other arguments are"),
    ],
)
def test_wrong_usage(file: Path, words: list[str], error: str) -> None:
    ended = access("explain", *words, "-c", file)
    assert ended.returncode == 64
    assert ended.stderr.splitlines()[-1] == f"Error: {error}"


LIMITS = """
    "limits": {
        "peer": { "requests-per-second": 100, "burst": 200, "in-flight": 16, "connections": 32,
                  "body-size": 1048576 },
        "roles": { "reader": { "requests-per-second": 2.5, "body-size": 4096 },
                   "default-role": { "requests-per-second": 0.5 }, "admin": { } }
    }
"""
OF_A_PEER = (
    "at most 100 requests a second and 200 at once, 16 commands in flight, 32 connections of one unix user "
    "or address, 1048576 bytes a command"
)
OF_READERS = (
    "limits of all peers of role 'reader' together: at most 2.5 requests a second and 2 at once, 4096 bytes "
    "a command"
)
OF_OTHERS = "limits of all peers of role 'default-role' together: at most 0.5 requests a second and 1 at once"


@pytest.mark.parametrize(
    ("words", "lines"),
    [
        (["--as", "reader"], [f"limits of each peer: {OF_A_PEER}", OF_READERS]),
        (["--as", "admin"], [f"limits of each peer: {OF_A_PEER}"]),
        (["--token", "ci"], ["role 'reader'", f"limits of each peer: {OF_A_PEER}", OF_READERS]),
        (["--uid", "0"], ["role 'admin'", f"limits of each peer, here uid 0: {OF_A_PEER}"]),
        (
            ["--address", "192.0.2.9"],
            ["role 'reader'", f"limits of each peer, here 192.0.2.9: {OF_A_PEER}", OF_READERS],
        ),
        (
            ["--token", "ci", "--user", "amy"],
            ["role 'reader'", f"limits of each peer, here user amy: {OF_A_PEER}", OF_READERS],
        ),
        (
            ["--address", "2001:db8::1"],
            [
                "role 'default-role', for no role is assigned",
                f"limits of each peer, here 2001:db8::/64: {OF_A_PEER}",
                OF_OTHERS,
            ],
        ),
    ],
)
def test_the_limits_of_who_asks_stand_before_the_rules(
    file: Path, words: list[str], lines: list[str]
) -> None:
    file.write_text(f'{{ "Control-agent": {{ "access": {{ {POLICY}, {LIMITS} }} }} }}')
    ended = access("explain", *words, "lease4-get", "-c", file)
    told = ended.stdout.splitlines()
    assert told[: len(lines)] == lines
    assert told[len(lines)].startswith("command 'lease4-get': access read")
    assert told[-1].startswith(("accepted: ", "rejected: "))


def test_limits_that_bound_nothing_are_not_told(file: Path) -> None:
    file.write_text(f'{{ "D": {{ "access": {{ {POLICY}, "limits": {{ "failed-logins": {{ }} }} }} }} }}')
    assert "limits" not in access("explain", "--as", "reader", "lease4-get", "-c", file).stdout


def test_limits_and_the_audit_are_checked_with_the_roles(tmp_path: Path) -> None:
    file = tmp_path / "d.conf"
    limits = '"limits": { "peer": { "in-flight": 4 }, "roles": { "reader": { "requests-per-second": 1 } } }'
    audit = '"audit": { "file": "/var/log/audit.jsonl" }'
    file.write_text(f'{{ "D": {{ "access": {{ {POLICY}, {limits}, {audit} }} }} }}')
    ended = access("check", file)
    assert ended.returncode == 0
    assert ended.stdout.endswith("; limits of each peer and of 1 roles; an audit in /var/log/audit.jsonl\n")
    file.write_text(f'{{ "D": {{ "access": {{ {limits} }} }} }}')
    ended = access("check", file)
    assert "there are no roles: everybody may do everything; limits" in ended.stdout
    assert access("explain", "shutdown", "-c", file).stdout == (
        "limits of each peer: at most 4 commands in flight\n"
        "accepted: there are no roles: everybody may do everything\n"
    )
    file.write_text('{ "D": { "access": {\n "limits": { "peer": { "in-flight": -1 } } } } }')
    ended = access("check", file)
    assert ended.returncode == 1
    assert f"out of range value (-1) specified for parameter 'in-flight' ({file}:2." in ended.stderr
    file.write_text('{ "D": { "access": {\n "audit": { "fil": "x" } } } }')
    assert f"({file}:2." in access("check", file).stderr


def test_a_token_has_the_role_that_it_was_made_for(tmp_path: Path) -> None:
    tokens, file = tmp_path / "tokens.json", tmp_path / "agent.conf"
    assert command_line("token", "create", str(tokens), "ci", "--role", "admin").returncode == 0
    authentication = f'{{ "type": "basic", "directory": "{tmp_path}", "tokens": "tokens.json" }}'
    policy = '{ "assign": [ "token" ], "roles": [ { "name": "admin", "accept-commands": "ALL" } ] }'
    file.write_text(f'{{ "Control-agent": {{ "authentication": {authentication}, "access": {policy} }} }}')
    ended = access("explain", "--token", "ci", "shutdown", "-c", file)
    assert (ended.stdout.splitlines()[0], ended.returncode) == ("role 'admin'", 0)
    ended = access("explain", "--token", "other", "shutdown", "-c", file)
    assert ended.stdout.splitlines()[:2] == [
        "role 'default-role', for no role is assigned",
        f"note: no token file of {file} has a token 'other': its own role is not known",
    ]
    assert ended.returncode == 1
