"""The guards that every test runs under: a marker for real programs, and nothing left behind."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.programs import ROOT, find, missing

PROBES = """
import asyncio, os, socket, subprocess, sys
import pytest

kept = []

def test_leaves_nothing():
    asyncio.run(asyncio.sleep(0))
    subprocess.run([sys.executable, "-c", ""])
    socket.socket().close()

def test_leaves_a_process():
    kept.append(subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE))

def test_leaves_a_process_that_has_ended():
    if os.fork() == 0:
        os._exit(0)

def test_leaves_an_event_loop():
    kept.append(asyncio.new_event_loop())

def test_leaves_a_socket():
    kept.append(socket.socket())

@pytest.mark.peers("no-such-program", "sh", "neither-this")
def test_needs_what_is_not_there():
    pass

@pytest.mark.peers("sh")
def test_needs_what_is_there():
    pass

@pytest.fixture(scope="module")
def wide():
    with socket.socket() as opened:
        yield opened

def test_uses_a_socket_of_a_wider_scope(wide):
    assert wide.fileno() >= 0
"""


def probe(directory: Path, *selection: str, require: str) -> str:
    """What pytest reports of the probes, or of a selection of them."""
    (directory / "test_probes.py").write_text(PROBES)
    argv = [sys.executable, "-m", "pytest", "-p", "tests.conftest", "-p", "no:cacheprovider", "-v", "-rs"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "BRIDLE_REQUIRE_PEERS": require}
    environment.pop("PYTEST_XDIST_WORKER", None)
    completed = subprocess.run(
        [*argv, *selection, "-c", os.devnull, "--rootdir", str(directory), str(directory)],
        capture_output=True,
        text=True,
        timeout=25,
        env=environment,
        cwd=directory,
        check=False,
    )
    return completed.stdout


def verdicts(report: str) -> dict[str, str]:
    """The last word on each test."""
    words = (line.split() for line in report.splitlines() if line.startswith("test_probes.py::"))
    return {found[0].partition("::")[2]: found[1] for found in words}


def test_a_test_that_leaves_something_behind_fails_and_is_told_what(tmp_path: Path) -> None:
    report = probe(tmp_path, require="0")

    assert verdicts(report) == {
        "test_leaves_nothing": "PASSED",
        "test_leaves_a_process": "ERROR",
        "test_leaves_a_process_that_has_ended": "ERROR",
        "test_leaves_an_event_loop": "ERROR",
        "test_leaves_a_socket": "ERROR",
        "test_needs_what_is_not_there": "SKIPPED",
        "test_needs_what_is_there": "PASSED",
        "test_uses_a_socket_of_a_wider_scope": "PASSED",
    }
    for told in ("-c input()", "(not waited for)", "event loop (descriptor ", "socket:["):
        assert told in report
    assert "not installed: no-such-program, neither-this" in report


def test_missing_peers_fail_where_they_are_required(tmp_path: Path) -> None:
    report = probe(tmp_path, "-k", "needs", require="1")

    assert verdicts(report)["test_needs_what_is_not_there"] == "ERROR"
    assert verdicts(report)["test_needs_what_is_there"] == "PASSED"
    assert "not installed: no-such-program, neither-this (BRIDLE_REQUIRE_PEERS=1)" in report


def test_programs_are_found_in_the_path_and_missing_ones_are_named() -> None:
    assert find("sh") is not None
    assert missing(["sh", "no-such-program"]) == ["no-such-program"]


@pytest.mark.peers("pyisckea", "pykeadhcp")
def test_a_peer_library_is_found_as_the_interpreter_that_imports_it() -> None:
    for library in ("pyisckea", "pykeadhcp"):
        subprocess.run([str(find(library)), "-c", f"import {library}"], check=True, timeout=20)
