"""Files of instances over HTTP: ranges, conditions, and a length that holds while the file grows."""

from __future__ import annotations

import os
from typing import Any

from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import FileResponse, Response
from starlette.staticfiles import NotModifiedResponse, StaticFiles
from starlette.types import Message, Receive, Scope, Send

__all__ = ["file_response"]

_CONDITIONS = StaticFiles(check_dir=False)


def file_response(request: Request, descriptor: int, content_type: str) -> Response:
    """The answer that sends a file, or says that it has not been modified. The descriptor is closed with
    it."""
    response = _OpenFile(descriptor, content_type)
    if _CONDITIONS.is_not_modified(response.headers, Headers(scope=request.scope)):
        os.close(descriptor)
        return NotModifiedResponse(response.headers)
    return response


class _OpenFile(FileResponse):
    """A file by its descriptor: nobody can put another in its place between a look and the opening."""

    def __init__(self, descriptor: int, content_type: str) -> None:
        self._descriptor = descriptor
        path = f"/proc/self/fd/{descriptor}"
        super().__init__(path, media_type=content_type, stat_result=os.fstat(descriptor))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, _Cut(send).send)
        finally:
            os.close(self._descriptor)


class _Cut:
    """Sends no more than was announced: a log that is written to is longer by the time that it is read."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self._left = 0
        self._done = False

    async def send(self, message: Message) -> None:
        """Pass on a message, cut where the body is to end."""
        if message["type"] == "http.response.start":
            self._left = int(Headers(raw=list(message["headers"]))["content-length"])
            await self._send(message)
            return
        if self._done:
            return
        body: bytes = message.get("body", b"")[: self._left]
        self._left -= len(body)
        self._done = not message.get("more_body", False) or not self._left
        cut: dict[str, Any] = {**message, "body": body, "more_body": not self._done}
        await self._send(cut)
