"""The controller: a directory of instances, and how they are run.

Instances go on when the agent ends: a test of hours does not end because its controller is restarted.
``run.pid`` in an instance's folder says which process it is, and the next controller finds it by that.
"""

from __future__ import annotations

import os
from pathlib import Path
from weakref import WeakValueDictionary

from bridle.agent.bngblaster.folder import FOLDER_MODE, Folder
from bridle.agent.bngblaster.instance import Instance
from bridle.agent.bngblaster.names import check_instance
from bridle.agent.bngblaster.process import Child
from bridle.agent.bngblaster.refusal import Refusal
from bridle.agent.bngblaster.settings import ControllerSettings
from bridle.core.errors import ConfigurationError

__all__ = ["Controller", "prepare"]


class Controller:
    """All instances of a directory."""

    def __init__(self, settings: ControllerSettings) -> None:
        self.settings: ControllerSettings = settings
        self._children: set[Child] = set()
        # Whoever works on an instance, or waits to, has the same one; beside them are kept those that exist.
        self._known: WeakValueDictionary[str, Instance] = WeakValueDictionary()
        self._kept: dict[str, Instance] = {}

    def update(self, settings: ControllerSettings) -> None:
        """Use other settings from the next request on."""
        if settings.directory != self.settings.directory:
            self.forget()
        self.settings = settings

    def names(self) -> list[str]:
        """The names of the instances, in order."""
        try:
            with os.scandir(self.settings.directory) as entries:
                found = sorted(one.name for one in entries if one.is_dir(follow_symlinks=False))
        except OSError:
            return []
        names = [name for name in found if self._is_instance(name)]
        for gone in self._kept.keys() - set(names):
            self._kept.pop(gone).close()
        return names

    def _is_instance(self, name: str) -> bool:
        try:
            check_instance(name, self.settings.directory)
        except Refusal:
            return False
        return True

    def instance(self, name: str) -> Instance:
        """The instance of this name, whether or not it exists.

        Raises:
            Refusal: there can be none of this name.
        """
        check_instance(name, self.settings.directory)
        instance = self._known.get(name)
        if instance is None:
            folder = Folder(f"{self.settings.directory}/{name}")
            instance = self._known[name] = Instance(name, folder, self._children)
        if instance.folder.exists:
            self._kept[name] = instance
        return instance

    def forget(self) -> None:
        """Close the connections to all instances; they go on."""
        for instance in self._kept.values():
            instance.close()
        self._kept.clear()
        self._known.clear()

    def close(self) -> None:
        """The agent ends. Instances go on."""
        self.forget()
        for child in tuple(self._children):
            child.let_go()


def prepare(settings: ControllerSettings) -> None:
    """Make the directory, unless it is there.

    Raises:
        ConfigurationError: it cannot be made.
    """
    try:
        Path(settings.directory).mkdir(FOLDER_MODE, parents=True, exist_ok=True)
    except OSError as error:
        text = f"bngblaster-controller: cannot make the directory {settings.directory}: {error.strerror}"
        raise ConfigurationError(text) from error
