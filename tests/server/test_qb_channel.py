"""Any daemon can listen on ``qb:NAME``, on both of libqb's transports, and is called in both layouts."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import msgspec
import pytest

import bridle
from bridle.core.errors import EndpointError
from bridle.daemon.running import Running, serve
from bridle.net.libqb.asynchronous import AsyncLibqbClient, connect_async
from bridle.wire.pacemaker_header import Flags, Layout, Message, MessageReader, encode_message
from bridle.wire.pacemaker_messages import create_request
from bridle.wire.pacemaker_xml import element, read_xml, write_xml
from tests.support.parrot import Parrot

TRANSPORTS = ("shm", "socket")
SECONDS = 20.0


class Loud(Parrot):
    """A parrot that tells of things, and asks who is there."""

    @bridle.command
    def shout(self, word: str) -> None:
        """Tell everybody."""
        self.events.publish("shouted", {"word": word})

    @bridle.command(access="read")
    def whoami(self, peer: bridle.Peer) -> dict[str, Any]:
        """Tell who asks."""
        return {"transport": peer.transport, "uid": peer.uid, "user": peer.user, "pid": peer.pid}

    @bridle.command(access="read")
    async def doze(self) -> str:
        """Take a moment."""
        await asyncio.sleep(0.01)
        return "awake"


@contextlib.asynccontextmanager
async def parrot(transport: str) -> AsyncIterator[tuple[Running, str]]:
    name = f"parrot-{secrets.token_hex(4)}"
    async with serve(Loud(), f"qb:{name}?transport={transport}") as running:
        yield running, name


class Talk:
    """A client that writes its messages by hand."""

    def __init__(self, client: AsyncLibqbClient, name: str, layout: Layout) -> None:
        self.client = client
        self.name = name
        self.layout = layout
        self.reader = MessageReader()
        self.number = 0

    async def send(self, text: bytes, flags: int = 0, layout: Layout | None = None) -> None:
        self.number += 1
        for piece in encode_message(Message(self.number, flags, text, layout or self.layout)):
            await self.client.send(piece, timeout=SECONDS)

    async def event(self) -> Message:
        while True:
            data = await self.client.receive_event(timeout=SECONDS)
            assert data is not None
            message = self.reader.receive(data)
            if message is not None:
                return message

    async def call(self, command: str, data: Any = None, **attributes: str) -> tuple[int, Any]:
        """A command's result, and its arguments."""
        carried = None
        if data is not None:
            carried = element("arguments")
            carried.text = msgspec.json.encode(data).decode()
        request = create_request(
            command,
            carried,
            reference=f"r{self.number}",
            sys_from="1_t",
            sys_to=self.name,
            attributes=attributes,
        )
        await self.send(write_xml(request))
        message = await self.event()
        reply = ET.fromstring(message.text)
        assert (reply.get("subt"), reply.get("reference")) == ("response", f"r{self.number - 1}")
        response = reply.find("crm_xml/response")
        assert response is not None
        return int(response.get("result", "-1")), msgspec.json.decode(
            response.text
        ) if response.text else None


@contextlib.asynccontextmanager
async def talk(name: str, layout: Layout = Layout.V2) -> AsyncIterator[Talk]:
    async with await connect_async(name) as client:
        yield Talk(client, name, layout)


def test_a_command_and_its_answer() -> None:
    async def run(transport: str) -> None:
        async with parrot(transport) as (_, name), talk(name) as t:
            assert await t.call("repeat", {"value": [1, "two"]}) == (0, [1, "two"])
            assert await t.call("repeat", [{"a": None}]) == (0, {"a": None})
            assert await t.call("doze") == (0, "awake")
            assert await t.call("nosuch") == (2, None)
            assert (await t.call("repeat"))[0] == 1
            who = (await t.call("whoami"))[1]
            assert who["transport"] == "qb"
            assert who["uid"] is not None

    for transport in TRANSPORTS:
        asyncio.run(asyncio.wait_for(run(transport), 25))


@pytest.mark.parametrize("layout", [Layout.V2, Layout.V3])
@pytest.mark.parametrize("transport", TRANSPORTS)
def test_700_kilobytes_travel_both_ways(transport: str, layout: Layout) -> None:
    async def run() -> None:
        text = "0123456789" * 70_000
        async with parrot(transport) as (_, name), talk(name, layout) as t:
            assert await t.call("repeat", {"value": text}) == (0, text)

    asyncio.run(asyncio.wait_for(run(), 25))


def test_an_answer_that_is_too_large_even_compressed_is_an_error() -> None:
    async def run() -> None:
        async with parrot("shm") as (_, name), talk(name) as t:
            text = secrets.token_hex(100_000)
            pieces = [text[at : at + 10_000] for at in range(0, len(text), 10_000)]
            # In parts it gets there; compressed it does not fit.
            t.layout = Layout.V3
            assert await t.call("repeat", {"value": pieces}) == (0, pieces)
            request = create_request(
                "repeat",
                element("arguments"),
                reference=f"r{t.number}",
                sys_from="1_t",
                sys_to=t.name,
            )
            request[0][0].text = msgspec.json.encode({"value": pieces}).decode()
            for piece in encode_message(Message(t.number + 1, 0, write_xml(request), Layout.V3)):
                await t.client.send(piece, timeout=SECONDS)
            await t.event()
            t.layout = Layout.V2
            assert await t.call("repeat", {"value": "still there"}) == (0, "still there")

    asyncio.run(asyncio.wait_for(run(), 25))


def test_an_answer_too_large_for_the_older_layout_is_refused_with_a_word() -> None:
    async def run() -> None:
        class Noisy(bridle.Daemon):
            @bridle.command(access="read")
            def noise(self) -> str:
                """What cannot be compressed."""
                return secrets.token_hex(200_000)

        name = f"noisy-{secrets.token_hex(4)}"
        async with serve(Noisy(), f"qb:{name}"):
            async with talk(name, Layout.V2) as t:
                assert (await t.call("noise"))[0] == 1
            async with talk(name, Layout.V3) as t:
                assert len((await t.call("noise"))[1]) == 400_000

    asyncio.run(asyncio.wait_for(run(), 25))


def test_arguments_may_be_attributes() -> None:
    async def run() -> None:
        async with parrot("shm") as (_, name), talk(name) as t:
            request = create_request(
                "shout", element("arguments", {"word": "hey"}), reference="r", sys_from="1_t", sys_to=name
            )
            await t.send(write_xml(request))
            assert b'<response result="0"/>' in (await t.event()).text

    asyncio.run(asyncio.wait_for(run(), 25))


def test_whoever_waits_for_a_response_gets_an_acknowledgement_first() -> None:
    async def run() -> None:
        async with parrot("shm") as (_, name), talk(name) as t:
            request = create_request("doze", reference="r", sys_from="1_t", sys_to=name)
            await t.send(write_xml(request), int(Flags.CLIENT_RESPONSE))
            data = await t.client.receive_response(timeout=SECONDS)
            message = MessageReader().receive(data)
            assert message is not None
            assert b'status="112"' in message.text
            assert message.id == t.number
            assert b"awake" in (await t.event()).text

    asyncio.run(asyncio.wait_for(run(), 25))


@pytest.mark.parametrize("layout", [Layout.V2, Layout.V3])
def test_what_cannot_be_read_is_answered_with_76(layout: Layout) -> None:
    async def run() -> None:
        async with parrot("shm") as (_, name), talk(name, layout) as t:
            await t.send(b"<nonsense", int(Flags.CLIENT_RESPONSE))
            data = await t.client.receive_response(timeout=SECONDS)
            message = MessageReader().receive(data)
            assert message is not None
            assert (read_xml(message.text).get("status"), message.layout) == ("76", layout)
            assert await t.call("repeat", {"value": 1}) == (0, 1)

    asyncio.run(asyncio.wait_for(run(), 25))


def test_the_neutral_probe_is_answered_in_the_older_layout() -> None:
    async def run() -> None:
        async with parrot("shm") as (_, name), talk(name) as t:
            request = create_request("ping", reference="r", sys_from="1_t", sys_to=name)
            await t.send(write_xml(request), layout=Layout.NEUTRAL)
            message = await t.event()
            assert message.layout is Layout.V2
            answer = read_xml(message.text)[0][0]
            assert (answer.tag, answer.get("crm_subsystem"), answer.get("pacemakerd_state")) == (
                "ping_response",
                name,
                "running",
            )

    asyncio.run(asyncio.wait_for(run(), 25))


def test_events_are_told_to_those_who_ask() -> None:
    async def run() -> None:
        async with parrot("shm") as (_, name), talk(name) as listening, talk(name) as speaking:
            assert await listening.call("repeat", {"value": 1}, crm_events="true") == (0, 1)
            assert await speaking.call("shout", {"word": "hello"}) == (0, None)
            told = read_xml((await listening.event()).text)
            assert (told.get("subt"), told.get("crm_task")) == ("event", "shouted")
            assert told[0][0].text == '{"word":"hello"}'

    asyncio.run(asyncio.wait_for(run(), 25))


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_our_own_client_calls_it(transport: str) -> None:
    async def run() -> None:
        async with parrot(transport) as (_, name), bridle.connect_async(f"qb:{name}") as client:
            assert await client.call("repeat", {"value": "x" * 300_000}) == "x" * 300_000
            with pytest.raises(bridle.CommandError) as refused:
                await client.call("repeat")
            assert refused.value.result == 1

    asyncio.run(asyncio.wait_for(run(), 25))


@pytest.mark.parametrize(
    ("endpoint", "text"),
    [
        ("qb:x?transport=tcp", "transport is shm or socket, not 'tcp'"),
        ("qb:x?mode=0600", "unknown option 'mode'; known are transport"),
        ("qb:" + "x" * 60, "no name of a libqb service"),
        ("pacemaker+unix:/tmp/x", "pacemaker travels on qb"),
        ("kea+qb:x", "kea travels on"),
    ],
)
def test_endpoints_that_cannot_be_listened_on(endpoint: str, text: str) -> None:
    async def run() -> None:
        async with serve(Parrot(), endpoint):
            pass

    with pytest.raises(EndpointError, match=text):
        asyncio.run(run())


def test_a_name_is_free_again_after_the_end() -> None:
    async def run() -> str:
        async with parrot("shm") as (_, name):
            with pytest.raises(EndpointError):
                async with serve(Parrot(), f"qb:{name}"):
                    pass
        async with serve(Parrot(), f"qb:{name}"), talk(name) as t:
            assert await t.call("repeat", {"value": 1}) == (0, 1)
        return name

    name = asyncio.run(asyncio.wait_for(run(), 25))
    assert list(Path("/dev/shm").glob(f"qb-*/qb-*{name}*")) == []
