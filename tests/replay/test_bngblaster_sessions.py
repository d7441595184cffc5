"""Captured sessions of real BNG Blaster, replayed against the session daemon: the same shapes, states and
words.

Addresses, counters and times are another run's; everything else is the same, or the row's note stands in
``DIFFERENCES``.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import json
from pathlib import Path
from typing import Any, cast

import pytest

from bridle.bundled.bng.bng import Bng
from bridle.core.messages import Command
from bridle.daemon.document import Document
from bridle.testing import run
from bridle.wire.bngblaster import BngBlasterServer
from bridle.wire.dialect import Refusal
from tests.replay.bngblaster import Row, rows
from tests.replay.bngblaster_scenarios import BETWEEN, CONFIGURATIONS

ROWS = rows()

# Commands of other protocols than sessions have; and what cannot be had without packets.
LEFT_OUT = frozenset(
    [
        "isis-adjacencies",
        "ospf-neighbors",
        "bgp-sessions",
        "ldp-database",
        "bgp-raw-update-list",
        "pcap-start",
        "cfm-cc-start",
        "icmp-clients",
        "http-clients",
        "arp-clients",
        "lag-info",
        "interface-topology",
    ]
)
DIFFERENCES: dict[str, str] = {
    "args list": "bng-arguments",
    "args number": "bng-arguments",
    "arguments string for terminate => GLOBAL teardown": "bng-arguments",
    "malformed/wire 0.5.0: args string": "bng-arguments",
    "l2tp-sessions tunnel-id as string (ignored)": "bng-types",
    "session-traffic-start direction wrong type (ignored)": "bng-types",
    "session-update wrong type is ignored": "bng-types",
    "session-summary id 2 (returns 2 + all!)": "bng-session-summary",
    "igmp-info after reconnect": "bng-igmp-join-iter",
    "terminate with only session-group-id == GLOBAL teardown": "bng-terminate-group",
    "malformed/wire 0.5.0: trailing garbage": "bng-old-wire",
    "malformed/wire 0.5.0: two requests": "bng-old-wire",
    "malformed/wire 0.5.0: 1023 bytes": "bng-old-wire",
    "malformed/wire 0.5.0: 1024 bytes": "bng-old-wire",
    "malformed/wire 0.5.0: 1025 bytes": "bng-old-wire",
    "malformed/wire 0.5.0: in 3 parts 0.3s apart": "bng-old-wire",
    "malformed/wire 0.5.0: request of exactly 1025 bytes": "bng-old-wire",
}
"""Rows that are answered otherwise, by their notes: the row of ``docs/compatibility.md`` that says how."""

# Members whose values are the same, not only of the same type.
SAME = frozenset(
    [
        "status",
        "code",
        "message",
        "type",
        "session-id",
        "session-state",
        "session-substate",
        "interface",
        "outer-vlan",
        "inner-vlan",
        "mac",
        "lcp-state",
        "ipcp-state",
        "ip6cp-state",
        "dhcp-state",
        "dhcpv6-state",
        "name",
        "state",
        "group",
        "sources",
        "flapped",
        "username",
        "agent-circuit-id",
        "agent-remote-id",
        "sessions",
        "sessions-pppoe",
        "sessions-ipoe",
        "sessions-established-max",
        "direction",
        "enabled",
        "active",
        "flow-id",
        "sub-type",
        "total-flows",
        "tunnel-id",
        "command",
        "arguments",
    ]
)


def _scenario(row: Row) -> str:
    return row.scenario.partition(":")[0]


async def _play(scenario: str) -> dict[int, bytes]:
    daemon = Bng()
    daemon.end = lambda status: None
    settings = daemon.check_configuration(Document({"bng": cast(Any, CONFIGURATIONS[scenario])}))
    daemon.configure(settings)
    await daemon.start()
    answers = {}
    for row in ROWS:
        if _scenario(row) != scenario:
            continue
        for step in BETWEEN.get(row.number, []):
            if isinstance(step, float):
                await asyncio.sleep(step)
            else:
                name, arguments = step
                response = await daemon.manager.execute(Command(name, arguments))
                assert response.result == 0, (row.number, step, response)
        answers[row.number] = await _answer(daemon, row.request)
    await daemon.stop()
    return answers


async def _answer(daemon: Bng, request: bytes) -> bytes:
    server = BngBlasterServer()
    data = b""
    for message in (*server.receive(request), *server.receive_eof()):
        if isinstance(message, Refusal):
            data += message.data
        elif isinstance(message, Command):
            data += server.respond(message, await daemon.manager.execute(message))
    return data


@functools.cache
def answers(scenario: str) -> dict[int, bytes]:
    """What the session daemon answers to each row of a scenario."""
    found: dict[int, bytes] = {}

    async def play() -> None:
        found.update(await _play(scenario))

    run(play())
    return found


def _shape(value: object, key: str = "") -> object:
    """What two answers have in common: keys in their order, types, and the values of some."""
    if isinstance(value, dict):
        return [(name, _shape(item, name)) for name, item in value.items()]
    if isinstance(value, list):
        return [_shape(item, key) for item in value]
    return (value,) if key in SAME else type(value).__name__


def _name(row: Row) -> str:
    with contextlib.suppress(ValueError, KeyError, TypeError):
        return str(json.loads(row.request)["command"])
    return ""


def _told(row: Row) -> dict[str, Any] | None:
    with contextlib.suppress(ValueError):
        told = json.loads(row.response)
        return told if isinstance(told, dict) else None
    return None


# Requests of many bytes were kept in part; wire tests have their like.
SHORTENED = b"bytes)"
COMPARED = [
    row
    for row in ROWS
    if _told(row) is not None
    and not row.request.endswith(SHORTENED)
    and _name(row) not in LEFT_OUT | {"commands"}
]


@pytest.mark.parametrize("row", COMPARED, ids=lambda row: f"{row.number}-{row.note[:40]}")
def test_a_row_is_answered_as_it_was(row: Row) -> None:
    ours = json.loads(answers(_scenario(row))[row.number])
    theirs = _told(row)
    if row.note in DIFFERENCES:
        assert _shape(ours) != _shape(theirs), f"{row.note} is answered alike: {DIFFERENCES[row.note]}"
    else:
        assert _shape(ours) == _shape(theirs)


def test_every_row_is_accounted_for() -> None:
    assert len(COMPARED) > 350
    assert {_scenario(row) for row in ROWS} == CONFIGURATIONS.keys()
    assert DIFFERENCES.keys() <= {row.note for row in COMPARED}
    assert BETWEEN.keys() <= {row.number for row in ROWS}


def test_every_difference_is_a_row_of_the_compatibility_page() -> None:
    page = (Path(__file__).parents[2] / "docs" / "compatibility.md").read_text("utf-8")
    for name in DIFFERENCES.values():
        assert f"| `{name}` |" in page


def test_commands_are_listed_with_their_arguments() -> None:
    """Ours are a part of BNG Blaster's; the names of the arguments are the same."""
    row = next(row for row in ROWS if _name(row) == "commands")
    theirs = {one["command"]: one["arguments"] for one in json.loads(row.response)["commands"]}
    ours = json.loads(answers("A")[row.number])["commands"]
    assert len(ours) > 60
    for one in ours:
        assert one["arguments"] == theirs[one["command"]]
