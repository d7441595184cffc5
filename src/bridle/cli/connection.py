"""The options by which command lines reach an endpoint, and what they say when they cannot."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click
from msgspec import Struct

from bridle.cli.failure import Failure, failure_of
from bridle.cli.hints import Given
from bridle.client import TIMEOUT, connect
from bridle.client.blocking import Client
from bridle.core.errors import BridleError, ConfigurationError
from bridle.core.results import ExitStatus

if TYPE_CHECKING:
    import ssl

__all__ = ["Connection", "connection_options"]

# Seconds that a command line may be told to wait; the system's clocks count no further than some centuries.
LONGEST_TIMEOUT = 86_400.0


def _check_timeout(context: click.Context, parameter: click.Parameter, value: float) -> float:
    if not 0 < value <= LONGEST_TIMEOUT:
        raise click.BadParameter(f"{value:g} is not more than 0 and at most {LONGEST_TIMEOUT:g} seconds")
    return value


class Connection(Struct, frozen=True):
    """What the options say about how to connect."""

    timeout: float
    user: str | None
    password_file: str | None
    token_file: str | None
    ca: str | None
    cert: str | None
    key: str | None

    @property
    def given(self) -> Given:
        """Which of them were given."""
        tls = bool(self.ca or self.cert)
        return Given(bool(self.user), self.token_file is not None, tls, bool(self.cert))

    def open(self, endpoint: str) -> Client:
        """The client that is asked for. The password is prompted for where only a user is given."""
        if self.token_file is not None and (self.user or self.password_file is not None):
            text = "--token-file says who asks, and so do --user and --password-file: not both"
            raise click.UsageError(text)
        try:
            return connect(
                endpoint,
                timeout=self.timeout,
                user=self.user or "",
                password=_password(self.user, self.password_file),
                token=_token(self.token_file),
                tls=_tls(self.ca, self.cert, self.key),
            )
        except ValueError as error:
            raise Failure(f"{self.token_file or '--user'}: {error}", ExitStatus.USAGE) from error
        except BridleError as error:
            raise failure_of(error) from error


def connection_options(function: Callable[..., int]) -> Callable[..., int]:
    """Add the options that say how to connect: the function is given them as ``connection``."""

    @functools.wraps(function)
    def gathered(**options: Any) -> int:
        own = {name: options.pop(name) for name in Connection.__struct_fields__}
        return function(connection=Connection(**own), **options)

    for option in (
        click.option("--key", metavar="FILE", help="The client certificate's private key."),
        click.option("--cert", metavar="FILE", help="A client certificate, for https and TLS."),
        click.option("--ca", metavar="FILE", help="Whom to trust, for https and TLS: a file or a folder."),
        click.option("--password-file", metavar="FILE", help="A file whose first line is the password."),
        click.option("--token-file", metavar="FILE", help="A file whose first line is a bearer token."),
        click.option("--user", metavar="NAME", help="The user of Basic authentication."),
        click.option(
            "--timeout",
            default=TIMEOUT,
            show_default=True,
            metavar="SECONDS",
            callback=_check_timeout,
            help="How long to wait.",
        ),
    ):
        gathered = option(gathered)
    return gathered


def _password(user: str | None, file: str | None) -> str:
    if file is not None:
        return _first_line(file, "password")
    return _typed_password() if user else ""


def _token(file: str | None) -> str:
    if file is None:
        return ""
    token = _first_line(file, "token").strip()
    if not token:
        raise Failure(f"{file}: the first line is empty, and no token", ExitStatus.USAGE)
    return token


def _first_line(file: str, what: str) -> str:
    try:
        with open(file, encoding="utf-8") as opened:  # noqa: PTH123 - as in cli.arguments
            return opened.readline().rstrip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        raise Failure(f"cannot read the {what}: {error}", ExitStatus.USAGE) from error


def _typed_password() -> str:
    import getpass
    import warnings

    try:
        with warnings.catch_warnings():
            # Where there is no terminal, the password would be read from what is meant for arguments.
            warnings.simplefilter("error", getpass.GetPassWarning)
            password: str = click.prompt("Password", hide_input=True, err=True)
    except getpass.GetPassWarning as error:
        raise Failure(
            "a password is needed, and there is no terminal to ask on: name a file with --password-file",
            ExitStatus.USAGE,
        ) from error
    return password


def _tls(ca: str | None, cert: str | None, key: str | None) -> ssl.SSLContext | None:
    if key and not cert:
        raise Failure("--key is of a certificate: name that with --cert", ExitStatus.USAGE)
    if not (ca or cert):
        return None
    from bridle.access.tls import client_context

    try:
        return client_context(ca or "", cert or "", key or "")
    except ConfigurationError as error:
        if cert and not key and _lacks_key(cert):
            text = f"there is no private key in {cert}: name its file with --key"
            raise Failure(text, ExitStatus.USAGE) from error
        raise


def _lacks_key(file: str) -> bool:
    try:
        with open(file, "rb") as opened:  # noqa: PTH123 - as in cli.arguments
            return b"PRIVATE KEY-----" not in opened.read()
    except OSError:
        return False
