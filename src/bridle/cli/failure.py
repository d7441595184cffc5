"""What a command line says when there is no answer, and the exit status that says which kind of failure it
is."""

from __future__ import annotations

from typing import IO, Any

import click

from bridle.cli.rendering import plain
from bridle.core.errors import (
    BridleError,
    ConfigurationError,
    DeadlineExceeded,
    EndpointError,
    RemoteProtocolError,
)
from bridle.core.results import ExitStatus

__all__ = ["Failure", "failure_of", "tell"]


class Failure(click.ClickException):
    """What keeps a command line from an answer, with the exit status that says which kind."""

    def __init__(self, text: str, status: ExitStatus) -> None:
        super().__init__(text)
        self.status = status

    def show(self, file: IO[Any] | None = None) -> None:
        """Print it on standard error."""
        tell(self.message)


def tell(text: str) -> None:
    """Say something on standard error, where no answers are."""
    click.echo(f"bridle: {plain(text)}", err=True)


def failure_of(error: BridleError, hint: str = "") -> Failure:
    """The failure that an error of the client is, and what to do about it."""
    return Failure(f"{error}; {hint}" if hint else str(error), _status_of(error))


def _status_of(error: BridleError) -> ExitStatus:
    if isinstance(error, DeadlineExceeded):
        return ExitStatus.TIMEOUT
    if isinstance(error, EndpointError | ConfigurationError):
        return ExitStatus.USAGE
    if isinstance(error, RemoteProtocolError):
        return ExitStatus.PROTOCOL
    return ExitStatus.UNAVAILABLE
