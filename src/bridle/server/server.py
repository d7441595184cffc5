"""A command manager listening on channels: endpoints become listeners, commands find their way in and out."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

import msgspec

from bridle.core.errors import EndpointError
from bridle.core.manager import CommandManager
from bridle.net.credentials import peer_of_unix
from bridle.net.endpoint import Endpoint
from bridle.net.stream import StreamListener
from bridle.net.unix import SocketFile
from bridle.server.channel import GRACE, Answer, Channel, HttpSettings
from bridle.wire.dialect import dialect

__all__ = ["SOCKET_MODE", "Server"]

BANNER = "Managed by Bridle. Commands are POSTed here as application/json.\n"
# Kea's since 3.1: owner and group may command, others may not.
SOCKET_MODE = 0o660

_UNIX_OPTIONS = ("group", "mode", "owner")


class _StreamChannel:
    def __init__(self, endpoint: Endpoint, file: SocketFile, listener: StreamListener) -> None:
        self.endpoint = endpoint
        self.file = file
        self._listener = listener

    def update(self, settings: HttpSettings) -> None:
        pass

    def retire(self) -> None:
        # First the name, then those who came by it: nobody is left in the kernel's queue.
        try:
            self.file.withdraw()
        finally:
            self._listener.stop_accepting()
            self.file.close()

    async def close(self, grace: float = GRACE) -> None:
        try:
            self.retire()
        finally:
            await self._listener.close(grace)


class Server:
    """Lets the commands of a manager be called on any number of endpoints.

    ``answer`` answers HTTP commands in the manager's place; ``banner`` is what a browser reads that looks
    at an HTTP channel, or says so each time.
    """

    def __init__(
        self,
        manager: CommandManager,
        *,
        answer: Answer | None = None,
        banner: str | Callable[[], str] = BANNER,
    ) -> None:
        self._manager = manager
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
        channel: Channel
        if endpoint.transport == "unix":
            channel = await self._listen_on_unix(endpoint)
        elif endpoint.transport in ("http", "https") and endpoint.dialect == "kea":
            channel = await self._listen_on_http(endpoint, settings or HttpSettings())
        else:
            raise EndpointError(f"cannot listen on '{endpoint}' yet; a daemon listens on unix: and http:")
        self._channels.append(channel)
        return channel

    async def _listen_on_unix(self, endpoint: Endpoint) -> Channel:
        _check_options(endpoint, _UNIX_OPTIONS)
        mode = endpoint.option("mode")
        try:
            file_mode = int(mode, 8) if mode is not None else SOCKET_MODE
        except ValueError:
            raise EndpointError(f"endpoint '{endpoint}': mode '{mode}' is not octal, as 0660 is") from None
        listener = StreamListener(
            dialect(endpoint.dialect),
            self._manager.process_command,
            lambda transport: peer_of_unix(transport.get_extra_info("socket"), endpoint.path),
        )
        file = SocketFile.open(
            endpoint.path,
            mode=file_mode,
            owner=endpoint.option("owner"),
            group=endpoint.option("group"),
        )
        try:
            listener.start(file.socket)
        except BaseException:
            file.close()
            raise
        return _StreamChannel(endpoint, file, listener)

    async def _listen_on_http(self, endpoint: Endpoint, settings: HttpSettings) -> Channel:
        _check_options(endpoint, ())
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


def _check_options(endpoint: Endpoint, known: Sequence[str]) -> None:
    for name, _ in endpoint.options:
        if name not in known:
            names = ", ".join(known) or "none"
            raise EndpointError(f"endpoint '{endpoint}': unknown option '{name}'; known are {names}")
