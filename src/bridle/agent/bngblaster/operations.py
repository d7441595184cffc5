"""The controller's operations: what each request does, and what the description says of it.

One table: the routes of the application and ``/openapi.json`` are both made of it.
"""

from __future__ import annotations

import signal
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeAlias, TypeVar

import msgspec
from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from bridle.agent.bngblaster.controller import Controller
from bridle.agent.bngblaster.files import file_response
from bridle.agent.bngblaster.host import interfaces, versions
from bridle.agent.bngblaster.instance import Instance
from bridle.agent.bngblaster.metrics import collect
from bridle.agent.bngblaster.names import SERVED_FILES, check_upload
from bridle.agent.bngblaster.refusal import Refusal, not_found
from bridle.agent.bngblaster.start import StartRequest
from bridle.core.messages import JSON
from bridle.wire.prometheus_text import CONTENT_TYPE

__all__ = ["DESCRIPTION", "OPERATIONS", "SERVICE", "CommandRequest", "Operation", "answer_json", "create"]

JSON_TYPE = "application/json"
SERVICE = "bngblaster-controller"
"""The service that the operations belong to, for roles."""

_T = TypeVar("_T")
Perform: TypeAlias = Callable[[Controller, Request], Awaitable[Response]]

_INSTANCE = "/api/v1/instances/{instance_name}"
_NOT_FOUND = (404, "There is no such instance.")
_BAD_NAME = (400, "There can be no instance of this name, or the body is not what is expected.")
_RUNNING = (412, "The instance is running.")
_FAILED = (500, "It could not be done; the message says why.")


class CommandRequest(msgspec.Struct, frozen=True):
    """A command for the control socket of an instance."""

    command: str = ""
    arguments: dict[str, JSON] | None = None


class Operation(msgspec.Struct, frozen=True, kw_only=True):
    """A request that is understood: what it does, and what the description tells of it.

    ``command`` is what roles, limits and the audit know it as: a command of the service ``SERVICE``.

    ``body`` is the content type of what it takes, and what that is; ``success`` the status, the text and the
    content type of what it gives.
    """

    method: str
    path: str
    name: str
    command: str
    summary: str
    perform: Perform
    writes: bool = False
    body: tuple[str, str] | None = None
    success: tuple[int, str, str] = (200, "", JSON_TYPE)
    refusals: Sequence[tuple[int, str]] = ()


def answer_json(value: JSON, status: int = 200) -> Response:
    """A value as the original writes it: compact, with a newline."""
    return Response(msgspec.json.encode(value) + b"\n", status, media_type=JSON_TYPE)


def _decode(body: bytes, kind: type[_T]) -> _T:
    """Read a body.

    Raises:
        Refusal: it is not what is expected; in the words of the original, where there are some.
    """
    if not body.strip():
        raise Refusal(400, "EOF")
    try:
        # What is null is what was left out, as the original has it.
        return msgspec.json.decode(b"{}" if body.strip() == b"null" else body, type=kind)
    except msgspec.ValidationError as error:
        raise Refusal(400, str(error)) from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        cut_off = "truncated" in str(error)
        raise Refusal(400, "unexpected EOF" if cut_off else f"the body is no JSON: {error}") from error


def _instance(controller: Controller, request: Request) -> Instance:
    return controller.instance(request.path_params["instance_name"])


async def _version(controller: Controller, request: Request) -> Response:
    return answer_json(await versions(controller.settings.executable))


async def _interfaces(controller: Controller, request: Request) -> Response:
    told: list[JSON] = [*interfaces()]
    return answer_json(told)


async def _instances(controller: Controller, request: Request) -> Response:
    names: list[JSON] = [*controller.names()]
    return answer_json(names)


async def _status(controller: Controller, request: Request) -> Response:
    instance = _instance(controller, request)
    instance.check()
    return answer_json({"status": "started" if instance.runs else "stopped"})


async def create(
    controller: Controller, request: Request, complete: Callable[[bytes], bytes] | None = None
) -> Response:
    """Make an instance, or give one another configuration: of what was sent, what ``complete`` makes of it.

    Raises:
        Refusal: it cannot be made.
    """
    instance = _instance(controller, request)
    configuration = await request.body()
    if not configuration:
        raise Refusal(400, "body not readable", plain=True)
    return Response(status_code=201 if await instance.create(configuration, complete) else 204)


async def _delete(controller: Controller, request: Request) -> Response:
    instance = _instance(controller, request)
    await instance.delete()
    controller.names()  # forgets it
    return Response(status_code=204)


async def _start(controller: Controller, request: Request) -> Response:
    instance = _instance(controller, request)
    instance.check()
    wanted = _decode(await request.body(), StartRequest)
    await instance.start(controller.settings.executable, wanted)
    return Response(status_code=204)


async def _stop(controller: Controller, request: Request) -> Response:
    _instance(controller, request).signal(signal.SIGINT)
    return Response(status_code=202)


async def _kill(controller: Controller, request: Request) -> Response:
    _instance(controller, request).signal(signal.SIGKILL)
    return Response(status_code=202)


async def _command(controller: Controller, request: Request) -> Response:
    instance = _instance(controller, request)
    instance.check()
    wanted = _decode(await request.body(), CommandRequest)
    answer = await instance.command(wanted.command, wanted.arguments)
    return Response(answer, _status_of(answer), media_type=JSON_TYPE)


class _Coded(msgspec.Struct):
    code: int = 200


def _status_of(answer: bytes) -> int:
    """The HTTP status of an answer: its own code."""
    try:
        code = msgspec.json.decode(answer, type=_Coded).code
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Refusal(502, f"the instance's answer has no code: {error}") from error
    if not 200 <= code <= 599:
        raise Refusal(502, f"the instance's answer has the code {code}, which is no status")
    return code


async def _upload(controller: Controller, request: Request) -> Response:
    instance = _instance(controller, request)
    if not instance.folder.exists:
        raise Refusal(404, "instance not found", plain=True)
    if not controller.settings.upload:
        raise Refusal(403, "forbidden", plain=True)
    content_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if content_type != "multipart/form-data":
        raise Refusal(413, "error parsing multipart form", plain=True)
    try:
        async with request.form(max_files=1, max_fields=16) as form:
            file = form.get("file")
            if not isinstance(file, UploadFile) or not file.filename:
                raise Refusal(400, "error retrieving file", plain=True)
            check_upload(file.filename)
            await instance.upload(file.filename, await file.read())
    except HTTPException as error:
        raise Refusal(413, "error parsing multipart form", plain=True) from error
    return Response()


async def _file(controller: Controller, request: Request) -> Response:
    name = request.path_params["file_name"]
    content_type = SERVED_FILES.get(name)
    try:
        if content_type is None:
            raise FileNotFoundError(name)
        descriptor = _instance(controller, request).folder.open(name)
    except OSError as error:
        raise Refusal(404, not_found().text, plain=True) from error
    return file_response(request, descriptor, content_type)


async def _described(controller: Controller, request: Request) -> Response:
    raise not_found()


async def _metrics(controller: Controller, request: Request) -> Response:
    return Response(await collect(controller), headers={"Content-Type": CONTENT_TYPE})


OPERATIONS: Sequence[Operation] = (
    Operation(
        method="GET",
        path="/metrics",
        name="metrics",
        command="instance-metrics",
        summary="Counters of the running instances, in Prometheus' text format.",
        perform=_metrics,
        success=(200, "Those that the start of each instance asked for by metric_flags.", "text/plain"),
    ),
    Operation(
        method="GET",
        path="/api/v1/version",
        name="version",
        command="controller-version",
        summary="The versions of the controller and of bngblaster.",
        perform=_version,
        success=(200, "What bngblaster does not tell is NA.", JSON_TYPE),
    ),
    Operation(
        method="GET",
        path="/api/v1/interfaces",
        name="interfaces",
        command="controller-interfaces",
        summary="The network interfaces of the host.",
        perform=_interfaces,
        success=(200, "In the kernel's order.", JSON_TYPE),
    ),
    Operation(
        method="GET",
        path="/api/v1/instances",
        name="instances",
        command="instance-list",
        summary="The names of the instances.",
        perform=_instances,
        success=(200, "In order.", JSON_TYPE),
    ),
    Operation(
        method="GET",
        path=_INSTANCE,
        name="status",
        command="instance-status",
        summary="Whether an instance runs.",
        perform=_status,
        success=(200, "started or stopped.", JSON_TYPE),
        refusals=(_BAD_NAME, _NOT_FOUND),
    ),
    Operation(
        method="PUT",
        path=_INSTANCE,
        name="create",
        command="instance-create",
        summary="Create an instance, or give it another configuration. What a run has left is removed.",
        perform=create,
        writes=True,
        body=(JSON_TYPE, "The configuration, as bngblaster reads it; it is looked at by the start."),
        success=(201, "It is new; 204 where there was one.", ""),
        refusals=(_BAD_NAME, _RUNNING, _FAILED),
    ),
    Operation(
        method="DELETE",
        path=_INSTANCE,
        name="delete",
        command="instance-delete",
        summary="Delete an instance with all its files.",
        perform=_delete,
        writes=True,
        success=(204, "It is gone.", ""),
        refusals=(_BAD_NAME, _NOT_FOUND, _RUNNING, _FAILED),
    ),
    Operation(
        method="POST",
        path=f"{_INSTANCE}/_start",
        name="start",
        command="instance-start",
        summary="Start an instance, and wait until it can be asked.",
        perform=_start,
        writes=True,
        body=(JSON_TYPE, "How it is to run."),
        success=(204, "It runs.", ""),
        refusals=(_BAD_NAME, _NOT_FOUND, _RUNNING, (500, "It did not start: with what it wrote to stderr.")),
    ),
    Operation(
        method="POST",
        path=f"{_INSTANCE}/_stop",
        name="stop",
        command="instance-stop",
        summary="End all sessions of an instance, and then the instance (SIGINT).",
        perform=_stop,
        writes=True,
        success=(202, "It was told to, if it runs.", ""),
        refusals=(_BAD_NAME, _NOT_FOUND, _FAILED),
    ),
    Operation(
        method="POST",
        path=f"{_INSTANCE}/_kill",
        name="kill",
        command="instance-kill",
        summary="End an instance at once (SIGKILL).",
        perform=_kill,
        writes=True,
        success=(202, "It is ended, if it runs.", ""),
        refusals=(_BAD_NAME, _NOT_FOUND, _FAILED),
    ),
    Operation(
        method="POST",
        path=f"{_INSTANCE}/_command",
        name="command",
        command="instance-command",
        summary="Give a command to the control socket of an instance.",
        perform=_command,
        writes=True,
        body=(JSON_TYPE, "The command and its arguments."),
        success=(200, "The answer as it came. Its code is the status, whichever that is.", JSON_TYPE),
        refusals=(
            _BAD_NAME,
            _NOT_FOUND,
            (412, "The instance is not running."),
            _FAILED,
            (502, "The answer is none."),
            (504, "There was no answer in time."),
        ),
    ),
    Operation(
        method="POST",
        path=f"{_INSTANCE}/_upload",
        name="upload",
        command="instance-upload",
        summary="Put a file into the folder of an instance, where uploads are allowed.",
        perform=_upload,
        writes=True,
        body=(
            "multipart/form-data",
            "The file, in the field file; its name has no path.",
        ),
        success=(200, "It is there.", ""),
        refusals=(
            (400, "There is no file, or it cannot have this name."),
            (403, "Uploads are not allowed."),
            _NOT_FOUND,
            (413, "The body is too large, or no form."),
            _FAILED,
        ),
    ),
    Operation(
        method="GET",
        path=f"{_INSTANCE}/{{file_name}}",
        name="file",
        command="instance-file",
        summary="A file of an instance: its configuration, or what a run has written.",
        perform=_file,
        success=(200, "The file; 206 a range of it, 304 where it has not been modified.", "*/*"),
        refusals=(_BAD_NAME, (404, "There is no such instance or file."), (416, "There is no such range.")),
    ),
)

DESCRIPTION = Operation(
    method="GET",
    path="/openapi.json",
    name="openapi",
    command="controller-description",
    summary="All of this in OpenAPI 3.1.",
    perform=_described,
)
"""The description itself, which is not described. Whoever has it puts what gives it in the place of its
``perform``."""
