"""``bridle bngblaster``: the session daemon with the command line of the program that it stands in for.

So it can be started by whoever starts bngblaster: a controller, a test, fingers that know its options
(``facts/bngblaster.md`` §5, §6).
"""

from __future__ import annotations

import asyncio
import logging
import platform
import signal
import sys
import time

import click

from bridle.bundled.bng.program import Overrides, Program
from bridle.bundled.bng.report import CONTENTS
from bridle.bundled.bng.settings import SESSION_LIMIT
from bridle.cli.failure import Failure
from bridle.core.results import ExitStatus
from bridle.core.version import VERSION
from bridle.daemon.running import Running, run

__all__ = ["LOG_FLAGS", "command"]

# What BNG Blaster can be told to log. A session daemon has nothing to say of most of it.
LOG_FLAGS = (
    *("debug", "error", "igmp", "io", "pppoe", "info", "pcap", "ip", "icmp", "loss", "l2tp", "dhcp"),
    *("isis", "ospf", "ldp", "bgp", "tcp", "lag", "dpdk", "af_xdp", "packet", "http"),
)


_COUNT = click.IntRange(0, SESSION_LIMIT)


def _print_version(context: click.Context, parameter: click.Parameter, wanted: bool) -> None:
    if wanted:
        click.echo(f"Version: {VERSION}")
        click.echo(f"Compiler: {platform.python_implementation()} ({platform.python_version()})")
        click.echo("IO Modes: none (default)")
        context.exit()


@click.command("bngblaster", context_settings={"help_option_names": ["-h", "--help"]})
@click.option("-v", "--version", is_flag=True, is_eager=True, expose_value=False, callback=_print_version)
@click.option("-C", "--config", "file", metavar="FILE", help="The configuration file.")
@click.option("-T", "--stream-config", "streams", metavar="FILE", help="A file with more streams.")
@click.option(
    "-l",
    "--logging",
    "flags",
    metavar="FLAG",
    multiple=True,
    type=click.Choice(LOG_FLAGS),
    help="What to log: info, debug; those of bngblaster are taken.",
)
@click.option(
    "-L", "--log-file", "log_file", metavar="FILE", help="Where to log, instead of standard output."
)
@click.option("-u", "--username", metavar="TEXT", help="The user name of the sessions.")
@click.option("-p", "--password", metavar="TEXT", help="The password of the sessions.")
@click.option("-P", "--pcap-capture", "capture", metavar="FILE", help="Taken; there are no packets.")
@click.option(
    "-j",
    "--json-report-content",
    "contents",
    multiple=True,
    type=click.Choice(CONTENTS),
    help="What to list.",
)
@click.option("-J", "--json-report-file", "report_file", metavar="FILE", help="Where to report at the end.")
@click.option("-c", "--session-count", "count", type=_COUNT, help="The number of sessions.")
@click.option("-g", "--mc-group", "group", metavar="ADDRESS", help="The first multicast group.")
@click.option("-s", "--mc-source", "source", metavar="ADDRESS", help="The source of the groups.")
@click.option("-r", "--mc-group-count", "group_count", type=click.IntRange(0), help="How many groups.")
@click.option("-z", "--mc-zapping-interval", "zapping", type=click.IntRange(0), help="Seconds for a group.")
@click.option("-S", "--control-socket", "socket", metavar="PATH", help="The control socket.")
@click.option("-I", "--interactive", is_flag=True, help="Taken; there is no screen.")
@click.option("-b", "--hide-banner", is_flag=True, help="Taken; there is no banner.")
@click.option("-f", "--force", is_flag=True, help="Taken; interfaces are not locked.")
def command(
    file: str | None,
    streams: str | None,
    flags: tuple[str, ...],
    log_file: str | None,
    username: str | None,
    password: str | None,
    capture: str | None,
    contents: tuple[str, ...],
    report_file: str | None,
    count: int | None,
    group: str | None,
    source: str | None,
    group_count: int | None,
    zapping: int | None,
    socket: str | None,
    interactive: bool,
    hide_banner: bool,
    force: bool,
) -> int:
    """Run the session daemon with the options of bngblaster, which it stands in for.

    SIGINT ends all sessions and then the program, SIGTERM and SIGHUP end it at once; either writes the
    report.

    \b
    Example:
      bridle bngblaster -C config.json -S run.sock -J run_report.json
    """
    _log_to(log_file, flags)
    if capture is not None:
        logging.getLogger("bridle.bng").error("%s is not written: no packets are sent", capture)
    overrides = Overrides(
        count=count,
        streams=streams,
        username=username,
        password=password,
        group=group,
        source=source,
        group_count=group_count,
        zapping_interval=zapping,
    )
    if file is None:
        raise click.UsageError("a configuration file is needed: -C FILE")
    program = Program(overrides, report_file=report_file, contents=frozenset(contents))
    endpoints = () if socket is None else (f"bngblaster+unix:{socket}",)
    run(program, *endpoints, configuration_file=file, on_ready=_take_signals)
    return 0


def _take_signals(running: Running) -> None:
    program = running.daemon
    assert isinstance(program, Program)
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGINT, program.tear_down)
    loop.add_signal_handler(signal.SIGHUP, running.shut_down)
    for channel in running.server.channels:
        logging.getLogger("bridle.bng").info("Opened control socket %s", channel.endpoint.path)


class _Lines(logging.Formatter):
    """``Nov 20 10:41:24.219914 Text``."""

    def format(self, record: logging.LogRecord) -> str:
        moment = time.localtime(record.created)
        micros = int(record.created % 1 * 1_000_000)
        return f"{time.strftime('%b %d %H:%M:%S', moment)}.{micros:06d} {super().format(record)}"


def _log_to(file: str | None, flags: tuple[str, ...]) -> None:
    """Errors are logged in any case."""
    try:
        handler: logging.Handler = (
            logging.StreamHandler(sys.stdout) if file is None else logging.FileHandler(file, encoding="utf-8")
        )
    except OSError as error:
        raise Failure(f"{file}: {error.strerror}", ExitStatus.ERROR) from error
    handler.setFormatter(_Lines("%(message)s"))
    level = logging.DEBUG if "debug" in flags else logging.INFO if "info" in flags else logging.WARNING
    logging.basicConfig(level=level, handlers=[handler], force=True)
