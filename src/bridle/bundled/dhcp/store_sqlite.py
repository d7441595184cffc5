"""Leases in SQLite: the embedded store.

The database is in WAL mode with ``synchronous=NORMAL``: what is committed survives the end of the process,
however it ends; a power cut may cost the last moments, never the database. Readers, such as an agent's
plugin, do not wait for the server, nor does it for them.
"""

from __future__ import annotations

import json
import sqlite3
import threading
from collections.abc import Collection, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any, Generic, TypeVar

from bridle.bundled.dhcp.leases import Lease4, Lease6, LeaseState
from bridle.bundled.dhcp.store import StoreError
from bridle.core.messages import JSON

__all__ = [
    "COLUMNS4",
    "COLUMNS6",
    "MEMORY",
    "SqliteStore4",
    "SqliteStore6",
    "conditions_of",
    "lease4_of",
    "lease6_of",
    "values4_of",
    "values6_of",
]

MEMORY = ":memory:"
"""The name of a store that ends with its process."""

_VERSION = 1
# Milliseconds to wait for another process that writes.
_BUSY_TIMEOUT = 5000
# Kibibytes of pages kept in memory.
_CACHE = 8192
# Leases that are read in one go while many are looked through, so that nobody waits long.
_SLICE = 1000

_SCHEMA4 = """
CREATE TABLE lease4 (
    address INTEGER PRIMARY KEY, hw_address BLOB NOT NULL, client_id BLOB NOT NULL,
    valid_lifetime INTEGER NOT NULL, cltt INTEGER NOT NULL, subnet_id INTEGER NOT NULL,
    hostname TEXT NOT NULL, fqdn_forward INTEGER NOT NULL, fqdn_reverse INTEGER NOT NULL,
    state INTEGER NOT NULL, user_context TEXT, expires INTEGER NOT NULL
);
CREATE INDEX lease4_hw_address ON lease4 (hw_address);
CREATE INDEX lease4_client_id ON lease4 (client_id);
CREATE INDEX lease4_expires ON lease4 (state, expires);
"""
_SCHEMA6 = """
CREATE TABLE lease6 (
    address BLOB NOT NULL, kind INTEGER NOT NULL, prefix_length INTEGER NOT NULL, duid BLOB NOT NULL,
    iaid INTEGER NOT NULL, preferred_lifetime INTEGER NOT NULL, valid_lifetime INTEGER NOT NULL,
    cltt INTEGER NOT NULL, subnet_id INTEGER NOT NULL, hw_address BLOB NOT NULL, hostname TEXT NOT NULL,
    fqdn_forward INTEGER NOT NULL, fqdn_reverse INTEGER NOT NULL, state INTEGER NOT NULL, user_context TEXT,
    expires INTEGER NOT NULL, PRIMARY KEY (address, kind)
) WITHOUT ROWID;
CREATE INDEX lease6_duid ON lease6 (duid);
CREATE INDEX lease6_expires ON lease6 (state, expires);
"""
COLUMNS4: str = (
    "address, hw_address, client_id, valid_lifetime, cltt, subnet_id, hostname, fqdn_forward, fqdn_reverse, "
    "state, user_context"
)
COLUMNS6: str = (
    "address, kind, prefix_length, duid, iaid, preferred_lifetime, valid_lifetime, cltt, subnet_id, "
    "hw_address, hostname, fqdn_forward, fqdn_reverse, state, user_context"
)

_Row = tuple[Any, ...]
L = TypeVar("L", Lease4, Lease6)


def lease4_of(row: _Row) -> Lease4:
    """The lease in a row of the columns."""
    return Lease4(
        address=row[0],
        hw_address=row[1],
        client_id=row[2],
        valid_lifetime=row[3],
        cltt=row[4],
        subnet_id=row[5],
        hostname=row[6],
        fqdn_forward=bool(row[7]),
        fqdn_reverse=bool(row[8]),
        state=row[9],
        user_context=_load(row[10]),
    )


def values4_of(lease: Lease4) -> _Row:
    """A row of the columns, and when the lease ends."""
    return (
        lease.address,
        lease.hw_address,
        lease.client_id,
        lease.valid_lifetime,
        lease.cltt,
        lease.subnet_id,
        lease.hostname,
        lease.fqdn_forward,
        lease.fqdn_reverse,
        int(lease.state),
        _dump(lease.user_context),
        lease.expires,
    )


def lease6_of(row: _Row) -> Lease6:
    """The lease in a row of the columns."""
    return Lease6(
        address=row[0],
        kind=row[1],
        prefix_length=row[2],
        duid=row[3],
        iaid=row[4],
        preferred_lifetime=row[5],
        valid_lifetime=row[6],
        cltt=row[7],
        subnet_id=row[8],
        hw_address=row[9],
        hostname=row[10],
        fqdn_forward=bool(row[11]),
        fqdn_reverse=bool(row[12]),
        state=row[13],
        user_context=_load(row[14]),
    )


def values6_of(lease: Lease6) -> _Row:
    """A row of the columns, and when the lease ends."""
    return (
        lease.address,
        int(lease.kind),
        lease.prefix_length,
        lease.duid,
        lease.iaid,
        lease.preferred_lifetime,
        lease.valid_lifetime,
        lease.cltt,
        lease.subnet_id,
        lease.hw_address,
        lease.hostname,
        lease.fqdn_forward,
        lease.fqdn_reverse,
        int(lease.state),
        _dump(lease.user_context),
        lease.expires,
    )


class _SqliteStore(Generic[L]):
    """What the stores of both protocols have in common."""

    _table: str
    _schema: str
    _columns: str

    def __init__(self, path: str, *, read_only: bool = False) -> None:
        self.path = path
        self._turn = threading.RLock()
        try:
            self._database = self._open(path, read_only=read_only)
        except sqlite3.Error as error:
            raise StoreError(f"the lease database {path} cannot be opened: {error}") from error

    def _open(self, path: str, *, read_only: bool) -> sqlite3.Connection:
        name = (
            path if path == MEMORY else f"{Path(path).absolute().as_uri()}{'?mode=ro' if read_only else ''}"
        )
        database = sqlite3.connect(
            name, uri=path != MEMORY, isolation_level=None, check_same_thread=False, cached_statements=256
        )
        try:
            database.execute(f"PRAGMA busy_timeout={_BUSY_TIMEOUT}")
            if not read_only:
                database.execute("PRAGMA journal_mode=WAL")
                database.execute("PRAGMA synchronous=NORMAL")
            database.execute(f"PRAGMA cache_size=-{_CACHE}")
            version = int(database.execute("PRAGMA user_version").fetchone()[0])
            if version > _VERSION:
                raise StoreError(
                    f"the lease database {path} is of a later version ({version}) than this program knows"
                )
            tables = {
                name for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type='table'")
            }
            if self._table not in tables:
                if tables or read_only:
                    raise StoreError(f"{path} is no {self._table} database")
                database.executescript(
                    f"BEGIN IMMEDIATE; {self._schema} PRAGMA user_version={_VERSION}; COMMIT;"
                )
        except BaseException:
            database.close()
            raise
        return database

    def transaction(self) -> AbstractContextManager[None]:
        """Everything inside is committed together, or undone."""
        return self._transaction()

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        with self._turn:
            self._run("BEGIN IMMEDIATE")
            try:
                yield
            except BaseException:
                self._run("ROLLBACK")
                raise
            try:
                self._run("COMMIT")
            except StoreError:
                if self._database.in_transaction:
                    self._run("ROLLBACK")
                raise

    def _run(self, statement: str, values: Sequence[object] = ()) -> sqlite3.Cursor:
        try:
            return self._database.execute(statement, values)
        except sqlite3.Error as error:
            raise StoreError(f"the lease database {self.path}: {error}") from error

    def _rows(self, statement: str, values: Sequence[object] = ()) -> list[_Row]:
        with self._turn:
            try:
                return self._database.execute(statement, values).fetchall()
            except sqlite3.Error as error:
                raise StoreError(f"the lease database {self.path}: {error}") from error

    def _row(self, statement: str, values: Sequence[object] = ()) -> _Row | None:
        with self._turn:
            try:
                row: _Row | None = self._database.execute(statement, values).fetchone()
                return row
            except sqlite3.Error as error:
                raise StoreError(f"the lease database {self.path}: {error}") from error

    def _write(self, statement: str, values: Sequence[object] = ()) -> int:
        with self._turn:
            return self._run(statement, values).rowcount

    @staticmethod
    def _lease(row: _Row) -> L:
        raise NotImplementedError

    def _leases(self, conditions: str, values: Sequence[object] = ()) -> list[L]:
        rows = self._rows(f"SELECT {self._columns} FROM {self._table} WHERE {conditions}", values)
        return [self._lease(row) for row in rows]

    def expired(self, now: int, limit: int) -> list[L]:
        """Leases that ended and are not reclaimed yet, the longest ended first; 0: all."""
        return self._leases(
            "state IN (0, 1) AND expires <= ? ORDER BY expires LIMIT ?", (now, limit if limit else -1)
        )

    def delete_reclaimed(self, before: int) -> int:
        """Remove reclaimed leases that ended before a time; how many."""
        return self._write(f"DELETE FROM {self._table} WHERE state = 2 AND expires < ?", (before,))

    def wipe(self, subnet_id: int | None) -> int:
        """Remove all leases of a subnet, or all; how many."""
        if subnet_id is None:
            return self._write(f"DELETE FROM {self._table}")
        return self._write(f"DELETE FROM {self._table} WHERE subnet_id = ?", (subnet_id,))

    def close(self) -> None:
        """Close the database."""
        with self._turn:
            self._database.close()


class SqliteStore4(_SqliteStore[Lease4]):
    """IPv4 leases in SQLite; see :class:`bridle.bundled.dhcp.store.LeaseStore4`."""

    _table, _schema, _columns = "lease4", _SCHEMA4, COLUMNS4
    _GET = f"SELECT {COLUMNS4} FROM lease4 WHERE address = ?"
    _OF_HARDWARE = f"SELECT {COLUMNS4} FROM lease4 WHERE hw_address = ?"
    _OF_BOTH = f"{_OF_HARDWARE} UNION SELECT {COLUMNS4} FROM lease4 WHERE client_id = ?"
    _INSERT = f"INSERT OR IGNORE INTO lease4 ({COLUMNS4}, expires) VALUES (?,?,?,?,?,?,?,?,?,?,?,?)"
    _UPDATE = (
        "UPDATE lease4 SET hw_address=?2, client_id=?3, valid_lifetime=?4, cltt=?5, subnet_id=?6, "
        "hostname=?7, fqdn_forward=?8, fqdn_reverse=?9, state=?10, user_context=?11, expires=?12 "
        "WHERE address=?1 AND expires=?13 AND hw_address=?14 AND client_id=?15"
    )

    _lease = staticmethod(lease4_of)

    def get(self, address: int) -> Lease4 | None:
        """The lease of an address, in whatever state."""
        row = self._row(self._GET, (address,))
        return None if row is None else self._lease(row)

    def of_client(self, client_id: bytes, hw_address: bytes) -> list[Lease4]:
        """All leases with this client identifier or this hardware address."""
        if client_id and hw_address:
            rows = self._rows(self._OF_BOTH, (hw_address, client_id))
        elif hw_address:
            rows = self._rows(self._OF_HARDWARE, (hw_address,))
        elif client_id:
            return self._leases("client_id = ?", (client_id,))
        else:
            rows = []
        return [self._lease(row) for row in rows]

    def insert(self, lease: Lease4) -> bool:
        """Add a lease; False where the address has one."""
        return self._write(self._INSERT, values4_of(lease)) == 1

    def update(self, lease: Lease4, before: Lease4) -> bool:
        """Replace a lease; False where it is not as ``before`` any more."""
        values = (*values4_of(lease), before.expires, before.hw_address, before.client_id)
        return self._write(self._UPDATE, values) == 1

    def delete(self, address: int) -> bool:
        """Remove a lease; False where there was none."""
        return self._write("DELETE FROM lease4 WHERE address = ?", (address,)) == 1

    def first_free(self, first: int, last: int) -> int | None:
        """The lowest address of a range that has no lease at all."""
        if first > last:
            return None
        if self._row("SELECT 1 FROM lease4 WHERE address = ?", (first,)) is None:
            return first
        row = self._row(
            "SELECT address + 1 FROM lease4 AS one WHERE address >= ? AND address < ? AND NOT EXISTS "
            "(SELECT 1 FROM lease4 AS other WHERE other.address = one.address + 1) ORDER BY address LIMIT 1",
            (first, last),
        )
        return None if row is None else int(row[0])

    def first_reusable(self, first: int, last: int, now: int) -> Lease4 | None:
        """The lease in a range that ended longest ago."""
        found: list[Lease4] = []
        for state, until in (
            (LeaseState.RECLAIMED, None),
            (LeaseState.ASSIGNED, now),
            (LeaseState.DECLINED, now),
        ):
            condition = "state = ? AND address BETWEEN ? AND ?"
            values: list[object] = [int(state), first, last]
            if until is not None:
                condition += " AND expires <= ?"
                values.append(until)
            found += self._leases(f"{condition} ORDER BY expires LIMIT 1", values)
        return min(found, key=lambda lease: lease.expires) if found else None

    def select(
        self,
        *,
        subnet_ids: Collection[int] | None = None,
        hw_address: bytes | None = None,
        client_id: bytes | None = None,
        hostname: str | None = None,
        state: int | None = None,
    ) -> Iterator[Lease4]:
        """The leases that match everything that is given, by address."""
        conditions, values = conditions_of(
            subnet_ids, state, hw_address=hw_address, client_id=client_id, hostname=hostname
        )
        after = -1
        while True:
            found = self._leases(f"{conditions}address > ? ORDER BY address LIMIT {_SLICE}", (*values, after))
            yield from found
            if len(found) < _SLICE:
                return
            after = found[-1].address

    def page(self, after: int, limit: int) -> list[Lease4]:
        """At most ``limit`` leases with addresses greater than ``after``."""
        return self._leases("address > ? ORDER BY address LIMIT ?", (after, limit))

    def counts(self) -> dict[tuple[int, int], int]:
        """How many leases there are, by (subnet id, state)."""
        rows = self._rows("SELECT subnet_id, state, count(*) FROM lease4 GROUP BY subnet_id, state")
        return {(subnet_id, state): count for subnet_id, state, count in rows}


class SqliteStore6(_SqliteStore[Lease6]):
    """IPv6 leases in SQLite; see :class:`bridle.bundled.dhcp.store.LeaseStore6`."""

    _table, _schema, _columns = "lease6", _SCHEMA6, COLUMNS6
    _GET = f"SELECT {COLUMNS6} FROM lease6 WHERE address = ? AND kind = ?"
    _INSERT = f"INSERT OR IGNORE INTO lease6 ({COLUMNS6}, expires) VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)"
    _UPDATE = (
        "UPDATE lease6 SET prefix_length=?3, duid=?4, iaid=?5, preferred_lifetime=?6, valid_lifetime=?7, "
        "cltt=?8, subnet_id=?9, hw_address=?10, hostname=?11, fqdn_forward=?12, fqdn_reverse=?13, state=?14, "
        "user_context=?15, expires=?16 WHERE address=?1 AND kind=?2 AND expires=?17 AND duid=?18 AND iaid=?19"
    )

    _lease = staticmethod(lease6_of)

    def get(self, kind: int, address: bytes) -> Lease6 | None:
        """The lease of an address or prefix, in whatever state."""
        row = self._row(self._GET, (address, int(kind)))
        return None if row is None else self._lease(row)

    def of_client(self, duid: bytes) -> list[Lease6]:
        """All leases of a client."""
        return self._leases("duid = ?", (duid,)) if duid else []

    def insert(self, lease: Lease6) -> bool:
        """Add a lease; False where the address has one."""
        return self._write(self._INSERT, values6_of(lease)) == 1

    def update(self, lease: Lease6, before: Lease6) -> bool:
        """Replace a lease; False where it is not as ``before`` any more."""
        values = (*values6_of(lease), before.expires, before.duid, before.iaid)
        return self._write(self._UPDATE, values) == 1

    def delete(self, kind: int, address: bytes) -> bool:
        """Remove a lease; False where there was none."""
        return self._write("DELETE FROM lease6 WHERE address = ? AND kind = ?", (address, int(kind))) == 1

    def first_reusable(self, kind: int, first: bytes, last: bytes, now: int) -> Lease6 | None:
        """The lease in a range that ended longest ago."""
        found = self._leases(
            "kind = ? AND address BETWEEN ? AND ? AND (state = 2 OR expires <= ?) ORDER BY expires LIMIT 1",
            (int(kind), first, last, now),
        )
        return found[0] if found else None

    def taken(self, kind: int, first: bytes, last: bytes) -> Iterator[bytes]:
        """The addresses of a range that have a lease, ascending."""
        after, comparison = first, ">="
        while True:
            rows = self._rows(
                f"SELECT address FROM lease6 WHERE address {comparison} ? AND address <= ? AND kind = ? "
                f"ORDER BY address LIMIT {_SLICE}",
                (after, last, int(kind)),
            )
            for (address,) in rows:
                yield address
            if len(rows) < _SLICE:
                return
            after, comparison = rows[-1][0], ">"

    def select(
        self,
        *,
        subnet_ids: Collection[int] | None = None,
        duid: bytes | None = None,
        hostname: str | None = None,
        kind: int | None = None,
        state: int | None = None,
    ) -> Iterator[Lease6]:
        """The leases that match everything that is given, by address."""
        conditions, values = conditions_of(subnet_ids, state, duid=duid, hostname=hostname, kind=kind)
        after, after_kind = b"", -1
        while True:
            found = self._leases(
                f"{conditions}(address, kind) > (?, ?) ORDER BY address, kind LIMIT {_SLICE}",
                (*values, after, after_kind),
            )
            yield from found
            if len(found) < _SLICE:
                return
            after, after_kind = found[-1].address, found[-1].kind

    def page(self, after: bytes, limit: int) -> list[Lease6]:
        """At most ``limit`` leases with addresses greater than ``after``."""
        return self._leases("address > ? ORDER BY address, kind LIMIT ?", (after, limit))

    def counts(self) -> dict[tuple[int, int, int], int]:
        """How many leases there are, by (subnet id, kind, state)."""
        rows = self._rows(
            "SELECT subnet_id, kind, state, count(*) FROM lease6 GROUP BY subnet_id, kind, state"
        )
        return {(subnet_id, kind, state): count for subnet_id, kind, state, count in rows}


def conditions_of(
    subnet_ids: Collection[int] | None,
    state: int | None,
    *,
    mark: str = "?",
    **columns: bytes | str | int | None,
) -> tuple[str, list[object]]:
    """The beginning of a WHERE clause, with its values; ``mark`` stands for a value."""
    parts: list[str] = []
    values: list[object] = []
    if subnet_ids is not None:
        parts.append(f"subnet_id IN ({','.join([mark] * len(subnet_ids)) or 'NULL'}) AND ")
        values += subnet_ids
    if state is not None:
        parts.append(f"state = {mark} AND ")
        values.append(int(state))
    for name, value in columns.items():
        if value is not None:
            column = f"lower({name})" if name == "hostname" else name
            parts.append(f"{column} = {mark} AND ")
            values.append(value.lower() if isinstance(value, str) else value)
    return "".join(parts), values


def _dump(context: JSON) -> str | None:
    return None if context is None else json.dumps(context)


def _load(text: str | None) -> JSON:
    if text is None:
        return None
    loaded: JSON = json.loads(text)
    return loaded
