"""``option-data`` and ``option-def`` of a configuration."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from typing import Any

from bridle.bundled.dhcp.grammar import Path, Reader
from bridle.bundled.dhcp.grammars import OPTION, OPTION_DEFINITION
from bridle.bundled.dhcp.option_formats import TYPES, Definition, Definitions, OptionError, encode_option
from bridle.bundled.dhcp.settings import Option, OptionMap
from bridle.core.messages import JSON

__all__ = ["context_of", "read_definitions", "read_options"]

# The spaces of options of which each begins with the vendor's number: DHCPv4's 125, DHCPv6's 17.
_VENDOR_OPTIONS = {4: 125, 6: 17}
_LIMIT = {4: 254, 6: 65535}


def read_definitions(
    reader: Reader, whole: Mapping[str, JSON], path: Path, protocol: int
) -> tuple[list[Definition], list[JSON]]:
    """The option definitions of a scope, and how ``config-get`` tells them.

    Raises:
        ConfigurationError: with the position.
    """
    found: list[Definition] = []
    described: list[JSON] = []
    for index, item in enumerate(reader.maps(whole, "option-def", OPTION_DEFINITION, path)):
        where = [*path, "option-def", index]
        for key in ("name", "code", "type"):
            if key not in item:
                raise reader.error(f"missing parameter '{key}'", where)
        kind = item["type"]
        records = tuple(part.strip() for part in item.get("record-types", "").split(",") if part.strip())
        for name in (kind, *records):
            if name not in TYPES or name in ("internal", *(("record",) if name in records else ())):
                raise reader.error(f"invalid option type '{name}'", [*where, "type"])
        if (kind == "record") != bool(records):
            raise reader.error("a record has 'record-types', and nothing else has", where)
        space = item.get("space", f"dhcp{protocol}")
        if not 0 < item["code"] <= _LIMIT[protocol]:
            raise reader.error(f"option code {item['code']} is out of range", [*where, "code"])
        one = Definition(
            item["name"],
            item["code"],
            space,
            kind,
            item.get("array", False),
            records,
            item.get("encapsulate", ""),
        )
        found.append(one)
        described.append(
            {
                "array": one.array,
                "code": one.code,
                "encapsulate": one.encapsulate,
                "name": one.name,
                "record-types": ", ".join(records),
                "space": space,
                "type": kind,
                **context_of(item),
            }
        )
    return found, described


def read_options(
    reader: Reader, whole: Mapping[str, JSON], path: Path, protocol: int, definitions: Definitions
) -> tuple[OptionMap, list[JSON]]:
    """The options of a scope as they go out, and how ``config-get`` tells them.

    Raises:
        ConfigurationError: with the position.
    """
    given = reader.maps(whole, "option-data", OPTION, path)
    if not given:
        return {}, []
    spaces: dict[str, dict[int, Option]] = {}
    described: list[JSON] = []
    top = f"dhcp{protocol}"
    for index, item in enumerate(given):
        where = [*path, "option-data", index]
        space = item.get("space", top)
        definition = _definition(reader, item, space, where, protocol, definitions)
        code = definition.code if definition is not None else item["code"]
        csv_format = item.get("csv-format", definition is not None)
        data = item.get("data", "")
        try:
            encoded = encode_option(definition, data, csv_format)
        except OptionError as error:
            raise reader.error(str(error), [*where, "data"] if "data" in item else where) from error
        spaces.setdefault(space, {})[code] = Option(code, encoded, item.get("always-send", False))
        described.append(
            {
                "always-send": item.get("always-send", False),
                "code": code,
                "csv-format": csv_format,
                "data": data if csv_format else encoded.hex().upper(),
                **({"name": definition.name} if definition is not None else {}),
                "space": space,
                **context_of(item),
            }
        )
    return _with_sub_options(spaces, top, protocol, definitions), described


def _definition(
    reader: Reader, item: Mapping[str, Any], space: str, where: Path, protocol: int, known: Definitions
) -> Definition | None:
    if "name" not in item and "code" not in item:
        raise reader.error("option data configuration requires one of 'code' or 'name' parameters", where)
    code = item.get("code")
    definition = known.by_code(space, code) if code is not None else None
    if code is not None and not 0 < code <= _LIMIT[protocol]:
        raise reader.error(f"option code {code} is out of range", [*where, "code"])
    if "name" in item and definition is None:
        definition = known.by_name(space, item["name"])
        if definition is None and (code is None or item.get("csv-format", False)):
            text = (
                f"definition for the option '{space}.{item['name']}' having code '{code or 0}' does not exist"
            )
            raise reader.error(text, [*where, "name"])
    if definition is None and item.get("csv-format", False):
        text = f"definition for the option '{space}.' having code '{code}' does not exist"
        raise reader.error(text, [*where, "code"])
    return definition


def _with_sub_options(
    spaces: Mapping[str, Mapping[int, Option]], top: str, protocol: int, definitions: Definitions
) -> OptionMap:
    """The options of the protocol's own space, each with those of the space that it encapsulates inside."""
    found: dict[int, Option] = {}
    for code, option in spaces.get(top, {}).items():
        definition = definitions.by_code(top, code)
        inner = definition.encapsulate if definition is not None else ""
        if inner and inner in spaces:
            data = option.data + _pack(spaces[inner].values(), protocol)
            option = Option(code, data, option.always_send)
        elif code == _VENDOR_OPTIONS[protocol] and len(option.data) >= 4:
            option = _vendor(option, spaces, protocol)
        found[code] = option
    return found


def _vendor(option: Option, spaces: Mapping[str, Mapping[int, Option]], protocol: int) -> Option:
    inner = spaces.get(f"vendor-{int.from_bytes(option.data[:4], 'big')}", {})
    packed = _pack(inner.values(), protocol)
    head = bytes([len(packed)]) if protocol == 4 and len(option.data) == 4 else b""
    return Option(option.code, option.data + head + packed, option.always_send)


def _pack(options: Any, protocol: int) -> bytes:
    form = "!BB" if protocol == 4 else "!HH"
    return b"".join(struct.pack(form, one.code, len(one.data)) + one.data for one in options)


def context_of(item: Mapping[str, Any]) -> dict[str, JSON]:
    """``user-context``, with a comment inside as Kea has it."""
    context = dict(item.get("user-context", {}))
    if "comment" in item:
        context["comment"] = item["comment"]
    return {"user-context": context} if context else {}
