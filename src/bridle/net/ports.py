"""Listening ports: TCP and UDP sockets bound to an address."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable

from bridle.core.errors import EndpointError
from bridle.core.messages import Peer
from bridle.net.unix import BACKLOG

__all__ = ["open_port", "peer_of_connection", "peer_of_port", "written"]


async def open_port(
    transport: str, host: str, port: int, check: Callable[[str], None] | None = None
) -> socket.socket:
    """A non-blocking socket bound to a TCP or UDP port; the TCP one listens. ``*`` is every IPv4 address,
    ``::`` every IPv6 address. ``check`` is told the address before anybody can connect to it, and may raise.

    Raises:
        EndpointError: the name has no address, or the port cannot be had.
    """
    kind = socket.SOCK_DGRAM if transport == "udp" else socket.SOCK_STREAM
    where = f"{transport}:{written(host, port)}"
    try:
        found = await asyncio.get_running_loop().getaddrinfo(
            "0.0.0.0" if host == "*" else host, port, type=kind, flags=socket.AI_PASSIVE
        )
    except (OSError, UnicodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "no host can have this name"
        raise EndpointError(f"cannot listen on {where}: {reason}") from error
    # As Kamailio resolves: IPv4 first.
    family, _, _, _, address = min(found, key=lambda one: one[0] != socket.AF_INET)
    sock = socket.socket(family, kind | socket.SOCK_NONBLOCK)
    try:
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        if kind == socket.SOCK_STREAM:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            # What is accepted inherits it.
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.bind(address)
        if check is not None:
            check(sock.getsockname()[0])
        if kind == socket.SOCK_STREAM:
            sock.listen(BACKLOG)
    except OSError as error:
        sock.close()
        raise EndpointError(f"cannot listen on {where}: {error.strerror or error}") from error
    except BaseException:
        sock.close()
        raise
    return sock


def written(host: str, port: int) -> str:
    """An address as it is written: ``127.0.0.1:80``, ``[::1]:80``."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def peer_of_port(transport: str, address: object) -> Peer:
    """The peer at an address that a socket told."""
    if not isinstance(address, tuple) or len(address) < 2:
        return Peer(transport=transport)
    return Peer(transport=transport, address=str(address[0]))


def peer_of_connection(sock: socket.socket) -> Peer:
    """The peer of a TCP connection; without an address where it has gone already."""
    try:
        return peer_of_port("tcp", sock.getpeername())
    except OSError:
        return Peer(transport="tcp")
