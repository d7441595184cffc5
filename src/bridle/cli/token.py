"""``bridle token``: bearer tokens for machines, of which only hashes are kept."""

from __future__ import annotations

import re
import shutil
import sys
import time
from pathlib import Path

import click
import msgspec

from bridle.access.tokens import Token, TokenFile
from bridle.cli.failure import Failure, failure_of
from bridle.cli.rendering import render
from bridle.core.errors import ConfigurationError
from bridle.core.messages import JSON, Response
from bridle.core.results import ExitStatus

__all__ = ["command"]

_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800, "y": 31536000}
_DURATION = re.compile(r"([1-9][0-9]{0,8})([smhdwy])")

_FILE = click.argument("file", type=click.Path(dir_okay=False))


@click.group("token")
def command() -> None:
    """Create, list and revoke bearer tokens.

    FILE is the "tokens" of a listener's "authentication". Only hashes of tokens are kept in it. What is
    changed holds within a second, without a restart.
    """


@command.command("create")
@_FILE
@click.argument("name")
@click.option("--user", default="", help="The user whom it speaks for; by default one of the token's name.")
@click.option("--role", default="", help="The role that it is used in.")
@click.option("--expires", metavar="DURATION", default="90d", show_default=True, help="30d, 12h, or never.")
def create(file: str, name: str, user: str, role: str, expires: str) -> None:
    """Create a token and print it: this once.

    It is sent as "Authorization: Bearer TOKEN".
    """
    lifetime = None if expires == "never" else _duration(expires)
    try:
        token = TokenFile(file).create(name, user=user, role=role, lifetime=lifetime)
    except ConfigurationError as error:
        raise failure_of(error) from error
    print(token)


def _duration(written: str) -> float:
    found = _DURATION.fullmatch(written)
    if found is None:
        raise click.UsageError(f"'{written}' is no duration: 30d, 12h, 1y, or never")
    return int(found[1]) * _SECONDS[found[2]]


@command.command("list")
@_FILE
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def list_command(file: str, as_json: bool) -> None:
    """List the tokens of a file: whom they speak for, and until when."""
    if not Path(file).exists():
        raise Failure(f"there is no file '{file}'", ExitStatus.ERROR)
    try:
        tokens = [_described(token) for token in TokenFile(file).list()]
    except ConfigurationError as error:
        raise failure_of(error) from error
    if as_json or not sys.stdout.isatty():
        print(msgspec.json.format(msgspec.json.encode(tokens), indent=2).decode())
    else:
        width = shutil.get_terminal_size().columns
        print(render(Response(arguments=[*tokens]), width) if tokens else "no tokens")


def _described(token: Token) -> JSON:
    return {
        "name": token.name,
        "user": token.user or token.name,
        "role": token.role,
        "created": token.created,
        "expires": token.expires or "never",
        "state": "expired" if token.ends <= time.time() else "good",
    }


@command.command("revoke")
@_FILE
@click.argument("name")
def revoke(file: str, name: str) -> None:
    """Revoke a token: it is forgotten."""
    try:
        TokenFile(file).revoke(name)
    except ConfigurationError as error:
        raise failure_of(error) from error
