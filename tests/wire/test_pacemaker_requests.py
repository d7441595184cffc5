"""Requests to Pacemaker's daemons, as its own programs write them, and what answers become."""

from __future__ import annotations

import errno
import gzip
import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from bridle.core.errors import (
    ArgumentError,
    BridleError,
    CommandError,
    RemoteProtocolError,
    UnknownCommandError,
)
from bridle.core.messages import Command, Response
from bridle.core.results import Result, from_errno
from bridle.wire.pacemaker_attrd import (
    AttributeClearFailures,
    AttributeDelete,
    AttributeNodePurge,
    AttributeQuery,
    AttributeRefresh,
    AttributeUpdate,
    AttributeValue,
    AttributeValues,
)
from bridle.wire.pacemaker_based import Cib, CibBump, CibDelete, CibModify, CibQuery
from bridle.wire.pacemaker_catalogue import (
    ALL,
    GenericRequest,
    Notification,
    daemon_of_service,
    definitions,
    read_notification,
    request_of,
    response_of,
    route,
    serves,
)
from bridle.wire.pacemaker_controld import (
    ControllerPing,
    NodeInfo,
    NodeList,
    Reprobe,
    ResourceFail,
    ResourceRefresh,
)
from bridle.wire.pacemaker_errors import describe, name_of
from bridle.wire.pacemaker_execd import Executed, Resource, ResourceAdd, ResourceExecute, ResourceInfo
from bridle.wire.pacemaker_fenced import FencingDevices, FencingHistory, FencingLevelRemove
from bridle.wire.pacemaker_messages import (
    DAEMONS,
    acknowledgement,
    create_hello,
    create_reply,
    create_request,
    data_of,
    integer,
    status_of,
)
from bridle.wire.pacemaker_pacemakerd import Alive, LauncherPing, Shutdown
from bridle.wire.pacemaker_requests import Answer, Caller, NodePurge, Request
from bridle.wire.pacemaker_schedulerd import Graph
from bridle.wire.pacemaker_xml import Xml, element, read_xml, write_xml

VECTORS = Path(__file__).parent.parent / "vectors" / "pacemaker.jsonl.gz"
CALLER = Caller("test", 77, 2, lambda task: f"{task}-test-1-1", "client-id", "crmd")


def written(request: Request[Any], caller: Caller = CALLER) -> str:
    return write_xml(request.document(caller)).decode()


def captured(daemon: str, direction: str, *parts: str) -> Xml:
    """The first captured message that holds these texts."""
    with gzip.open(VECTORS, "rt") as lines:
        for line in lines:
            row = json.loads(line)
            if (row["daemon"], row["dir"]) == (daemon, direction) and all(
                part in row["xml"] for part in parts
            ):
                return read_xml(row["xml"])
    raise AssertionError(f"nothing captured: {parts}")


# As Pacemaker's own programs write them.


def same(request: Request[Any], found: Xml, **differing: str | None) -> None:
    """A request is a captured one, but for names that its writer gives."""
    ours = request.document(CALLER)
    names = {
        "origin",
        "reference",
        "crm_sys_from",
        "src",
        "__name__",
        "cib_async_id",
        "st_async_id",
        *differing,
    }
    names |= {"lrmd_async_id", "st_origin", "lrmd_origin", "transition-key", "cib_callopt", "st_callopt"}
    names |= {"lrmd_callopt", "lrmd_rsc_userdata_str"}

    def plain(part: Xml) -> Any:
        kept = {name: value for name, value in part.attrib.items() if name not in names}
        return part.tag, kept, [plain(child) for child in part]

    assert plain(ours) == plain(found)


def test_requests_to_the_launcher() -> None:
    same(LauncherPing(), captured("pacemakerd", "c2s", 'crm_task="ping"'))
    same(Shutdown(), captured("pacemakerd", "c2s", 'crm_task="quit"'))
    caller = msgspec.structs.replace(CALLER, service="pacemakerd")
    purge = NodePurge("node9").document(caller)
    found = captured("pacemakerd", "c2s", 'crm_task="rm_node_cache"')
    assert purge.get("uname") == found.get("uname") == "node9"
    assert purge.get("crm_sys_to") == found.get("crm_sys_to")
    assert purge.get("crm_sys_from") == "test"


def test_requests_to_the_controller() -> None:
    same(ControllerPing(node="node1"), captured("crmd", "c2s", 'crm_task="ping"', "node1"))
    assert ControllerPing("dc").document(CALLER).get("crm_sys_to") == "dc"
    same(NodeInfo(), captured("crmd", "c2s", 'crm_task="node-info"'))
    same(NodeList(), captured("crmd", "c2s", 'crm_task="list-nodes"'))
    same(Reprobe(), captured("crmd", "c2s", 'crm_task="probe_again"'))
    agent = ("dummy", "node1", "ocf", "pacemaker", "Dummy")
    same(ResourceFail(*agent), captured("crmd", "c2s", 'crm_task="lrm_fail"'))
    same(ResourceRefresh(*agent), captured("crmd", "c2s", 'crm_task="lrm_delete"'))
    assert NodeInfo(7, "x").document(CALLER).get("id") == "7"
    assert 'mode="cib"' in written(ResourceRefresh(*agent, cib_only=True))
    remote = ResourceFail("r", "remote1", router_node="node1").document(CALLER)
    assert remote.get("crm_host_to") == "node1"
    hello = create_hello("577", "crmadmin", "1", "0", reference="hello-crmadmin-1795170654-0")
    assert hello is not None
    assert write_xml(hello) == write_xml(captured("crmd", "c2s", 'crm_task="hello"'))


def test_requests_to_the_attribute_manager() -> None:
    same(AttributeUpdate("foo", "bar"), captured("attrd", "c2s", 'task="update"', 'attr_value="bar"'))
    same(AttributeQuery("foo"), captured("attrd", "c2s", 'task="query"'))
    same(AttributeRefresh(), captured("attrd", "c2s", 'task="refresh"'))
    clear = AttributeClearFailures("dummy", node="node1")
    same(clear, captured("attrd", "c2s", 'task="clear-failure"'))
    assert AttributeDelete("foo").document(CALLER).get("attr_value") is None
    assert AttributeNodePurge("node9", 9).document(CALLER).get("attr_host_id") == "9"


def test_requests_to_the_cib_manager() -> None:
    same(CibQuery(), captured("cib_rw", "c2s", 'cib_op="cib_query"'))
    same(CibBump(), captured("cib_rw", "c2s", 'cib_op="cib_bump"'), cib_callid=None)
    delete = captured("cib_rw", "c2s", 'cib_op="cib_delete"', "x-bl")
    same(CibDelete('<nvpair id="x-bl"/>'), delete)
    assert CibQuery(xpath="//x").document(CALLER).get("cib_callopt") == "2"
    options = CibModify("<a/>", can_create=True, local=True, dry_run=True).document(CALLER).get("cib_callopt")
    assert options == str(0x8 | 0x100 | 0x200)


def test_requests_to_the_fencer_and_the_executor() -> None:
    same(FencingDevices(), captured("stonith-ng", "c2s", 'st_op="st_query"'))
    same(FencingHistory("node1"), captured("stonith-ng", "c2s", 'st_op="st_fence_history"', "node1"))
    same(FencingLevelRemove(1, "node9"), captured("stonith-ng", "c2s", 'st_op="st_level_remove"'))
    same(ResourceInfo("dummy"), captured("lrmd", "c2s", 'lrmd_op="lrmd_rsc_info"'))
    added = ResourceAdd("dummy", "ocf", "Dummy", "pacemaker")
    same(added, captured("lrmd", "c2s", 'lrmd_op="lrmd_rsc_register"'))


@pytest.mark.parametrize("daemon", DAEMONS)
def test_no_request_without_a_response_asks_for_one_in_its_options(daemon: str) -> None:
    for definition in definitions(daemon).values():
        kind = definition.handler
        assert isinstance(kind, type)
        assert issubclass(kind, Request)
        if daemon in ("based", "fenced") and kind.answer is Answer.EVENT:
            options = example(kind).document(CALLER).attrib
            number = int(options.get("cib_callopt", options.get("st_callopt", "0")))
            assert not number & 0x1000


def example(kind: type[Request[Any]]) -> Request[Any]:
    values: dict[str, Any] = {
        "xml": "<a/>",
        "target": "n",
        "id": "d",
        "agent": "a",
        "index": 1,
        "devices": ["d"],
    }
    fields = {
        field.name: values[field.name] for field in msgspec.structs.fields(kind) if field.name in values
    }
    return kind(**fields)


# What answers become.


def test_answers_of_the_launcher_and_the_controller() -> None:
    found = captured("pacemakerd", "s2c-event", "ping_response")
    assert LauncherPing().result(found) == Alive("pacemakerd", "running", "ok", 1795170663)
    assert ControllerPing().result(captured("crmd", "s2c-event", "ping_response")).state == "S_IDLE"
    nodes = NodeList().result(captured("crmd", "s2c-event", "list-nodes"))
    assert [(one.id, one.name, one.state) for one in nodes.nodes] == [(1, "node1", "member")]
    node = NodeInfo().result(captured("crmd", "s2c-event", "node-info"))
    assert (node.id, node.name, node.have_quorum, node.remote) == (1, "node1", True, False)
    with pytest.raises(CommandError) as caught:
        NodeInfo().result(
            read_xml('<m><crm_xml><node crm_subsystem="crmd" have-quorum="true"/></crm_xml></m>')
        )
    assert (caught.value.code, caught.value.result) == (errno.ENXIO, Result.EMPTY)
    failed = captured("crmd", "s2c-event", 'crm_task="lrm_invoke"', "asyncmon")
    assert ResourceFail("dummy", "node1").result(failed).operation == "asyncmon"
    asked = ResourceFail("dummy", "node1").document(CALLER)
    assert ResourceFail("dummy", "node1").is_answer(asked, failed)
    assert not ResourceFail("other", "node1").is_answer(asked, failed)
    for status, ended in (("0", False), ("4", True)):
        reply = read_xml(f'<m><crm_xml><shutdown op-status="{status}"/></crm_xml></m>')
        if ended:
            with pytest.raises(CommandError):
                Shutdown().result(reply)
        else:
            Shutdown().result(reply)


def test_answers_of_the_others() -> None:
    values = AttributeQuery("foo").result(captured("attrd", "s2c-response", 'subt="query"'))
    assert values == AttributeValues("foo", (AttributeValue("node1", "bar3"),))
    transition = Graph("<cib/>").result(captured("pengine", "s2c-event", "transition_graph", "graph-errors"))
    assert transition.input == "/var/lib/pacemaker/pengine/pe-input-6.bz2"
    assert transition.graph.startswith("<transition_graph ")
    newer = Graph("<cib/>").result(captured("pengine", "s2c-event", "<message"))
    assert newer.graph_errors == 0
    assert CibBump().result(captured("cib_rw", "s2c-event", 'cib_op="cib_bump"', "cib-reply")) == Cib()
    devices = FencingDevices().result(captured("stonith-ng", "s2c-response", 'agent="fence_legacy"')).devices
    assert (devices[0].id, devices[0].namespace) == ("tst", "heartbeat")
    assert devices[0].parameters == {"plugin": "null", "hostlist": "node9"}
    with pytest.raises(CommandError) as caught:
        FencingDevices().result(captured("stonith-ng", "s2c-response", 'st_rc="-19"'))
    assert (caught.value.code, str(caught.value)) == (19, "No such device")
    info = ResourceInfo("dummy").result(captured("lrmd", "s2c-response", "lrmd_class"))
    assert info == Resource("dummy", "ocf", "pacemaker", "Dummy")
    ended = captured("lrmd", "s2c-event", 'lrmd_op="lrmd_rsc_exec"')
    begun = captured("lrmd", "s2c-response", 'lrmd_rc="6"')
    execute = ResourceExecute("dummy", "start")
    assert execute.is_finish(begun, ended)
    assert execute.result(ended) == Executed("dummy", "start", 0, 0, 6)


@pytest.mark.parametrize(
    "text",
    [
        "<a/>",
        "<ack/>",
        '<ack status="x"/>',
        '<ack status="999999999999999999999999"/>',
        '<cib-reply cib_rc="x"/>',
        '<cib-reply cib_rc="-6"/>',
        '<st-reply op-status="x"/>',
        '<st-reply op-status="2" exit-reason="too slow"/>',
        '<lrmd_reply lrmd_rc="-19"/>',
        "<lrmd_reply/>",
        "<a><crm_xml/></a>",
        "<a><crm_xml><b/></crm_xml></a>",
        '<nack status="76"/>',
    ],
)
@pytest.mark.parametrize("daemon", DAEMONS)
def test_answers_that_make_no_sense_or_refuse(daemon: str, text: str) -> None:
    for definition in definitions(daemon).values():
        kind = definition.handler
        assert isinstance(kind, type)
        try:
            filled(kind).result(read_xml(text))
        except BridleError:
            continue


def filled(kind: type) -> Request[Any]:
    values = {
        field.name: 1 if field.type is int else ["d"] if field.name == "devices" else "x"
        for field in msgspec.structs.fields(kind)
        if field.required
    }
    made = kind(**values)
    assert isinstance(made, Request)
    return made


# Commands.


def test_services_and_daemons() -> None:
    assert {daemon_of_service(name): name for name, _ in DAEMONS.values()} == {
        daemon: name for daemon, (name, _) in DAEMONS.items()
    }
    assert daemon_of_service("cib_ro") == daemon_of_service("cib_shm") == "based"
    assert daemon_of_service("thermostat") is None
    names = {name for daemon in DAEMONS for name in definitions(daemon)}
    assert set(definitions(ALL)) == names
    assert {definition.access for definition in definitions(ALL).values()} == {"read", "write"}
    for definition in definitions(ALL).values():
        assert definition.summary, definition.name
        assert definition.describe()["arguments"]


def test_commands_become_requests() -> None:
    assert request_of("controld", Command("node-info", {"node-id": 1})) == NodeInfo(node_id=1)
    assert request_of("controld", Command("node-info", [1])) == NodeInfo(node_id=1)
    assert request_of("attrd", Command("attribute-query", "foo")) == AttributeQuery("foo")
    assert request_of("execd", Command("resource-add", ["r", "ocf", "Dummy"])) == ResourceAdd(
        "r", "ocf", "Dummy"
    )
    with pytest.raises(ArgumentError, match="unknown argument 'colour'"):
        request_of("controld", Command("node-info", {"colour": 1}))
    with pytest.raises(ArgumentError, match="missing argument 'name'"):
        request_of("attrd", Command("attribute-query"))
    with pytest.raises(UnknownCommandError):
        request_of("attrd", Command("node-list"))
    assert serves("controld", NodeList())
    assert not serves("attrd", NodeList())


@pytest.mark.parametrize(
    ("command", "daemon"),
    [
        (Command("ping"), "pacemakerd"),
        (Command("ping", {"subsystem": "dc"}), "controld"),
        (Command("ping", {"subsystem": "crmd"}), "controld"),
        (Command("ping", {"node": "node1"}), "controld"),
        (Command("node-purge", {"node": "x"}), "controld"),
        (Command("node-purge", {"node": "x", "subsystem": "attrd"}), "attrd"),
        (Command("node-purge", {"node": "x", "subsystem": "stonith-ng"}), "fenced"),
        (Command("cib-query"), "based"),
        (Command("graph"), "schedulerd"),
    ],
)
def test_the_daemon_that_a_command_for_all_goes_to(command: Command, daemon: str) -> None:
    assert route(command) == daemon


def test_a_command_that_no_daemon_has() -> None:
    with pytest.raises(UnknownCommandError):
        route(Command("no-such"))


@pytest.mark.parametrize(
    ("daemon", "command"),
    [
        ("controld", Command("node-purge")),
        ("controld", Command("node-purge", {"node-id": -1})),
        ("controld", Command("resource-fail", {"resource": "", "node": ""})),
        ("attrd", Command("attribute-update", {"name": "a"})),
        ("attrd", Command("attribute-update", {"name": "a", "value": 1, "mode": "both"})),
        ("attrd", Command("attribute-update", {"value": 1})),
        ("based", Command("cib-query", {"section": "a", "xpath": "b"})),
        ("based", Command("cib-delete")),
        ("based", Command("cib-modify", {"xml": "<a"})),
        ("based", Command("cib-modify", {"xml": "<!DOCTYPE a><a/>"})),
        ("fenced", Command("fencing-level-add", {"index": 1, "devices": ["a"]})),
        ("schedulerd", Command("graph", "x")),
    ],
)
def test_arguments_that_make_no_sense(daemon: str, command: Command) -> None:
    with pytest.raises(ArgumentError):
        request_of(daemon, command).document(CALLER)


def test_results_become_responses() -> None:
    response = response_of(Resource("r", "ocf", "p", "t"))
    assert response.value == {"resource": "r", "class": "ocf", "provider": "p", "type": "t"}
    assert response_of(Alive("crmd", "S_IDLE", "ok")).value == {
        "subsystem": "crmd",
        "state": "S_IDLE",
        "result": "ok",
    }
    assert response_of(Response(3)) == Response(3)


# Daemons of Bridle's own.


def test_a_command_for_another_daemon() -> None:
    request = GenericRequest("set-target", {"celsius": 21})
    assert written(request) == (
        '<create_request_adv origin="bridle" t="crmd" version="3.16.1" subt="request" '
        'reference="set-target-test-1-1" crm_task="set-target" crm_sys_to="crmd" crm_sys_from="77_test">'
        '<crm_xml><arguments>{"celsius":21}</arguments></crm_xml></create_request_adv>'
    )
    assert "crm_xml" not in written(GenericRequest("set-target"))
    asked = request.document(CALLER)
    carried = element("response", {"result": 3, "text": "none"})
    carried.text = '{"a": [1]}'
    reply = create_reply(asked, carried)
    assert request.is_answer(asked, reply)
    found = request.result(reply)
    assert (found.result, found.text, found.value) == (3, "none", {"a": [1]})
    assert request.result(create_reply(asked, element("response", {"result": 0}))) == Response(0)
    for wrong in (create_reply(asked), create_reply(asked, element("x"))):
        with pytest.raises(RemoteProtocolError):
            request.result(wrong)


# Events.


@pytest.mark.parametrize(
    ("parts", "name"),
    [
        (("cib_rw", "cib_diff_notify"), "cib-diff"),
        (("stonith-ng", "st_notify_fence"), "fencing"),
        (("stonith-ng", 'subt="st_level_add"'), "fencing-changed"),
        (("lrmd", 'lrmd_op="lrmd_rsc_exec"'), "resource-executed"),
        (("lrmd", 'lrmd_op="lrmd_rsc_unregister"'), "resource-changed"),
    ],
)
def test_what_daemons_tell(parts: tuple[str, str], name: str) -> None:
    found = read_notification(
        captured(parts[0], "s2c-event", "<notify" if parts[0] != "lrmd" else "<lrmd_notify", parts[1])
    )
    assert found is not None
    assert found.name == name
    assert msgspec.json.encode(found.data)


def test_an_event_of_another_daemon() -> None:
    text = '<m subt="event" crm_task="warm"><crm_xml><event sequence="1">{"c": 21}</event></crm_xml></m>'
    assert read_notification(read_xml(text)) == Notification("warm", {"c": 21})
    with pytest.raises(RemoteProtocolError):
        read_notification(read_xml(text.replace("}", "")))
    assert read_notification(read_xml("<ack/>")) is None


# Envelopes.


def test_envelopes() -> None:
    request = create_request("t", element("d"), reference="r", sys_from="a", sys_to="b", host_to="n")
    reply = create_reply(request, element("e"), src="node1")
    assert (reply.get("crm_sys_to"), reply.get("crm_sys_from"), reply.get("subt")) == ("a", "b", "response")
    carried = data_of(reply)
    assert carried is not None
    assert carried.tag == "e"
    assert data_of(create_reply(request)) is None
    assert create_reply(element("message", {"reference": "r"})).tag == "message"
    assert write_xml(acknowledgement(112, function="f", line=5, protocol="4")) == (
        b'<ack function="f" line="5" status="112" ipc-protocol-version="4"/>'
    )
    assert status_of(acknowledgement(76, tag="nack")) == 76
    assert status_of(reply) is None
    for arguments in (("", "n", "1", "0"), ("u", "", "1", "0"), ("u", "n", "", "0"), ("u", "n", "1", "")):
        assert create_hello(*arguments, reference="r") is None
    assert integer(element("a", {"b": 5}), "b") == 5
    assert integer(element("a"), "b", 7) == 7
    with pytest.raises(RemoteProtocolError):
        integer(element("a"), "b")


@pytest.mark.parametrize(
    ("code", "name", "result"),
    [
        (6, "ENXIO", Result.EMPTY),
        (-19, "ENODEV", Result.EMPTY),
        (17, "EEXIST", Result.CONFLICT),
        (95, "EOPNOTSUPP", Result.UNSUPPORTED),
        (93, "EPROTONOSUPPORT", Result.UNSUPPORTED),
        (76, "ENOTUNIQ", Result.CONFLICT),
        (205, "pcmk_err_old_data", Result.ERROR),
        (9999, "9999", Result.ERROR),
    ],
)
def test_return_codes_have_names_and_results(code: int, name: str, result: Result) -> None:
    assert name_of(code) == name
    assert name in describe(code)
    assert from_errno(abs(code)) == result
