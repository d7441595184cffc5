"""Real clients of several unix users on one socket: who they are, and which groups they are in, decides."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

import bridle
from bridle import JSON
from bridle.daemon.running import Running
from tests.support.loops import on_every_loop
from tests.support.programs import require

pytestmark = [
    pytest.mark.peers("curl", "setpriv", "socat"),
    pytest.mark.skipif(os.geteuid() != 0, reason="only root can be several users"),
]

OPERATOR, READER, STRANGER = 54001, 54002, 54003
PRIMARY, SUPPLEMENTARY, OTHER = 54101, 54102, 54103
ALL = "?mode=0666&allow-world-writable=yes"
ACCESS: dict[str, JSON] = {
    "assign": [
        {"unix-user": "root", "role": "admin"},
        {"unix-group": PRIMARY, "role": "admin"},
        {"unix-group": SUPPLEMENTARY, "role": "reader"},
    ],
    "roles": [
        {"name": "admin", "accept-commands": "ALL"},
        {"name": "reader", "accept-commands": "READ"},
    ],
}


class Lamp(bridle.Daemon):
    """Has one command that reads, and one that writes."""

    def __init__(self) -> None:
        self.on = False

    @bridle.command(access="read")
    def look(self) -> bool:
        """Tell whether it is on."""
        return self.on

    @bridle.command(access="write")
    def switch(self) -> None:
        """Switch it."""
        self.on = not self.on


def who(user: int, group: int, *groups: int) -> list[str]:
    """The words that run a program as somebody else."""
    others = f"--groups={','.join(map(str, groups))}" if groups else "--clear-groups"
    return [str(require("setpriv")), f"--reuid={user}", f"--regid={group}", others]


PEOPLE = {
    "root": ([], True, True),
    "primary group": (who(OPERATOR, PRIMARY), True, True),
    "supplementary group": (who(READER, OTHER, 4, SUPPLEMENTARY), True, False),
    "among many groups": (who(READER, OTHER, *range(60000, 60400), SUPPLEMENTARY), True, False),
    "neither": (who(STRANGER, OTHER, 4), False, False),
}
"""How to be each, whether they may look, and whether they may switch."""


@asynccontextmanager
async def lamp(folder: Path, access: JSON = ACCESS) -> AsyncIterator[Running]:
    """The daemon on two sockets that everybody may connect to."""
    folder.chmod(0o755)
    places = (f"http+unix:{folder}/h{ALL}", f"unix:{folder}/u{ALL}")
    configuration: dict[str, JSON] = {"Lamp": {} if access is None else {"access": access}}
    file = folder / "lamp.conf"
    file.write_text(json.dumps(configuration))
    async with bridle.serve(Lamp(), *places, configuration_file=str(file)) as running:
        yield running


async def output(words: list[str], given: bytes = b"") -> bytes:
    """What a program prints."""
    process = await asyncio.create_subprocess_exec(
        *words, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
    )
    async with asyncio.timeout(15):
        printed, _ = await process.communicate(given)
    return printed


async def by_curl(folder: Path, person: list[str], command: str, host: str = "localhost") -> str:
    """The status and the body that curl gets on the one socket."""
    head = ["-s", "-w", " %{http_code}", "-H", "Content-Type: application/json"]
    words = [str(require("curl")), *head, "--unix-socket", f"{folder}/h"]
    ask = ["-d", json.dumps({"command": command}), f"http://{host}/"]
    return (await output([*person, *words, *ask])).decode()


async def by_socat(folder: Path, person: list[str], command: str) -> JSON:
    """The answer that socat gets on the other."""
    words = [*person, str(require("socat")), "-t10", "-", f"UNIX-CONNECT:{folder}/u"]
    answer: JSON = json.loads(await output(words, json.dumps({"command": command}).encode()))
    return answer


@pytest.mark.parametrize("name", PEOPLE)
@on_every_loop
async def test_each_user_may_do_on_one_http_socket_what_their_role_may(short_path: Path, name: str) -> None:
    person, looks, switches = PEOPLE[name]
    async with lamp(short_path):
        for command, allowed in (("look", looks), ("switch", switches)):
            told = await by_curl(short_path, person, command)
            assert told.endswith(" 200" if allowed else " 403"), told
            assert ("Forbidden" in told) != allowed


@pytest.mark.parametrize("name", PEOPLE)
@on_every_loop
async def test_so_they_may_on_one_unix_socket(short_path: Path, name: str) -> None:
    person, looks, switches = PEOPLE[name]
    async with lamp(short_path):
        for command, allowed in (("look", looks), ("switch", switches)):
            told = await by_socat(short_path, person, command)
            assert isinstance(told, dict)
            assert told["result"] == (0 if allowed else 403)


@pytest.mark.parametrize("host", ["localhost", "bridle", "a.name.of.its.own.example"])
@on_every_loop
async def test_any_host_may_be_named(short_path: Path, host: str) -> None:
    async with lamp(short_path, None):
        assert (await by_curl(short_path, [], "look", host)).endswith(" 200")


@on_every_loop
async def test_who_was_connected_before_groups_counted_has_them_too(short_path: Path) -> None:
    async with lamp(short_path, None) as running:
        os.setegid(OTHER)
        before = os.getgroups()
        try:
            os.setgroups([SUPPLEMENTARY])
            os.seteuid(READER)
            client = bridle.connect_async(f"http+unix:{short_path}/h")
            assert await client.call("look") is False
        finally:
            os.seteuid(0)
            os.setegid(0)
            os.setgroups(before)
        try:
            answer = await bridle.connect_async(f"unix:{short_path}/u").execute(
                "config-set", {"Lamp": {"access": ACCESS}}
            )
            assert answer.result == 0, answer.text
            assert await client.call("look") is False
            assert (await client.execute("switch")).result == bridle.Result.FORBIDDEN
        finally:
            await client.close()
        assert running.daemon.guard is not None
