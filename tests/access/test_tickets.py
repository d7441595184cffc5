"""A command that was let in ends once, whatever becomes of it: it counts no more, and the audit has it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable
from pathlib import Path

import pytest

from bridle import Command, CommandManager, Peer, Response
from bridle.access.audit_settings import AuditSettings
from bridle.access.guard import Guard
from bridle.access.guard_settings import GuardSettings
from bridle.access.limits import Limit, LimitSettings
from bridle.core.manager import Access
from tests.support.audits import lines, texts
from tests.support.loops import on_every_loop

UNBEGUN = "ignore:coroutine 'Site.wait' was never awaited:RuntimeWarning"
PEER = Peer(transport="unix", uid=7)


class Site:
    """A guard that lets one command in at a time, and a command that waits."""

    def __init__(self, access: Access) -> None:
        self.manager = CommandManager()
        self.guard = Guard(self.manager.definitions.get)
        self.go_on = asyncio.Event()
        self.manager.register_command("wait", self.wait, access=access)
        self.manager.register_command("look", lambda: None, access=access)

    async def wait(self) -> str:
        """Wait, and say so."""
        await self.go_on.wait()
        return "done"

    def ask(self, name: str) -> Response | Awaitable[Response]:
        """Have a command executed."""
        return self.guard.execute(Command(name, peer=PEER), self.manager.process_command)

    async def answer(self, name: str) -> Response:
        """The answer to a command."""
        outcome = self.ask(name)
        return outcome if isinstance(outcome, Response) else await outcome


@contextlib.asynccontextmanager
async def guarded(file: Path, access: Access, *, intents: bool = False) -> AsyncIterator[Site]:
    """A site with an audit."""
    site = Site(access)
    audit = AuditSettings(file=str(file), intents=intents)
    settings = GuardSettings(limits=LimitSettings(peer=Limit(in_flight=1)), audit=audit)
    await (await site.guard.prepare(settings)).commit()
    yield site
    await site.guard.close()


def told(file: Path) -> list[tuple[str, int, str | None]]:
    """The commands in an audit."""
    found = [line for line in lines(file) if "result" in line]
    return [(line["command"], line["result"], line.get("reason")) for line in found]


# The handler's own: nobody began with that either.
@pytest.mark.filterwarnings(UNBEGUN)
@pytest.mark.parametrize("intents", [False, True])
@pytest.mark.parametrize("access", ["read", "write"])
@pytest.mark.parametrize("turns", range(6))
@on_every_loop
async def test_a_command_that_is_cut_off_at_any_moment_ends(
    tmp_path: Path, access: Access, turns: int, intents: bool
) -> None:
    file = tmp_path / "audit"
    async with guarded(file, access, intents=intents) as site:
        outcome = site.ask("wait")
        assert (await site.answer("look")).result == 1  # one at a time
        task = asyncio.ensure_future(outcome)
        del outcome
        for _ in range(turns):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task])
        del task
        assert (await site.answer("look")).result == 0
    assert texts(file) == []
    assert [line[:2] for line in told(file)] == [("look", 1), ("wait", 1), ("look", 0)]


@pytest.mark.filterwarnings(UNBEGUN)
@pytest.mark.parametrize("access", ["read", "write"])
@on_every_loop
async def test_an_answer_that_nobody_waits_for_ends_its_command(tmp_path: Path, access: Access) -> None:
    file = tmp_path / "audit"
    async with guarded(file, access) as site:
        for _ in range(3):
            outcome = site.ask("wait")
            assert not isinstance(outcome, Response)
            del outcome
        assert (await site.answer("look")).result == 0
    assert told(file) == [("wait", 1, "it ended without an answer")] * 3 + [("look", 0, None)]


@pytest.mark.parametrize("access", ["read", "write"])
@on_every_loop
async def test_a_command_ends_once(tmp_path: Path, access: Access) -> None:
    file = tmp_path / "audit"
    async with guarded(file, access) as site:
        for end in ("settle", "conclude", "abandon"):
            ticket = site.guard.admit(Command("look", peer=PEER), site.manager.definitions["look"])
            assert not isinstance(ticket, Response)
            assert await site.guard.intend(ticket) is None
            if end == "settle":
                site.guard.settle(ticket, Response(0))
            elif end == "conclude":
                await site.guard.conclude(ticket, Response(0))
            site.guard.abandon(ticket)
            site.guard.abandon(ticket)
        assert (await site.answer("look")).result == 0
    assert [result for _, result, _ in told(file)] == [0, 0, 1, 0]
