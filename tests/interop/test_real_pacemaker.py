"""Real Pacemaker, a cluster of one node, driven on both of libqb's transports: every request to each of the
seven daemons, what they tell, and their ends."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import signal
import time
from collections.abc import Callable, Iterator
from typing import Literal, TypeVar

import pytest

import bridle
from bridle.pacemaker import (
    AsyncPacemakerIPC,
    AttributeClearFailures,
    AttributeDelete,
    AttributeQuery,
    AttributeRefresh,
    AttributeUpdate,
    CibApplyDiff,
    CibBump,
    CibCreate,
    CibDelete,
    CibErase,
    CibModify,
    CibQuery,
    CibReplace,
    CibUpgrade,
    ControllerPing,
    Done,
    Fence,
    FencingConfirm,
    FencingDeviceAdd,
    FencingDeviceRemove,
    FencingDevices,
    FencingHistory,
    FencingHistoryCleanup,
    FencingLevelAdd,
    FencingLevelRemove,
    Graph,
    IPCError,
    IPCEvent,
    IPCEventType,
    LauncherPing,
    Node,
    NodeInfo,
    NodeList,
    NodePurge,
    Notification,
    PacemakerIPC,
    Reprobe,
    Request,
    ResourceAdd,
    ResourceCancel,
    ResourceExecute,
    ResourceFail,
    ResourceInfo,
    ResourceRefresh,
    ResourceRemove,
    Shutdown,
    legacy,
)
from bridle.wire.pacemaker_xml import element, read_xml
from tests.support.pacemaker import CLUSTER, Sandbox, sandbox
from tests.support.programs import poll

pytestmark = [
    pytest.mark.peers(*CLUSTER),
    pytest.mark.namespaces,
    pytest.mark.timeout(90),
]

R = TypeVar("R")
TRANSPORTS: tuple[Literal["shm", "socket"], ...] = ("shm", "socket")
DUMMY = '<primitive id="dummy" class="ocf" provider="pacemaker" type="Dummy"/>'
DAEMONS = ("attrd", "based", "controld", "execd", "fenced", "pacemakerd", "schedulerd")


@pytest.fixture(scope="module", params=TRANSPORTS)
def running_cluster(request: pytest.FixtureRequest) -> Iterator[Sandbox]:
    with sandbox("cluster", request.param) as running:
        yield running


@pytest.fixture
def cluster(running_cluster: Sandbox) -> Sandbox:
    """The cluster, at rest."""
    until_led(running_cluster)
    return running_cluster


@contextlib.contextmanager
def connected(server: str, dispatch: str = "sync") -> Iterator[PacemakerIPC]:
    with PacemakerIPC(server) as daemon:
        daemon.connect(dispatch)
        yield daemon


def ask(cluster: Sandbox, server: str, request: Request[R], seconds: float = 10.0) -> R:
    """One request on a connection of its own, from inside."""

    def run() -> R:
        with connected(server) as daemon:
            return daemon.request(request, timeout=seconds)

    return cluster.inside(run)


def refused(cluster: Sandbox, server: str, request: Request[R]) -> bridle.CommandError:
    with pytest.raises(bridle.CommandError) as caught:
        ask(cluster, server, request)
    return caught.value


@contextlib.contextmanager
def option(cluster: Sandbox, name: str, value: str) -> Iterator[None]:
    """An option of the cluster, set for a time."""
    pair = f'<nvpair id="o-{name}" name="{name}" value="{value}"/>'
    whole = f'<cluster_property_set id="cib-bootstrap-options">{pair}</cluster_property_set>'
    ask(cluster, "based", CibModify(whole, section="crm_config"))
    try:
        yield
    finally:
        ask(cluster, "based", CibDelete(xpath=f"//nvpair[@id='o-{name}']"))


@contextlib.contextmanager
def resource(cluster: Sandbox, name: str) -> Iterator[str]:
    """A resource that the cluster runs."""
    xml = DUMMY.replace('"dummy"', f'"{name}"')
    ask(cluster, "based", CibCreate(xml, section="resources"))
    try:
        assert poll(lambda: _is_active(cluster, name), 20)
        yield name
    finally:
        ask(cluster, "based", CibDelete(xpath=f"//primitive[@id='{name}']"))


def _is_active(cluster: Sandbox, name: str) -> bool:
    try:
        status = ask(
            cluster, "based", CibQuery(xpath=f"//lrm_resource[@id='{name}']/lrm_rsc_op[@operation='start']")
        )
    except bridle.CommandError:
        return False
    return 'rc-code="0"' in status.cib


def _leads(cluster: Sandbox) -> bool:
    try:
        return ask(cluster, "controld", ControllerPing("dc"), 2).state == "S_IDLE"
    except (IPCError, bridle.CommandError):
        return False


def until_led(cluster: Sandbox) -> None:
    """Wait until the node leads its cluster and is at rest."""
    assert poll(lambda: _leads(cluster), 30)


@contextlib.contextmanager
def another_controller(cluster: Sandbox) -> Iterator[None]:
    """What is done here makes the controller end; afterwards another leads the cluster."""
    before = running_pid(cluster, "controld")
    yield
    assert poll(lambda: cluster.pid_of("pacemaker-controld") not in {None, before}, 30)
    until_led(cluster)


# The requests of each daemon.


def test_the_transport_is_the_one_that_the_daemons_were_started_with(cluster: Sandbox) -> None:
    def run() -> set[str]:
        found = set()
        for server in DAEMONS:
            with connected(server) as daemon:
                assert daemon._session is not None
                found.add(daemon._session.link._client.transport.name.lower())
                assert daemon._session.link.layout.name == "V2"
        return found

    assert cluster.inside(run) == {cluster.transport}


def test_the_launcher(cluster: Sandbox) -> None:
    alive = ask(cluster, "pacemakerd", LauncherPing())
    assert (alive.subsystem, alive.state, alive.result) == ("pacemakerd", "running", "ok")
    assert alive.timestamp is not None
    assert abs(alive.timestamp - time.time()) < 120
    assert ask(cluster, "pacemakerd", NodePurge("node9")) == Done()


def test_the_controller(cluster: Sandbox) -> None:
    for ping, subsystem in (
        (ControllerPing(), "crmd"),
        (ControllerPing(node="node1"), "crmd"),
        (ControllerPing("dc"), "dc"),
    ):
        alive = ask(cluster, "controld", ping)
        assert (alive.subsystem, alive.result) == (subsystem, "ok")
        assert alive.state.startswith("S_")
    assert ask(cluster, "controld", NodeList()).nodes == (Node(1, "node1", "member"),)
    for info in (NodeInfo(), NodeInfo(node_id=1), NodeInfo(node="node1")):
        state = ask(cluster, "controld", info)
        assert (state.id, state.name, state.state) == (1, "node1", "member")
        assert (state.have_quorum, state.remote) == (True, False)
    for unknown in (NodeInfo(node="nobody"), NodeInfo(node_id=77)):
        error = refused(cluster, "controld", unknown)
        assert (error.result, error.code) == (bridle.Result.EMPTY, errno.ENXIO)
    assert ask(cluster, "controld", Reprobe()).node == "node1"
    assert ask(cluster, "controld", Reprobe("node1")).node == "node1"
    assert ask(cluster, "controld", NodePurge("node9")) == Done()


def test_resources_that_fail_and_are_refreshed(cluster: Sandbox) -> None:
    with resource(cluster, "fails") as name:
        failed = ask(cluster, "controld", ResourceFail(name, "node1"))
        assert (failed.resource, failed.operation) == (name, "asyncmon")
        assert poll(lambda: "fail-count-fails" in ask(cluster, "based", CibQuery(section="status")).cib)
        assert ask(cluster, "attrd", AttributeClearFailures(name)) == Done()
        assert poll(lambda: "fail-count-fails" not in ask(cluster, "based", CibQuery(section="status")).cib)
        agent = ("ocf", "pacemaker", "Dummy")
        refreshed = ask(cluster, "controld", ResourceRefresh(name, "node1", *agent))
        assert (refreshed.resource, refreshed.operation) == (name, "delete")
        assert ask(cluster, "controld", ResourceRefresh(name, "node1", cib_only=True)).resource == name


def test_a_controller_fails_over_an_unknown_resource_without_an_agent(cluster: Sandbox) -> None:
    # It takes that for a failure of its own, ends, and is started again: meanwhile nobody leads.
    with another_controller(cluster):
        error = refused(cluster, "controld", ResourceFail("nothing", "node1"))
        assert "Cannot fail unknown resource" in error.text


def test_an_unknown_resource_with_an_agent_is_failed(cluster: Sandbox) -> None:
    before = running_pid(cluster, "controld")
    failed = ask(cluster, "controld", ResourceFail("unknown", "node1", "ocf", "pacemaker", "Dummy"))
    assert (failed.resource, failed.operation) == ("unknown", "asyncmon")
    until_led(cluster)
    assert cluster.pid_of("pacemaker-controld") == before


def test_the_attribute_manager(cluster: Sandbox) -> None:
    assert ask(cluster, "attrd", AttributeUpdate("colour", "red")) == Done()
    found = ask(cluster, "attrd", AttributeQuery("colour"))
    assert [(one.node, one.value) for one in found.values] == [("node1", "red")]
    assert ask(cluster, "attrd", AttributeUpdate("colour", "blue", "node1", private=True)) == Done()
    assert ask(cluster, "attrd", AttributeQuery("colour", "node1")).values[0].value == "blue"
    ask(cluster, "attrd", AttributeUpdate("colour", 5, dampening="1s", mode="both"))
    ask(cluster, "attrd", AttributeUpdate("colour", "value++"))
    assert ask(cluster, "attrd", AttributeQuery("colour")).values[0].value == "6"
    ask(cluster, "attrd", AttributeUpdate(value="green", pattern="^col"))
    assert ask(cluster, "attrd", AttributeQuery("colour")).values[0].value == "green"
    ask(cluster, "attrd", AttributeUpdate("colour", dampening="2s", mode="delay"))
    ask(cluster, "attrd", AttributeDelete("colour"))
    assert ask(cluster, "attrd", AttributeQuery("colour")).values[0].value == ""
    assert ask(cluster, "attrd", AttributeRefresh()) == Done()
    error = refused(cluster, "attrd", AttributeQuery("nothing"))
    assert (error.result, error.code) == (bridle.Result.EMPTY, errno.ENXIO)


def test_values_with_all_kinds_of_signs(cluster: Sandbox) -> None:
    value = "<a b='c'> & \"d\" Zoë"
    ask(cluster, "attrd", AttributeUpdate("signs", value))
    found = ask(cluster, "attrd", AttributeQuery("signs")).values[0].value
    assert found == value


def test_the_scheduler(cluster: Sandbox) -> None:
    cib = ask(cluster, "based", CibQuery()).cib
    transition = ask(cluster, "schedulerd", Graph(cib))
    assert read_xml(transition.graph).tag == "transition_graph"
    assert transition.input.startswith("/var/lib/pacemaker/pengine/pe-input-")
    assert (transition.graph_errors, transition.config_errors) == (0, 0)


def test_the_cib_manager(cluster: Sandbox) -> None:
    whole = read_xml(ask(cluster, "based", CibQuery()).cib)
    assert [part.tag for part in whole] == ["configuration", "status"]
    assert [part.tag for part in read_xml(ask(cluster, "based", CibQuery(no_children=True)).cib)] == []
    nodes = ask(cluster, "based", CibQuery(section="nodes")).cib
    assert ask(cluster, "based", CibQuery(xpath="//nodes")).cib == nodes
    assert ask(cluster, "based", CibQuery(section="nodes", local=True)).cib == nodes
    tag = '<tags><tag id="t1"><obj_ref id="node1"/></tag></tags>'
    ask(cluster, "based", CibCreate(tag, section="configuration"))
    assert refused(cluster, "based", CibCreate(tag, section="configuration")).result == bridle.Result.CONFLICT
    ask(cluster, "based", CibModify('<tag id="t1"><obj_ref id="o2"/></tag>', section="tags"))
    ask(cluster, "based", CibModify('<tag id="t2"><obj_ref id="o3"/></tag>', section="tags", can_create=True))
    ids = [one.get("id") for one in read_xml(ask(cluster, "based", CibQuery(xpath="//tags")).cib)]
    assert ids == ["t1", "t2"]
    ask(cluster, "based", CibReplace('<tag id="t2"><obj_ref id="o4"/></tag>', xpath="//tag[@id='t2']"))
    assert 'id="o4"' in ask(cluster, "based", CibQuery(xpath="//tags")).cib
    ask(cluster, "based", CibDelete('<tag id="t2"/>', section="tags", dry_run=True))
    assert 'id="o4"' in ask(cluster, "based", CibQuery(xpath="//tags")).cib
    ask(cluster, "based", CibDelete(xpath="//tags"))
    assert refused(cluster, "based", CibQuery(xpath="//tags")).result == bridle.Result.EMPTY
    epoch = int(whole.get("epoch", "0"))
    ask(cluster, "based", CibBump())
    assert int(read_xml(ask(cluster, "based", CibQuery()).cib).get("epoch", "0")) > epoch
    ask(cluster, "based", CibErase(dry_run=True))
    error = refused(cluster, "based", CibUpgrade())
    assert "schema" in error.text
    assert refused(cluster, "based", CibModify("<nothing/>", section="tags")).code


def test_a_difference_that_is_applied(cluster: Sandbox) -> None:
    cib = read_xml(ask(cluster, "based", CibQuery()).cib)
    version = {name: cib.get(name) for name in ("admin_epoch", "epoch", "num_updates")}
    after = {**version, "epoch": int(cib.get("epoch", "0")) + 1, "num_updates": 0}
    change = element(
        "diff",
        {"format": "2"},
        element("version", None, element("source", version), element("target", after)),
        element(
            "change",
            {"operation": "create", "path": "/cib/configuration/nodes/node[@id='1']", "position": "0"},
            element(
                "instance_attributes",
                {"id": "node1-attributes"},
                element("nvpair", {"id": "applied", "name": "applied", "value": "yes"}),
            ),
        ),
    )
    from bridle.wire.pacemaker_xml import write_xml

    ask(cluster, "based", CibApplyDiff(write_xml(change).decode()))
    assert 'id="applied"' in ask(cluster, "based", CibQuery(section="nodes")).cib
    ask(cluster, "based", CibDelete(xpath="//instance_attributes[@id='node1-attributes']"))


def test_who_only_reads_the_cib(cluster: Sandbox) -> None:
    def run() -> str:
        with PacemakerIPC("based", read_only=True) as based:
            based.connect()
            return based.request(CibQuery(section="nodes")).cib

    assert 'uname="node1"' in cluster.inside(run)


def test_700_kb_of_cib_in_both_directions(cluster: Sandbox) -> None:
    pairs = "".join(f'<nvpair id="large-{n}" name="name-{n}" value="{n:0>60}"/>' for n in range(7000))
    large = f'<cluster_property_set id="large">{pairs}</cluster_property_set>'
    assert len(large) > 700_000
    place = "//cluster_property_set[@id='large']"
    # The daemon writes each line of the change to its log, and takes some seconds for that.
    ask(cluster, "based", CibCreate(large, section="crm_config"), 40)
    try:
        assert ask(cluster, "based", CibQuery(xpath=place), 40).cib == large
        whole = ask(cluster, "based", CibQuery(), 40).cib
        assert large in whole
        assert read_xml(ask(cluster, "schedulerd", Graph(whole), 40).graph).tag == "transition_graph"
    finally:
        ask(cluster, "based", CibDelete(xpath=place), 40)


def test_the_fencer(cluster: Sandbox) -> None:
    assert poll(lambda: ask(cluster, "fenced", FencingHistory()).history == ())
    assert ask(cluster, "fenced", FencingDevices()).devices == ()
    ask(cluster, "fenced", FencingDeviceAdd("device", "fence_nothing", {"pcmk_host_list": "node9"}))
    (device,) = ask(cluster, "fenced", FencingDevices()).devices
    assert (device.id, device.agent) == ("device", "fence_nothing")
    assert ask(cluster, "fenced", FencingLevelAdd(1, ["device"], "node9")) == Done()
    assert ask(cluster, "fenced", FencingLevelRemove(1, "node9")) == Done()
    assert ask(cluster, "fenced", FencingLevelAdd(2, ["device"], pattern="node9.*")) == Done()
    error = refused(cluster, "fenced", Fence("node8", timeout=2))
    assert error.code
    assert ask(cluster, "fenced", FencingConfirm("node9")) == Done()
    history = ask(cluster, "fenced", FencingHistory("node9")).history
    assert [(one.target, one.action, one.state, one.delegate) for one in history] == [
        ("node9", "off", "done", "a human")
    ]
    assert abs(history[0].completed - time.time()) < 120
    assert len(ask(cluster, "fenced", FencingHistory()).history) == 2
    ask(cluster, "fenced", FencingHistoryCleanup("node9"))
    assert poll(lambda: ask(cluster, "fenced", FencingHistory("node9")).history == ())
    ask(cluster, "fenced", FencingHistoryCleanup())
    ask(cluster, "fenced", FencingDeviceRemove("device"))
    assert ask(cluster, "fenced", FencingDevices()).devices == ()


def test_the_executor(cluster: Sandbox) -> None:
    def run() -> None:
        with connected("execd") as executor:
            assert executor.request(ResourceAdd("mine", "ocf", "Dummy", "pacemaker")) == Done()
            found = executor.request(ResourceInfo("mine"))
            assert (found.class_, found.provider, found.type_) == ("ocf", "pacemaker", "Dummy")
            started = executor.request(ResourceExecute("mine", "start", parameters={"fake": "zoe"}))
            assert (started.action, started.rc_code, started.op_status) == ("start", 0, 0)
            assert executor.request(ResourceExecute("mine", "monitor", interval=3_600_000)).rc_code == 0
            assert executor.request(ResourceCancel("mine", "monitor", 3_600_000)) == Done()
            assert executor.request(ResourceExecute("mine", "stop")).rc_code == 0
            assert executor.request(ResourceRemove("mine")) == Done()
            with pytest.raises(bridle.CommandError) as caught:
                executor.request(ResourceInfo("mine"))
            assert caught.value.code == errno.ENODEV

    # The cluster would stop what it has not been told to run.
    with option(cluster, "stop-orphan-resources", "false"), option(cluster, "stop-orphan-actions", "false"):
        cluster.inside(run)


# What daemons tell.


def changes(events: list[IPCEvent]) -> list[str]:
    return [
        event.data.name
        for event in events
        if event.type is IPCEventType.NOTIFY and isinstance(event.data, Notification)
    ]


def test_a_change_of_the_cib_is_told_when_it_is_polled(cluster: Sandbox) -> None:
    def run() -> list[IPCEvent]:
        events: list[IPCEvent] = []
        with connected("based", "poll") as watcher, connected("based") as writer:
            watcher.register_callback(lambda api, event, data: events.append(event))
            writer.request(CibBump())
            while not changes(events):
                watcher.poll(5)
                watcher.dispatch()
        return events

    events = cluster.inside(run)
    (change,) = [event.data for event in events if event.type is IPCEventType.NOTIFY][:1]
    assert isinstance(change, Notification)
    assert change.name == "cib-diff"
    assert isinstance(change.data, dict)
    assert read_xml(str(change.data["diff"])).tag == "diff"


def test_a_change_of_the_cib_is_told_to_who_waits_for_an_answer(cluster: Sandbox) -> None:
    def run() -> list[IPCEvent]:
        events: list[IPCEvent] = []
        with connected("based") as based:
            based.register_callback(lambda api, event, data: events.append(event))
            based.request(CibBump())
        return events

    events = cluster.inside(run)
    assert list(dict.fromkeys(event.type for event in events)) == [
        IPCEventType.NOTIFY,
        IPCEventType.REPLY,
        IPCEventType.DISCONNECT,
    ]


async def first_of(daemon: AsyncPacemakerIPC, name: str) -> bridle.Event:
    """The first event of a kind."""
    async for event in daemon.notifications():
        if event.name == name:
            return event
    raise AssertionError("the connection ended")


def test_notifications_are_iterated_over_in_asyncio(cluster: Sandbox) -> None:
    async def main() -> None:
        async with (
            bridle.pacemaker.connect("fenced") as fencer,
            bridle.pacemaker.connect("based") as based,
            bridle.pacemaker.connect("execd") as executor,
        ):
            waiting = [
                asyncio.ensure_future(first_of(fencer, "fencing")),
                asyncio.ensure_future(first_of(based, "cib-diff")),
                asyncio.ensure_future(first_of(executor, "resource-changed")),
            ]
            await asyncio.sleep(0)
            await asyncio.gather(
                fencer.request(FencingConfirm("node7")),
                based.request(CibBump()),
                executor.request(ResourceAdd("told", "ocf", "Dummy", "pacemaker")),
            )
            told = await asyncio.wait_for(asyncio.gather(*waiting), 10)
            assert isinstance(told[0].data, dict)
            assert told[0].data["target"] == "node7"
            await executor.request(ResourceRemove("told"))
            await fencer.request(FencingHistoryCleanup())

    cluster.inside(lambda: asyncio.run(main()))


def test_many_requests_at_the_same_time(cluster: Sandbox) -> None:
    async def main() -> None:
        async with (
            bridle.pacemaker.connect("controld") as controller,
            bridle.pacemaker.connect("attrd") as attributes,
        ):
            pings = [controller.request(ControllerPing()) for _ in range(50)]
            updates = [attributes.request(AttributeUpdate(f"many-{n}", n)) for n in range(20)]
            infos = [controller.request(NodeInfo(node_id=n % 2 + 1)) for n in range(20)]
            found = await asyncio.gather(*pings, *updates, *infos, return_exceptions=True)
            assert sum(isinstance(one, bridle.CommandError) for one in found) == 10
            queries = [attributes.request(AttributeQuery(f"many-{n}")) for n in range(20)]
            values = [one.values[0].value for one in await asyncio.gather(*queries)]
            assert values == [str(n) for n in range(20)]

    cluster.inside(lambda: asyncio.run(main()))


def test_dispatch_by_the_running_loop(cluster: Sandbox) -> None:
    async def main() -> list[IPCEvent]:
        events: list[IPCEvent] = []
        arrived = asyncio.Event()
        controller, attributes = PacemakerIPC("controld"), PacemakerIPC("attrd")

        def note(api: PacemakerIPC, event: IPCEvent, data: object) -> None:
            events.append(event)
            if sum(one.type is IPCEventType.REPLY for one in events) == 3:
                arrived.set()

        for daemon in (controller, attributes):
            daemon.register_callback(note)
            daemon.connect("main")
        controller.send(NodeList())
        controller.send(ControllerPing())
        attributes.send(AttributeUpdate("main", "loop"))
        await asyncio.wait_for(arrived.wait(), 10)
        controller.disconnect()
        attributes.disconnect()
        return events

    events = cluster.inside(lambda: asyncio.run(main()))
    kinds = [event.type for event in events]
    assert kinds[:2] == [IPCEventType.CONNECT] * 2
    assert kinds[-2:] == [IPCEventType.DISCONNECT] * 2
    assert {type(event.data).__name__ for event in events[2:-2]} == {"Nodes", "Alive", "Done"}


# Purges.


@pytest.mark.parametrize("server", ["attrd", "controld", "fenced", "pacemakerd"])
@pytest.mark.parametrize("dispatch", ["sync", "poll"])
def test_a_node_is_purged(cluster: Sandbox, server: str, dispatch: str) -> None:
    def run() -> None:
        with connected(server, dispatch) as daemon:
            daemon.purge_node("node9")
            daemon.purge_node(None, 9)
            daemon.purge_node("node9", 9)
            # It is still there, and takes requests.
            assert daemon.is_connected

    cluster.inside(run)


def test_a_purged_node_s_attributes_are_gone(cluster: Sandbox) -> None:
    def run() -> None:
        with connected("attrd") as attributes:

            def nodes() -> set[str | None]:
                try:
                    return {one.node for one in attributes.request(AttributeQuery("gone")).values}
                except bridle.CommandError:
                    return set()  # nobody has it

            attributes.request(AttributeUpdate("gone", "1", "node9"))
            assert poll(lambda: "node9" in nodes()), "what is acknowledged is done soon"
            attributes.purge_node("node9")
            assert poll(lambda: "node9" not in nodes())

    cluster.inside(run)


# Ends.


def until_back(cluster: Sandbox, server: str) -> None:
    """Wait until a daemon that was killed has been started again."""

    def there() -> bool:
        try:
            with connected(server):
                return True
        except IPCError:
            return False

    assert cluster.inside(lambda: poll(there, 30))


def running_pid(cluster: Sandbox, server: str) -> int:
    """The process of a daemon that takes connections."""
    until_back(cluster, server)
    pid = cluster.pid_of(f"pacemaker-{server}")
    assert pid is not None
    return pid


@pytest.mark.parametrize(
    ("dispatch", "server"), [("sync", "attrd"), ("poll", "schedulerd"), ("main", "attrd")]
)
def test_a_killed_daemon_is_noticed_within_a_second(cluster: Sandbox, dispatch: str, server: str) -> None:
    def kill() -> float:
        os.kill(pid, signal.SIGKILL)
        return time.monotonic()

    def run() -> None:
        events: list[IPCEvent] = []
        daemon = PacemakerIPC(server)
        daemon.connect(dispatch)
        daemon.register_callback(lambda api, event, data: events.append(event))
        killed = kill()
        while not events and time.monotonic() < killed + 5:
            if dispatch == "poll":
                daemon.poll(5)
                daemon.dispatch()
            else:
                time.sleep(0.01)
                assert isinstance(daemon.is_connected, bool)
        check(events, killed)
        assert not daemon.is_connected

    async def loop() -> None:
        events: list[IPCEvent] = []
        noticed = asyncio.Event()
        daemon = PacemakerIPC(server)
        daemon.connect("main")

        def note(api: PacemakerIPC, event: IPCEvent, data: object) -> None:
            events.append(event)
            noticed.set()

        daemon.register_callback(note)
        killed = kill()
        await asyncio.wait_for(noticed.wait(), 5)
        check(events, killed)
        with pytest.raises(IPCError) as caught:
            daemon.send(AttributeRefresh())
        assert caught.value.symbol == "EINVAL"

    def check(events: list[IPCEvent], killed: float) -> None:
        assert time.monotonic() - killed < 1.0
        assert [(event.type, event.status) for event in events] == [(IPCEventType.DISCONNECT, 102)]

    pid = running_pid(cluster, server)
    if dispatch == "main":
        cluster.inside(lambda: asyncio.run(loop()))
    elif server == "schedulerd":
        # A controller that leads ends with its scheduler; on sockets it learns that when it needs it again.
        with another_controller(cluster):
            cluster.inside(run)
            with option(cluster, "stop-orphan-actions", "false"):
                pass
    else:
        cluster.inside(run)
    until_back(cluster, server)


def test_a_request_to_a_daemon_that_is_killed_meanwhile_fails_at_once(cluster: Sandbox) -> None:
    def run() -> None:
        with connected("attrd") as attributes:
            os.kill(pid, signal.SIGSTOP)
            begun = time.monotonic()
            import threading

            threading.Timer(0.2, os.kill, (pid, signal.SIGKILL)).start()
            with pytest.raises(IPCError) as caught:
                attributes.request(AttributeRefresh(), timeout=20)
            assert caught.value.symbol == "ENOTCONN"
            assert time.monotonic() - begun < 1.2

    pid = running_pid(cluster, "attrd")
    cluster.inside(run)
    until_back(cluster, "attrd")


def test_a_frozen_daemon_costs_no_more_than_the_time_that_it_is_given(cluster: Sandbox) -> None:
    def run() -> None:
        with connected("attrd") as attributes:
            os.kill(pid, signal.SIGSTOP)
            try:
                for symbol in ("ETIMEDOUT", "EALREADY"):
                    with pytest.raises(IPCError) as caught:
                        attributes.request(AttributeQuery("nowhere"), timeout=0.3)
                    assert caught.value.symbol == symbol
            finally:
                os.kill(pid, signal.SIGCONT)
            with pytest.raises(bridle.CommandError):
                attributes.request(AttributeQuery("nowhere"))

    pid = running_pid(cluster, "attrd")
    cluster.inside(run)


def test_a_frozen_daemon_holds_up_no_other(cluster: Sandbox) -> None:
    async def main(pid: int) -> None:
        async with bridle.connect_async("qb:pacemaker") as pacemaker:
            await pacemaker.call("attribute-update", ["x", "1"])
            cib = await pacemaker.call("cib-query")
            os.kill(pid, signal.SIGSTOP)
            try:
                stuck = asyncio.ensure_future(pacemaker.call("graph", cib, timeout=1.5))
                for _ in range(20):
                    assert isinstance(await pacemaker.call("attribute-query", ["x"]), dict)
                assert not stuck.done()
                with pytest.raises(bridle.DeadlineExceeded):
                    await stuck
            finally:
                os.kill(pid, signal.SIGCONT)

    until_back(cluster, "attrd")
    pid = running_pid(cluster, "schedulerd")
    cluster.inside(lambda: asyncio.run(main(pid)))


# The legacy calls.


def test_the_legacy_calls(cluster: Sandbox) -> None:
    def run() -> None:
        client = legacy.crm_ipc_new("pacemakerd")
        assert client is not None
        assert legacy.crm_ipc_ready(client) == -errno.ENOTCONN
        assert legacy.crm_ipc_get_fd(client) == -errno.EINVAL
        assert legacy.crm_ipc_connect(client)
        assert legacy.crm_ipc_connected(client)
        assert legacy.crm_ipc_ready(client) == 0
        assert legacy.crm_ipc_read(client) == -errno.EAGAIN
        ping = bridle.pacemaker.create_request("ping", None, None, "pacemakerd", "test", "1")
        size, ack = legacy.crm_ipc_send(client, ping, 0x200, 2000)
        assert ack is not None
        assert (ack.tag, ack.get("status")) == ("ack", "112")
        assert size > 40
        assert poll(lambda: legacy.crm_ipc_ready(client) > 0)
        assert legacy.crm_ipc_read(client) > 40
        assert "ping_response" in (legacy.crm_ipc_buffer(client) or "")
        assert legacy.crm_ipc_buffer_flags(client) == 0x30000
        legacy.crm_ipc_close(client)
        assert not legacy.crm_ipc_connected(client)
        assert legacy.crm_ipc_send(client, ping) == (-errno.ENOTCONN, None)
        legacy.crm_ipc_destroy(client)

    cluster.inside(run)


# Whom daemons trust.


def as_nobody(function: Callable[[], None]) -> None:
    """Run a function as nobody, in a process of its own."""
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            os.setgroups([])
            os.setresgid(65534, 65534, 65534)
            os.setresuid(65534, 65534, 65534)
            function()
            status = 0
        finally:
            os._exit(status)
    _, ended = os.waitpid(pid, 0)
    assert os.waitstatus_to_exitcode(ended) == 0


def test_nobody_is_refused_by_real_daemons(cluster: Sandbox) -> None:
    def run() -> None:
        with pytest.raises(IPCError) as caught:
            PacemakerIPC("pacemakerd").connect()
        assert caught.value.symbol == "EACCES"

    cluster.inside(lambda: as_nobody(run))


# The end of all.


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_pacemaker_is_shut_down(transport: Literal["shm", "socket"]) -> None:
    with sandbox("cluster", transport) as running:

        def run() -> list[IPCEvent]:
            events: list[IPCEvent] = []
            with connected("pacemakerd", "poll") as launcher:
                launcher.register_callback(lambda api, event, data: events.append(event))
                launcher.send(Shutdown())
                while launcher.is_connected or not any(e.type is IPCEventType.DISCONNECT for e in events):
                    launcher.poll(30)
                    launcher.dispatch()
            return events

        events = running.inside(run)
        assert (events[0].type, events[0].status, events[0].data) == (IPCEventType.REPLY, 0, Done())
        assert events[-1].type is IPCEventType.DISCONNECT
        assert poll(lambda: running.pid_of("pacemakerd") is None, 10)
