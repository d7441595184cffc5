"""Commands by ``qb:`` endpoints: to Pacemaker's daemons, and to Bridle's own on libqb."""

from __future__ import annotations

import asyncio
import os
import secrets
from collections.abc import Iterator

import pytest

import bridle
from bridle.cli.shell_catalogue import load
from bridle.client.pacemaker import PacemakerChannel
from bridle.net.endpoint import Endpoint
from bridle.net.libqb.places import PLACES
from bridle.pacemaker import layouts
from bridle.wire.libqb import Transport
from bridle.wire.pacemaker_header import Layout, Message
from bridle.wire.pacemaker_messages import acknowledgement, create_reply
from bridle.wire.pacemaker_xml import Xml, element
from tests.support.pacemaker import FakeDaemon, Sent, launcher

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root's daemons are genuine")

NAME = f"bridle-test-{secrets.token_hex(4)}"


def thermostat(message: Message, document: Xml) -> list[Sent]:
    """A daemon of Bridle's own: it says again what it is told."""
    task = document.get("crm_task", "")
    if task == "ping":
        return launcher(message, document)
    if task == "silence":
        return []
    arguments = document.find("crm_xml/arguments")
    results = {"echo": 0, "nothing": 3, "wrong": 1, "unknown": 2}
    response = element("response", {"result": results.get(task, 2), "text": f"this is {task}"})
    response.text = None if arguments is None else arguments.text
    reply: list[Sent] = [("event", create_reply(document, response))]
    return [("response", acknowledgement(112)), *reply] if message.flags & 0x200 else reply


@pytest.fixture(params=[Transport.SHM, Transport.SOCKET])
def endpoint(request: pytest.FixtureRequest) -> Iterator[str]:
    layouts.forget()
    with FakeDaemon(NAME, thermostat, PLACES, layout=Layout.V3, transport=request.param):
        yield f"qb:{NAME}"


def test_calls_and_their_answers(endpoint: str) -> None:
    with bridle.connect(endpoint) as client:
        assert client.call("echo", {"a": [1, 2.5, None, "ü"]}) == {"a": [1, 2.5, None, "ü"]}
        assert client.call("echo", [1]) == [1]
        assert client.call("echo") is None
        assert client.call("nothing") is None
        with pytest.raises(bridle.CommandError, match="this is wrong"):
            client.call("wrong")
        assert client.execute("unknown").result == bridle.Result.UNSUPPORTED
        assert [one.value for one in client.execute_many([("echo", n) for n in (1, 2)])] == [1, 2]


def test_calls_at_the_same_time(endpoint: str) -> None:
    async def main() -> None:
        async with bridle.connect_async(endpoint) as client:
            stuck = asyncio.ensure_future(client.call("silence", timeout=0.3))
            found = await asyncio.gather(*(client.call("echo", n) for n in range(40)))
            assert found == list(range(40))
            with pytest.raises(bridle.DeadlineExceeded):
                await stuck
            several = await client.execute_many([("echo", 1), ("nothing", None)])
            assert [one.result for one in several] == [0, 3]
            await client.close()
            assert await client.call("echo", 5) == 5

    asyncio.run(main())


def test_large_arguments_and_answers(endpoint: str) -> None:
    text = "".join(f"{n:0>99}\n" for n in range(7000))
    with bridle.connect(endpoint) as client:
        assert client.call("echo", {"text": text}) == {"text": text}


def test_a_silent_daemon_is_not_waited_for_longer_than_said(endpoint: str) -> None:
    with bridle.connect(endpoint, timeout=0.2) as client, pytest.raises(bridle.DeadlineExceeded):
        client.call("silence")


def test_a_daemon_that_is_not_there() -> None:
    with bridle.connect(f"qb:{NAME}-gone") as client, pytest.raises(bridle.TransportError) as caught:
        client.call("echo")
    assert f"[qb:{NAME}-gone]" in str(caught.value)


def test_a_daemon_that_was_started_again() -> None:
    layouts.forget()
    client = bridle.connect(f"qb:{NAME}")
    for _ in range(2):
        with FakeDaemon(NAME, thermostat, PLACES, layout=Layout.V3):
            assert client.call("echo", 1) == 1
    client.close()


def test_what_the_commands_of_pacemaker_are_is_known_without_asking() -> None:
    channel = PacemakerChannel(Endpoint.parse("qb:pacemaker"))

    def ask(name: str, arguments: bridle.JSON = None) -> bridle.Response:
        return channel.answer(bridle.Command(name, arguments), 0.0)

    names = ask("list-commands").value
    assert isinstance(names, list)
    assert {"node-list", "attribute-query", "cib-query", "fence", "graph"} <= set(map(str, names))
    helps = ask("command-help").value
    assert isinstance(helps, dict)
    assert sorted(helps) == names
    assert ask("command-help", {"name": "ping"}).value == ask("command-help", ["ping"]).value
    assert ask("command-help", "no-such").result == bridle.Result.EMPTY
    assert ask("no-such").result == bridle.Result.UNSUPPORTED


@pytest.mark.parametrize("endpoint", ["qb:", "kea+qb:crmd", "binrpc+qb:crmd", "pacemaker+unix:/tmp/x"])
def test_what_is_no_endpoint(endpoint: str) -> None:
    with pytest.raises(bridle.EndpointError):
        bridle.connect(endpoint)


def test_a_name_that_is_too_long() -> None:
    with pytest.raises(bridle.EndpointError, match="107 bytes at the most"):
        bridle.connect(f"qb:{'x' * 108}")


def test_the_shell_completes_from_what_is_known() -> None:
    with bridle.connect("qb:pacemaker") as client:
        found = load(client, None)
    arguments = {one.name: one for one in found["attribute-update"].arguments or ()}
    assert {"name", "value", "node", "private", "mode"} <= set(arguments)
    assert set(arguments["mode"].values) == {"both", "delay", "value"}
    assert found["cib-query"].access == "read"
    assert found["fence"].signature.startswith("fence target=string [action=off|on|reboot]")


def test_a_blocking_client_loads_no_event_loop() -> None:
    from tests.test_public_surface import foreign, loaded_by

    loaded = loaded_by(
        "import bridle\nwith bridle.connect('qb:bridle-nobody') as client:\n"
        "    try: client.call('ping')\n    except bridle.TransportError: pass"
    )
    assert foreign(loaded) == set()
    assert "asyncio" not in loaded
