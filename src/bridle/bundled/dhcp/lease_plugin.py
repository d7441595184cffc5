"""A plugin for the agent: it answers the lease commands of DHCP services straight from their lease stores, so
that the daemons are not disturbed.

::

    "hooks-libraries": [ {
        "library": "bridle.bundled.dhcp.lease_plugin",
        "parameters": { "services": { "dhcp4": "/etc/bridle/dhcp4.conf" } }
    } ]

Each service's configuration file says where its leases are, and which subnets there are. The agent must be
allowed to read the store, and to write it for the commands that change something. What the daemon counts, or
has in memory, is not seen: ``lease4-resend-ddns`` and ``stat-lease4-get`` are passed on.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from bridle.bundled.dhcp.lease_commands import LeaseCommands4, LeaseCommands6
from bridle.bundled.dhcp.lease_databases import open_store4, open_store6
from bridle.bundled.dhcp.settings4 import read_settings4
from bridle.bundled.dhcp.settings6 import read_settings6
from bridle.core.errors import ConfigurationError
from bridle.core.manager import CommandManager
from bridle.core.messages import JSON, Command, Response
from bridle.daemon.document import read_file
from bridle.daemon.plugins import PluginContext

__all__ = ["load", "unload"]

_PASSED_ON = ("-resend-ddns", "stat-")

_stores: list[Any] = []


def load(context: PluginContext, parameters: Mapping[str, JSON]) -> None:
    """Open the stores of the services that ``parameters`` name.

    Raises:
        ConfigurationError: a configuration file cannot be read, or has leases in memory only.
        StoreError: a store cannot be opened.
    """
    services = parameters.get("services")
    if not isinstance(services, dict) or not services:
        raise ConfigurationError("'services' is a map of service names to configuration files")
    managers = {name: _manager(name, file) for name, file in services.items()}

    def answer(command: Command) -> Response | Awaitable[Response] | None:
        if len(command.services) != 1:
            return None
        manager = managers.get(command.services[0])
        if manager is None or manager.definition(command.name) is None or command.name == "list-commands":
            return None
        return manager.process_command(command)

    context.before_command(answer)


def unload() -> None:
    """Close the stores."""
    while _stores:
        _stores.pop().close()


def _manager(service: str, file: JSON) -> CommandManager:
    if not isinstance(file, str):
        raise ConfigurationError(f"service '{service}': the name of a configuration file is a string")
    commands = _commands4(file) if _protocol(file) == 4 else _commands6(file)
    manager = CommandManager()
    for name, (handler, access) in commands.items():
        if not any(part in name for part in _PASSED_ON):
            manager.register_command(name, handler, access=access)  # type: ignore[arg-type]
    return manager


def _protocol(file: str) -> int:
    try:
        read_file(file, "Dhcp4")
    except ConfigurationError:
        return 6
    return 4


_Commands = dict[str, tuple[Callable[..., Any], str]]


def _commands4(file: str) -> _Commands:
    settings = read_settings4(read_file(file, "Dhcp4"))
    _check(file, persist=settings.lease_database.persist)
    store = open_store4(settings.lease_database)
    _stores.append(store)
    return LeaseCommands4(lambda: store, lambda: settings.subnets).commands()


def _commands6(file: str) -> _Commands:
    settings = read_settings6(read_file(file, "Dhcp6"))
    _check(file, persist=settings.lease_database.persist)
    store = open_store6(settings.lease_database)
    _stores.append(store)
    return LeaseCommands6(lambda: store, lambda: settings.subnets).commands()


def _check(file: str, *, persist: bool) -> None:
    if not persist:
        raise ConfigurationError(f"{file}: the leases are in the daemon's memory only ('persist' is false)")
