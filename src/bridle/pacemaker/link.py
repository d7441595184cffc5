"""One connection to a daemon, in Pacemaker's messages: ids, flags, layouts, parts; answers by their ids."""

from __future__ import annotations

import errno
import itertools
import threading
import time
from collections.abc import Callable

from bridle.core.errors import LocalProtocolError
from bridle.core.messages import Peer
from bridle.net.libqb.client import LibqbClient
from bridle.net.libqb.errors import LibqbError
from bridle.pacemaker.errors import ipc_error, translated
from bridle.wire.pacemaker_header import (
    HEADER_SIZE,
    Flags,
    Layout,
    Message,
    MessageReader,
    encode_message,
)
from bridle.wire.pacemaker_xml import Xml, write_xml

__all__ = ["BACKLOG_TIMEOUT", "Link", "next_id", "refuse_sync_call"]

BACKLOG_TIMEOUT = 5.0
"""Seconds that a daemon may take until there is room for a request: Pacemaker's own clients wait as long for
the whole of it."""

_SYNC_CALL = 0x1000
_CLIENT_RESPONSE = int(Flags.CLIENT_RESPONSE)
_ids = itertools.count(1)


def next_id() -> int:
    """The id of another request: one count for all connections of the process, as Pacemaker's own clients."""
    return next(_ids) & 0xFFFFFFFF


def refuse_sync_call(document: Xml, flags: int) -> None:
    """Refuse what would end a real daemon: its option for a response, without the header's.

    Raises:
        IPCUsageError: EINVAL.
    """
    if flags & _CLIENT_RESPONSE:
        return
    for name in ("cib_callopt", "st_callopt"):
        text = document.get(name, "0")
        if not text.isdecimal() or len(text) > 10 or int(text) & _SYNC_CALL:
            text = f"'{name}' asks for a response, which the header does not: a real daemon would abort"
            raise ipc_error(errno.EINVAL, text)


class Link:
    """Sends requests, and takes responses and events. One thread may wait for a response at a time, while
    another takes events."""

    def __init__(self, client: LibqbClient, layout: Layout) -> None:
        self._client = client
        self.layout: Layout = layout
        self._responses = MessageReader()
        self._events = MessageReader()
        self._turn = threading.Lock()
        self._sending = threading.Lock()
        self._unanswered = False

    @property
    def endpoint(self) -> str:
        """The daemon's."""
        return self._client.endpoint

    @property
    def peer(self) -> Peer:
        """The daemon's process."""
        return self._client.peer

    @property
    def connected(self) -> bool:
        """Whether the daemon is still there, as far as the kernel knows now."""
        return self._client.connected

    def send(self, document: Xml, flags: int = 0, timeout: float = BACKLOG_TIMEOUT) -> int:
        """Send a request and give its id. What goes in several pieces is sent whole; where there is no room
        for all of it in time, it ends the connection.

        Raises:
            IPCError: EINVAL, EMSGSIZE, EAGAIN: there is no room for it in time; ENOTCONN.
        """
        refuse_sync_call(document, flags)
        deadline = time.monotonic() + timeout
        with translated(self.endpoint):
            message = Message(next_id(), flags, self._written(document), self.layout)
            pieces = encode_message(message, limit=self._client.max_message)
            if not self._sending.acquire(timeout=max(timeout, 0.0)):
                raise ipc_error(errno.EAGAIN, "another request is being sent", self.endpoint)
            try:
                self._send(pieces, deadline)
            finally:
                self._sending.release()
        return message.id

    def _send(self, pieces: list[bytes], deadline: float) -> None:
        self._client.send(pieces[0], max(deadline - time.monotonic(), 0.0))
        for piece in pieces[1:]:
            try:
                self._client.send(piece, max(deadline - time.monotonic(), 0.0))
            except LibqbError:
                # The daemon would take what comes next for a part of this.
                self._client.close()
                raise

    def _written(self, document: Xml) -> bytes:
        try:
            return write_xml(document)
        except LocalProtocolError as error:
            raise ipc_error(errno.EINVAL, str(error), self.endpoint) from error

    def in_pieces(self, document: Xml) -> bool:
        """Whether a request may have to be sent in several pieces."""
        size = HEADER_SIZE + len(self._written(document)) + 1
        return self.layout is Layout.V3 and size > self._client.max_message

    def ask(self, document: Xml, timeout: float, flags: int = _CLIENT_RESPONSE) -> Message:
        """Send a request that is answered on the response channel, and wait for that.

        Raises:
            IPCError: as :meth:`send`; ETIMEDOUT; EALREADY: no answer in time, nor to an earlier request.
        """
        deadline = time.monotonic() + timeout
        if not self._turn.acquire(timeout=max(timeout, 0.0)):
            raise ipc_error(errno.EALREADY, "another request waits for its answer", self.endpoint)
        try:
            number = self.send(document, flags, timeout)
            return self._answer_to(number, deadline)
        finally:
            self._turn.release()

    def _answer_to(self, number: int, deadline: float) -> Message:
        with translated(self.endpoint):
            try:
                while True:
                    left = max(deadline - time.monotonic(), 0.0)
                    message = self._responses.receive(self._client.receive_response(left))
                    if message is None or _is_older(message.id, number):
                        continue  # a part; or the answer to what nobody waits for any more
                    if message.id != number:
                        text = f"a response to request {message.id} came, which nobody has sent"
                        raise ipc_error(errno.EBADMSG, text, self.endpoint)
                    self._unanswered = False
                    return message
            except TimeoutError as error:
                if self._unanswered:
                    text = "an earlier request is not answered yet"
                    raise ipc_error(errno.EALREADY, text, self.endpoint) from error
                self._unanswered = True
                raise

    def event(self, timeout: float = 0.0) -> Message | None:
        """The next event; None if there is none in time.

        Raises:
            IPCError: ENOTCONN: the daemon has gone, and what it said before was taken; EBADMSG.
        """
        deadline = time.monotonic() + timeout
        with translated(self.endpoint):
            while True:
                data = self._client.receive_event(max(deadline - time.monotonic(), 0.0))
                if data is None:
                    return None
                message = self._events.receive(data)
                if message is not None:
                    if self.layout is Layout.NEUTRAL:
                        self.layout = message.layout
                    return message

    def event_where(self, wanted: Callable[[Message], bool], timeout: float) -> Message:
        """The next event that is wanted; others are thrown away.

        Raises:
            IPCError: ETIMEDOUT, and as :meth:`event`.
        """
        deadline = time.monotonic() + timeout
        while (left := deadline - time.monotonic()) > 0:
            message = self.event(left)
            if message is not None and wanted(message):
                return message
        raise ipc_error(errno.ETIMEDOUT, "no answer in time", self.endpoint)

    def filenos(self) -> tuple[int, ...]:
        """What becomes readable with an event, or the end."""
        with translated(self.endpoint):
            return self._client.filenos()

    def close(self) -> None:
        """End the connection."""
        self._client.close()


def _is_older(found: int, wanted: int) -> bool:
    return found != wanted and (wanted - found) & 0xFFFFFFFF < 1 << 31
