"""Plugins: sets of Python modules that are loaded, replaced and unloaded as a whole."""

from __future__ import annotations

import itertools
import sys
from pathlib import Path

import msgspec
import pytest

import bridle
from bridle.daemon.callouts import Callouts
from bridle.daemon.plugins import PluginContext, Plugins, PluginSettings

STORY: list[str] = []
"""What the plugins of these tests tell of themselves."""

_numbers = itertools.count()


@pytest.fixture(autouse=True)
def empty_story() -> None:
    """Begin anew."""
    STORY.clear()


class Folder:
    """Writes plugins, and loads them into a manager."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.manager = bridle.CommandManager()
        self.plugins = Plugins(self.manager)

    def write(self, name: str, text: str) -> str:
        """Write a plugin that may use ``tell(text)``; its file name."""
        # The story is looked up in the module that this one was imported as.
        head = f"import sys\ntell = sys.modules[{__name__!r}].STORY.append\n"
        (self.path / name).write_text(head + text)
        return str(self.path / name)

    def load(self, *libraries: str, **parameters: bridle.JSON) -> None:
        """Replace what is loaded."""
        self.plugins.replace([PluginSettings(library, dict(parameters)) for library in libraries])

    def ask(self, name: str, arguments: bridle.JSON = None) -> bridle.Response:
        """Have a command answered."""
        outcome = self.manager.process_command(bridle.Command(name, arguments))
        assert isinstance(outcome, bridle.Response)
        return outcome


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    """A folder for plugins."""
    return Folder(tmp_path)


def greeter(name: str) -> str:
    """The text of a plugin with a command that greets, and that tells when it comes and goes."""
    return f"""
def load(context, parameters):
    tell("load {name}")
    context.register_command("greet-{name}", lambda: parameters.get("greeting", "hello"), access="read")

def unload():
    tell("unload {name}")
"""


def test_a_plugin_adds_commands_until_it_is_unloaded(folder: Folder) -> None:
    folder.load(folder.write("a.py", greeter("a")))
    assert folder.ask("greet-a").value == "hello"
    definition = folder.manager.definition("greet-a")
    assert definition is not None
    assert definition.access == "read"
    folder.plugins.unload()
    assert folder.ask("greet-a").result == bridle.Result.UNSUPPORTED
    assert STORY == ["load a", "unload a"]


def test_a_plugin_is_given_its_parameters(folder: Folder) -> None:
    folder.load(folder.write("a.py", greeter("a")), greeting="moin")
    assert folder.ask("greet-a").value == "moin"


def test_plugins_are_unloaded_last_first(folder: Folder) -> None:
    folder.load(folder.write("a.py", greeter("a")), folder.write("b.py", greeter("b")))
    folder.plugins.unload()
    assert STORY == ["load a", "load b", "unload b", "unload a"]


def test_the_same_plugins_again_stay_loaded(folder: Folder) -> None:
    library = folder.write("a.py", greeter("a"))
    folder.load(library)
    folder.load(library)
    assert STORY == ["load a"]


def test_the_same_plugins_are_loaded_anew_where_that_is_asked_for(folder: Folder) -> None:
    library = folder.write("a.py", greeter("a"))
    folder.load(library)
    folder.write("a.py", greeter("changed"))
    folder.plugins.replace([PluginSettings(library)], anew=True)
    assert STORY == ["load a", "load changed", "unload a"]
    assert folder.ask("greet-changed").result == 0
    assert folder.ask("greet-a").result == bridle.Result.UNSUPPORTED


def test_other_parameters_make_another_set(folder: Folder) -> None:
    library = folder.write("a.py", greeter("a"))
    folder.load(library)
    folder.load(library, greeting="moin")
    assert STORY == ["load a", "load a", "unload a"]
    assert folder.ask("greet-a").value == "moin"


def test_a_set_replaces_another_whole(folder: Folder) -> None:
    folder.load(folder.write("a.py", greeter("a")))
    folder.load(folder.write("b.py", greeter("b")))
    assert STORY == ["load a", "load b", "unload a"]
    assert folder.ask("greet-a").result == bridle.Result.UNSUPPORTED
    assert folder.ask("greet-b").result == 0


BROKEN = {
    "raises in load": ("def load(context, parameters):\n    1 / 0\n", "failed to load: ZeroDivisionError"),
    "raises on import": ("1 / 0\n", "cannot be imported: ZeroDivisionError"),
    "no Python": ("def load(:\n", "cannot be imported: SyntaxError"),
    "no load": ("load = 5\n", "has no function load(context, parameters)"),
    "name taken": (
        """
def load(context, parameters):
    context.register_command("own", lambda: 1)
    context.register_command("list-commands", lambda: 1)
""",
        "failed to load: DeclarationError: a handler for 'list-commands' is already registered",
    ),
}


@pytest.mark.parametrize(("text", "says"), BROKEN.values(), ids=BROKEN)
def test_a_set_that_fails_leaves_the_old_one(folder: Folder, text: str, says: str) -> None:
    old, good = folder.write("old.py", greeter("old")), folder.write("good.py", greeter("good"))
    broken = folder.write("broken.py", text)
    folder.load(old)
    with pytest.raises(bridle.ConfigurationError) as caught:
        folder.load(good, broken)
    assert str(caught.value).startswith(f"plugin '{broken}' {says}")
    assert folder.ask("greet-old").result == 0
    assert folder.ask("greet-good").result == bridle.Result.UNSUPPORTED
    assert folder.ask("own").result == bridle.Result.UNSUPPORTED
    if "failed to load" in says:
        assert STORY == ["load old", "load good", "unload good"]  # the old one never noticed
    else:
        assert STORY == ["load old"]  # what cannot be imported is found before anything is touched


@pytest.mark.parametrize(
    ("library", "says"),
    [
        ("/no/such/plugin.py", "cannot be imported: FileNotFoundError: no such file: /no/such/plugin.py"),
        ("no.such.module", "cannot be imported: ModuleNotFoundError: No module named 'no'"),
        ("no_such_module", "cannot be imported: ImportError: no Python module: no_such_module"),
        ("json", "has no function load(context, parameters)"),
    ],
)
def test_a_plugin_that_is_not_there_is_named(folder: Folder, library: str, says: str) -> None:
    if library == "json":
        library = "colorsys"  # a module that nobody minds to have loaded again
    with pytest.raises(bridle.ConfigurationError) as caught:
        folder.load(library)
    assert str(caught.value).startswith(f"plugin '{library}' {says}")


def test_a_plugin_may_be_named_as_a_module(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    name = f"plugin_of_a_test_{next(_numbers)}"
    folder.write(f"{name}.py", greeter("a"))
    monkeypatch.syspath_prepend(str(folder.path))
    try:
        folder.load(name)
        assert folder.ask("greet-a").result == 0
    finally:
        sys.modules.pop(name, None)


COUNTER = """
opened = []

def load(context, parameters):
    opened.append(1)
    context.register_command("count", lambda: len(opened), access="read")

def unload():
    opened.pop()
"""


def test_a_plugin_is_imported_once_and_keeps_what_it_holds(
    folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = f"plugin_of_a_test_{next(_numbers)}"
    for library in (folder.write("counter.py", f'tell("import")\n{COUNTER}'), name):
        folder.write(f"{name}.py", f'tell("import")\n{COUNTER}')
        monkeypatch.syspath_prepend(str(folder.path))
        STORY.clear()
        try:
            folder.load(library, number=1)
            assert STORY == ["import"]
            folder.load(library, number=2)
            assert STORY == ["import"] * 2
            assert folder.ask("count").value == 1
            with pytest.raises(bridle.ConfigurationError):
                folder.load(library, folder.write("broken.py", "1 / 0\n"))
            assert folder.ask("count").value == 1
            folder.plugins.unload()
        finally:
            sys.modules.pop(name, None)


def test_a_module_that_cannot_be_imported_again_goes_on_as_it_was(
    folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = f"plugin_of_a_test_{next(_numbers)}"
    folder.write(f"{name}.py", COUNTER)
    monkeypatch.syspath_prepend(str(folder.path))
    try:
        folder.load(name)
        before = sys.modules[name]
        folder.write(f"{name}.py", "raise RuntimeError('broken by now')\n")
        with pytest.raises(bridle.ConfigurationError, match="broken by now"):
            folder.load(name, number=2)
        assert folder.ask("count").value == 1
        assert sys.modules[name] is before
    finally:
        sys.modules.pop(name, None)


def test_the_old_set_stays_even_if_its_files_are_broken_by_now(folder: Folder) -> None:
    library = folder.write("a.py", greeter("a"))
    folder.load(library)
    folder.write("a.py", "1 / 0\n")
    with pytest.raises(bridle.ConfigurationError):
        folder.load(folder.write("b.py", "def load(context, parameters):\n    1 / 0\n"))
    assert folder.ask("greet-a").result == 0


def test_a_shared_library_is_refused_by_name(folder: Folder) -> None:
    with pytest.raises(bridle.ConfigurationError) as caught:
        folder.load("/usr/lib/kea/hooks/libdhcp_lease_cmds.so")
    assert str(caught.value) == (
        "hook library '/usr/lib/kea/hooks/libdhcp_lease_cmds.so' is a shared library for Kea and cannot be "
        "loaded: a plugin of Bridle is a Python module: name its file (NAME.py) or its dotted name"
    )


def test_hooks_see_commands_and_answers_until_the_plugin_is_unloaded(folder: Folder) -> None:
    library = folder.write(
        "hooks.py",
        """
from bridle import Response

def load(context, parameters):
    def before(command):
        tell(f"before {command.name}")
        if command.name == "secret":
            return Response(1, "not you")
    context.before_command(before)

    def after(command, response):
        tell(f"after {command.name} {response.result}")
        if command.name == "boring":
            return Response(0, "interesting")
    context.command_processed(after)
""",
    )
    folder.load(library)
    assert folder.ask("secret").text == "not you"
    assert folder.ask("boring").text == "interesting"
    assert folder.ask("list-commands").result == 0
    assert STORY == [
        "before secret",
        "after secret 1",
        "before boring",
        "after boring 2",
        "before list-commands",
        "after list-commands 0",
    ]
    assert folder.manager.hooked
    folder.plugins.unload()
    STORY.clear()
    assert folder.ask("secret").result == bridle.Result.UNSUPPORTED
    assert not STORY
    assert not folder.manager.hooked


def test_an_unload_that_fails_is_logged_and_takes_everything_back(
    folder: Folder, caplog: pytest.LogCaptureFixture
) -> None:
    text = greeter("a").replace('tell("unload a")', "1 / 0")
    folder.load(folder.write("a.py", text), folder.write("b.py", greeter("b")))
    folder.plugins.unload()
    assert folder.ask("greet-a").result == bridle.Result.UNSUPPORTED
    assert "a.py failed to unload" in caplog.text


def test_a_plugin_may_declare_structs_and_dataclasses_for_its_arguments(folder: Folder) -> None:
    library = folder.path / "typed.py"
    # Annotations that are texts are looked up by the name of their module.
    library.write_text(
        """
from __future__ import annotations
import dataclasses, msgspec

class Point(msgspec.Struct):
    x: int

@dataclasses.dataclass
class Line:
    start: Point

def load(context, parameters):
    def draw(line: Line) -> int:
        return line.start.x
    context.register_command("draw", draw)
"""
    )
    folder.load(str(library))
    assert folder.ask("draw", {"line": {"start": {"x": 5}}}).value == 5


def test_two_files_of_one_name_are_two_plugins(folder: Folder) -> None:
    (folder.path / "inner").mkdir()
    folder.load(folder.write("a.py", greeter("a")), folder.write("inner/a.py", greeter("b")))
    assert folder.ask("greet-a").result == 0
    assert folder.ask("greet-b").result == 0


def test_a_context_takes_back_the_last_first() -> None:
    manager = bridle.CommandManager()
    context = PluginContext(manager, Callouts())
    context.register_command("one", lambda: 1)
    context.before_command(lambda command: None)
    assert manager.definition("one") is None
    context.hold()
    assert manager.definition("one") is not None
    context.undo()
    assert manager.definition("one") is None
    context.undo()


def test_a_plugin_says_what_roles_are_assigned_by_while_it_is_loaded(folder: Folder) -> None:
    def library(name: str, value: object) -> str:
        return folder.write(
            name,
            f"def load(context, parameters):\n    context.assign_value(lambda command: {value!r})\n",
        )

    asked = bridle.Command("any")
    assert folder.manager.custom_value(asked) is None
    folder.load(library("a.py", None), library("b.py", "night"), library("c.py", "day"))
    assert folder.manager.custom_value(asked) == "night"
    folder.load(library("d.py", "day"))
    assert folder.manager.custom_value(asked) == "day"
    folder.load()
    assert folder.manager.custom_value(asked) is None


def test_settings_are_compared_by_what_they_hold() -> None:
    assert PluginSettings("a.py") == PluginSettings("a.py", {})
    assert msgspec.structs.replace(PluginSettings("a.py"), parameters={"x": 1}) != PluginSettings("a.py")


def test_callouts_are_exchanged_with_their_plugins(folder: Folder) -> None:
    callouts = Callouts(["packet"])
    plugins = Plugins(folder.manager, callouts)
    library = folder.write(
        "a.py", 'def load(context, parameters):\n    context.callout("packet", lambda: 1)\n'
    )
    plugins.replace([PluginSettings(library)])
    before = callouts.at("packet")
    assert [callout() for callout in before] == [1]
    folder.write("a.py", 'def load(context, parameters):\n    context.callout("packet", lambda: 2)\n')
    plugins.replace([PluginSettings(library)], anew=True)
    assert [callout() for callout in callouts.at("packet")] == [2]
    assert [callout() for callout in before] == [1], "what is under way goes on with what it began with"
    folder.write("a.py", 'def load(context, parameters):\n    context.callout("nowhere", print)\n')
    with pytest.raises(bridle.ConfigurationError, match="no hook point 'nowhere': there are packet"):
        plugins.replace([PluginSettings(library)], anew=True)
    assert [callout() for callout in callouts.at("packet")] == [2]
    plugins.unload()
    assert callouts.at("packet") == ()


def test_libreload_reads_the_files_again(folder: Folder) -> None:
    library = folder.write("a.py", greeter("a"))
    settings = [PluginSettings(library)]
    folder.load(library)
    folder.plugins.register(folder.manager, lambda: settings)
    folder.write("a.py", greeter("b"))
    assert folder.ask("libreload", {"extra": 1}).text == "Hooks libraries successfully reloaded."
    assert folder.ask("greet-b").result == 0
    folder.write("a.py", "1 / 0\n")
    answer = folder.ask("libreload")
    assert answer.result == 1
    assert str(answer.text).startswith("Failed to reload hooks libraries: plugin '")
    assert folder.ask("greet-b").result == 0


def test_an_entry_point_names_a_plugin(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    folder.write("pointed.py", greeter("pointed"))
    monkeypatch.syspath_prepend(str(folder.path))
    info = folder.path / "pointed-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: pointed\nVersion: 1\n")
    (info / "entry_points.txt").write_text("[bridle.plugins]\nmy-greeter = pointed\n")
    folder.load("my-greeter")
    assert folder.ask("greet-pointed").result == 0
