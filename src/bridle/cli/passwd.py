"""``bridle passwd``: the hash of a password, for the ``password-hash`` of a client."""

from __future__ import annotations

import sys

import click

from bridle.access.passwords import hash_password

__all__ = ["command"]


@click.command("passwd")
def command() -> None:
    """Read a password and print its argon2 hash, for the "password-hash" of a client in "authentication".

    On a terminal it is asked for twice and not shown; otherwise it is the first line of standard input.
    """
    if sys.stdin.isatty():
        password = click.prompt("Password", hide_input=True, confirmation_prompt=True, err=True)
    else:
        password = sys.stdin.readline().rstrip("\r\n")
    if not password:
        raise click.UsageError("an empty password is none")
    print(hash_password(password))
