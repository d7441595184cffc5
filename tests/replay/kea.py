"""Replays rows of ``tests/vectors/kea.jsonl`` against our daemons and the agent, on the virtual clock."""

from __future__ import annotations

import asyncio
import json
import random
import re
import shutil
import socket
import string
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import ClassVar

import msgspec

import bridle
from bridle.agent.agent import Agent
from bridle.bundled.ddns.d2 import D2
from bridle.bundled.dhcp.dhcp4 import Dhcp4
from bridle.bundled.dhcp.dhcp6 import Dhcp6
from bridle.bundled.dhcp.leases import Lease4
from bridle.bundled.dhcp.store_sqlite import SqliteStore4

VECTORS = Path(__file__).parent.parent / "vectors" / "kea.jsonl"
# What the capture called its folder and its port; ours are as long, so that columns in error texts agree.
CAPTURED_FOLDER = "/srv/t/kea"
CAPTURED_PORT = "18000"
# The port of the capture's second agent.
SECOND_PORT = "18021"


class Row(msgspec.Struct, frozen=True):
    """One captured exchange."""

    number: int
    server: str
    request: str
    response: str
    note: str

    @property
    def command(self) -> str | None:
        """The command's name, where the request holds one."""
        try:
            return str(json.loads(self.request[self.request.index("{") :], strict=False)["command"])
        except (ValueError, KeyError, TypeError):
            return None

    @property
    def exit_status(self) -> int | None:
        """What the process ended with, where the capture waited for that."""
        found = re.match(r"process exit status (\d+)", self.note)
        return None if found is None else int(found[1])

    @property
    def half_closes(self) -> bool:
        """True when the client of the capture sent its end after the request."""
        return "half-close" in self.note


def rows() -> list[Row]:
    """All rows."""
    lines = VECTORS.read_text("utf-8").splitlines()
    return [
        Row(number, row["server"], row["request"], row["response"], row["note"])
        for number, row in enumerate(map(json.loads, lines))
    ]


class Kea4(Dhcp4):
    """Our DHCPv4 daemon, of the captured one's version."""

    root: ClassVar[str] = "Dhcp4"
    version: ClassVar[str] = "2.2.0"


class Kea6(Dhcp6):
    """The same for DHCPv6."""

    root: ClassVar[str] = "Dhcp6"
    version: ClassVar[str] = "2.2.0"


class KeaD2(D2):
    """The same for DDNS."""

    root: ClassVar[str] = "DhcpDdns"
    version: ClassVar[str] = "2.2.0"


DAEMONS: dict[str, type[bridle.Daemon]] = {"dhcp4": Kea4, "dhcp6": Kea6, "d2": KeaD2}
SOCKETS = {"dhcp4": "kea4.sock", "dhcp6": "kea6.sock", "d2": "d2.sock"}
FILES = {"dhcp4": "kea4.json", "dhcp6": "kea6.json", "d2": "d2.json"}


class Stage:
    """A folder and a port for one replay, and the capture's names turned into them and back."""

    def __init__(self) -> None:
        while True:
            name = "".join(random.choices(string.ascii_lowercase + string.digits, k=4))
            self.folder = Path(f"/tmp/b{name}")
            try:
                self.folder.mkdir(0o750)
                break
            except FileExistsError:
                continue
        for part in ("conf", "run", "log"):
            (self.folder / part).mkdir()
        self.port = free_port()

    def ours(self, text: str) -> str:
        """The capture's names replaced by ours."""
        text = text.replace(CAPTURED_FOLDER, str(self.folder))
        return text.replace(CAPTURED_PORT, self.port).replace(SECOND_PORT, self.port)

    def captured(self, text: str) -> str:
        """Our names replaced by the capture's."""
        return text.replace(str(self.folder), CAPTURED_FOLDER).replace(self.port, CAPTURED_PORT)

    def __enter__(self) -> Stage:
        return self

    def __exit__(self, *_: object) -> None:
        shutil.rmtree(self.folder)


def free_udp_port() -> int:
    """A port on which no other replay listens for name changes."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def free_port() -> str:
    """A free port with five digits, as the captured one has."""
    while True:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = str(probe.getsockname()[1])
        if len(port) == 5:
            return port


def configuration(server: str) -> dict[str, object]:
    """The configuration of a captured daemon."""
    if server == "d2":
        return json.loads(rows()[119].response)["arguments"]
    if server == "dhcp4":
        return json.loads(rows()[51].response)["arguments"]
    # DHCPv6's was not asked for, but sent back to it, with one parameter that there is not.
    sent: dict[str, object] = json.loads(rows()[174].request)["arguments"]
    whole = sent["Dhcp6"]
    assert isinstance(whole, dict)
    del whole["BOGUS"]
    return sent


async def replay_on_socket(
    row: Row,
    stage: Stage,
    *,
    file: str | None = None,
    more: Mapping[str, object] | None = None,
    leases: Iterable[Lease4] = (),
) -> str:
    """Send a row's request to our daemon, configured as the captured one; what came back until the end.

    ``file`` is what the configuration file holds when the request is sent; at the start it is sound. ``more``
    replaces parameters of the configuration; ``leases`` are there at the start.
    """
    daemon = DAEMONS[row.server]()
    path = stage.folder / "run" / SOCKETS[row.server]
    conf = stage.folder / "conf" / FILES[row.server]
    captured = configuration(row.server)
    whole = captured[daemon.root]
    assert isinstance(whole, dict)
    if row.server == "d2":
        whole["port"] = free_udp_port()
    conf.write_text(stage.ours(json.dumps({daemon.root: {**whole, **(more or {})}})))
    store = SqliteStore4(str(stage.folder / "run" / "leases4.sqlite"))
    for lease in leases:
        store.insert(lease)
    store.close()
    async with bridle.serve(daemon, configuration_file=str(conf)) as running:
        if file is not None:
            conf.write_text(file)
        reader, writer = await asyncio.open_unix_connection(path)
        writer.write(stage.ours(row.request).encode("utf-8", "surrogateescape"))
        if row.half_closes:
            writer.write_eof()
        answer = await reader.read()
        writer.close()
        await writer.wait_closed()
        if row.exit_status is not None:
            assert await running.wait() == row.exit_status
    return stage.captured(answer.decode("utf-8", "surrogateescape"))


@asynccontextmanager
async def agent_at(
    stage: Stage, extra: dict[str, object] | None = None, sockets: dict[str, object] | None = None
) -> AsyncIterator[None]:
    """Our agent, configured as the capture's."""
    services = {
        name: {"socket-name": str(stage.folder / "run" / file), "socket-type": "unix"}
        for name, file in SOCKETS.items()
    }
    conf = stage.folder / "conf" / "ca.json"
    configuration = {
        "control-sockets": services if sockets is None else sockets,
        "http-port": int(stage.port),
        **(extra or {}),
    }
    conf.write_text(json.dumps({"Control-agent": configuration}))
    async with bridle.serve(Agent(), configuration_file=str(conf)):
        yield


async def exchange_http(stage: Stage, request: str) -> str:
    """Send bytes to the agent; one whole HTTP answer, or what came until the end."""
    reader, writer = await asyncio.open_connection("127.0.0.1", int(stage.port))
    # The captured name is one that the agent does not go by (``kea-http-host``).
    ours = stage.ours(request).replace("Host: x\r\n", "Host: 127.0.0.1\r\n")
    writer.write(ours.encode("utf-8", "surrogateescape"))
    head = b""
    try:
        head = await reader.readuntil(b"\r\n\r\n")
        length = next(
            int(line.split(b":")[1])
            for line in head.split(b"\r\n")
            if line.lower().startswith(b"content-length")
        )
        answer = head + await reader.readexactly(length)
    except asyncio.IncompleteReadError as error:
        answer = head + error.partial
    writer.close()
    await writer.wait_closed()
    return stage.captured(answer.decode("utf-8", "surrogateescape"))


@asynccontextmanager
async def backend(path: Path, talk: Callable[[bytes], bytes | None]) -> AsyncIterator[list[bytes]]:
    """A daemon on a unix socket that answers the first bytes it reads with what ``talk`` says, and closes.

    None keeps it silent.
    """
    seen: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        request = await reader.read(65536)
        seen.append(request)
        answer = talk(request)
        if answer is None:
            await reader.read()
        else:
            writer.write(answer)
        writer.close()

    server = await asyncio.start_unix_server(serve, path)
    try:
        yield seen
    finally:
        server.close()
        await server.wait_closed()
