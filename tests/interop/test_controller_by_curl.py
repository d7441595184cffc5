"""BNG Blaster's controller as its users have it: by curl, with ``bridle bngblaster`` behind it."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.bng import ACCESS
from tests.support.bridle import BridleProgram
from tests.support.kea import listens
from tests.support.programs import free_port, poll, require

pytestmark = pytest.mark.peers("curl")

SECONDS = 20
CONFIGURATION = {
    "interfaces": {"network": {"interface": "n0"}, "access": [ACCESS]},
    "sessions": {"count": 3, "start-rate": 1000, "stop-rate": 1000},
    "session-traffic": {"ipv4-pps": 10},
}


class Controller(BridleProgram):
    """``bridle bngblasterctrl`` with the session daemon behind it, and curl in front."""

    def __init__(self, folder: Path) -> None:
        self.port = free_port()
        executable = f"{sys.executable} -m bridle bngblaster"
        where: list[str | Path] = ["-a", f"127.0.0.1:{self.port}", "-d", folder / "i"]
        words = ["bngblasterctrl", *where, "-e", executable, "-upload"]
        super().__init__(words, folder, name="bngblasterctrl")

    def ready(self) -> bool:
        return listens(self.port)

    def curl(self, path: str, *options: str) -> tuple[int, str]:
        """The status and the body that curl gets."""
        url = f"http://127.0.0.1:{self.port}{path}"
        form = "\n%{http_code}"
        argv = [require("curl"), "-sS", "--max-time", str(SECONDS), "-w", form, *options, url]
        ended = subprocess.run(argv, capture_output=True, text=True, timeout=SECONDS + 5, check=False)
        assert ended.returncode == 0, ended.stderr
        body, _, status = ended.stdout.rpartition("\n")
        return int(status), body

    def counters(self) -> dict[str, int]:
        """What ``session-counters`` tells."""
        status, body = self.curl(f"{T1}/_command", "-d", '{"command": "session-counters"}')
        assert status == 200
        told: dict[str, int] = json.loads(body)["session-counters"]
        return told


T1 = "/api/v1/instances/t1"


@pytest.fixture
def controller(short_path: Path) -> Iterator[Controller]:
    """A controller whose instance is ended with the test."""
    with Controller(short_path) as program:
        yield program
        if program.curl(f"{T1}/_kill", "-X", "POST")[0] == 202:
            assert poll(lambda: "stopped" in program.curl(T1)[1])


def test_a_test_is_run_from_its_configuration_to_its_report(controller: Controller, short_path: Path) -> None:
    file, streams = short_path / "config.json", short_path / "streams.json"
    file.write_text(json.dumps(CONFIGURATION))
    streams.write_text('{"streams": [{"name": "RAW1", "direction": "downstream", "pps": 2}]}')
    assert controller.curl(T1, "-T", str(file)) == (201, "")
    assert controller.curl(f"{T1}/_upload", "-F", f"file=@{streams}") == (200, "")
    request = {
        "logging": True,
        "logging_flags": ["info"],
        "report": True,
        "report_flags": ["sessions", "streams"],
        "session_count": 2,
        "stream_config": "streams.json",
        "metric_flags": ["session_counters", "streams"],
    }
    assert controller.curl(f"{T1}/_start", "-d", json.dumps(request)) == (204, "")
    assert poll(lambda: controller.counters()["session-traffic-flows-verified"] == 4)
    status, metrics = controller.curl("/metrics")
    assert status == 200
    assert 'instance_name="t1"} 2\n' in metrics
    assert 'stream_name="RAW1"' in metrics
    assert "ALL SESSIONS ESTABLISHED" in controller.curl(f"{T1}/run.log")[1]
    assert controller.curl(f"{T1}/run.log", "-r", "0-2")[0] == 206
    status, body = controller.curl(f"{T1}/_command", "-d", '{"command": "session-info"}')
    assert (status, json.loads(body)["message"]) == (400, "missing session-id")
    assert controller.curl(f"{T1}/_stop", "-X", "POST") == (202, "")
    assert poll(lambda: "stopped" in controller.curl(T1)[1])
    report = json.loads(controller.curl(f"{T1}/run_report.json")[1])["report"]
    assert [one["session-state"] for one in report["sessions"]] == ["Terminated"] * 2
    assert "RAW1" in [one["name"] for one in report["streams"]]
    assert controller.curl(T1, "-X", "DELETE") == (204, "")
    assert controller.curl(T1, "-X", "DELETE")[0] == 404


def test_a_configuration_that_is_none_is_told_by_the_start(controller: Controller) -> None:
    assert controller.curl(T1, "-X", "PUT", "-d", '{\n  "sessions": { "coun": 3 }\n}')[0] == 201
    status, body = controller.curl(f"{T1}/_start", "-d", "{}")
    assert status == 500
    told = json.loads(body)["message"]
    assert told.startswith("not able to start: exit status 1: ")
    assert "config.json:2" in told
    assert "unknown parameter 'coun'" in told
    assert "stopped" in controller.curl(T1)[1]
