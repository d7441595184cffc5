"""What is wrong in a policy is refused with its position."""

from __future__ import annotations

import os
from pathlib import Path
from types import SimpleNamespace

import pytest

from bridle.access import commands, rules
from bridle.access.configuration import find_access, is_access_library, read_access
from bridle.access.policy import Policy
from bridle.core.errors import ConfigurationError
from bridle.core.messages import JSON, Command, Peer
from bridle.wire.configuration_text import parse
from tests.support.programs import ROOT

ROLE = '{ "name": "r", "accept-commands":\n%s }'


def read(text: str, *, beside: tuple[str, ...] = ()) -> Policy:
    document = parse(text, name="f")
    return read_access(document.value, [], document.position, beside=beside)


def with_method(members: str) -> str:
    return f'{{ "assign-role-method": "cert-subject",\n{members} }}'


def with_roles(roles: str) -> str:
    return with_method(f'"roles": [ {roles} ]')


def with_rule(rule: str) -> str:
    return with_roles(ROLE % rule)


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("{}", "missing parameter 'assign-role-method', or 'assign' (f:1.1)"),
        (
            '{ "assign-role-method": "subject" }',
            (
                "'assign-role-method' is one of 'remote-address', 'cert-subject', 'cert-issuer', "
                "'basic-authentication', 'custom-value', not 'subject' (f:1.25-33)"
            ),
        ),
        ('{ "assign-role-method": 5 }', "invalid type specified for parameter 'assign-role-method' (f:1.25)"),
        (
            '{ "assign-role-method": "cert-subject",\n"assign": [ "token" ] }',
            "'assign-role-method' and 'assign' are mutually exclusive (f:2.11)",
        ),
        ('{ "assign": [] }', "'assign' must not be empty (f:1.13)"),
        ('{ "assign": {} }', "invalid type specified for parameter 'assign' (f:1.13)"),
        (
            '{ "assign": [ "unix-group" ] }',
            "'unix-group' needs a group and a role: a process may be in several (f:1.15-26)",
        ),
        ('{ "assign": [ { "token": "t" } ] }', "missing parameter 'role' (f:1.15)"),
        (
            '{ "assign": [ { "role": "t" } ] }',
            (
                "an assignment needs one of remote-address, cert-subject, cert-issuer, "
                "basic-authentication, custom-value, token, unix-user, unix-group (f:1.15)"
            ),
        ),
        (
            '{ "assign": [ { "role": "t", "user": "x" } ] }',
            'got unexpected keyword "user" in assign map. (f:1.38-40)',
        ),
        (
            '{ "assign": [ { "role": "t", "unix-user": "no such user" } ] }',
            "unknown user 'no such user' (f:1.43-56)",
        ),
        (
            '{ "assign": [ { "role": "t", "unix-group": [ 0, -1 ] } ] }',
            "no group has the number -1 (f:1.49-50)",
        ),
        (
            '{ "assign": [ { "role": "t", "unix-user": 1.5 } ] }',
            "invalid type specified for parameter 'unix-user' (f:1.43-45)",
        ),
        (
            '{ "assign": [ { "role": "t", "unix-user": true } ] }',
            "invalid type specified for parameter 'unix-user' (f:1.43-46)",
        ),
        (
            '{ "assign": [ { "role": "t", "remote-address": "192.0.2.1/24" } ] }',
            "'192.0.2.1/24' is no address or network: 192.0.2.1/24 has host bits set (f:1.48-61)",
        ),
        ('{ "assign": [ { "role": "t", "token": [] } ] }', "'token' must not be empty (f:1.39)"),
        (
            '{ "assign": [ { "role": "t", "token": "t", "services": [ 5 ] } ] }',
            "invalid type specified for parameter 'services' (f:1.58)",
        ),
        (with_method('"role": []'), 'got unexpected keyword "role" in access map. (f:2.9)'),
        (with_method('"require-tls": 1'), "invalid type specified for parameter 'require-tls' (f:2.16)"),
        (with_method('"channels": "unix"'), "'channels' is one of 'http', 'all', not 'unix' (f:2.13-18)"),
        (with_method('"secrets": [ "" ]'), "'secrets' must not be empty (f:2.14-15)"),
        (with_method('"roles": {}'), "invalid type specified for parameter 'roles' (f:2.10)"),
        (with_roles("5"), "roles is expected to be a map (f:2.12)"),
        (with_roles("{}"), "missing parameter 'name' (f:2.12)"),
        (with_roles('{ "name": "" }'), "'name' must not be empty (f:2.22-23)"),
        (with_roles('{ "name": "a" },\n{ "name": "a" }'), "role 'a' is defined twice (f:3.11-13)"),
        (with_roles('{ "name": "a", "x": 1 }'), 'got unexpected keyword "x" in roles map. (f:2.32)'),
        (
            with_roles('{ "name": "a",\n"other-commands": "deny" }'),
            "'other-commands' is one of 'accept', 'reject', not 'deny' (f:3.19-24)",
        ),
        (
            with_roles('{ "name": "a",\n"list-match-first": true }'),
            "invalid type specified for parameter 'list-match-first' (f:3.21-24)",
        ),
        (
            with_roles('{ "name": "a",\n"response-filters": [ "all" ] }'),
            "'response-filters' is one of 'list-commands', not 'all' (f:3.23-27)",
        ),
        (
            with_roles('{ "name": "a",\n"response-filters": "list-commands" }'),
            "invalid type specified for parameter 'response-filters' (f:3.21-35)",
        ),
        (
            with_roles('{ "name": "a",\n"services": "dhcp4" }'),
            "invalid type specified for parameter 'services' (f:3.13-19)",
        ),
        (
            with_method('"default-role": { "name": "x" }'),
            'got unexpected keyword "name" in default-role map. (f:2.27-29)',
        ),
        (with_method('"unknown-role": "x"'), "unknown-role is expected to be a map (f:2.17-19)"),
        (with_rule('"READS"'), "unknown access control list 'READS' (f:3.1-7)"),
        (with_rule('"read"'), "unknown access control list 'read' (f:3.1-6)"),
        (with_rule("5"), "an access list is expected to be a map with a single entry (f:3.1)"),
        (with_rule("[]"), "an access list is expected to be a map with a single entry (f:3.1)"),
        (with_rule("{}"), "an access list is expected to be a map with a single entry (f:3.1)"),
        (
            with_rule('{ "hook": "a", "access": "read" }'),
            "an access list is expected to be a map with a single entry (f:3.1)",
        ),
        (with_rule('{ "xor": [] }'), 'got unexpected keyword "xor" in an access list (f:3.10)'),
        (with_rule('{ "and": [] }'), "'and' needs at least one access list (f:3.10)"),
        (with_rule('{ "or": "ALL" }'), "invalid type specified for parameter 'or' (f:3.9-13)"),
        (
            with_rule('{ "not": [ "ALL" ] }'),
            "an access list is expected to be a map with a single entry (f:3.10)",
        ),
        (with_rule('{ "commands": "a" }'), "invalid type specified for parameter 'commands' (f:3.15-17)"),
        (with_rule('{ "commands": [ 5 ] }'), "invalid type specified for parameter 'commands' (f:3.17)"),
        (with_rule('{ "access": "both" }'), "'access' is one of 'read', 'write', not 'both' (f:3.13-18)"),
        (with_rule('{ "hook": null }'), "invalid type specified for parameter 'hook' (f:3.11-14)"),
        (with_rule('{ "service": 5 }'), "invalid type specified for parameter 'service' (f:3.14)"),
        (
            with_rule('{ "argument": "a" }'),
            "an access list about an argument needs one of 'in', 'one-of', 'under' (f:3.1)",
        ),
        (
            with_rule('{ "argument": "a", "in": [ 1, 2 ], "under": "/" }'),
            "an access list about an argument needs one of 'in', 'one-of', 'under' (f:3.1)",
        ),
        (
            with_rule('{ "argument": "a", "is": 1 }'),
            'got unexpected keyword "is" in argument map. (f:3.26)',
        ),
        (
            with_rule('{ "argument": "a", "in": [ 1 ] }'),
            "'in' takes two integers: the lowest and the highest (f:3.26)",
        ),
        (
            with_rule('{ "argument": "a", "in": [ 1, true ] }'),
            "'in' takes two integers: the lowest and the highest (f:3.26)",
        ),
        (
            with_rule('{ "argument": "a", "in": [ 2, 1 ] }'),
            "'in' takes the lowest first: 2 is more than 1 (f:3.26)",
        ),
        (with_rule('{ "argument": "a", "one-of": [] }'), "'one-of' must not be empty (f:3.30)"),
        (
            with_rule('{ "argument": "a", "one-of": [ 1.5 ] }'),
            "invalid type specified for parameter 'one-of' (f:3.32-34)",
        ),
        (
            with_rule('{ "argument": "a", "under": "etc" }'),
            "'under' takes an absolute path without '..', not 'etc' (f:3.29-33)",
        ),
        (
            with_rule('{ "argument": [ "a", 5 ], "in": [ 1, 2 ] }'),
            "invalid type specified for parameter 'argument' (f:3.22)",
        ),
        (
            with_method('"access-control-lists": [ { "ALL": "NONE" } ]'),
            "'ALL' cannot be the name of an access control list (f:2.36-41)",
        ),
        (
            with_method('"access-control-lists": [ { "a": "ALL", "b": "ALL" } ]'),
            "an access control list is expected to be a map with a single entry (f:2.27)",
        ),
        (
            with_method('"access-control-lists": [ { "a": "ALL" },\n{ "a": "NONE" } ]'),
            "access control list 'a' is defined twice (f:3.8-13)",
        ),
        (
            with_method(
                '"access-control-lists": [ { "a": { "not": "b" } },\n{ "b": { "or": [ "NONE", "a" ] } } ]'
            ),
            "access control lists refer to each other in a circle: a -> b -> a (f:3.26-28)",
        ),
        (
            with_method('"access-control-lists": [ { "a": "a" } ]'),
            "access control lists refer to each other in a circle: a -> a (f:2.34-36)",
        ),
        (
            with_method('"access-control-lists": [ { "unused": "nothing" } ]'),
            "unknown access control list 'nothing' (f:2.39-47)",
        ),
        (with_method('"commands": [ { "name": "a" } ]'), "missing parameter 'access' (f:2.15)"),
        (with_method('"commands": [ { "access": "read" } ]'), "missing parameter 'name' (f:2.15)"),
        (
            with_method('"commands": [ { "name": "a", "access": "x" } ]'),
            "'access' is one of 'read', 'write', not 'x' (f:2.40-42)",
        ),
        (
            with_method(
                '"commands": [ { "name": "a", "access": "read" },\n{ "name": "a", "access": "read" } ]'
            ),
            "command 'a' is defined twice (f:3.11-13)",
        ),
        (
            with_method('"api-files": "/does/not/exist"'),
            ("api-files: cannot read '/does/not/exist': No such file or directory (f:2.14-30)"),
        ),
        (with_method('"api-files": "/etc/passwd"'), "api-files: '/etc/passwd' is not a folder (f:2.14-26)"),
    ],
)
def test_an_error_has_a_position(text: str, error: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        read(text)
    assert str(caught.value) == error


def test_anything_but_a_map_is_no_policy() -> None:
    for value in (None, [], "x", 5):
        with pytest.raises(ConfigurationError, match="access is expected to be a map"):
            read_access(value, [], lambda path: "")


def test_members_that_others_read_are_left_to_them() -> None:
    text = with_method('"limits": {}')
    assert read(text, beside=("limits",))
    with pytest.raises(ConfigurationError):
        read(text)


def test_comments_have_their_places() -> None:
    extra = '"comment": "why", "user-context": {}'
    assert read(with_method(f'{extra}, "roles": [ {{ "name": "a", {extra} }} ]'))


def nested(depth: int) -> str:
    return '{ "not": ' * depth + '"ALL"' + " }" * depth


def test_lists_are_so_deep_at_most() -> None:
    assert read(with_rule(nested(rules.DEPTH_LIMIT - 1)))
    with pytest.raises(ConfigurationError, match=r"nested more than 32 deep \(f:3\."):
        read(with_rule(nested(rules.DEPTH_LIMIT)))
    chain = ",".join(f'{{ "l{n}": "l{n + 1}" }}' for n in range(40)) + ', { "l40": "ALL" }'
    for lists in (chain, ",".join(reversed(chain.split(",")))):
        with pytest.raises(ConfigurationError, match="nested more than 32 deep"):
            read(with_method(f'"access-control-lists": [ {lists} ]'))


def test_lists_come_down_to_so_many_rules_at_most() -> None:
    doubling = '{ "l0": "ALL" }' + "".join(
        f',{{ "l{n}": {{ "and": [ "l{n - 1}", "l{n - 1}" ] }} }}' for n in range(1, 14)
    )
    with pytest.raises(ConfigurationError, match="comes down to more than 10000 rules"):
        read(with_method(f'"access-control-lists": [ {doubling} ]'))


def test_there_are_so_many_lists_roles_and_names_at_most() -> None:
    for members, name in [
        ('"access-control-lists": [' + ",".join(f'{{"l{n}":"ALL"}}' for n in range(1001)) + "]", "lists"),
        ('"roles": [' + ",".join(f'{{"name":"l{n}"}}' for n in range(1001)) + "]", "roles"),
    ]:
        with pytest.raises(ConfigurationError, match=f"{name}' has more than 1000 items"):
            read(with_method(members))
    names = ",".join(f'"c{n}"' for n in range(1001))
    with pytest.raises(ConfigurationError, match="'commands' has more than 1000 items"):
        read(with_rule(f'{{ "commands": [ {names} ] }}'))


# Kea's folder.


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "api"
    made.mkdir()
    (made / "a.json").write_text('{ "name": "a", "access": "read", "hook": "h", "support": [] }')
    return made


def refused(folder: Path, text: str) -> None:
    with pytest.raises(ConfigurationError, match=text) as caught:
        read(with_method(f'"api-files": "{folder}"'))
    assert caught.value.position.startswith("f:2.")


def test_a_folder_says_which_commands_there_are(folder: Path) -> None:
    lists = '"access-control-lists": [ { "x": { "commands": [ "a", "status-get",\n"aa" ] } } ]'
    with pytest.raises(ConfigurationError, match=r"^command 'aa' is not defined \(f:3\.1-4\)$"):
        read(with_method(f'"api-files": "{folder}", {lists}'))
    assert read(with_method(f'"api-files": "{folder}", {lists.replace("aa", "a")}'))
    assert [one.name for one in read(with_method(lists)).named] == ["a", "status-get", "aa"]


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ("{", "b.json': Input data was truncated"),
        ("[]", "b.json': Expected `object`, got `array`"),
        ('{ "name": "b" }', "b.json': Object missing required field `access`"),
        ('{ "name": "b", "access": "none" }', "a name and the access 'read' or 'write' are needed"),
        ('{ "name": "", "access": "read" }', "a name and the access 'read' or 'write' are needed"),
        ('{ "name": "a", "access": "read" }', "b.json': command 'a' is defined twice"),
        pytest.param('{ "name": "b", "access": "read", "x": ' + "[" * 100_000, "b.json': ", id="deep"),
    ],
)
def test_a_file_that_describes_no_command_is_refused(folder: Path, content: str, text: str) -> None:
    (folder / "b.json").write_text(content)
    refused(folder, text)


def test_a_folder_is_bounded_and_its_own(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(commands, "FILE_LIMIT", 10)
    refused(folder, "is larger than 10 bytes")
    monkeypatch.undo()
    monkeypatch.setattr(commands, "FILES_LIMIT", 0)
    refused(folder, "has more than 0 files")
    monkeypatch.undo()
    (folder / "a.json").chmod(0o646)
    refused(folder, "a.json' can be written by everybody; chmod o-w")
    (folder / "a.json").chmod(0o644)
    folder.chmod(0o757)
    refused(folder, "api' can be written by everybody; chmod o-w")
    folder.chmod(0o755)
    (folder / "a.json").unlink()
    refused(folder, "has no files that describe commands")


@pytest.mark.skipif(os.getuid() == 0, reason="root reads everything")
def test_a_file_that_cannot_be_read_is_named(folder: Path) -> None:
    (folder / "a.json").chmod(0)
    refused(folder, "a.json': Permission denied")


# Where a configuration has a policy.


def find(text: str) -> tuple[tuple[str | int, ...], bool] | None:
    document = parse(text, name="f")
    root: JSON = document.value["D"]
    assert isinstance(root, dict)
    found = find_access(root, ["D"], document.position)
    return (found[0].path, found[1]) if found else None


def test_a_policy_stands_under_its_key_or_is_kea_s_library() -> None:
    assert find('{ "D": {} }') is None
    assert find('{ "D": { "hooks-libraries": [ { "library": "x.so" }, 5 ] } }') is None
    assert find('{ "D": { "access": {} } }') == (("D", "access"), False)
    library = '{ "library": "/usr/lib/libca_rbac.so", "parameters": {} }'
    assert find(f'{{ "D": {{ "hooks-libraries": [ {{ "library": "x.so" }}, {library} ] }} }}') == (
        ("D", "hooks-libraries", 1, "parameters"),
        True,
    )
    with pytest.raises(ConfigurationError, match=r"access control is configured twice \(f:1\.\d+\)"):
        find(f'{{ "D": {{ "access": {{}}, "hooks-libraries": [ {library} ] }} }}')


@pytest.mark.parametrize(
    ("library", "is_it"),
    [
        ("libca_rbac.so", True),
        ("/opt/lib/libdhcp_rbac.so", True),
        ("libdhcp_rbac.so.1", False),
        ("rbac.py", False),
        ("", False),
    ],
)
def test_kea_s_libraries_are_known_by_name(library: str, is_it: bool) -> None:
    assert is_access_library(library) is is_it


def test_the_policy_that_the_documentation_shows_can_be_used(monkeypatch: pytest.MonkeyPatch) -> None:
    page = (ROOT / "docs" / "access.md").read_text()
    document = parse(page.partition("```json\n")[2].partition("```")[0], name="f")
    monkeypatch.setattr("grp.getgrnam", lambda name: SimpleNamespace(gr_gid=4000001))
    root = document.value["Control-agent"]
    assert isinstance(root, dict)
    found = find_access(root, ["Control-agent"], document.position)
    assert found is not None
    made = read_access(found[0].value, found[0].path, document.position)
    assert made.role_of(Peer(gid=4000001)).name == "reader"
    customer = made.role_of(Peer(user="customer"))
    for body, service, allowed in [
        ({"subnet-id": 5}, "dhcp4", True),
        ({"subnet-id": 500}, "dhcp4", False),
        ({}, "dhcp4", False),
        ({"subnet-id": 5}, "dhcp6", False),
    ]:
        command = Command("reservation-get-all", body)  # type: ignore[arg-type]
        assert made.decide(customer, command, service=service).allowed is allowed
