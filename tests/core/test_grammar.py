"""What a map of a configuration may hold."""

from __future__ import annotations

import pytest

from bridle.core.errors import ConfigurationError
from bridle.core.grammar import EXTRA, NUMBER, Grammar, check_members
from bridle.core.messages import JSON

GRAMMAR: Grammar = {
    "name": str,
    "size": int,
    "wait": NUMBER,
    "on": bool,
    "words": (str, list),
    "any": object,
    **EXTRA,
}


@pytest.mark.parametrize(
    "item",
    [
        {},
        {"name": "", "size": 0, "wait": 1.5, "on": False, "words": [], "comment": "c", "user-context": {}},
        {"wait": 1, "words": "w"},
        {"any": None},
        {"any": True},
        {"any": [1]},
    ],
)
def test_what_a_grammar_knows_is_given_back(item: JSON) -> None:
    assert check_members(item, GRAMMAR, "thing", ["root", "thing"]) is item


@pytest.mark.parametrize(
    ("item", "text", "path"),
    [
        ([], "thing is expected to be a map", ["root"]),
        (None, "thing is expected to be a map", ["root"]),
        ({"nam": "x"}, "unsupported parameter 'nam' in thing", ["root", "nam"]),
        ({"name": 1, "x": 1}, "unsupported parameter 'x' in thing", ["root", "x"]),
        ({"name": 1}, "invalid type specified for parameter 'name'", ["root", "name"]),
        ({"name": None}, "invalid type specified for parameter 'name'", ["root", "name"]),
        ({"size": 1.0}, "invalid type specified for parameter 'size'", ["root", "size"]),
        ({"size": True}, "invalid type specified for parameter 'size'", ["root", "size"]),
        ({"wait": False}, "invalid type specified for parameter 'wait'", ["root", "wait"]),
        ({"on": 1}, "invalid type specified for parameter 'on'", ["root", "on"]),
        ({"words": {}}, "invalid type specified for parameter 'words'", ["root", "words"]),
    ],
)
def test_what_it_does_not_know_is_refused(item: JSON, text: str, path: list[str]) -> None:
    with pytest.raises(ConfigurationError) as caught:
        check_members(item, GRAMMAR, "thing", ["root"])
    assert (caught.value.text, list(caught.value.path or ())) == (text, path)


def test_a_name_that_is_not_known_is_refused_in_the_words_that_are_given() -> None:
    with pytest.raises(ConfigurationError, match=r"^no a\{b\} here: thing$"):
        check_members({"a{b}": 1}, GRAMMAR, "thing", [], "no {key} here: {scope}")
