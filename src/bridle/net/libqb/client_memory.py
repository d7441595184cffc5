"""A client's channels in shared memory.

A byte on the stream socket goes with every request, and with every event; nothing goes with a response.
"""

from __future__ import annotations

import errno
import socket
from pathlib import Path

from bridle.net.libqb.directory import remove_remains
from bridle.net.libqb.errors import LibqbError
from bridle.net.libqb.ring import Ring, RingReader, RingWriter
from bridle.net.libqb.setup import hang_up, has_ended
from bridle.net.libqb.trust import Credentials
from bridle.wire.libqb import Channel, ConnectionResponse

__all__ = ["SLICE", "MemoryChannels"]

SLICE = 0.1
"""Seconds of one wait for a response: only between two of them it shows that the server was killed."""

_SPURIOUS = 64
"""Bytes without an event that are read in one go; a server that sends more than that must wait for its
turn."""

_DONT_WAIT = socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL


class MemoryChannels:
    """Three rings, and the socket."""

    def __init__(self, setup: socket.socket, response: ConnectionResponse, server: Credentials) -> None:
        self._setup = setup
        self._server = server
        self._directory = str(Path(response.request).parent)
        # Bytes that are to be sent for requests, and to be read for events that were taken.
        self._unsent = 0
        self._unread = 0
        opened: list[Ring] = []
        try:
            self._requests = RingWriter.open(Channel.REQUEST, response.request)
            opened.append(self._requests)
            self._responses = RingReader.open(Channel.RESPONSE, response.response)
            opened.append(self._responses)
            self._events = RingReader.open(Channel.EVENT, response.event)
        except BaseException:
            for ring in opened:
                ring.close()
            raise
        self._rings: tuple[Ring, ...] = (self._requests, self._responses, self._events)

    def put(self, message: bytes) -> bool:
        """Write a request, unless there is no room, or the server has asked for a pause.

        Raises:
            LibqbError: ENOTCONN, EBADMSG.
        """
        requests = self._requests
        if not requests.shared:
            raise LibqbError(errno.ENOTCONN)
        if self._unsent:
            self._wake()
        if self._unsent or requests.flow == 1 or not requests.put(message):
            return False
        self._unsent = 1
        self._wake()
        return True

    def _wake(self) -> None:
        """Send the byte that goes with a request; later, where the server has not read those before it."""
        try:
            self._setup.send(b"\0", _DONT_WAIT)
            self._unsent = 0
        except BlockingIOError:
            pass
        except OSError as error:
            raise LibqbError(errno.ENOTCONN) from error

    def response(self) -> bytes | None:
        """The next response, if there is one."""
        return self._responses.take()

    def wait_for_response(self, seconds: float) -> bytes | None:
        """The next response, if there is one within ``seconds`` or :data:`SLICE`, whichever is less."""
        message = self._responses.take()
        if message is not None:
            return message
        if self._unsent:
            self._wake()
        return self._responses.wait(min(seconds, SLICE)) if seconds > 0 else None

    def event(self) -> bytes | None:
        """The next event, if there is one.

        Raises:
            LibqbError: ENOTCONN: there is none, and the server has gone; EBADMSG.
        """
        if self._unsent:
            self._wake()
        # A byte is sent behind its event. One that is read when no event is to be seen may be that of an
        # event written since: look again.
        for _ in range(_SPURIOUS):
            message = self._events.take()
            if message is not None:
                self._unread += 1
                if self._unread > 0:
                    self._catch_up()
                return message
            if not self._read():
                return None
        return None

    def _catch_up(self) -> None:
        """Read the bytes of events that were taken; what else is to be said of the socket, the next call
        says."""
        try:
            self._unread -= len(self._setup.recv(self._unread, socket.MSG_DONTWAIT))
        except OSError:
            pass

    def _read(self) -> bool:
        """Read a byte, or those of events that were taken before they came; False when there is none."""
        try:
            data = self._setup.recv(max(self._unread, 1), socket.MSG_DONTWAIT)
        except BlockingIOError:
            return False
        except OSError as error:
            raise LibqbError(errno.ENOTCONN) from error
        if not data:
            raise LibqbError(errno.ENOTCONN)
        self._unread -= len(data)
        return True

    def filenos(self) -> tuple[int, ...]:
        """The stream socket shows both events and the end."""
        return (self._setup.fileno(),)

    def response_filenos(self) -> tuple[int, ...]:
        """Only the end shows."""
        return (self._setup.fileno(),)

    def ended(self) -> bool:
        """Whether the server has gone."""
        return has_ended(self._setup)

    def close(self) -> None:
        """Close everything, and remove what a server that was killed cannot."""
        ended = has_ended(self._setup)
        hang_up(self._setup)
        for ring in self._rings:
            ring.close()
        if ended:
            remove_remains(self._directory, self._server.pid)
