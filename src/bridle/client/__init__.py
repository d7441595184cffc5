"""One client for every dialect, blocking and asyncio.

``connect`` imports no asyncio, so that a command line answers at once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import ssl

    from bridle.client.asynchronous import AsyncClient
    from bridle.client.blocking import Client
    from bridle.net.endpoint import Endpoint

__all__ = ["TIMEOUT", "connect", "connect_async"]

# Seconds for a whole call, connecting included. Kea's own tools wait ten.
TIMEOUT = 10.0


def connect(
    endpoint: str | Endpoint,
    *,
    timeout: float = TIMEOUT,
    user: str = "",
    password: str = "",
    token: str = "",
    tls: ssl.SSLContext | None = None,
) -> Client:
    """A client for the daemon or agent at ``endpoint``; connections are made when a call needs one.

    ``timeout`` bounds every call, in seconds, connecting included. ``user`` and ``password`` are sent with
    Basic authentication over HTTP, a ``token`` as a bearer token; ``tls`` is for ``https`` (default: the
    system's trust), and for streams that speak TLS. An endpoint may name its files by itself, as in
    ``binrpc+tcp:host:2046?ca=FILE&cert=FILE&key=FILE``.

    Raises:
        EndpointError: the endpoint is malformed, or the client does not speak its dialect.
        ValueError: a user is given with a token, or the token can be none.
    """
    from bridle.client.blocking import Client

    return Client(endpoint, timeout=timeout, user=user, password=password, token=token, tls=tls)


def connect_async(
    endpoint: str | Endpoint,
    *,
    timeout: float = TIMEOUT,
    user: str = "",
    password: str = "",
    token: str = "",
    tls: ssl.SSLContext | None = None,
) -> AsyncClient:
    """The same for asyncio: ``async with bridle.connect_async(…) as daemon: await daemon.call(…)``.

    Calls may run at the same time; each has a connection of its own while it runs.

    Raises:
        EndpointError: the endpoint is malformed, or the client does not speak its dialect.
        ValueError: as :func:`connect`.
    """
    from bridle.client.asynchronous import AsyncClient

    return AsyncClient(endpoint, timeout=timeout, user=user, password=password, token=token, tls=tls)
