"""Plugins: Python modules that add commands to a daemon, or look at commands and answers on their way.

A plugin is named by the path of its file or by its module's name, as a ``hooks-libraries`` entry does. It has
a function ``load(context, parameters)``, and may have ``unload()``. What it registers through the context is
taken back when it is unloaded. A set of plugins is replaced as a whole: if one fails to load, the old set
stays.
"""

from __future__ import annotations

import importlib.util
import logging
import sys
from collections.abc import Callable, Sequence
from importlib.machinery import ModuleSpec
from pathlib import Path as FilePath
from types import ModuleType

import msgspec

from bridle.core.errors import ConfigurationError
from bridle.core.manager import Access, CommandManager
from bridle.core.messages import JSON, Command, Response

__all__ = ["PluginContext", "PluginSettings", "Plugins", "check_library"]

_log = logging.getLogger("bridle.plugins")

# What Kea's own libraries do, and what does it here.
_ACCESS = "Bridle's own access control will do this; until then 'authentication' keeps others out"
_INSTEAD = {"libca_rbac.so": _ACCESS, "libdhcp_rbac.so": _ACCESS}
_GENERAL = "a plugin of Bridle is a Python module: name its file (NAME.py) or its dotted name"


class PluginSettings(msgspec.Struct, frozen=True):
    """An entry of ``hooks-libraries``."""

    library: str
    parameters: dict[str, JSON] = {}


class PluginContext:
    """What a plugin may do to its daemon. Everything done here is undone when the plugin is unloaded."""

    def __init__(self, manager: CommandManager) -> None:
        self._manager = manager
        self._undo: list[Callable[[], None]] = []

    def register_command(
        self, name: str, handler: Callable[..., object], *, access: Access = "write"
    ) -> None:
        """Add a command.

        Raises:
            DeclarationError: the name is taken, or the handler's signature is not one of a command.
        """
        self._manager.register_command(name, handler, access=access)
        self._undo.append(lambda: self._manager.deregister_command(name))

    def before_command(self, hook: Callable[[Command], Response | None]) -> None:
        """Call ``hook(command)`` before each command; a response that it returns is the answer. In the
        agent that goes for commands to services too: ``command.services`` says which."""
        self._manager.before_command(hook)
        self._undo.append(lambda: self._manager.remove_hook(hook))

    def command_processed(self, hook: Callable[[Command, Response], Response | None]) -> None:
        """Call ``hook(command, response)`` after each command; what it returns replaces the answer."""
        self._manager.command_processed(hook)
        self._undo.append(lambda: self._manager.remove_hook(hook))

    def undo(self) -> None:
        """Take back everything, the last first."""
        while self._undo:
            self._undo.pop()()


class _Plugin:
    def __init__(self, settings: PluginSettings, module: ModuleType, context: PluginContext) -> None:
        self.settings = settings
        self.module = module
        self.context = context

    def unload(self) -> None:
        self.context.undo()
        ending = getattr(self.module, "unload", None)
        if ending is not None:
            try:
                ending()
            except Exception:
                _log.exception("plugin %s failed to unload", self.settings.library)


class Plugins:
    """The plugins of a daemon."""

    def __init__(self, manager: CommandManager) -> None:
        self._manager = manager
        self._loaded: list[_Plugin] = []

    def replace(self, wanted: Sequence[PluginSettings], *, anew: bool = False) -> None:
        """Load these plugins in place of those that are loaded. The same list again changes nothing, unless
        ``anew`` asks to load them from their files again.

        Raises:
            ConfigurationError: one cannot be loaded; the old ones are back.
        """
        before = [(plugin.settings, plugin.module) for plugin in self._loaded]
        if list(wanted) == [settings for settings, _ in before] and not anew:
            return
        # Most failures show here, before anything is touched.
        modules = [(settings, _import(settings.library)) for settings in wanted]
        self.unload()
        try:
            self._load(modules)
        except ConfigurationError:
            self.unload()
            self._load(before)
            raise

    def _load(self, modules: Sequence[tuple[PluginSettings, ModuleType]]) -> None:
        for settings, module in modules:
            context = PluginContext(self._manager)
            try:
                module.load(context, dict(settings.parameters))
            except Exception as error:
                context.undo()
                raise ConfigurationError(
                    f"plugin '{settings.library}' failed to load: {type(error).__name__}: {error}"
                ) from error
            self._loaded.append(_Plugin(settings, module, context))

    def unload(self) -> None:
        """Unload all, the last first."""
        while self._loaded:
            self._loaded.pop().unload()


def check_library(library: str) -> None:
    """Refuse what can never be loaded.

    Raises:
        ConfigurationError: it is a shared library; the text says what does its work here.
    """
    name = FilePath(library).name
    if name.endswith(".so"):
        raise ConfigurationError(
            f"hook library '{library}' is a shared library for Kea and cannot be loaded: "
            f"{_INSTEAD.get(name, _GENERAL)}"
        )


def _import(library: str) -> ModuleType:
    check_library(library)
    try:
        module = _import_file(library) if library.endswith(".py") else _import_module(library)
    except Exception as error:
        raise ConfigurationError(
            f"plugin '{library}' cannot be imported: {type(error).__name__}: {error}"
        ) from error
    if not callable(getattr(module, "load", None)):
        raise ConfigurationError(f"plugin '{library}' has no function load(context, parameters)")
    return module


def _import_file(library: str) -> ModuleType:
    path = FilePath(library)
    if not path.is_file():
        raise FileNotFoundError(f"no such file: {library}")
    # No name that an import statement could mean, and another for each file.
    return _execute(importlib.util.spec_from_file_location(f"bridle plugin {path.absolute()}", path), library)


def _import_module(library: str) -> ModuleType:
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
