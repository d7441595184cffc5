"""TLS on the control sockets of a configuration that are streams: in every dialect, renewed by a reload."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator
from pathlib import Path
from typing import NamedTuple

import pytest

import bridle
from bridle import ConfigurationError, Peer
from bridle.daemon.control_sockets import read_control_sockets
from bridle.daemon.document import Document
from tests.daemon.test_channels import change, sockets
from tests.support.certificates import Certificates
from tests.support.kettle import JSON, Kettle, Site, served
from tests.support.loops import on_every_loop
from tests.support.programs import free_port


class Curious(Kettle):
    """A kettle that says who asks, and has some wait."""

    root = "Kettle"

    def __init__(self) -> None:
        super().__init__()
        self.asked = asyncio.Event()
        self.answered = asyncio.Event()

    @bridle.command(access="read")
    def who(self, peer: Peer) -> JSON:
        """Answer with the name in the asker's certificate, and whether there is a unix user."""
        return [peer.tls_subject or "", peer.uid is not None]

    @bridle.command(access="read")
    async def wait(self) -> str:
        """Answer when the test wants it."""
        self.asked.set()
        await self.answered.wait()
        return "waited"


class Place(NamedTuple):
    """A control socket, and the endpoint that a client goes to."""

    entry: dict[str, JSON]
    endpoint: str

    def secured(self, certificates: Certificates, **extra: JSON) -> dict[str, JSON]:
        """The configuration that has it speak TLS."""
        more = {key.replace("_", "-"): value for key, value in extra.items()}
        return sockets({**self.entry, **certificates.keys(), **more})


@pytest.fixture(params=["unix", "bngblaster", "binrpc on unix", "binrpc on tcp"])
def place(request: pytest.FixtureRequest, short_path: Path) -> Place:
    kind = str(request.param)
    path = f"{short_path}/s"
    if kind == "binrpc on tcp":
        address = f"tcp:127.0.0.1:{free_port()}"
        return Place({"socket-type": "binrpc", "socket-name": address}, f"binrpc+{address}")
    if kind == "binrpc on unix":
        return Place({"socket-type": "binrpc", "socket-name": f"unixs:{path}"}, f"binrpc+unix:{path}")
    dialect = "bngblaster+" if kind == "bngblaster" else ""
    return Place({"socket-type": kind, "socket-name": path}, f"{dialect}unix:{path}")


@pytest.fixture
def certificates(short_path: Path) -> Certificates:
    return Certificates(short_path)


@contextlib.asynccontextmanager
async def listening(
    folder: Path, configuration: dict[str, JSON], daemon: Curious | None = None
) -> AsyncIterator[Site]:
    async with served(folder, daemon or Curious(), configuration=configuration) as site:
        yield site


async def let_in(place: Place, tls: ssl.SSLContext | None) -> JSON:
    """Who a client is found to be; None for one that is kept out."""
    async with bridle.connect_async(place.endpoint, tls=tls, timeout=5) as client:
        try:
            return await client.call("who")
        except (bridle.TransportError, bridle.RemoteProtocolError):
            return None


async def shown(place: Place, certificates: Certificates) -> bytes:
    """The certificate that those who connect now are shown."""
    endpoint = bridle.Endpoint.parse(place.endpoint)
    tls = certificates.client()
    if endpoint.transport == "unix":
        connecting = asyncio.open_unix_connection(endpoint.path, ssl=tls, server_hostname="localhost")
    else:
        connecting = asyncio.open_connection(endpoint.host, endpoint.port, ssl=tls)
    _, writer = await connecting
    found: bytes | None = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
    writer.transport.abort()
    assert found is not None
    return found


@on_every_loop
async def test_clients_with_a_certificate_are_let_in_and_known_and_others_kept_out(
    short_path: Path, certificates: Certificates, place: Place
) -> None:
    async with listening(short_path, place.secured(certificates)):
        local = "unix:" in place.endpoint
        assert await let_in(place, certificates.client()) == ["operator", local]
        for tls in (certificates.client(""), certificates.client("stranger"), None):
            assert await let_in(place, tls) is None


@on_every_loop
async def test_a_certificate_may_be_left_out_where_none_is_required(
    short_path: Path, certificates: Certificates, place: Place
) -> None:
    async with listening(short_path, place.secured(certificates, cert_required=False)):
        local = "unix:" in place.endpoint
        assert await let_in(place, certificates.client()) == ["operator", local]
        assert await let_in(place, certificates.client("")) == ["", local]
        assert await let_in(place, certificates.client("stranger")) is None
        assert await let_in(place, None) is None


@on_every_loop
async def test_a_reload_renews_certificates_and_drops_nobody(
    short_path: Path, certificates: Certificates, place: Place
) -> None:
    daemon = Curious()
    async with listening(short_path, place.secured(certificates), daemon) as site:
        channels = site.running.server.channels
        async with bridle.connect_async(place.endpoint, tls=certificates.client()) as client:
            assert await client.call("repeat", {"value": "before"}) == "before"
            before = await shown(place, certificates)
            certificates.issue("server", "localhost", "127.0.0.1")
            assert await shown(place, certificates) == before
            waiting = asyncio.create_task(client.call("wait"))
            await daemon.asked.wait()
            assert (await site.ask("config-reload")).result == 0
            renewed = await shown(place, certificates)
            assert renewed != before
            assert site.running.server.channels == channels
            assert await client.call("repeat", {"value": "after"}) == "after"
            daemon.answered.set()
            assert await waiting == "waited"

            (certificates.folder / "server.pem").write_text("nonsense")
            answer = await site.ask("config-reload")
            assert answer.result == 1
            assert "load of cert file" in str(answer.text)
            assert await shown(place, certificates) == renewed
            assert await client.call("repeat", {"value": "still"}) == "still"


@on_every_loop
async def test_whom_it_trusts_and_whether_it_asks_changes_without_a_new_listener(
    short_path: Path, certificates: Certificates, place: Place
) -> None:
    async with listening(short_path, place.secured(certificates)) as site:
        channels = site.running.server.channels
        other = place.secured(certificates, trust_anchor=f"{short_path}/other.pem")
        assert (await change(site, other)).result == 0
        assert await let_in(place, certificates.client()) is None
        assert await let_in(place, certificates.client("stranger")) is not None
        assert (await change(site, place.secured(certificates, cert_required=False))).result == 0
        assert await let_in(place, certificates.client("")) is not None
        assert site.running.server.channels == channels


@pytest.mark.parametrize("secured_first", [True, False])
@on_every_loop
async def test_plain_and_tls_do_not_change_places(
    short_path: Path, certificates: Certificates, place: Place, secured_first: bool
) -> None:
    plain, secured = sockets(place.entry), place.secured(certificates)
    before, after = (secured, plain) if secured_first else (plain, secured)
    async with listening(short_path, before) as site:
        answer = await change(site, after)
        same = "address and port" if "tcp:" in place.endpoint else "path"
        words = ("TLS", "plain") if secured_first else ("plain", "TLS")
        assert (answer.result, answer.text) == (
            1,
            f"Can not switch from {words[0]} to {words[1]} sockets using the same {same}.",
        )
        tls = certificates.client() if secured_first else None
        assert await let_in(place, tls) is not None


MISTAKES: list[tuple[dict[str, JSON], dict[str, JSON], str, str]] = [
    (
        {"socket-type": "binrpc", "socket-name": "udp:127.0.0.1:1"},
        {"cert-file": "x"},
        "binrpc+udp:127.0.0.1:1 cannot speak TLS, which streams do",
        "cert-file",
    ),
    (
        {"socket-type": "binrpc", "socket-name": "unixd:/x"},
        {"trust-anchor": "x", "cert-file": "x", "key-file": "x"},
        "binrpc+unixd:/x cannot speak TLS, which streams do",
        "trust-anchor",
    ),
    (
        {"socket-type": "fifo", "socket-name": "/x"},
        {"cert-required": True},
        "fifo:/x cannot speak TLS, which streams do",
        "cert-required",
    ),
    (
        {"socket-type": "fifo", "socket-name": "tcp:127.0.0.1:1"},
        {"key-file": "x"},
        "fifo+tcp:127.0.0.1:1 cannot speak TLS: its answers end where a side closes",
        "key-file",
    ),
    (
        {"socket-type": "pacemaker", "socket-name": "x"},
        {"trust-anchor": "x"},
        "parameter 'trust-anchor' is not supported by PACEMAKER control sockets",
        "trust-anchor",
    ),
    (
        {"socket-type": "http", "socket-name": "/x"},
        {"trust-anchor": "x"},
        "parameter 'trust-anchor' is not supported by HTTP control sockets",
        "trust-anchor",
    ),
    (
        {"socket-type": "unix", "socket-name": "/x"},
        {"cert-required": True},
        "cert-required asks for nothing without trust-anchor, cert-file, key-file",
        "cert-required",
    ),
    (
        {"socket-type": "bngblaster", "socket-name": "/x"},
        {"cert-required": "yes"},
        "invalid type specified for parameter 'cert-required'",
        "cert-required",
    ),
    (
        {"socket-type": "unix", "socket-name": "/x"},
        {"trust-anchor": "/none", "cert-file": "/none", "key-file": "/none"},
        "load of CA file '/none' failed: No such file or directory",
        "trust-anchor",
    ),
]


@pytest.mark.parametrize(("entry", "keys", "text", "key"), MISTAKES, ids=lambda value: str(value)[:40])
def test_tls_where_it_makes_no_sense_is_refused_with_its_place(
    entry: dict[str, JSON], keys: dict[str, JSON], text: str, key: str
) -> None:
    value = sockets({**entry, **keys})
    document = Document({"Kettle": value})
    with pytest.raises(ConfigurationError) as caught:
        read_control_sockets(value, document, "Kettle")
    assert caught.value.text == text
    assert caught.value.path == ["Kettle", "control-sockets", 0, key]


def test_some_of_the_files_are_not_enough() -> None:
    value = sockets({"socket-type": "unix", "socket-name": "/x", "cert-file": "/y"})
    with pytest.raises(ConfigurationError, match="all or none of TLS parameters must be set"):
        read_control_sockets(value, Document({"Kettle": value}), "Kettle")


def test_a_key_that_others_can_read_is_refused_unless_that_is_allowed(certificates: Certificates) -> None:
    (certificates.folder / "server.pem").chmod(0o644)
    entry: dict[str, JSON] = {"socket-type": "unix", "socket-name": "/x", **certificates.keys()}
    value = sockets(entry)
    with pytest.raises(ConfigurationError, match="others can read it"):
        read_control_sockets(value, Document({"Kettle": value}), "Kettle")
    value = sockets({**entry, "allow-readable-secrets": True})
    [found] = read_control_sockets(value, Document({"Kettle": value}), "Kettle")
    assert found.http.tls is not None


@pytest.mark.parametrize("kind", ["unix", "bngblaster", "binrpc"])
def test_rights_of_a_socket_s_file_are_its_options(kind: str) -> None:
    entry: JSON = {"socket-type": kind, "socket-name": "unix:/s" if kind == "binrpc" else "/s"}
    assert isinstance(entry, dict)
    entry |= {"mode": "0600", "owner": "root", "group": "adm"}
    document = Document({"Kettle": {"control-sockets": [entry]}})
    (found,) = read_control_sockets({"control-sockets": [entry]}, document, "Kettle")
    assert dict(found.endpoint.options) == {"mode": "0600", "owner": "root", "group": "adm"}
