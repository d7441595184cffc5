"""Commands about the cluster's nodes and their attributes."""

from __future__ import annotations

import errno
import re
from typing import Annotated, Literal

from msgspec import Meta

from bridle.bundled.cluster.attributes import failure_names
from bridle.bundled.cluster.failure import failure
from bridle.bundled.cluster.resources import milliseconds
from bridle.bundled.cluster.settings import NodeName
from bridle.bundled.cluster.status import Member
from bridle.bundled.cluster.world import World
from bridle.core.errors import ArgumentError, CommandError
from bridle.core.manager import command
from bridle.core.messages import JSON, Response
from bridle.core.results import Result

__all__ = ["NodeCommands"]

ATTRIBUTES_LIMIT = 10_000
"""Attributes that may be known at a time."""

# What repeats, and whether that is a group; a name of 255 characters is searched in milliseconds then.
_REPEAT = re.compile(r"(\))?(?<!\\)[*+{]")
_REPEATS_LIMIT = 3

_Number = Annotated[int, Meta(ge=0, le=0xFFFFFFFF)]
_AttributeName = Annotated[str, Meta(min_length=1, max_length=255)]
_Pattern = Annotated[str, Meta(min_length=1, max_length=256)]


class NodeCommands:
    """``ping``, ``node-…``, ``attribute-…``."""

    world: World

    @command(access="read")
    def ping(
        self, subsystem: Literal["pacemakerd", "crmd", "dc"] = "pacemakerd", node: str | None = None
    ) -> dict[str, JSON]:
        """Tell the state of the launcher, of a node's controller, or of the one that decides (``dc``)."""
        if node is not None and not self.world.existing(node).member:
            raise failure(errno.ENXIO, f"node '{node}' is lost")
        if subsystem == "pacemakerd":
            state = "shutting_down" if self.world.stopping else "running"
            return {
                "subsystem": subsystem,
                "state": state,
                "result": "ok",
                "timestamp": int(self.world.now()),
                "node": self.world.name,
            }
        state = self.world.controller.state if node in (None, self.world.name) else "S_NOT_DC"
        return {"subsystem": subsystem, "state": state, "result": "ok", "node": node or self.world.name}

    @command(access="read")
    def node_list(self) -> dict[str, JSON]:
        """List the nodes, and whether they are members."""
        return {
            "nodes": [
                {"id": one.id, "name": one.name, "state": _state(one)} for one in self.world.members.values()
            ],
            "node": self.world.name,
        }

    @command(access="read")
    def node_info(self, node_id: _Number | None = None, node: str | None = None) -> Response:
        """Tell about a node, by its name or its number; about ours without both."""
        found = self.world.member(node, node_id or None)
        quorum: dict[str, JSON] = {"have-quorum": self.world.quorate, "node": self.world.name}
        if found is None:
            error = failure(errno.ENXIO, "Node is not known to cluster")
            return Response(Result.EMPTY, error.text, quorum, error=error.response.error)
        return Response(
            arguments={
                "id": found.id,
                "name": found.name,
                "state": _state(found),
                **quorum,
                "remote": False,
            }
        )

    @command
    def node_purge(
        self, node: str | None = None, node_id: _Number | None = None, subsystem: str | None = None
    ) -> None:
        """Forget a node that is lost; ``attrd`` as ``subsystem`` forgets its attributes alone."""
        if node is None and not node_id:
            raise ArgumentError("a node's name or number is needed", argument="node")
        if subsystem == "attrd":
            found = self.world.member(node, node_id or None)
            name = found.name if found is not None else node
            if name is not None:
                self.world.attributes.forget(name)
            return
        self.world.purge(node, node_id or None)

    @command
    def node_join(self, node: NodeName, node_id: _Number | None = None) -> dict[str, JSON]:
        """Let a node become a member; one that nobody knew is made."""
        joined = self.world.join(node, node_id or None)
        return {"id": joined.id, "name": joined.name, "state": _state(joined)}

    @command
    def node_leave(self, node: str, crash: bool = False) -> dict[str, JSON]:
        """Let a node leave in good order; or let it ``crash``, so that it has to be fenced."""
        left = self.world.leave(node, crash=crash)
        return {"id": left.id, "name": left.name, "state": _state(left)}

    # Attributes.

    @command(access="read")
    def attribute_query(self, name: str, node: str | None = None) -> dict[str, JSON]:
        """Tell the values of an attribute, on a node or on all; a value that was deleted is null."""
        known = self.world.attributes.get(name)
        if known is None:
            raise failure(errno.ENXIO, f"no attribute '{name}' is known")
        values: list[JSON] = [
            {"node": host, "value": value}
            for host, value in known.values.items()
            if node is None or node == host
        ]
        return {"name": name, "values": values}

    @command
    def attribute_update(
        self,
        name: _AttributeName | None = None,
        pattern: _Pattern | None = None,
        value: str | int | float | None = None,
        node: str | None = None,
        node_id: _Number | None = None,
        dampening: str | int | None = None,
        set_: str | None = None,
        private: bool = False,
        remote: bool = False,
        mode: Literal["value", "both", "delay"] = "value",
    ) -> None:
        """Set an attribute, or all whose names a pattern is found in, on a node: ours by default.

        ``value`` may be ``value++`` or ``value+=N``. ``dampening`` is how long values must rest before they
        are written to the CIB (``5s``); a new attribute takes it, ``mode`` ``delay`` changes it, ``both``
        changes both. A ``private`` attribute is never written.
        """
        names = self._names(name, pattern)
        seconds = None if dampening is None else milliseconds(str(dampening), -1) / 1000
        if seconds is not None and seconds < 0:
            raise ArgumentError(f"dampening: '{dampening}' is no duration, as 5s is", argument="dampening")
        if mode != "value" and seconds is None:
            raise ArgumentError("a dampening is needed to change it", argument="dampening")
        host = self._host(node, node_id)
        for one in names:
            known = self.world.attributes.get(one)
            if mode != "value" and seconds is not None and known is not None:
                self.world.attributes.set_dampening(one, seconds)
            if mode != "delay" or (known is None and value is not None):
                text = None if value is None else str(value)
                self.world.attributes.update(one, host, text, dampening=seconds, private=private, set_id=set_)

    @command
    def attribute_delete(
        self,
        name: _AttributeName | None = None,
        node: str | None = None,
        node_id: _Number | None = None,
        pattern: _Pattern | None = None,
    ) -> None:
        """Delete an attribute's value on a node, or those of all whose names a pattern is found in."""
        host = self._host(node, node_id)
        for one in self._names(name, pattern):
            self.world.attributes.update(one, host, None)

    @command
    def attribute_refresh(self) -> None:
        """Write all values to the CIB again."""
        self.world.attributes.refresh()

    @command
    def attribute_clear_failures(
        self,
        resource: str | None = None,
        operation: str | None = None,
        interval: str | int | None = None,
        node: str | None = None,
    ) -> None:
        """Forget the failures of a resource or of all, of an operation (``interval`` as in ``10s``) or of
        all, on a node or on all."""
        names = failure_names(resource, operation, milliseconds(str(interval)) if interval else 0)
        for one in self.world.attributes.matching(names):
            known = self.world.attributes.get(one)
            for host in list(known.values if known is not None else ()):
                if node in (None, host):
                    self.world.attributes.update(one, host, None)

    def _names(self, name: str | None, pattern: str | None) -> list[str]:
        if (name is None) == (pattern is None):
            raise ArgumentError("either 'name' or 'pattern' is needed", argument="name")
        attributes = self.world.attributes
        if name is not None:
            if attributes.get(name) is None and len(attributes) >= ATTRIBUTES_LIMIT:
                raise CommandError(f"there are {ATTRIBUTES_LIMIT} attributes already")
            return [name]
        return attributes.matching(_compiled(str(pattern)))

    def _host(self, node: str | None, number: int | None) -> str:
        if node is not None:
            return node
        found = self.world.member(None, number or None)
        if found is None:
            raise failure(errno.ENXIO, f"there is no node {number}")
        return found.name


def _compiled(pattern: str) -> re.Pattern[str]:
    """The pattern, where it can be searched for in no time: what repeats may be in it thrice, and no groups
    that repeat, which Python would try in every way there is."""
    repeats = _REPEAT.findall(pattern)
    if len(repeats) > _REPEATS_LIMIT or any(group for group in repeats):
        text = f"pattern: at most {_REPEATS_LIMIT} repetitions are taken, and none of groups"
        raise ArgumentError(text, argument="pattern")
    try:
        return re.compile(pattern)
    except (re.error, OverflowError, RecursionError) as error:
        raise ArgumentError(f"pattern: {error}", argument="pattern") from error


def _state(member: Member) -> str:
    return "member" if member.member else "lost"
