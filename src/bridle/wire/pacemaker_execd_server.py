"""``pacemaker-execd``'s side of its protocol: resources, and what their agents are made to do. It answers
whoever waits on the response channel, and nobody else; how something ended is told to everybody."""

from __future__ import annotations

import errno
from collections.abc import Mapping, Sequence
from types import MappingProxyType

from bridle.core.errors import RemoteProtocolError
from bridle.core.messages import JSON, Command, Event, Response
from bridle.wire.libqb_dialect import Subscription
from bridle.wire.pacemaker_messages import FEATURE_SET, integer
from bridle.wire.pacemaker_service import (
    Asked,
    Client,
    Reply,
    Step,
    fields,
    mapping,
    notification,
    response,
    return_code,
    told,
)
from bridle.wire.pacemaker_xml import Xml, element

__all__ = ["ExecdService"]

_PROTOCOL = "1.1"
_NONE: Mapping[str, JSON] = MappingProxyType({})
_EVENTS = frozenset({"resource-executed", "resource-changed"})


class ExecdService:
    """One client's conversation with the executor."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._calls = 0
        self._registered = False
        self.closing: bool = False

    def receive(self, asked: Asked) -> Sequence[Step]:
        """Take a request."""
        request = asked.request
        operation = request.get("lrmd_op")
        if not asked.synchronous:
            return ()  # as the real executor does
        self._calls += 1
        if operation == "register":
            return [self._register(asked)]
        if operation == "lrmd_rsc_poke":
            return [self._reply(asked, 0)]
        try:
            made = _command(operation, request)
        except RemoteProtocolError:
            return [self._reply(asked, -errno.EINVAL)]
        if made is None:
            return [self._reply(asked, -errno.EOPNOTSUPP)]
        name, arguments = made
        if name != "resource-info" and not self._client.privileged:
            return [self._reply(asked, -errno.EACCES)]
        return [Command(name, arguments, self._client.peer, tag=asked)]

    def _register(self, asked: Asked) -> Step:
        """Whoever registers is told how things end, and so asks for that as well."""
        if asked.request.get("lrmd_protocol_version") is None:
            self._registered = False
            return self._reply(asked, -errno.EPROTO)
        return Subscription(Command("resource-info", peer=self._client.peer, tag=asked))

    def _welcome(self, asked: Asked) -> Reply:
        return self._reply(
            asked,
            0,
            origin="process_lrmd_signon",
            attributes={
                "lrmd_op": "register",
                "lrmd_clientid": self._client.identity,
                "lrmd_protocol_version": _PROTOCOL,
            },
        )

    def respond(self, command: Command, found: Response) -> Sequence[Reply]:
        """The return code; the number of the call where something was begun."""
        asked = command.tag
        assert isinstance(asked, Asked)
        if asked.request.get("lrmd_op") == "register":
            # Registered it is in any case: other requests are decided for themselves.
            self._registered = not found.result
            return [self._welcome(asked)]
        known = told(found)
        if command.name == "resource-info":
            attributes: dict[str, JSON] = (
                {
                    "lrmd_rsc_id": known.get("resource"),
                    "lrmd_class": known.get("class"),
                    "lrmd_provider": known.get("provider"),
                    "lrmd_type": known.get("type"),
                }
                if not found.result
                else {}
            )
            return [
                self._reply(
                    asked, return_code(found), origin="process_lrmd_get_rsc_info", attributes=attributes
                )
            ]
        call = known.get("call")
        code = call if command.name == "resource-execute" and isinstance(call, int) else return_code(found)
        return [self._reply(asked, code, call=call if isinstance(call, int) else None)]

    def _reply(
        self,
        asked: Asked,
        code: int,
        *,
        origin: str = "process_lrmd_message",
        call: int | None = None,
        attributes: Mapping[str, JSON] = _NONE,
    ) -> Reply:
        document = element(
            "lrmd_reply",
            {
                "lrmd_origin": origin,
                "lrmd_rc": code,
                "lrmd_callid": self._calls if call is None else call,
                **attributes,
            },
        )
        return response(asked, document)

    def notify(self, event: Event) -> Sequence[Reply]:
        """What was done to a resource, to every client that has registered and may know of resources."""
        if not self._registered or event.name not in _EVENTS:
            return ()
        data = mapping(event.data)
        if event.name == "resource-executed":
            return [notification(_executed(data))]
        document = element(
            "lrmd_notify",
            {
                "lrmd_origin": "send_generic_notify",
                "lrmd_rc": data.get("return-code", 0),
                "lrmd_callid": data.get("call", 0),
                "lrmd_op": data.get("operation"),
                "lrmd_rsc_id": data.get("resource"),
            },
        )
        return [notification(document)]


def _command(operation: str | None, request: Xml) -> tuple[str, dict[str, JSON]] | None:
    data = request.find("lrmd_calldata")
    given = data[0] if data is not None and len(data) else element("nothing")
    named = fields(given, resource="lrmd_rsc_id")
    if operation == "lrmd_rsc_info":
        return "resource-info", named
    if operation == "lrmd_rsc_register":
        agent = fields(given, class_="lrmd_class", provider="lrmd_provider", type_="lrmd_type")
        return "resource-add", {**named, **agent}
    if operation == "lrmd_rsc_unregister":
        return "resource-remove", named
    action = fields(given, action="lrmd_rsc_action")
    if operation == "lrmd_rsc_cancel":
        return "resource-cancel", {**named, **action, "interval": integer(given, "lrmd_rsc_interval", 0)}
    if operation == "lrmd_rsc_exec":
        parameters = given.find("attributes")
        return "resource-execute", {
            **named,
            **action,
            **fields(given, user_data="lrmd_rsc_userdata_str"),
            "interval": integer(given, "lrmd_rsc_interval", 0),
            "timeout": integer(given, "lrmd_timeout", 0),
            "start-delay": integer(given, "lrmd_rsc_start_delay", 0),
            "parameters": dict(parameters.attrib) if parameters is not None else {},
            "wait": False,
        }
    return None


def _executed(data: dict[str, JSON]) -> Xml:
    changed = data.get("changed", 0)
    document = element(
        "lrmd_notify",
        {
            "lrmd_origin": "send_cmd_complete_notify",
            "lrmd_timeout": data.get("timeout", 0),
            "lrmd_rsc_interval": data.get("interval", 0),
            "lrmd_rsc_start_delay": 0,
            "lrmd_exec_rc": data.get("code", 0),
            "lrmd_exec_op_status": data.get("status", 0),
            "lrmd_callid": data.get("call", 0),
            "lrmd_rsc_deleted": 0,
            "lrmd_run_time": changed,
            "lrmd_rcchange_time": 0,
            "lrmd_exec_time": data.get("taken", 0),
            "lrmd_queue_time": 0,
            "lrmd_op": "lrmd_rsc_exec",
            "lrmd_rsc_id": data.get("resource"),
            "lrmd_rsc_action": data.get("action"),
            "lrmd_rsc_userdata_str": data.get("key"),
            "lrmd_exit_reason": data.get("reason") or None,
        },
    )
    parameters = mapping(data.get("parameters")) or {
        "CRM_meta_on_node": data.get("node"),
        "CRM_meta_timeout": data.get("timeout", 0),
        "crm_feature_set": FEATURE_SET,
    }
    document.append(element("attributes", parameters))
    return document
