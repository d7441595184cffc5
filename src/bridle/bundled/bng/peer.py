"""The BNG on the other side: whether and when it answers, and the addresses it hands out.

Chance is a function of the seed, the session and how often it was asked: what happens to one session does not
depend on the others, nor on who looks.
"""

from __future__ import annotations

import ipaddress
import math
import socket
from collections import deque

from bridle.bundled.bng.session import Session
from bridle.bundled.bng.settings import SimulationSettings

__all__ = ["REFUSED", "Peer", "chance"]

REFUSED = -1.0
"""The answer of one who refuses."""

_MASK = (1 << 64) - 1
_ADDRESS_MASK = (1 << 128) - 1


def chance(seed: int, one: int, other: int) -> float:
    """A number from 0 up to 1 that looks as if it came by chance (Steele's SplitMix64)."""
    x = (seed * 0xD1342543DE82EF95 + one * 0x9E3779B97F4A7C15 + other * 0xBF58476D1CE4E5B9) & _MASK
    x = ((x ^ (x >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    x = ((x ^ (x >> 27)) * 0x94D049BB133111EB) & _MASK
    return (x ^ (x >> 31)) / (1 << 64)


class Peer:
    """A BNG that answers as the ``simulation`` section says."""

    def __init__(self, settings: SimulationSettings) -> None:
        self._seed = settings.seed
        self._delay = settings.delay
        self._jitter = settings.jitter
        self._loss = settings.loss
        self._refusals = {
            name: share
            for name in settings.refuse.__struct_fields__
            if (share := getattr(settings.refuse, name)) > 0
        }
        self._lifetime = settings.lifetime
        self._instant = not (settings.delay or settings.jitter or settings.loss or self._refusals)
        self._silent = frozenset(settings.silent_interfaces)
        self._first = int(ipaddress.IPv4Address(settings.ipv4_first))
        self._count = min(settings.ipv4_count, (1 << 32) - self._first)
        self._handed_out = 0
        self._returned: deque[int] = deque()
        self._prefix = _Prefixes(settings.ipv6_prefix)
        self._delegated = _Prefixes(settings.delegated_prefix)

    def answer(self, session: Session, subject: str) -> float | None:
        """After how many seconds a request is answered; None: never, :data:`REFUSED`: not as it was meant."""
        interface = session.access.interface
        if not interface.up or interface.name in self._silent:
            return None
        if self._instant:
            return 0.0
        if self._loss and self.roll(session) < self._loss:
            return None
        share = self._refusals.get(subject)
        if share is not None and self.roll(session) < share:
            return REFUSED
        return self._delay + (self.roll(session) * self._jitter if self._jitter else 0.0)

    def roll(self, session: Session) -> float:
        """A number by chance, another each time."""
        session.rolls += 1
        return chance(self._seed, session.id, session.rolls)

    def lifetime(self, session: Session) -> float | None:
        """After how many seconds it drops an established session; None: never."""
        if not self._lifetime:
            return None
        return -self._lifetime * math.log(1.0 - self.roll(session))

    def take_address(self) -> int:
        """An IPv4 address that nobody has; 0 when there is none left. Returned ones come last."""
        if self._handed_out < self._count:
            self._handed_out += 1
            return self._first + self._handed_out - 1
        return self._returned.popleft() if self._returned else 0

    def return_address(self, address: int) -> None:
        """Take an address back."""
        self._returned.append(address)

    def prefix(self, session: Session) -> str:
        """The IPv6 prefix of a session's link."""
        return self._prefix.nth(session.id - 1)

    def delegated_prefix(self, session: Session) -> str:
        """The IPv6 prefix that is delegated to a session."""
        return self._delegated.nth(session.id - 1)


class _Prefixes:
    """A prefix, and those of its length that follow."""

    def __init__(self, first: str) -> None:
        network = ipaddress.IPv6Network(first)
        self._first = int(network.network_address)
        self._shift = 128 - network.prefixlen
        self._length = f"/{network.prefixlen}"

    def nth(self, index: int) -> str:
        address = self._first + (index << self._shift) & _ADDRESS_MASK
        return socket.inet_ntop(socket.AF_INET6, address.to_bytes(16)) + self._length
