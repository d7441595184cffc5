"""Who may do what with instances: each request passes the agent's guard as a command does.

It is the command that its operation names, of the service ``bngblaster-controller``. Its arguments are the
``instance``, the ``file`` that is asked for, and the members of a JSON body that says how to start, or what
to command. What is decided on is what is done: both have the names of the path as the router has read them,
and the last of two equal members.
"""

from __future__ import annotations

import functools
import os
from typing import TYPE_CHECKING

import msgspec
from starlette.requests import Request
from starlette.responses import Response as Answer

from bridle.agent.bngblaster.controller import Controller
from bridle.agent.bngblaster.names import CONFIGURATION, SERVED_FILES
from bridle.agent.bngblaster.operations import JSON_TYPE, SERVICE, Operation, create
from bridle.agent.bngblaster.refusal import Refusal
from bridle.core.errors import ArgumentError, ForbiddenError, RemoteProtocolError, TooManyError
from bridle.core.messages import JSON, Command, Response
from bridle.core.results import Result
from bridle.server.asgi import peer_of, request_id_of

if TYPE_CHECKING:
    from bridle.access.guard import Guard, Ticket

__all__ = ["perform_guarded"]

# Operations whose bodies say what is to be done; those of others are configurations and files.
_TELLING = frozenset({"start", "command"})
# Bytes of a file of JSON in which secrets are looked for, so that it can be shown: reports are smaller.
_MASKED_LIMIT = 32 * 1024 * 1024


async def perform_guarded(
    guard: Guard, operation: Operation, controller: Controller, request: Request
) -> Answer:
    """Do what a request asks for, if it is let in; its answer waits for the audit where it wrote.

    Raises:
        Refusal: it is not let in, or refused by the operation.
    """
    body = await request.body()
    command = _command(operation, request, body)
    ticket = guard.admit(command, service=SERVICE)
    if isinstance(ticket, Response):
        raise _refusal(ticket)
    try:
        refused = (await guard.intend(ticket) or guard.reconsider(ticket)) if ticket.writes else None
        if refused is not None:
            raise _refusal(refused)
        try:
            answer = await _perform(guard, ticket, operation, controller, request)
        except Refusal as refusal:
            await _settle(guard, ticket, refusal.status)
            raise
        await _settle(guard, ticket, answer.status_code)
    finally:
        guard.abandon(ticket)
    return answer


def _command(operation: Operation, request: Request, body: bytes) -> Command:
    arguments: dict[str, JSON] = {}
    if operation.name in _TELLING:
        try:
            members = msgspec.json.decode(body)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            members = None  # the operation says so
        arguments = members if isinstance(members, dict) else {}
    for key in ("instance", "file"):
        name = request.path_params.get(f"{key}_name")
        if name is not None:
            arguments[key] = name
    return Command(
        operation.command,
        arguments,
        peer_of(request.scope),
        (SERVICE,),
        request_id=request_id_of(request.scope),
        size=len(body),
    )


async def _perform(
    guard: Guard, ticket: Ticket, operation: Operation, controller: Controller, request: Request
) -> Answer:
    """What the operation answers, with its secrets masked for whoever may not read them."""
    if operation.perform is create and ticket.policy is not None:
        name = request.path_params["instance_name"]
        return await create(controller, request, functools.partial(_restored, guard, controller, name))
    if guard.shows_all(ticket):
        return await operation.perform(controller, request)
    file = request.path_params.get("file_name")
    if file is not None and SERVED_FILES.get(file) == JSON_TYPE:
        return _masked_file(guard, controller, request.path_params["instance_name"], file)
    answer = await operation.perform(controller, request)
    if file is None and answer.media_type == JSON_TYPE and answer.body:
        return _masked(guard, bytes(answer.body), answer.status_code)
    return answer


def _restored(guard: Guard, controller: Controller, instance: str, configuration: bytes) -> bytes:
    """A configuration that is sent, with the secrets of the one that is there in the places of their masks.

    Raises:
        Refusal: it is not clear which secret a mask stands for.
    """
    sent = Command("instance-create", msgspec.Raw(configuration))
    try:
        whole = guard.restored(sent, _held(controller, instance))
    except ArgumentError as error:
        raise Refusal(400, error.text) from error
    return configuration if whole is sent else msgspec.json.encode(whole.arguments)


def _held(controller: Controller, instance: str) -> JSON:
    """The configuration that is there; None where there is none that can be looked into."""
    try:
        with os.fdopen(controller.instance(instance).folder.open(CONFIGURATION), "rb") as opened:
            content = opened.read(_MASKED_LIMIT + 1)
        held: JSON = msgspec.json.decode(content) if len(content) <= _MASKED_LIMIT else None
    except (OSError, msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    return held


def _masked_file(guard: Guard, controller: Controller, instance: str, file: str) -> Answer:
    try:
        descriptor = controller.instance(instance).folder.open(file)
    except OSError as error:
        raise Refusal(404, "404 page not found", plain=True) from error
    with os.fdopen(descriptor, "rb") as opened:
        content = opened.read(_MASKED_LIMIT + 1)
    if len(content) > _MASKED_LIMIT:
        raise Refusal(403, f"{file} is too large to be shown without its secrets")
    return _masked(guard, content, 200)


def _masked(guard: Guard, content: bytes, status: int) -> Answer:
    try:
        shown = guard.redaction.masked_raw(msgspec.Raw(content))
    except (RemoteProtocolError, msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        text = "what cannot be looked into is not shown without the right to read secrets"
        raise Refusal(403, text) from error
    return Answer(bytes(shown), status, media_type=JSON_TYPE)


async def _settle(guard: Guard, ticket: Ticket, status: int) -> None:
    response = Response(Result.SUCCESS if status < 400 else Result.ERROR)
    if not ticket.writes:
        guard.settle(ticket, response)
        return
    shown = await guard.conclude(ticket, response)
    if shown.result != response.result:
        raise _refusal(shown)


def _refusal(response: Response) -> Refusal:
    """A refusal of the guard in the API's own form."""
    text, error = response.text or "", response.error
    if isinstance(error, ForbiddenError):
        return Refusal(error.status, text)
    if isinstance(error, TooManyError):
        return Refusal(429 if error.wait else 413, text, wait=error.wait)
    return Refusal(503, text)
