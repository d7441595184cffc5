"""What only the asyncio client promises: calls at the same time, and calls that are given up."""

from __future__ import annotations

import asyncio
import gc
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trustme

import bridle
from bridle import AsyncClient, Peer, Server
from bridle.client import TIMEOUT
from bridle.client.pool import IDLE_CONNECTIONS, IDLE_TIME
from bridle.testing import elapsed
from tests.support.loops import LOOPS, on_every_loop, on_virtual_clock
from tests.support.servers import Site, answer, full_backlog, take, until_it_leaves
from tests.support.streams import Commands, turns


@pytest.fixture
def path(short_path: Path) -> Path:
    return short_path / "control"


@pytest.fixture(params=["unix", "http"])
def place(request: pytest.FixtureRequest, path: Path) -> str:
    """Where to listen."""
    return f"unix:{path}" if request.param == "unix" else "http://127.0.0.1:0"


@pytest.fixture
def commands() -> Commands:
    return Commands()


class Gathering(Commands):
    """Its commands end once so many of them are under way at a time."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self._missing = number
        self._all = asyncio.Event()

    async def wait(self, value: str, seconds: float = 0.0) -> str:
        self._missing -= 1
        if not self._missing:
            self._all.set()
        await self._all.wait()
        return await super().wait(value, seconds)


@asynccontextmanager
async def calling(place: str, commands: Commands, *, timeout: float = TIMEOUT) -> AsyncIterator[AsyncClient]:
    """A client of a server on the same loop."""
    server = Server(commands)
    try:
        channel = await server.listen(place)
        async with bridle.connect_async(channel.endpoint, timeout=timeout) as client:
            yield client
        await turns()
    finally:
        await server.close(0)


def sockets() -> int:
    """How many sockets and pollers this process holds."""
    held = 0
    for name in os.listdir("/proc/self/fd"):  # noqa: PTH208
        try:
            target = os.readlink(f"/proc/self/fd/{name}")  # noqa: PTH115
        except OSError:
            continue
        held += target.startswith("socket:") or "eventpoll" in target
    return held


# At the same time


@on_every_loop
async def test_many_calls_at_a_time_each_get_their_own_answer(place: str) -> None:
    async with calling(place, Gathering(51)) as client:
        values = [f"v{number}" for number in range(100)]
        assert await asyncio.gather(*(client.call("wait", [value]) for value in values)) == values
        assert await asyncio.gather(*(client.call("say", [value]) for value in values)) == values


@on_virtual_clock
async def test_a_slow_call_delays_no_other(place: str, commands: Commands) -> None:
    async with calling(place, commands, timeout=1000) as client:
        slow = asyncio.create_task(client.call("wait", ["slow", 500]))
        await turns()
        for number in range(20):
            assert await client.call("say", [str(number)]) == str(number)
        assert elapsed() < 1
        assert await slow == "slow"


@on_every_loop
async def test_calls_one_after_another_share_a_connection(place: str, commands: Commands) -> None:
    async with calling(place, commands) as client:
        await client.call("say", ["first"])
        before = sockets()
        for number in range(50):
            await client.call("say", [str(number)])
            assert sockets() == before


@on_every_loop
async def test_no_more_connections_are_kept_than_the_limit(place: str, commands: Commands) -> None:
    async with calling(place, commands) as client:
        before = sockets()
        await asyncio.gather(*(client.call("wait", ["x", 0.05]) for _ in range(3 * IDLE_CONNECTIONS)))
        for _ in range(100):
            await asyncio.sleep(0.01)
            if sockets() <= before + 2 * IDLE_CONNECTIONS + 1:
                break
        assert sockets() <= before + 2 * IDLE_CONNECTIONS + 1
        await client.close()
        for _ in range(100):
            await asyncio.sleep(0.01)
            if sockets() <= before:
                break
        assert sockets() <= before


# Given up


@on_virtual_clock
async def test_a_call_is_given_up_after_the_default_time(place: str, commands: Commands) -> None:
    async with calling(place, commands) as client:
        with pytest.raises(bridle.DeadlineExceeded):
            await client.call("wait", ["x", 100])
        assert elapsed() == pytest.approx(TIMEOUT, abs=0.1)


@on_virtual_clock
async def test_what_is_given_up_is_not_cancelled_at_the_server(place: str, commands: Commands) -> None:
    async with calling(place, commands) as client:
        with pytest.raises(bridle.DeadlineExceeded):
            await client.call("wait", ["x", 30], timeout=5)
        await asyncio.sleep(30)
        assert commands.done == ["x"]


@on_virtual_clock
async def test_a_cancelled_call_leaves_the_client_usable(place: str, commands: Commands) -> None:
    async with calling(place, commands) as client:
        for number in range(5):
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(1):
                    await client.call("wait", ["x", 60])
            assert await client.call("say", [str(number)]) == str(number)
        assert elapsed() == pytest.approx(5, abs=0.1)


@on_every_loop
async def test_a_call_may_be_cancelled_at_any_moment_and_leaves_nothing(
    place: str, commands: Commands
) -> None:
    async with calling(place, commands) as client:
        await client.call("say", ["first"])
        await client.close()
        await turns()
        before = sockets()
        for count in range(12):
            task = asyncio.create_task(client.call("wait", ["x", 0.001]))
            await turns(count)
            task.cancel()
            await asyncio.wait([task])
            assert task.cancelled() or task.result() == "x"
            assert await client.call("say", [str(count)]) == str(count)
            await client.close()
        for _ in range(200):
            if sockets() <= before:
                break
            await asyncio.sleep(0.01)
        assert sockets() <= before


@on_every_loop
async def test_a_call_that_waits_for_a_connection_may_be_cancelled(
    short_path: Path, authority: trustme.CA
) -> None:
    for wire in ("unix", "http"):
        with full_backlog(Site(wire, short_path, authority)) as endpoint:
            async with bridle.connect_async(endpoint) as client:
                with pytest.raises(TimeoutError):
                    async with asyncio.timeout(0.05):
                        await client.call("x", timeout=60)


@on_every_loop
async def test_a_call_that_cannot_be_written_leaves_no_connection(place: str, commands: Commands) -> None:
    async with calling(place, commands) as client:
        before = sockets()
        for _ in range(5):
            with pytest.raises(ValueError, match="nan"):
                await client.call("say", [float("nan")])
        await client.close()
        for _ in range(200):
            if sockets() <= before:
                break
            await asyncio.sleep(0.01)
        assert sockets() <= before


@on_every_loop
async def test_closing_while_a_call_is_under_way_lets_it_end_and_leaves_nothing(
    place: str, commands: Commands
) -> None:
    async with calling(place, commands) as client:
        before = sockets()
        for cancelled in (False, True):
            call = asyncio.create_task(client.call("wait", ["x", 0.05]))
            await turns()
            await client.close()
            if cancelled:
                call.cancel()
                await asyncio.wait([call])
            else:
                assert await call == "x"
            for _ in range(200):
                if sockets() <= before:
                    break
                await asyncio.sleep(0.01)
            assert sockets() <= before


# Loops


@pytest.mark.filterwarnings("ignore:unclosed")
@pytest.mark.parametrize("closed", [True, False])
@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize("wire", ["unix", "http"])
def test_a_client_may_be_used_on_one_loop_after_another(
    short_path: Path, authority: trustme.CA, wire: str, loop: str, closed: bool
) -> None:
    async def use() -> None:
        await client.call("x", timeout=5)
        if closed:
            await client.close()

    steps = [take, answer(keep=True), take, answer(keep=True), until_it_leaves]
    with Site(wire, short_path, authority).scripted(steps) as server:
        client = bridle.connect_async(server.endpoint)
        for _ in range(3):
            with asyncio.Runner(loop_factory=LOOPS[loop]) as runner:
                runner.run(use())
        assert len(server.taken) == 3
    gc.collect()


# Connections that rest


@on_virtual_clock
async def test_a_connection_that_has_rested_for_long_is_not_trusted(place: str, commands: Commands) -> None:
    seen: list[Peer] = []

    def who(peer: Peer) -> None:
        seen.append(peer)

    commands.register_command("who", who)
    async with calling(place, commands) as client:
        await client.call("who")
        await asyncio.sleep(IDLE_TIME - 1)
        await client.call("who")
        await asyncio.sleep(IDLE_TIME + 1)
        await client.call("who")
    # A connection has one peer, and another one has another, even if it looks the same.
    assert seen[0] is seen[1]
    assert seen[1] is not seen[2]
