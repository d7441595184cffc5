"""Services that speak Kamailio's dialects, behind the agent."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import bridle
from bridle.agent.agent import Agent
from tests.support.loops import on_every_loop
from tests.support.programs import free_port


class Sip(bridle.Daemon):
    """What stands in for a SIP server here."""

    @bridle.command
    def echo(self, word: str, times: int = 1) -> str:
        """Say a word."""
        return word * times

    @bridle.command
    async def nap(self, seconds: float) -> None:
        """Take long."""
        await asyncio.sleep(seconds)

    @bridle.command
    def odd(self) -> bridle.Response:
        """Answer a fault of an odd code."""
        return bridle.Response(1, "later", code=600)


@asynccontextmanager
async def fronted(folder: Path) -> AsyncIterator[bridle.AsyncClient]:
    """The agent in front of a daemon, which it reaches in every way."""
    places = {
        "unix": {"socket-type": "binrpc", "socket-name": f"{folder}/ctl"},
        "unixd": {"socket-type": "binrpc", "socket-name": f"unixd:{folder}/ctld"},
        "text": {"socket-type": "fifo", "socket-name": f"{folder}/fifo"},
        "endpoint": {"endpoint": f"binrpc+unix:{folder}/ctl"},
        "short": {"socket-type": "binrpc", "socket-name": f"{folder}/ctl", "timeout": 0.05},
        "gone": {"socket-type": "binrpc", "socket-name": f"unixd:{folder}/none"},
    }
    port = free_port()
    file = folder / "agent.conf"
    file.write_text(json.dumps({"Control-agent": {"http-port": port, "control-sockets": places}}))
    endpoints = [f"binrpc+unix:{folder}/ctl", f"binrpc+unixd:{folder}/ctld", f"fifo:{folder}/fifo"]
    async with (
        bridle.serve(Sip(), *endpoints),
        bridle.serve(Agent(), configuration_file=str(file)),
        bridle.connect_async(f"http://127.0.0.1:{port}") as client,
    ):
        yield client


BINRPC = ["unix", "unixd", "endpoint"]


@on_every_loop
async def test_commands_and_answers_cross(short_path: Path) -> None:
    async with fronted(short_path) as client:
        for service in (*BINRPC, "text"):
            assert await client.call("echo", ["hi", 2], service=service) == "hihi"
            assert await client.call("echo", {"word": "a", "times": 3}, service=service) == "aaa"
            assert await client.call("echo", "b", service=service) == "b"
            assert (await client.execute("nap", [0.0], service=service)).result == 0
        uptime = await client.call("core.uptime", service="unix")
        assert isinstance(uptime, dict)
        assert set(uptime) == {"now", "up_since", "uptime"}


@on_every_loop
async def test_faults_cross_by_the_table_of_results(short_path: Path) -> None:
    async with fronted(short_path) as client:
        for service in BINRPC:
            unknown = await client.execute("no.such", service=service)
            assert (unknown.result, unknown.text) == (2, "command no.such not found")
            wrong = await client.execute("echo", [5], service=service)
            assert wrong.result == 1
            assert wrong.text == "error at parameter 0: expected string type but record doesn't match type"
            odd = await client.execute("odd", service=service)
            assert (odd.result, odd.text) == (1, "later")
        unknown = await client.execute("no.such", service="text")
        assert (unknown.result, unknown.text) == (2, "Command 'no.such' not found")


@on_every_loop
async def test_one_that_is_silent_or_gone_costs_the_others_nothing(short_path: Path) -> None:
    async with fronted(short_path) as client:
        answers = await client.execute_all("nap", [0.2], services=["unix", "short", "gone", "unixd"])
        assert [answer.result for answer in answers] == [0, 1, 1, 0]
        assert answers[1].text == (
            "unable to forward command to the short service: Operation canceled. "
            "The server is likely to be offline"
        )
        assert "No such file or directory" in str(answers[2].text)
        many = await asyncio.gather(*(client.call("echo", [str(n)], service="unix") for n in range(200)))
        assert many == [str(number) for number in range(200)]
