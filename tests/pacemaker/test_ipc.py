"""The API of the reference document: names, return codes, dispatching, events, and the ends of all waits."""

from __future__ import annotations

import asyncio
import errno
import threading
import time

import pytest

import bridle
from bridle.net.libqb.places import Places
from bridle.pacemaker import (
    AttributeQuery,
    AttributeUpdate,
    CibBump,
    Done,
    Graph,
    IPCError,
    IPCEvent,
    IPCEventType,
    IPCServer,
    LauncherPing,
    NodeList,
    Notification,
    PacemakerIPC,
)
from bridle.wire.libqb import Transport
from bridle.wire.pacemaker_header import Layout, Message
from bridle.wire.pacemaker_messages import acknowledgement, create_reply
from bridle.wire.pacemaker_xml import Xml, element, read_xml
from tests.pacemaker.conftest import Start
from tests.support.pacemaker import Sent, launcher, trust_anybody
from tests.support.programs import poll


def code_of(caught: pytest.ExceptionInfo[IPCError]) -> str:
    return caught.value.symbol


def api(server: str, places: Places) -> PacemakerIPC:
    return PacemakerIPC(server, places=places, trusted=trust_anybody, client_name="test")


def silent(message: Message, document: Xml) -> list[Sent]:
    """A daemon that never answers."""
    return []


def attributes(message: Message, document: Xml) -> list[Sent]:
    """An attribute manager that knows one attribute."""
    if document.get("task") != "query":
        return [("response", acknowledgement(112, protocol="4"))]
    known = document.get("attr_name") == "colour"
    reply = element(
        "build_query_reply",
        {"t": "attrd", "subt": "query", "attr_version": "4", "attr_name": "colour" if known else None},
        *([element("node", {"attr_host": "node1", "attr_value": "red"})] if known else []),
    )
    return [("response", reply)]


class Recorder:
    """Notes the events that it is called with."""

    def __init__(self) -> None:
        self.events: list[IPCEvent] = []
        self.connected: list[bool] = []
        self.user_data: list[object] = []

    def __call__(self, api: PacemakerIPC, event: IPCEvent, user_data: object) -> None:
        self.events.append(event)
        self.connected.append(api.is_connected)
        self.user_data.append(user_data)

    @property
    def kinds(self) -> list[str]:
        return [event.type.value for event in self.events]


# Names.


@pytest.mark.parametrize(
    ("server", "name", "shown"),
    [
        ("attrd", "attrd", "attribute manager"),
        ("based", "cib_rw", "CIB manager"),
        ("controld", "crmd", "controller"),
        ("execd", "lrmd", "executor"),
        ("fenced", "stonith-ng", "fencer"),
        ("pacemakerd", "pacemakerd", "launcher"),
        ("schedulerd", "pengine", "scheduler"),
    ],
)
def test_each_daemon_has_two_names(server: str, name: str, shown: str) -> None:
    daemon = PacemakerIPC(server)
    assert (daemon.name(), daemon.name(True)) == (name, shown)
    assert PacemakerIPC(IPCServer(server)).server is daemon.server
    assert not daemon.is_connected


def test_what_is_no_daemon() -> None:
    with pytest.raises(IPCError) as caught:
        PacemakerIPC("")
    assert code_of(caught) == "EINVAL"
    with pytest.raises(IPCError) as caught:
        PacemakerIPC("99")
    assert code_of(caught) == "EOPNOTSUPP"


# Connecting.


def test_where_no_daemon_is(places: Places) -> None:
    with pytest.raises(IPCError) as caught:
        api("pacemakerd", places).connect()
    assert code_of(caught) == "ECONNREFUSED"
    assert isinstance(caught.value, bridle.TransportError)
    assert caught.value.errno == errno.ECONNREFUSED


def test_a_dispatch_type_that_is_none(places: Places) -> None:
    for dispatch in ("other", "main"):
        with pytest.raises(IPCError) as caught:
            api("pacemakerd", places).connect(dispatch)
        assert code_of(caught) == "EINVAL"
        assert isinstance(caught.value, bridle.LocalProtocolError)


def test_a_server_that_is_not_genuine(start: Start, places: Places, transport: Transport) -> None:
    start("pacemakerd", launcher, transport=transport)
    daemon = PacemakerIPC("pacemakerd", places=places, trusted=lambda server: False)
    with pytest.raises(IPCError) as caught:
        daemon.connect()
    assert code_of(caught) == "ECONNABORTED"
    assert not daemon.is_connected


@pytest.mark.parametrize("refusal", [errno.EACCES, errno.EAGAIN, errno.EPERM])
def test_what_a_server_refuses_its_client_with(start: Start, places: Places, refusal: int) -> None:
    start("pacemakerd", launcher, admit=lambda client: refusal)
    with pytest.raises(IPCError) as caught:
        api("pacemakerd", places).connect()
    assert caught.value.errno == refusal


def test_connecting_again_changes_nothing(start: Start, places: Places) -> None:
    start("pacemakerd", launcher)
    recorder = Recorder()
    with api("pacemakerd", places) as daemon:
        daemon.register_callback(recorder)
        daemon.connect("poll")
        daemon.connect("sync")
        assert daemon.dispatch_type.value == "poll"
    assert recorder.kinds == ["connect", "disconnect"]


def test_a_daemon_that_does_not_say_what_it_speaks(start: Start, places: Places) -> None:
    start("pacemakerd", silent)
    begun = time.monotonic()
    with pytest.raises(IPCError) as caught:
        api("pacemakerd", places).connect(timeout=0.3)
    assert code_of(caught) == "ETIMEDOUT"
    assert isinstance(caught.value, bridle.DeadlineExceeded)
    assert time.monotonic() - begun < 5


# Requests.


def test_a_request_and_its_answer(start: Start, places: Places, layout: Layout, transport: Transport) -> None:
    fake = start("pacemakerd", launcher, layout, transport)
    recorder = Recorder()
    with api("pacemakerd", places) as daemon:
        daemon.register_callback(recorder, "mine")
        daemon.connect()
        alive = daemon.request(LauncherPing())
        assert (alive.state, alive.timestamp) == ("running", 1_700_000_000)
        # The probe is neutral; from then on it is the server's layout.
        assert [message.layout for message, _ in fake.requests] == [Layout.NEUTRAL, layout]
    assert recorder.kinds == ["connect", "reply", "disconnect"]
    assert recorder.events[1].data == alive
    assert recorder.connected == [True, True, False]
    assert recorder.user_data == ["mine"] * 3


def test_a_response_and_a_refusal(start: Start, places: Places, layout: Layout, transport: Transport) -> None:
    start("pacemakerd", launcher, layout, transport)
    start("attrd", attributes, layout, transport)
    recorder = Recorder()
    with api("attrd", places) as daemon:
        daemon.register_callback(recorder)
        daemon.connect()
        assert daemon.request(AttributeQuery("colour")).values[0].value == "red"
        assert daemon.request(AttributeUpdate("colour", "blue")) == Done()
        with pytest.raises(bridle.CommandError) as caught:
            daemon.request(AttributeQuery("nothing"))
        assert (caught.value.code, caught.value.result) == (errno.ENXIO, bridle.Result.EMPTY)
    replies = [event for event in recorder.events if event.type is IPCEventType.REPLY]
    assert [event.status for event in replies] == [0, 0, errno.ENXIO]
    assert replies[2].error is caught.value


@pytest.mark.parametrize(
    ("status", "code"),
    [(2, errno.EINVAL), (4, errno.EACCES), (76, errno.EPROTO), (1, errno.EIO), (1234, errno.EIO)],
)
def test_an_acknowledgement_of_a_failure(start: Start, places: Places, status: int, code: int) -> None:
    start("pacemakerd", launcher)
    start("attrd", lambda message, document: [("response", acknowledgement(status))])
    with api("attrd", places) as daemon:
        daemon.connect()
        with pytest.raises(bridle.CommandError) as caught:
            daemon.request(AttributeUpdate("colour", "blue"))
        assert caught.value.code == code


def test_a_request_for_another_daemon_is_not_sent(start: Start, places: Places) -> None:
    fake = start("pacemakerd", launcher)
    with api("pacemakerd", places) as daemon:
        daemon.connect()
        with pytest.raises(IPCError) as caught:
            daemon.request(NodeList())
        assert code_of(caught) == "EOPNOTSUPP"
    assert len(fake.requests) == 1


def test_wrong_arguments_are_not_sent(start: Start, places: Places) -> None:
    start("pacemakerd", launcher)
    fake = start("attrd", attributes)
    with api("attrd", places) as daemon:
        daemon.connect()
        for wrong in (AttributeUpdate(), AttributeUpdate("a"), AttributeUpdate("a", "b", pattern="c")):
            with pytest.raises(bridle.ArgumentError):
                daemon.request(wrong)
        with pytest.raises(IPCError) as caught:
            daemon.request(AttributeUpdate("a", "\x01"))
        assert code_of(caught) == "EINVAL"
    assert fake.requests == []


@pytest.mark.parametrize("server", ["pacemakerd", "attrd"])
def test_a_daemon_that_does_not_answer(
    start: Start, places: Places, transport: Transport, server: str
) -> None:
    seen: list[int] = []

    def once(message: Message, document: Xml) -> list[Sent]:
        seen.append(message.id)
        return launcher(message, document) if message.layout is Layout.NEUTRAL else []

    start("pacemakerd", once, transport=transport)
    if server == "attrd":
        start("attrd", silent, transport=transport)
    request = LauncherPing() if server == "pacemakerd" else AttributeQuery("a")
    with api(server, places) as daemon:
        daemon.connect()
        with pytest.raises(IPCError) as caught:
            daemon.request(request, timeout=0.1)
        assert code_of(caught) == "ETIMEDOUT"
        with pytest.raises(IPCError) as caught:
            daemon.request(request, timeout=0.1)
        # What is answered by events can be told apart by its reference.
        assert code_of(caught) == ("EALREADY" if server == "attrd" else "ETIMEDOUT")
        assert daemon.is_connected


def test_an_answer_that_comes_too_late_is_not_taken_for_another(start: Start, places: Places) -> None:
    start("pacemakerd", launcher)
    held: list[Message] = []

    def late(message: Message, document: Xml) -> list[Sent]:
        if not held:
            held.append(message)
            return []
        first = encoded(held[0].id, element("ack", {"status": "4"}))
        return [("response", first), ("response", acknowledgement(0))]

    start("attrd", late)
    with api("attrd", places) as daemon:
        daemon.connect()
        with pytest.raises(IPCError):
            daemon.request(AttributeUpdate("a", "b"), timeout=0.1)
        assert daemon.request(AttributeUpdate("a", "b")) == Done()


def encoded(number: int, document: Xml) -> bytes:
    from bridle.wire.pacemaker_header import encode_message
    from bridle.wire.pacemaker_xml import write_xml

    return encode_message(Message(number, 0x20000, write_xml(document)))[0]


def test_an_answer_that_nobody_asked_for_breaks_the_protocol(start: Start, places: Places) -> None:
    start("pacemakerd", launcher)
    start("attrd", lambda message, document: [("response", encoded(message.id + 5, acknowledgement(0)))])
    with api("attrd", places) as daemon:
        daemon.connect()
        with pytest.raises(IPCError) as caught:
            daemon.request(AttributeUpdate("a", "b"))
        assert code_of(caught) == "EBADMSG"
        assert isinstance(caught.value, bridle.RemoteProtocolError)


def pack(text: bytes) -> bytes:
    """An event with this text, whatever it is."""
    import struct

    return struct.pack("=i4xi4xi4xIIIB3x", 1, 41 + len(text), 0, len(text) + 1, 0, 0x30000, 1) + text + b"\0"


@pytest.mark.parametrize(
    "answer",
    [
        pack(b"no xml"),
        pack(b"<!DOCTYPE a [<!ENTITY b 'c'>]><a>&b;</a>"),
        pack(b"<a>" * 500 + b"</a>" * 500),
        b"\x01" * 8 + (60).to_bytes(8, "little") + b"\xff" * 44,
    ],
)
def test_an_answer_that_makes_no_sense(start: Start, places: Places, answer: bytes) -> None:
    def answering(message: Message, document: Xml) -> list[Sent]:
        return launcher(message, document) if message.layout is Layout.NEUTRAL else [("event", answer)]

    start("pacemakerd", answering)
    with api("pacemakerd", places) as daemon:
        daemon.connect()
        with pytest.raises(IPCError) as caught:
            daemon.request(LauncherPing(), timeout=5)
        assert code_of(caught) == "EBADMSG"


def test_a_reply_that_is_malformed_has_the_status_of_a_broken_protocol(start: Start, places: Places) -> None:
    def answering(message: Message, document: Xml) -> list[Sent]:
        if message.layout is Layout.NEUTRAL:
            return launcher(message, document)
        return [("event", create_reply(document, None))]

    start("pacemakerd", answering)
    recorder = Recorder()
    with api("pacemakerd", places) as daemon:
        daemon.register_callback(recorder)
        daemon.connect("poll")
        daemon.send(LauncherPing())
        while "reply" not in recorder.kinds:
            daemon.poll(5)
            daemon.dispatch()
    assert recorder.events[1].status == 76


def test_what_would_end_a_real_daemon_cannot_be_sent(start: Start, places: Places) -> None:
    from bridle.pacemaker.link import refuse_sync_call

    for name in ("cib_callopt", "st_callopt"):
        for value in ("4096", "4352", "4098", "x", "-4096", "99999999999999"):
            with pytest.raises(IPCError) as caught:
                refuse_sync_call(element("a", {name: value}), 0)
            assert code_of(caught) == "EINVAL"
            refuse_sync_call(element("a", {name: value}), 0x200)
        refuse_sync_call(element("a", {name: "256"}), 0)


def test_700_kb_in_both_directions(
    start: Start, places: Places, layout: Layout, transport: Transport
) -> None:
    pairs = "".join(f'<nvpair id="large-{n}" name="name-{n}" value="{n:0>60}"/>' for n in range(7000))
    large = f"<cib>{pairs}</cib>"

    def schedule(message: Message, document: Xml) -> list[Sent]:
        asked = document.find("crm_xml")
        assert asked is not None
        reply = create_reply(document, asked[0], attributes={"crm-tgraph-in": "file"})
        return [("event", reply)]

    start("pacemakerd", launcher, layout, transport)
    start("pengine", schedule, layout, transport)
    with api("schedulerd", places) as scheduler:
        scheduler.connect()
        assert scheduler.request(Graph(large), timeout=20).graph == large


# Polling.


def test_polling_and_dispatching(start: Start, places: Places, transport: Transport) -> None:
    fake = start("pacemakerd", launcher, transport=transport)
    recorder = Recorder()
    with api("pacemakerd", places) as daemon:
        daemon.register_callback(recorder)
        daemon.connect("poll")
        with pytest.raises(IPCError) as caught:
            daemon.poll(0)
        assert code_of(caught) == "EAGAIN"
        assert isinstance(caught.value, BlockingIOError)
        daemon.dispatch()
        daemon.send(LauncherPing())
        daemon.send(LauncherPing())
        assert recorder.kinds == ["connect"]
        while recorder.kinds.count("reply") < 2:
            daemon.poll(5)
            daemon.dispatch()
        with pytest.raises(IPCError) as caught:
            daemon.request(LauncherPing())
        assert code_of(caught) == "EINVAL"
    assert recorder.kinds == ["connect", "reply", "reply", "disconnect"]
    assert len(fake.requests) == 3


def test_a_response_is_dispatched_as_well(start: Start, places: Places) -> None:
    start("pacemakerd", launcher)
    start("attrd", attributes)
    recorder = Recorder()
    with api("attrd", places) as daemon:
        daemon.register_callback(recorder)
        daemon.connect("poll")
        daemon.send(AttributeQuery("colour"))
        daemon.send(AttributeQuery("nothing"))
        assert recorder.kinds == ["connect"]
        daemon.poll(0)
        daemon.dispatch()
        assert [event.status for event in recorder.events] == [0, 0, errno.ENXIO]


def test_only_a_polled_connection_is_polled(start: Start, places: Places) -> None:
    start("pacemakerd", launcher)
    daemon = api("pacemakerd", places)
    for connect in (lambda: None, lambda: daemon.connect("sync"), daemon.disconnect):
        connect()
        with pytest.raises(IPCError) as caught:
            daemon.poll(0)
        assert code_of(caught) == "EINVAL"
        daemon.dispatch()
    daemon.connect("poll")
    for seconds in (-1.0, float("nan")):
        with pytest.raises(IPCError) as caught:
            daemon.poll(seconds)
        assert code_of(caught) == "EINVAL"
    daemon.disconnect()
    with pytest.raises(IPCError):
        daemon.poll(0)


def test_a_request_that_is_never_answered_is_told_of_when_its_time_is_over(
    start: Start, places: Places
) -> None:
    start(
        "pacemakerd",
        lambda message, document: (
            launcher(message, document) if not message.flags and message.layout is Layout.NEUTRAL else []
        ),
    )
    recorder = Recorder()
    with api("pacemakerd", places) as daemon:
        daemon.register_callback(recorder)
        daemon.connect("poll")
        daemon.send(LauncherPing(), timeout=0.05)
        assert poll(lambda: daemon.dispatch() is None and len(recorder.events) > 1)
    assert (recorder.kinds[1], recorder.events[1].status) == ("reply", errno.ETIMEDOUT)


# The loop.


def test_the_running_loop_dispatches(
    start: Start, places: Places, layout: Layout, transport: Transport
) -> None:
    start("pacemakerd", launcher, layout, transport)
    start("attrd", attributes, layout, transport)
    recorder = Recorder()

    async def main() -> None:
        launcher_api, attributes_api = api("pacemakerd", places), api("attrd", places)
        for one in (launcher_api, attributes_api):
            one.register_callback(recorder)
            one.connect("main")
        for _ in range(25):
            launcher_api.send(LauncherPing())
        attributes_api.send(AttributeQuery("colour"))
        attributes_api.send(AttributeQuery("nothing"))
        async with asyncio.timeout(10):
            while recorder.kinds.count("reply") < 27:
                await asyncio.sleep(0)
        for one in (launcher_api, attributes_api):
            one.disconnect()

    asyncio.run(main())
    assert recorder.kinds == ["connect"] * 2 + ["reply"] * 27 + ["disconnect"] * 2
    assert sorted(event.status for event in recorder.events) == [0] * 28 + [errno.ENXIO] + [102] * 2


def test_the_loop_tells_what_is_never_answered(start: Start, places: Places) -> None:
    start("pacemakerd", launcher)
    start("attrd", silent)
    recorder = Recorder()

    async def main() -> None:
        with api("attrd", places) as daemon:
            daemon.register_callback(recorder)
            daemon.connect("main")
            daemon.send(AttributeQuery("a"), timeout=0.05)
            async with asyncio.timeout(10):
                while "reply" not in recorder.kinds:
                    await asyncio.sleep(0)

    asyncio.run(main())
    assert recorder.events[1].status == errno.ETIMEDOUT


# Notifications.


def cib_manager(message: Message, document: Xml) -> list[Sent]:
    """A CIB manager that tells of each change before it answers, as the real one does."""
    operation = document.get("cib_op", "")
    if operation == "register":
        return [("response", element("x", {"cib_op": "register", "cib_clientid": "id"}))]
    if operation == "cib_notify":
        return [("response", acknowledgement(0))]
    told = element(
        "notify",
        {"t": "cib_notify", "subt": "cib_diff_notify", "cib_op": operation, "cib_rc": "0"},
        element("cib_update_result", None, element("diff", {"format": "2"})),
    )
    reply = element(
        "cib-reply", {"cib_op": operation, "cib_callid": document.get("cib_callid"), "cib_rc": "0"}
    )
    return [("event", told), ("event", reply)]


def test_notifications_come_to_the_callback(start: Start, places: Places) -> None:
    start("pacemakerd", launcher)
    fake = start("cib_rw", cib_manager)
    recorder = Recorder()
    with api("based", places) as daemon:
        daemon.register_callback(recorder)
        daemon.connect()
        daemon.request(CibBump())
    assert recorder.kinds == ["connect", "notify", "reply", "disconnect"]
    told = Notification("cib-diff", {"operation": "cib_bump", "return-code": 0, "diff": '<diff format="2"/>'})
    assert recorder.events[1].data == told
    documents = [read_xml(text) for _, text in fake.requests]
    assert [one.get("cib_notify_type") for one in documents[1:3]] == ["cib_diff_notify", "cib_refresh_notify"]
    # sync_call stands where the header asks for a response, and nowhere else.
    assert [
        (one.get("cib_callopt"), message.flags)
        for (message, _), one in zip(fake.requests, documents, strict=True)
    ] == [
        ("4096", 0x200),
        (None, 0x200),
        (None, 0x200),
        ("0", 0),
    ]


def test_who_does_not_want_notifications_does_not_subscribe(start: Start, places: Places) -> None:
    start("pacemakerd", launcher)
    fake = start("cib_rw", cib_manager)
    with api("based", places) as daemon:
        daemon.connect(notifications=False)
    assert len(fake.requests) == 1


# Ends.


def test_disconnecting_is_told_once(start: Start, places: Places) -> None:
    start("pacemakerd", launcher)
    recorder = Recorder()
    daemon = api("pacemakerd", places)
    daemon.register_callback(recorder)
    daemon.disconnect()
    assert recorder.kinds == []
    daemon.connect()
    daemon.disconnect()
    daemon.disconnect()
    assert recorder.kinds == ["connect", "disconnect"]
    assert (recorder.events[1].status, recorder.events[1].data) == (102, None)
    with pytest.raises(IPCError) as caught:
        daemon.request(LauncherPing())
    assert code_of(caught) == "EINVAL"
    daemon.connect()
    assert daemon.request(LauncherPing()).state == "running"
    daemon.disconnect()


def test_a_request_before_connecting(places: Places) -> None:
    with pytest.raises(IPCError) as caught:
        api("pacemakerd", places).request(LauncherPing())
    assert code_of(caught) == "ENOTCONN"


@pytest.mark.parametrize("dispatch", ["sync", "poll", "main"])
def test_the_end_of_a_daemon_is_told_in_every_mode(
    start: Start, places: Places, transport: Transport, dispatch: str
) -> None:
    fake = start("pacemakerd", launcher, transport=transport)
    recorder = Recorder()

    async def main() -> None:
        daemon = api("pacemakerd", places)
        daemon.register_callback(recorder)
        daemon.connect(dispatch)
        fake.stop()
        async with asyncio.timeout(10):
            while daemon.is_connected or len(recorder.events) < 2:
                if dispatch == "poll":
                    daemon.poll(5)
                    daemon.dispatch()
                await asyncio.sleep(0)
        with pytest.raises(IPCError) as caught:
            daemon.send(LauncherPing())
        assert code_of(caught) == "EINVAL"

    asyncio.run(main())
    assert recorder.kinds == ["connect", "disconnect"]
    assert recorder.events[1].status == 102


def test_requests_under_way_fail_before_the_end_is_told(start: Start, places: Places) -> None:
    def answering(message: Message, document: Xml) -> list[Sent]:
        return launcher(message, document) if message.layout is Layout.NEUTRAL else []

    fake = start("pacemakerd", answering)
    recorder = Recorder()
    daemon = api("pacemakerd", places)
    daemon.register_callback(recorder)
    daemon.connect("poll")
    daemon.send(LauncherPing())
    fake.wait_for_requests(2)
    fake.stop()
    while "disconnect" not in recorder.kinds:
        daemon.poll(5)
        daemon.dispatch()
    assert [(event.type.value, event.status) for event in recorder.events[1:]] == [
        ("reply", errno.ENOTCONN),
        ("disconnect", 102),
    ]


def test_a_request_whose_daemon_ends_meanwhile_fails_at_once(
    start: Start, places: Places, transport: Transport
) -> None:
    start("pacemakerd", launcher, transport=transport)
    fake = start("attrd", silent, transport=transport)
    with api("attrd", places) as daemon:
        daemon.connect()
        threading.Thread(target=lambda: (fake.wait_for_requests(1), fake.stop())).start()
        with pytest.raises(IPCError) as caught:
            daemon.request(AttributeQuery("a"), timeout=20)
        assert code_of(caught) == "ENOTCONN"


# Purging.


@pytest.mark.parametrize("server", ["attrd", "controld", "fenced", "pacemakerd"])
def test_a_node_is_purged(start: Start, places: Places, server: str) -> None:
    def answering(message: Message, document: Xml) -> list[Sent]:
        if document.get("st_op") == "register":
            return [("response", element("reply", {"st_clientid": "id"}))]
        return launcher(message, document) if message.layout is Layout.NEUTRAL else []

    start("pacemakerd", answering)
    fake = start(PacemakerIPC(server).name(), answering) if server != "pacemakerd" else None
    with api(server, places) as daemon:
        daemon.connect(notifications=False)
        daemon.purge_node("node9", 9)
        if fake is not None:
            assert poll(lambda: any("node9" in text for _, text in fake.requests))
            message, text = next(one for one in fake.requests if "node9" in one[1])
            document = read_xml(text)
            assert message.flags == 0
            if server == "attrd":
                assert (document.get("task"), document.get("attr_host_id")) == ("peer-remove", "9")
            else:
                assert (document.get("crm_task"), document.get("id")) == ("rm_node_cache", "9")
                assert document.get("crm_sys_to") == daemon.name()


def test_what_a_purge_is_refused_with(start: Start, places: Places) -> None:
    start("pacemakerd", launcher)

    def code(daemon: PacemakerIPC, name: str | None, number: int = 0) -> str:
        with pytest.raises(IPCError) as caught:
            daemon.purge_node(name, number)
        return code_of(caught)

    launcher_api = api("pacemakerd", places)
    assert code(launcher_api, None) == "EINVAL"
    assert code(launcher_api, "") == "EINVAL"
    assert code(launcher_api, "node9") == "ENOTCONN"
    launcher_api.connect()
    launcher_api.disconnect()
    assert code(launcher_api, "node9") == "EINVAL"
    for server in ("schedulerd", "based", "execd"):
        assert code(api(server, places), "node9") == "EOPNOTSUPP"
        assert code(api(server, places), None) == "EINVAL"
