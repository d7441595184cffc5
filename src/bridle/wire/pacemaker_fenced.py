"""Requests to Pacemaker's fencer, ``stonith-ng`` (``facts/pacemaker.md`` §3).

As with the CIB manager, its ``sync_call`` is never given: without the header's word for a response it ends
the real daemon.
"""

from __future__ import annotations

import errno
from collections.abc import Mapping
from typing import ClassVar, Literal, TypeVar

from msgspec import Struct

from bridle.core.errors import ArgumentError, RemoteProtocolError
from bridle.core.messages import JSON
from bridle.wire.pacemaker_messages import integer
from bridle.wire.pacemaker_requests import Caller, Done, Request, check_return_code, failure
from bridle.wire.pacemaker_xml import Xml, element

__all__ = [
    "NOTIFICATIONS",
    "Device",
    "Devices",
    "Fence",
    "Fenced",
    "FencingConfirm",
    "FencingDeviceAdd",
    "FencingDeviceRemove",
    "FencingDevices",
    "FencingHistory",
    "FencingHistoryCleanup",
    "FencingLevelAdd",
    "FencingLevelRemove",
    "History",
    "read_notification",
    "registration",
    "subscription",
]

NOTIFICATIONS = (
    "st_notify_fence",
    "st_device_register",
    "st_device_remove",
    "st_level_add",
    "st_level_remove",
    "st_notify_history",
)
"""What the fencer tells whoever asks for it."""

# stonith_call_options, as far as they are used.
_ALLOW_SELF = 0x2
_MANUAL = 0x8
_CLEANUP = 0x80000
# Seconds that stonith_admin gives a query.
_QUERY_TIMEOUT = 120
_STATES = {0: "query", 1: "exec", 2: "done", 3: "duplicate", 4: "failed"}
# The status of an operation that was executed.
_DONE = 0
_OP_STATUS = {-1: errno.EINPROGRESS, 2: errno.ETIME, 4: errno.EIO, 10: errno.ENODEV}


R_co = TypeVar("R_co", covariant=True)


class _FencerRequest(Request[R_co], frozen=True):
    """What all requests to the fencer have in common."""

    operation: ClassVar[str] = ""

    def document(self, caller: Caller) -> Xml:
        """The operation."""
        root = element(
            "stonith_command",
            {
                "t": "stonith-ng",
                "st_async_id": caller.client_id,
                "st_op": self.operation,
                "st_callid": caller.call,
                "st_callopt": self.options(),
                "st_timeout": self.seconds(),
            },
        )
        data = self.data()
        if data is not None:
            root.append(element("st_calldata", None, data))
        return root

    def options(self) -> int:
        """The call's options."""
        return 0

    def seconds(self) -> int:
        """How long the fencer may take, in seconds."""
        return _QUERY_TIMEOUT

    def data(self) -> Xml | None:
        """What the operation is about."""
        return None

    def is_answer(self, asked: Xml, found: Xml) -> bool:
        """The reply repeats the number of the call."""
        return found.tag == "st-reply" and found.get("st_callid") == asked.get("st_callid")


class _FencerChange(_FencerRequest[Done], frozen=True):
    """A request that only has to succeed."""

    def result(self, found: Xml) -> Done:
        """See that it did."""
        _check(found)
        return Done()


def _check(found: Xml) -> None:
    if found.tag != "st-reply":
        raise RemoteProtocolError(f"<st-reply> was expected, <{found.tag}> came")
    if found.get("st_rc") is not None:
        check_return_code(found, "st_rc")
    status = integer(found, "op-status", _DONE)
    if status != _DONE:
        raise failure(_OP_STATUS.get(status, errno.EIO), found.get("exit-reason", ""))


class Device(Struct, frozen=True, omit_defaults=True, rename="kebab"):
    """A device that can fence: its name, its agent (``fence_ipmilan``) and where that comes from, its
    parameters."""

    id: str
    agent: str
    namespace: str = ""
    parameters: dict[str, str] = {}


class Devices(Struct, frozen=True):
    """The devices that were asked for."""

    devices: tuple[Device, ...]


class FencingDevices(_FencerRequest[Devices], frozen=True):
    """List the devices that can fence, those for a node, or for an action."""

    command: ClassVar[str] = "fencing-devices"
    access: ClassVar[Literal["read", "write"]] = "read"
    operation: ClassVar[str] = "st_query"

    target: str | None = None
    action: str | None = None

    def data(self) -> Xml:
        """What the devices are to be for."""
        return element(
            "st_device_id",
            {
                "st_origin": "bridle",
                "st_target": self.target,
                "st_device_action": self.action or "off",
            },
        )

    def result(self, found: Xml) -> Devices:
        """Read the list."""
        _check(found)
        return Devices(
            tuple(
                Device(
                    device.get("id", ""),
                    device.get("agent", ""),
                    device.get("namespace", ""),
                    dict(parameters.attrib) if (parameters := device.find("attributes")) is not None else {},
                )
                for device in found.iter("st_device_id")
            )
        )


class Fenced(Struct, frozen=True, omit_defaults=True, rename="kebab"):
    """One entry of the history: who was fenced, how, by which node, for whom, when (seconds since 1970), and
    how that ended: ``done``, ``failed``, or how far it is."""

    target: str
    action: str
    state: str
    delegate: str = ""
    client: str = ""
    origin: str = ""
    completed: int = 0


class History(Struct, frozen=True):
    """What was fenced."""

    history: tuple[Fenced, ...]


class FencingHistory(_FencerRequest[History], frozen=True):
    """Tell what was fenced: a node, or all of them."""

    command: ClassVar[str] = "fencing-history"
    access: ClassVar[Literal["read", "write"]] = "read"
    operation: ClassVar[str] = "st_fence_history"

    target: str | None = None

    def data(self) -> Xml | None:
        """The node."""
        return None if self.target is None else element("stonith_api_history", {"st_target": self.target})

    def result(self, found: Xml) -> History:
        """Read the history."""
        _check(found)
        return History(
            tuple(
                Fenced(
                    entry.get("st_target", ""),
                    entry.get("st_device_action", ""),
                    _STATES.get(state := integer(entry, "st_state", 0), str(state)),
                    entry.get("st_delegate", ""),
                    entry.get("st_clientname", ""),
                    entry.get("st_origin", ""),
                    integer(entry, "st_date", 0),
                )
                for part in found.iter("st_history")
                for entry in part
            )
        )


class FencingHistoryCleanup(_FencerChange, frozen=True):
    """Forget what was fenced: of a node, or all."""

    command: ClassVar[str] = "fencing-history-cleanup"
    operation: ClassVar[str] = "st_fence_history"

    target: str | None = None

    def options(self) -> int:
        """To clean up is an option of the query."""
        return _CLEANUP

    def data(self) -> Xml | None:
        """The node."""
        return None if self.target is None else element("stonith_api_history", {"st_target": self.target})


class Fence(_FencerChange, frozen=True):
    """Fence a node: ``off``, ``on`` or ``reboot``.

    ``timeout`` is how long the devices may take, in seconds; the client has to wait as long. ``tolerance``
    takes an earlier success for one, so many seconds back.
    """

    command: ClassVar[str] = "fence"
    operation: ClassVar[str] = "st_fence"

    target: str
    action: Literal["off", "on", "reboot"] = "off"
    timeout: int = 120
    tolerance: int = 0
    delay: int = 0

    def options(self) -> int:
        """Whoever asks may ask for its own node."""
        return _ALLOW_SELF

    def seconds(self) -> int:
        """As given."""
        return self.timeout

    def data(self) -> Xml:
        """The node and the action."""
        return element(
            "bridle",
            {
                "st_target": self.target,
                "st_device_action": self.action,
                "st_timeout": self.timeout,
                "st_tolerance": self.tolerance,
                "st_delay": self.delay,
            },
        )


class FencingConfirm(_FencerChange, frozen=True):
    """Tell the cluster that a node is down: somebody has seen to it by hand."""

    command: ClassVar[str] = "fencing-confirm"
    operation: ClassVar[str] = "st_fence"

    target: str

    def options(self) -> int:
        """No device is asked."""
        return _MANUAL | _ALLOW_SELF

    def data(self) -> Xml:
        """The node."""
        return element(
            "bridle",
            {"st_target": self.target, "st_device_action": "off", "st_timeout": 0, "st_tolerance": 0},
        )


class FencingDeviceAdd(_FencerChange, frozen=True):
    """Tell the fencer of a device, until Pacemaker is started again: the CIB is where devices stay.

    ``agent`` is as in ``fence_ipmilan``, ``namespace`` as in ``heartbeat`` for other agents.
    """

    command: ClassVar[str] = "fencing-device-add"
    operation: ClassVar[str] = "st_device_register"

    id: str
    agent: str
    parameters: Mapping[str, JSON] = {}
    namespace: str | None = None

    def options(self) -> int:
        """As stonith_admin has it."""
        return _ALLOW_SELF

    def data(self) -> Xml:
        """The device."""
        texts: dict[str, object | None] = dict(self.parameters)
        return element(
            "st_device_id",
            {"id": self.id, "st_origin": "bridle", "agent": self.agent, "namespace": self.namespace},
            element("attributes", texts),
        )


class FencingDeviceRemove(_FencerChange, frozen=True):
    """Make the fencer forget a device."""

    command: ClassVar[str] = "fencing-device-remove"
    operation: ClassVar[str] = "st_device_remove"

    id: str

    def options(self) -> int:
        """As stonith_admin has it."""
        return _ALLOW_SELF

    def data(self) -> Xml:
        """The device."""
        return element("st_device_id", {"st_origin": "bridle", "id": self.id})


class FencingLevelAdd(_FencerChange, frozen=True):
    """Say which devices fence a node at a level, 1 to 9: those of level 1 are tried first.

    ``pattern`` is a regular expression for names of nodes, in place of ``target``.
    """

    command: ClassVar[str] = "fencing-level-add"
    operation: ClassVar[str] = "st_level_add"

    index: int
    devices: list[str]
    target: str | None = None
    pattern: str | None = None

    def options(self) -> int:
        """As stonith_admin has it."""
        return _ALLOW_SELF

    def seconds(self) -> int:
        """Nothing is waited for."""
        return 0

    def data(self) -> Xml:
        """The level."""
        return _level(self.index, self.target, self.pattern, self.devices)


class FencingLevelRemove(_FencerChange, frozen=True):
    """Forget which devices fence a node at a level."""

    command: ClassVar[str] = "fencing-level-remove"
    operation: ClassVar[str] = "st_level_remove"

    index: int
    target: str | None = None
    pattern: str | None = None

    def options(self) -> int:
        """As stonith_admin has it."""
        return _ALLOW_SELF

    def seconds(self) -> int:
        """Nothing is waited for."""
        return 0

    def data(self) -> Xml:
        """The level."""
        return _level(self.index, self.target, self.pattern, None)


def _level(index: int, target: str | None, pattern: str | None, devices: list[str] | None) -> Xml:
    if (target is None) == (pattern is None):
        raise ArgumentError("either 'target' or 'pattern' is needed", argument="target")
    return element(
        "fencing-level",
        {
            "st_origin": "bridle",
            "target": target,
            "target-pattern": pattern,
            "id": None if devices is None else index,
            "index": index,
            "devices": None if devices is None else ",".join(devices),
        },
    )


def registration(caller: Caller) -> Xml:
    """What a client says first."""
    return element("stonith_command", {"t": "stonith-ng", "st_op": "register", "st_clientname": caller.name})


def subscription(kind: str) -> Xml:
    """Ask for notifications of one of :data:`NOTIFICATIONS`."""
    return element("stonith_set_notification", {"st_op": "st_notify", "st_notify_activate": kind})


def read_notification(found: Xml) -> dict[str, str | int]:
    """A notification: what happened, its return code, and what it happened to."""
    told: dict[str, str | int] = {
        "operation": found.get("subt", ""),
        "return-code": integer(found, "st_rc", 0),
    }
    data = found.find("st_calldata")
    if data is not None and len(data):
        names = {
            "st_target": "target",
            "st_device_action": "action",
            "st_delegate": "delegate",
            "st_clientname": "client",
            "st_origin": "origin",
            "st_device_id": "device",
        }
        told.update({name: data[0].get(key, "") for key, name in names.items() if data[0].get(key)})
    return told
