"""The control sockets that a configuration asks for, and the way from one set of them to another."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import gc
import json
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
import trustme

import bridle
from bridle.daemon.control_sockets import read_control_sockets
from bridle.daemon.document import Document
from bridle.server.http import HttpChannel
from bridle.testing import run
from tests.support.kea import exchange
from tests.support.kettle import JSON, Kettle, Site, say, served
from tests.support.loops import on_every_loop
from tests.support.programs import free_port

ASK = '{"command": "repeat", "arguments": ["here"]}'
HERE = '{ "arguments": "here", "result": 0 }'


def unix(path: Path) -> dict[str, JSON]:
    """A ``control-socket`` of Kea 2."""
    return {"control-socket": {"socket-type": "unix", "socket-name": str(path)}}


def sockets(*entries: JSON) -> dict[str, JSON]:
    """A ``control-sockets`` of Kea 3."""
    return {"control-sockets": list(entries)}


def web(port: int, **extra: JSON) -> dict[str, JSON]:
    """An entry of ``control-sockets`` for HTTP."""
    return {
        "socket-type": "http",
        "socket-port": port,
        **{key.replace("_", "-"): value for key, value in extra.items()},
    }


async def change(site: Site, configuration: dict[str, JSON]) -> bridle.Response:
    """Send a ``config-set``."""
    return await site.ask("config-set", {"Kettle": configuration})


async def post(port: int, headers: str = "") -> str:
    """POST a command and read the whole answer, until the end."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        head = f"POST / HTTP/1.1\r\nContent-Type: application/json\r\nContent-Length: {len(ASK)}\r\n{headers}"
        writer.write(f"{head}Connection: close\r\n\r\n{ASK}".encode())
        return (await reader.read()).decode()
    finally:
        writer.close()
        await writer.wait_closed()


# A socket that moves.


def test_a_control_socket_moves_and_the_answer_arrives_on_the_old_one(short_path: Path) -> None:
    async def main() -> None:
        old, new = short_path / "old.sock", short_path / "new.sock"
        async with served(short_path, configuration=unix(old)):
            command = {"command": "config-set", "arguments": {"Kettle": unix(new)}}
            answer = json.loads(await say(old, json.dumps(command)))
            assert (answer["result"], answer["text"]) == (0, "Configuration successful.")
            assert not old.exists()
            assert not Path(f"{old}.lock").exists()
            assert await say(new, ASK) == HERE

    run(main())


def test_open_connections_to_the_old_socket_are_served_until_they_end(short_path: Path) -> None:
    async def main() -> None:
        old, new = short_path / "old.sock", short_path / "new.sock"
        async with served(short_path, configuration=unix(old)) as site:
            reader, writer = await asyncio.open_unix_connection(old)
            slow, kept = await asyncio.open_unix_connection(old)
            kept.write(b'{"command": "brew", "arguments": [5]}')
            await asyncio.sleep(0.1)
            assert (await change(site, unix(new))).result == 0
            writer.write(ASK.encode())
            assert (await reader.read()).decode() == HERE
            assert (await slow.read()).decode() == '{ "arguments": "tea", "result": 0 }'
            for one in (writer, kept):
                one.close()
                await one.wait_closed()

    run(main())


@on_every_loop
async def test_a_client_that_hammers_never_finds_both_sockets_missing(short_path: Path) -> None:
    places = [short_path / f"{number}.sock" for number in range(30)]
    current = 0
    failures: list[str] = []
    done = threading.Event()

    def hammer() -> None:
        while not done.is_set():
            first = current
            # The first may go at any time, but not before the next is there.
            for place in places[first : first + 3]:
                try:
                    answer = exchange(place, ASK.encode())
                except (FileNotFoundError, ConnectionRefusedError):
                    continue  # gone, or found just before it went; whoever has connected is answered
                if answer.decode() != HERE:
                    failures.append(f"{place}: {answer!r}")
                break
            else:
                # Unless the daemon has moved on past all three while this thread had no turn.
                if current <= first + 1:
                    failures.append(f"nobody at {first}")

    async with served(short_path, configuration=unix(places[0])) as site:
        threads = [threading.Thread(target=hammer) for _ in range(2)]
        for thread in threads:
            thread.start()
        try:
            for number, place in enumerate(places[1:], 1):
                assert (await change(site, unix(place))).result == 0
                current = number
                await asyncio.sleep(0.005)
        finally:
            done.set()
            # Joined in a thread: what they ask is answered by this loop.
            for thread in threads:
                await asyncio.to_thread(thread.join)
    assert failures == []


@contextlib.contextmanager
def locked(file: Path) -> Iterator[None]:
    """Hold the lock that another daemon would."""
    with file.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Serve a connection by ending it."""
    writer.close()


@pytest.mark.parametrize(
    "obstacle", ["no folder", "locked", "a file", "a folder", "a link", "in use", "too long"]
)
def test_a_socket_that_cannot_be_opened_changes_nothing(short_path: Path, obstacle: str) -> None:
    old, new = short_path / "old.sock", short_path / "new.sock"
    says = {
        "no folder": f"cannot create socket lockfile, {short_path}/none/new.sock.lock, : No such file or ",
        "locked": f"cannot lock socket lockfile, {new}.lock, : Resource temporarily unavailable",
        "a file": "there is a file, which is not replaced",
        "a folder": "there is a directory, which is not replaced",
        "a link": "there is a symbolic link, which is not replaced",
        "in use": "another program listens on it",
        "too long": "File name too long",
    }

    async def main(stack: ExitStack) -> None:
        wanted = new
        if obstacle == "no folder":
            wanted = short_path / "none" / "new.sock"
        elif obstacle == "locked":
            stack.enter_context(locked(Path(f"{new}.lock")))
        elif obstacle == "a file":
            new.write_text("precious")
        elif obstacle == "a folder":
            new.mkdir()
        elif obstacle == "a link":
            new.symlink_to(short_path / "elsewhere")
        elif obstacle == "too long":
            wanted = short_path / ("x" * 100)
        server = await asyncio.start_unix_server(hang_up, new) if obstacle == "in use" else None
        async with served(short_path, configuration={"degrees": 60, **unix(old)}) as site:
            before, hash_before = sorted(short_path.iterdir()), await site.hash()
            answer = await change(site, {"degrees": 70, **unix(wanted)})
            assert answer.result == 1
            assert says[obstacle] in str(answer.text)
            assert sorted(short_path.iterdir()) == before
            assert await site.hash() == hash_before
            assert site.daemon.applied == [60]
            assert await say(old, ASK) == HERE
            assert (await change(site, {"degrees": 70, **unix(old)})).result == 0
        if server is not None:
            server.close()
            await server.wait_closed()
        if obstacle == "a file":
            assert new.read_text() == "precious"

    with ExitStack() as stack:
        run(main(stack))


def test_what_a_refused_change_opened_is_forgotten(short_path: Path) -> None:
    def opened() -> int:
        gc.collect()
        return sum(isinstance(one, HttpChannel) for one in gc.get_objects())

    async def main() -> None:
        entries = sockets(web(0), {"socket-type": "unix", "socket-name": str(short_path / "none" / "s")})
        async with served(short_path) as site:
            before = opened()
            assert (await change(site, entries)).result == 1
            assert opened() == before

    run(main())


def test_a_socket_file_that_cannot_be_removed_is_told_to_the_log_and_the_change_holds(
    short_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    old, new = short_path / "old.sock", short_path / "new.sock"
    unlink = Path.unlink

    def refuse(path: Path, missing_ok: bool = False) -> None:
        if path == old:
            raise PermissionError(1, "Operation not permitted")
        unlink(path, missing_ok)

    async def main() -> None:
        async with served(short_path, configuration=unix(old)) as site:
            with monkeypatch.context() as patch:
                patch.setattr(Path, "unlink", refuse)
                assert (await change(site, {"degrees": 5, **unix(new)})).result == 0
            assert site.settings.degrees == 5
            assert await say(new, ASK) == HERE

    run(main())
    assert f"cannot remove socket '{old}': Operation not permitted" in caplog.text


def test_the_same_socket_stays_open_through_a_change(short_path: Path) -> None:
    async def main() -> None:
        path = short_path / "s.sock"
        async with served(short_path, configuration=unix(path)) as site:
            before = path.stat().st_ino
            assert (await change(site, {"degrees": 1, **unix(path)})).result == 0
            assert path.stat().st_ino == before
            assert await say(path, ASK) == HERE

    run(main())


def test_a_configuration_without_sockets_closes_them_and_a_reload_opens_them_again(short_path: Path) -> None:
    async def main() -> None:
        path = short_path / "s.sock"
        async with served(short_path, configuration=unix(path)) as site:
            answer = json.loads(await say(path, '{"command": "config-set", "arguments": {"Kettle": {}}}'))
            assert answer["result"] == 0
            assert not path.exists()
            await site.running.owner.load()
            assert await say(path, ASK) == HERE

    run(main())


def test_the_endpoints_of_the_start_stay_whatever_the_configuration_says(short_path: Path) -> None:
    async def main() -> None:
        async with served(short_path, configuration=unix(short_path / "s.sock")) as site:
            await change(site, {})
            assert await say(site.socket, ASK) == HERE

    run(main())


def test_both_forms_may_be_used_for_different_sockets(short_path: Path) -> None:
    async def main() -> None:
        port = free_port()
        path = short_path / "s.sock"
        async with served(short_path, configuration={**unix(path), **sockets(web(port))}):
            assert await say(path, ASK) == HERE
            assert HERE in await post(port)

    run(main())


# HTTP.


def test_a_list_of_unix_and_http_sockets_is_opened_whole(short_path: Path) -> None:
    async def main() -> None:
        first, second = free_port(), free_port()
        path = short_path / "s.sock"
        entries = sockets({"socket-type": "unix", "socket-name": str(path)}, web(first), web(second))
        async with served(short_path, configuration=entries) as site:
            assert await say(path, ASK) == HERE
            for port in (first, second):
                answer = await post(port)
                assert answer.startswith("HTTP/1.1 200 OK\r\n")
                assert answer.endswith(f"[ {HERE} ]")
            # All but the first go with the next.
            assert (await change(site, sockets(web(first)))).result == 0
            assert not path.exists()
            assert HERE in await post(first)
            with pytest.raises(ConnectionRefusedError):
                await post(second)

    run(main())


def test_http_sockets_ask_for_a_password_and_send_their_headers(short_path: Path) -> None:
    (short_path / "secret").write_text("pâss\nnot this")

    async def main() -> None:
        port = free_port()
        entry = web(
            port,
            socket_address="127.0.0.1",
            authentication={
                "type": "basic",
                "realm": "tea",
                "directory": str(short_path),
                "clients": [
                    {"user": "amy", "password-file": "secret"},
                    {"user": "bob", "comment": "no word"},
                ],
            },
            http_headers=[{"name": "X-Kettle", "value": "on"}],
        )
        async with served(short_path, configuration=sockets(entry)):
            refused = await post(port)
            assert refused.startswith("HTTP/1.1 401 Unauthorized\r\n")
            assert 'WWW-Authenticate: Basic realm="tea"\r\n' in refused
            assert "X-Kettle: on\r\n" in refused
            url = f"http://127.0.0.1:{port}"
            for user, password, result in (
                ("amy", "pâss", 0),
                ("bob", "", 0),
                ("amy", "pass", 1),
                ("eve", "", 1),
            ):
                async with bridle.connect_async(url, user=user, password=password) as client:
                    answer = await client.execute("repeat", ["x"])
                    assert answer.result == result, (user, answer.text)
                    assert result == 0 or answer.text == "Unauthorized (HTTP 401)"

    run(main())


def test_the_realm_is_named_after_the_daemon_by_default(short_path: Path) -> None:
    async def main() -> None:
        port = free_port()
        entry = web(port, authentication={"clients": [{"user": "amy"}]})
        async with served(short_path, configuration=sockets(entry)):
            assert 'Basic realm="kea-kettle-server"' in await post(port)

    run(main())


def test_authentication_without_clients_lets_everybody_in_as_kea_does(short_path: Path) -> None:
    async def main() -> None:
        port = free_port()
        entry = web(port, authentication={"type": "basic", "clients": []})
        async with served(short_path, configuration=sockets(entry)):
            assert HERE in await post(port)

    run(main())


def test_authentication_and_headers_change_without_a_new_listener(short_path: Path) -> None:
    async def main() -> None:
        port = free_port()
        async with served(short_path, configuration=sockets(web(port))) as site:
            before = site.running.server.channels
            secured = web(
                port,
                authentication={"clients": [{"user": "amy", "password": "x"}]},
                http_headers=[{"name": "X-Kettle", "value": "on"}],
            )
            assert (await change(site, sockets(secured))).result == 0
            assert site.running.server.channels == before
            answer = await post(port)
            assert answer.startswith("HTTP/1.1 401")
            assert "X-Kettle: on" in answer
            assert (await change(site, sockets(web(port)))).result == 0
            answer = await post(port)
            assert answer.startswith("HTTP/1.1 200")
            assert "X-Kettle" not in answer

    run(main())


def test_a_refused_change_leaves_the_old_password(short_path: Path) -> None:
    async def main() -> None:
        port = free_port()

        def with_password(password: str) -> dict[str, JSON]:
            return sockets(web(port, authentication={"clients": [{"user": "amy", "password": password}]}))

        daemon = Kettle()
        daemon.refuses = lambda degrees: ValueError("no") if degrees == 5 else None
        async with served(short_path, daemon, configuration=with_password("old")) as site:
            assert (await change(site, {"degrees": 5, **with_password("new")})).result == 1
            for password, result in (("old", 0), ("new", 1)):
                url = f"http://amy:{password}@127.0.0.1:{port}"
                async with bridle.connect_async(url) as client:
                    assert (await client.execute("repeat", ["x"])).result == result

    run(main())


def test_a_port_that_is_taken_changes_nothing(short_path: Path) -> None:
    async def main() -> None:
        port = free_port()
        other = await asyncio.start_server(hang_up, "127.0.0.1", 0)
        taken = other.sockets[0].getsockname()[1]
        new = short_path / "new.sock"
        async with served(short_path, configuration=sockets(web(port))) as site:
            # The unix socket that could be opened is closed again.
            entries = sockets({"socket-type": "unix", "socket-name": str(new)}, web(taken))
            answer = await change(site, entries)
            assert answer.result == 1
            assert str(answer.text).startswith(f"cannot listen on http://127.0.0.1:{taken}: ")
            assert not new.exists()
            assert not Path(f"{new}.lock").exists()
            assert HERE in await post(port)
        other.close()
        await other.wait_closed()

    run(main())


@pytest.fixture
def authority() -> trustme.CA:
    """Who issues certificates."""
    return trustme.CA()


@pytest.fixture
def certificates(tmp_path: Path, authority: trustme.CA) -> dict[str, JSON]:
    """Certificates for a listener on 127.0.0.1, and the keys of a configuration that name them."""
    server = authority.issue_cert("127.0.0.1", "localhost")
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    server.private_key_and_cert_chain_pem.write_to_path(str(tmp_path / "server.pem"))
    own = authority.issue_cert("amy@example.org")
    own.private_key_and_cert_chain_pem.write_to_path(str(tmp_path / "client.pem"))
    pem = str(tmp_path / "server.pem")
    return {"trust_anchor": str(tmp_path / "ca.pem"), "cert_file": pem, "key_file": pem}


def trusting(certificates: dict[str, JSON], *, own: bool) -> ssl.SSLContext:
    """The context of a client that trusts the certificates' authority."""
    anchor = str(certificates["trust_anchor"])
    context = ssl.create_default_context(cafile=anchor)
    if own:
        context.load_cert_chain(Path(anchor).with_name("client.pem"))
    return context


@pytest.mark.parametrize("required", [True, False])
@on_every_loop
async def test_https_sockets_ask_for_certificates_as_configured(
    short_path: Path, certificates: dict[str, JSON], required: bool
) -> None:
    port = free_port()
    entry = web(port, **certificates, **({} if required else {"cert_required": False}))
    async with served(short_path, configuration=sockets({**entry, "socket-type": "https"})) as site:
        assert str(site.running.server.channels[0].endpoint) == f"https://127.0.0.1:{port}"
        for own in (True, False):
            tls = trusting(certificates, own=own)
            async with bridle.connect_async(f"https://127.0.0.1:{port}", tls=tls) as client:
                if own or not required:
                    assert (await client.execute("repeat", ["x"])).value == "x"
                else:
                    with pytest.raises(bridle.TransportError):
                        await client.execute("repeat", ["x"])


@pytest.mark.parametrize("first", ["HTTP", "HTTPS"])
def test_http_and_https_do_not_change_places_on_one_port(
    short_path: Path, certificates: dict[str, JSON], first: str
) -> None:
    async def main() -> None:
        port = free_port()
        plain, secured = sockets(web(port)), sockets(web(port, **certificates))
        before, after = (plain, secured) if first == "HTTP" else (secured, plain)
        second = "HTTPS" if first == "HTTP" else "HTTP"
        async with served(short_path, configuration=before) as site:
            answer = await change(site, after)
            assert (answer.result, answer.text) == (
                1,
                f"Can not switch from {first} to {second} sockets using the same address and port.",
            )

    run(main())


def shown_certificate(port: int, certificates: dict[str, JSON]) -> bytes:
    """The certificate that a listener shows to those who connect now."""
    context = trusting(certificates, own=True)
    with (
        socket.create_connection(("127.0.0.1", port), timeout=5) as plain,
        context.wrap_socket(plain, server_hostname="127.0.0.1") as secured,
    ):
        found = secured.getpeercert(binary_form=True)
        assert found is not None
        return found


@on_every_loop
async def test_a_certificate_that_was_renewed_is_shown_after_a_reload(
    short_path: Path, certificates: dict[str, JSON], authority: trustme.CA
) -> None:
    port = free_port()
    entries = sockets(web(port, **certificates))
    async with served(short_path, configuration=entries) as site:
        before = await asyncio.to_thread(shown_certificate, port, certificates)
        assert await asyncio.to_thread(shown_certificate, port, certificates) == before
        renewed = authority.issue_cert("127.0.0.1").private_key_and_cert_chain_pem
        renewed.write_to_path(str(certificates["cert_file"]))
        assert (await site.ask("config-reload")).result == 0
        after = await asyncio.to_thread(shown_certificate, port, certificates)
        assert after != before


@on_every_loop
async def test_whether_a_certificate_is_required_changes_without_a_new_listener(
    short_path: Path, certificates: dict[str, JSON]
) -> None:
    port = free_port()
    async with served(short_path, configuration=sockets(web(port, **certificates))) as site:
        for required in (False, True):
            entries = sockets(web(port, **certificates, cert_required=required))
            assert (await change(site, entries)).result == 0
            tls = trusting(certificates, own=False)
            async with bridle.connect_async(f"https://127.0.0.1:{port}", tls=tls) as client:
                if required:
                    with pytest.raises(bridle.TransportError):
                        await client.execute("repeat", ["x"])
                else:
                    assert (await client.execute("repeat", ["x"])).value == "x"


@on_every_loop
async def test_whom_a_listener_trusts_changes_without_a_new_listener(
    short_path: Path, certificates: dict[str, JSON]
) -> None:
    other = short_path / "other.pem"
    trustme.CA().cert_pem.write_to_path(str(other))
    port = free_port()
    async with served(short_path, configuration=sockets(web(port, **certificates))) as site:
        tls = trusting(certificates, own=True)
        listening = site.running.server.channels
        async with bridle.connect_async(f"https://127.0.0.1:{port}", tls=tls) as before:
            assert await before.call("repeat", ["x"]) == "x"
            changed = {**certificates, "trust_anchor": str(other)}
            assert (await change(site, sockets(web(port, **changed)))).result == 0
            assert site.running.server.channels == listening
            # Who is connected notices nothing; who comes now is a stranger.
            assert await before.call("repeat", ["y"]) == "y"
            async with bridle.connect_async(f"https://127.0.0.1:{port}", tls=tls) as after:
                with pytest.raises(bridle.TransportError):
                    await after.execute("repeat", ["z"])
            assert (await change(site, sockets(web(port, **certificates)))).result == 0
            async with bridle.connect_async(f"https://127.0.0.1:{port}", tls=tls) as again:
                assert await again.call("repeat", ["z"]) == "z"


@on_every_loop
async def test_a_renewed_certificate_that_is_none_leaves_the_old_one_in_use(
    short_path: Path, certificates: dict[str, JSON], authority: trustme.CA
) -> None:
    port = free_port()
    async with served(short_path, configuration=sockets(web(port, **certificates))) as site:
        before = await asyncio.to_thread(shown_certificate, port, certificates)
        file = Path(str(certificates["cert_file"]))
        good = file.read_bytes()
        for content in (b"", b"nonsense"):
            file.write_bytes(content)
            answer = await site.ask("config-reload")
            assert answer.result == 1
            assert f"load of cert file '{file}'" in str(answer.text)
            assert await asyncio.to_thread(shown_certificate, port, certificates) == before
        file.write_bytes(good)
        assert (await site.ask("config-reload")).result == 0


def test_a_certificate_file_that_is_missing_is_named_with_its_place(
    short_path: Path, certificates: dict[str, JSON]
) -> None:
    async def main() -> None:
        async with served(short_path) as site:
            wrong = {**certificates, "trust_anchor": "/no/such/ca"}
            answer = await change(site, sockets(web(free_port(), **wrong)))
            assert answer.result == 1
            assert str(answer.text).startswith(
                "load of CA file '/no/such/ca' failed: No such file or directory ("
            )
            missing = {key: value for key, value in certificates.items() if key != "cert_file"}
            answer = await change(site, sockets(web(free_port(), **missing)))
            assert answer.text == (
                "cert-file parameter is missing or empty: all or none of TLS parameters must be set"
            )

    run(main())


def test_a_browser_is_told_what_listens_unless_only_some_may_know(short_path: Path) -> None:
    async def look(port: int) -> str:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        answer = (await reader.read()).decode()
        writer.close()
        await writer.wait_closed()
        assert "Content-Type: text/plain" in answer
        return answer.partition("\r\n\r\n")[2]

    async def main() -> None:
        port, secured = free_port(), free_port()
        clients: JSON = {"clients": [{"user": "amy", "password": "x"}]}
        entries = sockets(web(port), web(secured, authentication=clients))
        async with served(short_path, configuration=entries):
            assert (await look(port)).startswith("Kettle, managed by Bridle.")
            assert await look(secured) == "Managed by Bridle.\n"

    run(main())


# What cannot be a control socket.

MAP = "Specified control-socket is expected to be a map, i.e. a structure defined within { }"
MISTAKES: list[tuple[dict[str, JSON], str]] = [
    ({"control-socket": 5}, MAP),
    ({"control-socket": None}, MAP),
    ({"control-sockets": {}}, "control-sockets is expected to be a list"),
    (sockets([]), MAP),
    ({"control-socket": {}}, "Mandatory 'socket-type' parameter missing"),
    ({"control-socket": {"socket-type": "unix"}}, "Mandatory 'socket-name' parameter missing"),
    (
        {"control-socket": {"socket-type": "unix", "socket-name": 5}},
        "'socket-name' parameter expected to be a string",
    ),
    ({"control-socket": {"socket-type": "tcp"}}, "Invalid 'socket-type' parameter value tcp"),
    (
        sockets(
            {"socket-type": "unix", "socket-name": "/tmp/a"}, {"socket-type": "unix", "socket-name": "/tmp/b"}
        ),
        "control socket of type 'unix' already configured",
    ),
    (
        {
            "control-socket": {"socket-type": "unix", "socket-name": "/tmp/a"},
            **sockets({"socket-type": "unix", "socket-name": "/tmp/a"}),
        },
        "control socket of type 'unix' already configured",
    ),
    (
        {"control-socket": {"socket-type": "unix", "socket-name": "/tmp/a", "authentication": {}}},
        "parameter 'authentication' is not supported by UNIX control sockets",
    ),
    (
        sockets(web(1, socket_name="/tmp/a")),
        "parameter 'socket-port' is not supported by HTTP control sockets",
    ),
    (sockets(web(65536)), "out of range value (65536) specified for parameter 'socket-port'"),
    (sockets(web(-1)), "out of range value (-1) specified for parameter 'socket-port'"),
    (
        sockets({"socket-type": "http", "socket-port": "80"}),
        "invalid type specified for parameter 'socket-port'",
    ),
    (
        sockets({"socket-type": "http", "socket-port": True}),
        "invalid type specified for parameter 'socket-port'",
    ),
    (sockets(web(1, socket_address=1)), "invalid type specified for parameter 'socket-address'"),
    (sockets(web(1, http_headers={})), "invalid type specified for parameter 'http-headers'"),
    (sockets(web(1, http_headers=["X"])), "http-headers entries are expected to be maps"),
    (
        sockets(web(1, http_headers=[{"name": "X"}])),
        "http-headers entries need a 'name' and a 'value', both strings",
    ),
    (
        sockets(web(1, http_headers=[{"name": "X", "value": "a\r\nY: b"}])),
        "http-headers entries may not hold line breaks",
    ),
    (
        sockets(web(1, http_headers=[{"name": "", "value": "a"}])),
        "http-headers entries may not hold line breaks",
    ),
    (
        sockets(web(1, http_headers=[{"name": "content-LENGTH", "value": "5"}])),
        "the header 'content-LENGTH' is the connection's own to write",
    ),
    (sockets({"socket-type": "https"}), "no TLS setup for a HTTPS control socket"),
    (sockets(web(1, cert_required="no")), "invalid type specified for parameter 'cert-required'"),
    (sockets(web(1, authentication=[])), "invalid type specified for parameter 'authentication'"),
    (sockets(web(1, authentication={"clients": {}})), "invalid type specified for parameter 'clients'"),
    (sockets(web(1, authentication={"clients": ["amy"]})), "clients is expected to be a map"),
    (
        sockets(web(1, authentication={"clients": [{"user": "amy", "pasword": "x"}]})),
        "unsupported parameter 'pasword' in clients",
    ),
    (
        sockets(web(1, authentication={"clients": [{"user": "amy", "password": 5}]})),
        "invalid type specified for parameter 'password'",
    ),
    (sockets(web(1, authentication={"users": []})), "unsupported parameter 'users' in authentication"),
    (
        sockets(web(1, authentication={"type": "digest"})),
        "only basic HTTP authentication is supported: type is 'digest' not 'basic'",
    ),
    (
        sockets(web(1, authentication={"clients": [{"password": "x"}]})),
        "user is required in clients items",
    ),
    (sockets(web(1, authentication={"clients": [{"user": ""}]})), "user must not be empty"),
    (
        sockets(web(1, authentication={"clients": [{"user": "a:b"}]})),
        "user must not contain a ':': 'a:b'",
    ),
    (
        sockets(web(1, authentication={"directory": "/no", "clients": [{"user-file": "such"}]})),
        "can't open file '/no/such': No such file or directory",
    ),
]


@pytest.mark.parametrize(("configuration", "says"), MISTAKES, ids=lambda value: str(value)[:60])
def test_what_cannot_be_a_control_socket_is_refused(
    short_path: Path, configuration: dict[str, JSON], says: str
) -> None:
    async def main() -> None:
        async with served(short_path, configuration={"degrees": 60}) as site:
            for command in ("config-test", "config-set"):
                answer = await site.ask(command, {"Kettle": configuration})
                assert answer.result == 1
                text = str(answer.text)
                assert text == says or (text.startswith(f"{says} (<wire>:0:") and text.endswith(")"))
            assert site.daemon.applied == [60]

    run(main())


def test_a_socket_in_the_place_of_another_is_refused(short_path: Path) -> None:
    async def main() -> None:
        port = free_port()
        async with served(short_path) as site:
            answer = await change(site, sockets(web(port), web(port)))
            assert (answer.result, answer.text) == (
                1,
                f"two control sockets in the same place: http://127.0.0.1:{port}",
            )
            with pytest.raises(ConnectionRefusedError):
                await post(port)

    run(main())


def test_the_default_place_of_an_http_socket_is_kea_s() -> None:
    [found] = read_control_sockets(sockets({"socket-type": "http"}), Document({}), "Dhcp4")
    assert str(found.endpoint) == "http://127.0.0.1:8000"


def test_two_daemons_do_not_take_each_other_s_socket(short_path: Path) -> None:
    async def main() -> None:
        path = short_path / "s.sock"
        async with served(short_path, configuration=unix(path)):
            with pytest.raises(bridle.EndpointError, match="Resource temporarily unavailable"):
                async with bridle.serve(Kettle(), f"unix:{path}"):
                    pass
            assert await say(path, ASK) == HERE

    run(main())


def test_a_socket_that_a_daemon_left_behind_is_taken_over(short_path: Path) -> None:
    path = short_path / "s.sock"
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(path))

    async def main() -> None:
        async with served(short_path, configuration=unix(path)):
            assert await say(path, ASK) == HERE

    run(main())
    assert not path.exists()


# HTTP on a unix socket


def http_file(path: Path, **extra: JSON) -> dict[str, JSON]:
    """An entry of ``control-sockets`` for HTTP on a unix socket."""
    return {"socket-type": "http", "socket-name": str(path), **extra}


@on_every_loop
async def test_http_may_be_spoken_on_a_unix_socket(short_path: Path) -> None:
    async with served(short_path, configuration=sockets(http_file(short_path / "h", mode="0600"))) as site:
        assert (short_path / "h").stat().st_mode & 0o777 == 0o600
        client = bridle.connect_async(f"http+unix:{short_path}/h")
        try:
            assert await client.call("repeat", ["here"]) == "here"
            changed = await change(site, sockets(http_file(short_path / "g")))
            assert changed.result == 0, changed.text
        finally:
            await client.close()
        assert not (short_path / "h").exists()
        assert (short_path / "g").stat().st_mode & 0o777 == 0o660


@pytest.mark.parametrize(
    ("extra", "words"),
    [
        ({"socket-port": 1}, "parameter 'socket-port' is not supported by HTTP control sockets"),
        ({"trust-anchor": "x"}, "parameter 'trust-anchor' is not supported"),
        ({"mode": 0o660}, "invalid type specified for parameter 'mode'"),
        ({"authentication": {"users": []}}, "unsupported parameter 'users' in authentication"),
        ({"socket-name": ""}, "Mandatory 'socket-name' parameter missing"),
    ],
)
def test_what_is_wrong_with_http_on_a_unix_socket_is_told(extra: dict[str, JSON], words: str) -> None:
    value = sockets({**http_file(Path("/run/x")), **extra})
    with pytest.raises(bridle.BridleError, match=words):
        read_control_sockets(value, Document({"Kettle": value}), "Kettle")
