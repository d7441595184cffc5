"""A PostgreSQL server of a test's own, on a unix socket."""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

from tests.support.programs import Program, require, short_directory

__all__ = ["PORT", "private_server"]

PORT = 5432
"""The port that names the socket; nothing listens on a network."""


class _Server(Program):
    """``postgres``, which does not run as root."""

    def __init__(self, directory: Path, user: str | None) -> None:
        self._directory = directory
        self._user = user
        words = [require("postgres"), "-D", directory / "data", "-k", directory, "-c", "listen_addresses="]
        if user is not None:
            words = [require("setpriv"), "--reuid", user, "--regid", user, "--init-groups", *words]
        super().__init__([*words, "-c", "fsync=off", "-p", str(PORT)], directory, name="postgres")

    def prepare(self) -> None:
        """Make the database."""
        subprocess.run(
            [require("initdb"), "-D", self._directory / "data", "-U", "bridle", "-A", "trust", "--no-sync"],
            check=True,
            capture_output=True,
            timeout=30,
            user=self._user,
            group=self._user,
            cwd=self._directory,
        )

    def ready(self) -> bool:
        """Whether it takes connections."""
        import psycopg

        try:
            with psycopg.connect(
                host=str(self._directory), port=PORT, user="bridle", dbname="postgres", connect_timeout=2
            ):
                return True
        except psycopg.Error:
            return False


@contextlib.contextmanager
def private_server() -> Iterator[dict[str, str | int]]:
    """A server; what a connection to it is given, by the names of Kea's configuration."""
    with short_directory() as directory:
        user = None
        if os.geteuid() == 0:
            user = "postgres"
            account = pwd.getpwnam(user)
            os.chown(directory, account.pw_uid, account.pw_gid)
        with _Server(directory, user):
            yield {"name": "postgres", "host": str(directory), "port": PORT, "user": "bridle"}
        shutil.rmtree(directory / "data", ignore_errors=True)
