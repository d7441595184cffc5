"""Captured bytes as ``hexdump -C`` shows them, in sections with a headline each."""

from __future__ import annotations

import gzip
from pathlib import Path

__all__ = ["sections"]


def sections(path: Path) -> dict[str, list[bytes]]:
    """The dumps under each headline that begins with ``---``, in order; a ``*`` repeats the line before it.

    A dump that begins anew at offset 0 is another one. Other lines are the capture's remarks.
    """
    found: dict[str, list[bytes]] = {}
    dumps: list[bytes] = []
    repeat = b""
    for line in gzip.decompress(path.read_bytes()).decode().splitlines():
        if line.startswith("---"):
            dumps = found.setdefault(line, [])
            continue
        offset, _, rest = line.partition("  ")
        if line == "*":
            repeat = dumps[-1][-16:]
        elif len(offset) == 8 and all(digit in "0123456789abcdef" for digit in offset):
            at = int(offset, 16)
            if at == 0 and rest:
                dumps.append(b"")
            dumps[-1] += repeat * ((at - len(dumps[-1])) // 16) if repeat else b""
            repeat = b""
            dumps[-1] += bytes.fromhex(rest.partition("|")[0])
    return found
