"""The commands that every daemon has, in Kea's words (``facts/kea.md`` §4).

Arguments that a command does not know are ignored here, as Kea does; a daemon's own commands refuse them.
"""

from __future__ import annotations

import functools
import os
import platform
from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

import msgspec
from msgspec import UNSET

from bridle.core.errors import ArgumentError, BridleError, CommandError, ConfigurationError
from bridle.core.manager import Access, CommandManager
from bridle.core.messages import JSON, Command, Response
from bridle.core.results import Result
from bridle.core.version import VERSION
from bridle.daemon.configuration import ConfigurationOwner, RestoreError
from bridle.daemon.daemon import Phrases
from bridle.daemon.document import Document, from_command

if TYPE_CHECKING:
    from bridle.access.guard import Guard

__all__ = ["CommonCommands", "Managed"]


class Managed(Protocol):
    """What the common commands need of a daemon."""

    manager: CommandManager
    guard: Guard | None

    @property
    def root(self) -> str:
        """The configuration's outermost name."""
        ...

    @property
    def version(self) -> str:
        """What ``version-get`` tells."""
        ...

    @property
    def phrases(self) -> Phrases:
        """The sentences it answers in."""
        ...

    def status(self) -> dict[str, JSON]:
        """What ``status-get`` tells besides pid, uptime and reload."""
        ...


class CommonCommands:
    """Registers the common commands with a daemon's manager and answers them."""

    def __init__(
        self,
        daemon: Managed,
        owner: ConfigurationOwner,
        *,
        uptime: Callable[[], int],
        shut_down: Callable[[int], None],
    ) -> None:
        self._daemon = daemon
        self._owner = owner
        self._uptime = uptime
        self._shut_down = shut_down
        self._registered: list[str] = []
        register = self._register
        register("build-report", self.build_report, access="read")
        register("command-help", self.command_help, access="read")
        register("config-get", self.config_get, access="read")
        register("config-hash-get", self.config_hash_get, access="read")
        register("config-reload", self.config_reload, access="write")
        register("config-set", self.config_set, access="write")
        register("config-test", self.config_test, access="write")
        register("config-write", self.config_write, access="write")
        register("shutdown", self.shutdown, access="write")
        register("status-get", self.status_get, access="read")
        register("version-get", self.version_get, access="read")

    def _register(self, name: str, handler: Callable[..., object], *, access: Access) -> None:
        # A daemon's own command of that name is there already, and stays.
        if self._daemon.manager.definition(name) is None:
            self._daemon.manager.register_command(name, handler, access=access)
            self._registered.append(name)

    def deregister(self) -> None:
        """Take the common commands back, so that the daemon can be served again."""
        while self._registered:
            self._daemon.manager.deregister_command(self._registered.pop())

    def build_report(self, command: Command) -> Response:
        """Tell what the daemon is built from and runs on."""
        return Response(
            text="\n".join([f"{self._daemon.root} {self._daemon.version}", *_components()]) + "\n"
        )

    def version_get(self, command: Command) -> Response:
        """Tell the daemon's version; ``extended`` adds what it is built from."""
        extended = "\n".join([self._daemon.version, *_components()])
        return Response(text=self._daemon.version, arguments={"extended": extended})

    def status_get(self, command: Command) -> dict[str, JSON]:
        """Tell the process id, and the seconds since the start and since the last configuration."""
        return {
            "pid": os.getpid(),
            "reload": self._owner.age,
            "uptime": self._uptime(),
            **self._daemon.status(),
            **(self._daemon.guard.status() if self._daemon.guard is not None else {}),
        }

    def command_help(self, name: str | None = None) -> dict[str, JSON]:
        """Tell what commands do and take: name, access class, help, and JSON Schema of the arguments.

        Without ``name``, of all commands.
        """
        if name is None:
            return {definition.name: definition.describe() for definition in self._daemon.manager}
        definition = self._daemon.manager.definition(name)
        if definition is None:
            raise CommandError(f"'{name}' command not supported.", Result.EMPTY)
        return {name: definition.describe()}

    def config_get(self, command: Command) -> dict[str, JSON]:
        """Tell the configuration that holds, defaults included, and its hash."""
        held = self._owner.held
        return {self._daemon.root: held.value, "hash": held.hash}

    def config_hash_get(self, command: Command) -> dict[str, JSON]:
        """Tell the SHA-256 hash of the configuration that holds."""
        return {"hash": self._owner.held.hash}

    def config_test(self, command: Command) -> Response:
        """Check a configuration without applying it."""
        document = self._document(command)
        try:
            self._owner.test(document)
        except ConfigurationError as error:
            return Response(Result.ERROR, str(error), error=error)
        return Response(text=self._daemon.phrases.checked)

    async def config_set(self, command: Command) -> Response:
        """Replace the configuration. If it cannot be used, the one before goes on."""
        document = self._document(command)
        try:
            held = await self._owner.change(document)
        except RestoreError as error:
            return Response(Result.FATAL, str(error), error=error)
        except BridleError as error:
            return Response(Result.ERROR, str(error), error=error)
        phrases = self._daemon.phrases
        arguments: JSON = {"hash": held.hash}
        return Response(text=phrases.applied, arguments=arguments if phrases.hash_in_set else UNSET)

    async def config_reload(self, command: Command) -> Response:
        """Read the configuration file again. If it cannot be used, the configuration before goes on."""
        try:
            await self._owner.load()
        except RestoreError as error:
            return Response(Result.FATAL, self._reload_failed(error), error=error)
        except BridleError as error:
            return Response(Result.ERROR, self._reload_failed(error), error=error)
        return Response(text=self._daemon.phrases.applied)

    def _reload_failed(self, error: BridleError) -> str:
        return self._daemon.phrases.reload_failed.format(file=self._owner.shown_file or "", error=error)

    async def config_write(self, command: Command) -> Response:
        """Write the configuration to a file beside the configuration file, by default to that file itself."""
        arguments = _map_of(command)
        filename = arguments.get("filename", "")
        if not isinstance(filename, str):
            raise ArgumentError("passed parameter 'filename' is not a string", argument="filename")
        try:
            name, size = await self._owner.write(filename)
        except ConfigurationError as error:
            return Response(Result.ERROR, str(error), error=error)
        return Response(
            text=f"Configuration written to {name} successful", arguments={"filename": name, "size": size}
        )

    def shutdown(self, command: Command) -> Response:
        """End the daemon; ``exit-value`` is the status that its process exits with. This answer still
        arrives."""
        value = _map_of(command).get("exit-value", 0)
        if type(value) is not int:
            raise ArgumentError("parameter 'exit-value' is not an integer", argument="exit-value")
        self._shut_down(value & 0xFF)
        return Response(text=self._daemon.phrases.shutting_down)

    def _document(self, command: Command) -> Document:
        root = self._daemon.root
        if self._daemon.guard is not None:
            # Whoever may not read secrets sends back masks.
            command = self._daemon.guard.restored(command, {root: self._owner.held.value})
        document = from_command(command)
        if root not in document.value:
            raise ArgumentError(f"Missing mandatory '{root}' parameter.")
        if not isinstance(document.value[root], dict):
            raise ArgumentError(f"'{root}' parameter expected to be a map.")
        # config-get tells the hash beside the configuration; what it told can be sent back as it is.
        if isinstance(document.value.get("hash"), str):
            del document.value["hash"]
        others = sorted(key for key in document.value if key != root)
        if others:
            more = f" (and '{others[1]}')" if len(others) > 1 else ""
            raise ArgumentError(
                self._daemon.phrases.unsupported_root.format(names=f"'{others[0]}'", more=more)
            )
        return document


def _map_of(command: Command) -> dict[str, JSON]:
    arguments = command.arguments
    if arguments is UNSET:
        return {}
    if not isinstance(arguments, dict):
        raise ArgumentError("Argument must be a map")
    return arguments


@functools.cache
def _components() -> tuple[str, ...]:
    return (
        f"Bridle {VERSION}",
        f"{platform.python_implementation()} {platform.python_version()}",
        f"msgspec {msgspec.__version__}",
    )
