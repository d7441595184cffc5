"""The asyncio client: the loop goes on while it waits."""

from __future__ import annotations

import asyncio
import errno
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from bridle.net.libqb.asynchronous import AsyncLibqbClient, connect_async
from bridle.net.libqb.errors import LibqbError, LibqbTimeout
from bridle.net.libqb.server import LibqbServer
from bridle.wire.libqb import Transport
from tests.support.libqb import (
    ANYBODY,
    SECONDS,
    TRANSPORTS,
    Echo,
    Recorder,
    message,
    plain,
    private_places,
    unique_name,
)
from tests.support.libqb import answer_to as answer_of
from tests.support.loops import on_every_loop


@pytest.fixture(params=TRANSPORTS, ids=lambda transport: transport.name)
def transport(request: pytest.FixtureRequest) -> Transport:
    found: Transport = request.param
    return found


class Both:
    """A service and a client of it on one loop."""

    def __init__(self, server: LibqbServer, client: AsyncLibqbClient, made: list[Recorder]) -> None:
        self.server = server
        self.client = client
        self.made = made


@asynccontextmanager
async def both(directory: Path, transport: Transport) -> AsyncIterator[Both]:
    made: list[Recorder] = []
    places = private_places(directory)
    server = LibqbServer(
        unique_name(), lambda connection: Recorder(connection, made), transport=transport, places=places
    )
    server.start()
    try:
        async with await connect_async(server.name, places=places, trusted=ANYBODY) as client:
            yield Both(server, client, made)
    finally:
        await server.close(0.2)
        assert not list(directory.iterdir())


async def code_of(work: object) -> int:
    with pytest.raises(LibqbError) as caught:
        await work  # type: ignore[misc]
    return caught.value.errno


@on_every_loop
async def test_messages_are_exchanged_with_a_server_on_the_same_loop(
    short_path: Path, transport: Transport
) -> None:
    async with both(short_path, transport) as pair:
        for number in range(200):
            await pair.client.send(message(number), SECONDS)
            if answer_of(number) != 1:
                assert await pair.client.receive_response(SECONDS) == message(number)
            if answer_of(number) != 0:
                assert await pair.client.receive_event(SECONDS) == message(number)


@on_every_loop
async def test_the_loop_goes_on_while_a_response_is_waited_for(
    short_path: Path, transport: Transport
) -> None:
    async with both(short_path, transport) as pair:
        waiting = asyncio.create_task(pair.client.receive_response(SECONDS))
        for _ in range(20):
            await asyncio.sleep(0.005)
        assert not waiting.done()
        await pair.client.send(plain(0))
        assert await waiting == plain(0)


@on_every_loop
async def test_events_and_responses_are_waited_for_at_the_same_time(
    short_path: Path, transport: Transport
) -> None:
    async with both(short_path, transport) as pair:
        event = asyncio.create_task(pair.client.receive_event())
        response = asyncio.create_task(pair.client.receive_response(SECONDS))
        await asyncio.sleep(0.02)
        await pair.client.send(plain(2))
        assert await event == await response == plain(2)


@on_every_loop
async def test_waiting_ends_when_the_time_is_up(short_path: Path, transport: Transport) -> None:
    async with both(short_path, transport) as pair:
        with pytest.raises(LibqbTimeout, match=r"no response in 0\.05 s"):
            await pair.client.receive_response(0.05)
        with pytest.raises(LibqbTimeout, match=r"no event in 0\.05 s"):
            await pair.client.receive_event(0.05)


@on_every_loop
async def test_a_response_that_comes_late_is_the_next_ones(short_path: Path, transport: Transport) -> None:
    async with both(short_path, transport) as pair:
        for number in range(3):
            with pytest.raises(LibqbTimeout):
                await pair.client.receive_response(0.01)
            cancelled = asyncio.create_task(pair.client.receive_response(SECONDS))
            await asyncio.sleep(0.01)
            cancelled.cancel()
            with pytest.raises(asyncio.CancelledError):
                await cancelled
            await pair.client.send(plain(0, bytes([number])))
            assert await pair.client.receive_response(SECONDS) == plain(0, bytes([number]))


@on_every_loop
async def test_the_end_of_the_server_ends_all_waiting(short_path: Path, transport: Transport) -> None:
    async with both(short_path, transport) as pair:
        waiting = [
            asyncio.create_task(code_of(pair.client.receive_response(SECONDS))),
            asyncio.create_task(code_of(pair.client.receive_event())),
        ]
        await asyncio.sleep(0.02)
        await pair.server.close(0)
        assert await asyncio.gather(*waiting) == [errno.ENOTCONN, errno.ENOTCONN]
        assert await code_of(pair.client.send(plain(0), SECONDS)) == errno.ENOTCONN


@on_every_loop
async def test_closing_ends_all_waiting_and_the_thread(short_path: Path, transport: Transport) -> None:
    async with both(short_path, transport) as pair:
        waiting = [
            asyncio.create_task(code_of(pair.client.receive_response(SECONDS))),
            asyncio.create_task(code_of(pair.client.receive_event())),
        ]
        await asyncio.sleep(0.02)
        pair.client.close()
        assert await asyncio.gather(*waiting) == [errno.ENOTCONN, errno.ENOTCONN]
        pair.client.close()
        assert await code_of(pair.client.receive_event(1)) == errno.ENOTCONN
        assert await code_of(pair.client.receive_response(1)) == errno.ENOTCONN
        for _ in range(200):
            if not any(thread.name.startswith("libqb") for thread in threading.enumerate()):
                break
            await asyncio.sleep(0.01)
        else:
            pytest.fail("its thread goes on")


@on_every_loop
async def test_a_callback_is_told_of_events_and_of_the_end(short_path: Path, transport: Transport) -> None:
    async with both(short_path, transport) as pair:
        events: list[bytes] = []
        ended = asyncio.Event()

        def take() -> None:
            try:
                while (event := pair.client.client.receive_event()) is not None:
                    events.append(event)
            except LibqbError:
                pair.client.watch(None)
                ended.set()

        pair.client.watch(take)
        for number in range(5):
            await pair.client.send(plain(2, bytes([number])), SECONDS)
            assert await pair.client.receive_response(SECONDS) == plain(2, bytes([number]))
        await pair.server.close()
        await asyncio.wait_for(ended.wait(), SECONDS)
        assert events == [plain(1 + 1, bytes([number])) for number in range(5)]


@on_every_loop
async def test_sending_waits_while_the_server_pauses(short_path: Path, transport: Transport) -> None:
    async with both(short_path, transport) as pair:
        await pair.client.send(plain(0))
        await pair.client.receive_response(SECONDS)
        connection = pair.made[0].connection
        connection.pause()
        assert await code_of(pair.client.send(plain(0), 0.05)) == errno.EAGAIN
        asyncio.get_running_loop().call_later(0.05, connection.resume)
        await pair.client.send(plain(0), SECONDS)
        assert await pair.client.receive_response(SECONDS) == plain(0)


@on_every_loop
async def test_a_connection_that_nobody_wants_any_more_is_closed(
    short_path: Path, transport: Transport
) -> None:
    places = private_places(short_path)
    server = LibqbServer(unique_name(), Echo, transport=transport, places=places)
    server.start()
    connecting = asyncio.create_task(connect_async(server.name, places=places, trusted=ANYBODY))
    while not server.connections:
        await asyncio.sleep(0)
    connecting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await connecting
    for _ in range(500):
        if not server.connections:
            break
        await asyncio.sleep(0.01)
    assert not server.connections
    await server.close()
