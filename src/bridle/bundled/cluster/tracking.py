"""Changes made to a CIB in place: what they come to, and how they are taken back.

Copying a CIB of a megabyte for every word of every agent would keep the daemon from everything else.
"""

from __future__ import annotations

from bridle.bundled.cluster.patchset import created, deleted, modified, whole
from bridle.bundled.cluster.tree import Node
from bridle.bundled.cluster.xpath import path_of

__all__ = ["Tracker"]


class Tracker:
    """Remembers what was done to a tree, as long as it is done through it."""

    def __init__(self, root: Node) -> None:
        self._root = root
        self._version = {name: root.get(name, "0") for name in ("admin_epoch", "epoch", "num_updates")}
        self._attributes: dict[Node, dict[str, str]] = {}
        self._created: dict[Node, None] = {}
        self._removed: list[tuple[Node, int, Node, str]] = []

    @property
    def changed(self) -> bool:
        """Whether anything is different."""
        return bool(self._created or self._removed) or any(
            dict(node.attrib) != before for node, before in self._attributes.items()
        )

    def touches(self, part: Node | None) -> bool:
        """Whether anything in a part of the tree, or the part itself, was changed."""
        touched = [
            *self._created,
            *(node for node, before in self._attributes.items() if dict(node.attrib) != before),
        ]
        touched += [parent for parent, _, _, _ in self._removed]
        return part is not None and any(
            node is part or any(above is part for above in node.iterancestors()) for node in touched
        )

    @property
    def frame_touched(self) -> bool:
        """Whether the root has got or lost an element."""
        return any(node.getparent() is self._root for node in self._created) or any(
            parent is self._root for parent, _, _, _ in self._removed
        )

    def set(self, node: Node, name: str, value: str) -> None:
        """Set an attribute."""
        if node.get(name) != value:
            self._attributes.setdefault(node, {str(key): str(old) for key, old in node.attrib.items()})
            node.set(name, value)

    def append(self, parent: Node, child: Node) -> None:
        """Put an element beside the others."""
        parent.append(child)
        if not self._is_new(parent):
            self._created[child] = None

    def remove(self, node: Node) -> None:
        """Take an element away."""
        parent = node.getparent()
        assert parent is not None
        if node in self._created:
            del self._created[node]
        elif not self._is_new(parent):
            self._removed.append((parent, parent.index(node), node, path_of(node)))
        parent.remove(node)

    def _is_new(self, node: Node) -> bool:
        return bool(self._created) and (
            node in self._created or any(above in self._created for above in node.iterancestors())
        )

    def difference(self) -> Node:
        """What it comes to. The root's version counts as it is now."""
        changes = [deleted(path) for _, _, _, path in self._removed]
        order = sorted(self._attributes, key=lambda node: node is not self._root)
        for node in order:
            if not self._is_new(node):
                change = modified(self._attributes[node], node)
                if change is not None and self._stands(node):
                    changes.append(change)
        changes.extend(created(node) for node in self._created)
        return whole(self._version, self._root, changes)

    def _stands(self, node: Node) -> bool:
        return node is self._root or any(above is self._root for above in node.iterancestors())

    def undo(self) -> None:
        """Let everything be as it was."""
        for node in self._created:
            parent = node.getparent()
            if parent is not None:
                parent.remove(node)
        for parent, index, node, _ in reversed(self._removed):
            parent.insert(index, node)
        for node, attributes in self._attributes.items():
            node.attrib.clear()
            node.attrib.update(attributes)
