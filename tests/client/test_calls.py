"""What a call gives, over every wire and by every client."""

from __future__ import annotations

from pathlib import Path

import pytest

from bridle import JSON, Command, CommandError, CommandManager, Response
from bridle.access.basic import BasicAuthentication
from bridle.access.tokens import TokenFile, Tokens
from bridle.server import HttpSettings
from tests.client.conftest import Connect, on_http, on_ports
from tests.support.servers import Site, Step, answer, signal, take, until_it_leaves


@pytest.fixture
def manager() -> CommandManager:
    manager = CommandManager()

    def echo(command: Command) -> Response:
        return Response(arguments=command.body)

    def result(code: int, text: str | None = None, value: JSON = None) -> Response:
        return Response(code, text, value) if value is not None else Response(code, text)

    async def later(value: JSON) -> JSON:
        return value

    def add(first: int, second: int = 10) -> int:
        return first + second

    for handler in (echo, result, later, add):
        manager.register_command(handler.__name__, handler)
    return manager


# Arguments and answers


VALUES: list[JSON] = [
    {"a": 1, "b": [True, None, 1.5]},
    {},
    [1, "two", {"three": 3}],
    [],
    "text",
    "",
    'é€😀 "quoted" \\ \n\t\x00\x7f',
    0,
    -(2**63),
    2**63 - 1,
    1.25,
    True,
    False,
]


def test_arguments_arrive_as_they_were_sent_and_come_back_the_same(
    site: Site, connect: Connect, manager: CommandManager
) -> None:
    with site.served(manager) as endpoint:
        client = connect(endpoint)
        for value in VALUES:
            assert client.call("echo", value) == value


def test_arguments_may_be_named_positional_or_one_scalar(
    site: Site, connect: Connect, manager: CommandManager
) -> None:
    with site.served(manager) as endpoint:
        client = connect(endpoint)
        assert client.call("add", {"first": 1, "second": 2}) == 3
        assert client.call("add", {"first": 1}) == 11
        assert client.call("add", [1, 2]) == 3
        assert client.call("add", [1]) == 11
        assert client.call("add", 1) == 11


def test_a_coroutine_handler_answers_as_any_other(
    site: Site, connect: Connect, manager: CommandManager
) -> None:
    with site.served(manager) as endpoint:
        client = connect(endpoint)
        assert [client.call("later", [number]) for number in range(5)] == list(range(5))


def test_arguments_that_are_not_given_are_not_sent(site: Site, connect: Connect) -> None:
    with site.scripted([take, answer()]) as server:
        assert connect(server.endpoint).call("status-get") is None
        assert server.taken == [{"command": "status-get"}]


def test_empty_arguments_are_sent(site: Site, connect: Connect) -> None:
    empty: list[JSON] = [{}, [], "", 0, False]
    with site.scripted([take, answer()]) as server:
        client = connect(server.endpoint)
        for arguments in empty:
            client.call("x", arguments)
        assert [command["arguments"] for command in server.taken] == empty


def test_a_service_is_named_in_the_command(site: Site, connect: Connect) -> None:
    with site.scripted([take, answer()]) as server:
        client = connect(server.endpoint)
        client.call("x", service="dhcp4")
        client.execute("x", service="dhcp6")
        assert [command["service"] for command in server.taken] == [["dhcp4"], ["dhcp6"]]


def test_the_answers_of_several_services_come_in_the_order_asked(site: Site, connect: Connect) -> None:
    if site.wire == "unix":
        script = [take, answer(b'{ "result": 3 }')]
        expected = [3]
    else:
        script = [take, answer(b'{ "result": 0, "arguments": [ 4 ] }, { "result": 1, "text": "no" }')]
        expected = [0, 1]
    with site.scripted(script) as server:
        responses = connect(server.endpoint).execute_all("x", services=["dhcp4", "d2"])
        assert [response.result for response in responses] == expected
        assert server.taken[0]["service"] == ["dhcp4", "d2"]


# Results


def test_success_and_emptiness_are_returned(site: Site, connect: Connect, manager: CommandManager) -> None:
    cases: list[tuple[int, JSON]] = [(0, None), (0, {"a": 1}), (3, None), (3, [])]
    with site.served(manager) as endpoint:
        client = connect(endpoint)
        for code, value in cases:
            assert client.call("result", {"code": code, "text": "t", "value": value}) == value


@pytest.mark.parametrize("code", [1, 2, 4, 5, 17, -1])
def test_every_other_result_is_raised_with_its_evidence(
    site: Site, connect: Connect, manager: CommandManager, code: int
) -> None:
    arguments: JSON = {"code": code, "text": "went wrong", "value": {"detail": 1}}
    with site.served(manager) as endpoint, pytest.raises(CommandError) as caught:
        connect(endpoint).call("result", arguments)
    error = caught.value
    assert str(error) == f"result: went wrong [{endpoint}]"
    assert (error.text, error.result, error.endpoint) == ("went wrong", code, endpoint)
    assert error.request is not None
    assert (error.request.name, error.request.arguments) == ("result", arguments)
    assert error.response is not None
    assert (error.response.result, error.response.value) == (code, {"detail": 1})


def test_a_failure_without_a_text_is_told_by_its_code(
    site: Site, connect: Connect, manager: CommandManager
) -> None:
    with site.served(manager) as endpoint, pytest.raises(CommandError) as caught:
        connect(endpoint).call("result", [4])
    assert str(caught.value) == f"result: result 4 [{endpoint}]"


def test_an_unknown_command_is_result_2(site: Site, connect: Connect, manager: CommandManager) -> None:
    with site.served(manager) as endpoint, pytest.raises(CommandError) as caught:
        connect(endpoint).call("none")
    assert caught.value.text == "'none' command not supported."
    assert caught.value.result == 2


def test_execute_returns_every_result(site: Site, connect: Connect, manager: CommandManager) -> None:
    with site.served(manager) as endpoint:
        client = connect(endpoint)
        for code in (0, 1, 2, 3, 4, 5, 99):
            response = client.execute("result", [code, "text", {"a": 1}])
            assert (response.result, response.text, response.value) == (code, "text", {"a": 1})


# What real Kea sends


@pytest.mark.parametrize(
    ("body", "value"),
    [
        (rb'{ "arguments": "\u00c3\u00a9\u00e2\u0082\u00ac", "result": 0 }', "é€"),
        (rb'{ "arguments": [ { "a": "\u00c3\u00bc" }, "\u007f" ], "result": 0 }', [{"a": "ü"}, "\x7f"]),
        (rb'{"result":0,"arguments":"\u20ac \u00e9"}', "€ é"),
        ('{ "result": 0, "arguments": "é€" }'.encode(), "é€"),
        (b'{ "arguments": [ 1e+10.0, [  ], {  } ], "result": 0 }', [1e10, [], {}]),
        (b' \n { "result": 0, "text": "t", "arguments": 5, "more": 1 } ', 5),
    ],
    ids=["escaped bytes", "nested", "proper escapes", "raw", "odd numbers", "blanks"],
)  # fmt: skip
def test_what_kea_and_others_write_is_understood(
    site: Site, connect: Connect, body: bytes, value: JSON
) -> None:
    with site.scripted([take, answer(body)]) as server:
        assert connect(server.endpoint).call("x") == value


def test_a_server_that_closes_after_each_answer_is_called_anew_each_time(
    site: Site, connect: Connect
) -> None:
    with site.scripted([take, answer()]) as server:
        client = connect(server.endpoint)
        for number in range(5):
            client.call("x", [number])
            client.settle()
        assert server.accepted == 5
        assert [command["arguments"] for command in server.taken] == [[number] for number in range(5)]


def test_an_answer_may_come_byte_by_byte(site: Site, connect: Connect) -> None:
    body = b'{ "result": 0, "text": "} ]", "arguments": { "a": "\\"" } }'
    script: list[Step] = [take, *(bytes([byte]) for byte in site.frame(body))]
    with site.scripted(script) as server:
        assert connect(server.endpoint).call("x") == {"a": '"'}


# Size


def test_commands_and_answers_may_be_large(site: Site, connect: Connect, manager: CommandManager) -> None:
    value: JSON = ["é" * 1000] * 2500
    with site.served(manager) as endpoint:
        client = connect(endpoint)
        assert client.call("echo", value) == value
        assert client.call("echo", value) == value


# Connections


def test_a_connection_that_the_server_keeps_is_used_again(site: Site, connect: Connect) -> None:
    steps = [step for _ in range(20) for step in (take, answer(keep=True))]
    # The blocking client asks to be kept from its second call on: most make only one.
    with site.scripted([*steps, until_it_leaves]) as server:
        client = connect(server.endpoint)
        for number in range(10):
            client.call("x", [number])
            client.settle()
        assert server.accepted <= 2
        assert len(server.taken) == 10


def test_a_kept_connection_that_the_server_has_closed_is_replaced(site: Site, connect: Connect) -> None:
    with site.scripted([take, answer(keep=True), take, answer(keep=True)]) as server:
        client = connect(server.endpoint)
        for number in range(8):
            client.call("x", [number])
            if number % 2:
                server.wait_for_an_end()
                client.settle()
        assert server.accepted == 4
        assert [command["arguments"] for command in server.taken] == [[number] for number in range(8)]


@pytest.mark.parametrize("rest", [b"more", b'{ "result": 1 }\n', b'{ "result": 1 }\n{'])
@pytest.mark.parametrize("together", [True, False], ids=["together", "later"])
def test_a_kept_connection_on_which_something_came_unasked_is_replaced(
    site: Site, connect: Connect, rest: bytes, together: bool
) -> None:
    last = site.frame(b'{ "result": 0 }', keep=True)
    ending: list[Step] = [last + rest, signal] if together else [last, rest, signal]
    with site.scripted([take, answer(keep=True), take, *ending, until_it_leaves], [take, answer()]) as server:
        client = connect(server.endpoint)
        client.call("x")
        client.call("x")
        server.wait_for_a_signal()
        client.settle()
        assert client.call("x") is None
        assert len(server.taken) == 3
        assert server.accepted == 2


def test_a_client_can_be_used_again_after_it_was_closed(
    site: Site, connect: Connect, manager: CommandManager
) -> None:
    with site.served(manager) as endpoint:
        client = connect(endpoint)
        for _ in range(3):
            assert client.call("echo", [1]) == [1]
            assert client.call("echo", [2]) == [2]
            client.close()
            client.close()


def test_closing_a_client_ends_the_connection_it_kept(site: Site, connect: Connect) -> None:
    steps = [step for _ in range(4) for step in (take, answer(keep=True))]
    with site.scripted([*steps, until_it_leaves]) as server:
        client = connect(server.endpoint)
        client.call("x")
        client.call("x")
        client.close()
        for _ in range(server.accepted):
            server.wait_for_an_end()


# Credentials


@pytest.fixture
def guarded(site: Site) -> HttpSettings:
    authentication = BasicAuthentication("realm", {"admin": "s3cr3t:é/@"})
    return HttpSettings(tls=site.server_tls, authentication=authentication)


@on_http
def test_credentials_are_sent(
    site: Site, connect: Connect, manager: CommandManager, guarded: HttpSettings
) -> None:
    with site.served(manager, guarded) as endpoint:
        client = connect(endpoint, user="admin", password="s3cr3t:é/@")
        assert [client.call("add", [number]) for number in range(3)] == [10, 11, 12]


@on_ports
def test_credentials_may_be_in_the_url(
    site: Site, connect: Connect, manager: CommandManager, guarded: HttpSettings
) -> None:
    with site.served(manager, guarded) as endpoint:
        url = endpoint.replace("//", "//admin:s3cr3t%3A%C3%A9%2F%40@")
        assert connect(url).call("add", [1]) == 11


@on_ports
def test_credentials_that_are_given_win_over_those_of_the_url(
    site: Site, connect: Connect, manager: CommandManager, guarded: HttpSettings
) -> None:
    with site.served(manager, guarded) as endpoint:
        url = endpoint.replace("//", "//guest:other@")
        assert connect(url, user="admin", password="s3cr3t:é/@").call("add", [1]) == 11


@on_http
def test_a_token_is_sent(site: Site, connect: Connect, manager: CommandManager, tmp_path: Path) -> None:
    token = TokenFile(tmp_path / "tokens").create("ci")
    authentication = BasicAuthentication("realm", {}, tokens=Tokens(tmp_path / "tokens"))
    settings = HttpSettings(tls=site.server_tls, authentication=authentication)
    with site.served(manager, settings) as endpoint:
        client = connect(endpoint, token=token)
        assert [client.call("add", [number]) for number in range(3)] == [10, 11, 12]
        url = endpoint.replace("://", "://guest:other@")
        assert connect(url, token=token).call("add", [1]) == 11, "the URL's user counts only without one"
        with pytest.raises(CommandError, match="HTTP 401") as caught:
            connect(endpoint, token=f"{token[:-1]}~").call("add", [1])
    assert token[:-1] not in str(caught.value)


@on_http
@pytest.mark.parametrize("credentials", [{"user": "u", "token": "t"}, {"token": "a b"}, {"token": "a\nb"}])
def test_credentials_that_can_be_none_are_refused(connect: Connect, credentials: dict[str, str]) -> None:
    with pytest.raises(ValueError, match="token"):
        connect("http://127.0.0.1:1", **credentials)


@on_http
@pytest.mark.parametrize("credentials", [{}, {"user": "admin", "password": "wr0ng"}, {"user": "wr0ng"}])
def test_wrong_credentials_are_a_failure_of_the_command(
    site: Site,
    connect: Connect,
    manager: CommandManager,
    guarded: HttpSettings,
    credentials: dict[str, str],
) -> None:
    with site.served(manager, guarded) as endpoint:
        client = connect(endpoint, **credentials)
        for _ in range(2):
            with pytest.raises(CommandError, match=r"Unauthorized \(HTTP 401\)") as caught:
                client.call("add", [1])
        assert caught.value.result == 1
        if "password" in credentials:
            assert credentials["password"] not in str(caught.value)
