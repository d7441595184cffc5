"""``bridle run NAME|module:Class``: run a daemon in the foreground."""

from __future__ import annotations

import importlib
import inspect
import sys
from pathlib import Path

import click

from bridle.cli.failure import Failure
from bridle.cli.listening import allow_unauthenticated_option
from bridle.cli.logs import log_to_stderr
from bridle.core.errors import BridleError
from bridle.core.results import ExitStatus
from bridle.daemon.daemon import Daemon
from bridle.daemon.running import Running, run

__all__ = ["command"]

# Daemons that come with Bridle, by the name that ``bridle run`` takes.
_BUNDLED: dict[str, str] = {
    "bng": "bridle.bundled.bng.bng:Bng",
    "d2": "bridle.bundled.ddns.d2:D2",
    "dhcp4": "bridle.bundled.dhcp.dhcp4:Dhcp4",
    "dhcp6": "bridle.bundled.dhcp.dhcp6:Dhcp6",
}


@click.command("run")
@click.argument("name", metavar="NAME|MODULE:CLASS")
@click.argument("endpoints", nargs=-1, metavar="[ENDPOINT]...")
@click.option("-c", "file", metavar="FILE", help="The configuration file.")
@click.option("-p", "port", type=click.IntRange(1, 65535), help="The port that dhcp4, dhcp6 or d2 serves on.")
@click.option("-S", "socket", metavar="PATH", help="The control socket of bng, as BNG Blaster has it.")
@click.option("-d", "debug", is_flag=True, help="Log in detail.")
@allow_unauthenticated_option
def command(
    name: str,
    endpoints: tuple[str, ...],
    file: str | None,
    port: int | None,
    socket: str | None,
    debug: bool,
    allow_unauthenticated: bool,
) -> int:
    """Run a daemon until shutdown, SIGTERM or Ctrl-C. SIGHUP reads its configuration file again.

    NAME is a daemon that comes with Bridle: dhcp4, dhcp6 or d2, with Kea's configuration, or bng, with BNG
    Blaster's. MODULE:CLASS names a subclass of bridle.Daemon. It listens on each ENDPOINT, and on the control
    sockets that its configuration file names.

    \b
    Examples:
      bridle run dhcp4 -c /etc/kea/kea-dhcp4.conf
      bridle run examples.thermostat:Thermostat unix:/tmp/thermostat.sock
      bridle run dhcp4 -c FILE binrpc+unix:/run/ctl binrpc+tcp:127.0.0.1:2046
      bridle run bng -c bng.json -S /run/bng.sock
    """
    log_to_stderr("DEBUG" if debug else "INFO")
    try:
        daemon = _make(_find(name), port)
    except BridleError as error:
        raise Failure(str(error), ExitStatus.ERROR) from error
    if not endpoints and file is None and socket is None:
        raise click.UsageError("nobody could reach it: name an ENDPOINT, or a configuration file with -c")
    if socket is not None:
        endpoints = (*endpoints, f"bngblaster+unix:{socket}")
    run(
        daemon,
        *endpoints,
        configuration_file=file,
        on_ready=_tell,
        allow_unauthenticated=allow_unauthenticated,
    )
    return 0


def _make(cls: type[Daemon], port: int | None) -> Daemon:
    if port is None:
        return cls()
    if "port" not in inspect.signature(cls.__init__).parameters:
        raise click.UsageError(f"{cls.__name__} serves on no port: -p is for dhcp4, dhcp6 and d2")
    return cls(port=port)


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
