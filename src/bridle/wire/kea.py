"""The ``kea`` dialect: ISC Kea's control channel on a stream (``facts/kea.md`` §1).

A command is a JSON map; it ends where its brackets are balanced, without newline or end of file. Kea answers
one command and closes, and so does this side. A client that wants to keep the connection says so in the
first bytes it sends, in a way that every Kea since 1.9.7 takes for a comment::

    //keep-alive
    { "command": "version-get" }

A server that keeps the connection ends each answer with a newline, which Kea never sends: that is how the
client knows. From then on commands may be pipelined; they are answered in order. A server that does not know
the line answers the first command and closes, as ever.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from bridle.core.errors import RemoteProtocolError
from bridle.core.messages import LOCAL, Command, Event, Peer, Response
from bridle.core.results import Result
from bridle.wire.dialect import Dialect, Message, Refusal
from bridle.wire.kea_client import KeaClient
from bridle.wire.kea_feed import COMMAND_LIMIT, Feed, FeedError
from bridle.wire.kea_messages import (
    WRONG,
    EnvelopeError,
    encode_answer,
    read_command,
    read_plain_command,
)

__all__ = ["DIALECT", "IDLE_TIMEOUT", "KEPT_IDLE_TIMEOUT", "KeaServer"]

# Seconds of silence, Kea's and not configurable there (facts/kea.md §1.2).
IDLE_TIMEOUT = 10.0
# Seconds between two commands of a client that asked to keep its connection.
KEPT_IDLE_TIMEOUT = 60.0

_TIMED_OUT = "Connection over control channel timed out"
_KEEP_ALIVE_LINE = re.compile(rb"//[ \t]*keep-alive[ \t]*\r?\n")
# Bytes that may be held back until it is known whether they are that line: its 13, and some blanks.
_KEEP_ALIVE_LIMIT = 32
_BLANKS = b" \t\r\n"


class KeaServer:
    """The server's side of one stream."""

    def __init__(self, peer: Peer = LOCAL) -> None:
        self._peer = peer
        self._framer: Feed | None = None
        self._preface: bytes | None = b""
        self._begun = False
        self._keep = False
        self._deaf = False
        self.closing: bool = False
        self.trailing: bool = False

    @property
    def _feed(self) -> Feed:
        # Most conversations are one plain command, which needs no framer.
        if self._framer is None:
            self._framer = Feed(COMMAND_LIMIT, first=not self._keep)
        return self._framer

    @property
    def _between(self) -> bool:
        """True when nothing of a next command has come yet."""
        return self._framer is None or self._framer.empty

    @property
    def idle_timeout(self) -> float:
        """Seconds of silence to bear: Kea's ten, or more between two commands of a kept connection."""
        return KEPT_IDLE_TIMEOUT if self._keep and self._begun and self._between else IDLE_TIMEOUT

    def receive(self, data: bytes) -> Sequence[Message]:
        """Take bytes; give the commands they complete."""
        if self._deaf:
            self.trailing = True
            return ()
        if self._preface is not None:
            data = self._open(self._preface + data)
        if not data:
            return ()
        return self._receive_many(data) if self._keep else self._receive_one(data)

    def _open(self, data: bytes) -> bytes:
        """Take off the line that asks to keep the connection; hold back what may become it."""
        self._preface = None
        if data[:1] not in (b"/", b""):
            return data
        line = _KEEP_ALIVE_LINE.match(data, 0, _KEEP_ALIVE_LIMIT)
        if line:
            self._keep = True
            return data[line.end() :]
        if data[:2] in (b"", b"/", b"//") and b"\n" not in data and len(data) < _KEEP_ALIVE_LIMIT:
            self._preface = data
            return b""
        return data

    def _receive_one(self, data: bytes) -> Sequence[Message]:
        if self._between and len(data) <= COMMAND_LIMIT:
            command = read_plain_command(data.lstrip(_BLANKS), self._peer, "<wire>", 0, len(data))
            if command is not None:
                self._begun = self._deaf = True
                return (command,)
        end, message = self._feed_in(data, 0)
        if message is None:
            return ()
        self._deaf = True
        self.trailing = self.trailing or end < len(data)
        return (message,)

    def _receive_many(self, data: bytes) -> Sequence[Message]:
        messages: list[Message] = []
        position = tried = 0
        while position < len(data) and not self._deaf:
            # A line that is no command as a whole is not tried again from its middle: that would take long.
            if self._between and position >= tried:
                newline = data.find(b"\n", position)
                tried = len(data) if newline < 0 else newline + 1
                command = self._read_line(data[position:tried])
                if command is not None:
                    messages.append(command)
                    position = tried
                    continue
            position, message = self._feed_in(data, position)
            if message is not None:
                messages.append(message)
        return messages

    def _read_line(self, line: bytes) -> Command | None:
        if len(line) > COMMAND_LIMIT:
            return None
        command = read_plain_command(line.lstrip(_BLANKS), self._peer, "<wire>", 0, len(line))
        self._begun = self._begun or command is not None
        return command

    def _feed_in(self, data: bytes, position: int) -> tuple[int, Message | None]:
        """Feed the framer; the position it got to, and the message that is complete there."""
        try:
            end = self._feed.push(data, position)
        except FeedError as error:
            self.trailing = True
            return len(data), self._refusal(error.text, final=True)
        return (len(data), None) if end is None else (end, self._complete())

    def _complete(self) -> Message:
        self._begun = True
        try:
            return read_command(self._feed.take(), self._peer)
        except EnvelopeError as error:
            return self._refusal(f"{WRONG}{error}")
        except RemoteProtocolError as error:
            return self._refusal(error.text)

    def _refusal(self, text: str, *, final: bool = False) -> Refusal:
        data = encode_answer(Response(Result.ERROR, text))
        if final or not self._keep:
            self._deaf = self.closing = True
        return Refusal(self._ended(data))

    def receive_eof(self) -> Sequence[Message]:
        """The client has sent all; what it left unfinished is dropped without a word, as Kea does."""
        self._deaf = True
        return ()

    def expire(self) -> bytes:
        """Kea's words for a silent client; none where a kept connection idled between two commands."""
        self._deaf = self.closing = True
        if self._keep and self._begun and self._between:
            return b""
        kept = self._feed.size
        partial = f", discarded partial command of {kept} bytes" if kept else ""
        return self.refuse(f"{_TIMED_OUT}{partial}")

    def respond(self, command: Command, response: Response) -> bytes:
        """Write an answer; the conversation ends with it unless the client asked to keep it."""
        answer = self._ended(encode_answer(response))
        self.closing = self.closing or not self._keep
        return answer

    def refuse(self, text: str) -> bytes:
        """An answer without a command, and the end."""
        self._deaf = self.closing = True
        return self._ended(encode_answer(Response(Result.ERROR, text)))

    def _ended(self, answer: bytes) -> bytes:
        return answer + b"\n" if self._keep else answer

    def notify(self, event: Event) -> bytes:
        """Kea's channel has no form for events."""
        return b""


DIALECT = Dialect("kea", ("unix", "tcp", "http", "https"), KeaServer, KeaClient)
