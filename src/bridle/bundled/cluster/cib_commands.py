"""Commands about the CIB."""

from __future__ import annotations

import errno
import pwd
from typing import Annotated

from msgspec import Meta

from bridle.bundled.cluster.cib import Author, Options
from bridle.bundled.cluster.failure import failure
from bridle.bundled.cluster.resources import properties
from bridle.bundled.cluster.scheduler import schedule
from bridle.bundled.cluster.tree import Node, dump, parse
from bridle.bundled.cluster.world import World
from bridle.core.errors import ArgumentError
from bridle.core.manager import command
from bridle.core.messages import JSON, Peer

__all__ = ["CibCommands", "user_of"]

_Client = Annotated[str, Meta(max_length=255)]


class CibCommands:
    """``cib-…``, and what the scheduler makes of a CIB."""

    world: World
    graphs: int

    @command(access="read")
    def cib_query(
        self,
        section: str | None = None,
        xpath: str | None = None,
        no_children: bool = False,
        addresses: bool = False,
        local: bool = False,
    ) -> dict[str, JSON]:
        """Tell the CIB, one of its sections, or what an XPath finds.

        ``addresses`` tells where that stands. ``local`` changes nothing: there is one CIB.
        """
        place, by_path = _place(section, xpath)
        found = self.world.cib.query(place, xpath=by_path, no_children=no_children, addresses=addresses)
        return {"cib": dump(found)}

    @command
    def cib_create(
        self,
        peer: Peer,
        xml: str | None = None,
        section: str | None = None,
        xpath: str | None = None,
        can_create: bool = False,
        multiple: bool = False,
        dry_run: bool = False,
        local: bool = False,
        client: _Client = "",
    ) -> None:
        """Put an element into a section of the CIB, or into what an XPath finds; it must not be there yet."""
        place, options = _options(section, xpath, can_create, multiple, dry_run)
        self.world.cib.create(_input(xml), place, options, self._author(peer, client))

    @command
    def cib_modify(
        self,
        peer: Peer,
        xml: str | None = None,
        section: str | None = None,
        xpath: str | None = None,
        can_create: bool = False,
        multiple: bool = False,
        dry_run: bool = False,
        local: bool = False,
        client: _Client = "",
    ) -> None:
        """Merge an element into the one of its name and id; ``can-create`` makes it where there is none."""
        place, options = _options(section, xpath, can_create, multiple, dry_run)
        self.world.cib.modify(_input(xml), place, options, self._author(peer, client))

    @command
    def cib_replace(
        self,
        peer: Peer,
        xml: str | None = None,
        section: str | None = None,
        xpath: str | None = None,
        can_create: bool = False,
        multiple: bool = False,
        dry_run: bool = False,
        local: bool = False,
        client: _Client = "",
    ) -> None:
        """Put an element in the place of the one of its name and id, or a whole CIB in the place of the
        present one, which must not be newer."""
        place, options = _options(section, xpath, can_create, multiple, dry_run)
        self.world.cib.replace(_input(xml), place, options, self._author(peer, client))

    @command
    def cib_delete(
        self,
        peer: Peer,
        xml: str | None = None,
        section: str | None = None,
        xpath: str | None = None,
        multiple: bool = False,
        dry_run: bool = False,
        local: bool = False,
        client: _Client = "",
    ) -> None:
        """Remove the first element with the name and attributes of ``xml``, or the first that an XPath finds;
        with ``multiple`` all of these. It is no error when there is none."""
        place, options = _options(section, xpath, False, multiple, dry_run)
        pattern = None if xml is None else parse(xml)
        self.world.cib.delete(pattern, place, options, self._author(peer, client))

    @command
    def cib_bump(self, peer: Peer, dry_run: bool = False, client: _Client = "") -> None:
        """Count the CIB's epoch up."""
        self.world.cib.bump(Options(dry_run=dry_run), self._author(peer, client))

    @command
    def cib_erase(self, peer: Peer, dry_run: bool = False, client: _Client = "") -> None:
        """Begin with an empty CIB. The cluster writes into it at once what only it knows."""
        self.world.cib.erase(Options(dry_run=dry_run), self._author(peer, client))

    @command
    def cib_upgrade(self, peer: Peer, dry_run: bool = False, client: _Client = "") -> None:
        """Let the latest schema hold. It is an error when it does already."""
        self.world.cib.upgrade(Options(dry_run=dry_run), self._author(peer, client))

    @command
    def cib_apply_diff(
        self, peer: Peer, xml: str, dry_run: bool = False, local: bool = False, client: _Client = ""
    ) -> None:
        """Change the CIB by a difference, ``<diff format="2">``, made for the version that it has."""
        self.world.cib.apply_diff(parse(xml), Options(dry_run=dry_run), self._author(peer, client))

    @command(access="read")
    def graph(self, cib: str) -> dict[str, JSON]:
        """Tell what would be done so that a cluster is as this CIB wants it: a transition graph.

        ``input`` is the name that a file of the CIB would have; none is written.
        """
        root = parse(cib)
        if root.tag != "cib" or root.find("configuration") is None:
            raise failure(errno.EINVAL, "this is no CIB")
        found = schedule(root)
        self.graphs += 1
        kind = "error" if found.errors else "input"
        return {
            "graph": dump(found.to_xml(self.graphs - 1, properties(root))),
            "input": f"/var/lib/pacemaker/pengine/pe-{kind}-{self.graphs - 1}.bz2",
            "graph-errors": 0,
            "graph-warnings": 0,
            "config-errors": len(found.errors),
            "config-warnings": 0,
        }

    def _author(self, peer: Peer, client: str) -> Author:
        return Author(self.world.name, client or "bridle", user_of(peer))


def user_of(peer: Peer) -> str:
    """The name of whoever sent a command, as the CIB keeps it; empty where nobody knows."""
    if peer.user is not None:
        return peer.user
    if peer.uid is None:
        return ""
    try:
        return pwd.getpwuid(peer.uid).pw_name
    except KeyError:
        return str(peer.uid)


def _place(section: str | None, xpath: str | None) -> tuple[str | None, bool]:
    if section is not None and xpath is not None:
        raise ArgumentError("'section' and 'xpath' exclude each other", argument="xpath")
    return (section, False) if xpath is None else (xpath, True)


def _options(
    section: str | None, xpath: str | None, can_create: bool, multiple: bool, dry_run: bool
) -> tuple[str | None, Options]:
    place, by_path = _place(section, xpath)
    return place, Options(xpath=by_path, can_create=can_create, multiple=multiple, dry_run=dry_run)


def _input(xml: str | None) -> Node:
    if xml is None:
        raise failure(errno.EINVAL, "missing argument 'xml'")
    return parse(xml)
