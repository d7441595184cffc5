"""``bridle shell``: lines and their words, completion, help, history, and whole sessions."""

from __future__ import annotations

import json
import re
import socket
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from click.testing import CliRunner
from prompt_toolkit.completion import CompleteEvent
from prompt_toolkit.document import Document
from prompt_toolkit.formatted_text import to_plain_text

from bridle.cli.hints import Given
from bridle.cli.shell import command
from bridle.cli.shell_catalogue import describe, shown
from bridle.cli.shell_completion import ShellCompleter, hint
from bridle.cli.shell_help import command_text, overview
from bridle.cli.shell_history import HISTORY_LIMIT, history_file, open_history
from bridle.cli.shell_line import commands, is_open, split
from bridle.cli.shell_prompt import prompt_text
from bridle.cli.shell_session import BUILTINS, Session
from bridle.client import connect
from tests.support import kea
from tests.support.bridle import Agent, EmbeddedDaemon, command_line
from tests.support.programs import short_directory
from tests.support.terminal import SHOW_SECONDS, Terminal

USAGE, UNAVAILABLE, TIMED_OUT, PROTOCOL = 64, 69, 75, 76


class TestLines:
    """Lines and their words"""

    @pytest.mark.parametrize(
        ("text", "words"),
        [
            ("", []),
            ("version-get", ["version-get"]),
            ("  set a=1\tb=2 ", ["set", "a=1", "b=2"]),
            (
                "say 'two words' \"and two\" more\\ still ''",
                ["say", "two words", "and two", "more still", ""],
            ),
            ("say name='a b'", ["say", "name=a b"]),
            ("say 'it''s'", ["say", "its"]),
            ('set {"a": {"b c": [1, "}"]}}', ["set", '{"a": {"b c": [1, "}"]}}']),
            ("set [1, 2]", ["set", "[1, 2]"]),
            ("set {} {}", ["set", "{} {}"]),
            ('add slot={"from": 6, "to": 8} day="a b"', ["add", 'slot={"from": 6, "to": 8}', "day=a b"]),
            ("add slots=[1, [2, 3]] x", ["add", "slots=[1, [2, 3]]", "x"]),
            ("add x [1, 2] y", ["add", "x", "[1, 2]", "y"]),
            ("say '{' \"[\"", ["say", "{", "["]),
            (r'set {"a": "\"}"}', ["set", r'{"a": "\"}"}']),
            ("{ not a command", ["{", "not", "a", "command"]),
            ('set {"a": ', ["set", '{"a":']),
        ],
    )
    def test_words_are_those_of_a_shell_and_json_stands_as_it_is(self, text: str, words: list[str]) -> None:
        assert split(text) == words

    @pytest.mark.parametrize("text", ["say 'a", 'say "a', "say a\\"])
    def test_a_quote_without_its_end_is_told(self, text: str) -> None:
        with pytest.raises(click.UsageError, match="quote"):
            split(text)

    @pytest.mark.parametrize(
        ("text", "opened"),
        [
            ("set", False),
            ('set {"a": 1', True),
            ('set {"a": "}', True),
            ('set {"a": "}"}', False),
            ("set {]", False),
            ("set a=[1,", True),
            ("say '{'", False),
            ("say 'a", False),
            ("# {", False),
        ],
    )
    def test_a_command_goes_on_while_a_bracket_is_open(self, text: str, opened: bool) -> None:
        assert is_open(text) is opened

    def test_lines_are_joined_to_commands(self) -> None:
        text = 'a\n\n  # not this {\nset {"x":\n\n [1,\n"]"]}\nb\nadd p={"q":\n1} r=[\n2]\nlast {\n'

        assert list(commands(text.splitlines())) == [
            "a",
            'set {"x":\n\n [1,\n"]"]}',
            "b",
            'add p={"q":\n1} r=[\n2]',
            "last {",
        ]

    def test_many_lines_of_json_are_read_once(self) -> None:
        lines = ["config-set [", *['{"a": "{[\\"", "b": [1]},'] * 50_000, "{}]"]

        assert len(list(commands(lines))) == 1


SCHEMA: dict[str, kea.JSON] = {
    "type": "object",
    "properties": {
        "boost": {"type": "boolean", "default": False},
        "fan": {"enum": ["high", "low", "5"], "default": "low"},
        "mode": {"$ref": "#/$defs/Mode"},
        "note": {"anyOf": [{"type": "string"}, {"type": "null"}], "default": None},
        "slots": {"type": "array", "items": {"$ref": "#/$defs/Slot"}, "default": []},
        "until": {"type": "number"},
    },
    "required": ["until", "mode"],
    "$defs": {
        "Mode": {"enum": ["comfort", "frost protection"]},
        "Slot": {"type": "object", "properties": {}},
    },
}
HELP: dict[str, kea.JSON] = {
    "config-set": {"access": "write", "summary": "Replace all.", "help": "Replace all.", "arguments": None},
    "set-mode": {
        "access": "write",
        "summary": "Choose how the room is heated.",
        "help": "Choose how the room is heated.\n\nAt full power while ``boost`` is\ntrue, in any mode.",
        "arguments": SCHEMA,
    },
    "temperature-get": {"access": "read", "summary": "Tell.", "help": "Tell.", "arguments": {}},
}


@pytest.fixture
def session() -> Session:
    """One that knows :data:`HELP`, and whose daemon is not there."""
    session = Session(connect("http://127.0.0.1:9"), given=Given())
    session.catalogue = {name: describe(name, value) for name, value in HELP.items()}
    session.services = ["d2", "dhcp4"]
    return session


def offered(session: Session, text: str) -> list[tuple[str, str]]:
    """The lines that completions lead to, and what is said beside them."""
    found = ShellCompleter(session).get_completions(Document(text), CompleteEvent(text_inserted=True))
    return [
        (text[: len(text) + each.start_position] + each.text, to_plain_text(each.display_meta))
        for each in found
    ]


class TestCompletion:
    """Completion, from what is known"""

    def test_names_of_commands_are_offered_with_their_summaries(self, session: Session) -> None:
        assert offered(session, "set") == [
            ("set-mode", "Choose how the room is heated."),
            ("config-set", "Replace all."),
        ]

    def test_an_empty_line_can_be_anything(self, session: Session) -> None:
        assert {line for line, _ in offered(session, "")} == {*HELP, *BUILTINS}

    def test_arguments_are_offered_with_type_and_need_the_required_ones_first(self, session: Session) -> None:
        assert offered(session, "set-mode ") == [
            ("set-mode until=", "number, required"),
            ("set-mode mode=", "comfort|frost protection, required"),
            ("set-mode boost=", "boolean, default false"),
            ("set-mode fan=", "high|low|5, default low"),
            ("set-mode note=", "string|null, default null"),
            ("set-mode slots=", "list of map, default []"),
        ]

    def test_an_argument_that_is_given_is_not_offered_again(self, session: Session) -> None:
        lines = [line for line, _ in offered(session, "set-mode until=5 mode='frost protection' o")]

        assert lines == [
            f"set-mode until=5 mode='frost protection' {name}=" for name in ("boost", "note", "slots")
        ]

    @pytest.mark.parametrize(
        ("text", "values"),
        [
            ("set-mode boost=", ["true", "false"]),
            ("set-mode boost=t", ["true"]),
            ("set-mode fan=", ["high", "low", "'\"5\"'"]),
            ("set-mode mode=", ["comfort", "'frost protection'"]),
            ("set-mode note=", ["null"]),
            ("set-mode until=", []),
            ("set-mode nonsense=", []),
        ],
    )
    def test_values_are_offered_where_they_can_be_counted(
        self, session: Session, text: str, values: list[str]
    ) -> None:
        head = text[: text.index("=") + 1]

        assert [line.removeprefix(head) for line, _ in offered(session, text)] == values

    @pytest.mark.parametrize(
        "text",
        ['set-mode {"a": ', "set-mode 'a ", "set-mode 5 ", "config-set ", "unknown ", "temperature-get "],
        ids=["JSON", "a quote", "values in order", "checks itself", "unknown", "takes none"],
    )
    def test_nothing_is_offered_where_nothing_is_known(self, session: Session, text: str) -> None:
        assert offered(session, text) == []

    def test_the_shells_own_commands_are_completed(self, session: Session) -> None:
        assert offered(session, "use ") == [("use d2", "service"), ("use dhcp4", "service")]
        assert offered(session, "help te") == [("help temperature-get", "Tell.")]
        assert [line for line, _ in offered(session, "json ")] == ["json on", "json off"]
        assert offered(session, "quit ") == []

    def test_files_are_offered_after_an_at_sign(self, session: Session, tmp_path: Path) -> None:
        (tmp_path / "body.json").touch()

        assert offered(session, f"config-set @{tmp_path}/bo")[0][0] == f"config-set @{tmp_path}/body.json"

    def test_a_hint_tells_how_the_command_goes_on(self, session: Session) -> None:
        assert hint(session, "temperature-get", 80) == "temperature-get  Tell."
        assert hint(session, "config-set {", 80) == "config-set ...  Replace all."
        assert hint(session, "set-mode unt", 40) == "set-mode until=number mode=comfort|fro…"
        assert hint(session, "use", 20) == "use [SERVICE]  Add…"
        assert hint(session, "unknown", 80) == hint(session, "", 80) == ""

    @pytest.mark.parametrize(
        "value",
        [None, 5, "x", [], {"arguments": 5}, {"arguments": {"properties": 5, "required": "x"}}]
        + [{"arguments": {"properties": {"a": kind}, "required": [5, "b"]}} for kind in (5, {}, [], None)]
        + [{"arguments": {"properties": {"a": {"anyOf": 5, "type": [], "enum": 3, "$ref": "#/x"}}}}],
    )
    def test_a_description_that_makes_no_sense_costs_only_itself(
        self, session: Session, value: kea.JSON
    ) -> None:
        session.catalogue = {"odd": describe("odd", value)}

        assert offered(session, "od") == [("odd", "")]
        assert all(line == "odd a=" for line, _ in offered(session, "odd "))
        assert command_text(session.catalogue["odd"], 80).startswith("odd")

    def test_a_type_that_goes_in_circles_has_an_end(self) -> None:
        around: kea.JSON = {"type": "array", "items": {"$ref": "#/$defs/T"}}
        schema: kea.JSON = {"properties": {"t": {"$ref": "#/$defs/T"}}, "$defs": {"T": around}}

        entry = describe("c", {"arguments": schema})

        assert entry.signature == "c [t=list of list of list of list of list]"

    def test_texts_of_a_daemon_do_not_steer_the_terminal(self) -> None:
        entry = describe("c", {"access": "read", "help": "a\x1b[2Jb\x07", "summary": "s\x1b]0;t\x07"})

        assert "\x1b" not in command_text(entry, 80) + entry.summary
        assert "\x07" not in command_text(entry, 80) + entry.summary

    @pytest.mark.parametrize("value", ["low", "a b", "5", "true", "", "it's", '"', "[x", "é", "a\\b"])
    def test_a_value_is_shown_as_it_is_typed(self, value: str) -> None:
        from bridle.cli.arguments import parse_arguments

        assert parse_arguments(split(f"c v={shown(value)}")[1:]) == {"v": value}


class TestHelp:
    """Help"""

    def test_a_command_is_told_with_signature_text_access_and_arguments(self, session: Session) -> None:
        assert command_text(session.catalogue["set-mode"], 100).splitlines() == [
            "set-mode until=number mode=comfort|frost protection [boost=boolean] [fan=high|low|5]",
            "        [note=string|null] [slots=list of map]",
            "    Choose how the room is heated.",
            "",
            "    At full power while 'boost' is true, in any mode.",
            "",
            "    access: write",
            "",
            "    arguments:",
            "        until=  number, required",
            "        mode=   comfort|frost protection, required",
            "        boost=  boolean, default false",
            "        fan=    high|low|5, default low",
            "        note=   string|null, default null",
            "        slots=  list of map, default []",
        ]

    def test_all_commands_are_listed(self, session: Session) -> None:
        text = overview({"quit": "Leave."}, session.catalogue, 80)

        assert "  temperature-get  Tell.\n" in text
        assert "  quit  Leave.\n" in text

    @pytest.mark.parametrize("width", [40, 60])
    def test_help_keeps_to_a_narrow_terminal(self, session: Session, width: int) -> None:
        told = overview(dict.fromkeys(BUILTINS, "word " * 30), session.catalogue, width)
        told += "\n" + command_text(session.catalogue["set-mode"], width)

        assert max(map(len, told.splitlines())) <= width
        assert "Choose how the room is heated." in " ".join(told.split())

    def test_names_alone_are_listed_in_columns(self) -> None:
        catalogue = {name: describe(name, None) for name in ("aaaa", "bb", "cccccc", "d", "e")}

        assert overview({}, catalogue, 24).splitlines()[1:4] == ["  aaaa    d", "  bb      e", "  cccccc"]


class TestHistory:
    """The history"""

    def test_lines_are_kept_for_the_next_session(self, tmp_path: Path) -> None:
        file = tmp_path / "a" / "history"
        for line in ("one", 'two {\n"x": 1}'):
            open_history(file).append_string(line)

        assert list(open_history(file).load_history_strings()) == ['two {\n"x": 1}', "one"]

    @pytest.mark.parametrize(
        "line",
        [
            "login password=x",
            'login {"user": "a", "Password" : "x"}',
            "set auth-token=x",
            'config-set {"secret": "x"}',
            "set db_passwd='x'",
        ],
    )
    def test_secrets_are_not_kept(self, tmp_path: Path, line: str) -> None:
        history = open_history(tmp_path / "history")
        history.append_string(line)
        history.append_string("help password")

        assert list(open_history(tmp_path / "history").load_history_strings()) == ["help password"]

    def test_nobody_else_can_read_it(self, tmp_path: Path) -> None:
        file = tmp_path / "state" / "history"
        file.parent.mkdir()
        file.write_text("")
        file.chmod(0o644)
        new = tmp_path / "new" / "history"

        open_history(file)
        open_history(new)

        assert [stat.S_IMODE(each.stat().st_mode) for each in (file, new, new.parent)] == [
            0o600,
            0o600,
            0o700,
        ]

    def test_the_older_half_goes_when_it_grows_beyond_its_limit(self, tmp_path: Path) -> None:
        file = tmp_path / "history"
        entries = HISTORY_LIMIT // 100 + 10
        file.write_text("".join(f"\n# then\n+{number:090}\n" for number in range(entries)))

        kept = list(open_history(file).load_history_strings())

        assert file.stat().st_size <= HISTORY_LIMIT // 2 + 1000
        assert kept[0] == f"{entries - 1:090}"
        assert kept[-1] == f"{entries - len(kept):090}"
        assert [each.name for each in tmp_path.iterdir()] == ["history"]

    def test_a_session_goes_without_where_it_cannot_be_kept(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        (tmp_path / "file").touch()

        open_history(tmp_path / "file" / "history").append_string("one")

        assert "the history is not kept" in capsys.readouterr().err

    def test_it_stands_where_state_belongs(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("HOME", str(tmp_path))

        assert history_file({"XDG_STATE_HOME": "/state"}) == Path("/state/bridle/history")
        assert history_file({}) == tmp_path / ".local/state/bridle/history"
        assert history_file({"XDG_STATE_HOME": "relative"}) == tmp_path / ".local/state/bridle/history"


def test_the_prompt_leaves_room_on_a_narrow_terminal() -> None:
    assert prompt_text("unix:/run/thermostat.sock", 80) == "unix:/run/thermostat.sock> "
    assert prompt_text("unix:/run/thermostat.sock", 40) == "…ermostat.sock> "
    assert len(prompt_text("http://[2001:db8::1]:8000 dhcp4", 40)) <= 16


# Sessions without a terminal


@pytest.fixture(scope="module")
def thermostat() -> Iterator[EmbeddedDaemon]:
    """The example daemon."""
    with (
        short_directory() as directory,
        EmbeddedDaemon("examples.thermostat:Thermostat", directory) as running,
    ):
        yield running


@pytest.fixture(scope="module")
def agent(thermostat: EmbeddedDaemon) -> Iterator[Agent]:
    """An agent with one daemon that is there, and one that is not."""
    services = {"thermostat": thermostat.socket, "gone": thermostat.socket.with_name("gone.sock")}
    with short_directory() as directory, Agent(directory, services) as running:
        yield running


def shell(*words: str, stdin: str) -> subprocess.CompletedProcess[str]:
    completed = command_line("shell", *words, stdin=stdin)
    assert "Traceback" not in completed.stderr
    return completed


def answers(output: str) -> list[dict[str, kea.JSON]]:
    """The JSON texts that follow each other."""
    decoder, found, position = json.JSONDecoder(), [], 0
    while position < len(output.rstrip()):
        value, position = decoder.raw_decode(output, position)
        found.append(value)
        position += len(output[position:]) - len(output[position:].lstrip())
    return found


class TestWithoutTerminal:
    """Commands from a pipe"""

    def test_a_line_is_a_command_and_its_answer_is_json(self, thermostat: EmbeddedDaemon) -> None:
        completed = shell(thermostat.endpoint, stdin="version-get")

        assert (completed.returncode, completed.stderr) == (0, "")
        assert answers(completed.stdout)[0]["text"] == "1.0"

    def test_arguments_are_words_or_json_over_several_lines(self, thermostat: EmbeddedDaemon) -> None:
        lines = 'set-target celsius=21.5\n# a comment\n\nset-target 22\nset-target {\n "celsius": 23\n}\n'
        completed = shell(thermostat.endpoint, stdin=lines)

        assert completed.returncode == 0
        assert [answer["arguments"] for answer in answers(completed.stdout)] == [
            {"target": 21.5},
            {"target": 22.0},
            {"target": 23.0},
        ]

    @pytest.mark.parametrize(
        ("lines", "status"),
        [
            ("", 0),
            ("version-get\n", 0),
            ("set-target 99\nversion-get\n", 1),
            ("no-such-command\nset-target 99\n", 2),
            ("set-target 'a\nversion-get\n", USAGE),
            ("set-target {\n", USAGE),
            ("set-target -\n", USAGE),
            ("use dhcp4\n", USAGE),
            ("help nonsense\n", USAGE),
            ("json maybe\n", USAGE),
            ("quit now\n", USAGE),
            ("''\n", USAGE),
            ("quit\nno-such-command\n", 0),
            ("no-such-command\nexit\n", 2),
        ],
    )
    def test_the_exit_status_is_the_worst(self, thermostat: EmbeddedDaemon, lines: str, status: int) -> None:
        completed = shell(thermostat.endpoint, stdin=lines)

        assert completed.returncode == status
        assert bool(completed.stderr) is (status == USAGE)

    def test_an_error_ends_nothing(self, thermostat: EmbeddedDaemon) -> None:
        completed = shell(thermostat.endpoint, stdin="set-target {bad}\nset-target a=1 2\nversion-get\n")

        assert completed.returncode == USAGE
        assert "not JSON" in completed.stderr
        assert [answer["result"] for answer in answers(completed.stdout)] == [0]

    def test_what_is_no_utf_8_is_told(self, thermostat: EmbeddedDaemon) -> None:
        lines = b"say \xff\nset-target 20\n"
        done = CliRunner().invoke(command, [thermostat.endpoint], input=lines, standalone_mode=False)

        assert done.return_value == USAGE
        assert "is not UTF-8" in done.stderr
        assert [answer["result"] for answer in answers(done.stdout)] == [0]

    def test_a_pipe_does_not_pay_for_a_terminal(self) -> None:
        look = "import sys, bridle.cli.shell; print({'asyncio', 'prompt_toolkit'} & {*sys.modules})"
        completed = subprocess.run(
            [sys.executable, "-c", look], capture_output=True, text=True, timeout=SHOW_SECONDS, check=True
        )

        assert completed.stdout == "set()\n"

    def test_nobody_there_is_told_for_each_command(self, short_path: Path) -> None:
        completed = shell(f"unix:{short_path}/none", stdin="a\nhelp\nb\n")

        assert completed.returncode == UNAVAILABLE
        assert completed.stderr.count("No such file or directory") == 3

    def test_a_silent_daemon_is_given_up(self, short_path: Path) -> None:
        path = short_path / "silent.sock"
        with kea.listener(path, lambda channel: channel.recv(65536) and channel.recv(65536)):
            completed = shell(f"unix:{path}", "--timeout", "0.2", stdin="version-get\n")

        assert completed.returncode == TIMED_OUT

    def test_wrong_usage_is_told(self) -> None:
        assert shell("nonsense:/x", stdin="").returncode == USAGE
        assert shell("unix:/x", "--service", "dhcp4", stdin="").returncode == USAGE

    def test_services_behind_an_agent_are_addressed(self, agent: Agent) -> None:
        lines = "temperature-get\nuse\ntemperature-get\nuse gone\nversion-get\n"
        completed = shell(agent.endpoint, "--service", "thermostat", stdin=lines)

        assert completed.returncode == 2
        first, second, third = answers(completed.stdout)
        assert [first["result"], second["result"], third["result"]] == [0, 2, 1]
        assert "unable to forward" in str(third["text"])

    def test_a_service_that_there_is_not_is_refused_and_nothing_changes(self, agent: Agent) -> None:
        lines = "use dhcp9\ntemperature-get\n"
        completed = shell(agent.endpoint, "--service", "thermostat", stdin=lines)

        assert completed.returncode == USAGE
        assert completed.stderr == "bridle: there is no service 'dhcp9'; there are gone, thermostat\n"
        assert answers(completed.stdout)[0]["result"] == 0

    @pytest.mark.parametrize(
        "answer", [b"nonsense", b'{ "result": 0, "arguments": ' + b"[" * 5000 + b"]" * 5000 + b" }"]
    )
    @pytest.mark.parametrize("line", ["help", "version-get"])
    def test_an_answer_that_makes_no_sense_is_told(self, short_path: Path, answer: bytes, line: str) -> None:
        with kea.listener(short_path / "s", kea.replying(answer)):
            completed = shell(f"unix:{short_path}/s", stdin=line)

        assert completed.returncode == PROTOCOL
        assert len(completed.stderr) < 1000

    def test_help_is_printed(self, thermostat: EmbeddedDaemon) -> None:
        completed = shell(thermostat.endpoint, stdin="help\nhelp use\n")

        assert completed.returncode == 0
        assert re.search(r"^  set-target\b", completed.stdout, re.MULTILINE)
        assert "use [SERVICE]\n" in completed.stdout


class Daemon:
    """One that answers ``command-help`` as it is told, and nothing to ``wait``.

    A conversation for :func:`kea.listener`. An ``old`` one does not know ``command-help``.
    """

    def __init__(self, commands: dict[str, kea.JSON], *, old: bool = False) -> None:
        self.waits = threading.Event()
        self._commands = commands
        self._old = old

    def __call__(self, channel: socket.socket) -> None:
        received = b""
        while b"}" not in received:
            piece = channel.recv(65536)
            if not piece:
                return
            received += piece
        name = json.loads(received.removeprefix(b"//keep-alive\n"))["command"]
        if name == "wait":
            self.waits.set()
            channel.recv(65536)
        else:
            channel.sendall(json.dumps(self._answer(name)).encode())

    def _answer(self, name: str) -> dict[str, kea.JSON]:
        if name == "command-help" and not self._old:
            return {"result": 0, "arguments": self._commands}
        if name == "list-commands":
            return {"result": 0, "arguments": [*self._commands]}
        if name in self._commands:
            return {"result": 0, "text": f"{name} was done"}
        return {"result": 2, "text": f"'{name}' command not supported."}


# Sessions on a terminal


@pytest.fixture
def state(tmp_path: Path) -> dict[str, str]:
    """An environment with a history of its own."""
    return {"XDG_STATE_HOME": str(tmp_path)}


@pytest.fixture
def socket_path(short_path: Path) -> Iterator[Path]:
    """The socket of a daemon that explains itself."""
    with kea.listener(short_path / "s", Daemon(HELP)):
        yield short_path / "s"


class TestOnATerminal:
    """Whole sessions"""

    def test_commands_and_arguments_are_offered_and_explained(
        self, socket_path: Path, state: dict[str, str]
    ) -> None:
        with Terminal("shell", f"unix:{socket_path}", environment=state) as terminal:
            terminal.expect(f"unix:{socket_path}: 3 commands")
            terminal.type("se")
            terminal.expect("Choose how the room is heated.")
            terminal.type("\t ")
            terminal.expect("number, required")
            terminal.expect("boolean, default false")
            terminal.type("\x03help set-mode\r")
            terminal.expect("access: write")
            terminal.type("\x04")

            assert terminal.wait() == 0

    def test_an_old_daemon_completes_names(self, short_path: Path, state: dict[str, str]) -> None:
        path = short_path / "old"
        with (
            kea.listener(path, Daemon(HELP, old=True)),
            Terminal("shell", f"unix:{path}", environment=state) as terminal,
        ):
            terminal.expect("3 commands, known by name only")
            terminal.type("tem")
            terminal.expect("temperature-get")
            terminal.type("\t\r")
            terminal.expect("temperature-get was done")
            terminal.type("help temperature-get\r")
            terminal.expect("no more than the name")
            terminal.type("quit\r")

            assert terminal.wait() == 0

    @pytest.mark.peers("kea-dhcp4")
    def test_kea_completes_names(self, short_path: Path, state: dict[str, str]) -> None:
        with (
            kea.Dhcp4(short_path) as dhcp4,
            Terminal("shell", f"unix:{dhcp4.socket}", environment=state) as terminal,
        ):
            terminal.expect("commands, known by name only")
            terminal.type("dhcp-d")
            terminal.expect("dhcp-disable")
            terminal.type("\t max-period=20\r")
            terminal.expect("DHCPv4 service disabled for 20 seconds")
            terminal.type("leases-reclaim\r")
            terminal.expect("error 1: Missing mandatory 'remove' parameter.")

    def test_a_real_daemon_is_talked_to(self, thermostat: EmbeddedDaemon, state: dict[str, str]) -> None:
        with Terminal("shell", thermostat.endpoint, environment=state) as terminal:
            terminal.expect("commands")
            terminal.type("set-t")
            terminal.expect("Set the target temperature, in degrees Celsius.")
            terminal.type("arget ")
            terminal.expect("number, required")
            terminal.type("celsius=19.5\r")
            terminal.expect("target: 19.5")
            terminal.type('set-target {"celsius":\r20.5}\r')
            terminal.expect("target: 20.5")
            terminal.type("set-target celsius=99\r")
            terminal.expect("out of range")
            terminal.type("json on\rset-target 18.5\r")
            terminal.expect('"target": 18.5')
            terminal.type("\x04")

            assert terminal.wait() == 0

    def test_ctrl_c_ends_a_line_or_a_call_but_not_the_shell(
        self, short_path: Path, state: dict[str, str]
    ) -> None:
        daemon = Daemon({**HELP, "wait": None})
        with (
            kea.listener(short_path / "s", daemon),
            Terminal("shell", f"unix:{short_path}/s", environment=state) as terminal,
        ):
            terminal.expect("Ctrl-D leaves.")
            terminal.type("set-mode {\r\x03")
            terminal.type("wait\r")
            assert daemon.waits.wait(SHOW_SECONDS)
            terminal.interrupt()
            terminal.expect("interrupted")
            terminal.type("temperature-get\r")
            terminal.expect("temperature-get was done")
            terminal.type("\x04")

            assert terminal.wait() == 0
            assert "set-mode was done" not in terminal.text

    def test_a_daemon_that_went_away_is_told_and_found_again(
        self, short_path: Path, state: dict[str, str]
    ) -> None:
        path = short_path / "s"
        with Terminal("shell", f"unix:{path}", environment=state) as terminal:
            terminal.expect("No such file or directory")
            with kea.listener(path, Daemon(HELP)):
                terminal.type("temperature-get\r")
                terminal.expect("temperature-get was done")
                terminal.type("set-mo")
                terminal.expect("Choose how the room is heated.")
            path.unlink()
            terminal.type("\x03temperature-get\r")
            terminal.expect("No such file or directory")
            with kea.listener(path, Daemon({"another-get": {"summary": "Tell another thing."}})):
                terminal.type("another-get\r")
                terminal.expect("another-get was done")
                terminal.type("anoth")
                terminal.expect("Tell another thing.")
            terminal.type("\x03\x04")

            assert terminal.wait() == 0
            assert "Traceback" not in terminal.text

    def test_a_service_is_addressed_and_completed(self, agent: Agent, state: dict[str, str]) -> None:
        with Terminal("shell", agent.endpoint, environment=state) as terminal:
            terminal.expect("services: gone, thermostat")
            terminal.type("use ther")
            terminal.expect("service")
            terminal.type("mostat\r")
            terminal.expect(f"{agent.endpoint} thermostat>")
            terminal.type("set-t")
            terminal.expect("set-target")
            terminal.type("\x03use gone\r")
            terminal.expect("unable to forward command to the gone service")
            terminal.type("\x04")

            assert terminal.wait() == 0

    def test_forty_columns_are_enough(self, socket_path: Path, state: dict[str, str]) -> None:
        with Terminal("shell", f"unix:{socket_path}", columns=40, environment=state) as terminal:
            terminal.expect("3 commands")
            terminal.type("help\r")
            shown = terminal.expect("help COMMAND tells more.")
            listed = shown[shown.index("The daemon's commands:") :]
            terminal.type("set-mode ")
            terminal.expect("until=")

        assert max(map(len, listed.splitlines())) <= 40
        assert "Choose how the room is heated." in listed

    def test_the_history_is_kept_without_secrets(self, socket_path: Path, state: dict[str, str]) -> None:
        endpoint = f"unix:{socket_path}"
        with Terminal("shell", endpoint, environment=state) as terminal:
            terminal.expect("Ctrl-D leaves.")
            terminal.type("temperature-get\r")
            terminal.expect("was done")
            terminal.type("login password=hunter2\r")
            terminal.expect("not supported")
            terminal.type("\x04")
            terminal.wait()
        with Terminal("shell", endpoint, environment=state) as terminal:
            terminal.expect("Ctrl-D leaves.")
            terminal.type("\x1b[A\r")
            terminal.expect("temperature-get was done")
            terminal.type("\x04")
            terminal.wait()

        file = history_file(state)
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        assert "hunter2" not in file.read_text()
