"""The service gate: whether a daemon serves, and who said that it should not.

It does what Kea's NetworkState does since 2.7.1 (``facts/kea.md`` §4): several parties, called origins, can
disable the service; it is on only when all of them have enabled it again. Each may say for how long.
"""

from __future__ import annotations

import asyncio
from typing import Final

from msgspec import UNSET

from bridle.core.errors import ArgumentError
from bridle.core.manager import CommandManager
from bridle.core.messages import JSON, Command, Response

__all__ = ["DB", "HA_LOCAL", "HA_REMOTE", "USER", "ServiceGate"]

USER: Final = 1
"""The administrator."""
HA_LOCAL: Final = 1000
"""The first of the numbers of this server's own high availability services."""
HA_REMOTE: Final = 2000
"""The first of those of partners'; ``ha-partner`` is this one."""
DB: Final = 3000
"""The first of those of database connections."""

_NAMES = {"user": USER, "ha-partner": HA_REMOTE}


class ServiceGate:
    """Open while nobody has closed it. Used on one event loop; :attr:`open` may be read by any thread."""

    def __init__(self) -> None:
        self.open: bool = True
        self._disabled: set[int] = set()
        self._timers: dict[int, asyncio.TimerHandle] = {}
        self._protocol = "DHCP"

    def disable(self, origin: int = USER, period: float | None = None) -> None:
        """Close the gate for an origin. After ``period`` seconds it opens by itself; one that was asked for
        earlier still holds where none is given."""
        if period is not None:
            self._cancel(origin)
            loop = asyncio.get_running_loop()
            self._timers[origin] = loop.call_later(period, self.enable, origin)
        self._disabled.add(origin)
        self.open = False

    def enable(self, origin: int = USER) -> None:
        """Open the gate as far as an origin goes."""
        self._cancel(origin)
        self._disabled.discard(origin)
        self.open = not self._disabled

    def reconfigured(self) -> None:
        """A new configuration holds: all but the user begin anew."""
        for origin in [origin for origin in {*self._disabled, *self._timers} if origin >= HA_LOCAL]:
            self.enable(origin)

    def close(self) -> None:
        """Cancel all timers."""
        for origin in list(self._timers):
            self._cancel(origin)

    def _cancel(self, origin: int) -> None:
        timer = self._timers.pop(origin, None)
        if timer is not None:
            timer.cancel()

    def status(self) -> dict[str, JSON]:
        """What ``status-get`` tells as ``dhcp-state``."""
        disabled = sorted(self._disabled)
        local: list[JSON] = [origin for origin in disabled if HA_LOCAL <= origin < HA_REMOTE]
        remote: list[JSON] = [origin for origin in disabled if HA_REMOTE <= origin < DB]
        database: list[JSON] = [origin for origin in disabled if origin >= DB]
        return {
            "disabled-by-db-connection": database,
            "disabled-by-local-command": local,
            "disabled-by-remote-command": remote,
            "disabled-by-user": USER in self._disabled,
            "globally-disabled": not self.open,
        }

    def register(self, manager: CommandManager, protocol: str = "DHCP") -> None:
        """Answer ``dhcp-disable`` and ``dhcp-enable``; ``protocol`` is named in the answer."""
        self._protocol = protocol
        manager.register_command("dhcp-disable", self.dhcp_disable, access="write")
        manager.register_command("dhcp-enable", self.dhcp_enable, access="write")

    def dhcp_disable(self, command: Command) -> Response:
        """Stop serving, without an end or for ``max-period`` seconds. ``origin`` (``user``, the default, or
        ``ha-partner``, or a number) or ``origin-id`` says for whom."""
        arguments = _map_of(command, "dhcp-disable")
        wrong: list[str] = []
        period = _period(arguments, wrong)
        origin = _origin(arguments, wrong)
        if wrong:
            raise ArgumentError("".join(wrong))
        self.disable(origin, period)
        lasting = f" for {period} seconds" if period is not None else ""
        return Response(text=f"{self._protocol} service disabled{lasting}")

    def dhcp_enable(self, command: Command) -> Response:
        """Serve again, as far as ``origin`` or ``origin-id`` goes."""
        arguments = _map_of(command, "dhcp-enable")
        wrong: list[str] = []
        origin = _origin(arguments, wrong)
        if wrong:
            raise ArgumentError("".join(wrong))
        self.enable(origin)
        return Response(text="DHCP service successfully enabled")


def _map_of(command: Command, name: str) -> dict[str, JSON]:
    arguments = command.arguments
    if arguments is UNSET:
        return {}
    if not isinstance(arguments, dict):
        raise ArgumentError(f"arguments for the '{name}' command must be a map")
    return arguments


def _period(arguments: dict[str, JSON], wrong: list[str]) -> int | None:
    if "max-period" not in arguments:
        return None
    period = arguments["max-period"]
    if type(period) is not int:
        wrong.append("'max-period' argument must be a number")
        return None
    if period <= 0:
        wrong.append("'max-period' must be positive integer")
        return None
    return period


def _origin(arguments: dict[str, JSON], wrong: list[str]) -> int:
    # Kea joins the texts of all errors without a separator.
    if "origin-id" in arguments:
        number = arguments["origin-id"]
        if type(number) is int:
            return _known(number, wrong)
        wrong.append("'origin-id' argument must be a number")
        return USER
    origin = arguments.get("origin", "user")
    if type(origin) is int:
        return _known(origin, wrong)
    if not isinstance(origin, str):
        wrong.append("'origin' argument must be a string or a number")
    elif origin in _NAMES:
        return _NAMES[origin]
    else:
        wrong.append(f"invalid value used for 'origin' parameter: {origin or '(empty string)'}")
    return USER


def _known(number: int, wrong: list[str]) -> int:
    if number == USER or number >= HA_LOCAL:
        return number
    wrong.append(f"invalid value used for 'origin' parameter: {number}")
    return USER
