"""The settings of a channel, and what is looked at before it is opened."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import msgspec

from bridle.core.errors import ConfigurationError, EndpointError
from bridle.net.endpoint import Endpoint
from bridle.server import HttpSettings
from bridle.server.exposure import Governs, check_exposure, is_literal, is_loopback

if TYPE_CHECKING:
    from bridle.access.guard_settings import GuardSettings

__all__ = ["ChannelSettings", "check_safety", "limit_log_ins"]


class ChannelSettings(msgspec.Struct, frozen=True):
    """One channel that is asked for. ``secured`` says what its TLS is made of."""

    endpoint: Endpoint
    http: HttpSettings = HttpSettings()
    secured: tuple[str, ...] = ()

    @property
    def place(self) -> tuple[str, str, int]:
        """What two channels cannot have in common."""
        endpoint = self.endpoint
        if endpoint.transport in ("unix", "unixd", "fifo"):
            return ("path", endpoint.path, 0)
        if endpoint.transport == "qb":
            return ("qb", endpoint.path, 0)
        return ("udp" if endpoint.transport == "udp" else "tcp", endpoint.host, endpoint.port)


def check_safety(settings: ChannelSettings, governs: Governs, *, allowed: bool) -> None:
    """Refuse a channel that would let everybody in, as far as that can be told from its address alone: names
    are looked up when it is opened. ``governs`` are the roles that are to hold with it.

    Raises:
        ConfigurationError: it would.
    """
    endpoint = settings.endpoint
    if endpoint.transport not in ("tcp", "udp", "http", "https") or not is_literal(endpoint.host):
        return
    if not is_loopback(endpoint.host):
        try:
            check_exposure(endpoint, settings.http, governs, allowed=allowed)
        except EndpointError as error:
            raise ConfigurationError(str(error)) from error


def limit_log_ins(channels: Iterable[ChannelSettings], access: GuardSettings | None) -> None:
    """Let failed log-ins cost what the limits say."""
    for one in channels:
        if one.http.authentication is not None:
            one.http.authentication.limit(access.limits if access is not None else None)
