"""Captured exchanges with real BNG Blaster: its answers are read, and written again to the byte; what is no
request is answered as it did.

The commands' own rows follow with the session daemon.
"""

from __future__ import annotations

import json

import pytest

import bridle
from bridle.core.messages import Command, Response
from bridle.wire.bngblaster import BngBlasterClient, BngBlasterServer
from bridle.wire.bngblaster_json import decode, encode
from bridle.wire.dialect import Refusal
from tests.replay.bngblaster import Row, rows

ROWS = rows()
ANSWERED = [row for row in ROWS if row.response.startswith("{") and row.note[:8] != "commands"]
# Written by another part of the program, in lines.
INDENTED = "interface-topology"

REFUSALS = ("invalid json", "invalid request", "unknown command")
DIFFERENCES: dict[str, str] = {}
"""Rows that are answered otherwise, by their notes: the row of ``docs/compatibility.md`` that says how."""


def _ids(row: Row) -> str:
    return f"{row.number}-{row.note[:40]}"


def _is_whole(row: Row) -> bool:
    try:
        json.loads(row.response)
    except ValueError:
        return False
    return INDENTED not in row.note and "\n" not in row.response


@pytest.mark.parametrize("row", [row for row in ANSWERED if _is_whole(row)], ids=_ids)
def test_an_answer_is_read_and_written_again_to_the_byte(row: Row) -> None:
    data = row.response.encode()
    assert encode(decode(data)) == data
    client = BngBlasterClient()
    client.request(Command("x"))
    (answer,) = client.receive(data)
    read = json.loads(row.response)
    assert (answer.result == 0) == (read["status"] == "ok")
    assert answer.text == read.get("message")
    assert answer.result == 0 or answer.code == read["code"]
    assert client.receive_eof() == ()
    assert not client.reusable


def _is_about_the_wire(row: Row) -> bool:
    if row.version == "0.5.0" or not row.request or not _is_whole(row):
        return False
    message = json.loads(row.response).get("message")
    return (message in REFUSALS and "l2tp" not in row.note) or row.note.startswith(("malformed", "request:"))


WIRE = [row for row in ANSWERED if _is_about_the_wire(row)]


def answered(request: bytes) -> bytes:
    """What a server without commands says, one byte at a time and then the client's end."""
    manager = bridle.CommandManager()
    server = BngBlasterServer()
    data = b""
    for position in range(len(request)):
        for message in server.receive(request[position : position + 1]):
            data += _answer(server, manager, message)
    for message in server.receive_eof():
        data += _answer(server, manager, message)
    return data


def _answer(server: BngBlasterServer, manager: bridle.CommandManager, message: object) -> bytes:
    if isinstance(message, Refusal):
        return message.data
    assert isinstance(message, Command)
    response = manager.process_command(message)
    assert isinstance(response, Response)
    return server.respond(message, response)


@pytest.mark.parametrize("row", WIRE, ids=_ids)
def test_what_is_no_request_is_answered_to_the_byte(row: Row) -> None:
    message = json.loads(row.response).get("message")
    if message in REFUSALS:
        assert answered(row.request).decode() == row.response
    else:
        # It was taken for a request of a command that is not here.
        assert "unknown command" in answered(row.request).decode()


def test_there_are_such_rows() -> None:
    assert len(WIRE) > 15
