"""Arguments of a command as they are typed."""

from __future__ import annotations

import io
import sys
from pathlib import Path

import click
import pytest

from bridle import JSON
from bridle.cli.arguments import check_text, parse_arguments, parse_value

BYTES = "caf\udce9"
"""What Python makes of an argument that is not UTF-8."""


def test_no_words_are_no_arguments() -> None:
    assert parse_arguments([]) is None


@pytest.mark.parametrize(
    ("words", "arguments"),
    [
        (["celsius=21.5"], {"celsius": 21.5}),
        (["a=1", "b=x", "c=true", "d=null"], {"a": 1, "b": "x", "c": True, "d": None}),
        (['a="5"'], {"a": "5"}),
        (['list=[1, "x"]', 'map={"k": 1}'], {"list": [1, "x"], "map": {"k": 1}}),
        (["a=b=c"], {"a": "b=c"}),
        (["a="], {"a": ""}),
        (["max-period=1", "a.b=2", "_x=3"], {"max-period": 1, "a.b": 2, "_x": 3}),
        (["text=two\nlines"], {"text": "two\nlines"}),
        (["a=[1, 2"], {"a": "[1, 2"}),
        (["a= 5 "], {"a": 5}),
        (["a=1e999"], {"a": "1e999"}),
        (["a=é€🙂"], {"a": "é€🙂"}),
    ],
)
def test_words_with_an_equals_sign_are_named(words: list[str], arguments: JSON) -> None:
    assert parse_arguments(words) == arguments


@pytest.mark.parametrize(
    ("words", "arguments"),
    [
        (["21.5"], [21.5]),
        (["x"], ["x"]),
        (["a", "1", "true", '"5"'], ["a", 1, True, "5"]),
        ([""], [""]),
        (["1=2"], ["1=2"]),
        (["-5"], [-5]),
        (["--flag"], ["--flag"]),
        (["{}", "x"], [{}, "x"]),
        (["[1]", "[2]"], [[1], [2]]),
        (["-", "x"], ["-", "x"]),
        (["x", "@file"], ["x", "@file"]),
        (["http://x?a=1"], ["http://x?a=1"]),
    ],
)
def test_other_words_are_arguments_in_order(words: list[str], arguments: JSON) -> None:
    assert parse_arguments(words) == arguments


@pytest.mark.parametrize(
    ("word", "arguments"),
    [('{"a": [1, {"b": null}]}', {"a": [1, {"b": None}]}), ("[1, 2]", [1, 2]), ("{}", {})],
)
def test_a_single_word_in_brackets_is_all_arguments(word: str, arguments: JSON) -> None:
    assert parse_arguments([word]) == arguments


def test_arguments_may_stand_in_a_file(tmp_path: Path) -> None:
    (tmp_path / "new.json").write_text('{ "Kettle": { "label": "é" } }')
    assert parse_arguments([f"@{tmp_path}/new.json"]) == {"Kettle": {"label": "é"}}


def test_arguments_may_come_from_standard_input(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b'["\xc3\xa9"]\n')))
    assert parse_arguments(["-"]) == ["é"]


COMMENTED = """// Kettle
{ # the whole
  "Kettle": { /* a
  label */ "label": "é",
    <?include "more.json"?>
  },
}
"""


def test_a_file_may_have_comments_and_includes(tmp_path: Path) -> None:
    (tmp_path / "new.json").write_text(COMMENTED)
    (tmp_path / "more.json").write_text('"volume": 2 # litres\n')
    assert parse_arguments([f"@{tmp_path}/new.json"]) == {"Kettle": {"label": "é", "volume": 2}}
    (tmp_path / "list.json").write_text("# positional\n[1, 2] // two\n")
    assert parse_arguments([f"@{tmp_path}/list.json"]) == [1, 2]


def test_standard_input_may_have_comments_and_includes_from_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "more.json").write_text('"volume": 2')
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(COMMENTED.encode())))
    assert parse_arguments(["-"]) == {"Kettle": {"label": "é", "volume": 2}}


def test_what_is_wrong_in_a_file_is_told_with_its_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "new.json").write_text("{ # comment\n  label: 1\n}")
    with pytest.raises(click.UsageError, match=f"not JSON: {tmp_path}/new.json:2.3"):
        parse_arguments([f"@{tmp_path}/new.json"])
    (tmp_path / "new.json").write_text('{ <?include "none.json"?> }')
    with pytest.raises(click.UsageError, match=r"new\.json:1\.3-23: Can.t open include file none\.json"):
        parse_arguments([f"@{tmp_path}/new.json"])
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"[1,\n 2")))
    with pytest.raises(click.UsageError, match=r"not JSON: <stdin>:2\.3"):
        parse_arguments(["-"])


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["a=1", "b"], "'b' is not KEY=VALUE, as the other arguments are"),
        (["b", "a=1"], "'b' is not KEY=VALUE, as the other arguments are"),
        (["a=1", "a=2"], "argument 'a' is given twice"),
        (["{a: 1}"], "the arguments are not JSON: "),
        (["[1,]"], "the arguments are not JSON: "),
        (["{} x"], "the arguments are not JSON: "),
        (["@/no/such/file"], "cannot read /no/such/file: No such file or directory"),
        ([BYTES], "'caf\\udce9' is not UTF-8"),
        ([f"a={BYTES}"], "'a=caf\\udce9' is not UTF-8"),
        ([f'{{"a": "{BYTES}"}}'], "is not UTF-8"),
    ],
)
def test_what_cannot_be_read_is_wrong_usage(words: list[str], says: str) -> None:
    with pytest.raises(click.UsageError) as caught:
        parse_arguments(words)
    assert says in caught.value.message


@pytest.mark.parametrize("content", [b"\xff\xfe", b'{"a": "\xff"}', b"", b"{"])
def test_a_file_that_is_not_json_is_wrong_usage(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "f").write_bytes(content)
    with pytest.raises(click.UsageError, match="the arguments are not JSON: "):
        parse_arguments([f"@{tmp_path}/f"])


@pytest.mark.parametrize(
    ("text", "value"),
    [("5", 5), ("5.0", 5.0), ("true", True), ("True", "True"), ('"x"', "x"), ("x y", "x y")],
)
def test_a_value_is_json_where_it_is_json(text: str, value: JSON) -> None:
    assert parse_value(text) == value


def test_text_has_to_be_utf_8() -> None:
    check_text("é€🙂")
    with pytest.raises(click.UsageError):
        check_text(BYTES)
