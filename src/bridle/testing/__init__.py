"""Tools for tests of daemons and clients: a clock that only moves when nothing else is left to do."""

from bridle.testing.clock import VirtualClockLoop, elapsed, run

__all__ = ["VirtualClockLoop", "elapsed", "run"]
