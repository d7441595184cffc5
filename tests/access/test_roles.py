"""Roles decide as the documentation of Kea's role-based access control says (``facts/kea.md`` §3)."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

import msgspec
import pytest

from bridle.access import roles
from bridle.access.configuration import read_access
from bridle.access.policy import Policy
from bridle.core.manager import CommandManager
from bridle.core.messages import JSON, Command, Peer, Response

COMMANDS: list[JSON] = [
    {"name": "look", "access": "read"},
    {"name": "change", "access": "write"},
    {"name": "hook-look", "access": "read", "hook": "my-hook"},
    {"name": "hook-change", "access": "write", "hook": "my-hook"},
]
NAMES = ("look", "change", "hook-look", "hook-change", "nobody-knows")


def policy(**members: JSON) -> Policy:
    """A policy by Basic authentication with these members."""
    value: dict[str, JSON] = {"assign-role-method": "basic-authentication", "commands": COMMANDS}
    for key, member in members.items():
        value[key.replace("_", "-")] = member
    return read_access(value, ["access"], lambda path: "")


def of_role(lists: JSON = (), **members: JSON) -> Policy:
    """A policy with one role, ``r``."""
    role: dict[str, JSON] = {"name": "r"}
    for key, member in members.items():
        role[key.replace("_", "-")] = member
    return policy(roles=[role], access_control_lists=list(lists))  # type: ignore[arg-type]


def allowed(given: Policy, name: str, role: str = "r", body: bytes | None = None, **more: str) -> bool:
    found = given.role(role)
    assert found is not None
    command = Command(name) if body is None else Command(name, msgspec.Raw(body))
    return given.decide(found, command, **more).allowed  # type: ignore[arg-type]


def accepted(given: Policy, role: str = "r") -> set[str]:
    return {name for name in NAMES if allowed(given, name, role)}


# Every construct of an access control list.

LOOKS, CHANGES = {"look", "hook-look"}, {"change", "hook-change", "nobody-knows"}
ALL = set(NAMES)


@pytest.mark.parametrize(
    ("rule", "matches"),
    [
        ("ALL", ALL),
        ("NONE", set()),
        ("READ", LOOKS),
        ("WRITE", CHANGES),
        ({"access": "read"}, LOOKS),
        ({"access": "write"}, CHANGES),
        ({"command": ["look", "change"]}, {"look", "change"}),
        ({"commands": ["look", "change"]}, {"look", "change"}),
        ({"commands": []}, set()),
        ({"commands": ["Look", "look "]}, set()),
        ({"hook": "my-hook"}, {"hook-look", "hook-change"}),
        ({"hook": ""}, {"look", "change"}),
        ({"hook": "other"}, set()),
        ({"not": "READ"}, CHANGES),
        ({"not": {"not": "READ"}}, LOOKS),
        ({"not": "ALL"}, set()),
        ({"not": {"hook": "my-hook"}}, {"look", "change"}),
        ({"and": ["ALL", "NONE"]}, set()),
        ({"and": ["READ", {"hook": "my-hook"}]}, {"hook-look"}),
        ({"and": ["READ"]}, LOOKS),
        ({"or": [{"commands": ["change"]}, "READ"]}, LOOKS | {"change"}),
        ({"or": ["NONE"]}, set()),
        ("mine", {"look"}),
        ({"not": "mine"}, ALL - {"look"}),
        ("from-the-other", ALL - {"look"}),
    ],
)
def test_an_accept_list_matches(rule: JSON, matches: set[str]) -> None:
    lists: JSON = [{"from-the-other": {"not": "mine"}}, {"mine": {"commands": ["look"]}}]
    assert accepted(of_role(lists, accept_commands=rule)) == matches


def test_a_command_that_nobody_knows_is_of_no_known_library() -> None:
    assert not allowed(of_role(accept_commands={"hook": ""}), "nobody-knows")
    assert not allowed(of_role(reject_commands={"hook": "x"}, other_commands="accept"), "nobody-knows")
    assert allowed(of_role(reject_commands={"hook": "x"}, other_commands="accept"), "look")


# Kea's algorithm, for a command that is in both lists, one of them, neither.


@pytest.mark.parametrize("first", [None, "accept", "reject"])
@pytest.mark.parametrize("others", [None, "accept", "reject"])
@pytest.mark.parametrize("accept", [None, "ALL", "NONE"])
@pytest.mark.parametrize("reject", [None, "ALL", "NONE"])
def test_the_lists_are_asked_in_their_order(
    first: str | None, others: str | None, accept: str | None, reject: str | None
) -> None:
    members = {"list_match_first": first, "other_commands": others}
    members |= {"accept_commands": accept, "reject_commands": reject}
    given = of_role(**{key: member for key, member in members.items() if member is not None})
    if accept == "ALL" and reject == "ALL":
        expected = first != "reject"
    elif accept == "ALL" or reject == "ALL":
        expected = accept == "ALL"
    else:
        expected = others == "accept"
    assert allowed(given, "look") is expected


# The worked examples of the chapter.

READ_BUT_CONFIG_GET: JSON = {"and": ["READ", {"not": {"commands": ["config-get"]}}]}


@pytest.mark.parametrize(
    "role",
    [
        {"accept-commands": READ_BUT_CONFIG_GET, "reject-commands": "ALL", "list-match-first": "accept"},
        {"accept-commands": READ_BUT_CONFIG_GET, "other-commands": "reject"},
        {"reject-commands": {"or": ["WRITE", {"commands": ["config-get"]}]}, "other-commands": "accept"},
        {
            "accept-commands": "READ",
            "reject-commands": {"commands": ["config-get"]},
            "list-match-first": "reject",
        },
    ],
)
def test_four_ways_to_read_everything_but_the_configuration(role: dict[str, JSON]) -> None:
    given = policy(roles=[{"name": "r", **role}])
    assert allowed(given, "status-get")
    assert allowed(given, "lease4-get-all")
    assert not allowed(given, "config-get")
    assert not allowed(given, "config-set")
    assert not allowed(given, "config-test")


@pytest.fixture
def api(tmp_path: Path) -> Path:
    """A folder as Kea installs it, with what the sample needs."""
    folder = tmp_path / "api"
    folder.mkdir()
    for name, access, hook in [
        ("list-commands", "read", None),
        ("status-get", "read", None),
        ("config-set", "write", None),
        ("remote-subnet4-set", "write", "cb_cmds"),
        ("remote-subnet4-list", "read", "cb_cmds"),
        ("my-own", "read", None),
    ]:
        described = {"name": name, "access": access, "avail": "1.0", "support": ["kea-dhcp4"]}
        if hook:
            described["hook"] = hook
        (folder / f"{name}.json").write_bytes(msgspec.json.encode(described))
    (folder / "_template.json").write_text("no JSON at all")
    (folder / "cmds-list").write_text("list-commands\n")
    return folder


@pytest.fixture
def sample(api: Path) -> Policy:
    """The configuration that the chapter shows."""
    return read_access(
        {
            "assign-role-method": "cert-subject",
            "api-files": str(api),
            "require-tls": True,
            "commands": [{"name": "my-command", "access": "read", "hook": "my-hook"}],
            "access-control-lists": [
                {"my-none": {"not": "ALL"}},
                {"another-none": {"and": ["ALL", "NONE"]}},
                {"my-read": {"access": "read"}},
            ],
            "roles": [
                {
                    "name": "kea-client",
                    "accept-commands": {"commands": ["list-commands", "status-get"]},
                    "reject-commands": "NONE",
                    "other-commands": "reject",
                    "list-match-first": "accept",
                    "response-filters": ["list-commands"],
                },
                {
                    "name": "admin",
                    "accept-commands": "ALL",
                    "reject-commands": {"hook": "cb_cmds"},
                    "list-match-first": "reject",
                },
            ],
            "default-role": {"accept-commands": "NONE", "reject-commands": "ALL"},
            "unknown-role": {"accept-commands": "READ", "reject-commands": "WRITE"},
        },
        ["parameters"],
        lambda path: "",
        library=True,
    )


@pytest.mark.parametrize(
    ("subject", "role", "accepts", "rejects"),
    [
        ("kea-client", "kea-client", ["list-commands", "status-get"], ["config-set", "my-command", "my-own"]),
        (
            "admin",
            "admin",
            ["list-commands", "config-set", "my-command"],
            ["remote-subnet4-set", "remote-subnet4-list"],
        ),
        (None, "default-role", [], ["list-commands", "config-set", "my-command"]),
        ("", "default-role", [], ["list-commands"]),
        (
            "somebody",
            "unknown-role",
            ["status-get", "my-command", "remote-subnet4-list", "my-own"],
            ["config-set", "remote-subnet4-set", "never-heard-of"],
        ),
    ],
)
def test_the_sample_of_the_chapter(
    sample: Policy, subject: str | None, role: str, accepts: list[str], rejects: list[str]
) -> None:
    assigned = sample.role_of(Peer(transport="https", tls_subject=subject))
    assert assigned.name == role
    for name in accepts:
        assert sample.decide(assigned, Command(name)).allowed, name
    for name in rejects:
        assert not sample.decide(assigned, Command(name)).allowed, name


def test_the_sample_s_filter_leaves_the_commands_of_the_role(sample: Policy) -> None:
    answer = Response(arguments=["config-set", "list-commands", "status-get", "version-get"])
    client = sample.role_of(Peer(tls_subject="kea-client"))
    admin = sample.role_of(Peer(tls_subject="admin"))
    listing = Command("list-commands")
    assert sample.filter_response(client, listing, answer).value == ["list-commands", "status-get"]
    assert sample.filter_response(admin, listing, answer) is answer
    other = Response(arguments=["version-get"])
    assert sample.filter_response(client, Command("status-get"), other) is other


def test_the_filter_reads_undecoded_answers_and_keeps_what_some_arguments_allow() -> None:
    rule: JSON = {"and": [{"commands": ["look"]}, {"argument": "n", "in": [1, 2]}]}
    given = of_role(accept_commands=rule, response_filters=["list-commands"])
    role = given.role("r")
    assert role is not None
    listing = Command("list-commands")
    answer = Response(arguments=msgspec.Raw(b'["change", "look"]'))
    assert given.filter_response(role, listing, answer).value == ["look"]
    broken = Response(arguments=msgspec.Raw(b'["change", "look"'))
    assert given.filter_response(role, listing, broken).result == 1


@pytest.mark.parametrize(
    ("name", "told", "kept"),
    [
        ("command-help", {"look": {"access": "read"}, "change": {}}, {"look": {"access": "read"}}),
        ("system.listMethods", ["change", "look"], ["look"]),
        ("commands", [{"command": "look", "arguments": []}, {"command": "change"}], None),
        ("list-commands", ["look", 5, None, ["look"]], ["look"]),
        ("list-commands", "look", "look"),
        ("list-commands", None, None),
    ],
)
def test_the_filter_knows_the_like_of_list_commands(name: str, told: JSON, kept: JSON) -> None:
    given = of_role(accept_commands="READ", response_filters=["list-commands"])
    role = given.role("r")
    assert role is not None
    if name == "commands":
        kept = told[:1]  # type: ignore[index]
    assert given.filter_response(role, Command(name), Response(arguments=told)).arguments == kept


def test_a_policy_from_kea_s_library_goes_for_http_alone(sample: Policy) -> None:
    assert [sample.governs(Peer(transport=one)) for one in ("http", "https", "unix", "tcp")] == [
        True,
        True,
        False,
        False,
    ]
    everywhere = policy()
    assert everywhere.governs(Peer(transport="unix"))
    assert not policy(channels="http").governs(Peer(transport="unix"))


@pytest.mark.parametrize(
    ("method", "given", "http", "https"),
    [
        ("cert-subject", None, True, False),
        ("cert-issuer", None, True, False),
        ("cert-subject", False, False, False),
        ("basic-authentication", None, False, False),
        ("basic-authentication", True, True, False),
    ],
)
def test_tls_is_needed_where_certificates_are_or_it_is_asked_for(
    method: str, given: bool | None, http: bool, https: bool
) -> None:
    members: dict[str, JSON] = {"assign-role-method": method}
    if given is not None:
        members["require-tls"] = given
    made = read_access(members, [], lambda path: "")
    assert made.needs_tls(Peer(transport="http")) is http
    assert made.needs_tls(Peer(transport="https")) is https
    assert not made.needs_tls(Peer(transport="unix"))


# Where access classes come from.


def test_declarations_come_before_files_and_the_configuration_before_both(api: Path) -> None:
    manager = CommandManager()
    manager.register_command("my-own", lambda: None, access="write")
    manager.register_command("look", lambda: None, access="write")
    manager.register_command("only-here", lambda: None, access="read")
    given = policy(roles=[{"name": "r", "accept-commands": "READ"}], api_files=str(api))
    role = given.role("r")
    assert role is not None
    assert not given.decide(role, Command("my-own"), definition=manager.definition("my-own")).allowed
    assert given.decide(role, Command("my-own")).allowed
    assert given.decide(role, Command("look"), definition=manager.definition("look")).allowed
    assert given.decide(role, Command("only-here"), definition=manager.definition("only-here")).allowed
    assert not given.decide(role, Command("only-here")).allowed


def test_a_command_that_is_declared_anew_is_decided_anew() -> None:
    given = of_role(accept_commands="READ")
    role = given.role("r")
    assert role is not None
    manager = CommandManager()
    manager.register_command("c", lambda: None, access="read")
    assert given.decide(role, Command("c"), definition=manager.definition("c")).allowed
    manager.deregister_command("c")
    manager.register_command("c", lambda: None, access="write")
    assert not given.decide(role, Command("c"), definition=manager.definition("c")).allowed


@pytest.mark.parametrize(
    ("name", "access"),
    [
        ("build-report", "read"),
        ("config-get", "read"),
        ("config-test", "write"),
        ("lease6-get-by-duid", "read"),
        ("lease4-add", "write"),
        ("ha-heartbeat", "write"),
        ("subnet6-select-test", "read"),
        ("stat-lease6-get", "read"),
        ("remote-option-def4-get-all", "read"),
        ("core.uptime", "read"),
        ("core.kill", "write"),
        ("session-info", "read"),
        ("terminate", "write"),
        ("cib-query", "read"),
        ("fence", "write"),
        ("CONFIG-GET", "write"),
    ],
)
def test_the_catalogue_knows_the_commands_of_real_daemons(name: str, access: str) -> None:
    assert allowed(of_role(accept_commands={"access": access}), name)
    assert not allowed(of_role(accept_commands={"not": {"access": access}}), name)


# Services.


def test_a_role_may_be_for_some_services() -> None:
    given = of_role(accept_commands="ALL", services=["dhcp4", ""])
    assert allowed(given, "look", service="dhcp4")
    assert allowed(given, "look")
    assert not allowed(given, "look", service="dhcp6")


def test_a_rule_may_look_at_the_service() -> None:
    rule: JSON = {
        "or": [{"and": ["WRITE", {"service": "dhcp4"}]}, {"and": ["READ", {"service": ["", "d2"]}]}]
    }
    given = of_role(accept_commands=rule)
    assert allowed(given, "change", service="dhcp4")
    assert not allowed(given, "change", service="d2")
    assert allowed(given, "look", service="d2")
    assert allowed(given, "look")
    assert not allowed(given, "change")


# Names.


@pytest.mark.parametrize("name", ["core.kill\0", "core.kill\n", " core.kill", "a\tb", "a\x7fb", "é\x85"])
def test_names_that_a_daemon_might_read_otherwise_are_nobody_s_to_use(name: str) -> None:
    assert not allowed(of_role(accept_commands="ALL", other_commands="accept"), name)


@pytest.mark.parametrize("name", ["Look", "LOOK", "lo-ok", "look2", ""])
def test_names_are_compared_as_the_dispatcher_does(name: str) -> None:
    assert not allowed(of_role(accept_commands={"commands": ["look"]}), name)


def test_text_beyond_ascii_is_a_name() -> None:
    assert allowed(of_role(accept_commands={"commands": ["größe"]}), "größe")


# What is told.


def test_a_decision_names_the_role_and_the_rule() -> None:
    given = of_role(accept_commands="READ", reject_commands={"commands": ["look"]}, list_match_first="reject")
    role = given.role("r")
    assert role is not None
    assert given.decide(role, Command("look")).rule == (
        "role 'r' rejects 'look': reject-commands matches: commands look"
    )
    assert given.decide(role, Command("hook-look")).rule == (
        "role 'r' accepts 'hook-look': accept-commands matches: READ"
    )
    assert given.decide(role, Command("change")).rule == (
        "role 'r' rejects 'change': no list matches, and other-commands is reject"
    )
    assert "\n" not in given.decide(role, Command("x\nforged")).rule
    assert len(given.decide(role, Command("x" * 100_000)).rule) < 400


def test_an_explanation_says_what_each_rule_made_of_it() -> None:
    given = of_role(accept_commands={"and": ["READ", {"argument": "n", "in": [1, 2]}]})
    role = given.role("r")
    assert role is not None
    assert list(role.explain(Command("look"))) == [
        "command 'look': access read, of no library",
        "accept-commands:",
        "  and: cannot tell",
        "    READ: matches",
        "    argument n in [1, 2]: cannot tell",
        (
            "rejected: role 'r' rejects 'look': accept-commands cannot tell that it matches "
            "(READ and argument n in [1, 2]), no list matches, and other-commands is reject"
        ),
    ]


def test_only_so_many_decisions_are_remembered() -> None:
    given = of_role(accept_commands={"commands": ["look"]})
    role = given.role("r")
    assert role is not None
    tracemalloc.start()
    try:
        for number in range(3 * roles.DECISIONS_LIMIT):
            assert not given.decide(role, Command(f"c{number}")).allowed
            assert not given.decide(role, Command(f"{number}" * 100), service="x" * 500).allowed
            assert given.decide(role, Command("look")).allowed
        assert tracemalloc.get_traced_memory()[0] < 2_000_000
    finally:
        tracemalloc.stop()
