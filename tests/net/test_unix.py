"""The files of unix sockets: whose they are, how they get their names, and what is left of them."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import fcntl
import grp
import os
import pwd
import signal
import socket
import stat
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import uvloop

import bridle
from bridle.core.errors import EndpointError, TransportError
from bridle.core.messages import Peer
from bridle.net.credentials import peer_credentials, peer_of_unix
from bridle.net.unix import PATH_BYTES, SocketFile

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root may give files away")


@pytest.fixture
def path(short_path: Path) -> Path:
    return short_path / "control"


@pytest.fixture
def umask() -> Iterator[Callable[[int], int]]:
    before = os.umask(0o022)
    os.umask(before)
    yield os.umask
    os.umask(before)


@pytest.fixture
def stale(path: Path) -> Path:
    """A socket file that its maker left behind."""
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(str(path))
    return path


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def opened(path: Path, **options: int) -> contextlib.closing[SocketFile]:
    return contextlib.closing(SocketFile.open(path, **options))


def reaches(path: Path, file: SocketFile) -> bool:
    """Whether a client that connects to the path is heard on the file's socket."""
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(path))
        try:
            file.socket.accept()[0].close()
        except BlockingIOError:
            return False
        return True


def names(directory: Path) -> list[str]:
    return sorted(entry.name for entry in directory.iterdir())


# A socket and its rights


def test_an_opened_socket_listens_without_blocking_and_has_a_lock(path: Path) -> None:
    with opened(path) as file:
        assert file.path == str(path)
        assert file.socket.getblocking() is False
        assert not file.socket.get_inheritable()
        assert reaches(path, file)
        assert names(path.parent) == ["control", "control.lock"]
        assert mode_of(path.with_name("control.lock")) == 0o600


def test_closing_removes_the_files_and_twice_is_once(path: Path) -> None:
    file = SocketFile.open(path)
    file.close()
    assert names(path.parent) == []
    assert file.socket.fileno() == -1
    with opened(path) as other:
        file.close()
        assert reaches(path, other)


@pytest.mark.parametrize("kind", [socket.SOCK_STREAM, socket.SOCK_SEQPACKET])
def test_a_socket_that_listens_may_be_of_either_kind(path: Path, kind: int) -> None:
    with opened(path, kind=kind), socket.socket(socket.AF_UNIX, kind) as client:
        client.connect(str(path))


def test_a_datagram_socket_receives_at_its_path(path: Path) -> None:
    with opened(path, kind=socket.SOCK_DGRAM) as file:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as client:
            client.sendto(b"hello", str(path))
        assert file.socket.recv(10) == b"hello"


@pytest.mark.parametrize("mask", [0o000, 0o022, 0o077, 0o777])
@pytest.mark.parametrize("mode", [0o600, 0o660, 0o666, 0o777])
def test_the_mode_is_what_was_asked_for_whatever_the_umask_is(
    path: Path, umask: Callable[[int], int], mode: int, mask: int
) -> None:
    umask(mask)
    with opened(path, mode=mode, open_to_all=True):
        assert mode_of(path) == mode
        assert umask(mask) == mask


def test_the_mode_is_0660_unless_told(path: Path) -> None:
    with opened(path):
        assert mode_of(path) == 0o660


def test_the_socket_never_has_wider_rights_while_it_is_made(path: Path, umask: Callable[[int], int]) -> None:
    seen: set[int] = set()
    done = threading.Event()

    def watch() -> None:
        while not done.is_set():
            for entry in os.scandir(path.parent):
                with contextlib.suppress(FileNotFoundError):
                    status = os.lstat(entry.path)
                    if stat.S_ISSOCK(status.st_mode):
                        seen.add(stat.S_IMODE(status.st_mode))

    umask(0)
    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        for _ in range(200):
            SocketFile.open(path, mode=0o640).close()
    finally:
        done.set()
        watcher.join()
    assert seen <= {0o600, 0o640}


@pytest.mark.parametrize("mode", [-1, 0o1000, 0o2660])
def test_a_mode_is_read_write_and_execute_and_nothing_else(path: Path, mode: int) -> None:
    with pytest.raises(EndpointError, match="must be within 0777"):
        SocketFile.open(path, mode=mode)


@needs_root
@pytest.mark.parametrize("form", [int, str])
def test_an_owner_and_a_group_may_be_numbers(path: Path, form: Callable[[int], int | str]) -> None:
    file = SocketFile.open(path, owner=form(12345), group=form(54321))
    with contextlib.closing(file):
        status = path.stat()
        assert (status.st_uid, status.st_gid) == (12345, 54321)


@needs_root
def test_a_group_alone_leaves_the_owner(path: Path) -> None:
    with opened(path, group=54321):
        status = path.stat()
        assert (status.st_uid, status.st_gid) == (0, 54321)


def test_an_owner_and_a_group_may_be_names(path: Path) -> None:
    user, group = pwd.getpwuid(os.geteuid()).pw_name, grp.getgrgid(os.getegid()).gr_name
    with contextlib.closing(SocketFile.open(path, owner=user, group=group)):
        status = path.stat()
        assert (status.st_uid, status.st_gid) == (os.geteuid(), os.getegid())


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"owner": "no such user"}, "unknown user 'no such user'"),
        ({"group": "no such group"}, "unknown group 'no such group'"),
        ({"group": "\0"}, r"unknown group '\\x00'"),
        ({"group": ""}, "unknown group ''"),
        ({"owner": "99999999999"}, "unknown user '99999999999'"),
        ({"owner": -1}, "there can be no user -1"),
        ({"group": 2**32 - 1}, "there can be no group 4294967295"),
    ],
)
def test_an_owner_or_a_group_that_does_not_exist_is_refused(
    path: Path, options: dict[str, str | int], text: str
) -> None:
    with pytest.raises(EndpointError, match=text):
        SocketFile.open(path, **options)
    assert names(path.parent) == []


@pytest.mark.skipif(os.geteuid() == 0, reason="root may give files away")
def test_a_user_who_may_not_give_files_away_is_told_so(path: Path) -> None:
    with pytest.raises(
        EndpointError, match=r"cannot give socket '.*control' to user 0: Operation not permitted"
    ):
        SocketFile.open(path, owner=0)
    assert names(path.parent) == []


# What stands at the path


def test_a_stale_socket_is_replaced(stale: Path) -> None:
    with opened(stale) as file:
        assert reaches(stale, file)


@pytest.mark.parametrize("kind", [socket.SOCK_STREAM, socket.SOCK_DGRAM, socket.SOCK_SEQPACKET])
def test_a_socket_that_somebody_listens_on_is_kept(path: Path, kind: int) -> None:
    with socket.socket(socket.AF_UNIX, kind) as other:
        other.bind(str(path))
        if kind != socket.SOCK_DGRAM:
            other.listen()
        before = path.stat()
        with pytest.raises(EndpointError, match="control': another program listens on it"):
            SocketFile.open(path)
        assert path.stat() == before
    assert names(path.parent) == ["control"]


def test_a_socket_whose_backlog_is_full_is_in_use(path: Path) -> None:
    with contextlib.ExitStack() as stack:
        other = stack.enter_context(socket.socket(socket.AF_UNIX))
        other.bind(str(path))
        other.listen(0)
        failure = 0
        while failure == 0:
            client = stack.enter_context(socket.socket(socket.AF_UNIX))
            client.setblocking(False)
            failure = client.connect_ex(str(path))
        assert failure == errno.EAGAIN
        with pytest.raises(EndpointError, match="another program listens on it"):
            SocketFile.open(path)


def put_file(path: Path) -> None:
    path.write_text("precious")


def put_link_to_a_stale_socket(path: Path) -> None:
    target = path.with_name("target")
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(str(target))
    path.symlink_to(target)


@pytest.mark.parametrize("name", ["control", ".control"])
@pytest.mark.parametrize(
    ("put", "what"),
    [
        (put_file, "a file"),
        (Path.mkdir, "a directory"),
        (os.mkfifo, "a fifo"),
        (put_link_to_a_stale_socket, "a symbolic link"),
        (lambda path: path.symlink_to("nowhere"), "a symbolic link"),
        pytest.param(
            lambda path: os.mknod(path, stat.S_IFCHR, os.makedev(1, 3)), "a device", marks=needs_root
        ),
    ],
    ids=["file", "directory", "fifo", "link", "dangling link", "device"],
)
def test_what_is_no_socket_is_never_replaced(
    path: Path, put: Callable[[Path], None], what: str, name: str
) -> None:
    obstacle = path.with_name(name)
    put(obstacle)
    before, listed = obstacle.lstat(), names(path.parent)
    with pytest.raises(
        EndpointError, match=f"/{name}': there is {what}, which is not replaced; move it away"
    ):
        SocketFile.open(path)
    assert obstacle.lstat() == before
    assert names(path.parent) == listed


def test_a_socket_that_was_killed_before_it_got_its_name_is_in_nobodys_way(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(str(path.with_name(".control")))
    with opened(path) as file:
        assert reaches(path, file)
        assert names(path.parent) == ["control", "control.lock"]


def test_a_file_that_somebody_else_put_in_its_place_is_not_removed(path: Path) -> None:
    file = SocketFile.open(path)
    path.unlink()
    path.with_name("control.lock").unlink()
    put_file(path)
    put_file(path.with_name("control.lock"))
    file.close()
    assert path.read_text() == "precious"
    assert path.with_name("control.lock").read_text() == "precious"


def test_a_path_that_is_gone_already_does_not_disturb_closing(path: Path) -> None:
    file = SocketFile.open(path)
    path.unlink()
    path.with_name("control.lock").unlink()
    file.close()
    assert names(path.parent) == []


def test_a_relative_path_is_removed_even_from_another_directory(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(path.parent)
    with opened(Path("control")) as file:
        assert reaches(path, file)
        monkeypatch.chdir("/")
    assert names(path.parent) == []


# The directory and the path


def test_a_missing_directory_is_told_in_keas_words(path: Path) -> None:
    below = path / "socket"
    text = f"cannot create socket lockfile, {below}.lock, : No such file or directory"
    with pytest.raises(EndpointError) as caught:
        SocketFile.open(below)
    assert str(caught.value) == text


def test_a_directory_that_is_a_file_is_told_in_keas_words(path: Path) -> None:
    put_file(path)
    path.chmod(0o666)
    with pytest.raises(
        EndpointError, match=r"cannot create socket lockfile, .*/control/x\.lock, : Not a directory"
    ):
        SocketFile.open(path / "x")


@pytest.mark.parametrize("mode", [0o777, 0o702, 0o773])
def test_a_directory_that_others_may_write_to_is_refused(path: Path, mode: int) -> None:
    path.parent.chmod(mode)
    with pytest.raises(EndpointError, match=rf"'{path.parent}' .* \(mode 0{mode:o}\).*chmod o-w.*chmod \+t"):
        SocketFile.open(path)
    assert names(path.parent) == []


@pytest.mark.parametrize("mode", [0o1777, 0o775, 0o770, 0o750, 0o700])
def test_a_directory_where_others_cannot_replace_files_is_good(path: Path, mode: int) -> None:
    path.parent.chmod(mode)
    with opened(path) as file:
        assert reaches(path, file)


def test_the_longest_path_works_and_a_longer_one_is_refused(short_path: Path) -> None:
    longest = short_path / "x".ljust(PATH_BYTES - len(os.fsencode(short_path)) - 1, "x")
    with opened(longest) as file:
        assert reaches(longest, file)
    with pytest.raises(
        EndpointError, match=rf"File name too long \({PATH_BYTES + 1} bytes; at most {PATH_BYTES} fit"
    ):
        SocketFile.open(f"{longest}x")
    with pytest.raises(EndpointError, match=rf"File name too long \({PATH_BYTES + 1} bytes"):
        SocketFile.open(f"{str(longest)[:-1]}é")
    assert names(short_path) == []


@pytest.mark.parametrize(
    "path", ["", ".", "..", "/", "/tmp/", "/tmp/.", "/tmp/..", "\0name", "/tmp/a\0b", "/\ud800"]
)
def test_a_path_must_name_a_file(path: str) -> None:
    with pytest.raises(EndpointError, match="names no file"):
        SocketFile.open(path)


# The lock


def locked_out(path: Path) -> str:
    return f"cannot lock socket lockfile, {path}.lock, : Resource temporarily unavailable"


def test_a_path_is_one_sockets_only(path: Path) -> None:
    with opened(path) as file:
        with pytest.raises(EndpointError) as caught:
            SocketFile.open(path)
        assert str(caught.value) == locked_out(path)
        assert reaches(path, file)
        assert names(path.parent) == ["control", "control.lock"]


def test_a_lock_that_another_program_holds_keeps_us_out_before_anything_is_touched(stale: Path) -> None:
    lock = stale.with_name("control.lock")
    before = stale.stat()
    with lock.open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(EndpointError) as caught:
            SocketFile.open(stale)
    assert str(caught.value) == locked_out(stale)
    assert stale.stat() == before
    assert lock.exists()


def test_a_lock_file_that_nobody_holds_is_in_nobodys_way(path: Path) -> None:
    path.with_name("control.lock").touch()
    with opened(path) as file:
        assert reaches(path, file)
    assert names(path.parent) == []


def test_a_lock_is_never_taken_through_a_link(path: Path) -> None:
    elsewhere = path.with_name("elsewhere")
    path.with_name("control.lock").symlink_to(elsewhere)
    with pytest.raises(
        EndpointError, match=r"cannot create socket lockfile, .*: Too many levels of symbolic links"
    ):
        SocketFile.open(path)
    assert not elsewhere.exists()


def test_a_lock_that_is_no_file_is_refused_and_kept(path: Path) -> None:
    lock = path.with_name("control.lock")
    os.mkfifo(lock)
    with pytest.raises(EndpointError, match=r"cannot create socket lockfile, .*: there is a fifo"):
        SocketFile.open(path)
    assert stat.S_ISFIFO(lock.lstat().st_mode)


# Replacing one's own


def test_a_socket_takes_its_path_over_from_an_older_one_of_the_same_daemon(path: Path) -> None:
    with opened(path, mode=0o600) as old:
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(path))
            connection = old.socket.accept()[0]
            new = SocketFile.open(path, mode=0o640, replaces=old)
            assert mode_of(path) == 0o640
            connection.sendall(b"still here")
            assert client.recv(20) == b"still here"
            connection.close()
        assert reaches(path, new)
        assert not reaches(path, old)
        old.close()
        assert reaches(path, new)
        assert names(path.parent) == ["control", "control.lock"]
        with pytest.raises(EndpointError, match="cannot lock socket lockfile"):
            SocketFile.open(path)
        new.close()
    assert names(path.parent) == []


def test_another_spelling_of_the_path_is_the_same_path(path: Path) -> None:
    link = path.with_name("link")
    link.symlink_to(".")
    with opened(path) as old, contextlib.closing(SocketFile.open(link / "control", replaces=old)) as new:
        old.close()
        assert reaches(path, new)


def test_a_socket_at_another_path_leaves_the_older_one_alone(path: Path) -> None:
    other = path.with_name("other")
    with opened(path) as old, contextlib.closing(SocketFile.open(other, replaces=old)) as new:
        assert reaches(path, old)
        assert reaches(other, new)
        assert names(path.parent) == ["control", "control.lock", "other", "other.lock"]


def test_a_closed_socket_can_be_replaced_too(path: Path) -> None:
    old = SocketFile.open(path)
    old.close()
    with contextlib.closing(SocketFile.open(path, replaces=old)) as new:
        assert reaches(path, new)


def test_a_socket_whose_lock_file_was_deleted_can_be_replaced_nevertheless(path: Path) -> None:
    with opened(path) as old:
        path.with_name("control.lock").unlink()
        with contextlib.closing(SocketFile.open(path, replaces=old)) as new:
            old.close()
            assert reaches(path, new)
            assert names(path.parent) == ["control", "control.lock"]


def test_a_closed_socket_gives_no_right_to_replace_its_successor(path: Path) -> None:
    gone = SocketFile.open(path)
    gone.close()
    with opened(path) as file:
        with pytest.raises(EndpointError, match="cannot lock socket lockfile"):
            SocketFile.open(path, replaces=gone)
        assert reaches(path, file)


def test_a_closed_socket_gives_no_right_to_replace_a_stranger(path: Path) -> None:
    gone = SocketFile.open(path)
    gone.close()
    with socket.socket(socket.AF_UNIX) as stranger:
        stranger.bind(str(path))
        stranger.listen()
        with pytest.raises(EndpointError, match="another program listens on it"):
            SocketFile.open(path, replaces=gone)


def deny(*_: object, **__: object) -> None:
    raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))


@pytest.mark.parametrize(
    ("step", "group", "text"),
    [
        ("os.chown", 1, "cannot give socket '.*control' to group 1: Operation not permitted"),
        (
            "pathlib.Path.chmod",
            None,
            "cannot set the mode of socket '.*control' to 0660: Operation not permitted",
        ),
        ("pathlib.Path.rename", None, "cannot create socket '.*control': Operation not permitted"),
    ],
)
def test_whatever_fails_the_old_socket_works_on_and_nothing_is_left(
    path: Path, monkeypatch: pytest.MonkeyPatch, step: str, group: int | None, text: str
) -> None:
    with opened(path) as old:
        before = path.stat()
        with monkeypatch.context() as patched:
            patched.setattr(step, deny)
            with pytest.raises(EndpointError, match=text):
                SocketFile.open(path, group=group, replaces=old)
        assert path.stat() == before
        assert reaches(path, old)
        assert names(path.parent) == ["control", "control.lock"]
    assert names(path.parent) == []
    with monkeypatch.context() as patched:
        patched.setattr(step, deny)
        with pytest.raises(EndpointError, match=text):
            SocketFile.open(path, group=group)
    assert names(path.parent) == []


def test_a_client_never_finds_the_path_missing_or_with_other_rights_while_it_is_replaced(path: Path) -> None:
    failures: list[OSError] = []
    modes: set[int] = set()
    connected = threading.Semaphore(0)
    done = threading.Event()

    def connect() -> None:
        while not done.is_set():
            with socket.socket(socket.AF_UNIX) as client:
                try:
                    client.connect(str(path))
                    modes.add(mode_of(path))
                except OSError as error:
                    failures.append(error)
                connected.release()

    with contextlib.ExitStack() as stack:
        file = stack.enter_context(opened(path, mode=0o600))
        client = threading.Thread(target=connect)
        client.start()
        for turn in range(100):
            file = SocketFile.open(path, mode=0o660 if turn % 2 else 0o600, replaces=file)
            stack.callback(file.close)
            assert connected.acquire(timeout=10)
        done.set()
        client.join()
    assert failures == []
    assert modes
    assert modes <= {0o600, 0o660}


def test_closing_tells_when_a_file_cannot_be_removed_and_gives_up_everything_else(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = SocketFile.open(path)
    with monkeypatch.context() as patched:
        patched.setattr("pathlib.Path.unlink", deny)
        with pytest.raises(EndpointError, match=r"cannot remove socket '.*control': Operation not permitted"):
            file.close()
    assert file.socket.fileno() == -1
    with opened(path) as successor:
        file.close()
        assert reaches(path, successor)


# Other processes

OPENER = """
import sys
from bridle.core.errors import EndpointError
from bridle.net.unix import SocketFile

file = None
for line in sys.stdin:
    try:
        if line == "open\\n":
            file = SocketFile.open(sys.argv[1])
        elif file is not None:
            file.close()
            file = None
        print("done", flush=True)
    except EndpointError as error:
        print(error, flush=True)
"""
"""Opens and closes a socket file as it is told on its standard input."""

CONTENDER = """
import os
import sys
from bridle.core.errors import EndpointError
from bridle.net.unix import SocketFile

won = 0
for _ in range(int(sys.argv[2])):
    try:
        file = SocketFile.open(sys.argv[1])
    except EndpointError as error:
        if "Resource temporarily unavailable" not in str(error):
            raise
        continue
    os.close(os.open(sys.argv[1] + ".owned", os.O_CREAT | os.O_EXCL))
    os.unlink(sys.argv[1] + ".owned")
    file.close()
    won += 1
print(won)
"""
"""Opens and closes a socket file as often as it can; fails when another one has it at the same time."""


@contextlib.contextmanager
def program(text: str, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    places = [str(Path(bridle.__file__).parents[1]), os.environ.get("PYTHONPATH", "")]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, places))}
    with subprocess.Popen(
        [sys.executable, "-c", text, *arguments],
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def tell(process: subprocess.Popen[str], word: str) -> None:
    assert process.stdin is not None
    process.stdin.write(f"{word}\n")
    process.stdin.flush()


def answer(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().rstrip("\n")


def test_another_process_is_locked_out_until_the_socket_is_closed(path: Path) -> None:
    with program(OPENER, str(path)) as process:
        with opened(path):
            tell(process, "open")
            assert answer(process) == locked_out(path)
        tell(process, "open")
        assert answer(process) == "done"
        with pytest.raises(EndpointError, match="cannot lock socket lockfile"):
            SocketFile.open(path)


def test_what_a_killed_process_left_is_replaced(path: Path) -> None:
    with program(OPENER, str(path)) as process:
        tell(process, "open")
        assert answer(process) == "done"
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert names(path.parent) == ["control", "control.lock"]
    with opened(path) as file:
        assert reaches(path, file)


def test_of_two_that_race_for_a_path_exactly_one_wins(path: Path) -> None:
    with program(OPENER, str(path)) as one, program(OPENER, str(path)) as other:
        for _ in range(50):
            for process in (one, other):
                tell(process, "open")
            assert {answer(one), answer(other)} == {"done", locked_out(path)}
            for process in (one, other):
                tell(process, "close")
            assert [answer(one), answer(other)] == ["done", "done"]
    assert names(path.parent) == []


def test_a_lock_that_is_removed_while_another_takes_it_never_lets_both_in(path: Path) -> None:
    with program(CONTENDER, str(path), "1000") as one, program(CONTENDER, str(path), "1000") as other:
        won = [int(answer(process)) for process in (one, other)]
        assert [process.wait() for process in (one, other)] == [0, 0]
    assert any(won)  # on a busy machine one may be done before the other begins
    assert names(path.parent) == []


# Who is at the other end

ME = (os.getpid(), os.geteuid(), os.getegid())


@pytest.mark.parametrize(
    "new_loop", [asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"]
)
def test_a_server_on_the_socket_knows_its_peers(
    path: Path, new_loop: Callable[[], asyncio.AbstractEventLoop]
) -> None:
    async def main() -> Peer:
        loop = asyncio.get_running_loop()
        connected: asyncio.Future[Peer] = loop.create_future()

        class Listener(asyncio.Protocol):
            def connection_made(self, transport: asyncio.BaseTransport) -> None:
                connected.set_result(peer_of_unix(transport.get_extra_info("socket"), str(path)))
                transport.close()

        file = SocketFile.open(path)
        server = await loop.create_unix_server(Listener, sock=file.socket)
        _, writer = await asyncio.open_unix_connection(path)
        try:
            return await connected
        finally:
            writer.close()
            await writer.wait_closed()
            server.close()
            await server.wait_closed()
            file.close()

    with asyncio.Runner(loop_factory=new_loop) as runner:
        peer = runner.run(main())
    pid, uid, gid = ME
    assert peer == Peer(transport="unix", address=str(path), pid=pid, uid=uid, gid=gid)
    assert names(path.parent) == []


def test_credentials_are_those_of_the_process_that_connected() -> None:
    left, right = socket.socketpair()
    with left, right:
        assert peer_credentials(left) == ME


def test_a_socket_without_a_peer_has_nobody_at_its_other_end() -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        assert peer_credentials(sock) == (0, 2**32 - 1, 2**32 - 1)
        assert peer_of_unix(sock, "/run/x") == Peer(transport="unix", address="/run/x")


def test_a_closed_socket_cannot_be_asked_for_its_peer() -> None:
    sock = socket.socket(socket.AF_UNIX)
    sock.close()
    with pytest.raises(TransportError, match="cannot ask the kernel who the peer is: Bad file descriptor"):
        peer_credentials(sock)
