"""Options of the command lines that listen."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import click

__all__ = ["allow_unauthenticated_option"]

F = TypeVar("F", bound=Callable[..., object])


def allow_unauthenticated_option(function: F) -> F:
    """Add the option that lets everybody in."""
    option = click.option(
        "--allow-unauthenticated",
        is_flag=True,
        help="Listen where other machines can connect, even if everybody is let in.",
    )
    return option(function)
