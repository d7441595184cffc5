"""The requests of BNG Blaster's controller pass the agent's guard: roles, masks, limits and the audit."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import pytest

import bridle
from bridle.access.catalogue import CATALOGUE
from bridle.agent.bngblaster.operations import DESCRIPTION, OPERATIONS
from tests.support.audits import lines
from tests.support.controller import controller
from tests.support.loops import on_every_loop

JSON = bridle.JSON


def basic(user: str) -> str:
    return f"Authorization: Basic {base64.b64encode(f'{user}:x'.encode()).decode()}"


def settings(*roles: JSON, **more: JSON) -> dict[str, JSON]:
    """The settings of an agent whose users have the roles of their names."""
    names = [str(role["name"]) for role in roles if isinstance(role, dict)]
    clients: list[JSON] = [{"user": name, "password": "x"} for name in [*names, "root"]]
    every: JSON = {"name": "root", "accept-commands": "ALL", "read-secrets": True}
    access: dict[str, JSON] = {"assign-role-method": "basic-authentication", "roles": [*roles, every], **more}
    return {"authentication": {"type": "basic", "clients": clients}, "access": access}


def test_every_operation_is_in_the_catalogue_with_its_access() -> None:
    for one in [*OPERATIONS, DESCRIPTION]:
        assert CATALOGUE[one.command].access == ("write" if one.writes else "read")
        assert one.writes == (one.method not in ("GET",))
    assert len({one.command for one in OPERATIONS}) == len(OPERATIONS)


@on_every_loop
async def test_who_may_only_read_changes_nothing(short_path: Path) -> None:
    reader: JSON = {"name": "ann", "accept-commands": "READ"}
    async with controller(short_path, **settings(reader)) as front:
        assert (await front.of("t1", "", basic("root"), method="PUT", body={"some": 1})).status == 201
        for what, method in (("", "PUT"), ("", "DELETE"), ("_start", "POST"), ("_stop", "POST")):
            reply = await front.of("t1", what, basic("ann"), method=method, body=b"{}")
            assert (reply.status, json.loads(reply.body)) == (403, {"message": "Forbidden"})
        assert (await front.of("t1", "_command", basic("ann"), method="POST", body=b"{}")).status == 403
        assert (await front.of("t1", "", basic("ann"))).status == 200
        assert (await front.ask("/openapi.json", basic("ann"))).status == 200
        assert (await front.of("t1", "")).status == 401
        assert (await front.of("t1", "", basic("root"), method="DELETE")).status == 204


@on_every_loop
async def test_roles_look_at_the_instance_and_at_what_it_is_commanded(short_path: Path) -> None:
    own: JSON = {"argument": "instance", "one-of": ["t1"]}
    tame: JSON = {"argument": "command", "one-of": ["say"]}
    asking: JSON = {"and": [{"commands": ["instance-command"]}, own, tame]}
    ann: JSON = {
        "name": "ann",
        "accept-commands": {"or": [asking, {"and": [{"commands": ["instance-delete"]}, own]}]},
        "services": ["bngblaster-controller"],
    }
    async with controller(short_path, **settings(ann)) as front:
        for name in ("t1", "t2"):
            assert (await front.of(name, "", basic("root"), method="PUT", body={"some": 1})).status == 201

        async def told(name: str, body: bytes) -> int:
            return (await front.of(name, "_command", basic("ann"), method="POST", body=body)).status

        allowed = await told("t1", b'{"command": "say"}')
        assert allowed == 412  # let in, and not running
        assert await told("t1", b'{"command": "terminate", "command": "say"}') == 412
        for body in (
            b'{"command": "terminate"}',
            b'{"command": "say", "command": "terminate"}',
            b'{"command": "say", "comm\\u0061nd": "terminate"}',
            b'{"Command": "say"}',
            b"",
        ):
            assert await told("t1", body) == 403
        assert await told("t2", b'{"command": "say", "instance": "t1"}') == 403
        assert (await front.of("t2", "", basic("ann"), method="DELETE")).status == 403
        assert (await front.of("t%31", "", basic("ann"), method="DELETE")).status == 204


@on_every_loop
async def test_secrets_of_instances_are_masked(short_path: Path) -> None:
    reader: JSON = {"name": "ann", "accept-commands": "READ"}
    async with controller(short_path, **settings(reader)) as front:
        body: dict[str, JSON] = {"pppoe": {"username": "u", "password": "hush"}}
        await front.of("t1", "", basic("root"), method="PUT", body=body)
        whole = await front.of("t1", "config.json", basic("root"))
        masked = await front.of("t1", "config.json", basic("ann"), "Range: bytes=0-9")
        assert json.loads(whole.body) == body
        assert json.loads(masked.body) == {"pppoe": {"username": "u", "password": "********"}}
        await front.of("t1", "", basic("root"), method="PUT", body=b'{"password": "hush"')
        kept = await front.of("t1", "config.json", basic("ann"))
        assert (kept.status, b"hush" in kept.body) == (403, False)
        assert (await front.of("t1", "run_report.json", basic("ann"))).status == 404
        await front.of("t1", "", basic("root"), method="DELETE")


@on_every_loop
async def test_a_masked_configuration_that_comes_back_keeps_its_secrets(short_path: Path) -> None:
    ann: JSON = {"name": "ann", "accept-commands": "ALL"}
    async with controller(short_path, **settings(ann)) as front:

        async def put(name: str, user: str, body: JSON | bytes) -> tuple[int, bytes]:
            reply = await front.of(name, "", basic(user), method="PUT", body=body)
            return reply.status, reply.body

        async def kept(user: str) -> JSON:
            told: JSON = json.loads((await front.of("t1", "config.json", basic(user))).body)
            return told

        body: dict[str, JSON] = {"pppoe": {"username": "u", "password": "hush"}, "mtu": 1500}
        assert (await put("t1", "root", body))[0] == 201
        shown = await kept("ann")
        assert shown == {"pppoe": {"username": "u", "password": "********"}, "mtu": 1500}
        assert isinstance(shown, dict)
        assert (await put("t1", "ann", {**shown, "mtu": 1492}))[0] == 204
        assert await kept("root") == {**body, "mtu": 1492}
        # Escaped it is the same; and what nobody can tell is refused, and nothing is changed.
        escaped = json.dumps({**shown, "mtu": 9000}).replace("*", "\\u002a").encode()
        assert (await put("t1", "ann", escaped))[0] == 204
        assert await kept("root") == {**body, "mtu": 9000}
        refused, text = await put("t1", "ann", {"igmp": {"password": "********"}})
        assert (refused, "'igmp.password' is masked" in json.loads(text)["message"]) == (400, True)
        assert (await put("t1", "ann", b'{"password": "********"'))[0] == 400
        assert (await put("t2", "root", shown))[0] == 400
        assert await kept("root") == {**body, "mtu": 9000}
        assert not (front.directory / "t2").exists()
        # Where nothing is masked for anybody, eight asterisks are what they are.
        await front.of("t1", "", basic("root"), method="DELETE")
    async with controller(short_path) as front:
        assert (await front.of("t1", "", method="PUT", body={"password": "********"})).status == 201
        assert json.loads((await front.of("t1", "config.json")).body) == {"password": "********"}
        await front.of("t1", "", method="DELETE")


@on_every_loop
async def test_limits_are_answered_429_and_413(short_path: Path) -> None:
    limits: JSON = {"peer": {"requests-per-second": 0.001, "burst": 2, "body-size": 100}}
    async with controller(short_path, access={"limits": limits}) as front:
        assert (await front.ask("/api/v1/instances")).status == 200
        large = await front.of("t1", method="PUT", body=b"x" * 101)
        assert large.status == 413
        assert "too large" in json.loads(large.body)["message"]
        assert (await front.ask("/api/v1/instances")).status == 200
        reply = await front.ask("/api/v1/instances")
        assert reply.status == 429
        assert int(reply.headers["retry-after"]) > 100


@on_every_loop
async def test_the_audit_has_each_request_before_its_answer(
    short_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from bridle.access.audit_file import AuditFile

    file = short_path / "audit.jsonl"
    async with controller(short_path, **settings(audit={"file": str(file)})) as front:
        await front.of("t1", "", basic("root"), method="PUT", body={"some": 1})
        await front.of(
            "t1", "_start", basic("root"), "X-Request-ID: r1", method="POST", body=b'{"report": 5}'
        )
        written = [line for line in lines(file) if "command" in line]
        assert [(one["command"], one["result"]) for one in written] == [
            ("instance-create", 0),
            ("instance-start", 1),
        ]
        assert written[1]["arguments"] == {"report": 5, "instance": "t1"}
        assert (written[1]["user"], written[1]["request"]) == ("root", "r1")
        await front.of("t1", "", basic("root"), method="DELETE")

        def full(*_: object) -> None:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(AuditFile, "append", full)
        lost = await front.of("t1", "", basic("root"), method="PUT", body={"some": 1})
        assert (lost.status, "carried out" in json.loads(lost.body)["message"]) == (503, True)
        refused = await front.of("t2", "", basic("root"), method="PUT", body={"some": 1})
        assert (refused.status, "nothing is changed" in json.loads(refused.body)["message"]) == (503, True)
        assert not (front.directory / "t2").exists()
        monkeypatch.undo()
