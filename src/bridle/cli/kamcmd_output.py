"""What kamcmd prints of a reply: its records line by line, or by a format (``facts/kamailio.md`` §5)."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import cast

import msgspec

from bridle.core.errors import BridleError
from bridle.core.messages import JSON
from bridle.wire.binrpc_records import Array, Struct, Value, json_of

__all__ = ["FormatError", "as_json", "check_format", "formatted", "shown", "unescaped"]

_TOKEN = re.compile(r"%v|%%|%|[^%]+")
_ESCAPES = {"n": "\n", "r": "\r", "t": "\t", "\\": "\\"}


class FormatError(BridleError):
    """A format holds what stands for nothing."""


def shown(values: Sequence[Value]) -> str:
    """Records, each on its line, structs over several."""
    return "".join(f"{line}\n" for value in values for line in _lines(value, "", 0))


def _lines(value: Value, name: str, depth: int) -> Iterator[str]:
    indent = "\t" * depth
    if isinstance(value, Struct):
        yield f"{indent}{name}{{"
        for member, inner in value.members:
            yield from _lines(inner, f"{member}: " if member is not None else "", depth + 1)
        yield f"{indent}}}"
    elif isinstance(value, Array):
        # An array's bracket stands with its items, as kamcmd has it.
        yield f"{indent}\t{name}["
        for item in value.items:
            yield from _lines(item, "", depth + 1)
        yield f"{indent}]"
    else:
        yield f"{indent}{name}{_scalar(value)}"


def _scalar(value: Value) -> str:
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() else f"{value:f}"
    if isinstance(value, bytes):
        return value.partition(b"\0")[0].decode("utf-8", "surrogateescape")
    return str(value)


def unescaped(text: str) -> str:
    r"""A format as it was typed: with its ``\n``, ``\r``, ``\t`` and ``\\``."""
    return re.sub(r"\\(.?)", lambda match: _ESCAPES.get(match[1], match[0]), text, flags=re.DOTALL)


def check_format(text: str) -> None:
    """Refuse a format with other signs than ``%v`` and ``%%``.

    Raises:
        FormatError: there is one.
    """
    if "%" in _TOKEN.findall(text):
        raise FormatError("a '%' in a format is followed by 'v' or '%'")


def formatted(values: Sequence[Value], text: str) -> str:
    """Records by a format: each ``%v`` is the next value; the format begins anew while there are more, and
    goes on without them when there are not. A struct counts as its parts: ``{``, ``name: value``, ``}``."""
    tokens = ["%" if token == "%%" else token for token in _TOKEN.findall(text)]
    words = [word for value in values for word in _words(value, "")]
    if "%v" not in tokens:
        literal = "".join(tokens)
        return "".join(f"{literal}{word}" for word in words) or literal
    written: list[str] = []
    position = 0
    for word in words:
        while (token := tokens[position % len(tokens)]) != "%v":
            written.append(token)
            position += 1
        written.append(word)
        position += 1
    rest = tokens[position % len(tokens) :] if position % len(tokens) or not words else []
    return "".join((*written, *(token for token in rest if token != "%v")))


def _words(value: Value, name: str) -> Iterator[str]:
    if isinstance(value, Struct | Array):
        opening, closing = ("{", "}") if isinstance(value, Struct) else ("[", "]")
        yield f"{name}{opening}"
        items = value.members if isinstance(value, Struct) else [(None, item) for item in value.items]
        for member, inner in items:
            yield from _words(inner, f"{member}: " if member is not None else "")
        yield closing
    else:
        yield f"{name}{_scalar(value)}"


def as_json(values: Sequence[Value]) -> str:
    """Records as a list in JSON."""
    value = cast("list[JSON]", [json_of(one) for one in values])
    return msgspec.json.format(msgspec.json.encode(_encodable(value)), indent=2).decode() + "\n"


def _encodable(value: JSON) -> JSON:
    """What is not UTF-8 has no form in JSON."""
    if isinstance(value, str):
        return value.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
    if isinstance(value, list):
        return [_encodable(item) for item in value]
    if isinstance(value, dict):
        return {cast(str, _encodable(key)): _encodable(item) for key, item in value.items()}
    return value
