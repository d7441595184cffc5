"""The server's side of Pacemaker's protocols: where answers go, who is told, who may, and what is refused."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from bridle.core.errors import RemoteProtocolError
from bridle.core.messages import Event, Response
from bridle.wire.pacemaker_header import Layout
from bridle.wire.pacemaker_server import SERVICES
from tests.support.cluster import cluster
from tests.support.loops import on_virtual_clock
from tests.support.pacemaker_server import IDENTITY, Conversation, Sent

CIB_REGISTER = '<cib_command t="cib" cib_op="register" cib_clientname="me" cib_callopt="4096"/>'
ST_REGISTER = '<stonith_command t="stonith-ng" st_op="register" st_clientname="me"/>'
NOTIFY = '<cib-callback cib_op="cib_notify" cib_notify_type="{}" cib_notify_activate="{}"/>'
CIB = '<cib_command t="cib" cib_op="{}" cib_callid="2" cib_callopt="{}">{}</cib_command>'
MODIFY = (
    '<cib_calldata><cluster_property_set id="cib-bootstrap-options">'
    '<nvpair id="x" name="batch-limit" value="{}"/></cluster_property_set></cib_calldata>'
)
ST = (
    '<stonith_command t="stonith-ng" st_op="{}" st_callid="2" st_callopt="{}">'
    "<st_calldata>{}</st_calldata></stonith_command>"
)
LRMD = (
    '<lrmd_command t="lrmd" lrmd_op="{}" lrmd_timeout="0" lrmd_callopt="0">'
    "<lrmd_calldata><lrmd_rsc {}/></lrmd_calldata></lrmd_command>"
)
LRMD_REGISTER = '<lrmd_command t="lrmd" lrmd_op="register" lrmd_clientname="me" lrmd_protocol_version="1.1"/>'


def request(task: str, to: str = "crmd", data: str = "", more: str = "") -> str:
    carried = f"<crm_xml>{data}</crm_xml>" if data else ""
    return (
        f'<create_request_adv origin="t" t="crmd" version="3.16.1" subt="request" reference="r-1" '
        f'crm_task="{task}" crm_sys_to="{to}" crm_sys_from="1_me" {more}>{carried}</create_request_adv>'
    )


def shown(sent: list[Sent]) -> list[tuple[str, str, int]]:
    """Channel, name and flags of what was sent."""
    return [("event" if one.event else "response", one.document.tag, one.message.flags) for one in sent]


@pytest.mark.parametrize(
    ("service", "text"),
    [
        ("pacemakerd", request("ping", "pacemakerd")),
        ("crmd", request("ping")),
        ("crmd", request("list-nodes")),
    ],
)
@on_virtual_clock
async def test_an_acknowledgement_comes_before_the_reply_where_one_is_asked_for(
    service: str, text: str
) -> None:
    async with cluster() as c:
        talk = Conversation(c.daemon, service)
        sent = await talk.ask(text)
        assert shown(sent) == [("response", "ack", 0x20200), ("event", "create_reply_adv", 0x30000)]
        assert (sent[0].document.get("status"), sent[0].message.id) == ("112", 1)
        assert sent[1].document.get("reference") == "r-1"
        assert shown(await talk.ask(text, flags=0)) == [("event", "create_reply_adv", 0x30000)]


@on_virtual_clock
async def test_the_controller_knows_its_client_by_its_own_name() -> None:
    async with cluster() as c:
        talk = Conversation(c.daemon, "crmd")
        (reply,) = await talk.ask(request("node-info"), flags=0)
        assert (reply.document.get("crm_sys_to"), reply.document.get("src")) == (IDENTITY, "node1")
        assert reply.document[0][0].attrib == {
            "crm_subsystem": "crmd",
            "have-quorum": "true",
            "id": "1",
            "uname": "node1",
            "crmd": "member",
            "remote_node": "false",
        }
        (reply,) = await talk.ask(request("node-info", more='id="99"'), flags=0)
        assert "uname" not in reply.document[0][0].attrib


@on_virtual_clock
async def test_the_answer_of_an_executor_has_a_reference_of_its_own() -> None:
    async with cluster({"imagined": {"resources": [{"id": "dummy"}]}}) as c:
        await asyncio.sleep(1)
        talk = Conversation(c.daemon, "crmd")
        primitive = '<primitive id="dummy" class="ocf" type="Dummy"/>'
        operation = f'<rsc_op transition-key="1:0:0:k" on_node="{{}}">{primitive}</rsc_op>'
        for task, key in (("lrm_fail", "asyncmon"), ("lrm_delete", "delete")):
            (reply,) = await talk.ask(request(task, data=operation.format("node1")), flags=0)
            root = reply.document
            assert (root.get("subt"), root.get("crm_task")) == ("request", "lrm_invoke")
            found = root.find(".//lrm_rsc_op")
            assert found is not None
            assert (found.get("operation"), found.get("rc-code"), found.get("op-status")) == (key, "0", "0")
        (reply,) = await talk.ask(request("lrm_delete", data=operation.format("nosuch")), flags=0)
        found = reply.document.find(".//lrm_rsc_op")
        assert found is not None
        assert (found.get("rc-code"), found.get("exit-reason")) == ("1", "there is no node 'nosuch'")
        (reply,) = await talk.ask(request("probe_again", data="<data_for_probe_again/>"), flags=0)
        assert (reply.document.get("crm_task"), len(reply.document)) == ("lrm_invoke", 0)


@on_virtual_clock
async def test_a_hello_that_says_too_little_ends_the_conversation() -> None:
    async with cluster() as c:
        talk = Conversation(c.daemon, "crmd")
        good = '<options major_version="1" minor_version="0" client_name="me" client_uuid="1"/>'
        assert await talk.ask(request("hello", data=good), flags=0) == []
        for bad in ("", '<options major_version="1"/>'):
            with pytest.raises(RemoteProtocolError):
                await talk.ask(request("hello", data=bad), flags=0)


@on_virtual_clock
async def test_a_client_that_asks_for_the_end_is_dropped_after_the_answer() -> None:
    async with cluster() as c:
        ended: list[int] = []
        c.daemon.manager.register_command("shutdown", lambda: ended.append(0))
        talk = Conversation(c.daemon, "pacemakerd", uid=65534, privileged=False)
        sent = await talk.ask(request("quit", "pacemakerd"))
        assert sent[1].document[0][0].get("op-status") == "4"
        assert (ended, talk.server.closing) == ([], False)
        talk = Conversation(c.daemon, "pacemakerd")
        sent = await talk.ask(request("quit", "pacemakerd"))
        assert sent[1].document[0][0].get("op-status") == "0"
        assert (ended, talk.server.closing) == ([0], True)


@pytest.mark.parametrize("service", SERVICES)
@pytest.mark.parametrize("layout", [Layout.V2, Layout.V3])
@on_virtual_clock
async def test_what_cannot_be_read_is_acknowledged_with_76(service: str, layout: Layout) -> None:
    async with cluster() as c:
        talk = Conversation(c.daemon, service, layout=layout)
        for text in ("<", "no xml", "<!DOCTYPE a><a/>", "<a>" * 300):
            (sent,) = await talk.ask(text)
            assert sent.document.get("status") == "76"
            assert sent.message.layout is layout
            assert await talk.ask(text, flags=0) == []


@on_virtual_clock
async def test_answers_of_the_cib_go_where_the_options_say() -> None:
    async with cluster() as c:
        talk = Conversation(c.daemon, "cib_rw")
        (sent,) = await talk.ask(CIB_REGISTER)
        assert (sent.document.get("cib_clientid"), sent.message.flags) == (IDENTITY, 0x20200)
        assert shown(await talk.ask(CIB.format("cib_query", 0x1100, ""))) == [
            ("response", "cib-reply", 0x20000)
        ]
        assert shown(await talk.ask(CIB.format("cib_query", 0x100, ""), flags=0)) == [
            ("event", "cib-reply", 0x30000)
        ]
        # The real daemon loses its footing here.
        assert await talk.ask(CIB.format("cib_query", 0x1100, ""), flags=0) == []
        # Nobody wants to hear it.
        assert await talk.ask(CIB.format("cib_bump", 0x10, ""), flags=0) == []


@on_virtual_clock
async def test_changes_are_told_to_those_who_ask_before_the_reply() -> None:
    async with cluster() as c:
        talk, other = Conversation(c.daemon, "cib_rw"), Conversation(c.daemon, "cib_ro")
        await talk.ask(CIB_REGISTER)
        (sent,) = await talk.ask(NOTIFY.format("cib_diff_notify", 1))
        assert sent.document.get("status") == "0"
        sent_all = await talk.ask(CIB.format("cib_modify", 0, MODIFY.format(7)), flags=0)
        assert shown(sent_all) == [("event", "notify", 0x10000), ("event", "cib-reply", 0x30000)]
        told = sent_all[0].document
        assert [child.tag for child in told] == ["cib_generation", "cib_update", "cib_update_result"]
        assert told.find("cib_update_result/diff/version/target") is not None
        assert other.sent == []
        await talk.ask(NOTIFY.format("cib_refresh_notify", 1))
        kinds = [one.document.get("subt") for one in await talk.ask(CIB.format("cib_erase", 0, ""), flags=0)]
        assert kinds[:2] == ["cib_refresh_notify", "cib_diff_notify"]
        for kind in ("cib_diff_notify", "cib_refresh_notify"):
            await talk.ask(NOTIFY.format(kind, 0))
        assert shown(await talk.ask(CIB.format("cib_bump", 0, ""), flags=0)) == [
            ("event", "cib-reply", 0x30000)
        ]


REFUSED = Response(403, "Forbidden")
ASK_EVENTS = (
    '<create_request_adv t="crmd" subt="request" reference="r1" crm_task="{}" crm_sys_to="crmd" '
    'crm_sys_from="me" crm_events="true"/>'
)


@on_virtual_clock
async def test_who_may_not_run_the_command_that_stands_for_events_is_told_of_none() -> None:
    async with cluster() as c:
        talks = {name: Conversation(c.daemon, name) for name in ("cib_rw", "stonith-ng", "lrmd")}
        wishes = {
            "cib_rw": NOTIFY.format("cib_diff_notify", 1),
            "stonith-ng": '<n st_op="st_notify" st_notify_activate="st_notify_fence"/>',
            "lrmd": LRMD_REGISTER,
        }
        for name, talk in talks.items():
            talk.admission = REFUSED
            (sent,) = await talk.ask(wishes[name])
            assert (sent.document.get("status"), sent.document.get("lrmd_rc")) in [("4", None), (None, "0")]
        told = [
            Event(1, "cib-diff", {"operation": "cib_modify"}),
            Event(2, "fencing", {"target": "node9"}),
            Event(3, "resource-executed", {"resource": "r"}),
        ]
        assert [talk.server.notify(event) for talk in talks.values() for event in told] == [[]] * 9
        for name, talk in talks.items():
            talk.admission = Response()
            await talk.ask(wishes[name])
        assert [bool(talk.server.notify(event)) for talk in talks.values() for event in told] == [
            one == event for one in range(3) for event in range(3)
        ]


@on_virtual_clock
async def test_events_of_every_kind_are_for_who_may_run_the_command_that_stands_for_them() -> None:
    async with cluster() as c:
        talk = Conversation(c.daemon, "bridle")
        talk.admission = REFUSED
        event = Event(1, "node", {"name": "node2"})
        await talk.ask(ASK_EVENTS.format("node-list"))
        assert talk.server.notify(event) == []
        talk.admission = Response()
        await talk.ask(ASK_EVENTS.format("node-list"))
        assert len(talk.server.notify(event)) == 1
        stranger = Conversation(c.daemon, "cib_rw", uid=65534, privileged=False)
        await stranger.ask(ASK_EVENTS.format("node-list"))
        assert stranger.server.notify(event) == []


@on_virtual_clock
async def test_nothing_is_changed_by_the_name_that_only_reads() -> None:
    async with cluster() as c:
        talk = Conversation(c.daemon, "cib_ro")
        for operation in ("cib_bump", "cib_erase", "cib_modify"):
            (sent,) = await talk.ask(CIB.format(operation, 0x1000, MODIFY.format(7)))
            assert sent.document.get("cib_rc") == "-13"
        (sent,) = await talk.ask(CIB.format("cib_query", 0x1000, ""))
        assert sent.document.get("cib_rc") == "0"


@pytest.mark.parametrize(
    ("operation", "data", "code"),
    [
        ("cib_nonsense", "", "-22"),
        ("cib_modify", "", "-22"),
        ("cib_modify", '<cib_calldata><nvpair id="nowhere"/></cib_calldata>', "-6"),
        ("cib_replace", '<cib_calldata><cib epoch="0"/></cib_calldata>', "-205"),
        ("cib_upgrade", "", "-211"),
        ("cib_apply_diff", "<cib_calldata><diff/></cib_calldata>", "-22"),
        ("cib_master", "", "0"),
        ("noop", "", "0"),
    ],
)
@on_virtual_clock
async def test_return_codes_of_the_cib(operation: str, data: str, code: str) -> None:
    async with cluster() as c:
        (sent,) = await Conversation(c.daemon, "cib_rw").ask(CIB.format(operation, 0x1000, data))
        assert sent.document.get("cib_rc") == code


@on_virtual_clock
async def test_attributes_are_answered_on_the_response_channel() -> None:
    async with cluster() as c:
        talk = Conversation(c.daemon, "attrd")
        operation = '<create_attrd_op t="attrd" src="me" task="{}" {}/>'
        (sent,) = await talk.ask(operation.format("update", 'attr_name="a" attr_value="1"'))
        assert (sent.document.get("status"), sent.document.get("ipc-protocol-version")) == ("112", "4")
        (sent,) = await talk.ask(operation.format("query", 'attr_name="a"'), flags=0)
        assert (sent.event, sent.document.get("attr_name")) == (False, "a")
        assert sent.document[0].attrib == {"attr_host": "node1", "attr_value": "1"}
        (sent,) = await talk.ask(operation.format("query", 'attr_name="b"'))
        assert sent.document.get("attr_name") is None
        (sent,) = await talk.ask(operation.format("update", 'attr_regex="(" attr_value="1"'))
        assert sent.document.get("status") == "2"
        (sent,) = await talk.ask(operation.format("nonsense", ""))
        assert sent.document.get("status") == "76"
        several = (
            '<create_attrd_op t="attrd" src="me" task="update">'
            '<op attr_name="x" task="update" attr_value="1"/>'
            '<op attr_name="y" task="update" attr_value="2"/></create_attrd_op>'
        )
        (sent,) = await talk.ask(several)
        assert sent.document.get("status") == "112"
        assert (await c.value("attribute-query", name="y"))["values"] == [{"node": "node1", "value": "2"}]


@on_virtual_clock
async def test_fencing_is_for_the_privileged_and_told_to_those_who_ask() -> None:
    async with cluster() as c:
        device = (
            '<st_device_id id="dev" agent="fence_dummy"><attributes pcmk_host_list="node9"/></st_device_id>'
        )
        other = Conversation(c.daemon, "stonith-ng", uid=65534, privileged=False)
        await other.ask(ST_REGISTER)
        (sent,) = await other.ask(ST.format("st_device_register", 0x1000, device))
        assert sent.document.get("st_rc") == "-13"
        talk = Conversation(c.daemon, "stonith-ng")
        (sent,) = await talk.ask(ST_REGISTER)
        assert sent.document.get("st_clientid") == IDENTITY
        (sent,) = await talk.ask(ST.format("st_device_register", 0x1002, device))
        assert (sent.document.get("st_rc"), sent.document.get("st_clientname")) == ("0", "me.4711")
        (sent,) = await talk.ask(
            '<stonith_set_notification st_op="st_notify" st_notify_activate="st_notify_fence"/>'
        )
        assert sent.document.get("status") == "0"
        fence = '<f st_target="node9" st_device_action="off" st_timeout="5" st_tolerance="0" st_delay="0"/>'
        told = await talk.ask(ST.format("st_fence", 2, fence), flags=0)
        assert [one.document.tag for one in told] == ["st-async-timeout-value", "notify", "st-reply"]
        assert (told[0].document.get("st_timeout"), told[2].document.get("st_delegate")) == ("6", "node1")
        (sent,) = await talk.ask(ST.format("st_fence_history", 0x1000, ""))
        (entry,) = sent.document[0][0]
        assert (entry.get("st_target"), entry.get("st_state")) == ("node9", "2")
        (sent,) = await talk.ask(ST.format("st_query", 0x1002, '<st_device_id st_target="node8"/>'))
        assert sent.document[0][0].get("st-available-devices") == "0"
        for operation in ("st_nonsense", "st_level_add"):
            (sent,) = await talk.ask(ST.format(operation, 0x1000, "<x/>"))
            assert sent.document.get("st_rc") != "0"


@on_virtual_clock
async def test_the_executor_tells_everybody_how_things_ended() -> None:
    async with cluster() as c:
        talk, other = Conversation(c.daemon, "lrmd"), Conversation(c.daemon, "lrmd")
        for one in (talk, other):
            (sent,) = await one.ask(LRMD_REGISTER)
            assert (sent.document.get("lrmd_rc"), sent.document.get("lrmd_clientid")) == ("0", IDENTITY)
        assert await talk.ask(LRMD_REGISTER, flags=0) == []
        known = 'lrmd_rsc_id="r" lrmd_class="ocf" lrmd_provider="p" lrmd_type="T"'
        await talk.ask(LRMD.format("lrmd_rsc_register", known))
        assert [one.document.get("lrmd_op") for one in other.sent[1:]] == ["lrmd_rsc_register"]
        (sent,) = await talk.ask(LRMD.format("lrmd_rsc_info", 'lrmd_rsc_id="r"'))
        assert sent.document.get("lrmd_type") == "T"
        (sent,) = await talk.ask(LRMD.format("lrmd_rsc_info", 'lrmd_rsc_id="s"'))
        assert sent.document.get("lrmd_rc") == "-19"
        execute = 'lrmd_rsc_id="r" lrmd_rsc_action="start" lrmd_rsc_userdata_str="mine" lrmd_timeout="500"'
        (sent,) = await talk.ask(LRMD.format("lrmd_rsc_exec", execute))
        call = sent.document.get("lrmd_rc")
        await asyncio.sleep(1)
        ended = other.sent[-1].document
        assert (ended.get("lrmd_callid"), ended.get("lrmd_exec_rc")) == (call, "0")
        assert ended.get("lrmd_rsc_userdata_str") == "mine"
        (sent,) = await talk.ask(LRMD.format("lrmd_nonsense", ""))
        assert sent.document.get("lrmd_rc") == "-95"
        stranger = Conversation(c.daemon, "lrmd", uid=65534, privileged=False)
        (sent,) = await stranger.ask(LRMD.format("lrmd_rsc_unregister", 'lrmd_rsc_id="r"'))
        assert sent.document.get("lrmd_rc") == "-13"


@on_virtual_clock
async def test_the_scheduler_computes_a_graph() -> None:
    async with cluster({"imagined": {"resources": [{"id": "dummy"}]}}) as c:
        await asyncio.sleep(1)
        whole = (await c.value("cib-query"))["cib"]
        talk = Conversation(c.daemon, "pengine")
        (sent,) = await talk.ask(request("pe_calc", "pengine", whole), flags=0)
        assert sent.document.get("graph-errors") == "0"
        graph = sent.document[0][0]
        assert (graph.tag, len(graph)) == ("transition_graph", 0)
        (sent,) = await talk.ask(request("pe_calc", "pengine", "<nonsense/>"), flags=0)
        assert (sent.document.get("graph-errors"), len(sent.document)) == ("1", 0)
        (sent,) = await talk.ask(request("pe_calc", "pengine"))
        assert sent.document.get("status") == "2"


@pytest.mark.parametrize("service", SERVICES)
@on_virtual_clock
async def test_root_may_give_every_command_by_every_name(service: str) -> None:
    """What Pacemaker's own protocols have no words for goes by the generic one."""
    async with cluster() as c:
        text = request("node-join", service, '<arguments>{"node": "node2"}</arguments>')
        *_, reply = await Conversation(c.daemon, service).ask(text)
        assert (reply.document[0][0].tag, reply.document[0][0].get("result")) == ("response", "0")
        *_, reply = await Conversation(c.daemon, service, uid=65534, privileged=False).ask(text)
        assert (reply.document[0][0].get("result"), reply.document[0][0].get("code")) == ("1", "13")


@on_virtual_clock
async def test_ids_of_events_are_the_request_s_in_the_newer_layout_and_counted_in_the_older() -> None:
    async with cluster() as c:
        for layout, expected in ((Layout.V2, [1, 2]), (Layout.V3, [2, 3])):
            talk = Conversation(c.daemon, "crmd", layout=layout)
            await talk.ask(request("nosuch-task"))
            talk.sent.clear()
            ids = [(await talk.ask(request("ping"), flags=0))[0].message.id for _ in range(2)]
            assert ids == (
                expected if layout is Layout.V3 else [talk.sent[0].message.id, talk.sent[1].message.id]
            )
            assert ids[1] == ids[0] + 1


@on_virtual_clock
async def test_a_cib_of_700_kilobytes_goes_through_in_both_layouts() -> None:
    primitives = "".join(
        f'<primitive id="r{number}" class="ocf" provider="p" type="T"><meta_attributes id="m{number}">'
        f'<nvpair id="n{number}" name="target-role" value="Stopped"/></meta_attributes></primitive>'
        for number in range(5000)
    )
    data = f"<cib_calldata><resources>{primitives}</resources></cib_calldata>"
    assert len(data) > 700_000
    replace = CIB.format("cib_replace", 0x1000, data).replace(
        "<cib_command", '<cib_command cib_section="resources"'
    )
    for layout in (Layout.V2, Layout.V3):
        async with cluster({"imagined": {"properties": {"maintenance-mode": "true"}}}) as c:
            c.daemon.world.controller.poke = lambda: None  # type: ignore[method-assign]
            talk = Conversation(c.daemon, "cib_rw", layout=layout)
            (sent,) = await talk.ask(replace)
            assert sent.document.get("cib_rc") == "0"
            (sent,) = await talk.ask(CIB.format("cib_query", 0x1000, ""))
            found: Any = sent.document.find(".//resources")
            assert len(found) == 5000
            assert sent.message.layout is layout
