"""``bridle call`` and ``bridle kea-shell`` against real Kea: what they print, and what they exit with."""

from __future__ import annotations

import json
import socket
import subprocess
from pathlib import Path

import pytest

from tests.support import kea
from tests.support.bridle import command_line
from tests.support.programs import free_port, require

DAEMONS = ("kea-dhcp4", "kea-dhcp6", "kea-dhcp-ddns")
USAGE, UNAVAILABLE, TIMED_OUT = 64, 69, 75


def call(*words: str) -> subprocess.CompletedProcess[str]:
    return command_line("call", *words)


def only_answer(completed: subprocess.CompletedProcess[str], where: list[str]) -> dict[str, kea.JSON]:
    """The answer that was printed as JSON: by itself, or in a list where services were named."""
    document = json.loads(completed.stdout)
    if "--service" in where:
        [document] = document
    answer: dict[str, kea.JSON] = document
    return answer


@pytest.mark.peers(*DAEMONS, "kea-ctrl-agent")
class TestCall:
    """``bridle call``"""

    @pytest.fixture(params=["unix", "http"])
    def where(
        self, request: pytest.FixtureRequest, real_kea: kea.RealKea, real_agent: kea.ControlAgent
    ) -> list[str]:
        """The endpoint of kea-dhcp4, and what else it takes to call it."""
        if request.param == "unix":
            return [f"unix:{real_kea.dhcp4}"]
        return [f"http://127.0.0.1:{real_agent.port}", "--service", "dhcp4"]

    def test_json_is_the_whole_answer(self, where: list[str]) -> None:
        completed = call(*where, "version-get", "--json")

        assert completed.returncode == 0
        assert completed.stderr == ""
        answer = only_answer(completed, where)
        assert answer["result"] == 0
        assert isinstance(answer["arguments"], dict)
        assert "extended" in answer["arguments"]

    def test_arguments_are_given_by_name(self, where: list[str]) -> None:
        completed = call(*where, "dhcp-disable", "max-period=20", "--json")

        assert completed.returncode == 0
        assert only_answer(completed, where)["text"] == "DHCPv4 service disabled for 20 seconds"
        assert call(*where, "dhcp-enable").returncode == 0

    def test_arguments_are_given_as_json(self, where: list[str]) -> None:
        completed = call(*where, "leases-reclaim", '{"remove": true}')

        assert completed.returncode == 0
        assert "Reclamation of expired leases is complete." in completed.stdout

    def test_the_answer_is_told_to_a_reader(self, where: list[str]) -> None:
        completed = call(*where, "status-get")

        assert completed.returncode == 0
        assert completed.stderr == ""
        assert "multi-threading-enabled" in completed.stdout
        assert "\x1b" not in completed.stdout

    @pytest.mark.parametrize(
        ("words", "status", "text"),
        [
            (["leases-reclaim"], 1, "Missing mandatory 'remove' parameter."),
            (["leases-reclaim", "remove=maybe"], 1, "'remove' parameter expected to be a boolean."),
            (["no-such-command"], 2, "'no-such-command' command not supported."),
            (["config-backend-pull"], 3, "No config backend."),
        ],
        ids=["error", "wrong type", "unsupported", "empty"],
    )
    def test_the_exit_status_is_the_result(
        self, where: list[str], words: list[str], status: int, text: str
    ) -> None:
        completed = call(*where, *words)

        assert completed.returncode == status
        assert text in completed.stdout + completed.stderr
        assert "Traceback" not in completed.stderr

    def test_several_services_are_told_apart(
        self, real_agent: kea.ControlAgent, real_kea: kea.RealKea
    ) -> None:
        services = ["--service", "d2", "--service", "dhcp4"]
        completed = call(f"http://127.0.0.1:{real_agent.port}", *services, "status-get", "--json")

        assert completed.returncode == 0
        pids = [answer["arguments"]["pid"] for answer in json.loads(completed.stdout)]
        assert pids == [pid_of(real_kea.d2), pid_of(real_kea.dhcp4)]


def pid_of(path: Path) -> kea.JSON:
    status = kea.ask(path, "status-get")["arguments"]
    assert isinstance(status, dict)
    return status["pid"]


def test_call_says_who_cannot_be_reached(short_path: Path) -> None:
    missing = short_path / "missing.sock"
    completed = [call(f"unix:{missing}", "status-get"), call(f"http://127.0.0.1:{free_port()}", "status-get")]

    assert [each.returncode for each in completed] == [UNAVAILABLE, UNAVAILABLE]
    assert str(missing) in completed[0].stderr
    assert "Connection refused" in completed[1].stderr
    assert [each.stdout for each in completed] == ["", ""]


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["unix:/tmp/x"],
        ["nonsense:/tmp/x", "status-get"],
        ["unix:", "status-get"],
        ["unix:/tmp/x", "c", "{bad"],
    ],
    ids=["nothing", "no command", "no such transport", "no path", "bad JSON"],
)
def test_call_says_how_it_is_used(words: list[str]) -> None:
    completed = call(*words)

    assert completed.returncode == USAGE
    assert completed.stderr
    assert "Traceback" not in completed.stderr


def silent(channel: socket.socket) -> None:
    """Read until the other side gives up."""
    while channel.recv(65536):
        pass


def test_call_gives_up_on_a_daemon_that_does_not_answer(short_path: Path) -> None:
    path = short_path / "silent.sock"

    with kea.listener(path, silent):
        completed = call(f"unix:{path}", "status-get", "--timeout", "0.2")

    assert completed.returncode == TIMED_OUT
    assert str(path) in completed.stderr


@pytest.mark.peers(*DAEMONS, "kea-ctrl-agent")
def test_the_shell_reads_one_command_a_line_from_a_pipe(
    real_agent: kea.ControlAgent,
) -> None:
    lines = "use dhcp4\nserver-tag-get\nuse d2\nserver-tag-get\nconfig-write filename=1\n"

    completed = command_line("shell", f"http://127.0.0.1:{real_agent.port}", stdin=lines)

    texts = ("'server-tag-get' command not supported.", "passed parameter 'filename' is not a string")
    assert completed.returncode == 2, "the highest of the results"
    assert completed.stderr == ""
    assert '"server-tag": ""' in completed.stdout
    assert all(json.dumps(text) in completed.stdout for text in texts)


SHELL_CASES: list[tuple[list[str], str]] = [
    ([], ""),
    (["list-commands"], ""),
    (["--service", "dhcp4", "config-get"], ""),
    (["--service", "dhcp6", "build-report"], ""),
    (["--service", "d2", "--service", "dhcp4", "version-get"], ""),
    (["--service"], ""),
    (["--service", ""], ""),
    (["--service", "dhcp4", "dhcp-disable"], '"max-period": 20\n'),
    (["--service", "dhcp4", "dhcp-enable"], '"origin":\n"user"\n'),
    (["--service", "dhcp4", "leases-reclaim"], '"remove": true,\n "more": [ 1, "two", { } ]'),
    (["--service", "dhcp4", "leases-reclaim"], "\n"),
    (["--service", "dhcp4", "leases-reclaim"], "\n\n"),
    (["--service", "dhcp4", "leases-reclaim"], '"remove": }'),
    (["--service", "dhcp4", "no-such-command"], ""),
    (["--service", "bogus", "status-get"], ""),
    (["no-such-command"], ""),
    (["--path", "some/where", "--timeout", "5", "status-get"], ""),
    (["--auth-user", "admin", "--auth-password", "x", "status-get"], ""),
    (["-v"], ""),
    (["--cert", "file"], ""),
    (["--cert", "file", "--key", "file"], ""),
    (["--ca", "/no/such/file", "status-get"], ""),
]


@pytest.mark.peers(*DAEMONS, "kea-ctrl-agent", "kea-shell")
@pytest.mark.parametrize(("words", "stdin"), SHELL_CASES)
def test_our_kea_shell_prints_what_keas_own_prints(
    real_agent: kea.ControlAgent, words: list[str], stdin: str
) -> None:
    arguments = ["--host", "127.0.0.1", "--port", str(real_agent.port), *words]
    theirs = subprocess.run(
        [str(require("kea-shell")), *arguments],
        input=stdin,
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )

    ours = command_line("kea-shell", *arguments, stdin=stdin)

    assert shown(ours) == shown(theirs)


@pytest.mark.peers("kea-shell")
def test_our_kea_shell_fails_as_keas_own_where_nobody_listens() -> None:
    arguments = ["--port", str(free_port()), "status-get"]
    theirs = subprocess.run(
        [str(require("kea-shell")), *arguments],
        input="",
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )

    ours = command_line("kea-shell", *arguments)

    assert shown(ours) == shown(theirs)


def shown(completed: subprocess.CompletedProcess[str]) -> tuple[int, str]:
    return completed.returncode, kea.masked(completed.stdout.encode()).decode()
