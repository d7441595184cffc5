"""Fragments of configurations in a shared database.

A fragment is what stands under the root's name, in part: ``{"subnet4": [{"id": 7, …}]}``. It belongs to one
server by its tag, or to ``all``. A number that each change raises tells whoever polls whether there is
anything to read.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any, Protocol

import msgspec

from bridle.core.errors import BridleError
from bridle.core.messages import JSON

__all__ = ["ALL", "Fragment", "FragmentError", "Fragments", "open_fragments"]

ALL = "all"
"""The tag of every server."""

# Seconds that a statement may wait for another process.
_TIMEOUT = 5.0
_SCHEMA = (
    "CREATE TABLE IF NOT EXISTS fragment (tag TEXT, name TEXT, body TEXT NOT NULL, PRIMARY KEY (tag, name))",
    "CREATE TABLE IF NOT EXISTS fragment_version (id INTEGER PRIMARY KEY, version BIGINT NOT NULL)",
    "INSERT INTO fragment_version (id, version) VALUES (1, 0) ON CONFLICT DO NOTHING",
)


class FragmentError(BridleError):
    """The database of fragments cannot be opened, read or written."""


class Fragment(msgspec.Struct, frozen=True):
    """A part of the configuration of the servers with a tag."""

    tag: str
    name: str
    body: dict[str, JSON]

    def __str__(self) -> str:
        return f"fragment '{self.name}' of tag '{self.tag}'"


class _Connection(Protocol):
    def execute(self, statement: str, values: tuple[object, ...] = ..., /) -> Any: ...

    def close(self) -> None: ...


class Fragments:
    """A database of fragments. Everything here blocks, and may raise :class:`FragmentError`; use it in a
    thread, and close it there."""

    def __init__(
        self,
        connection: _Connection,
        *,
        transaction: Callable[[], AbstractContextManager[Any]],
        mark: str,
        failures: type[Exception],
    ) -> None:
        self._connection = connection
        self._transaction = transaction
        self._mark = mark
        self._failures = failures
        with self._guarded():
            for statement in _SCHEMA:
                connection.execute(statement)

    def _guarded(self) -> AbstractContextManager[Any]:
        return _Guard(self._transaction(), self._failures)

    def _run(self, statement: str, *values: object) -> Any:
        return self._connection.execute(statement.replace("?", self._mark), values)

    def version(self) -> int:
        """The number that each change raises."""
        with self._guarded():
            row = self._run("SELECT version FROM fragment_version WHERE id = 1").fetchone()
            return int(row[0])

    def read(self, tag: str) -> tuple[int, list[Fragment]]:
        """The version, and the fragments of a server: those of all first, then its own, each by name."""
        with self._guarded():
            version = int(self._run("SELECT version FROM fragment_version WHERE id = 1").fetchone()[0])
            rows = self._run("SELECT tag, name, body FROM fragment WHERE tag IN (?, ?)", ALL, tag).fetchall()
        rows.sort(key=lambda row: (row[0] != ALL, row[1]))
        return version, [self._fragment(row) for row in rows]

    def list(self) -> list[Fragment]:
        """All fragments, by tag and name."""
        with self._guarded():
            rows = self._run("SELECT tag, name, body FROM fragment ORDER BY tag, name").fetchall()
        return [self._fragment(row) for row in rows]

    def _fragment(self, row: tuple[str, str, str]) -> Fragment:
        return Fragment(row[0], row[1], json.loads(row[2]))

    def set(self, fragment: Fragment) -> None:
        """Add a fragment, or replace the one of its tag and name."""
        with self._guarded():
            self._run(
                "INSERT INTO fragment (tag, name, body) VALUES (?, ?, ?) "
                "ON CONFLICT (tag, name) DO UPDATE SET body = excluded.body",
                fragment.tag,
                fragment.name,
                json.dumps(fragment.body),
            )
            self._raise()

    def delete(self, tag: str, name: str) -> bool:
        """Remove a fragment; False where there is none."""
        with self._guarded():
            gone: bool = self._run("DELETE FROM fragment WHERE tag = ? AND name = ?", tag, name).rowcount == 1
            if gone:
                self._raise()
            return gone

    def _raise(self) -> None:
        self._run("UPDATE fragment_version SET version = version + 1 WHERE id = 1")

    def close(self) -> None:
        """Close the database."""
        self._connection.close()


class _Guard:
    """A transaction whose failures are :class:`FragmentError`."""

    def __init__(self, inner: AbstractContextManager[Any], failures: type[Exception]) -> None:
        self._inner = inner
        self._failures = failures

    def __enter__(self) -> None:
        self._inner.__enter__()

    def __exit__(self, kind: Any, error: Any, trace: Any) -> None:
        try:
            self._inner.__exit__(kind, error, trace)
        except self._failures as failure:
            raise FragmentError(f"the database of fragments: {failure}") from failure
        if isinstance(error, self._failures):
            raise FragmentError(f"the database of fragments: {error}") from error


def open_fragments(settings: dict[str, Any]) -> Fragments:
    """Open the database of a ``config-databases`` entry: ``type`` (``sqlite`` or ``postgresql``), ``name``,
    and for PostgreSQL ``host``, ``port``, ``user``, ``password``, ``connect-timeout`` in seconds.

    Raises:
        FragmentError: it cannot be opened.
    """
    return _open_postgresql(settings) if settings.get("type") == "postgresql" else _open_sqlite(settings)


def _open_sqlite(settings: dict[str, Any]) -> Fragments:
    import sqlite3

    name = settings.get("name", "")
    try:
        connection = sqlite3.connect(name, timeout=_TIMEOUT)
    except sqlite3.Error as error:
        raise FragmentError(f"the database of fragments {name} cannot be opened: {error}") from error
    try:
        return Fragments(connection, transaction=lambda: connection, mark="?", failures=sqlite3.Error)
    except BaseException:
        connection.close()
        raise


def _open_postgresql(settings: dict[str, Any]) -> Fragments:
    try:
        import psycopg
    except ImportError as error:
        raise FragmentError(
            "a database of type postgresql needs psycopg: in Bridle's folder, pip install '.[postgres]'"
        ) from error
    given = {
        "dbname": settings.get("name"),
        "host": settings.get("host"),
        "port": settings.get("port"),
        "user": settings.get("user"),
        "password": settings.get("password"),
    }
    try:
        connection = psycopg.connect(
            **{key: value for key, value in given.items() if value},
            connect_timeout=max(2, int(settings.get("connect-timeout", _TIMEOUT))),
            options=f"-c statement_timeout={int(_TIMEOUT * 1000)}",
            autocommit=True,
        )
    except psycopg.Error as error:
        raise FragmentError(f"the database of fragments cannot be opened: {error}") from error
    try:
        return Fragments(connection, transaction=connection.transaction, mark="%s", failures=psycopg.Error)
    except BaseException:
        connection.close()
        raise
