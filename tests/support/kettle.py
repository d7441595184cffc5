"""A daemon for tests of the kit: it remembers what it was told, and fails when it is told to.

Also run as ``bridle run tests.support.kettle:Kettle``.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import msgspec

import bridle
from bridle.daemon.running import Running

JSON = bridle.JSON


class Stage(msgspec.Struct, forbid_unknown_fields=True):
    """A part of the configuration that is a map of its own."""

    degrees: float
    name: str = ""


class Kettle(bridle.Daemon):
    """Heats water."""

    version = "1.2"

    class Configuration(msgspec.Struct, forbid_unknown_fields=True, rename="kebab"):
        """A value of each kind that a configuration may hold."""

        degrees: float = 90.0
        max_period: int = 0
        label: str = ""
        stages: list[Stage] = []
        limits: dict[str, int] = {}

    def __init__(self) -> None:
        self.applied: list[float] = []
        self.refuses: Callable[[float], Exception | None] = lambda degrees: None
        self.story: list[str] = []

    def configure(self, configuration: object) -> None:
        """Take note of the configuration, and refuse it where that is asked for."""
        assert isinstance(configuration, self.Configuration)
        self.applied.append(configuration.degrees)
        refusal = self.refuses(configuration.degrees)
        if refusal is not None:
            raise refusal

    async def start(self) -> None:
        """Take note."""
        self.story.append("start")

    async def stop(self) -> None:
        """Take note."""
        self.story.append("stop")

    @bridle.command(access="read")
    async def brew(self, seconds: float = 1.0) -> str:
        """Answer after so many seconds."""
        await asyncio.sleep(seconds)
        self.story.append("brewed")
        return "tea"

    @bridle.command(access="read")
    def repeat(self, value: JSON) -> JSON:
        """Answer with the value."""
        return value


class SlowKettle(Kettle):
    """A kettle whose ``configure`` takes some seconds, by default one."""

    def __init__(self) -> None:
        super().__init__()
        self.takes = 1.0
        self.busy = 0
        self.busiest = 0

    async def configure(self, configuration: object) -> None:  # type: ignore[override]
        """Do the same, but take the time."""
        self.busy += 1
        self.busiest = max(self.busiest, self.busy)
        try:
            await asyncio.sleep(self.takes)
            super().configure(configuration)
        finally:
            self.busy -= 1


class Site:
    """A kettle that is served, its folder, and a way to ask it."""

    def __init__(self, daemon: Kettle, running: Running, folder: Path, socket: Path) -> None:
        self.daemon = daemon
        self.running = running
        self.folder = folder
        self.socket = socket
        self.file = folder / "kettle.conf"

    @property
    def settings(self) -> Kettle.Configuration:
        """The configuration that holds."""
        settings = self.daemon.configuration
        assert isinstance(settings, Kettle.Configuration)
        return settings

    async def ask(self, command: str, arguments: JSON = None) -> bridle.Response:
        """Send one command over a connection of its own."""
        async with bridle.connect_async(f"unix:{self.socket}") as client:
            return await client.execute(command, arguments)

    async def hash(self) -> JSON:
        """The hash of the configuration that holds."""
        told = await self.ask("config-hash-get")
        assert isinstance(told.value, dict)
        return told.value["hash"]


@contextlib.asynccontextmanager
async def served(
    folder: Path,
    daemon: Kettle | None = None,
    *,
    configuration: JSON = None,
    text: str | None = None,
    file: bool = True,
) -> AsyncIterator[Site]:
    """Serve a kettle on ``kettle.sock`` in a folder, from a file that holds a configuration or a text.

    Without ``file`` it has no configuration file.
    """
    daemon = Kettle() if daemon is None else daemon
    name = folder / "kettle.conf"
    if file:
        whole = {daemon.root: {} if configuration is None else configuration}
        name.write_text(json.dumps(whole) if text is None else text)
    socket = folder / "kettle.sock"
    chosen = str(name) if file else None
    async with bridle.serve(daemon, f"unix:{socket}", configuration_file=chosen) as running:
        yield Site(daemon, running, folder, socket)


async def say(path: Path, text: str | bytes) -> str:
    """Send bytes to a unix socket; all that comes back until the end."""
    reader, writer = await asyncio.open_unix_connection(path)
    try:
        writer.write(text if isinstance(text, bytes) else text.encode())
        answer = await reader.read()
    finally:
        writer.close()
        await writer.wait_closed()
    return answer.decode()
