"""The cluster daemon's configuration: what it takes, where it is wrong, and what survives a restart."""

from __future__ import annotations

import asyncio
import json
import secrets
from pathlib import Path
from typing import Any

import pytest

from bridle.bundled.cluster.cluster import Cluster
from bridle.core.errors import BridleError, ConfigurationError
from bridle.core.messages import Command
from bridle.daemon.document import Document
from bridle.daemon.running import serve
from bridle.wire.pacemaker_server import SERVICES
from tests.support.cluster import cluster
from tests.support.loops import on_virtual_clock

DUMMY = '<primitive id="kept" class="ocf" provider="p" type="T"/>'


def channels(configuration: dict[str, Any], **options: Any) -> list[tuple[str, tuple[tuple[str, str], ...]]]:
    daemon = Cluster(node="n", **options)
    found = daemon.control_channels(Document({"Cluster": configuration}))
    return [(str(one.endpoint), one.endpoint.options) for one in found]


def test_it_listens_under_the_names_of_pacemaker_s_daemons() -> None:
    assert channels({}) == [(f"qb:{name}", (("transport", "shm"),)) for name in SERVICES]
    assert channels({}, transport="socket")[0] == ("qb:attrd", (("transport", "socket"),))


def test_control_sockets_say_which_of_the_names() -> None:
    one = {"control-sockets": [{"socket-type": "pacemaker", "socket-name": "crmd", "transport": "socket"}]}
    assert channels(one) == [("qb:crmd", (("transport", "socket"),))]
    unix = {"socket-type": "unix", "socket-name": "/tmp/x"}
    everything = {"control-sockets": [unix, {"socket-type": "pacemaker", "transport": "socket"}]}
    found = channels(everything)
    assert found[0] == ("unix:/tmp/x", ())
    assert found[1:] == [(f"qb:{name}", (("transport", "socket"),)) for name in SERVICES]
    assert channels({"control-sockets": [unix]})[0] == ("unix:/tmp/x", ())
    assert len(channels({"control-sockets": [unix]})) == 1 + len(SERVICES)


@pytest.mark.parametrize(
    ("text", "position", "words"),
    [
        ('{"Cluster":\n {"nonsense": 1}}', ":2.3", "unsupported global configuration parameter: nonsense"),
        ('{"Cluster":\n {"node-id": 0}}', ":2.14", "invalid value for parameter 'node-id'"),
        ('{"Cluster": {"imagined":\n {"nodes": [{"name": "node1"}]}}}', ":2.", "'node1' is there twice"),
        (
            '{"Cluster": {"imagined": {"nodes":\n [{"name": "a", "id": 1}]}}}',
            ":2.",
            "two nodes have the id 1",
        ),
        ('{"Cluster": {"imagined":\n {"resources": [{"id": "1 x"}]}}}', ":2.", "invalid value"),
        ('{"Cluster": {"imagined": {"agents":\n [{"behaviour": {"fails": 2}}]}}}', ":2.", "invalid value"),
        (
            '{"Cluster": {"imagined": {"fencing":\n {"delay": 5, "delay-up-to": 1}}}}',
            ":2.",
            "delay-up-to is less than delay",
        ),
        (
            '{"Cluster": {"control-sockets":\n [{"socket-type": "pacemaker", "x": 1}]}}',
            ":2.",
            "parameter 'x'",
        ),
        (
            '{"Cluster": {"control-sockets":\n [{"socket-type": "pacemaker", "transport": "tcp"}]}}',
            ":2.",
            "transport is 'shm' or 'socket'",
        ),
    ],
)
def test_errors_say_where_they_are(tmp_path: Path, text: str, position: str, words: str) -> None:
    file = tmp_path / "cluster.json"
    file.write_text(text)

    async def run() -> None:
        async with serve(Cluster(node="node1", native=False), configuration_file=str(file)):
            pass

    with pytest.raises(BridleError) as wrong:
        asyncio.run(run())
    assert words in str(wrong.value)
    assert f"cluster.json{position}" in str(wrong.value)


def test_a_name_that_cannot_be_a_node_s_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="cannot be a node's name"):
        Cluster(node="a b")


@on_virtual_clock
async def test_another_configuration_is_another_cluster() -> None:
    daemon = Cluster(node="node1", native=False)
    async with serve(daemon) as running:
        manager = running.daemon.manager

        async def ask(name: str, arguments: Any = None) -> Any:
            response = await manager.execute(Command(name, arguments or {}))
            assert response.result == 0, response
            return response.value

        await ask("cib-create", {"section": "resources", "xml": DUMMY})
        configuration = await ask("config-get")
        configuration["Cluster"]["imagined"]["nodes"] = [{"name": "node2"}]
        await ask("config-set", configuration)
        assert [one["name"] for one in (await ask("node-list"))["nodes"]] == ["node1", "node2"]
        assert (await ask("resource-list"))["resources"] == []
        status = await ask("status-get")
        assert (status["node"], status["have-quorum"]) == ("node1", True)
        configuration["Cluster"]["imagined"]["nodes"] = [{"name": "node1"}]
        refused = await manager.execute(Command("config-set", configuration))
        assert refused.result == 1
        assert len((await ask("node-list"))["nodes"]) == 2


@on_virtual_clock
async def test_the_configuration_of_the_cib_survives_a_restart(tmp_path: Path) -> None:
    file = tmp_path / "cib.xml"
    configuration = {"cib-file": str(file)}
    async with cluster(configuration) as c:
        await c.value("cib-create", section="resources", xml=DUMMY)
        await c.value("attribute-update", name="lost", value="1")
        version = await c.version()
    assert "transient_attributes" not in file.read_text()
    async with cluster(configuration) as c:
        assert len(await c.found("//primitive[@id='kept']")) == 1
        assert await c.found("//nvpair[@name='lost']") == []
        assert (await c.version())[:2] == version[:2]
        # Nothing is left of files that were written beside it.
        assert [path.name for path in tmp_path.iterdir()] == ["cib.xml"]


@on_virtual_clock
async def test_what_cannot_be_kept_is_not_done(tmp_path: Path) -> None:
    folder = tmp_path / "gone"
    folder.mkdir()
    async with cluster({"cib-file": str(folder / "cib.xml")}) as c:
        (folder / "cib.xml").unlink()
        folder.rmdir()
        whole = await c.value("cib-query")
        assert await c.refused("cib-create", section="resources", xml=DUMMY) == 210
        pair = '<nvpair id="x" name="y" value="z"/>'
        modify = f'<cluster_property_set id="cib-bootstrap-options">{pair}</cluster_property_set>'
        assert await c.refused("cib-modify", section="crm_config", xml=modify) == 210
        assert await c.value("cib-query") == whole


@pytest.mark.parametrize("text", ["", "<cib/>", "<other/>", "\x80"])
def test_a_file_that_holds_no_cib_keeps_the_daemon_from_starting(tmp_path: Path, text: str) -> None:
    file = tmp_path / "cib.xml"
    file.write_bytes(text.encode("latin-1"))
    daemon = Cluster(node="n")
    with pytest.raises(ConfigurationError):
        daemon.configure(daemon.check_configuration(Document({"Cluster": {"cib-file": str(file)}})))


def test_a_daemon_of_one_s_own_has_control_sockets_of_this_type(tmp_path: Path) -> None:
    """In any daemon's configuration."""
    from tests.support.parrot import Parrot

    name = f"parrot-{secrets.token_hex(4)}"
    file = tmp_path / "parrot.json"
    socket = {"socket-type": "pacemaker", "socket-name": name, "transport": "socket"}
    file.write_text(json.dumps({"Parrot": {"control-sockets": [socket]}}))

    async def run() -> None:
        async with serve(Parrot(), configuration_file=str(file)) as running:
            assert [str(channel.endpoint) for channel in running.server.channels] == [f"qb:{name}"]

    asyncio.run(run())


@on_virtual_clock
async def test_a_cib_file_that_cannot_be_written_leaves_the_cluster_as_it_is(tmp_path: Path) -> None:
    async with serve(Cluster(node="node1", native=False)) as running:
        manager = running.daemon.manager
        create = {"section": "resources", "xml": DUMMY}
        assert (await manager.execute(Command("cib-create", create))).result == 0
        wrong = {"Cluster": {"cib-file": str(tmp_path / "nowhere" / "cib.xml")}}
        assert (await manager.execute(Command("config-set", wrong))).result == 1
        kept = await manager.execute(Command("cib-query", {"xpath": "//primitive"}))
        assert kept.result == 0
