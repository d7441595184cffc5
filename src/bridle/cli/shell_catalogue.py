"""What a daemon says about its commands: ``command-help``, or ``list-commands`` where it knows no better, or
Kamailio's ``system.listMethods`` and ``system.methodHelp``.

What comes from a daemon is taken apart with care: what makes no sense is left out.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping

import msgspec
from msgspec import UNSET, Struct, UnsetType

from bridle.cli.rendering import plain
from bridle.client.blocking import Client
from bridle.client.calls import value_of
from bridle.core.messages import JSON, Command
from bridle.core.results import Result

__all__ = ["Argument", "Catalogue", "CommandHelp", "describe", "load", "services"]

# Seconds that an answer may take which nobody asked for: the prompt waits for it.
LOAD_TIMEOUT = 3.0
# References and lists inside each other that a type's name goes into.
_DEPTH = 4
# Characters of a list of values that is shown in place of a type.
_SHOWN_VALUES = 40


class Argument(Struct, frozen=True):
    """An argument that a command takes. ``values`` are those it can have, where they can be counted."""

    name: str
    type: str
    required: bool
    default: JSON | UnsetType = UNSET
    values: tuple[str, ...] = ()

    @property
    def note(self) -> str:
        """The type, and whether it is required or what it is otherwise."""
        if self.required:
            return f"{self.type}, required"
        return self.type if self.default is UNSET else f"{self.type}, default {shown(self.default)}"


class CommandHelp(Struct, frozen=True):
    """A command. ``arguments`` is None where nobody says what it takes."""

    name: str
    access: str = ""
    summary: str = ""
    help: str = ""
    arguments: tuple[Argument, ...] | None = None

    @property
    def signature(self) -> str:
        """The command as it is typed, with types in place of values and optional arguments in brackets.

        Dots stand for arguments that nobody knows.
        """
        if self.arguments is None:
            return f"{self.name} ..."
        words = [self.name]
        for argument in self.arguments:
            word = f"{argument.name}={argument.type}"
            words.append(word if argument.required else f"[{word}]")
        return " ".join(words)


Catalogue = Mapping[str, CommandHelp]


def load(client: Client, service: str | None) -> Catalogue:
    """Ask for the commands of a daemon, or of a service behind an agent.

    Raises:
        BridleError: it does not answer, or says why it does not tell.
    """
    timeout = min(LOAD_TIMEOUT, client.timeout)
    response = client.execute("command-help", service=service, timeout=timeout)
    if response.result == Result.SUCCESS and isinstance(response.value, dict):
        return {name: describe(name, value) for name, value in sorted(response.value.items())}
    response = client.execute("list-commands", service=service, timeout=timeout)
    if response.result == Result.UNSUPPORTED:
        return _load_methods(client, service, timeout)
    names = value_of(Command("list-commands"), response, client.endpoint)
    return {name: CommandHelp(name) for name in _texts(names)}


def _load_methods(client: Client, service: str | None, timeout: float) -> Catalogue:
    """The methods of a daemon that speaks Kamailio's dialects, and what it says about each."""
    names = _texts(client.call("system.listMethods", service=service, timeout=timeout))
    if service is not None:
        return {name: CommandHelp(name) for name in names}  # a question for each would take an agent long
    told = client.execute_many([("system.methodHelp", [name]) for name in names], timeout=timeout)
    helps = [_text(response.value) if response.result == Result.SUCCESS else "" for response in told]
    return {
        name: CommandHelp(name, summary=text.partition("\n")[0], help=text)
        for name, text in zip(names, helps, strict=True)
    }


def services(client: Client) -> list[str]:
    """The services that an agent's configuration names; none where it is no agent.

    Raises:
        BridleError: it does not answer, or does not tell.
    """
    configuration = client.call("config-get", timeout=min(LOAD_TIMEOUT, client.timeout))
    return sorted(_map(_map(_map(configuration).get("Control-agent")).get("control-sockets")))


def describe(name: str, value: JSON) -> CommandHelp:
    """Read one entry of ``command-help``."""
    entry = _map(value)
    schema = entry.get("arguments")
    arguments = tuple(_arguments(schema)) if isinstance(schema, dict) else None
    return CommandHelp(
        name,
        _text(entry.get("access")),
        _text(entry.get("summary")).partition("\n")[0],
        _text(entry.get("help")),
        arguments,
    )


def shown(value: JSON) -> str:
    """A value as it is typed."""
    if not isinstance(value, str):
        return msgspec.json.encode(value).decode()
    try:
        msgspec.json.decode(value)
    except msgspec.DecodeError:
        return shlex.quote(value)
    # It would be taken for a number, or what it looks like, if the quotes did not go along.
    return shlex.quote(msgspec.json.encode(value).decode())


def _arguments(schema: dict[str, JSON]) -> Iterator[Argument]:
    """The required ones first, in their order; maps come sorted over the wire."""
    properties, definitions = _map(schema.get("properties")), _map(schema.get("$defs"))
    listed = schema.get("required")
    required = listed if isinstance(listed, list) else []
    first = [name for name in required if isinstance(name, str) and name in properties]
    for name in dict.fromkeys([*first, *properties]):
        kind = _map(properties[name])
        yield Argument(
            name,
            _type(kind, definitions, _DEPTH),
            name in required,
            kind.get("default", UNSET),
            tuple(_values(kind, definitions, _DEPTH)),
        )


def _type(schema: dict[str, JSON], definitions: dict[str, JSON], depth: int) -> str:
    schema = _resolve(schema, definitions)
    choices = schema.get("anyOf")
    if isinstance(choices, list) and depth:
        return "|".join(dict.fromkeys(_type(_map(choice), definitions, depth - 1) for choice in choices))
    values = "|".join(map(_label, _own_values(schema)))
    kind = schema.get("type")
    if values and len(values) <= _SHOWN_VALUES and kind != "boolean":
        return values
    if kind == "array":
        item = _type(_map(schema.get("items")), definitions, depth - 1) if depth else "any"
        return "list" if item == "any" else f"list of {item}"
    if kind == "object":
        return "map"
    return kind if isinstance(kind, str) else "any"


def _values(schema: dict[str, JSON], definitions: dict[str, JSON], depth: int) -> Iterator[str]:
    schema = _resolve(schema, definitions)
    choices = schema.get("anyOf")
    yield from map(shown, _own_values(schema))
    for choice in choices if isinstance(choices, list) and depth else ():
        yield from _values(_map(choice), definitions, depth - 1)


def _own_values(schema: dict[str, JSON]) -> list[JSON]:
    if "const" in schema:
        return [schema["const"]]
    listed = schema.get("enum")
    if isinstance(listed, list):
        return listed
    counted: dict[JSON, list[JSON]] = {"boolean": [True, False], "null": [None]}
    return counted.get(_text(schema.get("type")), [])


def _label(value: JSON) -> str:
    return value if isinstance(value, str) else shown(value)


def _resolve(schema: dict[str, JSON], definitions: dict[str, JSON]) -> dict[str, JSON]:
    reference = schema.get("$ref")
    if not isinstance(reference, str):
        return schema
    return _map(definitions.get(reference.rpartition("/")[2]))


def _texts(value: JSON) -> list[str]:
    return [item for item in value if isinstance(item, str)] if isinstance(value, list) else []


def _map(value: JSON) -> dict[str, JSON]:
    return value if isinstance(value, dict) else {}


def _text(value: JSON) -> str:
    """A text without its markup, and without what would steer a terminal."""
    return plain(value.replace("``", "'")) if isinstance(value, str) else ""
