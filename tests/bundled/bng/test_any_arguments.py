"""Whatever comes as arguments, every command answers, in BNG Blaster's own form."""

from __future__ import annotations

import asyncio
import json
import logging
from typing import Any, cast

from hypothesis import given, settings
from hypothesis import strategies as st

from bridle.bundled.bng.bng import Bng
from bridle.core.messages import Command, Response
from bridle.daemon.document import Document
from bridle.wire.bngblaster import BngBlasterServer

CONFIGURATION: dict[str, Any] = {
    "interfaces": {
        "network": {"interface": "n0"},
        "access": [
            {"interface": "a0", "outer-vlan-min": 1, "outer-vlan-max": 9, "inner-vlan": 7},
            {"interface": "a0", "type": "ipoe", "outer-vlan-min": 11, "outer-vlan-max": 19},
        ],
    },
    "sessions": {"count": 4},
    "session-traffic": {"ipv4-pps": 1, "ipv6pd-pps": 1},
    "streams": [{"name": "RAW1"}],
    "igmp": {"group": "239.0.0.1", "group-count": 2, "send-multicast-traffic": True, "zapping-interval": 1},
    "l2tp-server": {"name": "LNS1", "address": "10.0.0.11"},
    "simulation": {"l2tp": [{"server": "LNS1", "sessions": 2}]},
}
TOLD = cast(Response, Bng().manager.process_command(Command("commands"))).value
ARGUMENTS = {cast(str, one["command"]): cast("list[str]", one["arguments"]) for one in cast(Any, TOLD)}
COMMANDS = sorted({*ARGUMENTS, "session-traffic-enabled", "stream-traffic-stop", "no-such-command"})
NAMES = sorted({"outer-vlan", "inner-vlan", "interface", "ifindex", "foo"}.union(*ARGUMENTS.values()))

values = st.one_of(
    st.integers(-2, 13),
    st.sampled_from(
        [0.5, 2.9, -1.5, 1e300, 2**32 + 1, 2**63 - 1, -(2**63), True, False, None, "", "x", "both"]
    ),
    st.sampled_from(
        ["239.0.0.1", "1.1.1.1", "a0", "n0", "upstream", "session-ipv4", "fe80::1", [1, "x"], [], {}]
    ),
)
calls = st.tuples(st.sampled_from(COMMANDS), st.dictionaries(st.sampled_from(NAMES), values, max_size=3))


@settings(max_examples=150, deadline=None)
@given(st.lists(calls, min_size=1, max_size=12))
def test_every_command_answers_in_its_own_form(asked: list[tuple[str, dict[str, Any]]]) -> None:
    faults: list[str] = []
    handler = logging.Handler(logging.ERROR)
    handler.emit = lambda record: faults.append(record.getMessage())  # type: ignore[method-assign]
    log = logging.getLogger("bridle.core")
    log.addHandler(handler)
    try:
        asyncio.run(_ask_all(asked))
    finally:
        log.removeHandler(handler)
    assert not faults


async def _ask_all(asked: list[tuple[str, dict[str, Any]]]) -> None:
    now = 0.0
    daemon = Bng(clock=lambda: now)
    daemon.end = lambda status: None
    daemon.configure(daemon.check_configuration(Document({"bng": CONFIGURATION})))
    await daemon.start()
    for name, arguments in asked:
        now += 1.25
        command = Command(name, arguments)
        response = await daemon.manager.execute(command)
        assert isinstance(response, Response)
        told = json.loads(BngBlasterServer().respond(command, response))
        assert told["status"] in ("ok", "warning", "error")
        assert (told["status"] == "ok") == (told["code"] == 200)
        assert told["status"] == "ok" or isinstance(told["message"], str)
    await daemon.stop()
