"""What the DHCPv4 and the DHCPv6 daemon have in common: a server that goes on while everything around it is
exchanged.

A new configuration opens what it needs first: the lease database, sockets, plugins. Only when all of that is
there, the server is given the new settings, between two batches of messages; then what is not needed any more
is closed. Whatever fails leaves the old ones serving.
"""

from __future__ import annotations

import logging
from typing import Protocol, TypeVar

from bridle.bundled.dhcp.settings import DhcpSettings

__all__ = ["DhcpDaemon"]

_log = logging.getLogger("bridle.dhcp")

S = TypeVar("S", bound=DhcpSettings)
Store = TypeVar("Store", bound="Closable")
Arrival = TypeVar("Arrival")


class Closable(Protocol):
    """What a lease store is, as far as its life goes."""

    def close(self) -> None:
        """Close it."""
        ...
