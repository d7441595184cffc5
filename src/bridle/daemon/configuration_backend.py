"""The configuration backend: fragments from a shared database, merged over the configuration file.

It is asked for when a configuration is applied, from time to time, and by ``config-backend-pull``. What was
merged is tested and applied as any configuration is: one that cannot be used, like a database that does not
answer, changes nothing.

How fragments are merged: maps key by key; lists of maps with an identity (``id``, ``name``, or ``code`` and
``space``) item by item; everything else is replaced. Those of tag ``all`` come first, then the server's own,
each by name.
"""

from __future__ import annotations

import asyncio
import functools
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from bridle.core.errors import BridleError
from bridle.core.manager import CommandManager
from bridle.core.messages import JSON, Command, Path, Response
from bridle.core.results import Result
from bridle.daemon.document import Completion, Document
from bridle.daemon.fragments import ALL, Fragment, FragmentError, open_fragments

__all__ = ["FETCH_TIMEOUT", "FETCH_WAIT", "ConfigurationBackend", "merge"]

# Seconds between two looks, where the configuration says nothing: Kea's.
FETCH_WAIT = 30
# Seconds that reading may take: less than a command waits for its answer.
FETCH_TIMEOUT = 10.0
_TYPES = ("sqlite", "postgresql")
_KEYS = {"config-databases": list, "config-fetch-wait-time": int, "user-context": dict, "comment": str}
_DATABASE_KEYS = {
    "type": str,
    "name": str,
    "host": str,
    "port": int,
    "user": str,
    "password": str,
    "connect-timeout": int,
    "user-context": dict,
    "comment": str,
}

_log = logging.getLogger("bridle.daemon")


class ConfigurationBackend:
    """The backend of a daemon whose configuration's outermost name is ``root``. ``refresh`` applies the
    configuration once more, with what the database has by then."""

    def __init__(self, root: str, refresh: Callable[[], Awaitable[object]]) -> None:
        self._root = root
        self._refresh = refresh
        self._databases: list[dict[str, Any]] = []
        self._wait = FETCH_WAIT
        self._versions: list[int] = []
        self._refused: list[int] | None = None
        self._task: asyncio.Task[None] | None = None

    @property
    def configured(self) -> bool:
        """Whether there is a database."""
        return bool(self._databases)

    async def complete(self, document: Document) -> Completion:
        """The document with the fragments of its databases merged over it. The databases are looked at from
        time to time once it holds.

        Raises:
            ConfigurationError: ``config-control`` is wrong.
            FragmentError: a database cannot be read.
        """
        whole = document.value.get(self._root)
        control = whole.get("config-control") if isinstance(whole, dict) else None
        if not isinstance(whole, dict) or control is None:
            return Completion(document, functools.partial(self._use, [], FETCH_WAIT, []))
        databases = self.check(control, document)
        given_tag = whole.get("server-tag", "")
        tag = given_tag if isinstance(given_tag, str) and given_tag else ALL
        versions, fragments = await self._in_time(_read, databases, tag)
        assert isinstance(control, dict)
        wait = control.get("config-fetch-wait-time", FETCH_WAIT)
        assert isinstance(wait, int)
        return Completion(
            merge(document, self._root, fragments) if fragments else document,
            functools.partial(self._use, databases, wait, versions),
        )

    def check(self, control: JSON, document: Document) -> list[dict[str, Any]]:
        """The databases that ``config-control`` names.

        Raises:
            ConfigurationError: it is wrong; with the position.
        """
        path: list[str | int] = [self._root, "config-control"]
        given = document.members(control, _KEYS, "config-control", path)
        found: list[dict[str, Any]] = []
        databases = given.get("config-databases", [])
        assert isinstance(databases, list)
        for index, item in enumerate(databases):
            where = [*path, "config-databases", index]
            database = document.members(item, _DATABASE_KEYS, "config-databases", where)
            if database.get("type") not in _TYPES:
                text = f"database type '{database.get('type', '')}' is not supported: sqlite or postgresql"
                raise document.error(text, [*where, "type"])
            if not database.get("name"):
                raise document.error("missing parameter 'name'", where)
            found.append(dict(database))
        return found

    async def _in_time(self, read: Callable[..., Any], *arguments: object) -> Any:
        try:
            async with asyncio.timeout(FETCH_TIMEOUT):
                return await asyncio.to_thread(read, *arguments)
        except TimeoutError as error:
            raise FragmentError(
                f"the database of fragments did not answer in {FETCH_TIMEOUT:g} seconds"
            ) from error

    def _use(self, databases: list[dict[str, Any]], wait: int, versions: list[int]) -> None:
        self._databases, self._versions, self._refused = databases, versions, None
        if wait != self._wait or self._task is None:
            self._wait = wait
            if self._task is not None:
                self.stop()
                self.start()

    def start(self) -> None:
        """Look from time to time."""
        self._task = asyncio.get_running_loop().create_task(self._poll_for_ever())

    def stop(self) -> None:
        """Look no more."""
        if self._task is not None:
            self._task.cancel()
            self._task = None

    async def _poll_for_ever(self) -> None:
        while True:
            await asyncio.sleep(self._wait or FETCH_WAIT)
            if not self._wait or not self._databases:
                continue
            try:
                await self._look()
            except BridleError as error:
                _log.error("the configuration goes on as it is: %s", error)
            except Exception:
                _log.exception("the configuration goes on as it is")

    async def _look(self) -> None:
        versions = await self._in_time(_versions, self._databases)
        if versions in (self._versions, self._refused):
            return
        try:
            # In a task of its own: what is applied may stop this one.
            await asyncio.shield(asyncio.ensure_future(self._refresh()))
        except FragmentError:
            raise
        except Exception:
            # What was refused is refused again: not before there is something else to try.
            self._refused = versions
            raise
        _log.info("the configuration backend changed, and so did the configuration")

    def register(self, manager: CommandManager, tag: Callable[[], str]) -> None:
        """Answer ``config-backend-pull`` and ``server-tag-get``."""

        def server_tag_get(command: Command) -> dict[str, JSON]:
            """Tell the tag by which this server's part of a configuration backend is known."""
            return {"server-tag": tag()}

        manager.register_command("config-backend-pull", self.config_backend_pull, access="write")
        manager.register_command("server-tag-get", server_tag_get, access="read")

    async def config_backend_pull(self, command: Command) -> Response:
        """Fetch what the configuration backend has. If it cannot be used, nothing changes."""
        if not self._databases:
            return Response(Result.EMPTY, "No config backend.")
        try:
            await self._refresh()
        except BridleError as error:
            return Response(Result.ERROR, f"On demand configuration update failed: {error}", error=error)
        return Response(text="On demand configuration update successful.")


def _read(databases: Sequence[dict[str, Any]], tag: str) -> tuple[list[int], list[Fragment]]:
    versions: list[int] = []
    found: list[Fragment] = []
    for database in databases:
        store = open_fragments(database)
        try:
            version, fragments = store.read(tag)
        finally:
            store.close()
        versions.append(version)
        found += fragments
    return versions, found


def _versions(databases: Sequence[dict[str, Any]]) -> list[int]:
    found = []
    for database in databases:
        store = open_fragments(database)
        try:
            found.append(store.version())
        finally:
            store.close()
    return found


class _Merged(Document):
    """A document with fragments in it; where each part stands is still known."""

    def __init__(
        self, base: Document, value: dict[str, JSON], origins: Mapping[tuple[str | int, ...], Fragment]
    ) -> None:
        super().__init__(value)
        self.warnings = base.warnings
        self._base = base
        self._origins = origins

    @property
    def from_file(self) -> bool:
        return self._base.from_file

    def locate(self, path: Path) -> str:
        return self._origin(path) or self._base.locate(path)

    def locate_key(self, path: Path) -> str:
        return self._origin(path) or self._base.locate_key(path)

    def _origin(self, path: Path) -> str:
        steps = tuple(path)
        while steps:
            if steps in self._origins:
                return str(self._origins[steps])
            steps = steps[:-1]
        return ""


def merge(document: Document, root: str, fragments: Sequence[Fragment]) -> Document:
    """The document with fragments merged over what stands under ``root``; itself unchanged."""
    origins: dict[tuple[str | int, ...], Fragment] = {}
    value: JSON = document.value[root]
    for fragment in fragments:
        value = _merged(value, fragment.body, (root,), fragment, origins)
    return _Merged(document, {**document.value, root: value}, origins)


def _merged(
    below: JSON,
    above: JSON,
    path: tuple[str | int, ...],
    fragment: Fragment,
    origins: dict[tuple[str | int, ...], Fragment],
) -> JSON:
    if isinstance(below, dict) and isinstance(above, dict):
        found = dict(below)
        for key, value in above.items():
            if key in found:
                found[key] = _merged(found[key], value, (*path, key), fragment, origins)
            else:
                found[key] = value
                origins[(*path, key)] = fragment
        return found
    if isinstance(below, list) and isinstance(above, list) and all(map(_identity, [*below, *above])):
        items = list(below)
        places = {_identity(item): index for index, item in enumerate(items)}
        for item in above:
            identity = _identity(item)
            if identity in places:
                index = places[identity]
                items[index] = _merged(items[index], item, (*path, index), fragment, origins)
            else:
                places[identity] = len(items)
                origins[(*path, len(items))] = fragment
                items.append(item)
        return items
    origins[path] = fragment
    return above


_IDENTITIES = (("id",), ("code", "space"), ("name", "space"), ("subnet",), ("pool",), ("prefix",))


def _identity(item: JSON) -> tuple[str, ...]:
    """What tells an item of a list from the others; empty where nothing does."""
    if not isinstance(item, dict):
        return ()
    for keys in _IDENTITIES:
        if keys[0] in item:
            return (keys[0], *(str(item.get(key, "")) for key in keys))
    return ()
