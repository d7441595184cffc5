"""Both ends of a unix stream on one event loop: a listener, and clients that do only what they are told."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Self

from bridle import CommandManager, Response
from bridle.core.messages import Command
from bridle.net.credentials import peer_of_unix
from bridle.net.stream import CONNECTION_LIMIT, StreamListener
from bridle.net.unix import SocketFile
from bridle.wire.dialect import dialect

__all__ = ["KEEP", "Commands", "Visitor", "listening", "turns"]

KEEP = b"//keep-alive\n"
_CHUNK = 1024 * 1024


async def turns(count: int = 20) -> None:
    """Let the loop go round: time enough for everything that needs no time."""
    for _ in range(count):
        await asyncio.sleep(0)


class Commands(CommandManager):
    """What the listeners of the tests answer. ``begun`` and ``done`` tell which, by a value in each."""

    def __init__(self) -> None:
        super().__init__()
        self.begun: list[str] = []
        self.done: list[str] = []
        self.register_command("say", self.say)
        self.register_command("wait", self.wait)
        self.register_command("write", self.write)

    def say(self, value: str) -> str:
        """Answer at once."""
        self.begun.append(value)
        self.done.append(value)
        return value

    async def wait(self, value: str, seconds: float = 0.0) -> str:
        """Answer after a while."""
        self.begun.append(value)
        await asyncio.sleep(seconds)
        self.done.append(value)
        return value

    def write(self, size: int) -> str:
        """Answer with so many bytes."""
        self.begun.append(str(size))
        return "x" * size


class Visitor:
    """A client's connection. It reads nothing before it is asked to, as a real one might."""

    def __init__(self, sock: socket.socket) -> None:
        self._socket = sock
        self._loop = asyncio.get_running_loop()
        self._kept = b""

    @classmethod
    async def to(cls, path: Path) -> Self:
        """Connect."""
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        sock.setblocking(False)
        try:
            await asyncio.get_running_loop().sock_connect(sock, str(path))
        except BaseException:
            sock.close()
            raise
        return cls(sock)

    async def send(self, data: bytes) -> None:
        """Send all of it."""
        await self._loop.sock_sendall(self._socket, data)

    def send_what_fits(self, data: bytes) -> int:
        """Send as much as the kernel takes at once; the number of bytes."""
        try:
            return self._socket.send(data)
        except BlockingIOError:
            return 0

    def finish(self) -> None:
        """Say that nothing more is sent."""
        self._socket.shutdown(socket.SHUT_WR)

    async def read(self, limit: int = _CHUNK) -> bytes:
        """What is there, as soon as something is; empty at the end."""
        if self._kept:
            data, self._kept = self._kept, b""
            return data
        return await self._loop.sock_recv(self._socket, limit)

    async def read_all(self) -> bytes:
        """Everything up to the end.

        Raises:
            ConnectionResetError: the end was a reset.
        """
        data = b""
        while piece := await self.read():
            data += piece
        return data

    async def read_line(self) -> bytes:
        """Everything up to a line break, or to the end."""
        data = b""
        while b"\n" not in data:
            piece = await self.read()
            if not piece:
                return data
            data += piece
        line, end, self._kept = data.partition(b"\n")
        return line + end

    async def ask(self, command: bytes) -> bytes:
        """Send a command and read everything up to the end."""
        await self.send(command)
        return await self.read_all()

    def nothing_came(self) -> bool:
        """True when there is neither a byte nor the end to be read."""
        try:
            self._socket.recv(1, socket.MSG_PEEK)
        except BlockingIOError:
            return not self._kept
        return False

    def leave(self) -> None:
        """Close."""
        self._socket.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        self.leave()


@asynccontextmanager
async def listening(
    path: Path,
    execute: Callable[[Command], Response | Awaitable[Response]],
    *,
    connection_limit: int = CONNECTION_LIMIT,
) -> AsyncIterator[StreamListener]:
    """A listener on a unix socket that answers with ``execute``; closing it must leave nothing."""
    file = SocketFile.open(path)
    listener = StreamListener(
        dialect("kea"),
        execute,
        lambda transport: peer_of_unix(transport.get_extra_info("socket"), str(path)),
        connection_limit=connection_limit,
    )
    try:
        listener.start(file.socket)
        yield listener
    finally:
        await listener.close()
        file.close()
    assert not listener.connections
