"""A stand-in for a Kea daemon that answers every command with the same bytes, at once or after a delay.

``python -m bench.standin PATH,DELAY,FILE ...`` listens on each unix socket path, reads one command, waits
``DELAY`` seconds, sends what is in ``FILE`` and closes, as Kea does. Waiting holds up nobody else. It lives
until SIGTERM.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import json
import signal
import sys
from pathlib import Path
from typing import NamedTuple, cast

with contextlib.suppress(ImportError):
    import uvloop

COMMAND_LIMIT = 65536
"""Bytes of a command; those that are asked here have less than 200."""


class Answer(NamedTuple):
    """What is said, and after how many seconds."""

    delay: float
    data: bytes


class Conversation(asyncio.Protocol):
    """One connection, hence one command."""

    def __init__(self, answer: Answer) -> None:
        self.answer = answer
        self.received = b""
        self.asked = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        self.received += data
        if self.asked or not complete(self.received):
            if len(self.received) > COMMAND_LIMIT:
                self.transport.abort()
            return
        self.asked = True
        if self.answer.delay:
            asyncio.get_running_loop().call_later(self.answer.delay, self.reply)
        else:
            self.reply()

    def reply(self) -> None:
        """Say it and close, if the client is still there."""
        if not self.transport.is_closing():
            self.transport.write(self.answer.data)
            self.transport.close()


def complete(received: bytes) -> bool:
    """Whether a whole command is there; lines of comment may stand before it."""
    text = received
    while text.startswith(b"//"):
        text = text.partition(b"\n")[2]
    if not text.rstrip().endswith(b"}"):
        return False
    try:
        json.loads(text)
    except ValueError:
        return False
    return True


async def serve(words: list[str]) -> None:
    """Listen on every path until SIGTERM."""
    loop = asyncio.get_running_loop()
    stopped = asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, stopped.set)
    for word in words:
        path, delay, name = word.split(",")
        answer = Answer(float(delay), Path(name).read_bytes())  # noqa: ASYNC240 - nobody is served yet
        await loop.create_unix_server(functools.partial(Conversation, answer), path)
    await stopped.wait()


def main() -> None:
    """Run on uvloop where it is installed: the stand-in shall not be what is measured."""
    if "uvloop" in sys.modules:
        uvloop.run(serve(sys.argv[1:]))
    else:
        asyncio.run(serve(sys.argv[1:]))


if __name__ == "__main__":
    main()
