"""Leases in PostgreSQL, for servers that share them.

The servers meet in ``insert`` and ``update``, which do nothing where another one was faster. A connection
that is lost is opened again at the next transaction; what was not committed then was not acknowledged either.
"""

from __future__ import annotations

import threading
from collections.abc import Collection, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from bridle.bundled.dhcp.leases import Lease4, Lease6
from bridle.bundled.dhcp.settings import LeaseDatabase
from bridle.bundled.dhcp.store import StoreError
from bridle.bundled.dhcp.store_sqlite import (
    COLUMNS4,
    COLUMNS6,
    conditions_of,
    lease4_of,
    lease6_of,
    values4_of,
    values6_of,
)

if TYPE_CHECKING:
    import psycopg

__all__ = ["PostgresqlStore4", "PostgresqlStore6"]

_SLICE = 1000
# Milliseconds that one statement may take: a database that hangs must not hold the server for ever.
_STATEMENT_TIMEOUT = 5000
_SCHEMA4 = """
CREATE TABLE IF NOT EXISTS lease4 (
    address BIGINT PRIMARY KEY, hw_address BYTEA NOT NULL, client_id BYTEA NOT NULL,
    valid_lifetime BIGINT NOT NULL, cltt BIGINT NOT NULL, subnet_id BIGINT NOT NULL,
    hostname TEXT NOT NULL, fqdn_forward BOOLEAN NOT NULL, fqdn_reverse BOOLEAN NOT NULL,
    state INTEGER NOT NULL, user_context TEXT, expires BIGINT NOT NULL
);
CREATE INDEX IF NOT EXISTS lease4_hw_address ON lease4 (hw_address);
CREATE INDEX IF NOT EXISTS lease4_client_id ON lease4 (client_id);
CREATE INDEX IF NOT EXISTS lease4_expires ON lease4 (state, expires);
"""
_SCHEMA6 = """
CREATE TABLE IF NOT EXISTS lease6 (
    address BYTEA NOT NULL, kind INTEGER NOT NULL, prefix_length INTEGER NOT NULL, duid BYTEA NOT NULL,
    iaid BIGINT NOT NULL, preferred_lifetime BIGINT NOT NULL, valid_lifetime BIGINT NOT NULL,
    cltt BIGINT NOT NULL, subnet_id BIGINT NOT NULL, hw_address BYTEA NOT NULL, hostname TEXT NOT NULL,
    fqdn_forward BOOLEAN NOT NULL, fqdn_reverse BOOLEAN NOT NULL, state INTEGER NOT NULL, user_context TEXT,
    expires BIGINT NOT NULL, PRIMARY KEY (address, kind)
);
CREATE INDEX IF NOT EXISTS lease6_duid ON lease6 (duid);
CREATE INDEX IF NOT EXISTS lease6_expires ON lease6 (state, expires);
"""

L = TypeVar("L", Lease4, Lease6)


class _PostgresqlStore(Generic[L]):
    """What the stores of both protocols have in common."""

    _table: str
    _schema: str
    _columns: str

    def __init__(self, settings: LeaseDatabase) -> None:
        try:
            import psycopg
        except ImportError as error:
            raise StoreError(
                "a lease database of type postgresql needs psycopg: "
                "in Bridle's folder, pip install '.[postgres]'"
            ) from error
        self._psycopg = psycopg
        self._settings = settings
        self._turn = threading.RLock()
        self._held = False
        self._connection = self._connect()
        with self._turn:
            self._run(self._schema)

    def _connect(self) -> psycopg.Connection[Any]:
        settings = self._settings
        given: dict[str, Any] = {
            "dbname": settings.name,
            "host": settings.host,
            "port": settings.port,
            "user": settings.user,
            "password": settings.password,
        }
        try:
            return self._psycopg.connect(
                **{key: value for key, value in given.items() if value},
                connect_timeout=max(2, int(settings.connect_timeout)),
                options=f"-c statement_timeout={_STATEMENT_TIMEOUT}",
                autocommit=True,
            )
        except self._psycopg.Error as error:
            raise StoreError(f"the lease database {settings.name} cannot be opened: {error}") from error

    def transaction(self) -> AbstractContextManager[None]:
        """Everything inside is committed together, or undone."""
        return self._transaction()

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        with self._turn:
            self._run("BEGIN")
            self._held = True
            try:
                yield
            except BaseException:
                self._roll_back()
                raise
            else:
                self._run("COMMIT")
            finally:
                self._held = False

    def _roll_back(self) -> None:
        try:
            self._connection.execute("ROLLBACK")
        except self._psycopg.Error:
            # The connection is gone, and what it held with it.
            self._connection.close()

    def _run(self, statement: str, values: Sequence[object] = ()) -> Any:
        try:
            if self._connection.closed:
                if self._held:
                    raise StoreError(f"the connection to the lease database {self._settings.name} is lost")
                self._connection = self._connect()
            # Values only where there are any: several statements at once take none.
            return self._connection.execute(statement.encode(), values if values else None)
        except self._psycopg.Error as error:
            raise StoreError(f"the lease database {self._settings.name}: {error}") from error

    def _rows(self, statement: str, values: Sequence[object] = ()) -> list[tuple[Any, ...]]:
        with self._turn:
            rows: list[tuple[Any, ...]] = self._run(statement, values).fetchall()
            return rows

    def _write(self, statement: str, values: Sequence[object] = ()) -> int:
        with self._turn:
            count: int = self._run(statement, values).rowcount
            return count

    @staticmethod
    def _lease(row: tuple[Any, ...]) -> L:
        raise NotImplementedError

    def _leases(self, conditions: str, values: Sequence[object] = ()) -> list[L]:
        rows = self._rows(f"SELECT {self._columns} FROM {self._table} WHERE {conditions}", values)
        return [self._lease(row) for row in rows]

    def expired(self, now: int, limit: int) -> list[L]:
        """Leases that ended and are not reclaimed yet, the longest ended first; 0: all."""
        return self._leases(
            "state IN (0, 1) AND expires <= %s ORDER BY expires LIMIT %s", (now, limit if limit else None)
        )

    def delete_reclaimed(self, before: int) -> int:
        """Remove reclaimed leases that ended before a time; how many."""
        return self._write(f"DELETE FROM {self._table} WHERE state = 2 AND expires < %s", (before,))

    def wipe(self, subnet_id: int | None) -> int:
        """Remove all leases of a subnet, or all; how many."""
        if subnet_id is None:
            return self._write(f"DELETE FROM {self._table}")
        return self._write(f"DELETE FROM {self._table} WHERE subnet_id = %s", (subnet_id,))

    def close(self) -> None:
        """Close the database."""
        with self._turn:
            self._connection.close()


class PostgresqlStore4(_PostgresqlStore[Lease4]):
    """IPv4 leases in PostgreSQL; see :class:`bridle.bundled.dhcp.store.LeaseStore4`."""

    _table, _schema, _columns = "lease4", _SCHEMA4, COLUMNS4
    _lease = staticmethod(lease4_of)
    _INSERT = (
        f"INSERT INTO lease4 ({COLUMNS4}, expires) VALUES ({', '.join(['%s'] * 12)}) ON CONFLICT DO NOTHING"
    )
    _UPDATE = (
        "UPDATE lease4 SET hw_address=%s, client_id=%s, valid_lifetime=%s, cltt=%s, subnet_id=%s, "
        "hostname=%s, fqdn_forward=%s, fqdn_reverse=%s, state=%s, user_context=%s, expires=%s "
        "WHERE address=%s AND expires=%s AND hw_address=%s AND client_id=%s"
    )

    def get(self, address: int) -> Lease4 | None:
        """The lease of an address, in whatever state."""
        found = self._leases("address = %s", (address,))
        return found[0] if found else None

    def of_client(self, client_id: bytes, hw_address: bytes) -> list[Lease4]:
        """All leases with this client identifier or this hardware address."""
        given = [
            (name, value) for name, value in (("client_id", client_id), ("hw_address", hw_address)) if value
        ]
        if not given:
            return []
        conditions = " OR ".join(f"{name} = %s" for name, _ in given)
        return self._leases(conditions, [value for _, value in given])

    def insert(self, lease: Lease4) -> bool:
        """Add a lease; False where the address has one."""
        return self._write(self._INSERT, values4_of(lease)) == 1

    def update(self, lease: Lease4, before: Lease4) -> bool:
        """Replace a lease; False where it is not as ``before`` any more."""
        address, *values = values4_of(lease)
        values += (address, before.expires, before.hw_address, before.client_id)
        return self._write(self._UPDATE, values) == 1

    def delete(self, address: int) -> bool:
        """Remove a lease; False where there was none."""
        return self._write("DELETE FROM lease4 WHERE address = %s", (address,)) == 1

    def first_free(self, first: int, last: int) -> int | None:
        """The lowest address of a range that has no lease at all."""
        if first > last:
            return None
        if not self._rows("SELECT 1 FROM lease4 WHERE address = %s", (first,)):
            return first
        rows = self._rows(
            "SELECT address + 1 FROM lease4 AS one WHERE address >= %s AND address < %s AND NOT EXISTS "
            "(SELECT 1 FROM lease4 AS other WHERE other.address = one.address + 1) ORDER BY address LIMIT 1",
            (first, last),
        )
        return int(rows[0][0]) if rows else None

    def first_reusable(self, first: int, last: int, now: int) -> Lease4 | None:
        """The lease in a range that ended longest ago."""
        found = self._leases(
            "address BETWEEN %s AND %s AND (state = 2 OR expires <= %s) ORDER BY expires LIMIT 1",
            (first, last, now),
        )
        return found[0] if found else None

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
            subnet_ids, state, mark="%s", hw_address=hw_address, client_id=client_id, hostname=hostname
        )
        after = -1
        while True:
            found = self._leases(
                f"{conditions}address > %s ORDER BY address LIMIT {_SLICE}", (*values, after)
            )
            yield from found
            if len(found) < _SLICE:
                return
            after = found[-1].address

    def page(self, after: int, limit: int) -> list[Lease4]:
        """At most ``limit`` leases with addresses greater than ``after``."""
        return self._leases("address > %s ORDER BY address LIMIT %s", (after, limit))

    def counts(self) -> dict[tuple[int, int], int]:
        """How many leases there are, by (subnet id, state)."""
        rows = self._rows("SELECT subnet_id, state, count(*) FROM lease4 GROUP BY subnet_id, state")
        return {(subnet_id, state): count for subnet_id, state, count in rows}


class PostgresqlStore6(_PostgresqlStore[Lease6]):
    """IPv6 leases in PostgreSQL; see :class:`bridle.bundled.dhcp.store.LeaseStore6`."""

    _table, _schema, _columns = "lease6", _SCHEMA6, COLUMNS6
    _lease = staticmethod(lease6_of)
    _INSERT = (
        f"INSERT INTO lease6 ({COLUMNS6}, expires) VALUES ({', '.join(['%s'] * 16)}) ON CONFLICT DO NOTHING"
    )
    _UPDATE = (
        "UPDATE lease6 SET prefix_length=%s, duid=%s, iaid=%s, preferred_lifetime=%s, valid_lifetime=%s, "
        "cltt=%s, subnet_id=%s, hw_address=%s, hostname=%s, fqdn_forward=%s, fqdn_reverse=%s, state=%s, "
        "user_context=%s, expires=%s WHERE address=%s AND kind=%s AND expires=%s AND duid=%s AND iaid=%s"
    )

    def get(self, kind: int, address: bytes) -> Lease6 | None:
        """The lease of an address or prefix, in whatever state."""
        found = self._leases("address = %s AND kind = %s", (address, int(kind)))
        return found[0] if found else None

    def of_client(self, duid: bytes) -> list[Lease6]:
        """All leases of a client."""
        return self._leases("duid = %s", (duid,)) if duid else []

    def insert(self, lease: Lease6) -> bool:
        """Add a lease; False where the address has one."""
        return self._write(self._INSERT, values6_of(lease)) == 1

    def update(self, lease: Lease6, before: Lease6) -> bool:
        """Replace a lease; False where it is not as ``before`` any more."""
        address, kind, *values = values6_of(lease)
        values += (address, kind, before.expires, before.duid, before.iaid)
        return self._write(self._UPDATE, values) == 1

    def delete(self, kind: int, address: bytes) -> bool:
        """Remove a lease; False where there was none."""
        return self._write("DELETE FROM lease6 WHERE address = %s AND kind = %s", (address, int(kind))) == 1

    def first_reusable(self, kind: int, first: bytes, last: bytes, now: int) -> Lease6 | None:
        """The lease in a range that ended longest ago."""
        found = self._leases(
            "kind = %s AND address BETWEEN %s AND %s AND (state = 2 OR expires <= %s) "
            "ORDER BY expires LIMIT 1",
            (int(kind), first, last, now),
        )
        return found[0] if found else None

    def taken(self, kind: int, first: bytes, last: bytes) -> Iterator[bytes]:
        """The addresses of a range that have a lease, ascending."""
        after, comparison = first, ">="
        while True:
            rows = self._rows(
                f"SELECT address FROM lease6 WHERE address {comparison} %s AND address <= %s AND kind = %s "
                f"ORDER BY address LIMIT {_SLICE}",
                (after, last, int(kind)),
            )
            for (address,) in rows:
                yield bytes(address)
            if len(rows) < _SLICE:
                return
            after, comparison = bytes(rows[-1][0]), ">"

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
        conditions, values = conditions_of(
            subnet_ids, state, mark="%s", duid=duid, hostname=hostname, kind=kind
        )
        after, after_kind = b"", -1
        while True:
            found = self._leases(
                f"{conditions}(address, kind) > (%s, %s) ORDER BY address, kind LIMIT {_SLICE}",
                (*values, after, after_kind),
            )
            yield from found
            if len(found) < _SLICE:
                return
            after, after_kind = found[-1].address, found[-1].kind

    def page(self, after: bytes, limit: int) -> list[Lease6]:
        """At most ``limit`` leases with addresses greater than ``after``."""
        return self._leases("address > %s ORDER BY address, kind LIMIT %s", (after, limit))

    def counts(self) -> dict[tuple[int, int, int], int]:
        """How many leases there are, by (subnet id, kind, state)."""
        rows = self._rows(
            "SELECT subnet_id, kind, state, count(*) FROM lease6 GROUP BY subnet_id, kind, state"
        )
        return {(subnet_id, kind, state): count for subnet_id, kind, state, count in rows}
