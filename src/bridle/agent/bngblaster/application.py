"""The controller as an ASGI application, and its place in the agent."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

import msgspec
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from bridle.agent.bngblaster.controller import Controller
from bridle.agent.bngblaster.description import describe
from bridle.agent.bngblaster.guarding import perform_guarded
from bridle.agent.bngblaster.operations import DESCRIPTION, OPERATIONS, Operation, answer_json
from bridle.agent.bngblaster.refusal import Refusal, not_found
from bridle.server.asgi import AsgiPages

if TYPE_CHECKING:
    from bridle.access.guard import Guard

__all__ = ["PATHS", "pages"]

PATHS = ("/api/v1", "/metrics", "/openapi.json")


def pages(controller: Controller, guard: Callable[[], Guard | None] = lambda: None) -> AsgiPages:
    """The controller's paths. Each request passes the ``guard`` that there is then."""
    description = describe()

    async def openapi(controller: Controller, request: Request) -> Response:
        return answer_json(description)

    operations = [*OPERATIONS, msgspec.structs.replace(DESCRIPTION, perform=openapi)]
    routes = [
        Route(one.path, _endpoint(controller, one, guard), methods=[one.method], name=one.name)
        for one in operations
    ]
    handlers = {Refusal: _refused, HTTPException: _without_route}
    application = Starlette(routes=routes, exception_handlers=handlers)  # type: ignore[arg-type]
    # A slash more or less is another path, as it is in the original.
    application.router.redirect_slashes = False
    return AsgiPages(application, PATHS)


def _endpoint(
    controller: Controller, operation: Operation, guard: Callable[[], Guard | None]
) -> Callable[[Request], Awaitable[Response]]:
    async def endpoint(request: Request) -> Response:
        there = guard()
        if there is None:
            return await operation.perform(controller, request)
        return await perform_guarded(there, operation, controller, request)

    return endpoint


async def _refused(request: Request, refusal: Refusal) -> Response:
    """A refusal in the original's two forms."""
    if refusal.plain:
        content, kind = refusal.text.encode("utf-8", "backslashreplace"), "text/plain; charset=utf-8"
    else:
        content = msgspec.json.encode({"message": refusal.text})
        kind = "application/json; charset=utf-8"
    headers = {"Content-Type": kind, "X-Content-Type-Options": "nosniff"}
    if refusal.wait:
        headers["Retry-After"] = str(max(1, math.ceil(refusal.wait)))
    return Response(content + b"\n", refusal.status, headers)


async def _without_route(request: Request, error: HTTPException) -> Response:
    """No route has this path, or not with this method; the original says no more than that, either."""
    if error.status_code == 404:
        return await _refused(request, Refusal(404, not_found().text, plain=True))
    headers = dict(error.headers or {})
    if "Allow" in headers:
        headers["Allow"] = ", ".join(sorted(headers["Allow"].split(", ")))
    return Response(status_code=error.status_code, headers=headers)
