"""The audit trail beside the event loop: what is written when, group commit, and disks that fail."""

from __future__ import annotations

import asyncio
import errno
import json
import logging
import os
import subprocess
import sys
import threading
import tracemalloc
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest

from bridle import JSON, Command, ConfigurationError, Peer
from bridle.access import audit as audit_module
from bridle.access import audit_file
from bridle.access.audit import COMMIT_TIMEOUT, GATHER, RETRY, Audit
from bridle.access.audit_file import AuditFile
from bridle.access.audit_lines import ARGUMENTS_LIMIT, TEXT_LIMIT, Composer, Entry, Redactor, Series
from bridle.access.audit_settings import AuditSettings, read_audit
from bridle.testing import run
from bridle.wire.binrpc import BinrpcServer
from bridle.wire.binrpc_client import encode_request
from bridle.wire.kea import KeaServer
from tests.support.audits import events, is_open, lines, texts, unredacted, written
from tests.support.bridle import bridle_environment
from tests.support.loops import on_every_loop, on_virtual_clock
from tests.support.programs import ROOT, poll

PEER = Peer(
    transport="https",
    address="192.0.2.1",
    pid=7,
    uid=0,
    gid=5,
    tls_subject="client",
    tls_issuer="ca",
    user="admin",
    role="operators",
)


@asynccontextmanager
async def opened(path: Path, **settings: Any) -> AsyncIterator[Audit]:
    """An audit that is open."""
    redact: Redactor = settings.pop("redact", unredacted)
    audit = await Audit.open(AuditSettings(file=str(path), **settings), redact)
    try:
        yield audit
    finally:
        await audit.close()


def change(number: int = 0) -> Command:
    """A write command."""
    return Command("change", {"number": number})


class Disk:
    """The operating system, with a disk that can be full or broken."""

    def __init__(self) -> None:
        self.room = 1 << 60
        self.broken = False
        self.syncs = 0
        self.held: threading.Event | None = None

    def __getattr__(self, name: str) -> Any:
        return getattr(os, name)

    def write(self, descriptor: int, data: bytes) -> int:
        """Write what there is room for."""
        if self.held is not None:
            self.held.wait(10)
        if not self.room:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        written = os.write(descriptor, bytes(data)[: self.room])
        self.room -= written
        return written

    def fdatasync(self, descriptor: int) -> None:
        """Sync, and count it."""
        self.syncs += 1
        if self.broken:
            raise OSError(errno.EIO, os.strerror(errno.EIO))


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Disk:
    """The disk of all audits of a test."""
    made = Disk()
    monkeypatch.setattr(audit_file, "os", made)
    return made


@on_every_loop
async def test_an_audit_that_nobody_waits_for_any_more_is_closed_when_it_is_open(
    tmp_path: Path, disk: Disk
) -> None:
    path = tmp_path / "audit.jsonl"
    disk.held = threading.Event()
    opening = asyncio.create_task(Audit.open(AuditSettings(file=str(path)), unredacted))
    assert await asyncio.to_thread(poll, lambda: is_open(path))
    opening.cancel()
    with pytest.raises(asyncio.CancelledError):
        await opening
    disk.held.set()
    assert await asyncio.to_thread(poll, lambda: not is_open(path))


# What a line says


@on_every_loop
async def test_a_line_says_who_did_what_with_which_result(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    command = Command("config-set", msgspec.Raw(b'{"a": [1, 2.5, null]}'), PEER, services=("dhcp4", "d2"))
    command = msgspec.structs.replace(command, request_id="r-17")
    async with opened(path) as audit:
        assert await audit.commit(command, "write", 1, 0.0123456)
    line = lines(path)[1]
    assert line.pop("time").endswith("Z")
    assert line.pop("digest")
    assert line == {
        "n": 2,
        "command": "config-set",
        "access": "write",
        "service": "dhcp4,d2",
        "transport": "https",
        "address": "192.0.2.1",
        "pid": 7,
        "uid": 0,
        "gid": 5,
        "tls_subject": "client",
        "user": "admin",
        "role": "operators",
        "arguments": {"a": [1, 2.5, None]},
        "result": 1,
        "duration": 12345,
        "request": "r-17",
    }
    msgspec.json.decode(path.read_bytes().splitlines()[1], type=Entry)


def composed(command: Command, **settings: Any) -> dict[str, Any]:
    """What the line of a command says."""
    composer = Composer(settings.pop("redact", unredacted), **settings)
    origin, arguments = composer.origin(command, "read", command.peer), composer.arguments(command)
    draft = (0.125, origin, arguments, 0, 0.5, command.request_id, "")
    [line] = Series(0).lines([draft], 1_700_000_000)
    found: dict[str, Any] = json.loads(line)
    assert found.pop("n") == 1
    return found


def test_a_line_says_nothing_that_is_not_known() -> None:
    assert composed(Command("look")) == {
        "time": "2023-11-14T22:13:20.125000Z",
        "command": "look",
        "access": "read",
        "transport": "local",
        "result": 0,
        "duration": 500000,
    }


def test_arguments_are_redacted_before_they_are_kept() -> None:
    def redact(command: Command) -> JSON:
        arguments = command.arguments
        assert isinstance(arguments, dict)
        return {**arguments, "password": f"*** of {command.name}"}

    line = composed(Command("set", msgspec.Raw(b'{"password":"s3cr3t","x":1}')), redact=redact)
    assert line["arguments"] == {"password": "*** of set", "x": 1}


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ({"x": "y" * ARGUMENTS_LIMIT}, ARGUMENTS_LIMIT + 8),
        (msgspec.Raw(b'{"x":"' + b"y" * ARGUMENTS_LIMIT + b'"}'), ARGUMENTS_LIMIT + 8),
        (msgspec.Raw(b'"' + b"y" * 10 * ARGUMENTS_LIMIT + b'"'), 10 * ARGUMENTS_LIMIT + 2),
        ("y" * 10 * ARGUMENTS_LIMIT, 10 * ARGUMENTS_LIMIT + 2),
    ],
)
def test_arguments_that_are_too_long_are_left_out_and_their_length_is_told(body: Any, told: int) -> None:
    line = composed(Command("set", body))
    assert (line.get("arguments"), line["omitted"]) == (None, told)
    assert "omitted" not in composed(Command("set", {"x": "y" * (ARGUMENTS_LIMIT - 8)}))


def long_commands() -> Iterator[Command]:
    """Commands whose arguments are too long to be looked at, as the dialects read them."""
    text = b"y" * 5 * ARGUMENTS_LIMIT
    for comment in (b"", b"# a comment\n"):
        yield from received(KeaServer(), b'{%b"command":"x","arguments":{"x":"%b"}}' % (comment, text))
    yield from received(BinrpcServer(), encode_request(1, "x", [text.decode()]))


def received(server: KeaServer | BinrpcServer, data: bytes) -> Iterator[Command]:
    """The commands in what a peer sends."""
    for command in server.receive(data):
        assert isinstance(command, Command)
        yield command


def test_arguments_that_are_far_too_long_are_not_even_looked_at() -> None:
    def redact(command: Command) -> JSON:
        raise AssertionError("they were looked at")

    lengths = [composed(command, redact=redact)["omitted"] for command in long_commands()]
    assert len(lengths) == 3
    assert min(lengths) > 5 * ARGUMENTS_LIMIT


@pytest.mark.parametrize("body", [msgspec.Raw(b'{"x":1}x'), {"x": object()}, {(1, 2): 3}])
def test_arguments_that_cannot_be_read_or_written_are_left_out(body: Any) -> None:
    assert "arguments" not in composed(Command("set", body))


@pytest.mark.parametrize("text", ["\udcff", "a\nb", '"', "\\", "\0", "é", "\u2028", '","digest":"'])
def test_no_text_breaks_a_line(text: str) -> None:
    command = Command(text, {text: [text, {"x": text}]}, Peer(address=text, user=text), services=(text,))
    line = composed(command)
    shown = text.encode("utf-8", "backslashreplace").decode()
    assert (line["command"], line["user"]) == (shown, shown)
    assert line["arguments"] == {shown: [shown, {"x": shown}]}


def test_a_peer_cannot_make_lines_long_by_names() -> None:
    line = composed(Command("x" * 100_000, services=("y" * 100_000,)))
    assert (len(line["command"]), len(line["service"])) == (TEXT_LIMIT, TEXT_LIMIT)


def test_names_that_peers_make_up_do_not_fill_the_memory() -> None:
    from bridle.access.audit_lines import ORIGINS

    composer = Composer(unredacted)
    for number in range(2 * ORIGINS + 10):
        composer.origin(Command(f"x{number}"), "read", PEER)
    assert len(composer._origins) <= ORIGINS


def test_long_names_that_peers_make_up_are_not_remembered() -> None:
    composer, before = Composer(unredacted), b""
    tracemalloc.start()
    try:
        for number in range(20):
            before = composer.origin(Command("x", services=(f"{number}{'y' * 1_000_000}",)), "read", PEER)
            composer.origin(Command("x", services=tuple(f"{number}" * 100_000)), "read", PEER)
            composer.origin(Command(f"{number}{'y' * 1_000_000}"), "read", PEER)
        assert tracemalloc.get_traced_memory()[0] < 1_000_000
    finally:
        tracemalloc.stop()
    assert len(before) < 1000


# When it is written


@on_virtual_clock
async def test_the_line_of_a_read_command_is_written_soon(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    async with opened(path) as audit:
        for number in range(5):
            audit.record(Command("look", [number]), "read", 0, 0.0)
        assert events(path) == ["start"]
        await asyncio.sleep(GATHER * 1.5)
        assert [line["arguments"] for line in lines(path)[1:]] == [[0], [1], [2], [3], [4]]
        audit.record(Command("look"), "read", 0, 0.0)
        await asyncio.sleep(GATHER * 1.5)
        assert len(lines(path)) == 7


@on_every_loop
async def test_read_commands_may_be_left_out_unless_they_were_refused(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    async with opened(path, reads=False) as audit:
        audit.record(Command("look"), "read", 0, 0.0)
        audit.record(Command("peep"), "read", 1, 0.0, reason="role guest")
        audit.record(change(), "write", 1, 0.0)
    assert [line["command"] for line in lines(path)[1:]] == ["peep", "change"]
    assert lines(path)[1]["reason"] == "role guest"


@on_every_loop
async def test_a_write_command_waits_until_its_line_is_on_the_disk(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    async with opened(path) as audit:
        audit.record(Command("look"), "read", 0, 0.0)
        assert await audit.commit(change(), "write", 0, 0.0)
        assert [line["command"] for line in lines(path)[1:]] == ["look", "change"]


@on_every_loop
async def test_commands_that_wait_at_the_same_time_share_a_sync(tmp_path: Path, disk: Disk) -> None:
    path = tmp_path / "audit.jsonl"
    async with opened(path) as audit:
        before = disk.syncs
        answers = await asyncio.gather(*(audit.commit(change(n), "write", 0, 0.0) for n in range(500)))
        assert all(answers)
        assert disk.syncs - before <= 2
    assert texts(path) == []
    assert sorted(line["arguments"]["number"] for line in lines(path)[1:]) == list(range(500))


@on_every_loop
async def test_an_intent_is_on_the_disk_before_its_command_is_done(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    async with opened(path, intents=True) as audit:
        command = msgspec.structs.replace(change(), request_id="r-1")
        assert await audit.intend(command, "write")
        intent = lines(path)[1]
        assert (intent["event"], intent["command"], intent["request"]) == ("intent", "change", "r-1")
        assert "result" not in intent


@on_every_loop
async def test_what_waits_is_written_when_it_is_closed(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    async with opened(path) as audit:
        waiting = asyncio.ensure_future(audit.commit(change(), "write", 0, 0.0))
        audit.record(Command("look"), "read", 0, 0.0)
        await asyncio.sleep(0)
    assert await waiting
    assert {line["command"] for line in lines(path)[1:]} == {"change", "look"}
    assert audit.refuses() == "the audit is closed"
    assert not await audit.commit(change(), "write", 0, 0.0)
    await audit.close()
    assert texts(path) == []


@on_every_loop
async def test_a_file_that_cannot_be_used_is_a_configuration_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="cannot open the audit"):
        await Audit.open(AuditSettings(file=str(tmp_path)), unredacted)
    with pytest.raises(ConfigurationError, match="can't open file"):
        await Audit.open(AuditSettings(file=str(tmp_path / "a"), key_file="/none"), unredacted)
    async with opened(tmp_path / "a"):
        with pytest.raises(ConfigurationError, match="open in another process"):
            await Audit.open(AuditSettings(file=str(tmp_path / "a")), unredacted)


# Disks that fail


@pytest.mark.parametrize("room", [0, 1, 150, 400])
@on_virtual_clock
async def test_a_full_disk_refuses_write_commands_until_there_is_room_again(
    tmp_path: Path, disk: Disk, caplog: pytest.LogCaptureFixture, room: int
) -> None:
    path = tmp_path / "audit.jsonl"
    async with opened(path) as audit:
        assert await audit.commit(change(0), "write", 0, 0.0)
        disk.room = room
        answers = await asyncio.gather(*(audit.commit(change(n), "write", 0, 0.0) for n in range(1, 6)))
        assert not any(answers[3:])
        assert (
            audit.refuses() == "the audit cannot be written, so nothing is changed: No space left on device"
        )
        assert "was carried out, but its audit line is not on the disk" in str(audit.undurable().text)
        status = audit.status()
        assert (status["state"], status["failure"]) == ("failed", "No space left on device")
        assert not await audit.commit(change(6), "write", 0, 0.0)
        audit.record(Command("look"), "read", 0, 0.0)
        await asyncio.sleep(RETRY * 3.5)
        assert audit.refuses()
        disk.room = 1 << 60
        await asyncio.sleep(RETRY * 1.5)
        assert audit.refuses() is None
        assert audit.status()["state"] == "working"
        assert await audit.commit(change(7), "write", 0, 0.0)
    assert texts(path) == []
    found = lines(path)
    assert [line["arguments"]["number"] for line in found if "number" in line.get("arguments", {})] == [
        *range(8)
    ]
    gaps = [line for line in found if line.get("event") == "gap"]
    assert [(gap["lost"], gap["reason"]) for gap in gaps] == [(0, "No space left on device")]
    assert [record.levelno for record in caplog.records if record.name == "bridle.audit"] == [
        logging.ERROR,
        logging.WARNING,
    ]


@on_every_loop
async def test_an_audit_whose_disk_is_full_can_be_closed(
    tmp_path: Path, disk: Disk, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "audit.jsonl"
    async with opened(path) as audit:
        disk.room = 10
        assert not await audit.commit(change(), "write", 0, 0.0)
    assert "1 lines are lost" in caplog.text
    disk.room = 1 << 60
    written(path, 1)
    assert texts(path) == []


@on_virtual_clock
async def test_lines_that_were_not_synced_are_not_there_twice(tmp_path: Path, disk: Disk) -> None:
    path = tmp_path / "audit.jsonl"
    async with opened(path) as audit:
        disk.broken = True
        assert not await audit.commit(change(1), "write", 0, 0.0)
        assert "Input/output error" in str(audit.refuses())
        disk.broken = False
        await asyncio.sleep(RETRY * 1.5)
    assert events(path) == ["start", "command", "gap"]
    assert texts(path) == []


@on_virtual_clock
async def test_a_disk_that_fails_lets_commands_pass_where_that_is_configured(
    tmp_path: Path, disk: Disk
) -> None:
    async with opened(tmp_path / "audit.jsonl", on_failure="allow") as audit:
        disk.room = 0
        assert not await audit.commit(change(), "write", 0, 0.0)
        assert audit.refuses() is None
        assert audit.status()["state"] == "failed"
        disk.room = 1 << 60
    assert events(tmp_path / "audit.jsonl") == ["start", "command", "gap"]


@on_virtual_clock
async def test_lines_beyond_the_queue_are_counted_in_the_gap(
    tmp_path: Path, disk: Disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(audit_module, "QUEUE_LINES", 10)
    path = tmp_path / "audit.jsonl"
    async with opened(path) as audit:
        disk.room = 0
        assert not await audit.commit(change(), "write", 0, 0.0)
        for _ in range(100):
            audit.record(Command("look"), "read", 0, 0.0)
        assert (audit.status()["waiting"], audit.status()["lost"]) == (10, 91)
        assert not await audit.commit(change(), "write", 0, 0.0)
        disk.room = 1 << 60
        await asyncio.sleep(RETRY * 2)
    gap = lines(path)[-1]
    assert (gap["event"], gap["lost"]) == ("gap", 92)
    assert len(lines(path)) == 12
    assert texts(path) == []


@on_virtual_clock
async def test_lines_that_come_while_a_write_fails_are_counted_too(
    tmp_path: Path, disk: Disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(audit_module, "QUEUE_LINES", 10)
    path = tmp_path / "audit.jsonl"
    async with opened(path) as audit:
        disk.held = threading.Event()
        for _ in range(8):
            audit.record(Command("look"), "read", 0, 0.0)
        failing = asyncio.ensure_future(audit.commit(change(), "write", 0, 0.0))
        await asyncio.sleep(0)
        for _ in range(8):
            audit.record(Command("look"), "read", 0, 0.0)
        assert audit.status()["waiting"] == 8
        disk.room = 0
        disk.held.set()
        assert not await failing
        audit.record(Command("look"), "read", 0, 0.0)
        assert (audit.status()["waiting"], audit.status()["lost"]) == (17, 1)
        disk.room = 1 << 60
        await asyncio.sleep(RETRY * 2)
    assert (len(lines(path)), lines(path)[-1]["lost"]) == (19, 1)
    assert texts(path) == []


@on_virtual_clock
async def test_the_bytes_that_wait_are_bounded_too(
    tmp_path: Path, disk: Disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(audit_module, "QUEUE_BYTES", 10_000)
    async with opened(tmp_path / "audit.jsonl") as audit:
        for _ in range(5):
            audit.record(Command("look", "x" * 4000), "read", 0, 0.0)
        assert (audit.status()["waiting"], audit.status()["lost"]) == (2, 3)
        await asyncio.sleep(1)
    assert lines(tmp_path / "audit.jsonl")[-1]["lost"] == 3


def test_a_disk_that_does_not_answer_costs_a_command_no_more_than_its_deadline(
    tmp_path: Path, disk: Disk
) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        async with opened(tmp_path / "audit.jsonl") as audit:
            disk.held = threading.Event()
            began = loop.time()
            assert not await audit.commit(change(), "write", 0, 0.0)
            assert loop.time() - began == COMMIT_TIMEOUT
            assert "no answer from the disk within 10 s" in str(audit.refuses())
            assert not await audit.commit(change(), "write", 0, 0.0)
            assert loop.time() - began == COMMIT_TIMEOUT
            disk.held.set()
            await asyncio.sleep(RETRY * 3)
            assert audit.refuses() is None
            assert await audit.commit(change(), "write", 0, 0.0)
        assert texts(tmp_path / "audit.jsonl") == []

    run(main(), patience=0.3)


@pytest.mark.parametrize("size", [1, 1000])
@on_virtual_clock
async def test_a_file_that_others_may_write_now_is_a_dead_one(tmp_path: Path, size: int) -> None:
    path = tmp_path / "audit.jsonl"
    async with opened(path) as audit:
        path.unlink()
        path.write_bytes(b"mine\n" * size)
        path.chmod(0o666)
        assert not await audit.commit(change(), "write", 0, 0.0)
        assert "can be written by others" in str(audit.refuses())
        await asyncio.sleep(RETRY * 2.5)
        assert "can be written by others" in str(audit.refuses())
        assert path.read_bytes() == b"mine\n" * size
        path.unlink()
        await asyncio.sleep(RETRY * 1.5)
        assert audit.refuses() is None
    assert events(path) == ["start", "command", "gap"]


@on_virtual_clock
async def test_an_audit_that_another_process_has_got_hold_of_is_a_dead_one(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    async with opened(path) as audit:
        assert await audit.commit(change(), "write", 0, 0.0)
        Path(f"{path}.head").unlink()
        other = AuditFile.open(path)
        assert not await audit.commit(change(), "write", 0, 0.0)
        assert "is open in another process" in str(audit.refuses())
        other.close()
        await asyncio.sleep(RETRY * 1.5)
        assert audit.refuses() is None
    assert events(path) == ["start", "command", "opened", "opened", "command", "gap"]
    assert texts(path) == []


FULL_DISK = """
import asyncio, os, sys
from pathlib import Path
from bridle import Command
from bridle.access.audit import Audit
from bridle.access.audit_settings import AuditSettings

async def main():
    path = Path(sys.argv[1], "audit.jsonl")
    audit = await Audit.open(AuditSettings(file=str(path)), lambda command: command.arguments)
    said = []
    number = 0
    while await audit.commit(Command("change", {"number": number, "x": "y" * 1000}), "write", 0, 0.0):
        number += 1
    said.append(audit.refuses())
    Path(sys.argv[1], "ballast").unlink()
    while audit.refuses():
        await asyncio.sleep(0.1)
    assert await audit.commit(Command("change", {"number": number + 1}), "write", 0, 0.0)
    await audit.close()
    from bridle.access.audit_verify import verify
    print(said, verify([path]).findings, number > 10)

Path(sys.argv[1], "ballast").write_bytes(bytes(64 * 1024))
asyncio.run(main())
"""


@pytest.mark.namespaces
def test_a_disk_that_is_really_full_is_survived(tmp_path: Path) -> None:
    mounted = f'mount -t tmpfs -o size=192k none {tmp_path} && exec {sys.executable} -c "$0" {tmp_path}'
    ended = subprocess.run(
        ["unshare", "--mount", "sh", "-c", mounted, FULL_DISK],
        capture_output=True,
        text=True,
        timeout=25,
        env=bridle_environment(),
        cwd=ROOT,
        check=False,
    )
    said = "['the audit cannot be written, so nothing is changed: No space left on device'] [] True\n"
    assert said == ended.stdout, ended.stderr


# The configuration


def test_the_configuration_says_where_and_how() -> None:
    value: dict[str, JSON] = {
        "file": "/var/log/bridle/audit.jsonl",
        "key-file": "/etc/bridle/audit.key",
        "max-size": 1000,
        "max-age": 86400,
        "keep": 3,
        "on-failure": "allow",
        "intents": True,
        "reads": False,
        "comment": "x",
    }
    assert read_audit(value, []) == AuditSettings(
        file="/var/log/bridle/audit.jsonl",
        key_file="/etc/bridle/audit.key",
        max_size=1000,
        max_age=86400,
        keep=3,
        on_failure="allow",
        intents=True,
        reads=False,
    )
    assert read_audit({"file": "x"}, []) == AuditSettings(file="x")


@pytest.mark.parametrize(
    ("value", "text", "path"),
    [
        (5, "audit is expected to be a map", ["audit"]),
        ({}, "Mandatory 'file' parameter missing in audit", ["audit"]),
        ({"file": ""}, "Mandatory 'file' parameter missing in audit", ["audit"]),
        ({"file": 5}, "invalid type specified for parameter 'file'", ["audit", "file"]),
        ({"file": "x", "keep": True}, "invalid type specified for parameter 'keep'", ["audit", "keep"]),
        (
            {"file": "x", "keep": -1},
            "out of range value (-1) specified for parameter 'keep'",
            ["audit", "keep"],
        ),
        (
            {"file": "x", "max-age": float("inf")},
            "out of range value (inf) specified for parameter 'max-age'",
            ["audit", "max-age"],
        ),
        ({"file": "x", "bogus": 1}, "unsupported parameter 'bogus' in audit", ["audit", "bogus"]),
        (
            {"file": "x", "on-failure": "ignore"},
            "on-failure is 'refuse' or 'allow', not 'ignore'",
            ["audit", "on-failure"],
        ),
    ],
)
def test_what_the_configuration_may_not_say(value: JSON, text: str, path: list[str]) -> None:
    with pytest.raises(ConfigurationError) as caught:
        read_audit(value, ["audit"])
    assert (caught.value.text, caught.value.path) == (text, path)
