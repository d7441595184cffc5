"""Requests that a browser was led to send: who may send them, and what every answer tells a browser.

A page of a stranger can have a browser send requests to any address that the browser reaches, loopback
included. Three things keep such requests from being commands:

* A command is a POST of ``application/json``, which a page of another site cannot send without asking first
  (a preflight), and GET changes nothing.
* A request that says by ``Origin`` or ``Sec-Fetch-Site`` that it comes from another site is refused, unless
  that site is one of ``http-allowed-origins``.
* A stranger's name that suddenly means our address (DNS rebinding) makes the page and us the same site. It
  shows in ``Host``: where nobody has to prove who they are, that must be an address, or a name of ours.

Other programs send neither ``Origin`` nor a stranger's name, and notice nothing.
"""

from __future__ import annotations

import itertools
import os
import re
import socket
from collections.abc import Callable, Mapping
from typing import TypeVar

import msgspec

from bridle.server.channel import HttpSettings
from bridle.wire.http import HttpRequest, HttpResponse, HttpStream
from bridle.wire.kea_json import encode

__all__ = [
    "FIXED_HEADERS",
    "Doorkeeper",
    "request_names",
    "traceparent_of",
    "with_headers",
]

FIXED_HEADERS = (
    b"Cache-Control: no-store\r\n"
    b"Content-Security-Policy: default-src 'none'; frame-ancestors 'none'\r\n"
    b"Cross-Origin-Resource-Policy: same-origin\r\n"
    b"Referrer-Policy: no-referrer\r\n"
    b"X-Content-Type-Options: nosniff\r\n"
    b"X-Frame-Options: DENY\r\n"
)
"""What every answer tells a browser, unless the answer says it otherwise."""

_Response = TypeVar("_Response", HttpResponse, HttpStream, HttpResponse | HttpStream)

# Hosts that were found good and are remembered; clients use two or three.
_REMEMBERED = 64
# Seconds that a browser may remember what a preflight told: what browsers take at most by themselves.
_PREFLIGHT_AGE = "600"
_METHODS = "GET, POST"
_HEADERS = "Authorization, Content-Type, Traceparent, X-Request-ID"

_ADDRESS = re.compile(r"(?:\d{1,3}\.){3}\d{1,3}|\[[0-9A-Fa-f:.]+(?:%[^\]]+)?\]")
_PORT = re.compile(r":\d*\Z")
_ORIGIN = re.compile(r"https?://[^/?#@\s]+")
# https://www.w3.org/TR/trace-context/#traceparent-header; later versions may say more behind it.
_TRACEPARENT = re.compile(
    r"(?:00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}"
    r"|(?!00|ff)[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}(?:-[!-~]{0,128})?)"
)


def request_names() -> Callable[[], str]:
    """A source of names for requests, none of which comes twice, in whatever process."""
    head, numbers = os.urandom(8).hex(), itertools.count(1)
    return lambda: f"{head}-{next(numbers):x}"


def traceparent_of(request: HttpRequest) -> str:
    """The trace that a request belongs to, as it is passed on; empty where it says none, or nonsense."""
    text = request.headers.get("traceparent")
    return text if text is not None and _TRACEPARENT.fullmatch(text) else ""


class Doorkeeper:
    """Decides about requests of one listener before anything of them is read. ``name`` is the host that it
    listens on."""

    def __init__(self, name: str, settings: HttpSettings) -> None:
        # Who has to prove who they are, by a password or in a handshake with a certificate for our name, is
        # not fooled by a stranger's: no browser has a password for the stranger.
        asked = settings.authentication is not None and settings.authentication.required
        self._any_host = (asked or settings.tls is not None) and not settings.allowed_hosts
        names = ("localhost", socket.gethostname(), name, *settings.allowed_hosts)
        self._names = frozenset(_plain(one) for one in names)
        self._origins = frozenset(origin.lower() for origin in settings.allowed_origins)
        self._known: set[str | None] = {None, ""}

    def lets_in(self, headers: Mapping[str, str]) -> bool:
        """True for what nearly all requests are: from no browser, to a host that was found good before."""
        if "origin" in headers or "sec-fetch-site" in headers:
            return False
        return headers.get("host") in self._known

    def refusal(self, request: HttpRequest) -> HttpResponse | None:
        """The answer to a request that is not let in, and to a preflight; None lets it in."""
        headers = request.headers
        host = headers.get("host")
        if host not in self._known and not self._knows(host or ""):
            return _forbidden(f"{host} is no name of this listener; http-allowed-hosts names others")
        if "origin" in headers:
            return self._refusal_of(request, headers["origin"], host or "")
        if request.method == "POST" and headers.get("sec-fetch-site") in ("cross-site", "same-site"):
            return _forbidden("requests of other sites are not taken; http-allowed-origins names exceptions")
        return None

    def _knows(self, host: str) -> bool:
        name = _PORT.sub("", host)
        plain = _plain(name)
        good = self._any_host or plain in self._names or plain.endswith(".localhost")
        if not good and _ADDRESS.fullmatch(name) is None:
            return False
        if len(self._known) < _REMEMBERED:
            self._known.add(host)
        return True

    def _refusal_of(self, request: HttpRequest, origin: str, host: str) -> HttpResponse | None:
        if host and _ORIGIN.fullmatch(origin) and origin.partition("://")[2].lower() == host.lower():
            return None
        if origin.lower() not in self._origins:
            return _forbidden(f"requests of {origin} are not taken; http-allowed-origins names exceptions")
        if request.method == "OPTIONS" and "access-control-request-method" in request.headers:
            allowed = (
                ("Access-Control-Allow-Headers", _HEADERS),
                ("Access-Control-Allow-Methods", _METHODS),
                ("Access-Control-Max-Age", _PREFLIGHT_AGE),
            )
            return HttpResponse(204, b"", allowed)
        return None

    def opens(self, request: HttpRequest) -> tuple[tuple[str, str], ...]:
        """The headers by which a page of an allowed site may read the answer; mostly none."""
        origin = request.headers.get("origin")
        if origin is None or origin.lower() not in self._origins:
            return ()
        return (
            ("Access-Control-Allow-Origin", origin),
            ("Access-Control-Expose-Headers", "X-Request-ID"),
            ("Vary", "Origin"),
        )


def with_headers(response: _Response, extra: tuple[tuple[str, str], ...]) -> _Response:
    """An answer with more headers."""
    return msgspec.structs.replace(response, headers=response.headers + extra) if extra else response


def _plain(name: str) -> str:
    return name.lower().rstrip(".")


def _forbidden(text: str) -> HttpResponse:
    return HttpResponse(403, encode({"result": 403, "text": f"Forbidden: {text}"}))
