"""Who may do what behind the agent: each service is decided by itself."""

from __future__ import annotations

import asyncio
import base64
import json
from pathlib import Path

import bridle
from bridle.access.audit_verify import verify
from tests.support.audits import lines
from tests.support.front import Front, Reply, agent, answering, backend, encode, settings, web
from tests.support.loops import on_every_loop, on_virtual_clock

JSON = bridle.JSON
USERS: JSON = {
    "type": "basic",
    "clients": [{"user": "ann", "password": "a"}, {"user": "bob", "password": "b"}],
}
ANN: JSON = {"name": "ann", "accept-commands": "ALL", "services": ["dhcp4", "dhcp6", ""]}
BOB: JSON = {"name": "bob", "accept-commands": {"and": ["READ", {"service": ["dhcp4"]}]}}
ACCESS: JSON = {"assign-role-method": "basic-authentication", "roles": [ANN, BOB]}
HELD = b'{ "result": 0, "arguments": { "Dhcp4": { "user": "kea", "password": "12-7-33", "x": 1 } } }'


def header(user: str) -> str:
    """How a user of the tests logs in: the password is the first letter."""
    return f"Authorization: Basic {base64.b64encode(f'{user}:{user[0]}'.encode()).decode()}\r\n"


async def ask(front: Front, user: str, name: str, *services: str, arguments: JSON = None) -> Reply:
    """Send a command as a user."""
    return await front.post(encode(name, *services, arguments=arguments), header(user))


@on_virtual_clock
async def test_where_all_services_are_forbidden_so_is_the_request(short_path: Path) -> None:
    places: dict[str, JSON | Path] = {"dhcp4": short_path / "4", "dhcp6": short_path / "6"}
    async with (
        backend(short_path / "4") as four,
        backend(short_path / "6") as six,
        agent(short_path, places, authentication=USERS, access=ACCESS) as front,
    ):
        for services in (("dhcp4",), ("dhcp4", "dhcp6"), ()):
            reply = await ask(front, "bob", "config-set", *services, arguments={})
            assert (reply.status, json.loads(reply.body)) == (403, {"result": 403, "text": "Forbidden"})
        assert four.requests == six.requests == []
        reply = await ask(front, "ann", "config-set", "dhcp4", "dhcp6", arguments={})
        assert [answer["result"] for answer in reply.answers] == [0, 0]


@on_virtual_clock
async def test_a_service_that_is_forbidden_costs_the_others_nothing(short_path: Path) -> None:
    places: dict[str, JSON | Path] = {"dhcp4": short_path / "4", "dhcp6": short_path / "6"}
    async with (
        backend(short_path / "4") as four,
        backend(short_path / "6") as six,
        agent(short_path, places, authentication=USERS, access=ACCESS) as front,
    ):
        reply = await ask(front, "bob", "status-get", "dhcp6", "dhcp4", "dhcp6")
        assert reply.status == 200
        assert [answer["result"] for answer in reply.answers] == [403, 0, 403]
        assert (len(four.requests), six.requests) == (1, [])


@on_virtual_clock
async def test_secrets_of_a_service_are_masked_and_come_back(short_path: Path) -> None:
    places: dict[str, JSON | Path] = {"dhcp4": short_path / "4"}
    async with (
        backend(short_path / "4", answering(HELD)) as four,
        agent(short_path, places, authentication=USERS, access=ACCESS) as front,
    ):
        told = (await ask(front, "ann", "config-get", "dhcp4")).answer["arguments"]
        assert told == {"Dhcp4": {"user": "kea", "password": "********", "x": 1}}
        told["Dhcp4"]["x"] = 2
        await ask(front, "ann", "config-set", "dhcp4", arguments=told)
        sent = four.request["arguments"]
        assert sent == {"Dhcp4": {"user": "kea", "password": "12-7-33", "x": 2}}
        told["Dhcp4"]["secret"] = "********"
        asked = len(four.requests)
        refused = (await ask(front, "ann", "config-set", "dhcp4", arguments=told)).answer
        assert (refused["result"], "give it anew" in str(refused["text"])) == (1, True)
        assert len(four.requests) == asked + 1  # the config-get alone


@on_virtual_clock
async def test_an_answer_that_cannot_be_looked_into_is_not_shown(short_path: Path) -> None:
    places: dict[str, JSON | Path] = {"dhcp4": short_path / "4"}
    async with (
        backend(short_path / "4", answering(b'[ { "password": "12-7-33" } ]')),
        agent(short_path, places, authentication=USERS, access=ACCESS) as front,
    ):
        assert b"12-7-33" not in (await ask(front, "ann", "config-get", "dhcp4")).body


# Answers of a service, and what of them is shown to a role that reads no secrets.
KNOWN = b'{ "arguments": { "a": 1 }, "result": 0, "text": "fine" }'
ODD_ANSWERS = [
    (KNOWN, KNOWN),
    (
        b'{"text":"fine","result":0,"arguments":{"a":1}}',
        b'{ "arguments": {"a":1}, "result": 0, "text": "fine" }',
    ),
    (
        b'{"result":0,"text":"fine","config":{"password":"12-7-33"},"id":[1,"b"]}',
        b'{ "config": {"password":"********"}, "id": [1,"b"], "result": 0, "text": "fine" }',
    ),
    (b'{"result":0,"password":"12-7-33"}', b'{ "password": "********", "result": 0 }'),
    (b'{"result":0,"x":"a://b:12-7-33@c"}', b'{ "result": 0, "x": "a://b:********@c" }'),
    (
        b'{"result":0,"arguments":{"password":"12-7-33"},"arguments":[1]}',
        b'{ "arguments": [1], "result": 0 }',
    ),
    (
        b'{"result":0,"arguments":{"password":"12-7-33","password":null}}',
        b'{ "arguments": {"password":null}, "result": 0 }',
    ),
    (b'{"result":0,"text":"password=12-7-33","text":"x"}', b'{ "result": 0, "text": "x" }'),
    (b'{"result":0,"x":{"secret":"12-7-33"},"x":null}', b'{ "result": 0, "x": null }'),
    (b'{"result":0,"text":null}', b'{ "result": 0, "text": null }'),
    (b'{"result":0,"text":{"password":"12-7-33"}}', b'{ "result": 0, "text": {"password":"********"} }'),
    (
        b'{"result":0,"x":1e+10.0,"token":"12-7-33"}',
        b'{ "result": 0, "token": "********", "x": 10000000000.0 }',
    ),
]


@on_virtual_clock
async def test_members_of_an_answer_are_masked_whatever_their_names(short_path: Path) -> None:
    served = [b""]

    async def serve(request: bytes) -> bytes:
        return served[0]

    places: dict[str, JSON | Path] = {"dhcp4": short_path / "4"}
    async with (
        backend(short_path / "4", serve),
        agent(short_path, places, authentication=USERS, access=ACCESS) as front,
    ):
        for answer, shown in ODD_ANSWERS:
            for name in ("config-get", "config-set"):
                served[0] = answer
                reply = await ask(front, "ann", name, "dhcp4", arguments={})
                assert reply.body == b"[ " + shown + b" ]"


@on_virtual_clock
async def test_an_answer_is_passed_on_as_it_came_to_who_reads_secrets(short_path: Path) -> None:
    roles: JSON = [{**ANN, "read-secrets": True}]  # type: ignore[dict-item]
    access: JSON = {**ACCESS, "roles": roles}  # type: ignore[dict-item]
    answer = b'{"result":0,"x":{"secret":"12-7-33"},"x":null}'
    places: dict[str, JSON | Path] = {"dhcp4": short_path / "4"}
    async with (
        backend(short_path / "4", answering(answer)),
        agent(short_path, places, authentication=USERS, access=access) as front,
    ):
        assert (await ask(front, "ann", "config-get", "dhcp4")).body == b"[ " + answer + b" ]"


@on_every_loop
async def test_the_audit_tells_each_service_apart(short_path: Path) -> None:
    file = short_path / "audit.jsonl"
    access: JSON = {**ACCESS, "audit": {"file": str(file)}}  # type: ignore[dict-item]
    places: dict[str, JSON | Path] = {"dhcp4": short_path / "4", "dhcp6": short_path / "6"}
    async with (
        backend(short_path / "4"),
        backend(short_path / "6"),
        agent(short_path, places, authentication=USERS, access=access) as front,
    ):
        await ask(front, "ann", "config-set", "dhcp4", "dhcp6", arguments={"x": 1})
        told = [line for line in lines(file) if "command" in line]
        assert sorted((line["service"], line["user"], line["result"]) for line in told) == [
            ("dhcp4", "ann", 0),
            ("dhcp6", "ann", 0),
        ]
    assert verify([file]).findings == []


@on_every_loop
async def test_no_secret_is_in_the_audit_where_the_agent_does_not_know_its_name(short_path: Path) -> None:
    file = short_path / "audit.jsonl"
    access: JSON = {**ACCESS, "audit": {"file": str(file)}}  # type: ignore[dict-item]
    places: dict[str, JSON | Path] = {"dhcp4": short_path / "4"}
    named: JSON = {"password": "12-7-33", "id": 3}
    async with (
        backend(short_path / "4"),
        agent(short_path, places, authentication=USERS, access=access) as front,
    ):
        await ask(
            front, "ann", "user-add", "dhcp4", arguments=["bob", "12-7-33", 12733, True, ["12-7-33"], named]
        )
        await ask(front, "ann", "user-add", "dhcp4", arguments=named)
        await ask(front, "ann", "status-get", "dhcp4", arguments=["bob", 12733])
        await ask(front, "ann", "password=12-7-33", "token=12-7-33")
        await ask(front, "ann", "password=12-7-33", "dhcp4")
        await ask(front, "bob", "a://b:12-7-33@c")
    text = file.read_text()
    told = [line for line in lines(file) if "command" in line]
    mask = "********"
    assert "12-7-33" not in text
    assert [line.get("arguments") for line in told[:3]] == [
        [mask, mask, mask, True, [mask], {"password": mask, "id": 3}],
        {"password": mask, "id": 3},
        ["bob", 12733],
    ]
    assert sorted((line["command"], line.get("service", "")) for line in told[3:]) == [
        (f"a://b:{mask}@c", ""),
        (f"password={mask}", "dhcp4"),
        (f"password={mask}", f"token={mask}"),
    ]
    assert f"a://b:{mask}@c" in "".join(line.get("reason", "") for line in told)


@on_virtual_clock
async def test_the_agent_s_own_commands_are_decided_as_well(short_path: Path) -> None:
    async with agent(short_path, {}, authentication=USERS, access=ACCESS) as front:
        assert (await ask(front, "ann", "status-get")).answer["result"] == 0
        assert (await ask(front, "bob", "status-get")).status == 403
        assert (await ask(front, "ann", "config-set", arguments={"Control-agent": {}})).status == 200


@on_virtual_clock
async def test_leave_that_is_taken_away_counts_for_who_waits_for_a_turn(short_path: Path) -> None:
    file = short_path / "audit.jsonl"
    one_at_a_time: JSON = {"socket-name": str(short_path / "4"), "connections": 1}
    places: dict[str, JSON | Path] = {"dhcp4": one_at_a_time}
    audited: JSON = {**ACCESS, "audit": {"file": str(file)}}  # type: ignore[dict-item]
    stripped: JSON = {**audited, "roles": [{"name": "ann", "accept-commands": "READ"}, BOB]}  # type: ignore[dict-item]
    async with (
        backend(short_path / "4", answering(HELD, after=1.0)) as four,
        agent(short_path, places, authentication=USERS, access=audited) as front,
        web(front.port) as first,
        web(front.port) as second,
        web(front.port) as third,
    ):
        asked = []
        for one, name in ((first, "reservation-add"), (second, "shutdown"), (third, "config-get")):
            asked.append(asyncio.create_task(one.post(encode(name, "dhcp4"), header("ann"))))
            await asyncio.sleep(0.1)
        changed: JSON = {"Control-agent": settings(front.port, places, authentication=USERS, access=stripped)}
        assert (await ask(front, "ann", "config-set", arguments=changed)).answer["result"] == 0
        answers = [(await task).answer for task in asked]
        assert [answer["result"] for answer in answers] == [0, 403, 0]
        assert "12-7-33" not in str(answers)
        assert [json.loads(request)["command"] for request in four.requests] == [
            "reservation-add",
            "config-get",
        ]
        lost = [line for line in lines(file) if line.get("command") == "shutdown"]
        assert [(line["result"], line["role"]) for line in lost] == [(403, "ann")]


@on_virtual_clock
async def test_limits_hold_for_what_is_passed_on(short_path: Path) -> None:
    limits: JSON = {"limits": {"peer": {"requests-per-second": 1, "burst": 2}}}
    places: dict[str, JSON | Path] = {"dhcp4": short_path / "4"}
    async with backend(short_path / "4") as four, agent(short_path, places, access=limits) as front:
        statuses = [(await front.ask("status-get", "dhcp4")).status for _ in range(3)]
        assert (statuses, len(four.requests)) == ([200, 200, 429], 2)
