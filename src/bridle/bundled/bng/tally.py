"""The counters of the session table, kept up with every change."""

from __future__ import annotations

__all__ = ["Tally"]

# Seconds below which nothing is measured.
_RESOLUTION = 0.001


class Tally:
    """How many sessions are what."""

    def __init__(self) -> None:
        self.sessions: int = 0
        self.pppoe: int = 0
        self.ipoe: int = 0
        self.established: int = 0
        self.established_max: int = 0
        self.outstanding: int = 0
        self.terminated: int = 0
        self.flapped: int = 0
        self.dhcp: int = 0
        self.dhcp_established: int = 0
        self.dhcp_established_max: int = 0
        self.dhcpv6: int = 0
        self.dhcpv6_established: int = 0
        self.dhcpv6_established_max: int = 0
        self.flows: int = 0
        self.verified: int = 0
        self.first_start: float | None = None
        self._last = 0.0
        self._counted = 0
        self._rate_min = 0.0
        self._rate_max = 0.0
        self._rates = 0.0
        self._samples = 0

    def count_established(self, now: float) -> None:
        """One more session is up."""
        self.established += 1
        if self.established <= self.established_max:
            return
        # The rate is taken once for all that come up at the same moment.
        if now != self._last and self.established_max:
            self._sample()
        self.established_max = self.established
        self._last = now

    def _sample(self) -> None:
        rate = self.rate
        self._counted = self.established_max
        self._rates += rate
        self._samples += 1
        self._rate_min = rate if self._samples == 1 else min(self._rate_min, rate)
        self._rate_max = max(self._rate_max, rate)

    @property
    def setup_time(self) -> int:
        """Milliseconds from the first session's start to the moment when most were up."""
        if not self.established_max:
            return 0
        return max(1, round((self._last - (self.first_start or 0.0)) * 1000))

    @property
    def rate(self) -> float:
        """Sessions a second, over the whole set-up."""
        return self.established_max * 1000 / self.setup_time if self.established_max else 0.0

    @property
    def rates(self) -> tuple[float, float, float]:
        """The least, the mean and the greatest rate that was measured."""
        rate = self.rate
        if self._counted == self.established_max:
            return self._rate_min, (self._rates / self._samples if self._samples else 0.0), self._rate_max
        least = min(self._rate_min, rate) if self._samples else rate
        mean = (self._rates + rate) / (self._samples + 1)
        return least, mean, max(self._rate_max, rate)
