"""Pacemaker's daemons from Python: what ``crm/common/ipc.h`` is for C, without any of Pacemaker's libraries.

For asyncio::

    async with bridle.pacemaker.connect("controld") as controller:
        nodes = await controller.request(bridle.pacemaker.NodeList())

Blocking, or polled, or dispatched by the running loop, with callbacks, as the original has it::

    with bridle.pacemaker.PacemakerIPC("attrd") as attributes:
        attributes.connect("sync")
        attributes.request(bridle.pacemaker.AttributeUpdate("colour", "red"))

``bridle.connect("qb:crmd")`` calls the same requests by name. :mod:`bridle.pacemaker.legacy` has the
original's ``crm_ipc_*`` calls.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bridle.pacemaker.asynchronous import AsyncPacemakerIPC, connect
    from bridle.pacemaker.errors import (
        IPCConnectionError,
        IPCError,
        IPCNotReady,
        IPCProtocolError,
        IPCTimeout,
        IPCUsageError,
    )
    from bridle.pacemaker.ipc import (
        IPCCallback,
        IPCDispatch,
        IPCEvent,
        IPCEventType,
        IPCServer,
        PacemakerIPC,
    )
    from bridle.pacemaker.messages import (
        PeerIdentity,
        create_hello_message,
        create_reply,
        create_request,
        is_authentic_process,
        peer_identity,
    )
    from bridle.wire.pacemaker_attrd import (
        AttributeClearFailures,
        AttributeDelete,
        AttributeNodePurge,
        AttributeQuery,
        AttributeRefresh,
        AttributeUpdate,
        AttributeValue,
        AttributeValues,
    )
    from bridle.wire.pacemaker_based import (
        Cib,
        CibApplyDiff,
        CibBump,
        CibCreate,
        CibDelete,
        CibErase,
        CibModify,
        CibQuery,
        CibReplace,
        CibUpgrade,
    )
    from bridle.wire.pacemaker_catalogue import Notification
    from bridle.wire.pacemaker_controld import (
        ControllerPing,
        Invoked,
        Node,
        NodeInfo,
        NodeList,
        Nodes,
        NodeState,
        Reprobe,
        ResourceFail,
        ResourceRefresh,
    )
    from bridle.wire.pacemaker_execd import (
        Executed,
        Resource,
        ResourceAdd,
        ResourceCancel,
        ResourceExecute,
        ResourceInfo,
        ResourceRemove,
    )
    from bridle.wire.pacemaker_fenced import (
        Device,
        Devices,
        Fence,
        Fenced,
        FencingConfirm,
        FencingDeviceAdd,
        FencingDeviceRemove,
        FencingDevices,
        FencingHistory,
        FencingHistoryCleanup,
        FencingLevelAdd,
        FencingLevelRemove,
        History,
    )
    from bridle.wire.pacemaker_pacemakerd import Alive, LauncherPing, Shutdown
    from bridle.wire.pacemaker_requests import Done, FencerNodePurge, NodePurge, Request
    from bridle.wire.pacemaker_schedulerd import Graph, Transition

_MODULES = {
    "bridle.pacemaker.asynchronous": ("connect", "AsyncPacemakerIPC"),
    "bridle.pacemaker.ipc": (
        "PacemakerIPC",
        "IPCServer",
        "IPCDispatch",
        "IPCEvent",
        "IPCEventType",
        "IPCCallback",
    ),
    "bridle.wire.pacemaker_requests": ("Request", "Done", "NodePurge", "FencerNodePurge"),
    "bridle.wire.pacemaker_pacemakerd": ("LauncherPing", "Alive", "Shutdown"),
    "bridle.wire.pacemaker_controld": (
        "ControllerPing",
        "NodeList",
        "Nodes",
        "Node",
        "NodeInfo",
        "NodeState",
        "Reprobe",
        "ResourceFail",
        "ResourceRefresh",
        "Invoked",
    ),
    "bridle.wire.pacemaker_attrd": (
        "AttributeQuery",
        "AttributeValues",
        "AttributeValue",
        "AttributeUpdate",
        "AttributeDelete",
        "AttributeRefresh",
        "AttributeClearFailures",
        "AttributeNodePurge",
    ),
    "bridle.wire.pacemaker_schedulerd": ("Graph", "Transition"),
    "bridle.wire.pacemaker_based": (
        "CibQuery",
        "Cib",
        "CibCreate",
        "CibModify",
        "CibReplace",
        "CibDelete",
        "CibBump",
        "CibErase",
        "CibApplyDiff",
        "CibUpgrade",
    ),
    "bridle.wire.pacemaker_fenced": (
        "FencingDevices",
        "Devices",
        "Device",
        "FencingHistory",
        "History",
        "Fenced",
        "FencingHistoryCleanup",
        "Fence",
        "FencingConfirm",
        "FencingDeviceAdd",
        "FencingDeviceRemove",
        "FencingLevelAdd",
        "FencingLevelRemove",
    ),
    "bridle.wire.pacemaker_execd": (
        "ResourceInfo",
        "Resource",
        "ResourceAdd",
        "ResourceRemove",
        "ResourceExecute",
        "Executed",
        "ResourceCancel",
    ),
    "bridle.wire.pacemaker_catalogue": ("Notification",),
    "bridle.pacemaker.messages": (
        "create_hello_message",
        "create_request",
        "create_reply",
        "is_authentic_process",
        "peer_identity",
        "PeerIdentity",
    ),
    "bridle.pacemaker.errors": (
        "IPCError",
        "IPCUsageError",
        "IPCNotReady",
        "IPCProtocolError",
        "IPCConnectionError",
        "IPCTimeout",
    ),
}
_HOMES = {name: module for module, names in _MODULES.items() for name in names}

# From what one meets first to what one may never need; docs/reference.md is generated in this order.
__all__ = [
    "connect",
    "AsyncPacemakerIPC",
    "PacemakerIPC",
    "IPCServer",
    "IPCDispatch",
    "IPCEvent",
    "IPCEventType",
    "IPCCallback",
    "Request",
    "Done",
    "NodePurge",
    "FencerNodePurge",
    "LauncherPing",
    "Alive",
    "Shutdown",
    "ControllerPing",
    "NodeList",
    "Nodes",
    "Node",
    "NodeInfo",
    "NodeState",
    "Reprobe",
    "ResourceFail",
    "ResourceRefresh",
    "Invoked",
    "AttributeQuery",
    "AttributeValues",
    "AttributeValue",
    "AttributeUpdate",
    "AttributeDelete",
    "AttributeRefresh",
    "AttributeClearFailures",
    "AttributeNodePurge",
    "Graph",
    "Transition",
    "CibQuery",
    "Cib",
    "CibCreate",
    "CibModify",
    "CibReplace",
    "CibDelete",
    "CibBump",
    "CibErase",
    "CibApplyDiff",
    "CibUpgrade",
    "FencingDevices",
    "Devices",
    "Device",
    "FencingHistory",
    "History",
    "Fenced",
    "FencingHistoryCleanup",
    "Fence",
    "FencingConfirm",
    "FencingDeviceAdd",
    "FencingDeviceRemove",
    "FencingLevelAdd",
    "FencingLevelRemove",
    "ResourceInfo",
    "Resource",
    "ResourceAdd",
    "ResourceRemove",
    "ResourceExecute",
    "Executed",
    "ResourceCancel",
    "Notification",
    "create_hello_message",
    "create_request",
    "create_reply",
    "is_authentic_process",
    "peer_identity",
    "PeerIdentity",
    "IPCError",
    "IPCUsageError",
    "IPCNotReady",
    "IPCProtocolError",
    "IPCConnectionError",
    "IPCTimeout",
]


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module 'bridle.pacemaker' has no attribute {name!r}")
    value: object = getattr(importlib.import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
