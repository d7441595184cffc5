"""FIFOs: whose they are, what comes in by them, and how answers find their way out."""

from __future__ import annotations

import asyncio
import os
import stat
import uuid
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

import bridle
from bridle import EndpointError, Server
from bridle.net.fifo import FifoFile
from bridle.net.stream import QUEUE_LIMIT
from tests.replay.kamailio import Row, Rpct, rows
from tests.support.loops import on_every_loop

SECONDS = 5.0


@pytest.fixture
def reply() -> Iterator[Path]:
    """A reply FIFO where the server looks for them."""
    path = Path("/tmp", f"bridle-test-{uuid.uuid4().hex}")
    os.mkfifo(path, 0o600)
    yield path
    path.unlink(missing_ok=True)


@asynccontextmanager
async def serving(path: Path) -> AsyncIterator[Server]:
    """A server that reads a FIFO."""
    manager = bridle.CommandManager()
    Rpct(manager)
    server = Server(manager, name="kamailio", version="5.6.3")
    await server.listen(f"fifo:{path}")
    try:
        yield server
    finally:
        await server.close(1)


class Replies:
    """What comes by a reply FIFO; open before anything is asked."""

    def __init__(self, path: Path) -> None:
        self._descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)

    async def read(self, until: bytes) -> bytes:
        """All that comes, until it ends so."""
        data = b""
        async with asyncio.timeout(SECONDS):
            while not data.endswith(until):
                try:
                    data += os.read(self._descriptor, 1 << 16)
                except BlockingIOError:
                    pass
                await asyncio.sleep(0.001)
        return data

    def close(self) -> None:
        """Close."""
        os.close(self._descriptor)


async def write(path: Path, data: bytes) -> None:
    """Write to a FIFO all at once."""
    descriptor = os.open(path, os.O_WRONLY | os.O_NONBLOCK)
    try:
        assert os.write(descriptor, data) == len(data)
    finally:
        os.close(descriptor)
    await asyncio.sleep(0)


CAPTURED = [row for row in rows() if row.is_fifo and row.carrier == "fifo"]


@pytest.mark.parametrize("row", CAPTURED, ids=lambda row: row.note)
@on_every_loop
async def test_captured_requests_are_answered_as_they_were_meant_to_be(
    short_path: Path, reply: Path, row: Row
) -> None:
    request = row.request
    if b".rep" not in request:
        request = b"\n\n".join(_renamed(one, reply.name) for one in request.split(b"\n\n") if one) + b"\n\n"
    async with serving(short_path / "f"):
        replies = Replies(reply)
        try:
            # Another question shows that the first was answered, or is not.
            await write(short_path / "f", request + f":a.probe:{reply.name}\n\n".encode())
            data = await replies.read(b"500 Command 'a.probe' not found\n")
        finally:
            replies.close()
    answer = data.removesuffix(b"500 Command 'a.probe' not found\n")
    told = [line.partition(b" ")[0] for line in row.response.splitlines() if line[:4] in (b"200 ", b"500 ")]
    ours = [line.partition(b" ")[0] for line in answer.splitlines() if line[:4] in (b"200 ", b"500 ")]
    assert ours == told
    if row.method == "ctl.connections":
        assert answer == row.response
    if row.method == "core.uptime":
        assert [part.split(b":")[0] for part in answer.split(b"\n")[1].split(b",")] == [
            b"uptime",
            b"up_since",
            b"now",
        ]


def _renamed(request: bytes, name: str) -> bytes:
    first, newline, rest = request.partition(b"\n")
    head, _, old = first.rpartition(b":")
    return head + b":" + (name.encode() if old else b"") + newline + rest


@on_every_loop
async def test_requests_of_several_writers_and_halves_are_told_apart(short_path: Path, reply: Path) -> None:
    async with serving(short_path / "f"):
        replies = Replies(reply)
        try:
            await write(short_path / "f", f":core.prints:{reply.name}\none\n".encode())
            await write(short_path / "f", f"two\n\n:core.printi:{reply.name}\n0x10\n010\n\n".encode())
            assert await replies.read(b"16\n8\n") == b"200 OK\none\ntwo\n200 OK\n16\n8\n"
        finally:
            replies.close()


@on_every_loop
async def test_a_large_answer_waits_for_its_reader_alone(short_path: Path, reply: Path) -> None:
    async with serving(short_path / "f"), bridle.connect_async(f"fifo:{short_path}/f") as other:
        replies = Replies(reply)
        try:
            await write(short_path / "f", f":rpct.strs:{reply.name}\n3000\n100\n\n".encode())
            assert await other.call("core.prints", "meanwhile") == "meanwhile"
            data = await replies.read(b"B\n")
            while data.count(b"\n") < 3001:
                data += await replies.read(b"B\n")
            assert data == b"200 OK\n" + (b"B" * 100 + b"\n") * 3000
        finally:
            replies.close()


@pytest.mark.parametrize("name", ["../etc/passwd", "a.b", "nobody-made-this", "a\\b"])
@on_every_loop
async def test_a_reply_that_can_go_nowhere_harms_nobody(short_path: Path, reply: Path, name: str) -> None:
    async with serving(short_path / "f"):
        replies = Replies(reply)
        try:
            await write(
                short_path / "f", f":core.prints:{name}\nx\n\n:core.prints:{reply.name}\ny\n\n".encode()
            )
            assert await replies.read(b"y\n") == b"200 OK\ny\n"
        finally:
            replies.close()


@pytest.mark.parametrize("kind", ["file", "link", "names"])
@on_every_loop
async def test_an_answer_goes_into_a_fifo_and_nothing_else(short_path: Path, reply: Path, kind: str) -> None:
    victim = short_path / "victim"
    other = Path("/tmp", f"{reply.name}x")
    if kind == "file":
        other.write_text("kept")
    elif kind == "link":
        os.mkfifo(victim)
        other.symlink_to(victim)
    else:
        os.link(reply, other)
    try:
        async with serving(short_path / "f"):
            replies = Replies(reply)
            try:
                await write(short_path / "f", f":core.prints:{other.name}\nx\n\n".encode())
                other.unlink() if kind == "names" else None
                await write(short_path / "f", f":core.prints:{reply.name}\ny\n\n".encode())
                assert (await replies.read(b"y\n")).endswith(b"200 OK\ny\n")
            finally:
                replies.close()
        if kind == "file":
            assert other.read_text() == "kept"
    finally:
        other.unlink(missing_ok=True)


def test_a_fifo_is_its_owners_and_goes_with_him(short_path: Path) -> None:
    path = short_path / "f"
    file = FifoFile.open(str(path))
    assert stat.S_ISFIFO(path.stat().st_mode)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    with pytest.raises(EndpointError, match="another program reads it"):
        FifoFile.open(str(path))
    file.close()
    file.close()
    assert not path.exists()


def test_a_fifo_that_was_left_behind_is_taken_over(short_path: Path) -> None:
    path = short_path / "f"
    os.mkfifo(path, 0o666)
    file = FifoFile.open(str(path), mode=0o620)
    assert stat.S_IMODE(path.stat().st_mode) == 0o620
    file.close()
    assert not path.exists()


def test_another_file_is_not_replaced(short_path: Path) -> None:
    path = short_path / "f"
    path.write_text("kept")
    with pytest.raises(EndpointError, match="there is another file"):
        FifoFile.open(str(path))
    assert path.read_text() == "kept"


def test_a_fifo_that_another_put_there_meanwhile_stays(short_path: Path) -> None:
    path = short_path / "f"
    file = FifoFile.open(str(path))
    path.unlink()
    os.mkfifo(path)
    file.close()
    assert path.exists()


def test_a_folder_that_is_not_there_is_told(short_path: Path) -> None:
    with pytest.raises(EndpointError, match=r"cannot create fifo .*: No such file or directory"):
        FifoFile.open(str(short_path / "none" / "f"))


@on_every_loop
async def test_no_more_requests_are_begun_at_once_than_the_limit(short_path: Path) -> None:
    begun, most = 0, 0
    release = asyncio.Event()

    async def wait() -> None:
        nonlocal begun, most
        begun += 1
        most = max(most, begun)
        await release.wait()
        begun -= 1

    manager = bridle.CommandManager()
    manager.register_command("w", wait)
    server = Server(manager)
    await server.listen(f"fifo:{short_path}/f")
    try:
        await write(short_path / "f", b":w:\n\n" * 4 * QUEUE_LIMIT)
        for _ in range(20):
            await asyncio.sleep(0)
        assert most == QUEUE_LIMIT
    finally:
        release.set()
        await server.close(5)
    assert begun == 0
    assert most == QUEUE_LIMIT


@on_every_loop
async def test_requests_that_wait_are_answered_in_order_before_the_end(short_path: Path, reply: Path) -> None:
    manager = bridle.CommandManager()
    manager.register_command("say", lambda value: value)
    server, replies, count = Server(manager), Replies(reply), 3 * QUEUE_LIMIT
    await server.listen(f"fifo:{short_path}/f")
    try:
        requests = b"".join(b":say:%s\n%d\n\n" % (reply.name.encode(), number) for number in range(count))
        await write(short_path / "f", requests)
        await server.close(30)
        told = await replies.read(b"\n%d\n" % (count - 1))
    finally:
        replies.close()
    assert told == b"".join(b"200 OK\n%d\n" % number for number in range(count))
