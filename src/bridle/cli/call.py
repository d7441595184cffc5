"""``bridle call ENDPOINT COMMAND [ARGUMENTS]``: one command, its answer, its result as the exit status."""

from __future__ import annotations

import re
from collections.abc import Sequence

import click

from bridle.cli.arguments import check_text, parse_arguments
from bridle.cli.connection import Connection, connection_options
from bridle.cli.failure import failure_of, tell
from bridle.cli.rendering import print_answers
from bridle.core.errors import BridleError, RemoteProtocolError
from bridle.core.messages import Response
from bridle.core.results import row

__all__ = ["command"]

# Negative numbers are arguments, though they begin with a dash. Whatever else does is an option, or a typing
# error that must not be sent to a daemon.
_NUMBER = re.compile(r"-[0-9.][0-9.eE+-]*")
_GUARD = "\0"


class _Call(click.Command):
    def parse_args(self, context: click.Context, args: list[str]) -> list[str]:
        guarded = []
        for before, word in zip(["", *args], args, strict=False):
            is_value = before.startswith("--") and before not in ("--", "--json")
            guarded.append(f"{_GUARD}{word}" if _NUMBER.fullmatch(word) and not is_value else word)
        return super().parse_args(context, guarded)


@click.command("call", cls=_Call)
@click.argument("endpoint")
@click.argument("name", metavar="COMMAND")
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
@click.option(
    "--service", "services", multiple=True, metavar="NAME", help="A service behind an agent; repeatable."
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON, on a terminal too.")
@connection_options
def command(
    endpoint: str,
    name: str,
    arguments: tuple[str, ...],
    services: tuple[str, ...],
    as_json: bool,
    connection: Connection,
) -> int:
    """Send one command and print its answer.

    ARGUMENTS are KEY=VALUE words, one JSON text ('{"celsius": 21}', @FILE, or - for standard input), or
    values in order. A value is JSON where it is JSON (5, true, [1, 2]), else a string.

    The exit status is the result's code (0 success, 1 error, 2 unsupported, 3 empty, 4 conflict), or
    64 wrong usage, 69 unreachable, 75 no answer in time, 76 no sense in the answer.

    \b
    Examples:
      bridle call unix:/run/kea/kea4-ctrl-socket status-get
      bridle call http://127.0.0.1:8000 config-get --service dhcp4 --json
      bridle call unix:/run/thermostat.sock set-target celsius=21.5
    """
    for word in (name, *services):
        check_text(word)
    body = parse_arguments([word.removeprefix(_GUARD) for word in arguments])
    client, given = connection.open(endpoint), connection.given
    with client:
        try:
            if services:
                responses = _all(client.execute_all(name, body, services=services), services, endpoint)
            else:
                responses = [client.execute(name, body)]
        except BridleError as error:
            raise failure_of(error, given.hint_of_error(error, client.endpoint)) from error
    print_answers(responses, services, as_json=as_json)
    hint = given.hint_of_answers(responses, client.endpoint)
    if hint:
        tell(hint)
    return max((row(response.result).exit for response in responses), default=0)


def _all(responses: list[Response], services: Sequence[str], endpoint: str) -> list[Response]:
    """The answers, if there is one of each service, or one that speaks for all."""
    if len(responses) not in (1, len(services)):
        raise RemoteProtocolError(
            f"{len(services)} answers were expected, {len(responses)} came", endpoint=endpoint
        )
    return responses
