"""What the shell offers while one types: names of commands, their arguments, and values of these."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

import click
from msgspec import UNSET
from prompt_toolkit.completion import CompleteEvent, Completer, Completion, PathCompleter
from prompt_toolkit.document import Document

from bridle.cli.shell_catalogue import Argument, shown
from bridle.cli.shell_line import is_open, split
from bridle.cli.shell_session import BUILTINS, Session

__all__ = ["ShellCompleter", "hint"]

_LAST = re.compile(r"\S*\Z")
_FILES = PathCompleter()


class ShellCompleter(Completer):
    """Completes from what a session knows; never asks the daemon, so that typing does not wait."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def get_completions(self, document: Document, complete_event: CompleteEvent) -> Iterator[Completion]:
        """What may stand at the cursor, best first."""
        text = document.text_before_cursor
        last = _LAST.search(text)
        current = last[0] if last is not None else ""
        try:
            words = split(text[: len(text) - len(current)])
        except click.UsageError:
            return  # in a quote
        if is_open(text):
            return
        if not words:
            yield from _offer(current, self._names())
        elif words[0] in BUILTINS:
            yield from _offer(current, self._words_of_builtin(words))
        elif len(words) == 1 and current.startswith("@"):
            yield from _FILES.get_completions(Document(current[1:]), complete_event)
        else:
            yield from self._arguments(words, current)

    def _names(self) -> dict[str, str]:
        commands = {name: entry.summary for name, entry in self._session.catalogue.items()}
        return {**commands, **{name: builtin.summary for name, builtin in BUILTINS.items()}}

    def _words_of_builtin(self, words: list[str]) -> Mapping[str, str]:
        if len(words) > 1:
            return {}
        if words[0] == "help":
            return self._names()
        if words[0] == "use":
            return dict.fromkeys(self._session.services, "service")
        return {"on": "", "off": ""} if words[0] == "json" else {}

    def _arguments(self, words: list[str], current: str) -> Iterator[Completion]:
        entry = self._session.catalogue.get(words[0])
        if entry is None or not entry.arguments or not all("=" in word for word in words[1:]):
            return
        arguments = {argument.name: argument for argument in entry.arguments}
        key, equals, value = current.partition("=")
        if equals:
            if key in arguments:
                yield from _offer(value, _values(arguments[key]))
            return
        given = {word.partition("=")[0] for word in words[1:]}
        yield from _offer(
            current, {f"{name}=": argument.note for name, argument in arguments.items() if name not in given}
        )


def _values(argument: Argument) -> dict[str, str]:
    values = dict.fromkeys(argument.values, "")
    if argument.default is not UNSET and not isinstance(argument.default, dict | list):
        values[shown(argument.default)] = "default"
    return values


def _offer(current: str, choices: Mapping[str, str]) -> Iterator[Completion]:
    """Those that begin with what is typed, then those that have it inside."""
    begin = [choice for choice in choices if choice.startswith(current)]
    inside = [choice for choice in choices if current in choice and choice not in begin]
    for choice in [*begin, *inside]:
        if choice != current:
            yield Completion(choice, -len(current), display_meta=choices[choice])


def hint(session: Session, text: str, width: int) -> str:
    """One line about the command that is being typed: how it goes on, or what it does."""
    words = text.split(maxsplit=1)
    if not words:
        return ""
    entry, builtin = session.catalogue.get(words[0]), BUILTINS.get(words[0])
    if builtin is not None:
        told = f"{builtin.usage}  {builtin.summary}"
    elif entry is not None:
        told = f"{entry.signature}  {entry.summary}".rstrip()
    else:
        return ""
    return told if len(told) < width else f"{told[: width - 2]}…"
