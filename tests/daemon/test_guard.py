"""What a daemon's ``access`` does to its commands, on every channel: roles, masks, limits and the audit."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import errno
import json
import os
import secrets
import socket
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest

import bridle
from bridle.access.audit import Audit
from bridle.access.audit_verify import verify
from bridle.core.messages import Command
from bridle.daemon.document import Document
from bridle.net.libqb.asynchronous import connect_async
from bridle.net.libqb.errors import LibqbError
from tests.support.audits import lines
from tests.support.front import Web, encode, web
from tests.support.loops import on_every_loop, on_virtual_clock
from tests.support.programs import free_port

JSON = bridle.JSON
ME: JSON = {"unix-user": os.getuid(), "role": "operator"}
READER: JSON = {"name": "operator", "accept-commands": "READ"}


class Safe(bridle.Daemon):
    """Keeps a secret."""

    secrets = ("combination",)

    class Configuration(msgspec.Struct, forbid_unknown_fields=True):
        """What it keeps."""

        combination: str = ""
        label: str = ""

    def __init__(self) -> None:
        self.opened: list[str] = []
        self.state: dict[str, JSON] = {"door": "closed", "days": 3}

    @bridle.command(access="read")
    def look(self) -> str:
        """Look at it."""
        return "closed"

    @bridle.command(access="read")
    def state_get(self) -> dict[str, JSON]:
        """Tell all about it."""
        return self.state

    @bridle.command(access="write")
    def unlock(self, combination: str = "") -> str:
        """Open it."""
        self.opened.append(combination)
        return "open"

    @bridle.command(access="write")
    async def unlock_slowly(self) -> str:
        """Open it, later."""
        self.opened.append("slowly")
        return "open"


def access(*roles: JSON, **more: JSON) -> dict[str, JSON]:
    """A configuration with these roles."""
    if roles:
        more = {"assign": [ME], "roles": list(roles), **more}
    return {"access": {key.replace("_", "-"): value for key, value in more.items()}}


class Site:
    """A safe that is served."""

    def __init__(self, safe: Safe, folder: Path) -> None:
        self.safe = safe
        self.folder = folder

    async def ask(self, name: str, arguments: JSON = None, *, wire: str = "unix") -> bridle.Response:
        """Send one command over a connection of its own."""
        async with bridle.connect_async(f"{wire}:{self.folder}/{wire}") as client:
            return await client.execute(name, arguments)


WIRES = ("unix", "binrpc+unix", "bngblaster+unix", "binrpc+unixd")


@contextlib.asynccontextmanager
async def served(folder: Path, configuration: dict[str, JSON], *more: str) -> AsyncIterator[Site]:
    """Serve a safe on a socket of each kind."""
    file, safe = folder / "safe.conf", Safe()
    file.write_text(json.dumps({"Safe": configuration}))
    endpoints = (*(f"{wire}:{folder}/{wire}" for wire in WIRES), *more)
    async with bridle.serve(safe, *endpoints, configuration_file=str(file)):
        yield Site(safe, folder)


# Roles.


@pytest.mark.parametrize("wire", WIRES)
@on_virtual_clock
async def test_a_role_runs_what_it_may_and_nothing_else(short_path: Path, wire: str) -> None:
    async with served(short_path, access(READER)) as site:
        assert (await site.ask("look", wire=wire)).result == 0
        for name in ("unlock", "unlock-slowly", "shutdown", "no-such-command"):
            refused = await site.ask(name, wire=wire)
            assert (refused.result, refused.text) == (bridle.Result.FORBIDDEN, "Forbidden")
        assert site.safe.opened == []


@on_virtual_clock
async def test_who_sends_datagrams_gets_no_role_by_not_being_in_a_group(short_path: Path) -> None:
    in_group: JSON = {"unix-group": 4000001, "role": "nothing"}
    configuration = access(READER, assign=[in_group, ME])
    async with served(short_path, configuration) as site:
        assert (await site.ask("look")).result == 0
        assert (await site.ask("look", wire="binrpc+unixd")).result == bridle.Result.FORBIDDEN
    async with served(short_path, access(READER, assign=[ME, in_group])) as site:
        assert (await site.ask("look", wire="binrpc+unixd")).result == 0


@on_virtual_clock
async def test_http_answers_403_with_a_map_that_is_in_no_list(short_path: Path) -> None:
    port = free_port()
    async with served(short_path, access(READER), f"http://127.0.0.1:{port}"), web(port) as connection:
        reply = await connection.ask("look")
        assert (reply.status, json.loads(reply.body)) == (403, {"result": 403, "text": "Forbidden"})


@on_virtual_clock
async def test_list_commands_tells_what_the_role_may_run(short_path: Path) -> None:
    filtered: JSON = {"name": "operator", "accept-commands": "READ", "response-filters": ["list-commands"]}
    async with served(short_path, access(filtered)) as site:
        told = (await site.ask("list-commands")).value
        assert isinstance(told, list)
        assert "look" in told
        assert not {"unlock", "shutdown"} & set(map(str, told))


@on_virtual_clock
async def test_roles_change_with_the_configuration_and_go_with_it(short_path: Path) -> None:
    allowed: JSON = {"name": "operator", "accept-commands": {"not": {"commands": ["unlock"]}}}
    async with served(short_path, access(allowed)) as site:
        assert (await site.ask("unlock")).result == 403
        anything: JSON = {"name": "operator", "accept-commands": "ALL"}
        assert (await site.ask("config-set", {"Safe": access(anything)})).result == 0
        assert (await site.ask("unlock")).result == 0
        assert (await site.ask("config-set", {"Safe": {}})).result == 0
        assert (await site.ask("unlock", wire="binrpc+unix")).result == 0


@on_virtual_clock
async def test_roles_that_cannot_be_read_leave_those_that_hold(short_path: Path) -> None:
    allowed: JSON = {"name": "operator", "accept-commands": {"commands": ["config-set"]}}
    async with served(short_path, access(allowed)) as site:
        refused = await site.ask("config-set", {"Safe": {"access": {"roles": []}}})
        assert refused.result == 1
        assert "assign-role-method" in str(refused.text)
        assert (await site.ask("look")).result == 403


@on_virtual_clock
async def test_kea_s_hook_library_goes_for_http_alone(short_path: Path) -> None:
    parameters: JSON = {"assign-role-method": "remote-address", "roles": []}
    library: JSON = {"library": "/usr/lib/kea/hooks/libdhcp_rbac.so", "parameters": parameters}

    class Plain(bridle.Daemon):
        """A daemon with any configuration."""

    port, file = free_port(), short_path / "plain.conf"
    file.write_text(json.dumps({"Plain": {"hooks-libraries": [library]}}))
    places = (f"unix:{short_path}/s", f"http://127.0.0.1:{port}")
    async with bridle.serve(Plain(), *places, configuration_file=str(file)), web(port) as connection:
        assert (await connection.ask("status-get")).status == 403
        async with bridle.connect_async(places[0]) as client:
            assert (await client.execute("status-get")).result == 0


# Listeners that other machines can reach.


@on_virtual_clock
async def test_where_roles_decide_a_listener_for_others_needs_nothing_else(short_path: Path) -> None:
    everywhere = f"binrpc+tcp:0.0.0.0:{free_port()}"
    async with served(short_path, access({"name": "operator", "accept-commands": "ALL"}), everywhere) as site:
        refused = await site.ask("config-set", {"Safe": {}})
        assert refused.result == 1
        assert "everybody would be let in" in str(refused.text)
        assert (await site.ask("look", wire="unix")).result == 0
    with pytest.raises(bridle.EndpointError, match="allow-unauthenticated"):
        async with served(short_path, {}, everywhere):
            pass


OPERATOR = access({"name": "operator", "accept-commands": "ALL"})
REFUSED = "everybody would be let in"


def named(port: int, **more: JSON) -> dict[str, JSON]:
    """A configuration with a listener on a name, which :func:`beyond` makes one that others can reach."""
    entry: JSON = {"socket-type": "http", "socket-address": "localhost", "socket-port": port, **more}
    return {"control-sockets": [entry]}


@pytest.fixture
def beyond(monkeypatch: pytest.MonkeyPatch) -> None:
    """``localhost`` is a name of all addresses: one whose address nobody knows before it is looked up."""
    real = socket.getaddrinfo

    def lying(host: object, *args: object, **options: object) -> object:
        return real("0.0.0.0" if host == "localhost" else host, *args, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(socket, "getaddrinfo", lying)


@pytest.mark.usefixtures("beyond")
@on_virtual_clock
async def test_a_listener_on_a_name_does_not_outlive_the_roles_that_it_opened_with(short_path: Path) -> None:
    port = free_port()
    entry = {"authentication": {"clients": [{"user": "amy", "password": "x"}]}}
    secured = named(port, **entry, **{"allow-clear-text-passwords": True})
    async with served(short_path, {}) as site:

        async def change(configuration: dict[str, JSON]) -> str:
            answer = await site.ask("config-set", {"Safe": configuration})
            return str(answer.text) if answer.result else ""

        assert REFUSED in await change(named(port))
        assert await change({**named(port), **OPERATOR}) == ""
        assert REFUSED in await change(named(port))
        # Authentication takes the place of roles and the other way round, but neither goes alone.
        assert await change(secured) == ""
        assert REFUSED in await change(named(port))
        assert await change({**named(port), **OPERATOR}) == ""
        assert REFUSED in await change(named(port))
        assert (await site.ask("config-get")).value["Safe"].keys() >= {"access"}  # type: ignore[index, union-attr, call-overload]


@pytest.mark.usefixtures("beyond")
@on_virtual_clock
async def test_a_listener_does_not_open_by_roles_that_end_with_its_configuration(short_path: Path) -> None:
    async with served(short_path, OPERATOR) as site:
        refused = await site.ask("config-set", {"Safe": named(free_port())})
        assert refused.result == 1
        assert REFUSED in str(refused.text)


@pytest.mark.usefixtures("beyond")
@on_virtual_clock
async def test_a_listener_may_go_together_with_the_roles_that_it_needs(short_path: Path) -> None:
    async with served(short_path, {**named(free_port()), **OPERATOR}) as site:
        assert (await site.ask("config-set", {"Safe": {}})).result == 0


class SlowSafe(Safe):
    """A safe that takes some seconds to change its configuration."""

    async def configure(self, configuration: object) -> None:
        """Take them."""
        await asyncio.sleep(3)


@pytest.mark.parametrize("wire", ["http", "binrpc+tcp", "binrpc+udp"])
@on_virtual_clock
async def test_a_listener_lets_nobody_in_before_the_roles_hold_that_it_needs(
    short_path: Path, wire: str
) -> None:
    port, safe = free_port(), SlowSafe()
    transport = wire.removeprefix("binrpc+")
    entry: JSON = {"socket-type": "binrpc", "socket-name": f"{transport}:0.0.0.0:{port}"}
    if wire == "http":
        entry = {"socket-type": "http", "socket-address": "0.0.0.0", "socket-port": port}
    place = f"{wire}://127.0.0.1:{port}" if wire == "http" else f"{wire}:127.0.0.1:{port}"

    async def unlock() -> bridle.Response:
        async with bridle.connect_async(place, timeout=1) as client:
            return await client.execute("unlock")

    async with bridle.serve(safe, f"unix:{short_path}/unix") as running:
        wanted = Document({"SlowSafe": {"control-sockets": [entry], **OPERATOR}})
        change = asyncio.create_task(running.owner.change(wanted))
        await asyncio.sleep(1)
        with contextlib.suppress(bridle.TransportError):
            assert (await unlock()).result != 0
        assert safe.opened == []
        await change
        assert "Forbidden" in str((await unlock()).text)
    assert safe.opened == []


# Secrets.


@on_virtual_clock
async def test_secrets_are_masked_and_a_masked_configuration_can_be_sent_back(short_path: Path) -> None:
    operator: JSON = {"name": "operator", "accept-commands": "ALL"}
    configuration = {"combination": "12-7-33", "label": "old", **access(operator)}
    async with served(short_path, configuration) as site:
        told = (await site.ask("config-get")).value
        assert isinstance(told, dict)
        assert isinstance(told["Safe"], dict)
        assert told["Safe"]["combination"] == "********"
        told["Safe"]["label"] = "new"
        assert (await site.ask("config-set", told)).result == 0
        held = site.safe.configuration
        assert isinstance(held, Safe.Configuration)
        assert (held.combination, held.label) == ("12-7-33", "new")


@on_virtual_clock
async def test_who_may_read_secrets_does(short_path: Path) -> None:
    operator: JSON = {"name": "operator", "accept-commands": "ALL", "read-secrets": True}
    async with served(short_path, {"combination": "12-7-33", **access(operator)}) as site:
        assert "12-7-33" in json.dumps((await site.ask("config-get")).value)


@on_every_loop
async def test_an_answer_that_was_harmless_is_looked_at_again_when_it_has_changed(short_path: Path) -> None:
    async with (
        served(short_path, access(READER)) as site,
        bridle.connect_async(f"unix:{short_path}/unix") as client,
    ):

        async def told() -> JSON:
            return (await client.execute("state-get")).value

        state = site.safe.state
        for _ in range(3):
            assert await told() == {"door": "closed", "days": 3}
        state["combination"] = "12-7-33"
        assert await told() == {"door": "closed", "days": 3, "combination": "********"}
        del state["combination"]
        assert await told() == {"door": "closed", "days": 3}
        state["door"] = "opens by password=12-7-33"
        assert await told() == {"door": "opens by password=********", "days": 3}
        state["door"] = {"combination": "12-7-33"}
        assert await told() == {"door": {"combination": "********"}, "days": 3}
        for number in range(100):
            state["door"] = f"number {number}"
            assert await told() == state
        state["combination"] = "12-7-33"
        assert await told() == {**state, "combination": "********"}


class Door(msgspec.Struct):
    """A part of an answer that may change."""

    combination: str = ""


@on_every_loop
async def test_what_a_handler_returns_is_masked_whatever_it_is(short_path: Path) -> None:
    door = Door()
    answers: dict[str, object] = {
        "struct": {"door": door},
        "tuple": ({"combination": "12-7-33"},),
        "number": {1: "x", "password": "12-7-33"},
        "unknown": {"password": "12-7-33", "x": object()},
    }

    def tell(which: str) -> bridle.Response:
        return bridle.Response(arguments=answers[which])  # type: ignore[arg-type]

    async with served(short_path, access(READER)) as site:
        site.safe.manager.register_command("tell", tell, access="read")
        async with bridle.connect_async(f"unix:{short_path}/unix") as client:
            for combination, shown in (("", ""), ("", ""), ("12-7-33", "********")):
                door.combination = combination
                told = await client.execute("tell", {"which": "struct"})
                assert told.value == {"door": {"combination": shown}}
            assert (await client.execute("tell", {"which": "tuple"})).value == [{"combination": "********"}]
            for which in ("number", "unknown"):
                refused = await client.execute("tell", {"which": which})
                assert (refused.result, "12-7-33" in str(refused)) == (1, False)
                assert "the answer cannot be " in str(refused.text)
            assert (await client.execute("look")).result == 0


# Limits.


@on_virtual_clock
async def test_whoever_asks_too_often_is_told_how_long_to_wait(short_path: Path) -> None:
    limits: JSON = {"peer": {"requests-per-second": 0.5, "burst": 2}}
    port = free_port()
    place = f"http://127.0.0.1:{port}"
    async with served(short_path, access(limits=limits), place) as site, web(port) as connection:
        results = [(await site.ask("look")).result for _ in range(3)]
        assert results == [0, 0, 1]
        assert "try again in" in str((await site.ask("look", wire="binrpc+unix")).text)
        for _ in range(2):
            assert (await connection.ask("look")).status == 200
        connection.writer.write(_request(encode("look")))
        head = (await connection.reader.readuntil(b"\r\n\r\n")).decode()
        assert head.startswith("HTTP/1.1 429 ")
        assert "\r\nRetry-After: 2\r\n" in head


def _request(body: bytes) -> bytes:
    head = f"POST / HTTP/1.1\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


@pytest.mark.parametrize("wire", [*WIRES, "fifo+unix", "fifo+unixd", "http+unix", "qb"])
@on_every_loop
async def test_a_request_that_is_too_large_is_refused(short_path: Path, wire: str) -> None:
    place = f"qb:safe-{secrets.token_hex(4)}" if wire == "qb" else f"{wire}:{short_path}/{wire}"
    more = () if wire in WIRES else (place,)
    # The envelope of libqb's requests is a long one.
    limits: JSON = {"peer": {"body-size": 500}}
    named = wire in ("unix", "http+unix", "qb", "bngblaster+unix")
    async with (
        served(short_path, access(limits=limits), *more) as site,
        bridle.connect_async(place) as client,
    ):
        for size, result in ((50, 0), (600, 1)):
            word = "x" * size
            answer = await client.execute("unlock", {"combination": word} if named else [word])
            assert (answer.result, "too large" in str(answer.text)) == (result, bool(result))
        assert site.safe.opened == ["x" * 50]


@pytest.mark.parametrize("key", ["service", "remote-address", "command"])
@on_virtual_clock
async def test_what_stands_beside_the_arguments_counts(short_path: Path, key: str) -> None:
    async with served(short_path, access(limits={"peer": {"body-size": 100}})) as site:
        reader, writer = await asyncio.open_unix_connection(site.folder / "unix")
        long = "x" * 200
        told: JSON = {"command": "unlock", key: [long] if key == "service" else long}
        writer.write(json.dumps(told).encode())
        assert b"too large" in await reader.read()
        writer.close()
        assert site.safe.opened == []


# The audit.


@on_every_loop
async def test_the_audit_has_every_answered_write_before_its_answer(short_path: Path) -> None:
    file = short_path / "audit.jsonl"
    async with served(short_path, access(audit={"file": str(file)})) as site:
        await site.ask("unlock", {"combination": "12-7-33"})
        await site.ask("unlock-slowly", wire="binrpc+unix")
        told = [line for line in lines(file) if "command" in line]
        assert [(line["command"], line["result"]) for line in told] == [("unlock", 0), ("unlock-slowly", 0)]
        assert told[0]["arguments"] == {"combination": "********"}
        assert (told[0]["uid"], told[0]["transport"], told[0]["access"]) == (os.getuid(), "unix", "write")
        await site.ask("look")
    assert [line.get("command") for line in lines(file)] == [None, "unlock", "unlock-slowly", "look"]
    assert verify([file]).findings == []


@on_every_loop
async def test_leave_that_is_taken_away_counts_for_who_waits_for_the_audit(
    short_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    audited: dict[str, JSON] = {"audit": {"file": str(short_path / "audit.jsonl"), "intents": True}}
    intend = Audit.intend

    async def intend_slowly(audit: Audit, command: Command, kind: str, *, peer: bridle.Peer) -> bool:
        monkeypatch.undo()
        changed: JSON = {"Safe": access(READER, **audited)}
        assert (await site.safe.manager.execute(Command("config-set", changed))).result == 0
        return await intend(audit, command, kind, peer=peer)

    anything: JSON = {"name": "operator", "accept-commands": "ALL"}
    async with served(short_path, access(anything, **audited)) as site:
        assert (await site.ask("unlock")).result == 0
        monkeypatch.setattr(Audit, "intend", intend_slowly)
        assert (await site.ask("unlock")).result == bridle.Result.FORBIDDEN
        assert site.safe.opened == [""]
    told = [line for line in lines(short_path / "audit.jsonl") if line.get("command") == "unlock"]
    assert [line.get("result", line.get("event")) for line in told] == ["intent", 0, "intent", 403]


@on_every_loop
async def test_the_audit_has_of_each_command_the_service_that_it_named_itself(short_path: Path) -> None:
    file = short_path / "audit.jsonl"
    named = (["dhcp6"], None, ["d2"], ["dhcp4", "d2"], None)
    async with served(short_path, access(READER, audit={"file": str(file)})) as site:
        reader, writer = await asyncio.open_unix_connection(site.folder / "unix")
        writer.write(b"//keep-alive\n")
        for services in named:
            more = {} if services is None else {"service": services}
            writer.write(json.dumps({"command": "look", **more}).encode() + b"\n")
            await reader.readline()
        writer.close()
    told = [line.get("service") for line in lines(file) if line.get("command") == "look"]
    assert told == ["dhcp6", None, "d2", "dhcp4,d2", None]


@on_every_loop
async def test_positional_arguments_of_an_unknown_command_are_masked_in_the_audit(short_path: Path) -> None:
    file = short_path / "audit.jsonl"
    async with served(short_path, access(audit={"file": str(file)})) as site:
        for wire in ("unix", "binrpc+unix"):
            await site.ask("unloc", ["12-7-33", 12733], wire=wire)
        await site.ask("unlock", ["12-7-33"])
    told = [line["arguments"] for line in lines(file) if "command" in line]
    assert told == [["********", "********"], ["********", "********"], ["********"]]


@on_every_loop
async def test_what_was_refused_is_in_the_audit_with_the_reason(short_path: Path) -> None:
    file = short_path / "audit.jsonl"
    async with served(short_path, access(READER, audit={"file": str(file)})) as site:
        await site.ask("unlock", {"combination": "12-7-33"})
    line = lines(file)[1]
    assert (line["command"], line["result"], line["role"]) == ("unlock", 403, "operator")
    assert "role 'operator' rejects 'unlock'" in line["reason"]


@on_every_loop
async def test_without_an_audit_nothing_is_changed_and_the_status_says_so(
    short_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from bridle.access.audit_file import AuditFile

    file = short_path / "audit.jsonl"
    async with served(short_path, access(audit={"file": str(file)})) as site:

        def full(*_: object) -> None:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(AuditFile, "append", full)
        lost = await site.ask("unlock")
        assert (lost.result, "carried out" in str(lost.text)) == (1, True)
        refused = await site.ask("unlock")
        assert (refused.result, "nothing is changed" in str(refused.text)) == (1, True)
        assert site.safe.opened == [""]
        status = (await site.ask("status-get")).value
        assert isinstance(status, dict)
        assert isinstance(status["audit"], dict)
        assert (status["audit"]["state"], status["audit"]["failure"]) == ("failed", "No space left on device")
        monkeypatch.undo()


@on_every_loop
async def test_a_request_has_its_name_in_the_audit(short_path: Path) -> None:
    file, port = short_path / "audit.jsonl", free_port()
    place = f"http://127.0.0.1:{port}"
    async with served(short_path, access(audit={"file": str(file)}), place), web(port) as connection:
        await connection.post(encode("unlock"), "X-Request-ID: ticket-4711\r\n")
    assert lines(file)[1]["request"] == "ticket-4711"


# Users.


@on_every_loop
async def test_a_user_has_the_role_of_that_name(short_path: Path) -> None:
    port = free_port()
    control: JSON = {
        "socket-type": "http",
        "socket-address": "127.0.0.1",
        "socket-port": port,
        "authentication": {"type": "basic", "clients": [{"user": "ann", "password": "s3cret"}]},
    }
    roles: JSON = [{"name": "ann", "accept-commands": {"commands": ["unlock"]}}]
    configuration: dict[str, JSON] = {
        "control-sockets": [control],
        "access": {"assign-role-method": "basic-authentication", "roles": roles},
    }
    header = f"Authorization: Basic {base64.b64encode(b'ann:s3cret').decode()}\r\n"
    async with served(short_path, configuration), web(port) as connection:
        assert await _statuses(connection, header) == [200, 403, 401]


async def _statuses(connection: Web, header: str) -> list[int]:
    return [
        (await connection.post(encode("unlock"), header)).status,
        (await connection.post(encode("look"), header)).status,
        (await connection.post(encode("look"))).status,
    ]


# Pacemaker's carrier.


@on_every_loop
async def test_roles_hold_on_libqb(short_path: Path) -> None:
    name = f"bridle-test-{os.getpid()}-{short_path.name[-8:]}"
    async with served(short_path, access(READER), f"qb:{name}") as site:
        async with bridle.connect_async(f"qb:{name}") as client:
            assert (await client.execute("look")).result == 0
            refused = await client.execute("unlock")
            assert (refused.result, refused.text) == (403, "Forbidden")
        assert site.safe.opened == []


@on_every_loop
async def test_connections_of_one_peer_are_bounded_on_libqb(short_path: Path) -> None:
    name = f"bridle-test-{os.getpid()}-{short_path.name[-8:]}"
    limits: JSON = {"peer": {"connections": 2}}
    async with served(short_path, access(limits=limits), f"qb:{name}"):
        clients = [await connect_async(name) for _ in range(2)]
        with pytest.raises(LibqbError) as refused:
            await connect_async(name)
        assert refused.value.errno == errno.EAGAIN
        clients.pop().close()
        for _ in range(100):
            try:
                clients.append(await connect_async(name))
                break
            except LibqbError:
                await asyncio.sleep(0.01)
        assert len(clients) == 2
        for client in clients:
            client.close()


# Connections, and failed log-ins.


@pytest.mark.parametrize("wire", ["unix", "binrpc+unix", "bngblaster+unix"])
@on_virtual_clock
async def test_a_peer_has_so_many_connections_and_others_wait_for_an_end(short_path: Path, wire: str) -> None:
    async with served(short_path, access(limits={"peer": {"connections": 2}})) as site:
        place = f"{wire}:{short_path}/{wire}"
        held = [await asyncio.open_unix_connection(short_path / wire) for _ in range(2)]
        await asyncio.sleep(0.1)
        with pytest.raises(bridle.BridleError, match="too many connections: at most 2 of one peer"):
            async with bridle.connect_async(place) as client:
                await client.call("look")
        held[0][1].close()
        await held[0][1].wait_closed()
        await asyncio.sleep(0.1)
        assert (await site.ask("look", wire=wire)).result == 0
        held[1][1].close()
        await held[1][1].wait_closed()


@on_virtual_clock
async def test_over_http_a_connection_too_many_is_answered_429(short_path: Path) -> None:
    port = free_port()
    limits = access(limits={"peer": {"connections": 1}})
    async with served(short_path, limits, f"http://127.0.0.1:{port}"):
        async with web(port) as connection:
            assert (await connection.ask("look")).status == 200
            async with web(port) as other:
                assert (await other.reader.read()).startswith(b"HTTP/1.0 429 ")  # nothing was asked yet
            assert (await connection.ask("look")).status == 200
        await asyncio.sleep(0.1)
        async with web(port) as connection:
            assert (await connection.ask("look")).status == 200


@on_virtual_clock
async def test_connections_are_limited_from_the_change_of_the_configuration_on(short_path: Path) -> None:
    async with served(short_path, {}) as site:
        limits = access(limits={"peer": {"connections": 1}})
        assert (await site.ask("config-set", {"Safe": limits})).result == 0
        _, held = await asyncio.open_unix_connection(short_path / "unix")
        await asyncio.sleep(0.1)
        assert (await site.ask("look", wire="binrpc+unixd")).result == 0  # no connection
        assert "too many connections" in str((await site.ask("look")).text)
        held.close()
        await held.wait_closed()
        await asyncio.sleep(0.1)
        assert (await site.ask("config-set", {"Safe": {}})).result == 0
        opened = [await asyncio.open_unix_connection(short_path / "unix") for _ in range(3)]
        assert (await site.ask("look")).result == 0
        for _, writer in opened:
            writer.close()
            await writer.wait_closed()


@on_virtual_clock
async def test_failed_log_ins_cost_what_the_limits_say_and_outlast_other_changes(short_path: Path) -> None:
    port = free_port()
    control: JSON = {
        "socket-type": "http",
        "socket-address": "127.0.0.1",
        "socket-port": port,
        "authentication": {"type": "basic", "clients": [{"user": "ann", "password": "s3cret"}]},
    }
    settings = access(limits={"failed-logins": {"free": 1, "delay": 3600, "longest-delay": 3600}})
    configuration = {"control-sockets": [control], **settings}

    def header(password: str) -> str:
        return f"Authorization: Basic {base64.b64encode(f'ann:{password}'.encode()).decode()}\r\n"

    async with served(short_path, configuration) as site, web(port) as connection:
        statuses = [
            (await connection.post(encode("look"), header(one))).status for one in ("a", "b", "s3cret")
        ]
        assert statuses == [401, 401, 429]
        changed = {**configuration, "label": "new"}
        assert (await site.ask("config-set", {"Safe": changed})).result == 0
        assert (await connection.post(encode("look"), header("s3cret"))).status == 429
        anew = access(limits={"failed-logins": {"free": 9}})
        assert (await site.ask("config-set", {"Safe": {"control-sockets": [control], **anew}})).result == 0
        assert (await connection.post(encode("look"), header("s3cret"))).status == 200


# Roles that depend on more than the peer.


@on_virtual_clock
async def test_a_hook_says_which_role_a_peer_has_now(short_path: Path) -> None:
    policy: JSON = {
        "assign-role-method": "custom-value",
        "roles": [{"name": "night", "accept-commands": {"commands": ["unlock"]}}],
    }
    async with served(short_path, {"access": policy}) as site:
        assert (await site.ask("unlock")).result == 403
        said: list[str | None] = ["night"]

        def value(command: bridle.Command) -> str | None:
            if said[0] == "fail":
                raise RuntimeError("no idea")
            return said[0]

        site.safe.manager.assign_value(value)
        for now, result in (("night", 0), (None, 403), ("night", 0), ("day", 403), ("fail", 403)):
            said[0] = now
            assert (await site.ask("unlock")).result == result
        site.safe.manager.remove_hook(value)
        assert (await site.ask("unlock")).result == 403


@on_every_loop
async def test_reads_are_left_out_of_the_audit_where_it_says_so(short_path: Path) -> None:
    file = short_path / "audit.jsonl"
    everything: JSON = {"name": "operator", "accept-commands": "ALL"}
    configuration = access(everything, audit={"file": str(file), "reads": False})
    async with served(short_path, configuration), bridle.connect_async(f"unix:{short_path}/unix") as client:
        for name in ("look", "look", "unlock", "look"):
            assert (await client.execute(name)).result == 0
    assert [line.get("command") for line in lines(file)] == [None, "unlock"]
