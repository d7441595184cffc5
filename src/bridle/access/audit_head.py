"""The head of an audit: a small file beside it that says where its chain ends, and how a chain is taken up.

Without it, lines that were cut off at the end would not be missed: what is left is a whole chain. It is
written after each batch is on the disk, so that it is never ahead of the lines; a file that ends before its
head was cut. Who can write both files can cut both, so a head that matters is copied to another machine.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import msgspec

from bridle.access.audit_lines import GENESIS, Link, Seal, read_link

__all__ = [
    "Head",
    "Resumed",
    "Start",
    "head_file",
    "is_rotated",
    "read_head",
    "resume",
    "rotated_files",
    "start_of",
    "write_head",
]

# All heads are as long as each other, and lie within one sector: one is overwritten by the next in one piece.
_HEAD_BYTES = 256
# Bytes of a torn line that its repair repeats.
_TAIL_BYTES = 256
_DIGITS = 12
# No chain gets as long: a head that says so is none.
_FAR = 10**17


class Head(msgspec.Struct, frozen=True):
    """Where a chain ends: the number and the digest of its last line.

    ``first`` is the number of the first line in the file, ``size`` the file's length in bytes, ``oldest`` the
    number of the first line of the oldest file that is kept.
    """

    number: int = 0
    digest: str = GENESIS.hex()
    first: int = 1
    size: int = 0
    oldest: int = 1


class Start(msgspec.Struct, frozen=True):
    """What the first line of a file says: the digest that it continues, the number of the first line of the
    oldest file that was kept, when it was written, and a name of the key."""

    event: str
    previous: str
    oldest: int
    time: str = ""
    key: str = ""


def head_file(path: Path) -> Path:
    """The file that the head of an audit stands in."""
    return path.with_name(f"{path.name}.head")


def rotated_files(path: Path) -> list[Path]:
    """The files that an audit's lines were moved to, the oldest first; named after their first line."""
    prefix = f"{path.name}."
    found = [
        file
        for file in path.parent.iterdir()
        if file.name.startswith(prefix) and file.name[len(prefix) :].isdecimal()
    ]
    return sorted(found, key=lambda file: int(file.name[len(prefix) :]))


def rotated_name(path: Path, first: int) -> Path:
    """The name of the file whose first line has this number, once it is rotated."""
    return path.with_name(f"{path.name}.{first:0{_DIGITS}d}")


def is_rotated(path: Path) -> bool:
    """Whether a name is one that an audit's lines are moved to."""
    number = path.suffix[1:]
    return number.isdecimal() and rotated_name(path.with_suffix(""), int(number)) == path


def read_head(content: bytes) -> Head | None:
    """The head that a file's content is; None of what is none."""
    try:
        head = msgspec.json.decode(content, type=Head)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
    digest = head.digest
    whole = len(digest) == len(GENESIS) * 2 and all(character in "0123456789abcdef" for character in digest)
    return head if whole and 0 <= head.number < _FAR else None


def write_head(descriptor: int, head: Head) -> None:
    """Overwrite the head."""
    os.pwrite(descriptor, msgspec.json.encode(head).ljust(_HEAD_BYTES - 1) + b"\n", 0)


def start_of(line: bytes) -> Start | None:
    """What a line says that is the first of its file; None if it is another."""
    try:
        start = msgspec.json.decode(line, type=Start)
        bytes.fromhex(start.previous)
    except (msgspec.DecodeError, UnicodeDecodeError, ValueError):
        return None
    return start if start.event == "start" else None


class Resumed(msgspec.Struct, frozen=True, kw_only=True):
    """How an audit's file is to be taken up.

    ``number`` and ``digest`` are those of the line that the next one follows; ``size`` is where the file is
    to end. ``torn`` is the number of bytes beyond it, ``tail`` the first of them; ``missing`` the number of
    lines that the head knows and the file does not have; ``strange`` of those that do not follow the chain.
    ``began`` is when the file was begun, as it was written, and ``key`` the name of the key that it has.
    """

    number: int
    digest: bytes
    first: int
    size: int
    torn: int = 0
    tail: str = ""
    missing: int = 0
    strange: int = 0
    began: str = ""
    key: str = ""


def resume(file: BinaryIO, head: Head | None, key: bytes) -> Resumed:
    """Find out where the chain in a file ends that is not empty.

    With a head, only what came after it is read. What comes after the last digest is torn: it is what is left
    of a write, and no change in it was answered. Whole lines that do not follow are left for a verification
    to find.
    """
    first_line = file.readline()
    start, link = start_of(first_line), read_link(first_line.rstrip(b"\n"))
    first = link.number if link is not None else 1
    number, digest, at = first - 1, bytes.fromhex(start.previous) if start else GENESIS, 0
    if head is not None and head.first == first and _ends_at(file, head):
        number, digest, at = head.number, bytes.fromhex(head.digest), head.size
    file.seek(at)
    strange, seal, last, end = 0, Seal(number, digest, key), number, at
    for line, found in _links(file):
        end += len(line)
        if found is not None:
            if found.number != last + 1:
                seal.lose()
                strange += 1
            strange += not seal.add(found)
            last = found.number
            if found.digest is not None:
                number, digest, at = found.number, found.digest, end
        elif line.endswith(b"\n") and line.strip(b"\0\n"):
            seal.lose()
            strange += 1
            at = end
        else:
            break
    file.seek(at)
    rest = file.read()
    missing = max(head.number - number, 0) if head is not None else 0
    if head is not None and missing:
        number, digest = head.number, bytes.fromhex(head.digest)
    return Resumed(
        number=number,
        digest=digest,
        first=first,
        size=at,
        torn=len(rest),
        tail=rest[:_TAIL_BYTES].decode("utf-8", "backslashreplace"),
        missing=missing,
        strange=strange,
        began=start.time if start is not None else "",
        key=start.key if start is not None else "",
    )


def _ends_at(file: BinaryIO, head: Head) -> bool:
    """Whether the line that the head names ends where it says."""
    tail = f'"digest":"{head.digest}"}}\n'.encode()
    if head.size < len(tail):
        return False
    file.seek(head.size - len(tail))
    return file.read(len(tail)) == tail


def _links(file: BinaryIO) -> Iterator[tuple[bytes, Link | None]]:
    for line in file:
        yield line, read_link(line[:-1]) if line.endswith(b"\n") else None
