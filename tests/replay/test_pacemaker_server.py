"""What real clients sent to real daemons, sent to the cluster daemon: the answers have the same form."""

from __future__ import annotations

import asyncio
from typing import Any

from bridle.wire.pacemaker_header import Layout
from bridle.wire.pacemaker_xml import Xml, read_xml
from tests.replay.test_pacemaker_vectors import rows
from tests.support.cluster import cluster
from tests.support.loops import on_virtual_clock
from tests.support.pacemaker_server import Conversation, Sent

Row = dict[str, Any]
REGISTER = '<stonith_command t="stonith-ng" st_op="register" st_clientname="stonith_admin"/>'

# What depends on what was there before: the answer's form is another where the capture's cluster was in
# another state than ours.
_STATE = {
    "Watchdog fence device not configured",
    'cib_rc="-6"',
    'lrmd_rc="-19"',
    "No such device",
}
# Attributes that say where in Pacemaker's source an answer was made, that come and go with a failure, or that
# only the one who fences has.
_LEFT_OUT = {"line", "exit-reason", "st_output", "st_delegate", "src", "st_device_id", "st_device_action"}


def form(document: Xml) -> tuple[str, frozenset[str], tuple[str, ...]]:
    """A document's name, attributes and what is in it."""
    inside = tuple(child.tag for child in document)
    return document.tag, frozenset(document.attrib) - _LEFT_OUT, inside


def answers(captured: list[Row], index: int) -> list[Row]:
    """What a request's conversation captured as its answers."""
    asked = captured[index]
    request = read_xml(asked["xml"])
    found = []
    for row in captured[index + 1 :]:
        if (row["tool"], row["client"], row["daemon"]) != (asked["tool"], asked["client"], asked["daemon"]):
            continue
        if row["dir"] == "c2s":
            break
        answer = read_xml(row["xml"])
        same = row["dir"] == "s2c-response" and row["id"] == asked["id"]
        for name in ("reference", "cib_callid", "st_callid"):
            same = same or (request.get(name) is not None and request.get(name) == answer.get(name))
        if same and answer.tag != "notify":
            found.append(row)
    return found


def skipped(row: Row) -> bool:
    """Whether an answer depends on the state of the captured cluster."""
    return any(text in row["xml"] for text in _STATE) or "stonith_admin -Q" in row["tool"]


def check(row: Row, sent: list[Sent]) -> str | None:
    """What is different, if anything is."""
    expected = read_xml(row["xml"])
    event = row["dir"] == "s2c-event"
    candidates = [one for one in sent if one.event == event]
    flags = int(row["flags"], 16)
    for one in candidates:
        if form(one.document) == form(expected) and one.message.flags == flags:
            return None
    shown = [(form(one.document), hex(one.message.flags)) for one in candidates]
    return (
        f"{row['tool']} {row['daemon']} {row['dir']}: expected {form(expected)} {row['flags']}, got {shown}"
    )


@on_virtual_clock
async def test_the_answers_have_the_form_of_the_real_ones() -> None:
    captured = [row for row in rows() if row["xml"]]
    configuration = {"imagined": {"resources": [{"id": "dummy"}], "fencing-devices": [{"id": "other"}]}}
    different: list[str] = []
    compared = 0
    conversations: dict[tuple[str, str, str], Conversation] = {}
    async with cluster(configuration) as c:
        await asyncio.sleep(1)
        for index, row in enumerate(captured):
            key = (row["tool"], row["client"], row["daemon"])
            if row["dir"] != "c2s" or row.get("layout") == 3:
                continue
            if "quit" in row["xml"] or "cib_shutdown" in row["xml"]:
                continue
            if key not in conversations:
                conversations[key] = Conversation(c.daemon, row["daemon"])
                if row["daemon"] == "stonith-ng" and "register" not in row["xml"]:
                    # It was not captured, but it was sent.
                    await conversations[key].ask(REGISTER)
            talk = conversations[key]
            sent = await talk.ask(row["xml"], flags=int(row["flags"], 16))
            for answer in answers(captured, index):
                if not skipped(answer):
                    compared += 1
                    wrong = check(answer, sent)
                    if wrong is not None:
                        different.append(wrong)
            await asyncio.sleep(0.2)
        for talk in conversations.values():
            talk.close()
    assert compared > 100
    assert different == []


@on_virtual_clock
async def test_clients_of_the_newer_layout_are_answered_in_it() -> None:
    captured = [row for row in rows() if row.get("layout") == 3 and row["dir"] == "c2s" and row["xml"]]
    assert captured
    async with cluster() as c:
        conversations: dict[str, Conversation] = {}
        for row in captured:
            talk = conversations.setdefault(
                row["daemon"], Conversation(c.daemon, row["daemon"], layout=Layout.V3)
            )
            for one in await talk.ask(row["xml"], flags=int(row["flags"], 16)):
                assert one.message.layout is Layout.V3
        for talk in conversations.values():
            talk.close()
