"""Which client classes the sender of a message is in."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from bridle.bundled.dhcp.settings import ClientClass

__all__ = ["Classified", "classify", "known_classes"]


class Classified(Protocol):
    """A query, as far as classes go."""

    classes: set[str]


class _Reserved(Protocol):
    @property
    def client_classes(self) -> tuple[str, ...]: ...


def classify(query: Classified, vendor_class: bytes | None, tests: Sequence[ClientClass]) -> set[str]:
    """The classes that a message shows by itself: ALL, its vendor's, and those whose test it passes.

    Those that ask whether the client is known wait until that is found out.
    """
    query.classes = {"ALL"}
    if vendor_class:
        query.classes.add(f"VENDOR_CLASS_{vendor_class.decode('latin-1')}")
    _evaluate(query, tests, after_lookup=False)
    return query.classes


def known_classes(query: Classified, reservation: _Reserved | None, tests: Sequence[ClientClass]) -> None:
    """Add the classes that follow from the client's having a reservation, or none."""
    if reservation is None:
        query.classes.add("UNKNOWN")
    else:
        query.classes.add("KNOWN")
        query.classes.update(reservation.client_classes)
    _evaluate(query, tests, after_lookup=True)


def _evaluate(query: Classified, tests: Sequence[ClientClass], *, after_lookup: bool) -> None:
    for one in tests:
        if one.only_if_required or one.depends_on_known is not after_lookup:
            continue
        if one.test is not None and one.test(query):
            query.classes.add(one.name)
