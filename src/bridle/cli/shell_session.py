"""A session of the shell: one endpoint, a service behind it perhaps, and what its daemon says it can do.

It runs one command at a time, and outlives whatever goes wrong with it. Where the commands come from, a
terminal or a pipe, is no business of this module.
"""

from __future__ import annotations

import difflib
import shutil
import sys
from collections.abc import Callable
from typing import NamedTuple

import click
import msgspec

from bridle.cli.arguments import check_text, parse_arguments
from bridle.cli.failure import failure_of, tell
from bridle.cli.hints import Given
from bridle.cli.rendering import plain, print_answers
from bridle.cli.shell_catalogue import Catalogue, load, services
from bridle.cli.shell_help import command_text, overview
from bridle.cli.shell_line import split
from bridle.client.blocking import Client
from bridle.core.errors import BridleError, TransportError
from bridle.core.messages import Response
from bridle.core.results import ExitStatus, Result, row

__all__ = ["BUILTINS", "Builtin", "Leave", "Session"]

# After these a daemon may know other commands than before: they load and drop plugins.
_CHANGE_COMMANDS = frozenset({"config-reload", "config-set", "libreload"})


class Leave(Exception):
    """The user wants to leave the shell."""


class Session:
    """Runs commands against one endpoint.

    ``catalogue`` holds what is known of the commands, ``services`` the names that ``use`` takes.
    """

    def __init__(
        self,
        client: Client,
        *,
        service: str | None = None,
        as_json: bool = False,
        given: Given,
    ) -> None:
        self.client = client
        self._given = given
        self.service: str | None = None
        self.as_json: bool = as_json
        self.catalogue: Catalogue = {}
        self.services: list[str] = []
        self._known = False
        self._answering = True
        if service is not None:
            self._address(service)

    @property
    def name(self) -> str:
        """The endpoint, and the service."""
        return f"{self.client.endpoint} {self.service}" if self.service else str(self.client.endpoint)

    def run(self, text: str) -> int:
        """Run one command and print its answer, or what went wrong with it. Gives the exit status.

        Raises:
            Leave: it was ``quit`` or ``exit``.
        """
        try:
            check_text(text)
            name, *words = split(text) or [""]
            builtin = BUILTINS.get(name)
            if builtin is None:
                return self._call(name, words)
            builtin.check(words)
            builtin.run(self, *words)
        except click.UsageError as error:
            return self._tell(error.format_message(), ExitStatus.USAGE)
        except BridleError as error:
            return self._fail(error)
        return 0

    def _call(self, name: str, words: list[str]) -> int:
        if not name:
            raise click.UsageError("a command needs a name")
        if words == ["-"]:
            raise click.UsageError("standard input is the shell's own; @FILE reads a file")
        response = self.client.execute(name, parse_arguments(words), service=self.service)
        self._answering = response.result in (Result.SUCCESS, Result.EMPTY)
        if name in _CHANGE_COMMANDS:
            self._known = False
        return self._print(response)

    def _print(self, response: Response) -> int:
        try:
            print_answers([response], (), as_json=self.as_json)
        except (msgspec.MsgspecError, RecursionError) as error:
            return self._tell(f"the answer cannot be shown: {error}", ExitStatus.PROTOCOL)
        sys.stdout.flush()
        hint = self._given.hint_of_answers([response], self.client.endpoint)
        if hint:
            tell(hint)
        return row(response.result).exit

    def _fail(self, error: BridleError) -> int:
        if isinstance(error, TransportError):
            # Whoever answers there next may be another daemon.
            self._known = self._answering = False
        failure = failure_of(error, self._given.hint_of_error(error, self.client.endpoint))
        return self._tell(failure.message, failure.status)

    def _tell(self, text: str, status: int) -> int:
        sys.stdout.flush()
        tell(text)
        return status

    def learn(self) -> bool:
        """Ask for the commands, where they are not known and there is hope for an answer.

        True when they were asked for and told. What goes wrong is left for the next command to find.
        """
        if self._known or not self._answering:
            return False
        try:
            self._ask()
        except BridleError:
            self._answering = False
        return self._known

    def _ask(self) -> None:
        self.catalogue = load(self.client, self.service)
        if self.client.endpoint.in_http and not self.services:
            self.services = self._services()
        self._known = True

    def _services(self) -> list[str]:
        try:
            return services(self.client)
        except BridleError:
            return []

    def introduce(self) -> None:
        """Say whom one talks to, or why one does not: on standard error, for it is no answer."""
        try:
            self._ask()
        except BridleError as error:
            self._fail(error)
            return
        explained = "" if any(entry.help for entry in self.catalogue.values()) else ", known by name only"
        click.echo(f"{self.name}: {len(self.catalogue)} commands{explained}", err=True)
        if self.services and not self.service:
            click.echo(f"services: {plain(', '.join(self.services))} (use NAME addresses one)", err=True)

    # The shell's own commands.

    def help(self, name: str = "") -> None:
        """Print what is known of all commands, or of one."""
        width = shutil.get_terminal_size().columns
        self.learn()
        if not self.catalogue:
            self._ask()
        if not name:
            builtins = {builtin.usage: builtin.summary for builtin in BUILTINS.values()}
            print(plain(overview(builtins, self.catalogue, width)))
        elif name in BUILTINS:
            print(f"{BUILTINS[name].usage}\n    {BUILTINS[name].summary}")
        elif name in self.catalogue:
            print(plain(command_text(self.catalogue[name], width)))
        else:
            close = difflib.get_close_matches(name, [*self.catalogue, *BUILTINS], 1)
            raise click.UsageError(
                f"there is no command '{name}'{f'; did you mean {close[0]}?' if close else ''}"
            )

    def use(self, service: str = "") -> None:
        """Send what follows to a service, or to the endpoint itself."""
        if service and self.client.endpoint.in_http:
            self._check_service(service)
        self._address(service or None)
        self._known, self._answering, self.catalogue = False, True, {}

    def _check_service(self, service: str) -> None:
        """Refuse a service that the agent does not have, where it tells which it has."""
        if service not in self.services:
            self.services = self._services()
        if self.services and service not in self.services:
            raise click.UsageError(f"there is no service '{service}'; there are {', '.join(self.services)}")

    def _address(self, service: str | None) -> None:
        if service and not self.client.endpoint.in_http:
            raise click.UsageError(f"{self.client.endpoint} is no agent: it has no services")
        check_text(service or "")
        self.service = service

    def show_json(self, choice: str = "on") -> None:
        """Print answers as JSON, or as text."""
        if choice not in ("on", "off"):
            raise click.UsageError(f"json is 'on' or 'off', not '{choice}'")
        self.as_json = choice == "on"

    def leave(self) -> None:
        """End the session."""
        raise Leave


class Builtin(NamedTuple):
    """A command of the shell's own, which takes at most ``most`` words."""

    usage: str
    summary: str
    most: int
    run: Callable[..., None]

    def check(self, words: list[str]) -> None:
        """Raise a usage error where there are more words than it takes."""
        if len(words) > self.most:
            raise click.UsageError(f"'{words[self.most]}' is too much: {self.usage}")


BUILTINS = {
    "help": Builtin("help [COMMAND]", "Tell what commands there are, or about one.", 1, Session.help),
    "use": Builtin(
        "use [SERVICE]", "Address a service behind an agent, or the agent itself.", 1, Session.use
    ),
    "json": Builtin("json on|off", "Print answers as JSON, or as text.", 1, Session.show_json),
    "quit": Builtin("quit", "Leave; so do exit and Ctrl-D.", 0, Session.leave),
    "exit": Builtin("exit", "Leave.", 0, Session.leave),
}
