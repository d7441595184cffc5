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
from typing import cast

import msgspec
from msgspec import UNSET, Raw, UnsetType

from bridle.core.errors import ProtocolError, RemoteProtocolError
from bridle.core.messages import JSON, LOCAL, Command, Event, Path, Peer, Response
from bridle.core.results import Result
from bridle.wire import kea_json, kea_reader
from bridle.wire.dialect import Dialect, Message, Refusal
from bridle.wire.kea_feed import Feed, FeedError

__all__ = [
    "COMMAND_LIMIT",
    "DIALECT",
    "IDLE_TIMEOUT",
    "KEEP_ALIVE",
    "KEPT_IDLE_TIMEOUT",
    "AnswerReader",
    "EnvelopeError",
    "KeaClient",
    "KeaForwarder",
    "KeaServer",
    "Text",
    "addressed_services",
    "check_answer",
    "decode_answer",
    "encode_answer",
    "encode_command",
    "encode_forwarded",
    "read_command",
]

KEEP_ALIVE = b"//keep-alive\n"
# Bytes of one command. Kea has no limit; 100,000 host reservations in a config-set are about 12 MB.
COMMAND_LIMIT = 32 * 1024 * 1024
# Bytes of one answer that a client takes; a million leases are about 200 MB.
ANSWER_LIMIT = 512 * 1024 * 1024
# Seconds of silence, Kea's and not configurable there (facts/kea.md §1.2).
IDLE_TIMEOUT = 10.0
# Seconds between two commands of a client that asked to keep its connection.
KEPT_IDLE_TIMEOUT = 60.0

# Answers up to this many bytes are framed by their brackets at once; longer ones are first guessed at.
_GUESS_ABOVE = 128 * 1024
_GUESSES = 4
_OPENING = (0x5B, 0x7B)

_TIMED_OUT = "Connection over control channel timed out"
_KEEP_ALIVE_LINE = re.compile(rb"//[ \t]*keep-alive[ \t]*\r?\n")
# Bytes that may be held back until it is known whether they are that line: its 13, and some blanks.
_KEEP_ALIVE_LIMIT = 32
_BLANKS = b" \t\r\n"
_ENVELOPE_KEYS = ("arguments", "command", "remote-address", "service")
_WRONG = "Error during command processing: "


class EnvelopeError(ProtocolError):
    """A message is JSON, but no command. Its text is Kea's (``facts/kea.md`` §1.5)."""


class _Envelope(msgspec.Struct, forbid_unknown_fields=True, rename={"remote_address": "remote-address"}):
    command: str
    arguments: Raw | UnsetType = UNSET
    service: Raw | UnsetType = UNSET
    remote_address: Raw | UnsetType = UNSET


class _Answer(msgspec.Struct):
    result: int
    text: str | None = None
    arguments: Raw | UnsetType = UNSET


_decode_envelope = msgspec.json.Decoder(_Envelope).decode
_decode_answer = msgspec.json.Decoder(_Answer).decode
_decode_raw = msgspec.json.Decoder(Raw).decode


class Text:
    """A command's text: says where its values stand, once somebody asks."""

    __slots__ = ("_first_line", "_name", "_text")

    def __init__(self, text: bytes, name: str, first_line: int) -> None:
        self._text = text
        self._name = name
        self._first_line = first_line

    def locate(self, path: Path) -> str:
        """Where the value at ``path`` stands, in Kea's form: ``<wire>:0:44``."""
        return kea_reader.read(self._text, name=self._name, first_line=self._first_line).locate(path)


def read_command(text: bytes, peer: Peer, *, name: str = "<wire>", first_line: int = 0) -> Command:
    """Read a whole command. ``name`` and ``first_line`` are what its error positions are told in.

    Raises:
        KeaSyntaxError: it is not JSON.
        EnvelopeError: it is JSON, but not a command.
    """
    command = _read_plain_command(text, peer, name, first_line)
    if command is not None:
        return command
    reading = kea_reader.read(text, name=name, first_line=first_line)
    envelope = reading.value
    _check_envelope(envelope)
    fields = cast("dict[str, JSON]", envelope)
    body = fields.get("arguments", UNSET)
    service = fields.get("service", UNSET)
    return Command(cast(str, fields["command"]), body, peer, _names(service), reading, service)


def _read_plain_command(text: bytes, peer: Peer, name: str, first_line: int) -> Command | None:
    """Read a command that is strict JSON and a proper envelope: nearly all are. None: look closer."""
    if text.count(b"[") + text.count(b"{") > kea_reader.NESTING_LIMIT and _is_too_deep(text):
        return None
    try:
        envelope = _decode_envelope(kea_json.mend_escapes(text))
        service: JSON | UnsetType = UNSET
        if envelope.service is not UNSET:
            service = msgspec.json.decode(envelope.service)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    body = envelope.arguments
    return Command(envelope.command, body, peer, _names(service), Text(text, name, first_line), service)


def _is_too_deep(text: bytes) -> bool:
    """Whether a text is nested beyond the limit, or is none that the framer understands."""
    try:
        return Feed(max(len(text), 1)).push(text) is None
    except FeedError:
        return True


def _names(service: JSON | UnsetType) -> tuple[str, ...]:
    """The services a command is meant for. Daemons ignore what they do not understand there (§1.5)."""
    if not isinstance(service, list):
        return ()
    return tuple(name for name in service if isinstance(name, str))


def _check_envelope(value: JSON) -> None:
    if not isinstance(value, dict):
        kind = kea_reader.type_name(value)
        raise EnvelopeError(f"invalid command: expected toplevel entry to be a map, got {kind} instead")
    if "command" not in value:
        raise EnvelopeError("invalid command: does not contain mandatory 'command'")
    for key in sorted(value):
        if key not in _ENVELOPE_KEYS:
            raise EnvelopeError(f"invalid command: unsupported parameter '{key}'")
    if not isinstance(value["command"], str):
        kind = kea_reader.type_name(value["command"])
        raise EnvelopeError(f"invalid command: expected 'command' to be a string, got {kind} instead")


def encode_command(command: Command) -> bytes:
    """Write a command as Kea writes one: its keys sorted, services only where there are some."""
    parts = [b"{ "]
    if command.body is not UNSET:
        parts += [b'"arguments": ', kea_json.encode(cast(JSON, command.body)), b", "]
    parts += [b'"command": ', kea_json.encode(command.name)]
    if command.services:
        parts += [b', "service": ', kea_json.encode(list(command.services))]
    parts.append(b" }")
    return b"".join(parts)


def encode_answer(response: Response) -> bytes:
    """Write a response as Kea writes one: ``{ "arguments": …, "result": 0, "text": … }``."""
    text = b"" if response.text is None else b', "text": ' + kea_json.encode(response.text)
    if response.arguments is UNSET:
        return b'{ "result": %d%s }' % (response.result, text)
    arguments = kea_json.encode(cast(JSON, response.arguments))
    return b'{ "arguments": %s, "result": %d%s }' % (arguments, response.result, text)


def decode_answer(data: bytes) -> Response:
    """Read a response, of real Kea or of ours.

    Raises:
        RemoteProtocolError: it is not one.
    """
    data = kea_json.mend_escapes(data)
    try:
        answer = _decode_answer(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return _decode_odd_answer(data)
    return Response(answer.result, answer.text, answer.arguments)


def _decode_odd_answer(data: bytes) -> Response:
    value = kea_json.decode(data)
    result = value.get("result") if isinstance(value, dict) else None
    if not isinstance(value, dict) or type(result) is not int:
        raise RemoteProtocolError("the answer is not a map with an integer 'result'", data)
    text = value.get("text")
    return Response(result, text if isinstance(text, str) else None, value.get("arguments", UNSET))


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
            command = _read_plain_command(data.lstrip(_BLANKS), self._peer, "<wire>", 0)
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
        command = _read_plain_command(line.lstrip(_BLANKS), self._peer, "<wire>", 0)
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
            return self._refusal(f"{_WRONG}{error}")
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


def addressed_services(command: Command) -> tuple[str, ...]:
    """The services that a command of this dialect is meant for; none means the receiver itself.

    Raises:
        EnvelopeError: ``service`` is not a list of strings; in Kea's words (``facts/kea.md`` §2.2).
    """
    if command.tag is UNSET or command.tag == []:
        return ()
    if not isinstance(command.tag, list):
        raise EnvelopeError("service value must be a list")
    for index, name in enumerate(command.tag):
        if not isinstance(name, str):
            where = command.locate(["service", index])
            raise EnvelopeError(f"{_WRONG}stringValue() called on non-string Element in ({where})")
    return command.services


def encode_forwarded(command: Command) -> bytes:
    """Write a command as an agent passes it on: as it came, with the address of who sent it."""
    arguments = b""
    body = command.body
    if isinstance(body, Raw) and b"\\u" in bytes(body):
        # Kea knows no escapes but those of single bytes; as UTF-8 it understands the same text.
        body = command.arguments
    if body is not UNSET:
        arguments = b'"arguments": %s, ' % kea_json.encode(cast(JSON, body))
    return b'{ %s"command": %s, "remote-address": %s, "service": %s }' % (
        arguments,
        kea_json.encode(command.name),
        kea_json.encode(command.peer.address),
        kea_json.encode(list(command.services)),
    )


def check_answer(data: bytes) -> bytes:
    """An answer that can be passed on inside JSON: the same bytes nearly always.

    Raises:
        RemoteProtocolError: not even Kea would understand it.
    """
    try:
        _decode_raw(data)
        if not data.isascii():
            data.decode()  # what stands inside strings was not looked at yet
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return kea_json.encode(kea_json.decode(data))
    return data


DIALECT = Dialect("kea", KeaServer, KeaClient)
