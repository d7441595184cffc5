"""The asyncio client."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, TypeVar

from bridle.client import TIMEOUT
from bridle.client.calls import as_endpoint, authorization, is_pipelined, make_command, one, value_of
from bridle.client.pool import command_pool
from bridle.core.messages import JSON, Command, Response
from bridle.net.endpoint import Endpoint

if TYPE_CHECKING:
    import ssl

__all__ = ["AsyncClient"]

C = TypeVar("C", bound="AsyncClient")


class AsyncClient:
    """Calls the commands of one daemon, or of the services behind one agent, from asyncio."""

    def __init__(
        self,
        endpoint: str | Endpoint,
        *,
        timeout: float = TIMEOUT,
        user: str = "",
        password: str = "",
        token: str = "",
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self.endpoint: Endpoint = as_endpoint(endpoint)
        self.timeout = timeout
        self._pool = command_pool(self.endpoint, authorization(self.endpoint, user, password, token), tls)

    async def call(
        self, name: str, arguments: JSON = None, *, service: str | None = None, timeout: float | None = None
    ) -> JSON:
        """Send a command and return the arguments of its answer; None where there are none.

        Raises:
            CommandError, TransportError, DeadlineExceeded, RemoteProtocolError: as
            :meth:`bridle.Client.call`.
        """
        command = make_command(name, arguments, service)
        return value_of(command, one(await self._exchange(command, timeout), self.endpoint), self.endpoint)

    async def execute(
        self, name: str, arguments: JSON = None, *, service: str | None = None, timeout: float | None = None
    ) -> Response:
        """Send a command and return its answer, whatever the result.

        Raises:
            TransportError, DeadlineExceeded, RemoteProtocolError: as :meth:`bridle.Client.call`.
        """
        return one(await self._exchange(make_command(name, arguments, service), timeout), self.endpoint)

    async def execute_all(
        self, name: str, arguments: JSON = None, *, services: Sequence[str], timeout: float | None = None
    ) -> list[Response]:
        """Send a command to several services through an agent; the answers come in the order asked.

        Raises:
            TransportError, DeadlineExceeded, RemoteProtocolError: as :meth:`bridle.Client.call`.
        """
        return list(await self._exchange(make_command(name, arguments, services), timeout))

    async def execute_many(
        self, calls: Iterable[tuple[str, JSON]], *, timeout: float | None = None
    ) -> list[Response]:
        """Send several commands, each a name and its arguments, and return their answers in that order,
        whatever the results. Where the dialect allows it they are sent without waiting for the answers
        between; ``timeout`` bounds the whole.

        Raises:
            TransportError, DeadlineExceeded, RemoteProtocolError: as :meth:`bridle.Client.call`; answers that
            had come by then are lost.
        """
        commands = [make_command(name, arguments, None) for name, arguments in calls]
        timeout = self.timeout if timeout is None else timeout
        if commands and is_pipelined(self.endpoint):
            answers = await self._pool.exchange_many(commands, timeout)
            return [one(answer, self.endpoint) for answer in answers]
        deadline = asyncio.get_running_loop().time() + timeout
        found = []
        for command in commands:
            left = deadline - asyncio.get_running_loop().time()
            found.append(one(await self._pool.exchange(command, left), self.endpoint))
        return found

    async def _exchange(self, command: Command, timeout: float | None) -> Sequence[Response]:
        return await self._pool.exchange(command, self.timeout if timeout is None else timeout)

    async def close(self) -> None:
        """Close the connections that are kept. The client can be used again."""
        self._pool.close()
        await asyncio.sleep(0)

    async def __aenter__(self: C) -> C:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()
