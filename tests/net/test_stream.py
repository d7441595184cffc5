"""Stream connections: what a client gets, in which order, and when it ends (``facts/kea.md`` §1.1, §1.2)."""

from __future__ import annotations

import asyncio
import logging
import os
from pathlib import Path

import pytest

from bridle import Command, Response
from bridle.core.manager import Outcome
from bridle.testing import elapsed
from bridle.wire.kea import IDLE_TIMEOUT, KEPT_IDLE_TIMEOUT
from tests.support.loops import on_every_loop, on_virtual_clock
from tests.support.streams import KEEP, Commands, Visitor, listening, turns

HELLO = b'{ "command": "say", "arguments": { "value": "hello" } }'
ANSWER = b'{ "arguments": "hello", "result": 0 }'
TIMED_OUT = b'{ "result": 1, "text": "Connection over control channel timed out%s" }'
WRONG = b"Error during command processing: invalid command: "
JUNK = b"x" * 200_000


def say(value: str) -> bytes:
    return b'{ "command": "say", "arguments": { "value": "%s" } }' % value.encode()


def wait(value: str, seconds: float) -> bytes:
    arguments = b'{ "value": "%s", "seconds": %g }' % (value.encode(), seconds)
    return b'{ "command": "wait", "arguments": %s }' % arguments


def answer(value: str) -> bytes:
    return b'{ "arguments": "%s", "result": 0 }' % value.encode()


@pytest.fixture
def path(short_path: Path) -> Path:
    return short_path / "control"


@pytest.fixture
def commands() -> Commands:
    return Commands()


# One command, one answer, the end: as Kea


@pytest.mark.parametrize("command", [HELLO, wait("hello", 0)], ids=["plain", "coroutine"])
@pytest.mark.parametrize(
    "trailing",
    [b"", b"\n", b" \r\n\t", b"garbage", HELLO, b"}", JUNK, b"\n" + JUNK],
    ids=["nothing", "newline", "blanks", "garbage", "second", "bracket", "junk", "newline+junk"],
)
@on_every_loop
async def test_a_command_gets_its_answer_and_then_the_end_whatever_follows_it(
    path: Path, commands: Commands, command: bytes, trailing: bytes
) -> None:
    async with listening(path, commands.process_command), await Visitor.to(path) as visitor:
        assert await visitor.ask(command + trailing) == ANSWER
        assert commands.done == ["hello"]


@pytest.mark.parametrize("trailing", [b"\n", HELLO, JUNK], ids=["newline", "second", "junk"])
@on_every_loop
async def test_what_follows_in_a_packet_of_its_own_while_the_handler_works_is_nothing_to_it(
    path: Path, commands: Commands, trailing: bytes
) -> None:
    async with listening(path, commands.process_command), await Visitor.to(path) as visitor:
        await visitor.send(wait("hello", 0.01))
        await turns()
        assert await visitor.ask(trailing) == ANSWER
        assert commands.done == ["hello"]


@pytest.mark.parametrize("command", [HELLO, wait("hello", 0)], ids=["plain", "coroutine"])
@on_every_loop
async def test_a_client_may_half_close_after_its_command(
    path: Path, commands: Commands, command: bytes
) -> None:
    async with listening(path, commands.process_command), await Visitor.to(path) as visitor:
        await visitor.send(command)
        visitor.finish()
        assert await visitor.read_all() == ANSWER


@on_every_loop
async def test_a_client_may_half_close_while_its_command_is_worked_on(path: Path, commands: Commands) -> None:
    async with listening(path, commands.process_command), await Visitor.to(path) as visitor:
        await visitor.send(wait("hello", 0.01))
        await turns()
        visitor.finish()
        assert await visitor.read_all() == ANSWER


@pytest.mark.parametrize("sent", [b"", b" \n", b'{ "command": "sa', b"# comment", KEEP, KEEP + b"{"])
@on_every_loop
async def test_a_client_that_half_closes_without_a_whole_command_is_left_in_silence(
    path: Path, commands: Commands, sent: bytes
) -> None:
    async with listening(path, commands.process_command), await Visitor.to(path) as visitor:
        await visitor.send(sent)
        visitor.finish()
        assert await visitor.read_all() == b""


@on_every_loop
async def test_a_command_may_come_byte_by_byte(path: Path, commands: Commands) -> None:
    async with listening(path, commands.process_command), await Visitor.to(path) as visitor:
        for byte in HELLO:
            await visitor.send(bytes([byte]))
            await asyncio.sleep(0)
        assert await visitor.read_all() == ANSWER


@pytest.mark.parametrize("size", [60_000, 70_000, 1_000_000])
@on_every_loop
async def test_a_command_may_be_large(path: Path, commands: Commands, size: int) -> None:
    value = "y" * size
    async with listening(path, commands.process_command), await Visitor.to(path) as visitor:
        assert await visitor.ask(say(value)) == answer(value)


@pytest.mark.parametrize("late", [False, True], ids=["at once", "later"])
@pytest.mark.parametrize("junk", [b"", JUNK], ids=["", "junk"])
@on_every_loop
async def test_an_answer_may_be_large(path: Path, commands: Commands, late: bool, junk: bytes) -> None:
    size = 5_000_000
    async with listening(path, commands.process_command), await Visitor.to(path) as visitor:
        if late:
            await turns()
        await visitor.send(b'{ "command": "write", "arguments": [ %d ] }' % size + junk)
        assert len(await visitor.read_all()) == size + len(b'{ "arguments": "", "result": 0 }')


@pytest.mark.parametrize(
    ("sent", "text"),
    [
        (b"x", b"invalid first character x"),
        (b'{"command":"foo",}', b"String expected in <wire>:0:18"),
        (b"[]", WRONG + b"expected toplevel entry to be a map, got list instead"),
        (b'{ "command": "say", "bogus": 1 }', WRONG + b"unsupported parameter 'bogus'"),
    ],
)
@on_every_loop
async def test_what_is_no_command_is_answered_and_ended(
    path: Path, commands: Commands, sent: bytes, text: bytes
) -> None:
    async with listening(path, commands.process_command), await Visitor.to(path) as visitor:
        assert await visitor.ask(sent) == b'{ "result": 1, "text": "%s" }' % text
        assert commands.begun == []


@on_every_loop
async def test_the_peer_of_a_command_is_known(path: Path) -> None:
    seen = []

    def execute(command: Command) -> Response:
        seen.append(command.peer)
        return Response()

    async with listening(path, execute):
        for pause in (0, 5):
            async with await Visitor.to(path) as visitor:
                await turns(pause)
                await visitor.ask(HELLO)
    for peer in seen:
        assert (peer.transport, peer.address) == ("unix", str(path))
        assert (peer.pid, peer.uid, peer.gid) == (os.getpid(), os.getuid(), os.getgid())
    assert len(seen) == 2


# A kept connection


@on_every_loop
async def test_pipelined_commands_are_answered_in_order_whatever_their_handlers_are(
    path: Path, commands: Commands
) -> None:
    sent = [say("a"), wait("b", 0.01), say("c"), wait("d", 0), b'{ "command": "none" }', b"[]", say("e")]
    async with listening(path, commands.process_command), await Visitor.to(path) as visitor:
        await visitor.send(KEEP + b"\n".join(sent))
        visitor.finish()
        answers = (await visitor.read_all()).splitlines()
    assert [answers[index] for index in (0, 1, 2, 3, 6)] == [answer(value) for value in "abcde"]
    assert b'"result": 2' in answers[4]
    assert b'"result": 1' in answers[5]
    assert commands.done == list("abcde")


@on_every_loop
async def test_pipelined_commands_are_executed_one_after_another(path: Path, commands: Commands) -> None:
    async with listening(path, commands.process_command), await Visitor.to(path) as visitor:
        await visitor.send(KEEP + wait("a", 0.05) + say("b") + wait("c", 0))
        await turns()
        assert commands.begun == ["a"]
        assert await visitor.read_line() == answer("a") + b"\n"
        assert await visitor.read_line() == answer("b") + b"\n"
        assert await visitor.read_line() == answer("c") + b"\n"


@on_every_loop
async def test_a_kept_connection_serves_any_number_of_commands(path: Path, commands: Commands) -> None:
    async with listening(path, commands.process_command) as listener, await Visitor.to(path) as visitor:
        await visitor.send(KEEP)
        for number in range(300):
            await visitor.send(say(str(number)))
            assert await visitor.read_line() == answer(str(number)) + b"\n"
        assert len(listener.connections) == 1
        assert visitor.nothing_came()


@on_every_loop
async def test_pieces_of_pipelined_commands_may_be_cut_anywhere(path: Path, commands: Commands) -> None:
    sent = KEEP + say("a") + b"\n" + wait("b", 0) + b" # comment }\n" + say("c")
    for size in (1, 7, 33):
        commands.done.clear()
        async with listening(path, commands.process_command), await Visitor.to(path) as visitor:
            for start in range(0, len(sent), size):
                await visitor.send(sent[start : start + size])
                await asyncio.sleep(0)
            visitor.finish()
            assert (await visitor.read_all()).splitlines() == [answer(value) for value in "abc"]


@on_every_loop
async def test_what_cannot_become_a_command_ends_a_kept_connection_after_what_came_before(
    path: Path, commands: Commands
) -> None:
    async with listening(path, commands.process_command), await Visitor.to(path) as visitor:
        await visitor.send(KEEP + wait("a", 0) + b"bogus" + say("b"))
        first, last = (await visitor.read_all()).splitlines()
    assert first == answer("a")
    assert last.startswith(b'{ "result": 1, "text": "invalid ')
    assert commands.done == ["a"]


# One connection and the others


@on_virtual_clock
async def test_a_slow_handler_delays_no_other_connection(path: Path, commands: Commands) -> None:
    async with listening(path, commands.process_command):
        slow = [await Visitor.to(path) for _ in range(20)]
        for visitor in slow:
            await visitor.send(wait("slow", 100))
        await turns()
        for _ in range(20):
            async with await Visitor.to(path) as visitor:
                assert await visitor.ask(HELLO) == ANSWER
        assert elapsed() < 1
        for visitor in slow:
            assert await visitor.read_all() == answer("slow")
            visitor.leave()
        assert elapsed() == pytest.approx(100, abs=1)


@on_virtual_clock
async def test_idle_and_half_written_connections_delay_no_other(path: Path, commands: Commands) -> None:
    async with listening(path, commands.process_command):
        others = [await Visitor.to(path) for _ in range(40)]
        for visitor in others[::2]:
            await visitor.send(b'{ "command": ')
        async with await Visitor.to(path) as visitor:
            assert await visitor.ask(HELLO) == ANSWER
        assert elapsed() < 1
        for visitor in others:
            visitor.leave()


@on_every_loop
async def test_a_hundred_clients_of_every_kind_at_a_time_all_get_what_is_theirs(
    path: Path, commands: Commands
) -> None:
    async def one_shot(number: int) -> None:
        async with await Visitor.to(path) as visitor:
            assert await visitor.ask(say(f"o{number}")) == answer(f"o{number}")

    async def coroutine(number: int) -> None:
        async with await Visitor.to(path) as visitor:
            assert await visitor.ask(wait(f"c{number}", 0.02) + JUNK) == answer(f"c{number}")

    async def kept(number: int) -> None:
        async with await Visitor.to(path) as visitor:
            await visitor.send(KEEP + say(f"k{number}") + wait(f"l{number}", 0.01) + say(f"m{number}"))
            for letter in "klm":
                assert await visitor.read_line() == answer(f"{letter}{number}") + b"\n"

    async def large(_: int) -> None:
        async with await Visitor.to(path) as visitor:
            reply = await visitor.ask(b'{ "command": "write", "arguments": [ 300000 ] }')
            assert len(reply) > 300_000

    async def quitter(number: int) -> None:
        async with await Visitor.to(path) as visitor:
            await visitor.send(wait(f"q{number}", 0.01) if number % 2 else b"{")
            await turns(number)

    kinds = [one_shot, coroutine, kept, large, quitter]
    async with listening(path, commands.process_command) as listener:
        await asyncio.gather(*(kinds[number % len(kinds)](number) for number in range(100)))
        for _ in range(500):
            if not listener.connections:
                break
            await asyncio.sleep(0.01)
        assert not listener.connections
    assert sum(value.startswith("q") for value in commands.done) == 10


@on_every_loop
async def test_a_burst_of_clients_waits_its_turn_to_be_accepted(path: Path, commands: Commands) -> None:
    async with listening(path, commands.process_command):
        visitors = [await Visitor.to(path) for _ in range(500)]
        for visitor in visitors:
            visitor.send_what_fits(HELLO)
        for visitor in visitors:
            assert await visitor.read_all() == ANSWER
            visitor.leave()


# A client that leaves


@pytest.mark.parametrize("kept", [b"", KEEP], ids=["", "kept"])
@on_virtual_clock
async def test_a_handler_whose_client_has_gone_goes_on_to_its_end(
    path: Path, commands: Commands, kept: bytes
) -> None:
    async with listening(path, commands.process_command) as listener:
        async with await Visitor.to(path) as visitor:
            await visitor.send(kept + wait("a", 60) + say("b"))
            await turns()
        await asyncio.sleep(30)
        assert commands.done == []
        await asyncio.sleep(31)
        assert commands.done[:1] == ["a"]
        await turns()
        assert not listener.connections


@on_virtual_clock
async def test_clients_that_come_and_go_leave_nothing(path: Path, commands: Commands) -> None:
    async with listening(path, commands.process_command) as listener:
        before = len(asyncio.all_tasks())
        for sent in [b"", b"{", HELLO, HELLO + JUNK[:1000], KEEP, KEEP + HELLO, wait("a", 5), b"x"] * 5:
            async with await Visitor.to(path) as visitor:
                await visitor.send(sent)
                await turns(3)
        await asyncio.sleep(6)
        assert not listener.connections
        assert len(asyncio.all_tasks()) == before


# Time (facts/kea.md §1.2)


@pytest.mark.parametrize(
    ("sent", "words"),
    [
        (b"", b""),
        (b" \n\t", b""),
        (b"# a comment that has no end", b""),
        (b'{ "command": ', b", discarded partial command of 13 bytes"),
        (b'# abc\n /* c */ {"a" /* zz */ ', b", discarded partial command of 6 bytes"),
    ],
    ids=["nothing", "blanks", "comment", "partial", "commented"],
)
@on_virtual_clock
async def test_a_silent_client_is_told_so_after_ten_seconds(
    path: Path, commands: Commands, sent: bytes, words: bytes
) -> None:
    async with listening(path, commands.process_command), await Visitor.to(path) as visitor:
        await visitor.send(sent)
        assert await visitor.read_all() == TIMED_OUT % words
        assert elapsed() == pytest.approx(IDLE_TIMEOUT, abs=0.1)


@pytest.mark.parametrize("kept", [b"", KEEP], ids=["", "kept"])
@on_virtual_clock
async def test_every_piece_of_a_command_gives_time_for_the_next(
    path: Path, commands: Commands, kept: bytes
) -> None:
    command = kept + HELLO
    async with listening(path, commands.process_command), await Visitor.to(path) as visitor:
        for piece in (command[:5], command[5:20]):
            await visitor.send(piece)
            await asyncio.sleep(8)
        await visitor.send(command[20:])
        assert (await visitor.read_line()).strip() == ANSWER
        assert elapsed() == pytest.approx(16, abs=0.1)


@pytest.mark.parametrize("kept", [b"", KEEP], ids=["", "kept"])
@on_virtual_clock
async def test_no_time_runs_for_the_client_while_a_handler_works(
    path: Path, commands: Commands, kept: bytes
) -> None:
    async with listening(path, commands.process_command), await Visitor.to(path) as visitor:
        await visitor.send(kept + wait("hello", 300))
        assert (await visitor.read_line()).strip() == ANSWER
        assert elapsed() == pytest.approx(300, abs=0.1)


@on_virtual_clock
async def test_no_time_runs_while_a_handler_works_after_a_large_answer_was_taken_in(
    path: Path, commands: Commands
) -> None:
    async with listening(path, commands.process_command), await Visitor.to(path) as visitor:
        await visitor.send(KEEP + b'{ "command": "write", "arguments": [ 3000000 ] }' + wait("hello", 60))
        assert len(await visitor.read_line()) > 3_000_000
        assert await visitor.read_line() == ANSWER + b"\n"
        assert elapsed() == pytest.approx(60, abs=0.1)


@on_virtual_clock
async def test_a_kept_connection_ends_in_silence_when_no_command_follows_for_long(
    path: Path, commands: Commands
) -> None:
    async with listening(path, commands.process_command), await Visitor.to(path) as visitor:
        await visitor.send(KEEP + HELLO)
        assert await visitor.read_line() == ANSWER + b"\n"
        assert await visitor.read_all() == b""
        assert elapsed() == pytest.approx(KEPT_IDLE_TIMEOUT, abs=0.1)


@on_virtual_clock
async def test_every_command_gives_a_kept_connection_its_idle_time_anew(
    path: Path, commands: Commands
) -> None:
    async with listening(path, commands.process_command), await Visitor.to(path) as visitor:
        await visitor.send(KEEP)
        for _ in range(5):
            await visitor.send(HELLO)
            assert await visitor.read_line() == ANSWER + b"\n"
            await asyncio.sleep(KEPT_IDLE_TIMEOUT - 1)
        assert visitor.nothing_came()


@on_virtual_clock
async def test_a_command_that_was_begun_on_a_kept_connection_has_ten_seconds(
    path: Path, commands: Commands
) -> None:
    async with listening(path, commands.process_command), await Visitor.to(path) as visitor:
        await visitor.send(KEEP + HELLO)
        await visitor.read_line()
        await asyncio.sleep(30)
        await visitor.send(b'{ "co')
        words = TIMED_OUT % b", discarded partial command of 5 bytes"
        assert await visitor.read_all() == words + b"\n"
        assert elapsed() == pytest.approx(30 + IDLE_TIMEOUT, abs=0.1)


@on_virtual_clock
async def test_a_client_that_asks_to_be_kept_and_says_no_more_has_ten_seconds(
    path: Path, commands: Commands
) -> None:
    async with listening(path, commands.process_command), await Visitor.to(path) as visitor:
        await visitor.send(KEEP)
        assert await visitor.read_all() == TIMED_OUT % b"" + b"\n"
        assert elapsed() == pytest.approx(IDLE_TIMEOUT, abs=0.1)


# Handlers that fail


@pytest.fixture
def unlogged(caplog: pytest.LogCaptureFixture) -> None:
    """Lone surrogates cannot be written into a report."""
    caplog.set_level(logging.CRITICAL + 1, logger="bridle")


@pytest.mark.parametrize("kept", [b"", KEEP], ids=["", "kept"])
@pytest.mark.parametrize("late", [False, True], ids=["plain", "coroutine"])
@pytest.mark.usefixtures("unlogged")
@pytest.mark.parametrize(
    ("value", "text"),
    [
        (float("nan"), b"the answer cannot be written: nan cannot be written as JSON"),
        ([1, float("inf")], b"the answer cannot be written: inf cannot be written as JSON"),
        ("\ud800", b"the answer cannot be written: "),
        ({"\ud800": 1}, b"the answer cannot be written: "),
    ],
    ids=["nan", "inf", "surrogate", "key"],
)
@on_virtual_clock
async def test_an_answer_that_cannot_be_written_is_answered_with_the_reason(
    path: Path, kept: bytes, late: bool, value: object, text: bytes
) -> None:
    def execute(command: Command) -> Outcome:
        if command.name != "odd":
            return Response()
        return later() if late else Response(arguments=value)  # type: ignore[arg-type]

    async def later() -> Response:
        return Response(arguments=value)  # type: ignore[arg-type]

    async with listening(path, execute), await Visitor.to(path) as visitor:
        await visitor.send(kept + b'{ "command": "odd" }')
        reply = await visitor.read_line()
        assert reply.startswith(b'{ "result": 1, "text": "%s' % text)
        if kept:
            await visitor.send(HELLO)
            assert await visitor.read_line() == b'{ "result": 0 }\n'


@pytest.mark.parametrize("late", [False, True], ids=["plain", "coroutine"])
@pytest.mark.usefixtures("unlogged")
@pytest.mark.parametrize(
    ("error", "text"),
    [
        (ValueError("no such value"), b"no such value"),
        (KeyError("k"), b"'k'"),
        (RuntimeError(), b"RuntimeError"),
        (ValueError("\ud800"), b"the answer cannot be written: "),
        (RecursionError("too deep"), b"too deep"),
        (asyncio.CancelledError(), b"the command was cancelled"),
        (TimeoutError(), b"TimeoutError"),
    ],
    ids=["text", "key", "none", "surrogate", "recursion", "cancelled", "timeout"],
)
@on_virtual_clock
async def test_what_a_handler_raises_is_answered_and_the_connection_goes_on(
    path: Path, commands: Commands, late: bool, error: BaseException, text: bytes
) -> None:
    def crash() -> None:
        raise error

    async def crash_later() -> None:
        await asyncio.sleep(1)
        raise error

    commands.register_command("crash", crash_later if late else crash)
    async with listening(path, commands.process_command), await Visitor.to(path) as visitor:
        await visitor.send(KEEP + b'{ "command": "crash" }' + HELLO)
        assert (await visitor.read_line()).startswith(b'{ "result": 1, "text": "%s' % text)
        assert await visitor.read_line() == ANSWER + b"\n"
        assert elapsed() < IDLE_TIMEOUT
