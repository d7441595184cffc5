"""What holds for every test: real programs are asked for by a marker, and nothing is left behind."""

from __future__ import annotations

import gc
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.netns import possible
from tests.support.programs import missing, poll, short_directory

GRACE_SECONDS = 0.5
"""How long what a test has closed or stopped may take to be gone, where another thread has to see to it."""


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip a test whose peers are not installed; fail it where ``BRIDLE_REQUIRE_PEERS=1`` promises them."""
    absent = missing(name for marker in item.iter_markers("peers") for name in marker.args)
    if not absent and item.get_closest_marker("namespaces") is not None and not possible():
        absent = ["the right to make network namespaces"]
    if not absent:
        return
    reason = f"not installed: {', '.join(dict.fromkeys(absent))}"
    if os.environ.get("BRIDLE_REQUIRE_PEERS") == "1":
        pytest.fail(f"{reason} (BRIDLE_REQUIRE_PEERS=1)", pytrace=False)
    pytest.skip(reason)


@pytest.fixture
def short_path() -> Iterator[Path]:
    """A directory of the test's own whose path leaves room for a unix socket's 107 bytes."""
    with short_directory() as directory:
        yield directory


@pytest.fixture(scope="session", autouse=True)
def private_files() -> Iterator[None]:
    """Write files as a service does: keys and passwords that others can read are not used."""
    before = os.umask(0o027)
    yield
    os.umask(before)


@pytest.fixture(autouse=True)
def nothing_left_behind() -> Iterator[None]:
    """Fail a test that leaves a child process, a socket or an event loop.

    What fixtures of a wider scope hold was there before, and does not count.
    """
    before = _held()
    yield
    if _held() - before:
        gc.collect()
        poll(lambda: not _held() - before, GRACE_SECONDS)
        left = _held() - before
        assert not left, f"left behind: {', '.join(map(_describe, sorted(left)))}"


def _held() -> set[tuple[str, str]]:
    """The child processes of this one, ended but not waited for among them, and its sockets and pollers."""
    return {*_children(), *_descriptors()}


def _describe(held: tuple[str, str]) -> str:
    kind, name = held
    return f"{kind} {name} {_command(name) or '(not waited for)'}" if kind == "process" else f"{kind} {name}"


def _children() -> Iterator[tuple[str, str]]:
    for thread in Path("/proc/self/task").iterdir():
        try:
            pids = (thread / "children").read_text().split()
        except OSError:  # the thread has ended since
            continue
        yield from (("process", pid) for pid in pids if "resource_tracker" not in _command(pid))


def _command(pid: str) -> str:
    try:
        words = Path("/proc", pid, "cmdline").read_bytes().split(b"\0")
    except OSError:
        return ""
    return b" ".join(words).decode(errors="replace").strip()


def _descriptors() -> Iterator[tuple[str, str]]:
    for descriptor in Path("/proc/self/fd").iterdir():
        try:
            target = str(descriptor.readlink())
        except OSError:  # the descriptor of the listing itself
            continue
        if target.startswith("socket:"):
            yield "socket", target
        elif target == "anon_inode:[eventpoll]":
            yield "event loop", f"(descriptor {descriptor.name})"
