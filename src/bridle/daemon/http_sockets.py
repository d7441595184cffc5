"""Reads the listeners of HTTP that a configuration asks for: on a port, with and without TLS, or on a unix
socket."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, TypeAlias

from bridle.core.errors import ConfigurationError
from bridle.core.grammar import EXTRA, Grammar
from bridle.core.messages import JSON, Path
from bridle.daemon.channel_settings import ChannelSettings
from bridle.daemon.document import Document
from bridle.net.endpoint import Endpoint
from bridle.server import HttpSettings

if TYPE_CHECKING:
    import ssl

__all__ = [
    "RIGHTS",
    "TLS",
    "TLS_FILES",
    "UNSUPPORTED_BY",
    "as_option",
    "check_authentication",
    "read_http",
    "read_http_file",
    "read_http_socket",
    "read_tls",
]

UNSUPPORTED_BY = "parameter '{key}' is not supported by {scope} control sockets"
"""How a member of a control socket is refused that its type does not have."""

TLS_FILES = ("trust-anchor", "cert-file", "key-file")
TLS: Grammar = {
    **dict.fromkeys(TLS_FILES, str),
    "cert-required": bool,
    "allow-readable-secrets": bool,
}
_HTTP: Grammar = {
    "socket-type": str,
    "authentication": dict,
    "http-headers": list,
    "http-allowed-hosts": list,
    "http-allowed-origins": list,
    **EXTRA,
}
_PORT: Grammar = {
    **_HTTP,
    **TLS,
    "socket-address": str,
    "socket-port": int,
    "allow-unauthenticated": bool,
    "allow-clear-text-passwords": bool,
}
RIGHTS: Grammar = {"mode": str, "owner": str, "group": str, "allow-world-writable": bool}
_FILE: Grammar = {**_HTTP, **RIGHTS, "socket-name": object, "allow-readable-secrets": bool}
_AUTHENTICATION: Grammar = {
    "type": str,
    "realm": str,
    "directory": str,
    "clients": list,
    "tokens": str,
    **EXTRA,
}
_CLIENT: Grammar = {
    **dict.fromkeys(("user", "password", "user-file", "password-file", "password-hash"), str),
    **EXTRA,
}
Members: TypeAlias = Callable[[JSON, Grammar, str, Path], dict[str, JSON]]
"""Finds a map to be one of a grammar, or raises: :meth:`bridle.daemon.document.Document.members`."""

_OWN_HEADERS = frozenset({"connection", "content-length", "content-type", "date", "transfer-encoding"})
# A scheme, a host, and a port where it is not the scheme's own: RFC 6454 §6.2.
_ORIGIN = re.compile(r"https?://[^/?#@*\s]+")


def read_http_socket(
    item: dict[str, JSON], path: list[str | int], document: Document, *, realm: str
) -> ChannelSettings:
    """Read a control socket of the types ``http`` and ``https``.

    Raises:
        ConfigurationError: with Kea's texts and the position.
    """
    if item["socket-type"] == "http" and "socket-name" in item:
        return read_http_file(item, path, document, realm=realm)
    document.members(item, _PORT, "HTTP", path, UNSUPPORTED_BY)
    check_authentication(item, path, document.members)
    found = read_http(item, path, document, realm=realm, prefix="socket-")
    if item["socket-type"] == "https" and found.http.tls is None:
        raise document.error("no TLS setup for a HTTPS control socket", path)
    return found


def check_authentication(item: Mapping[str, JSON], path: Path, members: Members) -> None:
    """Refuse what would otherwise pass for no authentication, or for less than was meant.

    Raises:
        ConfigurationError: ``authentication`` of a listener holds something that is not known.
    """
    where = [*path, "authentication"]
    given = members(item.get("authentication", {}), _AUTHENTICATION, "authentication", where)
    clients = given.get("clients")
    for index, client in enumerate(clients if isinstance(clients, list) else []):
        members(client, _CLIENT, "clients", [*where, "clients", index])


def read_http(
    item: Mapping[str, JSON], path: list[str | int], document: Document, *, realm: str, prefix: str
) -> ChannelSettings:
    """Read the address, TLS, authentication and headers of an HTTP listener.

    ``prefix`` is that of the address keys: ``socket-`` of a daemon, ``http-`` of the agent.

    Raises:
        ConfigurationError: with Kea's texts and the position.
    """
    host = item.get("http-host" if prefix == "http-" else "socket-address", "127.0.0.1")
    port = item.get(f"{prefix}port", 8000)
    if not isinstance(host, str):
        key = "http-host" if prefix == "http-" else "socket-address"
        raise document.error(f"invalid type specified for parameter '{key}'", [*path, key])
    if type(port) is not int:
        raise document.error(f"invalid type specified for parameter '{prefix}port'", [*path, f"{prefix}port"])
    if not 0 <= port <= 65535:
        raise document.error(
            f"out of range value ({port}) specified for parameter '{prefix}port'", [*path, f"{prefix}port"]
        )
    tls, secured = read_tls(item, path, document)
    endpoint = Endpoint("https" if tls else "http", path="/", host=host, port=port)
    return ChannelSettings(endpoint, _read_http_settings(item, path, document, realm, tls), secured)


def read_http_file(
    item: dict[str, JSON], path: list[str | int], document: Document, *, realm: str
) -> ChannelSettings:
    """Read the path, rights, authentication and headers of a listener of HTTP on a unix socket.

    Raises:
        ConfigurationError: with the position.
    """
    document.members(item, _FILE, "HTTP", path, UNSUPPORTED_BY)
    check_authentication(item, path, document.members)
    name = item.get("socket-name")
    if not isinstance(name, str) or not name:
        raise document.error("Mandatory 'socket-name' parameter missing", path)
    options = tuple((key, as_option(item[key])) for key in RIGHTS if key in item)
    endpoint = Endpoint("unix", "http", path=name, options=options)
    return ChannelSettings(endpoint, _read_http_settings(item, path, document, realm, None))


def _read_http_settings(
    item: Mapping[str, JSON],
    path: list[str | int],
    document: Document,
    realm: str,
    tls: ssl.SSLContext | None,
) -> HttpSettings:
    # Loaded only here: a daemon on a unix socket of another dialect does not need it.
    from bridle.access.basic import read_authentication

    try:
        authentication = item.get("authentication")
        basic = (
            read_authentication(
                authentication,
                [*path, "authentication"],
                document.locate,
                realm=realm,
                allow_readable=item.get("allow-readable-secrets") is True,
            )
            if isinstance(authentication, dict)
            else None
        )
    except ConfigurationError as error:
        raise document.placed(error) from error
    return HttpSettings(
        tls=tls,
        authentication=basic,
        headers=_headers(item, path, document),
        allowed_hosts=_texts(item, "http-allowed-hosts", path, document),
        allowed_origins=_origins(item, path, document),
        allow_unauthenticated=item.get("allow-unauthenticated") is True,
        allow_clear_text=item.get("allow-clear-text-passwords") is True,
    )


def _texts(item: Mapping[str, JSON], key: str, path: list[str | int], document: Document) -> tuple[str, ...]:
    values = item.get(key, [])
    if not isinstance(values, list):
        raise document.error(f"invalid type specified for parameter '{key}'", [*path, key])
    found = []
    for index, value in enumerate(values):
        if not isinstance(value, str) or not value:
            raise document.error(f"{key} entries are names", [*path, key, index])
        found.append(value)
    return tuple(found)


def _origins(item: Mapping[str, JSON], path: list[str | int], document: Document) -> tuple[str, ...]:
    key = "http-allowed-origins"
    origins = _texts(item, key, path, document)
    for index, origin in enumerate(origins):
        if not _ORIGIN.fullmatch(origin):
            text = f"'{origin}' is no origin, as https://console.example is"
            raise document.error(text, [*path, key, index])
    return origins


def _headers(
    item: Mapping[str, JSON], path: list[str | int], document: Document
) -> tuple[tuple[str, str], ...]:
    headers = item.get("http-headers", [])
    if not isinstance(headers, list):
        raise document.error("invalid type specified for parameter 'http-headers'", [*path, "http-headers"])
    found = []
    for index, header in enumerate(headers):
        where = [*path, "http-headers", index]
        if not isinstance(header, dict):
            raise document.error("http-headers entries are expected to be maps", where)
        name, content = header.get("name"), header.get("value")
        if not isinstance(name, str) or not isinstance(content, str):
            raise document.error("http-headers entries need a 'name' and a 'value', both strings", where)
        if not name or any(c in name + content for c in "\r\n\0") or ":" in name:
            raise document.error("http-headers entries may not hold line breaks", where)
        if name.lower() in _OWN_HEADERS:
            raise document.error(f"the header '{name}' is the connection's own to write", where)
        found.append((name, content))
    return tuple(found)


def read_tls(
    item: Mapping[str, JSON], path: list[str | int], document: Document
) -> tuple[ssl.SSLContext | None, tuple[str, ...]]:
    """The context of a listener, None where it does not speak TLS, and what it is made of.

    Raises:
        ConfigurationError: a file cannot be used; with the position.
    """
    if not any(item.get(key) for key in TLS_FILES):
        return None, ()
    # Loaded only here: a daemon on a unix socket needs no TLS.
    from bridle.access.tls import server_context

    try:
        tls = server_context(item, path)
    except ConfigurationError as error:
        raise document.placed(error) from error
    return tls, tuple(str(item.get(key, "")) for key in TLS)


def as_option(value: JSON) -> str:
    """A setting as the option of an endpoint that it becomes."""
    return str(int(value)) if isinstance(value, bool) else str(value)
