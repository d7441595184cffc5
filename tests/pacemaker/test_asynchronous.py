"""Pacemaker's daemons for asyncio: requests at the same time, notifications, cancellation, ends."""

from __future__ import annotations

import asyncio

import pytest

import bridle
from bridle.net.libqb.places import Places
from bridle.pacemaker import (
    AsyncPacemakerIPC,
    AttributeQuery,
    AttributeUpdate,
    CibBump,
    Done,
    Graph,
    IPCError,
    LauncherPing,
    NodeList,
    ResourceExecute,
    connect,
)
from bridle.wire.libqb import Transport
from bridle.wire.pacemaker_header import Layout, Message
from bridle.wire.pacemaker_messages import create_reply
from bridle.wire.pacemaker_xml import Xml, element
from tests.pacemaker.conftest import Run, Start
from tests.pacemaker.test_ipc import attributes, cib_manager, silent
from tests.support.pacemaker import Sent, launcher, trust_anybody


def to(server: str, places: Places, **options: bool) -> AsyncPacemakerIPC:
    return connect(server, places=places, trusted=trust_anybody, client_name="test", **options)


def executor(message: Message, document: Xml) -> list[Sent]:
    """An executor that tells of the end of what it executes before it says that it has begun."""
    if document.get("lrmd_op") == "register":
        return [("response", element("lrmd_reply", {"lrmd_rc": "0", "lrmd_clientid": "id"}))]
    ended = {
        "lrmd_op": "lrmd_rsc_exec",
        "lrmd_callid": message.id,
        "lrmd_rsc_id": "r",
        "lrmd_rsc_action": "start",
        "lrmd_exec_rc": 7,
    }
    return [
        ("event", element("lrmd_notify", ended)),
        ("response", element("lrmd_reply", {"lrmd_rc": message.id})),
    ]


def test_requests_at_the_same_time(
    start: Start, places: Places, layout: Layout, transport: Transport, run: Run
) -> None:
    start("pacemakerd", launcher, layout, transport)
    start("attrd", attributes, layout, transport)

    async def main() -> None:
        async with to("pacemakerd", places) as daemon, to("attrd", places) as manager:
            pings = [daemon.request(LauncherPing()) for _ in range(30)]
            queries = [manager.request(AttributeQuery("colour")) for _ in range(10)]
            updates = [manager.request(AttributeUpdate("colour", "blue")) for _ in range(10)]
            found = await asyncio.gather(*pings, *queries, *updates)
            assert {type(one).__name__ for one in found[:30]} == {"Alive"}
            assert found[-1] == Done()
            with pytest.raises(bridle.CommandError):
                await manager.request(AttributeQuery("nothing"))
            with pytest.raises(IPCError) as caught:
                await manager.request(NodeList())
            assert caught.value.symbol == "EOPNOTSUPP"

    run(main())


def test_connecting_by_await(start: Start, places: Places, run: Run) -> None:
    start("pacemakerd", launcher)

    async def main() -> None:
        daemon = to("pacemakerd", places)
        assert not daemon.is_connected
        with pytest.raises(IPCError) as caught:
            await daemon.request(LauncherPing())
        assert caught.value.symbol == "ENOTCONN"
        assert await daemon is daemon
        assert await daemon is daemon
        assert (await daemon.request(LauncherPing())).state == "running"
        daemon.close()
        assert not daemon.is_connected
        await daemon
        assert (await daemon.request(LauncherPing())).state == "running"
        daemon.close()

    run(main())


def test_what_is_no_daemon(places: Places, run: Run) -> None:
    for server, symbol in (("", "EINVAL"), ("99", "EOPNOTSUPP")):
        with pytest.raises(IPCError) as caught:
            connect(server)
        assert caught.value.symbol == symbol

    async def main() -> None:
        with pytest.raises(IPCError) as caught:
            await to("pacemakerd", places)
        assert caught.value.symbol == "ECONNREFUSED"

    run(main())


def test_notifications(start: Start, places: Places, transport: Transport, run: Run) -> None:
    start("pacemakerd", launcher, transport=transport)
    start("cib_rw", cib_manager, transport=transport)

    async def main() -> None:
        async with to("based", places) as based:
            seen: list[int] = []

            async def watch() -> None:
                async for event in based.notifications():
                    assert event.name == "cib-diff"
                    seen.append(event.sequence)
                    if len(seen) == 3:
                        return

            watching = asyncio.create_task(watch())
            await asyncio.sleep(0)
            for _ in range(3):
                await based.request(CibBump())
            await asyncio.wait_for(watching, 10)
            assert seen == [1, 2, 3]

    run(main())


def test_the_end_of_the_daemon_ends_requests_and_notifications(
    start: Start, places: Places, transport: Transport, run: Run
) -> None:
    start("pacemakerd", launcher, transport=transport)
    fake = start("attrd", silent, transport=transport)

    async def main() -> None:
        async with to("attrd", places) as daemon:
            request = asyncio.create_task(daemon.request(AttributeQuery("a"), timeout=20))
            watching = asyncio.ensure_future(anext(daemon.notifications()))
            await asyncio.to_thread(fake.wait_for_requests, 1)
            await asyncio.to_thread(fake.stop)
            for waiting in (request, watching):
                with pytest.raises(IPCError) as caught:
                    await asyncio.wait_for(waiting, 10)
                assert caught.value.symbol == "ENOTCONN"
            assert not daemon.is_connected

    run(main())


def test_closing_ends_requests_and_notifications(start: Start, places: Places, run: Run) -> None:
    start(
        "pacemakerd",
        lambda message, document: launcher(message, document) if message.layout is Layout.NEUTRAL else [],
    )

    async def main() -> None:
        async with to("pacemakerd", places) as daemon:
            request = asyncio.create_task(daemon.request(LauncherPing()))
            watching = asyncio.create_task(collect(daemon))
            await asyncio.sleep(0)
            daemon.close()
            with pytest.raises(IPCError):
                await request
            assert await watching == []

    run(main())


async def collect(daemon: AsyncPacemakerIPC) -> list[str]:
    return [event.name async for event in daemon.notifications()]


def test_the_time_of_a_request_is_bounded(
    start: Start, places: Places, transport: Transport, run: Run
) -> None:
    start("pacemakerd", launcher, transport=transport)
    start("attrd", silent, transport=transport)

    async def main() -> None:
        async with to("attrd", places) as daemon:
            requests = [daemon.request(AttributeQuery("a"), timeout=0.1) for _ in range(5)]
            for error in await asyncio.gather(*requests, return_exceptions=True):
                assert isinstance(error, IPCError)
                assert error.symbol in ("ETIMEDOUT", "EALREADY")
            assert daemon.is_connected

    run(main())


def test_a_request_may_be_given_up(start: Start, places: Places, run: Run) -> None:
    held: list[Xml] = []

    def answering(message: Message, document: Xml) -> list[Sent]:
        if message.layout is Layout.NEUTRAL:
            return launcher(message, document)
        held.append(document)
        return [] if len(held) == 1 else [*launcher(message, held[0]), *launcher(message, document)]

    fake = start("pacemakerd", answering)

    async def main() -> None:
        async with to("pacemakerd", places) as daemon:
            given_up = asyncio.create_task(daemon.request(LauncherPing()))
            await asyncio.sleep(0)
            await asyncio.to_thread(fake.wait_for_requests, 2)
            given_up.cancel()
            with pytest.raises(asyncio.CancelledError):
                await given_up
            assert (await daemon.request(LauncherPing())).state == "running"

    run(main())


def test_connecting_may_be_given_up(start: Start, places: Places, run: Run) -> None:
    start("pacemakerd", silent)

    async def main() -> None:
        opening = asyncio.ensure_future(
            connect("pacemakerd", places=places, trusted=trust_anybody, timeout=0.2).connect()
        )
        await asyncio.sleep(0)
        opening.cancel()
        with pytest.raises(asyncio.CancelledError):
            await opening

    run(main())


def test_an_execution_that_ends_before_its_beginning_is_known(start: Start, places: Places, run: Run) -> None:
    start("pacemakerd", launcher)
    start("lrmd", executor)

    async def main() -> None:
        async with to("execd", places) as daemon:
            for _ in range(5):
                assert (await daemon.request(ResourceExecute("r", "start"), timeout=10)).rc_code == 7

    run(main())


def test_700_kb_in_both_directions_do_not_hold_up_others(
    start: Start, places: Places, layout: Layout, transport: Transport, run: Run
) -> None:
    large = f"<cib>{'<a b=' + chr(34) + 'c' * 60 + chr(34) + '/>'}</cib>".replace(
        "</cib>", "".join(f'<nvpair id="n{n}" value="{n:0>80}"/>' for n in range(7000)) + "</cib>"
    )

    def schedule(message: Message, document: Xml) -> list[Sent]:
        asked = document.find("crm_xml")
        assert asked is not None
        return [("event", create_reply(document, asked[0], attributes={"crm-tgraph-in": "file"}))]

    start("pacemakerd", launcher, layout, transport)
    start("pengine", schedule, layout, transport)

    async def main() -> None:
        async with to("schedulerd", places) as scheduler, to("pacemakerd", places) as daemon:
            graphs = [asyncio.create_task(scheduler.request(Graph(large), timeout=25)) for _ in range(2)]
            assert (await daemon.request(LauncherPing())).state == "running"
            assert [found.graph for found in await asyncio.gather(*graphs)] == [large] * 2

    run(main())
