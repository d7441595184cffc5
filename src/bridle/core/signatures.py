"""A handler's signature is its schema: arguments are checked and converted by what the handler declares.

Named arguments are the handler's parameters with ``_`` written as ``-`` (``max_period`` is ``max-period`` on
the wire). Positional arguments fill the parameters in order, ``*values`` takes the rest; keyword-only
parameters have to be named. No arguments at all, or ``null``, are an empty map. A parameter that is
annotated :class:`~bridle.Command` or :class:`~bridle.Peer` is given the command or its peer and is no
argument; a handler whose only parameter is the command checks the arguments itself.
"""

from __future__ import annotations

import functools
import inspect
import itertools
import re
import types
import typing
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Annotated, Literal, cast

import msgspec
from msgspec import UNSET, Raw, UnsetType

from bridle.core.errors import ArgumentError, DeclarationError, RemoteProtocolError, undecodable
from bridle.core.messages import JSON, Command, Expected, Kind, Path, Peer, Response, ScannedArguments

__all__ = ["Parameter", "Signature"]

Handler = Callable[..., object]

_NO_MAP = Raw(b"{}")
_SHAPES: dict[bytes, Literal["map", "list", "none"]] = {b"{": "map", b"[": "list", b"n": "none"}
"""What JSON begins with; of the scalars only ``null`` begins with an n."""
_FIRST_BYTE = re.compile(rb"\s*\S")
_PLACE = re.compile(r" - at (`key` in )?`\$([^`]*)`$")
_STEP = re.compile(r"\.([^.\[]+)|\[(\d+|\.\.\.)\]")
_FIRST_INDEX = re.compile(r"(?<=`\$\[)\d+")
_QUOTED = re.compile(r"`([^`]*)`")
_ANY = "*"
"""A step into a map whose keys are not known beforehand; msgspec does not say which one it was."""


class Parameter(msgspec.Struct, frozen=True):
    """One argument that a command takes. ``name`` is the wire's, ``attribute`` the handler's."""

    name: str
    attribute: str
    annotation: object
    required: bool
    default: object = UNSET


class Signature:
    """What a handler takes, and how a command's arguments become its call."""

    def __init__(self, handler: Handler) -> None:
        try:
            parameters = inspect.signature(handler).parameters
            # JSON names itself, which msgspec has no schema for; inside it anything goes.
            names = {"JSON": typing.Any}
            hints = typing.get_type_hints(_function_of(handler), localns=names, include_extras=True)
        except (TypeError, ValueError, NameError) as error:
            raise DeclarationError(f"{_name_of(handler)}: its signature cannot be read: {error}") from error
        self.returns: object = hints.get("return", UNSET)
        self.parameters: tuple[Parameter, ...]
        self.rest: object = UNSET
        self._rest_name = ""
        self._injected: dict[str, type[Command] | type[Peer]] = {}
        declared = (
            self._declare(handler, parameter, hints.get(parameter.name, typing.Any))
            for parameter in parameters.values()
        )
        self.parameters = tuple(parameter for parameter in declared if parameter is not None)
        takes_any = any(kind is Command for kind in self._injected.values())
        self.unchecked: bool = takes_any and not self.parameters and self.rest is UNSET
        self._only = next(iter(self._injected)) if self.unchecked and len(self._injected) == 1 else None
        self._order = tuple(p.name for p in parameters.values() if p.kind is p.POSITIONAL_OR_KEYWORD)
        self._ordered = tuple(p for p in self.parameters if p.attribute in self._order)
        self.expected: Expected = Expected(
            tuple(_kind(p.annotation) for p in self._ordered),
            sum(p.required for p in self._ordered),
            _kind(self.rest) if self._rest_name else None,
            {p.name: _kind(p.annotation) for p in self.parameters},
        )
        # Values of the right kinds are what the handler takes: there is nothing more to check.
        self._plain = (
            not self._injected
            and len(self._ordered) == len(self.parameters)
            and all(_is_plain(p.annotation) for p in self.parameters)
            and (not self._rest_name or _is_plain(self.rest))
        )
        try:
            self._named = _struct(self.parameters, array_like=False)
            self._positional = _struct(self._ordered, array_like=True)
        except (TypeError, ValueError) as error:
            raise DeclarationError(
                f"{_name_of(handler)}: its arguments are not supported: {error}"
            ) from error

    def _declare(
        self, handler: Handler, parameter: inspect.Parameter, annotation: object
    ) -> Parameter | None:
        name = f"{_name_of(handler)}: parameter '{parameter.name}'"
        if annotation in (Command, Peer):
            self._injected[parameter.name] = annotation
        elif parameter.kind is parameter.VAR_POSITIONAL:
            self.rest = annotation
            self._rest_name = parameter.name.replace("_", "-")
        elif parameter.kind in (parameter.VAR_KEYWORD, parameter.POSITIONAL_ONLY):
            raise DeclarationError(f"{name} must be an ordinary parameter or '*{parameter.name}'")
        else:
            required = parameter.default is parameter.empty
            return Parameter(
                parameter.name.rstrip("_").replace("_", "-"),
                parameter.name,
                annotation,
                required,
                UNSET if required else parameter.default,
            )
        return None

    @property
    def positional(self) -> tuple[str, ...]:
        """The names on the wire of what positional arguments fill, in order."""
        return tuple(parameter.name for parameter in self._ordered)

    def call(self, handler: Handler, command: Command) -> object:
        """Call the handler with a command's arguments.

        Raises:
            ArgumentError: the command's arguments are not what the handler takes.
        """
        if self.unchecked and self._only is not None:
            return handler(**{self._only: command})
        body = command.body
        if self._plain and isinstance(body, ScannedArguments):
            scanned = body.scan(self.expected)
            if type(scanned) is list:
                return handler(*scanned)
            command = msgspec.structs.replace(command, body=scanned)
        args, kwargs = self.bind(command)
        return handler(*args, **kwargs)

    def bind(self, command: Command) -> tuple[tuple[object, ...], dict[str, object]]:
        """The positional and keyword arguments of the handler's call.

        Raises:
            ArgumentError: the command's arguments are not what the handler takes.
        """
        body = command.body
        if isinstance(body, ScannedArguments) and not self.unchecked:
            command = msgspec.structs.replace(command, body=body.scan(self.expected))
        injected: dict[str, object] = {
            name: command if kind is Command else command.peer for name, kind in self._injected.items()
        }
        if self.unchecked:
            return (), injected
        try:
            rest, given = self._convert(cast("JSON | Raw | UnsetType", command.body))
        except msgspec.ValidationError as error:
            raise self._explain(command, str(error)) from error
        except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
            raise undecodable(command, error) from error
        if not rest:
            return (), {**given, **injected} if injected else given
        # What stands before '*rest' has to go by position as well.
        given.update(injected)
        before = [given.pop(name) for name in self._order]
        return (*before, *rest), given

    def _convert(self, body: JSON | Raw | UnsetType) -> tuple[list[object], dict[str, object]]:
        shape = _shape(body)
        if body is UNSET or shape == "none":
            body, shape = _NO_MAP, "map"
        if shape == "map":
            return [], self._given(_decode(body, self._named))
        if shape == "scalar":
            body = Raw(b"[" + bytes(body) + b"]") if isinstance(body, Raw) else [body]
        if self.rest is UNSET:
            return [], self._given_in_order(body)
        items = cast("list[JSON]", _decode(body, list))
        count = len(self._ordered)
        given = self._given_in_order(items[:count])
        return self._convert_rest(items[count:], count), given

    def _convert_rest(self, items: list[JSON], count: int) -> list[object]:
        try:
            return cast("list[object]", _decode(items, list[self.rest]))  # type: ignore[name-defined]
        except msgspec.ValidationError as error:
            message = _FIRST_INDEX.sub(lambda index: str(int(index[0]) + count), str(error))
            raise msgspec.ValidationError(message) from error

    def _given(self, arguments: object) -> dict[str, object]:
        return {
            p.attribute: value
            for p in self.parameters
            if (value := getattr(arguments, p.attribute, UNSET)) is not UNSET
        }

    def _given_in_order(self, items: JSON | Raw) -> dict[str, object]:
        given = self._given(_decode(items, self._positional))
        for parameter in self.parameters:
            if parameter.required and parameter.attribute not in given:
                raise msgspec.ValidationError(f"Object missing required field `{parameter.name}`")
        return given

    def _explain(self, command: Command, message: str) -> ArgumentError:
        """Turn msgspec's words into ours, with the argument's name and its place in the peer's text."""
        place = _PLACE.search(message)
        path = list(_steps(place.group(2))) if place else []
        text = message[: place.start()] if place else message
        location = self._location(command, path)
        shown = [*self._shown(command, path[0]), *path[1:]] if path else []
        name = shown[0] if shown else ""
        subject = _QUOTED.search(text)
        if text.startswith("Object missing required field") and subject:
            text = f"missing argument '{_dotted([*shown, subject.group(1)])}'"
            name = name or subject.group(1)
        elif text.startswith("Object contains unknown field") and subject:
            text = f"unknown argument '{_dotted([*shown, subject.group(1)])}'"
            name = name or subject.group(1)
            location.append(subject.group(1))
        elif not path and text.startswith("Expected `array` of at least"):
            name = self._ordered[int(text.rsplit(" ", 1)[1])].name
            text = f"missing argument '{name}'"
        elif not path and text.startswith("Expected `array` of at most"):
            text = f"too many arguments: at most {len(self._ordered)} are taken"
        else:
            key = " (a key)" if place and place.group(1) else ""
            subject_text = f"argument '{_dotted(shown)}'{key}" if shown else "arguments"
            text = f"{subject_text}: {text[:1].lower()}{text[1:].replace('`', '')}"
        try:
            where = command.locate(location)
        except RemoteProtocolError as unreadable:
            return ArgumentError(unreadable.text, argument=str(name), path=location)
        return ArgumentError(f"{text} ({where})" if where else text, argument=str(name), path=location)

    def _shown(self, command: Command, first: str | int) -> list[str | int]:
        """What the first step to an argument is called: positions by the names of what they fill."""
        if not isinstance(first, int) or _shape(command.body) == "map":
            return [first]
        if first < len(self._ordered):
            return [self._ordered[first].name]
        return [self._rest_name, first - len(self._ordered)]

    def _location(self, command: Command, path: Path) -> list[str | int]:
        """The way in the peer's text: there is none into a scalar, and into a map not all of it is known."""
        steps = path[1:] if _shape(command.body) == "scalar" else path
        known = itertools.takewhile(lambda step: step != _ANY, steps)
        return ["arguments", *known]

    def json_schema(self) -> dict[str, JSON]:
        """The JSON Schema of the named arguments."""
        _, definitions = msgspec.json.schema_components(
            [self._named], ref_template="#/$defs/{name}", schema_hook=_any_schema
        )
        top = cast("dict[str, JSON]", definitions.pop("Arguments"))
        top.pop("title", None)
        properties = cast("dict[str, dict[str, JSON]]", top.get("properties", {}))
        for parameter in self.parameters:
            if not parameter.required:
                with suppress(TypeError):  # a default without a form in JSON is the handler's own affair
                    properties[parameter.name]["default"] = msgspec.to_builtins(parameter.default)
        if definitions:
            top["$defs"] = cast(JSON, definitions)
        return top

    @property
    def result_type(self) -> str:
        """What the handler returns, in the words of XML-RPC and JSON: ``struct``, ``array``, ``string``, …;
        ``any`` when it does not declare that."""
        returned = typing.get_origin(self.returns) or self.returns
        return _RESULT_TYPES.get(returned, "any")

    def result_schema(self) -> Mapping[str, JSON] | None:
        """The JSON Schema of what the handler returns; None when it does not declare that."""
        if self.returns in (UNSET, None, type(None), Response):
            return None
        try:
            return cast("dict[str, JSON]", msgspec.json.schema(self.returns))
        except TypeError:
            return None


_RESULT_TYPES: dict[object, str] = {
    int: "int",
    float: "double",
    str: "string",
    bool: "boolean",
    list: "array",
    tuple: "array",
    dict: "struct",
    None: "nil",
    type(None): "nil",
}
_SCALARS = frozenset({int, float, str})
_KINDS: dict[object, Kind] = {int: "int", float: "float", str: "str", bool: "bool"}


def _kind(annotation: object) -> Kind:
    """What a dialect has to know of an annotation: ``int | None`` and a bounded int are ints."""
    if typing.get_origin(annotation) is Annotated:
        return _kind(typing.get_args(annotation)[0])
    if typing.get_origin(annotation) in (typing.Union, types.UnionType):
        alternatives = [kind for kind in typing.get_args(annotation) if kind is not type(None)]
        if len(alternatives) == 1:
            return _kind(alternatives[0])
        return "scalar" if _SCALARS.issuperset(alternatives) else "any"
    return _KINDS.get(annotation, "any")


def _is_plain(annotation: object) -> bool:
    if annotation == typing.Any or annotation in _KINDS:
        return True
    return set(typing.get_args(annotation)) == _SCALARS


def _struct(parameters: tuple[Parameter, ...], *, array_like: bool) -> type[msgspec.Struct]:
    # UNSET stands for "not given", so that the handler's own default applies.
    fields: list[tuple[str, type] | tuple[str, type, UnsetType]] = [
        (p.attribute, cast(type, p.annotation))
        if p.required
        else (p.attribute, cast(type, typing.Union[p.annotation, UnsetType]), UNSET)  # noqa: UP007
        for p in parameters
    ]
    fields.sort(key=lambda field: len(field))
    struct = msgspec.defstruct(
        "Arguments",
        fields,
        rename={p.attribute: p.name for p in parameters},
        forbid_unknown_fields=True,
        array_like=array_like,
    )
    msgspec.json.Decoder(struct)
    return struct


def _any_schema(kind: type) -> dict[str, object]:
    """What JSON Schema can say of a type of the handler's own: its name."""
    return {"title": kind.__name__}


def _shape(body: object) -> Literal["map", "list", "scalar", "none"]:
    if isinstance(body, Raw):
        first = _FIRST_BYTE.match(memoryview(body))  # without a copy: a body may be megabytes
        return _SHAPES.get(first[0].lstrip(), "scalar") if first else "scalar"
    if body is UNSET or body is None:
        return "none"
    return "map" if isinstance(body, dict) else "list" if isinstance(body, list) else "scalar"


def _decode(body: object, kind: type) -> object:
    if isinstance(body, Raw):
        return msgspec.json.decode(body, type=kind)
    return msgspec.convert(body, kind, str_keys=True)


def _steps(place: str) -> typing.Iterator[str | int]:
    for match in _STEP.finditer(place):
        key, index = match.groups()
        yield key if key is not None else int(index) if index.isdigit() else _ANY


def _dotted(path: Path) -> str:
    return ".".join(str(step) for step in path)


def _function_of(handler: Handler) -> Handler:
    while isinstance(handler, functools.partial):
        handler = handler.func
    if inspect.isroutine(handler) or inspect.isclass(handler):
        return handler
    return cast(Handler, type(handler).__call__)


def _name_of(handler: Handler) -> str:
    return getattr(handler, "__qualname__", type(handler).__qualname__)
