"""The life cycle of a configuration: one function changes it, and what fails changes nothing."""

from __future__ import annotations

import asyncio
import hashlib
import itertools
import json
import logging
import os
import re
import threading
from collections.abc import Coroutine
from pathlib import Path

import pytest

import bridle
from bridle.daemon.configuration import ConfigurationOwner, configuration_hash
from bridle.daemon.document import FILE_LIMIT, Completion, Document, read_file
from bridle.testing import elapsed, run
from tests.support.audits import is_open
from tests.support.kettle import JSON, Kettle, Site, SlowKettle, say, served

APPLIED = "Configuration successful."


def refusing(degrees: float, error: Exception) -> Kettle:
    """A kettle that refuses one temperature."""
    daemon = Kettle()
    daemon.refuses = lambda given: error if given == degrees else None
    return daemon


def unix(path: Path) -> JSON:
    """A ``control-socket`` entry."""
    return {"socket-type": "unix", "socket-name": str(path)}


# One function that changes it.


def test_a_change_is_tested_opened_applied_and_only_thenis_open(short_path: Path) -> None:
    new = short_path / "new.sock"
    seen: list[str] = []

    class Watching(Kettle):
        def check_configuration(self, document: Document) -> object:
            seen.append(f"tested, new socket: {new.exists()}")
            return super().check_configuration(document)

        def configure(self, configuration: object) -> None:
            super().configure(configuration)
            held = getattr(self.configuration, "degrees", None)
            seen.append(f"applied, new socket: {new.exists()}, holds: {held}")

    async def main() -> None:
        old = short_path / "old.sock"
        async with served(short_path, Watching(), configuration={"control-socket": unix(old)}) as site:
            seen.clear()
            await site.ask("config-set", {"Watching": {"degrees": 70, "control-socket": unix(new)}})
            seen.append(f"holds: {site.settings.degrees}, old socket: {old.exists()}")

    run(main())
    assert seen == [
        "tested, new socket: False",
        "applied, new socket: True, holds: 90.0",
        "holds: 70.0, old socket: False",
    ]


def test_a_configuration_that_fails_its_test_is_not_applied(short_path: Path) -> None:
    async def main() -> None:
        async with served(short_path) as site:
            answer = await site.ask("config-set", {"Kettle": {"degrees": "hot"}})
            assert answer.result == bridle.Result.ERROR
            assert site.daemon.applied == [90.0]

    run(main())


def test_config_test_neither_applies_nor_opens(short_path: Path) -> None:
    async def main() -> None:
        new = short_path / "new.sock"
        async with served(short_path) as site:
            wanted: JSON = {"Kettle": {"degrees": 1, "control-socket": unix(new)}}
            answer = await site.ask("config-test", wanted)
            assert answer.result == bridle.Result.SUCCESS
            assert site.daemon.applied == [90.0]
            assert not new.exists()

    run(main())


REFUSALS = [
    bridle.ConfigurationError("too hot"),
    bridle.CommandError("too hot"),
    ValueError("too hot"),
]


@pytest.mark.parametrize("error", REFUSALS, ids=lambda error: type(error).__name__)
@pytest.mark.parametrize("kind", [Kettle, SlowKettle])
def test_a_refused_configuration_leaves_everything_as_it_was(
    short_path: Path, kind: type[Kettle], error: Exception
) -> None:
    async def main() -> None:
        old, new = short_path / "old.sock", short_path / "new.sock"
        daemon = kind()
        daemon.refuses = lambda degrees: error if degrees == 500 else None
        root = daemon.root
        async with served(
            short_path, daemon, configuration={"degrees": 80, "control-socket": unix(old)}
        ) as site:
            before = await say(site.socket, '{"command": "config-get"}')
            wanted: JSON = {root: {"degrees": 500, "control-socket": unix(new)}}
            answer = await site.ask("config-set", wanted)
            assert (answer.result, answer.text) == (bridle.Result.ERROR, "too hot")
            assert await say(site.socket, '{"command": "config-get"}') == before
            assert site.settings.degrees == 80
            assert daemon.applied == [80, 500, 80], "the old one is applied again"
            assert await say(old, '{"command": "config-get"}') == before
            assert sorted(path.name for path in short_path.iterdir()) == [
                "kettle.conf",
                "kettle.sock",
                "kettle.sock.lock",
                "old.sock",
                "old.sock.lock",
            ]

    run(main())


def test_a_refused_configuration_does_not_come_back(short_path: Path) -> None:
    async def main() -> None:
        daemon = refusing(500, bridle.ConfigurationError("not now"))
        async with served(short_path, daemon, configuration={"degrees": 80}) as site:
            assert (await site.ask("config-set", {"Kettle": {"degrees": 500}})).result == 1
            daemon.refuses = lambda degrees: None
            await daemon.refresh()
            assert site.settings.degrees == 80
            assert daemon.applied == [80, 500, 80]

    run(main())


class Answered(Kettle):
    """A kettle whose configurations are completed, and which knows of which that came to hold."""

    def __init__(self) -> None:
        super().__init__()
        self.adopted: list[str] = []

    async def complete_configuration(self, document: Document) -> Completion:
        """Add something from elsewhere."""
        whole = document.value["Answered"]
        assert isinstance(whole, dict)
        text = str(whole.get("label", ""))
        completed = document.changed({"Answered": {**whole, "max-period": 7}})
        return Completion(completed, lambda: self.adopted.append(text))


def test_what_belongs_to_a_configuration_is_adopted_when_it_holds(short_path: Path) -> None:
    async def main() -> None:
        daemon = Answered()
        daemon.refuses = lambda degrees: ValueError("no") if degrees == 500 else None
        async with served(short_path, daemon, configuration={"label": "a"}) as site:
            assert site.settings.max_period == 7
            wanted: list[tuple[dict[str, JSON], int]] = [
                ({"label": "b", "degrees": "hot"}, 1),
                ({"label": "c", "degrees": 500}, 1),
                ({"label": "d", "control-socket": unix(short_path / "none" / "s")}, 1),
                ({"label": "e"}, 0),
                ({"label": "e"}, 0),
            ]
            for configuration, result in wanted:
                answer = await site.ask("config-set", {"Answered": configuration})
                assert answer.result == result
            assert daemon.adopted == ["a", "e", "e"]

    run(main())


def test_an_error_that_nobody_meant_is_logged_with_its_traceback(
    short_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def main() -> None:
        async with served(short_path, refusing(500, KeyError("x"))) as site:
            await site.ask("config-set", {"Kettle": {"degrees": 500}})

    run(main())
    [record] = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert record.exc_info is not None


class Careless(Kettle):
    """A kettle with a fault in the test of its configuration."""

    def check_configuration(self, document: Document) -> object:
        """Fail for one temperature."""
        whole = document.value["Careless"]
        assert isinstance(whole, dict)
        if whole.get("degrees") == 500:
            raise KeyError("bug")
        return super().check_configuration(document)


def test_an_error_that_nobody_meant_refuses_a_configuration_that_is_tested(
    short_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def main() -> None:
        async with served(short_path, Careless(), configuration={"degrees": 80}) as site:
            site.file.write_text('{"Careless": {"degrees": 500}}')
            for command in ("config-test", "config-set", "config-reload"):
                answer = await site.ask(command, {"Careless": {"degrees": 500}})
                assert answer.result == bridle.Result.ERROR
                assert str(answer.text).endswith("'bug'")
            assert site.daemon.applied == [80]

    run(main())
    found = [record.getMessage() for record in caplog.records if record.exc_info is not None]
    assert found == ["the configuration could not be used: 'bug'"] * 3


def test_a_failed_restore_is_told_with_both_texts(short_path: Path) -> None:
    async def main() -> None:
        daemon = Kettle()
        async with served(short_path, daemon) as site:
            texts = itertools.count(1)
            daemon.refuses = lambda degrees: bridle.ConfigurationError(f"error {next(texts)}")
            answer = await site.ask("config-set", {"Kettle": {"degrees": 5}})
            assert answer.result == bridle.Result.FATAL
            assert answer.text == "error 1; going back to the previous configuration failed too: error 2"
            site.file.write_text('{"Kettle": {"degrees": 6}}')
            answer = await site.ask("config-reload")
            assert answer.result == bridle.Result.FATAL
            assert answer.text == (
                f"Config reload failed: configuration error using file '{site.file}': error 3; going back to "
                "the previous configuration failed too: error 4"
            )
            daemon.refuses = lambda degrees: None
            assert (await site.ask("config-set", {"Kettle": {"degrees": 7}})).result == 0

    run(main())


@pytest.mark.parametrize(
    "same",
    [{"degrees": 80}, {"degrees": 80.0, "label": ""}, {"limits": {}, "stages": [], "degrees": 80}],
    ids=["same", "defaults", "order"],
)
def test_the_same_configuration_again_changes_nothing(short_path: Path, same: dict[str, JSON]) -> None:
    async def main() -> None:
        async with served(short_path, configuration={"degrees": 80}) as site:
            answer = await site.ask("config-set", {"Kettle": same})
            assert (answer.result, answer.text) == (0, APPLIED)
            assert site.daemon.applied == [80]

    run(main())


def test_a_reload_applies_the_same_configuration_anew(short_path: Path) -> None:
    async def main() -> None:
        async with served(short_path, configuration={"degrees": 80}) as site:
            answer = await site.ask("config-reload")
            assert (answer.result, answer.text) == (0, APPLIED)
            assert site.daemon.applied == [80, 80]

    run(main())


def test_changes_at_the_same_time_take_turns_in_the_order_they_came(short_path: Path) -> None:
    async def main() -> None:
        daemon = SlowKettle()
        daemon.refuses = lambda degrees: bridle.ConfigurationError("no") if degrees == 3 else None
        async with served(short_path, daemon) as site:
            began = elapsed()
            tasks = []
            for degrees in (1, 2, 3, 4):
                tasks.append(
                    asyncio.create_task(site.ask("config-set", {"SlowKettle": {"degrees": degrees}}))
                )
                await asyncio.sleep(0.01)
            answers = await asyncio.gather(*tasks)
            assert [answer.result for answer in answers] == [0, 0, 1, 0]
            assert daemon.busiest == 1
            assert daemon.applied == [90, 1, 2, 3, 2, 4]
            assert site.settings.degrees == 4
            assert elapsed() - began == pytest.approx(5)

    run(main())


def test_reloads_at_the_same_time_leave_the_latest_text(short_path: Path) -> None:
    async def main() -> None:
        daemon = SlowKettle()
        async with served(short_path, daemon) as site:
            first = asyncio.create_task(site.ask("config-reload"))
            await asyncio.sleep(0.5)
            site.file.write_text('{"SlowKettle": {"degrees": 33}}')
            second = asyncio.create_task(site.ask("config-reload"))
            await asyncio.gather(first, second)
            assert daemon.applied[-1] == 33
            assert daemon.busiest == 1

    run(main())


def test_others_are_answered_from_the_old_configuration_during_a_change(short_path: Path) -> None:
    async def main() -> None:
        async with served(short_path, SlowKettle()) as site:
            before = await site.hash()
            change = asyncio.create_task(site.ask("config-set", {"SlowKettle": {"degrees": 1}}))
            await asyncio.sleep(0.5)
            assert await site.hash() == before
            assert elapsed() == pytest.approx(1.5), "and without a wait"
            await change
            assert await site.hash() != before

    run(main())


def test_a_configuration_that_is_never_applied_is_given_up_after_a_minute(short_path: Path) -> None:
    class Stuck(Kettle):
        async def configure(self, configuration: object) -> None:  # type: ignore[override]
            super().configure(configuration)
            if self.applied[-1] == 500:
                await asyncio.Event().wait()

    async def main() -> None:
        async with served(short_path, Stuck()) as site:
            async with bridle.connect_async(f"unix:{site.socket}", timeout=100) as client:
                answer = await client.execute("config-set", {"Stuck": {"degrees": 500}})
            assert (answer.result, answer.text) == (1, "the configuration was not applied in 60 seconds")
            assert elapsed() == pytest.approx(60, abs=0.1)
            assert site.daemon.applied == [90, 500, 90]
            assert (await site.ask("config-set", {"Stuck": {"degrees": 1}})).result == 0

    run(main())


@pytest.mark.parametrize("again", [False, True])
def test_a_change_that_nobody_waits_for_any_more_leaves_nothing_open(short_path: Path, again: bool) -> None:
    async def main() -> None:
        daemon = SlowKettle()
        access: JSON = {"audit": {"file": str(short_path / "audit.log")}}
        wanted: JSON = {"degrees": 500, "control-socket": unix(short_path / "new.sock"), "access": access}
        async with served(short_path, daemon, configuration={"degrees": 80}) as site:
            owner = site.running.owner
            before = await site.hash()
            change = asyncio.create_task(owner.change(Document({"SlowKettle": wanted})))
            await asyncio.sleep(0.5)
            assert (short_path / "new.sock").exists()
            change.cancel()
            if again:
                await asyncio.sleep(0.5)
                change.cancel()
            with pytest.raises(asyncio.CancelledError):
                await change
            assert not (short_path / "new.sock").exists()
            assert not is_open(short_path / "audit.log")
            assert await site.hash() == before
            assert daemon.applied == ([80] if again else [80, 80]), "the old one is applied again"
            assert (await site.ask("config-set", {"SlowKettle": wanted})).result == 0

    run(main())


def test_a_change_that_holds_is_finished_although_nobody_waits_for_it_any_more(short_path: Path) -> None:
    async def main() -> None:
        old, new = short_path / "old.sock", short_path / "new.sock"
        access: JSON = {"audit": {"file": str(short_path / "audit.log")}}
        before: JSON = {"control-socket": unix(old), "access": access}
        async with served(short_path, configuration=before) as site:
            change = asyncio.create_task(
                site.running.owner.change(Document({"Kettle": {"degrees": 5, "control-socket": unix(new)}}))
            )
            while old.exists():
                await asyncio.sleep(0)
            change.cancel()
            with pytest.raises(asyncio.CancelledError):
                await change
            while is_open(short_path / "audit.log"):  # it is closed in its thread
                await asyncio.sleep(0.001)
            assert new.exists()
            assert site.settings.degrees == 5
            told = await site.ask("config-get")
            assert isinstance(told.value, dict)
            assert told.value["hash"] == await site.hash()
            assert "access" not in told.value["Kettle"]  # type: ignore[operator]

    run(main())


def test_the_age_counts_whole_seconds_since_the_last_load() -> None:
    async def main() -> None:
        now = 100.0
        owner = ConfigurationOwner(Kettle(), None, clock=lambda: now)
        await owner.change(Document({"Kettle": {}}))
        now = 107.9
        assert owner.age == 7
        await owner.change(Document({"Kettle": {}}))
        assert owner.age == 0

    run(main())


def test_there_is_no_configuration_before_the_first() -> None:
    async def main() -> None:
        owner = ConfigurationOwner(Kettle(), None)
        with pytest.raises(bridle.ConfigurationError, match="no configuration yet"):
            _ = owner.held

    run(main())


# The hash.


def test_the_hash_is_that_of_the_one_line_text(short_path: Path) -> None:
    async def main() -> None:
        async with served(short_path, configuration={"degrees": 80, "label": "é\n"}) as site:
            text = (
                '{ "Kettle": { "degrees": 80.0, "label": "é\\n", "limits": {  }, "max-period": 0, '
                '"stages": [  ] } }'
            )
            assert await site.hash() == hashlib.sha256(text.encode()).hexdigest().upper()

    run(main())


def test_config_get_s_own_text_without_the_hash_gives_the_hash(short_path: Path) -> None:
    async def main() -> None:
        async with served(short_path, configuration={"degrees": 80}) as site:
            text = await say(site.socket, '{"command": "config-get"}')
            match = re.fullmatch(r'\{ "arguments": (.*), "hash": "([0-9A-F]{64})" \}, "result": 0 \}', text)
            assert match is not None
            assert hashlib.sha256(f"{match[1]} }}".encode()).hexdigest().upper() == match[2]

    run(main())


def test_every_command_tells_the_same_hash(short_path: Path) -> None:
    async def main() -> None:
        async with served(short_path) as site:
            before = await site.hash()
            told = await site.ask("config-set", {"Kettle": {"degrees": 12}})
            got = await site.ask("config-get")
            assert isinstance(told.value, dict)
            assert isinstance(got.value, dict)
            assert told.value == {"hash": got.value["hash"]} == {"hash": await site.hash()}
            assert got.value["hash"] != before

    run(main())


def test_the_hash_does_not_depend_on_the_order_of_keys() -> None:
    one: dict[str, JSON] = {"a": 1, "b": {"c": 2, "d": 3}}
    other: dict[str, JSON] = {"b": {"d": 3, "c": 2}, "a": 1}
    assert configuration_hash("Kettle", one) == configuration_hash("Kettle", other)


@pytest.mark.parametrize("command", ["config-set", "config-test"])
def test_what_config_get_told_can_be_sent_back(short_path: Path, command: str) -> None:
    async def main() -> None:
        async with served(short_path, configuration={"degrees": 80, "comment": "mine"}) as site:
            told = await site.ask("config-get")
            answer = await site.ask(command, told.value)
            assert answer.result == 0, answer.text
            assert (await site.ask("config-get")).value == told.value

    run(main())


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({}, "Missing mandatory 'Kettle' parameter."),
        ({"kettle": {}}, "Missing mandatory 'Kettle' parameter."),
        ({"Kettle": []}, "'Kettle' parameter expected to be a map."),
        ({"Kettle": {}, "A": 1}, "Unsupported 'A' parameter."),
        ({"Kettle": {}, "B": 1, "C": 1, "A": 1}, "Unsupported 'A' parameter (and 'B')."),
    ],
)
@pytest.mark.parametrize("command", ["config-set", "config-test"])
def test_what_is_not_one_map_under_the_root_s_name_is_refused(
    short_path: Path, command: str, arguments: dict[str, JSON], says: str
) -> None:
    async def main() -> None:
        async with served(short_path) as site:
            answer = await site.ask(command, arguments)
            assert (answer.result, answer.text) == (1, says)

    run(main())


def test_only_a_hash_that_is_text_is_taken_and_ignored(short_path: Path) -> None:
    async def main() -> None:
        async with served(short_path) as site:
            answer = await site.ask("config-set", {"Kettle": {}, "hash": 5})
            assert (answer.result, answer.text) == (1, "Unsupported 'hash' parameter.")

    run(main())


# Writing it to its file.


def written(answer: bridle.Response) -> dict[str, JSON]:
    """The arguments of a ``config-write`` that went well."""
    assert answer.result == 0, answer.text
    assert isinstance(answer.value, dict)
    return answer.value


def test_config_write_writes_what_can_be_reloaded(short_path: Path) -> None:
    async def main() -> None:
        async with served(short_path, text='{ "Kettle": { "degrees": 80 } } // once') as site:
            await site.ask("config-set", {"Kettle": {"degrees": 64.5, "stages": [{"degrees": 1}]}})
            before = await site.hash()
            told = written(await site.ask("config-write"))
            assert told == {"filename": str(site.file), "size": site.file.stat().st_size}
            assert json.loads(site.file.read_text())["Kettle"]["degrees"] == 64.5
            assert (await site.ask("config-reload")).result == 0
            assert await site.hash() == before

    run(main())


def test_config_write_writes_kea_s_form_with_all_defaults(short_path: Path) -> None:
    async def main() -> None:
        async with served(short_path, configuration={"stages": [{"degrees": 1}]}) as site:
            await site.ask("config-write")
            assert site.file.read_text() == (
                '{\n  "Kettle": {\n    "degrees": 90.0,\n    "label": "",\n    "limits": { },\n'
                '    "max-period": 0,\n    "stages": [\n      {\n        "degrees": 1.0,\n'
                '        "name": ""\n      }\n    ]\n  }\n}'
            )

    run(main())


@pytest.mark.parametrize("named", ["backup.json", "{folder}/backup.json", "./backup.json"])
def test_config_write_takes_a_name_beside_the_file(short_path: Path, named: str) -> None:
    async def main() -> None:
        async with served(short_path) as site:
            name = named.format(folder=short_path)
            told = written(await site.ask("config-write", {"filename": name}))
            assert (short_path / "backup.json").exists()
            assert Path(str(told["filename"])).name == "backup.json"

    run(main())


@pytest.mark.parametrize(
    "named",
    [
        "../escaped.json",
        "/escaped.json",
        "{folder}/../escaped.json",
        "{folder}/inner/escaped.json",
        "inner/escaped.json",
        "inner/../../escaped.json",
        "..",
        ".",
        "a\0b",
    ],
)
def test_config_write_writes_nowhere_else(short_path: Path, named: str) -> None:
    async def main() -> None:
        inner = short_path / "inner"
        inner.mkdir()
        async with served(short_path) as site:
            before = sorted(short_path.rglob("*"))
            answer = await site.ask("config-write", {"filename": named.format(folder=short_path)})
            assert answer.result == 1
            assert sorted(short_path.rglob("*")) == before
            assert not Path("/escaped.json").exists()
            assert not (short_path.parent / "escaped.json").exists()

    run(main())


def test_config_write_follows_no_link_out_of_the_folder(short_path: Path, tmp_path: Path) -> None:
    async def main() -> None:
        outside = tmp_path / "precious"
        outside.write_text("precious")
        (short_path / "link.json").symlink_to(outside)
        async with served(short_path) as site:
            written(await site.ask("config-write", {"filename": "link.json"}))
        assert outside.read_text() == "precious"

    run(main())


def test_config_write_refuses_a_name_that_is_no_string(short_path: Path) -> None:
    async def main() -> None:
        async with served(short_path) as site:
            answer = await site.ask("config-write", {"filename": 5})
            assert (answer.result, answer.text) == (1, "passed parameter 'filename' is not a string")

    run(main())


def test_config_write_needs_a_configuration_file(short_path: Path) -> None:
    async def main() -> None:
        async with served(short_path, file=False) as site:
            for name in ("", "x.json"):
                answer = await site.ask("config-write", {"filename": name})
                assert answer.result == 1
                assert "started without one" in str(answer.text)

    run(main())


@pytest.mark.parametrize("failing", ["fsync", "fchmod"])
def test_a_write_that_fails_leaves_the_old_file(
    short_path: Path, monkeypatch: pytest.MonkeyPatch, failing: str
) -> None:
    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    async def main() -> None:
        async with served(short_path, text='{ "Kettle": {} } # mine') as site:
            before = sorted(short_path.iterdir())
            with monkeypatch.context() as patch:
                patch.setattr(os, failing, fail)
                answer = await site.ask("config-write")
            assert answer.result == 1
            assert answer.text == (
                f"Error during config-write: Unable to open file {site.file} for writing: "
                "No space left on device"
            )
            assert site.file.read_text() == '{ "Kettle": {} } # mine'
            assert sorted(short_path.iterdir()) == before
            assert (await site.ask("config-write")).result == 0, "and the next one goes well"

    run(main())


def test_a_folder_is_not_written_over(short_path: Path) -> None:
    async def main() -> None:
        (short_path / "inner").mkdir()
        async with served(short_path) as site:
            answer = await site.ask("config-write", {"filename": "inner"})
            assert answer.result == 1
            assert "Is a directory" in str(answer.text)

    run(main())


@pytest.mark.parametrize("mode", [0o600, 0o644, 0o664])
def test_config_write_keeps_the_file_s_mode(short_path: Path, mode: int) -> None:
    async def main() -> None:
        async with served(short_path) as site:
            site.file.chmod(mode)
            written(await site.ask("config-write"))
            assert site.file.stat().st_mode & 0o777 == mode

    run(main())


def test_a_new_file_is_not_for_everybody(short_path: Path) -> None:
    async def main() -> None:
        async with served(short_path) as site:
            written(await site.ask("config-write", {"filename": "new.json"}))
            assert (short_path / "new.json").stat().st_mode & 0o777 == 0o640

    run(main())


def test_nobody_ever_reads_half_a_configuration(short_path: Path) -> None:
    async def main() -> None:
        stages: JSON = [{"degrees": number} for number in range(2000)]
        async with served(short_path, configuration={"stages": stages}) as site:
            await site.ask("config-write")
            whole = site.file.read_bytes()
            torn: list[bytes] = []
            done = threading.Event()

            def read() -> None:
                while not done.is_set():
                    if (found := site.file.read_bytes()) != whole:
                        torn.append(found)

            reader = threading.Thread(target=read)
            reader.start()
            try:
                for _ in range(20):
                    written(await site.ask("config-write"))
            finally:
                done.set()
                reader.join()
            assert not torn

    run(main())


# Where the mistakes are.

MISTAKES = {
    "unknown key": (
        '{ "Kettle": { "degrees": 5,\n  "bogus": 1 } }',
        "unsupported global configuration parameter: bogus",
        "1:12",
        "2.3-9",
    ),
    "wrong type": (
        '{ "Kettle": {\n  "label": 5 } }',
        "invalid value for parameter 'label': expected str, got int",
        "1:12",
        "2.12",
    ),
    "renamed": (
        '{ "Kettle": { "max-period": 1.5 } }',
        "invalid value for parameter 'max-period': expected int, got float",
        "0:68",
        "1.29-31",
    ),
    "in a list": (
        '{ "Kettle": { "stages": [ { "degrees": 1 },\n { "degrees": "x" } ] } }',
        "invalid value for parameter 'stages.1.degrees': expected float, got str",
        "1:15",
        "2.15-17",
    ),
    "unknown in a list": (
        '{ "Kettle": { "stages": [ { "degrees": 1, "colour": 2 } ] } }',
        "unsupported parameter: colour",
        "0:92",
        "1.43-50",
    ),
    "missing in a list": (
        '{ "Kettle": { "stages": [\n{} ] } }',
        "Missing mandatory 'degrees' parameter.",
        "1:2",
        "2.1",
    ),
    "in a map": (
        '{ "Kettle": { "limits":\n{ "a": "b" } } }',
        "invalid value for parameter 'limits': expected int, got str",
        "1:2",
        "2.1",
    ),
    "refused by the daemon": (
        '{ "Kettle": { "label": "x",\n "degrees": 500 } }',
        "too hot",
        "1:13",
        "2.13-15",
    ),
}


def reload_text(answer: bridle.Response, site: Site) -> str:
    """What a failed reload says behind Kea's words for it."""
    assert answer.result == 1
    start = f"Config reload failed: configuration error using file '{site.file}': "
    text = str(answer.text)
    assert text.startswith(start)
    return text.removeprefix(start)


def too_hot() -> Kettle:
    """A kettle that knows what is wrong, and says so by its path."""
    return refusing(500, bridle.ConfigurationError("too hot", path=["degrees"]))


@pytest.mark.parametrize(("text", "says", "place", "_"), MISTAKES.values(), ids=MISTAKES)
def test_a_mistake_in_a_command_is_named_with_its_place(
    short_path: Path, text: str, says: str, place: str, _: str
) -> None:
    async def main() -> None:
        async with served(short_path, too_hot()) as site:
            command = f'{{ "command": "config-set", "arguments": {text} }}'
            line, column = place.split(":")
            shown = f"<wire>:{line}:{column}"
            answer = json.loads(await say(site.socket, command))
            assert answer == {"result": 1, "text": f"{says} ({shown})"}

    run(main())


@pytest.mark.parametrize(("text", "says", "_", "place"), MISTAKES.values(), ids=MISTAKES)
def test_a_mistake_in_the_file_is_named_with_its_place(
    short_path: Path, text: str, says: str, _: str, place: str
) -> None:
    async def main() -> None:
        async with served(short_path, too_hot()) as site:
            site.file.write_text(text)
            answer = await site.ask("config-reload")
            assert reload_text(answer, site) == f"{says} ({site.file}:{place})"

    run(main())


def test_a_mistake_keeps_a_daemon_from_starting(short_path: Path) -> None:
    async def main() -> None:
        async with served(short_path, text='{ "Kettle": { "bogus": 1 } }'):
            pass

    with pytest.raises(bridle.ConfigurationError) as caught:
        run(main())
    assert caught.value.position == f"{short_path}/kettle.conf:1.15-21"
    assert caught.value.path == ["Kettle", "bogus"]


# The file.


def test_a_file_may_hold_comments_and_include_others(short_path: Path) -> None:
    (short_path / "parts").mkdir()
    (short_path / "parts" / "limits.json").write_text('{ "a": <?include "one.json"?> } # limits')
    (short_path / "parts" / "one.json").write_text("1 // beside limits.json")

    async def main() -> None:
        text = '// kettle\n{ "Kettle": { /* a\nb */ "limits": <?include "parts/limits.json"?> } } # end'
        async with served(short_path, text=text) as site:
            assert site.settings.limits == {"a": 1}

    run(main())


def test_a_mistake_in_an_included_file_is_found_there(short_path: Path) -> None:
    (short_path / "stage.json").write_text('\n{ "degrees": true }')

    async def main() -> None:
        async with served(short_path) as site:
            site.file.write_text('{ "Kettle": { "stages": [ <?include "stage.json"?> ] } }')
            answer = await site.ask("config-reload")
            assert f"({short_path}/stage.json:2.14-17)" in str(answer.text)

    run(main())


def test_commas_too_many_are_taken_and_warned_of(short_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        async with served(short_path, text='{ "Kettle": { "degrees": 80, }, }'):
            pass

    run(main())
    assert [record.getMessage() for record in caplog.records] == [
        f"{short_path}/kettle.conf:1.{column}: Extraneous comma. "
        "A piece of configuration may have been omitted."
        for column in (28, 31)
    ]


def after(site: Site, change: Coroutine[object, object, str]) -> Coroutine[object, object, str]:
    """The error of a change, once the daemon has shown that it goes on as before."""

    async def asked() -> str:
        before = await site.hash()
        text = await change
        assert await site.hash() == before
        return text

    return asked()


async def broken(site: Site, content: bytes | None) -> str:
    """The error of a reload with this content of the file; None: it is not there."""
    if content is None:
        site.file.unlink()
    else:
        site.file.write_bytes(content)
    return reload_text(await site.ask("config-reload"), site)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (None, "Unable to open file {file}: No such file or directory"),
        (b"\xff", "{file}:1.1: Invalid character: \ufffd"),
        (b"", "{file}:1.1: syntax error, unexpected end of file, expecting {{"),
        (b'{ "Kettle": {} }\n{', "{file}:2.1: syntax error, unexpected {{, expecting end of file"),
        (b'{ "Other": {} }', "{file}:1.3-9: syntax error, unexpected constant string, expecting Kettle"),
        (
            b'{ "Kettle": {}, "Other": {} }',
            "{file}:1.17-23: syntax error, unexpected constant string, expecting Kettle",
        ),
        (b"{}", "Missing mandatory 'Kettle' parameter."),
        (b'{ "Kettle": 5 }', "'Kettle' parameter expected to be a map."),
        (
            b'{ "Kettle": { "a": <?include "none"?> } }',
            "{file}:1.20-35: Can't open include file none: No such file or directory",
        ),
    ],
    ids=["missing", "bytes", "empty", "rest", "root", "second root", "no root", "no map", "include"],
)
def test_a_file_that_cannot_be_used_leaves_the_old_configuration(
    short_path: Path, content: bytes | None, says: str
) -> None:
    async def main() -> None:
        async with served(short_path, configuration={"degrees": 71}) as site:
            text = await after(site, broken(site, content))
            assert text == says.format(file=site.file)

    run(main())


def test_a_file_too_large_is_not_read(short_path: Path) -> None:
    name = short_path / "large.conf"
    with name.open("wb") as file:
        file.truncate(FILE_LIMIT + 1)
    with pytest.raises(bridle.ConfigurationError, match=f"too large: more than {FILE_LIMIT} bytes"):
        read_file(str(name), "Kettle")


def test_reload_needs_a_file(short_path: Path) -> None:
    async def main() -> None:
        async with served(short_path, file=False) as site:
            answer = await site.ask("config-reload")
            assert answer.result == 1
            assert "the daemon was started without one" in str(answer.text)

    run(main())
