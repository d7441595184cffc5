"""An audit whose process is killed in the middle: its chain is whole, and all that was answered is in it."""

from __future__ import annotations

import random
import subprocess
import sys
import time
from pathlib import Path

import pytest

from bridle.access.audit_files import files_of
from bridle.access.audit_verify import verify
from tests.support.audits import lines, written
from tests.support.bridle import bridle_environment
from tests.support.programs import ROOT

KILLS = 50
PARTS = 5


def killed_writer(path: Path, run: int, seconds: float) -> list[str]:
    """Write for so long after the first answer, and be killed; the marks of the answers."""
    argv = [sys.executable, "-m", "tests.support.audit_writer", str(path), str(run)]
    with subprocess.Popen(
        argv, stdout=subprocess.PIPE, text=True, env=bridle_environment(), cwd=ROOT
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        answered = [process.stdout.readline()]
        time.sleep(seconds)  # not a wait for something: where in the writing it hits is left to chance
        process.kill()
        answered += process.stdout.readlines()
    return [line.strip() for line in answered if line.endswith("\n")]


@pytest.mark.timeout(120)
@pytest.mark.parametrize("part", range(PARTS))
def test_each_kill_leaves_a_whole_chain_with_every_answered_command_in_it(tmp_path: Path, part: int) -> None:
    path = tmp_path / "audit.jsonl"
    chance = random.Random(part)
    answered: list[str] = []
    for run in range(KILLS // PARTS):
        answered += killed_writer(path, run, chance.uniform(0, 0.03))
    written(path, 0)  # the last one's repair
    report = verify([path])
    assert (report.findings, report.notes) == ([], [])
    found = [line for file in files_of(path) for line in lines(file)]
    assert len(found) == report.last
    changes = {line["arguments"]["mark"] for line in found if line.get("command") == "change"}
    assert set(answered) - changes == set()
    assert len(answered) > KILLS // PARTS
