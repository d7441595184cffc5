"""How a stream listener comes to its end: answers in flight are delivered, the rest is ended or cut."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from pathlib import Path

import pytest

from bridle.testing import elapsed
from tests.support.loops import on_every_loop, on_virtual_clock
from tests.support.streams import KEEP, Commands, Visitor, listening, turns

HELLO = b'{ "command": "say", "arguments": { "value": "hello" } }'
ANSWER = b'{ "arguments": "hello", "result": 0 }'


def wait(seconds: float) -> bytes:
    return b'{ "command": "wait", "arguments": [ "hello", %g ] }' % seconds


@pytest.fixture
def path(short_path: Path) -> Path:
    return short_path / "control"


@pytest.fixture
def commands() -> Commands:
    return Commands()


@pytest.mark.parametrize("kept", [b"", KEEP], ids=["", "kept"])
@on_virtual_clock
async def test_answers_in_flight_are_delivered_before_the_end(
    path: Path, commands: Commands, kept: bytes
) -> None:
    async with listening(path, commands.process_command) as listener, await Visitor.to(path) as visitor:
        await visitor.send(kept + wait(3))
        await turns()
        await listener.close(grace=5)
        assert elapsed() == pytest.approx(3, abs=0.1)
        assert (await visitor.read_all()).strip() == ANSWER


@on_virtual_clock
async def test_what_was_pipelined_before_the_end_is_answered_too(path: Path, commands: Commands) -> None:
    async with listening(path, commands.process_command) as listener, await Visitor.to(path) as visitor:
        await visitor.send(KEEP + wait(1) + HELLO + wait(1) + HELLO)
        await turns()
        await listener.close(grace=5)
        assert elapsed() == pytest.approx(2, abs=0.1)
        assert (await visitor.read_all()).splitlines() == [ANSWER] * 4


@pytest.mark.parametrize(
    "sent", [b"", b'{ "command"', KEEP, KEEP + b"{"], ids=["", "part", "kept", "kept part"]
)
@on_virtual_clock
async def test_idle_connections_end_at_once_and_in_silence(
    path: Path, commands: Commands, sent: bytes
) -> None:
    async with listening(path, commands.process_command) as listener, await Visitor.to(path) as visitor:
        await visitor.send(sent)
        await turns()
        await listener.close(grace=5)
        assert elapsed() < 0.1
        assert await visitor.read_all() == b""


@on_virtual_clock
async def test_a_kept_connection_between_two_commands_ends_at_once(path: Path, commands: Commands) -> None:
    async with listening(path, commands.process_command) as listener, await Visitor.to(path) as visitor:
        await visitor.send(KEEP + HELLO)
        assert await visitor.read_line() == ANSWER + b"\n"
        await listener.close(grace=5)
        assert elapsed() < 0.1
        assert await visitor.read_all() == b""


@on_virtual_clock
async def test_what_is_not_done_within_the_grace_is_cut(
    path: Path, commands: Commands, caplog: pytest.LogCaptureFixture
) -> None:
    async with (
        listening(path, commands.process_command) as listener,
        await Visitor.to(path) as visitor,
        await Visitor.to(path) as unread,
    ):
        await visitor.send(wait(100))
        await unread.send(b'{ "command": "write", "arguments": [ 1000000 ] }')
        await turns()
        await listener.close(grace=5)
        assert elapsed() == pytest.approx(5, abs=0.1)
        assert not listener.connections
        assert await visitor.read_all() == b""
    assert "cutting 2 connections" in caplog.text


@on_virtual_clock
async def test_a_large_answer_that_is_being_read_is_delivered_within_the_grace(
    path: Path, commands: Commands
) -> None:
    async with listening(path, commands.process_command) as listener, await Visitor.to(path) as visitor:
        await visitor.send(KEEP + b'{ "command": "write", "arguments": [ 3000000 ] }')
        await turns()
        closing = asyncio.create_task(listener.close(grace=5))
        received = 0
        while piece := await visitor.read(500_000):
            received += len(piece)
            await asyncio.sleep(0.1)
        assert received > 3_000_000
        await closing
        assert elapsed() < 5


@pytest.mark.parametrize("grace", [0, 5])
@on_virtual_clock
async def test_closing_what_is_idle_takes_no_time_and_needs_no_warning(
    path: Path, commands: Commands, caplog: pytest.LogCaptureFixture, grace: float
) -> None:
    with caplog.at_level(logging.WARNING):
        async with listening(path, commands.process_command) as listener:
            await listener.close(grace)
            await listener.close(grace)
            assert elapsed() < 0.1
    assert not caplog.records


@pytest.mark.parametrize("sent", [b"", HELLO, wait(0), wait(30), KEEP + HELLO, HELLO + b"junk"])
@pytest.mark.parametrize("grace", [0, 1])
@on_virtual_clock
async def test_closing_leaves_nothing_whenever_it_comes(
    path: Path, commands: Commands, sent: bytes, grace: float
) -> None:
    for count in range(8):
        async with listening(path, commands.process_command) as listener, await Visitor.to(path) as visitor:
            visitor.send_what_fits(sent)
            await turns(count)
            await listener.close(grace)
            assert not listener.connections
            with contextlib.suppress(ConnectionResetError):  # where it was never accepted
                async with asyncio.timeout(0.1):
                    await visitor.read_all()


@on_every_loop
async def test_after_accepting_stops_the_open_connections_go_on(path: Path, commands: Commands) -> None:
    async with listening(path, commands.process_command) as listener, await Visitor.to(path) as visitor:
        await visitor.send(KEEP + HELLO)
        assert await visitor.read_line() == ANSWER + b"\n"
        listener.stop_accepting()
        listener.stop_accepting()
        with pytest.raises(ConnectionRefusedError):
            await Visitor.to(path)
        await visitor.send(HELLO)
        assert await visitor.read_line() == ANSWER + b"\n"


@on_virtual_clock
async def test_a_handler_that_is_cut_ends_with_the_loop_and_its_client_sees_the_end(
    path: Path, commands: Commands
) -> None:
    async with listening(path, commands.process_command) as listener, await Visitor.to(path) as visitor:
        await visitor.send(KEEP + wait(100) + HELLO)
        await turns()
        for task in asyncio.all_tasks() - {asyncio.current_task()}:
            task.cancel()  # as asyncio.run() does in the end
        await turns()
        assert await visitor.read_all() == b""
        assert not listener.connections
        assert commands.done == []
