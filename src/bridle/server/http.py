"""HTTP channels: requests to commands, for a daemon as for the agent."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

import msgspec

from bridle.core.manager import Outcome
from bridle.core.messages import Command, Peer, Response
from bridle.core.results import Result
from bridle.net.endpoint import Endpoint
from bridle.net.http import HttpListener
from bridle.net.stream import CANCELLED
from bridle.server.channel import GRACE, Answer, HttpSettings, Pages
from bridle.wire.http import HttpRequest, HttpResponse, HttpStream, stock
from bridle.wire.kea_http import read_request, wrap

__all__ = ["HttpChannel", "HttpCommands", "answer_with"]

_log = logging.getLogger("bridle.server")

_SHORT_BANNER = "Managed by Bridle.\n"


def answer_with(execute: Callable[[Command], Outcome]) -> Answer:
    """Answer HTTP commands as a daemon does: in a list of one."""

    def answer(command: Command) -> HttpResponse | Awaitable[HttpResponse]:
        try:
            outcome = execute(command)
        except asyncio.CancelledError:  # of what the handler wanted the result of
            outcome = CANCELLED
        return _write(command, outcome) if isinstance(outcome, Response) else later(command, outcome)

    async def later(command: Command, outcome: Awaitable[Response]) -> HttpResponse:
        try:
            response = await outcome
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                raise
            response = CANCELLED  # not this task is, but what the handler waited for
        return _write(command, response)

    return answer


def _write(command: Command, response: Response) -> HttpResponse:
    try:
        return wrap([response])
    except Exception as error:
        _log.exception("the answer to %r cannot be written", command.name)
        return wrap([Response(Result.ERROR, f"the answer cannot be written: {error}")])


class HttpCommands:
    """HTTP requests to commands, for one listener: what Kea's HTTP channels check, in their order.

    ``pages`` gives what has paths of its own beside them, or None while there is nothing.
    """

    def __init__(
        self,
        answer: Answer,
        banner: str | Callable[[], str],
        settings: HttpSettings,
        pages: Callable[[], Pages | None] | None = None,
    ) -> None:
        self._answer = answer
        self._banner = banner
        self._pages = pages
        self.settings = settings

    def __call__(
        self, request: HttpRequest, peer: Peer
    ) -> HttpResponse | Awaitable[HttpResponse] | Awaitable[HttpResponse | HttpStream]:
        """Answer a request: syntax first, then who asks, then the command (``facts/kea.md`` §2.1)."""
        pages = None if self._pages is None else self._pages()
        if pages is not None and pages.serves(request.target):
            known = self._authenticated(request, peer)
            if isinstance(known, HttpResponse):
                return self._dressed(known)
            return self._page(pages, request, known)
        if request.method in ("GET", "HEAD") and request.target == "/":
            authentication = self.settings.authentication
            if authentication is not None and authentication.required:
                banner = _SHORT_BANNER  # who did not say who they are learn no more
            else:
                banner = self._banner if isinstance(self._banner, str) else self._banner()
            return self._dressed(HttpResponse(200, banner.encode(), content_type="text/plain"))
        command = read_request(request, peer)
        if isinstance(command, HttpResponse) and command.status != 200:
            return self._dressed(command)
        known = self._authenticated(request, peer)
        if isinstance(known, HttpResponse):
            return self._dressed(known)
        if isinstance(command, Command) and known is not peer:
            command = msgspec.structs.replace(command, peer=known)
        answer = command if isinstance(command, HttpResponse) else self._answer(command)
        if isinstance(answer, HttpResponse):
            return self._dressed(answer)
        return self._dress_later(answer) if self.settings.headers else answer

    def _authenticated(self, request: HttpRequest, peer: Peer) -> Peer | HttpResponse:
        """The peer with its name, or the answer for one that has none."""
        authentication = self.settings.authentication
        if authentication is None or not authentication.required:
            return peer
        user = authentication.user(request.headers.get("authorization"))
        if user is None:
            return stock(401, headers=(("WWW-Authenticate", authentication.challenge),))
        return msgspec.structs.replace(peer, user=user)

    async def _page(self, pages: Pages, request: HttpRequest, peer: Peer) -> HttpResponse | HttpStream:
        answer = await pages.answer(request, peer)
        extra = self.settings.headers
        return msgspec.structs.replace(answer, headers=answer.headers + extra) if extra else answer

    def _dressed(self, response: HttpResponse) -> HttpResponse:
        extra = self.settings.headers
        return msgspec.structs.replace(response, headers=response.headers + extra) if extra else response

    async def _dress_later(self, answer: Awaitable[HttpResponse]) -> HttpResponse:
        return self._dressed(await answer)


class HttpChannel:
    """An HTTP listener."""

    def __init__(self, endpoint: Endpoint, listener: HttpListener, commands: HttpCommands) -> None:
        self.endpoint = endpoint
        self._listener = listener
        self._commands = commands
        self._tls = commands.settings.tls

    def update(self, settings: HttpSettings) -> None:
        """Use other settings for the requests and the TLS handshakes to come."""
        self._commands.settings = settings
        if self._tls is None or settings.tls is None or settings.certificate is None:
            return
        # The listener keeps its context; what it is made of can be renewed in it.
        try:
            self._tls.load_cert_chain(*settings.certificate)
            self._tls.verify_mode = settings.tls.verify_mode
        except OSError as error:
            _log.error("%s goes on with its old certificate: %s", self.endpoint, error)

    def retire(self) -> None:
        """Take no new connections; each open one ends with its next answer, or when it is idle."""
        self._listener.retire()

    async def close(self, grace: float = GRACE) -> None:
        """Take no new connections, deliver the answers in flight within ``grace`` seconds, end."""
        await self._listener.close(grace)
