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
from collections.abc import Callable
from hashlib import blake2b

import msgspec
from msgspec import UNSET, UnsetType

from bridle.core.messages import JSON, Command, Peer

__all__ = [
    "ARGUMENTS_LIMIT",
    "GENESIS",
    "Clock",
    "Composer",
    "Entry",
    "Line",
    "Link",
    "Redactor",
    "chained",
    "encode",
    "read_link",
    "render",
]

DIGEST_BYTES = 32
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


class Line(msgspec.Struct, gc=False):
    """A line as it waits to be written: when, in nanoseconds, and its members as JSON. ``result`` is -1 of an
    intent; ``duration`` is in seconds."""

    when: int
    origin: bytes
    arguments: bytes
    result: int
    duration: float
    rest: bytes

    def __len__(self) -> int:
        return len(self.origin) + len(self.arguments) + len(self.rest)


class Clock:
    """Tells times as they are written: UTC, in microseconds."""

    def __init__(self) -> None:
        self._second = -1
        self._prefix = b""

    def __call__(self, when: int) -> bytes:
        """A time in nanoseconds since 1970, such as ``2026-11-25T18:11:12.123456Z``."""
        second, rest = divmod(when, 1_000_000_000)
        if second != self._second:
            self._second = second
            self._prefix = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second)).encode()
        return b"%b.%06dZ" % (self._prefix, rest // 1000)


class Composer:
    """Makes lines of commands. What costs time is done later, in :func:`render`, beside the event loop."""

    def __init__(
        self, redact: Redactor, now: Callable[[], int] = time.time_ns, limit: int = ARGUMENTS_LIMIT
    ) -> None:
        self._redact = redact
        self._now = now
        self._limit = limit
        self._origins: dict[tuple[object, ...], bytes] = {}

    def line(
        self,
        command: Command,
        access: str,
        peer: Peer,
        result: int,
        duration: float,
        request: str | None,
        reason: str | None,
    ) -> Line:
        """The line of a command; ``result`` is -1 where it is yet to be done, ``duration`` is in seconds."""
        key = (command.name, access, command.services, peer)
        origin = self._origins.get(key)
        if origin is None:
            origin = self._origin(key, command, access, peer)
        arguments = b"" if command.body is UNSET else self._arguments(command)
        rest = b"" if request is None and reason is None else _rest(request, reason)
        return Line(self._now(), origin, arguments, result, duration, rest)

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

    def _arguments(self, command: Command) -> bytes:
        body = command.body
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


def _rest(request: str | None, reason: str | None) -> bytes:
    given = {"request": request, "reason": reason}
    known = {name: text[:TEXT_LIMIT] for name, text in given.items() if text is not None}
    return b",%b" % _written(known)[1:-1]


def render(line: Line, clock: Clock) -> bytes:
    """A line as :func:`chained` takes it."""
    if line.result < 0:
        return b'{"time":"%b","event":"intent",%b%b%b}' % (
            clock(line.when),
            line.origin,
            line.arguments,
            line.rest,
        )
    return b'{"time":"%b",%b%b,"result":%d,"duration":%d%b}' % (
        clock(line.when),
        line.origin,
        line.arguments,
        line.result,
        line.duration * 1e6,
        line.rest,
    )


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


def chained(body: bytes, number: int, previous: bytes, key: bytes) -> tuple[bytes, bytes]:
    """A line with its number and its digest, and that digest. ``body`` comes of :func:`encode`."""
    head = b'{"n":%d,%b' % (number, body[1:-1])
    digest = blake2b(previous + head, digest_size=DIGEST_BYTES, key=key).digest()
    return b'%b,"digest":"%b"}\n' % (head, digest.hex().encode()), digest


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
