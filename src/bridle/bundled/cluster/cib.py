"""The cluster's information base: one XML document with a version, and all that may be done to it.

Every change works on a copy, is checked, numbered, and then holds, or nothing has happened. What is in
``configuration`` counts as ``epoch``, everything else as ``num_updates``.
"""

from __future__ import annotations

import errno
import time
from collections.abc import Callable, Iterable

from msgspec import Struct

from bridle.bundled.cluster import patchset
from bridle.bundled.cluster.failure import (
    DIFF_FAILED,
    DIFF_RESYNC,
    OLD_DATA,
    SCHEMA_UNCHANGED,
    failure,
)
from bridle.bundled.cluster.merge import add, plain, remove_matching, replace_matching, update_matching
from bridle.bundled.cluster.schema import check
from bridle.bundled.cluster.tracking import Tracker
from bridle.bundled.cluster.tree import Node, copy_of, dump, make, shell
from bridle.bundled.cluster.xpath import path_of, select
from bridle.core.errors import CommandError

__all__ = ["Author", "Change", "Cib", "Options", "SCHEMA", "empty"]

SCHEMA = "pacemaker-3.9"
"""The schema that is said to hold: Pacemaker 2.1.5's latest."""

_CONFIGURATION = "configuration"
# Where each section stands; what has another name is the whole, as in Pacemaker.
_SECTIONS = {
    "configuration": "",
    "status": "",
    "crm_config": _CONFIGURATION,
    "nodes": _CONFIGURATION,
    "resources": _CONFIGURATION,
    "constraints": _CONFIGURATION,
    "rsc_defaults": _CONFIGURATION,
    "op_defaults": _CONFIGURATION,
    "acls": _CONFIGURATION,
    "fencing-topology": _CONFIGURATION,
    "tags": _CONFIGURATION,
    "alerts": _CONFIGURATION,
}
_MANDATORY = ("crm_config", "nodes", "resources", "constraints")


class Author(Struct, frozen=True):
    """Who changes the CIB: what its root remembers of the last change of the configuration."""

    origin: str = ""
    client: str = ""
    user: str = ""


class Options(Struct, frozen=True, kw_only=True):
    """How a change is meant. ``multiple`` does what an XPath finds to all of it, not to the first alone."""

    xpath: bool = False
    can_create: bool = False
    multiple: bool = False
    dry_run: bool = False


class Change(Struct, frozen=True):
    """A change that holds: ``update`` is what it was made of, ``difference`` what it came to."""

    operation: str
    section: str | None
    update: Node | None
    difference: Node
    generation: Node
    configuration: bool


def empty(epoch: int = 0, admin_epoch: int = 0, feature_set: str = "") -> Node:
    """A CIB with nothing in it."""
    return make(
        "cib",
        {
            "crm_feature_set": feature_set or None,
            "validate-with": SCHEMA,
            "epoch": epoch,
            "num_updates": 0,
            "admin_epoch": admin_epoch,
        },
        make(_CONFIGURATION, None, *(make(name) for name in _MANDATORY)),
        make("status"),
    )


class Cib:
    """``clock`` tells the seconds since 1970. ``changed`` is called with every change, once it holds;
    ``keep`` before a configuration does, which does not if that raises."""

    def __init__(self, root: Node, clock: Callable[[], float]) -> None:
        self.root: Node = root
        self._clock = clock
        self.changed: Callable[[Change], None] = lambda change: None
        self.keep: Callable[[Node], None] = lambda root: None

    def version(self) -> tuple[int, ...]:
        """``admin_epoch``, ``epoch``, ``num_updates``."""
        return _version(self.root)

    def section(self, name: str | None, root: Node | None = None) -> Node | None:
        """A section by its name; the whole where it has another; None where the CIB is without it."""
        return _section(self.root if root is None else root, name)

    def query(
        self,
        section: str | None = None,
        *,
        xpath: bool = False,
        no_children: bool = False,
        addresses: bool = False,
    ) -> Node:
        """Find a section, or with ``xpath`` what the expression in ``section`` finds: the element itself, or
        several in an ``<xpath-query>``.

        Raises:
            CommandError: there is none; ENXIO.
        """
        if not xpath:
            found = self.section(section)
            if found is None:
                raise failure(errno.ENXIO)
            return shell(found) if no_children else found
        nodes = select(self.root, section or "")
        if not nodes:
            raise failure(errno.ENXIO)
        if addresses:
            return make(
                "xpath-query", None, *(make("xpath-query-path", {"id": path_of(node)}) for node in nodes)
            )
        if len(nodes) == 1:
            return shell(nodes[0]) if no_children else nodes[0]
        return make("xpath-query", None, *(shell(node) if no_children else copy_of(node) for node in nodes))

    def modify(self, update: Node, section: str | None, options: Options, author: Author) -> Node:
        """Merge an element into its like.

        Raises:
            CommandError: there is none like it, and none may be created; ENXIO.
        """
        tracker = Tracker(self.root)
        try:
            _modify(self.root, update, section, options, tracker)
            self._settle(tracker, "cib_modify", section, update, options, author)
        except BaseException:
            tracker.undo()
            raise
        return self.root

    def discard(self, nodes: Iterable[Node], author: Author) -> None:
        """Remove elements of this CIB."""
        tracker = Tracker(self.root)
        try:
            for node in list(nodes):
                tracker.remove(node)
            self._settle(tracker, "cib_delete", None, None, Options(), author)
        except BaseException:
            tracker.undo()
            raise

    def _settle(
        self,
        tracker: Tracker,
        operation: str,
        section: str | None,
        update: Node | None,
        options: Options,
        author: Author,
    ) -> None:
        """Number what was done in place, check it, and let it hold; or take it back."""
        root = self.root
        configuration = tracker.touches(root.find(_CONFIGURATION))
        if configuration or tracker.frame_touched:
            check(root)
        if not tracker.changed:
            return
        _version(root)
        if configuration:
            tracker.set(root, "epoch", str(_number_of(root, "epoch") + 1))
            tracker.set(root, "num_updates", "0")
        else:
            tracker.set(root, "num_updates", str(_number_of(root, "num_updates") + 1))
        patch = tracker.difference()
        if options.dry_run:
            tracker.undo()
            return
        if configuration:
            self._sign(root, author, lambda name, value: tracker.set(root, name, value))
        given = None if options.xpath else update
        self.changed(Change(operation, section, given, patch, shell(root), configuration))

    def _sign(self, root: Node, author: Author, write: Callable[[str, str], None]) -> None:
        """Remember who changed the configuration, and keep it."""
        write("cib-last-written", time.ctime(self._clock()))
        for name in ("origin", "client", "user"):
            write(f"update-{name}", getattr(author, name))
        self.keep(root)

    def create(self, new: Node, section: str | None, options: Options, author: Author) -> Node:
        """Put an element into a section.

        Raises:
            CommandError: it is there already; EEXIST, and what failed in the answer.
        """
        return self._change("cib_create", section, new, options, author, _create)

    def replace(self, new: Node, section: str | None, options: Options, author: Author) -> Node:
        """Put an element in the place of its like, or a CIB in the place of the whole.

        Raises:
            CommandError: there is none like it; or the new CIB is older than the present one.
        """
        whole = new.tag == "cib"
        return self._change(
            "cib_replace", section, new, options, author, _replace_whole if whole else _replace
        )

    def delete(self, pattern: Node | None, section: str | None, options: Options, author: Author) -> Node:
        """Remove what has the tag and the attributes of a pattern, or what an XPath finds. It is no failure
        when there is nothing."""
        return self._change("cib_delete", section, pattern, options, author, _delete)

    def bump(self, options: Options, author: Author) -> Node:
        """Count the epoch up."""

        def count(root: Node, *_: object) -> Node:
            root.set("epoch", str(int(root.get("epoch", "0")) + 1))
            root.set("num_updates", "0")
            return root

        return self._change("cib_bump", None, None, options, author, count, numbered=False)

    def erase(self, options: Options, author: Author) -> Node:
        """Begin with an empty CIB, of the next ``admin_epoch``."""

        def begin(root: Node, *_: object) -> Node:
            new = empty()
            new.attrib.clear()
            new.attrib.update(root.attrib)
            for name in ("admin_epoch", "epoch"):
                new.set(name, str(int(root.get(name, "0")) + 1))
            new.set("num_updates", "0")
            return new

        return self._change("cib_erase", None, None, options, author, begin, numbered=False)

    def upgrade(self, options: Options, author: Author) -> Node:
        """Say that the latest schema holds.

        Raises:
            CommandError: it does already.
        """

        def validate(root: Node, *_: object) -> Node:
            if root.get("validate-with") == SCHEMA:
                raise failure(SCHEMA_UNCHANGED)
            root.set("validate-with", SCHEMA)
            return root

        return self._change("cib_upgrade", None, None, options, author, validate)

    def apply_diff(self, patch: Node, options: Options, author: Author) -> Node:
        """Change the CIB by a difference (``<diff format="2">``).

        Raises:
            CommandError: it is made for another version, or does not fit.
        """

        def patched(root: Node, *_: object) -> Node:
            if patch.tag != "diff" or patch.get("format") != "2":
                raise failure(errno.EINVAL, 'a difference is <diff format="2">')
            source, target = patch.find("version/source"), patch.find("version/target")
            if source is None or target is None:
                raise failure(DIFF_FAILED)
            wanted, present = _version(source), _version(root)
            if wanted != present:
                raise failure(DIFF_FAILED if wanted < present else DIFF_RESYNC)
            patchset.apply(patch, root)
            for name in patchset.VERSIONS:
                root.set(name, target.get(name, "0"))
            return root

        return self._change("cib_apply_diff", None, patch, options, author, patched, numbered=False)

    def _change(
        self,
        operation: str,
        section: str | None,
        given: Node | None,
        options: Options,
        author: Author,
        work: Callable[[Node, Node | None, str | None, Options], Node],
        *,
        numbered: bool = True,
    ) -> Node:
        """Do the work on a copy, and let it hold. What the CIB is then, whether or not it does."""
        before = self.root
        after = work(copy_of(before), given, section, options)
        check(after)
        configuration = _differs(before.find(_CONFIGURATION), after.find(_CONFIGURATION))
        if numbered and _version(after) <= _version(before):
            _number(before, after, configuration)
        patch = patchset.difference(before, after)
        if patch is None or options.dry_run:
            return after
        if configuration or operation in ("cib_bump", "cib_erase"):
            self._sign(after, author, after.set)
        self.root = after
        update = None if given is None or options.xpath else given
        self.changed(Change(operation, section, update, patch, shell(after), configuration))
        return after


def _version(node: Node) -> tuple[int, ...]:
    numbers = []
    for name in patchset.VERSIONS:
        text = node.get(name, "0")
        if not (text.isascii() and text.isdecimal() and len(text) < 19):
            raise failure(errno.EINVAL, f"{name} is no number: '{text[:40]}'")
        numbers.append(int(text))
    return tuple(numbers)


def _number(before: Node, after: Node, configuration: bool) -> None:
    if not _differs(before, after):
        return
    if configuration:
        after.set("epoch", str(int(before.get("epoch", "0")) + 1))
        after.set("num_updates", "0")
    else:
        after.set("num_updates", str(int(before.get("num_updates", "0")) + 1))


def _differs(before: Node | None, after: Node | None) -> bool:
    if before is None or after is None:
        return before is not after
    return dump(before) != dump(after)


def _section(root: Node, name: str | None) -> Node | None:
    place = _SECTIONS.get(name or "")
    if name is None or place is None:
        return root
    return root.find(f"{place}/{name}" if place else name)


def _number_of(root: Node, name: str) -> int:
    return int(root.get(name, "0"))


def _found(root: Node, xpath: str | None, multiple: bool) -> list[Node]:
    nodes = select(root, xpath or "")
    return nodes if multiple else nodes[:1]


def _input(given: Node | None) -> Node:
    if given is None:
        raise failure(errno.EINVAL, "there is no XML to do it with")
    return given


def _modify(root: Node, given: Node | None, section: str | None, options: Options, tracker: Tracker) -> None:
    changes = _input(given)
    if options.xpath:
        places = _found(root, section, options.multiple)
    else:
        found = _section(root, section)
        places = [found if found is not None else _begun_section(root, section, tracker)]
    if not places:
        raise failure(errno.ENXIO)
    for place in places:
        if not update_matching(place, changes, tracker):
            if not options.can_create:
                raise failure(errno.ENXIO)
            tracker.append(place, plain(changes))


def _begun_section(root: Node, name: str | None, tracker: Tracker) -> Node:
    assert name is not None
    parent = root.find(_SECTIONS[name]) if _SECTIONS[name] else root
    if parent is None:
        raise failure(errno.EINVAL)
    begun = make(name)
    tracker.append(parent, begun)
    return begun


def _create(root: Node, given: Node | None, section: str | None, options: Options) -> Node:
    new = _input(given)
    if options.xpath:
        places = _found(root, section, multiple=False)
        if not places:
            raise failure(errno.ENXIO)
        places[0].append(plain(new))
        return root
    if section not in _SECTIONS or new.tag == "cib":
        _modify(root, new, None, Options(can_create=options.can_create), Tracker(root))
        return root
    place = _section(root, section)
    if place is None:
        place = _begun_section(root, section, Tracker(root))
    for one in list(new) if new.tag == section else [new]:
        try:
            add(place, one)
        except CommandError as error:
            raise _failed(one, error) from error
    return root


def _failed(one: Node, error: CommandError) -> CommandError:
    entry = make(
        "failed_update",
        {
            "id": one.get("id"),
            "object_type": one.tag,
            "operation": "cib_create",
            "reason": error.text,
        },
        copy_of(one),
    )
    return failure(errno.EEXIST, arguments={"cib": dump(make("failed", None, entry))})


def _replace_whole(root: Node, given: Node | None, section: str | None, options: Options) -> Node:
    new = copy_of(_input(given))
    if _version(new) < _version(root):
        raise failure(OLD_DATA)
    for name in patchset.VERSIONS:
        new.set(name, new.get(name, "0"))
    return new


def _replace(root: Node, given: Node | None, section: str | None, options: Options) -> Node:
    new = _input(given)
    if options.xpath:
        places = _found(root, section, options.multiple)
        for place in places:
            parent = place.getparent()
            if parent is None:
                raise failure(errno.EINVAL, "the whole is replaced by a CIB alone")
            parent.replace(place, copy_of(new))
        if not places:
            raise failure(errno.ENXIO)
        return root
    found = _section(root, section)
    if found is None or not replace_matching(found, new):
        raise failure(errno.ENXIO)
    return root


def _delete(root: Node, given: Node | None, section: str | None, options: Options) -> Node:
    if options.xpath:
        for node in _found(root, section, options.multiple):
            parent = node.getparent()
            if parent is None:
                raise failure(errno.EINVAL, "the whole cannot be deleted; it can be erased")
            if node.getroottree().getroot() is root:
                parent.remove(node)
        return root
    pattern = _input(given)
    place = _section(root, section)
    if place is not None:
        for one in list(pattern) if pattern.tag == section else [pattern]:
            remove_matching(place, one)
    return root
