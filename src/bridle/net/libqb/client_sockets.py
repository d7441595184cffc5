"""A client's channels on datagram sockets.

The stream socket carries nothing any more; its end is the connection's.
"""

from __future__ import annotations

import errno
import select
import socket

from bridle.net.libqb.datagrams import (
    CLIENT_EVENT,
    CLIENT_RESPONSE,
    GONE,
    SERVER_EVENT,
    SERVER_REQUEST,
    FlowPage,
    bound,
)
from bridle.net.libqb.directory import remove_remains
from bridle.net.libqb.errors import LibqbError
from bridle.net.libqb.places import abstract
from bridle.net.libqb.setup import hang_up, has_ended
from bridle.net.libqb.trust import Credentials
from bridle.wire.libqb import ConnectionResponse

__all__ = ["SocketChannels"]

_DONT_WAIT = socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL


class SocketChannels:
    """Two pairs of datagram sockets, and the stream socket."""

    def __init__(self, setup: socket.socket, response: ConnectionResponse, server: Credentials) -> None:
        self._setup = setup
        self._server = server
        self._directory = response.request.rpartition("/")[0]
        self._page = FlowPage(response.request)
        opened: list[socket.socket] = []
        try:
            for ours, theirs in ((CLIENT_RESPONSE, SERVER_REQUEST), (CLIENT_EVENT, SERVER_EVENT)):
                opened.append(bound(response.response + ours, response.max_message))
                opened[-1].connect(abstract(response.response + theirs))
            # Only a server that is still there can have been the one that had these names.
            if has_ended(setup):
                raise LibqbError(errno.ENOTCONN)
        except BaseException:
            for sock in opened:
                sock.close()
            self._page.close()
            raise
        self._requests, self._events = opened
        # One for each: a thread may wait for a response while another takes events.
        self._response, self._event = (memoryview(bytearray(response.max_message)) for _ in range(2))
        self._poller = select.poll()
        for descriptor in (self._requests, self._setup):
            self._poller.register(descriptor, select.POLLIN)

    def put(self, message: bytes) -> bool:
        """Send a request, unless there is no room, or the server has asked for a pause.

        Raises:
            LibqbError: ENOTCONN; EMSGSIZE: the kernel takes no datagram of that size.
        """
        if self._page.flow == 1:
            return False
        try:
            self._requests.send(message, _DONT_WAIT)
        except BlockingIOError:
            return False
        except OSError as error:
            raise _said(error) from error
        return True

    def response(self) -> bytes | None:
        """The next response, if there is one."""
        return self._receive(self._requests, self._response)

    def wait_for_response(self, seconds: float) -> bytes | None:
        """The next response, if there is one before ``seconds`` are over or the server has gone."""
        self._poller.poll(seconds * 1000)
        return self._receive(self._requests, self._response)

    def event(self) -> bytes | None:
        """The next event, if there is one.

        Raises:
            LibqbError: ENOTCONN: there is none, and the server has gone.
        """
        try:
            message = self._receive(self._events, self._event)
        except LibqbError:
            # The kernel tells of the end before it gives what came before that.
            message = self._receive(self._events, self._event)
            if message is None:
                raise
        if message is None and has_ended(self._setup):
            message = self._receive(self._events, self._event)
            if message is None:
                raise LibqbError(errno.ENOTCONN)
        return message

    def _receive(self, sock: socket.socket, buffer: memoryview) -> bytes | None:
        try:
            return buffer[: sock.recv_into(buffer, 0, socket.MSG_DONTWAIT)].tobytes()
        except BlockingIOError:
            return None
        except OSError as error:
            raise _said(error) from error

    def filenos(self) -> tuple[int, ...]:
        """Events show at one descriptor, the end at the other."""
        return self._events.fileno(), self._setup.fileno()

    def response_filenos(self) -> tuple[int, ...]:
        """Responses show at one descriptor, the end at the other."""
        return self._requests.fileno(), self._setup.fileno()

    def ended(self) -> bool:
        """Whether the server has gone."""
        return has_ended(self._setup)

    def close(self) -> None:
        """Close everything, and remove what a server that was killed cannot."""
        ended = has_ended(self._setup)
        hang_up(self._setup)
        self._page.close()
        self._events.close()
        self._requests.close()
        if ended:
            remove_remains(self._directory, self._server.pid)


def _said(error: OSError) -> LibqbError:
    """What the kernel said, as libqb would say it."""
    if error.errno in GONE or error.errno == errno.EBADF:
        return LibqbError(errno.ENOTCONN)
    if error.errno in (errno.EMSGSIZE, errno.ENOBUFS):
        return LibqbError(errno.EMSGSIZE, "the kernel takes no datagram of that size")
    return LibqbError(error.errno or errno.EIO, str(error))
