"""The client's side of the ``binrpc`` dialect: requests with cookies, and the answers that repeat them."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import cast

from msgspec import UNSET

from bridle.core.errors import RemoteProtocolError
from bridle.core.messages import JSON, Command, Response
from bridle.core.results import from_fault
from bridle.wire.binrpc_packets import FAULT, REPLY, REQUEST, Packet, PacketReader, encode_packet
from bridle.wire.binrpc_records import (
    RecordError,
    Value,
    decode_records,
    encode_records,
    encode_string,
    json_of,
)

__all__ = ["BinrpcClient", "decode_fault", "encode_request"]


def encode_request(cookie: int, method: str, values: Sequence[object]) -> bytes:
    """Write a request."""
    return encode_packet(REQUEST, cookie, encode_string(method) + encode_records(values))


class BinrpcClient:
    """The client's side of one stream, or of one datagram socket."""

    def __init__(self, keep: bool = False) -> None:
        self._reader = PacketReader()
        self._asked: deque[tuple[int, str]] = deque()
        self._cookie = 0
        self._ended = False

    @property
    def reusable(self) -> bool:
        """True while no answer is outstanding, or half there."""
        return not (self._ended or self._asked) and self._reader.empty

    def request(self, command: Command) -> bytes:
        """Write a request."""
        self._cookie = (self._cookie + 1) & 0xFFFFFFFF or 1
        self._asked.append((self._cookie, command.name))
        value = command.arguments
        values = () if value is UNSET else value if isinstance(value, list) else (value,)
        return encode_packet(
            REQUEST,
            self._cookie,
            encode_string(command.name) + encode_records(cast("Sequence[object]", values)),
        )

    def receive(self, data: bytes) -> Sequence[Response]:
        """Take bytes; give the answers they complete."""
        return [self._answer(packet) for packet in self._reader.receive(data)]

    def _answer(self, packet: Packet) -> Response:
        if not self._asked:
            raise RemoteProtocolError("an answer came that nobody asked for")
        cookie, name = self._asked.popleft()
        if packet.kind not in (REPLY, FAULT):
            raise RemoteProtocolError(f"not a reply: a packet of type {packet.kind}")
        if packet.cookie != cookie:
            # A server that cannot tell the cookie of what it refuses says 0, and closes.
            self._ended = True
            if packet.kind != FAULT or packet.cookie:
                text = f"bad reply, cookie doesn't match: sent {cookie:x} and received {packet.cookie:x}"
                raise RemoteProtocolError(text)
        try:
            values = decode_records(packet.body, errors="replace")
        except RecordError as error:
            text = f"the answer's record at byte {error.position} cannot be read: {error.reason}"
            raise RemoteProtocolError(text, packet.body[error.position : error.position + 16]) from error
        if packet.kind == FAULT:
            return decode_fault(values, name)
        if not values:
            return Response()
        found = [json_of(value) for value in values]
        return Response(arguments=cast(JSON, found[0] if len(found) == 1 else found))

    def receive_eof(self) -> Sequence[Response]:
        """The server has closed.

        Raises:
            RemoteProtocolError: in the middle of an answer.
        """
        self._ended = True
        if not self._reader.empty:
            raise RemoteProtocolError("End of file")
        return ()


def decode_fault(values: Sequence[Value], name: str) -> Response:
    """The response that a fault's records are, to a request of this method."""
    code, text = (*values, None, None)[:2]
    if not isinstance(code, int):
        raise RemoteProtocolError("a fault without a code")
    text = text if isinstance(text, str) else ""
    result = from_fault(code, unknown_method=text == f"command {name} not found")
    return Response(result, text, code=code)
