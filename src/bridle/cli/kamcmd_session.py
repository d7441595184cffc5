"""kamcmd's commands: methods of the server, its aliases, and what it answers by itself."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping, Sequence

import msgspec

from bridle.cli.failure import Failure
from bridle.cli.kamcmd_output import as_json, check_format, formatted, shown, unescaped
from bridle.cli.rendering import plain
from bridle.client.connecting import CHUNK, Carrier, connect_carrier, has_ended, set_deadline
from bridle.core.errors import RemoteProtocolError
from bridle.core.results import ExitStatus, Result, row
from bridle.core.version import VERSION
from bridle.net.endpoint import Endpoint
from bridle.wire.binrpc_client import decode_fault, encode_request
from bridle.wire.binrpc_packets import FAULT, REPLY, Packet, PacketReader
from bridle.wire.binrpc_records import RecordError, Value, decode_records

__all__ = ["ALIASES", "BANNER", "BUILTINS", "FAILED", "Alias", "Leave", "Options", "Session"]

FAILED = 255
"""The exit status of what kept kamcmd from an answer."""

BANNER = f"bridle kamcmd {VERSION}\n"
_LICENSE = (
    f"{BANNER}\nBridle is free software under the licence that came with it. It answers as kamcmd 1.5, and\n"
    "comes without any warranty.\n"
)


class Alias(msgspec.Struct, frozen=True):
    """Another name of a method, and how its reply is printed."""

    method: str
    format: str | None = None


ALIASES: Mapping[str, Alias] = {
    "ps": Alias("core.ps", "%v\\t%v\\n"),
    "psx": Alias("core.psx"),
    "list": Alias("system.listMethods"),
    "ls": Alias("system.listMethods"),
    "ver": Alias("core.version"),
    "version": Alias("core.version"),
    "who": Alias("ctl.who", "[%v] %v: %v %v -> %v %v\\n"),
    "listen": Alias("ctl.listen", "[%v] %v: %v %v\\n"),
    "dns_mem_info": Alias("dns.mem_info", "%v / %v\\n"),
    "dns_debug": Alias("dns.debug", "%v (%v): size=%v ref=%v expire=%vs last=%vs ago f=%v\\n"),
    "dns_debug_all": Alias(
        "dns.debug_all",
        "%v (%v) [%v]: size=%v ref=%v expire=%vs last=%vs ago f=%v\\n\\t\\t%v:%v expire=%vs f=%v\\n",
    ),
    "dst_blacklist_mem_info": Alias("dst_blacklist.mem_info", "%v / %v\\n"),
    "dst_blacklist_debug": Alias("dst_blacklist.debug", "%v:%v:%v expire:%v flags: %v\\n"),
}

BUILTINS: Mapping[str, str] = {
    "?": "help",
    "help": "displays help for a command",
    "version": "displays version",
    "quit": "exits kamcmd",
    "exit": "exits kamcmd",
    "warranty": "displays kamcmd's warranty info",
    "license": "displays kamcmd's license",
}


class Leave(Exception):
    """The user asked to leave."""


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """What was asked for on the command line. ``format`` is as it is printed, its escapes resolved."""

    endpoint: Endpoint
    format: str | None = None
    verbose: int = 0
    timeout: float = 10.0
    json: bool = False


class Session:
    """A connection to a server, and what is printed of its answers. It connects when it has to, and anew
    when the server has gone away in between."""

    def __init__(self, options: Options) -> None:
        if options.format is not None:
            check_format(options.format)
        self.options = options
        self.methods: Sequence[str] = ()
        self._carrier: Carrier | None = None
        self._cookie = time.time_ns() & 0x7FFFFFFF

    # What is typed

    def run(self, name: str, arguments: Sequence[Value]) -> int:
        """Run a command, print what it gives, and return the exit status.

        Raises:
            Failure: there is no answer.
            Leave: that was the command.
        """
        alias = ALIASES.get(name)
        if alias is None and name in BUILTINS:
            return self._run_builtin(name, arguments)
        method, template = (alias.method, alias.format) if alias else (name, None)
        return self._print(method, self.call(method, arguments), template)

    def _run_builtin(self, name: str, arguments: Sequence[Value]) -> int:
        if name in ("quit", "exit"):
            raise Leave
        if name in ("warranty", "license"):
            self.write(_LICENSE)
        elif arguments:
            return self._help(str(arguments[0]))
        else:
            for method in self.method_names():
                self.write(f"{method}\n")
            for known in ALIASES:
                self.write(f"alias: {known}\n")
            for known in BUILTINS:
                self.write(f"builtin: {known}\n")
        return 0

    def _help(self, name: str) -> int:
        if name in ALIASES:
            alias = ALIASES[name]
            by = f' with reply formatting: "{alias.format}"' if alias.format else ""
            self.write(f"{name} is an alias for {alias.method}{by}\n")
            return 0
        if name in BUILTINS:
            self.write(f"builtin command: {BUILTINS[name]}\n")
            return 0
        return self._print("system.methodHelp", self.call("system.methodHelp", [name]), None)

    def method_names(self) -> list[str]:
        """The methods of the server, as it lists them."""
        return self.strings("system.listMethods", ())

    def strings(self, method: str, arguments: Sequence[Value]) -> list[str]:
        """The strings of a method's reply; none where it is a fault."""
        packet = self.call(method, arguments)
        if packet.kind == FAULT:
            return []
        return [value for value in _records(packet) if isinstance(value, str)]

    # What is printed

    def _print(self, method: str, packet: Packet, template: str | None) -> int:
        values = _records(packet)
        status = 0
        if packet.kind == FAULT:
            status = _status(values, method)
            self._print_fault(values)
        elif self.options.json:
            self.write(as_json(values))
        elif self.options.format is not None:
            self.write(formatted(values, self.options.format))
        elif template is not None:
            self.write(formatted(values, unescaped(template)))
        else:
            self.write(shown(values))
        if self.options.verbose:
            self.write(".\n")
        return status

    def _print_fault(self, values: Sequence[Value]) -> None:
        if not self.options.json:
            self.write(f"error: {formatted(values, '%v - %v' + chr(10))}")
            return
        code, text = (*values, None, None)[:2]
        self.write(
            msgspec.json.format(msgspec.json.encode({"code": code, "message": text}), indent=2).decode()
            + "\n"
        )

    def write(self, text: str) -> None:
        """Print on standard output: as it is, but nothing that steers a terminal where that is one."""
        if sys.stdout.isatty():
            text = plain(text)
        sys.stdout.flush()
        sys.stdout.buffer.write(text.encode("utf-8", "surrogateescape"))
        sys.stdout.buffer.flush()

    # What is sent

    def call(self, method: str, arguments: Sequence[Value]) -> Packet:
        """Have a method executed.

        Raises:
            Failure: there is no answer.
        """
        deadline = time.monotonic() + self.options.timeout
        where = self.options.endpoint
        try:
            if self._carrier is not None and has_ended(self._carrier):
                self.close()
            return self._exchange(method, arguments, deadline)
        except TimeoutError as error:
            self.close()
            raise Failure(f"{where}: no answer in {self.options.timeout:g} s", ExitStatus.TIMEOUT) from error
        except OSError as error:
            self.close()
            raise KamcmdFailure(f"{where}: {error.strerror or error}") from error
        except RemoteProtocolError as error:
            self.close()
            raise KamcmdFailure(f"{where}: {error}") from error

    def _exchange(self, method: str, arguments: Sequence[Value], deadline: float) -> Packet:
        if self._carrier is None:
            self._carrier = connect_carrier(self.options.endpoint, None, deadline)
        carrier = self._carrier
        self._cookie = (self._cookie + 1) & 0x7FFFFFFF
        set_deadline(carrier, deadline)
        carrier.sendall(encode_request(self._cookie, method, arguments))
        reader = PacketReader()
        while True:
            set_deadline(carrier, deadline)
            data = carrier.recv(CHUNK)
            if not data:
                raise ConnectionError("the server has closed the connection without an answer")
            if self.options.verbose > 2:
                self.write(f"received {len(data)} bytes in reply (@offset 0):\n{_dump(data)}")
            for packet in reader.receive(data):
                self._check(packet)
                return packet

    def _check(self, packet: Packet) -> None:
        if self.options.verbose > 1:
            self.write(
                f"new packet: type {packet.kind:02x}, len {len(packet.body)}, cookie {packet.cookie:02x}\n"
            )
        if packet.kind not in (REPLY, FAULT):
            raise RemoteProtocolError("not a reply")
        # A server that refuses a connection knows no cookie.
        if packet.cookie != self._cookie and not (packet.kind == FAULT and packet.cookie == 0):
            raise RemoteProtocolError(
                f"the reply's cookie is {packet.cookie:02x}, and {self._cookie:02x} was sent"
            )

    def close(self) -> None:
        """Close the connection."""
        if self._carrier is not None:
            self._carrier.close()
            self._carrier = None


class KamcmdFailure(Failure):
    """What keeps kamcmd from an answer, with kamcmd's exit status."""

    def __init__(self, text: str) -> None:
        super().__init__(text, ExitStatus.ERROR)
        self.status = FAILED  # type: ignore[assignment]


def _records(packet: Packet) -> list[Value]:
    try:
        return decode_records(packet.body, errors="surrogateescape")
    except RecordError as error:
        raise KamcmdFailure(
            f"the reply's record {len(error.values)} cannot be read: {error.reason}"
        ) from error


def _status(fault: Sequence[Value], method: str) -> int:
    try:
        return row(decode_fault(fault, method).result).exit
    except RemoteProtocolError:
        return row(Result.ERROR).exit


def _dump(data: bytes) -> str:
    lines = []
    for start in range(0, len(data), 16):
        chunk = data[start : start + 16]
        letters = "".join(chr(byte) if 32 <= byte < 127 else "." for byte in chunk)
        lines.append(f"{''.join(f'{byte:02x} ' for byte in chunk):48} {letters}\n")
    return "".join(lines)
