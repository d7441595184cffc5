"""A masked configuration that comes back: each mask is replaced by the secret that it stands for.

Maps are compared by their keys. Items of lists are found by what they are: first by being the same but for
the masks, then by what identifies them (``name``, ``user``, ``id`` and the like). Where it is not clear which
secret is meant, the configuration is refused: a secret is neither lost nor given to something else.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
from msgspec import UNSET, Raw

from bridle.access.redaction import MASK, Redaction
from bridle.core.errors import ArgumentError, ConfigurationError
from bridle.core.messages import JSON, Command, Path

__all__ = ["holds_masks", "restored", "restored_command"]

# What items of lists are told apart by, the surest first. A socket of a port is identified by both.
_IDENTITIES: tuple[tuple[str, ...], ...] = (
    ("id",),
    ("name",),
    ("user",),
    ("user-file",),
    ("username",),
    ("socket-name",),
    ("socket-address", "socket-port"),
    ("subnet",),
    ("pool",),
    ("ip-address", "port"),
    ("ip-address",),
    ("address",),
    ("host", "port"),
    ("host",),
    ("url",),
    ("library",),
    ("interface",),
    ("type",),
)
# What two items cannot differ in and be the same one.
_NAMES = ("id", "name", "user", "user-file", "username")


def holds_masks(value: JSON) -> bool:
    """Whether there is anything to restore in a value."""
    if isinstance(value, str):
        return MASK in value
    if isinstance(value, dict):
        return any(map(holds_masks, value.values()))
    return isinstance(value, list) and any(map(holds_masks, value))


def restored(new: JSON, held: JSON, redaction: Redaction, path: Path = ()) -> JSON:
    """The new value with the secrets of the one that is held in the places of their masks; the same object
    where there are none. ``path`` leads to it, for errors.

    Raises:
        ConfigurationError: it is not clear which secret a mask stands for; the path leads to it.
    """
    return _Restorer(redaction).value(new, held, tuple(path))


def restored_command(command: Command, held: JSON, redaction: Redaction) -> Command:
    """A command that sends a configuration, with the secrets of the one that is held in the places of their
    masks; the same command where there are none. ``held`` is what the arguments stand for: the configuration
    under its root's name, as ``config-get`` tells it.

    Raises:
        ArgumentError: the arguments cannot be read, or it is not clear which secret a mask stands for; with
            its position in the peer's text.
    """
    body = command.body
    if isinstance(body, Raw):
        text = bytes(body)
        if MASK.encode() not in text and b"\\u" not in text:
            return command
    value = command.arguments
    try:
        if value is UNSET or not holds_masks(value):
            return command
        whole = restored(value, held, redaction)
    except RecursionError as error:
        raise ArgumentError("the arguments are nested too deeply") from error
    except ConfigurationError as error:
        path = ["arguments", *(error.path or ())]
        where = command.locate(path)
        raise ArgumentError(f"{error.text} ({where})" if where else error.text, path=path) from error
    return msgspec.structs.replace(command, body=whole)


class _Restorer:
    def __init__(self, redaction: Redaction) -> None:
        self._redaction = redaction

    def value(self, new: JSON, held: JSON, path: tuple[str | int, ...]) -> JSON:
        if isinstance(new, str):
            if MASK not in new:
                return new
            if isinstance(held, str) and self._redaction.masked(held) == new:
                return held
            raise _unclear(path)
        if not holds_masks(new):
            return new
        if isinstance(new, dict):
            return self._map(new, held if isinstance(held, dict) else {}, path)
        assert isinstance(new, list)
        return self._list(new, held if isinstance(held, list) else [], path)

    def _map(self, new: dict[str, JSON], held: dict[str, JSON], path: tuple[str | int, ...]) -> JSON:
        return {
            key: self._member(key, value, held, (*path, key)) if holds_masks(value) else value
            for key, value in new.items()
        }

    def _member(self, key: str, new: JSON, held: dict[str, JSON], path: tuple[str | int, ...]) -> JSON:
        known = held.get(key)
        if not self._redaction.is_secret(key):
            return self.value(new, known, path)
        if known is None or new != self._redaction.masked_member(key, known):
            raise _unclear(path)
        return known

    def _list(self, new: list[JSON], held: list[JSON], path: tuple[str | int, ...]) -> JSON:
        restoring: list[JSON] = list(new)
        pairs = self._pairs(new, held)
        for index, item in enumerate(new):
            if holds_masks(item):
                if index not in pairs:
                    raise _unclear((*path, index))
                restoring[index] = self.value(item, held[pairs[index]], (*path, index))
        return restoring

    def _pairs(self, new: list[JSON], held: list[JSON]) -> dict[int, int]:
        """Which item that is held each item that holds masks stands for, by index."""
        pairs = self._same(new, held)
        taken = set(pairs.values())
        free = {index: item for index, item in enumerate(held) if index not in taken}
        open_ones = {index: item for index, item in enumerate(new) if index not in pairs}
        for keys in _IDENTITIES:
            known, asked = _by_identity(free, keys), _by_identity(open_ones, keys)
            for identity, indices in asked.items():
                partners = known.get(identity, [])
                if len(indices) == len(partners) == 1 and not _contradict(new[indices[0]], held[partners[0]]):
                    pairs[indices[0]] = partners[0]
                    del open_ones[indices[0]], free[partners[0]]
        if len(new) == len(held) == 1 and not pairs and not _identified(new[0], held[0]):
            return {0: 0}
        return pairs

    def _same(self, new: list[JSON], held: list[JSON]) -> dict[int, int]:
        """Items that are the same but for their masks. Where several look the same, in their order, if there
        are as many as there were."""
        theirs = _by_look([self._redaction.masked(item) for item in held])
        pairs: dict[int, int] = {}
        for look, mine in _by_look(new).items():
            partners = theirs.get(look, [])
            if len(mine) == len(partners):
                pairs.update(zip(mine, partners, strict=True))
            elif partners and all(held[place] == held[partners[0]] for place in partners):
                pairs.update(dict.fromkeys(mine, partners[0]))
        return pairs


def _by_look(items: Sequence[JSON]) -> dict[bytes, list[int]]:
    found: dict[bytes, list[int]] = {}
    for index, item in enumerate(items):
        found.setdefault(msgspec.json.encode(item, order="deterministic"), []).append(index)
    return found


def _contradict(new: JSON, held: JSON) -> bool:
    assert isinstance(new, dict)
    assert isinstance(held, dict)
    return any(key in new and key in held and new[key] != held[key] for key in _NAMES)


def _identified(new: JSON, held: JSON) -> bool:
    """Whether two items can be told to be different ones, or are no maps."""
    if not isinstance(new, dict) or not isinstance(held, dict):
        return True
    return any(all(key in new and key in held for key in keys) for keys in _IDENTITIES)


def _by_identity(items: dict[int, JSON], keys: tuple[str, ...]) -> dict[tuple[object, ...], list[int]]:
    found: dict[tuple[object, ...], list[int]] = {}
    for index, item in items.items():
        if isinstance(item, dict):
            values = [item.get(key) for key in keys]
            if all(isinstance(value, str | int) and value != "" for value in values):
                found.setdefault(tuple(values), []).append(index)
    return found


def _unclear(path: tuple[str | int, ...]) -> ConfigurationError:
    place = ".".join(map(str, path))
    return ConfigurationError(
        f"the secret of '{place}' is masked, and it is not clear which one it stands for: give it anew",
        path=path,
    )
