"""Connecting to an endpoint for the blocking client: sockets that never wait beyond a deadline."""

from __future__ import annotations

import contextlib
import errno
import os
import select
import socket
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from bridle.client.calls import BACKLOG_PAUSE, context_of, is_secured, server_name
from bridle.core.errors import EndpointError
from bridle.net.endpoint import Endpoint

if TYPE_CHECKING:
    import ssl

__all__ = [
    "CHUNK",
    "DATAGRAMS",
    "Carrier",
    "FifoCarrier",
    "NamedSocket",
    "connect_carrier",
    "has_ended",
    "set_deadline",
]

CHUNK = 256 * 1024
"""Bytes read at once."""

DATAGRAMS = ("udp", "unixd")
"""Transports on which a message is a datagram."""

# Where servers look for the FIFOs of answers.
_REPLY_FOLDER = "/tmp"

_Address = tuple[
    socket.AddressFamily,
    socket.SocketKind,
    int,
    str,
    tuple[str, int] | tuple[str, int, int, int] | tuple[int, bytes],
]


class Carrier(Protocol):
    """What the blocking client needs of a socket."""

    def fileno(self) -> int:
        """The descriptor that becomes readable with an answer."""
        ...

    def settimeout(self, value: float | None, /) -> None:
        """Wait no longer than ``value`` seconds in what follows."""
        ...

    def sendall(self, data: bytes, /) -> None:
        """Send all of it."""
        ...

    def recv(self, size: int, /) -> bytes:
        """Receive some; nothing means the end."""
        ...

    def shutdown(self, how: int, /) -> None:
        """Say that nothing more is sent."""
        ...

    def close(self) -> None:
        """Close."""
        ...


def set_deadline(carrier: Carrier, deadline: float) -> None:
    """Let a carrier wait until ``deadline`` (of :func:`time.monotonic`).

    Raises:
        TimeoutError: that is over.
    """
    remaining = deadline - time.monotonic()
    if remaining <= 0:
        raise TimeoutError
    carrier.settimeout(remaining)


def has_ended(carrier: Carrier) -> bool:
    """True when the server has closed a kept connection, or has sent what nobody asked for."""
    poll = select.poll()
    poll.register(carrier.fileno(), select.POLLIN)
    return bool(poll.poll(0))


def connect_carrier(endpoint: Endpoint, tls: ssl.SSLContext | None, deadline: float) -> Carrier:
    """Connect to an endpoint.

    Raises:
        OSError: it cannot be reached.
    """
    transport = endpoint.transport
    if transport == "unix":
        return _secured(_connect_unix(endpoint.path, deadline), endpoint, tls, deadline)
    if transport == "unixd":
        return _connect_unix_datagrams(endpoint)
    if transport == "fifo":
        return FifoCarrier(endpoint)
    kind = socket.SOCK_DGRAM if transport == "udp" else socket.SOCK_STREAM
    sock = _connect_to_first(_resolve(endpoint.host, endpoint.port, kind, deadline), deadline)
    if transport == "udp":
        return sock
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return _secured(sock, endpoint, tls, deadline)


def _secured(
    sock: socket.socket, endpoint: Endpoint, tls: ssl.SSLContext | None, deadline: float
) -> socket.socket:
    """The socket, with a handshake behind it where TLS is spoken there."""
    if not is_secured(endpoint, tls):
        return sock
    try:
        set_deadline(sock, deadline)
        context = tls if tls is not None else context_of(endpoint)
        return context.wrap_socket(sock, server_hostname=server_name(endpoint))
    except BaseException:
        sock.close()
        raise


def _connect_unix(path: str, deadline: float) -> socket.socket:
    while True:
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            set_deadline(sock, deadline)
            sock.connect(path)
            return sock
        except BlockingIOError:
            sock.close()
            time.sleep(BACKLOG_PAUSE)
        except BaseException:
            sock.close()
            raise


class NamedSocket(socket.socket):
    """A unix datagram socket with an address that answers can come to, whose file goes with it."""

    _path = ""

    def bind_for_answers(self, endpoint: Endpoint) -> None:
        """Bind to the path in the endpoint's option ``reply``; without it to an address of the kernel's
        choice, which has no file.

        Raises:
            OSError: there can be no socket at that path.
        """
        path = endpoint.option("reply") or ""
        self.bind(path)
        self._path = path

    def close(self) -> None:
        """Close, and remove the file."""
        super().close()
        path, self._path = self._path, ""
        if path:
            with contextlib.suppress(OSError):
                os.unlink(path)  # noqa: PTH108 - pathlib takes longer to load than the call


def _connect_unix_datagrams(endpoint: Endpoint) -> socket.socket:
    sock = NamedSocket(socket.AF_UNIX, socket.SOCK_DGRAM)
    try:
        sock.bind_for_answers(endpoint)
        sock.connect(endpoint.path)
        return sock
    except BaseException:
        sock.close()
        raise


def _resolve(host: str, port: int, kind: socket.SocketKind, deadline: float) -> list[_Address]:
    """Look a host up. The resolver knows no deadline, so it is left behind where it takes too long."""
    if host.replace(".", "").isdigit() or ":" in host:
        return [*socket.getaddrinfo(host, port, type=kind, flags=socket.AI_NUMERICHOST)]
    found: list[_Address] = []
    failed: list[OSError] = []

    def look_up() -> None:
        try:
            found.extend(socket.getaddrinfo(host, port, type=kind))
        except OSError as error:
            failed.append(error)
        except UnicodeError as error:
            failed.append(OSError(f"no host can have this name: {error}"))

    thread = threading.Thread(target=look_up, name=f"look up {host}", daemon=True)
    thread.start()
    thread.join(max(deadline - time.monotonic(), 0))
    if failed:
        raise failed[0]
    if thread.is_alive():
        raise TimeoutError
    return found


def _connect_to_first(addresses: list[_Address], deadline: float) -> socket.socket:
    """Connect to the first address that answers."""
    failure: OSError = OSError("the name has no addresses")
    for family, kind, protocol, _, address in addresses:
        sock = socket.socket(family, kind, protocol)
        try:
            set_deadline(sock, deadline)
            sock.connect(address)
            return sock
        except OSError as error:
            sock.close()
            failure = error
    raise failure


class FifoCarrier:
    """Two FIFOs: the server's for requests, and one of our own for the answer.

    The option ``reply-mode`` of the endpoint is the mode of ours, 0600 without it: a server of another user
    needs more to write to it.
    """

    def __init__(self, endpoint: Endpoint) -> None:
        mode = endpoint.option("reply-mode") or "600"
        try:
            rights = int(mode, 8)
        except ValueError:
            raise EndpointError(f"endpoint '{endpoint}': reply-mode '{mode}' is not octal") from None
        self._path = endpoint.path
        self._timeout: float | None = None
        self.reply: str = f"bridle_{os.getpid()}_{os.urandom(4).hex()}"
        self._reply_path = Path(_REPLY_FOLDER, self.reply)
        os.mkfifo(self._reply_path, 0o600)
        try:
            self._reply_path.chmod(rights)
            self._descriptor = os.open(self._reply_path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        except BaseException:
            self._reply_path.unlink()
            raise

    def fileno(self) -> int:
        """That of the answer's FIFO."""
        return self._descriptor

    def settimeout(self, value: float | None) -> None:
        """Wait no longer than this."""
        self._timeout = value

    def sendall(self, data: bytes) -> None:
        """Write a request to the server's FIFO, in one piece."""
        try:
            descriptor = os.open(self._path, os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError as error:
            if error.errno == errno.ENXIO:
                raise ConnectionRefusedError(errno.ECONNREFUSED, "nobody reads this fifo") from error
            raise
        try:
            unsent = memoryview(data)
            while unsent:
                try:
                    unsent = unsent[os.write(descriptor, unsent) :]
                except BlockingIOError:
                    self._wait(descriptor, select.POLLOUT)
        finally:
            os.close(descriptor)

    def recv(self, size: int) -> bytes:
        """Read from the answer's FIFO, which nobody may have opened yet."""
        while True:
            self._wait(self._descriptor, select.POLLIN)
            try:
                return os.read(self._descriptor, size)
            except BlockingIOError:
                continue

    def _wait(self, descriptor: int, events: int) -> None:
        poll = select.poll()
        poll.register(descriptor, events)
        if not poll.poll(None if self._timeout is None else self._timeout * 1000):
            raise TimeoutError

    def shutdown(self, how: int) -> None:
        """The request's end is in the request."""

    def close(self) -> None:
        """Close, and take the answer's FIFO away."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1
            with contextlib.suppress(FileNotFoundError):
                self._reply_path.unlink()
