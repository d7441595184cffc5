"""``bridle shell`` against real Kea: every common command, and completion of names."""

from __future__ import annotations

import json
from pathlib import Path
from typing import cast

import pytest

import bridle
from tests.support import kea
from tests.support.bridle import Agent, command_line
from tests.support.terminal import Terminal

DAEMONS = ("kea-dhcp4", "kea-dhcp6", "kea-dhcp-ddns")

# What a daemon of Kea 2.2 has of reference/kea-management-api.txt, with the result that each gives.
COMMON = {
    "build-report": 0,
    "config-get": 0,
    "config-reload": 0,
    "config-write filename={file}": 0,
    "list-commands": 0,
    "status-get": 0,
    "version-get": 0,
}
OF_DHCP = {
    "config-backend-pull": 3,
    "dhcp-disable max-period=20": 0,
    "dhcp-enable": 0,
    "leases-reclaim remove=true": 0,
    "libreload": 0,
    "server-tag-get": 0,
}
ROOTS = {"dhcp4": "Dhcp4", "dhcp6": "Dhcp6", "d2": "DhcpDdns"}


def answers(text: str) -> list[dict[str, kea.JSON]]:
    """The JSON texts that stand one behind the other; a list of one is its only answer."""
    decoder, position, found = json.JSONDecoder(), 0, []
    while text[position:].strip():
        position += len(text[position:]) - len(text[position:].lstrip())
        value, position = decoder.raw_decode(text, position)
        found.append(value[0] if isinstance(value, list) else value)
    return cast("list[dict[str, kea.JSON]]", found)


@pytest.mark.peers(*DAEMONS)
@pytest.mark.parametrize("way", ["socket", "agent"])
@pytest.mark.parametrize("service", ["dhcp4", "dhcp6", "d2"])
def test_every_common_command_goes_through_the_shell(
    real_kea: kea.RealKea, agent: Agent, short_path: Path, service: str, way: str
) -> None:
    socket = real_kea.services[service]
    with bridle.connect(f"unix:{socket}") as client:
        configuration = json.dumps(client.call("config-get"))
    expected = COMMON if service == "d2" else {**COMMON, **OF_DHCP}
    lines = [line.format(file=short_path / "written.json") for line in expected]
    lines += [f"config-test {configuration}", f"config-set {configuration}"]
    endpoint = [f"unix:{socket}"]
    if way == "agent":
        endpoint = [f"http://127.0.0.1:{agent.port}", "--service", service]

    completed = command_line("shell", *endpoint, stdin="\n".join(lines) + "\n")

    given = answers(completed.stdout)
    assert completed.stderr == ""
    assert [answer["result"] for answer in given] == [*expected.values(), 0, 0]
    assert completed.returncode == max(expected.values())
    assert ROOTS[service] in json.loads((short_path / "written.json").read_text())


@pytest.mark.peers("kea-dhcp4")
def test_shutdown_through_the_shell_ends_the_daemon_with_the_exit_value(short_path: Path) -> None:
    daemon = kea.Dhcp4(short_path)
    with daemon:
        completed = command_line("shell", f"unix:{daemon.socket}", stdin="shutdown exit-value=3\n")
        assert answers(completed.stdout)[0]["text"] == "Shutting down."
        assert daemon.wait() == 3


@pytest.mark.peers(*DAEMONS)
def test_names_are_completed_and_answers_shown_on_a_terminal(real_kea: kea.RealKea, agent: Agent) -> None:
    with Terminal("shell", f"http://127.0.0.1:{agent.port}", "--service", "dhcp4", columns=100) as terminal:
        terminal.expect("dhcp4")
        terminal.type("server-t")
        terminal.expect("server-tag-get")
        terminal.type("\t\r")
        terminal.expect("server-tag:")
        terminal.type("use d2\r")
        terminal.expect("d2")
        terminal.type("server-tag-get\r")
        terminal.expect("'server-tag-get' command not supported.")
        terminal.type("quit\r")
        assert terminal.wait() == 0
