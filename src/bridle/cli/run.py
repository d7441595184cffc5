"""``bridle run NAME|module:Class``: run a daemon in the foreground."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

import click

from bridle.cli.failure import Failure
from bridle.cli.logs import log_to_stderr
from bridle.core.errors import BridleError
from bridle.core.results import ExitStatus
from bridle.daemon.daemon import Daemon
from bridle.daemon.running import Running, run

__all__ = ["command"]

# Daemons that come with Bridle, by the name that ``bridle run`` takes.
_BUNDLED: dict[str, str] = {}


@click.command("run")
@click.argument("name", metavar="NAME|MODULE:CLASS")
@click.argument("endpoints", nargs=-1, metavar="[ENDPOINT]...")
@click.option("-c", "file", metavar="FILE", help="The configuration file.")
@click.option("-d", "debug", is_flag=True, help="Log in detail.")
def command(name: str, endpoints: tuple[str, ...], file: str | None, debug: bool) -> int:
    """Run a daemon until shutdown, SIGTERM or Ctrl-C. SIGHUP reads its configuration file again.

    MODULE:CLASS names a subclass of bridle.Daemon. It listens on each ENDPOINT, and on the control sockets
    that its configuration file names.

    \b
    Example:
      bridle run examples.thermostat:Thermostat unix:/tmp/thermostat.sock
    """
    log_to_stderr("DEBUG" if debug else "INFO")
    try:
        daemon = _find(name)()
    except BridleError as error:
        raise Failure(str(error), ExitStatus.ERROR) from error
    if not endpoints and file is None:
        raise click.UsageError("nobody could reach it: name an ENDPOINT, or a configuration file with -c")
    run(daemon, *endpoints, configuration_file=file, on_ready=_tell)
    return 0


def _find(name: str) -> type[Daemon]:
    module_name, colon, class_name = _BUNDLED.get(name, name).partition(":")
    if not colon:
        known = ", ".join(sorted(_BUNDLED))
        raise click.UsageError(
            f"there is no bundled daemon '{name}'{f'; there are {known}' if known else ''}; "
            "a daemon of your own is MODULE:CLASS"
        )
    if str(Path.cwd()) not in sys.path:
        sys.path.insert(0, str(Path.cwd()))
    try:
        module = importlib.import_module(module_name)
    except ImportError as error:
        raise click.UsageError(f"cannot import '{module_name}': {error}") from error
    found = getattr(module, class_name, None)
    if not isinstance(found, type) or not issubclass(found, Daemon):
        raise click.UsageError(f"'{class_name}' in {module.__name__} is no subclass of bridle.Daemon")
    return found


def _tell(running: Running) -> None:
    for channel in running.server.channels:
        click.echo(f"{running.daemon.root}: listening on {channel.endpoint}", err=True)
