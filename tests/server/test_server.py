"""A command manager on channels: how they open, what a command's peer is there, how they end."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import socket
import stat
import weakref
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trustme

import bridle
from bridle import CommandManager, EndpointError, Peer, Server
from bridle.access.tls import client_context, server_context
from bridle.server import GRACE, Channel, HttpSettings
from bridle.server.server import RETIRED_WAIT
from bridle.testing import elapsed
from tests.support.loops import on_every_loop, on_virtual_clock
from tests.support.streams import KEEP, Commands, Visitor, turns

HELLO = b'{ "command": "say", "arguments": { "value": "hello" } }'
ANSWER = b'{ "arguments": "hello", "result": 0 }'
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root may give files away")


@pytest.fixture
def path(short_path: Path) -> Path:
    return short_path / "control"


@pytest.fixture
def commands() -> Commands:
    return Commands()


@asynccontextmanager
async def serving(
    manager: CommandManager, *endpoints: str, settings: HttpSettings | None = None
) -> AsyncIterator[Server]:
    """A server with these channels, closed in the end."""
    server = Server(manager)
    try:
        for endpoint in endpoints:
            await server.listen(endpoint, settings)
        yield server
    finally:
        await server.close(1)


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


async def ask(path: Path, command: bytes = HELLO) -> bytes:
    async with await Visitor.to(path) as visitor:
        return await visitor.ask(command)


async def call(channel: Channel, name: str, arguments: bridle.JSON = None) -> bridle.JSON:
    async with bridle.connect_async(channel.endpoint) as client:
        return await client.call(name, arguments)


# Unix channels


@on_every_loop
async def test_a_unix_channel_answers_on_its_path_and_leaves_nothing(path: Path, commands: Commands) -> None:
    async with serving(commands, f"unix:{path}") as server:
        assert [str(channel.endpoint) for channel in server.channels] == [f"unix:{path}"]
        assert await ask(path) == ANSWER
    assert list(path.parent.iterdir()) == []
    assert server.channels == ()


@pytest.mark.parametrize(
    ("options", "mode"),
    [
        ("", 0o660),
        ("?mode=0600", 0o600),
        ("?mode=0o640", 0o640),
        ("?mode=666&allow-world-writable=yes", 0o666),
    ],
)
@on_every_loop
async def test_the_rights_of_a_unix_channel_are_those_of_its_options(
    path: Path, commands: Commands, options: str, mode: int
) -> None:
    async with serving(commands, f"unix:{path}{options}"):
        assert mode_of(path) == mode


@needs_root
@on_every_loop
async def test_a_unix_channel_is_given_to_the_owner_and_group_of_its_options(
    path: Path, commands: Commands
) -> None:
    async with serving(commands, f"unix:{path}?owner=12345&group=54321&mode=0600"):
        status = path.stat()
        assert (status.st_uid, status.st_gid) == (12345, 54321)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ("mode=rw", "mode 'rw' is not octal, as 0660 is"),
        ("mode=", "mode '' is not octal, as 0660 is"),
        ("mode=0888", "mode '0888' is not octal, as 0660 is"),
        ("mode=1777", "must be within 0777"),
        ("mode=-600", "must be within 0777"),
        ("owner=nobody-knows", "unknown user 'nobody-knows'"),
        ("group=nobody-knows", "unknown group 'nobody-knows'"),
        (
            "moed=0600",
            "unknown option 'moed'; known are allow-readable-secrets, allow-world-",
        ),
    ],
)
@on_every_loop
async def test_an_option_that_cannot_be_used_is_refused_and_nothing_is_left(
    path: Path, commands: Commands, options: str, text: str
) -> None:
    async with serving(commands) as server:
        with pytest.raises(EndpointError) as caught:
            await server.listen(f"unix:{path}?{options}")
        assert text in str(caught.value)
        assert str(path) in str(caught.value) or "unknown" in text
        assert server.channels == ()
    assert list(path.parent.iterdir()) == []


@on_every_loop
async def test_a_path_where_another_listens_is_refused(path: Path, commands: Commands) -> None:
    async with serving(commands, f"unix:{path}"), serving(commands) as other:
        with pytest.raises(EndpointError, match=r"cannot lock socket lockfile, .*control\.lock"):
            await other.listen(f"unix:{path}")
        assert await ask(path) == ANSWER


@pytest.mark.parametrize(
    ("endpoint", "text"),
    [
        ("udp:127.0.0.1:0", "cannot listen on 'udp:127.0.0.1:0': kea travels on unix, tcp, http, https"),
        ("unixd:/run/x", "cannot listen on 'unixd:/run/x': kea travels on"),
        ("kea+qb:crmd", "cannot listen on 'kea+qb:crmd': kea travels on"),
        ("binrpc+http://127.0.0.1:0", "cannot listen on 'binrpc+http://127.0.0.1:0': binrpc travels on"),
        ("sctp:127.0.0.1:0", "unknown transport 'sctp'"),
        ("nonsense", "is not TRANSPORT:ADDRESS"),
        (
            "http://127.0.0.1:0/?mode=0600",
            "unknown option 'mode'; known are allow-readable-",
        ),
        ("https://127.0.0.1:0", "needs certificates"),
        ("http://admin:s3cr3t@999.1.1.1:0", "cannot listen on http://999.1.1.1:0"),
    ],
)
@on_every_loop
async def test_what_cannot_be_listened_on_is_refused(commands: Commands, endpoint: str, text: str) -> None:
    async with serving(commands) as server:
        with pytest.raises(EndpointError) as caught:
            await server.listen(endpoint)
        assert text in str(caught.value)
        assert "s3cr3t" not in str(caught.value)
        assert server.channels == ()


@on_every_loop
async def test_an_unknown_dialect_is_refused_before_there_is_a_file(path: Path, commands: Commands) -> None:
    async with serving(commands) as server:
        with pytest.raises(EndpointError, match="unknown dialect 'esperanto'; known are"):
            await server.listen(f"esperanto+unix:{path}")
    assert list(path.parent.iterdir()) == []


@on_every_loop
async def test_a_port_that_is_taken_is_refused(commands: Commands) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        async with serving(commands) as server:
            with pytest.raises(EndpointError, match=f"http://127.0.0.1:{port}: address already in use"):
                await server.listen(f"http://127.0.0.1:{port}")
            assert server.channels == ()


# Several channels


@on_every_loop
async def test_several_channels_serve_one_manager(short_path: Path, commands: Commands) -> None:
    endpoints = [
        f"unix:{short_path / 'a'}",
        "http://127.0.0.1:0",
        f"unix:{short_path / 'b'}",
        "http://[::1]:0",
    ]
    async with serving(commands, *endpoints) as server:
        for number, channel in enumerate(server.channels):
            assert await call(channel, "say", [str(number)]) == str(number)
        assert all(channel.endpoint.port for channel in server.channels if channel.endpoint.host)
    assert commands.done == ["0", "1", "2", "3"]


@on_every_loop
async def test_tls_channels_answer_over_tls_and_know_whom_they_answer(tmp_path: Path) -> None:
    authority = trustme.CA()
    anchor, files = tmp_path / "ca.pem", {"cert-file": "server", "key-file": "server"}
    authority.cert_pem.write_to_path(anchor)
    for name, certificate in (
        ("server", authority.issue_cert("127.0.0.1")),
        ("client", authority.issue_cert("client.example", common_name="operator")),
    ):
        certificate.private_key_and_cert_chain_pem.write_to_path(tmp_path / name)
    seen: list[Peer] = []
    manager = CommandManager()

    def who(peer: Peer) -> None:
        seen.append(peer)

    manager.register_command("who", who)
    tls = server_context(
        {"trust-anchor": str(anchor), **{key: str(tmp_path / name) for key, name in files.items()}}
    )
    async with serving(manager, "https://127.0.0.1:0", settings=HttpSettings(tls=tls)) as server:
        endpoint = server.channels[0].endpoint
        assert endpoint.transport == "https"
        context = client_context(str(anchor), str(tmp_path / "client"))
        async with bridle.connect_async(endpoint, tls=context) as client:
            await client.call("who")
    assert (seen[0].transport, seen[0].address) == ("https", "127.0.0.1")
    assert seen[0].tls_subject == "operator"


@on_every_loop
async def test_a_peer_is_what_its_channel_knows_of_it(path: Path) -> None:
    seen: list[Peer] = []
    manager = CommandManager()

    def who(peer: Peer) -> None:
        seen.append(peer)

    manager.register_command("who", who)
    async with serving(manager, f"unix:{path}", "http://127.0.0.1:0", "http://[::1]:0") as server:
        for channel in server.channels:
            await call(channel, "who")
    assert seen[0] == Peer(
        transport="unix", address=str(path), pid=os.getpid(), uid=os.getuid(), gid=os.getgid()
    )
    assert seen[1] == Peer(transport="http", address="127.0.0.1")
    assert seen[2] == Peer(transport="http", address="::1")


# The end


@on_every_loop
async def test_a_retired_channel_takes_nobody_new_and_serves_whom_it_has(
    path: Path, commands: Commands
) -> None:
    async with serving(commands, f"unix:{path}", "http://127.0.0.1:0") as server:
        unix, web = server.channels
        async with await Visitor.to(path) as visitor, bridle.connect_async(web.endpoint) as client:
            await visitor.send(KEEP + HELLO)
            assert await visitor.read_line() == ANSWER + b"\n"
            assert await client.call("say", ["kept"]) == "kept"
            server.retire(unix)
            server.retire(web)
            assert server.channels == ()
            assert not path.exists()
            await visitor.send(HELLO)
            assert await visitor.read_line() == ANSWER + b"\n"
            assert await client.call("say", ["last"]) == "last"
            for channel in (unix, web):
                with pytest.raises(bridle.TransportError):
                    await call(channel, "say", ["new"])
            await server.listen(f"unix:{path}")
            assert await ask(path) == ANSWER
            await server.close(1)
            assert await visitor.read_all() == b""


@pytest.mark.parametrize(
    "place",
    [
        "unix:{}",
        "tcp:127.0.0.1:0",
        "http://127.0.0.1:0",
        "http+unix:{}",
        "binrpc+unixd:{}",
        "binrpc+udp:127.0.0.1:0",
        "fifo:{}",
        "qb:bridle-retired-{pid}",
    ],
)
@on_virtual_clock
async def test_a_retired_channel_is_forgotten_when_nobody_is_left(
    path: Path, commands: Commands, place: str
) -> None:
    async with serving(commands, "http://127.0.0.1:0") as server:
        await server.listen(place.format(path, pid=os.getpid()))
        channel = weakref.ref(server.channels[1])
        server.retire(server.channels[1])
        await asyncio.sleep(2 * RETIRED_WAIT)
        gc.collect()
        assert channel() is None
        assert len(server.channels) == 1


@pytest.mark.parametrize("wire", ["unix", "http"])
@on_virtual_clock
async def test_a_retired_channel_is_not_forgotten_before(path: Path, commands: Commands, wire: str) -> None:
    place = f"unix:{path}" if wire == "unix" else "http://127.0.0.1:0"
    async with serving(commands, place) as server:
        endpoint = server.channels[0].endpoint
        channel = weakref.ref(server.channels[0])
        async with bridle.connect_async(endpoint) as client:
            call = asyncio.create_task(client.call("wait", ["x", 7]))
            await asyncio.sleep(0.1)
            server.retire(server.channels[0])
            assert await call == "x"
            assert elapsed() == pytest.approx(7.1, abs=0.2)
        await asyncio.sleep(2 * RETIRED_WAIT)
        gc.collect()
        assert channel() is None


@pytest.mark.parametrize("grace", [0, GRACE])
@on_virtual_clock
async def test_closing_an_idle_server_takes_no_time_and_needs_no_warning(
    path: Path, commands: Commands, caplog: pytest.LogCaptureFixture, grace: float
) -> None:
    with caplog.at_level(logging.WARNING):
        async with serving(commands, f"unix:{path}", "http://127.0.0.1:0") as server:
            await server.close(grace)
            assert elapsed() < 0.1
    assert not caplog.records


@on_virtual_clock
async def test_closing_delivers_the_answers_in_flight_on_every_channel(
    short_path: Path, commands: Commands
) -> None:
    endpoints = [f"unix:{short_path / 'a'}", "http://127.0.0.1:0", f"unix:{short_path / 'b'}"]
    async with serving(commands, *endpoints) as server:
        clients = [bridle.connect_async(channel.endpoint) for channel in server.channels]
        calls = [asyncio.create_task(client.call("wait", ["x", 3])) for client in clients]
        await asyncio.sleep(0.1)
        await server.close(GRACE)
        assert elapsed() == pytest.approx(3, abs=0.2)
        assert await asyncio.gather(*calls) == ["x", "x", "x"]
        for client in clients:
            await client.close()


@on_virtual_clock
async def test_one_grace_is_enough_for_all_channels(short_path: Path, commands: Commands) -> None:
    endpoints = [f"unix:{short_path / str(number)}" for number in range(4)]
    async with serving(commands, *endpoints) as server:
        visitors = [await Visitor.to(short_path / str(number)) for number in range(4)]
        for visitor in visitors:
            await visitor.send(b'{ "command": "wait", "arguments": [ "x", 100 ] }')
        await turns()
        await server.close(GRACE)
        assert elapsed() == pytest.approx(GRACE, abs=0.2)
        for visitor in visitors:
            assert await visitor.read_all() == b""
            visitor.leave()


@on_virtual_clock
async def test_while_one_channel_is_closing_no_other_takes_anybody_new(
    short_path: Path, commands: Commands
) -> None:
    slow, other = short_path / "slow", short_path / "other"
    async with (
        serving(commands, f"unix:{slow}", f"unix:{other}") as server,
        await Visitor.to(slow) as visitor,
    ):
        await visitor.send(b'{ "command": "wait", "arguments": [ "x", 3 ] }')
        await turns()
        closing = asyncio.create_task(server.close(GRACE))
        await asyncio.sleep(1)
        with pytest.raises((ConnectionRefusedError, FileNotFoundError)):
            await Visitor.to(other)
        await closing


@on_every_loop
async def test_a_server_can_listen_where_another_has_closed(path: Path, commands: Commands) -> None:
    port = 0
    for _ in range(3):
        server = Server(commands)
        await server.listen(f"unix:{path}")
        port = (await server.listen(f"http://127.0.0.1:{port}")).endpoint.port
        assert await ask(path) == ANSWER
        await server.close()
        assert server.channels == ()


@on_every_loop
async def test_a_server_tells_the_log_of_every_channel_that_does_not_close(
    short_path: Path, commands: Commands, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    unlink = Path.unlink

    def refuse(path: Path, missing_ok: bool = False) -> None:
        if path.suffix == ".kept":
            raise PermissionError(1, "Operation not permitted")
        unlink(path, missing_ok)

    server = Server(commands)
    first, second, third = (f"{short_path}/{name}" for name in ("a.kept", "b.kept", "c"))
    for place in (first, second, third):
        await server.listen(f"unix:{place}")
    with monkeypatch.context() as patch:
        patch.setattr(Path, "unlink", refuse)
        with pytest.raises(bridle.EndpointError, match=first):
            await server.close(0)
    assert f"cannot remove socket '{first}'" in caplog.text
    assert f"cannot remove socket '{second}'" in caplog.text
    assert not Path(third).exists()


@on_every_loop
async def test_a_server_that_is_closed_opens_nothing_more(path: Path, commands: Commands) -> None:
    server = Server(commands)
    channel = await server.listen("http://127.0.0.1:0")
    late = asyncio.create_task(server.listen("http://127.0.0.1:0"))
    await asyncio.sleep(0)
    await server.close()
    for opening in (late, server.listen(f"unix:{path}"), server.listen("http://127.0.0.1:0")):
        with pytest.raises(bridle.EndpointError, match="the server is closed"):
            await opening
    assert server.channels == ()
    assert not path.exists()
    server.retire(channel)  # as it is already
