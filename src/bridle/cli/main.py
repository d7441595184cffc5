"""``bridle``: one command line, each of its commands loaded only when it is called.

A one-shot ``bridle call`` answers in some 50 ms; what it does not need must not be imported here.
"""

from __future__ import annotations

import importlib
import os
import sys

import click

from bridle.cli.failure import Failure
from bridle.core.results import ExitStatus

__all__ = ["main"]

_COMMANDS = {
    "access": ("bridle.cli.access", "Say who may do what, and why."),
    "agent": ("bridle.cli.agent", "Run the agent: one HTTP endpoint in front of all daemons."),
    "audit": ("bridle.cli.audit", "Verify an audit trail, or look for lines in it."),
    "bngblaster": ("bridle.cli.bngblaster", "Run the session daemon with bngblaster's options."),
    "bngblaster-cli": ("bridle.cli.bngblaster_cli", "BNG Blaster's own command line."),
    "bngblasterctrl": ("bridle.cli.bngblasterctrl", "Run BNG Blaster's controller."),
    "call": ("bridle.cli.call", "Send one command and print its answer."),
    "kamcmd": ("bridle.cli.kamcmd", "Kamailio's own kamcmd, with its options and its output."),
    "kea-shell": ("bridle.cli.kea_shell", "Kea's own kea-shell, with its options and its output."),
    "passwd": ("bridle.cli.passwd", "Make the hash of a password for a configuration."),
    "run": ("bridle.cli.run", "Run a daemon."),
    "shell": ("bridle.cli.shell", "Talk to a daemon interactively, with completion and help."),
    "token": ("bridle.cli.token", "Create, list and revoke bearer tokens."),
}


class _Commands(click.Group):
    def list_commands(self, context: click.Context) -> list[str]:
        return sorted(_COMMANDS)

    def get_command(self, context: click.Context, name: str) -> click.Command | None:
        if name not in _COMMANDS:
            return None
        command = importlib.import_module(_COMMANDS[name][0]).command
        assert isinstance(command, click.Command)
        return command

    def invoke(self, context: click.Context) -> object:
        try:
            status = super().invoke(context)
            sys.stdout.flush()
        except BrokenPipeError:
            # Caught here, for click would end with status 1.
            return _end_quietly()
        return status

    def format_commands(self, context: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, _COMMANDS[name][1]) for name in sorted(_COMMANDS)])


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="bridle", message="bridle %(version)s")
def bridle() -> None:
    """Manage long-running daemons: embed a control channel, put an agent in front, send commands.

    An ENDPOINT is [DIALECT+]TRANSPORT:ADDRESS, as in unix:/run/kea/kea4-ctrl-socket or
    http://127.0.0.1:8000.
    """


def _end_quietly() -> int:
    """The reader of our output has gone: there is nobody left to tell, now or when the process ends."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)
    return 0


def main() -> None:
    """Run the command line and exit with its status: a result's code, or one of :class:`ExitStatus`."""
    try:
        status = bridle.main(standalone_mode=False)
    except click.UsageError as error:
        error.show()
        status = ExitStatus.USAGE
    except Failure as failure:
        failure.show()
        status = failure.status
    except (click.Abort, KeyboardInterrupt):
        status = ExitStatus.INTERRUPTED
    sys.exit(status if isinstance(status, int) else 0)
