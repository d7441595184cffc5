"""Roles against a second evaluator that is as plain as can be, and against what may never happen."""

from __future__ import annotations

import json
from typing import Any

import msgspec
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bridle.access.configuration import read_access
from bridle.access.policy import Policy
from bridle.core.errors import ConfigurationError
from bridle.core.manager import CommandManager
from bridle.core.messages import JSON, Command, Peer, Response
from bridle.core.results import Result
from bridle.wire.kea import KeaServer
from tests.support.role_rules import (
    COMMANDS,
    LISTS,
    argued,
    arguments,
    naive_decision,
    named,
    names,
    odd,
    roles,
    services,
    short,
    spoilt,
)

EXAMPLES = settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])
"""A machine that others use as well is no reason to fail."""


def policy(role: dict[str, Any], lists: list[Any]) -> Policy:
    commands: JSON = [{"name": name, "access": a, "hook": h} for name, (a, h) in COMMANDS.items()]
    value: JSON = {
        "assign-role-method": "custom-value",
        "commands": commands,
        "access-control-lists": [{name: rule} for name, rule in zip(LISTS, lists, strict=True)],
        "roles": [{"name": "r", **role}],
    }
    return read_access(value, [], lambda path: "")


def decides(made: Policy, name: str, body: object, service: str | None = None) -> bool:
    role = made.role("r")
    assert role is not None
    command = Command(name, msgspec.Raw(json.dumps(body).encode()))
    first = made.decide(role, command, service=service)
    assert made.decide(role, command, service=service) == first  # whatever is remembered
    return first.allowed


@EXAMPLES
@given(roles, named, names, services, arguments)
def test_the_two_evaluators_agree(
    role: dict[str, Any], lists: list[Any], name: str, service: str | None, body: Any
) -> None:
    made = policy(role, lists)
    expected = naive_decision(role, dict(zip(LISTS, lists, strict=True)), name, service or "", body)
    assert decides(made, name, body, service) is expected


@EXAMPLES
@given(
    roles,
    named,
    names,
    arguments,
    st.sampled_from(["n", "file", "deep"]),
    spoilt,
)
def test_leaving_an_argument_out_or_spoiling_it_never_widens(
    role: dict[str, Any], lists: list[Any], name: str, body: Any, key: str, value: object
) -> None:
    made = policy(role, lists)
    without = {other: item for other, item in body.items() if other != key}
    if decides(made, name, without):
        assert decides(made, name, body)
    assert decides(made, name, {**without, key: value}) == decides(made, name, without)


@EXAMPLES
@given(roles, named, names, arguments, st.dictionaries(short, odd))
def test_arguments_that_no_rule_names_change_nothing(
    role: dict[str, Any], lists: list[Any], name: str, body: Any, more: dict[str, Any]
) -> None:
    made = policy(role, lists)
    known = {"n", "file", "deep"}
    added = {**body, **{key: item for key, item in more.items() if key not in known}}
    assert decides(made, name, added) is decides(made, name, body)


@EXAMPLES
@given(roles, named, names, services, arguments)
def test_what_is_run_is_listed(
    role: dict[str, Any], lists: list[Any], name: str, service: str | None, body: Any
) -> None:
    made = policy(role, lists)
    found = made.role("r")
    assert found is not None
    if decides(made, name, body, service):
        assert found.may_run(name, service)


@EXAMPLES
@given(roles, named, short, st.binary(max_size=40))
def test_any_name_and_any_bytes_are_decided(
    role: dict[str, Any], lists: list[Any], name: str, body: bytes
) -> None:
    made = policy(role, lists)
    found = made.role("r")
    assert found is not None
    for command in (Command(name, msgspec.Raw(body)), Command("look", msgspec.Raw(body))):
        decision = made.decide(found, command)
        assert decision.rule.isprintable()
        assert list(found.explain(command))[-1].endswith(decision.rule)


# Texts that say the same thing in odd ways, or something else than they seem to.
keys = st.sampled_from(['"n"', '"file"', '"\\u006e"', '"fil\\u0065"', '"N"'])
items = st.sampled_from(
    ["0", "5", "9", "-1", "4294967301", "5.0", "null", '"/a/x"', '"/b"', '"/a/../b"', "[5]", "true"]
)
gaps = st.sampled_from(["", " ", '/* "n": 5 */', "# n\n", "// {\n", "\n"])
members = st.lists(st.builds("{2}{0}{2}:{2}{1}".format, keys, items, gaps), max_size=4)
bodies = st.one_of(
    members.map(lambda some: "{" + ",".join(some) + "}"),
    st.lists(items, max_size=3).map(lambda some: "[" + ",".join(some) + "]"),
    items,
)
spelled = st.sampled_from(['"look"', '"change"', '"lo\\u006fk"', '"Look"', '"look "', '"look\\u0000"'])
envelopes = st.builds(
    lambda names, body, gap: (
        "{" + ",".join([*(f'"command":{gap}{name}' for name in names), f'"arguments":{body}']) + "}"
    ),
    st.lists(spelled, min_size=1, max_size=2),
    bodies,
    gaps,
)


about_arguments = st.builds(lambda rule: {"accept-commands": rule}, argued)


@EXAMPLES
@given(st.one_of(about_arguments, roles), named, st.lists(envelopes, min_size=1, max_size=3))
def test_no_text_makes_a_handler_run_without_leave(
    role: dict[str, Any], lists: list[Any], texts: list[str]
) -> None:
    made = policy({key: item for key, item in role.items() if key != "services"}, lists)
    found = made.role("r")
    assert found is not None
    ran: list[tuple[str, dict[str, Any]]] = []
    manager = CommandManager()

    def look(n: int = -100, file: Any = None) -> None:
        ran.append(("look", {"n": n, "file": file}))

    def change(n: int = -100, file: Any = None) -> None:
        ran.append(("change", {"n": n, "file": file}))

    manager.register_command("look", look, access="read")
    manager.register_command("change", change, access="write")

    @manager.before_command
    def guard(command: Command) -> Response | None:
        definition = manager.definition(command.name)
        allowed = made.decide(found, command, definition=definition).allowed
        return None if allowed else Response(Result.FORBIDDEN, "Forbidden")

    server = KeaServer()
    for message in server.receive(("//keep-alive\n" + "".join(texts)).encode()):
        if isinstance(message, Command):
            manager.process_command(message)
    by_name = dict(zip(LISTS, lists, strict=True))
    for name, body in ran:
        seen = {key: item for key, item in body.items() if item not in (-100, None)}
        assert naive_decision(role | {"services": [""]}, by_name, name, "", seen), (name, body)


values: st.SearchStrategy[Any] = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), short, st.floats(allow_nan=False)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.dictionaries(
            st.one_of(
                st.sampled_from(
                    [
                        "assign", "assign-role-method", "roles", "name", "accept-commands", "not", "and",
                        "or", "commands", "argument", "in", "under", "services", "access-control-lists",
                        "unix-user", "token", "role", "default-role", "remote-address", "secrets",
                    ]
                ),
                short,
            ),
            inner,
            max_size=4,
        ),
    ),
    max_leaves=12,
)  # fmt: skip


@EXAMPLES
@given(values)
def test_any_value_is_a_policy_or_an_error_of_the_configuration(value: Any) -> None:
    positions = set()
    for tried in (
        value,
        {"assign": ["token"], "roles": value},
        {"assign": value, "access-control-lists": value},
    ):
        try:
            made = read_access(tried, [], lambda path: "somewhere")
            made.role_of(Peer(transport="http", address="::1", uid=0))
        except ConfigurationError as error:
            positions.add(error.position)
    assert positions <= {"somewhere"}
