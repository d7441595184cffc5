"""Requests to Pacemaker's executor, ``lrmd`` (``facts/pacemaker.md`` §3). It answers on the response channel,
and ignores whoever does not ask for that. How an execution ended is told by an event, to everybody."""

from __future__ import annotations

import errno
from collections.abc import Mapping
from typing import ClassVar, Literal

from msgspec import Struct, field

from bridle.core.errors import RemoteProtocolError
from bridle.core.messages import JSON
from bridle.wire.pacemaker_messages import FEATURE_SET, integer
from bridle.wire.pacemaker_requests import Answer, Caller, Done, Request, check_return_code, failure
from bridle.wire.pacemaker_xml import Xml, element

__all__ = [
    "Executed",
    "Resource",
    "ResourceAdd",
    "ResourceCancel",
    "ResourceExecute",
    "ResourceInfo",
    "ResourceRemove",
    "read_executed",
    "read_notification",
    "registration",
]

PROTOCOL_VERSION = "1.1"
"""The version of the executor's protocol that we speak: Pacemaker 2.1.5's; 3.0.2 takes it as well."""

# The executor says that something is going on by the negative of this, which is no failure.
_IN_PROGRESS = -errno.EINPROGRESS
# Milliseconds that an agent may take, as most of them declare it.
_TIMEOUT = 20_000


def _operation(caller: Caller, operation: str, timeout: int, attributes: dict[str, object | None]) -> Xml:
    return element(
        "lrmd_command",
        {
            "t": "lrmd",
            "lrmd_async_id": caller.client_id,
            "lrmd_op": operation,
            "lrmd_timeout": timeout,
            "lrmd_callopt": 0,
        },
        element("lrmd_calldata", None, element("lrmd_rsc", {"lrmd_origin": "bridle", **attributes})),
    )


def _check(found: Xml) -> None:
    if found.tag != "lrmd_reply":
        raise RemoteProtocolError(f"<lrmd_reply> was expected, <{found.tag}> came")
    if integer(found, "lrmd_rc") != _IN_PROGRESS:
        check_return_code(found, "lrmd_rc")


class Resource(Struct, frozen=True, rename="kebab"):
    """A resource that an executor knows, and its agent: ``ocf``, ``pacemaker``, ``Dummy``."""

    resource: str
    class_: str = field(name="class")
    provider: str
    type_: str = field(name="type")


class ResourceInfo(Request[Resource], frozen=True):
    """Tell what agent a resource has that the executor knows."""

    command: ClassVar[str] = "resource-info"
    access: ClassVar[Literal["read", "write"]] = "read"
    answer: ClassVar[Answer] = Answer.RESPONSE

    resource: str

    def document(self, caller: Caller) -> Xml:
        """The query."""
        return _operation(caller, "lrmd_rsc_info", 0, {"lrmd_rsc_id": self.resource})

    def result(self, found: Xml) -> Resource:
        """Read the agent."""
        _check(found)
        if found.get("lrmd_class") is None:
            raise failure(errno.ENODEV, f"the executor knows no resource '{self.resource}'")
        return Resource(
            found.get("lrmd_rsc_id", self.resource),
            found.get("lrmd_class", ""),
            found.get("lrmd_provider", ""),
            found.get("lrmd_type", ""),
        )


class _Change(Request[Done], frozen=True):
    """A request that only has to succeed."""

    answer: ClassVar[Answer] = Answer.RESPONSE

    def result(self, found: Xml) -> Done:
        """See that it did."""
        _check(found)
        return Done()


class ResourceAdd(_Change, frozen=True):
    """Tell the executor of a resource; it does nothing with it yet."""

    command: ClassVar[str] = "resource-add"

    resource: str
    class_: str
    type_: str
    provider: str | None = None

    def document(self, caller: Caller) -> Xml:
        """The resource and its agent."""
        return _operation(
            caller,
            "lrmd_rsc_register",
            0,
            {
                "lrmd_rsc_id": self.resource,
                "lrmd_class": self.class_,
                "lrmd_provider": self.provider,
                "lrmd_type": self.type_,
            },
        )


class ResourceRemove(_Change, frozen=True):
    """Make the executor forget a resource, once what it does with it has ended."""

    command: ClassVar[str] = "resource-remove"

    resource: str

    def document(self, caller: Caller) -> Xml:
        """The resource."""
        return _operation(caller, "lrmd_rsc_unregister", 0, {"lrmd_rsc_id": self.resource})


class Executed(Struct, frozen=True, omit_defaults=True, rename="kebab"):
    """How an action on a resource ended: its agent's exit code (0: well), the status (0: done, 2: timed out,
    4: an error), what it wrote, and the number of the call."""

    resource: str
    action: str
    rc_code: int
    op_status: int
    call_id: int
    exit_reason: str = ""
    output: str = ""


class ResourceExecute(Request[Executed], frozen=True):
    """Execute an action of a resource's agent, and wait for its end.

    ``timeout`` is how long the agent may take, and ``interval`` how long after it is executed again, both in
    milliseconds. Not zero, it goes on until ``resource-cancel``; the first end is answered.
    """

    command: ClassVar[str] = "resource-execute"
    answer: ClassVar[Answer] = Answer.FINISHED

    resource: str
    action: str
    interval: int = 0
    timeout: int = _TIMEOUT
    start_delay: int = 0
    parameters: Mapping[str, JSON] = {}

    def document(self, caller: Caller) -> Xml:
        """The action."""
        root = _operation(
            caller,
            "lrmd_rsc_exec",
            self.timeout,
            {
                "lrmd_rsc_id": self.resource,
                "lrmd_rsc_action": self.action,
                "lrmd_rsc_userdata_str": caller.reference("exec"),
                "lrmd_rsc_interval": self.interval,
                "lrmd_timeout": self.timeout,
                "lrmd_rsc_start_delay": self.start_delay,
            },
        )
        texts: dict[str, object | None] = dict(self.parameters)
        settings = {**texts, "CRM_meta_timeout": self.timeout, "crm_feature_set": FEATURE_SET}
        root[0][0].append(element("attributes", settings))
        return root

    def is_finish(self, response: Xml, found: Xml) -> bool:
        """The notification has the number that the response gave."""
        return (
            found.tag == "lrmd_notify"
            and found.get("lrmd_op") == "lrmd_rsc_exec"
            and found.get("lrmd_callid") == response.get("lrmd_rc")
        )

    def result(self, found: Xml) -> Executed:
        """Read the response, or the end."""
        if found.tag != "lrmd_notify":
            _check(found)
            return Executed(self.resource, self.action, 0, -1, integer(found, "lrmd_rc"))
        return read_executed(found)


class ResourceCancel(_Change, frozen=True):
    """Stop executing an action again and again."""

    command: ClassVar[str] = "resource-cancel"

    resource: str
    action: str
    interval: int

    def document(self, caller: Caller) -> Xml:
        """The action."""
        return _operation(
            caller,
            "lrmd_rsc_cancel",
            0,
            {
                "lrmd_rsc_action": self.action,
                "lrmd_rsc_id": self.resource,
                "lrmd_rsc_interval": self.interval,
            },
        )


def registration(caller: Caller) -> Xml:
    """What a client says first."""
    return element(
        "lrmd_command",
        {
            "t": "lrmd",
            "lrmd_op": "register",
            "lrmd_clientname": caller.name,
            "lrmd_protocol_version": PROTOCOL_VERSION,
        },
    )


def read_executed(found: Xml) -> Executed:
    """How an execution ended, from its notification."""
    return Executed(
        found.get("lrmd_rsc_id", ""),
        found.get("lrmd_rsc_action", ""),
        integer(found, "lrmd_exec_rc", 0),
        integer(found, "lrmd_exec_op_status", 0),
        integer(found, "lrmd_callid", 0),
        found.get("lrmd_exit_reason", ""),
        found.get("lrmd_exec_output", ""),
    )


def read_notification(found: Xml) -> dict[str, str | int]:
    """A notification other than of an execution: what was done with a resource, and its return code."""
    told: dict[str, str | int] = {
        "operation": found.get("lrmd_op", ""),
        "return-code": integer(found, "lrmd_rc", 0),
    }
    if found.get("lrmd_rsc_id"):
        told["resource"] = found.get("lrmd_rsc_id", "")
    return told
