"""``bridle agent``: its options. What it does then stands in ``tests/agent``."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.support.bridle import Agent, BridleProgram, command_line
from tests.support.kea import listens, post
from tests.support.programs import free_port, poll

USAGE = 64


def written(folder: Path, port: int) -> Path:
    """A configuration file."""
    file = folder / "agent.conf"
    file.write_text(json.dumps({"Control-agent": {"http-port": port}}))
    return file


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ([], "a configuration file is needed: -c FILE"),
        (["-c"], "Option '-c' requires an argument"),
        (["-c", "x", "y"], "Got unexpected extra argument (y)"),
        (["-c", "x", "--listen", "8000"], "--listen takes HOST:PORT or http+unix:PATH, not '8000'"),
        (["-c", "x", "--listen", "127.0.0.1:70000"], "--listen takes HOST:PORT"),
        (["-c", "x", "--listen", ":8000"], "--listen takes HOST:PORT"),
    ],
)
def test_what_cannot_be_meant_is_wrong_usage(words: list[str], says: str) -> None:
    ended = command_line("agent", *words)
    assert (ended.returncode, ended.stdout) == (USAGE, "")
    assert says in " ".join(ended.stderr.split())
    assert "Traceback" not in ended.stderr


def test_a_check_opens_nothing(tmp_path: Path) -> None:
    with Agent(tmp_path, {}) as running:
        file = written(tmp_path, running.port)
        ended = command_line("agent", "-t", file)
        assert (ended.returncode, ended.stderr) == (0, "")
        assert ended.stdout == f"{file}: the configuration can be used\n"


@pytest.mark.parametrize(
    ("members", "says"),
    [
        (
            '"access": { "audit": {\n"file": "/no/such/audit.log" } }',
            "audit: the folder '/no/such' of 'file' does not exist ({f}:2.9-28)",
        ),
        (
            '"hooks-libraries": [ {\n"library": "/no/p.py" } ]',
            "plugin '/no/p.py' cannot be imported: FileNotFoundError: no such file: /no/p.py ({f}:2.12-21)",
        ),
        (
            '"loggers": [ { "name": "a",\n"severity": "LOUD" } ]',
            "unknown severity 'LOUD': there are FATAL, ERROR, WARN, INFO, DEBUG, NONE ({f}:2.13-18)",
        ),
    ],
)
def test_a_check_refuses_what_a_start_would(tmp_path: Path, members: str, says: str) -> None:
    file = tmp_path / "agent.conf"
    file.write_text(f'{{ "Control-agent": {{ "http-port": {free_port()}, {members} }} }}')
    for option in ("-t", "-c"):
        ended = command_line("agent", option, file)
        assert (ended.returncode, ended.stdout) == (1, "")
        assert says.replace("{f}", str(file)) in ended.stderr
    assert list(tmp_path.iterdir()) == [file], "nothing is made"


def test_a_check_makes_nothing(tmp_path: Path) -> None:
    file = tmp_path / "agent.conf"
    audit = tmp_path / "audit.log"
    plugin = tmp_path / "plugin.py"
    plugin.write_text("raise RuntimeError('nobody runs it')")
    file.write_text(
        json.dumps(
            {
                "Control-agent": {
                    "access": {"audit": {"file": str(audit)}},
                    "hooks-libraries": [{"library": str(plugin)}],
                }
            }
        )
    )
    ended = command_line("agent", "-t", file)
    assert (ended.returncode, ended.stderr) == (0, "")
    assert not audit.exists()


def test_a_port_in_use_is_said_in_one_line(tmp_path: Path) -> None:
    with Agent(tmp_path, {}) as running:
        ended = command_line("agent", "-c", written(tmp_path, running.port))
        assert (ended.returncode, ended.stdout) == (1, "")
        where = f"http://127.0.0.1:{running.port}"
        assert ended.stderr == f"Control-agent: cannot listen on {where}: address already in use\n"


def test_it_tells_where_it_listens(tmp_path: Path) -> None:
    with Agent(tmp_path, {}) as running:
        assert poll(lambda: f"bridle agent: listening on {running.endpoint}\n" in running.stderr)


def test_another_address_may_be_given(tmp_path: Path) -> None:
    other, port = free_port(), free_port()
    words = ["agent", "-c", str(written(tmp_path, other)), "--listen", f"127.0.0.1:{port}", "-d"]
    program = BridleProgram(words, tmp_path, name="agent")
    program.ready = lambda: "listening on" in program.stderr  # type: ignore[method-assign]
    with program:
        assert post(port, b'{"command": "version-get"}').status == 200
        assert not listens(other)


def test_shutdown_is_answered_and_ends_it_with_its_value(tmp_path: Path) -> None:
    running = Agent(tmp_path, {})
    running.start()
    try:
        answer = post(running.port, b'{"command": "shutdown", "arguments": {"exit-value": 9}}')
        assert answer.document == [{"result": 0, "text": "Control Agent is shutting down"}]
        assert running.wait() == 9
    finally:
        running.stop()
    running.check(0)
