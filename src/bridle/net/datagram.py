"""Datagram sockets, server side: each datagram is a conversation, answered with one datagram.

Answers of plain handlers leave in the turn in which their question came, so in its order; those of coroutine
handlers when they are ready. A client whose queue is full is tried again for a while; nobody waits for it.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import struct
from collections.abc import Awaitable, Callable
from typing import Any, cast

from bridle.core.messages import Command, Peer, Response
from bridle.core.results import Result
from bridle.net.answers import CANCELLED, Execute, answer_of, response_of
from bridle.net.stream import QUEUE_LIMIT, WRITE_TIMEOUT
from bridle.net.timed import GRACE
from bridle.wire.dialect import Dialect, Refusal, ServerDialect

__all__ = ["UDP_LIMIT", "UNIX_LIMIT", "DatagramListener"]

# Bytes of the largest answer: what IPv4 leaves of 64 KiB, and what Kamailio sends on unix sockets at most.
UDP_LIMIT = 65507
UNIX_LIMIT = 65535
# Datagrams taken in one turn of the event loop.
_BATCH = 64
_READ_SIZE = 64 * 1024
# Answers that wait for their clients' queues, and the seconds between two tries.
_UNSENT_LIMIT = 256
_RETRY = 0.01

_CREDENTIALS = struct.Struct("3i")
_ANCILLARY = socket.CMSG_SPACE(_CREDENTIALS.size)
_TOO_LARGE = "the reply has {size} bytes, and a datagram holds {limit}: ask over a stream"

_log = logging.getLogger("bridle.net")


class DatagramListener:
    """Answers what comes in by a datagram socket."""

    def __init__(
        self,
        dialect: Dialect,
        execute: Execute,
        sock: socket.socket,
        peer_of: Callable[[object], Peer],
    ) -> None:
        assert dialect.datagram is not None
        self._begin: Callable[[Peer], ServerDialect] = dialect.datagram
        self._execute = execute
        self._socket = sock
        self._peer_of = peer_of
        self._unix = sock.family == socket.AF_UNIX
        self._limit = UNIX_LIMIT if self._unix else UDP_LIMIT
        self._loop = asyncio.get_running_loop()
        self._tasks: set[asyncio.Task[None]] = set()
        self._reading = False
        self._stopped = False
        if self._unix:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)

    @property
    def busy(self) -> bool:
        """Whether an answer is on its way."""
        return bool(self._tasks)

    def start(self) -> None:
        """Begin to read."""
        if not self._reading:
            self._reading = True
            self._loop.add_reader(self._socket, self._readable)

    def _pause(self) -> None:
        if self._reading:
            self._reading = False
            self._loop.remove_reader(self._socket)

    def hold(self) -> None:
        """Let datagrams wait before :meth:`go_on` is called."""
        self._pause()

    def go_on(self) -> None:
        """Read again."""
        if not self._stopped:
            self.start()

    def stop(self) -> None:
        """Take what has come, and then no more."""
        if self._reading:
            self._readable()
        self._stopped = True
        self._pause()

    def _readable(self) -> None:
        for _ in range(_BATCH):
            try:
                data, peer, address = self._receive()
            except (BlockingIOError, InterruptedError):
                return
            except OSError as error:  # what an earlier answer met with, such as a port that is closed
                _log.debug("%s: %s", self._socket, error)
                continue
            self._take(data, peer, address)
            if len(self._tasks) >= QUEUE_LIMIT:
                self._pause()
                return

    def _receive(self) -> tuple[bytes, Peer, object]:
        if not self._unix:
            data, address = self._socket.recvfrom(_READ_SIZE)
            return data, self._peer_of(address), address
        data, ancillary, _, address = self._socket.recvmsg(_READ_SIZE, _ANCILLARY)
        peer = self._peer_of(address)
        for _, kind, content in ancillary:
            if kind == socket.SCM_CREDENTIALS and len(content) == _CREDENTIALS.size:
                pid, uid, gid = _CREDENTIALS.unpack(content)
                peer = Peer(transport=peer.transport, address=peer.address, pid=pid or None, uid=uid, gid=gid)
        return data, peer, address

    def _take(self, data: bytes, peer: Peer, address: object) -> None:
        conversation = self._begin(peer)
        for message in conversation.receive(data):
            if isinstance(message, Refusal):
                self._send(message.data, address)
                continue
            try:
                outcome = self._execute(message)
            except asyncio.CancelledError:  # of what the handler wanted the result of
                outcome = CANCELLED
            if isinstance(outcome, Response):
                self._send(self._answer(conversation, message, outcome), address)
            else:
                self._watch(self._wait(conversation, message, outcome, address))

    def _answer(self, conversation: ServerDialect, command: Command, response: Response) -> bytes:
        data = answer_of(conversation, command, response)
        if len(data) <= self._limit:
            return data
        text = _TOO_LARGE.format(size=len(data), limit=self._limit)
        return conversation.respond(command, Response(Result.ERROR, text, code=500))

    async def _wait(
        self, conversation: ServerDialect, command: Command, outcome: Awaitable[Response], address: object
    ) -> None:
        self._send(self._answer(conversation, command, await response_of(outcome)), address)

    def _send(self, data: bytes, address: object) -> None:
        if not address:
            return  # a client that did not bind; there is nowhere to send to
        try:
            self._socket.sendto(data, cast("tuple[str, int]", address))
        except BlockingIOError:
            if len(self._tasks) < _UNSENT_LIMIT:
                self._watch(self._send_later(data, address))
        except OSError as error:
            _log.debug("an answer cannot be sent to %s: %s", address, error)

    async def _send_later(self, data: bytes, address: object) -> None:
        deadline = self._loop.time() + WRITE_TIMEOUT
        while self._loop.time() < deadline:
            await asyncio.sleep(_RETRY)
            try:
                self._socket.sendto(data, cast("tuple[str, int]", address))
            except BlockingIOError:
                continue
            except OSError as error:
                _log.debug("an answer cannot be sent to %s: %s", address, error)
            return
        _log.warning("%s did not take an answer in %s s", address, WRITE_TIMEOUT)

    def _watch(self, work: Awaitable[None]) -> None:
        task = self._loop.create_task(cast("Any", work))
        self._tasks.add(task)
        task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not (self._stopped or self._reading) and len(self._tasks) < QUEUE_LIMIT:
            self.start()

    async def close(self, grace: float = GRACE) -> None:
        """Take no more, and send the answers in flight within ``grace`` seconds."""
        self.stop()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=grace)
        for task in tuple(self._tasks):
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)
