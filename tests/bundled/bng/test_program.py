"""``bridle run bng`` as its user has it: a file, a socket, the real tool's forms."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

import bridle
from tests.support.bng import ACCESS
from tests.support.bridle import BridleProgram, bridle_environment, command_line
from tests.support.programs import poll

CONFIGURATION = {
    "interfaces": {"network": {"interface": "n0"}, "access": [ACCESS]},
    "sessions": {"count": 5, "start-rate": 1000},
    "l2tp-server": {"name": "LNS1", "address": "10.0.0.11"},
    "isis": [],
}
SECONDS = 15.0


class BngProgram(BridleProgram):
    """``bridle run bng -c FILE -S PATH``."""

    def __init__(self, directory: Path) -> None:
        self.file = directory / "bng.json"
        self.file.write_text(json.dumps(CONFIGURATION))
        self.socket = directory / "bng.sock"
        super().__init__(["run", "bng", "-c", self.file, "-S", self.socket], directory, name="bng")

    def ready(self) -> bool:
        return "listening on" in self.stderr

    def ask(self, *words: str) -> subprocess.CompletedProcess[str]:
        return command_line("bngblaster-cli", str(self.socket), *words)

    def value(self, *words: str) -> object:
        ended = self.ask(*words)
        assert ended.returncode == 0, ended.stdout + ended.stderr
        return json.loads(ended.stdout)


def test_the_daemon_is_asked_by_the_command_line(short_path: Path) -> None:
    with BngProgram(short_path) as program:
        assert "isis is not simulated" in program.stderr

        def established() -> bool:
            told = program.value("session-counters")
            assert isinstance(told, dict)
            return bool(told["session-counters"]["sessions-established"] == 5)

        assert poll(established)
        told = program.ask("session-info", "session-id", "9")
        assert told.returncode != 0
        assert json.loads(told.stdout) == {"status": "warning", "code": 404, "message": "session not found"}
        endpoint = f"bngblaster+unix:{program.socket}"
        with bridle.connect(endpoint) as client:
            info = client.call("session-info", {"session-id": 2})
            assert isinstance(info, dict)
            assert info["username"] == "user2@rtbrick.com"
            with pytest.raises(bridle.CommandError, match="tunnel not found") as caught:
                client.call("l2tp-csurq", {"tunnel-id": 1, "sessions": [1, 2, 3, 4]})
            assert caught.value.code == 404


def test_terminate_ends_the_process(short_path: Path) -> None:
    with BngProgram(short_path) as program:
        assert program.value("terminate") == {"status": "ok", "code": 200, "message": "teardown requested"}
        assert poll(program.ended)
    assert not program.socket.exists()


def test_a_configuration_is_written_as_it_is_read(short_path: Path) -> None:
    """Without a root's name, as BNG Blaster has it; what was written can be read again."""
    with BngProgram(short_path) as program:
        with bridle.connect(f"bngblaster+unix:{program.socket}") as client:
            client.execute("config-write")
        written = json.loads(program.file.read_text())
        assert written["sessions"]["count"] == 5
        assert "bng" not in written
        with bridle.connect(f"bngblaster+unix:{program.socket}") as client:
            client.execute("config-reload")


def test_a_mistake_in_the_file_is_shown_with_its_place(short_path: Path) -> None:
    file = short_path / "bng.json"
    file.write_text('{\n  "sessions": {\n    "coun": 3\n  }\n}\n')
    argv = [sys.executable, "-m", "bridle", "run", "bng", "-c", str(file), "-S", f"{short_path}/s"]
    ended = subprocess.run(
        argv, capture_output=True, text=True, timeout=SECONDS, env=bridle_environment(), check=False
    )
    assert ended.returncode == 1
    assert "unknown parameter 'coun'" in ended.stderr
    assert "bng.json:3" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_a_socket_option_needs_a_daemon_that_is_reached_so(short_path: Path) -> None:
    ended = command_line("run", "bng")
    assert ended.returncode == 64
    assert "nobody could reach it" in " ".join(ended.stderr.split())
