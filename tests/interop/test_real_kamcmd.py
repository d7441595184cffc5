"""Kamailio's own kamcmd works against daemons that embed Bridle, on every transport that it has."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.kamailio import CtlDaemon, kamcmd
from tests.support.programs import require, short_directory
from tests.support.terminal import Terminal

pytestmark = pytest.mark.peers("kamcmd")

TRANSPORTS = ["unixs", "unixd", "tcp", "udp"]


@pytest.fixture(scope="module", autouse=True)
def daemon() -> Iterator[CtlDaemon]:
    with (
        short_directory() as directory,
        CtlDaemon(["examples.thermostat:Thermostat"], directory) as running,
    ):
        yield running


def asked(daemon: CtlDaemon, transport: str, *words: str, options: tuple[str, ...] = ()) -> str:
    """What kamcmd prints; it must end well and complain of nothing."""
    ended = kamcmd(daemon.addresses[transport], *words, options=options)
    assert (ended.returncode, ended.stderr) == (0, b"")
    return ended.stdout.decode()


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_methods_of_the_core_answer_on_every_transport(daemon: CtlDaemon, transport: str) -> None:
    assert re.fullmatch(r"Thermostat 1\.0 \(\w+/linux\)\n", asked(daemon, transport, "core.version"))
    assert asked(daemon, transport, "core.echo", "a", "5", "s:7", "b c") == "a\n5\n7\nb c\n"
    assert asked(daemon, transport, "core.prints", "one", "two") == "one\ntwo\n"
    assert asked(daemon, transport, "core.printi", "5", "2147483647") == "5\n2147483647\n"
    assert asked(daemon, transport, "core.printi", "--", "-5") == "-5\n"
    assert "now: " in asked(daemon, transport, "core.uptime")
    assert asked(daemon, transport, "core.pwd").startswith("/")


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_the_daemons_own_commands_have_their_own_names(daemon: CtlDaemon, transport: str) -> None:
    assert asked(daemon, transport, "set-target", "21") == "{\n\ttarget: 21\n}\n"
    assert asked(daemon, transport, "set-target", "21.5") == "{\n\ttarget: 21.500000\n}\n"
    assert "set-target" in asked(daemon, transport, "ls").splitlines()


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_faults_are_told_as_kamailio_tells_them(daemon: CtlDaemon, transport: str) -> None:
    assert asked(daemon, transport, "no.such") == "error: 500 - command no.such not found\n"
    assert asked(daemon, transport, "core.prints", "5") == (
        "error: 400 - error at parameter 0: expected string type but record doesn't match type\n"
    )
    assert asked(daemon, transport, "set-target") == (
        "error: 400 - error at parameter 0: expected float type but end of packet encountered\n"
    )
    assert asked(daemon, transport, "set-target", "90.5") == (
        "error: 400 - 90.5 is out of range: -30 to 60\n"
    )


def test_who_is_connected_is_told_for_each_transport(daemon: CtlDaemon) -> None:
    path = daemon.addresses["unixs"].partition(":")[2]
    port = daemon.addresses["tcp"].rpartition(":")[2]
    anonymous = rf"\[binrpc\] unix_stream: <anonymous unix socket>  -> {path} \n"
    assert re.fullmatch(anonymous, asked(daemon, "unixs", "who"))
    over_tcp = asked(daemon, "tcp", "who")
    assert re.fullmatch(rf"\[binrpc\] tcp: 127\.0\.0\.1 \d+ -> 127\.0\.0\.1 {port}\n", over_tcp)
    assert asked(daemon, "udp", "who") == "error: 400 - no open stream connection\n"
    assert asked(daemon, "unixd", "who") == "error: 400 - no open stream connection\n"
    assert asked(daemon, "unixs", "ctl.connections") == "1\n"
    assert asked(daemon, "udp", "ctl.connections") == "0\n"


def test_the_sockets_are_told_in_order(daemon: CtlDaemon) -> None:
    lines = asked(daemon, "tcp", "listen").splitlines()
    assert [line.split(":")[0] for line in lines] == [
        "[binrpc] unix_stream",
        "[binrpc] unix_dgram",
        "[binrpc] tcp",
        "[binrpc] udp",
    ]


def test_aliases_help_and_formats(daemon: CtlDaemon) -> None:
    assert re.fullmatch(r"\d+\tmain process - Thermostat\n", asked(daemon, "unixs", "ps"))
    assert asked(daemon, "unixs", "psx").startswith("{\n\tIDX: 0\n\tPID: ")
    assert asked(daemon, "unixs", "help", "core.pwd") == "Returns the working directory of the daemon.\n"
    assert asked(daemon, "unixs", "help", "nope") == "error: 400 - command not found\n"
    assert "alias: ps" in asked(daemon, "unixs", "help")
    assert asked(daemon, "unixs", "system.methodSignature", "set-target") == "struct\ndouble\n"
    told = asked(daemon, "unixs", "core.printi", "1", "2", "3", options=("-f", "[%v %v]\\n"))
    assert told == "[1 2]\n[3 ]\n"
    header = asked(daemon, "udp", "core.pwd", options=("-vv",)).splitlines()
    assert re.fullmatch(r"new packet: type 01, len \d+, cookie [0-9a-f]+", header[0])
    assert header[-1] == "."


def test_the_reply_socket_may_be_named(daemon: CtlDaemon, short_path: Path) -> None:
    reply = ("-R", str(short_path / "reply"))
    assert asked(daemon, "unixd", "core.prints", "x", options=reply) == "x\n"
    assert asked(daemon, "unixd", "core.prints", "x", options=("-D", str(short_path))) == "x\n"


def test_a_session_from_a_pipe(daemon: CtlDaemon) -> None:
    ended = kamcmd(daemon.addresses["tcp"], stdin=b"core.prints a b\nno.such\nquit\n")
    assert ended.returncode == 0
    fault = "error: 500 - command no.such not found\n"
    assert ended.stdout.decode().endswith(
        f"kamcmd> core.prints a b\na\nb\nkamcmd> no.such\n{fault}kamcmd> quit\n"
    )


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_the_prompt_completes_and_converses(daemon: CtlDaemon, transport: str) -> None:
    options = ("-s", daemon.addresses[transport])
    with Terminal(*options, program=require("kamcmd")) as terminal:
        terminal.expect("kamcmd> ")
        terminal.type("set-ta\t 20\n")
        terminal.expect("target: 20")
        terminal.type("help core.upt\t\n")
        terminal.expect("Returns the time, the time of the start")
        terminal.type("core.printi -5 7\n")
        terminal.expect("-5\n7\n")
        terminal.type("quit\n")
        assert terminal.wait() == 0


def test_a_bundled_daemon_with_its_configuration(short_path: Path) -> None:
    configuration = short_path / "dhcp4.conf"
    settings = {
        "interfaces-config": {"interfaces": []},
        "lease-database": {"type": "memfile", "persist": False},
    }
    configuration.write_text(json.dumps({"Dhcp4": settings}))
    with CtlDaemon(["dhcp4", "-c", configuration], short_path) as daemon:
        assert asked(daemon, "unixs", "core.version").startswith("Dhcp4 ")
        assert "pid: " in asked(daemon, "tcp", "status-get")
        assert "Dhcp4: {" in asked(daemon, "udp", "config-get")
        assert "\tpkt4-received: {\n" in asked(daemon, "unixd", "statistic-get-all")
