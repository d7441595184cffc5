"""The options of an endpoint that is listened on: files, certificates, and what is allowed."""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from typing import TYPE_CHECKING

import msgspec

from bridle.core.errors import BridleError, EndpointError
from bridle.core.messages import HTTP_UNIX
from bridle.net.endpoint import Endpoint
from bridle.net.stream import CONNECTION_LIMIT
from bridle.wire.dialect import Dialect

if TYPE_CHECKING:
    from bridle.core.messages import JSON

__all__ = ["Certificates", "Options", "Rights", "explain"]

_FILES = ("unix", "unixd", "fifo", HTTP_UNIX)
_STREAMS = ("unix", "tcp", "http", "https")
_PORTS = ("tcp", "udp", "http", "https")
_FILE_OPTIONS = ("allow-world-writable", "group", "mode", "owner")
_STREAM_OPTIONS = ("allow-readable-secrets", "ca", "cert", "cert-required", "key")
_SOCKET_OPTIONS = ("connections",)
_PORT_OPTIONS = ("allow-unauthenticated",)
_FLAGS = {
    **dict.fromkeys(("yes", "true", "on", "1"), True),
    **dict.fromkeys(("no", "false", "off", "0"), False),
}


class Certificates(msgspec.Struct, frozen=True):
    """Where the certificates of a listener are, and whether clients have to show one."""

    anchor: str
    certificate: str
    key: str
    required: bool = True
    allow_readable: bool = False

    def context(self) -> ssl.SSLContext:
        """The context that the files make up now.

        Raises:
            ConfigurationError: one is missing or cannot be used.
        """
        from bridle.access.tls import server_context

        value: dict[str, JSON] = {
            "trust-anchor": self.anchor,
            "cert-file": self.certificate,
            "key-file": self.key,
            "cert-required": self.required,
            "allow-readable-secrets": self.allow_readable,
        }
        found = server_context(value)
        assert found is not None
        return found


class Rights(msgspec.Struct, frozen=True):
    """What a file of an endpoint gets."""

    mode: int
    owner: str | None
    group: str | None
    open_to_all: bool


class Options:
    """The options of an endpoint, taken one by one; what is left is the dialect's."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._left = dict(endpoint.options)

    def _take(self, *names: str) -> str | None:
        for name in names:
            if name in self._left:
                return self._left.pop(name)
        return None

    def flag(self, name: str, *, default: bool = False) -> bool:
        """An option that is ``yes`` or ``no``.

        Raises:
            EndpointError: it is something else.
        """
        text = self._take(name)
        if text is None:
            return default
        if text.lower() not in _FLAGS:
            raise EndpointError(f"{name} is yes or no, not '{text}'")
        return _FLAGS[text.lower()]

    def rights(self, mode: int) -> Rights:
        """What the file gets; ``mode`` where nothing is said.

        Raises:
            EndpointError: the mode is none.
        """
        text = self._take("mode")
        try:
            given = mode if text is None else int(text, 8)
        except ValueError:
            raise EndpointError(f"mode '{text}' is not octal, as 0660 is") from None
        owner, group = self._take("owner", "user"), self._take("group")
        return Rights(given, owner, group, self.flag("allow-world-writable"))

    def connections(self) -> int:
        """How many connections are served at a time.

        Raises:
            EndpointError: it is no number that can be meant.
        """
        text = self._take("connections")
        if text is None:
            return CONNECTION_LIMIT
        if not (text.isascii() and text.isdecimal() and 0 < int(text) <= 1_000_000):
            raise EndpointError(f"connections is a number from 1 to 1000000, not '{text}'")
        return int(text)

    def certificates(self) -> Certificates | None:
        """The files of TLS; None where it is not spoken.

        Raises:
            EndpointError: some are given and others are missing.
        """
        anchor, certificate, key = self._take("ca"), self._take("cert"), self._take("key")
        required, readable = self.flag("cert-required", default=True), self.flag("allow-readable-secrets")
        if anchor is None and certificate is None and key is None:
            return None
        if not anchor or not certificate:
            raise EndpointError("TLS needs cert and ca, and key where the certificate's file has none")
        return Certificates(anchor, certificate, key or certificate, required, readable)

    def check(self, transport: str, dialect: Dialect | None = None) -> None:
        """Refuse what is left and not the dialect's. ``transport`` may also be :data:`HTTP_UNIX`.

        Raises:
            EndpointError: there is such an option.
        """
        own = dialect.options if dialect is not None else ()
        for name in self._left:
            if name not in own:
                known = [*own, *(_STREAM_OPTIONS if transport in _STREAMS else ())]
                known += _FILE_OPTIONS if transport in _FILES else ()
                known += _SOCKET_OPTIONS if transport in ("unix", "tcp") else ()
                known += _PORT_OPTIONS if transport in _PORTS else ()
                raise EndpointError(f"unknown option '{name}'; known are {', '.join(sorted(known))}")

    @property
    def left(self) -> Mapping[str, str]:
        """What nobody has taken."""
        return self._left


def explain(endpoint: Endpoint, error: BridleError) -> EndpointError:
    """An error in an endpoint's options, as one of the endpoint."""
    return EndpointError(f"endpoint '{endpoint}': {error}")
