"""Messages that a client has no room for: when they are tried again, and when the client is given up on."""

from __future__ import annotations

import asyncio
import errno
from collections.abc import Callable

import pytest

from bridle.net.libqb import outbox as outbox_module
from bridle.net.libqb.errors import LibqbError
from bridle.net.libqb.outbox import BACKLOG, FLUSH, Outbox, longest_delay
from tests.support.loops import on_virtual_clock


class Room:
    """A channel with room for so many messages."""

    def __init__(self, room: int = 0) -> None:
        self.room = room
        self.taken: list[bytes] = []
        self.tries: list[float] = []
        self.overflows = 0
        self.failures: list[LibqbError] = []
        self.broken = False
        self.after: Callable[[], None] = lambda: None
        self.outbox = Outbox(
            asyncio.get_running_loop(), self.put, self.overflow, self.failures.append, backlog=BACKLOG
        )

    def put(self, message: bytes) -> bool:
        """Take a message, if there is room."""
        self.tries.append(asyncio.get_running_loop().time())
        if self.broken:
            raise LibqbError(errno.EMSGSIZE)
        if not self.room:
            return False
        self.room -= 1
        asyncio.get_running_loop().call_soon(self.after)
        self.taken.append(message)
        return True

    def overflow(self) -> None:
        """Too much is waiting."""
        self.overflows += 1
        self.outbox.clear()


@on_virtual_clock
async def test_what_there_is_room_for_is_sent_at_once() -> None:
    room = Room(2)
    room.outbox.send(b"1")
    room.outbox.send(b"2")
    assert (room.taken, len(room.outbox)) == ([b"1", b"2"], 0)


@on_virtual_clock
async def test_a_client_is_tried_again_soon_and_then_as_seldom_as_pacemaker_does() -> None:
    room = Room()
    room.outbox.send(b"1")
    await asyncio.sleep(10)
    pauses = [round(after - before, 3) for before, after in zip(room.tries, room.tries[1:], strict=False)]
    assert pauses[:10] == [0.001, 0.002, 0.004, 0.008, 0.016, 0.032, 0.064, 0.128, 0.256, 0.512]
    assert set(pauses[10:]) <= {1.024, 1.1}
    room.outbox.clear()


def test_the_longest_pauses_are_pacemakers() -> None:
    assert [round(longest_delay(waiting), 1) for waiting in (1, 4, 5, 100)] == [1.1, 1.4, 1.5, 1.5]


@on_virtual_clock
async def test_nothing_overtakes_what_waits() -> None:
    room = Room()
    for number in range(5):
        room.outbox.send(b"%d" % number)
    room.room = 100
    room.outbox.send(b"5")
    await asyncio.sleep(1)
    assert room.taken == [b"%d" % number for number in range(6)]


@on_virtual_clock
async def test_a_client_that_takes_some_is_tried_again_soon() -> None:
    room = Room()
    for number in range(20):
        room.outbox.send(b"%d" % number)
    await asyncio.sleep(5)
    room.room = 1
    await asyncio.sleep(2)
    assert len(room.taken) == 1
    room.tries.clear()
    room.room = 1
    await asyncio.sleep(2)
    assert len(room.taken) == 2
    assert len(room.tries) > 5
    room.outbox.clear()


@on_virtual_clock
async def test_others_have_their_turn_after_a_hundred_messages() -> None:
    room = Room()
    for number in range(3 * FLUSH):
        room.outbox.send(b"%d" % number)
    room.room = 1000
    turns: list[int] = []
    room.after = lambda: turns.append(len(room.taken))
    await asyncio.sleep(1)
    assert len(room.taken) == 3 * FLUSH
    assert {FLUSH, 2 * FLUSH} <= set(turns)


@on_virtual_clock
async def test_a_client_that_takes_nothing_is_given_up_on_when_its_backlog_does_not_shrink() -> None:
    room = Room()
    for number in range(BACKLOG + 1):
        room.outbox.send(b"%d" % number)
    await asyncio.sleep(1)
    assert not room.overflows
    await asyncio.sleep(5)
    assert room.overflows == 1
    assert len(room.outbox) == 0


@on_virtual_clock
async def test_a_client_with_a_small_backlog_is_waited_for() -> None:
    room = Room()
    for number in range(BACKLOG):
        room.outbox.send(b"%d" % number)
    await asyncio.sleep(1000)
    assert not room.overflows
    room.outbox.clear()


@on_virtual_clock
async def test_a_client_whose_backlog_shrinks_is_waited_for() -> None:
    room = Room()
    for number in range(BACKLOG + 100):
        room.outbox.send(b"%d" % number)
    for _ in range(90):
        room.room = 1
        await asyncio.sleep(1)
    assert not room.overflows
    assert len(room.taken) == 90
    room.outbox.clear()


@on_virtual_clock
async def test_too_many_bytes_are_too_much_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outbox_module, "BACKLOG_BYTES", 1000)
    room = Room()
    room.outbox.send(b"x" * 1000)
    assert not room.overflows
    room.outbox.send(b"x")
    assert room.overflows == 1


@on_virtual_clock
async def test_what_cannot_be_sent_at_all_is_an_error_now_or_later() -> None:
    room = Room()
    room.outbox.send(b"1")
    room.broken = True
    await asyncio.sleep(1)
    assert [failure.errno for failure in room.failures] == [errno.EMSGSIZE]
    room.outbox.clear()
    with pytest.raises(LibqbError):
        room.outbox.send(b"2")
