"""The shell on a terminal: prompt, completion, hints, history, and keys."""

from __future__ import annotations

import shutil
from functools import lru_cache

import click
from prompt_toolkit import PromptSession
from prompt_toolkit.application import get_app
from prompt_toolkit.filters import Condition
from prompt_toolkit.output import create_output
from prompt_toolkit.styles import Style

from bridle.cli.shell_completion import ShellCompleter, hint
from bridle.cli.shell_history import open_history
from bridle.cli.shell_line import commands, is_open
from bridle.cli.shell_session import Leave, Session

__all__ = ["converse", "prompt_text"]

# Columns that a line should have for itself, whatever the prompt says.
_ROOM = 24

_STYLE = Style.from_dict({"prompt": "bold", "bottom-toolbar": "noreverse ansibrightblack"})
# The prompt asks with every key.
_is_open = lru_cache(maxsize=8)(is_open)


def converse(session: Session) -> None:
    """Read commands from the terminal and run them until the user leaves."""
    prompt = _prompt_session(session)
    try:
        session.introduce()
    except KeyboardInterrupt:
        click.echo(err=True)
    click.echo("Tab completes, help explains, Ctrl-D leaves.", err=True)
    while _take_turn(session, prompt):
        pass


def _take_turn(session: Session, prompt: PromptSession[str]) -> bool:
    """One line, and what it asks for; False when the user leaves. Ctrl-C ends the line, or the call."""
    try:
        text = prompt.prompt()
        try:
            _run(session, text)
        except KeyboardInterrupt:
            click.echo("\ninterrupted", err=True)
    except KeyboardInterrupt:
        return True
    except (EOFError, Leave):
        return False
    return True


def _run(session: Session, text: str) -> None:
    before = session.service
    for command in commands(text.splitlines()):
        session.run(command)
    if session.service != before:
        session.introduce()
    else:
        session.learn()


def _prompt_session(session: Session) -> PromptSession[str]:
    return PromptSession(
        lambda: [("class:prompt", prompt_text(session.name, _columns()))],
        # JSON goes on until its brackets are closed.
        multiline=Condition(lambda: _is_open(get_app().current_buffer.text)),
        prompt_continuation="... ",
        completer=ShellCompleter(session),
        complete_while_typing=True,
        bottom_toolbar=lambda: hint(session, get_app().current_buffer.text, _columns()),
        history=open_history(),
        style=_STYLE,
        output=create_output(always_prefer_tty=True),
    )


def prompt_text(name: str, columns: int) -> str:
    """The prompt: where one is, or the end of it where the terminal is too narrow for more."""
    most = max(columns - _ROOM, 8) - len("> ")
    return f"{name if len(name) <= most else f'…{name[1 - most :]}'}> "


def _columns() -> int:
    return get_app().output.get_size().columns or shutil.get_terminal_size().columns
