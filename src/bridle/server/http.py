"""HTTP channels: requests to commands, for a daemon as for the agent."""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

import msgspec

from bridle.access.limits import Excess, LimitExceeded
from bridle.core.manager import Outcome
from bridle.core.messages import Command, Peer, Response
from bridle.core.results import Result
from bridle.net.endpoint import Endpoint
from bridle.net.http import HttpListener
from bridle.net.stream import CANCELLED
from bridle.server.channel import GRACE, Answer, HttpSettings
from bridle.wire.http import HttpRequest, HttpResponse, stock
from bridle.wire.kea_http import read_request, wrap

if TYPE_CHECKING:
    from bridle.access.passwords import Verdict

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
    if isinstance(response.error, LimitExceeded):
        return _too_much(response.error.excess)
    try:
        return wrap([response])
    except Exception as error:
        _log.exception("the answer to %r cannot be written", command.name)
        return wrap([Response(Result.ERROR, f"the answer cannot be written: {error}")])


def _too_much(excess: Excess) -> HttpResponse:
    """The answer to what is beyond a limit: in the form of Kea's other refusals, with when to try again."""
    status = 429 if excess.wait else 413
    body = b'{ "result": %d, "text": %b }' % (status, msgspec.json.encode(excess.text))
    return HttpResponse(status, body, (("Retry-After", excess.retry_after),) if excess.wait else ())


class HttpCommands:
    """HTTP requests to commands, for one listener: what Kea's HTTP channels check, in their order."""

    def __init__(self, answer: Answer, banner: str | Callable[[], str], settings: HttpSettings) -> None:
        self._answer = answer
        self._banner = banner
        self.settings = settings

    def __call__(self, request: HttpRequest, peer: Peer) -> HttpResponse | Awaitable[HttpResponse]:
        """Answer a request: syntax first, then who asks, then the command (``facts/kea.md`` §2.1)."""
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
        authentication = self.settings.authentication
        if authentication is None or not authentication.required:
            return self._carry_out(command)
        verdict = authentication.vouch(request.headers.get("authorization"), peer.address)
        if isinstance(verdict, Awaitable):
            return self._answer_later(command, peer, verdict)
        return self._admit(command, peer, verdict)

    async def _answer_later(
        self, command: Command | HttpResponse, peer: Peer, verdict: Awaitable[Verdict]
    ) -> HttpResponse:
        answer = self._admit(command, peer, await verdict)
        return answer if isinstance(answer, HttpResponse) else await answer

    def _admit(
        self, command: Command | HttpResponse, peer: Peer, verdict: Verdict
    ) -> HttpResponse | Awaitable[HttpResponse]:
        """Answer a command of whoever has shown who they are, and nobody else's."""
        if verdict.user is None:
            return self._dressed(self._unauthorized(verdict.wait))
        if isinstance(command, Command):
            peer = msgspec.structs.replace(peer, user=verdict.user, role=verdict.role)
            command = msgspec.structs.replace(command, peer=peer)
        return self._carry_out(command)

    def _unauthorized(self, wait: float) -> HttpResponse:
        if wait:
            return stock(429, headers=(("Retry-After", str(math.ceil(wait))),))
        authentication = self.settings.authentication
        challenge = authentication.challenge if authentication is not None else ""
        return stock(401, headers=(("WWW-Authenticate", challenge),))

    def _carry_out(self, command: Command | HttpResponse) -> HttpResponse | Awaitable[HttpResponse]:
        answer = command if isinstance(command, HttpResponse) else self._answer(command)
        if isinstance(answer, HttpResponse):
            return self._dressed(answer)
        return self._dress_later(answer) if self.settings.headers else answer

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
