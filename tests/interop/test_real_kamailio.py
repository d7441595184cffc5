"""Real Kamailio answers Bridle's clients, and Bridle's agent in front of it over HTTP."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator

import pytest

import bridle
from tests.support.bridle import Agent, command_line
from tests.support.kamailio import Kamailio
from tests.support.kea import JSON
from tests.support.programs import short_directory

pytestmark = pytest.mark.peers("kamailio", "kamcmd")

TRANSPORTS = ["unixs", "unixd", "tcp", "udp"]


@pytest.fixture(scope="module", autouse=True)
def kamailio() -> Iterator[Kamailio]:
    with short_directory() as directory, Kamailio(directory) as running:
        yield running


@pytest.fixture(scope="module", autouse=True)
def agent(kamailio: Kamailio) -> Iterator[Agent]:
    """The agent, with Kamailio behind it by each of its transports."""
    services: dict[str, JSON] = {
        name: {"socket-type": "binrpc", "socket-name": address}
        for name, address in kamailio.addresses.items()
    }
    services["gone"] = {"socket-type": "binrpc", "socket-name": "/nonexistent/ctl"}
    with short_directory() as directory, Agent(directory, {}, {"control-sockets": services}) as running:
        yield running


@pytest.fixture(params=TRANSPORTS)
def transport(request: pytest.FixtureRequest) -> str:
    return str(request.param)


class Reach:
    """One way to Kamailio: with the client, or through the agent."""

    def __init__(self, endpoint: str, service: str | None) -> None:
        self.endpoint = endpoint
        self.service = service

    def execute(self, name: str, arguments: JSON = None) -> bridle.Response:
        """Have a method executed."""
        with bridle.connect(self.endpoint) as client:
            return client.execute(name, arguments, service=self.service)


@pytest.fixture(params=["client", "agent"])
def reach(request: pytest.FixtureRequest, kamailio: Kamailio, agent: Agent, transport: str) -> Reach:
    if request.param == "client":
        return Reach(kamailio.endpoints[transport], None)
    return Reach(agent.endpoint, transport)


def test_version_and_uptime(reach: Reach) -> None:
    assert str(reach.execute("core.version").value).startswith("kamailio 5.")
    uptime = reach.execute("core.uptime").value
    assert isinstance(uptime, dict)
    assert set(uptime) == {"now", "up_since", "uptime"}
    assert isinstance(uptime["uptime"], int)


def test_structs_become_maps(reach: Reach) -> None:
    stats = reach.execute("pkg.stats").value
    assert isinstance(stats, list)
    assert len(stats) > 5
    first = stats[0]
    assert isinstance(first, dict)
    assert {"entry", "pid", "used", "free"} <= set(first)
    sockets = reach.execute("core.sockets_list").value
    assert isinstance(sockets, dict)
    assert isinstance(sockets["socket"], list)  # the name comes twice: UDP and TCP
    assert [one["proto"] for one in sockets["socket"] if isinstance(one, dict)] == ["udp", "tcp"]


def test_who_is_connected(reach: Reach, transport: str, kamailio: Kamailio) -> None:
    who = reach.execute("ctl.who")
    if transport in ("unixd", "udp"):
        # Only streams are told, which the agent and others may have open.
        assert who.result == 0 or (who.result, who.text) == (1, "no open stream connection")
        return
    assert isinstance(who.value, list)
    rows = [who.value[start : start + 6] for start in range(0, len(who.value), 6)]
    if transport == "unixs":
        ours = ["binrpc", "unix_stream", "<anonymous unix socket>", "", f"{kamailio.directory}/ctl", ""]
        assert ours in rows
    else:
        assert ["127.0.0.1", str(kamailio.tcp)] in [row[4:] for row in rows if row[:2] == ["binrpc", "tcp"]]


def test_arguments_are_positional_and_typed(reach: Reach) -> None:
    assert reach.execute("core.prints", ["a", "b"]).value == ["a", "b"]
    assert reach.execute("core.printi", [-5, 2**31 - 1]).value == [-5, 2**31 - 1]
    assert reach.execute("core.printi", 7).value == 7
    assert reach.execute("core.echo").value is None


def test_faults_cross_by_the_table_of_results(reach: Reach) -> None:
    wrong = reach.execute("core.prints", [5])
    assert wrong.result == 1
    assert wrong.text == "error at parameter 0: expected string type but record doesn't match type"
    unknown = reach.execute("no.such")
    assert (unknown.result, unknown.text) == (2, "command no.such not found")


def test_a_fault_is_a_command_error_with_its_code(kamailio: Kamailio, transport: str) -> None:
    with bridle.connect(kamailio.endpoints[transport]) as client:
        with pytest.raises(bridle.CommandError) as caught:
            client.call("cnt.get", ["nope", "nope"])
        assert (caught.value.code, caught.value.result) == (400, 1)
        assert caught.value.text.startswith("non-existent counter nope.nope")
        assert client.call("core.pwd") == "/"


def test_commands_are_sent_together(kamailio: Kamailio, transport: str) -> None:
    calls: list[tuple[str, bridle.JSON]] = [("core.printi", [number]) for number in range(500)]
    with bridle.connect(kamailio.endpoints[transport]) as client:
        assert [answer.value for answer in client.execute_many(calls)] == list(range(500))

    async def asynchronously() -> list[bridle.JSON]:
        async with bridle.connect_async(kamailio.endpoints[transport]) as client:
            return [answer.value for answer in await client.execute_many(calls)]

    assert asyncio.run(asynchronously()) == list(range(500))


def test_large_answers(kamailio: Kamailio, transport: str) -> None:
    """Over datagrams, Kamailio sends the structs of one reply in several."""
    with bridle.connect(kamailio.endpoints[transport]) as client:
        full = client.call("core.ppdefines_full")
        text = client.call("core.prints", ["x" * 30000])
    assert isinstance(full, list)
    assert len(full) > 10
    assert text == "x" * 30000


def test_a_service_that_is_not_there_is_told_and_the_others_answer(agent: Agent) -> None:
    with bridle.connect(agent.endpoint) as client:
        answers = client.execute_all("core.pwd", services=[*TRANSPORTS, "gone"])
    assert [answer.value for answer in answers[:4]] == ["/"] * 4
    assert answers[4].text == (
        "unable to forward command to the gone service: No such file or directory. "
        "The server is likely to be offline"
    )


def test_the_shell_knows_kamailios_methods(kamailio: Kamailio, transport: str) -> None:
    lines = "help\nhelp core.ps\ncore.printi 5 -7\nno.such\nquit\n"
    ended = command_line("shell", kamailio.endpoints[transport], "--json", stdin=lines)
    assert "Dump user location tables" in ended.stdout
    assert "Returns the description of running processes." in ended.stdout
    assert '"result": 2' in ended.stdout
    assert "command no.such not found" in ended.stdout
    assert "Traceback" not in ended.stderr


def test_the_shell_knows_the_methods_behind_an_agent(agent: Agent) -> None:
    ended = command_line("shell", agent.endpoint, "--service", "tcp", stdin="help\ncore.pwd\nquit\n")
    assert "core.uptime" in ended.stdout
    assert "/" in ended.stdout


def test_a_call_from_the_command_line(kamailio: Kamailio, transport: str) -> None:
    ended = command_line("call", kamailio.endpoints[transport], "core.prints", "a", '"5"', "--json")
    assert (ended.returncode, json.loads(ended.stdout)) == (0, {"result": 0, "arguments": ["a", "5"]})
    wrong = command_line("call", kamailio.endpoints[transport], "core.prints", "5")
    assert wrong.returncode == 1
