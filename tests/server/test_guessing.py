"""Who guesses passwords gets no further by guessing more, and keeps nobody waiting who knows one.

What is counted is whose turn it is: how long that takes is measured by the benchmark.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
from collections.abc import Awaitable

from bridle import CommandManager, Server
from bridle.access.basic import BasicAuthentication
from bridle.access.passwords import Verdict, hash_password
from bridle.net.http import TURN
from bridle.server import HttpSettings
from tests.support.loops import on_every_loop
from tests.support.programs import free_port

CONNECTIONS = 16
GUESSES = 64
"""Over each connection, sent at once."""

PASSWORD = "correct horse"


class Watched(BasicAuthentication):
    """Remembers who was looked at, in their order."""

    def __init__(self) -> None:
        super().__init__("site", [], hashes=[("admin", hash_password(PASSWORD))])
        self.seen: list[str] = []

    def vouch(self, authorization: str | None, address: str) -> Verdict | Awaitable[Verdict]:
        """Look at a header."""
        words = base64.b64decode((authorization or "").removeprefix("Basic ")).decode()
        self.seen.append(words.partition(":")[2])
        return super().vouch(authorization, address)


def request(password: str) -> bytes:
    """A command of somebody who says that this is the password."""
    body = b'{ "command": "list-commands" }'
    credentials = base64.b64encode(f"admin:{password}".encode()).decode()
    head = f"POST / HTTP/1.1\r\nContent-Type: application/json\r\nAuthorization: Basic {credentials}\r\n"
    return f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body


async def answer(reader: asyncio.StreamReader) -> bytes:
    """Read the head of an answer, and its body; the head."""
    head = await reader.readuntil(b"\r\n\r\n")
    await reader.readexactly(int(head.partition(b"Content-Length: ")[2].partition(b"\r\n")[0]))
    return head


@on_every_loop
async def test_who_is_logged_in_waits_for_a_turn_or_two_of_those_who_guess() -> None:
    server, watched, port = Server(CommandManager()), Watched(), free_port()
    await server.listen(f"http://127.0.0.1:{port}", HttpSettings(authentication=watched))
    async with contextlib.AsyncExitStack() as stack:
        stack.push_async_callback(server.close)
        connections = []
        for _ in range(CONNECTIONS + 1):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            stack.push_async_callback(writer.wait_closed)
            stack.callback(writer.close)
            connections.append((reader, writer))
        reader, writer = connections.pop()
        writer.write(request(PASSWORD))
        assert b" 200 " in await answer(reader)
        watched.seen.clear()
        for number, (_, guesser) in enumerate(connections):
            guesser.write(b"".join(request(f"wrong-{number}-{guess}") for guess in range(GUESSES)))
        for _ in range(8):
            before = len(watched.seen)
            writer.write(request(PASSWORD))
            assert b" 200 " in await answer(reader)
            waited = watched.seen.index(PASSWORD, before) - before
            # A turn that has begun already, one that begins at the same time, and one that the kernel takes.
            assert waited <= 3 * CONNECTIONS * TURN
        statuses = [(await answer(one))[9:12] for one, _ in connections for _ in range(GUESSES)]
        assert set(statuses) <= {b"401", b"429"}
        assert len(watched.seen) == CONNECTIONS * GUESSES + 8
