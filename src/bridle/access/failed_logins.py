"""Failed log-ins by address: a few are free, then each costs twice the wait of the one before.

They are counted for the address as a whole, and of each remembered by whose log-in it was. Who logs in is
forgiven what failed in their own name from there, and nothing else: whoever has an account of their own gets
no further with the guessing of another's.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable
from hashlib import blake2b

from bridle.access.limits import LimitSettings, key_of
from bridle.core.messages import Peer

__all__ = ["ADDRESSES", "FORGET", "USERS", "FailedLogins"]

# Addresses that are remembered, some 400 bytes each, and 100 more for each user there.
ADDRESSES = 8192
# Users of one address whose failures may be forgiven: of more who mistype at the same time nobody can tell
# from one who guesses. What those beyond have failed counts until all is forgotten.
USERS = 8
# Seconds without a failure after which an address is as good as new.
FORGET = 900.0
_MOST_DOUBLINGS = 30


class _Failures:
    """What failed from an address: how often, when last, until when it waits, and how often by users."""

    __slots__ = ("count", "last", "until", "users")

    def __init__(self) -> None:
        self.count: int = 0
        self.last: float = 0.0
        self.until: float = 0.0
        self.users: OrderedDict[bytes, int] = OrderedDict()


class FailedLogins:
    """Counts failures. ``clock`` is a monotonic one, in seconds."""

    def __init__(
        self, settings: LimitSettings | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._settings = settings or LimitSettings()
        self._clock = clock
        self._failures: OrderedDict[str, _Failures] = OrderedDict()

    def same_as(self, other: FailedLogins) -> bool:
        """Whether another one counts by the same settings."""
        return _costs(self._settings) == _costs(other._settings)

    def __len__(self) -> int:
        return len(self._failures)

    @property
    def users(self) -> int:
        """How many users are remembered, of all addresses together."""
        return sum(len(known.users) for known in self._failures.values())

    def wait(self, address: str) -> float:
        """Seconds until somebody at this address may try again; 0 where it is now."""
        known = self._failures.get(_key(address))
        if known is None:
            return 0.0
        return max(0.0, known.until - self._clock())

    def failed(self, address: str, user: bytes) -> float:
        """Count a failure of who says that they are this user; the seconds that it costs."""
        key, now = _key(address), self._clock()
        known = self._failures.pop(key, None)
        if known is None or now - known.last > FORGET:
            known = _Failures()
        known.count += 1
        known.last = now
        name = _name(user)
        known.users[name] = known.users.pop(name, 0) + 1
        if len(known.users) > USERS:
            known.users.popitem(last=False)
        settings = self._settings
        beyond = min(known.count - settings.free_logins, _MOST_DOUBLINGS)
        delay = 0.0 if beyond <= 0 else min(settings.login_delay * 2 ** (beyond - 1), settings.longest_delay)
        known.until = now + delay
        if len(self._failures) >= ADDRESSES:
            self._failures.popitem(last=False)
        self._failures[key] = known
        return delay

    def succeeded(self, address: str, user: bytes) -> None:
        """This user, who is there, has shown to be it: what failed in their name is forgiven."""
        key = _key(address)
        known = self._failures.get(key)
        if known is None:
            return
        known.count -= known.users.pop(_name(user), 0)
        if not known.count:
            del self._failures[key]


def _costs(settings: LimitSettings) -> tuple[float, ...]:
    return settings.free_logins, settings.login_delay, settings.longest_delay


def _key(address: str) -> str:
    return key_of(Peer(address=address))


def _name(user: bytes) -> bytes:
    """What a user is remembered as: names that strangers make up are not to fill the memory."""
    return blake2b(user, digest_size=16).digest()
