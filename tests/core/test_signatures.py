"""A handler's signature is its schema: what a command's arguments become, and what is said of wrong ones."""

from __future__ import annotations

import datetime as dt
import enum
import functools
from collections.abc import Callable
from typing import Annotated, Literal

import msgspec
import pytest
from msgspec import UNSET, Meta, Raw

import bridle
from bridle.core.errors import ArgumentError, DeclarationError
from bridle.core.messages import JSON, Command, Peer
from bridle.core.signatures import Signature
from bridle.wire.kea_messages import read_command

PEER = Peer(transport="unix", uid=0)


class Level(enum.Enum):
    """How much is told."""

    INFO = "info"
    DEBUG = "debug"


class Output(msgspec.Struct):
    """Where it is told."""

    file: str
    size: int = 0


class Logger(msgspec.Struct):
    """What is told where."""

    name: str
    level: Level = Level.INFO
    outputs: list[Output] = []


def sent(arguments: str = "") -> Command:
    """A command as it comes in on Kea's socket, where each value has a position."""
    body = f', "arguments": {arguments}' if arguments else ""
    return read_command(f'{{ "command": "x"{body} }}'.encode(), PEER)


FIRST = len('{ "command": "x", "arguments": ')
"""The column of the arguments in such a command."""


def forms(arguments: str) -> list[Command]:
    """The same arguments undecoded, and as values."""
    return [sent(arguments), Command("x", msgspec.json.decode(arguments), PEER)]


def called(handler: Callable[..., object], command: Command) -> object:
    """What the handler returns for a command."""
    return Signature(handler).call(handler, command)


def refused(handler: Callable[..., object], command: Command) -> ArgumentError:
    """Why a handler is not called."""
    with pytest.raises(ArgumentError) as caught:
        called(handler, command)
    assert str(caught.value) == caught.value.text
    return caught.value


class Strict(Logger, forbid_unknown_fields=True):
    """A logger that takes no other fields."""


def pair(first: str, second_one: int = 2) -> list[object]:
    return [first, second_one]


def collect(name: str, *values: int) -> list[object]:
    return [name, *values]


def configure(logger: Logger, since: dt.datetime | None = None) -> list[object]:
    return [logger, since]


@pytest.mark.parametrize(
    ("arguments", "result"),
    [
        ('{"first": "a"}', ["a", 2]),
        ('{"first": "a", "second-one": 5}', ["a", 5]),
        ('["a"]', ["a", 2]),
        ('["a", 5]', ["a", 5]),
        ('"a"', ["a", 2]),
        (' "a" ', ["a", 2]),
    ],
)
def test_named_positional_and_scalar_arguments_are_taken(arguments: str, result: object) -> None:
    for command in forms(arguments):
        assert called(pair, command) == result


@pytest.mark.parametrize("body", [UNSET, None, Raw(b"null"), {}, Raw(b"{}"), [], Raw(b"[ ]")])
def test_none_at_all_an_empty_map_an_empty_list_and_null_are_no_arguments(body: JSON | Raw) -> None:
    assert called(lambda number=3: number, Command("x", body)) == 3


def test_what_is_not_given_is_the_handlers_own_default() -> None:
    default: list[int] = []

    def handler(values: list[int] = default) -> object:
        return values

    assert called(handler, sent()) is default


@pytest.mark.parametrize(
    ("handler", "arguments", "text", "argument", "column"),
    [
        (pair, "{}", "missing argument 'first'", "first", 1),
        (pair, "[]", "missing argument 'first'", "first", 1),
        (pair, '{"second-one": 1}', "missing argument 'first'", "first", 1),
        (pair, '{"first": "a", "third": 1}', "unknown argument 'third'", "third", 24),
        (pair, '{"first": "a", "second_one": 1}', "unknown argument 'second_one'", "second_one", 29),
        (pair, '["a", 1, 2]', "too many arguments: at most 2 are taken", "", 1),
        (pair, '{"first": 5}', "argument 'first': expected str, got int", "first", 10),
        (pair, '["a", "b"]', "argument 'second-one': expected int, got str", "second-one", 6),
        (pair, "5", "argument 'first': expected str, got int", "first", 0),
        (pair, "true", "argument 'first': expected str, got bool", "first", 0),
        (pair, '{"first": null}', "argument 'first': expected str, got null", "first", 10),
        (pair, '["a", 1.5]', "argument 'second-one': expected int, got float", "second-one", 6),
        (lambda: None, "[1]", "too many arguments: at most 0 are taken", "", 1),
        (lambda: None, "1", "too many arguments: at most 0 are taken", "", 0),
        (lambda: None, '{"a": 1}', "unknown argument 'a'", "a", 6),
        (collect, "[]", "missing argument 'name'", "name", 1),
        (collect, "[1, 1]", "argument 'name': expected str, got int", "name", 1),
        (collect, '["a", "b"]', "argument 'values.0': expected int, got str", "values", 6),
        (collect, '["a", 1, [2]]', "argument 'values.1': expected int, got array", "values", 10),
        (collect, '{"name": "a", "values": [1]}', "unknown argument 'values'", "values", 25),
    ],
)
def test_a_wrong_argument_is_named_with_its_position(
    handler: Callable[..., object], arguments: str, text: str, argument: str, column: int
) -> None:
    undecoded, decoded = forms(arguments)

    error = refused(handler, undecoded)
    assert error.text == f"{text} (<wire>:0:{FIRST + column})"
    assert error.argument == argument
    error = refused(handler, decoded)
    assert error.text == text
    assert error.argument == argument


def test_an_argument_that_is_missing_where_there_are_none_has_no_position() -> None:
    error = refused(pair, sent())
    assert (error.text, error.argument) == ("missing argument 'first'", "first")


@pytest.mark.parametrize(
    ("arguments", "text", "column"),
    [
        (
            '{"logger": {"name": "a", "level": "loud"}}',
            "argument 'logger.level': invalid enum value 'loud'",
            34,
        ),
        ('{"logger": {"level": "info"}}', "missing argument 'logger.name'", 12),
        ('{"logger": {"name": "a", "size": 1}}', "unknown argument 'logger.size'", 33),
        ('{"logger": "a"}', "argument 'logger': expected object, got str", 11),
        ("[{}]", "missing argument 'logger.name'", 2),
        ('[{"name": 1}]', "argument 'logger.name': expected str, got int", 10),
        (
            '{"logger": {"name": "a", "outputs": [{"file": "b"}, {"file": "c", "size": "d"}]}}',
            "argument 'logger.outputs.1.size': expected int, got str",
            74,
        ),
        (
            '[{"name": "a", "outputs": [{"file": "b"}, {"size": 1}]}]',
            "missing argument 'logger.outputs.1.file'",
            43,
        ),
        ('[{"name": "a"}, "noon"]', "argument 'since': invalid RFC3339 encoded datetime", 16),
    ],
)
def test_a_wrong_value_inside_an_argument_is_named_with_its_position(
    arguments: str, text: str, column: int
) -> None:
    undecoded, decoded = forms(arguments)

    def strict(logger: Strict, since: dt.datetime | None = None) -> None: ...

    assert refused(strict, undecoded).text == f"{text} (<wire>:0:{FIRST + column})"
    assert refused(strict, decoded).text == text


def test_positions_count_lines_as_the_dialect_does() -> None:
    text = b'{ "command": "x",\n  "arguments": { "first": "a",\n    "second-one": "b" } }'
    error = refused(pair, read_command(text, PEER))
    assert error.text == "argument 'second-one': expected int, got str (<wire>:2:19)"


def test_the_path_of_an_error_leads_from_the_command_to_the_value() -> None:
    error = refused(configure, sent('{"logger": {"name": "a", "outputs": [{"file": 1}]}}'))
    assert list(error.path) == ["arguments", "logger", "outputs", 0, "file"]


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ('{"ages": {"ann": "old"}}', "argument 'ages.*': expected int, got str"),
        ('[{"ann": "old"}]', "argument 'ages.*': expected int, got str"),
        ('{"ages": {}, "names": {"x": "ann"}}', "argument 'names' (a key): expected int, got str"),
    ],
)
def test_in_a_map_of_any_keys_the_map_is_named(arguments: str, text: str) -> None:
    def handler(ages: dict[str, int], names: dict[int, str] | None = None) -> None: ...

    error = refused(handler, sent(arguments))
    assert error.text.startswith(f"{text} (<wire>:0:")
    assert refused(handler, Command("x", msgspec.json.decode(arguments))).text == text


@pytest.mark.parametrize(
    ("bad", "text"),
    [
        (b'{ "first": 1e999 }', "Number overflow: 1e999 in <wire>:0:42"),
        (b'{ "first": "a", "second-one": 1e999 }', "Number overflow: 1e999 in <wire>:0:61"),
    ],
)
def test_arguments_that_turn_out_to_be_unreadable_are_refused_in_the_dialects_words(
    bad: bytes, text: str
) -> None:
    command = read_command(b'{ "command": "x", "arguments": %b }' % bad, PEER)

    assert refused(pair, command).text == text
    assert refused(lambda anything: anything, command).text == text
    assert refused(lambda *anything: anything, command).text == text
    with pytest.raises(ArgumentError) as caught:
        command.arguments  # noqa: B018
    assert caught.value.text == text


def test_arguments_that_turn_out_to_be_unreadable_are_refused_without_a_source_too() -> None:
    command = Command("x", Raw(b'{"first": "\xff"}'))
    assert refused(pair, command).text.startswith("arguments: ")
    with pytest.raises(ArgumentError, match=r"^arguments: "):
        command.arguments  # noqa: B018


def test_nested_structs_and_enums_are_converted() -> None:
    arguments = '[{"name":"a","level":"debug","outputs":[{"file":"b"}]},"2026-11-20T12:00:00Z"]'
    expected = [
        Logger("a", Level.DEBUG, [Output("b")]),
        dt.datetime(2026, 11, 20, 12, tzinfo=dt.UTC),
    ]
    for command in forms(arguments):
        assert called(configure, command) == expected


def test_an_integer_is_a_real_number_too() -> None:
    def handler(celsius: float) -> float:
        return celsius

    for command in forms("5"):
        result = called(handler, command)
        assert (type(result), result) == (float, 5.0)


def test_keys_of_maps_are_converted() -> None:
    def handler(names: dict[int, str]) -> object:
        return names

    for command in forms('{"names": {"1": "one"}}'):
        assert called(handler, command) == {1: "one"}


def test_constraints_of_an_annotation_are_checked() -> None:
    def handler(celsius: Annotated[float, Meta(ge=5, le=30)]) -> float:
        return celsius

    assert called(handler, sent("30")) == 30
    assert (
        refused(handler, sent("31")).text == f"argument 'celsius': expected float <= 30.0 (<wire>:0:{FIRST})"
    )


@pytest.mark.parametrize("value", ["null", "true", "1.5", '"a"', '[1, {"b": [null]}]', '{"a": {"b": [1]}}'])
def test_a_parameter_of_json_takes_any_value(value: str) -> None:
    def imported(value: JSON) -> object:
        return value

    def public(value: bridle.JSON = 5) -> object:
        return value

    def nested(value: list[JSON]) -> object:
        return value[0]

    decoded = msgspec.json.decode(value)
    for command in forms(f"[{value}]"):
        for handler in (imported, public, lambda value: value):
            assert called(handler, command) == decoded
    for command in forms(f"[[{value}]]"):
        assert called(nested, command) == decoded


def test_positional_arguments_behind_the_last_parameter_go_to_the_rest() -> None:
    for command in forms('["a", 1, 2]'):
        assert called(collect, command) == ["a", 1, 2]
    for command in (*forms('["a"]'), *forms('{"name": "a"}'), *forms('"a"')):
        assert called(collect, command) == ["a"]


def test_a_parameter_before_the_rest_may_have_a_default() -> None:
    def handler(name: str = "none", *values: int) -> list[object]:
        return [name, *values]

    assert called(handler, sent()) == ["none"]
    assert called(handler, sent('["a", 1]')) == ["a", 1]


def test_the_items_of_the_rest_are_converted() -> None:
    def handler(*since: dt.date) -> object:
        return since

    for command in forms('["2026-01-02", "2026-01-03"]'):
        assert called(handler, command) == (dt.date(2026, 1, 2), dt.date(2026, 1, 3))


def test_keyword_only_parameters_have_to_be_named() -> None:
    def handler(number: int = 1, *, unit: str, scale: int = 1) -> list[object]:
        return [number, unit, scale]

    assert called(handler, sent('{"unit": "K"}')) == [1, "K", 1]
    assert called(handler, sent('{"number": 2, "unit": "K", "scale": 3}')) == [2, "K", 3]
    assert refused(handler, sent("[2]")).text == f"missing argument 'unit' (<wire>:0:{FIRST + 1})"
    assert refused(handler, sent('[2, "K"]')).text.startswith("too many arguments: at most 1 are taken")


def test_keyword_only_parameters_may_stand_behind_the_rest() -> None:
    def handler(*values: int, unit: str = "K") -> list[object]:
        return [*values, unit]

    assert called(handler, sent("[1, 2]")) == [1, 2, "K"]
    assert called(handler, sent('{"unit": "F"}')) == ["F"]


def test_the_command_and_its_peer_are_injected_wherever_they_stand() -> None:
    def handler(first: int, command: Command, second: int = 2, *rest: int, who: Peer) -> list[object]:
        return [first, command.name, second, *rest, who]

    assert called(handler, sent("1")) == [1, "x", 2, PEER]
    assert called(handler, sent('{"first": 1, "second": 3}')) == [1, "x", 3, PEER]
    assert called(handler, sent("[1, 2, 3, 4]")) == [1, "x", 2, 3, 4, PEER]
    assert refused(handler, sent('{"first": 1, "who": 5}')).argument == "who"


def test_a_peer_alone_is_no_argument() -> None:
    def handler(peer: Peer) -> Peer:
        return peer

    assert called(handler, sent()) is PEER
    assert refused(handler, sent('{"peer": {}}')).argument == "peer"


def test_a_handler_of_nothing_but_the_command_checks_the_arguments_itself() -> None:
    def handler(command: Command) -> object:
        return command.arguments

    def with_peer(command: Command, peer: Peer) -> object:
        return [command.arguments, peer]

    assert Signature(handler).unchecked
    assert called(handler, sent('{"anything": [1]}')) == {"anything": [1]}
    assert called(with_peer, sent("[1]")) == [[1], PEER]


@pytest.mark.parametrize(
    ("attribute", "name"),
    [("max_period", "max-period"), ("from_", "from"), ("class_", "class"), ("plain", "plain")],
)
def test_parameters_have_names_of_the_wire(attribute: str, name: str) -> None:
    scope: dict[str, Callable[..., object]] = {}
    exec(f"def handler({attribute}: int): return {attribute}", scope)
    handler = scope["handler"]

    (parameter,) = Signature(handler).parameters
    assert (parameter.name, parameter.attribute, parameter.required) == (name, attribute, True)
    assert called(handler, sent(f'{{"{name}": 7}}')) == 7
    assert called(handler, sent("[7]")) == 7


def test_a_partial_function_is_checked_as_the_function_is() -> None:
    bound = functools.partial(collect, "bound")

    assert called(bound, sent("[1, 2]")) == ["bound", 1, 2]
    assert refused(bound, sent('["x"]')).text.startswith("argument 'values.0': expected int, got str")


def test_schema_of_named_arguments() -> None:
    def handler(
        name: str, command: Command, level: Level = Level.INFO, mode: Literal["a", "b"] = "a", *more: int
    ) -> None: ...

    assert Signature(handler).json_schema() == {
        "type": "object",
        "properties": {
            "name": {"type": "string"},
            "level": {"$ref": "#/$defs/Level", "default": "info"},
            "mode": {"enum": ["a", "b"], "default": "a"},
        },
        "required": ["name"],
        "additionalProperties": False,
        "$defs": {"Level": {"title": "Level", "description": "How much is told.", "enum": ["debug", "info"]}},
    }


def test_the_schema_has_descriptions_and_bounds_of_annotations() -> None:
    def handler(celsius: Annotated[int, Meta(ge=5, description="The target.")]) -> None: ...

    assert Signature(handler).json_schema()["properties"] == {
        "celsius": {"type": "integer", "minimum": 5, "description": "The target."}
    }


def test_the_schema_leaves_out_a_default_that_has_no_form_in_json() -> None:
    def handler(a: int = object(), b: dt.date = dt.date(2026, 1, 2)) -> None: ...  # type: ignore[assignment]

    assert Signature(handler).json_schema()["properties"] == {
        "a": {"type": "integer"},
        "b": {"type": "string", "format": "date", "default": "2026-01-02"},
    }


def test_the_schema_names_a_type_that_json_schema_does_not_know() -> None:
    def handler(number: complex) -> None: ...

    assert Signature(handler).json_schema()["properties"] == {"number": {"title": "complex"}}


def test_the_schema_refers_to_nested_structs() -> None:
    schema = Signature(configure).json_schema()
    assert set(schema["$defs"]) == {"Logger", "Level", "Output"}  # type: ignore[arg-type]
    assert schema["properties"]["logger"] == {"$ref": "#/$defs/Logger"}  # type: ignore[index, call-overload]


def test_the_schema_of_the_result_is_that_of_the_annotation() -> None:
    def told() -> dict[str, JSON]: ...  # type: ignore[empty-body]

    def nothing() -> None: ...

    def unknown(): ...  # type: ignore[no-untyped-def]

    def whole() -> bridle.Response: ...  # type: ignore[empty-body]

    def own() -> complex: ...  # type: ignore[empty-body]

    assert Signature(told).result_schema() == {"type": "object"}
    for handler in (nothing, unknown, whole, own):
        assert Signature(handler).result_schema() is None


def keyword_rest(**options: int) -> None: ...


def positional_only(number: int, /) -> None: ...


def unresolvable(number: NoSuchType) -> None: ...  # type: ignore[name-defined]  # noqa: F821


def unsupported(number: int | float | dict[int, str] | Logger) -> None: ...


def one_name_twice(max_period: int, max_period_: int) -> None: ...


@pytest.mark.parametrize(
    ("handler", "text"),
    [
        (keyword_rest, r"^keyword_rest: parameter 'options' must be an ordinary parameter or '\*options'$"),
        (positional_only, r"^positional_only: parameter 'number' must be an ordinary parameter"),
        (unresolvable, r"^unresolvable: its signature cannot be read: .*NoSuchType"),
        (unsupported, r"^unsupported: its arguments are not supported: .*more than one dict-like type"),
        (one_name_twice, r"^one_name_twice: its arguments are not supported: .*same name"),
    ],
)
def test_a_signature_that_no_command_can_have_is_refused_by_name(
    handler: Callable[..., object], text: str
) -> None:
    with pytest.raises(DeclarationError, match=text):
        Signature(handler)


def test_a_declaration_error_is_a_type_error() -> None:
    with pytest.raises(TypeError):
        Signature(keyword_rest)
