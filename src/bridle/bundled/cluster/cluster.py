"""The cluster daemon: ``bridle run cluster``. One node of an imagined cluster, with real state.

::

    configuration ─▶ World ◀─ advance(seconds) ── a timer, and every command
                       │
                       └ commands ─▶ pacemakerd, crmd, attrd, cib_rw and the rest of Pacemaker's names
"""

from __future__ import annotations

import asyncio
import logging
import re
import socket
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import ClassVar, Literal

from bridle.bundled.cluster.cib_commands import CibCommands
from bridle.bundled.cluster.failure import failure
from bridle.bundled.cluster.fencing_commands import FencingCommands
from bridle.bundled.cluster.node_commands import NodeCommands
from bridle.bundled.cluster.resource_commands import ResourceCommands
from bridle.bundled.cluster.schema import check
from bridle.bundled.cluster.settings import ClusterSettings
from bridle.bundled.cluster.tree import Node, copy_of, dump, parse
from bridle.bundled.cluster.world import World
from bridle.core.errors import CommandError, ConfigurationError
from bridle.core.events import EventLog
from bridle.core.messages import JSON, Command, Response
from bridle.core.version import VERSION
from bridle.daemon.channel_settings import ChannelSettings
from bridle.daemon.daemon import Daemon
from bridle.daemon.document import Document
from bridle.daemon.files import replace_file
from bridle.net.endpoint import Endpoint
from bridle.wire.pacemaker_server import SERVICES

__all__ = ["EVENTS_REMEMBERED", "Cluster"]

EVENTS_REMEMBERED = 50
"""Events that a reader may come back for. One about a CIB that was replaced holds it twice."""

Transport = Literal["shm", "socket"]

# Seconds until the next look, at most and at least: answers do not wait for it.
_LONGEST = 3600.0
_SHORTEST = 0.001
_CIB_SAVE = 210
_NODE_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.:-]{0,254}")

_log = logging.getLogger("bridle.cluster")


class Cluster(NodeCommands, CibCommands, ResourceCommands, FencingCommands, Daemon):
    """One node of an imagined cluster.

    ``node`` is its name, by default the configuration's, or the host's. ``transport`` is how libqb carries
    messages: shared memory, or datagrams (``socket``). ``clock`` tells the seconds that pass, by default the
    event loop's, and ``epoch`` the seconds since 1970.
    """

    root: ClassVar[str] = "Cluster"
    version: ClassVar[str] = VERSION
    Configuration: ClassVar[type[ClusterSettings]] = ClusterSettings

    def __init__(
        self,
        *,
        node: str | None = None,
        transport: Transport = "shm",
        native: bool = True,
        clock: Callable[[], float] | None = None,
        epoch: Callable[[], float] = time.time,
    ) -> None:
        if node is not None and not _NODE_NAME.fullmatch(node):
            raise ConfigurationError(f"'{node}' cannot be a node's name")
        self._node = node
        self._transport = transport
        self._native = native
        self._clock = clock
        self._epoch = epoch
        self._timer: asyncio.TimerHandle | None = None
        self._due: float | None = None
        self._began = 0.0
        self._started = False
        self.graphs: int = 0
        self.events: EventLog = EventLog(EVENTS_REMEMBERED)
        self.world: World = World(ClusterSettings(), "node1", epoch(), publish=self.events.publish)
        self.manager.before_command(self._before)
        self.manager.command_processed(self._after)

    # Configuration.

    def check_configuration(self, document: Document) -> ClusterSettings:
        """Read the configuration, and see that a cluster can be made of it."""
        settings = super().check_configuration(document)
        assert isinstance(settings, ClusterSettings)
        settings.check(self._name(settings))
        return settings

    def control_channels(self, document: Document) -> Sequence[ChannelSettings]:
        """The channels that the document asks for, and those of Pacemaker's daemons: a control socket of type
        ``pacemaker`` without a name stands for all of these, and so does no such socket at all."""
        value = document.value[self.root]
        assert isinstance(value, dict)
        listed = value.get("control-sockets")
        # Those without a name are read as if they had one, so that errors say where they are.
        sockets = [_named(one) for one in listed] if isinstance(listed, list) else listed
        whole = sockets != listed
        read = document if not whole else document.changed({self.root: {**value, "control-sockets": sockets}})
        found = [*super().control_channels(read)]
        ours = [one.endpoint for one in found if one.endpoint.transport == "qb"]
        if whole or (self._native and not ours):
            first = next((one for one in ours if one.path == SERVICES[0]), None)
            options = first.options if first is not None else (("transport", self._transport),)
            taken = {one.path for one in ours}
            found += [
                ChannelSettings(Endpoint("qb", "pacemaker", path=name, options=options))
                for name in SERVICES
                if name not in taken
            ]
        return found

    def configure(self, configuration: ClusterSettings) -> None:
        """Begin anew: the cluster is another one."""
        if configuration is self.world.settings:
            return  # the one before, after another failed: it goes on
        name = self._name(configuration)
        kept = _read_cib(configuration.cib_file)
        world = World(configuration, name, self._epoch(), kept=kept, publish=self.events.publish)
        if configuration.cib_file is not None:
            file = Path(configuration.cib_file)
            world.cib.keep = lambda root: _write_cib(file, root)
            _write_cib(file, world.root)
        self.world = world
        if self._started:
            self._began = self._time()
            self._schedule()

    def _name(self, settings: ClusterSettings) -> str:
        if self._node is not None:
            return self._node
        if settings.node_name is not None:
            return settings.node_name
        host = socket.gethostname()
        return host if _NODE_NAME.fullmatch(host) else "node1"

    # Time.

    def _time(self) -> float:
        return self._clock() if self._clock is not None else asyncio.get_running_loop().time()

    async def start(self) -> None:
        """Let time pass."""
        self._started = True
        self._began = self._time()
        self._schedule()

    async def stop(self) -> None:
        """Let no more time pass."""
        self._started = False
        self._cancel()

    def _cancel(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _schedule(self) -> None:
        self._cancel()
        due = self._due = self.world.timetable.next
        seconds = _LONGEST if due is None else self._began + due - self._time()
        seconds = min(max(seconds, _SHORTEST), _LONGEST)
        self._timer = asyncio.get_running_loop().call_later(seconds, self._on_time)

    def _on_time(self) -> None:
        self._timer = None
        self.catch_up()

    def catch_up(self) -> None:
        """Let everything happen that is due; what takes too long at once is gone on with soon."""
        if self._started:
            self.world.advance(self._time() - self._began)
            if self._timer is None or self._due != self.world.timetable.next:
                self._schedule()

    def happened(self) -> None:
        """A command has asked for something that is due later."""
        self.catch_up()

    def _before(self, command: Command) -> None:
        self.catch_up()

    def _after(self, command: Command, response: Response) -> None:
        self.catch_up()
        if command.name == "shutdown" and not response.result:
            self.world.stopping = True

    def status(self) -> dict[str, JSON]:
        """What ``status-get`` tells besides."""
        world = self.world
        return {
            "node": world.name,
            "state": world.controller.state,
            "have-quorum": world.quorate,
            "cib-version": ".".join(map(str, world.cib.version())),
        }


def _named(socket: JSON) -> JSON:
    """A control socket of type ``pacemaker`` without a name, with the first of all names."""
    if isinstance(socket, dict) and socket.get("socket-type") == "pacemaker" and "socket-name" not in socket:
        return {"transport": "shm", **socket, "socket-name": SERVICES[0]}
    return socket


def _read_cib(name: str | None) -> Node | None:
    """The CIB of a file, without its status, which was another cluster's; None where there is no file."""
    if name is None or not Path(name).exists():
        return None
    try:
        root = parse(Path(name).read_text("utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"the CIB cannot be read from {name}: {error}", path=["cib-file"]) from error
    except CommandError as error:
        raise ConfigurationError(f"{name}: {error.text}", path=["cib-file"]) from error
    try:
        check(root)
    except CommandError as error:
        raise ConfigurationError(f"{name} holds no CIB: {error.text}", path=["cib-file"]) from error
    return _without_status(root)


def _without_status(root: Node) -> Node:
    status = root.find("status")
    for node in list(status) if status is not None else ():
        assert status is not None
        status.remove(node)
    return root


def _write_cib(file: Path, root: Node) -> None:
    try:
        replace_file(file, dump(_without_status(copy_of(root))).encode() + b"\n")
    except OSError as error:
        raise failure(_CIB_SAVE, f"the CIB cannot be written to {file}: {error.strerror}") from error
