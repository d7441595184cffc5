"""Rules about arguments: ``{"argument": NAME, …}`` with one of

* ``in``: ``[LOWEST, HIGHEST]``, for integers, both ends included;
* ``one-of``: strings, integers or booleans, one of which it has to be;
* ``under``: a folder that the file of that name lies in, at any depth.

``NAME`` is the argument's name, or the way to it, a list of keys (``["reservation", "subnet-id"]``). A way
may lead through lists: then the rule matches where it does for every item, and does not where it does for
none.

What is missing or of another type than the rule is about neither matches nor does not: it cannot be told. So
it is with names of files that are relative, or have ``..`` among their folders, and with integers beyond 32
bits, or negative ones, unless the rule is about such.
"""

from __future__ import annotations

from collections.abc import Callable

from bridle.access.questions import Question
from bridle.access.reading import Given
from bridle.core.messages import JSON

__all__ = ["VALUES_LIMIT", "read_argument"]

# Values in one list, and keys on the way to an argument.
VALUES_LIMIT = 1000
_KEYS_LIMIT = 16

# What a daemon in C may keep an integer in. It may cut one that is larger, so that nobody can tell which
# number that is to it: 4294967297 is 1.
_USUAL = (0, 2**32 - 1)
_SIGNED = (-(2**31), 2**31 - 1)
_LARGER = (-(2**63), 2**63 - 1)

_TESTS = ("in", "one-of", "under")
_Check = Callable[[JSON], "bool | None"]


def read_argument(given: Given) -> tuple[str, Callable[[Question], bool | None]]:
    """Read a rule about an argument: what it says, and what it makes of a question.

    Raises:
        ConfigurationError: it cannot be used.
    """
    members = given.members(("argument", *_TESTS), "argument")
    wanted = [key for key in _TESTS if key in members]
    if len(wanted) != 1:
        raise given.error("an access list about an argument needs one of 'in', 'one-of', 'under'")
    path = tuple(step.string() for step in members["argument"].one_or_more(_KEYS_LIMIT))
    parameter = members[wanted[0]]
    check, text = _READERS[wanted[0]](parameter)
    return f"argument {'.'.join(path)} {text}", _test_of(path, check)


def _test_of(path: tuple[str, ...], check: _Check) -> Callable[[Question], bool | None]:
    def test(question: Question) -> bool | None:
        verdicts = {check(value) for value in question.values(path)}
        return verdicts.pop() if len(verdicts) == 1 else None

    return test


def _range(given: Given) -> tuple[_Check, str]:
    ends = [end.value for end in given.items(2)]
    if len(ends) != 2 or not all(type(end) is int for end in ends):
        raise given.error("'in' takes two integers: the lowest and the highest")
    low, high = ends
    assert isinstance(low, int)
    assert isinstance(high, int)
    if low > high:
        raise given.error(f"'in' takes the lowest first: {low} is more than {high}")

    least, most = _LARGER if high > _USUAL[1] or low < _SIGNED[0] else _USUAL if low >= 0 else _SIGNED

    def check(value: JSON) -> bool | None:
        return low <= value <= high if type(value) is int and least <= value <= most else None

    return check, f"in [{low}, {high}]"


def _one_of(given: Given) -> tuple[_Check, str]:
    items = list(given.items(VALUES_LIMIT))
    for item in items:
        if type(item.value) not in (str, int, bool):
            raise item.wrong_type()
    # True is 1 to Python, and is not to a handler.
    wanted = frozenset((type(item.value), item.value) for item in items)
    types = frozenset(kind for kind, _ in wanted)
    if not wanted:
        raise given.error("'one-of' must not be empty")

    likenesses = frozenset(_likeness(value) for _, value in wanted)

    def check(value: JSON) -> bool | None:
        kind = type(value)
        if kind not in types:
            return None
        if (kind, value) in wanted:
            return True
        # On its way to a daemon of another dialect it may become what is wanted: a text its number, say.
        return None if _may_be_cut(value) or _likeness(value) in likenesses else False

    return check, f"one-of {[item.value for item in items[:5]]}"


def _likeness(value: JSON) -> str:
    """What is the same for a boolean, an integer and a text that stand for each other."""
    return str(int(value)) if isinstance(value, bool) else str(value).strip().casefold()


def _may_be_cut(value: JSON) -> bool:
    return type(value) is int and not _SIGNED[0] <= value <= _USUAL[1]


def _under(given: Given) -> tuple[_Check, str]:
    folder = given.string()
    parts = _parts(folder)
    if parts is None:
        raise given.error(f"'under' takes an absolute path without '..', not '{folder}'")
    count = len(parts)

    def check(value: JSON) -> bool | None:
        steps = _parts(value) if type(value) is str else None
        return None if steps is None else len(steps) > count and steps[:count] == parts

    return check, f"under '{folder}'"


def _parts(name: str) -> list[str] | None:
    """The folders of an absolute path, and its last name; None where one cannot tell from the name alone
    where that leads."""
    if not name.startswith("/") or "\0" in name:
        return None
    parts = [part for part in name.split("/") if part not in ("", ".")]
    return None if ".." in parts else parts


_READERS: dict[str, Callable[[Given], tuple[_Check, str]]] = {
    "in": _range,
    "one-of": _one_of,
    "under": _under,
}
