"""The CIB: what may be done to it, and how its version counts. The codes are Pacemaker's."""

from __future__ import annotations

import errno
from typing import Any

import pytest

from bridle.bundled.cluster.failure import (
    DIFF_FAILED,
    DIFF_RESYNC,
    OLD_DATA,
    SCHEMA_UNCHANGED,
    SCHEMA_VALIDATION,
)
from bridle.bundled.cluster.xpath import DESCENTS_LIMIT, EXPRESSION_LIMIT
from tests.support.cluster import cluster
from tests.support.loops import on_virtual_clock

OPTIONS = '<cluster_property_set id="cib-bootstrap-options">{}</cluster_property_set>'
DUMMY = '<primitive id="{}" class="ocf" provider="pacemaker" type="Dummy"/>'


def option(name: str, value: str) -> str:
    return OPTIONS.format(f'<nvpair id="o-{name}" name="{name}" value="{value}"/>')


@on_virtual_clock
async def test_a_new_cib_has_its_sections_its_node_and_its_options() -> None:
    async with cluster() as c:
        assert [one.get("uname") for one in await c.found("//nodes/node")] == ["node1"]
        (state,) = await c.found("//node_state")
        assert (state.get("in_ccm"), state.get("crmd"), state.get("join")) == ("true", "online", "member")
        names = {one.get("name") for one in await c.found("//crm_config//nvpair")}
        assert {"have-watchdog", "dc-version", "cluster-infrastructure", "cluster-name"} <= names
        (root,) = await c.found("/cib")
        assert root.get("have-quorum") == "1"
        assert root.get("dc-uuid") == "1"
        assert root.get("validate-with") == "pacemaker-3.9"


@on_virtual_clock
async def test_a_change_of_the_configuration_counts_as_epoch() -> None:
    async with cluster() as c:
        before = await c.version()
        await c.value("cib-modify", section="crm_config", xml=option("batch-limit", "7"))
        assert (await c.version())[:2] == (before[0], before[1] + 1)
        (pair,) = await c.found("//nvpair[@name='batch-limit']")
        assert pair.get("value") == "7"


@on_virtual_clock
async def test_a_change_of_the_status_counts_as_update() -> None:
    async with cluster() as c:
        _, epoch, updates = await c.version()
        ticket = '<status><tickets><ticket_state id="T1" granted="true"/></tickets></status>'
        await c.value("cib-modify", section="status", xml=ticket)
        assert await c.version() == (0, epoch, updates + 1)


@on_virtual_clock
async def test_a_change_that_changes_nothing_counts_nothing() -> None:
    async with cluster() as c:
        await c.value("cib-modify", section="crm_config", xml=option("batch-limit", "7"))
        before, events = await c.version(), len(c.events)
        await c.value("cib-modify", section="crm_config", xml=option("batch-limit", "7"))
        assert (await c.version(), len(c.events)) == (before, events)


@on_virtual_clock
async def test_who_changed_the_configuration_is_remembered() -> None:
    async with cluster() as c:
        await c.value("cib-modify", section="crm_config", xml=option("batch-limit", "7"), client="tester")
        (root,) = await c.found("/cib")
        assert (root.get("update-origin"), root.get("update-client")) == ("node1", "tester")
        assert root.get("cib-last-written")


@on_virtual_clock
async def test_what_is_not_there_is_modified_only_where_it_may_be_made() -> None:
    async with cluster() as c:
        assert await c.refused("cib-modify", xml='<nvpair id="nowhere"/>') == errno.ENXIO
        await c.value("cib-modify", section="nodes", xml='<node id="9" uname="node9"/>', can_create=True)
        assert len(await c.found("//node[@uname='node9']")) == 1


@on_virtual_clock
async def test_a_value_counts_on() -> None:
    async with cluster() as c:
        await c.value("cib-modify", xml='<cib admin_epoch="admin_epoch++"/>')
        assert (await c.version())[0] == 1
        await c.value("cib-modify", xml='<cib admin_epoch="admin_epoch+=5"/>')
        assert (await c.version())[0] == 6


@on_virtual_clock
async def test_what_is_there_is_not_created_again() -> None:
    async with cluster() as c:
        await c.value("cib-create", section="resources", xml=DUMMY.format("d"))
        response = await c.ask("cib-create", section="resources", xml=DUMMY.format("d"))
        assert response.result == 4
        told: Any = response.value
        assert '<failed_update id="d" object_type="primitive" operation="cib_create"' in told["cib"]


@on_virtual_clock
async def test_elements_are_deleted_by_name_and_attributes() -> None:
    async with cluster() as c:
        await c.value("cib-create", section="resources", xml=DUMMY.format("d"))
        await c.value("cib-delete", xml='<primitive id="d" type="Stateful"/>')
        assert len(await c.found("//primitive")) == 1
        await c.value("cib-delete", xml='<primitive id="d"/>')
        assert await c.found("//primitive") == []
        await c.value("cib-delete", xml='<primitive id="d"/>')


@on_virtual_clock
async def test_an_xpath_deletes_the_first_or_all() -> None:
    async with cluster() as c:
        for name in "abc":
            await c.value("cib-create", section="resources", xml=DUMMY.format(name))
        await c.value("cib-delete", xpath="//primitive")
        assert [one.get("id") for one in await c.found("//primitive")] == ["b", "c"]
        await c.value("cib-delete", xpath="//primitive", multiple=True)
        assert await c.found("//primitive") == []
        await c.value("cib-delete", xpath="//primitive", multiple=True)


@on_virtual_clock
async def test_a_section_is_replaced() -> None:
    async with cluster() as c:
        await c.value("cib-create", section="resources", xml=DUMMY.format("a"))
        xml = f"<resources>{DUMMY.format('b')}</resources>"
        await c.value("cib-replace", section="resources", xml=xml)
        assert [one.get("id") for one in await c.found("//primitive")] == ["b"]
        assert await c.refused("cib-replace", section="resources", xml=DUMMY.format("z")) == errno.ENXIO


@on_virtual_clock
async def test_an_older_cib_does_not_replace_a_newer_one() -> None:
    async with cluster() as c:
        whole = (await c.value("cib-query"))["cib"]
        await c.value("cib-bump")
        assert await c.refused("cib-replace", xml=whole) == OLD_DATA
        whole = (await c.value("cib-query"))["cib"].replace(
            "<resources/>", f"<resources>{DUMMY.format('n')}</resources>"
        )
        await c.value("cib-replace", xml=whole)
        assert len(await c.found("//primitive[@id='n']")) == 1


@on_virtual_clock
async def test_an_erased_cib_gets_what_only_the_cluster_knows() -> None:
    async with cluster({"imagined": {"resources": [{"id": "dummy"}]}}) as c:
        admin, epoch, _ = await c.version()
        await c.value("cib-erase")
        assert (await c.version())[0] == admin + 1
        assert (await c.version())[1] > epoch
        assert await c.found("//primitive") == []
        assert len(await c.found("//node[@uname='node1']")) == 1
        assert len(await c.found("//node_state[@uname='node1']//nvpair[@name='#feature-set']")) == 1


@on_virtual_clock
async def test_a_bump_counts_the_epoch() -> None:
    async with cluster() as c:
        _, epoch, _ = await c.version()
        await c.value("cib-bump")
        assert (await c.version())[1:] == (epoch + 1, 0)


@on_virtual_clock
async def test_the_latest_schema_is_not_upgraded() -> None:
    async with cluster() as c:
        assert await c.refused("cib-upgrade") == SCHEMA_UNCHANGED
        await c.value("cib-modify", xml='<cib validate-with="pacemaker-3.0"/>')
        await c.value("cib-upgrade")
        (root,) = await c.found("/cib")
        assert root.get("validate-with") == "pacemaker-3.9"


@on_virtual_clock
async def test_a_difference_told_to_one_cib_is_applied_to_another() -> None:
    async with cluster() as one, cluster() as other:
        base = (await one.value("cib-query"))["cib"]
        await other.value("cib-replace", xml=base)
        for asker in (one, other):
            asker.events.clear()
        await one.value("cib-create", section="resources", xml=DUMMY.format("d"))
        changes = [event for event in one.events if event.name == "cib-diff"]
        data: Any = changes[0].data
        # Another cluster that stands where this one stood.
        difference = data["diff"]
        source = dict(zip(("admin_epoch", "epoch", "num_updates"), await other.version(), strict=True))
        versions = "".join(f' {name}="{value}"' for name, value in source.items())
        start = difference.index("<source")
        end = difference.index("/>", start)
        fitting = f"{difference[:start]}<source{versions}{difference[end:]}"
        await other.value("cib-apply-diff", xml=fitting)
        assert len(await other.found("//primitive[@id='d']")) == 1


@on_virtual_clock
async def test_a_difference_for_another_version_is_not_applied() -> None:
    async with cluster() as c:
        patch = '<diff format="2"><version><source {0}/><target {0}/></version></diff>'
        late = 'admin_epoch="99" epoch="1" num_updates="0"'
        early = 'admin_epoch="0" epoch="0" num_updates="0"'
        assert await c.refused("cib-apply-diff", xml=patch.format(late)) == DIFF_RESYNC
        assert await c.refused("cib-apply-diff", xml=patch.format(early)) == DIFF_FAILED
        assert await c.refused("cib-apply-diff", xml="<diff/>") == errno.EINVAL


@on_virtual_clock
async def test_a_dry_run_changes_nothing() -> None:
    async with cluster() as c:
        whole, events = await c.value("cib-query"), len(c.events)
        await c.value("cib-modify", section="crm_config", xml=option("batch-limit", "7"), dry_run=True)
        await c.value("cib-create", section="resources", xml=DUMMY.format("d"), dry_run=True)
        await c.value("cib-delete", xpath="//node_state", dry_run=True)
        await c.value("cib-bump", dry_run=True)
        await c.value("cib-erase", dry_run=True)
        assert (await c.value("cib-query"), len(c.events)) == (whole, events)


@pytest.mark.parametrize(
    ("command", "arguments"),
    [
        ("cib-create", {"section": "resources", "xml": '<nonsense id="x"/>'}),
        ("cib-create", {"section": "resources", "xml": '<primitive class="ocf" type="Dummy"/>'}),
        (
            "cib-create",
            {"section": "resources", "xml": '<primitive id="x"><meta_attributes id="x"/></primitive>'},
        ),
        ("cib-modify", {"xml": '<nvpair id="x"/>', "can_create": True}),
        ("cib-modify", {"xml": "<configuration><nodes/><nonsense/></configuration>"}),
        ("cib-delete", {"xpath": "//nodes"}),
        ("cib-replace", {"xml": '<cib admin_epoch="9" epoch="0" num_updates="0"/>'}),
    ],
)
@on_virtual_clock
async def test_what_is_no_cib_is_refused_and_shown(command: str, arguments: dict[str, Any]) -> None:
    async with cluster() as c:
        before = await c.value("cib-query")
        response = await c.ask(command, **arguments)
        assert isinstance(response.error, OSError)
        assert response.error.errno == SCHEMA_VALIDATION
        shown: Any = response.value
        assert shown["cib"].startswith("<cib")
        assert await c.value("cib-query") == before


@pytest.mark.parametrize(
    "xml",
    ["", "<", "text", "<a><b></a>", '<!DOCTYPE a [<!ENTITY e "x">]><a b="&e;"/>', "<a>" * 300 + "</a>" * 300],
)
@on_virtual_clock
async def test_what_is_no_xml_is_refused(xml: str) -> None:
    async with cluster() as c:
        assert await c.refused("cib-modify", xml=xml) == errno.EINVAL


@on_virtual_clock
async def test_queries() -> None:
    async with cluster({"imagined": {"nodes": [{"name": "node2"}]}}) as c:

        async def cib(**arguments: Any) -> str:
            return str((await c.value("cib-query", **arguments))["cib"])

        assert (
            await cib(section="nodes")
            == '<nodes><node id="1" uname="node1"/><node id="2" uname="node2"/></nodes>'
        )
        assert await cib(section="nodes", no_children=True) == "<nodes/>"
        assert (await cib(section="nosuch")).startswith("<cib ")
        assert await c.refused("cib-query", section="alerts") == errno.ENXIO
        assert await cib(xpath="//node[@id='2']") == '<node id="2" uname="node2"/>'
        assert await cib(xpath="//node/@id") == (
            '<xpath-query><node id="1" uname="node1"/><node id="2" uname="node2"/></xpath-query>'
        )
        address = "/cib/configuration/nodes/node[@id='2']"
        assert await cib(xpath="//node[@id='2']", addresses=True) == (
            f'<xpath-query><xpath-query-path id="{address}"/></xpath-query>'
        )
        upper, lower = "ABCDEFGHIJKLMNOPQRSTUVWXYZ", "abcdefghijklmnopqrstuvwxyz"
        folded = f"//node[translate(@uname,'{upper}','{lower}') ='node1']|//nosuch"
        assert await cib(xpath=folded) == '<node id="1" uname="node1"/>'
        response = await c.ask("cib-query", section="nodes", xpath="//node")
        assert response.result == 1


@pytest.mark.parametrize(
    "expression",
    ["", "//[", "count(//node)", "$x", "1 + 1", "nosuch(//node)", "a:b", "//node" + "[1]" * EXPRESSION_LIMIT],
)
@on_virtual_clock
async def test_what_finds_no_elements_is_an_error(expression: str) -> None:
    """Pacemaker says of all of these that there is no such thing; other wires say more."""
    async with cluster() as c:
        response = await c.ask("cib-query", xpath=expression)
        assert response.result == 1
        assert isinstance(response.error, OSError)
        assert response.error.errno == errno.ENXIO


@pytest.mark.parametrize(
    "expression",
    [
        "//*[.//*[.//*]]",
        "//node[//a or //b]",
        "|".join(["//a"] * (DESCENTS_LIMIT + 1)),
        "//*[a]//b[c[//d][//e]]",
    ],
)
@on_virtual_clock
async def test_an_xpath_that_could_take_for_ever_is_refused(expression: str) -> None:
    async with cluster() as c:
        assert await c.refused("cib-query", xpath=expression) == errno.ENXIO


@on_virtual_clock
async def test_a_step_into_everything_in_a_string_is_none() -> None:
    async with cluster() as c:
        found = await c.value("cib-query", xpath="//node[@uname='node1' or @uname='//////']")
        assert found["cib"] == '<node id="1" uname="node1"/>'
