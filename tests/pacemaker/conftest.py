"""Daemons that tests make up, under names of their own."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from bridle.net.libqb.places import Places
from bridle.pacemaker import layouts
from bridle.wire.libqb import Transport
from bridle.wire.pacemaker_header import Layout
from tests.support.loops import LOOPS
from tests.support.pacemaker import Answering, FakeDaemon, fake_places

Start = Callable[..., FakeDaemon]
Run = Callable[[Coroutine[object, object, None]], None]


@pytest.fixture
def places(short_path: Path) -> Iterator[Places]:
    layouts.forget()
    yield fake_places(short_path)
    layouts.forget()


@pytest.fixture(params=["shm", "socket"])
def transport(request: pytest.FixtureRequest) -> Transport:
    return Transport.SHM if request.param == "shm" else Transport.SOCKET


@pytest.fixture(params=[Layout.V2, Layout.V3])
def layout(request: pytest.FixtureRequest) -> Layout:
    return Layout(request.param)


@pytest.fixture(params=sorted(LOOPS))
def run(request: pytest.FixtureRequest) -> Run:
    """Runs a coroutine on one of the event loops that are supported."""

    def on_loop(coroutine: Coroutine[object, object, None]) -> None:
        with asyncio.Runner(loop_factory=LOOPS[request.param]) as runner:
            runner.run(coroutine)

    return on_loop


@pytest.fixture
def start(places: Places) -> Iterator[Start]:
    """Starts daemons, and ends them at the end."""
    with ExitStack() as stack:

        def begin(
            name: str,
            answer: Answering,
            layout: Layout = Layout.V2,
            transport: Transport = Transport.SHM,
            **options: object,
        ) -> FakeDaemon:
            daemon = FakeDaemon(name, answer, places, layout=layout, transport=transport, **options)  # type: ignore[arg-type]
            return stack.enter_context(daemon)

        yield begin
