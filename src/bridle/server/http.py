"""HTTP channels: requests to commands, for a daemon as for the agent."""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, TypeAlias

import msgspec
from msgspec.structs import force_setattr

from bridle.core.errors import ForbiddenError, TooManyError
from bridle.core.manager import Outcome
from bridle.core.messages import Command, Peer, Response
from bridle.core.results import Result
from bridle.net.answers import CANCELLED, response_of
from bridle.net.endpoint import Endpoint
from bridle.net.http import HttpListener
from bridle.net.stream import Door
from bridle.net.unix import SocketFile
from bridle.server.browsers import FIXED_HEADERS, Doorkeeper, request_names, traceparent_of, with_headers
from bridle.server.channel import GRACE, Answer, HttpSettings, Pages, shut
from bridle.server.exposure import is_loopback
from bridle.wire.http import HttpRequest, HttpResponse, HttpStream, stock
from bridle.wire.kea_http import read_request, wrap
from bridle.wire.kea_messages import encode_answer

if TYPE_CHECKING:
    from bridle.access.passwords import Verdict
    from bridle.server.options import Rights

__all__ = ["HttpChannel", "HttpCommands", "answer_with", "open_http_channel", "refusal_of"]

_log = logging.getLogger("bridle.server")

_Answer: TypeAlias = "HttpResponse | Awaitable[HttpResponse] | Awaitable[HttpResponse | HttpStream]"

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
        return _write(command, await response_of(outcome))

    return answer


def refusal_of(response: Response) -> HttpResponse | None:
    """The answer to a request whose command was refused for who asked, or for how often; None for others.

    As Kea's: a status, and a map that is in no list (``facts/kea.md`` §3).
    """
    error = response.error
    if isinstance(error, ForbiddenError):
        return HttpResponse(error.status, encode_answer(response))
    if isinstance(error, TooManyError):
        wait = (("Retry-After", str(max(1, math.ceil(error.wait)))),) if error.wait else ()
        status = 429 if error.wait else 413
        return HttpResponse(status, encode_answer(msgspec.structs.replace(response, result=status)), wait)
    return None


def _write(command: Command, response: Response) -> HttpResponse:
    if response.error is not None:
        refused = refusal_of(response)
        if refused is not None:
            return refused
    try:
        return wrap([response])
    except Exception as error:
        _log.exception("the answer to %r cannot be written", command.name)
        return wrap([Response(Result.ERROR, f"the answer cannot be written: {error}")])


class HttpCommands:
    """HTTP requests to commands, for one listener: what Kea's HTTP channels check, in their order.

    ``pages`` gives what has paths of its own beside them, None while there is nothing; ``name`` is the host
    that the listener was asked to listen on, None for a unix socket.
    """

    def __init__(
        self,
        answer: Answer,
        banner: str | Callable[[], str],
        settings: HttpSettings,
        pages: Callable[[], Pages | None] | None = None,
        *,
        name: str | None = "localhost",
    ) -> None:
        self._answer = answer
        self._banner = banner
        self._pages = pages
        self._name = name
        self.use(settings)

    def use(self, settings: HttpSettings) -> None:
        """Let other settings hold for the requests to come. Failed log-ins are not forgotten by that."""
        before: HttpSettings | None = getattr(self, "settings", None)
        if before is not None and before.authentication is not None and settings.authentication is not None:
            settings.authentication.go_on_from(before.authentication)
        self.settings = settings
        self._door = Doorkeeper(self._name, settings)

    def __call__(self, request: HttpRequest, peer: Peer) -> _Answer:
        """Answer a request: where it comes from, syntax, who asks, then the command (``facts/kea.md``
        §2.1)."""
        if self._door.lets_in(request.headers):
            return self._taken(request, peer)
        refusal = self._door.refusal(request)
        if "origin" in request.headers:
            answer = self._taken(request, peer) if refusal is None else refusal
            return self._opened(answer, self._door.opens(request))
        return self._taken(request, peer) if refusal is None else self._dressed(refusal)

    def _taken(self, request: HttpRequest, peer: Peer) -> _Answer:
        pages = None if self._pages is None else self._pages()
        if pages is not None and pages.serves(request.target):
            return self._page(pages, request, peer)
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
        known = self._known(request, peer)
        if isinstance(known, Peer | HttpResponse):
            return self._answered(command, known)
        return self._answer_later(command, known)

    def _known(
        self, request: HttpRequest, peer: Peer
    ) -> Peer | HttpResponse | Awaitable[Peer | HttpResponse]:
        """The peer with its name, or the answer for one that has none."""
        authentication = self.settings.authentication
        if authentication is None or not authentication.required:
            return peer
        verdict = authentication.vouch(request.headers.get("authorization"), _place(peer))
        if isinstance(verdict, Awaitable):
            return self._named_later(peer, verdict)
        return self._named(peer, verdict)

    async def _named_later(self, peer: Peer, verdict: Awaitable[Verdict]) -> Peer | HttpResponse:
        return self._named(peer, await verdict)

    def _named(self, peer: Peer, verdict: Verdict) -> Peer | HttpResponse:
        if verdict.user is not None:
            return msgspec.structs.replace(peer, user=verdict.user, role=verdict.role, token=verdict.token)
        if verdict.wait:
            return stock(429, headers=(("Retry-After", str(math.ceil(verdict.wait))),))
        authentication = self.settings.authentication
        challenge = authentication.challenge if authentication is not None else ""
        return stock(401, headers=(("WWW-Authenticate", challenge),))

    async def _page(self, pages: Pages, request: HttpRequest, peer: Peer) -> HttpResponse | HttpStream:
        known = self._known(request, peer)
        if not isinstance(known, Peer | HttpResponse):
            known = await known
        if isinstance(known, HttpResponse):
            return self._dressed(known)
        return with_headers(await pages.answer(request, known), self.settings.headers)

    async def _answer_later(
        self, command: Command | HttpResponse, known: Awaitable[Peer | HttpResponse]
    ) -> HttpResponse:
        answer = self._answered(command, await known)
        return answer if isinstance(answer, HttpResponse) else await answer

    def _answered(
        self, command: Command | HttpResponse, known: Peer | HttpResponse
    ) -> HttpResponse | Awaitable[HttpResponse]:
        """Answer a command of whoever has shown who they are, and nobody else's."""
        if isinstance(known, HttpResponse):
            return self._dressed(known)
        if isinstance(command, HttpResponse):
            return self._dressed(command)
        if known is not command.peer:
            command = msgspec.structs.replace(command, peer=known)
        answer = self._answer(command)
        if isinstance(answer, HttpResponse):
            return self._dressed(answer)
        return self._dress_later(answer) if self.settings.headers else answer

    def _dressed(self, response: HttpResponse) -> HttpResponse:
        return with_headers(response, self.settings.headers)

    @staticmethod
    def _opened(answer: _Answer, extra: tuple[tuple[str, str], ...]) -> _Answer:
        if isinstance(answer, HttpResponse):
            return with_headers(answer, extra)

        async def later() -> HttpResponse | HttpStream:
            return with_headers(await answer, extra)

        return later() if extra else answer

    async def _dress_later(self, answer: Awaitable[HttpResponse]) -> HttpResponse:
        return self._dressed(await answer)


def _place(peer: Peer) -> str:
    """Where somebody tries passwords from: on a unix socket one user is not to lock another out."""
    return peer.address if peer.uid is None else f"uid {peer.uid}"


class HttpChannel:
    """An HTTP listener, and the ``file`` of its unix socket where it is on one."""

    def __init__(
        self,
        endpoint: Endpoint,
        listener: HttpListener,
        commands: HttpCommands,
        file: SocketFile | None = None,
    ) -> None:
        self.endpoint = endpoint
        self._listener = listener
        self._commands = commands
        self._file = file
        self.exposed: bool = file is None and not is_loopback(listener.address[0])

    @property
    def busy(self) -> bool:
        """Whether somebody is connected, or an answer is on its way."""
        return self._listener.busy

    def update(self, settings: HttpSettings) -> None:
        """Use other settings for the requests and the TLS handshakes to come."""
        self._commands.use(settings)
        if self._listener.ssl_context is not None and settings.tls is not None:
            self._listener.ssl_context = settings.tls

    def learn_groups(self) -> None:
        """Let those who are connected have their unix groups."""
        self._listener.learn_groups()

    def hold(self) -> None:
        """Answer whoever connects 429."""
        self._listener.door = shut

    def use_door(self, door: Door | None) -> None:
        """Ask this whether a peer may connect; it is answered 429 where it may not."""
        self._listener.door = door

    def retire(self) -> None:
        """Take no new connections; each open one ends with its next answer, or when it is idle."""
        try:
            if self._file is not None:
                self._file.withdraw()
        finally:
            self._listener.retire()
            if self._file is not None:
                self._file.close()

    async def close(self, grace: float = GRACE) -> None:
        """Take no new connections, deliver the answers in flight within ``grace`` seconds, end."""
        try:
            self.retire()
        finally:
            await self._listener.close(grace)


async def open_http_channel(
    endpoint: Endpoint,
    rights: Rights | None,
    commands: HttpCommands,
    settings: HttpSettings,
    check: Callable[[str], None],
    asks_groups: Callable[[], bool],
) -> HttpChannel:
    """Listen on an endpoint of HTTP; ``rights`` are those of the file where that is a unix socket. ``check``
    is told the address of a port, and may refuse it; ``asks_groups`` says whether peers of a unix socket need
    their groups.

    Raises:
        EndpointError: it cannot be listened on.
    """
    if rights is None:
        listener = await HttpListener.open(
            endpoint.host,
            endpoint.port,
            commands,
            ssl_context=settings.tls,
            fixed=FIXED_HEADERS,
            identify=request_names(),
            check=check,
        )
        return HttpChannel(msgspec.structs.replace(endpoint, port=listener.address[1]), listener, commands)
    file = SocketFile.open(
        endpoint.path,
        mode=rights.mode,
        owner=rights.owner,
        group=rights.group,
        open_to_all=rights.open_to_all,
    )
    try:
        listener = await HttpListener.open_unix(
            file.socket,
            endpoint.path,
            commands,
            fixed=FIXED_HEADERS,
            identify=request_names(),
            asks_groups=asks_groups,
        )
    except BaseException:
        file.close()
        raise
    return HttpChannel(endpoint, listener, commands, file)
