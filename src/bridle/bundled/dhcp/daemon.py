"""What the DHCPv4 and the DHCPv6 daemon have in common: a server that goes on while everything around it is
exchanged.

A new configuration opens what it needs first: the lease database, sockets, plugins. Only when all of that is
there, the server is given the new settings, between two batches of messages; then what is not needed any more
is closed. Whatever fails leaves the old ones serving.
"""

from __future__ import annotations

import abc
import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, ClassVar

from bridle.bundled.dhcp.reclaim import Reclaimer
from bridle.bundled.dhcp.settings import DdnsConnection, DhcpSettings, LeaseDatabase, MultiThreading
from bridle.bundled.dhcp.sockets import Sockets
from bridle.bundled.name_change import NameChange, NameChangeSender
from bridle.core.errors import ConfigurationError
from bridle.core.messages import JSON
from bridle.core.version import VERSION
from bridle.daemon.callouts import Callouts
from bridle.daemon.configuration_backend import ConfigurationBackend
from bridle.daemon.daemon import Daemon
from bridle.daemon.document import Completion, Document
from bridle.daemon.plugins import Plugins
from bridle.daemon.service_gate import ServiceGate
from bridle.daemon.statistics import Statistics
from bridle.daemon.workers import WorkerPool

__all__ = ["DhcpDaemon"]

# Seconds that a thread may take to finish what it does when the daemon ends or has no threads any more.
_THREADS_TIMEOUT = 5.0

_log = logging.getLogger("bridle.dhcp")


class DhcpDaemon(Daemon, abc.ABC):
    """A DHCP server with a control channel. ``port`` is the one that it listens on; ``clock`` gives seconds
    since the epoch."""

    version: ClassVar[str] = VERSION
    protocol: ClassVar[int]
    hook_points: ClassVar[tuple[str, ...]]
    statistic_names: ClassVar[tuple[str, ...]]

    def __init__(self, *, port: int | None = None, clock: Callable[[], float] = time.time) -> None:
        self.statistics: Statistics = Statistics(clock)
        self.gate: ServiceGate = ServiceGate()
        self.callouts: Callouts = Callouts(self.hook_points)
        self.plugins: Plugins = Plugins(self.manager, self.callouts)
        self._clock = clock
        self._port = port
        self._settings: DhcpSettings | None = None
        self._store: Any = None
        self._server: Any = None
        self._workers: WorkerPool[Any] | None = None
        self._sender: NameChangeSender | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._started = False
        self._sockets: Sockets[Any, Any, Any] = Sockets(self._open_socket, self._deliver)
        self.reclaimer: Reclaimer = Reclaimer(
            lambda: self._store,
            self.statistics,
            released=lambda lease: self._name_changed(lease, False),
            freed=lambda: self._server.freed(),
            clock=clock,
        )
        self.gate.register(self.manager, f"DHCPv{self.protocol}")
        self.statistics.register(self.manager)
        self.reclaimer.register(self.manager)
        self.plugins.register(self.manager, self._hooks)
        self.backend: ConfigurationBackend = ConfigurationBackend(self.root, lambda: self.refresh())
        self.backend.register(
            self.manager, lambda: "" if self._settings is None else self._settings.server_tag
        )
        self._lease_commands().register(self.manager)

    # What the protocols differ in.

    @abc.abstractmethod
    def _read(self, document: Document) -> DhcpSettings:
        """Read a configuration."""

    @abc.abstractmethod
    def _open_store(self, database: LeaseDatabase) -> Any:
        """Open the lease store. Raises StoreError."""

    @abc.abstractmethod
    def _open_socket(self, place: Any) -> Any:
        """Open a socket. Raises OSError."""

    @abc.abstractmethod
    def _places(self, settings: Any) -> list[Any]:
        """Where to listen. Raises ConfigurationError."""

    @abc.abstractmethod
    def _make_server(self, settings: Any, store: Any) -> Any:
        """The server itself."""

    @abc.abstractmethod
    def _subnet_statistics(self, settings: Any, counts: Mapping[Any, int]) -> dict[str, int]:
        """What the statistics of the subnets are, with so many leases."""

    @abc.abstractmethod
    def _name_change(self, lease: Any, add: bool) -> NameChange:
        """The request for a lease's name."""

    @abc.abstractmethod
    def _lease_commands(self) -> Any:
        """Kea's lease commands on the store."""

    def _use(self, settings: Any, store: Any) -> None:
        """Let the server go on with other settings."""
        self._server.use(settings, store)

    # The configuration.

    def complete_configuration(self, document: Document) -> Awaitable[Completion]:
        """Merge what the configuration backend has for this server."""
        return self.backend.complete(document)

    def check_configuration(self, document: Document) -> DhcpSettings:
        """Read the ``Dhcp4`` or ``Dhcp6`` map."""
        settings = self._read(document)
        if "config-control" in settings.value:
            self.backend.check(settings.value["config-control"], document)
        return settings

    def describe_configuration(self, settings: object, document: Document) -> dict[str, JSON]:
        """The configuration with all defaults, as Kea tells it."""
        assert isinstance(settings, DhcpSettings)
        return settings.value

    async def configure(self, configuration: DhcpSettings) -> None:
        """Serve by another configuration from the next message on."""
        self._loop = asyncio.get_running_loop()
        before = self._settings
        change = self._sockets.prepare(self._places(configuration))
        try:
            store = await self._store_for(configuration, before)
            try:
                sender = self._sender_for(configuration.ddns, before)
                try:
                    self.plugins.replace(configuration.hooks)
                except BaseException:
                    if sender is not None and sender is not self._sender:
                        sender.close()
                    raise
            except BaseException:
                if store is not self._store:
                    store.close()
                raise
        except BaseException:
            change.rollback()
            raise
        self._commit(configuration, store, sender)
        change.commit()

    async def _store_for(self, settings: DhcpSettings, before: DhcpSettings | None) -> Any:
        if before is not None and before.lease_database == settings.lease_database:
            return self._store
        if settings.lease_database.kind == "postgresql":
            return await asyncio.to_thread(self._open_store, settings.lease_database)
        return self._open_store(settings.lease_database)

    def _sender_for(self, ddns: DdnsConnection, before: DhcpSettings | None) -> NameChangeSender | None:
        if before is not None and before.ddns == ddns:
            return self._sender
        if not ddns.enabled:
            return None
        source = (ddns.sender_ip, ddns.sender_port)
        try:
            return NameChangeSender(
                ddns.server_ip, ddns.server_port, source=source, limit=ddns.max_queue_size
            )
        except OSError as error:
            raise ConfigurationError(f"name-change requests cannot be sent: {error.strerror}") from error

    def _commit(self, settings: DhcpSettings, store: Any, sender: NameChangeSender | None) -> None:
        """Everything is there: exchange it. Nothing here fails."""
        before, old_store, old_sender = self._settings, self._store, self._sender
        self._settings, self._store, self._sender = settings, store, sender
        self.statistics.defaults(settings.statistic_sample_count, settings.statistic_sample_age)
        if self._server is None:
            self._server = self._make_server(settings, store)
            self.statistics.add_many(dict.fromkeys(self.statistic_names, 0))
        else:
            self._use(settings, store)
        self._use_threads(settings.multi_threading)
        self._count_leases(settings, before, anew=store is not old_store)
        self.reclaimer.use(settings.expired_leases)
        if old_store is not None and old_store is not store:
            old_store.close()
        if old_sender is not None and old_sender is not sender:
            old_sender.close()
        if before is not None:
            self.gate.reconfigured()

    def _count_leases(self, settings: Any, before: Any, *, anew: bool) -> None:
        subnets = settings.subnets
        known = {} if before is None else before.subnets
        for number in known:
            if number not in subnets:
                self.statistics.remove_prefix(f"subnet[{number}].")
        shapes = {number: (one.pools, getattr(one, "pd_pools", ())) for number, one in subnets.items()}
        old = {number: (one.pools, getattr(one, "pd_pools", ())) for number, one in known.items()}
        if anew or shapes != old:
            self.statistics.set_many(self._subnet_statistics(settings, self._store.counts()))

    def _use_threads(self, wanted: MultiThreading) -> None:
        if not wanted.enabled:
            if self._workers is not None:
                self._workers.stop(_THREADS_TIMEOUT)
                self._workers = None
        elif self._workers is None:
            self._workers = WorkerPool(
                self._work, threads=wanted.thread_pool_size, queue_size=wanted.packet_queue_size
            )
        else:
            self._workers.resize(wanted.thread_pool_size, wanted.packet_queue_size)

    # The messages.

    async def start(self) -> None:
        """Take messages."""
        self._started = True
        self._sockets.start()
        self.reclaimer.start()
        self.backend.start()

    async def stop(self) -> None:
        """Take no more messages; answer those that wait."""
        self._sockets.stop()
        self.reclaimer.stop()
        self.backend.stop()
        self.gate.close()
        if self._workers is not None:
            await asyncio.to_thread(self._workers.stop, _THREADS_TIMEOUT)
            self._workers = None
        self._sockets.close()
        self.plugins.unload()
        if self._sender is not None:
            self._sender.close()
            self._sender = None
        if self._store is not None:
            self._store.close()
            self._store = None
        self._settings = None
        self._server = None

    def _deliver(self, arrivals: list[Any]) -> None:
        if not self.gate.open:
            prefix = f"pkt{self.protocol}"
            count = len(arrivals)
            self.statistics.add_many({f"{prefix}-received": count, f"{prefix}-receive-drop": count})
        elif self._workers is None:
            self._work(arrivals)
        else:
            dropped = self._workers.put(arrivals)
            if dropped:
                prefix = f"pkt{self.protocol}"
                self.statistics.add_many({f"{prefix}-received": dropped, f"{prefix}-receive-drop": dropped})

    def _work(self, arrivals: list[Any]) -> None:
        """Answer messages; on the event loop, or in a thread."""
        self._sockets.send(self._server.handle(arrivals))

    def _tell(self, lease: Any, added: bool) -> None:
        """A server tells of a name, maybe from a thread."""
        if self._sender is not None and self._loop is not None:
            if self._workers is None:
                self._name_changed(lease, added)
            else:
                self._loop.call_soon_threadsafe(self._name_changed, lease, added)

    def _name_changed(self, lease: Any, added: bool) -> None:
        if self._sender is not None:
            self._sender.send(self._name_change(lease, added))

    @property
    def _subnets(self) -> Mapping[int, Any]:
        return getattr(self._settings, "subnets", {})

    def _settings_of_subnet(self, number: int) -> Any:
        return self._subnets.get(number)

    # Commands.

    def _hooks(self) -> tuple[Any, ...]:
        return () if self._settings is None else self._settings.hooks

    def status(self) -> dict[str, JSON]:
        """What ``status-get`` tells of the service, its threads and sockets."""
        threads: dict[str, JSON] = {"multi-threading-enabled": False}
        if self._workers is not None:
            threads = self._workers.status()
        return {**threads, "dhcp-state": self.gate.status(), "sockets": {"status": "ready"}}
