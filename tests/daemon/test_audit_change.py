"""A configuration changes the audit while commands are under way: each is in the audit that it began with."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

import bridle
from bridle.access.audit_verify import verify
from bridle.access.audits import LAST_COMMANDS
from bridle.core.messages import JSON
from tests.support.audits import lines, texts
from tests.support.loops import on_every_loop, on_virtual_clock

KEY = b"0123456789abcdef"


class Lift(bridle.Daemon):
    """Takes its time."""

    def __init__(self) -> None:
        self.under_way = 0
        self.arrived = asyncio.Event()
        self.stuck = False
        self.stubborn = False

    async def configure(self, configuration: JSON) -> None:
        """Take a configuration, or not, once."""
        if self.stuck:
            self.stuck = False
            raise RuntimeError("it is stuck")

    @bridle.command(access="write")
    async def rise(self) -> str:
        """Go up, until it has arrived."""
        return await self._travel()

    @bridle.command(access="read")
    async def watch(self) -> str:
        """Watch it until it has arrived."""
        return await self._travel()

    async def _travel(self) -> str:
        self.under_way += 1
        while not self.arrived.is_set():
            try:
                await self.arrived.wait()
            except asyncio.CancelledError:
                if not self.stubborn:
                    raise
        self.under_way -= 1
        return "there"


class Site:
    """A lift that is served."""

    def __init__(self, lift: Lift, folder: Path) -> None:
        self.lift = lift
        self.folder = folder
        self._tasks: list[asyncio.Task[bridle.Response]] = []

    async def ask(self, name: str, arguments: JSON = None) -> bridle.Response:
        """Send one command over a connection of its own."""
        async with bridle.connect_async(f"unix:{self.folder}/s") as client:
            return await client.execute(name, arguments)

    async def audit(self, name: str | None, **settings: JSON) -> bridle.Response:
        """Ask for an audit of this name; None: for none."""
        return await self.ask("config-set", configuration(self.folder, name, **settings))

    async def begin(self, *names: str) -> None:
        """Have commands under way."""
        expected = self.lift.under_way + len(names)
        self._tasks += [asyncio.ensure_future(self.ask(name)) for name in names]
        while self.lift.under_way < expected:
            await asyncio.sleep(0.001)

    async def arrive(self) -> list[tuple[int, str | None]]:
        """Have all of them end: what they are answered."""
        self.lift.arrived.set()
        answers = await asyncio.gather(*self._tasks)
        self._tasks.clear()
        self.lift.arrived.clear()
        return [(answer.result, answer.text) for answer in answers]

    def told(self, name: str = "a") -> list[tuple[str, int]]:
        """The commands that an audit tells of, in all of its files."""
        files = [*sorted(self.folder.glob(f"{name}.0*")), self.folder / name]
        found = [line for file in files for line in lines(file)]
        return [(line["command"], line["result"]) for line in found if "command" in line]


def configuration(folder: Path, name: str | None, **settings: JSON) -> JSON:
    if name is None:
        return {"Lift": {}}
    audit = {key.replace("_", "-"): value for key, value in settings.items()}
    return {"Lift": {"access": {"audit": {"file": str(folder / name), **audit}}}}


@contextlib.asynccontextmanager
async def served(folder: Path, name: str | None = "a", **settings: JSON) -> AsyncIterator[Site]:
    """Serve a lift with an audit."""
    file, lift = folder / "lift.conf", Lift()
    file.write_text(json.dumps(configuration(folder, name, **settings)))
    async with bridle.serve(lift, f"unix:{folder}/s", configuration_file=str(file)):
        yield Site(lift, folder)


async def closed(path: Path) -> None:
    """Wait until an audit is closed."""
    from bridle.access.audit_file import AuditFile

    while True:
        try:
            AuditFile.open(path).close()
        except bridle.ConfigurationError:
            await asyncio.sleep(0.001)
        else:
            return


@on_every_loop
async def test_the_command_that_changes_the_audit_is_in_the_one_that_it_began_with(short_path: Path) -> None:
    async with served(short_path) as site:
        assert (await site.audit("b")).result == 0
        assert site.told() == [("config-set", 0)]
        await closed(short_path / "a")
        assert (await site.audit(None)).result == 0
        await closed(short_path / "b")
        assert (await site.audit("a")).result == 0
        assert (site.told(), site.told("b")) == ([("config-set", 0)], [("config-set", 0)])
    assert texts(short_path / "a") == texts(short_path / "b") == []


@pytest.mark.parametrize("after", ["b", None])
@on_every_loop
async def test_commands_under_way_are_in_the_audit_that_they_began_with(
    short_path: Path, after: str | None, caplog: pytest.LogCaptureFixture
) -> None:
    async with served(short_path) as site:
        await site.begin("rise", "watch")
        assert (await site.audit(after)).result == 0
        await site.begin("rise")
        assert await site.arrive() == [(0, None)] * 3
        await closed(short_path / "a")
        assert site.told()[0] == ("config-set", 0)
        assert sorted(site.told()[1:]) == [("rise", 0), ("watch", 0)]
    assert texts(short_path / "a") == []
    if after is not None:
        assert site.told(after) == [("rise", 0)]
    assert caplog.text == ""


@on_every_loop
async def test_an_audit_that_is_still_open_for_others_is_taken_up_again(short_path: Path) -> None:
    async with served(short_path) as site:
        await site.begin("rise")
        assert (await site.audit("b")).result == 0
        assert (await site.audit("a", reads=False)).result == 0
        assert await site.arrive() == [(0, None)]
        await site.begin("rise", "watch")
        assert await site.arrive() == [(0, None)] * 2
        assert site.told() == [("config-set", 0), ("rise", 0), ("rise", 0)]
        assert site.told("b") == [("config-set", 0)]
    assert [line.get("event") for line in lines(short_path / "a")] == ["start", *[None] * 3]
    assert texts(short_path / "a") == texts(short_path / "b") == []


# Other settings for the same file.


@on_every_loop
async def test_the_same_file_gets_other_settings_while_it_is_open(short_path: Path) -> None:
    (short_path / "link").symlink_to(short_path)
    async with served(short_path) as site:
        await site.begin("rise")
        assert (await site.audit("link/a", reads=False, intents=True)).result == 0
        await site.begin("rise", "watch")
        assert await site.arrive() == [(0, None)] * 3
        status = (await site.ask("status-get")).value
        assert isinstance(status, dict)
        assert isinstance(status["audit"], dict)
        assert status["audit"]["state"] == "working"
        assert (await site.audit("a", max_size=1, keep=2)).result == 0
        await site.begin("rise", "rise")
        await site.arrive()
        assert site.told()[0] == ("config-set", 0)
    assert lines(short_path / "a")[0]["event"] == "start"
    assert 0 < len(list(short_path.glob("a.0*"))) <= 2
    assert texts(short_path / "a") == []


@on_every_loop
async def test_intents_begin_with_the_next_command(short_path: Path) -> None:
    async with served(short_path) as site:
        assert (await site.audit("a", intents=True, reads=False)).result == 0
        await site.begin("rise", "watch")
        await site.arrive()
    told = [(line.get("event"), line.get("command")) for line in lines(short_path / "a")]
    assert told == [("start", None), (None, "config-set"), ("intent", "rise"), (None, "rise")]


@on_every_loop
async def test_another_key_for_the_same_file_begins_another_one(short_path: Path) -> None:
    first, second = short_path / "first", short_path / "second"
    for file, key in ((first, KEY), (second, KEY[::-1])):
        file.write_bytes(key)
        file.chmod(0o600)
    async with served(short_path, key_file=str(first)) as site:
        await site.begin("rise")
        assert (await site.audit("a", key_file=str(second))).result == 0
        assert await site.arrive() == [(0, None)]
        refused = await site.audit("a", key_file=str(short_path / "none"))
        assert refused.result == 1
        assert "can't open file" in str(refused.text)
        assert site.told() == [("config-set", 0), ("rise", 0), ("config-set", 1)]
    assert len(list(short_path.glob("a.0*"))) == 1
    assert verify([short_path / "a"], keys=[KEY, KEY[::-1]]).findings == []


# What fails leaves everything as it was.


@pytest.mark.parametrize("wanted", ["a", "b", None])
@on_every_loop
async def test_a_change_that_is_refused_leaves_the_audit_as_it_was(
    short_path: Path, wanted: str | None
) -> None:
    async with served(short_path) as site:
        await site.begin("watch")
        site.lift.stuck = True
        refused = await site.audit(wanted, **({"reads": False} if wanted else {}))
        assert (refused.result, refused.text) == (1, "it is stuck")
        if wanted == "b":
            await closed(short_path / "b")
        assert await site.arrive() == [(0, None)]
        await site.begin("rise")
        assert await site.arrive() == [(0, None)]
        assert sorted(site.told()) == [("config-set", 1), ("rise", 0), ("watch", 0)]
        assert (await site.audit("b")).result == 0
        await closed(short_path / "a")
    assert texts(short_path / "a") == []


@on_every_loop
async def test_a_file_that_cannot_be_used_leaves_the_audit_as_it_was(short_path: Path) -> None:
    async with served(short_path) as site:
        refused = await site.audit("none/b")
        assert (refused.result, "does not exist" in str(refused.text)) == (1, True)
        (short_path / "folder").mkdir()
        refused = await site.audit("folder")
        assert (refused.result, "cannot open the audit" in str(refused.text)) == (1, True), refused.text
        await site.begin("rise")
        assert await site.arrive() == [(0, None)]
        assert site.told() == [("config-set", 1), ("config-set", 1), ("rise", 0)]


# The end.


@pytest.mark.parametrize("after", ["a", "b", None])
@on_virtual_clock
async def test_a_command_that_does_not_end_keeps_nobody_from_ending(
    short_path: Path, after: str | None, caplog: pytest.LogCaptureFixture
) -> None:
    loop = asyncio.get_running_loop()
    async with served(short_path) as site:
        site.lift.stubborn = True
        await site.begin("rise", "watch")
        if after != "a":
            assert (await site.audit(after)).result == 0
        began = loop.time()
    assert loop.time() - began < LAST_COMMANDS + 2 * bridle.server.GRACE
    assert "commands that have not ended yet are not in it" in caplog.text
    await closed(short_path / "a")
    site.lift.arrived.set()
    with contextlib.suppress(bridle.BridleError):
        await asyncio.gather(*site._tasks)
    while site.lift.under_way:
        await asyncio.sleep(0.001)


@on_virtual_clock
async def test_commands_that_are_cut_off_at_the_end_are_in_the_audit(short_path: Path) -> None:
    async with served(short_path) as site:
        await site.begin("rise", "watch")
    with contextlib.suppress(bridle.BridleError):
        await asyncio.gather(*site._tasks)
    assert sorted(site.told()) == [("rise", 1), ("watch", 1)]
    assert {line.get("reason") for line in lines(short_path / "a")[1:]} == {"it ended without an answer"}
