"""What a client says when there is no answer, over every wire: in time, and with the endpoint."""

from __future__ import annotations

import ssl
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import pytest

from bridle import (
    JSON,
    BridleError,
    CommandError,
    DeadlineExceeded,
    Endpoint,
    RemoteProtocolError,
    TransportError,
)
from bridle.access.tls import client_context
from tests.client.conftest import Connect, on_http, on_ports, on_tls, on_unix, without_tls
from tests.support.servers import (
    FILES,
    Guest,
    Site,
    Step,
    answer,
    drip,
    full_backlog,
    reset,
    take,
    until_it_leaves,
)

SOON = 0.2
"""Seconds: a deadline that is short for the tests' sake, and long against what a call takes."""

SLACK = 15.0
"""Seconds that may go by on a busy machine until a passed deadline is noticed."""


@contextmanager
def in_time(deadline: float = SOON) -> Iterator[None]:
    """Fail when the body ends before the deadline, or long after it."""
    began = time.monotonic()
    yield
    passed = time.monotonic() - began
    assert deadline - 0.01 <= passed < deadline + SLACK, f"{passed} s"


def check_again(site: Site, connect: Connect, script: Sequence[Step], kind: type[BridleError]) -> BridleError:
    """A call that meets the script fails with exactly this error, and the next one is as good as any."""
    with site.scripted(script, [take, answer(b'{ "result": 0, "arguments": 5 }')]) as server:
        client = connect(server.endpoint)
        with pytest.raises(kind) as caught:
            client.call("x", timeout=5)
        assert type(caught.value) is kind
        assert str(caught.value).endswith(f"[{server.endpoint}]")
        assert client.call("x", timeout=5) == 5
        assert server.accepted == 2
    return caught.value


# Nobody there


def test_a_server_that_is_not_there_is_named_with_the_reason(site: Site, connect: Connect) -> None:
    endpoint = site.nowhere()
    client = connect(endpoint)
    for _ in range(2):
        with pytest.raises(TransportError) as caught:
            client.call("x")
        assert str(caught.value) == f"Connection refused [{endpoint}]"
        assert (caught.value.text, caught.value.endpoint) == ("Connection refused", endpoint)
        assert not isinstance(caught.value, DeadlineExceeded)


@pytest.mark.parametrize("name", ["none", "no/such/directory", "x" * 200])
@on_unix
def test_a_path_that_leads_nowhere_is_named_with_the_reason(site: Site, connect: Connect, name: str) -> None:
    endpoint = f"unix:{site.directory / name}"
    with pytest.raises(TransportError, match=r"No such file or directory|path too long") as caught:
        connect(endpoint).call("x")
    assert str(caught.value).endswith(f"[{endpoint}]")


@pytest.mark.parametrize("host", ["x" * 64, "no..dots", "x" * 300])
@on_ports
def test_a_host_that_cannot_be_one_is_named(site: Site, connect: Connect, host: str) -> None:
    endpoint = Endpoint(site.wire, path="/", host=host, port=80)
    with pytest.raises(TransportError) as caught:
        connect(endpoint).call("x")
    assert str(caught.value).endswith(f"[{endpoint}]")
    assert caught.value.text


# Deadlines


def test_a_server_that_is_silent_is_given_up(site: Site, connect: Connect) -> None:
    with site.scripted([take, until_it_leaves]) as server:
        client = connect(server.endpoint, timeout=SOON)
        for _ in range(2):
            with in_time(), pytest.raises(DeadlineExceeded) as caught:
                client.call("x")
            assert isinstance(caught.value, TimeoutError)
            assert isinstance(caught.value, TransportError)
            assert str(caught.value).endswith(f" in time [{server.endpoint}]")
        for _ in range(2):
            server.wait_for_an_end()


def test_the_deadline_of_one_call_may_be_its_own(site: Site, connect: Connect) -> None:
    with site.scripted([take, until_it_leaves]) as server:
        client = connect(server.endpoint, timeout=60)
        with in_time(), pytest.raises(DeadlineExceeded):
            client.call("x", timeout=SOON)
        with in_time(), pytest.raises(DeadlineExceeded):
            client.execute("x", timeout=SOON)
        with in_time(), pytest.raises(DeadlineExceeded):
            client.execute_all("x", services=["a"], timeout=SOON)


def test_a_server_that_sends_its_answer_byte_by_byte_is_given_up_at_the_deadline(
    site: Site, connect: Connect
) -> None:
    script = [take, drip(site.frame(b'{ "result": 0, "text": "' + b"x" * 1000))]
    with site.scripted(script) as server, in_time(), pytest.raises(DeadlineExceeded):
        connect(server.endpoint, timeout=SOON).call("x")


def test_a_server_that_keeps_the_connection_and_falls_silent_is_given_up(
    site: Site, connect: Connect
) -> None:
    with site.scripted([take, answer(keep=True), take, answer(keep=True), take, until_it_leaves]) as server:
        client = connect(server.endpoint, timeout=SOON)
        client.call("x", timeout=5)
        client.call("x", timeout=5)
        client.settle()
        with in_time(), pytest.raises(DeadlineExceeded):
            client.call("x")


def test_a_server_that_does_not_read_is_given_up(site: Site, connect: Connect) -> None:
    def idle(guest: Guest) -> None:
        guest.server.stopping.wait(10)

    with site.scripted([idle]) as server, in_time(), pytest.raises(DeadlineExceeded):
        connect(server.endpoint, timeout=SOON).call("x", "y" * 20_000_000)


def test_a_server_that_reads_in_sips_is_given_up_at_the_deadline(site: Site, connect: Connect) -> None:
    def sip(guest: Guest) -> None:
        guest.sip(16 * 1024, 0.02)

    with site.scripted([sip]) as server, in_time(), pytest.raises(DeadlineExceeded):
        connect(server.endpoint, timeout=SOON).call("x", "y" * 20_000_000)


def test_a_server_that_does_not_accept_is_given_up(site: Site, connect: Connect) -> None:
    with full_backlog(site) as endpoint:
        with in_time(), pytest.raises(DeadlineExceeded) as caught:
            connect(endpoint, timeout=SOON).call("x")
        assert str(caught.value).endswith(f"[{endpoint}]")


@pytest.mark.parametrize("greeting", [b"", b"\x16\x03"])
@on_tls
def test_a_server_that_does_not_shake_hands_is_given_up(
    site: Site, connect: Connect, greeting: bytes
) -> None:
    with site.scripted([greeting, until_it_leaves], secure=False) as server:
        with in_time(), pytest.raises(DeadlineExceeded) as caught:
            connect(server.endpoint, timeout=SOON).call("x")
        assert str(caught.value).endswith(f"[{server.endpoint}]")


@pytest.mark.parametrize("timeout", [0, -1])
def test_a_deadline_that_has_passed_is_a_deadline(site: Site, connect: Connect, timeout: float) -> None:
    with site.scripted([take, answer()]) as server:
        client = connect(server.endpoint)
        with pytest.raises(DeadlineExceeded):
            client.call("x", timeout=timeout)
        assert client.call("x") is None


# The server ends early


@pytest.mark.parametrize("steps", [[], [take]], ids=["at once", "after the command"])
def test_a_server_that_closes_without_an_answer_went_away(
    site: Site, connect: Connect, steps: list[Step]
) -> None:
    error = check_again(site, connect, steps, TransportError)
    if steps:
        assert error.args[0].startswith("End of file [")


def test_a_server_that_resets_the_connection_went_away(site: Site, connect: Connect) -> None:
    error = check_again(site, connect, [reset], TransportError)
    # OpenSSL does not always tell a reset from an end.
    assert "Connection reset by peer" in str(error) or site.wire == "https"


def test_a_kept_connection_that_ends_after_the_command_went_away_and_is_not_asked_twice(
    site: Site, connect: Connect
) -> None:
    script = [take, answer(keep=True), take, answer(keep=True), take]
    with site.scripted(script, [take, answer()]) as server:
        client = connect(server.endpoint)
        client.call("x", 1)
        client.call("x", 2)
        client.settle()
        with pytest.raises(TransportError, match=r"^End of file \["):
            client.call("x", 3)
        client.call("x", 4)
        assert [command["arguments"] for command in server.taken] == [1, 2, 3, 4]
        assert server.accepted == 2


def test_half_an_answer_is_none(site: Site, connect: Connect) -> None:
    whole = site.frame(b'{ "result": 0, "arguments": [ 1, 2, 3 ] }')
    for size in (len(whole) - 1, len(whole) // 2, 1):
        check_again(site, connect, [take, whole[:size]], RemoteProtocolError)


@without_tls  # OpenSSL does not always tell a reset from an end
def test_half_an_answer_and_a_reset_is_none(site: Site, connect: Connect) -> None:
    whole = site.frame(b'{ "result": 0, "arguments": [ 1, 2, 3 ] }')
    script: list[Step] = [whole[: len(whole) // 2], reset]
    error = check_again(site, connect, script if site.wire in FILES else [take, *script], TransportError)
    assert "Connection reset by peer" in str(error)


@on_unix
def test_what_was_answered_before_the_command_was_read_is_an_answer(site: Site, connect: Connect) -> None:
    refusal = answer(b'{ "result": 1, "text": "too many connections" }')
    with site.scripted([refusal]) as server:
        client = connect(server.endpoint)
        for arguments in (None, "y" * 5_000_000):
            with pytest.raises(CommandError, match="too many connections"):
                client.call("x", arguments)


# The server talks nonsense


@pytest.mark.parametrize(
    "body",
    [
        b"garbage",
        b"5",
        b"null",
        b"{}",
        b"[]",
        b"[ { } ]",
        b'{ "result": "0" }',
        b'{ "result": 0.5 }',
        b'{ "result": true }',
        b'{ "text": "t" }',
        b'{ "result": 0, }',
        b'{ "result": 0, "arguments": "\xff\xfe" }',
        b'{ "result": 0, "arguments": 1e999 }',
        b'{ "result": 0, "arguments": ' + b"[" * 3000 + b"]" * 3000 + b" }",
        b"\x00\xff\x80",
        b"[" * 100_000,
    ],
    ids=lambda body: body[:30].decode("latin-1"),
)
def test_what_is_no_answer_is_a_broken_protocol(site: Site, connect: Connect, body: bytes) -> None:
    check_again(site, connect, [take, answer(body)], RemoteProtocolError)


@on_http
def test_an_error_page_is_told_by_its_status(site: Site, connect: Connect) -> None:
    page = b"HTTP/1.1 502 Bad Gateway\r\nContent-Type: text/html\r\nContent-Length: 13\r\n\r\n<h1>Oops</h1>"
    with site.scripted([take, page]) as server, pytest.raises(CommandError) as caught:
        connect(server.endpoint).call("x")
    assert caught.value.text == "<h1>Oops</h1> (HTTP 502)"


@pytest.mark.parametrize(
    "reply",
    [
        b"garbage\r\n\r\n",
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"HTTP/1.1 abc\r\n\r\n",
        b"HTTP/2 200\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 15\r\n\r\n[ { \"result\"",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 204 No Content\r\n\r\n",
    ],
)  # fmt: skip
@on_http
def test_what_is_no_http_is_a_broken_protocol(site: Site, connect: Connect, reply: bytes) -> None:
    if b" 204 " in reply:
        with site.scripted([take, reply]) as server, pytest.raises(BridleError):
            connect(server.endpoint).call("x")
        return
    check_again(site, connect, [take, reply], RemoteProtocolError)


@on_http
def test_more_answers_than_one_are_a_broken_protocol(site: Site, connect: Connect) -> None:
    two = b'{ "result": 0 }, { "result": 0 }'
    with site.scripted([take, answer(two)]) as server, pytest.raises(RemoteProtocolError) as caught:
        connect(server.endpoint).call("x")
    assert str(caught.value) == f"one answer was expected, 2 came [{server.endpoint}]"


# The caller's own mistakes


@pytest.mark.parametrize(
    "arguments",
    [float("nan"), {"x": float("inf")}, "\ud800", {"\udfff": 1}, object(), {1: 2}, [b"bytes", object()]],
    ids=["nan", "inf", "surrogate", "key", "object", "number as key", "nested"],
)
def test_what_cannot_be_written_is_the_callers_mistake_and_costs_nothing(
    site: Site, connect: Connect, arguments: JSON
) -> None:
    with site.scripted([take, answer(keep=True), take, answer(keep=True)], [take, answer()]) as server:
        client = connect(server.endpoint)
        client.call("x", 1)
        with pytest.raises((ValueError, TypeError)):
            client.call("x", arguments)
        client.call("x", 2)
        assert [command["arguments"] for command in server.taken] == [1, 2]


# Passwords


@pytest.mark.parametrize(
    "script",
    [
        [take],
        [take, b"garbage\r\n\r\n"],
        [take, b"HTTP/1.1 401 No\r\nContent-Length: 0\r\n\r\n"],
        [take, until_it_leaves],
    ],
    ids=["closed", "garbage", "refused", "silent"],
)
@pytest.mark.parametrize("in_url", [True, False])
@on_http
def test_no_error_has_a_password_in_its_text(
    site: Site, connect: Connect, script: list[Step], in_url: bool
) -> None:
    in_url = in_url and site.wire != "http+unix"  # which has no place for it
    with site.scripted(script) as server:
        if in_url:
            client = connect(server.endpoint.replace("//", "//admin:s3cr3t@"), timeout=SOON)
        else:
            client = connect(server.endpoint, user="admin", password="s3cr3t", timeout=SOON)
        with pytest.raises(BridleError) as caught:
            client.call("x")
        assert "authorization" in server.heads[0]
    error: BaseException | None = caught.value
    while error is not None:
        assert "s3cr3t" not in f"{error} {error!r}"
        error = error.__cause__ or error.__context__
    client = connect(site.nowhere().replace("//", "//admin:s3cr3t@"))
    with pytest.raises(TransportError) as refused:
        client.call("x")
    assert "s3cr3t" not in str(refused.value)


# TLS


@on_tls
def test_a_server_of_another_authority_is_not_trusted(site: Site, connect: Connect) -> None:
    with site.scripted([take, answer()]) as server:
        with pytest.raises(TransportError, match=r"certificate verify failed") as caught:
            connect(server.endpoint, tls=client_context()).call("x")
        with pytest.raises(TransportError, match=r"certificate verify failed"):
            connect(server.endpoint, tls=None).call("x")
        assert str(caught.value).endswith(f"[{server.endpoint}]")
        assert server.taken == []


@on_tls
def test_a_server_of_another_name_is_not_trusted(site: Site, connect: Connect) -> None:
    with site.scripted([take, answer()]) as server:
        endpoint = server.endpoint.replace("127.0.0.1", "localhost")
        with pytest.raises(TransportError, match=r"certificate verify failed.*localhost"):
            connect(endpoint).call("x")


@on_tls
def test_a_server_that_speaks_no_tls_is_named(site: Site, connect: Connect) -> None:
    for script in ([b"HTTP/1.1 400 Bad Request\r\n\r\n"], [], [reset]):
        with site.scripted(script, secure=False) as server:
            with pytest.raises(TransportError) as caught:
                connect(server.endpoint).call("x", timeout=5)
            assert not isinstance(caught.value, DeadlineExceeded)
            assert str(caught.value).endswith(f"[{server.endpoint}]")
            assert caught.value.text


@on_tls
def test_a_server_that_wants_a_certificate_is_named(site: Site, connect: Connect) -> None:
    assert site.server_tls is not None
    site.server_tls.verify_mode = ssl.CERT_REQUIRED
    with site.scripted([take, answer()]) as server:
        with pytest.raises(TransportError) as caught:
            connect(server.endpoint).call("x", timeout=5)
        assert not isinstance(caught.value, DeadlineExceeded)
        assert str(caught.value).endswith(f"[{server.endpoint}]")
        assert caught.value.text
        assert server.taken == []


@on_tls
def test_a_tls_server_answers_no_plain_http(site: Site, connect: Connect) -> None:
    with site.scripted([take, answer()]) as server:
        endpoint = server.endpoint.replace("https", "http")
        with pytest.raises(BridleError) as caught:
            connect(endpoint).call("x", timeout=5)
        assert str(caught.value).endswith(f"[{endpoint}]")
