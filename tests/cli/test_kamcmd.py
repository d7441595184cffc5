"""``bridle kamcmd``: what is typed, what is printed, how it ends. The real one is in ``tests/interop``."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from bridle.cli.kamcmd_interactive import Names
from bridle.cli.kamcmd_output import FormatError, as_json, check_format, formatted, shown, unescaped
from bridle.cli.kamcmd_session import Options, Session
from bridle.cli.kamcmd_words import read_argument, words
from bridle.net.endpoint import Endpoint
from bridle.wire.binrpc_packets import FAULT, REPLY, PacketReader, encode_packet
from bridle.wire.binrpc_records import Struct, decode_records, encode_records
from tests.support.bridle import command_line

# Bodies of replies, and what kamcmd 1.5 prints of them (captured with a server of hand-made replies).
PRINTED = {
    "041001100284": "\t[\n\t1\n\t2\n]\n",
    "040410018421780084": "\t[\n\t\t[\n\t\t1\n\t]\n\tx\n]\n",
    "040325610010018384": "\t[\n\t{\n\t\ta: 1\n\t}\n]\n",
    "03100121780083": "{\n\t1\n\tx\n}\n",
    "4661620063": "ab\n",
    "032562003661626383": "{\n\tb: abc\n}\n",
    "82fffffffffffffa24": "-1.500000\n",
    "2207d0": "2\n",
    "220c45": "3.141000\n",
    "72038d7ea4c68000": "1000000000000\n",
    "02": "0\n",
    "9208fffffffffffffa24": "-1.500000\n",
    "": "",
    "51c5be6c7500": "žlu\n",
    "41610a6200": "a\nb\n",
}
NESTED = [
    Struct(
        (
            ("n", 1),
            ("sub", Struct((("x", 10), ("deep", Struct((("k", "v"),)))))),
            ("list", Struct(((None, 1), (None, "two"), (None, 3.25), (None, Struct((("in", 4),)))))),
            ("last", 99),
        )
    )
]


@pytest.mark.parametrize(("body", "text"), PRINTED.items())
def test_records_are_printed_as_kamcmd_prints_them(body: str, text: str) -> None:
    assert shown(decode_records(bytes.fromhex(body))) == text


def test_structs_are_printed_over_several_lines() -> None:
    assert shown(NESTED) == (
        "{\n\tn: 1\n\tsub: {\n\t\tx: 10\n\t\tdeep: {\n\t\t\tk: v\n\t\t}\n\t}\n\tlist: {\n\t\t1\n\t\ttwo\n"
        "\t\t3.250000\n\t\t{\n\t\t\tin: 4\n\t\t}\n\t}\n\tlast: 99\n}\n"
    )


@pytest.mark.parametrize(
    ("template", "text"),
    [
        ("%v,", "1,2,3,"),
        ("[%v %v]\\n", "[1 2]\n[3 ]\n"),
        ("no values\\n", "no values\n1no values\n2no values\n3"),
        ("", "123"),
        ("%v\\t%v\\r\\\\\\n", "1\t2\r\\\n3\t\r\\\n"),
        ("%v%%\\n", "1%\n2%\n3%\n"),
        ("\\q%v", "\\q1\\q2\\q3"),
    ],
)
def test_a_format_begins_anew_while_there_are_values(template: str, text: str) -> None:
    assert formatted([1, 2, 3], unescaped(template)) == text


def test_a_format_without_values_is_printed_once() -> None:
    assert formatted([], "%v\n") == "\n"
    assert formatted([], "%v - %v\n") == " - \n"
    assert formatted(["more", "than", "two"], "%v - %v\n") == "more - than\ntwo - \n"


def test_a_struct_counts_as_its_parts() -> None:
    assert formatted(NESTED, "%v|") == (
        "{|n: 1|sub: {|x: 10|deep: {|k: v|}|}|list: {|1|two|3.250000|{|in: 4|}|}|last: 99|}|"
    )


def test_a_format_with_other_signs_is_refused() -> None:
    for template in ("%d", "100%", "%v %s"):
        with pytest.raises(FormatError):
            check_format(template)
    check_format("%v 100%%")


def test_json_is_a_list_of_the_records() -> None:
    values = [1, 2.0, "Z\udcfcg", *NESTED]
    assert json.loads(as_json(values)) == [
        1,
        2,
        "Z\N{REPLACEMENT CHARACTER}g",
        {"n": 1, "sub": {"x": 10, "deep": {"k": "v"}}, "list": [1, "two", 3.25, {"in": 4}], "last": 99},
    ]


@pytest.mark.parametrize(
    ("word", "value"),
    [
        ("5", 5),
        ("-5", -5),
        ("+7", 7),
        (" 5", 5),
        ("010", 10),
        ("2147483648", -(1 << 31)),
        ("4294967295", -1),
        ("4294967296", "4294967296"),
        ("00491711234567", "00491711234567"),
        ("5.5", 5.5),
        ("1.", 1.0),
        (".5", 0.5),
        ("1e3", 1000.0),
        ("0x10", 16.0),
        ("0x1.8p1", 3.0),
        ("5abc", "5abc"),
        ("5 ", "5 "),
        ("1.2.3", "1.2.3"),
        ("1_000", "1_000"),
        ("nan", "nan"),
        ("inf", "inf"),
        ("", ""),
        ("s:5", "5"),
        ("s:", ""),
        ("s:s:x", "s:x"),
        ("d:5", "d:5"),
        ("-", "-"),
    ],
)
def test_an_argument_is_what_it_looks_like(word: str, value: object) -> None:
    read = read_argument(word)
    assert (read, type(read)) == (value, type(value))


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("core.prints a b", ["core.prints", "a", "b"]),
        ('core.prints "a b" c', ["core.prints", "a b", "c"]),
        ("x 'a \"b' \"c'd\"", ["x", 'a "b', "c'd"]),
        (r"x a\ b \"", ["x", "a b", '"']),
        ("x ''", ["x", ""]),
        ("\tx  \t y ", ["x", "y"]),
        ("", []),
    ],
)
def test_a_line_is_cut_into_words_as_a_shell_does(line: str, found: list[str]) -> None:
    assert [word for word, _ in words(line)] == found


def test_what_is_quoted_is_a_string() -> None:
    assert [read_argument(word, quoted=quoted) for word, quoted in words('"5" 5 s:5')] == ["5", 5, "5"]


Method = Callable[..., tuple[int, list[object]]]


@contextmanager
def server(path: Path, methods: dict[str, Method]) -> Iterator[None]:
    """A server of some methods, on a unix socket; a method that is None says nothing."""
    listening = socket.socket(socket.AF_UNIX)
    listening.bind(str(path))
    listening.listen()
    connections: list[socket.socket] = []

    def serve(connection: socket.socket) -> None:
        reader = PacketReader()
        while data := connection.recv(1 << 16):
            for packet in reader.receive(data):
                name, *arguments = decode_records(packet.body)
                kind, values = methods.get(str(name), _unknown(str(name)))(*arguments)
                if kind >= 0:
                    connection.sendall(encode_packet(kind, packet.cookie, encode_records(values)))

    def accept() -> None:
        while True:
            try:
                connection, _ = listening.accept()
            except OSError:
                return
            connections.append(connection)
            thread = threading.Thread(target=serve, args=[connection])
            threads.append(thread)
            thread.start()

    threads = [threading.Thread(target=accept)]
    threads[0].start()
    try:
        yield
    finally:
        listening.shutdown(socket.SHUT_RDWR)
        listening.close()
        for connection in connections:
            with connection:
                connection.shutdown(socket.SHUT_RDWR)
        for thread in threads:
            thread.join()


def _unknown(name: str) -> Method:
    return lambda *_: (FAULT, [500, f"command {name} not found"])


METHODS: dict[str, Method] = {
    "core.prints": lambda *values: (REPLY, list(values)),
    "silent": lambda: (-1, []),
    "busy": lambda: (FAULT, [400, "busy"]),
    "system.listMethods": lambda: (REPLY, ["cfg.get", "cfg.list", "cnt.get", "cnt.grps_list", "core.prints"]),
    "cfg.list": lambda: (REPLY, ["core: debug", "core: log", "tm: timer"]),
    "cnt.grps_list": lambda: (REPLY, ["core", "sl"]),
    "cnt.var_list": lambda group: (REPLY, [f"{group}_rcvd"]),
    "steer": lambda: (REPLY, ["\x1b]0;owned\x07"]),
}


@pytest.fixture
def address(short_path: Path) -> Iterator[str]:
    with server(short_path / "s", METHODS):
        yield f"{short_path}/s"


def test_the_exit_status_says_how_it_went(address: str) -> None:
    good = command_line("kamcmd", "-s", address, "core.prints", "-5", "-.5", "a b")
    assert (good.returncode, good.stdout, good.stderr) == (0, "-5\n-0.500000\na b\n", "")
    busy = command_line("kamcmd", "-s", address, "busy")
    assert (busy.returncode, busy.stdout) == (1, "error: 400 - busy\n")
    unknown = command_line("kamcmd", "-s", address, "nope")
    assert (unknown.returncode, unknown.stdout) == (2, "error: 500 - command nope not found\n")
    silent = command_line("kamcmd", "-s", address, "-t", "0.1", "silent")
    assert (silent.returncode, silent.stdout) == (75, "")
    assert "no answer in 0.1 s" in silent.stderr
    gone = command_line("kamcmd", "-s", f"{address}x", "core.pwd")
    assert (gone.returncode, gone.stdout) == (255, "")
    assert "No such file or directory" in gone.stderr


def test_json_for_programs(address: str) -> None:
    good = command_line("kamcmd", "--json", "-s", address, "core.prints", "1", "x")
    assert json.loads(good.stdout) == [1, "x"]
    busy = command_line("kamcmd", "-s", address, "busy", "--json")
    assert json.loads(busy.stdout) == {"code": 400, "message": "busy"}
    assert busy.returncode == 1


@pytest.mark.parametrize(
    ("options", "part"),
    [
        (["-x"], "unknown option '-x'"),
        (["--wrong"], "unknown option '--wrong'"),
        (["-s"], "option '-s' needs a value"),
        (["-s", "foo:bar:1", "x"], "foo:bar:1"),
        (["-s", "fifo:/x", "x"], "does not travel on FIFOs"),
        (["-f", "%d", "x"], "'%' in a format"),
        (["-t", "0", "x"], "a timeout is more than 0"),
        (["--timeout=never", "x"], "a timeout is more than 0"),
    ],
)
def test_wrong_usage_is_told_in_one_line(options: list[str], part: str) -> None:
    ended = command_line("kamcmd", *options)
    assert (ended.returncode, ended.stdout) == (255, "")
    assert part in ended.stderr
    assert ended.stderr.count("\n") == 1


def test_help_and_version() -> None:
    text = command_line("kamcmd", "-h")
    assert text.returncode == 0
    assert max(map(len, text.stdout.splitlines())) <= 80
    assert command_line("kamcmd", "-V").stdout.startswith("version: bridle kamcmd ")
    assert command_line("kamcmd", "warranty").stdout.startswith("bridle kamcmd ")
    assert command_line("kamcmd", "quit").returncode == 0


def test_a_script_of_lines_ends_with_the_last_status(address: str) -> None:
    ended = command_line("kamcmd", "-s", address, stdin='core.prints "a b" 5\n\nbusy\n')
    assert ended.stdout.splitlines()[2:] == [
        'kamcmd> core.prints "a b" 5',
        "a b",
        "5",
        "kamcmd> ",
        "kamcmd> busy",
        "error: 400 - busy",
        "kamcmd> ",
    ]
    assert ended.returncode == 1


def test_what_can_follow_is_known(address: str) -> None:
    session = Session(Options(endpoint=Endpoint("unix", "binrpc", path=address)))
    names = Names(session)
    try:
        assert {"core.prints", "ps", "quit", "help"} <= set(names.after([]))
        assert names.after(["help"]) == names.after([])
        assert names.after(["cfg.get"]) == ["core", "tm"]
        assert names.after(["cfg.get", "core"]) == ["debug", "log"]
        assert names.after(["cfg.get", "none"]) == []
        assert names.after(["cnt.get"]) == ["core", "sl"]
        assert names.after(["cnt.get", "sl"]) == ["sl_rcvd"]
        assert names.after(["core.prints"]) == []
        assert names.after(["cnt.get", "sl", "x"]) == []
    finally:
        session.close()
