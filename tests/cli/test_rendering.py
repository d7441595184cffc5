"""Answers as a person reads them, and as a program does."""

from __future__ import annotations

import json
import unicodedata

import pytest
from msgspec import UNSET, UnsetType

from bridle import JSON, Response
from bridle.cli.rendering import plain, print_answers, render


def shown(value: JSON | UnsetType, *, text: str | None = None, result: int = 0, width: int = 80) -> list[str]:
    """The lines of an answer, without blanks at their ends."""
    return [line.rstrip() for line in render(Response(result, text, value), width).split("\n")]


# For a person.


@pytest.mark.parametrize(
    ("response", "lines"),
    [
        (Response(), ["ok"]),
        (Response(text="done\n"), ["done"]),
        (Response(text="two\nlines\n"), ["two", "lines"]),
        (Response(3, "nothing found"), ["nothing found"]),
        (Response(3), ["ok"]),
        (Response(1, "wrong"), ["error 1: wrong"]),
        (Response(4), ["error 4: no text"]),
        (Response(17, "odd"), ["error 17: odd"]),
        (Response(1, "wrong", {"at": 5}), ["error 1: wrong", "at: 5"]),
        (Response(0, "found 2", ["a", "b"]), ["found 2", "a", "b"]),
    ],
)
def test_a_result_is_told_in_words(response: Response, lines: list[str]) -> None:
    assert render(response, 80).split("\n") == lines


def test_maps_and_lists_are_laid_out_by_indentation() -> None:
    value: JSON = {
        "degrees": 21.5,
        "on": True,
        "none": None,
        "text": "two words",
        "empty": {},
        "nothing": [],
        "stages": [1, "x", {"name": "a", "deep": [[2, 3]]}],
        "by name": {"a": {"b": 1}},
    }
    assert shown(value) == [
        "degrees: 21.5",
        "on: true",
        "none: null",
        "text: two words",
        "empty: {}",
        "nothing: []",
        "stages:",
        "  - 1",
        "  - x",
        "  - name: a",
        "    deep:",
        "      - - 2",
        "        - 3",
        "by name:",
        "  a:",
        "    b: 1",
    ]


def test_a_text_of_several_lines_stands_below_its_name() -> None:
    assert shown({"extended": "1.0\nBridle 1\n", "after": 1}) == [
        "extended:",
        "  1.0",
        "  Bridle 1",
        "after: 1",
    ]


@pytest.mark.parametrize(
    ("value", "lines"),
    [
        ("text", ["text"]),
        (5, ["5"]),
        (None, ["null"]),
        (["a", 1], ["a", "1"]),
        ([["a"], []], ["- - a", "[]"]),
    ],
)
def test_a_bare_value_stands_alone(value: JSON, lines: list[str]) -> None:
    assert shown(value) == lines


def test_maps_that_are_alike_make_a_table() -> None:
    assert shown([{"id": 1, "name": "a"}, {"id": 22, "state": True}]) == [
        "id  name  state",
        "1   a",
        "22        true",
    ]


@pytest.mark.parametrize(
    "value",
    [
        [{"id": 1}],
        [{"id": 1}, {"id": [1]}],
        [{"id": 1}, 5],
        [{}, {}],
        {"jobs": [{"id": 1}, {"id": 2}]},
    ],
    ids=["one", "nested", "mixed", "empty", "inside"],
)
def test_what_makes_no_table_is_a_list(value: JSON) -> None:
    lines = shown(value)
    assert any(line.lstrip().startswith(("- id: 1", "{}")) for line in lines)


@pytest.mark.parametrize("width", [16, 20, 40, 80])
def test_a_table_keeps_within_a_narrow_terminal_and_loses_nothing(width: int) -> None:
    rows: JSON = [{"address": "2001:db8:100:1::100:5", "name": "n" * 30}, {"address": "x", "name": "y"}]
    lines = render(Response(arguments=rows), width).split("\n")
    assert max(map(len, lines)) <= width
    text = "".join(lines).replace(" ", "")
    assert text.count("n") == 31
    assert sum(text.count(c) for c in "2018:5") == sum("2001:db8:100:1::100:5".count(c) for c in "2018:5")


@pytest.mark.parametrize(("columns", "width"), [(11, 80), (40, 80), (2, 15), (1, 7)])
def test_a_table_that_would_not_fit_is_a_list(columns: int, width: int) -> None:
    rows: list[JSON] = [{f"key{number}": f"value{number}" for number in range(columns)}] * 2
    lines = shown(rows, width=width)
    assert len(lines) == 2 * columns
    assert lines[0] == "- key0: value0"


def test_nothing_in_a_table_is_taken_for_markup_or_a_picture() -> None:
    rows: JSON = [{"a": "[red]x[/red] :smile: :100:", "[b]": "\\[x]"}, {"a": "[link=x]", "[b]": ""}]
    text = render(Response(arguments=rows), 200)
    for part in ("[red]x[/red] :smile: :100:", "[b]", "\\[x]", "[link=x]"):
        assert part in text


# What would steer the terminal.

EVIL = [
    "\x1b[31m",
    "\x1b]0;title\x07",
    "\x9b2J",
    "\b\b",
    "\r",
    "\x7f",
    "\u202e",
    "\0",
    "\x85",
    "\u2028",
    "\x0b",
]


def steers(character: str) -> bool:
    """Whether a character does something else than being shown."""
    return unicodedata.category(character) in ("Cc", "Cf", "Cs", "Zl", "Zp") and character != "\n"


@pytest.mark.parametrize("evil", EVIL, ids=ascii)
@pytest.mark.parametrize(
    "place",
    [
        lambda evil: Response(text=f"a{evil}b"),
        lambda evil: Response(1, f"a{evil}b"),
        lambda evil: Response(arguments=f"a{evil}b"),
        lambda evil: Response(arguments={"key": f"a{evil}b"}),
        lambda evil: Response(arguments={f"k{evil}ey": 1}),
        lambda evil: Response(arguments={"key": f"one\na{evil}b"}),
        lambda evil: Response(arguments=[f"a{evil}b", [f"{evil}"]]),
        lambda evil: Response(arguments=[{f"k{evil}": 1}, {"x": f"a{evil}b"}]),
    ],
    ids=["text", "error", "value", "member", "key", "lines", "list", "table"],
)
def test_control_characters_never_reach_the_terminal(place: object, evil: str) -> None:
    assert callable(place)
    output = render(place(evil), 80)
    assert not [c for c in output if steers(c)]
    first = evil[0]
    assert f"\\u{ord(first):04x}" in output or json.dumps(first)[1:-1] in output, "but they are not hidden"


def test_letters_of_all_languages_do() -> None:
    text = "é ß 漢字 عربى Ω 🙂 𝄞"
    assert shown({"name": text}) == [f"name: {text}"]
    assert plain(f"{text}\n{text}\tx") == f"{text}\n{text}\tx"


def test_characters_beyond_the_first_plane_are_escaped_as_json_does() -> None:
    assert plain("\U000e0001") == "\\udb40\\udc01"


# For a program.


def printed(capsys: pytest.CaptureFixture[str], *responses: Response, services: tuple[str, ...] = ()) -> JSON:
    """What is printed where nobody looks on."""
    print_answers(responses, services, as_json=False)
    value: JSON = json.loads(capsys.readouterr().out)
    return value


def test_one_answer_is_one_map(capsys: pytest.CaptureFixture[str]) -> None:
    value: JSON = {"b": [1.5, None, "\x1b"], "a": "é"}
    assert printed(capsys, Response(0, "done", value)) == {"result": 0, "text": "done", "arguments": value}
    assert printed(capsys, Response(3)) == {"result": 3}
    assert printed(capsys, Response(0, "", None)) == {"result": 0, "text": "", "arguments": None}


def test_answers_of_services_are_a_list_even_if_there_is_one(capsys: pytest.CaptureFixture[str]) -> None:
    assert printed(capsys, Response(), services=("a",)) == [{"result": 0}]
    two = (Response(1, "x"), Response(2, "y"))
    assert printed(capsys, *two, services=("a", "b")) == [
        {"result": 1, "text": "x"},
        {"result": 2, "text": "y"},
    ]


def test_json_keeps_the_order_of_keys_and_is_indented(capsys: pytest.CaptureFixture[str]) -> None:
    print_answers([Response(arguments={"z": 1, "a": [1]})], (), as_json=True)
    assert capsys.readouterr().out == (
        '{\n  "result": 0,\n  "arguments": {\n    "z": 1,\n    "a": [\n      1\n    ]\n  }\n}\n'
    )


def test_an_answer_without_arguments_has_none() -> None:
    assert Response().arguments is UNSET
    assert shown(UNSET) == ["ok"]
