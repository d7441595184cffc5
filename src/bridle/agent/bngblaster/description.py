"""``/openapi.json``: the controller in OpenAPI 3.1, made of the table of operations."""

from __future__ import annotations

from typing import Any

import msgspec

from bridle.agent.bngblaster.metrics import METRIC_FLAGS
from bridle.agent.bngblaster.names import SERVED_FILES
from bridle.agent.bngblaster.operations import OPERATIONS, CommandRequest, Operation
from bridle.agent.bngblaster.start import StartRequest
from bridle.core.messages import JSON
from bridle.core.version import VERSION

__all__ = ["describe"]

_Map = dict[str, JSON]


def describe() -> _Map:
    """The description."""
    paths: dict[str, JSON] = {}
    for operation in OPERATIONS:
        path = paths.setdefault(operation.path, {})
        assert isinstance(path, dict)
        path[operation.method.lower()] = _operation(operation)
    info: _Map = {
        "title": "BNG Blaster controller",
        "version": VERSION,
        "summary": "Instances of bngblaster: created, started, asked, stopped.",
        "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
    }
    schemas: _Map = {"Message": _object({"message": {"type": "string"}}, "message"), **_schemas()}
    return {
        "openapi": "3.1.0",
        "info": info,
        "paths": paths,
        "components": {
            "schemas": schemas,
            "securitySchemes": {"basic": {"type": "http", "scheme": "basic"}},
        },
        # Whether a name is asked for is the agent's configuration.
        "security": [{"basic": []}, {}],
    }


def _schemas() -> _Map:
    def component(kind: type[msgspec.Struct]) -> Any:
        return msgspec.json.schema(kind)["$defs"][kind.__name__]

    start, command = component(StartRequest), component(CommandRequest)
    start["properties"]["metric_flags"]["anyOf"][0]["items"] = {"type": "string", "enum": [*METRIC_FLAGS]}
    command["required"] = ["command"]
    return {
        "Start": start,
        "Command": command,
        "Status": _object({"status": {"type": "string", "enum": ["started", "stopped"]}}, "status"),
        "Names": {"type": "array", "items": {"type": "string"}},
        "Interfaces": {
            "type": "array",
            "items": _object(
                {
                    "name": {"type": "string"},
                    "mtu": {"type": "integer"},
                    "flags": {"type": "array", "items": {"type": "string"}},
                    "mac": {"type": "string"},
                },
                "name",
                "mtu",
                "flags",
                "mac",
            ),
        },
        "Versions": _object(
            {
                "bngblasterctrl-version": {"type": "string"},
                "bngblaster-version": {"type": "string"},
                "bngblaster-compiler": {"type": "string"},
                "bngblaster-io-modes": {"type": "array", "items": {"type": "string"}},
            },
            "bngblasterctrl-version",
            "bngblaster-version",
        ),
        "Answer": _object(
            {
                "status": {"type": "string"},
                "code": {"type": "integer"},
                "message": {"type": "string"},
            },
            "status",
            "code",
        ),
        "File": _object({"file": {"type": "string", "format": "binary"}}, "file"),
    }


_GIVEN = {
    "version": "Versions",
    "interfaces": "Interfaces",
    "instances": "Names",
    "status": "Status",
    "command": "Answer",
}
_TAKEN = {"start": "Start", "command": "Command", "upload": "File"}


def _object(properties: dict[str, Any], *required: str) -> _Map:
    return {"type": "object", "properties": properties, "required": [*required]}


def _reference(schema: str | None) -> _Map:
    return {} if schema is None else {"$ref": f"#/components/schemas/{schema}"}


def _operation(operation: Operation) -> _Map:
    status, text, content_type = operation.success
    success: _Map = {"description": text or "Done."}
    if content_type:
        schema = _reference(_GIVEN.get(operation.name))
        success["content"] = {content_type: {"schema": schema or {"type": "string"}}}
    responses: _Map = {str(status): success}
    if operation.name == "create":
        responses["204"] = {"description": "It had a configuration, and has another now."}
    for code, why in operation.refusals:
        # Some of them are plain text, as in the original.
        content: _Map = {
            "application/json": {"schema": _reference("Message")},
            "text/plain": {"schema": {"type": "string"}},
        }
        responses[str(code)] = {"description": why, "content": content}
    described: _Map = {
        "operationId": operation.name,
        "summary": operation.summary,
        "responses": responses,
        # What an operation of the agent is said to be, for whoever may read only.
        "x-access": "write" if operation.writes else "read",
        # What roles and the audit know it as.
        "x-command": operation.command,
    }
    parameters = [
        _parameter(name) for name in ("instance_name", "file_name") if f"{{{name}}}" in operation.path
    ]
    if parameters:
        described["parameters"] = [*parameters]
    if operation.body is not None:
        kind, what = operation.body
        schema = _reference(_TAKEN.get(operation.name)) or {"type": "object"}
        described["requestBody"] = {
            "required": True,
            "description": what,
            "content": {kind: {"schema": schema}},
        }
    return described


def _parameter(name: str) -> _Map:
    schema: _Map = {"type": "string"}
    if name == "file_name":
        schema["enum"] = [*SERVED_FILES]
    else:
        schema.update({"minLength": 1, "maxLength": 63, "pattern": r"^[^./\\]+$"})
    return {"name": name, "in": "path", "required": True, "schema": schema}
