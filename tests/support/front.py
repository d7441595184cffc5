"""The agent in this process, daemons behind it that follow a script, and clients that speak plain HTTP."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from pathlib import Path
from typing import NamedTuple, TypeAlias

import bridle
from bridle.agent.agent import Agent
from bridle.daemon.running import Running
from tests.support.programs import free_port

JSON = bridle.JSON
Talk: TypeAlias = Callable[[bytes], Awaitable[bytes | None]]

PREFACE = b"//keep-alive\n"
END = b" ] }"
"""What a forwarded command ends with: the list of services comes last."""
SUCCESS = b'{ "result": 0 }'


class Reply(NamedTuple):
    """What the agent answered."""

    status: int
    body: bytes

    @property
    def answers(self) -> list[dict[str, JSON]]:
        """The decoded answers, one of each service."""
        decoded: list[dict[str, JSON]] = json.loads(self.body)
        assert isinstance(decoded, list)
        return decoded

    @property
    def answer(self) -> dict[str, JSON]:
        """The only answer."""
        [only] = self.answers
        return only


class Web:
    """One HTTP connection, kept open."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def post(self, body: bytes, headers: str = "") -> Reply:
        """Send a body; its answer."""
        head = f"POST / HTTP/1.1\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n"
        self.writer.write(f"{head}{headers}\r\n".encode() + body)
        lines = (await self.reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        length = next(int(line[16:]) for line in lines if line.startswith("Content-Length: "))
        return Reply(int(lines[0].split()[1]), await self.reader.readexactly(length))

    async def ask(self, name: str, *services: str, arguments: JSON = None) -> Reply:
        """Send a command; its answer."""
        return await self.post(encode(name, *services, arguments=arguments))

    async def close(self) -> None:
        """Hang up."""
        self.writer.close()
        with contextlib.suppress(OSError):
            await self.writer.wait_closed()


def encode(name: str, *services: str, arguments: JSON = None) -> bytes:
    """A command as clients write it."""
    command: dict[str, JSON] = {"command": name}
    if services:
        command["service"] = list(services)
    if arguments is not None:
        command["arguments"] = arguments
    return json.dumps(command).encode()


@contextlib.asynccontextmanager
async def web(port: int) -> AsyncIterator[Web]:
    """A connection to an agent on 127.0.0.1."""
    connection = Web(*await asyncio.open_connection("127.0.0.1", port))
    try:
        yield connection
    finally:
        await connection.close()


class Front:
    """An agent that is served."""

    def __init__(self, running: Running, port: int, file: Path) -> None:
        self.running = running
        self.port = port
        self.file = file

    async def post(self, body: bytes, headers: str = "") -> Reply:
        """Send a body over a connection of its own; its answer."""
        async with web(self.port) as connection:
            return await connection.post(body, headers)

    async def ask(self, name: str, *services: str, arguments: JSON = None) -> Reply:
        """Send a command over a connection of its own; its answer."""
        return await self.post(encode(name, *services, arguments=arguments))

    async def set(self, configuration: Mapping[str, JSON]) -> dict[str, JSON]:
        """Send a ``config-set``."""
        reply = await self.ask("config-set", arguments={"Control-agent": {**configuration}})
        return reply.answer


def settings(port: int, services: Mapping[str, JSON | Path], **extra: JSON) -> dict[str, JSON]:
    """What stands below ``Control-agent``. A path stands for a service on a unix socket."""
    sockets: dict[str, JSON] = {
        name: {"socket-name": str(entry)} if isinstance(entry, Path) else entry
        for name, entry in services.items()
    }
    others = {key.replace("_", "-"): value for key, value in extra.items()}
    return {"http-port": port, "control-sockets": sockets, **others}


@contextlib.asynccontextmanager
async def agent(folder: Path, services: Mapping[str, JSON | Path], **extra: JSON) -> AsyncIterator[Front]:
    """Serve an agent in front of these services, from a file ``agent.conf``."""
    port = free_port()
    file = folder / "agent.conf"
    file.write_text(json.dumps({"Control-agent": settings(port, services, **extra)}))
    async with bridle.serve(Agent(), configuration_file=str(file)) as running:
        yield Front(running, port, file)


class Seen:
    """What a scripted daemon saw."""

    def __init__(self) -> None:
        self.requests: list[bytes] = []
        self.accepted = 0
        self.open = 0
        self.busiest = 0

    @property
    def request(self) -> dict[str, JSON]:
        """The last request."""
        decoded: dict[str, JSON] = json.loads(self.requests[-1])
        return decoded


def answering(answer: bytes = SUCCESS, *, after: float = 0) -> Talk:
    """Answer the same, after so many seconds."""

    async def talk(request: bytes) -> bytes:
        await asyncio.sleep(after)
        return answer

    return talk


async def silence(request: bytes) -> bytes | None:
    """Never answer."""
    return None


@contextlib.asynccontextmanager
async def backend(path: Path, talk: Talk | None = None) -> AsyncIterator[Seen]:
    """A daemon that answers one command a connection and closes, as Kea does. None is no answer, for ever."""
    seen = Seen()
    script = answering() if talk is None else talk

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.accepted += 1
        seen.open += 1
        seen.busiest = max(seen.busiest, seen.open)
        try:
            assert await reader.readuntil(b"\n") == PREFACE
            seen.requests.append(await reader.readuntil(END))
            answer = await script(seen.requests[-1])
            if answer is None:
                await reader.read()
            else:
                writer.write(answer)
        finally:
            seen.open -= 1
            writer.close()

    server = await asyncio.start_unix_server(serve, path, limit=64 * 1024 * 1024)
    try:
        yield seen
    finally:
        server.close()
        await server.wait_closed()


@contextlib.asynccontextmanager
async def counting(path: Path, target: Path) -> AsyncIterator[Seen]:
    """A way to a daemon at ``target`` that counts the connections which came by it."""
    seen = Seen()

    async def carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65536):
            writer.write(data)
        writer.close()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.accepted += 1
        seen.open += 1
        seen.busiest = max(seen.busiest, seen.open)
        there, back = await asyncio.open_unix_connection(target)
        with contextlib.suppress(OSError):
            await asyncio.gather(carry(reader, back), carry(there, writer))
        seen.open -= 1

    server = await asyncio.start_unix_server(serve, path)
    try:
        yield seen
    finally:
        server.close()
        await server.wait_closed()
