"""Arguments of commands that answer wrong ones in Kea's own words, and ignore unknown ones."""

from __future__ import annotations

from msgspec import UNSET

from bridle.core.errors import ArgumentError
from bridle.core.messages import JSON, Command

__all__ = ["argument", "arguments_of"]


def arguments_of(command: Command) -> dict[str, JSON]:
    """The arguments as a map; none are an empty one.

    Raises:
        ArgumentError: they are no map.
    """
    arguments = command.arguments
    if arguments is UNSET:
        return {}
    if isinstance(arguments, dict):
        return arguments
    where = command.locate(["arguments"])
    raise ArgumentError(
        f"Error during command processing: get(string) called on a non-map Element in ({where})"
    )


def argument(command: Command, name: str) -> JSON:
    """An argument that must be there.

    Raises:
        ArgumentError: it is not.
    """
    arguments = arguments_of(command)
    if name not in arguments:
        raise ArgumentError(f"Missing mandatory '{name}' parameter.", argument=name)
    return arguments[name]
