"""Multicast groups of a session, and zapping through them (``facts/bngblaster.md`` §4.4).

A group is joined with a report, which is repeated once after the robustness interval: then it is active. What
the BNG delivers meanwhile is counted, in whatever state the group is.
"""

from __future__ import annotations

import ipaddress
import math

from bridle.bundled.bng.flow import Flow
from bridle.bundled.bng.peer import Peer
from bridle.bundled.bng.session import Session
from bridle.bundled.bng.settings import BngSettings
from bridle.bundled.timetable import Timetable

__all__ = ["Group", "Groups", "Igmp", "ZappingStatistics"]

SLOTS = {"0.5": 8, "0.9": 12}
"""Groups of one session, by release."""

_VIOLATIONS = (("125ms", 125), ("250ms", 250), ("500ms", 500), ("1s", 1000), ("2s", 2000))


class Group:
    """A group that was joined. Times are None for what has not happened."""

    __slots__ = (
        "address",
        "at_leave",
        "base",
        "epoch",
        "first",
        "joined",
        "last",
        "left",
        "packets",
        "reported",
        "sources",
        "state",
        "stream",
        "zapping",
    )

    def __init__(self, address: int, sources: tuple[str, ...], zapping: bool) -> None:
        self.address: int = address
        self.sources: tuple[str, ...] = sources
        self.zapping: bool = zapping
        self.state: str = "joining"
        self.reported: bool = False
        self.joined: float | None = None
        self.left: float | None = None
        self.first: float | None = None
        self.last: float | None = None
        # What is delivered now, and what it had sent before.
        self.stream: Flow | None = None
        self.base: int = 0
        self.packets: int = 0
        self.at_leave: int = 0
        self.epoch: int = 0


class Groups:
    """The slots of a session, and where it is in zapping."""

    __slots__ = ("channel", "slots", "turns", "zapping")

    def __init__(self, slots: int) -> None:
        self.slots: list[Group | None] = [None] * slots
        self.zapping: bool = False
        self.channel: int = 0
        self.turns: int = 0

    def find(self, address: int) -> Group | None:
        """The group of this address: one that is in use rather than one that was left."""
        found = [group for group in self.slots if group is not None and group.address == address]
        return next((group for group in found if group.state != "idle"), found[0] if found else None)


class ZappingStatistics:
    """What zapping has measured; delays in milliseconds."""

    def __init__(self, threshold: int) -> None:
        self._threshold = threshold
        self.clear()

    def clear(self) -> None:
        """Begin anew."""
        self._joins: list[int] = [0, 0, 0, 0]
        self._leaves: list[int] = [0, 0, 0, 0]
        self._violations = dict.fromkeys(("", *(name for name, _ in _VIOLATIONS)), 0)
        self.overlap: int = 0
        self.not_received: int = 0

    def count_join(self, delay: int) -> None:
        """A first packet came so late after its report."""
        _take(self._joins, delay)
        if self._threshold and delay > self._threshold:
            self._violations[""] += 1
        for name, limit in _VIOLATIONS:
            if delay > limit:
                self._violations[name] += 1

    def count_leave(self, delay: int) -> None:
        """A last packet came so late after its report."""
        _take(self._leaves, delay)

    def describe(self) -> dict[str, int]:
        """All of it, as ``zapping-stats`` tells."""
        joins, leaves = self._joins, self._leaves
        return {
            "join-delay-ms-min": joins[0],
            "join-delay-ms-avg": joins[2] // joins[3] if joins[3] else 0,
            "join-delay-ms-max": joins[1],
            "join-delay-violations": self._violations[""],
            "join-delay-violations-threshold": self._threshold,
            **{f"join-delay-violations-{name}": self._violations[name] for name, _ in _VIOLATIONS},
            "join-count": joins[3],
            "leave-delay-ms-min": leaves[0],
            "leave-delay-ms-avg": leaves[2] // leaves[3] if leaves[3] else 0,
            "leave-delay-ms-max": leaves[1],
            "leave-count": leaves[3],
            "multicast-packets-overlap": self.overlap,
            "multicast-not-received": self.not_received,
        }


def _take(values: list[int], delay: int) -> None:
    """Minimum, maximum, sum and count."""
    values[0] = delay if not values[3] else min(values[0], delay)
    values[1] = max(values[1], delay)
    values[2] += delay
    values[3] += 1


class Igmp:
    """Joins and leaves. ``streams`` are what is sent, by group."""

    def __init__(
        self, settings: BngSettings, timetable: Timetable, peer: Peer, streams: dict[int, Flow]
    ) -> None:
        self._settings = settings.igmp
        self._multicast = settings.simulation.multicast
        self._slots = SLOTS[settings.release]
        self._interval = settings.igmp.robustness_interval / 1000
        self._timetable = timetable
        self._peer = peer
        self._streams = streams
        self.statistics: ZappingStatistics = ZappingStatistics(settings.igmp.max_join_delay)
        base = int(ipaddress.IPv4Address(settings.igmp.group or 0))
        step = int(ipaddress.IPv4Address(settings.igmp.group_iter))
        count = settings.igmp.group_count if settings.igmp.group else 0
        self.channels: tuple[int, ...] = tuple(base + step * index & 0xFFFFFFFF for index in range(count))
        source = settings.igmp.source
        self._sources = (source,) if source and int(ipaddress.IPv4Address(source)) else ()

    # Joining and leaving.

    def groups(self, session: Session) -> Groups:
        """A session's groups."""
        if session.groups is None:
            session.groups = Groups(self._slots)
        return session.groups

    def join(self, session: Session, address: int, sources: tuple[str, ...], *, lowest: bool = False) -> bool:
        """Join a group, in the slot that it had or the last one that nobody uses, or the first; False where
        there is none."""
        slots = self.groups(session).slots
        free = [index for index, group in enumerate(slots) if group is None or _is_free(group)]
        if not free:
            return False
        had = [index for index in free if (group := slots[index]) is not None and group.address == address]
        index = had[0] if had else free[0 if lowest else -1]
        self._begin(session, index, address, sources, zapping=False)
        return True

    def _begin(
        self, session: Session, index: int, address: int, sources: tuple[str, ...], *, zapping: bool
    ) -> Group:
        group = Group(address, sources, zapping)
        slots = self.groups(session).slots
        before = slots[index]
        if before is not None:
            self._end_delivery(before)
            before.epoch += 1
            session.rx += before.packets
        slots[index] = group
        if _can_report(session):
            self._report(session, group)
        return group

    def _report(self, session: Session, group: Group) -> None:
        _count_report(session)
        group.joined = self._timetable.now
        group.reported = True
        self._timetable.after(self._interval, self._activate, session, group, group.epoch)
        if group.address in self._streams:
            delay = self._multicast.join_delay
            self._timetable.after(delay, self._deliver, session, group, group.epoch)

    def _activate(self, session: Session, group: Group, epoch: int) -> None:
        if group.epoch == epoch and group.state == "joining":
            _count_report(session)
            group.state = "active"

    def _deliver(self, session: Session, group: Group, epoch: int) -> None:
        if group.epoch != epoch or not _can_report(session):
            return
        stream = self._streams[group.address]
        group.stream = stream
        group.base = stream.sequence(self._timetable.now)
        if stream.since is not None and stream.pps:
            first = stream.time_of(group.base + 1)
            self._timetable.at(first, self._receive_first, group, epoch)

    def _receive_first(self, group: Group, epoch: int) -> None:
        if group.epoch == epoch and group.first is None and self.packets(group):
            group.first = self._timetable.now
            if group.zapping:
                self.statistics.count_join(self.join_delay(group) or 0)

    def leave(self, session: Session, group: Group) -> None:
        """Leave a group; one that is being left, or was, stays as it is."""
        if group.state in ("leaving", "idle"):
            return
        group.reported = False
        group.state = "leaving"
        group.epoch += 1
        group.left = self._timetable.now
        group.at_leave = self.packets(group)
        _count_report(session)
        self._timetable.after(self._interval, self._idle, session, group, group.epoch)
        if group.stream is not None:
            delay = self._multicast.leave_delay
            self._timetable.after(delay, self._stop, group, group.epoch)

    def _idle(self, session: Session, group: Group, epoch: int) -> None:
        if group.epoch == epoch and group.state == "leaving":
            _count_report(session)
            group.state = "idle"

    def _stop(self, group: Group, epoch: int) -> None:
        if group.epoch != epoch:
            return
        self._end_delivery(group)
        if group.zapping:
            delay = self.leave_delay(group)
            if delay is not None:
                self.statistics.count_leave(delay)
            self.statistics.overlap += group.packets - group.at_leave

    def _end_delivery(self, group: Group) -> None:
        group.packets = self.packets(group)
        group.last = self._last(group)
        group.stream = None

    def packets(self, group: Group) -> int:
        """How many packets of the group came in."""
        if group.stream is None:
            return group.packets
        return group.packets + group.stream.sequence(self._timetable.now) - group.base

    def _last(self, group: Group) -> float | None:
        stream = group.stream
        if stream is None or stream.since is None:
            return group.last
        number = stream.sequence(self._timetable.now)
        return stream.time_of(number) if number > group.base else group.last

    def join_delay(self, group: Group) -> int | None:
        """Milliseconds from the first report to the first packet; None: there was none."""
        if group.joined is None or not self.packets(group):
            return None
        first = group.first
        if first is None:
            first = self._timetable.now
        return max(1, math.ceil((first - group.joined) * 1000 - 1e-6))

    def leave_delay(self, group: Group) -> int | None:
        """Milliseconds from the leave report to the last packet; None: none came after it."""
        last = self._last(group)
        if group.left is None or last is None or last <= group.left:
            return None
        return math.ceil((last - group.left) * 1000 - 1e-6)

    # A session comes and goes.

    def resume(self, session: Session) -> None:
        """The session has IPv4 again: report what it wants."""
        if session.groups is not None and _can_report(session):
            for group in session.groups.slots:
                # One that was never reported stays as it is (facts §2, igmp-join).
                if group is not None and group.reported and group.joined is None:
                    self._report(session, group)
        if self.channels and session.access.igmp_autostart and _can_report(session):
            groups = self.groups(session)
            if not groups.zapping and all(group is None or not group.zapping for group in groups.slots):
                groups.zapping = True
                delay = self._settings.start_delay
                self._timetable.after(delay, self._start_zapping, session, session.epoch)

    def suspend(self, session: Session) -> None:
        """The session is down: nothing comes in, and nothing is asked for."""
        if session.groups is None:
            return
        session.groups.zapping = False
        for group in session.groups.slots:
            if group is not None:
                self._end_delivery(group)
                group.epoch += 1
                group.joined = None
                if group.state in ("leaving", "idle"):
                    group.state = "idle"
                    group.reported = False

    # Zapping.

    def _start_zapping(self, session: Session, epoch: int) -> None:
        groups = self.groups(session)
        if session.epoch != epoch or not groups.zapping:
            return
        groups.channel = int(self._peer.roll(session) * len(self.channels))
        groups.turns = 0
        slot = 0 if self._settings.zapping_interval else len(groups.slots) - 1
        self._begin(
            session,
            slot,
            self.channels[groups.channel],
            self._sources,
            zapping=bool(self._settings.zapping_interval),
        )
        if self._settings.zapping_interval:
            self._timetable.after(self._settings.zapping_interval, self._zap, session, epoch, 0)

    def _zap(self, session: Session, epoch: int, slot: int) -> None:
        groups = self.groups(session)
        if session.epoch != epoch or not groups.zapping:
            return
        current = groups.slots[slot]
        settings = self._settings
        interval = settings.zapping_interval
        if current is not None and not self.packets(current):
            if settings.zapping_wait:
                self._timetable.after(interval, self._zap, session, epoch, slot)
                return
            self.statistics.not_received += 1
        if current is not None:
            self.leave(session, current)
        groups.channel = (groups.channel + 1) % len(self.channels)
        groups.turns += 1
        self._begin(session, 1 - slot, self.channels[groups.channel], self._sources, zapping=True)
        if settings.zapping_count and groups.turns % settings.zapping_count == 0:
            interval = settings.view_duration or interval
        self._timetable.after(interval, self._zap, session, epoch, 1 - slot)

    def start_zapping(self, session: Session) -> None:
        """Begin to zap, where the configuration has something to zap through."""
        groups = self.groups(session)
        if len(self.channels) > 1 and self._settings.zapping_interval and not groups.zapping:
            groups.zapping = True
            if _can_report(session):
                self._start_zapping(session, session.epoch)

    def stop_zapping(self, session: Session) -> None:
        """Zap no more; the group that is watched is left."""
        if session.groups is None or not session.groups.zapping:
            return
        session.groups.zapping = False
        for group in session.groups.slots:
            if group is not None and group.zapping:
                self.leave(session, group)
                group.zapping = False

    def describe(self, session: Session) -> list[dict[str, object]]:
        """A session's groups, as ``igmp-info`` tells."""
        if session.groups is None:
            return []
        return [self._describe(group) for group in session.groups.slots if group is not None]

    def _describe(self, group: Group) -> dict[str, object]:
        described: dict[str, object] = {
            "group": str(ipaddress.IPv4Address(group.address)),
            "sources": list(group.sources),
            "packets": self.packets(group),
            "loss": 0,
            "state": group.state,
        }
        if group.state in ("joining", "active"):
            delay = self.join_delay(group)
            if delay is not None:
                described["join-delay-ms"] = delay
        elif group.state == "idle":
            delay = self.leave_delay(group)
            if delay is not None:
                described["leave-delay-ms"] = delay
        return described


def _is_free(group: Group) -> bool:
    return group.state == "idle" and not group.zapping


def _count_report(session: Session) -> None:
    session.igmp_tx += 1
    session.tx += 1
    session.tx_bytes += 54


def _can_report(session: Session) -> bool:
    return session.established and session.ipv4 != 0
