"""Who may be whose client, on both transports: the rules, and the kernel's word for who somebody is."""

from __future__ import annotations

import errno
import grp
import os
import pwd
import socket
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from bridle.net.libqb import trust
from bridle.net.libqb.client import connect
from bridle.net.libqb.errors import LibqbError
from bridle.net.libqb.trust import (
    Credentials,
    FileRights,
    cautious,
    cluster_client,
    cluster_rights,
    cluster_server,
    own_client,
    own_rights,
    supplementary_groups,
)
from bridle.wire.libqb import Transport
from tests.support.libqb import ANYBODY, TRANSPORTS, ServiceThread, peer_argv, plain, unique_name
from tests.support.programs import ROOT, Program, short_directory

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can be somebody else")

NOBODY = pwd.getpwnam("nobody")
# Whoever is on every machine stands for the cluster's.
USER, GROUP = pwd.getpwnam("games"), grp.getgrnam("audio")
OTHERS = grp.getgrnam("nogroup").gr_gid


@pytest.fixture(params=TRANSPORTS, ids=lambda transport: transport.name)
def transport(request: pytest.FixtureRequest) -> Transport:
    found: Transport = request.param
    return found


@pytest.fixture(autouse=True)
def cluster(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trust, "CLUSTER_USER", USER.pw_name)
    monkeypatch.setattr(trust, "CLUSTER_GROUP", GROUP.gr_name)


@pytest.fixture
def open_path() -> Iterator[Path]:
    """A directory that everybody may use, as ``/dev/shm``."""
    with short_directory() as directory:
        directory.chmod(0o1777)
        yield directory


def somebody(uid: int = NOBODY.pw_uid, gid: int = OTHERS, *groups: int) -> Credentials:
    return Credentials(1, uid, gid, frozenset(groups))


def connecting(service: ServiceThread, uid: int, gid: int, *groups: int) -> str:
    """What a client of ours is told that is somebody else."""
    words = (uid, gid, ",".join(map(str, groups)), "connect", service.name, "shm", service.places.memory)
    argv = [sys.executable, "-m", "tests.support.libqb_roles", *map(str, words)]
    return subprocess.run(
        argv, cwd=ROOT, capture_output=True, text=True, timeout=20, check=True
    ).stdout.strip()


class ForeignService(Program):
    """A service that somebody else runs."""

    def __init__(self, directory: Path, transport: Transport, uid: int, gid: int) -> None:
        self.service = unique_name()
        words = (uid, gid, "", "serve", self.service, transport.name, directory)
        argv = [sys.executable, "-m", "tests.support.libqb_roles", *map(str, words)]
        super().__init__(argv, directory, name="service", environment={"PYTHONPATH": str(ROOT)})

    def ready(self) -> bool:
        return "ready" in self.stdout


# The rules


@pytest.mark.parametrize(
    ("client", "error"),
    [
        (somebody(0), 0),
        (somebody(USER.pw_uid), 0),
        (somebody(NOBODY.pw_uid, GROUP.gr_gid), 0),
        (somebody(NOBODY.pw_uid, OTHERS, OTHERS, GROUP.gr_gid), 0),
        (somebody(), errno.EACCES),
        (somebody(NOBODY.pw_uid, OTHERS, OTHERS, 0), errno.EACCES),
    ],
)
def test_a_clusters_clients_are_root_its_user_and_its_group(client: Credentials, error: int) -> None:
    assert cluster_client(client) == error


def test_without_a_cluster_root_alone_is_its_client(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trust, "CLUSTER_USER", "no-such-user")
    monkeypatch.setattr(trust, "CLUSTER_GROUP", "no-such-group")
    assert cluster_client(somebody(0)) == 0
    assert cluster_client(somebody(USER.pw_uid, GROUP.gr_gid)) == errno.EACCES
    assert not cluster_server(somebody(USER.pw_uid, GROUP.gr_gid))
    assert cluster_rights(somebody(5, 6)) == FileRights(5, 6, 0o600)


def test_a_clusters_server_is_root_its_user_or_runs_with_its_group() -> None:
    assert cluster_server(somebody(0))
    assert cluster_server(somebody(USER.pw_uid))
    assert cluster_server(somebody(NOBODY.pw_uid, GROUP.gr_gid))
    assert not cluster_server(somebody(NOBODY.pw_uid, OTHERS, GROUP.gr_gid))


def test_the_files_of_a_clusters_clients_are_its_groups_but_for_roots() -> None:
    assert cluster_rights(somebody(0, 0)) == FileRights(0, 0, 0o600)
    assert cluster_rights(somebody()) == FileRights(-1, GROUP.gr_gid, 0o660)


def test_another_daemon_serves_root_and_its_own_user() -> None:
    assert own_client(somebody(0)) == 0
    assert own_client(somebody(os.geteuid())) == 0
    assert own_client(somebody(os.geteuid() + 5)) == errno.EACCES
    assert own_rights(somebody(5, 6)) == FileRights(5, 6, 0o600)


def test_the_kernel_knows_the_supplementary_groups_of_a_peer() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        assert supplementary_groups(ours, os.getuid(), os.getgid()) == frozenset(os.getgroups())


def test_where_the_kernel_does_not_know_the_user_database_does() -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        groups = supplementary_groups(sock, NOBODY.pw_uid, OTHERS)
        assert groups == frozenset(os.getgrouplist("nobody", OTHERS))
        assert supplementary_groups(sock, 4_000_000_000, OTHERS) == frozenset()


# Our server


@needs_root
@pytest.mark.parametrize("uid", [NOBODY.pw_uid, USER.pw_uid + 4])
def test_a_client_run_by_nobody_is_refused(open_path: Path, transport: Transport, uid: int) -> None:
    with ServiceThread(open_path, transport) as service:
        assert connecting(service, uid, OTHERS) == "EACCES"
        assert not service.clients
        assert not list(open_path.iterdir())


@needs_root
@pytest.mark.parametrize(
    ("uid", "gid", "groups"),
    [
        (USER.pw_uid, GROUP.gr_gid, ()),
        (NOBODY.pw_uid, GROUP.gr_gid, ()),
        (NOBODY.pw_uid, OTHERS, (OTHERS, GROUP.gr_gid)),
    ],
    ids=["the user", "the group", "a supplementary group"],
)
def test_the_clusters_own_are_served(
    open_path: Path, transport: Transport, uid: int, gid: int, groups: tuple[int, ...]
) -> None:
    with ServiceThread(open_path, transport) as service:
        assert connecting(service, uid, gid, *groups) == "ok"


@needs_root
@pytest.mark.peers("cc", "qb/qbipcs.h", "setpriv")
def test_a_client_on_libqb_run_by_nobody_is_refused(open_path: Path, transport: Transport) -> None:
    with ServiceThread(open_path, transport) as service:
        groups = {"nothing": ["--clear-groups"], "the group": [f"--groups={GROUP.gr_gid}"]}
        told = {}
        for name, words in groups.items():
            argv = [
                "setpriv",
                "--reuid=nobody",
                "--regid=nogroup",
                *words,
                *peer_argv("connect", service.name),
            ]
            done = subprocess.run(argv, capture_output=True, text=True, timeout=20, check=True)
            told[name] = done.stdout.strip()
        assert told == {"nothing": str(errno.EACCES), "the group": "ok"}


@needs_root
def test_files_are_given_to_those_who_may_use_them(open_path: Path, transport: Transport) -> None:
    service = ServiceThread(open_path, transport)
    with service, connect(service.name, places=service.places):
        directory, *files = found(open_path)
        assert directory == (0o770, 0, 0)
        assert set(files) == {(0o600, 0, 0)}
    service = ServiceThread(open_path, transport, rights=lambda _: FileRights(-1, GROUP.gr_gid, 0o660))
    with service, connect(service.name, places=service.places):
        directory, *files = found(open_path)
        assert directory == (0o770, 0, GROUP.gr_gid)
        assert set(files) == {(0o660, 0, GROUP.gr_gid)}


def found(parent: Path) -> list[tuple[int, int, int]]:
    (directory,) = parent.iterdir()
    paths = [directory, *directory.iterdir()]
    return [(stat.S_IMODE(path.stat().st_mode), path.stat().st_uid, path.stat().st_gid) for path in paths]


@needs_root
def test_a_cautious_server_shares_no_memory_with_others(open_path: Path) -> None:
    service = ServiceThread(open_path, cautious)
    with service, connect(service.name, places=service.places) as client:
        assert client.transport is Transport.SHM
        assert connecting(service, NOBODY.pw_uid, GROUP.gr_gid) == "ok"
    assert cautious(somebody()) is Transport.SOCKET
    assert cautious(somebody(os.geteuid())) is Transport.SHM


# Our client


@needs_root
def test_a_server_run_by_nobody_is_refused(open_path: Path, transport: Transport) -> None:
    with ForeignService(open_path, transport, NOBODY.pw_uid, OTHERS) as foreign:
        with pytest.raises(LibqbError, match=f"uid {NOBODY.pw_uid}") as caught:
            connect(foreign.service)
        assert caught.value.errno == errno.ECONNABORTED
        with connect(foreign.service, trusted=ANYBODY) as client:
            client.send(plain(0))
            assert client.receive_response(5) == plain(0)
            assert client.credentials.uid == NOBODY.pw_uid


@needs_root
@pytest.mark.parametrize(("uid", "gid"), [(USER.pw_uid, OTHERS), (NOBODY.pw_uid, GROUP.gr_gid)])
def test_a_server_run_by_the_cluster_is_trusted(
    open_path: Path, transport: Transport, uid: int, gid: int
) -> None:
    with ForeignService(open_path, transport, uid, gid) as foreign, connect(foreign.service) as client:
        client.send(plain(0))
        assert client.receive_response(5) == plain(0)
