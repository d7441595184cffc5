"""``pacemaker-based``'s side of its protocol: the CIB, and who is told when it changes."""

from __future__ import annotations

import errno
from collections.abc import Sequence

from bridle.core.errors import RemoteProtocolError
from bridle.core.messages import JSON, Command, Event, Response
from bridle.wire.libqb import Channel
from bridle.wire.libqb_dialect import Subscription
from bridle.wire.pacemaker_messages import CrmExit, integer
from bridle.wire.pacemaker_service import (
    Asked,
    Client,
    Reply,
    Step,
    acknowledge,
    event,
    mapping,
    notification,
    response,
    return_code,
    told,
    xml_of,
)
from bridle.wire.pacemaker_xml import Xml, element, write_xml

__all__ = ["BasedService"]

# cib_call_options, as far as they mean something here.
_XPATH = 0x2
_MULTIPLE = 0x4
_CAN_CREATE = 0x8
_DISCARD_REPLY = 0x10
_NO_CHILDREN = 0x20
_ADDRESSES = 0x40
_SCOPE_LOCAL = 0x100
_DRY_RUN = 0x200
_SYNCHRONOUS = 0x1000

_CHANGES = {
    "cib_apply_diff": "cib-apply-diff",
    "cib_bump": "cib-bump",
    "cib_create": "cib-create",
    "cib_delete": "cib-delete",
    "cib_erase": "cib-erase",
    "cib_modify": "cib-modify",
    "cib_replace": "cib-replace",
    "cib_upgrade": "cib-upgrade",
}
# What other daemons of Pacemaker's do with it: there is one CIB here, which is nobody else's.
_NOTHING_TO_DO = frozenset(
    {"cib_isreadwrite", "cib_ismaster", "cib_master", "cib_slave", "cib_sync", "cib_sync_one", "noop"}
)
_WITH_XML = frozenset({"cib-apply-diff", "cib-create", "cib-delete", "cib-modify", "cib-replace"})
_PLAIN = frozenset({"cib-bump", "cib-erase", "cib-upgrade"})
_REFRESHES = frozenset({"cib_erase", "cib_replace"})


class BasedService:
    """One client's conversation with the CIB manager; on ``cib_ro`` nothing is ``writable``."""

    def __init__(self, client: Client, *, writable: bool = True) -> None:
        self._client = client
        self._writable = writable
        self._name = ""
        self._wanted: set[str] = set()
        self.closing: bool = False

    def receive(self, asked: Asked) -> Sequence[Step]:
        """Take a request."""
        request = asked.request
        operation = request.get("cib_op")
        if operation == "register":
            self._name = request.get("cib_clientname", "")
            registered = {"cib_op": "register", "cib_clientid": self._client.identity}
            return [response(asked, element("cib_common_callback_worker", registered), like_ack=True)]
        if operation == "cib_notify":
            return self._subscribe(asked)
        try:
            options = integer(request, "cib_callopt", 0)
        except RemoteProtocolError:
            return acknowledge(asked, CrmExit.PROTOCOL, tag="nack")
        if options & _SYNCHRONOUS and not asked.synchronous:
            # The real daemon logs an assertion; nobody waits where the answer would go.
            return ()
        if operation in _NOTHING_TO_DO:
            return self._reply(asked, options, 0, None)
        if operation == "cib_query":
            return [self._query(asked, options)]
        name = _CHANGES.get(operation or "")
        if name is None:
            return self._reply(asked, options, -errno.EINVAL, None)
        if not self._writable:
            return self._reply(asked, options, -errno.EACCES, None)
        return [self._change(name, asked, options)]

    def _subscribe(self, asked: Asked) -> Sequence[Step]:
        kind = asked.request.get("cib_notify_type", "")
        if asked.request.get("cib_notify_activate") in ("1", "true"):
            return [Subscription(Command("cib-query", peer=self._client.peer, tag=asked))]
        self._wanted.discard(kind)
        return self._subscribed(asked, CrmExit.OK)

    def _subscribed(self, asked: Asked, status: int) -> list[Reply]:
        return acknowledge(asked, status, function="cib_common_callback_worker")

    def _query(self, asked: Asked, options: int) -> Command:
        arguments = _place(asked.request, options)
        if options & _NO_CHILDREN:
            arguments["no-children"] = True
        if options & _ADDRESSES:
            arguments["addresses"] = True
        if options & _SCOPE_LOCAL:
            arguments["local"] = True
        return Command("cib-query", arguments, self._client.peer, tag=asked)

    def _change(self, name: str, asked: Asked, options: int) -> Command:
        arguments = {} if name in _PLAIN or name == "cib-apply-diff" else _place(asked.request, options)
        data = asked.request.find("cib_calldata")
        if name in _WITH_XML and data is not None and len(data):
            arguments["xml"] = write_xml(data[0]).decode()
        if options & _CAN_CREATE and name in ("cib-create", "cib-modify"):
            arguments["can-create"] = True
        if options & _MULTIPLE and name not in _PLAIN and name != "cib-apply-diff":
            arguments["multiple"] = True
        if options & _DRY_RUN:
            arguments["dry-run"] = True
        client = self._name or asked.request.get("cib_clientname")
        if client:
            arguments["client"] = client
        return Command(name, arguments, self._client.peer, tag=asked)

    def respond(self, command: Command, found: Response) -> Sequence[Reply]:
        """The return code, and what the answer holds."""
        asked = command.tag
        assert isinstance(asked, Asked)
        if asked.request.get("cib_op") == "cib_notify":
            if found.result:
                return self._subscribed(asked, CrmExit.INSUFFICIENT_PRIV)
            self._wanted.add(asked.request.get("cib_notify_type", ""))
            return self._subscribed(asked, CrmExit.OK)
        options = integer(asked.request, "cib_callopt", 0)
        return self._reply(asked, options, return_code(found), xml_of(told(found).get("cib")))

    def _reply(self, asked: Asked, options: int, code: int, data: Xml | None) -> Sequence[Reply]:
        if options & _DISCARD_REPLY:
            return ()
        request = asked.request
        document = element(
            "cib-reply",
            {
                "t": "cib",
                "cib_op": request.get("cib_op"),
                "cib_callid": request.get("cib_callid"),
                "cib_clientid": self._client.identity,
                "cib_callopt": request.get("cib_callopt"),
                "cib_rc": code,
            },
        )
        if data is not None:
            document.append(element("cib_calldata", None, data))
        if options & _SYNCHRONOUS:
            return [response(asked, document)]
        return [event(asked, document)]

    def notify(self, event: Event) -> Sequence[Reply]:
        """A change, where the client asked for changes; before the reply to whoever made it."""
        if event.name != "cib-diff" or not self._wanted:
            return ()
        data = mapping(event.data)
        told: list[Reply] = []
        if "cib_refresh_notify" in self._wanted and data.get("operation") in _REFRESHES:
            told.append(_notification("cib_refresh_notify", data, None))
        if "cib_diff_notify" in self._wanted:
            told.append(_notification("cib_diff_notify", data, xml_of(data.get("diff"))))
        return told


def _place(request: Xml, options: int) -> dict[str, JSON]:
    section = request.get("cib_section")
    if section is None:
        return {}
    return {"xpath" if options & _XPATH else "section": section}


def _notification(kind: str, data: dict[str, JSON], difference: Xml | None) -> Reply:
    update = xml_of(data.get("update"))
    document = element(
        "notify",
        {
            "t": "cib_notify",
            "subt": kind,
            "cib_op": data.get("operation"),
            "cib_rc": 0,
            "cib_object_type": update.tag if update is not None else "diff",
        },
    )
    generation = xml_of(data.get("generation"))
    if generation is not None:
        generation.tag = "generation_tuple"
        document.append(element("cib_generation", None, generation))
    if update is not None:
        document.append(element("cib_update", None, update))
    if difference is not None:
        document.append(element("cib_update_result", None, difference))
    reply = notification(document, shared=True)
    assert reply.channel is Channel.EVENT
    return reply
