"""``option-data`` and ``option-def`` of a configuration."""

from __future__ import annotations

import re
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
_LAST = {4: 255, 6: 65535}
_RESERVED = {0: "PAD", 255: "END"}
_VENDOR_SPACE = re.compile(r"vendor-(\d+)")
_NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9_-]*[A-Za-z0-9])?")


def read_definitions(
    reader: Reader, whole: Mapping[str, JSON], path: Path, protocol: int
) -> tuple[list[Definition], list[JSON]]:
    """The option definitions of a scope, and how ``config-get`` tells them.

    Raises:
        ConfigurationError: with the position.
    """
    found: list[Definition] = []
    described: list[dict[str, Any]] = []
    for index, item in enumerate(reader.maps(whole, "option-def", OPTION_DEFINITION, path)):
        where = [*path, "option-def", index]
        one = _read_definition(reader, item, where, protocol)
        for other in found:
            for key, same in (("code", one.code == other.code), ("name", one.name == other.name)):
                if same and one.space == other.space:
                    text = f"option definition with {key} '{getattr(one, key)}' already exists"
                    raise reader.error(f"{text} in option space '{one.space}'", where)
        found.append(one)
        described.append(
            {
                "array": one.array,
                "code": one.code,
                "encapsulate": one.encapsulate,
                "name": one.name,
                "record-types": ", ".join(one.record_types),
                "space": one.space,
                "type": one.type,
                **context_of(item),
            }
        )
    described.sort(key=lambda one: one["space"])
    return found, [*described]


def _read_definition(reader: Reader, item: Mapping[str, Any], where: Path, protocol: int) -> Definition:
    for key in ("name", "code", "type"):
        if key not in item:
            raise reader.error(f"missing parameter '{key}'", where)
    kind = item["type"]
    records = tuple(part.strip() for part in item.get("record-types", "").split(",") if part.strip())
    for name in (kind, *records):
        if name not in TYPES or name in ("internal", *(("record",) if name in records else ())):
            raise reader.error(f"invalid option type '{name}'", [*where, "type"])
    top = f"dhcp{protocol}"
    space, array = item.get("space", top), item.get("array", False)
    encapsulate = item.get("encapsulate", "")
    label = f"{space}.{item['name']}"
    if kind == "record" and len(records) < 2:
        text = f"invalid number of data fields: {len(records)} specified for the option of type 'record'. "
        raise reader.error(f"{text}Expected at least 2 fields.", where)
    if kind != "record" and records:
        text = f"'record' option type must be used instead of '{kind}' to add data fields to the record"
        raise reader.error(f"invalid record type values specified for the option definition: {text}", where)
    if array and kind == "string":
        raise reader.error("array of strings is not a valid option definition.", where)
    if not _NAME.fullmatch(item["name"]):
        raise reader.error(f"invalid option name '{item['name']}'", [*where, "name"])
    if encapsulate and array:
        text = "comprising an array of data fields may not encapsulate any option space"
        raise reader.error(f"option '{label}', {text}", where)
    if encapsulate == space:
        text = f"'{label}' is set to encapsulate '{space}'"
        raise reader.error(f"option must not encapsulate an option space it belongs to: {text}", where)
    _check_code(reader, item["code"], space, [*where, "code"], protocol)
    return Definition(item["name"], item["code"], space, kind, array, records, encapsulate)


def _check_code(reader: Reader, code: int, space: str, where: Path, protocol: int) -> None:
    # Only the protocol's own space has codes that are no options.
    own, last = space == f"dhcp{protocol}", _LAST[protocol]
    if code > last:
        raise reader.error(f"invalid option code '{code}', it must not be greater than '{last}'", where)
    if own and protocol == 4 and code in _RESERVED:
        raise reader.error(f"invalid option code '{code}': reserved for {_RESERVED[code]}", where)
    if code < int(own):
        raise reader.error(f"invalid option code '{code}'", where)


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
    described: list[dict[str, Any]] = []
    top = f"dhcp{protocol}"
    for index, item in enumerate(given):
        where = [*path, "option-data", index]
        space = item.get("space", top)
        definition = _definition(reader, item, space, where, protocol, definitions)
        code = definition.code if definition is not None else item["code"]
        data = item.get("data", "")
        csv_format = item.get("csv-format", True)
        try:
            encoded = _encode(definition, data, csv_format)
        except OptionError as error:
            text = f"option data does not match option definition (space: {space}, code: {code}): {error}"
            raise reader.error(text, [*where, "data"] if "data" in item else where) from error
        spaces.setdefault(space, {})[code] = Option(code, encoded, item.get("always-send", False))
        described.append(
            {
                "always-send": item.get("always-send", False),
                "code": code,
                "csv-format": csv_format and bool(data),
                "data": data if csv_format else encoded.hex().upper(),
                **({"name": definition.name} if definition is not None else {}),
                "space": space,
                **context_of(item),
            }
        )
    return _with_sub_options(spaces, top, protocol, definitions), [*sorted(described, key=_space_order)]


def _space_order(described: Mapping[str, Any]) -> tuple[bool, int, str]:
    """Where ``config-get`` tells an option: by its space, those of vendors last."""
    vendor = _VENDOR_SPACE.fullmatch(described["space"])
    return (False, 0, described["space"]) if vendor is None else (True, int(vendor[1]), "")


def _encode(definition: Definition | None, data: str, csv_format: bool) -> bytes:
    """Kea takes an option without data for a list of no values, where it is a list."""
    if csv_format and not data and definition is not None:
        number_list = definition.array and definition.type not in ("record", "fqdn", "tuple")
        if number_list or definition.type in ("binary", "empty"):
            return b""
        raise OptionError("no option value specified")
    return encode_option(definition, data, csv_format)


def _definition(
    reader: Reader, item: Mapping[str, Any], space: str, where: Path, protocol: int, known: Definitions
) -> Definition | None:
    if "name" not in item and "code" not in item:
        text = "option data configuration requires one of 'code' or 'name' parameters to be specified"
        raise reader.error(text, where)
    code, name = item.get("code"), item.get("name", "")
    if code is not None:
        _check_code(reader, code, space, [*where, "code"], protocol)
    definition = known.by_name(space, name) if code is None else known.by_code(space, code)
    if definition is None:
        # A name alone says nothing; a number is enough for data in hexadecimal digits.
        if code is None or item.get("csv-format", True):
            text = f"definition for the option '{space}.{name}' having code '{code or 0}' does not exist"
            raise reader.error(text, [*where, "name"] if name else where)
        return None
    if name and name != definition.name:
        text = f"'{name}' does not match the option definition: '{space}.{definition.name}'"
        raise reader.error(f"specified option name {text}", [*where, "name"])
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
    if "user-context" not in item and "comment" not in item:
        return {}
    context = dict(item.get("user-context", {}))
    if "comment" in item:
        context["comment"] = item["comment"]
    return {"user-context": context}
