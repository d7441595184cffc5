"""The errors: one root, and each with the evidence."""

from __future__ import annotations

import inspect

import pytest

import bridle
from bridle.core import errors
from bridle.core.errors import (
    ArgumentError,
    BridleError,
    CommandError,
    ConfigurationError,
    DeadlineExceeded,
    DeclarationError,
    EndpointError,
    ForbiddenError,
    LocalProtocolError,
    ProtocolError,
    RemoteProtocolError,
    TooManyError,
    TransportError,
    UnknownCommandError,
)
from bridle.core.messages import Command, Response
from bridle.core.results import Result

PARENTS = {
    BridleError: (Exception,),
    CommandError: (BridleError,),
    ForbiddenError: (CommandError,),
    TooManyError: (CommandError,),
    ArgumentError: (BridleError,),
    ConfigurationError: (BridleError,),
    DeclarationError: (BridleError, TypeError),
    EndpointError: (BridleError, ValueError),
    ProtocolError: (BridleError,),
    LocalProtocolError: (ProtocolError,),
    RemoteProtocolError: (ProtocolError,),
    TransportError: (BridleError, ConnectionError),
    DeadlineExceeded: (TransportError, TimeoutError),
    UnknownCommandError: (BridleError,),
}


def test_the_tree_is_complete_and_has_one_root() -> None:
    defined = {
        item
        for item in vars(errors).values()
        if inspect.isclass(item) and issubclass(item, Exception) and item.__module__ == errors.__name__
    }
    assert {error: error.__bases__ for error in defined} == PARENTS
    assert sorted(error.__name__ for error in defined) == sorted(errors.__all__)


@pytest.mark.parametrize("error", PARENTS, ids=lambda error: error.__name__)
def test_each_error_is_public_and_in_the_drawing_of_the_tree(error: type[BridleError]) -> None:
    assert getattr(bridle, error.__name__) is error
    assert error.__name__ in str(errors.__doc__)


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (CommandError("it is busy"), "it is busy"),
        (CommandError("it is busy", 4, request=Command("reboot")), "reboot: it is busy"),
        (CommandError("busy", endpoint="unix:/run/x"), "busy [unix:/run/x]"),
        (CommandError("", 7, request=Command("a"), endpoint="unix:/b"), "a: result 7 [unix:/b]"),
        (ArgumentError("missing argument 'a'", argument="a"), "missing argument 'a'"),
        (ConfigurationError("no such zone"), "no such zone"),
        (ConfigurationError("no such zone", position="a.conf:1.2"), "no such zone (a.conf:1.2)"),
        (RemoteProtocolError("no answer", b"x"), "no answer"),
        (RemoteProtocolError("no answer", b"x", endpoint="tcp:a:1"), "no answer [tcp:a:1]"),
        (TransportError("refused"), "refused"),
        (TransportError("refused", endpoint="tcp:a:1"), "refused [tcp:a:1]"),
        (DeadlineExceeded("no answer in 5 s", endpoint="tcp:a:1"), "no answer in 5 s [tcp:a:1]"),
    ],
)
def test_an_error_says_what_went_wrong_and_where(error: BridleError, text: str) -> None:
    assert str(error) == text


def test_a_command_error_carries_the_request_the_response_and_the_endpoint() -> None:
    request, response = Command("lease4-get"), Response(Result.EMPTY, "not found", {"count": 0})
    error = CommandError("not found", Result.EMPTY, request=request, response=response, endpoint="unix:/a")

    assert (error.text, error.result, error.endpoint) == ("not found", Result.EMPTY, "unix:/a")
    assert error.request is request
    assert error.response is response


def test_a_command_error_without_a_response_makes_its_own() -> None:
    error = CommandError("in use", Result.CONFLICT)
    assert error.response == Response(Result.CONFLICT, "in use", error=error)
    assert error.request is None
    assert CommandError("broken").response.result == Result.ERROR


def test_an_argument_error_names_the_argument_and_leads_to_the_value() -> None:
    error = ArgumentError("argument 'a.0': expected int", argument="a", path=["arguments", "a", 0])
    assert (error.text, error.argument, list(error.path)) == (str(error), "a", ["arguments", "a", 0])
    assert ArgumentError("x").argument == ""
    assert list(ArgumentError("x").path) == []


def test_a_configuration_error_learns_its_position_later() -> None:
    error = ConfigurationError("no such zone", path=["zones", 0])
    error.position = "a.conf:3.7"
    assert (str(error), error.path) == ("no such zone (a.conf:3.7)", ["zones", 0])
    assert ConfigurationError("x").path is None


def test_a_remote_protocol_error_holds_the_offending_bytes() -> None:
    error = RemoteProtocolError("nothing read", b"\x00\x01", endpoint="unix:/a")
    assert (error.text, error.data, error.endpoint) == ("nothing read", b"\x00\x01", "unix:/a")
    assert RemoteProtocolError("x").data == b""


def test_a_transport_error_keeps_text_and_endpoint_apart() -> None:
    error = DeadlineExceeded("too late", endpoint="unix:/a")
    assert (error.text, error.endpoint) == ("too late", "unix:/a")


def test_a_deadline_is_caught_as_the_standard_librarys_timeout_too() -> None:
    with pytest.raises(TimeoutError):
        raise DeadlineExceeded("too late")
    with pytest.raises(ConnectionError):
        raise DeadlineExceeded("too late")
