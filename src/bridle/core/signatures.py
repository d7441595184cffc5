"""A handler's signature is its schema: arguments are checked and converted by what the handler declares.

Named arguments are the handler's parameters with ``_`` written as ``-`` (``max_period`` is ``max-period`` on
the wire). Positional arguments fill the parameters in order, ``*values`` takes the rest. A parameter that is
annotated :class:`~bridle.Command` or :class:`~bridle.Peer` is given the command or its peer and is no
argument; a handler whose only parameter is the command checks the arguments itself.
"""

from __future__ import annotations

import inspect
import re
import typing
from collections.abc import Callable, Mapping
from typing import cast

import msgspec
from msgspec import UNSET, Raw, UnsetType

from bridle.core.errors import ArgumentError, DeclarationError
from bridle.core.messages import JSON, Command, Path, Peer

__all__ = ["Parameter", "Signature"]

Handler = Callable[..., object]

_NO_MAP = Raw(b"{}")
_PLACE = re.compile(r" - at `\$([^`]*)`$")
_STEP = re.compile(r"\.([^.\[]+)|\[(\d+|\.\.\.)\]")
_QUOTED = re.compile(r"`([^`]*)`")


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
            hints = typing.get_type_hints(_function_of(handler))
        except (TypeError, ValueError, NameError) as error:
            raise DeclarationError(f"{_name_of(handler)}: its signature cannot be read: {error}") from error
        self.returns: object = hints.get("return", UNSET)
        self.parameters: tuple[Parameter, ...] = ()
        self.rest: object = UNSET
        self._injected: dict[str, type[Command] | type[Peer]] = {}
        for parameter in parameters.values():
            self._declare(handler, parameter, hints.get(parameter.name, JSON))
        takes_any = Command in list(self._injected.values())
        self.unchecked = takes_any and not self.parameters and self.rest is UNSET
        self._only = next(iter(self._injected)) if self.unchecked and len(self._injected) == 1 else None
        self._named = self._struct("Arguments", array_like=False)
        self._positional = self._struct("Arguments", array_like=True)

    def _declare(self, handler: Handler, parameter: inspect.Parameter, annotation: object) -> None:
        name = f"{_name_of(handler)}: parameter '{parameter.name}'"
        if annotation is Command or annotation is Peer:
            self._injected[parameter.name] = annotation
        elif parameter.kind is parameter.VAR_POSITIONAL:
            self.rest = annotation
        elif parameter.kind in (parameter.VAR_KEYWORD, parameter.POSITIONAL_ONLY):
            raise DeclarationError(f"{name} must be an ordinary parameter or '*{parameter.name}'")
        else:
            required = parameter.default is parameter.empty
            self.parameters += (
                Parameter(
                    parameter.name.rstrip("_").replace("_", "-"),
                    parameter.name,
                    annotation,
                    required,
                    UNSET if required else parameter.default,
                ),
            )

    def _struct(self, name: str, *, array_like: bool) -> type[msgspec.Struct]:
        # UNSET stands for "not given", so that the handler's own default applies.
        fields: list[tuple[str, type] | tuple[str, type, UnsetType]] = [
            (p.attribute, cast(type, p.annotation))
            if p.required
            else (p.attribute, cast(type, typing.Union[p.annotation, UnsetType]), UNSET)  # noqa: UP007
            for p in self.parameters
        ]
        fields.sort(key=lambda field: len(field))
        struct = msgspec.defstruct(
            name,
            fields,
            rename={p.attribute: p.name for p in self.parameters},
            forbid_unknown_fields=True,
            array_like=array_like,
        )
        try:
            msgspec.json.Decoder(struct)
        except TypeError as error:
            raise DeclarationError(f"an argument's type is not supported: {error}") from error
        return struct

    def call(self, handler: Handler, command: Command) -> object:
        """Call the handler with a command's arguments.

        Raises:
            ArgumentError: the command's arguments are not what the handler takes.
        """
        if self.unchecked and self._only is not None:
            return handler(**{self._only: command})
        args, kwargs = self.bind(command)
        return handler(*args, **kwargs)

    def bind(self, command: Command) -> tuple[tuple[object, ...], dict[str, object]]:
        """The positional and keyword arguments of the handler's call.

        Raises:
            ArgumentError: the command's arguments are not what the handler takes.
        """
        injected: dict[str, object] = {
            name: command if kind is Command else command.peer for name, kind in self._injected.items()
        }
        if self.unchecked:
            return (), injected
        body = command.body
        if body is UNSET or body is None:
            body = _NO_MAP
        try:
            rest, given = self._convert(body)
        except msgspec.ValidationError as error:
            raise self._explain(command, str(error)) from error
        except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
            raise ArgumentError(f"arguments: {error}") from error
        if rest:
            # Named parameters before '*rest' have to go by position as well.
            ordered = [given.pop(p.attribute, p.default) for p in self.parameters]
            return (*ordered, *rest), {**given, **injected}
        return (), {**given, **injected} if injected else given

    def _convert(self, body: JSON | Raw) -> tuple[list[object], dict[str, object]]:
        shape = _shape(body)
        if shape == "map":
            return [], self._given(_decode(body, self._named))
        if shape == "scalar":
            body = Raw(b"[" + bytes(body) + b"]") if isinstance(body, Raw) else [body]
        if self.rest is UNSET:
            return [], self._given(_decode(body, self._positional))
        items = cast("list[JSON]", _decode(body, list))
        split = len(self.parameters)
        named = self._given(_decode(items[:split], self._positional))
        rest = cast("list[object]", _decode(items[split:], list[self.rest]))  # type: ignore[name-defined]
        return rest, named

    def _given(self, arguments: object) -> dict[str, object]:
        return {
            p.attribute: value
            for p in self.parameters
            if (value := getattr(arguments, p.attribute)) is not UNSET
        }

    def _explain(self, command: Command, message: str) -> ArgumentError:
        """Turn msgspec's words into ours, with the argument's name and its place in the peer's text."""
        place = _PLACE.search(message)
        path = list(_steps(place.group(1))) if place else []
        text = message[: place.start()] if place else message
        positional = _shape(command.body) != "map"
        if positional and path and isinstance(path[0], int) and path[0] < len(self.parameters):
            name = self.parameters[path[0]].name
        else:
            name = str(path[0]) if path else ""
        location: list[str | int] = ["arguments", *path]
        subject = _QUOTED.search(text)
        if text.startswith("Object missing required field") and subject:
            text = f"missing argument '{_dotted([*path, subject.group(1)])}'"
            name = name or subject.group(1)
        elif text.startswith("Object contains unknown field") and subject:
            text = f"unknown argument '{_dotted([*path, subject.group(1)])}'"
            location.append(subject.group(1))
        elif not path and text.startswith("Expected `array` of at least"):
            count = int(text.rsplit(" ", 1)[1])
            name = self.parameters[count].name
            text = f"missing argument '{name}'"
        elif not path and text.startswith("Expected `array` of at most"):
            text = f"too many arguments: at most {len(self.parameters)} are taken"
        else:
            shown = _dotted([name, *path[1:]]) if path else "arguments"
            text = f"argument '{shown}': {text[:1].lower()}{text[1:].replace('`', '')}"
        where = command.locate(location)
        return ArgumentError(f"{text} ({where})" if where else text, argument=name, path=location)

    def json_schema(self) -> dict[str, JSON]:
        """The JSON Schema of the named arguments."""
        _, definitions = msgspec.json.schema_components([self._named], ref_template="#/$defs/{name}")
        top = cast("dict[str, JSON]", definitions.pop("Arguments"))
        top.pop("title", None)
        properties = cast("dict[str, dict[str, JSON]]", top.get("properties", {}))
        for parameter in self.parameters:
            if not parameter.required:
                properties[parameter.name]["default"] = msgspec.to_builtins(parameter.default)
        if definitions:
            top["$defs"] = cast(JSON, definitions)
        return top

    def result_schema(self) -> Mapping[str, JSON] | None:
        """The JSON Schema of what the handler returns; None when it does not declare that."""
        if self.returns is UNSET or self.returns is None or self.returns is type(None):
            return None
        try:
            return cast("dict[str, JSON]", msgspec.json.schema(self.returns))
        except TypeError:
            return None


def _shape(body: object) -> str:
    if isinstance(body, Raw):
        first = bytes(body).lstrip()[:1]
        return "map" if first == b"{" else "list" if first == b"[" else "scalar"
    return "map" if isinstance(body, dict) else "list" if isinstance(body, list) else "scalar"


def _decode(body: object, kind: type) -> object:
    if isinstance(body, Raw):
        return msgspec.json.decode(body, type=kind)
    return msgspec.convert(body, kind)


def _steps(place: str) -> typing.Iterator[str | int]:
    for match in _STEP.finditer(place):
        key, index = match.groups()
        yield key if key is not None else int(index) if index.isdigit() else index


def _dotted(path: Path) -> str:
    return ".".join(str(step) for step in path)


def _function_of(handler: Handler) -> Handler:
    if inspect.isroutine(handler) or inspect.isclass(handler):
        return handler
    return cast(Handler, type(handler).__call__)


def _name_of(handler: Handler) -> str:
    return getattr(handler, "__qualname__", type(handler).__qualname__)
