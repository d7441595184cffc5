"""Listeners that other machines can reach: none of them lets everybody in by mistake."""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING

from bridle.core.errors import EndpointError

if TYPE_CHECKING:
    from bridle.net.endpoint import Endpoint
    from bridle.server.channel import HttpSettings

__all__ = ["ALLOW_CLEAR_TEXT", "ALLOW_UNAUTHENTICATED", "check_exposure", "is_literal", "is_loopback"]

ALLOW_UNAUTHENTICATED = "allow-unauthenticated"
ALLOW_CLEAR_TEXT = "allow-clear-text-passwords"

_LOOPBACK = ("127.", "::ffff:127.")


def is_loopback(address: str) -> bool:
    """Whether an address, as the kernel writes it, can be reached from this machine alone."""
    return address == "::1" or address.startswith(_LOOPBACK)


def is_literal(host: str) -> bool:
    """Whether a host is an address, or stands for all of them, so that nothing has to be looked up."""
    return host in ("", "*") or ":" in host or host.replace(".", "").isdecimal()


def check_exposure(endpoint: Endpoint, settings: HttpSettings, *, allowed: bool = False) -> None:
    """Refuse a listener that other machines can reach, where it would let everybody in, or have passwords
    sent in clear text. ``allowed``: an access policy stands behind it, or it was said to be meant.

    Raises:
        EndpointError: it would; the text names the setting that allows it.
    """
    mutual = settings.tls is not None and settings.tls.verify_mode == ssl.CERT_REQUIRED
    authentication = settings.authentication
    asked = authentication is not None and authentication.required
    nobody = authentication.without_password if authentication is not None else None
    if nobody is not None and not (mutual or allowed or settings.allow_unauthenticated):
        raise EndpointError(
            f"cannot listen on {endpoint}: other machines can reach it, and user '{nobody}' has no password; "
            f"give it one, listen on loopback, or allow it with {ALLOW_UNAUTHENTICATED}"
        )
    if not (asked or mutual or allowed or settings.allow_unauthenticated):
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
