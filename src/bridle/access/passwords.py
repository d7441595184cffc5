"""Passwords as argon2 hashes: expensive to guess, and for that reason to check.

A check costs some 30 ms of a core and 19 MiB. So it is done beside the event loop, by ``WORKERS`` threads for
the whole process, and each password of a user is checked once: what became of it is remembered under a digest
with a key of this process's own, for those let in and those that were not. However the header was spelt, it
is the same log-in. A flood of wrong passwords costs the log-ins that are free
(:mod:`bridle.access.failed_logins`), the few for which a worker is free, and then a few microseconds each.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
import os
import secrets
import threading
import time
from collections import Counter, OrderedDict
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from hashlib import blake2b

import msgspec

from bridle.access.failed_logins import FailedLogins
from bridle.core.errors import ConfigurationError

__all__ = [
    "ADDRESS_LIMIT",
    "KNOWN_LIMIT",
    "NOBODY",
    "QUEUE_LIMIT",
    "REFUSED_LIMIT",
    "WORKERS",
    "Passwords",
    "Verdict",
    "check_hash",
    "hash_password",
    "verify_hash",
]

# Threads that check: one core of a machine is as much as strangers may have.
WORKERS = 1
# How far they stand back for the event loop: a check that was begun is to keep nobody waiting who is in.
_NICENESS = 19
# Checks that wait for a worker; who comes beyond is told to wait. Half a second's worth.
QUEUE_LIMIT = 16
# Checks of one address that are under way or wait: the rest of the queue is for others.
ADDRESS_LIMIT = 4
# Users with a password that are remembered as good, and as bad: 200 bytes each.
KNOWN_LIMIT = 1024
REFUSED_LIMIT = 4096
# What a hash may ask for: a configuration with more would stop the machine at the first log-in.
_MEMORY_LIMIT = 1024 * 1024  # KiB
_PASSES_LIMIT = 100
# What new hashes are made with: OWASP's recommendation for argon2id.
_PASSES, _MEMORY, _LANES = 2, 19456, 1
# Seconds that a check takes, as long as none was measured.
_USUAL = 0.05


class Verdict(msgspec.Struct, frozen=True, gc=False):
    """Who somebody has shown to be, in which role where that is settled, and by which token where it was one;
    ``wait`` seconds are to go by before they may try again."""

    user: str | None = None
    role: str | None = None
    token: str | None = None
    wait: float = 0.0


NOBODY = Verdict()

_log = logging.getLogger("bridle.access")

Candidate = tuple[bytes, bytes]
"""A user and a password, as they came."""


def hash_password(password: str) -> str:
    """The argon2id hash of a password, for ``password-hash``."""
    from argon2 import PasswordHasher

    return PasswordHasher(time_cost=_PASSES, memory_cost=_MEMORY, parallelism=_LANES).hash(password)


def check_hash(written: str) -> None:
    """See whether a hash is one.

    Raises:
        ConfigurationError: it is none of argon2, or takes too much to check.
    """
    from argon2 import extract_parameters
    from argon2.exceptions import InvalidHashError

    try:
        found = extract_parameters(written)
    except (InvalidHashError, ValueError) as error:
        raise ConfigurationError("password-hash is no argon2 hash: 'bridle passwd' makes one") from error
    if found.memory_cost > _MEMORY_LIMIT or found.time_cost > _PASSES_LIMIT:
        raise ConfigurationError(
            f"password-hash takes {found.memory_cost} KiB and {found.time_cost} passes to check: at most "
            f"{_MEMORY_LIMIT} and {_PASSES_LIMIT} are spent"
        )


def verify_hash(written: str, password: bytes) -> bool:
    """Whether a password is that of a hash. Takes long."""
    from argon2 import PasswordHasher
    from argon2.exceptions import InvalidHashError, VerificationError

    try:
        return PasswordHasher().verify(written, password)
    except (VerificationError, InvalidHashError):
        return False


@functools.cache
def _workers() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(WORKERS, "bridle-passwords", initializer=_give_way)


def _give_way() -> None:
    """Let the event loop have the processor first: on Linux each thread has a niceness of its own."""
    with contextlib.suppress(OSError):  # slower for others, but no reason to let nobody in
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICENESS)


class Passwords:
    """Checks ``Authorization`` headers, and remembers what became of them.

    ``candidate`` reads a header; ``at_once`` says whether a candidate's password is right where that needs
    no hash, ``hashes`` which hashes it is to be checked against otherwise (one of somebody else where the
    user is unknown, so that time does not tell who exists).
    """

    def __init__(
        self,
        candidate: Callable[[str], Candidate | None],
        at_once: Callable[[Candidate], bool],
        hashes: Callable[[Candidate], tuple[Sequence[str], bool]],
        failed: FailedLogins,
        verify: Callable[[str, bytes], bool] = verify_hash,
    ) -> None:
        self._candidate = candidate
        self._at_once = at_once
        self._hashes = hashes
        self.failed: FailedLogins = failed
        self._verify = verify
        self._key = secrets.token_bytes(32)
        self._known: OrderedDict[bytes, Verdict] = OrderedDict()
        self._refused: OrderedDict[bytes, None] = OrderedDict()
        self._checks: dict[bytes, asyncio.Task[Verdict]] = {}
        self._under_way: Counter[str] = Counter()
        self._seconds = _USUAL

    def check(self, authorization: str, address: str) -> Verdict | Awaitable[Verdict]:
        """Whom a header of somebody at an address vouches for: at once, unless a hash has to be checked."""
        candidate = self._candidate(authorization)
        if candidate is None:
            wait = self.failed.wait(address)
            return Verdict(wait=wait) if wait else NOBODY
        digest = self._digest(candidate)
        known = self._known.get(digest)
        if known is not None:
            self._known.move_to_end(digest)
            return known
        if digest in self._refused:
            self._refused.move_to_end(digest)
            return NOBODY  # the same again is no guess: a forgotten job is not to lock its address out
        wait = self.failed.wait(address)
        if wait:
            return Verdict(wait=wait)
        if self._at_once(candidate):
            return self._settle(digest, candidate, address, good=True)
        hashes, real = self._hashes(candidate)
        if not hashes:
            return self._settle(digest, candidate, address, good=False)
        if digest not in self._checks:
            if len(self._checks) >= WORKERS + QUEUE_LIMIT or self._under_way[address] >= ADDRESS_LIMIT:
                return Verdict(wait=self._seconds * max(1, len(self._checks)) / WORKERS)
            self._under_way[address] += 1
            check = self._run(digest, candidate, hashes, address, real=real)
            self._checks[digest] = asyncio.get_running_loop().create_task(check)
        # Shielded: others may wait for the same, and what was found out is found out.
        return asyncio.shield(self._checks[digest])

    def _digest(self, candidate: Candidate) -> bytes:
        """What a candidate is remembered under. Of the header it would not do: the same log-in can be spelt
        in many ways, and each would count as another."""
        name, password = candidate
        # No name has a colon in it.
        return blake2b(b"%b:%b" % (name, password), key=self._key, digest_size=16).digest()

    async def _run(
        self, digest: bytes, candidate: Candidate, hashes: Sequence[str], address: str, *, real: bool
    ) -> Verdict:
        began = time.perf_counter()
        try:
            good = await asyncio.get_running_loop().run_in_executor(
                _workers(), _any, self._verify, hashes, candidate[1]
            )
        except Exception:
            _log.exception("a password could not be checked")
            return Verdict(wait=self._seconds)
        finally:
            del self._checks[digest]
            self._under_way[address] -= 1
            self._under_way += Counter()  # forgets those at 0
        self._seconds += (time.perf_counter() - began - self._seconds) / 8
        return self._settle(digest, candidate, address, good=good and real)

    def _settle(self, digest: bytes, candidate: Candidate, address: str, *, good: bool) -> Verdict:
        if not good:
            self._refused[digest] = None
            if len(self._refused) > REFUSED_LIMIT:
                self._refused.popitem(last=False)
            self.failed.failed(address, candidate[0])
            return NOBODY
        self.failed.succeeded(address, candidate[0])
        verdict = self._known[digest] = Verdict(candidate[0].decode("utf-8", "replace"))
        if len(self._known) > KNOWN_LIMIT:
            self._known.popitem(last=False)
        return verdict


def _any(verify: Callable[[str, bytes], bool], hashes: Sequence[str], password: bytes) -> bool:
    matches = [verify(one, password) for one in hashes]  # all of them: time is not to tell which
    return any(matches)
