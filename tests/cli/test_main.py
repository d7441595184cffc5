"""``bridle``: its commands, its help, its version."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import bridle
from tests.support.bridle import COMMAND_SECONDS, bridle_environment, command_line

COMMANDS = (
    "access",
    "agent",
    "audit",
    "bngblaster",
    "bngblaster-cli",
    "bngblasterctrl",
    "call",
    "kamcmd",
    "kea-shell",
    "passwd",
    "run",
    "shell",
    "token",
)
USAGE = 64


def help_of(*words: str) -> str:
    """The help of a command, as a terminal of 80 columns shows it."""
    variables = {**bridle_environment(), "COLUMNS": "80"}
    argv = [sys.executable, "-m", "bridle", *words, "--help"]
    ended = subprocess.run(
        argv, capture_output=True, text=True, timeout=COMMAND_SECONDS, env=variables, check=False
    )
    assert (ended.returncode, ended.stderr) == (0, "")
    return ended.stdout


MENTIONED = {
    (): ["Usage: ", "ENDPOINT is [DIALECT+]TRANSPORT:ADDRESS", "unix:/", "http://127.0.0.1:8000", *COMMANDS],
    ("agent",): [
        "-c FILE",
        "-t FILE",
        "-d",
        "--listen HOST:PORT",
        "kea-ctrl-agent.conf",
        "SIGHUP",
        "SIGTERM",
    ],
    ("call",): [
        "ENDPOINT COMMAND [ARGUMENTS]...",
        "KEY=VALUE",
        "@FILE",
        "standard input",
        "--service",
        "--json",
        "--timeout SECONDS",
        "[default: 10.0]",
        "--user",
        "--password-file",
        "--ca",
        "--cert",
        "--key",
        "exit status",
        "64 wrong usage, 69 unreachable, 75 no answer in time, 76 no sense",
        "bridle call unix:/run/kea/kea4-ctrl-socket status-get",
    ],
    ("run",): [
        "MODULE:CLASS",
        "[ENDPOINT]...",
        "-c FILE",
        "-d",
        "SIGTERM or Ctrl-C",
        "SIGHUP",
        "bridle run ",
    ],
    ("shell",): ["ENDPOINT", "--service", "--json", "--timeout"],
    ("audit",): ["verify", "show"],
    ("audit", "verify"): ["FILE...", "--key-file", "--anchor NUMBER:DIGEST", "exit status is 0"],
    ("audit", "show"): ["FILE...", "--user", "--command", "--since", "--result", "--json"],
    ("token",): ["create", "list", "revoke"],
    ("token", "create"): ["FILE NAME", "--user", "--role", "--expires DURATION", "[default: 90d]"],
    ("passwd",): ["password-hash", "standard input"],
    ("bngblaster",): ["-C", "-S", "-J", "-L", "-c", "SIGINT ends all sessions", "SIGTERM and SIGHUP"],
    ("bngblasterctrl",): ["-a", "-d DIR", "-e COMMAND", "-upload", "bngblaster-controller", "go on when it"],
    ("bngblaster-cli",): ["SOCKET COMMAND [KEY VALUE]...", "--timeout", "exit status is 0 for ok"],
    ("kamcmd",): ["-s address", "-R path", "-D folder", "-f format", "--json", "-v", "-V", "exit status is"],
    ("kea-shell",): ["--host", "--port", "--service", "--auth-user", "--ca"],
}


@pytest.mark.parametrize(("words", "mentioned"), MENTIONED.items(), ids=lambda value: " ".join(value)[:20])
def test_help_fits_a_terminal_and_says_what_one_needs(words: tuple[str, ...], mentioned: list[str]) -> None:
    text = help_of(*words)
    assert [line for line in text.splitlines() if len(line) > 80] == []
    flat = " ".join(text.split())
    missing = [part for part in mentioned if part not in flat]
    assert not missing


def test_every_command_has_its_line_in_the_help() -> None:
    lines = help_of().split("Commands:\n")[1].splitlines()
    assert [line.split()[0] for line in lines] == list(COMMANDS)
    assert all(line.endswith(".") for line in lines)


@pytest.mark.parametrize("words", [["-h"], ["--help"], ["call", "-h"]])
def test_help_has_a_short_form(words: list[str]) -> None:
    ended = command_line(*words)
    assert ended.returncode == 0
    assert ended.stdout.startswith("Usage: ")


def test_a_shell_can_complete_its_commands() -> None:
    variables = {
        **bridle_environment(),
        "COMP_WORDS": "bridle ",
        "COMP_CWORD": "1",
        "_BRIDLE_COMPLETE": "bash_complete",
    }
    script = Path(sys.executable).with_name("bridle")
    if not script.exists():
        pytest.skip("not installed as a package here")
    ended = subprocess.run(
        [script], capture_output=True, text=True, timeout=COMMAND_SECONDS, env=variables, check=False
    )
    assert [line.partition(",")[2] for line in ended.stdout.splitlines()] == list(COMMANDS)


def test_it_tells_its_version() -> None:
    ended = command_line("--version")
    assert (ended.returncode, ended.stdout) == (0, f"bridle {bridle.__version__}\n")


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["frobnicate"], "No such command 'frobnicate'"),
        (["--frobnicate"], "--frobnicate"),
        (["cal"], "No such command 'cal'"),
        ([], "Usage: "),
    ],
)
def test_what_it_does_not_know_is_wrong_usage(words: list[str], says: str) -> None:
    ended = command_line(*words)
    assert (ended.returncode, ended.stdout) == (USAGE, "")
    assert says in ended.stderr
    assert "Traceback" not in ended.stderr


def test_the_installed_script_is_the_same_program() -> None:
    script = Path(sys.executable).with_name("bridle")
    if not script.exists():
        pytest.skip("not installed as a package here")
    ended = subprocess.run(
        [script, "--version"],
        capture_output=True,
        text=True,
        timeout=COMMAND_SECONDS,
        env={**os.environ, "PYTHONWARNINGS": "error"},
        check=False,
    )
    assert (ended.returncode, ended.stdout) == (0, f"bridle {bridle.__version__}\n")


def test_help_loads_no_command() -> None:
    program = (
        "import sys, bridle.cli.main as m\n"
        "sys.argv = ['bridle', '--help']\n"
        "try:\n    m.main()\n"
        "except SystemExit: pass\n"
        "print(*(name for name in sys.modules if name.startswith('bridle.')), file=sys.stderr)"
    )
    ended = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        timeout=COMMAND_SECONDS,
        env=bridle_environment(),
        check=True,
    )
    assert "bridle.core.results" in ended.stderr
    assert "bridle.client" not in ended.stderr
    assert "bridle.daemon" not in ended.stderr
