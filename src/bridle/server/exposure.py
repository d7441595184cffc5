"""Listeners that other machines can reach: none of them lets everybody in by mistake."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeAlias

from bridle.core.errors import EndpointError

if TYPE_CHECKING:
    from bridle.net.endpoint import Endpoint
    from bridle.server.channel import HttpSettings

__all__ = [
    "ALLOW_CLEAR_TEXT",
    "ALLOW_UNAUTHENTICATED",
    "Governs",
    "check_exposure",
    "governs_nothing",
    "is_literal",
    "is_loopback",
]

Governs: TypeAlias = Callable[[str], bool]
"""Says whether roles decide about all commands that come by a transport."""

ALLOW_UNAUTHENTICATED = "allow-unauthenticated"
ALLOW_CLEAR_TEXT = "allow-clear-text-passwords"

_LOOPBACK = ("127.", "::ffff:127.")


def is_loopback(address: str) -> bool:
    """Whether an address, as the kernel writes it, can be reached from this machine alone."""
    return address == "::1" or address.startswith(_LOOPBACK)


def is_literal(host: str) -> bool:
    """Whether a host is an address, or stands for all of them, so that nothing has to be looked up."""
    return host in ("", "*") or ":" in host or host.replace(".", "").isdecimal()


def governs_nothing(transport: str) -> bool:
    """What holds where there are no roles."""
    return False


def check_exposure(
    endpoint: Endpoint, settings: HttpSettings, governs: Governs, *, allowed: bool = False
) -> None:
    """Refuse a listener that other machines can reach, where it would let everybody in, or have passwords
    sent in clear text. ``governs`` are the roles that will hold while it listens by these settings;
    ``allowed``: it was said to be meant for all listeners.

    Raises:
        EndpointError: it would; the text names the setting that allows it.
    """
    mutual = settings.tls is not None and settings.tls.verify_mode == ssl.CERT_REQUIRED
    authentication = settings.authentication
    asked = authentication is not None and authentication.required
    meant = allowed or settings.allow_unauthenticated
    nobody = authentication.without_password if authentication is not None else None
    if nobody is not None and not (mutual or meant):
        raise EndpointError(
            f"cannot listen on {endpoint}: other machines can reach it, and user '{nobody}' has no password; "
            f"give it one, listen on loopback, or allow it with {ALLOW_UNAUTHENTICATED}"
        )
    if not (asked or mutual or meant or governs(endpoint.transport)):
        known = "authentication, or TLS with cert-required"
        if endpoint.transport not in ("http", "https"):
            known = "an access policy" if endpoint.transport == "udp" else "TLS with cert-required"
        raise EndpointError(
            f"cannot listen on {endpoint}: other machines can reach it, and everybody would be let in; "
            f"configure {known}, listen on loopback, or allow it with {ALLOW_UNAUTHENTICATED}"
        )
    if asked and settings.tls is None and not settings.allow_clear_text:
        raise EndpointError(
            f"cannot listen on {endpoint}: other machines can reach it, and passwords would be sent in clear "
            f"text; configure TLS, listen on loopback, or allow it with {ALLOW_CLEAR_TEXT}"
        )
