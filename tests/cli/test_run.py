"""``bridle run``: a daemon in the foreground. What comes then stands in ``tests/daemon/test_running.py``."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from bridle import EndpointError
from bridle.daemon.advice import advice_on
from tests.support.bridle import (
    COMMAND_SECONDS,
    BridleProgram,
    EmbeddedDaemon,
    bridle_environment,
    command_line,
)
from tests.support.kea import ask, post
from tests.support.programs import free_port, poll

KETTLE = "tests.support.kettle:Kettle"
USAGE = 64


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ([], "Missing argument 'NAME|MODULE:CLASS'"),
        ([KETTLE], "nobody could reach it: name an ENDPOINT, or a configuration file with -c"),
        (["kettle", "unix:/tmp/s"], "there is no bundled daemon 'kettle'"),
        (["d2", "--node", "x", "unix:/tmp/s"], "D2 takes no node: --node is for cluster"),
        (["dhcp4", "--transport", "shm", "unix:/tmp/s"], "takes no transport: --transport is for cluster"),
        (["dhcp4", "-S", "/tmp/s"], "Dhcp4 is no BNG Blaster: -S is for bng; others take an ENDPOINT"),
        (["cluster", "--transport", "tcp"], "'tcp' is not one of 'shm', 'socket'"),
        (["no.such.module:X", "unix:/tmp/s"], "cannot import 'no.such.module': No module named 'no'"),
        (["tests.support.kettle:Nothing", "unix:/tmp/s"], "is no subclass of bridle.Daemon"),
        (["tests.support.kettle:say", "unix:/tmp/s"], "is no subclass of bridle.Daemon"),
        (["json:JSONDecoder", "unix:/tmp/s"], "'JSONDecoder' in json is no subclass of bridle.Daemon"),
    ],
)
def test_what_cannot_be_run_is_wrong_usage(words: list[str], says: str) -> None:
    ended = command_line("run", *words)
    assert (ended.returncode, ended.stdout) == (USAGE, "")
    assert says in " ".join(ended.stderr.split())
    assert "Traceback" not in ended.stderr


def test_a_daemon_that_cannot_be_one_is_said_in_one_line(short_path: Path) -> None:
    (short_path / "my_daemon.py").write_text(
        "import bridle\n"
        "class Mine(bridle.Daemon):\n"
        "    @bridle.command('same')\n"
        "    def one(self) -> None: pass\n"
        "    @bridle.command('same')\n"
        "    def other(self) -> None: pass\n"
    )
    ended = in_folder(short_path, "my_daemon:Mine", f"unix:{short_path}/s")
    assert (ended.returncode, ended.stdout) == (1, "")
    assert ended.stderr == "bridle: a handler for 'same' is already registered\n"


BROKEN = {
    "import": ("x = 1\n1 / 0\n", "cannot import 'broken': ZeroDivisionError: division by zero (broken.py:2)"),
    "syntax": ("x = \n", "cannot import 'broken': SyntaxError: invalid syntax (broken.py:1)"),
    "constructor": (
        "import bridle\nclass T(bridle.Daemon):\n    def __init__(self):\n        raise ValueError('no')\n",
        "T: __init__() failed: ValueError: no (broken.py:4)",
    ),
    "argument": (
        "import bridle\nclass T(bridle.Daemon):\n    def __init__(self, name): pass\n",
        "T: TypeError: T.__init__() missing 1 required positional argument: 'name'",
    ),
    "start": (
        (
            "import bridle\nclass T(bridle.Daemon):\n    async def start(self):\n        self.open()\n"
            "    def open(self):\n        raise RuntimeError('no database')\n"
        ),
        "T: start() failed: RuntimeError: no database (broken.py:6)",
    ),
}


@pytest.mark.parametrize(("text", "says"), BROKEN.values(), ids=BROKEN)
def test_what_a_daemon_raises_is_said_in_one_line(short_path: Path, text: str, says: str) -> None:
    (short_path / "broken.py").write_text(text)
    ended = in_folder(short_path, "broken:T", f"unix:{short_path}/s")
    assert (ended.returncode, ended.stdout) == (1, "")
    [line] = ended.stderr.splitlines()
    assert line.startswith(f"bridle: {says}")
    assert line.endswith("; -d shows the traceback")


def test_the_traceback_is_for_who_asks_for_details(short_path: Path) -> None:
    (short_path / "broken.py").write_text(BROKEN["start"][0])
    ended = in_folder(short_path, "broken:T", f"unix:{short_path}/s", "-d")
    assert ended.returncode == 1
    assert "Traceback" in ended.stderr
    assert ended.stderr.endswith("bridle: T: start() failed: RuntimeError: no database (broken.py:6)\n")


def test_what_a_bundled_daemon_lacks_is_named_with_its_extra(short_path: Path) -> None:
    (short_path / "dns.py").write_text("raise ModuleNotFoundError(\"No module named 'dns'\", name='dns')")
    argv = [sys.executable, "-m", "bridle", "run", "d2", f"unix:{short_path}/s"]
    environment = bridle_environment()
    environment["PYTHONPATH"] = f"{short_path}{os.pathsep}{environment['PYTHONPATH']}"
    ended = subprocess.run(
        argv, capture_output=True, text=True, timeout=COMMAND_SECONDS, env=environment, check=False
    )
    assert ended.returncode == USAGE
    assert "No module named 'dns'; in Bridle's folder, pip install '.[bundled]'" in " ".join(
        ended.stderr.split()
    )


def test_who_serves_a_socket_and_which_folder_there_is_not_are_said(short_path: Path) -> None:
    with EmbeddedDaemon(KETTLE, short_path) as daemon:
        ended = command_line("run", KETTLE, daemon.endpoint)
    assert ended.stderr == (
        f"Kettle: cannot lock socket lockfile, {daemon.socket}.lock, : Resource temporarily unavailable; "
        "another process serves this socket\n"
    )
    ended = command_line("run", KETTLE, f"unix:{short_path}/a/b/s")
    assert ended.stderr.endswith(f"; the folder {short_path}/a does not exist\n")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("cannot open a DHCP socket on eth0, port 67: Permission denied", "-p names another port"),
        ("cannot listen on http://127.0.0.1:80: permission denied", "CAP_NET_BIND_SERVICE"),
        ("cannot listen on http://127.0.0.1:80: address already in use", ""),
    ],
)
def test_what_a_port_needs_is_said(text: str, says: str) -> None:
    advice = advice_on(EndpointError(text))
    assert says in advice
    assert bool(advice) == bool(says)


def in_folder(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Run ``bridle run WORDS`` in a folder to its end."""
    argv = [sys.executable, "-m", "bridle", "run", *words]
    return subprocess.run(
        argv,
        capture_output=True,
        text=True,
        timeout=COMMAND_SECONDS,
        env=bridle_environment(),
        cwd=folder,
        check=False,
    )


@pytest.mark.parametrize(
    ("endpoint", "says"),
    [
        ("nonsense", "endpoint 'nonsense' is not TRANSPORT:ADDRESS"),
        ("k.sock", "did you mean unix:k.sock?"),
        ("unix:/no/such/folder/s", "No such file or directory"),
        ("udp:127.0.0.1:1", "cannot listen on 'udp:127.0.0.1:1': kea travels on"),
        ("https://127.0.0.1:1", "needs certificates"),
        ("unix:/tmp/s?mode=rw", "mode 'rw' is not octal"),
        ("unix:/tmp/s?owner=nobody-of-this-name", "unknown user 'nobody-of-this-name'"),
    ],
)
def test_an_endpoint_that_cannot_be_opened_is_said_in_one_line(endpoint: str, says: str) -> None:
    ended = command_line("run", KETTLE, endpoint)
    assert (ended.returncode, ended.stdout) == (1, "")
    [line] = ended.stderr.splitlines()
    assert line.startswith("Kettle: ")
    assert says in line


def test_a_port_in_use_is_said_in_one_line(short_path: Path) -> None:
    port = free_port()
    with EmbeddedDaemon(KETTLE, short_path, endpoints=[f"http://127.0.0.1:{port}"]):
        ended = command_line("run", KETTLE, f"http://127.0.0.1:{port}")
    assert ended.returncode == 1
    assert f"Kettle: cannot listen on http://127.0.0.1:{port}: address already in use" in ended.stderr


def test_it_listens_on_every_endpoint_and_tells_where(short_path: Path) -> None:
    port = free_port()
    extra = [f"unix:{short_path}/second.sock", f"http://127.0.0.1:{port}"]
    with EmbeddedDaemon(KETTLE, short_path, endpoints=extra) as daemon:
        assert poll(lambda: daemon.stderr.count("listening on") == 3)
        for path in (daemon.socket, short_path / "second.sock"):
            assert ask(path, "repeat", [1])["arguments"] == 1
        body = post(port, b'{"command": "repeat", "arguments": [1]}').body
        assert body == b'[ { "arguments": 1, "result": 0 } ]'
        assert daemon.stderr.splitlines()[:3] == [
            f"Kettle: listening on {endpoint}" for endpoint in (daemon.endpoint, *extra)
        ]


def test_a_path_alone_is_a_unix_socket(short_path: Path) -> None:
    paths = [f"{short_path}/second.sock", f"{short_path}/third.sock?mode=0600"]
    with EmbeddedDaemon(KETTLE, short_path, endpoints=paths) as daemon:
        assert ask(short_path / "second.sock", "repeat", [1])["arguments"] == 1
        assert (short_path / "third.sock").stat().st_mode & 0o777 == 0o600
        assert f"Kettle: listening on unix:{short_path}/second.sock" in daemon.stderr


def test_a_port_that_the_system_chose_is_told(short_path: Path) -> None:
    with EmbeddedDaemon(KETTLE, short_path, endpoints=["http://127.0.0.1:0"]) as daemon:
        assert poll(lambda: "listening on http://127.0.0.1:" in daemon.stderr)
        port = int(daemon.stderr.rsplit(":", 1)[1])
        assert post(port, b'{"command": "repeat", "arguments": [1]}').status == 200


def test_a_configuration_file_may_name_all_channels(short_path: Path) -> None:
    file = short_path / "kettle.conf"
    control = {"socket-type": "unix", "socket-name": f"{short_path}/s"}
    file.write_text(json.dumps({"Kettle": {"control-socket": control}}))
    program = BridleProgram(["run", KETTLE, "-c", file], short_path, name="kettle")
    program.ready = lambda: "listening on" in program.stderr  # type: ignore[method-assign]
    with program:
        assert ask(short_path / "s", "repeat", [1])["arguments"] == 1


@pytest.mark.parametrize("mode", ["0600", "0660", "666"])
def test_the_mode_of_a_socket_is_what_was_asked_for(short_path: Path, mode: str) -> None:
    path = short_path / "second.sock"
    endpoint = f"unix:{path}?mode={mode}&allow-world-writable=yes"
    with EmbeddedDaemon(KETTLE, short_path, endpoints=[endpoint]) as daemon:
        assert path.stat().st_mode & 0o777 == int(mode, 8)
        assert daemon.socket.stat().st_mode & 0o777 == 0o660


def test_a_module_in_the_working_directory_is_found(short_path: Path) -> None:
    (short_path / "my_daemon.py").write_text("import bridle\nclass Mine(bridle.Daemon):\n    version = '9'\n")
    program = EmbeddedDaemon("my_daemon:Mine", short_path)
    with program:
        assert ask(program.socket, "version-get")["text"] == "9"


def test_ctrl_c_ends_it_with_success(short_path: Path) -> None:
    argv = [sys.executable, "-m", "bridle", "run", KETTLE, f"unix:{short_path}/s"]
    with subprocess.Popen(
        argv, stderr=subprocess.PIPE, env=bridle_environment(), start_new_session=True, text=True
    ) as process:
        assert process.stderr is not None
        assert "listening on" in process.stderr.readline()
        os.killpg(process.pid, signal.SIGINT)
        _, rest = process.communicate(timeout=COMMAND_SECONDS)
    assert process.returncode == 0
    assert "Traceback" not in rest
    assert list(short_path.iterdir()) == []


def test_faults_are_logged_one_line_an_event(short_path: Path) -> None:
    (short_path / "my_daemon.py").write_text(
        "import bridle\n"
        "class Mine(bridle.Daemon):\n"
        "    @bridle.command\n"
        "    def fall(self) -> None:\n"
        "        raise RuntimeError('ouch\\nand more')\n"
    )
    daemon = EmbeddedDaemon("my_daemon:Mine", short_path)
    daemon.start()
    try:
        assert ask(daemon.socket, "fall") == {"result": 1, "text": "ouch\nand more"}
        assert poll(lambda: "command 'fall' failed" in daemon.stderr)
        [line] = [line for line in daemon.stderr.splitlines() if "listening on" not in line]
    finally:
        assert daemon.stop() == 0
    assert "level=error" in line
    assert "logger=bridle.core" in line
    assert "RuntimeError" in line
