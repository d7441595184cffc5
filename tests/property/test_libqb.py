"""Any bytes in the rings and sockets of a connection: an error for that connection, and for nobody else."""

from __future__ import annotations

import errno
import os
import socket
import struct
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bridle.net.libqb.client import LibqbClient, connect
from bridle.net.libqb.datagrams import CLIENT_EVENT, CLIENT_RESPONSE, SERVER_EVENT, SERVER_REQUEST
from bridle.net.libqb.errors import LibqbError
from bridle.net.libqb.places import abstract
from bridle.net.libqb.ring import RingReader, RingWriter
from bridle.net.libqb.trust import FileRights
from bridle.wire.libqb import (
    REQUEST_BYTES,
    SMALLEST_MESSAGE,
    Channel,
    ConnectionResponse,
    Transport,
    decode_response,
    encode_request,
    encode_response,
)
from tests.support.libqb import (
    ANYBODY,
    SECONDS,
    TRANSPORTS,
    ServiceThread,
    plain,
    private_places,
    unique_name,
)
from tests.support.programs import poll, short_directory

EXAMPLES = 40
BROKEN = {errno.EBADMSG, errno.ENOTCONN, errno.EMSGSIZE, errno.ETIMEDOUT, errno.EAGAIN}

# Where in a ring's files somebody writes, and what.
scribbles = st.lists(
    st.tuples(
        st.sampled_from(list(Channel)),
        st.sampled_from(["-header", "-data"]),
        st.sampled_from([0, 4, 8, 12, 100, 4108, 8204, 8208, 8212, 8216, 8240]),
        st.binary(min_size=1, max_size=40)
        | st.integers(0, 2**32 - 1).map(lambda n: struct.pack("=I", n))
        | st.just(b"\xff" * 4),
    ),
    max_size=6,
)


@pytest.fixture(scope="module")
def in_memory() -> Iterator[ServiceThread]:
    with short_directory() as directory, ServiceThread(directory, Transport.SHM) as service:
        yield service


@pytest.fixture(scope="module")
def on_sockets() -> Iterator[ServiceThread]:
    with short_directory() as directory, ServiceThread(directory, Transport.SOCKET) as service:
        yield service


def opened(service: ServiceThread) -> LibqbClient:
    return connect(service.name, places=service.places, trusted=ANYBODY)


def is_alive(service: ServiceThread) -> None:
    """Somebody else is served as before, and nothing is left of those who were not."""
    with opened(service) as client:
        client.send(plain(2), SECONDS)
        assert client.receive_response(SECONDS) == client.receive_event(SECONDS) == plain(2)
    assert poll(lambda: not service.server.connections, SECONDS)
    assert not list(Path(service.places.memory).iterdir())


def scribble(files: dict[str, Path], channel: Channel, end: str, at: int, data: bytes) -> None:
    """Write into a ring's file, as long as it is."""
    found = [path for name, path in files.items() if channel.value in name and name.endswith(end)]
    for path in found:
        with suppress(FileNotFoundError), path.open("r+b") as file:
            file.seek(at)
            file.write(data[: path.stat().st_size - at])


@contextmanager
def raw(service: ServiceThread) -> Iterator[tuple[socket.socket, ConnectionResponse]]:
    """A client's handshake, and no client."""
    with socket.socket(socket.AF_UNIX) as setup:
        setup.settimeout(SECONDS)
        setup.connect(abstract(service.name))
        setup.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        setup.send(encode_request(SMALLEST_MESSAGE))
        data = b""
        while len(data) < 12328:
            data += setup.recv(12328 - len(data))
        yield setup, decode_response(data)


# The server


@given(st.lists(st.binary(min_size=1, max_size=REQUEST_BYTES + 3), max_size=4))
@settings(max_examples=EXAMPLES, deadline=None)
def test_any_bytes_for_a_handshake_are_refused(in_memory: ServiceThread, pieces: list[bytes]) -> None:
    service = in_memory
    with socket.socket(socket.AF_UNIX) as setup:
        setup.settimeout(SECONDS)
        setup.connect(abstract(service.name))
        with suppress(OSError):
            for piece in pieces:
                setup.send(piece)
            setup.shutdown(socket.SHUT_WR)
            while setup.recv(65536):
                pass
    is_alive(service)


@given(scribbles, st.binary(max_size=20))
@settings(max_examples=EXAMPLES, deadline=None)
def test_any_bytes_in_a_clients_rings_cost_it_its_connection_at_most(
    in_memory: ServiceThread, writes: list[tuple[Channel, str, int, bytes]], wakes: bytes
) -> None:
    service = in_memory
    with raw(service) as (setup, response):
        directory = Path(response.request).parent
        files = {path.name: path for path in directory.iterdir()}
        requests = RingWriter.open(Channel.REQUEST, response.request)
        for _ in range(3):
            requests.put(plain(2, b"x" * 50))
        for write in writes:
            scribble(files, *write)
        with suppress(OSError):
            setup.send(b"\0" + wakes)
        requests.close()
        with suppress(OSError):
            setup.settimeout(0.01)
            setup.recv(100)
    is_alive(service)


@given(
    st.lists(
        st.binary(max_size=60) | st.binary(max_size=30).map(lambda content: plain(2, content)), max_size=6
    )
)
@settings(max_examples=EXAMPLES, deadline=None)
def test_any_datagrams_of_a_client_cost_it_its_connection_at_most(
    on_sockets: ServiceThread, datagrams: list[bytes]
) -> None:
    service = on_sockets
    with raw(service) as (setup, response), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        base = response.response
        sock.bind(abstract(base + CLIENT_RESPONSE))
        with suppress(OSError):
            for data in datagrams:
                sock.sendto(data, abstract(base + SERVER_REQUEST))
                sock.sendto(data, abstract(base + SERVER_EVENT))
            setup.send(b"".join(datagrams))
    is_alive(service)


STRANGER = """
import os, socket, sys
os.setresgid(65534, 65534, 65534)
os.setresuid(65534, 65534, 65534)
name, server, data = sys.argv[1:]
sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
sock.bind(b"\\0" + name.encode().ljust(107, b"\\0"))
for _ in range(5):
    sock.sendto(bytes.fromhex(data), b"\\0" + server.encode().ljust(107, b"\\0"))
"""
"""Nobody, who takes a client's name and commands in its place."""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be somebody else")
def test_datagrams_of_strangers_are_dropped(on_sockets: ServiceThread) -> None:
    service = on_sockets
    before = len(service.clients)
    with raw(service) as (_, response):
        base = response.response
        argv = [sys.executable, "-c", STRANGER, base + CLIENT_RESPONSE, base + SERVER_REQUEST, plain(2).hex()]
        subprocess.run(argv, timeout=SECONDS, check=True)
        assert poll(lambda: len(service.clients) == before + 1, SECONDS)
        with opened(service) as other:
            other.send(plain(0))
            other.receive_response(SECONDS)
        assert service.clients[before].messages == []
        with (
            socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as client,
            socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as events,
        ):
            client.bind(abstract(base + CLIENT_RESPONSE))
            events.bind(abstract(base + CLIENT_EVENT))
            client.settimeout(SECONDS)
            client.sendto(plain(0), abstract(base + SERVER_REQUEST))
            assert client.recv(1000) == plain(0)
    is_alive(service)


# The client


class FakeServer:
    """Answers one handshake, and has whatever it promises lie there."""

    def __init__(self, directory: Path, response: ConnectionResponse | None, extra: bytes = b"") -> None:
        self.name = unique_name()
        self.places = private_places(directory)
        self._answer = encode_response(response) if response is not None else b""
        self._extra = extra
        self._listening = socket.socket(socket.AF_UNIX)
        self._listening.bind(abstract(self.name))
        self._listening.listen(1)
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def _serve(self) -> None:
        with self._listening.accept()[0] as sock:
            sock.recv(REQUEST_BYTES)
            sock.send(self._answer)
            with suppress(OSError):
                sock.send(self._extra)
            self._done.wait(SECONDS)

    def close(self) -> None:
        """End it."""
        self._done.set()
        self._thread.join()
        self._listening.close()


def use(server: FakeServer) -> set[int]:
    """Try everything that a client can do, and give the errors."""
    errors = set[int]()
    try:
        client = connect(server.name, places=server.places, trusted=ANYBODY)
    except LibqbError as error:
        return {error.errno}
    with client:
        for call in (
            lambda: client.send(plain(0), 0.005),
            lambda: client.receive_response(0.005),
            lambda: client.receive_event(0.005),
            client.receive_event,
            client.try_receive_response,
        ):
            try:
                call()
            except LibqbError as error:
                errors.add(error.errno)
    return errors


@given(scribbles, st.booleans(), st.binary(max_size=100))
@settings(max_examples=EXAMPLES, deadline=None)
def test_any_bytes_in_a_servers_rings_are_an_error_of_its_client(
    writes: list[tuple[Channel, str, int, bytes]], before: bool, extra: bytes
) -> None:
    with short_directory() as directory:
        bases = {channel: str(directory / f"qb-{channel.value}-x") for channel in Channel}
        response = ConnectionResponse(
            0,
            Transport.SHM,
            SMALLEST_MESSAGE,
            bases[Channel.REQUEST],
            bases[Channel.RESPONSE],
            bases[Channel.EVENT],
        )
        rings = [
            RingReader.create(Channel.REQUEST, bases[Channel.REQUEST], SMALLEST_MESSAGE, FileRights()),
            RingWriter.create(Channel.RESPONSE, bases[Channel.RESPONSE], SMALLEST_MESSAGE, FileRights()),
            RingWriter.create(Channel.EVENT, bases[Channel.EVENT], SMALLEST_MESSAGE, FileRights()),
        ]
        for ring in rings[1:]:
            assert isinstance(ring, RingWriter)
            ring.put(plain(1, b"x" * 20))
        for ring in rings:
            ring.close()
        for base in bases.values():  # which closing has counted down
            with Path(base + "-header").open("r+b") as file:
                file.seek(8204)
                file.write(struct.pack("=i", 1))
        files = {path.name: path for path in directory.iterdir()}
        for write in writes:
            scribble(files, *write)
        server = FakeServer(directory, response, extra)
        assert use(server) <= BROKEN
        server.close()


@given(
    st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=200),
    st.sampled_from(["", "/etc/passwd", "/dev/zero", "/proc/self/mem", "/"]),
    st.sampled_from(TRANSPORTS),
)
@settings(max_examples=EXAMPLES, deadline=None)
def test_any_names_that_a_server_gives_are_an_error_of_its_client(
    name: str, path: str, transport: Transport
) -> None:
    with short_directory() as directory:
        words = [word or name for word in (path, name, path)]
        response = ConnectionResponse(0, transport, SMALLEST_MESSAGE, *words)
        server = FakeServer(directory, response)
        assert use(server), "it cannot be used"
        server.close()


@given(st.lists(st.binary(max_size=60), max_size=5), st.binary(max_size=30))
@settings(max_examples=EXAMPLES, deadline=None)
def test_any_datagrams_of_a_server_are_an_error_of_its_client(datagrams: list[bytes], extra: bytes) -> None:
    with short_directory() as directory:
        base, control = str(directory / "qb-x"), directory / "qb-control-x"
        control.write_bytes(extra[:24].ljust(24, b"\0"))
        response = ConnectionResponse(0, Transport.SOCKET, SMALLEST_MESSAGE, str(control), base)
        with (
            socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as requests,
            socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as events,
        ):
            requests.bind(abstract(base + SERVER_REQUEST))
            events.bind(abstract(base + SERVER_EVENT))
            server = FakeServer(directory, response, extra)
            client = connect(server.name, places=server.places, trusted=ANYBODY)
            errors = set[int]()
            with client:
                for data in datagrams:
                    requests.sendto(data, abstract(base + CLIENT_RESPONSE))
                    events.sendto(data, abstract(base + CLIENT_EVENT))
                for _ in range(len(datagrams) + 1):
                    for call in (client.try_receive_response, client.receive_event):
                        try:
                            call()
                        except LibqbError as error:
                            errors.add(error.errno)
            assert errors <= BROKEN
            server.close()
