"""Masking and restoring, whatever the configuration."""

from __future__ import annotations

import json
import re
from typing import Any

import msgspec
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec import Raw

from bridle.access.redaction import MASK, Redaction
from bridle.access.restoring import holds_masks, restored
from bridle.core.errors import ConfigurationError

EXAMPLES = settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])
"""A machine that others use as well is no reason to fail."""
R = Redaction()
# What cannot come about by accident, nor stand where it is no secret.
secrets = st.integers(10**9, 10**10).map(lambda number: f"S3cr{number}ret")
words = st.text("abc :/=@é\\\"'", max_size=6)
scalars = st.one_of(
    words,
    st.integers(-5, 5),
    st.booleans(),
    st.none(),
    secrets.map(lambda secret: f"db://user:{secret}@host"),
)
plain_names = st.sampled_from(["name", "id", "user", "type", "a", "socket-port", "subnet", "password-file"])
secret_names = st.sampled_from(["password", "secret", "Token", "x_password"])

hidden_values = st.one_of(secrets, secrets.map(lambda secret: [secret]), st.just(""))


def maps(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.builds(
        lambda plain, hidden: {**plain, **hidden},
        st.dictionaries(plain_names, inner, max_size=3),
        st.dictionaries(
            secret_names, st.one_of(secrets, secrets.map(lambda one: [one]), st.just("")), max_size=1
        ),
    )


configurations = st.recursive(
    scalars, lambda inner: st.one_of(st.lists(inner, max_size=4), maps(inner)), max_leaves=15
)


@EXAMPLES
@given(configurations)
def test_what_is_masked_comes_back(value: Any) -> None:
    masked = R.masked(value)
    assert "S3cr" not in json.dumps(masked)
    assert R.masked(masked) == masked
    assert restored(masked, value, R) == value
    raw = Raw(msgspec.json.encode(value))
    assert msgspec.json.decode(R.masked_raw(raw)) == masked


@EXAMPLES
@given(configurations, configurations)
def test_a_mask_is_replaced_by_a_secret_that_was_there_or_refused(one: Any, other: Any) -> None:
    try:
        made = restored(R.masked(one), other, R)
    except ConfigurationError:
        return
    assert not holds_masks(made)
    known = json.dumps(other)
    for piece in json.dumps(made).split("S3cr")[1:]:
        assert f"S3cr{piece.partition('ret')[0]}ret" in known


def written(value: Any) -> str:
    """The same text for maps that are equal."""
    return json.dumps(value, sort_keys=True)


@EXAMPLES
@given(
    st.lists(maps(scalars), max_size=5).flatmap(
        lambda items: st.tuples(st.just(items), st.permutations(items))
    )
)
def test_in_another_order_secrets_stay_with_what_they_belong_to(lists: tuple[list[Any], list[Any]]) -> None:
    held, new = lists
    made = restored(R.masked(new), held, R)
    assert isinstance(made, list)
    assert sorted(map(written, made)) == sorted(map(written, held))
    looks = [json.dumps(R.masked(item)) for item in new]
    for item, back, look in zip(new, made, looks, strict=True):
        if looks.count(look) == 1:
            assert back == item


def mask_url(found: re.Match[str]) -> str:
    scheme, _, rest = found[0].partition("://")
    place, at, host = rest.rpartition("@")
    user, colon, password = place.partition(":")
    return f"{scheme}://{user}:{MASK}@{host}" if at and colon and password else found[0]


@EXAMPLES
@given(st.text("ab:/@ \t\n", max_size=60))
def test_urls_are_masked_as_by_who_takes_all_the_time_in_the_world(text: str) -> None:
    assert R.masked_text(text) == re.sub(r"\S*://\S*", mask_url, text)


@EXAMPLES
@given(st.text("pasword tk:=/@\"'\\\n-BEGINPRVATKY*", max_size=80), secrets)
def test_any_text_can_be_masked(text: str, secret: str) -> None:
    once = R.masked_text(text)
    assert isinstance(once, str)
    for written in (f"password={secret}", f'"secret": "{secret}"', f"a://b:{secret}@c", f"bearer {secret}"):
        assert secret not in R.masked_text(f"{text} {written} {text}")
    assert MASK in R.masked_text(f"password={secret}")
