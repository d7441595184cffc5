"""Pacemaker's own tools against ``bridle run cluster``, on both of libqb's transports: they say what they say
of a real cluster, which runs beside it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import pytest

import bridle
from tests.support.cluster_daemon import (
    AS_NOBODY,
    Said,
    cluster_program,
    plain,
    shape,
    tool,
    wait_for_idle,
)
from tests.support.pacemaker import CLUSTER, Sandbox, sandbox

pytestmark = [
    pytest.mark.peers(*CLUSTER, "cibadmin", "setpriv"),
    pytest.mark.namespaces,
    pytest.mark.timeout(120),
]

Transport = Literal["shm", "socket"]
TRANSPORTS: tuple[Transport, ...] = ("shm", "socket")

DUMMY = (
    '<primitive id="dummy" class="ocf" provider="pacemaker" type="Dummy"><operations>'
    '<op id="dm" name="monitor" interval="10s"/></operations></primitive>'
)
BATCH_LIMIT = (
    '<cluster_property_set id="cib-bootstrap-options"><nvpair id="x-bl" name="batch-limit" value="7"/>'
    "</cluster_property_set>"
)

MAINTENANCE = (
    '<cluster_property_set id="cib-bootstrap-options"><nvpair id="m-m" name="maintenance-mode" value="true"/>'
    "</cluster_property_set>"
)

BEGINNING: list[tuple[str, ...]] = [
    ("crm_attribute", "-n", "stonith-enabled", "-v", "false"),
    ("cibadmin", "-C", "-o", "resources", "-X", DUMMY),
]
CALLS: dict[str, list[tuple[str, ...]]] = {
    "crmadmin": [
        ("crmadmin", "-P"),
        ("crmadmin", "-D"),
        ("crmadmin", "-S", "node1"),
        ("crmadmin", "-N"),
        ("crmadmin", "-P", "--output-as=xml"),
        ("crmadmin", "-S", "node1", "--output-as=xml"),
    ],
    "crm_node": [
        ("crm_node", "-i"),
        ("crm_node", "-n"),
        ("crm_node", "-q"),
        ("crm_node", "-p"),
        ("crm_node", "-l"),
        ("crm_node", "-N", "1"),
        ("crm_node", "-N", "9"),
        ("crm_node", "-R", "node9", "--force"),
    ],
    "attrd_updater": [
        ("attrd_updater", "-n", "foo", "-U", "bar"),
        ("attrd_updater", "-n", "foo", "-Q"),
        ("attrd_updater", "-n", "foo", "-Q", "-A"),
        ("attrd_updater", "-n", "foo", "-D"),
        ("attrd_updater", "-n", "foo", "-Q"),
        ("attrd_updater", "-n", "nosuch", "-Q"),
        ("attrd_updater", "-n", "secret", "-U", "1", "-p"),
        ("attrd_updater", "-n", "count", "-U", "value++"),
        ("attrd_updater", "-n", "count", "-Q"),
        ("attrd_updater", "-R"),
        ("crm_attribute", "-t", "status", "-n", "foo", "-v", "1"),
        ("crm_attribute", "-t", "status", "-n", "foo", "-G"),
    ],
    "crm_mon": [("crm_mon", "-1"), ("crm_mon", "-1", "--output-as=xml")],
    "fencing": [
        ("stonith_admin", "-L"),
        ("stonith_admin", "-R", "tst", "-a", "fence_dummy", "-o", "pcmk_host_list=node9"),
        ("stonith_admin", "-L"),
        ("stonith_admin", "-l", "node9"),
        ("stonith_admin", "-l", "node8"),
        ("stonith_admin", "-Q", "tst"),
        ("stonith_admin", "-r", "node9", "-i", "1", "-v", "tst"),
        ("stonith_admin", "-H", "*"),
        ("stonith_admin", "-F", "node9", "-t", "5"),
        ("stonith_admin", "-H", "node9"),
        ("stonith_admin", "-H", "*", "--output-as=xml"),
        ("stonith_admin", "-B", "node7", "-t", "5"),
        ("crm_mon", "-1"),
        ("stonith_admin", "-H", "*", "--cleanup"),
        ("stonith_admin", "-H", "node9"),
        ("stonith_admin", "-d", "node9", "-i", "1"),
        ("stonith_admin", "-D", "tst"),
        ("stonith_admin", "-L"),
    ],
    "cib": [
        ("cibadmin", "-Q", "-o", "nodes"),
        ("cibadmin", "-Q", "-o", "resources"),
        ("cibadmin", "-Q", "--xpath", "//nodes"),
        ("cibadmin", "-Q", "--xpath", "//op/@id"),
        ("cibadmin", "-Q", "--xpath", "//primitive", "-e"),
        ("cibadmin", "-Q", "--xpath", "//nosuch"),
        ("cibadmin", "-Q", "--xpath", "//["),
        ("cibadmin", "-Q", "--xpath", "count(//node)"),
        ("cibadmin", "-Q", "-o", "alerts"),
        ("cibadmin", "-M", "-o", "crm_config", "-X", BATCH_LIMIT),
        ("crm_attribute", "-n", "batch-limit", "-G", "-q"),
        ("cibadmin", "-C", "-o", "resources", "-X", DUMMY),
        ("cibadmin", "-D", "-X", '<nvpair id="x-bl"/>'),
        ("cibadmin", "-D", "-X", '<nvpair id="x-nosuch"/>'),
        ("cibadmin", "-M", "-X", '<nvpair id="x-nosuch"/>'),
        ("cibadmin", "-B"),
        ("cibadmin", "-R", "-X", '<cib epoch="1" num_updates="0" admin_epoch="0"/>'),
        ("crm_attribute", "-n", "cluster-delay", "-G", "-q"),
        ("cibadmin", "--upgrade", "--force"),
        ("crm_verify", "-L"),
        ("crm_simulate", "-L"),
    ],
    "resources": [
        ("crm_resource", "-l"),
        ("crm_resource", "-W", "-r", "dummy"),
        ("crm_resource", "-F", "-r", "dummy", "-N", "node1"),
        ("idle",),
        ("crm_failcount", "-r", "dummy", "-G"),
        ("crm_resource", "-C", "-r", "dummy"),
        ("idle",),
        ("crm_failcount", "-r", "dummy", "-G"),
        ("crm_resource", "-C"),
        ("crm_resource", "--refresh", "-r", "dummy"),
        ("idle",),
        ("crm_resource", "--refresh"),
        ("idle",),
        ("crm_resource", "-W", "-r", "dummy"),
        ("crm_standby", "-v", "on"),
        ("idle",),
        ("crm_mon", "-1"),
        ("crm_standby", "-D"),
        ("idle",),
        ("crm_resource", "-W", "-r", "dummy"),
        ("crm_ticket", "-t", "T1", "-g", "--force"),
    ],
}


def transcript(where: Sandbox) -> dict[str, list[tuple[tuple[str, ...], Said]]]:
    """What all tools say, in order; ``idle`` waits until the controller has done what there was to do."""
    wait_for_idle(where)
    for words in BEGINNING:
        assert tool(where, *words).status == 0
    wait_for_idle(where)
    found: dict[str, list[tuple[tuple[str, ...], Said]]] = {}
    for topic, calls in CALLS.items():
        found[topic] = []
        for words in calls:
            if words == ("idle",):
                wait_for_idle(where)
            else:
                found[topic].append((words, tool(where, *words)))
    found["cib whole"] = [(("cibadmin", "-Q"), tool(where, "cibadmin", "-Q"))]
    return found


@pytest.fixture(scope="module")
def real() -> Iterator[dict[str, list[tuple[tuple[str, ...], Said]]]]:
    """What the tools say of a real cluster."""
    with sandbox("cluster", "shm") as where:
        yield transcript(where)


@pytest.fixture(scope="module", params=TRANSPORTS)
def ours(request: pytest.FixtureRequest) -> Iterator[dict[str, list[tuple[tuple[str, ...], Said]]]]:
    """What they say of ours, and how that ends when they ask for it."""
    with cluster_program(request.param, {"imagined": {"properties": {}}}) as program:
        found = transcript(program.where)
        found["shutdown"] = [(("pacemakerd", "--shutdown"), tool(program.where, "pacemakerd", "--shutdown"))]
        assert program.wait() == 0
        yield found


Transcript = dict[str, list[tuple[tuple[str, ...], Said]]]


@pytest.mark.parametrize("topic", CALLS)
def test_tools_say_what_they_say_of_a_real_cluster(real: Transcript, ours: Transcript, topic: str) -> None:
    said = [(words, one.status, plain(one.text)) for words, one in ours[topic]]
    expected = [(words, one.status, plain(one.text)) for words, one in real[topic]]
    assert said == expected


def test_the_cib_has_the_shape_of_a_real_one(real: Transcript, ours: Transcript) -> None:
    (_, said), (_, expected) = ours["cib whole"][0], real["cib whole"][0]
    assert said.status == expected.status == 0
    assert shape(said.text) == shape(expected.text)


def test_a_shutdown_ends_the_tool_and_the_daemon(ours: Transcript) -> None:
    assert ours["shutdown"][0][1].status == 0


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_nobody_is_nobody_s_server(transport: Transport) -> None:
    """Tools refuse a server that runs as nobody."""
    with cluster_program(transport, nobody=True) as program:
        for words in (("crm_node", "-i"), ("cibadmin", "-Q"), ("crmadmin", "-P"), ("stonith_admin", "-L")):
            said = tool(program.where, *words)
            assert said.status == 102, (words, said)


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_nobody_is_nobody_s_client(transport: Transport) -> None:
    """A client that runs as nobody is refused; one in the group haclient is served."""
    with cluster_program(transport) as program:
        for words in (("crm_node", "-i"), ("attrd_updater", "-n", "a", "-Q")):
            said = tool(program.where, *words, user=AS_NOBODY)
            assert said.status == 4, (words, said)
        assert tool(program.where, "cibadmin", "-Q", user=AS_NOBODY).status == 102
        member = ("--reuid=nobody", "--regid=nogroup", "--groups=haclient")
        assert tool(program.where, "crm_node", "-i", user=member) == Said(0, "1\n")
        # Whoever is neither root nor hacluster may not stop it.
        tool(program.where, "pacemakerd", "--shutdown", user=member)
        assert tool(program.where, "crm_node", "-n").text == "node1\n"


def filler(directory: Path, kilobytes: int) -> Path:
    """A section of resources that makes a CIB about so large, and that bzip2 can make small."""
    one = '<primitive id="big-{0}" class="ocf" provider="pacemaker" type="Dummy">{1}</primitive>'
    attributes = (
        '<meta_attributes id="m-{0}"><nvpair id="n-{0}" name="target-role" value="Stopped"/>'
        '<nvpair id="o-{0}" name="description" value="{1}"/></meta_attributes>'
    )
    count = kilobytes * 1024 // 380
    text = "".join(one.format(n, attributes.format(n, "x" * 150)) for n in range(count))
    file = directory / "large.xml"
    file.write_text(f"<resources>{text}</resources>")
    return file


OURS: list[tuple[str, dict[str, Any]]] = [
    ("ping", {}),
    ("ping", {"subsystem": "dc"}),
    ("node-list", {}),
    ("node-info", {"node": "node2"}),
    ("attribute-update", {"name": "a", "value": "1"}),
    ("attribute-query", {"name": "a"}),
    ("attribute-delete", {"name": "a"}),
    ("attribute-refresh", {}),
    ("attribute-clear-failures", {"resource": "dummy"}),
    ("cib-query", {"section": "nodes"}),
    ("cib-create", {"section": "resources", "xml": '<primitive id="x" class="ocf" provider="p" type="T"/>'}),
    ("cib-modify", {"section": "resources", "xml": '<primitive id="x" type="U"/>'}),
    ("cib-replace", {"section": "resources", "xml": '<primitive id="x" class="ocf" provider="p" type="V"/>'}),
    ("cib-delete", {"xml": '<primitive id="x"/>'}),
    ("cib-bump", {}),
    ("resource-fail", {"resource": "dummy", "node": "node1"}),
    ("resource-refresh", {"resource": "dummy", "node": "node1"}),
    ("reprobe", {}),
    ("fencing-device-add", {"id": "dev", "agent": "fence_dummy"}),
    ("fencing-devices", {}),
    ("fencing-level-add", {"target": "node2", "index": 1, "devices": ["dev"]}),
    ("fencing-level-remove", {"target": "node2", "index": 1}),
    ("fence", {"target": "node2", "action": "off", "timeout": 9}),
    ("fencing-confirm", {"target": "node2"}),
    ("fencing-history", {}),
    ("fencing-history-cleanup", {}),
    ("fencing-device-remove", {"id": "dev"}),
    ("resource-add", {"resource": "r", "class": "ocf", "provider": "p", "type": "T"}),
    ("resource-info", {"resource": "r"}),
    ("resource-execute", {"resource": "r", "action": "start"}),
    ("resource-remove", {"resource": "r"}),
    ("node-purge", {"node": "node2"}),
]


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_our_client_asks_it_as_it_asks_real_daemons(transport: Transport, tmp_path: Path) -> None:
    imagined = {"resources": [{"id": "dummy"}], "nodes": [{"name": "node2"}]}
    with cluster_program(transport, {"imagined": imagined}) as program:

        def ask() -> dict[str, Any]:
            told: dict[str, Any] = {}
            with bridle.connect("qb:pacemaker") as pacemaker:
                for name, arguments in OURS:
                    told[name] = pacemaker.call(name, arguments)
                graph = pacemaker.call("graph", {"cib": pacemaker.call("cib-query")["cib"]})
                told["graph"] = graph
                large = filler(tmp_path, 700).read_text()
                pacemaker.call(
                    "cib-modify", {"section": "crm_config", "xml": MAINTENANCE, "can-create": True}
                )
                pacemaker.call("cib-replace", {"section": "resources", "xml": large})
                told["large"] = shape(pacemaker.call("cib-query", {"section": "resources"})["cib"]) == shape(
                    large
                )
            return told

        told = program.where.inside(ask)
        assert told["large"]
        assert [one["name"] for one in told["node-list"]["nodes"]] == ["node1", "node2"]
        assert told["attribute-query"]["values"] == [{"node": "node1", "value": "1"}]
        assert told["fencing-devices"]["devices"][0]["id"] == "dev"
        assert [one["state"] for one in told["fencing-history"]["history"]] == ["done", "done"]
        assert told["resource-execute"]["rc-code"] == 0
        assert "<transition_graph" in told["graph"]["graph"]


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_a_cib_of_700_kilobytes_travels_both_ways(transport: Transport, tmp_path: Path) -> None:
    file = filler(tmp_path, 700)
    assert file.stat().st_size > 700_000
    # A CIB that is replaced whole while resources are probed: they are stopped, so nothing is started.
    with cluster_program(transport, {"imagined": {"properties": {"maintenance-mode": "true"}}}) as program:
        said = tool(program.where, "cibadmin", "-R", "-o", "resources", "-x", str(file))
        assert said == Said(0, "")
        back = tool(program.where, "cibadmin", "-Q", "-o", "resources")
        assert back.status == 0
        assert shape(back.text) == shape(file.read_text())
