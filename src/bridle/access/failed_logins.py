"""Failed log-ins by address: a few are free, then each costs twice the wait of the one before."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable

from bridle.access.limits import LimitSettings, key_of
from bridle.core.messages import Peer

__all__ = ["ADDRESSES", "FORGET", "FailedLogins"]

# Addresses that are remembered, some 150 bytes each.
ADDRESSES = 8192
# Seconds without a failure after which an address is as good as new.
FORGET = 900.0
_MOST_DOUBLINGS = 30


class FailedLogins:
    """Counts failures. ``clock`` is a monotonic one, in seconds."""

    def __init__(
        self, settings: LimitSettings | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._settings = settings or LimitSettings()
        self._clock = clock
        # By address: failures, when the last was, until when it waits.
        self._failures: OrderedDict[str, tuple[int, float, float]] = OrderedDict()

    def same_as(self, other: FailedLogins) -> bool:
        """Whether another one counts by the same settings."""
        return _costs(self._settings) == _costs(other._settings)

    def __len__(self) -> int:
        return len(self._failures)

    def wait(self, address: str) -> float:
        """Seconds until somebody at this address may try again; 0 where it is now."""
        known = self._failures.get(_key(address))
        if known is None:
            return 0.0
        return max(0.0, known[2] - self._clock())

    def failed(self, address: str) -> float:
        """Count a failure; the seconds that it costs."""
        key, now = _key(address), self._clock()
        count, last, _ = self._failures.pop(key, (0, now, 0.0))
        count = 1 if now - last > FORGET else count + 1
        settings = self._settings
        beyond = min(count - settings.free_logins, _MOST_DOUBLINGS)
        delay = 0.0 if beyond <= 0 else min(settings.login_delay * 2 ** (beyond - 1), settings.longest_delay)
        if len(self._failures) >= ADDRESSES:
            self._failures.popitem(last=False)
        self._failures[key] = (count, now, now + delay)
        return delay

    def succeeded(self, address: str) -> None:
        """Whoever is there has shown who they are."""
        self._failures.pop(_key(address), None)


def _costs(settings: LimitSettings) -> tuple[float, ...]:
    return settings.free_logins, settings.login_delay, settings.longest_delay


def _key(address: str) -> str:
    return key_of(Peer(address=address))
