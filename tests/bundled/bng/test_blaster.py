"""``bridle bngblaster``: the session daemon in the place of the program: its options, report and log."""

from __future__ import annotations

import json
import os
import re
import signal
from pathlib import Path
from typing import Any

import pytest

import bridle
from bridle.bundled.bng.program import Overrides, Program
from bridle.bundled.bng.report import report
from bridle.bundled.bng.simulation import Simulation
from bridle.daemon.document import Document
from tests.support.bng import ACCESS
from tests.support.bridle import BridleProgram, command_line
from tests.support.programs import poll

CONFIGURATION: dict[str, Any] = {
    "interfaces": {"network": {"interface": "n0"}, "access": [ACCESS]},
    "sessions": {"count": 3, "start-rate": 1000, "stop-rate": 1000},
    "session-traffic": {"ipv4-pps": 100},
}


class Blaster(BridleProgram):
    """``bridle bngblaster`` with these options, which come behind the configuration and the socket."""

    def __init__(self, folder: Path, *words: str, configuration: dict[str, Any] | None = None) -> None:
        self.folder = folder
        self.socket = folder / "run.sock"
        file = folder / "config.json"
        file.write_text(json.dumps(configuration or CONFIGURATION))
        super().__init__(["bngblaster", "-C", file, "-S", self.socket, *words], folder, name="bngblaster")

    def ready(self) -> bool:
        return self.socket.exists()

    def counters(self) -> Any:
        """What ``session-counters`` tells."""
        with bridle.connect(f"bngblaster+unix:{self.socket}") as client:
            return client.call("session-counters")


def test_sigint_ends_all_sessions_and_leaves_a_report_and_a_log(short_path: Path) -> None:
    words = [
        "-J",
        f"{short_path}/r.json",
        "-j",
        "sessions",
        "-j",
        "streams",
        "-L",
        f"{short_path}/log",
        "-l",
        "info",
    ]
    with Blaster(short_path, *words, "-c", "2", "-b", "-f", "-u", "somebody", "-p", "secret") as blaster:
        assert poll(lambda: blaster.counters()["session-traffic-flows-verified"] == 4)
        assert blaster.counters()["sessions"] == 2, "-c stands in the place of the configuration"
        assert blaster.process is not None
        os.kill(blaster.process.pid, signal.SIGINT)
        assert poll(blaster.ended)
    assert not blaster.socket.exists()
    told = json.loads((short_path / "r.json").read_text())["report"]
    assert [one["session-state"] for one in told["sessions"]] == ["Terminated", "Terminated"]
    assert told["sessions"][0]["username"] == "somebody"
    assert [one["flow-id"] for one in told["streams"]] == [1, 2, 3, 4]
    assert told["sessions-established"] == 2
    lines = (short_path / "log").read_text().splitlines()
    assert all(re.match(r"[A-Z][a-z]{2} \d\d \d\d:\d\d:\d\d\.\d{6} \S", line) for line in lines)
    texts = [line[23:] for line in lines]
    assert "Total PPS of all streams: 400.00" in texts
    assert f"Opened control socket {blaster.socket}" in texts
    assert texts.index("ALL SESSIONS ESTABLISHED") < texts.index("ALL SESSION TRAFFIC FLOWS VERIFIED")
    assert texts[-1] == "Teardown request"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_other_signals_end_it_at_once_with_a_report(short_path: Path, number: signal.Signals) -> None:
    with Blaster(short_path, "-J", f"{short_path}/r.json") as blaster:
        assert poll(lambda: blaster.counters()["sessions-established"] == 3)
        assert blaster.process is not None
        os.kill(blaster.process.pid, number)
        assert poll(blaster.ended)
    told = json.loads((short_path / "r.json").read_text())["report"]
    assert told["sessions"] == 3
    assert told["access-interfaces"][0]["name"] == "a0"
    assert "streams" not in told


def test_terminate_leaves_a_report_as_well(short_path: Path) -> None:
    with Blaster(short_path, "-J", f"{short_path}/r.json") as blaster:
        with bridle.connect(f"bngblaster+unix:{blaster.socket}") as client:
            client.execute("terminate")
        assert poll(blaster.ended)
    assert json.loads((short_path / "r.json").read_text())["report"]["sessions"] == 3


def test_streams_come_from_a_file_of_their_own_as_well(short_path: Path) -> None:
    file = short_path / "streams.json"
    file.write_text('{"streams": [{"name": "RAW1", "direction": "downstream", "pps": 2}]}')
    with Blaster(short_path, "-T", str(file)) as blaster:
        with bridle.connect(f"bngblaster+unix:{blaster.socket}") as client:
            told = client.call("stream-summary")
        assert isinstance(told, list)
        assert [one["name"] for one in told if "session-id" not in one] == ["RAW1"]  # type: ignore[index,operator]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("{", "syntax error"),
        ('{"sessions": {}}', "unknown parameter 'sessions' beside the streams"),
        ('{"streams": [{"name": "x", "colour": 1}]}', "unknown parameter 'colour'"),
        ('{"streams": [{"pps": 1}]}', "missing required field `name`"),
    ],
)
def test_a_file_of_streams_that_is_none_is_told(short_path: Path, text: str, says: str) -> None:
    (short_path / "config.json").write_text(json.dumps(CONFIGURATION))
    (short_path / "streams.json").write_text(text)
    ended = command_line(
        *("bngblaster", "-C", short_path / "config.json", "-S", short_path / "s"),
        *("-T", short_path / "streams.json"),
    )
    assert ended.returncode == 1
    assert says in ended.stderr
    assert "streams.json" in ended.stderr
    assert "Traceback" not in ended.stderr


@pytest.mark.parametrize(
    ("words", "status", "says"),
    [
        ([], 64, "a configuration file is needed: -C FILE"),
        (["-C", "/nowhere"], 1, "Unable to open file /nowhere"),
        (["-C", "x", "-l", "nothing"], 64, "'nothing' is not one of"),
        (["-C", "x", "-c", "-1"], 64, "-1 is not in the range"),
        (["-C", "x", "-j", "all"], 64, "'all' is not one of"),
        (["-L", "/nowhere/log"], 1, "/nowhere/log: No such file or directory"),
    ],
)
def test_what_cannot_be_meant_is_told(words: list[str], status: int, says: str) -> None:
    ended = command_line("bngblaster", *words)
    assert ended.returncode == status
    assert says in " ".join(ended.stderr.split())
    assert "Traceback" not in ended.stderr


def test_the_version_has_the_form_that_the_controller_reads() -> None:
    ended = command_line("bngblaster", "-v")
    assert ended.returncode == 0
    assert [line.partition(":")[0] for line in ended.stdout.splitlines()] == [
        "Version",
        "Compiler",
        "IO Modes",
    ]


def test_a_report_that_cannot_be_written_is_told_and_no_failure(short_path: Path) -> None:
    with Blaster(short_path, "-J", "/nowhere/r.json") as blaster:
        pass
    assert "Failed to create JSON report file /nowhere/r.json" in blaster.stdout


def test_overrides_stand_in_the_place_of_the_configuration() -> None:
    program = Program(
        Overrides(count=7, group="239.0.0.1", group_count=3, zapping_interval=5, source="1.1.1.1")
    )
    settings = program.check_configuration(Document({"bngblaster": CONFIGURATION}))
    assert settings.sessions.count == 7
    assert settings.sessions.start_rate == 1000
    igmp = settings.igmp
    assert (igmp.group, igmp.group_count, igmp.zapping_interval, igmp.source) == (
        "239.0.0.1",
        3,
        5,
        "1.1.1.1",
    )
    with pytest.raises(bridle.ConfigurationError):
        Program(Overrides(group="none")).check_configuration(Document({"bngblaster": CONFIGURATION}))


def test_a_report_of_no_sessions_has_none() -> None:
    from bridle.bundled.bng.bng import settings_of

    simulation = Simulation(
        settings_of({"interfaces": {"network": {"interface": "n0"}}, "sessions": {"count": 0}})
    )
    simulation.advance(1.0)
    told = report(simulation, frozenset())["report"]
    assert isinstance(told, dict)
    assert "sessions" not in told
    assert [one["name"] for one in told["network-interfaces"]] == ["n0"]  # type: ignore[union-attr,index,call-overload]
