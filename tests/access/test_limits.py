"""Limits: of each peer, of a role, and of failed log-ins, by a clock that the test moves."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridle import JSON, ConfigurationError, Peer, Result, TooManyError
from bridle.access import failed_logins as failed_module
from bridle.access import limits as limits_module
from bridle.access.failed_logins import FORGET, USERS, FailedLogins
from bridle.access.limits import Excess, Limit, Limits, LimitSettings, Turnstile, key_of
from bridle.access.limits_settings import read_limits

ALICE = Peer(transport="http", address="192.0.2.1", user="alice")
BOB = Peer(transport="http", address="192.0.2.1", user="bob")


class Clock:
    """A monotonic clock."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    """The clock of a test."""
    return Clock()


def limits(clock: Clock, roles: dict[str, Limit] | None = None, **peer: float) -> Limits:
    limit = Limit(**peer)  # type: ignore[arg-type]
    return Limits(LimitSettings(peer=limit, roles=roles or {}), clock)


def run(limits: Limits, peer: Peer, role: str | None = None) -> Excess | None:
    """Do a command; what was too much."""
    admitted = limits.enter(peer, role)
    if isinstance(admitted, Excess):
        return admitted
    admitted.leave()
    return None


# Who is who


@pytest.mark.parametrize(
    ("peer", "key"),
    [
        (ALICE, "user alice"),
        (Peer(transport="unix", address="/run/x", uid=1000), "uid 1000"),
        (Peer(address="192.0.2.1"), "192.0.2.1"),
        (Peer(address="2001:db8:1:2:3:4:5:6"), "2001:db8:1:2::/64"),
        (Peer(address="2001:db8:1:2::9%eth0"), "2001:db8:1:2::/64"),
        (Peer(address="::ffff:192.0.2.1"), "192.0.2.1"),
        (Peer(address="nonsense:"), "nonsense:"),
        (Peer(), ""),
    ],
)
def test_a_peer_is_a_user_or_a_unix_user_or_an_address(peer: Peer, key: str) -> None:
    assert key_of(peer) == key


# Requests a second


def test_without_limits_nothing_is_too_much(clock: Clock) -> None:
    free = limits(clock)
    assert [run(free, ALICE) for _ in range(1000)] == [None] * 1000


def test_requests_come_at_their_rate_and_at_once_up_to_the_burst(clock: Clock) -> None:
    bounded = limits(clock, requests_per_second=2, burst=5)
    assert [run(bounded, ALICE) for _ in range(5)] == [None] * 5
    excess = run(bounded, ALICE)
    assert excess is not None
    assert (excess.text, excess.wait) == ("too many requests: try again in 1 second", 0.5)
    assert run(bounded, BOB) is None
    clock.now += 0.5
    assert run(bounded, ALICE) is None
    assert run(bounded, ALICE) is not None
    clock.now += 100
    assert [run(bounded, ALICE) is None for _ in range(6)] == [True] * 5 + [False]


@given(gaps=st.lists(st.floats(0, 3), max_size=60), rate=st.floats(0.1, 20), burst=st.integers(1, 10))
def test_never_more_are_let_in_than_the_rate_and_the_burst_allow(
    gaps: list[float], rate: float, burst: int
) -> None:
    clock = Clock()
    bounded = limits(clock, requests_per_second=rate, burst=burst)
    begun, done = clock.now, 0
    for gap in gaps:
        clock.now += gap
        excess = run(bounded, ALICE)
        done += excess is None
        assert done <= burst + (clock.now - begun) * rate + 1e-6
        if excess is not None:
            clock.now += excess.wait + 1e-9
            assert run(bounded, ALICE) is None
            done += 1


def test_the_answer_says_how_long_to_wait(clock: Clock) -> None:
    slow = limits(clock, requests_per_second=0.1)
    assert run(slow, ALICE) is None
    excess = run(slow, ALICE)
    assert excess is not None
    assert excess.response().result == Result.ERROR
    assert excess.response().text == "too many requests: try again in 10 seconds"
    error = excess.response().error
    assert isinstance(error, TooManyError)
    assert error.wait == excess.wait


# Commands in flight, connections, sizes


def test_commands_in_flight_are_bounded_until_they_end(clock: Clock) -> None:
    bounded = limits(clock, in_flight=2)
    first, second = bounded.enter(ALICE), bounded.enter(ALICE)
    assert isinstance(first, Turnstile)
    assert isinstance(second, Turnstile)
    excess = bounded.enter(ALICE)
    assert isinstance(excess, Excess)
    assert excess.text == "too many commands at the same time: at most 2"
    assert isinstance(bounded.enter(BOB), Turnstile)
    first.leave()
    assert isinstance(bounded.enter(ALICE), Turnstile)


def test_connections_are_bounded_until_they_end(clock: Clock) -> None:
    bounded = limits(clock, connections=2)
    leave, _ = (bounded.open_door(ALICE) for _ in range(2))
    assert bounded.open_door(ALICE) == "too many connections: at most 2 of one peer"
    assert callable(bounded.open_door(BOB))
    assert callable(leave)
    leave()
    assert callable(bounded.open_door(ALICE))
    assert isinstance(bounded.open_door(ALICE), str)


def test_bodies_are_bounded_by_the_smaller_of_the_peers_and_the_roles_limit(clock: Clock) -> None:
    bounded = limits(clock, {"reader": Limit(body_size=100)}, body_size=1000)
    assert bounded.check_size(1000) is None
    assert bounded.check_size(100, "reader") is None
    excess = bounded.check_size(101, "reader")
    assert excess is not None
    assert excess.text == "the request is too large: 101 bytes, at most 100"
    assert bounded.check_size(1001, "writer") is not None
    assert limits(clock).check_size(1 << 40) is None


# Roles


def test_all_peers_of_a_role_share_its_limits(clock: Clock) -> None:
    bounded = limits(clock, {"reader": Limit(requests_per_second=1, burst=2, in_flight=1)}, burst=9)
    assert run(bounded, ALICE, "reader") is None
    assert run(bounded, BOB, "reader") is None
    excess = run(bounded, ALICE, "reader")
    assert excess is not None
    assert excess.text == "too many requests of role 'reader': try again in 1 second"
    assert run(bounded, ALICE, "other") is None
    assert run(bounded, ALICE, None) is None
    clock.now += 10
    held = bounded.enter(ALICE, "reader")
    assert isinstance(held, Turnstile)
    busy = bounded.enter(BOB, "reader")
    assert isinstance(busy, Excess)
    assert "role 'reader' at the same time: at most 1" in busy.text
    held.leave()
    assert isinstance(bounded.enter(BOB, "reader"), Turnstile)


def test_what_the_role_refuses_does_not_count_for_the_peer(clock: Clock) -> None:
    bounded = limits(clock, {"r": Limit(requests_per_second=0.001)}, requests_per_second=0.001, burst=3)
    assert run(bounded, BOB, "r") is None
    assert [run(bounded, ALICE, "r") is None for _ in range(10)] == [False] * 10
    assert [run(bounded, ALICE) is None for _ in range(4)] == [True] * 3 + [False]


# Memory


def test_what_is_known_of_peers_is_bounded_and_those_not_seen_for_longest_go(
    clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits_module, "PEERS", 10)
    bounded = limits(clock, requests_per_second=0.001, in_flight=5)
    held = bounded.enter(ALICE)
    assert isinstance(held, Turnstile)
    for number in range(9):
        assert run(bounded, Peer(user=f"u{number}")) is None
    assert run(bounded, Peer(user="u0")) is not None, "still known"
    for number in range(100, 105):
        assert run(bounded, Peer(user=f"u{number}")) is None
    assert run(bounded, ALICE) is not None, "something is under way: not forgotten"
    assert run(bounded, Peer(user="u0")) is not None, "seen later than others"
    assert run(bounded, Peer(user="u1")) is None, "forgotten, and begun with anew"
    held.leave()


def test_peers_that_are_all_at_work_are_bounded_too(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits_module, "PEERS", 10)
    bounded = limits(clock, in_flight=1)
    for number in range(50):
        assert isinstance(bounded.enter(Peer(user=f"u{number}")), Turnstile)
    again = [bounded.enter(Peer(user=f"u{number}")) for number in range(50)]
    known = [one for one in again if not isinstance(one, Turnstile)]
    assert len(known) <= 10, "the others were forgotten, and begun with anew"


def test_a_turnstile_goes_on_where_its_peer_was_forgotten(
    clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits_module, "PEERS", 10)
    bounded = limits(clock, requests_per_second=0.001, burst=2, in_flight=1)
    turnstile = bounded.turnstile(ALICE)
    assert turnstile.ask(clock()) is None
    for number in range(30):
        assert run(bounded, Peer(user=f"u{number}")) is None
    assert [turnstile.ask(clock()) is None for _ in range(3)] == [True, True, False], "begun with anew"
    assert run(bounded, ALICE) is not None, "and the same for others of the peer"
    turnstile.enter()
    turnstile.leave()
    turnstile.leave()
    clock.now += 10_000
    assert isinstance(bounded.enter(ALICE), Turnstile)
    assert isinstance(bounded.enter(ALICE), Excess)


def test_a_peer_whose_turnstile_is_used_is_not_forgotten(
    clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits_module, "PEERS", 10)
    bounded = limits(clock, requests_per_second=0.001, burst=100)
    turnstile = bounded.turnstile(ALICE)
    for number in range(99):
        assert turnstile.ask(clock()) is None
        assert run(bounded, Peer(user=f"u{number}")) is None
    assert turnstile.ask(clock()) is None
    assert turnstile.ask(clock()) is not None


# Failed log-ins


def test_some_failures_are_free_then_each_costs_twice_the_one_before(clock: Clock) -> None:
    failed = FailedLogins(LimitSettings(free_logins=2, login_delay=1, longest_delay=5), clock)
    assert [failed.failed("192.0.2.1", b"u") for _ in range(6)] == [0, 0, 1, 2, 4, 5]
    assert failed.wait("192.0.2.1") == 5
    assert failed.wait("192.0.2.2") == 0
    clock.now += 4
    assert failed.wait("192.0.2.1") == 1
    clock.now += 1
    assert failed.wait("192.0.2.1") == 0
    assert failed.failed("192.0.2.1", b"u") == 5


def test_what_failed_is_forgiven_by_a_success_or_by_time(clock: Clock) -> None:
    failed = FailedLogins(LimitSettings(free_logins=0), clock)
    assert failed.failed("x", b"u") == 1
    failed.succeeded("x", b"u")
    assert failed.wait("x") == 0
    assert [failed.failed("x", b"u"), failed.failed("x", b"u")] == [1, 2]
    clock.now += FORGET + 1
    assert failed.failed("x", b"u") == 1


def test_who_logs_in_is_forgiven_their_own_failures_there_and_nobody_else_s(clock: Clock) -> None:
    failed = FailedLogins(LimitSettings(free_logins=0, longest_delay=1000), clock)
    assert [failed.failed("x", name) for name in (b"admin", b"low", b"low", b"admin")] == [1, 2, 4, 8]
    failed.failed("y", b"low")
    failed.succeeded("x", b"low")
    assert failed.wait("x") == 8, "the wait that there is goes on"
    assert failed.wait("y") == 1
    failed.succeeded("x", b"other")
    failed.succeeded("z", b"admin")
    assert failed.failed("x", b"admin") == 4, "two of admin's are left, and this one"
    failed.succeeded("x", b"admin")
    assert (failed.wait("x"), failed.failed("x", b"low")) == (0, 1)


def test_the_users_that_can_be_forgiven_are_bounded_and_all_failures_count(clock: Clock) -> None:
    failed = FailedLogins(LimitSettings(free_logins=100, login_delay=1), clock)
    names = [b"%d" % number * 1000 for number in range(100)]
    assert {failed.failed("x", name) for name in names} == {0}
    assert failed.users == USERS
    for name in names:
        failed.succeeded("x", name)
    assert failed.users == 0
    assert [failed.failed("x", b"u") for _ in range(USERS + 1)] == [0] * USERS + [1]


def test_a_thousand_failures_are_no_sum_too_large(clock: Clock) -> None:
    failed = FailedLogins(LimitSettings(), clock)
    assert [failed.failed("x", b"u") for _ in range(3000)][-1] == 60


def test_one_customers_ipv6_addresses_are_one(clock: Clock) -> None:
    failed = FailedLogins(LimitSettings(free_logins=0), clock)
    failed.failed("2001:db8::1", b"u")
    assert failed.wait("2001:db8::ffff") == 1
    assert failed.wait("2001:db8:0:1::1") == 0


def test_the_addresses_that_are_remembered_are_bounded(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(failed_module, "ADDRESSES", 10)
    failed = FailedLogins(LimitSettings(free_logins=0), clock)
    for number in range(100):
        failed.failed(f"192.0.2.{number}", b"u")
    assert len(failed) == 10
    assert failed.wait("192.0.2.99") == 1
    assert failed.wait("192.0.2.1") == 0


# The configuration


def test_the_configuration_names_all_of_them() -> None:
    value: JSON = {
        "peer": {
            "requests-per-second": 2.5,
            "burst": 10,
            "in-flight": 4,
            "connections": 8,
            "body-size": 1024,
            "comment": "x",
        },
        "roles": {"reader": {"in-flight": 2}},
        "failed-logins": {"free": 3, "delay": 0.5, "longest-delay": 10},
    }
    assert read_limits(value, []) == LimitSettings(
        peer=Limit(requests_per_second=2.5, burst=10, in_flight=4, connections=8, body_size=1024),
        roles={"reader": Limit(in_flight=2)},
        free_logins=3,
        login_delay=0.5,
        longest_delay=10,
    )
    assert read_limits({}, []) == LimitSettings()


@pytest.mark.parametrize(
    ("value", "text", "path"),
    [
        ([], "limits is expected to be a map", []),
        ({"peers": {}}, "unsupported parameter 'peers' in limits", ["peers"]),
        ({"peer": 5}, "invalid type specified for parameter 'peer'", ["peer"]),
        ({"peer": {"burst": 5}}, "burst is nothing without requests-per-second", ["peer", "burst"]),
        (
            {"peer": {"in-flight": 1.5}},
            "invalid type specified for parameter 'in-flight'",
            ["peer", "in-flight"],
        ),
        (
            {"peer": {"in-flight": True}},
            "invalid type specified for parameter 'in-flight'",
            ["peer", "in-flight"],
        ),
        (
            {"peer": {"in-flight": -1}},
            "out of range value (-1) specified for parameter 'in-flight'",
            ["peer", "in-flight"],
        ),
        (
            {"peer": {"requests-per-second": float("nan")}},
            "out of range value (nan) specified for parameter 'requests-per-second'",
            ["peer", "requests-per-second"],
        ),
        ({"roles": {"x": 5}}, "role is expected to be a map", ["roles", "x"]),
        (
            {"roles": {"x": {"connections": 5}}},
            "unsupported parameter 'connections' in role",
            ["roles", "x", "connections"],
        ),
        (
            {"failed-logins": {"delay": 1e9}},
            "out of range value (1000000000.0) specified for parameter 'delay'",
            ["failed-logins", "delay"],
        ),
    ],
)
def test_what_the_configuration_may_not_say(value: JSON, text: str, path: list[str]) -> None:
    with pytest.raises(ConfigurationError) as caught:
        read_limits(value, ["limits"])
    assert (caught.value.text, caught.value.path) == (text, ["limits", *path])
