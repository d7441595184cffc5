"""Which daemon has which requests, commands as requests, and what daemons tell without being asked.

A command for one of Pacemaker's daemons becomes its native request here; one for any other daemon travels in
the form that all daemons of Bridle's own understand (:class:`GenericRequest`).
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import ClassVar, Literal

import msgspec
from msgspec import UNSET, Raw, Struct, UnsetType

from bridle.core.errors import RemoteProtocolError, UnknownCommandError
from bridle.core.manager import CommandDefinition
from bridle.core.messages import JSON, Command, Response
from bridle.wire import (
    pacemaker_attrd,
    pacemaker_based,
    pacemaker_controld,
    pacemaker_execd,
    pacemaker_fenced,
    pacemaker_pacemakerd,
    pacemaker_schedulerd,
)
from bridle.wire.pacemaker_messages import DAEMONS, create_request, data_of, integer
from bridle.wire.pacemaker_requests import Caller, FencerNodePurge, NodePurge, Request
from bridle.wire.pacemaker_xml import Xml, element

__all__ = [
    "ALL",
    "GenericRequest",
    "Notification",
    "daemon_of_service",
    "definitions",
    "read_notification",
    "request_of",
    "response_of",
    "route",
    "serves",
]

AnyRequest = Request[object]
RequestType = type[AnyRequest]

ALL = "pacemaker"
"""The service that stands for all daemons: each command goes to the one that has it."""

_REQUESTS: Mapping[str, tuple[type[Struct], ...]] = {
    "pacemakerd": (pacemaker_pacemakerd.LauncherPing, pacemaker_pacemakerd.Shutdown, NodePurge),
    "controld": (
        pacemaker_controld.ControllerPing,
        pacemaker_controld.NodeList,
        pacemaker_controld.NodeInfo,
        pacemaker_controld.Reprobe,
        pacemaker_controld.ResourceFail,
        pacemaker_controld.ResourceRefresh,
        NodePurge,
    ),
    "attrd": (
        pacemaker_attrd.AttributeQuery,
        pacemaker_attrd.AttributeUpdate,
        pacemaker_attrd.AttributeDelete,
        pacemaker_attrd.AttributeRefresh,
        pacemaker_attrd.AttributeClearFailures,
        pacemaker_attrd.AttributeNodePurge,
    ),
    "schedulerd": (pacemaker_schedulerd.Graph,),
    "based": (
        pacemaker_based.CibQuery,
        pacemaker_based.CibCreate,
        pacemaker_based.CibModify,
        pacemaker_based.CibReplace,
        pacemaker_based.CibDelete,
        pacemaker_based.CibBump,
        pacemaker_based.CibErase,
        pacemaker_based.CibApplyDiff,
        pacemaker_based.CibUpgrade,
    ),
    "fenced": (
        pacemaker_fenced.FencingDevices,
        pacemaker_fenced.FencingHistory,
        pacemaker_fenced.FencingHistoryCleanup,
        pacemaker_fenced.Fence,
        pacemaker_fenced.FencingConfirm,
        pacemaker_fenced.FencingDeviceAdd,
        pacemaker_fenced.FencingDeviceRemove,
        pacemaker_fenced.FencingLevelAdd,
        pacemaker_fenced.FencingLevelRemove,
        FencerNodePurge,
    ),
    "execd": (
        pacemaker_execd.ResourceInfo,
        pacemaker_execd.ResourceAdd,
        pacemaker_execd.ResourceRemove,
        pacemaker_execd.ResourceExecute,
        pacemaker_execd.ResourceCancel,
    ),
}


class AnyPing(AnyRequest, frozen=True):
    """Ask the launcher, this node's controller or another's, or the one that leads the cluster, for its
    state."""

    command: ClassVar[str] = "ping"
    access: ClassVar[Literal["read", "write"]] = "read"

    subsystem: Literal["pacemakerd", "crmd", "dc"] = "pacemakerd"
    node: str | None = None


# Which daemon is meant where several have a command, and none is named.
_FIRST = ("pacemakerd", "controld", "attrd", "schedulerd", "based", "fenced", "execd")
_SUBSYSTEMS = {
    "pacemakerd": "pacemakerd",
    "crmd": "controld",
    "dc": "controld",
    "attrd": "attrd",
    "stonith-ng": "fenced",
}
_known: dict[str, Mapping[str, CommandDefinition]] = {}


def daemon_of_service(service: str) -> str | None:
    """The daemon that listens under this name; None where it is none of Pacemaker's."""
    if service in ("cib_ro", "cib_shm"):
        return "based"
    return next((daemon for daemon, (name, _) in DAEMONS.items() if name == service), None)


def definitions(daemon: str) -> Mapping[str, CommandDefinition]:
    """The commands of a daemon, or of :data:`ALL`, by their names."""
    if daemon not in _known:
        if daemon == ALL:
            merged: dict[str, CommandDefinition] = {}
            for name in _FIRST:
                for command, definition in definitions(name).items():
                    merged.setdefault(command, definition)
            merged[AnyPing.command] = _define(AnyPing)
            _known[ALL] = MappingProxyType(merged)
        else:
            _known[daemon] = MappingProxyType({one.name: one for one in map(_define, _REQUESTS[daemon])})
    return _known[daemon]


def _define(request: type[Struct]) -> CommandDefinition:
    assert issubclass(request, Request)
    return CommandDefinition(request.command, request, request.access)


def route(command: Command) -> str:
    """The daemon that a command for all of them goes to: the one that its ``subsystem`` names, the first that
    has it otherwise.

    Raises:
        UnknownCommandError: none has it.
    """
    able = [daemon for daemon in _FIRST if command.name in definitions(daemon)]
    if not able:
        raise _unknown(command.name)
    arguments = command.arguments
    if isinstance(arguments, dict):
        named = _SUBSYSTEMS.get(str(arguments.get("subsystem")))
        if named in able:
            return named
        if command.name == "ping" and "node" in arguments:
            return "controld"
    return "controld" if command.name == NodePurge.command else able[0]


def serves(daemon: str, request: AnyRequest) -> bool:
    """Whether a daemon takes requests of this kind."""
    return type(request) in _REQUESTS[daemon]


def request_of(daemon: str, command: Command) -> AnyRequest:
    """The request that a command is, to one of Pacemaker's daemons.

    Raises:
        ArgumentError: its arguments are not what the request takes.
        UnknownCommandError: the daemon has no such request.
    """
    definition = definitions(daemon).get(command.name)
    if definition is None:
        raise _unknown(command.name)
    made = definition.signature.call(definition.handler, command)
    assert isinstance(made, Request)
    return made


def _unknown(name: str) -> UnknownCommandError:
    return UnknownCommandError(f"'{name}' command not supported.", name=name)


def response_of(result: object) -> Response:
    """The response whose arguments are a request's result; without fields it has none."""
    if isinstance(result, Response):
        return result
    text = msgspec.json.encode(result)
    return Response(arguments=Raw(text) if text != b"{}" else UNSET)


class GenericRequest(Request[Response], frozen=True):
    """A command for a daemon of Bridle's own: its arguments are JSON inside the XML."""

    name: str
    body: JSON | UnsetType = UNSET

    def document(self, caller: Caller) -> Xml:
        """The request."""
        data = None
        if self.body is not UNSET and self.body is not None:
            data = element("arguments")
            data.text = msgspec.json.encode(self.body).decode()
        return create_request(
            self.name,
            data,
            reference=caller.reference(self.name),
            sys_to=caller.service,
            sys_from=caller.system,
        )

    def is_answer(self, asked: Xml, found: Xml) -> bool:
        """The reply repeats the reference."""
        return found.get("subt") == "response" and found.get("reference") == asked.get("reference")

    def result(self, found: Xml) -> Response:
        """Read the response, whatever it says."""
        carried = data_of(found)
        if carried is None:
            raise RemoteProtocolError("the reply holds nothing")
        if carried.tag == "ping_response":
            return response_of(pacemaker_pacemakerd.read_ping(carried))
        if carried.tag != "response":
            raise RemoteProtocolError(f"<response> was expected, <{carried.tag}> came")
        return Response(
            integer(carried, "result", 0),
            carried.get("text"),
            Raw(carried.text.encode()) if carried.text else UNSET,
        )


class Notification(Struct, frozen=True):
    """What a daemon tells without being asked: a name and data."""

    name: str
    data: JSON = None


def read_notification(found: Xml) -> Notification | None:
    """Read an event that answers nothing; None where it is none that is told on.

    Raises:
        RemoteProtocolError: it makes no sense.
    """
    kind = found.get("t")
    data: Mapping[str, JSON]
    if found.tag == "notify" and kind == "cib_notify":
        data = pacemaker_based.read_notification(found)
        return Notification("cib-diff" if data["diff"] else "cib-refresh", dict(data))
    if found.tag == "notify" and kind == "st_notify":
        data = pacemaker_fenced.read_notification(found)
        fenced = data["operation"] == "st_notify_fence"
        return Notification("fencing" if fenced else "fencing-changed", dict(data))
    if found.tag == "lrmd_notify":
        if found.get("lrmd_op") == "lrmd_rsc_exec":
            told = msgspec.to_builtins(pacemaker_execd.read_executed(found))
            return Notification("resource-executed", told)
        return Notification("resource-changed", dict(pacemaker_execd.read_notification(found)))
    carried = data_of(found)
    if found.get("subt") == "event" and carried is not None and carried.tag == "event":
        return Notification(found.get("crm_task", ""), _json(carried.text))
    return None


def _json(text: str | None) -> JSON:
    if not text:
        return None
    try:
        decoded: JSON = msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError) as error:
        raise RemoteProtocolError(f"an event's data is no JSON: {error}") from error
    return decoded
