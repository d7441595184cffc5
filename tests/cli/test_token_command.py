"""``bridle token`` and ``bridle passwd``."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest

from bridle.access.passwords import verify_hash
from bridle.access.tokens import Tokens
from tests.support.bridle import command_line
from tests.support.terminal import Terminal

USAGE = 64


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A file of tokens."""
    return tmp_path / "tokens.json"


def made(path: Path, *words: str) -> str:
    ended = command_line("token", "create", path, *words)
    assert (ended.returncode, ended.stderr) == (0, "")
    return ended.stdout.strip()


def listed(path: Path) -> list[dict[str, str]]:
    found: list[dict[str, str]] = json.loads(command_line("token", "list", path).stdout)
    return found


def test_a_token_is_printed_once_and_good_until_it_is_revoked(path: Path) -> None:
    token = made(path, "ci", "--user", "builder", "--role", "reader")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    found = Tokens(path).find(token)
    assert found is not None
    assert (found.user, found.role) == ("builder", "reader")
    assert token not in command_line("token", "list", path).stdout
    assert command_line("token", "revoke", path, "ci").returncode == 0
    assert Tokens(path).find(token) is None
    assert listed(path) == []


def test_tokens_expire_in_ninety_days_unless_one_says_otherwise(path: Path) -> None:
    made(path, "usual")
    made(path, "short", "--expires", "1s")
    made(path, "endless", "--expires", "never")
    usual, short, endless = listed(path)
    assert usual["user"] == "usual"
    assert usual["created"] < short["expires"] < usual["expires"]
    assert (endless["expires"], endless["state"]) == ("never", "good")


def test_a_terminal_shows_a_table(path: Path) -> None:
    made(path, "ci", "--role", "reader")
    with Terminal("token", "list", path, columns=100) as terminal:
        terminal.expect("reader")
        assert terminal.wait() == 0
    assert command_line("token", "revoke", path, "ci").returncode == 0
    with Terminal("token", "list", path) as terminal:
        terminal.expect("no tokens")
        assert terminal.wait() == 0


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["create", "FILE", "ci"], "there is a token 'ci' already"),
        (["create", "FILE", "x", "--expires", "soon"], "'soon' is no duration"),
        (["create", "FILE", "x", "--expires", "0d"], "'0d' is no duration"),
        (["create", "FILE", "x", "--expires", "999999999y"], "too long"),
        (["create", "FILE", ""], "1 to 64 printable characters"),
        (["create", "/none/tokens", "x"], "cannot use '/none'"),
        (["revoke", "FILE", "x"], "there is no token 'x'"),
        (["list"], "Missing argument"),
        (["bogus"], "No such command"),
    ],
)
def test_what_cannot_be_done_is_said(path: Path, words: list[str], says: str) -> None:
    made(path, "ci")
    before = path.read_bytes()
    ended = command_line("token", *(str(path) if word == "FILE" else word for word in words))
    assert (ended.returncode, ended.stdout) == (USAGE, "")
    assert says in ended.stderr
    assert "Traceback" not in ended.stderr
    assert path.read_bytes() == before


def test_a_file_that_is_not_there_is_not_an_empty_one(path: Path) -> None:
    ended = command_line("token", "list", path)
    assert (ended.returncode, ended.stdout) == (1, "")
    assert ended.stderr == f"bridle: there is no file '{path}'\n"
    assert not path.exists()


def test_a_file_that_others_can_read_is_refused(path: Path) -> None:
    made(path, "ci")
    path.chmod(0o644)
    ended = command_line("token", "list", path)
    assert ended.returncode == USAGE
    assert ended.stderr == f"bridle: '{path}' holds secrets and can be read by others: chmod go= '{path}'\n"


# Passwords


def test_a_password_from_standard_input_becomes_a_hash() -> None:
    ended = command_line("passwd", stdin="s3cr3t\n")
    assert (ended.returncode, ended.stderr) == (0, "")
    assert verify_hash(ended.stdout.strip(), b"s3cr3t")


def test_a_password_is_asked_for_twice_and_not_shown() -> None:
    with Terminal("passwd") as terminal:
        terminal.expect("Password:")
        terminal.enter("s3cr3t\n")
        terminal.expect("Repeat")
        terminal.enter("s3cr3t\n")
        terminal.expect("$argon2id$")
        assert terminal.wait() == 0
        assert "s3cr3t" not in terminal.text


def test_no_password_is_no_password() -> None:
    ended = command_line("passwd", stdin="\n")
    assert (ended.returncode, ended.stdout) == (USAGE, "")
