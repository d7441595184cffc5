"""Writes docs/reference.md from the code: every public name with its signature and docstring.

``python docs/generate_reference.py [--check]``; with ``--check`` it only says whether the page is up to date.
"""

from __future__ import annotations

import enum
import inspect
import re
import sys
from pathlib import Path

import bridle
import bridle.pacemaker

PAGE = Path(__file__).with_name("reference.md")
HEAD = """# Reference

The public names of `bridle`, in the order in which one meets them, then those of `bridle.pacemaker`.
Written by `make docs` from the code.
"""

ALIASES = {
    "JSON": "What an argument or an answer is made of: JSON values.",
    "pacemaker.IPCCallback": "A function that is called with the connection, the event, and the user data "
    "that it was registered with.",
}


def signature(name: str, value: object) -> str:
    """A name with its parameters, as far as they can be told."""
    try:
        text = f"{name}{inspect.signature(value)}"  # type: ignore[arg-type]
        # A function that is a default has an address, which is another every time.
        text = re.sub(r"<function (\w+) at 0x[0-9a-f]+>", r"\1", text)
        return re.sub(r"(: |-> )'([^']*)'", r"\1\2", text)
    except (TypeError, ValueError):
        return name


def members(cls: type) -> list[tuple[str, object]]:
    """The documented public members that a class defines itself."""
    found = []
    for name, member in vars(cls).items():
        if name.startswith("_"):
            continue
        function = member.__func__ if isinstance(member, classmethod | staticmethod) else member
        if isinstance(function, property) or inspect.isroutine(function):
            found.append((name, function))
    return found


def documentation(value: object) -> str:
    """A docstring, where references to names are code as the rest is: the page knows no roles."""
    text = inspect.getdoc(value) or ""
    return re.sub(r":[a-z]+:`~?([^`]+)`", r"`\1`", text)


def describe(name: str, value: object) -> list[str]:
    """The section of one public name."""
    lines = [f"## `{name}`", ""]
    doc = documentation(value)
    if not inspect.isclass(value) and not inspect.isroutine(value):
        return [*lines, ALIASES[name], ""]
    if isinstance(value, type) and issubclass(value, enum.Enum):
        lines += [doc, "", *(f"* `{member.name}` = {member.value}" for member in value), ""]
        return lines
    lines += ["```python", signature(name.rpartition(".")[2], value), "```", "", doc, ""]
    if inspect.isclass(value):
        for member_name, member in members(value):
            text = documentation(member)
            if not text:
                continue
            shown = member_name if isinstance(member, property) else signature(member_name, member)
            lines += [f"### `{name}.{member_name}`", "", "```python", shown, "```", "", text, ""]
    return lines


def page() -> str:
    """The whole page."""
    lines = [HEAD]
    for name in bridle.__all__:
        lines += describe(name, getattr(bridle, name))
    for name in bridle.pacemaker.__all__:
        lines += describe(f"pacemaker.{name}", getattr(bridle.pacemaker, name))
    return "\n".join(lines).rstrip() + "\n"


def main() -> int:
    """Write the page, or compare it."""
    text = page()
    if "--check" in sys.argv[1:]:
        if PAGE.read_text("utf-8") != text:
            print("docs/reference.md is out of date: make docs", file=sys.stderr)
            return 1
        return 0
    PAGE.write_text(text, "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
