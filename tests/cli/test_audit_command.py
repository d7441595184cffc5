"""``bridle audit``: verifying and looking for lines; its output and its exit status."""

from __future__ import annotations

import asyncio
import json
import re
import signal
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest

from bridle import Command, Peer
from bridle.access.audit import Audit
from bridle.access.audit_file import AuditFile
from bridle.access.audit_lines import Entry
from bridle.access.audit_search import read_time
from bridle.access.audit_settings import AuditSettings
from bridle.cli.audit import render
from tests.support.audits import unredacted, written
from tests.support.bridle import BridleProgram, command_line
from tests.support.programs import poll
from tests.support.terminal import Terminal

USAGE, UNAVAILABLE, PROTOCOL, INTERRUPTED = 64, 69, 76, 130
COMMANDS = (
    ("list-commands", "read", 0, Peer(transport="unix", address="/run/x", pid=7, uid=1000, gid=1000), ()),
    (
        "config-set",
        "write",
        1,
        Peer(transport="https", address="192.0.2.1", user="admin", role="boss"),
        ("dhcp4",),
    ),
    ("lease4-get", "read", 3, Peer(transport="http", address="192.0.2.2", user="viewer"), ("dhcp4", "dhcp6")),
    (
        "lease4-del",
        "write",
        0,
        Peer(transport="http", address="192.0.2.1", user="admin", role="boss"),
        ("dhcp6",),
    ),
)


@pytest.fixture
def audit(tmp_path: Path) -> Path:
    """An audit of a few commands, rotated in between."""
    path = tmp_path / "audit.jsonl"

    async def write() -> None:
        audit = await Audit.open(AuditSettings(file=str(path), max_size=600), unredacted)
        for name, access, result, peer, services in COMMANDS:
            arguments = {"ip-address": "192.0.2.7"} if name.startswith("lease") else {"a": "b\x1b[2J"}
            command = Command(name, arguments, peer, services, request_id="r-1")
            assert await audit.commit(command, access, result, 0.0015)
        await audit.close()

    asyncio.run(write())
    return path


def shown(audit: Path, *words: str) -> list[str]:
    """The commands that are shown with these options."""
    ended = command_line("audit", "show", audit, "--json", *words)
    assert (ended.returncode, ended.stderr) == (0, "")
    return [line["command"] for line in map(json.loads, ended.stdout.splitlines()) if "command" in line]


def test_an_audit_that_is_whole_is_said_to_be_with_its_head(audit: Path) -> None:
    ended = command_line("audit", "verify", audit)
    assert (ended.returncode, ended.stderr) == (0, "")
    assert re.fullmatch(
        r"as it was written: lines 1 to (\d+) in 2 files\nhead \1:[0-9a-f]{64}\n", ended.stdout
    )


def test_what_was_changed_is_named_by_file_and_line(audit: Path) -> None:
    file = Path(f"{audit}.000000000001")
    file.write_bytes(file.read_bytes().replace(b"list-commands", b"list-commandz"))
    ended = command_line("audit", "verify", audit)
    assert ended.returncode == 1
    assert ended.stdout == f"{file}:2: line 2 was changed\nNOT as it was written: 1 finding in 2 files\n"


def test_a_head_that_was_kept_shows_that_an_audit_was_written_anew(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    written(path, 3)
    head = command_line("audit", "verify", path).stdout.split()[-1]
    assert command_line("audit", "verify", path, "--anchor", head).returncode == 0
    for file in tmp_path.iterdir():
        file.unlink()
    written(path, 5)
    ended = command_line("audit", "verify", path, "--anchor", head)
    assert ended.returncode == 1
    assert "line 4 has another digest than its head or anchor" in ended.stdout


def test_a_key_is_read_from_a_file(tmp_path: Path) -> None:
    key = tmp_path / "key"
    key.write_bytes(b"k" * 32)
    key.chmod(0o600)
    path = tmp_path / "audit.jsonl"
    written(path, 3, key=b"k" * 32)
    assert command_line("audit", "verify", path, "--key-file", key).returncode == 0
    ended = command_line("audit", "verify", path)
    assert ended.returncode == 1
    assert "which was not given" in ended.stdout
    key.chmod(0o644)
    ended = command_line("audit", "verify", path, "--key-file", key)
    assert ended.returncode == USAGE
    assert "can be read by others" in ended.stderr


def test_a_copy_without_a_head_is_noted(audit: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    copy.write_bytes(Path(f"{audit}.000000000001").read_bytes())
    ended = command_line("audit", "verify", copy, "--copies")
    assert ended.returncode == 0
    assert "note: " in ended.stderr
    assert "there is no head" in ended.stderr
    ended = command_line("audit", "verify", copy)
    assert ended.returncode == 1
    assert ended.stdout.startswith(f"{copy}.head: is missing")


@pytest.mark.parametrize("key", [b"", b"k" * 32])
def test_a_line_put_in_at_the_end_is_found_and_not_shown(tmp_path: Path, key: bytes) -> None:
    path = tmp_path / "audit.jsonl"
    (tmp_path / "key").write_bytes(key)
    (tmp_path / "key").chmod(0o600)
    written(path, 2, key=key)
    with path.open("ab") as file:
        file.write(
            b'{"n":4,"time":"2026-11-26T00:00:01.000000Z","command":"shutdown","user":"bob","result":0}\n'
        )
    words = ["--key-file", tmp_path / "key"] if key else []
    ended = command_line("audit", "verify", path, *words)
    assert ended.returncode == 1
    text = "line 4 is without a digest: put in by somebody, or torn by a crash"
    assert ended.stdout.startswith(f"{path}:4: {text}\n")
    for form in ([], ["--json"]):
        ended = command_line("audit", "show", path, *form)
        assert (ended.returncode, "shutdown" in ended.stdout) == (0, False)
        text = 'bridle: {}: 1 line that no digest follows is left out: see "bridle audit verify"\n'
        assert ended.stderr == text.format(path)


def test_a_line_in_another_form_is_none(audit: Path) -> None:
    with audit.open("ab") as file:
        file.write(b'{"time":"2026-11-26T00:00:01.000000Z","n":9,"command":"shutdown","user":"bob"}\n')
    ended = command_line("audit", "show", audit)
    assert (ended.returncode, "shutdown" in ended.stdout) == (PROTOCOL, False)


def test_what_was_rotated_is_verified_and_shown_without_a_head_too(audit: Path) -> None:
    file = Path(f"{audit}.000000000001")
    file.write_bytes(file.read_bytes().replace(b"list-commands", b"list-commandz"))
    Path(f"{audit}.head").unlink()
    ended = command_line("audit", "verify", audit)
    assert ended.returncode == 1
    assert f"{audit}.head: is missing" in ended.stdout
    assert f"{file}:2: line 2 was changed\nNOT as it was written: 2 findings in 2 files\n" in ended.stdout
    assert shown(audit, "--command", "list-*") == ["list-commandz"]


@pytest.mark.parametrize("words", [["verify"], ["show"], ["show", "--follow"]])
def test_a_file_that_is_not_there_is_unavailable(words: list[str], tmp_path: Path) -> None:
    ended = command_line("audit", *words, tmp_path / "none")
    assert (ended.returncode, ended.stdout) == (UNAVAILABLE, "")
    assert ended.stderr == f"bridle: {tmp_path}/none: No such file or directory\n"


@pytest.mark.parametrize(
    "words",
    [
        ["verify"],
        ["verify", "x", "--anchor", "5"],
        ["verify", "x", "--anchor", "0:" + "0" * 64],
        ["verify", "x", "--anchor", "5:" + "G" * 64],
        ["show", "x", "--since", "yesterday"],
        ["show", "x", "--result", "bad"],
        ["show", "x", "--access", "any"],
        ["show", "x", "--follow", "--until", "1h"],
        ["bogus"],
    ],
)
def test_wrong_usage(words: list[str]) -> None:
    ended = command_line("audit", *words)
    assert (ended.returncode, ended.stdout) == (USAGE, "")


@pytest.mark.parametrize(
    ("words", "commands"),
    [
        ([], ["list-commands", "config-set", "lease4-get", "lease4-del"]),
        (["--user", "admin"], ["config-set", "lease4-del"]),
        (["--role", "b*"], ["config-set", "lease4-del"]),
        (["--command", "lease4-*"], ["lease4-get", "lease4-del"]),
        (["--service", "dhcp6"], ["lease4-get", "lease4-del"]),
        (["--access", "write", "--result", "0"], ["lease4-del"]),
        (["--result", "failed"], ["config-set", "lease4-get"]),
        (["--result", "3"], ["lease4-get"]),
        (["--since", "1h"], ["list-commands", "config-set", "lease4-get", "lease4-del"]),
        (["--until", "1h"], []),
        (["--since", "2001-01-01", "--until", "2001-01-02T12:00:00Z"], []),
        (["--user", "nobody"], []),
    ],
)
def test_lines_are_found_by_who_what_when_and_the_result(
    audit: Path, words: list[str], commands: list[str]
) -> None:
    assert shown(audit, *words) == commands


def test_lines_are_shown_as_rows_where_nobody_looks_at_columns(audit: Path) -> None:
    ended = command_line("audit", "show", audit, "--access", "write")
    assert ended.returncode == 0
    first, second = ended.stdout.splitlines()
    assert re.fullmatch(
        r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3} admin \(boss\) +config-set @dhcp4 +1 in 1\.5 ms "
        r'\{"a":"b\\u001b\[2J"\}',
        first,
    )
    assert "lease4-del @dhcp6" in second


@pytest.mark.parametrize("columns", [40, 80, 120])
def test_lines_fit_the_terminal(audit: Path, columns: int) -> None:
    with Terminal("audit", "show", audit, columns=columns) as terminal:
        terminal.expect("lease4-del")
        assert terminal.wait() == 0
        rows = terminal.text.splitlines()
    assert max(map(len, rows)) <= columns


def test_lines_that_cannot_be_read_are_counted_at_the_end(audit: Path) -> None:
    with audit.open("ab") as file:
        file.write(b"nonsense\n{}\n")
    ended = command_line("audit", "show", audit)
    assert ended.returncode == PROTOCOL
    assert "lease4-del" in ended.stdout
    assert ended.stderr == 'bridle: 2 lines cannot be read: see "bridle audit verify"\n'


def test_new_lines_are_shown_as_they_are_written_until_it_is_interrupted(audit: Path, tmp_path: Path) -> None:
    words = ["audit", "show", audit, "--follow", "--command", "say", "--result", "0"]
    program = BridleProgram([*words, "--json"], tmp_path, name="follower")
    program.start()
    try:
        file = AuditFile.open(audit, max_size=200)
        for number in range(5):
            line = b'{"time":"2026-11-25T10:00:00.000000Z","command":"say","result":%d}'
            file.append([], file.number, line % (number % 2))
            count = number // 2 + 1
            assert poll(lambda count=count: len(program.stdout.splitlines()) == count)
        file.close()
        assert len([*tmp_path.glob("audit.jsonl.*")]) > 4
        program.process.send_signal(signal.SIGINT)
        assert program.wait() == INTERRUPTED
    finally:
        program.stop()
    assert [json.loads(line)["result"] for line in program.stdout.splitlines()] == [0, 0, 0]
    assert program.stderr.strip() == ""


def test_it_follows_as_people_read_it_and_tells_of_lines_that_cannot_be_read(audit: Path) -> None:
    with Terminal("audit", "show", "-f", audit, columns=80) as terminal:
        terminal.expect("lease4-del")
        with audit.open("ab") as file:
            later = b'{"n":99,"time":"2026-11-25T10:00:00.000000Z","command":"later","digest":"%b"}\n'
            file.write(b"nonsense\n" + later % (b"0" * 64))
        terminal.expect("a line cannot be read")
        terminal.expect("later")
        terminal.process.send_signal(signal.SIGINT)
        assert terminal.wait() == INTERRUPTED
        assert "Traceback" not in terminal.text


def test_its_help_says_what_one_needs() -> None:
    ended = command_line("audit", "verify", "--help")
    flat = " ".join(ended.stdout.split())
    for part in (
        "--key-file",
        "--anchor NUMBER:DIGEST",
        "--copies",
        "The exit status is 0 if all is well, 1 if not.",
    ):
        assert part in flat


# How a line is shown


def test_each_kind_of_line_is_shown() -> None:
    base = {"n": 1, "time": "2026-11-25T18:00:00.123456Z"}

    def row(**facts: object) -> str:
        return " ".join(render(msgspec.convert({**base, **facts}, Entry), 0).split()[2:])

    assert row(event="start") == "- (start)"
    assert row(event="intent", command="x", uid=5).startswith("uid 5 x is about to be done")
    assert row(command="x", tls_subject="cn", result=1, reason="role r") == "cn x 1 (role r)"
    assert row(command="x", address="192.0.2.1", result=0, omitted=70000) == "192.0.2.1 x 0 [70000 bytes]"
    assert row(command="x\ny", transport="fifo", result=0, duration=1500) == "fifo x y 0 in 1.5 ms"


def test_times_are_read_as_people_write_them() -> None:
    now = datetime(2026, 11, 25, 18, 0, tzinfo=UTC)
    assert read_time("90s", now) == "2026-11-25T17:58:30.000000Z"
    assert read_time("2d", now) == "2026-11-23T18:00:00.000000Z"
    assert read_time("2026-11-25T18:00:00+02:00", now) == "2026-11-25T16:00:00.000000Z"
    for wrong in ("", "x", "5", "5y", "999999999d", "2026-13-01", "-5m"):
        with pytest.raises(ValueError, match="is no time"):
            read_time(wrong, now)
