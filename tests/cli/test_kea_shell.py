"""``bridle kea-shell``: what it sends, what it prints, and how it fails. Kea's own is beside it where it is
installed; both together against Kea's agent are in ``tests/interop``."""

from __future__ import annotations

import base64
import json
import socket
import ssl
import subprocess
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
import trustme
from click.testing import CliRunner

from bridle.cli.kea_shell import command
from tests.support.bridle import command_line
from tests.support.programs import free_port, require

SECONDS = 20.0


class Agent:
    """An agent that remembers the requests it gets, and answers what it is told."""

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        self.status = 200
        self.answer = b'[ { "result": 0 } ]'
        self.paths: list[str] = []
        self.bodies: list[bytes] = []
        self.headers: list[dict[str, str]] = []
        self._server = HTTPServer(("127.0.0.1", 0), self._handler())
        if tls is not None:
            self._server.socket = tls.wrap_socket(self._server.socket, server_side=True)
        self.port = str(self._server.server_address[1])
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))

    def __enter__(self) -> Agent:
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._server.shutdown()
        self._thread.join(SECONDS)
        self._server.server_close()

    def _handler(agent) -> type[BaseHTTPRequestHandler]:  # noqa: N805
        class Handler(BaseHTTPRequestHandler):
            timeout = SECONDS

            def do_POST(self) -> None:
                agent.paths.append(self.path)
                agent.headers.append({name.lower(): value for name, value in self.headers.items()})
                agent.bodies.append(self.rfile.read(int(self.headers["Content-Length"])))
                self.send_response(agent.status)
                self.send_header("Content-Length", str(len(agent.answer)))
                self.end_headers()
                self.wfile.write(agent.answer)

            def log_message(self, *_arguments: object) -> None:
                pass

        return Handler


@pytest.fixture
def agent() -> Iterator[Agent]:
    with Agent() as running:
        yield running


def kea_shell(*words: str | Path, stdin: str | bytes = b"") -> tuple[int, bytes]:
    """Exit status and standard output."""
    done = CliRunner().invoke(command, [*map(str, words)], input=stdin, standalone_mode=False)
    assert done.exception is None or isinstance(done.exception, SystemExit)
    status = done.return_value if done.exception is None else done.exit_code
    return int(status), done.stdout_bytes


def test_the_answer_is_printed_as_it_came(agent: Agent) -> None:
    agent.answer = b'[ { "arguments": {  }, "result": 0 , "text": "\xc3\xa9 1e+10.0" }]'

    assert kea_shell("--port", agent.port, "status-get") == (0, agent.answer + b"\n")


@pytest.mark.parametrize(
    ("stdin", "sent"),
    [
        (b"", b'{ "command": "config-write" }'),
        (b"\n", b'{ "command": "config-write" }'),
        (b'"filename": "x"', b'{ "command": "config-write", "arguments": { "filename": "x" } }'),
        (b'"a": 1,\n"b": [\n ]\n', b'{ "command": "config-write", "arguments": { "a": 1,\n"b": [\n ]\n } }'),
        (b"# why\n", b'{ "command": "config-write", "arguments": { # why\n } }'),
        (
            '"é": "€"'.encode(),
            '{ "command": "config-write", "arguments": { "é": "€" } }'.encode(),
        ),
        (b'"\xff"', b'{ "command": "config-write", "arguments": { "\xff" } }'),
        (b'"a": }', b'{ "command": "config-write", "arguments": { "a": } } }'),
    ],
    ids=["nothing", "empty line", "one", "several lines", "comment", "not ASCII", "not UTF-8", "not JSON"],
)
def test_standard_input_is_sent_as_it_was_typed(agent: Agent, stdin: bytes, sent: bytes) -> None:
    assert kea_shell("--port", agent.port, "config-write", stdin=stdin)[0] == 0

    assert agent.bodies == [sent]


@pytest.mark.parametrize(
    ("words", "sent"),
    [
        ([], {"command": "list-commands"}),
        (["a", "--service", "dhcp4"], {"command": "a", "service": ["dhcp4"]}),
        (["--service", "d2", "--service=dhcp4", "a"], {"command": "a", "service": ["d2", "dhcp4"]}),
        (["a", "--service"], {"command": "a"}),
        (["--service", "", "a"], {"command": "a"}),
        (["--serv", "d2", "a"], {"command": "a", "service": ["d2"]}),
        (['a", "b": "c'], {"command": 'a", "b": "c'}),
    ],
)
def test_the_command_goes_to_the_services_that_are_named(
    agent: Agent, words: list[str], sent: dict[str, object]
) -> None:
    assert kea_shell("--port", agent.port, *words)[0] == 0

    assert [json.loads(body) for body in agent.bodies] == [sent]


def test_a_path_can_be_asked_for(agent: Agent) -> None:
    kea_shell("--port", agent.port)
    kea_shell("--port", agent.port, "--path", "kea/api?x=1")

    assert agent.paths == ["/", "/kea/api?x=1"]


def test_an_agent_on_ipv6_can_be_named_with_and_without_brackets() -> None:
    try:
        taken = socket.create_server(("::1", 0), family=socket.AF_INET6)
    except OSError:
        pytest.skip("no IPv6 here")
    port = str(taken.getsockname()[1])
    taken.close()

    for host in ("::1", "[::1]"):
        assert kea_shell("--host", host, "--port", port) == (
            1,
            b"Failed to run: <urlopen error [Errno 111] Connection refused>\n",
        )


def test_credentials_come_from_options_or_files(agent: Agent, tmp_path: Path) -> None:
    user, password = tmp_path / "user", tmp_path / "password"
    user.write_text("admin\n")
    password.write_text("p:ä w\r\nsecond line\n")

    kea_shell("--port", agent.port)
    kea_shell("--port", agent.port, "--auth-password", "without a user")
    kea_shell("--port", agent.port, "--auth-user", "admin", "--auth-password", "p:ä w")
    kea_shell("--port", agent.port, "--auth-user", "admin", "--auth-password-file", password)
    kea_shell("--port", agent.port, "--auth-user-file", user, "--auth-password-file", password)
    kea_shell("--port", agent.port, "--auth-user", "admin")

    full = "Basic " + base64.b64encode("admin:p:ä w".encode()).decode()
    sent = [headers.get("authorization") for headers in agent.headers]
    assert sent == [None, None, full, full, full, "Basic " + base64.b64encode(b"admin:").decode()]


def test_a_password_file_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    status, output = kea_shell("--auth-user", "admin", "--auth-password-file", tmp_path / "missing")

    assert status == 1
    assert output.startswith(b"Failed to run: ")
    assert b"missing" in output


@pytest.mark.parametrize(
    ("status", "text"),
    [(401, b"Unauthorized"), (400, b"Bad Request"), (500, b"Internal Server Error"), (599, b"")],
)
def test_an_http_error_is_a_failure(agent: Agent, status: int, text: bytes) -> None:
    agent.status = status

    assert kea_shell("--port", agent.port) == (1, b"Failed to run: HTTP Error %d: %b\n" % (status, text))


def test_a_server_that_hangs_up_is_a_failure() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(SECONDS)

        def hang_up() -> None:
            channel, _ = server.accept()
            with channel:
                channel.settimeout(SECONDS)
                channel.recv(65536)

        thread = threading.Thread(target=hang_up)
        thread.start()
        outcome = kea_shell("--port", str(server.getsockname()[1]))
        thread.join(SECONDS)

    assert outcome == (1, b"Failed to run: Remote end closed connection without response\n")


def test_a_server_that_is_no_http_server_is_a_failure(agent: Agent) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(SECONDS)

        def talk() -> None:
            channel, _ = server.accept()
            with channel:
                channel.sendall(b"220 mail.example.com ESMTP\r\n")
                channel.settimeout(SECONDS)
                channel.recv(65536)

        thread = threading.Thread(target=talk)
        thread.start()
        status, output = kea_shell("--port", str(server.getsockname()[1]))
        thread.join(SECONDS)

    assert status == 1
    assert output.startswith(b"Failed to run: ")


def test_a_silent_server_is_given_up() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = str(silent.getsockname()[1])

        assert kea_shell("--port", port, "--timeout", "1") == (1, b"Connection timeout\n")


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["--cert", "c"], b"--cert and --key must be used together\n"),
        (["--key", "k"], b"--cert and --key must be used together\n"),
        (["--cert", "c", "--key", "k"], b"--cert and --key with HTTPS disabled (no --ca)\n"),
        (["--ca", "/no/such/file"], b"Failed to run: [Errno 2] No such file or directory\n"),
        (["--host", "a" * 70], b"Failed to run: "),
        (["--port", "70000"], b"Failed to run: "),
        (["--path", "a b\n"], b"Failed to run: "),
    ],
)
def test_options_that_cannot_work_are_a_failure(words: list[str], text: bytes) -> None:
    status, output = kea_shell(*words)

    assert status == 1
    assert output.startswith(text)


@pytest.mark.parametrize("words", [["--port", "x"], ["--timeout", "1.5"], ["--nonsense"], ["a", "b"]])
def test_wrong_usage_exits_with_two(words: list[str]) -> None:
    assert kea_shell(*words) == (2, b"")


def test_v_prints_a_version() -> None:
    assert kea_shell("-v") == (0, b"2.2.0\n")


class TestHttps:
    """HTTPS, with an authority of the test's own."""

    @pytest.fixture
    def authority(self) -> trustme.CA:
        return trustme.CA()

    @pytest.fixture
    def https(self, authority: trustme.CA) -> Iterator[Agent]:
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert("127.0.0.1").configure_cert(tls)
        with Agent(tls) as running:
            yield running

    def test_an_agent_is_trusted_through_its_authority(
        self, https: Agent, authority: trustme.CA, tmp_path: Path
    ) -> None:
        authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))

        outcome = kea_shell("--port", https.port, "--ca", tmp_path / "ca.pem")

        assert outcome == (0, https.answer + b"\n")

    def test_an_agent_of_another_authority_gets_nothing(self, https: Agent, tmp_path: Path) -> None:
        trustme.CA().cert_pem.write_to_path(str(tmp_path / "ca.pem"))

        status, output = kea_shell("--port", https.port, "--ca", tmp_path / "ca.pem", stdin='"secret": 1')

        assert status == 1
        assert output.startswith(b"Failed to run: <urlopen error [SSL: CERTIFICATE_VERIFY_FAILED]")
        assert https.bodies == []


@pytest.mark.peers("kea-shell")
@pytest.mark.parametrize("status", [200, 401])
@pytest.mark.parametrize(
    ("words", "stdin"),
    [
        ([], ""),
        (["config-write"], '"filename": "x"\n'),
        (["config-set", "--service", "d2"], '# a comment\n"a": {\n\t"b": [ 1 ] }\n\n'),
        (["--service", "a", "--service", "b", "--path", "x/y", "c"], "\n"),
        (["--auth-user", "u", "--auth-password", "p:w", "--service"], "x"),
    ],
)
def test_keas_own_sends_and_prints_the_same(agent: Agent, words: list[str], stdin: str, status: int) -> None:
    agent.status = status
    theirs = subprocess.run(
        [str(require("kea-shell")), "--port", agent.port, *words],
        input=stdin,
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )

    ours = command_line("kea-shell", "--port", agent.port, *words, stdin=stdin)

    assert (ours.returncode, ours.stdout) == (theirs.returncode, theirs.stdout)
    for sent in ([json_if_it_is(body) for body in agent.bodies], agent.paths, credentials(agent)):
        assert sent[0] == sent[1]


def json_if_it_is(body: bytes) -> object:
    try:
        return json.loads(body)
    except ValueError:
        return body.replace(b'","', b'", "')


def credentials(agent: Agent) -> list[str | None]:
    return [headers.get("authorization") for headers in agent.headers]


@pytest.mark.peers("kea-shell")
def test_keas_own_prints_the_same_where_nobody_listens() -> None:
    words = ["--port", str(free_port()), "status-get"]
    theirs = subprocess.run(
        [str(require("kea-shell")), *words],
        input="",
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )

    ours = command_line("kea-shell", *words)

    assert (ours.returncode, ours.stdout, ours.stderr) == (theirs.returncode, theirs.stdout, theirs.stderr)
