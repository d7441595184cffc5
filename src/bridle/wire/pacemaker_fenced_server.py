"""``pacemaker-fenced``'s side of its protocol: devices, levels, fencing and its history."""

from __future__ import annotations

import errno
from collections.abc import Sequence

from bridle.core.errors import RemoteProtocolError
from bridle.core.messages import JSON, Command, Event, Response
from bridle.wire.libqb_dialect import Subscription
from bridle.wire.pacemaker_messages import CrmExit, integer
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
    notification,
    response,
    return_code,
    told,
)
from bridle.wire.pacemaker_xml import Xml, element

__all__ = ["FencedService"]

# stonith_call_options, as far as they mean something here.
_MANUAL = 0x8
_SYNCHRONOUS = 0x1000
_CLEANUP = 0x80000

_STATES = {"pending": 1, "done": 2, "failed": 4}
# Bits that say what a device can do; those that Pacemaker has for an agent without metadata.
_SUPPORTS = 55
# How an execution ended, in Pacemaker's numbers: done, timed out, an error, no device for it.
_DONE, _TIMED_OUT, _ERROR, _NO_DEVICE = 0, 2, 4, 10
# Seconds that are added to a client's own: it waits for the word of all nodes.
_LONGER = 1.2
# What clients call the events that are no change of a device or a level.
_KINDS = {"fencing": "st_notify_fence", "fencing-history": "st_notify_history"}
_PRIVILEGED = frozenset({"st_device_register", "st_device_remove", "st_level_add", "st_level_remove"})


class FencedService:
    """One client's conversation with the fencer."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._name = ""
        self._wanted: set[str] = set()
        self.closing: bool = False

    def receive(self, asked: Asked) -> Sequence[Step]:
        """Take a request."""
        request = asked.request
        if request.get("crm_task") == "rm_node_cache":
            return [purge(asked, "stonith-ng", self._client)]
        operation = request.get("st_op")
        if operation == "register":
            self._name = f"{request.get('st_clientname', '')}.{self._client.peer.pid or 0}"
            registered = {"st_op": "register", "st_clientid": self._client.identity}
            return [response(asked, element("reply", registered), like_ack=True)]
        if operation == "st_notify":
            return self._subscribe(asked)
        try:
            options = integer(request, "st_callopt", 0)
            if options & _SYNCHRONOUS and not asked.synchronous:
                return ()  # the real fencer ends itself
            made = _command(operation, options, asked)
        except RemoteProtocolError:
            return acknowledge(asked, CrmExit.PROTOCOL, tag="nack")
        if made is None:
            return self._reply(asked, _Outcome(-errno.EINVAL, "Unknown request"), None)
        if operation in _PRIVILEGED and not self._client.privileged:
            return self._reply(asked, _Outcome(-errno.EACCES, "Unprivileged users are not allowed"), None)
        name, arguments = made
        if name in ("fence", "fencing-confirm"):
            arguments["client"] = self._name
        command = Command(name, arguments, self._client.peer, tag=asked)
        if name == "fence" and not options & _SYNCHRONOUS:
            return [_longer(asked), command]
        return [command]

    def _subscribe(self, asked: Asked) -> Sequence[Step]:
        request = asked.request
        wanted, unwanted = request.get("st_notify_activate"), request.get("st_notify_deactivate")
        if unwanted:
            self._wanted.discard(unwanted)
        if not wanted:
            return _subscribed(asked, CrmExit.OK)
        name = "fencing-history" if wanted in _KINDS.values() else "fencing-devices"
        return [Subscription(Command(name, peer=self._client.peer, tag=asked))]

    def respond(self, command: Command, found: Response) -> Sequence[Reply]:
        """How it ended, and what the answer holds."""
        asked = command.tag
        assert isinstance(asked, Asked)
        if command.name == "node-purge":
            return ()
        if asked.request.get("st_op") == "st_notify":
            if found.result:
                return _subscribed(asked, CrmExit.INSUFFICIENT_PRIV)
            self._wanted.add(asked.request.get("st_notify_activate", ""))
            return _subscribed(asked, CrmExit.OK)
        outcome = _Outcome(return_code(found), found.text or "" if found.result else "")
        data: Xml | None = None
        if not found.result:
            if command.name == "fencing-devices":
                data = _devices(told(found), asked)
            elif command.name == "fencing-history":
                data = _history(told(found))
            elif command.name in ("fence", "fencing-confirm"):
                data = element(
                    "st-reply", {"t": "st_notify", "subt": "broadcast", "st_op": "off", "count": 1}
                )
                data.append(element("st_calldata", None, _fenced(told(found))))
        return self._reply(asked, outcome, data, delegate=told(found).get("delegate"))

    def _reply(
        self, asked: Asked, outcome: _Outcome, data: Xml | None, *, delegate: JSON = None
    ) -> list[Reply]:
        request = asked.request
        document = element(
            "st-reply",
            {
                "st_origin": "fenced_construct_reply",
                "t": "stonith-ng",
                "op-status": outcome.status,
                "rc-code": outcome.exit,
                "exit-reason": outcome.reason or None,
                "st_rc": outcome.code,
                "st_op": request.get("st_op"),
                "st_callid": request.get("st_callid"),
                "st_clientid": self._client.identity,
                "st_clientname": self._name or None,
                "st_callopt": request.get("st_callopt"),
                "st_delegate": delegate,
            },
        )
        if data is not None:
            document.append(element("st_calldata", None, data))
        try:
            synchronous = integer(request, "st_callopt", 0) & _SYNCHRONOUS
        except RemoteProtocolError:
            synchronous = 0
        return [response(asked, document) if synchronous else event(asked, document)]

    def notify(self, event: Event) -> Sequence[Reply]:
        """What the client asked to be told: who was fenced, that the history changed, devices and levels."""
        kind = _KINDS.get(event.name)
        data = mapping(event.data)
        if event.name == "fencing-configuration":
            kind = str(data.get("operation"))
        if kind is None or kind not in self._wanted:
            return ()
        code = data.get("code")
        outcome = _Outcome(-code if isinstance(code, int) else 0, str(data.get("reason", "")))
        document = element(
            "notify",
            {
                "t": "st_notify",
                "subt": kind,
                "st_op": kind,
                "op-status": outcome.status,
                "rc-code": outcome.exit,
                "exit-reason": outcome.reason or None,
                "st_rc": outcome.code,
            },
        )
        if event.name == "fencing":
            document.append(element("st_calldata", None, _fenced(data)))
        elif event.name == "fencing-configuration":
            told = element(kind, {"st_device_id": data.get("name"), "st_active": data.get("count")})
            document.append(element("st_calldata", None, told))
        return [notification(document)]


def _subscribed(asked: Asked, status: int) -> list[Reply]:
    return acknowledge(asked, status, function="handle_notify_request")


class _Outcome:
    """How something ended, in the three numbers that Pacemaker says it with."""

    def __init__(self, code: int, reason: str) -> None:
        self.code = code
        self.reason = reason
        self.exit = 1 if code else 0
        self.status = {0: _DONE, -errno.ENODEV: _NO_DEVICE, -errno.ETIME: _TIMED_OUT}.get(code, _ERROR)


def _command(operation: str | None, options: int, asked: Asked) -> tuple[str, dict[str, JSON]] | None:
    data = asked.request.find("st_calldata")
    given = data[0] if data is not None and len(data) else element("nothing")
    if operation == "st_query":
        return "fencing-devices", fields(given, target="st_target", action="st_device_action")
    if operation == "st_fence_history":
        name = "fencing-history-cleanup" if options & _CLEANUP else "fencing-history"
        return name, fields(given, target="st_target")
    if operation == "st_fence":
        if options & _MANUAL:
            return "fencing-confirm", fields(given, target="st_target")
        arguments = fields(given, target="st_target", action="st_device_action")
        for name, key in (("timeout", "st_timeout"), ("tolerance", "st_tolerance"), ("delay", "st_delay")):
            arguments[name] = max(0, integer(given, key, 0))
        return "fence", arguments
    if operation == "st_execute":
        return "fencing-device-execute", fields(
            given, id="st_device_id", action="st_device_action", target="st_target"
        )
    if operation in ("st_device_register", "st_device_remove"):
        named = fields(given, id="id", agent="agent", namespace="namespace")
        if operation == "st_device_remove":
            return "fencing-device-remove", {name: value for name, value in named.items() if name == "id"}
        parameters = given.find("attributes")
        return "fencing-device-add", {
            **named,
            "parameters": dict(parameters.attrib) if parameters is not None else {},
        }
    if operation in ("st_level_add", "st_level_remove"):
        level = fields(given, target="target", pattern="target-pattern")
        level["index"] = integer(given, "index", 0)
        if operation == "st_level_remove":
            return "fencing-level-remove", level
        listed = (given.get("devices") or "").replace(",", " ").split()
        return "fencing-level-add", {**level, "devices": [*listed]}
    return None


def _longer(asked: Asked) -> Reply:
    data = asked.request.find("st_calldata")
    seconds = integer(data[0], "st_timeout", 0) if data is not None and len(data) else 0
    document = element(
        "st-async-timeout-value",
        {
            "t": "st-async-timeout-value",
            "st_callid": asked.request.get("st_callid"),
            "st_timeout": int(seconds * _LONGER),
        },
    )
    return event(asked, document)


def _devices(found: dict[str, JSON], asked: Asked) -> Xml:
    data = asked.request.find("st_calldata")
    target = data[0].get("st_target") if data is not None and len(data) else None
    listed = found.get("devices")
    devices = [one for one in (listed if isinstance(listed, list) else ()) if isinstance(one, dict)]
    root = element(
        "stonith_query_capable_device_cb", {"st_target": target, "st-available-devices": len(devices)}
    )
    for one in devices:
        device = element(
            "st_device_id",
            {
                "id": one.get("id"),
                "namespace": one.get("namespace"),
                "agent": one.get("agent"),
                "st_monitor_verified": 0,
                "st_device_support_flags": _SUPPORTS,
            },
        )
        if target is None:
            device.append(element("attributes", {**mapping(one.get("parameters"))}))
        root.append(device)
    return root


def _history(found: dict[str, JSON]) -> Xml | None:
    listed = found.get("history")
    incidents = [one for one in (listed if isinstance(listed, list) else ()) if isinstance(one, dict)]
    if not incidents:
        return None
    root = element("st_history")
    for one in incidents:
        code = one.get("code")
        outcome = _Outcome(-code if isinstance(code, int) else 0, str(one.get("reason", "")))
        completed = one.get("completed")
        root.append(
            element(
                "st_execute",
                {
                    "st_target": one.get("target"),
                    "st_device_action": one.get("action"),
                    "st_origin": one.get("origin"),
                    "st_delegate": one.get("delegate"),
                    "st_clientname": one.get("client"),
                    "st_date": int(completed) if isinstance(completed, int | float) else 0,
                    "st_date_nsec": 0,
                    "st_state": _STATES.get(str(one.get("state")), 4),
                    "op-status": outcome.status,
                    "rc-code": outcome.exit,
                    "exit-reason": outcome.reason or None,
                    "st_rc": outcome.code,
                },
            )
        )
    return root


def _fenced(data: dict[str, JSON]) -> Xml:
    return element(
        "st_notify_fence",
        {
            "state": _STATES.get(str(data.get("state")), 4),
            "st_target": data.get("target"),
            "st_device_action": data.get("action"),
            "st_delegate": data.get("delegate"),
            "st_remote_op": data.get("id"),
            "st_origin": data.get("origin"),
            "st_clientname": data.get("client"),
        },
    )
