"""Events are told to roles that may know of them, without secrets; whoever lost its leave is told no more."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import secrets
from collections.abc import AsyncIterator
from pathlib import Path

import bridle
from bridle.core.messages import Command
from bridle.wire.pacemaker_xml import read_xml
from tests.server.test_qb_channel import Talk, talk
from tests.support.audits import lines

JSON = bridle.JSON
SECONDS = 20.0


class Safe(bridle.Daemon):
    """Tells of itself."""

    @bridle.command(access="read")
    def look(self) -> str:
        """Look at it."""
        return "closed"

    @bridle.command(access="read")
    def cib_query(self) -> str:
        """What tells the same as the event ``cib-diff``."""
        return "<cib/>"


def settings(folder: Path, **role: JSON) -> dict[str, JSON]:
    """What the user of the tests may do."""
    return {
        "Safe": {
            "access": {
                "assign": [{"unix-user": os.getuid(), "role": "watcher"}],
                "roles": [{"name": "watcher", **role}],
                "audit": {"file": str(folder / "audit.jsonl"), "reads": True},
            }
        }
    }


@contextlib.asynccontextmanager
async def served(folder: Path, **role: JSON) -> AsyncIterator[tuple[Safe, str]]:
    """Serve a safe on libqb."""
    file, safe, name = folder / "safe.conf", Safe(), f"safe-{secrets.token_hex(4)}"
    file.write_text(json.dumps(settings(folder, **role)))
    async with bridle.serve(safe, f"qb:{name}", configuration_file=str(file)):
        yield safe, name


async def told(client: Talk) -> tuple[str | None, JSON]:
    """The next event's name and data."""
    document = read_xml((await asyncio.wait_for(client.event(), SECONDS)).text)
    assert document.get("subt") == "event"
    return document.get("crm_task"), json.loads(document.findtext("crm_xml/event") or "null")


async def change_role(safe: Safe, folder: Path, **role: JSON) -> None:
    """Change what the role may do."""
    changed = await safe.manager.execute(Command("config-set", settings(folder, **role)))
    assert changed.result == 0


def test_events_are_told_without_secrets(short_path: Path) -> None:
    async def run() -> None:
        async with served(short_path, **{"accept-commands": "READ"}) as (safe, name), talk(name) as t:
            assert (await t.call("look", crm_events="true"))[0] == 0
            safe.events.publish("paired", {"password": "hunter2", "n": 1})
            assert await told(t) == ("paired", {"password": "********", "n": 1})
            await change_role(safe, short_path, **{"accept-commands": "READ", "read-secrets": True})
            safe.events.publish("paired", {"password": "hunter2", "n": 2})
            assert await told(t) == ("paired", {"password": "hunter2", "n": 2})

    asyncio.run(asyncio.wait_for(run(), 25))


def test_a_role_that_may_run_nothing_is_told_nothing(short_path: Path) -> None:
    async def run() -> None:
        async with served(short_path, **{"accept-commands": "NONE"}) as (safe, name), talk(name) as t:
            assert (await t.call("look", crm_events="true"))[0] == 403
            safe.events.publish("paired", {"n": 1})
            await change_role(safe, short_path, **{"accept-commands": "READ"})
            safe.events.publish("paired", {"n": 2})  # it had been refused, and has not asked again
            assert (await t.call("look", crm_events="true"))[0] == 0
            safe.events.publish("paired", {"n": 3})
            assert await told(t) == ("paired", {"n": 3})
        asked = [line for line in lines(short_path / "audit.jsonl") if line.get("command") == "events"]
        assert [line["result"] for line in asked] == [403, 0]

    asyncio.run(asyncio.wait_for(run(), 25))


def test_who_loses_its_leave_is_told_no_more(short_path: Path) -> None:
    async def run() -> None:
        async with served(short_path, **{"accept-commands": "READ"}) as (safe, name), talk(name) as t:
            assert (await t.call("look", crm_events="true"))[0] == 0
            await change_role(safe, short_path, **{"accept-commands": {"commands": ["look"]}})
            safe.events.publish("paired", {"n": 1})
            assert (await t.call("look"))[0] == 0  # nothing came before

    asyncio.run(asyncio.wait_for(run(), 25))


def test_an_event_is_for_who_may_run_the_command_that_tells_the_same(short_path: Path) -> None:
    async def run() -> None:
        only = {"commands": ["look", "events"]}
        async with served(short_path, **{"accept-commands": only}) as (safe, name), talk(name) as t:
            assert (await t.call("look", crm_events="true"))[0] == 0
            safe.events.publish("cib-diff", {"n": 1})
            safe.events.publish("node", {"n": 2})  # no command of this daemon tells that
            assert await told(t) == ("node", {"n": 2})
            await change_role(safe, short_path, **{"accept-commands": {"commands": ["cib-query"]}})
            safe.events.publish("node", {"n": 3})
            safe.events.publish("cib-diff", {"n": 4})
            assert await told(t) == ("cib-diff", {"n": 4})

    asyncio.run(asyncio.wait_for(run(), 25))
