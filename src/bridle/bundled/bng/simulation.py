"""The whole simulation: sessions, the rates at which they come and go, and whatever else runs beside them.

Time is the timetable's. :meth:`Simulation.advance` is called with the seconds since the start; everything
that is due by then happens, at its own moment, however late it is called. Two runs with the same
configuration and the same calls are the same.
"""

from __future__ import annotations

import ipaddress
from collections import deque
from collections.abc import Callable, Iterable, Iterator

from bridle.bundled.bng.flow import Flow
from bridle.bundled.bng.igmp import Igmp
from bridle.bundled.bng.l2tp import Lns
from bridle.bundled.bng.lifecycle import Lifecycle
from bridle.bundled.bng.peer import Peer
from bridle.bundled.bng.session import Access, Interface, Session
from bridle.bundled.bng.settings import BngSettings
from bridle.bundled.bng.streams import Stream, make_streams
from bridle.bundled.bng.tally import Tally
from bridle.bundled.bng.traffic import Traffic
from bridle.bundled.timetable import Timetable
from bridle.core.errors import ConfigurationError

__all__ = ["Simulation"]

TICK = 0.1
"""Seconds between two turns in which sessions are started or stopped, as in BNG Blaster."""

# What a session costs of what may be started or stopped, where a turn gives a second's rate.
_COST = round(1 / TICK)

MONKEY_INTERVAL = 1.0
"""Seconds between two turns of the monkey."""

MONKEY_SHARE = 0.1
"""The share of sessions that it takes in each."""

FORCED_END = 10
"""A request to terminate that does not wait any more, counted from the first."""

# Things done in one go, and sessions started by one of them: before the next command is read.
_BATCH = 2000
_PART = 20


class Simulation:
    """Everything a configuration asks for.

    Raises:
        ConfigurationError: there are not enough VLANs for the sessions, or two have the same.
    """

    def __init__(self, settings: BngSettings) -> None:
        self.settings = settings
        self.old: bool = settings.release == "0.5"
        self.timetable: Timetable = Timetable()
        self.tally: Tally = Tally()
        self.peer: Peer = Peer(settings.simulation)
        self.traffic: Traffic = Traffic(settings, self.timetable, self.tally)
        self.lifecycle: Lifecycle = Lifecycle(settings, self.timetable, self.peer, self.tally, self.traffic)
        self.interfaces: list[Interface] = []
        self.sessions: list[Session] = []
        self._by_vlan: dict[tuple[int, int, int], Session] = {}
        self._make_interfaces()
        self._make_sessions()
        first_stream = self._equip()
        self.streams: list[Stream] = make_streams(settings, self.interfaces, first_stream)
        self.igmp: Igmp = Igmp(settings, self.timetable, self.peer, self._multicast())
        self.lns: Lns = Lns(settings, self.timetable)
        self._waiting: deque[Session] = deque()
        self._ending: deque[Session] = deque()
        self._allowance = 0
        self._ticking = False
        self._terminations = 0
        self.on_end: Callable[[], None] = lambda: None
        self.lifecycle.on_restart = self._queue
        self.lifecycle.on_terminated = self._on_terminated
        self.lifecycle.on_address = self.igmp.resume
        self.lns.on_empty = self._check_end
        for stream in self.streams:
            stream.refresh(self.timetable.now, self.traffic.open)
        self._monkey = False
        self._monkeys = [session for session in self.sessions if session.access.settings.monkey]
        if settings.sessions.monkey_autostart:
            self.set_monkey(True)
        if settings.sessions.autostart:
            self.timetable.at(settings.sessions.start_delay, self._start_all)

    # What there is.

    def _make_interfaces(self) -> None:
        """One for each name; the last that is configured comes first (facts §1.3)."""
        settings = self.settings
        for function, names in (
            ("a10nsp", [one.interface for one in settings.a10nsp]),
            ("access", [one.interface for one in settings.access]),
            ("network", [one.interface for one in settings.network]),
        ):
            for name in reversed(names):
                if all(known.name != name for known in self.interfaces):
                    self.interfaces.append(Interface(name, len(self.interfaces), function))

    def interface(self, name: str) -> Interface | None:
        """The interface of this name."""
        return next((one for one in self.interfaces if one.name == name), None)

    def of_function(self, function: str) -> list[Interface]:
        """The access, network or A10NSP interfaces."""
        return [one for one in self.interfaces if one.function == function]

    @property
    def default_interface(self) -> Interface | None:
        """Where sessions are looked for by their VLANs alone: the last access interface that is configured;
        BNG Blaster 0.5 took the first."""
        found = self.of_function("access")
        return found[-1 if self.old else 0] if found else None

    def _access(self) -> list[Access]:
        made = []
        for settings in self.settings.access:
            interface = self.interface(settings.interface)
            name = settings.a10nsp_interface or settings.network_interface
            peer = self.interface(name) if name else None
            if peer is None:
                found = self.of_function("a10nsp") or self.of_function("network")
                peer = found[-1] if found else None
            assert interface is not None
            made.append(Access(settings, self.settings, interface, peer))
        return made

    def _make_sessions(self) -> None:
        """In turn over the access sections, each with its next VLANs."""
        count = self.settings.sessions.count
        turns = deque(
            (access, _vlans(access, self.settings.sessions.iterate_vlan_outer), [0])
            for access in self._access()
        )
        if not turns:
            count = 0
        while len(self.sessions) < count:
            if not turns:
                raise ConfigurationError(
                    f"there are VLANs for {len(self.sessions)} of {count} sessions",
                    path=["sessions", "count"],
                )
            access, vlans, made = turns.popleft()
            vlan = next(vlans, None)
            if vlan is None:
                continue
            turns.append((access, vlans, made))
            made[0] += 1
            self._add_session(access, made[0], *vlan)

    def _add_session(self, access: Access, number: int, outer: int, inner: int) -> None:
        session = Session(len(self.sessions) + 1, access, number, outer, inner)
        if not access.n_to_1:
            key = (access.interface.index, outer, inner)
            if key in self._by_vlan:
                raise ConfigurationError(
                    f"VLAN {outer}:{inner} of {access.interface.name} has two sessions",
                    path=["interfaces", "access"],
                )
            self._by_vlan[key] = session
        self.sessions.append(session)
        access.interface.sessions.append(session)
        if access.peer is not None:
            access.peer.sessions.append(session)
        self.tally.sessions += 1
        if access.pppoe:
            self.tally.pppoe += 1
        else:
            self.tally.ipoe += 1

    def _equip(self) -> int:
        number = 1
        for session in self.sessions:
            number = self.traffic.equip(session, number)
        return number

    def _multicast(self) -> dict[int, Flow]:
        """What is sent to which group: by us, and by others."""
        sent = {
            int(ipaddress.IPv4Address(stream.destination)): stream.flow
            for stream in self.streams
            if stream.multicast
        }
        for group in self.settings.simulation.multicast.groups:
            flow = Flow(self.settings.simulation.multicast.pps, enabled=True)
            flow.run(0.0)
            sent.setdefault(int(ipaddress.IPv4Address(group)), flow)
        return sent

    def session(self, number: int) -> Session | None:
        """The session with this number."""
        return self.sessions[number - 1] if 0 < number <= len(self.sessions) else None

    def session_at(self, interface: Interface | None, outer: int, inner: int) -> Session | None:
        """The session on these VLANs. One that shares its VLAN with others is not found."""
        return None if interface is None else self._by_vlan.get((interface.index, outer, inner))

    @property
    def now(self) -> float:
        """Seconds since the start."""
        return self.timetable.now

    @property
    def state(self) -> str:
        """What ``test-info`` tells."""
        if self.lifecycle.ending:
            return "teardown"
        return "init" if self.tally.first_start is None and self.settings.sessions.autostart else "active"

    # Time.

    def advance(self, seconds: float, limit: int = _BATCH) -> bool:
        """Let time pass until so many seconds after the start; False when there is so much to do that it was
        not all done."""
        return self.timetable.run(seconds, limit)

    # Coming and going.

    def _start_all(self) -> None:
        for session in self.sessions:
            if session.state == "Idle":
                self._queue(session)

    def _queue(self, session: Session) -> None:
        self._waiting.append(session)
        self._tick_later()

    def _tick_later(self) -> None:
        if not self._ticking:
            self._ticking = True
            self._allowance = 0
            self.timetable.after(TICK, self._tick)

    def _tick(self) -> None:
        """The control job: so many sessions a turn."""
        self._ticking = False
        if self.lifecycle.ending:
            self._stop_some()
        else:
            self._start_some()

    def _start_some(self) -> None:
        settings = self.settings.sessions
        most = max(_COST, settings.start_rate)
        self._start_allowed(min(self._allowance + settings.start_rate, most))

    def _start_allowed(self, allowance: int) -> None:
        """A part of what may be started now, so that whoever waits is not kept for long."""
        if self.lifecycle.ending:
            return
        part = _PART
        most = self.settings.sessions.max_outstanding
        while self._waiting and allowance >= _COST and self.tally.outstanding < most:
            if not part:
                self._ticking = True
                self.timetable.after(0.0, self._start_allowed, allowance)
                return
            session = self._waiting.popleft()
            if session.state == "Idle":
                part -= 1
                allowance -= _COST
                self.lifecycle.start(session)
        self._ticking = False
        if self._waiting:
            self._tick_later()
            self._allowance = allowance

    def _stop_some(self) -> None:
        allowance = self._allowance + self.settings.sessions.stop_rate
        while self._ending and allowance >= _COST:
            session = self._ending.popleft()
            if session.state != "Terminated":
                allowance -= _COST
                self.lifecycle.terminate(session, stays_down=True)
        if self._ending:
            self._tick_later()
            self._allowance = allowance
        self._check_end()

    def start(self, session: Session) -> bool:
        """Start a session that has ended, or never began; False where it is under way."""
        if session.state == "Terminated":
            self.lifecycle.reset(session)
        elif session.state != "Idle" or session in self._waiting:
            return False
        session.stays_down = False
        self._queue(session)
        return True

    def start_many(self, sessions: Iterable[Session]) -> None:
        """Start those that have ended, at the configured rate."""
        waiting = set(map(id, self._waiting))
        for session in sessions:
            if session.state == "Terminated":
                self.lifecycle.reset(session)
            elif session.state != "Idle" or id(session) in waiting:
                continue
            session.stays_down = False
            self._queue(session)

    def restart(self, session: Session, delay: float | None) -> None:
        """End a session and start it again."""
        if session.state == "Idle":
            return
        seconds = self.settings.sessions.reconnect_delay if delay is None else delay
        session.changed = {**(session.changed or {}), "restart": seconds}
        if session.state == "Terminated":
            self._on_terminated(session)
        else:
            self.lifecycle.terminate(session)

    def _on_terminated(self, session: Session) -> None:
        self.igmp.suspend(session)
        if session.changed and "restart" in session.changed:
            seconds = session.changed.pop("restart")
            if not self.lifecycle.ending:
                self.lifecycle.restart_after(session, seconds)
        if self.lifecycle.ending:
            self._check_end()

    def stop(self, session: Session) -> None:
        """End a session for good."""
        if session.changed:
            session.changed.pop("restart", None)
        self.lifecycle.terminate(session, stays_down=True)

    def set_monkey(self, playing: bool) -> None:
        """Let sessions that are marked for it be ended and started by chance, or leave them alone."""
        if playing and self._monkeys and not self._monkey:
            self.timetable.after(MONKEY_INTERVAL, self._play)
        self._monkey = playing and bool(self._monkeys)

    def _play(self) -> None:
        if not self._monkey or self.lifecycle.ending:
            self._monkey = False
            return
        for session in self._monkeys:
            if session.established and self.peer.roll(session) < MONKEY_SHARE:
                self.restart(session, None)
        self.timetable.after(MONKEY_INTERVAL, self._play)

    def tear_down(self) -> None:
        """End all sessions at the configured rate, and tell :attr:`on_end` when they and all tunnels are
        gone; at once where that was asked for often enough."""
        self._terminations += 1
        if self._terminations >= FORCED_END:
            self.on_end()
        if self.lifecycle.ending:
            return
        self.lifecycle.ending = True
        self._waiting.clear()
        self._ending.extend(self.sessions)
        for tunnel in list(self.lns.tunnels.values()):
            self.lns.terminate(tunnel)
        self._tick_later()

    def _check_end(self) -> None:
        if self.lifecycle.ending and self.tally.terminated == len(self.sessions) and not self.lns.tunnels:
            self.on_end()

    # Links and traffic.

    def change_interface(self, interface: Interface, state: str) -> None:
        """Let a link come up or go down."""
        if not interface.change(state):
            return
        for session in interface.sessions:
            self.traffic.refresh(session)
            if not interface.up and interface.function == "access":
                self.lifecycle.lose_link(session)
        self._refresh_streams()

    def open_traffic(self, passes: bool) -> None:
        """Let traffic pass, or none of it."""
        if self.traffic.open != passes:
            self.traffic.open = passes
            for session in self.sessions:
                self.traffic.refresh(session)
            self._refresh_streams()

    def enable_multicast(self, enabled: bool) -> None:
        """Send multicast traffic, or none."""
        for stream in self.streams:
            if stream.multicast:
                stream.flow.enabled = enabled
        self._refresh_streams()

    def _refresh_streams(self) -> None:
        for stream in self.streams:
            stream.refresh(self.now, self.traffic.open)


def _vlans(access: Access, outer_first: bool) -> Iterator[tuple[int, int]]:
    outer, inner = access.settings.outer, access.settings.inner
    if access.n_to_1:
        return _for_ever(outer.start, inner.start)
    if outer_first:
        return ((o, i) for i in inner for o in outer)
    return ((o, i) for o in outer for i in inner)


def _for_ever(outer: int, inner: int) -> Iterator[tuple[int, int]]:
    while True:
        yield outer, inner
