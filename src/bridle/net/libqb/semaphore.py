"""POSIX semaphores in shared memory: glibc's own, by ctypes.

A semaphore that another process waits on cannot be had without them: raising its value takes an atomic
operation and, where somebody waits, a futex call; a plain write does neither (facts/pacemaker.md §1.3).
"""

from __future__ import annotations

import ctypes
import errno
import time
from collections.abc import Callable

__all__ = ["SEMAPHORE_BYTES", "initialize", "post", "try_wait", "wait"]

SEMAPHORE_BYTES = 32
"""The size of glibc's ``sem_t`` on 64-bit machines."""


class _Timespec(ctypes.Structure):
    _fields_ = (("seconds", ctypes.c_long), ("nanoseconds", ctypes.c_long))


# Calls that never wait keep the interpreter's lock: giving it up and taking it again costs more than they do.
_quick = ctypes.PyDLL(None)
_slow = ctypes.CDLL(None, use_errno=True)

_post = _quick.sem_post
_post.argtypes = (ctypes.c_void_p,)
_post.restype = None
_try_wait = _quick.sem_trywait
_try_wait.argtypes = (ctypes.c_void_p,)

post: Callable[[int], None] = _post
"""Raise the value of the semaphore at an address, unless it is the highest already."""

try_wait: Callable[[int], int] = _try_wait
"""Lower the value of the semaphore at an address; not 0: it is 0 already."""

_initialize = _quick.sem_init
_initialize.argtypes = (ctypes.c_void_p, ctypes.c_int, ctypes.c_uint)

# The clock that nobody sets is preferred; glibc knows it here since 2.30.
if hasattr(_slow, "sem_clockwait"):
    _clock = time.CLOCK_MONOTONIC
    _clock_wait = _slow.sem_clockwait
    _clock_wait.argtypes = (ctypes.c_void_p, ctypes.c_int, ctypes.POINTER(_Timespec))

    def _wait_until(address: int, deadline: _Timespec) -> int:
        return int(_clock_wait(address, _clock, deadline))
else:  # pragma: no cover
    _clock = time.CLOCK_REALTIME
    _timed_wait = _slow.sem_timedwait
    _timed_wait.argtypes = (ctypes.c_void_p, ctypes.POINTER(_Timespec))

    def _wait_until(address: int, deadline: _Timespec) -> int:
        return int(_timed_wait(address, deadline))


def initialize(address: int) -> None:
    """Make a semaphore that processes share, with the value 0."""
    if _initialize(address, 1, 0):
        raise OSError(errno.EINVAL, "sem_init")


def wait(address: int, seconds: float) -> bool:
    """Lower the value as soon as it is above 0, and give True; False when that takes too long.

    A signal also ends the waiting, with False. Other threads run meanwhile.
    """
    nanoseconds = time.clock_gettime_ns(_clock) + int(seconds * 1e9)
    return _wait_until(address, _Timespec(*divmod(nanoseconds, 1_000_000_000))) == 0
