"""Bearer tokens: their form, their file, and who is let in by them."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridle import ConfigurationError
from bridle.access.tokens import CHECK_INTERVAL, TOKENS_LIMIT, TokenFile, Tokens, make_token, well_formed

NOW = 1_700_000_000.0


class Time:
    """Both clocks."""

    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def time() -> Time:
    """The time of a test."""
    return Time()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A file of tokens that is not there yet."""
    return tmp_path / "tokens.json"


def opened(path: Path, time: Time) -> Tokens:
    return Tokens(path, now=time, clock=time)


# Their form


def test_a_token_is_one_word_with_a_prefix() -> None:
    token = make_token()
    assert token.startswith("brd_")
    assert len(token) == 53
    assert token.replace("_", "").isalnum()
    assert well_formed(token)
    assert make_token() != token


@given(at=st.integers(0, 52), character=st.characters(min_codepoint=32, max_codepoint=300))
def test_a_typing_error_is_noticed_without_looking_it_up(at: int, character: str) -> None:
    token = "brd_ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopq3HHaQm"
    token = token[:-6] + make_checksum(token)
    assert well_formed(token)
    changed = token[:at] + character + token[at + 1 :]
    assert well_formed(changed) == (changed == token)


def make_checksum(token: str) -> str:
    from bridle.access.tokens import _checksum

    return _checksum(token[4:-6])


@given(st.text(max_size=80) | st.text(max_size=80).map("brd_".__add__))
def test_nothing_else_is_a_token(text: str) -> None:
    assert not well_formed(text)


# Their file


def test_only_hashes_are_kept_where_only_their_owner_can_read_them(path: Path) -> None:
    token = TokenFile(path).create("ci", role="reader")
    content = path.read_text()
    assert token not in content
    assert token[4:20] not in content
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [file.name for file in path.parent.iterdir()] == ["tokens.json"]


def test_tokens_are_listed_with_whom_they_speak_for_and_how_long(path: Path, time: Time) -> None:
    file = TokenFile(path, time)
    assert file.list() == []
    file.create("ci", user="builder", role="reader", lifetime=3600)
    file.create("forever")
    first, second = file.list()
    assert (first.name, first.user, first.role) == ("ci", "builder", "reader")
    assert (first.created, first.expires) == ("2023-11-14T22:13:20Z", "2023-11-14T23:13:20Z")
    assert (second.name, second.user, second.expires) == ("forever", "", "")


def test_a_name_is_used_once(path: Path) -> None:
    file = TokenFile(path)
    file.create("ci")
    with pytest.raises(ConfigurationError, match="there is a token 'ci' already: revoke it first"):
        file.create("ci")
    file.revoke("ci")
    file.create("ci")
    with pytest.raises(ConfigurationError, match="there is no token 'other'"):
        file.revoke("other")


@pytest.mark.parametrize("name", ["", "x" * 65, "a\nb", "a\x1b[2J"])
def test_a_name_can_be_printed(path: Path, name: str) -> None:
    with pytest.raises(ConfigurationError, match="1 to 64 printable characters"):
        TokenFile(path).create(name)


def test_a_lifetime_has_an_end(path: Path) -> None:
    with pytest.raises(ConfigurationError, match="too long"):
        TokenFile(path).create("ci", lifetime=1e18)


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o602, 0o666])
def test_a_file_that_others_can_read_or_write_is_refused(path: Path, mode: int) -> None:
    TokenFile(path).create("ci")
    path.chmod(mode)
    for use in (TokenFile(path).list, lambda: TokenFile(path).create("x"), lambda: Tokens(path)):
        with pytest.raises(ConfigurationError, match=r"can be (read|written) by others: chmod"):
            use()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[]",
        b"\xff",
        b'{"tokens":[{"name":"x"}]}',
        b'{"tokens":[{"name":"x","digest":"zz"}]}',
        b'{"tokens":[{"name":"x","digest":"00"}]}',
        b'{"tokens":[{"name":"x","digest":"' + b"00" * 32 + b'","expires":"tomorrow"}]}',
        b'{"tokens":[],"more":1}',
    ],
)
def test_a_file_that_is_none_of_tokens_is_refused(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    path.chmod(0o600)
    with pytest.raises(ConfigurationError, match="is no file of tokens"):
        Tokens(path)
    before = path.read_bytes()
    with pytest.raises(ConfigurationError, match="is no file of tokens"):
        TokenFile(path).create("ci")
    assert path.read_bytes() == before


def test_no_more_tokens_are_read_than_are_stated(path: Path) -> None:
    tokens = [{"name": str(number), "digest": f"{number:064x}"} for number in range(TOKENS_LIMIT)]
    path.write_text(json.dumps({"tokens": tokens}))
    path.chmod(0o600)
    Tokens(path)
    with pytest.raises(ConfigurationError, match=f"holds {TOKENS_LIMIT} tokens, the most"):
        TokenFile(path).create("one more")
    path.write_text(json.dumps({"tokens": [*tokens, {"name": "x", "digest": "f" * 64}]}))
    with pytest.raises(ConfigurationError, match=f"more than {TOKENS_LIMIT} tokens"):
        Tokens(path)


# Who is let in


def test_a_token_is_found_until_it_expires(path: Path, time: Time) -> None:
    token = TokenFile(path, time).create("ci", role="reader", lifetime=60)
    tokens = opened(path, time)
    found = tokens.find(token)
    assert found is not None
    assert (found.name, found.role) == ("ci", "reader")
    time.now += 59
    assert tokens.find(token) is not None
    time.now += 1
    assert tokens.find(token) is None


def test_another_token_is_not_found(path: Path, time: Time) -> None:
    token = TokenFile(path).create("ci")
    tokens = opened(path, time)
    assert tokens.find(make_token()) is None
    assert tokens.find(token[:-1]) is None
    assert tokens.find("") is None
    assert tokens.find("\udcff" * 53) is None


def test_what_is_created_and_revoked_holds_within_a_second_without_a_restart(path: Path, time: Time) -> None:
    file = TokenFile(path)
    first = file.create("first")
    tokens = opened(path, time)
    second = file.create("second")
    file.revoke("first")
    time.now += CHECK_INTERVAL
    assert tokens.find(first) is None
    assert tokens.find(second) is not None


@pytest.mark.parametrize("harm", ["gone", "open", "broken"])
def test_nobody_is_let_in_from_a_file_that_cannot_be_trusted_any_more(
    path: Path, time: Time, harm: str, caplog: pytest.LogCaptureFixture
) -> None:
    token = TokenFile(path).create("ci")
    tokens = opened(path, time)
    content = path.read_bytes()
    if harm == "gone":
        path.unlink()
    elif harm == "open":
        path.chmod(0o666)
    else:
        path.write_bytes(b"{")
    for _ in range(3):
        time.now += CHECK_INTERVAL
        assert tokens.find(token) is None
    assert [record.levelname for record in caplog.records] == ["ERROR"]
    path.write_bytes(content)
    path.chmod(0o600)
    time.now += CHECK_INTERVAL
    assert tokens.find(token) is not None


def test_the_file_is_not_looked_at_for_each_token(
    path: Path, time: Time, monkeypatch: pytest.MonkeyPatch
) -> None:
    token = TokenFile(path).create("ci")
    tokens = opened(path, time)
    looked: list[object] = []
    real = Path.stat

    def counted(self: Path, **options: bool) -> os.stat_result:
        looked.append(self)
        return real(self, **options)

    monkeypatch.setattr(Path, "stat", counted)
    for _ in range(1000):
        time.now += CHECK_INTERVAL / 100
        assert tokens.find(token) is not None
    assert len(looked) <= 11
