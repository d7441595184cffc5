"""``bridle kea-shell``: Kea's own kea-shell (``facts/kea.md`` §8), for fingers and scripts that know it.

It has kea-shell's options, reads the body of ``arguments`` from standard input, and prints what kea-shell
prints, its failures included: those go to standard output, and the exit status is 1. The text is sent as it
was typed, so that the server judges it.
"""

from __future__ import annotations

import argparse
import base64
import socket
import sys
import time
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING

import click
import msgspec

from bridle.core.errors import BridleError, ConfigurationError
from bridle.core.results import ExitStatus
from bridle.wire.http import HttpReply
from bridle.wire.kea_http import KeaHttpClient

if TYPE_CHECKING:
    import ssl

__all__ = ["command"]

# What -v prints: the kea-shell whose behaviour this is. Scripts look at it.
VERSION = "2.2.0"
# Seconds that stand for kea-shell's "no timeout" (0, and what is below): an agent gives up after 60.
UNLIMITED = 86400.0

_CHUNK = 256 * 1024


class _Options(argparse.Namespace):
    """The command line."""

    host: str
    port: int
    path: str
    ca: str
    cert: str
    key: str
    timeout: int
    service: list[str | None]
    auth_user: str
    auth_password: str
    auth_user_file: str
    auth_password_file: str
    name: str
    version: bool


class _Failed(Exception):
    """Why there is no answer, in kea-shell's words."""


class _KeaShell(click.Command):
    """Leaves the words to argparse, as kea-shell does: options may be abbreviated, and a value be missing."""

    def parse_args(self, context: click.Context, args: list[str]) -> list[str]:
        context.params = {"options": _parser(context.command_path).parse_args(args, namespace=_Options())}
        return []


@click.command("kea-shell", cls=_KeaShell)
def command(options: _Options) -> int:
    """Send one command to Kea's agent, or to one that does its job, and print the answer as it comes."""
    if options.version:
        print(VERSION)
        return 0
    try:
        answer = _answer(options)
    except TimeoutError:
        print("Connection timeout")
        return ExitStatus.ERROR
    except _Failed as failed:
        print(failed)
        return ExitStatus.ERROR
    except (OSError, OverflowError, ValueError, BridleError) as error:
        print(f"Failed to run: {error}")
        return ExitStatus.ERROR
    sys.stdout.flush()
    sys.stdout.buffer.write(answer + b"\n")
    sys.stdout.buffer.flush()
    return 0


def _parser(program: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        program,
        description="Send one command to a Kea control agent, or to a daemon that speaks Kea over HTTP, and "
        "print the answer. Standard input is the body of its arguments, without the braces; it may be empty.",
    )
    add = parser.add_argument
    add("--host", default="127.0.0.1", help="name or address of the agent (default: %(default)s)")
    add("--port", type=int, default=8000, help="its TCP port (default: %(default)s)")
    add("--path", default="", help="path of the URL, for a proxy in between (default: none)")
    add("--ca", default="", help="file or directory of the CA to trust; without it HTTPS is not used")
    add("--cert", default="", help="file of the client certificate")
    add("--key", default="", help="file of the client certificate's private key")
    add("--timeout", type=int, default=10, help="seconds to wait, 0 for no limit (default: %(default)s)")
    add(
        "--service", nargs="?", action="append", default=[], help="service to send the command to; repeatable"
    )
    add("--auth-user", default="", help="user of basic HTTP authentication")
    add("--auth-password", default="", help="password of basic HTTP authentication")
    add("--auth-user-file", default="", metavar="FILE", help="file whose first line is the user")
    add("--auth-password-file", default="", metavar="FILE", help="file whose first line is the password")
    add("name", nargs="?", default="list-commands", metavar="command", help="default: %(default)s")
    add(
        "-v", dest="version", action="store_true", help="print the version of kea-shell that this one follows"
    )
    return parser


def _answer(options: _Options) -> bytes:
    """The body of the agent's reply.

    Raises:
        TimeoutError: it did not come in time.
        _Failed, OSError, OverflowError, ValueError, BridleError: there is none.
    """
    if bool(options.cert) != bool(options.key):
        raise _Failed("--cert and --key must be used together")
    if options.cert and not options.ca:
        raise _Failed("--cert and --key with HTTPS disabled (no --ca)")
    if not 0 <= options.port <= 65535:
        # The system would take what is left of it, and talk to somebody else.
        raise _Failed(f"Failed to run: port {options.port} does not lie between 0 and 65535")
    headers = {"Connection": "close", **_authorization(options)}
    body = _body(options, sys.stdin.buffer.read())
    deadline = time.monotonic() + (options.timeout if options.timeout > 0 else UNLIMITED)
    host = options.host.removeprefix("[").removesuffix("]")
    client = KeaHttpClient(host, options.port, f"/{options.path}", headers)
    request = client.request_raw(body)
    tls = _tls(options)
    with _connect(host, options.port, tls, request, deadline) as sock:
        reply = _receive(sock, client, deadline)
    if not 200 <= reply.status < 300:
        raise _Failed(f"Failed to run: HTTP Error {reply.status}: {_phrase(reply.status)}")
    return reply.body


def _body(options: _Options, typed: bytes) -> bytes:
    services = [service for service in options.service if service]
    body = b'{ "command": %b' % msgspec.json.encode(options.name)
    if services:
        body += b', "service": %b' % msgspec.json.encode(services)
    # kea-shell takes a lone character, such as the newline of `echo`, for nothing.
    if len(typed) > 1:
        body += b', "arguments": { %b }' % typed
    return body + b" }"


def _authorization(options: _Options) -> dict[str, str]:
    user = _first_line(options.auth_user_file) or options.auth_user
    password = _first_line(options.auth_password_file) or options.auth_password
    if not user:
        return {}
    return {"Authorization": "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode("ascii")}


def _first_line(file: str) -> str:
    return Path(file).read_text("utf-8").partition("\n")[0].rstrip("\r") if file else ""


def _tls(options: _Options) -> ssl.SSLContext | None:
    if not options.ca:
        return None
    from bridle.access.tls import client_context

    try:
        return client_context(options.ca, options.cert, options.key)
    except ConfigurationError as error:
        raise _Failed(f"Failed to run: {error.__cause__ or error}") from error


def _connect(
    host: str, port: int, tls: ssl.SSLContext | None, request: bytes, deadline: float
) -> socket.socket:
    """Connect and send the request. What fails up to here, kea-shell tells as a failure to open the URL."""
    try:
        sock = socket.create_connection((host, port), timeout=_remaining(deadline))
        try:
            if tls is not None:
                sock.settimeout(_remaining(deadline))
                sock = tls.wrap_socket(sock, server_hostname=host)
            sock.settimeout(_remaining(deadline))
            sock.sendall(request)
        except BaseException:
            sock.close()
            raise
    except TimeoutError:
        raise
    except OSError as error:
        raise _Failed(f"Failed to run: <urlopen error {error}>") from error
    return sock


def _receive(sock: socket.socket, client: KeaHttpClient, deadline: float) -> HttpReply:
    silent = True
    while True:
        sock.settimeout(_remaining(deadline))
        data = sock.recv(_CHUNK)
        if not data and silent:
            raise _Failed("Failed to run: Remote end closed connection without response")
        silent = False
        replies = client.connection.receive(data) if data else client.connection.receive_eof()
        if replies:
            return replies[0]


def _remaining(deadline: float) -> float:
    remaining = deadline - time.monotonic()
    if remaining <= 0:
        raise TimeoutError
    return remaining


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return ""
