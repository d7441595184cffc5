"""HTTP channels: requests to commands, for a daemon as for the agent."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

import msgspec
from msgspec.structs import force_setattr

from bridle.core.manager import Outcome
from bridle.core.messages import Command, Peer, Response
from bridle.core.results import Result
from bridle.net.endpoint import Endpoint
from bridle.net.http import HttpListener
from bridle.net.stream import CANCELLED
from bridle.server.browsers import Doorkeeper, traceparent_of, with_headers
from bridle.server.channel import GRACE, Answer, HttpSettings
from bridle.server.exposure import is_loopback
from bridle.wire.http import HttpRequest, HttpResponse, stock
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
    """HTTP requests to commands, for one listener: what Kea's HTTP channels check, in their order."""

    def __init__(
        self,
        answer: Answer,
        banner: str | Callable[[], str],
        settings: HttpSettings,
        *,
        name: str = "localhost",
    ) -> None:
        """``name`` is the host that the listener was asked to listen on."""
        self._answer = answer
        self._banner = banner
        self._name = name
        self.use(settings)

    def use(self, settings: HttpSettings) -> None:
        """Let other settings hold for the requests to come."""
        self.settings = settings
        self._door = Doorkeeper(self._name, settings)

    def __call__(self, request: HttpRequest, peer: Peer) -> HttpResponse | Awaitable[HttpResponse]:
        """Answer a request: where it comes from, syntax, who asks, then the command (``facts/kea.md``
        §2.1)."""
        if self._door.lets_in(request.headers):
            return self._answered(request, peer)
        refusal = self._door.refusal(request)
        if "origin" in request.headers:
            answer = self._answered(request, peer) if refusal is None else refusal
            return self._opened(answer, self._door.opens(request))
        return self._answered(request, peer) if refusal is None else self._dressed(refusal)

    def _answered(self, request: HttpRequest, peer: Peer) -> HttpResponse | Awaitable[HttpResponse]:
        if request.method in ("GET", "HEAD") and request.target == "/":
            authentication = self.settings.authentication
            if authentication is not None and authentication.required:
                banner = _SHORT_BANNER  # who did not say who they are learn no more
            else:
                banner = self._banner if isinstance(self._banner, str) else self._banner()
            return self._dressed(HttpResponse(200, banner.encode(), content_type="text/plain"))
        command = read_request(request, peer)
        if isinstance(command, Command):
            # Nobody else has seen it yet: it need not be made anew.
            force_setattr(command, "request_id", request.id)
            if "traceparent" in request.headers:
                force_setattr(command, "traceparent", traceparent_of(request))
        if isinstance(command, HttpResponse) and command.status != 200:
            return self._dressed(command)
        authentication = self.settings.authentication
        if authentication is not None and authentication.required:
            user = authentication.user(request.headers.get("authorization"))
            if user is None:
                challenge = (("WWW-Authenticate", authentication.challenge),)
                return self._dressed(stock(401, headers=challenge))
            if isinstance(command, Command):
                peer = msgspec.structs.replace(peer, user=user)
                command = msgspec.structs.replace(command, peer=peer)
        answer = command if isinstance(command, HttpResponse) else self._answer(command)
        if isinstance(answer, HttpResponse):
            return self._dressed(answer)
        return self._dress_later(answer) if self.settings.headers else answer

    def _dressed(self, response: HttpResponse) -> HttpResponse:
        return with_headers(response, self.settings.headers)

    @staticmethod
    def _opened(
        answer: HttpResponse | Awaitable[HttpResponse], extra: tuple[tuple[str, str], ...]
    ) -> HttpResponse | Awaitable[HttpResponse]:
        if isinstance(answer, HttpResponse):
            return with_headers(answer, extra)

        async def later() -> HttpResponse:
            return with_headers(await answer, extra)

        return later() if extra else answer

    async def _dress_later(self, answer: Awaitable[HttpResponse]) -> HttpResponse:
        return self._dressed(await answer)


class HttpChannel:
    """An HTTP listener."""

    def __init__(self, endpoint: Endpoint, listener: HttpListener, commands: HttpCommands) -> None:
        self.endpoint = endpoint
        self._listener = listener
        self._commands = commands
        self.exposed: bool = not is_loopback(listener.address[0])

    def update(self, settings: HttpSettings) -> None:
        """Use other settings for the requests and the TLS handshakes to come."""
        self._commands.use(settings)
        if self._listener.ssl_context is not None and settings.tls is not None:
            self._listener.ssl_context = settings.tls

    def retire(self) -> None:
        """Take no new connections; each open one ends with its next answer, or when it is idle."""
        self._listener.retire()

    async def close(self, grace: float = GRACE) -> None:
        """Take no new connections, deliver the answers in flight within ``grace`` seconds, end."""
        await self._listener.close(grace)
