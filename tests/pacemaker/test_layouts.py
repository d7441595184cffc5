"""How a client finds out which layout of headers a daemon speaks."""

from __future__ import annotations

import pytest

from bridle.net.libqb.places import Places
from bridle.pacemaker import IPCError, layouts
from bridle.pacemaker.session import Session
from bridle.wire.libqb import Transport
from bridle.wire.pacemaker_header import Layout, Message
from bridle.wire.pacemaker_messages import create_reply
from bridle.wire.pacemaker_xml import Xml, element
from tests.pacemaker.conftest import Start
from tests.pacemaker.test_ipc import silent
from tests.support.pacemaker import Sent, launcher, trust_anybody


def opened(service: str, places: Places, timeout: float = 5.0) -> Session:
    return Session.open(service, places=places, trusted=trust_anybody, timeout=timeout)


def alone(message: Message, document: Xml) -> list[Sent]:
    """What each daemon answers to its own probe, without a launcher."""
    if document.get("crm_task") == "hello":
        return []
    if document.tag == "create_attrd_op":
        return [("response", element("build_query_reply", {"subt": "query"}))]
    if document.get("cib_op") == "register":
        return [("response", element("x", {"cib_clientid": "id"}))]
    if document.get("st_op") == "register":
        return [("response", element("x", {"st_clientid": "id"}))]
    if document.get("lrmd_op") == "register":
        return [("response", element("x", {"lrmd_clientid": "id"}))]
    return [("event", create_reply(document, element("ping_response")))]


def test_the_launcher_is_asked_once_for_each_daemon_s_process(
    start: Start, places: Places, layout: Layout
) -> None:
    fake = start("pacemakerd", launcher, layout)
    start("attrd", silent, layout)
    for _ in range(3):
        session = opened("attrd", places)
        assert session.link.layout is layout
        session.close()
    assert len(fake.requests) == 1
    layouts.forget()
    opened("attrd", places).close()
    assert len(fake.requests) == 2


@pytest.mark.parametrize("service", ["crmd", "attrd", "cib_rw", "cib_ro", "cib_shm", "stonith-ng", "lrmd"])
def test_a_daemon_without_a_launcher_is_asked_itself(
    start: Start, places: Places, layout: Layout, service: str
) -> None:
    def strict(message: Message, document: Xml) -> list[Sent]:
        """The executor ignores what is in the wrong layout, or does not ask for a response."""
        ignored = service == "lrmd" and (message.layout is not layout or message.flags != 0x200)
        return [] if ignored else alone(message, document)

    fake = start(service, strict, layout)
    session = opened(service, places)
    assert session.link.layout is layout
    session.close()
    if service != "lrmd":
        assert fake.requests[0][0].layout is Layout.NEUTRAL
        assert not any("0x1000" in text for _, text in fake.requests[:1])


def test_a_launcher_that_is_frozen_is_not_waited_for_long(
    start: Start, places: Places, layout: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(layouts, "PROBE_TIMEOUT", 0.1)
    start("pacemakerd", silent, layout)
    start("attrd", alone, layout)
    session = opened("attrd", places)
    assert session.link.layout is layout
    session.close()


def test_the_scheduler_without_a_launcher_shows_it_by_its_first_answer(
    start: Start, places: Places, layout: Layout
) -> None:
    from bridle.wire.pacemaker_schedulerd import Graph

    def schedule(message: Message, document: Xml) -> list[Sent]:
        return [("event", create_reply(document, element("transition_graph")))]

    start("pengine", schedule, layout)
    session = opened("pengine", places)
    assert session.link.layout is Layout.NEUTRAL
    assert session.execute(Graph("<cib/>")).graph == "<transition_graph/>"
    assert session.link.layout is layout
    session.close()


def test_what_is_too_large_for_a_layout_that_nobody_knows(start: Start, places: Places) -> None:
    from bridle.wire.pacemaker_schedulerd import Graph

    start("pengine", silent)
    session = opened("pengine", places)
    with pytest.raises(IPCError) as caught:
        session.execute(Graph("<cib>" + "<a/>" * 100_000 + "</cib>"))
    assert caught.value.symbol == "EMSGSIZE"
    session.close()


def test_another_daemon_is_asked_by_a_ping(
    start: Start, places: Places, layout: Layout, transport: Transport
) -> None:
    fake = start("thermostat", launcher, layout, transport)
    session = opened("thermostat", places)
    assert session.link.layout is layout
    assert [text.partition('crm_task="')[2][:4] for _, text in fake.requests] == ["ping"]
    session.close()


def test_a_daemon_that_never_says_is_given_up(start: Start, places: Places) -> None:
    start("thermostat", silent)
    with pytest.raises(IPCError) as caught:
        opened("thermostat", places, 0.2)
    assert caught.value.symbol == "ETIMEDOUT"
