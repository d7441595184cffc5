"""The documented ``cat command.json | nc -U SOCKET``, with a newline at the end of the file."""

from __future__ import annotations

import json
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.bridle import EmbeddedDaemon
from tests.support.programs import require, short_directory

pytestmark = pytest.mark.peers("nc.openbsd")

NC_SECONDS = 10.0
TIMES = 1000
CONFIGURATION = {
    "interfaces": {"network": {"interface": "n0"}, "access": {"interface": "a0", "outer-vlan": 1}},
    "session-traffic": {"ipv4-pps": 1, "ipv6-pps": 1, "ipv6pd-pps": 1},
}
SCRIPT = 'i=0; while [ $i -lt {times} ]; do cat "{file}" | {nc} -U "{socket}"; echo; i=$((i+1)); done'


@pytest.fixture(scope="module", autouse=True)
def place() -> Iterator[Path]:
    """The control socket of the session daemon."""
    with short_directory() as directory:
        path = directory / "bng"
        file = directory / "bng.json"
        file.write_text(json.dumps(CONFIGURATION))
        endpoints = [f"bngblaster+unix:{path}"]
        with EmbeddedDaemon("bng", directory, configuration=file, endpoints=endpoints):
            yield path


def test_the_whole_answer_is_printed_every_time(place: Path, short_path: Path) -> None:
    file = short_path / "command.json"
    file.write_text('{\n    "command": "session-info",\n    "arguments": { "session-id": 1 }\n}\n')
    script = SCRIPT.format(times=TIMES, file=file, nc=require("nc.openbsd"), socket=place)
    ended = subprocess.run(["sh", "-c", script], capture_output=True, text=True, timeout=60, check=False)
    assert ended.stderr == ""
    lines = ended.stdout.splitlines()
    assert len(lines) == TIMES
    for line in lines:
        told = json.loads(line)
        assert told["session-info"]["session-id"] == 1
        assert list(told) == ["status", "code", "session-info"]


def test_clients_that_say_nothing_hold_up_nobody(place: Path) -> None:
    silent: list[socket.socket] = []
    try:
        for _ in range(50):
            sock = socket.socket(socket.AF_UNIX)
            silent.append(sock)
            sock.connect(str(place))
        speaking = []
        for _ in range(50):
            sock = socket.socket(socket.AF_UNIX)
            silent.append(sock)
            speaking.append(sock)
            sock.settimeout(NC_SECONDS)
            sock.connect(str(place))
        for sock in speaking:
            sock.sendall(b'{"command": "session-counters"}')
        for sock in speaking:
            answer = b""
            while data := sock.recv(65536):
                answer += data
            assert json.loads(answer)["status"] == "ok"
    finally:
        for sock in silent:
            sock.close()
