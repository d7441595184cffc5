"""A channel in shared memory: one side writes messages, the other takes them.

Each side keeps its own place for itself and believes nothing that the other may have written: places, sizes
and marks are looked at whenever they are used, a message is copied out before anybody reads it.

What libqb also does is left out where nobody can see it: a message is not marked as being written, because
who takes it does not look before the semaphore says that it is there.
"""

from __future__ import annotations

import errno
import mmap
import os
import stat
import threading
from pathlib import Path
from typing import Self

from bridle.net.libqb import semaphore
from bridle.net.libqb.errors import LibqbError
from bridle.net.libqb.memory import Mapping
from bridle.net.libqb.trust import FileRights
from bridle.wire.libqb import (
    CHUNK_HEAD,
    MARK_CONSUMED,
    MARK_READY,
    MESSAGE_LIMIT,
    RING_DATA_PATH,
    RING_FLOW,
    RING_HEADER_PATH,
    RING_READ,
    RING_REFERENCES,
    RING_SEMAPHORE,
    RING_SHARING,
    RING_SIZE,
    RING_WRITE,
    SHARED,
    Channel,
    encode_path,
    free_bytes,
    ring_bytes,
    state_bytes,
)

__all__ = ["Ring", "RingReader", "RingWriter", "create_file", "open_file"]

# Places in the state as words.
_WRITE = RING_WRITE // 4
_READ = RING_READ // 4
_COUNT = RING_SIZE // 4
_REFERENCES = RING_REFERENCES // 4
_WAITING = RING_SEMAPHORE // 4
_FLOW = RING_FLOW // 4
_SHARING = RING_SHARING // 4

_LARGEST_WORD = 0xFFFFFFFF

_STATE = "-header"
_DATA = "-data"


def create_file(path: str, size: int, rights: FileRights) -> int:
    """Make a file whose bytes are all there, and give its descriptor.

    Bytes that the file system would have to find later would kill whoever touches them when it is full.

    Raises:
        OSError: it exists, or there is no room.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        os.posix_fallocate(descriptor, 0, size)
        give(descriptor, rights)
    except BaseException:
        os.close(descriptor)
        Path(path).unlink()
        raise
    return descriptor


def give(descriptor: int, rights: FileRights) -> None:
    """Set owner, group and mode. One who may not give it away keeps it, as in libqb: the client will see."""
    try:
        os.fchown(descriptor, rights.uid, rights.gid)
    except PermissionError:
        pass
    os.fchmod(descriptor, rights.mode)


def open_file(path: str, size: int) -> int:
    """Open a file of at least ``size`` bytes that the other side made, and give its descriptor.

    Raises:
        OSError: it cannot be opened.
        LibqbError: it is no such file.
    """
    flags = os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
    descriptor = os.open(path, flags)
    found = os.fstat(descriptor)
    if stat.S_ISREG(found.st_mode) and found.st_size >= size:
        return descriptor
    os.close(descriptor)
    raise LibqbError(errno.EBADMSG, f"{path} is no file of at least {size} bytes")


def _make(path: str, size: int, rights: FileRights, *, twice: bool = False) -> Mapping:
    descriptor = create_file(path, size, rights)
    try:
        return Mapping(descriptor, size, twice=twice)
    finally:
        os.close(descriptor)


def _find(path: str, size: int, *, twice: bool = False) -> Mapping:
    descriptor = open_file(path, size)
    try:
        return Mapping(descriptor, size, twice=twice)
    finally:
        os.close(descriptor)


class Ring:
    """What both sides of a channel share."""

    def __init__(self, channel: Channel, base: str, state: Mapping, data: Mapping) -> None:
        self._files = (base + _STATE, base + _DATA)
        self._channel = channel
        self._state = state
        self._data = data
        self._closing = False
        self._waiting = False
        self._lock = threading.Lock()
        self._bind()

    def _bind(self) -> None:
        """Keep at hand what every message needs."""
        self._places = self._state.words
        self._bytes = self._data.view
        self._words = self._data.words
        self._count = len(self._bytes) // 8  # it is there twice
        self._semaphore = self._state.address + RING_SEMAPHORE

    @classmethod
    def create(cls, channel: Channel, base: str, max_message: int, rights: FileRights) -> Self:
        """Make a ring; the names of its files begin with ``base``.

        Raises:
            OSError: there is no room.
        """
        size = ring_bytes(max_message, mmap.PAGESIZE)
        state = _make(base + _STATE, state_bytes(channel), rights)
        try:
            data = _make(base + _DATA, size, rights, twice=True)
        except BaseException:
            state.close()
            raise
        state.words[_COUNT] = size // 4
        state.view[RING_HEADER_PATH:RING_DATA_PATH] = encode_path(base + _STATE)
        state.view[RING_DATA_PATH:RING_REFERENCES] = encode_path(base + _DATA)
        state.words[_REFERENCES] = 1
        semaphore.initialize(state.address + RING_SEMAPHORE)
        return cls(channel, base, state, data)

    @classmethod
    def open(cls, channel: Channel, base: str) -> Self:
        """Open a ring that the other side made.

        Raises:
            OSError: there is none, or it is not for us.
            LibqbError: EBADMSG: it is no ring.
        """
        state = _find(base + _STATE, state_bytes(channel))
        try:
            size = state.words[_COUNT] * 4
            if not 0 < size <= ring_bytes(MESSAGE_LIMIT, mmap.PAGESIZE) or size % mmap.PAGESIZE:
                raise LibqbError(errno.EBADMSG, f"{base}: a ring of {size} bytes")
            data = _find(base + _DATA, size, twice=True)
        except BaseException:
            state.close()
            raise
        state.words[_REFERENCES] = (state.words[_REFERENCES] + 1) & _LARGEST_WORD
        return cls(channel, base, state, data)

    @property
    def waiting(self) -> int:
        """How many messages are in it, as the semaphore says."""
        return int(self._places[_WAITING])

    @property
    def shared(self) -> bool:
        """Whether both sides have it open."""
        return bool(self._places[_REFERENCES] == 2)

    @property
    def flow(self) -> int:
        """The flow control of requests: 0 go on, 1 pause; 2 pause, for clients that care."""
        return int(self._places[_FLOW])

    @flow.setter
    def flow(self, value: int) -> None:
        self._places[_FLOW] = value

    def unlink(self) -> None:
        """Remove its files; both sides can go on with what they have mapped."""
        for path in self._files:
            Path(path).unlink(missing_ok=True)

    def close(self) -> None:
        """Forget it. A thread that waits is woken up."""
        with self._lock:
            if self._closing:
                return
            self._closing = True
            # Looked at once: the other side counts down at the same time.
            references = self._places[_REFERENCES]
            if references:
                self._places[_REFERENCES] = references - 1
            if self._waiting:
                self._places[_SHARING] = SHARED
                semaphore.post(self._semaphore)
            else:
                self._forget()

    def _forget(self) -> None:
        self._state.close()
        self._data.close()

    def _broken(self, what: str) -> LibqbError:
        return LibqbError(errno.EBADMSG, f"{self._channel.value} ring: {what}")


class RingWriter(Ring):
    """The side that writes."""

    def __init__(self, channel: Channel, base: str, state: Mapping, data: Mapping) -> None:
        super().__init__(channel, base, state, data)
        self._write = state.words[_WRITE] % self._count

    def put(self, message: bytes) -> bool:
        """Write a message, unless there is no room for it; False then.

        Raises:
            LibqbError: EBADMSG: the other side's place is none.
        """
        # Every line here, and in take(), is run for every message.
        places, words, count = self._places, self._words, self._count
        write, read, size = self._write, places[_READ], len(message)
        if read >= count:
            raise self._broken(f"read at {read} of {count}")
        # Mostly there is room beyond doubt, and counting exactly takes longer.
        if size > (read - write - 4 if read > write else read - write + count - 4) * 4 and (
            size > free_bytes(write, read, count, places[_WAITING])
        ):
            return False
        start = write * 4 + CHUNK_HEAD
        self._bytes[start : start + size] = message
        words[write] = size
        words[write + 1] = MARK_READY
        after = write + (size + CHUNK_HEAD + 3) // 4
        self._write = places[_WRITE] = after - count if after >= count else after
        places[_SHARING] = SHARED
        semaphore.post(self._semaphore)
        return True


class RingReader(Ring):
    """The side that takes."""

    def __init__(self, channel: Channel, base: str, state: Mapping, data: Mapping) -> None:
        super().__init__(channel, base, state, data)
        self._read = state.words[_READ] % self._count

    def take(self) -> bytes | None:
        """The next message; None when there is none.

        Raises:
            LibqbError: EBADMSG: what should be one is none.
        """
        if not self._places[_WAITING] or semaphore.try_wait(self._semaphore):
            return None
        return self._next()

    def wait(self, seconds: float) -> bytes | None:
        """The next message, as soon as there is one; None when there is none within ``seconds``.

        Other threads run meanwhile, and one of them may close the ring.

        Raises:
            LibqbError: EBADMSG: as :meth:`take`; ENOTCONN: the ring was closed.
        """
        with self._lock:
            if self._closing:
                raise LibqbError(errno.ENOTCONN)
            self._waiting = True
            self._places[_SHARING] = SHARED
        try:
            got = semaphore.wait(self._semaphore, seconds)
        finally:
            with self._lock:
                self._waiting = False
                if self._closing:
                    self._forget()
        if self._closing:
            raise LibqbError(errno.ENOTCONN)
        return self._next() if got else None

    def _next(self) -> bytes:
        places, words, count, read = self._places, self._words, self._count, self._read
        size, write = words[read], places[_WRITE]
        if words[read + 1] != MARK_READY:
            raise self._broken(f"no message at {read}")
        after = read + (size + CHUNK_HEAD + 3) // 4
        if write >= count or after > (write if write > read else write + count):
            raise self._broken(f"a message of {size} bytes at {read}, written up to {write} of {count}")
        start = read * 4 + CHUNK_HEAD
        message = self._bytes[start : start + size].tobytes()
        words[read] = 0
        words[read + 1] = MARK_CONSUMED
        self._read = places[_READ] = after - count if after >= count else after
        return message
