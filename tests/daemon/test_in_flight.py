"""Commands that are counted while they are carried out: each ends on its channel, whatever becomes of it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

import bridle
from tests.support.audits import lines
from tests.support.loops import on_every_loop

WIRES = ["unix", "binrpc+unix", "binrpc+unixd", "bngblaster+unix", "qb"]


class Mill(bridle.Daemon):
    """Grinds, one sack at a time."""

    def __init__(self) -> None:
        self.begun = asyncio.Event()
        self.ground = asyncio.Event()

    @bridle.command(access="write")
    async def grind(self) -> str:
        """Grind a sack."""
        return await self._grind()

    @bridle.command(access="read")
    async def watch(self) -> str:
        """Watch a sack being ground."""
        return await self._grind()

    async def _grind(self) -> str:
        self.begun.set()
        await self.ground.wait()
        return "flour"

    @bridle.command(access="write")
    async def jam(self) -> None:
        """Wait for what is cancelled."""
        raise asyncio.CancelledError

    @bridle.command(access="read")
    def stop_short(self) -> None:
        """Be cancelled at once."""
        raise asyncio.CancelledError


@contextlib.asynccontextmanager
async def served(folder: Path, wire: str) -> AsyncIterator[tuple[Mill, str]]:
    """Serve a mill on one wire; and where that is."""
    name = f"bridle-test-{os.getpid()}-{folder.name[-8:]}" if wire == "qb" else f"{folder}/s"
    file, mill = folder / "mill.conf", Mill()
    access = {"limits": {"peer": {"in-flight": 1}}, "audit": {"file": str(folder / "audit")}}
    file.write_text(json.dumps({"Mill": {"access": access}}))
    async with bridle.serve(mill, f"{wire}:{name}", configuration_file=str(file)):
        yield mill, f"{wire}:{name}"


def told(folder: Path) -> list[tuple[str, int]]:
    return [
        (line["command"], line["result"])
        for line in lines(folder / "audit")
        if line.get("command", "ping") != "ping"
    ]


@pytest.mark.parametrize("name", ["grind", "watch"])
@pytest.mark.parametrize("wire", WIRES)
@on_every_loop
async def test_a_command_whose_client_has_left_ends(short_path: Path, wire: str, name: str) -> None:
    async with served(short_path, wire) as (mill, place):
        async with bridle.connect_async(place) as client:
            asked = asyncio.ensure_future(client.execute(name))
            await mill.begun.wait()
            asked.cancel()
            await asyncio.wait([asked])
        async with bridle.connect_async(place) as client:
            assert (await client.execute(name)).result == 1  # it goes on
            mill.ground.set()
            while (await client.execute(name)).result != 0:
                await asyncio.sleep(0.001)
    assert told(short_path).count((name, 0)) == 2


@pytest.mark.parametrize("name", ["jam", "stop-short"])
@pytest.mark.parametrize("wire", [wire for wire in WIRES if wire != "binrpc+unixd"])
@on_every_loop
async def test_a_command_that_is_cancelled_ends(short_path: Path, wire: str, name: str) -> None:
    async with served(short_path, wire) as (mill, place), bridle.connect_async(place) as client:
        mill.ground.set()
        for _ in range(3):
            assert (await client.execute(name)).result == 1
        assert (await client.execute("grind")).result == 0
    assert told(short_path) == [*[(name, 1)] * 3, ("grind", 0)]
