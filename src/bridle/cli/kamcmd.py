"""``bridle kamcmd``: Kamailio's own kamcmd, for fingers and scripts that know it, and for daemons of ours.

It has kamcmd's options, addresses and output. Beyond that, a fault is an exit status, a silent server a
timeout, negative numbers are arguments, and ``--json`` prints JSON.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import click
import msgspec

from bridle.cli.connection import LONGEST_TIMEOUT
from bridle.cli.kamcmd_output import FormatError, unescaped
from bridle.cli.kamcmd_session import BANNER, KamcmdFailure, Leave, Options, Session
from bridle.cli.kamcmd_words import read_argument
from bridle.core.errors import EndpointError
from bridle.net.kamailio_address import DEFAULT_ADDRESS, read_address

__all__ = ["command"]

HELP = """\
Usage: bridle kamcmd [options] [-s address] [method [argument...]]

Call a method of Kamailio, or of any daemon that speaks BINRPC. Without a
method, read commands from the terminal or from standard input.

Options:
  -s address     where the server is (unixs:/var/run/kamailio/kamailio_ctl)
  -R path        the socket for answers, with unixd: (one without a file)
  -D folder      make a socket for answers in this folder, with unixd:
  -U             an address without a protocol is UDP
  -f format      print by a format: %v is the next value, %% a percent sign
  -t seconds     how long to wait for an answer (10)
  --json         print replies, and faults, as JSON
  -v             verbose; twice shows packets, three times their bytes
  -V, --version  the version
  -h, --help     this help

Addresses: [protocol:]name[:port], the protocol one of tcp, udp, unixs, unixd:
  /run/ctl  unixd:/run/ctl  tcp:localhost:2049  udp:[::1]:2046

Arguments are integers and doubles where they look like it, negative ones too,
and strings otherwise; s:5 is the string 5, s: the empty one, as '' is.

The exit status is 0 for a reply; for a fault 1, or 2 where the method is
unknown; 75 where no answer came in time; 255 for what else went wrong.

Examples:
  bridle kamcmd ps
  bridle kamcmd -s udp:localhost:2047 -f 'pid: %v  desc: %v\\n' core.ps
  bridle kamcmd -s tcp:localhost --json core.uptime
"""

_NUMBER = re.compile(r"-[0-9.][0-9.eE+-]*")
# Options with a value, by what they are called in _Arguments.
_VALUES = {
    "-s": "address",
    "-R": "reply",
    "-D": "folder",
    "-f": "format",
    "-t": "timeout",
}


class _Arguments(msgspec.Struct):
    """The command line, read."""

    address: str = DEFAULT_ADDRESS
    reply: str = ""
    folder: str = ""
    format: str | None = None
    timeout: str = "10"
    udp: bool = False
    json: bool = False
    verbose: int = 0
    asked: str = ""
    words: list[str] = []


class _Usage(KamcmdFailure):
    """The command line cannot be understood."""


def _read(args: Sequence[str]) -> _Arguments:
    """Read options and words, options anywhere before ``--``, as getopt does."""
    read = _Arguments()
    left = list(args)
    while left:
        word = left.pop(0)
        if word == "--":
            read.words += left
            break
        if not word.startswith("-") or word == "-" or _NUMBER.fullmatch(word):
            read.words.append(word)
        elif word in ("--json", "--help", "--version", "--timeout") or word.startswith("--timeout="):
            _read_long(read, word, left)
        elif word.startswith("--"):
            raise _Usage(f"unknown option '{word}'; bridle kamcmd -h tells the options")
        else:
            _read_short(read, word, left)
    return read


def _read_long(read: _Arguments, word: str, left: list[str]) -> None:
    name, equals, value = word.partition("=")
    if name == "--json":
        read.json = True
    elif name == "--timeout":
        read.timeout = value if equals else _value(name, left)
    else:
        read.asked = name


def _read_short(read: _Arguments, word: str, left: list[str]) -> None:
    letters = word[1:]
    while letters:
        option, letters = f"-{letters[0]}", letters[1:]
        if option in _VALUES:
            setattr(read, _VALUES[option], letters or _value(option, left))
            return
        if option == "-v":
            read.verbose += 1
        elif option == "-U":
            read.udp = True
        elif option in ("-h", "-V"):
            read.asked = {"-h": "--help", "-V": "--version"}[option]
        else:
            raise _Usage(f"unknown option '{option}'; bridle kamcmd -h tells the options")


def _value(option: str, left: list[str]) -> str:
    if not left:
        raise _Usage(f"option '{option}' needs a value")
    return left.pop(0)


def _options(read: _Arguments) -> Options:
    try:
        endpoint = read_address(read.address, "binrpc" if read.udp and "/" not in read.address else "kamcmd")
    except EndpointError as error:
        raise _Usage(str(error)) from error
    if endpoint.dialect != "binrpc":
        raise _Usage(f"address '{read.address}': kamcmd speaks BINRPC, which does not travel on FIFOs")
    if endpoint.transport == "unixd" and (read.reply or read.folder):
        import os

        path = read.reply or f"{read.folder}/kamcmd_{os.urandom(4).hex()}"
        endpoint = msgspec.structs.replace(endpoint, options=(("reply", path),))
    elif endpoint.host == "*":
        endpoint = msgspec.structs.replace(endpoint, host="localhost")
    try:
        timeout = float(read.timeout)
    except ValueError:
        timeout = 0.0
    if not 0 < timeout <= LONGEST_TIMEOUT:
        raise _Usage(
            f"a timeout is more than 0 and at most {LONGEST_TIMEOUT:g} seconds, not '{read.timeout}'"
        )
    template = None if read.format is None else unescaped(read.format)
    return Options(endpoint=endpoint, format=template, verbose=read.verbose, timeout=timeout, json=read.json)


@click.command(
    "kamcmd",
    add_help_option=False,
    context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False},
)
@click.argument("args", nargs=-1, type=click.UNPROCESSED)
def command(args: tuple[str, ...]) -> int:
    """Kamailio's own kamcmd, with its options and its output."""
    read = _read(args)
    if read.asked == "--help":
        click.echo(HELP, nl=False)
        return 0
    if read.asked == "--version":
        click.echo(f"version: {BANNER}", nl=False)
        return 0
    try:
        session = Session(_options(read))
    except FormatError as error:
        raise _Usage(str(error)) from error
    try:
        if read.words:
            return _run(session, read.words)
        from bridle.cli.kamcmd_interactive import converse

        return converse(session)
    finally:
        session.close()


def _run(session: Session, words: Sequence[str]) -> int:
    try:
        return session.run(words[0], [read_argument(word) for word in words[1:]])
    except Leave:
        return 0
