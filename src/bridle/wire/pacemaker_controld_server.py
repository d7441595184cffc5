"""``pacemaker-controld``'s side of its protocol: who is there, and what is to happen to resources."""

from __future__ import annotations

from collections.abc import Sequence

from bridle.core.errors import RemoteProtocolError
from bridle.core.messages import JSON, Command, Event, Response
from bridle.wire.pacemaker_messages import FEATURE_SET, CrmExit, create_reply, create_request, data_of
from bridle.wire.pacemaker_pacemakerd_server import purge
from bridle.wire.pacemaker_service import (
    Asked,
    Client,
    Reply,
    Step,
    acknowledge,
    event,
    fields,
    mapping,
    told,
)
from bridle.wire.pacemaker_xml import Xml, element

__all__ = ["ControldService"]

_HELLO = ("client_name", "client_uuid", "major_version", "minor_version")
# The digest of no parameters at all.
_NO_PARAMETERS = "f2317cad3d54cec5d7d7aa7d0bf35cf8"
_ERROR_STATUS = 4


class ControldService:
    """One client's conversation with the controller."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._replies = 0
        self.closing: bool = False

    def receive(self, asked: Asked) -> Sequence[Step]:
        """Take a request. A hello is not answered.

        Raises:
            RemoteProtocolError: a hello that says too little; the real controller drops its client as well.
        """
        request = asked.request
        task = request.get("crm_task")
        acknowledged: list[Step] = [*acknowledge(asked, function="dispatch_controller_ipc")]
        if task == "hello":
            _check_hello(request)
            return acknowledged
        if task == "rm_node_cache":
            return [*acknowledge(asked, CrmExit.OK), purge(asked, "crmd", self._client)]
        command = self._command(task, asked)
        return acknowledged if command is None else [*acknowledged, command]

    def _command(self, task: str | None, asked: Asked) -> Command | None:
        request = asked.request
        name: str
        arguments: dict[str, JSON]
        if task == "ping":
            subsystem = request.get("crm_sys_to", "crmd")
            name, arguments = "ping", {"subsystem": subsystem, **fields(request, node="crm_host_to")}
        elif task == "node-info":
            name, arguments = "node-info", fields(request, node="uname", node_id="id")
            if "node-id" in arguments:
                arguments["node-id"] = _number(str(arguments["node-id"]))
        elif task == "list-nodes":
            name, arguments = "node-list", {}
        elif task == "probe_again":
            data = data_of(request)
            name = "reprobe"
            arguments = {} if data is None else fields(data, node="on_node", router_node="router_node")
        elif task in ("lrm_fail", "lrm_delete"):
            name = "resource-fail" if task == "lrm_fail" else "resource-refresh"
            arguments = _operation(request)
        else:
            return None
        return Command(name, arguments, self._client.peer, tag=asked)

    def respond(self, command: Command, response: Response) -> Sequence[Reply]:
        """The answer, as an event. The real controller says nothing of nodes that it does not reach."""
        asked = command.tag
        assert isinstance(asked, Asked)
        found = told(response)
        if command.name in ("resource-fail", "resource-refresh"):
            return [event(asked, self._invoked(asked, command, response))]
        if command.name == "reprobe":
            document = self._invocation(asked, None, "handle_reprobe_op", "1_lrmd", found)
            return [event(asked, document)]
        if command.name == "node-info":
            return [event(asked, self._reply(asked, _node(found), "handle_node_info_request", found))]
        if response.result or command.name == "node-purge":
            return ()
        if command.name == "node-list":
            return [event(asked, self._reply(asked, _nodes(found), "handle_node_list", found))]
        state = {
            "crm_subsystem": found.get("subsystem"),
            "crmd_state": found.get("state"),
            "result": found.get("result", "ok"),
        }
        return [event(asked, self._reply(asked, element("ping_response", state), "handle_ping", found))]

    def _reply(self, asked: Asked, data: Xml, origin: str, found: dict[str, JSON]) -> Xml:
        document = create_reply(asked.request, data, origin=origin, src=_text(found.get("node")))
        document.set("crm_sys_to", self._client.identity)
        return document

    def _invocation(
        self, asked: Asked, data: Xml | None, origin: str, sender: str, found: dict[str, JSON]
    ) -> Xml:
        """The executor's answer, which is a request of its own: it cannot be known again by its reference."""
        self._replies += 1
        node = _text(found.get("node")) or asked.request.get("crm_host_to")
        return create_request(
            "lrm_invoke",
            data,
            reference=f"lrm_invoke-lrmd-{self._client.identity[:8]}-{self._replies}",
            sys_from=sender,
            sys_to=self._client.identity,
            host_to=node,
            origin=origin,
            attributes={"src": node},
        )

    def _invoked(self, asked: Asked, command: Command, response: Response) -> Xml:
        found = told(response)
        given = mapping(command.arguments if isinstance(command.arguments, dict) else None)
        resource = str(given.get("resource", ""))
        node = str(found.get("node", given.get("node", "")))
        action = "asyncmon" if command.name == "resource-fail" else "delete"
        status = _ERROR_STATUS if response.result else 0
        code = 1 if response.result else 0
        request = data_of(asked.request)
        key = str(found.get("key") or (request.get("transition-key") if request is not None else None) or "")
        operation = element(
            "lrm_rsc_op",
            {
                "id": f"{resource}_last_0",
                "operation_key": f"{resource}_{action}_0",
                "operation": action,
                "crm-debug-origin": "controld_ack_event_directly",
                "crm_feature_set": FEATURE_SET,
                "transition-key": key,
                "transition-magic": f"{status}:{code};{key}",
                "exit-reason": (response.text or "") if response.result else "",
                "on_node": node,
                "call-id": found.get("call", 0),
                "rc-code": code,
                "op-status": status,
                "interval": 0,
                "last-rc-change": found.get("changed"),
                "exec-time": 0 if found.get("changed") is not None else None,
                "queue-time": 0 if found.get("changed") is not None else None,
                "op-digest": _NO_PARAMETERS,
            },
        )
        number = found.get("node-id", 0)
        state = element(
            "node_state",
            {"id": number, "uname": node, "crm-debug-origin": "controld_ack_event_directly"},
            element(
                "lrm",
                {"id": number},
                element("lrm_resources", None, element("lrm_resource", {"id": resource}, operation)),
            ),
        )
        return self._invocation(asked, state, "controld_ack_event_directly", "lrmd", {**found, "node": node})

    def notify(self, event: Event) -> Sequence[Reply]:
        """It tells of nothing."""
        return ()


def _check_hello(request: Xml) -> None:
    options = data_of(request)
    missing = [name for name in _HELLO if options is None or not options.get(name)]
    if missing:
        raise RemoteProtocolError(f"a hello without {', '.join(missing)}")


def _operation(request: Xml) -> dict[str, JSON]:
    """What is to happen to which resource; what is missing is missed where the command is checked."""
    operation = data_of(request)
    if operation is None:
        return {}
    arguments = fields(operation, node="on_node", router_node="router_node")
    primitive = operation.find("primitive")
    if primitive is not None:
        named = fields(
            primitive, resource="id", long_id="long-id", class_="class", provider="provider", type_="type"
        )
        arguments.update(named)
    if request.get("crm_task") == "lrm_delete" and operation.get("mode") == "cib":
        arguments["cib-only"] = True
    return arguments


def _number(text: str) -> JSON:
    return int(text) if text.isascii() and text.isdecimal() and len(text) <= 10 else text


def _text(value: JSON) -> str | None:
    return value if isinstance(value, str) else None


def _node(found: dict[str, JSON]) -> Xml:
    return element(
        "node",
        {
            "crm_subsystem": "crmd",
            "have-quorum": bool(found.get("have-quorum")),
            "id": found.get("id"),
            "uname": found.get("name"),
            "crmd": found.get("state"),
            "remote_node": bool(found.get("remote")),
        },
    )


def _nodes(found: dict[str, JSON]) -> Xml:
    listed = found.get("nodes")
    return element(
        "nodes",
        None,
        *(
            element("node", {"id": one.get("id"), "uname": one.get("name"), "in_ccm": one.get("state")})
            for one in (listed if isinstance(listed, list) else ())
            if isinstance(one, dict)
        ),
    )
