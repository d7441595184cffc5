"""Commands over libqb: what a dialect reads is executed, and what it writes goes the way that it says."""

from __future__ import annotations

import asyncio
import errno
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from bridle.core.errors import RemoteProtocolError
from bridle.core.messages import Command, Event, Peer, Response
from bridle.net.libqb.asynchronous import AsyncLibqbClient, connect_async
from bridle.net.libqb.dialects import EventGate, LibqbListener
from bridle.net.libqb.errors import LibqbError
from bridle.net.stream import QUEUE_LIMIT
from bridle.wire.libqb import Channel, Transport
from bridle.wire.libqb_dialect import LibqbMessage, Outgoing, Subscription
from tests.support.libqb import ANYBODY, SECONDS, TRANSPORTS, plain, private_places, unique_name
from tests.support.loops import on_every_loop

ACKNOWLEDGED = plain(0, b"ack")


class Words:
    """A dialect of words: acknowledges each by a response, answers by an event."""

    def __init__(self, peer: Peer) -> None:
        self.peer = peer
        self.closing = False

    def receive(self, data: bytes) -> Sequence[LibqbMessage]:
        word = data[32:].decode()
        if word == "gibberish":
            raise RemoteProtocolError("no word", data)
        if word == "quit":
            self.closing = True
        acknowledgement = Outgoing(Channel.RESPONSE, ACKNOWLEDGED)
        command = Command(word, peer=self.peer)
        if word == "subscribe":
            return [acknowledgement, Subscription(command)]
        return [acknowledgement, command] if word != "hello" else [acknowledgement]

    def respond(self, command: Command, response: Response) -> Sequence[Outgoing]:
        if response.text == "unwritable":
            raise ValueError("no such text")
        if command.name == "hopeless":
            raise ValueError("no words at all")
        text = f"{command.name}: {response.result} {response.text or ''}"
        return [Outgoing(Channel.EVENT, plain(1, text.encode()))]

    def notify(self, event: Event) -> Sequence[Outgoing]:
        return [Outgoing(Channel.EVENT, plain(1, event.name.encode()))]


Execute = Callable[[Command], Response | Awaitable[Response]]


@pytest.fixture(params=TRANSPORTS, ids=lambda transport: transport.name)
def transport(request: pytest.FixtureRequest) -> Transport:
    found: Transport = request.param
    return found


@asynccontextmanager
async def listening(
    directory: Path, transport: Transport, execute: Execute, gate: EventGate | None = None
) -> AsyncIterator[tuple[LibqbListener, AsyncLibqbClient]]:
    name, places = unique_name(), private_places(directory)
    listener = LibqbListener(name, Words, execute, gate=gate, transport=transport, places=places)
    listener.start()
    try:
        async with await connect_async(name, places=places, trusted=ANYBODY) as client:
            yield listener, client
    finally:
        await listener.close(0.5)
        assert not listener.connections
        assert not list(directory.iterdir())


async def say(client: AsyncLibqbClient, word: str) -> None:
    await client.send(plain(0, word.encode()), SECONDS)


async def heard(client: AsyncLibqbClient) -> str:
    return (await client.receive_event(SECONDS))[32:].decode()


def at_once(command: Command) -> Response:
    """Execute a command."""
    return Response(0, f"for {command.peer.transport}")


@on_every_loop
async def test_a_command_is_acknowledged_executed_and_answered(
    short_path: Path, transport: Transport
) -> None:
    async with listening(short_path, transport, at_once) as (_, client):
        await say(client, "ping")
        assert await client.receive_response(SECONDS) == ACKNOWLEDGED
        assert await heard(client) == "ping: 0 for qb"
        await say(client, "hello")
        assert await client.receive_response(SECONDS) == ACKNOWLEDGED


@on_every_loop
async def test_commands_wait_for_those_before_them_but_not_for_other_clients(
    short_path: Path, transport: Transport
) -> None:
    go = asyncio.Event()

    async def slowly(command: Command) -> Response:
        if command.name == "slow":
            await go.wait()
        return Response(0, "done")

    async with listening(short_path, transport, slowly) as (listener, client):
        places = private_places(short_path)
        async with await connect_async(client.client.name, places=places, trusted=ANYBODY) as other:
            await say(client, "slow")
            await say(client, "quick")
            await say(other, "quick")
            assert await heard(other) == "quick: 0 done"
            assert client.client.receive_event() is None
            go.set()
            assert [await heard(client), await heard(client)] == ["slow: 0 done", "quick: 0 done"]
            assert len(listener.connections) == 2


@on_every_loop
async def test_a_client_that_sends_more_and_more_behind_a_slow_command_has_to_pause(
    short_path: Path, transport: Transport
) -> None:
    go = asyncio.Event()

    async def slowly(command: Command) -> Response:
        await go.wait()
        return Response(0)

    async with listening(short_path, transport, slowly) as (_, client):
        sent = 0
        for _ in range(5000):
            if not client.client.try_send(plain(0, b"more")):
                break
            sent += 1
            await asyncio.sleep(0)
        assert QUEUE_LIMIT / 2 < sent < 3 * QUEUE_LIMIT
        go.set()
        for _ in range(sent):
            await heard(client)
            await client.receive_response(SECONDS)
        await say(client, "last")
        assert await heard(client) == "last: 0 "


@on_every_loop
async def test_an_answer_that_cannot_be_written_is_an_error(
    short_path: Path, transport: Transport, caplog: pytest.LogCaptureFixture
) -> None:
    def strangely(command: Command) -> Response:
        return Response(0, "x" * 200_000 if command.name == "large" else "unwritable")

    async with listening(short_path, transport, strangely) as (_, client):
        await say(client, "odd")
        assert await heard(client) == "odd: 1 the answer cannot be written: no such text"
        await say(client, "large")
        assert "a message of 200041 bytes; at most 131072" in await heard(client)
        await say(client, "hopeless")
        with pytest.raises(LibqbError) as caught:
            await heard(client)
        assert caught.value.errno == errno.ENOTCONN
    assert "no words at all" in caplog.text


@on_every_loop
async def test_a_handler_that_gives_up_is_answered(short_path: Path, transport: Transport) -> None:
    async def give_up(command: Command) -> Response:
        raise asyncio.CancelledError

    def give_up_at_once(command: Command) -> Response:
        raise asyncio.CancelledError

    for execute in (give_up, give_up_at_once):
        async with listening(short_path, transport, execute) as (_, client):
            await say(client, "command")
            assert await heard(client) == "command: 1 the command was cancelled"


@on_every_loop
async def test_a_client_that_cannot_be_understood_is_cut_off(short_path: Path, transport: Transport) -> None:
    async with listening(short_path, transport, at_once) as (listener, client):
        await say(client, "gibberish")
        with pytest.raises(LibqbError):
            await heard(client)
        assert not listener.connections


@on_every_loop
async def test_a_conversation_that_closes_is_ended_after_its_answer(
    short_path: Path, transport: Transport
) -> None:
    async with listening(short_path, transport, at_once) as (_, client):
        await say(client, "quit")
        assert await heard(client) == "quit: 0 for qb"
        with pytest.raises(LibqbError):
            await heard(client)


@on_every_loop
async def test_closing_delivers_the_answers_in_flight(short_path: Path, transport: Transport) -> None:
    async def slowly(command: Command) -> Response:
        await asyncio.sleep(0.05)
        return Response(0, "at last")

    async with listening(short_path, transport, slowly) as (listener, client):
        await say(client, "slow")
        await client.receive_response(SECONDS)
        closing = asyncio.create_task(listener.close(SECONDS))
        assert await heard(client) == "slow: 0 at last"
        await closing
        with pytest.raises(LibqbError):
            await heard(client)


@on_every_loop
async def test_closing_does_not_wait_for_ever(short_path: Path, transport: Transport) -> None:
    async def never(command: Command) -> Response:
        await asyncio.Event().wait()
        raise AssertionError

    async with listening(short_path, transport, never) as (listener, client):
        await say(client, "slow")
        await client.receive_response(SECONDS)
        await listener.close(0.05)
        assert not listener.connections


@on_every_loop
async def test_what_is_worked_on_is_finished_when_its_client_goes(
    short_path: Path, transport: Transport
) -> None:
    finished = asyncio.Event()
    begun = asyncio.Event()

    async def slowly(command: Command) -> Response:
        begun.set()
        await asyncio.sleep(0.05)
        finished.set()
        return Response(0)

    async with listening(short_path, transport, slowly) as (_, client):
        await say(client, "slow")
        await begun.wait()
        client.close()
        await asyncio.wait_for(finished.wait(), SECONDS)


@on_every_loop
async def test_events_reach_everybody_who_asks(short_path: Path, transport: Transport) -> None:
    async with listening(short_path, transport, at_once) as (listener, client):
        await say(client, "hello")
        await client.receive_response(SECONDS)
        listener.notify(Event(0, "too early"))
        await say(client, "subscribe")
        assert await heard(client) == "subscribe: 0 "
        listener.notify(Event(1, "something"))
        assert await heard(client) == "something"
        listener.notify(Event(2, "x" * 200_000))
        listener.notify(Event(3, "still there"))
        assert await heard(client) == "still there"


class Gate:
    """Lets some in, and tells of some events in capitals."""

    def __init__(self) -> None:
        self.open = False
        self.asked: list[str] = []

    def subscribe(self, command: Command) -> Response:
        """Decide as it stands."""
        self.asked.append(f"{command.name} by {command.peer.transport}")
        return Response() if self.open else Response(403, "Forbidden")

    def shown(self, event: Event, peer: Peer) -> Event | None:
        """Tell in capitals, and nothing once it is closed."""
        return Event(event.sequence, event.name.upper()) if self.open else None


@on_every_loop
async def test_a_gate_decides_who_is_told_of_what(short_path: Path, transport: Transport) -> None:
    gate = Gate()
    async with listening(short_path, transport, at_once, gate) as (listener, client):
        await say(client, "subscribe")
        assert await heard(client) == "subscribe: 403 Forbidden"
        gate.open = True
        listener.notify(Event(1, "not for who was refused"))
        await say(client, "subscribe")
        assert await heard(client) == "subscribe: 0 "
        listener.notify(Event(2, "one"))
        gate.open = False
        listener.notify(Event(3, "not any more"))
        gate.open = True
        listener.notify(Event(4, "two"))
        assert [await heard(client), await heard(client)] == ["ONE", "TWO"]
        assert gate.asked == ["subscribe by qb"] * 2
