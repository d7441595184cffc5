"""``bridle bngblaster-cli``: BNG Blaster's own command line, for fingers and scripts that know it.

It has the argument forms and the output of the real tool (``facts/bngblaster.md`` §3). Beyond that, an answer
that is not ``ok`` is an exit status, and a key without its value is refused: the real tool drops it, and
``terminate session-id`` tears everything down.
"""

from __future__ import annotations

import ast
import json
import sys
import time
from collections.abc import Sequence

import click

from bridle.cli.connection import LONGEST_TIMEOUT
from bridle.cli.failure import Failure
from bridle.client.connecting import CHUNK, connect_carrier, set_deadline
from bridle.core.errors import RemoteProtocolError
from bridle.core.messages import JSON
from bridle.core.results import ExitStatus, from_status, row
from bridle.net.endpoint import Endpoint
from bridle.wire.bngblaster_json import Framer

__all__ = ["command", "read_value"]


@click.command("bngblaster-cli", context_settings={"ignore_unknown_options": True})
@click.argument("socket", metavar="SOCKET")
@click.argument("name", metavar="COMMAND")
@click.argument("words", metavar="[KEY VALUE]...", nargs=-1, type=click.UNPROCESSED)
@click.option("--timeout", default=10.0, show_default=True, metavar="SECONDS", help="How long to wait.")
def command(socket: str, name: str, words: tuple[str, ...], timeout: float) -> int:
    """Send one command to a BNG Blaster, or to a daemon that listens as one, and print its answer.

    A VALUE is a number or a Python literal where it looks like one ([1,2,3], True, 'text'), else a string.

    The exit status is 0 for ok, that of the result otherwise (1 error, 3 not found, 4 conflict), or 64 wrong
    usage, 69 unreachable, 75 no answer in time, 76 no sense in the answer.

    \b
    Examples:
      bridle bngblaster-cli run.sock session-info session-id 1
      bridle bngblaster-cli run.sock l2tp-csurq tunnel-id 1 sessions [1,2,3,4]
    """
    if not 0 < timeout <= LONGEST_TIMEOUT:
        raise click.UsageError(f"--timeout is more than 0 and at most {LONGEST_TIMEOUT:g} seconds")
    request: dict[str, JSON] = {"command": name}
    arguments = _arguments(words)
    if arguments:
        request["arguments"] = arguments
    answer = _exchange(socket, json.dumps(request).encode(), timeout)
    click.echo(_shown(name, answer))
    return _status(answer)


def read_value(word: str) -> JSON:
    """A value as it is typed."""
    try:
        return int(word)
    except ValueError:
        pass
    try:
        value = ast.literal_eval(word)
        return json.loads(json.dumps(value))  # type: ignore[no-any-return]
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
        return word


def _arguments(words: Sequence[str]) -> dict[str, JSON]:
    if len(words) % 2:
        raise click.UsageError(f"'{words[-1]}' has no value: arguments are KEY VALUE pairs")
    return {key: read_value(word) for key, word in zip(words[::2], words[1::2], strict=True)}


def _exchange(path: str, request: bytes, timeout: float) -> dict[str, JSON]:
    deadline = time.monotonic() + timeout
    try:
        carrier = connect_carrier(Endpoint("unix", "bngblaster", path=path), None, deadline)
        try:
            set_deadline(carrier, deadline)
            carrier.sendall(request)
            framer, text = Framer(), bytearray()
            while True:
                set_deadline(carrier, deadline)
                data = carrier.recv(CHUNK)
                if not data:
                    raise RemoteProtocolError("the answer was cut off" if text else "no answer")
                end = framer.push(data)
                text += data[:end]
                if end is not None:
                    return _object(bytes(text))
        finally:
            carrier.close()
    except TimeoutError as error:
        raise Failure(f"{path}: no answer in {timeout:g} s", ExitStatus.TIMEOUT) from error
    except RemoteProtocolError as error:
        raise Failure(f"{path}: {error.text}", ExitStatus.PROTOCOL) from error
    except OSError as error:
        raise Failure(f"{path}: {error.strerror or error}", ExitStatus.UNAVAILABLE) from error


def _object(text: bytes) -> dict[str, JSON]:
    try:
        answer = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise RemoteProtocolError("the answer is no JSON", text[:64]) from error
    if not isinstance(answer, dict):
        raise RemoteProtocolError("the answer is no object", text[:64])
    return answer


def _shown(name: str, answer: dict[str, JSON]) -> str:
    commands = answer.get("commands")
    if name == "commands" and isinstance(commands, list):
        return "\n".join(_described(entry) for entry in commands if isinstance(entry, dict))
    return json.dumps(answer, indent=4)


def _described(entry: dict[str, JSON]) -> str:
    arguments = entry.get("arguments")
    names = "|".join(map(str, arguments)) if isinstance(arguments, list) and arguments else ""
    return f"{entry.get('command')} [{names}]" if names else str(entry.get("command"))


def _status(answer: dict[str, JSON]) -> int:
    status, code = answer.get("status"), answer.get("code")
    if not isinstance(status, str) or not isinstance(code, int):
        print("bridle: the answer has no status and code", file=sys.stderr)
        return ExitStatus.PROTOCOL
    unknown = answer.get("message") == "unknown command"
    return row(from_status(status, code, unknown_command=unknown)).exit
