"""An agent in this process that is BNG Blaster's controller, and how to ask it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path

import bridle
from bridle.agent.agent import Agent
from tests.support.programs import ROOT, free_port
from tests.support.web import Reply, ask

__all__ = ["PROGRAM", "Controlled", "controller"]

JSON = bridle.JSON
PROGRAM = [sys.executable, "-S", "-E", str(ROOT / "tests" / "support" / "blaster_program.py")]
"""The words that start a program which does what its configuration says."""

SECONDS = 15.0
"""How long anything here may take."""


class Controlled:
    """A controller that is served."""

    def __init__(self, port: int, directory: Path) -> None:
        self.port = port
        self.directory = directory

    async def ask(
        self, target: str, *fields: str, method: str = "GET", body: bytes | Mapping[str, JSON] | None = None
    ) -> Reply:
        """The answer to a request; a mapping is sent as JSON."""
        content = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
        return await ask(self.port, target, *fields, method=method, body=content)

    async def of(self, name: str, what: str = "", *fields: str, **request: object) -> Reply:
        """The answer to a request about an instance."""
        tail = f"/{what}" if what else ""
        return await self.ask(f"/api/v1/instances/{name}{tail}", *fields, **request)  # type: ignore[arg-type]

    async def create(self, name: str, **settings: JSON) -> None:
        """Have an instance with this configuration."""
        reply = await self.of(name, method="PUT", body=settings or {"some": 1})
        assert reply.status in (201, 204), reply.body

    async def start(self, name: str, **request: JSON) -> Reply:
        """Ask for a start."""
        body = json.dumps(request).encode()
        return await self.of(name, "_start", method="POST", body=body)

    async def run(self, name: str, settings: Mapping[str, JSON] | None = None, **request: JSON) -> None:
        """Have an instance that runs."""
        await self.create(name, **(settings or {}))
        reply = await self.start(name, **request)
        assert reply.status == 204, reply.body

    async def command(self, name: str, command: str, arguments: JSON = None) -> Reply:
        """Give a command."""
        body: dict[str, JSON] = {"command": command}
        if arguments is not None:
            body["arguments"] = arguments
        return await self.of(name, "_command", method="POST", body=body)

    async def status(self, name: str) -> str:
        """started or stopped."""
        reply = await self.of(name)
        return str(json.loads(reply.body)["status"])

    async def stopped(self, name: str) -> None:
        """Wait until an instance has ended."""
        async with asyncio.timeout(SECONDS):
            while await self.status(name) == "started":
                await asyncio.sleep(0.01)

    def pid(self, name: str) -> int:
        """The number of an instance's process."""
        return int((self.directory / name / "run.pid").read_text())

    async def end_all(self) -> None:
        """End what runs, so that a test leaves nothing behind."""
        for folder in self.directory.iterdir() if self.directory.is_dir() else ():
            reply = await self.of(folder.name, "_kill", method="POST")
            if reply.status == 202:
                await self.stopped(folder.name)


@contextlib.asynccontextmanager
async def controller(
    folder: Path, executable: Sequence[str] = PROGRAM, *, upload: bool = False, **extra: JSON
) -> AsyncIterator[Controlled]:
    """Serve an agent whose instances are in ``folder/i`` and run this executable; end them in the end."""
    port, directory = free_port(), folder / "i"
    settings: dict[str, JSON] = {
        "http-port": port,
        "bngblaster-controller": {
            "directory": str(directory),
            "executable": list(executable),
            "upload": upload,
        },
        **{key.replace("_", "-"): value for key, value in extra.items()},
    }
    file = folder / "agent.conf"
    file.write_text(json.dumps({"Control-agent": settings}))
    async with bridle.serve(Agent(), configuration_file=str(file)):
        made = Controlled(port, directory)
        try:
            yield made
        finally:
            await made.end_all()
