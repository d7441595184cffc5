"""Daemons that tests make up, under names of their own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from bridle.net.libqb.places import Places
from bridle.pacemaker import layouts
from bridle.wire.libqb import Transport
from bridle.wire.pacemaker_header import Layout
from tests.support.pacemaker import Answering, FakeDaemon, fake_places

Start = Callable[..., FakeDaemon]


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
