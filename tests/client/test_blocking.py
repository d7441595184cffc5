"""What only the blocking client promises: it loads little, and asks to be kept from its second call on."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import trustme

import bridle
from tests.support.servers import Guest, Site, Step, answer, take, until_it_leaves


@pytest.fixture
def site(short_path: Path, authority: trustme.CA) -> Site:
    return Site("unix", short_path, authority)


def modules_of(code: str, *arguments: str) -> set[str]:
    """The modules that a program of its own has loaded in the end."""
    program = f"import sys\n{code}\nprint('\\n'.join(sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", program, *arguments], capture_output=True, text=True, timeout=20, check=True
    )
    return set(done.stdout.split())


def test_a_call_over_a_unix_socket_loads_neither_asyncio_nor_tls_nor_http(site: Site) -> None:
    with site.scripted([take, answer(b'{ "result": 0, "arguments": [ 1 ] }')]) as server:
        loaded = modules_of(
            "import bridle\n"
            "with bridle.connect(sys.argv[1]) as client:\n"
            "    assert client.call('x') == [1]\n"
            "    assert client.call('x') == [1]",
            server.endpoint,
        )
    assert "bridle.client.blocking" in loaded
    assert not loaded & {"asyncio", "ssl", "httptools", "uvloop", "bridle.wire.http"}


def test_a_call_over_http_loads_neither_asyncio_nor_tls(short_path: Path, authority: trustme.CA) -> None:
    with Site("http", short_path, authority).scripted([take, answer()]) as server:
        loaded = modules_of(
            "import bridle\nwith bridle.connect(sys.argv[1]) as client: client.call('x')", server.endpoint
        )
    assert not loaded & {"asyncio", "ssl", "uvloop"}


def test_the_first_call_looks_as_any_of_keas_tools_and_the_second_asks_to_be_kept(site: Site) -> None:
    asked: list[bool] = []

    def note(guest: Guest) -> None:
        asked.append(guest.kept)

    once: list[Step] = [take, note, answer()]
    many = [step for _ in range(5) for step in (take, note, answer(keep=True))]
    with site.scripted(once, [*many, until_it_leaves]) as server, bridle.connect(server.endpoint) as client:
        for number in range(5):
            client.call("x", number)
        assert server.accepted == 2
        assert asked == [False, True, True, True, True]
        assert [command["arguments"] for command in server.taken] == list(range(5))


def test_a_host_with_several_addresses_is_tried_at_each_within_one_deadline(
    short_path: Path, authority: trustme.CA
) -> None:
    with Site("http", short_path, authority).scripted([take, answer()]) as server:
        # Nobody listens on ::1, where localhost leads first on most machines.
        endpoint = server.endpoint.replace("127.0.0.1", "localhost")
        with bridle.connect(endpoint) as client:
            assert client.call("x") is None


def test_a_name_that_nobody_knows_is_named() -> None:
    with bridle.connect("http://bridle.invalid:1") as client, pytest.raises(bridle.TransportError) as caught:
        client.call("x")
    assert str(caught.value).endswith("[http://bridle.invalid:1]")


def test_leaving_the_context_closes_the_connection(site: Site) -> None:
    with site.scripted([take, answer(keep=True), take, answer(keep=True), until_it_leaves]) as server:
        with bridle.connect(server.endpoint) as client:
            client.call("x")
            client.call("x")
        for _ in range(server.accepted):
            server.wait_for_an_end()


def test_what_interrupts_a_call_costs_only_its_connection(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = [take, answer(keep=True), take, answer(keep=True), take, answer(keep=True), until_it_leaves]

    class Interrupted(BaseException):
        pass

    def interrupt(*_: object) -> None:
        raise Interrupted

    with site.scripted(script, [take, answer()]) as server, bridle.connect(server.endpoint) as client:
        client.call("x", 1)
        client.call("x", 2)
        with monkeypatch.context() as patch:
            patch.setattr("bridle.wire.kea_client.KeaClient.receive", interrupt)
            with pytest.raises(Interrupted):
                client.call("x", 3, timeout=5)
        assert client.call("x", 4, timeout=5) is None
