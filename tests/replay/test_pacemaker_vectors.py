"""Messages captured between Pacemaker's programs and daemons, 2.1.5 and 3.0.2, decode and encode to
themselves."""

from __future__ import annotations

import gzip
import json
import re
import struct
from pathlib import Path
from typing import Any

import pytest

from bridle.wire.pacemaker_header import Layout, Message, MessageReader, encode_message
from bridle.wire.pacemaker_xml import read_xml, write_xml

VECTORS = Path(__file__).parent.parent / "vectors"
Row = dict[str, Any]


def rows() -> list[Row]:
    with gzip.open(VECTORS / "pacemaker.jsonl.gz", "rt") as lines:
        return [json.loads(line) for line in lines]


def raw(row: Row) -> bytes:
    """The bytes of a row, put together from its fields without our code."""
    text = row["xml"].encode() + b"\0"
    number, size, flags = row["id"], row["size"], int(row["flags"], 16)
    if row.get("layout") == 3:
        head = struct.pack("=i4xi4xi4xIIBxH4x", number, size, 0, row["size_uncompressed"], flags, 1, 0)
    else:
        compressed = row["size_compressed"]
        head = struct.pack(
            "=i4xi4xi4xIIIB3x", number, size, 0, row["size_uncompressed"], compressed, flags, 1
        )
    return head + text


def test_every_message_decodes_and_encodes_to_itself() -> None:
    found = rows()
    assert {row.get("layout", 2) for row in found} == {2, 3}
    assert len(found) == 578
    for row in found:
        message = MessageReader().receive(raw(row))
        assert message is not None
        layout = Layout(row.get("layout", 2))
        assert message == Message(row["id"], int(row["flags"], 16), row["xml"].encode(), layout)
        assert encode_message(message) == [raw(row)]


def test_the_xml_of_every_message_is_written_as_pacemaker_writes_it() -> None:
    for row in rows():
        # The captured client in Python left a blank where Pacemaker has none.
        expected = row["xml"] if row["source"] == "strace-socket" else row["xml"].replace(" />", "/>")
        assert write_xml(read_xml(row["xml"])).decode() == expected


@pytest.mark.parametrize("title", ["C>S request", "S>C response", "S>C event"])
def test_the_bytes_of_a_ping_through_shared_memory(title: str) -> None:
    with gzip.open(VECTORS / "pacemaker-shm-ping.hex.txt.gz", "rt") as dumps:
        sections = dumps.read().split("--- ")
    dump = next(section for section in sections if section.startswith(title))
    data = bytes.fromhex("".join(re.findall(r"^[0-9a-f]{8}  ([0-9a-f ]{48})", dump, re.MULTILINE)))
    message = MessageReader().receive(data)
    assert message is not None
    assert encode_message(message) == [data]
    assert message.id == 1
