"""TLS on streams: whom a listener lets in, for whom it takes a client, how certificates are renewed."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import socket
import ssl
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

import bridle
from bridle import CommandManager, EndpointError, Peer, Server
from bridle.net.secure import HANDSHAKE_TIMEOUT, HANDSHAKES
from bridle.net.stream import TURN
from bridle.testing import elapsed
from tests.support.bridle import BridleProgram
from tests.support.certificates import Certificates
from tests.support.loops import on_every_loop, on_virtual_clock
from tests.support.programs import poll
from tests.support.streams import turns

PLACES = (
    "tcp:127.0.0.1:0",
    "tcp:[::1]:0",
    "binrpc+tcp:127.0.0.1:0",
    "bngblaster+unix:{}/b",
    "unix:{}/s",
    "bngblaster+tcp:127.0.0.1:0",
)


@pytest.fixture
def site(short_path: Path) -> Certificates:
    return Certificates(short_path)


@pytest.fixture
def seen() -> list[Peer]:
    return []


@pytest.fixture
def manager(seen: list[Peer]) -> CommandManager:
    manager = CommandManager()

    def who(peer: Peer) -> str:
        seen.append(peer)
        return "known"

    async def wait(seconds: float) -> str:
        await asyncio.sleep(seconds)
        return "waited"

    def large(size: int) -> str:
        return "x" * size

    for name, handler in (("who", who), ("wait", wait), ("large", large)):
        manager.register_command(name, handler)
    return manager


@contextlib.asynccontextmanager
async def listening(manager: CommandManager, endpoint: str) -> AsyncIterator[Server]:
    server = Server(manager)
    try:
        await server.listen(endpoint)
        yield server
    finally:
        await server.close(1)


def blocking(endpoint: bridle.Endpoint, tls: ssl.SSLContext | None, count: int = 1) -> list[object]:
    with bridle.connect(endpoint, tls=tls) as client:
        return [client.call("who") for _ in range(count)]


@pytest.mark.parametrize("place", PLACES)
@on_every_loop
async def test_a_client_with_a_certificate_is_let_in_and_known(
    site: Certificates, manager: CommandManager, seen: list[Peer], place: str
) -> None:
    async with listening(manager, place.format(site.folder) + site.options()) as server:
        endpoint = server.channels[0].endpoint
        async with bridle.connect_async(endpoint, tls=site.client()) as client:
            for _ in range(3):
                assert await client.call("who") == "known"
        assert await asyncio.to_thread(blocking, endpoint, site.client(), 3) == ["known"] * 3
    assert {peer.tls_subject for peer in seen} == {"operator"}
    assert len(seen) == 6
    assert seen[0].uid == (os.getuid() if "unix" in place else None)


@pytest.mark.parametrize("place", PLACES)
@on_every_loop
async def test_who_shows_no_certificate_or_a_strangers_is_kept_out(
    site: Certificates, manager: CommandManager, seen: list[Peer], place: str
) -> None:
    async with listening(manager, place.format(site.folder) + site.options()) as server:
        endpoint = server.channels[0].endpoint
        for tls in (site.client(""), site.client("stranger"), None):
            plain = bridle.Endpoint.parse(str(endpoint))
            async with bridle.connect_async(plain, tls=tls, timeout=5) as client:
                with pytest.raises(bridle.BridleError):
                    await client.call("who")
    assert seen == []


@on_every_loop
async def test_a_certificate_may_be_left_out_where_none_is_required(
    site: Certificates, manager: CommandManager, seen: list[Peer]
) -> None:
    place = "tcp:127.0.0.1:0" + site.options("cert-required=no")
    async with listening(manager, place) as server:
        endpoint = server.channels[0].endpoint
        for name, subject in (("", None), ("client", "operator")):
            async with bridle.connect_async(endpoint, tls=site.client(name)) as client:
                await client.call("who")
            assert seen[-1].tls_subject == subject
        async with bridle.connect_async(endpoint, tls=site.client("stranger")) as client:
            with pytest.raises(bridle.TransportError):
                await client.call("who")


@on_every_loop
async def test_an_endpoint_names_a_clients_files_itself(site: Certificates, manager: CommandManager) -> None:
    folder = site.folder
    async with listening(manager, "binrpc+tcp:127.0.0.1:0" + site.options()) as server:
        port = server.channels[0].endpoint.port
        files = f"ca={folder}/ca.pem&cert={folder}/client.pem&key={folder}/client.pem"
        for name in ("", "&server-name=localhost"):
            async with bridle.connect_async(f"binrpc+tcp:127.0.0.1:{port}?{files}{name}") as client:
                assert await client.call("who") == "known"
        async with bridle.connect_async(
            f"binrpc+tcp:127.0.0.1:{port}?{files}&server-name=x.example"
        ) as client:
            with pytest.raises(bridle.TransportError):
                await client.call("who")


@on_every_loop
async def test_large_answers_and_many_commands_go_over_tls(
    site: Certificates, manager: CommandManager
) -> None:
    async with listening(manager, "tcp:127.0.0.1:0" + site.options()) as server:
        endpoint = server.channels[0].endpoint
        async with bridle.connect_async(endpoint, tls=site.client()) as client:
            assert await client.call("large", [3_000_000]) == "x" * 3_000_000
            answers = await client.execute_many([("large", [n]) for n in range(300)])
            assert [len(str(answer.value)) for answer in answers] == list(range(300))
            assert await client.call("wait", [0.01]) == "waited"

        def many() -> list[int]:
            with bridle.connect(endpoint, tls=site.client()) as client:
                calls: list[tuple[str, bridle.JSON]] = [("large", [n]) for n in range(50)]
                return [len(str(answer.value)) for answer in client.execute_many(calls)]

        assert await asyncio.to_thread(many) == list(range(50))


@on_virtual_clock
async def test_a_handshake_has_a_deadline(site: Certificates, manager: CommandManager) -> None:
    async with listening(manager, "tcp:127.0.0.1:0" + site.options()) as server:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.channels[0].endpoint.port)
        began = elapsed()
        with contextlib.suppress(ConnectionResetError):
            assert await reader.read() == b""
        assert elapsed() - began == pytest.approx(HANDSHAKE_TIMEOUT, abs=0.5)
        writer.close()


@on_every_loop
async def test_those_who_never_shake_hands_keep_nobody_out(
    site: Certificates, manager: CommandManager
) -> None:
    async with listening(manager, "tcp:127.0.0.1:0" + site.options()) as server:
        endpoint = server.channels[0].endpoint
        idle = [socket.create_connection(("127.0.0.1", endpoint.port)) for _ in range(HANDSHAKES + 20)]
        try:
            await turns()
            async with bridle.connect_async(endpoint, tls=site.client()) as client:
                assert await client.call("who") == "known"
        finally:
            for sock in idle:
                sock.close()


@on_every_loop
async def test_certificates_are_renewed_while_connections_go_on(
    site: Certificates, manager: CommandManager, caplog: pytest.LogCaptureFixture
) -> None:
    def shown() -> bytes | None:
        address = ("127.0.0.1", server.channels[0].endpoint.port)
        with (
            socket.create_connection(address, timeout=5) as plain,
            site.client().wrap_socket(plain, server_hostname="127.0.0.1") as secured,
        ):
            return secured.getpeercert(binary_form=True)

    async with contextlib.AsyncExitStack() as stack:
        place = "binrpc+tcp:127.0.0.1:0" + site.options()
        server = await stack.enter_async_context(listening(manager, place))
        connecting = bridle.connect_async(server.channels[0].endpoint, tls=site.client())
        async with connecting as client:
            assert await client.call("who") == "known"
            before = await asyncio.to_thread(shown)
            site.issue("server", "127.0.0.1")
            assert await asyncio.to_thread(shown) == before
            server.renew_certificates()
            renewed = await asyncio.to_thread(shown)
            assert renewed != before
            (site.folder / "server.pem").write_text("nonsense")
            with caplog.at_level(logging.ERROR):
                server.renew_certificates()
            assert "goes on with its old certificates: load of cert file" in caplog.text
            assert await asyncio.to_thread(shown) == renewed
            assert await client.call("who") == "known"


def test_sighup_renews_the_certificates_of_endpoints(short_path: Path) -> None:
    site = Certificates(short_path)
    path = short_path / "s"
    endpoint = f"unix:{path}"
    words = ["run", "tests.support.kettle:Kettle", endpoint + site.options(), f"unix:{short_path}/plain"]

    def shown() -> bytes | None:
        with socket.socket(socket.AF_UNIX) as plain:
            plain.connect(str(path))
            plain.settimeout(5)
            with site.client().wrap_socket(plain, server_hostname="localhost") as secured:
                return secured.getpeercert(binary_form=True)

    program = BridleProgram(words, short_path, name="kettle")
    program.ready = lambda: program.stderr.count("listening on") == 2  # type: ignore[method-assign]
    with program:
        before = shown()
        site.issue("server", "localhost")
        os.kill(program.pid, signal.SIGHUP)
        assert poll(lambda: shown() != before)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ("cert={0}/server.pem", "TLS needs cert and ca"),
        ("ca={0}/ca.pem", "TLS needs cert and ca"),
        ("cert=/none&ca={0}/ca.pem", "load of cert file '/none' failed"),
        ("cert={0}/server.pem&ca=/none", "load of CA file '/none' failed"),
        ("cert={0}/server.pem&ca={0}/ca.pem&cert-required=maybe", "cert-required is yes or no, not 'maybe'"),
        ("cert={0}/open.pem&ca={0}/ca.pem", "others can read it (mode 0644)"),
    ],
)
@on_every_loop
async def test_what_cannot_be_used_is_refused_and_named(
    site: Certificates, manager: CommandManager, options: str, text: str
) -> None:
    (site.folder / "open.pem").write_bytes((site.folder / "server.pem").read_bytes())
    (site.folder / "open.pem").chmod(0o644)
    server = Server(manager)
    with pytest.raises(EndpointError, match=r"^endpoint 'tcp:127.0.0.1:0': ") as caught:
        await server.listen(f"tcp:127.0.0.1:0?{options.format(site.folder)}")
    assert text in str(caught.value)
    await server.close(0)


@on_every_loop
async def test_datagrams_and_fifos_speak_no_tls(site: Certificates, manager: CommandManager) -> None:
    server = Server(manager)
    for place in ("binrpc+udp:127.0.0.1:0", f"binrpc+unixd:{site.folder}/d", f"fifo:{site.folder}/f"):
        with pytest.raises(EndpointError, match="unknown option 'c"):
            await server.listen(place + site.options())
    await server.close(0)


@on_every_loop
async def test_https_takes_its_files_from_the_endpoint_too(
    site: Certificates, manager: CommandManager
) -> None:
    async with listening(manager, "https://127.0.0.1:0/" + site.options()) as server:
        endpoint = server.channels[0].endpoint
        async with bridle.connect_async(endpoint, tls=site.client()) as client:
            assert await client.call("who") == "known"
        plain = bridle.Endpoint.parse(f"{endpoint}?ca={site.folder}/ca.pem&cert={site.folder}/client.pem")
        async with bridle.connect_async(plain) as client:
            assert await client.call("who") == "known"


@on_every_loop
async def test_answers_in_flight_are_delivered_when_the_server_ends(
    site: Certificates, manager: CommandManager
) -> None:
    server = Server(manager)
    channel = await server.listen("binrpc+tcp:127.0.0.1:0" + site.options())
    async with bridle.connect_async(channel.endpoint, tls=site.client()) as client:
        answer = asyncio.create_task(client.call("wait", [0.2]))
        await asyncio.sleep(0.1)
        await server.close(5)
        assert await answer == "waited"


# Who says everything at once


def all_at_once(address: tuple[str, int], tls: ssl.SSLContext, data: bytes) -> int:
    """Send something and the end of TLS in one go; the bytes that come back, still encrypted."""
    received, sent = ssl.MemoryBIO(), ssl.MemoryBIO()
    session = tls.wrap_bio(received, sent, server_hostname=address[0])
    with socket.create_connection(address, timeout=10) as sock:
        while session.version() is None or not session.getpeercert():
            try:
                session.do_handshake()
            except ssl.SSLWantReadError:
                sock.sendall(sent.read())
                received.write(sock.recv(65536))
        session.write(data)
        with contextlib.suppress(ssl.SSLWantReadError):
            session.unwrap()
        sock.sendall(sent.read())
        count = 0
        while piece := sock.recv(65536):
            count += len(piece)
        return count


KEPT = b"//keep-alive\n"
WHO = b'{ "command": "who" }'
POST = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: 20\r\n\r\n" + WHO


@pytest.mark.parametrize(
    ("place", "before", "each", "answer"),
    [
        ("tcp:127.0.0.1:0", KEPT, WHO, b'{ "arguments": "known", "result": 0 }\n'),
        (
            "https://127.0.0.1:0",
            b"",
            POST,
            b'HTTP/1.1 200 OK\r\n\r\n[ { "arguments": "known", "result": 0 } ]',
        ),
    ],
    ids=["stream", "http"],
)
@on_every_loop
async def test_what_waits_for_its_turn_is_answered_before_tls_ends(
    manager: CommandManager,
    site: Certificates,
    seen: list[Peer],
    place: str,
    before: bytes,
    each: bytes,
    answer: bytes,
) -> None:
    count = 3 * TURN
    async with listening(manager, place + site.options()) as server:
        (channel,) = server.channels
        address = ("127.0.0.1", channel.endpoint.port)
        came = await asyncio.to_thread(all_at_once, address, site.client(), before + each * count)
    assert len(seen) == count
    assert came > count * len(answer)
