"""What is known of commands: their access classes and libraries, and who says so.

In this order: the configuration's ``commands``; the command's own declaration; the files of Kea's ``api``
folder where ``api-files`` names one; the catalogue of real daemons' commands. Whatever nobody knows counts as
``write``, and it cannot be told of which library it is.
"""

from __future__ import annotations

import stat
from collections.abc import Mapping
from pathlib import Path as FilePath

import msgspec

from bridle.access.catalogue import CATALOGUE, Classified
from bridle.access.reading import Given
from bridle.core.errors import ConfigurationError
from bridle.core.manager import CommandDefinition

__all__ = ["FILES_LIMIT", "FILE_LIMIT", "CommandTable", "read_api_files", "read_commands"]

# Commands that one configuration or folder defines, and bytes of one file: Kea has some 220, of 30 KiB at
# most.
FILES_LIMIT = 2000
FILE_LIMIT = 1024 * 1024


class CommandTable:
    """Commands by name. ``extra`` are the configuration's, ``api`` those of a folder, None without one."""

    def __init__(
        self, extra: Mapping[str, Classified] | None = None, api: Mapping[str, Classified] | None = None
    ) -> None:
        self._extra = extra or {}
        self._api = api or {}
        self.complete: bool = api is not None
        """Whether a folder says which commands there are."""

    def knows(self, name: str) -> bool:
        """Whether somebody has classified a command of that name."""
        return name in self._extra or name in self._api or name in CATALOGUE

    def find(self, name: str, definition: CommandDefinition | None = None) -> Classified | None:
        """What is known of a command; ``definition`` is its declaration, where this daemon has it."""
        known = self._extra.get(name)
        if known is not None:
            return known
        known = self._api.get(name) or CATALOGUE.get(name)
        if definition is None or (known is not None and known.access == definition.access):
            return known
        return Classified(definition.access, known.hook if known is not None else "")


class _ApiFile(msgspec.Struct):
    """What of one of Kea's files matters here."""

    name: str
    access: str
    hook: str = ""


_decode = msgspec.json.Decoder(_ApiFile).decode


def read_api_files(given: Given) -> dict[str, Classified]:
    """Read the folder that ``api-files`` names: a file for each command, JSON with ``name``, ``access`` and
    ``hook``. Files whose names do not end in ``.json``, or begin with ``_``, are something else.

    Raises:
        ConfigurationError: the folder or a file of it cannot be read or is writable by everybody, or is not
            what it should be.
    """
    folder = FilePath(given.string())
    found: dict[str, Classified] = {}
    try:
        _guard(folder)
        if not folder.is_dir():
            raise given.error(f"api-files: '{folder}' is not a folder")
        files = sorted(file for file in folder.glob("*.json") if not file.name.startswith("_"))
        if not files:
            raise given.error(f"api-files: '{folder}' has no files that describe commands")
        if len(files) > FILES_LIMIT:
            raise given.error(f"api-files: '{folder}' has more than {FILES_LIMIT} files")
        for file in files:
            name, classified = _read(file)
            if name in found:
                raise given.error(f"api-files: '{file}': command '{name}' is defined twice")
            found[name] = classified
    except ConfigurationError as error:
        raise given.error(error.text) from error
    except OSError as error:
        raise given.error(f"api-files: cannot read '{error.filename or folder}': {error.strerror}") from error
    return found


def _guard(path: FilePath) -> None:
    """Refuse what any local user could open roles with."""
    if path.stat().st_mode & stat.S_IWOTH:
        raise ConfigurationError(f"api-files: '{path}' can be written by everybody; chmod o-w")


def _read(file: FilePath) -> tuple[str, Classified]:
    _guard(file)
    if file.stat().st_size > FILE_LIMIT:
        raise ConfigurationError(f"api-files: '{file}' is larger than {FILE_LIMIT} bytes")
    try:
        described = _decode(file.read_bytes())
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ConfigurationError(f"api-files: '{file}': {error}") from error
    if described.access not in ("read", "write") or not described.name:
        raise ConfigurationError(f"api-files: '{file}': a name and the access 'read' or 'write' are needed")
    return described.name, Classified("read" if described.access == "read" else "write", described.hook)


def read_commands(given: Given) -> dict[str, Classified]:
    """Read ``commands``: a list of ``name``, ``access`` and, if any, ``hook``.

    Raises:
        ConfigurationError: with the position.
    """
    found: dict[str, Classified] = {}
    for item in given.items(FILES_LIMIT):
        members = item.members(("name", "access", "hook", "user-context", "comment"), "commands")
        for key in ("name", "access"):
            if key not in members:
                raise item.error(f"missing parameter '{key}'")
        name = members["name"].string()
        if name in found:
            raise members["name"].error(f"command '{name}' is defined twice")
        access = members["access"].choice("read", "write")
        hook = members["hook"].value if "hook" in members else ""
        if not isinstance(hook, str):
            raise members["hook"].wrong_type()
        found[name] = Classified("read" if access == "read" else "write", hook)
    return found
