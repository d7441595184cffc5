"""How much one peer, and all peers of a role together, may ask for: requests, commands, connections, bytes.

::

    admitted = limits.enter(peer, role)
    if isinstance(admitted, Excess): ...      # answer admitted.text; try again in admitted.wait seconds
    ...                                       # the command is carried out
    admitted.leave()

A peer is a user where one is known, else a unix user, else an address (of IPv6 the first 64 bits: that is
what one customer gets). What is known of peers is bounded by ``PEERS``; the one not seen for longest goes.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from functools import lru_cache, partial
from ipaddress import IPv6Address

import msgspec

from bridle.core.errors import TooManyError
from bridle.core.messages import Peer, Response

__all__ = ["PEERS", "Excess", "Limit", "LimitSettings", "Limits", "Turnstile", "key_of"]

# Peers that are remembered, some 200 bytes each. Who comes from more addresses than that is begun with anew.
PEERS = 8192
# Peers looked at for one that nothing is under way for, when the oldest has to go.
_SEARCH = 8
# Seconds to wait where only the end of something else makes room.
BUSY_WAIT = 1.0


class Limit(msgspec.Struct, frozen=True, kw_only=True):
    """Bounds; 0 is no bound.

    ``requests_per_second`` on the average, ``burst`` at once (0: as many as a second has, at least one);
    ``in_flight`` commands at the same time; ``connections`` at the same time; ``body_size`` in bytes.
    """

    requests_per_second: float = 0.0
    burst: int = 0
    in_flight: int = 0
    connections: int = 0
    body_size: int = 0

    @property
    def depth(self) -> float:
        """How many requests may come at once."""
        return float(self.burst or max(1.0, self.requests_per_second))


class LimitSettings(msgspec.Struct, frozen=True, kw_only=True):
    """The limits of each peer, those of roles, and what failed log-ins cost: after ``free_logins`` failures
    an address waits ``login_delay`` seconds, twice as long after each further one, ``longest_delay`` at
    most."""

    peer: Limit = Limit()
    roles: Mapping[str, Limit] = {}
    free_logins: int = 5
    login_delay: float = 1.0
    longest_delay: float = 60.0


class Excess(msgspec.Struct, frozen=True):
    """What is too much, in words, and the seconds after which trying again makes sense."""

    text: str
    wait: float

    def response(self) -> Response:
        """The answer on channels that have no status of their own for it; its ``error`` is for those that
        have."""
        return TooManyError(self.text, wait=self.wait).response


class _State:
    """What is known of a peer or a role."""

    __slots__ = (
        "connections",
        "depth",
        "forgotten",
        "in_flight",
        "limit",
        "most",
        "rate",
        "seen",
        "stamp",
        "tokens",
    )

    def __init__(self, limit: Limit, now: float) -> None:
        self.limit: Limit = limit
        self.rate: float = limit.requests_per_second
        self.most: int = limit.in_flight
        self.depth: float = limit.depth
        self.tokens: float = self.depth
        self.stamp: float = now
        self.in_flight: int = 0
        self.connections: int = 0
        self.seen: bool = False
        """Whether a turnstile was used since it was looked for last."""
        self.forgotten: bool = False

    def disconnect(self) -> None:
        """A counted connection has ended."""
        self.connections -= 1


class Turnstile:
    """Where the commands of a peer, in a role, are counted. Made by :meth:`Limits.turnstile`; it can be kept
    for as long as the limits hold."""

    __slots__ = ("_find", "_name", "_states")

    def __init__(self, find: Callable[[], _State], role: _State | None, name: str | None) -> None:
        self._find = find
        self._name = name
        self._states: tuple[_State, ...] = (find(),) if role is None else (find(), role)

    def ask(self, now: float) -> Excess | None:
        """Whether one more command is too much at this time. It is counted as a request where it is not."""
        # Every line here is run for every command.
        states = self._states
        if states[0].forgotten:
            states = self._states = (self._find(), *states[1:])
        for state in states:
            state.seen = True
            if state.most and state.in_flight >= state.most:
                return self._refuse(state, 0.0)
            rate = state.rate
            if rate:
                tokens = state.tokens + (now - state.stamp) * rate
                if tokens > state.depth:
                    tokens = state.depth
                state.stamp = now
                if tokens < 1.0:
                    state.tokens = tokens
                    return self._refuse(state, (1.0 - tokens) / rate)
                state.tokens = tokens - 1.0
        return None

    def _refuse(self, state: _State, wait: float) -> Excess:
        """What is too much: what comes at the same time, where nothing is to be waited for, or requests."""
        of_role = state is not self._states[0]
        if of_role:
            self._states[0].tokens += 1.0  # what the role refuses does not count for the peer
        whose = f" of role '{self._name}'" if of_role else ""
        if wait:
            return Excess(f"too many requests{whose}: try again in {_seconds(wait)}", wait)
        return Excess(f"too many commands{whose} at the same time: at most {state.most}", BUSY_WAIT)

    def enter(self) -> None:
        """A command is under way."""
        for state in self._states:
            state.in_flight += 1

    def leave(self) -> None:
        """It has ended."""
        for state in self._states:
            if state.in_flight:  # none is, where the peer was forgotten meanwhile
                state.in_flight -= 1


def key_of(peer: Peer) -> str:
    """What a peer is counted as."""
    user = peer.user
    if user is not None:
        return "user " + user
    if peer.uid is not None:
        return f"uid {peer.uid}"
    return _network(peer.address)


@lru_cache(maxsize=PEERS)
def _network(address: str) -> str:
    if ":" not in address:
        return address
    try:
        full = IPv6Address(address.partition("%")[0])
    except ValueError:
        return address[:256]
    if full.ipv4_mapped is not None:
        return str(full.ipv4_mapped)
    return f"{IPv6Address(int(full) >> 64 << 64)}/64"


class Limits:
    """Counts what peers do. ``clock`` is a monotonic one, in seconds."""

    def __init__(self, settings: LimitSettings, clock: Callable[[], float] = time.monotonic) -> None:
        self.settings = settings
        self._clock = clock
        self._peers: OrderedDict[str, _State] = OrderedDict()
        self._roles = {name: _State(limit, clock()) for name, limit in settings.roles.items()}
        bounds = [settings.peer, *settings.roles.values()]
        self.bounds_sizes: bool = any(limit.body_size for limit in bounds)
        """Whether anybody's bodies have a limit."""

    def turnstile(self, peer: Peer, role: str | None = None) -> Turnstile:
        """Where the commands of a peer in a role are counted."""
        find = partial(self._state, key_of(peer))
        return Turnstile(find, self._roles.get(role) if role is not None else None, role)

    def enter(self, peer: Peer, role: str | None = None) -> Turnstile | Excess:
        """Let a command in, and have :meth:`Turnstile.leave` called when it has ended; or say what is too
        much."""
        turnstile = self.turnstile(peer, role)
        excess = turnstile.ask(self._clock())
        if excess is not None:
            return excess
        turnstile.enter()
        return turnstile

    def open_door(self, peer: Peer) -> str | Callable[[], None]:
        """Count a connection; what is to be called when it has ended, or where it is one too many the words
        that say so."""
        state = self._state(key_of(peer))
        limit = state.limit.connections
        if limit and state.connections >= limit:
            return f"too many connections: at most {limit} of one peer"
        state.connections += 1
        return state.disconnect

    def check_size(self, size: int, role: str | None = None) -> Excess | None:
        """Whether a body of so many bytes is too large for a peer, or one of this role."""
        limits = [self.settings.peer, self.settings.roles.get(role or "", Limit())]
        bounds = [limit.body_size for limit in limits if limit.body_size]
        if not bounds or size <= min(bounds):
            return None
        return Excess(f"the request is too large: {size} bytes, at most {min(bounds)}", 0.0)

    def _state(self, key: str) -> _State:
        state = self._peers.get(key)
        if state is None:
            if len(self._peers) >= PEERS:
                self._forget_one()
            state = self._peers[key] = _State(self.settings.peer, self._clock())
        else:
            self._peers.move_to_end(key)
        return state

    def _forget_one(self) -> None:
        """Forget the peer not seen for longest, rather one that nothing is under way for."""
        for _ in range(_SEARCH):
            key, state = next(iter(self._peers.items()))
            if not (state.in_flight or state.connections or state.seen):
                break
            state.seen = False
            self._peers.move_to_end(key)
        self._peers.pop(key).forgotten = True


def _seconds(wait: float) -> str:
    whole = max(1, -int(-wait // 1))
    return f"{whole} second" if whole == 1 else f"{whole} seconds"
