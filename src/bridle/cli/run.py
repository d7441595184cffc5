"""``bridle run NAME|module:Class``: run a daemon in the foreground."""

from __future__ import annotations

import importlib
import inspect
import sys
from collections.abc import Mapping
from pathlib import Path

import click

from bridle.cli.failure import Failure
from bridle.cli.listening import allow_unauthenticated_option
from bridle.cli.logs import log_to_stderr
from bridle.client.calls import spelled_out
from bridle.core.errors import BridleError, EndpointError
from bridle.core.results import ExitStatus
from bridle.daemon.daemon import Daemon
from bridle.daemon.running import Running, run

__all__ = ["command"]

# Daemons that come with Bridle, by the name that ``bridle run`` takes.
_BUNDLED: dict[str, str] = {
    "bng": "bridle.bundled.bng.bng:Bng",
    "cluster": "bridle.bundled.cluster.cluster:Cluster",
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
@click.option(
    "--transport", type=click.Choice(["shm", "socket"]), help="How libqb carries the messages of cluster."
)
@click.option("--node", metavar="NAME", help="The name of cluster's node; by default the host's.")
@click.option("-d", "debug", is_flag=True, help="Log in detail.")
@allow_unauthenticated_option
def command(
    name: str,
    endpoints: tuple[str, ...],
    file: str | None,
    port: int | None,
    socket: str | None,
    transport: str | None,
    node: str | None,
    debug: bool,
    allow_unauthenticated: bool,
) -> int:
    """Run a daemon until shutdown, SIGTERM or Ctrl-C. SIGHUP reads its configuration file again.

    NAME is a daemon that comes with Bridle: dhcp4, dhcp6 or d2, with Kea's configuration; bng, with BNG
    Blaster's; or cluster, which listens under the names of Pacemaker's daemons. MODULE:CLASS names a subclass
    of bridle.Daemon. It listens on each ENDPOINT, and on the control sockets that its configuration file
    names.

    \b
    Examples:
      bridle run dhcp4 -c /etc/kea/kea-dhcp4.conf
      bridle run examples.thermostat:Thermostat unix:/tmp/thermostat.sock
      bridle run dhcp4 -c FILE binrpc+unix:/run/ctl binrpc+tcp:127.0.0.1:2046
      bridle run bng -c bng.json -S /run/bng.sock
      bridle run cluster --node node1
    """
    log_to_stderr("DEBUG" if debug else "INFO")
    try:
        daemon = _make(_find(name), {"port": port, "transport": transport, "node": node})
    except BridleError as error:
        raise Failure(str(error), ExitStatus.ERROR) from error
    if not endpoints and file is None and socket is None and name != "cluster":
        raise click.UsageError("nobody could reach it: name an ENDPOINT, or a configuration file with -c")
    try:
        endpoints = tuple(map(spelled_out, endpoints))
    except EndpointError as error:
        click.echo(f"{daemon.root}: {error}", err=True)
        return ExitStatus.ERROR
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


# What some daemons take, and which of those that come with Bridle do.
_TAKERS = {
    "port": "-p is for dhcp4, dhcp6 and d2",
    "transport": "--transport is for cluster",
    "node": "--node is for cluster",
}


def _make(cls: type[Daemon], options: Mapping[str, object]) -> Daemon:
    given = {name: value for name, value in options.items() if value is not None}
    taken = inspect.signature(cls.__init__).parameters
    for name in given:
        if name not in taken:
            what = "serves on no port" if name == "port" else f"takes no {name}"
            raise click.UsageError(f"{cls.__name__} {what}: {_TAKERS[name]}")
    return cls(**given)


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
