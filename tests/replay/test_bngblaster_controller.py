"""Captured exchanges with BNG Blaster's controller, replayed in their order against the agent's, with the
session daemon in the place of bngblaster.

The status, the content type and the body are the same, or the row's note stands in ``DIFFERENCES`` with the
row of ``docs/compatibility.md`` that says why. Of what an instance tells, the shape is compared: its values
are another run's.
"""

from __future__ import annotations

import asyncio
import gzip
import json
import re
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.support.bridle import bridle_environment
from tests.support.controller import Controlled, controller
from tests.support.programs import ROOT
from tests.support.web import Reply, exchange

VECTORS = Path(__file__).parent.parent / "vectors" / "bngblaster-controller.jsonl.gz"

DIFFERENCES = {
    "name with dots": ("bngctrl-names", 400),
    "kill unknown": ("bngctrl-unknown", 404),
    "start instance with broken config -> 204": ("bngctrl-start", 500),
    "delete again": ("bngctrl-unknown", 404),
    "delete unknown": ("bngctrl-unknown", 404),
}
"""Rows that are answered otherwise: why, and with which status."""

SHAPES = {"interfaces", "command ok", "command session-info", "run_report.json"}
"""Rows whose bodies are JSON of another run."""

OWN_TEXTS = {"stderr of it"}
"""A file that the program has written in its own words."""


class Row(msgspec.Struct, frozen=True):
    """One captured exchange."""

    note: str
    request: str
    response: str
    response_len: int
    ms: float


def rows() -> list[Row]:
    """All rows, in their order."""
    with gzip.open(VECTORS) as lines:
        return [msgspec.json.decode(line, type=Row) for line in lines]


def test_every_captured_exchange_is_answered_the_same(
    short_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in bridle_environment().items():
        monkeypatch.setenv(name, value)

    async def run() -> None:
        executable = [sys.executable, "-m", "bridle", "bngblaster"]
        async with controller(short_path, executable, upload=True) as front:
            for row in rows():
                await before(front, row)
                answer = Reply(await exchange(front.port, row.request.encode()))
                compare(row, Reply(whole(row)), answer)

    asyncio.run(run())


async def before(front: Controlled, row: Row) -> None:
    """What has happened by itself before a row was captured."""
    if row.note == "status started":
        await verified(front)
    elif row.note == "run_report.json":
        await front.stopped("t1")


async def verified(front: Controlled) -> None:
    async with asyncio.timeout(15):
        while True:
            told = json.loads((await front.command("t1", "session-counters")).body)["session-counters"]
            if told["session-traffic-flows-verified"] == 12:
                return
            await asyncio.sleep(0.05)


def whole(row: Row) -> bytes:
    """A captured answer; a long one was cut when it was captured, and ends where it was."""
    head, _, body = row.response.encode().partition(b"\r\n\r\n")
    if row.note == "run_report.json":
        head = re.sub(rb"Content-Length: \d+", b"Content-Length: %d" % len(body), head)
    return head + b"\r\n\r\n" + body


def compare(row: Row, theirs: Reply, ours: Reply) -> None:
    """Fail unless an answer is the same, as far as it has to be."""
    if row.note in DIFFERENCES:
        name, status = DIFFERENCES[row.note]
        assert f"`{name}`" in (ROOT / "docs" / "compatibility.md").read_text("utf-8")
        assert ours.status == status, row.note
        return
    assert ours.status == theirs.status, (row.note, ours.body)
    for header in ("content-type", "accept-ranges"):
        assert ours.headers.get(header) == theirs.headers.get(header), (row.note, header)
    assert ("last-modified" in ours.headers) == ("last-modified" in theirs.headers), row.note
    if row.note in SHAPES:
        assert shape(read(row, ours)) == shape(read(row, theirs)), row.note
    elif row.note == "run.log":
        assert set(milestones(ours)) >= set(milestones(theirs))
    elif row.note not in OWN_TEXTS:
        assert body_of(row, ours) == body_of(row, theirs), row.note


def milestones(log: Reply) -> list[str]:
    """What a log says that all sessions have come to, each line behind its time."""
    lines = log.body.decode().splitlines()
    assert all(re.match(r"[A-Z][a-z]{2} \d\d \d\d:\d\d:\d\d\.\d{6} \S", line) for line in lines)
    return [line[23:] for line in lines if line[23:].isupper()]


def body_of(row: Row, reply: Reply) -> bytes:
    """A body without what is another machine's or another run's."""
    if row.note == "instances":
        # The instance whose name has dots in it was refused here.
        return reply.body.replace(b'"abc",', b"")
    return re.sub(rb'hostname="[^"]*"', b'hostname=""', reply.body)


def read(row: Row, reply: Reply) -> Any:
    """What is in a body."""
    if row.note == "run_report.json":
        text = reply.body.decode()
        assert text.startswith('{"report": {"version": "')
        # The first session, which is before the cut.
        session, _ = json.JSONDecoder().raw_decode(text, text.index('"sessions": [') + 13)
        return [re.findall(r'"([a-z-]+)": ', text[: text.index('"sessions": [')]), session]
    told = json.loads(reply.body)
    # Which interfaces there are is the machine's.
    return told[:1] if row.note == "interfaces" else told


def shape(value: Any) -> Any:
    """Keys in their order, and types."""
    if isinstance(value, dict):
        return [(key, shape(item)) for key, item in value.items()]
    if isinstance(value, list):
        return [shape(item) for item in value]
    return type(value).__name__
