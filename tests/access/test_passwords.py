"""Passwords as hashes: checked beside the event loop, once, by few, whoever floods."""

from __future__ import annotations

import asyncio
import base64
import itertools
import threading
from collections.abc import Awaitable, Iterator, Sequence

import pytest

from bridle import JSON, ConfigurationError
from bridle.access import basic as basic_module
from bridle.access.basic import BasicAuthentication, read_authentication
from bridle.access.failed_logins import FailedLogins
from bridle.access.limits import LimitSettings
from bridle.access.passwords import (
    ADDRESS_LIMIT,
    KNOWN_LIMIT,
    NOBODY,
    QUEUE_LIMIT,
    REFUSED_LIMIT,
    WORKERS,
    Passwords,
    Verdict,
    check_hash,
    hash_password,
    verify_hash,
)
from tests.support.loops import on_every_loop

HASH = hash_password("right")
PEOPLE = 1000


def header(credentials: str) -> str:
    return f"Basic {base64.b64encode(credentials.encode()).decode()}"


class Counting:
    """Stands for argon2: counts how often it is asked, and can be held up."""

    def __init__(self) -> None:
        self.asked = 0
        self.free = threading.Event()
        self.free.set()

    def __call__(self, written: str, password: bytes) -> bool:
        self.asked += 1
        self.free.wait(10)
        return written == f"hash of {password.decode()}"


class Door:
    """A listener's passwords, with counted checks."""

    def __init__(
        self, monkeypatch: pytest.MonkeyPatch, more: Sequence[tuple[str, str]] = (), **logins: float
    ) -> None:
        self.counting = Counting()
        self.now = 0.0
        failed = FailedLogins(LimitSettings(**logins), lambda: self.now)  # type: ignore[arg-type]
        monkeypatch.setattr(basic_module, "Passwords", self._passwords)
        hashes = [("admin", "hash of right"), ("second", "hash of other")]
        clear = [("clear", "text"), *more]
        self.authentication = BasicAuthentication("realm", clear, hashes=hashes, failed=failed)
        self.made: Passwords

    def _passwords(self, *arguments: object) -> Passwords:
        self.made = Passwords(*arguments, verify=self.counting)  # type: ignore[arg-type]
        return self.made

    async def ask(self, credentials: str, address: str = "192.0.2.1") -> Verdict:
        """What becomes of somebody."""
        verdict = self.authentication.vouch(header(credentials), address)
        return await verdict if isinstance(verdict, Awaitable) else verdict


@on_every_loop
async def test_a_hash_lets_its_password_in_and_nothing_else() -> None:
    known = BasicAuthentication("realm", [], hashes=[("admin", HASH)])
    assert known.required
    right = known.vouch(header("admin:right"), "192.0.2.1")
    assert isinstance(right, Awaitable)
    assert await right == Verdict("admin")
    wrong = known.vouch(header("admin:wrong"), "192.0.2.1")
    assert isinstance(wrong, Awaitable)
    assert await wrong == NOBODY
    assert known.user(header("admin:right")) is None
    assert known.user(header(f"admin:{HASH}")) is None


@on_every_loop
async def test_what_was_checked_once_is_answered_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    door = Door(monkeypatch)
    for _ in range(3):
        assert (await door.ask("admin:right")).user == "admin"
        assert (await door.ask("admin:wrong")).user is None
    assert door.counting.asked == 2
    assert door.authentication.vouch(header("admin:right"), "198.51.100.1") == Verdict("admin")


@on_every_loop
async def test_those_who_ask_the_same_at_the_same_time_share_a_check(monkeypatch: pytest.MonkeyPatch) -> None:
    door = Door(monkeypatch)
    verdicts = await asyncio.gather(*(door.ask("admin:right") for _ in range(100)))
    assert {verdict.user for verdict in verdicts} == {"admin"}
    assert door.counting.asked == 1


@on_every_loop
async def test_clear_text_needs_no_check_and_waits_for_none(monkeypatch: pytest.MonkeyPatch) -> None:
    door = Door(monkeypatch)
    assert door.authentication.vouch(header("clear:text"), "192.0.2.1") == Verdict("clear")
    assert door.authentication.vouch(header("clear:wrong"), "192.0.2.1") == NOBODY
    assert door.counting.asked == 0


@on_every_loop
async def test_whether_a_user_is_known_is_not_told_by_what_is_done(monkeypatch: pytest.MonkeyPatch) -> None:
    door = Door(monkeypatch)
    assert await door.ask("nobody:x") == NOBODY
    assert await door.ask("nobody:right") == NOBODY, "another's password"
    assert door.counting.asked == 2


@pytest.mark.parametrize(
    "value", [None, "", "Basic", "Basic !", "Basic YWRtaW4=", "Bearer x", "Digest x", "\udcff"]
)
@on_every_loop
async def test_what_is_no_password_is_not_checked(monkeypatch: pytest.MonkeyPatch, value: str | None) -> None:
    door = Door(monkeypatch)
    assert door.authentication.vouch(value, "192.0.2.1") == NOBODY
    assert door.counting.asked == 0


# Floods


@on_every_loop
async def test_a_flood_of_wrong_passwords_costs_a_handful_of_checks(monkeypatch: pytest.MonkeyPatch) -> None:
    door = Door(monkeypatch)
    assert (await door.ask("admin:right")).user == "admin"
    before = door.counting.asked
    told_to_wait = 0
    for second in range(10):
        for number in range(1000):
            verdict = await door.ask(f"admin:{second}-{number}")
            assert verdict.user is None
            told_to_wait += verdict.wait > 0
            if number % 100 == 0:
                assert door.authentication.vouch(header("admin:right"), "192.0.2.1") == Verdict("admin")
        door.now += 1
    assert door.counting.asked - before <= 10
    assert told_to_wait >= 10_000 - 10


@on_every_loop
async def test_a_flood_from_everywhere_costs_what_the_workers_can_do(monkeypatch: pytest.MonkeyPatch) -> None:
    door = Door(monkeypatch)
    assert (await door.ask("admin:right")).user == "admin"
    door.counting.free.clear()
    asked = [
        asyncio.ensure_future(door.ask(f"admin:{number}", f"192.0.2.{number % 256}"))
        for number in range(PEOPLE)
    ]
    await asyncio.sleep(0)
    assert door.authentication.vouch(header("admin:right"), "192.0.2.1") == Verdict("admin")
    done = [one.result() for one in asked if one.done()]
    assert len(done) == PEOPLE - WORKERS - QUEUE_LIMIT
    assert all(verdict.user is None and verdict.wait > 0 for verdict in done)
    door.counting.free.set()
    assert {verdict.user for verdict in await asyncio.gather(*asked)} == {None}
    assert door.counting.asked == 1 + WORKERS + QUEUE_LIMIT


@on_every_loop
async def test_one_address_does_not_fill_the_queue_of_all(monkeypatch: pytest.MonkeyPatch) -> None:
    door = Door(monkeypatch)
    door.counting.free.clear()
    asked = [asyncio.ensure_future(door.ask(f"admin:{number}")) for number in range(PEOPLE)]
    other = asyncio.ensure_future(door.ask("admin:right", "198.51.100.1"))
    await asyncio.sleep(0)
    door.counting.free.set()
    assert (await other).user == "admin"
    await asyncio.gather(*asked)
    assert door.counting.asked == ADDRESS_LIMIT + 1


@on_every_loop
async def test_who_goes_away_is_counted_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    door = Door(monkeypatch, free_logins=0)
    door.counting.free.clear()
    gone = asyncio.ensure_future(door.ask("admin:wrong"))
    await asyncio.sleep(0)
    gone.cancel()
    door.counting.free.set()
    while door.made._checks:
        await asyncio.sleep(0)
    assert (await door.ask("admin:other")).wait == 1.0
    assert await door.ask("admin:wrong") == NOBODY


@on_every_loop
async def test_the_same_wrong_password_again_locks_nobody_out(monkeypatch: pytest.MonkeyPatch) -> None:
    door = Door(monkeypatch)
    for _ in range(100):
        assert await door.ask("admin:forgotten") == NOBODY
    assert (await door.ask("admin:right")).user == "admin"


@on_every_loop
async def test_who_waits_is_refused_even_with_the_right_password(monkeypatch: pytest.MonkeyPatch) -> None:
    door = Door(monkeypatch, free_logins=1)
    for number in range(3):
        await door.ask(f"admin:{number}")
    refused = await door.ask("admin:right")
    assert (refused.user, refused.wait > 0) == (None, True)
    assert (await door.ask("clear:text")).user is None
    assert (await door.ask("admin:right", "198.51.100.1")).user == "admin"
    door.now += 60
    assert (await door.ask("clear:text")).user == "clear"


def spellings() -> Iterator[str]:
    """The scheme in all ways that it may be spelt, and some blanks behind it."""
    for blanks in itertools.count(1):
        for letters in itertools.product(*zip("basic", "BASIC", strict=True)):
            yield "".join(letters) + " " * blanks


@pytest.mark.parametrize("own", ["clear:text", "second:other"])
@pytest.mark.parametrize("target", ["admin", "clear"])
@on_every_loop
async def test_an_account_of_ones_own_helps_nobody_guess(
    monkeypatch: pytest.MonkeyPatch, own: str, target: str
) -> None:
    door = Door(monkeypatch)
    tried = 0
    for number, spelling in zip(range(1000), spellings(), strict=False):
        if number % 4 == 0:
            verdict = door.authentication.vouch(spelling + header(own)[6:], "192.0.2.1")
            verdict = await verdict if isinstance(verdict, Awaitable) else verdict
            assert verdict.user == own.partition(":")[0], "who is logged in is not slowed by it"
        tried += not (await door.ask(f"{target}:guess {number}")).wait
    assert tried == 6


@on_every_loop
async def test_however_a_header_is_spelt_it_is_the_same_log_in(monkeypatch: pytest.MonkeyPatch) -> None:
    door = Door(monkeypatch)
    await door.ask("admin:right")
    await door.ask("admin:wrong")
    for _, spelling in zip(range(100), spellings(), strict=False):
        right = door.authentication.vouch(spelling + header("admin:right")[6:], "192.0.2.1")
        assert right == Verdict("admin")
        assert door.authentication.vouch(spelling + header("admin:wrong")[6:], "192.0.2.1") == NOBODY
    assert door.counting.asked == 2
    assert (await door.ask("clear:text")).user == "clear", "it did not count either"


@on_every_loop
async def test_who_mistypes_before_they_log_in_has_the_free_ones_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    door = Door(monkeypatch, free_logins=3)
    for number in range(3):
        await door.ask(f"admin:{number}")
    assert (await door.ask("admin:right")).user == "admin"
    for number in range(3, 6):
        assert await door.ask(f"admin:{number}") == NOBODY
    assert (await door.ask("clear:text")).user == "clear"


@on_every_loop
async def test_what_is_remembered_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    people = [f"u{number}" for number in range(KNOWN_LIMIT + 50)]
    door = Door(monkeypatch, [(name, name) for name in people], free_logins=1 << 30)
    for number in range(REFUSED_LIMIT + 50):
        await door.ask(f"clear:{number}")
    for name in people:
        assert (await door.ask(f"{name}:{name}")).user == name
    assert len(door.made._refused) == REFUSED_LIMIT
    assert len(door.made._known) == KNOWN_LIMIT


@on_every_loop
async def test_a_check_that_fails_lets_nobody_in_and_is_tried_again(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    door = Door(monkeypatch)
    real = door.counting.__class__.__call__

    def broken(self: Counting, written: str, password: bytes) -> bool:
        raise MemoryError

    monkeypatch.setattr(Counting, "__call__", broken)
    verdict = await door.ask("admin:right")
    assert (verdict.user, verdict.wait > 0) == (None, True)
    assert "a password could not be checked" in caplog.text
    monkeypatch.setattr(Counting, "__call__", real)
    assert (await door.ask("admin:right")).user == "admin"


# Hashes


def test_a_hash_is_of_argon2id_and_never_the_same_twice() -> None:
    assert HASH.startswith("$argon2id$v=19$m=19456,t=2,p=1$")
    assert hash_password("right") != HASH
    check_hash(HASH)
    assert verify_hash(HASH, b"right")
    assert not verify_hash(HASH, b"wrong")
    assert not verify_hash("nonsense", b"right")


@pytest.mark.parametrize("written", ["", "right", "$2y$05$x", "$argon2id$", "$argon2id$v=19$m=x,t=2,p=1$a$b"])
def test_what_is_no_hash_is_refused(written: str) -> None:
    with pytest.raises(ConfigurationError, match="is no argon2 hash: 'bridle passwd' makes one"):
        check_hash(written)


@pytest.mark.parametrize("bad", ["m=2000000,t=2", "m=19456,t=1000"])
def test_a_hash_that_would_stop_the_machine_is_refused(bad: str) -> None:
    with pytest.raises(ConfigurationError, match="to check: at most 1048576 and 100 are spent"):
        check_hash(HASH.replace("m=19456,t=2", bad))


# The configuration


def read(client: dict[str, JSON], **more: JSON) -> BasicAuthentication:
    value: dict[str, JSON] = {"clients": [client], **more}
    return read_authentication(value, ["a"], lambda path: "/".join(map(str, path)), realm="r")


@on_every_loop
async def test_a_client_may_have_a_hash_in_the_place_of_a_password() -> None:
    verdict = read({"user": "admin", "password-hash": HASH}).vouch(header("admin:right"), "x")
    assert isinstance(verdict, Awaitable)
    assert (await verdict).user == "admin"


@pytest.mark.parametrize(
    ("client", "text", "path"),
    [
        ({"user": "a", "password-hash": "x"}, "password-hash is no argon2 hash", "password-hash"),
        (
            {"user": "a", "password-hash": 5},
            "invalid type specified for parameter 'password-hash'",
            "password-hash",
        ),
        ({"password-hash": HASH}, "user is required in clients items", None),
    ],
)
def test_what_a_client_may_not_say(client: dict[str, JSON], text: str, path: str | None) -> None:
    with pytest.raises(ConfigurationError) as caught:
        read(client)
    assert text in caught.value.text
    assert caught.value.path == ["a", "clients", 0, *([path] if path else [])]


@pytest.mark.parametrize("other", ["password", "password-file"])
def test_a_hash_excludes_a_password(other: str, tmp_path: object) -> None:
    (client := {"user": "a", "password-hash": HASH})[other] = "x"
    with pytest.raises(ConfigurationError) as caught:
        read(dict[str, JSON](client), directory="/none") if other == "password" else read(
            dict[str, JSON](client)
        )
    assert "mutually exclusive" in str(caught.value) or "can't open file" in str(caught.value)
