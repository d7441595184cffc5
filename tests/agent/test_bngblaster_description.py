"""``/openapi.json`` is OpenAPI 3.1, and tells of every request that is understood."""

from __future__ import annotations

import json
import re
from pathlib import Path

from openapi_spec_validator import validate

from bridle.agent.bngblaster.description import describe
from bridle.agent.bngblaster.operations import OPERATIONS
from tests.support.controller import controller
from tests.support.loops import on_every_loop
from tests.support.programs import ROOT


def test_it_is_openapi() -> None:
    validate(describe())


def test_every_operation_is_described() -> None:
    paths = describe()["paths"]
    assert isinstance(paths, dict)
    described = {(path, method) for path, item in paths.items() for method in item}  # type: ignore[union-attr]
    assert described == {(one.path, one.method.lower()) for one in OPERATIONS}
    assert len({one.name for one in OPERATIONS}) == len(OPERATIONS)


def test_every_operation_stands_in_the_documentation() -> None:
    text = (ROOT / "docs" / "bngblaster.md").read_text("utf-8")
    for operation in OPERATIONS:
        last = re.sub(r"\{file_name\}", "FILE", operation.path.rpartition("/")[2])
        assert last in text or last == "{instance_name}", operation.path


@on_every_loop
async def test_it_is_served(short_path: Path) -> None:
    async with controller(short_path) as front:
        reply = await front.ask("/openapi.json")
        assert reply.headers["content-type"] == "application/json"
        assert json.loads(reply.body) == json.loads(json.dumps(describe()))


@on_every_loop
async def test_what_is_answered_is_what_is_described(short_path: Path) -> None:
    """The status of each answer in a life of an instance stands in its description."""
    paths = json.loads(json.dumps(describe()))["paths"]

    def told(path: str, method: str) -> set[str]:
        return set(paths[path][method]["responses"])

    instance = "/api/v1/instances/{instance_name}"
    async with controller(short_path, upload=True) as front:
        for what, method, body in (
            ("", "PUT", b"{}"),
            ("", "PUT", b""),
            ("", "GET", b""),
            ("_start", "POST", b"{}"),
            ("_start", "POST", b"{}"),
            ("_start", "POST", b"x"),
            ("_command", "POST", b'{"command": "x"}'),
            ("_upload", "POST", b"x"),
            ("", "DELETE", b""),
            ("_stop", "POST", b""),
            ("_kill", "POST", b""),
        ):
            for name in ("t1", "nope", "a.b"):
                if name == "nope" and method == "PUT":
                    continue
                reply = await front.of(name, what, method=method, body=body)
                path = f"{instance}/{what}" if what else instance
                assert str(reply.status) in told(path, method.lower()), (name, what, method, reply.status)
