"""What has to be done so that a cluster is as its CIB wants it: a graph of actions.

It does a part of what Pacemaker's scheduler does: probes, placement by scores and load, groups, clones that
are not promoted, orders and colocations of two resources, standby, maintenance, quorum, failures and their
thresholds, orphans, fencing. Rules, tickets, utilization, sets in constraints, promotion and bundles are not
looked at.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from msgspec import Struct
from msgspec.structs import replace

from bridle.bundled.cluster.graph import Action, Graph
from bridle.bundled.cluster.history import Past, pasts
from bridle.bundled.cluster.merge import INFINITY, score
from bridle.bundled.cluster.resources import Resource, is_true, properties, resources
from bridle.bundled.cluster.tree import Node

__all__ = ["schedule"]

# Colocations that are followed one from the other.
_COLOCATED_LIMIT = 100


class _Host(Struct):
    """A node as the scheduler sees it."""

    name: str
    id: str
    online: bool
    unclean: bool
    standby: bool
    maintenance: bool
    attributes: dict[str, str]


def schedule(root: Node) -> Graph:
    """Compute what has to be done."""
    return _Schedule(root).graph()


class _Schedule:
    def __init__(self, root: Node) -> None:
        self._root = root
        self._options = properties(root)
        self._hosts = _hosts(root)
        self._online = [host for host in self._hosts.values() if host.online]
        self._resources = resources(root)
        self._known = {resource.id: resource for resource in self._resources}
        self._past: dict[str, dict[str, Past]] = {}
        for past in pasts(root):
            host = self._hosts.get(past.node)
            if host is not None and (host.online or host.unclean):
                self._past.setdefault(past.resource, {})[past.node] = past
        self._placed: dict[str, list[str]] = {}
        self._load: Counter[str] = Counter()
        self._actions: list[Action] = []
        self._starts: dict[str, list[int]] = {}
        self._stops: dict[str, list[int]] = {}
        self._errors: list[str] = []
        self._scores = _locations(root)
        self._colocations: dict[str, list[tuple[str, int]]] = {}
        for one, other, points in _pairs_of(root, "rsc_colocation", "rsc", "with-rsc"):
            self._colocations.setdefault(one, []).append((other, points))
        self._orders = _pairs_of(root, "rsc_order", "first", "then")
        optional = {
            (node.get("first"), node.get("then"))
            for node in root.iterfind("configuration/constraints/rsc_order")
            if node.get("kind", "Mandatory") != "Mandatory" or node.get("score") == "0"
        }
        self._by_name: dict[str, list[Resource]] = {}
        self._members: dict[tuple[str, int], Resource] = {}
        for resource in self._resources:
            for name in resource.names:
                self._by_name.setdefault(name, []).append(resource)
            if resource.group is not None:
                self._members[resource.group] = resource
        self._depth = 0
        self._mandatory = [
            (one, other)
            for first, then, _ in self._orders
            if (first, then) not in optional
            for one in self._by_name.get(first, ())
            for other in self._by_name.get(then, ())
            if one is not other
        ]

    def graph(self) -> Graph:
        frozen = is_true(self._options.get("maintenance-mode"))
        fences = [] if frozen else self._fence()
        probes = self._probe()
        if not frozen:
            for resource in self._resources:
                self._place(resource)
            self._withhold()
            self._stop_orphans(fences)
            for resource in self._resources:
                self._run(resource, (*fences, *probes.get(resource.id, ())))
            self._order()
        return Graph(tuple(self._actions), tuple(self._errors))

    def _add(
        self,
        operation: str,
        host: _Host,
        resource: Resource,
        *,
        interval: int = 0,
        timeout: int | None = None,
        target: int = 0,
        after: Iterable[int] = (),
    ) -> int:
        number = len(self._actions) + 1
        self._actions.append(
            Action(
                number,
                "rsc_op",
                operation,
                f"{resource.id}_{operation}_{interval}",
                host.name,
                host.id,
                resource,
                interval,
                resource.timeout(operation) if timeout is None else timeout,
                target,
                tuple(dict.fromkeys(after)),
            )
        )
        return number

    # Fencing and probes.

    @property
    def _fencing(self) -> bool:
        return is_true(self._options.get("stonith-enabled", "true"))

    def _fence(self) -> list[int]:
        numbers = []
        for host in self._hosts.values():
            if host.unclean and self._fencing and self._quorate:
                number = len(self._actions) + 1
                numbers.append(number)
                self._actions.append(
                    Action(number, "crm_event", "stonith", f"stonith-{host.name}-reboot", host.name, host.id)
                )
        return numbers

    def _probe(self) -> dict[str, list[int]]:
        return {
            resource.id: [
                self._add("monitor", host, resource, target=7)
                for host in self._online
                if host.name not in self._past.get(resource.id, {}) and not host.maintenance
            ]
            for resource in self._resources
        }

    # Placement.

    @property
    def _quorate(self) -> bool:
        return is_true(self._root.get("have-quorum", "1"))

    def _may_run(self) -> bool:
        if not self._quorate and self._options.get("no-quorum-policy", "stop") in ("stop", "suicide"):
            return False
        if self._fencing and not any(one.class_ == "stonith" for one in self._resources):
            if not self._errors:
                self._errors.append("stonith-enabled is true, and there are no fencing resources")
            return False
        return True

    def _active(self, resource: Resource) -> list[str]:
        return [name for name, past in self._past.get(resource.id, {}).items() if past.state == "running"]

    def _place(self, resource: Resource) -> list[str]:
        """The nodes that a resource is to run on."""
        placed = self._placed.get(resource.id)
        if placed is not None:
            return placed
        self._placed[resource.id] = []  # whoever is colocated with us in a circle sees this
        if not (resource.wanted and self._may_run()):
            return []
        scores = self._scores_of(resource)
        eligible = [name for name, points in scores.items() if points >= 0]
        active = set(self._active(resource))
        eligible.sort(key=lambda name: (-scores[name], name not in active, self._load[name]))
        chosen = eligible[: resource.clones or 1]
        self._placed[resource.id] = chosen
        self._load.update(chosen)
        return chosen

    def _scores_of(self, resource: Resource) -> dict[str, int]:
        symmetric = is_true(self._options.get("symmetric-cluster", "true"))
        active = self._active(resource)
        scores: dict[str, int] = {}
        for host in self._online:
            if host.standby or self._banned(resource, host):
                continue
            points, said = 0, symmetric
            for name in resource.names:
                if (name, host.name) in self._scores:
                    said = True
                    points = _sum(points, self._scores[name, host.name])
            if host.name in active:
                points = _sum(points, resource.stickiness)
            if said:  # where no node is good by itself, only those are that somebody named
                scores[host.name] = points
        if resource.group is not None and resource.group[1] > 0:
            before = self._member_before(resource)
            together = self._place(before)
            return {name: points for name, points in scores.items() if name in together}
        for names, points in self._colocated(resource):
            for name in scores:
                scores[name] = _sum(scores[name], points if name in names else 0)
            if points == INFINITY:
                scores = {name: scores[name] for name in scores if name in names}
        return scores

    def _withhold(self) -> None:
        """What has to come after something that does not run does not run either."""
        waiting = True
        while waiting:
            waiting = False
            for first, then in self._mandatory:
                if self._placed.get(then.id) and not self._placed.get(first.id):
                    self._placed[then.id] = []
                    waiting = True

    def _colocated(self, resource: Resource) -> Iterable[tuple[list[str], int]]:
        """Where those are that a resource is to be with, or not to be with."""
        if self._depth >= _COLOCATED_LIMIT:
            return
        self._depth += 1
        for name in resource.names:
            for other, points in self._colocations.get(name, ()):
                if other not in resource.names:
                    for known in self._by_name.get(other, ()):
                        yield self._place(known), points
        self._depth -= 1

    def _member_before(self, resource: Resource) -> Resource:
        assert resource.group is not None
        name, number = resource.group
        return self._members[name, number - 1]

    def _banned(self, resource: Resource, host: _Host) -> bool:
        return _failures(host.attributes, resource.id) >= resource.threshold

    # Actions.

    def _stop_orphans(self, barrier: Sequence[int]) -> None:
        if not is_true(self._options.get("stop-orphan-resources", "true")):
            return
        for name, histories in self._past.items():
            if name in self._known:
                continue
            for node, past in histories.items():
                host = self._hosts[node]
                if not host.online:
                    continue
                orphan = Resource(name, past.class_, past.provider, past.type, {}, {}, (), {})
                after: tuple[int, ...] = ()
                if past.state == "running":
                    after = (self._add("stop", host, orphan, after=barrier),)
                self._add("delete", host, orphan, after=after)

    def _run(self, resource: Resource, barrier: Sequence[int]) -> None:
        if not resource.managed:
            return
        histories = self._past.get(resource.id, {})
        placed = self._placed.get(resource.id, [])
        stops: list[int] = []
        begin: list[_Host] = []
        for name, past in histories.items():
            host = self._hosts[name]
            if past.state == "pending":
                return  # something is under way: what comes next is seen when it is done
            if past.failed is not None and past.failed.action == "stop" and host.online:
                return  # it cannot be stopped: nobody may start it elsewhere
            if past.state != "running" or not host.online or host.maintenance:
                continue
            if name not in placed or past.failed is not None:
                stops.append(self._add("stop", host, resource, after=barrier))
            else:
                self._monitor(resource, host, past)
        for name in placed:
            known = histories.get(name)
            if known is None or known.state != "running" or known.failed is not None:
                begin.append(self._hosts[name])
        self._stops[resource.id] = stops
        for host in begin:
            if host.maintenance:
                continue
            start = self._add("start", host, resource, after=(*barrier, *stops))
            self._starts.setdefault(resource.id, []).append(start)
            for monitor in resource.monitors:
                self._add(
                    monitor.name,
                    host,
                    resource,
                    interval=monitor.interval,
                    timeout=monitor.timeout,
                    after=(start,),
                )

    def _monitor(self, resource: Resource, host: _Host, past: Past) -> None:
        """Begin what should recur, end what should no more."""
        wanted = {(monitor.name, monitor.interval): monitor for monitor in resource.monitors}
        for (name, interval), monitor in wanted.items():
            if (name, interval) not in past.monitors:
                self._add(name, host, resource, interval=interval, timeout=monitor.timeout)
        for name, interval in sorted(past.monitors - wanted.keys()):
            number = self._add("cancel", host, resource, interval=interval)
            key = f"{resource.id}_{name}_{interval}"
            self._actions[number - 1] = replace(self._actions[number - 1], key=key)

    def _order(self) -> None:
        """Starts after the starts of what comes first, stops the other way round."""
        needed: dict[int, list[int]] = {}
        for first, then in self._ordered():
            for number in self._starts.get(then.id, ()):
                needed.setdefault(number, []).extend(self._starts.get(first.id, ()))
            for number in self._stops.get(first.id, ()):
                needed.setdefault(number, []).extend(self._stops.get(then.id, ()))
        for index, action in enumerate(self._actions):
            if action.number in needed:
                after = tuple(dict.fromkeys((*action.after, *needed[action.number])))
                self._actions[index] = replace(action, after=after)
        _break_circles(self._actions)

    def _ordered(self) -> Iterable[tuple[Resource, Resource]]:
        for resource in self._resources:
            if resource.group is not None and resource.group[1] > 0:
                yield self._member_before(resource), resource
        for first, then, _ in self._orders:
            for one in self._by_name.get(first, ()):
                for other in self._by_name.get(then, ()):
                    if one is not other:
                        yield one, other


def _break_circles(actions: list[Action]) -> None:
    """Whoever waits for itself in the end waits for nobody: orders that contradict are not kept."""
    done: set[int] = set()
    left = list(actions)
    while left:
        ready = [action for action in left if done.issuperset(action.after)]
        if not ready:
            first = left[0]
            kept = tuple(number for number in first.after if number in done)
            actions[first.number - 1] = replace(first, after=kept)
            ready = [first]
        done.update(action.number for action in ready)
        left = [action for action in left if action.number not in done]


def _hosts(root: Node) -> dict[str, _Host]:
    hosts: dict[str, _Host] = {}
    states = {state.get("id"): state for state in root.iterfind("status/node_state")}
    for node in root.iterfind("configuration/nodes/node"):
        name, identity = node.get("uname", ""), node.get("id", "")
        state = states.get(identity)
        lasting = _attributes(node.iterfind("instance_attributes/nvpair"))
        transient = (
            _attributes(state.iterfind("transient_attributes/instance_attributes/nvpair"))
            if state is not None
            else {}
        )
        member = state is not None and is_true(state.get("in_ccm"))
        online = member and state is not None and state.get("crmd") == "online"
        unclean = state is not None and not online and state.get("expected") == "member"
        hosts[name] = _Host(
            name,
            identity,
            online,
            unclean,
            is_true(lasting.get("standby")) or is_true(transient.get("standby")),
            is_true(lasting.get("maintenance")),
            transient,
        )
    return hosts


def _attributes(nodes: Iterable[Node]) -> dict[str, str]:
    return {node.get("name", ""): node.get("value", "") for node in nodes}


def _failures(attributes: Mapping[str, str], resource: str) -> int:
    total = 0
    for name, value in attributes.items():
        if name == f"fail-count-{resource}" or name.startswith(f"fail-count-{resource}#"):
            total = _sum(total, score(value))
    return total


def _sum(one: int, other: int) -> int:
    """Scores are added so that never is stronger than always."""
    if -INFINITY in (one, other):
        return -INFINITY
    return min(INFINITY, max(-INFINITY, one + other))


def _locations(root: Node) -> dict[tuple[str, str], int]:
    found: dict[tuple[str, str], int] = {}
    for node in root.iterfind("configuration/constraints/rsc_location"):
        place = (node.get("rsc", ""), node.get("node", ""))
        if all(place) and node.get("score") is not None:
            found[place] = _sum(found.get(place, 0), score(node.get("score")))
    return found


def _pairs_of(root: Node, tag: str, one: str, other: str) -> list[tuple[str, str, int]]:
    return [
        (node.get(one, ""), node.get(other, ""), score(node.get("score", "INFINITY")))
        for node in root.iterfind(f"configuration/constraints/{tag}")
        if node.get(one) and node.get(other)
    ]
