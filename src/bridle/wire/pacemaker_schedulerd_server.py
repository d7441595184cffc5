"""``pacemaker-schedulerd``'s side of its protocol: what would be done about a CIB."""

from __future__ import annotations

from collections.abc import Sequence

from bridle.core.messages import Command, Event, Response
from bridle.wire.pacemaker_messages import CrmExit, create_reply, data_of
from bridle.wire.pacemaker_service import Asked, Client, Reply, Step, acknowledge, event, told, xml_of
from bridle.wire.pacemaker_xml import write_xml

__all__ = ["SchedulerdService"]

_COUNTS = ("graph-errors", "graph-warnings", "config-errors", "config-warnings")


class SchedulerdService:
    """One client's conversation with the scheduler."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self.closing: bool = False

    def receive(self, asked: Asked) -> Sequence[Step]:
        """Take a request."""
        if asked.request.get("crm_task") != "pe_calc":
            return acknowledge(asked, CrmExit.INVALID_PARAM, function="handle_unknown_request")
        cib = data_of(asked.request)
        if cib is None:
            return acknowledge(asked, CrmExit.INVALID_PARAM, function="handle_pecalc_request")
        command = Command("graph", {"cib": write_xml(cib).decode()}, self._client.peer, tag=asked)
        return [*acknowledge(asked, function="handle_pecalc_request"), command]

    def respond(self, command: Command, response: Response) -> Sequence[Reply]:
        """The graph; where there is none, a reply without one that counts an error."""
        asked = command.tag
        assert isinstance(asked, Asked)
        found = told(response)
        counts: dict[str, object] = {name: found.get(name, 0) for name in _COUNTS}
        if response.result:
            counts["graph-errors"] = 1
        document = create_reply(
            asked.request,
            xml_of(found.get("graph")),
            origin="handle_pecalc_request",
            attributes={"crm-tgraph-in": found.get("input"), **counts},
        )
        return [event(asked, document)]

    def notify(self, event: Event) -> Sequence[Reply]:
        """It tells of nothing."""
        return ()
