"""Reads the control sockets that a daemon's configuration asks for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Literal

import msgspec

from bridle.core.errors import ConfigurationError, EndpointError
from bridle.core.grammar import EXTRA, Grammar
from bridle.core.messages import JSON
from bridle.daemon.channel_settings import ChannelSettings
from bridle.daemon.document import Document
from bridle.daemon.http_sockets import (
    RIGHTS,
    TLS,
    TLS_FILES,
    UNSUPPORTED_BY,
    as_option,
    read_http_socket,
    read_tls,
)
from bridle.net.endpoint import Endpoint
from bridle.net.kamailio_address import read_address
from bridle.server import HttpSettings

if TYPE_CHECKING:
    import ssl

__all__ = ["read_control_sockets"]

_TYPES = ("unix", "http", "https", "binrpc", "fifo", "bngblaster", "pacemaker")
# Of a name that is none Kea has words of its own.
_ANY: Grammar = {"socket-type": str, "socket-name": object, "allow-world-writable": bool, **EXTRA}
_STREAM: Grammar = {**_ANY, **RIGHTS, **TLS}
_KAMAILIO_OPTIONS: Grammar = {
    **RIGHTS,
    "user": str,
    "connections": int,
    "autoconversion": bool,
    "idle-timeout": int,
    "max-body-size": int,
    "max-struct-size": int,
}
_KAMAILIO: Grammar = {**_STREAM, **_KAMAILIO_OPTIONS, "allow-unauthenticated": bool}
_PACEMAKER: Grammar = {**_ANY, "transport": object}


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
    if kind in ("http", "https"):
        return read_http_socket(item, path, document, realm=f"kea-{root.lower()}-server")
    if kind in ("binrpc", "fifo"):
        return _read_kamailio("fifo" if kind == "fifo" else "binrpc", item, path, document)
    if kind == "pacemaker":
        return _read_pacemaker(item, path, document)
    text = f"Invalid 'socket-type' parameter value {kind}"
    if document.from_file:
        raise document.error(f"{text}; known are {', '.join(_TYPES)}", [*path, "socket-type"])
    # Kea's words for a command.
    raise ConfigurationError(text)


def _read_unix(
    dialect: str, item: dict[str, JSON], path: list[str | int], document: Document
) -> ChannelSettings:
    """A unix stream socket: ``socket-name`` is its path."""
    document.members(item, _STREAM, str(item["socket-type"]).upper(), path, UNSUPPORTED_BY)
    name = item.get("socket-name")
    if name is None:
        raise ConfigurationError("Mandatory 'socket-name' parameter missing")
    if not isinstance(name, str):
        raise ConfigurationError("'socket-name' parameter expected to be a string")
    options = tuple((key, as_option(item[key])) for key in RIGHTS if key in item)
    endpoint = Endpoint("unix", dialect, path=name, options=options)
    tls, secured = _read_stream_tls(endpoint, item, path, document)
    return ChannelSettings(endpoint, HttpSettings(tls=tls), secured)


def _read_kamailio(
    kind: Literal["binrpc", "fifo"], item: dict[str, JSON], path: list[str | int], document: Document
) -> ChannelSettings:
    """A socket as Kamailio's ctl has it: ``socket-name`` is an address in Kamailio's grammar, the rest are
    the options of its endpoint."""
    document.members(item, _KAMAILIO, kind.upper(), path, UNSUPPORTED_BY)
    name = item.get("socket-name")
    if not isinstance(name, str):
        raise document.error("Mandatory 'socket-name' parameter missing", path)
    try:
        endpoint = read_address(name, kind)
    except EndpointError as error:
        raise document.error(str(error), [*path, "socket-name"]) from error
    options = tuple((key, as_option(item[key])) for key in _KAMAILIO_OPTIONS if key in item)
    endpoint = msgspec.structs.replace(endpoint, options=options)
    tls, secured = _read_stream_tls(endpoint, item, path, document)
    allowed = item.get("allow-unauthenticated") is True
    return ChannelSettings(endpoint, HttpSettings(tls=tls, allow_unauthenticated=allowed), secured)


def _read_stream_tls(
    endpoint: Endpoint, item: Mapping[str, JSON], path: list[str | int], document: Document
) -> tuple[ssl.SSLContext | None, tuple[str, ...]]:
    """TLS of a listener of a dialect that is not in HTTP: refused where it would not be spoken."""
    given = next((key for key in (*TLS_FILES, "cert-required") if item.get(key)), None)
    if given is None:
        return None, ()
    if endpoint.transport not in ("tcp", "unix"):
        raise document.error(f"{endpoint} cannot speak TLS, which streams do", [*path, given])
    if endpoint.dialect == "fifo":
        text = f"{endpoint} cannot speak TLS: its answers end where a side closes"
        raise document.error(text, [*path, given])
    if given == "cert-required":
        text = f"cert-required asks for nothing without {', '.join(TLS_FILES)}"
        raise document.error(text, [*path, given])
    return read_tls(item, path, document)


def _read_pacemaker(item: dict[str, JSON], path: list[str | int], document: Document) -> ChannelSettings:
    """A libqb service: ``socket-name`` is its name, ``transport`` is ``shm`` or ``socket``."""
    document.members(item, _PACEMAKER, "PACEMAKER", path, UNSUPPORTED_BY)
    name = item.get("socket-name")
    if not isinstance(name, str) or not name:
        raise document.error("Mandatory 'socket-name' parameter missing", path)
    transport = item.get("transport", "shm")
    if transport not in ("shm", "socket"):
        raise document.error("transport is 'shm' or 'socket'", [*path, "transport"])
    return ChannelSettings(Endpoint("qb", "pacemaker", path=name, options=(("transport", str(transport)),)))
