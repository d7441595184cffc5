"""``bridle bngblasterctrl``: an agent that is BNG Blaster's controller, with the options of the original."""

from __future__ import annotations

import os
import shlex

import click

from bridle.agent.agent import Agent
from bridle.agent.bngblaster.settings import DIRECTORY, EXECUTABLE
from bridle.cli.logs import log_to_stderr
from bridle.core.errors import EndpointError
from bridle.core.messages import JSON
from bridle.daemon.document import Document
from bridle.daemon.running import Running, run
from bridle.net.endpoint import Endpoint

__all__ = ["command"]


@click.command("bngblasterctrl", context_settings={"help_option_names": ["-h", "--help"]})
@click.option("-a", "-addr", "address", default="127.0.0.1:8001", show_default=True, metavar="[HOST]:PORT")
@click.option("-d", "directory", default=DIRECTORY, show_default=True, metavar="DIR", help="The instances.")
@click.option(
    "-e",
    "executable",
    default=EXECUTABLE,
    show_default=True,
    metavar="COMMAND",
    help="What runs an instance; words, as in a shell.",
)
@click.option("-upload", "upload", is_flag=True, help="Allow uploads.")
@click.option(
    "--allow-unauthenticated",
    "unauthenticated",
    is_flag=True,
    help="Let whoever can reach it do everything, also from other machines.",
)
@click.option("-debug", "debug", is_flag=True, help="Log in detail.")
def command(
    address: str, directory: str, executable: str, upload: bool, unauthenticated: bool, debug: bool
) -> int:
    """Run instances of bngblaster, and let them be managed over HTTP.

    It has the options and the requests of BNG Blaster's own controller, without authentication: where other
    machines could reach it, it starts only with --allow-unauthenticated. An agent with bngblaster-controller
    in its configuration has authentication and TLS as well. Instances go on when it ends, and are found
    again by the next.

    \b
    Examples:
      bridle bngblasterctrl -d /var/bngblaster
      bridle bngblasterctrl -d /tmp/i -e 'bridle bngblaster' -upload
      bridle bngblasterctrl -a :8001 --allow-unauthenticated
    """
    log_to_stderr("DEBUG" if debug else "INFO")
    host, port = _address(address)
    try:
        words = shlex.split(executable)
    except ValueError as error:
        raise click.UsageError(f"-e {executable}: {error}") from error
    folder = os.path.abspath(directory)  # noqa: PTH100 - must not resolve links
    settings: dict[str, JSON] = {"directory": folder, "executable": [*words], "upload": upload}
    whole: dict[str, JSON] = {"bngblaster-controller": settings, "allow-unauthenticated": unauthenticated}
    document = Document({Agent.root: whole})
    run(Agent(listen=(host, port)), configuration=document, on_ready=_tell)
    return 0


def _address(text: str) -> tuple[str, int]:
    """Every address of the host where there is none, as the original has it."""
    host, colon, port = text.rpartition(":")
    try:
        if not colon:
            raise EndpointError("there is no port")
        endpoint = Endpoint.parse(f"tcp:{host or '0.0.0.0'}:{port}")
    except EndpointError as error:
        raise click.UsageError(f"-a takes [HOST]:PORT, not '{text}'") from error
    return endpoint.host, endpoint.port


def _tell(running: Running) -> None:
    for channel in running.server.channels:
        click.echo(f"bngblasterctrl: listening on {channel.endpoint}", err=True)
