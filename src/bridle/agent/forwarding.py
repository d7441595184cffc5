"""Passing commands on to services, each by itself: its own connections, its own deadline, its own limit."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from typing import Protocol

import msgspec

from bridle.client.asynchronous import Pool, Talk
from bridle.client.calls import authorization
from bridle.core.errors import DeadlineExceeded, RemoteProtocolError, TransportError
from bridle.core.messages import Command, Response
from bridle.core.results import Result
from bridle.net.endpoint import Endpoint
from bridle.wire.kea import KeaForwarder, check_answer, encode_answer, encode_forwarded
from bridle.wire.kea_http import KeaHttpForwarder

__all__ = ["CONNECTIONS", "TIMEOUT", "Service", "ServiceSettings", "not_configured"]

# Seconds that a service may take for an answer: those of Kea's agent (facts/kea.md §2.2).
TIMEOUT = 60.0
# Commands that are with one service at the same time; more wait their turn. Kea executes one at a time and
# its backlog is short; what is gained beyond some dozens is only waiting in another place.
CONNECTIONS = 64


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

    async def forward(self, command: Command) -> bytes:
        """Have a command answered; the answer is JSON whatever happens."""
        ...

    def close(self) -> None:
        """Close the connections that are kept; commands on their way are still answered."""
        ...


class KeaService:
    """A service that speaks the ``kea`` dialect, on a unix socket or over HTTP."""

    def __init__(self, settings: ServiceSettings, tls: ssl.SSLContext | None = None) -> None:
        self.settings = settings
        self._turn = asyncio.Semaphore(settings.connections)
        self._closed = False
        self._pool: Pool[bytes, bytes] = Pool(settings.endpoint, _talk_with(settings.endpoint), tls)

    async def forward(self, command: Command) -> bytes:
        """Pass a command on and return its answer as it came."""
        name = self.settings.name
        try:
            return check_answer(await self._exchange(encode_forwarded(command)))
        except DeadlineExceeded:
            return _offline(name, "Operation canceled")
        except TransportError as error:
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

    async def _exchange(self, text: bytes) -> bytes:
        timeout = self.settings.timeout
        if not self._turn.locked():
            async with self._turn:
                return await self._pool.exchange(text, timeout)
        loop = asyncio.get_running_loop()
        deadline = loop.time() + timeout
        try:
            async with asyncio.timeout_at(deadline):
                await self._turn.acquire()
        except TimeoutError as error:
            raise DeadlineExceeded("no turn in time", endpoint=str(self.settings.endpoint)) from error
        try:
            return await self._pool.exchange(text, deadline - loop.time())
        finally:
            self._turn.release()

    def close(self) -> None:
        """Close the connections that are kept, and those of commands on their way once they are answered."""
        self._closed = True
        self._pool.close()


def _talk_with(endpoint: Endpoint) -> Callable[[], Talk[bytes, bytes]]:
    if endpoint.transport == "unix":
        return KeaForwarder
    headers = authorization(endpoint, "", "")
    return lambda: KeaHttpForwarder(endpoint.host, endpoint.port, endpoint.path, headers)


def _failure(text: str) -> bytes:
    return encode_answer(Response(Result.ERROR, text))


def _offline(name: str, reason: str) -> bytes:
    return _failure(
        f"unable to forward command to the {name} service: {reason}. The server is likely to be offline"
    )


def not_configured(name: str) -> bytes:
    """The answer for a service that the configuration does not have."""
    return _failure(f"forwarding socket is not configured for the server type {name}")
