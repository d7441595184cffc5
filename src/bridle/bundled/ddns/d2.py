"""D2: ``bridle run d2``. It takes name-change requests from DHCP servers and carries them into DNS.

    datagram ─▶ decode ─▶ queue ─▶ transaction ─▶ updates to the domain's servers
                          │          many at a time, one for each name
                          └ full: datagrams wait in the kernel

Requests live in memory; those that wait are lost with the process, as Kea's are.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import time
from collections import deque
from collections.abc import Callable
from typing import ClassVar, Literal, cast

from msgspec import UNSET

from bridle.bundled.ddns.settings import D2Settings, read_settings
from bridle.bundled.ddns.updates import UpdateError, Updater
from bridle.bundled.name_change import NameChange, NameChangeError, decode
from bridle.core.errors import ArgumentError, ConfigurationError
from bridle.core.manager import command
from bridle.core.messages import JSON, Command, Response
from bridle.core.version import VERSION
from bridle.daemon.daemon import Daemon, Phrases
from bridle.daemon.document import Document
from bridle.daemon.plugins import Plugins
from bridle.daemon.statistics import Statistics

__all__ = ["QUEUE_LIMIT", "TRANSACTIONS", "D2"]

# Requests that wait (Kea's), before datagrams are left to the kernel; and the length at which they are taken
# again.
QUEUE_LIMIT = 1024
_RESUME = QUEUE_LIMIT * 3 // 4
# Transactions at the same time (Kea's).
TRANSACTIONS = 32
_BATCH = 64
_LARGEST = 65535
_RECEIVE_BUFFER = 1024 * 1024
_STATISTICS = (
    "ncr-error",
    "ncr-invalid",
    "ncr-received",
    "queue-mgr-queue-full",
    "update-error",
    "update-sent",
    "update-signed",
    "update-success",
    "update-timeout",
    "update-unsigned",
)
_OF_KEY = ("update-error", "update-sent", "update-success", "update-timeout")

_log = logging.getLogger("bridle.ddns")

Mode = Literal["normal", "drain_first", "now"]


class D2(Daemon):
    """The DDNS daemon, with Kea's configuration and commands. ``port`` is one to listen on in place of the
    configuration's."""

    root: ClassVar[str] = "DhcpDdns"
    version: ClassVar[str] = VERSION
    phrases: ClassVar[Phrases] = Phrases(
        applied="Configuration applied successfully.",
        checked="Configuration check successful",
        reload_failed="Configuration parsing failed: {error}",
        unsupported_root="'arguments' parameter contains unsupported {names} parameter{more}",
        shutting_down="Shutdown initiated, type is: normal",
    )

    def __init__(self, *, port: int | None = None, clock: Callable[[], float] = time.time) -> None:
        self._port = port
        self.statistics: Statistics = Statistics(clock)
        self.statistics.register(self.manager, removable=False)
        self.statistics.add_many(dict.fromkeys(_STATISTICS, 0))
        self._plugins = Plugins(self.manager)
        self._settings: D2Settings | None = None
        self._updater: Updater | None = None
        self._socket: socket.socket | None = None
        self._reading = False
        self._started = False
        self._mode: Mode | None = None
        self._queue: deque[NameChange] = deque()
        self._busy: set[str] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._ending: asyncio.Task[None] | None = None
        self._idle = asyncio.Event()

    def check_configuration(self, document: Document) -> D2Settings:
        """Read the ``DhcpDdns`` map."""
        return read_settings(document)

    def describe_configuration(self, settings: object, document: Document) -> dict[str, JSON]:
        """The configuration with all defaults, as Kea tells it."""
        assert isinstance(settings, D2Settings)
        return settings.value

    def configure(self, configuration: D2Settings) -> None:
        """Use another configuration from the next request on; those under way go on with the old one."""
        before = self._settings
        place = (configuration.address, self._port or configuration.port)
        moved = before is None or (before.address, self._port or before.port) != place
        opened = _open(*place) if moved else None
        try:
            self._plugins.replace(configuration.hooks)
        except BaseException:
            if opened is not None:
                opened.close()
            raise
        self._settings = configuration
        self._updater = Updater(configuration, self.statistics.add)
        known = {name: 0 for key in configuration.keys for name in _of_key(key.name)}
        self.statistics.add_many(known)
        if opened is not None:
            self._exchange(opened)

    def _exchange(self, opened: socket.socket) -> None:
        old, self._socket = self._socket, opened
        reading, self._reading = self._reading, False
        if old is not None:
            if reading:
                asyncio.get_running_loop().remove_reader(old)
                self._take(old)
            old.close()
        self._read()

    async def start(self) -> None:
        """Take requests."""
        self._started = True
        self._read()

    async def stop(self) -> None:
        """Drop what is left."""
        self._started = False
        self._stop_reading()
        if self._ending is not None:
            self._ending.cancel()
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._queue:
            _log.warning("%d name-change requests are dropped", len(self._queue))
            self._queue.clear()
        if self._socket is not None:
            self._socket.close()
            self._socket = None
        self._plugins.unload()
        self._settings = None
        self._mode = None

    # Requests.

    def _read(self) -> None:
        if self._started and not self._reading and self._socket is not None and self._mode is None:
            self._reading = True
            asyncio.get_running_loop().add_reader(self._socket, self._on_readable)

    def _stop_reading(self) -> None:
        if self._reading and self._socket is not None:
            asyncio.get_running_loop().remove_reader(self._socket)
            self._reading = False

    def _on_readable(self) -> None:
        assert self._socket is not None
        self._take(self._socket)

    def _take(self, sock: socket.socket) -> None:
        try:
            for _ in range(_BATCH):
                if len(self._queue) >= QUEUE_LIMIT:
                    self.statistics.add("queue-mgr-queue-full")
                    self._stop_reading()
                    break
                self._receive(sock.recv(_LARGEST))
        except BlockingIOError:
            pass
        except OSError as error:
            _log.warning("receiving name-change requests: %s", error)
        self._proceed()

    def _receive(self, data: bytes) -> None:
        try:
            change = decode(data)
        except NameChangeError as error:
            self.statistics.add("ncr-invalid")
            _log.warning("%s", error)
            return
        self.statistics.add("ncr-received")
        self._queue.append(change)

    def _proceed(self) -> None:
        """Begin what can be begun: the oldest request for each name that nobody works on."""
        skipped: deque[NameChange] = deque()
        while self._queue and len(self._tasks) < TRANSACTIONS and self._mode not in ("normal", "now"):
            change = self._queue.popleft()
            if change.fqdn in self._busy or any(other.fqdn == change.fqdn for other in skipped):
                skipped.append(change)
                continue
            self._busy.add(change.fqdn)
            task = asyncio.get_running_loop().create_task(self._carry_out(change))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        skipped.extend(self._queue)
        self._queue = skipped
        if len(self._queue) <= _RESUME:
            self._read()
        if not self._busy and (not self._queue or self._mode in ("normal", "now")):
            self._idle.set()
        else:
            self._idle.clear()

    async def _carry_out(self, change: NameChange) -> None:
        try:
            assert self._updater is not None
            await self._updater.carry_out(change)
        except UpdateError as error:
            self.statistics.add("ncr-error")
            _log.error("%s", error)
        except Exception:
            self.statistics.add("ncr-error")
            _log.exception("%s %s", change.fqdn, change.address)
        finally:
            self._busy.discard(change.fqdn)
            # In its own turn: this task still counts as one.
            asyncio.get_running_loop().call_soon(self._proceed_later)

    def _proceed_later(self) -> None:
        if self._settings is not None:
            self._proceed()

    # The end.

    @command("shutdown", access="write")
    def shutdown(self, command: Command) -> Response:
        """End the daemon: ``type`` is ``normal`` (finish what is under way), ``drain_first`` (and what
        waits), or ``now``; ``exit-value`` is the status that its process exits with. This answer still
        arrives."""
        arguments = command.arguments
        if arguments is UNSET:
            arguments = {}
        if not isinstance(arguments, dict):
            raise ArgumentError("Argument must be a map")
        value = arguments.get("exit-value", 0)
        if type(value) is not int:
            raise ArgumentError("parameter 'exit-value' is not an integer", argument="exit-value")
        mode = arguments.get("type", "normal")
        if not isinstance(mode, str):
            where = command.locate(["arguments", "type"])
            raise ArgumentError(
                f"Error during command processing: stringValue() called on non-string Element in ({where})"
            )
        if mode not in ("normal", "drain_first", "now"):
            raise ArgumentError(f"Invalid Shutdown type: {mode}", argument="type")
        self._mode = cast("Mode", mode)
        self._stop_reading()
        self._proceed()
        if self._ending is not None:
            self._ending.cancel()
        self._ending = asyncio.get_running_loop().create_task(self._end(value & 0xFF))
        return Response(text=f"Shutdown initiated, type is: {mode}")

    async def _end(self, value: int) -> None:
        if self._mode != "now":
            await self._idle.wait()
        self.end(value)


def _of_key(name: str) -> list[str]:
    return [f"key[{name.rstrip('.')}.].{kind}" for kind in _OF_KEY]


def _open(address: str, port: int) -> socket.socket:
    sock = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM)
    try:
        sock.setblocking(False)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _RECEIVE_BUFFER)
        sock.bind((address, port))
    except OSError as error:
        sock.close()
        raise ConfigurationError(
            f"cannot listen for name-change requests on {address} port {port}: {error.strerror}"
        ) from error
    return sock
