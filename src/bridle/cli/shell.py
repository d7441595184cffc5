"""``bridle shell ENDPOINT``: one command after another, from a terminal or from a pipe."""

from __future__ import annotations

import sys
from collections.abc import Iterable

import click

from bridle.cli.connection import Connection, connection_options
from bridle.cli.shell_line import commands
from bridle.cli.shell_session import Leave, Session

__all__ = ["command"]


@click.command("shell")
@click.argument("endpoint")
@click.option("--service", metavar="NAME", help="A service behind an agent.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON, on a terminal too.")
@connection_options
def command(
    endpoint: str,
    service: str | None,
    as_json: bool,
    connection: Connection,
) -> int:
    """Talk to a daemon, or to an agent and the services behind it.

    On a terminal there is completion of commands and arguments (Tab), help, and a history. Elsewhere
    each line of standard input is a command, and the exit status is the worst of theirs, as those of
    "bridle call".

    \b
    Examples:
      bridle shell unix:/run/thermostat.sock
      bridle shell http://127.0.0.1:8000 --service dhcp4
      echo version-get | bridle shell unix:/run/kea/kea4-ctrl-socket
    """
    client, given = connection.open(endpoint), connection.given
    with client:
        session = Session(client, service=service, as_json=as_json, given=given)
        if sys.stdin.isatty():
            from bridle.cli.shell_prompt import converse

            converse(session)
            return 0
        # What is no UTF-8 is told with its line, not with the whole of standard input.
        return _run_all(session, (line.decode("utf-8", "surrogateescape") for line in sys.stdin.buffer))


def _run_all(session: Session, lines: Iterable[str]) -> int:
    worst = 0
    for text in commands(lines):
        try:
            worst = max(worst, session.run(text))
        except Leave:
            break
    return worst
