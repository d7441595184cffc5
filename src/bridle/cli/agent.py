"""``bridle agent -c FILE``: run the agent from Kea's ``kea-ctrl-agent.conf``."""

from __future__ import annotations

import click

from bridle.agent.agent import Agent
from bridle.cli.failure import Failure
from bridle.cli.listening import allow_unauthenticated_option
from bridle.cli.logs import log_to_stderr
from bridle.core.errors import BridleError, EndpointError
from bridle.core.messages import HTTP_UNIX
from bridle.core.results import ExitStatus
from bridle.daemon.configuration import ConfigurationOwner
from bridle.daemon.document import read_file
from bridle.daemon.running import Running, run
from bridle.net.endpoint import Endpoint

__all__ = ["command"]


@click.command("agent")
@click.option("-c", "file", metavar="FILE", help="The configuration file, as kea-ctrl-agent takes it.")
@click.option("-t", "test", metavar="FILE", help="Check a configuration file and exit.")
@click.option("-d", "debug", is_flag=True, help="Log in detail.")
@click.option(
    "--listen",
    metavar="HOST:PORT|ENDPOINT",
    help="Listen here in place of the file's http-host and http-port, or on http+unix:PATH alone.",
)
@allow_unauthenticated_option
def command(
    file: str | None, test: str | None, debug: bool, listen: str | None, allow_unauthenticated: bool
) -> int:
    """Run the agent: one HTTP endpoint that passes commands on to the daemons of a site.

    It starts from an unchanged kea-ctrl-agent.conf. SIGHUP reads the file again, SIGTERM ends it.
    """
    log_to_stderr("DEBUG" if debug else "INFO")
    if test is not None:
        return _test(test, _address(listen), allow_unauthenticated)
    if file is None:
        raise click.UsageError("a configuration file is needed: -c FILE")
    run(
        Agent(listen=_address(listen)),
        configuration_file=file,
        on_ready=_tell,
        allow_unauthenticated=allow_unauthenticated,
    )
    return 0


def _test(file: str, listen: tuple[str, int] | Endpoint | None, allow_unauthenticated: bool) -> int:
    try:
        agent = Agent(listen=listen)
        owner = ConfigurationOwner(agent, file)
        owner.allow_unauthenticated = allow_unauthenticated
        owner.test(read_file(file, agent.root))
    except BridleError as error:
        raise Failure(f"{error}", ExitStatus.ERROR) from error
    click.echo(f"{file}: the configuration can be used")
    return 0


def _address(listen: str | None) -> tuple[str, int] | Endpoint | None:
    if listen is None:
        return None
    try:
        if listen.startswith(f"{HTTP_UNIX}:"):
            return Endpoint.parse(listen)
        endpoint = Endpoint.parse(f"tcp:{listen}")
    except EndpointError as error:
        raise click.UsageError(f"--listen takes HOST:PORT or {HTTP_UNIX}:PATH, not '{listen}'") from error
    return endpoint.host, endpoint.port


def _tell(running: Running) -> None:
    for channel in running.server.channels:
        click.echo(f"bridle agent: listening on {channel.endpoint}", err=True)
