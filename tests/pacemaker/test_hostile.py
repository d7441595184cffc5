"""Daemons that send anything: an error, or an answer, in time; never a hang, never a crash."""

from __future__ import annotations

import asyncio
import random
import struct

import pytest

import bridle
from bridle.net.libqb.places import Places
from bridle.pacemaker import AttributeQuery, IPCEvent, LauncherPing, PacemakerIPC, connect
from bridle.wire.libqb import Transport
from bridle.wire.pacemaker_header import Layout, Message, encode_message
from bridle.wire.pacemaker_messages import create_reply
from bridle.wire.pacemaker_xml import Xml, element, write_xml
from tests.pacemaker.conftest import Start
from tests.support.pacemaker import Sent, launcher, trust_anybody

ROUNDS = 60


def framed(content: bytes, number: int) -> bytes:
    """Bytes with a header of libqb's that is right, so that the carrier lets them pass."""
    return struct.pack("=i4xi4x", number, 16 + len(content)) + content


class Hostile:
    """Answers with an answer that was changed at some places, or with noise."""

    def __init__(self, seed: int, layout: Layout) -> None:
        self._random = random.Random(seed)
        self._layout = layout

    def __call__(self, message: Message, document: Xml) -> list[Sent]:
        if message.layout is Layout.NEUTRAL:
            return launcher(message, document)
        return [
            (channel, self._bytes(message, document))
            for channel in self._random.choices(("event", "response"), k=self._random.randint(1, 3))
        ]

    def _bytes(self, message: Message, document: Xml) -> bytes:
        dice = self._random
        if dice.random() < 0.3:
            return framed(dice.randbytes(dice.randint(0, 200)), message.id)
        reply = create_reply(
            document, element("ping_response", {"crm-timestamp": dice.choice(("1", "x", "9" * 30))})
        )
        whole = bytearray(encode_message(Message(message.id, 0x30000, write_xml(reply), self._layout))[0])
        for _ in range(dice.randint(0, 4)):
            whole[dice.randint(0, len(whole) - 1)] = dice.randint(0, 255)
        return framed(bytes(whole[16:]), message.id)


@pytest.mark.parametrize("seed", range(3))
def test_requests_to_a_hostile_daemon(
    start: Start, places: Places, layout: Layout, transport: Transport, seed: int
) -> None:
    start("pacemakerd", launcher, layout, transport)
    start("attrd", Hostile(seed, layout), layout, transport)
    outcomes = set()
    with PacemakerIPC("attrd", places=places, trusted=trust_anybody) as daemon:
        for _ in range(ROUNDS // 2):
            daemon.connect()
            try:
                outcomes.add(type(daemon.request(AttributeQuery("a"), timeout=0.02)).__name__)
            except bridle.BridleError as error:
                outcomes.add(type(error).__name__)
    assert outcomes


@pytest.mark.parametrize("seed", range(3))
def test_events_of_a_hostile_daemon(
    start: Start, places: Places, layout: Layout, transport: Transport, seed: int
) -> None:
    start("pacemakerd", Hostile(seed, layout), layout, transport)

    async def main() -> None:
        async with connect("pacemakerd", places=places, trusted=trust_anybody) as daemon:
            for _ in range(ROUNDS):
                await daemon.connect()
                try:
                    await daemon.request(LauncherPing(), timeout=0.01)
                except bridle.BridleError:
                    continue

    asyncio.run(main())


def test_a_hostile_daemon_that_is_polled(start: Start, places: Places, layout: Layout) -> None:
    start("pacemakerd", Hostile(7, layout), layout)
    events: list[IPCEvent] = []
    with PacemakerIPC("pacemakerd", places=places, trusted=trust_anybody) as daemon:
        daemon.register_callback(lambda api, event, data: events.append(event))
        for _ in range(ROUNDS):
            daemon.connect("poll")
            try:
                daemon.send(LauncherPing(), timeout=0.01)
                daemon.poll(0.01)
            except bridle.BridleError:
                pass
            daemon.dispatch()
    assert events
