"""The methods that every channel of Kamailio's dialects has, besides the commands of the daemon: those of its
ctl module and of its core that ``kamcmd`` and monitoring ask for (``facts/kamailio.md`` §4, §5).

A daemon's own command of the same name comes first. On other channels these methods do not exist.
"""

from __future__ import annotations

import os
import platform
import sys
import threading
import time
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Protocol

from bridle.core.errors import CommandError
from bridle.core.manager import CommandDefinition, CommandManager
from bridle.core.messages import JSON
from bridle.net.endpoint import Endpoint

if TYPE_CHECKING:
    from bridle.net.stream import StreamConnection

__all__ = ["Ctl", "CtlChannel"]

_TRANSPORTS = {
    "unix": "unix_stream",
    "unixd": "unix_dgram",
    "tcp": "tcp",
    "udp": "udp",
    "fifo": "fifo",
}
_TYPES = {"int": "int", "float": "double", "str": "string", "bool": "boolean", "scalar": "any", "any": "any"}
_ANONYMOUS = "<anonymous unix socket>"


class CtlChannel(Protocol):
    """What is asked of a channel."""

    @property
    def endpoint(self) -> Endpoint:
        """Where it listens."""
        ...

    @property
    def connections(self) -> Iterable[StreamConnection]:
        """Who is connected, in order; nobody where there are no connections."""
        ...


class Ctl:
    """The methods of one server. ``name`` and ``version`` are the daemon's, ``began`` is its start."""

    def __init__(
        self,
        manager: CommandManager,
        name: str,
        version: str,
        began: float,
        channels: Callable[[], Iterable[CtlChannel]],
    ) -> None:
        self._manager = manager
        self._name = name
        self._version = version
        self._channels = channels
        self._began = began
        methods: dict[str, Callable[..., object]] = {
            "core.arg": self.arg,
            "core.echo": self.echo,
            "core.printi": self.printi,
            "core.prints": self.prints,
            "core.ps": self.ps,
            "core.psx": self.psx,
            "core.pwd": self.pwd,
            "core.uptime": self.uptime,
            "core.version": self.version,
            "ctl.connections": self.connections,
            "ctl.listen": self.listen,
            "ctl.who": self.who,
            "system.listMethods": self.list_methods,
            "system.methodHelp": self.method_help,
            "system.methodSignature": self.method_signature,
        }
        self.definitions: dict[str, CommandDefinition] = {
            method: CommandDefinition(method, handler, "read") for method, handler in methods.items()
        }

    def arg(self) -> list[str]:
        """Returns the list of command line arguments that the daemon was started with."""
        return list(sys.orig_argv)

    def echo(self, *values: str | int | float) -> list[str]:
        """Returns back its parameters, as strings."""
        return list(map(str, values))

    def prints(self, *values: str) -> list[str]:
        """Returns back its parameters, which are strings."""
        return list(values)

    def printi(self, *values: int) -> list[int]:
        """Returns back its parameters, which are integers."""
        return list(values)

    def ps(self) -> list[JSON]:
        """Returns the ids and descriptions of the daemon's threads, the process itself first."""
        return [item for process in self._processes() for item in process]

    def psx(self) -> list[dict[str, JSON]]:
        """Returns the daemon's threads, each as index, id and description."""
        return [
            {"IDX": index, "PID": pid, "DSC": text} for index, (pid, text) in enumerate(self._processes())
        ]

    def _processes(self) -> list[tuple[int, str]]:
        found = [(os.getpid(), f"main process - {self._name}")]
        main = threading.main_thread()
        found += [
            (thread.native_id or 0, thread.name) for thread in threading.enumerate() if thread is not main
        ]
        return found

    def pwd(self) -> str:
        """Returns the working directory of the daemon."""
        return os.getcwd()  # noqa: PTH109 - pathlib takes longer

    def uptime(self) -> dict[str, JSON]:
        """Returns the time, the time of the start, and the seconds in between."""
        now = time.time()
        return {
            "now": time.ctime(now),
            "up_since": time.ctime(self._began),
            "uptime": int(now) - int(self._began),
        }

    def version(self) -> str:
        """Returns the name and version of the daemon."""
        return f"{self._name} {self._version} ({platform.machine()}/{platform.system().lower()})"

    def listen(self) -> list[str]:
        """Returns the ctl sockets: protocol, transport, address and port of each."""
        found = []
        for channel in self._channels():
            endpoint = channel.endpoint
            port = str(endpoint.port) if endpoint.port else ""
            found += [endpoint.dialect, _TRANSPORTS[endpoint.transport], endpoint.path or endpoint.host, port]
        return found

    def connections(self) -> int:
        """Returns the number of open stream connections of the ctl sockets."""
        return sum(len(tuple(channel.connections)) for channel in self._channels())

    def who(self) -> list[str]:
        """Returns the open stream connections: protocol, transport, source and destination, with ports."""
        found = sorted(
            (connection.number, _described(channel.endpoint, connection))
            for channel in self._channels()
            for connection in channel.connections
        )
        if not found:
            raise CommandError("no open stream connection")
        return [word for _, words in found for word in words]

    def list_methods(self) -> list[str]:
        """Lists all methods."""
        own = {definition.name for definition in self._manager}
        return sorted(own.union(self.definitions))

    def method_help(self, method: str | None = None) -> str:
        """Returns the help of a method."""
        return self._definition(method).help or "undocumented"

    def method_signature(self, method: str | None = None) -> list[str]:
        """Returns the types of what a method returns and takes; those in brackets may be left out."""
        signature = self._definition(method).signature
        expected = signature.expected
        taken = [
            _TYPES[kind] if index < expected.required else f"[{_TYPES[kind]}]"
            for index, kind in enumerate(expected.kinds)
        ]
        rest = [f"[{_TYPES[expected.rest]}...]"] if expected.rest else []
        return [signature.result_type, *taken, *rest]

    def _definition(self, method: str | None) -> CommandDefinition:
        if method is None:
            raise CommandError("Method Name Expected")
        found = self._manager.definition(method) or self.definitions.get(method)
        if found is None:
            raise CommandError("command not found")
        return found


def _described(endpoint: Endpoint, connection: StreamConnection) -> tuple[str, ...]:
    begin = (endpoint.dialect, _TRANSPORTS[endpoint.transport])
    if endpoint.transport == "unix":
        return (*begin, _ANONYMOUS, "", endpoint.path, "")
    sock = connection.socket
    try:
        source, destination = (sock.getpeername(), sock.getsockname()) if sock is not None else ((), ())
    except OSError:
        source = destination = ()
    return (*begin, *_place(source), *_place(destination))


def _place(address: tuple[object, ...]) -> tuple[str, str]:
    return (str(address[0]), str(address[1])) if len(address) > 1 else ("", "")
