"""kamcmd's prompt: completion and history on a terminal, line by line from anywhere else."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence

import click

from bridle.cli.failure import Failure
from bridle.cli.kamcmd_session import ALIASES, BANNER, BUILTINS, Leave, Session
from bridle.cli.kamcmd_words import read_argument, words

__all__ = ["Names", "converse"]

_PROMPT = "kamcmd> "
_HELPED = ("?", "h", "help", "system.methodSignature", "system.methodHelp")
_OF_VARIABLES = ("cfg.get", "cfg.help", "cfg.set", "cfg.del", "cfg.reset")
_OF_COUNTERS = ("cnt.get", "cnt.get_raw", "cnt.grp_get_all", "cnt.reset", "cnt.var_list", "cnt.help")


class Names:
    """What can be completed: methods, and the variables and counters of a server that has them. Asked for
    when it is needed the first time."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._methods: list[str] | None = None
        self._variables: dict[str, list[str]] | None = None
        self._counters: dict[str, list[str]] = {}
        self._counter_groups: list[str] | None = None

    @property
    def methods(self) -> list[str]:
        """The server's methods."""
        if self._methods is None:
            self._methods = self._session.method_names()
        return self._methods

    def after(self, before: Sequence[str]) -> list[str]:
        """What may follow these words."""
        if not before:
            return sorted({*ALIASES, *BUILTINS, *self.methods})
        method = ALIASES[before[0]].method if before[0] in ALIASES else before[0]
        if method in _HELPED:
            return self.after(()) if len(before) == 1 else []
        if method.startswith(_OF_VARIABLES):
            variables = self._variables_by_group()
            return _second(before, sorted(variables), lambda group: variables.get(group, []))
        if method in _OF_COUNTERS:
            return _second(before, self._groups(), self._counters_of)
        return []

    def _variables_by_group(self) -> dict[str, list[str]]:
        if self._variables is None:
            self._variables = {}
            if "cfg.list" in self.methods:
                for line in self._session.strings("cfg.list", ()):
                    group, _, variable = line.partition(": ")
                    self._variables.setdefault(group, []).append(variable)
        return self._variables

    def _groups(self) -> list[str]:
        if self._counter_groups is None:
            known = "cnt.grps_list" in self.methods
            self._counter_groups = self._session.strings("cnt.grps_list", ()) if known else []
        return self._counter_groups

    def _counters_of(self, group: str) -> list[str]:
        if group not in self._counters:
            self._counters[group] = self._session.strings("cnt.var_list", [group])
        return self._counters[group]


def _second(before: Sequence[str], groups: list[str], members: Callable[[str], list[str]]) -> list[str]:
    """A group after the method, one of its members after that."""
    if len(before) == 1:
        return groups
    return members(before[1]) if len(before) == 2 else []


def converse(session: Session) -> int:
    """Read commands and run them until the user leaves, or there are no more."""
    names = Names(session)
    names.methods  # noqa: B018 - a server that is not there is told before the prompt
    click.echo(BANNER, nl=False)
    click.echo("Tab completes, help lists what there is, Ctrl-D or quit leaves.")
    status = 0
    for line in _typed(names) if sys.stdin.isatty() and sys.stdout.isatty() else _piped():
        try:
            status = _run(session, line)
        except Leave:
            break
        except KeyboardInterrupt:
            session.close()
            click.echo("\ninterrupted", err=True)
    # A person has seen what went wrong; a script has only the status.
    return 0 if sys.stdin.isatty() else status


def _run(session: Session, line: str) -> int:
    typed = list(words(line))
    if not typed:
        return 0
    (name, _), *arguments = typed
    try:
        return session.run(name, [read_argument(word, quoted=quoted) for word, quoted in arguments])
    except Failure as failure:
        failure.show()
        return int(failure.status)


def _piped() -> Iterator[str]:
    while True:
        click.echo(_PROMPT, nl=False)
        line = sys.stdin.readline()
        if not line:
            click.echo()
            return
        click.echo(line.rstrip("\n"))
        yield line.rstrip("\n")


def _typed(names: Names) -> Iterator[str]:
    prompt = _prompt(names)
    while True:
        try:
            yield prompt()
        except KeyboardInterrupt:
            continue
        except EOFError:
            return


def _prompt(names: Names) -> Callable[[], str]:
    # Loaded only here: a single command needs no prompt.
    from prompt_toolkit import PromptSession
    from prompt_toolkit.completion import CompleteEvent, Completer, Completion
    from prompt_toolkit.document import Document

    from bridle.cli.shell_history import history_file, open_history

    class _Completer(Completer):
        def get_completions(self, document: Document, complete_event: CompleteEvent) -> Iterator[Completion]:
            before = document.text_before_cursor
            typed = [word for word, _ in words(before)]
            begun = "" if not typed or before[-1] in " \t" else typed.pop()
            try:
                found = names.after(typed)
            except Failure:
                return
            for name in found:
                if name.startswith(begun):
                    yield Completion(name, -len(begun))

    try:
        file = history_file().with_name("kamcmd-history")
    except RuntimeError:
        file = None
    session: PromptSession[str] = PromptSession(
        _PROMPT, completer=_Completer(), complete_while_typing=False, history=open_history(file)
    )
    return session.prompt
