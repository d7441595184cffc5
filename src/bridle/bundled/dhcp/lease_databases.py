"""Where the leases of a configuration are kept."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from bridle.bundled.dhcp.settings import LeaseDatabase
from bridle.bundled.dhcp.store import LeaseStore4, LeaseStore6, StoreError
from bridle.bundled.dhcp.store_sqlite import MEMORY, SqliteStore4, SqliteStore6

__all__ = ["DEFAULT_FOLDER", "database_path", "open_store4", "open_store6"]

DEFAULT_FOLDER = "/var/lib/bridle"
"""Where leases are kept that no configuration gives a place, unless ``BRIDLE_DATA_DIR`` names another
folder. It is made where it is missing."""


def database_path(settings: LeaseDatabase, protocol: int) -> str:
    """The file of an embedded store. A name that ends in ``.csv``, as Kea's do, stands for the same name with
    ``.sqlite``: Kea's own file, which may be there, is left alone."""
    if not settings.persist:
        return MEMORY
    if not settings.name:
        return f"{os.environ.get('BRIDLE_DATA_DIR', DEFAULT_FOLDER)}/leases{protocol}.sqlite"
    name = Path(settings.name)
    return str(name.with_suffix(".sqlite") if name.suffix == ".csv" else name)


def open_store4(settings: LeaseDatabase) -> LeaseStore4:
    """Open the store of a DHCPv4 server.

    Raises:
        StoreError: it cannot be opened.
    """
    if settings.kind == "postgresql":
        from bridle.bundled.dhcp.store_postgresql import PostgresqlStore4

        return PostgresqlStore4(settings)
    return SqliteStore4(_prepared(settings, 4))


def open_store6(settings: LeaseDatabase) -> LeaseStore6:
    """Open the store of a DHCPv6 server.

    Raises:
        StoreError: it cannot be opened.
    """
    if settings.kind == "postgresql":
        from bridle.bundled.dhcp.store_postgresql import PostgresqlStore6

        return PostgresqlStore6(settings)
    return SqliteStore6(_prepared(settings, 6))


def _prepared(settings: LeaseDatabase, protocol: int) -> str:
    path = database_path(settings, protocol)
    if settings.persist and not settings.name:
        with contextlib.suppress(OSError):
            Path(path).parent.mkdir(mode=0o750, exist_ok=True)
    if path != MEMORY and not Path(path).parent.is_dir():
        raise StoreError(f"the folder of the lease database {path} does not exist")
    return path
