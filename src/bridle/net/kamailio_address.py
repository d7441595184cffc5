"""Kamailio's way to write addresses: ``[PROTOCOL:]PATH``, ``[PROTOCOL:][HOST:]PORT`` (``facts/kamailio.md``
§4), as in its ``binrpc`` and ``fifo`` parameters and in ``kamcmd -s``.

``/run/ctl``, ``unixs:/run/ctl``, ``unixd:/run/ctl``, ``udp:127.0.0.1:2046``, ``tcp:2046``,
``tcp:[::1]:2046``, ``fifo:/run/ctl``. The port defaults to 2049, the host to every address.
"""

from __future__ import annotations

import re
import socket
from typing import Literal

from bridle.core.errors import EndpointError
from bridle.net.endpoint import Endpoint

__all__ = ["DEFAULT_ADDRESS", "DEFAULT_PORT", "read_address"]

DEFAULT_ADDRESS = "unixs:/var/run/kamailio/kamailio_ctl"
DEFAULT_PORT = 2049

_TRANSPORTS = {
    "tcp": "tcp",
    "udp": "udp",
    "unix": "unix",
    "unixs": "unix",
    "unixd": "unixd",
    "fifo": "fifo",
}
_PROTOCOL = re.compile(r"([A-Za-z]+):(.*)", re.DOTALL)
_BRACKETED = re.compile(r"\[([^\]]*)\](?::(.*))?", re.DOTALL)
_ANY = "*"


def read_address(text: str, user: Literal["binrpc", "fifo", "kamcmd"] = "binrpc") -> Endpoint:
    """The endpoint that an address stands for.

    What it means without a protocol depends on who reads it: the ``binrpc`` parameter takes a path for a unix
    stream and all else for UDP; the ``fifo`` parameter takes ``HOST:PORT`` for UDP and all else for a FIFO;
    ``kamcmd`` takes a word without a port for a unix stream.

    Raises:
        EndpointError: it is none.
    """
    dialect = "fifo" if user == "fifo" else "binrpc"
    match = _PROTOCOL.fullmatch(text)
    protocol = match[1].lower() if match else ""
    if match and protocol in _TRANSPORTS:
        transport, rest = _TRANSPORTS[protocol], match[2]
    else:
        transport, rest = _default(text, user), text
    if transport == "fifo":
        dialect = "fifo"
    if transport in ("tcp", "udp"):
        host, port = _host_and_port(text, rest)
        return Endpoint(transport, dialect, host=host, port=port)
    if not rest or ":" in rest:
        raise EndpointError(f"address '{text}': a path is expected, without ':'")
    return Endpoint(transport, dialect, path=rest)


def _default(text: str, user: str) -> str:
    has_port = ":" in text
    if "/" in text:
        return "fifo" if user == "fifo" else "unix"
    if user == "fifo" and not has_port:
        return "fifo"
    if user == "kamcmd" and not has_port:
        return "unix"
    return "udp"


def _host_and_port(text: str, rest: str) -> tuple[str, int]:
    bracketed = _BRACKETED.fullmatch(rest)
    if bracketed:
        host, port = bracketed.groups()
        return host or "::", _port(text, port)
    if rest.count(":") > 1:
        raise EndpointError(f"address '{text}' is not [PROTOCOL:][HOST:]PORT; an IPv6 address is in []")
    host, colon, port = rest.partition(":")
    if not colon and _is_port(host):
        host, port = _ANY, host
    return host or _ANY, _port(text, port)


def _is_port(word: str) -> bool:
    return word.isascii() and word.isdecimal()


def _port(text: str, port: str | None) -> int:
    if not port:
        return DEFAULT_PORT
    if _is_port(port):
        number = int(port)
        if number > 65535:
            raise EndpointError(f"address '{text}': a port is a number from 0 to 65535")
        return number or DEFAULT_PORT
    try:
        return socket.getservbyname(port)
    except OSError:
        raise EndpointError(f"address '{text}': there is no service '{port}'") from None
