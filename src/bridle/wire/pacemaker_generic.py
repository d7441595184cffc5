"""The protocol of any daemon of Bridle's own on libqb: every command, with its arguments as JSON.

::

    <create_request_adv … crm_task="set-target" crm_sys_to="thermostat" …>
      <crm_xml><arguments>{"celsius": 21}</arguments></crm_xml></create_request_adv>
    <create_reply_adv … subt="response" crm_task="set-target" …>
      <crm_xml><response result="0" text="…">{"target": 21}</response></crm_xml></create_reply_adv>

Without arguments there is no ``crm_xml``. Tools that write XML by hand may give them as attributes of
``<arguments>``: named arguments whose values are text. The reply is an event, after an acknowledgement where
the client asked for a response. A ``ping`` that the daemon does not have itself is answered as
``pacemakerd`` answers it, which is how clients learn which layout a server speaks.

A client that sends ``crm_events="true"`` on a request is told of events from then on, if it may run
``events``: nobody executes that command, but it stands for being told::

    <create_reply_adv … subt="event" crm_task="NAME"><crm_xml><event>DATA</event></crm_xml></create_reply_adv>
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
from msgspec import UNSET, Raw

from bridle.core.errors import UnknownCommandError
from bridle.core.messages import JSON, Command, Event, Response
from bridle.core.results import Result
from bridle.wire.libqb_dialect import Subscription
from bridle.wire.pacemaker_messages import FEATURE_SET, create_reply, data_of
from bridle.wire.pacemaker_service import (
    Asked,
    Client,
    Reply,
    Step,
    acknowledge,
    event,
    notification,
    return_code,
)
from bridle.wire.pacemaker_xml import Xml, element

__all__ = ["NATIVE_TASKS", "GenericService"]

# The command that stands for being told of events.
_EVENTS = "events"

NATIVE_TASKS = frozenset(
    {
        "hello",
        "list-nodes",
        "lrm_delete",
        "lrm_fail",
        "node-info",
        "pe_calc",
        "ping",
        "probe_again",
        "quit",
        "rm_node_cache",
    }
)
"""Requests of Pacemaker's in the same envelope, which its own services answer."""

_PRIVILEGED = "only root and hacluster may do this here"


class GenericService:
    """One client's conversation. ``native`` says that the service has a protocol of Pacemaker's, and takes
    this one besides: from root and hacluster."""

    def __init__(self, client: Client, *, native: bool = False) -> None:
        self._client = client
        self._native = native
        self._listening = False
        self.closing: bool = False

    def takes(self, request: Xml) -> bool:
        """Whether a request to a service with a protocol of Pacemaker's is one of these."""
        task = request.get("crm_task")
        return task is not None and task not in NATIVE_TASKS and request.get("subt") == "request"

    def receive(self, asked: Asked) -> Sequence[Step]:
        """Take a request, and acknowledge it where the client waits."""
        request = asked.request
        name = request.get("crm_task")
        if not name:
            return acknowledge(asked, 2, function="generic")
        acknowledged: list[Step] = [*acknowledge(asked, function="generic")]
        if self._native and not self._client.privileged:
            refused = Response(Result.ERROR, _PRIVILEGED, error=PermissionError(13, _PRIVILEGED))
            return [*acknowledged, self._reply(asked, refused)]
        command = Command(name, _arguments(request), self._client.peer, tag=asked)
        if request.get("crm_events") == "true" and not self._listening:
            return [*acknowledged, Subscription(Command(_EVENTS, peer=self._client.peer)), command]
        return [*acknowledged, command]

    def respond(self, command: Command, response: Response) -> Sequence[Reply]:
        """The response, in the reply's envelope; to a subscription, nothing."""
        asked = command.tag
        if asked is None:
            self._listening = not response.result
            return ()
        assert isinstance(asked, Asked)
        if command.name == "ping" and isinstance(response.error, UnknownCommandError):
            alive = {
                "crm_subsystem": self._client.peer.address,
                "pacemakerd_state": "running",
                "result": "ok",
            }
            return [event(asked, create_reply(asked.request, element("ping_response", alive)))]
        return [self._reply(asked, response)]

    def _reply(self, asked: Asked, response: Response) -> Reply:
        carried = element(
            "response",
            {
                "result": response.result,
                "text": response.text,
                "code": -return_code(response) or None,
            },
        )
        if response.arguments is not UNSET:
            value = response.arguments
            carried.text = bytes(value).decode() if type(value) is Raw else _json(response.value)
        return event(asked, create_reply(asked.request, carried))

    def notify(self, event: Event) -> Sequence[Reply]:
        """The event, where the client asked for events."""
        if not self._listening:
            return ()
        carried = element("event", {"sequence": event.sequence})
        carried.text = _json(event.data)
        document = element(
            "create_reply_adv",
            {
                "origin": "bridle",
                "t": "crmd",
                "version": FEATURE_SET,
                "subt": "event",
                "crm_task": event.name,
                "crm_sys_from": self._client.peer.address,
            },
            element("crm_xml", None, carried),
        )
        return [notification(document)]


def _json(value: JSON) -> str:
    return msgspec.json.encode(value).decode()


def _arguments(request: Xml) -> JSON | Raw | msgspec.UnsetType:
    given = data_of(request)
    if given is None or given.tag != "arguments":
        return UNSET
    text = (given.text or "").strip()
    if text:
        return Raw(text.encode())
    return dict(given.attrib) if given.attrib else UNSET
