"""Requests to Pacemaker's launcher, ``pacemakerd`` (``facts/pacemaker.md`` §3)."""

from __future__ import annotations

import errno
from typing import ClassVar, Literal

from msgspec import Struct

from bridle.wire.pacemaker_messages import integer
from bridle.wire.pacemaker_requests import ControllerRequest, Done, failure
from bridle.wire.pacemaker_xml import Xml

__all__ = ["Alive", "LauncherPing", "Shutdown", "read_ping"]


class Alive(Struct, frozen=True, omit_defaults=True, rename="kebab"):
    """The answer to a ping. ``state`` is ``running``, ``init``, ``starting_daemons``, ``wait_for_ping``,
    ``shutting_down`` or ``shutdown_complete`` of the launcher; ``S_IDLE`` and its like of the controller.
    ``timestamp`` is when the launcher was last seen working, in seconds since 1970."""

    subsystem: str
    state: str
    result: str
    timestamp: int | None = None


def read_ping(carried: Xml) -> Alive:
    """Read a ``ping_response``."""
    return Alive(
        carried.get("crm_subsystem", ""),
        carried.get("pacemakerd_state", carried.get("crmd_state", "")),
        carried.get("result", ""),
        integer(carried, "crm-timestamp") if carried.get("crm-timestamp") else None,
    )


class LauncherPing(ControllerRequest[Alive], frozen=True):
    """Ask the launcher for its state, and when it last was seen working."""

    command: ClassVar[str] = "ping"
    access: ClassVar[Literal["read", "write"]] = "read"
    task: ClassVar[str] = "ping"
    system: ClassVar[str] = "pacemakerd"

    subsystem: Literal["pacemakerd"] = "pacemakerd"

    def read(self, reply: Xml, carried: Xml) -> Alive:
        """Read the state."""
        return read_ping(carried)


class Shutdown(ControllerRequest[Done], frozen=True):
    """Stop Pacemaker on this node: the launcher and all daemons, resources included."""

    command: ClassVar[str] = "shutdown"
    task: ClassVar[str] = "quit"
    system: ClassVar[str] = "pacemakerd"

    def read(self, reply: Xml, carried: Xml) -> Done:
        """A status other than 0 is that of whoever may not."""
        status = integer(carried, "op-status")
        if status:
            raise failure(errno.EACCES, "only root and hacluster may stop Pacemaker")
        return Done()
