"""libqb's IPC as it stands in memory and on the wire: handshake, messages, rings, control page.

A client connects to a stream socket and says how large its messages are (:func:`encode_request`); the server
answers with the transport and the names of what messages travel in (:class:`ConnectionResponse`). From then
on whole messages travel, each with libqb's header in front of it (:func:`check_message`), in one of two ways:

*Shared memory.* Each of the three channels (requests, responses, events) is a ring: a file with its state
(``RING_*``) and one with 32-bit words in which chunks follow each other. A chunk is its size in bytes, a
mark, and the message. A semaphore in the state counts the messages in the ring.

*Sockets.* A message is a datagram. A page that both sides map (``CONTROL_*``) holds the flow control.

All numbers are those of the machine. Source: facts/pacemaker.md §1.
"""

from __future__ import annotations

import enum
import struct

from msgspec import Struct

from bridle.core.errors import RemoteProtocolError

__all__ = [
    "AUTHENTICATE",
    "CHANNELS",
    "CHUNK_HEAD",
    "CONTROL_BYTES",
    "CONTROL_FLOW",
    "DEFAULT_MESSAGE",
    "DISCONNECT",
    "HEADER_BYTES",
    "MARK_CONSUMED",
    "MARK_READY",
    "MARK_WRITING",
    "MESSAGE_LIMIT",
    "PATH_BYTES",
    "REQUEST_BYTES",
    "RESPONSE_BYTES",
    "RING_DATA_PATH",
    "RING_FLOW",
    "RING_HEADER_PATH",
    "RING_READ",
    "RING_REFERENCES",
    "RING_SEMAPHORE",
    "RING_SHARING",
    "RING_SIZE",
    "RING_WRITE",
    "SHARED",
    "SMALLEST_MESSAGE",
    "Channel",
    "ConnectionResponse",
    "Transport",
    "check_message",
    "decode_path",
    "decode_request",
    "decode_response",
    "encode_path",
    "encode_request",
    "encode_response",
    "free_bytes",
    "ring_bytes",
    "state_bytes",
]

# The ids of libqb's own messages.
AUTHENTICATE = -1
DISCONNECT = -3

PATH_BYTES = 4096
"""The room for a name, its NUL included: PATH_MAX."""

DEFAULT_MESSAGE = 128 * 1024
"""Bytes of the largest message, libqb's header included, unless more are agreed on: Pacemaker's own."""

MESSAGE_LIMIT = 16 * 1024 * 1024
"""Bytes that a client may ask for: three times what any Pacemaker client does (5 MiB, the scheduler's). It
gets three rings of that size, and libqb would let it have 4 GiB each."""

_REQUEST = struct.Struct("=i4xi4xI4x")
_RESPONSE = struct.Struct(f"=i4xi4xi4xiIQ{PATH_BYTES}s{PATH_BYTES}s{PATH_BYTES}s")

REQUEST_BYTES = _REQUEST.size
RESPONSE_BYTES = _RESPONSE.size

SMALLEST_MESSAGE = RESPONSE_BYTES
"""Bytes that a client asks for at least: what it is answered with has to fit."""

# A message begins with its id and its size, each in eight bytes; a response has an error number after these.
HEADER_BYTES = 16
_HEADER = struct.Struct("=i4xi4x")

# A ring's state: places of its 32-bit words, of its paths and of its semaphore, in bytes.
RING_WRITE = 0
RING_READ = 4
RING_SIZE = 8
RING_HEADER_PATH = 12
RING_DATA_PATH = 4108
RING_REFERENCES = 8204
RING_SEMAPHORE = 8208
RING_SHARING = 8216
RING_FLOW = 8240
_STATE_BYTES = 8248
_FLOW_BYTES = 4

SHARED = 0x80
"""What glibc writes into a semaphore that processes share; with anything else there, it may abort the
process."""

# What stands behind the size of a chunk.
MARK_READY = 0xA1A1A1A1
MARK_WRITING = 0xA110CED0
MARK_CONSUMED = 0xD0D0D0D0

CHUNK_HEAD = 8
"""Bytes of a chunk before the message: its size and its mark."""

# The bytes that libqb keeps free beyond a message.
_MARGIN = 12

# For each channel the number of messages under way and the flow control; only the latter matters.
CONTROL_BYTES = 24
CONTROL_FLOW = 4


class Transport(enum.IntEnum):
    """What messages travel in; the server decides."""

    SOCKET = 0
    SHM = 1


class Channel(enum.Enum):
    """A direction and a purpose. The value is the channel's name in the names of files and sockets."""

    REQUEST = "request"
    RESPONSE = "response"
    EVENT = "event"


CHANNELS = (Channel.REQUEST, Channel.RESPONSE, Channel.EVENT)


class ConnectionResponse(Struct, frozen=True):
    """What a server answers a client that connects.

    ``error`` is an errno (0: welcome). ``request``, ``response`` and ``event`` are names: with shared memory
    each is that of a channel's files without their endings; with sockets the first is the control page's
    path, the second what the names of all four sockets begin with.
    """

    error: int = 0
    transport: int = Transport.SHM
    max_message: int = 0
    request: str = ""
    response: str = ""
    event: str = ""
    cookie: int = 0


def encode_request(max_message: int) -> bytes:
    """A client's first words: the bytes of the largest message that it will send or take."""
    return _REQUEST.pack(AUTHENTICATE, REQUEST_BYTES, max_message)


def decode_request(data: bytes) -> int:
    """The bytes of the largest message that a client wants.

    Raises:
        RemoteProtocolError: this is no client of libqb's.
    """
    if len(data) != REQUEST_BYTES:
        raise RemoteProtocolError(f"a connection request has {REQUEST_BYTES} bytes, not {len(data)}", data)
    number, size, max_message = _REQUEST.unpack(data)
    if number != AUTHENTICATE or size != REQUEST_BYTES:
        raise RemoteProtocolError(f"no connection request: id {number}, size {size}", data)
    return int(max_message)


def encode_response(response: ConnectionResponse) -> bytes:
    """A server's answer.

    Raises:
        ValueError: a name is too long.
    """
    names = [encode_path(name) for name in (response.request, response.response, response.event)]
    return _RESPONSE.pack(
        AUTHENTICATE,
        RESPONSE_BYTES,
        -response.error,
        response.transport,
        response.max_message,
        response.cookie,
        *names,
    )


def decode_response(data: bytes) -> ConnectionResponse:
    """Read a server's answer. Whether its transport is known is not looked at where it is a refusal.

    Raises:
        RemoteProtocolError: this is no server of libqb's.
    """
    if len(data) != RESPONSE_BYTES:
        raise RemoteProtocolError(f"a connection response has {RESPONSE_BYTES} bytes, not {len(data)}", data)
    number, size, error, transport, max_message, cookie, *names = _RESPONSE.unpack(data)
    if number != AUTHENTICATE or size != RESPONSE_BYTES or error > 0:
        raise RemoteProtocolError(f"no connection response: id {number}, size {size}, error {error}", data)
    if error:
        return ConnectionResponse(-error, transport, max_message)
    if transport not in (Transport.SOCKET, Transport.SHM):
        raise RemoteProtocolError(f"connection response: unknown transport {transport}", data)
    if not SMALLEST_MESSAGE <= max_message <= MESSAGE_LIMIT:
        raise RemoteProtocolError(f"connection response: messages of {max_message} bytes", data)
    request, response, event = (decode_path(name) for name in names)
    return ConnectionResponse(0, transport, max_message, request, response, event, cookie)


def encode_path(path: str) -> bytes:
    """A name with a NUL behind it.

    Raises:
        ValueError: it is too long, or has a NUL in it.
    """
    data = path.encode("utf-8", "surrogateescape")
    if len(data) >= PATH_BYTES or b"\0" in data:
        raise ValueError(f"{path!r} is no path of at most {PATH_BYTES - 1} bytes")
    return data.ljust(PATH_BYTES, b"\0")


def decode_path(data: bytes) -> str:
    """The name before the NUL.

    Raises:
        RemoteProtocolError: there is no NUL.
    """
    name, nul, _ = data.partition(b"\0")
    if not nul:
        raise RemoteProtocolError("a name without an end", data)
    return name.decode("utf-8", "surrogateescape")


def check_message(data: bytes) -> int:
    """See that a message is as long as its header says, and give its id.

    Raises:
        RemoteProtocolError: it is not.
    """
    if len(data) < HEADER_BYTES:
        raise RemoteProtocolError(f"a message of {len(data)} bytes has no header", data)
    number, size = _HEADER.unpack_from(data)
    if size != len(data):
        raise RemoteProtocolError(f"a message of {len(data)} bytes that calls itself {size} bytes long", data)
    return int(number)


def ring_bytes(max_message: int, page: int) -> int:
    """Bytes of the data file of a ring for such messages: whole pages, each of ``page`` bytes."""
    return -(-(max_message + _MARGIN + 1) // page) * page


def state_bytes(channel: Channel) -> int:
    """Bytes of the file with a ring's state: only requests have flow control."""
    return _STATE_BYTES + (_FLOW_BYTES if channel is Channel.REQUEST else 0)


def free_bytes(write: int, read: int, words: int, waiting: int) -> int:
    """Bytes of the largest message that fits into a ring of so many words.

    ``write`` and ``read`` are the ring's places, ``waiting`` the value of its semaphore. Negative: none does.
    """
    if write > read:
        return (read - write + words - 1) * 4 - _MARGIN
    if write < read:
        return (read - write - 1) * 4 - _MARGIN
    return (0 if waiting else words) * 4 - _MARGIN
