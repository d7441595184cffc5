"""One channel in shared memory: what is written comes out, and what is broken is found."""

from __future__ import annotations

import contextlib
import errno
import itertools
import stat
import struct
import threading
import time
from collections import deque
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bridle.net.libqb import semaphore
from bridle.net.libqb.errors import LibqbError
from bridle.net.libqb.ring import RingReader, RingWriter, create_file, open_file
from bridle.net.libqb.trust import FileRights
from bridle.wire.libqb import Channel
from tests.support.hexdump import sections

VECTORS = Path(__file__).parent.parent / "vectors" / "pacemaker-shm-ping.hex.txt.gz"
MESSAGE = 12328
"""The largest message of the rings here; they have 4096 words."""

PLACES = struct.Struct("=III")
SEMAPHORE = 8208

_numbers = itertools.count()


class Pair:
    """Both ends of a ring, and its two files."""

    def __init__(self, directory: Path, channel: Channel = Channel.REQUEST) -> None:
        self.base = str(directory / f"qb-{next(_numbers)}")
        self.writer = RingWriter.create(channel, self.base, MESSAGE, FileRights())
        self.reader = RingReader.open(channel, self.base)
        self.state = Path(self.base + "-header")
        self.data = Path(self.base + "-data")

    def close(self) -> None:
        """Forget and remove it."""
        self.writer.close()
        self.reader.close()
        self.writer.unlink()

    def scribble(self, path: Path, at: int, data: bytes) -> None:
        """Write into a file as a hostile process would."""
        with path.open("r+b") as file:
            file.seek(at)
            file.write(data)


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[Pair]:
    made = Pair(tmp_path)
    yield made
    made.close()


def broken(pair: Pair) -> LibqbError:
    """What the reader says."""
    with pytest.raises(LibqbError) as caught:
        pair.reader.take()
    assert caught.value.errno == errno.EBADMSG
    return caught.value


# What goes in comes out


def test_messages_come_out_in_the_order_in_which_they_went_in(pair: Pair) -> None:
    for number in range(100):
        assert pair.writer.put(b"message %d" % number)
    assert pair.writer.waiting == 100
    assert [pair.reader.take() for _ in range(101)] == [*(b"message %d" % n for n in range(100)), None]


@given(st.lists(st.integers(0, MESSAGE) | st.none(), max_size=200))
@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_ring_is_a_bounded_queue(tmp_path: Path, steps: list[int | None]) -> None:
    pair, model = Pair(tmp_path), deque[bytes]()
    for number, size in enumerate(steps):
        if size is None:
            assert pair.reader.take() == (model.popleft() if model else None)
            continue
        message = bytes([number % 256]) * size
        if pair.writer.put(message):
            model.append(message)
        else:
            assert model, "an empty ring has room for every message"
    assert pair.reader.waiting == len(model)
    assert [pair.reader.take() for _ in model] == list(model)
    pair.close()


def test_messages_of_every_size_go_round_the_end_unharmed(pair: Pair) -> None:
    for size in range(3000):
        message = bytes((size + place) % 251 for place in range(size))
        assert pair.writer.put(message)
        assert pair.reader.take() == message


def test_a_full_ring_takes_no_more_until_something_was_taken(pair: Pair) -> None:
    message = b"x" * 1000
    count = sum(iter(lambda: pair.writer.put(message), False))
    assert count == 16
    assert not pair.writer.put(message)
    assert pair.reader.take() == message
    assert pair.writer.put(message)


def test_waiting_ends_when_a_message_comes(pair: Pair) -> None:
    thread = threading.Timer(0.05, pair.writer.put, (b"late",))
    thread.start()
    assert pair.reader.wait(5) == b"late"
    thread.join()


def test_waiting_ends_when_the_time_is_up(pair: Pair) -> None:
    assert pair.reader.wait(0.01) is None


def test_closing_wakes_whoever_waits(pair: Pair) -> None:
    thread = threading.Timer(0.05, pair.reader.close)
    thread.start()
    began = time.monotonic()
    with pytest.raises(LibqbError) as caught:
        pair.reader.wait(30)
    assert caught.value.errno == errno.ENOTCONN
    assert time.monotonic() - began < 20
    thread.join()
    with pytest.raises(LibqbError):
        pair.reader.wait(30)


def test_a_closed_ring_is_not_touched_any_more(pair: Pair) -> None:
    pair.writer.close()
    with pytest.raises(ValueError, match="released"):
        pair.writer.put(b"x")
    pair.writer.close()


def test_the_flow_control_is_seen_by_the_other_side(pair: Pair) -> None:
    assert pair.reader.flow == 0
    pair.writer.flow = 1
    assert pair.reader.flow == 1


def test_each_side_sees_whether_the_other_has_it_open(pair: Pair) -> None:
    assert pair.writer.shared
    pair.reader.close()
    assert not pair.writer.shared


def test_the_captured_rings_give_the_captured_messages(tmp_path: Path) -> None:
    capture = sections(VECTORS)
    for channel, size in ((Channel.RESPONSE, 101), (Channel.EVENT, 385)):
        base = tmp_path / f"qb-{channel.value}-pacemakerd"
        dumps = capture[next(line for line in capture if line.startswith(f"--- {channel.value} ring BEFORE"))]
        paths = b"".join(str(f"{base}{end}").encode().ljust(4096, b"\0") for end in ("-header", "-data"))
        semaphore_dump = dumps[-2][4:48]  # of what begins at byte 8200
        state = dumps[0][:12] + paths + semaphore_dump
        Path(f"{base}-header").write_bytes(state.ljust(8248, b"\0"))
        wanted = capture[next(line for line in capture if f"{channel.value} ({size} bytes)" in line)][0]
        # The capture shows the beginning of the ring; the message is known whole.
        chunk = dumps[-1][:8] + wanted
        assert chunk[: len(dumps[-1])] == dumps[-1][: len(chunk)]
        Path(f"{base}-data").write_bytes(chunk.ljust(135168, b"\0"))
        reader = RingReader.open(channel, str(base))
        assert reader.waiting == 1
        assert reader.take() == wanted
        assert reader.take() is None
        reader.close()
        left = Path(f"{base}-data").read_bytes()[:8]
        assert left == bytes.fromhex("00000000d0d0d0d0"), "as in the capture after the daemon had taken one"


# What is broken


def test_a_message_without_its_mark_is_refused(pair: Pair) -> None:
    pair.writer.put(b"x" * 100)
    pair.scribble(pair.data, 4, struct.pack("=I", 0xA110CED0))
    assert "no message" in broken(pair).text


@pytest.mark.parametrize("size", [101, 104, 4096, 16385, 2**31, 2**32 - 1])
def test_a_message_beyond_what_was_written_is_refused(pair: Pair, size: int) -> None:
    pair.writer.put(b"x" * 100)
    pair.scribble(pair.data, 0, struct.pack("=I", size))
    assert "written up to" in broken(pair).text


@pytest.mark.parametrize("place", [4096, 2**31, 2**32 - 1])
def test_a_place_outside_of_the_ring_is_refused(pair: Pair, place: int) -> None:
    pair.writer.put(b"x")
    pair.scribble(pair.state, 0, struct.pack("=I", place))
    broken(pair)
    pair.scribble(pair.state, 4, struct.pack("=I", place))
    with pytest.raises(LibqbError):
        pair.writer.put(b"x")


def test_a_semaphore_that_promises_what_is_not_there_is_found_out(pair: Pair) -> None:
    semaphore.post(pair.writer._semaphore)
    broken(pair)


@pytest.mark.parametrize("sharing", [0, 1, 0xFFFFFFFF])
def test_a_semaphore_that_glibc_would_abort_at_is_put_right(pair: Pair, sharing: int) -> None:
    for _ in range(2):
        pair.scribble(pair.state, 8212, struct.pack("=II", 1, sharing))  # somebody waits, it says
        assert pair.writer.put(b"x")
        assert pair.reader.take() == b"x"
        pair.scribble(pair.state, 8212, struct.pack("=II", 1, sharing))
        assert pair.reader.wait(0.001) is None
    pair.scribble(pair.state, 8212, struct.pack("=II", 1, sharing))


@given(st.binary(min_size=12, max_size=12), st.integers(0, 2**31 - 1), st.lists(st.binary(max_size=200)))
@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=300)
def test_any_bytes_in_a_ring_are_a_message_or_an_error(
    tmp_path: Path, places: bytes, count: int, pieces: list[bytes]
) -> None:
    pair = Pair(tmp_path)
    pair.writer.put(b"a message")
    pair.scribble(pair.state, 0, places)
    pair.scribble(pair.state, SEMAPHORE, struct.pack("=I", count))
    for number, piece in enumerate(pieces):
        pair.scribble(pair.data, number * 150, piece)
    errors = set[int]()
    for _ in range(4):
        try:
            message = pair.reader.take()
            assert message is None or len(message) <= 16384
            pair.writer.put(b"x" * 5000)
        except LibqbError as error:
            errors.add(error.errno)
    assert errors <= {errno.EBADMSG}
    pair.close()


@given(st.binary(max_size=100), st.binary(max_size=50), st.binary(max_size=100), st.booleans())
@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_bytes_in_a_rings_files_are_a_ring_or_an_error(
    tmp_path: Path, places: bytes, end: bytes, data: bytes, fitting: bool
) -> None:
    base = str(tmp_path / f"qb-{next(_numbers)}")
    state = bytearray(places.ljust(8200, b"\0") + end.ljust(52, b"\0"))
    if fitting:
        state[8:12] = struct.pack("=I", 4096)
    Path(base + "-header").write_bytes(state)
    Path(base + "-data").write_bytes(data.ljust(16384, b"\0"))
    with contextlib.ExitStack() as opened, contextlib.suppress(LibqbError):
        ring = RingReader.open(Channel.REQUEST, base)
        opened.callback(ring.close)
        ring.take()


# Its files


def test_the_files_of_a_ring_have_the_rights_that_were_wanted(tmp_path: Path) -> None:
    base = str(tmp_path / "qb-x")
    ring = RingWriter.create(Channel.EVENT, base, MESSAGE, FileRights(-1, -1, 0o660))
    for end, size in (("-header", 8248), ("-data", 16384)):
        found = Path(base + end).stat()
        assert (stat.S_IMODE(found.st_mode), found.st_size) == (0o660, size)
        assert found.st_blocks * 512 >= size, "all of it is there, so that a full file system kills nobody"
    ring.close()


def test_a_ring_is_not_made_over_something_else(tmp_path: Path) -> None:
    base = str(tmp_path / "qb-x")
    Path(base + "-data").touch()
    with pytest.raises(FileExistsError):
        RingWriter.create(Channel.EVENT, base, MESSAGE, FileRights())
    with pytest.raises(FileExistsError):
        create_file(base + "-data", 10, FileRights())


def test_a_ring_whose_data_are_too_short_is_refused(pair: Pair) -> None:
    other = Path(pair.base + "-other-data")
    pair.reader.close()
    pair.data.rename(other)
    pair.data.write_bytes(bytes(16383))
    with pytest.raises(LibqbError, match="no file of at least 16384 bytes"):
        RingReader.open(Channel.REQUEST, pair.base)


def test_links_and_fifos_are_not_opened(tmp_path: Path) -> None:
    import os

    file, link, fifo = tmp_path / "file", tmp_path / "link", tmp_path / "fifo"
    file.write_bytes(bytes(100))
    link.symlink_to(file)
    os.mkfifo(fifo)
    with pytest.raises(OSError, match="symbolic"):
        open_file(str(link), 10)
    with pytest.raises(LibqbError):
        open_file(str(fifo), 10)
