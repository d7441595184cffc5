"""What the agent lets in ends, whatever becomes of it: nobody is locked out, and the audit has it once."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable
from pathlib import Path
from typing import cast

import msgspec
import pytest
from starlette.requests import Request
from starlette.responses import Response as Answer

import bridle
from bridle.access.guard import Guard
from bridle.access.guard_settings import GuardSettings
from bridle.access.limits import Limit, LimitSettings
from bridle.agent.agent import Agent
from bridle.agent.bngblaster.controller import Controller
from bridle.agent.bngblaster.guarding import perform_guarded
from bridle.agent.bngblaster.operations import OPERATIONS
from bridle.agent.bngblaster.refusal import Refusal
from bridle.wire.http import HttpResponse
from tests.support.audits import lines
from tests.support.front import Front, agent, answering, backend, web
from tests.support.loops import on_every_loop, on_virtual_clock

JSON = bridle.JSON
HELD = b'{ "result": 0, "arguments": { "Dhcp4": { "password": "12-7-33" } } }'
PEER = bridle.Peer(transport="http", address="127.0.0.1")
MASKED: JSON = {"Dhcp4": {"password": "********"}}


def access(folder: Path, in_flight: int) -> JSON:
    """Everybody may do everything, so many at a time."""
    return {
        "assign": [{"remote-address": "127.0.0.1", "role": "own"}],
        "roles": [{"name": "own", "accept-commands": "ALL"}],
        "limits": {"peer": {"in-flight": in_flight}},
        "audit": {"file": str(folder / "audit.jsonl")},
    }


def told(folder: Path) -> list[tuple[str, str, int]]:
    """What the audit tells of commands of services."""
    found = [line for line in lines(folder / "audit.jsonl") if line.get("service")]
    return [(line["command"], line["service"], line["result"]) for line in found]


@pytest.mark.parametrize("odd", [b'{ "odd": 1 }', b"[ ]", b'{ "result": 0, "arguments": { "x": 1e999 } }'])
@on_virtual_clock
async def test_a_service_whose_configuration_cannot_be_read_costs_the_others_nothing(
    short_path: Path, odd: bytes
) -> None:
    places: dict[str, JSON | Path] = {"dhcp4": short_path / "4", "d2": short_path / "2"}
    async with (
        backend(short_path / "4", answering(odd)) as four,
        backend(short_path / "2", answering(HELD)) as two,
        agent(short_path, places, access=access(short_path, 2)) as front,
        web(front.port) as client,
    ):
        for _ in range(3):
            reply = await client.ask("config-set", "dhcp4", "d2", arguments=MASKED)
            assert reply.status == 200
            refused, done = reply.answers
            assert (refused["result"], "give it anew" in str(refused["text"])) == (1, True)
            assert done["result"] == 0
        assert len(four.requests) == 3
        assert two.request["arguments"] == {"Dhcp4": {"password": "12-7-33"}}
        assert (await client.ask("config-get", "d2", "d2")).status == 200
        written = [line for line in told(short_path) if line[0] == "config-set"]
        assert sorted(written) == sorted([("config-set", "dhcp4", 1), ("config-set", "d2", 0)] * 3)


@pytest.mark.parametrize("failure", [RuntimeError("odd"), asyncio.CancelledError()])
@pytest.mark.parametrize("name", ["config-set", "config-get"])
@on_virtual_clock
async def test_hooks_that_fail_lock_nobody_out(
    short_path: Path, failure: BaseException, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    places: dict[str, JSON | Path] = {"dhcp4": short_path / "4"}

    async def fails() -> bridle.Response:
        raise failure

    def hook(command: bridle.Command) -> Awaitable[bridle.Response] | None:
        return fails() if command.services else None

    async with (
        backend(short_path / "4"),
        agent(short_path, places, access=access(short_path, 1)) as front,
    ):
        manager = front.running.daemon.manager
        manager.before_command(hook)
        await _asked(front, name)
        manager.remove_hook(hook)
        assert (await front.ask(name, "dhcp4")).status == 200
    assert told(short_path) == [(name, "dhcp4", 1), (name, "dhcp4", 0)]


async def _asked(front: Front, name: str) -> None:
    with contextlib.suppress(asyncio.CancelledError):
        await _answer(front, _command(name, "dhcp4"))


def _command(name: str, *services: str) -> bridle.Command:
    return bridle.Command(name, peer=PEER, services=services, tag=list(services))


async def _answer(front: Front, command: bridle.Command) -> HttpResponse:
    answer = cast(Agent, front.running.daemon).answer(command)
    return answer if isinstance(answer, HttpResponse) else await answer


@pytest.mark.parametrize("turns", range(8))
@pytest.mark.parametrize("name", ["config-set", "config-get"])
@on_virtual_clock
async def test_requests_that_are_cut_off_at_any_moment_lock_nobody_out(
    short_path: Path, name: str, turns: int
) -> None:
    places: dict[str, JSON | Path] = {"dhcp4": short_path / "4", "d2": short_path / "2"}
    async with (
        backend(short_path / "4", answering(HELD, after=1)),
        backend(short_path / "2", answering(HELD, after=1)),
        agent(short_path, places, access=access(short_path, 2)) as front,
    ):
        task = asyncio.ensure_future(_answer(front, _command(name, "dhcp4", "d2")))
        for _ in range(turns):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task])
        reply = await front.ask(name, "dhcp4", "d2")
        assert (reply.status, [answer["result"] for answer in reply.answers]) == (200, [0, 0])
    begun = 2 if turns else 0
    assert sorted(told(short_path)) == sorted(
        [(name, "dhcp4", 0), (name, "d2", 0), (name, "dhcp4", 1), (name, "d2", 1)][: 2 + begun]
    )


# BNG Blaster's controller.


@pytest.mark.parametrize(
    "failure", [None, Refusal(404, "none"), RuntimeError("odd"), asyncio.CancelledError()]
)
@pytest.mark.parametrize("writes", [True, False])
@on_every_loop
async def test_requests_to_the_controller_end_whatever_becomes_of_them(
    short_path: Path, failure: BaseException | None, writes: bool
) -> None:
    from bridle.access.audit_settings import AuditSettings

    async def perform(controller: Controller, request: Request) -> Answer:
        if failure is not None:
            raise failure
        return Answer(b"", 200)

    guard = Guard({}.get)
    file = short_path / "audit.jsonl"
    settings = GuardSettings(
        limits=LimitSettings(peer=Limit(in_flight=1)), audit=AuditSettings(file=str(file))
    )
    await (await guard.prepare(settings)).commit()
    one = next(one for one in OPERATIONS if one.writes == writes)
    operation = msgspec.structs.replace(one, perform=perform)
    for _ in range(3):
        with contextlib.suppress(BaseException):
            await perform_guarded(guard, operation, cast(Controller, None), _request())
    await guard.close()
    found = [line["result"] for line in lines(file) if "command" in line]
    assert found == [0 if failure is None else 1] * 3


def _request() -> Request:
    async def receive() -> dict[str, object]:
        return {"type": "http.request", "body": b""}

    about = {"peer": bridle.Peer(transport="http", address="192.0.2.1"), "request_id": ""}
    scope = {"type": "http", "method": "GET", "headers": [], "extensions": {"bridle": about}}
    return Request(scope, receive)
