"""``bridle run NAME|module:Class``: run a daemon in the foreground."""

from __future__ import annotations

import importlib
import inspect
import sys
import traceback
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
    options = {"port": port, "transport": transport, "node": node}
    try:
        cls = _find(name)
        daemon = _make(cls, options)
    except BridleError as error:
        raise Failure(str(error), ExitStatus.ERROR) from error
    except _Failed as failed:
        raise _told(str(failed), failed.__cause__ or failed, debug=debug) from failed
    if socket is not None and not _is_bng(cls):
        raise click.UsageError(f"{cls.__name__} is no BNG Blaster: -S is for bng; others take an ENDPOINT")
    if not endpoints and file is None and socket is None and name != "cluster":
        raise click.UsageError("nobody could reach it: name an ENDPOINT, or a configuration file with -c")
    try:
        endpoints = tuple(map(spelled_out, endpoints))
    except EndpointError as error:
        click.echo(f"{daemon.root}: {error}", err=True)
        return ExitStatus.ERROR
    if socket is not None:
        endpoints = (*endpoints, f"bngblaster+unix:{socket}")
    try:
        run(
            daemon,
            *endpoints,
            configuration_file=file,
            on_ready=_tell,
            allow_unauthenticated=allow_unauthenticated,
        )
    except Exception as error:
        raise _told(daemon.root, error, debug=debug) from error
    return 0


class _Failed(Exception):
    """A daemon's own code raised its cause; the text says whose code that is."""


def _told(whose: str, error: BaseException, *, debug: bool) -> Failure:
    """One line about what somebody's code raised, behind the traceback where the log is detailed."""
    from bridle.cli.mishaps import mishap

    if debug:
        traceback.print_exception(error)
    more = "" if debug else "; -d shows the traceback"
    return Failure(f"{whose}: {mishap(error)}{more}", ExitStatus.ERROR)


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
    try:
        return cls(**given)
    except BridleError:
        raise
    except Exception as error:
        raise _Failed(cls.__name__) from error


def _is_bng(cls: type[Daemon]) -> bool:
    return any(f"{base.__module__}:{base.__qualname__}" == _BUNDLED["bng"] for base in cls.__mro__)


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
        hint = f"; {_extra_of(error)}" if name in _BUNDLED else ""
        raise click.UsageError(f"cannot import '{module_name}': {error}{hint}") from error
    except BridleError:
        raise
    except Exception as error:
        raise _Failed(f"cannot import '{module_name}'") from error
    found = getattr(module, class_name, None)
    if not isinstance(found, type) or not issubclass(found, Daemon):
        raise click.UsageError(f"'{class_name}' in {module.__name__} is no subclass of bridle.Daemon")
    return found


def _extra_of(error: ImportError) -> str:
    extra = "postgres" if (error.name or "").startswith("psycopg") else "bundled"
    return f"in Bridle's folder, pip install '.[{extra}]' installs what it needs"


def _tell(running: Running) -> None:
    for channel in running.server.channels:
        click.echo(f"{running.daemon.root}: listening on {channel.endpoint}", err=True)
