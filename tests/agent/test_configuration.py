"""The agent's configuration file: what starts it, and what ``bridle agent -t`` says of what does not."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import bridle
from bridle import JSON
from bridle.agent.agent import Agent
from bridle.agent.configuration import AgentSettings, agent_channels, describe, read_settings
from bridle.agent.forwarding import ServiceSettings
from bridle.daemon.document import Document, read_file
from bridle.daemon.plugins import PluginSettings
from bridle.net.endpoint import Endpoint
from tests.support.bridle import BridleProgram, command_line
from tests.support.kea import listens, post
from tests.support.programs import free_port

DEBIAN = Path("/etc/kea/kea-ctrl-agent.conf")

SAMPLE = """
// What an administrator may have written over the years.
{
# The agent alone; nothing else may stand here.
"Control-agent": {
    "http-host": "127.0.0.1",   // loopback
    "http-port": 8000,
    /* Where the daemons
       are. */
    "control-sockets": {
        "dhcp4": { "socket-type": "unix", "socket-name": "/run/kea/kea4-ctrl-socket", "comment": "v4" },
        "dhcp6": { "socket-name": "/run/kea/kea6-ctrl-socket" },
        "d2": <?include "d2.json"?>,
        "queue": { "endpoint": "http://127.0.0.1:8001", "timeout": 2.5, "connections": 4 },
    },
    "authentication": {
        "type": "basic", "realm": "site", "directory": "DIRECTORY",
        "clients": [
            { "user": "admin", "password": "1234" },
            { "user-file": "name", "password-file": "secret" },
            { "password-file": "both", "user-context": { "role": "watcher" } },
        ]
    },
    "hooks-libraries": [
    //  { "library": "/usr/lib/x86_64-linux-gnu/kea/hooks/control-agent-commands.so" }
    ],
    "http-headers": [ { "name": "Strict-Transport-Security", "value": "max-age=31536000" } ],
    "loggers": [
        {
            "name": "kea-ctrl-agent", "severity": "INFO", "debuglevel": 0,
            "output_options": [
                { "output": "stdout", "flush": true, "maxsize": 1, "maxver": 2, "pattern": "%-5p %m\\n" }
            ],
            "output-options": [ { "output": "syslog:bridle" } ]
        }
    ],
    "user-context": { "site": [ 1, null ] },
    "comment": "all of it"
}
}
"""


FILES = {"name": "amy\n", "secret": "x\n", "both": "bob:y", "d2.json": '{ "socket-name": "/d2" }'}


def sample(folder: Path) -> Path:
    """The sample and the files that it names."""
    for name, text in FILES.items():
        (folder / name).write_text(text)
    file = folder / "agent.conf"
    file.write_text(SAMPLE.replace("DIRECTORY", str(folder)))
    return file


def test_a_file_with_everything_in_it_can_be_used(tmp_path: Path) -> None:
    file = sample(tmp_path)
    ended = command_line("agent", "-t", file)
    assert (ended.returncode, ended.stdout) == (0, f"{file}: the configuration can be used\n"), ended.stderr


def test_what_it_says_is_taken_over(tmp_path: Path) -> None:
    document = read_file(str(sample(tmp_path)), "Control-agent")
    found = read_settings(document)
    assert found.services == (
        ServiceSettings("dhcp4", Endpoint("unix", path="/run/kea/kea4-ctrl-socket")),
        ServiceSettings("dhcp6", Endpoint("unix", path="/run/kea/kea6-ctrl-socket")),
        ServiceSettings("d2", Endpoint("unix", path="/d2")),
        ServiceSettings("queue", Endpoint("http", path="/", host="127.0.0.1", port=8001), 2.5, 4),
    )
    assert found.plugins == ()
    assert [logger["name"] for logger in found.loggers] == ["kea-ctrl-agent"]
    [channel] = Agent().control_channels(document)
    assert str(channel.endpoint) == "http://127.0.0.1:8000"
    assert channel.http.headers == (("Strict-Transport-Security", "max-age=31536000"),)
    authentication = channel.http.authentication
    assert authentication is not None
    assert authentication.challenge == 'Basic realm="site"'
    assert len(document.warnings) == 2, "one for each comma too many"


def test_a_service_has_kea_s_minute_and_64_connections_by_default() -> None:
    service = ServiceSettings("a", Endpoint("unix", path="/a"))
    assert (service.timeout, service.connections) == (60.0, 64)


@pytest.mark.skipif(not DEBIAN.exists(), reason=f"not installed: {DEBIAN}")
def test_debian_s_own_file_is_taken_unchanged() -> None:
    ended = command_line("agent", "-t", DEBIAN)
    assert (ended.returncode, ended.stdout) == (0, f"{DEBIAN}: the configuration can be used\n"), ended.stderr
    found = read_settings(read_file(str(DEBIAN), "Control-agent"))
    assert [service.name for service in found.services] == ["dhcp4", "dhcp6", "d2"]


@pytest.mark.skipif(not DEBIAN.exists(), reason=f"not installed: {DEBIAN}")
def test_debian_s_own_file_starts_an_agent(tmp_path: Path) -> None:
    port = free_port()
    words: list[str | Path] = ["agent", "-c", DEBIAN, "--listen", f"127.0.0.1:{port}"]
    program = BridleProgram(words, tmp_path, name="agent")
    program.ready = lambda: listens(port)  # type: ignore[method-assign]
    with program:
        answer = post(port, b'{"command": "config-get"}').document
        assert isinstance(answer, list)
        assert '"socket-name": "/run/kea/kea4-ctrl-socket"' in json.dumps(answer)


@pytest.mark.parametrize(
    "agent",
    [
        "{ }",
        '{ "control-sockets": { } }',
        '{ "hooks-libraries": [ ] }',
        '{ "authentication": { "type": "basic", "clients": [ ] } }',
        '{ "control-sockets": { "any name at all": { "socket-name": "/x" } } }',
        '{ "http-host": "::1", "http-port": 0 }',
    ],
)
def test_little_is_enough(tmp_path: Path, agent: str) -> None:
    file = tmp_path / "agent.conf"
    file.write_text(f'{{ "Control-agent": {agent} }}')
    document = read_file(str(file), "Control-agent")
    settings = Agent().check_configuration(document)
    assert isinstance(settings, AgentSettings)
    assert len(Agent().control_channels(document)) == 1


INSTEAD = "a plugin of Bridle is a Python module: name its file (NAME.py) or its dotted name"
IN_AGENT = {
    "unknown key": ('"bogus": 1', '{f}:1.22-28: got unexpected keyword "bogus" in Control-agent map.'),
    "twice": (
        '"http-port": 1, "http-port": 2',
        "{f}:1:38: duplicate http-port entries in Control-agent map (previous at {f}:1:35)",
    ),
    "port is text": ('\n"http-port": "1"', "invalid type specified for parameter 'http-port' ({f}:2.14-16)"),
    "port is true": ('\n"http-port": true', "invalid type specified for parameter 'http-port' ({f}:2.14-17)"),
    "port": (
        '\n"http-port": 65536',
        "out of range value (65536) specified for parameter 'http-port' ({f}:2.14-18)",
    ),
    "no value": ('"http-port": ', "{f}:1.36: syntax error, unexpected }}"),
    "no colon": ('"http-port" 1', "{f}:1.34: syntax error, unexpected integer, expecting :"),
    "host": ('"http-host": null', "invalid type specified for parameter 'http-host' ({f}:1.35-38)"),
    "services": (
        '"control-sockets": [ ]',
        "invalid type specified for parameter 'control-sockets' ({f}:1.41)",
    ),
    "service": ('"control-sockets": { "a": 5 }', "a is expected to be a map ({f}:1.48)"),
    "service key": (
        '"control-sockets": { "a": { "bogus": 1 } }',
        '{f}:1.50-56: got unexpected keyword "bogus" in a map.',
    ),
    "no name": (
        '"control-sockets": {\n"a": { } }',
        "Mandatory 'socket-name' parameter missing ({f}:2.6)",
    ),
    "empty name": (
        '"control-sockets": {\n"a": { "socket-name": "" } }',
        "Mandatory 'socket-name' parameter missing ({f}:2.6)",
    ),
    "type": (
        '"control-sockets": {\n"a": { "socket-type": "tcp" } }',
        (
            "Invalid 'socket-type' parameter value tcp; "
            "known are unix, http, https, binrpc, fifo, bngblaster, pacemaker ({f}:2.23-27)"
        ),
    ),
    "plugin's file": (
        '"hooks-libraries": [\n{ "library": "/no/such.py" } ]',
        "plugin '/no/such.py' cannot be imported: FileNotFoundError: no such file: /no/such.py ({f}:2.14-26)",
    ),
    "plugin's module": (
        '"hooks-libraries": [\n{ "library": "no_such_package.plugin" } ]',
        (
            "plugin 'no_such_package.plugin' cannot be imported: ModuleNotFoundError: No module named "
            "'no_such_package' ({f}:2.14-37)"
        ),
    ),
    "severity": (
        '"loggers": [\n{ "name": "a", "severity": "LOUD" } ]',
        "unknown severity 'LOUD': there are FATAL, ERROR, WARN, INFO, DEBUG, NONE ({f}:2.28-33)",
    ),
    "endpoint": (
        '"control-sockets": {\n"a": { "endpoint": "udp:127.0.0.1:1" } }',
        "cannot connect to 'udp:127.0.0.1:1': kea travels on unix, tcp, http, https ({f}:2.6)",
    ),
    "address of Kamailio": (
        '"control-sockets": {\n"a": { "socket-type": "binrpc", "socket-name": "a:b:c" } }',
        "address 'a:b:c' is not [PROTOCOL:][HOST:]PORT; an IPv6 address is in [] ({f}:2.48-54)",
    ),
    "fifo without a name": (
        '"control-sockets": {\n"a": { "socket-type": "fifo" } }',
        "Mandatory 'socket-name' parameter missing ({f}:2.6)",
    ),
    "name of a daemon of Pacemaker's": (
        '"control-sockets": {\n"a": { "socket-type": "pacemaker", "socket-name": "' + 108 * "x" + '" } }',
        "'qb:" + 108 * "x" + "': a name has 107 bytes at the most ({f}:2.6)",
    ),
    "service port": (
        '"control-sockets": {\n"a": { "socket-type": "http", "socket-port": 0 } }',
        "out of range value (0) specified for parameter 'socket-port' ({f}:2.46)",
    ),
    "timeout": (
        '"control-sockets": {\n"a": { "socket-name": "/x", "timeout": 0 } }',
        "'timeout' must be greater than 0 ({f}:2.40)",
    ),
    "connections": (
        '"control-sockets": {\n"a": { "socket-name": "/x", "connections": -1 } }',
        "'connections' must be greater than 0 ({f}:2.44-45)",
    ),
    "some of a service's TLS": (
        '"control-sockets": {\n"a": { "socket-type": "https", "cert-file": "/x" } }',
        "a: trust-anchor parameter is missing or empty: all or none of TLS parameters must be set ({f}:2.6)",
    ),
    "TLS of a service that has none": (
        '"control-sockets": {\n"a": { "socket-type": "binrpc", "socket-name": "udp:127.0.0.1:1", FILES } }',
        "TLS is not spoken with binrpc+udp:127.0.0.1:1, for all its certificates ({f}:2.83-86)",
    ),
    "TLS of a service in clear text": (
        '"control-sockets": {\n"a": { "endpoint": "http://127.0.0.1:1", FILES } }',
        "TLS is not spoken with http://127.0.0.1:1, for all its certificates ({f}:2.58-61)",
    ),
    "shared library": (
        '"hooks-libraries": [ {\n"library": "/x/libca_hooks.so" } ]',
        "hook library '/x/libca_hooks.so' is a shared library for Kea and cannot be loaded: "
        + INSTEAD
        + " ({f}:2.12-30)",
    ),
    "no library": ('"hooks-libraries": [\n{ } ]', "missing parameter 'library' ({f}:2.1)"),
    "logger": (
        '"loggers": [ { "bogus": 1 } ]',
        '{f}:1.37-43: got unexpected keyword "bogus" in loggers map.',
    ),
    "output": (
        '"loggers": [ { "output_options": [ {\n"flush": 1 } ] } ]',
        "invalid type specified for parameter 'flush' ({f}:2.10)",
    ),
    "some of TLS": (
        '"trust-anchor": "/x", "key-file": "/y"',
        "cert-file parameter is missing or empty: all or none of TLS parameters must be set",
    ),
    "TLS files": (
        '\n"trust-anchor": "/no", "cert-file": "/no", "key-file": "/no"',
        "load of CA file '/no' failed: No such file or directory ({f}:2.17-21)",
    ),
}

IN_AUTHENTICATION = {
    "digest": (
        '"type": "digest"',
        "only basic HTTP authentication is supported: type is 'digest' not 'basic' ({f}:2.9-16)",
    ),
    "clients": (
        '"type": "basic", "clients": { }',
        "invalid type specified for parameter 'clients' ({f}:2.29)",
    ),
    "tokens": (
        '"tokens": "/none/tokens"',
        "can't open file '/none/tokens': No such file or directory ({f}:2.11-24)",
    ),
    "unknown key": ('"users": [ ]', '{f}:2.1-7: got unexpected keyword "users" in authentication map.'),
}

IN_CLIENT = {
    "no user": ('"password": "x"', "user is required in clients items ({f}:2.1)"),
    "nothing": ("", "user is required in clients items ({f}:2.1)"),
    "empty user": ('"user": ""', "user must not be empty ({f}:2.11-12)"),
    "colon": ('"user": "a:b"', "user must not contain a ':': 'a:b' ({f}:2.11-15)"),
    "both users": (
        '"user": "a", "user-file": "b"',
        "user ({f}:2.11-13) and user-file ({f}:2.29-31) are mutually exclusive",
    ),
    "both passwords": (
        '"user": "a", "password": "x", "password-file": "b"',
        "password ({f}:2.28-30) and password-file ({f}:2.50-52) are mutually exclusive",
    ),
    "password and hash": (
        '"user": "a", "password": "x", "password-hash": "b"',
        "password ({f}:2.28-30) and password-hash ({f}:2.50-52) are mutually exclusive",
    ),
    "no hash": (
        '"user": "a", "password-hash": "b"',
        "password-hash is no argon2 hash: 'bridle passwd' makes one ({f}:2.33-35)",
    ),
    "no colon in file": (
        '"password-file": "colonless"',
        "can't find the user id part in password-file 'colonless' ({f}:2.20-30)",
    ),
    "number": ('"user": 5', "invalid type specified for parameter 'user' ({f}:2.11)"),
    "unknown key": (
        '"user": "a", "pasword": "x"',
        '{f}:2.16-24: got unexpected keyword "pasword" in clients map.',
    ),
}

WHOLE = {
    "empty": ("", "{f}:1.1: syntax error, unexpected end of file, expecting {{"),
    "a list": ("[ ]", "{f}:1.1: syntax error, unexpected [, expecting {{"),
    "unfinished": ('{ "Control-agent": {\n', "{f}:2.1: syntax error, unexpected end of file"),
    "another root": (
        '{ "Dhcp4": { } }',
        "{f}:1.3-9: syntax error, unexpected constant string, expecting Control-agent",
    ),
    "a second root": (
        '{ "Control-agent": { }, "Dhcp4": { } }',
        "{f}:1.25-31: syntax error, unexpected constant string, expecting Control-agent",
    ),
    "no map": ('{ "Control-agent": [ ] }', "'Control-agent' parameter expected to be a map."),
    "nothing": ("{ }", "Missing mandatory 'Control-agent' parameter."),
}

AROUND = {
    "agent": (IN_AGENT, '{ "Control-agent": { HERE } }'),
    "authentication": (IN_AUTHENTICATION, '{ "Control-agent": { "authentication": {\nHERE } } }'),
    "client": (
        IN_CLIENT,
        '{ "Control-agent": { "authentication": { "directory": "DIRECTORY", "clients": [\n{ HERE } ] } } }',
    ),
    "whole": (WHOLE, "HERE"),
}
MISTAKES = {
    f"{place}, {name}": (whole.replace("HERE", text), says)
    for place, (mistakes, whole) in AROUND.items()
    for name, (text, says) in mistakes.items()
}


@pytest.mark.parametrize(("text", "says"), MISTAKES.values(), ids=MISTAKES)
def test_a_mistake_is_told_in_kea_s_words_with_its_place(tmp_path: Path, text: str, says: str) -> None:
    file = tmp_path / "agent.conf"
    text = text.replace("FILES", '"trust-anchor": "/x", "cert-file": "/x", "key-file": "/x"')
    file.write_text(text.replace("DIRECTORY", str(tmp_path)))
    (tmp_path / "colonless").write_text("bob\n")

    def use() -> None:
        agent = Agent()
        document = read_file(str(file), agent.root)
        try:
            agent.check_configuration(document)
            agent.control_channels(document)
        except bridle.ConfigurationError as error:
            raise document.placed(error) from error

    with pytest.raises(bridle.ConfigurationError) as caught:
        use()
    assert str(caught.value) == says.format(f=file)


@pytest.mark.parametrize(
    "name", ["agent, unknown key", "client, colon", "whole, unfinished", "agent, TLS files"]
)
def test_the_command_line_says_the_same_and_exits_with_1(tmp_path: Path, name: str) -> None:
    text, says = MISTAKES[name]
    file = tmp_path / "agent.conf"
    file.write_text(text.replace("DIRECTORY", str(tmp_path)))
    for option in ("-t", "-c"):
        ended = command_line("agent", option, file)
        program = "bridle" if option == "-t" else "Control-agent"
        assert (ended.returncode, ended.stdout) == (1, "")
        assert ended.stderr == f"{program}: {says.format(f=file)}\n"


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    ended = command_line("agent", "-t", tmp_path / "none")
    assert ended.returncode == 1
    assert ended.stderr == f"bridle: Unable to open file {tmp_path}/none: No such file or directory\n"


def test_a_password_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    file = tmp_path / "agent.conf"
    file.write_text(
        '{ "Control-agent": { "authentication": { "type": "basic", "directory": "/no", "clients": [ '
        '{ "user": "a", "password-file": "such" } ] } } }'
    )
    ended = command_line("agent", "-t", file)
    assert ended.returncode == 1
    assert "can't open file '/no/such': No such file or directory" in ended.stderr


def test_plugins_are_those_that_the_file_names(tmp_path: Path) -> None:
    file = tmp_path / "a.py"
    file.write_text("1 / 0  # nobody runs it")
    library: dict[str, bridle.JSON] = {"library": str(file), "parameters": {"x": [1]}, "comment": "mine"}
    document = Document({"Control-agent": {"hooks-libraries": [library, {"library": "colorsys"}]}})
    assert read_settings(document).plugins == (
        PluginSettings(str(file), {"x": [1]}),
        PluginSettings("colorsys"),
    )


# The controller of BNG Blaster.


def test_a_controller_is_read_with_its_defaults() -> None:
    from bridle.agent.bngblaster.settings import ControllerSettings

    def controller(given: dict[str, bridle.JSON]) -> ControllerSettings | None:
        return read_settings(Document({"Control-agent": {"bngblaster-controller": given}})).controller

    assert read_settings(Document({"Control-agent": {}})).controller is None
    assert controller({}) == ControllerSettings("/var/bngblaster", ("/usr/sbin/bngblaster",), False)
    given: dict[str, bridle.JSON] = {
        "directory": "/i/",
        "executable": ["bridle", "bngblaster"],
        "upload": True,
    }
    assert controller(given) == ControllerSettings("/i", ("bridle", "bngblaster"), True)


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ('"bngblaster-controller": []', "parameter 'bngblaster-controller' (FILE:3.26)"),
        ('"bngblaster-controller": { "dir": "/i" }', 'FILE:3.28-32: got unexpected keyword "dir" in'),
        (
            '"bngblaster-controller": { "upload": 1 }',
            "for parameter 'upload' (FILE:3.38)",
        ),
        (
            '"bngblaster-controller": { "directory": "i" }',
            "must be an absolute path (FILE:3.41-43)",
        ),
        ('"bngblaster-controller": { "executable": [] }', "'executable' is a path, or a list"),
        ('"bngblaster-controller": { "executable": [ "a", 1 ] }', "'executable' is a path, or a list"),
        ('"bngblaster-controller": { "executable": "" }', "'executable' is a path, or a list"),
        ('"bngblaster-controller": { "executable": 7 }', "invalid type specified for parameter 'executable'"),
    ],
)
def test_a_mistake_in_a_controller_is_told_with_its_place(tmp_path: Path, line: str, says: str) -> None:
    file = tmp_path / "agent.conf"
    file.write_text(f'{{\n"Control-agent": {{\n{line}\n}} }}\n')
    with pytest.raises(bridle.ConfigurationError) as caught:
        read_settings(read_file(str(file), "Control-agent"))
    assert says in str(caught.value).replace(str(file), "FILE")


@pytest.mark.parametrize(
    ("name", "path"), [(None, "pacemaker"), ("", "pacemaker"), ("crmd", "crmd"), ("thermostat", "thermostat")]
)
def test_services_of_pacemaker(name: str | None, path: str) -> None:
    service = {"socket-type": "pacemaker", **({} if name is None else {"socket-name": name})}
    document = Document({"Control-agent": {"control-sockets": {"cluster": service}}})
    (found,) = read_settings(document).services
    assert found.endpoint == Endpoint("qb", "pacemaker", path=path)


# HTTP on a unix socket


def places(agent: dict[str, JSON], listen: tuple[str, int] | Endpoint | None = None) -> list[str]:
    """Where an agent with this configuration listens."""
    return [str(one.endpoint) for one in agent_channels(Document({"Control-agent": agent}), listen)]


def test_an_agent_listens_on_a_unix_socket_beside_the_port_or_instead_of_it() -> None:
    port, file = "http://127.0.0.1:8000", "http+unix:/run/a"
    assert places({}) == [port]
    assert places({"http-socket": "/run/a"}) == [file]
    assert places({"http-socket": {"socket-name": "/run/a"}, "http-port": 8000}) == [port, file]
    assert places({"http-socket": "/run/a"}, ("127.0.0.1", 8000)) == [port, file]
    assert places({"http-port": 9}, Endpoint.parse(file)) == [file]
    described = describe(Document({"Control-agent": {"http-socket": "/run/a"}}))
    assert "http-port" not in described


def test_the_socket_asks_for_what_the_port_asks_for_unless_it_says_otherwise() -> None:
    known: JSON = {"clients": [{"user": "a", "password": "b"}]}
    own: JSON = {"socket-name": "/run/a", "authentication": {}}
    for given, asked in (("/run/a", True), (own, False)):
        value: dict[str, JSON] = {"Control-agent": {"authentication": known, "http-socket": given}}
        (channel,) = agent_channels(Document(value), None)
        assert channel.http.authentication is not None
        assert channel.http.authentication.required == asked


def test_a_service_may_be_http_on_a_unix_socket() -> None:
    service: dict[str, JSON] = {"socket-type": "http", "socket-name": "/run/s", "user": "u", "password": "p"}
    value: dict[str, JSON] = {"Control-agent": {"control-sockets": {"s": service}}}
    (found,) = read_settings(Document(value)).services
    assert str(found.endpoint) == "http+unix:/run/s"
    assert (found.endpoint.user, found.endpoint.password) == ("u", "p")
    service["socket-port"] = 1
    with pytest.raises(bridle.BridleError, match="'socket-port' and 'socket-name' exclude each other"):
        read_settings(Document(value))
