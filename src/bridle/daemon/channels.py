"""The control channels that a configuration asks for, and the change from one set to another.

New channels listen before old ones stop; what fails leaves the old ones as they were.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Literal

import msgspec

from bridle.core.errors import ConfigurationError, EndpointError
from bridle.core.messages import JSON
from bridle.daemon.document import Document
from bridle.net.endpoint import Endpoint
from bridle.net.kamailio_address import read_address
from bridle.server import Channel, HttpSettings, Server
from bridle.server.exposure import check_exposure, is_literal, is_loopback

if TYPE_CHECKING:
    import ssl

    from bridle.access.guard_settings import GuardSettings

__all__ = [
    "ChannelSettings",
    "ChannelTransition",
    "ControlChannels",
    "check_safety",
    "governed",
    "read_control_sockets",
]

_log = logging.getLogger("bridle.daemon")

_UNIX_KEYS = frozenset({"socket-type", "socket-name", "allow-world-writable", "user-context", "comment"})
_TLS_FILES = ("trust-anchor", "cert-file", "key-file")
_TLS: Mapping[str, type] = {
    **dict.fromkeys(_TLS_FILES, str),
    "cert-required": bool,
    "allow-readable-secrets": bool,
}
_STREAM_KEYS = _UNIX_KEYS.union(_TLS)
_KAMAILIO_OPTIONS: Mapping[str, type] = {
    "mode": str,
    "user": str,
    "group": str,
    "connections": int,
    "autoconversion": bool,
    "idle-timeout": int,
    "max-body-size": int,
    "max-struct-size": int,
    "allow-world-writable": bool,
}
_KAMAILIO_KEYS = _STREAM_KEYS.union(_KAMAILIO_OPTIONS, {"allow-unauthenticated"})
_PACEMAKER_KEYS = _UNIX_KEYS.union({"transport"})
_OWN_HEADERS = frozenset({"connection", "content-length", "content-type", "date", "transfer-encoding"})
_HTTP_KEYS = frozenset(
    {
        "socket-type",
        "socket-address",
        "socket-port",
        *_TLS,
        "authentication",
        "http-headers",
        "http-allowed-hosts",
        "http-allowed-origins",
        "allow-unauthenticated",
        "allow-clear-text-passwords",
        "user-context",
        "comment",
    }
)

_FILE_OPTIONS: Mapping[str, type] = {"mode": str, "owner": str, "group": str, "allow-world-writable": bool}
_HTTP_FILE_KEYS = _HTTP_KEYS.difference(
    _TLS, {"socket-address", "socket-port", "allow-unauthenticated", "allow-clear-text-passwords"}
).union(_FILE_OPTIONS, {"socket-name", "allow-readable-secrets"})

_PERMISSIONS = {
    "allow-unauthenticated": bool,
    "allow-clear-text-passwords": bool,
    "allow-readable-secrets": bool,
}
# A scheme, a host, and a port where it is not the scheme's own: RFC 6454 §6.2.
_ORIGIN = re.compile(r"https?://[^/?#@*\s]+")

_EXTRA = {"user-context": dict, "comment": str}
_AUTHENTICATION = {"type": str, "realm": str, "directory": str, "clients": list, "tokens": str, **_EXTRA}
_CLIENT = {
    **dict.fromkeys(("user", "password", "user-file", "password-file", "password-hash"), str),
    **_EXTRA,
}


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


def check_safety(settings: ChannelSettings, *, allowed: bool) -> None:
    """Refuse a channel that would let everybody in, as far as that can be told from its address alone: names
    are looked up when it is opened.

    Raises:
        ConfigurationError: it would.
    """
    endpoint = settings.endpoint
    if endpoint.transport not in ("tcp", "udp", "http", "https") or not is_literal(endpoint.host):
        return
    if not is_loopback(endpoint.host):
        try:
            check_exposure(endpoint, settings.http, allowed=allowed)
        except EndpointError as error:
            raise ConfigurationError(str(error)) from error


def governed(channels: Iterable[ChannelSettings], access: GuardSettings | None) -> list[ChannelSettings]:
    """The channels, allowed to be without authentication of their own where roles decide about every
    command. Their failed log-ins cost what the limits say."""
    channels = list(channels)
    for one in channels:
        if one.http.authentication is not None:
            one.http.authentication.limit(access.limits if access is not None else None)
    return [
        msgspec.structs.replace(one, http=msgspec.structs.replace(one.http, allow_unauthenticated=True))
        if access is not None and access.governs(one.endpoint.transport)
        else one
        for one in channels
    ]


def read_control_sockets(value: Mapping[str, JSON], document: Document, root: str) -> list[ChannelSettings]:
    """Read ``control-socket`` (Kea 2) and ``control-sockets`` (Kea 3) of a daemon's configuration.

    Raises:
        ConfigurationError: with Kea's texts (``facts/kea.md`` §1.6, §5) and the position.
    """
    found: list[ChannelSettings] = []
    if "control-socket" in value:
        found.append(_read_one(value["control-socket"], [root, "control-socket"], document, root))
    several = value.get("control-sockets", [])
    if not isinstance(several, list):
        raise document.error("control-sockets is expected to be a list", [root, "control-sockets"])
    for index, item in enumerate(several):
        found.append(_read_one(item, [root, "control-sockets", index], document, root))
    unix = [one for one in found if one.endpoint.transport == "unix" and one.endpoint.dialect == "kea"]
    if len(unix) > 1:
        raise document.error("control socket of type 'unix' already configured", [root, "control-sockets"])
    return found


def _read_one(item: JSON, path: list[str | int], document: Document, root: str) -> ChannelSettings:
    if not isinstance(item, dict):
        raise ConfigurationError(
            "Specified control-socket is expected to be a map, i.e. a structure defined within { }"
        )
    kind = item.get("socket-type")
    if kind is None:
        raise ConfigurationError("Mandatory 'socket-type' parameter missing")
    if kind in ("unix", "bngblaster"):
        return _read_unix("kea" if kind == "unix" else "bngblaster", item, path, document)
    if kind == "http" and "socket-name" in item:
        return read_http_file(item, path, document, realm=f"kea-{root.lower()}-server")
    if kind in ("http", "https"):
        _check_keys(item, _HTTP_KEYS, "HTTP", path, document)
        _check_http(item, path, document)
        found = read_http(item, path, document, realm=f"kea-{root.lower()}-server", prefix="socket-")
        if kind == "https" and found.http.tls is None:
            raise document.error("no TLS setup for a HTTPS control socket", path)
        return found
    if kind in ("binrpc", "fifo"):
        return _read_kamailio("fifo" if kind == "fifo" else "binrpc", item, path, document)
    if kind == "pacemaker":
        return _read_pacemaker(item, path, document)
    raise ConfigurationError(f"Invalid 'socket-type' parameter value {kind}")


def _read_unix(
    dialect: str, item: Mapping[str, JSON], path: list[str | int], document: Document
) -> ChannelSettings:
    """A unix stream socket: ``socket-name`` is its path."""
    _check_keys(item, _STREAM_KEYS, str(item["socket-type"]).upper(), path, document)
    name = item.get("socket-name")
    if name is None:
        raise ConfigurationError("Mandatory 'socket-name' parameter missing")
    if not isinstance(name, str):
        raise ConfigurationError("'socket-name' parameter expected to be a string")
    _check_type(item, {"allow-world-writable": bool, **_TLS}, path, document)
    options = (("allow-world-writable", "1"),) if item.get("allow-world-writable") else ()
    endpoint = Endpoint("unix", dialect, path=name, options=options)
    tls, secured = _read_stream_tls(endpoint, item, path, document)
    return ChannelSettings(endpoint, HttpSettings(tls=tls), secured)


def _read_kamailio(
    kind: Literal["binrpc", "fifo"], item: Mapping[str, JSON], path: list[str | int], document: Document
) -> ChannelSettings:
    """A socket as Kamailio's ctl has it: ``socket-name`` is an address in Kamailio's grammar, the rest are
    the options of its endpoint."""
    _check_keys(item, _KAMAILIO_KEYS, kind.upper(), path, document)
    _check_type(item, {**_KAMAILIO_OPTIONS, **_TLS, "allow-unauthenticated": bool}, path, document)
    name = item.get("socket-name")
    if not isinstance(name, str):
        raise document.error("Mandatory 'socket-name' parameter missing", path)
    try:
        endpoint = read_address(name, kind)
    except EndpointError as error:
        raise document.error(str(error), [*path, "socket-name"]) from error
    options = tuple((key, _option(item[key])) for key in _KAMAILIO_OPTIONS if key in item)
    endpoint = msgspec.structs.replace(endpoint, options=options)
    tls, secured = _read_stream_tls(endpoint, item, path, document)
    allowed = item.get("allow-unauthenticated") is True
    return ChannelSettings(endpoint, HttpSettings(tls=tls, allow_unauthenticated=allowed), secured)


def _read_stream_tls(
    endpoint: Endpoint, item: Mapping[str, JSON], path: list[str | int], document: Document
) -> tuple[ssl.SSLContext | None, tuple[str, ...]]:
    """TLS of a listener of a dialect that is not in HTTP: refused where it would not be spoken."""
    given = next((key for key in (*_TLS_FILES, "cert-required") if item.get(key)), None)
    if given is None:
        return None, ()
    if endpoint.transport not in ("tcp", "unix"):
        raise document.error(f"{endpoint} cannot speak TLS, which streams do", [*path, given])
    if endpoint.dialect == "fifo":
        text = f"{endpoint} cannot speak TLS: its answers end where a side closes"
        raise document.error(text, [*path, given])
    if given == "cert-required":
        text = f"cert-required asks for nothing without {', '.join(_TLS_FILES)}"
        raise document.error(text, [*path, given])
    return _read_tls(item, path, document)


def _read_tls(
    item: Mapping[str, JSON], path: list[str | int], document: Document
) -> tuple[ssl.SSLContext | None, tuple[str, ...]]:
    """The context of a listener, and what it is made of."""
    if not any(item.get(key) for key in _TLS_FILES):
        return None, ()
    # Loaded only here: a daemon on a unix socket needs no TLS.
    from bridle.access.tls import server_context

    try:
        tls = server_context(item, path)
    except ConfigurationError as error:
        raise document.placed(error) from error
    return tls, tuple(str(item.get(key, "")) for key in _TLS)


def _read_pacemaker(item: Mapping[str, JSON], path: list[str | int], document: Document) -> ChannelSettings:
    """A libqb service: ``socket-name`` is its name, ``transport`` is ``shm`` or ``socket``."""
    _check_keys(item, _PACEMAKER_KEYS, "PACEMAKER", path, document)
    name = item.get("socket-name")
    if not isinstance(name, str) or not name:
        raise document.error("Mandatory 'socket-name' parameter missing", path)
    transport = item.get("transport", "shm")
    if transport not in ("shm", "socket"):
        raise document.error("transport is 'shm' or 'socket'", [*path, "transport"])
    return ChannelSettings(Endpoint("qb", "pacemaker", path=name, options=(("transport", str(transport)),)))


def _option(value: JSON) -> str:
    return str(int(value)) if isinstance(value, bool) else str(value)


def _check_keys(
    item: Mapping[str, JSON], known: frozenset[str], kind: str, path: list[str | int], document: Document
) -> None:
    for key in item:
        if key not in known:
            raise document.error(
                f"parameter '{key}' is not supported by {kind} control sockets", [*path, key]
            )


def _check_http(item: Mapping[str, JSON], path: list[str | int], document: Document) -> None:
    """Refuse what would otherwise pass for no authentication, or for less than was meant."""
    _check_type(item, {"authentication": dict, "cert-required": bool, **_PERMISSIONS}, path, document)
    authentication = item.get("authentication", {})
    where = [*path, "authentication"]
    _check_members(authentication, _AUTHENTICATION, "authentication", where, document)
    clients = authentication.get("clients", []) if isinstance(authentication, dict) else []
    for index, client in enumerate(clients if isinstance(clients, list) else []):
        _check_members(client, _CLIENT, "clients", [*where, "clients", index], document)


def _check_members(
    item: JSON, known: Mapping[str, type], scope: str, path: list[str | int], document: Document
) -> None:
    if not isinstance(item, dict):
        raise document.error(f"{scope} is expected to be a map", path)
    for key in item:
        if key not in known:
            raise document.error(f"unsupported parameter '{key}' in {scope}", [*path, key])
    _check_type(item, known, path, document)


def _check_type(
    item: Mapping[str, JSON], wanted: Mapping[str, type], path: list[str | int], document: Document
) -> None:
    for key, kind in wanted.items():
        if key in item and not isinstance(item[key], kind):
            raise document.error(f"invalid type specified for parameter '{key}'", [*path, key])


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
    tls, secured = _read_tls(item, path, document)
    endpoint = Endpoint("https" if tls else "http", path="/", host=host, port=port)
    return ChannelSettings(endpoint, _read_http_settings(item, path, document, realm, tls), secured)


def read_http_file(
    item: Mapping[str, JSON], path: list[str | int], document: Document, *, realm: str
) -> ChannelSettings:
    """Read the path, rights, authentication and headers of a listener of HTTP on a unix socket.

    Raises:
        ConfigurationError: with the position.
    """
    _check_keys(item, _HTTP_FILE_KEYS, "HTTP", path, document)
    _check_http(item, path, document)
    _check_type(item, _FILE_OPTIONS, path, document)
    name = item.get("socket-name")
    if not isinstance(name, str) or not name:
        raise document.error("Mandatory 'socket-name' parameter missing", path)
    options = tuple((key, _option(item[key])) for key in _FILE_OPTIONS if key in item)
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


class ControlChannels:
    """The channels of a daemon: those of its start, and those of its configuration."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._open: dict[tuple[str, str, int], tuple[ChannelSettings, Channel]] = {}

    def renew_certificates(self) -> None:
        """Read the certificates again of channels that no configuration asks for."""
        self._server.renew_certificates()

    @property
    def channels(self) -> list[Channel]:
        """The channels of the present configuration."""
        return [channel for _, channel in self._open.values()]

    async def prepare(self, wanted: Iterable[ChannelSettings]) -> ChannelTransition:
        """Open what is wanted and not open yet; nothing is closed before the transition is committed.

        Raises:
            EndpointError: a channel cannot be opened; those that were opened for this are closed again.
            ConfigurationError: two channels in one place.
        """
        transition = ChannelTransition(self._server, self._open)
        try:
            for settings in wanted:
                await self._prepare_one(transition, settings)
        except BaseException:
            await transition.rollback()
            raise
        return transition

    async def _prepare_one(self, transition: ChannelTransition, settings: ChannelSettings) -> None:
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
                    self._server.check(settings.endpoint, settings.http)
                transition.wanted[place] = (settings, channel)
                return
        channel = await self._server.listen(settings.endpoint, settings.http)
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
            channel.update(settings.http)
        self._current.clear()
        self._current.update(self.wanted)

    async def rollback(self) -> None:
        """Close what was opened for this."""
        for channel in self.opened:
            self._retire(channel)
            await self._close(channel)
        self.opened.clear()

    # Past the point of no return nothing may raise: what is left over is told to the log.

    def _retire(self, channel: Channel) -> None:
        try:
            self._server.retire(channel)
        except EndpointError as error:
            _log.error("%s: %s", channel.endpoint, error)

    async def _close(self, channel: Channel) -> None:
        try:
            await channel.close(0)
        except EndpointError as error:
            _log.error("%s: %s", channel.endpoint, error)
