"""Kea's own control agent forwards to a daemon that embeds Bridle as it forwards to Kea's daemons."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

import bridle
from tests.support import kea
from tests.support.bridle import EmbeddedDaemon
from tests.support.programs import short_directory

pytestmark = pytest.mark.peers("kea-ctrl-agent")


@pytest.fixture(scope="module")
def parrot() -> Iterator[EmbeddedDaemon]:
    with short_directory() as directory, EmbeddedDaemon("tests.support.parrot:Parrot", directory) as running:
        yield running


@pytest.fixture(scope="module")
def front(thermostat: EmbeddedDaemon, parrot: EmbeddedDaemon) -> Iterator[kea.ControlAgent]:
    """Kea's agent; the thermostat is its ``dhcp4``, the parrot its ``d2``."""
    services = {"dhcp4": thermostat.socket, "d2": parrot.socket}
    with short_directory() as directory, kea.ControlAgent(directory, services) as running:
        yield running


@pytest.fixture
def client(front: kea.ControlAgent) -> Iterator[bridle.Client]:
    with bridle.connect(f"http://127.0.0.1:{front.port}") as connected:
        yield connected


COMMON = ["build-report", "config-get", "config-hash-get", "config-reload", "config-set", "config-test"]
COMMON += ["config-write", "list-commands", "shutdown", "status-get", "version-get"]


def test_list_commands_names_the_common_ones_and_the_daemons_own(client: bridle.Client) -> None:
    names = client.call("list-commands", service="dhcp4")

    assert isinstance(names, list)
    assert names == sorted(map(str, names))
    assert {*COMMON, "set-target"} <= set(map(str, names))


def test_status_get_tells_of_the_daemons_own_process(
    client: bridle.Client, thermostat: EmbeddedDaemon
) -> None:
    status = client.call("status-get", service="dhcp4")

    assert isinstance(status, dict)
    assert status["pid"] == thermostat.pid
    assert isinstance(status["uptime"], int)
    assert isinstance(status["reload"], int)


def test_config_get_is_what_config_set_and_config_test_take(client: bridle.Client) -> None:
    configuration = client.call("config-get", service="dhcp4")
    assert isinstance(configuration, dict)
    assert list(configuration) == ["Thermostat", "hash"]

    document = {"Thermostat": configuration["Thermostat"]}
    tested = client.execute("config-test", document, service="dhcp4")
    applied = client.execute("config-set", document, service="dhcp4")

    assert tested.result == 0
    assert tested.text is not None
    assert tested.text.startswith("Configuration seems sane.")
    assert (applied.result, applied.text) == (0, "Configuration successful.")
    assert applied.value == {"hash": configuration["hash"]}


def test_a_configuration_that_is_refused_is_named_and_leaves_the_running_one(client: bridle.Client) -> None:
    before = client.call("config-get", service="dhcp4")

    refused = client.execute("config-set", {"Thermostat": {"bogus": 1}}, service="dhcp4")

    assert refused.result == 1
    assert refused.text is not None
    assert refused.text.startswith("unsupported global configuration parameter: bogus (<wire>:0:")
    assert client.call("config-get", service="dhcp4") == before


def test_an_unknown_command_is_unsupported(client: bridle.Client) -> None:
    answer = client.execute("no-such-command", service="dhcp4")

    assert (answer.result, answer.text) == (2, "'no-such-command' command not supported.")


def test_a_missing_argument_is_named(client: bridle.Client) -> None:
    answer = client.execute("set-target", {}, service="dhcp4")

    assert answer.result == 1
    assert answer.text is not None
    assert "celsius" in answer.text


def test_both_daemons_answer_one_command_in_the_order_they_are_named_in(
    client: bridle.Client, thermostat: EmbeddedDaemon, parrot: EmbeddedDaemon
) -> None:
    answers = client.execute_all("status-get", services=["d2", "dhcp4", "dhcp6", "d2"])

    pids = [answer.value["pid"] if isinstance(answer.value, dict) else None for answer in answers]
    assert pids == [parrot.pid, thermostat.pid, None, parrot.pid]


@pytest.mark.parametrize(
    "value",
    [
        {},
        [],
        None,
        True,
        0,
        -(2**63),
        2**63 - 1,
        1.5,
        "",
        'grüß € 𝄞 " \\ / \b\f\n\r\t\x01\x7f',
        {"b": {"a": [[], {}, [1, "x", None]], "": False}, "A": 1, "10": 2, "9": 3},
        ["x" * 10, ["nested", ["deeper", {"and": {"deeper": []}}]]],
    ],
    ids=repr,
)
def test_values_come_through_keas_agent_and_back_unchanged(client: bridle.Client, value: bridle.JSON) -> None:
    assert client.call("repeat", {"value": value}, service="d2") == value


@pytest.mark.parametrize("lines", [1, 400, 20_000], ids=["one read", "two reads", "two megabytes"])
def test_an_answer_of_any_size_comes_through_whole(client: bridle.Client, lines: int) -> None:
    recited = client.call("recite", {"lines": lines}, service="d2")

    assert recited == [f"{number:0100}" for number in range(lines)]


def test_an_answer_is_already_written_as_kea_writes_it(
    front: kea.ControlAgent, parrot: EmbeddedDaemon
) -> None:
    value: kea.JSON = {"b": [], "a": {}, "Z": [1, 2.5, True, None, "/\n"], "10": {"9": "8"}}

    direct = kea.exchange(parrot.socket, kea.request("repeat", {"value": value}))
    through = kea.post(front.port, kea.request("repeat", {"value": value}, ["d2"]))

    assert b"[ " + direct + b" ]" == through.body
    assert json.loads(direct)["result"] == 0
