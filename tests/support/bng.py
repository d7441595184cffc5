"""A session daemon in this process, on the test's own clock."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from bridle.bundled.bng.bng import Bng
from bridle.core.messages import Command, Response
from bridle.daemon.document import Document

__all__ = ["ACCESS", "Blaster", "blaster"]

ACCESS: dict[str, Any] = {"interface": "a0", "outer-vlan-min": 1, "outer-vlan-max": 4000, "inner-vlan": 7}
"""An access section that has room for four thousand sessions."""


class Blaster:
    """A daemon, and how to ask it."""

    def __init__(self, daemon: Bng) -> None:
        self.daemon = daemon
        self.ended: list[int] = []
        daemon.end = self.ended.append

    async def ask(self, name: str, /, **arguments: Any) -> Response:
        """Give a command; ``session_id`` stands for ``session-id``."""
        given = {key.replace("_", "-"): value for key, value in arguments.items()}
        return await self.daemon.manager.execute(Command(name, given))

    async def value(self, name: str, /, **arguments: Any) -> Any:
        """What a command answers, which must succeed."""
        response = await self.ask(name, **arguments)
        assert response.result == 0, (name, response)
        return response.value

    async def refused(self, name: str, /, **arguments: Any) -> tuple[str | None, int | None]:
        """The text and the code of a refusal."""
        response = await self.ask(name, **arguments)
        assert response.result != 0, (name, response)
        return response.text, response.code

    async def info(self, number: int) -> Any:
        """All about a session."""
        return await self.value("session-info", session_id=number)

    async def state(self, number: int) -> str:
        """The state of a session."""
        return str((await self.info(number))["session-state"])

    async def counter(self, name: str) -> Any:
        """One of the counters."""
        return (await self.value("session-counters"))[name]


@asynccontextmanager
async def blaster(configuration: dict[str, Any]) -> AsyncIterator[Blaster]:
    """A daemon with this configuration; one access interface and one session where it names none."""
    whole = {"interfaces": {"network": {"interface": "n0"}, "access": [ACCESS]}, **configuration}
    daemon = Bng()
    made = Blaster(daemon)
    daemon.configure(daemon.check_configuration(Document({"bng": whole})))
    await daemon.start()
    try:
        yield made
    finally:
        await daemon.stop()
