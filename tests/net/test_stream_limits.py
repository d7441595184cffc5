"""What a stream listener bounds: memory for those who do not read, what waits its turn, how many come."""

from __future__ import annotations

import asyncio
import socket
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from bridle.net.stream import (
    LINGER,
    QUEUE_BYTES,
    QUEUE_LIMIT,
    REFUSED_LIMIT,
    SILENCE,
    TURN,
    WRITE_TIMEOUT,
)
from bridle.testing import elapsed
from tests.support.loops import on_every_loop, on_virtual_clock
from tests.support.streams import KEEP, Commands, Visitor, listening, turns

HELLO = b'{ "command": "say", "arguments": { "value": "hello" } }'
ANSWER = b'{ "arguments": "hello", "result": 0 }'
MEGABYTE = b'{ "command": "write", "arguments": [ 1000000 ] }'
MEGABYTE_ANSWER = len(b'{ "arguments": "", "result": 0 }') + 1_000_000

# What the kernel holds for one direction of a unix socket, and a read or two of the loop's.
IN_TRANSIT = 1_000_000


@pytest.fixture
def path(short_path: Path) -> Path:
    return short_path / "control"


@pytest.fixture
def commands() -> Commands:
    return Commands()


async def fill(visitor: Visitor, data: bytes) -> int:
    """Send until the other end takes no more; the number of bytes."""
    sent = 0
    for _ in range(1000):
        if sent == len(data):
            break
        sent += visitor.send_what_fits(data[sent : sent + 65536])
        await turns(3)
    return sent


async def drain(visitor: Visitor) -> bytes:
    """What there is to read up to the end, however that comes."""
    data = b""
    try:
        while piece := await visitor.read():
            data += piece
    except ConnectionResetError:
        pass
    return data


# Who does not read


@pytest.mark.parametrize("late", [0, 20], ids=["at once", "later"])
@on_virtual_clock
async def test_commands_of_a_client_that_does_not_read_are_not_executed_ahead(
    path: Path, commands: Commands, late: int
) -> None:
    async with listening(path, commands.process_command) as listener, await Visitor.to(path) as visitor:
        await turns(late)
        await visitor.send(KEEP + MEGABYTE * 500)
        await turns()
        assert 1 <= len(commands.begun) <= 2
        await asyncio.sleep(WRITE_TIMEOUT - 0.1)
        assert len(listener.connections) == 1
        await asyncio.sleep(0.2)
        assert not listener.connections
        assert len(commands.begun) <= 2
        assert len(await drain(visitor)) < 2 * MEGABYTE_ANSWER


@on_virtual_clock
async def test_small_answers_to_a_client_that_does_not_read_are_bounded_too(
    path: Path, commands: Commands
) -> None:
    command = b'{ "command": "write", "arguments": [ 100 ] }'
    async with listening(path, commands.process_command) as listener, await Visitor.to(path) as visitor:
        sent = await fill(visitor, KEEP + command * 100_000)
        assert sent < IN_TRANSIT
        assert len(commands.begun) * 100 < IN_TRANSIT
        await asyncio.sleep(WRITE_TIMEOUT + 0.1)
        assert not listener.connections


@pytest.mark.parametrize("junk", [b"", b"x" * 100_000], ids=["", "junk"])
@pytest.mark.parametrize("late", [0, 20], ids=["at once", "later"])
@on_virtual_clock
async def test_a_client_that_does_not_take_in_its_only_answer_is_cut(
    path: Path, commands: Commands, late: int, junk: bytes
) -> None:
    async with listening(path, commands.process_command) as listener, await Visitor.to(path) as visitor:
        await turns(late)
        await visitor.send(MEGABYTE + junk)
        await asyncio.sleep(WRITE_TIMEOUT - 0.1)
        assert len(listener.connections) == 1
        await asyncio.sleep(0.2)
        assert not listener.connections
        assert len(await drain(visitor)) < MEGABYTE_ANSWER


@pytest.mark.parametrize("junk", [b"", b"x" * 100_000], ids=["", "junk"])
@pytest.mark.parametrize("kept", [b"", KEEP], ids=["", "kept"])
@pytest.mark.parametrize("late", [0, 20], ids=["at once", "later"])
@on_virtual_clock
async def test_a_client_that_reads_slowly_but_steadily_gets_it_all(
    path: Path, commands: Commands, late: int, kept: bytes, junk: bytes
) -> None:
    async with listening(path, commands.process_command), await Visitor.to(path) as visitor:
        await turns(late)
        await visitor.send(kept + MEGABYTE + (b"" if kept else junk))
        received = 0
        while received < MEGABYTE_ANSWER:
            piece = await visitor.read(100_000)
            assert piece, f"cut after {received} bytes and {elapsed()} s"
            received += len(piece)
            await asyncio.sleep(WRITE_TIMEOUT / 4)
        assert elapsed() > 2 * WRITE_TIMEOUT
        if not kept:
            assert await visitor.read_all() == b""


@on_virtual_clock
async def test_a_client_that_stops_reading_midway_is_cut(path: Path, commands: Commands) -> None:
    async with listening(path, commands.process_command) as listener, await Visitor.to(path) as visitor:
        await visitor.send(KEEP + b'{ "command": "write", "arguments": [ 20000000 ] }')
        for _ in range(10):
            for _ in range(5):
                await visitor.read(100_000)
                await turns(2)
            await asyncio.sleep(WRITE_TIMEOUT / 2)
        assert len(listener.connections) == 1
        stopped = elapsed()
        while listener.connections:
            await asyncio.sleep(1)
        assert elapsed() - stopped <= 2 * WRITE_TIMEOUT + 1


@on_virtual_clock
async def test_a_client_that_does_not_read_slows_nobody_else(path: Path, commands: Commands) -> None:
    async with listening(path, commands.process_command):
        slow = [await Visitor.to(path) for _ in range(20)]
        for visitor in slow:
            await visitor.send(KEEP + MEGABYTE * 5)
        async with await Visitor.to(path) as visitor:
            assert await visitor.ask(HELLO) == ANSWER
        assert elapsed() < 0.1
        for visitor in slow:
            visitor.leave()


@on_every_loop
async def test_who_reads_after_all_gets_the_answers_that_were_held_back_in_order(
    path: Path, commands: Commands
) -> None:
    sizes = [100_000, 5, 300_000, 70_000, 1_000_000, 1, 64 * 1024]
    sent = b"".join(b'{ "command": "write", "arguments": [ %d ] }\n' % size for size in sizes)
    for late in (0, 10):
        async with listening(path, commands.process_command), await Visitor.to(path) as visitor:
            await turns(late)
            await visitor.send(KEEP + sent)
            await asyncio.sleep(0.01)
            for size in sizes:
                assert (await visitor.read_line()).count(b"x") == size
            await visitor.send(HELLO)
            assert await visitor.read_line() == ANSWER + b"\n"


# What waits behind a slow command


@on_virtual_clock
async def test_no_more_commands_are_read_behind_a_slow_one_than_the_limit(
    path: Path, commands: Commands
) -> None:
    async with listening(path, commands.process_command), await Visitor.to(path) as visitor:
        await visitor.send(KEEP + b'{ "command": "wait", "arguments": [ "hello", 60 ] }')
        await turns()
        total = 20_000
        sent = await fill(visitor, HELLO * total)
        assert QUEUE_LIMIT * len(HELLO) < sent < IN_TRANSIT
        assert commands.begun == ["hello"]
        rest = asyncio.create_task(visitor.send((HELLO * total)[sent:]))
        answers = [await visitor.read_line() for _ in range(total + 1)]
        await rest
        assert answers == [ANSWER + b"\n"] * (total + 1)
        assert elapsed() == pytest.approx(60, abs=0.1)


@on_virtual_clock
async def test_no_more_bytes_are_read_behind_a_slow_command_than_the_limit(
    path: Path, commands: Commands
) -> None:
    large = b'{ "command": "say", "arguments": { "value": "%s" } }' % (b"y" * 300_000)
    total = 40
    async with listening(path, commands.process_command), await Visitor.to(path) as visitor:
        await visitor.send(KEEP + b'{ "command": "wait", "arguments": [ "hello", 60 ] }')
        await turns()
        sent = await fill(visitor, large * total)
        assert QUEUE_BYTES < sent < QUEUE_BYTES + IN_TRANSIT
        rest = asyncio.create_task(visitor.send((large * total)[sent:]))
        assert await visitor.read_line() == ANSWER + b"\n"
        for _ in range(total):
            assert len(await visitor.read_line()) > 300_000
        await rest


@pytest.mark.parametrize("size", [6_000_000, 60_000], ids=["one answer", "many answers"])
@on_virtual_clock
async def test_who_reads_slowly_but_does_is_served_to_the_end(
    path: Path, commands: Commands, size: int
) -> None:
    command = b'{ "command": "write", "arguments": [ %d ] }' % size
    count = 6_000_000 // size
    async with listening(path, commands.process_command), await Visitor.to(path) as visitor:
        await visitor.send(KEEP + command * count)
        read = 0
        while read < size * count:
            # A good part of what the kernel holds each time: it does not tell of less.
            piece = await visitor.read(150_000)
            assert piece, f"cut after {read} bytes, {elapsed()} s"
            read += piece.count(b"x")
            await asyncio.sleep(WRITE_TIMEOUT / 2)
        assert elapsed() > 10 * WRITE_TIMEOUT


# Whose turn it is


def say(value: str) -> bytes:
    return b'{ "command": "say", "arguments": { "value": "%s" } }' % value.encode()


@pytest.mark.parametrize("late", [0, 20], ids=["at once", "later"])
@on_every_loop
async def test_who_sends_many_commands_at_once_lets_others_have_their_turn(
    path: Path, commands: Commands, late: int
) -> None:
    many = 40 * TURN
    async with listening(path, commands.process_command), await Visitor.to(path) as one:
        await one.send(KEEP + say("one"))
        await one.read_line()
        async with await Visitor.to(path) as other:
            await turns(late)
            await other.send(KEEP + say("other") * many)
            while "other" not in commands.begun:
                await asyncio.sleep(0)
            for _ in range(3):
                before = len(commands.begun)
                await one.send(say("one"))
                assert await one.read_line() == b'{ "arguments": "one", "result": 0 }\n'
                # A few turns of the loop each: to see that it came, and here that it was answered.
                assert commands.begun[before:].count("other") <= 6 * TURN
            assert commands.begun.count("other") < many
            for _ in range(many):
                assert await other.read_line() == b'{ "arguments": "other", "result": 0 }\n'
            await other.send(say("last"))
            assert await other.read_line() == b'{ "arguments": "last", "result": 0 }\n'


@pytest.mark.parametrize("late", [0, 20], ids=["at once", "later"])
@on_every_loop
async def test_commands_that_wait_for_their_turn_are_answered_before_the_end(
    path: Path, commands: Commands, late: int
) -> None:
    names = [str(number) for number in range(5 * TURN)]
    for ended in ("by the client", "by the listener"):
        commands.begun.clear()
        async with listening(path, commands.process_command) as listener, await Visitor.to(path) as visitor:
            await turns(late)
            await visitor.send(KEEP + b"".join(map(say, names)))
            if ended == "by the client":
                visitor.finish()
            else:
                while not commands.begun:
                    await asyncio.sleep(0)
                closing = asyncio.create_task(listener.close())
            answers = await visitor.read_all()
            assert answers == b"".join(
                b'{ "arguments": "%s", "result": 0 }\n' % name.encode() for name in names
            )
            if ended == "by the listener":
                await closing
        assert commands.begun == names


@on_virtual_clock
async def test_what_comes_while_a_turn_is_waited_for_is_answered_too(path: Path, commands: Commands) -> None:
    total = 20_000
    async with listening(path, commands.process_command), await Visitor.to(path) as visitor:
        await visitor.send(KEEP + HELLO)
        assert await visitor.read_line() == ANSWER + b"\n"
        sent = visitor.send_what_fits(HELLO * total)
        await turns(4)
        assert len(commands.begun) <= 4 * TURN
        rest = asyncio.create_task(visitor.send((HELLO * total)[sent:]))
        for _ in range(total):
            assert await visitor.read_line() == ANSWER + b"\n"
        await rest


@on_every_loop
async def test_who_leaves_before_its_turn_costs_nothing_more(path: Path, commands: Commands) -> None:
    many = 40 * TURN
    async with listening(path, commands.process_command) as listener:
        visitor = await Visitor.to(path)
        await visitor.send(KEEP + HELLO)
        await visitor.read_line()
        await visitor.send(HELLO * many)
        while len(commands.begun) < 2:
            await asyncio.sleep(0)
        visitor.leave()
        await turns()
        assert not listener.connections
        assert len(commands.begun) < many
        assert listener.requests.total == 0


# How many


REFUSED = b'{ "result": 1, "text": "too many connections: at most 2 are served" }'


@pytest.mark.parametrize(
    "sent", [b"", HELLO, KEEP + HELLO, b"x" * 200_000], ids=["", "command", "kept", "junk"]
)
@on_every_loop
async def test_the_connection_too_many_is_told_so_and_ended(
    path: Path, commands: Commands, sent: bytes
) -> None:
    async with listening(path, commands.process_command, connection_limit=2) as listener:
        first, second = await Visitor.to(path), await Visitor.to(path)
        for visitor in (first, second):
            await visitor.send(KEEP + HELLO)
            assert await visitor.read_line() == ANSWER + b"\n"
        async with await Visitor.to(path) as visitor:
            await visitor.send(sent)
            assert await visitor.read_all() == REFUSED
        assert len(listener.connections) == 2
        await first.send(HELLO)
        assert await first.read_line() == ANSWER + b"\n"
        first.leave()
        await turns()
        async with await Visitor.to(path) as visitor:
            assert await visitor.ask(HELLO) == ANSWER
        second.leave()
    assert commands.done == ["hello"] * 4


@on_every_loop
async def test_who_has_asked_for_nothing_gives_way_to_a_newcomer(path: Path, commands: Commands) -> None:
    async with listening(path, commands.process_command, connection_limit=3) as listener:
        silent, partial, working = [await Visitor.to(path) for _ in range(3)]
        await partial.send(HELLO[:20])
        await working.send(b'{ "command": "wait", "arguments": [ "hello", 0.2 ] }')
        await turns()
        for loser in (silent, partial):
            async with await Visitor.to(path) as visitor:
                assert await visitor.ask(HELLO) == ANSWER
                async with await Visitor.to(path) as another:
                    await another.send(KEEP + HELLO)
                    assert await another.read_line() == ANSWER + b"\n"
            await turns()
            del loser
        assert len(listener.connections) <= 3
        assert await working.read_all() == ANSWER
        for visitor in (silent, partial, working):
            visitor.leave()


@on_virtual_clock
async def test_who_was_answered_gives_way_after_a_silence(path: Path, commands: Commands) -> None:
    async with listening(path, commands.process_command, connection_limit=1), await Visitor.to(path) as kept:
        await kept.send(KEEP + HELLO)
        assert await kept.read_line() == ANSWER + b"\n"
        await asyncio.sleep(SILENCE - 0.1)
        async with await Visitor.to(path) as visitor:
            assert await visitor.ask(HELLO) == REFUSED.replace(b"2", b"1")
        await asyncio.sleep(0.2)
        async with await Visitor.to(path) as visitor:
            assert await visitor.ask(HELLO) == ANSWER
        assert await kept.read_all() == REFUSED.replace(b"2", b"1") + b"\n"


@on_virtual_clock
async def test_who_is_being_worked_for_never_gives_way(path: Path, commands: Commands) -> None:
    async with listening(path, commands.process_command, connection_limit=1), await Visitor.to(path) as busy:
        await busy.send(b'{ "command": "wait", "arguments": [ "hello", 60 ] }')
        await asyncio.sleep(30)
        async with await Visitor.to(path) as visitor:
            assert await visitor.ask(HELLO) == REFUSED.replace(b"2", b"1")
        assert await busy.read_all() == ANSWER


# What all connections of a listener hold together


def refusal(limit: int) -> bytes:
    return b'{ "result": 1, "text": "too much at once: at most %d bytes are held" }' % limit


@on_virtual_clock
async def test_of_requests_that_are_too_much_together_the_oldest_is_refused(
    path: Path, commands: Commands
) -> None:
    part = b'{ "command": "say", "arguments": { "value": "%s' % (b"y" * 300_000)
    async with listening(path, commands.process_command) as listener:
        listener.requests.limit = 1_000_000
        async with AsyncExitStack() as stack:
            clients = [await stack.enter_async_context(await Visitor.to(path)) for _ in range(4)]
            for client in clients:
                await client.send(part)
                await turns()
            assert await clients[0].read_all() == refusal(1_000_000)
            assert listener.requests.total <= 1_000_000
            for client in clients[1:]:
                await client.send(b'" } }')
                assert (await client.read_all()).count(b"y") == 300_000
            await turns()
        assert listener.requests.total == 0


@on_virtual_clock
async def test_small_requests_are_served_whatever_is_held(path: Path, commands: Commands) -> None:
    async with listening(path, commands.process_command) as listener, await Visitor.to(path) as large:
        listener.requests.limit = 1_000_000
        await large.send(KEEP + b'{ "command": "wait", "arguments": [ "%s", 60 ] }' % (b"y" * 900_000))
        await turns()
        assert listener.requests.total > 900_000
        async with await Visitor.to(path) as visitor:
            assert await visitor.ask(HELLO) == ANSWER
        assert (await large.read_line()).count(b"y") == 900_000
        await turns()
        assert listener.requests.total == 0


@on_virtual_clock
async def test_of_answers_that_nobody_takes_in_the_oldest_are_dropped(path: Path, commands: Commands) -> None:
    async with listening(path, commands.process_command) as listener:
        listener.answers.limit = 3_000_000
        async with AsyncExitStack() as stack:
            slow = [await stack.enter_async_context(await Visitor.to(path)) for _ in range(5)]
            for client in slow:
                await client.send(MEGABYTE)
                await turns()
            assert listener.answers.total <= 3_000_000
            assert len(listener.connections) <= 4
            assert len(await drain(slow[0])) < MEGABYTE_ANSWER
            assert len(await drain(slow[-1])) == MEGABYTE_ANSWER
            await turns()
        await turns()
        assert listener.answers.total == 0


@on_virtual_clock
async def test_what_a_connection_held_is_free_when_it_is_gone(path: Path, commands: Commands) -> None:
    async with listening(path, commands.process_command) as listener:
        for sent in (b'{ "x": "%s' % (b"y" * 300_000), MEGABYTE, KEEP + MEGABYTE * 3 + HELLO[:9]):
            async with await Visitor.to(path) as visitor:
                await visitor.send(sent)
                await turns()
            await turns()
            assert (listener.requests.total, listener.answers.total) == (0, 0)


@on_virtual_clock
async def test_a_refused_client_that_stays_is_cut(path: Path, commands: Commands) -> None:
    async with (
        listening(path, commands.process_command, connection_limit=0),
        await Visitor.to(path) as visitor,
    ):
        assert b"too many connections" in await visitor.read_all()
        await asyncio.sleep(LINGER + 0.1)
        with pytest.raises((BrokenPipeError, ConnectionResetError)):
            await visitor.send(b"x")


@on_virtual_clock
async def test_a_client_that_goes_on_sending_after_its_end_is_cut(path: Path, commands: Commands) -> None:
    async with listening(path, commands.process_command) as listener, await Visitor.to(path) as visitor:
        assert await visitor.ask(HELLO + b"junk") == ANSWER
        for _ in range(3):
            await visitor.send(b"more")
            await asyncio.sleep(LINGER / 4)
        await asyncio.sleep(LINGER / 4)
        with pytest.raises((BrokenPipeError, ConnectionResetError)):
            await visitor.send(b"more")
        assert not listener.connections


@on_virtual_clock
async def test_of_those_who_are_too_many_all_are_told_and_few_are_waited_for(
    path: Path, commands: Commands
) -> None:
    async with listening(path, commands.process_command, connection_limit=1):
        served = socket.socket(socket.AF_UNIX)
        served.connect(str(path))
        served.send(KEEP + HELLO)
        await turns(5)
        refused = [socket.socket(socket.AF_UNIX) for _ in range(REFUSED_LIMIT + 20)]
        try:
            for client in refused:
                client.connect(str(path))
            await turns(20)
            for client in refused:
                client.settimeout(5)
                assert b"too many connections: at most 1 are served" in client.recv(65536)
        finally:
            for client in [served, *refused]:
                client.close()
