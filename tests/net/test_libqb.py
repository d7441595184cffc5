"""A client and a server of libqb's, both ours, on both transports and both event loops."""

from __future__ import annotations

import asyncio
import errno
import gc
import os
import select
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from bridle.core.errors import EndpointError
from bridle.net.libqb import server as server_module
from bridle.net.libqb.client import LibqbClient, connect
from bridle.net.libqb.connection import BATCH, ServerConnection
from bridle.net.libqb.errors import LibqbError, LibqbTimeout
from bridle.net.libqb.places import Places, abstract
from bridle.net.libqb.server import CONNECTION_LIMIT, NAME_LENGTH, LibqbServer
from bridle.wire.libqb import (
    DEFAULT_MESSAGE,
    DISCONNECT,
    MESSAGE_LIMIT,
    REQUEST_BYTES,
    SMALLEST_MESSAGE,
    Transport,
    decode_response,
    encode_request,
)
from tests.support.libqb import (
    ANYBODY,
    SECONDS,
    TRANSPORTS,
    Echo,
    ServiceThread,
    expected_number,
    message,
    plain,
    private_places,
    unique_name,
)
from tests.support.loops import LOOPS
from tests.support.programs import poll

EVENT, RESPONSE, NEITHER = 1, 0, 3
SOON = 0.9
"""Seconds within which the end of a connection has to be noticed."""

Serving = Callable[..., ServiceThread]


@pytest.fixture(params=TRANSPORTS, ids=lambda transport: transport.name)
def transport(request: pytest.FixtureRequest) -> Transport:
    found: Transport = request.param
    return found


@pytest.fixture(params=LOOPS)
def loop(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def serving(short_path: Path, transport: Transport) -> Iterator[Serving]:
    """Starts services, and sees that nothing of them is left."""
    started: list[ServiceThread] = []

    def start(**settings: Any) -> ServiceThread:
        service = ServiceThread(short_path, settings.pop("transport", transport), **settings)
        service.__enter__()
        started.append(service)
        return service

    yield start
    for service in started:
        service.__exit__()
    assert not list(short_path.iterdir())


@pytest.fixture
def service(serving: Serving) -> ServiceThread:
    return serving()


@pytest.fixture
def client(service: ServiceThread) -> Iterator[LibqbClient]:
    with opened(service) as connection:
        yield connection


def opened(service: ServiceThread, **settings: Any) -> LibqbClient:
    return connect(service.name, places=service.places, trusted=settings.pop("trusted", ANYBODY), **settings)


def error_of(call: Callable[[], object]) -> int:
    with pytest.raises(LibqbError) as caught:
        call()
    return caught.value.errno


def exchange(connection: LibqbClient, first: int, count: int, window: int = 16) -> None:
    """Send messages as fast as they are taken, and check every answer."""
    end, sent, answered = first + count, 0, 0
    response, event = expected_number(first, 1), expected_number(first, 0)
    number, deadline = first, time.monotonic() + SECONDS
    while response < end or event < end:
        assert time.monotonic() < deadline
        while number < end and sent - answered < window and connection.try_send(message(number)):
            number += 1
            sent += 1
        got = connection.try_receive_response()
        if got is not None:
            assert got == message(response)
            response = expected_number(response + 1, 1)
            answered += 1
        got = connection.receive_event()
        if got is not None:
            assert got == message(event)
            event = expected_number(event + 1, 0)
            answered += 1


# The connection


def test_every_message_comes_back_by_the_channel_that_it_names(serving: Serving, loop: str) -> None:
    with opened(serving(loop=loop)) as connection:
        exchange(connection, 1, 1500)


def test_both_sides_know_the_other(service: ServiceThread, client: LibqbClient) -> None:
    assert (client.peer.pid, client.peer.uid, client.peer.gid) == (os.getpid(), os.getuid(), os.getgid())
    assert (client.peer.transport, client.peer.address) == ("qb", service.name)
    assert service.client().connection.peer == client.peer
    assert service.client().connection.credentials.groups >= set(os.getgroups())


def test_the_server_decides_the_transport(
    service: ServiceThread, client: LibqbClient, transport: Transport
) -> None:
    assert client.transport is transport
    assert len(client.filenos()) == (1 if transport is Transport.SHM else 2)


def test_the_larger_wish_decides_how_large_messages_are(serving: Serving) -> None:
    service = serving(max_message=300_000)
    with opened(service) as connection:
        assert connection.max_message == 300_000
    with opened(service, max_message=1_000_000) as connection:
        assert connection.max_message == 1_000_000
        large = plain(EVENT, b"x" * (1_000_000 - 32))
        connection.send(large, SECONDS)
        assert connection.receive_event(SECONDS) == large


def test_a_client_asks_for_what_it_is_answered_with_at_least(serving: Serving) -> None:
    with opened(serving(max_message=10), max_message=10) as connection:
        assert connection.max_message == SMALLEST_MESSAGE


def test_a_message_larger_than_was_agreed_on_is_not_sent(service: ServiceThread, client: LibqbClient) -> None:
    large = plain(RESPONSE, b"x" * DEFAULT_MESSAGE)
    assert error_of(lambda: client.send(large)) == errno.EMSGSIZE
    client.send(plain(RESPONSE))
    client.receive_response(SECONDS)
    for send in (service.client().connection.respond, service.client().connection.event):
        assert error_of(lambda send=send: service.call(send, large)) == errno.EMSGSIZE  # type: ignore[misc]
    client.send(plain(EVENT))
    assert client.receive_event(SECONDS) == plain(EVENT)


def test_several_clients_are_served_side_by_side(service: ServiceThread) -> None:
    connections = [opened(service) for _ in range(10)]
    threads = [
        threading.Thread(target=exchange, args=(each, 100 * n, 100)) for n, each in enumerate(connections)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(len(each.messages) for each in service.clients) == 1000
    for each in connections:
        each.close()
    assert poll(lambda: not service.server.connections, SECONDS)


def test_a_client_that_asks_without_pause_leaves_others_their_turn(serving: Serving) -> None:
    order: list[int] = []

    class Noting(Echo):
        def request_received(self, message: bytes) -> None:
            order.append(message[0])

    service = serving(serve=Noting)
    with opened(service) as busy, opened(service) as other:
        hold, go = threading.Event(), threading.Event()
        service.loop.call_soon_threadsafe(lambda: (hold.set(), go.wait(SECONDS)))
        assert hold.wait(SECONDS)
        sent = sum(busy.try_send(plain(NEITHER, identity=1)) for _ in range(50))
        other.send(plain(NEITHER, identity=2))
        go.set()
        assert poll(lambda: len(order) == sent + 1, SECONDS)
        assert order.index(2) <= 2 * BATCH, "two batches at most, whoever of both came first"


# Waiting


def test_a_response_that_does_not_come_is_waited_for_as_long_as_wanted(client: LibqbClient) -> None:
    began = time.monotonic()
    with pytest.raises(LibqbTimeout, match=r"no response in 0\.2 s") as caught:
        client.receive_response(0.2)
    assert caught.value.errno == errno.ETIMEDOUT
    assert isinstance(caught.value, TimeoutError)
    assert time.monotonic() - began >= 0.2
    assert client.receive_event(0.01) is None
    assert client.try_receive_response() is None


def test_a_response_is_received_while_it_is_waited_for(client: LibqbClient) -> None:
    timer = threading.Timer(0.1, client.send, (plain(RESPONSE),))
    timer.start()
    assert client.receive_response(SECONDS) == plain(RESPONSE)
    timer.join()


def test_an_event_shows_at_a_descriptor_and_no_longer_than_it_is_there(client: LibqbClient) -> None:
    poller = select.poll()
    poller.register(client.fileno(), select.POLLIN)
    assert not poller.poll(0)
    for number in range(3):
        client.send(plain(EVENT, bytes([number])))
    for number in range(3):
        assert poller.poll(SECONDS * 1000)
        assert client.receive_event() == plain(EVENT, bytes([number])) or number
    assert poll(lambda: client.receive_event() is None and not poller.poll(0), SECONDS)


def test_events_do_not_end_the_waiting_for_a_response(client: LibqbClient) -> None:
    client.send(plain(EVENT))
    timer = threading.Timer(0.2, client.send, (plain(RESPONSE),))
    timer.start()
    assert client.receive_response(SECONDS) == plain(RESPONSE)
    assert client.receive_event(SECONDS) == plain(EVENT)
    timer.join()


# Flow control


def test_a_client_that_is_asked_to_pause_gets_eagain_until_it_may_go_on(
    service: ServiceThread, client: LibqbClient
) -> None:
    client.send(plain(RESPONSE))
    client.receive_response(SECONDS)
    connection = service.client().connection
    service.call(connection.pause)
    assert not client.try_send(plain(RESPONSE))
    assert error_of(lambda: client.send(plain(RESPONSE), 0.05)) == errno.EAGAIN
    timer = threading.Timer(0.1, service.call, (connection.resume,))
    timer.start()
    client.send(plain(RESPONSE), SECONDS)
    assert client.receive_response(SECONDS) == plain(RESPONSE)
    timer.join()


def test_requests_that_came_before_the_pause_are_worked_on_after_it(serving: Serving) -> None:
    class Pausing(Echo):
        def request_received(self, message: bytes) -> None:
            super().request_received(message)
            if message[32:]:
                self.connection.pause()
                asyncio.get_running_loop().call_later(0.05, self.connection.resume)

    with opened(serving(serve=Pausing)) as connection:
        for content in (b"pause", b"", b""):
            connection.try_send(plain(RESPONSE, content))
        while connection.try_receive_response() is None:
            time.sleep(0.001)
        connection.send(plain(RESPONSE, b"last"), SECONDS)
        while connection.receive_response(SECONDS) != plain(RESPONSE, b"last"):
            pass


def test_a_server_that_does_not_read_fills_the_ring(serving: Serving) -> None:
    service = serving(transport=Transport.SHM)
    with opened(service) as connection:
        hold = threading.Event()
        service.loop.call_soon_threadsafe(hold.wait, SECONDS)
        content, sent = b"x" * 10_000, 0
        while connection.try_send(plain(RESPONSE, content)):
            sent += 1
        assert sent == 13
        hold.set()
        connection.send(plain(RESPONSE), SECONDS)
        for _ in range(sent):
            assert len(connection.receive_response(SECONDS)) == 10_032
        assert connection.receive_response(SECONDS) == plain(RESPONSE)


def test_more_requests_than_the_socket_holds_bytes_are_all_answered(serving: Serving) -> None:
    service = serving(transport=Transport.SHM)
    with opened(service) as connection:
        hold = threading.Event()
        service.loop.call_soon_threadsafe(hold.wait, SECONDS)
        sent = 0
        while connection.try_send(plain(NEITHER)) and sent < 1000:
            sent += 1
        assert sent > 100, "the socket took that many bytes"
        assert not connection.try_send(plain(NEITHER)) or sent == 1000
        hold.set()
        connection.send(plain(RESPONSE), SECONDS)
        assert connection.receive_response(SECONDS) == plain(RESPONSE)
        assert poll(lambda: len(service.client().messages) in (sent + 1, sent + 2), SECONDS)


# A client that does not read


def test_what_a_client_has_no_room_for_comes_later_and_in_order(
    service: ServiceThread, client: LibqbClient
) -> None:
    client.send(plain(RESPONSE))
    client.receive_response(SECONDS)
    connection = service.client().connection

    def flood() -> None:
        for number in range(300):
            connection.event(plain(EVENT, number.to_bytes(2, "big") + b"x" * 3000))
            connection.respond(plain(RESPONSE, number.to_bytes(2, "big") + b"x" * 3000))

    service.call(flood)
    for number in range(300):
        event = client.receive_event(SECONDS)
        assert event is not None
        assert event[32:34] == client.receive_response(SECONDS)[32:34] == number.to_bytes(2, "big")
    assert service.call(lambda: connection.backlog) == 0


def test_a_client_that_takes_nothing_is_evicted(serving: Serving, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bridle.net.libqb.outbox._SHORTEST_LONG_DELAY", 0.01)
    monkeypatch.setattr("bridle.net.libqb.outbox._LONGEST_DELAY", 0.02)
    service = serving(backlog=20)
    with opened(service) as lazy, opened(service) as diligent:
        lazy.send(plain(RESPONSE))
        lazy.receive_response(SECONDS)
        recorder = next(each for each in service.clients if each.messages)
        content = b"x" * 20_000
        service.call(lambda: [recorder.connection.event(plain(EVENT, content)) for _ in range(100)])
        assert poll(lambda: bool(recorder.lost), SECONDS)
        assert recorder.lost[0] is not None
        assert recorder.lost[0].errno == errno.ENOBUFS
        assert "evicted" in recorder.lost[0].text
        assert poll(lambda: not lazy.connected, SECONDS)
        exchange(diligent, 1, 20)


def test_a_backlog_of_too_many_bytes_evicts_at_once(
    serving: Serving, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bridle.net.libqb.outbox.BACKLOG_BYTES", 1_000_000)
    service = serving()
    with opened(service) as lazy:
        lazy.send(plain(RESPONSE))
        lazy.receive_response(SECONDS)
        recorder = service.client()
        service.call(
            lambda: [recorder.connection.respond(plain(RESPONSE, b"x" * 100_000)) for _ in range(60)]
        )
        assert recorder.lost
        service.call(recorder.connection.event, plain(EVENT))  # does nothing any more


# The end


def test_a_client_that_closes_is_noticed(service: ServiceThread, client: LibqbClient) -> None:
    client.send(plain(RESPONSE))
    client.receive_response(SECONDS)
    client.close()
    client.close()
    assert poll(lambda: service.client().lost == [None], SECONDS)
    assert not service.server.connections
    for call in (
        lambda: client.send(plain(RESPONSE)),
        lambda: client.receive_response(1),
        client.receive_event,
        client.fileno,
        client.try_receive_response,
    ):
        assert error_of(call) == errno.ENOTCONN
    assert not client.connected


def test_what_a_client_asked_for_before_it_closed_is_done(serving: Serving) -> None:
    service = serving(transport=Transport.SHM)
    with opened(service) as connection:
        sent = sum(connection.try_send(plain(NEITHER)) for _ in range(40))
    assert poll(lambda: service.client().lost == [None], SECONDS)
    assert len(service.client().messages) == sent


def test_a_request_with_the_id_of_disconnecting_ends_the_connection(
    service: ServiceThread, client: LibqbClient
) -> None:
    client.send(plain(RESPONSE, identity=DISCONNECT))
    assert poll(lambda: not client.connected, SECONDS)
    assert poll(lambda: service.client().lost == [None], SECONDS)
    assert service.client().messages == []


@pytest.mark.parametrize("graceful", [True, False])
def test_a_server_that_ends_the_connection_is_noticed_in_every_manner(
    service: ServiceThread, client: LibqbClient, graceful: bool
) -> None:
    client.send(plain(RESPONSE))
    client.receive_response(SECONDS)
    poller = select.poll()
    poller.register(client.fileno(), select.POLLIN)
    connection = service.client().connection
    service.loop.call_soon_threadsafe(connection.close if graceful else connection.abort)
    assert poller.poll(SOON * 1000), "libqb's clients watch this descriptor alone"
    assert error_of(lambda: client.receive_event(SECONDS)) == errno.ENOTCONN
    assert error_of(lambda: client.receive_response(SECONDS)) == errno.ENOTCONN
    assert error_of(lambda: client.send(plain(RESPONSE), SECONDS)) == errno.ENOTCONN
    assert not client.connected
    assert poll(lambda: service.client().lost == [None], SECONDS)


@pytest.mark.parametrize("wait", ["response", "event"])
def test_the_end_of_the_server_ends_the_waiting(
    service: ServiceThread, client: LibqbClient, wait: str
) -> None:
    timer = threading.Timer(0.1, lambda: service.call(service.client().connection.abort))
    timer.start()
    began = time.monotonic()
    call = client.receive_response if wait == "response" else client.receive_event
    assert error_of(lambda: call(30)) == errno.ENOTCONN
    assert time.monotonic() - began < 15
    timer.join()


@pytest.mark.parametrize("wait", ["response", "event"])
def test_closing_in_another_thread_ends_the_waiting(client: LibqbClient, wait: str) -> None:
    timer = threading.Timer(0.1, client.close)
    timer.start()
    began = time.monotonic()
    call = client.receive_response if wait == "response" else client.receive_event
    assert error_of(lambda: call(30)) == errno.ENOTCONN
    assert time.monotonic() - began < 15
    timer.join()


def test_what_was_sent_before_the_end_is_still_received(service: ServiceThread, client: LibqbClient) -> None:
    client.send(plain(RESPONSE))
    client.receive_response(SECONDS)
    connection = service.client().connection

    def speak_and_close() -> None:
        for number in range(60):
            connection.event(plain(EVENT, bytes([number]) * 4000))
        connection.respond(plain(RESPONSE, b"last"))
        connection.close(SECONDS)
        connection.event(plain(EVENT, b"too late"))

    service.call(speak_and_close)
    assert client.receive_response(SECONDS) == plain(RESPONSE, b"last")
    for number in range(60):
        assert client.receive_event(SECONDS) == plain(EVENT, bytes([number]) * 4000)
    assert error_of(lambda: client.receive_event(SECONDS)) == errno.ENOTCONN


def test_a_client_that_does_not_take_what_was_sent_is_not_waited_for_for_ever(
    service: ServiceThread, client: LibqbClient
) -> None:
    client.send(plain(RESPONSE))
    assert poll(lambda: bool(service.client().messages), SECONDS)
    service.loop.call_soon_threadsafe(service.client().connection.close, 0.05)
    assert poll(lambda: service.client().lost == [None], SECONDS)


def test_closing_the_server_ends_all_connections_and_frees_the_name(
    serving: Serving, short_path: Path
) -> None:
    service = serving()
    connections = [opened(service) for _ in range(3)]
    service.wait_for(service.server.close(0.1))
    assert all(error_of(lambda each=each: each.receive_event(SECONDS)) for each in connections)  # type: ignore[misc]
    assert error_of(lambda: opened(service)) == errno.ECONNREFUSED
    serving(name=service.name)
    for each in connections:
        each.close()


def test_neither_side_keeps_descriptors_or_memory(service: ServiceThread) -> None:
    def held() -> tuple[int, int]:
        maps = Path("/proc/self/maps").read_text()
        return len(list(Path("/proc/self/fd").iterdir())), maps.count("/qb-")

    with opened(service):
        pass
    assert poll(lambda: not service.server.connections, SECONDS)
    before = held()
    for _ in range(20):
        with opened(service) as connection:
            connection.send(plain(RESPONSE))
            connection.receive_response(SECONDS)
    assert poll(lambda: not service.server.connections, SECONDS)
    gc.collect()
    assert held() == before


# Refusals


def test_a_name_that_nobody_listens_under_is_refused(short_path: Path) -> None:
    places = private_places(short_path)
    assert error_of(lambda: connect(unique_name(), places=places)) == errno.ECONNREFUSED
    (short_path / "force").touch()
    assert error_of(lambda: connect(unique_name(), places=places)) == errno.ECONNREFUSED


@pytest.mark.parametrize("name", ["", "a\0b", "x" * 108])
def test_a_name_that_cannot_be_one_is_refused(name: str) -> None:
    with pytest.raises(EndpointError):
        connect(name)


@pytest.mark.parametrize("name", ["", "a/b", "a\0b", "x" * (NAME_LENGTH + 1)])
def test_a_service_cannot_have_every_name(name: str) -> None:
    async def make() -> None:
        with pytest.raises(EndpointError, match="no name"):
            LibqbServer(name, Echo)

    asyncio.run(make())


@pytest.mark.parametrize("code", [errno.EACCES, errno.EAGAIN, errno.EPERM, errno.EIO])
def test_the_servers_refusal_is_passed_on(serving: Serving, code: int) -> None:
    service = serving(admit=lambda _: code)
    assert error_of(lambda: opened(service)) == code


def test_a_server_that_is_not_trusted_is_refused_by_the_client(service: ServiceThread) -> None:
    with pytest.raises(LibqbError, match="not trusted") as caught:
        opened(service, trusted=lambda server: server.uid != os.getuid())
    assert caught.value.errno == errno.ECONNABORTED
    assert caught.value.symbol == "ECONNABORTED"
    assert poll(lambda: not service.server.connections, SECONDS)


def test_one_client_too_many_is_told_to_try_again(serving: Serving) -> None:
    service = serving(connection_limit=2)
    with opened(service), opened(service):
        assert error_of(lambda: opened(service)) == errno.EAGAIN
    assert poll(lambda: not service.server.connections, SECONDS)
    opened(service).close()
    assert CONNECTION_LIMIT == 256


def test_a_client_that_wants_too_large_messages_is_refused(service: ServiceThread) -> None:
    assert error_of(lambda: opened(service, max_message=MESSAGE_LIMIT + 1)) == errno.EMSGSIZE


def test_a_server_without_room_for_files_refuses_with_the_reason(serving: Serving, short_path: Path) -> None:
    gone = str(short_path / "gone")
    service = serving(places=Places(gone, str(short_path), str(short_path / "force")))
    assert error_of(lambda: opened(service)) == errno.ENOENT


def test_a_name_is_given_once(service: ServiceThread, serving: Serving) -> None:
    with pytest.raises(EndpointError, match="in use"):
        serving(name=service.name)


def test_a_server_that_is_silent_is_not_waited_for_for_ever() -> None:
    name = unique_name()
    with socket.socket(socket.AF_UNIX) as silent:
        silent.bind(abstract(name))
        silent.listen(1)
        with pytest.raises(LibqbTimeout, match="did not answer"):
            connect(name, timeout=0.1)
        with socket.socket(socket.AF_UNIX) as other:
            other.connect(abstract(name))
            with pytest.raises(LibqbTimeout, match=r"did not answer|takes no connections"):
                connect(name, timeout=0.1)


@pytest.mark.parametrize("answer", [b"", b"x" * 100, bytes(12328)])
def test_a_server_that_answers_something_else_is_refused(answer: bytes) -> None:
    name = unique_name()

    def serve(listening: socket.socket) -> None:
        with listening.accept()[0] as sock:
            sock.recv(REQUEST_BYTES)
            sock.send(answer)

    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(abstract(name))
        listening.listen(1)
        thread = threading.Thread(target=serve, args=(listening,))
        thread.start()
        expected = errno.EBADMSG if len(answer) == 12328 else errno.ENOTCONN
        assert error_of(lambda: connect(name, trusted=ANYBODY)) == expected
        thread.join()


# Handshakes


def knocking(service: ServiceThread) -> socket.socket:
    sock = socket.socket(socket.AF_UNIX)
    sock.settimeout(SECONDS)
    sock.connect(abstract(service.name))
    return sock


def test_a_handshake_may_come_in_pieces(service: ServiceThread) -> None:
    with knocking(service) as sock:
        for byte in encode_request(DEFAULT_MESSAGE):
            sock.send(bytes([byte]))
            time.sleep(0.001)
        answer = b""
        while len(answer) < 12328:
            answer += sock.recv(12328)
        assert decode_response(answer).error == 0


@pytest.mark.parametrize("words", [b"\xff" * 24, b"GET / HTTP/1.1\r\nHost: nobody\r\n\r\n", b"short"])
def test_a_client_that_says_something_else_is_dropped(service: ServiceThread, words: bytes) -> None:
    with knocking(service) as sock:
        sock.send(words)
        sock.shutdown(socket.SHUT_WR)
        try:
            assert sock.recv(10) == b""
        except ConnectionResetError:  # not all that was sent was read
            pass
    opened(service).close()


def test_a_client_that_says_nothing_is_dropped_after_a_while(
    serving: Serving, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server_module, "HANDSHAKE_TIMEOUT", 0.05)
    service = serving()
    with knocking(service) as sock:
        assert sock.recv(10) == b""


def test_those_who_say_nothing_do_not_keep_others_out(
    serving: Serving, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server_module, "STRANGERS", 2)
    strangers = threading.Event()
    service = serving(admit=lambda _: errno.EACCES if strangers.is_set() else 0)
    strangers.set()
    knocked = [knocking(service) for _ in range(5)]
    assert poll(lambda: len(service.server._arrivals) == 2, SECONDS)
    assert sum(sock.recv(1) == b"" for sock in knocked[2:]) == 3
    strangers.clear()
    opened(service).close()
    for sock in knocked:
        sock.close()


def test_only_so_many_may_be_about_to_ask(serving: Serving, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server_module, "ARRIVALS", 2)
    service = serving()
    knocked = [knocking(service) for _ in range(4)]
    assert [sock.recv(1) for sock in knocked[2:]] == [b"", b""]
    for sock in knocked:
        sock.close()
    assert poll(lambda: not service.server._arrivals, SECONDS)
    opened(service).close()


# A service that fails


def test_a_service_that_fails_costs_its_client_the_connection(
    serving: Serving, caplog: pytest.LogCaptureFixture
) -> None:
    lost: list[LibqbError | None] = []

    class Failing(Echo):
        def request_received(self, message: bytes) -> None:
            if message[32:]:
                raise ZeroDivisionError("a fault")
            super().request_received(message)

        def connection_lost(self, error: LibqbError | None) -> None:
            lost.append(error)

    service = serving(serve=Failing)
    with opened(service) as one, opened(service) as other:
        one.send(plain(RESPONSE, b"x"))
        assert error_of(lambda: one.receive_response(SECONDS)) == errno.ENOTCONN
        assert poll(lambda: bool(lost), SECONDS)
        assert lost[0] is not None
        assert lost[0].errno == errno.EIO
        other.send(plain(RESPONSE))
        assert other.receive_response(SECONDS) == plain(RESPONSE)
    assert "a fault" in caplog.text


def test_a_service_that_fails_at_the_end_does_not_keep_the_server_from_ending(
    serving: Serving, caplog: pytest.LogCaptureFixture
) -> None:
    class Failing(Echo):
        def connection_lost(self, error: LibqbError | None) -> None:
            raise ZeroDivisionError("no end")

    service = serving(serve=Failing)
    with opened(service), opened(service):
        service.wait_for(service.server.close(0))
    assert not service.server.connections
    assert "no end" in caplog.text


def test_a_service_that_cannot_begin_costs_its_client_the_connection(
    serving: Serving, caplog: pytest.LogCaptureFixture
) -> None:
    def serve(_: ServerConnection) -> Echo:
        raise ZeroDivisionError("no beginning")

    service = serving(serve=serve)
    with pytest.raises(LibqbError), opened(service) as connection:
        connection.receive_response(SECONDS)
    assert poll(lambda: "no beginning" in caplog.text, SECONDS)


def test_a_policy_that_fails_refuses(serving: Serving, caplog: pytest.LogCaptureFixture) -> None:
    asked: list[int] = []

    def admit(_: object) -> int:
        asked.append(1)
        raise ZeroDivisionError("no policy")

    service = serving(admit=admit)
    assert error_of(lambda: opened(service)) == errno.EIO
    assert asked
    assert "no policy" in caplog.text


def test_a_service_may_end_the_connection_before_it_begins(serving: Serving) -> None:
    lost: list[LibqbError | None] = []

    class Unwilling(Echo):
        def __init__(self, connection: ServerConnection) -> None:
            super().__init__(connection)
            connection.abort()

        def connection_lost(self, error: LibqbError | None) -> None:
            lost.append(error)

    service = serving(serve=Unwilling)
    with pytest.raises(LibqbError), opened(service) as connection:
        connection.receive_response(SECONDS)
    assert poll(lambda: lost == [None], SECONDS)


def test_a_service_may_speak_first(serving: Serving, transport: Transport) -> None:
    class Greeting(Echo):
        def __init__(self, connection: ServerConnection) -> None:
            super().__init__(connection)
            connection.event(plain(EVENT, b"hello"))

    with opened(serving(serve=Greeting)) as connection:
        if transport is Transport.SOCKET:  # who it is shows in its first request
            assert connection.receive_event(0.05) is None
            connection.send(plain(NEITHER))
        assert connection.receive_event(SECONDS) == plain(EVENT, b"hello")


# Sockets that are files


def test_a_service_is_a_file_where_that_is_wanted(serving: Serving, short_path: Path) -> None:
    force = short_path / "force"
    force.touch()
    service = serving()
    path = short_path / service.name
    assert path.stat().st_mode & 0o777 == 0o777
    with opened(service) as connection:
        exchange(connection, 1, 50)
    service.wait_for(service.server.close())
    assert not path.exists()
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(path))
    again = serving(name=service.name)
    opened(again).close()
    with pytest.raises(EndpointError, match="in use"):
        serving(name=service.name)
    force.unlink()
