"""Rows of ``tests/vectors/bngblaster.jsonl.gz``: captured exchanges with BNG Blaster's control socket."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import msgspec

VECTORS = Path(__file__).parent.parent / "vectors" / "bngblaster.jsonl.gz"


class Row(msgspec.Struct, frozen=True):
    """One captured exchange; ``version`` is the program's, ``end`` how the connection ended."""

    number: int
    version: str
    scenario: str
    note: str
    request: bytes
    response: str
    end: str


def rows() -> list[Row]:
    """All rows."""
    with gzip.open(VECTORS, "rt", encoding="utf-8") as lines:
        found = [json.loads(line) for line in lines]
    return [
        Row(
            number,
            row["version"],
            row["scenario"],
            row["note"],
            _bytes(row["request"]),
            row["response"] or "",
            row["end"] or "",
        )
        for number, row in enumerate(found)
    ]


def _bytes(request: str | None) -> bytes:
    """A request as it was sent; what is no text is written in hexadecimal."""
    request = request or ""
    return bytes.fromhex(request[4:]) if request.startswith("hex:") else request.encode()
