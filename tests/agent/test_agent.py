"""The agent as a whole: its own commands, its configuration while it works, authentication, TLS, plugins."""

from __future__ import annotations

import asyncio
import base64
import json
import logging
import os
import signal
import ssl
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
import trustme

import bridle
from bridle.agent.agent import Agent
from bridle.testing import elapsed
from tests.support.bridle import Agent as AgentProgram
from tests.support.bridle import EmbeddedDaemon
from tests.support.front import JSON, agent, answering, backend, counting, encode, settings, web
from tests.support.kea import post
from tests.support.kettle import served
from tests.support.loops import on_every_loop, on_virtual_clock
from tests.support.programs import free_port, poll

APPLIED = {"result": 0, "text": "Configuration applied successfully."}


def basic(user: str, password: str) -> str:
    """The header by which a client says who it is."""
    return f"Authorization: Basic {base64.b64encode(f'{user}:{password}'.encode()).decode()}\r\n"


# Whose command it is.


@pytest.mark.parametrize("service", [None, []])
@on_virtual_clock
async def test_a_command_for_nobody_is_the_agent_s_own(short_path: Path, service: JSON) -> None:
    command: dict[str, JSON] = {"command": "version-get"}
    if service is not None:
        command["service"] = service
    async with agent(short_path, {}) as front:
        reply = await front.post(json.dumps(command).encode())
        assert reply.answer["text"] == bridle.__version__


@on_virtual_clock
async def test_the_agent_has_the_common_commands_and_no_others(short_path: Path) -> None:
    async with agent(short_path, {}) as front:
        assert (await front.ask("list-commands")).answer["arguments"] == [
            "build-report",
            "command-help",
            "config-get",
            "config-hash-get",
            "config-reload",
            "config-set",
            "config-test",
            "config-write",
            "list-commands",
            "shutdown",
            "status-get",
            "version-get",
        ]


@on_virtual_clock
async def test_a_browser_is_told_the_services(short_path: Path) -> None:
    async def banner(port: int) -> str:
        async with web(port) as connection:
            connection.writer.write(b"GET / HTTP/1.1\r\nConnection: close\r\n\r\n")
            return (await connection.reader.read()).decode()

    async with agent(short_path, {"d2": short_path / "d2", "dhcp4": short_path / "d4"}) as front:
        assert "Services: d2, dhcp4." in await banner(front.port)
        await front.set(settings(front.port, {}))
        assert "Services: none yet." in await banner(front.port)


@on_virtual_clock
async def test_config_get_tells_all_with_defaults_and_can_be_sent_back(short_path: Path) -> None:
    services: dict[str, JSON | Path] = {
        "dhcp4": short_path / "d4",
        "far": {"socket-type": "http", "socket-port": 1},
        "any": {"endpoint": "http://127.0.0.1:1"},
    }
    async with agent(short_path, services) as front:
        told = (await front.ask("config-get")).answer["arguments"]
        assert isinstance(told, dict)
        assert told["Control-agent"] == {
            "http-host": "127.0.0.1",
            "http-port": front.port,
            "control-sockets": {
                "dhcp4": {"socket-type": "unix", "socket-name": f"{short_path}/d4"},
                "far": services["far"],
                "any": services["any"],
            },
            "hooks-libraries": [],
        }
        assert (await front.ask("config-set", arguments=told)).answer == APPLIED
        assert (await front.ask("config-test", arguments=told)).answer["result"] == 0


@on_virtual_clock
async def test_config_write_writes_a_file_that_starts_an_agent(short_path: Path) -> None:
    async with agent(short_path, {"a": short_path / "a"}) as front:
        assert (await front.ask("config-write")).answer["result"] == 0
        port = front.port
    async with (
        backend(short_path / "a"),
        bridle.serve(Agent(), configuration_file=str(front.file)),
        web(port) as connection,
    ):
        assert (await connection.ask("foo", "a")).answer == {"result": 0}


# Its configuration, while it works.


@on_virtual_clock
async def test_commands_on_their_way_are_answered_by_whom_they_were_sent_to(short_path: Path) -> None:
    old, new = short_path / "old", short_path / "new"
    async with (
        backend(old, answering(b'{ "result": 0, "text": "old" }', after=5)),
        backend(new, answering(b'{ "result": 0, "text": "new" }')),
        agent(short_path, {"a": old}) as front,
    ):
        waiting = asyncio.create_task(front.ask("foo", "a"))
        await asyncio.sleep(1)
        assert await front.set(settings(front.port, {"a": new})) == APPLIED
        assert (await front.ask("foo", "a")).answer["text"] == "new"
        assert (await waiting).answer["text"] == "old"


@on_virtual_clock
async def test_no_connection_is_left_to_a_service_that_is_gone(short_path: Path) -> None:
    async with (
        served(short_path) as site,
        counting(short_path / "way", site.socket) as seen,
        agent(short_path, {"kettle": short_path / "way"}) as front,
    ):
        await front.ask("repeat", "kettle", arguments=[1])
        waiting = asyncio.create_task(front.ask("brew", "kettle", arguments=[5]))
        await asyncio.sleep(1)
        assert seen.open == 1
        await front.set(settings(front.port, {}))
        assert (await waiting).answer["arguments"] == "tea"
        await asyncio.sleep(1)
        assert seen.open == 0


@on_virtual_clock
async def test_commands_that_wait_for_their_turn_leave_no_connection_either(short_path: Path) -> None:
    entry: JSON = {"socket-name": str(short_path / "way"), "connections": 1}
    async with (
        served(short_path) as site,
        counting(short_path / "way", site.socket) as seen,
        agent(short_path, {"kettle": entry}) as front,
    ):
        waiting = [asyncio.create_task(front.ask("brew", "kettle", arguments=[5])) for _ in range(3)]
        await asyncio.sleep(1)
        await front.set(settings(front.port, {}))
        assert [(await one).answer["arguments"] for one in waiting] == ["tea"] * 3
        await asyncio.sleep(1)
        assert seen.open == 0


@on_virtual_clock
async def test_a_service_that_stays_keeps_its_connections(short_path: Path) -> None:
    async with (
        served(short_path) as site,
        counting(short_path / "way", site.socket) as seen,
        agent(short_path, {"kettle": short_path / "way"}) as front,
    ):
        for extra in ({}, {"other": short_path / "other"}, {"more": short_path / "more"}):
            services: dict[str, JSON | Path] = {"kettle": short_path / "way", **extra}
            assert await front.set(settings(front.port, services)) == APPLIED
            assert (await front.ask("repeat", "kettle", arguments=[1])).answer["result"] == 0
        assert seen.accepted == 1


@on_virtual_clock
async def test_a_moved_port_answers_on_the_old_connection_and_serves_on_the_new(short_path: Path) -> None:
    async with (
        backend(short_path / "a", answering(after=5)),
        agent(short_path, {"a": short_path / "a"}) as front,
        web(front.port) as old,
        web(front.port) as slow,
    ):
        waiting = asyncio.create_task(slow.ask("foo", "a"))
        await asyncio.sleep(1)
        port = free_port()
        wanted: JSON = {"Control-agent": settings(port, {"a": short_path / "a"})}
        assert (await old.ask("config-set", arguments=wanted)).answer == APPLIED
        with pytest.raises(ConnectionRefusedError):
            await front.ask("version-get")
        async with web(port) as new:
            assert (await new.ask("version-get")).answer["result"] == 0
        assert (await waiting).answer == {"result": 0}, "what was on its way arrives"


@on_virtual_clock
async def test_a_change_that_fails_keeps_everything(short_path: Path) -> None:
    taken = await asyncio.start_server(lambda reader, writer: writer.close(), "127.0.0.1", 0)
    (short_path / "broken.py").write_text("def load(context, parameters):\n    1 / 0\n")
    port = taken.sockets[0].getsockname()[1]
    async with backend(short_path / "a"), agent(short_path, {"a": short_path / "a"}) as front:
        before = (await front.ask("config-get")).answer
        broken: JSON = [{"library": f"{short_path}/broken.py"}]
        ca: dict[str, JSON] = dict.fromkeys(("trust_anchor", "cert_file", "key_file"), "/no/such/file")
        for configuration, says in (
            (settings(port, {}), f"cannot listen on http://127.0.0.1:{port}: "),
            (settings(free_port(), {}, hooks_libraries=broken), "failed to load: ZeroDivisionError"),
            (settings(free_port(), {}, **ca), "load of CA file '/no/such/file' failed"),
            (settings(front.port, {"a": {"socket-type": "x"}}), "Invalid 'socket-type' parameter value x"),
            (settings(front.port, {"a": {}}), "Mandatory 'socket-name' parameter missing"),
            (settings(front.port, {}, bogus=1), 'got unexpected keyword "bogus" in Control-agent map.'),
        ):
            answer = await front.set(configuration)
            assert answer["result"] == 1
            assert says in str(answer["text"])
            assert (await front.ask("config-get")).answer == before
            assert (await front.ask("foo", "a")).answer == {"result": 0}
    taken.close()
    await taken.wait_closed()


@on_virtual_clock
async def test_the_address_of_the_command_line_holds_against_the_configuration(short_path: Path) -> None:
    port, other = free_port(), free_port()
    file = short_path / "agent.conf"
    file.write_text(json.dumps({"Control-agent": settings(other, {})}))
    listening = Agent(listen=("127.0.0.1", port))
    async with bridle.serve(listening, configuration_file=str(file)), web(port) as connection:
        wanted: JSON = {"Control-agent": settings(free_port(), {"a": short_path / "a"})}
        assert (await connection.ask("config-set", arguments=wanted)).answer == APPLIED
        assert (await connection.ask("version-get")).answer["result"] == 0
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection("127.0.0.1", other)


def test_sighup_reads_the_file_again(short_path: Path) -> None:
    kettle = "tests.support.kettle:Kettle"
    with EmbeddedDaemon(kettle, short_path) as daemon, AgentProgram(short_path, {}) as running:
        command = encode("repeat", "kettle", arguments=[5])
        assert b"not configured" in post(running.port, command).body
        changed = settings(running.port, {"kettle": daemon.socket})
        running.configuration.write_text(json.dumps({"Control-agent": changed}))
        os.kill(running.pid, signal.SIGHUP)
        assert poll(lambda: post(running.port, command).body == b'[ { "arguments": 5, "result": 0 } ]')
        running.configuration.write_text('{ "Control-agent": { "bogus": 1 } }')
        os.kill(running.pid, signal.SIGHUP)
        assert poll(lambda: 'got unexpected keyword \\"bogus\\" in Control-agent map.' in running.stderr)
        assert post(running.port, command).body == b'[ { "arguments": 5, "result": 0 } ]'


@on_virtual_clock
async def test_the_severity_of_the_log_is_what_the_configuration_says(
    short_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    log = logging.getLogger("bridle")
    before = log.level
    try:
        for severity, level in (
            ("ERROR", logging.ERROR),
            ("debug", logging.DEBUG),
            ("WARN", logging.WARNING),
        ):
            loggers: JSON = [{"name": "kea-ctrl-agent", "severity": severity}]
            async with agent(short_path, {}, loggers=loggers) as front:
                assert log.level == level
                assert await front.set(settings(front.port, {})) == APPLIED
                assert log.level == logging.NOTSET
        outputs: JSON = [{"name": "x", "output_options": [{"output": "/var/log/kea.log"}]}]
        async with agent(short_path, {}, loggers=outputs):
            assert "['/var/log/kea.log'] are not used: the log goes to standard error" in caplog.text
    finally:
        log.setLevel(before)


# Who may ask.


@on_virtual_clock
async def test_authentication_is_switched_on_and_off_at_once(short_path: Path) -> None:
    clients: JSON = {"realm": "site", "clients": [{"user": "amy", "password": "x"}]}
    async with agent(short_path, {}) as front, web(front.port) as kept:
        assert (await kept.ask("version-get")).status == 200
        assert await front.set(settings(front.port, {}, authentication=clients)) == APPLIED
        assert (await kept.ask("version-get")).status == 401, "on connections that are open, too"
        assert (await front.post(encode("version-get"), basic("amy", "x"))).status == 200
        assert (await front.post(encode("version-get"), basic("amy", "y"))).status == 401
        off: JSON = {"Control-agent": settings(front.port, {})}
        reply = await front.post(encode("config-set", arguments=off), basic("amy", "x"))
        assert reply.answer == APPLIED
        assert (await kept.ask("version-get")).status == 200


@on_virtual_clock
async def test_services_are_not_asked_for_those_who_may_not(short_path: Path) -> None:
    clients: JSON = {"clients": [{"user": "amy", "password": "x"}]}
    services = {"a": short_path / "a"}
    async with (
        backend(short_path / "a") as seen,
        agent(short_path, services, authentication=clients) as front,
    ):
        assert (await front.ask("foo", "a")).status == 401
        assert seen.requests == []


# TLS.


class Certificates:
    """A certificate authority, a server on 127.0.0.1 and a client of it, as files."""

    def __init__(self, folder: Path) -> None:
        authority = trustme.CA()
        self.anchor = str(folder / "ca.pem")
        authority.cert_pem.write_to_path(self.anchor)
        self.server = str(folder / "server.pem")
        authority.issue_cert("127.0.0.1", "localhost").private_key_and_cert_chain_pem.write_to_path(
            self.server
        )
        self.client = str(folder / "client.pem")
        authority.issue_cert("amy@example.org").private_key_and_cert_chain_pem.write_to_path(self.client)

    def keys(self, certificate: str) -> dict[str, JSON]:
        """What a configuration says to show a certificate."""
        return {"trust-anchor": self.anchor, "cert-file": certificate, "key-file": certificate}

    def trusting(self, *, own: bool) -> ssl.SSLContext:
        """The context of a client."""
        context = ssl.create_default_context(cafile=self.anchor)
        if own:
            context.load_cert_chain(self.client)
        return context


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    """Certificates for the tests of this module."""
    return Certificates(tmp_path_factory.mktemp("certificates"))


@pytest.mark.parametrize("required", [True, False])
@on_every_loop
async def test_the_agent_speaks_tls_and_asks_for_certificates_as_configured(
    short_path: Path, certificates: Certificates, required: bool
) -> None:
    extra = {key.replace("-", "_"): value for key, value in certificates.keys(certificates.server).items()}
    async with (
        backend(short_path / "a"),
        agent(short_path, {"a": short_path / "a"}, cert_required=required, **extra) as front,
    ):
        endpoint = f"https://127.0.0.1:{front.port}"
        async with bridle.connect_async(endpoint, tls=certificates.trusting(own=True)) as client:
            assert (await client.execute("foo", service="a")).result == 0
        async with bridle.connect_async(endpoint, tls=certificates.trusting(own=False)) as client:
            if required:
                with pytest.raises(bridle.TransportError):
                    await client.execute("foo", service="a")
            else:
                assert (await client.execute("foo", service="a")).result == 0
        with pytest.raises((OSError, asyncio.IncompleteReadError)):
            await front.ask("version-get")


@on_every_loop
async def test_the_agent_shows_its_certificate_to_a_daemon_that_asks_for_one(
    short_path: Path, certificates: Certificates
) -> None:
    port = free_port()
    on_https: dict[str, JSON] = {"socket-type": "https", "socket-port": port}
    services: dict[str, JSON | Path] = {
        "known": {**on_https, **certificates.keys(certificates.client)},
        "implied": {**on_https, "socket-type": "http", **certificates.keys(certificates.client)},
        "stranger": on_https,
    }
    entries: JSON = {"control-sockets": [{**on_https, **certificates.keys(certificates.server)}]}
    async with served(short_path, configuration=entries), agent(short_path, services) as front:
        reply = await front.ask("repeat", "known", "implied", "stranger", arguments=[1])
        known, implied, stranger = reply.answers
        assert known == implied == {"arguments": 1, "result": 0}
        assert stranger["result"] == 1
        assert "unable to forward command to the stranger service: " in str(stranger["text"])


@on_every_loop
async def test_the_agent_speaks_tls_to_services_on_unix_sockets(
    short_path: Path, certificates: Certificates
) -> None:
    places: dict[str, dict[str, JSON]] = {
        "kea": {"socket-type": "unix", "socket-name": f"{short_path}/kea"},
        "blaster": {"socket-type": "bngblaster", "socket-name": f"{short_path}/blaster"},
        "sip": {"socket-type": "binrpc", "socket-name": f"unixs:{short_path}/sip"},
    }
    services: dict[str, JSON | Path] = {
        name: {**place, **certificates.keys(certificates.client)} for name, place in places.items()
    }
    services["plain"] = places["kea"]
    entries: JSON = {
        "control-sockets": [{**place, **certificates.keys(certificates.server)} for place in places.values()]
    }
    async with served(short_path, configuration=entries), agent(short_path, services) as front:
        reply = await front.ask("repeat", *services, arguments={"value": 1})
        *known, plain = reply.answers
        assert known == [{"arguments": 1, "result": 0}] * 3
        assert plain["result"] == 1


# Plugins.

PLUGIN = """
import bridle

def load(context, parameters):
    frozen = set(parameters.get("frozen", ()))
    renamed = parameters.get("renamed")

    def before(command):
        if frozen & set(command.services) and command.name == "config-set":
            return bridle.Response(4, f"{command.services[0]} is frozen")

    def after(command, response):
        if command.name == renamed:
            text = f"{command.services}: {response.text}"
            return bridle.Response(response.result, text, response.arguments)

    context.before_command(before)
    context.command_processed(after)
    context.register_command("plugin-get", lambda: "here", access="read")

def unload():
    open(__file__ + ".unloaded", "w").close()
"""


def hooks(folder: Path, **parameters: JSON) -> dict[str, JSON]:
    """What a configuration says to load the plugin."""
    (folder / "plugin.py").write_text(PLUGIN)
    return {"hooks_libraries": [{"library": f"{folder}/plugin.py", "parameters": dict(parameters)}]}


@on_virtual_clock
async def test_a_plugin_answers_in_the_place_of_a_service(short_path: Path) -> None:
    places = {"a": short_path / "a", "b": short_path / "b"}
    async with AsyncExitStack() as stack:
        a = await stack.enter_async_context(backend(places["a"]))
        b = await stack.enter_async_context(backend(places["b"]))
        plugin = hooks(short_path, frozen=["a"])
        front = await stack.enter_async_context(agent(short_path, places, **plugin))
        reply = await front.ask("config-set", "b", "a", arguments={})
        assert reply.answers == [{"result": 0}, {"result": 4, "text": "a is frozen"}]
        assert len(b.requests) == 1
        assert a.requests == []
        assert (await front.ask("config-get", "a")).answer == {"result": 0}
        assert (await front.ask("plugin-get")).answer == {"arguments": "here", "result": 0}


@on_virtual_clock
async def test_a_plugin_replaces_answers_of_services_and_of_the_agent(short_path: Path) -> None:
    answer = b'{ "result": 3, "text": "none" , "arguments":{"b" :1,"a":2}, "more": 5 }'
    async with (
        backend(short_path / "a", answering(answer)),
        agent(short_path, {"a": short_path / "a"}, **hooks(short_path, renamed="foo")) as front,
    ):
        assert (await front.ask("foo", "a", "none")).answers == [
            {"result": 3, "text": "('a',): none", "arguments": {"b": 1, "a": 2}},
            {
                "result": 1,
                "text": "('none',): forwarding socket is not configured for the server type none",
            },
        ]
        assert str((await front.ask("foo")).answer["text"]).startswith("(): 'foo' command not supported.")
        assert (await front.ask("bar", "a")).body == b"[ " + answer + b" ]", (
            "left alone, it travels as it came"
        )


@pytest.mark.parametrize("answer", [b"{  }", b'[ { "result": 0 } ]', b'{"result": "x"}'])
@on_virtual_clock
async def test_an_answer_that_no_plugin_could_look_at_is_passed_on(short_path: Path, answer: bytes) -> None:
    async with (
        backend(short_path / "a", answering(answer)),
        agent(short_path, {"a": short_path / "a"}, **hooks(short_path, renamed="foo")) as front,
    ):
        assert (await front.ask("foo", "a")).body == b"[ " + answer + b" ]"


@on_virtual_clock
async def test_a_plugin_that_fails_spoils_one_answer(short_path: Path) -> None:
    (short_path / "clumsy.py").write_text(
        "def load(context, parameters):\n"
        "    context.before_command(lambda command: 1 / 0 if command.name == 'foo' else None)\n"
        "    context.command_processed(lambda c, r: 1 / 0 if c.name == 'bar' else None)\n"
    )
    library: JSON = [{"library": f"{short_path}/clumsy.py"}]
    async with (
        backend(short_path / "a"),
        agent(short_path, {"a": short_path / "a"}, hooks_libraries=library) as front,
    ):
        for name in ("foo", "bar"):
            assert (await front.ask(name, "a")).answer == {"result": 1, "text": "division by zero"}
        assert (await front.ask("else", "a")).answer == {"result": 0}


@on_virtual_clock
async def test_plugins_are_loaded_and_unloaded_by_a_change_of_the_configuration(short_path: Path) -> None:
    gone = short_path / "plugin.py.unloaded"
    async with agent(short_path, {}) as front:
        assert (await front.ask("plugin-get")).answer["result"] == 2
        assert await front.set(settings(front.port, {}, **hooks(short_path))) == APPLIED
        assert (await front.ask("plugin-get")).answer["result"] == 0
        assert not gone.exists()
        assert await front.set(settings(front.port, {})) == APPLIED
        assert gone.exists()
        assert (await front.ask("plugin-get")).answer["result"] == 2


@on_virtual_clock
async def test_plugins_are_unloaded_at_the_end(short_path: Path) -> None:
    async with agent(short_path, {}, **hooks(short_path)):
        assert not (short_path / "plugin.py.unloaded").exists()
    assert (short_path / "plugin.py.unloaded").exists()


@on_virtual_clock
async def test_a_plugin_keeps_services_parallel(short_path: Path) -> None:
    places = {"a": short_path / "a", "b": short_path / "b"}
    async with (
        backend(places["a"], answering(after=2)),
        backend(places["b"], answering(after=2)),
        agent(short_path, places, **hooks(short_path)) as front,
    ):
        assert len((await front.ask("foo", "a", "b")).answers) == 2
        assert elapsed() == pytest.approx(2, abs=0.1)
