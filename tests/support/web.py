"""A plain HTTP client for tests: bytes out, and the answer as httptools reads it."""

from __future__ import annotations

import asyncio

import httptools

__all__ = ["Reply", "ask", "exchange"]

SECONDS = 20.0
"""How long an answer may take: less than a test may."""


class Reply:
    """An answer: status, header fields by lower-case name, body. ``complete``: it came to its end."""

    def __init__(self, data: bytes) -> None:
        self.headers: dict[str, str] = {}
        self.body = b""
        self.complete = False
        self._parser = httptools.HttpResponseParser(self)
        self._parser.feed_data(data)
        self.status = self._parser.get_status_code()

    def on_header(self, name: bytes, value: bytes) -> None:
        """For httptools."""
        self.headers[name.decode().lower()] = value.decode()

    def on_body(self, body: bytes) -> None:
        """For httptools."""
        self.body += body

    def on_message_complete(self) -> None:
        """For httptools."""
        self.complete = True


async def exchange(port: int, request: bytes) -> bytes:
    """What comes back on 127.0.0.1 until the end of the connection."""
    async with asyncio.timeout(SECONDS):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        try:
            writer.write(request)
            return await reader.read()
        finally:
            writer.close()


async def ask(port: int, target: str, *fields: str, method: str = "GET", body: bytes = b"") -> Reply:
    """The answer to one request."""
    lines = [f"{method} {target} HTTP/1.1", "Host: localhost", "Connection: close", *fields]
    if body:
        lines.append(f"Content-Length: {len(body)}")
    return Reply(await exchange(port, "\r\n".join([*lines, "", ""]).encode() + body))
