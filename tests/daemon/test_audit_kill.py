"""A daemon that is killed: each answered change is in its audit, whose chain is whole."""

from __future__ import annotations

import json
import os
import random
import signal
import threading
from pathlib import Path

import pytest

import bridle
from bridle.access.audit_files import files_of
from bridle.access.audit_verify import verify
from tests.support.audits import lines, written
from tests.support.bridle import EmbeddedDaemon

KETTLE = "tests.support.kettle:Kettle"
KILLS = 10
CLIENTS = 4


def changes(path: Path, name: str, answered: list[str], begun: threading.Event) -> None:
    """Send changes over one connection until the daemon is gone; remember those that were answered."""
    with bridle.connect(f"unix:{path}", timeout=10) as client:
        for number in range(1_000_000):
            label = f"{name}-{number}"
            access = {"audit": {"file": str(path.with_name("audit.jsonl"))}}
            configuration = {"Kettle": {"label": label, "access": access}}
            try:
                client.call("config-set", configuration)
            except bridle.TransportError:
                return
            answered.append(label)
            begun.set()


@pytest.mark.timeout(120)
def test_each_answered_change_of_a_killed_daemon_is_in_its_audit(short_path: Path) -> None:
    audit, file = short_path / "audit.jsonl", short_path / "kettle.conf"
    file.write_text(json.dumps({"Kettle": {"access": {"audit": {"file": str(audit)}}}}))
    chance, answered = random.Random(7), list[str]()
    for run in range(KILLS):
        daemon = EmbeddedDaemon(KETTLE, short_path, configuration=file)
        daemon.start()
        begun = threading.Event()
        clients = [
            threading.Thread(target=changes, args=(daemon.socket, f"{run}-{number}", answered, begun))
            for number in range(CLIENTS)
        ]
        for client in clients:
            client.start()
        assert begun.wait(10)
        begun.clear()
        threading.Event().wait(chance.uniform(0, 0.05))  # where in the writing it hits is left to chance
        os.kill(daemon.pid, signal.SIGKILL)
        for client in clients:
            client.join(20)
            assert not client.is_alive()
        daemon.wait()
        daemon.stop()
    written(audit, 0)  # the last one's repair
    report = verify([audit])
    assert (report.findings, report.notes) == ([], [])
    found = [line for each in files_of(audit) for line in lines(each) if line.get("command") == "config-set"]
    labels = {line["arguments"]["Kettle"]["label"] for line in found}
    assert set(answered) - labels == set()
    assert len(answered) >= KILLS
