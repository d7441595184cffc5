"""Configurations that stand in a shared database in part."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

import bridle
from bridle.bundled.dhcp.dhcp4 import Dhcp4
from bridle.core.messages import JSON
from bridle.daemon.configuration_backend import merge
from bridle.daemon.document import Document
from bridle.daemon.fragments import Fragment, FragmentError, Fragments, open_fragments
from tests.support.loops import on_virtual_clock
from tests.support.postgresql import private_server
from tests.support.programs import missing

PROGRAMS = ("initdb", "postgres", "setpriv")
KINDS = ["sqlite", pytest.param("postgresql", marks=pytest.mark.peers(*PROGRAMS))]


@pytest.fixture(scope="module", autouse=True)
def server() -> Iterator[dict[str, str | int]]:
    """PostgreSQL for all tests here, where it is installed."""
    if missing(PROGRAMS):
        yield {}
        return
    with private_server() as running:
        yield running


@pytest.fixture(params=KINDS)
def database(
    request: pytest.FixtureRequest, short_path: Path, server: dict[str, str | int]
) -> dict[str, JSON]:
    if request.param == "sqlite":
        return {"type": "sqlite", "name": str(short_path / "fragments.sqlite")}
    return {"type": "postgresql", **server}


@pytest.fixture
def store(database: dict[str, JSON]) -> Iterator[Fragments]:
    opened = open_fragments(database)
    for fragment in opened.list():
        opened.delete(fragment.tag, fragment.name)
    yield opened
    opened.close()


@asynccontextmanager
async def served(folder: Path, database: dict[str, JSON], **more: JSON) -> AsyncIterator[bridle.AsyncClient]:
    configuration = {
        "lease-database": {"type": "memfile", "persist": False},
        "server-tag": "here",
        "config-control": {"config-databases": [database], "config-fetch-wait-time": 30},
        "subnet4": [{"id": 1, "subnet": "192.0.2.0/24"}],
        **more,
    }
    file = folder / "dhcp4.conf"
    file.write_text(json.dumps({"Dhcp4": configuration}))
    async with bridle.serve(Dhcp4(), f"unix:{folder}/s", configuration_file=str(file)):
        client = bridle.connect_async(f"unix:{folder}/s", timeout=600)
        try:
            yield client
        finally:
            await client.close()


async def lifetime(client: bridle.AsyncClient) -> JSON:
    told = await client.call("config-get")
    assert isinstance(told, dict)
    root = told["Dhcp4"]
    assert isinstance(root, dict)
    return root["valid-lifetime"]


def test_a_store_keeps_fragments_by_tag_and_name(store: Fragments) -> None:
    before = store.version()
    store.set(Fragment("all", "b", {"x": 1}))
    store.set(Fragment("here", "a", {"x": 2}))
    store.set(Fragment("there", "a", {"x": 3}))
    store.set(Fragment("all", "b", {"x": 4}))
    version, mine = store.read("here")
    assert version == store.version() == before + 4
    assert mine == [Fragment("all", "b", {"x": 4}), Fragment("here", "a", {"x": 2})], (
        "those of all come first"
    )
    assert store.delete("there", "a")
    assert not store.delete("there", "a")
    assert len(store.list()) == 2


@on_virtual_clock
async def test_fragments_are_merged_over_the_file(
    short_path: Path, database: dict[str, JSON], store: Fragments
) -> None:
    store.set(Fragment("all", "times", {"valid-lifetime": 111}))
    store.set(
        Fragment(
            "here", "nets", {"subnet4": [{"id": 2, "subnet": "10.0.0.0/8"}, {"id": 1, "renew-timer": 5}]}
        )
    )
    store.set(Fragment("there", "nets", {"valid-lifetime": 999}))
    async with served(short_path, database) as client:
        assert await client.call("server-tag-get") == {"server-tag": "here"}
        told = await client.call("config-get")
        subnets = told["Dhcp4"]["subnet4"]  # type: ignore[index, call-overload]
        assert [(one["id"], one["subnet"], one.get("renew-timer")) for one in subnets] == [  # type: ignore[union-attr, index, call-overload]
            (1, "192.0.2.0/24", 5),
            (2, "10.0.0.0/8", None),
        ]
        assert await lifetime(client) == 111


@on_virtual_clock
async def test_a_pull_fetches_what_changed_and_a_failed_one_changes_nothing(
    short_path: Path, database: dict[str, JSON], store: Fragments
) -> None:
    async with served(short_path, database) as client:
        assert await lifetime(client) == 7200
        store.set(Fragment("all", "times", {"valid-lifetime": 111}))
        answer = await client.execute("config-backend-pull")
        assert (answer.result, answer.text) == (0, "On demand configuration update successful.")
        assert await lifetime(client) == 111
        store.set(Fragment("all", "times", {"valid-lifetime": 5, "bogus": 1}))
        answer = await client.execute("config-backend-pull")
        assert answer.result == 1
        assert str(answer.text).startswith(
            "On demand configuration update failed: fragment 'times' of tag 'all': got unexpected keyword"
        )
        assert await lifetime(client) == 111
        store.delete("all", "times")
        assert (await client.execute("config-backend-pull")).result == 0
        assert await lifetime(client) == 7200


@on_virtual_clock
async def test_it_is_looked_at_from_time_to_time(
    short_path: Path, database: dict[str, JSON], store: Fragments
) -> None:
    async with served(short_path, database) as client:
        store.set(Fragment("all", "times", {"valid-lifetime": 111}))
        await asyncio.sleep(29)
        assert await lifetime(client) == 7200
        await asyncio.sleep(2)
        for _ in range(100):
            if await lifetime(client) == 111:
                break
            await asyncio.sleep(0.1)
        assert await lifetime(client) == 111


@pytest.mark.parametrize(
    "wrong", [{"bogus": 1}, {"hooks-libraries": [{"library": "/none.py"}]}], ids=["tested", "applied"]
)
@on_virtual_clock
async def test_a_refused_configuration_leaves_the_backend_as_it_is(
    short_path: Path, database: dict[str, JSON], store: Fragments, wrong: dict[str, JSON]
) -> None:
    async with served(short_path, database) as client:
        assert (await client.execute("config-set", {"Dhcp4": wrong})).result == 1
        store.set(Fragment("all", "times", {"valid-lifetime": 111}))
        assert (await client.execute("config-backend-pull")).result == 0
        assert await lifetime(client) == 111


@on_virtual_clock
async def test_what_was_refused_is_not_tried_again_before_it_has_changed(
    short_path: Path, database: dict[str, JSON], store: Fragments, caplog: pytest.LogCaptureFixture
) -> None:
    async with served(short_path, database) as client:
        store.set(Fragment("all", "times", {"valid-lifetime": 5, "bogus": 1}))
        await asyncio.sleep(125)
        assert caplog.text.count("the configuration goes on as it is") == 1
        store.set(Fragment("all", "times", {"valid-lifetime": 111}))
        await asyncio.sleep(35)
        assert await lifetime(client) == 111


@on_virtual_clock
async def test_a_look_that_meets_a_fault_is_logged_and_not_the_last(
    short_path: Path,
    database: dict[str, JSON],
    store: Fragments,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(fragments: Fragments) -> int:
        raise KeyError("bug")

    async with served(short_path, database) as client:
        with monkeypatch.context() as patch:
            patch.setattr(Fragments, "version", fail)
            await asyncio.sleep(35)
        assert any(record.exc_info is not None for record in caplog.records)
        assert "the configuration goes on as it is" in caplog.text
        store.set(Fragment("all", "times", {"valid-lifetime": 111}))
        await asyncio.sleep(35)
        assert await lifetime(client) == 111


@on_virtual_clock
async def test_without_a_backend_there_is_nothing_to_pull(short_path: Path) -> None:
    async with served(short_path, {}, **{"config-control": {"config-databases": []}}) as client:
        answer = await client.execute("config-backend-pull")
        assert (answer.result, answer.text) == (3, "No config backend.")


@on_virtual_clock
@pytest.mark.parametrize(
    ("control", "text"),
    [
        ({"config-databases": [{"type": "mysql", "name": "x"}]}, "database type 'mysql' is not supported"),
        ({"config-databases": [{"type": "sqlite"}]}, "missing parameter 'name'"),
        ({"config-databases": [{"type": "sqlite", "name": "x", "nope": 1}]}, "'nope'"),
        ({"config-fetch-wait-time": "x"}, "in"),
    ],
)
async def test_what_is_wrong_is_refused_with_its_position(short_path: Path, control: JSON, text: str) -> None:
    async with served(short_path, {}, **{"config-control": {"config-databases": []}}) as client:
        for command in ("config-test", "config-set"):
            answer = await client.execute(command, {"Dhcp4": {"config-control": control}})
            assert answer.result == 1
            assert text in str(answer.text)
            assert "(<wire>:0:" in str(answer.text)


@on_virtual_clock
async def test_a_database_that_cannot_be_opened_refuses_the_start(short_path: Path) -> None:
    nowhere: dict[str, JSON] = {"type": "sqlite", "name": str(short_path / "no" / "where")}
    with pytest.raises(FragmentError, match="cannot be opened"):
        async with served(short_path, nowhere):
            pass


def test_items_without_an_identity_are_replaced_as_a_whole() -> None:
    document = Document({"R": {"list": [1, 2], "items": [{"id": 1, "a": 1}], "map": {"x": {"y": 1}}}})
    above = Fragment("all", "f", {"list": [3], "items": [{"id": 1, "b": 2}], "map": {"x": {"z": 2}}})
    merged = merge(document, "R", [above])
    assert merged.value["R"] == {
        "list": [3],
        "items": [{"id": 1, "a": 1, "b": 2}],
        "map": {"x": {"y": 1, "z": 2}},
    }
    assert merged.locate(["R", "items", 0, "b"]) == "fragment 'f' of tag 'all'"
    assert merged.locate(["R", "items", 0, "a"]) == ""
    assert document.value["R"] == {"list": [1, 2], "items": [{"id": 1, "a": 1}], "map": {"x": {"y": 1}}}
