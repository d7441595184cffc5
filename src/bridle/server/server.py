"""A command manager listening on channels: endpoints become listeners, commands find their way in and out."""

from __future__ import annotations

import asyncio
import functools
import logging
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import TYPE_CHECKING

import msgspec

from bridle.core.errors import BridleError, EndpointError
from bridle.core.events import EventLog
from bridle.core.manager import NO_OTHERS, CommandDefinition, CommandManager, Outcome
from bridle.core.messages import HTTP_UNIX, Command, Event, Peer, Response
from bridle.core.version import VERSION
from bridle.net.endpoint import Endpoint
from bridle.server.channel import GRACE, Answer, Channel, HttpSettings, Pages
from bridle.server.exposure import Governs, check_exposure, governs_nothing, is_loopback
from bridle.server.options import Certificates, Options, explain
from bridle.server.sockets import SocketChannel, open_channel
from bridle.wire.dialect import dialect

if TYPE_CHECKING:
    from bridle.access.guard import Guard
    from bridle.net.answers import Execute
    from bridle.net.stream import Door
    from bridle.server.ctl import Ctl

__all__ = ["RETIRED_WAIT", "SOCKET_MODE", "Server"]

_log = logging.getLogger("bridle.server")

BANNER = "Managed by Bridle. Commands are POSTed here as application/json.\n"
# Kea's since 3.1: owner and group may command, others may not.
SOCKET_MODE = 0o660
# Kamailio's: the owner alone (facts/kamailio.md §4).
CTL_SOCKET_MODE = 0o600
CTL_DIALECTS = ("binrpc", "fifo")
# Seconds between two looks whether somebody is left on a channel that takes nobody new. Not at once: asyncio
# may have accepted clients of whom it has not told yet.
RETIRED_WAIT = 1.0


class Server:
    """Lets the commands of a manager be called on any number of endpoints.

    ``answer`` answers HTTP commands in the manager's place; ``banner`` is what a browser reads that looks
    at an HTTP channel, or says so each time. ``name`` and ``version`` are the daemon's, for the dialects that
    have methods to ask for them. ``events`` are told on the channels that have a form for events.
    """

    def __init__(
        self,
        manager: CommandManager,
        *,
        answer: Answer | None = None,
        banner: str | Callable[[], str] = BANNER,
        pages: Callable[[], Pages | None] | None = None,
        name: str = "bridle",
        version: str = VERSION,
        allow_unauthenticated: bool = False,
        events: EventLog | None = None,
    ) -> None:
        self._manager = manager
        self._events = events
        self._name = name
        self._version = version
        self._began = time.time()
        self._answer = answer
        self._banner = banner
        self._pages = _no_pages if pages is None else pages
        self._guard: Guard | None = None
        self.allow_unauthenticated = allow_unauthenticated
        """Whether channels that other machines can reach may be without authentication of their own; so they
        may where roles decide about every command."""
        self._exposed: dict[Channel, HttpSettings] = {}
        self._renewable: dict[Channel, tuple[Certificates, HttpSettings]] = {}
        self._channels: list[Channel] = []
        self._retired: list[Channel] = []
        self._seeing_off: asyncio.Task[None] | None = None
        self._closed = False

    @property
    def channels(self) -> Sequence[Channel]:
        """The channels that are open."""
        return tuple(self._channels)

    async def listen(
        self,
        endpoint: str | Endpoint,
        settings: HttpSettings | None = None,
        *,
        governs: Governs | None = None,
    ) -> Channel:
        """Open a channel. What ``settings`` say goes before the endpoint's options. ``governs`` are the roles
        that will hold, where those of the guard will not any more.

        TLS is spoken on every stream whose endpoint has the options ``cert``, ``key`` and ``ca``, and
        ``cert-required=no`` where clients need no certificate.

        Raises:
            EndpointError: the endpoint is malformed, cannot be listened on, or would let everybody in who can
                reach it from another machine; or the server is closed.
        """
        if isinstance(endpoint, str):
            endpoint = Endpoint.parse(endpoint)
        if self._closed:
            raise _closed(endpoint)
        options = Options(endpoint)
        settings, certificates = self._read(endpoint, options, settings or HttpSettings())
        if endpoint.in_http:
            channel = await self._listen_on_http(endpoint, options, settings, governs)
        elif endpoint.transport == "qb" and endpoint.dialect == "pacemaker":
            # Loaded only here: a daemon on a unix socket needs none of it.
            from bridle.server.qb import open_qb

            channel = await open_qb(endpoint, self._guarded(), self._events, _Gate(self))
        elif endpoint.dialect == "pacemaker":
            raise EndpointError(f"cannot listen on '{endpoint}': pacemaker travels on qb")
        else:
            channel = await self._listen_on_socket(endpoint, options, settings, governs)
        if self._closed:
            await channel.close(0)
            raise _closed(endpoint)
        channel.use_door(self._door)
        self._channels.append(channel)
        if channel.exposed:
            self._exposed[channel] = settings
            if governs is not None and not self._lets(channel.endpoint, settings):
                # Until the roles hold by which it may listen: :meth:`use_guard` opens the door then.
                channel.hold()
        if certificates is not None:
            self._renewable[channel] = (certificates, settings)
        return channel

    def _read(
        self, endpoint: Endpoint, options: Options, settings: HttpSettings
    ) -> tuple[HttpSettings, Certificates | None]:
        """What an endpoint's options make of settings, and the files of TLS where it names them."""
        try:
            if endpoint.transport in ("tcp", "udp", "http", "https"):
                allowed = options.flag("allow-unauthenticated", default=settings.allow_unauthenticated)
                settings = msgspec.structs.replace(settings, allow_unauthenticated=allowed)
            if endpoint.transport not in ("unix", "tcp", "http", "https") or _is_http_unix(endpoint):
                return settings, None
            certificates = options.certificates()
            if certificates is None or settings.tls is not None:
                return settings, None
            return msgspec.structs.replace(settings, tls=certificates.context()), certificates
        except BridleError as error:
            raise explain(endpoint, error) from None

    def check(self, endpoint: Endpoint, settings: HttpSettings, governs: Governs | None = None) -> None:
        """Refuse settings that would let everybody in on a channel which other machines can reach.
        ``governs`` are the roles that will hold with them; those of the guard, where nothing is said.

        Raises:
            EndpointError: they would.
        """
        if governs is None:
            governs = self._guard.settings.governs if self._guard is not None else governs_nothing
        check_exposure(endpoint, settings, governs, allowed=self.allow_unauthenticated)

    def _lets(self, endpoint: Endpoint, settings: HttpSettings) -> bool:
        try:
            self.check(endpoint, settings)
        except EndpointError:
            return False
        return True

    def check_others(self, governs: Governs, known: Collection[Channel]) -> None:
        """Refuse roles that would leave a channel which other machines can reach open to everybody.
        ``known`` are channels whose settings change with the roles: these are looked at by :meth:`check`.

        Raises:
            EndpointError: they would.
        """
        for channel, settings in self._exposed.items():
            if channel not in known:
                self.check(channel.endpoint, settings, governs)

    def update(self, channel: Channel, settings: HttpSettings) -> None:
        """Let a channel go by other settings, for the requests and the TLS handshakes to come."""
        channel.update(settings)
        if channel in self._exposed:
            self._exposed[channel] = settings

    def _checker(
        self, endpoint: Endpoint, settings: HttpSettings, governs: Governs | None
    ) -> Callable[[str], None]:
        def check(address: str) -> None:
            if not is_loopback(address):
                self.check(endpoint, settings, governs)

        return check

    async def _listen_on_socket(
        self, endpoint: Endpoint, options: Options, settings: HttpSettings, governs: Governs | None
    ) -> Channel:
        known = dialect(endpoint.dialect)
        if endpoint.transport not in known.transports:
            transports = ", ".join(known.transports)
            raise EndpointError(f"cannot listen on '{endpoint}': {known.name} travels on {transports}")
        if endpoint.dialect in CTL_DIALECTS:
            execute, mode = self._guarded(self._ctl.definitions), CTL_SOCKET_MODE
        else:
            execute, mode = self._guarded(), SOCKET_MODE
        check = self._checker(endpoint, settings, governs)
        return await open_channel(endpoint, options, known, execute, mode, settings, check, self._asks_groups)

    @property
    def guard(self) -> Guard | None:
        """Who is asked about every command; None: nobody."""
        return self._guard

    def use_guard(self, guard: Guard | None) -> None:
        """Ask this guard about every command from now on, on all channels; None: nobody."""
        if self._guard is not None:
            self._guard.on_asking_groups = None
        self._guard = guard
        for channel in self._channels:
            channel.use_door(self._door)
        if guard is not None:
            guard.on_asking_groups = self._learn_groups
            if guard.asks_groups:
                self._learn_groups()

    @property
    def _door(self) -> Door | None:
        return None if self._guard is None else self._guard.door

    def _asks_groups(self) -> bool:
        guard = self._guard
        return guard is not None and guard.asks_groups

    def _learn_groups(self) -> None:
        for channel in (*self._channels, *self._retired):
            channel.learn_groups()

    def _guarded(self, others: Mapping[str, CommandDefinition] = NO_OTHERS) -> Execute:
        """The way of a command from a channel to the manager. ``others`` are commands of that channel."""
        manager = self._manager
        run = functools.partial(manager.process_command, others=others) if others else manager.process_command
        known = manager.definitions

        def find_with_others(name: str) -> CommandDefinition | None:
            return known.get(name) or others.get(name)

        find = find_with_others if others else known.get

        def execute(command: Command) -> Outcome:
            guard = self._guard
            return run(command) if guard is None else guard.execute(command, run, find)

        return execute

    @functools.cached_property
    def _ctl(self) -> Ctl:
        from bridle.server.ctl import Ctl

        return Ctl(self._manager, self._name, self._version, self._began, self._ctl_channels)

    def _ctl_channels(self) -> list[SocketChannel]:
        return [
            channel
            for channel in self._channels
            if isinstance(channel, SocketChannel) and channel.endpoint.dialect in CTL_DIALECTS
        ]

    async def _listen_on_http(
        self, endpoint: Endpoint, options: Options, settings: HttpSettings, governs: Governs | None
    ) -> Channel:
        try:
            rights = options.rights(SOCKET_MODE) if _is_http_unix(endpoint) else None
            options.check(HTTP_UNIX if rights is not None else endpoint.transport)
            if rights is not None and settings.tls is not None:
                raise EndpointError("TLS is not spoken on a unix socket of HTTP")
        except EndpointError as error:
            raise explain(endpoint, error) from None
        if endpoint.transport == "https" and settings.tls is None:
            raise EndpointError(
                f"'{endpoint}' needs certificates: the options cert, key and ca, or a configuration"
            )
        if endpoint.transport == "http" and settings.tls is not None:
            endpoint = msgspec.structs.replace(endpoint, transport="https")
        # Loaded only here: a daemon without HTTP needs no HTTP parser.
        from bridle.server.http import HttpCommands, answer_with, open_http_channel

        answer = self._answer or answer_with(self._guarded())
        commands = HttpCommands(answer, self._banner, settings, self._pages, name=endpoint.host or None)
        check = self._checker(endpoint, settings, governs)
        return await open_http_channel(endpoint, rights, commands, settings, check, self._asks_groups)

    def renew_certificates(self) -> None:
        """Read the certificates again that endpoints name; the next handshakes go by them. Where that fails,
        the old ones stay in use, and the log says so."""
        for channel, (certificates, settings) in self._renewable.items():
            try:
                channel.update(msgspec.structs.replace(settings, tls=certificates.context()))
            except BridleError as error:
                _log.error("%s goes on with its old certificates: %s", channel.endpoint, error)

    def retire(self, channel: Channel) -> None:
        """Close a channel to new connections; its open connections go on, until :meth:`close` at the latest.
        It is forgotten when the last of them has ended. One that is not open any more stays so.

        Raises:
            EndpointError: its files could not be removed; it listens no more nevertheless.
        """
        if self._remove(channel):
            self._retired.append(channel)
            if self._seeing_off is None:
                self._seeing_off = asyncio.get_running_loop().create_task(self._see_off())
            channel.retire()

    async def discard(self, channel: Channel) -> None:
        """Close a channel, with all its connections.

        Raises:
            EndpointError: its files could not be removed; it is closed nevertheless.
        """
        if self._remove(channel):
            await channel.close(0)

    def _remove(self, channel: Channel) -> bool:
        """Take a channel from those that are open; False: it is not one of them."""
        if channel not in self._channels:
            return False
        self._channels.remove(channel)
        self._renewable.pop(channel, None)
        self._exposed.pop(channel, None)
        return True

    async def _see_off(self) -> None:
        """End the retired channels on which nobody is left."""
        while self._retired:
            await asyncio.sleep(RETIRED_WAIT)
            for channel in [one for one in self._retired if not one.busy]:
                try:
                    await channel.close(0)
                except Exception as error:
                    _log.error("%s: %s", channel.endpoint, error)
                self._retired.remove(channel)
        self._seeing_off = None

    async def close(self, grace: float = GRACE) -> None:
        """Close all channels at once, delivering the answers in flight within ``grace`` seconds. No other is
        opened afterwards.

        Raises:
            EndpointError: a channel's files could not be removed; everything else is done nevertheless. Where
                that goes for several channels, the log has them all.
        """
        self._closed = True
        if self._seeing_off is not None:
            self._seeing_off.cancel()
        channels = self._channels + self._retired
        self._channels, self._retired = [], []
        self._renewable.clear()
        self._exposed.clear()
        ends = await asyncio.gather(*(channel.close(grace) for channel in channels), return_exceptions=True)
        failures = [(channel, end) for channel, end in zip(channels, ends, strict=True) if end is not None]
        if len(failures) > 1:
            for channel, failure in failures:
                _log.error("%s: %s", channel.endpoint, failure, exc_info=failure)
        for _, failure in failures:
            raise failure


def _closed(endpoint: Endpoint) -> EndpointError:
    return EndpointError(f"cannot listen on '{endpoint}': the server is closed")


class _Gate:
    """Decides about events on every channel that has them, as the server's guard does at that time."""

    def __init__(self, server: Server) -> None:
        self._server = server

    def subscribe(self, command: Command, /) -> Response:
        guard = self._server.guard
        return Response() if guard is None else guard.subscribe(command)

    def shown(self, event: Event, peer: Peer, /) -> Event | None:
        guard = self._server.guard
        return event if guard is None else guard.shown_event(event, peer)


def _is_http_unix(endpoint: Endpoint) -> bool:
    return endpoint.in_http and endpoint.transport == "unix"


def _no_pages() -> Pages | None:
    return None
