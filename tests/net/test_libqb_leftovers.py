"""What is left of a server of libqb's: nothing where it ends, nothing for long where it was killed."""

from __future__ import annotations

import asyncio
import errno
import fcntl
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from bridle.net.libqb.asynchronous import connect_async
from bridle.net.libqb.client import LibqbClient, connect
from bridle.net.libqb.directory import remove_remains, sweep
from bridle.net.libqb.errors import LibqbError
from bridle.wire.libqb import Transport
from tests.support.libqb import TRANSPORTS, ServiceThread, plain, private_places, unique_name
from tests.support.programs import ROOT, Program, poll

# Seconds: less than every wait that is not to be sat out here, and a lot for a machine that is busy.
SOON = 15.0
SERVICE = "attrd"
AGES_AGO = 1_000_000_000.0


@pytest.fixture(params=TRANSPORTS, ids=lambda transport: transport.name)
def transport(request: pytest.FixtureRequest) -> Transport:
    found: Transport = request.param
    return found


class Service(Program):
    """A service in a process of its own."""

    def __init__(self, directory: Path, transport: Transport) -> None:
        self.service = unique_name()
        words = ("-", "-", "", "serve", self.service, transport.name, directory)
        argv = [sys.executable, "-m", "tests.support.libqb_roles", *map(str, words)]
        super().__init__(argv, directory, name="service", environment={"PYTHONPATH": str(ROOT)})

    def ready(self) -> bool:
        return "ready" in self.stdout

    def kill(self) -> None:
        """End it as the kernel does when there is no memory left."""
        assert self.process is not None
        self.process.kill()


def left(directory: Path) -> list[str]:
    return [path.name for path in directory.glob("qb-*")]


def gone(call: Callable[[], object]) -> None:
    with pytest.raises(LibqbError) as caught:
        call()
    assert caught.value.errno == errno.ENOTCONN


def trusting(name: str, directory: Path) -> LibqbClient:
    return connect(name, places=private_places(directory), trusted=lambda _: True)


# A server that is killed


@pytest.mark.parametrize("manner", ["response", "event", "sending", "looking"])
def test_a_client_notices_at_once_that_the_server_is_killed(
    short_path: Path, transport: Transport, manner: str
) -> None:
    with Service(short_path, transport) as service, trusting(service.service, short_path) as client:
        client.send(plain(0))
        assert client.receive_response(5) == plain(0)
        service.kill()
        service.wait()
        began = time.monotonic()
        if manner == "response":
            gone(lambda: client.receive_response(30))
        elif manner == "event":
            gone(lambda: client.receive_event(30))
        elif manner == "sending":
            gone(lambda: client.send(plain(0), 30))
        else:
            assert not client.connected
        assert time.monotonic() - began < SOON
        client.close()
        assert not left(short_path), "the client removes what the dead cannot"


@pytest.mark.parametrize("manner", ["response", "event", "watching"])
def test_an_asyncio_client_notices_at_once_that_the_server_is_killed(
    short_path: Path, transport: Transport, manner: str
) -> None:
    async def notice(service: Service) -> float:
        client = await connect_async(
            service.service, places=private_places(short_path), trusted=lambda _: True
        )
        async with client:
            noticed = asyncio.Event()
            if manner == "watching":
                client.watch(lambda: (client.watch(None), noticed.set(), None)[2])
            loop = asyncio.get_running_loop()
            loop.call_later(0.1, service.kill)
            began = loop.time()
            if manner == "watching":
                await asyncio.wait_for(noticed.wait(), 20)
                gone(client.client.receive_event)
            else:
                with pytest.raises(LibqbError) as caught:
                    await (client.receive_response(30) if manner == "response" else client.receive_event(30))
                assert caught.value.errno == errno.ENOTCONN
            return loop.time() - began - 0.1

    with Service(short_path, transport) as service:
        assert asyncio.run(notice(service)) < SOON


def test_the_next_server_removes_what_one_left_that_was_killed(
    short_path: Path, transport: Transport
) -> None:
    with Service(short_path, transport) as service:
        client = trusting(service.service, short_path)
        service.kill()
        service.wait()
        assert left(short_path)
        with ServiceThread(short_path, transport, name=service.service):
            assert not left(short_path)
        client.close()


def test_the_server_notices_that_a_client_is_killed(short_path: Path, transport: Transport) -> None:
    script = (
        "import sys, time; from bridle.net.libqb.client import connect;"
        "from bridle.net.libqb.places import Places;"
        "c = connect(sys.argv[1], places=Places(*sys.argv[2:]), trusted=lambda _: True);"
        "print('ready', flush=True); time.sleep(60)"
    )
    with ServiceThread(short_path, transport, admit=lambda _: 0) as service:
        places = service.places
        argv = [
            sys.executable,
            "-c",
            script,
            service.name,
            places.memory,
            places.sockets,
            places.force_filesystem,
        ]
        with subprocess.Popen(argv, stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == b"ready\n"
            process.kill()
        assert poll(lambda: service.client().lost == [None], SOON)
        assert not left(short_path)


# A server that ends


def test_a_server_that_is_asked_to_end_leaves_nothing(short_path: Path, transport: Transport) -> None:
    with Service(short_path, transport) as service, trusting(service.service, short_path) as client:
        assert left(short_path)
        assert service.stop() == 0
        gone(client.receive_event)
        assert not left(short_path)


SCRIPT = """
import asyncio, atexit, os, sys
from pathlib import Path
from bridle.net.libqb.client import connect
from bridle.net.libqb.places import Places
from bridle.net.libqb.server import LibqbServer
from bridle.wire.libqb import Transport
from tests.support.libqb import ANYBODY, Echo

name, transport, *words = sys.argv[1:]
places = Places(*words)

def show():
    print(len(list(Path(places.memory).glob("qb-*"))), flush=True)

def fork():
    child = os.fork()
    if child == 0:
        atexit._run_exitfuncs()
        os._exit(0)
    os.waitpid(child, 0)
    show()

async def main():
    settings = {"places": places, "transport": Transport[transport], "admit": lambda _: 0}
    server = LibqbServer(name, Echo, **settings)
    server.start()
    client = await asyncio.to_thread(connect, name, places=places, trusted=ANYBODY)
    show()
    END

asyncio.run(main())
"""


def played(directory: Path, transport: Transport, end: str) -> subprocess.CompletedProcess[str]:
    """A process that is server and client at once, and ends in some way without closing either."""
    places = private_places(directory)
    words = (unique_name(), transport.name, places.memory, places.sockets, places.force_filesystem)
    argv = [sys.executable, "-W", "ignore", "-c", SCRIPT.replace("END", end), *words]
    return subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, timeout=20, check=False)


@pytest.mark.parametrize(("end", "status"), [("raise ZeroDivisionError", 1), ("sys.exit(3)", 3)])
def test_a_server_that_fails_leaves_nothing(
    short_path: Path, transport: Transport, end: str, status: int
) -> None:
    done = played(short_path, transport, end)
    assert (done.stdout, done.returncode) == ("1\n", status), done.stderr
    assert not left(short_path)


def test_a_child_process_does_not_remove_what_its_parent_uses(short_path: Path) -> None:
    done = played(short_path, Transport.SHM, "fork()")
    assert (done.stdout, done.returncode) == ("1\n1\n", 0), done.stderr
    assert not left(short_path)


# What is abandoned, and what is not


def leave(
    directory: Path, pid: int, *, name: str = f"qb-request-{SERVICE}-data", age: float | None = None
) -> Path:
    """What a server with a pid leaves, made at a time."""
    path = directory / f"qb-{pid}-77-5-aBc_12"
    path.mkdir()
    (path / name).write_bytes(b"x")
    if age is not None:
        os.utime(path, (age, age))
    return path


def dead() -> int:
    """The pid of a process that was."""
    process = subprocess.Popen(["true"])
    process.wait()
    return process.pid


@pytest.mark.parametrize(
    "name",
    [f"qb-control-{SERVICE}", f"qb-event-{SERVICE}-header", f"qb-response-{SERVICE}-data"],
)
def test_what_a_dead_process_left_of_the_service_is_removed(short_path: Path, name: str) -> None:
    path = leave(short_path, dead(), name=name)
    assert sweep(str(short_path), SERVICE) == [path]
    assert not path.exists()


def test_what_another_service_left_is_not_removed(short_path: Path) -> None:
    path = leave(short_path, dead(), name=f"qb-request-{SERVICE}2-data")
    assert sweep(str(short_path), SERVICE) == []
    assert path.exists()


def test_what_a_living_process_uses_is_not_removed(short_path: Path) -> None:
    path = leave(short_path, os.getppid())
    assert sweep(str(short_path), SERVICE) == []
    assert path.exists()


def test_what_is_older_than_the_process_that_has_the_pid_now_is_removed(short_path: Path) -> None:
    path = leave(short_path, os.getpid(), age=AGES_AGO)
    assert sweep(str(short_path), SERVICE) == [path]


def test_what_somebody_holds_a_lock_on_is_not_removed(short_path: Path) -> None:
    path = leave(short_path, dead())
    lock = os.open(path, os.O_RDONLY)
    fcntl.flock(lock, fcntl.LOCK_EX)
    assert sweep(str(short_path), SERVICE) == []
    os.close(lock)
    assert sweep(str(short_path), SERVICE) == [path]


def test_a_server_of_ours_holds_a_lock_on_what_it_uses(short_path: Path, transport: Transport) -> None:
    with ServiceThread(short_path, transport) as service, trusting(service.name, short_path):
        (path,) = short_path.glob("qb-*")
        # As if its pid were one of another namespace.
        other = path.rename(short_path / f"qb-{dead()}-77-5-aBc_12")
        assert sweep(str(short_path), service.name) == []
        other.rename(path)


def test_links_are_not_followed_and_other_files_stay(short_path: Path) -> None:
    aside = short_path / "aside"
    aside.mkdir()
    target = leave(aside, dead())
    (short_path / f"qb-{dead()}-1-1-aaaaaa").symlink_to(target)
    assert sweep(str(short_path), SERVICE) == []
    path = leave(short_path, dead())
    (path / "precious").touch()
    (path / "qb-link").symlink_to(target / f"qb-request-{SERVICE}-data")
    assert sweep(str(short_path), SERVICE) == [path]
    assert [entry.name for entry in path.iterdir()] == ["precious"]
    assert (target / f"qb-request-{SERVICE}-data").exists()


def test_a_place_that_is_not_there_has_nothing_to_sweep(short_path: Path) -> None:
    assert sweep(str(short_path / "nowhere"), SERVICE) == []


@pytest.mark.parametrize("name", ["qb-4-5-6-abcdef", "etc", "qb-3-5-6-abc/def", "qb-3-5-6-abcdefg"])
def test_a_client_removes_only_what_is_named_after_its_server(short_path: Path, name: str) -> None:
    path = short_path / name
    path.mkdir(parents=True)
    (path / "qb-request-x-data").touch()
    remove_remains(str(path), 3)
    assert path.exists()
    ours = short_path / "qb-3-5-6-abcdef"
    ours.mkdir()
    remove_remains(str(ours), 3)
    assert not ours.exists()
