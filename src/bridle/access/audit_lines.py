"""The lines of an audit: what stands in them, and how each is chained to the one before.

A line is a JSON object, ``{"n":17,"time":"2026-11-25T18:11:12.123456Z",…,"digest":"…"}``. ``n`` counts lines
without a gap, across files. ``digest`` is BLAKE2b (RFC 7693, 32 bytes) over the digest of the line before and
all bytes of this line up to ``,"digest"``; with a key it is BLAKE2b's keyed mode, which is a MAC. So no line
can be changed, left out or moved without the digest of it or of the next one being wrong; without the key
nobody can make new ones that are right. The first line of a file is a ``start`` that repeats in ``previous``
the digest that it continues.
"""

from __future__ import annotations

import re
import time
from binascii import hexlify
from collections.abc import Callable, Sequence
from hashlib import blake2b
from typing import TypeAlias

import msgspec
from msgspec import UNSET, UnsetType

from bridle.core.messages import JSON, Command, Peer

__all__ = [
    "ARGUMENTS_LIMIT",
    "GENESIS",
    "Composer",
    "Entry",
    "Line",
    "Link",
    "Redactor",
    "chained",
    "encode",
    "read_link",
    "write_time",
]

DIGEST_BYTES = 32
_SECOND = 1_000_000_000
# What the first line of all continues.
GENESIS = bytes(DIGEST_BYTES)
# Bytes of a line's arguments, as JSON. Longer ones are left out, and the line says how long they were: a
# config-set of megabytes would push everything else out of the files that are kept.
ARGUMENTS_LIMIT = 64 * 1024
# Origins that are remembered: of so many peers times the commands that they send.
ORIGINS = 4096
# Undecoded arguments of more than so many times the limit are not even looked at.
_LOOK = 4
# Characters of a command's name and its services: what a peer may make up is no reason for long lines.
TEXT_LIMIT = 256

_TAIL = re.compile(rb'\A\{"n":([1-9][0-9]{0,17}),.*(,"digest":"([0-9a-f]{64})"\})\Z', re.DOTALL)

_encode = msgspec.json.Encoder().encode

Redactor = Callable[[Command], "JSON | UnsetType"]
"""Gives the arguments of a command as they may be written, without secrets; UNSET where there are none."""


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """What a line says, for those who read it.

    ``event`` is ``command``; ``intent`` of a line that is written before a command is done; ``start``,
    ``opened`` and ``gap`` of the audit's own. ``duration`` is in microseconds. ``arguments`` are redacted;
    ``omitted`` is their length in bytes where they were too long. ``reason`` is why the command was not let
    through. The answer's text is left out: it may repeat what the redaction took out of the arguments.
    """

    n: int
    time: str
    event: str = "command"
    command: str = ""
    access: str = ""
    service: str = ""
    transport: str = ""
    address: str = ""
    pid: int | None = None
    uid: int | None = None
    gid: int | None = None
    tls_subject: str | None = None
    user: str | None = None
    role: str | None = None
    arguments: JSON = None
    omitted: int = 0
    result: int | None = None
    duration: int | None = None
    request: str | None = None
    reason: str | None = None


class Origin(msgspec.Struct, frozen=True, omit_defaults=True):
    """The part of a line that is the same for all commands of a name that a peer sends."""

    command: str
    access: str = ""
    service: str = ""
    transport: str = ""
    address: str = ""
    pid: int | None = None
    uid: int | None = None
    gid: int | None = None
    tls_subject: str | None = None
    user: str | None = None
    role: str | None = None


Line: TypeAlias = "tuple[int, bytes, bytes, int, float, str, str]"
"""A line as it waits to be written: when, in nanoseconds; its origin and its arguments as JSON; the result,
-1 of an intent; the duration in seconds; the request's id and the reason, empty where there is none.

A plain tuple, as one is made for every command."""


def write_time(when: int) -> str:
    """A time in nanoseconds since 1970 as it is written, such as ``2026-11-25T18:11:12.123456Z``: UTC, in
    microseconds."""
    second, rest = divmod(when, _SECOND)
    return f"{_write_second(second).decode()}.{rest // 1000:06d}Z"


def _write_second(second: int) -> bytes:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second)).encode()


class Composer:
    """Makes the parts of lines. What costs time is done later, in :func:`chained`, beside the event loop."""

    def __init__(self, redact: Redactor, limit: int = ARGUMENTS_LIMIT) -> None:
        self._redact = redact
        self._limit = limit
        self._origins: dict[tuple[object, ...], bytes] = {}

    def origin(self, command: Command, access: str, peer: Peer) -> bytes:
        """The part of a line that is the same for all commands of a name that a peer sends."""
        key = (command.name, access, command.services, peer)
        origin = self._origins.get(key)
        return self._origin(key, command, access, peer) if origin is None else origin

    def _origin(self, key: tuple[object, ...], command: Command, access: str, peer: Peer) -> bytes:
        origin = Origin(
            command.name[:TEXT_LIMIT],
            access,
            ",".join(command.services)[:TEXT_LIMIT],
            peer.transport,
            peer.address,
            peer.pid,
            peer.uid,
            peer.gid,
            peer.tls_subject,
            peer.user,
            peer.role,
        )
        written = _written(origin)[1:-1]
        if len(self._origins) >= ORIGINS:
            self._origins.clear()
        if len(command.name) <= TEXT_LIMIT:
            self._origins[key] = written
        return written

    def arguments(self, command: Command) -> bytes:
        """A command's arguments, redacted; or how long they are."""
        body = command.body
        if body is UNSET:
            return b""
        if isinstance(body, msgspec.Raw) and len(bytes(body)) > _LOOK * self._limit:
            return b',"omitted":%d' % len(bytes(body))
        try:
            arguments = self._redact(command)
            if arguments is UNSET:
                return b""
            written = _written(arguments)
        except Exception:  # what cannot be read is answered with an error, and the line has that
            return b""
        if len(written) > self._limit:
            return b',"omitted":%d' % len(written)
        return b',"arguments":%b' % written


def encode(facts: dict[str, JSON]) -> bytes:
    """A line of the audit's own, as :func:`chained` takes it."""
    return _written(facts)


def _written(value: object) -> bytes:
    try:
        return _encode(value)
    except UnicodeEncodeError:
        # Lone surrogates, from dialects whose strings are bytes: readable, if not the same.
        return _encode(_encodable(value))


def _encodable(value: object) -> object:
    if isinstance(value, str):
        return value.encode("utf-8", "backslashreplace").decode()
    if isinstance(value, dict):
        return {_encodable(key): _encodable(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_encodable(item) for item in value]
    if isinstance(value, Origin):
        return msgspec.structs.replace(
            value, **{name: _encodable(getattr(value, name)) for name in value.__struct_fields__}
        )
    return value


def _rest(request: str, reason: str) -> bytes:
    rest = b',"request":%b' % _written(request[:TEXT_LIMIT]) if request else b""
    return b'%b,"reason":%b' % (rest, _written(reason[:TEXT_LIMIT])) if reason else rest


def chained(lines: Sequence[Line | bytes], number: int, digest: bytes, key: bytes) -> tuple[bytes, bytes]:
    """Lines as they are written, and the digest of the last; the first follows the one of that ``number`` and
    ``digest``. Those that are bytes come of :func:`encode`."""
    # One is made for every command, in a thread that shares the interpreter with the event loop.
    written: list[bytes] = []
    begun = ended = 0
    second = b""
    for line in lines:
        number += 1
        if isinstance(line, bytes):
            head = b'{"n":%d,%b' % (number, line[1:-1])
        else:
            when, origin, arguments, result, duration, request, reason = line
            if not begun <= when < ended:
                begun = when - when % _SECOND
                ended = begun + _SECOND
                second = _write_second(begun // _SECOND)
            rest = _rest(request, reason) if request or reason else b""
            microseconds = (when - begun) // 1000
            if result < 0:
                head = b'{"n":%d,"time":"%b.%06dZ","event":"intent",%b%b%b' % (
                    number,
                    second,
                    microseconds,
                    origin,
                    arguments,
                    rest,
                )
            else:
                # Whole numbers: to write a float as one takes longer than all the rest.
                head = b'{"n":%d,"time":"%b.%06dZ",%b%b,"result":%d,"duration":%d%b' % (
                    number,
                    second,
                    microseconds,
                    origin,
                    arguments,
                    result,
                    int(duration * 1e6),
                    rest,
                )
        digest = blake2b(digest + head, digest_size=DIGEST_BYTES, key=key).digest()
        written.append(b'%b,"digest":"%b"}\n' % (head, hexlify(digest)))
    return b"".join(written), digest


class Link(msgspec.Struct, frozen=True, gc=False):
    """What the chain knows of a line: its number, the digest that it states, and what that is made of."""

    number: int
    digest: bytes
    head: bytes

    def follows(self, previous: bytes, key: bytes) -> bool:
        """Whether its digest is right where the one before is ``previous``."""
        return blake2b(previous + self.head, digest_size=DIGEST_BYTES, key=key).digest() == self.digest


def read_link(line: bytes) -> Link | None:
    """What the chain knows of a line without its newline; None of what is no line of an audit."""
    found = _TAIL.match(line)
    if found is None:
        return None
    return Link(int(found[1]), bytes.fromhex(found[3].decode()), line[: found.start(2)])
