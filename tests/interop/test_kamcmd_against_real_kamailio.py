"""``bridle kamcmd`` and the real one print the same of real Kamailio."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator

import pytest

from tests.support.bridle import command_line
from tests.support.kamailio import Kamailio, kamcmd
from tests.support.programs import short_directory
from tests.support.terminal import Terminal

pytestmark = pytest.mark.peers("kamailio", "kamcmd")

TRANSPORTS = ["unixs", "unixd", "tcp", "udp"]
# Methods that would change something, or wait for a call.
CHANGING = re.compile(
    r"set|add|del|reset|clear|flush|reload|store|kill|remove|cancel|commit|rollback|terminate|end_|bridge|rm\b"
    r"|rm_|dump_file|wait|t_uac|reply|ping_active|clean|top"
)
ARGUMENTS = [
    ["cfg.get", "core"],
    ["cfg.get", "core", "nosuch"],
    ["cfg.help", "core", "debug"],
    ["cnt.get", "core", "rcv_requests"],
    ["cnt.var_list", "core"],
    ["core.echo", "s:5", "5abc", "s:5.5", "a_b", "+7"],
    ["core.echo", "5.5"],
    ["core.printi", "5", "0", "2147483647", "2147483648"],
    ["core.prints", "x", "5"],
    ["core.prints", "5"],
    ["help", "core.ps"],
    ["help", "listen"],
    ["htable.dump", "t"],
    ["mod.stats", "all", "all"],
    ["no.such"],
    ["ps"],
    ["stats.fetchn", "core:"],
    ["stats.get_statistics", "all"],
    ["system.methodHelp", "nope"],
    ["who"],
]
FORMATS = ["%v|", "[%v %v]\\n", "no values\\n", "", "%v\\t%%\\\\\\n", "x=%v\\n"]
TRIES = 4
"""How often both are asked: what tells of memory and of time may change in between."""


@pytest.fixture(scope="module", autouse=True)
def kamailio() -> Iterator[Kamailio]:
    with short_directory() as directory, Kamailio(directory) as running:
        yield running


def ours(address: str, *words: str) -> subprocess.CompletedProcess[str]:
    return command_line("kamcmd", "-s", address, *words)


def same(kamailio: Kamailio, transport: str, *words: str, options: tuple[str, ...] = ()) -> None:
    """Both print the same; ours ends with a status that says how it went."""
    address = kamailio.addresses[transport]
    for _ in range(TRIES):
        theirs = kamcmd(address, *words, options=options).stdout.decode()
        found = ours(address, *options, *words)
        assert found.stderr == ""
        if found.stdout == theirs:
            assert found.returncode == (0 if not theirs.startswith("error: ") else found.returncode or 99)
            return
    assert found.stdout == theirs


def session(lines: list[str], printed: str) -> list[str]:
    """What a session from a pipe printed of each line."""
    parts = printed.split("kamcmd> ")[1:]
    assert [part.partition("\n")[0] for part in parts][: len(lines)] == lines
    return [part.partition("\n")[2] for part in parts[: len(lines)]]


def test_every_method_that_changes_nothing_prints_the_same(kamailio: Kamailio) -> None:
    address = kamailio.addresses["unixs"]
    listed = kamcmd(address, "ls").stdout.decode().split()
    methods = [name for name in listed if not CHANGING.search(name)]
    assert len(methods) > 90
    left = methods
    for _ in range(TRIES):
        stdin = "".join(f"{name}\n" for name in left)
        theirs = session(left, kamcmd(address, stdin=stdin.encode()).stdout.decode())
        found = session(left, command_line("kamcmd", "-s", address, stdin=stdin).stdout)
        differing = [
            (name, one, other) for name, one, other in zip(left, theirs, found, strict=True) if one != other
        ]
        left = [name for name, _, _ in differing]
    assert not differing


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_the_same_on_every_transport(kamailio: Kamailio, transport: str) -> None:
    for method in (
        "core.version",
        "listen",
        "core.sockets_list",
        "pkg.stats",
        "system.listMethods",
        "no.such",
    ):
        same(kamailio, transport, method)


@pytest.mark.parametrize("words", ARGUMENTS, ids=" ".join)
def test_the_same_with_arguments(kamailio: Kamailio, words: list[str]) -> None:
    same(kamailio, "unixs", *words)


@pytest.mark.parametrize("template", FORMATS)
def test_the_same_with_formats(kamailio: Kamailio, template: str) -> None:
    for words in (["core.printi", "1", "2", "3"], ["cfg.get", "core"], ["dns.view"], ["no.such"]):
        same(kamailio, "unixs", *words, options=("-f", template))


def test_the_same_when_verbose(kamailio: Kamailio) -> None:
    same(kamailio, "tcp", "core.version", options=("-v",))
    cookie = re.compile("cookie [0-9a-f]+")
    theirs = kamcmd(kamailio.addresses["tcp"], "core.version", options=("-vv",)).stdout.decode()
    found = ours(kamailio.addresses["tcp"], "-vv", "core.version").stdout
    assert cookie.sub("", found) == cookie.sub("", theirs)
    dump = ours(kamailio.addresses["unixs"], "-vvv", "core.pwd").stdout.splitlines()
    assert re.fullmatch(r"received \d+ bytes in reply \(@offset 0\):", dump[0])
    assert re.fullmatch(r"a1 1[0-3] 03 (?:[0-9a-f]{2} )+ +\S+", dump[1])


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_the_prompt_completes_and_converses(kamailio: Kamailio, transport: str) -> None:
    with Terminal("kamcmd", "-s", kamailio.addresses[transport]) as terminal:
        terminal.expect("kamcmd>")
        terminal.type("core.vers\t")
        terminal.expect("core.version")
        terminal.type("\n")
        terminal.expect("kamailio 5.")
        terminal.type("cnt.get core rcv_requests_inv\t")
        terminal.expect("rcv_requests_invite")
        terminal.type("\n")
        terminal.expect("0\n")
        terminal.type("cfg.get core debu\t")
        terminal.expect("cfg.get core debug")
        terminal.type("\n")
        terminal.expect("0\n")
        terminal.type('core.prints "a b" -5\n')
        terminal.expect("a b")
        terminal.type("core.printi -5\n")
        terminal.expect("-5\n")
        terminal.type("quit\n")
        assert terminal.wait() == 0


def test_a_server_that_comes_back_is_connected_to_anew(kamailio: Kamailio) -> None:
    with short_directory() as directory:
        address = f"unixs:{directory}/ctl"
        with Kamailio(directory) as first, Terminal("kamcmd", "-s", address) as terminal:
            terminal.expect("kamcmd>")
            first.stop()
            terminal.type("core.pwd\n")
            terminal.expect("bridle: ")
            first.start()
            terminal.type("core.pwd\n")
            terminal.expect("/\n")
            terminal.type("exit\n")
            assert terminal.wait() == 0
