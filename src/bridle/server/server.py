"""A command manager listening on channels: endpoints become listeners, commands find their way in and out."""

from __future__ import annotations

import asyncio
import functools
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import msgspec

from bridle.core.errors import EndpointError
from bridle.core.events import EventLog
from bridle.core.manager import CommandManager
from bridle.core.version import VERSION
from bridle.net.endpoint import Endpoint
from bridle.server.channel import GRACE, Answer, Channel, HttpSettings
from bridle.server.sockets import SocketChannel, open_channel
from bridle.wire.dialect import dialect

if TYPE_CHECKING:
    from bridle.server.ctl import Ctl

__all__ = ["SOCKET_MODE", "Server"]

BANNER = "Managed by Bridle. Commands are POSTed here as application/json.\n"
# Kea's since 3.1: owner and group may command, others may not.
SOCKET_MODE = 0o660
# Kamailio's: the owner alone (facts/kamailio.md §4).
CTL_SOCKET_MODE = 0o600
CTL_DIALECTS = ("binrpc", "fifo")


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
        name: str = "bridle",
        version: str = VERSION,
        events: EventLog | None = None,
    ) -> None:
        self._manager = manager
        self._events = events
        self._name = name
        self._version = version
        self._began = time.time()
        self._answer = answer
        self._banner = banner
        self._channels: list[Channel] = []
        self._retired: list[Channel] = []

    @property
    def channels(self) -> Sequence[Channel]:
        """The channels that are open."""
        return tuple(self._channels)

    async def listen(self, endpoint: str | Endpoint, settings: HttpSettings | None = None) -> Channel:
        """Open a channel. ``settings`` are for HTTP.

        Raises:
            EndpointError: the endpoint is malformed, or cannot be listened on.
        """
        if isinstance(endpoint, str):
            endpoint = Endpoint.parse(endpoint)
        if endpoint.transport in ("http", "https") and endpoint.dialect == "kea":
            channel = await self._listen_on_http(endpoint, settings or HttpSettings())
        elif endpoint.transport == "qb" and endpoint.dialect == "pacemaker":
            # Loaded only here: a daemon on a unix socket needs none of it.
            from bridle.server.qb import open_qb

            channel = await open_qb(endpoint, self._manager.process_command, self._events)
        elif endpoint.dialect == "pacemaker":
            raise EndpointError(f"cannot listen on '{endpoint}': pacemaker travels on qb")
        else:
            channel = await self._listen_on_socket(endpoint)
        self._channels.append(channel)
        return channel

    async def _listen_on_socket(self, endpoint: Endpoint) -> Channel:
        known = dialect(endpoint.dialect)
        if endpoint.transport not in known.transports:
            transports = ", ".join(known.transports)
            raise EndpointError(f"cannot listen on '{endpoint}': {known.name} travels on {transports}")
        if endpoint.dialect in CTL_DIALECTS:
            execute = functools.partial(self._manager.process_command, others=self._ctl.definitions)
            return await open_channel(endpoint, known, execute, CTL_SOCKET_MODE)
        return await open_channel(endpoint, known, self._manager.process_command, SOCKET_MODE)

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

    async def _listen_on_http(self, endpoint: Endpoint, settings: HttpSettings) -> Channel:
        for name, _ in endpoint.options:
            raise EndpointError(f"endpoint '{endpoint}': unknown option '{name}'; known are none")
        if endpoint.transport == "https" and settings.tls is None:
            raise EndpointError(f"'{endpoint}' needs certificates, which a configuration names")
        # Loaded only here: a daemon without HTTP needs no HTTP parser.
        from bridle.net.http import HttpListener
        from bridle.server.http import HttpChannel, HttpCommands, answer_with

        answer = self._answer or answer_with(self._manager.process_command)
        commands = HttpCommands(answer, self._banner, settings)
        listener = await HttpListener.open(endpoint.host, endpoint.port, commands, ssl_context=settings.tls)
        real = msgspec.structs.replace(endpoint, port=listener.address[1])
        return HttpChannel(real, listener, commands)

    def retire(self, channel: Channel) -> None:
        """Close a channel to new connections; its open connections go on, until :meth:`close` at the latest.

        Raises:
            EndpointError: its files could not be removed; it listens no more nevertheless.
        """
        self._channels.remove(channel)
        self._retired.append(channel)
        channel.retire()

    async def close(self, grace: float = GRACE) -> None:
        """Close all channels at once, delivering the answers in flight within ``grace`` seconds.

        Raises:
            EndpointError: a channel's files could not be removed; everything else is done nevertheless.
        """
        channels = self._channels + self._retired
        self._channels, self._retired = [], []
        ends = await asyncio.gather(*(channel.close(grace) for channel in channels), return_exceptions=True)
        for failure in ends:
            if failure is not None:
                raise failure
