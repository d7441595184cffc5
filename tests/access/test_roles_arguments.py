"""Rules about arguments see what the handler will see, and are closed where they cannot tell."""

from __future__ import annotations

import msgspec
import pytest

from bridle.access.configuration import read_access
from bridle.access.policy import Policy
from bridle.core.manager import CommandManager
from bridle.core.messages import JSON, Command, Response
from bridle.wire.binrpc import BinrpcServer
from bridle.wire.binrpc_client import encode_request
from bridle.wire.kea import KeaServer

SUBNET: JSON = {"argument": "subnet-id", "in": [1, 100]}
FILE: JSON = {"argument": "filename", "under": "/etc/kea"}


def policy(**role: JSON) -> Policy:
    roles: JSON = [{"name": "r", **{key.replace("_", "-"): value for key, value in role.items()}}]
    value: JSON = {"assign-role-method": "custom-value", "roles": roles}
    return read_access(value, [], lambda path: "")


def decides(given: Policy, body: bytes | None, manager: CommandManager | None = None) -> bool:
    role = given.role("r")
    assert role is not None
    command = Command("c") if body is None else Command("c", msgspec.Raw(body))
    definition = manager.definition("c") if manager is not None else None
    return given.decide(role, command, definition=definition).allowed


INSIDE, OUTSIDE = "inside", "outside"
UNTOLD = "cannot be told"

BODIES = [
    ({"argument": "n", "one-of": [1, "x"]}, b'{"n": 1}', INSIDE),
    ({"argument": "n", "one-of": [1, "x"]}, b'{"n": 2}', OUTSIDE),
    ({"argument": "n", "one-of": [1, "x"]}, b'{"n": "y"}', OUTSIDE),
    ({"argument": "n", "one-of": [1, "x"]}, b'{"n": "1"}', UNTOLD),  # as a text protocol would carry it
    ({"argument": "n", "one-of": [1, "x"]}, b'{"n": 4294967297}', UNTOLD),
    ({"argument": "n", "one-of": [2, True]}, b'{"n": 1}', UNTOLD),
    ({"argument": "n", "one-of": [4294967297]}, b'{"n": 4294967297}', INSIDE),
    (SUBNET, b'{"subnet-id": 1}', INSIDE),
    (SUBNET, b'{"subnet-id": 100, "other": 5}', INSIDE),
    (SUBNET, b'{"subnet-id": 0}', OUTSIDE),
    (SUBNET, b'{"subnet-id": 101}', OUTSIDE),
    (SUBNET, b'{"subnet-id": 4294967295}', OUTSIDE),
    (SUBNET, b'{"subnet-id": 4294967297}', UNTOLD),
    (SUBNET, b'{"subnet-id": 99999999999999999999999}', UNTOLD),
    (SUBNET, b'{"subnet-id": -1}', UNTOLD),
    ({"argument": "n", "in": [-5, 5]}, b'{"n": -5}', INSIDE),
    ({"argument": "n", "in": [-5, 5]}, b'{"n": -6}', OUTSIDE),
    ({"argument": "n", "in": [-5, 5]}, b'{"n": 4294967291}', UNTOLD),
    ({"argument": "n", "in": [1, 4294967296]}, b'{"n": 4294967296}', INSIDE),
    ({"argument": "n", "in": [1, 4294967296]}, b'{"n": 4294967297}', OUTSIDE),
    ({"argument": "n", "in": [1, 4294967296]}, b'{"n": 18446744073709551617}', UNTOLD),
    (SUBNET, b'{"subnet-id": [1, 2]}', INSIDE),
    (SUBNET, b'{"subnet-id": [101, 102]}', OUTSIDE),
    (SUBNET, b'{"subnet-id": [1, 102]}', UNTOLD),
    (SUBNET, b'{"subnet-id": []}', UNTOLD),
    (SUBNET, b'{"subnet-id": "5"}', UNTOLD),
    (SUBNET, b'{"subnet-id": 5.0}', UNTOLD),
    (SUBNET, b'{"subnet-id": true}', UNTOLD),
    (SUBNET, b'{"subnet-id": null}', UNTOLD),
    (SUBNET, b'{"subnet-id": {"subnet-id": 5}}', UNTOLD),
    (SUBNET, b'{"Subnet-Id": 5}', UNTOLD),
    (SUBNET, b'{"subnet_id": 5}', UNTOLD),
    (SUBNET, b'{"subnet\\u002did": 5}', INSIDE),
    (SUBNET, b'{"subnet-id": 500, "subnet-id": 5}', INSIDE),
    (SUBNET, b'{"subnet-id": 5, "subnet-id": 500}', OUTSIDE),
    (SUBNET, b'{"subnet-id": 5, "subnet-id": "5"}', UNTOLD),
    (SUBNET, b"{}", UNTOLD),
    (SUBNET, b"[5]", UNTOLD),
    (SUBNET, b"5", UNTOLD),
    (SUBNET, b'"5"', UNTOLD),
    (SUBNET, b"null", UNTOLD),
    (SUBNET, b'{"subnet-id": 5', UNTOLD),
    (SUBNET, b'{"subnet-id": 5}}', UNTOLD),
    (SUBNET, b'{"subnet-id": "\xff"}', UNTOLD),
    (SUBNET, b"", UNTOLD),
    (SUBNET, None, UNTOLD),
    (FILE, b'{"filename": "/etc/kea/a.conf"}', INSIDE),
    (FILE, b'{"filename": "/etc/kea/sub/a.conf"}', INSIDE),
    (FILE, b'{"filename": "//etc/./kea//a.conf"}', INSIDE),
    (FILE, b'{"filename": "/etc/kea"}', OUTSIDE),
    (FILE, b'{"filename": "/etc/kea/"}', OUTSIDE),
    (FILE, b'{"filename": "/etc/kea/."}', OUTSIDE),
    (FILE, b'{"filename": "/etc/keaa/a.conf"}', OUTSIDE),
    (FILE, b'{"filename": "/etc/KEA/a.conf"}', OUTSIDE),
    (FILE, b'{"filename": "/etc/passwd"}', OUTSIDE),
    (FILE, b'{"filename": "/"}', OUTSIDE),
    (FILE, b'{"filename": "/etc/kea/../passwd"}', UNTOLD),
    (FILE, b'{"filename": "/etc/kea/sub/../a.conf"}', UNTOLD),
    (FILE, b'{"filename": "/etc/kea/.."}', UNTOLD),
    (FILE, b'{"filename": "/etc/kea/..a"}', INSIDE),
    (FILE, b'{"filename": "a.conf"}', UNTOLD),
    (FILE, b'{"filename": "etc/kea/a.conf"}', UNTOLD),
    (FILE, b'{"filename": ""}', UNTOLD),
    (FILE, b'{"filename": "/etc/kea/a\\u0000.conf"}', UNTOLD),
    (FILE, b'{"filename": 5}', UNTOLD),
    (FILE, b"{}", UNTOLD),
    ({"argument": "origin", "one-of": ["user", 1]}, b'{"origin": "user"}', INSIDE),
    ({"argument": "origin", "one-of": ["user", 1]}, b'{"origin": 1}', INSIDE),
    ({"argument": "origin", "one-of": ["user", 1]}, b'{"origin": "ha"}', OUTSIDE),
    ({"argument": "origin", "one-of": ["user", 1]}, b'{"origin": true}', UNTOLD),
    ({"argument": "origin", "one-of": ["user", 1]}, b'{"origin": 1.0}', UNTOLD),
    ({"argument": "remove", "one-of": [False]}, b'{"remove": false}', INSIDE),
    ({"argument": "remove", "one-of": [False]}, b'{"remove": 0}', UNTOLD),
    ({"argument": ["reservation", "subnet-id"], "in": [1, 9]}, b'{"reservation": {"subnet-id": 5}}', INSIDE),
    ({"argument": ["reservation", "subnet-id"], "in": [1, 9]}, b'{"subnet-id": 5}', UNTOLD),
    ({"argument": ["subnet4", "id"], "in": [1, 9]}, b'{"subnet4": [{"id": 1}, {"id": 9}]}', INSIDE),
    ({"argument": ["subnet4", "id"], "in": [1, 9]}, b'{"subnet4": [{"id": 10}, {"id": 11}]}', OUTSIDE),
    ({"argument": ["subnet4", "id"], "in": [1, 9]}, b'{"subnet4": [{"id": 1}, {"id": 11}]}', UNTOLD),
    ({"argument": ["subnet4", "id"], "in": [1, 9]}, b'{"subnet4": [{"id": 1}, {}]}', UNTOLD),
    pytest.param(SUBNET, b'{"subnet-id": ' + b"1" * 10_000 + b"}", UNTOLD, id="a number"),
    pytest.param(SUBNET, b'{"subnet-id": ' + b"[" * 700 + b"5" + b"]" * 700 + b"}", UNTOLD, id="lists"),
    pytest.param(SUBNET, b'{"subnet-id": ' + b"[" * 100_000, UNTOLD, id="only brackets"),
]


@pytest.mark.parametrize(("rule", "body", "where"), BODIES)
def test_a_rule_about_an_argument(rule: JSON, body: bytes | None, where: str) -> None:
    assert decides(policy(accept_commands=rule), body) is (where == INSIDE)
    assert decides(policy(accept_commands={"not": rule}), body) is (where == OUTSIDE)
    assert decides(policy(reject_commands=rule, other_commands="accept"), body) is (where == OUTSIDE)
    assert decides(policy(reject_commands={"not": rule}, other_commands="accept"), body) is (where == INSIDE)


@pytest.mark.parametrize("nesting", ["not", "and", "or"])
def test_what_cannot_be_told_is_closed_however_it_is_wrapped(nesting: str) -> None:
    once: JSON = {nesting: SUBNET} if nesting == "not" else {nesting: [SUBNET]}
    rule: JSON = {"not": once}
    for members in (
        {"accept_commands": rule},
        {"accept_commands": once},
        {"reject_commands": rule, "other_commands": "accept"},
        {"reject_commands": once, "other_commands": "accept"},
    ):
        assert not decides(policy(**members), b"{}")


def test_logic_goes_on_where_a_part_cannot_be_told() -> None:
    assert decides(policy(accept_commands={"or": [SUBNET, "ALL"]}), b"{}")
    assert not decides(policy(accept_commands={"and": [SUBNET, "ALL"]}), b"{}")
    assert decides(policy(accept_commands={"not": {"and": [SUBNET, "NONE"]}}), b"{}")


# What a handler of this daemon sees.


@pytest.mark.parametrize(
    ("body", "seen"),
    [
        (b'{"subnet-id": 7}', 7),
        (b"[7]", 7),
        (b"7", 7),
        (b'{"subnet-id": 500, "subnet-id": 7}', 7),
        (b'{"subnet-id": 7, "subnet-id": 500}', 500),
        (b"[500, 7]", 500),
        (b'{"other": 7, "subnet-id": 500}', 500),
    ],
)
def test_the_decision_is_about_what_the_handler_is_called_with(body: bytes, seen: int) -> None:
    manager = CommandManager()
    calls: list[int] = []

    def handler(subnet_id: int, other: int = 0) -> None:
        calls.append(subnet_id)

    manager.register_command("c", handler)
    assert decides(policy(accept_commands=SUBNET), body, manager) is (seen <= 100)
    manager.process_command(Command("c", msgspec.Raw(body)))
    assert calls == [seen]


def test_values_that_were_decoded_already_count_as_well() -> None:
    role = policy(accept_commands=SUBNET).role("r")
    assert role is not None
    assert role.decide(Command("c", {"subnet-id": 5})).allowed
    assert not role.decide(Command("c", {"subnet-id": 500})).allowed
    assert not role.decide(Command("c", [5])).allowed


@pytest.mark.parametrize(("number", "inside"), [(7, True), (500, False)])
def test_arguments_of_kamailio_s_dialect_are_scanned_as_the_handler_takes_them(
    number: int, inside: bool
) -> None:
    def handler(subnet_id: int) -> int:
        return subnet_id

    manager = CommandManager()
    manager.register_command("c", handler)
    (command,) = BinrpcServer().receive(encode_request(1, "c", [number]))
    assert isinstance(command, Command)
    role = policy(accept_commands=SUBNET).role("r")
    assert role is not None
    assert role.decide(command, None, manager.definition("c")).allowed is inside
    assert not role.decide(command).allowed
    outcome = manager.process_command(command)
    assert isinstance(outcome, Response)
    assert outcome.arguments == number


@pytest.mark.parametrize(
    "text",
    [
        b'{"command": "c", "arguments": {"subnet-id": 7}}',
        b'{"command": "c", "arguments": {"subnet-id": 500}}',
        b'{"command": "d", "command": "c", "arguments": {"subnet-id": 7}}',
        b'{"command": "c", "command": "d", "arguments": {"subnet-id": 7}}',
        b'{"command": "c", "arguments": {"subnet-id": 500}, "arguments": {"subnet-id": 7}}',
        b'{"command": "c", "arguments": {"subnet-id": 7}, "arguments": {"subnet-id": 500}}',
        b'{"command": "c", "arguments": {"subnet-id": 7}, "arguments": {}}',
        b'{"command": "c", "arguments": {"subnet-id": 7, "subnet-id": 500}} {"command": "d"}',
        b'{"command": "\\u0063", "arguments": {"\\u0073ubnet-id": 500, "subnet-id": 7}}',
        b'{"command": "C", "arguments": {"subnet-id": 7}}',
        b'{"command": "c", /* "subnet-id": 500 */ "arguments": {"subnet-id": 7 // , "subnet-id": 500\n}}',
        b'# {"command": "d"}\n{"command": "c", "arguments": {"subnet-id": 500 # 7\n}}',
        b'//keep-alive\n{"command": "c", "arguments": {"subnet-id": 500}}{"command": "c", "arguments": [7]}',
    ],
)
def test_whatever_the_text_nothing_runs_that_was_not_allowed(text: bytes) -> None:
    """The command that is decided about is the one that is run: comments, escapes, equal keys, pipelining."""
    ran: list[tuple[str, int]] = []

    def c(subnet_id: int) -> None:
        ran.append(("c", subnet_id))

    def d(subnet_id: int = 0) -> None:
        ran.append(("d", subnet_id))

    manager = CommandManager()
    manager.register_command("c", c)
    manager.register_command("d", d)
    role = policy(accept_commands={"and": [{"commands": ["c"]}, SUBNET]}).role("r")
    assert role is not None
    expected = []
    for command in KeaServer().receive(text):
        assert isinstance(command, Command)
        before = len(ran)
        manager.process_command(command)
        allowed = role.decide(command, None, manager.definition(command.name)).allowed
        expected.append((allowed, ran[before:]))
    assert expected
    for allowed, calls in expected:
        assert not [call for call in calls if (call[0] != "c" or call[1] > 100) and allowed]
        assert not [call for call in calls if call[0] == "c" and call[1] <= 100 and not allowed]


def test_a_decision_about_arguments_is_not_remembered_for_others() -> None:
    given = policy(accept_commands={"or": [{"and": [{"commands": ["c"]}, SUBNET]}, {"commands": ["d"]}]})
    assert decides(given, b'{"subnet-id": 1}')
    assert not decides(given, b'{"subnet-id": 1000}')
    assert decides(given, b'{"subnet-id": 1}')
