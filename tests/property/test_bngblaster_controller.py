"""Any body, to any of the controller's requests: an answer that says what is wrong, and nothing else."""

from __future__ import annotations

import asyncio
import json
import tempfile
from pathlib import Path

from hypothesis import example, given, settings
from hypothesis import strategies as st

from bridle.agent.bngblaster.application import pages
from bridle.agent.bngblaster.controller import Controller
from bridle.agent.bngblaster.settings import ControllerSettings
from bridle.core.messages import LOCAL
from bridle.wire.http import HttpRequest, HttpResponse

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)
MEMBERS = st.sampled_from(
    ["command", "arguments", "report", "report_flags", "session_count", "stream_config", "logging_flags", "x"]
)
BODIES = st.one_of(
    st.binary(max_size=60),
    st.dictionaries(MEMBERS, VALUES, max_size=4).map(lambda value: json.dumps(value).encode()),
    VALUES.map(lambda value: json.dumps(value).encode()),
)
FORMS = st.one_of(
    st.binary(max_size=120),
    st.tuples(st.sampled_from(["file", "x"]), st.text(max_size=12), st.binary(max_size=20)).map(
        lambda parts: (
            b'--B\r\nContent-Disposition: form-data; name="%b"; filename="%b"\r\n\r\n%b\r\n--B--\r\n'
            % (parts[0].encode(), parts[1].encode("utf-8", "replace").replace(b'"', b""), parts[2])
        )
    ),
)


def answer(
    target: str, body: bytes, content_type: str = "application/json", method: str = "POST"
) -> HttpResponse:
    """The answer to a request about the instance ``t1``, which cannot be started."""

    async def ask() -> HttpResponse:
        with tempfile.TemporaryDirectory() as directory:
            controller = Controller(ControllerSettings(directory, ("/nowhere/bngblaster",), upload=True))
            folder = Path(directory, "t1")
            folder.mkdir()
            (folder / "config.json").write_text("{}")
            headers = {"content-type": content_type}
            request = HttpRequest(method, f"/api/v1/instances/t1{target}", "1.1", headers, body, False)
            response = await pages(controller).answer(request, LOCAL)
            assert isinstance(response, HttpResponse)
            assert [one.name for one in Path(directory).iterdir()] == ["t1"]
            controller.close()
            return response

    return asyncio.run(ask())


@settings(max_examples=150, deadline=None)
@given(BODIES)
@example(b'{"command": "x", "arguments": {"a": 1e999}}')
@example(b'{"command": "x", "arguments": {"a": 123456789012345678901234567890}}')
def test_any_command(body: bytes) -> None:
    response = answer("/_command", body)
    assert response.status in (400, 412)
    assert json.loads(response.body)["message"]


@settings(max_examples=150, deadline=None)
@given(BODIES)
def test_any_start(body: bytes) -> None:
    response = answer("/_start", body)
    assert response.status in (400, 500)
    message = json.loads(response.body)["message"]
    assert response.status == 400 or message.startswith("not able to start: ")


@settings(max_examples=150, deadline=None)
@given(FORMS, st.sampled_from(["multipart/form-data; boundary=B", "multipart/form-data", "text/plain"]))
def test_any_upload(body: bytes, content_type: str) -> None:
    assert answer("/_upload", body, content_type).status in (200, 400, 413)


@settings(max_examples=100, deadline=None)
@given(BODIES)
def test_any_configuration_is_kept_as_it_came(body: bytes) -> None:
    assert answer("", body, method="PUT").status == (204 if body else 400)
