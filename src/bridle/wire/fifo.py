"""The ``fifo`` dialect: Kamailio's text protocol, on a FIFO, in datagrams or on a stream.

::

    :METHOD:[REPLY-FIFO]        200 OK
    first parameter             first value
    second parameter            second value
    (an empty line)

It is what Kamailio's source means to do (``facts/kamailio.md`` §3); the program itself answers with freed
memory. Parameters have no types: they are read by what the handler takes. Answers have no end: on a stream,
who wants to know says that no more requests come.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import cast

from msgspec import UNSET, Raw, UnsetType

from bridle.core.errors import ArgumentError, RemoteProtocolError, UnknownCommandError
from bridle.core.messages import (
    JSON,
    LOCAL,
    Command,
    Event,
    Expected,
    Kind,
    Peer,
    Response,
    ScannedArguments,
)
from bridle.core.results import Result, from_fault, row
from bridle.wire.dialect import Dialect, Message, Refusal
from bridle.wire.fifo_text import (
    EscapeError,
    escape_parameter,
    format_struct,
    format_value,
    parse_struct,
    unescape,
)
from bridle.wire.kamailio_settings import OPTIONS, PARTIAL_TIMEOUT, KamailioSettings, read_settings

__all__ = ["DIALECT", "REQUEST_LIMIT", "FifoClient", "FifoServer"]

# Bytes of one request: Kamailio's figure.
REQUEST_LIMIT = 65535
# Bytes of an answer that a client takes.
ANSWER_LIMIT = 512 * 1024 * 1024
# Seconds between two requests on a stream: who does not say that there are no more cannot know that an
# answer has ended, and mostly is not there any more.
IDLE_TIMEOUT = 120.0

_OK = "200 OK\n"
_END = re.compile(rb"\r?\n\r?\n")
_FIRST_LINE = re.compile(r":([^:]*):([^:]*)")
_STATUS = re.compile(r"([0-9]+) ([^\n]*)(?:\n|$)")
_WHOLE = re.compile(r"\s*([+-]?)(0[xX][0-9a-fA-F]+|0[0-7]*|[1-9][0-9]*)")
_DEFAULT = KamailioSettings(idle_timeout=IDLE_TIMEOUT)


class _Lines(ScannedArguments):
    """The lines behind the first."""

    lines: list[str]

    def scan(self, expected: Expected) -> JSON:
        """One line for each kind, the rest ignored. A struct alone whose names the handler knows is named
        arguments. A string that is missing is empty: an empty line could not be told from the end."""
        lines = self.lines
        named = self._named(expected)
        if named is not None:
            return named
        count = len(lines) if expected.rest is not None else min(len(lines), len(expected.kinds))
        values = [_read(lines[index], expected.kind(index), index + 2) for index in range(count)]
        for index in range(count, expected.required):
            if expected.kinds[index] != "str":
                raise _invalid(index + 2)
            values.append("")
        return values

    def _named(self, expected: Expected) -> JSON:
        if len(self.lines) != 1 or ":" not in self.lines[0]:
            return None
        pairs = _struct(self.lines[0])
        if pairs is None or not all(name in expected.named for name, _ in pairs):
            return None
        return {name: _read_text(text, expected.named[name], 2) for name, text in pairs}

    def unscanned(self) -> JSON | UnsetType:
        """The lines as strings; a struct alone as a map."""
        lines = self.lines
        if not lines:
            return UNSET
        pairs = _struct(lines[0]) if len(lines) == 1 and ":" in lines[0] else None
        if pairs is not None:
            return dict(pairs)
        return [_read(line, "str", index + 2) for index, line in enumerate(lines)]


def _struct(line: str) -> list[tuple[str, str]] | None:
    try:
        return parse_struct(line, request=True)
    except EscapeError:
        return None


def _read(line: str, kind: Kind, number: int) -> JSON:
    try:
        return _read_text(unescape(line, request=True), kind, number)
    except EscapeError as error:
        raise ArgumentError(f"{error} on line {number}") from error


def _read_text(text: str, kind: Kind, number: int) -> JSON:
    if kind in ("str", "scalar", "any"):
        return text
    if kind == "float":
        try:
            return float(text)
        except ValueError as error:
            raise _invalid(number) from error
    whole = _WHOLE.fullmatch(text)
    if whole is None:
        raise _invalid(number)
    digits = whole[2]
    octal = len(digits) > 1 and digits[0] == "0" and digits[1] not in "xX"
    value = int(digits, 8 if octal else 0)
    return value != 0 if kind == "bool" else -value if whole[1] == "-" else value


def _invalid(number: int) -> ArgumentError:
    return ArgumentError(
        f"Invalid parameter value on line {number}", argument=str(number - 2), path=("arguments", number - 2)
    )


class FifoServer:
    """The server's side of one stream, a FIFO's among them."""

    trailing: bool = False

    def __init__(self, peer: Peer = LOCAL, settings: KamailioSettings = _DEFAULT) -> None:
        self._peer = peer
        self._idle_timeout = settings.idle_timeout
        self._held = b""
        self.closing: bool = False

    @property
    def idle_timeout(self) -> float | None:
        """Seconds of silence to bear."""
        return PARTIAL_TIMEOUT if self._held else self._idle_timeout

    def receive(self, data: bytes) -> Sequence[Message]:
        """Take bytes; give the requests they complete."""
        if self.closing:
            self.trailing = True
            return ()
        known = max(len(self._held) - 3, 0)
        held = self._held + data
        messages: list[Message] = []
        while True:
            if known == 0 and held[:1] in (b"\n", b"\r"):
                held = held.lstrip(b"\r\n")
            end = _END.search(held, known)
            if end is None:
                break
            messages.append(self._request(held[: end.start()]))
            held, known = held[end.end() :], 0
        self._held = held
        if len(held) > REQUEST_LIMIT:
            self._held = b""
            messages.append(self._refusal(f"400 Request too long: at most {REQUEST_LIMIT} bytes are taken"))
            self.closing = self.trailing = True
        return messages

    def _request(self, text: bytes) -> Message:
        if len(text) > REQUEST_LIMIT:
            return self._refusal(f"400 Request too long: at most {REQUEST_LIMIT} bytes are taken")
        try:
            first, *lines = text.decode().replace("\r\n", "\n").split("\n")
        except UnicodeDecodeError:
            return self._refusal("400 Malformed command: it is not UTF-8")
        command = _FIRST_LINE.fullmatch(first)
        if command is None:
            return self._refusal("400 Malformed command: expected :METHOD:[REPLY-FIFO]")
        name, reply = command.groups()
        return Command(name, _Lines(lines), self._peer, (), None, reply, size=len(text))

    def _refusal(self, text: str) -> Refusal:
        return Refusal(f"{text}\n".encode())

    def receive_eof(self) -> Sequence[Message]:
        """The client sends no more; a request that is not whole is dropped."""
        self._held = b""
        return ()

    def expire(self) -> bytes:
        """End a silent conversation."""
        self.closing = True
        return b"400 Request not ended in time\n" if self._held else b""

    def respond(self, command: Command, response: Response) -> bytes:
        """Write an answer."""
        if response.result != Result.SUCCESS:
            return _fault_of(response).encode("utf-8", "replace")
        value: object = response.arguments
        if type(value) is Raw:
            value = response.value
        if value is UNSET:
            value = [response.text] if response.text else []
        values = value if isinstance(value, list) else [] if value is None else [value]
        lines = [format_value(one) for one in values if one != {}]
        return "".join((_OK, *(f"{line}\n" for line in lines))).encode("utf-8", "replace")

    def refuse(self, text: str) -> bytes:
        """An error without a request, and the end."""
        self.closing = True
        return f"500 {format_value(text)}\n".encode()

    def notify(self, event: Event) -> bytes:
        """The protocol has no form for events."""
        return b""


class FifoDatagram(FifoServer):
    """The server's side of one datagram: one request; one without its end gets no answer."""

    def receive(self, data: bytes) -> Sequence[Message]:
        """Take the datagram."""
        end = _END.search(data)
        return (self._request(data[: end.start()]),) if end else ()


def _fault_of(response: Response) -> str:
    if isinstance(response.error, UnknownCommandError):
        return f"500 Command '{format_value(response.error.name)}' not found\n"
    code = response.code
    if code is None:
        code = row(response.result).fault
    return f"{400 if code is None else code} {format_value(response.text or '')}\n"


class FifoClient:
    """The client's side: one request; the answer ends where the server's bytes end.

    ``reply`` names the FIFO that the answer is to come by. Values are text, each line one; a struct is its
    line, which :func:`~bridle.wire.fifo_text.parse_struct` reads.
    """

    reusable: bool = False

    def __init__(self, keep: bool = False, reply: str = "") -> None:
        self._reply = reply
        self._name = ""
        self._answer = bytearray()

    def request(self, command: Command) -> bytes:
        """Write a request."""
        self._name = command.name
        value = command.arguments
        values = [] if value is UNSET else value if isinstance(value, list) else [value]
        lines = "".join(f"{_parameter(one)}\n" for one in values)
        return f":{command.name}:{self._reply}\n{lines}\n".encode()

    def receive(self, data: bytes) -> Sequence[Response]:
        """Take bytes; the answer is complete only with their end."""
        self._answer += data
        if len(self._answer) > ANSWER_LIMIT:
            raise RemoteProtocolError(f"the answer is too large: more than {ANSWER_LIMIT} bytes")
        return ()

    def receive_eof(self) -> Sequence[Response]:
        """The server sends no more: what came is the answer.

        Raises:
            RemoteProtocolError: it is none.
        """
        text = self._answer.decode("utf-8", "replace")
        status = _STATUS.match(text)
        if status is None:
            raise RemoteProtocolError("the answer does not begin with a code", bytes(self._answer[:100]))
        code, reason = int(status[1]), unescape(status[2])
        if code != 200:
            unknown = reason == f"Command '{self._name}' not found"
            return [Response(from_fault(code, unknown_method=unknown), reason, code=code)]
        body = text[status.end() :]
        values = [unescape(line) for line in body.removesuffix("\n").split("\n")] if body else []
        if not values:
            return [Response()]
        return [Response(arguments=cast(JSON, values[0] if len(values) == 1 else values))]


def _parameter(value: object) -> str:
    if isinstance(value, dict):
        return format_struct(value, request=True)
    if isinstance(value, str):
        return escape_parameter(value)
    return format_value(value)


def _configure(options: Mapping[str, str]) -> Dialect:
    settings = read_settings({"idle-timeout": str(int(IDLE_TIMEOUT)), **options})
    return DIALECT._replace(
        server=lambda peer: FifoServer(peer, settings),
        datagram=lambda peer: FifoDatagram(peer, settings),
    )


DIALECT = Dialect(
    "fifo",
    ("fifo", "unix", "unixd", "tcp", "udp"),
    FifoServer,
    FifoClient,
    datagram=FifoDatagram,
    options=OPTIONS,
    configure=_configure,
    delimited=False,
)
