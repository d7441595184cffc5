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

__all__ = ["Failure", "failure_of"]


class Failure(click.ClickException):
    """What keeps a command line from an answer, with the exit status that says which kind."""

    def __init__(self, text: str, status: ExitStatus) -> None:
        super().__init__(text)
        self.status = status

    def show(self, file: IO[Any] | None = None) -> None:
        """Print it on standard error."""
        click.echo(f"bridle: {plain(self.message)}", err=True)


def failure_of(error: BridleError) -> Failure:
    """The failure that an error of the client is."""
    if isinstance(error, DeadlineExceeded):
        return Failure(str(error), ExitStatus.TIMEOUT)
    if isinstance(error, EndpointError | ConfigurationError):
        return Failure(str(error), ExitStatus.USAGE)
    if isinstance(error, RemoteProtocolError):
        return Failure(str(error), ExitStatus.PROTOCOL)
    return Failure(str(error), ExitStatus.UNAVAILABLE)
