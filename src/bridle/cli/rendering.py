"""Answers as a person reads them, and as a program does."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator, Sequence
from typing import cast

import msgspec
from msgspec import UNSET

from bridle.core.messages import JSON, Response
from bridle.core.results import Result

__all__ = ["plain", "print_answers", "render"]

# Terminal columns for each of a table's, on the average: with fewer its cells would fold to single letters,
# or be left out altogether, and a list says the same.
_NARROWEST = 8


def print_answers(responses: Sequence[Response], services: Sequence[str], *, as_json: bool) -> None:
    """Print answers: as JSON where that is asked for or standard output is no terminal."""
    if as_json or not sys.stdout.isatty():
        values = [_as_json(response) for response in responses]
        text = msgspec.json.format(msgspec.json.encode(values if services else values[0]), indent=2)
        print(text.decode())
        return
    for number, response in enumerate(responses):
        if len(responses) > 1:
            print(f"{services[number]}:")
        print(render(response, shutil.get_terminal_size().columns))


def _as_json(response: Response) -> dict[str, JSON]:
    value: dict[str, JSON] = {"result": response.result}
    if response.text is not None:
        value["text"] = response.text
    if response.arguments is not UNSET:
        value["arguments"] = response.value
    return value


def render(response: Response, width: int) -> str:
    """An answer for a terminal of ``width`` columns."""
    lines = []
    if response.result not in (Result.SUCCESS, Result.EMPTY):
        lines.append(f"error {response.result}: {plain(response.text or 'no text')}")
    elif response.text:
        lines.append(plain(response.text.rstrip("\n")))
    if response.arguments is not UNSET:
        lines += _lines(response.value, "", width)
    return "\n".join(lines) if lines else "ok"


def _lines(value: JSON, indent: str, width: int) -> Iterator[str]:
    if isinstance(value, dict):
        for key, item in value.items():
            yield from _member(f"{_line(key)}:", item, indent, width)
    elif isinstance(value, list):
        if indent == "" and _is_table(value, width):
            yield from _table(cast("list[dict[str, JSON]]", value), width)
            return
        for item in value:
            if isinstance(item, dict | list) and item:
                first, *rest = _lines(item, indent + "  ", width)
                yield f"{indent}- {first.lstrip()}"
                yield from rest
            else:
                yield f"{indent}{'- ' if indent else ''}{_scalar(item)}"
    else:
        yield indent + _scalar(value)


def _member(label: str, item: JSON, indent: str, width: int) -> Iterator[str]:
    if isinstance(item, dict | list) and item:
        yield f"{indent}{label}"
        yield from _lines(item, indent + "  ", width)
    elif isinstance(item, str) and "\n" in item:
        yield f"{indent}{label}"
        yield from (f"{indent}  {_line(line)}" for line in item.rstrip("\n").split("\n"))
    else:
        yield f"{indent}{label} {_scalar(item)}"


def _scalar(value: JSON) -> str:
    if isinstance(value, str) and value.isprintable():
        return value
    return _line(msgspec.json.encode(value).decode())


def plain(text: str) -> str:
    """The lines of a text, without anything that steers a terminal: that is written as JSON escapes it."""
    return "\n".join(_line(line) for line in text.split("\n"))


def _line(text: str) -> str:
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() or c == "\t" else _escape(c) for c in text)


def _escape(character: str) -> str:
    units = character.encode("utf-16-be", "surrogatepass").hex()
    return "".join(f"\\u{units[at : at + 4]}" for at in range(0, len(units), 4))


def _is_table(value: list[JSON], width: int) -> bool:
    names: set[str] = set()
    for item in value:
        if not isinstance(item, dict) or any(isinstance(cell, dict | list) for cell in item.values()):
            return False
        names.update(item)
    return len(value) > 1 and 0 < len(names) * _NARROWEST <= width


def _table(rows: list[dict[str, JSON]], width: int) -> Iterator[str]:
    from rich.console import Console
    from rich.table import Table

    columns = list(dict.fromkeys(key for row in rows for key in row))
    table = Table(box=None, pad_edge=False)
    for column in columns:
        table.add_column(_line(column), overflow="fold")
    for row in rows:
        table.add_row(*(_scalar(row[column]) if column in row else "" for column in columns))
    console = Console(width=width, highlight=False, markup=False, emoji=False)
    with console.capture() as capture:
        console.print(table)
    yield from capture.get().rstrip("\n").split("\n")
