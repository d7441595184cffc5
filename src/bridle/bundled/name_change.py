"""Name-change requests: what DHCP servers tell D2 (Kea's NCR).

A request is a JSON map behind its length in two bytes, one UDP datagram.
"""

from __future__ import annotations

import asyncio
import hashlib
import ipaddress
import logging
import socket
from collections import deque
from datetime import UTC, datetime

import msgspec

from bridle.bundled.dhcp.names import encode_labels
from bridle.core.errors import BridleError

__all__ = ["NameChange", "NameChangeError", "NameChangeSender", "decode", "dhcid", "encode"]

_TIME = "%Y%m%d%H%M%S"

_log = logging.getLogger("bridle.ddns")


class NameChangeError(BridleError):
    """Bytes that are no name-change request."""


class NameChange(msgspec.Struct, frozen=True, kw_only=True):
    """A name begins or ends to stand for an address. ``expires`` is in seconds since the epoch; ``length`` is
    the lease's in seconds, ``dhcid`` tells who the name belongs to."""

    add: bool
    forward: bool
    reverse: bool
    fqdn: str
    address: str
    dhcid: bytes
    expires: int
    length: int
    conflict_resolution: bool = True


class _Wire(msgspec.Struct, rename="kebab"):
    change_type: int
    forward_change: bool
    reverse_change: bool
    fqdn: str
    ip_address: str
    dhcid: str
    lease_expires_on: str
    lease_length: int
    use_conflict_resolution: bool | None = None
    conflict_resolution_mode: str | None = None


_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(_Wire)


def encode(change: NameChange) -> bytes:
    """The datagram."""
    wire = _Wire(
        0 if change.add else 1,
        change.forward,
        change.reverse,
        change.fqdn,
        change.address,
        change.dhcid.hex().upper(),
        datetime.fromtimestamp(change.expires, UTC).strftime(_TIME),
        change.length,
        change.conflict_resolution,
    )
    members = {key: value for key, value in msgspec.to_builtins(wire).items() if value is not None}
    body = _encoder.encode(members)
    return len(body).to_bytes(2, "big") + body


def decode(data: bytes) -> NameChange:
    """Read a datagram.

    Raises:
        NameChangeError: it is cut short, or no request.
    """
    length = int.from_bytes(data[:2], "big")
    if len(data) < 2 or len(data) - 2 < length:
        raise NameChangeError("a name-change request is cut short")
    try:
        wire = _decoder.decode(data[2 : 2 + length])
        expires = datetime.strptime(wire.lease_expires_on, _TIME).replace(tzinfo=UTC)
        address = str(ipaddress.ip_address(wire.ip_address))
        identifier = bytes.fromhex(wire.dhcid)
    except (msgspec.MsgspecError, ValueError) as error:
        raise NameChangeError(f"not a name-change request: {error}") from error
    if wire.change_type not in (0, 1):
        raise NameChangeError(f"Invalid Change Type: {wire.change_type}")
    if not wire.fqdn.strip(".") or not encode_labels(wire.fqdn):
        raise NameChangeError(f"not a domain name: '{wire.fqdn}'")
    if not (wire.forward_change or wire.reverse_change):
        raise NameChangeError("Invalid Request, forward and reverse flags are both false")
    mode = wire.conflict_resolution_mode
    checks = wire.use_conflict_resolution is not False if mode is None else mode == "check-with-dhcid"
    return NameChange(
        add=wire.change_type == 0,
        forward=wire.forward_change,
        reverse=wire.reverse_change,
        fqdn=wire.fqdn.lower().rstrip(".") + ".",
        address=address,
        dhcid=identifier,
        expires=int(expires.timestamp()),
        length=wire.lease_length,
        conflict_resolution=checks,
    )


def dhcid(kind: int, identifier: bytes, fqdn: str) -> bytes:
    """Who a name belongs to (RFC 4701). ``kind``: 0 for a hardware type and address, 1 for a client
    identifier, 2 for a DUID."""
    digest = hashlib.sha256(identifier + encode_labels(fqdn.lower().rstrip(".") + ".")).digest()
    return kind.to_bytes(2, "big") + b"\1" + digest


class NameChangeSender:
    """Sends requests to a D2. What the kernel does not take at once waits, so many at most; then the newest
    are dropped. Used on one event loop."""

    def __init__(self, host: str, port: int, *, source: tuple[str, int] = ("", 0), limit: int = 1024) -> None:
        self.dropped: int = 0
        """Requests that were dropped."""
        self._limit = limit
        self._waiting: deque[bytes] = deque()
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._socket = socket.socket(family, socket.SOCK_DGRAM)
        try:
            self._socket.setblocking(False)
            if source != ("", 0):
                self._socket.bind(source)
            # Not connected: a D2 that is away for a moment must not turn into errors here.
            self._target = (host, port)
        except BaseException:
            self._socket.close()
            raise

    def send(self, change: NameChange) -> None:
        """Send a request."""
        data = encode(change)
        if self._waiting:
            self._queue(data)
        elif not self._try(data):
            self._queue(data)
            asyncio.get_running_loop().add_writer(self._socket, self._on_writable)

    def _queue(self, data: bytes) -> None:
        if len(self._waiting) >= self._limit:
            self.dropped += 1
            if self.dropped == 1 or self.dropped % 1000 == 0:
                _log.error(
                    "%d name-change requests were dropped: more than %d wait", self.dropped, self._limit
                )
            return
        self._waiting.append(data)

    def _try(self, data: bytes) -> bool:
        try:
            self._socket.sendto(data, self._target)
        except BlockingIOError:
            return False
        except OSError as error:
            self.dropped += 1
            _log.warning("a name-change request to %s port %d: %s", *self._target, error)
        return True

    def _on_writable(self) -> None:
        while self._waiting and self._try(self._waiting[0]):
            self._waiting.popleft()
        if not self._waiting:
            asyncio.get_running_loop().remove_writer(self._socket)

    def close(self) -> None:
        """Send no more."""
        if self._waiting:
            asyncio.get_running_loop().remove_writer(self._socket)
            self._waiting.clear()
        self._socket.close()
