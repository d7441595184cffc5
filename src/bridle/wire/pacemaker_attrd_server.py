"""``pacemaker-attrd``'s side of its protocol: node attributes. Everything is answered on the response
channel, queries even where nobody asked for a response (``facts/pacemaker.md`` §2.1)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

from bridle.core.messages import JSON, Command, Event, Response
from bridle.wire.pacemaker_messages import CrmExit
from bridle.wire.pacemaker_service import Asked, Client, Reply, Step, acknowledge, fields, response, told
from bridle.wire.pacemaker_xml import Xml, element

__all__ = ["AttrdService"]

_PROTOCOL = "4"
_MODES = {"update": "value", "update-both": "both", "update-delay": "delay"}
_FUNCTIONS = {
    "attribute-clear-failures": "attrd_client_clear_failure",
    "attribute-refresh": "attrd_client_refresh",
    "node-purge": "attrd_client_peer_remove",
}


class AttrdService:
    """One client's conversation with the attribute manager."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._last: Command | None = None
        self._status: int = CrmExit.INDETERMINATE
        self.closing: bool = False

    def receive(self, asked: Asked) -> Sequence[Step]:
        """Take a request; one with several operations is acknowledged after the last."""
        request = asked.request
        operations = request.findall("op") or [request]
        commands = [self._command(operation, asked) for operation in operations]
        known = [command for command in commands if command is not None]
        if len(known) < len(commands) or not known:
            return acknowledge(asked, CrmExit.PROTOCOL, function="attrd_ipc_dispatch", protocol=_PROTOCOL)
        return [*known[:-1], Command(known[-1].name, known[-1].body, self._client.peer, tag=(asked, True))]

    def _command(self, operation: Xml, asked: Asked) -> Command | None:
        task = operation.get("task") or asked.request.get("task")
        made = _arguments(task, operation)
        if made is None:
            return None
        name, arguments = made
        return Command(name, arguments, self._client.peer, tag=(asked, False))

    def respond(self, command: Command, found: Response) -> Sequence[Reply]:
        """An acknowledgement, or what was asked for."""
        asked, last = cast("tuple[Asked, bool]", command.tag)  # what receive put there
        if command.name == "attribute-query":
            return [response(asked, _values(found), like_ack=True)]
        if found.result:
            self._status = CrmExit.INVALID_PARAM
        if not last:
            return ()
        status, self._status = self._status, CrmExit.INDETERMINATE
        function = _FUNCTIONS.get(command.name, "handle_update_request")
        return acknowledge(asked, status, function=function, protocol=_PROTOCOL)

    def notify(self, event: Event) -> Sequence[Reply]:
        """It tells of nothing."""
        return ()


def _arguments(task: str | None, operation: Xml) -> tuple[str, dict[str, JSON]] | None:
    host = fields(operation, node="attr_host")
    number = operation.get("attr_host_id", "")
    if number.isascii() and number.isdecimal() and len(number) <= 10 and int(number):
        host["node-id"] = int(number)
    if task == "query":
        return "attribute-query", fields(operation, name="attr_name", node="attr_host")
    if task in _MODES:
        return _update(task, operation, host)
    if task == "refresh":
        return "attribute-refresh", {}
    if task == "clear-failure":
        return "attribute-clear-failures", fields(
            operation,
            resource="attr_resource",
            operation="attr_clear_operation",
            interval="attr_clear_interval",
            node="attr_host",
        )
    if task == "peer-remove":
        return "node-purge", {**host, "subsystem": "attrd"}
    return None


def _update(task: str, operation: Xml, host: dict[str, JSON]) -> tuple[str, dict[str, JSON]]:
    named = fields(operation, name="attr_name", pattern="attr_regex")
    value = operation.get("attr_value")
    if value is None and task != "update-delay":
        return "attribute-delete", {**named, **host}
    arguments = {**named, **host, **fields(operation, dampening="attr_dampening", set_="attr_set")}
    if value is not None:
        arguments["value"] = value
    if operation.get("attr_is_private") == "1":
        arguments["private"] = True
    if operation.get("attr_is_remote") == "1":
        arguments["remote"] = True
    if task != "update":
        arguments["mode"] = _MODES[task]
    return "attribute-update", arguments


def _values(found: Response) -> Xml:
    known = told(found)
    listed = known.get("values")
    return element(
        "build_query_reply",
        {
            "t": "attrd",
            "subt": "query",
            "attr_version": _PROTOCOL,
            "attr_name": known.get("name") if not found.result else None,
        },
        *(
            element("node", {"attr_host": one.get("node"), "attr_value": one.get("value")})
            for one in (listed if isinstance(listed, list) else ())
            if isinstance(one, dict)
        ),
    )
