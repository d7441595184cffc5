"""Commands that are passed on: to whom, for how long, over which connections, and as what bytes."""

from __future__ import annotations

import asyncio
import base64
import json
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

import bridle
from bridle.agent.agent import SERVICES_LIMIT
from bridle.agent.forwarding import KeaService, Refuse
from bridle.testing import elapsed
from tests.support.front import (
    JSON,
    Seen,
    agent,
    answering,
    backend,
    counting,
    encode,
    silence,
    web,
)
from tests.support.kettle import Kettle, served
from tests.support.loops import on_every_loop, on_virtual_clock
from tests.support.programs import free_port

OFFLINE = "unable to forward command to the {} service: {}. The server is likely to be offline"


def offline(service: str, reason: str) -> dict[str, JSON]:
    """The answer of a service that cannot be had."""
    return {"result": 1, "text": OFFLINE.format(service, reason)}


# Several services.


@on_virtual_clock
async def test_several_services_are_asked_at_the_same_time_and_answered_in_the_order_asked(
    short_path: Path,
) -> None:
    places = {name: short_path / name for name in ("slow", "middle", "fast")}
    async with AsyncExitStack() as stack:
        for seconds, name in ((3, "slow"), (2, "middle"), (1, "fast")):
            talk = answering(b'{ "result": 0, "text": "%s" }' % name.encode(), after=seconds)
            await stack.enter_async_context(backend(places[name], talk))
        front = await stack.enter_async_context(agent(short_path, places))
        began = elapsed()
        reply = await front.ask("foo", "middle", "slow", "fast")
        assert [answer["text"] for answer in reply.answers] == ["middle", "slow", "fast"]
        assert elapsed() - began == pytest.approx(3, abs=0.1)


@on_virtual_clock
async def test_a_service_that_is_asked_for_twice_answers_twice(short_path: Path) -> None:
    async with backend(short_path / "a") as seen, agent(short_path, {"a": short_path / "a"}) as front:
        assert len((await front.ask("foo", "a", "a")).answers) == 2
        assert len(seen.requests) == 2


@on_virtual_clock
async def test_every_service_is_told_all_the_services_that_were_asked(short_path: Path) -> None:
    places = {"a": short_path / "a", "b": short_path / "b"}
    async with backend(places["a"]) as a, backend(places["b"]) as b, agent(short_path, places) as front:
        await front.ask("foo", "b", "a")
        assert a.request["service"] == b.request["service"] == ["b", "a"]


@on_virtual_clock
async def test_a_service_that_fails_does_not_spoil_the_others(short_path: Path) -> None:
    async with (
        backend(short_path / "a"),
        agent(short_path, {"a": short_path / "a", "away": short_path / "away"}) as front,
    ):
        reply = await front.ask("foo", "away", "unknown", "a")
        assert reply.answers == [
            offline("away", "No such file or directory"),
            {"result": 1, "text": "forwarding socket is not configured for the server type unknown"},
            {"result": 0},
        ]


@on_virtual_clock
async def test_so_many_services_are_asked_and_no_more(short_path: Path) -> None:
    async with backend(short_path / "a") as seen, agent(short_path, {"a": short_path / "a"}) as front:
        assert len((await front.ask("foo", *["a"] * SERVICES_LIMIT)).answers) == SERVICES_LIMIT
        reply = await front.ask("foo", *["a"] * (SERVICES_LIMIT + 1))
        assert reply.answer == {"result": 1, "text": "too many services: at most 64 are asked at once"}
        assert len(seen.requests) == SERVICES_LIMIT


@on_virtual_clock
async def test_a_fault_of_ours_costs_one_answer(
    short_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    forward = KeaService.forward

    async def stumble(service: KeaService, command: bridle.Command, refuse: Refuse | None) -> bytes:
        if service.settings.name == "b":
            raise RuntimeError("ouch")
        return await forward(service, command, refuse)

    monkeypatch.setattr(KeaService, "forward", stumble)
    places = {"a": short_path / "a", "b": short_path / "b"}
    async with backend(places["a"]), agent(short_path, places) as front:
        reply = await front.ask("foo", "a", "b")
        assert reply.answers == [{"result": 0}, {"result": 1, "text": "internal server error: ouch"}]
    assert "'foo' could not be passed on to b" in caplog.text


# How long.


@on_virtual_clock
async def test_a_silent_service_is_given_up_after_a_minute_and_delays_nobody(short_path: Path) -> None:
    places = {"silent": short_path / "silent", "a": short_path / "a"}
    async with (
        backend(places["silent"], silence),
        backend(places["a"]),
        agent(short_path, places) as front,
    ):
        waiting = asyncio.create_task(front.ask("foo", "silent", "a"))
        await asyncio.sleep(1)
        for _ in range(3):
            began = elapsed()
            assert (await front.ask("foo", "a")).answer == {"result": 0}
            assert (await front.ask("version-get")).answer["result"] == 0
            assert elapsed() == began
        reply = await waiting
        assert elapsed() == pytest.approx(60, abs=0.1)
        assert reply.answers == [offline("silent", "Operation canceled"), {"result": 0}]


@on_virtual_clock
async def test_a_service_has_the_time_that_its_configuration_says(short_path: Path) -> None:
    entry: JSON = {"socket-name": str(short_path / "s"), "timeout": 2.5}
    async with backend(short_path / "s", silence), agent(short_path, {"s": entry}) as front:
        assert (await front.ask("foo", "s")).answer == offline("s", "Operation canceled")
        assert elapsed() == pytest.approx(2.5, abs=0.1)


@on_virtual_clock
async def test_half_an_answer_counts_as_none(short_path: Path) -> None:
    async with agent(short_path, {"s": short_path / "s"}) as front:

        async def begin(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(b'{ "result": 0, "text": "begun')
            await reader.read()
            writer.close()

        server = await asyncio.start_unix_server(begin, short_path / "s")
        assert (await front.ask("foo", "s")).answer == offline("s", "Operation canceled")
        assert elapsed() == pytest.approx(60, abs=0.1)
        server.close()
        await server.wait_closed()


@on_virtual_clock
async def test_a_service_gets_so_many_commands_at_a_time_and_no_other_service_waits_for_it(
    short_path: Path,
) -> None:
    places = {"s": short_path / "s", "other": short_path / "o"}
    entry: JSON = {"socket-name": str(places["s"]), "connections": 2}
    async with (
        backend(places["s"], answering(after=1)) as seen,
        backend(places["other"]),
        agent(short_path, {**places, "s": entry}) as front,
    ):
        tasks = [asyncio.create_task(front.ask("foo", "s")) for _ in range(5)]
        await asyncio.sleep(0.5)
        began = elapsed()
        assert (await front.ask("foo", "other")).answer == {"result": 0}
        assert elapsed() == began
        assert [reply.answer for reply in await asyncio.gather(*tasks)] == [{"result": 0}] * 5
        assert seen.busiest == 2
        assert elapsed() == pytest.approx(3, abs=0.1)


@on_virtual_clock
async def test_waiting_for_a_turn_counts_towards_the_time(short_path: Path) -> None:
    entry: JSON = {"socket-name": str(short_path / "s"), "connections": 1, "timeout": 2.5}
    async with (
        backend(short_path / "s", answering(after=2)) as seen,
        agent(short_path, {"s": entry}) as front,
    ):
        ends = []

        async def ask() -> dict[str, JSON]:
            answer = (await front.ask("foo", "s")).answer
            ends.append(round(elapsed(), 1))
            return answer

        answers = await asyncio.gather(*(ask() for _ in range(3)))
        assert sorted(answers, key=str) == [{"result": 0}, *[offline("s", "Operation canceled")] * 2]
        assert ends == [2.0, 2.5, 2.5], "one is answered, one is cut short, one has no turn at all"
        assert seen.accepted == 2
        assert (await front.ask("foo", "s")).answer == {"result": 0}, "and all turns are given back"


# Connections.


@on_virtual_clock
async def test_connections_to_a_daemon_that_keeps_them_are_used_again(short_path: Path) -> None:
    async with (
        served(short_path) as site,
        counting(short_path / "way", site.socket) as seen,
        agent(short_path, {"kettle": short_path / "way"}) as front,
    ):
        for number in range(10):
            reply = await front.ask("repeat", "kettle", arguments=[number])
            assert reply.answer == {"arguments": number, "result": 0}
        assert seen.accepted == 1
        await asyncio.gather(*(front.ask("brew", "kettle", arguments=[1]) for _ in range(5)))
        assert seen.accepted == 5
        await asyncio.gather(*(front.ask("brew", "kettle", arguments=[1]) for _ in range(5)))
        assert seen.accepted == 5


@on_virtual_clock
async def test_connections_to_a_daemon_that_closes_are_made_anew(short_path: Path) -> None:
    async with backend(short_path / "a") as seen, agent(short_path, {"a": short_path / "a"}) as front:
        for _ in range(3):
            assert (await front.ask("foo", "a")).answer == {"result": 0}
        assert seen.accepted == 3


@on_virtual_clock
async def test_a_kept_connection_that_the_daemon_has_closed_is_no_error(short_path: Path) -> None:
    async with (
        served(short_path) as site,
        counting(short_path / "way", site.socket) as seen,
        agent(short_path, {"kettle": short_path / "way"}) as front,
    ):
        assert (await front.ask("repeat", "kettle", arguments=[1])).answer["result"] == 0
        await asyncio.sleep(70)
        assert seen.open == 0, "the daemon has closed it"
        assert (await front.ask("repeat", "kettle", arguments=[2])).answer["arguments"] == 2
        assert seen.accepted == 2


@on_virtual_clock
async def test_a_daemon_that_was_restarted_is_found_again(short_path: Path) -> None:
    async with agent(short_path, {"kettle": short_path / "kettle.sock"}) as front:
        for _ in range(2):
            async with served(short_path):
                assert (await front.ask("repeat", "kettle", arguments=[1])).answer["result"] == 0
            assert (await front.ask("repeat", "kettle", arguments=[1])).answer == offline(
                "kettle", "No such file or directory"
            )


# Daemons on HTTP.


def on_http(port: int, **extra: JSON) -> dict[str, JSON]:
    """A service on HTTP, or the control socket of one."""
    others = {key.replace("_", "-"): value for key, value in extra.items()}
    return {"socket-type": "http", "socket-port": port, **others}


@on_virtual_clock
async def test_a_daemon_on_http_answers_as_one_on_a_unix_socket(short_path: Path) -> None:
    port = free_port()
    services: dict[str, JSON | Path] = {
        "plain": on_http(port),
        "named": {"endpoint": f"http://127.0.0.1:{port}"},
        "unix": short_path / "kettle.sock",
    }
    async with (
        served(short_path, configuration={"control-sockets": [on_http(port)]}),
        agent(short_path, services) as front,
    ):
        for _ in range(2):
            reply = await front.ask("repeat", *services, arguments=[{"b": 1, "a": [None]}])
            assert reply.answers == [{"arguments": {"b": 1, "a": [None]}, "result": 0}] * 3
        reply = await front.ask("foo", *services)
        assert reply.answers == [{"result": 2, "text": "'foo' command not supported."}] * 3


@on_virtual_clock
async def test_an_endpoint_may_be_a_path(short_path: Path) -> None:
    services: dict[str, JSON | Path] = {"kettle": {"endpoint": f"{short_path}/kettle.sock"}}
    async with served(short_path), agent(short_path, services) as front:
        assert (await front.ask("repeat", "kettle", arguments=[1])).answer["arguments"] == 1


@on_virtual_clock
async def test_credentials_are_sent_to_a_daemon_that_asks_for_them_and_a_refusal_is_told(
    short_path: Path,
) -> None:
    port = free_port()
    secured = on_http(port, authentication={"clients": [{"user": "agent", "password": "pâss"}]})
    services: dict[str, JSON | Path] = {
        "right": on_http(port, user="agent", password="pâss"),
        "wrong": on_http(port, user="agent", password="x"),
        "none": on_http(port),
        "url": {"endpoint": f"http://agent:p%C3%A2ss@127.0.0.1:{port}"},
    }
    async with (
        served(short_path, configuration={"control-sockets": [secured]}),
        agent(short_path, services) as front,
    ):
        reply = await front.ask("repeat", *services, arguments=[1])
        refused = {"result": 1, "text": "Unauthorized (HTTP 401)"}
        success = {"arguments": 1, "result": 0}
        assert reply.answers == [success, refused, refused, success]


@on_virtual_clock
async def test_what_names_a_request_goes_on_to_daemons_on_http(short_path: Path) -> None:
    heads: list[str] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heads.append((await reader.readuntil(b"\r\n\r\n")).decode())
        writer.write(b'HTTP/1.1 200 OK\r\nContent-Length: 19\r\nConnection: close\r\n\r\n[ { "result": 0 } ]')
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
    async with agent(short_path, {"s": on_http(port)}) as front:
        await front.post(encode("foo", "s"), f"X-Request-ID: the-name\r\ntraceparent: {trace}\r\n")
        await front.post(encode("foo", "s"), "traceparent: nonsense\r\n")
    server.close()
    await server.wait_closed()
    assert "X-Request-ID: the-name\r\n" in heads[0]
    assert f"traceparent: {trace}\r\n" in heads[0]
    assert "X-Request-ID: " in heads[1]
    assert "traceparent" not in heads[1]


@on_virtual_clock
async def test_a_client_s_own_credentials_are_not_passed_on(short_path: Path) -> None:
    heads: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heads.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(b'HTTP/1.1 200 OK\r\nContent-Length: 19\r\nConnection: close\r\n\r\n[ { "result": 0 } ]')
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    clients: JSON = {"clients": [{"user": "amy", "password": "x"}]}
    async with agent(short_path, {"s": on_http(port)}, authentication=clients) as front:
        vouched = base64.b64encode(b"amy:x").decode()
        reply = await front.post(encode("foo", "s"), f"Authorization: Basic {vouched}\r\n")
        assert reply.answer == {"result": 0}
    assert b"authorization" not in heads[0].lower()
    server.close()
    await server.wait_closed()


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (b"HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\n\r\n", "HTTP 500"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nno", "internal server error: unable to parse"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n[  ]", "one answer was expected, 0 came"),
        (
            b'HTTP/1.1 200 OK\r\nContent-Length: 32\r\n\r\n[ {"result": 0}, {"result": 0} ]',
            "one answer was expected, 2 came",
        ),
        (b"nonsense\r\n\r\n", "internal server error: unable to parse"),
        (b"", "unable to forward command to the s service: End of file."),
    ],
    ids=["500", "no JSON", "none", "two", "no HTTP", "closed"],
)
@on_virtual_clock
async def test_what_is_no_answer_over_http_is_told(short_path: Path, answer: bytes, says: str) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with agent(short_path, {"s": on_http(server.sockets[0].getsockname()[1])}) as front:
        told = (await front.ask("foo", "s")).answer
        assert told["result"] in (1, 5)
        assert says in str(told["text"])
        assert (await front.ask("version-get")).answer["result"] == 0
    server.close()
    await server.wait_closed()


@on_virtual_clock
async def test_a_port_where_nobody_listens_is_offline(short_path: Path) -> None:
    async with agent(short_path, {"s": on_http(free_port())}) as front:
        assert (await front.ask("foo", "s")).answer == offline("s", "Connection refused")


# Bytes.

ODD = b'{ "b" :1,\n\t"a":[ 1.0E2,-0.0 ] ,"a\\tc":"\xe2\x82\xac\\/", "big": 123456789012345678901234567890 }'


@on_virtual_clock
async def test_arguments_travel_as_they_came(short_path: Path) -> None:
    async with backend(short_path / "a") as seen, agent(short_path, {"a": short_path / "a"}) as front:
        await front.post(b'{"service":["a"],"arguments":' + ODD + b',\n"command":"foo"}')
        assert seen.requests == [
            b'{ "arguments": '
            + ODD
            + b', "command": "foo", "remote-address": "127.0.0.1", "service": [ "a" ] }'
        ]


@on_virtual_clock
async def test_escaped_text_is_passed_on_as_utf_8(short_path: Path) -> None:
    async with backend(short_path / "a") as seen, agent(short_path, {"a": short_path / "a"}) as front:
        for text in (rb"\u00e9\u20ac", rb"\u00c3\u00a9\u20ac", "é€".encode()):
            await front.post(b'{"service":["a"],"arguments":["' + text + b'"],"command":"foo"}')
            assert '"é€"'.encode() in seen.requests[-1], "the one form that Kea understands, too"


@pytest.mark.parametrize("arguments", [rb'{ "a": "\ud800" }', rb'{ "a": 1e999, "b": "\u20ac" }'])
@on_virtual_clock
async def test_what_cannot_be_passed_on_is_told_to_the_client(short_path: Path, arguments: bytes) -> None:
    async with backend(short_path / "a") as seen, agent(short_path, {"a": short_path / "a"}) as front:
        reply = await front.post(b'{"service":["a"],"arguments":' + arguments + b',"command":"foo"}')
        assert reply.status == 400 or (reply.status == 200 and reply.answer["result"] == 1)
        assert not seen.requests


@on_virtual_clock
async def test_answers_travel_as_they_came(short_path: Path) -> None:
    answer = b'{"zz":1 , "result":0,"arguments":' + ODD + b"}"
    async with (
        backend(short_path / "a", answering(answer)),
        agent(short_path, {"a": short_path / "a"}) as front,
    ):
        reply = await front.ask("foo", "a", "a")
        assert reply.body == b"[ " + answer + b", " + answer + b" ]"


@on_virtual_clock
async def test_a_command_without_arguments_is_passed_on_without(short_path: Path) -> None:
    async with backend(short_path / "a") as seen, agent(short_path, {"a": short_path / "a"}) as front:
        await front.ask("foo", "a")
        assert seen.requests == [b'{ "command": "foo", "remote-address": "127.0.0.1", "service": [ "a" ] }']


@on_virtual_clock
async def test_who_asks_is_what_the_agent_saw_and_not_what_the_client_says(short_path: Path) -> None:
    async with backend(short_path / "a") as seen, agent(short_path, {"a": short_path / "a"}) as front:
        await front.post(b'{"command": "foo", "remote-address": "192.0.2.1", "service": ["a"]}')
        assert seen.request["remote-address"] == "127.0.0.1"
        await front.post(b'{"command": "foo", "remote-address": [5], "service": ["a"]}')
        assert seen.request["remote-address"] == "127.0.0.1"


@on_virtual_clock
async def test_two_megabytes_travel_both_ways(short_path: Path) -> None:
    large = json.dumps("é" * 1_000_000, ensure_ascii=False).encode()
    answer = b'{ "arguments": ' + large + b', "result": 0 }'
    async with (
        backend(short_path / "a", answering(answer)) as seen,
        agent(short_path, {"a": short_path / "a"}) as front,
    ):
        reply = await front.post(b'{"command": "foo", "service": ["a"], "arguments": ' + large + b"}")
        assert large in seen.requests[0]
        assert reply.body == b"[ " + answer + b" ]"


@on_every_loop
async def test_megabytes_travel_to_a_daemon_of_ours_on_a_kept_connection(short_path: Path) -> None:
    large = "x" * 2_000_000
    async with served(short_path) as site, agent(short_path, {"kettle": site.socket}) as front:
        for _ in range(2):
            reply = await front.ask("repeat", "kettle", arguments=[large])
            assert reply.answer == {"arguments": large, "result": 0}


@pytest.mark.parametrize(
    "answer",
    [
        b'{ "result": 0, "text": "\xff" }',
        b'{ "a": ' + b"[" * 5000 + b"]" * 5000 + b" }",
        b"\0\0\0\0",
        b"<html></html>",
        b'{ "result": 0 ]',
    ],
    ids=["no UTF-8", "nested", "zeroes", "HTML", "brackets"],
)
@on_virtual_clock
async def test_garbage_is_told_as_such_and_the_agent_goes_on(short_path: Path, answer: bytes) -> None:
    async with (
        backend(short_path / "a", answering(answer)),
        agent(short_path, {"a": short_path / "a"}) as front,
    ):
        told = (await front.ask("foo", "a")).answer
        assert told["result"] == 1
        assert str(told["text"]).startswith(
            "internal server error: unable to parse server's answer to the forwarded message: "
        )
        assert (await front.ask("version-get")).answer["result"] == 0


# Clients that leave.


@on_virtual_clock
async def test_a_client_that_leaves_gives_its_turn_back(short_path: Path) -> None:
    entry: JSON = {"socket-name": str(short_path / "s"), "connections": 1}
    answers: list[Seen] = []

    async def first_silent(request: bytes) -> bytes | None:
        return None if b"first" in request else b'{ "result": 0 }'

    async with backend(short_path / "s", first_silent) as seen, agent(short_path, {"s": entry}) as front:
        answers.append(seen)
        async with web(front.port) as impatient:
            impatient.writer.write(
                b"POST / HTTP/1.1\r\nContent-Type: application/json\r\nContent-Length: 36\r\n\r\n"
                b'{"command":"first","service":["s"]} '
            )
            await asyncio.sleep(1)
        assert (await front.ask("second", "s")).answer == {"result": 0}
        assert elapsed() <= 61


@on_virtual_clock
async def test_many_clients_are_served_at_the_same_time(short_path: Path) -> None:
    async with served(short_path, Kettle()) as site, agent(short_path, {"kettle": site.socket}) as front:
        replies = await asyncio.gather(
            *(front.ask("brew", "kettle", arguments=[5]) for _ in range(50)),
            *(front.ask("repeat", "kettle", arguments=[n]) for n in range(50)),
        )
        assert [reply.answer["arguments"] for reply in replies] == ["tea"] * 50 + list(range(50))
        assert elapsed() == pytest.approx(5, abs=0.1)
