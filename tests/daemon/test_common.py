"""The commands that every daemon has. What captured exchanges show stands in ``tests/replay``."""

from __future__ import annotations

import asyncio
import os
import platform
from pathlib import Path
from typing import ClassVar

import msgspec
import pytest

import bridle
from bridle.daemon.daemon import Phrases
from bridle.testing import run
from tests.support.kettle import JSON, Kettle, say, served

COMMON = {
    "build-report": "read",
    "command-help": "read",
    "config-get": "read",
    "config-hash-get": "read",
    "config-reload": "write",
    "config-set": "write",
    "config-test": "write",
    "config-write": "write",
    "list-commands": "read",
    "shutdown": "write",
    "status-get": "read",
    "version-get": "read",
}


def test_every_daemon_has_the_common_commands_with_kea_s_access_classes(short_path: Path) -> None:
    async def main() -> None:
        async with served(short_path) as site:
            told = await site.ask("list-commands")
            assert told.value == sorted([*COMMON, "brew", "repeat"])
            found = {one.name: one.access for one in site.daemon.manager if one.name in COMMON}
            assert found == COMMON

    run(main())


@pytest.mark.parametrize(
    "command", ["build-report", "config-get", "config-hash-get", "list-commands", "status-get", "version-get"]
)
@pytest.mark.parametrize("arguments", [{"unknown": 1}, [1, 2], "text", 5])
def test_commands_without_arguments_ignore_what_they_are_given(
    short_path: Path, command: str, arguments: JSON
) -> None:
    async def main() -> None:
        async with served(short_path) as site:
            assert (await site.ask(command, arguments)).result == 0

    run(main())


@pytest.mark.parametrize("command", ["config-write", "shutdown"])
def test_commands_with_arguments_ignore_those_they_do_not_know(short_path: Path, command: str) -> None:
    async def main() -> None:
        async with served(short_path) as site:
            assert (await site.ask(command, {"unknown": 1})).result == 0

    run(main())


def test_a_daemon_s_own_commands_refuse_arguments_they_do_not_know(short_path: Path) -> None:
    async def main() -> None:
        async with served(short_path) as site:
            answer = await site.ask("repeat", {"value": 1, "unknown": 1})
            assert answer.result == 1
            assert str(answer.text).startswith("unknown argument 'unknown' (<wire>:0:")

    run(main())


def test_version_get_tells_the_daemon_s_version_and_what_it_is_built_from(short_path: Path) -> None:
    async def main() -> None:
        async with served(short_path) as site:
            answer = await site.ask("version-get")
            assert answer.text == "1.2"
            assert isinstance(answer.value, dict)
            assert str(answer.value["extended"]).split("\n") == [
                "1.2",
                f"Bridle {bridle.__version__}",
                f"{platform.python_implementation()} {platform.python_version()}",
                f"msgspec {msgspec.__version__}",
            ]

    run(main())


def test_build_report_is_a_text_of_lines(short_path: Path) -> None:
    async def main() -> None:
        async with served(short_path) as site:
            answer = await site.ask("build-report")
            assert answer.arguments is msgspec.UNSET
            first, *others = str(answer.text).splitlines()
            assert first == "Kettle 1.2"
            assert f"Bridle {bridle.__version__}" in others
            assert str(answer.text).endswith("\n")

    run(main())


def test_status_get_tells_pid_and_seconds_and_what_the_daemon_adds(short_path: Path) -> None:
    class Talking(Kettle):
        def status(self) -> dict[str, JSON]:
            return {"water": "hot", "stages": 2}

    async def main() -> None:
        async with served(short_path, Talking()) as site:
            answer = await site.ask("status-get")
            assert isinstance(answer.value, dict)
            assert answer.value == {
                "pid": os.getpid(),
                "reload": 0,
                "uptime": 0,
                "water": "hot",
                "stages": 2,
            }
            assert answer.text is None

    run(main())


def test_command_help_describes_every_command_for_those_who_complete_and_explain(short_path: Path) -> None:
    async def main() -> None:
        async with served(short_path) as site:
            told = await site.ask("command-help")
            assert isinstance(told.value, dict)
            assert sorted(told.value) == (await site.ask("list-commands")).value
            assert told.value["brew"] == {
                "name": "brew",
                "access": "read",
                "summary": "Answer after so many seconds.",
                "help": "Answer after so many seconds.",
                "arguments": {
                    "type": "object",
                    "properties": {"seconds": {"type": "number", "default": 1.0}},
                    "required": [],
                    "additionalProperties": False,
                },
                "result": {"type": "string"},
            }
            for described in told.value.values():
                assert isinstance(described, dict)
                assert described["summary"], "every command says what it does"

    run(main())


@pytest.mark.parametrize("arguments", [{"name": "brew"}, ["brew"], "brew"])
def test_command_help_explains_one_command(short_path: Path, arguments: JSON) -> None:
    async def main() -> None:
        async with served(short_path) as site:
            told = await site.ask("command-help", arguments)
            assert isinstance(told.value, dict)
            assert list(told.value) == ["brew"]

    run(main())


def test_command_help_of_an_unknown_command_is_empty(short_path: Path) -> None:
    async def main() -> None:
        async with served(short_path) as site:
            answer = await site.ask("command-help", {"name": "froth"})
            assert answer.result == bridle.Result.EMPTY
            assert answer.text == "'froth' command not supported."

    run(main())


def test_config_get_tells_all_defaults_and_the_kit_s_own_keys(short_path: Path) -> None:
    async def main() -> None:
        extra: dict[str, JSON] = {
            "control-sockets": [],
            "user-context": {"site": 1},
            "comment": "in the kitchen",
        }
        async with served(short_path, configuration=extra) as site:
            told = await site.ask("config-get")
            assert isinstance(told.value, dict)
            assert told.value["Kettle"] == {
                "degrees": 90.0,
                "max-period": 0,
                "label": "",
                "stages": [],
                "limits": {},
                **extra,
            }

    run(main())


def test_a_daemon_without_a_configuration_file_has_the_defaults(short_path: Path) -> None:
    async def main() -> None:
        async with served(short_path, file=False) as site:
            told = await site.ask("config-get")
            assert isinstance(told.value, dict)
            assert told.value["Kettle"] == msgspec.to_builtins(Kettle.Configuration())
            assert (await site.ask("config-set", {"Kettle": {"degrees": 5}})).result == 0

    run(main())


@pytest.mark.parametrize("value", ["1", 1.0, True, None, [1]])
def test_shutdown_refuses_what_is_no_exit_value_and_goes_on(short_path: Path, value: JSON) -> None:
    async def main() -> None:
        async with served(short_path) as site:
            answer = await site.ask("shutdown", {"exit-value": value})
            assert (answer.result, answer.text) == (1, "parameter 'exit-value' is not an integer")
            answer = await site.ask("shutdown", [3])
            assert (answer.result, answer.text) == (1, "Argument must be a map")
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(site.running.wait(), 1)

    run(main())


@pytest.mark.parametrize(("value", "status"), [(None, 0), (0, 0), (3, 3), (-1, 255), (300, 44)])
def test_shutdown_asks_for_an_exit_status_and_is_answered(
    short_path: Path, value: int | None, status: int
) -> None:
    async def main() -> None:
        async with served(short_path) as site:
            arguments: JSON = {} if value is None else {"exit-value": value}
            answer = await site.ask("shutdown", arguments)
            assert (answer.result, answer.text) == (0, "Shutting down.")
            assert await site.running.wait() == status

    run(main())


def test_the_first_exit_status_asked_for_counts(short_path: Path) -> None:
    async def main() -> None:
        async with served(short_path) as site:
            await site.ask("shutdown", {"exit-value": 3})
            await site.ask("shutdown", {"exit-value": 4})
            assert await site.running.wait() == 3

    run(main())


def test_a_daemon_speaks_in_its_own_phrases(short_path: Path) -> None:
    class Polite(Kettle):
        phrases: ClassVar[Phrases] = Phrases(
            applied="Gladly.",
            checked="That would do.",
            reload_failed="Sorry: {error} in {file}",
            unsupported_root="No {names}{more}, please.",
            shutting_down="Goodbye.",
            unsupported="I do not know {name}.",
            hash_in_set=False,
        )

    async def main() -> None:
        async with served(short_path, Polite()) as site:
            wanted: JSON = {"Polite": {"degrees": 1}}
            assert await say(site.socket, '{"command": "froth"}') == (
                '{ "result": 2, "text": "I do not know froth." }'
            )
            assert (await site.ask("config-test", wanted)).text == "That would do."
            answer = await site.ask("config-set", wanted)
            assert (answer.text, answer.arguments) == ("Gladly.", msgspec.UNSET)
            answer = await site.ask("config-set", {"Polite": {}, "B": 1, "A": 1})
            assert answer.text == "No 'A' (and 'B'), please."
            site.file.unlink()
            answer = await site.ask("config-reload")
            assert answer.text == (
                f"Sorry: Unable to open file {site.file}: No such file or directory in {site.file}"
            )
            assert (await site.ask("shutdown")).text == "Goodbye."

    run(main())
