"""The ``binrpc`` dialect: Kamailio's ctl on a stream or in datagrams (``facts/kamailio.md`` §1, §2).

A connection carries any number of requests, each with a cookie that its answer repeats; answers come in the
order of the requests. What is no request is answered with a fault and ends the connection; so does nothing
else.

A response crosses by the table of results: success is a reply, everything else a fault. A list is one record
for each item, a map one struct, and where there are no arguments a text is one string.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from msgspec import UNSET, Raw

from bridle.core.errors import UnknownCommandError
from bridle.core.messages import LOCAL, Command, Event, Peer, Response
from bridle.core.results import Result, row
from bridle.wire.binrpc_client import BinrpcClient
from bridle.wire.binrpc_packets import (
    FAULT,
    MAGIC,
    MINIMUM,
    REPLY,
    REQUEST,
    REQUEST_LIMIT,
    encode_packet,
)
from bridle.wire.binrpc_parameters import Parameters
from bridle.wire.binrpc_records import (
    MORE_NEEDED,
    NO_MATCH,
    Overflow,
    encode_int,
    encode_records,
    encode_string,
)
from bridle.wire.dialect import Dialect, Message, Refusal
from bridle.wire.kamailio_settings import OPTIONS, PARTIAL_TIMEOUT, KamailioSettings, read_settings

__all__ = ["DIALECT", "BinrpcServer"]

_CORRUPTED = "bad request: corrupted packet"
_DEFAULT = KamailioSettings()
# Methods that were asked for lately, by the record that names them.
_METHODS: dict[bytes, str] = {}
_METHODS_LIMIT = 4096
_METHOD_BYTES = 64


class _BadRequest(Exception):
    """What is no request."""


class BinrpcServer:
    """The server's side of one stream."""

    def __init__(self, peer: Peer = LOCAL, settings: KamailioSettings = _DEFAULT) -> None:
        self._peer = peer
        self._settings = settings
        self._autoconversion = settings.autoconversion
        self._held = bytearray()
        self._needed = MINIMUM
        self.closing: bool = False
        self.trailing: bool = False

    @property
    def idle_timeout(self) -> float | None:
        """Seconds of silence to bear: without end between two requests, unless that is set."""
        if self._held:
            return PARTIAL_TIMEOUT
        return self._settings.idle_timeout

    def receive(self, data: bytes) -> Sequence[Message]:
        """Take bytes; give the requests they complete."""
        if self.closing:
            self.trailing = True
            return ()
        held = self._held
        if held:
            held += data
            if len(held) < self._needed:
                return ()
            data = bytes(held)
            held.clear()
        messages: list[Message] = []
        position = 0
        end = len(data)
        while end - position >= MINIMUM:
            if data[position + 1] == 0 and data[position] == MAGIC:
                command = self._usual(data, position, end)
                if command is not None:
                    messages.append(command)
                    position += 4 + data[position + 2]
                    continue
            try:
                after, message = self._next(data, position, end)
            except _BadRequest as error:
                return (*messages, self._refusal(str(error), 0))
            if message is None:
                self._needed = after - position
                break
            messages.append(message)
            position = after
            if self.closing:
                return messages
        else:
            self._needed = MINIMUM
        if position < end:
            held += memoryview(data)[position:]
        return messages

    def _usual(self, data: bytes, position: int, end: int) -> Command | None:
        """A request as most are: short, whole, of a method that was asked for before."""
        body = position + 4
        after = body + data[position + 2]
        if after - body < 3 or after > end:
            return None
        head = data[body]
        start = body + 2 + data[body + 1] if head == 0x91 else body + 1 + (head >> 4)
        name = _METHODS.get(data[body:start])
        if name is None or start > after:
            return None
        arguments = Parameters(data, start, after, self._autoconversion)
        return Command(name, arguments, self._peer, (), None, data[position + 3], size=after - position)

    def _next(self, data: bytes, position: int, end: int) -> tuple[int, Message | None]:
        """One request, and where it ends; None: where it would."""
        head = data[position + 1]
        kind = head >> 4
        if data[position] != MAGIC or kind not in (REQUEST, REPLY, FAULT):
            raise _BadRequest(_CORRUPTED)
        sizes = head & 0x0F
        if sizes == 0:
            size, cookie = data[position + 2], data[position + 3]
            body = position + 4
        else:
            lengths = position + 3 + (sizes >> 2)
            body = lengths + (sizes & 3) + 1
            if body > end:
                return body, None
            size = int.from_bytes(data[position + 2 : lengths], "big")
            cookie = int.from_bytes(data[lengths:body], "big")
            if size > REQUEST_LIMIT:
                text = f"bad request: {size} bytes, and at most {REQUEST_LIMIT} are taken"
                return end, self._refusal(text, cookie)
        after = body + size
        if after > end:
            return after, None
        if kind != REQUEST:
            return after, self._refusal(_CORRUPTED, cookie)
        return after, self._request(data, position, body, after, cookie)

    def _request(self, data: bytes, position: int, body: int, after: int, cookie: int) -> Message:
        start = body + 1
        if body < after:
            head = data[body]
            size = head >> 4
            if head & 0x80:
                start += size & 7
                size = int.from_bytes(data[body + 1 : start], "big")
            start += size
            if head & 0x0F != 1 or start > after:
                reason = NO_MATCH if head & 0x0F != 1 else MORE_NEEDED
                return self._refusal(f"bad request method: {reason}", cookie)
        else:
            return self._refusal("bad request method: end of packet encountered", cookie)
        record = data[body:start]
        name = _METHODS.get(record)
        if name is None:
            name = _method(record, start - size - body)
        arguments = Parameters(data, start, after, self._autoconversion)
        return Command(name, arguments, self._peer, (), None, cookie, size=after - position)

    def _refusal(self, text: str, cookie: int) -> Refusal:
        # Whoever sends what is no request may be sending more of it.
        self.closing = self.trailing = True
        return Refusal(_fault(400, text, cookie))

    def receive_eof(self) -> Sequence[Message]:
        """The client sends no more; a request that is not whole is dropped without a word, as Kamailio
        does."""
        self._held.clear()
        return ()

    def expire(self) -> bytes:
        """End a silent conversation: with a fault where a request was begun."""
        self.closing = True
        if not self._held:
            return b""
        return _fault(400, f"bad request: {len(self._held)} bytes, and no more in time", 0)

    def respond(self, command: Command, response: Response) -> bytes:
        """Write an answer."""
        cookie: int = command.tag  # type: ignore[assignment]
        if response.result != Result.SUCCESS:
            return _fault_of(response, cookie)
        value = response.arguments
        try:
            if type(value) is list:
                settings = self._settings
                body = encode_records(value, settings.body_limit, settings.struct_limit)
            else:
                body = _reply(response, self._settings)
        except Overflow as error:
            text = f"Internal server error processing '{error.kind}': buffer too small (overflow) (-2)"
            return _fault(500, text, cookie)
        size = len(body)
        if size < 256 and cookie < 256:
            return bytes((MAGIC, REPLY << 4, size, cookie)) + body
        return encode_packet(REPLY, cookie, body)

    def refuse(self, text: str) -> bytes:
        """A fault without a request, and the end."""
        self.closing = True
        return _fault(500, text, 0)

    def notify(self, event: Event) -> bytes:
        """Kamailio's ctl has no form for events."""
        return b""


class BinrpcDatagram(BinrpcServer):
    """The server's side of one datagram: one request; what is cut off gets no answer, what follows it is
    ignored."""

    def receive(self, data: bytes) -> Sequence[Message]:
        """Take the datagram."""
        if len(data) < MINIMUM:
            return ()
        try:
            _, message = self._next(data, 0, len(data))
        except _BadRequest as error:
            message = self._refusal(str(error), 0)
        return () if message is None else (message,)


def _method(record: bytes, start: int) -> str:
    """The name in a method's record, remembered for the next time. It ends at a NUL, as in C."""
    name = record[start:].partition(b"\0")[0].decode("utf-8", "surrogateescape")
    if len(record) <= _METHOD_BYTES:
        if len(_METHODS) == _METHODS_LIMIT:
            _METHODS.clear()  # somebody is trying names; the few that are used are soon there again
        _METHODS[record] = name
    return name


def _reply(response: Response, settings: KamailioSettings) -> bytes:
    value: object = response.arguments
    if value is UNSET:
        return encode_string(response.text) if response.text else b""
    if type(value) is Raw:
        value = response.value
    if value is None:
        return b""
    values = value if type(value) is list else (value,)
    return encode_records(values, settings.body_limit, settings.struct_limit)


def _fault_of(response: Response, cookie: int) -> bytes:
    if isinstance(response.error, UnknownCommandError):
        return _fault(500, f"command {response.error.name} not found", cookie)
    code = response.code
    if code is None:
        code = row(response.result).fault
    return _fault(400 if code is None else code, response.text or "", cookie)


def _fault(code: int, text: str, cookie: int) -> bytes:
    return encode_packet(FAULT, cookie, encode_int(code) + encode_string(text))


def _configure(options: Mapping[str, str]) -> Dialect:
    settings = read_settings(options)
    return DIALECT._replace(
        server=lambda peer: BinrpcServer(peer, settings),
        datagram=lambda peer: BinrpcDatagram(peer, settings),
    )


DIALECT = Dialect(
    "binrpc",
    ("unix", "unixd", "tcp", "udp"),
    BinrpcServer,
    BinrpcClient,
    datagram=BinrpcDatagram,
    options=OPTIONS,
    configure=_configure,
    pipelining=True,
)
