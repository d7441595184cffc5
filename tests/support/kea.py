"""Real Kea for tests and benchmarks: its daemons, its control agent, and plain sockets to talk to them.

The plain sockets (:func:`ask`, :func:`post`) know nothing of Bridle, so what they hear from the real programs
can be held against what Bridle says. All daemons listen on loopback only, serve no network interface, and
keep everything that they write in a directory of the caller's.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import re
import socket
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, TypeAlias, Union

from bridle.server.browsers import FIXED_HEADERS
from tests.support.programs import PORT_ATTEMPTS, Program, free_port, require, short_directory

JSON: TypeAlias = Union[None, bool, int, float, str, "list[JSON]", "dict[str, JSON]"]

ANSWER_SECONDS = 10.0
"""How long an answer may take; Kea's own limit on a silent control channel is the same."""


class KeaProgram(Program):
    """One of Kea's programs, started with ``-c`` and a configuration file written from ``settings``."""

    program: ClassVar[str]
    root: ClassVar[str]
    """The one key at the top of the configuration, e.g. ``Dhcp4``."""

    def __init__(self, directory: Path, settings: Mapping[str, JSON] | None = None) -> None:
        self.configuration = directory / f"{self.program}.conf"
        self.settings = dict(settings or {})
        environment = {
            "KEA_PIDFILE_DIR": str(directory),
            "KEA_LOCKFILE_DIR": str(directory),
            "KEA_LOGGER_DESTINATION": str(directory / f"{self.program}.early.log"),
        }
        argv: list[str | Path] = [require(self.program), "-c", self.configuration]
        super().__init__(argv, directory, name=self.program, environment=environment)

    def defaults(self) -> dict[str, JSON]:
        """The configuration below :attr:`root`, before ``settings`` replace some of its entries."""
        raise NotImplementedError

    def prepare(self) -> None:
        """Write the configuration file."""
        document = {self.root: {**self.defaults(), "loggers": [self._logger()], **self.settings}}
        self.configuration.write_text(json.dumps(document, indent=2))

    @property
    def log(self) -> str:
        """What it has logged once its configuration was read."""
        path = self._log()
        return path.read_text(errors="replace") if path.exists() else ""

    def account(self) -> str:
        return f"{super().account()}{self.log}"

    def _log(self) -> Path:
        return self.directory / f"{self.program}.log"

    def _logger(self) -> JSON:
        return {"name": self.program, "severity": "INFO", "output_options": [{"output": str(self._log())}]}


class KeaDaemon(KeaProgram):
    """A daemon with a control socket at :attr:`socket`."""

    service: ClassVar[str]
    """What the control agent calls it."""

    def __init__(self, directory: Path, settings: Mapping[str, JSON] | None = None) -> None:
        super().__init__(directory, settings)
        self.socket = directory / f"{self.service}.sock"

    def ready(self) -> bool:
        return self.socket.exists() and answers(self.socket)

    def _control_socket(self) -> JSON:
        return {"socket-type": "unix", "socket-name": str(self.socket)}


class Dhcp4(KeaDaemon):
    """``kea-dhcp4``, with one subnet and no interface to serve it on."""

    program = "kea-dhcp4"
    root = "Dhcp4"
    service = "dhcp4"

    def defaults(self) -> dict[str, JSON]:
        return {
            "interfaces-config": {"interfaces": []},
            "lease-database": {"type": "memfile", "persist": False},
            "control-socket": self._control_socket(),
            "subnet4": [
                {"id": 1, "subnet": "192.0.2.0/24", "pools": [{"pool": "192.0.2.10 - 192.0.2.200"}]},
            ],
        }


class Dhcp6(KeaDaemon):
    """``kea-dhcp6``, with one subnet and no interface to serve it on."""

    program = "kea-dhcp6"
    root = "Dhcp6"
    service = "dhcp6"

    def defaults(self) -> dict[str, JSON]:
        return {
            "interfaces-config": {"interfaces": []},
            "lease-database": {"type": "memfile", "persist": False},
            "control-socket": self._control_socket(),
            "data-directory": str(self.directory),
            "server-id": {"type": "EN", "enterprise-id": 2495, "identifier": "0123456789", "persist": False},
            "subnet6": [
                {
                    "id": 1,
                    "subnet": "2001:db8:1::/64",
                    "pools": [{"pool": "2001:db8:1::10 - 2001:db8:1::ff"}],
                },
            ],
        }


class DhcpDdns(KeaDaemon):
    """``kea-dhcp-ddns``, which also listens for name change requests, on a free UDP port of 127.0.0.1."""

    program = "kea-dhcp-ddns"
    root = "DhcpDdns"
    service = "d2"

    def __init__(self, directory: Path, settings: Mapping[str, JSON] | None = None) -> None:
        super().__init__(directory, settings)
        self.port = free_port(socket.SOCK_DGRAM)

    def defaults(self) -> dict[str, JSON]:
        return {
            "ip-address": "127.0.0.1",
            "port": self.port,
            "control-socket": self._control_socket(),
            "tsig-keys": [],
            "forward-ddns": {},
            "reverse-ddns": {},
        }


class ControlAgent(KeaProgram):
    """``kea-ctrl-agent`` on a free port, in front of ``services``: names and the sockets behind them."""

    program = "kea-ctrl-agent"
    root = "Control-agent"
    attempts = PORT_ATTEMPTS

    def __init__(
        self, directory: Path, services: Mapping[str, Path], settings: Mapping[str, JSON] | None = None
    ) -> None:
        super().__init__(directory, settings)
        self.services = dict(services)
        self.port = 0

    def defaults(self) -> dict[str, JSON]:
        return agent_settings(self.port, self.services)

    def ready(self) -> bool:
        return listens(self.port)

    def prepare(self) -> None:
        self.port = free_port()
        super().prepare()


def agent_settings(port: int, services: Mapping[str, Path]) -> dict[str, JSON]:
    """What a control agent is configured with, below ``Control-agent``."""
    return {
        "http-host": "127.0.0.1",
        "http-port": port,
        "control-sockets": {
            name: {"socket-type": "unix", "socket-name": str(path)} for name, path in services.items()
        },
    }


@dataclass(frozen=True)
class RealKea:
    """Kea's three daemons, running; the fields are the paths of their control sockets."""

    dhcp4: Path
    dhcp6: Path
    d2: Path
    directory: Path

    @property
    def services(self) -> dict[str, Path]:
        """The sockets by the names that a control agent knows them under."""
        return {"dhcp4": self.dhcp4, "dhcp6": self.dhcp6, "d2": self.d2}


@contextlib.contextmanager
def running_kea() -> Iterator[RealKea]:
    """Run ``kea-dhcp4``, ``kea-dhcp6`` and ``kea-dhcp-ddns`` in a directory of their own."""
    with contextlib.ExitStack() as stack:
        directory = stack.enter_context(short_directory())
        daemons = [stack.enter_context(kind(directory)) for kind in (Dhcp4, Dhcp6, DhcpDdns)]
        dhcp4, dhcp6, d2 = (daemon.socket for daemon in daemons)
        yield RealKea(dhcp4, dhcp6, d2, directory)


def replying(answer: bytes) -> Callable[[socket.socket], None]:
    """A conversation for :func:`listener`: wait for a request, and send these bytes whatever it was."""

    def converse(channel: socket.socket) -> None:
        channel.recv(65536)
        channel.sendall(answer)

    return converse


def exchange(path: Path, request: bytes) -> bytes:
    """Send bytes to a unix stream socket, and give all that comes back until the end of the stream."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as channel:
        channel.settimeout(ANSWER_SECONDS)
        channel.connect(str(path))
        channel.sendall(request)
        answer = bytearray()
        while piece := channel.recv(65536):
            answer += piece
        return bytes(answer)


def ask(path: Path, command: str, arguments: JSON = None) -> dict[str, JSON]:
    """Send one command to a Kea control socket and give the decoded answer."""
    answer: dict[str, JSON] = json.loads(exchange(path, request(command, arguments)))
    return answer


def request(command: str, arguments: JSON = None, services: list[str] | None = None) -> bytes:
    """A command as clients write it; without ``arguments`` and ``service`` where none are given."""
    document: dict[str, JSON] = {"command": command}
    if arguments is not None:
        document["arguments"] = arguments
    if services is not None:
        document["service"] = [*services]
    return json.dumps(document, ensure_ascii=False).encode()


def answers(path: Path) -> bool:
    """Whether a daemon answers commands at this socket now."""
    try:
        return "result" in ask(path, "status-get")
    except (OSError, ValueError):
        return False


def listens(port: int) -> bool:
    """Whether somebody accepts connections on this port of 127.0.0.1 now."""
    try:
        with socket.create_connection(("127.0.0.1", port), ANSWER_SECONDS):
            return True
    except OSError:
        return False


@dataclass(frozen=True)
class HttpAnswer:
    """An HTTP response. Header names are as they came."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def document(self) -> JSON:
        """The decoded body."""
        decoded: JSON = json.loads(self.body)
        return decoded


def own_headers(names: Iterable[str]) -> list[str]:
    """The headers that Kea has itself; ours stand behind them (``kea-http-headers``)."""
    ours = {line.partition(b":")[0].decode() for line in FIXED_HEADERS.splitlines()}
    return [name for name in names if name not in ours and name != "X-Request-ID"]


def post(
    port: int, body: bytes, headers: Mapping[str, str] | None = None, *, method: str = "POST"
) -> HttpAnswer:
    """Send one request to an agent on 127.0.0.1, as JSON where ``headers`` do not say otherwise."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=ANSWER_SECONDS)
    try:
        connection.request(method, "/", body, {"Content-Type": "application/json", **(headers or {})})
        answer = connection.getresponse()
        return HttpAnswer(answer.status, dict(answer.getheaders()), answer.read())
    finally:
        connection.close()


@contextlib.contextmanager
def absent_daemons(directory: Path) -> Iterator[dict[str, Path]]:
    """Three ways for a service to be away: no socket, a socket nobody listens on, and one that hangs up."""
    services = {name: directory / f"absent-{name}.sock" for name in ("dhcp4", "dhcp6", "d2")}
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as abandoned:
        abandoned.bind(str(services["dhcp6"]))
    with listener(services["d2"], lambda channel: channel.recv(65536)):
        yield services


@contextlib.contextmanager
def listener(path: Path, converse: Callable[[socket.socket], object]) -> Iterator[None]:
    """Listen on a unix stream socket: hold a conversation on each connection in turn, then close it."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as server:
        server.bind(str(path))
        server.listen()
        thread = threading.Thread(target=_serve, args=(server, converse), name=f"listener {path.name}")
        thread.start()
        try:
            yield
        finally:
            server.shutdown(socket.SHUT_RDWR)
            thread.join(ANSWER_SECONDS)


def _serve(server: socket.socket, converse: Callable[[socket.socket], object]) -> None:
    while True:
        try:
            channel, _ = server.accept()
        except OSError:  # shut down
            return
        with channel, contextlib.suppress(OSError):
            channel.settimeout(ANSWER_SECONDS)
            converse(channel)


PASSING = re.compile(rb'"(pid|uptime|reload)": \d+')
"""What differs from one process, or one second, to the next."""

POSITION = re.compile(rb"<wire>:\d+:\d+")
"""A place in the text that a daemon was sent: each agent spaces what it forwards in its own way."""


def masked(answer: bytes) -> bytes:
    """An answer without what no two agents have in common, so that the rest can be compared."""
    return POSITION.sub(b"<wire>", PASSING.sub(rb'"\1": 0', answer))
