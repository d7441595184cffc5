"""The channels of a daemon, and the change from one set of them to another.

New channels listen before old ones stop; what fails leaves the old ones as they were.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable

from bridle.core.errors import ConfigurationError, EndpointError
from bridle.daemon.channel_settings import ChannelSettings
from bridle.daemon.turns import undisturbed
from bridle.net.endpoint import Endpoint
from bridle.server import Channel, Server
from bridle.server.exposure import Governs

__all__ = ["ChannelTransition", "ControlChannels"]

_log = logging.getLogger("bridle.daemon")


class ControlChannels:
    """The channels of a daemon: those of its start, and those of its configuration."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._open: dict[tuple[str, str, int], tuple[ChannelSettings, Channel]] = {}

    def renew_certificates(self) -> None:
        """Read the certificates again of channels that no configuration asks for."""
        self._server.renew_certificates()

    async def listen(self, endpoint: str | Endpoint) -> None:
        """Open a channel that is there besides those of the configuration.

        Raises:
            EndpointError: it cannot be opened, or would be open to everybody.
        """
        await self._server.listen(endpoint)

    @property
    def channels(self) -> list[Channel]:
        """The channels of the present configuration."""
        return [channel for _, channel in self._open.values()]

    async def prepare(self, wanted: Iterable[ChannelSettings], governs: Governs) -> ChannelTransition:
        """Open what is wanted and not open yet; nothing is closed before the transition is committed.
        ``governs`` are the roles that will hold from then on.

        Raises:
            EndpointError: a channel cannot be opened, or would be open to everybody; those that were opened
                for this are closed again.
            ConfigurationError: two channels in one place.
        """
        self._server.check_others(governs, self.channels)
        transition = ChannelTransition(self._server, self._open)
        try:
            for settings in wanted:
                await self._prepare_one(transition, settings, governs)
        except BaseException:
            await undisturbed(transition.rollback())
            raise
        return transition

    async def _prepare_one(
        self, transition: ChannelTransition, settings: ChannelSettings, governs: Governs
    ) -> None:
        place = settings.place
        if place in transition.wanted:
            raise ConfigurationError(f"two control sockets in the same place: {settings.endpoint}")
        known = self._open.get(place)
        if known is not None and (settings.endpoint.port or settings.endpoint.path != "/"):
            before, channel = known
            if before.secured != settings.secured and (not before.secured or not settings.secured):
                plain = "HTTP" if "http" in before.endpoint.transport else "plain"
                words = (plain, "HTTPS" if plain == "HTTP" else "TLS")
                words = words if settings.secured else (words[1], words[0])
                same = "path" if place[0] == "path" else "address and port"
                raise ConfigurationError(
                    f"Can not switch from {words[0]} to {words[1]} sockets using the same {same}."
                )
            if before.endpoint.options != settings.endpoint.options:
                raise ConfigurationError(
                    f"the settings of {before.endpoint} cannot be changed while it listens: use another "
                    "place, or restart"
                )
            if before.endpoint == settings.endpoint:
                if channel.exposed:
                    self._server.check(settings.endpoint, settings.http, governs)
                transition.wanted[place] = (settings, channel)
                return
        channel = await self._server.listen(settings.endpoint, settings.http, governs=governs)
        transition.opened.append(channel)
        transition.wanted[place] = (settings, channel)


class ChannelTransition:
    """The way from the channels that are open to those that are wanted."""

    def __init__(
        self, server: Server, current: dict[tuple[str, str, int], tuple[ChannelSettings, Channel]]
    ) -> None:
        self._server = server
        self._current = current
        self.wanted: dict[tuple[str, str, int], tuple[ChannelSettings, Channel]] = {}
        self.opened: list[Channel] = []

    async def commit(self) -> None:
        """Let the new settings hold, and take no new connections where none are wanted any more."""
        staying = {id(channel) for _, channel in self.wanted.values()}
        for _, channel in self._current.values():
            if id(channel) not in staying:
                self._retire(channel)
        for settings, channel in self.wanted.values():
            self._server.update(channel, settings.http)
        self._current.clear()
        self._current.update(self.wanted)

    async def rollback(self) -> None:
        """Close what was opened for this."""
        for channel in self.opened:
            await self._discard(channel)
        self.opened.clear()

    # Past the point of no return nothing may raise: what is left over is told to the log.

    def _retire(self, channel: Channel) -> None:
        try:
            self._server.retire(channel)
        except EndpointError as error:
            _log.error("%s: %s", channel.endpoint, error)

    async def _discard(self, channel: Channel) -> None:
        try:
            await self._server.discard(channel)
        except EndpointError as error:
            _log.error("%s: %s", channel.endpoint, error)
