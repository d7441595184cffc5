"""What ``import bridle`` gives: every name resolves, is documented, and costs no more than it must."""

from __future__ import annotations

import functools
import importlib.metadata
import inspect
import json
import pkgutil
import re
import subprocess
import sys
import types
from pathlib import Path

import pytest

import bridle
from bridle.core.version import VERSION
from tests.support.bridle import COMMAND_SECONDS, bridle_environment
from tests.support.programs import ROOT

ALLOWED = {"bridle", "msgspec"}
"""What a daemon on a unix socket, and a client of one, may load besides the standard library."""


def loaded_by(program: str) -> set[str]:
    """The modules that a program has loaded when it ends."""
    whole = f"{program}\nimport json, sys\nprint(json.dumps(sorted(sys.modules)))"
    ended = subprocess.run(
        [sys.executable, "-c", whole],
        capture_output=True,
        text=True,
        timeout=COMMAND_SECONDS,
        env=bridle_environment(),
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    return set(json.loads(ended.stdout.splitlines()[-1]))


def foreign(modules: set[str]) -> set[str]:
    """Those that are neither the standard library's nor allowed."""
    tops = {name.partition(".")[0] for name in modules}
    return {
        name
        for name in tops
        if name not in sys.stdlib_module_names and name not in ALLOWED and not name.startswith("_")
    } - loaded_anyway()


@functools.cache
def loaded_anyway() -> frozenset[str]:
    """What the interpreter loads by itself, from ``.pth`` files, and msgspec where that is installed."""
    return frozenset(name.partition(".")[0] for name in loaded_by("import msgspec, msgspec.json"))


# Names.


@pytest.mark.parametrize("name", bridle.__all__)
def test_every_public_name_resolves(name: str) -> None:
    assert getattr(bridle, name) is not None
    assert name in dir(bridle)


def test_the_list_of_public_names_has_none_twice() -> None:
    assert len(bridle.__all__) == len(set(bridle.__all__))


def test_nothing_public_is_missing_from_the_list() -> None:
    for name in bridle.__all__:
        getattr(bridle, name)
    found = {
        name
        for name, value in vars(bridle).items()
        if not name.startswith("_") and not isinstance(value, types.ModuleType)
    }
    assert found - {"annotations", "TYPE_CHECKING", "VERSION"} == set(bridle.__all__)


def test_the_names_for_type_checkers_are_the_same() -> None:
    source = inspect.getsource(bridle)
    block = source.partition("if TYPE_CHECKING:\n")[2].partition("\n# ")[0]
    names = set(re.findall(r"(?:import |    |, )\(?([A-Za-z_]+)(?=[,\n)])", block.replace("from ", "")))
    imported = {name for name in names if hasattr(bridle, name)}
    assert imported == set(bridle.__all__)


def test_every_error_is_public_and_has_one_root() -> None:
    from bridle.core import errors

    for name in errors.__all__:
        assert name in bridle.__all__
        assert issubclass(getattr(bridle, name), bridle.BridleError)


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="module 'bridle' has no attribute 'nothing'"):
        bridle.nothing  # noqa: B018
    assert not hasattr(bridle, "nothing")


@pytest.mark.parametrize("name", bridle.__all__)
def test_every_public_name_is_documented(name: str) -> None:
    value = getattr(bridle, name)
    if not (inspect.isclass(value) or inspect.isroutine(value)):
        return
    assert inspect.getdoc(value), f"{name} has no docstring"
    assert not str(value.__doc__).startswith(f"{name}("), f"{name} has no docstring of its own"
    for attribute, member in inspect.getmembers(value) if inspect.isclass(value) else ():
        if attribute.startswith("_") or not is_own(member):
            continue
        assert inspect.getdoc(member), f"{name}.{attribute} has no docstring"


def is_own(member: object) -> bool:
    """Whether a member of a class is a function or a property that this package defines."""
    function = member.fget if isinstance(member, property) else member
    module = str(getattr(function, "__module__", ""))
    return inspect.isroutine(function) and module.startswith("bridle")


def modules() -> list[str]:
    """All modules of the package."""
    found = pkgutil.walk_packages(bridle.__path__, "bridle.")
    return ["bridle", *sorted(module.name for module in found if not module.name.endswith("__main__"))]


@pytest.mark.parametrize("name", modules())
def test_every_module_says_what_it_is_and_lists_what_it_offers(name: str) -> None:
    module = importlib.import_module(name)
    assert module.__doc__, f"{name} has no docstring"
    for offered in getattr(module, "__all__", ()):
        value = getattr(module, offered)
        documented = inspect.isclass(value) or inspect.isfunction(value)
        assert not documented or inspect.getdoc(value), f"{name}.{offered} has no docstring"


# Versions.


def test_the_version_is_said_in_one_place() -> None:
    assert bridle.__version__ == VERSION
    assert re.fullmatch(r"\d+\.\d+\.\d+([ab]|rc)?\d*", VERSION)


def test_the_installed_package_has_the_same_version() -> None:
    assert importlib.metadata.version("bridle") == VERSION


def test_the_package_is_marked_as_typed() -> None:
    assert Path(bridle.__file__).with_name("py.typed").exists()


# What is loaded.

SERVE = """
import asyncio, tempfile, bridle

class Small(bridle.Daemon):
    class Configuration(__import__("msgspec").Struct):
        depth: int = 1

    @bridle.command(access="read")
    def echo(self, text: str) -> str:
        "Say it again."
        return text

async def main():
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        path = folder + "/s"
        async with bridle.serve(Small(), "unix:" + path):
            for command in ('"echo", "arguments": ["x"]', '"config-get"', '"command-help"', '"nothing"',
                            '"config-set", "arguments": {"Small": {"depth": 2}}', '"status-get"'):
                reader, writer = await asyncio.open_unix_connection(path)
                writer.write(b'{ "command": ' + command.encode() + b' }')
                assert b'"result"' in await reader.read()
                writer.close()
                await writer.wait_closed()

asyncio.run(main())
"""


def test_importing_it_loads_next_to_nothing() -> None:
    loaded = loaded_by("import bridle")
    assert foreign(loaded) == set()
    assert not loaded & {"msgspec", "asyncio", "socket", "ssl", "bridle.daemon", "bridle.client"}


def test_serving_a_daemon_on_a_unix_socket_loads_msgspec_and_the_standard_library_alone() -> None:
    loaded = loaded_by(SERVE)
    assert "msgspec" in loaded, "the measure works"
    assert foreign(loaded) == set()
    unneeded = ("bridle.net.http", "bridle.cli", "bridle.agent", "bridle.access.")
    assert not {name for name in loaded if name.startswith(unneeded)}


def test_reading_an_authentication_without_hashes_loads_no_argon2() -> None:
    loaded = loaded_by(
        "from bridle.access.basic import read_authentication\n"
        "known = read_authentication({'clients': [{'user': 'a', 'password': 'b'}]}, [], str, realm='r')\n"
        "assert known.vouch('Basic YTpi', 'x').user == 'a'"
    )
    assert foreign(loaded) == set()


AGENT = """
import asyncio, json, tempfile, bridle
from bridle.agent.agent import Agent

async def main():
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        agent = {"http-port": 0}
        if CONTROLLED:
            agent["bngblaster-controller"] = {"directory": folder + "/i"}
        with open(folder + "/conf", "w") as file:
            json.dump({"Control-agent": agent}, file)
        async with bridle.serve(Agent(), configuration_file=folder + "/conf"):
            pass

asyncio.run(main())
"""


def test_only_an_agent_with_a_controller_loads_starlette() -> None:
    assert not foreign(loaded_by("CONTROLLED = False" + AGENT)) & {"starlette", "anyio", "python_multipart"}
    assert "starlette" in foreign(loaded_by("CONTROLLED = True" + AGENT))


def test_a_client_of_a_unix_socket_loads_no_event_loop(short_path: Path) -> None:
    from tests.support.kea import listener, replying

    with listener(short_path / "s", replying(b'{ "result": 0, "arguments": [ "x" ] }')):
        loaded = loaded_by(
            f"import bridle\nwith bridle.connect('unix:{short_path}/s') as client:\n"
            "    assert client.call('foo', {'a': 1}) == ['x']"
        )
    assert foreign(loaded) == set()
    assert not loaded & {"asyncio", "ssl", "logging", "http.client", "email"}


def test_the_command_manager_alone_needs_no_event_loop() -> None:
    loaded = loaded_by(
        "import bridle\nmanager = bridle.CommandManager()\n"
        "manager.register_command('echo', lambda text: text)\n"
        "assert manager.process_command(bridle.Command('echo', ['x'])).value == 'x'"
    )
    assert foreign(loaded) == set()
    assert "asyncio" not in loaded


def test_the_readme_s_daemon_is_served_as_it_stands(short_path: Path) -> None:
    readme = (ROOT / "README.md").read_text("utf-8")
    code = readme.partition("## Embed it")[2].partition("```python\n")[2].partition("```")[0]
    program, call, _ = code.partition("bridle.run(")
    assert call
    serve = f"""
import asyncio
async def main():
    async with bridle.serve(Thermostat(), "unix:{short_path}/s"):
        async with bridle.connect_async("unix:{short_path}/s") as client:
            assert await client.call("set-target", [21.5]) == {{"target": 21.5}}
            assert await client.call("set-target", {{"celsius": 22}}) == {{"target": 22.0}}
asyncio.run(main())
"""
    loaded_by(program + serve)
