"""Real Pacemaker behind Bridle's client, command line, shell and agent; and servers that nobody may trust."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import json
import subprocess
import sys
from collections.abc import Iterator
from typing import Literal

import pytest

import bridle
from bridle.pacemaker import IPCError, LauncherPing, PacemakerIPC, legacy
from tests.support.bridle import Agent, bridle_environment, command_line
from tests.support.kea import post
from tests.support.pacemaker import CLUSTER, Sandbox, sandbox
from tests.support.programs import short_directory

pytestmark = [
    pytest.mark.peers(*CLUSTER, "setpriv"),
    pytest.mark.namespaces,
    pytest.mark.timeout(90),
]

TRANSPORTS: tuple[Literal["shm", "socket"], ...] = ("shm", "socket")
NODES = {"nodes": [{"id": 1, "name": "node1", "state": "member"}]}


@pytest.fixture(scope="module", params=TRANSPORTS)
def cluster(request: pytest.FixtureRequest) -> Iterator[Sandbox]:
    with sandbox("cluster", request.param) as running:
        yield running


# The client.


def test_the_blocking_client(cluster: Sandbox) -> None:
    def run() -> None:
        with bridle.connect("qb:crmd") as controller:
            assert controller.call("node-list") == NODES
            assert controller.call("node-info", [1]) == controller.call("node-info", {"node": "node1"})
            with pytest.raises(bridle.CommandError) as caught:
                controller.call("node-info", {"node": "nobody"})
            assert (caught.value.result, caught.value.code) == (bridle.Result.EMPTY, 6)
            wrong = controller.execute("node-info", {"colour": 1})
            assert (wrong.result, wrong.text) == (1, "unknown argument 'colour'")
            assert controller.execute("no-such").result == bridle.Result.UNSUPPORTED
            several = controller.execute_many([("ping", None), ("node-list", None)])
            assert [one.result for one in several] == [0, 0]
        with bridle.connect("qb:cib_ro") as cib:
            assert "node1" in str(cib.call("cib-query", {"section": "nodes"}))

    cluster.inside(run)


def test_all_daemons_behind_one_endpoint(cluster: Sandbox) -> None:
    async def main() -> None:
        async with bridle.connect_async("qb:pacemaker") as pacemaker:
            pings = [None, {"subsystem": "crmd"}, {"subsystem": "dc"}, {"node": "node1"}]
            found = await asyncio.gather(*(pacemaker.call("ping", ping) for ping in pings))  # type: ignore[arg-type]
            assert [one["subsystem"] for one in found if isinstance(one, dict)] == [
                "pacemakerd",
                "crmd",
                "dc",
                "crmd",
            ]
            await pacemaker.call("attribute-update", {"name": "shape", "value": "round"})
            shape = await pacemaker.call("attribute-query", "shape")
            assert shape == {"name": "shape", "values": [{"node": "node1", "value": "round"}]}
            cib = await pacemaker.call("cib-query")
            graph = await pacemaker.call("graph", cib)
            assert isinstance(graph, dict)
            assert str(graph["graph"]).startswith("<transition_graph")
            assert await pacemaker.call("fencing-history") == {"history": []}
            missing = await pacemaker.execute("resource-info", ["nothing"])
            assert missing.result == bridle.Result.EMPTY
            for subsystem in ("crmd", "attrd", "pacemakerd"):
                purged = await pacemaker.execute("node-purge", {"node": "node9", "subsystem": subsystem})
                assert purged.result == 0

    cluster.inside(lambda: asyncio.run(main()))


# The command line.


def test_the_command_line(cluster: Sandbox) -> None:
    def call(*words: str) -> subprocess.CompletedProcess[str]:
        return cluster.inside(lambda: command_line("call", *words))

    listed = call("qb:crmd", "node-list")
    assert (listed.returncode, listed.stderr) == (0, "")
    assert json.loads(listed.stdout)["arguments"] == NODES
    assert call("qb:crmd", "node-info", "node=nobody").returncode == bridle.Result.EMPTY
    assert call("qb:crmd", "node-info", "color=1").returncode == bridle.Result.ERROR
    assert call("qb:crmd", "no-such").returncode == bridle.Result.UNSUPPORTED
    missing = call("qb:nobody", "ping")
    assert missing.returncode == bridle.ExitStatus.UNAVAILABLE
    assert "Connection refused" in missing.stderr
    xml = '<tags><tag id="cli"><obj_ref id="x"/></tag></tags>'
    assert call("qb:pacemaker", "cib-create", f"xml={xml}", "section=configuration").returncode == 0
    assert call("qb:pacemaker", "cib-create", f"xml={xml}", "section=configuration").returncode == 4
    assert call("qb:pacemaker", "cib-delete", "xpath=//tags").returncode == 0


def test_the_shell(cluster: Sandbox) -> None:
    typed = "help node-info\nnode-list\nping\nattribute-query nothing\n"
    ended = cluster.inside(lambda: command_line("shell", "qb:pacemaker", "--json", stdin=typed))
    assert "node-info [node-id=integer|null] [node=string|null]" in ended.stdout
    assert '"member"' in ended.stdout
    assert '"running"' in ended.stdout
    assert ended.returncode == bridle.Result.EMPTY


# The agent.


def test_the_agent(cluster: Sandbox) -> None:
    services = {
        "cluster": {"socket-type": "pacemaker"},
        "controller": {"socket-type": "pacemaker", "socket-name": "crmd"},
        "gone": {"socket-type": "pacemaker", "socket-name": "gone"},
    }

    def run() -> None:
        with (
            short_directory() as directory,
            Agent(directory, {}, {"control-sockets": services}) as agent,
            bridle.connect(agent.endpoint) as client,
        ):
            whole = {"command": "node-list", "service": ["cluster"]}
            answer = post(agent.port, json.dumps(whole).encode())
            assert json.loads(answer.body) == [{"result": 0, "arguments": NODES}]
            both = client.execute_all("node-info", {"node": "x"}, services=["cluster", "controller"])
            assert [one.result for one in both] == [3, 3]
            gone = client.execute("ping", service="gone")
            assert "likely to be offline" in (gone.text or "")
            unknown = client.execute("no-such", service="controller")
            assert unknown.result == bridle.Result.UNSUPPORTED
            told = client.call("command-help", ["node-list"], service="cluster")
            assert isinstance(told, dict)
            assert "node-list" in told

    cluster.inside(run)


# Servers that nobody may trust.


@pytest.fixture(scope="module", params=TRANSPORTS)
def nothing(request: pytest.FixtureRequest) -> Iterator[Sandbox]:
    with sandbox("empty", request.param) as running:
        yield running


@pytest.mark.parametrize(
    ("user", "group", "symbol"),
    [
        ("nobody", "nogroup", "ECONNABORTED"),
        ("nobody", "haclient", ""),
        ("hacluster", "haclient", ""),
        ("root", "root", ""),
    ],
)
def test_whom_a_client_trusts(nothing: Sandbox, user: str, group: str, symbol: str) -> None:
    def run() -> None:
        with server_of(user, group, nothing.transport):
            daemon = PacemakerIPC("pacemakerd")
            client = legacy.crm_ipc_new("pacemakerd")
            assert client is not None
            if symbol:
                with pytest.raises(IPCError) as caught:
                    daemon.connect()
                assert caught.value.symbol == symbol
                assert not legacy.crm_ipc_connect(client)
                assert client.errno == errno.ECONNABORTED
                with pytest.raises(bridle.TransportError):
                    bridle.connect("qb:pacemakerd").call("ping")
                return
            daemon.connect()
            assert daemon.request(LauncherPing()).state == "running"
            daemon.disconnect()
            assert legacy.crm_ipc_connect(client)
            legacy.crm_ipc_destroy(client)

    nothing.inside(run)


@contextlib.contextmanager
def server_of(user: str, group: str, transport: str) -> Iterator[None]:
    """A made-up launcher that runs as somebody."""
    argv = ["setpriv", f"--reuid={user}", f"--regid={group}", "--clear-groups", sys.executable, "-m"]
    with subprocess.Popen(
        [*argv, "tests.support.pacemaker", transport],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=bridle_environment(),
        cwd="/",
    ) as process:
        assert process.stdout is not None
        assert process.stdin is not None
        try:
            assert process.stdout.readline() == b"ready\n"
            yield
        finally:
            process.stdin.close()
