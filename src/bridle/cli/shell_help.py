"""What ``help`` prints in the shell."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator, Mapping

from bridle.cli.shell_catalogue import Catalogue, CommandHelp

__all__ = ["command_text", "overview"]

# Columns that a summary needs to be worth standing beside its name; with fewer it goes below.
_BESIDE = 24
_INDENT = "    "
_GAP = 2

# Where a text may not be filled: at empty lines, and before lists and what is indented.
_PARAGRAPHS = re.compile(r"\n\s*\n|\n(?=[ \t*-])")

_ARGUMENTS = (
    "Arguments are KEY=VALUE words, JSON in brackets, @FILE, or values in order. help COMMAND tells more."
)


def overview(builtins: Mapping[str, str], catalogue: Catalogue, width: int) -> str:
    """All commands: the daemon's, then the shell's own (usage and summary)."""
    commands = {name: entry.summary for name, entry in catalogue.items()}
    sections = [("The daemon's commands:", commands)] if commands else []
    sections.append(("The shell's own:", dict(builtins)))
    lines: list[str] = []
    for title, entries in sections:
        lines += [title, *_listing(entries, width), ""]
    lines += _wrapped(_ARGUMENTS, width, "")
    return "\n".join(lines)


def command_text(entry: CommandHelp, width: int) -> str:
    """One command: how it is typed, what it does, what it takes."""
    told = entry.help or "The daemon tells no more than the name."
    first, *rest = _wrapped(entry.signature, width - len(_INDENT) * 2, "")
    lines = [first, *(_INDENT * 2 + line for line in rest)]
    for number, paragraph in enumerate(_PARAGRAPHS.split(told.strip())):
        lines += [""] if number else []
        lines += _wrapped(paragraph, width, _INDENT)
    if entry.access:
        lines += ["", f"{_INDENT}access: {entry.access}"]
    if entry.arguments:
        notes = {f"{argument.name}=": argument.note for argument in entry.arguments}
        lines += ["", f"{_INDENT}arguments:", *_listing(notes, width, _INDENT * 2)]
    return "\n".join(lines)


def _listing(entries: Mapping[str, str], width: int, indent: str = "  ") -> Iterator[str]:
    if not any(entries.values()):
        yield from _columns(list(entries), width, indent)
        return
    longest = max(map(len, entries))
    beside = len(indent) + longest + _GAP
    for name, text in entries.items():
        if width - beside >= _BESIDE:
            first, *rest = _wrapped(text, width - beside, "") or [""]
            yield f"{indent}{name:{longest + _GAP}}{first}".rstrip()
            yield from (" " * beside + line for line in rest)
        else:
            yield indent + name
            yield from _wrapped(text, width, indent + _INDENT)


def _columns(names: list[str], width: int, indent: str) -> Iterator[str]:
    longest = max(map(len, names), default=0) + _GAP
    columns = max((width - len(indent)) // longest, 1)
    rows = -(-len(names) // columns)
    for row in range(rows):
        yield (indent + "".join(f"{name:{longest}}" for name in names[row::rows])).rstrip()


def _wrapped(text: str, width: int, indent: str) -> list[str]:
    return textwrap.wrap(
        text,
        max(width, len(indent) + _BESIDE),
        initial_indent=indent,
        subsequent_indent=indent,
        break_on_hyphens=False,
    )
