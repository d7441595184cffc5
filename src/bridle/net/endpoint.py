"""Where messages travel: ``[DIALECT+]TRANSPORT:ADDRESS``.

``unix:/run/kea/kea4-ctrl-socket``, ``binrpc+tcp:127.0.0.1:2046``, ``http://127.0.0.1:8000``, ``qb:crmd``.
The dialect defaults to ``kea``, and to that of its own on ``fifo`` and ``qb``. Options follow a ``?``, as in
``unix:/run/t.sock?mode=0600&group=kea``. ``http+unix:/run/t.sock`` is HTTP on a unix socket.
"""

from __future__ import annotations

import re

from msgspec import Struct

from bridle.core.errors import EndpointError

__all__ = ["Endpoint"]

_PATHS = frozenset({"unix", "unixd", "fifo"})
_PORTS = frozenset({"tcp", "udp"})
_HTTP = "http"
# Transports that one dialect is mostly meant with.
_OWN_DIALECT = {"fifo": "fifo", "qb": "pacemaker"}
_WEB = {"http": 80, "https": 443}
_EXAMPLES = "unix:/run/name.sock, http://127.0.0.1:8000, binrpc+tcp:127.0.0.1:2046"
_PORT = re.compile(r"[0-9]{1,5}")
# A URL's password, up to the last sign that can end it: a malformed URL must not give it away either.
_PASSWORD = re.compile(r"(//[^:@/]*):.*@", re.DOTALL)


class Endpoint(Struct, frozen=True):
    """A place to listen on or to connect to.

    ``path`` is a file of ``unix``, ``unixd`` and ``fifo``, the service's name of ``qb``, the URL's path of
    ``http``; ``host`` and ``port`` belong to ``tcp``, ``udp``, ``http`` and ``https``. ``user`` and
    ``password`` are a URL's. ``str()`` is the place alone: it leaves the password and the options out.
    """

    transport: str
    dialect: str = "kea"
    path: str = ""
    host: str = ""
    port: int = 0
    user: str = ""
    password: str = ""
    options: tuple[tuple[str, str], ...] = ()

    @classmethod
    def parse(cls, text: str) -> Endpoint:
        """Read an endpoint.

        Raises:
            EndpointError: it is none; the text says which part is wrong.
        """
        shown = _PASSWORD.sub(r"\1:***@", text)
        head, colon, address = text.partition(":")
        dialect, plus, transport = head.rpartition("+")
        if plus and not dialect:
            raise EndpointError(f"endpoint '{shown}': a dialect must stand before '+'")
        if not colon or not address:
            raise EndpointError(f"endpoint '{shown}' is not TRANSPORT:ADDRESS, as in {_EXAMPLES}")
        dialect = dialect or _OWN_DIALECT.get(transport, "kea")
        if transport in _WEB:
            return cls._web(f"{transport}:{address}", shown, dialect)
        if dialect == _HTTP and transport != "unix":
            raise EndpointError(f"endpoint '{shown}': HTTP is http+unix:PATH, http://HOST:PORT or https://…")
        address, _, query = address.partition("?")
        options = _options(query)
        if not address and (transport in _PATHS or transport == "qb"):
            what = "path" if transport in _PATHS else "service"
            raise EndpointError(f"endpoint '{shown}' names no {what}")
        if transport in _PATHS:
            return cls(transport, dialect, path=address, options=options)
        if transport == "qb":
            return cls(transport, dialect, path=address, options=options)
        if transport in _PORTS:
            host, port = _host_and_port(shown, address)
            return cls(transport, dialect, host=host, port=port, options=options)
        known = ", ".join(sorted([*_PATHS, *_PORTS, *_WEB, "qb"]))
        raise EndpointError(f"endpoint '{shown}': unknown transport '{transport}'; known are {known}")

    @classmethod
    def _web(cls, url: str, shown: str, dialect: str) -> Endpoint:
        # Loaded only here: a command to a unix socket is not to wait for it.
        from urllib.parse import unquote, urlsplit

        try:
            parts = urlsplit(url)
        except ValueError:
            raise EndpointError(f"endpoint '{shown}': its host is malformed") from None
        try:
            port = parts.port
        except ValueError:
            raise EndpointError(f"endpoint '{shown}': a port is a number from 0 to 65535") from None
        transport = parts.scheme
        if not parts.hostname:
            raise EndpointError(f"endpoint '{shown}' names no host, as in {transport}://127.0.0.1:8000")
        return cls(
            transport,
            dialect,
            path=parts.path or "/",
            host=parts.hostname,
            port=_WEB[transport] if port is None else port,
            user=unquote(parts.username or ""),
            password=unquote(parts.password or ""),
            options=_options(parts.query),
        )

    @property
    def in_http(self) -> bool:
        """Whether commands travel inside HTTP there, be it on a port or on a unix socket."""
        return self.dialect == ("kea" if self.transport in _WEB else _HTTP)

    def option(self, name: str) -> str | None:
        """The value of an option; None when it was not given."""
        return dict(self.options).get(name)

    def __str__(self) -> str:
        usual = _OWN_DIALECT.get(self.transport, "kea")
        head = f"{self.dialect}+{self.transport}" if self.dialect != usual else self.transport
        if self.transport in _WEB:
            user = f"{_quoted(self.user)}@" if self.user else ""
            path = "" if self.path == "/" else self.path
            return f"{head}://{user}{_bracketed(self.host)}:{self.port}{path}"
        if self.transport in _PORTS:
            return f"{head}:{_bracketed(self.host)}:{self.port}"
        return f"{head}:{self.path}"

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self}>"


def _options(query: str) -> tuple[tuple[str, str], ...]:
    if not query:
        return ()
    from urllib.parse import parse_qsl

    return tuple(parse_qsl(query, keep_blank_values=True))


def _quoted(user: str) -> str:
    from urllib.parse import quote

    return quote(user, safe="")


def _host_and_port(shown: str, address: str) -> tuple[str, int]:
    host, colon, port = address.rpartition(":")
    if not colon or not _PORT.fullmatch(port) or int(port) > 65535:
        raise EndpointError(f"endpoint '{shown}' needs HOST:PORT with a port from 0 to 65535")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    if not host:
        raise EndpointError(f"endpoint '{shown}' names no host")
    if "[" in host or "]" in host:
        raise EndpointError(f"endpoint '{shown}': a '[' without ']', or the other way round")
    return host, int(port)


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host
