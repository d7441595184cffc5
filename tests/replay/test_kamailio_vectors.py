"""Captured exchanges with real Kamailio: read and written again to the byte, and answered by our server.

Each row whose method we have is answered as Kamailio did, or differs as a row of ``docs/compatibility.md``
says.
"""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from bridle.core.messages import Command
from bridle.wire.binrpc_packets import PacketReader, encode_packet
from bridle.wire.binrpc_records import decode_records, encode_records
from bridle.wire.fifo import FifoClient
from bridle.wire.fifo_text import format_struct, format_value, parse_struct
from tests.replay.kamailio import NAMES, Row, as_captured, instance, rows

ROWS = rows()
BINRPC = [row for row in ROWS if not row.is_fifo]

# Answers that tell of the daemon or of the moment: the kinds of their records are compared.
TELLING = frozenset(
    {
        "core.arg",
        "core.ps",
        "core.psx",
        "core.pwd",
        "core.uptime",
        "core.version",
        "ctl.listen",
        "ctl.who",
        "system.listMethods",
        "system.methodHelp",
    }
)
OURS = TELLING | {
    "core.echo",
    "core.printi",
    "core.prints",
    "ctl.connections",
    "system.methodSignature",
}
RPCT = frozenset(
    {
        "rpct.add",
        "rpct.arrinarr",
        "rpct.bigstruct",
        "rpct.emptyarr",
        "rpct.emptystruct",
        "rpct.escape",
        "rpct.fault",
        "rpct.nstructs",
        "rpct.scan",
        "rpct.scanstruct",
        "rpct.str",
        "rpct.strs",
        "rpct.struct",
        "rpct.structs",
    }
)
# What no handler of ours can say: Kamailio's scanning of structs, and how it narrows numbers.
WITHOUT_COUNTERPART = frozenset(
    {
        "scan '{' with ['raw:0383'] (struct in params)",
        "struct param missing colon",
        "struct param empty line",
        "struct param missing member",
        "rpc->add j -1",
        "rpc->add j 18446744073709551615",
        "add b 7",
    }
)

DIFFERENCES: dict[str, str] = {
    'echo ints autoconv to str by ".s"': "kamailio-negative-text",
    "autoconversion=1: scan 's' with [-5]": "kamailio-negative-text",
    "rpct.fault negative": "kamailio-negative-text",
    "add d -1 (int2str of int)": "kamailio-negative-text",
    "prints with int 2nd param: partial reply, fault masked": "kamailio-masked-faults",
    "echo str then double: partial reply": "kamailio-double-text",
    "echo with param overrunning the packet: treated as end (more data)": "kamailio-cut-parameters",
    "unknown method 300 chars: NO REPLY": "kamailio-fault-sizes",
    "rpc->fault(65536, 7 chars)": "kamailio-fault-sizes",
    "rpc->fault(404, 255 chars)": "kamailio-fault-sizes",
    "rpc->fault(404, 400 chars)": "kamailio-fault-sizes",
    "scan 'f' with [2] (int for dbl)": "kamailio-integers-for-doubles",
    "struct 8k limit: 100 members of 100 bytes; struct_add fails at member 76, handler decides -> "
    "truncated struct, no fault": "kamailio-struct-overflow",
    "scan S of size-0 str: len -1!": "kamailio-missing-nul",
    "string param without NUL leaks following bytes into %s": "kamailio-missing-nul",
    "string with embedded NUL": "kamailio-inner-nul",
    "scan S escapes": "kamailio-inner-nul",
    "record ext len 0xffffffff: 5.6.3 accepts as negative len "
    "(HEAD: corrupted packet)": "kamailio-record-lengths",
    "int record ext len 0xfffffff0": "kamailio-record-lengths",
    "system.methodSignature core.ps": "kamailio-signatures",
    "udp 66000 reply size with max_body 256k: no reply": "kamailio-large-datagrams",
    "udp 65500 reply (UDP max payload 65507)": "kamailio-large-datagrams",
    "udp 65505 reply (over 65507 total)": "kamailio-large-datagrams",
    "udp 70000 byte reply": "kamailio-large-datagrams",
    "core.printi": "kamailio-fifo-optional",
    "scan d*s with dummy": "kamailio-fifo-optional",
    "rpct.struct: u not supported -> fault": "kamailio-fifo-types",
    "add u (unsupported)": "kamailio-fifo-types",
    "add l (unsupported)": "kamailio-fifo-types",
    "scan d with text": "kamailio-fifo-numbers",
    "scan s bad escape \\x -> fault": "kamailio-fifo-escapes",
    "CRLF line ends: \\r\\n counts as double EOL after 1st line!": "kamailio-fifo-line-ends",
    "missing 2nd colon -> 200 OK": "kamailio-fifo-malformed",
    "empty first line": "kamailio-fifo-malformed",
    "udp bad": "kamailio-fifo-malformed",
}
"""Rows that are answered otherwise, by their notes: the row of ``docs/compatibility.md`` that says how."""


def _ids(row: Row) -> str:
    return f"{row.number}-{row.note[:40]}"


@pytest.mark.parametrize("row", [row for row in BINRPC if row.response], ids=_ids)
def test_an_answer_is_read_as_the_capture_says_and_written_again_to_the_byte(row: Row) -> None:
    packets = PacketReader().receive(row.response)
    read = [
        {
            "type": NAMES[packet.kind],
            "len": len(packet.body),
            "cookie": hex(packet.cookie),
            "records": [
                as_captured(value) for value in decode_records(packet.body, errors="surrogateescape")
            ],
        }
        for packet in packets
    ]
    assert read == (row.decoded if isinstance(row.decoded, list) else [row.decoded])
    written = [
        encode_packet(
            packet.kind,
            packet.cookie,
            encode_records(decode_records(packet.body, errors="surrogateescape")),
        )
        for packet in packets
    ]
    assert b"".join(written) == row.response


TEXT = [row for row in ROWS if row.is_fifo and row.response]


@pytest.mark.parametrize("row", TEXT, ids=_ids)
def test_an_answer_in_text_is_read_and_written_again(row: Row) -> None:
    answers = row.response.split(b"200 OK\n")[1:] if row.response.count(b"200 OK\n") > 1 else [None]
    for part in answers:
        data = row.response if part is None else b"200 OK\n" + part
        client = FifoClient()
        client.request(Command(row.method))
        client.receive(data)
        (answer,) = client.receive_eof()
        code, _, rest = data.decode().partition(" ")
        if code != "200":
            assert (str(answer.code), answer.text) == (code, rest.partition("\n")[0])
            continue
        values = (
            [] if answer.value is None else answer.value if isinstance(answer.value, list) else [answer.value]
        )
        lines = rest.split("\n")[1:-1] if rest.endswith("\n") else rest.split("\n")[1:]
        assert len(values) == len(lines)
        for item, line in zip(values, lines, strict=True):
            pairs = parse_struct(line)
            if pairs is not None and len(dict(pairs)) == len(pairs) and line.count(":") == len(pairs):
                assert format_struct(dict(pairs)) == line
            elif pairs is None:
                assert format_value(item) == line


def _is_ours(row: Row) -> bool:
    if row.carrier == "fifo":
        return False  # in tests/net/test_fifo.py: a reply FIFO is needed
    if row.note in WITHOUT_COUNTERPART:
        return False
    if row.method in RPCT:
        return "." not in row.note or row.second or row.method != "rpct.scan"
    known = row.method in OURS or row.decoded == "no reply"
    malformed = row.is_fifo and row.response == b"200 OK\n" and row.method not in RPCT
    return known or (malformed and not _is_answered(row)) or _is_refused(row)


def _is_answered(row: Row) -> bool:
    return row.request.count(b":") > 1


def _is_refused(row: Row) -> bool:
    return b"bad request" in row.response or b"not found" in row.response


REPLAYED = [row for row in ROWS if _is_ours(row)]


@pytest.mark.parametrize("second", [False, True])
def test_our_server_answers_as_kamailio_did(second: bool) -> None:
    async def replay() -> dict[int, tuple[bytes, bool]]:
        async with instance(second=second) as server:
            return {row.number: await server.exchange(row) for row in REPLAYED if row.second == second}

    found = asyncio.run(replay())
    wrong = []
    for row in REPLAYED:
        if row.number not in found:
            continue
        answer, open_ = found[row.number]
        as_before = _same(row, answer) and (not row.after or open_ == (row.after == "open"))
        if as_before == (row.note in DIFFERENCES):
            wrong.append((row.number, row.note, row.after, row.response[:120], answer[:120], open_))
    assert not wrong, "\n".join(map(str, wrong))


def _same(row: Row, answer: bytes) -> bool:
    if row.method not in TELLING:
        return answer == row.response
    if row.is_fifo:
        return answer.partition(b"\n")[0] == row.response.partition(b"\n")[0]
    ours, theirs = (PacketReader().receive(data) for data in (answer, row.response))
    return [packet.kind for packet in ours] == [packet.kind for packet in theirs] and [
        {type(value) for value in decode_records(packet.body)} for packet in ours
    ] == [{type(value) for value in decode_records(packet.body, errors="replace")} for packet in theirs]


def test_every_difference_is_a_row_of_the_compatibility_page() -> None:
    page = (Path(__file__).parents[2] / "docs" / "compatibility.md").read_text("utf-8")
    missing = {name for name in DIFFERENCES.values() if f"| `{name}` |" not in page}
    assert not missing
    assert set(DIFFERENCES) <= {row.note for row in REPLAYED}
