"""Bridle: a management API for long-running daemons.

Everything public is a name of this module; names load what they need on first use, so that a program that
only sends a command never imports asyncio.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from bridle.core.version import VERSION

if TYPE_CHECKING:
    from bridle.client import connect, connect_async
    from bridle.client.asynchronous import AsyncClient
    from bridle.client.blocking import Client
    from bridle.core.errors import (
        ArgumentError,
        BridleError,
        CommandError,
        ConfigurationError,
        DeadlineExceeded,
        DeclarationError,
        EndpointError,
        ForbiddenError,
        LocalProtocolError,
        ProtocolError,
        RemoteProtocolError,
        TooManyError,
        TransportError,
        UnknownCommandError,
    )
    from bridle.core.events import EventLog, Gap
    from bridle.core.manager import CommandManager, command
    from bridle.core.messages import JSON, Command, Event, Peer, Response
    from bridle.core.results import ExitStatus, Result
    from bridle.daemon.daemon import Daemon
    from bridle.daemon.running import run, serve
    from bridle.net.endpoint import Endpoint
    from bridle.server import Server

# From what one meets first to what one may never need; docs/reference.md is generated in this order.
__all__ = [
    "Daemon",
    "command",
    "run",
    "serve",
    "connect",
    "connect_async",
    "Client",
    "AsyncClient",
    "Command",
    "Response",
    "Result",
    "Event",
    "Peer",
    "JSON",
    "CommandManager",
    "Server",
    "Endpoint",
    "EventLog",
    "Gap",
    "ExitStatus",
    "BridleError",
    "CommandError",
    "ForbiddenError",
    "TooManyError",
    "ArgumentError",
    "ConfigurationError",
    "DeclarationError",
    "EndpointError",
    "ProtocolError",
    "LocalProtocolError",
    "RemoteProtocolError",
    "TransportError",
    "DeadlineExceeded",
    "UnknownCommandError",
]

__version__ = VERSION

_MODULES = {
    "bridle.client": ("connect", "connect_async"),
    "bridle.client.asynchronous": ("AsyncClient",),
    "bridle.client.blocking": ("Client",),
    "bridle.core.errors": tuple(name for name in __all__ if name.endswith(("Error", "Exceeded"))),
    "bridle.core.events": ("EventLog", "Gap"),
    "bridle.core.manager": ("CommandManager", "command"),
    "bridle.core.messages": ("JSON", "Command", "Event", "Peer", "Response"),
    "bridle.core.results": ("ExitStatus", "Result"),
    "bridle.daemon.daemon": ("Daemon",),
    "bridle.daemon.running": ("run", "serve"),
    "bridle.net.endpoint": ("Endpoint",),
    "bridle.server": ("Server",),
}
_HOMES = {name: module for module, names in _MODULES.items() for name in names}


def __getattr__(name: str) -> object:
    if name == "pacemaker":
        return importlib.import_module("bridle.pacemaker")
    if name not in _HOMES:
        raise AttributeError(f"module 'bridle' has no attribute {name!r}")
    value: object = getattr(importlib.import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
