"""Plugins: Python modules that add commands to a daemon, look at commands and answers on their way, or are
called at a daemon's hook points.

A plugin is named by the path of its file, by its module's name, or by an entry point of the group
``bridle.plugins``, as a ``hooks-libraries`` entry does. It has a function ``load(context, parameters)``, and
may have ``unload()``. What it registers through the context is taken back when it is unloaded. A set of
plugins is replaced as a whole, in one step: if one fails to load, the old set stays.
"""

from __future__ import annotations

import importlib.util
import logging
import sys
from collections.abc import Awaitable, Callable, Container, Iterable, Sequence
from importlib.machinery import ModuleSpec
from importlib.metadata import entry_points
from pathlib import Path as FilePath
from types import ModuleType

import msgspec

from bridle.core.errors import ConfigurationError, DeclarationError
from bridle.core.manager import Access, CommandDefinition, CommandManager
from bridle.core.messages import JSON, Command, Response
from bridle.core.results import Result
from bridle.daemon.callouts import Callout, Callouts

__all__ = ["ENTRY_POINTS", "PluginContext", "PluginSettings", "Plugins", "check_library"]

_log = logging.getLogger("bridle.plugins")

ENTRY_POINTS = "bridle.plugins"
"""The group of entry points by which installed packages offer plugins."""

_INSTEAD = "a plugin of Bridle is a Python module: name its file (NAME.py) or its dotted name"


class PluginSettings(msgspec.Struct, frozen=True):
    """An entry of ``hooks-libraries``."""

    library: str
    parameters: dict[str, JSON] = {}


class PluginContext:
    """What a plugin may do to its daemon. Everything done here is undone when the plugin is unloaded.

    What a plugin registers while it is loaded takes effect when its whole set does; later, at once.
    """

    def __init__(self, manager: CommandManager, callouts: Callouts, taken: Container[str] = ()) -> None:
        self._manager = manager
        self._points = callouts
        self._taken = taken
        self._holds = False
        self._commands: dict[str, CommandDefinition] = {}
        self._before: list[Callable[[Command], Response | Awaitable[Response] | None]] = []
        self._after: list[Callable[[Command, Response], Response | None]] = []
        self._values: list[Callable[[Command], str | None]] = []
        self.callouts: list[tuple[str, Callout]] = []
        """The callouts that were registered, with their points."""

    def register_command(
        self, name: str, handler: Callable[..., object], *, access: Access = "write"
    ) -> None:
        """Add a command.

        Raises:
            DeclarationError: the name is taken, or the handler's signature is not one of a command.
        """
        if name in self._taken or name in self._commands:
            raise DeclarationError(f"a handler for '{name}' is already registered")
        definition = CommandDefinition(name, handler, access)
        if self._holds:
            self._manager.register_command(name, handler, access=access)
        self._commands[name] = definition

    def before_command(self, hook: Callable[[Command], Response | Awaitable[Response] | None]) -> None:
        """Call ``hook(command)`` before each command; a response that it returns, or an awaitable of one, is
        the answer. In the
        agent that goes for commands to services too: ``command.services`` says which."""
        if self._holds:
            self._manager.before_command(hook)
        self._before.append(hook)

    def command_processed(self, hook: Callable[[Command, Response], Response | None]) -> None:
        """Call ``hook(command, response)`` after each command; what it returns replaces the answer."""
        if self._holds:
            self._manager.command_processed(hook)
        self._after.append(hook)

    def assign_value(self, hook: Callable[[Command], str | None]) -> None:
        """Call ``hook(command)`` for each command where roles are assigned by ``custom-value``, before
        anything else is done: what it returns is the value for the command's peer, None where it knows none.
        It must not block. The first plugin that knows one counts; one that raises knows none."""
        if self._holds:
            self._manager.assign_value(hook)
        self._values.append(hook)

    def callout(self, point: str, function: Callout) -> None:
        """Call a function at a hook point of the daemon; what it is given and may return is the daemon's to
        say.

        Raises:
            DeclarationError: the daemon has no such point, or the plugin is loaded already.
        """
        self._points.check(point)
        if self._holds:
            raise DeclarationError("callouts are registered while a plugin is loaded")
        self.callouts.append((point, function))

    @property
    def command_names(self) -> Iterable[str]:
        """The commands that the plugin has."""
        return self._commands

    def hold(self) -> None:
        """Let the commands and hooks take effect."""
        self._holds = True
        for name, definition in self._commands.items():
            self._manager.register_command(name, definition.handler, access=definition.access)
        for before in self._before:
            self._manager.before_command(before)
        for after in self._after:
            self._manager.command_processed(after)
        for value in self._values:
            self._manager.assign_value(value)

    def undo(self) -> None:
        """Take back everything, the last first."""
        if self._holds:
            self._holds = False
            for value in reversed(self._values):
                self._manager.remove_hook(value)
            for after in reversed(self._after):
                self._manager.remove_hook(after)
            for before in reversed(self._before):
                self._manager.remove_hook(before)
            for name in reversed(self._commands):
                self._manager.deregister_command(name)


class _Plugin:
    def __init__(self, settings: PluginSettings, module: ModuleType, context: PluginContext) -> None:
        self.settings = settings
        self.module = module
        self.context = context

    def end(self) -> None:
        ending = getattr(self.module, "unload", None)
        if ending is not None:
            try:
                ending()
            except Exception:
                _log.exception("plugin %s failed to unload", self.settings.library)


class Plugins:
    """The plugins of a daemon. ``callouts`` are those of its hook points, where it has any."""

    def __init__(self, manager: CommandManager, callouts: Callouts | None = None) -> None:
        self._manager = manager
        self._callouts = Callouts() if callouts is None else callouts
        self._loaded: list[_Plugin] = []

    def replace(self, wanted: Sequence[PluginSettings], *, anew: bool = False) -> None:
        """Load these plugins in place of those that are loaded. The same list again changes nothing, unless
        ``anew`` asks to load them from their files again.

        The new ones are loaded while the old ones still work, then all are exchanged in one step, and the old
        ones are unloaded.

        Raises:
            ConfigurationError: one cannot be loaded; the old ones go on as if nothing had happened.
        """
        if list(wanted) == [plugin.settings for plugin in self._loaded] and not anew:
            return
        modules = [(settings, _import(settings.library)) for settings in wanted]
        self._exchange(self._load(modules))

    def _load(self, modules: Sequence[tuple[PluginSettings, ModuleType]]) -> list[_Plugin]:
        old = {name for plugin in self._loaded for name in plugin.context.command_names}
        taken = {definition.name for definition in self._manager} - old
        loaded: list[_Plugin] = []
        for settings, module in modules:
            context = PluginContext(self._manager, self._callouts, taken)
            try:
                module.load(context, dict(settings.parameters))
            except Exception as error:
                for plugin in reversed(loaded):
                    plugin.end()
                raise ConfigurationError(
                    f"plugin '{settings.library}' failed to load: {type(error).__name__}: {error}"
                ) from error
            taken.update(context.command_names)
            loaded.append(_Plugin(settings, module, context))
        return loaded

    def _exchange(self, new: list[_Plugin]) -> None:
        old, self._loaded = self._loaded, new
        for plugin in reversed(old):
            plugin.context.undo()
        for plugin in new:
            plugin.context.hold()
        self._callouts.exchange(callout for plugin in new for callout in plugin.context.callouts)
        for plugin in reversed(old):
            plugin.end()

    def unload(self) -> None:
        """Unload all, the last first."""
        self._exchange([])

    def register(self, manager: CommandManager, wanted: Callable[[], Sequence[PluginSettings]]) -> None:
        """Answer ``libreload``, which loads the plugins that are ``wanted`` now from their files again."""

        def libreload(command: Command) -> Response:
            """Load the plugins again. If one cannot be loaded, the old ones go on."""
            try:
                self.replace(wanted(), anew=True)
            except ConfigurationError as error:
                return Response(Result.ERROR, f"Failed to reload hooks libraries: {error}", error=error)
            return Response(text="Hooks libraries successfully reloaded.")

        manager.register_command("libreload", libreload, access="write")


def check_library(library: str) -> None:
    """Refuse what cannot be loaded, without running any of it.

    Raises:
        ConfigurationError: it is a shared library, and the text says what does its work here; or there is no
            such file or package.
    """
    name = FilePath(library).name
    if name.endswith(".so"):
        raise ConfigurationError(
            f"hook library '{library}' is a shared library for Kea and cannot be loaded: {_INSTEAD}"
        )
    try:
        if library.endswith(".py"):
            _check_file(FilePath(library))
        elif not entry_points(group=ENTRY_POINTS, name=library):
            _check_package(library.partition(".")[0], library)
    except (OSError, ImportError, ValueError) as error:
        raise _not_imported(library, error) from error


def _check_file(path: FilePath) -> None:
    if not path.is_file():
        raise FileNotFoundError(f"no such file: {path}")


def _check_package(package: str, library: str) -> None:
    # Only the outermost one: whoever looks for what is inside imports it.
    if package not in sys.modules and importlib.util.find_spec(package) is None:
        if package == library:
            raise ImportError(f"no Python module: {library}")
        raise ModuleNotFoundError(f"No module named '{package}'")


def _not_imported(library: str, error: Exception) -> ConfigurationError:
    return ConfigurationError(f"plugin '{library}' cannot be imported: {type(error).__name__}: {error}")


def _import(library: str) -> ModuleType:
    check_library(library)
    try:
        module = _import_file(library) if library.endswith(".py") else _import_module(library)
    except Exception as error:
        raise _not_imported(library, error) from error
    if not callable(getattr(module, "load", None)):
        raise ConfigurationError(f"plugin '{library}' has no function load(context, parameters)")
    return module


def _import_file(library: str) -> ModuleType:
    path = FilePath(library)
    _check_file(path)
    # No name that an import statement could mean, and another for each file.
    return _execute(importlib.util.spec_from_file_location(f"bridle plugin {path.absolute()}", path), library)


def _import_module(library: str) -> ModuleType:
    for point in entry_points(group=ENTRY_POINTS, name=library):
        library = point.module
    return _execute(importlib.util.find_spec(library), library)


def _execute(spec: ModuleSpec | None, library: str) -> ModuleType:
    """Make a module of its own each time: one that is loaded already goes on with what it holds."""
    if spec is None or spec.loader is None:
        raise ImportError(f"no Python module: {library}")
    module = importlib.util.module_from_spec(spec)
    before = sys.modules.get(spec.name)
    # Structs and dataclasses look up their module by its name.
    sys.modules[spec.name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        if before is None:
            del sys.modules[spec.name]
        else:
            sys.modules[spec.name] = before
        raise
    return module
