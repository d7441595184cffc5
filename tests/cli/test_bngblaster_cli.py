"""``bridle bngblaster-cli``: what is typed, what is printed, and how it ends."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from bridle.cli.bngblaster_cli import read_value
from tests.replay.bngblaster import rows
from tests.support.bridle import command_line


@pytest.mark.parametrize(
    ("word", "value"),
    [
        ("1", 1),
        ("-1", -1),
        (" 1 ", 1),
        ("1_0", 10),
        ("0x1", 1),
        ("1.5", 1.5),
        ("[1,2,3,4]", [1, 2, 3, 4]),
        ("(1, 2)", [1, 2]),
        ("'[1]'", "[1]"),
        ("True", True),
        ("None", None),
        ("true", "true"),
        ("239.0.0.1", "239.0.0.1"),
        ("[1,", "[1,"),
        ("{1}", "{1}"),
        ("b'x'", "b'x'"),
        ("", ""),
    ],
)
def test_a_value_is_what_it_looks_like(word: str, value: object) -> None:
    read = read_value(word)
    assert (read, type(read)) == (value, type(value))


@contextmanager
def answering(path: Path, answer: bytes) -> Iterator[list[bytes]]:
    """A server that answers one request."""
    seen: list[bytes] = []
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(path))
        listening.listen()
        listening.settimeout(15)

        def serve() -> None:
            connection, _ = listening.accept()
            with connection:
                connection.settimeout(15)
                seen.append(connection.recv(65536))
                for start in range(0, len(answer), 1000):
                    connection.sendall(answer[start : start + 1000])

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield seen
        finally:
            thread.join()


SHOWN = [row for row in rows() if row.note in ("session-info id 1", "session-info unknown", "interfaces")][:4]


@pytest.mark.parametrize("row", SHOWN, ids=lambda row: f"{row.number}")
def test_an_answer_is_printed_as_the_real_tool_prints_it(short_path: Path, row: object) -> None:
    response = row.response  # type: ignore[attr-defined]
    with answering(short_path / "s", response.encode()) as seen:
        ended = command_line("bngblaster-cli", short_path / "s", "session-info", "session-id", "1")
    assert ended.stdout == json.dumps(json.loads(response), indent=4) + "\n"
    assert seen == [b'{"command": "session-info", "arguments": {"session-id": 1}}']
    assert (ended.returncode == 0) == (json.loads(response)["status"] == "ok")


@pytest.mark.parametrize(
    ("answer", "status"),
    [
        ('{"status": "ok", "code": 200}', 0),
        ('{"status": "warning", "code": 404, "message": "session not found"}', 3),
        ('{"status": "error", "code": 400, "message": "unknown command"}', 2),
        ('{"status": "error", "code": 409, "message": "group already exists"}', 4),
        ('{"status": "error", "code": 405, "message": "wrong session state"}', 1),
        ('{"odd": 1}', 76),
        ("[1]", 76),
        ("<html>", 76),
        ('{"status": "ok"', 76),
        ("", 76),
    ],
)
def test_the_exit_status_says_how_it_went(short_path: Path, answer: str, status: int) -> None:
    with answering(short_path / "s", answer.encode()):
        ended = command_line("bngblaster-cli", short_path / "s", "x")
    assert ended.returncode == status
    assert "Traceback" not in ended.stderr


def test_commands_are_listed_with_their_arguments(short_path: Path) -> None:
    listed = [{"command": "a", "arguments": ["x", "y"]}, {"command": "b", "arguments": []}, {"command": "c"}]
    answer = {"status": "ok", "code": 200, "commands": listed}
    with answering(short_path / "s", json.dumps(answer).encode()):
        ended = command_line("bngblaster-cli", short_path / "s", "commands")
    assert ended.stdout == "a [x|y]\nb\nc\n"


def test_a_key_without_its_value_is_refused(short_path: Path) -> None:
    ended = command_line("bngblaster-cli", short_path / "s", "terminate", "session-id")
    assert (ended.returncode, ended.stdout) == (64, "")
    assert "'session-id' has no value" in ended.stderr


def test_nobody_there_is_told(short_path: Path) -> None:
    ended = command_line("bngblaster-cli", short_path / "s", "interfaces")
    assert (ended.returncode, ended.stdout) == (69, "")
    assert "No such file" in ended.stderr
