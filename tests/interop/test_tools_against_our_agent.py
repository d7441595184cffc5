"""Tools made for Kea work against Bridle, unmodified: they print what they print of Kea's own agent."""

from __future__ import annotations

import json
import re
import subprocess
import urllib.error
import urllib.request
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.support import kea
from tests.support.bridle import Agent, BridleProgram, EmbeddedDaemon
from tests.support.programs import PORT_ATTEMPTS, ROOT, Program, free_port, poll, require

KEA = ("kea-dhcp4", "kea-dhcp6", "kea-dhcp-ddns", "kea-ctrl-agent")
REFERENCE = ROOT.parent / "shared" / "reference" / "kea-control-channel.txt"
"""Kea's own description of the control channel, where the workshop has it; a clone does not."""

TOOL_SECONDS = 20.0
AUTHENTICATION: kea.JSON = {
    "type": "basic",
    "realm": "an interop test",
    "clients": [{"user": "admin", "password": "1234"}, {"user": "o'connor", "password": 'p:"w\\ d'}],
}


def run(name: str, *words: str | Path, stdin: str = "") -> subprocess.CompletedProcess[str]:
    argv = [str(require(name)), *map(str, words)]
    return subprocess.run(
        argv, input=stdin, capture_output=True, text=True, timeout=TOOL_SECONDS, check=False
    )


def printed(completed: subprocess.CompletedProcess[str]) -> tuple[int, str, str]:
    """Exit status and output, but for what differs between two agents that say the same."""
    lines = kea.masked(completed.stdout.encode()).decode().splitlines(keepends=True)
    # Behind Kea's own headers stand ours (``kea-http-headers``).
    output = "".join(line for line in lines if ":" not in line or kea.own_headers([line.partition(":")[0]]))
    return completed.returncode, re.sub(r"(Date|Content-Length): .*", r"\1:", output), completed.stderr


# kea-shell


def kea_shell(port: int, *words: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
    return run("kea-shell", "--port", str(port), *words, stdin=stdin)


SHELL_CASES = [
    (["--service", "dhcp4", "status-get"], ""),
    (["--service", "dhcp6"], ""),
    (["--service", "d2", "config-get"], ""),
    (["--service", "dhcp4", "--service", "d2", "server-tag-get"], ""),
    (["--service", "dhcp4", "dhcp-disable"], '"max-period": 20\n'),
    (["--service", "dhcp4", "dhcp-enable"], '"origin":\n "user"'),
    (["--service", "dhcp4", "leases-reclaim"], '"remove": true'),
    (["--service", "dhcp4", "leases-reclaim"], " "),
    (["--service", "dhcp4", "leases-reclaim"], '"remove": }'),
    (["--service", "dhcp4", "no-such-command"], ""),
    (["--service", "bogus", "list-commands"], ""),
    (["--service", "", "no-such-command"], ""),
    (["no-such-command"], ""),
    (["--path", "any/path", "--service", "d2", "version-get"], ""),
]


@pytest.mark.peers(*KEA, "kea-shell")
@pytest.mark.parametrize(("words", "stdin"), SHELL_CASES)
def test_kea_shell_prints_the_same_of_both_agents(
    agent: Agent, real_agent: kea.ControlAgent, words: list[str], stdin: str
) -> None:
    ours = kea_shell(agent.port, *words, stdin=stdin)

    assert printed(ours) == printed(kea_shell(real_agent.port, *words, stdin=stdin))


@pytest.mark.peers(*KEA, "kea-shell")
def test_kea_shell_asks_the_agent_itself_where_no_service_is_named(
    agent: Agent, real_agent: kea.ControlAgent
) -> None:
    ours, theirs = kea_shell(agent.port), kea_shell(real_agent.port)

    assert ours.returncode == theirs.returncode == 0
    assert set(json.loads(ours.stdout)[0]["arguments"]) >= set(json.loads(theirs.stdout)[0]["arguments"])


@pytest.mark.peers("kea-shell")
def test_kea_shell_logs_in_to_the_agent(thermostat: EmbeddedDaemon, short_path: Path) -> None:
    settings = {"authentication": AUTHENTICATION}
    with Agent(short_path, {"dhcp4": thermostat.socket}, settings) as agent:
        words = ["--service", "dhcp4", "list-commands"]
        welcome = kea_shell(agent.port, "--auth-user", "admin", "--auth-password", "1234", *words)
        odd = kea_shell(agent.port, "--auth-user", "o'connor", "--auth-password", 'p:"w\\ d', *words)
        wrong = kea_shell(agent.port, "--auth-user", "admin", "--auth-password", "12345", *words)
        nobody = kea_shell(agent.port, *words)

    assert [welcome.returncode, odd.returncode, wrong.returncode, nobody.returncode] == [0, 0, 1, 1]
    assert "list-commands" in json.loads(welcome.stdout)[0]["arguments"]
    assert wrong.stdout == nobody.stdout == "Failed to run: HTTP Error 401: Unauthorized\n"


# curl


def curl(*words: str) -> subprocess.CompletedProcess[str]:
    return run("curl", "--silent", "--show-error", *words)


DOCUMENTED = [
    *("-X", "POST", "-H", "Content-Type: application/json"),
    *("-d", '{ "command": "config-get", "service": [ "dhcp4" ] }'),
]
"""The arguments of the line that Kea's management API documents, but for the address."""


@pytest.mark.peers(*KEA, "curl")
@pytest.mark.parametrize(
    "extra",
    [[], ["--http1.0"], ["--http1.0", "-H", "Connection: keep-alive"], ["-H", "Connection: close"]],
    ids=["1.1", "1.0", "1.0 keep-alive", "1.1 close"],
)
def test_the_documented_curl_line_prints_the_same_of_both_agents(
    agent: Agent, real_agent: kea.ControlAgent, extra: list[str]
) -> None:
    ours = curl("-i", *extra, *DOCUMENTED, f"http://127.0.0.1:{agent.port}/")
    theirs = curl("-i", *extra, *DOCUMENTED, f"http://127.0.0.1:{real_agent.port}/")

    assert printed(ours) == printed(theirs)
    assert '"Dhcp4": { ' in ours.stdout


@pytest.mark.peers("curl")
@pytest.mark.parametrize(
    ("extra", "connections"),
    [
        ([], ["1", "0", "0"]),
        (["-H", "Connection: close"], ["1", "1", "1"]),
        (["--http1.0"], ["1", "1", "1"]),
    ],
    ids=["1.1", "1.1 close", "1.0"],
)
def test_curl_keeps_its_connection_as_http_says(
    thermostat_agent: Agent, extra: list[str], connections: list[str]
) -> None:
    urls = [f"{thermostat_agent.endpoint}/{number}" for number in range(3)]
    sinks = ["-o", "/dev/null"] * len(urls)

    completed = curl(*extra, *DOCUMENTED, "-w", "%{http_code} %{num_connects}\n", *sinks, *urls)

    assert completed.stdout.split("\n")[:-1] == [f"200 {count}" for count in connections]


@pytest.mark.peers("curl")
def test_curl_sends_a_large_body(thermostat_agent: Agent, tmp_path: Path) -> None:
    body = tmp_path / "body.json"
    body.write_bytes(kea.request("z" * 2_000_000, None, ["dhcp4"]))

    completed = curl(*DOCUMENTED[:4], "--data-binary", f"@{body}", thermostat_agent.endpoint)

    assert completed.returncode == 0
    assert json.loads(completed.stdout)[0]["text"] == f"'{'z' * 2_000_000}' command not supported."


@pytest.mark.peers("curl", "kea-ctrl-agent")
@pytest.mark.parametrize(
    "login",
    [
        [],
        ["-u", "admin:1234"],
        ["-u", "admin:12345"],
        ["-u", "admin:"],
        ["-u", "o'connor:p:\"w\\ d"],
        ["--anyauth", "-u", "admin:1234"],
    ],
    ids=["none", "right", "wrong", "empty", "odd", "asked for"],
)
def test_curl_logs_in_to_both_agents_alike(
    thermostat: EmbeddedDaemon, short_path: Path, login: list[str]
) -> None:
    services, settings = {"dhcp4": thermostat.socket}, {"authentication": AUTHENTICATION}
    with (
        Agent(short_path, services, settings) as ours,
        kea.ControlAgent(short_path, services, settings) as theirs,
    ):
        words = ["-i", *login, "-H", "Content-Type: application/json"]
        words += ["-d", '{ "command": "list-commands", "service": [ "dhcp4" ] }']
        completed = [curl(*words, f"http://127.0.0.1:{port}/") for port in (ours.port, theirs.port)]

    assert printed(completed[0]) == printed(completed[1])


# socat, and the example client in C


LIST_COMMANDS = '{ "command": "list-commands" }'


@pytest.mark.peers("socat")
def test_socat_in_batch_mode_waits_for_the_answer(thermostat: EmbeddedDaemon) -> None:
    completed = run("socat", f"UNIX:{thermostat.socket}", "-,ignoreeof", stdin=f"{LIST_COMMANDS}\n")

    assert completed.returncode == 0
    assert "list-commands" in json.loads(completed.stdout)["arguments"]


@pytest.mark.peers("socat")
def test_socat_gets_its_answer_after_the_end_of_its_input(thermostat: EmbeddedDaemon) -> None:
    completed = run("socat", f"UNIX:{thermostat.socket}", "-", stdin=LIST_COMMANDS)

    assert completed.returncode == 0
    assert "list-commands" in json.loads(completed.stdout)["arguments"]


@pytest.mark.peers("socat")
def test_socat_in_interactive_mode_is_answered_while_its_input_stays_open(thermostat: EmbeddedDaemon) -> None:
    argv = [str(require("socat")), f"UNIX:{thermostat.socket}", "-"]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as socat:
        assert socat.stdin is not None
        assert socat.stdout is not None
        for line in ("{\n", '  "command": // typed by hand\n', '  "list-commands"\n', "}\n"):
            socat.stdin.write(line.encode())
            socat.stdin.flush()
        answer = json.loads(socat.stdout.read())

    assert "list-commands" in answer["arguments"]
    assert socat.returncode == 0


def c_example() -> str:
    """The program in C between its markers in Kea's description of the control channel."""
    blocks = re.findall(r"^@code\n(.*?)^@endcode$", REFERENCE.read_text(), flags=re.MULTILINE | re.DOTALL)
    example: str = next(block for block in blocks if "int main(" in block)
    return example


@pytest.mark.peers("gcc")
@pytest.mark.skipif(not REFERENCE.exists(), reason="Kea's description of the control channel is not here")
def test_the_documented_c_client_gets_the_whole_answer_in_one_read(
    thermostat: EmbeddedDaemon, tmp_path: Path
) -> None:
    source, program = tmp_path / "client.c", tmp_path / "client"
    source.write_text(c_example())
    assert printed(run("gcc", "-o", program, source))[0] == 0

    completed = subprocess.run(
        [program, thermostat.socket], capture_output=True, timeout=TOOL_SECONDS, check=False
    )

    assert completed.returncode == 0
    told = re.fullmatch(
        rb"30 bytes sent\n(\d+) bytes received: \[(.*)\]\n", completed.stdout, flags=re.DOTALL
    )
    assert told is not None
    answer = told[2][: int(told[1])]
    assert "list-commands" in json.loads(answer)["arguments"]


# kea-exporter


class Exporter(Program):
    """``kea-exporter`` on a free port, asking the agent at ``port``."""

    attempts = PORT_ATTEMPTS

    def __init__(self, directory: Path, port: int) -> None:
        self.target = f"http://127.0.0.1:{port}"
        super().__init__([], directory, name=f"kea-exporter-{port}")

    def prepare(self) -> None:
        self.port = free_port()
        program = str(require("kea-exporter"))
        self.argv = [program, "-a", "127.0.0.1", "-p", str(self.port), self.target]

    def ready(self) -> bool:
        try:
            return "kea_dhcp" in self.metrics()
        except (urllib.error.URLError, ConnectionError):
            return False

    def metrics(self) -> str:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/metrics", timeout=TOOL_SECONDS) as answer:
            body: bytes = answer.read()
            return body.decode()


@pytest.mark.peers(*KEA, "kea-exporter")
def test_kea_exporter_gives_the_metrics_that_it_gives_of_keas_agent(
    agent: Agent, real_agent: kea.ControlAgent, short_path: Path
) -> None:
    with Exporter(short_path, agent.port) as ours, Exporter(short_path, real_agent.port) as theirs:
        exported, expected = (kea_metrics(exporter.metrics()) for exporter in (ours, theirs))
        assert ours.stderr == theirs.stderr

    assert exported == expected
    assert 'kea_dhcp4_addresses_total{pool="",subnet="192.0.2.0/24",subnet_id="1"} 191.0' in exported
    assert any(line.startswith("kea_dhcp6_") for line in exported)


@pytest.mark.peers(*KEA, "kea-exporter")
def test_kea_exporter_finds_the_same_metrics_in_our_dhcp_daemons(
    real_agent: kea.ControlAgent, short_path: Path
) -> None:
    services = {}
    with ExitStack() as stack:
        for protocol, subnet, pool in (
            (4, "192.0.2.0/24", "192.0.2.10-192.0.2.200"),
            (6, "2001:db8:1::/64", "2001:db8:1::10-2001:db8:1::ff"),
        ):
            name, file = f"dhcp{protocol}", short_path / f"dhcp{protocol}.conf"
            services[name] = short_path / f"{name}.sock"
            subnets: kea.JSON = [{"id": 1, "subnet": subnet, "pools": [{"pool": pool}]}]
            configuration: dict[str, kea.JSON] = {
                "control-socket": {"socket-type": "unix", "socket-name": str(services[name])},
                "lease-database": {"type": "memfile", "persist": False},
                f"subnet{protocol}": subnets,
            }
            if protocol == 6:
                configuration["server-id"] = {"type": "EN", "persist": False}
            file.write_text(json.dumps({f"Dhcp{protocol}": configuration}))
            folder = short_path / name
            folder.mkdir()
            program = BridleProgram(["run", name, "-c", file], folder, name=name)
            stack.enter_context(program)
            assert poll(lambda name=name: kea.answers(services[name]))  # type: ignore[misc]
        ours = stack.enter_context(Agent(short_path, services))
        exporter = stack.enter_context(Exporter(short_path, ours.port))
        reference = stack.enter_context(Exporter(short_path, real_agent.port))
        found, expected = (kea_metrics(one.metrics()) for one in (exporter, reference))
    assert 'kea_dhcp4_addresses_total{pool="",subnet="192.0.2.0/24",subnet_id="1"} 191.0' in found
    names = [{line.partition("{")[0].partition(" ")[0] for line in lines} for lines in (found, expected)]
    assert names[1] <= names[0], names[1] - names[0]


def kea_metrics(text: str) -> list[str]:
    return [line for line in text.splitlines() if line.startswith("kea_")]


# pyisckea and pykeadhcp


LIBRARIES = [pytest.param(name, marks=pytest.mark.peers(name)) for name in ("pyisckea", "pykeadhcp")]
Call = tuple[str, str, list[object]]


def calls(library: str, port: int, made: Sequence[Call]) -> list[object]:
    """What a client library gives for its calls, each a result or the text of an exception."""
    script = Path(__file__).with_name("kea_client_calls.py")
    completed = run(library, script, library, str(port), stdin=json.dumps(made))
    assert completed.returncode == 0, completed.stderr
    outcomes: list[object] = json.loads(kea.masked(completed.stdout.encode()))
    return outcomes


def library_calls(directory: Path) -> list[Call]:
    """The calls of both libraries that need no hook library, made of Kea's daemons."""
    plain = ["build_report", "config_get", "list_commands", "status_get", "version_get"]
    dhcp = ["statistic_get_all", "dhcp_disable", "dhcp_enable", "config_backend_pull"]
    made: list[Call] = [(daemon, method, []) for daemon in ("dhcp4", "dhcp6") for method in [*plain, *dhcp]]
    made += [(daemon, "config_write", [str(directory / daemon)]) for daemon in ("dhcp4", "dhcp6")]
    made += [("dhcp4", "libreload", []), ("dhcp4", "config_test", [{"Dhcp4": {"bogus": 1}}])]
    made += [("ddns", method, []) for method in ("build_report", "config_get", "list_commands")]
    return made


@pytest.mark.peers(*KEA)
@pytest.mark.parametrize("library", LIBRARIES)
def test_a_client_library_finds_the_same_behind_both_agents(
    agent: Agent, real_agent: kea.ControlAgent, library: str, tmp_path: Path
) -> None:
    made = library_calls(tmp_path)

    ours = calls(library, agent.port, made)

    assert ours == calls(library, real_agent.port, made)
    succeeded = [outcome for outcome in ours if isinstance(outcome, dict) and outcome.get("result", 0) == 0]
    assert len(succeeded) >= 18


@pytest.mark.peers(*KEA)
@pytest.mark.parametrize("library", LIBRARIES)
def test_a_client_library_manages_the_agent_itself(agent: Agent, library: str, tmp_path: Path) -> None:
    methods = ("config_get", "list_commands", "status_get", "build_report", "config_reload")
    configuration, commands, status, report, reloaded = calls(
        library, agent.port, [("ctrlagent", method, []) for method in methods]
    )

    assert isinstance(configuration, dict)
    sockets = configuration["arguments"]["Control-agent"]["control-sockets"]
    assert list(sockets) == ["d2", "dhcp4", "dhcp6"]
    assert isinstance(commands, dict)
    assert "config-write" in commands["arguments"]
    assert isinstance(status, dict)
    assert {"pid", "uptime", "reload"} <= set(status)
    assert isinstance(report, dict)
    assert report["result"] == 0
    assert isinstance(reloaded, dict)
    assert reloaded["text"] == "Configuration applied successfully."


@pytest.mark.parametrize("library", LIBRARIES)
def test_a_client_library_calls_an_embedded_daemon_through_the_agent(
    thermostat_agent: Agent, thermostat: EmbeddedDaemon, library: str
) -> None:
    made: list[Call] = [
        ("dhcp4", "status_get", []),
        ("dhcp6", "list_commands", []),
        ("ddns", "config_get", []),
    ]
    made += [("dhcp4", "version_get", []), ("dhcp4", "libreload", [])]

    status, commands, configuration, version, unknown = calls(library, thermostat_agent.port, made)

    assert isinstance(status, dict)
    assert {"pid", "uptime", "reload"} <= set(status)
    assert commands == {
        "result": 0,
        "text": None,
        "arguments": kea.ask(thermostat.socket, "list-commands")["arguments"],
    }
    assert isinstance(configuration, dict)
    assert configuration["arguments"] == kea.ask(thermostat.socket, "config-get")["arguments"]
    assert isinstance(version, dict)
    assert version["result"] == 0
    assert unknown == {"result": 2, "text": "'libreload' command not supported.", "arguments": None}
