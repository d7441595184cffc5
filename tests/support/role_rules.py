"""Roles as hypothesis makes them, and a second evaluator of their rules that is as plain as can be."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

COMMANDS = {
    "look": ("read", ""),
    "change": ("write", ""),
    "hook-look": ("read", "my-hook"),
    "hook-change": ("write", "my-hook"),
}
NAMES = [*COMMANDS, "nobody-knows"]
OWN = {"list-commands": ("read", "")}
"""What every receiver declares itself; of those behind the agent nobody knows."""
LISTS = ["l0", "l1", "l2"]
CHARACTERS = "ab/.-_*\0\n\x7f\x85\u2028é😀 "
SERVICES = ["", "dhcp4", "d2"]
FOLDERS = ["/a", "/a/b", "/"]

names = st.sampled_from(NAMES)
short = st.text(CHARACTERS, max_size=3)
argued = st.one_of(
    st.builds(
        lambda ends: {"argument": "n", "in": sorted(ends)}, st.tuples(st.integers(0, 9), st.integers(0, 9))
    ),
    st.builds(lambda folder: {"argument": "file", "under": folder}, st.sampled_from(FOLDERS)),
    st.builds(
        lambda some: {"argument": ["deep", "n"], "one-of": some},
        st.lists(st.one_of(st.integers(0, 3), st.booleans()), min_size=1, max_size=3),
    ),
)
leaves = st.one_of(
    st.sampled_from(["ALL", "NONE", "READ", "WRITE", *LISTS]),
    st.builds(lambda some: {"commands": some}, st.lists(names, max_size=3)),
    st.builds(lambda one: {"access": one}, st.sampled_from(["read", "write"])),
    st.builds(lambda one: {"hook": one}, st.sampled_from(["", "my-hook", "other"])),
    st.builds(lambda some: {"service": some}, st.lists(st.sampled_from(SERVICES), min_size=1, max_size=2)),
    argued,
)
rules = st.recursive(
    leaves,
    lambda inner: st.one_of(
        st.builds(lambda one: {"not": one}, inner),
        st.builds(lambda some: {"and": some}, st.lists(inner, min_size=1, max_size=3)),
        st.builds(lambda some: {"or": some}, st.lists(inner, min_size=1, max_size=3)),
    ),
    max_leaves=6,
)
plain = st.recursive(
    leaves.filter(lambda rule: rule not in LISTS),
    lambda inner: st.builds(lambda some: {"or": some}, st.lists(inner, min_size=1, max_size=2)),
    max_leaves=3,
)
named = st.lists(plain, min_size=3, max_size=3)
verbs = st.sampled_from(["accept", "reject"])
roles = st.fixed_dictionaries(
    {},
    optional={
        "accept-commands": rules,
        "reject-commands": rules,
        "other-commands": verbs,
        "list-match-first": verbs,
        "services": st.lists(st.sampled_from(SERVICES), max_size=3),
    },
)
odd = st.one_of(st.none(), st.booleans(), st.floats(0, 9), short, st.just([]), st.just({}))
paths = st.sampled_from(["/a/x", "/a/b/c", "/b", "/", "a", "/a/../b", "/a/b", "//a/./q", ""])
arguments = st.fixed_dictionaries(
    {},
    optional={
        "n": st.one_of(st.integers(0, 9), st.lists(st.integers(0, 9), max_size=2), odd),
        "file": st.one_of(paths, odd),
        "deep": st.one_of(st.fixed_dictionaries({"n": st.one_of(st.integers(0, 3), odd)}), odd),
        "other": odd,
    },
)
# The rules here are about integers, paths and booleans.
spoilt = st.one_of(st.none(), st.floats(0, 9), st.just([]), st.just({}), st.just("x"))
services = st.sampled_from([None, "dhcp4", "d2"])


# The second evaluator: 1 matches, 0 does not, 0.5 cannot tell.


def naive(rule: Any, lists: dict[str, Any], name: str, service: str, body: Any) -> float:
    def again(other: Any) -> float:
        return naive(other, lists, name, service, body)

    known: dict[str, tuple[str, str]] = COMMANDS if service else COMMANDS | OWN
    access, hook = known.get(name, ("write", None))
    match rule:
        case "ALL":
            return 1
        case "NONE":
            return 0
        case "READ" | {"access": "read"}:
            return access == "read"
        case "WRITE" | {"access": "write"}:
            return access == "write"
        case str():
            return again(lists[rule])
        case {"not": one}:
            return 1 - again(one)
        case {"and": some}:
            return min(map(again, some))
        case {"or": some}:
            return max(map(again, some))
        case {"commands": some}:
            return name in some
        case {"hook": one}:
            return 0.5 if hook is None else hook == one
        case {"service": some}:
            return service in some
        case {"argument": "n", "in": (low, high)}:
            return every(body.get("n"), lambda n: low <= n <= high if type(n) is int else 0.5)
        case {"argument": "file", "under": folder}:
            return every(body.get("file"), lambda file: lies_under(file, folder))
        case {"argument": ["deep", "n"], "one-of": some}:
            deep = body.get("deep")
            return every(deep.get("n") if isinstance(deep, dict) else None, lambda n: is_one_of(n, some))
    raise AssertionError(rule)


def every(value: Any, check: Any) -> float:
    if not isinstance(value, list):
        return float(check(value))
    verdicts = {float(check(one)) for one in value}
    return verdicts.pop() if len(verdicts) == 1 else 0.5


def is_one_of(n: Any, some: list[Any]) -> float:
    if type(n) not in {type(one) for one in some}:
        return 0.5
    if any(type(one) is type(n) and one == n for one in some):
        return 1
    # A boolean may come to stand for an integer, and an integer may be cut.
    return 0.5 if int(n) in map(int, some) or not -(2**31) <= n < 2**32 else 0


def lies_under(file: Any, folder: str) -> float:
    if not isinstance(file, str) or not file.startswith("/") or ".." in file or "\0" in file:
        return 0.5
    while "//" in file or "/./" in file:
        file = file.replace("//", "/").replace("/./", "/")
    file = file.rstrip("/").removesuffix("/.")
    return file.startswith(folder.rstrip("/") + "/")


def naive_decision(role: dict[str, Any], lists: dict[str, Any], name: str, service: str, body: Any) -> bool:
    if "services" in role and service not in role["services"]:
        return False
    order = ["accept", "reject"]
    if role.get("list-match-first") == "reject":
        order.reverse()
    for verb in order:
        rule = role.get(f"{verb}-commands")
        if rule is not None and naive(rule, lists, name, service, body) >= (1 if verb == "accept" else 0.5):
            return verb == "accept"
    return role.get("other-commands") == "accept"
