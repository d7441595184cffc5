"""libqb itself on the other side: 50,000 messages in both directions on both transports, and how it sees the
end."""

from __future__ import annotations

import asyncio
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from bridle.net.libqb.client import connect
from bridle.net.libqb.places import PLACES
from bridle.wire.libqb import Transport
from tests.support.libqb import (
    ANYBODY,
    TRANSPORTS,
    CServer,
    Echo,
    ServiceThread,
    expected_number,
    memory_of_ours,
    message,
    peer_argv,
    plain,
)
from tests.support.loops import LOOPS
from tests.support.programs import Program, poll, short_directory

pytestmark = [pytest.mark.peers("cc", "qb/qbipcs.h"), pytest.mark.timeout(300)]

MESSAGES = 50_000
WINDOW = 32
SECONDS = 240.0
SOON = 1.0


@pytest.fixture(params=TRANSPORTS, ids=lambda transport: transport.name)
def transport(request: pytest.FixtureRequest) -> Transport:
    found: Transport = request.param
    return found


@pytest.fixture(autouse=True)
def no_memory_left() -> Iterator[None]:
    yield
    assert poll(lambda: not memory_of_ours())


class Watch(Program):
    """A client on libqb that waits for events as an event loop does."""

    def __init__(self, directory: Path, service: str) -> None:
        super().__init__(peer_argv("watch", service), directory, name="watch")

    def ready(self) -> bool:
        return "ready" in self.stdout


@pytest.mark.parametrize("loop", LOOPS)
def test_a_client_on_libqb_gets_every_message_back_from_our_server(
    short_path: Path, transport: Transport, loop: str
) -> None:
    count = MESSAGES if loop == "uvloop" else MESSAGES // 10
    with ServiceThread(short_path, transport, loop=loop, places=PLACES) as service:
        argv = peer_argv("client", service.name, 1, count, WINDOW)
        done = subprocess.run(argv, capture_output=True, text=True, timeout=SECONDS, check=False)
        assert done.stdout.startswith(f"ok {count} messages"), done
        assert len(service.client().messages) == count


def test_a_client_on_libqb_waits_while_our_server_asks_it_to_pause(
    short_path: Path, transport: Transport
) -> None:
    class Pausing(Echo):
        """Takes a break after every tenth message."""

        taken = 0

        def request_received(self, message: bytes) -> None:
            super().request_received(message)
            self.taken += 1
            if self.taken % 10 == 0:
                self.connection.pause()
                asyncio.get_running_loop().call_later(0.003, self.connection.resume)

    with ServiceThread(short_path, transport, places=PLACES, serve=Pausing) as service:
        argv = peer_argv("client", service.name, 1, 500, WINDOW)
        done = subprocess.run(argv, capture_output=True, text=True, timeout=SECONDS, check=False)
        words = done.stdout.split()
        assert words[:2] == ["ok", "500"], done
        assert int(words[3]) > 20, "it was told to wait, and tried again"


def test_our_client_gets_every_message_back_from_a_server_on_libqb(
    short_path: Path, transport: Transport
) -> None:
    end, deadline = MESSAGES + 1, time.monotonic() + SECONDS
    response, event, number, sent, answered = expected_number(1, 1), expected_number(1, 0), 1, 0, 0
    with CServer(short_path, transport) as server, connect(server.service, trusted=ANYBODY) as client:
        assert client.transport is transport
        while response < end or event < end:
            assert time.monotonic() < deadline
            while number < end and sent - answered < WINDOW and client.try_send(message(number)):
                number += 1
                sent += 1
            while (got := client.try_receive_response()) is not None:
                assert got == message(response), response
                response = expected_number(response + 1, 1)
                answered += 1
            while (got := client.receive_event()) is not None:
                assert got == message(event), event
                event = expected_number(event + 1, 0)
                answered += 1


def test_a_client_on_libqb_sees_that_our_server_closes(short_path: Path, transport: Transport) -> None:
    service = ServiceThread(short_path, transport, places=PLACES)
    with service, Watch(short_path, service.name) as watch:
        service.wait_for(service.server.close())
        assert poll(watch.ended, SOON)
        assert "connected 0" in watch.stdout


def test_a_client_on_libqb_gets_what_was_sent_before_our_server_closes(
    short_path: Path, transport: Transport
) -> None:
    service = ServiceThread(short_path, transport, places=PLACES)
    with service, Watch(short_path, service.name) as watch:
        for _ in range(50):
            service.call(service.client().connection.event, plain(1, b"x" * 5000))
        service.call(service.client().connection.close)
        assert poll(watch.ended)
        assert watch.stdout.endswith("connected 0 events 50\n")


def test_our_client_notices_that_a_server_on_libqb_is_killed(short_path: Path, transport: Transport) -> None:
    with short_directory() as directory, CServer(directory, transport) as server:
        with connect(server.service, trusted=ANYBODY) as client:
            assert server.process is not None
            server.process.kill()
            assert poll(lambda: not client.connected, SOON)
        assert not memory_of_ours(server.pid), "the client removes what the dead cannot"


def test_a_server_on_libqb_serves_on_when_our_client_goes(short_path: Path, transport: Transport) -> None:
    with CServer(short_path, transport) as server:
        for _ in range(20):
            with connect(server.service, trusted=ANYBODY) as client:
                client.send(plain(0))
                assert client.receive_response(5) == plain(0)
        assert poll(lambda: not memory_of_ours(server.pid))


def test_a_service_of_ours_takes_the_name_of_one_on_libqb_that_was_killed(
    short_path: Path, transport: Transport
) -> None:
    with CServer(short_path, transport) as server:
        client = connect(server.service, trusted=ANYBODY)
        assert memory_of_ours(server.pid)
        assert server.process is not None
        server.process.kill()
        server.process.wait()
        with ServiceThread(short_path, transport, name=server.service, places=PLACES):
            assert not memory_of_ours(server.pid)
        client.close()
