"""Requests that a browser was led to send, what answers tell a browser, and what names a request."""

from __future__ import annotations

import asyncio
import re
import socket
from collections.abc import Mapping

import pytest

from bridle import CommandManager, Server
from bridle.access.basic import BasicAuthentication
from bridle.core.messages import Command
from bridle.server import HttpSettings
from bridle.server.browsers import FIXED_HEADERS
from bridle.server.http import answer_with
from tests.server.test_http_channel import ANSWER, HELLO, JSON, Reply, basic, web
from tests.support.loops import on_every_loop
from tests.support.streams import Commands

SITE = "https://console.example"
GENERATED = re.compile(r"[0-9a-f]{16}-[0-9a-f]+")


@pytest.fixture
def commands() -> Commands:
    return Commands()


async def ask(
    commands: CommandManager,
    headers: Mapping[str, str],
    settings: HttpSettings | None = None,
    method: str = "POST",
    body: bytes = HELLO,
) -> Reply:
    async with web(Server(commands), settings) as (client, _):
        return await client.ask(body, {**JSON, **headers}, method)


# Host


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "127.0.0.1:8000",
        "192.0.2.1:8000",
        "[::1]:8000",
        "[fe80::1%25lo]",
        "localhost",
        "LocalHost:8000",
        "localhost.",
        "kea.localhost",
        socket.gethostname(),
        f"{socket.gethostname().upper()}:8000",
        "",
    ],
)
@on_every_loop
async def test_addresses_and_our_own_names_are_good_hosts(commands: Commands, host: str) -> None:
    reply = await ask(commands, {"Host": host})
    assert (reply.status, reply.body) == (200, ANSWER)


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "evil.example:8000",
        "127.0.0.1.evil.example",
        "localhost.evil.example",
        "evillocalhost",
        "x:y",
    ],
)
@pytest.mark.parametrize("method", ["POST", "GET", "OPTIONS"])
@on_every_loop
async def test_a_strangers_name_is_refused_before_anything_happens(
    commands: Commands, host: str, method: str
) -> None:
    reply = await ask(commands, {"Host": host}, method=method)
    assert reply.status == 403
    text = f"Forbidden: {host} is no name of this listener; http-allowed-hosts names others"
    assert reply.body == b'{ "result": 403, "text": "%s" }' % text.encode()
    assert commands.begun == []


@on_every_loop
async def test_other_names_are_allowed_by_configuration(commands: Commands) -> None:
    settings = HttpSettings(allowed_hosts=("Kea.Example",))
    assert (await ask(commands, {"Host": "kea.example:80"}, settings)).status == 200
    assert (await ask(commands, {"Host": "x.example"}, settings)).status == 403


@on_every_loop
async def test_names_do_not_matter_where_everybody_proves_who_they_are(commands: Commands) -> None:
    asked = BasicAuthentication("r", {"admin": "1234"})
    headers = {**basic("admin", "1234"), "Host": "dhcp.example"}
    assert (await ask(commands, headers, HttpSettings(authentication=asked))).status == 200
    chosen = HttpSettings(authentication=asked, allowed_hosts=("kea.example",))
    assert (await ask(commands, headers, chosen)).status == 403
    nobody = HttpSettings(authentication=BasicAuthentication("r", {}))
    assert (await ask(commands, headers, nobody)).status == 403


# Origin


@pytest.mark.parametrize(
    "origin", [SITE, "http://localhost:1", "null", "file://", "https://localhost.evil.example"]
)
@pytest.mark.parametrize("method", ["POST", "GET", "OPTIONS"])
@on_every_loop
async def test_requests_of_other_sites_are_refused(commands: Commands, origin: str, method: str) -> None:
    reply = await ask(commands, {"Origin": origin}, method=method)
    assert reply.status == 403
    assert origin.encode() in reply.body
    assert b"http-allowed-origins" in reply.body
    assert "access-control-allow-origin" not in reply.headers
    assert commands.begun == []


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
@on_every_loop
async def test_a_browser_that_says_it_comes_from_elsewhere_is_refused(commands: Commands, site: str) -> None:
    assert (await ask(commands, {"Sec-Fetch-Site": site})).status == 403
    assert commands.begun == []
    assert (await ask(commands, {"Sec-Fetch-Site": site}, method="GET", body=b"")).status == 200


@pytest.mark.parametrize("site", ["same-origin", "none"])
@on_every_loop
async def test_our_own_pages_are_let_in(commands: Commands, site: str) -> None:
    headers = {"Host": "localhost:8000", "Origin": "http://localhost:8000", "Sec-Fetch-Site": site}
    assert (await ask(commands, headers)).status == 200


@on_every_loop
async def test_a_site_that_is_allowed_is_let_in_and_may_read_the_answer(commands: Commands) -> None:
    settings = HttpSettings(allowed_origins=(SITE,), headers=(("X-Site", "here"),))
    for body in (HELLO, HELLO.replace(b"say", b"wait"), b"{"):
        reply = await ask(commands, {"Origin": SITE, "Sec-Fetch-Site": "cross-site"}, settings, body=body)
        assert reply.status == (400 if body == b"{" else 200)
        assert reply.headers["access-control-allow-origin"] == SITE
        assert reply.headers["access-control-expose-headers"] == "X-Request-ID"
        assert reply.headers["vary"] == "Origin"
        assert reply.headers["x-site"] == "here"
        assert "access-control-allow-credentials" not in reply.headers
    assert (await ask(commands, {"Origin": "https://evil.example"}, settings)).status == 403


@on_every_loop
async def test_a_preflight_is_answered_for_sites_that_are_allowed_alone(commands: Commands) -> None:
    settings = HttpSettings(allowed_origins=(SITE,), authentication=BasicAuthentication("r", {"a": "b"}))
    asked = {"Origin": SITE, "Access-Control-Request-Method": "POST"}
    # What is asked before the request has no credentials yet.
    async with web(Server(commands), settings) as (_, channel):
        reader, writer = await asyncio.open_connection("127.0.0.1", channel.endpoint.port)
        lines = [f"{name}: {value}" for name, value in {"Host": "localhost", **asked}.items()]
        writer.write("\r\n".join(["OPTIONS / HTTP/1.1", *lines, "", ""]).encode())
        answer = (await reader.readuntil(b"\r\n\r\n")).decode()
        writer.close()
        await writer.wait_closed()
    assert answer.startswith("HTTP/1.1 204 No Content\r\n")
    assert f"Access-Control-Allow-Origin: {SITE}\r\n" in answer
    assert "Access-Control-Allow-Methods: GET, POST\r\n" in answer
    assert "Authorization, Content-Type" in answer
    refused = await ask(commands, {**asked, "Origin": "https://evil.example"}, settings, "OPTIONS", b"")
    assert refused.status == 403
    assert "access-control-allow-methods" not in refused.headers


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE", "OPTIONS"])
@on_every_loop
async def test_nothing_but_a_post_is_ever_a_command(commands: Commands, method: str) -> None:
    async with web(Server(commands)) as (client, _):
        await client.ask(HELLO, JSON, method, "/?command=say&arguments=hello")
    assert commands.begun == []


# Headers


@pytest.mark.parametrize(
    ("method", "body", "status"),
    [("POST", HELLO, 200), ("POST", b"{", 400), ("PUT", b"", 405), ("GET", b"", 200)],
)
@on_every_loop
async def test_every_answer_tells_browsers_what_not_to_do(
    commands: Commands, method: str, body: bytes, status: int
) -> None:
    reply = await ask(commands, {}, method=method, body=body)
    assert reply.status == status
    for line in FIXED_HEADERS.decode().splitlines():
        name, _, value = line.partition(": ")
        assert reply.headers[name.lower()] == value
    assert reply.headers["x-content-type-options"] == "nosniff"
    assert "frame-ancestors 'none'" in reply.headers["content-security-policy"]


@on_every_loop
async def test_a_configured_header_goes_before_ours(commands: Commands) -> None:
    settings = HttpSettings(headers=(("x-frame-options", "SAMEORIGIN"),))
    reply = await ask(commands, {}, settings)
    assert reply.headers["x-frame-options"] == "SAMEORIGIN"
    assert reply.headers["x-content-type-options"] == "nosniff"


# Names of requests


async def named(headers: Mapping[str, str]) -> tuple[Reply, Command]:
    seen: list[Command] = []
    manager = Commands()

    def answer(command: Command) -> object:
        seen.append(command)
        return answering(command)

    answering = answer_with(manager.process_command)
    async with web(Server(manager, answer=answer)) as (client, _):  # type: ignore[arg-type]
        reply = await client.ask(HELLO, {**JSON, **headers})
    return reply, seen[0]


@pytest.mark.parametrize("name", ["a", "7f3c-11", "A.b_c:d/e+f=@-", "x" * 128])
@on_every_loop
async def test_a_request_keeps_the_name_that_its_client_gave_it(name: str) -> None:
    reply, command = await named({"X-Request-ID": name})
    assert reply.headers["x-request-id"] == command.request_id == name


@pytest.mark.parametrize("name", [None, "", "x" * 129, "a b", "a,b", 'a"b', "\x80", "<script>"])
@on_every_loop
async def test_a_request_without_a_sane_name_gets_one(name: str | None) -> None:
    reply, command = await named({} if name is None else {"X-Request-ID": name})
    assert GENERATED.fullmatch(command.request_id)
    assert reply.headers["x-request-id"] == command.request_id


@on_every_loop
async def test_no_two_requests_get_the_same_name(commands: Commands) -> None:
    async with web(Server(commands)) as (client, _):
        names = {(await client.ask(HELLO)).headers["x-request-id"] for _ in range(50)}
    assert len(names) == 50


TRACE = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


@pytest.mark.parametrize(
    "trace", [TRACE, TRACE.replace("00-4", "01-4"), TRACE.replace("00-4", "cc-4") + "-what-comes"]
)
@on_every_loop
async def test_a_trace_is_passed_on(trace: str) -> None:
    assert (await named({"traceparent": trace}))[1].traceparent == trace


@pytest.mark.parametrize(
    "trace",
    [
        "",
        "nonsense",
        TRACE.upper(),
        TRACE + "-more",
        TRACE.replace("00-4", "ff-4"),
        TRACE.replace("4bf92f3577b34da6a3ce929d0e0e4736", "0" * 32),
        TRACE.replace("00f067aa0ba902b7", "0" * 16),
        TRACE[:-1],
    ],
)
@on_every_loop
async def test_what_is_no_trace_is_not(trace: str) -> None:
    assert (await named({"traceparent": trace}))[1].traceparent == ""
