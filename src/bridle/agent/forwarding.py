"""Passing commands on to services, each by itself: its own connections, its own deadline, its own limit."""

from __future__ import annotations

import abc
import asyncio
import logging
import ssl
from collections import deque
from collections.abc import Callable, Sequence
from typing import Generic, Protocol, TypeAlias

import msgspec

from bridle.client.calls import authorization, http_place, one
from bridle.client.exchange import A, Q
from bridle.client.pool import Pool, Pooled, command_pool
from bridle.core.errors import ArgumentError, DeadlineExceeded, RemoteProtocolError, TransportError
from bridle.core.messages import Command, Response
from bridle.core.results import Result
from bridle.net.endpoint import Endpoint
from bridle.wire.kea_client import KeaForwarder
from bridle.wire.kea_http import Forwarded, KeaHttpForwarder
from bridle.wire.kea_messages import check_answer, encode_answer, encode_forwarded

__all__ = [
    "CONNECTIONS",
    "TIMEOUT",
    "Refuse",
    "Service",
    "ServiceSettings",
    "make_service",
    "not_configured",
]

_log = logging.getLogger("bridle.agent")

# Seconds that a service may take for an answer: those of Kea's agent (facts/kea.md §2.2).
TIMEOUT = 60.0
# Commands that are with one service at the same time; more wait their turn. Kea executes one at a time and
# its backlog is short; what is gained beyond some dozens is only waiting in another place.
CONNECTIONS = 64

Refuse: TypeAlias = Callable[[], "bytes | None"]
"""Asked once a command has its turn, right before it is passed on: the answer that it gets in place of that,
or None."""


class _Refused(Exception):
    """A command is not to be passed on any more; the answer that it gets."""

    def __init__(self, answer: bytes) -> None:
        super().__init__(answer)
        self.answer = answer


class ServiceSettings(msgspec.Struct, frozen=True):
    """A service as the configuration has it."""

    name: str
    endpoint: Endpoint
    timeout: float = TIMEOUT
    connections: int = CONNECTIONS
    tls_files: tuple[str, str, str] | None = None


class Service(Protocol):
    """A daemon as the agent knows it."""

    settings: ServiceSettings

    async def forward(self, command: Command, refuse: Refuse | None = None) -> bytes:
        """Have a command answered; the answer is JSON whatever happens."""
        ...

    def close(self) -> None:
        """Close the connections that are kept; commands on their way are still answered."""
        ...


class _Turns:
    """So many at a time, the others in the order they came. A semaphore that costs nothing while there is
    room."""

    def __init__(self, count: int) -> None:
        self._free = count
        self._waiting: deque[asyncio.Future[None]] = deque()

    def take(self) -> bool:
        """Take a turn if there is one and nobody waits for it."""
        if self._free == 0 or self._waiting:
            return False
        self._free -= 1
        return True

    async def wait(self) -> None:
        """Wait for a turn."""
        turn = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self.give_back()
            raise

    def give_back(self) -> None:
        """Let the next one have the turn."""
        while self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(None)
                return
        self._free += 1


class _PooledService(abc.ABC, Generic[Q, A]):
    """A service with connections of its own, so many commands at a time, and a deadline for each."""

    def __init__(self, settings: ServiceSettings, pool: Pooled[Q, A]) -> None:
        self.settings = settings
        self._turns = _Turns(settings.connections)
        self._closed = False
        self._pool = pool

    @abc.abstractmethod
    def _question(self, command: Command) -> Q:
        """A command as the pool sends it."""

    @abc.abstractmethod
    def _text(self, answer: A) -> bytes:
        """An answer as JSON."""

    async def forward(self, command: Command, refuse: Refuse | None = None) -> bytes:
        """Pass a command on and return its answer."""
        name = self.settings.name
        try:
            return self._text(await self._exchange(self._question(command), refuse))
        except _Refused as refused:
            return refused.answer
        except ArgumentError as error:
            return _failure(error.text)
        except DeadlineExceeded as error:
            _log.warning("service %s: %s", name, error)
            return _offline(name, "Operation canceled")
        except TransportError as error:
            _log.warning("service %s: %s", name, error)
            return _offline(name, error.text)
        except RemoteProtocolError as error:
            if error.text == "End of file":
                return _offline(name, error.text)
            return _failure(
                "internal server error: unable to parse server's answer to the forwarded message: "
                f"{error.text}"
            )
        finally:
            if self._closed:
                self._pool.close()

    async def _exchange(self, question: Q, refuse: Refuse | None) -> A:
        timeout = self.settings.timeout
        turns = self._turns
        if not turns.take():
            loop = asyncio.get_running_loop()
            deadline = loop.time() + timeout
            try:
                async with asyncio.timeout_at(deadline):
                    await turns.wait()
            except TimeoutError as error:
                raise DeadlineExceeded("no turn in time", endpoint=str(self.settings.endpoint)) from error
            timeout = deadline - loop.time()
        try:
            refused = refuse() if refuse is not None else None
            if refused is not None:
                raise _Refused(refused)
            return await self._pool.exchange(question, timeout)
        finally:
            turns.give_back()

    def close(self) -> None:
        """Close the connections that are kept, and those of commands on their way once they are answered."""
        self._closed = True
        self._pool.close()


class KeaHttpService(_PooledService[Forwarded, bytes]):
    """A service that speaks the ``kea`` dialect over HTTP: texts are passed on as they came, and with them
    what names the request."""

    def __init__(self, settings: ServiceSettings, tls: ssl.SSLContext | None = None) -> None:
        endpoint = settings.endpoint
        headers = authorization(endpoint, "", "")
        pool: Pool[Forwarded, bytes] = Pool(
            endpoint, lambda: KeaHttpForwarder(*http_place(endpoint), headers), tls
        )
        super().__init__(settings, pool)

    def _question(self, command: Command) -> Forwarded:
        return Forwarded(encode_forwarded(command), command.request_id, command.traceparent)

    def _text(self, answer: bytes) -> bytes:
        return check_answer(answer)


class KeaService(_PooledService[bytes, bytes]):
    """A service that speaks the ``kea`` dialect on a stream: texts are passed on as they came."""

    def __init__(self, settings: ServiceSettings, tls: ssl.SSLContext | None = None) -> None:
        super().__init__(settings, Pool(settings.endpoint, KeaForwarder, tls))

    def _question(self, command: Command) -> bytes:
        return encode_forwarded(command)

    def _text(self, answer: bytes) -> bytes:
        return check_answer(answer)


class DialectService(_PooledService[Command, Sequence[Response]]):
    """A service that speaks another dialect: commands and answers cross by the table of results."""

    def __init__(self, settings: ServiceSettings, tls: ssl.SSLContext | None = None) -> None:
        super().__init__(settings, command_pool(settings.endpoint, {}, tls))

    def _question(self, command: Command) -> Command:
        return Command(command.name, command.arguments, command.peer)

    def _text(self, answer: Sequence[Response]) -> bytes:
        return encode_answer(one(answer, self.settings.endpoint))


def make_service(settings: ServiceSettings, tls: ssl.SSLContext | None = None) -> Service:
    """The service that these settings ask for."""
    if settings.endpoint.in_http:
        return KeaHttpService(settings, tls)
    if settings.endpoint.dialect != "kea":
        return DialectService(settings, tls)
    return KeaService(settings, tls)


def _failure(text: str) -> bytes:
    return encode_answer(Response(Result.ERROR, text))


def _offline(name: str, reason: str) -> bytes:
    return _failure(
        f"unable to forward command to the {name} service: {reason}. The server is likely to be offline"
    )


def not_configured(name: str) -> bytes:
    """The answer for a service that the configuration does not have."""
    return _failure(f"forwarding socket is not configured for the server type {name}")
