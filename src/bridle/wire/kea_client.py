"""The client's side of the ``kea`` dialect on a stream: answers are cut out of what a server sends.

A client that wants to keep the connection begins with :data:`KEEP_ALIVE`; the newline behind the first answer
says that it is kept (see :mod:`bridle.wire.kea`).
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
from msgspec import Raw

from bridle.core.errors import RemoteProtocolError
from bridle.core.messages import Command, Response
from bridle.wire.kea_feed import Feed, FeedError
from bridle.wire.kea_messages import decode_answer, encode_command

__all__ = ["ANSWER_LIMIT", "KEEP_ALIVE", "AnswerReader", "KeaClient", "KeaForwarder"]

KEEP_ALIVE = b"//keep-alive\n"
# Bytes of one answer that a client takes; a million leases are about 200 MB.
ANSWER_LIMIT = 512 * 1024 * 1024
# Answers up to this many bytes are framed by their brackets at once, which takes less than a millisecond;
# longer ones are first guessed at, a few times, so that a server that sends in pieces cannot make it costly.
_GUESS_ABOVE = 128 * 1024
_GUESSES = 4
_OPENING = (0x5B, 0x7B)
_BLANKS = b" \t\r\n"

_decode_raw = msgspec.json.Decoder(Raw).decode


class AnswerReader:
    """Cuts a server's stream into answers, and notices whether the connection is kept.

    An answer that ends with what has come is recognized by decoding it, which is much faster than counting
    its brackets; that is tried a few times at most, so that no server can make it costly.
    """

    def __init__(self) -> None:
        self._framer: Feed | None = None
        self._text = bytearray()
        self._scanned = 0
        self._guesses = 0
        self._kept = False
        self.reusable: bool = False

    @property
    def _feed(self) -> Feed:
        # Most answers come whole and need no framer.
        if self._framer is None:
            self._framer = Feed(ANSWER_LIMIT)
        return self._framer

    @property
    def empty(self) -> bool:
        """True when no part of an answer is waiting for the rest."""
        return not self._text

    def receive(self, data: bytes) -> list[bytes]:
        """Take bytes; give the answers they complete.

        Raises:
            RemoteProtocolError: these bytes cannot begin an answer.
        """
        self._text += data
        answers: list[bytes] = []
        while self._begin():
            answer = self._next()
            if answer is None:
                self._check_size()
                break
            answers.append(answer)
            self._scanned = self._guesses = 0
        return answers

    def _check_size(self) -> None:
        if len(self._text) > ANSWER_LIMIT:
            raise RemoteProtocolError(f"the answer is too large: more than {ANSWER_LIMIT} bytes")

    def _begin(self) -> bool:
        """Pass over the newline by which a server says that it keeps the connection."""
        text = self._text
        if self._scanned == 0 and text and text[0] in _BLANKS:
            rest = text.lstrip(_BLANKS)
            if b"\n" in text[: len(text) - len(rest)]:
                self._kept = self.reusable = True
            self._text = rest
        return bool(self._text)

    def _next(self) -> bytes | None:
        text = self._text
        if self._kept:
            end = text.find(b"\n", self._scanned)
            self._scanned = len(text)
            return self._cut(end, end + 1) if end >= 0 else None
        if self._guesses < _GUESSES and self._is_whole():
            if self._framer is not None:
                self._framer.take()
            return self._cut(len(text), len(text))
        if len(text) > _GUESS_ABOVE and self._guesses < _GUESSES:
            return None
        return self._scan()

    def _cut(self, end: int, after: int) -> bytes:
        answer = bytes(self._text[:end])
        if answer.endswith(b"\n"):
            self._kept = self.reusable = True
        del self._text[:after]
        return answer.rstrip()

    def _is_whole(self) -> bool:
        if bytes(self._text[-2:]).rstrip()[-1:] not in (b"}", b"]"):
            return False
        self._guesses += 1
        try:
            _decode_raw(self._text)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            if "truncated" not in str(error):
                self._guesses = _GUESSES  # more of it would not help
            return False
        return self._text[0] in _OPENING

    def _scan(self) -> bytes | None:
        try:
            end = self._feed.push(self._text, self._scanned)
        except FeedError as error:
            # Kea's word for an answer that does not even begin like one (facts/kea.md §2.2).
            text = error.text if self._feed.size else "nothing read"
            raise RemoteProtocolError(text, bytes(self._text[:100])) from error
        if end is None:
            self._scanned = len(self._text)
            return None
        del self._text[:end]
        return self._feed.take()

    def receive_eof(self) -> list[bytes]:
        """The server has closed; the answers that are complete all the same.

        Raises:
            RemoteProtocolError: in the middle of an answer.
        """
        self.reusable = False
        self._guesses = _GUESSES
        if self._kept:
            self._kept, self._scanned = False, 0
        answers = self.receive(b"") if self._text else []
        if self._feed.size and not answers:
            raise RemoteProtocolError("End of file", bytes(self._text[:100]))
        return answers


class KeaClient:
    """The client's side of one stream. With ``keep`` it asks the server to keep the connection."""

    def __init__(self, keep: bool = False) -> None:
        self._reader = AnswerReader()
        self._preface = KEEP_ALIVE if keep else b""

    @property
    def reusable(self) -> bool:
        """True once the server has shown that it keeps the connection, while nothing came unasked."""
        return self._reader.reusable and self._reader.empty

    def request(self, command: Command) -> bytes:
        """Write a command, after the line that asks to keep the connection where that was not sent yet."""
        preface, self._preface = self._preface, b""
        return preface + encode_command(command) + (b"\n" if preface or self.reusable else b"")

    def receive(self, data: bytes) -> Sequence[Response]:
        """Take bytes; give the answers they complete."""
        return [decode_answer(answer) for answer in self._reader.receive(data)]

    def receive_eof(self) -> Sequence[Response]:
        """The server has closed."""
        return [decode_answer(answer) for answer in self._reader.receive_eof()]


class KeaForwarder:
    """The client's side for texts that are only passed on: bytes in, bytes out, nothing decoded."""

    def __init__(self) -> None:
        self._reader = AnswerReader()
        self._preface = KEEP_ALIVE

    @property
    def reusable(self) -> bool:
        """True once the server has shown that it keeps the connection, while nothing came unasked."""
        return self._reader.reusable and self._reader.empty

    def request(self, text: bytes) -> bytes:
        """Write a command that is already encoded."""
        preface, self._preface = self._preface, b""
        return preface + text + b"\n"

    def receive(self, data: bytes) -> list[bytes]:
        """Take bytes; give the answers they complete."""
        return self._reader.receive(data)

    def receive_eof(self) -> list[bytes]:
        """The server has closed."""
        return self._reader.receive_eof()
