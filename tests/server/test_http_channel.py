"""What an HTTP channel checks, in which order, and what it says (``facts/kea.md`` §2.1)."""

from __future__ import annotations

import asyncio
import base64
import json
import os
from collections.abc import AsyncIterator, Awaitable, Iterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import NamedTuple

import pytest

from bridle import CommandManager, Peer, Response, Server
from bridle.access.basic import BasicAuthentication
from bridle.access.limits import Excess
from bridle.access.passwords import hash_password
from bridle.access.tokens import TokenFile, Tokens
from bridle.core.messages import Command
from bridle.server import Channel, HttpSettings
from bridle.server.http import answer_with
from bridle.wire.http import HttpResponse
from tests.support.loops import on_every_loop
from tests.support.streams import Commands

HELLO = b'{ "command": "say", "arguments": { "value": "hello" } }'
ANSWER = b'[ { "arguments": "hello", "result": 0 } ]'
JSON = {"Content-Type": "application/json"}
BAD_REQUEST = b'{ "result": 400, "text": "Bad Request" }'
UNAUTHORIZED = b'{ "result": 401, "text": "Unauthorized" }'


class Reply(NamedTuple):
    """An answer: status, header fields by lower-case name, body."""

    status: int
    headers: dict[str, str]
    body: bytes


class Web:
    """One connection that is kept."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def ask(
        self, body: bytes = b"", headers: Mapping[str, str] = JSON, method: str = "POST", target: str = "/"
    ) -> Reply:
        """Send a request and read its answer."""
        fields = {"Host": "localhost", **headers, "Content-Length": str(len(body))}
        head = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
        self._writer.write(f"{method} {target} HTTP/1.1\r\n{head}\r\n".encode() + body)
        lines = (await self._reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        found = {
            name.lower(): value for name, _, value in (line.partition(": ") for line in lines[1:] if line)
        }
        length = 0 if method == "HEAD" else int(found["content-length"])
        return Reply(int(lines[0].split()[1]), found, await self._reader.readexactly(length))


_ENDPOINT = "http://127.0.0.1:0"
_place = [_ENDPOINT]


@pytest.fixture(params=["port", "file"], autouse=True)
def place(request: pytest.FixtureRequest, short_path: Path) -> Iterator[str]:
    """Where channels listen: all that is said here holds on a port as on a unix socket."""
    _place[0] = _ENDPOINT if request.param == "port" else f"http+unix:{short_path}/s"
    yield _place[0]
    _place[0] = _ENDPOINT


@asynccontextmanager
async def web(server: Server, settings: HttpSettings | None = None) -> AsyncIterator[tuple[Web, Channel]]:
    """A channel of the server, and a connection to it."""
    try:
        channel = await server.listen(_place[0], settings)
        endpoint = channel.endpoint
        if endpoint.transport == "unix":
            reader, writer = await asyncio.open_unix_connection(endpoint.path)
        else:
            reader, writer = await asyncio.open_connection("127.0.0.1", endpoint.port)
        try:
            yield Web(reader, writer), channel
        finally:
            writer.close()
            await writer.wait_closed()
    finally:
        await server.close(1)


def basic(user: str, password: str, scheme: str = "Basic") -> dict[str, str]:
    token = base64.b64encode(f"{user}:{password}".encode()).decode()
    return {**JSON, "Authorization": f"{scheme} {token}"}


def not_a_number() -> Response:
    return Response(arguments=float("nan"))


async def not_a_number_later() -> Response:
    return not_a_number()


def cancelled() -> None:
    raise asyncio.CancelledError


async def cancelled_later() -> None:
    await asyncio.sleep(0)
    raise asyncio.CancelledError


@pytest.fixture
def commands() -> Commands:
    return Commands()


@pytest.fixture
def guarded() -> HttpSettings:
    return HttpSettings(authentication=BasicAuthentication("the realm", {"admin": "1234", "guest": ""}))


# Commands


@pytest.mark.parametrize("name", ["say", "wait"], ids=["plain", "coroutine"])
@on_every_loop
async def test_a_command_is_answered_in_a_list_of_one(commands: Commands, name: str) -> None:
    async with web(Server(commands)) as (client, _):
        for _ in range(3):
            reply = await client.ask(HELLO.replace(b"say", name.encode()))
            assert (reply.status, reply.body) == (200, ANSWER)
            assert reply.headers["content-type"] == "application/json"


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (b'{ "command": "none" }', b"'none' command not supported."),
        (b"[]", b"expected toplevel entry to be a map"),
        (b'{ "command": 5 }', b"expected 'command' to be a string"),
        (b"", b"Command processing failed: NULL command parameter"),
        (b'{ "command": "say" }', b"missing argument 'value'"),
    ],
)
@on_every_loop
async def test_what_is_wrong_with_a_command_is_answered_200(
    commands: Commands, body: bytes, text: bytes
) -> None:
    async with web(Server(commands)) as (client, _):
        reply = await client.ask(body)
        assert reply.status == 200
        assert reply.body.startswith(b'[ { "result": ')
        assert text in reply.body


@pytest.mark.parametrize(
    ("body", "headers"),
    [
        (b"{", JSON),
        (b"x", JSON),
        (HELLO + HELLO, JSON),
        (HELLO, {}),
        (HELLO, {"Content-Type": "text/json"}),
    ],
)
@on_every_loop
async def test_what_is_no_request_of_ours_is_answered_400_with_a_map(
    commands: Commands, body: bytes, headers: dict[str, str]
) -> None:
    async with web(Server(commands)) as (client, _):
        reply = await client.ask(body, headers)
        assert (reply.status, reply.body) == (400, BAD_REQUEST)
        assert commands.begun == []


@on_every_loop
async def test_the_body_of_malformed_json_costs_no_connection(commands: Commands) -> None:
    async with web(Server(commands)) as (client, _):
        assert (await client.ask(b"{")).status == 400
        assert (await client.ask(HELLO)).body == ANSWER


@pytest.mark.parametrize("late", [False, True], ids=["plain", "coroutine"])
@on_every_loop
async def test_an_answer_that_cannot_be_written_is_answered_with_the_reason(
    commands: Commands, late: bool
) -> None:
    commands.register_command("nan", not_a_number_later if late else not_a_number)
    async with web(Server(commands)) as (client, _):
        reply = await client.ask(b'{ "command": "nan" }')
        words = b"the answer cannot be written: nan cannot be written as JSON"
        assert (reply.status, reply.body) == (200, b'[ { "result": 1, "text": "%s" } ]' % words)
        assert (await client.ask(HELLO)).body == ANSWER


@pytest.mark.parametrize("late", [False, True], ids=["plain", "coroutine"])
@on_every_loop
async def test_a_handler_whose_work_was_cancelled_is_answered_and_the_connection_goes_on(
    commands: Commands, late: bool
) -> None:
    commands.register_command("cancelled", cancelled_later if late else cancelled)
    async with web(Server(commands)) as (client, _):
        async with asyncio.timeout(5):
            reply = await client.ask(b'{ "command": "cancelled" }')
        assert reply.body == b'[ { "result": 1, "text": "the command was cancelled" } ]'
        assert (await client.ask(HELLO)).body == ANSWER


@pytest.mark.parametrize("late", [False, True], ids=["plain", "coroutine"])
@on_every_loop
async def test_what_cancels_somebody_elses_answer_costs_no_connection(commands: Commands, late: bool) -> None:
    def answer(command: Command) -> HttpResponse | Awaitable[HttpResponse]:
        return answer_later() if late else answer_now()

    def answer_now() -> HttpResponse:
        raise asyncio.CancelledError

    async def answer_later() -> HttpResponse:
        raise asyncio.CancelledError

    async with web(Server(commands, answer=answer)) as (client, _):
        async with asyncio.timeout(5):
            assert (await client.ask(HELLO)).status == 500
            assert (await client.ask(HELLO)).status == 500


# Who looks at it


@on_every_loop
async def test_a_browser_is_told_what_this_is(commands: Commands) -> None:
    async with web(Server(commands, banner="A thermostat.\n")) as (client, _):
        reply = await client.ask(b"", {}, "GET")
        assert (reply.status, reply.body) == (200, b"A thermostat.\n")
        assert reply.headers["content-type"] == "text/plain"
        head = await client.ask(b"", {}, "HEAD")
        assert (head.status, head.body) == (200, b"")
        assert head.headers["content-length"] == reply.headers["content-length"]


@on_every_loop
async def test_a_browser_learns_little_where_credentials_are_asked_for(
    commands: Commands, guarded: HttpSettings
) -> None:
    async with web(Server(commands, banner="A thermostat.\n"), guarded) as (client, _):
        reply = await client.ask(b"", {}, "GET")
        assert reply.status == 200
        assert b"thermostat" not in reply.body
        assert "bridle" in reply.body.decode().lower()


@pytest.mark.parametrize(
    ("method", "target", "allow"),
    [
        ("PUT", "/", "GET, HEAD, POST"),
        ("DELETE", "/", "GET, HEAD, POST"),
        ("OPTIONS", "/", "GET, HEAD, POST"),
        ("GET", "/other", "POST"),
        ("HEAD", "/other", "POST"),
        ("PUT", "/other", "POST"),
    ],
)
@on_every_loop
async def test_a_wrong_method_is_answered_405_with_those_that_are_right(
    commands: Commands, method: str, target: str, allow: str
) -> None:
    async with web(Server(commands)) as (client, _):
        reply = await client.ask(HELLO, JSON, method, target)
        assert reply.status == 405
        assert reply.headers["allow"] == allow
        assert (await client.ask(HELLO)).body == ANSWER
    assert commands.begun == ["hello"]


@pytest.mark.parametrize("target", ["/foo", "/?a=b", "*"])
@on_every_loop
async def test_a_command_may_be_posted_to_any_path(commands: Commands, target: str) -> None:
    async with web(Server(commands)) as (client, _):
        assert (await client.ask(HELLO, target=target)).body == ANSWER


# Authentication: syntax first, then who asks, then the command


@pytest.mark.parametrize(
    ("body", "headers", "status"),
    [
        (b"{", JSON, 400),
        (b"{", basic("admin", "wrong"), 400),
        (b"{", basic("admin", "1234"), 400),
        (HELLO, {}, 400),
        (HELLO, JSON, 401),
        (HELLO, basic("admin", "wrong"), 401),
        (b'{ "command": "none" }', JSON, 401),
        (b"[]", JSON, 401),
        (b"", JSON, 401),
        (b"[]", basic("admin", "1234"), 200),
        (HELLO, basic("admin", "1234"), 200),
        (HELLO, basic("admin", "1234", "bAsIc"), 200),
        (HELLO, basic("guest", ""), 200),
    ],
)
@on_every_loop
async def test_syntax_is_checked_before_who_asks_and_that_before_the_command(
    commands: Commands, guarded: HttpSettings, body: bytes, headers: dict[str, str], status: int
) -> None:
    async with web(Server(commands), guarded) as (client, _):
        reply = await client.ask(body, headers)
        assert reply.status == status
        if status == 401:
            assert reply.body == UNAUTHORIZED
            assert reply.headers["www-authenticate"] == 'Basic realm="the realm"'
        assert bool(commands.begun) == (status == 200 and body == HELLO)


@on_every_loop
async def test_who_was_refused_may_try_again_on_the_same_connection(
    commands: Commands, guarded: HttpSettings
) -> None:
    async with web(Server(commands), guarded) as (client, _):
        assert (await client.ask(HELLO)).status == 401
        assert (await client.ask(HELLO, basic("admin", "1234"))).body == ANSWER
        assert (await client.ask(HELLO)).status == 401


@on_every_loop
async def test_the_peer_of_a_command_has_the_user_who_was_vouched_for(
    guarded: HttpSettings, place: str
) -> None:
    seen: list[Peer] = []
    manager = CommandManager()

    def who(peer: Peer) -> None:
        seen.append(peer)

    manager.register_command("who", who)
    async with web(Server(manager), guarded) as (client, _):
        await client.ask(b'{ "command": "who" }', basic("admin", "1234"))
        await client.ask(b'{ "command": "who" }', basic("guest", ""))
    assert [peer.user for peer in seen] == ["admin", "guest"]
    if place == _ENDPOINT:
        assert {(peer.transport, peer.address, peer.uid) for peer in seen} == {("http", "127.0.0.1", None)}
        return
    path = place.removeprefix("http+unix:")
    known = {(peer.transport, peer.address, peer.pid, peer.uid, peer.groups) for peer in seen}
    assert known == {("http+unix", path, os.getpid(), os.getuid(), None)}, "nobody asked for the groups"


@pytest.fixture(scope="module")
def hashed() -> str:
    """The hash of a password."""
    return hash_password("s3cr3t")


@pytest.mark.parametrize("headers", [(), (("X-Site", "north"),)])
@on_every_loop
async def test_a_password_that_is_kept_as_a_hash_lets_in_at_the_second_time_too(
    commands: Commands, hashed: str, headers: tuple[tuple[str, str], ...]
) -> None:
    authentication = BasicAuthentication("the realm", (), hashes=[("admin", hashed)])
    async with web(Server(commands), HttpSettings(authentication=authentication, headers=headers)) as (
        client,
        _,
    ):
        for _ in range(2):
            assert (await client.ask(HELLO, basic("admin", "s3cr3t"))).body == ANSWER
            refused = await client.ask(HELLO, basic("admin", "wrong"))
            assert (refused.status, refused.body) == (401, UNAUTHORIZED)
            assert refused.headers["www-authenticate"] == 'Basic realm="the realm"'
            assert ("x-site" in refused.headers) == bool(headers)
        waiting = await client.ask(HELLO.replace(b"say", b"wait"), basic("admin", "s3cr3t"))
        assert waiting.status == 200
    assert commands.begun == ["hello", "hello", "hello"]


@on_every_loop
async def test_who_tries_passwords_is_told_how_long_to_wait(
    commands: Commands, guarded: HttpSettings
) -> None:
    async with web(Server(commands), guarded) as (client, _):
        assert (await client.ask(HELLO, basic("guest", ""))).status == 200
        replies = [await client.ask(HELLO, basic("admin", str(number))) for number in range(8)]
        assert [reply.status for reply in replies] == [401] * 6 + [429] * 2
        assert replies[-1].headers["retry-after"] == "1"
        assert replies[-1].body == b'{ "result": 429, "text": "Too Many Requests" }'
        assert (await client.ask(HELLO, basic("admin", "1234"))).status == 429, "the right one, too"
        assert (await client.ask(HELLO, basic("guest", ""))).status == 200, "who was in before goes on"
    assert commands.begun == ["hello", "hello"]


@pytest.mark.parametrize(
    ("excess", "status", "retry"),
    [(Excess('too many: "5"', 2.5), 429, "3"), (Excess("too large", 0.0), 413, None)],
)
@on_every_loop
async def test_what_is_beyond_a_limit_is_told_with_when_to_try_again(
    commands: Commands, excess: Excess, status: int, retry: str | None
) -> None:
    commands.before_command(lambda command: excess.response())
    async with web(Server(commands)) as (client, _):
        reply = await client.ask(HELLO)
        assert (reply.status, reply.headers.get("retry-after")) == (status, retry)
        assert json.loads(reply.body) == {"result": status, "text": excess.text}
    assert commands.begun == []


@on_every_loop
async def test_a_token_lets_in_as_its_user_and_in_its_role(tmp_path: Path) -> None:
    file = TokenFile(tmp_path / "tokens")
    token = file.create("ci", user="builder", role="reader")
    authentication = BasicAuthentication("r", {"admin": "1234"}, tokens=Tokens(tmp_path / "tokens"))
    seen: list[Peer] = []
    manager = CommandManager()

    def who(peer: Peer) -> None:
        seen.append(peer)

    manager.register_command("who", who)
    async with web(Server(manager), HttpSettings(authentication=authentication)) as (client, _):
        ask = b'{ "command": "who" }'
        for scheme in ("Bearer", "bearer", "BEARER "):
            assert (await client.ask(ask, {**JSON, "Authorization": f"{scheme} {token}"})).status == 200
        refused = await client.ask(ask, {**JSON, "Authorization": f"Bearer {token.swapcase()}"})
        assert refused.status == 401
        assert refused.headers["www-authenticate"] == 'Basic realm="r", Bearer realm="r"'
        assert (await client.ask(ask, {**JSON, "Authorization": f"Basic {token}"})).status == 401
        assert (await client.ask(ask, basic("admin", "1234"))).status == 200
    assert [(peer.user, peer.role, peer.token) for peer in seen] == [
        *[("builder", "reader", "ci")] * 3,
        ("admin", None, None),
    ]


@on_every_loop
async def test_credentials_are_not_asked_for_where_no_clients_are_configured(commands: Commands) -> None:
    settings = HttpSettings(authentication=BasicAuthentication("realm", {}))
    async with web(Server(commands), settings) as (client, _):
        assert (await client.ask(HELLO)).body == ANSWER
        assert (await client.ask(HELLO, basic("any", "body"))).body == ANSWER


@on_every_loop
async def test_other_settings_hold_from_the_next_request_on(
    commands: Commands, guarded: HttpSettings
) -> None:
    async with web(Server(commands)) as (client, channel):
        assert (await client.ask(HELLO)).status == 200
        channel.update(guarded)
        assert (await client.ask(HELLO)).status == 401
        channel.update(HttpSettings(headers=(("X-New", "yes"),)))
        assert (await client.ask(HELLO)).headers["x-new"] == "yes"


# Headers of the site's own


@pytest.mark.parametrize(
    ("method", "body", "headers", "status"),
    [
        ("POST", HELLO, basic("admin", "1234"), 200),
        ("POST", HELLO.replace(b"say", b"wait"), basic("admin", "1234"), 200),
        ("POST", b'{ "command": "none" }', basic("admin", "1234"), 200),
        ("POST", b"", basic("admin", "1234"), 200),
        ("POST", b'{ "command": "nan" }', basic("admin", "1234"), 200),
        ("POST", b"{", {**JSON}, 400),
        ("POST", HELLO, {**JSON}, 401),
        ("PUT", HELLO, {**JSON}, 405),
        ("GET", b"", {}, 200),
        ("HEAD", b"", {}, 200),
    ],
)
@on_every_loop
async def test_the_configured_headers_are_in_every_answer(
    commands: Commands,
    guarded: HttpSettings,
    method: str,
    body: bytes,
    headers: dict[str, str],
    status: int,
) -> None:
    commands.register_command("nan", not_a_number)
    extra = (("Strict-Transport-Security", "max-age=31536000"), ("X-Site", "north"))
    settings = HttpSettings(authentication=guarded.authentication, headers=extra)
    async with web(Server(commands), settings) as (client, _):
        reply = await client.ask(body, headers, method)
        assert reply.status == status
        assert reply.headers["strict-transport-security"] == "max-age=31536000"
        assert reply.headers["x-site"] == "north"
        assert ("www-authenticate" in reply.headers) == (status == 401)
        assert ("allow" in reply.headers) == (status == 405)


# An answer of somebody else's


@on_every_loop
async def test_commands_may_be_answered_in_the_managers_place(commands: Commands) -> None:
    own = answer_with(commands.process_command)

    def answer(command: Command) -> HttpResponse | Awaitable[HttpResponse]:
        return HttpResponse(200, b"[ ]") if command.services else own(command)

    async with web(Server(commands, answer=answer)) as (client, _):
        assert (await client.ask(HELLO)).body == ANSWER
        assert (await client.ask(b'{ "command": "say", "service": [ "d2" ] }')).body == b"[ ]"
