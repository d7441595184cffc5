"""Real Kea answers Bridle's client as it answers its own tools: through Bridle's agent, and on its sockets.

The texts are those of ``facts/kea.md`` §2.2 and §4. What passes through the agent is also compared, byte by
byte, with what Kea's own control agent says about the same request.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import TypeAlias

import pytest

import bridle
from tests.support import kea
from tests.support.bridle import Agent
from tests.support.programs import require

pytestmark = pytest.mark.peers("kea-dhcp4", "kea-dhcp6", "kea-dhcp-ddns", "kea-ctrl-agent")

ROOTS = {"dhcp4": "Dhcp4", "dhcp6": "Dhcp6", "d2": "DhcpDdns"}
DHCP = ["dhcp4", "dhcp6"]
ALL = [*DHCP, "d2"]
PROGRAMS = {"dhcp4": "kea-dhcp4", "dhcp6": "kea-dhcp6", "d2": "kea-dhcp-ddns"}
SEEMS_SANE = (
    "Configuration seems sane. Control-socket, hook-libraries, and D2 configuration were sanity checked, "
    "but not applied."
)


class Reach:
    """One way to the daemons: over the agent's HTTP, or on their own sockets."""

    def __init__(self, kind: str, real_kea: kea.RealKea, agent: Agent) -> None:
        self.through_agent = kind == "http"
        self.services = real_kea.services
        self.agent = agent

    def endpoint(self, name: str) -> str:
        """Where a client connects to for a service."""
        return self.agent.endpoint if self.through_agent else f"unix:{self.services[name]}"

    def service(self, name: str) -> str | None:
        """How the service is named there."""
        return name if self.through_agent else None

    def execute(self, name: str, command: str, arguments: kea.JSON = None) -> bridle.Response:
        """Have a service execute a command."""
        with bridle.connect(self.endpoint(name)) as client:
            return client.execute(command, arguments, service=self.service(name))

    def call(self, name: str, command: str, arguments: kea.JSON = None) -> kea.JSON:
        """Call a command of a service."""
        with bridle.connect(self.endpoint(name)) as client:
            return client.call(command, arguments, service=self.service(name))


@pytest.fixture(params=["http", "unix"])
def reach(request: pytest.FixtureRequest, real_kea: kea.RealKea, agent: Agent) -> Reach:
    return Reach(request.param, real_kea, agent)


def printed_by(service: str, option: str) -> str:
    argv = [str(require(PROGRAMS[service])), option]
    return subprocess.run(argv, capture_output=True, text=True, timeout=10, check=True).stdout


@pytest.mark.parametrize("service", ALL)
def test_build_report_is_what_the_program_prints(reach: Reach, service: str) -> None:
    answer = reach.execute(service, "build-report")

    assert answer.result == 0
    assert answer.value is None
    assert answer.text is not None
    assert answer.text.strip() == printed_by(service, "-W").strip()


@pytest.mark.parametrize("service", ALL)
def test_version_get_is_what_the_program_prints(reach: Reach, service: str) -> None:
    answer = reach.execute(service, "version-get")

    assert answer.result == 0
    assert answer.text == printed_by(service, "-v").strip()
    assert isinstance(answer.value, dict)
    assert str(answer.value["extended"]).strip() == printed_by(service, "-V").strip()


@pytest.mark.parametrize("service", ALL)
def test_config_get_gives_what_config_set_and_config_test_take(reach: Reach, service: str) -> None:
    configuration = reach.call(service, "config-get")
    assert isinstance(configuration, dict)
    assert list(configuration) == [ROOTS[service]]

    tested = reach.execute(service, "config-test", configuration)
    applied = reach.execute(service, "config-set", configuration)

    assert tested.result == 0
    assert tested.text == ("Configuration check successful" if service == "d2" else SEEMS_SANE)
    assert applied.result == 0
    assert applied.text == reloaded(service)
    assert reach.call(service, "config-get") == configuration


def reloaded(service: str) -> str:
    return "Configuration applied successfully." if service == "d2" else "Configuration successful."


@pytest.mark.parametrize("service", ALL)
def test_config_reload_reads_the_file_again(reach: Reach, service: str) -> None:
    answer = reach.execute(service, "config-reload")

    assert (answer.result, answer.text) == (0, reloaded(service))


@pytest.mark.parametrize("service", ALL)
def test_config_write_writes_the_running_configuration(reach: Reach, service: str, tmp_path: Path) -> None:
    written = tmp_path / f"{service}.json"

    answer = reach.execute(service, "config-write", {"filename": str(written)})

    assert answer.text == f"Configuration written to {written} successful"
    assert answer.value == {"filename": str(written), "size": written.stat().st_size}
    assert json.loads(written.read_text()) == reach.call(service, "config-get")


@pytest.mark.parametrize("service", ALL)
def test_list_commands_gives_names_in_order(reach: Reach, service: str, real_kea: kea.RealKea) -> None:
    names = reach.call(service, "list-commands")

    assert names == kea.ask(real_kea.services[service], "list-commands")["arguments"]
    assert isinstance(names, list)
    assert {"config-get", "list-commands", "shutdown", "status-get"} <= set(map(str, names))


@pytest.mark.parametrize("service", ALL)
def test_status_get_tells_of_the_daemons_own_process(
    reach: Reach, service: str, real_kea: kea.RealKea
) -> None:
    status = reach.call(service, "status-get")

    assert isinstance(status, dict)
    assert status["pid"] == pid_of(real_kea.services[service])
    assert isinstance(status["uptime"], int)


def pid_of(path: Path) -> kea.JSON:
    status = kea.ask(path, "status-get")["arguments"]
    assert isinstance(status, dict)
    return status["pid"]


@pytest.mark.parametrize(("service", "protocol"), [("dhcp4", "DHCPv4"), ("dhcp6", "DHCPv6")])
def test_the_dhcp_service_is_disabled_and_enabled(reach: Reach, service: str, protocol: str) -> None:
    for_a_while = reach.execute(service, "dhcp-disable", {"max-period": 20})
    disabled = reach.execute(service, "dhcp-disable")
    enabled = reach.execute(service, "dhcp-enable", {"origin": "user"})

    assert (for_a_while.result, for_a_while.text) == (0, f"{protocol} service disabled for 20 seconds")
    assert (disabled.result, disabled.text) == (0, f"{protocol} service disabled")
    assert (enabled.result, enabled.text) == (0, "DHCP service successfully enabled")


@pytest.mark.parametrize("service", DHCP)
@pytest.mark.parametrize("remove", [True, False])
def test_leases_reclaim_takes_remove(reach: Reach, service: str, remove: bool) -> None:
    answer = reach.execute(service, "leases-reclaim", {"remove": remove})

    assert (answer.result, answer.text) == (0, "Reclamation of expired leases is complete.")


@pytest.mark.parametrize("service", DHCP)
def test_libreload_reloads_hook_libraries(reach: Reach, service: str) -> None:
    answer = reach.execute(service, "libreload", {})

    assert (answer.result, answer.text) == (0, "Hooks libraries successfully reloaded.")


@pytest.mark.parametrize("service", DHCP)
def test_server_tag_get_gives_the_tag(reach: Reach, service: str) -> None:
    assert reach.call(service, "server-tag-get") == {"server-tag": ""}


@pytest.mark.parametrize("service", DHCP)
def test_config_backend_pull_finds_nothing_where_no_backend_is_configured(reach: Reach, service: str) -> None:
    answer = reach.execute(service, "config-backend-pull")

    assert (answer.result, answer.text) == (3, "No config backend.")
    assert reach.call(service, "config-backend-pull") is None


def test_a_result_that_is_an_error_is_raised_with_its_text(reach: Reach) -> None:
    with pytest.raises(bridle.CommandError) as caught:
        reach.call("dhcp4", "leases-reclaim")

    assert caught.value.result == 1
    assert caught.value.text == "Missing mandatory 'remove' parameter."


def test_an_unknown_command_is_unsupported_and_keeps_its_letters(reach: Reach) -> None:
    answer = reach.execute("dhcp4", "grüß-€")

    assert (answer.result, answer.text) == (2, "'grüß-€' command not supported.")


def test_a_large_command_and_a_large_answer_pass_whole(reach: Reach) -> None:
    name = "z" * 300_000

    assert reach.execute("dhcp6", name).text == f"'{name}' command not supported."


@pytest.mark.parametrize("service", DHCP)
def test_a_configuration_that_is_refused_leaves_the_running_one(reach: Reach, service: str) -> None:
    before = reach.call(service, "config-get")

    refused = reach.execute(service, "config-set", {ROOTS[service]: {"bogus": True}})

    assert refused.result == 1
    assert refused.text is not None
    assert "unsupported global configuration parameter: bogus" in refused.text
    assert reach.call(service, "config-get") == before


KINDS: TypeAlias = type[kea.Dhcp4] | type[kea.Dhcp6] | type[kea.DhcpDdns]


@contextlib.contextmanager
def own_daemons(directory: Path) -> Iterator[dict[str, kea.KeaDaemon]]:
    kinds: list[KINDS] = [kea.Dhcp4, kea.Dhcp6, kea.DhcpDdns]
    with contextlib.ExitStack() as stack:
        yield {kind.service: stack.enter_context(kind(directory)) for kind in kinds}


FAREWELLS = {
    "dhcp4": "Shutting down.",
    "dhcp6": "Shutting down.",
    "d2": "Shutdown initiated, type is: normal",
}


def test_shutdown_through_the_agent_is_answered_and_ends_each_daemon_with_the_exit_value(
    short_path: Path,
) -> None:
    with own_daemons(short_path) as daemons:
        sockets = {name: daemon.socket for name, daemon in daemons.items()}
        with Agent(short_path, sockets) as agent, bridle.connect(agent.endpoint) as client:
            answers = client.execute_all("shutdown", {"exit-value": 3}, services=ALL)

            assert [(answer.result, answer.text) for answer in answers] == [
                (0, FAREWELLS[name]) for name in ALL
            ]
            assert [daemons[name].wait() for name in ALL] == [3, 3, 3]
            gone = client.execute("status-get", service="dhcp4")
            assert gone.result == 1
            assert gone.text == (
                "unable to forward command to the dhcp4 service: No such file or directory. "
                "The server is likely to be offline"
            )


@pytest.mark.parametrize("service", ALL)
def test_shutdown_on_the_socket_is_answered_and_ends_the_daemon(service: str, short_path: Path) -> None:
    with own_daemons(short_path) as daemons:
        with bridle.connect(f"unix:{daemons[service].socket}") as client:
            answer = client.execute("shutdown", {"exit-value": 300})

        assert (answer.result, answer.text) == (0, FAREWELLS[service])
        assert daemons[service].wait() == 300 % 256


def test_several_services_answer_in_the_order_they_are_named_in(agent: Agent, real_kea: kea.RealKea) -> None:
    named = ["d2", "dhcp4", "bogus", "dhcp6", "dhcp4"]

    with bridle.connect(agent.endpoint) as client:
        answers = client.execute_all("status-get", services=named)

    assert [answer.result for answer in answers] == [0, 0, 1, 0, 0]
    assert answers[2].text == "forwarding socket is not configured for the server type bogus"
    running = [(name, answer) for name, answer in zip(named, answers, strict=True) if answer.result == 0]
    for name, answer in running:
        assert isinstance(answer.value, dict)
        assert answer.value["pid"] == pid_of(real_kea.services[name])


def test_one_client_makes_many_calls(reach: Reach) -> None:
    with bridle.connect(reach.endpoint("dhcp6")) as client:
        answers = [client.call("server-tag-get", service=reach.service("dhcp6")) for _ in range(5)]

    assert answers == [{"server-tag": ""}] * 5


async def many_at_once(reach: Reach, count: int) -> list[kea.JSON]:
    async with bridle.connect_async(reach.endpoint("dhcp4")) as client:
        service = reach.service("dhcp4")
        return await asyncio.gather(*(client.call("server-tag-get", service=service) for _ in range(count)))


def test_the_asyncio_client_makes_many_calls_at_once(reach: Reach) -> None:
    assert asyncio.run(many_at_once(reach, 20)) == [{"server-tag": ""}] * 20


def test_a_daemon_that_was_restarted_answers_again_through_the_agent(short_path: Path) -> None:
    daemon = kea.Dhcp4(short_path)
    with (
        Agent(short_path, {"dhcp4": daemon.socket}) as agent,
        bridle.connect(agent.endpoint) as client,
    ):
        for _ in range(2):
            assert client.execute("status-get", service="dhcp4").text == (
                "unable to forward command to the dhcp4 service: No such file or directory. "
                "The server is likely to be offline"
            )
            with daemon:
                for _ in range(3):
                    status = client.call("status-get", service="dhcp4")
                    assert isinstance(status, dict)
                    assert status["pid"] == daemon.pid


COMPARED: list[tuple[list[str], str, kea.JSON]] = [
    *((ALL, command, None) for command in ("build-report", "config-get", "config-reload", "list-commands")),
    *(
        (ALL, command, None)
        for command in ("status-get", "version-get", "config-hash-get", "no-such-command")
    ),
    (ALL, "config-test", None),
    (ALL, "config-test", {}),
    (ALL, "config-test", []),
    (ALL, "config-test", {"Dhcp4": 1}),
    (ALL, "config-set", {"Dhcp4": {"BOGUS": 1}}),
    (ALL, "config-set", {"Dhcp6": {"BOGUS": [1, 2.5, None, "x"]}}),
    (ALL, "config-write", {"filename": "/no/such/directory/x"}),
    (ALL, "config-write", {"filename": 1}),
    (ALL, "shutdown", {"exit-value": "no"}),
    (["d2"], "shutdown", {"type": "bogus"}),
    (DHCP, "dhcp-disable", {"max-period": 0, "origin": "other"}),
    (DHCP, "dhcp-disable", {"max-period": 20}),
    (ALL, "dhcp-enable", None),
    (ALL, "leases-reclaim", {"remove": True}),
    (DHCP, "leases-reclaim", {"remove": 1}),
    (DHCP, "leases-reclaim", [True]),
    (ALL, "libreload", None),
    (ALL, "server-tag-get", None),
    (ALL, "config-backend-pull", None),
    (["dhcp4"], "statistic-get", {"name": "pkt4-received"}),
    (["dhcp6", "dhcp4", "dhcp6"], "server-tag-get", None),
    (["bogus", "dhcp4"], "server-tag-get", None),
    (["dhcp4"], 'é€ "quoted" \\ / \x7f \n', None),
    (["dhcp4"], "", None),
    (["d2"], "y" * 100_000, None),
]


@pytest.mark.parametrize(
    ("services", "command", "arguments"),
    COMPARED,
    ids=[f"{command[:20]} {json.dumps(arguments)}" for _, command, arguments in COMPARED],
)
def test_both_agents_say_the_same_of_a_forwarded_command(
    agent: Agent,
    real_agent: kea.ControlAgent,
    services: list[str],
    command: str,
    arguments: kea.JSON,
) -> None:
    body = kea.request(command, arguments, services)

    assert said(agent.port, body) == said(real_agent.port, body)


def test_both_agents_give_all_statistics(agent: Agent, real_agent: kea.ControlAgent) -> None:
    body = kea.request("statistic-get-all", None, ALL)

    ours, theirs = kea.post(agent.port, body), kea.post(real_agent.port, body)

    assert ours.body == theirs.body
    assert b'"pkt4-received": [ [ 0, "' in ours.body


ENVELOPES = [
    b'{ "command": "no-such-command" }',
    b'{ "command": "" }',
    b'{ "command": "no-such-command", "service": [] }',
    b'{ "command": "list-commands", "service": "dhcp4" }',
    b'{ "command": "list-commands", "service": null }',
    b'{ "command": "list-commands", "service": { } }',
    b'{ "command": "list-commands", "service": [ 1 ] }',
    b'{ "command": "list-commands", "service": [ "d2", { } ] }',
    b'{ "command": "list-commands", "service": [ "" ] }',
    b'{ "command": "list-commands", "service": [ "Dhcp4" ] }',
    b'{ "command": "list-commands", "service": [ "d2" ], "remote-address": "1.2.3.4" }',
    b'\n\t { "service": [ "d2" ],\n "command": "server-tag-get" }  \n',
    b'{ "command": "no-such-command", "command": "server-tag-get", "service": [ "dhcp4" ] }',
    b'{ "command": "config-write", "arguments": [ 1, 2, ], "service": [ "dhcp4" ] }',
    b'{ "command": "config-write", "arguments": { "filename": +007 }, "service": [ "dhcp4" ] }',
    b'{ "command": "config-write", "arguments": { "filename": "/no/\xc3\xa9" }, "service": [ "d2" ] }',
]


@pytest.mark.parametrize("body", ENVELOPES)
def test_both_agents_say_the_same_of_an_envelope(
    agent: Agent, real_agent: kea.ControlAgent, body: bytes
) -> None:
    assert said(agent.port, body) == said(real_agent.port, body)


REWORDED = [
    (b"{}", "does not contain mandatory 'command'"),
    (b"[]", "expected toplevel entry to be a map, got list instead"),
    (b"5", "expected toplevel entry to be a map, got integer instead"),
    (b"null", "expected toplevel entry to be a map, got null instead"),
    (b'"x"', "expected toplevel entry to be a map, got string instead"),
    (b'{ "command": 1 }', "expected 'command' to be a string, got integer instead"),
    (b'{ "command": [ "x" ] }', "expected 'command' to be a string, got list instead"),
    (b'{ "command": "x", "service": [], "bogus": 1, "also": 2 }', "unsupported parameter 'also'"),
    (b'{ "command": "x", "service": [ "d2" ], "extra": true }', "unsupported parameter 'extra'"),
    (b'{ "service": [ "d2" ] }', "does not contain mandatory 'command'"),
]
"""Envelopes that no agent forwards, and what is wrong with them in the words of Kea since 2.4: the difference
``kea-envelope`` (``facts/kea.md`` §1.5)."""


@pytest.mark.parametrize(("body", "text"), REWORDED)
def test_both_agents_refuse_an_envelope_each_in_the_words_of_its_time(
    agent: Agent, real_agent: kea.ControlAgent, body: bytes, text: str
) -> None:
    ours, theirs = kea.post(agent.port, body), kea.post(real_agent.port, body)

    prefix = "Error during command processing: "
    assert ours.document == [{"result": 1, "text": f"{prefix}invalid command: {text}"}]
    assert ours.status == theirs.status == 200
    assert isinstance(theirs.document, list)
    [refusal] = theirs.document
    assert isinstance(refusal, dict)
    assert refusal["result"] == 1
    assert str(refusal["text"]).startswith(prefix)


MALFORMED = [
    b"",
    b"   ",
    b"x",
    b"{",
    b'{ "command": "list-commands"',
    b'{ "command": "list-commands" } trailing',
    b'{ "command": "list-commands" } { "command": "list-commands" }',
    b'{ "command": list-commands }',
    b"{ 'command': 'list-commands' }",
    b'{ "command": "list-commands", }',
    b'{ "command": "list-commands" ]',
    b'{ "command": "list-commands", "arguments": { "x": 1, } }',
    b'{ "command": "list-commands", "arguments": { "x": nul } }',
    b'{ "command": "list-commands", "arguments": "\\x41" }',
]


@pytest.mark.parametrize("body", MALFORMED)
def test_both_agents_refuse_a_malformed_body(agent: Agent, real_agent: kea.ControlAgent, body: bytes) -> None:
    assert said(agent.port, body) == said(real_agent.port, body)


BEYOND_KEA = [
    b'// a comment\n{ "command": "server-tag-get", "service": [ "dhcp4" ] }',
    b'{ "command": /* a comment */ "server-tag-get", # and another\n "service": [ "dhcp4" ] }',
    b'{ "command": "server-tag-get", "service": [ "dhcp4" ], "arguments": { "x": "\\u0041" } } // the end',
]


@pytest.mark.parametrize("body", BEYOND_KEA)
def test_only_our_agent_takes_comments(agent: Agent, real_agent: kea.ControlAgent, body: bytes) -> None:
    """The difference ``kea-http-comments``."""
    assert said(agent.port, body)[::2] == (200, b'[ { "arguments": { "server-tag": "" }, "result": 0 } ]')
    assert said(real_agent.port, body)[0] == 400


ESCAPES = [
    ("gr\u00fc\u00df-\u20ac", None, "'{}' command not supported."),
    (
        "config-write",
        "/no/gr\u00fc\u00df-\u20ac",
        "Error during write-config:Unable to open file {} for writing",
    ),
]


@pytest.mark.parametrize(("command", "filename", "text"), ESCAPES, ids=["in the name", "in the arguments"])
def test_only_our_agent_passes_on_any_unicode_escape(
    agent: Agent, real_agent: kea.ControlAgent, command: str, filename: str | None, text: str
) -> None:
    """The difference ``kea-unicode-escapes``; libraries that write ASCII JSON depend on it."""
    body = json.dumps({"command": command, "arguments": {"filename": filename}, "service": ["dhcp4"]})
    assert "\\u20ac" in body

    answer = kea.post(agent.port, body.encode()).document

    assert isinstance(answer, list)
    [refusal] = answer
    assert isinstance(refusal, dict)
    written_by_kea = (filename or command).encode().decode("latin-1")
    assert refusal["text"] == text.format(written_by_kea)
    assert kea.post(real_agent.port, body.encode()).status == 400


@pytest.mark.parametrize("content_type", ["text/json", "text/plain", "", "APPLICATION/JSON"])
def test_both_agents_take_the_same_content_types(
    agent: Agent, real_agent: kea.ControlAgent, content_type: str
) -> None:
    body = kea.request("server-tag-get", None, ["dhcp4"])
    headers = {"Content-Type": content_type}

    assert said(agent.port, body, headers) == said(real_agent.port, body, headers)


def test_only_our_agent_takes_a_content_type_with_parameters(
    agent: Agent, real_agent: kea.ControlAgent
) -> None:
    """The difference ``kea-content-type``."""
    body = kea.request("server-tag-get", None, ["dhcp4"])
    headers = {"Content-Type": "application/json; charset=utf-8"}

    assert said(agent.port, body, headers) == said(agent.port, body)
    assert said(real_agent.port, body, headers)[0] == 400


def test_both_agents_say_the_same_of_daemons_that_are_away(
    offline: dict[str, Path], short_path: Path
) -> None:
    body = kea.request("list-commands", None, ALL)

    with Agent(short_path, offline) as ours, kea.ControlAgent(short_path, offline) as theirs:
        assert said(ours.port, body) == said(theirs.port, body)


ODD_ANSWERS = [
    b"",
    b"garbage",
    b"{",
    b'{ "result": 0, "text": "cut sho',
    b'{ "result": 0, }',
    b'{ "b": 1, "result": 0, "a": [ ] } { "result": 1 }\n',
    b'[ { "result": 0 } ]',
    b'{"text":"\\u00e9","result":0,"arguments":{"z":1.50,"a":-0.1,"k":{}}}\n',
    b'{"result": 0 /* why */, "text": "x"} # more',
    b'// why\n{"result": 0, "text": "x"}',
]


@pytest.mark.parametrize("answer", ODD_ANSWERS)
def test_both_agents_take_a_daemons_odd_answer_for_the_same(answer: bytes, short_path: Path) -> None:
    """The difference ``kea-answers-as-sent``: only the form may differ."""
    path = short_path / "odd.sock"
    body = kea.request("status-get", None, ["dhcp4"])

    with (
        kea.listener(path, kea.replying(answer)),
        Agent(short_path, {"dhcp4": path}) as ours,
        kea.ControlAgent(short_path, {"dhcp4": path}) as theirs,
    ):
        answers = [kea.post(port, body) for port in (ours.port, theirs.port)]

    assert answers[0].document == answers[1].document
    assert answers[0].status == answers[1].status == 200


def said(port: int, body: bytes, headers: dict[str, str] | None = None) -> tuple[int, list[str], bytes]:
    """Status, header names in their order, and the body but for pids and times."""
    answer = kea.post(port, body, headers)
    assert answer.headers["Content-Length"] == str(len(answer.body))
    return answer.status, kea.own_headers(answer.headers), kea.masked(answer.body)
