"""``pacemakerd``'s side of its protocol: ping, shutdown, and forgetting a node."""

from __future__ import annotations

from collections.abc import Sequence

from bridle.core.messages import Command, Event, Response
from bridle.wire.pacemaker_messages import CrmExit, create_reply
from bridle.wire.pacemaker_service import Asked, Client, Reply, Step, acknowledge, event, fields, told
from bridle.wire.pacemaker_xml import element

__all__ = ["PacemakerdService", "purge"]


class PacemakerdService:
    """One client's conversation with ``pacemakerd``."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self.closing: bool = False

    def receive(self, asked: Asked) -> Sequence[Step]:
        """Take a request."""
        task = asked.request.get("crm_task")
        if task == "ping":
            command = Command("ping", {"subsystem": "pacemakerd"}, self._client.peer, tag=asked)
            return [*acknowledge(asked, function="handle_ping_request"), command]
        if task == "quit":
            acknowledged = acknowledge(asked, function="handle_shutdown_request")
            if self._client.privileged:
                return [*acknowledged, Command("shutdown", {}, self._client.peer, tag=asked)]
            return [*acknowledged, _shutdown(asked, CrmExit.INSUFFICIENT_PRIV)]
        if task == "rm_node_cache":
            return [
                *acknowledge(asked, CrmExit.OK, function="handle_node_cache_request"),
                purge(asked, "pacemakerd", self._client),
            ]
        return acknowledge(asked, CrmExit.INVALID_PARAM, function="handle_unknown_request")

    def respond(self, command: Command, response: Response) -> Sequence[Reply]:
        """The answer, as an event."""
        asked = command.tag
        assert isinstance(asked, Asked)
        if command.name == "shutdown":
            # Whoever has asked for the end waits for being dropped (facts/pacemaker.md §0).
            self.closing = not response.result
            return [_shutdown(asked, CrmExit.ERROR if response.result else CrmExit.OK)]
        if command.name != "ping" or response.result:
            return ()
        state = told(response)
        document = create_reply(
            asked.request,
            element(
                "ping_response",
                {
                    "crm_subsystem": state.get("subsystem", "pacemakerd"),
                    "pacemakerd_state": state.get("state"),
                    "crm-timestamp": state.get("timestamp"),
                    "result": state.get("result", "ok"),
                },
            ),
            origin="handle_ping_request",
        )
        return [event(asked, document)]

    def notify(self, event: Event) -> Sequence[Reply]:
        """It tells of nothing."""
        return ()


def _shutdown(asked: Asked, status: int) -> Reply:
    document = create_reply(
        asked.request, element("shutdown", {"op-status": int(status)}), origin="handle_shutdown_request"
    )
    return event(asked, document)


def purge(asked: Asked, subsystem: str, client: Client) -> Command:
    """The command that a request to forget a node is."""
    arguments = fields(asked.request, node="uname", node_id="id")
    number = arguments.get("node-id")
    if isinstance(number, str) and number.isascii() and number.isdecimal() and len(number) <= 10:
        arguments["node-id"] = int(number)
    return Command("node-purge", {**arguments, "subsystem": subsystem}, client.peer, tag=asked)
