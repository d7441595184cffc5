"""The imagined cluster: nodes, the CIB, attributes, resources and fencing, and what follows from what.

Time is the timetable's: :meth:`World.advance` is called with the seconds since the start, and whatever is
due by then happens. Nothing here looks at a clock or a socket, and two runs with the same configuration and
the same requests are the same.
"""

from __future__ import annotations

import errno
import logging
import re
from collections.abc import Callable

from msgspec.structs import replace

from bridle.bundled.cluster.attributes import Attributes
from bridle.bundled.cluster.beginning import device, primitive
from bridle.bundled.cluster.cib import Author, Change, Cib, empty
from bridle.bundled.cluster.controller import Controller, Executed
from bridle.bundled.cluster.executions import Executions
from bridle.bundled.cluster.executor import Agents
from bridle.bundled.cluster.failure import failure
from bridle.bundled.cluster.fencer import Device, Fencer, Incident, incident_value
from bridle.bundled.cluster.history import Operation
from bridle.bundled.cluster.merge import INFINITY
from bridle.bundled.cluster.resources import Resource, resources
from bridle.bundled.cluster.settings import ClusterSettings
from bridle.bundled.cluster.status import Member, Status
from bridle.bundled.cluster.tree import Node, dump, make
from bridle.bundled.timetable import Timetable
from bridle.core.errors import CommandError
from bridle.core.messages import JSON
from bridle.wire.pacemaker_messages import FEATURE_SET

__all__ = ["Member", "World"]

DC_VERSION = "2.1.5-bridle"
"""What the CIB says that its controller is."""

_log = logging.getLogger("bridle.cluster")

_UNSAFE = re.compile(r"[^A-Za-z0-9_.-]")
_BATCH = 25
"""Things that are done in one go before the next command is read."""

_REBOOT = 30.0
"""Seconds that a node takes to come back after it was rebooted."""

_RETRY = 5.0
"""Seconds until a node is fenced again that could not be."""


class World:
    """One cluster as one of its nodes, ``name``, sees it. ``epoch`` is the seconds since 1970 at which it
    begins; ``publish`` is called with every event."""

    def __init__(
        self,
        settings: ClusterSettings,
        name: str,
        epoch: float,
        *,
        kept: Node | None = None,
        publish: Callable[[str, JSON], object] = lambda name, data: None,
    ) -> None:
        self.settings = settings
        self.name = name
        self.timetable: Timetable = Timetable()
        self._epoch = epoch
        self._publish = publish
        self.stopping = False
        imagined = settings.imagined
        self.members: dict[str, Member] = {}
        self.cib: Cib = Cib(kept if kept is not None else empty(feature_set=FEATURE_SET), self.now)
        self.status: Status = Status(self.cib, Author(name, "crmd", "hacluster"))
        self.attributes: Attributes = Attributes(self.timetable, self._write_attribute)
        self.agents: Agents = Agents(imagined.agents, imagined.seed)
        self.fencer: Fencer = Fencer(self.timetable, imagined.fencing, imagined.seed, name, self.now)
        self.fencer.finished = self._fenced
        self.controller: Controller = Controller(self.timetable, self.agents, self, imagined.seed, self.now)
        self.executions: Executions = Executions(
            self.timetable, self.agents, name, self.now, self.controller.call, self.executed
        )
        self._tending = False
        self._set_up(kept is None)
        self.cib.changed = self._changed
        self.controller.poke()

    def now(self) -> float:
        """Seconds since 1970, in simulated time."""
        return self._epoch + self.timetable.now

    def advance(self, seconds: float, limit: int = _BATCH) -> bool:
        """Let everything happen that is due by so many seconds after the start, at most ``limit`` things;
        True when nothing is left of that."""
        return self.timetable.run(seconds, limit)

    @property
    def root(self) -> Node:
        """The CIB."""
        return self.cib.root

    # The beginning.

    def _set_up(self, new: bool) -> None:
        imagined = self.settings.imagined
        self.members[self.name] = Member(self.name, self.settings.node_id)
        taken = {self.settings.node_id, *(node.id for node in imagined.nodes)}
        numbers = (number for number in range(1, 1000) if number not in taken)
        for node in imagined.nodes:
            number = node.id if node.id is not None else next(numbers)
            self.members[node.name] = Member(
                node.name, number, node.state == "member", node.state == "member"
            )
            if node.joins_after is not None:
                self.timetable.at(node.joins_after, self.join, node.name)
            if node.leaves_after is not None:
                self.timetable.at(node.leaves_after, self._leave_in_time, node.name)
        self._tend()
        if new:
            self._configure()
        for one in imagined.fencing_devices:
            self.fencer.register(device(one))
        self._read_fencing()
        for member in self.members.values():
            if member.member:
                self.attributes.update("#feature-set", member.name, FEATURE_SET)

    def _configure(self) -> None:
        """What a cluster's configuration begins with."""
        section = self.root.find("configuration/resources")
        assert section is not None
        for resource in self.settings.imagined.resources:
            section.append(primitive(resource))
        self._set_property("cluster-name", self.settings.cluster_name)
        for name, value in self.settings.imagined.properties.items():
            self._set_property(name, value)

    def _set_property(self, name: str, value: str) -> None:
        self.status.write(
            "crm_config",
            make(
                "cluster_property_set",
                {"id": "cib-bootstrap-options"},
                make("nvpair", {"id": f"cib-bootstrap-options-{name}", "name": name, "value": value}),
            ),
        )

    def _tend(self) -> None:
        """See that the CIB says what only the cluster knows: its nodes, and what it is itself."""
        self._tending = True
        try:
            self._tell_cluster()
        except CommandError as error:
            # Nobody has asked for this; what was asked for stands.
            _log.error("the CIB does not say what the cluster is: %s", error.text)
        finally:
            self._tending = False

    def _tell_cluster(self) -> None:
        known = {
            node.get("name"): node.get("value")
            for node in self.root.iterfind("configuration/crm_config/cluster_property_set/nvpair")
        }
        for name, value in (
            ("have-watchdog", "false"),
            ("dc-version", DC_VERSION),
            ("cluster-infrastructure", "corosync"),
        ):
            if name not in known:
                self._set_property(name, value)
        for member in self.members.values():
            self.status.tell(member)
        quorum = "1" if self.quorate else "0"
        attributes = {
            "crm_feature_set": FEATURE_SET,
            "have-quorum": quorum,
            "dc-uuid": str(self.members[self.name].id),
        }
        if any(self.root.get(name) != value for name, value in attributes.items()):
            self.status.write("cib", make("cib", attributes))

    @property
    def quorate(self) -> bool:
        """More than half of the nodes are members."""
        return 2 * sum(member.member for member in self.members.values()) > len(self.members)

    # The CIB.

    def _changed(self, change: Change) -> None:
        self._publish(
            "cib-diff",
            {
                "operation": change.operation,
                "section": change.section,
                "update": dump(change.update) if change.update is not None else None,
                "generation": dump(change.generation),
                "diff": dump(change.difference),
            },
        )
        if change.configuration:
            self._read_fencing()
        if not self._tending and change.operation in ("cib_replace", "cib_erase", "cib_delete"):
            self._tend()
            if change.operation != "cib_delete":
                self.attributes.refresh()
        if not self.status.quiet:
            self.controller.poke()

    def _read_fencing(self) -> None:
        """Take over the fencing devices and levels that the CIB configures."""
        devices = [
            Device(one.id, one.type, "redhat", dict(one.parameters), resource=True)
            for one in resources(self.root)
            if one.class_ == "stonith" and one.wanted
        ]
        levels: dict[tuple[str, int], tuple[str, ...]] = {}
        for level in self.root.iterfind("configuration/fencing-topology/fencing-level"):
            index = level.get("index", "")
            if index.isascii() and index.isdecimal() and level.get("target"):
                names = level.get("devices", "").replace(" ", "").split(",")
                levels[level.get("target", ""), int(index[:4])] = tuple(filter(None, names))
        self.fencer.configure(devices, levels)

    # Nodes.

    def member(self, name: str | None = None, number: int | None = None) -> Member | None:
        """A node by its name or its number; ours without both."""
        if name is None and number is None:
            return self.members[self.name]
        for member in self.members.values():
            if (name is None or member.name == name) and (number is None or member.id == number):
                return member
        return None

    def existing(self, name: str | None) -> Member:
        """A node by its name; ours without one.

        Raises:
            CommandError: there is none of that name; ENXIO.
        """
        found = self.member(name)
        if found is None:
            raise failure(errno.ENXIO, f"there is no node '{name}'")
        return found

    def join(self, name: str, number: int | None = None) -> Member:
        """Let a node become a member; one that nobody knew is made.

        Raises:
            CommandError: another node has this number, or there are too many nodes.
        """
        known = self.members.get(name)
        if known is None:
            if len(self.members) >= 64:
                raise failure(errno.ENOSPC, "a cluster has at most 64 nodes")
            taken = {member.id for member in self.members.values()}
            if number in taken:
                raise failure(errno.EEXIST, f"another node has the id {number}")
            known = Member(name, number or next(one for one in range(1, 1000) if one not in taken))
        joined = replace(known, member=True, expected=True)
        self.members[name] = joined
        self._tend()
        self.attributes.update("#feature-set", name, FEATURE_SET)
        self._publish("node", {"node": name, "id": joined.id, "state": "member"})
        return joined

    def _leave_in_time(self, name: str) -> None:
        if name in self.members and self.members[name].member:
            self.leave(name, crash=True)

    def leave(self, name: str, *, crash: bool = False) -> Member:
        """Let a node leave, in good order or not: one that crashes is unclean until it is fenced.

        Raises:
            CommandError: it is none, or the one that we are.
        """
        known = self.existing(name)
        if name == self.name:
            raise failure(errno.EINVAL, "this node cannot leave: it is the one that answers")
        if known.member:
            self._take_out(replace(known, member=False, expected=crash))
        return self.members[name]

    def _take_out(self, member: Member) -> None:
        self.members[member.name] = member
        self.controller.lose(member.name)
        self.attributes.forget(member.name)
        self._tend()
        self.status.drop("transient_attributes", member)
        if not member.expected:
            self.status.drop("lrm", member)
        self._publish("node", {"node": member.name, "id": member.id, "state": "lost"})

    def purge(self, name: str | None, number: int | None) -> None:
        """Forget a node that is no member; one that nobody knows is no failure."""
        known = self.member(name, number)
        if known is None or known.member or (name is None and number is None):
            return
        del self.members[known.name]
        self.attributes.forget(known.name)
        self._tend()

    # Attributes.

    def _write_attribute(self, name: str, node: str, value: str | None, set_id: str | None) -> None:
        member = self.members.get(node)
        if member is not None and member.member:
            self.status.write_attribute(member, name, value, set_id)

    # Resources.

    def resource(self, name: str) -> Resource:
        """A resource of the CIB.

        Raises:
            CommandError: there is none of that name; ENXIO.
        """
        for one in resources(self.root):
            if one.id == name:
                return one
        raise failure(errno.ENXIO, f"there is no resource '{name}'")

    def record(self, node: str, resource: Resource, operation: Operation, *, failure: bool = False) -> None:
        """Write an operation into the status."""
        member = self.members.get(node)
        if member is not None and member.member:
            self.status.record(member, resource, operation, failure=failure)

    def erase(self, node: str, resource: str) -> None:
        """Remove a resource's history on a node from the status."""
        member = self.members.get(node)
        if member is not None:
            self.status.erase(member, resource)

    def count_failure(self, node: str, resource: str, operation: Operation, fatal: bool) -> None:
        """Count a failure of a resource on a node."""
        suffix = f"{resource}#{operation.action}_{operation.interval}"
        value = "INFINITY" if fatal else "value++"
        self.attributes.update(f"last-failure-{suffix}", node, str(int(self.now())))
        self.attributes.update(f"fail-count-{suffix}", node, value)

    def failures(self, resource: str, node: str) -> int:
        """How often a resource has failed on a node, as far as that is remembered."""
        total = 0
        for attribute in self.attributes:
            if attribute.name.startswith(f"fail-count-{resource}#"):
                value = attribute.values.get(node)
                if value == "INFINITY":
                    return INFINITY
                total += int(value) if value is not None and value.lstrip("-").isdecimal() else 0
        return min(total, INFINITY)

    def refresh(self, resource: str, node: str, *, cib_only: bool = False) -> None:
        """Forget what was done to a resource on a node: it is probed again."""
        self.controller.forget(node, resource)
        self.erase(node, resource)
        if not cib_only:
            self._set_property("last-lrm-refresh", str(int(self.now())))
        self.controller.poke()

    def reprobe(self, node: str | None) -> None:
        """Forget what was done to all resources, on a node or on all."""
        for member in self.members.values():
            if node in (None, member.name) and member.member:
                for history in self.status.histories(member):
                    self.controller.forget(member.name, history.get("id", ""))
                self.status.erase(member, None)
        self.controller.poke()

    def executed(self, executed: Executed) -> None:
        """Tell what an agent has done."""
        operation = executed.operation
        self._publish(
            "resource-executed",
            {
                "resource": executed.resource.id,
                "node": executed.node,
                "action": operation.action,
                "interval": operation.interval,
                "call": operation.call,
                "code": operation.code,
                "status": operation.status,
                "reason": operation.reason,
                "taken": operation.taken,
                "changed": operation.changed,
                "timeout": operation.timeout or 0,
                "key": operation.key,
                "rc-code": operation.code,
                "op-status": operation.status,
                "call-id": operation.call,
                "exit-reason": operation.reason,
            },
        )

    # Fencing.

    def fence(self, node: str, action: str, done: Callable[[bool], None]) -> None:
        """Have a node fenced for the controller."""

        def ended(incident: Incident) -> None:
            if incident.state == "done":
                done(True)
            else:
                self.timetable.after(_RETRY, done, False)

        self.fencer.fence(node, action, "pacemaker-controld", 0, ended)

    def _fenced(self, incident: Incident) -> None:
        self._publish("fencing", incident_value(incident))
        known = self.members.get(incident.target)
        if incident.state != "done" or known is None or incident.target == self.name:
            return
        if known.member or known.expected:
            self._take_out(replace(known, member=False, expected=False))
            if incident.action == "reboot":
                self.timetable.after(_REBOOT, self._come_back, incident.target)

    def _come_back(self, name: str) -> None:
        known = self.members.get(name)
        if known is not None and not known.member:
            self.join(name)
