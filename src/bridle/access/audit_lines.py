"""The lines of an audit: what stands in them, and how each is chained to the one before.

A line is a JSON object, ``{"n":17,"time":"2026-11-25T18:11:12.123456Z",…}``. ``n`` counts lines without a
gap, across files. Some lines end in ``,"digest":"…"}``: the last of all that were written together, and of
:data:`SEALED` one at least. Such a line seals those before it, since the last that has a digest, and itself:
the digest is BLAKE2b (RFC 7693, 32 bytes) over the digest before it and all bytes since then, up to its own
``,"digest"``; with a key it is BLAKE2b's keyed mode, which is a MAC. So no line can be changed, left out or
moved without the next digest being wrong; without the key nobody can make new ones that are right. The first
line of a file is a ``start`` that repeats in ``previous`` the digest that it continues.
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

from bridle.core.messages import JSON, Command, Peer, ScannedArguments

__all__ = [
    "ARGUMENTS_LIMIT",
    "GENESIS",
    "SEALED",
    "Composer",
    "Draft",
    "Entry",
    "Link",
    "Redactor",
    "Seal",
    "Series",
    "encode",
    "read_link",
    "sealed",
    "write_time",
]

DIGEST_BYTES = 32
_SECOND = 1_000_000_000
# Lines that may share a digest: one that was changed is found to be one of so many.
SEALED = 64
_END = b"}\n"
_THOUSANDS = [b"%03d" % number for number in range(1000)]
# What the first line of all continues.
GENESIS = bytes(DIGEST_BYTES)
# Bytes of a line's arguments, as JSON. Longer ones are left out, and the line says how long they were: a
# config-set of megabytes would push everything else out of the files that are kept.
ARGUMENTS_LIMIT = 64 * 1024
# Origins that are remembered: of so many peers times the commands that they send.
ORIGINS = 4096
# Arguments of more than so many times the limit are not even looked at.
_LOOK = 4
# Characters of a command's name and its services: what a peer may make up is no reason for long lines.
TEXT_LIMIT = 256
# Characters of them in which secrets are looked for. What is cut is hardly one that begins before the limit.
_MASKED = 16 * TEXT_LIMIT

_LINE = re.compile(rb'\A\{"n":([1-9][0-9]{0,17}),(?:.*(,"digest":"([0-9a-f]{64})"\})|.*\})\Z', re.DOTALL)

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


Draft: TypeAlias = "tuple[float, bytes, bytes, int, float, str, str]"
"""What becomes a line: when, in seconds of ``time.perf_counter``; its origin and its arguments, see
:class:`Composer`; the result, -1 of an intent; the duration in seconds; the request's id and the reason,
empty where there is none.

A plain tuple, as one is made for every command."""


def write_time(when: int) -> str:
    """A time in nanoseconds since 1970 as it is written, such as ``2026-11-25T18:11:12.123456Z``: UTC, in
    microseconds."""
    second, rest = divmod(when, _SECOND)
    return f"{_write_second(second).decode()}.{rest // 1000:06d}Z"


def _write_second(second: int) -> bytes:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second)).encode()


class Composer:
    """Makes the parts of a command's line that say who did what. ``redact`` gives its arguments as they may
    be written, ``mask`` does so for any text."""

    def __init__(
        self, redact: Redactor, mask: Callable[[str], str] = str, limit: int = ARGUMENTS_LIMIT
    ) -> None:
        self._redact = redact
        self._mask = mask
        self._limit = limit
        self._origins: dict[tuple[object, ...], bytes] = {}

    def origin(self, command: Command, access: str, peer: Peer) -> bytes:
        """The part of a line that is the same for all commands of a name that a peer sends."""
        key = (command.name, access, command.services, peer)
        origin = self._origins.get(key)
        return self._origin(key, command, access, peer) if origin is None else origin

    def _origin(self, key: tuple[object, ...], command: Command, access: str, peer: Peer) -> bytes:
        origin = Origin(
            self.text(command.name),
            access,
            self.text(",".join(command.services)),
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
        # What a peer may make up is no reason to remember megabytes: not what would be cut.
        if len(command.name) <= TEXT_LIMIT and sum(map(len, command.services)) <= TEXT_LIMIT:
            self._origins[key] = written
        return written

    def text(self, text: str) -> str:
        """A text that a peer may have made up, as it is written: without secrets, and not long."""
        return self._mask(text[:_MASKED])[:TEXT_LIMIT] if text else text

    def arguments(self, command: Command) -> bytes:
        """A command's arguments, redacted; or how long they are."""
        body = command.body
        if body is UNSET:
            return b""
        try:
            size = _size(body)
            if size > _LOOK * self._limit:
                return b',"omitted":%d' % size
            arguments = self._redact(command)
            if arguments is UNSET:
                return b""
            written = _written(arguments)
        except Exception:  # what cannot be read is answered with an error, and the line has that
            return b""
        if len(written) > self._limit:
            return b',"omitted":%d' % len(written)
        return b',"arguments":%b' % written


def _size(body: object) -> int:
    """Bytes of arguments as they came; as JSON where they came decoded."""
    if isinstance(body, msgspec.Raw):
        return len(bytes(body))
    return body.size if isinstance(body, ScannedArguments) else len(_written(body))


def encode(facts: dict[str, JSON]) -> bytes:
    """A line of the audit's own, as :meth:`Series.fact` takes it."""
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


class Series:
    """Makes lines, one after the other. ``number`` is that of the last one."""

    __slots__ = ("_begun", "_second", "number")

    def __init__(self, number: int) -> None:
        self.number: int = number
        # The second that the last line is of.
        self._begun = 0
        self._second = b""

    def lines(self, drafts: Sequence[Draft], offset: float) -> list[bytes]:
        """The lines that drafts become. ``offset`` is what makes seconds since 1970 of their times."""
        # Every line here is run for every command: what writes floats or pads with zeros takes twice as long.
        written = []
        number, begun, second = self.number, self._begun, self._second
        for when, origin, arguments, result, duration, request, reason in drafts:
            number += 1
            since = when + offset - begun
            if not 0.0 <= since < 1.0:
                begun = self._begun = int(when + offset)
                second = self._second = _write_second(begun)
                since = when + offset - begun
            microseconds = int(since * 1e6)
            if arguments:
                origin += arguments
            end = _rest(request, reason) + _END if request or reason else _END
            if result >= 0:
                line = b'{"n":%d,"time":"%b.%b%bZ",%b,"result":%d,"duration":%d%b' % (
                    number,
                    second,
                    _THOUSANDS[microseconds // 1000],
                    _THOUSANDS[microseconds % 1000],
                    origin,
                    result,
                    int(duration * 1e6),
                    end,
                )
            else:
                line = b'{"n":%d,"time":"%b.%06dZ","event":"intent",%b%b' % (
                    number,
                    second,
                    microseconds,
                    origin,
                    end,
                )
            written.append(line)
        self.number = number
        return written

    def fact(self, body: bytes) -> bytes:
        """A line of the audit's own, of what :func:`encode` made."""
        self.number += 1
        return b'{"n":%d,%b\n' % (self.number, body[1:])

    def again(self, lines: Sequence[bytes]) -> list[bytes]:
        """Lines of another series, as lines of this one."""
        return [self.fact(b"{" + line[line.index(b",") + 1 : -1]) for line in lines]


def sealed(lines: Sequence[bytes], digest: bytes, key: bytes) -> tuple[bytes, bytes]:
    """Lines as they are written, some with digests, and the last digest; ``digest`` is the one before."""
    written: list[bytes | memoryview] = []
    fresh = blake2b(digest_size=DIGEST_BYTES, key=key)
    for begin in range(0, len(lines), SEALED):
        block = memoryview(b"".join(lines[begin : begin + SEALED]))[: -len(_END)]
        hashed = fresh.copy()
        hashed.update(digest)
        hashed.update(block)
        digest = hashed.digest()
        written += (block, b',"digest":"%b"}\n' % hexlify(digest))
    return b"".join(written), digest


class Link(msgspec.Struct, frozen=True, gc=False):
    """What the chain knows of a line: its number, the digest that it states, None where it has none, and what
    of it the next digest is over."""

    number: int
    digest: bytes | None
    content: bytes


class Seal:
    """Compares the digests that lines have with those that they are to have.

    ``number`` and ``digest`` are those of the last line that has one; the digest is None where it is not
    known, and nothing can be compared before the next.
    """

    def __init__(self, number: int, digest: bytes | None, key: bytes) -> None:
        self.number: int = number
        self.digest: bytes | None = digest
        self._key = key
        self._hash = blake2b(digest or b"", digest_size=DIGEST_BYTES, key=key)

    def lose(self) -> None:
        """Something is known to be wrong since the last digest, so the next one need not be compared."""
        self.digest = None

    def add(self, link: Link) -> bool:
        """Go on with the next line; False where its digest is not what it has to be."""
        self._hash.update(link.content)
        if link.digest is None:
            return True
        right = self.digest is None or self._hash.digest() == link.digest
        self.number, self.digest = link.number, link.digest
        self._hash = blake2b(link.digest, digest_size=DIGEST_BYTES, key=self._key)
        return right


def read_link(line: bytes) -> Link | None:
    """What the chain knows of a line without its newline; None of what is no line of an audit."""
    found = _LINE.match(line)
    if found is None:
        return None
    if found[3] is None:
        return Link(int(found[1]), None, line + b"\n")
    return Link(int(found[1]), bytes.fromhex(found[3].decode()), line[: found.start(2)])
