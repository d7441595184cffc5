"""Replays rows of ``tests/vectors/kamailio.jsonl.gz`` against our server, on loopback.

The capture's ``rpct`` module drove every format character of Kamailio's RPC interface; :class:`Rpct` answers
as it did, by the signatures and values that stand for those characters here.
"""

from __future__ import annotations

import asyncio
import gzip
import json
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec

import bridle
from bridle.core.messages import Expected, Kind, ScannedArguments
from bridle.wire.binrpc_packets import PacketReader
from bridle.wire.binrpc_records import Array, Struct, Value, decode_records
from tests.support.programs import short_directory

VECTORS = Path(__file__).parent.parent / "vectors" / "kamailio.jsonl.gz"
NAMES: dict[int, str] = {0: "REQ", 1: "REPL", 3: "FAULT"}
# A request that shows whether a conversation goes on, and what it is answered.
PROBE = bytes.fromhex("a1000a7e9108") + b"a.probe\0"
PROBED = bytes.fromhex("a1301f7e2001f4911a") + b"command a.probe not found\0"
TEXT_PROBE = b":a.probe:\n\n"
TEXT_PROBED = b"500 Command 'a.probe' not found\n"
SECONDS = 5.0


class Row(msgspec.Struct, frozen=True):
    """One captured exchange."""

    number: int
    transport: str
    note: str
    request: bytes
    response: bytes
    decoded: object
    after: str

    @property
    def is_fifo(self) -> bool:
        """True for the text protocol."""
        return self.transport.startswith("fifo")

    @property
    def second(self) -> bool:
        """True for the second instance of the capture: with autoconversion and larger limits."""
        return self.transport.endswith("+B")

    @property
    def carrier(self) -> str:
        """``unixs``, ``unixd``, ``udp``, ``tcp`` or ``fifo``."""
        return self.transport.removesuffix("+B").rpartition(":")[2]

    @property
    def method(self) -> str:
        """The request's method; empty where it has none."""
        if self.is_fifo:
            return self.request.decode().partition(":")[2].partition(":")[0]
        try:
            (packet,) = PacketReader().receive(self.request)
            (name,) = decode_records(packet.body, count=1)
        except Exception:
            return ""
        return str(name)


def rows() -> list[Row]:
    """All rows."""
    with gzip.open(VECTORS, "rt", encoding="utf-8") as lines:
        found = [json.loads(line) for line in lines]
    return [
        Row(
            number,
            row["transport"],
            row["note"].removeprefix("[free() neutralised] "),
            bytes.fromhex(row["request_hex"]),
            bytes.fromhex(row["response_hex"]),
            row["decoded"],
            row.get("conn_after") or "",
        )
        for number, row in enumerate(found)
    ]


def as_captured(value: Value) -> object:
    """A value in the capture's notation: strings as Latin-1, structs as lists of pairs."""
    if isinstance(value, Struct):
        return {
            "struct": [
                as_captured(item) if name is None else {_latin(name): as_captured(item)}
                for name, item in value.members
            ]
        }
    if isinstance(value, Array):
        return {"array": [as_captured(item) for item in value.items]}
    if isinstance(value, float):
        return {"dbl": value}
    return _latin(value) if isinstance(value, str) else value


def _latin(text: str) -> str:
    return text.encode("utf-8", "surrogateescape").decode("latin-1")


class Rpct:
    """The methods of the capture's test module that a handler of ours can have."""

    def __init__(self, manager: bridle.CommandManager) -> None:
        register = manager.register_command
        register("rpct.scan", self.scan)
        register("rpct.add", self.add)
        register("rpct.fault", self.fault)
        register("rpct.str", self.string)
        register("rpct.strs", self.strings)
        register("rpct.struct", self.struct)
        register("rpct.structs", self.structs)
        register("rpct.nstructs", self.many_structs)
        register("rpct.bigstruct", self.big_struct)
        register("rpct.emptyarr", self.empty)
        register("rpct.emptystruct", self.empty)
        register("rpct.arrinarr", self.nested)
        register("rpct.escape", self.escape)
        register("rpct.scanstruct", self.scan_struct)
        register("rpct.undoc", lambda: None)

    def scan(self, command: bridle.Command) -> list[str]:
        """Read parameters by a format, and tell them."""
        body = command.body
        assert isinstance(body, ScannedArguments)
        (text,) = body.scan(Expected(("str",), 1))  # type: ignore[misc, has-type]
        letters = [letter for letter in text.replace(".", "") if letter != "*"]
        required = len(text.replace(".", "").partition("*")[0])
        kinds: dict[str, Kind] = {"s": "str", "S": "str", "f": "float"}
        wanted = Expected(("str", *(kinds.get(letter, "int") for letter in letters)), 1 + required)
        values = body.scan(wanted)
        assert isinstance(values, list)
        told = [_told(letter, value) for letter, value in zip(letters, values[1:], strict=False)]
        return [f"ret={len(told)}", *told] if told else []

    def add(self, *pairs: str) -> list[object]:
        """Answer values: each is a letter and a text."""
        return [_value(letter, text) for letter, text in zip(pairs[::2], pairs[1::2], strict=True)]

    def fault(self, code: int = 0, text: str = "") -> bridle.Response:
        """Answer a fault."""
        return bridle.Response(1, text, code=code)

    def string(self, size: int) -> str:
        """A string of a size."""
        return "A" * size

    def strings(self, count: int, size: int) -> list[str]:
        """So many strings of a size."""
        return ["B" * size] * count

    def struct(self) -> dict[str, object]:
        """One of everything."""
        return {
            "int": -5,
            "s": "abc",
            "S": "strval",
            "f": 2.5,
            "b": True,
            "t": 1700000000,
            "u": -294967296,
            "null": None,
            "zero": 0,
            "empty": "",
            "long_member_name": "value longer than seven",
            "pf": "7-x,y:z",
        }

    def structs(self) -> list[object]:
        """Structs among others."""
        return [1, {"a": 1}, "between", {"b": 2}, 9]

    def many_structs(self, count: int, members: int) -> list[dict[str, int]]:
        """So many structs."""
        return [{f"k{index}": index for index in range(members)}] * count

    def big_struct(self, members: int, size: int) -> dict[str, str]:
        """A struct with large members."""
        return {f"m{index}": "C" * size for index in range(members)}

    def empty(self) -> dict[str, int]:
        """A struct without members."""
        return {}

    def nested(self) -> list[object]:
        """Arrays in an array."""
        return [[[1, 2], [3, 4]]]

    def escape(self) -> list[object]:
        """What has to be escaped in text."""
        return [
            "tab\there nl\nhere cr\rhere bs\\here colon:here comma,here",
            {"na:me,x": "va\tl\n:,\\z"},
        ]

    def scan_struct(self, a: int = 0, b: str = "", f: float = 0.0) -> list[object]:
        """Named arguments, each told."""
        return [3, a, b, f]


def _told(letter: str, value: object) -> str:
    if letter == "s":
        return f"s=[{value}]"
    if letter == "S":
        return f"S=[{value}]/{len(str(value).encode())}"
    return f"f={value:f}" if letter == "f" else f"{letter}={value}"


def _value(letter: str, text: str) -> object:
    if letter in "sS":
        return None if text == "NULL" else text
    if letter == "b":
        return int(text)
    if letter == "f":
        return float(text)
    if letter in "ljLJ":
        return float(int(text))
    number = int(text)
    return number - (1 << 32) if number >= 1 << 31 else number


class Instance:
    """One server that listens as the capture's did."""

    def __init__(self, folder: Path, ports: dict[str, int]) -> None:
        self.folder = folder
        self.ports = ports

    async def exchange(self, row: Row) -> tuple[bytes, bool]:
        """What a row's request is answered with, and whether the conversation goes on after it."""
        carrier = f"fifo-{row.carrier}" if row.is_fifo else row.carrier
        probe, probed = (TEXT_PROBE, TEXT_PROBED) if row.is_fifo else (PROBE, PROBED)
        async with asyncio.timeout(SECONDS):
            if carrier not in ("unixs", "tcp", "fifo-tcp"):
                data = await self._datagrams(carrier, [row.request, probe], probed)
            elif row.decoded == "no reply":
                return await self._stream(carrier, row.request), True  # whatever follows would be part of it
            else:
                data = await self._stream(carrier, row.request + probe)
        return data.removesuffix(probed), data.endswith(probed)

    async def _stream(self, carrier: str, data: bytes) -> bytes:
        if carrier == "unixs":
            reader, writer = await asyncio.open_unix_connection(str(self.folder / "ctl"))
        else:
            reader, writer = await asyncio.open_connection("127.0.0.1", self.ports[carrier])
        try:
            writer.write(data)
            writer.write_eof()
            return await reader.read()
        finally:
            writer.close()
            await writer.wait_closed()

    async def _datagrams(self, carrier: str, sent: list[bytes], last: bytes) -> bytes:
        """Send datagrams, and give what came until the last of them was answered."""
        loop = asyncio.get_running_loop()
        family = socket.AF_UNIX if carrier == "unixd" else socket.AF_INET
        with socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as sock:
            if carrier == "unixd":
                sock.bind("")
                sock.connect(str(self.folder / "ctld"))
            else:
                sock.connect(("127.0.0.1", self.ports[carrier]))
            received = b""
            for datagram in sent:
                sock.send(datagram)
            while True:
                answer = await loop.sock_recv(sock, 1 << 17)
                received += answer
                if answer == last:
                    return received


@asynccontextmanager
async def instance(*, second: bool = False) -> AsyncIterator[Instance]:
    """A server with a channel of each kind, its working directory as small as Kamailio's."""
    manager = bridle.CommandManager()
    Rpct(manager)
    server = bridle.Server(manager, name="kamailio", version="5.6.3")
    more = "?autoconversion=1&max-body-size=256&max-struct-size=128" if second else ""
    with short_directory() as folder:
        try:
            await server.listen(f"binrpc+unix:{folder}/ctl{more}")
            await server.listen(f"binrpc+unixd:{folder}/ctld{more}")
            udp = await server.listen(f"binrpc+udp:127.0.0.1:0{more}")
            tcp = await server.listen(f"binrpc+tcp:127.0.0.1:0{more}")
            text_udp = await server.listen("fifo+udp:127.0.0.1:0")
            text_tcp = await server.listen("fifo+tcp:127.0.0.1:0")
            ports = {
                "udp": udp.endpoint.port,
                "tcp": tcp.endpoint.port,
                "fifo-udp": text_udp.endpoint.port,
                "fifo-tcp": text_tcp.endpoint.port,
            }
            yield Instance(folder, ports)
        finally:
            await server.close(0)
