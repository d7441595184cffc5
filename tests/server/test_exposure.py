"""Listeners that other machines can reach: which are refused, and by which setting they are allowed."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import trustme

import bridle
from bridle import CommandManager, ConfigurationError, EndpointError, Server
from bridle.access.basic import BasicAuthentication
from bridle.access.tls import server_context
from bridle.daemon.configuration import ConfigurationOwner
from bridle.daemon.document import Document
from bridle.server import HttpSettings
from bridle.server.exposure import is_loopback
from tests.support.bridle import command_line
from tests.support.kettle import Kettle
from tests.support.loops import on_every_loop
from tests.support.programs import free_port

# Places that are bound and never connected to from anywhere else: tests stay on loopback.
EVERYWHERE = (
    "http://0.0.0.0:0",
    "http://[::]:0",
    "tcp:0.0.0.0:0",
    "binrpc+tcp:*:0",
    "binrpc+tcp:[::]:0",
    "bngblaster+tcp:0.0.0.0:0",
    "binrpc+udp:0.0.0.0:0",
    "binrpc+udp:[::]:0",
)
HERE = (
    "http://127.0.0.1:0",
    "http://127.9.9.9:0",
    "http://[::1]:0",
    "http://localhost:0",
    "tcp:127.0.0.1:0",
    "tcp:localhost:0",
    "binrpc+tcp:[::1]:0",
    "binrpc+udp:127.0.0.1:0",
)


@contextlib.asynccontextmanager
async def server(**options: bool) -> AsyncIterator[Server]:
    made = Server(CommandManager(), **options)
    try:
        yield made
    finally:
        await made.close(0)


def mutual(folder: Path, *, required: bool = True) -> ssl.SSLContext:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(folder / "ca.pem"))
    both = folder / "server.pem"
    authority.issue_cert("localhost").private_key_and_cert_chain_pem.write_to_path(str(both))
    found = server_context(
        {
            "trust-anchor": str(folder / "ca.pem"),
            "cert-file": str(both),
            "key-file": str(both),
            "cert-required": required,
        }
    )
    assert found is not None
    return found


BASIC = BasicAuthentication("r", {"amy": "x"})


@on_every_loop
async def test_a_client_without_a_password_lets_nobody_in_from_elsewhere() -> None:
    with_nobody = BasicAuthentication("r", [("amy", "x"), ("bob", "")])
    async with server() as made:
        await made.listen("http://127.0.0.1:0", HttpSettings(authentication=with_nobody))
        open_to_all = HttpSettings(authentication=with_nobody, allow_clear_text=True)
        with pytest.raises(EndpointError, match="user 'bob' has no password; give it one"):
            await made.listen("http://0.0.0.0:0", open_to_all)
        open_to_all = HttpSettings(
            authentication=with_nobody, allow_clear_text=True, allow_unauthenticated=True
        )
        await made.listen("http://0.0.0.0:0", open_to_all)


@pytest.mark.parametrize("place", EVERYWHERE)
@on_every_loop
async def test_what_lets_everybody_in_does_not_listen_beyond_loopback(place: str) -> None:
    async with server() as here:
        with pytest.raises(EndpointError) as caught:
            await here.listen(place)
        assert "other machines can reach it, and everybody would be let in" in str(caught.value)
        assert str(caught.value).endswith("or allow it with allow-unauthenticated")
        assert here.channels == ()


@pytest.mark.parametrize("place", EVERYWHERE)
@on_every_loop
async def test_it_listens_where_that_is_said_to_be_meant(place: str) -> None:
    async with server() as here:
        channel = await here.listen(f"{place}?allow-unauthenticated=yes")
        assert channel.exposed
        assert channel.endpoint.port != 0
    async with server(allow_unauthenticated=True) as here:
        assert (await here.listen(place)).exposed


@pytest.mark.parametrize("place", HERE)
@on_every_loop
async def test_loopback_needs_nothing(place: str) -> None:
    async with server() as here:
        channel = await here.listen(place)
        assert not channel.exposed
        assert channel.endpoint.port != 0


@pytest.mark.parametrize("place", ["http://[::ffff:0.0.0.0]:0", "tcp:[::ffff:0.0.0.0]:0"])
@on_every_loop
async def test_no_address_is_hidden_in_another_family(place: str) -> None:
    async with server() as here:
        with pytest.raises(EndpointError, match="cannot listen on"):
            await here.listen(place)


def test_a_name_is_judged_by_the_address_it_has(monkeypatch: pytest.MonkeyPatch) -> None:
    real = socket.getaddrinfo

    def lying(host: object, *args: object, **options: object) -> object:
        return real("0.0.0.0" if host == "localhost" else host, *args, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(socket, "getaddrinfo", lying)

    async def main() -> None:
        async with server() as here:
            for place in ("tcp:localhost:0", "http://localhost:0"):
                with pytest.raises(EndpointError, match="other machines can reach it"):
                    await here.listen(place)

    asyncio.run(main())


@pytest.mark.parametrize(
    ("address", "loopback"),
    [
        ("127.0.0.1", True),
        ("127.255.255.254", True),
        ("::1", True),
        ("::ffff:127.0.0.1", True),
        ("0.0.0.0", False),
        ("::", False),
        ("::ffff:0.0.0.0", False),
        ("192.0.2.1", False),
        ("fe80::1%lo", False),
        ("1270.0.0.1", False),
        ("", False),
    ],
)
def test_what_loopback_is(address: str, loopback: bool) -> None:
    assert is_loopback(address) == loopback


@on_every_loop
async def test_passwords_are_not_asked_for_in_clear_text_beyond_loopback(tmp_path: Path) -> None:
    basic = HttpSettings(authentication=BASIC)
    async with server() as here:
        with pytest.raises(EndpointError) as caught:
            await here.listen("http://0.0.0.0:0", basic)
        assert "passwords would be sent in clear text" in str(caught.value)
        assert str(caught.value).endswith("or allow it with allow-clear-text-passwords")
        await here.listen("http://127.0.0.1:0", basic)
        await here.listen("http://0.0.0.0:0", HttpSettings(authentication=BASIC, allow_clear_text=True))
        secured = HttpSettings(authentication=BASIC, tls=mutual(tmp_path, required=False))
        await here.listen("https://0.0.0.0:0", secured)
        with pytest.raises(EndpointError, match="allow-unauthenticated"):
            await here.listen("http://0.0.0.0:0", HttpSettings(authentication=BasicAuthentication("r", {})))


@on_every_loop
async def test_mutual_tls_is_authentication_and_tls_alone_is_not(tmp_path: Path) -> None:
    files = f"cert={tmp_path}/server.pem&key={tmp_path}/server.pem&ca={tmp_path}/ca.pem"
    async with server() as here:
        await here.listen("https://0.0.0.0:0", HttpSettings(tls=mutual(tmp_path)))
        await here.listen(f"binrpc+tcp:0.0.0.0:0?{files}")
        with pytest.raises(EndpointError, match="allow-unauthenticated"):
            await here.listen("https://0.0.0.0:0", HttpSettings(tls=mutual(tmp_path, required=False)))
        with pytest.raises(EndpointError, match="allow-unauthenticated"):
            await here.listen(f"binrpc+tcp:0.0.0.0:0?{files}&cert-required=no")


def kettle(**entry: object) -> Document:
    return Document(
        {"Kettle": {"control-sockets": [{"socket-address": "0.0.0.0", "socket-port": free_port(), **entry}]}}
    )  # type: ignore[dict-item]


@pytest.mark.parametrize(
    "entry",
    [
        {"socket-type": "http"},
        {"socket-type": "http", "authentication": {"clients": []}},
    ],
)
@on_every_loop
async def test_a_configuration_that_would_let_everybody_in_is_refused_and_tested_so(
    entry: dict[str, object],
) -> None:
    daemon = Kettle()
    owner = ConfigurationOwner(daemon, None)
    with pytest.raises(ConfigurationError, match="allow it with allow-unauthenticated"):
        owner.test(kettle(**entry))
    owner.test(kettle(**entry, **{"allow-unauthenticated": True}))
    async with bridle.serve(daemon) as running:
        with pytest.raises(bridle.BridleError, match="allow-unauthenticated"):
            await running.owner.change(kettle(**entry))
        await running.owner.change(kettle(**entry, **{"allow-unauthenticated": True}))
        assert [channel.exposed for channel in running.server.channels] == [True]


@on_every_loop
async def test_a_listener_that_stays_does_not_lose_its_authentication() -> None:
    entry: dict[str, object] = {
        "socket-type": "http",
        "allow-clear-text-passwords": True,
        "authentication": {"clients": [{"user": "amy", "password": "x"}]},
    }
    document = kettle(**entry)
    bare = document.value["Kettle"]["control-sockets"][0].copy()  # type: ignore[index, call-overload, union-attr]
    del bare["authentication"]
    async with bridle.serve(Kettle()) as running:
        await running.owner.change(document)
        with pytest.raises(bridle.BridleError, match="allow-unauthenticated"):
            await running.owner.change(Document({"Kettle": {"control-sockets": [bare]}}))


@on_every_loop
async def test_an_embedded_daemon_says_itself_that_it_is_meant() -> None:
    with pytest.raises(EndpointError, match="allow-unauthenticated"):
        async with bridle.serve(Kettle(), "tcp:0.0.0.0:0"):
            pass
    async with bridle.serve(Kettle(), "tcp:0.0.0.0:0", allow_unauthenticated=True) as running:
        assert running.server.channels[0].exposed


def test_command_lines_refuse_and_take_a_word_for_it(short_path: Path) -> None:
    refused = command_line("run", "tests.support.kettle:Kettle", "tcp:0.0.0.0:0")
    assert refused.returncode == 1
    assert "allow it with allow-unauthenticated" in refused.stderr
    file = short_path / "agent.conf"
    file.write_text('{ "Control-agent": { "http-host": "0.0.0.0", "http-port": 8000 } }')
    for words in (("agent", "-t", file), ("agent", "-c", file)):
        refused = command_line(*words)
        assert refused.returncode == 1
        assert "allow it with allow-unauthenticated" in refused.stderr
    assert command_line("agent", "--allow-unauthenticated", "-t", file).returncode == 0
    listen = ("agent", "--listen", "0.0.0.0:0", "-t")
    file.write_text('{ "Control-agent": { } }')
    assert "allow-unauthenticated" in command_line(*listen, file).stderr


# Files


@pytest.mark.parametrize("place", ["unix:{}/s", "binrpc+unixd:{}/s", "fifo:{}/s", "bngblaster+unix:{}/s"])
@on_every_loop
async def test_what_everybody_on_the_machine_could_command_is_refused(short_path: Path, place: str) -> None:
    async with server() as here:
        for mode in ("0666", "0777", "0602"):
            with pytest.raises(EndpointError) as caught:
                await here.listen(f"{place.format(short_path)}?mode={mode}")
            assert f"everybody on this machine could give commands (mode {mode})" in str(caught.value)
            assert str(caught.value).endswith("or allow it with allow-world-writable")
        assert list(short_path.iterdir()) == []
        await here.listen(f"{place.format(short_path)}?mode=0666&allow-world-writable=yes")


@pytest.mark.parametrize("place", ["unix:{}/s", "binrpc+unixd:{}/s", "fifo:{}/s"])
@on_every_loop
async def test_a_folder_in_which_everybody_could_replace_the_file_is_refused(
    short_path: Path, place: str
) -> None:
    short_path.chmod(0o777)
    async with server() as here:
        with pytest.raises(EndpointError) as caught:
            await here.listen(place.format(short_path))
        assert "is writable by others (mode 0777)" in str(caught.value)
        assert str(caught.value).endswith("or allow it with allow-world-writable")
        await here.listen(f"{place.format(short_path)}?allow-world-writable=yes")
    short_path.chmod(0o1777)
    async with server() as here:
        await here.listen(place.format(short_path))
