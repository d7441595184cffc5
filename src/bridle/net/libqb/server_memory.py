"""A server's channels in shared memory."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable

from bridle.net.libqb.directory import ConnectionDirectory
from bridle.net.libqb.ring import Ring, RingReader, RingWriter
from bridle.net.libqb.trust import FileRights
from bridle.wire.libqb import Channel, ConnectionResponse, Transport

__all__ = ["MemoryServerChannels"]

_WAKES = 4096
"""Bytes that are read in one go: more than the kernel holds of single ones."""


class MemoryServerChannels:
    """Three rings, and the socket: a byte comes with every request, one goes with every event."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        setup: socket.socket,
        directory: ConnectionDirectory,
        service: str,
        max_message: int,
        rights: FileRights,
    ) -> None:
        """Make the rings.

        Raises:
            OSError: there is no room.
        """
        self._loop = loop
        self._setup = setup
        self._unsent = 0
        made: list[Ring] = []
        try:
            names = {channel: directory.base(f"{channel.value}-{service}") for channel in Channel}
            self._requests = RingReader.create(Channel.REQUEST, names[Channel.REQUEST], max_message, rights)
            made.append(self._requests)
            self._responses = RingWriter.create(
                Channel.RESPONSE, names[Channel.RESPONSE], max_message, rights
            )
            made.append(self._responses)
            self._events = RingWriter.create(Channel.EVENT, names[Channel.EVENT], max_message, rights)
        except BaseException:
            for ring in made:
                ring.close()
            raise
        self._rings: tuple[Ring, ...] = (self._requests, self._responses, self._events)
        self.take: Callable[[], bytes | None] = self._requests.take
        self.put_response: Callable[[bytes], bool] = self._responses.put
        self.answer: ConnectionResponse = ConnectionResponse(
            0,
            Transport.SHM,
            max_message,
            names[Channel.REQUEST],
            names[Channel.RESPONSE],
            names[Channel.EVENT],
        )

    def start(self, work: Callable[[], None], ended: Callable[[], None]) -> None:
        """Call ``work`` when there are requests, ``ended`` when the client has gone."""
        self._work = work
        self._ended = ended
        self._loop.add_reader(self._setup.fileno(), self._on_readable)

    def _on_readable(self) -> None:
        try:
            data = self._setup.recv(_WAKES)
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            data = b""
        if data:
            self._work()
        else:
            self._loop.remove_reader(self._setup.fileno())
            self._ended()

    @property
    def more(self) -> bool:
        """Whether there are requests that nothing will tell of."""
        return self._requests.waiting > 0

    def put_event(self, message: bytes) -> bool:
        """Write an event, unless there is no room."""
        if not self._events.put(message):
            return False
        self._unsent += 1
        if self._unsent == 1:
            self._wake()
        return True

    def _wake(self) -> None:
        """Send the bytes that go with events; later, where the client has not read those before."""
        try:
            self._unsent -= self._setup.send(bytes(self._unsent))
        except (BlockingIOError, InterruptedError):
            pass
        except OSError:
            self._unsent = 0  # the client has gone, which shows when the socket is read
            return
        if self._unsent:
            self._loop.add_writer(self._setup.fileno(), self._on_writable)

    def _on_writable(self) -> None:
        self._loop.remove_writer(self._setup.fileno())
        if self._unsent:
            self._wake()

    def pause(self) -> None:
        """Ask the client to send no more."""
        self._requests.flow = 1

    def resume(self) -> None:
        """Let the client go on."""
        self._requests.flow = 0

    @property
    def drained(self) -> bool:
        """Whether the client has taken all that was sent."""
        return not (self._unsent or self._responses.waiting or self._events.waiting)

    def close(self) -> None:
        """End it."""
        self._loop.remove_reader(self._setup.fileno())
        self._loop.remove_writer(self._setup.fileno())
        for ring in self._rings:
            ring.close()
        self._setup.close()
