"""``bridle call``: one command, its answer on standard output, its result as the exit status."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import trustme

from bridle.access.tokens import TokenFile
from tests.support.bridle import COMMAND_SECONDS, Agent, EmbeddedDaemon, bridle_environment, command_line
from tests.support.kea import JSON, listener, post, replying
from tests.support.programs import free_port, short_directory
from tests.support.terminal import Terminal

USAGE, UNAVAILABLE, TIMED_OUT, PROTOCOL, INTERRUPTED = 64, 69, 75, 76, 130


@pytest.fixture(scope="module")
def kettle() -> Iterator[EmbeddedDaemon]:
    """A daemon to call."""
    with short_directory() as folder, EmbeddedDaemon("tests.support.kettle:Kettle", folder) as daemon:
        yield daemon


@pytest.fixture(scope="module")
def front(kettle: EmbeddedDaemon) -> Iterator[Agent]:
    """An agent in front of it, and of a service that is away."""
    services = {"kettle": kettle.socket, "away": kettle.directory / "away.sock"}
    with Agent(kettle.directory, services) as agent:
        yield agent


@contextlib.contextmanager
def saying(folder: Path, answer: bytes) -> Iterator[str]:
    """The endpoint of a daemon that answers everything the same."""
    with listener(folder / "s", replying(answer)):
        yield f"unix:{folder}/s"


@contextlib.contextmanager
def answering(reply: bytes) -> Iterator[str]:
    """The endpoint of a TCP server that sends every client the same and hangs up."""

    def serve() -> None:
        with contextlib.suppress(OSError):  # it is closed
            while True:
                channel, _ = server.accept()
                with channel:
                    channel.settimeout(COMMAND_SECONDS)
                    channel.recv(65536)
                    channel.sendall(reply)

    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.getsockname()[1]}"
        finally:
            server.shutdown(socket.SHUT_RDWR)
            thread.join(COMMAND_SECONDS)


# Arguments.


@pytest.mark.parametrize(
    ("words", "value"),
    [
        (["value=21.5"], 21.5),
        (["value=two words"], "two words"),
        (['value="5"'], "5"),
        (["21.5"], 21.5),
        (["-5"], -5),
        (["-1.5e-3"], -0.0015),
        (["--timeout", "5", "-5"], -5),
        (["--", "-x"], "-x"),
        (["--", "--flag"], "--flag"),
        (["--", "--json"], "--json"),
        (['{"value": {"a": [1, "é"]}}'], {"a": [1, "é"]}),
        (["[[1, 2]]"], [1, 2]),
        ([""], ""),
    ],
)
def test_arguments_arrive_as_they_were_meant(kettle: EmbeddedDaemon, words: list[str], value: JSON) -> None:
    ended = command_line("call", kettle.endpoint, "repeat", *words)
    assert (ended.returncode, ended.stderr) == (0, "")
    assert json.loads(ended.stdout) == {"result": 0, "arguments": value}


def test_arguments_may_come_from_standard_input_or_a_file(kettle: EmbeddedDaemon, tmp_path: Path) -> None:
    ended = command_line("call", kettle.endpoint, "repeat", "-", stdin='{ "value": "piped" }')
    assert json.loads(ended.stdout)["arguments"] == "piped"
    (tmp_path / "a.json").write_text('["filed"]')
    ended = command_line("call", kettle.endpoint, "repeat", f"@{tmp_path}/a.json")
    assert json.loads(ended.stdout)["arguments"] == "filed"


def test_a_path_alone_is_a_unix_socket(kettle: EmbeddedDaemon) -> None:
    assert command_line("call", kettle.socket, "repeat", "1").returncode == 0
    assert command_line("call", os.path.relpath(kettle.socket), "repeat", "1").returncode == 0


def test_options_may_stand_anywhere_before_the_double_dash(kettle: EmbeddedDaemon) -> None:
    ended = command_line("call", "--timeout", "5", kettle.endpoint, "--json", "repeat", "1", "--timeout=6")
    assert json.loads(ended.stdout) == {"result": 0, "arguments": 1}


# Results.


@pytest.mark.parametrize(
    ("result", "status"), [(0, 0), (1, 1), (2, 2), (3, 3), (4, 4), (5, 5), (6, 1), (17, 1), (-1, 1)]
)
def test_the_exit_status_is_the_result(short_path: Path, result: int, status: int) -> None:
    with saying(short_path, b'{ "result": %d, "text": "so" }' % result) as endpoint:
        ended = command_line("call", endpoint, "foo")
    assert ended.returncode == status
    assert json.loads(ended.stdout) == {"result": result, "text": "so"}
    assert ended.stderr == ""


def test_several_services_give_a_list_and_the_highest_of_their_results(front: Agent) -> None:
    words = ["call", front.endpoint, "repeat", "7"]
    ended = command_line(*words, "--service", "kettle", "--service", "kettle")
    assert ended.returncode == 0
    assert json.loads(ended.stdout) == [{"result": 0, "arguments": 7}] * 2
    ended = command_line(*words, "--service", "kettle", "--service", "away")
    assert ended.returncode == 1
    first, second = json.loads(ended.stdout)
    assert first == {"result": 0, "arguments": 7}
    assert "unable to forward command to the away service" in second["text"]
    ended = command_line("call", front.endpoint, "foo", "--service", "kettle", "--service", "away")
    assert ended.returncode == 2


def test_an_agent_answers_for_itself_without_a_service(front: Agent) -> None:
    ended = command_line("call", front.endpoint, "version-get")
    assert ended.returncode == 0
    assert isinstance(json.loads(ended.stdout), dict)


# When there is no answer.


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ([], "Missing argument 'ENDPOINT'"),
        (["unix:/tmp/s"], "Missing argument 'COMMAND'"),
        (["nonsense", "x"], "endpoint 'nonsense' is not TRANSPORT:ADDRESS"),
        (["t.sock", "x"], "did you mean unix:t.sock?"),
        (
            ["udp:127.0.0.1:1", "x"],
            "cannot connect to 'udp:127.0.0.1:1': kea travels on unix, tcp, http, https",
        ),
        (["binrpc+http://127.0.0.1:1", "x"], "binrpc travels on unix, unixd, tcp, udp"),
        (["unix:/tmp/s", "x", "a=1", "b"], "'b' is not KEY=VALUE"),
        (["unix:/tmp/s", "x", "--forced"], "--forced"),
        (["unix:/tmp/s", "x", "-f"], "-f"),
        (["unix:/tmp/s", "x", "{"], "the arguments are not JSON"),
        (["unix:/tmp/s", "x", "@/no/such"], "cannot read /no/such"),
        (["unix:/tmp/s", "caf\udce9"], "is not UTF-8"),
        (["unix:/tmp/s", "x", "--service", "caf\udce9"], "is not UTF-8"),
        (["unix:/tmp/s", "x", "--timeout", "soon"], "'soon' is not a valid float"),
        (["unix:/tmp/s", "x", "--timeout", "0"], "0 is not more than 0 and at most 86400 seconds"),
        (["unix:/tmp/s", "x", "--timeout", "-1"], "not more than 0"),
        (["unix:/tmp/s", "x", "--timeout", "nan"], "nan is not more than 0"),
        (["unix:/tmp/s", "x", "--timeout", "inf"], "inf is not more than 0"),
        (["http://127.0.0.1:1", "x", "--user", "a", "--password-file", "/no"], "cannot read the password"),
        (["http://127.0.0.1:1", "x", "--token-file", "/no"], "cannot read the token"),
        (["http://127.0.0.1:1", "x", "--token-file", "/dev/null"], "the first line is empty, and no token"),
        (["http://127.0.0.1:1", "x", "--token-file", __file__], "a bearer token has letters"),
        (["http://127.0.0.1:1", "x", "--token-file", "/no", "--user", "amy"], "not both"),
        (["https://127.0.0.1:1", "x", "--ca", "/no/such"], "load of CA file '/no/such' failed"),
        (["https://127.0.0.1:1", "x", "--cert", "/no/such"], "load of cert file '/no/such' failed"),
    ],
)
def test_wrong_usage_ends_with_64(words: list[str], says: str) -> None:
    ended = command_line("call", *words)
    assert (ended.returncode, ended.stdout) == (USAGE, "")
    assert says in " ".join(ended.stderr.split())
    assert "Traceback" not in ended.stderr


def test_a_daemon_that_cannot_be_reached_ends_with_69(short_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as stale:
        stale.bind(str(short_path / "stale"))
    for endpoint, says in (
        (f"unix:{short_path}/none", f"bridle: No such file or directory [unix:{short_path}/none]\n"),
        (f"unix:{short_path}/stale", f"bridle: Connection refused [unix:{short_path}/stale]\n"),
        (
            f"http://127.0.0.1:{(port := free_port())}",
            f"bridle: Connection refused [http://127.0.0.1:{port}]\n",
        ),
        ("http://no.such.host.invalid:1", "no.such.host.invalid"),
        (f"unix:{short_path}/{'x' * 200}", "too long"),
    ):
        ended = command_line("call", endpoint, "x")
        assert (ended.returncode, ended.stdout) == (UNAVAILABLE, "")
        assert says in ended.stderr
        assert "Traceback" not in ended.stderr


def test_a_daemon_that_hangs_up_ends_with_69(short_path: Path) -> None:
    with saying(short_path, b"") as endpoint:
        ended = command_line("call", endpoint, "x")
    assert (ended.returncode, ended.stderr) == (UNAVAILABLE, f"bridle: End of file [{endpoint}]\n")


def wait_for_the_end(channel: socket.socket) -> None:
    """Say nothing until the client hangs up."""
    while channel.recv(65536):
        pass


def test_a_daemon_that_is_silent_ends_with_75(short_path: Path) -> None:
    with listener(short_path / "s", wait_for_the_end):
        ended = command_line("call", f"unix:{short_path}/s", "x", "--timeout", "0.2")
    assert (ended.returncode, ended.stdout) == (TIMED_OUT, "")
    assert ended.stderr == f"bridle: no answer in time [unix:{short_path}/s]\n"


@pytest.mark.parametrize(
    "answer",
    [b'{ "result": 0', b"hello", b'{ "text": "x" }', b"[ 1 ]", b'{ "result": "x" }', b"\xff\xfe", b"\0"],
)
def test_an_answer_without_sense_ends_with_76(short_path: Path, answer: bytes) -> None:
    with saying(short_path, answer) as endpoint:
        ended = command_line("call", endpoint, "x")
    assert (ended.returncode, ended.stdout) == (PROTOCOL, "")
    assert ended.stderr.startswith("bridle: ")
    assert "Traceback" not in ended.stderr


@pytest.mark.parametrize("body", [b"[  ]", b'[ { "result": 0 }, { "result": 0 }, { "result": 0 } ]'])
def test_an_agent_that_answers_for_too_few_or_too_many_ends_with_76(body: bytes) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        words = ["call", f"http://127.0.0.1:{port}", "x", "--service", "a", "--service", "b"]
        argv = [sys.executable, "-m", "bridle", *words]
        with subprocess.Popen(
            argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=bridle_environment(), text=True
        ) as process:
            server.settimeout(COMMAND_SECONDS)
            channel, _ = server.accept()
            with channel:
                channel.settimeout(COMMAND_SECONDS)
                channel.recv(65536)
                channel.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))
                out, err = process.communicate(timeout=COMMAND_SECONDS)
    count = body.count(b"result")
    assert (process.returncode, out) == (PROTOCOL, "")
    assert f"2 answers were expected, {count} came" in err


def test_an_interrupt_ends_with_130(short_path: Path) -> None:
    asked = threading.Event()

    def converse(channel: socket.socket) -> None:
        channel.recv(65536)
        asked.set()
        wait_for_the_end(channel)

    argv = [sys.executable, "-m", "bridle", "call", f"unix:{short_path}/s", "x"]
    with (
        listener(short_path / "s", converse),
        subprocess.Popen(
            argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=bridle_environment(), text=True
        ) as process,
    ):
        assert asked.wait(COMMAND_SECONDS)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=COMMAND_SECONDS)
    assert (process.returncode, out) == (INTERRUPTED, "")
    assert "Traceback" not in err


# Where the answer goes.


def test_a_reader_that_has_seen_enough_is_no_error(kettle: EmbeddedDaemon, tmp_path: Path) -> None:
    large = json.dumps(["x" * 100] * 20000)
    (tmp_path / "large.json").write_text(f'{{"value": {large}}}')
    for arguments in ("1", f"@{tmp_path}/large.json"):
        script = f'"$0" -m bridle call {kettle.endpoint} repeat {arguments} | true; echo "${{PIPESTATUS[0]}}"'
        argv = ["bash", "-c", script, sys.executable]
        ended = subprocess.run(
            argv,
            capture_output=True,
            text=True,
            timeout=COMMAND_SECONDS,
            env=bridle_environment(),
            check=False,
        )
        assert (ended.stdout, ended.stderr) == ("0\n", "")


def test_a_terminal_shows_it_for_people_and_a_pipe_gets_json(kettle: EmbeddedDaemon) -> None:
    words = ("call", kettle.endpoint, "repeat", '{"value": {"b": 1, "a": [true]}}')
    with Terminal(*words) as terminal:
        assert terminal.wait() == 0
        assert terminal.text.split("\n") == ["a:", "  - true", "b: 1", ""]
    assert json.loads(command_line(*words).stdout)["arguments"] == {"b": 1, "a": [True]}


def test_a_terminal_gets_json_where_that_is_asked_for(kettle: EmbeddedDaemon) -> None:
    with Terminal("call", kettle.endpoint, "repeat", "1", "--json") as terminal:
        assert terminal.wait() == 0
        assert json.loads(terminal.text) == {"result": 0, "arguments": 1}


def test_a_terminal_shows_each_service_by_its_name(front: Agent) -> None:
    words = ["--service", "kettle", "--service", "away"]
    with Terminal("call", front.endpoint, "repeat", "x", *words, columns=200) as terminal:
        assert terminal.wait() == 1
        lines = terminal.text.split("\n")
    assert lines[:3] == ["kettle:", "x", "away:"]
    assert lines[3].startswith("error 1: unable to forward command to the away service")


def test_a_narrow_terminal_is_not_overrun(kettle: EmbeddedDaemon) -> None:
    rows = json.dumps([{"name": "n" * 60, "value": 1}, {"name": "m", "value": 2}])
    with Terminal("call", kettle.endpoint, "repeat", f'{{"value": {rows}}}', columns=30) as terminal:
        assert terminal.wait() == 0
        assert max(len(line) for line in terminal.text.split("\n")) <= 30
        assert terminal.text.count("n") == 61


def test_nothing_that_steers_a_terminal_gets_there(short_path: Path) -> None:
    evil = "\x1b]0;title\x07\x1b[2J\x9b31m\u202e"
    answer = json.dumps({"result": 1, "text": evil, "arguments": {evil: evil}}).encode()
    with saying(short_path, answer) as endpoint:
        raw = on_terminal("call", endpoint, "x")
    assert raw.count("title") == 3
    assert not set(raw) & set("\x1b\x07\x9b\u202e")
    raw = on_terminal("call", f"unix:{short_path}/\x1b[31mred", "x")
    assert "red" in raw
    assert "\x1b" not in raw


def on_terminal(*words: str, typed: str = "") -> str:
    """All that a command line writes to a terminal, as it is. What is typed is typed at its prompt."""
    master, slave = pty.openpty()
    try:
        argv = [sys.executable, "-m", "bridle", *words]
        with subprocess.Popen(
            argv, stdin=slave, stdout=slave, stderr=slave, env=bridle_environment(), start_new_session=True
        ) as process:
            os.close(slave)
            shown = b""
            with contextlib.suppress(OSError):  # the other side is closed
                while piece := os.read(master, 65536):
                    shown += piece
                    if typed and shown.endswith(b": "):
                        os.write(master, typed.encode())
                        typed = ""
            process.wait(COMMAND_SECONDS)
    finally:
        os.close(master)
    return shown.decode()


# Who asks.


@pytest.fixture(scope="module")
def locked() -> Iterator[Agent]:
    """An agent that asks for a password."""
    clients: JSON = [{"user": "amy", "password": "pâss"}]
    with short_directory() as folder:
        tokens = folder / "tokens.json"
        (folder / "token").write_text(TokenFile(tokens).create("ci"))
        settings: dict[str, JSON] = {"authentication": {"clients": clients, "tokens": str(tokens)}}
        with Agent(folder, {}, settings) as agent:
            yield agent


def test_a_password_comes_from_a_file_or_from_the_url(locked: Agent, tmp_path: Path) -> None:
    file = tmp_path / "password"
    file.write_text("pâss\nsecond line\n")
    words = ["call", locked.endpoint, "version-get"]
    assert command_line(*words, "--user", "amy", "--password-file", file).returncode == 0
    url = locked.endpoint.replace("http://", "http://amy:p%C3%A2ss@")
    assert command_line("call", url, "version-get").returncode == 0
    ended = command_line(*words)
    assert ended.returncode == 1
    assert json.loads(ended.stdout) == {"result": 1, "text": "Unauthorized (HTTP 401)"}
    file.write_text("wrong")
    assert command_line(*words, "--user", "amy", "--password-file", file).returncode == 1


def test_a_token_comes_from_a_file(locked: Agent) -> None:
    file = locked.directory / "token"
    ended = command_line("call", locked.endpoint, "version-get", "--token-file", file)
    assert (ended.returncode, ended.stderr) == (0, "")
    ended = command_line("shell", locked.endpoint, "--token-file", file, stdin="version-get\n")
    assert (ended.returncode, ended.stderr) == (0, "")


@pytest.mark.parametrize("words", [["call", "version-get"], ["shell"]])
def test_who_is_not_known_is_told_how_to_say_who_asks(
    locked: Agent, tmp_path: Path, words: list[str]
) -> None:
    name, *command = words
    ended = command_line(name, locked.endpoint, *command, stdin="version-get\n")
    assert ended.stderr == (
        "bridle: the server asks who you are: --user NAME, with --password-file FILE, or --token-file FILE\n"
    )
    assert json.loads(ended.stdout)["text"] == "Unauthorized (HTTP 401)"
    (tmp_path / "wrong").write_text("wrong")
    who = ["--user", "amy", "--password-file", str(tmp_path / "wrong")]
    ended = command_line(name, locked.endpoint, *command, *who, stdin="version-get\n")
    assert ended.stderr == "bridle: the server does not know this user, or the password is another\n"
    ended = command_line(
        name, locked.endpoint, *command, "--token-file", tmp_path / "wrong", stdin="version-get\n"
    )
    assert ended.stderr == "bridle: the server does not know this token: revoked, or past its time?\n"


def test_who_asks_too_much_is_told_how_long_to_wait() -> None:
    reply = b"HTTP/1.1 429 Too Many Requests\r\nRetry-After: 7\r\nContent-Length: 0\r\n\r\n"
    with answering(reply) as endpoint:
        ended = command_line("call", endpoint, "x")
    assert ended.returncode == 1
    assert json.loads(ended.stdout)["text"] == "HTTP 429, try again after 7 s"


def test_a_password_is_asked_for_on_a_terminal_and_not_shown(locked: Agent) -> None:
    shown = on_terminal("call", locked.endpoint, "version-get", "--user", "amy", "--json", typed="pâss\n")
    prompt, answer = shown.split("Password: ")
    assert prompt == ""
    assert json.loads(answer)["result"] == 0
    assert "pâss" not in answer


def test_a_password_is_not_asked_for_where_nobody_can_type_it(locked: Agent) -> None:
    argv = [sys.executable, "-m", "bridle", "call", locked.endpoint, "version-get", "--user", "amy"]
    ended = subprocess.run(
        argv,
        input="pâss\n",
        capture_output=True,
        text=True,
        timeout=COMMAND_SECONDS,
        env=bridle_environment(),
        check=False,
        start_new_session=True,
    )
    assert (ended.returncode, ended.stdout) == (USAGE, "")
    assert ended.stderr == (
        "bridle: a password is needed, and there is no terminal to ask on: name a file with --password-file\n"
    )


def test_certificates_are_named_by_options(short_path: Path) -> None:
    authority = trustme.CA()
    for name, identity in (("server", "127.0.0.1"), ("client", "amy@example.org")):
        certificate = authority.issue_cert(identity)
        certificate.private_key_pem.write_to_path(str(short_path / f"{name}.key"))
        certificate.cert_chain_pems[0].write_to_path(str(short_path / f"{name}.pem"))
    ca, cert, key = (str(short_path / name) for name in ("ca.pem", "client.pem", "client.key"))
    authority.cert_pem.write_to_path(ca)
    server: dict[str, JSON] = {
        "trust-anchor": ca,
        "cert-file": str(short_path / "server.pem"),
        "key-file": str(short_path / "server.key"),
    }
    with Agent(short_path, {}, server) as agent:
        words = ["call", f"https://127.0.0.1:{agent.port}", "version-get"]
        assert command_line(*words, "--ca", ca, "--cert", cert, "--key", key).returncode == 0
        ended = command_line(*words, "--cert", cert, "--key", key)
        assert ended.returncode == UNAVAILABLE
        assert "certificate verify failed" in ended.stderr
        assert ended.stderr.endswith("; whom to trust is said with --ca FILE\n")
        ended = command_line(*words, "--ca", ca)
        assert ended.returncode == UNAVAILABLE
        assert ended.stderr.endswith("; if it asks for a certificate: --cert FILE --key FILE\n")
        ended = command_line(*words, "--ca", ca, "--cert", cert)
        assert ended.returncode == USAGE
        assert ended.stderr == f"bridle: there is no private key in {cert}: name its file with --key\n"
        ended = command_line(*words, "--ca", ca, "--key", key)
        assert (ended.returncode, "--cert" in ended.stderr) == (USAGE, True)
        for endpoint in (f"http://127.0.0.1:{agent.port}", f"tcp:127.0.0.1:{agent.port}"):
            ended = command_line("call", endpoint, "version-get")
            assert ended.returncode == UNAVAILABLE
            assert "; if it speaks TLS: " in ended.stderr
            assert "--ca FILE" in ended.stderr
            shell = command_line("shell", endpoint, stdin="version-get\n")
            assert shell.stderr == ended.stderr


def test_a_server_that_speaks_no_tls_is_told(front: Agent, short_path: Path) -> None:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(short_path / "ca.pem"))
    words = ["call", f"https://127.0.0.1:{front.port}", "version-get", "--ca", short_path / "ca.pem"]
    ended = command_line(*words)
    assert ended.returncode == UNAVAILABLE
    assert ended.stderr.endswith("; it seems to speak no TLS\n")


# What it costs.

HEAVY = {"asyncio", "rich", "prompt_toolkit", "uvloop", "httptools", "structlog", "ssl", "http", "email"}


def test_a_call_on_a_unix_socket_loads_little(kettle: EmbeddedDaemon) -> None:
    argv = [sys.executable, "-X", "importtime", "-m", "bridle", "call", kettle.endpoint, "repeat", "1"]
    ended = subprocess.run(
        argv, capture_output=True, text=True, timeout=COMMAND_SECONDS, env=bridle_environment(), check=True
    )
    loaded = {line.rpartition("|")[2].strip().split(".")[0] for line in ended.stderr.splitlines()}
    assert "bridle" in loaded, "the measure works"
    assert not loaded & HEAVY


def test_a_call_over_http_loads_no_event_loop(front: Agent) -> None:
    argv = [sys.executable, "-X", "importtime", "-m", "bridle", "call", front.endpoint, "version-get"]
    ended = subprocess.run(
        argv, capture_output=True, text=True, timeout=COMMAND_SECONDS, env=bridle_environment(), check=True
    )
    loaded = {line.rpartition("|")[2].strip().split(".")[0] for line in ended.stderr.splitlines()}
    assert not loaded & (HEAVY - {"httptools", "http"})


def test_the_agent_is_the_same_for_others(front: Agent) -> None:
    answer = post(front.port, b'{"command": "repeat", "service": ["kettle"], "arguments": [1]}')
    assert answer.document == [{"arguments": 1, "result": 0}]
