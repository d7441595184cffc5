"""Every wire, and every client: what holds for one holds for all."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Protocol

import pytest
import trustme

import bridle
from bridle import JSON, AsyncClient, Client, Endpoint, Response
from tests.support.loops import LOOPS
from tests.support.servers import WIRES, Site

on_unix = pytest.mark.parametrize("site", ["unix"], indirect=True)
on_ports = pytest.mark.parametrize("site", ["http", "https"], indirect=True)
on_http = pytest.mark.parametrize("site", ["http", "http+unix", "https"], indirect=True)
on_ports = pytest.mark.parametrize("site", ["http", "https"], indirect=True)
on_tls = pytest.mark.parametrize("site", ["https"], indirect=True)
without_tls = pytest.mark.parametrize("site", ["unix", "http", "http+unix"], indirect=True)


class Caller(Protocol):
    """A client as a test uses it, whether it blocks or not."""

    def call(
        self, name: str, arguments: JSON = None, *, service: str | None = None, timeout: float | None = None
    ) -> JSON: ...

    def execute(
        self, name: str, arguments: JSON = None, *, service: str | None = None, timeout: float | None = None
    ) -> Response: ...

    def execute_all(
        self, name: str, arguments: JSON = None, *, services: Sequence[str], timeout: float | None = None
    ) -> list[Response]: ...

    def close(self) -> None: ...

    def settle(self) -> None:
        """Take note of what servers have done meanwhile."""


class BlockingCaller(Client):
    """The blocking client."""

    def settle(self) -> None:
        pass


class LoopCaller:
    """The asyncio client, on a loop that runs while it is called."""

    def __init__(self, client: AsyncClient, runner: asyncio.Runner) -> None:
        self._client = client
        self._runner = runner

    def call(
        self, name: str, arguments: JSON = None, *, service: str | None = None, timeout: float | None = None
    ) -> JSON:
        return self._runner.run(self._client.call(name, arguments, service=service, timeout=timeout))

    def execute(
        self, name: str, arguments: JSON = None, *, service: str | None = None, timeout: float | None = None
    ) -> Response:
        return self._runner.run(self._client.execute(name, arguments, service=service, timeout=timeout))

    def execute_all(
        self, name: str, arguments: JSON = None, *, services: Sequence[str], timeout: float | None = None
    ) -> list[Response]:
        return self._runner.run(self._client.execute_all(name, arguments, services=services, timeout=timeout))

    def close(self) -> None:
        self._runner.run(self._client.close())

    def settle(self) -> None:
        async def turns() -> None:
            for _ in range(20):
                await asyncio.sleep(0)

        self._runner.run(turns())


Connect = Callable[..., Caller]


@pytest.fixture(scope="session")
def authority() -> trustme.CA:
    """Who vouches for the servers of ``https``."""
    return trustme.CA()


@pytest.fixture(params=WIRES)
def site(request: pytest.FixtureRequest, short_path: Path, authority: trustme.CA) -> Site:
    """Where servers and clients of one wire meet."""
    return Site(request.param, short_path, authority)


@pytest.fixture(params=["blocking", *LOOPS])
def connect(request: pytest.FixtureRequest, site: Site) -> Iterator[Connect]:
    """Make a client of one kind; it is closed in the end. What the loop could only log fails the test."""
    faults: list[object] = []
    with ExitStack() as stack:

        def blocking(endpoint: str | Endpoint, **options: object) -> Caller:
            client = BlockingCaller(endpoint, **{"tls": site.client_tls, **options})  # type: ignore[arg-type]
            stack.callback(client.close)
            return client

        def on_loop(endpoint: str | Endpoint, **options: object) -> Caller:
            runner = stack.enter_context(asyncio.Runner(loop_factory=LOOPS[request.param]))
            runner.get_loop().set_exception_handler(lambda _, fault: faults.append(fault))
            client = bridle.connect_async(endpoint, **{"tls": site.client_tls, **options})  # type: ignore[arg-type]
            caller = LoopCaller(client, runner)
            stack.callback(caller.close)
            return caller

        yield blocking if request.param == "blocking" else on_loop
    assert not faults, f"the loop met an error that nobody handled: {faults}"
