"""Who may stop a service, for how long, and who starts it again."""

from __future__ import annotations

import asyncio

import pytest

import bridle
from bridle.daemon.service_gate import DB, HA_LOCAL, HA_REMOTE, USER, ServiceGate
from tests.support.loops import on_virtual_clock


def asked(gate: ServiceGate, name: str, arguments: bridle.JSON = None) -> bridle.Response:
    manager = bridle.CommandManager()
    gate.register(manager, "DHCPv4")
    command = bridle.Command(name) if arguments is None else bridle.Command(name, arguments)
    answer = manager.process_command(command)
    assert isinstance(answer, bridle.Response)
    return answer


def test_it_is_open_while_nobody_has_closed_it() -> None:
    gate = ServiceGate()
    assert gate.open
    for origin in (USER, HA_LOCAL + 7, HA_REMOTE, DB):
        gate.disable(origin)
    assert gate.status() == {
        "disabled-by-db-connection": [DB],
        "disabled-by-local-command": [HA_LOCAL + 7],
        "disabled-by-remote-command": [HA_REMOTE],
        "disabled-by-user": True,
        "globally-disabled": True,
    }
    for origin in (USER, HA_LOCAL + 7, HA_REMOTE):
        gate.enable(origin)
        assert not gate.open
    gate.enable(DB)
    assert gate.open


def test_the_user_survives_a_new_configuration_and_nobody_else_does() -> None:
    gate = ServiceGate()
    for origin in (USER, HA_LOCAL, HA_REMOTE, DB):
        gate.disable(origin)
    gate.reconfigured()
    assert gate.status()["globally-disabled"] is True
    gate.enable(USER)
    assert gate.open


@on_virtual_clock
async def test_a_period_ends_by_itself() -> None:
    gate = ServiceGate()
    gate.disable(USER, 20)
    await asyncio.sleep(19)
    assert not gate.open
    await asyncio.sleep(2)
    assert gate.open


@on_virtual_clock
async def test_enabling_cancels_the_period_and_another_one_replaces_it() -> None:
    gate = ServiceGate()
    gate.disable(USER, 5)
    gate.enable(USER)
    gate.disable(USER)
    await asyncio.sleep(6)
    assert not gate.open, "the first period is over and forgotten"
    gate.disable(USER, 5)
    gate.disable(USER, 50)
    await asyncio.sleep(6)
    assert not gate.open
    await asyncio.sleep(50)
    assert gate.open


@on_virtual_clock
async def test_a_period_goes_on_when_it_is_disabled_again_without_one() -> None:
    gate = ServiceGate()
    gate.disable(USER, 5)
    gate.disable(USER)
    await asyncio.sleep(6)
    assert gate.open


@on_virtual_clock
async def test_each_origin_has_its_own_period() -> None:
    gate = ServiceGate()
    gate.disable(USER, 5)
    gate.disable(HA_REMOTE, 10)
    await asyncio.sleep(6)
    assert not gate.open
    await asyncio.sleep(5)
    assert gate.open
    gate.disable(DB, 5)
    gate.close()
    await asyncio.sleep(10)
    assert not gate.open, "nobody waits for it any more"


@on_virtual_clock
async def test_the_commands() -> None:
    gate = ServiceGate()
    assert asked(gate, "dhcp-disable").text == "DHCPv4 service disabled"
    assert not gate.open
    assert asked(gate, "dhcp-enable", {"origin": "user"}).text == "DHCP service successfully enabled"
    assert gate.open
    text = asked(gate, "dhcp-disable", {"max-period": 20, "origin": "ha-partner"}).text
    assert text == "DHCPv4 service disabled for 20 seconds"
    assert gate.status()["disabled-by-remote-command"] == [HA_REMOTE]
    assert asked(gate, "dhcp-enable", {"origin": HA_REMOTE}).result == 0
    assert gate.open
    asked(gate, "dhcp-disable", {"origin-id": 1003, "origin": "user"})
    assert gate.status()["disabled-by-local-command"] == [1003], "the number goes before the word"


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"max-period": 0}, "'max-period' must be positive integer"),
        ({"max-period": "20"}, "'max-period' argument must be a number"),
        ({"max-period": True}, "'max-period' argument must be a number"),
        ({"origin": ""}, "invalid value used for 'origin' parameter: (empty string)"),
        ({"origin": 2}, "invalid value used for 'origin' parameter: 2"),
        ({"origin": [1]}, "'origin' argument must be a string or a number"),
        ({"origin-id": "x"}, "'origin-id' argument must be a number"),
        (
            {"max-period": "x", "origin": "other"},
            "'max-period' argument must be a numberinvalid value used for 'origin' parameter: other",
        ),
        ([], "arguments for the 'dhcp-disable' command must be a map"),
    ],
)
def test_wrong_arguments_change_nothing(arguments: bridle.JSON, text: str) -> None:
    gate = ServiceGate()
    answer = asked(gate, "dhcp-disable", arguments)
    assert (answer.result, answer.text) == (1, text)
    assert gate.open
